//! Looking at what lies as dumps with records, on this host, at other endpoints and in other clouds.
//!
//! Each place is listed once a look, whatever number of assets lie there. The newest file of a directory is held against
//! the checksum beside it: by what is written, or, for `monitor`, by reading it, once a day for each.

use crate::plan::{ChecksumStatus, ObjectAsset, ObjectRecoveryPoint, object_assets};
use jiff::{SignedDuration, Timestamp};
use shared::{
    aws::OperationError,
    catalog::Location,
    policy::{PostgresGroup, StoreConfig as Rules, text::Name},
    run::RunContext,
    secret::SecretResolver,
};
use std::{collections::BTreeMap, sync::Arc};
use storage::{
    BackupStore, ObjectEntry, RecordCache, StoredBackup, beside,
    catalogue::BackupKind,
    place::{OpenStore, stands_for_database},
};
use tokio::sync::Mutex;

/// A file that was read and found as its checksum says is read again after this: disks forget.
const REVERIFY_INTERVAL: SignedDuration = SignedDuration::from_hours(24);

/// What was read by earlier runs, so that nothing is read at each of them: records, and the newest files of directories.
#[derive(Debug, Default)]
pub struct ChecksumCache {
    records: Arc<RecordCache>,
    files: Mutex<BTreeMap<(String, u64), (ChecksumStatus, Timestamp)>>,
    records_alone: bool,
}

impl ChecksumCache {
    /// One for records alone: no files of directories are read.
    pub fn of_records() -> Self {
        Self { records_alone: true, ..Self::default() }
    }
}

/// The places of one look.
pub struct LocationScanner<'w> {
    world: &'w RunContext<'w>,
    secrets: SecretResolver<'w>,
    memory: Option<&'w ChecksumCache>,
    seen: Mutex<BTreeMap<String, ListingResult>>,
}

type ListingResult = Result<Arc<LocationListing>, (String, String)>;

/// What lies in a place.
struct LocationListing {
    store: BackupStore,
    /// Dumps of Holdfast's and of other tools, by database; none of a group that has no dumps of ours.
    dumps: Option<BTreeMap<String, Vec<StoredBackup>>>,
    /// Files, of other groups.
    entries: Vec<ObjectEntry>,
    free: Option<u64>,
}

impl<'w> LocationScanner<'w> {
    /// The places of a world. With a memory, what was read before is not read again, and the newest files are read unless
    /// it is one of records alone.
    pub fn new(world: &'w RunContext<'w>, memory: Option<&'w ChecksumCache>) -> Self {
        let secrets = SecretResolver::new(world.aws, &Location::home_from_policy(world.policy));
        Self { world, secrets, memory, seen: Mutex::default() }
    }

    /// Every asset whose points lie as objects. Which databases a group of all has, its dumps say: the server is not asked
    /// here, and what it has without a dump is a finding of `dump`, which asks it.
    pub async fn assets(&self) -> Vec<ObjectAsset> {
        let mut known: BTreeMap<&Name, Vec<String>> = BTreeMap::new();
        for (name, group) in self.world.policy.stored_groups() {
            let rules = &group.storage;
            if !group.databases.is_all() || (rules.is_outside_aws() && !self.world.on_host) {
                continue;
            }
            let listing = self.cached_listing(name.as_str(), rules, Some(group)).await;
            let dumps = listing.iter().filter_map(|l| l.dumps.as_ref()).flat_map(BTreeMap::keys);
            known.insert(name, dumps.filter(|d| group.has_database(d)).cloned().collect());
        }
        object_assets(self.world.policy, &known)
    }

    /// Looks at one place.
    ///
    /// # Errors
    /// If it can't be read to its end: why, and what to do.
    pub async fn scan(&self, stored: &mut ObjectAsset) -> Result<(), (String, String)> {
        let rules = stored.store.clone();
        let group = self.world.policy.stored_groups().find(|(n, _)| n.as_str() == stored.group);
        let group = group.map(|(_, g)| g).filter(|g| !g.dumps.is_empty());
        let listing = self.cached_listing(&stored.group, &rules, group).await?;
        stored.free = listing.free;
        match (&listing.dumps, group) {
            (Some(dumps), Some(group)) => record_dumps(stored, &rules, group, dumps),
            _ => listing.entries.iter().for_each(|e| {
                stored.add_object(
                    &format!("{}{}", rules.prefix, e.key),
                    e.size,
                    e.modified,
                    self.world.now,
                );
            }),
        }
        stored.checksum = self.verify_newest(stored, &rules, &listing).await;
        Ok(())
    }

    /// What lies in a place, listed at its first asset.
    async fn cached_listing(
        &self,
        name: &str,
        rules: &Rules,
        group: Option<&PostgresGroup>,
    ) -> ListingResult {
        let key = format!("{name} {}", serde_json::to_string(rules).unwrap_or_default());
        let mut seen = self.seen.lock().await;
        if let Some(listing) = seen.get(&key) {
            return listing.clone();
        }
        let listed = self.list_location(rules, group).await;
        let listed = listed.map(Arc::new).map_err(|e| (e.to_string(), e.hint().to_string()));
        seen.insert(key, listed.clone());
        listed
    }

    async fn list_location(
        &self,
        rules: &Rules,
        group: Option<&PostgresGroup>,
    ) -> Result<LocationListing, OperationError> {
        let home = Location::home_from_policy(self.world.policy);
        let store = storage::open_store(self.world.aws, &home, rules, &self.secrets).await;
        let store = store.map_err(OperationError::from)?;
        let free = store.free_space().await.map_err(OperationError::from)?;
        let (mut dumps, mut entries) = (None, Vec::new());
        match group {
            Some(group) => {
                let cache = self.memory.map(|m| Arc::clone(&m.records)).unwrap_or_default();
                let open = OpenStore { cache, ..OpenStore::new(store.clone(), rules) };
                dumps = Some(open.backups_by_database(self.world, group).await?);
            }
            None => entries = store.list("").await.map_err(OperationError::from)?,
        }
        Ok(LocationListing { store, dumps, entries, free })
    }

    /// The newest point of a directory against its checksum.
    async fn verify_newest(
        &self,
        stored: &ObjectAsset,
        rules: &Rules,
        listing: &LocationListing,
    ) -> Option<ChecksumStatus> {
        rules.directory.as_ref()?;
        let newest = stored.newest.first()?;
        let key = newest.key.strip_prefix(&rules.prefix)?;
        let of = listing
            .dumps
            .as_ref()
            .and_then(|d| d.get(&stored.asset)?.iter().find(|b| b.key == key));
        let written = of.and_then(StoredBackup::committed_manifest).map(|m| m.file.sha256.clone());
        let sums = listing.store.get_small(&beside::checksum_key(key)).await.ok()?;
        let Some(sums) = sums else { return Some(ChecksumStatus::Missing) };
        let said = String::from_utf8_lossy(&sums).split_whitespace().next().map(str::to_lowercase);
        let said = said.filter(|s| s.len() == 64 && s.chars().all(|c| c.is_ascii_hexdigit()));
        match (said, written) {
            (None, _) => Some(ChecksumStatus::Differs),
            (Some(said), Some(written)) if said != written => Some(ChecksumStatus::Differs),
            (Some(said), _) => self.verify_file(listing, key, newest, &said).await,
        }
    }

    /// Reads a file, unless it was read before.
    async fn verify_file(
        &self,
        listing: &LocationListing,
        key: &str,
        newest: &ObjectRecoveryPoint,
        said: &str,
    ) -> Option<ChecksumStatus> {
        let memory = self.memory.filter(|m| !m.records_alone)?;
        let name = (format!("{} {said}", listing.store.full_uri(key)), newest.size);
        if let Some((known, at)) = memory.files.lock().await.get(&name)
            && self.world.now.duration_since(*at) < REVERIFY_INTERVAL
        {
            return Some(*known);
        }
        // One that can't be read to its end is tried again by the next look.
        let hash = listing.store.compute_sha256(key).await.ok()?;
        let checksum = if hash == said { ChecksumStatus::Matches } else { ChecksumStatus::Differs };
        let mut memory = memory.files.lock().await;
        memory.retain(|_, (_, at)| self.world.now.duration_since(*at) < REVERIFY_INTERVAL);
        memory.insert(name, (checksum, self.world.now));
        Some(checksum)
    }
}

/// Takes note of the dumps of an asset's database. Where Holdfast makes them, nothing counts but a record that counts by
/// the policy: a file with a good name alone is anybody's.
fn record_dumps(
    stored: &mut ObjectAsset,
    rules: &Rules,
    group: &PostgresGroup,
    dumps: &BTreeMap<String, Vec<StoredBackup>>,
) {
    for backup in dumps.get(&stored.asset).into_iter().flatten() {
        let key = format!("{}{}", rules.prefix, backup.key);
        match (&backup.kind, backup.data_time()) {
            (BackupKind::Faulty { why, .. }, _) => stored.faulty.push((key, why.clone())),
            (BackupKind::Committed(record), Some(at)) => {
                let reason = Some(record.reason.clone());
                let point = ObjectRecoveryPoint { key, size: backup.size, at, reason };
                if stands_for_database(group, record) {
                    stored.add_point(point);
                } else {
                    stored.count_point(&point);
                }
            }
            (BackupKind::Committed(_) | BackupKind::Foreign(_), _) => {}
        }
    }
}

#[cfg(test)]
mod tests;

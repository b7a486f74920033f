//! Dumps and other files, at their first place and at every second one.

use crate::{
    facts::{AssetKey, AssetStorage, BackupLocation, OtherStorage, PointRecord, ReportInput},
    prices::StorageKind,
};
use shared::{
    aws::OperationError,
    policy::{PostgresGroup, text::Name},
    run::RunContext,
    secret::SecretResolver,
};
use std::collections::BTreeMap;
use storage::{
    ObjectEntry, StoredBackup,
    place::{OpenStore, stands_for_database},
};

/// What was seen of one place of one group.
pub(super) struct StoreUsage {
    group: String,
    assets: Vec<String>,
    spot: BackupLocation,
    seen: Result<BTreeMap<String, AssetStorage>, OperationError>,
    pages: u64,
    /// A directory of a host that this is not.
    elsewhere: bool,
}

/// Objects of one page of a listing.
const PAGE_SIZE: u64 = 1000;

/// Looks at the stores of every group that has points as files.
pub(super) async fn observe_stores(world: &RunContext<'_>) -> Vec<StoreUsage> {
    let home = world.home_location();
    let secrets = SecretResolver::new(world.aws, &home);
    let mut all = Vec::new();
    for (name, rules) in world.policy.stored_groups() {
        let stores = std::iter::once(&rules.storage).chain(&rules.copies);
        for (n, store) in stores.enumerate() {
            all.push(observe_store(world, &secrets, name, Some(rules), store, n == 0).await);
        }
    }
    let files = world.policy.files.iter().map(|(n, g)| (n, &g.storage, &g.copies[..]));
    let redis = world.policy.redis.iter().filter(|(_, g)| g.address.is_none());
    let redis = redis.map(|(n, g)| (n, &g.storage, &[][..]));
    let cluster = world.policy.kubernetes.iter().map(|(n, g)| (n, &g.storage, &[][..]));
    for (name, stored, also) in files.chain(redis).chain(cluster) {
        for (n, store) in std::iter::once(stored).chain(also).enumerate() {
            all.push(observe_store(world, &secrets, name, None, store, n == 0).await);
        }
    }
    all
}

async fn observe_store(
    world: &RunContext<'_>,
    secrets: &SecretResolver<'_>,
    group: &Name,
    rules: Option<&PostgresGroup>,
    store: &shared::policy::StoreConfig,
    home: bool,
) -> StoreUsage {
    let region = store.aws_region().unwrap_or_else(|| world.home_location().region).to_string();
    let region = (store.bucket.is_some() && store.endpoint.is_none()).then_some(region);
    let mut found = StoreUsage {
        group: group.to_string(),
        assets: rules.map_or_else(|| vec![group.to_string()], |r| r.databases.named().to_vec()),
        spot: BackupLocation { name: display_location(store), region, home },
        seen: Ok(BTreeMap::new()),
        pages: 0,
        elsewhere: store.directory.is_some() && !world.on_host,
    };
    if found.elsewhere {
        return found;
    }
    let open = storage::open_store(world.aws, &world.home_location(), store, secrets).await;
    let open = open.map(|opened| OpenStore::new(opened, store)).map_err(OperationError::from);
    found.seen = match (open, rules.filter(|r| !r.dumps.is_empty())) {
        (Err(e), _) => Err(e),
        (Ok(open), Some(rules)) => dump_storage(world, &open, rules).await,
        (Ok(open), None) => file_storage(&open, group).await,
    };
    found.pages =
        found.seen.iter().flat_map(BTreeMap::values).map(object_count).sum::<u64>() / PAGE_SIZE + 1;
    found
}

fn object_count(held: &AssetStorage) -> u64 {
    held.points.len() as u64 * 2 + held.other.iter().map(|w| w.objects).sum::<u64>()
}

fn display_location(store: &shared::policy::StoreConfig) -> String {
    let prefix = &store.prefix;
    let at = match (&store.bucket, &store.directory, &store.azure) {
        (Some(bucket), _, _) => format!("s3://{bucket}/{prefix}"),
        (_, Some(directory), _) => format!("{}/{prefix}", directory.trim_end_matches('/')),
        (_, _, Some(a)) => format!("azure://{}/{}/{prefix}", a.account, a.container),
        _ => "nowhere".to_owned(),
    };
    at.trim_end_matches('/').to_owned()
}

fn storage_kind(store: &shared::policy::StoreConfig, named: Option<&str>) -> StorageKind {
    match (&store.endpoint, &store.directory, &store.azure) {
        (_, Some(_), _) => StorageKind::Directory,
        (_, _, Some(_)) => StorageKind::Azure,
        (Some(_), _, _) => StorageKind::Endpoint,
        _ => StorageKind::from_s3_class(named.unwrap_or("STANDARD")),
    }
}

/// Dumps by database: those with a commit record are points, the others only weigh.
async fn dump_storage(
    world: &RunContext<'_>,
    open: &OpenStore<'_>,
    rules: &PostgresGroup,
) -> Result<BTreeMap<String, AssetStorage>, OperationError> {
    let by = open.backups_by_database(world, rules).await?;
    let by = by.into_iter().filter(|(database, _)| rules.has_database(database));
    Ok(by
        .map(|(database, backups)| (database, storage_of_backups(open, rules, &backups)))
        .collect())
}

fn storage_of_backups(
    open: &OpenStore<'_>,
    rules: &PostgresGroup,
    backups: &[StoredBackup],
) -> AssetStorage {
    let (mut held, mut newest) = (AssetStorage::default(), i64::MIN);
    for backup in backups {
        let class = storage_kind(open.policy, backup.class.as_deref());
        let stored = backup.modified.as_second();
        let at = backup.data_time().map_or(stored, jiff::Timestamp::as_second);
        // What holds some tables, or was made before a restore, is not what a loss would be restored from.
        let good = backup.committed_manifest().is_some_and(|m| stands_for_database(rules, m));
        let point = PointRecord { at, stored, bytes: backup.size, location: 0, class, good };
        held.record_newest_name(&backup.key, &mut newest, &point);
        held.points.push(point);
    }
    held
}

/// Files of other makers: each is a point of the group, as old as it is.
async fn file_storage(
    open: &OpenStore<'_>,
    group: &Name,
) -> Result<BTreeMap<String, AssetStorage>, OperationError> {
    let suffix = &open.policy.suffix;
    let (mut held, mut newest) = (AssetStorage::default(), i64::MIN);
    let entries = open.store.list("").await.map_err(OperationError::from)?;
    for entry in &entries {
        let class = storage_kind(open.policy, entry.class.as_deref());
        let ObjectEntry { key, size, modified, .. } = entry;
        let stored = modified.as_second();
        if key.ends_with(suffix.as_str()) && !key.ends_with('/') {
            let point =
                PointRecord { at: stored, stored, bytes: *size, location: 0, class, good: true };
            held.record_newest_name(key, &mut newest, &point);
            held.points.push(point);
        } else {
            let (billed, index) = class.billable_bytes(*size);
            let (bytes, stored) = (*size, Some(stored));
            held.other.push(OtherStorage {
                objects: 1,
                bytes,
                billed,
                index,
                stored,
                location: 0,
                class,
            });
        }
    }
    Ok(BTreeMap::from([(group.to_string(), held)]))
}

impl StoreUsage {
    pub(super) fn merge_into(self, facts: &mut ReportInput) {
        if self.elsewhere {
            if !facts.host_directories.contains(&self.spot.name) {
                facts.host_directories.push(self.spot.name);
            }
            return;
        }
        let home = self.spot.home;
        let name = self.spot.name.clone();
        let at = facts.intern_location(self.spot);
        facts.pages += self.pages;
        match self.seen {
            Ok(by) => {
                for (asset, mut held) in by {
                    let to = facts.storage_mut(AssetKey::new(&self.group, asset));
                    held.points.iter_mut().for_each(|p| p.location = at);
                    held.other.iter_mut().for_each(|w| w.location = at);
                    to.points.append(&mut held.points);
                    to.other.append(&mut held.other);
                    if home {
                        to.newest = held.newest;
                    }
                }
            }
            Err(e) => {
                facts.push_error(name, &e);
                // Of a group of all, whose databases are not known now, it is said of the group.
                let known =
                    if self.assets.is_empty() { vec![self.group.clone()] } else { self.assets };
                for asset in known {
                    facts.storage_mut(AssetKey::new(&self.group, asset)).unobserved.push(at);
                }
            }
        }
    }
}

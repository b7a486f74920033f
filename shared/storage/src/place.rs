//! A place of a group: its store, and what the policy says of it.

use crate::{
    BackupManifest, BackupStore, KeyTemplate, RecordCache, StoreError, StoredBackup, TrustPolicy,
    catalogue, form::key_template, mark,
};
use jiff::Timestamp;
use shared::{
    aws::OperationError,
    catalog::Location,
    policy::{
        DumpRule, PostgresGroup, RetentionRule, StorageClass, StorageTier,
        dumps::PRE_RESTORE_REASON, text::ReasonName,
    },
    run::RunContext,
    secret::SecretResolver,
    signing::SigningAuthor,
};
use std::{collections::BTreeMap, sync::Arc};

/// An open store.
#[derive(Clone, Debug)]
pub struct OpenStore<'p> {
    /// The store.
    pub store: BackupStore,
    /// What the policy says of it.
    pub policy: &'p shared::policy::StoreConfig,
    /// What was read of it before.
    pub cache: Arc<RecordCache>,
}

impl<'p> OpenStore<'p> {
    /// A store of which nothing was read yet.
    pub fn new(store: BackupStore, policy: &'p shared::policy::StoreConfig) -> Self {
        Self { store, policy, cache: Arc::default() }
    }
}

/// `storage` of a group, then each of `copies`.
pub fn store_configs(rules: &PostgresGroup) -> impl Iterator<Item = &shared::policy::StoreConfig> {
    std::iter::once(&rules.storage).chain(&rules.copies)
}

/// Opens every place of a group. One that can't be opened stops no other.
pub async fn open_all<'p>(
    world: &RunContext<'_>,
    secrets: &SecretResolver<'_>,
    rules: &'p PostgresGroup,
) -> Vec<Result<OpenStore<'p>, OperationError>> {
    let home = Location::home_from_policy(world.policy);
    let mut all = Vec::new();
    for policy in store_configs(rules) {
        let store = crate::open_store(world.aws, &home, policy, secrets).await;
        all.push(store.map(|store| OpenStore::new(store, policy)).map_err(OperationError::from));
    }
    all
}

impl OpenStore<'_> {
    /// The form of the keys of every reason.
    ///
    /// # Errors
    /// If the policy's key is none that can be made and read back.
    pub fn key_templates(&self, rules: &PostgresGroup) -> Result<Vec<KeyTemplate>, StoreError> {
        let mut forms: Vec<KeyTemplate> = Vec::new();
        for dump in rules.all_dumps().values() {
            let form = self.key_template(rules, dump)?;
            if !forms.contains(&form) {
                forms.push(form);
            }
        }
        Ok(forms)
    }

    /// The form of the keys of one reason's dumps here: a second place without `key` has the first one's.
    ///
    /// # Errors
    /// As for [`OpenStore::key_templates`].
    pub fn key_template(
        &self,
        rules: &PostgresGroup,
        dump: &DumpRule,
    ) -> Result<KeyTemplate, StoreError> {
        key_template_for(self.policy, rules, dump)
    }

    /// A name for a new dump of this reason with data of `at`, which nothing here has. Whoever can write here can take
    /// any name that he can guess, and the last that is tried has the run's.
    ///
    /// # Errors
    /// If none can be made, or the store can't be asked.
    pub async fn choose_free_key(
        &self,
        rules: &PostgresGroup,
        database: &str,
        (reason, dump): (&ReasonName, &DumpRule),
        table: &str,
        at: Timestamp,
        run: &str,
    ) -> Result<String, StoreError> {
        let form = self.key_template(rules, dump)?;
        let candidates = form.candidate_keys(database, reason.as_str(), table, at, run)?;
        self.store.find_free_key(&candidates).await
    }

    /// Makes sure that this place is ours before something is written there. A bucket or container that has no mark gets
    /// it now.
    ///
    /// # Errors
    /// If it is another owner's, or a directory that has no mark.
    pub async fn ensure_owned(
        &self,
        trust: &TrustPolicy,
        author: &SigningAuthor,
        world: &RunContext<'_>,
    ) -> Result<(), StoreError> {
        if mark::find_marker(&self.store, trust).await?.is_some() {
            return Ok(());
        }
        if matches!(self.store, BackupStore::Directory(_)) {
            return Err(mark::missing_marker_error(&self.store));
        }
        mark::write_marker(&self.store, author, &world.run_id, world.now).await.map(drop)
    }

    /// The backups of these databases here.
    ///
    /// # Errors
    /// If the store can't be listed to its end, belongs to another owner, or is a directory that has no mark: perhaps
    /// nothing is mounted there.
    pub async fn list_backups(
        &self,
        world: &RunContext<'_>,
        rules: &PostgresGroup,
        databases: &[String],
    ) -> Result<Vec<StoredBackup>, OperationError> {
        let trust = TrustPolicy::from_policy(world.policy, rules, world.now);
        let marked =
            mark::find_marker(&self.store, &trust).await.map_err(OperationError::from)?.is_some();
        let directory = matches!(self.store, BackupStore::Directory(_));
        if !marked && directory {
            return Err(mark::missing_marker_error(&self.store).into());
        }
        let forms = self.key_templates(rules).map_err(OperationError::from)?;
        let found =
            catalogue::with_cache(&self.store, &forms, databases, &trust, &self.cache).await;
        let found = found.map_err(OperationError::from)?;
        // A bucket has its mark since its first backup.
        if !marked && found.iter().any(StoredBackup::is_committed) {
            return Err(mark::missing_marker_error(&self.store).into());
        }
        Ok(found)
    }

    /// The backups of every database of a group here, each database's by itself; the store is listed once. Of a group that
    /// means all databases, every one that has a file here, be it excepted by now or gone from the server.
    ///
    /// # Errors
    /// As for [`OpenStore::list_backups`].
    pub async fn backups_by_database(
        &self,
        world: &RunContext<'_>,
        rules: &PostgresGroup,
    ) -> Result<BTreeMap<String, Vec<StoredBackup>>, OperationError> {
        let mut by: BTreeMap<String, Vec<StoredBackup>> =
            rules.databases.named().iter().map(|d| (d.clone(), Vec::new())).collect();
        for backup in self.list_backups(world, rules, rules.databases.named()).await? {
            // A file of another tool in a group of one database needs no name in its key.
            let of = backup.database().map(str::to_owned).or(rules.databases.only().cloned());
            let Some(of) = of else { continue };
            if rules.databases.is_all() {
                by.entry(of).or_default().push(backup);
            } else if let Some(list) = by.get_mut(&of) {
                list.push(backup);
            }
        }
        Ok(by)
    }

    /// The storage class that the policy's tiers begin with.
    pub fn initial_storage_class(&self, tiers: &[StorageTier]) -> Option<StorageClass> {
        self.policy.bucket.as_ref()?;
        tiers.iter().find(|t| t.after.is_none()).map(|t| t.class)
    }
}

/// Whether a dump with this record stands for its database: it holds all of it, or as much as any dump of the group does,
/// and was not made of a state that was to be replaced. The record says it, whatever the policy has become since.
pub fn stands_for_database(rules: &PostgresGroup, record: &BackupManifest) -> bool {
    let all_that_is_taken = !record.is_narrowed() || !rules.takes_whole_dumps();
    record.reason != PRE_RESTORE_REASON && all_that_is_taken
}

/// The place that names what lies in this one.
fn naming_store<'p>(
    place: &'p shared::policy::StoreConfig,
    rules: &'p PostgresGroup,
) -> &'p shared::policy::StoreConfig {
    if uses_first_key(place) { &rules.storage } else { place }
}

/// The form of the keys of one reason's dumps in a place of a group.
///
/// # Errors
/// If the policy's key is none that can be made and read back.
pub fn key_template_for(
    place: &shared::policy::StoreConfig,
    rules: &PostgresGroup,
    dump: &DumpRule,
) -> Result<KeyTemplate, StoreError> {
    key_template(naming_store(place, rules), dump)
}

/// Whether what lies in a second place has the names of the first: it has no key of its own, or one that is the same for
/// this reason's dumps. A dump has one name then: a name made again could be of another second.
///
/// # Errors
/// If the policy's key is none that can be made and read back.
pub fn has_same_names(
    place: &shared::policy::StoreConfig,
    rules: &PostgresGroup,
    dump: Option<&DumpRule>,
) -> Result<bool, StoreError> {
    if uses_first_key(place) {
        return Ok(true);
    }
    let Some(dump) = dump else { return Ok(false) };
    Ok(key_template_for(place, rules, dump)? == key_template_for(&rules.storage, rules, dump)?)
}

fn uses_first_key(place: &shared::policy::StoreConfig) -> bool {
    place.key.is_none() && place.suffix.is_empty()
}

/// Until when a dump of `now` is surely kept by a rule: for its age, or for as many periods as its finest line counts.
/// A coarser line may keep it longer; a lock can be made longer later, and never shorter.
pub fn object_lock_until(keep: &RetentionRule, now: Timestamp) -> Option<Timestamp> {
    use jiff::SignedDuration;
    let hours = |each: i64, n: Option<std::num::NonZeroU32>| {
        n.map(|n| SignedDuration::from_hours(each * i64::from(n.get() - 1)))
    };
    let lines = [hours(1, keep.hourly), hours(24, keep.daily), hours(24 * 7, keep.weekly)];
    let finest = lines.into_iter().flatten().next();
    let age = keep.age.as_ref().map(shared::policy::text::Period::duration);
    let span = age.into_iter().chain(finest).max()?;
    now.checked_add(span).ok()
}

#[cfg(test)]
mod tests;

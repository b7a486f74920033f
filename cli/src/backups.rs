//! Dumps by the words of a command line: a group, a database of one, or a file.

use crate::{session::CommandContext, stop::CommandError};
use shared::{
    aws::OperationError,
    policy::{PostgresGroup, dumps::PRE_RESTORE_REASON, text::Name},
    request::matches_asset,
    secret::SecretResolver,
};
use std::collections::BTreeSet;
use storage::{
    BackupManifest, StoredBackup,
    place::{OpenStore, open_all},
};

/// A dump, and where it is.
#[derive(Clone, Debug)]
pub(crate) struct LocatedBackup<'s> {
    /// The group.
    pub(crate) group: &'s Name,
    /// What the policy says about it.
    pub(crate) rules: &'s PostgresGroup,
    /// The database.
    pub(crate) database: String,
    /// `storage` is 0, then each of `copies`.
    pub(crate) location_index: usize,
    /// The place.
    pub(crate) location: OpenStore<'s>,
    /// The dump.
    pub(crate) backup: StoredBackup,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct BackupSearch<'s> {
    /// Dumps, newest first.
    pub(crate) backups: Vec<LocatedBackup<'s>>,
    /// Why a place could not be seen.
    pub(crate) observation_errors: Vec<OperationError>,
}

impl LocatedBackup<'_> {
    /// Its commit record; none of a file of another tool.
    pub(crate) fn committed_manifest(&self) -> Option<&BackupManifest> {
        self.backup.committed_manifest()
    }

    /// The time of its data: from the commit record, else from its name.
    pub(crate) fn data_time(&self) -> Option<jiff::Timestamp> {
        self.backup.data_time()
    }
}

/// Every dump of the groups that take dumps; of one group or one database when it is named.
///
/// # Errors
/// If no group or database has that name.
pub(crate) async fn find_backups<'s>(
    session: &'s CommandContext<'_>,
    secrets: &SecretResolver<'_>,
    of: Option<&str>,
) -> anyhow::Result<BackupSearch<'s>> {
    let policy = &session.policy;
    let world = session.dry_run_context();
    let of = of.map(|of| of.strip_suffix('/').unwrap_or(of));
    let mut found = BackupSearch::default();
    let mut known = Vec::new();
    let mut any = false;
    for (name, rules) in policy.stored_groups().filter(|(_, g)| !g.dumps.is_empty()) {
        known.push(name.to_string());
        if !of.is_none_or(|of| group_has(of, name, rules)) {
            continue;
        }
        any = true;
        for (place, open) in open_all(&world, secrets, rules).await.into_iter().enumerate() {
            let open = match open {
                Ok(open) => open,
                Err(e) => {
                    found.observation_errors.push(e);
                    continue;
                }
            };
            match open.backups_by_database(&world, rules).await {
                Err(e) => found.observation_errors.push(e),
                Ok(by) => {
                    let by = by
                        .into_iter()
                        .filter(|(d, _)| of.is_none_or(|of| matches_asset(of, name.as_str(), d)));
                    found.backups.extend(by.flat_map(|(database, backups)| {
                        let open = open.clone();
                        backups.into_iter().map(move |backup| LocatedBackup {
                            group: name,
                            rules,
                            database: database.clone(),
                            location_index: place,
                            location: open.clone(),
                            backup,
                        })
                    }));
                }
            }
        }
    }
    if let (false, Some(of)) = (any, of) {
        return Err(CommandError::usage(format!(
            "\"{of}\" is no postgres group with dumps, and no database of one; the policy has: {}",
            known.join(", ")
        )));
    }
    found.backups.sort_by(|a, b| {
        let (a_at, b_at) = (a.data_time(), b.data_time());
        b_at.cmp(&a_at)
            .then_with(|| a.location_index.cmp(&b.location_index))
            .then_with(|| a.backup.key.cmp(&b.backup.key))
    });
    Ok(found)
}

/// The one dump that is meant: the newest good one of a group or database, or a file by its key, its name or its whole
/// address.
///
/// # Errors
/// If there is none, or more than one.
pub(crate) async fn find_backup<'s>(
    session: &'s CommandContext<'_>,
    secrets: &SecretResolver<'_>,
    meant: &str,
    place: Option<usize>,
) -> anyhow::Result<LocatedBackup<'s>> {
    let (found, group) = find_meant(session, secrets, meant).await?;
    select_backup(&found, meant, group, place)
}

/// What is found by a word, and whether the word is a group or a database of one: else a file among all is meant.
///
/// # Errors
/// As for [`find`].
pub(crate) async fn find_meant<'s>(
    session: &'s CommandContext<'_>,
    secrets: &SecretResolver<'_>,
    meant: &str,
) -> anyhow::Result<(BackupSearch<'s>, bool)> {
    let groups = || session.policy.stored_groups();
    if groups().any(|(name, group)| group_has(meant, name, group)) {
        let found = find_backups(session, secrets, Some(meant)).await?;
        // Where a group means all databases, what lies there tells a database from a file in a folder of that name.
        let told = groups().any(|(name, group)| names_listed(meant, name, group));
        if told || !found.backups.is_empty() || !found.observation_errors.is_empty() {
            return Ok((found, true));
        }
    }
    Ok((find_backups(session, secrets, None).await?, false))
}

/// Whether this names a group or one of its databases. Of a group of all, any name may be one: it may be gone from the
/// server, and its dumps are there.
fn group_has(of: &str, name: &Name, group: &PostgresGroup) -> bool {
    let any = || of.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('/'));
    names_listed(of, name, group) || (group.databases.is_all() && any())
}

/// Whether this names a group, or a database that it lists.
fn names_listed(of: &str, name: &Name, group: &PostgresGroup) -> bool {
    of == name.as_str()
        || group.databases.named().iter().any(|d| matches_asset(of, name.as_str(), d))
}

/// The one that is meant among those found, as [`find_backup`] means it.
///
/// # Errors
/// If there is none, or more than one.
pub(crate) fn select_backup<'s>(
    found: &BackupSearch<'s>,
    meant: &str,
    group: bool,
    place: Option<usize>,
) -> anyhow::Result<LocatedBackup<'s>> {
    let here = |i: &&LocatedBackup<'_>| place.is_none_or(|p| p == i.location_index);
    let items: Vec<&LocatedBackup<'s>> = found.backups.iter().filter(here).collect();
    let items = if group { newest_committed(items, meant)? } else { backups_named(items, meant) };
    match (items.as_slice(), found.observation_errors.first()) {
        ([item], _) => Ok((*item).clone()),
        ([], Some(gap)) => Err(CommandError::from_operation_error(gap)),
        ([], None) => Err(CommandError::usage(format!(
            "there is no dump \"{meant}\"; `{}` shows what there is",
            shared::hints::commands::LIST
        ))),
        _ => Err(CommandError::usage(format!(
            "\"{meant}\" is the name of several files: write one of {}",
            items
                .iter()
                .map(|i| i.location.store.full_uri(&i.backup.key))
                .collect::<Vec<_>>()
                .join(", ")
        ))),
    }
}

/// The newest good one of a group or database; none when there is none.
fn newest_committed<'i, 's>(
    mut items: Vec<&'i LocatedBackup<'s>>,
    meant: &str,
) -> anyhow::Result<Vec<&'i LocatedBackup<'s>>> {
    // A dump that was taken before a restore is of what was to be replaced: it is only taken when it is named.
    // One of some tables alone is no dump of the database.
    items.retain(|i| {
        i.committed_manifest().is_some_and(|m| m.reason != PRE_RESTORE_REASON && !m.is_narrowed())
    });
    let databases: BTreeSet<_> = items.iter().map(|i| i.database.as_str()).collect();
    if databases.len() > 1 {
        let all: Vec<String> = databases.iter().map(|d| format!("{meant}/{d}")).collect();
        return Err(CommandError::usage(format!(
            "\"{meant}\" has several databases: write one of {}",
            all.join(", ")
        )));
    }
    items.truncate(1);
    Ok(items)
}

/// Those with that key, name or whole address. The same file in several places is one dump; it is read from the first.
fn backups_named<'i, 's>(
    mut items: Vec<&'i LocatedBackup<'s>>,
    meant: &str,
) -> Vec<&'i LocatedBackup<'s>> {
    items.retain(|i| {
        let key = i.backup.key.as_str();
        key == meant
            || i.location.store.full_uri(key) == meant
            || key.rsplit('/').next() == Some(meant)
    });
    items.sort_by_key(|i| i.location_index);
    let same = |i: &&LocatedBackup<'_>| i.committed_manifest().map(|m| m.file.sha256.clone());
    let first = items.first().and_then(same);
    if first.is_some() && items.iter().all(|i| same(i) == first) {
        items.truncate(1);
    }
    items
}

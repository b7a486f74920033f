//! Which dumps a second place lacks. Pure.

use crate::{BackupManifest, StoredBackup};
use jiff::Timestamp;
use shared::{keep::reasons_to_keep, policy::RetentionRule};
use std::collections::{BTreeMap, BTreeSet};

/// A good dump that a second place's rule would keep and that is not there.
#[derive(Clone, Debug)]
pub struct MissingCopy<'b> {
    /// The dump in the first place.
    pub backup: &'b StoredBackup,
    /// Its commit record.
    pub manifest: &'b BackupManifest,
    /// The lines of the rule that would keep it, in words.
    pub reasons: Vec<String>,
}

/// The good dumps for `reason` in `home` that `keep` would keep at `now` in the second place and that are not `there`, in
/// the order of `home`.
///
/// What is there already counts for the rule too, so that nothing is copied only to be let go. A copy is the same bytes,
/// whatever its name.
pub fn missing_copies<'b>(
    home: &'b [StoredBackup],
    there: &[StoredBackup],
    reason: &str,
    keep: &RetentionRule,
    now: Timestamp,
) -> Vec<MissingCopy<'b>> {
    let times: BTreeSet<(&str, Timestamp)> = (committed_for_reason(home, reason)
        .chain(committed_for_reason(there, reason)))
    .flat_map(|(b, m)| b.data_times().map(|at| (m.file.sha256.as_str(), at)))
    .collect();
    let wanted = reasons_to_keep(&times.into_iter().collect::<Vec<_>>(), keep, now);
    let copied: BTreeSet<&str> = there
        .iter()
        .filter_map(StoredBackup::committed_manifest)
        .map(|m| m.file.sha256.as_str())
        .collect();
    let lacking = committed_for_reason(home, reason)
        .filter(|(_, m)| !copied.contains(m.file.sha256.as_str()));
    lacking
        .filter_map(|(backup, manifest)| {
            let why = wanted.get(manifest.file.sha256.as_str())?.clone();
            Some(MissingCopy { backup, manifest, reasons: why })
        })
        .collect()
}

/// Notes that a dump in the second place is still true, which only the first place has: the dump in the first place, the
/// one in the second, and the time.
pub fn missing_markers<'b>(
    home: &'b [StoredBackup],
    there: &'b [StoredBackup],
) -> Vec<(&'b StoredBackup, &'b StoredBackup, Timestamp)> {
    let sum = |b: &StoredBackup| b.committed_manifest().map(|m| m.file.sha256.clone());
    let copies: BTreeMap<String, &StoredBackup> =
        there.iter().filter_map(|b| Some((sum(b)?, b))).collect();
    let noted = home.iter().filter(|b| !b.unchanged.is_empty());
    noted
        .filter_map(|b| Some((b, *copies.get(&sum(b)?)?)))
        .flat_map(|(b, copy)| {
            let lacking = b.unchanged.iter().filter(|at| !copy.unchanged.contains(at));
            lacking.map(move |at| (b, copy, *at))
        })
        .collect()
}

/// The newest data time of the good dumps for `reason`.
pub fn newest_data_time<'b>(
    backups: impl IntoIterator<Item = &'b StoredBackup>,
    reason: &str,
) -> Option<Timestamp> {
    committed_for_reason(backups, reason).flat_map(|(b, _)| b.data_times()).max()
}

fn committed_for_reason<'b>(
    backups: impl IntoIterator<Item = &'b StoredBackup>,
    reason: &str,
) -> impl Iterator<Item = (&'b StoredBackup, &'b BackupManifest)> {
    let all = backups.into_iter().filter_map(|b| Some((b, b.committed_manifest()?)));
    all.filter(move |(_, m)| m.reason == reason)
}

#[cfg(test)]
mod tests;

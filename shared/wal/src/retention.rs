//! Which base backups and which WAL may go. Pure: no I/O, no clock. It follows from positions and timelines, never from names.
//!
//! - **The window.** From `wal.keep` ago on, every moment of every timeline that is still written must come back. So for each
//!   such timeline the newest whole base backup from before the window stays, with all WAL from its begin on, along the way
//!   to that timeline; and every base backup that was made within the window.
//! - **Islands.** A base backup from before the window that its rule keeps stays with the WAL from its begin to its end.
//! - **A record that is there keeps its WAL.** What goes in this run keeps its island until the next one, so a run that is
//!   killed or refused half-way breaks nothing.
//! - **In doubt nothing goes**: while the newest base backup is not complete, none is made on schedule, nothing arrives for as
//!   long as the window, or a timeline's history or a record can't be read.

use crate::{
    backup::BaseBackupRecord,
    inventory::{ArchiveInventory, SystemInventory},
    name::{SegmentSize, TimelineId, WalFileName},
    windows::known_timelines,
};
use jiff::{SignedDuration, Timestamp};
use shared::{
    catalog::{DatabaseKind, HoldfastTags, RecoveryPoint, RecoveryPointState},
    keep::{
        DeletionPrecondition, ReasonRetention, RetentionInput, RetentionVerdict, decide_retention,
        wal::{WalNeed, WalObject, WalRetentionInput, WalRetentionVerdict, decide_wal_retention},
    },
    policy::{WalConfig, text::ZoneName},
    time::format_duration,
};
use std::collections::BTreeMap;

/// The reason that all base backups have.
const BASE_REASON: &str = "base";
/// Clocks of a store and of this host may differ by so much.
const MAX_CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);

/// One archive, as it was seen.
#[derive(Clone, Copy, Debug)]
pub struct ArchiveRetentionInput<'a> {
    /// The policy's owner.
    pub owner: &'a str,
    /// The address of the store: `full_uri` of a key.
    pub full_uri: &'a dyn FullUri,
    /// What lies there.
    pub inventory: &'a ArchiveInventory,
    /// What the policy says.
    pub config: &'a WalConfig,
    /// The zone of schedules that name none.
    pub zone: &'a ZoneName,
    /// Labels, keys or addresses of base backups that the policy holds.
    pub holds: &'a [String],
}

/// What gives a key its full address.
pub trait FullUri: std::fmt::Debug {
    /// The full address of a key.
    fn full_uri(&self, key: &str) -> String;
}

impl FullUri for storage::BackupStore {
    fn full_uri(&self, key: &str) -> String {
        Self::full_uri(self, key)
    }
}

/// What becomes of everything in an archive.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ArchiveRetention {
    /// Every base backup that has a record, oldest first.
    pub backups: Vec<(RecoveryPoint, RetentionVerdict)>,
    /// The WAL of each cluster.
    pub wal: BTreeMap<u64, WalRetentionVerdict>,
    /// Why nothing goes now; for each cluster, or for all.
    pub suspended: Vec<String>,
}

/// Decides it for everything in an archive.
pub fn decide_archive_retention(
    input: &ArchiveRetentionInput<'_>,
    now: Timestamp,
) -> ArchiveRetention {
    let mut result = ArchiveRetention::default();
    let systems = input.inventory.systems();
    let stopped = archive_suspension(input, &systems, now)
        .or_else(|| systems.iter().find_map(|s| system_suspension(s)));
    result.suspended.extend(stopped.clone());

    let points: Vec<RecoveryPoint> = (systems.iter())
        .flat_map(|s| s.backups.iter().map(|b| recovery_point(b, input.full_uri)))
        .collect();
    let (mut needed, mut mismatched) = (BTreeMap::new(), BTreeMap::new());
    for system in &systems {
        for backup in &system.backups {
            let arn = input.full_uri.full_uri(&backup.key());
            if let Some(why) = missing_wal(system, backup) {
                mismatched.insert(arn.clone(), why);
            }
            if input.holds.iter().any(|h| h.eq_ignore_ascii_case(&backup.label)) {
                needed.insert(arn, "held by the policy".to_owned());
            }
        }
        for (backup, why) in backups_of_window(system, window_start(input.config, now)) {
            let arn = input.full_uri.full_uri(&backup.key());
            needed.entry(arn).or_insert(why);
        }
    }
    let rule = &input.config.base_backups;
    let precondition = match &stopped {
        Some(why) => DeletionPrecondition::NotMade(why.clone()),
        None => DeletionPrecondition::from_schedule(rule.schedule.as_ref(), input.zone, now),
    };
    let question = RetentionInput {
        owner: input.owner,
        points: points.iter().collect(),
        reasons: [(BASE_REASON, ReasonRetention { keep: vec![&rule.keep], precondition })].into(),
        min_count: rule.min_backups.map_or(1, |n| n.get() as usize),
        holds: input.holds,
        needed: needed.iter().map(|(arn, why)| (arn.as_str(), why.clone())).collect(),
        mismatched: mismatched.iter().map(|(arn, why)| (arn.as_str(), why.clone())).collect(),
        ..RetentionInput::default()
    };
    let not_made = question.suspended_reasons(now).remove(BASE_REASON);
    let verdicts = decide_retention(&question, now);
    drop(question);
    for system in &systems {
        let suspended = not_made.clone();
        let verdict = decide_wal_retention(
            &WalRetentionInput {
                system: system.system,
                objects: wal_objects(system),
                needs: wal_needs(system, window_start(input.config, now)),
                suspended,
            },
            now,
        );
        result.wal.insert(system.system, verdict);
    }
    if let (Some(why), true) = (not_made, result.suspended.is_empty()) {
        result.suspended.push(why);
    }
    result.backups = points.into_iter().zip(verdicts).collect();
    result
}

fn window_start(config: &WalConfig, now: Timestamp) -> Timestamp {
    now.checked_sub(config.keep.duration()).unwrap_or(Timestamp::MIN)
}

/// Why nothing at all goes from an archive now.
fn archive_suspension(
    input: &ArchiveRetentionInput<'_>,
    systems: &[&SystemInventory],
    now: Timestamp,
) -> Option<String> {
    let whole = systems.iter().flat_map(|s| s.backups.iter().map(move |b| (s, b)));
    let newest = whole.clone().max_by_key(|(_, b)| b.finished_at);
    let Some((system, newest)) = newest else {
        return Some("there is no base backup, so nothing goes".into());
    };
    if let Some(why) = missing_wal(system, newest) {
        return Some(format!("the newest base backup {} is not whole: {why}", newest.label));
    }
    // Labels begin with the time at which they were begun. One that lies in the future says nothing.
    let now_label = now.checked_add(MAX_CLOCK_SKEW).unwrap_or(now).strftime("%Y%m%dT%H%M%SZ");
    let now_label = now_label.to_string();
    let unfinished = systems.iter().flat_map(|s| &s.unfinished);
    let newer = |label: &&String| **label > newest.label && **label < now_label;
    if let Some(label) = unfinished.filter(newer).max() {
        return Some(format!(
            "the newest base backup {label} is not complete: it is being taken, or failed; nothing goes"
        ));
    }
    // An archive that nothing reaches, or a clock that is ahead.
    let stored =
        systems.iter().filter_map(|s| s.newest_stored).filter(|t| *t <= now + MAX_CLOCK_SKEW);
    let alive = stored.chain([newest.finished_at]).max()?;
    let silent = now.duration_since(alive);
    (silent > input.config.keep.duration()).then(|| {
        format!(
            "nothing was archived for {}, longer than the {} that WAL is kept; nothing goes",
            format_duration(silent),
            input.config.keep
        )
    })
}

/// Why nothing goes while one cluster is as it is: what a restore of it needs is not known.
fn system_suspension(system: &SystemInventory) -> Option<String> {
    if let Some(why) = system.uncertain.first() {
        return Some(format!("{why}; nothing goes (cluster {})", system.system));
    }
    let unknown = known_timelines(system).into_iter().find(|t| !system.histories.knows(*t));
    if let Some(timeline) = unknown {
        return Some(format!(
            "the history file {timeline:08X}.history is missing, so what timeline {timeline} needs is not known; \
             nothing goes (cluster {})",
            system.system
        ));
    }
    let differs = |b: &BaseBackupRecord| {
        b.segment_size().is_none()
            || system.segment_size.is_some_and(|s| Some(s) != b.segment_size())
    };
    system
        .backups
        .iter()
        .find(|b| differs(b))
        .map(|b| format!("the segments of base backup {} have another size; nothing goes", b.label))
}

/// What of a base backup's WAL is missing, in words; without it, it is nothing.
pub fn missing_wal(system: &SystemInventory, backup: &BaseBackupRecord) -> Option<String> {
    let Some(numbers) = backup.needed_segments() else {
        return Some("its segment size is none".into());
    };
    let missing =
        numbers.clone().find(|n| !system.segments.contains_key(&(backup.timeline, *n)))?;
    let size = backup.segment_size()?;
    let name = crate::name::SegmentName::from_number(backup.timeline, missing, size);
    Some(format!("its WAL is not all there: {name} is missing"))
}

/// A base backup as the safety check knows recovery points.
fn recovery_point(backup: &BaseBackupRecord, address: &dyn FullUri) -> RecoveryPoint {
    let key = backup.key();
    RecoveryPoint {
        arn: address.full_uri(&key),
        id: key,
        database: backup.group.clone(),
        resource_id: backup.system.to_string(),
        kind: DatabaseKind::Instance,
        automated: false,
        state: RecoveryPointState::Good,
        data_time: Some(backup.finished_at),
        started: Some(backup.started_at),
        size_gib: 0,
        encrypted: backup.archives.iter().all(|a| a.extension.ends_with("age")),
        kms_key: None,
        option_group: None,
        source_arn: None,
        tags: HoldfastTags {
            owner: Some(backup.owner.clone()),
            reason: Some(BASE_REASON.into()),
            ..HoldfastTags::default()
        },
    }
}

/// Timelines on which the window has moments: the newest one, and those of which something was stored within it.
fn timelines_of_window(system: &SystemInventory, start: Timestamp) -> Vec<TimelineId> {
    let all = known_timelines(system);
    let newest = all.last().copied();
    let recent = |timeline: TimelineId| {
        let mut own = system.segments.range((timeline, 0)..=(timeline, u64::MAX));
        own.any(|(_, s)| s.modified >= start)
            || system.backups.iter().any(|b| b.timeline == timeline && b.finished_at >= start)
    };
    all.into_iter().filter(|t| Some(*t) == newest || recent(*t)).collect()
}

/// The base backup that a timeline's window begins with: the newest whole one from before it; while there is none, the
/// oldest one.
fn first_backup_of_window(
    system: &SystemInventory,
    timeline: TimelineId,
    start: Timestamp,
) -> Option<&BaseBackupRecord> {
    let usable = |b: &&BaseBackupRecord| {
        system.histories.is_on_path(b.timeline, b.stop_lsn, timeline)
            && missing_wal(system, b).is_none()
    };
    let before = system.backups.iter().filter(usable).filter(|b| b.finished_at <= start);
    let newest = before.max_by_key(|b| (b.finished_at, b.stop_lsn));
    newest.or_else(|| system.backups.iter().find(usable))
}

/// Base backups that stay whatever their rule says, and why.
fn backups_of_window(
    system: &SystemInventory,
    start: Timestamp,
) -> Vec<(&BaseBackupRecord, String)> {
    let mut all: Vec<(&BaseBackupRecord, String)> = Vec::new();
    for timeline in timelines_of_window(system, start) {
        let first = first_backup_of_window(system, timeline, start);
        let why =
            format!("every moment that `wal.keep` promises of timeline {timeline} begins with it");
        all.extend(first.map(|b| (b, why)));
    }
    let young = system.backups.iter().filter(|b| b.finished_at > start);
    all.extend(young.map(|b| (b, "it is younger than `wal.keep`".to_owned())));
    let whole = system.backups.iter().filter(|b| missing_wal(system, b).is_none());
    // After an upgrade or a new server, it is all that is left of the old one.
    let newest = whole.max_by_key(|b| b.finished_at);
    all.extend(newest.map(|b| (b, "the newest base backup of its cluster".to_owned())));
    all
}

/// The segments of a cluster that something needs.
pub fn wal_needs(system: &SystemInventory, start: Timestamp) -> Vec<WalNeed> {
    let mut needs = Vec::new();
    for backup in &system.backups {
        let Some(numbers) = backup.needed_segments() else { continue };
        let reason = format!("base backup {} is nothing without it", backup.label);
        needs.push(WalNeed { timeline: backup.timeline, numbers, reason });
    }
    let Some(size) = system.segment_size else { return needs };
    for timeline in timelines_of_window(system, start) {
        let first = first_backup_of_window(system, timeline, start);
        // Without any base backup on the way, one may be under way: nothing of the way goes.
        let first = first.map_or(0, |b| size.segment_number(b.start_lsn));
        needs.extend(path_needs(system, timeline, first, size));
    }
    needs
}

/// Everything from a segment on along the way to a timeline. The segment in which a timeline was left is needed of both.
fn path_needs(
    system: &SystemInventory,
    timeline: TimelineId,
    first: u64,
    size: SegmentSize,
) -> impl Iterator<Item = WalNeed> {
    let reason = format!("within `wal.keep` on the way to timeline {timeline}");
    system.histories.path_to(timeline).into_iter().filter_map(move |span| {
        let from = size.segment_number(span.begin).max(first);
        let to = span.end.map_or(u64::MAX, |end| size.segment_number(end));
        (from <= to).then(|| WalNeed {
            timeline: span.timeline,
            numbers: from..=to,
            reason: reason.clone(),
        })
    })
}

/// Every object that belongs to a segment. History files stay: they are small, and without them no way is known.
fn wal_objects(system: &SystemInventory) -> Vec<WalObject> {
    let Some(size) = system.segment_size else { return Vec::new() };
    let named = |s: &crate::repository::StoredWalFile| {
        let name = match s.name.file {
            WalFileName::Segment(n)
            | WalFileName::Partial(n)
            | WalFileName::BackupHistory(n, _) => n,
            WalFileName::History(_) => return None,
        };
        Some(WalObject { timeline: name.timeline, number: name.number(size)?, key: s.key.clone() })
    };
    system.segments.values().chain(&system.extra_files).filter_map(named).collect()
}

#[cfg(test)]
mod tests;

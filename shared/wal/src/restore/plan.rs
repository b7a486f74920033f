//! Which base backup, which timeline, which WAL: from what lies in the archive. Pure.

use crate::{
    backup::BaseBackupRecord,
    error::{WalError, WalErrorKind},
    inventory::SystemInventory,
    name::{Lsn, SegmentName, TimelineId},
    windows::{PathSegment, segments_on_path},
};
use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;

/// What a server is restored to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecoveryTarget {
    /// Everything that is archived.
    Latest,
    /// Every transaction that was committed up to a time.
    Time(Timestamp),
    /// Everything up to a position, the record that begins there included.
    Lsn(Lsn),
    /// A point that was named by `pg_create_restore_point`.
    Name(String),
    /// Up to the commit of a transaction.
    Xid(u32),
}

/// How a restore is done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RecoveryPlan {
    /// The base backup.
    pub backup: BaseBackupRecord,
    /// The timeline that is followed.
    pub timeline: TimelineId,
    /// What it is restored to.
    pub target: RecoveryTarget,
    /// Whether the WAL surely goes beyond the time that was asked for: without that PostgreSQL would never reach it.
    pub reaches_target: bool,
    /// The last segment that is needed and there.
    pub last_segment: String,
    /// The newest commit in the WAL that is there on that way.
    pub newest_commit: Option<Timestamp>,
}

/// Chooses the newest base backup from which the target can be reached, on `timeline` or on the newest one.
///
/// # Errors
/// If there is none, or WAL is missing between it and the target.
pub fn plan_recovery(
    system: &SystemInventory,
    target: RecoveryTarget,
    timeline: Option<TimelineId>,
) -> Result<RecoveryPlan, WalError> {
    let known = system.segments.keys().chain(system.tails.keys()).map(|(t, _)| *t);
    let known = known.chain(system.histories.timelines());
    let Some(timeline) = timeline.or_else(|| known.max()) else {
        return Err(refused("no WAL is archived", "see whether archiving works"));
    };
    if !system.histories.knows(timeline) {
        let why = format!("the history file of timeline {timeline} is not in the archive");
        return Err(refused(
            why,
            "name another --timeline, or archive it from the server's pg_wal",
        ));
    }
    let fits = |b: &&BaseBackupRecord| match &target {
        RecoveryTarget::Time(at) => b.finished_at <= *at,
        RecoveryTarget::Lsn(lsn) => b.stop_lsn <= *lsn,
        RecoveryTarget::Latest | RecoveryTarget::Name(_) | RecoveryTarget::Xid(_) => true,
    };
    let on_path =
        |b: &&BaseBackupRecord| system.histories.is_on_path(b.timeline, b.stop_lsn, timeline);
    let Some(backup) = system.backups.iter().rev().filter(on_path).find(fits) else {
        let first = system.backups.iter().find(on_path);
        let why = first.map_or_else(
            || format!("no base backup lies on the way to timeline {timeline}"),
            |b| {
                format!(
                    "the earliest moment on timeline {timeline} is {} ({})",
                    b.finished_at, b.stop_lsn
                )
            },
        );
        return Err(refused(why, "choose a later moment, or another --timeline"));
    };
    let (Some(size), Some(needed)) = (backup.segment_size(), backup.needed_segments()) else {
        return Err(refused("the base backup's record is damaged", ""));
    };
    let path = segments_on_path(system, timeline, *needed.start());
    let commit = |s: &PathSegment| system.last_commit(s.timeline, s.number);
    // PostgreSQL stops before the first commit later than the time; the first segment with a newer one holds it.
    let reaching = match &target {
        RecoveryTarget::Time(at) => {
            path.iter().find(|s| commit(s).is_some_and(|t| t > *at)).map(|s| s.number)
        }
        RecoveryTarget::Lsn(lsn) => Some(size.segment_number(*lsn)),
        _ => None,
    };
    let last = reaching.or(path.last().map(|s| s.number)).unwrap_or_default().max(*needed.end());
    let name = |t, n| SegmentName::from_number(t, n, size).to_string();
    if let Some(missing) = path.iter().find(|s| s.number <= last && !s.present) {
        let why = format!(
            "the segment {} is missing in the archive",
            name(missing.timeline, missing.number)
        );
        return Err(refused(
            why,
            "choose a moment before the gap, or archive it from the server's pg_wal",
        ));
    }
    let Some(end) = path.iter().find(|s| s.number == last) else {
        let why = format!(
            "the archive ends before {} on timeline {timeline}",
            size.segment_start(last + 1)
        );
        return Err(refused(why, "choose an earlier moment, or wait until it is archived"));
    };
    // Of a segment that was not finished there is only its begin.
    let until = system.segment_end(end.timeline, end.number).unwrap_or_default();
    let needed = match &target {
        RecoveryTarget::Lsn(lsn) => backup.stop_lsn.max(*lsn),
        _ => backup.stop_lsn,
    };
    if until < needed {
        let why =
            format!("the archive ends at {until} on timeline {timeline}, and {needed} is needed");
        return Err(refused(why, "choose an earlier moment, or wait until it is archived"));
    }
    Ok(RecoveryPlan {
        backup: backup.clone(),
        timeline,
        reaches_target: reaching.is_some(),
        last_segment: name(end.timeline, end.number),
        newest_commit: path.iter().take_while(|s| s.present).filter_map(commit).max(),
        target,
    })
}

fn refused(why: impl Into<String>, hint: &str) -> WalError {
    WalError::new(WalErrorKind::Refused, "plan the restore", why, hint)
}

impl RecoveryPlan {
    /// Settings of the restored server, for `postgresql.auto.conf`. It never archives and follows nobody: it would write
    /// under the names of the living one.
    pub fn settings(&self, restore_command: &str, promote: bool) -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> = self.backup.settings.clone().into_iter().collect();
        let mut set = |name: &str, value: String| all.push((name.to_owned(), value));
        set("archive_mode", "off".into());
        set("primary_conninfo", String::new());
        set("primary_slot_name", String::new());
        set("restore_command", restore_command.into());
        set("recovery_target_timeline", self.timeline.to_string());
        set("recovery_target_action", if promote { "promote" } else { "pause" }.into());
        set("hot_standby", "on".into());
        // None of these may come from the source's own configuration.
        for name in ["", "_name", "_xid", "_time", "_lsn"] {
            set(&format!("recovery_target{name}"), String::new());
        }
        match &self.target {
            // A time after the last commit is never reached, and then PostgreSQL fails after the whole replay.
            RecoveryTarget::Time(at) if self.reaches_target => {
                let text =
                    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S%.6f+00").to_string();
                set("recovery_target_time", text);
            }
            RecoveryTarget::Time(_) | RecoveryTarget::Latest => {}
            RecoveryTarget::Lsn(lsn) => set("recovery_target_lsn", lsn.to_string()),
            RecoveryTarget::Name(name) => set("recovery_target_name", name.clone()),
            RecoveryTarget::Xid(xid) => set("recovery_target_xid", xid.to_string()),
        }
        all
    }
}

#[cfg(test)]
mod tests;

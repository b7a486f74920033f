//! Which moments can be restored: computed from what lies in the archive, and from nothing else.

use crate::{
    backup::BaseBackupRecord,
    inventory::SystemInventory,
    name::{Lsn, SegmentName, TimelineId},
};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeSet;

/// What of a cluster can be restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ArchiveWindows {
    /// The cluster.
    pub system: u64,
    /// A window for each end of the WAL that a base backup reaches.
    pub windows: Vec<RestorableWindow>,
    /// Segments that are missing between others.
    pub gaps: Vec<WalGap>,
    /// What can't be used.
    pub faults: Vec<String>,
}

/// Moments that can be restored, each of them, on the way to one timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RestorableWindow {
    /// The timeline that it ends on.
    pub timeline: TimelineId,
    /// The base backup that it begins with.
    pub backup: String,
    /// The earliest moment: when that backup was complete.
    pub from: Timestamp,
    /// The newest commit that is archived; none where nothing was committed since.
    pub until: Option<Timestamp>,
    /// Its begin in the WAL.
    pub from_lsn: Lsn,
    /// Where the archived WAL ends.
    pub until_lsn: Lsn,
}

/// Segments that are missing: nothing after them can be restored from a base backup before them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WalGap {
    /// The timeline on the way to which they are missing.
    pub timeline: TimelineId,
    /// The first that is missing.
    pub first: String,
    /// The last that is missing.
    pub last: String,
}

/// A segment on a way through timelines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathSegment {
    /// The timeline whose segment is replayed.
    pub timeline: TimelineId,
    /// Its number.
    pub number: u64,
    /// Whether it is there.
    pub present: bool,
}

/// The segments from `first` to the last one that is archived, on the way to a timeline. Where a timeline is left in the
/// middle of a segment, the next timeline's segment of that number is the one that is replayed.
pub fn segments_on_path(
    system: &SystemInventory,
    target: TimelineId,
    first: u64,
) -> Vec<PathSegment> {
    let Some(size) = system.segment_size else { return Vec::new() };
    let mut all = Vec::new();
    let mut next = first;
    for span in system.histories.path_to(target) {
        let of_timeline = (span.timeline, 0)..=(span.timeline, u64::MAX);
        let whole = system.segments.range(of_timeline.clone()).next_back().map(|((_, n), _)| *n);
        // A segment that is not whole is one only where nothing comes after it: recovery ends there.
        let unfinished = system.tails.range(of_timeline).next_back().map(|((_, n), _)| *n);
        let unfinished = unfinished.filter(|n| span.end.is_none() && whole.is_none_or(|w| w < *n));
        let end = match span.end {
            Some(end) => size.segment_number(end),
            None => whole.max(unfinished).map_or(next, |last| last + 1),
        };
        // Numbers of a forged history could be far away; what is not there is one gap all the same.
        for number in next..end.min(next.saturating_add(1 << 22)) {
            let present = system.segments.contains_key(&(span.timeline, number))
                || unfinished == Some(number);
            all.push(PathSegment { timeline: span.timeline, number, present });
        }
        next = next.max(end);
    }
    all
}

/// The timelines that something lies of.
pub(crate) fn known_timelines(system: &SystemInventory) -> BTreeSet<TimelineId> {
    let of_segments = system.segments.keys().map(|(timeline, _)| *timeline);
    of_segments
        .chain(system.histories.timelines())
        .chain(system.backups.iter().map(|b| b.timeline))
        .collect()
}

/// Computes what can be restored of a cluster.
pub fn compute_windows(system: &SystemInventory) -> ArchiveWindows {
    let mut result = ArchiveWindows {
        system: system.system,
        windows: Vec::new(),
        gaps: Vec::new(),
        faults: system.faults.clone(),
    };
    for timeline in known_timelines(system) {
        if !system.histories.knows(timeline) {
            let why = format!(
                "the history file {timeline:08X}.history is missing: where that timeline came from is not known"
            );
            result.faults.push(why);
            continue;
        }
        result.windows.extend(timeline_windows(system, timeline));
        result.gaps.extend(timeline_gaps(system, timeline));
    }
    result
}

/// The windows that end on a timeline: from the oldest base backup of each run of segments without a gap.
fn timeline_windows(system: &SystemInventory, timeline: TimelineId) -> Vec<RestorableWindow> {
    let mut windows: Vec<RestorableWindow> = Vec::new();
    let usable =
        |b: &&BaseBackupRecord| system.histories.is_on_path(b.timeline, b.stop_lsn, timeline);
    for backup in system.backups.iter().filter(usable) {
        let (Some(size), Some(needed)) = (backup.segment_size(), backup.needed_segments()) else {
            continue;
        };
        let path = segments_on_path(system, timeline, *needed.start());
        let run: Vec<_> = path.iter().take_while(|s| s.present).collect();
        let Some(last) = run.last().filter(|s| s.number >= *needed.end()) else { continue };
        let until_lsn = system.segment_end(last.timeline, last.number);
        let until_lsn = until_lsn.unwrap_or_else(|| size.segment_start(last.number + 1));
        if until_lsn < backup.stop_lsn {
            continue;
        }
        // A later backup of the same run adds no moment.
        if windows.iter().any(|w| w.until_lsn == until_lsn) {
            continue;
        }
        let commits = run.iter().filter_map(|s| system.last_commit(s.timeline, s.number));
        windows.push(RestorableWindow {
            timeline,
            backup: backup.label.clone(),
            from: backup.finished_at,
            until: commits.max().filter(|t| *t > backup.finished_at),
            from_lsn: backup.stop_lsn,
            until_lsn,
        });
    }
    windows
}

/// The segments that are missing on the way to a timeline, after the first that is there.
fn timeline_gaps(system: &SystemInventory, timeline: TimelineId) -> Vec<WalGap> {
    let Some(size) = system.segment_size else { return Vec::new() };
    let on_path =
        |t: TimelineId, n: u64| system.histories.is_on_path(t, size.segment_start(n), timeline);
    let first = system.segments.keys().filter(|(t, n)| on_path(*t, *n)).map(|(_, n)| *n).min();
    let Some(first) = first else { return Vec::new() };
    let path = segments_on_path(system, timeline, first);
    let name = |s: &PathSegment| SegmentName::from_number(s.timeline, s.number, size).to_string();
    path.chunk_by(|a, b| a.present == b.present)
        .filter(|run| !run[0].present)
        .map(|run| WalGap { timeline, first: name(&run[0]), last: name(&run[run.len() - 1]) })
        .collect()
}

impl ArchiveWindows {
    /// Whether something can be restored, and nothing is missing or in doubt.
    pub fn is_whole(&self) -> bool {
        !self.windows.is_empty() && self.gaps.is_empty() && self.faults.is_empty()
    }

    /// In words, a line each.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for w in &self.windows {
            let until = w
                .until
                .map_or("nothing was committed since".into(), |t| format!("newest commit {t}"));
            lines.push(format!(
                "timeline {}: every moment from {} ({}) to {} ({until}), base backup {}",
                w.timeline, w.from, w.from_lsn, w.until_lsn, w.backup
            ));
        }
        if self.windows.is_empty() {
            lines.push(
                "NOTHING can be restored: there is no base backup with all of its WAL".into(),
            );
        }
        for g in &self.gaps {
            lines.push(format!(
                "GAP on the way to timeline {}: {} to {} are missing",
                g.timeline, g.first, g.last
            ));
        }
        lines.extend(self.faults.iter().map(|f| format!("FAULT {f}")));
        lines
    }
}

//! History files: where a timeline left the one before.
//! <https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-TIMELINES>

use crate::name::{Lsn, TimelineId};
use serde::Serialize;
use std::collections::BTreeMap;

/// A part of a way through timelines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TimelineSpan {
    /// The timeline.
    pub timeline: TimelineId,
    /// Where it begins on this way.
    pub begin: Lsn,
    /// Where the next one takes over; none for the last.
    pub end: Option<Lsn>,
}

/// The ancestors of each timeline of a cluster, oldest first, as its history file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimelineHistories(BTreeMap<TimelineId, Vec<(TimelineId, Lsn)>>);

/// Reads a history file: each ancestor with the position at which it was left.
///
/// # Errors
/// In words, if it is none.
pub fn parse_history(timeline: TimelineId, text: &str) -> Result<Vec<(TimelineId, Lsn)>, String> {
    let mut all: Vec<(TimelineId, Lsn)> = Vec::new();
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let mut fields = line.split_whitespace();
        let parsed = fields.next().and_then(|t| t.parse().ok()).zip(fields.next());
        let parsed = parsed.and_then(|(t, lsn)| Some((t, lsn.parse::<Lsn>().ok()?)));
        let (parent, lsn) = parsed.ok_or("a line of it names no timeline and position")?;
        // As PostgreSQL reads it: ids grow, and so do positions.
        if parent >= timeline || all.last().is_some_and(|(t, l)| *t >= parent || *l > lsn) {
            return Err(format!("timeline {parent} can't come before timeline {timeline} there"));
        }
        all.push((parent, lsn));
    }
    Ok(all)
}

impl TimelineHistories {
    /// Adds what a history file says.
    pub fn insert(&mut self, timeline: TimelineId, ancestors: Vec<(TimelineId, Lsn)>) {
        self.0.insert(timeline, ancestors);
    }

    /// Whether the way to a timeline is known: 1 has none before it.
    pub fn knows(&self, timeline: TimelineId) -> bool {
        timeline == 1 || self.0.contains_key(&timeline)
    }

    /// The timeline that this one left, and where.
    pub fn parent(&self, timeline: TimelineId) -> Option<(TimelineId, Lsn)> {
        self.0.get(&timeline)?.last().copied()
    }

    /// Every timeline with a history file.
    pub fn timelines(&self) -> impl Iterator<Item = TimelineId> {
        self.0.keys().copied()
    }

    /// The way from the first timeline to the end of this one.
    pub fn path_to(&self, timeline: TimelineId) -> Vec<TimelineSpan> {
        let mut begin = Lsn(0);
        let mut path = Vec::new();
        for (ancestor, end) in self.0.get(&timeline).into_iter().flatten() {
            path.push(TimelineSpan { timeline: *ancestor, begin, end: Some(*end) });
            begin = *end;
        }
        path.push(TimelineSpan { timeline, begin, end: None });
        path
    }

    /// Whether a position of `timeline` lies on the way to `target`.
    pub fn is_on_path(&self, timeline: TimelineId, lsn: Lsn, target: TimelineId) -> bool {
        let path = self.path_to(target);
        path.iter().any(|s| s.timeline == timeline && s.end.is_none_or(|end| lsn <= end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_through_timelines_ends_each_where_the_next_took_over() {
        let text =
            "1\t0/3000158\tno recovery target specified\n\n3\t0/5000000\tbefore 2026-11-27\n";
        let mut all = TimelineHistories::default();
        all.insert(5, parse_history(5, text).expect("a history"));
        let path = all.path_to(5);
        let seen: Vec<_> =
            path.iter().map(|s| (s.timeline, s.begin.0, s.end.map(|e| e.0))).collect();
        let expected =
            [(1, 0, Some(0x300_0158)), (3, 0x300_0158, Some(0x500_0000)), (5, 0x500_0000, None)];
        assert_eq!(seen, expected);
        assert!(all.is_on_path(1, Lsn(0x300_0158), 5));
        assert!(!all.is_on_path(1, Lsn(0x300_0159), 5), "left before that");
        assert!(!all.is_on_path(2, Lsn(1), 5), "another branch");
        assert_eq!(all.parent(5), Some((3, Lsn(0x500_0000))));
        assert!(all.knows(1) && all.knows(5) && !all.knows(2));
        assert_eq!(all.path_to(2).len(), 1);
    }

    #[test]
    fn what_is_no_history_is_refused() {
        for bad in ["x\t0/1\tx", "1", "3\t0/1\tx", "2\t0/1\tx\n1\t0/2\tx", "1\t0/5\tx\n2\t0/4\tx"] {
            parse_history(3, bad).expect_err(bad);
        }
        assert_eq!(parse_history(2, ""), Ok(Vec::new()));
    }
}

//! Which WAL may go: what nothing needs any more. The only maker of a permit for WAL.
//!
//! What needs WAL follows from timelines and positions and comes in as [`WalNeed`]s; a name or an age alone never decides.

use crate::plan::DeletionPermit;
use jiff::Timestamp;
use serde::Serialize;
use std::ops::RangeInclusive;

/// So many objects go in one step at most.
const MAX_RUN_OBJECTS: usize = 1000;

/// An object of a WAL archive that belongs to one segment: the segment, a partial one, or a second content of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalObject {
    /// The timeline in its name.
    pub timeline: u32,
    /// The segment's number.
    pub number: u64,
    /// Its key below the store's prefix.
    pub key: String,
}

/// Segments of a timeline that a restore needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalNeed {
    /// The timeline.
    pub timeline: u32,
    /// The segments' numbers.
    pub numbers: RangeInclusive<u64>,
    /// What needs them.
    pub reason: String,
}

/// Objects of one timeline, ordered by position, that go together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WalRun {
    /// The cluster's system identifier.
    pub system: u64,
    /// The timeline.
    pub timeline: u32,
    /// Number of the first segment.
    pub first: u64,
    /// Number of the last segment.
    pub last: u64,
    /// The objects' keys, oldest first.
    pub keys: Vec<String>,
}

/// The WAL of one cluster in one archive, and what is known of who needs it.
#[derive(Clone, Debug, Default)]
pub struct WalRetentionInput {
    /// The cluster's system identifier.
    pub system: u64,
    /// Every object of it.
    pub objects: Vec<WalObject>,
    /// What is needed.
    pub needs: Vec<WalNeed>,
    /// Why nothing goes now, whatever is needed.
    pub suspended: Option<String>,
}

/// What becomes of a cluster's WAL.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WalRetentionVerdict {
    /// May go, oldest first.
    pub deletable: Vec<DeletionPermit<WalRun>>,
    /// Objects that something needs.
    pub needed: usize,
    /// Objects that nothing needs and that stay, because deletion is suspended.
    pub suspended: usize,
}

/// Decides it. Without a single need nothing goes: an archive in which nothing can be restored is no archive to clear up.
pub fn decide_wal_retention(input: &WalRetentionInput, now: Timestamp) -> WalRetentionVerdict {
    let is_needed = |o: &&WalObject| {
        input.needs.iter().any(|n| n.timeline == o.timeline && n.numbers.contains(&o.number))
    };
    let mut going: Vec<&WalObject> = input.objects.iter().filter(|o| !is_needed(o)).collect();
    let needed = input.objects.len() - going.len();
    if input.suspended.is_some() || input.needs.is_empty() {
        return WalRetentionVerdict { needed, suspended: going.len(), ..Default::default() };
    }
    going.sort_by(|a, b| (a.number, a.timeline, &a.key).cmp(&(b.number, b.timeline, &b.key)));
    let mut runs: Vec<WalRun> = Vec::new();
    for object in going {
        match runs.last_mut() {
            Some(run)
                if run.timeline == object.timeline
                    && object.number <= run.last + 1
                    && run.keys.len() < MAX_RUN_OBJECTS =>
            {
                run.last = object.number;
                run.keys.push(object.key.clone());
            }
            _ => runs.push(WalRun {
                system: input.system,
                timeline: object.timeline,
                first: object.number,
                last: object.number,
                keys: vec![object.key.clone()],
            }),
        }
    }
    let deletable = runs.into_iter().map(|run| DeletionPermit::new(run, now)).collect();
    WalRetentionVerdict { deletable, needed, suspended: 0 }
}

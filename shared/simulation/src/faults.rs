//! Faults that begin and end, and moments that just happen.

use crate::{
    trouble::{CallKind, Trouble},
    world::{Change, DEFAULT_SNAPSHOT_QUOTA, World},
};
use jiff::SignedDuration;
use shared::{aws::kms::KeyState, catalog::Location};

/// Something that is wrong for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Runs are killed before one of their first calls.
    Killed(usize),
    /// Percent of answers that are lost after they took effect.
    LostAnswers(u8),
    /// Percent of calls that are throttled.
    Throttled(u8),
    /// A role lacks a permission.
    Denied(CallKind),
    /// A location does not answer.
    Unobserved(Location),
    /// Stores do not answer.
    StoresUnobserved,
    /// Lists are older than the last write.
    StaleLists(SignedDuration),
    /// Percent of snapshots that fail.
    FailingSnapshots(u8),
    /// Percent of copies that fail.
    FailingCopies(u8),
    /// A KMS key is disabled.
    KeyDisabled(String),
    /// The quota of manual snapshots at a location is this small.
    Quota(Location, usize),
    /// The functions' clock is ahead (or behind, when negative).
    Clock(SignedDuration),
    /// Events are lost, doubled and late.
    Events,
    /// PostgreSQL servers can't be connected to.
    ServersDown,
}

impl Fault {
    /// Its word, by which `--fault` names it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Killed(_) => "killed",
            Self::LostAnswers(_) => "lost-answers",
            Self::Throttled(_) => "throttled",
            Self::Denied(_) => "denied",
            Self::Unobserved(_) => "unobserved",
            Self::StoresUnobserved => "stores-unobserved",
            Self::StaleLists(_) => "stale-lists",
            Self::FailingSnapshots(_) => "failing-snapshots",
            Self::FailingCopies(_) => "failing-copies",
            Self::KeyDisabled(_) => "key-disabled",
            Self::Quota(..) => "quota",
            Self::Clock(_) => "clock",
            Self::Events => "events",
            Self::ServersDown => "servers-down",
        }
    }

    /// It begins.
    pub(crate) fn begin(&self, trouble: &mut Trouble, world: &mut World) {
        match self {
            Self::Killed(most) => trouble.killed = Some(*most),
            Self::LostAnswers(share) => trouble.lost_answers = *share,
            Self::Throttled(share) => trouble.throttled = *share,
            Self::Denied(kind) => drop(trouble.denied.insert(*kind)),
            Self::Unobserved(location) => drop(trouble.unobserved.insert(location.clone())),
            Self::StoresUnobserved => trouble.stores_unobserved = true,
            Self::StaleLists(lag) => trouble.stale = Some(*lag),
            Self::FailingSnapshots(share) => world.pace.failing_snapshots = *share,
            Self::FailingCopies(share) => world.pace.failing_copies = *share,
            Self::KeyDisabled(key) => drop(world.keys.insert(key.clone(), KeyState::Disabled)),
            Self::Quota(location, most) => world.at_mut(location).quota = *most,
            Self::Clock(ahead) => trouble.clock = *ahead,
            Self::Events => trouble.events = true,
            Self::ServersDown => world.servers.values_mut().for_each(|s| s.is_up = false),
        }
    }

    /// It ends.
    pub(crate) fn end(&self, trouble: &mut Trouble, world: &mut World) {
        match self {
            Self::Killed(_) => trouble.killed = None,
            Self::LostAnswers(_) => trouble.lost_answers = 0,
            Self::Throttled(_) => trouble.throttled = 0,
            Self::Denied(kind) => drop(trouble.denied.remove(kind)),
            Self::Unobserved(location) => drop(trouble.unobserved.remove(location)),
            Self::StoresUnobserved => trouble.stores_unobserved = false,
            Self::StaleLists(_) => trouble.stale = None,
            Self::FailingSnapshots(_) => world.pace.failing_snapshots = 0,
            Self::FailingCopies(_) => world.pace.failing_copies = 0,
            Self::KeyDisabled(key) => drop(world.keys.remove(key)),
            Self::Quota(location, _) => world.at_mut(location).quota = DEFAULT_SNAPSHOT_QUOTA * 20,
            Self::Clock(_) => trouble.clock = SignedDuration::ZERO,
            Self::Events => trouble.events = false,
            Self::ServersDown => world.servers.values_mut().for_each(|s| s.is_up = true),
        }
    }
}

/// Something that happens at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A fault begins.
    Begin(Fault),
    /// A fault ends.
    End(Fault),
    /// Somebody changes something.
    Change(Location, Change),
    /// A pipeline asks a policy for snapshots: by number, the reason, and the request's name.
    Deploy(usize, String, String),
    /// An attacker adds a dump to a store of a policy.
    Plant(usize),
    /// Databases of PostgreSQL servers change.
    NewContents,
    /// A person looks after what is left of the trouble: what failed for good is deleted, what was stopped runs again.
    LookAfter,
}

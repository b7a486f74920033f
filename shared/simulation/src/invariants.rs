//! What must never happen, held against every step before it is done: DESIGN.md's list and docs/safety.md, as far as they
//! can be seen from outside of the functions.

mod deletes;
mod dumps;
mod status;

use crate::{oracle::SimpleSchedule, policies::SimulatedPolicy, trouble::Trouble, world::World};
use jiff::{SignedDuration, Timestamp};
use shared::{
    aws::rds::SnapshotCopyRequest,
    catalog::{Location, RdsDatabase, RecoveryPoint, RecoveryPointState},
    policy::{DatabaseGroup, ScheduleConfig, evaluate_selector},
    time::{CronSchedule, parse_slot},
};
use snapshot::SnapshotAction;
use std::{cell::RefCell, collections::BTreeMap};

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When, by the true clock.
    pub at: Timestamp,
    /// The rule, in a word.
    pub rule: &'static str,
    /// What happened.
    pub what: String,
}

/// Copies that were made again after a good one was deleted are tolerated this often: people delete and clocks jump.
const MAX_REMADE_COPIES: usize = 4;

/// What is remembered from step to step, and what was found.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    /// Whether anything is checked at all.
    pub enabled: bool,
    /// Rules that were broken.
    pub violations: Vec<Violation>,
    /// Questions that were asked.
    pub asked: u64,
    /// Good points at each location before a run of retention, and how many of them it deletes.
    deleting: BTreeMap<Location, (usize, usize)>,
    /// By owner, location and source, how often a copy was begun after one was good there.
    remade: BTreeMap<(String, Location, String), usize>,
    /// Whether everything has been calm for so long that everything must be as the policy wants it.
    pub is_calm: bool,
}

/// Whether a point counts: complete, of this owner, and no transfer copy.
fn counts(point: &RecoveryPoint, owner: &str) -> bool {
    point.is_complete() && point.is_owned_by(owner) && !point.tags.transfer && !point.automated
}

/// The group that a database belongs to: the first by name that selects it.
fn group_of<'p>(policy: &'p SimulatedPolicy, database: &RdsDatabase) -> Option<&'p DatabaseGroup> {
    let selects = |group: &&DatabaseGroup| {
        evaluate_selector(&group.select, &database.id, &database.tags).is_ok()
    };
    policy.policy.databases.values().find(selects).filter(|_| database.replica_of.is_none())
}

/// When a schedule was due at last: by the oracle where it knows the form.
fn last_due(policy: &SimulatedPolicy, when: &ScheduleConfig, now: Timestamp) -> Option<Timestamp> {
    thread_local! {
        static KNOWN: RefCell<BTreeMap<String, Option<SimpleSchedule>>> =
            const { RefCell::new(BTreeMap::new()) };
    }
    let zone = when.time_zone.as_ref().unwrap_or(&policy.policy.time_zone);
    KNOWN.with_borrow_mut(|known| {
        let simple = known
            .entry(format!("{} {zone}", when.cron))
            .or_insert_with(|| SimpleSchedule::parse(when.cron.as_str(), zone.zone()));
        match simple {
            Some(simple) => simple.last_due(now),
            None => CronSchedule::new(when, &policy.policy.time_zone).last_due(now),
        }
    })
}

impl Checks {
    /// Checks that hold everything against the rules.
    pub fn enabled() -> Self {
        Self { enabled: true, ..Self::default() }
    }

    fn expect(
        &mut self,
        holds: bool,
        at: Timestamp,
        rule: &'static str,
        what: impl FnOnce() -> String,
    ) {
        self.asked += 1;
        if !holds && self.violations.len() < 20 {
            self.violations.push(Violation { at, rule, what: what() });
        }
    }

    /// A snapshot is about to be begun.
    pub(crate) fn before_snapshot(
        &mut self,
        world: &World,
        policy: &SimulatedPolicy,
        trouble: &Trouble,
        action: &SnapshotAction,
        now: Timestamp,
    ) {
        let SnapshotAction::Create { family, id, resource_id, tags, .. } = action else { return };
        if !self.enabled {
            return;
        }
        let home = policy.home();
        let points = world.at(&home).map_or(&[][..], |f| &f.points);
        let taken = points.iter().any(|p| p.kind == *family && p.id == *id);
        let fresh = trouble.stale.is_none();
        self.expect(!taken || !fresh, world.now, "one-identifier", || {
            format!("{id} is given twice")
        });
        let tags =
            shared::catalog::HoldfastTags::from_tags(tags.iter().map(|(k, v)| (k.as_str(), v)));
        if tags.request.is_some() {
            return;
        }
        for (reason, slot) in tags.reasons_with_slots() {
            let rule = policy.policy.databases.values().find_map(|g| {
                g.snapshots
                    .iter()
                    .find(|(r, _)| r.as_str() == reason)
                    .and_then(|(_, s)| s.schedule.as_ref())
            });
            let due = rule.and_then(|when| last_due(policy, when, now));
            let slot = slot.and_then(parse_slot);
            self.expect(slot.is_some() && slot == due, world.now, "right-slot", || {
                format!("{id} is for {slot:?}, and {reason} was due at {due:?}")
            });
            let same = |p: &&RecoveryPoint| {
                p.resource_id == *resource_id
                    && p.is_owned_by(&policy.owner)
                    && p.tags.copy_of.is_none()
                    && !matches!(p.state, RecoveryPointState::Failed(_))
                    && p.slot_for(reason).and_then(parse_slot) == slot
            };
            let twice = points.iter().find(same).map(|p| p.id.clone());
            self.expect(twice.is_none() || !fresh, world.now, "never-doubles", || {
                format!("{id} is for a slot of {reason} that {twice:?} has served")
            });
        }
    }

    /// A copy is about to be begun.
    pub(crate) fn before_copy(
        &mut self,
        world: &World,
        policy: &SimulatedPolicy,
        to: &Location,
        copy: &SnapshotCopyRequest,
    ) {
        if !self.enabled {
            return;
        }
        let to = crate::world::without_roles(to);
        let key = (policy.owner.clone(), to.clone(), copy.source_arn.clone());
        let again = self.remade.get(&key).copied().unwrap_or(0);
        self.expect(again <= MAX_REMADE_COPIES, world.now, "no-copies-for-nothing", || {
            format!(
                "{} is copied to {to} once more, after {again} good copies were deleted",
                copy.source_arn
            )
        });
        let mut all = world.locations.values().flat_map(|f| &f.points);
        let source = all.find(|p| p.arn == copy.source_arn);
        let ours = source.is_none_or(|p| p.automated || p.is_owned_by(&policy.owner));
        self.expect(ours, world.now, "own-points-only", || {
            format!("{} is copied and is not of {}", copy.source_arn, policy.owner)
        });
    }
}

/// Time that a scheduled backup has before it counts as not made, by docs/policy.md: six hours, or until the next one.
const GRACE: SignedDuration = SignedDuration::from_hours(6);
/// A snapshot's data may be this much older than the moment that it was due.
const BEFORE_DUE: SignedDuration = SignedDuration::from_mins(30);

/// The newest slot of a schedule whose backup must be there by now.
fn owed(policy: &SimulatedPolicy, when: &ScheduleConfig, now: Timestamp) -> Option<Timestamp> {
    let newest = last_due(policy, when, now)?;
    let before = last_due(policy, when, newest - SignedDuration::from_secs(1));
    let grace = before.map_or(GRACE, |b| GRACE.min(newest.duration_since(b)));
    last_due(policy, when, now - grace)
}

//! What `freshness` says, held against what there is: nobody is told green for what is not.

use super::{Checks, counts, group_of, last_due};
use crate::{functions::FunctionRun, policies::SimulatedPolicy, trouble::Trouble, world::World};
use jiff::{SignedDuration, Timestamp};
use shared::{
    catalog::{Location, RdsDatabase, RecoveryPoint},
    plan::{FindingCode, Severity},
    policy::{DatabaseGroup, SnapshotCopyRule, text::Period},
};

/// Clocks may differ by this much.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// Time in which a slot is served when nothing is in the way: a run, and a busy hour.
const SERVED_WITHIN: SignedDuration = SignedDuration::from_hours(3);

impl Checks {
    /// `freshness` has evaluated everything.
    pub(crate) fn after_freshness(
        &mut self,
        world: &World,
        policy: &SimulatedPolicy,
        trouble: &Trouble,
        run: &FunctionRun,
        now: Timestamp,
    ) {
        let home = policy.home();
        let skewed = trouble.clock.abs() > CLOCK_SKEW;
        if !self.enabled || skewed || policy.policy.home.is_none() {
            return;
        }
        if trouble.unobserved.contains(&home) {
            let gap = run.findings.iter().any(|f| {
                f.code == FindingCode::ObservationFailed && f.severity == Severity::Critical
            });
            self.expect(gap, world.now, "gap-is-said", || {
                "home was not observed, and that is not critical".into()
            });
            return;
        }
        let fleet = world.at(&home).map_or(&[][..], |f| &f.databases);
        for database in fleet {
            let Some(group) = group_of(policy, database) else { continue };
            self.check_asset(world, policy, trouble, (database, group), run, now);
        }
        if self.is_calm {
            let critical = run.findings.iter().find(|f| f.severity == Severity::Critical);
            self.expect(critical.is_none(), world.now, "green-again", || {
                format!(
                    "all is calm for long, and still: {}",
                    critical.map_or_else(String::new, ToString::to_string)
                )
            });
        }
    }

    fn check_asset(
        &mut self,
        world: &World,
        policy: &SimulatedPolicy,
        trouble: &Trouble,
        (database, group): (&RdsDatabase, &DatabaseGroup),
        run: &FunctionRun,
        now: Timestamp,
    ) {
        // An instance and a cluster of one name have a row each.
        let rows: Vec<_> = run.assets.iter().filter(|a| a.asset == database.id).collect();
        let id = &database.id;
        self.expect(!rows.is_empty(), world.now, "every-asset-has-a-row", || {
            format!("{id} has none")
        });
        let is_bad = |bad: Severity| rows.iter().any(|r| r.max_severity >= Some(bad));
        let home = policy.home();
        let newest = newest_of(world, &home, database, now, |p| !p.tags.transfer);
        let is_young =
            |most: SignedDuration| database.created.is_some_and(|c| now.duration_since(c) < most);
        if let Some(most) = group.objectives.max_age.as_ref().map(Period::duration) {
            let stale = newest.is_none_or(|t| now.duration_since(t) > most)
                && !(newest.is_none() && is_young(most));
            self.expect(!stale || is_bad(Severity::Critical), world.now, "stale-is-critical", || {
                format!("{id} has its newest data of {newest:?} and may have it {most:?} old, and is {:?}", rows[0].max_severity)
            });
        }
        for rule in &group.copies {
            self.check_copies(
                world,
                policy,
                (database, rule),
                newest.is_some(),
                is_bad(Severity::Critical),
                now,
            );
        }
        if self.is_calm && trouble.stale.is_none() {
            self.check_slots(world, policy, database, group, now);
        }
    }

    fn check_copies(
        &mut self,
        world: &World,
        policy: &SimulatedPolicy,
        (database, rule): (&RdsDatabase, &SnapshotCopyRule),
        has_points: bool,
        is_critical: bool,
        now: Timestamp,
    ) {
        let Some(most) = rule.max_age.as_ref().map(Period::duration) else { return };
        let Some(to) = Location::for_destination(&policy.policy, &rule.to) else { return };
        let ours = |p: &RecoveryPoint| {
            counts(p, &policy.owner)
                && p.tags.copy_of.is_some()
                && rule.of.iter().any(|r| p.has_reason(r.as_str()))
        };
        let newest = newest_of(world, &to, database, now, ours);
        let young = database.created.is_some_and(|c| now.duration_since(c) < most);
        let stale = newest.is_none_or(|t| now.duration_since(t) > most);
        let excused = newest.is_none() && (young || !has_points);
        self.expect(!stale || excused || is_critical, world.now, "stale-copy-is-critical", || {
            format!("{} has its newest copy at {to} of {newest:?}, may have it {most:?} old, and is not critical", database.id)
        });
    }

    /// After a long calm every slot is served.
    fn check_slots(
        &mut self,
        world: &World,
        policy: &SimulatedPolicy,
        database: &RdsDatabase,
        group: &DatabaseGroup,
        now: Timestamp,
    ) {
        for (reason, rule) in &group.snapshots {
            let due = rule.schedule.as_ref().and_then(|w| last_due(policy, w, now - SERVED_WITHIN));
            // Later its own rule may have let it go.
            let Some(due) = due.filter(|due| now.duration_since(*due) < DAY) else { continue };
            let here = world.at(&policy.home()).map_or(&[][..], |f| &f.points);
            let served = here.iter().any(|p| {
                p.resource_id == database.resource_id
                    && counts(p, &policy.owner)
                    && p.has_reason(reason.as_str())
                    && p.data_time >= Some(due)
            });
            let made = database.created.is_some_and(|c| c > due);
            self.expect(served || made, world.now, "never-skips", || {
                format!("{} has no {reason} snapshot of {due}", database.id)
            });
        }
    }
}

/// The newest data that can be restored.
fn newest_of(
    world: &World,
    at: &Location,
    database: &RdsDatabase,
    now: Timestamp,
    of: impl Fn(&RecoveryPoint) -> bool,
) -> Option<Timestamp> {
    let all = world.at(at).map_or(&[][..], |f| &f.points);
    all.iter()
        .filter(|p| p.kind == database.family && p.resource_id == database.resource_id)
        .filter(|p| p.is_complete() && of(p) && world.is_usable(p.kms_key.as_deref()))
        .filter_map(|p| p.data_time)
        .filter(|t| *t <= now + CLOCK_SKEW)
        .max()
}

//! The policies of a simulation, each with what follows from it alone.

use crate::world::without_roles;
use jiff::{SignedDuration, Timestamp};
use shared::{
    catalog::Location,
    observe::snapshot_locations,
    policy::{DatabaseGroup, Policy, RetentionRule, ScheduleConfig, text::Period},
    time::CronSchedule,
};
use std::collections::BTreeSet;

/// A policy and its places.
#[derive(Clone, Debug)]
pub struct SimulatedPolicy {
    /// The policy.
    pub policy: Policy,
    /// What tags its points.
    pub owner: String,
    /// Its locations with their roles, home first.
    pub locations: Vec<Location>,
    /// The same without roles.
    pub bare_locations: Vec<Location>,
}

impl SimulatedPolicy {
    /// A policy to be simulated.
    pub fn new(policy: Policy) -> Self {
        let locations = snapshot_locations(&policy);
        let bare_locations = locations.iter().map(without_roles).collect();
        Self { owner: policy.owner(), policy, locations, bare_locations }
    }

    /// Where its databases are.
    pub fn home(&self) -> Location {
        Location::home_from_policy(&self.policy)
    }

    /// Whether something that happens at a location can matter to it.
    pub fn reaches(&self, location: &Location) -> bool {
        self.bare_locations.contains(location)
    }

    /// Every schedule of it.
    pub(crate) fn schedules(&self) -> Vec<&ScheduleConfig> {
        let snapshots = self.policy.databases.values().flat_map(|g| g.snapshots.values());
        let dumps = self.policy.postgres.values().flat_map(|g| g.dumps.values());
        let whens = snapshots.filter_map(|s| s.schedule.as_ref());
        whens
            .chain(dumps.filter_map(|d| d.schedule.as_ref()))
            .chain(self.policy.retention.schedule.as_ref())
            .collect()
    }

    /// Every length of time after which a point may count otherwise than before: ages of rules and objectives, and the
    /// graces that docs/policy.md names.
    pub(crate) fn ages(&self) -> BTreeSet<SignedDuration> {
        let mut ages =
            BTreeSet::from([SignedDuration::from_hours(24), SignedDuration::from_hours(48)]);
        for group in self.policy.databases.values() {
            ages.extend(group_ages(group));
        }
        for group in self.policy.postgres.values() {
            ages.extend(group.objectives.max_age.iter().map(Period::duration));
            ages.extend(group.dumps.values().filter_map(|d| rule_age(&d.keep)));
            let own = group.copies.iter().filter_map(|s| s.keep.as_ref());
            ages.extend(own.filter_map(rule_age));
            ages.insert(SignedDuration::from_hours(24 * 30)); // dumps before a restore
        }
        ages
    }

    /// The moments from `from` to `to` at which a schedule comes due, or one of the graces after that is over.
    pub(crate) fn schedule_moments(&self, from: Timestamp, to: Timestamp) -> BTreeSet<Timestamp> {
        let graces =
            [0, 30, 60, 360, 7 * 60, 24 * 60, 30 * 60, 48 * 60].map(SignedDuration::from_mins);
        let mut moments = BTreeSet::new();
        for when in self.schedules() {
            let schedule = CronSchedule::new(when, &self.policy.time_zone);
            let mut at = from - SignedDuration::from_hours(72);
            let mut before = None;
            while let Some(due) = schedule.next_due(at).filter(|due| *due <= to) {
                moments.extend(graces.iter().map(|grace| due + *grace));
                // Of what is due often, the grace ends with the next slot, and the copy's a day after that.
                if let Some(interval) = before.map(|b| due.duration_since(b)) {
                    moments.insert(due + interval);
                    moments.insert(due + interval + SignedDuration::from_hours(24));
                }
                (before, at) = (Some(due), due);
            }
        }
        moments
    }
}

fn group_ages(group: &DatabaseGroup) -> impl Iterator<Item = SignedDuration> {
    let rules =
        group.snapshots.values().map(|s| &s.keep).chain(group.copies.iter().map(|c| &c.keep));
    let ages = rules.filter_map(rule_age).collect::<Vec<_>>();
    let most = group
        .objectives
        .max_age
        .iter()
        .chain(group.copies.iter().filter_map(|c| c.max_age.as_ref()));
    ages.into_iter().chain(most.map(Period::duration).collect::<Vec<_>>())
}

fn rule_age(rule: &RetentionRule) -> Option<SignedDuration> {
    rule.age.as_ref().map(Period::duration)
}

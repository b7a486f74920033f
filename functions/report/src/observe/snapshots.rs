//! Snapshots of RDS, at home and at every destination.

use crate::{
    facts::{Facts, Gap, Key, Point, Spot, Weight},
    page::UNOWNED,
    prices::Class,
};
use shared::{
    catalog::{DatabaseKind, Location, Inventory},
    observe::{ObservationScope, observe_inventory, select_databases},
    policy::Policy,
    run::RunContext,
};
use std::collections::BTreeSet;

/// What was seen of RDS; nothing when the policy has no databases.
pub(super) struct Snapshots(Inventory);

/// Looks at every place.
pub(super) async fn look(world: &RunContext<'_>) -> Snapshots {
    if world.policy.databases.is_empty() {
        return Snapshots(Inventory::default());
    }
    Snapshots(observe_inventory(world, ObservationScope::Everywhere).await)
}

impl Snapshots {
    pub(super) fn into_facts(self, world: &RunContext<'_>, facts: &mut Facts) {
        let (policy, seen) = (world.policy, self.0);
        let gap =
            |g: shared::catalog::ObservationError| Gap { place: g.place.to_string(), why: g.why, mend: g.mend };
        let blind: Vec<Location> = seen.errors.iter().map(|g| g.place.clone()).collect();
        facts.gaps.extend(seen.errors.iter().cloned().map(gap));
        let home = Location::home_from_policy(policy);
        let Some(at_home) = seen.at_location(&home) else { return };
        let selected = select_databases(policy, &at_home.databases);
        let mut owned: BTreeSet<&str> = BTreeSet::new();
        for (place, fleet) in &seen.locations {
            let (at, by) = (spot(facts, policy, place), fleet.points_by_database());
            for (group, _, database) in selected.selected_databases() {
                let key = Key::new(group, &database.id);
                let held = facts.held(key);
                for p in by.for_database(database) {
                    owned.insert(&p.arn);
                    held.points.push(point(p, at));
                }
            }
            // Of databases that are gone: nobody's points, and paid for all the same.
            for p in fleet.points.iter().filter(|p| !owned.contains(p.arn.as_str())) {
                let weight = weight(&point(p, at));
                facts.held(Key::new(UNOWNED, &p.database)).weights.push(weight);
            }
        }
        for place in blind {
            let at = spot(facts, policy, &place);
            for (group, rules, database) in selected.selected_databases() {
                let copied =
                    rules.copies.iter().any(|c| Location::for_destination(policy, &c.to).as_ref() == Some(&place));
                if copied {
                    facts.held(Key::new(group, &database.id)).blind.push(at);
                }
            }
        }
    }
}

fn spot(facts: &mut Facts, policy: &Policy, place: &Location) -> u16 {
    let region = Some(place.region.to_string());
    facts.spot(Spot { name: place.to_string(), region, home: *place == Location::home_from_policy(policy) })
}

fn point(p: &shared::catalog::RecoveryPoint, spot: u16) -> Point {
    let class = match (p.automated, p.family) {
        (true, _) => Class::Automated,
        (false, DatabaseKind::Instance) => Class::RdsSnapshot,
        (false, DatabaseKind::Cluster) => Class::ClusterSnapshot,
    };
    // A copy's own time is not told everywhere; its data's is never later.
    let at = p.data_time.map_or(i64::MAX, jiff::Timestamp::as_second);
    let bytes = u64::try_from(p.size_gib).unwrap_or(0) << 30;
    // What only waits to be copied on is no point of its own.
    let good = p.is_complete() && !p.marks.transfer && p.data_time.is_some();
    Point { at, stored: at, bytes, spot, class, good }
}

fn weight(point: &Point) -> Weight {
    let Point { bytes, stored, spot, class, .. } = *point;
    let stored = (stored != i64::MAX).then_some(stored);
    Weight { objects: 1, bytes, billed: bytes, index: 0, stored, spot, class }
}

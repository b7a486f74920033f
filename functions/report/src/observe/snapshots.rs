//! Snapshots of RDS, at home and at every destination.

use crate::{
    facts::{AssetKey, BackupLocation, OtherStorage, PointRecord, ReportInput, UnobservedLocation},
    page::UNOWNED,
    prices::StorageKind,
};
use shared::{
    catalog::{DatabaseKind, Inventory, Location},
    observe::{ObservationScope, observe_inventory, select_databases},
    policy::Policy,
    run::RunContext,
};
use std::collections::BTreeSet;

/// What was seen of RDS; nothing when the policy has no databases.
pub(super) struct SnapshotInventory(Inventory);

/// Looks at every place.
pub(super) async fn observe_snapshots(world: &RunContext<'_>) -> SnapshotInventory {
    if world.policy.databases.is_empty() {
        return SnapshotInventory(Inventory::default());
    }
    SnapshotInventory(observe_inventory(world, ObservationScope::Everywhere).await)
}

impl SnapshotInventory {
    pub(super) fn merge_into(self, world: &RunContext<'_>, facts: &mut ReportInput) {
        let (policy, seen) = (world.policy, self.0);
        let gap = |g: shared::catalog::ObservationError| UnobservedLocation {
            location: g.location.to_string(),
            message: g.message,
            hint: g.hint,
        };
        let blind: Vec<Location> = seen.errors.iter().map(|g| g.location.clone()).collect();
        facts.unobserved_locations.extend(seen.errors.iter().cloned().map(gap));
        let home = Location::home_from_policy(policy);
        let Some(at_home) = seen.at_location(&home) else { return };
        let selected = select_databases(policy, &at_home.databases);
        let mut owned: BTreeSet<&str> = BTreeSet::new();
        for (place, fleet) in &seen.locations {
            let (at, by) = (location_index(facts, policy, place), fleet.points_by_database());
            for (group, _, database) in selected.selected_databases() {
                let key = AssetKey::new(group, &database.id);
                let held = facts.storage_mut(key);
                for p in by.for_database(database) {
                    owned.insert(&p.arn);
                    held.points.push(point_record(p, at));
                }
            }
            // Of databases that are gone: nobody's points, and paid for all the same.
            for p in fleet.points.iter().filter(|p| !owned.contains(p.arn.as_str())) {
                let weight = unowned_storage(&point_record(p, at));
                facts.storage_mut(AssetKey::new(UNOWNED, &p.database)).other.push(weight);
            }
        }
        for place in blind {
            let at = location_index(facts, policy, &place);
            for (group, rules, database) in selected.selected_databases() {
                let copied = rules
                    .copies
                    .iter()
                    .any(|c| Location::for_destination(policy, &c.to).as_ref() == Some(&place));
                if copied {
                    facts.storage_mut(AssetKey::new(group, &database.id)).unobserved.push(at);
                }
            }
        }
    }
}

fn location_index(facts: &mut ReportInput, policy: &Policy, place: &Location) -> u16 {
    let region = Some(place.region.to_string());
    facts.intern_location(BackupLocation {
        name: place.to_string(),
        region,
        home: *place == Location::home_from_policy(policy),
    })
}

fn point_record(p: &shared::catalog::RecoveryPoint, spot: u16) -> PointRecord {
    let class = match (p.automated, p.kind) {
        (true, _) => StorageKind::Automated,
        (false, DatabaseKind::Instance) => StorageKind::RdsSnapshot,
        (false, DatabaseKind::Cluster) => StorageKind::ClusterSnapshot,
    };
    // A copy's own time is not told everywhere; its data's is never later.
    let at = p.data_time.map_or(i64::MAX, jiff::Timestamp::as_second);
    let bytes = u64::try_from(p.size_gib).unwrap_or(0) << 30;
    // What only waits to be copied on is no point of its own.
    let good = p.is_complete() && !p.tags.transfer && p.data_time.is_some();
    PointRecord { at, stored: at, bytes, location: spot, class, good }
}

fn unowned_storage(point: &PointRecord) -> OtherStorage {
    let PointRecord { bytes, stored, location: spot, class, .. } = *point;
    let stored = (stored != i64::MAX).then_some(stored);
    OtherStorage { objects: 1, bytes, billed: bytes, index: 0, stored, location: spot, class }
}

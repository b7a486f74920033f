//! `freshness`: evaluates every asset.

use super::{FunctionRun, RunContext};
use crate::world::{RdsLocation, World, store_address};
use freshness::{FreshnessObservations, ObjectAsset, ObjectRecoveryPoint, object_assets};
use jiff::SignedDuration;
use shared::{
    aws::rds::{ServiceQuota, SnapshotQuotas},
    catalog::{DatabaseKind, ObservationError},
    policy::{Policy, text::Name},
};
use std::collections::BTreeMap;
use storage::{catalogue::BackupKind, place::stands_for_database};

/// RDS uploads logs every 5 minutes.
const RESTORABLE_LAG: SignedDuration = SignedDuration::from_mins(5);

impl RunContext<'_> {
    /// Evaluates every asset.
    pub fn run_freshness(&mut self) -> FunctionRun {
        let policy = self.policy;
        let (trouble, now) = (self.trouble, self.now);
        let restorable = self.world.now - RESTORABLE_LAG;
        for database in &mut self.world.at_mut(&policy.home()).databases {
            if database.status != "stopped" {
                database.latest_restorable = Some(restorable);
            }
        }
        let mut facts = FreshnessObservations::default();
        for (key, state) in &self.world.keys {
            facts.keys.insert(key.clone(), Ok(state.clone()));
        }
        if self.with_quotas {
            for location in &policy.locations {
                let quotas = self.world.at(location).map(quotas_of).unwrap_or_default();
                facts.quotas.insert(location.clone(), Ok(quotas));
            }
        }
        facts.object_assets = observe_dumps(self.world, &policy.policy, trouble.stores_unobserved);
        if trouble.stores_unobserved && !facts.object_assets.is_empty() {
            let (place, why) = (policy.home(), "timed out".to_owned());
            facts.observation_errors.push(ObservationError {
                location: place,
                message: why,
                hint: String::new(),
            });
        }
        let listed_at = trouble.stale.map(|lag| self.world.now - lag);
        let view = crate::world::View {
            locations: &policy.locations,
            unobserved: &trouble.unobserved,
            listed_at,
        };
        // The inventory is lent, and goes back as it came.
        let verdict = self.world.with_inventory(&view, |seen| {
            facts.rds = std::mem::take(seen);
            let verdict = freshness::plan(&policy.policy, &facts, now);
            *seen = std::mem::take(&mut facts.rds);
            verdict
        });
        let run = FunctionRun {
            findings: verdict.plan.findings,
            assets: verdict.assets,
            ..FunctionRun::default()
        };
        self.checks.after_freshness(self.world, policy, trouble, &run, now);
        run
    }
}

fn quotas_of(location: &RdsLocation) -> SnapshotQuotas {
    let quota = |kind| {
        let (used, max) = (location.manual_count(kind) as u64, location.quota as u64);
        Some(ServiceQuota { used, max })
    };
    SnapshotQuotas {
        snapshots: quota(DatabaseKind::Instance),
        cluster_snapshots: quota(DatabaseKind::Cluster),
    }
}

/// What lies in the stores, as the function's own scan takes note of it.
fn observe_dumps(world: &World, policy: &Policy, unobserved: bool) -> Vec<ObjectAsset> {
    let mut known: BTreeMap<&Name, Vec<String>> = BTreeMap::new();
    for (name, group) in policy.postgres.iter().filter(|(_, g)| g.databases.is_all()) {
        let store = world.stores.get(&store_address(&group.storage));
        let there = store.into_iter().flat_map(|s| s.backups.keys());
        known.insert(name, there.filter(|d| group.has_database(d)).cloned().collect());
    }
    let mut assets = object_assets(policy, &known);
    // What others write is not simulated: nothing is known of it.
    assets.retain(|a| a.committed);
    for asset in &mut assets {
        if unobserved {
            asset.mark_unobserved();
            asset.copies.iter_mut().for_each(ObjectAsset::mark_unobserved);
            continue;
        }
        for place in &mut asset.copies {
            note_dumps(world, policy, place);
        }
        note_dumps(world, policy, asset);
    }
    assets
}

fn note_dumps(world: &World, policy: &Policy, asset: &mut ObjectAsset) {
    let group = policy.postgres.iter().find(|(n, _)| n.as_str() == asset.group);
    let store = world.stores.get(&store_address(&asset.store));
    let (Some((_, group)), Some(store)) = (group, store) else { return };
    for backup in store.backups.get(&asset.asset).into_iter().flatten() {
        let key = format!("{}{}", asset.store.prefix, backup.key);
        match (&backup.kind, backup.data_time()) {
            (BackupKind::Faulty { why, .. }, _) => asset.faulty.push((key, why.clone())),
            (BackupKind::Committed(record), Some(at)) => {
                let reason = Some(record.reason.clone());
                let point = ObjectRecoveryPoint { key, size: backup.size, at, reason };
                if stands_for_database(group, record) {
                    asset.add_point(point);
                } else {
                    asset.count_point(&point);
                }
            }
            _ => {}
        }
    }
}

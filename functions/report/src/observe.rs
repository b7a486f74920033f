//! Everything as it is. Nothing here judges; what can't be seen is a gap.
//!
//! - `judges`: how the judging functions say that all stands; `snapshots`: RDS; `stores`: dumps and other files, with
//!   their copies at second places; `copies`: what the policy's buckets copy elsewhere; `past`: audit trail and alarms

mod copies;
mod judges;
mod past;
mod snapshots;
mod stores;

use crate::facts::{AssetKey, AssetStorage, PointRecord, ReportInput, UnobservedLocation};
use shared::{aws::OperationError, run::RunContext};

/// Looks at everything. The looks go side by side.
pub async fn observe(world: &RunContext<'_>) -> ReportInput {
    let mut facts = ReportInput::default();
    let standing = Box::pin(judges::run_checks(world));
    let snapshots = Box::pin(snapshots::observe_snapshots(world));
    let stores = Box::pin(stores::observe_stores(world));
    let copies = Box::pin(copies::observe_copies(world));
    let past = Box::pin(past::read_history(world));
    let (judged, snapshots, stores, copies, (trail, alarms)) =
        futures_util::join!(standing, snapshots, stores, copies, past);
    judged.merge_into(&mut facts);
    snapshots.merge_into(world, &mut facts);
    for found in stores {
        found.merge_into(&mut facts);
    }
    for found in copies {
        found.merge_into(world.policy, &mut facts);
    }
    (facts.trail, facts.alarms) = (trail, alarms);
    for asset in facts.storage.values_mut() {
        // A point is small and there are many.
        asset.points.shrink_to_fit();
    }
    facts.unobserved_locations.sort();
    facts.unobserved_locations.dedup();
    facts
}

impl ReportInput {
    fn storage_mut(&mut self, key: AssetKey) -> &mut AssetStorage {
        self.storage.entry(key).or_default()
    }

    fn push_error(&mut self, place: impl Into<String>, e: &OperationError) {
        let hint = e.hint();
        self.unobserved_locations.push(UnobservedLocation {
            location: place.into(),
            message: e.to_string(),
            hint: hint.to_string(),
        });
    }
}

impl AssetStorage {
    /// Takes note of the newest good point's name.
    fn record_newest_name(&mut self, name: &str, newest: &mut i64, point: &PointRecord) {
        if point.good && point.at > *newest {
            *newest = point.at;
            self.newest = Some(name.to_owned());
        }
    }
}

//! Everything as it is. Nothing here judges; what can't be seen is a gap.
//!
//! - `judges`: how the judging functions say that all stands; `snapshots`: RDS; `stores`: dumps and other files, with
//!   their copies at second places; `copies`: what the policy's buckets copy elsewhere; `past`: audit trail and alarms

mod copies;
mod judges;
mod past;
mod snapshots;
mod stores;

use crate::facts::{Facts, Gap, Held, Key, Point};
use shared::{aws::OperationError, run::RunContext};

/// Looks at everything. The looks go side by side.
pub async fn observe(world: &RunContext<'_>) -> Facts {
    let mut facts = Facts::default();
    let standing = Box::pin(judges::ask(world));
    let snapshots = Box::pin(snapshots::look(world));
    let stores = Box::pin(stores::look(world));
    let copies = Box::pin(copies::look(world));
    let past = Box::pin(past::look(world));
    let (judged, snapshots, stores, copies, (trail, alarms)) =
        futures_util::join!(standing, snapshots, stores, copies, past);
    judged.into_facts(&mut facts);
    snapshots.into_facts(world, &mut facts);
    for found in stores {
        found.into_facts(&mut facts);
    }
    for found in copies {
        found.into_facts(world.policy, &mut facts);
    }
    (facts.trail, facts.alarms) = (trail, alarms);
    for asset in facts.held.values_mut() {
        // A point is small and there are many.
        asset.points.shrink_to_fit();
    }
    facts.gaps.sort();
    facts.gaps.dedup();
    facts
}

impl Facts {
    fn held(&mut self, key: Key) -> &mut Held {
        self.held.entry(key).or_default()
    }

    fn gap(&mut self, place: impl Into<String>, e: &OperationError) {
        let mend = e.hint();
        self.gaps.push(Gap { place: place.into(), why: e.to_string(), mend: mend.to_string() });
    }
}

impl Held {
    /// Takes note of the newest good point's name.
    fn name(&mut self, name: &str, newest: &mut i64, point: &Point) {
        if point.good && point.at > *newest {
            *newest = point.at;
            self.newest = Some(name.to_owned());
        }
    }
}

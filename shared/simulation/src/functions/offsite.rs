//! `offsite`: copies what the destinations want.

use super::{Done, DoneKind, FunctionRun, RunContext};
use crate::trouble::{CallKind, Caller, Stop};
use offsite::{AwsManagedKeys, SnapshotCopyAction};
use shared::{
    aws::OperationErrorKind as Refusal,
    catalog::{HoldfastTags, Inventory},
};

impl RunContext<'_> {
    /// Copies what is missing; of one database alone where an event speaks of it.
    pub fn run_offsite(&mut self, of_database: Option<&str>) -> FunctionRun {
        let policy = self.policy;
        if policy.policy.databases.values().all(|g| g.copies.is_empty()) {
            return FunctionRun::default();
        }
        let (trouble, now) = (self.trouble, self.now);
        let managed = self.world.aws_managed.clone();
        let plan = |seen: &Inventory| {
            let keys = offsite::keys_to_describe(&policy.policy, seen).into_iter();
            let keys: AwsManagedKeys = keys.map(|k| (k.clone(), managed.contains(&k))).collect();
            offsite::plan(&policy.policy, seen, &keys, now).plan
        };
        let listed_at = trouble.stale.map(|lag| self.world.now - lag);
        let view = crate::world::View {
            locations: &policy.locations,
            unobserved: &trouble.unobserved,
            listed_at,
        };
        let plan = self.world.with_inventory(&view, |seen| match of_database {
            None => plan(seen),
            Some(resource_id) => plan(&narrowed(seen, resource_id)),
        });
        let mut run = FunctionRun { findings: plan.findings, ..FunctionRun::default() };
        let mut caller = Caller::new(trouble, self.random);
        for step in plan.steps {
            let SnapshotCopyAction::Copy { to, family, share, copy } = &step.action;
            self.checks.before_copy(self.world, policy, to, copy);
            let world = &mut *self.world;
            let shared = share.as_ref().map_or(Ok(()), |(id, _)| {
                let home = policy.home();
                caller.call(CallKind::Share, || world.share_snapshot(&home, id))
            });
            let answer = match shared {
                Err(stop) => Err(stop),
                Ok(()) => caller.call(CallKind::Copy, || match world.copy_snapshot(to, copy) {
                    Err(Refusal::Exists) => {
                        let tags = copy.tags.iter().map(|(k, v)| (k.as_str(), v.as_str()));
                        let wanted = HoldfastTags::from_tags(tags);
                        let there = world.at(to).into_iter().flat_map(|f| &f.points);
                        let mut named = there.filter(|p| p.kind == *family && p.id == copy.id);
                        let same = named.any(|p| p.tags.is_same_step(&wanted));
                        if same { Ok(()) } else { Err(Refusal::Exists) }
                    }
                    answer => answer,
                }),
            };
            let done = Done {
                kind: DoneKind::Copy,
                asset: step.asset.clone(),
                id: copy.id.clone(),
                at: to.to_string(),
                reason: step.reason,
            };
            if run.note(answer, &step.action, done) || answer == Err(Stop::Killed) {
                break;
            }
        }
        run
    }
}

/// What a run sees that an event made look at one database alone.
fn narrowed(seen: &Inventory, resource_id: &str) -> Inventory {
    let mut narrow = Inventory { errors: seen.errors.clone(), ..Inventory::default() };
    for (location, fleet) in &seen.locations {
        let mut of = fleet.clone();
        of.databases.retain(|d| d.resource_id == resource_id);
        of.points.retain(|p| p.resource_id == resource_id);
        narrow.locations.insert(location.clone(), of);
    }
    narrow
}

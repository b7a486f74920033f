//! `snapshot`: takes what is due, or what is asked for.

use super::{Done, DoneKind, FunctionRun, RunContext};
use crate::{
    trouble::{CallKind, Caller},
    world::{SnapshotOrder, View},
};
use shared::{
    aws::OperationErrorKind as Refusal,
    catalog::{HoldfastTags, Location},
    request::RunRequest,
};
use snapshot::SnapshotAction;

impl RunContext<'_> {
    /// Takes the snapshots that are due, or that `request` asks for under the name `demand`.
    pub fn run_snapshot(&mut self, request: &RunRequest, demand: &str) -> FunctionRun {
        let policy = self.policy;
        let home = policy.home();
        let (trouble, now) = (self.trouble, self.now);
        let listed_at = trouble.stale.map(|lag| self.world.now - lag);
        let view = View {
            locations: &policy.locations[..policy.locations.len().min(1)],
            unobserved: &trouble.unobserved,
            listed_at,
        };
        let plan = self.world.with_inventory(&view, |seen| {
            snapshot::plan(&policy.policy, seen, request, demand, now)
        });
        let mut run = FunctionRun { findings: plan.findings, ..FunctionRun::default() };
        let mut caller = Caller::new(trouble, self.random);
        for step in plan.steps {
            let SnapshotAction::Create { family, database, id, tags, resource_id } = &step.action
            else {
                continue;
            };
            self.checks.before_snapshot(self.world, policy, trouble, &step.action, now);
            let order = SnapshotOrder { kind: *family, database, id, tags };
            let world = &mut *self.world;
            let answer =
                caller.call(CallKind::Create, || match world.create_snapshot(&home, &order) {
                    Err(Refusal::Exists) if is_same(world, &home, &order, resource_id) => Ok(()),
                    answer => answer,
                });
            let done = Done {
                kind: DoneKind::Snapshot,
                asset: step.asset.clone(),
                id: id.clone(),
                at: home.to_string(),
                reason: step.reason,
            };
            if run.note(answer, &step.action, done) {
                break;
            }
        }
        run
    }
}

/// Whether what has the identifier is what would have been made.
fn is_same(
    world: &crate::world::World,
    home: &Location,
    order: &SnapshotOrder<'_>,
    resource_id: &str,
) -> bool {
    let wanted = HoldfastTags::from_tags(order.tags.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    let there = world.at(home).into_iter().flat_map(|f| &f.points);
    let mut named = there.filter(|p| p.kind == order.kind && p.id == order.id);
    named.any(|p| p.resource_id == resource_id && p.tags.is_same_step(&wanted))
}

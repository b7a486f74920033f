//! `retention`: deletes snapshots, copies and dumps that no rule keeps.

use super::{Done, DoneKind, FunctionRun, RunContext};
use crate::trouble::{CallKind, Caller};

impl RunContext<'_> {
    /// Deletes what may go.
    pub fn run_retention(&mut self) -> FunctionRun {
        let policy = self.policy;
        let (trouble, now) = (self.trouble, self.now);
        let listed_at = trouble.stale.map(|lag| self.world.now - lag);
        let view = crate::world::View {
            locations: &policy.locations,
            unobserved: &trouble.unobserved,
            listed_at,
        };
        let plan = self.world.with_inventory(&view, |seen| {
            retention::plan_snapshots(&policy.policy, seen, now, false)
        });
        let mut run = FunctionRun { findings: plan.plan.findings, ..FunctionRun::default() };
        let mut caller = Caller::new(trouble, self.random);
        self.checks.begin_retention(self.world, policy);
        for step in plan.plan.steps {
            let (at, point) = (&step.action.at, step.action.point.point());
            self.checks.before_delete(self.world, policy, trouble, (at, point), now);
            let world = &mut *self.world;
            let answer = caller.call(CallKind::Delete, || world.delete_snapshot(at, &point.arn));
            let done = Done {
                kind: DoneKind::Delete,
                asset: step.asset.clone(),
                id: point.id.clone(),
                at: at.to_string(),
                reason: step.reason.clone(),
            };
            if run.note(answer, &step.action, done) {
                return run;
            }
        }
        self.checks.end_retention(policy);
        let left = self.delete_dumps();
        run.findings.extend(left.findings);
        run.done.extend(left.done);
        run.not_done.extend(left.not_done);
        run.killed |= left.killed;
        run
    }
}

//! Judges age, offsite copies, restore window and backup settings of every asset against the policy.
//!
//! The age of a point is the age of the data in it. Nothing found where the policy expects something is critical, and so
//! is a place that can't be seen. Where the policy says `enforce`, drifted backup settings are mended.

mod access;
mod observe;
mod plan;

pub use observe::{Looked, look_at};
pub use plan::{Checksum, Facts, Mend, Stored, StoredPoint, Verdict, plan, stored};

use shared::{
    report::Report,
    request::Request,
    run::{World, apply},
};

/// The function's name.
pub const NAME: &str = "freshness";

/// `ModifyDBInstance` calls at once.
const WIDTH: usize = 4;

/// Looks, judges, mends where it may, and reports. What lies on hosts and in other clouds is not looked at: a Lambda has
/// no way there, and what it links for it would make each start slower.
pub async fn run(world: &World<'_>, request: &Request) -> Report {
    run_with(world, request, async |_: &mut Stored| Looked::Elsewhere).await
}

/// As [`run`], where the caller looks at directories, other endpoints and other clouds by `look`.
pub async fn run_with(
    world: &World<'_>,
    _request: &Request,
    look: impl AsyncFn(&mut Stored) -> Looked,
) -> Report {
    let mut report = Report::new(NAME, world);
    let facts = observe::observe(world, look).await;
    let verdict = plan(world.policy, &facts, world.now);
    report.findings.clone_from(&verdict.plan.findings);
    report.findings.extend(access::check(world).await);
    report.assets.clone_from(&verdict.assets);
    report.values.clone_from(&verdict.values);
    report.outcomes = apply(world, &verdict.plan, WIDTH, async |mend| {
        world
            .aws
            .rds(&world.home())
            .set_backups(mend.family, &mend.database, &mend.settings)
            .await?;
        Ok("RDS has taken the change".to_owned().into())
    })
    .await;
    report
}

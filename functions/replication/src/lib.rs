//! Checks that S3 replication and read replicas keep up. Looks only; changes nothing.
//!
//! Source and replica are listed side by side and compared object by object, and some are read on both sides: counts that
//! agree say nothing of what was counted. Settings that the comparison stands on are checked as well. What could not be
//! seen is a finding, never a pass.
//!
//! - `observe`: buckets, replicas and lags as they are; `compare`: two listings against each other, pure
//! - [`plan()`]: what that means for the policy, pure

mod compare;
mod observe;
mod plan;

pub use compare::{ListingComparison, ObjectTotals};
pub use observe::{
    BucketSettings, ObservedResult, ReplicaLag, ReplicatedBucket, ReplicationState, SampleResult,
};
pub use plan::{ReplicationReport, plan};

use shared::{report::RunReport, request::RunRequest, run::RunContext};

/// The function's name.
pub const NAME: &str = "replication";

/// Looks, plans and reports.
pub async fn run(world: &RunContext<'_>, request: &RunRequest) -> RunReport {
    let mut report = RunReport::new(NAME, world);
    let seen = observe::observe(world, request).await;
    let mut judged = plan(world.policy, &seen, world.now);
    if request.assets.is_empty() {
        plan::add_unmonitored_buckets(world.policy, &mut judged);
    }
    report.findings = judged.findings;
    report.assets = judged.assets;
    report.values = judged.values;
    if !request.assets.is_empty() {
        // A part of the policy was looked at: no value may pass for that of the whole.
        report.values.retain(|v| v.asset.is_some());
    }
    report
}

//! Judges age, offsite copies, restore window and backup settings of every asset against the policy.
//!
//! The age of a point is the age of the data in it. Nothing found where the policy expects something is critical, and so
//! is a place that can't be seen. Where the policy says `enforce`, drifted backup settings are fixed.

mod access;
mod observe;
mod plan;

pub use observe::{ChecksumCache, LocationScanner, scan_asset};
pub use plan::{
    ChecksumStatus, FreshnessObservations, FreshnessPlan, ObjectAsset, ObjectRecoveryPoint,
    ObservedArchive, PointSchedule, UpdateBackupSettings, object_assets, plan,
};

use shared::{
    plan::{Finding, FindingCode},
    report::RunReport,
    request::RunRequest,
    run::{RunContext, execute_plan},
};

/// The function's name.
pub const NAME: &str = "freshness";

/// `ModifyDBInstance` calls at once.
const MAX_CONCURRENT_UPDATES: usize = 4;

/// What will be in the way of this policy on this account: quotas without room for what it keeps, keys that can't decrypt,
/// places that can't be read.
pub async fn preflight(world: &RunContext<'_>) -> Vec<Finding> {
    let mut facts = FreshnessObservations::default();
    if world.policy.home.is_some() {
        observe::observe_snapshots(world, &mut facts).await;
    }
    let mut findings = plan(world.policy, &facts, world.now).plan.findings;
    let asked = [
        FindingCode::QuotaExceeded,
        FindingCode::QuotaNotReadable,
        FindingCode::KmsKeyUnusable,
        FindingCode::KmsKeyNotReadable,
        FindingCode::ObservationFailed,
    ];
    findings.retain(|f| asked.contains(&f.code));
    findings
}

/// Looks, judges, fixes where it may, and reports. What lies on hosts and in other clouds is looked at from a host alone:
/// a Lambda has no way there.
pub async fn run(world: &RunContext<'_>, request: &RunRequest) -> RunReport {
    run_with_cache(world, request, None).await
}

/// As [`run`], with a memory of the runs before.
pub async fn run_with_cache(
    world: &RunContext<'_>,
    _request: &RunRequest,
    memory: Option<&ChecksumCache>,
) -> RunReport {
    let mut report = RunReport::new(NAME, world);
    let facts = observe::observe(world, memory).await;
    let verdict = plan(world.policy, &facts, world.now);
    report.findings.clone_from(&verdict.plan.findings);
    report.findings.extend(access::check_access(world).await);
    report.assets.clone_from(&verdict.assets);
    report.values.clone_from(&verdict.values);
    report.outcomes = execute_plan(world, &verdict.plan, MAX_CONCURRENT_UPDATES, async |hint| {
        world
            .aws
            .rds(&world.home_location())
            .modify_backup_settings(hint.family, &hint.database, &hint.settings)
            .await?;
        Ok("RDS has taken the change".to_owned().into())
    })
    .await;
    report
}

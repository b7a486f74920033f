//! Lets go of what the policy lets go, and of nothing else.
//!
//! [`plan()`] asks the safety check of `shared::keep` about every point at every place; only what it clears can be
//! deleted, oldest first. Dumps are judged by the same check, place by place: `dumps`; base backups and WAL archive by
//! archive: `wal`. Storage classes by age
//! are lifecycle rules of the buckets, kept as the policy says: `tiers`; so is the end of audit records: `audit`. With a
//! `schedule` in the policy, it deletes at those times only: `schedule`. This is the only function whose role may delete.

pub mod audit;
pub mod dumps;
mod plan;
mod schedule;
pub mod tiers;
mod vault;
pub mod wal;

pub use plan::{DeleteSnapshot, RetentionDecision, RetentionPlan, evaluate_points, plan};

use jiff::Timestamp;
use shared::{
    catalog::{Inventory, RolePurpose},
    metrics::Metric,
    observe::{ObservationScope, observe_inventory},
    plan::ActionPlan,
    policy::Policy,
    report::{RunReport, StepResult, dry_run_outcomes},
    request::RunRequest,
    run::{RunContext, execute_plan},
};

/// The function's name.
pub const NAME: &str = "retention";

/// `DeleteDBSnapshot` calls at once.
const MAX_CONCURRENT_DELETES: usize = 4;

/// What one run does about snapshots: the plan, without what another account deletes itself and what is not due now.
pub fn plan_snapshots(
    policy: &Policy,
    seen: &Inventory,
    now: Timestamp,
    dry_run: bool,
) -> RetentionPlan {
    let mut letting = plan(policy, seen, now);
    vault::drop_foreign_steps(policy, &mut letting.plan);
    if let Some(finding) = schedule::not_due_finding(policy, now) {
        letting.retained += schedule::defer_steps(&mut letting.plan, dry_run);
        letting.plan.findings.push(finding);
    }
    letting
}

/// Whether the policy's own schedule of retention lets a run delete now.
pub fn is_due(policy: &Policy, now: Timestamp) -> bool {
    schedule::not_due_finding(policy, now).is_none()
}

/// Looks, plans, acts and reports.
pub async fn run(world: &RunContext<'_>, request: &RunRequest) -> RunReport {
    let mut report = RunReport::new(NAME, world);
    let seen = observe_inventory(world, ObservationScope::Everywhere).await;
    let mut letting = plan_snapshots(world.policy, &seen, world.now, world.dry_run);
    report.findings.extend(letting.plan.findings.iter().cloned());
    report.outcomes = execute_plan(world, &letting.plan, MAX_CONCURRENT_DELETES, async |delete| {
        world.aws.rds_for(&delete.at, RolePurpose::Delete).delete_snapshot(&delete.point).await?;
        Ok(format!("{} is deleted", delete.point.point().id).into())
    })
    .await;
    if world.dry_run {
        // Whoever asks what would go is shown what the limits stop, too.
        let beyond =
            ActionPlan { steps: std::mem::take(&mut letting.blocked_steps), findings: Vec::new() };
        report.outcomes.extend(dry_run_outcomes(&beyond));
    }
    let dumps = dumps::apply_dump_retention(world, request, MAX_CONCURRENT_DELETES).await;
    report.findings.extend(dumps.plan.findings);
    report.outcomes.extend(dumps.outcomes);
    let deleted = report.count_outcomes(|r| matches!(r, StepResult::Done(_)));
    let archives = apply_to_archives(world, request, &mut report).await;
    report.push_metric(Metric::BackupsDeleted, deleted + archives.deleted);
    let tiers = tiers::apply_tiers(world).await;
    report.findings.extend(tiers.findings);
    report.outcomes.extend(tiers.outcomes);
    let audit = audit::apply_audit_retention(world).await;
    report.findings.extend(audit.findings);
    report.outcomes.extend(audit.outcomes);
    report.push_metric(
        Metric::BackupsRetained,
        letting.retained + dumps.retained + archives.retained,
    );
    report.push_metric(Metric::DeletesBlocked, letting.blocked + dumps.blocked + archives.blocked);
    report
}

/// Deletes base backups and WAL, and adds it to the report.
async fn apply_to_archives(
    world: &RunContext<'_>,
    request: &RunRequest,
    report: &mut RunReport,
) -> wal::ArchiveRetentionPlan {
    let mut archives =
        Box::pin(wal::apply_archive_retention(world, request, MAX_CONCURRENT_DELETES)).await;
    report.findings.append(&mut archives.plan.findings);
    report.outcomes.append(&mut archives.outcomes);
    archives
}

/// Lets go of dumps, base backups and WAL, and of audit records in a directory: what a host does after it has dumped.
pub async fn run_dumps(world: &RunContext<'_>, request: &RunRequest) -> RunReport {
    let mut report = RunReport::new(NAME, world);
    let dumps = dumps::apply_dump_retention(world, request, MAX_CONCURRENT_DELETES).await;
    report.findings.extend(schedule::not_due_finding(world.policy, world.now));
    report.findings.extend(dumps.plan.findings);
    report.outcomes = dumps.outcomes;
    apply_to_archives(world, request, &mut report).await;
    if world.policy.audit.as_ref().is_some_and(|audit| audit.directory.is_some()) {
        let audit = audit::apply_audit_retention(world).await;
        report.findings.extend(audit.findings);
        report.outcomes.extend(audit.outcomes);
    }
    report
}

//! Copies snapshots and objects to other regions and accounts.
//!
//! A copy is wanted when the destination's own keep rule would keep it, so nothing is copied to be deleted. Copies are
//! started into the free slots of the destination's quota, the worst-served objective first, and count only when they
//! are complete and under the right key. What failed or found no slot is found again by the next look.
//!
//! - [`plan()`]: which snapshots; [`objects`]: which objects

pub mod objects;
mod plan;

pub use plan::{AwsManagedKeys, SnapshotCopyAction, SnapshotCopyPlan, keys_to_describe, plan};

use shared::{
    aws::{OperationError, OperationErrorKind, rds::SnapshotCopyRequest},
    catalog::{HoldfastTags, Location, RecoveryPoint, RecoveryPointState, RolePurpose},
    metrics::Metric,
    observe::{ObservationScope, observe_database, observe_inventory},
    plan::{Finding, FindingCode, Severity},
    report::{ActionResult, Artifact, RunReport, StepResult, StepSuccess},
    request::RunRequest,
    run::{RunContext, execute_plan},
};

/// The function's name.
pub const NAME: &str = "offsite";

/// `CopyDBSnapshot` calls at once.
const MAX_CONCURRENT_COPIES: usize = 4;

/// Looks, plans, acts and reports.
pub async fn run(world: &RunContext<'_>, request: &RunRequest) -> RunReport {
    let mut report = RunReport::new(NAME, world);
    if request.object.is_none() {
        copy_snapshots(world, request, &mut report).await;
    }
    if request.snapshot.is_none() {
        objects::copy_objects(world, request, &mut report).await;
    }
    report
}

async fn copy_snapshots(world: &RunContext<'_>, request: &RunRequest, report: &mut RunReport) {
    if world.policy.databases.values().all(|g| g.copies.is_empty()) {
        return;
    }
    let seen = match &request.snapshot {
        Some(arn) => observe_database(world, arn).await,
        None => observe_inventory(world, ObservationScope::Everywhere).await,
    };
    let mut keys = AwsManagedKeys::new();
    for key in keys_to_describe(world.policy, &seen) {
        match world.aws.kms(&world.home_location()).is_aws_managed(&key).await {
            Ok(managed) => {
                keys.insert(key, managed);
            }
            Err(e) => report.push_finding(Finding::new(
                Severity::Warning,
                &key,
                FindingCode::KmsKeyNotReadable,
                e.to_string(),
                e.hint(),
            )),
        }
    }
    let copies = plan(world.policy, &seen, &keys, world.now);
    report.findings.extend(copies.plan.findings.iter().cloned());
    if copies.waiting > 0 {
        let why = format!(
            "{} copies wait for a free slot; {} are on their way",
            copies.waiting, copies.in_flight
        );
        let hint = "nothing: the next runs start them";
        report.push_finding(Finding::new(
            Severity::Info,
            "offsite",
            FindingCode::CopiesQueued,
            why,
            hint,
        ));
    }
    let outcomes = execute_plan(world, &copies.plan, MAX_CONCURRENT_COPIES, async |action| {
        apply_action(world, action).await
    })
    .await;
    let started = outcomes.iter().filter(|o| matches!(o.result, StepResult::Done(_))).count();
    report.outcomes.extend(outcomes);
    report.push_metric(Metric::CopiesStarted, started);
    // An event looks at one database alone, and these speak of all.
    if request.snapshot.is_none() {
        report.push_metric(Metric::CopiesInFlight, copies.in_flight + started);
        report.push_metric(Metric::CopiesWaiting, copies.waiting);
    }
}

/// Whether what has the name already is exactly what would have been made: by another run of the same plan a moment ago.
/// Anything else is no success.
fn ensure_same_copy(
    there: Option<&RecoveryPoint>,
    copy: &SnapshotCopyRequest,
    e: OperationError,
) -> std::result::Result<(), OperationError> {
    let marks = HoldfastTags::from_tags(copy.tags.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    let why = match there {
        None => "something of that name was there and is gone",
        Some(point) if !point.tags.is_same_step(&marks) => {
            "something else has that name: of another database, owner, reason or source"
        }
        Some(RecoveryPoint { state: RecoveryPointState::Failed(_), .. }) => {
            "an earlier try under that name failed"
        }
        Some(_) => return Ok(()),
    };
    let hint = "nothing: the next run makes it under a name of its own".to_owned();
    Err(OperationError {
        kind: OperationErrorKind::Refused,
        message: why.into(),
        hint: Some(hint),
        ..e
    })
}

async fn apply_action(world: &RunContext<'_>, action: &SnapshotCopyAction) -> ActionResult {
    let SnapshotCopyAction::Copy { to, family, share, copy } = action;
    if let Some((id, account)) = share {
        world
            .aws
            .rds(&Location::home_from_policy(world.policy))
            .share_snapshot(*family, id, account)
            .await?;
    }
    let rds = world.aws.rds_for(to, RolePurpose::Pull);
    match rds.copy_snapshot(*family, copy).await {
        Ok(()) => {}
        Err(e) if e.kind == OperationErrorKind::Exists => {
            ensure_same_copy(rds.describe_snapshot(*family, &copy.id).await?.as_ref(), copy, e)?;
        }
        Err(e) => return Err(e),
    }
    let (what, place) = (copy.id.clone(), to.to_string());
    let made = Artifact { key: what, location: place, bytes: None, seconds: None };
    Ok(StepSuccess::with_artifact(format!("{} is on its way", copy.id), made))
}

#[cfg(test)]
mod tests;

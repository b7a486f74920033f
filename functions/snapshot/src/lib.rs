//! Takes snapshots of RDS databases: on schedule, and before a deployment.
//!
//! A schedule only makes it look: the policy's cron says which slot is due, and a slot without a good or growing
//! snapshot gets one. A demand (`{"reason": "pre-deploy", "wait": true}`) is done once, however often it is delivered.
//!
//! - [`plan()`]: what is due; the rest of this file: doing it and waiting for it

mod plan;

pub use plan::{SnapshotAction, plan};

use shared::{
    aws::{OperationError, OperationErrorKind},
    catalog::{DatabaseKind, HoldfastTags, RecoveryPoint, RecoveryPointState},
    metrics::Metric,
    observe::{ObservationScope, observe_inventory},
    plan::{Finding, FindingCode, Severity},
    report::{ActionResult, Artifact, RunReport, StepResult, StepSuccess},
    request::{RunRequest, SCHEDULE_REASON},
    run::{RunContext, execute_plan},
};
use std::{collections::BTreeMap, time::Duration};

/// The function's name.
pub const NAME: &str = "snapshot";

/// `CreateDBSnapshot` calls at once; RDS queues the work itself.
const MAX_CONCURRENT_CREATES: usize = 8;
/// How often a snapshot that is waited for is looked at.
const POLL_INTERVAL: Duration = Duration::from_secs(10);

/// Looks, plans, acts and reports.
pub async fn run(world: &RunContext<'_>, request: &RunRequest) -> RunReport {
    let mut report = RunReport::new(NAME, world);
    let demand = request.request_id.clone().unwrap_or_else(|| world.run_id.clone());
    let seen = observe_inventory(world, ObservationScope::Home).await;
    let plan = plan(world.policy, &seen, request, &demand, world.now);
    let demanded = request.reason != SCHEDULE_REASON;
    report.findings.clone_from(&plan.findings);
    report.outcomes = execute_plan(world, &plan, MAX_CONCURRENT_CREATES, async |action| {
        apply_action(world, action, request.wait).await
    })
    .await;
    if demanded {
        // Nobody comes back for a demand that was put off, so whoever asked must know.
        let open = |r: &StepResult| matches!(r, StepResult::Deferred(_) | StepResult::Unfinished);
        let put_off: Vec<_> = report.outcomes.iter().filter(|o| open(&o.result)).cloned().collect();
        for outcome in put_off {
            let again = "ask again under the same request: what is on its way is not taken twice";
            let (why, hint) = match outcome.result {
                // Asking does not help while what refuses it stays as it is.
                StepResult::Deferred(why) => {
                    (why, format!("see the database's state in RDS; when it is available, {again}"))
                }
                _ => ("it is not complete and the run's time is over".into(), again.to_owned()),
            };
            report.push_finding(Finding::new(
                Severity::Critical,
                outcome.asset,
                FindingCode::BackupNotTaken,
                why,
                hint,
            ));
        }
    }
    let deferred = plan.findings.iter().filter(|f| f.code == FindingCode::BackupDeferred).count();
    report.push_metric(
        Metric::SnapshotsTaken,
        report.count_outcomes(|r| matches!(r, StepResult::Done(_))),
    );
    report.push_metric(
        Metric::SnapshotsDeferred,
        deferred + report.count_outcomes(|r| matches!(r, StepResult::Deferred(_))),
    );
    report
}

async fn apply_action(world: &RunContext<'_>, action: &SnapshotAction, wait: bool) -> ActionResult {
    let rds = world.aws.rds(&world.home_location());
    match action {
        SnapshotAction::Reuse { id } => Ok(id.clone().into()),
        SnapshotAction::Wait { family, id } => {
            if wait {
                wait_until_available(world, *family, id).await
            } else {
                Ok(format!("{id} is on its way").into())
            }
        }
        SnapshotAction::Create { family, database, resource_id, id, tags } => {
            let began = tokio::time::Instant::now();
            loop {
                let taken = rds.create_snapshot(*family, database, id, tags).await;
                match taken {
                    Ok(()) => break,
                    Err(e) if e.kind == OperationErrorKind::Exists => {
                        let there = rds.describe_snapshot(*family, id).await?;
                        ensure_same_snapshot(there.as_ref(), resource_id, tags, e)?;
                        break;
                    }
                    // Whoever waits for it would rather wait for a busy database than hear that it is busy.
                    Err(e)
                        if e.kind == OperationErrorKind::Busy
                            && wait
                            && !world.deadline.is_exhausted() =>
                    {
                        tokio::time::sleep(POLL_INTERVAL).await;
                    }
                    // The quota of manual snapshots does not free itself.
                    Err(e) if e.kind == OperationErrorKind::Quota => {
                        let why = format!(
                            "{}; let go of manual snapshots or ask AWS for a higher quota",
                            e.message
                        );
                        return Err(OperationError {
                            kind: OperationErrorKind::Refused,
                            message: why,
                            ..e
                        });
                    }
                    Err(e) => return Err(e),
                }
            }
            if wait {
                wait_until_available(world, *family, id).await?;
            }
            let seconds = wait.then(|| began.elapsed().as_secs_f64());
            let place = world.home_location().to_string();
            Ok(StepSuccess::with_artifact(
                id.as_str(),
                Artifact { key: id.clone(), location: place, bytes: None, seconds },
            ))
        }
    }
}

/// Whether what has the name already is exactly what would have been made: by another run of the same plan a moment ago.
/// Anything else is no success.
fn ensure_same_snapshot(
    there: Option<&RecoveryPoint>,
    resource_id: &str,
    tags: &BTreeMap<String, String>,
    e: OperationError,
) -> std::result::Result<(), OperationError> {
    let marks = HoldfastTags::from_tags(tags.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    let ours = |p: &RecoveryPoint| p.resource_id == resource_id && p.tags.is_same_step(&marks);
    let why = match there {
        None => "something of that name was there and is gone",
        Some(point) if !ours(point) => {
            "something else has that name: of another database, owner, reason, slot or request"
        }
        Some(RecoveryPoint { state: RecoveryPointState::Failed(_), .. }) => {
            "an earlier try under that name failed"
        }
        Some(_) => return Ok(()),
    };
    let hint =
        "nothing: the next run takes it under a name of its own; a demand has to be asked again"
            .to_owned();
    Err(OperationError {
        kind: OperationErrorKind::Refused,
        message: why.into(),
        hint: Some(hint),
        ..e
    })
}

/// Waits until a snapshot is complete, as long as the run's time allows.
async fn wait_until_available(
    world: &RunContext<'_>,
    family: DatabaseKind,
    id: &str,
) -> ActionResult {
    let rds = world.aws.rds(&world.home_location());
    let failed = |why: String| Err(OperationError::from_message(format!("wait for {id}"), why));
    loop {
        match rds.describe_snapshot(family, id).await?.map(|p| p.state) {
            Some(RecoveryPointState::Good) => return Ok(id.to_owned().into()),
            Some(RecoveryPointState::Failed(said)) => {
                return failed(format!("RDS says that it is {said}"));
            }
            None => return failed("it is gone".into()),
            Some(RecoveryPointState::InFlight) if world.deadline.is_exhausted() => {
                let why = "it is not complete and the run's time is over".into();
                return Err(OperationError {
                    operation: format!("wait for {id}"),
                    message: why,
                    kind: OperationErrorKind::Late,
                    code: None,
                    hint: None,
                });
            }
            Some(RecoveryPointState::InFlight) => tokio::time::sleep(POLL_INTERVAL).await,
        }
    }
}

#[cfg(test)]
mod tests;

//! Takes snapshots of RDS databases: on schedule, and before a deployment.
//!
//! A schedule only makes it look: the policy's cron says which slot is due, and a slot without a good or growing
//! snapshot gets one. A demand (`{"reason": "pre-deploy", "wait": true}`) is done once, however often it is delivered.
//!
//! - [`plan()`]: what is due; the rest of this file: doing it and waiting for it

mod plan;

pub use plan::{Action, plan};

use shared::{
    aws::{EdgeError, Kind},
    catalog::{Family, Marks, Point, State},
    metrics::Metric,
    observe::{Where, observe},
    plan::{Finding, Severity},
    report::{Did, Done, Made, Report, Result},
    request::{Request, SCHEDULE},
    run::{World, apply},
};
use std::{collections::BTreeMap, time::Duration};

/// The function's name.
pub const NAME: &str = "snapshot";

/// `CreateDBSnapshot` calls at once; RDS queues the work itself.
const WIDTH: usize = 8;
/// How often a snapshot that is waited for is looked at.
const POLL: Duration = Duration::from_secs(10);

/// Looks, plans, acts and reports.
pub async fn run(world: &World<'_>, request: &Request) -> Report {
    let mut report = Report::new(NAME, world);
    let demand = request.request.clone().unwrap_or_else(|| world.run.clone());
    let seen = observe(world, Where::Home).await;
    let plan = plan(world.policy, &seen, request, &demand, world.now);
    let demanded = request.reason != SCHEDULE;
    report.findings.clone_from(&plan.findings);
    report.outcomes =
        apply(world, &plan, WIDTH, async |action| act(world, action, request.wait).await).await;
    if demanded {
        // Nobody comes back for a demand that was put off, so whoever asked must know.
        let open = |r: &Result| matches!(r, Result::Deferred(_) | Result::Unfinished);
        let put_off: Vec<_> = report.outcomes.iter().filter(|o| open(&o.result)).cloned().collect();
        for outcome in put_off {
            let again = "ask again under the same request: what is on its way is not taken twice";
            let (why, mend) = match outcome.result {
                // Asking does not help while what refuses it stays as it is.
                Result::Deferred(why) => {
                    (why, format!("see the database's state in RDS; when it is available, {again}"))
                }
                _ => ("it is not complete and the run's time is over".into(), again.to_owned()),
            };
            report.find(Finding::new(
                Severity::Critical,
                outcome.asset,
                shared::plan::code::NOT_TAKEN,
                why,
                mend,
            ));
        }
    }
    let deferred = plan.findings.iter().filter(|f| f.what == shared::plan::code::DEFERRED).count();
    report.value(Metric::SnapshotsTaken, report.count(|r| matches!(r, Result::Done(_))));
    report.value(
        Metric::SnapshotsDeferred,
        deferred + report.count(|r| matches!(r, Result::Deferred(_))),
    );
    report
}

async fn act(world: &World<'_>, action: &Action, wait: bool) -> Did {
    let rds = world.aws.rds(&world.home());
    match action {
        Action::Reuse { id } => Ok(id.clone().into()),
        Action::Await { family, id } => {
            if wait {
                complete(world, *family, id).await
            } else {
                Ok(format!("{id} is on its way").into())
            }
        }
        Action::Take { family, database, resource_id, id, tags } => {
            let began = tokio::time::Instant::now();
            loop {
                let taken = rds.take(*family, database, id, tags).await;
                match taken {
                    Ok(()) => break,
                    Err(e) if e.kind == Kind::Exists => {
                        let there = rds.point(*family, id).await?;
                        same(there.as_ref(), resource_id, tags, e)?;
                        break;
                    }
                    // Whoever waits for it would rather wait for a busy database than hear that it is busy.
                    Err(e) if e.kind == Kind::Busy && wait && !world.budget.spent() => {
                        tokio::time::sleep(POLL).await;
                    }
                    // The quota of manual snapshots does not free itself.
                    Err(e) if e.kind == Kind::Quota => {
                        let why = format!(
                            "{}; let go of manual snapshots or ask AWS for a higher quota",
                            e.why
                        );
                        return Err(EdgeError { kind: Kind::Refused, why, ..e });
                    }
                    Err(e) => return Err(e),
                }
            }
            if wait {
                complete(world, *family, id).await?;
            }
            let seconds = wait.then(|| began.elapsed().as_secs_f64());
            let place = world.home().to_string();
            Ok(Done::made(id.as_str(), Made { what: id.clone(), place, bytes: None, seconds }))
        }
    }
}

/// Whether what has the name already is exactly what would have been made: by another run of the same plan a moment ago.
/// Anything else is no success.
fn same(
    there: Option<&Point>,
    resource_id: &str,
    tags: &BTreeMap<String, String>,
    e: EdgeError,
) -> std::result::Result<(), EdgeError> {
    let marks = Marks::from_tags(tags.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    let ours = |p: &Point| p.resource_id == resource_id && p.marks.same(&marks);
    let why = match there {
        None => "something of that name was there and is gone",
        Some(point) if !ours(point) => {
            "something else has that name: of another database, owner, reason, slot or request"
        }
        Some(Point { state: State::Failed(_), .. }) => "an earlier try under that name failed",
        Some(_) => return Ok(()),
    };
    let mend =
        "nothing: the next run takes it under a name of its own; a demand has to be asked again"
            .to_owned();
    Err(EdgeError { kind: Kind::Refused, why: why.into(), mend: Some(mend), ..e })
}

/// Waits until a snapshot is complete, as long as the run's time allows.
async fn complete(world: &World<'_>, family: Family, id: &str) -> Did {
    let rds = world.aws.rds(&world.home());
    let failed = |why: String| Err(EdgeError::refused(format!("wait for {id}"), why));
    loop {
        match rds.point(family, id).await?.map(|p| p.state) {
            Some(State::Good) => return Ok(id.to_owned().into()),
            Some(State::Failed(said)) => return failed(format!("RDS says that it is {said}")),
            None => return failed("it is gone".into()),
            Some(State::InFlight) if world.budget.spent() => {
                let why = "it is not complete and the run's time is over".into();
                return Err(EdgeError {
                    doing: format!("wait for {id}"),
                    why,
                    kind: Kind::Late,
                    code: None,
                    mend: None,
                });
            }
            Some(State::InFlight) => tokio::time::sleep(POLL).await,
        }
    }
}

#[cfg(test)]
mod tests;

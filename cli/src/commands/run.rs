//! `holdfast run`: a function, as its Lambda runs it.

use super::{gate, report};
use crate::{
    args::RunArgs,
    function::{Function, budget, exit},
    output::Answer,
    session::Session,
    stop::{Exit, Stop},
    table::Look,
    telling,
};
use serde::Serialize;
use shared::{
    hints,
    report::RunReport,
    request::{RunRequest, SCHEDULE_REASON},
    run::RunContext,
};

/// Runs a function and shows its report.
pub(super) async fn run(session: &Session<'_>, args: &RunArgs) -> anyhow::Result<Exit> {
    let RunArgs { function, dry_run, assets, reason, wait, timeout } = args;
    only_snapshot(args)?;
    let request = RunRequest {
        reason: reason.clone().unwrap_or_else(|| SCHEDULE_REASON.into()),
        assets: assets.clone(),
        wait: *wait,
        dry_run: *dry_run,
        ..RunRequest::full_run()
    };
    let demanded = reason.as_deref().is_some_and(|r| r != SCHEDULE_REASON);
    if demanded || !assets.is_empty() {
        session.edge.interrupt.or(gate::check(session, &request, &session.edge.run)).await?;
    }
    let budget = budget(timeout);
    let world = if *dry_run {
        RunContext { deadline: budget, ..session.look() }
    } else {
        session.work(*function, budget).await
    };
    let what = format!("running {}", function.name());
    let report = tokio::select! {
        report = session.progress.during(&what, function.run(&world, &request)) => report,
        () = session.edge.interrupt.came() => {
            return Err(Stop::interrupted(format!(
                "interrupted; AWS goes on with what was started, and the next `{}` with the rest",
                hints::function(function.name())
            )));
        }
    };
    Box::pin(telling::tell_runs(session, &[&report])).await;
    let exit = exit(&session.policy, &report, budget);
    session.output.answer(&Ran(report))?;
    Ok(exit)
}

/// Refuses what a function would not heed: narrowed to nothing, it would do everything.
fn only_snapshot(args: &RunArgs) -> anyhow::Result<()> {
    if args.function == Function::Snapshot {
        return Ok(());
    }
    let reason = args.reason.as_deref().is_some_and(|r| r != SCHEDULE_REASON);
    let given = [("--asset", !args.assets.is_empty()), ("--reason", reason), ("--wait", args.wait)];
    match given.iter().find(|g| g.1) {
        Some((option, _)) => Err(Stop::wrong(format!(
            "{option} is for snapshot only; {} always looks at everything",
            args.function.name()
        ))),
        None => Ok(()),
    }
}

/// A run's report.
#[derive(Serialize)]
#[serde(transparent)]
struct Ran(RunReport);

impl Answer for Ran {
    fn text(&self, look: Look) -> String {
        format!("{}\n\n{}", report::text(&self.0, look), crate::words::plain(&self.0.summary()))
    }
}

//! `holdfast dump`: dumps that are due or asked for, their copies, then what may go.

use super::report;
use crate::{
    args::DumpArgs,
    function::{Function, budget, exit},
    output::Answer,
    session::Session,
    stop::{Exit, Stop},
    table::Look,
    telling,
};
use serde::Serialize;
use shared::{
    report::{RunReport, StepResult},
    request::{RunRequest, SCHEDULE_REASON},
    run::RunContext,
};
use std::time::Instant;

/// Dumps, then lets go, and shows both reports.
pub(super) async fn run(session: &Session<'_>, args: &DumpArgs) -> anyhow::Result<Exit> {
    let request = RunRequest {
        reason: args.reason.clone().unwrap_or_else(|| SCHEDULE_REASON.into()),
        assets: args.of.clone(),
        dry_run: args.dry_run,
        ..RunRequest::full_run()
    };
    let budget = budget(&args.timeout);
    let world = if args.dry_run {
        RunContext { deadline: budget, ..session.look() }
    } else {
        session.work(Function::Dump, budget).await
    };
    let begun = Instant::now();
    let work = async {
        let dumped = Function::Dump.run(&world, &request).await;
        let refused = crate::function::refused(&dumped.findings).is_some();
        let let_go = if args.no_retention || refused {
            None
        } else {
            let request = RunRequest { assets: args.of.clone(), ..RunRequest::full_run() };
            // The dumps just taken are of the past by now, and count for the rules.
            let world = RunContext { now: world.now + begun.elapsed(), ..world };
            let mut let_go = Box::pin(retention::run_dumps(&world, &request)).await;
            Box::pin(shared::run::record_audit(&world, &mut let_go)).await;
            // Of some groups it proves nothing about the others.
            let_go.whole &= args.of.is_empty();
            Some(let_go)
        };
        (dumped, let_go)
    };
    let (dumped, let_go) = tokio::select! {
        done = session.progress.during("dumping", work) => done,
        () = session.edge.interrupt.came() => {
            return Err(Stop::interrupted(
                "interrupted; what was not finished does not count, and the next run cleans it up",
            ));
        }
    };
    let both: Vec<&RunReport> = std::iter::once(&dumped).chain(&let_go).collect();
    Box::pin(telling::tell_runs(session, &both)).await;
    let deferred = |r: &StepResult| matches!(r, StepResult::Deferred(_));
    let exit = match exit(&session.policy, &dumped, budget) {
        // Another run has the lease. That one may fail, so nobody may think that this one did its work.
        Exit::Well if dumped.count_outcomes(deferred) > 0 => Exit::Late,
        Exit::Well if let_go.as_ref().is_some_and(failed) => Exit::CleanUp,
        exit => exit,
    };
    session.output.answer(&Dumped { dumped, let_go })?;
    Ok(exit)
}

fn failed(report: &RunReport) -> bool {
    report.count_outcomes(|r| matches!(r, StepResult::Failed(_))) > 0
        || report.findings.iter().any(|f| f.severity == shared::plan::Severity::Critical)
}

/// Both reports.
#[derive(Serialize)]
struct Dumped {
    #[serde(flatten)]
    dumped: RunReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    let_go: Option<RunReport>,
}

impl Answer for Dumped {
    fn text(&self, look: Look) -> String {
        let one = |r: &RunReport| {
            let summary = crate::words::plain(&r.summary());
            match report::text(r, look) {
                text if text.trim().is_empty() => summary,
                text => format!("{text}\n\n{summary}"),
            }
        };
        let go = self.let_go.as_ref().filter(|r| !r.outcomes.is_empty() || !r.findings.is_empty());
        let parts: Vec<_> = std::iter::once(&self.dumped).chain(go).map(one).collect();
        parts.join("\n\n")
    }
}

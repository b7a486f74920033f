//! `holdfast dump`: dumps that are due or asked for, their copies, then what may go.

use super::report;
use crate::{
    args::DumpArgs,
    function::{FunctionName, exit_for_report, run_deadline},
    output::CommandOutput,
    session::CommandContext,
    stop::{CommandError, CommandExit},
    table::TerminalStyle,
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
pub(super) async fn run(
    session: &CommandContext<'_>,
    args: &DumpArgs,
) -> anyhow::Result<CommandExit> {
    run_function(session, FunctionName::Dump, args).await
}

/// The same for any function that stores points as dumps are stored.
pub(super) async fn run_function(
    session: &CommandContext<'_>,
    function: FunctionName,
    args: &DumpArgs,
) -> anyhow::Result<CommandExit> {
    let request = RunRequest {
        reason: args.reason.clone().unwrap_or_else(|| SCHEDULE_REASON.into()),
        assets: args.targets.clone(),
        dry_run: args.dry_run,
        ..RunRequest::full_run()
    };
    let budget = run_deadline(&args.timeout);
    let world = if args.dry_run {
        RunContext { deadline: budget, ..session.dry_run_context() }
    } else {
        session.run_context(function, budget).await
    };
    let begun = Instant::now();
    let work = async {
        let dumped = function.run(&world, &request).await;
        let refused = crate::function::invalid_request_finding(&dumped.findings).is_some();
        let let_go = if args.no_retention || refused {
            None
        } else {
            let request = RunRequest { assets: args.targets.clone(), ..RunRequest::full_run() };
            // The dumps just taken are of the past by now, and count for the rules.
            let world = RunContext { now: world.now + begun.elapsed(), ..world };
            let mut let_go = Box::pin(retention::run_dumps(&world, &request)).await;
            Box::pin(shared::run::record_audit(&world, &mut let_go)).await;
            // Of some groups it proves nothing about the others.
            let_go.complete &= args.targets.is_empty();
            Some(let_go)
        };
        (dumped, let_go)
    };
    let (dumped, let_go) = tokio::select! {
        done = session.progress.with_spinner("dumping", work) => done,
        () = session.env.interrupt.received() => {
            return Err(CommandError::interrupted(
                "interrupted; what was not finished does not count, and the next run cleans it up",
            ));
        }
    };
    let both: Vec<&RunReport> = std::iter::once(&dumped).chain(&let_go).collect();
    Box::pin(telling::notify_runs(session, &both)).await;
    let deferred = |r: &StepResult| matches!(r, StepResult::Deferred(_));
    let exit = match exit_for_report(&session.policy, &dumped, budget) {
        // Another run has the lease. That one may fail, so nobody may think that this one did its work.
        CommandExit::Success if dumped.count_outcomes(deferred) > 0 => CommandExit::TimedOut,
        CommandExit::Success if let_go.as_ref().is_some_and(has_failures) => CommandExit::CleanUp,
        exit => exit,
    };
    session.output.print_output(&DumpOutput { dumped, retention: let_go })?;
    Ok(exit)
}

fn has_failures(report: &RunReport) -> bool {
    report.count_outcomes(|r| matches!(r, StepResult::Failed(_))) > 0
        || report.findings.iter().any(|f| f.severity == shared::plan::Severity::Critical)
}

/// Both reports.
#[derive(Serialize)]
struct DumpOutput {
    #[serde(flatten)]
    dumped: RunReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention: Option<RunReport>,
}

impl CommandOutput for DumpOutput {
    fn render_text(&self, look: TerminalStyle) -> String {
        let one = |r: &RunReport| {
            let summary = crate::words::escape_control_chars(&r.summary());
            match report::render_report(r, look) {
                text if text.trim().is_empty() => summary,
                text => format!("{text}\n\n{summary}"),
            }
        };
        let go =
            self.retention.as_ref().filter(|r| !r.outcomes.is_empty() || !r.findings.is_empty());
        let parts: Vec<_> = std::iter::once(&self.dumped).chain(go).map(one).collect();
        parts.join("\n\n")
    }
}

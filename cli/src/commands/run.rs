//! `holdfast run`: a function, as its Lambda runs it.

use super::{gate, report};
use crate::{
    args::RunArgs,
    function::{FunctionName, exit_for_report, run_deadline},
    output::CommandOutput,
    session::CommandContext,
    stop::{CommandError, CommandExit},
    table::TerminalStyle,
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
pub(super) async fn run(
    session: &CommandContext<'_>,
    args: &RunArgs,
) -> anyhow::Result<CommandExit> {
    let RunArgs { function, dry_run, assets, reason, wait, timeout } = args;
    reject_snapshot_only_flags(args)?;
    let request = RunRequest {
        reason: reason.clone().unwrap_or_else(|| SCHEDULE_REASON.into()),
        assets: assets.clone(),
        wait: *wait,
        dry_run: *dry_run,
        ..RunRequest::full_run()
    };
    let demanded = reason.as_deref().is_some_and(|r| r != SCHEDULE_REASON);
    if demanded || !assets.is_empty() {
        session
            .env
            .interrupt
            .run_until_interrupted(gate::plan_request(session, &request, &session.env.run_id))
            .await?;
    }
    let budget = run_deadline(timeout);
    let world = if *dry_run {
        RunContext { deadline: budget, ..session.dry_run_context() }
    } else {
        session.run_context(*function, budget).await
    };
    let what = format!("running {}", function.name());
    let report = tokio::select! {
        report = session.progress.with_spinner(&what, function.run(&world, &request)) => report,
        () = session.env.interrupt.received() => {
            return Err(CommandError::interrupted(format!(
                "interrupted; AWS goes on with what was started, and the next `{}` with the rest",
                hints::function(function.name())
            )));
        }
    };
    Box::pin(telling::notify_runs(session, &[&report])).await;
    let exit = exit_for_report(&session.policy, &report, budget);
    session.output.print_output(&RunOutput(report))?;
    Ok(exit)
}

/// Refuses what a function would not heed: narrowed to nothing, it would do everything.
fn reject_snapshot_only_flags(args: &RunArgs) -> anyhow::Result<()> {
    if args.function == FunctionName::Snapshot {
        return Ok(());
    }
    let reason = args.reason.as_deref().is_some_and(|r| r != SCHEDULE_REASON);
    let given = [("--asset", !args.assets.is_empty()), ("--reason", reason), ("--wait", args.wait)];
    match given.iter().find(|g| g.1) {
        Some((option, _)) => Err(CommandError::usage(format!(
            "{option} is for snapshot only; {} always looks at everything",
            args.function.name()
        ))),
        None => Ok(()),
    }
}

/// A run's report.
#[derive(Serialize)]
#[serde(transparent)]
struct RunOutput(RunReport);

impl CommandOutput for RunOutput {
    fn render_text(&self, look: TerminalStyle) -> String {
        format!(
            "{}\n\n{}",
            report::render_report(&self.0, look),
            crate::words::escape_control_chars(&self.0.summary())
        )
    }
}

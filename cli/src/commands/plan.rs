//! `holdfast plan`: what the functions would do now.

use super::report;
use crate::{
    function::{self, FunctionName, aws_unreachable_message, nothing_observed},
    output::CommandOutput,
    session::CommandContext,
    stop::{CommandError, CommandExit},
    table::TerminalStyle,
};
use serde::Serialize;
use shared::{report::RunReport, request::RunRequest};

/// Runs the functions as dry runs, one after the other: together they would ask AWS for the same pages at once.
pub(super) async fn run(
    session: &CommandContext<'_>,
    functions: &[FunctionName],
) -> anyhow::Result<CommandExit> {
    let functions = if functions.is_empty() { &FunctionName::ALL[..] } else { functions };
    let request = RunRequest { dry_run: true, ..RunRequest::full_run() };
    let world = session.dry_run_context();
    let mut plans = PlanOutput(Vec::new());
    for function in functions {
        let what = format!("planning {}", function.name());
        plans.0.push(session.progress.with_spinner(&what, function.run(&world, &request)).await);
    }
    let unseen: Vec<_> =
        plans.0.iter().filter_map(|r| nothing_observed(&session.policy, r)).collect();
    // A function that has nothing to do for this policy looks at nothing, and is no sign that AWS answers.
    let looked = plans
        .0
        .iter()
        .any(|r| nothing_observed(&session.policy, r).is_none() && has_observations(r));
    if let (Some(gap), false) = (unseen.first(), looked) {
        return Err(CommandError::unreachable(aws_unreachable_message(gap)));
    }
    session.output.print_output(&plans)?;
    // What is critical is so before it is due, too.
    Ok(if plans.0.iter().any(|r| r.failed) { CommandExit::Failed } else { CommandExit::Success })
}

fn has_observations(report: &RunReport) -> bool {
    !report.outcomes.is_empty() || !function::no_asset_observed(report)
}

/// The functions' reports.
#[derive(Serialize)]
#[serde(transparent)]
struct PlanOutput(Vec<RunReport>);

impl CommandOutput for PlanOutput {
    fn render_text(&self, look: TerminalStyle) -> String {
        self.0.iter().map(|r| report::render_report(r, look)).collect::<Vec<_>>().join("\n\n")
    }
}

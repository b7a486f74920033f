//! `holdfast drill`: test restores, and what they showed.

mod show;

use super::report;
use crate::{
    args::{
        GlobalArgs,
        drill::{DrillCommand, InjectArg},
    },
    function::{FunctionName, exit_for_report},
    output::CommandOutput,
    session::{CommandContext, CommandEnv, RetryProfile},
    stop::{CommandError, CommandExit},
    table::TerminalStyle,
    telling,
    words::{PLACEHOLDER, escape_control_chars, format_time, suggest_names},
};
use drill::{
    DrillDemand,
    evidence::{DrillEvidence, DrillVerdict},
    plan::DrillAction,
};
use serde::Serialize;
use shared::{
    hints::commands,
    plan::PlanStep,
    policy::{DrillRule, text::Name},
    request::RunRequest,
    run::{Deadline, RunTimer, finish_run},
};

/// Does what is asked.
pub(super) async fn run(
    global: &GlobalArgs,
    edge: &CommandEnv,
    command: &DrillCommand,
) -> anyhow::Result<CommandExit> {
    if let DrillCommand::VerifyEvidence { file, public_key } = command {
        let check = show::verify_evidence(global, edge, file, public_key.as_deref());
        return Box::pin(check).await;
    }
    let session = Box::pin(CommandContext::open(global, edge, RetryProfile::Host)).await?;
    let interrupt = &edge.interrupt;
    match command {
        DrillCommand::List => interrupt.run_until_interrupted(Box::pin(show::list(&session))).await,
        DrillCommand::Plan { drill } => {
            interrupt.run_until_interrupted(Box::pin(plan(&session, drill.as_deref()))).await
        }
        DrillCommand::Show { drill, markdown } => {
            let shown = show::show(&session, drill.as_deref(), *markdown);
            interrupt.run_until_interrupted(Box::pin(shown)).await
        }
        DrillCommand::Run { drill: None, .. } => Box::pin(run_due(&session)).await,
        DrillCommand::Run { drill: Some(name), asset, inject } => {
            let demand = DrillDemand {
                drill: find_drill(&session, name)?.0.clone(),
                asset: asset.clone(),
                fault: inject.map(InjectArg::fault),
            };
            Box::pin(run_demand(&session, &demand)).await
        }
        DrillCommand::VerifyEvidence { .. } => Ok(CommandExit::Success),
    }
}

/// A drill of the policy that can be run.
fn find_drill<'s>(
    session: &'s CommandContext<'_>,
    name: &str,
) -> anyhow::Result<(&'s Name, &'s DrillRule)> {
    let drills = &session.policy.drills;
    let Some(found) = drills.iter().find(|(n, _)| n.as_str() == name) else {
        let near = suggest_names(name, drills.keys().map(ToString::to_string));
        let known = if near.is_empty() { "none".to_owned() } else { near.join(", ") };
        return Err(CommandError::usage(format!(
            "the policy has no drill \"{name}\"; it has: {known}"
        )));
    };
    if !found.1.kind.is_implemented() {
        return Err(CommandError::usage(format!(
            "drill {name} is of kind {}, which no function runs yet",
            found.1.kind
        )));
    }
    Ok(found)
}

/// What is due, by the function itself.
async fn run_due(session: &CommandContext<'_>) -> anyhow::Result<CommandExit> {
    let world = session.run_context(FunctionName::Drill, Deadline::unlimited()).await;
    let request = RunRequest::full_run();
    let running = FunctionName::Drill.run(&world, &request);
    let report = tokio::select! {
        report = session.progress.with_spinner("restoring for proof", running) => report,
        () = session.env.interrupt.received() => return Err(interrupted()),
    };
    Box::pin(telling::notify_runs(session, &[&report])).await;
    let exit = exit_for_report(&session.policy, &report, Deadline::unlimited());
    session.output.print_output(&DrillRunOutput {
        evidence: Vec::new(),
        text: report::render_report(&report, TerminalStyle::default()),
    })?;
    Ok(exit)
}

fn interrupted() -> anyhow::Error {
    CommandError::interrupted(format!(
        "interrupted; the next `{}` drops a temporary database that is left, and drills again what has no evidence",
        commands::RUN_DRILL
    ))
}

/// One drill, now.
async fn run_demand(
    session: &CommandContext<'_>,
    demand: &DrillDemand,
) -> anyhow::Result<CommandExit> {
    let world = session.run_context(FunctionName::Drill, Deadline::unlimited()).await;
    let timer = RunTimer::start(world.aws, &RunRequest::default());
    let running = Box::pin(drill::run_demand(&world, demand));
    let done = tokio::select! {
        done = session.progress.with_spinner("restoring for proof", running) => done,
        () = session.env.interrupt.received() => return Err(interrupted()),
    };
    let done = done.map_err(|e| CommandError::from_data_error(&e))?;
    let report = Box::pin(finish_run(&world, done.report, timer)).await;
    if demand.fault.is_none() {
        Box::pin(telling::notify_runs(session, &[&report])).await;
    }
    let exit =
        exit_for_evidence(&done.evidence).max(if report.failed && done.evidence.is_empty() {
            CommandExit::Failed
        } else {
            CommandExit::Success
        });
    let text = if done.evidence.is_empty() {
        report::render_report(&report, TerminalStyle::default())
    } else {
        String::new()
    };
    session.output.print_output(&DrillRunOutput { evidence: done.evidence, text })?;
    Ok(exit)
}

/// What failed is worse than what is not known.
fn exit_for_evidence(evidence: &[DrillEvidence]) -> CommandExit {
    let any = |verdict| evidence.iter().any(|e| e.verdict == verdict);
    if any(DrillVerdict::Failed) {
        CommandExit::Failed
    } else if any(DrillVerdict::CouldNotVerify) {
        CommandExit::TimedOut
    } else {
        CommandExit::Success
    }
}

/// What drills came to.
#[derive(Serialize)]
struct DrillRunOutput {
    evidence: Vec<DrillEvidence>,
    #[serde(skip)]
    text: String,
}

impl CommandOutput for DrillRunOutput {
    fn render_text(&self, look: TerminalStyle) -> String {
        if self.evidence.is_empty() {
            return self.text.clone();
        }
        let head = ["asset", "data of", "verdict", "rto", "rpo", "evidence"];
        let rows = self.evidence.iter().map(|e| {
            vec![
                format!("{}/{}", e.group, e.asset),
                e.point.as_ref().map_or_else(|| PLACEHOLDER.into(), |p| format_time(p.data_time)),
                e.verdict.label().to_owned(),
                show::format_rto(e.measured.rto_seconds),
                show::format_rpo(e.measured.rpo_seconds),
                e.key(),
            ]
        });
        let mut text = look.render_table(&head, rows);
        for e in &self.evidence {
            text.push_str(&format!("\n\n{}/{}:", e.group, e.asset));
            if !e.reason.is_empty() {
                text.push_str(&escape_control_chars(&format!("\n  {}", e.reason)));
            }
            for check in &e.checks {
                let seen = format!("\n  {:<8} {}  {}", check.status, check.name, check.detail);
                text.push_str(escape_control_chars(&seen).trim_end());
            }
        }
        text
    }
}

/// What is due, and where it would be restored.
async fn plan(session: &CommandContext<'_>, name: Option<&str>) -> anyhow::Result<CommandExit> {
    if let Some(name) = name {
        find_drill(session, name)?;
    }
    let (world, secrets) = (session.dry_run_context(), session.secret_resolver());
    let reading = Box::pin(drill::overview(&world, &secrets));
    let overview = session.progress.with_spinner("reading the evidence", reading).await;
    show::print_problems(&overview.findings);
    let mut due = overview.due;
    due.retain(|step| name.is_none_or(|n| step.action.task().drill.as_str() == n));
    let next = overview.drills.iter().filter(|d| name.is_none_or(|n| d.drill.as_str() == n));
    let next = next.map(|d| {
        let slots = d.calendar.next_slots(world.now, 3).into_iter().map(format_time);
        (d.drill.to_string(), slots.collect())
    });
    let failed = !overview.findings.is_empty();
    session.output.print_output(&DrillPlanOutput { due, next: next.collect() })?;
    Ok(if failed { CommandExit::Failed } else { CommandExit::Success })
}

/// What would be done.
#[derive(Serialize)]
struct DrillPlanOutput {
    due: Vec<PlanStep<DrillAction>>,
    /// Of each drill, its next three times.
    next: Vec<(String, Vec<String>)>,
}

impl CommandOutput for DrillPlanOutput {
    fn render_text(&self, look: TerminalStyle) -> String {
        let head = ["drill", "next"];
        let rows = self.next.iter().map(|(drill, next)| vec![drill.clone(), next.join(", ")]);
        let table = look.render_table(&head, rows);
        if self.due.is_empty() {
            return format!("{table}\n\nnothing is due");
        }
        let due: Vec<_> =
            self.due.iter().map(|step| format!("  {}: {}", step.action, step.reason)).collect();
        format!("{table}\n\ndue now:\n{}", escape_control_chars(&due.join("\n")))
    }
}

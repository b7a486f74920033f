//! `holdfast redis`: servers checked, saved, and their RDB files taken.

use super::{dump, report};
use crate::{
    args::{
        DumpArgs,
        redis::{RedisCommand, RedisDumpArgs},
    },
    function::{FunctionName, exit_for_report},
    output::CommandOutput,
    session::CommandContext,
    stop::{CommandError, CommandExit},
    table::TerminalStyle,
};
use serde::Serialize;
use shared::{
    policy::redis::RDB_REASON,
    report::RunReport,
    request::RunRequest,
    run::{Deadline, RunContext},
};

/// Does what was asked.
pub(super) async fn run(
    session: &CommandContext<'_>,
    command: &RedisCommand,
) -> anyhow::Result<CommandExit> {
    match command {
        RedisCommand::Check { groups } => Box::pin(check(session, groups)).await,
        RedisCommand::Save { group, dry_run } => Box::pin(save(session, group, *dry_run)).await,
        RedisCommand::Dump(args) => {
            let RedisDumpArgs { groups, due, dry_run, no_retention, timeout } = args.clone();
            let args = DumpArgs {
                targets: groups,
                reason: (!due).then(|| RDB_REASON.to_owned()),
                dry_run,
                no_retention,
                timeout,
            };
            dump::run_function(session, FunctionName::Redis, &args).await
        }
    }
}

async fn check(session: &CommandContext<'_>, groups: &[String]) -> anyhow::Result<CommandExit> {
    let world = session.dry_run_context();
    let request = RunRequest { assets: groups.to_vec(), dry_run: true, ..RunRequest::full_run() };
    let work = redis_function::check_servers(&world, &request);
    let interrupt = &session.env.interrupt;
    let work = async { Ok(session.progress.with_spinner("asking the servers", work).await) };
    let report: RunReport = interrupt.run_until_interrupted(Box::pin(work)).await?;
    let exit = exit_for_report(&session.policy, &report, Deadline::unlimited());
    session.output.print_output(&RedisCheckOutput(report))?;
    Ok(exit)
}

async fn save(
    session: &CommandContext<'_>,
    group: &str,
    dry_run: bool,
) -> anyhow::Result<CommandExit> {
    let world = RunContext { dry_run, ..session.dry_run_context() };
    let work = redis_function::save_server(&world, group);
    let interrupt = &session.env.interrupt;
    let work = async { Ok(session.progress.with_spinner("saving", work).await) };
    let saved: Result<String, _> = interrupt.run_until_interrupted(Box::pin(work)).await?;
    let message = saved.map_err(|e| CommandError::from_data_error(&e))?;
    session.output.print_output(&RedisSaveOutput { group: group.to_owned(), message })?;
    Ok(CommandExit::Success)
}

#[derive(Serialize)]
#[serde(transparent)]
struct RedisCheckOutput(RunReport);

impl CommandOutput for RedisCheckOutput {
    fn render_text(&self, look: TerminalStyle) -> String {
        if self.0.findings.is_empty() {
            return "nothing is wrong with the servers".into();
        }
        report::render_report(&self.0, look)
    }
}

#[derive(Serialize)]
struct RedisSaveOutput {
    group: String,
    message: String,
}

impl CommandOutput for RedisSaveOutput {
    fn render_text(&self, _: TerminalStyle) -> String {
        crate::words::escape_control_chars(&self.message)
    }
}

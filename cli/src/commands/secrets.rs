//! `holdfast secrets`: what stands how, exports, comparison and restore. No value is ever shown.

mod check;
mod diff;
mod restore;

use super::report;
use crate::{
    args::secrets::SecretsCommand,
    function::{FunctionName, exit_for_report},
    output::CommandOutput,
    session::CommandContext,
    stop::{CommandError, CommandExit},
    table::TerminalStyle,
    telling,
};
use codec::DecryptionKeys;
use secrecy::ExposeSecret;
use secrets::{ObservedGroup, VersionDates};
use serde::Serialize;
use shared::{
    policy::{SecretGroup, SecretSource},
    report::RunReport,
    request::RunRequest,
    run::{Deadline, RunContext},
};

/// Does what is asked of secrets.
pub(super) async fn run(
    session: &CommandContext<'_>,
    command: &SecretsCommand,
) -> anyhow::Result<CommandExit> {
    match command {
        SecretsCommand::Check { group } => Box::pin(check::run(session, group.as_deref())).await,
        SecretsCommand::Export { target, dry_run } => {
            export(session, target.as_deref(), *dry_run).await
        }
        SecretsCommand::Diff(args) => Box::pin(diff::run(session, args)).await,
        SecretsCommand::Restore(args) => restore::run(session, args).await,
    }
}

async fn export(
    session: &CommandContext<'_>,
    target: Option<&str>,
    dry_run: bool,
) -> anyhow::Result<CommandExit> {
    let assets = target.iter().map(ToString::to_string).collect();
    let request = RunRequest { assets, dry_run, ..RunRequest::full_run() };
    let deadline = Deadline::unlimited();
    let world = if dry_run {
        RunContext { deadline, ..session.dry_run_context() }
    } else {
        session.run_context(FunctionName::Secrets, deadline).await
    };
    let work = FunctionName::Secrets.run(&world, &request);
    let done = session.progress.with_spinner("exporting", work).await;
    Box::pin(telling::notify_runs(session, &[&done])).await;
    let exit = exit_for_report(&session.policy, &done, deadline);
    session.output.print_output(&ExportOutput(done))?;
    Ok(exit)
}

#[derive(Serialize)]
#[serde(transparent)]
struct ExportOutput(RunReport);

impl CommandOutput for ExportOutput {
    fn render_text(&self, look: TerminalStyle) -> String {
        report::render_report(&self.0, look)
    }
}

/// The groups that a command means, observed.
///
/// # Errors
/// If the policy has no such group.
async fn observe_groups<'s>(
    session: &'s CommandContext<'_>,
    group: Option<&str>,
    dates: VersionDates,
) -> anyhow::Result<Vec<ObservedGroup<'s>>> {
    if let Some(group) = group {
        find_group(session, group)?;
    }
    let assets = group.iter().map(ToString::to_string).collect();
    let request = RunRequest { assets, ..RunRequest::full_run() };
    let world = session.dry_run_context();
    Ok(session
        .progress
        .with_spinner("reading secrets", Box::pin(secrets::observe(&world, &request, dates)))
        .await)
}

fn find_group<'s>(session: &'s CommandContext<'_>, name: &str) -> anyhow::Result<&'s SecretGroup> {
    let found = session.policy.secrets.iter().find(|(n, _)| n.as_str() == name);
    found.map(|(_, rules)| rules).ok_or_else(|| {
        let names: Vec<_> = session.policy.secrets.keys().map(ToString::to_string).collect();
        CommandError::usage(format!(
            "\"{name}\" is no group of secrets; the policy has: {}",
            names.join(", ")
        ))
    })
}

/// What opens a group's exports: the identity that was given, else those that the policy names and this host can read.
///
/// # Errors
/// If the one that was given cannot be read or is none.
async fn identities(
    session: &CommandContext<'_>,
    rules: &SecretGroup,
    given: Option<&str>,
) -> anyhow::Result<Option<DecryptionKeys>> {
    let resolver = session.secret_resolver();
    let mut keys = DecryptionKeys::default();
    if let Some(path) = given {
        let from = SecretSource { file: Some(path.to_owned()), ..SecretSource::default() };
        let value = resolver
            .get(&from)
            .await
            .map_err(|e| CommandError::with_exit(CommandExit::Key, e.to_line_with_hint()))?;
        keys.add_identity(value.expose_secret())
            .map_err(|e| CommandError::with_exit(CommandExit::Key, e.to_string()))?;
        return Ok(Some(keys));
    }
    let mut any = false;
    for from in rules.encrypt.iter().flat_map(|e| e.identity.iter().chain(&e.previous)) {
        match resolver.get(from).await {
            Ok(value) => any |= keys.add_identity(value.expose_secret()).is_ok(),
            Err(e) => tracing::info!("a key of the policy is not here: {e}"),
        }
    }
    Ok(any.then_some(keys))
}

/// The beginning of a version's id, which tells the versions of one secret apart.
fn short_id(version: &str) -> String {
    version.chars().take(8).collect()
}

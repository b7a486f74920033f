//! `holdfast secrets diff`: exported and live versions, compared without a value being shown.

use super::{identities, observe_groups};
use crate::{
    args::secrets::SecretsDiffArgs,
    output::{self, CommandOutput},
    session::CommandContext,
    stop::{CommandError, CommandExit},
    table::TerminalStyle,
    words::{PLACEHOLDER, format_time},
};
use secrets::{
    VersionDates,
    diff::{VersionDiff, compare_ids, compare_values},
    stored,
};
use serde::Serialize;

/// Compares.
pub(super) async fn run(
    session: &CommandContext<'_>,
    args: &SecretsDiffArgs,
) -> anyhow::Result<CommandExit> {
    let group = args.group.as_deref();
    let groups = Box::pin(observe_groups(session, group, VersionDates::WhereNeeded)).await?;
    let world = session.dry_run_context();
    let mut all = Vec::new();
    let mut failed = false;
    for group in &groups {
        for (place, e) in &group.errors {
            output::print_stderr(&format!("holdfast: {place}: {}", e.to_line_with_hint()));
            failed = true;
        }
        let opened = stored::open(&world, group.rules).await;
        let Some(open) = opened.map_err(|e| CommandError::from_data_error(&e))? else { continue };
        let mut diffs = compare_ids(group);
        if let Some(keys) = identities(session, group.rules, args.identity.as_deref()).await? {
            let client = world.aws.secrets(&world.home_location());
            let work = compare_values(group, &mut diffs, &client, &open.store, &keys);
            session.progress.with_spinner("comparing values", work).await;
        }
        all.extend(diffs);
    }
    failed |= all.iter().any(|d| d.result.severity().is_some());
    session.output.print_output(&DiffOutput(all))?;
    Ok(if failed { CommandExit::Failed } else { CommandExit::Success })
}

#[derive(Serialize)]
#[serde(transparent)]
struct DiffOutput(Vec<VersionDiff>);

impl CommandOutput for DiffOutput {
    fn render_text(&self, look: TerminalStyle) -> String {
        let rows = self.0.iter().map(|d| {
            let labels =
                if d.labels.is_empty() { PLACEHOLDER.to_owned() } else { d.labels.join(", ") };
            vec![
                d.name.clone(),
                d.version.clone(),
                labels,
                d.created.map_or_else(|| PLACEHOLDER.into(), format_time),
                d.result.label().into(),
                d.message.clone().unwrap_or_default(),
            ]
        });
        look.render_table(&["secret", "version", "labels", "created", "result", "why"], rows)
    }
}

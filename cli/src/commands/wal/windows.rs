//! `holdfast wal windows`: which moments can be restored.

use super::{Access, open_repository, wal_groups};
use crate::{
    output::CommandOutput,
    session::CommandContext,
    stop::{CommandError, CommandExit},
    table::TerminalStyle,
};
use serde::Serialize;
use wal::windows::{ArchiveWindows, compute_windows};

/// Shows the windows of every group, or of one.
pub(super) async fn run(
    session: &CommandContext<'_>,
    group: Option<&str>,
) -> anyhow::Result<CommandExit> {
    let secrets = session.secret_resolver();
    let mut all = Vec::new();
    for (name, rules, config) in
        wal_groups(session).filter(|(n, ..)| group.is_none_or(|g| n.as_str() == g))
    {
        let failed = |e: wal::WalError| CommandError::from_wal_error(&e);
        let repository = open_repository(session, &secrets, rules, config, Access::List)
            .await
            .map_err(failed)?;
        let inventory = repository.read_inventory().await.map_err(failed)?;
        let systems = inventory.systems().iter().map(|s| compute_windows(s)).collect();
        all.push(GroupWindows { group: name.to_string(), systems });
    }
    if let (true, Some(group)) = (all.is_empty(), group) {
        return Err(CommandError::usage(format!("\"{group}\" is no postgres group with wal")));
    }
    let whole =
        all.iter().all(|g| !g.systems.is_empty() && g.systems.iter().all(ArchiveWindows::is_whole));
    session.output.print_output(&WindowsOutput(all))?;
    Ok(if whole { CommandExit::Success } else { CommandExit::Failed })
}

#[derive(Serialize)]
struct GroupWindows {
    group: String,
    systems: Vec<ArchiveWindows>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct WindowsOutput(Vec<GroupWindows>);

impl CommandOutput for WindowsOutput {
    fn render_text(&self, _: TerminalStyle) -> String {
        let mut lines = Vec::new();
        for group in &self.0 {
            if group.systems.is_empty() {
                lines.push(format!("{}: nothing is archived yet", group.group));
            }
            for system in &group.systems {
                lines.push(format!("{}: cluster {}", group.group, system.system));
                lines.extend(system.lines().into_iter().map(|l| format!("  {l}")));
            }
        }
        lines.join("\n")
    }
}

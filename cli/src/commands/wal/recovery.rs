//! `holdfast restore GROUP --target-dir DIR`: a whole server as of a moment.

use super::{Access, open_repository, own_command, select_group};
use crate::{
    args::{RestoreArgs, wal::RecoveryTargetArgs},
    output::CommandOutput,
    session::CommandContext,
    stop::{CommandError, CommandExit},
    table::TerminalStyle,
};
use serde::Serialize;
use std::path::Path;
use wal::restore::{
    RecoveryPlan, RecoveryTarget, RestoreTarget, extract_base_backup, plan_recovery,
};

/// Plans, shows, and restores unless it is a dry run.
pub(crate) async fn run(
    session: &CommandContext<'_>,
    policy: &str,
    args: &RestoreArgs,
    data: &Path,
) -> anyhow::Result<CommandExit> {
    let (name, rules, config) = select_group(session, Some(&args.backup))?;
    let secrets = session.secret_resolver();
    let failed = |e: wal::WalError| CommandError::from_wal_error(&e);
    let mut repository =
        open_repository(session, &secrets, rules, config, Access::Read).await.map_err(failed)?;
    let opening = restore::BackupKeys::resolve_keys(&secrets, rules, &args.keys.files).await;
    repository.keys = opening.map_err(|e| CommandError::from_data_error(&e))?.keys;
    let inventory = repository.read_inventory().await.map_err(failed)?;
    let Some(system) = inventory.select_system(args.recovery.system) else {
        return Err(CommandError::usage("the archive has nothing of that cluster"));
    };
    let target = recovery_target(&args.recovery.target);
    let plan = plan_recovery(system, target, args.recovery.timeline).map_err(failed)?;
    let command = format!(
        "{} wal fetch --group {} --system {} \"%f\" \"%p\"",
        own_command(policy)?,
        name,
        system.system
    );
    let restore = RestoreTarget {
        data: std::path::absolute(data)?,
        tablespaces: args.recovery.tablespace.iter().cloned().collect(),
        settings: plan.settings(&command, args.recovery.promote),
    };
    if !args.dry_run {
        let extracting = Box::pin(extract_base_backup(&repository, &plan, &restore));
        session
            .progress
            .with_spinner("restoring the base backup", extracting)
            .await
            .map_err(failed)?;
    }
    let data = restore.data.display().to_string();
    session.output.print_output(&RecoveryOutput {
        data,
        done: !args.dry_run,
        promote: args.recovery.promote,
        plan,
    })?;
    Ok(CommandExit::Success)
}

fn recovery_target(args: &RecoveryTargetArgs) -> RecoveryTarget {
    let time = args.at.map(RecoveryTarget::Time);
    let lsn = args.lsn.map(RecoveryTarget::Lsn);
    let name = args.name.clone().map(RecoveryTarget::Name);
    let xid = args.xid.map(RecoveryTarget::Xid);
    time.or(lsn).or(name).or(xid).unwrap_or(RecoveryTarget::Latest)
}

#[derive(Serialize)]
struct RecoveryOutput {
    data: String,
    done: bool,
    promote: bool,
    #[serde(flatten)]
    plan: RecoveryPlan,
}

impl CommandOutput for RecoveryOutput {
    fn render_text(&self, _: TerminalStyle) -> String {
        let plan = &self.plan;
        let mut lines = vec![
            format!(
                "base backup {} (complete at {}), timeline {}",
                plan.backup.label, plan.backup.finished_at, plan.timeline
            ),
            format!("WAL from {} to {}", plan.backup.start_lsn, plan.last_segment),
        ];
        lines.extend(
            plan.newest_commit.map(|t| format!("newest commit in the archive on that way: {t}")),
        );
        if let (RecoveryTarget::Time(at), false) = (&plan.target, plan.reaches_target) {
            lines.push(format!(
                "no later commit than {at} is archived: everything is replayed that is there"
            ));
        }
        if self.done {
            let version = plan.backup.version_num / 10_000;
            lines.push(format!(
                "{} is ready: start PostgreSQL {version} there (pg_ctl -D {0} start)",
                self.data
            ));
            lines.push(
                "archive_mode is off there; listen on another port than the living server".into(),
            );
            if !self.promote && !matches!(plan.target, RecoveryTarget::Latest) {
                lines.push("it pauses at the target for a look, read-only; SELECT pg_wal_replay_resume() opens it for writing".into());
            }
        } else {
            lines.push(format!("nothing was written; {} would be the data directory", self.data));
        }
        lines.join("\n")
    }
}

//! An RDB file restored into a folder.

use crate::{
    args::RestoreArgs,
    backups::LocatedBackup,
    output::CommandOutput,
    recorded,
    session::CommandContext,
    stop::{CommandError, CommandExit},
    table::TerminalStyle,
    words::{escape_control_chars, format_size},
};
use restore::{
    BackupKeys, RestoreError,
    rdb::{RdbRestoreOptions, RdbRestoreReport, restore_rdb},
};
use serde::Serialize;
use shared::{audit::AuditEntry, plan::Operation};
use std::path::PathBuf;

/// Restores an RDB file into the folder that `--to` names.
pub(super) async fn run(
    session: &CommandContext<'_>,
    args: &RestoreArgs,
    item: &LocatedBackup<'_>,
    opening: &BackupKeys,
) -> anyhow::Result<CommandExit> {
    let Some(to) = &args.to else {
        return Err(CommandError::usage(
            "an RDB file is restored into a folder: write --to DIR, a new or empty one; the steps to start a server on it \
             are printed",
        ));
    };
    if !args.tables.is_empty() {
        return Err(CommandError::usage("an RDB file has no tables: leave out --table"));
    }
    let redis = session.policy.redis.get(item.group);
    let append_only = redis.and_then(|g| g.settings.get("appendonly"));
    let options = RdbRestoreOptions {
        directory: PathBuf::from(to),
        append_only: append_only.is_some_and(|v| v.eq_ignore_ascii_case("yes")),
        path: std::env::var_os("PATH"),
    };
    if args.dry_run {
        let manifest = item.committed_manifest();
        let output = RdbPlanOutput {
            backup: item.backup.uri.clone(),
            directory: to.clone(),
            bytes: item.backup.size,
            keys: manifest.map(storage::BackupManifest::row_count),
            append_only: options.append_only,
        };
        session.output.print_output(&output)?;
        return Ok(CommandExit::Success);
    }
    let store = &item.location.store;
    let work = Box::pin(restore_rdb(store, &item.backup, opening, &options));
    let work = async { Ok(session.progress.with_spinner("restoring", work).await) };
    let restored: Result<RdbRestoreReport, RestoreError> =
        session.env.interrupt.run_until_interrupted(Box::pin(work)).await?;
    let entry = recorded::backup_entry(item, (Operation::Restore, "restore"), "");
    match restored {
        Err(e) => {
            let entry = recorded::failed_entry(entry, format!("into {to}: {e}"));
            recorded::append_audit_entries(session, "restore", vec![entry], CommandExit::Failed)
                .await;
            Err(CommandError::from_restore_error(&e))
        }
        Ok(report) => {
            let entry = AuditEntry {
                detail: format!("into {to}"),
                seconds: Some(report.durations.iter().map(|t| t.seconds).sum()),
                evidence: Some(recorded::checks_evidence(&report.checks)),
                ..entry
            };
            let exit = recorded::append_audit_entries(
                session,
                "restore",
                vec![entry],
                CommandExit::Success,
            )
            .await;
            session.output.print_output(&RdbRestoreOutput(report))?;
            Ok(exit)
        }
    }
}

#[derive(Serialize)]
struct RdbPlanOutput {
    backup: String,
    directory: String,
    bytes: u64,
    keys: Option<u64>,
    append_only: bool,
}

impl CommandOutput for RdbPlanOutput {
    fn render_text(&self, _: TerminalStyle) -> String {
        let bytes = i64::try_from(self.bytes).unwrap_or(i64::MAX);
        let keys = self.keys.map(|n| format!(", {n} keys")).unwrap_or_default();
        let aof = if self.append_only { ", with an append-only file" } else { "" };
        escape_control_chars(&format!(
            "{} ({}{keys}) would be written into {} as dump.rdb{aof}; nothing was changed",
            self.backup,
            format_size(bytes),
            self.directory
        ))
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct RdbRestoreOutput(RdbRestoreReport);

impl CommandOutput for RdbRestoreOutput {
    fn render_text(&self, _: TerminalStyle) -> String {
        let r = &self.0;
        let mut lines = vec![format!("{} is in {}", r.backup, r.directory.display())];
        lines.extend(r.contents.databases.iter().map(|d| {
            format!("  db{}: {} keys, {} of them expired by now", d.index, d.keys, d.expired)
        }));
        lines.extend(r.checks.iter().map(|c| format!("  {}: {}", c.name, c.detail)));
        lines.extend(r.durations.iter().map(|t| format!("  {}: {:.1} s", t.phase, t.seconds)));
        lines.push("next, in this order:".into());
        lines.extend(r.next_steps.iter().enumerate().map(|(i, s)| format!("  {}. {s}", i + 1)));
        escape_control_chars(&lines.join("\n"))
    }
}

//! What a command writes into the record of operations, for what no function's run records.

use crate::{backups::LocatedBackup, output, session::CommandContext, stop::CommandExit};
use restore::verify::{CheckResult, CheckStatus as Checked};
use serde_json::{Value, json};
use shared::{
    audit::{self, AuditEntry, OperationResult},
    plan::Operation,
    report::Artifact,
    run::RunContext,
};

/// Checks of one dump that are recorded; a database may have thousands of tables, each with a check of its own.
const MAX_RECORDED_CHECKS: usize = 50;

/// Records entries. What can't be recorded was done all the same: it is told, and the command does not end well.
pub(crate) async fn append_audit_entries(
    session: &CommandContext<'_>,
    by: &str,
    entries: Vec<AuditEntry>,
    exit: CommandExit,
) -> CommandExit {
    let world = RunContext { dry_run: false, ..session.dry_run_context() };
    let took = session.started_at.elapsed().as_secs_f64();
    match Box::pin(audit::record_entries(&world, by, entries, took)).await {
        Ok(_) => exit,
        Err(e) => {
            let told = e.to_line_with_hint();
            output::print_stderr(&format!(
                "holdfast: done, but not in the record of operations: {told}"
            ));
            if exit == CommandExit::Success { CommandExit::Failed } else { exit }
        }
    }
}

/// An entry about a dump that somebody asked for, which went well.
pub(crate) fn backup_entry(
    item: &LocatedBackup<'_>,
    (operation, action): (Operation, &str),
    detail: impl Into<String>,
) -> AuditEntry {
    AuditEntry {
        asset: format!("{}/{}", item.group, item.database),
        action: action.into(),
        reason: "it was asked for".into(),
        operation,
        result: OperationResult::Done,
        detail: detail.into(),
        artifact: Some(Artifact {
            key: item.backup.key.clone(),
            location: item.location.store.address(),
            bytes: Some(item.backup.size),
            seconds: None,
        }),
        seconds: None,
        evidence: None,
    }
}

/// The same entry of something that failed.
pub(crate) fn failed_entry(entry: AuditEntry, why: impl Into<String>) -> AuditEntry {
    AuditEntry { result: OperationResult::Failed, detail: why.into(), ..entry }
}

/// What was checked, as evidence: those that failed first.
pub(crate) fn checks_evidence(checks: &[CheckResult]) -> Value {
    let mut shown: Vec<&CheckResult> = checks.iter().collect();
    shown.sort_by_key(|c| c.status != Checked::Failed);
    json!({
        "checks": shown.iter().take(MAX_RECORDED_CHECKS).collect::<Vec<_>>(),
        "more_checks": shown.len().saturating_sub(MAX_RECORDED_CHECKS),
    })
}

/// The failed checks in words; how many there were when all passed.
pub(crate) fn summarize_checks(checks: &[CheckResult]) -> String {
    let failed = checks.iter().filter(|c| c.status == Checked::Failed);
    let failed: Vec<_> = failed.map(|c| format!("{}: {}", c.name, c.detail)).collect();
    if failed.is_empty() {
        let passed = checks.iter().filter(|c| c.status == Checked::Passed).count();
        return format!("{passed} checks passed");
    }
    failed.join("; ")
}

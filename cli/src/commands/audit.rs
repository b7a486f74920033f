//! `holdfast audit`: what was done, by whom and why; and whether the record of it is whole.

use crate::{
    args::AuditCommand,
    output::CommandOutput,
    session::CommandContext,
    stop::{CommandError, CommandExit},
    table::TerminalStyle,
    words::{PLACEHOLDER, escape_control_chars, format_time, pluralize},
};
use serde::Serialize;
use shared::{
    audit::{
        AuditLog, AuditRecord, OperationResult,
        verify::{ChainExpectation, ChainVerification},
    },
    policy::text::Period,
};

/// Does what was asked of the record.
pub(super) async fn run(
    session: &CommandContext<'_>,
    command: &AuditCommand,
) -> anyhow::Result<CommandExit> {
    let policy = &session.policy;
    let (Some(log), Some(audit)) = (AuditLog::from_policy(&session.aws, policy), &policy.audit)
    else {
        return Err(CommandError::usage(
            "the policy keeps no record of operations; write `audit` with a bucket or a directory",
        ));
    };
    match command {
        AuditCommand::Verify { head } => {
            let (now, keep) = (session.env.now, audit.keep.duration());
            let expected = ChainExpectation { now, keep, head: head.clone() };
            let walk = log.verify_chain(&expected);
            let verdict =
                session.progress.with_spinner("reading the record of operations", walk).await;
            let verdict = verdict.map_err(|e| CommandError::from_operation_error(&e))?;
            let exit = if verdict.first_break.is_some() {
                CommandExit::Failed
            } else {
                CommandExit::Success
            };
            session.output.print_output(&AuditVerifyOutput(verdict))?;
            Ok(exit)
        }
        AuditCommand::List { since, asset } => {
            let records = list_records(session, &log, since, asset.as_deref()).await?;
            session.output.print_output(&AuditListOutput(records))?;
            Ok(CommandExit::Success)
        }
    }
}

/// The records since then, newest first, of one asset or of all of a group when it is named.
async fn list_records(
    session: &CommandContext<'_>,
    log: &AuditLog,
    since: &Period,
    asset: Option<&str>,
) -> anyhow::Result<Vec<AuditRecord>> {
    let from = session.env.now.checked_sub(since.duration()).unwrap_or(session.env.now);
    let read = session
        .progress
        .with_spinner("reading the record of operations", log.records_since(from))
        .await;
    let mut records = read.map_err(|e| CommandError::from_operation_error(&e))?;
    let named = |r: &AuditRecord| {
        asset.is_none_or(|asset| r.entry.asset == asset || r.group.as_deref() == Some(asset))
    };
    records.retain(named);
    records.reverse();
    Ok(records)
}

#[derive(Serialize)]
#[serde(transparent)]
struct AuditVerifyOutput(ChainVerification);

impl CommandOutput for AuditVerifyOutput {
    fn render_text(&self, _: TerminalStyle) -> String {
        let v = &self.0;
        let (records, objects) =
            (pluralize(v.records, "record", "records"), pluralize(v.objects, "object", "objects"));
        let mut lines = Vec::new();
        match (&v.first_break, v.from.zip(v.to)) {
            (None, None) => lines.push("there are no records".to_owned()),
            (None, Some((from, to))) => {
                lines.push(format!(
                    "{records} in {objects}, {} to {} UTC",
                    format_time(from),
                    format_time(to)
                ));
            }
            (Some(bad), _) => {
                lines.push(format!("BROKEN at {}: {}", bad.location, bad.reason));
                lines.push(format!("before it: {records} in {objects}"));
            }
        }
        lines.extend(v.head.as_ref().map(|head| format!("head: {head}")));
        escape_control_chars(&lines.join("\n"))
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct AuditListOutput(Vec<AuditRecord>);

impl CommandOutput for AuditListOutput {
    fn render_text(&self, look: TerminalStyle) -> String {
        if self.0.is_empty() {
            return "there are no such records".into();
        }
        let rows = self.0.iter().map(|r| {
            let e = &r.entry;
            let result = match e.result {
                OperationResult::Done => "done",
                OperationResult::Failed => "FAILED",
            };
            let who = match &r.user {
                Some(user) => format!("{} ({user})", r.function),
                None => r.function.clone(),
            };
            let took = e.seconds.map_or(PLACEHOLDER.to_owned(), |s| format!("{s:.1} s"));
            let fields =
                [&format_time(r.recorded_at), &who, &e.asset, &e.action, result, &took, &e.detail];
            fields.map(ToString::to_string).to_vec()
        });
        let head = ["at (UTC)", "by", "asset", "action", "result", "took", "detail"];
        look.render_table(&head, rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_says_how_much_was_seen_and_what_is_wrong() {
        let at = |s: &str| s.parse().ok();
        let well = ChainVerification {
            records: 3,
            objects: 1,
            from: at("2026-11-20T02:00:00Z"),
            to: at("2026-11-20T12:00:00Z"),
            head: Some("1:ab".into()),
            first_break: None,
        };
        let bad = shared::audit::verify::ChainBreak {
            location: "a/1 line 2".into(),
            reason: "changed".into(),
        };
        let broken = ChainVerification { first_break: Some(bad), ..well.clone() };
        let said = [well, broken, ChainVerification::default()]
            .map(|v| AuditVerifyOutput(v).render_text(TerminalStyle::default()));
        insta::assert_snapshot!(said.join("\n\n"), @"
        3 records in 1 object, 2026-11-20 02:00 to 2026-11-20 12:00 UTC
        head: 1:ab

        BROKEN at a/1 line 2: changed
        before it: 3 records in 1 object
        head: 1:ab

        there are no records
        ");
    }
}

//! `holdfast audit`: what was done, by whom and why; and whether the record of it is whole.

use crate::{
    args::AuditCommand,
    output::Answer,
    session::Session,
    stop::{Exit, Stop},
    table::Look,
    words::{NONE, count, plain, time},
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
pub(super) async fn run(session: &Session<'_>, command: &AuditCommand) -> anyhow::Result<Exit> {
    let policy = &session.policy;
    let (Some(log), Some(audit)) = (AuditLog::from_policy(&session.aws, policy), &policy.audit) else {
        return Err(Stop::wrong(
            "the policy keeps no record of operations; write `audit` with a bucket or a directory",
        ));
    };
    match command {
        AuditCommand::Verify { head } => {
            let (now, keep) = (session.edge.now, audit.keep.duration());
            let expected = ChainExpectation { now, keep, head: head.clone() };
            let walk = log.verify_chain(&expected);
            let verdict = session.progress.during("reading the record of operations", walk).await;
            let verdict = verdict.map_err(|e| Stop::edge(&e))?;
            let exit = if verdict.bad.is_some() { Exit::Failed } else { Exit::Well };
            session.output.answer(&Verified(verdict))?;
            Ok(exit)
        }
        AuditCommand::List { since, asset } => {
            let records = list(session, &log, since, asset.as_deref()).await?;
            session.output.answer(&Listed(records))?;
            Ok(Exit::Well)
        }
    }
}

/// The records since then, newest first, of one asset or of all of a group when it is named.
async fn list(
    session: &Session<'_>,
    log: &AuditLog,
    since: &Period,
    asset: Option<&str>,
) -> anyhow::Result<Vec<AuditRecord>> {
    let from = session.edge.now.checked_sub(since.duration()).unwrap_or(session.edge.now);
    let read = session.progress.during("reading the record of operations", log.records_since(from)).await;
    let mut records = read.map_err(|e| Stop::edge(&e))?;
    let named = |r: &AuditRecord| {
        asset.is_none_or(|asset| r.entry.asset == asset || r.group.as_deref() == Some(asset))
    };
    records.retain(named);
    records.reverse();
    Ok(records)
}

#[derive(Serialize)]
#[serde(transparent)]
struct Verified(ChainVerification);

impl Answer for Verified {
    fn text(&self, _: Look) -> String {
        let v = &self.0;
        let (records, objects) =
            (count(v.records, "record", "records"), count(v.objects, "object", "objects"));
        let mut lines = Vec::new();
        match (&v.bad, v.from.zip(v.to)) {
            (None, None) => lines.push("there are no records".to_owned()),
            (None, Some((from, to))) => {
                lines.push(format!("{records} in {objects}, {} to {} UTC", time(from), time(to)));
            }
            (Some(bad), _) => {
                lines.push(format!("BROKEN at {}: {}", bad.place, bad.why));
                lines.push(format!("before it: {records} in {objects}"));
            }
        }
        lines.extend(v.head.as_ref().map(|head| format!("head: {head}")));
        plain(&lines.join("\n"))
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Listed(Vec<AuditRecord>);

impl Answer for Listed {
    fn text(&self, look: Look) -> String {
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
                Some(user) => format!("{} ({user})", r.by),
                None => r.by.clone(),
            };
            let took = e.seconds.map_or(NONE.to_owned(), |s| format!("{s:.1} s"));
            let fields = [&time(r.at), &who, &e.asset, &e.action, result, &took, &e.detail];
            fields.map(ToString::to_string).to_vec()
        });
        let head = ["at (UTC)", "by", "asset", "action", "result", "took", "detail"];
        look.table(&head, rows)
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
            bad: None,
        };
        let bad = shared::audit::verify::ChainBreak { place: "a/1 line 2".into(), why: "changed".into() };
        let broken = ChainVerification { bad: Some(bad), ..well.clone() };
        let said = [well, broken, ChainVerification::default()].map(|v| Verified(v).text(Look::default()));
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

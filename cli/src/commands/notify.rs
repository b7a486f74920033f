//! `holdfast notify`: what notify knows and says, on a host or from afar.

use crate::{
    args::NotifyArgs,
    output::{self, CommandOutput},
    session::CommandContext,
    stop::{CommandError, CommandExit},
    table::TerminalStyle,
    words::{PLACEHOLDER, escape_control_chars, format_time, pluralize, severity_label},
};
use jiff::Timestamp;
use notify::{
    NotifyContext, NotifySummary, OutgoingMessage,
    keep::{ResetReason, StateStore},
    message::ChannelMessage,
    state::NotifyState,
};
use serde::Serialize;
use shared::{plan::Severity, policy::text::Name, time::format_duration};

/// Ticks, tests, or lists.
pub(super) async fn run(
    session: &CommandContext<'_>,
    args: &NotifyArgs,
) -> anyhow::Result<CommandExit> {
    let Some(rules) = &session.policy.notify else {
        return Err(CommandError::usage(
            "the policy names nobody to tell: write notify with channels and routes",
        ));
    };
    if let Some(named) = &args.test {
        let only = find_channel(named, rules.channels.keys())?;
        return test_channels(session, only.as_ref()).await;
    }
    let Some(at) = session.notify_state.as_deref() else {
        return Err(CommandError::usage(
            "notify remembers what it told: name a place for that with --state or HOLDFAST_STATE, s3://BUCKET/PREFIX or a \
             directory",
        ));
    };
    let keep = StateStore::new(at, &session.aws, &session.policy)
        .map_err(|e| CommandError::usage(e.to_line_with_hint()))?;
    let ground = NotifyContext {
        aws: &session.aws,
        policy: &session.policy,
        state_store: &keep,
        now: session.env.now,
    };
    if args.list {
        return list_incidents(session, &ground).await;
    }
    if args.dry_run {
        let told = Box::pin(notify::dry_run(&ground, &[]))
            .await
            .map_err(|e| CommandError::from_data_error(&e))?;
        session
            .output
            .print_output(&NotifyDryRunOutput(told.into_iter().map(Into::into).collect()))?;
        return Ok(CommandExit::Success);
    }
    let looking = Box::pin(notify::process_events(&ground, &[]));
    let looked = session
        .progress
        .with_spinner("telling", looking)
        .await
        .map_err(|e| CommandError::from_data_error(&e))?;
    let failed = !looked.errors.is_empty();
    session.output.print_output(&NotifyOutput(looked))?;
    Ok(if failed { CommandExit::Failed } else { CommandExit::Success })
}

/// The channel that is meant; none for all.
fn find_channel<'n>(
    named: &str,
    known: impl Iterator<Item = &'n Name>,
) -> anyhow::Result<Option<Name>> {
    let known: Vec<&Name> = known.collect();
    match known.iter().find(|n| n.as_str() == named) {
        Some(name) => Ok(Some((*name).clone())),
        None if named.is_empty() => Ok(None),
        None => {
            let known: Vec<_> = known.iter().map(|n| n.as_str()).collect();
            Err(CommandError::usage(format!(
                "the policy has no channel {named}; it has: {}",
                known.join(", ")
            )))
        }
    }
}

async fn test_channels(
    session: &CommandContext<'_>,
    only: Option<&Name>,
) -> anyhow::Result<CommandExit> {
    let testing =
        Box::pin(notify::test_channels(&session.aws, &session.policy, only, session.env.now));
    let tried = session.progress.with_spinner("sending", testing).await;
    let rows: Vec<_> = tried
        .into_iter()
        .map(|(channel, result)| ChannelTestResult {
            channel: channel.to_string(),
            delivered: result.is_ok(),
            why: result.err().map(|e| e.why),
        })
        .collect();
    let failed = rows.iter().any(|r| !r.delivered);
    session.output.print_output(&ChannelTestOutput(rows))?;
    Ok(if failed { CommandExit::Failed } else { CommandExit::Success })
}

async fn list_incidents(
    session: &CommandContext<'_>,
    ground: &NotifyContext<'_>,
) -> anyhow::Result<CommandExit> {
    let found =
        ground.state_store.load(ground.now).await.map_err(|e| CommandError::from_data_error(&e))?;
    match &found.reset_reason {
        Some(ResetReason::Lost(why)) => {
            output::print_stderr(&format!(
                "holdfast: {} can't be read: {why}",
                ground.state_store.address()
            ));
        }
        Some(ResetReason::First) => output::print_stderr(&format!(
            "holdfast: nothing is remembered in {} yet",
            ground.state_store.address()
        )),
        None => {}
    }
    let list = NotifyListOutput::from_state(&found.state, ground.now);
    let bad = list.open.iter().any(|r| r.severity == Severity::Critical);
    session.output.print_output(&list)?;
    Ok(if bad { CommandExit::Failed } else { CommandExit::Success })
}

/// A message that would be sent.
#[derive(Serialize)]
struct PendingMessage {
    channel: String,
    message: ChannelMessage,
}

impl From<OutgoingMessage> for PendingMessage {
    fn from(told: OutgoingMessage) -> Self {
        Self { channel: told.channel.to_string(), message: told.message }
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct NotifyDryRunOutput(Vec<PendingMessage>);

impl CommandOutput for NotifyDryRunOutput {
    fn render_text(&self, look: TerminalStyle) -> String {
        if self.0.is_empty() {
            return "nobody would be told anything".into();
        }
        let rows = self.0.iter().map(|w| vec![w.channel.clone(), w.message.title.clone()]);
        format!("{}\n\nnothing was sent", look.render_table(&["channel", "message"], rows))
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct NotifyOutput(NotifySummary);

impl CommandOutput for NotifyOutput {
    fn render_text(&self, _: TerminalStyle) -> String {
        let did = &self.0;
        let mut lines = vec![format!(
            "{} delivered, {} waiting; {} open",
            pluralize(did.delivered, "message", "messages"),
            did.queued,
            pluralize(did.open, "problem is", "problems are"),
        )];
        let refused = did
            .errors
            .iter()
            .map(|(channel, why)| escape_control_chars(&format!("{channel}: {why}")));
        lines.extend(refused);
        lines.join("\n")
    }
}

/// What came of a test.
#[derive(Serialize)]
struct ChannelTestResult {
    channel: String,
    delivered: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct ChannelTestOutput(Vec<ChannelTestResult>);

impl CommandOutput for ChannelTestOutput {
    fn render_text(&self, look: TerminalStyle) -> String {
        let rows = self.0.iter().map(|t| {
            let went = if t.delivered { "ok" } else { "FAILED" };
            vec![t.channel.clone(), went.into(), t.why.clone().unwrap_or_default()]
        });
        let well = self.0.iter().filter(|t| t.delivered).count();
        let table = look.render_table(&["channel", "went", "why not"], rows);
        format!(
            "{table}\n\n{well} of {} took the test message",
            pluralize(self.0.len(), "channel", "channels")
        )
    }
}

/// A problem that is open.
#[derive(Serialize)]
struct IncidentRow {
    severity: Severity,
    asset: String,
    code: String,
    started_at: Timestamp,
    duration_seconds: i64,
    notified_channels: Vec<String>,
    message: String,
    hint: String,
}

/// What is open, and what waits to be sent.
#[derive(Serialize)]
struct NotifyListOutput {
    open: Vec<IncidentRow>,
    /// More than can be followed one by one.
    untracked: usize,
    queued: Vec<QueuedMessage>,
}

#[derive(Serialize)]
struct QueuedMessage {
    channel: String,
    title: String,
    attempts: u32,
    next_attempt_at: Timestamp,
}

impl NotifyListOutput {
    fn from_state(state: &NotifyState, now: Timestamp) -> Self {
        let mut open: Vec<_> = state
            .incidents
            .values()
            .filter(|t| t.is_open())
            .map(|t| IncidentRow {
                severity: t.severity,
                asset: t.asset.clone(),
                code: t.code.clone(),
                started_at: t.since,
                duration_seconds: now.duration_since(t.since).as_secs(),
                notified_channels: t.notified.keys().map(ToString::to_string).collect(),
                message: t.message.clone(),
                hint: t.hint.clone(),
            })
            .collect();
        open.sort_by(|a, b| b.severity.cmp(&a.severity).then(a.started_at.cmp(&b.started_at)));
        let waiting = state.outbox.iter().map(|e| QueuedMessage {
            channel: e.channel.to_string(),
            title: e.message.title.clone(),
            attempts: e.attempts,
            next_attempt_at: e.next,
        });
        Self { open, untracked: state.untracked.values().sum(), queued: waiting.collect() }
    }
}

impl CommandOutput for NotifyListOutput {
    fn render_text(&self, look: TerminalStyle) -> String {
        let mut parts = Vec::new();
        let rows = self.open.iter().map(|r| {
            let told = if r.notified_channels.is_empty() {
                PLACEHOLDER.to_owned()
            } else {
                r.notified_channels.join(", ")
            };
            vec![
                severity_label(Some(r.severity)).to_owned(),
                r.asset.clone(),
                r.code.clone(),
                format_time(r.started_at),
                format_duration(jiff::SignedDuration::from_secs(r.duration_seconds)),
                told,
                format!("{}; {}", r.message, r.hint),
            ]
        });
        if self.open.is_empty() {
            parts.push("nothing is open".to_owned());
        } else {
            let head = ["severity", "asset", "what", "since (UTC)", "for", "told", "why"];
            parts.push(look.render_table(&head, rows));
        }
        if self.untracked > 0 {
            parts.push(format!("and {} more than can be followed one by one", self.untracked));
        }
        if !self.queued.is_empty() {
            let rows = self.queued.iter().map(|w| {
                vec![
                    w.channel.clone(),
                    w.title.clone(),
                    w.attempts.to_string(),
                    format_time(w.next_attempt_at),
                ]
            });
            parts.push(look.render_table(&["waits for", "message", "tries", "next (UTC)"], rows));
        }
        parts.join("\n\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_stands_worst_first_and_what_waits_below() {
        let policy = shared::policy::Policy::parse(
            "holdfast: 1\ncompany: acme\nid: host-1\nnotify:\n  channels: { s: { slack: { env: S } } }\n  routes: [{ severity: warning, to: [s] }]\n",
        )
        .expect("a policy");
        let now = |m: i64| Timestamp::from_second(1_795_000_000 + 60 * m).expect("a time");
        let report = serde_json::json!({
            "function": "freshness", "policy": "acme", "run_id": "r", "started_at": now(0), "complete": true,
            "findings": [
                {"severity": "warning", "asset": "b", "code": "settings-drift", "message": "off", "hint": "set it"},
                {"severity": "critical", "asset": "a", "code": "backup-stale", "message": "27h old", "hint": "holdfast run snapshot"},
            ],
        });
        let run = serde_json::from_value(report).expect("a report");
        let heard = [notify::heard::NotificationEvent::Report(Box::new(run))];
        let (mut state, told) = notify::plan(&policy, NotifyState::new(now(0)), &heard, now(0));
        notify::enqueue(&mut state, told, now(0));
        let text =
            NotifyListOutput::from_state(&state, now(90)).render_text(TerminalStyle::default());
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[1].starts_with("CRITICAL") && lines[1].contains("1h 30m"), "{text}");
        assert!(lines[1].ends_with("27h old; holdfast run snapshot"), "{text}");
        assert!(lines[2].starts_with("warning"), "{text}");
        assert!(lines[4].starts_with("WAITS FOR"), "{text}");
        assert!(lines[5].contains("critical: a: backup-stale and 1 more"), "{text}");
    }

    #[test]
    fn a_channel_that_is_not_there_is_named_with_those_that_are() {
        let known: [Name; 2] = ["chat".parse().expect("a name"), "pager".parse().expect("a name")];
        let said = find_channel("pagr", known.iter()).expect_err("unknown").to_string();
        assert!(said.contains("chat, pager"), "{said}");
        assert_eq!(find_channel("", known.iter()).expect("all"), None);
    }
}

//! A message in words: the subject, the facts of an incident and the plain text, for mail, SNS and terminals alike.

use crate::message::{
    BackupInfo, ChannelMessage, DataAtRisk, IncidentSummary, MAX_INCIDENTS, MessageKind,
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use sha2::{Digest, Sha256};
use shared::{plan::Severity, time::format_duration};

/// Longest name of an asset, a group or a place, in characters; names of AWS and PostgreSQL are far shorter.
const MAX_NAME_CHARS: usize = 200;
/// Longest sentence, in characters.
const MAX_SENTENCE_CHARS: usize = 1_000;
/// Most lines of a digest or a recovery.
const MAX_LINES: usize = 200;

/// The message with every text of it on one line and of bounded length, and with [`MOST`] incidents at most.
pub(super) fn truncate_message(message: &ChannelMessage) -> ChannelMessage {
    let dropped = message.incidents.len().saturating_sub(MAX_INCIDENTS);
    let mut lines: Vec<String> =
        message.lines.iter().take(MAX_LINES).map(|l| single_line(l, MAX_SENTENCE_CHARS)).collect();
    if message.lines.len() > MAX_LINES {
        lines.push(format!("and {} more lines", message.lines.len() - MAX_LINES));
    }
    ChannelMessage {
        id: single_line(&message.id, MAX_NAME_CHARS),
        company: single_line(&message.company, MAX_NAME_CHARS),
        title: single_line(&message.title, MAX_SENTENCE_CHARS),
        incidents: message.incidents.iter().take(MAX_INCIDENTS).map(truncate_incident).collect(),
        omitted: message.omitted + dropped,
        backups: message.backups.iter().take(MAX_INCIDENTS).map(truncate_backup).collect(),
        lines,
        thread: message.thread.as_deref().map(|t| single_line(t, MAX_NAME_CHARS)),
        ..message.clone()
    }
}

fn truncate_incident(i: &IncidentSummary) -> IncidentSummary {
    IncidentSummary {
        // The key stays as it is: by it services know what belongs together.
        asset: single_line(&i.asset, MAX_NAME_CHARS),
        group: i.group.as_deref().map(|g| single_line(g, MAX_NAME_CHARS)),
        code: single_line(&i.code, MAX_NAME_CHARS),
        message: single_line(&i.message, MAX_SENTENCE_CHARS),
        hint: single_line(&i.hint, MAX_SENTENCE_CHARS),
        at_risk: i.at_risk.as_ref().map(|r| DataAtRisk {
            newest: r.newest.as_deref().map(|n| single_line(n, MAX_NAME_CHARS)),
            location: r.location.as_deref().map(|p| single_line(p, MAX_NAME_CHARS)),
            ..r.clone()
        }),
        ..i.clone()
    }
}

fn truncate_backup(m: &BackupInfo) -> BackupInfo {
    BackupInfo {
        asset: single_line(&m.asset, MAX_NAME_CHARS),
        name: single_line(&m.name, MAX_SENTENCE_CHARS),
        location: single_line(&m.location, MAX_NAME_CHARS),
        ..m.clone()
    }
}

/// A text on one line, without control characters, of so many characters at most.
pub(super) fn single_line(text: &str, most: usize) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    truncate_chars(plain.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" "), most)
}

/// A text of so many characters at most; what is left out shows as an ellipsis.
pub(super) fn truncate_chars(text: String, most: usize) -> String {
    if text.chars().count() <= most {
        return text;
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// The SHA-256 of a text, in hex.
pub(super) fn sha256_hex(of: &str) -> String {
    shared::words::hex_encode(&Sha256::digest(of))
}

/// What kind of news it is, in one or two words.
pub(super) fn kind_label(message: &ChannelMessage) -> String {
    match message.kind {
        MessageKind::Opened => message.severity.to_string(),
        MessageKind::StillOpen => format!("still {}", message.severity),
        MessageKind::Resolved => "resolved".into(),
        MessageKind::Success => "done".into(),
        MessageKind::Digest => "digest".into(),
        MessageKind::StorageReport => "storage report".into(),
        MessageKind::RecoveryStarted => "recovery started".into(),
        MessageKind::RecoveryUpdate => "recovery goes on".into(),
        MessageKind::RecoveryComplete => "recovery complete".into(),
        MessageKind::Undelivered => "undelivered".into(),
        MessageKind::Test => "test".into(),
    }
}

/// The message in one line: whose it is, what kind of news, what it says.
pub fn subject_line(message: &ChannelMessage) -> String {
    single_line(&format!("{}: {}: {}", message.company, kind_label(message), message.title), 250)
}

/// A time as people read it.
pub(super) fn format_time(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// A size in the largest unit that leaves a figure above one.
pub(super) fn format_bytes(bytes: u64) -> String {
    shared::words::format_size(i64::try_from(bytes).unwrap_or(i64::MAX))
}

/// A length of time in seconds.
fn format_seconds(seconds: i64) -> String {
    format_duration(SignedDuration::from_secs(seconds))
}

/// The facts of an incident, each with its name.
pub(super) fn incident_fields(i: &IncidentSummary, at: Timestamp) -> Vec<(&'static str, String)> {
    let mut facts = vec![("What is wrong", i.message.clone())];
    match i.until {
        None => facts.push((
            "Since",
            format!("{} ({})", format_time(i.since), format_duration(at.duration_since(i.since))),
        )),
        Some(until) => {
            facts.push(("Lasted", format_duration(until.duration_since(i.since))));
            facts.push((
                "From, until",
                format!("{} – {}", format_time(i.since), format_time(until)),
            ));
        }
    }
    facts.extend(i.at_risk.iter().flat_map(risk_fields));
    if i.step > 0 && i.until.is_none() {
        facts.push(("Escalation", format!("step {}", i.step)));
    }
    facts
}

/// What could be lost, and the point that would be restored.
fn risk_fields(r: &DataAtRisk) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(age) = r.age_seconds {
        let allowed = r.max_age_seconds.filter(|m| *m > 0).map(|most| {
            format!(
                ": {}% of the {} allowed",
                i128::from(age) * 100 / i128::from(most),
                format_seconds(most)
            )
        });
        facts.push((
            "At risk",
            format!("{} of data{}", format_seconds(age), allowed.unwrap_or_default()),
        ));
    }
    facts.push((
        "Last good point",
        match (&r.newest, &r.location) {
            (Some(newest), Some(place)) => format!("{newest} at {place}"),
            (Some(newest), None) => newest.clone(),
            (None, _) => "none".into(),
        },
    ));
    facts
}

/// Whether what to do is a command that can be pasted.
pub(super) fn is_command(hint: &str) -> bool {
    ["holdfast ", "aws ", "psql "].iter().any(|program| hint.starts_with(program))
}

/// An asset with its group.
pub(super) fn asset_label(i: &IncidentSummary) -> String {
    match &i.group {
        Some(group) if *group != i.asset => format!("{} ({group})", i.asset),
        _ => i.asset.clone(),
    }
}

/// What was made, on one line.
pub(super) fn backup_line(m: &BackupInfo) -> String {
    let mut parts = vec![format!("{}: {}", m.asset, m.name)];
    if !m.location.is_empty() {
        parts[0].push_str(&format!(" at {}", m.location));
    }
    parts.extend(m.bytes.map(format_bytes));
    parts.extend(m.rows.map(|rows| format!("{rows} rows")));
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds, for people")]
    parts.extend(m.seconds.map(|s| format!("in {}", format_seconds(s.round() as i64))));
    parts.join(", ")
}

/// What is left out of a message.
pub(super) fn omitted_line(message: &ChannelMessage) -> Option<String> {
    (message.omitted > 0).then(|| format!("and {} more", message.omitted))
}

/// Where the message comes from, and its id.
pub(super) fn footer_line(message: &ChannelMessage) -> String {
    format!("Holdfast, {}, {}", format_time(message.at), message.id)
}

/// The whole message as plain text of at most 100,000 characters; no line of it needs a width.
pub fn plain_text(message: &ChannelMessage) -> String {
    let message = &truncate_message(message);
    let mut all = vec![subject_line(message)];
    all.extend(message.incidents.iter().map(|i| incident_text(i, message.at)));
    all.extend(omitted_line(message));
    let made: Vec<String> = message.backups.iter().map(backup_line).collect();
    all.extend(Some(made.join("\n")).filter(|m| !m.is_empty()));
    all.extend(Some(message.lines.join("\n")).filter(|l| !l.is_empty()));
    all.push(footer_line(message));
    truncate_chars(all.join("\n\n"), 100_000) + "\n"
}

fn incident_text(i: &IncidentSummary, at: Timestamp) -> String {
    let severity = if i.until.is_some() { "resolved".into() } else { i.severity.to_string() };
    let mut text = format!("{}: {severity}", asset_label(i));
    let next = (!i.hint.is_empty() && i.until.is_none()).then(|| ("Next", i.hint.clone()));
    for (what, fact) in incident_fields(i, at).into_iter().chain(next) {
        text.push_str(&format!("\n  {:<16} {fact}", format!("{what}:")));
    }
    text
}

/// The mark of a severity, and of what is not an incident, that is seen before anything is read.
pub(super) fn kind_emoji(message: &ChannelMessage) -> &'static str {
    match (message.kind, message.severity) {
        (MessageKind::Resolved, _)
        | (MessageKind::Success | MessageKind::RecoveryComplete, Severity::Info) => "✅",
        (MessageKind::Digest | MessageKind::StorageReport, _) => "📋",
        (MessageKind::Test, _) => "🔔",
        (MessageKind::RecoveryStarted | MessageKind::RecoveryUpdate, _) => "🛟",
        (_, Severity::Critical) => "🔴",
        (_, Severity::Warning) => "🟠",
        (_, Severity::Info) => "🔵",
    }
}

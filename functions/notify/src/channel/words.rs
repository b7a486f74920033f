//! A message in words: the subject, the facts of an incident and the plain text, for mail, SNS and terminals alike.

use crate::message::{AtRisk, Incident, Kind, MOST, Made, Message};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use sha2::{Digest, Sha256};
use shared::{plan::Severity, time::format_duration};

/// Longest name of an asset, a group or a place, in characters; names of AWS and PostgreSQL are far shorter.
const NAME: usize = 200;
/// Longest sentence, in characters.
const SENTENCE: usize = 1_000;
/// Most lines of a digest or a recovery.
const LINES: usize = 200;

/// The message with every text of it on one line and of bounded length, and with [`MOST`] incidents at most.
pub(super) fn bounded(message: &Message) -> Message {
    let dropped = message.incidents.len().saturating_sub(MOST);
    let mut lines: Vec<String> =
        message.lines.iter().take(LINES).map(|l| line(l, SENTENCE)).collect();
    if message.lines.len() > LINES {
        lines.push(format!("and {} more lines", message.lines.len() - LINES));
    }
    Message {
        id: line(&message.id, NAME),
        company: line(&message.company, NAME),
        title: line(&message.title, SENTENCE),
        incidents: message.incidents.iter().take(MOST).map(incident).collect(),
        more: message.more + dropped,
        made: message.made.iter().take(MOST).map(made).collect(),
        lines,
        thread: message.thread.as_deref().map(|t| line(t, NAME)),
        ..message.clone()
    }
}

fn incident(i: &Incident) -> Incident {
    Incident {
        // The key stays as it is: by it services know what belongs together.
        asset: line(&i.asset, NAME),
        group: i.group.as_deref().map(|g| line(g, NAME)),
        what: line(&i.what, NAME),
        why: line(&i.why, SENTENCE),
        mend: line(&i.mend, SENTENCE),
        at_risk: i.at_risk.as_ref().map(|r| AtRisk {
            newest: r.newest.as_deref().map(|n| line(n, NAME)),
            place: r.place.as_deref().map(|p| line(p, NAME)),
            ..r.clone()
        }),
        ..i.clone()
    }
}

fn made(m: &Made) -> Made {
    Made {
        asset: line(&m.asset, NAME),
        what: line(&m.what, SENTENCE),
        place: line(&m.place, NAME),
        ..m.clone()
    }
}

/// A text on one line, without control characters, of so many characters at most.
pub(super) fn line(text: &str, most: usize) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    clip(plain.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" "), most)
}

/// A text of so many characters at most; what is left out shows as an ellipsis.
pub(super) fn clip(text: String, most: usize) -> String {
    if text.chars().count() <= most {
        return text;
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// The SHA-256 of a text, in hex.
pub(super) fn hash(of: &str) -> String {
    shared::words::hex_encode(&Sha256::digest(of))
}

/// What kind of news it is, in one or two words.
pub(super) fn label(message: &Message) -> String {
    match message.kind {
        Kind::Opened => message.severity.to_string(),
        Kind::StillOpen => format!("still {}", message.severity),
        Kind::Resolved => "resolved".into(),
        Kind::Success => "done".into(),
        Kind::Digest => "digest".into(),
        Kind::StorageReport => "storage report".into(),
        Kind::RecoveryStarted => "recovery started".into(),
        Kind::RecoveryUpdate => "recovery goes on".into(),
        Kind::RecoveryComplete => "recovery complete".into(),
        Kind::Undelivered => "undelivered".into(),
        Kind::Test => "test".into(),
    }
}

/// The message in one line: whose it is, what kind of news, what it says.
pub fn subject(message: &Message) -> String {
    line(&format!("{}: {}: {}", message.company, label(message), message.title), 250)
}

/// A time as people read it.
pub(super) fn time(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// A size in the largest unit that leaves a figure above one.
pub(super) fn size(bytes: u64) -> String {
    shared::words::format_size(i64::try_from(bytes).unwrap_or(i64::MAX))
}

/// A length of time in seconds.
fn span(seconds: i64) -> String {
    format_duration(SignedDuration::from_secs(seconds))
}

/// The facts of an incident, each with its name.
pub(super) fn facts(i: &Incident, at: Timestamp) -> Vec<(&'static str, String)> {
    let mut facts = vec![("What is wrong", i.why.clone())];
    match i.until {
        None => facts
            .push(("Since", format!("{} ({})", time(i.since), format_duration(at.duration_since(i.since))))),
        Some(until) => {
            facts.push(("Lasted", format_duration(until.duration_since(i.since))));
            facts.push(("From, until", format!("{} – {}", time(i.since), time(until))));
        }
    }
    facts.extend(i.at_risk.iter().flat_map(at_risk));
    if i.step > 0 && i.until.is_none() {
        facts.push(("Escalation", format!("step {}", i.step)));
    }
    facts
}

/// What could be lost, and the point that would be restored.
fn at_risk(r: &AtRisk) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(age) = r.age_seconds {
        let allowed = r.max_age_seconds.filter(|m| *m > 0).map(|most| {
            format!(": {}% of the {} allowed", i128::from(age) * 100 / i128::from(most), span(most))
        });
        facts.push(("At risk", format!("{} of data{}", span(age), allowed.unwrap_or_default())));
    }
    facts.push((
        "Last good point",
        match (&r.newest, &r.place) {
            (Some(newest), Some(place)) => format!("{newest} at {place}"),
            (Some(newest), None) => newest.clone(),
            (None, _) => "none".into(),
        },
    ));
    facts
}

/// Whether what to do is a command that can be pasted.
pub(super) fn is_command(mend: &str) -> bool {
    ["holdfast ", "aws ", "psql "].iter().any(|program| mend.starts_with(program))
}

/// An asset with its group.
pub(super) fn name(i: &Incident) -> String {
    match &i.group {
        Some(group) if *group != i.asset => format!("{} ({group})", i.asset),
        _ => i.asset.clone(),
    }
}

/// What was made, on one line.
pub(super) fn made_line(m: &Made) -> String {
    let mut parts = vec![format!("{}: {}", m.asset, m.what)];
    if !m.place.is_empty() {
        parts[0].push_str(&format!(" at {}", m.place));
    }
    parts.extend(m.bytes.map(size));
    parts.extend(m.rows.map(|rows| format!("{rows} rows")));
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds, for people")]
    parts.extend(m.seconds.map(|s| format!("in {}", span(s.round() as i64))));
    parts.join(", ")
}

/// What is left out of a message.
pub(super) fn more(message: &Message) -> Option<String> {
    (message.more > 0).then(|| format!("and {} more", message.more))
}

/// Where the message comes from, and its id.
pub(super) fn footer(message: &Message) -> String {
    format!("Holdfast, {}, {}", time(message.at), message.id)
}

/// The whole message as plain text of at most 100,000 characters; no line of it needs a width.
pub fn text(message: &Message) -> String {
    let message = &bounded(message);
    let mut all = vec![subject(message)];
    all.extend(message.incidents.iter().map(|i| incident_text(i, message.at)));
    all.extend(more(message));
    let made: Vec<String> = message.made.iter().map(made_line).collect();
    all.extend(Some(made.join("\n")).filter(|m| !m.is_empty()));
    all.extend(Some(message.lines.join("\n")).filter(|l| !l.is_empty()));
    all.push(footer(message));
    clip(all.join("\n\n"), 100_000) + "\n"
}

fn incident_text(i: &Incident, at: Timestamp) -> String {
    let severity = if i.until.is_some() { "resolved".into() } else { i.severity.to_string() };
    let mut text = format!("{}: {severity}", name(i));
    let next = (!i.mend.is_empty() && i.until.is_none()).then(|| ("Next", i.mend.clone()));
    for (what, fact) in facts(i, at).into_iter().chain(next) {
        text.push_str(&format!("\n  {:<16} {fact}", format!("{what}:")));
    }
    text
}

/// The mark of a severity, and of what is not an incident, that is seen before anything is read.
pub(super) fn mark(message: &Message) -> &'static str {
    match (message.kind, message.severity) {
        (Kind::Resolved, _) | (Kind::Success | Kind::RecoveryComplete, Severity::Info) => "✅",
        (Kind::Digest | Kind::StorageReport, _) => "📋",
        (Kind::Test, _) => "🔔",
        (Kind::RecoveryStarted | Kind::RecoveryUpdate, _) => "🛟",
        (_, Severity::Critical) => "🔴",
        (_, Severity::Warning) => "🟠",
        (_, Severity::Info) => "🔵",
    }
}

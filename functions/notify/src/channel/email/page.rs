//! The mail's page: what the plain text says, in a table that mail programs show, with everything escaped.

use crate::{
    channel::words::{facts, footer, is_command, label, made_line, mark, more, name, subject},
    message::{Incident, Kind, Message},
};
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};
use shared::plan::Severity;

/// Colours that can be told apart, on white and on black, without seeing red or green.
fn colour(message: &Message) -> &'static str {
    match (message.kind, message.severity) {
        (Kind::Resolved | Kind::Success | Kind::RecoveryComplete, _) => "#2e7d32",
        (Kind::Opened | Kind::StillOpen | Kind::Undelivered, Severity::Critical) => "#b71c1c",
        (Kind::Opened | Kind::StillOpen | Kind::Undelivered, Severity::Warning) => "#b26a00",
        _ => "#1565c0",
    }
}

/// The page; nothing in it is fetched from elsewhere.
pub(super) fn render(message: &Message) -> String {
    let border = format!("border-left:6px solid {};padding-left:12px", colour(message));
    html! {
        (DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; title { (subject(message)) } }
            body style="font-family:sans-serif;max-width:50em" {
                div style=(border) {
                    p { (mark(message)) " " (message.company) ": " strong { (label(message)) } }
                    h1 style="font-size:1.2em" { (message.title) }
                }
                @for incident in &message.incidents { (one(incident, message.at)) }
                @if let Some(more) = more(message) { p { (more) } }
                @if !message.made.is_empty() {
                    ul { @for made in &message.made { li { (made_line(made)) } } }
                }
                @for line in &message.lines { p style="margin:0.3em 0" { (line) } }
                p style="font-size:0.8em" { (footer(message)) }
            }
        }
    }
    .into_string()
}

fn one(i: &Incident, at: Timestamp) -> Markup {
    html! {
        h2 style="font-size:1em" { (name(i)) " · " (i.what) }
        table {
            @for (what, fact) in facts(i, at) {
                tr {
                    th style="text-align:left;vertical-align:top;padding-right:1em" { (what) }
                    td { (fact) }
                }
            }
        }
        @if !i.mend.is_empty() && i.until.is_none() {
            @if is_command(&i.mend) { pre { (i.mend) } } @else { p { (i.mend) } }
        }
    }
}

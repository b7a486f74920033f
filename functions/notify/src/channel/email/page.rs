//! The mail's page: what the plain text says, in a table that mail programs show, with everything escaped.

use crate::{
    channel::words::{
        asset_label, backup_line, footer_line, incident_fields, is_command, kind_emoji, kind_label,
        omitted_line, subject_line,
    },
    message::{ChannelMessage, IncidentSummary, MessageKind},
};
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};
use shared::plan::Severity;

/// Colours that can be told apart, on white and on black, without seeing red or green.
fn severity_colour(message: &ChannelMessage) -> &'static str {
    match (message.kind, message.severity) {
        (MessageKind::Resolved | MessageKind::Success | MessageKind::RecoveryComplete, _) => {
            "#2e7d32"
        }
        (
            MessageKind::Opened | MessageKind::StillOpen | MessageKind::Undelivered,
            Severity::Critical,
        ) => "#b71c1c",
        (
            MessageKind::Opened | MessageKind::StillOpen | MessageKind::Undelivered,
            Severity::Warning,
        ) => "#b26a00",
        _ => "#1565c0",
    }
}

/// The page; nothing in it is fetched from elsewhere.
pub(super) fn render_page(message: &ChannelMessage) -> String {
    let border = format!("border-left:6px solid {};padding-left:12px", severity_colour(message));
    html! {
        (DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; title { (subject_line(message)) } }
            body style="font-family:sans-serif;max-width:50em" {
                div style=(border) {
                    p { (kind_emoji(message)) " " (message.company) ": " strong { (kind_label(message)) } }
                    h1 style="font-size:1.2em" { (message.title) }
                }
                @for incident in &message.incidents { (render_incident(incident, message.at)) }
                @if let Some(more) = omitted_line(message) { p { (more) } }
                @if !message.backups.is_empty() {
                    ul { @for made in &message.backups { li { (backup_line(made)) } } }
                }
                @for line in &message.lines { p style="margin:0.3em 0" { (line) } }
                p style="font-size:0.8em" { (footer_line(message)) }
            }
        }
    }
    .into_string()
}

fn render_incident(i: &IncidentSummary, at: Timestamp) -> Markup {
    html! {
        h2 style="font-size:1em" { (asset_label(i)) " · " (i.code) }
        table {
            @for (what, fact) in incident_fields(i, at) {
                tr {
                    th style="text-align:left;vertical-align:top;padding-right:1em" { (what) }
                    td { (fact) }
                }
            }
        }
        @if !i.hint.is_empty() && i.until.is_none() {
            @if is_command(&i.hint) { pre { (i.hint) } } @else { p { (i.hint) } }
        }
    }
}

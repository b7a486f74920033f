//! Slack: an incoming webhook, with Block Kit.
//!
//! Limits of Slack's reference: 50 blocks, 150 characters of a header, 3,000 of a section, 10 fields of 2,000, and, found by
//! others rather than written there (slackapi/bolt-js, issues 2509 and 2867), some 11,000 characters of all blocks together.

use super::{
    ChannelContext, DeliveryError,
    post::WebhookRequest,
    words::{
        asset_label, backup_line, footer_line, incident_fields, is_command, kind_emoji, kind_label,
        omitted_line, subject_line,
    },
};
use crate::message::{ChannelMessage, IncidentSummary};
use jiff::Timestamp;
use reqwest::header::HeaderMap;
use secrecy::SecretString;
use serde_json::{Value, json};

const MAX_HEADER_CHARS: usize = 150;
const MAX_SECTION_CHARS: usize = 3_000;
const MAX_FIELD_CHARS: usize = 2_000;
const MAX_FIELDS: usize = 10;
/// Characters of all incidents' blocks as JSON; with header, lines and footer they stay below Slack's limit.
const MAX_INCIDENTS_CHARS: usize = 6_500;
/// Characters of what was made and of the lines of a digest.
const MAX_LINES_CHARS: usize = 2_500;

/// Posts a message to a webhook.
pub(super) async fn send(
    webhook: &SecretString,
    message: &ChannelMessage,
    edges: &ChannelContext<'_>,
) -> Result<(), DeliveryError> {
    let body = render(message);
    let post = WebhookRequest {
        address: webhook,
        headers: HeaderMap::new(),
        body: &body,
        secrets: vec![],
    };
    edges.http.post(post, edges.now).await
}

/// The message in Block Kit.
pub(super) fn render(message: &ChannelMessage) -> Value {
    let head = format!("{} {}: {}", kind_emoji(message), message.company, kind_label(message));
    let mut blocks = vec![
        json!({"type": "header", "text": {"type": "plain_text", "text": truncate_chars(&head, MAX_HEADER_CHARS), "emoji": true}}),
        section_block(&format!("*{}*", escape_mrkdwn(&message.title, MAX_SECTION_CHARS - 2))),
    ];
    let (shown, left_out) = all_incident_blocks(message);
    blocks.extend(shown);
    let all = ChannelMessage { omitted: message.omitted + left_out, ..message.clone() };
    blocks.extend(omitted_line(&all).map(|m| section_block(&m)));
    let lines = message.backups.iter().map(backup_line).chain(message.lines.iter().cloned());
    let lines = lines.collect::<Vec<_>>().join("\n");
    if !lines.is_empty() {
        blocks.push(section_block(&escape_mrkdwn(&lines, MAX_LINES_CHARS)));
    }
    blocks
        .push(json!({"type": "context", "elements": [mrkdwn_text(&escape_mrkdwn(&footer_line(message), MAX_FIELD_CHARS))]}));
    json!({"text": escape_mrkdwn(&subject_line(message), MAX_SECTION_CHARS), "blocks": blocks})
}

/// Blocks of as many incidents as Slack takes, and how many had to be left out.
fn all_incident_blocks(message: &ChannelMessage) -> (Vec<Value>, usize) {
    let mut blocks = Vec::new();
    let mut used = 0;
    for (shown, incident) in message.incidents.iter().enumerate() {
        let each = incident_blocks(incident, message.at);
        used += each.iter().map(|b| b.to_string().chars().count()).sum::<usize>();
        if used > MAX_INCIDENTS_CHARS && shown > 0 {
            return (blocks, message.incidents.len() - shown);
        }
        blocks.extend(each);
    }
    (blocks, 0)
}

/// An incident: its name with its facts as fields, and what to do next.
fn incident_blocks(i: &IncidentSummary, at: Timestamp) -> Vec<Value> {
    let fields: Vec<Value> = incident_fields(i, at)
        .into_iter()
        .take(MAX_FIELDS)
        .map(|(what, fact)| {
            mrkdwn_text(&format!("*{what}*\n{}", escape_mrkdwn(&fact, MAX_FIELD_CHARS - 20)))
        })
        .collect();
    let title = format!(
        "*{}* · {}",
        escape_mrkdwn(&asset_label(i), MAX_FIELD_CHARS),
        escape_mrkdwn(&i.code, MAX_FIELD_CHARS / 2)
    );
    let mut blocks =
        vec![json!({"type": "section", "text": mrkdwn_text(&title), "fields": fields})];
    if !i.hint.is_empty() && i.until.is_none() {
        blocks.push(section_block(&next_step_text(&i.hint)));
    }
    blocks
}

/// What to do next: a command as code, that can be copied as it is.
fn next_step_text(hint: &str) -> String {
    if is_command(hint) {
        format!("```{}```", escape_mrkdwn(&hint.replace("```", "'''"), MAX_SECTION_CHARS - 6))
    } else {
        escape_mrkdwn(hint, MAX_SECTION_CHARS)
    }
}

fn section_block(text: &str) -> Value {
    json!({"type": "section", "text": mrkdwn_text(text)})
}

/// `verbatim`: Slack makes no links of what only looks like an address, a channel or a person.
fn mrkdwn_text(text: &str) -> Value {
    json!({"type": "mrkdwn", "text": text, "verbatim": true})
}

/// What Slack's markup wants escaped, and no other character, of so many characters at most once it is.
fn escape_mrkdwn(text: &str, most: usize) -> String {
    let mut out = String::new();
    let mut length = 0;
    for c in text.chars() {
        let wide = match c {
            '&' => 5,
            '<' | '>' => 4,
            _ => 1,
        };
        if length + wide >= most {
            out.push('…');
            break;
        }
        length += wide;
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}

fn truncate_chars(text: &str, most: usize) -> String {
    super::words::truncate_chars(text.to_owned(), most)
}

#[cfg(test)]
mod tests;

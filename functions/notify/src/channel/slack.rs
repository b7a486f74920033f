//! Slack: an incoming webhook, with Block Kit.
//!
//! Limits of Slack's reference: 50 blocks, 150 characters of a header, 3,000 of a section, 10 fields of 2,000, and, found by
//! others rather than written there (slackapi/bolt-js, issues 2509 and 2867), some 11,000 characters of all blocks together.

use super::{
    Edges, Refused,
    post::Post,
    words::{facts, footer, is_command, label, made_line, mark, more, name, subject},
};
use crate::message::{Incident, Message};
use jiff::Timestamp;
use reqwest::header::HeaderMap;
use secrecy::SecretString;
use serde_json::{Value, json};

const HEADER: usize = 150;
const SECTION: usize = 3_000;
const FIELD: usize = 2_000;
const FIELDS: usize = 10;
/// Characters of all incidents' blocks as JSON; with header, lines and footer they stay below Slack's limit.
const INCIDENTS: usize = 6_500;
/// Characters of what was made and of the lines of a digest.
const LINES: usize = 2_500;

/// Posts a message to a webhook.
pub(super) async fn send(
    webhook: &SecretString,
    message: &Message,
    edges: &Edges<'_>,
) -> Result<(), Refused> {
    let body = render(message);
    let post = Post { address: webhook, headers: HeaderMap::new(), body: &body, secrets: vec![] };
    edges.http.post(post, edges.now).await
}

/// The message in Block Kit.
pub(super) fn render(message: &Message) -> Value {
    let head = format!("{} {}: {}", mark(message), message.company, label(message));
    let mut blocks = vec![
        json!({"type": "header", "text": {"type": "plain_text", "text": clip(&head, HEADER), "emoji": true}}),
        section(&format!("*{}*", escaped(&message.title, SECTION - 2))),
    ];
    let (shown, left_out) = incidents(message);
    blocks.extend(shown);
    let all = Message { more: message.more + left_out, ..message.clone() };
    blocks.extend(more(&all).map(|m| section(&m)));
    let lines = message.made.iter().map(made_line).chain(message.lines.iter().cloned());
    let lines = lines.collect::<Vec<_>>().join("\n");
    if !lines.is_empty() {
        blocks.push(section(&escaped(&lines, LINES)));
    }
    blocks
        .push(json!({"type": "context", "elements": [mrkdwn(&escaped(&footer(message), FIELD))]}));
    json!({"text": escaped(&subject(message), SECTION), "blocks": blocks})
}

/// Blocks of as many incidents as Slack takes, and how many had to be left out.
fn incidents(message: &Message) -> (Vec<Value>, usize) {
    let mut blocks = Vec::new();
    let mut used = 0;
    for (shown, incident) in message.incidents.iter().enumerate() {
        let each = blocks_of(incident, message.at);
        used += each.iter().map(|b| b.to_string().chars().count()).sum::<usize>();
        if used > INCIDENTS && shown > 0 {
            return (blocks, message.incidents.len() - shown);
        }
        blocks.extend(each);
    }
    (blocks, 0)
}

/// An incident: its name with its facts as fields, and what to do next.
fn blocks_of(i: &Incident, at: Timestamp) -> Vec<Value> {
    let fields: Vec<Value> = facts(i, at)
        .into_iter()
        .take(FIELDS)
        .map(|(what, fact)| mrkdwn(&format!("*{what}*\n{}", escaped(&fact, FIELD - 20))))
        .collect();
    let title = format!("*{}* · {}", escaped(&name(i), FIELD), escaped(&i.what, FIELD / 2));
    let mut blocks = vec![json!({"type": "section", "text": mrkdwn(&title), "fields": fields})];
    if !i.mend.is_empty() && i.until.is_none() {
        blocks.push(section(&next(&i.mend)));
    }
    blocks
}

/// What to do next: a command as code, that can be copied as it is.
fn next(mend: &str) -> String {
    if is_command(mend) {
        format!("```{}```", escaped(&mend.replace("```", "'''"), SECTION - 6))
    } else {
        escaped(mend, SECTION)
    }
}

fn section(text: &str) -> Value {
    json!({"type": "section", "text": mrkdwn(text)})
}

/// `verbatim`: Slack makes no links of what only looks like an address, a channel or a person.
fn mrkdwn(text: &str) -> Value {
    json!({"type": "mrkdwn", "text": text, "verbatim": true})
}

/// What Slack's markup wants escaped, and no other character, of so many characters at most once it is.
fn escaped(text: &str, most: usize) -> String {
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

fn clip(text: &str, most: usize) -> String {
    super::words::clip(text.to_owned(), most)
}

#[cfg(test)]
mod tests;

//! PagerDuty: Events API v2. An incident is an alert with the incident's key; what is only worth knowing is a change event,
//! which is shown beside alerts and calls nobody.
//!
//! Limits: 1,024 characters of a summary, 255 of a key, 512 KiB of an event.

use super::{
    Edges, Refused,
    post::Post,
    words::{facts, hash, line, made_line, more, subject},
};
use crate::message::{Incident, Kind, Message};
use reqwest::header::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use shared::plan::Severity;

/// The vendor's own address; that of its European service region is <https://events.eu.pagerduty.com>.
const ENDPOINT: &str = "https://events.pagerduty.com";
const SUMMARY: usize = 1_024;
const KEY: usize = 255;
/// Lines of a digest in the details of an event.
const LINES: usize = 100;

/// An event without its routing key, and the path that it is posted to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    path: &'static str,
    body: Value,
}

/// Sends a message's events one after the other. One that is refused for good does not stop the others; one that can't be
/// taken now does, and all are sent again: PagerDuty knows them by their keys.
pub(super) async fn send(
    key: &SecretString,
    endpoint: Option<&str>,
    message: &Message,
    edges: &Edges<'_>,
) -> Result<(), Refused> {
    let endpoint = endpoint.unwrap_or(ENDPOINT).trim_end_matches('/');
    let mut refused = None;
    for mut event in events(message) {
        event.body["routing_key"] = json!(key.expose_secret());
        let address = format!("{endpoint}{}", event.path).into();
        let body = &event.body;
        let post = Post { address: &address, headers: HeaderMap::new(), body, secrets: vec![key] };
        match edges.http.post(post, edges.now).await {
            Err(e) if e.permanent => refused = Some(e),
            other => other?,
        }
    }
    refused.map_or(Ok(()), Err)
}

/// The events of a message.
pub(super) fn events(message: &Message) -> Vec<Event> {
    match message.kind {
        Kind::Success
        | Kind::Digest
        | Kind::StorageReport
        | Kind::RecoveryStarted
        | Kind::RecoveryUpdate
        | Kind::RecoveryComplete => vec![change(message)],
        Kind::Resolved => message.incidents.iter().map(resolve).collect(),
        Kind::Opened | Kind::StillOpen | Kind::Undelivered | Kind::Test => {
            let mut events: Vec<_> =
                message.incidents.iter().map(|i| trigger(message, i)).collect();
            if message.more > 0 || events.is_empty() {
                events.push(summary(message));
            }
            events
        }
    }
}

fn alert(body: Value) -> Event {
    Event { path: "/v2/enqueue", body }
}

fn trigger(message: &Message, i: &Incident) -> Event {
    let source = i.at_risk.as_ref().and_then(|r| r.place.clone()).unwrap_or(i.asset.clone());
    let summary = format!("{}: {}: {}", message.company, i.asset, i.why);
    alert(json!({
        "event_action": "trigger",
        "dedup_key": dedup_key(&i.key),
        "client": "Holdfast",
        "payload": {
            "summary": line(&summary, SUMMARY),
            "source": source,
            "severity": severity(i.severity),
            "timestamp": i.since,
            "component": i.asset,
            "group": i.group.as_deref().unwrap_or(&message.company),
            "class": i.what,
            "custom_details": details(message, i),
        },
    }))
}

fn resolve(i: &Incident) -> Event {
    alert(json!({"event_action": "resolve", "dedup_key": dedup_key(&i.key)}))
}

/// One alert for all that the message does not name, or for a message that names no incident. Nothing resolves it but a
/// person.
fn summary(message: &Message) -> Event {
    let said = match more(message) {
        Some(more) => format!("{}, {more}", subject(message)),
        None => subject(message),
    };
    alert(json!({
        "event_action": "trigger",
        "dedup_key": dedup_key(&message.id),
        "client": "Holdfast",
        "payload": {
            "summary": line(&said, SUMMARY),
            "source": message.company,
            "severity": severity(message.severity),
            "timestamp": message.at,
            "custom_details": {"lines": lines(message)},
        },
    }))
}

fn change(message: &Message) -> Event {
    Event {
        path: "/v2/change/enqueue",
        body: json!({"payload": {
            "summary": line(&subject(message), SUMMARY),
            "source": message.company,
            "timestamp": message.at,
            "custom_details": {"lines": lines(message)},
        }}),
    }
}

fn lines(message: &Message) -> Vec<String> {
    let made = message.made.iter().map(made_line);
    made.chain(message.lines.iter().cloned()).take(LINES).collect()
}

fn details(message: &Message, i: &Incident) -> Map<String, Value> {
    let mut all: Map<String, Value> =
        facts(i, message.at).into_iter().map(|(what, fact)| (what.into(), fact.into())).collect();
    if !i.mend.is_empty() {
        all.insert("Next".into(), i.mend.clone().into());
    }
    all.insert("Company".into(), message.company.clone().into());
    all.insert("Message".into(), message.id.clone().into());
    all
}

/// The key that PagerDuty knows an incident by: the incident's own where it is short enough.
fn dedup_key(key: &str) -> String {
    if key.len() <= KEY {
        return key.to_owned();
    }
    hash(key)
}

fn severity(of: Severity) -> &'static str {
    match of {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
        Severity::Info => "info",
    }
}

#[cfg(test)]
mod tests;

//! PagerDuty: Events API v2. An incident is an alert with the incident's key; what is only worth knowing is a change event,
//! which is shown beside alerts and calls nobody.
//!
//! Limits: 1,024 characters of a summary, 255 of a key, 512 KiB of an event.

use super::{
    ChannelContext, DeliveryError,
    post::WebhookRequest,
    words::{backup_line, incident_fields, omitted_line, sha256_hex, single_line, subject_line},
};
use crate::message::{ChannelMessage, IncidentSummary, MessageKind};
use reqwest::header::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use shared::plan::Severity;

/// The vendor's own address; that of its European service region is <https://events.eu.pagerduty.com>.
const DEFAULT_ENDPOINT: &str = "https://events.pagerduty.com";
const MAX_SUMMARY_CHARS: usize = 1_024;
const MAX_DEDUP_KEY_LEN: usize = 255;
/// Lines of a digest in the details of an event.
const MAX_DETAIL_LINES: usize = 100;

/// An event without its routing key, and the path that it is posted to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PagerDutyEvent {
    path: &'static str,
    body: Value,
}

/// Sends a message's events one after the other. One that is refused for good does not stop the others; one that can't be
/// taken now does, and all are sent again: PagerDuty knows them by their keys.
pub(super) async fn send(
    key: &SecretString,
    endpoint: Option<&str>,
    message: &ChannelMessage,
    edges: &ChannelContext<'_>,
) -> Result<(), DeliveryError> {
    let endpoint = endpoint.unwrap_or(DEFAULT_ENDPOINT).trim_end_matches('/');
    let mut refused = None;
    for mut event in build_events(message) {
        event.body["routing_key"] = json!(key.expose_secret());
        let address = format!("{endpoint}{}", event.path).into();
        let body = &event.body;
        let post = WebhookRequest {
            address: &address,
            headers: HeaderMap::new(),
            body,
            secrets: vec![key],
        };
        match edges.http.post(post, edges.now).await {
            Err(e) if e.permanent => refused = Some(e),
            other => other?,
        }
    }
    refused.map_or(Ok(()), Err)
}

/// The events of a message.
pub(super) fn build_events(message: &ChannelMessage) -> Vec<PagerDutyEvent> {
    match message.kind {
        MessageKind::Success
        | MessageKind::Digest
        | MessageKind::StorageReport
        | MessageKind::RecoveryStarted
        | MessageKind::RecoveryUpdate
        | MessageKind::RecoveryComplete => vec![change_event(message)],
        MessageKind::Resolved => message.incidents.iter().map(resolve_event).collect(),
        MessageKind::Opened
        | MessageKind::StillOpen
        | MessageKind::Undelivered
        | MessageKind::Test => {
            let mut events: Vec<_> =
                message.incidents.iter().map(|i| trigger_event(message, i)).collect();
            if message.omitted > 0 || events.is_empty() {
                events.push(summary_event(message));
            }
            events
        }
    }
}

fn alert_event(body: Value) -> PagerDutyEvent {
    PagerDutyEvent { path: "/v2/enqueue", body }
}

fn trigger_event(message: &ChannelMessage, i: &IncidentSummary) -> PagerDutyEvent {
    let source = i.at_risk.as_ref().and_then(|r| r.location.clone()).unwrap_or(i.asset.clone());
    let summary = format!("{}: {}: {}", message.company, i.asset, i.message);
    alert_event(json!({
        "event_action": "trigger",
        "dedup_key": dedup_key(&i.key),
        "client": "Holdfast",
        "payload": {
            "summary": single_line(&summary, MAX_SUMMARY_CHARS),
            "source": source,
            "severity": severity_name(i.severity),
            "timestamp": i.since,
            "component": i.asset,
            "group": i.group.as_deref().unwrap_or(&message.company),
            "class": i.code,
            "custom_details": custom_details(message, i),
        },
    }))
}

fn resolve_event(i: &IncidentSummary) -> PagerDutyEvent {
    alert_event(json!({"event_action": "resolve", "dedup_key": dedup_key(&i.key)}))
}

/// One alert for all that the message does not name, or for a message that names no incident. Nothing resolves it but a
/// person.
fn summary_event(message: &ChannelMessage) -> PagerDutyEvent {
    let said = match omitted_line(message) {
        Some(more) => format!("{}, {more}", subject_line(message)),
        None => subject_line(message),
    };
    alert_event(json!({
        "event_action": "trigger",
        "dedup_key": dedup_key(&message.id),
        "client": "Holdfast",
        "payload": {
            "summary": single_line(&said, MAX_SUMMARY_CHARS),
            "source": message.company,
            "severity": severity_name(message.severity),
            "timestamp": message.at,
            "custom_details": {"lines": detail_lines(message)},
        },
    }))
}

fn change_event(message: &ChannelMessage) -> PagerDutyEvent {
    PagerDutyEvent {
        path: "/v2/change/enqueue",
        body: json!({"payload": {
            "summary": single_line(&subject_line(message), MAX_SUMMARY_CHARS),
            "source": message.company,
            "timestamp": message.at,
            "custom_details": {"lines": detail_lines(message)},
        }}),
    }
}

fn detail_lines(message: &ChannelMessage) -> Vec<String> {
    let made = message.backups.iter().map(backup_line);
    made.chain(message.lines.iter().cloned()).take(MAX_DETAIL_LINES).collect()
}

fn custom_details(message: &ChannelMessage, i: &IncidentSummary) -> Map<String, Value> {
    let mut all: Map<String, Value> = incident_fields(i, message.at)
        .into_iter()
        .map(|(what, fact)| (what.into(), fact.into()))
        .collect();
    if !i.hint.is_empty() {
        all.insert("Next".into(), i.hint.clone().into());
    }
    all.insert("Company".into(), message.company.clone().into());
    all.insert("Message".into(), message.id.clone().into());
    all
}

/// The key that PagerDuty knows an incident by: the incident's own where it is short enough.
fn dedup_key(key: &str) -> String {
    if key.len() <= MAX_DEDUP_KEY_LEN {
        return key.to_owned();
    }
    sha256_hex(key)
}

fn severity_name(of: Severity) -> &'static str {
    match of {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
        Severity::Info => "info",
    }
}

#[cfg(test)]
mod tests;

//! Any web address: the whole message as JSON, or one of the bodies that a company's own service takes.
//!
//! The small bodies have nothing but their fields, for a service may refuse others. What has no place in one is not
//! posted: a digest is no backup.

use super::{
    ChannelContext, DeliveryError,
    post::WebhookRequest,
    words::{asset_label, kind_label, omitted_line, plain_text, single_line},
};
use crate::message::{BackupInfo, ChannelMessage, IncidentSummary, MessageKind};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use shared::policy::notify::{ChannelConfig, WebhookBody};

/// Version of the whole message as JSON; `docs/message.schema.json` describes it.
const SCHEMA_VERSION: u32 = 1;
/// Longest message of an alert, in characters.
const MAX_ALERT_CHARS: usize = 1_500;

/// Posts a message, in as many bodies as it takes. Each has an `Idempotency-Key`, which is the same at every try. One that
/// is refused for good does not stop the others.
pub(super) async fn send(
    address: &str,
    channel: &ChannelConfig,
    message: &ChannelMessage,
    edges: &ChannelContext<'_>,
) -> Result<(), DeliveryError> {
    let token = match &channel.token {
        Some(from) => Some(edges.resolve_secret(from).await?),
        None => None,
    };
    let address = address.into();
    let headers = build_headers(channel, token.as_ref())?;
    let mut refused = None;
    for (number, body) in
        request_bodies(channel.body.unwrap_or(WebhookBody::Full), message).iter().enumerate()
    {
        let mut headers = headers.clone();
        let key = if number == 0 { message.id.clone() } else { format!("{}-{number}", message.id) };
        headers.insert("idempotency-key", header_value(&key)?);
        let post =
            WebhookRequest { address: &address, headers, body, secrets: token.iter().collect() };
        match edges.http.post(post, edges.now).await {
            Err(e) if e.permanent => refused = Some(e),
            other => other?,
        }
    }
    refused.map_or(Ok(()), Err)
}

/// The policy's headers and the token. No value of them is said in an error: any may be a secret.
fn build_headers(
    channel: &ChannelConfig,
    token: Option<&SecretString>,
) -> Result<HeaderMap, DeliveryError> {
    let mut all = HeaderMap::new();
    for (name, text) in &channel.headers {
        let header: HeaderName = name.parse().map_err(|_| {
            DeliveryError::permanent(format!("{} is no name of a header", single_line(name, 50)))
        })?;
        all.insert(header, header_value(text)?);
    }
    if let Some(token) = token {
        let mut bearer = header_value(&format!("Bearer {}", token.expose_secret()))?;
        bearer.set_sensitive(true);
        all.insert(AUTHORIZATION, bearer);
    }
    Ok(all)
}

fn header_value(text: &str) -> Result<HeaderValue, DeliveryError> {
    HeaderValue::from_str(text).map_err(|_| {
        DeliveryError::permanent(
            "a header or the token has a line end or another character that HTTP does not allow",
        )
    })
}

/// What is posted.
pub(super) fn request_bodies(body: WebhookBody, message: &ChannelMessage) -> Vec<Value> {
    match body {
        WebhookBody::Full => vec![full_body(message)],
        WebhookBody::Alert => alert_bodies(message),
        WebhookBody::Backup => backup_bodies(message),
        WebhookBody::Verification => verification_bodies(message),
    }
}

fn full_body(message: &ChannelMessage) -> Value {
    let mut all = json!(message);
    all["holdfast"] = json!(SCHEMA_VERSION);
    all["text"] = json!(plain_text(message));
    all
}

/// `{"severity", "message"}`: one for each incident, and one for what the message does not name.
fn alert_bodies(message: &ChannelMessage) -> Vec<Value> {
    let alert = |severity: String, text: &str| json!({"severity": severity, "message": single_line(text, MAX_ALERT_CHARS)});
    let incident = |i: &IncidentSummary| match i.until {
        Some(_) => alert("info".into(), &format!("resolved: {}: {}", asset_label(i), i.message)),
        None => alert(i.severity.to_string(), &format!("{}: {}", asset_label(i), i.message)),
    };
    let mut all: Vec<_> = message.incidents.iter().map(incident).collect();
    let rest = match omitted_line(message) {
        Some(more) => Some(more),
        None if all.is_empty() => Some(format!("{}: {}", kind_label(message), message.title)),
        None => None,
    };
    all.extend(rest.map(|text| alert(message.severity.to_string(), &text)));
    all
}

/// `{"status", "backup_file", "size"}`: one for each backup that was made, `failed` for each asset that something is wrong
/// with.
fn backup_bodies(message: &ChannelMessage) -> Vec<Value> {
    let made = |m: &BackupInfo| {
        let size = m.bytes.map(format_du_size).unwrap_or_default();
        json!({"status": "success", "backup_file": file_name(&m.name), "size": size})
    };
    let failed =
        |i: &IncidentSummary| json!({"status": "failed", "backup_file": i.asset, "size": "0"});
    match message.kind {
        MessageKind::Success => message.backups.iter().map(made).collect(),
        MessageKind::Opened | MessageKind::StillOpen => {
            message.incidents.iter().map(failed).collect()
        }
        MessageKind::Test => vec![json!({"status": "test", "backup_file": "", "size": "0"})],
        _ => vec![],
    }
}

/// `{"status", "backup_file", "record_count"}`: one for each backup whose rows were counted, `failed` for each that did not
/// prove good.
fn verification_bodies(message: &ChannelMessage) -> Vec<Value> {
    let proven = |m: &BackupInfo| {
        let rows = m.rows?;
        let status = if rows > 0 { "success" } else { "failed" };
        Some(json!({"status": status, "backup_file": file_name(&m.name), "record_count": rows}))
    };
    let failed = |i: &IncidentSummary| json!({"status": "failed", "backup_file": i.asset, "record_count": 0});
    match message.kind {
        MessageKind::Success => message.backups.iter().filter_map(proven).collect(),
        MessageKind::Opened | MessageKind::StillOpen => {
            message.incidents.iter().map(failed).collect()
        }
        MessageKind::Test => vec![json!({"status": "test", "backup_file": "", "record_count": 0})],
        _ => vec![],
    }
}

/// The file's name without what is before it, as scripts that make one know it.
fn file_name(what: &str) -> &str {
    what.rsplit('/').next().unwrap_or(what)
}

/// A size as `du -h` writes it: `12K`, `1.5G`, rounded up.
fn format_du_size(bytes: u64) -> String {
    let mut unit = 1_u64;
    for name in ["", "K", "M", "G", "T", "P"] {
        let tenths = (u128::from(bytes) * 10).div_ceil(u128::from(unit));
        if tenths < 100 && !name.is_empty() {
            return format!("{}.{}{name}", tenths / 10, tenths % 10);
        }
        if bytes.div_ceil(unit) < 1024 || name == "P" {
            return format!("{}{name}", bytes.div_ceil(unit));
        }
        unit *= 1024;
    }
    unreachable!("the last unit returns")
}

#[cfg(test)]
mod tests;

//! The web: posting JSON, reading as little of the answer as is needed, and saying nothing that could hold a secret.

use super::DeliveryError;
use jiff::{Timestamp, fmt::rfc2822};
use reqwest::{
    Client, RequestBuilder, Response, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER},
    redirect::Policy,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::{error::Error, net::IpAddr, sync::OnceLock, time::Duration};

/// A server that does not accept within this time is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A whole post; none of the services takes a second.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// What is read of an answer.
const MAX_RESPONSE_BYTES: usize = 4 << 10;
/// What is shown of an answer, in characters.
const MAX_ERROR_CHARS: usize = 200;
/// No service is left alone for longer than this, whatever it says.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);
/// Runs of letters and digits this long in a secret give it away.
const MIN_SECRET_FRAGMENT_CHARS: usize = 6;

/// The web client, made when it is first needed: reading the system's certificates takes time.
#[derive(Debug, Default)]
pub struct HttpClient(OnceLock<Client>);

impl HttpClient {
    /// A client that is not made yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn client(&self) -> Result<&Client, DeliveryError> {
        if let Some(made) = self.0.get() {
            return Ok(made);
        }
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            // Where else a message goes is for the policy to say; and a redirected POST becomes a GET that delivers nothing.
            .redirect(Policy::none())
            // HTTP/2's tracing logs whole paths, and a webhook's path is its secret.
            .http1_only()
            .user_agent(concat!("Holdfast/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| {
                DeliveryError::permanent(format!("make a web client: {}", error_chain(&e)))
            })?;
        Ok(self.0.get_or_init(|| client))
    }

    /// Asks for a web address, such as a heartbeat's.
    ///
    /// # Errors
    /// If it does not answer with success.
    pub async fn get(&self, address: &SecretString, now: Timestamp) -> Result<(), DeliveryError> {
        let url = parse_webhook_url(address.expose_secret())?;
        let host = redacted_host(&url);
        let request = self.client()?.get(url);
        execute_request(request, &host, &[address], now).await
    }

    /// Posts JSON. `secrets` are what must not be shown; the address is one of them.
    pub(super) async fn post(
        &self,
        post: WebhookRequest<'_>,
        now: Timestamp,
    ) -> Result<(), DeliveryError> {
        let url = parse_webhook_url(post.address.expose_secret())?;
        let host = redacted_host(&url);
        let request = self
            .client()?
            .post(url)
            .headers(post.headers)
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .body(post.body.to_string());
        let mut secrets = vec![post.address];
        secrets.extend(post.secrets);
        execute_request(request, &host, &secrets, now).await
    }
}

/// What is posted where.
#[derive(Debug)]
pub(super) struct WebhookRequest<'a> {
    /// The address, which is a secret as a whole.
    pub(super) address: &'a SecretString,
    /// Further headers; secret ones are marked sensitive.
    pub(super) headers: HeaderMap,
    /// The body.
    pub(super) body: &'a Value,
    /// What else the answer might repeat and must not be shown.
    pub(super) secrets: Vec<&'a SecretString>,
}

/// An address that may be posted to: `https`, or `http` on this host. What is wrong with it is said without it.
fn parse_webhook_url(text: &str) -> Result<Url, DeliveryError> {
    let url = Url::parse(text.trim()).map_err(|e| {
        DeliveryError::permanent(format!(
            "the channel's address is no web address ({e}): write https://host/path"
        ))
    })?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(url.host_str().unwrap_or_default()) => Ok(url),
        "http" => Err(DeliveryError::permanent(format!(
            "{} would be told without encryption: write https:// in the channel's address",
            redacted_host(&url)
        ))),
        _ => Err(DeliveryError::permanent(
            "the channel's address is no web address: write https://host/path".to_owned(),
        )),
    }
}

/// Whether a host is this one.
pub(super) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// What may be shown of an address: where it is, with its port where that is unusual.
fn redacted_host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Sends a request and judges the answer.
async fn execute_request(
    request: RequestBuilder,
    host: &str,
    secrets: &[&SecretString],
    now: Timestamp,
) -> Result<(), DeliveryError> {
    let mut answer = request.send().await.map_err(|e| transport_error(host, e))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let retry_after = answer.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok());
    let retry_after = retry_after.and_then(|v| parse_retry_after(v, now));
    let said = redact_response(&read_prefix(&mut answer).await, secrets);
    let said = said.map_or_else(String::new, |s| format!(": {s}"));
    let moved = if status.is_redirection() {
        "; redirects are not followed: write the new address in the policy"
    } else {
        ""
    };
    Err(DeliveryError {
        why: format!("{host} answers {}{said}{moved}", status.as_u16()),
        retry_after,
        permanent: !is_retryable(status),
    })
}

/// Whether the same request may be taken later: too many, too slow, or the server's own fault.
fn is_retryable(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429)
}

/// There was no answer. `reqwest` writes the address into its errors.
fn transport_error(host: &str, e: reqwest::Error) -> DeliveryError {
    let e = e.without_url();
    let why = if e.is_timeout() {
        let span = if e.is_connect() { CONNECT_TIMEOUT } else { REQUEST_TIMEOUT };
        format!("no answer within {} s", span.as_secs())
    } else {
        error_chain(&e)
    };
    if e.is_builder() {
        return DeliveryError::permanent(format!("{host}: {why}"));
    }
    DeliveryError::transient(format!("{host}: {why}"))
}

/// An error with its causes, each once.
pub(super) fn error_chain(e: &(dyn Error + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in std::iter::successors(Some(e), |e| (*e).source()).map(ToString::to_string) {
        if !words.iter().any(|w| w.contains(&word)) {
            words.push(word);
        }
    }
    words.join(": ")
}

/// The beginning of an answer's body; one that breaks off or does not come is no reason to fail otherwise.
async fn read_prefix(answer: &mut Response) -> Vec<u8> {
    let mut read = Vec::new();
    while read.len() < MAX_RESPONSE_BYTES {
        let Ok(Some(chunk)) = answer.chunk().await else { break };
        read.extend_from_slice(&chunk[..chunk.len().min(MAX_RESPONSE_BYTES - read.len())]);
    }
    read
}

/// What may be shown of an answer: nothing if any telling part of a secret is in it.
pub(super) fn redact_response(answer: &[u8], secrets: &[&SecretString]) -> Option<String> {
    let text = String::from_utf8_lossy(answer);
    let tells = |secret: &&SecretString| {
        let secret = secret.expose_secret();
        let mut parts: Vec<&str> = secret
            .split(|c: char| !c.is_alphanumeric())
            .filter(|p| p.chars().count() >= MIN_SECRET_FRAGMENT_CHARS)
            .collect();
        if parts.is_empty() {
            parts.push(secret);
        }
        parts.iter().any(|p| text.contains(p))
    };
    if secrets.iter().any(tells) {
        return Some("(its words are not shown: they repeat a secret)".into());
    }
    Some(super::words::single_line(&text, MAX_ERROR_CHARS)).filter(|t| !t.is_empty())
}

/// How long a service wants to be left alone: seconds, or a date (RFC 9110, 10.2.3).
fn parse_retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    let wanted = if let Ok(seconds) = value.parse::<u64>() {
        Duration::from_secs(seconds)
    } else {
        let until = rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
        Duration::try_from(until.duration_since(now)).unwrap_or_default()
    };
    Some(wanted.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests;

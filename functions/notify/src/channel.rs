//! Sending: a message becomes what a channel's service takes, and is handed over.
//!
//! Each channel is a module with two halves: what the message looks like there (pure), and how it is posted. Whatever a
//! service answers, a secret is never in what is said of it: no address of a webhook, no key, no password.

mod email;
mod http;
mod pagerduty;
mod post;
mod slack;
mod sns;
pub mod words;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod sink;

use crate::message::ChannelMessage;
use jiff::Timestamp;
use secrecy::SecretString;
use shared::{
    aws::{AwsClients, OperationError, OperationErrorKind},
    catalog::Location,
    policy::{
        SecretSource,
        notify::{ChannelConfig, NotifyConfig},
    },
    secret::SecretResolver,
};
use std::{fmt, time::Duration};

pub use post::HttpClient;

/// What sending needs of the world.
pub struct ChannelContext<'a> {
    /// AWS, for SES and SNS.
    pub aws: &'a AwsClients,
    /// Where the policy's assets are: SES is there unless the policy says otherwise.
    pub home: &'a Location,
    /// Where webhooks, keys, tokens and passwords come from.
    pub secrets: &'a SecretResolver<'a>,
    /// The web; made when it is first needed.
    pub http: &'a HttpClient,
    /// The mail servers of channels that name none.
    pub notify: &'a NotifyConfig,
    /// Now: what `Retry-After` with a date is counted from.
    pub now: Timestamp,
}

impl fmt::Debug for ChannelContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edges").field("home", &self.home).finish_non_exhaustive()
    }
}

impl ChannelContext<'_> {
    /// A secret's value.
    async fn resolve_secret(&self, from: &SecretSource) -> Result<SecretString, DeliveryError> {
        self.secrets.get(from).await.map_err(|e| DeliveryError::from_aws(&e))
    }
}

/// Why a message was not delivered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct DeliveryError {
    /// What was refused and why, without any secret.
    pub why: String,
    /// How long the service wants to be left alone.
    pub retry_after: Option<Duration>,
    /// Whether trying again can't help: the next channel should be told at once.
    pub permanent: bool,
}

impl DeliveryError {
    /// Trying again can't help.
    fn permanent(why: impl Into<String>) -> Self {
        Self { why: why.into(), retry_after: None, permanent: true }
    }

    /// Trying again may help.
    fn transient(why: impl Into<String>) -> Self {
        Self { why: why.into(), retry_after: None, permanent: false }
    }

    /// What AWS, or the place of a secret, refused. What SES and SNS refuse for a while has these codes.
    fn from_aws(e: &OperationError) -> Self {
        let passing = matches!(
            e.kind,
            OperationErrorKind::Unreachable
                | OperationErrorKind::Busy
                | OperationErrorKind::Quota
                | OperationErrorKind::Late
                | OperationErrorKind::Database
        ) || matches!(
            e.code.as_deref(),
            Some("TooManyRequestsException" | "LimitExceededException" | "SendingPausedException")
        );
        Self { why: e.to_line_with_hint(), retry_after: None, permanent: !passing }
    }
}

/// All of a message's sending: two dozen events, or a mail server that takes its time. Shorter than the time for which
/// a message is claimed.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(90);

/// Sends a message to a channel. Sending it again is harmless where the service can know it by its id: PagerDuty,
/// `http`, mail clients.
///
/// # Errors
/// If it was not taken; of several addresses or events, if one was not.
pub async fn send(
    channel: &ChannelConfig,
    message: &ChannelMessage,
    edges: &ChannelContext<'_>,
) -> Result<(), DeliveryError> {
    match tokio::time::timeout(
        DELIVERY_TIMEOUT,
        dispatch(channel, &words::truncate_message(message), edges),
    )
    .await
    {
        Ok(done) => done,
        Err(_) => Err(DeliveryError::transient(format!(
            "not done within {} s",
            DELIVERY_TIMEOUT.as_secs()
        ))),
    }
}

async fn dispatch(
    channel: &ChannelConfig,
    message: &ChannelMessage,
    edges: &ChannelContext<'_>,
) -> Result<(), DeliveryError> {
    if let Some(webhook) = &channel.slack {
        return slack::send(&edges.resolve_secret(webhook).await?, message, edges).await;
    }
    if let Some(key) = &channel.pagerduty {
        let key = edges.resolve_secret(key).await?;
        return pagerduty::send(&key, channel.endpoint.as_deref(), message, edges).await;
    }
    if let Some(address) = &channel.http {
        return http::send(address, channel, message, edges).await;
    }
    if let Some(topic) = &channel.sns {
        return sns::send(topic, message, edges).await;
    }
    if !channel.email.is_empty() {
        return email::send(channel, message, edges).await;
    }
    Err(DeliveryError::permanent(
        "the channel names no way to reach people: write one of slack, pagerduty, email, sns, http",
    ))
}

//! What to tell whom: memory, policy and what was heard in, memory and messages out. No clock, no network.
//!
//! # Layout
//! - `hear`: what was heard changes what is known to be wrong; `absent`: what was not heard
//! - `tell`: changes become messages; `routes`: who is told what
//! - `recovery`: recoveries; `digest`: the day in one message; `storage`: what storage costs
//!
//! An incident is an asset with a fixed word for what is wrong; several functions may say it. One message tells of all
//! that changed for a channel at once.

mod absent;
mod digest;
mod hear;
mod recovery;
mod routes;
mod storage;
mod tell;

pub use absent::is_heartbeat_due;
pub(crate) use hear::{NOTIFY, clear_incident, open_or_update_incident};

use crate::{
    heard::NotificationEvent,
    message::{BackupInfo, ChannelMessage, MessageKind},
    state::{NotifyState, OutboxEntry},
};
use jiff::{SignedDuration, Timestamp};
use shared::{
    plan::Severity,
    policy::{
        Policy,
        notify::NotifyConfig,
        text::{Name, Period},
    },
};
use std::collections::BTreeMap;

/// A problem that is back within this time goes on as the same one, when the policy does not say.
const DEFAULT_FLAP_WINDOW: SignedDuration = SignedDuration::from_mins(30);

/// A message and where it goes.
#[derive(Clone, Debug, PartialEq)]
pub struct OutgoingMessage {
    /// The channel.
    pub channel: Name,
    /// Where it may go instead, in order.
    pub fallback_channels: Vec<Name>,
    /// The message.
    pub message: ChannelMessage,
}

/// What follows from what was heard until now. Without anything heard, what time alone brings: escalations, the digest,
/// updates of recoveries, what should have been heard.
pub fn plan(
    policy: &Policy,
    mut state: NotifyState,
    heard: &[NotificationEvent],
    now: Timestamp,
) -> (NotifyState, Vec<OutgoingMessage>) {
    let Some(mut planning) = NotifyPlanner::new(policy, now) else { return (state, Vec::new()) };
    state.clamp_future_timestamps(now);
    for one in heard {
        hear::ingest_event(&mut planning, &mut state, one);
    }
    absent::check_missing_reports(&planning, &mut state);
    recovery::update_active_restores(&mut planning, &mut state);
    tell::plan_messages(&mut planning, &mut state);
    digest::plan_digest(&mut planning, &mut state);
    (state, planning.messages)
}

/// Puts messages into the memory, to be sent.
pub fn enqueue(state: &mut NotifyState, told: Vec<OutgoingMessage>, now: Timestamp) {
    let entry = |t: OutgoingMessage| OutboxEntry {
        message: t.message,
        channel: t.channel,
        fallback_channels: t.fallback_channels,
        attempts: 0,
        next: now,
        claimed_until: None,
        forwarded: false,
    };
    state.outbox.extend(told.into_iter().map(entry));
    crate::outbox::enforce_capacity(state);
}

/// What one round of planning stands on and gathers.
pub(crate) struct NotifyPlanner<'p> {
    pub(crate) policy: &'p Policy,
    pub(crate) notify: &'p NotifyConfig,
    pub(crate) now: Timestamp,
    pub(crate) flap_window: SignedDuration,
    messages: Vec<OutgoingMessage>,
    /// What was made or verified, with its group and the kind of news that it is.
    new_backups: Vec<(BackupInfo, Option<String>, shared::policy::notify::NotifyEventKind)>,
}

impl<'p> NotifyPlanner<'p> {
    /// A round that begins; none when the policy tells nobody anything.
    pub(crate) fn new(policy: &'p Policy, now: Timestamp) -> Option<Self> {
        let notify = policy.notify.as_ref()?;
        let hold = notify.hold.as_ref().map_or(DEFAULT_FLAP_WINDOW, Period::duration);
        Some(Self {
            policy,
            notify,
            now,
            flap_window: hold,
            messages: Vec::new(),
            new_backups: Vec::new(),
        })
    }

    /// Adds a message for a channel; its id counts on.
    fn emit(
        &mut self,
        state: &mut NotifyState,
        channel: &Name,
        others: Vec<Name>,
        mut message: ChannelMessage,
    ) {
        state.messages += 1;
        let began = state.created_at.as_second();
        message.id = format!("{}-{began:x}-{}", self.policy.company, state.messages);
        self.messages.push(OutgoingMessage {
            channel: channel.clone(),
            fallback_channels: others,
            message,
        });
    }

    /// An empty message.
    fn new_message(&self, kind: MessageKind, severity: Severity, title: &str) -> ChannelMessage {
        ChannelMessage {
            id: String::new(),
            company: self.policy.company.to_string(),
            kind,
            severity,
            at: self.now,
            title: crate::state::truncate_chars(title, 200),
            incidents: Vec::new(),
            omitted: 0,
            backups: Vec::new(),
            lines: Vec::new(),
            thread: None,
        }
    }

    /// The other channels of a list, from `channel` on and then from its beginning.
    fn fallback_channels(to: &[Name], channel: &Name) -> Vec<Name> {
        let at = to.iter().position(|c| c == channel).unwrap_or(0);
        let (before, after) = to.split_at(at);
        after.iter().chain(before).filter(|c| *c != channel).cloned().collect()
    }
}

/// Messages by channel, in the order of the policy's names.
type ByChannel<T> = BTreeMap<Name, T>;

#[cfg(test)]
mod tests;

//! Messages on their way: claimed, sent, tried again, passed on to another channel, given up after a day.
//!
//! A message is in the memory before it is sent and until it was delivered, so it is delivered at least once; who sends
//! it claims it for a while, so that two notifiers at once do not both send it.

use crate::{
    channel::DeliveryError,
    heard::DetectedProblem,
    message::MessageKind,
    plan::{NOTIFY, NotifyPlanner, clear_incident, open_or_update_incident},
    state::{MAX_OUTBOX_MESSAGES, NotifyState, OutboxEntry, truncate_chars},
};
use jiff::{SignedDuration, Timestamp};
use shared::{
    plan::{FindingCode, Severity},
    policy::{Policy, text::Name},
};

/// How long a message is another notifier's. Sending ends before.
pub(crate) const CLAIM_TTL: SignedDuration = SignedDuration::from_mins(2);
/// A message that could not be delivered for so long goes into the digest.
const MESSAGE_TTL: SignedDuration = SignedDuration::from_hours(24);
/// The first pause between two tries; each further one is twice as long, up to the longest.
const MIN_BACKOFF: SignedDuration = SignedDuration::from_secs(30);
const MAX_BACKOFF: SignedDuration = SignedDuration::from_hours(1);
/// A service that asks for patience is given this much before the message goes to another channel.
const FALLBACK_DELAY: SignedDuration = SignedDuration::from_mins(5);
/// A channel can't be reached.
pub(crate) const UNDELIVERED: &str = FindingCode::Undelivered.as_str();

/// Claims what is to be sent now, in order.
pub fn claim_due(state: &mut NotifyState, now: Timestamp) -> Vec<OutboxEntry> {
    drop_expired(state, now);
    let mut claimed = Vec::new();
    // Behind a message that waits, later ones of its channel wait too: what is fixed is not told before it was wrong.
    let mut waiting: Vec<Name> = Vec::new();
    for entry in &mut state.outbox {
        let free = entry.claimed_until.is_none_or(|until| until <= now) && entry.next <= now;
        if !free || waiting.contains(&entry.channel) {
            waiting.push(entry.channel.clone());
            continue;
        }
        entry.claimed_until = Some(now + CLAIM_TTL);
        claimed.push(entry.clone());
    }
    claimed
}

/// Notes what became of messages that were sent: delivered, or to be tried again and perhaps told elsewhere.
pub fn record_results(
    policy: &Policy,
    state: &mut NotifyState,
    results: &[(OutboxEntry, Result<(), DeliveryError>)],
    now: Timestamp,
) {
    for (entry, result) in results {
        let same = |e: &OutboxEntry| e.message.id == entry.message.id && e.channel == entry.channel;
        match result {
            Ok(()) => {
                state.outbox.retain(|e| !same(e));
                clear_incident(state, NOTIFY, &undelivered_incident_id(&entry.channel), now);
            }
            Err(refused) => {
                state.day.failed_attempts += 1;
                let Some(e) = state.outbox.iter_mut().find(|e| same(e)) else { continue };
                e.attempts += 1;
                e.claimed_until = None;
                e.next = now + retry_delay(e.attempts, refused);
                let at_once = refused.permanent || refused.retry_after.is_none();
                let waited = now.duration_since(e.message.at) >= FALLBACK_DELAY;
                if (at_once || waited) && !e.forwarded {
                    e.forwarded = true;
                    let failed = e.clone();
                    record_undeliverable(policy, state, &failed, refused, now);
                }
            }
        }
    }
}

/// When to try again.
fn retry_delay(tries: u32, refused: &DeliveryError) -> SignedDuration {
    let doubled = MIN_BACKOFF * 2_i32.saturating_pow(tries.saturating_sub(1).min(10));
    let pause = if refused.permanent { MAX_BACKOFF } else { doubled.min(MAX_BACKOFF) };
    let asked = refused.retry_after.and_then(|r| SignedDuration::try_from(r).ok());
    pause.max(asked.unwrap_or_default().min(MAX_BACKOFF * 6))
}

fn undelivered_incident_id(channel: &Name) -> String {
    format!("{UNDELIVERED} notify/{channel}")
}

/// The channel is a problem of its own, and what can't wait goes to another one.
fn record_undeliverable(
    policy: &Policy,
    state: &mut NotifyState,
    entry: &OutboxEntry,
    refused: &DeliveryError,
    now: Timestamp,
) {
    let Some(planning) = NotifyPlanner::new(policy, now) else { return };
    let problem = DetectedProblem {
        asset: format!("notify/{}", entry.channel),
        group: None,
        code: UNDELIVERED.into(),
        severity: Severity::Critical,
        message: format!("a message could not be delivered to {}: {}", entry.channel, refused.why),
        hint: shared::hints::commands::notify_test(entry.channel.as_str()),
    };
    open_or_update_incident(&planning, state, NOTIFY, &problem, now);
    let urgent = matches!(
        entry.message.kind,
        MessageKind::Opened
            | MessageKind::StillOpen
            | MessageKind::RecoveryStarted
            | MessageKind::RecoveryComplete
    );
    if urgent && let Some(next) = fallback_channel(policy, state, entry) {
        forward_to(state, entry, next, now);
    }
}

/// Where a message goes instead: the next channel of its list that works; else any other. None when a working one of its
/// list has got the same already.
fn fallback_channel(policy: &Policy, state: &NotifyState, entry: &OutboxEntry) -> Option<Name> {
    let failing = |c: &Name| {
        state
            .incidents
            .get(&undelivered_incident_id(c))
            .is_some_and(|t| t.cleared_at.is_none() && t.resolved_at.is_none())
            || state.outbox.iter().any(|e| e.channel == *c && e.attempts > 0)
    };
    let working = || entry.fallback_channels.iter().filter(|c| !failing(c));
    let has_it = |c: &&Name| {
        let mut keys = entry.message.incidents.iter().map(|i| &i.key);
        let told = |key: &String| {
            state.incidents.values().any(|t| t.key == *key && t.notified.contains_key(*c))
        };
        let recovery = matches!(
            entry.message.kind,
            MessageKind::RecoveryStarted | MessageKind::RecoveryComplete
        );
        recovery || keys.all(told)
    };
    if working().any(|c| has_it(&c)) {
        return None;
    }
    let all = policy.notify.iter().flat_map(|n| n.channels.keys());
    working().chain(all.filter(|c| **c != entry.channel && !failing(c))).next().cloned()
}

fn forward_to(state: &mut NotifyState, entry: &OutboxEntry, to: Name, now: Timestamp) {
    let mut message = entry.message.clone();
    message.id = format!("{}-{to}", entry.message.id);
    if state.outbox.iter().any(|e| e.message.id == message.id) {
        return;
    }
    message.lines.insert(0, format!("meant for {}, which can't be reached", entry.channel));
    for t in state.incidents.values_mut() {
        if message.incidents.iter().any(|i| i.key == t.key) && t.resolved_at.is_none() {
            t.notified.entry(to.clone()).or_insert(t.severity);
        }
    }
    let others = entry.fallback_channels.iter().filter(|c| **c != to).cloned().collect();
    let passed = OutboxEntry {
        message,
        channel: to,
        fallback_channels: others,
        attempts: 0,
        next: now,
        claimed_until: None,
        forwarded: false,
    };
    state.outbox.push(passed);
    enforce_capacity(state);
}

/// What can't be delivered for a day is told by the digest.
fn drop_expired(state: &mut NotifyState, now: Timestamp) {
    let old = |e: &OutboxEntry| now.duration_since(e.message.at) >= MESSAGE_TTL;
    let lost: Vec<OutboxEntry> = state.outbox.extract_if(.., |e| old(e)).collect();
    record_dropped(state, &lost);
}

/// Keeps the outbox within its bound: the oldest of the least bad go first.
pub(crate) fn enforce_capacity(state: &mut NotifyState) {
    let mut lost = Vec::new();
    while state.outbox.len() > MAX_OUTBOX_MESSAGES {
        let unclaimed = state.outbox.iter().enumerate().filter(|(_, e)| e.claimed_until.is_none());
        let least = unclaimed.min_by_key(|(i, e)| (e.message.severity, *i)).map_or(0, |(i, _)| i);
        lost.push(state.outbox.remove(least));
    }
    record_dropped(state, &lost);
}

fn record_dropped(state: &mut NotifyState, lost: &[OutboxEntry]) {
    for entry in lost {
        state.day.dropped += 1;
        if state.day.dropped_titles.len() < 20 {
            let title = format!("{}: {}", entry.channel, entry.message.title);
            state.day.dropped_titles.push(truncate_chars(&title, 300));
        }
    }
}

#[cfg(test)]
mod tests;

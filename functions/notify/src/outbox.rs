//! Messages on their way: claimed, sent, tried again, passed on to another channel, given up after a day.
//!
//! A message is in the memory before it is sent and until it was delivered, so it is delivered at least once; who sends
//! it claims it for a while, so that two notifiers at once do not both send it.

use crate::{
    channel::Refused,
    heard::Problem,
    message::Kind,
    plan::{NOTIFY, Planning, leave, touch},
    state::{Entry, MOST_WAITING, State, clip},
};
use jiff::{SignedDuration, Timestamp};
use shared::{
    plan::Severity,
    policy::{Policy, text::Name},
};

/// How long a message is another notifier's. Sending ends before.
pub(crate) const CLAIM: SignedDuration = SignedDuration::from_mins(2);
/// A message that could not be delivered for so long goes into the digest.
const OLD: SignedDuration = SignedDuration::from_hours(24);
/// The first pause between two tries; each further one is twice as long, up to the longest.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(30);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(1);
/// A service that asks for patience is given this much before the message goes to another channel.
const PATIENCE: SignedDuration = SignedDuration::from_mins(5);
/// A channel can't be reached.
pub(crate) const UNDELIVERED: &str = "undelivered";

/// Claims what is to be sent now, in order.
pub fn claim(state: &mut State, now: Timestamp) -> Vec<Entry> {
    drop_old(state, now);
    let mut claimed = Vec::new();
    // Behind a message that waits, later ones of its channel wait too: what is mended is not told before it was wrong.
    let mut waiting: Vec<Name> = Vec::new();
    for entry in &mut state.outbox {
        let free = entry.claimed.is_none_or(|until| until <= now) && entry.next <= now;
        if !free || waiting.contains(&entry.channel) {
            waiting.push(entry.channel.clone());
            continue;
        }
        entry.claimed = Some(now + CLAIM);
        claimed.push(entry.clone());
    }
    claimed
}

/// Notes what became of messages that were sent: delivered, or to be tried again and perhaps told elsewhere.
pub fn sent(
    policy: &Policy,
    state: &mut State,
    results: &[(Entry, Result<(), Refused>)],
    now: Timestamp,
) {
    for (entry, result) in results {
        let same = |e: &Entry| e.message.id == entry.message.id && e.channel == entry.channel;
        match result {
            Ok(()) => {
                state.outbox.retain(|e| !same(e));
                leave(state, NOTIFY, &incident(&entry.channel), now);
            }
            Err(refused) => {
                state.day.failed_tries += 1;
                let Some(e) = state.outbox.iter_mut().find(|e| same(e)) else { continue };
                e.tries += 1;
                e.claimed = None;
                e.next = now + pause(e.tries, refused);
                let at_once = refused.permanent || refused.retry_after.is_none();
                let waited = now.duration_since(e.message.at) >= PATIENCE;
                if (at_once || waited) && !e.passed_on {
                    e.passed_on = true;
                    let failed = e.clone();
                    give_up(policy, state, &failed, refused, now);
                }
            }
        }
    }
}

/// When to try again.
fn pause(tries: u32, refused: &Refused) -> SignedDuration {
    let doubled = FIRST_PAUSE * 2_i32.saturating_pow(tries.saturating_sub(1).min(10));
    let pause = if refused.permanent { LONGEST_PAUSE } else { doubled.min(LONGEST_PAUSE) };
    let asked = refused.retry_after.and_then(|r| SignedDuration::try_from(r).ok());
    pause.max(asked.unwrap_or_default().min(LONGEST_PAUSE * 6))
}

fn incident(channel: &Name) -> String {
    format!("{UNDELIVERED} notify/{channel}")
}

/// The channel is a problem of its own, and what can't wait goes to another one.
fn give_up(policy: &Policy, state: &mut State, entry: &Entry, refused: &Refused, now: Timestamp) {
    let Some(planning) = Planning::new(policy, now) else { return };
    let problem = Problem {
        asset: format!("notify/{}", entry.channel),
        group: None,
        what: UNDELIVERED.into(),
        severity: Severity::Critical,
        why: format!("a message could not be delivered to {}: {}", entry.channel, refused.why),
        mend: shared::hints::commands::notify_test(entry.channel.as_str()),
    };
    touch(&planning, state, NOTIFY, &problem, now);
    let urgent = matches!(
        entry.message.kind,
        Kind::Opened | Kind::StillOpen | Kind::RecoveryStarted | Kind::RecoveryComplete
    );
    if urgent && let Some(next) = instead(policy, state, entry) {
        pass_on(state, entry, next, now);
    }
}

/// Where a message goes instead: the next channel of its list that works; else any other. None when a working one of its
/// list has got the same already.
fn instead(policy: &Policy, state: &State, entry: &Entry) -> Option<Name> {
    let failing = |c: &Name| {
        state.incidents.get(&incident(c)).is_some_and(|t| t.gone.is_none() && t.closed.is_none())
            || state.outbox.iter().any(|e| e.channel == *c && e.tries > 0)
    };
    let working = || entry.others.iter().filter(|c| !failing(c));
    let has_it = |c: &&Name| {
        let mut keys = entry.message.incidents.iter().map(|i| &i.key);
        let told = |key: &String| {
            state.incidents.values().any(|t| t.key == *key && t.told.contains_key(*c))
        };
        let recovery = matches!(entry.message.kind, Kind::RecoveryStarted | Kind::RecoveryComplete);
        recovery || keys.all(told)
    };
    if working().any(|c| has_it(&c)) {
        return None;
    }
    let all = policy.notify.iter().flat_map(|n| n.channels.keys());
    working().chain(all.filter(|c| **c != entry.channel && !failing(c))).next().cloned()
}

fn pass_on(state: &mut State, entry: &Entry, to: Name, now: Timestamp) {
    let mut message = entry.message.clone();
    message.id = format!("{}-{to}", entry.message.id);
    if state.outbox.iter().any(|e| e.message.id == message.id) {
        return;
    }
    message.lines.insert(0, format!("meant for {}, which can't be reached", entry.channel));
    for t in state.incidents.values_mut() {
        if message.incidents.iter().any(|i| i.key == t.key) && t.closed.is_none() {
            t.told.entry(to.clone()).or_insert(t.severity);
        }
    }
    let others = entry.others.iter().filter(|c| **c != to).cloned().collect();
    let passed = Entry {
        message,
        channel: to,
        others,
        tries: 0,
        next: now,
        claimed: None,
        passed_on: false,
    };
    state.outbox.push(passed);
    bound(state);
}

/// What can't be delivered for a day is told by the digest.
fn drop_old(state: &mut State, now: Timestamp) {
    let old = |e: &Entry| now.duration_since(e.message.at) >= OLD;
    let lost: Vec<Entry> = state.outbox.extract_if(.., |e| old(e)).collect();
    lose(state, &lost);
}

/// Keeps the outbox within its bound: the oldest of the least bad go first.
pub(crate) fn bound(state: &mut State) {
    let mut lost = Vec::new();
    while state.outbox.len() > MOST_WAITING {
        let unclaimed = state.outbox.iter().enumerate().filter(|(_, e)| e.claimed.is_none());
        let least = unclaimed.min_by_key(|(i, e)| (e.message.severity, *i)).map_or(0, |(i, _)| i);
        lost.push(state.outbox.remove(least));
    }
    lose(state, &lost);
}

fn lose(state: &mut State, lost: &[Entry]) {
    for entry in lost {
        state.day.lost += 1;
        if state.day.lost_titles.len() < 20 {
            let title = format!("{}: {}", entry.channel, entry.message.title);
            state.day.lost_titles.push(clip(&title, 300));
        }
    }
}

#[cfg(test)]
mod tests;

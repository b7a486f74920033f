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

pub use absent::heartbeat_due;
pub(crate) use hear::{NOTIFY, leave, touch};

use crate::{
    heard::Heard,
    message::{Kind, Made, Message},
    state::{Entry, State},
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
const HOLD: SignedDuration = SignedDuration::from_mins(30);

/// A message and where it goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The channel.
    pub channel: Name,
    /// Where it may go instead, in order.
    pub others: Vec<Name>,
    /// The message.
    pub message: Message,
}

/// What follows from what was heard until now. Without anything heard, what time alone brings: escalations, the digest,
/// updates of recoveries, what should have been heard.
pub fn plan(
    policy: &Policy,
    mut state: State,
    heard: &[Heard],
    now: Timestamp,
) -> (State, Vec<Told>) {
    let Some(mut planning) = Planning::new(policy, now) else { return (state, Vec::new()) };
    state.clamp(now);
    for one in heard {
        hear::hear(&mut planning, &mut state, one);
    }
    absent::absent(&planning, &mut state);
    recovery::go_on(&mut planning, &mut state);
    tell::tell(&mut planning, &mut state);
    digest::digest(&mut planning, &mut state);
    (state, planning.out)
}

/// Puts messages into the memory, to be sent.
pub fn post(state: &mut State, told: Vec<Told>, now: Timestamp) {
    let entry = |t: Told| Entry {
        message: t.message,
        channel: t.channel,
        others: t.others,
        tries: 0,
        next: now,
        claimed: None,
        passed_on: false,
    };
    state.outbox.extend(told.into_iter().map(entry));
    crate::outbox::bound(state);
}

/// What one round of planning stands on and gathers.
pub(crate) struct Planning<'p> {
    pub(crate) policy: &'p Policy,
    pub(crate) notify: &'p NotifyConfig,
    pub(crate) now: Timestamp,
    pub(crate) hold: SignedDuration,
    out: Vec<Told>,
    /// What was made or verified, with its group and the kind of news that it is.
    made: Vec<(Made, Option<String>, shared::policy::notify::NotifyEventKind)>,
}

impl<'p> Planning<'p> {
    /// A round that begins; none when the policy tells nobody anything.
    pub(crate) fn new(policy: &'p Policy, now: Timestamp) -> Option<Self> {
        let notify = policy.notify.as_ref()?;
        let hold = notify.hold.as_ref().map_or(HOLD, Period::duration);
        Some(Self { policy, notify, now, hold, out: Vec::new(), made: Vec::new() })
    }

    /// Adds a message for a channel; its id counts on.
    fn say(&mut self, state: &mut State, channel: &Name, others: Vec<Name>, mut message: Message) {
        state.messages += 1;
        let began = state.began.as_second();
        message.id = format!("{}-{began:x}-{}", self.policy.company, state.messages);
        self.out.push(Told { channel: channel.clone(), others, message });
    }

    /// An empty message.
    fn message(&self, kind: Kind, severity: Severity, title: &str) -> Message {
        Message {
            id: String::new(),
            company: self.policy.company.to_string(),
            kind,
            severity,
            at: self.now,
            title: crate::state::clip(title, 200),
            incidents: Vec::new(),
            more: 0,
            made: Vec::new(),
            lines: Vec::new(),
            thread: None,
        }
    }

    /// The other channels of a list, from `channel` on and then from its beginning.
    fn others(to: &[Name], channel: &Name) -> Vec<Name> {
        let at = to.iter().position(|c| c == channel).unwrap_or(0);
        let (before, after) = to.split_at(at);
        after.iter().chain(before).filter(|c| *c != channel).cloned().collect()
    }
}

/// Messages by channel, in the order of the policy's names.
type ByChannel<T> = BTreeMap<Name, T>;

#[cfg(test)]
mod tests;

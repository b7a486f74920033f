//! The audit trail, and the policy's alarms.

use crate::facts::{Event, Head, Trail};
use jiff::SignedDuration;
use shared::{
    audit::{Log, Record, Went},
    aws::cloudwatch::AlarmState,
    run::World,
};

/// The trail is read so far back: a quarter, in which every drill of the policies comes once. An object is read for each
/// run that did something.
pub(crate) const DAYS: i64 = 92;

/// Looks at both.
pub(super) async fn look(world: &World<'_>) -> (Trail, Option<Vec<AlarmState>>) {
    (trail(world).await, alarms(world).await)
}

async fn trail(world: &World<'_>) -> Trail {
    let Some(log) = Log::of(world.aws, world.policy) else { return Trail::None };
    if log.is_local() && !world.host {
        return Trail::Unseen("it lies in a directory of a host".into());
    }
    let since = world.now.checked_sub(SignedDuration::from_hours(24 * DAYS)).unwrap_or(world.now);
    match log.read(since).await {
        Ok(records) => Trail::Read {
            head: records.last().map(head),
            events: records.iter().map(event).collect(),
        },
        Err(e) => Trail::Unseen(e.to_string()),
    }
}

fn head(record: &Record) -> Head {
    Head { seq: record.seq, at: record.at, hash: record.hash.clone() }
}

fn event(record: &Record) -> Event {
    let entry = &record.entry;
    Event {
        at: record.at,
        group: record.group.clone(),
        asset: entry.asset.clone(),
        kind: entry.operation,
        who: match &record.user {
            Some(user) => format!("{} by {user}", record.by),
            None => record.by.clone(),
        },
        action: entry.action.clone(),
        done: entry.result == Went::Done,
        detail: entry.detail.clone(),
        seconds: entry.seconds,
    }
}

async fn alarms(world: &World<'_>) -> Option<Vec<AlarmState>> {
    if world.policy.alarms.is_empty() {
        return None;
    }
    let names: Vec<_> = world.policy.alarms.keys().cloned().collect();
    world.aws.cloudwatch(&world.home()).alarms(&names).await.ok()
}

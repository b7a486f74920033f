//! The audit trail, and the policy's alarms.

use crate::facts::{Event, Head, Trail};
use jiff::SignedDuration;
use shared::{
    audit::{AuditLog, AuditRecord, OperationResult},
    aws::cloudwatch::AlarmState,
    run::RunContext,
};

/// The trail is read so far back: a quarter, in which every drill of the policies comes once. An object is read for each
/// run that did something.
pub(crate) const DAYS: i64 = 92;

/// Looks at both.
pub(super) async fn look(world: &RunContext<'_>) -> (Trail, Option<Vec<AlarmState>>) {
    (trail(world).await, alarms(world).await)
}

async fn trail(world: &RunContext<'_>) -> Trail {
    let Some(log) = AuditLog::from_policy(world.aws, world.policy) else { return Trail::None };
    if log.is_local() && !world.on_host {
        return Trail::Unseen("it lies in a directory of a host".into());
    }
    let since = world.now.checked_sub(SignedDuration::from_hours(24 * DAYS)).unwrap_or(world.now);
    match log.records_since(since).await {
        Ok(records) => Trail::Read {
            head: records.last().map(head),
            events: records.iter().map(event).collect(),
        },
        Err(e) => Trail::Unseen(e.to_string()),
    }
}

fn head(record: &AuditRecord) -> Head {
    Head { seq: record.seq, at: record.at, hash: record.hash.clone() }
}

fn event(record: &AuditRecord) -> Event {
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
        done: entry.result == OperationResult::Done,
        detail: entry.detail.clone(),
        seconds: entry.seconds,
    }
}

async fn alarms(world: &RunContext<'_>) -> Option<Vec<AlarmState>> {
    if world.policy.alarms.is_empty() {
        return None;
    }
    let names: Vec<_> = world.policy.alarms.keys().cloned().collect();
    world.aws.cloudwatch(&world.home_location()).describe_alarms(&names).await.ok()
}

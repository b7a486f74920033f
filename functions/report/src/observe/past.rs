//! The audit trail, and the policy's alarms.

use crate::facts::{AuditEvent, AuditHead, AuditTrail};
use jiff::SignedDuration;
use shared::{
    audit::{AuditLog, AuditRecord, OperationResult},
    aws::cloudwatch::AlarmState,
    run::RunContext,
};

/// The trail is read so far back: a quarter, in which every drill of the policies comes once. An object is read for each
/// run that did something.
pub(crate) const AUDIT_DAYS: i64 = 92;

/// Looks at both.
pub(super) async fn read_history(world: &RunContext<'_>) -> (AuditTrail, Option<Vec<AlarmState>>) {
    (read_trail(world).await, alarm_states(world).await)
}

async fn read_trail(world: &RunContext<'_>) -> AuditTrail {
    let Some(log) = AuditLog::from_policy(world.aws, world.policy) else { return AuditTrail::None };
    if log.is_local() && !world.on_host {
        return AuditTrail::Unreadable("it lies in a directory of a host".into());
    }
    let since =
        world.now.checked_sub(SignedDuration::from_hours(24 * AUDIT_DAYS)).unwrap_or(world.now);
    match log.records_since(since).await {
        Ok(records) => AuditTrail::Read {
            head: records.last().map(audit_head),
            events: records.iter().map(audit_event).collect(),
        },
        Err(e) => AuditTrail::Unreadable(e.to_string()),
    }
}

fn audit_head(record: &AuditRecord) -> AuditHead {
    AuditHead { seq: record.seq, at: record.recorded_at, hash: record.hash.clone() }
}

fn audit_event(record: &AuditRecord) -> AuditEvent {
    let entry = &record.entry;
    AuditEvent {
        at: record.recorded_at,
        group: record.group.clone(),
        asset: entry.asset.clone(),
        kind: entry.operation,
        who: match &record.user {
            Some(user) => format!("{} by {user}", record.function),
            None => record.function.clone(),
        },
        action: entry.action.clone(),
        done: entry.result == OperationResult::Done,
        detail: entry.detail.clone(),
        seconds: entry.seconds,
    }
}

async fn alarm_states(world: &RunContext<'_>) -> Option<Vec<AlarmState>> {
    if world.policy.alarms.is_empty() {
        return None;
    }
    let names: Vec<_> = world.policy.alarms.keys().cloned().collect();
    world.aws.cloudwatch(&world.home_location()).describe_alarms(&names).await.ok()
}

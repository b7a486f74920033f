//! The audit trail, and the policy's alarms.

use crate::facts::{Event, Head, Kind, Trail};
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
        kind: kind(&record.by, &entry.action, entry.made.is_some()),
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

/// What a record is of: by who wrote it, and by its first word where one writer does several things.
fn kind(by: &str, action: &str, made: bool) -> Kind {
    let first = action.split_whitespace().next().unwrap_or_default();
    match (by, first) {
        ("verify", _) if action.contains("full") => Kind::Restore,
        ("verify", _) => Kind::Check,
        (_, "restore") => Kind::Restore,
        (_, "delete") => Kind::Delete,
        // What names a point without making one: a hold, its release.
        ("hold" | "release", _) => Kind::Other,
        // A snapshot or a dump that failed made nothing, and was to be one.
        _ if made
            || matches!((by, first), ("snapshot" | "offsite", _) | ("dump", "dump" | "copy")) =>
        {
            Kind::Backup
        }
        _ => Kind::Other,
    }
}

async fn alarms(world: &World<'_>) -> Option<Vec<AlarmState>> {
    if world.policy.alarms.is_empty() {
        return None;
    }
    let names: Vec<_> = world.policy.alarms.keys().cloned().collect();
    world.aws.cloudwatch(&world.home()).alarms(&names).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_of_what_its_writer_did() {
        let table = [
            ("verify", "verify full", true, Kind::Restore),
            ("verify", "verify", true, Kind::Check),
            ("restore", "restore", true, Kind::Restore),
            ("dump", "dump shop to daily/shop.dump", true, Kind::Backup),
            ("dump", "copy daily/shop.dump to also_stored[1] as shop.dump", true, Kind::Backup),
            ("dump", "delete daily/shop.dump", false, Kind::Delete),
            ("snapshot", "take orders-daily-202611200200", true, Kind::Backup),
            ("offsite", "copy orders-daily-202611200200 to us-east-1", true, Kind::Backup),
            ("retention", "delete orders-daily-202610010200", false, Kind::Delete),
            ("hold", "hold", true, Kind::Other),
        ];
        for (by, action, made, expected) in table {
            assert_eq!(kind(by, action, made), expected, "{by}: {action}");
        }
    }
}

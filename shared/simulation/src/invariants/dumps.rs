//! A dump is about to be taken, or deleted.

use super::{BEFORE_DUE, Checks, last_due, owed};
use crate::{
    oracle::is_kept,
    policies::SimulatedPolicy,
    world::{World, store_address},
};
use dump::DumpDatabase;
use jiff::Timestamp;
use shared::{
    catalog::RecoveryPoint,
    policy::{PostgresGroup, RetentionRule, text::Name},
};
use std::collections::BTreeSet;
use storage::StoredBackup;

impl Checks {
    /// A dump is about to be taken on its schedule.
    pub(crate) fn before_dump(
        &mut self,
        world: &World,
        policy: &SimulatedPolicy,
        (home, take): (&str, &DumpDatabase),
        now: Timestamp,
    ) {
        if !self.enabled {
            return;
        }
        let rules = &policy.policy.postgres[&take.group];
        let when = rules.dumps.get(&take.reason).and_then(|d| d.schedule.as_ref());
        let due = when.and_then(|when| last_due(policy, when, now));
        self.expect(take.slot == due, world.now, "right-slot", || {
            format!(
                "a dump of {} is for {:?}, and {} was due at {due:?}",
                take.database, take.slot, take.reason
            )
        });
        let there = world.stores.get(home).and_then(|s| s.backups.get(&take.database));
        let same = |b: &&StoredBackup| {
            b.committed_manifest().is_some_and(|m| {
                m.reason == take.reason.as_str() && m.table == take.table && m.slot == take.slot
            })
        };
        let twice = there.into_iter().flatten().find(same).map(|b| b.key.clone());
        self.expect(twice.is_none(), world.now, "never-doubles", || {
            format!("a dump of {} is taken, and {twice:?} is of the same slot", take.database)
        });
    }

    /// A dump is about to be deleted.
    pub(crate) fn before_dump_delete(
        &mut self,
        world: &World,
        policy: &SimulatedPolicy,
        (group, rules): (&Name, &PostgresGroup),
        (address, place): (&str, usize),
        point: &RecoveryPoint,
        now: Timestamp,
    ) {
        if !self.enabled {
            return;
        }
        let empty = Vec::new();
        let all = world.stores.get(address).and_then(|s| s.backups.get(&point.database));
        let all = all.unwrap_or(&empty);
        let of: Option<&StoredBackup> = all.iter().find(|b| b.uri == point.arn);
        let manifest = of.and_then(|b| b.committed_manifest());
        let id = &point.arn;
        let at = world.now;
        let ours = manifest.is_some_and(|m| m.owner == policy.owner && m.group == group.as_str());
        self.expect(ours, at, "own-points-only", || {
            format!("{id} has no record of {}", policy.owner)
        });
        let (Some(backup), Some(manifest)) = (of, manifest) else { return };
        let held = backup.hold.is_some()
            || rules.legal_holds.iter().any(|h| h.eq_ignore_ascii_case(&backup.key));
        self.expect(!held, at, "held", || format!("{id} is held"));
        let locked = manifest.locked_until.is_some_and(|until| until > now);
        self.expect(!locked, at, "locked", || format!("{id} is locked"));
        let every = rules.all_dumps();
        let Some((reason, rule)) = every.iter().find(|(r, _)| r.as_str() == manifest.reason) else {
            self.expect(false, at, "no-rule", || {
                format!("{id}: no rule speaks of {}", manifest.reason)
            });
            return;
        };
        let own = place.checked_sub(1).and_then(|n| rules.copies[n].keep.as_ref());
        let keep = own.unwrap_or(&rule.keep);
        let good = |b: &&StoredBackup| {
            b.committed_manifest()
                .is_some_and(|m| m.reason == reason.as_str() && m.owner == policy.owner)
        };
        let times = times_of(all.iter().filter(good));
        let kept = backup.data_times().find(|t| is_kept(*t, &times, keep, now));
        self.expect(kept.is_none(), at, "retention", || {
            format!("{id} goes, and {keep:?} keeps {kept:?}")
        });
        let due = rule.schedule.as_ref().and_then(|when| owed(policy, when, now));
        let made = |due: Timestamp| times.iter().any(|t| *t <= now && *t + BEFORE_DUE >= due);
        self.expect(due.is_none_or(made), at, "backups-not-made", || {
            format!("{id} goes, and {reason} was due at {due:?}")
        });
        let newer = all
            .iter()
            .filter(|b| {
                b.is_committed() && b.uri != backup.uri && b.data_time() >= backup.data_time()
            })
            .count();
        let floor = rules.min_backups.get() as usize;
        self.expect(newer >= floor, at, "minimum", || {
            format!("{id} goes, and only {newer} newer ones stay")
        });
        if place == 0 {
            let needed = rules.copies.iter().find_map(|second| {
                let rule = second.keep.as_ref().unwrap_or(keep);
                lacks_copy(world, &store_address(second), all, backup, rule, now)
            });
            self.expect(needed.is_none(), at, "copy-still-needed", || {
                format!("{id} goes, and {needed:?}")
            });
        }
    }
}

fn times_of<'b>(all: impl Iterator<Item = &'b StoredBackup>) -> Vec<Timestamp> {
    all.flat_map(StoredBackup::data_times).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Whether a second place wants a copy of a dump and has none.
fn lacks_copy(
    world: &World,
    address: &str,
    home: &[StoredBackup],
    backup: &StoredBackup,
    keep: &RetentionRule,
    now: Timestamp,
) -> Option<String> {
    let manifest = backup.committed_manifest()?;
    let there = world.stores.get(address).and_then(|s| s.backups.get(&manifest.database));
    let there: Vec<&StoredBackup> = there.into_iter().flatten().collect();
    let same = |b: &&StoredBackup| {
        b.committed_manifest().is_some_and(|m| m.file.sha256 == manifest.file.sha256)
    };
    if there.iter().any(same) {
        return None;
    }
    let of =
        |b: &&StoredBackup| b.committed_manifest().is_some_and(|m| m.reason == manifest.reason);
    let times = times_of(home.iter().filter(of).chain(there.iter().copied().filter(of)));
    let wanted = backup.data_times().any(|t| is_kept(t, &times, keep, now));
    wanted.then(|| format!("{address} wants a copy and has none"))
}

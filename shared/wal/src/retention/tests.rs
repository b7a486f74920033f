//! Retention over random histories: promotions, forks back in time, gaps, upgrades, base backups that fail or are never
//! finished. What must hold is asked of [`compute_windows`], which restores, and not of the code that decides.

use super::*;
use crate::{
    layout::WalObjectName,
    name::{Lsn, SegmentName},
    repository::StoredWalFile,
    windows::{compute_windows, segments_on_path},
};
use codec::Sha256Digest;
use proptest::prelude::*;
use shared::{keep::wal::WalRun, plan::DeletionPermit};
use std::collections::BTreeSet;

const SIZE: u64 = 1 << 20;
const OWNER: &str = "acme";

#[derive(Debug)]
struct Here;

impl FullUri for Here {
    fn full_uri(&self, key: &str) -> String {
        format!("/archive/{key}")
    }
}

/// What happens next to the server or its archive.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// So many segments are archived; every so many hours one.
    Write(u8, u8),
    /// A segment is written and never archived.
    Lose,
    /// A base backup, over so many segments.
    Backup(u8),
    /// A base backup that leaves no record.
    FailedBackup,
    /// A standby becomes the primary.
    Promote,
    /// The server is restored to so many segments ago, and goes on from there on a new timeline.
    Fork(u8),
    /// A new cluster in the same archive.
    Upgrade,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => (1..12_u8, 1..30_u8).prop_map(|(n, h)| Event::Write(n, h)),
        4 => (0..3_u8).prop_map(Event::Backup),
        1 => Just(Event::Lose),
        1 => Just(Event::FailedBackup),
        1 => Just(Event::Promote),
        1 => (1..9_u8).prop_map(Event::Fork),
        1 => Just(Event::Upgrade),
    ];
    proptest::collection::vec(event, 1..40)
}

/// An archive that grows.
struct World {
    inventory: ArchiveInventory,
    system: u64,
    timeline: TimelineId,
    position: u64,
    ancestors: Vec<(TimelineId, Lsn)>,
    now: Timestamp,
}

impl World {
    fn new() -> Self {
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        let mut world = Self {
            inventory: ArchiveInventory::default(),
            system: 1,
            timeline: 1,
            position: 2,
            ancestors: Vec::new(),
            now,
        };
        world.own().system = 1;
        world
    }

    fn own(&mut self) -> &mut SystemInventory {
        self.inventory.system_mut(self.system)
    }

    fn hours(&mut self, hours: u8) {
        self.now += SignedDuration::from_hours(hours.into());
    }

    fn segment(&mut self) {
        let size = SegmentSize::from_bytes(SIZE).expect("a size");
        let name = SegmentName::from_number(self.timeline, self.position, size);
        let object = WalObjectName {
            file: WalFileName::Segment(name),
            sha256: Sha256Digest([7; 32]),
            segment_size: Some(size),
            last_commit: Some(self.now),
            extension: ".zst".into(),
        };
        let (system, modified) = (self.system, self.now);
        let stored =
            StoredWalFile { system, key: object.key(system), name: object, size: 9, modified };
        let at = (self.timeline, self.position);
        let own = self.own();
        own.segment_size = Some(size);
        own.newest_stored = Some(modified);
        own.segments.insert(at, stored);
        self.position += 1;
    }

    fn backup(&mut self, segments: u8) {
        let started_at = self.now;
        let start_lsn = Lsn(self.position * SIZE + 40);
        for _ in 0..=segments {
            self.segment();
        }
        self.now += SignedDuration::from_mins(10);
        let label = format!(
            "{}-{:08X}-{:016X}",
            started_at.strftime("%Y%m%dT%H%M%SZ"),
            self.timeline,
            start_lsn.0
        );
        let record = BaseBackupRecord {
            holdfast: 1,
            owner: OWNER.into(),
            group: "main".into(),
            system: self.system,
            label,
            version_num: 150_004,
            segment_bytes: SIZE,
            timeline: self.timeline,
            start_lsn,
            stop_lsn: Lsn(self.position * SIZE - 40),
            started_at,
            finished_at: self.now,
            from_standby: false,
            archives: Vec::new(),
            settings: BTreeMap::new(),
        };
        self.own().backups.push(record);
    }

    /// A new timeline from a position on; a segment that was left half-way is archived whole by the new one.
    fn branch(&mut self, at: u64) {
        self.ancestors.retain(|(_, end)| end.0 <= at * SIZE + 100);
        self.ancestors.push((self.timeline, Lsn(at * SIZE + 100)));
        self.position = at;
        let known: BTreeSet<_> = self.own().histories.timelines().chain([1]).collect();
        self.timeline = known.last().expect("one") + 1;
        let (timeline, ancestors) = (self.timeline, self.ancestors.clone());
        self.own().histories.insert(timeline, ancestors);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Write(n, hours) => {
                for _ in 0..n {
                    self.hours(hours);
                    self.segment();
                }
            }
            Event::Lose => self.position += 1,
            Event::Backup(segments) => {
                self.hours(1);
                self.backup(segments);
            }
            Event::FailedBackup => {
                self.hours(1);
                let label = format!("{}-x", self.now.strftime("%Y%m%dT%H%M%SZ"));
                self.own().unfinished.insert(label);
            }
            Event::Promote => self.branch(self.position),
            Event::Fork(back) => {
                // Not before this timeline began: the one before it is another's to fork.
                let began = self.ancestors.last().map_or(2, |(_, l)| l.0 / SIZE);
                let at = self.position.saturating_sub(back.into()).max(began);
                self.branch(at);
            }
            Event::Upgrade => {
                self.system += 1;
                (self.timeline, self.position) = (1, 2);
                self.ancestors.clear();
                let system = self.system;
                self.own().system = system;
                self.hours(1);
                self.backup(0);
            }
        }
    }

    fn decide(&self, config: &WalConfig) -> ArchiveRetention {
        let zone = ZoneName::default();
        let input = ArchiveRetentionInput {
            owner: OWNER,
            full_uri: &Here,
            inventory: &self.inventory,
            config,
            zone: &zone,
            holds: &[],
        };
        decide_archive_retention(&input, self.now)
    }

    /// Deletes what may go, so many steps of it: a run can be killed anywhere.
    fn apply(&mut self, verdict: &ArchiveRetention, mut steps: usize) {
        for (point, fate) in &verdict.backups {
            if matches!(fate, RetentionVerdict::Delete(..)) && steps > 0 {
                steps -= 1;
                let system = point.resource_id.parse().expect("a system");
                self.inventory.system_mut(system).backups.retain(|b| b.key() != point.id);
            }
        }
        let runs: Vec<&WalRun> = verdict
            .wal
            .values()
            .flat_map(|w| &w.deletable)
            .map(DeletionPermit::point)
            .take(steps)
            .collect();
        for run in runs {
            let own = self.inventory.system_mut(run.system);
            own.segments.retain(|_, s| !run.keys.contains(&s.key));
        }
    }
}

fn config(keep_days: u8, newest: Option<u8>) -> WalConfig {
    let mut json =
        serde_json::json!({"storage": {"bucket": "b-b"}, "keep": format!("{keep_days}d")});
    if let Some(newest) = newest {
        json["base_backups"] = serde_json::json!({"keep": {"newest": newest}});
    }
    serde_json::from_value(json).expect("a policy")
}

/// Every moment of the window that could be restored before, as ranges of positions on the way to each timeline.
fn restorable(world: &World, start: Timestamp) -> BTreeSet<(u64, TimelineId, u64, u64)> {
    let mut all = BTreeSet::new();
    for system in world.inventory.systems() {
        let live = timelines_of_window(system, start);
        for window in compute_windows(system).windows {
            if !live.contains(&window.timeline) {
                continue;
            }
            let path = segments_on_path(system, window.timeline, window.from_lsn.0 / SIZE);
            for segment in path.iter().filter(|s| s.present) {
                let stored = &system.segments[&(segment.timeline, segment.number)];
                if stored.modified >= start && (segment.number + 1) * SIZE <= window.until_lsn.0 {
                    all.insert((system.system, window.timeline, segment.number, 0));
                }
            }
        }
    }
    all
}

/// Base backups that can be restored by themselves.
fn whole_backups(world: &World) -> BTreeSet<String> {
    let systems = world.inventory.systems();
    let all = systems.iter().flat_map(|s| s.backups.iter().map(move |b| (s, b)));
    all.filter(|(s, b)| missing_wal(s, b).is_none()).map(|(_, b)| b.label.clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// No moment of the window is lost, no base backup that stays loses its WAL, wherever a run is killed.
    #[test]
    fn no_history_loses_a_moment_of_the_window_or_a_whole_base_backup(
        events in events(), keep_days in 1..9_u8, newest in proptest::option::of(1..4_u8), killed in 0..9_usize,
    ) {
        let rules = config(keep_days, newest);
        let mut world = World::new();
        for (i, event) in events.iter().enumerate() {
            world.happen(*event);
            let start = window_start(&rules, world.now);
            let (moments, whole) = (restorable(&world, start), whole_backups(&world));
            let verdict = world.decide(&rules);
            let going: BTreeSet<String> = verdict.backups.iter()
                .filter(|(_, v)| matches!(v, RetentionVerdict::Delete(..)))
                .map(|(p, _)| p.id.split('/').nth(2).unwrap_or_default().to_owned())
                .collect();
            world.apply(&verdict, if i % 2 == 0 { killed } else { usize::MAX });
            let after = restorable(&world, start);
            prop_assert!(moments.is_subset(&after), "lost {:?}", moments.difference(&after).collect::<Vec<_>>());
            let left = whole_backups(&world);
            let lost: Vec<_> = whole.difference(&left).filter(|l| !going.contains(*l)).collect();
            prop_assert!(lost.is_empty(), "base backups lost their WAL: {lost:?}");
            prop_assert!(whole.is_empty() || !left.is_empty(), "the last base backup went");
            if world.inventory.systems().iter().all(|s| s.unfinished.is_empty()) { continue; }
            let newest = world.inventory.systems().iter().flat_map(|s| &s.backups).map(|b| b.label.clone()).max();
            let unfinished = world.inventory.systems().iter().flat_map(|s| s.unfinished.clone()).max();
            if unfinished > newest {
                prop_assert!(going.is_empty() && verdict.wal.values().all(|w| w.deletable.is_empty()));
            }
        }
    }

    /// A clock that is ahead by more than the window deletes nothing.
    #[test]
    fn a_clock_that_jumps_ahead_deletes_nothing(events in events(), days in 10..4000_i64) {
        let rules = config(7, None);
        let mut world = World::new();
        for event in events {
            world.happen(event);
        }
        world.now += SignedDuration::from_hours(24 * days);
        let verdict = world.decide(&rules);
        prop_assert!(verdict.backups.iter().all(|(_, v)| !matches!(v, RetentionVerdict::Delete(..))));
        prop_assert!(verdict.wal.values().all(|w| w.deletable.is_empty()));
    }
}

/// A month of daily base backups and hourly segments.
fn month() -> World {
    let mut world = World::new();
    for _ in 0..30 {
        world.backup(0);
        (0..23).for_each(|_| {
            world.hours(1);
            world.segment();
        });
    }
    world
}

fn gone(verdict: &ArchiveRetention) -> (usize, usize) {
    let backups = verdict.backups.iter().filter(|(_, v)| matches!(v, RetentionVerdict::Delete(..)));
    let objects = verdict.wal.values().flat_map(|w| &w.deletable).map(|r| r.point().keys.len());
    (backups.count(), objects.sum())
}

#[test]
fn what_nothing_needs_goes_and_islands_stay_with_their_base_backups() {
    let mut world = month();
    let verdict = world.decide(&config(7, Some(10)));
    let (backups, objects) = gone(&verdict);
    assert_eq!(backups, 20, "ten stay");
    assert!(objects > 400, "{objects}: all WAL before the window but the islands");
    world.apply(&verdict, usize::MAX);
    let second = world.decide(&config(7, Some(10)));
    assert_eq!(gone(&second), (0, 20), "the islands of what went");
    world.apply(&second, usize::MAX);
    assert_eq!(gone(&world.decide(&config(7, Some(10)))), (0, 0), "and then nothing");
    assert_eq!(whole_backups(&world).len(), 10);
}

#[test]
fn in_doubt_nothing_goes() {
    type Doubt = fn(&mut World);
    let doubts: [(Doubt, &str); 5] = [
        (
            |w| {
                w.own().unfinished.insert("20260129T120000Z-x".into());
            },
            "is not complete",
        ),
        (|w| w.own().uncertain.push("the record x can't be read".into()), "can't be read"),
        (
            |w| {
                let last = *w.own().segments.keys().last().expect("one");
                let s = w.own().segments[&last].clone();
                w.own().segments.insert((3, last.1), s);
            },
            "history file 00000003.history is missing",
        ),
        (
            |w| {
                let b = w.own().backups.last().expect("one").clone();
                let n = *b.needed_segments().expect("some").start();
                w.own().segments.remove(&(1, n));
            },
            "is not whole",
        ),
        (|w| w.own().backups.clear(), "no base backup"),
    ];
    for (doubt, why) in doubts {
        let mut world = month();
        doubt(&mut world);
        let verdict = world.decide(&config(7, None));
        let wal: usize = verdict.wal.values().map(|w| w.deletable.len()).sum();
        assert_eq!(wal, 0, "{why}");
        assert!(
            verdict.suspended.iter().any(|s| s.contains(why)),
            "{why}: {:?}",
            verdict.suspended
        );
    }
}

#[test]
fn a_base_backup_that_the_policy_holds_stays_with_its_wal() {
    let mut world = month();
    let held = world.own().backups[3].clone();
    let zone = ZoneName::default();
    let rules = config(7, None);
    for hold in [held.label.clone(), held.key(), Here.full_uri(&held.key())] {
        let holds = [hold];
        let input = ArchiveRetentionInput {
            owner: OWNER,
            full_uri: &Here,
            inventory: &world.inventory,
            config: &rules,
            zone: &zone,
            holds: &holds,
        };
        let verdict = decide_archive_retention(&input, world.now);
        let fate = verdict.backups.iter().find(|(p, _)| p.id == held.key());
        assert!(matches!(fate, Some((_, RetentionVerdict::Keep(_)))), "{holds:?}");
    }
}

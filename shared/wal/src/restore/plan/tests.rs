use super::*;
use crate::{
    layout::WalObjectName, name::SegmentSize, name::WalFileName, repository::StoredWalFile,
};
use codec::Sha256Digest;
use std::collections::BTreeMap;

const MEGABYTES: u64 = 16;

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + 60 * minute).expect("a time")
}

fn size() -> SegmentSize {
    SegmentSize::from_bytes(MEGABYTES << 20).expect("a size")
}

/// Timeline 1 has the segments 1 to 9, each with a commit at its minute; a backup at minute 2 lies in segment 2.
/// Timeline 2 left it in segment 6, and has 6 to 8 with commits of minutes 26 to 28.
fn system() -> SystemInventory {
    let mut system =
        SystemInventory { system: 7, segment_size: Some(size()), ..SystemInventory::default() };
    let segments = (1..=9).map(|n| (1, n, n)).chain((6..=8).map(|n| (2, n, n + 20)));
    for (timeline, number, minute) in segments {
        let file = WalFileName::Segment(SegmentName::from_number(timeline, number, size()));
        let name = WalObjectName {
            file,
            sha256: Sha256Digest([1; 32]),
            segment_size: Some(size()),
            last_commit: Some(at(i64::try_from(minute).expect("few"))),
            extension: ".zst".into(),
        };
        let key = name.key(7);
        let stored = StoredWalFile { system: 7, name, key, size: 1, modified: at(0) };
        system.segments.insert((timeline, number), stored);
    }
    system.histories.insert(2, vec![(1, Lsn(size().segment_start(6).0 + 100))]);
    system.backups.push(backup(2, 2));
    system
}

fn backup(number: u64, minute: i64) -> BaseBackupRecord {
    let start = size().segment_start(number).0;
    BaseBackupRecord {
        holdfast: 1,
        owner: "acme@host-1".into(),
        group: "main".into(),
        system: 7,
        label: format!("backup-{number}"),
        version_num: 150_000,
        segment_bytes: size().bytes(),
        timeline: 1,
        start_lsn: Lsn(start + 40),
        stop_lsn: Lsn(start + 400),
        started_at: at(minute),
        finished_at: at(minute),
        from_standby: false,
        archives: Vec::new(),
        settings: BTreeMap::new(),
    }
}

#[test]
fn a_time_chooses_the_newest_backup_that_was_complete_before_it() {
    let mut system = system();
    system.backups.push(backup(4, 4));
    let plan = |minute| plan_recovery(&system, RecoveryTarget::Time(at(minute)), Some(1));
    assert_eq!(plan(3).expect("a plan").backup.label, "backup-2");
    assert_eq!(plan(4).expect("a plan").backup.label, "backup-4");
    assert_eq!(plan(1).expect_err("too early").kind, WalErrorKind::Refused);
    let later = plan(99).expect("everything that is there");
    assert!(
        !later.reaches_target
            && !later
                .settings("x", false)
                .iter()
                .any(|(n, v)| n == "recovery_target_time" && !v.is_empty())
    );
    let within = plan(5).expect("a plan");
    assert_eq!(within.last_segment, "000000010000000000000006", "the first with a later commit");
    assert!(
        within
            .settings("x", false)
            .contains(&("recovery_target_time".into(), "2026-09-21 14:18:20.000000+00".into()))
    );
}

#[test]
fn the_newest_timeline_is_followed_and_its_parent_only_to_where_it_was_left() {
    let system = system();
    let plan = plan_recovery(&system, RecoveryTarget::Latest, None).expect("a plan");
    assert_eq!((plan.timeline, plan.last_segment.as_str()), (2, "000000020000000000000008"));
    let path = segments_on_path(&system, 2, 2);
    let seen: Vec<_> = path.iter().map(|s| (s.timeline, s.number)).collect();
    assert_eq!(seen, [(1, 2), (1, 3), (1, 4), (1, 5), (2, 6), (2, 7), (2, 8)]);
    let mut late = system.clone();
    late.backups = vec![backup(7, 7)];
    let refused = plan_recovery(&late, RecoveryTarget::Latest, Some(2))
        .expect_err("it lies on the branch that was left");
    assert!(refused.why.contains("no base backup"), "{refused}");
    plan_recovery(&late, RecoveryTarget::Latest, Some(1)).expect("the other branch");
    plan_recovery(&system, RecoveryTarget::Latest, Some(3)).expect_err("no such history");
}

#[test]
fn a_gap_refuses_what_lies_behind_it_and_nothing_before_it() {
    let mut system = system();
    system.segments.remove(&(1, 5));
    plan_recovery(&system, RecoveryTarget::Latest, Some(1)).expect_err("behind the gap");
    plan_recovery(&system, RecoveryTarget::Time(at(7)), Some(1)).expect_err("behind the gap");
    plan_recovery(&system, RecoveryTarget::Time(at(3)), Some(1)).expect("before it");
    let lsn = |number: u64| RecoveryTarget::Lsn(Lsn(size().segment_start(number).0 + 4_000));
    plan_recovery(&system, lsn(4), Some(1)).expect("before it");
    plan_recovery(&system, lsn(6), Some(1)).expect_err("behind it");
    let mut ended = system.clone();
    ended.segments.retain(|(t, n), _| *t == 1 && *n < 5);
    ended.histories = crate::TimelineHistories::default();
    plan_recovery(&ended, lsn(12), Some(1)).expect_err("beyond the archive's end");
    let windows = crate::windows::compute_windows(&system);
    assert_eq!(windows.gaps.len(), 2, "on the way to both timelines: {windows:?}");
    assert!(!windows.is_whole());
}

#[test]
fn a_restored_server_neither_archives_nor_follows() {
    let plan = plan_recovery(&system(), RecoveryTarget::Latest, Some(1)).expect("a plan");
    let settings = plan.settings("holdfast wal fetch %f %p", false);
    for (name, value) in
        [("archive_mode", "off"), ("primary_conninfo", ""), ("recovery_target_timeline", "1")]
    {
        assert!(settings.contains(&(name.into(), value.into())), "{name}");
    }
}

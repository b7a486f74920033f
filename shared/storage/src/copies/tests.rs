use super::*;
use crate::{
    catalogue::BackupKind,
    model::{committed_backup, foreign_backup},
};
use jiff::SignedDuration;
use std::num::NonZeroU32;

fn nth_day(day: i64) -> Timestamp {
    let first: Timestamp = "2026-11-01T02:00:00Z".parse().expect("a time");
    first + SignedDuration::from_hours(24 * (day - 1))
}

fn daily_backups(days: impl IntoIterator<Item = i64>) -> Vec<StoredBackup> {
    days.into_iter()
        .map(|d| committed_backup(&format!("{d:02}.dump"), "orders", "daily", nth_day(d)))
        .collect()
}

fn newest_two() -> RetentionRule {
    RetentionRule { newest: NonZeroU32::new(2), ..RetentionRule::default() }
}

fn missing_keys(home: &[StoredBackup], there: &[StoredBackup], now: Timestamp) -> Vec<String> {
    let all = missing_copies(home, there, "daily", &newest_two(), now);
    all.iter().map(|m| format!("{}: {}", m.backup.key, m.reasons.join(", "))).collect()
}

#[test]
fn what_the_rule_of_the_second_place_keeps_is_missing_until_it_is_there() {
    let home = daily_backups(1..=4);
    let said = ["03.dump: newest 2 of 2", "04.dump: newest 1 of 2"];
    assert_eq!(missing_keys(&home, &[], nth_day(5)), said);
    assert_eq!(missing_keys(&home, &daily_backups([4]), nth_day(5)), said[..1]);
    assert!(missing_keys(&home, &daily_backups([3, 4]), nth_day(5)).is_empty());
}

#[test]
fn a_copy_is_the_same_bytes_under_any_name() {
    let home = daily_backups([4]);
    let copy = StoredBackup { key: "2026/x.dump".into(), ..home[0].clone() };
    assert!(missing_keys(&home, std::slice::from_ref(&copy), nth_day(5)).is_empty());
    let other = copy.with_manifest(|m| m.file.sha256 = "f".repeat(64));
    assert_eq!(missing_keys(&home, &[other], nth_day(5)).len(), 1);
}

#[test]
fn what_is_newer_there_counts_so_that_nothing_is_copied_only_to_be_let_go() {
    assert_eq!(
        missing_keys(&daily_backups([3, 4]), &daily_backups([5, 6]), nth_day(7)),
        Vec::<String>::new()
    );
    assert_eq!(
        missing_keys(&daily_backups([3, 4]), &daily_backups([5]), nth_day(7)),
        ["04.dump: newest 2 of 2"]
    );
}

#[test]
fn other_reasons_and_what_has_no_commit_record_are_neither_copied_nor_counted() {
    let mut home = daily_backups([4]);
    home.push(committed_backup("manual.dump", "orders", "manual", nth_day(5)));
    home.push(foreign_backup("foreign.dump", nth_day(5)));
    let mut faulty = daily_backups([5]);
    faulty[0].kind = cut();
    home.append(&mut faulty);
    assert_eq!(missing_keys(&home, &[], nth_day(6)), ["04.dump: newest 1 of 2"]);
    // There, what is no backup any more is no copy.
    let mut there = daily_backups([4]);
    there[0].kind = cut();
    assert_eq!(missing_keys(&daily_backups([4]), &there, nth_day(6)).len(), 1);
}

/// What a damaged dump is.
fn cut() -> BackupKind {
    let (why, hint) = ("cut".into(), String::new());
    BackupKind::Faulty {
        parsed_key: None,
        manifest: None,
        kind: crate::StoreErrorKind::Damaged,
        why,
        hint,
    }
}

#[test]
fn by_a_clock_that_is_behind_every_dump_is_of_the_future_and_stays() {
    let home = daily_backups([3, 4, 5]);
    let kept = missing_keys(&home, &[], nth_day(2));
    assert_eq!(kept.len(), 3, "{kept:?}");
    // The newest data time is the now of whoever copies right after dumping.
    let now = newest_data_time(&home, "daily").expect("there are some");
    assert_eq!(now, nth_day(5) + SignedDuration::from_mins(1));
    assert_eq!(missing_keys(&home, &[], now).len(), 2);
    assert_eq!(newest_data_time(&home, "weekly"), None);
}

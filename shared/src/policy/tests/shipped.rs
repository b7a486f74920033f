//! The shipped policies run on an account as AWS gives it.

use crate::{
    catalog::Location,
    policy::{DatabaseGroup, Policy, RetentionRule},
    time::CronSchedule,
};
use jiff::{SignedDuration, Timestamp};
use std::{collections::BTreeMap, num::NonZeroU32, path::Path};

/// Manual snapshots of instances that an account may have in a region; clusters have a quota of their own of the same size.
/// <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Limits.html>
const QUOTA: usize = 100;

/// How often somebody asks for an on-demand snapshot of every database: deployments, incidents.
const DEMANDED_EVERY: SignedDuration = SignedDuration::from_hours(10 * 24);

fn shipped_policies() -> Vec<(String, Policy)> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../policies"));
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).expect("policies") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|e| e == "yaml") {
            let text = std::fs::read_to_string(&path).expect("a policy");
            let policy =
                Policy::parse(&text).unwrap_or_else(|e| panic!("{}:\n{e}", path.display()));
            all.push((text, policy));
        }
    }
    assert_eq!(all.len(), 5);
    all
}

/// How many points of one database a rule keeps at most, when one is made at each of these times.
fn count_kept(keep: &RetentionRule, made: &dyn Fn(SignedDuration) -> usize) -> usize {
    let counts = [keep.newest, keep.hourly, keep.daily, keep.weekly, keep.monthly, keep.yearly];
    let counted: usize = counts.iter().flatten().map(|n: &NonZeroU32| n.get() as usize).sum();
    // One more: the next is made before the oldest goes.
    keep.age.as_ref().map_or(0, |age| made(age.duration()) + 1) + counted
}

/// Manual snapshots that a policy holds in each account and region once it has run for a year.
fn steady_state(policy: &Policy) -> BTreeMap<String, usize> {
    let mut held = BTreeMap::new();
    let home = Location::home_from_policy(policy);
    for group in policy.databases.values() {
        let databases = database_count(group);
        for snapshots in group.snapshots.values() {
            let made = |span: SignedDuration| match &snapshots.schedule {
                Some(when) => slot_count(&CronSchedule::new(when, &policy.time_zone), span),
                None => usize::try_from(span.as_secs() / DEMANDED_EVERY.as_secs()).expect("small"),
            };
            *held.entry(home.to_string()).or_default() +=
                databases * count_kept(&snapshots.keep, &made);
        }
        for copy in &group.copies {
            let there = Location::for_destination(policy, &copy.to).expect("a region");
            let daily =
                |span: SignedDuration| usize::try_from(span.as_hours() / 24).expect("small");
            let each = count_kept(&copy.keep, &daily);
            *held.entry(there.to_string()).or_default() += databases * each * copy.of.len();
            // What RDS can't share is copied at home first, one of each database at a time.
            if there.account != home.account {
                *held.entry(home.to_string()).or_default() += databases;
            }
        }
    }
    held
}

fn database_count(group: &DatabaseGroup) -> usize {
    group.expect.map_or(group.select.identifiers.len(), |n| n.get() as usize)
}

fn slot_count(schedule: &CronSchedule, span: SignedDuration) -> usize {
    let until: Timestamp = "2026-11-27T12:00:00Z".parse().expect("a time");
    let mut at = schedule.next_due(until - span);
    let mut count = 0;
    while let Some(due) = at.filter(|due| *due <= until) {
        count += 1;
        at = schedule.next_due(due);
    }
    count
}

#[test]
fn each_holds_no_more_manual_snapshots_than_a_default_account_may_have() {
    for (_, policy) in shipped_policies() {
        for (place, count) in steady_state(&policy) {
            assert!(count <= QUOTA, "{}: {count} manual snapshots in {place}", policy.company);
        }
    }
}

#[test]
fn the_count_sees_a_fleet_that_does_not_fit() {
    let (text, _) = shipped_policies()
        .into_iter()
        .find(|(_, p)| p.company.as_str() == "lomash-wood")
        .expect("it");
    let daily = "      daily: { schedule: { cron: \"0 2 * * *\" }, keep: { for: 35d } }\n      pre-deploy:\n";
    let policy = Policy::parse(&text.replacen("      pre-deploy:\n", daily, 1)).expect("a policy");
    let home = Location::home_from_policy(&policy).to_string();
    assert!(steady_state(&policy)[&home] > 8 * 35, "{:?}", steady_state(&policy));
}

#[test]
fn the_copy_in_s3_that_listings_leaves_off_can_be_switched_on() {
    let (text, policy) =
        shipped_policies().into_iter().find(|(_, p)| p.company.as_str() == "listings").expect("it");
    let off = policy.postgres.values().all(|g| g.copies.is_empty()) && policy.home.is_none();
    assert!(off && policy.buckets.is_empty(), "BACKUP_ENABLE_S3 is false");
    let on = Policy::parse(&text.replace("#s3 ", "")).expect("a policy");
    assert_eq!(on.postgres.values().map(|g| g.copies.len()).sum::<usize>(), 1);
    assert_eq!(on.buckets.len(), 1);
}

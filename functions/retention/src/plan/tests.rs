use super::*;
use shared::model::{at, automated, database, point, policy, seen};

const POLICY: &str = r#"
holdfast: 1
company: acme
home: { account: "111122223333", region: eu-west-1 }
destinations:
  dr: { region: us-east-1, kms_key: "arn:aws:kms:us-east-1:111122223333:key/dr" }
databases:
  fleet:
    select: { like: ["acme-*"] }
    objectives: { max_age: 25h }
    keep_at_least: 2
    snapshots:
      daily: { when: { cron: "0 2 * * *" }, keep: { for: 7d } }
    copies:
      - { to: dr, of: [daily], keep: { newest: 3 }, max_age: 26h }
limits: { delete: { count: 10, share: 80% } }
"#;

const NOW: &str = "2026-11-20T12:00:00Z";

/// A database with a daily point for each of so many days back, and its three newest copied.
fn history(
    policy: &Policy,
    id: &str,
    days: std::ops::Range<i64>,
) -> (Database, Vec<Point>, Vec<Point>) {
    let db = database(id, at(NOW));
    let newest = at("2026-11-20T02:00:00Z");
    let points: Vec<_> = days
        .map(|d| point(policy, &db, "daily", newest - jiff::SignedDuration::from_hours(24 * d)))
        .collect();
    let copies = points.iter().take(3).map(|p| {
        let mut copy = p.clone();
        copy.arn = p.arn.replace("eu-west-1", "us-east-1");
        copy.kms_key = Some("arn:aws:kms:us-east-1:111122223333:key/dr".into());
        copy.marks.copy_of = Some(p.arn.clone());
        copy
    });
    let copies = copies.collect();
    (db, points, copies)
}

use shared::catalog::Database;

fn world(
    policy: &Policy,
    databases: Vec<Database>,
    points: Vec<Point>,
    copies: Vec<Point>,
) -> Seen {
    let mut seen = seen(policy, databases, points);
    let dr = seen.places.keys().find(|p| p.region.as_str() == "us-east-1").cloned().expect("dr");
    seen.places.get_mut(&dr).expect("dr").points = copies;
    seen
}

fn print(letting: &Letting) -> String {
    let steps = letting.plan.steps.iter().map(|s| format!("{}: {}", s.action, s.because));
    let findings = letting.plan.findings.iter().map(ToString::to_string);
    let tail = [format!("kept {}, refused {}", letting.kept, letting.refused)];
    steps.chain(findings).chain(tail).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_the_rule_lets_go_goes_oldest_first_and_copies_by_their_own_rule() {
    let policy = policy(POLICY);
    let (a, points, mut copies) = history(&policy, "acme-a", 0..9);
    // A fourth copy, which "newest: 3" no longer keeps.
    let mut fourth = copies[2].clone();
    fourth.id = "acme-a-daily-202611160200".into();
    fourth.arn = fourth.arn.replace("1118", "1116");
    fourth.data_time = Some(at("2026-11-16T02:00:00Z"));
    fourth.marks.copy_of =
        Some("arn:aws:rds:eu-west-1:111122223333:snapshot:acme-a-daily-202611160200".into());
    copies.push(fourth);
    insta::assert_snapshot!(print(&plan(&policy, &world(&policy, vec![a], points, copies), at(NOW))), @r#"
    delete acme-a-daily-202611120200 at eu-west-1 in 111122223333: no line of the rule for "daily" keeps it
    delete acme-a-daily-202611130200 at eu-west-1 in 111122223333: no line of the rule for "daily" keeps it
    delete acme-a-daily-202611160200 at us-east-1 in 111122223333: no line of the rule for "daily" keeps it
    kept 10, refused 0
    "#);
}

#[test]
fn a_runaway_deletes_nothing_and_says_how_to_go_on() {
    let policy = policy(POLICY);
    let (a, points, copies) = history(&policy, "acme-a", 0..30);
    insta::assert_snapshot!(print(&plan(&policy, &world(&policy, vec![a], points, copies), at(NOW))), @"
    critical eu-west-1 in 111122223333 runaway: 23 of 30 good points would go at once, over the limit of 10 or 80%; nothing goes; run `holdfast plan retention` to see them; if they are right, raise limits.delete in the policy for one run
    kept 33, refused 23
    ");
}

#[test]
fn a_place_that_was_not_seen_loses_nothing_and_neither_does_what_it_still_wants() {
    let policy = policy(POLICY);
    let (a, points, copies) = history(&policy, "acme-a", 0..9);
    let mut seen = world(&policy, vec![a], points, copies);
    let dr = seen.places.keys().find(|p| p.region.as_str() == "us-east-1").cloned().expect("dr");
    seen.places.remove(&dr);
    seen.gaps.push(shared::catalog::Gap {
        place: dr,
        why: "describe DB snapshots: timed out".into(),
        mend: "x".into(),
    });
    insta::assert_snapshot!(print(&plan(&policy, &seen, at(NOW))), @"
    critical us-east-1 in 111122223333 gap: describe DB snapshots: timed out; x
    kept 9, refused 0
    ");
    let home = Place::home(&policy);
    seen.places.remove(&home);
    assert!(plan(&policy, &seen, at(NOW)).plan.steps.is_empty());
}

#[test]
fn a_source_whose_copy_is_not_good_yet_stays() {
    let policy = policy(POLICY);
    let (a, points, _) = history(&policy, "acme-a", 6..9);
    let now = points[0].data_time.expect("a time") + jiff::SignedDuration::from_hours(24);
    let mut seen = world(&policy, vec![a.clone()], points, vec![]);
    // Even when all have expired: the newest three are still wanted at dr.
    seen.places
        .get_mut(&Place::home(&policy))
        .expect("home")
        .points
        .push(automated(&policy, &a, now));
    let later = now + jiff::SignedDuration::from_hours(24);
    insta::assert_snapshot!(print(&plan(&policy, &seen, later)), @"kept 3, refused 0");
}

#[test]
fn a_clock_that_jumps_ahead_deletes_nothing() {
    let policy = policy(POLICY);
    let (a, points, copies) = history(&policy, "acme-a", 0..9);
    let seen = world(&policy, vec![a], points, copies);
    for years in [1, 10, 100] {
        let now = at(NOW) + jiff::SignedDuration::from_hours(24 * 366 * years);
        assert!(plan(&policy, &seen, now).plan.steps.is_empty(), "{years} years");
    }
}

#[test]
fn the_points_of_a_database_that_is_gone_go_down_to_the_floor_and_no_further() {
    let policy = policy(&POLICY.replace("count: 10, share: 80%", "count: 100, share: 100%"));
    let (_, points, copies) = history(&policy, "acme-gone", 20..26);
    let (b, more, _) = history(&policy, "acme-b", 0..1);
    let mut all = points;
    all.extend(more);
    let letting = plan(&policy, &world(&policy, vec![b], all, copies), at(NOW));
    insta::assert_snapshot!(print(&letting), @r#"
    delete acme-gone-daily-202610260200 at eu-west-1 in 111122223333: no line of the rule for "daily" keeps it
    delete acme-gone-daily-202610270200 at eu-west-1 in 111122223333: no line of the rule for "daily" keeps it
    delete acme-gone-daily-202610280200 at eu-west-1 in 111122223333: no line of the rule for "daily" keeps it
    delete acme-gone-daily-202610290200 at eu-west-1 in 111122223333: no line of the rule for "daily" keeps it
    kept 6, refused 0
    "#);
}

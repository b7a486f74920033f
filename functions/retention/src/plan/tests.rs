use super::*;
use jiff::SignedDuration;
use shared::{
    catalog::{HoldfastTags, RecoveryPointState},
    model::{
        automated_snapshot, db_cluster, db_instance, home_inventory, owned_snapshot, parse_policy,
        parse_time,
    },
};

const POLICY: &str = r#"
holdfast: 1
company: acme
home: { account: "111122223333", region: eu-west-1 }
destinations:
  dr: { region: us-east-1, kms_key: "arn:aws:kms:us-east-1:111122223333:key/dr" }
databases:
  fleet:
    select: { include: ["acme-*"] }
    objectives: { max_age: 25h }
    min_backups: 2
    snapshots:
      daily: { schedule: { cron: "0 2 * * *" }, keep: { for: 7d } }
    copies:
      - { to: dr, of: [daily], keep: { newest: 3 }, max_age: 26h }
limits: { delete: { count: 10, share: 80% } }
"#;

const NOW: &str = "2026-11-20T12:00:00Z";

/// A database with a daily point for each of so many days back, and its three newest copied.
fn snapshot_history(
    policy: &Policy,
    id: &str,
    days: std::ops::Range<i64>,
) -> (RdsDatabase, Vec<RecoveryPoint>, Vec<RecoveryPoint>) {
    let db = db_instance(id, parse_time(NOW));
    let newest = parse_time("2026-11-20T02:00:00Z");
    let points: Vec<_> = days
        .map(|d| owned_snapshot(policy, &db, "daily", newest - SignedDuration::from_hours(24 * d)))
        .collect();
    let copies = points.iter().take(3).map(|p| {
        let mut copy = p.clone();
        copy.arn = p.arn.replace("eu-west-1", "us-east-1");
        copy.kms_key = Some("arn:aws:kms:us-east-1:111122223333:key/dr".into());
        copy.tags.copy_of = Some(p.arn.clone());
        copy.tags.data_time = p.data_time;
        copy
    });
    let copies = copies.collect();
    (db, points, copies)
}

use shared::catalog::RdsDatabase;

fn inventory_with(
    policy: &Policy,
    databases: Vec<RdsDatabase>,
    points: Vec<RecoveryPoint>,
    copies: Vec<RecoveryPoint>,
) -> Inventory {
    let mut seen = home_inventory(policy, databases, points);
    // Some policies have no destination.
    if let Some((_, dr)) = seen.locations.iter_mut().find(|(p, _)| p.region.as_str() == "us-east-1")
    {
        dr.points = copies;
    }
    seen
}

fn format_plan(letting: &RetentionPlan) -> String {
    let steps = letting.plan.steps.iter().map(|s| format!("{}: {}", s.action, s.reason));
    let findings = letting.plan.findings.iter().map(ToString::to_string);
    let tail = [format!("kept {}, refused {}", letting.retained, letting.blocked)];
    steps.chain(findings).chain(tail).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_the_rule_lets_go_goes_oldest_first_and_copies_by_their_own_rule() {
    let policy = parse_policy(POLICY);
    let (a, points, mut copies) = snapshot_history(&policy, "acme-a", 0..9);
    // A fourth copy, which "newest: 3" no longer keeps.
    let mut fourth = copies[2].clone();
    fourth.id = "acme-a-daily-202611160200".into();
    fourth.arn = fourth.arn.replace("1118", "1116");
    fourth.data_time = Some(parse_time("2026-11-16T02:00:00Z"));
    fourth.tags.data_time = fourth.data_time;
    fourth.tags.copy_of =
        Some("arn:aws:rds:eu-west-1:111122223333:snapshot:acme-a-daily-202611160200".into());
    copies.push(fourth);
    insta::assert_snapshot!(format_plan(&plan(&policy, &inventory_with(&policy, vec![a], points, copies), parse_time(NOW))), @r#"
    delete acme-a-daily-202611120200 at eu-west-1 in 111122223333: no line of the rule for "daily" keeps it
    delete acme-a-daily-202611130200 at eu-west-1 in 111122223333: no line of the rule for "daily" keeps it
    delete acme-a-daily-202611160200 at us-east-1 in 111122223333: no line of the rule for "daily" keeps it
    kept 10, refused 0
    "#);
}

#[test]
fn a_runaway_deletes_nothing_and_says_how_to_go_on() {
    let policy = parse_policy(POLICY);
    let (a, points, copies) = snapshot_history(&policy, "acme-a", 0..30);
    insta::assert_snapshot!(format_plan(&plan(&policy, &inventory_with(&policy, vec![a], points, copies), parse_time(NOW))), @"
    critical eu-west-1 in 111122223333 delete-limit-exceeded: 23 of 30 good points would go at once, over the limit of 10 or 80%; nothing goes; see them by `holdfast plan retention`; if they are right, write limits: { delete: { count: 23, share: 77% } } in the policy, and take it back after one run
    kept 33, refused 23
    ");
}

#[test]
fn a_place_that_was_not_seen_loses_nothing_and_neither_does_what_it_still_wants() {
    let policy = parse_policy(POLICY);
    let (a, points, copies) = snapshot_history(&policy, "acme-a", 0..9);
    let mut seen = inventory_with(&policy, vec![a], points, copies);
    let dr = seen.locations.keys().find(|p| p.region.as_str() == "us-east-1").cloned().expect("dr");
    seen.locations.remove(&dr);
    seen.errors.push(shared::catalog::ObservationError {
        location: dr,
        message: "describe DB snapshots: timed out".into(),
        hint: "x".into(),
    });
    insta::assert_snapshot!(format_plan(&plan(&policy, &seen, parse_time(NOW))), @"
    critical us-east-1 in 111122223333 observation-failed: describe DB snapshots: timed out; x
    kept 9, refused 0
    ");
    let home = Location::home_from_policy(&policy);
    seen.locations.remove(&home);
    assert!(plan(&policy, &seen, parse_time(NOW)).plan.steps.is_empty());
}

#[test]
fn a_source_whose_copy_is_not_good_yet_stays() {
    let policy = parse_policy(POLICY);
    let (a, points, _) = snapshot_history(&policy, "acme-a", 6..9);
    let now = points[0].data_time.expect("a time") + SignedDuration::from_hours(24);
    let mut seen = inventory_with(&policy, vec![a.clone()], points, vec![]);
    // Even when all have expired: the newest three are still wanted at dr.
    seen.locations
        .get_mut(&Location::home_from_policy(&policy))
        .expect("home")
        .points
        .push(automated_snapshot(&policy, &a, now));
    let later = now + SignedDuration::from_hours(24);
    insta::assert_snapshot!(format_plan(&plan(&policy, &seen, later)), @"kept 3, refused 0");
}

#[test]
fn a_clock_that_jumps_ahead_deletes_nothing() {
    let policy = parse_policy(POLICY);
    let (a, points, copies) = snapshot_history(&policy, "acme-a", 0..9);
    let seen = inventory_with(&policy, vec![a], points, copies);
    for years in [1, 10, 100] {
        let now = parse_time(NOW) + SignedDuration::from_hours(24 * 366 * years);
        assert!(plan(&policy, &seen, now).plan.steps.is_empty(), "{years} years");
    }
}

#[test]
fn the_points_of_a_database_that_is_gone_go_down_to_the_floor_and_no_further() {
    let policy = parse_policy(&POLICY.replace("count: 10, share: 80%", "count: 100, share: 100%"));
    let (_, points, copies) = snapshot_history(&policy, "acme-gone", 20..26);
    let (b, more, _) = snapshot_history(&policy, "acme-b", 0..1);
    let mut all = points;
    all.extend(more);
    let letting = plan(&policy, &inventory_with(&policy, vec![b], all, copies), parse_time(NOW));
    insta::assert_snapshot!(format_plan(&letting), @r#"
    delete acme-gone-daily-202610260200 at eu-west-1 in 111122223333: no line of the rule for "daily" keeps it
    delete acme-gone-daily-202610270200 at eu-west-1 in 111122223333: no line of the rule for "daily" keeps it
    delete acme-gone-daily-202610280200 at eu-west-1 in 111122223333: no line of the rule for "daily" keeps it
    delete acme-gone-daily-202610290200 at eu-west-1 in 111122223333: no line of the rule for "daily" keeps it
    kept 6, refused 0
    "#);
}

/// A policy with other rules for the fleet.
fn fleet_policy(rules: &str) -> Policy {
    let head = POLICY.split("    objectives:").next().expect("a head");
    parse_policy(&format!("{head}{rules}limits: {{ delete: {{ count: 1000, share: 100% }} }}\n"))
}

#[test]
fn the_runaways_hint_works_and_a_failed_point_is_no_good_one_that_goes() {
    let (a, mut points, copies) = snapshot_history(&parse_policy(POLICY), "acme-a", 0..30);
    // Forty failed ones beside them change nothing of the counts.
    for n in 0..40 {
        let mut failed = points[3].clone();
        failed.id = format!("failed-{n}");
        failed.arn = format!("arn:failed-{n}");
        (failed.state, failed.data_time) = (RecoveryPointState::Failed("failed".into()), None);
        points.push(failed);
    }
    let yaml = POLICY.replace("limits: { delete: { count: 10, share: 80% } }\n", "");
    let seen = inventory_with(&parse_policy(&yaml), vec![a], points, copies);
    let refused = plan(&parse_policy(&yaml), &seen, parse_time(NOW));
    assert!(refused.plan.steps.is_empty());
    assert_eq!((refused.blocked_steps.len(), refused.blocked), (63, 63), "a dry run shows them");
    let finding = refused
        .plan
        .findings
        .iter()
        .find(|f| f.code == FindingCode::DeleteLimitExceeded)
        .expect("refused");
    assert!(finding.message.starts_with("23 of 30 good points"), "{finding}");
    let limits =
        finding.hint.split_once("write ").and_then(|(_, l)| l.split_once(" in the policy"));
    let raised = format!("{yaml}{}\n", limits.expect("a hint").0);
    let raised = plan(&parse_policy(&raised), &seen, parse_time(NOW));
    assert_eq!((raised.plan.steps.len(), raised.blocked), (63, 0));
}

#[test]
fn a_policy_lets_nothing_of_another_home_go_though_each_is_the_others_destination() {
    let ireland = parse_policy(POLICY);
    let virginia = parse_policy(
        &POLICY
            .replace(
                "region: us-east-1, kms_key: \"arn:aws:kms:us-east-1:111122223333:key/dr\"",
                "region: eu-west-1",
            )
            .replace(
                "home: { account: \"111122223333\", region: eu-west-1 }",
                "home: { account: \"111122223333\", region: us-east-1 }",
            ),
    );
    // Both have a database of one name; each region holds the one's originals and the other's copies.
    let (a, here, from_ireland) = snapshot_history(&ireland, "acme-a", 0..30);
    let (mut b, mut there, mut from_virginia) = snapshot_history(&virginia, "acme-a", 0..30);
    b.resource_id = "db-virginia".into();
    for p in there.iter_mut().chain(&mut from_virginia) {
        p.resource_id = "db-virginia".into();
        p.tags.resource_id = Some("db-virginia".into());
    }
    let seen_by = |policy: &Policy, database: RdsDatabase| {
        let mut seen = home_inventory(policy, vec![database], vec![]);
        for (place, fleet) in &mut seen.locations {
            let home = place.region.as_str() == "eu-west-1";
            let (own, copies) =
                if home { (&here, &from_virginia) } else { (&there, &from_ireland) };
            fleet.points = own.iter().chain(copies).cloned().collect();
        }
        seen
    };
    for (policy, database) in [(&ireland, a), (&virginia, b)] {
        let seen = seen_by(policy, database);
        let going: Vec<_> = evaluate_points(policy, &seen, parse_time(NOW))
            .into_iter()
            .filter(|j| matches!(j.verdict, RetentionVerdict::Delete(..)))
            .collect();
        assert!(!going.is_empty());
        for j in going {
            assert!(
                j.point.is_owned_by(&policy.owner()),
                "{} of {:?}",
                j.point.id,
                j.point.tags.owner
            );
            assert_eq!(*j.place, Location::home_from_policy(policy), "three copies stay");
        }
    }
}

#[test]
fn a_renamed_database_is_not_gone_and_its_points_wait_for_backups_to_go_on() {
    let policy = parse_policy(POLICY);
    let (mut a, points, copies) = snapshot_history(&policy, "acme-a", 2..40);
    // Renamed within the policy: stale, under any name.
    a.id = "acme-z".into();
    let letting = plan(
        &policy,
        &inventory_with(&policy, vec![a.clone()], points.clone(), copies.clone()),
        parse_time(NOW),
    );
    assert!(letting.plan.steps.is_empty(), "{}", format_plan(&letting));
    // After a blue/green switch it has a name that no group selects, and another database has its old one.
    a.id = "old-blue".into();
    let green =
        RdsDatabase { resource_id: "db-green".into(), ..db_instance("acme-a", parse_time(NOW)) };
    let letting =
        plan(&policy, &inventory_with(&policy, vec![a, green], points, copies), parse_time(NOW));
    insta::assert_snapshot!(format_plan(&letting), @"
    warning acme-a deletion-suspended: 33 of its points at eu-west-1 in 111122223333 would go and stay: it is there as old-blue and in no group of the policy, so no backups of it are made; nothing of it goes; see `holdfast status` for what keeps its backups from being made
    kept 41, refused 0
    ");
}

#[test]
fn an_instance_and_a_cluster_of_one_name_are_judged_apart() {
    let policy = parse_policy(&POLICY.replace("min_backups: 2", "min_backups: 3"));
    let (a, mut points, _) = snapshot_history(&policy, "acme-a", 20..26);
    let twin = db_cluster("acme-a", parse_time(NOW));
    points.extend((20..26).map(|d| {
        owned_snapshot(
            &policy,
            &twin,
            "daily",
            parse_time(NOW) - SignedDuration::from_hours(24 * d),
        )
    }));
    // The instance is gone and the cluster lives.
    drop(a);
    let seen = inventory_with(&policy, vec![twin], points, vec![]);
    let going: Vec<_> = evaluate_points(&policy, &seen, parse_time(NOW))
        .into_iter()
        .filter(|j| matches!(j.verdict, RetentionVerdict::Delete(..)))
        .map(|j| j.point.kind)
        .collect();
    assert_eq!(
        going,
        [shared::catalog::DatabaseKind::Instance; 3],
        "the floor of the one is none of the other's"
    );
}

#[test]
fn retention_stops_when_backups_stop_without_any_key_for_it() {
    // RDS's own go on; every CreateDBSnapshot is refused for three weeks.
    let rules =
        "    snapshots:\n      daily: { schedule: { cron: \"0 2 * * *\" }, keep: { for: 7d } }\n";
    let policy = fleet_policy(rules);
    let (a, mut points, _) = snapshot_history(&policy, "acme-a", 21..35);
    points.extend((0..21).map(|d| {
        automated_snapshot(&policy, &a, parse_time(NOW) - SignedDuration::from_hours(24 * d))
    }));
    let letting = plan(
        &policy,
        &inventory_with(&policy, vec![a.clone()], points.clone(), vec![]),
        parse_time(NOW),
    );
    insta::assert_snapshot!(format_plan(&letting), @r#"
    warning acme-a deletion-suspended: 13 of its points at eu-west-1 in 111122223333 would go and stay: backups for "daily" are not being made: one was due 10h ago and the newest is 21d 10h old; nothing of it goes; see `holdfast status` for what keeps its backups from being made
    kept 14, refused 0
    "#);
    // They go on: the old ones go.
    points.push(owned_snapshot(&policy, &a, "daily", parse_time("2026-11-20T09:00:00Z")));
    let letting = plan(&policy, &inventory_with(&policy, vec![a], points, vec![]), parse_time(NOW));
    assert_eq!(letting.plan.steps.len(), 14);
}

#[test]
fn copies_stay_while_copies_are_not_being_made_without_any_key_for_it() {
    let rules = "    snapshots:\n      daily: { schedule: { cron: \"0 2 * * *\" }, keep: { for: 60d } }\n      pre-deploy: { keep: { for: 60d } }\n    copies:\n      - { to: dr, of: [daily, pre-deploy, automated], keep: { for: 7d } }\n";
    let policy = fleet_policy(rules);
    let copies_of = |points: &[RecoveryPoint]| -> Vec<RecoveryPoint> {
        points
            .iter()
            .map(|p| {
                let mut copy = p.clone();
                copy.arn = p.arn.replace("eu-west-1", "us-east-1");
                copy.automated = false;
                copy.kms_key = Some("arn:aws:kms:us-east-1:111122223333:key/dr".into());
                copy.tags = HoldfastTags {
                    reason: Some(p.reason().into()),
                    owner: Some(policy.owner()),
                    ..p.tags.clone()
                };
                copy.tags.copy_of = Some(p.arn.clone());
                copy.tags.data_time = p.data_time;
                copy
            })
            .collect()
    };
    let ago = |hours: i64| parse_time(NOW) - SignedDuration::from_hours(hours);
    let going = |home: &[RecoveryPoint], there: &[RecoveryPoint], a: &RdsDatabase| {
        let seen = inventory_with(&policy, vec![a.clone()], home.to_vec(), there.to_vec());
        plan(&policy, &seen, parse_time(NOW)).plan.steps.len()
    };
    for kind in ["daily", "pre-deploy", "automated"] {
        let a = db_instance("acme-a", parse_time(NOW));
        let new = |hours: i64| match kind {
            "automated" => automated_snapshot(&policy, &a, ago(hours)),
            _ => owned_snapshot(&policy, &a, kind, ago(hours)),
        };
        // Twenty-five old copies, and none of the last twenty days.
        let old: Vec<_> = (21..46).map(|d| new(24 * d)).collect();
        let mut home: Vec<_> = (0..3).map(|d| new(24 * d + 10)).collect();
        assert_eq!(going(&home, &copies_of(&old), &a), 0, "{kind}");
        // One that is on its way for less than a day is not late.
        let mut there = copies_of(&old);
        there.extend(copies_of(&home[1..]));
        assert_eq!(going(&home, &there, &a), 25, "{kind}");
        // Nothing is taken at home any more, and all of it is copied.
        if kind != "pre-deploy" {
            home = vec![new(24 * 5)];
            let mut there = copies_of(&old);
            there.extend(copies_of(&home));
            assert_eq!(going(&home, &there, &a), 0, "{kind}");
        }
    }
}

#[test]
fn a_clock_that_is_days_ahead_deletes_nothing_without_any_key_for_it() {
    let rules = "    snapshots:\n      daily: { schedule: { cron: \"0 2 * * *\" }, keep: { for: 35d } }\n      pre-deploy: { keep: { for: 35d } }\n";
    let policy = fleet_policy(rules);
    let (a, mut points, _) = snapshot_history(&policy, "acme-a", 0..35);
    points.extend((0..35).map(|d| {
        owned_snapshot(
            &policy,
            &a,
            "pre-deploy",
            parse_time(NOW) - SignedDuration::from_hours(24 * d),
        )
    }));
    points.push(automated_snapshot(&policy, &a, parse_time("2026-11-20T02:30:00Z")));
    let seen = inventory_with(&policy, vec![a], points, vec![]);
    for days in [3, 15, 100, 4000] {
        let now = parse_time(NOW) + SignedDuration::from_hours(24 * days);
        let letting = plan(&policy, &seen, now);
        assert!(letting.plan.steps.is_empty(), "{days} days: {}", format_plan(&letting));
    }
}

#[test]
fn two_rules_for_one_place_are_one_union_and_nothing_is_copied_to_be_deleted() {
    let rules = "    snapshots:\n      daily: { schedule: { cron: \"0 2 * * *\" }, keep: { for: 90d } }\n    copies:\n      - { to: dr, of: [daily], keep: { newest: 5 } }\n      - { to: dr, of: [daily], keep: { monthly: 12 } }\n";
    let policy = fleet_policy(rules);
    let (a, points, _) = snapshot_history(&policy, "acme-a", 0..80);
    let mut seen = inventory_with(&policy, vec![a], points, vec![]);
    let keys = offsite::AwsManagedKeys::new();
    for _ in 0..6 {
        for step in offsite::plan(&policy, &seen, &keys, parse_time(NOW)).plan.steps {
            let offsite::SnapshotCopyAction::Copy { to, copy, .. } = step.action;
            shared::model::apply_copy(&mut seen, &to, &copy);
        }
        shared::model::complete_in_flight(&mut seen, parse_time(NOW), |_| true);
        let letting = plan(&policy, &seen, parse_time(NOW));
        assert!(letting.plan.steps.is_empty(), "{}", format_plan(&letting));
    }
    assert_eq!(offsite::plan(&policy, &seen, &keys, parse_time(NOW)).plan.steps, []);
    let dr = seen.locations.iter().find(|(p, _)| p.region.as_str() == "us-east-1").expect("dr").1;
    assert_eq!(dr.points.len(), 5 + 2, "the newest five, and the last of two more months");
}

#[test]
fn copies_that_fail_for_weeks_do_not_fill_the_quota() {
    let rules = "    automated_backups: { retention: 7d }\n    copies: [ { to: dr, of: [automated], keep: { newest: 3 }, max_age: 50h } ]\n";
    let policy = fleet_policy(rules);
    let a = db_instance("acme-a", parse_time(NOW));
    let mut seen = inventory_with(&policy, vec![a.clone()], vec![], vec![]);
    let home = Location::home_from_policy(&policy);
    let keys = offsite::AwsManagedKeys::new();
    let mut now = parse_time(NOW);
    let run = |seen: &mut Inventory, now: Timestamp, good: bool| {
        for step in offsite::plan(&policy, seen, &keys, now).plan.steps {
            let offsite::SnapshotCopyAction::Copy { to, copy, .. } = step.action;
            shared::model::apply_copy(seen, &to, &copy);
        }
        shared::model::complete_in_flight(seen, now, |_| good);
        for step in plan(&policy, seen, now).plan.steps {
            shared::model::apply_delete(seen, &step.action.at, &step.action.point.point().arn);
        }
        seen.locations.values().flat_map(|f| &f.points).filter(|p| p.tags.copy_of.is_some()).count()
    };
    let day = |seen: &mut Inventory, now: Timestamp| {
        let points = &mut seen.locations.get_mut(&home).expect("home").points;
        points.push(automated_snapshot(&policy, &a, now));
        points.retain(|p| {
            p.data_time.is_some_and(|t| now.duration_since(t) < SignedDuration::from_hours(7 * 24))
        });
    };
    for _ in 0..30 {
        now += SignedDuration::from_hours(24);
        day(&mut seen, now);
        for _ in 0..8 {
            let there = run(&mut seen, now, false);
            assert!(there <= 5, "{there} copies lie there");
        }
    }
    // The key is fixed: the next day's is copied, then those before it, and the failed ones go.
    now += SignedDuration::from_hours(24);
    day(&mut seen, now);
    for _ in 0..4 {
        run(&mut seen, now, true);
    }
    let dr = seen.locations.iter().find(|(p, _)| p.region.as_str() == "us-east-1").expect("dr").1;
    assert!(dr.points.iter().all(RecoveryPoint::is_complete));
    assert_eq!(dr.points.len(), 3);
}

#[test]
fn what_no_rule_speaks_of_and_what_holds_nothing_is_said() {
    let yaml = POLICY.replace(
        "min_backups: 2",
        "min_backups: 2\n    legal_holds: [acme-a-daily-202611130200, acme-a-dialy-202611120200]",
    );
    let policy = parse_policy(&yaml);
    let (a, mut points, copies) = snapshot_history(&policy, "acme-a", 0..9);
    let (_, other, _) = snapshot_history(&policy, "left-long-ago", 50..53);
    points.extend(other);
    points.push(owned_snapshot(&policy, &a, "quarterly", parse_time("2026-10-01T00:00:00Z")));
    insta::assert_snapshot!(format_plan(&plan(&policy, &inventory_with(&policy, vec![a], points, copies), parse_time(NOW))), @r#"
    delete acme-a-daily-202611120200 at eu-west-1 in 111122223333: no line of the rule for "daily" keeps it
    warning acme-a-dialy-202611120200 hold-unmatched: "acme-a-dialy-202611120200" in holds is no recovery point at any place, so it holds nothing; write the snapshot's identifier or ARN as RDS shows it, or take it out
    warning acme-a no-longer-in-policy: 1 of its recovery points at eu-west-1 in 111122223333 (of databases of 20 GiB in all) are spoken of by no rule of the policy, so they stay for ever; select the database again, or its reason, to let them go by a rule; or delete them in RDS: `holdfast explain acme-a` lists them
    warning left-long-ago no-longer-in-policy: 3 of its recovery points at eu-west-1 in 111122223333 (of databases of 60 GiB in all) are spoken of by no rule of the policy, so they stay for ever; select the database again, or its reason, to let them go by a rule; or delete them in RDS: `holdfast explain left-long-ago` lists them
    kept 12, refused 0
    "#);
}

#[test]
fn a_copy_under_another_key_pushes_no_good_one_out() {
    let policy = parse_policy(POLICY);
    let (a, points, mut copies) = snapshot_history(&policy, "acme-a", 0..7);
    let mut wrong: Vec<_> = points[3..6].to_vec();
    for (n, copy) in wrong.iter_mut().enumerate() {
        copy.id = format!("wrong-{n}");
        copy.arn = format!("arn:wrong-{n}");
        copy.kms_key = Some("arn:aws:kms:us-east-1:1:key/other".into());
        copy.tags.copy_of = Some(copy.id.clone());
        copy.data_time = copies[0].data_time;
    }
    copies.extend(wrong);
    let letting = plan(&policy, &inventory_with(&policy, vec![a], points, copies), parse_time(NOW));
    assert!(letting.plan.steps.is_empty(), "{}", format_plan(&letting));
}

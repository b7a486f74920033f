use super::*;
use shared::metrics::Metric;
use shared::{
    catalog::{RdsDatabase, RecoveryPoint, RecoveryPointState},
    model::{
        automated_snapshot, db_instance, home_inventory, owned_snapshot, parse_policy, parse_time,
    },
};

mod green;
mod hosts;
mod settings;
mod stored;

const HOME: &str = r#"
holdfast: 1
company: acme
home: { account: "111122223333", region: eu-west-1 }
destinations:
  dr: { region: us-east-1, kms_key: "arn:aws:kms:us-east-1:111122223333:key/dr" }
  far: { region: eu-central-1, kms_key: "arn:aws:kms:eu-central-1:111122223333:key/far" }
databases:
  fleet:
    select: { include: ["acme-*"] }
    objectives: { max_age: 25h }
    snapshots:
      daily: { schedule: { cron: "0 2 * * *" }, keep: { for: 35d } }
"#;

/// The fleet with more lines in its group.
fn fleet_policy(more: &str) -> Policy {
    parse_policy(&format!("{HOME}    {more}\n"))
}

const COPIES: &str = "copies: [{ to: dr, of: [daily], keep: { newest: 2 }, max_age: 26h }]";

fn plan_inventory(policy: &Policy, seen: Inventory, now: &str) -> FreshnessPlan {
    plan(
        policy,
        &FreshnessObservations { rds: seen, ..FreshnessObservations::default() },
        parse_time(now),
    )
}

fn format_plan(verdict: &FreshnessPlan) -> String {
    let steps = verdict.plan.steps.iter().map(|s| format!("{}: {}", s.action, s.reason));
    let findings = verdict.plan.findings.iter().map(ToString::to_string);
    let all: Vec<_> = steps.chain(findings).collect();
    if all.is_empty() { "fine".into() } else { all.join("\n") }
}

/// The values of some metrics: metric, group, asset, value.
fn metric_lines(verdict: &FreshnessPlan, of: &[Metric]) -> String {
    let some = verdict.values.iter().filter(|v| of.contains(&v.metric));
    let lines = some.map(|v| {
        let (group, asset) = (v.group.as_deref().unwrap_or("*"), v.asset.as_deref().unwrap_or("*"));
        format!("{} {group} {asset} {}", v.metric.name(), v.value)
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn observation_error(place: Location) -> ObservationError {
    ObservationError {
        location: place,
        message: "describe DB snapshots: Throttling: Rate exceeded".into(),
        hint: "wait".into(),
    }
}

/// Loses sight of the place of this region.
fn without_location(mut seen: Inventory, region: &str) -> Inventory {
    let place = seen.locations.keys().find(|p| p.region.as_str() == region).cloned().expect(region);
    seen.locations.remove(&place);
    seen.errors.push(observation_error(place));
    seen
}

/// A good copy of a point at the place of this region.
fn add_copy(seen: &mut Inventory, region: &str, source: &RecoveryPoint) {
    let (_, fleet) =
        seen.locations.iter_mut().find(|(p, _)| p.region.as_str() == region).expect(region);
    let key = if region == "us-east-1" {
        "us-east-1:111122223333:key/dr"
    } else {
        "eu-central-1:111122223333:key/far"
    };
    fleet.points.push(RecoveryPoint {
        arn: source.arn.replace("eu-west-1", region),
        kms_key: Some(format!("arn:aws:kms:{key}")),
        tags: shared::catalog::HoldfastTags {
            copy_of: Some(source.arn.clone()),
            ..source.tags.clone()
        },
        ..source.clone()
    });
}

fn point_with(mut point: RecoveryPoint, change: impl FnOnce(&mut RecoveryPoint)) -> RecoveryPoint {
    change(&mut point);
    point
}

/// The last second within the objective of a point of 02:00 the day before, and the first beyond it.
const CLOCKS: [&str; 2] = ["2026-11-20T03:00:00Z", "2026-11-20T03:00:01Z"];

#[test]
fn a_database_is_judged_by_the_age_of_its_newest_good_data_to_the_second() {
    let policy = fleet_policy("");
    let db = db_instance("acme-a", parse_time(CLOCKS[0]));
    let of = |time: &str| owned_snapshot(&policy, &db, "daily", parse_time(time));
    let good = || of("2026-11-19T02:00:00Z");
    let state = |time: &str, state: RecoveryPointState| point_with(of(time), |p| p.state = state);
    let failed = || RecoveryPointState::Failed("failed".into());
    let table: Vec<(&str, Vec<RecoveryPoint>)> = vec![
        ("one good point", vec![good()]),
        (
            "RDS's own point",
            vec![automated_snapshot(&policy, &db, parse_time("2026-11-19T02:00:00Z"))],
        ),
        ("none at all", vec![]),
        ("one from the future", vec![of("2026-11-20T03:05:02Z")]),
        ("one from the future beside a good one", vec![of("2026-11-20T03:05:02Z"), good()]),
        ("one ahead by what clocks may differ", vec![of("2026-11-20T03:05:00Z")]),
        ("only one on its way", vec![state("2026-11-20T02:00:00Z", RecoveryPointState::InFlight)]),
        (
            "one on its way beside a good one",
            vec![state("2026-11-20T02:00:00Z", RecoveryPointState::InFlight), good()],
        ),
        ("the newest failed", vec![state("2026-11-20T02:00:00Z", failed()), good()]),
        ("only a failed one", vec![state("2026-11-20T02:00:00Z", failed())]),
        (
            "one failed before the newest good",
            vec![state("2026-11-18T02:00:00Z", failed()), good()],
        ),
        (
            "same name, another database's",
            vec![point_with(of("2026-11-20T02:00:00Z"), |p| p.resource_id = "db-old".into())],
        ),
        (
            "a transfer copy",
            vec![point_with(of("2026-11-20T02:00:00Z"), |p| p.tags.transfer = true)],
        ),
        (
            "a transfer copy on its way",
            vec![point_with(state("2026-11-20T02:00:00Z", RecoveryPointState::InFlight), |p| {
                p.tags.transfer = true;
            })],
        ),
        ("one whose data has no known time", vec![point_with(good(), |p| p.data_time = None)]),
    ];
    let rows = table.into_iter().map(|(case, points)| {
        let said = CLOCKS.map(|now| {
            format_plan(&plan_inventory(
                &policy,
                home_inventory(&policy, vec![db.clone()], points.clone()),
                now,
            ))
        });
        let said = if said[0] == said[1] { said[0].clone() } else { said.join("\n  then ") };
        format!("{case}\n  {said}")
    });
    insta::assert_snapshot!(rows.collect::<Vec<_>>().join("\n"), @"
    one good point
      warning acme-a schedule-missed: its daily snapshot of 2026-11-20T02:00:00Z was not taken: its newest has data of 2026-11-19T02:00:00Z; run `holdfast run snapshot --reason daily --asset acme-a`
      then critical acme-a backup-stale: its newest good point acme-a-daily-202611190200 is 1d 1h old, 1s over the objective of 1d 1h; run `holdfast run snapshot --reason daily --asset acme-a`
    RDS's own point
      critical acme-a schedule-missed: its daily snapshot of 2026-11-20T02:00:00Z was not taken: there is none; run `holdfast run snapshot --reason daily --asset acme-a`
      then critical acme-a backup-stale: its newest good point rds:acme-a-202611190200 is 1d 1h old, 1s over the objective of 1d 1h; run `holdfast run snapshot --reason daily --asset acme-a`
    none at all
      critical acme-a no-backup: it has no good recovery point; run `holdfast run snapshot --reason daily --asset acme-a`
    one from the future
      critical acme-a clock-skew: 1 of its points have a time in the future, which proves nothing; compare the clocks of this host and of AWS
    critical acme-a no-backup: it has no good recovery point; run `holdfast run snapshot --reason daily --asset acme-a`
    one from the future beside a good one
      critical acme-a clock-skew: 1 of its points have a time in the future, which proves nothing; compare the clocks of this host and of AWS
      then critical acme-a clock-skew: 1 of its points have a time in the future, which proves nothing; compare the clocks of this host and of AWS
    critical acme-a backup-stale: its newest good point acme-a-daily-202611190200 is 1d 1h old, 1s over the objective of 1d 1h; run `holdfast run snapshot --reason daily --asset acme-a`
    one ahead by what clocks may differ
      fine
    only one on its way
      critical acme-a no-backup: it has no good recovery point; 1 on the way; run `holdfast run snapshot --reason daily --asset acme-a`
    one on its way beside a good one
      fine
      then critical acme-a backup-stale: its newest good point acme-a-daily-202611190200 is 1d 1h old, 1s over the objective of 1d 1h; 1 on the way; run `holdfast run snapshot --reason daily --asset acme-a`
    the newest failed
      warning acme-a schedule-missed: its daily snapshot of 2026-11-20T02:00:00Z was not taken: its newest has data of 2026-11-19T02:00:00Z; run `holdfast run snapshot --reason daily --asset acme-a`
    warning acme-a snapshot-failed: its newest snapshot acme-a-daily-202611200200 is failed; see the database's events in RDS; the next run tries again
      then critical acme-a backup-stale: its newest good point acme-a-daily-202611190200 is 1d 1h old, 1s over the objective of 1d 1h; run `holdfast run snapshot --reason daily --asset acme-a`
    warning acme-a snapshot-failed: its newest snapshot acme-a-daily-202611200200 is failed; see the database's events in RDS; the next run tries again
    only a failed one
      critical acme-a no-backup: it has no good recovery point; run `holdfast run snapshot --reason daily --asset acme-a`
    warning acme-a snapshot-failed: its newest snapshot acme-a-daily-202611200200 is failed; see the database's events in RDS; the next run tries again
    one failed before the newest good
      warning acme-a schedule-missed: its daily snapshot of 2026-11-20T02:00:00Z was not taken: its newest has data of 2026-11-19T02:00:00Z; run `holdfast run snapshot --reason daily --asset acme-a`
      then critical acme-a backup-stale: its newest good point acme-a-daily-202611190200 is 1d 1h old, 1s over the objective of 1d 1h; run `holdfast run snapshot --reason daily --asset acme-a`
    same name, another database's
      critical acme-a no-backup: it has no good recovery point; run `holdfast run snapshot --reason daily --asset acme-a`
    a transfer copy
      critical acme-a no-backup: it has no good recovery point; run `holdfast run snapshot --reason daily --asset acme-a`
    a transfer copy on its way
      critical acme-a no-backup: it has no good recovery point; run `holdfast run snapshot --reason daily --asset acme-a`
    one whose data has no known time
      critical acme-a no-backup: it has no good recovery point; run `holdfast run snapshot --reason daily --asset acme-a`
    ");
}

#[test]
fn a_new_database_has_its_objectives_time_for_a_first_point_and_no_second_more() {
    let policy = fleet_policy(COPIES);
    let mut db = db_instance("acme-a", parse_time(CLOCKS[0]));
    db.created = Some(parse_time("2026-11-19T02:00:00Z"));
    let said = ["2026-11-20T02:59:59Z", CLOCKS[0]].map(|now| {
        format_plan(&plan_inventory(
            &policy,
            home_inventory(&policy, vec![db.clone()], vec![]),
            now,
        ))
    });
    insta::assert_snapshot!(said.join("\n"), @"
    info acme-a no-backup-yet: it is new and has no recovery point yet
    critical acme-a no-backup: it has no good recovery point; run `holdfast run snapshot --reason daily --asset acme-a`
    ");
    // With its first point, its copy has the time that the copy's own objective gives it.
    let first = vec![owned_snapshot(&policy, &db, "daily", parse_time("2026-11-20T02:00:00Z"))];
    let said = ["2026-11-20T03:59:59Z", "2026-11-20T04:00:00Z"].map(|now| {
        format_plan(&plan_inventory(
            &policy,
            home_inventory(&policy, vec![db.clone()], first.clone()),
            now,
        ))
    });
    insta::assert_snapshot!(said.join("\n"), @"
    info acme-a no-backup-yet: it is new and dr has no copy of it yet
    critical acme-a offsite-copy-missing: dr has no good copy of it; run `holdfast run offsite`
    ");
    // RDS tells no time of creation while it makes one.
    db.created = None;
    db.status = "creating".into();
    insta::assert_snapshot!(format_plan(&plan_inventory(&policy, home_inventory(&policy, vec![db.clone()], vec![]), CLOCKS[0])), @"info acme-a no-backup-yet: it is new and has no recovery point yet");
    db.status = "available".into();
    insta::assert_snapshot!(format_plan(&plan_inventory(&policy, home_inventory(&policy, vec![db], vec![]), CLOCKS[0])), @"critical acme-a no-backup: it has no good recovery point; run `holdfast run snapshot --reason daily --asset acme-a`");
}

#[test]
fn copies_are_judged_by_the_age_of_their_data_to_the_second() {
    let policy = fleet_policy(COPIES);
    let db = db_instance("acme-a", parse_time(CLOCKS[0]));
    let source = owned_snapshot(&policy, &db, "daily", parse_time("2026-11-19T02:00:00Z"));
    let fresh = automated_snapshot(&policy, &db, parse_time("2026-11-20T02:00:00Z"));
    let world = |change: &dyn Fn(&mut RecoveryPoint)| {
        let mut seen =
            home_inventory(&policy, vec![db.clone()], vec![source.clone(), fresh.clone()]);
        add_copy(&mut seen, "us-east-1", &source);
        let there = seen
            .locations
            .iter_mut()
            .find(|(p, _)| p.region.as_str() == "us-east-1")
            .expect("dr")
            .1;
        change(&mut there.points[0]);
        seen
    };
    let none = || home_inventory(&policy, vec![db.clone()], vec![source.clone(), fresh.clone()]);
    let table: Vec<(&str, Inventory)> = vec![
        ("good", world(&|_| {})),
        ("none", none()),
        ("on its way", world(&|p| (p.state, p.data_time) = (RecoveryPointState::InFlight, None))),
        (
            "failed",
            world(&|p| {
                (p.state, p.data_time) = (RecoveryPointState::Failed("failed".into()), None);
            }),
        ),
        (
            "under another key",
            world(&|p| p.kms_key = Some("arn:aws:kms:us-east-1:111122223333:key/aws-rds".into())),
        ),
        ("smaller than its source", world(&|p| p.size_gib = 19)),
        ("not encrypted", world(&|p| (p.encrypted, p.kms_key) = (false, None))),
        ("for another reason", world(&|p| p.tags.reason = Some("weekly".into()))),
        ("not made by Holdfast", world(&|p| p.tags = shared::catalog::HoldfastTags::default())),
        ("of the database that had the name before", world(&|p| p.resource_id = "db-old".into())),
        ("from the future", world(&|p| p.data_time = Some(parse_time("2026-11-21T02:00:00Z")))),
        ("the place does not answer", without_location(none(), "us-east-1")),
    ];
    // A copy may be 26 hours old, one hour more than the point itself.
    let rows = table.into_iter().map(|(case, seen)| {
        let said = ["2026-11-20T04:00:00Z", "2026-11-20T04:00:01Z"]
            .map(|now| format_plan(&plan_inventory(&policy, seen.clone(), now)));
        let said = if said[0] == said[1] { said[0].clone() } else { said.join("\n  then ") };
        format!("{case}\n  {said}")
    });
    insta::assert_snapshot!(rows.collect::<Vec<_>>().join("\n"), @"
    good
      warning acme-a schedule-missed: its daily snapshot of 2026-11-20T02:00:00Z was not taken: its newest has data of 2026-11-19T02:00:00Z; run `holdfast run snapshot --reason daily --asset acme-a`
      then warning acme-a schedule-missed: its daily snapshot of 2026-11-20T02:00:00Z was not taken: its newest has data of 2026-11-19T02:00:00Z; run `holdfast run snapshot --reason daily --asset acme-a`
    critical acme-a offsite-copy-stale: its newest good copy at dr has data 1d 2h old, over the objective of 1d 2h; run `holdfast run offsite`
    none
      warning acme-a schedule-missed: its daily snapshot of 2026-11-20T02:00:00Z was not taken: its newest has data of 2026-11-19T02:00:00Z; run `holdfast run snapshot --reason daily --asset acme-a`
    critical acme-a offsite-copy-missing: dr has no good copy of it; run `holdfast run offsite`
    on its way
      warning acme-a schedule-missed: its daily snapshot of 2026-11-20T02:00:00Z was not taken: its newest has data of 2026-11-19T02:00:00Z; run `holdfast run snapshot --reason daily --asset acme-a`
    critical acme-a offsite-copy-missing: dr has no good copy of it; 1 on the way; run `holdfast run offsite`
    critical acme-a backup-stuck: acme-a-daily-202611190200 is being copied to dr since 1d 2h; see its events in RDS; delete it when it does not go on, and a new one is made
    failed
      warning acme-a schedule-missed: its daily snapshot of 2026-11-20T02:00:00Z was not taken: its newest has data of 2026-11-19T02:00:00Z; run `holdfast run snapshot --reason daily --asset acme-a`
    critical acme-a offsite-copy-missing: dr has no good copy of it; run `holdfast run offsite`
    under another key
      warning acme-a schedule-missed: its daily snapshot of 2026-11-20T02:00:00Z was not taken: its newest has data of 2026-11-19T02:00:00Z; run `holdfast run snapshot --reason daily --asset acme-a`
    critical acme-a offsite-copy-missing: dr has no good copy of it; run `holdfast run offsite`
    critical acme-a wrong-copy: the copy acme-a-daily-202611190200 at dr does not count: it is under arn:aws:kms:us-east-1:111122223333:key/aws-rds instead of arn:aws:kms:us-east-1:111122223333:key/dr; delete it when you know why; a new one is made after that
    smaller than its source
      warning acme-a schedule-missed: its daily snapshot of 2026-11-20T02:00:00Z was not taken: its newest has data of 2026-11-19T02:00:00Z; run `holdfast run snapshot --reason daily --asset acme-a`
    critical acme-a offsite-copy-missing: dr has no good copy of it; run `holdfast run offsite`
    critical acme-a wrong-copy: the copy acme-a-daily-202611190200 at dr does not count: it has 19 GiB and its source 20; delete it when you know why; a new one is made after that
    not encrypted
      warning acme-a schedule-missed: its daily snapshot of 2026-11-20T02:00:00Z was not taken: its newest has data of 2026-11-19T02:00:00Z; run `holdfast run snapshot --reason daily --asset acme-a`
    critical acme-a offsite-copy-missing: dr has no good copy of it; run `holdfast run offsite`
    critical acme-a wrong-copy: the copy acme-a-daily-202611190200 at dr does not count: it is not encrypted and its source is; delete it when you know why; a new one is made after that
    for another reason
      warning acme-a schedule-missed: its daily snapshot of 2026-11-20T02:00:00Z was not taken: its newest has data of 2026-11-19T02:00:00Z; run `holdfast run snapshot --reason daily --asset acme-a`
    critical acme-a offsite-copy-missing: dr has no good copy of it; run `holdfast run offsite`
    not made by Holdfast
      warning acme-a schedule-missed: its daily snapshot of 2026-11-20T02:00:00Z was not taken: its newest has data of 2026-11-19T02:00:00Z; run `holdfast run snapshot --reason daily --asset acme-a`
    critical acme-a offsite-copy-missing: dr has no good copy of it; run `holdfast run offsite`
    of the database that had the name before
      warning acme-a schedule-missed: its daily snapshot of 2026-11-20T02:00:00Z was not taken: its newest has data of 2026-11-19T02:00:00Z; run `holdfast run snapshot --reason daily --asset acme-a`
    critical acme-a offsite-copy-missing: dr has no good copy of it; run `holdfast run offsite`
    from the future
      warning acme-a schedule-missed: its daily snapshot of 2026-11-20T02:00:00Z was not taken: its newest has data of 2026-11-19T02:00:00Z; run `holdfast run snapshot --reason daily --asset acme-a`
    critical acme-a offsite-copy-missing: dr has no good copy of it; run `holdfast run offsite`
    the place does not answer
      critical us-east-1 in 111122223333 observation-failed: describe DB snapshots: Throttling: Rate exceeded; wait
    warning acme-a schedule-missed: its daily snapshot of 2026-11-20T02:00:00Z was not taken: its newest has data of 2026-11-19T02:00:00Z; run `holdfast run snapshot --reason daily --asset acme-a`
    critical acme-a offsite-copy-unknown: its copies at us-east-1 in 111122223333 can't be seen; see the gap of that place
    ");
}

#[test]
fn a_copy_counts_after_its_source_is_gone_and_one_from_the_future_hides_none() {
    let policy = fleet_policy(COPIES);
    let db = db_instance("acme-a", parse_time(CLOCKS[0]));
    let gone = owned_snapshot(&policy, &db, "daily", parse_time("2026-11-19T02:00:00Z"));
    let fresh = owned_snapshot(&policy, &db, "daily", parse_time("2026-11-20T02:00:00Z"));
    let mut world = home_inventory(&policy, vec![db], vec![fresh.clone()]);
    add_copy(&mut world, "us-east-1", &gone);
    add_copy(
        &mut world,
        "us-east-1",
        &point_with(fresh, |p| p.data_time = Some(parse_time("2026-12-24T00:00:00Z"))),
    );
    let verdict = plan_inventory(&policy, world, "2026-11-20T04:00:00Z");
    assert_eq!(format_plan(&verdict), "fine");
    assert_eq!(verdict.assets[0].offsite_age_seconds, Some(26 * 3600));
}

#[test]
fn an_asset_that_lacks_one_of_its_two_places_has_no_offsite_age() {
    let policy = fleet_policy(
        "copies: [{ to: dr, of: [daily], keep: { newest: 2 } }, { to: far, of: [daily], keep: { newest: 2 } }]",
    );
    let now = "2026-11-20T04:00:00Z";
    let db = db_instance("acme-a", parse_time(now));
    let old = owned_snapshot(&policy, &db, "daily", parse_time("2026-11-19T02:00:00Z"));
    let new = owned_snapshot(&policy, &db, "daily", parse_time("2026-11-20T02:00:00Z"));
    let mut world = home_inventory(&policy, vec![db], vec![old.clone(), new.clone()]);
    add_copy(&mut world, "us-east-1", &new);
    let age = |seen: &Inventory| {
        let verdict = plan_inventory(&policy, seen.clone(), now);
        (verdict.assets[0].offsite_age_seconds, metric_lines(&verdict, &[Metric::OffsiteCopyAge]))
    };
    assert_eq!(age(&world), (None, String::new()));
    add_copy(&mut world, "eu-central-1", &old);
    let (seconds, published) = age(&world);
    assert_eq!(seconds, Some(26 * 3600), "of two places, the older");
    insta::assert_snapshot!(published, @"
    OffsiteCopyAge fleet acme-a 93600
    OffsiteCopyAge fleet * 93600
    OffsiteCopyAge * * 93600
    ");
    assert_eq!(age(&without_location(world, "us-east-1")), (None, String::new()));
}

#[test]
fn a_copy_of_what_is_taken_on_demand_is_missing_only_when_there_is_something_to_copy() {
    let more = "  pre-deploy: { keep: { for: 90d } }\n    copies: [{ to: dr, of: [daily], keep: { newest: 2 } }, \
                { to: dr, of: [pre-deploy], keep: { newest: 3 } }]";
    let policy = fleet_policy(more);
    let now = "2026-11-20T04:00:00Z";
    let db = db_instance("acme-a", parse_time(now));
    let daily = owned_snapshot(&policy, &db, "daily", parse_time("2026-11-20T02:00:00Z"));
    let mut world = home_inventory(&policy, vec![db.clone()], vec![daily.clone()]);
    add_copy(&mut world, "us-east-1", &daily);
    let verdict = plan_inventory(&policy, world.clone(), now);
    assert_eq!(format_plan(&verdict), "fine");
    assert_eq!(verdict.assets[0].offsite_age_seconds, Some(2 * 3600));

    let before = owned_snapshot(&policy, &db, "pre-deploy", parse_time("2026-11-18T02:00:00Z"));
    let home = Location::home_from_policy(&policy);
    world.locations.get_mut(&home).expect("home").points.push(before);
    let verdict = plan_inventory(&policy, world, now);
    assert!(format_plan(&verdict).contains("offsite-copy-missing"), "{}", format_plan(&verdict));
}

#[test]
fn what_the_selection_lacks_or_has_twice_is_said() {
    let yaml = format!(
        "{HOME}{}",
        r"    expect: 3
  billing:
    select: { identifiers: [acme-b, ledger] }
    snapshots: { daily: { keep: { for: 35d } } }
  rest:
    select: { tags: { tier: none }, exclude: [scratch] }
    snapshots: { daily: { keep: { for: 35d } } }
"
    );
    let policy = parse_policy(&yaml);
    let now = parse_time(CLOCKS[0]);
    let mut replica = db_instance("stray-replica", now);
    replica.replica_of = Some("acme-a".into());
    let databases = vec![
        db_instance("acme-a", now),
        db_instance("acme-b", now),
        db_instance("stray", now),
        db_instance("scratch", now),
        replica,
    ];
    let points = databases
        .iter()
        .map(|d| owned_snapshot(&policy, d, "daily", parse_time("2026-11-20T02:00:00Z")))
        .collect();
    let verdict = plan_inventory(&policy, home_inventory(&policy, databases, points), CLOCKS[0]);
    insta::assert_snapshot!(format_plan(&verdict), @"
    critical stray unprotected: no group of the policy selects it, so nothing backs it up; select it in a group, or name it under exclude
    critical ledger database-missing: the policy names it and RDS has no instance or cluster of that name; check the name; if it was deleted on purpose, take it out of the policy
    warning acme-b ambiguous-group: the groups billing and fleet both select it; billing has it; name it under exclude in fleet
    critical fleet too-few-databases: the group selects 1 databases and the policy expects 3; check the selection, or expect, in the policy
    critical rest too-few-databases: the group selects 0 databases and the policy expects 1; check the selection, or expect, in the policy
    warning acme-b not-watched: no objective is written and no schedule implies one, so nobody knows when its newest point is too old; write objectives.max_age in its group
    ");
    // A group that lacks a database has no age: the ages of the others do not speak for it, nor do they for the policy.
    let of = [Metric::BackupAge, Metric::FailingAssets, Metric::UnprotectedDatabases];
    insta::assert_snapshot!(metric_lines(&verdict, &of), @"
    BackupAge billing acme-b 3600
    BackupAge fleet acme-a 3600
    FailingAssets billing * 1
    FailingAssets fleet * 1
    FailingAssets rest * 1
    FailingAssets * * 4
    UnprotectedDatabases * * 1
    ");
}

#[test]
fn assets_that_fail_are_counted_for_their_group_and_the_policy_and_a_gap_fails_all() {
    let yaml = format!(
        "{HOME}    {COPIES}\n{}",
        r#"  media:
    select: { include: ["media-*"] }
    objectives: { max_age: 25h }
    snapshots: { daily: { keep: { for: 35d } } }
"#
    );
    let policy = parse_policy(&yaml);
    let db = |id: &str| db_instance(id, parse_time(CLOCKS[1]));
    let (a, b, m) = (db("acme-a"), db("acme-b"), db("media-m"));
    let daily = |d: &RdsDatabase, time: &str| owned_snapshot(&policy, d, "daily", parse_time(time));
    // a: fresh and copied; b: stale and without a copy, two findings of one asset; m: fresh.
    let points = [
        daily(&a, "2026-11-20T02:00:00Z"),
        daily(&b, "2026-11-19T02:00:00Z"),
        daily(&m, "2026-11-20T01:00:00Z"),
    ];
    let mut world = home_inventory(&policy, vec![a, b, m], points.to_vec());
    add_copy(&mut world, "us-east-1", &points[0]);
    let of = [Metric::FailingAssets, Metric::BackupAge, Metric::OffsiteCopyAge];
    let told = |seen: Inventory| metric_lines(&plan_inventory(&policy, seen, CLOCKS[1]), &of);
    insta::assert_snapshot!(told(world.clone()), @"
    BackupAge fleet acme-a 3601
    BackupAge fleet acme-b 90001
    BackupAge media media-m 7201
    BackupAge fleet * 90001
    BackupAge media * 7201
    BackupAge * * 90001
    OffsiteCopyAge fleet acme-a 3601
    FailingAssets fleet * 1
    FailingAssets media * 0
    FailingAssets * * 1
    ");
    insta::assert_snapshot!(told(without_location(world.clone(), "us-east-1")), @"
    BackupAge fleet acme-a 3601
    BackupAge fleet acme-b 90001
    BackupAge media media-m 7201
    BackupAge fleet * 90001
    BackupAge media * 7201
    BackupAge * * 90001
    FailingAssets fleet * 3
    FailingAssets media * 1
    FailingAssets * * 3
    ");

    // Nothing of RDS is seen: nothing is told but that everything fails.
    let unseen = plan_inventory(&policy, without_location(world, "eu-west-1"), CLOCKS[1]);
    insta::assert_snapshot!(metric_lines(&unseen, Metric::ALL), @"
    FailingAssets fleet * 1
    FailingAssets media * 1
    FailingAssets * * 1
    ");
    insta::assert_snapshot!(format_plan(&unseen), @"critical eu-west-1 in 111122223333 observation-failed: describe DB snapshots: Throttling: Rate exceeded; wait");
}

#[test]
fn an_asset_without_a_point_takes_its_groups_and_the_policys_age_away() {
    let policy = fleet_policy("");
    let (a, b) = (
        db_instance("acme-a", parse_time(CLOCKS[0])),
        db_instance("acme-b", parse_time(CLOCKS[0])),
    );
    let mut points = vec![owned_snapshot(&policy, &a, "daily", parse_time("2026-11-20T02:00:00Z"))];
    let told = |points: &[RecoveryPoint]| {
        let verdict = plan_inventory(
            &policy,
            home_inventory(&policy, vec![a.clone(), b.clone()], points.to_vec()),
            CLOCKS[0],
        );
        metric_lines(&verdict, &[Metric::BackupAge, Metric::BackupSize])
    };
    insta::assert_snapshot!(told(&points), @"
    BackupAge fleet acme-a 3600
    BackupSize fleet acme-a 21474836480
    ");
    points.push(owned_snapshot(&policy, &b, "daily", parse_time("2026-11-20T01:00:00Z")));
    insta::assert_snapshot!(told(&points), @"
    BackupAge fleet acme-a 3600
    BackupAge fleet acme-b 7200
    BackupAge fleet * 7200
    BackupAge * * 7200
    BackupSize fleet acme-a 21474836480
    BackupSize fleet acme-b 21474836480
    ");
}

#[test]
fn an_asset_stands_with_its_worst_finding_and_why() {
    let policy = fleet_policy(COPIES);
    let db = db_instance("acme-a", parse_time(CLOCKS[1]));
    let points = vec![owned_snapshot(&policy, &db, "daily", parse_time("2026-11-19T02:00:00Z"))];
    let verdict = plan_inventory(&policy, home_inventory(&policy, vec![db], points), CLOCKS[1]);
    insta::assert_debug_snapshot!(verdict.assets, @r#"
    [
        AssetStatus {
            asset: "acme-a",
            group: "fleet",
            newest_point: Some(
                "acme-a-daily-202611190200",
            ),
            age_seconds: Some(
                90001,
            ),
            max_age_seconds: Some(
                90000,
            ),
            max_age_derived: false,
            size_bytes: Some(
                21474836480,
            ),
            offsite_age_seconds: None,
            offsite_wanted: true,
            proof_age_seconds: None,
            proof_wanted: false,
            coverage: Watched,
            max_severity: Some(
                Critical,
            ),
            messages: [
                "its newest good point acme-a-daily-202611190200 is 1d 1h old, 1s over the objective of 1d 1h",
                "dr has no good copy of it",
            ],
        },
    ]
    "#);
}

use super::*;
use shared::model::{
    automated_snapshot, db_cluster, db_instance, home_inventory, owned_snapshot, parse_policy,
    parse_time,
};

const POLICY: &str = r#"
holdfast: 1
company: acme
home: { account: "111122223333", region: eu-west-1 }
databases:
  fleet:
    select: { include: ["acme-*"] }
    snapshots:
      daily: { schedule: { cron: "0 2 * * *" }, keep: { for: 35d } }
      pre-deploy: { keep: { for: 90d } }
"#;

fn format_plan(plan: &ActionPlan<SnapshotAction>) -> String {
    let steps = plan.steps.iter().map(|s| format!("{} {}: {}", s.asset, s.action, s.reason));
    steps.chain(plan.findings.iter().map(ToString::to_string)).collect::<Vec<_>>().join("\n")
}

fn on_demand_request() -> RunRequest {
    RunRequest { reason: "pre-deploy".into(), ..RunRequest::default() }
}

#[test]
fn a_slot_is_due_until_it_has_a_good_or_growing_snapshot() {
    let policy = parse_policy(POLICY);
    let now = parse_time("2026-11-20T04:30:00Z");
    let db = |id: &str| db_instance(id, now);
    let slot = parse_time("2026-11-20T02:00:00Z");
    let with = |mut p: RecoveryPoint, state: RecoveryPointState| {
        p.state = state;
        p
    };
    let (none, old, done, growing, failed, hopeless) = (
        db("acme-none"),
        db("acme-old"),
        db("acme-done"),
        db("acme-growing"),
        db("acme-failed"),
        db("acme-hopeless"),
    );
    let mut stopped = db("acme-stopped");
    stopped.status = "stopped".into();
    let mut renewed = db("acme-renewed");
    let before = owned_snapshot(&policy, &renewed, "daily", slot);
    renewed.resource_id = "db-made-again".into();
    let failures = (1..=3).map(|n| {
        let mut p = with(
            owned_snapshot(&policy, &hopeless, "daily", slot),
            RecoveryPointState::Failed("failed".into()),
        );
        if n > 1 {
            p.id = format!("{}-r{n}", p.id);
        }
        p
    });
    let mut points = vec![
        owned_snapshot(&policy, &old, "daily", parse_time("2026-11-19T02:00:00Z")),
        owned_snapshot(&policy, &done, "daily", slot),
        with(owned_snapshot(&policy, &growing, "daily", slot), RecoveryPointState::InFlight),
        with(
            owned_snapshot(&policy, &failed, "daily", slot),
            RecoveryPointState::Failed("failed".into()),
        ),
        before,
        automated_snapshot(&policy, &none, slot),
    ];
    points.extend(failures);
    let world = home_inventory(
        &policy,
        vec![none, old, done, growing, failed, hopeless, stopped, renewed],
        points,
    );
    let plan = plan(&policy, &world, &RunRequest::full_run(), "run-1", now);
    insta::assert_snapshot!(format_plan(&plan), @"
    acme-none take acme-none-daily-202611200200: daily is due since 2h 30m
    acme-old take acme-old-daily-202611200200: daily is due since 2h 30m
    acme-failed take acme-failed-daily-202611200200-r2: daily is due since 2h 30m
    acme-renewed take acme-renewed-daily-202611200200-df903719: daily is due since 2h 30m
    critical acme-hopeless keeps-failing: 3 tries of daily for 202611200200 failed; see the database's events in RDS
    warning acme-stopped backup-deferred: daily is due since 2h 30m and the database is stopped; start the database: what is stopped is not backed up, and RDS starts it by itself after 7 days
    ");
}

#[test]
fn a_demand_is_done_once_however_often_it_is_delivered() {
    let policy = parse_policy(POLICY);
    let now = parse_time("2026-11-20T04:30:00Z");
    let mut world = home_inventory(
        &policy,
        vec![db_instance("acme-a", now), db_instance("acme-b", now)],
        vec![],
    );
    let first = plan(&policy, &world, &on_demand_request(), "deploy-7", now);
    insta::assert_snapshot!(format_plan(&first), @"
    acme-a take acme-a-pre-deploy-202611200430: asked for by deploy-7
    acme-b take acme-b-pre-deploy-202611200430: asked for by deploy-7
    ");
    for step in &first.steps {
        let SnapshotAction::Create { family, database, id, tags, .. } = &step.action else {
            panic!("{}", step.action)
        };
        shared::model::apply_snapshot(&mut world, &policy, (*family, database), id, tags);
    }
    // Lambda delivers a failed asynchronous invocation again, a minute and then two minutes later.
    let again = plan(
        &policy,
        &world,
        &on_demand_request(),
        "deploy-7",
        now + jiff::SignedDuration::from_mins(1),
    );
    assert!(
        again.steps.iter().all(|s| matches!(s.action, SnapshotAction::Wait { .. })),
        "{}",
        format_plan(&again)
    );
    let other = plan(
        &policy,
        &world,
        &on_demand_request(),
        "deploy-8",
        now + jiff::SignedDuration::from_mins(1),
    );
    assert!(
        other.steps.iter().all(|s| matches!(s.action, SnapshotAction::Create { .. })),
        "{}",
        format_plan(&other)
    );
}

#[test]
fn a_demand_reuses_a_young_point_only_when_asked_to() {
    let policy = parse_policy(POLICY);
    let now = parse_time("2026-11-20T04:30:00Z");
    let (a, b) = (db_instance("acme-a", now), db_instance("acme-b", now));
    let points = vec![
        owned_snapshot(&policy, &a, "daily", parse_time("2026-11-20T04:20:00Z")),
        owned_snapshot(&policy, &b, "daily", parse_time("2026-11-20T02:00:00Z")),
    ];
    let world = home_inventory(&policy, vec![a, b], points);
    let mut request = on_demand_request();
    assert!(
        plan(&policy, &world, &request, "d", now)
            .steps
            .iter()
            .all(|s| matches!(s.action, SnapshotAction::Create { .. }))
    );
    request.reuse_newer_than = Some("15m".parse().expect("a period"));
    insta::assert_snapshot!(format_plan(&plan(&policy, &world, &request, "d", now)), @"
    acme-a reuse acme-a-daily-202611200420: its data is 10m old, which is young enough
    acme-b take acme-b-pre-deploy-202611200430: asked for by d
    ");
}

#[test]
fn a_demand_for_what_is_not_there_is_refused_whole() {
    let policy = parse_policy(POLICY);
    let now = parse_time("2026-11-20T04:30:00Z");
    let world = home_inventory(&policy, vec![db_instance("acme-a", now)], vec![]);
    let asked = |reason: &str, assets: &[&str]| {
        let request = RunRequest {
            reason: reason.into(),
            assets: assets.iter().map(ToString::to_string).collect(),
            ..RunRequest::default()
        };
        format_plan(&plan(&policy, &world, &request, "d", now))
    };
    insta::assert_snapshot!(asked("pre-deploy", &["acme-a", "acme-z"]), @"critical acme-z unknown-asset: no group of the policy selects a database of that name; write one of: acme-a");
    insta::assert_snapshot!(asked("predeploy", &[]), @r#"critical request unknown-reason: no group of the policy takes snapshots for "predeploy"; did you mean "pre-deploy"?"#);
}

#[test]
fn what_can_not_be_seen_gets_no_snapshot_and_is_said() {
    let policy = parse_policy(POLICY);
    let mut world = Inventory::default();
    let hint = "allow this action in the role that made the call".into();
    world.errors.push(shared::catalog::ObservationError {
        location: Location::home_from_policy(&policy),
        message: "describe DB instances: AccessDenied".into(),
        hint,
    });
    insta::assert_snapshot!(format_plan(&plan(&policy, &world, &RunRequest::full_run(), "r", parse_time("2026-11-20T04:30:00Z"))), @"critical eu-west-1 in 111122223333 observation-failed: describe DB instances: AccessDenied; allow this action in the role that made the call");
    let empty = home_inventory(&policy, vec![], vec![]);
    insta::assert_snapshot!(format_plan(&plan(&policy, &empty, &RunRequest::full_run(), "r", parse_time("2026-11-20T04:30:00Z"))), @"critical fleet too-few-databases: the group selects 0 databases and the policy expects 1; check the selection, or expect, in the policy");
}

#[test]
fn an_assets_own_tags_are_on_its_snapshot() {
    let policy = parse_policy(POLICY);
    let now = parse_time("2026-11-20T04:30:00Z");
    let world = home_inventory(&policy, vec![db_instance("acme-a", now)], vec![]);
    let plan = plan(&policy, &world, &RunRequest::full_run(), "r", now);
    let SnapshotAction::Create { tags, .. } = &plan.steps[0].action else { panic!("a take") };
    insta::assert_debug_snapshot!(tags, @r#"
    {
        "env": "prod",
        "holdfast:asset": "acme-a",
        "holdfast:family": "instance",
        "holdfast:owner": "acme@111122223333/eu-west-1",
        "holdfast:reason": "daily",
        "holdfast:resource-id": "db-acme-a",
        "holdfast:slot": "202611200200",
    }
    "#);
}

/// Carries out what was planned.
fn create_all(world: &mut Inventory, policy: &Policy, plan: &ActionPlan<SnapshotAction>) {
    for step in &plan.steps {
        if let SnapshotAction::Create { family, database, id, tags, .. } = &step.action {
            shared::model::apply_snapshot(world, policy, (*family, database), id, tags);
        }
    }
}

fn inventory_has(world: &Inventory, id: &str) -> bool {
    world.locations.values().flat_map(|f| &f.points).any(|p| p.id == id)
}

#[test]
fn two_assets_that_want_one_name_get_two_and_none_is_reported_for_the_other() {
    let policy = parse_policy(
        r#"
holdfast: 1
company: acme
home: { account: "111122223333", region: eu-west-1 }
databases:
  one: { select: { identifiers: [shop] }, snapshots: { eu-daily: { schedule: { cron: "0 2 * * *" }, keep: { for: 7d } }, eu-now: { keep: { for: 7d } } } }
  two: { select: { identifiers: [shop-eu] }, snapshots: { daily: { schedule: { cron: "0 2 * * *" }, keep: { for: 7d } }, now: { keep: { for: 7d } } } }
"#,
    );
    let now = parse_time("2026-11-20T04:30:00Z");
    let mut world = home_inventory(
        &policy,
        vec![db_instance("shop", now), db_instance("shop-eu", now)],
        vec![],
    );
    let look = RunRequest::full_run();
    let first = plan(&policy, &world, &look, "r", now);
    insta::assert_snapshot!(format_plan(&first), @"
    shop take shop-eu-daily-202611200200: eu-daily is due since 2h 30m
    shop-eu take shop-eu-daily-202611200200-b7253b35: daily is due since 2h 30m
    ");
    // Only the first was taken: the second is still due, under a name of its own, and the same one.
    let half = ActionPlan { steps: first.steps[..1].to_vec(), findings: vec![] };
    create_all(&mut world, &policy, &half);
    let second = plan(&policy, &world, &look, "r", now);
    assert_eq!(second.steps, first.steps[1..]);
    create_all(&mut world, &policy, &second);
    assert_eq!(plan(&policy, &world, &look, "r", now), ActionPlan::default());
    // At the gate alike.
    let ask = |reason: &str| RunRequest { reason: reason.into(), ..RunRequest::default() };
    let gate = plan(&policy, &world, &ask("eu-now"), "deploy", now);
    create_all(&mut world, &policy, &gate);
    let other = plan(&policy, &world, &ask("now"), "deploy", now);
    let id = other.steps[0].action.snapshot_id();
    assert!(id.starts_with("shop-eu-now-202611200430-") && !inventory_has(&world, id), "{id}");
}

#[test]
fn an_instance_and_a_cluster_of_one_name_are_two_databases() {
    let policy = parse_policy(POLICY);
    let now = parse_time("2026-11-20T04:30:00Z");
    let mut world = home_inventory(
        &policy,
        vec![db_instance("acme-a", now), db_cluster("acme-a", now)],
        vec![],
    );
    for request in [RunRequest::full_run(), on_demand_request()] {
        let plan = plan(&policy, &world, &request, "deploy", now);
        let family = |action: &SnapshotAction| match action {
            SnapshotAction::Create { family, .. } => *family,
            other => panic!("{other}"),
        };
        let families: Vec<_> = plan.steps.iter().map(|s| family(&s.action)).collect();
        assert_eq!(families, [DatabaseKind::Instance, DatabaseKind::Cluster]);
        assert_ne!(plan.steps[0].action.snapshot_id(), plan.steps[1].action.snapshot_id());
        create_all(&mut world, &policy, &plan);
    }
    assert_eq!(plan(&policy, &world, &RunRequest::full_run(), "r", now), ActionPlan::default());
}

#[test]
fn a_database_that_was_renamed_keeps_its_points_and_the_new_one_of_its_name_has_none() {
    let policy = parse_policy(POLICY);
    let now = parse_time("2026-11-20T04:30:00Z");
    let before = db_instance("acme-a", now);
    let points =
        vec![owned_snapshot(&policy, &before, "daily", parse_time("2026-11-20T02:00:00Z"))];
    // A blue/green switch: the old one is renamed, and the new one gets its name.
    let blue = RdsDatabase { id: "acme-a-old1".into(), ..before };
    let green = RdsDatabase { resource_id: "db-green".into(), ..db_instance("acme-a", now) };
    let world = home_inventory(&policy, vec![blue, green], points);
    let plan = plan(&policy, &world, &RunRequest::full_run(), "r", now);
    insta::assert_snapshot!(format_plan(&plan), @"acme-a take acme-a-daily-202611200200-ff21fbde: daily is due since 2h 30m");
}

#[test]
fn a_new_database_gets_one_snapshot_for_all_slots_that_have_passed() {
    let tiers = r#"
      daily: { schedule: { cron: "0 2 * * *" }, keep: { for: 7d } }
      weekly: { schedule: { cron: "0 1 * * 0" }, keep: { for: 31d } }
      monthly: { schedule: { cron: "0 3 1 * *" }, keep: { for: 366d } }
      yearly: { schedule: { cron: "0 3 1 1 *" }, keep: { for: 3650d } }
      hourly: { schedule: { cron: "0 * * * *" }, keep: { newest: 24 } }
"#;
    let daily = "\n      daily: { schedule: { cron: \"0 2 * * *\" }, keep: { for: 35d } }\n";
    let policy = parse_policy(&POLICY.replace(daily, tiers));
    let now = parse_time("2026-11-20T14:15:00Z");
    let mut world = home_inventory(&policy, vec![db_instance("acme-a", now)], vec![]);
    let first = plan(&policy, &world, &RunRequest::full_run(), "r", now);
    insta::assert_snapshot!(format_plan(&first), @"acme-a take acme-a-hourly-202611201400: hourly is due since 15m, daily is due since 12h 15m, weekly is due since 5d 13h, monthly is due since 19d 11h, yearly is due since 323d 11h");
    let SnapshotAction::Create { tags, .. } = &first.steps[0].action else { panic!("a take") };
    assert_eq!(
        tags["holdfast:also"],
        "daily:202611200200 weekly:202611150100 monthly:202611010300 yearly:202601010300"
    );
    create_all(&mut world, &policy, &first);
    assert_eq!(plan(&policy, &world, &RunRequest::full_run(), "r", now), ActionPlan::default());
    // An hour later, one reason is due, and one snapshot is taken for it.
    let later =
        plan(&policy, &world, &RunRequest::full_run(), "r", now + SignedDuration::from_hours(1));
    insta::assert_snapshot!(format_plan(&later), @"acme-a take acme-a-hourly-202611201500: hourly is due since 15m");
}

#[test]
fn a_demand_is_not_answered_by_what_its_name_meant_long_ago() {
    let policy = parse_policy(POLICY);
    let now = parse_time("2026-11-20T04:30:00Z");
    let a = db_instance("acme-a", now);
    let of_demand = |hours: i64| {
        let time = now - SignedDuration::from_hours(hours);
        let mut p = owned_snapshot(&policy, &a, "pre-deploy", time);
        p.tags.request = Some("deploy".into());
        p
    };
    let asked = |points: Vec<RecoveryPoint>| {
        format_plan(&plan(
            &policy,
            &home_inventory(&policy, vec![a.clone()], points),
            &on_demand_request(),
            "deploy",
            now,
        ))
    };
    insta::assert_snapshot!(asked(vec![of_demand(23)]), @"acme-a wait for acme-a-pre-deploy-202611190530: an earlier try of the demand deploy started it");
    insta::assert_snapshot!(asked(vec![of_demand(30 * 24)]), @"acme-a take acme-a-pre-deploy-202611200430: asked for by deploy");
    // Under any name that a person may write.
    let odd = "PR #12 (hotfix)";
    let mut world = home_inventory(&policy, vec![a.clone()], vec![]);
    let first = plan(&policy, &world, &on_demand_request(), odd, now);
    create_all(&mut world, &policy, &first);
    assert!(matches!(
        plan(&policy, &world, &on_demand_request(), odd, now).steps[0].action,
        SnapshotAction::Wait { .. }
    ));
}

#[test]
fn a_demand_is_not_stopped_by_what_it_does_not_ask_for() {
    let policy = parse_policy(
        r#"
holdfast: 1
company: acme
home: { account: "111122223333", region: eu-west-1 }
databases:
  one: { select: { identifiers: [a, gone-of-one] }, snapshots: { pre-deploy: { keep: { for: 7d } } } }
  two: { select: { identifiers: [b, gone-of-two] }, expect: 2, snapshots: { daily: { keep: { for: 7d } } } }
"#,
    );
    let now = parse_time("2026-11-20T04:30:00Z");
    let world = home_inventory(&policy, vec![db_instance("a", now), db_instance("b", now)], vec![]);
    let asked = |assets: &[&str]| {
        let assets = assets.iter().map(ToString::to_string).collect();
        format_plan(&plan(&policy, &world, &RunRequest { assets, ..on_demand_request() }, "d", now))
    };
    insta::assert_snapshot!(asked(&["a"]), @"a take a-pre-deploy-202611200430: asked for by d");
    insta::assert_snapshot!(asked(&[]), @"
    a take a-pre-deploy-202611200430: asked for by d
    critical gone-of-one database-missing: the policy names it and RDS has no instance or cluster of that name; check the name; if it was deleted on purpose, take it out of the policy
    ");
}

mod weeks {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..Default::default() })]

        /// Whatever fails for however long, each slot is taken once, by at most three tries, under names that are all
        /// different, and each reason is served as soon as RDS lets it.
        #[test]
        fn every_slot_is_taken_once_whatever_fails(
            hours in prop::collection::vec((1i64..40, 0u8..3), 1..40), twins in any::<bool>(),
        ) {
            let weekly = "      weekly: { schedule: { cron: \"0 1 * * 0\" }, keep: { for: 35d } }\n      pre-deploy";
            let policy = parse_policy(&POLICY.replace("      pre-deploy", weekly));
            let mut now = parse_time("2026-03-25T12:00:00Z");
            let mut databases = vec![db_instance("acme-a", now), db_instance("acme-a-daily", now)];
            if twins {
                databases.push(db_cluster("acme-a", now));
            }
            let mut world = home_inventory(&policy, databases, vec![]);
            let home = Location::home_from_policy(&policy);
            for (wait, fails) in hours {
                now += SignedDuration::from_hours(wait);
                for _ in 0..fails {
                    let tried = plan(&policy, &world, &RunRequest::full_run(), "r", now);
                    create_all(&mut world, &policy, &tried);
                    shared::model::complete_in_flight(&mut world, now, |_| false);
                }
                let tried = plan(&policy, &world, &RunRequest::full_run(), "r", now);
                create_all(&mut world, &policy, &tried);
                shared::model::complete_in_flight(&mut world, now, |_| true);
                prop_assert_eq!(plan(&policy, &world, &RunRequest::full_run(), "r", now), ActionPlan::default());
            }
            let fleet = &world.locations[&home];
            let ids: BTreeSet<_> = fleet.points.iter().map(|p| (p.kind, &p.id)).collect();
            prop_assert_eq!(ids.len(), fleet.points.len());
            for database in &fleet.databases {
                let by = fleet.points_by_database();
                for reason in ["daily", "weekly"] {
                    let of: Vec<_> = by.for_database(database).into_iter().filter(|p| p.has_reason(reason)).collect();
                    let good: Vec<_> = of.iter().filter(|p| p.is_complete()).filter_map(|p| p.slot_for(reason)).collect();
                    let slots: BTreeSet<_> = good.iter().collect();
                    prop_assert_eq!(good.len(), slots.len(), "{} of {}", reason, &database.id);
                    prop_assert!(slots.len() <= of.len() && of.len() <= 3 * slots.len());
                }
            }
        }
    }
}

#[test]
fn only_what_is_made_is_recorded_as_a_backup() {
    let id = || "orders-daily-202611200200".to_owned();
    let reused = SnapshotAction::Reuse { id: id() };
    let awaited =
        SnapshotAction::Wait { family: shared::catalog::DatabaseKind::Instance, id: id() };
    assert_eq!(reused.operation(), Operation::Other);
    assert_eq!(awaited.operation(), Operation::Backup);
}

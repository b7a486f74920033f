use super::*;
use shared::model::{at, automated, database, point, policy, seen};

const POLICY: &str = r#"
holdfast: 1
company: acme
home: { account: "111122223333", region: eu-west-1 }
databases:
  fleet:
    select: { like: ["acme-*"] }
    snapshots:
      daily: { when: { cron: "0 2 * * *" }, keep: { for: 35d } }
      pre-deploy: { keep: { for: 90d } }
"#;

fn print(plan: &Plan<Action>) -> String {
    let steps = plan.steps.iter().map(|s| format!("{} {}: {}", s.asset, s.action, s.because));
    steps.chain(plan.findings.iter().map(ToString::to_string)).collect::<Vec<_>>().join("\n")
}

fn demand() -> Request {
    Request { reason: "pre-deploy".into(), ..Request::default() }
}

#[test]
fn a_slot_is_due_until_it_has_a_good_or_growing_snapshot() {
    let policy = policy(POLICY);
    let now = at("2026-11-20T04:30:00Z");
    let db = |id: &str| database(id, now);
    let slot = at("2026-11-20T02:00:00Z");
    let with = |mut p: Point, state: State| {
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
    let before = point(&policy, &renewed, "daily", slot);
    renewed.resource_id = "db-made-again".into();
    let failures = (1..=3).map(|n| {
        let mut p = with(point(&policy, &hopeless, "daily", slot), State::Failed("failed".into()));
        p.id = name::attempt(&p.id, n);
        p
    });
    let mut points = vec![
        point(&policy, &old, "daily", at("2026-11-19T02:00:00Z")),
        point(&policy, &done, "daily", slot),
        with(point(&policy, &growing, "daily", slot), State::InFlight),
        with(point(&policy, &failed, "daily", slot), State::Failed("failed".into())),
        before,
        automated(&policy, &none, slot),
    ];
    points.extend(failures);
    let world =
        seen(&policy, vec![none, old, done, growing, failed, hopeless, stopped, renewed], points);
    let plan = plan(&policy, &world, &Request::look(), "run-1", now);
    insta::assert_snapshot!(print(&plan), @"
    acme-none take acme-none-daily-202611200200: daily is due since 2h 30m
    acme-old take acme-old-daily-202611200200: daily is due since 2h 30m
    acme-failed take acme-failed-daily-202611200200-r2: daily is due since 2h 30m
    acme-renewed take acme-renewed-daily-202611200200-r2: daily is due since 2h 30m
    critical acme-hopeless keeps-failing: 3 tries of daily for 202611200200 failed; see the database's events in RDS
    warning acme-stopped deferred: daily is due since 2h 30m and the database is stopped; start the database: what is stopped is not backed up, and RDS starts it by itself after 7 days
    ");
}

#[test]
fn a_demand_is_done_once_however_often_it_is_delivered() {
    let policy = policy(POLICY);
    let now = at("2026-11-20T04:30:00Z");
    let mut world = seen(&policy, vec![database("acme-a", now), database("acme-b", now)], vec![]);
    let first = plan(&policy, &world, &demand(), "deploy-7", now);
    insta::assert_snapshot!(print(&first), @"
    acme-a take acme-a-pre-deploy-202611200430: asked for by deploy-7
    acme-b take acme-b-pre-deploy-202611200430: asked for by deploy-7
    ");
    for step in &first.steps {
        let Action::Take { database, id, tags, .. } = &step.action else {
            panic!("{}", step.action)
        };
        shared::model::taken(&mut world, &policy, database, id, tags);
    }
    // Lambda delivers a failed asynchronous invocation again, a minute and then two minutes later.
    let again =
        plan(&policy, &world, &demand(), "deploy-7", now + jiff::SignedDuration::from_mins(1));
    assert!(
        again.steps.iter().all(|s| matches!(s.action, Action::Await { .. })),
        "{}",
        print(&again)
    );
    let other =
        plan(&policy, &world, &demand(), "deploy-8", now + jiff::SignedDuration::from_mins(1));
    assert!(
        other.steps.iter().all(|s| matches!(s.action, Action::Take { .. })),
        "{}",
        print(&other)
    );
}

#[test]
fn a_demand_reuses_a_young_point_only_when_asked_to() {
    let policy = policy(POLICY);
    let now = at("2026-11-20T04:30:00Z");
    let (a, b) = (database("acme-a", now), database("acme-b", now));
    let points = vec![
        point(&policy, &a, "daily", at("2026-11-20T04:20:00Z")),
        point(&policy, &b, "daily", at("2026-11-20T02:00:00Z")),
    ];
    let world = seen(&policy, vec![a, b], points);
    let mut request = demand();
    assert!(
        plan(&policy, &world, &request, "d", now)
            .steps
            .iter()
            .all(|s| matches!(s.action, Action::Take { .. }))
    );
    request.reuse = Some("15m".parse().expect("a period"));
    insta::assert_snapshot!(print(&plan(&policy, &world, &request, "d", now)), @"
    acme-a reuse acme-a-daily-202611200420: its data is 10m old, which is young enough
    acme-b take acme-b-pre-deploy-202611200430: asked for by d
    ");
}

#[test]
fn a_demand_for_what_is_not_there_is_refused_whole() {
    let policy = policy(POLICY);
    let now = at("2026-11-20T04:30:00Z");
    let world = seen(&policy, vec![database("acme-a", now)], vec![]);
    let asked = |reason: &str, assets: &[&str]| {
        let request = Request {
            reason: reason.into(),
            assets: assets.iter().map(ToString::to_string).collect(),
            ..Request::default()
        };
        print(&plan(&policy, &world, &request, "d", now))
    };
    insta::assert_snapshot!(asked("pre-deploy", &["acme-a", "acme-z"]), @"critical acme-z unknown-asset: no group of the policy selects a database of that name; write one of: acme-a");
    insta::assert_snapshot!(asked("predeploy", &[]), @r#"critical request unknown-reason: no group of the policy takes snapshots for "predeploy"; did you mean "pre-deploy"?"#);
}

#[test]
fn what_can_not_be_seen_gets_no_snapshot_and_is_said() {
    let policy = policy(POLICY);
    let mut world = Seen::default();
    let mend = "allow this action in the role that made the call".into();
    world.gaps.push(shared::catalog::Gap {
        place: Place::home(&policy),
        why: "describe DB instances: AccessDenied".into(),
        mend,
    });
    insta::assert_snapshot!(print(&plan(&policy, &world, &Request::look(), "r", at("2026-11-20T04:30:00Z"))), @"critical eu-west-1 in 111122223333 gap: describe DB instances: AccessDenied; allow this action in the role that made the call");
    let empty = seen(&policy, vec![], vec![]);
    insta::assert_snapshot!(print(&plan(&policy, &empty, &Request::look(), "r", at("2026-11-20T04:30:00Z"))), @"critical fleet too-few: the group selects 0 databases and the policy expects 1; check the selection, or expect, in the policy");
}

#[test]
fn an_assets_own_tags_are_on_its_snapshot() {
    let policy = policy(POLICY);
    let now = at("2026-11-20T04:30:00Z");
    let world = seen(&policy, vec![database("acme-a", now)], vec![]);
    let plan = plan(&policy, &world, &Request::look(), "r", now);
    let Action::Take { tags, .. } = &plan.steps[0].action else { panic!("a take") };
    insta::assert_debug_snapshot!(tags, @r#"
    {
        "env": "prod",
        "holdfast:asset": "acme-a",
        "holdfast:policy": "acme",
        "holdfast:reason": "daily",
        "holdfast:slot": "202611200200",
    }
    "#);
}

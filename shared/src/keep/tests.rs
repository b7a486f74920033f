use super::*;
use crate::catalog::{DatabaseKind, HoldfastTags};
use proptest::prelude::*;

fn parse_time(s: &str) -> Timestamp {
    s.parse().expect("a timestamp")
}

fn retention_rule(json: serde_json::Value) -> RetentionRule {
    serde_json::from_value(json).expect("a rule")
}

/// A good point of ours, taken for "daily".
fn sample_point(id: &str, data_time: Timestamp) -> RecoveryPoint {
    RecoveryPoint {
        id: id.into(),
        arn: format!("arn:aws:rds:eu-west-1:111122223333:snapshot:{id}"),
        database: "orders".into(),
        resource_id: "db-A".into(),
        kind: DatabaseKind::Instance,
        automated: false,
        state: RecoveryPointState::Good,
        data_time: Some(data_time),
        started: Some(data_time),
        size_gib: 20,
        encrypted: true,
        kms_key: None,
        option_group: None,
        source_arn: None,
        tags: HoldfastTags {
            owner: Some("acme@here".into()),
            reason: Some("daily".into()),
            slot: Some(crate::time::format_slot(data_time)),
            ..HoldfastTags::default()
        },
    }
}

fn retention_input<'a>(points: &'a [RecoveryPoint], rule: &'a RetentionRule) -> RetentionInput<'a> {
    let kind = ReasonRetention { keep: vec![rule], precondition: DeletionPrecondition::Nothing };
    RetentionInput {
        owner: "acme@here",
        points: points.iter().collect(),
        reasons: BTreeMap::from([("daily", kind)]),
        min_count: 1,
        ..RetentionInput::default()
    }
}

fn format_verdicts(points: &[RecoveryPoint], fates: &[RetentionVerdict]) -> String {
    let line = |(p, f): (&RecoveryPoint, &RetentionVerdict)| match f {
        RetentionVerdict::Keep(why) => format!("{:12} stays {}", p.id, why.join(", ")),
        RetentionVerdict::Suspended(why) => format!("{:12} waits {why}", p.id),
        RetentionVerdict::Delete(_, why) => format!("{:12} GOES  {why}", p.id),
    };
    points.iter().zip(fates).map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn tiers_count_the_last_point_of_each_period() {
    let days = [
        "2026-11-20T02:00:00Z",
        "2026-11-19T14:00:00Z",
        "2026-11-19T02:00:00Z",
        "2026-11-15T02:00:00Z",
        "2026-11-09T02:00:00Z",
        "2026-10-31T02:00:00Z",
        "2026-10-01T02:00:00Z",
        "2025-12-31T02:00:00Z",
    ];
    let times: Vec<_> = days.iter().map(|d| (&d[..13], parse_time(d))).collect();
    let rule = retention_rule(
        serde_json::json!({"daily": 2, "weekly": 2, "monthly": 2, "yearly": 2, "newest": 1, "for": "25h"}),
    );
    let now = parse_time("2026-11-20T12:00:00Z");
    let why = reasons_to_keep(&times, &rule, now);
    let lines: Vec<_> = times
        .iter()
        .map(|(k, _)| format!("{k}: {}", why.get(k).map_or("-".into(), |w| w.join(", "))))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @"
    2026-11-20T02: younger than 25h, by 15h, daily 1 of 2, weekly 1 of 2, monthly 1 of 2, yearly 1 of 2, newest 1 of 1
    2026-11-19T14: younger than 25h, by 3h, daily 2 of 2
    2026-11-19T02: -
    2026-11-15T02: weekly 2 of 2
    2026-11-09T02: -
    2026-10-31T02: monthly 2 of 2
    2026-10-01T02: -
    2025-12-31T02: yearly 2 of 2
    ");
}

#[test]
fn every_safety_question_is_asked() {
    let now = parse_time("2026-11-20T12:00:00Z");
    let day = |n: i64| now - SignedDuration::from_hours(24 * n);
    let change = |id: &str, age: i64, f: fn(&mut RecoveryPoint)| {
        let mut p = sample_point(id, day(age));
        f(&mut p);
        p
    };
    let points = [
        sample_point("new", day(0)),
        sample_point("old", day(40)),
        change("by-hand", 40, |p| p.tags = HoldfastTags::default()),
        change("other", 40, |p| p.tags.owner = Some("acme@elsewhere".into())),
        change("rds", 40, |p| p.automated = true),
        change("tag-held", 40, |p| p.tags.legal_hold = Some("audit 7".into())),
        change("list-held", 40, |_| ()),
        change("arn-held", 40, |_| ()),
        change("wanted", 40, |_| ()),
        change("creating", 40, |p| (p.state, p.data_time) = (RecoveryPointState::InFlight, None)),
        change("failed", 40, |p| {
            (p.state, p.data_time) = (RecoveryPointState::Failed("failed".into()), None);
        }),
        change("failed-now", -1, |p| {
            (p.state, p.data_time) = (RecoveryPointState::Failed("failed".into()), None);
        }),
        change("wrong", 1, |_| ()),
        change("no-time", 40, |p| p.data_time = None),
        change("other-why", 40, |p| p.tags.reason = Some("quarterly".into())),
        change("hop", 1, |p| p.tags.transfer = true),
        change("hop-done", 1, |p| p.tags.transfer = true),
        change("future", -2, |_| ()),
        change("two-reasons", 40, |p| {
            p.tags.additional_reasons = vec![("quarterly".into(), "202601010000".into())];
        }),
    ];
    let rule = retention_rule(serde_json::json!({"for": "35d"}));
    let arn = |id: &str| points.iter().find(|p| p.id == id).expect("a point").arn.as_str();
    // Whatever the case, by identifier or by ARN.
    let holds = ["List-Held".to_owned(), arn("arn-held").to_uppercase(), "lst-held".to_owned()];
    let mut q = retention_input(&points, &rule);
    q.holds = &holds;
    q.needed = BTreeMap::from([(arn("wanted"), "its copy to vault is in flight".to_owned())]);
    q.transferred = BTreeSet::from([arn("hop-done")]);
    q.mismatched = BTreeMap::from([(arn("wrong"), "it is under another key".to_owned())]);
    let owed = DeletionPrecondition::Since(parse_time("2026-11-19T02:00:00Z"));
    q.reasons.insert("daily", ReasonRetention { keep: vec![&rule], precondition: owed });
    assert_eq!(find_unmatched_holds(&holds, &q.points), ["lst-held"]);
    insta::assert_snapshot!(format_verdicts(&points, &decide_retention(&q, now)), @r#"
    new          stays younger than 35d, by 35d
    old          GOES  no line of the rule for "daily" keeps it
    by-hand      stays Holdfast did not make it for this policy
    other        stays Holdfast did not make it for this policy
    rds          stays RDS lets its own snapshots go itself
    tag-held     stays held: audit 7
    list-held    stays held by the policy
    arn-held     stays held by the policy
    wanted       stays its copy to vault is in flight
    creating     stays it is still on its way
    failed       GOES  it is failed and a newer one is good
    failed-now   stays it failed and no newer one is good yet
    wrong        stays it does not count, and a person has to look: it is under another key
    no-time      stays the time of its data is unknown
    other-why    stays no rule of the policy speaks of "quarterly"
    hop          stays a transfer copy that is still to be copied on
    hop-done     GOES  a transfer copy whose onward copy is good
    future       stays its time is in the future
    two-reasons  stays no rule of the policy speaks of "quarterly"
    "#);
}

#[test]
fn the_floor_stays_when_every_point_has_expired() {
    let points = [
        sample_point("a", parse_time("2026-01-01T00:00:00Z")),
        sample_point("b", parse_time("2026-02-01T00:00:00Z")),
        sample_point("c", parse_time("2026-03-01T00:00:00Z")),
    ];
    let rule = retention_rule(serde_json::json!({"for": "7d"}));
    let mut q = retention_input(&points, &rule);
    q.min_count = 2;
    insta::assert_snapshot!(format_verdicts(&points, &decide_retention(&q, parse_time("2026-11-20T00:00:00Z"))), @r#"
    a            GOES  no line of the rule for "daily" keeps it
    b            stays one of the 2 that always stay
    c            stays one of the 2 that always stay
    "#);
}

#[test]
fn nothing_goes_while_backups_are_failing() {
    // An older tool, whose takes failed for 8 days with 7 days' retention, deleted 15 of 15.
    let now = parse_time("2026-11-20T00:00:00Z");
    let mut points: Vec<_> = (8..23)
        .map(|d| sample_point(&format!("d{d}"), now - SignedDuration::from_hours(24 * d)))
        .collect();
    let rule = retention_rule(serde_json::json!({"for": "7d"}));
    let goes = |points: &[RecoveryPoint], owed: DeletionPrecondition, max_age: Option<i64>| {
        let mut q = retention_input(points, &rule);
        q.reasons.insert("daily", ReasonRetention { keep: vec![&rule], precondition: owed });
        q.max_age = max_age.map(SignedDuration::from_hours);
        decide_retention(&q, now)
            .iter()
            .filter(|f| matches!(f, RetentionVerdict::Delete(..)))
            .count()
    };
    let due = || DeletionPrecondition::Since(parse_time("2026-11-19T02:00:00Z"));
    assert_eq!(goes(&points, due(), None), 0, "no optional key is needed");
    assert_eq!(goes(&points, DeletionPrecondition::NotMade("why".into()), None), 0);
    assert_eq!(goes(&points, DeletionPrecondition::OnDemand, Some(25)), 0);
    assert_eq!(goes(&points, DeletionPrecondition::OnDemand, None), 14, "all but the floor");
    // Points that Holdfast did not make for this policy are no backups of its own, and neither are failed ones or transfers.
    let fresh = || sample_point("fresh", parse_time("2026-11-19T02:10:00Z"));
    let others: [fn(&mut RecoveryPoint); 7] = [
        |p| p.automated = true,
        |p| p.tags.owner = None,
        |p| p.tags.owner = Some("acme@elsewhere".into()),
        |p| p.state = RecoveryPointState::InFlight,
        |p| p.tags.transfer = true,
        |p| p.tags.reason = Some("pre-deploy".into()),
        |p| p.data_time = Some(parse_time("2026-11-21T00:00:00Z")),
    ];
    for (i, change) in others.into_iter().enumerate() {
        let mut other = fresh();
        change(&mut other);
        points.push(other);
        assert_eq!(goes(&points, due(), None), 0, "{i}");
        points.pop();
    }
    points.push(fresh());
    assert_eq!(goes(&points, due(), None), 15);
    // One point that serves two reasons counts for both.
    let both = points.last_mut().expect("a point");
    both.tags.reason = Some("weekly".into());
    both.tags.additional_reasons = vec![("daily".into(), "202611190200".into())];
    assert_eq!(goes(&points, due(), None), 15);
}

#[test]
fn an_on_demand_kind_waits_only_after_its_newest_try_failed() {
    let now = parse_time("2026-11-20T00:00:00Z");
    let day = |n: i64| now - SignedDuration::from_hours(24 * n);
    let rule = retention_rule(serde_json::json!({"for": "7d"}));
    let mut points = vec![
        sample_point("old", day(60)),
        sample_point("last", day(40)),
        sample_point("failed", day(10)),
    ];
    let fates = |points: &[RecoveryPoint]| {
        let mut q = retention_input(points, &rule);
        q.reasons.insert(
            "daily",
            ReasonRetention { keep: vec![&rule], precondition: DeletionPrecondition::OnDemand },
        );
        format_verdicts(points, &decide_retention(&q, now))
    };
    (points[2].state, points[2].data_time) = (RecoveryPointState::Failed("failed".into()), None);
    insta::assert_snapshot!(fates(&points), @r#"
    old          waits the newest try for "daily", failed, failed; nothing of it goes
    last         stays one of the 1 that always stay
    failed       stays it failed and no newer one is good yet
    "#);
    // Asked again, it succeeded.
    points.push(sample_point("again", day(10)));
    insta::assert_snapshot!(fates(&points), @r#"
    old          GOES  no line of the rule for "daily" keeps it
    last         GOES  no line of the rule for "daily" keeps it
    failed       GOES  it is failed and a newer one is good
    again        stays one of the 1 that always stay
    "#);
}

#[test]
fn of_failed_points_only_the_newest_tries_stay_and_none_when_a_good_one_took_their_place() {
    let now = parse_time("2026-11-20T12:00:00Z");
    let rule = retention_rule(serde_json::json!({"newest": 3}));
    // Copies of RDS's own snapshots have no slot: they are known by their source and its time.
    let copy = |id: &str, source: &str, time: &str, state: RecoveryPointState| {
        let mut p = sample_point(id, parse_time(time));
        (p.state, p.data_time) =
            (state.clone(), (state == RecoveryPointState::Good).then(|| parse_time(time)));
        p.tags.reason = Some("daily".into());
        p.tags.slot = None;
        p.tags.copy_of = Some(source.into());
        p.tags.data_time = Some(parse_time(time));
        p
    };
    let failed = || RecoveryPointState::Failed("failed".into());
    let mut points = vec![
        copy("a-1", "a", "2026-11-17T02:00:00Z", failed()),
        copy("a-2", "a", "2026-11-17T02:00:00Z", failed()),
        copy("b-1", "b", "2026-11-18T02:00:00Z", failed()),
        copy("c-1", "c", "2026-11-19T02:00:00Z", failed()),
        copy("c-2", "c", "2026-11-19T02:00:00Z", failed()),
    ];
    let fates = |points: &[RecoveryPoint]| {
        format_verdicts(points, &decide_retention(&retention_input(points, &rule), now))
    };
    let kinds = |owed| {
        BTreeMap::from([("daily", ReasonRetention { keep: vec![&rule], precondition: owed })])
    };
    let owed = DeletionPrecondition::Since(parse_time("2026-11-20T02:00:00Z"));
    let q = RetentionInput { reasons: kinds(owed), ..retention_input(&points, &rule) };
    insta::assert_snapshot!(format_verdicts(&points, &decide_retention(&q, now)), @"
    a-1          GOES  it is failed and a newer try tells how it stands
    a-2          GOES  it is failed and a newer try tells how it stands
    b-1          GOES  it is failed and a newer try tells how it stands
    c-1          stays it failed and no newer one is good yet
    c-2          stays it failed and no newer one is good yet
    ");
    points.push(copy("c-3", "c", "2026-11-19T02:00:00Z", RecoveryPointState::Good));
    insta::assert_snapshot!(fates(&points), @"
    a-1          GOES  it is failed and a newer one is good
    a-2          GOES  it is failed and a newer one is good
    b-1          GOES  it is failed and a newer one is good
    c-1          GOES  it is failed and a newer one is good
    c-2          GOES  it is failed and a newer one is good
    c-3          stays newest 1 of 3
    ");
}

#[test]
fn what_two_rules_keep_is_kept_by_either() {
    let now = parse_time("2026-11-20T12:00:00Z");
    let times = ["2026-11-20", "2026-11-19", "2026-11-18", "2026-10-31", "2026-10-30"];
    let points: Vec<_> =
        times.map(|d| sample_point(d, parse_time(&format!("{d}T02:00:00Z")))).to_vec();
    let rules = [
        retention_rule(serde_json::json!({"newest": 2})),
        retention_rule(serde_json::json!({"monthly": 12})),
    ];
    let mut q = retention_input(&points, &rules[0]);
    q.reasons.insert(
        "daily",
        ReasonRetention {
            keep: rules.iter().collect(),
            precondition: DeletionPrecondition::Nothing,
        },
    );
    insta::assert_snapshot!(format_verdicts(&points, &decide_retention(&q, now)), @r#"
    2026-11-20   stays newest 1 of 2, monthly 1 of 12
    2026-11-19   stays newest 2 of 2
    2026-11-18   GOES  no line of the rule for "daily" keeps it
    2026-10-31   stays monthly 2 of 12
    2026-10-30   GOES  no line of the rule for "daily" keeps it
    "#);
}

prop_compose! {
    fn any_point()(
        days in -3i64..400, reason in prop::sample::select(vec!["daily", "pre-deploy", "gone"]),
        ours in prop::bool::weighted(0.8), automated in prop::bool::weighted(0.1), held in prop::bool::weighted(0.1),
        state in prop::sample::select(vec![RecoveryPointState::Good, RecoveryPointState::Good, RecoveryPointState::Good, RecoveryPointState::InFlight, RecoveryPointState::Failed("failed".into())]),
        transfer in prop::bool::weighted(0.1), known in prop::bool::weighted(0.9),
    ) -> (i64, RecoveryPoint) {
        let mut p = sample_point("x", Timestamp::UNIX_EPOCH);
        p.automated = automated;
        p.state = state;
        p.tags.reason = Some(reason.into());
        p.tags.owner = Some(if ours { "acme@here" } else { "acme@elsewhere" }.into());
        p.tags.legal_hold = held.then(|| "why".into());
        p.tags.transfer = transfer;
        if !known { p.data_time = None; }
        (days, p)
    }
}

fn any_rule() -> impl Strategy<Value = RetentionRule> {
    (1u32..400, 0u32..10, 0u32..5, 0u32..5).prop_map(|(days, newest, weekly, monthly)| {
        let mut json = serde_json::json!({ "for": format!("{days}d") });
        for (key, n) in [("newest", newest), ("weekly", weekly), ("monthly", monthly)] {
            if n > 0 {
                json[key] = n.into();
            }
        }
        retention_rule(json)
    })
}

proptest! {
    /// Runs of any length with any clock: what goes is ours, expired, free, and the floor is never touched.
    #[test]
    fn no_history_and_no_clock_deletes_the_last_good_points(
        history in prop::collection::vec(any_point(), 0..40),
        rules in (any_rule(), any_rule()),
        floor in 1usize..5,
        max_age in prop::option::of(1i64..60),
        schedule in prop::option::of(prop::sample::select(vec!["0 2 * * *", "0 1 * * 0", "0 4 1 * *"])),
        clocks in prop::collection::vec(-400i64..4000, 1..6),
    ) {
        let start = parse_time("2026-11-20T12:00:00Z");
        let mut points: Vec<RecoveryPoint> = history.into_iter().enumerate().map(|(i, (days, mut p))| {
            p.id = format!("p{i}");
            p.arn = format!("arn:p{i}");
            if p.data_time.is_some() {
                p.data_time = Some(start - SignedDuration::from_hours(24 * days));
            }
            p
        }).collect();
        let good = |points: &[RecoveryPoint]| points.iter()
            .filter(|p| p.is_complete() && p.is_owned_by("acme@here") && !p.tags.transfer && !p.automated).count();
        let before = good(&points);
        for clock in clocks {
            let now = start + SignedDuration::from_hours(24 * clock);
            let mut q = retention_input(&points, &rules.0);
            let when = schedule.map(|cron| {
                serde_json::from_value::<ScheduleConfig>(serde_json::json!({ "cron": cron })).expect("when")
            });
            let owed = DeletionPrecondition::from_schedule(when.as_ref(), &ZoneName::default(), now);
            q.reasons.insert("daily", ReasonRetention { keep: vec![&rules.0], precondition: owed.clone() });
            q.reasons.insert("pre-deploy", ReasonRetention { keep: vec![&rules.1], precondition: DeletionPrecondition::OnDemand });
            q.min_count = floor;
            q.max_age = max_age.map(|d| SignedDuration::from_hours(24 * d));
            let fates = decide_retention(&q, now);
            for (p, fate) in points.iter().zip(&fates) {
                if let RetentionVerdict::Delete(cleared, _) = fate {
                    prop_assert_eq!(cleared.point(), p);
                    prop_assert!(p.is_owned_by("acme@here") && !p.automated && p.tags.legal_hold.is_none());
                    if p.is_complete() && !p.tags.transfer && p.has_reason("daily") && let DeletionPrecondition::Since(due) = &owed {
                        let covers = |o: &&RecoveryPoint| o.is_complete() && o.is_owned_by("acme@here") && !o.automated && !o.tags.transfer
                            && o.has_reason("daily") && o.data_time.is_some_and(|t| t <= now && t + MAX_TIME_BEFORE_DUE >= *due);
                        prop_assert!(points.iter().any(|o| covers(&o)), "backups are not being made");
                    }
                    if p.is_complete() && !p.tags.transfer {
                        let rule = if p.reason() == "daily" { &rules.0 } else { &rules.1 };
                        let age = now.duration_since(p.data_time.expect("a time"));
                        prop_assert!(age >= rule.age.as_ref().expect("for").duration());
                    }
                }
            }
            let mut stay = fates.iter().map(|f| !matches!(f, RetentionVerdict::Delete(..)));
            points.retain(|_| stay.next().unwrap_or(true));
        }
        prop_assert!(good(&points) >= before.min(floor));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]
    /// Storing what did not change once must let nothing go that would have stayed.
    #[test]
    fn data_that_was_stored_once_stays_as_long_as_if_it_had_been_stored_each_time(
        changes in proptest::collection::vec(any::<bool>(), 1..120), hours in 1_i64..60,
        daily in 1_u32..10, weekly in 1_u32..6, monthly in 1_u32..6, newest in 1_u32..8,
    ) {
        let now = parse_time("2026-11-20T12:00:00Z");
        let rule = retention_rule(serde_json::json!({
            "daily": daily, "weekly": weekly, "monthly": monthly, "newest": newest, "for": "36h",
        }));
        let mut data = 0;
        let taken: Vec<_> = (changes.iter().rev().enumerate())
            .map(|(i, changed)| {
                data += u32::from(*changed);
                let ago = i64::try_from(changes.len() - 1 - i).expect("few") * hours;
                (i, data, now - SignedDuration::from_hours(ago))
            })
            .collect();
        let each: Vec<_> = taken.iter().map(|(i, _, at)| (*i, *at)).collect();
        let once: Vec<_> = taken.iter().map(|(_, data, at)| (*data, *at)).collect();
        let (each, once) = (reasons_to_keep(&each, &rule, now), reasons_to_keep(&once, &rule, now));
        for (i, data, _) in taken {
            prop_assert!(!each.contains_key(&i) || once.contains_key(&data), "{data} of dump {i}");
        }
    }
}

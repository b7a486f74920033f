//! What time alone brings: steps, the digest, silence, signs of life, recoveries, clocks that jump.

use super::*;
use crate::heard::{RestoreEvent, RestoreStage};

#[test]
fn missed_ticks_take_all_steps_at_once_and_each_step_once() {
    let mut h = NotifyHistory::new();
    h.freshness_run("00:15", vec![stale_finding("orders")]);
    h.freshness_run("05:00", vec![stale_finding("orders")]);
    let still: Vec<_> = h.state.incidents.values().map(|t| t.step).collect();
    assert!(still.contains(&2), "{still:?}");
    assert!(h.freshness_run("05:15", vec![stale_finding("orders")]).is_empty());
    let mut h = NotifyHistory::new();
    h.freshness_run("00:15", vec![stale_finding("orders")]);
    let told = h.freshness_run("05:00", vec![stale_finding("orders")]);
    let still: Vec<_> = told.iter().filter(|t| t.contains("still open after 4h 45m")).collect();
    assert_eq!(still.len(), 2, "manager and pager, once each: {told:?}");
}

#[test]
fn the_digest_is_sent_once_a_day_in_the_policys_zone_also_when_it_is_late() {
    let mut h = NotifyHistory::new();
    let digests = |h: &mut NotifyHistory, hhmm: &str| {
        h.plan_events(
            time_of_day(hhmm),
            &[report_event(reported_run(
                "freshness",
                time_of_day(hhmm),
                vec![stale_finding("orders")],
            ))],
        )
        .into_iter()
        .filter(|t| t.message.kind == MessageKind::Digest)
        .collect::<Vec<_>>()
    };
    assert!(digests(&mut h, "00:15").is_empty(), "what was due before the first look is nobody's");
    assert!(digests(&mut h, "05:59").is_empty());
    let sent = digests(&mut h, "06:40");
    assert_eq!(sent.len(), 1, "8:00 in Sofia is 6:00 UTC in November");
    assert_eq!(sent[0].message.title, "1 problem is open");
    assert_eq!(sent[0].message.incidents.len(), 1);
    assert!(sent[0].message.lines[0].contains("opened"), "{:?}", sent[0].message.lines);
    assert!(digests(&mut h, "06:45").is_empty());
    assert!(digests(&mut h, "23:00").is_empty());
}

#[test]
fn a_function_that_says_nothing_is_told_and_no_sign_of_life_is_given() {
    let mut h = NotifyHistory::new();
    let text = format!("{POLICY}  heartbeat: {{ http: {{ env: H }}, every: 5m }}\n");
    h.policy = Policy::parse(&text).expect("a policy");
    let beats = |h: &NotifyHistory, hhmm: &str| {
        is_heartbeat_due(h.policy.notify.as_ref().expect("notify"), &h.state, time_of_day(hhmm))
    };
    assert!(h.message_lines(time_of_day("00:05"), &[]).is_empty());
    assert!(!beats(&h, "00:05"), "nothing was heard yet");
    h.freshness_run("00:15", vec![]);
    assert!(beats(&h, "00:15"));
    h.state.heartbeat = Some(time_of_day("00:15"));
    assert!(!beats(&h, "00:18") && beats(&h, "00:20"));
    assert!(h.message_lines(time_of_day("01:00"), &[]).is_empty());
    let told = h.message_lines(time_of_day("01:05"), &[]);
    assert!(
        told.contains(&"pager critical: function/freshness: missing-heartbeat".to_owned()),
        "{told:?}"
    );
    assert!(!beats(&h, "01:05"));
    assert_eq!(h.freshness_run("01:10", vec![]).len(), 2, "it is back");
    assert!(beats(&h, "01:10"));
}

#[test]
fn who_was_never_heard_of_is_silent_too() {
    let mut h = NotifyHistory::new();
    assert!(h.message_lines(time_of_day("00:30"), &[]).is_empty());
    assert_eq!(h.message_lines(time_of_day("00:50"), &[]).len(), 2);
}

#[test]
fn a_clock_that_ran_ahead_blocks_nothing_that_is_true() {
    let mut h = NotifyHistory::new();
    h.freshness_run("00:00", vec![]);
    let ahead =
        report_event(reported_run("freshness", parse_timestamp("2031-01-01T00:00:00Z"), vec![]));
    assert!(h.message_lines(time_of_day("00:10"), &[ahead]).is_empty(), "a function's clock");
    assert_eq!(h.freshness_run("00:15", vec![stale_finding("orders")]).len(), 2);
    // notify's own clock: a tick in 2031, and back.
    h.message_lines(parse_timestamp("2031-01-01T00:00:00Z"), &[]);
    let told = h.freshness_run("00:30", vec![stale_finding("orders")]);
    assert!(
        told.iter().all(|t| !t.contains("orders: stale and") || !t.contains("critical")),
        "{told:?}"
    );
    let end = h.freshness_run("00:45", vec![]);
    assert!(end.iter().any(|t| t.starts_with("pager resolved")), "{end:?}");
}

#[test]
fn a_recovery_is_told_when_it_starts_every_quarter_of_an_hour_and_when_it_ends() {
    let mut h = NotifyHistory::new();
    let text = format!(
        "{POLICY}  recovery: {{ to: [chat, manager], every: 15m, report_deadline: 24h }}\n"
    );
    h.policy = Policy::parse(&text).expect("a policy");
    let news = |hhmm: &str, stage| {
        NotificationEvent::Restore(RestoreEvent {
            id: "r1".into(),
            asset: "shop/shop".into(),
            stage,
            at: time_of_day(hhmm),
        })
    };
    h.freshness_run("00:00", vec![]);
    let started = h.plan_events(
        time_of_day("00:05"),
        &[news("00:05", RestoreStage::Started("shop.dump into shop_check".into()))],
    );
    assert_eq!(started.len(), 2);
    assert_eq!(started[0].message.severity, Severity::Critical);
    h.freshness_run("00:10", vec![]);
    assert!(
        h.message_lines(
            time_of_day("00:15"),
            &[news("00:15", RestoreStage::Phase("loading data".into()))]
        )
        .is_empty()
    );
    let update = h.message_lines(time_of_day("00:20"), &[]);
    assert_eq!(
        update,
        [
            "chat recovery of shop/shop goes on: loading data",
            "manager recovery of shop/shop goes on: loading data"
        ]
    );
    let lines = vec!["restored 42 rows".to_owned()];
    let ended = RestoreStage::Ended { succeeded: true, lines, backup: None };
    let told = h.plan_events(time_of_day("00:30"), &[news("00:30", ended.clone())]);
    assert_eq!(told[0].message.title, "recovery of shop/shop is complete after 25m");
    assert_eq!(told[0].message.lines, ["restored 42 rows"]);
    assert_eq!(told[0].message.thread, started[0].message.thread);
    assert!(
        h.message_lines(
            time_of_day("00:31"),
            &[news("00:05", RestoreStage::Started("late".into())), news("00:30", ended)]
        )
        .is_empty()
    );
}

#[test]
fn a_recovery_that_never_tells_its_end_is_a_problem() {
    let mut h = NotifyHistory::new();
    h.policy = Policy::parse(&format!("{POLICY}  recovery: {{ report_deadline: 2h }}\n"))
        .expect("a policy");
    let begun = RestoreEvent {
        id: "r1".into(),
        asset: "shop/shop".into(),
        stage: RestoreStage::Started("x".into()),
        at: time_of_day("00:05"),
    };
    h.message_lines(time_of_day("00:05"), &[NotificationEvent::Restore(begun)]);
    let told = h.freshness_run("02:10", vec![]);
    assert!(told.iter().any(|t| t == "pager critical: shop/shop: no-recovery-report"), "{told:?}");
}

#[test]
fn a_recovery_that_waits_for_an_archive_is_neither_failed_nor_missing() {
    let mut h = NotifyHistory::new();
    let text = format!("{POLICY}  recovery: {{ to: [chat], report_deadline: 2h }}\n");
    h.policy = Policy::parse(&text).expect("a policy");
    let news = |hhmm: &str, stage| {
        let (id, asset) = ("r1".into(), "shop/shop".into());
        NotificationEvent::Restore(RestoreEvent { id, asset, stage, at: time_of_day(hhmm) })
    };
    h.plan_events(
        time_of_day("00:05"),
        &[news("00:05", RestoreStage::Started("shop.dump".into()))],
    );
    let told = h.plan_events(
        time_of_day("00:06"),
        &[news("00:06", RestoreStage::Waiting("it is in GLACIER, up to 5 hours".into()))],
    );
    assert_eq!(told.len(), 1, "those who hear of failures are not told");
    assert_eq!(told[0].message.title, "recovery of shop/shop waits for an archive");
    assert_eq!(told[0].message.kind, MessageKind::RecoveryUpdate);
    assert_eq!(told[0].message.lines[0], "it is in GLACIER, up to 5 hours");
    let later = h.freshness_run("03:00", vec![]);
    assert!(!later.iter().any(|t| t.contains("no-recovery-report")), "{later:?}");
}

#[test]
fn the_storage_report_is_sent_once_for_each_time_of_its_schedule_and_a_budget_that_is_exceeded_is_told()
 {
    let mut h = NotifyHistory::new();
    let text =
        POLICY.replace("alarms:", "costs: { report: \"0 6 1 * *\", monthly_budget: 100 }\nalarms:");
    h.policy = Policy::parse(&text).expect("a policy");
    let carried = |severity, what: &str, why: &str| ReportedFinding {
        severity,
        asset: "acme".into(),
        group: None,
        code: what.into(),
        message: why.into(),
        hint: String::new(),
    };
    let told = |h: &mut NotifyHistory, when: &str, findings: Vec<ReportedFinding>| {
        h.plan_events(
            parse_timestamp(when),
            &[report_event(reported_run("report", parse_timestamp(when), findings))],
        )
        .into_iter()
        .filter(|t| t.message.kind == MessageKind::StorageReport)
        .collect::<Vec<_>>()
    };
    let report =
        || vec![carried(Severity::Info, "storage-report", "storage is 1 TiB\nPUT requests: 3")];
    assert!(told(&mut h, "2026-12-01T03:30:00Z", vec![]).is_empty(), "nothing carries it");
    let sent = told(&mut h, "2026-12-01T04:30:00Z", report());
    assert_eq!(sent.len(), 1, "6:00 in Sofia is 4:00 UTC");
    assert_eq!((sent[0].channel.as_str(), sent[0].message.severity), ("manager", Severity::Info));
    assert_eq!(sent[0].message.lines, ["storage is 1 TiB", "PUT requests: 3"]);
    assert!(told(&mut h, "2026-12-01T05:30:00Z", report()).is_empty(), "once");
    assert_eq!(
        told(&mut h, "2027-01-01T20:30:00Z", report()).len(),
        1,
        "late is better than never"
    );
    // The budget is a problem like another.
    let over =
        carried(Severity::Warning, "over-budget", "this month cost $120 so far, over its budget");
    let now = parse_timestamp("2027-01-02T00:00:00Z");
    let says = h.message_lines(now, &[report_event(reported_run("report", now, vec![over]))]);
    assert!(says.iter().any(|t| t.starts_with("chat") && t.contains("over-budget")), "{says:?}");
}

#[test]
fn what_nothing_runs_is_not_counted_among_what_is_watched() {
    let mut h = NotifyHistory::new();
    let mut run = reported_run("freshness", time_of_day("00:10"), vec![]);
    run.assets = vec![
        reported_asset("orders", 60),
        ReportedAsset {
            coverage: Some(shared::report::AssetCoverage::NotRun),
            ..reported_asset("postgres.shop.wal", 60)
        },
    ];
    h.plan_events(time_of_day("00:10"), &[report_event(run)]);
    assert_eq!(h.state.assets.keys().collect::<Vec<_>>(), ["orders"]);
}

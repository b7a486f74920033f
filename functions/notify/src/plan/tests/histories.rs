//! Opened, worse, still open, fixed: each told once, to whom it concerns.

use super::*;
use crate::heard::{AlarmEvent, InvocationFailure, TruncatedCounts, VerificationEvent};

#[test]
fn a_problem_is_told_once_and_its_end_with_how_long_it_lasted_to_all_who_were_told() {
    let mut h = NotifyHistory::new();
    assert!(h.freshness_run("00:00", vec![]).is_empty());
    assert_eq!(
        h.freshness_run("00:15", vec![stale_finding("orders")]),
        ["chat critical: orders: stale", "pager critical: orders: stale"]
    );
    for again in ["00:30", "00:45", "01:00"] {
        assert!(h.freshness_run(again, vec![stale_finding("orders")]).is_empty());
    }
    assert_eq!(
        h.freshness_run("01:15", vec![stale_finding("orders")]),
        ["manager still open after 1h: orders: stale"]
    );
    let end = h.freshness_run("02:20", vec![]);
    assert_eq!(
        end,
        [
            "chat resolved after 2h 5m: orders: stale",
            "manager resolved after 2h 5m: orders: stale",
            "pager resolved after 2h 5m: orders: stale"
        ]
    );
    assert!(h.freshness_run("02:35", vec![]).is_empty());
}

#[test]
fn what_is_at_risk_is_said_with_the_newest_point_and_its_place() {
    let mut h = NotifyHistory::new();
    let mut report = reported_run("freshness", time_of_day("00:15"), vec![stale_finding("orders")]);
    report.assets = vec![reported_asset("orders", 97_200)];
    let told = h.plan_events(time_of_day("00:20"), &[report_event(report)]);
    let risk = told[0].message.incidents[0].at_risk.clone().expect("what is at risk");
    assert_eq!(risk.newest.as_deref(), Some("orders-daily-1"));
    assert_eq!((risk.age_seconds, risk.max_age_seconds), (Some(97_500), Some(90_000)));
    assert_eq!(risk.location.as_deref(), Some("RDS in eu-west-1"));
    assert_eq!(told[0].message.incidents[0].hint, "holdfast run snapshot");
}

#[test]
fn a_warning_that_becomes_critical_is_told_again_and_its_steps_begin_anew() {
    let mut h = NotifyHistory::new();
    let warning = || reported_finding(Severity::Warning, "orders", "stale");
    assert_eq!(h.freshness_run("00:15", vec![warning()]), ["chat warning: orders: stale"]);
    assert!(h.freshness_run("01:30", vec![warning()]).is_empty(), "a warning takes no step");
    assert_eq!(h.freshness_run("01:45", vec![stale_finding("orders")]).len(), 2);
    assert!(h.freshness_run("02:15", vec![stale_finding("orders")]).is_empty());
    assert_eq!(
        h.freshness_run("02:45", vec![stale_finding("orders")]).len(),
        1,
        "an hour after it became critical"
    );
    assert!(h.freshness_run("03:00", vec![warning()]).is_empty(), "less bad is no news");
    assert!(
        h.freshness_run("03:15", vec![stale_finding("orders")]).is_empty(),
        "as bad as it was told before"
    );
}

#[test]
fn doubled_late_and_narrow_reports_do_nothing() {
    let mut h = NotifyHistory::new();
    let report = || {
        report_event(reported_run("freshness", time_of_day("00:15"), vec![stale_finding("orders")]))
    };
    assert_eq!(h.message_lines(time_of_day("00:15"), &[report(), report()]).len(), 2);
    assert!(h.message_lines(time_of_day("00:16"), &[report()]).is_empty());
    assert_eq!(h.freshness_run("00:30", vec![]).len(), 2, "fixed");
    assert!(h.message_lines(time_of_day("00:31"), &[report()]).is_empty(), "heard twice, and late");
    let late = report_event(reported_run(
        "freshness",
        time_of_day("00:20"),
        vec![stale_finding("orders")],
    ));
    assert!(
        h.message_lines(time_of_day("00:32"), &[late]).is_empty(),
        "a later run has looked since"
    );
    h.freshness_run("00:45", vec![stale_finding("orders")]);
    let mut narrow = reported_run("freshness", time_of_day("00:50"), vec![]);
    narrow.complete = false;
    assert!(
        h.message_lines(time_of_day("00:50"), &[report_event(narrow)]).is_empty(),
        "who looked at a part can't say it is fixed"
    );
    let mut full = reported_run("freshness", time_of_day("00:55"), vec![]);
    full.omitted = Some(TruncatedCounts { findings: 1, ..TruncatedCounts::default() });
    assert!(
        h.message_lines(time_of_day("00:55"), &[report_event(full)])
            .iter()
            .all(|t| !t.contains("resolved"))
    );
    let other = report_event(reported_run("offsite", time_of_day("00:56"), vec![]));
    assert!(
        h.message_lines(time_of_day("00:56"), &[other]).is_empty(),
        "another function knows nothing of it"
    );
    let mut dry = reported_run("freshness", time_of_day("00:57"), vec![]);
    dry.dry_run = true;
    assert!(h.message_lines(time_of_day("00:57"), &[report_event(dry)]).is_empty());
}

#[test]
fn a_run_that_took_an_hour_speaks_of_its_end() {
    let mut h = NotifyHistory::new();
    h.freshness_run("00:00", vec![]);
    let quick = report_event(reported_run("dump", time_of_day("00:30"), vec![]));
    assert!(h.message_lines(time_of_day("00:31"), &[quick]).is_empty());
    let mut long = reported_run("dump", time_of_day("00:00"), vec![]);
    long.seconds = 3000.0;
    long.outcomes = vec![ReportedOutcome {
        asset: "shop/shop".into(),
        action: "dump".into(),
        result: "failed".into(),
        detail: Some("disk full".into()),
        artifact: None,
    }];
    assert_eq!(
        h.message_lines(time_of_day("00:50"), &[report_event(long)]).len(),
        2,
        "it ended after the quick one"
    );
    let t = h.state.incidents.values().next().expect("an incident");
    assert_eq!((t.code.as_str(), t.group.as_deref()), ("dump-failed", Some("shop")));
    assert_eq!(t.message, "dump: disk full");
}

#[test]
fn a_problem_that_comes_and_goes_is_fixed_only_when_it_stays_away() {
    let mut h = NotifyHistory::new();
    let mut told = Vec::new();
    for minute in 0..58 {
        let findings = if minute % 2 == 0 { vec![stale_finding("orders")] } else { vec![] };
        told.extend(h.freshness_run(&format!("00:{minute:02}"), findings));
    }
    let pager: Vec<_> = told.iter().filter(|t| t.starts_with("pager")).collect();
    assert_eq!(pager.len(), 5, "opened, fixed, opened, fixed, opened: {pager:?}");
    assert!(h.freshness_run("01:10", vec![]).is_empty(), "away for 13 minutes");
    let end = h.freshness_run("01:28", vec![]);
    assert!(end.contains(&"pager resolved after 57m: orders: stale".to_owned()), "{end:?}");
    assert!(h.freshness_run("02:00", vec![]).is_empty() && h.state.incidents.is_empty());
}

#[test]
fn the_same_alarm_a_thousand_times_is_one_message() {
    let mut h = NotifyHistory::new();
    let mut told = Vec::new();
    for i in 0..1000 {
        let at = time_of_day("00:10") + SignedDuration::from_millis(i * 60);
        let reason = "too old".to_owned();
        let alarm =
            AlarmEvent { name: "acme-backup-age".into(), state: "ALARM".into(), at, reason };
        told.extend(h.message_lines(at, &[NotificationEvent::Alarm(alarm)]));
    }
    assert_eq!(
        told,
        ["chat critical: acme-backup-age: alarm", "pager critical: acme-backup-age: alarm"]
    );
    let ok = |hhmm: &str| {
        NotificationEvent::Alarm(AlarmEvent {
            name: "acme-backup-age".into(),
            state: "OK".into(),
            at: time_of_day(hhmm),
            reason: String::new(),
        })
    };
    assert!(
        h.message_lines(time_of_day("00:11"), &[ok("00:05")]).is_empty(),
        "an older change that comes late"
    );
    assert_eq!(h.message_lines(time_of_day("00:40"), &[ok("00:40")]).len(), 2);
}

#[test]
fn an_alarm_that_says_what_an_incident_says_is_not_told_besides() {
    let mut h = NotifyHistory::new();
    h.freshness_run("00:15", vec![stale_finding("orders")]);
    let rings = AlarmEvent {
        name: "acme-backup-age".into(),
        state: "ALARM".into(),
        at: time_of_day("00:40"),
        reason: "old".into(),
    };
    assert!(h.message_lines(time_of_day("00:40"), &[NotificationEvent::Alarm(rings)]).is_empty());
    assert!(h.freshness_run("00:45", vec![]).iter().all(|t| t.contains("resolved")));
    assert!(h.freshness_run("01:00", vec![]).is_empty(), "the alarm rings on for a while");
    let told = h.freshness_run("01:35", vec![]);
    assert_eq!(told.len(), 2, "and then it is a problem of its own: {told:?}");
}

#[test]
fn an_alarm_that_is_not_the_policys_is_told_whatever_else_is_wrong() {
    let mut h = NotifyHistory::new();
    h.freshness_run("00:15", vec![stale_finding("orders")]);
    let rings = AlarmEvent {
        name: "acme-holdfast-snapshot-silent".into(),
        state: "ALARM".into(),
        at: time_of_day("00:20"),
        reason: "no data".into(),
    };
    assert_eq!(h.message_lines(time_of_day("00:20"), &[NotificationEvent::Alarm(rings)]).len(), 2);
}

#[test]
fn ten_thousand_findings_are_one_message_of_bounded_size_and_worst_first() {
    let mut h = NotifyHistory::new();
    let mut findings: Vec<_> = (0..9_999)
        .map(|i| {
            reported_finding(Severity::Warning, &format!("база-{i}-{}", "x".repeat(300)), "stale")
        })
        .collect();
    findings.insert(5_000, stale_finding("orders"));
    for f in &mut findings {
        f.message = "w".repeat(10_000);
    }
    let report = || report_event(reported_run("freshness", time_of_day("00:15"), findings.clone()));
    let told = h.plan_events(time_of_day("00:15"), &[report()]);
    let chat: Vec<_> = told.iter().filter(|t| t.channel.as_str() == "chat").collect();
    assert_eq!(chat.len(), 1);
    let message = &chat[0].message;
    assert_eq!(message.incidents.len(), 20);
    assert_eq!(message.incidents[0].asset, "orders");
    assert!(
        message
            .incidents
            .iter()
            .any(|i| i.code == "too-many" && i.message.starts_with("9500 more")),
        "{:?}",
        message.incidents[1]
    );
    assert_eq!(message.omitted, 500 + 1 - 20);
    assert!(serde_json::to_string(message).expect("json").len() < 64 << 10);
    let size = serde_json::to_string(&h.state).expect("json").len();
    assert!(size < 2 << 20, "{size} bytes are remembered");
    let mut again = reported_run("freshness", time_of_day("00:30"), findings.clone());
    again.run_id = "again".into();
    assert!(h.plan_events(time_of_day("00:30"), &[report_event(again)]).is_empty());
    let end = h.plan_events(
        time_of_day("00:45"),
        &[report_event(reported_run("freshness", time_of_day("00:45"), vec![]))],
    );
    assert!(end.iter().all(|t| t.message.kind == MessageKind::Resolved));
    assert!(h.state.untracked.is_empty());
}

#[test]
fn a_critical_problem_that_no_route_names_goes_to_all_who_hear_of_failures() {
    let mut h = NotifyHistory::new();
    let text = POLICY
        .replace("severity: warning, to", "severity: warning, of: [fleet], to")
        .replace("severity: critical, to", "severity: critical, of: [fleet], to");
    h.policy = Policy::parse(&text).expect("a policy");
    let mut gap = reported_finding(Severity::Critical, "111122223333 eu-west-1", "gap");
    gap.group = None;
    let told = h.freshness_run("00:15", vec![gap]);
    assert_eq!(told.len(), 2, "{told:?}");
    let mut warning = reported_finding(Severity::Warning, "elsewhere", "drift");
    warning.group = None;
    assert!(h.freshness_run("00:30", vec![warning]).iter().all(|t| t.contains("resolved")));
}

#[test]
fn a_function_that_does_not_come_to_its_end_is_told_until_it_does() {
    let mut h = NotifyHistory::new();
    h.freshness_run("00:00", vec![]);
    let news = |run: &str, hhmm: &str, reported| {
        NotificationEvent::InvocationFailed(InvocationFailure {
            function: "freshness".into(),
            run: run.into(),
            at: time_of_day(hhmm),
            why: "Sandbox.Timedout".into(),
            reported,
        })
    };
    let told = h.message_lines(time_of_day("00:10"), &[news("a", "00:10", false)]);
    assert_eq!(
        told,
        [
            "chat critical: function/freshness: run-not-completed",
            "pager critical: function/freshness: run-not-completed"
        ]
    );
    assert_eq!(h.freshness_run("00:15", vec![]).len(), 2, "the next run came to its end");
    let mut failed = reported_run("freshness", time_of_day("00:30"), vec![stale_finding("orders")]);
    failed.run_id = "b".into();
    assert_eq!(h.message_lines(time_of_day("00:30"), &[report_event(failed)]).len(), 2);
    assert!(
        h.message_lines(time_of_day("00:33"), &[news("b", "00:33", true)]).is_empty(),
        "its report said more"
    );
}

#[test]
fn what_was_made_is_told_where_the_policy_asks_for_it_and_once() {
    let mut h = NotifyHistory::new();
    let mut report = reported_run("dump", time_of_day("00:10"), vec![]);
    report.outcomes = vec![done_outcome("shop/shop", "shop_20261120.dump")];
    let told = h.message_lines(time_of_day("00:11"), &[report_event(report.clone())]);
    assert_eq!(told, ["chat made shop_20261120.dump of shop/shop"]);
    assert!(h.message_lines(time_of_day("00:12"), &[report_event(report)]).is_empty());
    assert!(
        h.message_lines(
            time_of_day("00:25"),
            &[report_event(reported_run("dump", time_of_day("00:25"), vec![]))]
        )
        .is_empty(),
        "nothing was made"
    );
    assert_eq!((h.state.day.backups_made, h.state.day.bytes), (1, 1_500_000_000));
}

#[test]
fn a_backup_that_did_not_prove_good_is_a_problem_until_one_does() {
    let mut h = NotifyHistory::new();
    let verified = |hhmm: &str, fault: Option<&str>| {
        NotificationEvent::Verification(VerificationEvent {
            id: format!("v-{hhmm}"),
            backup: crate::message::BackupInfo {
                asset: "shop/shop".into(),
                name: "shop.dump".into(),
                location: "s3://acme-dumps".into(),
                bytes: None,
                seconds: Some(3.0),
                rows: Some(42),
            },
            fault: fault.map(str::to_owned),
            hint: "holdfast dump shop --reason manual".into(),
            at: time_of_day(hhmm),
        })
    };
    let told =
        h.plan_events(time_of_day("00:10"), &[verified("00:10", Some("3 rows are missing"))]);
    assert_eq!(told.len(), 2);
    assert_eq!(told[0].message.backups[0].rows, Some(42));
    assert!(
        h.message_lines(time_of_day("00:12"), &[verified("00:05", None)]).is_empty(),
        "an older one that comes late"
    );
    assert_eq!(h.message_lines(time_of_day("00:20"), &[verified("00:20", None)]).len(), 2);
}

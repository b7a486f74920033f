use super::*;
use shared::plan::FindingCode;
use shared::{
    plan::Finding,
    report::{AssetCoverage, RunReport},
};

fn parse_time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

const NOON: &str = "2026-11-20T12:00:00Z";

fn asset_status(asset: &str, age_hours: Option<i64>, worst: Option<Severity>) -> AssetStatus {
    AssetStatus {
        asset: asset.into(),
        group: "main".into(),
        newest_point: age_hours.map(|_| format!("{asset}.dump")),
        age_seconds: age_hours.map(|h| h * 3600),
        max_age_seconds: Some(90_000),
        size_bytes: age_hours.map(|_| 5 << 20),
        coverage: AssetCoverage::Watched,
        max_severity: worst,
        ..AssetStatus::new("", "")
    }
}

/// A look at noon that took a second and a half.
fn scan_at_noon(assets: Vec<AssetStatus>, findings: Vec<Finding>) -> MonitorScan {
    let points = assets.iter().filter(|s| s.newest_point.is_some()).count();
    let mut values: Vec<_> = assets
        .iter()
        .map(|s| MetricValue::for_asset(Metric::Points, "main", &s.asset, 3.0))
        .collect();
    values.push(MetricValue::for_asset(Metric::SizeDeviation, "main", "orders", 12.0));
    values.push(MetricValue::for_group(Metric::DiskFree, "main", 1e10));
    values.push(MetricValue::for_policy(Metric::DiskFree, 1e10));
    values.push(MetricValue::for_policy(Metric::Points, 3.0 * usize_to_gauge(points)));
    values.push(MetricValue::for_policy(Metric::UnprotectedDatabases, 0.0));
    let report = RunReport {
        function: "freshness",
        policy: "acme".into(),
        run_id: "r".into(),
        started_at: parse_time(NOON),
        seconds: 0.0,
        complete: true,
        dry_run: true,
        failed: findings.iter().any(|f| f.severity == Severity::Critical),
        findings,
        outcomes: Vec::new(),
        assets,
        values: Vec::new(),
    };
    let policy = shared::policy::Policy::parse("{holdfast: 1, company: acme, id: host-1}");
    let status = StatusOutput::new(&policy.expect("a policy"), parse_time(NOON), vec![report]);
    MonitorScan { started_at: parse_time(NOON), seconds: 1.5, status, values }
}

fn new_state(prefix: Option<&str>) -> MonitorState {
    MonitorState::new("acme".into(), SignedDuration::from_hours(1), prefix.map(str::to_owned))
}

/// The lines of samples; the version changes.
fn sample_lines(board: &MonitorState, now: &str) -> String {
    let text = board.to_prometheus(parse_time(now));
    let lines = text.lines().filter(|l| !l.starts_with('#') && !l.contains("build_info"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn everything_that_was_seen_is_served_with_its_age_now() {
    let mut board = new_state(None);
    board.record_scan(Some(scan_at_noon(vec![asset_status("orders", Some(10), None)], vec![])));
    insta::assert_snapshot!(sample_lines(&board, "2026-11-20T12:30:00Z"), @r#"
    holdfast_asset_health{asset="orders",group="main",policy="acme"} 1
    holdfast_backup_age_seconds{asset="orders",group="main",policy="acme"} 37800
    holdfast_backup_max_age_seconds{asset="orders",group="main",policy="acme"} 90000
    holdfast_backup_size_bytes{asset="orders",group="main",policy="acme"} 5242880
    holdfast_backup_size_deviation_ratio{asset="orders",group="main",policy="acme"} 0.12
    holdfast_backups{asset="orders",group="main",policy="acme"} 3
    holdfast_disk_free_bytes{group="main",policy="acme"} 10000000000
    holdfast_findings{policy="acme",severity="critical"} 0
    holdfast_findings{policy="acme",severity="info"} 0
    holdfast_findings{policy="acme",severity="warning"} 0
    holdfast_health{policy="acme"} 1
    holdfast_last_refresh_timestamp_seconds{policy="acme"} 1795176000
    holdfast_refresh_duration_seconds{policy="acme"} 1.5
    holdfast_refresh_success{policy="acme"} 1
    holdfast_unprotected_databases{policy="acme"} 0
    "#);
}

#[test]
fn a_look_that_fails_leaves_the_age_growing_and_health_at_0() {
    let mut board = new_state(Some("listings"));
    board.record_scan(Some(scan_at_noon(vec![asset_status("orders", Some(10), None)], vec![])));
    let value = |board: &MonitorState, now: &str, name: &str| {
        let text = sample_lines(board, now);
        let line = text.lines().find(|l| l.starts_with(name)).map(str::to_owned);
        line.and_then(|l| l.rsplit(' ').next()?.parse::<f64>().ok())
    };
    assert_eq!(value(&board, NOON, "listings_backup_age_hours"), Some(10.0));
    assert_eq!(value(&board, NOON, "listings_backup_health"), Some(1.0));
    board.record_scan(None);
    assert_eq!(
        board.unhealthy_reason(parse_time("2026-11-20T13:00:00Z")),
        Some("the last look failed")
    );
    assert_eq!(value(&board, "2026-11-20T13:00:00Z", "listings_backup_age_hours"), Some(11.0));
    for health in ["listings_backup_health", "holdfast_health", "holdfast_refresh_success"] {
        assert_eq!(value(&board, "2026-11-20T13:00:00Z", health), Some(0.0), "{health}");
    }
    // The next one that is good ends it.
    board.record_scan(Some(scan_at_noon(vec![asset_status("orders", Some(10), None)], vec![])));
    assert_eq!(value(&board, NOON, "holdfast_health"), Some(1.0));
}

#[test]
fn looks_that_stop_are_seen_by_their_age() {
    let mut board = new_state(None);
    assert_eq!(board.unhealthy_reason(parse_time(NOON)), Some("nothing was looked at yet"));
    assert!(!board.is_healthy(parse_time(NOON)));
    board.record_scan(Some(scan_at_noon(vec![asset_status("orders", Some(10), None)], vec![])));
    assert!(board.is_healthy(parse_time("2026-11-20T14:05:00Z")));
    assert!(!board.is_healthy(parse_time("2026-11-20T14:05:01Z")));
    assert_eq!(
        board.unhealthy_reason(parse_time("2026-11-20T14:05:01Z")),
        Some("the last look is too old")
    );
}

#[test]
fn what_is_critical_is_unhealthy_and_an_asset_without_a_backup_hides_behind_no_other() {
    let mut board = new_state(Some("listings"));
    let critical = Some(Severity::Critical);
    let none =
        Finding::new(Severity::Critical, "users", FindingCode::NoBackup, "it has none", "take one");
    let assets = vec![asset_status("orders", Some(1), None), asset_status("users", None, critical)];
    board.record_scan(Some(scan_at_noon(assets, vec![none.in_group("main")])));
    let text = sample_lines(&board, NOON);
    assert!(!text.contains("listings_backup_age_hours"), "{text}");
    assert!(text.contains("listings_backup_health 0\n"), "{text}");
    assert!(text.contains(r#"holdfast_asset_health{asset="users",group="main",policy="acme"} 0"#));
    assert!(text.contains(r#"holdfast_asset_health{asset="orders",group="main",policy="acme"} 1"#));
    assert!(text.contains(r#"holdfast_findings{policy="acme",severity="critical"} 1"#), "{text}");
}

#[test]
fn names_of_assets_can_not_break_out_of_their_label() {
    let mut board = new_state(None);
    board.record_scan(Some(scan_at_noon(
        vec![asset_status("a\"} 1\nx{b=\"", Some(1), None)],
        vec![],
    )));
    let text = sample_lines(&board, NOON);
    assert!(text.contains(r#"asset="a\"} 1\nx{b=\"""#), "{text}");
}

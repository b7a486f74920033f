use super::*;
use crate::{
    facts::{
        AssetKey, AuditEvent, AuditTrail, BackupLocation, Kind, OtherStorage, PointRecord,
        UnobservedLocation,
    },
    prices::StorageKind,
};
use proptest::prelude::*;
use shared::report::{AssetCoverage, AssetStatus};

const DAY: i64 = 86_400;
const GIB: u64 = 1 << 30;

fn policy(more: &str) -> Policy {
    let yaml = format!(
        "{{holdfast: 1, company: acme, home: {{account: \"111122223333\", region: eu-west-1}}, \
         destinations: {{virginia: {{region: us-east-1}}}}, \
         databases: {{fleet: {{select: {{identifiers: [orders, users]}}, objectives: {{max_age: 25h, rto: 2h}}, \
           snapshots: {{daily: {{schedule: {{cron: \"0 2 * * *\"}}, keep: {{for: 35d}}}}}}, \
           copies: [{{to: virginia, of: [daily], keep: {{newest: 7}}}}]}}}}, \
         postgres: {{shop: {{databases: [shop], password: {{env: P}}, objectives: {{max_age: 25h}}, \
           storage: {{directory: /var/backups, key: \"%Y%m%d.dump\"}}, \
           dumps: {{daily: {{schedule: {{cron: \"0 3 * * *\"}}, keep: {{for: 30d}}}}}}}}}}{more}}}"
    );
    Policy::parse(&yaml).expect("a policy")
}

fn now() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().expect("a time")
}

fn seconds_at(days: i64, hour: i64) -> i64 {
    now().as_second() / DAY * DAY - days * DAY + hour * 3600
}

fn add_location(facts: &mut ReportInput, name: &str, home: bool) -> u16 {
    facts.intern_location(BackupLocation {
        name: name.into(),
        region: Some("eu-west-1".into()),
        home,
    })
}

fn snapshot_point(at: i64, gib: u64, spot: u16) -> PointRecord {
    PointRecord {
        at,
        stored: at,
        bytes: gib * GIB,
        location: spot,
        class: StorageKind::RdsSnapshot,
        good: true,
    }
}

fn asset_status(asset: &str, worst: Option<Severity>, why: &[&str]) -> AssetStatus {
    AssetStatus {
        asset: asset.into(),
        group: "fleet".into(),
        newest_point: Some(format!("{asset}-daily")),
        age_seconds: Some(10 * 3600),
        max_age_seconds: Some(25 * 3600),
        size_bytes: Some(20 << 30),
        offsite_age_seconds: None,
        proof_age_seconds: None,
        proof_wanted: false,
        max_age_derived: false,
        coverage: AssetCoverage::Watched,
        offsite_wanted: true,
        max_severity: worst,
        messages: why.iter().map(ToString::to_string).collect(),
    }
}

fn audit_event(asset: &str, kind: Kind, days: i64, done: bool, seconds: Option<f64>) -> AuditEvent {
    AuditEvent {
        at: Timestamp::from_second(seconds_at(days, 1)).expect("a time"),
        group: None,
        asset: asset.into(),
        kind,
        who: "holdfast".into(),
        action: "it".into(),
        done,
        detail: String::new(),
        seconds,
    }
}

/// Two databases with ten daily points, one of them missed; one dump of yesterday in a directory.
fn report_input() -> ReportInput {
    let mut facts = ReportInput::default();
    let home = add_location(&mut facts, "eu-west-1 in 111122223333", true);
    let disk = add_location(&mut facts, "/var/backups", true);
    for asset in ["orders", "users"] {
        let days = (0..10).filter(|d| asset != "users" || *d != 4);
        let points = days.map(|d| snapshot_point(seconds_at(d, 2), 20, home)).collect();
        facts.storage.insert(
            AssetKey::new("fleet", asset),
            AssetStorage { points, ..AssetStorage::default() },
        );
        facts.statuses.push(asset_status(asset, None, &[]));
    }
    let dump =
        PointRecord { class: StorageKind::Directory, ..snapshot_point(seconds_at(1, 3), 1, disk) };
    facts.storage.insert(
        AssetKey::new("shop", "shop"),
        AssetStorage { points: vec![dump], ..AssetStorage::default() },
    );
    facts
}

fn build_report(more: &str, facts: &ReportInput) -> PageOutput {
    build_page(&policy(more), facts, now())
}

fn find_asset<'p>(page: &'p StatusPageData, name: &str) -> &'p AssetReport {
    page.assets.iter().find(|a| a.asset == name).expect("the asset is on the page")
}

#[test]
fn what_no_function_judges_is_judged_by_its_own_points() {
    let told = build_report("", &report_input());
    assert_eq!(told.page.summary.headline, "1 of 3 assets is not protected: shop.");
    let shop = find_asset(&told.page, "shop");
    assert_eq!(
        (shop.state, shop.newest.as_ref().map(|n| n.age_seconds)),
        (HealthState::Critical, Some(33 * 3600))
    );
    let [found] = &told.findings[..] else { panic!("{:?}", told.findings) };
    assert_eq!(
        (found.code.as_str(), found.hint.as_str()),
        ("backup-stale", "run `holdfast dump shop`")
    );
    assert_eq!(told.page.assets[0].asset, "shop", "the worst stands first");
}

#[test]
fn the_sentence_says_whether_to_sleep() {
    let mut all = report_input();
    all.storage.get_mut(&AssetKey::new("shop", "shop")).expect("there").points[0].at =
        seconds_at(0, 3);
    let sentence = |f: &ReportInput| build_report("", f).page.summary.headline;
    assert_eq!(sentence(&all), "All 3 assets are protected.");
    all.statuses[0].max_severity = Some(Severity::Warning);
    assert_eq!(sentence(&all), "All 3 assets are protected; 1 needs a look: orders.");
    all.unobserved_locations.push(UnobservedLocation {
        location: "x".into(),
        message: "denied".into(),
        hint: "allow it".into(),
    });
    assert!(sentence(&all).ends_with("One place could not be seen."));
    let elsewhere = Finding::new(
        Severity::Critical,
        "ghost",
        FindingCode::Unprotected,
        "no group has it",
        "select it",
    );
    all.findings.push(elsewhere);
    let said = sentence(&all);
    assert!(said.contains("but one thing is wrong: ghost"), "{said}");
    assert_eq!(build_report("", &all).page.summary.state, HealthState::Critical);
    let nothing = sentence(&ReportInput::default());
    assert!(nothing.starts_with("3 of 3 assets can't be judged"), "{nothing}");
}

#[test]
fn a_missed_day_is_the_longest_gap_and_only_where_every_point_is_kept() {
    let told = build_report("", &report_input());
    let (orders, users) = (find_asset(&told.page, "orders"), find_asset(&told.page, "users"));
    assert_eq!(orders.rpo.longest_seconds, Some(DAY));
    assert_eq!(users.rpo.longest_seconds, Some(2 * DAY));
    assert_eq!((orders.rpo.met, users.rpo.met), (Some(true), Some(false)));
    assert_eq!(users.timeline[0].ranges.len(), 9, "a month shows each day");
}

#[test]
fn continuous_backup_is_what_a_loss_costs() {
    let mut all = report_input();
    all.lags.insert(AssetKey::new("fleet", "orders"), 300.0);
    let told = build_report("", &all);
    let rpo = &find_asset(&told.page, "orders").rpo;
    assert_eq!((rpo.now_seconds, rpo.continuous, rpo.met), (Some(300), true, Some(true)));
}

#[test]
fn a_place_that_is_not_seen_is_no_empty_place() {
    let mut all = report_input();
    let away = add_location(&mut all, "us-east-1 in 111122223333", false);
    let key = AssetKey::new("shop", "shop");
    all.storage
        .insert(key.clone(), AssetStorage { unobserved: vec![away], ..AssetStorage::default() });
    let lane = find_asset(&build_report("", &all).page, "shop").timeline[0].clone();
    assert!(!lane.observed);
    let disk = add_location(&mut all, "/var/backups", true);
    all.storage.insert(key, AssetStorage { unobserved: vec![disk], ..AssetStorage::default() });
    assert_eq!(find_asset(&build_report("", &all).page, "shop").state, HealthState::Unknown);
}

#[test]
fn recovery_times_are_measured_or_said_not_to_be() {
    let mut all = report_input();
    let record = |asset, kind, days, done, s| audit_event(asset, kind, days, done, s);
    all.trail = AuditTrail::Read {
        events: vec![
            record("orders", Kind::Restore, 40, true, Some(9000.0)),
            record("fleet/orders", Kind::Restore, 3, true, Some(5400.0)),
            record("orders", Kind::Restore, 2, false, Some(10.0)),
            record("orders", Kind::Check, 1, true, Some(1.0)),
            record("orders", Kind::Backup, 50, false, None),
            record("orders", Kind::Backup, 1, true, None),
            record("users", Kind::Backup, 1, false, None),
        ],
        head: None,
    };
    let told = build_report("", &all);
    let (orders, users) = (find_asset(&told.page, "orders"), find_asset(&told.page, "users"));
    assert_eq!(
        (orders.rto.newest_seconds, orders.rto.slowest_seconds),
        (Some(5400.0), Some(9000.0))
    );
    assert_eq!((orders.rto.met, orders.rto.measured), (Some(true), 2));
    assert_eq!((users.rto.met, users.rto.newest_seconds), (None, None));
    let success = told.page.success.expect("counted");
    assert_eq!(
        (success.succeeded, success.failed),
        (1, 1),
        "what is older than 30 days is not counted"
    );
    assert!(told.findings.iter().any(|f| f.code == FindingCode::SuccessRate));
    assert_eq!(told.page.verifications.len(), 4);
}

#[test]
fn snapshots_are_counted_whole_and_as_a_most_unless_the_policy_says_what_changes() {
    let whole = build_report("", &report_input());
    let line = &find_asset(&whole.page, "orders").cost;
    let month = line.month.expect("priced");
    assert!(line.at_most && (month - 10.0 * 20.0 * 0.095).abs() < 1e-6, "{month}");
    let changed = build_report(", costs: {snapshot_change: 5%}", &report_input());
    let line = &find_asset(&changed.page, "orders").cost;
    let month = line.month.expect("priced");
    assert!(!line.at_most && (month - 20.0 * 0.095 * 1.45).abs() < 1e-6, "{month}");
}

#[test]
fn an_unknown_price_is_no_zero() {
    let mut all = report_input();
    let at = add_location(&mut all, "azure://acme/backups", false);
    let held = all.storage.get_mut(&AssetKey::new("shop", "shop")).expect("there");
    held.points.push(PointRecord { class: StorageKind::Azure, ..snapshot_point(at.into(), 1, at) });
    let told = build_report("", &all);
    assert_eq!(told.page.costs.unpriced, vec![StorageKind::Azure]);
    assert!(told.page.costs.total.at_least);
    let cost =
        |v: &&MetricValue| v.metric == Metric::StorageCost && v.group.as_deref() != Some("fleet");
    assert_eq!(
        told.values.iter().filter(cost).count(),
        0,
        "a part of a sum is no value to publish"
    );
}

#[test]
fn budget_and_quota_are_found_before_they_are_overrun() {
    let costs = ", costs: {monthly_budget: 10, quota: 300GiB, snapshot_change: 10%}";
    let found = build_report(costs, &report_input()).findings;
    let budget = found.iter().find(|f| f.code == FindingCode::OverBudget);
    assert!(budget.is_none(), "{found:?}");
    let costs = ", costs: {monthly_budget: 3, quota: 90GiB, snapshot_change: 10%}";
    let found = build_report(costs, &report_input()).findings;
    let budget = found.iter().find(|f| f.code == FindingCode::OverBudget).expect("found");
    assert!(budget.message.starts_with("this month will cost $"), "{}", budget.message);
    let quota = found.iter().find(|f| f.code == FindingCode::QuotaExceeded).expect("found");
    assert_eq!(
        (quota.severity, quota.message.as_str()),
        (Severity::Warning, "storage is 83% of its quota: 75 GiB of 90 GiB")
    );
    let costs = ", costs: {quota: 80GiB, snapshot_change: 10%}";
    let found = build_report(costs, &report_input()).findings;
    assert_eq!(
        found.iter().find(|f| f.code == FindingCode::QuotaExceeded).map(|f| f.severity),
        Some(Severity::Critical)
    );
}

#[test]
fn a_quota_of_objects_counts_no_snapshots() {
    let used = |more: &str| {
        let costs = format!(", costs: {{quota: 90GiB, snapshot_change: 10%{more}}}");
        build_report(&costs, &report_input()).page.quota.expect("a quota").bytes
    };
    let all = build_report(", costs: {snapshot_change: 10%}", &report_input()).page.costs;
    let objects: u64 =
        all.classes.iter().filter(|c| !c.class.is_snapshot()).map(|c| c.line.bytes).sum();
    assert_eq!(used(""), all.total.bytes);
    assert_eq!(used(", quota_of: objects"), objects);
    assert!(objects < all.total.bytes, "the fleet has snapshots");
}

#[test]
fn the_storage_report_is_carried_for_a_day_so_that_no_failed_run_loses_it() {
    let due = |cron: &str| {
        let costs = format!(", costs: {{report: \"{cron}\"}}");
        build_report(&costs, &report_input())
            .findings
            .iter()
            .any(|f| f.code == FindingCode::StorageReport)
    };
    assert!(due("30 11 20 * *") && due("0 12 20 * *"));
    assert!(due("30 10 20 * *") && due("1 12 19 * *"));
    assert!(!due("0 12 19 * *") && !due("0 13 20 * *"));
}

#[test]
fn the_storage_report_tells_requests_and_transfer_with_what_they_cost() {
    let mut all = report_input();
    let region = Some("us-east-1".to_owned());
    let away = all.intern_location(BackupLocation {
        name: "us-east-1 in 111122223333".into(),
        region,
        home: false,
    });
    let held = all.storage.get_mut(&AssetKey::new("fleet", "orders")).expect("there");
    // Of this month, and of the month before.
    held.points.extend([
        snapshot_point(seconds_at(2, 4), 50, away),
        snapshot_point(seconds_at(40, 4), 50, away),
    ]);
    let costs = ", costs: {report: \"0 6 20 * *\", monthly_budget: 100, prices: {transfer: 0.05}}";
    let told = build_report(costs, &all);
    let transfer = told.page.costs.transfer;
    assert_eq!(transfer.bytes, 50 * GIB);
    let dollars = 50.0 * 1.073_741_824 * 0.05;
    assert!(transfer.cost.is_some_and(|c| (c - dollars).abs() < 1e-6), "{transfer:?}");
    let report =
        told.findings.iter().find(|f| f.code == FindingCode::StorageReport).expect("carried");
    let lines: Vec<_> = report.message.lines().collect();
    assert!(lines[0].contains("of a budget of $100"), "{lines:?}");
    assert!(
        lines.contains(&"transfer to other regions in this month: 50 GiB or more, $2.68"),
        "{lines:?}"
    );
    assert!(lines.iter().any(|l| l.starts_with("PUT requests of this month: ")), "{lines:?}");
    assert!(lines.iter().any(|l| l.starts_with("RDS snapshots: ")), "{lines:?}");
}

#[test]
fn a_healthy_asset_that_is_thinned_out_has_no_gaps() {
    let keep =
        |yaml: &str| serde_json::from_str::<shared::policy::RetentionRule>(yaml).expect("a rule");
    let gfs = keep(r#"{"daily": 7, "weekly": 4, "monthly": 12}"#);
    // Held against 25 h only the daily ones are dense; against 8 d the weekly ones too.
    assert_eq!(points::full_density_secs(&gfs, Some(25 * 3600)), 7 * DAY);
    assert_eq!(points::full_density_secs(&gfs, Some(8 * DAY)), 28 * DAY);
    // Of hourly points, one of each day is a gap for 2 h.
    assert_eq!(points::full_density_secs(&keep(r#"{"hourly": 24, "daily": 30}"#), Some(7200)), DAY);
}

#[test]
fn a_size_is_held_against_the_median_of_those_before_it() {
    let mut all = report_input();
    let held = all.storage.get_mut(&AssetKey::new("fleet", "orders")).expect("there");
    held.points[0].bytes = 25 * GIB;
    let deviation = find_asset(&build_report("", &all).page, "orders").deviation.expect("compared");
    assert!(deviation.exceeded && (deviation.share - 0.25).abs() < 1e-9);
    assert_eq!((deviation.median, deviation.compared), (20 * GIB, 9));
}

fn points_strategy() -> impl Strategy<Value = Vec<PointRecord>> {
    let class = prop::sample::select(StorageKind::ALL.to_vec());
    let point = (0..400_i64, 0..1_u64 << 40, 0..2_u16, class, any::<bool>());
    let point = point.prop_map(|(days, bytes, spot, class, good)| {
        let at = seconds_at(days, 2);
        PointRecord { at, stored: at, bytes, location: spot, class, good }
    });
    prop::collection::vec(point, 0..40)
}

proptest! {
    /// Every byte and every cent is once in its class and once in its asset.
    #[test]
    fn totals_are_the_sums(orders in points_strategy(), users in points_strategy(), gone in points_strategy(), change in 0..100_u32) {
        let mut all = ReportInput::default();
        add_location(&mut all, "eu-west-1 in 111122223333", true);
        add_location(&mut all, "us-east-1 in 111122223333", false);
        let weights = gone.iter().map(|p| {
            let (billed, index) = p.class.billable_bytes(p.bytes);
            let (bytes, stored, spot, class) = (p.bytes, Some(p.stored), p.location, p.class);
            OtherStorage { objects: 1, bytes, billed, index, stored, location: spot, class }
        });
        all.storage.insert(AssetKey::new("", "gone"), AssetStorage { other: weights.collect(), ..AssetStorage::default() });
        all.storage.insert(AssetKey::new("fleet", "orders"), AssetStorage { points: orders, ..AssetStorage::default() });
        all.storage.insert(AssetKey::new("fleet", "users"), AssetStorage { points: users, ..AssetStorage::default() });
        let page = build_report(&format!(", costs: {{snapshot_change: {change}%}}"), &all).page;
        let costs = &page.costs;
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-6 * (1.0 + a.abs());
        let asked: f64 = costs.requests.iter().filter_map(|r| r.cost).sum();
        let lines = || page.assets.iter().map(|a| &a.cost).chain([&costs.unowned]);
        prop_assert_eq!(lines().map(|l| l.bytes).sum::<u64>(), costs.total.bytes);
        prop_assert_eq!(costs.classes.iter().map(|c| c.line.bytes).sum::<u64>(), costs.total.bytes);
        let sum = |of: fn(&CostLine) -> Option<f64>| lines().filter_map(of).sum::<f64>();
        let by_class = |of: fn(&CostLine) -> Option<f64>| costs.classes.iter().filter_map(|c| of(&c.line)).sum::<f64>();
        for (of, more) in [((|l| l.month) as fn(&CostLine) -> Option<f64>, 0.0), (|l| l.so_far, asked)] {
            let total = of(&costs.total).unwrap_or(0.0);
            prop_assert!(close(sum(of) + more, total) || total == 0.0);
            prop_assert!(close(by_class(of) + more, total) || total == 0.0);
        }
        if let (Some(so_far), Some(forecast)) = (costs.total.so_far, costs.total.forecast) {
            prop_assert!(forecast >= so_far - 1e-9);
            prop_assert!(costs.days.windows(2).all(|d| d[1] >= d[0] - 1e-9));
            prop_assert!(close(*costs.days.last().expect("days"), so_far));
        }
    }
}

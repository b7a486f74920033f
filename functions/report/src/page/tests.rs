use super::*;
use crate::{
    facts::{Event, Gap, Key, Kind, Point, Spot, Trail, Weight},
    prices::Class,
};
use proptest::prelude::*;
use shared::report::{AssetCoverage, AssetStatus};

const DAY: i64 = 86_400;
const GIB: u64 = 1 << 30;

fn policy(more: &str) -> Policy {
    let yaml = format!(
        "{{holdfast: 1, company: acme, home: {{account: \"111122223333\", region: eu-west-1}}, \
         destinations: {{virginia: {{region: us-east-1}}}}, \
         databases: {{fleet: {{select: {{ids: [orders, users]}}, objectives: {{max_age: 25h, rto: 2h}}, \
           snapshots: {{daily: {{when: {{cron: \"0 2 * * *\"}}, keep: {{for: 35d}}}}}}, \
           copies: [{{to: virginia, of: [daily], keep: {{newest: 7}}}}]}}}}, \
         postgres: {{shop: {{databases: [shop], password: {{env: P}}, objectives: {{max_age: 25h}}, \
           stored: {{directory: /var/backups, key: \"%Y%m%d.dump\"}}, \
           dumps: {{daily: {{when: {{cron: \"0 3 * * *\"}}, keep: {{for: 30d}}}}}}}}}}{more}}}"
    );
    Policy::parse(&yaml).expect("a policy")
}

fn now() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().expect("a time")
}

fn at(days: i64, hour: i64) -> i64 {
    now().as_second() / DAY * DAY - days * DAY + hour * 3600
}

fn spot(facts: &mut Facts, name: &str, home: bool) -> u16 {
    facts.spot(Spot { name: name.into(), region: Some("eu-west-1".into()), home })
}

fn snapshot(at: i64, gib: u64, spot: u16) -> Point {
    Point { at, stored: at, bytes: gib * GIB, spot, class: Class::RdsSnapshot, good: true }
}

fn standing(asset: &str, worst: Option<Severity>, why: &[&str]) -> AssetStatus {
    AssetStatus {
        asset: asset.into(),
        group: "fleet".into(),
        newest: Some(format!("{asset}-daily")),
        age_seconds: Some(10 * 3600),
        max_age_seconds: Some(25 * 3600),
        size_bytes: Some(20 << 30),
        offsite_age_seconds: None,
        max_age_derived: false,
        coverage: AssetCoverage::Watched,
        offsite_wanted: true,
        worst,
        why: why.iter().map(ToString::to_string).collect(),
    }
}

fn event(asset: &str, kind: Kind, days: i64, done: bool, seconds: Option<f64>) -> Event {
    Event {
        at: Timestamp::from_second(at(days, 1)).expect("a time"),
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
fn facts() -> Facts {
    let mut facts = Facts::default();
    let home = spot(&mut facts, "eu-west-1 in 111122223333", true);
    let disk = spot(&mut facts, "/var/backups", true);
    for asset in ["orders", "users"] {
        let days = (0..10).filter(|d| asset != "users" || *d != 4);
        let points = days.map(|d| snapshot(at(d, 2), 20, home)).collect();
        facts.held.insert(Key::new("fleet", asset), Held { points, ..Held::default() });
        facts.standings.push(standing(asset, None, &[]));
    }
    let dump = Point { class: Class::Directory, ..snapshot(at(1, 3), 1, disk) };
    facts.held.insert(Key::new("shop", "shop"), Held { points: vec![dump], ..Held::default() });
    facts
}

fn told(more: &str, facts: &Facts) -> Told {
    page(&policy(more), facts, now())
}

fn asset<'p>(page: &'p Page, name: &str) -> &'p Asset {
    page.assets.iter().find(|a| a.asset == name).expect("the asset is on the page")
}

#[test]
fn what_no_function_judges_is_judged_by_its_own_points() {
    let told = told("", &facts());
    assert_eq!(told.page.summary.sentence, "1 of 3 assets is not protected: shop.");
    let shop = asset(&told.page, "shop");
    assert_eq!(
        (shop.state, shop.newest.as_ref().map(|n| n.age_seconds)),
        (State::Critical, Some(33 * 3600))
    );
    let [found] = &told.findings[..] else { panic!("{:?}", told.findings) };
    assert_eq!((found.what, found.mend.as_str()), ("stale", "run `holdfast dump`"));
    assert_eq!(told.page.assets[0].asset, "shop", "the worst stands first");
}

#[test]
fn the_sentence_says_whether_to_sleep() {
    let mut all = facts();
    all.held.get_mut(&Key::new("shop", "shop")).expect("there").points[0].at = at(0, 3);
    let sentence = |f: &Facts| told("", f).page.summary.sentence;
    assert_eq!(sentence(&all), "All 3 assets are protected.");
    all.standings[0].worst = Some(Severity::Warning);
    assert_eq!(sentence(&all), "All 3 assets are protected; 1 needs a look: orders.");
    all.gaps.push(Gap { place: "x".into(), why: "denied".into(), mend: "allow it".into() });
    assert!(sentence(&all).ends_with("One place could not be seen."));
    let elsewhere =
        Finding::new(Severity::Critical, "ghost", "unprotected", "no group has it", "select it");
    all.findings.push(elsewhere);
    let said = sentence(&all);
    assert!(said.contains("but one thing is wrong: ghost"), "{said}");
    assert_eq!(told("", &all).page.summary.state, State::Critical);
    let nothing = sentence(&Facts::default());
    assert!(nothing.starts_with("3 of 3 assets can't be judged"), "{nothing}");
}

#[test]
fn a_missed_day_is_the_longest_gap_and_only_where_every_point_is_kept() {
    let told = told("", &facts());
    let (orders, users) = (asset(&told.page, "orders"), asset(&told.page, "users"));
    assert_eq!(orders.rpo.longest_seconds, Some(DAY));
    assert_eq!(users.rpo.longest_seconds, Some(2 * DAY));
    assert_eq!((orders.rpo.met, users.rpo.met), (Some(true), Some(false)));
    assert_eq!(users.lanes[0].spans.len(), 9, "a month shows each day");
}

#[test]
fn continuous_backup_is_what_a_loss_costs() {
    let mut all = facts();
    all.lags.insert(Key::new("fleet", "orders"), 300.0);
    let told = told("", &all);
    let rpo = &asset(&told.page, "orders").rpo;
    assert_eq!((rpo.now_seconds, rpo.continuous, rpo.met), (Some(300), true, Some(true)));
}

#[test]
fn a_place_that_is_not_seen_is_no_empty_place() {
    let mut all = facts();
    let away = spot(&mut all, "us-east-1 in 111122223333", false);
    let key = Key::new("shop", "shop");
    all.held.insert(key.clone(), Held { blind: vec![away], ..Held::default() });
    let lane = asset(&told("", &all).page, "shop").lanes[0].clone();
    assert!(!lane.seen);
    let disk = spot(&mut all, "/var/backups", true);
    all.held.insert(key, Held { blind: vec![disk], ..Held::default() });
    assert_eq!(asset(&told("", &all).page, "shop").state, State::Unknown);
}

#[test]
fn recovery_times_are_measured_or_said_not_to_be() {
    let mut all = facts();
    let record = |asset, kind, days, done, s| event(asset, kind, days, done, s);
    all.trail = Trail::Read {
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
    let told = told("", &all);
    let (orders, users) = (asset(&told.page, "orders"), asset(&told.page, "users"));
    assert_eq!(
        (orders.rto.newest_seconds, orders.rto.slowest_seconds),
        (Some(5400.0), Some(9000.0))
    );
    assert_eq!((orders.rto.met, orders.rto.measured), (Some(true), 2));
    assert_eq!((users.rto.met, users.rto.newest_seconds), (None, None));
    let success = told.page.success.expect("counted");
    assert_eq!((success.done, success.failed), (1, 1), "what is older than 30 days is not counted");
    assert!(told.findings.iter().any(|f| f.what == "success-rate"));
    assert_eq!(told.page.proofs.len(), 4);
}

#[test]
fn snapshots_are_counted_whole_and_as_a_most_unless_the_policy_says_what_changes() {
    let whole = told("", &facts());
    let line = &asset(&whole.page, "orders").cost;
    let month = line.month.expect("priced");
    assert!(line.at_most && (month - 10.0 * 20.0 * 0.095).abs() < 1e-6, "{month}");
    let changed = told(", costs: {snapshot_change: 5%}", &facts());
    let line = &asset(&changed.page, "orders").cost;
    let month = line.month.expect("priced");
    assert!(!line.at_most && (month - 20.0 * 0.095 * 1.45).abs() < 1e-6, "{month}");
}

#[test]
fn an_unknown_price_is_no_zero() {
    let mut all = facts();
    let at = spot(&mut all, "azure://acme/backups", false);
    let held = all.held.get_mut(&Key::new("shop", "shop")).expect("there");
    held.points.push(Point { class: Class::Azure, ..snapshot(at.into(), 1, at) });
    let told = told("", &all);
    assert_eq!(told.page.costs.unpriced, vec![Class::Azure]);
    assert!(told.page.costs.total.at_least);
    let cost = |v: &&MetricValue| v.metric == Metric::StorageCost && v.group.as_deref() != Some("fleet");
    assert_eq!(
        told.values.iter().filter(cost).count(),
        0,
        "a part of a sum is no value to publish"
    );
}

#[test]
fn budget_and_quota_are_found_before_they_are_overrun() {
    let costs = ", costs: {monthly_budget: 10, quota: 300GiB, snapshot_change: 10%}";
    let found = told(costs, &facts()).findings;
    let budget = found.iter().find(|f| f.what == "over-budget");
    assert!(budget.is_none(), "{found:?}");
    let costs = ", costs: {monthly_budget: 3, quota: 90GiB, snapshot_change: 10%}";
    let found = told(costs, &facts()).findings;
    let budget = found.iter().find(|f| f.what == "over-budget").expect("found");
    assert!(budget.why.starts_with("this month will cost $"), "{}", budget.why);
    let quota = found.iter().find(|f| f.what == "quota").expect("found");
    assert_eq!(
        (quota.severity, quota.why.as_str()),
        (Severity::Warning, "storage is 83% of its quota: 75 GiB of 90 GiB")
    );
    let costs = ", costs: {quota: 80GiB, snapshot_change: 10%}";
    let found = told(costs, &facts()).findings;
    assert_eq!(
        found.iter().find(|f| f.what == "quota").map(|f| f.severity),
        Some(Severity::Critical)
    );
}

#[test]
fn a_quota_of_objects_counts_no_snapshots() {
    let used = |more: &str| {
        let costs = format!(", costs: {{quota: 90GiB, snapshot_change: 10%{more}}}");
        told(&costs, &facts()).page.quota.expect("a quota").bytes
    };
    let all = told(", costs: {snapshot_change: 10%}", &facts()).page.costs;
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
        told(&costs, &facts()).findings.iter().any(|f| f.what == "storage-report")
    };
    assert!(due("30 11 20 * *") && due("0 12 20 * *"));
    assert!(due("30 10 20 * *") && due("1 12 19 * *"));
    assert!(!due("0 12 19 * *") && !due("0 13 20 * *"));
}

#[test]
fn the_storage_report_tells_requests_and_transfer_with_what_they_cost() {
    let mut all = facts();
    let region = Some("us-east-1".to_owned());
    let away = all.spot(Spot { name: "us-east-1 in 111122223333".into(), region, home: false });
    let held = all.held.get_mut(&Key::new("fleet", "orders")).expect("there");
    // Of this month, and of the month before.
    held.points.extend([snapshot(at(2, 4), 50, away), snapshot(at(40, 4), 50, away)]);
    let costs = ", costs: {report: \"0 6 20 * *\", monthly_budget: 100, prices: {transfer: 0.05}}";
    let told = told(costs, &all);
    let transfer = told.page.costs.transfer;
    assert_eq!(transfer.bytes, 50 * GIB);
    let dollars = 50.0 * 1.073_741_824 * 0.05;
    assert!(transfer.cost.is_some_and(|c| (c - dollars).abs() < 1e-6), "{transfer:?}");
    let report = told.findings.iter().find(|f| f.what == "storage-report").expect("carried");
    let lines: Vec<_> = report.why.lines().collect();
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
    let keep = |yaml: &str| serde_json::from_str::<shared::policy::RetentionRule>(yaml).expect("a rule");
    let gfs = keep(r#"{"daily": 7, "weekly": 4, "monthly": 12}"#);
    // Held against 25 h only the daily ones are dense; against 8 d the weekly ones too.
    assert_eq!(points::dense(&gfs, Some(25 * 3600)), 7 * DAY);
    assert_eq!(points::dense(&gfs, Some(8 * DAY)), 28 * DAY);
    // Of hourly points, one of each day is a gap for 2 h.
    assert_eq!(points::dense(&keep(r#"{"hourly": 24, "daily": 30}"#), Some(7200)), DAY);
}

#[test]
fn a_size_is_held_against_the_median_of_those_before_it() {
    let mut all = facts();
    let held = all.held.get_mut(&Key::new("fleet", "orders")).expect("there");
    held.points[0].bytes = 25 * GIB;
    let deviation = asset(&told("", &all).page, "orders").deviation.expect("compared");
    assert!(deviation.over && (deviation.share - 0.25).abs() < 1e-9);
    assert_eq!((deviation.median, deviation.compared), (20 * GIB, 9));
}

fn points() -> impl Strategy<Value = Vec<Point>> {
    let class = prop::sample::select(Class::ALL.to_vec());
    let point = (0..400_i64, 0..1_u64 << 40, 0..2_u16, class, any::<bool>());
    let point = point.prop_map(|(days, bytes, spot, class, good)| {
        let at = at(days, 2);
        Point { at, stored: at, bytes, spot, class, good }
    });
    prop::collection::vec(point, 0..40)
}

proptest! {
    /// Every byte and every cent is once in its class and once in its asset.
    #[test]
    fn totals_are_the_sums(orders in points(), users in points(), gone in points(), change in 0..100_u32) {
        let mut all = Facts::default();
        spot(&mut all, "eu-west-1 in 111122223333", true);
        spot(&mut all, "us-east-1 in 111122223333", false);
        let weights = gone.iter().map(|p| {
            let (billed, index) = p.class.billed(p.bytes);
            let (bytes, stored, spot, class) = (p.bytes, Some(p.stored), p.spot, p.class);
            Weight { objects: 1, bytes, billed, index, stored, spot, class }
        });
        all.held.insert(Key::new("", "gone"), Held { weights: weights.collect(), ..Held::default() });
        all.held.insert(Key::new("fleet", "orders"), Held { points: orders, ..Held::default() });
        all.held.insert(Key::new("fleet", "users"), Held { points: users, ..Held::default() });
        let page = told(&format!(", costs: {{snapshot_change: {change}%}}"), &all).page;
        let costs = &page.costs;
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-6 * (1.0 + a.abs());
        let asked: f64 = costs.requests.iter().filter_map(|r| r.cost).sum();
        let lines = || page.assets.iter().map(|a| &a.cost).chain([&costs.unowned]);
        prop_assert_eq!(lines().map(|l| l.bytes).sum::<u64>(), costs.total.bytes);
        prop_assert_eq!(costs.classes.iter().map(|c| c.line.bytes).sum::<u64>(), costs.total.bytes);
        let sum = |of: fn(&Line) -> Option<f64>| lines().filter_map(of).sum::<f64>();
        let by_class = |of: fn(&Line) -> Option<f64>| costs.classes.iter().filter_map(|c| of(&c.line)).sum::<f64>();
        for (of, more) in [((|l| l.month) as fn(&Line) -> Option<f64>, 0.0), (|l| l.so_far, asked)] {
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

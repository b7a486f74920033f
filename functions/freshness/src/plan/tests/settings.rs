//! Automated backups: what differs, what is fixed, and the restore window.

use super::*;
use shared::catalog::DatabaseKind::{self, Cluster, Instance};
use std::collections::BTreeMap;

const NOW: &str = "2026-11-20T12:00:00Z";

fn policy_with_backups(settings: &str) -> Policy {
    fleet_policy(&format!("automated_backups: {{ {settings} }}"))
}

/// What is said of one database with a fresh point, as it is told by RDS and by its list of automated backups.
fn plan_database(
    policy: &Policy,
    db: &RdsDatabase,
    earliest: Option<BTreeMap<String, Option<Timestamp>>>,
    now: &str,
) -> FreshnessPlan {
    let points = vec![owned_snapshot(policy, db, "daily", parse_time("2026-11-20T02:00:00Z"))];
    let facts = FreshnessObservations {
        rds: home_inventory(policy, vec![db.clone()], points),
        earliest,
        ..FreshnessObservations::default()
    };
    plan(policy, &facts, parse_time(now))
}

fn plan_text(policy: &Policy, change: impl FnOnce(&mut RdsDatabase)) -> String {
    let mut db = db_instance("acme-a", parse_time(NOW));
    change(&mut db);
    format_plan(&plan_database(policy, &db, None, NOW))
}

type DatabaseChange = fn(&mut RdsDatabase);

const DIFFERENCES: [(&str, DatabaseChange); 9] = [
    ("as it should be", |_| {}),
    ("kept for less", |d| d.retention_days = 7),
    ("kept for longer", |d| d.retention_days = 35),
    ("switched off", |d| d.retention_days = 0),
    ("another window", |d| d.window = "04:00-05:00".into()),
    ("a log that is not exported", |d| d.log_exports = vec!["audit".into()]),
    ("no standby", |d| d.multi_az = false),
    ("all at once", |d| {
        (d.retention_days, d.window) = (7, "04:00-05:00".into());
        d.log_exports.clear();
    }),
    ("all at once and switched off", |d| {
        (d.retention_days, d.window) = (0, "04:00-05:00".into());
        d.log_exports.clear();
    }),
];

fn difference_lines(drift: &str) -> String {
    let policy = policy_with_backups(&format!(
        "retention: 30d, window: \"02:00-03:00\", log_exports: [postgresql], multi_az: true, on_drift: {drift}"
    ));
    let rows = DIFFERENCES.map(|(case, change)| {
        let said = plan_text(&policy, |d| {
            (d.retention_days, d.log_exports) = (30, vec!["audit".into(), "postgresql".into()]);
            change(d);
        });
        format!("{case}\n  {}", said.replace('\n', "\n  "))
    });
    rows.join("\n")
}

#[test]
fn a_difference_is_told_with_the_command_that_fixes_it_and_nothing_is_changed() {
    insta::assert_snapshot!(difference_lines("report"), @r#"
    as it should be
      fine
    kept for less
      critical acme-a settings-drift: its automated backups are kept for 7 days, and the policy wants 30; run `aws rds modify-db-instance --apply-immediately --db-instance-identifier acme-a --backup-retention-period 30`
    kept for longer
      warning acme-a settings-drift: its automated backups are kept for 35 days, and the policy wants 30; run `aws rds modify-db-instance --apply-immediately --db-instance-identifier acme-a --backup-retention-period 30`, which deletes its older automated backups; or raise the policy's
    switched off
      critical acme-a settings-drift: its automated backups are switched off, and the policy wants 30 days; run `aws rds modify-db-instance --apply-immediately --db-instance-identifier acme-a --backup-retention-period 30` in a quiet hour: switching backups on is a short outage
    another window
      warning acme-a settings-drift: its backup window is 04:00-05:00, and the policy wants 02:00-03:00; run `aws rds modify-db-instance --apply-immediately --db-instance-identifier acme-a --preferred-backup-window 02:00-03:00`
    a log that is not exported
      warning acme-a settings-drift: its logs are not exported: postgresql; run `aws rds modify-db-instance --apply-immediately --db-instance-identifier acme-a --cloudwatch-logs-export-configuration '{"EnableLogTypes":["postgresql"]}'`
    no standby
      critical acme-a settings-drift: it has no standby in another availability zone; change it in a quiet hour
    all at once
      critical acme-a settings-drift: its automated backups are kept for 7 days, and the policy wants 30; run `aws rds modify-db-instance --apply-immediately --db-instance-identifier acme-a --backup-retention-period 30`
      warning acme-a settings-drift: its backup window is 04:00-05:00, and the policy wants 02:00-03:00; run `aws rds modify-db-instance --apply-immediately --db-instance-identifier acme-a --preferred-backup-window 02:00-03:00`
      warning acme-a settings-drift: its logs are not exported: postgresql; run `aws rds modify-db-instance --apply-immediately --db-instance-identifier acme-a --cloudwatch-logs-export-configuration '{"EnableLogTypes":["postgresql"]}'`
    all at once and switched off
      critical acme-a settings-drift: its automated backups are switched off, and the policy wants 30 days; run `aws rds modify-db-instance --apply-immediately --db-instance-identifier acme-a --backup-retention-period 30` in a quiet hour: switching backups on is a short outage
      warning acme-a settings-drift: its backup window is 04:00-05:00, and the policy wants 02:00-03:00; run `aws rds modify-db-instance --apply-immediately --db-instance-identifier acme-a --preferred-backup-window 02:00-03:00`
      warning acme-a settings-drift: its logs are not exported: postgresql; run `aws rds modify-db-instance --apply-immediately --db-instance-identifier acme-a --cloudwatch-logs-export-configuration '{"EnableLogTypes":["postgresql"]}'`
    "#);
}

#[test]
fn enforced_settings_are_fixed_but_never_across_zero_and_never_by_deleting_backups() {
    let steps = difference_lines("enforce");
    let steps: Vec<_> =
        steps.lines().filter(|l| !l.starts_with("  ") || l.starts_with("  set ")).collect();
    insta::assert_snapshot!(steps.join("\n"), @"
    as it should be
    kept for less
      set the automated backups of acme-a: retention 30 days: the policy says enforce
    kept for longer
    switched off
    another window
      set the automated backups of acme-a: window 02:00-03:00: the policy says enforce
    a log that is not exported
      set the automated backups of acme-a: log exports postgresql: the policy says enforce
    no standby
    all at once
      set the automated backups of acme-a: retention 30 days window 02:00-03:00 log exports postgresql: the policy says enforce
    all at once and switched off
    ");
}

#[test]
fn a_hint_holds_the_whole_change_and_no_zero() {
    let policy = policy_with_backups(
        "retention: 30d, window: \"02:00-03:00\", log_exports: [postgresql], on_drift: enforce",
    );
    let mut db = db_instance("acme-a", parse_time(NOW));
    (db.retention_days, db.window) = (1, "04:00-05:00".into());
    let verdict = plan_database(&policy, &db, None, NOW);
    insta::assert_snapshot!(serde_json::to_string_pretty(&verdict.plan.steps).expect("json"), @r#"
    [
      {
        "asset": "acme-a",
        "family": "instance",
        "database": "acme-a",
        "settings": {
          "retention_days": 30,
          "window": "02:00-03:00",
          "log_exports": [
            "postgresql"
          ]
        },
        "reason": "the policy says enforce"
      }
    ]
    "#);
}

#[test]
fn backups_that_are_off_are_told_even_where_no_retention_is_asked() {
    insta::assert_snapshot!(plan_text(&policy_with_backups("window: \"02:00-03:00\""), |d| d.retention_days = 0), @"critical acme-a settings-drift: its automated backups are switched off, and the policy wants them; run `aws rds modify-db-instance --apply-immediately --db-instance-identifier acme-a --backup-retention-period DAYS` in a quiet hour: switching backups on is a short outage");
    insta::assert_snapshot!(plan_text(&policy_with_backups("multi_az: false"), |_| {}), @"info acme-a settings-drift: it has a standby in another availability zone, and the policy wants none; change it in a quiet hour");
}

#[test]
fn a_cluster_is_told_the_clusters_command() {
    let policy = policy_with_backups("retention: 30d, log_exports: [postgresql, upgrade]");
    let said = plan_text(&policy, |d| (d.family, d.retention_days) = (Cluster, 7));
    insta::assert_snapshot!(said, @r#"
    critical acme-a settings-drift: its automated backups are kept for 7 days, and the policy wants 30; run `aws rds modify-db-cluster --apply-immediately --db-cluster-identifier acme-a --backup-retention-period 30`
    warning acme-a settings-drift: its logs are not exported: postgresql, upgrade; run `aws rds modify-db-cluster --apply-immediately --db-cluster-identifier acme-a --cloudwatch-logs-export-configuration '{"EnableLogTypes":["postgresql","upgrade"]}'`
    "#);
}

#[test]
fn a_restorable_time_that_stands_still_is_told_to_the_second() {
    let policy = policy_with_backups("max_lag: 15m");
    let lag = |latest: Option<&str>, created: &str, now: &str| {
        let mut db = db_instance("acme-a", parse_time(NOW));
        (db.latest_restorable, db.created) = (latest.map(parse_time), Some(parse_time(created)));
        let verdict = plan_database(&policy, &db, None, now);
        format!(
            "{}\n  {}",
            format_plan(&verdict),
            metric_lines(&verdict, &[Metric::RestorableLag]).replace('\n', "\n  ")
        )
    };
    let long_ago = "2025-01-01T00:00:00Z";
    let table = [
        ("at the limit", lag(Some("2026-11-20T11:45:00Z"), long_ago, NOW)),
        ("a second beyond", lag(Some("2026-11-20T11:45:00Z"), long_ago, "2026-11-20T12:00:01Z")),
        ("ahead of our clock", lag(Some("2026-11-20T12:00:10Z"), long_ago, NOW)),
        ("none told", lag(None, long_ago, NOW)),
        ("none told, and new", lag(None, "2026-11-20T10:00:01Z", NOW)),
        ("none told, two hours old", lag(None, "2026-11-20T10:00:00Z", NOW)),
    ];
    let rows = table.map(|(case, said)| format!("{case}\n  {said}"));
    insta::assert_snapshot!(rows.join("\n"), @"
    at the limit
      fine
      RestorableLag fleet acme-a 900
      RestorableLag fleet * 900
      RestorableLag * * 900
    a second beyond
      critical acme-a restorable-lag: it can be restored up to 15m ago only; the policy allows 15m; see the database's events in RDS: log backups have stopped
      RestorableLag fleet acme-a 901
      RestorableLag fleet * 901
      RestorableLag * * 901
    ahead of our clock
      fine
      RestorableLag fleet acme-a 0
      RestorableLag fleet * 0
      RestorableLag * * 0
    none told
      critical acme-a no-restore-window: RDS names no latest restorable time; see the database's events in RDS
      
    none told, and new
      fine
      
    none told, two hours old
      critical acme-a no-restore-window: RDS names no latest restorable time; see the database's events in RDS
    ");
}

#[test]
fn one_database_without_a_restorable_time_takes_the_groups_lag_away() {
    let policy = policy_with_backups("max_lag: 15m");
    let (a, mut b) =
        (db_instance("acme-a", parse_time(NOW)), db_instance("acme-b", parse_time(NOW)));
    let told = |b: &RdsDatabase| {
        let points = [&a, b]
            .map(|d| owned_snapshot(&policy, d, "daily", parse_time("2026-11-20T02:00:00Z")))
            .to_vec();
        let seen = home_inventory(&policy, vec![a.clone(), b.clone()], points);
        metric_lines(&plan_inventory(&policy, seen, NOW), &[Metric::RestorableLag])
    };
    insta::assert_snapshot!(told(&b), @"
    RestorableLag fleet acme-a 0
    RestorableLag fleet acme-b 0
    RestorableLag fleet * 0
    RestorableLag * * 0
    ");
    b.latest_restorable = None;
    insta::assert_snapshot!(told(&b), @"RestorableLag fleet acme-a 0");
    b.retention_days = 0;
    insta::assert_snapshot!(told(&b), @"RestorableLag fleet acme-a 0");
    // A new one has none yet.
    (b.retention_days, b.created) = (7, Some(parse_time(NOW)));
    insta::assert_snapshot!(told(&b), @"
    RestorableLag fleet acme-a 0
    RestorableLag fleet * 0
    RestorableLag * * 0
    ");
}

#[test]
fn a_restore_window_is_as_long_as_the_policy_says_or_told() {
    let policy = policy_with_backups("retention: 7d");
    let told = |listed: Option<Option<&str>>, created: &str, family: DatabaseKind| {
        let mut db = db_instance("acme-a", parse_time(NOW));
        (db.retention_days, db.created, db.family) = (7, Some(parse_time(created)), family);
        let listed = listed.map(|earliest| ("db-acme-a".to_owned(), earliest.map(parse_time)));
        format_plan(&plan_database(&policy, &db, Some(listed.into_iter().collect()), NOW))
    };
    let long_ago = "2025-01-01T00:00:00Z";
    // RDS's window begins anew once a day, so a day and an hour may lack of the seven.
    let table = [
        ("whole", told(Some(Some("2026-11-13T12:00:00Z")), long_ago, Instance)),
        ("a day and an hour short", told(Some(Some("2026-11-14T13:00:00Z")), long_ago, Instance)),
        ("a second more", told(Some(Some("2026-11-14T13:00:01Z")), long_ago, Instance)),
        (
            "short, and too new to be long",
            told(Some(Some("2026-11-19T12:00:00Z")), "2026-11-19T11:00:00Z", Instance),
        ),
        ("not listed", told(None, long_ago, Instance)),
        ("not listed, and new", told(None, "2026-11-20T00:00:00Z", Instance)),
        ("listed without a time", told(Some(None), long_ago, Instance)),
        ("a cluster, which is not listed", told(None, long_ago, Cluster)),
    ];
    let rows = table.map(|(case, said)| format!("{case}\n  {said}"));
    insta::assert_snapshot!(rows.join("\n"), @"
    whole
      fine
    a day and an hour short
      fine
    a second more
      warning acme-a restore-window-short: it can be restored from 5d 22h ago on, and the policy wants 7d; it grows by a day each day if the retention is right
    short, and too new to be long
      fine
    not listed
      critical acme-a no-restore-window: RDS lists no automated backup of it, so it can't be restored to a point in time; see the database's events in RDS
    not listed, and new
      fine
    listed without a time
      info acme-a no-restore-window: RDS tells no earliest restorable time of its automated backup; see the automated backup in RDS
    a cluster, which is not listed
      fine
    ");

    let mut cluster = db_instance("acme-a", parse_time(NOW));
    (cluster.family, cluster.retention_days) = (Cluster, 7);
    cluster.earliest_restorable = Some(parse_time("2026-11-18T12:00:00Z"));
    let said = format_plan(&plan_database(&policy, &cluster, Some(BTreeMap::new()), NOW));
    insta::assert_snapshot!(said, @"warning acme-a restore-window-short: it can be restored from 2d ago on, and the policy wants 7d; it grows by a day each day if the retention is right");
    cluster.earliest_restorable = None;
    assert_eq!(
        format_plan(&plan_database(&policy, &cluster, None, NOW)),
        "fine",
        "not asked is not absent"
    );
}

#[test]
fn drift_is_counted_for_the_group_and_the_policy() {
    let policy = policy_with_backups("retention: 30d, window: \"02:00-03:00\", multi_az: true");
    let (a, mut b) =
        (db_instance("acme-a", parse_time(NOW)), db_instance("acme-b", parse_time(NOW)));
    (b.retention_days, b.multi_az) = (7, false);
    let points = [&a, &b]
        .map(|d| owned_snapshot(&policy, d, "daily", parse_time("2026-11-20T02:00:00Z")))
        .to_vec();
    let world = home_inventory(&policy, vec![a, b], points);
    insta::assert_snapshot!(metric_lines(&plan_inventory(&policy, world.clone(), NOW), &[Metric::SettingsDrift]), @"
    SettingsDrift fleet * 3
    SettingsDrift * * 3
    ");
    assert_eq!(
        metric_lines(
            &plan_inventory(&policy, without_location(world, "eu-west-1"), NOW),
            &[Metric::SettingsDrift]
        ),
        "",
        "not seen is not right"
    );
}

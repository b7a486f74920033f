//! Green means protected: what nothing runs, watches or could see is a row of its own, and never ok.

use super::super::stored::{ObjectAsset, ObjectRecoveryPoint, object_assets};
use super::*;
use proptest::prelude::*;
use shared::{
    aws::{
        kms::KeyState,
        rds::{ServiceQuota, SnapshotQuotas},
    },
    parts,
    policy::dumps::PRE_RESTORE_REASON,
};

const NOW: &str = "2026-11-20T12:00:00Z";

/// A group of one database with these lines, and nothing else.
fn policy_with(lines: &str) -> Policy {
    parse_policy(&format!(
        "holdfast: 1\ncompany: acme\nhome: {{ account: \"111122223333\", region: eu-west-1 }}\n\
         destinations: {{ dr: {{ region: us-east-1, kms_key: \"arn:aws:kms:us-east-1:111122223333:key/dr\" }} }}\n\
         databases:\n  fleet:\n    select: {{ identifiers: [acme-a] }}\n{lines}"
    ))
}

const DAILY: &str =
    "    snapshots: { daily: { schedule: { cron: \"0 2 * * *\" }, keep: { for: 35d } } }\n";

/// What is found: severity and word of each finding, worst first.
fn finding_codes(verdict: &FreshnessPlan) -> String {
    let mut all: Vec<_> = verdict.plan.findings.iter().collect();
    all.sort_by(|a, b| b.severity.cmp(&a.severity).then(a.code.cmp(&b.code)));
    let words: Vec<_> = all.iter().map(|f| format!("{} {}", f.severity, f.code)).collect();
    words.join(", ")
}

fn observed_points(policy: &Policy, points: Vec<RecoveryPoint>) -> FreshnessObservations {
    let db = db_instance("acme-a", parse_time(NOW));
    FreshnessObservations {
        rds: home_inventory(policy, vec![db], points),
        ..FreshnessObservations::default()
    }
}

fn snapshot_at(policy: &Policy, reason: &str, time: &str) -> RecoveryPoint {
    owned_snapshot(policy, &db_instance("acme-a", parse_time(NOW)), reason, parse_time(time))
}

#[test]
fn without_an_objective_one_follows_from_the_schedule_and_old_points_are_found() {
    let policy = policy_with(DAILY);
    let judged = |time: &str| {
        plan(
            &policy,
            &observed_points(&policy, vec![snapshot_at(&policy, "daily", time)]),
            parse_time(NOW),
        )
    };
    let fresh = judged("2026-11-20T02:00:00Z");
    assert_eq!((finding_codes(&fresh).as_str(), fresh.assets[0].status_label()), ("", "ok"));
    assert_eq!(fresh.assets[0].max_age_seconds, Some(25 * 3600));
    assert!(fresh.assets[0].max_age_derived);
    // 300 days old.
    let old = judged("2026-01-24T02:00:00Z");
    assert_eq!(
        (finding_codes(&old).as_str(), old.assets[0].status_label()),
        ("critical backup-stale", "CRITICAL")
    );
    assert!(old.plan.findings[0].message.contains("that follows from its schedule"));
    // Neither an objective nor a schedule: that is not well either.
    let manual = policy_with("    snapshots: { manual: { keep: { for: 35d } } }\n");
    let none = plan(
        &manual,
        &observed_points(&manual, vec![snapshot_at(&manual, "manual", NOW)]),
        parse_time(NOW),
    );
    assert_eq!(finding_codes(&none), "warning not-watched");
    assert_eq!(none.assets[0].status_label(), "not watched");
}

#[test]
fn copies_without_an_objective_are_watched_by_the_schedule_of_what_they_copy() {
    let policy = policy_with(&format!(
        "{DAILY}    copies: [{{ to: dr, of: [daily], keep: {{ newest: 2 }} }}]\n"
    ));
    let newest = snapshot_at(&policy, "daily", "2026-11-20T02:00:00Z");
    let judged = |copy: &RecoveryPoint| {
        let mut facts = observed_points(&policy, vec![newest.clone()]);
        add_copy(&mut facts.rds, "us-east-1", copy);
        plan(&policy, &facts, parse_time(NOW))
    };
    assert_eq!(finding_codes(&judged(&newest)), "");
    let old = snapshot_at(&policy, "daily", "2026-01-24T02:00:00Z");
    assert_eq!(finding_codes(&judged(&old)), "critical offsite-copy-stale");
}

#[test]
fn a_missed_schedule_is_found_whatever_else_is_young_and_twice_missed_is_critical() {
    let policy = policy_with(
        "    objectives: { max_age: 25h }\n    snapshots:\n      daily: { schedule: { cron: \"0 2 * * *\" }, keep: { for: 35d } }\n      \
         weekly: { schedule: { cron: \"0 1 * * 0\" }, keep: { weekly: 5 } }\n",
    );
    let daily = snapshot_at(&policy, "daily", "2026-11-20T02:00:00Z");
    // Sundays: 2026-11-15, 2026-11-08.
    let judged = |weekly: &str| {
        let points = vec![daily.clone(), snapshot_at(&policy, "weekly", weekly)];
        finding_codes(&plan(&policy, &observed_points(&policy, points), parse_time(NOW)))
    };
    assert_eq!(judged("2026-11-15T01:00:00Z"), "");
    assert_eq!(judged("2026-11-08T01:00:00Z"), "warning schedule-missed");
    assert_eq!(judged("2026-11-01T01:00:00Z"), "critical schedule-missed");
    // RDS's own are no excuse: what the policy takes is not taken.
    let db = db_instance("acme-a", parse_time(NOW));
    let points = vec![automated_snapshot(&policy, &db, parse_time(NOW))];
    let verdict = plan(&policy, &observed_points(&policy, points), parse_time(NOW));
    assert_eq!(finding_codes(&verdict), "critical schedule-missed, critical schedule-missed");
}

#[test]
fn a_point_under_a_key_that_can_not_decrypt_is_none() {
    let policy = policy_with(&format!(
        "{DAILY}    copies: [{{ to: dr, of: [daily], keep: {{ newest: 2 }} }}]\n"
    ));
    let newest = snapshot_at(&policy, "daily", "2026-11-20T02:00:00Z");
    let judged = |key: &str, state: KeyState| {
        let mut facts = observed_points(&policy, vec![newest.clone()]);
        add_copy(&mut facts.rds, "us-east-1", &newest);
        facts.keys.insert(key.into(), Ok(state));
        plan(&policy, &facts, parse_time(NOW))
    };
    let (home, dr) =
        (newest.kms_key.clone().expect("a key"), "arn:aws:kms:us-east-1:111122223333:key/dr");
    assert_eq!(finding_codes(&judged(dr, KeyState::Usable)), "");
    for state in [
        KeyState::Disabled,
        KeyState::PendingDeletion(Some(parse_time("2026-11-27T00:00:00Z"))),
        KeyState::Missing,
        KeyState::Unusable("Unavailable".into()),
    ] {
        for key in [home.as_str(), dr] {
            let verdict = judged(key, state.clone());
            assert_eq!(finding_codes(&verdict), "critical kms-key-unusable", "{state:?} {key}");
            assert_eq!(verdict.assets[0].status_label(), "CRITICAL");
        }
    }
    // What could not be asked is no proof either way, and said.
    let mut facts = observed_points(&policy, vec![newest.clone()]);
    add_copy(&mut facts.rds, "us-east-1", &newest);
    facts.keys.insert(dr.into(), Err(OperationError::from_message("describe key", "AccessDenied")));
    assert_eq!(
        finding_codes(&plan(&policy, &facts, parse_time(NOW))),
        "warning kms-key-not-readable"
    );
}

#[test]
fn a_database_whose_key_is_lost_is_critical() {
    let policy = policy_with(DAILY);
    for status in
        ["inaccessible-encryption-credentials", "inaccessible-encryption-credentials-recoverable"]
    {
        let mut facts =
            observed_points(&policy, vec![snapshot_at(&policy, "daily", "2026-11-20T02:00:00Z")]);
        let home = facts.rds.locations.get_mut(&Location::home_from_policy(&policy)).expect("home");
        home.databases[0].status = status.into();
        assert_eq!(
            finding_codes(&plan(&policy, &facts, parse_time(NOW))),
            "critical kms-key-unusable",
            "{status}"
        );
    }
}

#[test]
fn what_is_on_its_way_for_a_day_is_stuck() {
    let policy = policy_with(DAILY);
    let good = snapshot_at(&policy, "daily", "2026-11-20T02:00:00Z");
    let growing = |started: &str| {
        point_with(snapshot_at(&policy, "daily", started), |p| {
            (p.state, p.data_time) = (RecoveryPointState::InFlight, None);
        })
    };
    let judged = |started| {
        finding_codes(&plan(
            &policy,
            &observed_points(&policy, vec![good.clone(), growing(started)]),
            parse_time(NOW),
        ))
    };
    assert_eq!(judged("2026-11-19T12:00:00Z"), "");
    assert_eq!(judged("2026-11-19T11:59:59Z"), "critical backup-stuck");
}

#[test]
fn the_quota_of_manual_snapshots_is_told_with_its_day_before_it_is_used_up() {
    let policy = policy_with(DAILY);
    let points = vec![snapshot_at(&policy, "daily", "2026-11-20T02:00:00Z")];
    let judged = |used, max| {
        let mut facts = observed_points(&policy, points.clone());
        let quotas =
            SnapshotQuotas { snapshots: Some(ServiceQuota { used, max }), cluster_snapshots: None };
        facts.quotas.insert(Location::home_from_policy(&policy), Ok(quotas));
        let findings = plan(&policy, &facts, parse_time(NOW)).plan.findings;
        findings
            .iter()
            .map(|f| format!("{} {}: {}", f.severity, f.code, f.message))
            .collect::<Vec<_>>()
            .join("\n")
    };
    // 35 of ours in the end, 60 of others'.
    assert_eq!(judged(61, 100), "");
    // 70 of others': 100 are reached with the 30th of ours, 29 days from the first on, and passed a day later.
    assert_eq!(
        judged(71, 100),
        "warning quota-exceeded: the policy will hold 35 manual snapshots and others 70: on 2026-12-20 the 100 that are allowed are used up"
    );
    assert!(
        judged(96, 100).starts_with("critical quota-exceeded: the policy will hold 35"),
        "{}",
        judged(96, 100)
    );
    assert!(
        judged(100, 100).starts_with("critical quota-exceeded: all 100 manual snapshots are used"),
        "{}",
        judged(100, 100)
    );
}

#[test]
fn a_replica_whose_primary_is_elsewhere_is_protected_by_nobody() {
    let policy = policy_with(DAILY);
    let points = vec![snapshot_at(&policy, "daily", "2026-11-20T02:00:00Z")];
    let judged = |primary: &str| {
        let mut facts = observed_points(&policy, points.clone());
        let home = facts.rds.locations.get_mut(&Location::home_from_policy(&policy)).expect("home");
        let mut replica = db_instance("acme-read", parse_time(NOW));
        replica.replica_of = Some(primary.into());
        home.databases.push(replica);
        finding_codes(&plan(&policy, &facts, parse_time(NOW)))
    };
    assert_eq!(judged("acme-a"), "");
    assert_eq!(judged("arn:aws:rds:us-west-2:111122223333:db:other"), "critical unprotected");
}

#[test]
fn a_group_that_matches_nothing_and_a_name_that_is_not_there_are_rows() {
    let policy = parse_policy(
        "holdfast: 1\ncompany: acme\nhome: { account: \"111122223333\", region: eu-west-1 }\ndatabases:\n  \
         a: { select: { include: [\"acme-*\"] } }\n  b: { select: { identifiers: [orders] } }\n",
    );
    let facts = FreshnessObservations {
        rds: home_inventory(&policy, vec![], vec![]),
        ..FreshnessObservations::default()
    };
    let verdict = plan(&policy, &facts, parse_time(NOW));
    let rows: Vec<_> = verdict
        .assets
        .iter()
        .map(|s| format!("{}/{} {}", s.group, s.asset, s.status_label()))
        .collect();
    assert_eq!(rows, ["a/a CRITICAL", "b/orders CRITICAL", "b/b CRITICAL"]);
}

fn host_policy(dumps: &str) -> Policy {
    parse_policy(&format!(
        "holdfast: 1\ncompany: acme\nid: host-1\npostgres:\n  main:\n    databases: [orders]\n    \
         storage: {{ directory: /var/backups }}\n    dumps:\n{dumps}"
    ))
}

const DUMPS: &str = "      daily: { schedule: { cron: \"0 2 * * *\" }, keep: { for: 7d } }\n      \
                     some: { schedule: { cron: \"0 3 * * *\" }, keep: { for: 7d }, tables: [public.orders] }\n";

fn plan_dumps(policy: &Policy, points: &[(&str, &str)]) -> FreshnessPlan {
    let (_, rules) = policy.postgres.first_key_value().expect("a group");
    let mut all = object_assets(policy, &std::collections::BTreeMap::new());
    for (reason, time) in points {
        let reason_of = Some((*reason).to_owned());
        let point = ObjectRecoveryPoint {
            key: format!("{reason}.dump"),
            size: 9,
            at: parse_time(time),
            reason: reason_of,
        };
        let dump = rules.all_dumps().into_iter().find(|(r, _)| r.as_str() == *reason);
        let whole = *reason != PRE_RESTORE_REASON
            && dump.is_none_or(|(_, d)| d.is_whole() || !rules.takes_whole_dumps());
        if whole { all[0].add_point(point) } else { all[0].count_point(&point) }
    }
    plan(
        policy,
        &FreshnessObservations { object_assets: all, ..FreshnessObservations::default() },
        parse_time(NOW),
    )
}

#[test]
fn a_dump_of_some_tables_and_one_before_a_restore_are_never_the_newest_point() {
    let policy = host_policy(DUMPS);
    let recent = [("some", "2026-11-20T03:00:00Z"), ("pre-restore", "2026-11-20T11:00:00Z")];
    let old = [("daily", "2026-10-26T02:00:00Z"), recent[0], recent[1]];
    let verdict = plan_dumps(&policy, &old);
    assert_eq!(finding_codes(&verdict), "critical backup-stale");
    assert_eq!(verdict.assets[0].newest_point.as_deref(), Some("daily.dump"));
    let none = plan_dumps(&policy, &recent);
    assert_eq!(
        (finding_codes(&none).as_str(), none.assets[0].status_label()),
        ("critical no-backup", "CRITICAL")
    );
    assert!(none.plan.findings[0].message.contains("no dump of the whole database"));
    let well = [("daily", "2026-11-20T02:00:00Z"), recent[0]];
    assert_eq!(finding_codes(&plan_dumps(&policy, &well)), "");
    // The narrowed one has a schedule too.
    let missed = [("daily", "2026-11-20T02:00:00Z"), ("some", "2026-11-19T03:00:00Z")];
    assert_eq!(finding_codes(&plan_dumps(&policy, &missed)), "warning schedule-missed");
}

#[test]
fn a_dump_that_its_rule_no_longer_keeps_was_not_missed() {
    let monthly = |keep: &str| {
        let daily = "      daily: { schedule: { cron: \"0 2 * * *\" }, keep: { for: 35d } }\n";
        let rule = format!(
            "      monthly: {{ schedule: {{ cron: \"0 3 1 * *\" }}, keep: {{ for: {keep} }} }}\n"
        );
        host_policy(&format!("{daily}{rule}"))
    };
    let well = [("daily", "2026-11-20T02:00:00Z")];
    assert_eq!(finding_codes(&plan_dumps(&monthly("15d"), &well)), "");
    assert_eq!(finding_codes(&plan_dumps(&monthly("35d"), &well)), "critical schedule-missed");
}

#[test]
fn where_the_policy_takes_nothing_but_some_tables_they_are_what_it_wants() {
    let policy = host_policy(
        "      some: { schedule: { cron: \"0 3 * * *\" }, keep: { for: 7d }, tables: [public.orders] }\n",
    );
    assert_eq!(finding_codes(&plan_dumps(&policy, &[("some", "2026-11-20T03:00:00Z")])), "");
}

#[test]
fn what_only_its_host_can_see_is_a_row_that_is_not_ok_and_no_fault() {
    let policy = host_policy(DUMPS);
    let mut all = object_assets(&policy, &std::collections::BTreeMap::new());
    all[0].mark_unobserved();
    all[0].on_other_host = true;
    let verdict = plan(
        &policy,
        &FreshnessObservations { object_assets: all, ..FreshnessObservations::default() },
        parse_time(NOW),
    );
    assert_eq!(
        (finding_codes(&verdict).as_str(), verdict.assets[0].status_label()),
        ("info not-observed-here", "not observed")
    );
}

/// A policy with something of everything.
fn full_policy() -> Policy {
    parse_policy(
        r#"holdfast: 1
company: acme
home: { account: "111122223333", region: eu-west-1 }
destinations:
  azure: { azure: { account: a, container: c } }
databases:
  fleet: { select: { include: ["acme-*"] }, snapshots: { daily: { schedule: { cron: "0 2 * * *" }, keep: { for: 35d } } } }
  named: { select: { identifiers: [orders] } }
buckets:
  media: { bucket: acme-media, copies: [{ to: azure }] }
postgres:
  main: { databases: [a, b], storage: { bucket: acme-d }, dumps: { daily: { schedule: { cron: "0 2 * * *" }, keep: { for: 7d } } }, wal: { storage: { bucket: acme-w }, keep: 7d } }
  theirs: { databases: [x], storage: { bucket: acme-e } }
redis: { cache: { storage: { bucket: acme-r }, keep: { for: 7d }, schedule: { cron: "0 * * * *" } } }
files: { conf: { from: { directory: /etc }, storage: { directory: /f }, keep: { for: 7d } } }
secrets: { app: { prefix: app/ } }
drills: { monthly: { kind: dump, of: main, schedule: { cron: "0 5 1 * *" } } }
"#,
    )
}

/// One store as it may be seen: not at all, from elsewhere only, empty, or with a point of an age in hours.
fn observed_as(mut one: ObjectAsset, how: u8, hours: i64) -> Option<ObjectAsset> {
    match how {
        0 => return None,
        1 => one.mark_unobserved(),
        2 => (one.observed, one.on_other_host) = (false, true),
        3 => {}
        _ => {
            let at = parse_time(NOW) - SignedDuration::from_hours(hours);
            one.add_point(ObjectRecoveryPoint {
                key: "k".into(),
                size: 9,
                at,
                reason: Some("daily".into()),
            });
        }
    }
    Some(one)
}

proptest! {
    /// Whatever was seen, every asset and every part that the policy names has a row; and one is ok only if it was seen,
    /// something says how old it may be, and it is not older.
    #[test]
    fn every_asset_has_a_row_and_none_is_ok_unless_it_was_seen_and_young(
        blind in any::<bool>(),
        there in proptest::collection::vec(any::<bool>(), 3),
        ages in proptest::collection::vec((0_u8..6, 0_i64..2000), 8),
    ) {
        let policy = full_policy();
        let (ids, now) = (["acme-a", "acme-b", "orders"], parse_time(NOW));
        let databases: Vec<_> =
            ids.iter().zip(&there).filter(|(_, t)| **t).map(|(id, _)| db_instance(id, now)).collect();
        let points = databases.iter().zip(&ages).filter(|(_, (how, _))| *how > 2).map(|(db, (_, hours))| {
            owned_snapshot(&policy, db, "daily", now - SignedDuration::from_hours(*hours))
        });
        let points = points.collect();
        let mut rds = home_inventory(&policy, databases, points);
        if blind {
            rds = super::without_location(rds, "eu-west-1");
        }
        let stores = object_assets(&policy, &std::collections::BTreeMap::new()).into_iter().zip(&ages);
        let stored = stores.filter_map(|(one, (how, hours))| observed_as(one, *how, *hours)).collect();
        let verdict = plan(&policy, &FreshnessObservations { rds, object_assets: stored, ..FreshnessObservations::default() }, now);
        let rows = &verdict.assets;
        // Those two have their rows from functions of their own.
        let elsewhere = |s| matches!(s, PolicySection::Buckets | PolicySection::Secrets);
        for named in parts::named_assets(&policy).iter().filter(|n| !elsewhere(n.section)) {
            let is = |s: &AssetStatus| s.group == named.group && named.asset.as_ref().is_none_or(|a| *a == s.asset);
            prop_assert!(rows.iter().any(is), "{named:?}");
        }
        for part in parts::unimplemented_parts(&policy) {
            let row = rows.iter().find(|s| s.asset == part.path);
            prop_assert!(row.is_some_and(|s| !s.is_ok()), "{part:?}");
        }
        for row in rows.iter().filter(|s| s.is_ok()) {
            let (age, max) = (row.age_seconds, row.max_age_seconds);
            prop_assert!(age.zip(max).is_some_and(|(age, max)| age <= max), "{row:?}");
        }
        // What is not ok is told: by a finding, or by the word of its row.
        for row in rows.iter().filter(|s| s.status_label() == "CRITICAL") {
            prop_assert!(verdict.plan.findings.iter().any(|f| f.severity == Severity::Critical), "{row:?}");
        }
    }
}

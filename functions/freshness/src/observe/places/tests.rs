use super::*;
use crate::plan::{FreshnessObservations, object_assets, plan};
use shared::policy::Policy;
use storage::model::{committed_backup, foreign_backup};

const NOW: &str = "2026-11-20T12:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn policy(dumps: &str) -> Policy {
    let text = format!(
        "{{holdfast: 1, company: acme, home: {{account: \"111122223333\", region: eu-west-1}}, postgres: {{main: \
         {{databases: [orders], objectives: {{max_age: 25h}}, storage: {{bucket: acme-dumps}}, dumps: {{{dumps}}}}}}}}}"
    );
    Policy::parse(&text).unwrap_or_else(|e| panic!("{e}"))
}

/// What is found of `orders` with these files: the findings, and the newest that counts.
fn found(policy: &Policy, backups: Vec<StoredBackup>) -> (String, Option<String>) {
    let (_, group) = policy.postgres.first_key_value().expect("a group");
    let mut all = object_assets(policy, &BTreeMap::new());
    let dumps = BTreeMap::from([("orders".to_owned(), backups)]);
    record_dumps(&mut all[0], &group.storage, group, &dumps);
    let verdict = plan(
        policy,
        &FreshnessObservations { object_assets: all, ..FreshnessObservations::default() },
        at(NOW),
    );
    let of = verdict.plan.findings.iter().filter(|f| f.asset == "orders");
    let words: Vec<_> = of.map(|f| format!("{} {}", f.severity, f.code)).collect();
    let standing = verdict.assets.iter().find(|s| s.asset == "orders").expect("a row");
    (words.join(", "), standing.newest_point.clone())
}

const ALL: &str = "daily: {keep: {for: 7d}}, manual: {keep: {for: 7d}}";

#[test]
fn a_file_with_a_good_name_makes_no_group_of_ours_look_fresh() {
    let policy = policy(ALL);
    let added = || foreign_backup("orders_daily_20261120_110000.dump", at("2026-11-20T11:00:00Z"));
    assert_eq!(found(&policy, vec![added()]), ("critical no-backup".into(), None));
    let old = committed_backup("old.dump", "orders", "daily", at("2026-11-10T02:00:00Z"));
    assert_eq!(
        found(&policy, vec![old, added()]),
        ("critical backup-stale".into(), Some("old.dump".into()))
    );
    let young = committed_backup("young.dump", "orders", "daily", at("2026-11-20T02:00:00Z"));
    assert_eq!(found(&policy, vec![young, added()]), (String::new(), Some("young.dump".into())));
}

#[test]
fn the_record_and_not_the_policy_says_whether_a_dump_is_of_the_whole_database() {
    let slot = at("2026-11-20T02:00:00Z");
    let narrowed = |reason| {
        committed_backup("some.dump", "orders", reason, slot)
            .with_manifest(|m| m.selection = vec!["public.a".into()])
    };
    // Its reason took some tables when it was made, takes all now, or is in the policy no more.
    for reason in ["daily", "gone"] {
        let none = ("critical no-backup".to_owned(), None);
        assert_eq!(found(&policy(ALL), vec![narrowed(reason)]), none, "{reason}");
    }
    // Its reason takes some tables now: what was made before that is whole all the same.
    let some = "daily: {keep: {for: 7d}, tables: [public.a]}";
    let both = policy(&format!("{some}, weekly: {{keep: {{for: 7d}}}}"));
    let whole = committed_backup("whole.dump", "orders", "daily", slot);
    assert_eq!(found(&both, vec![whole]), (String::new(), Some("whole.dump".into())));
    // Where none is of the whole database, they are all that is asked.
    let narrow = found(&policy(some), vec![narrowed("daily")]);
    assert_eq!(narrow, (String::new(), Some("some.dump".into())));
    let before = committed_backup("before.dump", "orders", "pre-restore", slot);
    assert_eq!(found(&policy(ALL), vec![before]).0, "critical no-backup");
}

use super::*;
use shared::policy::Policy;
use storage::model::{committed_backup, foreign_backup};

const NOW: &str = "2026-11-20T12:00:00Z";

fn parse_timestamp(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn policy(group: &str) -> Policy {
    let yaml = format!(
        "{{holdfast: 1, company: acme, home: {{account: \"111122223333\", region: eu-west-1}}, \
         postgres: {{main: {{databases: [orders], {group}}}}}}}"
    );
    Policy::parse(&yaml).unwrap_or_else(|e| panic!("{e}"))
}

const STORED: &str =
    "storage: {bucket: acme-dumps, prefix: pg/, key: \"{database}_{reason}_%Y%m%d_%H%M%S.dump\"}";
const DAILY: &str = "dumps: {daily: {schedule: {cron: \"0 2 * * *\"}, keep: {daily: 7}}, manual: {keep: {for: 30d}}}";

fn daily_policy() -> Policy {
    policy(&format!("{STORED}, {DAILY}"))
}

fn observed_database(
    policy: &Policy,
    places: Vec<Result<Vec<StoredBackup>, OperationError>>,
) -> ObservedDatabase<'_> {
    let (group, rules) = policy.postgres.first_key_value().expect("a group");
    ObservedDatabase {
        group,
        rules,
        dumps: rules.all_dumps(),
        database: "orders".into(),
        server: Ok(5_000_000),
        key_errors: BTreeMap::new(),
        free_bytes: None,
        locations: places,
    }
}

fn backup_at_slot(reason: &str, slot: &str) -> StoredBackup {
    let slot = parse_timestamp(slot);
    let time = slot.strftime("%Y%m%d_%H%M%S");
    committed_backup(&format!("orders_{reason}_{time}.dump"), "orders", reason, slot)
}

fn on_demand_request(reason: &str) -> RunRequest {
    RunRequest { reason: reason.into(), ..RunRequest::full_run() }
}

fn plan_lines(
    policy: &Policy,
    looked: ObservedDatabase<'_>,
    request: &RunRequest,
    now: &str,
) -> String {
    let plan = plan(policy, &[looked], request, parse_timestamp(now));
    let steps = plan.steps.iter().map(|s| format!("{}: {}", s.action, s.reason));
    let findings = plan.findings.iter().map(ToString::to_string);
    steps.chain(findings).collect::<Vec<_>>().join("\n")
}

fn due_lines(places: Vec<Result<Vec<StoredBackup>, OperationError>>, now: &str) -> String {
    let policy = daily_policy();
    plan_lines(&policy, observed_database(&policy, places), &RunRequest::full_run(), now)
}

#[test]
fn a_slot_is_dumped_once_however_often_it_is_looked_and_however_late() {
    let there = || backup_at_slot("daily", "2026-11-20T02:00:00Z");
    insta::assert_snapshot!(due_lines(vec![Ok(vec![])], NOW), @"dump orders: daily is due since 10h");
    insta::assert_snapshot!(due_lines(vec![Ok(vec![there()])], NOW), @"");
    insta::assert_snapshot!(due_lines(vec![Ok(vec![there()])], "2026-11-21T01:59:59Z"), @"");
    insta::assert_snapshot!(due_lines(vec![Ok(vec![there()])], "2026-11-21T02:00:00Z"), @"dump orders: daily is due since 0s");
}

#[test]
fn what_has_no_commit_record_of_this_reason_and_slot_is_no_dump_of_it() {
    let slot = "2026-11-20T02:00:00Z";
    let manual = backup_at_slot("manual", slot);
    insta::assert_snapshot!(due_lines(vec![Ok(vec![manual])], NOW), @"dump orders: daily is due since 10h");
    let old = foreign_backup("orders_daily_20261120_020000.dump", parse_timestamp(slot));
    // Its name is taken, and the dump gets another one.
    insta::assert_snapshot!(due_lines(vec![Ok(vec![old])], NOW), @"dump orders: daily is due since 10h");
    let mut cut = backup_at_slot("daily", slot);
    let why = "its file has 3 bytes, and the manifest says 1000".to_owned();
    let (kind, hint) = (storage::StoreErrorKind::Damaged, "find out what changed it".into());
    cut.kind = BackupKind::Faulty { parsed_key: None, manifest: None, kind, why, hint };
    insta::assert_snapshot!(due_lines(vec![Ok(vec![cut])], NOW), @"
    dump orders: daily is due since 10h
    critical main/orders backup-invalid: s3://acme-dumps/pg/orders_daily_20261120_020000.dump counts as no backup: its file has 3 bytes, and the manifest says 1000; find out what changed it
    ");
}

#[test]
fn a_place_that_is_not_seen_gets_no_dump_blindly() {
    let unseen = || {
        Err(OperationError::with_hint(
            OperationErrorKind::Store,
            "list s3://acme-dumps/pg/",
            "timeout",
            "",
        ))
    };
    insta::assert_snapshot!(due_lines(vec![unseen()], NOW), @"critical main/orders observation-failed: list s3://acme-dumps/pg/: timeout; check the store's address, credentials and free space");
}

#[test]
fn what_would_stop_the_next_dump_is_said_before_it_is_due() {
    let policy = daily_policy();
    let there = || vec![Ok(vec![backup_at_slot("daily", "2026-11-20T02:00:00Z")])];
    let old = OperationError::with_hint(
        OperationErrorKind::Refused,
        "find pg_dump",
        "the server is 17 and pg_dump is 15",
        "install postgresql-client-17",
    );
    let away = OperationError::with_hint(OperationErrorKind::Database, "connect", "refused", "");
    let keyless =
        OperationError::with_hint(OperationErrorKind::Key, "read secret", "it is gone", "");
    let reason = observed_database(&policy, there()).dumps.into_keys().next().expect("daily");
    for (look, expected) in [
        (
            ObservedDatabase { server: Err(old), ..observed_database(&policy, there()) },
            "critical main/orders preflight-failed",
        ),
        (
            ObservedDatabase { server: Err(away), ..observed_database(&policy, there()) },
            "warning main/orders preflight-failed",
        ),
        (
            ObservedDatabase {
                key_errors: [(reason, keyless)].into(),
                ..observed_database(&policy, there())
            },
            "critical main/orders no-key",
        ),
    ] {
        let said = plan_lines(&policy, look, &RunRequest::full_run(), NOW);
        assert!(said.starts_with(expected), "{said}");
    }
}

#[test]
fn a_disk_that_is_too_full_for_the_dump_is_not_filled() {
    let policy = policy(&format!("{STORED}, min_free_space: 1MB, {DAILY}"));
    let room = |free, there| {
        let look = ObservedDatabase {
            free_bytes: Some(free),
            ..observed_database(&policy, vec![Ok(there)])
        };
        plan_lines(&policy, look, &RunRequest::full_run(), NOW)
    };
    assert!(room(6_000_000, vec![]).starts_with("dump orders"));
    insta::assert_snapshot!(room(5_999_999, vec![]), @"critical main/orders disk-full: 5999999 bytes are free and 6000000 are needed for daily; free space on the disk, or put the directory on a larger one");
    // The last dump tells better than the database's size: 1,000 bytes, twice.
    assert!(
        room(1_002_000, vec![backup_at_slot("daily", "2026-11-19T02:00:00Z")])
            .starts_with("dump orders")
    );
    assert!(
        room(1_001_999, vec![backup_at_slot("daily", "2026-11-19T02:00:00Z")])
            .contains("disk-full")
    );
}

#[test]
fn a_demand_dumps_now_for_its_reason_and_an_unknown_reason_does_nothing() {
    let policy = daily_policy();
    let look = || observed_database(&policy, vec![Ok(vec![])]);
    insta::assert_snapshot!(plan_lines(&policy, look(), &on_demand_request("manual"), NOW), @"dump orders: manual is asked for");
    insta::assert_snapshot!(plan_lines(&policy, look(), &on_demand_request("pre-restore"), NOW), @"dump orders: pre-restore is asked for");
    insta::assert_snapshot!(plan_lines(&policy, look(), &on_demand_request("weekly"), NOW), @r#"critical request unknown-reason: none of these groups takes dumps for "weekly"; write one of: daily, manual, pre-restore"#);
}

#[test]
fn every_table_and_query_of_csv_is_a_file_of_its_own() {
    let policy = policy(
        "storage: {bucket: acme-dumps}, dumps: {csv: {schedule: {cron: \"0 2 * * *\"}, keep: {for: 30d}, format: csv, \
         compress: gzip, tables: [orders], queries: {recent: SELECT 1}}}",
    );
    let slot = parse_timestamp("2026-11-20T02:00:00Z");
    let all = plan_lines(
        &policy,
        observed_database(&policy, vec![Ok(vec![])]),
        &RunRequest::full_run(),
        NOW,
    );
    insta::assert_snapshot!(all, @"
    dump orders, orders: csv is due since 10h
    dump orders, recent: csv is due since 10h
    ");
    let one =
        committed_backup("orders/orders_csv_orders_20261120_020000.csv.gz", "orders", "csv", slot)
            .with_manifest(|m| m.table = Some("orders".into()));
    let rest = plan_lines(
        &policy,
        observed_database(&policy, vec![Ok(vec![one])]),
        &RunRequest::full_run(),
        NOW,
    );
    insta::assert_snapshot!(rest, @"dump orders, recent: csv is due since 10h");
}

#[test]
fn a_second_place_gets_what_its_rule_keeps_and_never_twice() {
    let policy = policy(&format!(
        "{STORED}, copies: [{{bucket: acme-vault, key: \"%Y/{{database}}_{{reason}}_%Y%m%d.dump\", keep: {{newest: 2}}}}], {DAILY}"
    ));
    let slots = ["2026-11-18T02:00:00Z", "2026-11-19T02:00:00Z", "2026-11-20T02:00:00Z"];
    let home = || slots.iter().map(|s| backup_at_slot("daily", s)).collect::<Vec<_>>();
    let copies = |there: Result<Vec<StoredBackup>, OperationError>| {
        plan_lines(
            &policy,
            observed_database(&policy, vec![Ok(home()), there]),
            &RunRequest::full_run(),
            NOW,
        )
    };
    insta::assert_snapshot!(copies(Ok(vec![])), @"
    copy orders_daily_20261119_020000.dump to copies[0]: it is not there, and would be kept: newest 2 of 2
    copy orders_daily_20261120_020000.dump to copies[0]: it is not there, and would be kept: newest 1 of 2
    ");
    // A copy is the same bytes under another name.
    let copy = |slot| StoredBackup { key: "2026/x.dump".into(), ..backup_at_slot("daily", slot) };
    insta::assert_snapshot!(copies(Ok(vec![copy(slots[1]), copy(slots[2])])), @"");
    insta::assert_snapshot!(copies(Err(OperationError::from_message("list", "no"))), @"critical main/orders observation-failed: list: no; this is not what Holdfast expects there: look at it; the next run tries again");
}

#[test]
fn a_dump_may_be_the_same_as_the_newest_one_for_its_reason_that_can_be_read_at_once() {
    let dumps = "dumps: {daily: {schedule: {cron: \"0 2 * * *\"}, keep: {daily: 7}, skip_unchanged: true}}, \
                 tiers: [{class: STANDARD_IA}, {after: 30d, class: GLACIER}]";
    let policy = policy(&format!("{STORED}, {dumps}"));
    let named = |backups: Vec<StoredBackup>| {
        let plan = plan(
            &policy,
            &[observed_database(&policy, vec![Ok(backups)])],
            &RunRequest::full_run(),
            parse_timestamp(NOW),
        );
        let takes = plan.steps.into_iter().filter_map(|s| match s.action {
            DumpAction::Create(t) => Some(t.dedup_candidate.unwrap_or_else(|| "none".into())),
            _ => None,
        });
        takes.collect::<Vec<_>>().join(", ")
    };
    let dump = |slot: &str| {
        backup_at_slot("daily", slot).with_manifest(|m| m.fingerprint = Some(m.file.sha256.clone()))
    };
    let newest = "orders_daily_20261118_020000.dump";
    let old = || dump("2026-11-17T02:00:00Z");
    let new = || dump("2026-11-18T02:00:00Z");
    assert_eq!(named(vec![old(), new()]), newest);
    let later = vec![parse_timestamp("2026-11-19T02:00:10Z")];
    assert_eq!(
        named(vec![StoredBackup { unchanged: later, ..old() }, new()]),
        "orders_daily_20261117_020000.dump"
    );
    for other in [
        new().with_manifest(|m| m.fingerprint = None),
        StoredBackup { archived: true, ..new() },
        new().with_manifest(|m| m.reason = "manual".into()),
        dump("2026-10-20T02:00:00Z"),
    ] {
        assert_eq!(named(vec![other]), "none");
    }
    // Found to be the same at its time, its slot is served.
    let noted =
        |time| named(vec![StoredBackup { unchanged: vec![parse_timestamp(time)], ..new() }]);
    assert_eq!(noted("2026-11-20T02:00:05Z"), "");
    assert_eq!(noted("2026-11-20T01:59:59Z"), newest);
}

#[test]
fn a_second_place_is_told_that_its_copy_is_still_true() {
    let policy = policy(&format!(
        "{STORED}, copies: [{{bucket: acme-vault, key: \"{{database}}_{{reason}}_%Y%m%d_%H%M%S.dump\"}}], {DAILY}"
    ));
    let dump = |unchanged: &[&str]| {
        let unchanged = unchanged.iter().map(|t| parse_timestamp(t)).collect();
        StoredBackup { unchanged, ..backup_at_slot("daily", "2026-11-18T02:00:00Z") }
    };
    let notes = ["2026-11-19T02:00:05Z", "2026-11-20T02:00:05Z"];
    let told = |there| {
        let places = vec![Ok(vec![dump(&notes)]), Ok(there)];
        plan_lines(&policy, observed_database(&policy, places), &RunRequest::full_run(), NOW)
    };
    insta::assert_snapshot!(told(vec![dump(&notes[..1])]), @"note in copies[0] that orders_daily_20261118_020000.dump is still true: its database was still the same at 2026-11-20T02:00:05Z");
    insta::assert_snapshot!(told(vec![dump(&notes)]), @"");
}

#[test]
fn what_lies_beside_a_dump_and_does_not_count_is_said_and_changes_nothing() {
    let mut there = backup_at_slot("daily", "2026-11-20T02:00:00Z");
    there.ignored = vec!["x.unchanged-20991231T000000Z: it is not signed".into()];
    insta::assert_snapshot!(due_lines(vec![Ok(vec![there])], NOW), @"warning main/orders object-ignored: beside s3://acme-dumps/pg/orders_daily_20261120_020000.dump: x.unchanged-20991231T000000Z: it is not signed; find out who put it there; it does not count");
}

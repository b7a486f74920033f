use super::*;
use jiff::SignedDuration;
use storage::model::{committed_backup, foreign_backup};

const NOW: &str = "2026-11-20T12:00:00Z";

fn parse_timestamp(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn policy(group: &str) -> Policy {
    let yaml = format!(
        "{{holdfast: 1, company: acme, home: {{account: \"111122223333\", region: eu-west-1}}, limits: {{delete: {{share: \
         100%}}}}, postgres: {{main: {{databases: [orders], storage: {{bucket: acme-dumps}}, {group}}}}}}}"
    );
    Policy::parse(&yaml).unwrap_or_else(|e| panic!("{e}"))
}

/// Daily dumps of so many days up to today's.
fn daily_backups(count: i64) -> Vec<StoredBackup> {
    let day = |i| parse_timestamp("2026-11-20T02:00:00Z") - SignedDuration::from_hours(24 * i);
    (0..count)
        .rev()
        .map(|i| committed_backup(&day(i).strftime("%m%d").to_string(), "orders", "daily", day(i)))
        .collect()
}

fn database_dumps(
    policy: &Policy,
    places: Vec<Result<Vec<StoredBackup>, OperationError>>,
) -> DatabaseDumps<'_> {
    let (group, rules) = policy.postgres.first_key_value().expect("a group");
    let names = ["s3://acme-dumps/", "s3://acme-vault/"].into_iter().map(str::to_owned);
    DatabaseDumps {
        group,
        rules,
        database: "orders".into(),
        whole_group: true,
        places: names.zip(places).collect(),
    }
}

fn deleted_dumps(
    policy: &Policy,
    places: Vec<Result<Vec<StoredBackup>, OperationError>>,
) -> String {
    let letting = plan_dumps(policy, &[database_dumps(policy, places)], parse_timestamp(NOW));
    let steps =
        letting.plan.steps.iter().map(|s| format!("{}: {}", s.action.point.point().id, s.reason));
    let findings = letting.plan.findings.iter().map(ToString::to_string);
    let counts = [format!("{} stay", letting.retained)];
    steps.chain(findings).chain(counts).collect::<Vec<_>>().join("\n")
}

const FOR_7_DAYS: &str = "dumps: {daily: {keep: {for: 7d}}}";

#[test]
fn what_the_rule_keeps_stays_and_the_rest_goes_oldest_first() {
    insta::assert_snapshot!(deleted_dumps(&policy(FOR_7_DAYS), vec![Ok(daily_backups(10))]), @r#"
    1111: no line of the rule for "daily" keeps it
    1112: no line of the rule for "daily" keeps it
    1113: no line of the rule for "daily" keeps it
    7 stay
    "#);
}

#[test]
fn what_has_no_commit_record_of_this_owner_is_never_let_go() {
    let mut all = daily_backups(10);
    all[0] = foreign_backup("1111", parse_timestamp("2026-11-11T02:00:00Z"));
    all[1].kind = storage::catalogue::BackupKind::Faulty {
        parsed_key: None,
        manifest: None,
        kind: storage::StoreErrorKind::Damaged,
        why: "cut".into(),
        hint: String::new(),
    };
    all[2] = all[2].clone().with_manifest(|m| m.owner = "another@host-1".into());
    insta::assert_snapshot!(deleted_dumps(&policy(FOR_7_DAYS), vec![Ok(all)]), @"8 stay");
}

#[test]
fn holds_locks_the_floor_and_failing_backups_keep_what_the_rule_lets_go() {
    let base = policy(FOR_7_DAYS);
    let mut held = daily_backups(10);
    held[0].hold = Some("audit".into());
    held[1] = held[1]
        .clone()
        .with_manifest(|m| m.locked_until = Some(parse_timestamp("2026-12-24T00:00:00Z")));
    insta::assert_snapshot!(deleted_dumps(&base, vec![Ok(held)]), @r#"
    1113: no line of the rule for "daily" keeps it
    9 stay
    "#);
    let by_policy = policy(&format!("legal_holds: [\"1112\"], {FOR_7_DAYS}"));
    insta::assert_snapshot!(deleted_dumps(&by_policy, vec![Ok(daily_backups(9))]), @r#"
    1113: no line of the rule for "daily" keeps it
    8 stay
    "#);
    // All are older than the rule, but two stay.
    let floor = policy(&format!("min_backups: 2, {FOR_7_DAYS}"));
    let old = || daily_backups(12).into_iter().take(4).collect::<Vec<_>>();
    insta::assert_snapshot!(deleted_dumps(&floor, vec![Ok(old())]), @r#"
    1109: no line of the rule for "daily" keeps it
    1110: no line of the rule for "daily" keeps it
    2 stay
    "#);
    // The newest is too old for the objective: dumps are failing.
    let failing = policy(&format!("objectives: {{max_age: 25h}}, {FOR_7_DAYS}"));
    insta::assert_snapshot!(deleted_dumps(&failing, vec![Ok(old())]), @"4 stay");
}

#[test]
fn a_hold_that_holds_no_dump_is_said_where_everything_was_seen() {
    let two = policy(&format!(
        "copies: [{{bucket: acme-vault}}], legal_holds: [\"1119\", \"S3://acme-dumps/pg/1120\", \"119\"], {FOR_7_DAYS}"
    ));
    insta::assert_snapshot!(deleted_dumps(&two, vec![Ok(daily_backups(2)), Ok(daily_backups(2))]), @r#"
    warning 119 hold-unmatched: "119" in holds is no dump at any place, so it holds nothing; write the dump's key or full name as `holdfast list` shows it, or take it out
    4 stay
    "#);
    let unseen = Err(OperationError::from_message("list s3://acme-vault/", "timeout"));
    assert!(!deleted_dumps(&two, vec![Ok(daily_backups(2)), unseen]).contains("hold-unmatched"));
    // A database that was not asked for may have it.
    let wide = policy(&format!("legal_holds: [none], {FOR_7_DAYS}"));
    let narrow =
        DatabaseDumps { whole_group: false, ..database_dumps(&wide, vec![Ok(daily_backups(2))]) };
    assert_eq!(plan_dumps(&wide, &[narrow], parse_timestamp(NOW)).plan.findings, []);
}

#[test]
fn a_narrowed_dump_takes_no_place_of_a_whole_one() {
    let narrowed =
        |b: StoredBackup| b.with_manifest(|m| m.selection = vec!["public.orders".into()]);
    let floor = policy(&format!("min_backups: 2, {FOR_7_DAYS}"));
    // Four, all older than the rule: the two newest are of some tables alone.
    let mut old: Vec<_> = daily_backups(12).into_iter().take(4).collect();
    for newest in &mut old[2..] {
        *newest = narrowed(newest.clone());
    }
    insta::assert_snapshot!(deleted_dumps(&floor, vec![Ok(old.clone())]), @r#"
    1111: no line of the rule for "daily" keeps it
    1112: no line of the rule for "daily" keeps it
    2 stay
    "#);
    // Nor are they a sign that dumps of the whole database are being made.
    let failing = policy(&format!("objectives: {{max_age: 25h}}, {FOR_7_DAYS}"));
    let mut all = daily_backups(10);
    for young in &mut all[5..] {
        *young = narrowed(young.clone());
    }
    insta::assert_snapshot!(deleted_dumps(&failing, vec![Ok(all)]), @"10 stay");
    // Where nothing else is taken, the floor is theirs.
    let some = "min_backups: 2, dumps: {daily: {keep: {for: 7d}, tables: [public.orders]}}";
    let old = daily_backups(12).into_iter().take(4).map(narrowed).collect();
    insta::assert_snapshot!(deleted_dumps(&policy(some), vec![Ok(old)]), @r#"
    1109: no line of the rule for "daily" keeps it
    1110: no line of the rule for "daily" keeps it
    2 stay
    "#);
}

#[test]
fn the_last_dump_of_a_server_that_was_replaced_stays() {
    let mut all = daily_backups(10);
    for old in &mut all[..3] {
        *old = old.clone().with_manifest(|m| m.server.system_identifier = Some("6000".into()));
    }
    insta::assert_snapshot!(deleted_dumps(&policy(FOR_7_DAYS), vec![Ok(all)]), @r#"
    1111: no line of the rule for "daily" keeps it
    1112: no line of the rule for "daily" keeps it
    8 stay
    "#);
}

#[test]
fn nothing_goes_before_its_copy_is_where_it_is_wanted() {
    let two =
        policy(&format!("copies: [{{bucket: acme-vault, keep: {{for: 30d}}}}], {FOR_7_DAYS}"));
    insta::assert_snapshot!(deleted_dumps(&two, vec![Ok(daily_backups(9)), Ok(vec![])]), @"9 stay");
    let copied: Vec<_> = daily_backups(9).into_iter().take(1).collect();
    insta::assert_snapshot!(deleted_dumps(&two, vec![Ok(daily_backups(9)), Ok(copied)]), @r#"
    1112: no line of the rule for "daily" keeps it
    9 stay
    "#);
    let unseen = Err(OperationError::from_message("list s3://acme-vault/", "timeout"));
    insta::assert_snapshot!(deleted_dumps(&two, vec![Ok(daily_backups(9)), unseen]), @"
    critical main observation-failed: list s3://acme-vault/: timeout; this is not what Holdfast expects there: look at it; the next run tries again
    9 stay
    ");
}

#[test]
fn a_place_that_is_not_seen_loses_nothing_and_a_runaway_stops() {
    let base = policy(FOR_7_DAYS);
    let unseen = Err(OperationError::from_message("list s3://acme-dumps/", "timeout"));
    insta::assert_snapshot!(deleted_dumps(&base, vec![unseen]), @"
    critical main observation-failed: list s3://acme-dumps/: timeout; this is not what Holdfast expects there: look at it; the next run tries again
    0 stay
    ");
    let mut careful = policy(FOR_7_DAYS);
    careful.limits.delete.count = 2;
    insta::assert_snapshot!(deleted_dumps(&careful, vec![Ok(daily_backups(10))]), @"
    critical s3://acme-dumps/ delete-limit-exceeded: 3 of 10 good points would go at once, over the limit of 2 or 100%; nothing goes; see them by `holdfast plan retention`; if they are right, write limits: { delete: { count: 3, share: 30% } } in the policy, and take it back after one run
    10 stay
    ");
}

#[test]
fn a_store_that_this_role_was_not_given_is_said_once_and_fails_nothing() {
    let two = policy(&format!("copies: [{{bucket: acme-vault}}], {FOR_7_DAYS}"));
    let denied =
        OperationError::with_hint(OperationErrorKind::Denied, "list s3://acme-dumps/", "403", "");
    let DatabaseDumps { group, rules, places, .. } =
        database_dumps(&two, vec![Err(denied), Ok(daily_backups(9))]);
    let of = |database: &str| DatabaseDumps {
        group,
        rules,
        database: database.into(),
        whole_group: true,
        places: places.clone(),
    };
    let letting = plan_dumps(&two, &[of("orders"), of("carts")], parse_timestamp(NOW));
    let told = letting.plan.findings.iter().map(ToString::to_string).collect::<Vec<_>>();
    insta::assert_snapshot!(told.join("\n"), @"warning main store-access-denied: none of its dumps in s3://acme-dumps/ is let go here, for this role may not look there: list s3://acme-dumps/: 403; name the bucket in the stack's parameter DumpBuckets; or leave it as it is where a host dumps there: its `holdfast dump main` lets go too");
}

/// A history: for each dump its age in hours, reason, server, and what stands against deleting it.
fn history_strategy() -> impl proptest::strategy::Strategy<Value = Vec<(i64, u8, u8, u8)>> {
    proptest::collection::vec((-48_i64..4000, 0_u8..3, 0_u8..2, 0_u8..6), 0..40)
}

fn backups_of_history(history: &[(i64, u8, u8, u8)]) -> Vec<StoredBackup> {
    let one = |(i, (hours, reason, server, state)): (usize, &(i64, u8, u8, u8))| {
        let slot = parse_timestamp(NOW) - SignedDuration::from_hours(*hours);
        let reason = ["daily", "manual", "gone"][usize::from(*reason)];
        let mut b = committed_backup(&format!("{i:02}"), "orders", reason, slot)
            .with_manifest(|m| m.server.system_identifier = Some(format!("{server}000")));
        match state {
            0 => b = foreign_backup(&b.key, slot),
            1 => b.hold = Some("audit".into()),
            2 => {
                b = b.with_manifest(|m| {
                    m.locked_until = Some(parse_timestamp("2027-01-01T00:00:00Z"));
                });
            }
            3 => b = b.with_manifest(|m| m.owner = "another@host-1".into()),
            _ => {}
        }
        b
    };
    history.iter().enumerate().map(one).collect()
}

proptest::proptest! {
    #[test]
    fn no_history_loses_its_last_good_dumps_or_what_must_stay(
        history in history_strategy(), floor in 1_usize..4, newest in 1_u32..5, objective: bool,
    ) {
        let objective = if objective { "objectives: {max_age: 25h}, " } else { "" };
        let policy = policy(&format!(
            "{objective}min_backups: {floor}, dumps: {{daily: {{keep: {{newest: {newest}}}}}, manual: {{keep: {{for: 7d}}}}}}"
        ));
        let all = backups_of_history(&history);
        let letting = plan_dumps(&policy, &[database_dumps(&policy, vec![Ok(all.clone())])], parse_timestamp(NOW));
        let goes = |b: &StoredBackup| letting.plan.steps.iter().any(|s| s.action.point.point().id == b.key);
        let ours = |b: &&StoredBackup| b.committed_manifest().is_some_and(|m| m.owner == "acme@111122223333/eu-west-1");
        let good: Vec<_> = all.iter().filter(ours).collect();
        for b in &all {
            let must = !ours(&b) || b.hold.is_some() || b.committed_manifest().is_some_and(|m| m.locked_until.is_some());
            proptest::prop_assert!(!(must && goes(b)), "{} must stay", b.key);
        }
        let stays = good.iter().filter(|b| !goes(b)).count();
        proptest::prop_assert!(stays >= floor.min(good.len()));
        let last = good.iter().max_by_key(|b| b.data_time());
        proptest::prop_assert!(last.is_none_or(|b| !goes(b)), "the newest goes");
        // Done once, it is done: the next run finds nothing more.
        let rest: Vec<_> = all.iter().filter(|b| !goes(b)).cloned().collect();
        let again = plan_dumps(&policy, &[database_dumps(&policy, vec![Ok(rest)])], parse_timestamp(NOW));
        proptest::prop_assert!(again.plan.steps.is_empty(), "{:?}", again.plan.steps);
    }
}

#[test]
fn a_dump_that_was_still_true_later_stays_for_each_time_at_which_it_was() {
    let policy = policy("dumps: {daily: {keep: {daily: 2, monthly: 3}}}, min_backups: 1");
    let dump = |key: &str, taken: &str, unchanged: &[&str]| {
        let taken = parse_timestamp(taken);
        let unchanged = unchanged.iter().map(|t| parse_timestamp(t)).collect();
        StoredBackup { unchanged, ..committed_backup(key, "orders", "daily", taken) }
    };
    // It is September's last, and nothing else of September is there.
    let all = vec![
        dump("august", "2026-08-30T02:00:00Z", &[]),
        dump(
            "september",
            "2026-09-10T02:00:00Z",
            &["2026-09-30T02:00:00Z", "2026-10-05T02:00:00Z"],
        ),
        dump("october", "2026-10-31T02:00:00Z", &[]),
        dump("yesterday", "2026-11-19T02:00:00Z", &[]),
        dump("today", "2026-11-20T02:00:00Z", &[]),
    ];
    insta::assert_snapshot!(deleted_dumps(&policy, vec![Ok(all)]), @r#"
    august: no line of the rule for "daily" keeps it
    4 stay
    "#);
}

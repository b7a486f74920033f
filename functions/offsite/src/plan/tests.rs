use super::*;
use shared::model::{
    apply_copy, automated_snapshot, complete_in_flight, db_instance, home_inventory,
    owned_snapshot, parse_policy, parse_time,
};

const POLICY: &str = r#"
holdfast: 1
company: acme
home: { account: "111122223333", region: eu-west-1 }
destinations:
  dr: { region: us-east-1, kms_key: "arn:aws:kms:us-east-1:111122223333:key/dr", max_concurrent_copies: 3 }
  vault:
    account: "444455556666"
    region: us-east-1
    role: arn:aws:iam::444455556666:role/vault
    kms_key: arn:aws:kms:us-east-1:444455556666:key/vault
    reencrypt_kms_key: arn:aws:kms:eu-west-1:111122223333:key/transfer
databases:
  fleet:
    select: { include: ["acme-*"] }
    snapshots:
      daily: { schedule: { cron: "0 2 * * *" }, keep: { for: 35d } }
    copies:
      - { to: dr, of: [daily], keep: { newest: 2 }, max_age: 26h }
"#;

const NOW: &str = "2026-11-20T12:00:00Z";

fn format_plan(copies: &SnapshotCopyPlan) -> String {
    let SnapshotCopyPlan { plan, in_flight, waiting } = copies;
    let steps = plan.steps.iter().map(|s| {
        let SnapshotCopyAction::Copy { share, copy, .. } = &s.action;
        let key = copy.kms_key.as_deref().and_then(|k| k.rsplit('/').next()).unwrap_or("-");
        let share = share
            .as_ref()
            .map_or(String::new(), |(id, account)| format!(" sharing {id} with {account}"));
        format!("{} [key {key}{share}]: {}", s.action, s.reason)
    });
    let findings = plan.findings.iter().map(ToString::to_string);
    let tail = [format!("in flight {in_flight}, waiting {waiting}")];
    steps.chain(findings).chain(tail).collect::<Vec<_>>().join("\n")
}

fn daily_points(policy: &Policy, id: &str, days: &[&str]) -> (RdsDatabase, Vec<RecoveryPoint>) {
    let db = db_instance(id, parse_time(NOW));
    let points = days
        .iter()
        .map(|d| {
            owned_snapshot(policy, &db, "daily", parse_time(&format!("2026-11-{d}T02:00:00Z")))
        })
        .collect();
    (db, points)
}

fn start_copies(world: &mut Inventory, copies: &SnapshotCopyPlan) {
    for step in &copies.plan.steps {
        let SnapshotCopyAction::Copy { to, copy, .. } = &step.action;
        apply_copy(world, to, copy);
    }
}

#[test]
fn the_newest_of_every_database_goes_before_the_second_of_any_and_the_quota_holds() {
    let policy = parse_policy(POLICY);
    let (a, mut points) = daily_points(&policy, "acme-a", &["18", "19", "20"]);
    let (b, more) = daily_points(&policy, "acme-b", &["19", "20"]);
    points.extend(more);
    let mut world = home_inventory(&policy, vec![a, b], points);
    let first = plan(&policy, &world, &AwsManagedKeys::new(), parse_time(NOW));
    insta::assert_snapshot!(format_plan(&first), @"
    copy acme-a-daily-202611200200 to us-east-1 in 111122223333 as acme-a-daily-202611200200 [key dr]: dr wants it (newest 1 of 2); there is no copy yet
    copy acme-b-daily-202611200200 to us-east-1 in 111122223333 as acme-b-daily-202611200200 [key dr]: dr wants it (newest 1 of 2); there is no copy yet
    copy acme-a-daily-202611190200 to us-east-1 in 111122223333 as acme-a-daily-202611190200 [key dr]: dr wants it (newest 2 of 2); there is no copy yet
    in flight 0, waiting 1
    ");
    start_copies(&mut world, &first);
    let while_busy = plan(&policy, &world, &AwsManagedKeys::new(), parse_time(NOW));
    insta::assert_snapshot!(format_plan(&while_busy), @"in flight 3, waiting 1");
    complete_in_flight(&mut world, parse_time(NOW), |_| true);
    let then = plan(&policy, &world, &AwsManagedKeys::new(), parse_time(NOW));
    insta::assert_snapshot!(format_plan(&then), @"
    copy acme-b-daily-202611190200 to us-east-1 in 111122223333 as acme-b-daily-202611190200 [key dr]: dr wants it (newest 2 of 2); the newest copy's data is 10h old
    in flight 0, waiting 0
    ");
    start_copies(&mut world, &then);
    complete_in_flight(&mut world, parse_time(NOW), |_| true);
    insta::assert_snapshot!(format_plan(&plan(&policy, &world, &AwsManagedKeys::new(), parse_time(NOW))), @"in flight 0, waiting 0");
}

#[test]
fn a_failed_copy_is_made_again_under_another_name_until_a_person_has_to_look() {
    let policy = parse_policy(POLICY);
    let (a, points) = daily_points(&policy, "acme-a", &["20"]);
    let mut world = home_inventory(&policy, vec![a], points);
    let mut names = Vec::new();
    for _ in 0..MAX_COPY_ATTEMPTS {
        let copies = plan(&policy, &world, &AwsManagedKeys::new(), parse_time(NOW));
        let SnapshotCopyAction::Copy { copy, .. } = &copies.plan.steps[0].action;
        names.push(copy.id.clone());
        start_copies(&mut world, &copies);
        complete_in_flight(&mut world, parse_time(NOW), |_| false);
    }
    let last = plan(&policy, &world, &AwsManagedKeys::new(), parse_time(NOW));
    insta::assert_snapshot!(format!("{}\n{}", names.join("\n"), format_plan(&last)), @"
    acme-a-daily-202611200200
    acme-a-daily-202611200200-r2
    acme-a-daily-202611200200-r3
    acme-a-daily-202611200200-r4
    acme-a-daily-202611200200-r5
    critical acme-a keeps-failing: 5 tries to copy acme-a-daily-202611200200 to us-east-1 in 111122223333 failed; see the failed copies there: most often it is the key or its policy
    in flight 0, waiting 0
    ");
}

#[test]
fn a_copy_under_the_wrong_key_does_not_count() {
    let policy = parse_policy(POLICY);
    let (a, points) = daily_points(&policy, "acme-a", &["20"]);
    let mut world = home_inventory(&policy, vec![a], points);
    let first = plan(&policy, &world, &AwsManagedKeys::new(), parse_time(NOW));
    start_copies(&mut world, &first);
    complete_in_flight(&mut world, parse_time(NOW), |_| true);
    let there = world.locations.values_mut().flat_map(|f| &mut f.points);
    there
        .filter(|p| p.tags.copy_of.is_some())
        .for_each(|p| p.kms_key = Some("arn:aws:kms:us-east-1:1:key/aws-rds".into()));
    insta::assert_snapshot!(format_plan(&plan(&policy, &world, &AwsManagedKeys::new(), parse_time(NOW))), @"
    critical acme-a wrong-copy: the copy acme-a-daily-202611200200 at us-east-1 in 111122223333 does not count: it is under arn:aws:kms:us-east-1:1:key/aws-rds instead of arn:aws:kms:us-east-1:111122223333:key/dr; delete it when you know why; a new one is made after that
    in flight 0, waiting 0
    ");
}

#[test]
fn another_account_is_shared_with_and_only_a_key_or_an_automated_snapshot_forces_a_second_hop() {
    let yaml = POLICY.replace("to: dr, of: [daily]", "to: vault, of: [daily, automated]");
    let policy = parse_policy(&yaml);
    let (a, mut points) = daily_points(&policy, "acme-a", &["20"]);
    let (b, mut under_aws) = daily_points(&policy, "acme-b", &["20"]);
    under_aws[0].kms_key = Some("arn:aws:kms:eu-west-1:111122223333:key/aws-rds".into());
    points.append(&mut under_aws);
    let c = db_instance("acme-c", parse_time(NOW));
    points.push(automated_snapshot(&policy, &c, parse_time("2026-11-20T02:30:00Z")));
    let keys = AwsManagedKeys::from([
        ("arn:aws:kms:eu-west-1:111122223333:key/home".to_owned(), false),
        ("arn:aws:kms:eu-west-1:111122223333:key/aws-rds".to_owned(), true),
    ]);
    let mut world = home_inventory(&policy, vec![a, b, c], points);
    assert_eq!(keys_to_describe(&policy, &world), keys.keys().cloned().collect());
    let first = plan(&policy, &world, &keys, parse_time(NOW));
    insta::assert_snapshot!(format_plan(&first), @"
    copy acme-a-daily-202611200200 to us-east-1 in 444455556666 as acme-a-daily-202611200200-111122223333 [key vault sharing acme-a-daily-202611200200 with 444455556666]: vault wants it (newest 1 of 2); there is no copy yet
    copy acme-b-daily-202611200200 to eu-west-1 in 111122223333 as acme-b-daily-202611200200-transfer [key transfer]: RDS can't share it as it is
    copy rds:acme-c-202611200230 to eu-west-1 in 111122223333 as acme-c-automated-202611200230-transfer [key transfer]: RDS can't share it as it is
    in flight 0, waiting 0
    ");
    start_copies(&mut world, &first);
    complete_in_flight(&mut world, parse_time(NOW), |_| true);
    let second = plan(&policy, &world, &keys, parse_time(NOW));
    insta::assert_snapshot!(format_plan(&second), @"
    copy acme-b-daily-202611200200-transfer to us-east-1 in 444455556666 as acme-b-daily-202611200200-111122223333 [key vault sharing acme-b-daily-202611200200-transfer with 444455556666]: vault wants it (newest 1 of 2); there is no copy yet
    copy acme-c-automated-202611200230-transfer to us-east-1 in 444455556666 as acme-c-automated-202611200230-111122223333 [key vault sharing acme-c-automated-202611200230-transfer with 444455556666]: vault wants it (newest 1 of 2); there is no copy yet
    in flight 0, waiting 0
    ");
    start_copies(&mut world, &second);
    complete_in_flight(&mut world, parse_time(NOW), |_| true);
    insta::assert_snapshot!(format_plan(&plan(&policy, &world, &keys, parse_time(NOW))), @"in flight 0, waiting 0");
}

#[test]
fn what_can_not_leave_is_told_before_anything_is_tried() {
    let vault = POLICY.replace("to: dr, of: [daily]", "to: vault, of: [daily]");
    let no_hop =
        parse_policy(&vault.replace(
            "    reencrypt_kms_key: arn:aws:kms:eu-west-1:111122223333:key/transfer\n",
            "",
        ));
    let no_key = parse_policy(
        &POLICY.replace(", kms_key: \"arn:aws:kms:us-east-1:111122223333:key/dr\"", ""),
    );
    let (a, points) = daily_points(&no_hop, "acme-a", &["20"]);
    let world = home_inventory(&no_hop, vec![a.clone()], points.clone());
    let managed =
        AwsManagedKeys::from([("arn:aws:kms:eu-west-1:111122223333:key/home".to_owned(), true)]);
    insta::assert_snapshot!(format_plan(&plan(&no_hop, &world, &managed, parse_time(NOW))), @"
    critical acme-a kms-key-not-shareable: acme-a-daily-202611200200 is under AWS's own key, which no other account can use; write reencrypt_kms_key in the destination vault: a key of yours, shared with it
    in flight 0, waiting 0
    ");
    insta::assert_snapshot!(format_plan(&plan(&no_hop, &world, &AwsManagedKeys::new(), parse_time(NOW))), @"
    critical acme-a kms-key-not-readable: it is not known whether arn:aws:kms:eu-west-1:111122223333:key/home may be used by another account; allow kms:DescribeKey on that key
    in flight 0, waiting 0
    ");
    let world = home_inventory(&no_key, vec![a], points);
    insta::assert_snapshot!(format_plan(&plan(&no_key, &world, &AwsManagedKeys::new(), parse_time(NOW))), @"
    critical acme-a no-key: acme-a-daily-202611200200 is encrypted, and a copy at us-east-1 in 111122223333 needs a key there; write kms_key in the destination dr
    in flight 0, waiting 0
    ");
}

#[test]
fn an_option_group_goes_to_copies_of_its_own_engine_alone() {
    let yaml = POLICY
        .replace(
            "max_concurrent_copies: 3 }",
            "option_groups: { oracle-tz: oracle-tz-virginia, tde: tde-virginia } }",
        )
        .replace("of: [daily], keep: { newest: 2 }", "of: [daily], keep: { newest: 1 }");
    let policy = parse_policy(&yaml);
    // What the source is under, and what its copy is to be under: none is the destination's default for its engine.
    let table = [
        ("acme-erp", Some("oracle-tz"), Some("oracle-tz-virginia")),
        ("acme-crm", Some("tde"), Some("tde-virginia")),
        ("acme-orders", Some("default:postgres-16"), None),
        ("acme-catalogue", Some("mysql-memcached"), None),
        ("acme-none", None, None),
    ];
    let (mut databases, mut points) = (Vec::new(), Vec::new());
    for (id, group, _) in table {
        let (database, mut of) = daily_points(&policy, id, &["20"]);
        of[0].option_group = group.map(str::to_owned);
        databases.push(database);
        points.append(&mut of);
    }
    // A cluster has no option group, whatever the destination knows.
    let (mut cluster, mut of_cluster) = daily_points(&policy, "acme-ledger", &["20"]);
    (cluster.family, of_cluster[0].kind) = (DatabaseKind::Cluster, DatabaseKind::Cluster);
    databases.push(cluster);
    points.append(&mut of_cluster);
    let copies = plan(
        &policy,
        &home_inventory(&policy, databases, points),
        &AwsManagedKeys::new(),
        parse_time(NOW),
    );
    assert_eq!(copies.plan.findings, []);
    let given: BTreeMap<&str, Option<&str>> = (copies.plan.steps.iter())
        .map(|step| {
            let SnapshotCopyAction::Copy { copy, .. } = &step.action;
            let database = copy.id.split("-daily-").next().unwrap_or_default();
            (database, copy.option_group.as_deref())
        })
        .collect();
    let mut expected: BTreeMap<_, _> = table.iter().map(|(id, _, there)| (*id, *there)).collect();
    expected.insert("acme-ledger", None);
    assert_eq!(given, expected);
}

#[test]
fn a_copy_at_home_for_the_transfer_keeps_its_own_option_group_and_its_copy_gets_the_destinations() {
    let yaml = POLICY.replace("to: dr, of: [daily]", "to: vault, of: [daily]").replace(
        "    reencrypt_kms_key:",
        "    option_groups: { oracle-tz: oracle-tz-vault }\n    reencrypt_kms_key:",
    );
    let policy = parse_policy(&yaml);
    let (database, mut points) = daily_points(&policy, "acme-erp", &["20"]);
    points[0].option_group = Some("oracle-tz".into());
    let keys =
        AwsManagedKeys::from([("arn:aws:kms:eu-west-1:111122223333:key/home".to_owned(), true)]);
    let mut world = home_inventory(&policy, vec![database], points);
    let mut given = Vec::new();
    for _ in 0..2 {
        let copies = plan(&policy, &world, &keys, parse_time(NOW));
        let SnapshotCopyAction::Copy { copy, .. } = &copies.plan.steps[0].action;
        given.push(copy.option_group.clone());
        start_copies(&mut world, &copies);
        complete_in_flight(&mut world, parse_time(NOW), |_| true);
    }
    // In one region RDS keeps the source's by itself.
    assert_eq!(given, [None, Some("oracle-tz-vault".to_owned())]);
}

#[test]
fn a_snapshot_taken_anew_for_its_slot_hides_no_copy_of_the_first_one() {
    let policy = parse_policy(&POLICY.replace("newest: 2", "weekly: 2"));
    let (a, mut points) = daily_points(&policy, "acme-a", &["03", "10"]);
    let mut world = home_inventory(&policy, vec![a], points.clone());
    let first = plan(&policy, &world, &AwsManagedKeys::new(), parse_time(NOW));
    start_copies(&mut world, &first);
    complete_in_flight(&mut world, parse_time(NOW), |_| true);
    // The newer one is deleted by hand and taken again under its name, a week later; the copy of the first is still there,
    // and that of the oldest week is not: two newer weeks are.
    let oldest = points[0].arn.clone();
    points[1].data_time = Some(parse_time("2026-11-19T20:00:00Z"));
    let home = Location::home_from_policy(&policy);
    world.locations.get_mut(&home).expect("home").points = points;
    for fleet in world.locations.values_mut() {
        fleet.points.retain(|p| p.tags.copy_of.as_ref() != Some(&oldest));
    }
    let copies = plan(&policy, &world, &AwsManagedKeys::new(), parse_time(NOW));
    let sources: Vec<_> = copies.plan.steps.iter().map(|s| s.action.to_string()).collect();
    assert_eq!(sources.len(), 1, "only the newest week is copied: {sources:?}");
    assert!(sources[0].contains("202611100200"), "{sources:?}");
}

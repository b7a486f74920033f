mod mistakes;

use super::{Policy, json_schema};

const SMALL_POLICY: &str = r#"
holdfast: 1
company: acme
home: { account: "111122223333", region: eu-west-1 }
owners: { ops: { email: ops@example.com } }
destinations:
  london: { region: eu-west-2, bucket: acme-replica }
databases:
  fleet:
    select: { include: ["acme-*"] }
    owner: ops
    objectives: { max_age: 25h }
    snapshots:
      daily: { schedule: { cron: "0 2 * * *" }, keep: { for: 35d } }
    copies:
      - { to: london, of: [daily], keep: { newest: 3 } }
alarms:
  acme-backup-failed: { metric: failing-assets, of: fleet, above: "0" }
"#;

fn errors_of(yaml: &str) -> String {
    Policy::parse(yaml).map(|_| ()).expect_err("faults").to_string()
}

#[test]
fn a_small_policy_parses_with_its_defaults() {
    let policy = Policy::parse(SMALL_POLICY).expect("a policy");
    let fleet = policy.databases.values().next().expect("a group");
    assert_eq!(fleet.min_backups.get(), 1);
    assert_eq!(policy.time_zone.as_str(), "UTC");
    assert_eq!(policy.limits.delete.count, 500);
}

#[test]
fn every_fault_of_the_structure_is_told_at_once_with_its_place_and_its_hint() {
    let bad = SMALL_POLICY
        .replace("snapshots:", "snapshot:")
        .replace("max_age: 25h", "max_age: 25")
        .replace("eu-west-2", "EU")
        .replace("metric: failing-assets", "metric: failing-asset")
        .replace("\"111122223333\"", "11112222333")
        .replace("owner: ops", "owner:");
    insta::assert_snapshot!(errors_of(&bad), @r#"
    4:9: home.account: 11112222333 is a number and an account id is text: write "11112222333" in quotes
    7:13: destinations.london.region: "EU" is not an AWS region: write one such as "eu-west-1"
    11:5: databases.fleet.owner: nothing is written here: write text, or leave the key out
    12:19: databases.fleet.objectives.max_age: 25 has no unit: write "25d" for days or "25h" for hours
    13:5: databases.fleet.snapshot: unknown key "snapshot"; did you mean "snapshots"?
    18:25: alarms.acme-backup-failed.metric: "failing-asset" is not one of: failing-assets, backup-age, offsite-copy-age, settings-drift, unprotected-databases, restorable-lag, replication-lag, replication-missing, replica-lag, deletes-blocked, success-rate, size-deviation, dump-duration, restore-duration, restore-test-passed, verification-passed, storage-cost, quota-used, deliveries-failed, proof-age; did you mean "failing-assets"?
    "#);
}

#[test]
fn every_fault_of_the_meaning_is_told_at_once_with_its_place_and_its_hint() {
    let bad = SMALL_POLICY
        .replace("to: london", "to: lodnon")
        .replace("of: [daily]", "of: [dayly]")
        .replace("{ for: 35d }", "{}")
        .replace("owner: ops", "owner: opss")
        .replace("above: \"0\"", "above: \"1h\"")
        .replace("acme-backup-failed", "backup-failed");
    insta::assert_snapshot!(errors_of(&bad), @r#"
    11:5: databases.fleet.owner: "opss" is not in owners; did you mean "ops"?
    14:49: databases.fleet.snapshots.daily.keep: an empty rule does not mean "keep nothing": write what is kept, such as "for: 35d"
    16:11: databases.fleet.copies[0].to: "lodnon" is not in destinations; did you mean "london"?
    16:28: databases.fleet.copies[0].of[0]: "dayly" is not in snapshots; did you mean "daily"?
    18:3: alarms.backup-failed: an alarm's name begins with "acme-backup-" and has 255 characters at most, on one line
    18:55: alarms.backup-failed.above: "1h" does not fit what is watched: write a number in quotes such as "0"
    "#);
}

#[test]
fn what_is_not_yaml_or_not_one_document_says_where() {
    insta::assert_snapshot!(errors_of("holdfast: [1"), @"2:1: this is not YAML: while parsing a flow sequence, expected ',' or ']'");
    insta::assert_snapshot!(errors_of(""), @"1:1: a policy is one YAML document, and this file has 0");
    insta::assert_snapshot!(errors_of("holdfast: 1\n---\nholdfast: 1"), @"1:1: a policy is one YAML document, and this file has 2");
    insta::assert_snapshot!(errors_of("a: &x 1\na: 2"), @"2:1: this is not YAML: duplicated key in mapping");
    insta::assert_snapshot!(errors_of(&"[".repeat(100)), @"1:33: this is nested too deeply for a policy");
}

#[test]
fn zero_and_empty_never_mean_everything() {
    for keep in ["{ for: 0d }", "{ newest: 0 }", "{ daily: 0 }", "{}", "{ for: \"\" }"] {
        errors_of(&SMALL_POLICY.replace("{ for: 35d }", keep));
    }
    for select in ["{}", "{ include: [\"*\"] }", "{ include: [] }"] {
        errors_of(&SMALL_POLICY.replace("{ include: [\"acme-*\"] }", select));
    }
}

#[test]
fn one_place_for_snapshot_copies_is_one_destination() {
    let two = |second: &str| {
        SMALL_POLICY
            .replace("  london: { region: eu-west-2, bucket: acme-replica }", &format!("  london: {{ region: eu-west-2 }}\n  again: {{ {second} }}"))
            .replace("of: [daily], keep: { newest: 3 } }", "of: [daily], keep: { newest: 3 } }\n      - { to: again, of: [daily], keep: { monthly: 12 } }")
    };
    Policy::parse(&two("region: eu-west-2")).expect("the same");
    Policy::parse(&two("region: eu-west-3, kms_key: \"arn:aws:kms:eu-west-3:111122223333:key/a\""))
        .expect("another place");
    insta::assert_snapshot!(errors_of(&two("region: eu-west-2, kms_key: \"arn:aws:kms:eu-west-2:111122223333:key/a\"")), @r#"7:3: destinations.london: "again" is the same region of the same account with other settings: let the copy rules name one of the two"#);
}

#[test]
fn the_shipped_schema_is_the_generated_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/schema.json");
    let generated = serde_json::to_string_pretty(&json_schema()).expect("json") + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(path, &generated).expect("write the schema");
    }
    let shipped = std::fs::read_to_string(path).expect("policies/schema.json");
    assert!(shipped == generated, "run UPDATE_SCHEMA=1 cargo test -p shared the_shipped_schema");
}

#[test]
fn the_five_shipped_policies_are_policies() {
    let folder = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../policies"));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).expect("policies") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|e| e == "yaml") {
            let text = std::fs::read_to_string(&path).expect("a policy");
            let policy = Policy::parse(&text)
                .unwrap_or_else(|faults| panic!("{}:\n{faults}", path.display()));
            assert!(
                !policy.unimplemented_parts().is_empty(),
                "{} says what is not run yet",
                policy.company
            );
            names.push(policy.company.to_string());
        }
    }
    names.sort();
    assert_eq!(
        names,
        ["boom-card", "indostar-naturals", "listings", "lomash-wood", "pasargad-prints"]
    );
}

#[test]
fn two_buckets_never_write_the_same_keys_and_a_secret_has_one_place() {
    let two = SMALL_POLICY.replace(
        "alarms:",
        "buckets:\n  a: { bucket: acme-a, copies: [{ to: london, prefixes: [x/] }] }\n  b: { bucket: acme-b, copies: [{ to: london }] }\n\
         redis:\n  r: { password: { env: A, file: b }, storage: { bucket: acme-r }, keep: { for: 7d } }\nalarms:",
    );
    insta::assert_snapshot!(errors_of(&two), @r#"
    19:33: buckets.b.copies[0]: buckets.a.copies[0] writes keys beginning with "x/" into acme-replica too: give the two different prefixes, or another bucket
    21:8: redis.r.password: a secret comes from one place: write exactly one of secret, env, file
    "#);
}

#[test]
fn costs_and_the_page_are_told_what_does_not_fit() {
    let of = |yaml: &str| errors_of(&format!("{SMALL_POLICY}{yaml}"));
    let costs = of("costs: { quota: 1TB, warn_at: 95%, critical_at: 90% }\n");
    assert!(costs.contains("costs.warn_at: the warning comes before it is critical"), "{costs}");
    let costs = of("costs: { warn_at: 80% }\n");
    assert!(costs.contains("shares of a quota: write quota"), "{costs}");
    let costs = of("costs: { prices: { as_of: yesterday, storage: { STANDART: 1 } } }\n");
    assert!(
        costs.contains("is not a day") && costs.contains("did you mean \"STANDARD\"?"),
        "{costs}"
    );
    let page = of("status_page: { key: ../index.html }\n");
    assert!(page.contains("write exactly one of bucket, directory"), "{page}");
    assert!(page.contains("is no name for the page"), "{page}");
    let good =
        "costs: { prices: { storage: { STANDARD: 0.03 } } }\nstatus_page: { directory: /srv }\n";
    let policy = Policy::parse(&format!("{SMALL_POLICY}{good}")).expect("a policy");
    assert_eq!(policy.status_page.expect("a page").key, "index.html");
}

#[test]
fn storage_classes_are_those_that_s3_accepts() {
    let of = |tiers: &str| {
        let yaml = format!("{SMALL_POLICY}buckets:\n  b: {{ bucket: acme-b, tiers: [{tiers}] }}\n");
        Policy::parse(&yaml).map(|_| ()).map_err(|e| e.to_string())
    };
    for good in [
        "{class: STANDARD_IA}, {after: 30d, class: GLACIER}, {after: 90d, class: DEEP_ARCHIVE}",
        "{class: STANDARD}, {after: 31d, class: GLACIER}, {after: 91d, class: DEEP_ARCHIVE}",
        "{after: 30d, class: STANDARD_IA}, {after: 60d, class: GLACIER}",
        "{after: 1d, class: GLACIER_IR}, {after: 2d, class: DEEP_ARCHIVE}",
    ] {
        assert_eq!(of(good), Ok(()), "{good}");
    }
    for (bad, said) in [
        ("{class: STANDARD}, {after: 8d, class: STANDARD_IA}", "before 30 days: write 30d or more"),
        ("{after: 30d, class: STANDARD_IA}, {after: 31d, class: GLACIER}", "write 60d or more"),
        ("{class: STANDARD_IA}, {after: 8d, class: GLACIER}", "write 30d or more"),
        (
            "{after: 30d, class: GLACIER}, {after: 60d, class: STANDARD_IA}",
            "from GLACIER to STANDARD_IA",
        ),
        (
            "{after: 30d, class: GLACIER}, {after: 30d, class: DEEP_ARCHIVE}",
            "two classes from one age",
        ),
        ("{after: 36h, class: GLACIER}", "S3 counts whole days"),
    ] {
        let faults = of(bad).expect_err(bad);
        assert!(faults.contains(said), "{bad}: {faults}");
    }
}

#[test]
fn copies_stay_in_the_regions_that_their_group_allows() {
    let of = |group: &str| {
        let yaml =
            SMALL_POLICY.replace("    owner: ops\n", &format!("    owner: ops\n    {group}\n"));
        Policy::parse(&yaml).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(of("regions: [eu-west-1, eu-west-2]"), Ok(()));
    let faults = of("regions: [eu-west-1, eu-central-1]").expect_err("london is not allowed");
    let said = "databases.fleet.copies[0].to: london is in eu-west-2, and this group allows eu-west-1, eu-central-1";
    assert!(faults.contains(said), "{faults}");
    let stored = "postgres:\n  p: { databases: [x], regions: [eu-west-1], storage: { bucket: acme-p }, copies: [\
                  { bucket: acme-q, region: us-east-1 }, { bucket: far, endpoint: \"https://s3.example.com\" }] }\n";
    let faults = faults_of(stored);
    assert!(faults.contains("postgres.p.copies[0]: acme-q is in us-east-1"), "{faults}");
    assert_eq!(faults.lines().count(), 1, "{faults}");
    let bucket = "buckets:\n  b: { bucket: acme-b, regions: [eu-west-1], replication: { to: london, max_lag: 1h } }\n";
    assert!(faults_of(bucket).contains("buckets.b.replication.to: london is in eu-west-2"));
}

fn faults_of(more: &str) -> String {
    errors_of(&format!("{SMALL_POLICY}{more}"))
}

#[test]
fn what_is_not_backed_up_is_named_with_a_reason_and_is_no_group() {
    let good = "not_backed_up:\n  source-code: in Git, mirrored to a second host every night\n";
    let policy = Policy::parse(&format!("{SMALL_POLICY}{good}")).expect("a policy");
    assert_eq!(policy.not_backed_up.len(), 1);
    assert!(
        faults_of("not_backed_up:\n  source-code: git\n").contains("write why it is not backed up")
    );
    let faults = faults_of("not_backed_up:\n  fleet: it is too large to be backed up\n");
    assert!(faults.contains("\"fleet\" is a group in databases"), "{faults}");
}

#[test]
fn access_is_given_to_principals_of_an_account_and_to_no_everybody() {
    let of = |list: &str| {
        let yaml = format!("{SMALL_POLICY}access: {{ tls_only: true, may_delete: [{list}] }}\n");
        Policy::parse(&yaml).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(of("\"arn:aws:iam::111122223333:role/backup-*\""), Ok(()));
    for bad in ["\"*\"", "arn:aws:iam::*:role/x", "\"arn:aws:iam::111122223333:\"", "backup-admin"]
    {
        let faults = of(bad).expect_err(bad);
        assert!(faults.contains("is not the ARN of a principal of one account"), "{bad}: {faults}");
    }
}

#[test]
fn the_roles_of_a_vault_go_together() {
    let of = |more: &str| {
        let vault = format!(
            "vault: {{ region: us-east-1, account: \"444455556666\", kms_key: \"arn:aws:kms:us-east-1:444455556666:key/v\"{more} }}"
        );
        SMALL_POLICY.replace("destinations:\n", &format!("destinations:\n  {vault}\n"))
    };
    let role = "role: \"arn:aws:iam::444455556666:role/pull\"";
    let read = "read_role: \"arn:aws:iam::444455556666:role/read\"";
    let policy =
        Policy::parse(&of(&format!(", {role}, {read}, external_id: acme-1"))).expect("a policy");
    let place =
        crate::catalog::Location::for_destination(&policy, &"vault".parse().expect("a name"))
            .expect("a place");
    let roles = place.role.expect("roles");
    assert_eq!(
        (roles.read.as_str(), roles.delete, roles.external_id.as_deref()),
        ("arn:aws:iam::444455556666:role/read", None, Some("acme-1"))
    );
    let faults = errors_of(&of(&format!(", {read}")));
    assert!(faults.contains("read_role goes with role"), "{faults}");
    assert!(
        self::errors_of(&of(&format!(", {role}, external_id: \"a b\"")))
            .contains("an external id has")
    );
}

#[test]
fn an_alarm_is_of_the_policys_own_names_so_that_no_role_reaches_the_stacks() {
    let other = SMALL_POLICY.replace("acme-backup-failed", "acme-holdfast-snapshot-silent");
    assert!(errors_of(&other).contains("an alarm's name begins with \"acme-backup-\""));
}

mod shipped;

#[test]
fn a_policy_has_a_bound_of_size_of_depth_and_of_number() {
    let shown = |yaml: &str| {
        let faults = Policy::parse(yaml).map(|_| ()).expect_err("faults");
        assert!(faults.0.len() <= 201, "{}", faults.0.len());
        let text = faults.to_string();
        assert!(text.len() < 600_000, "{}", text.len());
        text
    };
    let large = format!("{SMALL_POLICY}# {}\n", "x".repeat(1 << 20));
    insta::assert_snapshot!(shown(&large), @"1:1: it is larger than 1 MiB, the most that is read of it: no policy is so large");
    // In a stack of its own, as small as a thread's: depth must not be told by an overflow.
    let deep = std::thread::Builder::new().stack_size(512 << 10).spawn(move || {
        [
            shown(&"- ".repeat(5000)),
            shown(&"[".repeat(5000)),
            shown(&"a: {".repeat(5000)),
            shown(&format!("databases: {}{}", "{a: ".repeat(40), "}".repeat(40))),
        ]
        .join("\n")
    });
    insta::assert_snapshot!(deep.expect("a thread").join().expect("no overflow"), @"
    1:65: this is nested too deeply for a policy
    1:256: this is not YAML: recursion limit exceeded
    1:128: this is nested too deeply for a policy
    1:136: this is nested too deeply for a policy
    ");
    let keys = |many: usize| (0..many).map(|n| format!("k{n}: 1\n")).collect::<Vec<_>>().concat();
    let many = keys(200_000);
    let many = shown(&many[..1 << 20]);
    insta::assert_snapshot!(many, @"24999:9: this file has more keys and values than any policy");
    // Below that bound, each unknown key is a fault, and the first of them are told.
    let told = shown(&format!("{SMALL_POLICY}{}", keys(10_000)));
    assert!(told.ends_with("and 9800 more faults; fix these first"), "{told}");
}

#[test]
fn an_alias_is_refused_and_a_long_value_is_not_repeated_whole() {
    let aliased = SMALL_POLICY
        .replace("owner: ops", "owner: &who ops")
        .replace("max_age: 25h", "max_age: *who");
    insta::assert_snapshot!(errors_of(&aliased), @"12:28: an alias (*name) can't be used in a policy: write the value out where it is meant");
    // Nine names for nine lists of nine lists: 387 million values, were they written out.
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..9 {
        let before = format!("*a{}, ", n - 1).repeat(9);
        laughs += &format!("a{n}: &a{n} [{before}]\n");
    }
    insta::assert_snapshot!(errors_of(&laughs), @"2:10: an alias (*name) can't be used in a policy: write the value out where it is meant");
    let long = SMALL_POLICY.replace("max_age: 25h", &format!("max_age: {}", "x".repeat(100_000)));
    let told = errors_of(&long);
    assert!(told.len() < 3000 && told.ends_with("..."), "{told}");
    let key = SMALL_POLICY.replace("max_age: 25h", &format!("{}: 1", "x".repeat(100_000)));
    assert!(errors_of(&key).len() < 3000);
}

//! What people write when they write a policy for the first time: each mistake is one fault (or one warning, where it is
//! legal) with its place and what to write instead.

use super::Policy;

const HEAD: &str = "holdfast: 1\ncompany: acme\n";
const HOME: &str = "home: { account: \"111122223333\", region: eu-west-1 }\n";

fn with_header(rest: &str) -> String {
    format!("{HEAD}{HOME}{rest}")
}

/// A group of `databases` with these keys.
fn database_group(rest: &str) -> String {
    with_header(&format!(
        "destinations: {{ dr: {{ region: eu-west-2 }} }}\ndatabases: {{ fleet: {{ {rest} }} }}\n"
    ))
}

/// A group of `postgres` with these keys.
fn postgres_group(rest: &str) -> String {
    with_header(&format!("postgres: {{ crm: {{ databases: [crm], {rest} }} }}\n"))
}

/// A group of `postgres` whose dumps lie here.
fn postgres_store(store: &str) -> String {
    postgres_group(&format!("storage: {{ {store} }}"))
}

/// A channel of `notify`.
fn notify_channel(channel: &str) -> String {
    with_header(&format!(
        "notify: {{ ses: {{ from: a@b.example }}, channels: {{ ops: {{ {channel} }} }}, routes: [{{ severity: warning, to: [ops] }}] }}\n"
    ))
}

const DAILY: &str = "daily: { schedule: { cron: \"0 2 * * *\" }, keep: { for: 7d } }";
const KEY: &str = "arn:aws:kms:eu-west-2:111122223333:key/1";

fn mistake_table() -> Vec<(String, &'static str, &'static str)> {
    let ids = "select: { identifiers: [a] }";
    let snapshot = |s: &str| database_group(&format!("{ids}, snapshots: {{ {s} }}"));
    let keep = |keep: &str| snapshot(&format!("daily: {{ keep: {keep} }}"));
    let destination = |d: &str| with_header(&format!("destinations: {{ dr: {{ {d} }} }}\n"));
    let alarm = |a: &str| {
        with_header(&format!("alarms: {{ acme-backup-x: {{ metric: backup-age, {a} }} }}\n"))
    };
    let when =
        |cron: &str| snapshot(&format!("daily: {{ schedule: {cron}, keep: {{ for: 7d }} }}"));
    vec![
        // The head of the file.
        ("holdfast: 99\ncompany: acme\nid: host-1\n".into(), "1:1: holdfast", "1 is the most"),
        (
            "holdfast: \"1\"\ncompany: acme\nid: host-1\n".into(),
            "holdfast",
            "write it without quotes",
        ),
        (format!("{HEAD}{HOME}homee: {{}}\n"), "homee", "did you mean \"home\"?"),
        (format!("holdfast: 1\ncompany: Acme Ltd\n{HOME}"), "company", "such as \"acme-ltd\""),
        (HEAD.into(), "id", "write id, such as the host's name"),
        (
            format!("{HEAD}home: {{ account: 111122223333, region: eu-west-1 }}\n"),
            "home.account",
            "\"111122223333\" in quotes",
        ),
        (
            format!("{HEAD}home: {{ account: \"1111-2222-3333\", region: eu-west-1 }}\n"),
            "home.account",
            "such as \"111122223333\"",
        ),
        (
            format!("{HEAD}home: {{ account: \"111122223333\", region: eu-centrl-1 }}\n"),
            "home.region",
            "\"eu-central-1\"",
        ),
        (
            format!("{HEAD}home: {{ account: \"111122223333\", region: eu-west-1a }}\n"),
            "home.region",
            "\"eu-west-1\"",
        ),
        (with_header("time_zone: London\n"), "time_zone", "\"Europe/London\""),
        (
            with_header("owners: { ops: { email: ops.example.com } }\n"),
            "owners.ops.email",
            "it has no @",
        ),
        // Databases.
        (
            database_group("select: { identifiers: [Orders] }"),
            "select.identifiers[0]",
            "write \"orders\"",
        ),
        (
            database_group("select: { identifiers: [t--a] }"),
            "select.identifiers[0]",
            "can't be an identifier",
        ),
        (
            database_group("select: { identifiers: [orders-*] }"),
            "select.identifiers[0]",
            "write it under include",
        ),
        (
            database_group("select: { identifiers: orders }"),
            "select.identifiers",
            "write [\"orders\"]",
        ),
        (
            database_group("select: { include: [\"Orders-*\"] }"),
            "select.include[0]",
            "write \"orders-*\"",
        ),
        (
            database_group("select: { include: [\"*\"] }"),
            "select.include[0]",
            "would select everything",
        ),
        (
            database_group("select: { identifiers: [a], exclude: [a] }"),
            "select.exclude[0]",
            "except always wins",
        ),
        (
            database_group(&format!(
                "{ids}, legal_holds: [\"arn:aws:rds:eu-west-1:1:snapshot:keep-me\"]"
            )),
            "legal_holds[0]",
            "alone, \"keep-me\"",
        ),
        (
            database_group(&format!("{ids}, legal_holds: [Keep-Me]")),
            "legal_holds[0]",
            "write \"keep-me\"",
        ),
        (
            database_group(&format!("{ids}, max_age: 25h")),
            "fleet.max_age",
            "write it inside \"objectives\"",
        ),
        (
            database_group(&format!("{ids}, objectives: {{ max_age: 25 }}")),
            "max_age",
            "\"25d\" for days or \"25h\" for hours",
        ),
        (
            database_group(&format!("{ids}, objectives: {{ max_age: 25 hours }}")),
            "max_age",
            "such as \"25h\"",
        ),
        (
            database_group(&format!("{ids}, objectives: {{ max_age: 1d12h }}")),
            "max_age",
            "such as \"36h\"",
        ),
        (
            database_group(&format!("{ids}, automated_backups: {{ retention: 40d }}")),
            "retention",
            "1 to 35 whole days",
        ),
        (
            database_group(&format!("{ids}, automated_backups: {{ window: \"2am-3am\" }}")),
            "window",
            "\"02:00-03:00\"",
        ),
        (database_group(&format!("{ids}, priority: 12")), "priority", "9 is the most"),
        (
            database_group(&format!(
                "{ids}, copies: [{{ to: lodnon, of: [automated], keep: {{ newest: 1 }} }}]"
            )),
            "copies[0].to",
            "destinations has: dr",
        ),
        (
            database_group(&format!(
                "{ids}, snapshots: {{ {DAILY} }}, copies: [{{ to: dr, of: [dialy], keep: {{ newest: 1 }} }}]"
            )),
            "of[0]",
            "did you mean \"daily\"?",
        ),
        (
            snapshot("schedule: { keep: { for: 7d } }"),
            "snapshots.schedule",
            "choose another reason",
        ),
        (
            snapshot("daily: { cron: \"0 2 * * *\", keep: { for: 7d } }"),
            "daily.cron",
            "write it inside \"schedule\"",
        ),
        (snapshot("Daily: { keep: { for: 7d } }"), "fleet.snapshots", "such as \"daily\""),
        (when("\"0 2 * * *\""), "daily.schedule", "of: cron, time_zone"),
        (when("{ cron: \"@daily\" }"), "schedule.cron", "\"0 2 * * *\""),
        (when("{ cron: \"cron(0 3 * * ? *)\" }"), "schedule.cron", "\"0 3 * * *\""),
        (when("{ cron: \"0 0 31 2 *\" }"), "schedule.cron", "it never comes"),
        (keep("7d"), "daily.keep", "of: for, newest, hourly"),
        (keep("{ for: 35 days }"), "keep.for", "such as \"35d\""),
        (keep("{ daily: \"7\" }"), "keep.daily", "write it without quotes"),
        (keep("{}"), "daily.keep", "does not mean \"keep nothing\""),
        // Destinations.
        (
            destination("region: eu-west-2, max_concurrent_copies: 50"),
            "max_concurrent_copies",
            "20 is the most",
        ),
        (
            destination(&format!("region: us-east-1, kms_key: \"{KEY}\"")),
            "kms_key",
            "this is in eu-west-2: write one of us-east-1",
        ),
        (
            destination(&format!(
                "region: eu-west-2, account: \"444455556666\", role: \"arn:aws:iam::444455556666:role/r\", kms_key: \"{KEY}\""
            )),
            "kms_key",
            "one of account 444455556666",
        ),
        (
            destination(
                "region: eu-west-2, account: \"444455556666\", role: \"arn:aws:iam::111122223333:role/r\"",
            ),
            "role",
            "one of account 444455556666",
        ),
        (destination("region: eu-west-2, account: \"444455556666\""), "dr", "write role"),
        (
            destination("region: eu-west-2, option_group: tz"),
            "option_group",
            "did you mean \"option_groups\"?",
        ),
        (
            destination("region: eu-west-2, bucket: \"s3://Acme_Backups/x\""),
            "bucket",
            "such as \"acme-backups\"",
        ),
        // Stores.
        (
            postgres_store("bucket: acme-pg, region: fr-par"),
            "storage.region",
            "or the endpoint of the store",
        ),
        (
            postgres_store("bucket: acme-pg, endpoint: s3.fr-par.scw.cloud"),
            "endpoint",
            "\"https://s3.fr-par.scw.cloud\"",
        ),
        (
            postgres_store("bucket: acme-pg, endpoint: \"https://s3.fr-par.scw.cloud/acme-pg\""),
            "endpoint",
            "belongs in bucket",
        ),
        (
            postgres_store("bucket: acme-pg, endpoint: \"https://acme-pg.s3.fr-par.scw.cloud\""),
            "endpoint",
            "\"https://s3.fr-par.scw.cloud\"",
        ),
        (postgres_store("bucket: acme-pg, prefix: /pg/"), "prefix", "begins no key"),
        (postgres_store("directory: ~/backups"), "directory", "read by no shell"),
        (postgres_store("directory: $HOME/backups"), "directory", "read by no shell"),
        (postgres_store("directory: \"s3://acme-pg\""), "directory", "write bucket"),
        (
            postgres_store("bucket: acme-pg, directory: /b"),
            "storage",
            "exactly one of bucket, directory, azure",
        ),
        (
            postgres_store("azure: { account: Acme_Store, container: dumps }"),
            "azure.account",
            "no storage account",
        ),
        (
            postgres_store("azure: { account: acme, container: My_Dumps }"),
            "azure.container",
            "no container",
        ),
        (
            postgres_store("bucket: acme-pg, key: \"{datbase}/%Y.dump\""),
            "key",
            "did you mean {database}?",
        ),
        (postgres_store("bucket: acme-pg, bandwidth: 20 mb"), "bandwidth", "\"20MB\""),
        // PostgreSQL.
        (postgres_group("host: \"[::1]\", storage: { directory: /b }"), "host", "write \"::1\""),
        (
            postgres_group("host: \"db.example.com:5433\", storage: { directory: /b }"),
            "host",
            "port: 5433",
        ),
        (
            postgres_group("host: \"postgres://db.example.com/crm\", storage: { directory: /b }"),
            "host",
            "\"db.example.com\"",
        ),
        (postgres_group("port: 0, storage: { directory: /b }"), "port", "0 is no port"),
        (
            postgres_group("tls: on, storage: { directory: /b }"),
            "tls",
            "disable, prefer, require, verify-full",
        ),
        (postgres_group("iam: yes, storage: { directory: /b }"), "iam", "write true"),
        (
            with_header("postgres: { crm: { databases: ['*'], storage: { directory: /b } } }\n"),
            "databases[0]",
            "a pattern is no database",
        ),
        (
            with_header("postgres: { crm: { databases: [a, a], storage: { directory: /b } } }\n"),
            "databases[1]",
            "stands here twice",
        ),
        // Alarms.
        (alarm("above: 25"), "above", "\"25h\" for a length of time"),
        (alarm("above: \"25\""), "above", "a length of time such as \"1h\""),
        (alarm("above: 25h, below: 1h"), "alarms.acme-backup-x", "exactly one of above and below"),
        (
            alarm("above: 25h, topic: \"arn:aws:sns:us-east-1:111122223333:t\""),
            "topic",
            "this is in us-east-1",
        ),
        (
            alarm("above: 25h, topic: \"arn:aws:sqs:eu-west-1:111122223333:t\""),
            "topic",
            "this is an ARN of sqs",
        ),
        (
            with_header("alarms: { age: { metric: backup-age, above: 25h } }\n"),
            "alarms.age",
            "begins with \"acme-backup-\"",
        ),
        // People.
        (notify_channel("email: ops@example.com"), "ops.email", "write [\"ops@example.com\"]"),
        (notify_channel("email: [\"a@x.example, b@y.example\"]"), "email[0]", "there are several"),
        (notify_channel("email: [\"åsa@example.com\"]"), "email[0]", "SES takes ASCII alone"),
        (
            notify_channel("sns: \"arn:aws:sqs:eu-west-1:111122223333:t\""),
            "ops.sns",
            "no topic of SNS",
        ),
        (notify_channel("http: \"http://example.com/hook\""), "ops.http", "begins with https://"),
        (
            notify_channel(
                "email: [a@b.example], smtp: { host: \"smtp://mail\", from: a@b.example }",
            ),
            "smtp.host",
            "\"mail\"",
        ),
        // Money.
        (with_header("costs: { quota: 5 tb }\n"), "costs.quota", "such as \"5TB\""),
        (with_header("limits: { delete: { share: 0.5 } }\n"), "share", "\"50%\""),
    ]
}

#[test]
fn each_natural_mistake_is_one_fault_with_its_place_and_what_to_write() {
    let mut wrong = Vec::new();
    for (text, place, said) in mistake_table() {
        let told = match Policy::parse(&text) {
            Ok(_) => vec!["no fault".to_owned()],
            Err(faults) => faults.0.iter().map(ToString::to_string).collect(),
        };
        let fits = |t: &String| t.find(place).is_some_and(|at| t[at..].contains(said));
        if told.len() != 1 || !fits(&told[0]) {
            wrong.push(format!("{text}  wanted {place}: {said}\n  told {told:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn legal_things_that_are_hardly_meant_are_one_warning_each() {
    let whole = "schedule: { cron: \"0 2 * * *\" }, keep: { daily: 7 }";
    let table = [
        (postgres_store("directory: ./store"), "storage.directory", "write the whole path"),
        (postgres_store("bucket: acme-pg, prefix: pg"), "storage.prefix", "\"pg/\" if a folder"),
        (postgres_store("bucket: acme-pg, region: eu-west-9"), "storage.region", "knows no region"),
        (
            postgres_store("bucket: b-1, endpoint: \"http://minio.lan:9000\""),
            "storage.endpoint",
            "write https://",
        ),
        (
            postgres_group(&format!(
                "objectives: {{ max_age: 12h }}, storage: {{ directory: /b }}, dumps: {{ daily: {{ {whole} }} }}"
            )),
            "objectives.max_age",
            "write \"25h\" or more",
        ),
        (
            postgres_group(
                "storage: { directory: /b }, dumps: { often: { schedule: { cron: \"*/5 * * * *\" }, keep: { daily: 7 } } }",
            ),
            "often.schedule.cron",
            "is due every 5m",
        ),
        (
            with_header(
                "destinations: { r: { region: eu-west-2, bucket: acme-r } }\nbuckets: { a: { bucket: acme-a, copies: [{ to: r, prefixes: [pg] }] } }\n",
            ),
            "copies[0].prefixes[0]",
            "\"pg-old/\" too",
        ),
    ];
    for (text, place, said) in table {
        let policy = Policy::parse(&text).unwrap_or_else(|e| panic!("this is legal:\n{text}\n{e}"));
        let told = policy.warnings().into_iter().filter(|w| w.path != "signing");
        let told: Vec<_> = told.map(|w| w.to_string()).collect();
        assert_eq!(told.len(), 1, "{text}\n{told:?}");
        assert!(told[0].contains(place) && told[0].contains(said), "{text}\n{told:?}");
    }
}

#[test]
fn what_other_stores_call_their_regions_is_taken() {
    for region in ["fr-par", "garage", "auto", "nyc3", "gra", "us-east-1"] {
        let text = postgres_store(&format!(
            "bucket: acme-pg, endpoint: \"https://s3.example.com\", region: {region}"
        ));
        let policy = Policy::parse(&text).unwrap_or_else(|e| panic!("{region}: {e}"));
        assert_eq!(policy.warnings(), [], "{region}");
    }
}

#[test]
fn a_secret_that_stands_in_a_policy_is_never_told_again() {
    let secret = "hunter2horse";
    let webhook = "https://hooks.slack.com/services/T000/B000/hunter2horse";
    let places = [
        postgres_group(&format!("password: {secret}, storage: {{ directory: /b }}")),
        postgres_group(&format!("password: {{ {secret} }}, storage: {{ directory: /b }}")),
        postgres_group(&format!("password: {{ value: {secret} }}, storage: {{ directory: /b }}")),
        postgres_group(&format!("password: [{secret}], storage: {{ directory: /b }}")),
        postgres_group(&format!(
            "password: {{ env: \"{secret}!\" }}, storage: {{ directory: /b }}"
        )),
        postgres_group(&format!(
            "password: {{ secret: \"my {secret}\" }}, storage: {{ directory: /b }}"
        )),
        postgres_group(&format!(
            "host: \"postgres://app:{secret}@db/crm\", storage: {{ directory: /b }}"
        )),
        postgres_store(&format!(
            "bucket: acme-pg, endpoint: \"https://key:{secret}@s3.example.com\""
        )),
        postgres_store(&format!(
            "bucket: acme-pg, endpoint: \"https://s3.example.com\", access_key: {secret}, secret_key: {secret}"
        )),
        notify_channel(&format!("slack: \"{webhook}\"")),
        notify_channel(&format!("http: \"{webhook}\"")),
        notify_channel(&format!("pagerduty: {secret}")),
        notify_channel(&format!("http: \"https://x.example\", headers: {{ X-Api-Key: {secret} }}")),
        notify_channel(&format!("http: \"https://x.example\", token: {secret}")),
        with_header(&format!("owners: {{ ops: {{ email: \"{webhook}\" }} }}\n")),
        with_header(&format!("\"{webhook}\": 1\n")),
    ];
    for text in places {
        let told = Policy::parse(&text).map(|_| ()).expect_err(&text).to_string();
        assert!(!told.contains("hunter2") && !told.contains("hooks.slack"), "{told}");
        assert!(told.contains("secret"), "{text}\n{told}");
    }
}

#[test]
fn nothing_in_a_policy_steers_the_terminal_that_its_faults_are_read_in() {
    let evil = "\\e]0;owned\\a\\e[2J\\N\\u202e";
    for text in [
        postgres_store(&format!("directory: \"~{evil}\"")),
        with_header(&format!("time_zone: \"x{evil}\"\n")),
        with_header(&format!("\"key{evil}\": 1\n")),
        postgres_group(&format!("tls: \"{evil}\", storage: {{ directory: /b }}")),
        postgres_store(&format!("directory: \"a\\n1:1: all is right{evil}\", prefix: /")),
    ] {
        let told = Policy::parse(&text).map(|_| ()).expect_err(&text).to_string();
        assert!(!told.contains(|c: char| c != '\n' && c.is_control()), "{told:?}");
        assert!(!told.contains('\u{202e}'), "{told:?}");
        assert!(!told.lines().any(|l| l.starts_with("1:1: all is right")), "{told}");
    }
}

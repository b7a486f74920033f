//! What people write when they write a policy for the first time: each mistake is one fault (or one warning, where it is
//! legal) with its place and what to write instead.

use super::Policy;

const HEAD: &str = "holdfast: 1\ncompany: acme\n";
const HOME: &str = "home: { account: \"111122223333\", region: eu-west-1 }\n";

fn head(rest: &str) -> String {
    format!("{HEAD}{HOME}{rest}")
}

/// A group of `databases` with these keys.
fn fleet(rest: &str) -> String {
    head(&format!(
        "destinations: {{ dr: {{ region: eu-west-2 }} }}\ndatabases: {{ fleet: {{ {rest} }} }}\n"
    ))
}

/// A group of `postgres` with these keys.
fn crm(rest: &str) -> String {
    head(&format!("postgres: {{ crm: {{ databases: [crm], {rest} }} }}\n"))
}

/// A group of `postgres` whose dumps lie here.
fn stored(store: &str) -> String {
    crm(&format!("stored: {{ {store} }}"))
}

/// A channel of `notify`.
fn channel(channel: &str) -> String {
    head(&format!(
        "notify: {{ ses: {{ from: a@b.example }}, channels: {{ ops: {{ {channel} }} }}, routes: [{{ severity: warning, to: [ops] }}] }}\n"
    ))
}

const DAILY: &str = "daily: { when: { cron: \"0 2 * * *\" }, keep: { for: 7d } }";
const KEY: &str = "arn:aws:kms:eu-west-2:111122223333:key/1";

fn faults() -> Vec<(String, &'static str, &'static str)> {
    let ids = "select: { ids: [a] }";
    let snapshot = |s: &str| fleet(&format!("{ids}, snapshots: {{ {s} }}"));
    let keep = |keep: &str| snapshot(&format!("daily: {{ keep: {keep} }}"));
    let destination = |d: &str| head(&format!("destinations: {{ dr: {{ {d} }} }}\n"));
    let alarm =
        |a: &str| head(&format!("alarms: {{ acme-backup-x: {{ watch: point-age, {a} }} }}\n"));
    let when = |cron: &str| snapshot(&format!("daily: {{ when: {cron}, keep: {{ for: 7d }} }}"));
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
        (head("time_zone: London\n"), "time_zone", "\"Europe/London\""),
        (head("owners: { ops: { email: ops.example.com } }\n"), "owners.ops.email", "it has no @"),
        // Databases.
        (fleet("select: { ids: [Orders] }"), "select.ids[0]", "write \"orders\""),
        (fleet("select: { ids: [t--a] }"), "select.ids[0]", "can't be an identifier"),
        (fleet("select: { ids: [orders-*] }"), "select.ids[0]", "write it under like"),
        (fleet("select: { ids: orders }"), "select.ids", "write [\"orders\"]"),
        (fleet("select: { like: [\"Orders-*\"] }"), "select.like[0]", "write \"orders-*\""),
        (fleet("select: { like: [\"*\"] }"), "select.like[0]", "would select everything"),
        (fleet("select: { ids: [a], except: [a] }"), "select.except[0]", "except always wins"),
        (
            fleet(&format!("{ids}, holds: [\"arn:aws:rds:eu-west-1:1:snapshot:keep-me\"]")),
            "holds[0]",
            "alone, \"keep-me\"",
        ),
        (fleet(&format!("{ids}, holds: [Keep-Me]")), "holds[0]", "write \"keep-me\""),
        (fleet(&format!("{ids}, max_age: 25h")), "fleet.max_age", "write it inside \"objectives\""),
        (
            fleet(&format!("{ids}, objectives: {{ max_age: 25 }}")),
            "max_age",
            "\"25d\" for days or \"25h\" for hours",
        ),
        (
            fleet(&format!("{ids}, objectives: {{ max_age: 25 hours }}")),
            "max_age",
            "such as \"25h\"",
        ),
        (fleet(&format!("{ids}, objectives: {{ max_age: 1d12h }}")), "max_age", "such as \"36h\""),
        (
            fleet(&format!("{ids}, automated_backups: {{ retention: 40d }}")),
            "retention",
            "1 to 35 whole days",
        ),
        (
            fleet(&format!("{ids}, automated_backups: {{ window: \"2am-3am\" }}")),
            "window",
            "\"02:00-03:00\"",
        ),
        (fleet(&format!("{ids}, priority: 12")), "priority", "9 is the most"),
        (
            fleet(&format!(
                "{ids}, copies: [{{ to: lodnon, of: [automated], keep: {{ newest: 1 }} }}]"
            )),
            "copies[0].to",
            "destinations has: dr",
        ),
        (
            fleet(&format!(
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
            "write it inside \"when\"",
        ),
        (snapshot("Daily: { keep: { for: 7d } }"), "fleet.snapshots", "such as \"daily\""),
        (when("\"0 2 * * *\""), "daily.when", "of: cron, time_zone"),
        (when("{ cron: \"@daily\" }"), "when.cron", "\"0 2 * * *\""),
        (when("{ cron: \"cron(0 3 * * ? *)\" }"), "when.cron", "\"0 3 * * *\""),
        (when("{ cron: \"0 0 31 2 *\" }"), "when.cron", "it never comes"),
        (keep("7d"), "daily.keep", "of: for, newest, hourly"),
        (keep("{ for: 35 days }"), "keep.for", "such as \"35d\""),
        (keep("{ daily: \"7\" }"), "keep.daily", "write it without quotes"),
        (keep("{}"), "daily.keep", "does not mean \"keep nothing\""),
        // Destinations.
        (destination("region: eu-west-2, in_flight: 50"), "in_flight", "20 is the most"),
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
            stored("bucket: acme-pg, region: fr-par"),
            "stored.region",
            "or the endpoint of the store",
        ),
        (
            stored("bucket: acme-pg, endpoint: s3.fr-par.scw.cloud"),
            "endpoint",
            "\"https://s3.fr-par.scw.cloud\"",
        ),
        (
            stored("bucket: acme-pg, endpoint: \"https://s3.fr-par.scw.cloud/acme-pg\""),
            "endpoint",
            "belongs in bucket",
        ),
        (
            stored("bucket: acme-pg, endpoint: \"https://acme-pg.s3.fr-par.scw.cloud\""),
            "endpoint",
            "\"https://s3.fr-par.scw.cloud\"",
        ),
        (stored("bucket: acme-pg, prefix: /pg/"), "prefix", "begins no key"),
        (stored("directory: ~/backups"), "directory", "read by no shell"),
        (stored("directory: $HOME/backups"), "directory", "read by no shell"),
        (stored("directory: \"s3://acme-pg\""), "directory", "write bucket"),
        (
            stored("bucket: acme-pg, directory: /b"),
            "stored",
            "exactly one of bucket, directory, azure",
        ),
        (
            stored("azure: { account: Acme_Store, container: dumps }"),
            "azure.account",
            "no storage account",
        ),
        (
            stored("azure: { account: acme, container: My_Dumps }"),
            "azure.container",
            "no container",
        ),
        (stored("bucket: acme-pg, key: \"{datbase}/%Y.dump\""), "key", "did you mean {database}?"),
        (stored("bucket: acme-pg, bandwidth: 20 mb"), "bandwidth", "\"20MB\""),
        // PostgreSQL.
        (crm("host: \"[::1]\", stored: { directory: /b }"), "host", "write \"::1\""),
        (crm("host: \"db.example.com:5433\", stored: { directory: /b }"), "host", "port: 5433"),
        (
            crm("host: \"postgres://db.example.com/crm\", stored: { directory: /b }"),
            "host",
            "\"db.example.com\"",
        ),
        (crm("port: 0, stored: { directory: /b }"), "port", "0 is no port"),
        (crm("tls: on, stored: { directory: /b }"), "tls", "disable, prefer, require, verify-full"),
        (crm("iam: yes, stored: { directory: /b }"), "iam", "write true"),
        (
            head("postgres: { crm: { databases: ['*'], stored: { directory: /b } } }\n"),
            "databases[0]",
            "a pattern is no database",
        ),
        (
            head("postgres: { crm: { databases: [a, a], stored: { directory: /b } } }\n"),
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
            head("alarms: { age: { watch: point-age, above: 25h } }\n"),
            "alarms.age",
            "begins with \"acme-backup-\"",
        ),
        // People.
        (channel("email: ops@example.com"), "ops.email", "write [\"ops@example.com\"]"),
        (channel("email: [\"a@x.example, b@y.example\"]"), "email[0]", "there are several"),
        (channel("email: [\"åsa@example.com\"]"), "email[0]", "SES takes ASCII alone"),
        (channel("sns: \"arn:aws:sqs:eu-west-1:111122223333:t\""), "ops.sns", "no topic of SNS"),
        (channel("http: \"http://example.com/hook\""), "ops.http", "begins with https://"),
        (
            channel("email: [a@b.example], smtp: { host: \"smtp://mail\", from: a@b.example }"),
            "smtp.host",
            "\"mail\"",
        ),
        // Money.
        (head("costs: { quota: 5 tb }\n"), "costs.quota", "such as \"5TB\""),
        (head("limits: { delete: { share: 0.5 } }\n"), "share", "\"50%\""),
    ]
}

#[test]
fn each_natural_mistake_is_one_fault_with_its_place_and_what_to_write() {
    let mut wrong = Vec::new();
    for (text, place, said) in faults() {
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
    let whole = "when: { cron: \"0 2 * * *\" }, keep: { daily: 7 }";
    let table = [
        (stored("directory: ./store"), "stored.directory", "write the whole path"),
        (stored("bucket: acme-pg, prefix: pg"), "stored.prefix", "\"pg/\" if a folder"),
        (stored("bucket: acme-pg, region: eu-west-9"), "stored.region", "knows no region"),
        (
            stored("bucket: b-1, endpoint: \"http://minio.lan:9000\""),
            "stored.endpoint",
            "write https://",
        ),
        (
            crm(&format!(
                "objectives: {{ max_age: 12h }}, stored: {{ directory: /b }}, dumps: {{ daily: {{ {whole} }} }}"
            )),
            "objectives.max_age",
            "write \"25h\" or more",
        ),
        (
            crm(
                "stored: { directory: /b }, dumps: { often: { when: { cron: \"*/5 * * * *\" }, keep: { daily: 7 } } }",
            ),
            "often.when.cron",
            "is due every 5m",
        ),
        (
            head(
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
        let text = stored(&format!(
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
        crm(&format!("password: {secret}, stored: {{ directory: /b }}")),
        crm(&format!("password: {{ {secret} }}, stored: {{ directory: /b }}")),
        crm(&format!("password: {{ value: {secret} }}, stored: {{ directory: /b }}")),
        crm(&format!("password: [{secret}], stored: {{ directory: /b }}")),
        crm(&format!("password: {{ env: \"{secret}!\" }}, stored: {{ directory: /b }}")),
        crm(&format!("password: {{ secret: \"my {secret}\" }}, stored: {{ directory: /b }}")),
        crm(&format!("host: \"postgres://app:{secret}@db/crm\", stored: {{ directory: /b }}")),
        stored(&format!("bucket: acme-pg, endpoint: \"https://key:{secret}@s3.example.com\"")),
        stored(&format!(
            "bucket: acme-pg, endpoint: \"https://s3.example.com\", access_key: {secret}, secret_key: {secret}"
        )),
        channel(&format!("slack: \"{webhook}\"")),
        channel(&format!("http: \"{webhook}\"")),
        channel(&format!("pagerduty: {secret}")),
        channel(&format!("http: \"https://x.example\", headers: {{ X-Api-Key: {secret} }}")),
        channel(&format!("http: \"https://x.example\", token: {secret}")),
        head(&format!("owners: {{ ops: {{ email: \"{webhook}\" }} }}\n")),
        head(&format!("\"{webhook}\": 1\n")),
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
        stored(&format!("directory: \"~{evil}\"")),
        head(&format!("time_zone: \"x{evil}\"\n")),
        head(&format!("\"key{evil}\": 1\n")),
        crm(&format!("tls: \"{evil}\", stored: {{ directory: /b }}")),
        stored(&format!("directory: \"a\\n1:1: all is right{evil}\", prefix: /")),
    ] {
        let told = Policy::parse(&text).map(|_| ()).expect_err(&text).to_string();
        assert!(!told.contains(|c: char| c != '\n' && c.is_control()), "{told:?}");
        assert!(!told.contains('\u{202e}'), "{told:?}");
        assert!(!told.lines().any(|l| l.starts_with("1:1: all is right")), "{told}");
    }
}

//! The built command, without any AWS: what it says, where, and how it exits.

use std::{
    fs,
    io::Read,
    path::Path,
    process::{Command, Output, Stdio},
};

const VALID_POLICY: &str = r#"holdfast: 1
company: acme
home: { account: "111122223333", region: eu-west-1 }
databases:
  fleet:
    select: { include: ["acme-*-prod"] }
    snapshots: { pre-deploy: { keep: { for: 90d } } }
buckets:
  media: { bucket: acme-media, tiers: [{ after: 30d, class: GLACIER }] }
secrets:
  app: { prefix: acme }
kubernetes:
  cluster: { namespace: shop, storage: { bucket: acme-k8s }, keep: { for: 7d } }
alarms:
  acme-backup-age: { metric: backup-age, of: fleet, above: 25h }
"#;

const INVALID_POLICY: &str = r#"holdfast: 1
company: Acme
home: { account: "1111", region: eu-west-1 }
databases:
  fleet:
    select: { include: ["acme-*-prod"] }
    snapshot: {}
"#;

/// The command with nothing of this machine's environment, and an AWS that refuses every connection.
fn holdfast(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command
        .args(args)
        .env_clear()
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        .env("AWS_MAX_ATTEMPTS", "1")
        .stdin(Stdio::null());
    command
}

fn run_holdfast(args: &[&str]) -> Output {
    holdfast(args).output().expect("it runs")
}

fn run_with_keys(args: &[&str]) -> Output {
    let mut command = holdfast(args);
    command.env("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE").env("AWS_SECRET_ACCESS_KEY", "hush-hush");
    command.output().expect("it runs")
}

fn to_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// One clear error: the exit code, nothing on stdout, no panic, no secret.
#[track_caller]
fn assert_refused(output: &Output, code: i32, words: &[&str]) {
    let said = to_text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(to_text(&output.stdout), "");
    assert!(!said.contains("panicked") && !said.contains("hush-hush"), "{said}");
    for word in words {
        assert!(said.contains(word), "lacks {word:?}: {said}");
    }
}

fn write_policy(folder: &Path, text: &str) -> String {
    let path = folder.join("policy.yaml");
    fs::write(&path, text).expect("a policy is written");
    path.to_str().expect("a path").to_owned()
}

#[test]
fn a_good_policy_is_summed_up_and_what_runs_nothing_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write_policy(folder.path(), VALID_POLICY);
    let output = run_holdfast(&["policy", "check", &file]);
    assert_eq!(output.status.code(), Some(0), "{}", to_text(&output.stderr));
    insta::assert_snapshot!(to_text(&output.stdout).replace(&file, "policy.yaml"), @"
    policy.yaml is right: acme in eu-west-1 of account 111122223333
      databases     fleet
      buckets       media
      kubernetes    cluster
      secrets       app
      destinations  none
      alarms        acme-backup-age

    1 part of it no function runs yet; DO NOT COUNT ON what stands there:
      kubernetes.cluster  cluster state is not exported yet; what lies in `storage` is watched
    ");
}

#[test]
fn a_policy_without_a_home_asks_aws_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write_policy(folder.path(), "holdfast: 1\ncompany: lane\nid: host-1\n");
    let output = run_holdfast(&["policy", "check", &file]);
    assert!(to_text(&output.stdout).contains("is right: lane on this host, as lane@host-1"));
    // Any call would fail here: there are no credentials, and nothing listens at the endpoint.
    let functions = ["snapshot", "offsite", "freshness", "replication", "retention"];
    let runs = functions.map(|function| vec!["run", function]);
    for command in runs.into_iter().chain([vec!["plan"]]) {
        let args: Vec<&str> = command.iter().copied().chain(["--policy", file.as_str()]).collect();
        let output = run_holdfast(&args);
        let said = format!("{}{}", to_text(&output.stdout), to_text(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{command:?}: {said}");
        assert!(!said.contains("gap") && !said.contains("credentials"), "{command:?}: {said}");
    }
    assert_refused(
        &run_holdfast(&["gate", "--policy", &file]),
        64,
        &["no group of the policy takes snapshots"],
    );
}

#[test]
fn a_faulty_policy_neither_steers_the_terminal_nor_tells_its_secrets() {
    let folder = tempfile::tempdir().expect("a folder");
    let evil = "holdfast: 1\ncompany: acme\nid: host-1\ntime_zone: \"\\e]0;owned\\a\\e[2J\"\npostgres:\n  crm: { databases: [a], password: hush-hush, storage: { directory: /b } }\n";
    let file = write_policy(folder.path(), evil);
    for args in [vec!["policy", "check", &file], vec!["status", "--policy", &file]] {
        let output = run_holdfast(&args);
        let said = format!("{}{}", to_text(&output.stdout), to_text(&output.stderr));
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(!said.contains('\u{1b}') && !said.contains('\u{7}'), "{said:?}");
        assert!(!said.contains("hush-hush") && said.contains("a secret never stands"), "{said}");
    }
}

#[test]
fn every_fault_of_a_bad_policy_has_its_own_line_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write_policy(folder.path(), INVALID_POLICY);
    let output = run_holdfast(&["policy", "check", &file]);
    assert_eq!(output.status.code(), Some(64));
    insta::assert_snapshot!(to_text(&output.stdout).replace(&file, "policy.yaml"), @r#"
    policy.yaml:2:1: company: "Acme" is not a name: write a lower-case letter, then letters, digits and single hyphens, 40 characters at most, such as "acme"
    policy.yaml:3:9: home.account: "1111" is not an AWS account id: write twelve digits in quotes, such as "111122223333"
    policy.yaml:7:5: databases.fleet.snapshot: unknown key "snapshot"; did you mean "snapshots"?
    "#);

    let output = run_holdfast(&["policy", "check", &file, "--json"]);
    assert_eq!(output.status.code(), Some(64));
    let checked: serde_json::Value = serde_json::from_slice(&output.stdout).expect("json");
    assert_eq!(checked["errors"][0]["line"], 2);
    assert!(checked["errors"].as_array().is_some_and(|f| f.len() >= 3), "{checked}");
}

#[test]
fn the_policies_that_come_with_holdfast_are_right() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies");
    let mut checked = 0;
    for entry in fs::read_dir(folder).expect("policies") {
        let path = entry.expect("a file").path();
        if path.extension().is_some_and(|e| e == "yaml") {
            let output = run_holdfast(&["policy", "check", path.to_str().expect("a path")]);
            assert_eq!(output.status.code(), Some(0), "{}", to_text(&output.stdout));
            checked += 1;
        }
    }
    assert!(checked >= 5, "{checked}");
}

#[test]
fn the_schema_is_the_one_in_the_repository() {
    let output = run_holdfast(&["policy", "schema"]);
    assert_eq!(output.status.code(), Some(0));
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("json");
    let kept = include_str!("../../policies/schema.json");
    assert_eq!(schema, serde_json::from_str::<serde_json::Value>(kept).expect("json"));
}

#[test]
fn a_policy_that_can_not_be_read_is_the_commands_fault() {
    assert_refused(
        &run_holdfast(&["policy", "check", "/nowhere/policy.yaml"]),
        64,
        &["/nowhere/policy.yaml", "--policy"],
    );
    assert_refused(
        &run_holdfast(&["status", "--policy", "/nowhere/policy.yaml"]),
        64,
        &["No such file"],
    );
    assert_refused(
        &run_holdfast(&["status", "--policy", "s3://bucket-only"]),
        64,
        &["s3://bucket/key"],
    );
    assert_refused(&run_holdfast(&["status", "--policy", "/"]), 64, &["HOLDFAST_POLICY"]);
    let mut by_environment = holdfast(&["status"]);
    by_environment.env("HOLDFAST_POLICY", "/nowhere/else.yaml");
    assert_refused(&by_environment.output().expect("it runs"), 64, &["/nowhere/else.yaml"]);
}

#[test]
fn a_faulty_policy_stops_every_command_before_aws_is_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write_policy(folder.path(), INVALID_POLICY);
    let commands: &[&[&str]] = &[
        &["status"],
        &["plan"],
        &["run", "retention"],
        &["gate"],
        &["explain", "orders"],
        &["alarms"],
    ];
    for command in commands {
        let output = run_holdfast(&[*command, &["--policy", &file]].concat());
        assert_refused(&output, 64, &["fault", "company"]);
    }
}

#[test]
fn a_wrong_command_is_refused_before_anything() {
    assert_refused(&run_holdfast(&[]), 64, &["Usage"]);
    assert_refused(&run_holdfast(&["run", "everything"]), 64, &["retention"]);
    assert_refused(&run_holdfast(&["gate", "--timeout", "soon"]), 64, &["length of time"]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = write_policy(folder.path(), VALID_POLICY);
    let narrowed = ["run", "retention", "--asset", "orders", "--policy", &file];
    assert_refused(&run_with_keys(&narrowed), 64, &["--asset is for snapshot only"]);
}

#[test]
fn without_credentials_there_is_one_clear_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write_policy(folder.path(), VALID_POLICY);
    for command in [&["status"][..], &["gate"], &["alarms"], &["run", "freshness"]] {
        let output = run_holdfast(&[command, &["--policy", &file]].concat());
        assert_refused(&output, 3, &["no AWS credentials", "AWS_PROFILE"]);
    }
    assert_refused(
        &run_holdfast(&["status", "--policy", "s3://bucket/policy.yaml"]),
        3,
        &["no AWS credentials"],
    );
}

#[test]
fn an_aws_that_is_not_reached_is_one_clear_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write_policy(folder.path(), VALID_POLICY);
    let commands: &[&[&str]] = &[
        &["status"],
        &["status", "--json"],
        &["plan"],
        &["plan", "retention"],
        &["gate"],
        &["explain", "acme-orders-prod"],
        &["alarms"],
        &["run", "snapshot", "--reason", "pre-deploy"],
    ];
    for command in commands {
        let output = run_with_keys(&[*command, &["--policy", &file]].concat());
        assert_refused(&output, 3, &["AWS could not be asked"]);
    }
    let remote = run_with_keys(&["policy", "check", "s3://bucket/policy.yaml"]);
    assert_refused(&remote, 3, &["s3://bucket/policy.yaml can't be read"]);
    // A run has a report all the same: what it would have done is part of it.
    let output = run_with_keys(&["run", "retention", "--json", "--policy", &file]);
    assert_eq!(output.status.code(), Some(3), "{}", to_text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("json");
    assert_eq!(report["failed"], true);
    assert!(
        report["findings"]
            .as_array()
            .is_some_and(|f| f.iter().any(|f| f["code"] == "observation-failed"))
    );
}

#[test]
fn log_lines_are_json_on_stderr_and_only_when_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write_policy(folder.path(), VALID_POLICY);
    let output = run_with_keys(&["run", "retention", "--dry-run", "-v", "--policy", &file]);
    assert_eq!(output.status.code(), Some(3));
    let log = to_text(&output.stderr);
    let lines: Vec<serde_json::Value> =
        log.lines().map(|l| serde_json::from_str(l).expect(l)).collect();
    assert!(lines.iter().any(|l| l["span"]["function"] == "retention"), "{log}");
    let quiet = run_with_keys(&["run", "retention", "--dry-run", "--policy", &file]);
    assert_eq!(to_text(&quiet.stderr), "");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let mut child = holdfast(&["policy", "schema"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    // Closed before anything is read: the schema is larger than a pipe holds.
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().expect("stderr").read_to_string(&mut said).expect("text");
    assert_eq!((child.wait().expect("it ends").code(), said.as_str()), (Some(0), ""));
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_a_call_that_is_never_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write_policy(folder.path(), VALID_POLICY);
    // Connections are taken by the system and never answered.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", silent.local_addr().expect("an address"));
    let child = holdfast(&["gate", "--policy", &file])
        .env("AWS_ENDPOINT_URL", address)
        .env("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "hush-hush")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    // Once it has connected, it is listening for the interrupt.
    let _connection = silent.accept().expect("a connection");
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.expect("kill").success());
    let output = child.wait_with_output().expect("it ends");
    assert_refused(&output, 130, &["interrupted"]);
}

#[test]
fn help_and_version_are_no_errors() {
    for args in [&["--help"][..], &["--version"], &["gate", "--help"], &["help", "run"]] {
        let output = run_holdfast(args);
        assert_eq!(output.status.code(), Some(0));
        assert!(to_text(&output.stdout).contains("holdfast"));
    }
    assert!(to_text(&run_holdfast(&["--help"]).stdout).contains("encryption or decryption failed"));
}

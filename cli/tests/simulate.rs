//! `holdfast simulate` and what `policy check` sees ahead, without any AWS.

use serde_json::Value;
use std::{fs, path::PathBuf, process::Command};

fn run(args: &[&str]) -> (Option<i32>, String) {
    let ran = Command::new(env!("CARGO_BIN_EXE_holdfast")).args(args).env_clear().output();
    let ran = ran.expect("it runs");
    let said = String::from_utf8(ran.stdout).expect("text");
    (ran.status.code(), said + &String::from_utf8_lossy(&ran.stderr))
}

fn shipped(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../policies").join(name);
    path.display().to_string()
}

#[test]
fn a_quota_that_fills_is_seen_by_policy_check_and_by_simulate() {
    let policy = shipped("lomash-wood.yaml");
    let (code, said) = run(&["policy", "check", &policy]);
    assert_eq!(code, Some(0), "{said}");
    let line = "the quota of 100 manual snapshots at us-east-1 in 444455556666 is reached on day 1";
    assert!(said.contains(line), "{said}");

    let (code, said) = run(&["--policy", &policy, "--json", "simulate", "--days", "20"]);
    assert_eq!(code, Some(0), "{said}");
    let played: Value = serde_json::from_str(&said).expect("JSON");
    let vault = played["places"].as_array().expect("places").iter();
    let vault = vault.clone().find(|p| p["place"] == "us-east-1 in 444455556666").expect("it");
    assert!(vault["quota_reached_on"].is_string(), "{vault}");
}

#[test]
fn another_policy_is_held_against_this_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, keep: &str| {
        let path = folder.path().join(name);
        let text = format!(
            "{{holdfast: 1, company: acme, home: {{account: \"111122223333\", region: eu-west-1}}, databases: {{main: \
             {{select: {{identifiers: [orders]}}, snapshots: {{daily: {{schedule: {{cron: \"0 2 * * *\"}}, keep: {{for: \
             {keep}}}}}}}}}}}}}"
        );
        fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let (old, new) = (write("old.yaml", "20d"), write("new.yaml", "10d"));
    let (code, said) = run(&["--policy", &old, "simulate", "--days", "40", "--against", &new]);
    assert_eq!(code, Some(0), "{said}");
    let line =
        said.lines().find(|l| l.starts_with("| main/orders | daily |") && l.ends_with("10d |"));
    assert!(line.is_some(), "{said}");
    let (code, said) = run(&["--policy", &old, "simulate", "--days", "5", "--against", &old]);
    assert!(code == Some(0) && said.contains("Nothing changes."), "{said}");
}

#[test]
fn days_that_nobody_can_mean_are_refused() {
    let policy = shipped("listings.yaml");
    let (code, said) = run(&["--policy", &policy, "simulate", "--days", "0"]);
    assert!(code == Some(64) && said.contains("--days"), "{said}");
}

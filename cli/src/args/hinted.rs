//! Each command that a hint names is one that the command takes, and that does something for the case that prints it.

use super::*;
use clap::Parser;
use shared::{
    hints::{self, commands},
    model::{db_instance, home_inventory, parse_policy, parse_time},
    plan::FindingCode,
    policy::text::Name,
    request::RunRequest,
};
use std::path::Path;

/// A line as a shell would split it.
fn words(line: &str) -> Vec<String> {
    let script = format!("printf '%s\\n' {line}");
    let said = std::process::Command::new("sh").args(["-c", &script]).output().expect("a shell");
    assert!(said.status.success(), "{line}");
    String::from_utf8(said.stdout).expect("text").lines().map(str::to_owned).collect()
}

fn parsed(line: &str) -> CliCommand {
    CliArgs::try_parse_from(words(line)).unwrap_or_else(|e| panic!("{line}: {e}")).command
}

/// The command in a hint.
fn command(hint: &str) -> &str {
    hint.split('`').nth(1).unwrap_or_else(|| panic!("{hint} names no command"))
}

#[test]
fn every_command_that_a_hint_names_is_one_of_the_command() {
    let awkward = ["orders", "main/größe", "main/o'brien", "main/a b", "main/$(x)"];
    let mut all: Vec<String> = commands::ALL.map(str::to_owned).to_vec();
    for asset in awkward {
        all.extend([
            commands::snapshot("pre-deploy", asset),
            commands::dump(asset, "daily"),
            commands::list(asset),
            commands::explain(asset),
            commands::restore_beside(asset, "check"),
        ]);
    }
    all.extend([commands::dump_due("main"), commands::notify_test("pager")]);
    all.extend([commands::redis_dump("cache"), commands::redis_check("cache")]);
    let functions = FunctionName::ALL.map(FunctionName::name).into_iter();
    for name in functions.clone().chain(["notify", "report", "verify"]) {
        all.push(commands::function(name).unwrap_or_else(|| panic!("{name} has no command")));
    }
    all.extend(functions.map(commands::watch));
    for code in FindingCode::ALL {
        let quoted = code.fix().split('`').skip(1).step_by(2);
        all.extend(quoted.filter(|text| text.starts_with("holdfast ")).map(str::to_owned));
    }
    for line in &all {
        parsed(line);
    }
    assert_eq!(commands::function("nothing"), None, "no command is made up");
}

#[test]
fn a_snapshot_that_a_hint_names_is_taken_whatever_the_group_takes() {
    let scheduled = "daily: { schedule: { cron: \"0 2 * * *\" }, keep: { for: 7d } }";
    let on_demand = "pre-deploy: { keep: { for: 7d } }";
    let now = parse_time("2026-11-20T12:00:00Z");
    for snapshots in [
        String::new(),
        format!("{{ {scheduled} }}"),
        format!("{{ {on_demand} }}"),
        format!("{{ {on_demand}, {scheduled} }}"),
    ] {
        let rule =
            if snapshots.is_empty() { String::new() } else { format!(", snapshots: {snapshots}") };
        let policy = parse_policy(&format!(
            "holdfast: 1\ncompany: acme\nhome: {{ account: \"111122223333\", region: eu-west-1 }}\n\
             databases: {{ fleet: {{ select: {{ identifiers: [orders] }}{rule} }} }}\n"
        ));
        let group = policy.databases.values().next().expect("a group");
        let Some(hint) = hints::take_snapshot_command(group, "orders") else {
            assert!(snapshots.is_empty(), "{snapshots}");
            assert!(!hints::newer_point(group, "orders").contains('`'), "no command helps");
            continue;
        };
        assert_eq!(hint, hints::newer_point(group, "orders"));
        let CliCommand::Run(args) = parsed(command(&hint)) else { panic!("{hint}") };
        assert_eq!(args.function, FunctionName::Snapshot);
        let request = RunRequest {
            reason: args.reason.expect("a reason"),
            assets: args.assets,
            ..RunRequest::full_run()
        };
        let there = home_inventory(&policy, vec![db_instance("orders", now)], vec![]);
        let planned = snapshot::plan(&policy, &there, &request, "r", now);
        assert_eq!(planned.steps.len(), 1, "{hint}: {:?}", planned.findings);
    }
}

#[test]
fn a_dump_that_a_hint_names_is_taken_whatever_the_group_takes() {
    let now = parse_time("2026-11-20T12:00:00Z");
    for (databases, dumps, taken) in [
        ("[orders]", "daily: { schedule: { cron: \"0 2 * * *\" }, keep: { for: 7d } }", true),
        ("all", "manual: { keep: { for: 7d } }", true),
        ("all", "a-base: { format: base, keep: { for: 7d } }, manual: { keep: { for: 7d } }", true),
        ("[orders]", "a-base: { format: base, keep: { for: 7d } }", false),
    ] {
        let policy = parse_policy(&format!(
            "holdfast: 1\ncompany: acme\nid: host-1\npostgres: {{ main: {{ databases: {databases}, storage: {{ directory: /b \
             }}, dumps: {{ {dumps} }} }} }}\n"
        ));
        let (group, rules) = policy.postgres.first_key_value().expect("a group");
        let Some(hint) = hints::take_dump_command(&policy, group, "orders") else {
            assert!(!taken, "{dumps}");
            continue;
        };
        let CliCommand::Dump(args) = parsed(command(&hint)) else { panic!("{hint}") };
        let request = RunRequest {
            reason: args.reason.expect("a reason"),
            assets: args.targets,
            ..RunRequest::full_run()
        };
        assert!(request.includes_database(group.as_str(), "orders"), "{hint}");
        let looked = dump::ObservedDatabase {
            group,
            rules,
            dumps: rules.all_dumps(),
            database: "orders".into(),
            server: Ok(1),
            key_errors: std::collections::BTreeMap::new(),
            free_bytes: None,
            locations: vec![Ok(Vec::new())],
        };
        let planned = dump::plan(&policy, &[looked], &request, now);
        assert_eq!((planned.steps.len(), taken), (1, true), "{hint}: {:?}", planned.findings);
    }
    let other: Name = "other".parse().expect("a name");
    let none = parse_policy("holdfast: 1\ncompany: acme\nid: host-1\n");
    assert_eq!(hints::take_dump_command(&none, &other, "x"), None);
}

#[test]
fn a_mistyped_reason_of_a_gate_is_answered_with_one_that_the_gate_takes() {
    let known = ["daily", "pre-deploy"].map(str::to_owned);
    let hint = hints::hint_for_reason("predeploy", known);
    let meant = hint.split('"').nth(1).expect("a reason");
    let CliCommand::Gate(gate) = parsed(&format!("holdfast gate --reason {meant}")) else {
        panic!("{hint}")
    };
    assert_eq!(gate.reason, "pre-deploy");
}

/// Hints elsewhere name commands by [`commands`] alone.
#[test]
fn no_other_source_spells_a_command() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let command = <CliArgs as clap::CommandFactory>::command();
    let subcommands: Vec<String> =
        command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    let mut found = Vec::new();
    sources(root, &mut |path, text| {
        let name = path.strip_prefix(root).expect("inside").to_string_lossy().into_owned();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines = code.lines().filter(|l| !l.trim_start().starts_with("//"));
        for line in lines {
            let spelled = |sub: &String| {
                let ends = [
                    format!("`holdfast {sub}"),
                    format!("\"holdfast {sub} "),
                    format!("\"holdfast {sub}\""),
                ];
                ends.iter().any(|e| line.contains(e))
            };
            if subcommands.iter().any(spelled) {
                found.push(format!("{name}: {}", line.trim()));
            }
        }
    });
    assert!(found.is_empty(), "write these by shared::hints::commands:\n{}", found.join("\n"));
}

/// Every source of the workspace that is no test, no example and not where commands are defined.
fn sources(folder: &Path, each: &mut dyn FnMut(&Path, &str)) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let passed = [
            "target",
            "tests",
            "tests.rs",
            "samples.rs",
            "examples",
            "fuzz",
            "hints",
            "hinted.rs",
            "args.rs",
            "finding_code.rs", // its commands are read by the first test
        ];
        if name.starts_with('.') || passed.contains(&name) {
            continue;
        }
        if path.is_dir() {
            sources(&path, each);
        } else if path.extension().is_some_and(|e| e == "rs") {
            each(&path, &std::fs::read_to_string(&path).expect("a source"));
        }
    }
}

//! Which databases a run speaks of: those that a group lists, or all that its server has.

use shared::{
    aws::OperationError,
    hints,
    plan::{Finding, FindingCode, Severity},
    policy::{Policy, PostgresGroup, text::Name},
    request::RunRequest,
};
use std::collections::BTreeSet;

/// The databases of a group that a request speaks of, and what is to be said of the others.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Asked {
    pub(crate) names: Vec<String>,
    pub(crate) findings: Vec<Finding>,
}

/// Of a group that lists its databases.
pub(crate) fn listed(group: &Name, rules: &PostgresGroup, request: &RunRequest) -> Asked {
    let asked = |d: &&String| request.includes_database(group.as_str(), d);
    let names = rules.databases.named().iter().filter(asked).cloned().collect();
    Asked { names, ..Asked::default() }
}

/// Of a group that means all: `there` is what the server has, `dumped` is what the store has dumps of.
///
/// Where the server can't be asked, those that have dumps are known to be there, so that their dumps are missed too. One
/// that is gone from the server keeps its dumps: nothing more is made of it, so retention lets none of them go.
pub(crate) fn all(
    policy: &Policy,
    (group, rules): (&Name, &PostgresGroup),
    there: &Result<Vec<String>, OperationError>,
    dumped: &BTreeSet<String>,
    request: &RunRequest,
) -> Asked {
    let ours = |d: &&String| rules.has_database(d) && !postgres::database::is_holdfast_database(d);
    let mut asked = Asked::default();
    let mut find = |severity, asset: String, what, why: String, hint: String| {
        asked.findings.push(Finding::new(severity, asset, what, why, hint).in_group(group));
    };
    let asset = |database: &str| format!("{group}/{database}");
    let known: BTreeSet<&String> = match there {
        Ok(there) => there.iter().filter(ours).collect(),
        Err(e) => {
            let why = format!(
                "its server can't be asked which databases it has, so none that is new is dumped: {e}"
            );
            let hint = e.hint().to_owned();
            find(Severity::Critical, group.to_string(), FindingCode::StoreAccessDenied, why, hint);
            dumped.iter().filter(ours).collect()
        }
    };
    if there.is_ok() && request.is_full_run() {
        for gone in dumped.iter().filter(ours).filter(|d| !known.contains(d)) {
            let why =
                "its server does not have it any more: nothing more is dumped, and its dumps stay";
            let hint = "find out who dropped it; where that was meant, name it under exclude";
            find(
                Severity::Warning,
                asset(gone),
                FindingCode::DatabaseGone,
                why.into(),
                hint.into(),
            );
        }
        // Where there is a schedule, a new one is due at once.
        let scheduled = rules.dumps.values().any(|d| d.schedule.is_some());
        for new in known.iter().filter(|d| !scheduled && !dumped.contains(**d)) {
            let why = "there is no dump of it, and no schedule takes one";
            let hint = hints::take_dump_command(policy, group, new).unwrap_or_default();
            find(Severity::Warning, asset(new), FindingCode::NoBackup, why.into(), hint);
        }
    }
    if there.is_ok() {
        let named =
            |a: &&String| a.strip_prefix(group.as_str()).is_some_and(|r| r.starts_with('/'));
        for unknown in request.assets.iter().filter(named) {
            if !known.iter().any(|d| *unknown == asset(d)) {
                let why = "the server has no such database that is dumped";
                let hint = "write the name as the server has it; templates and what except names are not dumped";
                find(
                    Severity::Critical,
                    unknown.clone(),
                    FindingCode::UnknownAsset,
                    why.into(),
                    hint.into(),
                );
            }
        }
    }
    let names = known.into_iter().filter(|d| request.includes_database(group.as_str(), d)).cloned();
    asked.names = names.collect();
    asked
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::aws::OperationErrorKind;

    fn of(dumps: &str, there: Result<&[&str], OperationError>, request: &RunRequest) -> String {
        let policy = Policy::parse(&format!(
            "{{holdfast: 1, company: acme, id: host-1, postgres: {{main: {{databases: all, exclude: [\"test_*\"], \
             storage: {{directory: /b}}, dumps: {{daily: {{{dumps}keep: {{for: 7d}}}}}}}}}}}}"
        ))
        .unwrap_or_else(|e| panic!("{e}"));
        let group = policy.postgres.first_key_value().expect("a group");
        let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let dumped: BTreeSet<String> =
            owned(&["orders", "dropped", "test_old"]).into_iter().collect();
        let asked = all(&policy, group, &there.map(owned), &dumped, request);
        let found: Vec<_> = asked.findings.iter().map(ToString::to_string).collect();
        format!("{}\n{}", asked.names.join(" "), found.join("\n"))
    }

    const THERE: &[&str] =
        &["orders", "orders_before_20261120020000", "new", "template1", "test_1", "rdsadmin"];

    #[test]
    fn every_database_of_the_server_is_dumped_and_one_that_is_gone_is_said() {
        let whole = RunRequest::full_run();
        insta::assert_snapshot!(of("schedule: {cron: \"0 2 * * *\"}, ", Ok(THERE), &whole), @"
        new orders
        warning main/dropped database-gone: its server does not have it any more: nothing more is dumped, and its dumps stay; find out who dropped it; where that was meant, name it under exclude
        ");
        insta::assert_snapshot!(of("", Ok(THERE), &whole), @"
        new orders
        warning main/dropped database-gone: its server does not have it any more: nothing more is dumped, and its dumps stay; find out who dropped it; where that was meant, name it under exclude
        warning main/new no-backup: there is no dump of it, and no schedule takes one; run `holdfast dump main/new --reason daily`
        ");
    }

    #[test]
    fn a_server_that_can_not_be_asked_is_said_and_what_has_dumps_is_not_forgotten() {
        let away = OperationError::with_hint(
            OperationErrorKind::Database,
            "connect",
            "refused",
            "start it",
        );
        insta::assert_snapshot!(of("", Err(away), &RunRequest::full_run()), @"
        dropped orders
        critical main store-access-denied: its server can't be asked which databases it has, so none that is new is dumped: connect: refused; start it
        ");
    }

    #[test]
    fn one_that_is_asked_for_must_be_there() {
        let asked = |asset: &str| {
            let request = RunRequest { assets: vec![asset.into()], ..RunRequest::full_run() };
            of("", Ok(THERE), &request)
        };
        assert_eq!(asked("main/new"), "new\n");
        assert_eq!(asked("main").lines().next(), Some("new orders"));
        for not_there in ["main/nwe", "main/test_1", "main/template1"] {
            let said = asked(not_there);
            assert!(said.starts_with("\ncritical ") && said.contains("unknown-asset"), "{said}");
        }
    }
}

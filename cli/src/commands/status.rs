//! `holdfast status`: how everything stands.

use crate::{
    look,
    output::CommandOutput,
    session::CommandContext,
    stop::CommandExit,
    table::TerminalStyle,
    telling,
    words::{self, PLACEHOLDER, escape_control_chars, format_age, format_size, pluralize},
};
use jiff::Timestamp;
use serde::Serialize;
use shared::{
    parts,
    plan::{Finding, Severity},
    policy::Policy,
    report::{AssetStatus, RunReport},
};
use std::collections::{BTreeMap, btree_map::Entry};

/// Looks at everything and says how it stands.
pub(super) async fn run(session: &CommandContext<'_>) -> anyhow::Result<CommandExit> {
    let world = session.dry_run_context();
    let looks = look::run_all_checks(&world, None);
    let reports = session.progress.with_spinner("looking at everything", looks).await;
    look::ensure_something_observed(&world, &reports)?;
    let mut status = StatusOutput::new(&session.policy, session.env.now, reports);
    if let Some(untold) = telling::missing_state_finding(session) {
        status.push_finding(untold);
    }
    session.output.print_output(&status)?;
    Ok(if status.has_critical { CommandExit::Failed } else { CommandExit::Success })
}

/// How everything stands.
#[derive(Debug, Serialize)]
pub(super) struct StatusOutput {
    policy: String,
    observed_at: Timestamp,
    /// Whether anything is critical.
    pub(super) has_critical: bool,
    counts: StatusCounts,
    /// Worst first.
    pub(super) assets: Vec<AssetStatus>,
    /// All of them, worst first, with what to do.
    pub(super) findings: Vec<Finding>,
}

#[derive(Debug, Default, Serialize)]
struct StatusCounts {
    assets: usize,
    ok: usize,
    warning: usize,
    critical: usize,
    /// Assets and parts that nothing runs, watches or observes.
    unknown: usize,
}

/// Whether a finding is of an asset, which dumps call `group/asset`.
fn concerns_asset(finding: &Finding, standing: &AssetStatus) -> bool {
    let Some(group) = finding.group.as_ref().filter(|g| **g == standing.group) else {
        return false;
    };
    let rest = finding.asset.strip_prefix(group.as_str()).and_then(|r| r.strip_prefix('/'));
    finding.asset == standing.asset || rest == Some(&standing.asset)
}

impl StatusOutput {
    /// What these reports say together of everything that the policy names: what none of them speaks of has a row too.
    pub(super) fn new(policy: &Policy, at: Timestamp, reports: Vec<RunReport>) -> Self {
        let mut failed = reports.iter().any(|r| r.failed);
        let mut assets: BTreeMap<(String, String), AssetStatus> = BTreeMap::new();
        let mut findings: Vec<Finding> = Vec::new();
        for report in reports {
            for standing in report.assets {
                match assets.entry((standing.group.clone(), standing.asset.clone())) {
                    Entry::Vacant(free) => drop(free.insert(standing)),
                    Entry::Occupied(mut held) => held.get_mut().merge(standing),
                }
            }
            // Both functions look at RDS, and a gap there is one gap.
            findings.extend(
                report.findings.into_iter().filter(|f| !findings.contains(f)).collect::<Vec<_>>(),
            );
        }
        let mut assets: Vec<_> = assets.into_values().collect();
        let unseen = parts::add_missing_assets(policy, &mut assets, |_| true);
        failed |= !unseen.is_empty();
        findings.extend(unseen);
        // What another function finds of an asset belongs to how that asset stands.
        for finding in &findings {
            assets
                .iter_mut()
                .filter(|s| concerns_asset(finding, s))
                .for_each(|s| s.add_finding(finding));
        }
        let policy = policy.company.to_string();
        let mut status = Self {
            policy,
            observed_at: at,
            has_critical: failed,
            counts: StatusCounts::default(),
            assets,
            findings,
        };
        status.sort_and_count();
        status
    }

    /// Adds a finding of no asset.
    pub(super) fn push_finding(&mut self, finding: Finding) {
        self.has_critical |= finding.severity == Severity::Critical;
        self.findings.push(finding);
        self.sort_and_count();
    }

    /// Sorts and counts.
    fn sort_and_count(&mut self) {
        self.findings
            .sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.asset.cmp(&b.asset)));
        // Worst first, and what nobody can tell before what is well.
        self.assets.sort_by_key(|s| {
            (std::cmp::Reverse(s.max_severity), std::cmp::Reverse(s.coverage), s.group.clone())
        });
        let of = |is: fn(&&AssetStatus) -> bool| self.assets.iter().filter(is).count();
        let (ok, critical) = (of(|s| s.is_ok()), of(|s| s.status_label() == "CRITICAL"));
        let warning = of(|s| s.status_label() == "warning");
        let assets = self.assets.len();
        self.counts = StatusCounts {
            assets,
            ok,
            warning,
            critical,
            unknown: assets - ok - warning - critical,
        };
    }

    /// Findings that the table of assets does not show.
    fn global_findings(&self) -> impl Iterator<Item = &Finding> {
        let shown = |f: &Finding| {
            let same =
                |s: &AssetStatus| concerns_asset(f, s) || (f.group.is_none() && s.asset == f.asset);
            self.assets.iter().any(same)
        };
        self.findings.iter().filter(move |f| f.severity > Severity::Info && !shown(f))
    }

    /// What to do about the assets, each thing once.
    fn recommendations(&self) -> Vec<String> {
        let fleet: Vec<_> = self.global_findings().collect();
        let mut mends: Vec<(&str, Vec<&str>)> = Vec::new();
        for f in self.findings.iter().filter(|f| f.severity > Severity::Info && !f.hint.is_empty())
        {
            if fleet.contains(&f) {
                continue;
            }
            match mends.iter_mut().find(|(hint, _)| *hint == f.hint) {
                Some((_, of)) if of.contains(&f.asset.as_str()) => {}
                Some((_, of)) => of.push(&f.asset),
                None => mends.push((&f.hint, vec![&f.asset])),
            }
        }
        mends
            .into_iter()
            .map(|(hint, of)| escape_control_chars(&format!("  {}: {hint}", of.join(", "))))
            .collect()
    }
}

impl CommandOutput for StatusOutput {
    fn render_text(&self, look: TerminalStyle) -> String {
        let mut parts = Vec::new();
        if !self.assets.is_empty() {
            let head = [
                "asset",
                "group",
                "newest point",
                "size",
                "age",
                "allowed",
                "offsite age",
                "proof",
                "verdict",
                "why",
            ];
            parts.push(look.render_table(&head, self.assets.iter().map(asset_row)));
        }
        let fleet: Vec<_> = self.global_findings().map(words::format_finding).collect();
        if !fleet.is_empty() {
            parts.push(fleet.join("\n"));
        }
        let mends = self.recommendations();
        if !mends.is_empty() {
            parts.push(format!("what to do:\n{}", mends.join("\n")));
        }
        let StatusCounts { assets, ok, warning, critical, unknown } = self.counts;
        let unknown =
            if unknown > 0 { format!(", {unknown} that nobody watches") } else { String::new() };
        parts.push(format!(
            "{} at {} UTC: {}: {ok} ok, {}, {critical} critical{unknown}; {}",
            self.policy,
            words::format_time(self.observed_at),
            pluralize(assets, "asset", "assets"),
            pluralize(warning, "warning", "warnings"),
            pluralize(fleet.len(), "finding of no single asset", "findings of no single asset"),
        ));
        parts.join("\n\n")
    }
}

fn asset_row(s: &AssetStatus) -> Vec<String> {
    let nothing = |wanted: bool| if wanted { "none" } else { PLACEHOLDER }.to_owned();
    vec![
        s.asset.clone(),
        s.group.clone(),
        s.newest_point.clone().unwrap_or_else(|| nothing(s.max_age_seconds.is_some())),
        s.size_bytes.map_or_else(|| PLACEHOLDER.to_owned(), format_size),
        s.age_seconds.map_or_else(|| PLACEHOLDER.to_owned(), format_age),
        match s.max_age_seconds {
            Some(max) if s.max_age_derived => format!("{} (derived)", format_age(max)),
            Some(max) => format_age(max),
            None => PLACEHOLDER.to_owned(),
        },
        // A replicated bucket is wanted offsite and has no single copy whose age could be told.
        s.offsite_age_seconds
            .map_or_else(|| nothing(s.offsite_wanted && s.max_severity.is_some()), format_age),
        // A drill restores it, or none does.
        s.proof_age_seconds.map_or_else(
            || if s.proof_wanted { "never" } else { PLACEHOLDER }.to_owned(),
            format_age,
        ),
        s.status_label().to_owned(),
        s.messages.join("\n"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::plan::FindingCode;
    use shared::report::AssetCoverage;

    fn standing(group: &str, asset: &str, worst: Option<Severity>, why: &[&str]) -> AssetStatus {
        AssetStatus {
            asset: asset.into(),
            group: group.into(),
            newest_point: Some(format!("{asset}-daily-202611200200")),
            age_seconds: Some(36_300),
            max_age_seconds: Some(90_000),
            size_bytes: Some(20 << 30),
            offsite_wanted: true,
            coverage: AssetCoverage::Watched,
            max_severity: worst,
            messages: why.iter().map(ToString::to_string).collect(),
            ..AssetStatus::new("", "")
        }
    }

    fn policy(yaml: &str) -> Policy {
        let home =
            "holdfast: 1\ncompany: acme\nhome: { account: \"111122223333\", region: eu-west-1 }\n";
        Policy::parse(&format!("{home}{yaml}")).unwrap_or_else(|faults| panic!("{faults}"))
    }

    const FLEET: &str =
        "databases: { fleet: { select: { identifiers: [auth, orders, users] } } }\n";

    fn report(
        function: &'static str,
        assets: Vec<AssetStatus>,
        findings: Vec<Finding>,
    ) -> RunReport {
        RunReport {
            function,
            policy: "acme".into(),
            run_id: "r".into(),
            started_at: Timestamp::UNIX_EPOCH,
            seconds: 0.0,
            complete: true,
            dry_run: true,
            failed: true,
            findings,
            outcomes: Vec::new(),
            assets,
            values: Vec::new(),
        }
    }

    #[test]
    fn the_worst_stands_first_two_looks_at_one_asset_are_one_row_and_nothing_is_left_out() {
        let critical = Some(Severity::Critical);
        let run = "run `holdfast run snapshot`";
        let stale = |a: &str| {
            Finding::new(Severity::Critical, a, FindingCode::BackupStale, "it is 2d old", run)
                .in_group("fleet")
        };
        let gap = Finding::new(
            Severity::Critical,
            "us-east-1 in 1",
            FindingCode::ObservationFailed,
            "describe: denied",
            "allow it",
        );
        let fresh = report(
            "freshness",
            vec![
                standing("fleet", "auth", None, &[]),
                standing("fleet", "orders", critical, &["it is 2d old"]),
                standing("fleet", "users", critical, &["it is 2d old"]),
            ],
            vec![gap.clone(), stale("orders"), stale("users")],
        );
        let mut behind =
            standing("fleet", "auth", Some(Severity::Warning), &["its replica is 20m behind"]);
        behind.offsite_age_seconds = Some(40_000);
        let replica = Finding::new(
            Severity::Warning,
            "auth",
            FindingCode::ReplicationLag,
            "its replica is 20m behind",
            "look",
        )
        .in_group("fleet");
        let replication = report("replication", vec![behind], vec![gap, replica]);
        let at = "2026-11-20T12:05:00Z".parse().expect("a time");
        let status = StatusOutput::new(&policy(FLEET), at, vec![fresh, replication]);
        insta::assert_snapshot!(status.render_text(TerminalStyle::default()), @"
        ASSET   GROUP  NEWEST POINT               SIZE    AGE     ALLOWED  OFFSITE AGE  PROOF  VERDICT   WHY
        orders  fleet  orders-daily-202611200200  20 GiB  10h 5m  1d 1h    none         -      CRITICAL  it is 2d old
        users   fleet  users-daily-202611200200   20 GiB  10h 5m  1d 1h    none         -      CRITICAL  it is 2d old
        auth    fleet  auth-daily-202611200200    20 GiB  10h 5m  1d 1h    11h 6m       -      warning   its replica is 20m behind

        CRITICAL us-east-1 in 1 (observation-failed): describe: denied
            do: allow it

        what to do:
          orders, users: run `holdfast run snapshot`
          auth: look

        acme at 2026-11-20 12:05 UTC: 3 assets: 0 ok, 1 warning, 2 critical; 1 finding of no single asset
        ");
    }

    #[test]
    fn what_no_function_speaks_of_is_a_row_and_never_ok() {
        let policy = policy(
            "destinations: { azure: { azure: { account: a, container: c } } }\nbuckets: { media: { bucket: acme-media, copies: [{ to: azure, max_age: 24h }] } }\n",
        );
        let status = StatusOutput::new(&policy, Timestamp::UNIX_EPOCH, Vec::new());
        assert!(status.has_critical);
        insta::assert_snapshot!(status.render_text(TerminalStyle::default()), @"
        ASSET       GROUP  NEWEST POINT  SIZE  AGE  ALLOWED  OFFSITE AGE  PROOF  VERDICT   WHY
        acme-media  media  -             -     -    -        -            -      CRITICAL  nothing could be observed of it

        what to do:
          acme-media: see what could not be observed; run `holdfast status` where it can be reached

        acme at 1970-01-01 00:00 UTC: 1 asset: 0 ok, 0 warnings, 1 critical; 0 findings of no single asset
        ");
    }

    #[test]
    fn what_dump_finds_of_a_database_belongs_to_its_row_and_a_part_without_a_function_is_none_ok() {
        let policy = policy(
            "postgres: { main: { databases: [shop], storage: { directory: /b }, dumps: { daily: { keep: { for: 7d } } }, wal: { storage: { directory: /w }, keep: 7d } } }\n",
        );
        let key = Finding::new(
            Severity::Critical,
            "main/shop",
            FindingCode::NoKey,
            "no passphrase",
            "write it",
        )
        .in_group("main");
        let mut wal = standing("main", "postgres.main.wal", None, &[]);
        wal.add_finding(&Finding::new(
            Severity::Critical,
            "postgres.main.wal",
            FindingCode::WalNotArchived,
            "archive_mode is off",
            "",
        ));
        let fresh = report("freshness", vec![standing("main", "shop", None, &[]), wal], vec![]);
        let status = StatusOutput::new(
            &policy,
            Timestamp::UNIX_EPOCH,
            vec![fresh, report("dump", vec![], vec![key])],
        );
        let rows: Vec<_> =
            status.assets.iter().map(|s| (s.asset.as_str(), s.status_label())).collect();
        assert_eq!(rows, [("postgres.main.wal", "CRITICAL"), ("shop", "CRITICAL")]);
        assert_eq!(status.assets[1].messages, ["no passphrase"]);
    }
}

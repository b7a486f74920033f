//! `holdfast status`: how everything stands.

use crate::{
    look,
    output::Answer,
    session::Session,
    stop::Exit,
    table::Look,
    words::{self, NONE, age, count, plain, size, verdict},
};
use jiff::Timestamp;
use serde::Serialize;
use shared::{
    plan::{Finding, Severity},
    report::{Report, Standing},
};
use std::collections::{BTreeMap, btree_map::Entry};

/// Looks at everything and says how it stands.
pub(super) async fn run(session: &Session<'_>) -> anyhow::Result<Exit> {
    let world = session.look();
    let looks = look::everything(&world, None);
    let reports = session.progress.during("looking at everything", looks).await;
    look::something(&world, &reports)?;
    let status = Status::new(session.policy.company.to_string(), session.edge.now, reports);
    session.output.answer(&status)?;
    Ok(if status.failed { Exit::Failed } else { Exit::Well })
}

/// How everything stands.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    policy: String,
    at: Timestamp,
    /// Whether anything is critical.
    pub(super) failed: bool,
    counts: Counts,
    /// Worst first.
    pub(super) assets: Vec<Standing>,
    /// All of them, worst first, with what to do.
    pub(super) findings: Vec<Finding>,
}

#[derive(Debug, Default, Serialize)]
struct Counts {
    assets: usize,
    ok: usize,
    warning: usize,
    critical: usize,
}

impl Status {
    /// What these reports say together.
    pub(super) fn new(policy: String, at: Timestamp, reports: Vec<Report>) -> Self {
        let failed = reports.iter().any(|r| r.failed);
        let mut assets: BTreeMap<(String, String), Standing> = BTreeMap::new();
        let mut findings: Vec<Finding> = Vec::new();
        for report in reports {
            for standing in report.assets {
                match assets.entry((standing.group.clone(), standing.asset.clone())) {
                    Entry::Vacant(free) => drop(free.insert(standing)),
                    Entry::Occupied(mut held) => merge(held.get_mut(), standing),
                }
            }
            // Both functions look at RDS, and a gap there is one gap.
            findings.extend(
                report.findings.into_iter().filter(|f| !findings.contains(f)).collect::<Vec<_>>(),
            );
        }
        // What the copying function finds of an asset belongs to how that asset stands.
        for finding in findings.iter().filter(|f| f.severity > Severity::Info) {
            let key = finding.group.clone().map(|group| (group, finding.asset.clone()));
            if let Some(standing) = key.and_then(|key| assets.get_mut(&key)) {
                standing.worst = standing.worst.max(Some(finding.severity));
                if !standing.why.contains(&finding.why) {
                    standing.why.push(finding.why.clone());
                }
            }
        }
        findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.asset.cmp(&b.asset)));
        let mut assets: Vec<_> = assets.into_values().collect();
        assets.sort_by_key(|s| std::cmp::Reverse(s.worst));
        let of = |word| assets.iter().filter(|s| verdict(s.worst) == word).count();
        let counts = Counts {
            assets: assets.len(),
            ok: of("ok"),
            warning: of("warning"),
            critical: of("CRITICAL"),
        };
        Self { policy, at, failed, counts, assets, findings }
    }

    /// Findings that the table of assets does not show.
    fn fleet(&self) -> impl Iterator<Item = &Finding> {
        let shown = |f: &Finding| {
            let same =
                |s: &Standing| s.asset == f.asset && f.group.as_ref().is_none_or(|g| *g == s.group);
            self.assets.iter().any(same)
        };
        self.findings.iter().filter(move |f| f.severity > Severity::Info && !shown(f))
    }

    /// What to do about the assets, each thing once.
    fn mends(&self) -> Vec<String> {
        let fleet: Vec<_> = self.fleet().collect();
        let mut mends: Vec<(&str, Vec<&str>)> = Vec::new();
        for f in self.findings.iter().filter(|f| f.severity > Severity::Info && !f.mend.is_empty())
        {
            if fleet.contains(&f) {
                continue;
            }
            match mends.iter_mut().find(|(mend, _)| *mend == f.mend) {
                Some((_, of)) if of.contains(&f.asset.as_str()) => {}
                Some((_, of)) => of.push(&f.asset),
                None => mends.push((&f.mend, vec![&f.asset])),
            }
        }
        mends.into_iter().map(|(mend, of)| plain(&format!("  {}: {mend}", of.join(", ")))).collect()
    }
}

/// One asset, as two functions see it.
fn merge(held: &mut Standing, other: Standing) {
    held.newest = held.newest.take().or(other.newest);
    held.age_seconds = held.age_seconds.or(other.age_seconds);
    held.max_age_seconds = held.max_age_seconds.or(other.max_age_seconds);
    held.size_bytes = held.size_bytes.or(other.size_bytes);
    held.offsite_age_seconds = held.offsite_age_seconds.max(other.offsite_age_seconds);
    held.offsite_wanted |= other.offsite_wanted;
    held.worst = held.worst.max(other.worst);
    held.why.extend(other.why.into_iter().filter(|w| !held.why.contains(w)).collect::<Vec<_>>());
}

impl Answer for Status {
    fn text(&self, look: Look) -> String {
        let mut parts = Vec::new();
        if !self.assets.is_empty() {
            let head =
                ["asset", "group", "newest point", "size", "age", "offsite age", "verdict", "why"];
            parts.push(look.table(&head, self.assets.iter().map(row)));
        }
        let fleet: Vec<_> = self.fleet().map(words::finding).collect();
        if !fleet.is_empty() {
            parts.push(fleet.join("\n"));
        }
        let mends = self.mends();
        if !mends.is_empty() {
            parts.push(format!("what to do:\n{}", mends.join("\n")));
        }
        let Counts { assets, ok, warning, critical } = self.counts;
        parts.push(format!(
            "{} at {} UTC: {}: {ok} ok, {}, {critical} critical; {}",
            self.policy,
            words::time(self.at),
            count(assets, "asset", "assets"),
            count(warning, "warning", "warnings"),
            count(fleet.len(), "finding of no single asset", "findings of no single asset"),
        ));
        parts.join("\n\n")
    }
}

fn row(s: &Standing) -> Vec<String> {
    let nothing = |wanted: bool| if wanted { "none" } else { NONE }.to_owned();
    vec![
        s.asset.clone(),
        s.group.clone(),
        s.newest.clone().unwrap_or_else(|| nothing(s.max_age_seconds.is_some())),
        s.size_bytes.map_or_else(|| NONE.to_owned(), size),
        s.age_seconds.map_or_else(|| NONE.to_owned(), age),
        // A replicated bucket is wanted offsite and has no single copy whose age could be told.
        s.offsite_age_seconds.map_or_else(|| nothing(s.offsite_wanted && s.worst.is_some()), age),
        verdict(s.worst).to_owned(),
        s.why.join("\n"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(group: &str, asset: &str, worst: Option<Severity>, why: &[&str]) -> Standing {
        Standing {
            asset: asset.into(),
            group: group.into(),
            newest: Some(format!("{asset}-daily-202611200200")),
            age_seconds: Some(36_300),
            max_age_seconds: Some(90_000),
            size_bytes: Some(20 << 30),
            offsite_age_seconds: None,
            offsite_wanted: true,
            worst,
            why: why.iter().map(ToString::to_string).collect(),
        }
    }

    fn report(function: &'static str, assets: Vec<Standing>, findings: Vec<Finding>) -> Report {
        Report {
            function,
            policy: "acme".into(),
            run: "r".into(),
            at: Timestamp::UNIX_EPOCH,
            seconds: 0.0,
            whole: true,
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
            Finding::new(Severity::Critical, a, "stale", "it is 2d old", run).in_group("fleet")
        };
        let gap = Finding::new(
            Severity::Critical,
            "us-east-1 in 1",
            "gap",
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
        let replica =
            Finding::new(Severity::Warning, "auth", "lag", "its replica is 20m behind", "look")
                .in_group("fleet");
        let replication = report("replication", vec![behind], vec![gap, replica]);
        let at = "2026-11-20T12:05:00Z".parse().expect("a time");
        let status = Status::new("acme".into(), at, vec![fresh, replication]);
        insta::assert_snapshot!(status.text(Look::default()), @"
        ASSET   GROUP  NEWEST POINT               SIZE    AGE     OFFSITE AGE  VERDICT   WHY
        orders  fleet  orders-daily-202611200200  20 GiB  10h 5m  none         CRITICAL  it is 2d old
        users   fleet  users-daily-202611200200   20 GiB  10h 5m  none         CRITICAL  it is 2d old
        auth    fleet  auth-daily-202611200200    20 GiB  10h 5m  11h 6m       warning   its replica is 20m behind

        CRITICAL us-east-1 in 1 (gap): describe: denied
            do: allow it

        what to do:
          orders, users: run `holdfast run snapshot`
          auth: look

        acme at 2026-11-20 12:05 UTC: 3 assets: 0 ok, 1 warning, 2 critical; 1 finding of no single asset
        ");
    }
}

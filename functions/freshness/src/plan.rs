//! How every asset stands against its objectives. Pure: no I/O and no clock.

mod databases;
mod settings;
mod stored;

pub use settings::Mend;
pub use stored::{Stored, StoredPoint, stored};

use jiff::{SignedDuration, Timestamp};
use shared::{
    catalog::{Gap, Place, Seen},
    metrics::{Metric, Value, worst},
    observe::{Selection, selection},
    plan::{Finding, Plan, Severity},
    policy::{Databases, Policy},
    report::Standing,
};
use std::collections::{BTreeMap, BTreeSet};

/// Everything that was looked at.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Databases and snapshots, at home and at destinations.
    pub rds: Seen,
    /// Earliest restorable time of each instance with automated backups, if RDS tells one; none when RDS was not asked.
    pub earliest: Option<BTreeMap<String, Option<Timestamp>>>,
    /// What lies as objects, an entry for each asset.
    pub stored: Vec<Stored>,
    /// Stores that could not be read.
    pub gaps: Vec<Gap>,
}

/// How an asset stands, with what is published of it.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    pub(crate) standing: Standing,
    pub(crate) findings: Vec<Finding>,
    pub(crate) mends: Vec<(Mend, String)>,
    pub(crate) drift: usize,
    pub(crate) restorable_lag: Option<SignedDuration>,
    /// Whether a restore window is asked of it; a lag that is missing then is not a small one.
    pub(crate) window_wanted: bool,
}

impl Judged {
    fn new(group: &str, asset: &str) -> Self {
        let standing = Standing {
            asset: asset.to_owned(),
            group: group.to_owned(),
            newest: None,
            age_seconds: None,
            max_age_seconds: None,
            size_bytes: None,
            offsite_age_seconds: None,
            offsite_wanted: false,
            worst: None,
            why: Vec::new(),
        };
        Self {
            standing,
            findings: Vec::new(),
            mends: Vec::new(),
            drift: 0,
            restorable_lag: None,
            window_wanted: false,
        }
    }

    fn find(
        &mut self,
        severity: Severity,
        what: &'static str,
        why: impl Into<String>,
        mend: impl Into<String>,
    ) {
        let finding = Finding::new(severity, &self.standing.asset, what, why, mend);
        self.findings.push(finding.in_group(&self.standing.group));
    }

    /// A critical finding.
    fn bad(&mut self, what: &'static str, why: impl Into<String>, mend: impl Into<String>) {
        self.find(Severity::Critical, what, why, mend);
    }
}

/// What a plan comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// What is mended, where the policy says so, and every finding.
    pub plan: Plan<Mend>,
    /// How each asset stands.
    pub assets: Vec<Standing>,
    /// Values to publish.
    pub values: Vec<Value>,
}

/// Judges every asset at `now`.
pub fn plan(policy: &Policy, facts: &Facts, now: Timestamp) -> Verdict {
    let gaps: Vec<_> = facts.rds.gaps.iter().chain(&facts.gaps).collect();
    let mut judged = Vec::new();
    let mut out = Verdict::default();
    out.plan.findings.extend(gaps.iter().map(|g| Finding::gap(g)));
    let mut unprotected = None;
    let mut selected_findings = Vec::new();
    if let Some(home) = facts.rds.at(&Place::home(policy)) {
        let selected = selection(policy, &home.databases);
        judged.extend(databases::judge(policy, facts, &selected, now));
        unprotected = Some(find_unprotected(&mut out, &selected));
        selected_findings = selected.findings;
    }
    judged.extend(facts.stored.iter().map(|s| stored::judge(policy, s, now)));
    publish(policy, &mut out, &judged, &selected_findings, unprotected, !gaps.is_empty());
    out.plan.findings.extend(selected_findings);
    for mut one in judged {
        one.standing.worst =
            one.findings.iter().map(|f| f.severity).max().filter(|s| *s > Severity::Info);
        let telling = one.findings.iter().filter(|f| f.severity > Severity::Info);
        one.standing.why = telling.map(|f| f.why.clone()).collect();
        for (mend, because) in one.mends {
            out.plan.step(&one.standing.asset, mend, because);
        }
        out.plan.findings.extend(one.findings);
        out.assets.push(one.standing);
    }
    out
}

fn find_unprotected(out: &mut Verdict, selected: &Selection<'_>) -> usize {
    for database in &selected.unprotected {
        let why = "no group of the policy selects it, so nothing backs it up";
        let mend = "select it in a group, or name it under except";
        out.plan.findings.push(Finding::new(
            Severity::Critical,
            &database.id,
            "unprotected",
            why,
            mend,
        ));
    }
    selected.unprotected.len()
}

/// Assets that fail are counted for each group and for the policy; what could not be seen fails everything's count, since
/// a gap is no proof of health.
fn publish(
    policy: &Policy,
    out: &mut Verdict,
    judged: &[Judged],
    selected: &[Finding],
    unprotected: Option<usize>,
    gap: bool,
) {
    let standing = |j: &Judged| (j.standing.group.clone(), j.standing.asset.clone());
    let names: Vec<_> = judged.iter().map(standing).collect();
    // Groups with databases that should be there and were not judged: missing, too few, or all of them unseen. They have
    // no value, so that what is left of the group does not speak for it.
    let lacking: BTreeMap<String, &Databases> = (policy.databases.iter())
        .map(|(name, group)| (name.to_string(), group))
        .filter(|(name, _)| {
            let lacks =
                |f: &Finding| f.severity == Severity::Critical && f.group.as_ref() == Some(name);
            unprotected.is_none() || selected.iter().any(lacks)
        })
        .collect();
    let of = |metric,
              value: fn(&Judged) -> Option<f64>,
              only: fn(&Judged) -> bool,
              asks: fn(&Databases) -> bool| {
        let rows = judged.iter().zip(&names).filter(|(j, _)| only(j));
        let rows = rows.map(|(j, (group, asset))| (group.as_str(), asset.as_str(), value(j)));
        let lacking =
            lacking.iter().filter(|(_, g)| asks(g)).map(|(name, _)| (name.as_str(), "", None));
        worst(metric, rows.chain(lacking))
    };
    out.values.extend(of(
        Metric::PointAge,
        |j| seconds(j.standing.age_seconds),
        |_| true,
        |_| true,
    ));
    out.values.extend(of(
        Metric::OffsiteAge,
        |j| seconds(j.standing.offsite_age_seconds),
        |j| j.standing.offsite_wanted,
        |g| !g.copies.is_empty(),
    ));
    let sizes = judged.iter().zip(&names).filter_map(|(j, (group, asset))| {
        Some(Value::of_asset(Metric::PointSize, group, asset, seconds(j.standing.size_bytes)?))
    });
    out.values.extend(sizes);
    out.values.extend(of(
        Metric::RestorableLag,
        |j| j.restorable_lag.map(|l| l.as_secs_f64().max(0.0)),
        |j| j.window_wanted || j.restorable_lag.is_some(),
        |g| g.automated_backups.is_some(),
    ));

    let mut failing: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for group in
        policy.databases.keys().map(ToString::to_string).chain(names.iter().map(|n| n.0.clone()))
    {
        failing.entry(group).or_default();
    }
    let critical = judged.iter().flat_map(|j| &j.findings).chain(selected);
    for finding in critical.filter(|f| f.severity == Severity::Critical) {
        if let Some(group) = &finding.group {
            failing.entry(group.clone()).or_default().insert(&finding.asset);
        }
    }
    let blind = usize::from(gap);
    let mut all = blind + unprotected.unwrap_or(0);
    for (group, assets) in &failing {
        all += assets.len();
        out.values.push(Value::of_group(Metric::FailingAssets, group, count(assets.len() + blind)));
    }
    out.values.push(Value::of_policy(Metric::FailingAssets, count(all)));
    let mut drift: BTreeMap<&str, usize> = BTreeMap::new();
    for j in judged {
        *drift.entry(&j.standing.group).or_default() += j.drift;
    }
    out.values
        .extend(drift.iter().map(|(g, n)| Value::of_group(Metric::SettingsDrift, g, count(*n))));
    // Settings that were not seen are not right.
    out.values.extend(
        unprotected.map(|_| Value::of_policy(Metric::SettingsDrift, count(drift.values().sum()))),
    );
    out.values
        .extend(unprotected.map(|n| Value::of_policy(Metric::UnprotectedDatabases, count(n))));
}

#[expect(clippy::cast_precision_loss, reason = "ages and sizes are far below 2^52")]
fn seconds(n: Option<i64>) -> Option<f64> {
    n.map(|n| n as f64)
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn count(n: usize) -> f64 {
    n as f64
}

/// Clocks of AWS and of a host may differ by this much before a point counts as one from the future.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// The age of data, never negative; none when it is from the future, which proves nothing.
fn age(at: Timestamp, now: Timestamp) -> Option<SignedDuration> {
    let age = now.duration_since(at);
    (age >= -SKEW).then(|| age.max(SignedDuration::ZERO))
}

#[cfg(test)]
mod tests;

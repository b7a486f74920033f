//! What is published of everything that was judged.

use super::{FreshnessEvaluation, FreshnessPlan, places::DiskUsage};
use shared::{
    metrics::{Metric, MetricValue, aggregate_max},
    plan::{Finding, Severity},
    policy::{DatabaseGroup, Policy},
};
use std::collections::{BTreeMap, BTreeSet};

/// Assets that fail are counted for each group and for the policy; what could not be seen fails everything's count, since
/// a gap is no proof of health.
pub(super) fn collect_metrics(
    policy: &Policy,
    out: &mut FreshnessPlan,
    judged: &[FreshnessEvaluation],
    selected: &[Finding],
    unprotected: Option<usize>,
    gap: bool,
) {
    let standing = |j: &FreshnessEvaluation| (j.standing.group.clone(), j.standing.asset.clone());
    let names: Vec<_> = judged.iter().map(standing).collect();
    // Groups with databases that should be there and were not judged: missing, too few, or all of them unseen. They have
    // no value, so that what is left of the group does not speak for it.
    let lacking: BTreeMap<String, &DatabaseGroup> = (policy.databases.iter())
        .map(|(name, group)| (name.to_string(), group))
        .filter(|(name, _)| {
            let lacks =
                |f: &Finding| f.severity == Severity::Critical && f.group.as_ref() == Some(name);
            unprotected.is_none() || selected.iter().any(lacks)
        })
        .collect();
    let of = |metric,
              value: fn(&FreshnessEvaluation) -> Option<f64>,
              only: fn(&FreshnessEvaluation) -> bool,
              asks: fn(&DatabaseGroup) -> bool| {
        let rows = judged.iter().zip(&names).filter(|(j, _)| only(j));
        let rows = rows.map(|(j, (group, asset))| (group.as_str(), asset.as_str(), value(j)));
        let lacking =
            lacking.iter().filter(|(_, g)| asks(g)).map(|(name, _)| (name.as_str(), "", None));
        aggregate_max(metric, rows.chain(lacking))
    };
    out.values.extend(of(
        Metric::BackupAge,
        |j| optional_seconds(j.standing.age_seconds),
        |_| true,
        |_| true,
    ));
    out.values.extend(of(
        Metric::OffsiteCopyAge,
        |j| optional_seconds(j.standing.offsite_age_seconds),
        |j| j.standing.offsite_wanted,
        |g| !g.copies.is_empty(),
    ));
    let sizes = judged.iter().zip(&names).filter_map(|(j, (group, asset))| {
        Some(MetricValue::for_asset(
            Metric::BackupSize,
            group,
            asset,
            optional_seconds(j.standing.size_bytes)?,
        ))
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
        out.values.push(MetricValue::for_group(
            Metric::FailingAssets,
            group,
            count(assets.len() + blind),
        ));
    }
    out.values.push(MetricValue::for_policy(Metric::FailingAssets, count(all)));
    let mut drift: BTreeMap<&str, usize> = BTreeMap::new();
    for j in judged {
        *drift.entry(&j.standing.group).or_default() += j.drift;
    }
    out.values.extend(
        drift.iter().map(|(g, n)| MetricValue::for_group(Metric::SettingsDrift, g, count(*n))),
    );
    // Settings that were not seen are not right.
    out.values.extend(
        unprotected
            .map(|_| MetricValue::for_policy(Metric::SettingsDrift, count(drift.values().sum()))),
    );
    out.values.extend(
        unprotected.map(|n| MetricValue::for_policy(Metric::UnprotectedDatabases, count(n))),
    );
}

#[expect(clippy::cast_precision_loss, reason = "ages and sizes are far below 2^52")]
fn optional_seconds(n: Option<i64>) -> Option<f64> {
    n.map(|n| n as f64)
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn count(n: usize) -> f64 {
    n as f64
}

/// Points counted, sizes against those before, free disks: what no alarm takes the absence of for a fault.
pub(super) fn collect_extra_metrics(
    out: &mut FreshnessPlan,
    judged: &[FreshnessEvaluation],
    disks: &DiskUsage,
) {
    let mut points: BTreeMap<&str, usize> = BTreeMap::new();
    let mut change: BTreeMap<&str, f64> = BTreeMap::new();
    for j in judged {
        let (group, asset) = (j.standing.group.as_str(), &j.standing.asset);
        if let Some(n) = j.points {
            *points.entry(group).or_default() += n;
            out.values.push(MetricValue::for_asset(Metric::Points, group, asset, count(n)));
        }
        // Much too large is as telling as much too small.
        if let Some(percent) = j.max_size_deviation.map(|share| share.abs() * 100.0) {
            let worst = change.entry(group).or_default();
            *worst = worst.max(percent);
            out.values.push(MetricValue::for_asset(Metric::SizeDeviation, group, asset, percent));
        }
    }
    let all = |metric, of: Vec<(&str, f64)>, total: Option<f64>| {
        let groups = of.into_iter().map(move |(g, v)| MetricValue::for_group(metric, g, v));
        groups.chain(total.map(|v| MetricValue::for_policy(metric, v))).collect::<Vec<_>>()
    };
    let total = (!points.is_empty()).then(|| count(points.values().sum()));
    out.values.extend(all(
        Metric::Points,
        points.into_iter().map(|(g, n)| (g, count(n))).collect(),
        total,
    ));
    let most = change.values().copied().reduce(f64::max);
    out.values.extend(all(Metric::SizeDeviation, change.into_iter().collect(), most));
    #[expect(clippy::cast_precision_loss, reason = "disks are far below 2^52")]
    let free: Vec<_> = disks.least.iter().map(|(g, n)| (g.as_str(), *n as f64)).collect();
    let least = free.iter().map(|(_, n)| *n).reduce(f64::min);
    out.values.extend(all(Metric::DiskFree, free, least));
}

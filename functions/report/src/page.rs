//! The page from what was seen. Pure: policy, facts and `now` in; the same page out.

mod asset;
mod money;
mod past;
mod points;
mod review;
pub(crate) mod words;

use crate::{
    facts::{AssetStorage, ReportInput},
    model::{
        AlarmStatus, AssetReport, CostLine, HealthState, PageSummary, QuotaUsage,
        RecommendedAction, StatusPageData, SuccessRate,
    },
    prices::PriceTable,
};
use jiff::{SignedDuration, Timestamp};
use money::CostCalculator;
use shared::{
    metrics::{Metric, MetricValue},
    plan::{Finding, FindingCode, Severity},
    policy::{Policy, QuotaScope, ScheduleConfig},
    time::CronSchedule,
};
use std::collections::BTreeMap;

/// Version of the form of `report.json`.
pub const PAGE_VERSION: u32 = 1;
/// Group of what is stored and is no asset's.
pub const UNOWNED: &str = "";

/// What a run comes to: the page, what it found itself, and what it publishes.
#[derive(Clone, Debug)]
pub struct PageOutput {
    /// The page.
    pub page: StatusPageData,
    /// Findings about costs, quota, success and places that no other function looks at.
    pub findings: Vec<Finding>,
    /// Values to publish.
    pub values: Vec<MetricValue>,
}

/// Makes the page.
pub fn build_page(policy: &Policy, facts: &ReportInput, now: Timestamp) -> PageOutput {
    let past = past::AuditHistory::new(&facts.trail);
    let rules = asset::group_rules(policy, now);
    let home = policy.home.as_ref().map(|h| h.region.to_string());
    let mut ledger = CostCalculator::new(PriceTable::new(policy.costs.as_ref()), now, home);
    let look = asset::AssetContext { facts, past: &past, now };
    let (mut assets, mut judged) = (Vec::new(), Vec::new());
    let (nothing, no_rule) = (AssetStorage::default(), asset::GroupRules::default());
    let (all, unseen) = asset::assets_with_status(policy, facts);
    judged.extend(unseen);
    for (key, standing) in all {
        let held = facts.storage.get(&key).unwrap_or(&nothing);
        let rule = rules.get(key.group.as_str()).unwrap_or(&no_rule);
        let line = ledger.add_asset(facts, held, rule.dense, true);
        let (asset, found) = look.build_asset(&key, standing, held, rule, line);
        assets.push(asset);
        judged.extend(found);
    }
    for (_, held) in facts.storage.iter().filter(|(k, _)| k.group == UNOWNED) {
        ledger.add_asset(facts, held, 0, false);
    }
    assets.sort_by(|a, b| b.state.cmp(&a.state).then_with(|| a.group.cmp(&b.group)));
    let costs = ledger.into_summary(facts.pages);
    let quota = quota_usage(policy, &costs);
    let success = past::success_rate(&facts.trail, now);
    let mut own = own_findings(policy, facts, &costs, quota.as_ref(), success.as_ref(), now);
    own.extend(judged);
    let mut findings = facts.findings.clone();
    findings.extend(own.iter().cloned());
    findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.asset.cmp(&b.asset)));
    findings.dedup();
    let mut values = page_metrics(&assets, &costs, quota.as_ref(), success.as_ref());
    let groups = assets.iter().map(|a| (a.asset.as_str(), a.group.as_str())).collect();
    values.extend(past::audit_metrics(&facts.trail, &groups, now));
    let page = StatusPageData {
        version: PAGE_VERSION,
        policy: policy.company.to_string(),
        at: now,
        summary: build_summary(facts, &assets, &findings, &costs.total),
        recommendations: recommended_actions(&findings),
        assets,
        findings,
        unobserved: facts.unobserved_locations.clone(),
        host_directories: facts.host_directories.clone(),
        costs,
        quota,
        success,
        verifications: past::verification_records(&facts.trail),
        alarms: alarm_statuses(policy, facts),
        audit: past::audit_status(&facts.trail),
    };
    PageOutput { page, findings: own, values }
}

fn build_summary(
    facts: &ReportInput,
    assets: &[AssetReport],
    findings: &[Finding],
    total: &CostLine,
) -> PageSummary {
    let of = |state| assets.iter().filter(|a| a.state == state).count();
    let newest = assets.iter().filter_map(|a| Some((a, a.newest.as_ref()?)));
    let newest = newest.max_by_key(|(_, n)| n.at);
    let worst = assets.iter().map(|a| a.state).max().unwrap_or(HealthState::Unknown);
    let fleet = findings.iter().map(|f| f.severity).max().map_or(HealthState::Ok, |s| match s {
        Severity::Critical => HealthState::Critical,
        Severity::Warning => HealthState::Warning,
        Severity::Info => HealthState::Ok,
    });
    PageSummary {
        state: worst.max(fleet).max(if facts.unobserved_locations.is_empty() {
            HealthState::Ok
        } else {
            HealthState::Unknown
        }),
        headline: words::summary_sentence(
            assets,
            findings,
            facts.unobserved_locations.len(),
            facts.host_directories.len(),
        ),
        assets: assets.len(),
        ok: of(HealthState::Ok),
        warning: of(HealthState::Warning),
        unknown: of(HealthState::Unknown),
        critical: of(HealthState::Critical),
        newest: newest.map(|(_, n)| n.clone()),
        newest_asset: newest.map(|(a, _)| a.asset.clone()),
        points: assets.iter().map(|a| a.points).sum(),
        bytes: total.bytes,
    }
}

/// Each thing to do once, the worst first, with all that it is for.
fn recommended_actions(findings: &[Finding]) -> Vec<RecommendedAction> {
    let mut mends: Vec<RecommendedAction> = Vec::new();
    let mut at: BTreeMap<&str, usize> = BTreeMap::new();
    // What could not be seen has a part of the page of its own.
    let told = |f: &&Finding| {
        f.severity > Severity::Info
            && !f.hint.is_empty()
            && f.code != FindingCode::ObservationFailed
    };
    for f in findings.iter().filter(told) {
        let i = *at.entry(&f.hint).or_insert_with(|| {
            let (hint, why) = (f.hint.clone(), f.message.clone());
            mends.push(RecommendedAction {
                hint,
                severity: f.severity,
                assets: Vec::new(),
                message: why,
            });
            mends.len() - 1
        });
        if !mends[i].assets.contains(&f.asset) {
            mends[i].assets.push(f.asset.clone());
        }
    }
    mends
}

fn alarm_statuses(policy: &Policy, facts: &ReportInput) -> Option<Vec<AlarmStatus>> {
    let found = facts.alarms.as_ref()?;
    let alarm = |name: &String| {
        let state = found.iter().find(|f| f.name == *name);
        AlarmStatus {
            name: name.clone(),
            state: state.map_or_else(|| "MISSING".to_owned(), |s| s.state.clone()),
            since: state.and_then(|s| s.since),
        }
    };
    let mut all: Vec<AlarmStatus> = policy.alarms.keys().map(alarm).collect();
    all.sort_by_key(|a| a.state == "OK");
    Some(all)
}

#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn quota_usage(policy: &Policy, costs: &crate::model::CostSummary) -> Option<QuotaUsage> {
    let (quota, warn_at, critical_at) = PriceTable::new(policy.costs.as_ref()).quota_limits()?;
    let bytes = match policy.costs.as_ref().map(|c| c.quota_of).unwrap_or_default() {
        QuotaScope::All => costs.total.bytes,
        QuotaScope::Objects => {
            costs.classes.iter().filter(|c| !c.class.is_snapshot()).map(|c| c.line.bytes).sum()
        }
    };
    let used = bytes as f64 / (quota as f64).max(1.0);
    let state = match used {
        used if used >= critical_at => HealthState::Critical,
        used if used >= warn_at => HealthState::Warning,
        _ => HealthState::Ok,
    };
    Some(QuotaUsage { bytes, quota, used, warn_at, critical_at, state })
}

/// What only this function looks at.
fn own_findings(
    policy: &Policy,
    facts: &ReportInput,
    costs: &crate::model::CostSummary,
    quota: Option<&QuotaUsage>,
    success: Option<&SuccessRate>,
    now: Timestamp,
) -> Vec<Finding> {
    let company = policy.company.as_str();
    let mut found = Vec::new();
    found.extend(quota.and_then(|q| words::quota_finding(company, q, costs.total.at_most)));
    found.extend(words::budget_finding(company, costs));
    found.extend(success.and_then(|s| words::success_rate_finding(company, s)));
    let told = |place: &str| {
        facts.findings.iter().any(|f| f.code == FindingCode::ObservationFailed && f.asset == place)
    };
    for gap in facts.unobserved_locations.iter().filter(|g| !told(&g.location)) {
        let (why, hint) = (gap.message.clone(), gap.hint.clone());
        found.push(Finding::new(
            Severity::Warning,
            &gap.location,
            FindingCode::ObservationFailed,
            why,
            hint,
        ));
    }
    if let Some(cron) = policy.costs.as_ref().and_then(|c| c.report.as_ref()) {
        let when = ScheduleConfig { cron: cron.clone(), time_zone: None };
        let due = CronSchedule::new(&when, &policy.time_zone).last_due(now);
        // The function runs each hour, and a run may fail: each of a day carries it, and `notify` sends it once.
        if due.is_some_and(|d| now.duration_since(d) < SignedDuration::from_hours(24)) {
            let why = words::storage_report(costs, quota);
            found.push(Finding::new(Severity::Info, company, FindingCode::StorageReport, why, ""));
            found.extend(review::review_access(policy, &facts.trail, now));
        }
    }
    found
}

fn page_metrics(
    assets: &[AssetReport],
    costs: &crate::model::CostSummary,
    quota: Option<&QuotaUsage>,
    success: Option<&SuccessRate>,
) -> Vec<MetricValue> {
    let mut out = Vec::new();
    let mut groups: BTreeMap<&str, (u64, Option<f64>)> = BTreeMap::new();
    for asset in assets {
        let group = groups.entry(&asset.group).or_insert((0, Some(0.0)));
        group.0 += asset.bytes;
        // A cost that is not known whole is not published: a sum of what is known would look like less.
        let known = asset.cost.month.filter(|_| !asset.cost.at_least);
        group.1 = group.1.zip(known.or((asset.bytes == 0).then_some(0.0))).map(|(a, b)| a + b);
    }
    #[expect(clippy::cast_precision_loss, reason = "bytes of a fleet are far below 2^52")]
    for (group, (bytes, cost)) in &groups {
        out.push(MetricValue::for_group(Metric::StorageBytes, group, *bytes as f64));
        out.extend(cost.map(|c| MetricValue::for_group(Metric::StorageCost, group, c)));
    }
    #[expect(clippy::cast_precision_loss, reason = "bytes of a fleet are far below 2^52")]
    out.push(MetricValue::for_policy(Metric::StorageBytes, costs.total.bytes as f64));
    let cost = costs.total.month.filter(|_| !costs.total.at_least);
    out.extend(cost.map(|c| MetricValue::for_policy(Metric::StorageCost, c)));
    out.extend(quota.map(|q| MetricValue::for_policy(Metric::QuotaUsed, q.used * 100.0)));
    let rate = success.and_then(|s| s.rate);
    out.extend(rate.map(|r| MetricValue::for_policy(Metric::SuccessRate, r * 100.0)));
    let mut slowest: BTreeMap<&str, f64> = BTreeMap::new();
    for (group, took) in
        assets.iter().filter_map(|a| Some((a.group.as_str(), a.rto.newest_seconds?)))
    {
        let most = slowest.entry(group).or_insert(took);
        *most = most.max(took);
    }
    out.extend(slowest.iter().map(|(g, s)| MetricValue::for_group(Metric::RestoreDuration, g, *s)));
    let most = slowest.values().copied().reduce(f64::max);
    out.extend(most.map(|m| MetricValue::for_policy(Metric::RestoreDuration, m)));
    out
}

#[cfg(test)]
mod tests;

//! Manual snapshots against the account's quota: what the policy will hold, and the day on which there is no room.

use super::FreshnessObservations;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use shared::{
    aws::{OperationErrorKind, rds::ServiceQuota},
    catalog::{DatabaseKind, Location, RdsDatabase, RecoveryPoint},
    keep::reasons_to_keep,
    objective::schedule_interval,
    observe::DatabaseSelection,
    plan::{Finding, FindingCode, Severity},
    policy::{DatabaseGroup, Policy, RetentionRule, text::ReasonName},
};
use std::collections::{BTreeMap, BTreeSet};

const DAY: SignedDuration = SignedDuration::from_hours(24);
/// Slots that are looked at to see how many a rule keeps: 10 years of daily ones.
const MAX_SLOTS: i32 = 3660;
/// A quota that is reached within so many days is critical.
const CRITICAL_WITHIN_DAYS: i32 = 7;
/// So far ahead is looked.
const FORECAST_DAYS: i32 = 400;

/// Snapshots for one reason: how many there are, will be, and come a day.
#[derive(Clone, Copy, Debug)]
struct SnapshotForecast {
    now: u64,
    later: u64,
    a_day: f64,
}

impl SnapshotForecast {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small counts")]
    fn count_after(self, days: i32) -> u64 {
        let grown = self.now + (self.a_day * f64::from(days)).floor() as u64;
        grown.min(self.later.max(self.now.min(self.later)))
    }
}

/// What there is no room for, at each place and of each kind.
pub(super) fn evaluate_quotas(
    policy: &Policy,
    facts: &FreshnessObservations,
    selected: &DatabaseSelection<'_>,
    now: Timestamp,
) -> Vec<Finding> {
    let mut found = Vec::new();
    for (place, quotas) in &facts.quotas {
        let quotas = match quotas {
            Ok(quotas) => quotas,
            Err(e) => {
                let denied = e.kind == OperationErrorKind::Denied;
                let severity = if denied { Severity::Warning } else { Severity::Info };
                let why = format!("its quota of manual snapshots is not known: {e}");
                let hint = "allow rds:DescribeAccountAttributes";
                found.push(Finding::new(
                    severity,
                    place.to_string(),
                    FindingCode::QuotaNotReadable,
                    why,
                    hint,
                ));
                continue;
            }
        };
        for (family, quota) in [
            (DatabaseKind::Instance, quotas.snapshots),
            (DatabaseKind::Cluster, quotas.cluster_snapshots),
        ] {
            let Some(quota) = quota else { continue };
            let stocks = snapshot_forecasts(policy, facts, selected, place, family, now);
            found.extend(quota_finding(place, quota, &stocks, now));
        }
    }
    found
}

/// Every reason of every database of a family with what it has at a place.
fn snapshot_forecasts(
    policy: &Policy,
    facts: &FreshnessObservations,
    selected: &DatabaseSelection<'_>,
    place: &Location,
    family: DatabaseKind,
    now: Timestamp,
) -> Vec<SnapshotForecast> {
    let home = *place == Location::home_from_policy(policy);
    let there = facts.rds.at_location(place).map(|f| f.points_by_database()).unwrap_or_default();
    let mut known: BTreeMap<String, (u64, f64)> = BTreeMap::new();
    let mut stocks = Vec::new();
    for (name, group, database) in
        selected.selected_databases().filter(|(_, _, d)| d.family == family)
    {
        for (reason, keeps) in retention_rules(policy, group, place, home) {
            let manual = there.for_database(database).into_iter().filter(|p| !p.automated);
            let of_reason = manual.filter(|p| is_snapshot_for(p, database, &reason)).count() as u64;
            let steady = known.entry(format!("{name} {reason}")).or_insert_with(|| {
                let when = snapshot_interval(policy, group, &reason, now);
                when.map_or((0, 0.0), |each| {
                    (retained_count(&keeps, each, now), DAY.as_secs_f64() / each.as_secs_f64())
                })
            });
            // What is only taken on demand stays at what there is.
            let later = if steady.1 > 0.0 { steady.0 } else { of_reason };
            stocks.push(SnapshotForecast { now: of_reason, later, a_day: steady.1 });
        }
    }
    stocks
}

fn is_snapshot_for(point: &RecoveryPoint, database: &RdsDatabase, reason: &str) -> bool {
    let marked = point.tags.reason.as_deref() == Some(reason);
    point.database == database.id && !point.tags.transfer && marked
}

/// The reasons that have points at a place, with all rules that keep them there.
fn retention_rules<'p>(
    policy: &Policy,
    group: &'p DatabaseGroup,
    place: &Location,
    home: bool,
) -> BTreeMap<String, Vec<&'p RetentionRule>> {
    let mut wanted: BTreeMap<String, Vec<&RetentionRule>> = BTreeMap::new();
    if home {
        wanted.extend(group.snapshots.iter().map(|(r, s)| (r.to_string(), vec![&s.keep])));
    }
    for rule in group
        .copies
        .iter()
        .filter(|c| Location::for_destination(policy, &c.to).as_ref() == Some(place))
    {
        for reason in &rule.of {
            wanted.entry(reason.to_string()).or_default().push(&rule.keep);
        }
    }
    wanted
}

fn snapshot_interval(
    policy: &Policy,
    group: &DatabaseGroup,
    reason: &str,
    now: Timestamp,
) -> Option<SignedDuration> {
    let known = group.snapshots.iter().find(|(r, _): &(&ReasonName, _)| r.as_str() == reason);
    match known {
        Some((_, snapshots)) => {
            schedule_interval(snapshots.schedule.as_ref()?, &policy.time_zone, now)
        }
        // RDS's own come once a day.
        None => Some(DAY),
    }
}

/// How many points rules keep in the long run, of one that comes at each interval: what retention itself would say.
fn retained_count(keeps: &[&RetentionRule], each: SignedDuration, now: Timestamp) -> u64 {
    let slots =
        (0..MAX_SLOTS).map_while(|n| Some((n, now.checked_sub(each.checked_mul(n)?).ok()?)));
    let slots: Vec<_> = slots.collect();
    let stay: BTreeSet<i32> =
        keeps.iter().flat_map(|k| reasons_to_keep(&slots, k, now).into_keys()).collect();
    stay.len() as u64
}

/// Whether the quota is or will be used up.
fn quota_finding(
    place: &Location,
    quota: ServiceQuota,
    stocks: &[SnapshotForecast],
    now: Timestamp,
) -> Option<Finding> {
    let ours: u64 = stocks.iter().map(|s| s.now).sum();
    let others = quota.used.saturating_sub(ours);
    let after = |days: i32| others + stocks.iter().map(|s| s.count_after(days)).sum::<u64>();
    let later = others + stocks.iter().map(|s| s.later).sum::<u64>();
    let ServiceQuota { used, max } = quota;
    let wants = stocks.iter().map(|s| s.later).sum::<u64>();
    let hint = "keep fewer, or ask AWS for a higher quota of manual snapshots there";
    let find = |severity, why: String| {
        Some(Finding::new(severity, place.to_string(), FindingCode::QuotaExceeded, why, hint))
    };
    if used >= max && later >= max && wants > 0 {
        let why = format!(
            "all {max} manual snapshots are used, and the policy holds {wants} of them in the end"
        );
        return find(Severity::Critical, why);
    }
    if later <= max {
        return None;
    }
    let days = (0..FORECAST_DAYS).find(|days| after(*days) > max).unwrap_or(FORECAST_DAYS);
    let day = now.checked_add(DAY.checked_mul(days)?).ok()?;
    let day = day.to_zoned(TimeZone::UTC).date();
    let severity =
        if days <= CRITICAL_WITHIN_DAYS { Severity::Critical } else { Severity::Warning };
    let why = format!(
        "the policy will hold {wants} manual snapshots and others {others}: on {day} the {max} that are allowed are used up"
    );
    find(severity, why)
}

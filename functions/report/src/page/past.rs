//! What the audit trail tells: how many backups went well, how long restores took, what was proven.

use crate::{
    facts::{AssetKey, AuditEvent, AuditTrail, Kind},
    model::{AuditStatus, RtoStatus, SuccessRate, TimelineMark, VerificationRecord},
};
use jiff::{SignedDuration, Timestamp};
use shared::metrics::{Metric, MetricValue};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Days over which successes are counted.
const SUCCESS_DAYS: i64 = 30;
/// Share of backups that should go well, and that under which it is a finding.
const SUCCESS_TARGET: f64 = 0.999;
const SUCCESS_ALERT: f64 = 0.99;
/// Proofs that the page lists.
const MAX_VERIFICATIONS: usize = 100;
/// Restores of the last year are measured.
const RTO_WINDOW: SignedDuration = SignedDuration::from_hours(24 * 366);

/// The proofs of the past, found by asset in one look.
pub(crate) struct AuditHistory<'a>(HashMap<&'a str, Vec<&'a AuditEvent>>);

impl<'a> AuditHistory<'a> {
    /// Sorts them by asset.
    pub(crate) fn new(trail: &'a AuditTrail) -> Self {
        let mut by: HashMap<&str, Vec<&AuditEvent>> = HashMap::new();
        for event in trail_events(trail).iter().filter(|e| is_verification(e)) {
            by.entry(&event.asset).or_default().push(event);
        }
        Self(by)
    }

    /// Proofs of one asset: records name it alone or as group/asset.
    fn events_of(&self, key: &AssetKey) -> impl Iterator<Item = &'a AuditEvent> {
        let whole = format!("{}/{}", key.group, key.asset);
        let named = |name: &str| self.0.get(name).cloned().unwrap_or_default();
        let group = key.group.clone();
        let all = named(&key.asset).into_iter().chain(named(&whole));
        all.filter(move |e| e.group.as_ref().is_none_or(|g| *g == group))
    }

    /// How long restores of an asset took.
    pub(crate) fn rto_status(
        &self,
        key: &AssetKey,
        target: Option<i64>,
        now: Timestamp,
    ) -> RtoStatus {
        let since = now.checked_sub(RTO_WINDOW).unwrap_or(Timestamp::MIN);
        let within = |e: &&AuditEvent| e.at >= since && e.at <= now;
        let restores = self.events_of(key).filter(|e| e.kind == Kind::Restore && e.done);
        let times = restores.filter(within).filter_map(|e| Some((e.at, e.seconds?)));
        let times: Vec<_> = times.collect();
        let newest = times.iter().max_by_key(|(at, _)| *at);
        #[expect(clippy::cast_precision_loss, reason = "times are far below 2^52")]
        let met = newest.zip(target).map(|((_, took), target)| *took <= target as f64);
        RtoStatus {
            target_seconds: target,
            newest_seconds: newest.map(|n| n.1),
            newest_at: newest.map(|n| n.0),
            slowest_seconds: times.iter().map(|t| t.1).reduce(f64::max),
            measured: times.len(),
            met,
        }
    }

    /// When an asset was verified or restored, within what is drawn, the newest 60.
    pub(crate) fn timeline_marks(&self, key: &AssetKey, since: Timestamp) -> Vec<TimelineMark> {
        let mut all: Vec<_> = self.events_of(key).filter(|e| e.at >= since).collect();
        all.sort_by_key(|e| std::cmp::Reverse(e.at));
        let shown = |e: &AuditEvent| TimelineMark {
            at: e.at,
            succeeded: e.done,
            restore: e.kind == Kind::Restore,
        };
        all.into_iter().take(60).map(shown).collect()
    }
}

fn trail_events(trail: &AuditTrail) -> &[AuditEvent] {
    match trail {
        AuditTrail::Read { events, .. } => events,
        AuditTrail::None | AuditTrail::Unreadable(_) => &[],
    }
}

/// How many backups went well; none without a trail to count.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(crate) fn success_rate(trail: &AuditTrail, now: Timestamp) -> Option<SuccessRate> {
    let AuditTrail::Read { events, .. } = trail else { return None };
    let since = now.checked_sub(SignedDuration::from_hours(24 * SUCCESS_DAYS)).ok()?;
    let counted = || events.iter().filter(|e| e.kind == Kind::Backup && e.at >= since);
    let (done, all) = (counted().filter(|e| e.done).count(), counted().count());
    let rate = (all > 0).then(|| done as f64 / all as f64);
    Some(SuccessRate {
        days: SUCCESS_DAYS,
        succeeded: done,
        failed: all - done,
        rate,
        target: SUCCESS_TARGET,
        alert: SUCCESS_ALERT,
    })
}

/// Values of each group and of the whole policy: how much went well, and whether the newest proofs did.
pub(crate) fn audit_metrics(
    trail: &AuditTrail,
    groups: &HashMap<&str, &str>,
    now: Timestamp,
) -> Vec<MetricValue> {
    let since = now.checked_sub(SignedDuration::from_hours(24 * SUCCESS_DAYS)).unwrap_or(now);
    let mut went: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    let mut newest: BTreeMap<(Metric, &str), (Timestamp, bool)> = BTreeMap::new();
    let known: HashSet<&str> = groups.values().copied().collect();
    for event in trail_events(trail) {
        let bare = event.asset.rsplit('/').next().unwrap_or_default();
        let named = event.group.as_deref().and_then(|g| known.get(g).copied());
        let Some(group) = named.or_else(|| groups.get(bare).copied()) else { continue };
        let metric = match event.kind {
            Kind::Check => Metric::VerificationPassed,
            Kind::Restore => Metric::RestoreTestPassed,
            Kind::Backup if event.at >= since => {
                let (done, all) = went.entry(group).or_default();
                *done += f64::from(u8::from(event.done));
                *all += 1.0;
                continue;
            }
            Kind::Backup | Kind::Delete | Kind::Other => continue,
        };
        let last = newest.entry((metric, group)).or_insert((event.at, event.done));
        if event.at >= last.0 {
            *last = (event.at, event.done);
        }
    }
    let mut out: Vec<MetricValue> = (went.iter())
        .map(|(group, (done, all))| {
            MetricValue::for_group(Metric::SuccessRate, group, done / all * 100.0)
        })
        .collect();
    let mut least: BTreeMap<Metric, f64> = BTreeMap::new();
    for ((metric, group), (_, done)) in newest {
        let passed = f64::from(u8::from(done));
        out.push(MetricValue::for_group(metric, group, passed));
        let all = least.entry(metric).or_insert(passed);
        *all = all.min(passed);
    }
    out.extend(least.into_iter().map(|(metric, passed)| MetricValue::for_policy(metric, passed)));
    out
}

/// The newest proofs.
pub(crate) fn verification_records(trail: &AuditTrail) -> Vec<VerificationRecord> {
    let newest =
        trail_events(trail).iter().rev().filter(|e| is_verification(e)).take(MAX_VERIFICATIONS);
    newest
        .map(|e| VerificationRecord {
            at: e.at,
            asset: e.asset.clone(),
            action: e.action.clone(),
            restore: e.kind == Kind::Restore,
            succeeded: e.done,
            detail: e.detail.clone(),
            seconds: e.seconds,
        })
        .collect()
}

fn is_verification(event: &AuditEvent) -> bool {
    matches!(event.kind, Kind::Check | Kind::Restore)
}

/// The trail itself.
pub(crate) fn audit_status(trail: &AuditTrail) -> AuditStatus {
    match trail {
        AuditTrail::None => AuditStatus::None,
        AuditTrail::Unreadable(why) => AuditStatus::Unreadable { reason: why.clone() },
        AuditTrail::Read { head, .. } => AuditStatus::Read { head: head.clone() },
    }
}

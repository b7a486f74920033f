//! What the audit trail tells: how many backups went well, how long restores took, what was proven.

use crate::{
    facts::{Event, Key, Kind, Trail},
    model::{Audit, Proof, Rto, Shown, Success},
};
use jiff::{SignedDuration, Timestamp};
use shared::metrics::{Metric, MetricValue};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Days over which successes are counted.
const DAYS: i64 = 30;
/// Share of backups that should go well, and that under which it is a finding.
const TARGET: f64 = 0.999;
const ALERT: f64 = 0.99;
/// Proofs that the page lists.
const LISTED: usize = 100;
/// Restores of the last year are measured.
const YEAR: SignedDuration = SignedDuration::from_hours(24 * 366);

/// The proofs of the past, found by asset in one look.
pub(crate) struct Past<'a>(HashMap<&'a str, Vec<&'a Event>>);

impl<'a> Past<'a> {
    /// Sorts them by asset.
    pub(crate) fn new(trail: &'a Trail) -> Self {
        let mut by: HashMap<&str, Vec<&Event>> = HashMap::new();
        for event in events(trail).iter().filter(|e| proof(e)) {
            by.entry(&event.asset).or_default().push(event);
        }
        Self(by)
    }

    /// Proofs of one asset: records name it alone or as group/asset.
    fn of(&self, key: &Key) -> impl Iterator<Item = &'a Event> {
        let whole = format!("{}/{}", key.group, key.asset);
        let named = |name: &str| self.0.get(name).cloned().unwrap_or_default();
        let group = key.group.clone();
        let all = named(&key.asset).into_iter().chain(named(&whole));
        all.filter(move |e| e.group.as_ref().is_none_or(|g| *g == group))
    }

    /// How long restores of an asset took.
    pub(crate) fn rto(&self, key: &Key, target: Option<i64>, now: Timestamp) -> Rto {
        let since = now.checked_sub(YEAR).unwrap_or(Timestamp::MIN);
        let within = |e: &&Event| e.at >= since && e.at <= now;
        let restores = self.of(key).filter(|e| e.kind == Kind::Restore && e.done);
        let times = restores.filter(within).filter_map(|e| Some((e.at, e.seconds?)));
        let times: Vec<_> = times.collect();
        let newest = times.iter().max_by_key(|(at, _)| *at);
        #[expect(clippy::cast_precision_loss, reason = "times are far below 2^52")]
        let met = newest.zip(target).map(|((_, took), target)| *took <= target as f64);
        Rto {
            target_seconds: target,
            newest_seconds: newest.map(|n| n.1),
            newest_at: newest.map(|n| n.0),
            slowest_seconds: times.iter().map(|t| t.1).reduce(f64::max),
            measured: times.len(),
            met,
        }
    }

    /// When an asset was verified or restored, within what is drawn, the newest 60.
    pub(crate) fn shown(&self, key: &Key, since: Timestamp) -> Vec<Shown> {
        let mut all: Vec<_> = self.of(key).filter(|e| e.at >= since).collect();
        all.sort_by_key(|e| std::cmp::Reverse(e.at));
        let shown = |e: &Event| Shown { at: e.at, done: e.done, restore: e.kind == Kind::Restore };
        all.into_iter().take(60).map(shown).collect()
    }
}

fn events(trail: &Trail) -> &[Event] {
    match trail {
        Trail::Read { events, .. } => events,
        Trail::None | Trail::Unseen(_) => &[],
    }
}

/// How many backups went well; none without a trail to count.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(crate) fn success(trail: &Trail, now: Timestamp) -> Option<Success> {
    let Trail::Read { events, .. } = trail else { return None };
    let since = now.checked_sub(SignedDuration::from_hours(24 * DAYS)).ok()?;
    let counted = || events.iter().filter(|e| e.kind == Kind::Backup && e.at >= since);
    let (done, all) = (counted().filter(|e| e.done).count(), counted().count());
    let rate = (all > 0).then(|| done as f64 / all as f64);
    Some(Success { days: DAYS, done, failed: all - done, rate, target: TARGET, alert: ALERT })
}

/// Values of each group and of the whole policy: how much went well, and whether the newest proofs did.
pub(crate) fn values(trail: &Trail, groups: &HashMap<&str, &str>, now: Timestamp) -> Vec<MetricValue> {
    let since = now.checked_sub(SignedDuration::from_hours(24 * DAYS)).unwrap_or(now);
    let mut went: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    let mut newest: BTreeMap<(Metric, &str), (Timestamp, bool)> = BTreeMap::new();
    let known: HashSet<&str> = groups.values().copied().collect();
    for event in events(trail) {
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
        .map(|(group, (done, all))| MetricValue::for_group(Metric::SuccessRate, group, done / all * 100.0))
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
pub(crate) fn proofs(trail: &Trail) -> Vec<Proof> {
    let newest = events(trail).iter().rev().filter(|e| proof(e)).take(LISTED);
    newest
        .map(|e| Proof {
            at: e.at,
            asset: e.asset.clone(),
            action: e.action.clone(),
            restore: e.kind == Kind::Restore,
            done: e.done,
            detail: e.detail.clone(),
            seconds: e.seconds,
        })
        .collect()
}

fn proof(event: &Event) -> bool {
    matches!(event.kind, Kind::Check | Kind::Restore)
}

/// The trail itself.
pub(crate) fn audit(trail: &Trail) -> Audit {
    match trail {
        Trail::None => Audit::None,
        Trail::Unseen(why) => Audit::Unseen { why: why.clone() },
        Trail::Read { head, .. } => Audit::Read { head: head.clone() },
    }
}

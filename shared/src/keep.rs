//! What stays and what may go: the one place that decides it, for snapshots at home and copies elsewhere.
//!
//! [`kept`] applies a keep rule to points. [`decide`] asks every safety question about one asset's points at one place
//! and is the only maker of [`Cleared`], without which nothing can be deleted.
//!
//! Deletion is suspended while backups are not being made: for each reason, [`Owed`] says what must be there before
//! anything of it goes. It follows from the schedule, so no key of a policy can switch it off, and only what Holdfast made
//! itself satisfies it.

pub mod wal;

use crate::{
    catalog::{RecoveryPoint, RecoveryPointState},
    plan::DeletionPermit,
    policy::{RetentionRule, ScheduleConfig, text::ZoneName},
    time::{CronSchedule, format_duration},
};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use std::collections::{BTreeMap, BTreeSet};

/// The period that a time belongs to: a date, and the hour where hours count.
type PeriodFn = fn(Timestamp) -> (Date, i8);

/// Whether a rule still keeps a point of this time. That one which it no longer keeps is not there tells nothing.
pub fn is_still_kept(at: Timestamp, rule: &RetentionRule, now: Timestamp) -> bool {
    !reasons_to_keep(&[((), at)], rule, now).is_empty()
}

/// Why each point is kept by `rule`; a point that is missing in the answer is not kept.
///
/// `times` are data times with any key; a point whose data was the same at several times comes with each of them, and
/// counts once among the newest. Of each hour, day, week, month and year that has points, the last one counts,
/// as restic and Borg count them. Points from the future are kept and counted by no rule: their time proves nothing.
pub fn reasons_to_keep<K: Ord + Clone>(
    times: &[(K, Timestamp)],
    rule: &RetentionRule,
    now: Timestamp,
) -> BTreeMap<K, Vec<String>> {
    let mut why: BTreeMap<K, Vec<String>> = BTreeMap::new();
    let mut newest_first: Vec<_> = times.to_vec();
    newest_first.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| b.0.cmp(&a.0)));
    newest_first.retain(|(key, at)| {
        let future = *at > now;
        if future {
            why.entry(key.clone()).or_default().push("its time is in the future".into());
        }
        !future
    });

    if let Some(age) = &rule.age {
        for (key, at) in &newest_first {
            let old = now.duration_since(*at);
            if old < age.duration() {
                let reason =
                    format!("younger than {age}, by {}", format_duration(age.duration() - old));
                why.entry(key.clone()).or_default().push(reason);
            }
        }
    }
    let tiers: [(&str, Option<u32>, PeriodFn); 5] = [
        ("hourly", rule.hourly.map(Into::into), |t| {
            (utc_date(t), t.to_zoned(TimeZone::UTC).hour())
        }),
        ("daily", rule.daily.map(Into::into), |t| (utc_date(t), 0)),
        ("weekly", rule.weekly.map(Into::into), |t| (week_start(t), 0)),
        ("monthly", rule.monthly.map(Into::into), |t| (utc_date(t).first_of_month(), 0)),
        ("yearly", rule.yearly.map(Into::into), |t| (utc_date(t).first_of_year(), 0)),
    ];
    for (word, count, bucket) in tiers {
        let Some(count) = count else { continue };
        let mut buckets = BTreeSet::new();
        for (key, at) in &newest_first {
            if buckets.len() < count as usize && buckets.insert(bucket(*at)) {
                let reason = format!("{word} {} of {count}", buckets.len());
                why.entry(key.clone()).or_default().push(reason);
            }
        }
    }
    if let Some(count) = rule.newest {
        let mut counted = BTreeSet::new();
        for (key, _) in &newest_first {
            if counted.len() < count.get() as usize && counted.insert(key) {
                let reason = format!("newest {} of {count}", counted.len());
                why.entry(key.clone()).or_default().push(reason);
            }
        }
    }
    why
}

fn utc_date(t: Timestamp) -> Date {
    t.to_zoned(TimeZone::UTC).date()
}

/// The Monday of a time's week.
fn week_start(t: Timestamp) -> Date {
    let day = utc_date(t);
    let back = i32::from(day.weekday().to_monday_zero_offset());
    day.checked_sub(jiff::Span::new().days(back)).unwrap_or(day)
}

/// What must be there of a reason before anything of it may go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeletionPrecondition {
    /// Nothing: the asset is gone, and nothing more is made of it.
    #[default]
    Nothing,
    /// It is made on a schedule: data of this time or later.
    Since(Timestamp),
    /// It is made on demand: its newest try must not have failed.
    OnDemand,
    /// Backups are known not to be made; why.
    NotMade(String),
}

impl DeletionPrecondition {
    /// What follows from a schedule, or from its absence.
    pub fn from_schedule(when: Option<&ScheduleConfig>, zone: &ZoneName, now: Timestamp) -> Self {
        let owed = when.and_then(|when| CronSchedule::new(when, zone).last_due_past_grace(now));
        owed.map_or(Self::OnDemand, Self::Since)
    }
}

/// The time in a snapshot is that of its last transaction, which may lie before the moment that it was due.
const MAX_TIME_BEFORE_DUE: SignedDuration = SignedDuration::from_mins(30);

/// What the policy says of one reason.
#[derive(Clone, Debug, Default)]
pub struct ReasonRetention<'a> {
    /// Its rules; a point stays while any of them keeps it.
    pub keep: Vec<&'a RetentionRule>,
    /// What must be there before anything of it goes.
    pub precondition: DeletionPrecondition,
}

/// One asset's points at one place, and what the policy says about them.
#[derive(Clone, Debug, Default)]
pub struct RetentionInput<'a> {
    /// The policy's owner: points of others are not ours to judge.
    pub owner: &'a str,
    /// Every point of one lineage at one place, in any state.
    pub points: Vec<&'a RecoveryPoint>,
    /// What the policy says of each reason.
    pub reasons: BTreeMap<&'a str, ReasonRetention<'a>>,
    /// Good points that always stay.
    pub min_count: usize,
    /// Identifiers or ARNs that the policy holds, in any case.
    pub holds: &'a [String],
    /// When the newest good point of a living asset, whoever made it, is older than this, nothing goes.
    pub max_age: Option<SignedDuration>,
    /// ARNs that something still needs: a copy in flight or a copy still to be made.
    pub needed: BTreeMap<&'a str, String>,
    /// ARNs of transfer copies whose onward copy is good.
    pub transferred: BTreeSet<&'a str>,
    /// ARNs of copies that are not what was asked for, and why: they count for nothing, and a person looks at them.
    pub mismatched: BTreeMap<&'a str, String>,
    /// By ARN, earlier times at which a point's data was the same as at its own.
    pub earlier: BTreeMap<&'a str, Vec<Timestamp>>,
    /// ARNs of points that stand for a part of the asset, or for a state that was to be replaced. They are no sign that
    /// backups are being made, and take no place of a full one in the minimum count.
    pub partial: BTreeSet<&'a str>,
}

/// What becomes of a point.
#[derive(Clone, Debug, PartialEq)]
pub enum RetentionVerdict {
    /// It stays, for these reasons.
    Keep(Vec<String>),
    /// It stays although no rule keeps it: deletion is suspended, for this reason.
    Suspended(String),
    /// It may go.
    Delete(Box<DeletionPermit<RecoveryPoint>>, String),
}

/// Whether a hold of the policy means this point.
fn hold_matches(hold: &str, point: &RecoveryPoint) -> bool {
    hold.eq_ignore_ascii_case(&point.id) || hold.eq_ignore_ascii_case(&point.arn)
}

/// Holds that mean none of the points: a typing error would hold nothing, silently.
pub fn find_unmatched_holds<'h>(wanted: &'h [String], points: &[&RecoveryPoint]) -> Vec<&'h str> {
    let matched = |hold: &&str| points.iter().any(|p| hold_matches(hold, p));
    wanted.iter().map(String::as_str).filter(|h| !matched(h)).collect()
}

impl<'a> RetentionInput<'a> {
    /// Whether a point counts: complete, what was asked for, and made by Holdfast for this policy to stay.
    fn counts_as_backup(&self, p: &RecoveryPoint) -> bool {
        p.is_complete()
            && p.is_owned_by(self.owner)
            && !p.tags.transfer
            && !p.automated
            && !self.mismatched.contains_key(p.arn.as_str())
    }

    /// What the rules keep, reason by reason; only what counts is counted, so that nothing else pushes a good one out.
    fn keep_reasons_by_arn(&self, now: Timestamp) -> BTreeMap<&str, Vec<String>> {
        let mut ruled: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (reason, kind) in &self.reasons {
            let times: Vec<_> = (self.points.iter())
                .filter(|p| self.counts_as_backup(p) && p.has_reason(reason))
                .filter_map(|p| Some((p.arn.as_str(), p.data_time?)))
                .flat_map(|(arn, at)| {
                    let earlier = self.earlier.get(arn).into_iter().flatten().copied();
                    earlier.chain([at]).map(move |at| (arn, at))
                })
                .collect();
            for rule in &kind.keep {
                for (arn, why) in reasons_to_keep(&times, rule, now) {
                    ruled.entry(arn).or_default().extend(why);
                }
            }
        }
        ruled
    }

    /// Why nothing at all of this asset may go now.
    fn asset_suspension(&self, now: Timestamp) -> Option<String> {
        let max_age = self.max_age?;
        let good = self.points.iter().filter(|p| {
            p.is_complete() && !p.tags.transfer && !self.partial.contains(p.arn.as_str())
        });
        match good.filter_map(|p| p.data_time).max() {
            None => Some("there is no good point, so nothing goes".into()),
            Some(at) if now.duration_since(at) > max_age => Some(format!(
                "the newest good point is {} old, over {}: backups are failing, so nothing goes",
                format_duration(now.duration_since(at)),
                format_duration(max_age)
            )),
            Some(_) => None,
        }
    }

    /// Reasons of which nothing may go now, and why.
    pub fn suspended_reasons(&self, now: Timestamp) -> BTreeMap<&'a str, String> {
        let all = self.asset_suspension(now);
        let why = |(reason, kind): (&&'a str, &ReasonRetention<'_>)| {
            let why =
                self.reason_suspension(reason, &kind.precondition, now).or_else(|| all.clone())?;
            Some((*reason, why))
        };
        self.reasons.iter().filter_map(why).collect()
    }

    /// Why nothing of a reason may go now.
    fn reason_suspension(
        &self,
        reason: &str,
        owed: &DeletionPrecondition,
        now: Timestamp,
    ) -> Option<String> {
        let of = || self.points.iter().filter(|p| p.has_reason(reason));
        match owed {
            DeletionPrecondition::Nothing => None,
            DeletionPrecondition::NotMade(why) => Some(why.clone()),
            DeletionPrecondition::Since(due) => {
                let newest = of().filter(|p| self.counts_as_backup(p)).filter_map(|p| p.data_time);
                let newest = newest.filter(|t| *t <= now).max();
                let there = newest.and_then(|t| t.checked_add(MAX_TIME_BEFORE_DUE).ok());
                (there < Some(*due)).then(|| {
                    let newest = newest.map_or("there is none".to_owned(), |t| {
                        format!("the newest is {} old", format_duration(now.duration_since(t)))
                    });
                    let due = format_duration(now.duration_since(*due));
                    format!(
                        "backups for \"{reason}\" are not being made: one was due {due} ago and {newest}; nothing of it goes"
                    )
                })
            }
            DeletionPrecondition::OnDemand => {
                let tries = of().filter(|p| p.is_owned_by(self.owner) && !p.tags.transfer);
                let newest = tries.max_by_key(|p| (p.intended_time(), p.is_complete()))?;
                let failed = matches!(newest.state, RecoveryPointState::Failed(_));
                failed.then(|| {
                    let id = &newest.id;
                    format!("the newest try for \"{reason}\", {id}, failed; nothing of it goes")
                })
            }
        }
    }
}

/// The fate of every point of one asset at one place, in the order of `q.points`.
pub fn decide_retention(q: &RetentionInput<'_>, now: Timestamp) -> Vec<RetentionVerdict> {
    let ruled = q.keep_reasons_by_arn(now);
    let suspended = q.suspended_reasons(now);
    let mut fates: Vec<RetentionVerdict> = (q.points.iter())
        .map(|p| match evaluate_point(q, p, &ruled, now) {
            Err(reasons) => RetentionVerdict::Keep(reasons),
            Ok(DeletionReason::Data(why)) => {
                match p.reasons().iter().find_map(|reason| suspended.get(reason)) {
                    Some(why) => RetentionVerdict::Suspended(why.clone()),
                    None => RetentionVerdict::Delete(
                        Box::new(DeletionPermit::new((*p).clone(), now)),
                        why,
                    ),
                }
            }
            Ok(DeletionReason::NoData(why)) => {
                RetentionVerdict::Delete(Box::new(DeletionPermit::new((*p).clone(), now)), why)
            }
        })
        .collect();

    // The floor: whatever the rules let go, the newest good points stay. An old one that is held is no stand-in for them,
    // and neither is a partial one while there are others.
    let mut newest_first: Vec<usize> =
        (0..fates.len()).filter(|i| q.counts_as_backup(q.points[*i])).collect();
    let full = |p: &RecoveryPoint| !q.partial.contains(p.arn.as_str());
    newest_first.sort_by_key(|i| std::cmp::Reverse((full(q.points[*i]), q.points[*i].data_time)));
    for i in newest_first.into_iter().take(q.min_count) {
        if !matches!(fates[i], RetentionVerdict::Keep(_)) {
            fates[i] = RetentionVerdict::Keep(vec![format!(
                "one of the {} that always stay",
                q.min_count
            )]);
        }
    }
    fates
}

/// Why a point may go, as far as it alone is concerned.
enum DeletionReason {
    /// It holds data that no rule keeps.
    Data(String),
    /// Nothing is lost with it: it failed, or what it was copied for is done.
    NoData(String),
}

/// Why a point stays (`Err`), or why it may go as far as it alone is concerned (`Ok`).
fn evaluate_point(
    q: &RetentionInput<'_>,
    p: &RecoveryPoint,
    ruled: &BTreeMap<&str, Vec<String>>,
    now: Timestamp,
) -> Result<DeletionReason, Vec<String>> {
    let because = |why: &str| Err(vec![why.to_owned()]);
    if p.automated {
        return because("RDS lets its own snapshots go itself");
    }
    if !p.is_owned_by(q.owner) {
        return because("Holdfast did not make it for this policy");
    }
    if let Some(why) = &p.tags.legal_hold {
        return Err(vec![format!("held: {why}")]);
    }
    if q.holds.iter().any(|hold| hold_matches(hold, p)) {
        return because("held by the policy");
    }
    if let Some(why) = q.needed.get(p.arn.as_str()) {
        return Err(vec![why.clone()]);
    }
    match &p.state {
        RecoveryPointState::InFlight => return because("it is still on its way"),
        RecoveryPointState::Failed(word) => {
            return match reason_to_delete_failed(q, p, now) {
                Some(why) => Ok(DeletionReason::NoData(format!("it is {word} and {why}"))),
                None => because("it failed and no newer one is good yet"),
            };
        }
        RecoveryPointState::Good => {}
    }
    if p.tags.transfer {
        return if q.transferred.contains(p.arn.as_str()) {
            Ok(DeletionReason::NoData("a transfer copy whose onward copy is good".into()))
        } else {
            because("a transfer copy that is still to be copied on")
        };
    }
    if let Some(why) = q.mismatched.get(p.arn.as_str()) {
        return Err(vec![format!("it does not count, and a person has to look: {why}")]);
    }
    if p.data_time.is_none() {
        return because("the time of its data is unknown");
    }
    if let Some(reason) = p.reasons().into_iter().find(|r| !q.reasons.contains_key(r)) {
        return Err(vec![format!("no rule of the policy speaks of \"{reason}\"")]);
    }
    if let Some(reasons) = ruled.get(p.arn.as_str()) {
        return Err(reasons.clone());
    }
    let reasons = p.reasons().iter().map(|r| format!("\"{r}\"")).collect::<Vec<_>>().join(", ");
    Ok(DeletionReason::Data(format!("no line of the rule for {reasons} keeps it")))
}

/// Why a failed point may go. It has no data, and uses up the quota of snapshots; it stays only to be seen, and to be
/// counted as a try, until another one speaks for it.
fn reason_to_delete_failed(
    q: &RetentionInput<'_>,
    p: &RecoveryPoint,
    now: Timestamp,
) -> Option<&'static str> {
    let meant = p.intended_time();
    let like = |o: &&RecoveryPoint| {
        o.is_owned_by(q.owner)
            && o.tags.transfer == p.tags.transfer
            && p.reasons().iter().any(|reason| o.has_reason(reason))
    };
    let took_its_place = |o: &RecoveryPoint| {
        let same_slot = p.tags.slot.is_some() && o.tags.slot == p.tags.slot;
        let same_source = p.tags.copy_of.is_some() && o.tags.copy_of == p.tags.copy_of;
        let newer = o.data_time.is_some_and(|t| t <= now) && o.data_time >= meant;
        o.is_complete() && (same_slot || same_source || newer)
    };
    let others = || q.points.iter().copied().filter(like);
    if others().any(took_its_place) {
        return Some("a newer one is good");
    }
    if p.tags.transfer && q.transferred.contains(p.arn.as_str()) {
        return Some("what it was copied for is done");
    }
    if others().any(|o| !o.is_complete() && o.intended_time() > meant) {
        return Some("a newer try tells how it stands");
    }
    let gone = !q.reasons.is_empty()
        && q.reasons.values().all(|kind| kind.precondition == DeletionPrecondition::Nothing);
    gone.then_some("its database is gone")
}

#[cfg(test)]
mod tests;

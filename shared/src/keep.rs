//! What stays and what may go: the one place that decides it, for snapshots at home and copies elsewhere.
//!
//! [`kept`] applies a keep rule to points. [`decide`] asks every safety question about one asset's points at one place
//! and is the only maker of [`Cleared`], without which nothing can be deleted.

use crate::{
    catalog::{Point, State},
    plan::Cleared,
    policy::Keep,
    time::human,
};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use std::collections::{BTreeMap, BTreeSet};

/// The period that a time belongs to: a date, and the hour where hours count.
type Bucket = fn(Timestamp) -> (Date, i8);

/// Why each point is kept by `rule`; a point that is missing in the answer is not kept.
///
/// `times` are data times with any key; a point whose data was the same at several times comes with each of them, and
/// counts once among the newest. Of each hour, day, week, month and year that has points, the last one counts,
/// as restic and Borg count them. Points from the future are kept and counted by no rule: their time proves nothing.
pub fn kept<K: Ord + Clone>(
    times: &[(K, Timestamp)],
    rule: &Keep,
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
                let reason = format!("younger than {age}, by {}", human(age.duration() - old));
                why.entry(key.clone()).or_default().push(reason);
            }
        }
    }
    let tiers: [(&str, Option<u32>, Bucket); 5] = [
        ("hourly", rule.hourly.map(Into::into), |t| (day(t), t.to_zoned(TimeZone::UTC).hour())),
        ("daily", rule.daily.map(Into::into), |t| (day(t), 0)),
        ("weekly", rule.weekly.map(Into::into), |t| (week(t), 0)),
        ("monthly", rule.monthly.map(Into::into), |t| (day(t).first_of_month(), 0)),
        ("yearly", rule.yearly.map(Into::into), |t| (day(t).first_of_year(), 0)),
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

fn day(t: Timestamp) -> Date {
    t.to_zoned(TimeZone::UTC).date()
}

/// The Monday of a time's week.
fn week(t: Timestamp) -> Date {
    let day = day(t);
    let back = i32::from(day.weekday().to_monday_zero_offset());
    day.checked_sub(jiff::Span::new().days(back)).unwrap_or(day)
}

/// One asset's points at one place, and what the policy says about them.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The company: points of others are not ours to judge.
    pub company: &'a str,
    /// Every point of one lineage at one place, in any state.
    pub points: Vec<&'a Point>,
    /// The rule of each reason.
    pub rules: BTreeMap<&'a str, &'a Keep>,
    /// Good points that always stay.
    pub floor: usize,
    /// Identifiers that the policy holds.
    pub holds: &'a [String],
    /// When the newest good point of a living asset is older than this, its backups are failing and nothing goes.
    pub max_age: Option<SignedDuration>,
    /// ARNs that something still needs: a copy in flight or a copy still to be made.
    pub needed: BTreeMap<&'a str, String>,
    /// ARNs of transfer copies whose onward copy is good.
    pub transferred: BTreeSet<&'a str>,
    /// By ARN, earlier times at which a point's data was the same as at its own.
    pub earlier: BTreeMap<&'a str, Vec<Timestamp>>,
}

/// What becomes of a point.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// It stays, for these reasons.
    Stays(Vec<String>),
    /// It may go.
    Goes(Box<Cleared<Point>>, String),
}

/// The fate of every point of one asset at one place, in the order of `q.points`.
pub fn decide(q: &Question<'_>, now: Timestamp) -> Vec<Fate> {
    let counts = |p: &Point| p.good() && p.made_for(q.company) && !p.marks.transfer && !p.automated;
    let frozen = frozen(q, now);

    // What the rules keep, reason by reason; only good points count, so that failed ones never push good ones out.
    let mut ruled: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (reason, rule) in &q.rules {
        let times: Vec<_> = (q.points.iter())
            .filter(|p| counts(p) && p.reason() == *reason)
            .filter_map(|p| Some((p.arn.as_str(), p.data_time?)))
            .flat_map(|(arn, at)| {
                let earlier = q.earlier.get(arn).into_iter().flatten().copied();
                earlier.chain([at]).map(move |at| (arn, at))
            })
            .collect();
        ruled.append(&mut kept(&times, rule, now));
    }

    let mut fates: Vec<Fate> = (q.points.iter())
        .map(|p| match stays(q, p, frozen.as_ref(), &ruled) {
            Err(reasons) => Fate::Stays(reasons),
            Ok(why) => Fate::Goes(Box::new(Cleared::new((*p).clone(), now)), why),
        })
        .collect();

    // The floor: whatever the rules let go, the newest good points stay. An old one that is held is no stand-in for them.
    let mut newest_first: Vec<usize> = (0..fates.len()).filter(|i| counts(q.points[*i])).collect();
    newest_first.sort_by_key(|i| std::cmp::Reverse(q.points[*i].data_time));
    for i in newest_first.into_iter().take(q.floor) {
        if matches!(fates[i], Fate::Goes(..)) {
            fates[i] = Fate::Stays(vec![format!("one of the {} that always stay", q.floor)]);
        }
    }
    fates
}

/// Why nothing of this asset may go now.
fn frozen(q: &Question<'_>, now: Timestamp) -> Option<String> {
    let max_age = q.max_age?;
    let newest =
        q.points.iter().filter(|p| p.good() && !p.marks.transfer).filter_map(|p| p.data_time).max();
    match newest {
        None => Some("there is no good point, so nothing goes".into()),
        Some(at) if now.duration_since(at) > max_age => Some(format!(
            "the newest good point is {} old, over {}: backups are failing, so nothing goes",
            human(now.duration_since(at)),
            human(max_age)
        )),
        Some(_) => None,
    }
}

/// Why a point stays (`Err`), or why it may go as far as it alone is concerned (`Ok`).
fn stays(
    q: &Question<'_>,
    p: &Point,
    frozen: Option<&String>,
    ruled: &BTreeMap<&str, Vec<String>>,
) -> Result<String, Vec<String>> {
    let because = |why: &str| Err(vec![why.to_owned()]);
    if p.automated {
        return because("RDS lets its own snapshots go itself");
    }
    if !p.made_for(q.company) {
        return because("Holdfast did not make it for this policy");
    }
    if let Some(why) = &p.marks.hold {
        return Err(vec![format!("held: {why}")]);
    }
    if q.holds.contains(&p.id) {
        return because("held by the policy");
    }
    if let Some(why) = q.needed.get(p.arn.as_str()) {
        return Err(vec![why.clone()]);
    }
    match &p.state {
        State::InFlight => return because("it is still on its way"),
        State::Failed(word) => {
            // A failed point has no data; it only goes once a good one took its place, so that a failure stays in sight.
            let newer = q.points.iter().any(|o| {
                o.good()
                    && o.reason() == p.reason()
                    && o.data_time.map(crate::time::slot) > p.marks.slot
            });
            return match (newer, &p.marks.slot) {
                (true, Some(_)) => Ok(format!("it is {word} and a newer one is good")),
                _ => because("it failed and no newer one is good yet"),
            };
        }
        State::Good => {}
    }
    if p.marks.transfer {
        return if q.transferred.contains(p.arn.as_str()) {
            Ok("a transfer copy whose onward copy is good".into())
        } else {
            because("a transfer copy that is still to be copied on")
        };
    }
    if p.data_time.is_none() {
        return because("the time of its data is unknown");
    }
    if !q.rules.contains_key(p.reason()) {
        return Err(vec![format!("no rule of the policy speaks of \"{}\"", p.reason())]);
    }
    if let Some(reasons) = ruled.get(p.arn.as_str()) {
        return Err(reasons.clone());
    }
    if let Some(why) = frozen {
        return because(why);
    }
    Ok(format!("no line of the rule for \"{}\" keeps it", p.reason()))
}

#[cfg(test)]
mod tests;

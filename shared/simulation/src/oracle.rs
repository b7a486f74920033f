//! What is right, written from docs/policy.md and docs/safety.md alone, in another way than the functions do it.
//!
//! - [`due`]: when a schedule is due
//! - [`is_kept`]: whether a rule keeps a point
//!
//! The functions sort, bucket and walk; here every question is asked of one point or one moment by itself, and counted.

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, Time, Weekday},
    tz::TimeZone,
};
use shared::policy::RetentionRule;
use std::{cell::RefCell, collections::BTreeMap};

/// A schedule of the forms that the simulation writes: a time of day, on all days, on one day of the week or of the month;
/// or every hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimpleSchedule {
    minute: i8,
    hour: Option<i8>,
    day_of_month: Option<i8>,
    weekday: Option<i8>,
    zone: TimeZone,
    /// The moments of dates that were asked for.
    known: RefCell<BTreeMap<Date, Vec<Timestamp>>>,
}

impl SimpleSchedule {
    /// Reads cron fields of those forms; none of any other.
    pub fn parse(cron: &str, zone: TimeZone) -> Option<Self> {
        let fields: Vec<&str> = cron.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else { return None };
        let number = |field: &str| -> Option<Option<i8>> {
            if field == "*" { Some(None) } else { field.parse().ok().map(Some) }
        };
        (*month == "*").then_some(())?;
        Some(Self {
            minute: minute.parse().ok()?,
            hour: number(hour)?,
            day_of_month: number(day)?,
            weekday: number(weekday)?,
            zone,
            known: RefCell::default(),
        })
    }

    fn is_on(&self, date: Date) -> bool {
        let weekday = match date.weekday() {
            Weekday::Sunday => 0,
            other => other.to_monday_one_offset(),
        };
        self.day_of_month.is_none_or(|d| d == date.day())
            && self.weekday.is_none_or(|d| d % 7 == weekday)
    }

    /// The moments of a date: of each wall-clock time, the first moment at which that day's wall clock has reached it.
    fn moments_of(&self, date: Date) -> Vec<Timestamp> {
        if !self.is_on(date) {
            return Vec::new();
        }
        self.known.borrow_mut().entry(date).or_insert_with(|| self.find_moments(date)).clone()
    }

    fn find_moments(&self, date: Date) -> Vec<Timestamp> {
        let hours = self.hour.map_or_else(|| (0..24).collect::<Vec<i8>>(), |h| vec![h]);
        let moment = |hour: i8| {
            let wall = date.to_datetime(Time::constant(hour, self.minute, 0, 0));
            // No zone is more than 15 hours from UTC, and no clock is moved by more than a day.
            let rough = TimeZone::UTC.to_timestamp(wall).ok()?;
            let offset = self.zone.to_offset(rough).seconds();
            let start = rough
                - SignedDuration::from_secs(i64::from(offset))
                - SignedDuration::from_hours(4);
            // Schedules and clocks are moved by whole quarters of an hour at least.
            (0..12 * 12)
                .map(|step| start + SignedDuration::from_mins(5 * step))
                .find(|t| self.zone.to_datetime(*t) >= wall)
        };
        let mut all: Vec<Timestamp> = hours.into_iter().filter_map(moment).collect();
        all.dedup();
        all
    }

    /// The newest moment at or before `now` at which it is due.
    pub fn last_due(&self, now: Timestamp) -> Option<Timestamp> {
        let mut date = self.zone.to_datetime(now).date().tomorrow().ok()?;
        for _ in 0..400 {
            if let Some(last) = self.moments_of(date).into_iter().rfind(|t| *t <= now) {
                return Some(last);
            }
            date = date.yesterday().ok()?;
        }
        None
    }
}

/// Whether a rule keeps a point with data of `at` among all of its kind, `times` (its own included), at `now`. `times` has
/// each point once.
pub fn is_kept(at: Timestamp, times: &[Timestamp], rule: &RetentionRule, now: Timestamp) -> bool {
    if at > now {
        return true;
    }
    let past = || times.iter().copied().filter(|t| *t <= now);
    let young = rule.age.as_ref().is_some_and(|age| now.duration_since(at) < age.duration());
    let newer = past().filter(|t| *t > at).count();
    let newest = rule.newest.is_some_and(|n| newer < n.get() as usize);
    let tier = |count: Option<u32>, period: &dyn Fn(Timestamp) -> i64| {
        let Some(count) = count else { return false };
        let own = period(at);
        let is_last = past().filter(|t| period(*t) == own).max() == Some(at);
        let mut later: Vec<i64> = past().map(period).filter(|p| *p > own).collect();
        later.sort_unstable();
        later.dedup();
        is_last && later.len() < count as usize
    };
    young
        || newest
        || tier(rule.hourly.map(u32::from), &|t| t.as_second().div_euclid(3600))
        || tier(rule.daily.map(u32::from), &|t| days(t))
        // 1 January 1970 was a Thursday.
        || tier(rule.weekly.map(u32::from), &|t| (days(t) + 3).div_euclid(7))
        || tier(rule.monthly.map(u32::from), &|t| months(t))
        || tier(rule.yearly.map(u32::from), &|t| months(t).div_euclid(12))
}

fn days(t: Timestamp) -> i64 {
    t.as_second().div_euclid(86_400)
}

fn months(t: Timestamp) -> i64 {
    let date = TimeZone::UTC.to_datetime(t).date();
    i64::from(date.year()) * 12 + i64::from(date.month()) - 1
}

#[cfg(test)]
mod tests;

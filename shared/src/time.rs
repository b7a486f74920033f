//! Times: what is due, and how ages are written.

use crate::policy::{ScheduleConfig, text::ZoneName};
use cronexpr::{Crontab, MakeTimestamp};
use jiff::{
    SignedDuration, Span, Timestamp, Unit,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone},
};
use std::{
    cell::{OnceCell, RefCell},
    collections::BTreeMap,
};

/// A policy's schedule, ready to be asked.
///
/// Cron fields speak of wall-clock times. Each wall-clock time that they name is one slot, never none and never two: one
/// that the zone skips (the clock goes forward) moves to the next moment that exists, and one that comes twice (the clock
/// goes back) is due when it comes first. Wall-clock times that move to the same moment are one slot.
#[derive(Clone, Debug)]
pub struct CronSchedule {
    /// The fields as they are written.
    fields: String,
    /// The same read in UTC, where every wall-clock time exists once; the zone comes after. Read when it is asked for.
    cron: OnceCell<Crontab>,
    zone_name: ZoneName,
    zone: OnceCell<TimeZone>,
    /// Fields and zone as they are written.
    key: String,
}

thread_local! {
    /// By schedule, times that follow each other.
    static KNOWN_SLOTS: RefCell<BTreeMap<String, Vec<[Timestamp; 2]>>> =
        const { RefCell::new(BTreeMap::new()) };
}

/// Schedules, and slots of each, that are remembered at most.
const MAX_KNOWN_SCHEDULES: usize = 128;
const MAX_KNOWN_SLOTS: usize = 6;

/// A scheduled backup has this long to be made before it counts as not made; one that is due more often has until the
/// next one is due.
const SCHEDULE_GRACE_PERIOD: SignedDuration = SignedDuration::from_hours(6);

impl CronSchedule {
    /// The schedule `schedule`, in its own time zone or in the policy's.
    ///
    /// Its cron fields were checked with the policy.
    pub fn new(when: &ScheduleConfig, policy_zone: &ZoneName) -> Self {
        let name = when.time_zone.as_ref().unwrap_or(policy_zone);
        let key = format!("{} {name}", when.cron);
        Self {
            fields: when.cron.to_string(),
            cron: OnceCell::new(),
            zone_name: name.clone(),
            zone: OnceCell::new(),
            key,
        }
    }

    /// The newest time at or before `now` at which it was due: the slot that a recovery point belongs to.
    pub fn last_due(&self, now: Timestamp) -> Option<Timestamp> {
        if let Some([last, _]) = self.known_slots(now) {
            return Some(last);
        }
        let last = self.find_last_due(now)?;
        if let Some(next) = self.slots_after(last).next() {
            self.remember_slots([last, next]);
        }
        Some(last)
    }

    /// The slots around a time, where they were looked up before: a plan asks the same of every database.
    fn known_slots(&self, now: Timestamp) -> Option<[Timestamp; 2]> {
        KNOWN_SLOTS.with_borrow(|known| {
            let slots = known.get(&self.key)?;
            slots.iter().find(|[last, next]| *last <= now && now < *next).copied()
        })
    }

    fn remember_slots(&self, around: [Timestamp; 2]) {
        KNOWN_SLOTS.with_borrow_mut(|known| {
            if known.len() >= MAX_KNOWN_SCHEDULES {
                known.clear();
            }
            let slots = known.entry(self.key.clone()).or_default();
            slots.truncate(MAX_KNOWN_SLOTS - 1);
            slots.insert(0, around);
        });
    }

    fn find_last_due(&self, now: Timestamp) -> Option<Timestamp> {
        // Look back over ever longer spans, so that an hourly schedule is answered from an hour and a yearly one from years.
        let longest = SignedDuration::from_hours(24 * 366 * 9);
        let mut span = SignedDuration::from_hours(2);
        loop {
            let from = now.checked_sub(span).ok()?;
            if let Some(last) = self.slots_after(from).take_while(|t| *t <= now).last() {
                return Some(last);
            }
            if span == longest {
                return None;
            }
            span = (span * 8).min(longest);
        }
    }

    /// The next time after `now`.
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        self.known_slots(now).map(|[_, next]| next).or_else(|| self.slots_after(now).next())
    }

    /// The newest time that was due so long ago that its backup should be there: while there is none, backups are not
    /// being made.
    pub fn last_due_past_grace(&self, now: Timestamp) -> Option<Timestamp> {
        let newest = self.last_due(now)?;
        let before = newest.checked_sub(SignedDuration::from_secs(1)).ok();
        let before = before.and_then(|t| self.last_due(t));
        let grace = before
            .map_or(SCHEDULE_GRACE_PERIOD, |t| SCHEDULE_GRACE_PERIOD.min(newest.duration_since(t)));
        self.last_due(now.checked_sub(grace).ok()?)
    }

    /// The slots after `from`, in order, each once.
    fn slots_after(&self, from: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
        let mut wall = self.zone().to_datetime(from);
        let mut last = from;
        std::iter::from_fn(move || {
            loop {
                wall = self.next_wall_time(wall)?;
                let at = resolve_wall_time(self.zone(), wall)?;
                if at > last {
                    last = at;
                    return Some(at);
                }
            }
        })
    }

    fn zone(&self) -> &TimeZone {
        self.zone.get_or_init(|| self.zone_name.zone())
    }

    fn crontab(&self) -> &Crontab {
        self.cron.get_or_init(|| {
            let cron = cronexpr::parse_crontab(&format!("{} UTC", self.fields));
            cron.expect("cron was checked with the policy")
        })
    }

    /// The next wall-clock time that the fields name.
    fn next_wall_time(&self, after: DateTime) -> Option<DateTime> {
        let mut from = after;
        // The parser gives up after four years; 29 February is eight years away around 2100.
        for _ in 0..3 {
            let start = TimeZone::UTC.to_timestamp(from).ok()?;
            if let Ok(found) = self.crontab().find_next(MakeTimestamp(start)) {
                return Some(found.datetime());
            }
            from = from.checked_add(Span::new().years(4)).ok()?;
        }
        None
    }
}

/// The moment of a wall-clock time: the first of two, and where there is none, the end of the gap.
fn resolve_wall_time(zone: &TimeZone, wall: DateTime) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(wall).offset() {
        AmbiguousOffset::Unambiguous { offset: first }
        | AmbiguousOffset::Fold { before: first, .. } => first.to_timestamp(wall).ok(),
        // With the offset that comes after, the time lies before the clock is moved.
        AmbiguousOffset::Gap { after, .. } => {
            let before = after.to_timestamp(wall).ok()?;
            zone.following(before).next().map(|moved| moved.timestamp())
        }
    }
}

/// A slot as it stands in identifiers and tags: `202611210200`, UTC.
pub fn format_slot(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y%m%d%H%M").to_string()
}

/// The time of a slot that is written so.
pub fn parse_slot(slot: &str) -> Option<Timestamp> {
    // Digits alone: `strptime` would also take signs and spaces.
    let digits = slot.len() == 12 && slot.bytes().all(|b| b.is_ascii_digit());
    let read = DateTime::strptime("%Y%m%d%H%M", slot).ok().filter(|_| digits)?;
    TimeZone::UTC.to_timestamp(read).ok()
}

/// A length of time as people say it, in its two largest units: `3d 4h`, `25h` is `1d 1h`.
pub fn format_duration(span: SignedDuration) -> String {
    let sign = if span.is_negative() { "-" } else { "" };
    let minutes = span.abs().round(Unit::Second).unwrap_or(span).as_secs() / 60;
    let (days, hours, mins) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    match (days, hours, mins) {
        (0, 0, 0) => format!("{sign}{}s", span.abs().as_secs()),
        (0, 0, m) => format!("{sign}{m}m"),
        (0, h, 0) => format!("{sign}{h}h"),
        (0, h, m) => format!("{sign}{h}h {m}m"),
        (d, 0, _) => format!("{sign}{d}d"),
        (d, h, _) => format!("{sign}{d}d {h}h"),
    }
}

#[cfg(test)]
mod tests;

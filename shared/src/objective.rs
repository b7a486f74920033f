//! How old the newest recovery point may be: as the policy says it, or as a schedule implies it.
//!
//! Where no objective is written, one follows from the schedule: the time between two slots, and a grace for taking the
//! point. It is always shown as derived. Pure: `now` comes in, since the slots of a schedule are not evenly spaced.

use crate::{
    policy::{
        ScheduleConfig,
        text::{Period, ZoneName},
    },
    time::CronSchedule,
};
use jiff::{SignedDuration, Timestamp};

/// Time that a slot has to be served: the functions run every few minutes, and a point takes its time.
pub const BACKUP_GRACE_PERIOD: SignedDuration = SignedDuration::from_hours(1);
/// The same for a copy, which begins after its source is complete and goes to another region.
pub const COPY_GRACE_PERIOD: SignedDuration = SignedDuration::from_hours(6);

/// How old the newest recovery point may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgeObjective {
    /// The most that its data may be old.
    pub max_age: SignedDuration,
    /// It follows from a schedule; the policy does not write it.
    pub derived: bool,
}

impl AgeObjective {
    /// The written objective, or the one that follows from the schedules; none where there is neither. Of several
    /// schedules the one with the shortest interval counts.
    pub fn from_schedules<'w>(
        written: Option<&Period>,
        schedules: impl IntoIterator<Item = &'w ScheduleConfig>,
        zone: &ZoneName,
        now: Timestamp,
    ) -> Option<Self> {
        if let Some(period) = written {
            return Some(Self { max_age: period.duration(), derived: false });
        }
        let intervals = schedules.into_iter().filter_map(|when| schedule_interval(when, zone, now));
        intervals
            .min()
            .map(|interval| Self { max_age: interval + BACKUP_GRACE_PERIOD, derived: true })
    }

    /// The objective of a copy: the written one, or the source's interval with the time that copying takes.
    pub fn for_copy(
        written: Option<&Period>,
        source_interval: Option<SignedDuration>,
    ) -> Option<Self> {
        if let Some(period) = written {
            return Some(Self { max_age: period.duration(), derived: false });
        }
        source_interval
            .map(|i| Self { max_age: i + BACKUP_GRACE_PERIOD + COPY_GRACE_PERIOD, derived: true })
    }
}

/// The time between the newest slot that must be served by now and the one after it.
pub fn schedule_interval(
    when: &ScheduleConfig,
    zone: &ZoneName,
    now: Timestamp,
) -> Option<SignedDuration> {
    let served = newest_overdue_slot(when, zone, now)?;
    let next = CronSchedule::new(when, zone).next_due(served)?;
    Some(next.duration_since(served))
}

/// The newest slot whose grace is over: a point of it, or a newer one, must be there.
pub fn newest_overdue_slot(
    when: &ScheduleConfig,
    zone: &ZoneName,
    now: Timestamp,
) -> Option<Timestamp> {
    CronSchedule::new(when, zone).last_due(now.checked_sub(BACKUP_GRACE_PERIOD).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule_of(cron: &str) -> ScheduleConfig {
        serde_json::from_value(serde_json::json!({ "cron": cron })).expect("when")
    }

    fn hours(crons: &[&str], written: Option<&str>, now: &str) -> Option<(i64, bool)> {
        let whens: Vec<_> = crons.iter().map(|c| schedule_of(c)).collect();
        let written: Option<Period> = written.map(|w| w.parse().expect("a period"));
        let now = now.parse().expect("now");
        let of = AgeObjective::from_schedules(written.as_ref(), &whens, &ZoneName::default(), now)?;
        Some((of.max_age.as_hours(), of.derived))
    }

    #[test]
    fn an_objective_is_written_or_follows_from_the_shortest_schedule() {
        // 2026-11-20 is a Friday.
        let now = "2026-11-20T12:00:00Z";
        assert_eq!(hours(&["0 2 * * *"], None, now), Some((25, true)));
        assert_eq!(hours(&["0 2 * * *"], Some("30h"), now), Some((30, false)));
        assert_eq!(hours(&["0 1 * * 0", "0 2 * * *"], None, now), Some((25, true)));
        assert_eq!(hours(&["0 * * * *"], None, now), Some((2, true)));
        assert_eq!(hours(&[], None, now), None);
    }

    #[test]
    fn the_weekend_of_a_weekday_schedule_is_no_missed_slot() {
        let weekdays = &["0 2 * * 1-5"];
        assert_eq!(hours(weekdays, None, "2026-11-19T12:00:00Z"), Some((25, true)));
        // Friday's point must do until Monday's slot has had its grace.
        assert_eq!(hours(weekdays, None, "2026-11-22T12:00:00Z"), Some((73, true)));
        assert_eq!(hours(weekdays, None, "2026-11-23T02:59:59Z"), Some((73, true)));
        assert_eq!(hours(weekdays, None, "2026-11-23T03:00:00Z"), Some((25, true)));
    }

    #[test]
    fn a_slot_must_be_served_once_its_grace_is_over_and_no_second_sooner() {
        let served = |now: &str| {
            let zone = ZoneName::default();
            newest_overdue_slot(&schedule_of("0 2 * * *"), &zone, now.parse().expect("now"))
                .map(|t| t.to_string())
        };
        assert_eq!(served("2026-11-20T02:59:59Z").as_deref(), Some("2026-11-19T02:00:00Z"));
        assert_eq!(served("2026-11-20T03:00:00Z").as_deref(), Some("2026-11-20T02:00:00Z"));
    }

    #[test]
    fn a_copy_has_its_source_s_interval_and_the_time_to_copy() {
        let day = SignedDuration::from_hours(24);
        let derived = AgeObjective::for_copy(None, Some(day)).expect("derived");
        assert_eq!((derived.max_age.as_hours(), derived.derived), (31, true));
        assert_eq!(AgeObjective::for_copy(None, None), None);
    }
}

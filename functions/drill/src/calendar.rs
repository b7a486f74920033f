//! When a drill is due, until when it may begin, and which of its times were missed. Pure.

use jiff::{SignedDuration, Timestamp};
use shared::{
    policy::{
        DrillRule,
        text::{Period, ZoneName},
    },
    time::CronSchedule,
};

/// A drill that has not begun by then is missed, where the policy says nothing.
const DEFAULT_START_WITHIN: SignedDuration = SignedDuration::from_hours(24);

/// A drill's calendar. Each of its times is a slot: one drill of each asset, or a missed one.
#[derive(Clone, Debug)]
pub struct DrillCalendar {
    schedule: CronSchedule,
    start_within: SignedDuration,
}

impl DrillCalendar {
    /// The calendar of a rule; times without a zone are in the policy's.
    pub fn new(rule: &DrillRule, policy_zone: &ZoneName) -> Self {
        let start_within =
            rule.start_within.as_ref().map_or(DEFAULT_START_WITHIN, Period::duration);
        Self { schedule: CronSchedule::new(&rule.schedule, policy_zone), start_within }
    }

    /// The newest slot at or before `now`.
    pub fn last_slot(&self, now: Timestamp) -> Option<Timestamp> {
        self.schedule.last_due(now)
    }

    /// The slot before a slot.
    pub fn previous_slot(&self, slot: Timestamp) -> Option<Timestamp> {
        self.schedule.last_due(slot.checked_sub(SignedDuration::from_secs(1)).ok()?)
    }

    /// The next slots after `now`, in order.
    pub fn next_slots(&self, now: Timestamp, count: usize) -> Vec<Timestamp> {
        std::iter::successors(self.schedule.next_due(now), |last| self.schedule.next_due(*last))
            .take(count)
            .collect()
    }

    /// The slots after `since` and not after `until`, the newest `most` of them, oldest first.
    pub fn slots_between(&self, since: Timestamp, until: Timestamp, most: usize) -> Vec<Timestamp> {
        let back = std::iter::successors(self.last_slot(until), |slot| self.previous_slot(*slot));
        let mut slots: Vec<_> = back.take_while(|slot| *slot > since).take(most).collect();
        slots.reverse();
        slots
    }

    /// When the drill of a slot must have begun: never after the next slot.
    pub fn start_deadline(&self, slot: Timestamp) -> Timestamp {
        let latest = slot.checked_add(self.start_within).unwrap_or(Timestamp::MAX);
        self.schedule.next_due(slot).map_or(latest, |next| latest.min(next))
    }

    /// Whether the drill of a slot may still begin.
    pub fn is_open(&self, slot: Timestamp, now: Timestamp) -> bool {
        slot <= now && now < self.start_deadline(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use shared::policy::{DrillKind, PointChoice, ScheduleConfig};
    use std::collections::BTreeMap;

    pub(crate) fn rule(cron: &str) -> DrillRule {
        DrillRule {
            kind: DrillKind::Dump,
            of: Some("main".parse().expect("a name")),
            schedule: ScheduleConfig { cron: cron.parse().expect("a schedule"), time_zone: None },
            start_within: None,
            point: PointChoice::Newest,
            point_max_age: None,
            rotate: None,
            only: Vec::new(),
            scratch: None,
            instance_class: None,
            rto: None,
            rpo: None,
            checklist: Vec::new(),
            checks: BTreeMap::new(),
            check_timeout: None,
            newest_row: None,
        }
    }

    fn calendar(cron: &str) -> DrillCalendar {
        DrillCalendar::new(&rule(cron), &ZoneName::default())
    }

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn the_first_monday_of_a_month_and_the_first_sunday_of_a_quarter() {
        let shown = |cron: &str| {
            let slots = calendar(cron).next_slots(time("2026-11-27T14:00:00Z"), 3);
            slots.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            shown("0 9 * * MON#1"),
            ["2026-12-07T09:00:00Z", "2027-01-04T09:00:00Z", "2027-02-01T09:00:00Z"]
        );
        assert_eq!(
            shown("0 6 * 1,4,7,10 SUN#1"),
            ["2027-01-03T06:00:00Z", "2027-04-04T06:00:00Z", "2027-07-04T06:00:00Z"]
        );
    }

    #[test]
    fn a_slot_is_open_until_its_deadline_and_never_into_the_next() {
        let monthly = calendar("0 9 * * MON#1");
        let slot = time("2026-12-07T09:00:00Z");
        assert_eq!(monthly.last_slot(time("2026-12-20T00:00:00Z")), Some(slot));
        assert!(monthly.is_open(slot, slot));
        assert!(monthly.is_open(slot, time("2026-12-08T08:59:59Z")));
        assert!(!monthly.is_open(slot, time("2026-12-08T09:00:00Z")));
        assert!(!monthly.is_open(slot, time("2026-12-07T08:59:59Z")));
        let hourly = calendar("0 * * * *");
        assert_eq!(hourly.start_deadline(slot), time("2026-12-07T10:00:00Z"));
    }

    #[test]
    fn quarters_are_up_to_fourteen_weeks_apart_and_every_slot_is_counted_once() {
        let quarterly = calendar("0 6 * 1,4,7,10 SUN#1");
        let (since, until) = (time("2000-01-01T00:00:00Z"), time("2100-01-01T00:00:00Z"));
        let slots = quarterly.slots_between(since, until, 1000);
        assert_eq!(slots.len(), 400);
        let days: std::collections::BTreeSet<i64> =
            slots.windows(2).map(|w| w[1].duration_since(w[0]).as_hours() / 24).collect();
        assert_eq!(days.into_iter().collect::<Vec<_>>(), [84, 91, 98]);
    }

    proptest! {
        #[test]
        fn slots_between_are_those_that_come_next(from in 0i64..4_000_000_000, days in 1i64..400) {
            for cron in ["0 9 * * MON#1", "30 2 * * 0", "0 6 3 1,4,7,10 *", "0 7 L * *"] {
                let calendar = calendar(cron);
                let since = Timestamp::from_second(from).expect("a time");
                let until = since + SignedDuration::from_hours(24 * days);
                let back = calendar.slots_between(since, until, 10_000);
                let ahead: Vec<_> = calendar
                    .next_slots(since, back.len() + 1)
                    .into_iter()
                    .filter(|slot| *slot <= until)
                    .collect();
                prop_assert_eq!(back, ahead, "{}", cron);
            }
        }
    }
}

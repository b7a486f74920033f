use super::*;
use jiff::civil::{Date, Weekday, date};
use proptest::prelude::*;

fn parse_time(time: &str) -> Timestamp {
    time.parse().expect("a timestamp")
}

fn schedule_in(cron: &str, zone: &str) -> CronSchedule {
    let when = serde_json::json!({ "cron": cron, "time_zone": zone });
    CronSchedule::new(&serde_json::from_value(when).expect("when"), &ZoneName::default())
}

/// Every slot after a time, up to another.
fn slots_between(cron: &str, zone: &str, from: &str, to: &str) -> Vec<String> {
    let schedule = schedule_in(cron, zone);
    let slots = schedule.slots_after(parse_time(from)).take_while(|t| *t <= parse_time(to));
    slots.map(|t| t.to_string()).collect()
}

#[test]
fn the_slot_is_the_newest_due_time_up_to_now() {
    let table = [
        ("0 2 * * *", "UTC", "2026-11-20T02:00:00Z", "2026-11-20T02:00:00Z"),
        ("0 2 * * *", "UTC", "2026-11-20T01:59:59Z", "2026-11-19T02:00:00Z"),
        ("0 1 * * 0", "UTC", "2026-11-20T00:00:00Z", "2026-11-15T01:00:00Z"),
        ("0 4 1 * *", "UTC", "2026-11-20T00:00:00Z", "2026-11-01T04:00:00Z"),
        ("0 4 31 * *", "UTC", "2026-11-20T00:00:00Z", "2026-10-31T04:00:00Z"),
        ("0 4 L * *", "UTC", "2028-03-20T00:00:00Z", "2028-02-29T04:00:00Z"),
        ("0 4 29 2 *", "UTC", "2026-11-20T00:00:00Z", "2024-02-29T04:00:00Z"),
        // 2100 is no leap year, so eight years lie between two of them.
        ("0 4 29 2 *", "UTC", "2103-12-31T00:00:00Z", "2096-02-29T04:00:00Z"),
        ("*/5 * * * *", "UTC", "2026-11-20T00:07:00Z", "2026-11-20T00:05:00Z"),
        ("0 2 * * *", "Europe/Sofia", "2026-11-20T12:00:00Z", "2026-11-20T00:00:00Z"),
        ("0 5 1 1 *", "America/New_York", "2026-11-20T12:00:00Z", "2026-01-01T10:00:00Z"),
    ];
    for (cron, zone, now, expected) in table {
        let got = schedule_in(cron, zone).last_due(parse_time(now)).map(|t| t.to_string());
        assert_eq!(got.as_deref(), Some(expected), "{cron} {zone} {now}");
    }
    let next = schedule_in("0 4 29 2 *", "UTC").next_due(parse_time("2096-03-01T00:00:00Z"));
    assert_eq!(next, Some(parse_time("2104-02-29T04:00:00Z")));
}

#[test]
fn a_slot_in_the_hour_that_does_not_exist_moves_to_the_next_moment_that_does() {
    let table = [
        // London: 01:00 to 02:00 is not there; 02:00 summer time is 01:00 UTC.
        ("30 1 * * *", "Europe/London", "2026-03-29", "2026-03-29T01:00:00Z"),
        ("30 2 * * *", "Europe/Vienna", "2026-03-29", "2026-03-29T01:00:00Z"),
        ("30 3 * * *", "Europe/Sofia", "2026-03-29", "2026-03-29T01:00:00Z"),
        ("0 3 * * *", "Europe/Sofia", "2026-03-29", "2026-03-29T01:00:00Z"),
        ("30 3 * * 0", "Europe/Sofia", "2026-03-29", "2026-03-29T01:00:00Z"),
        ("30 3 29 * *", "Europe/Sofia", "2026-03-29", "2026-03-29T01:00:00Z"),
        ("30 2 * * *", "America/New_York", "2026-03-08", "2026-03-08T07:00:00Z"),
        // Lord Howe moves by half an hour: 02:00 to 02:30 is not there.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-04", "2026-10-03T15:30:00Z"),
        // At midnight: the day begins at 01:00.
        ("0 0 * * *", "Africa/Cairo", "2026-04-24", "2026-04-23T22:00:00Z"),
    ];
    for (cron, zone, day, expected) in table {
        let noon = parse_time(expected) + SignedDuration::from_hours(10);
        assert_eq!(
            schedule_in(cron, zone).last_due(noon),
            Some(parse_time(expected)),
            "{cron} {zone} {day}"
        );
        let before = parse_time(expected) - SignedDuration::from_secs(1);
        assert_eq!(
            schedule_in(cron, zone).next_due(before),
            Some(parse_time(expected)),
            "{cron} {zone}"
        );
    }
    // Six wall-clock times that move to one moment, which has a slot of its own, are that one slot.
    let night = slots_between(
        "*/10 * * * *",
        "Europe/Sofia",
        "2026-03-29T00:45:00Z",
        "2026-03-29T01:15:00Z",
    );
    assert_eq!(night, ["2026-03-29T00:50:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:10:00Z"]);
}

#[test]
fn a_slot_in_the_hour_that_comes_twice_is_due_once() {
    let table = [
        ("30 1 * * *", "Europe/London", "2026-10-25", "2026-10-25T00:30:00Z"),
        ("30 2 * * *", "Europe/Vienna", "2026-10-25", "2026-10-25T00:30:00Z"),
        ("30 3 * * *", "Europe/Sofia", "2026-10-25", "2026-10-25T00:30:00Z"),
        ("30 3 * * 0", "Europe/Sofia", "2026-10-25", "2026-10-25T00:30:00Z"),
        ("30 3 25 10 *", "Europe/Sofia", "2026-10-25", "2026-10-25T00:30:00Z"),
        ("30 1 * * *", "America/New_York", "2026-11-01", "2026-11-01T05:30:00Z"),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-05", "2026-04-04T14:45:00Z"),
    ];
    for (cron, zone, day, expected) in table {
        let (from, to) = (parse_time(expected) - SignedDuration::from_hours(12), 12);
        let to = parse_time(expected) + SignedDuration::from_hours(to);
        let due: Vec<_> =
            schedule_in(cron, zone).slots_after(from).take_while(|t| *t <= to).collect();
        assert_eq!(due, [parse_time(expected)], "{cron} {zone} {day}");
        // Asked within the hour's second coming, it is the first one that was due.
        let second = parse_time(expected) + SignedDuration::from_mins(65);
        assert_eq!(
            schedule_in(cron, zone).last_due(second),
            Some(parse_time(expected)),
            "{cron} {zone}"
        );
    }
}

#[test]
fn a_backup_is_owed_when_its_grace_is_over() {
    let table = [
        // A day's backup has six hours.
        ("0 2 * * *", "2026-11-20T07:59:00Z", "2026-11-19T02:00:00Z"),
        ("0 2 * * *", "2026-11-20T08:00:00Z", "2026-11-20T02:00:00Z"),
        // An hour's has an hour.
        ("0 * * * *", "2026-11-20T07:59:00Z", "2026-11-20T06:00:00Z"),
        ("0 1 * * 0", "2026-11-15T06:59:00Z", "2026-11-08T01:00:00Z"),
        ("0 4 1 * *", "2026-12-31T00:00:00Z", "2026-12-01T04:00:00Z"),
    ];
    for (cron, now, expected) in table {
        assert_eq!(
            schedule_in(cron, "UTC").last_due_past_grace(parse_time(now)),
            Some(parse_time(expected)),
            "{cron} {now}"
        );
    }
}

#[test]
fn a_slot_is_read_as_it_is_written() {
    assert_eq!(parse_slot("202611210200"), Some(parse_time("2026-11-21T02:00:00Z")));
    for other in ["", "20261121", "2026112102000", "202613210200", "+02611210200", "2026-1121020"] {
        assert_eq!(parse_slot(other), None, "{other}");
    }
}

/// When a schedule of days is due, and on which days it is.
#[derive(Clone, Debug)]
enum CronDays {
    All,
    Weekday(i8),
    OfMonth(i8),
    OfYear(i8, i8),
}

impl CronDays {
    fn cron_field(&self) -> String {
        match self {
            Self::All => "* * *".into(),
            Self::Weekday(day) => format!("* * {day}"),
            Self::OfMonth(day) => format!("{day} * *"),
            Self::OfYear(month, day) => format!("{day} {month} *"),
        }
    }

    fn contains_day(&self, day: Date) -> bool {
        match self {
            Self::All => true,
            Self::Weekday(n) => {
                day.weekday() == Weekday::from_sunday_zero_offset(*n).expect("a day")
            }
            Self::OfMonth(n) => day.day() == *n,
            Self::OfYear(month, n) => day.month() == *month && day.day() == *n,
        }
    }
}

fn any_days() -> impl Strategy<Value = CronDays> {
    prop_oneof![
        Just(CronDays::All),
        (0i8..7).prop_map(CronDays::Weekday),
        (1i8..32).prop_map(CronDays::OfMonth),
        Just(CronDays::OfYear(2, 29)),
        (1i8..13, 1i8..29).prop_map(|(month, day)| CronDays::OfYear(month, day)),
    ]
}

fn zone_names() -> Vec<String> {
    jiff::tz::db().available().map(|name| name.to_string()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..Default::default() })]

    /// Over any three years, in any zone, there is one slot for each date that is scheduled, and it lies on that date.
    #[test]
    fn a_schedule_never_skips_and_never_doubles(
        year in 2014i16..2060, days in any_days(), hour in 0i8..24, minute in 0i8..60,
        zone in prop::sample::select(zone_names()),
    ) {
        let cron = format!("{minute} {hour} {}", days.cron_field());
        let schedule = schedule_in(&cron, &zone);
        // No clock is moved at noon.
        let noon = |year| date(year, 5, 15).at(12, 0, 0, 0);
        let (from, to) = (noon(year), noon(year + 3));
        let moment = |wall| resolve_wall_time(schedule.zone(), wall).expect("noon");
        let due: Vec<Timestamp> =
            schedule.slots_after(moment(from)).take_while(|t| *t <= moment(to)).collect();
        let dates: Vec<Date> = from.date().series(Span::new().days(1))
            .take_while(|d| *d <= to.date())
            .filter(|d| days.contains_day(*d))
            .filter(|d| { let wall = d.at(hour, minute, 0, 0); wall > from && wall <= to })
            .collect();
        let on: Vec<Date> = due.iter().map(|t| schedule.zone().to_datetime(*t).date()).collect();
        prop_assert_eq!(on, dates, "{} in {}", cron, zone);
        prop_assert!(due.is_sorted_by(|a, b| a < b));
    }

    /// What was due last and what is due next have no slot between them, whatever the schedule and wherever the clock is.
    #[test]
    fn the_last_slot_and_the_next_are_neighbours(
        seconds in 1_400_000_000i64..2_800_000_000, zone in prop::sample::select(zone_names()),
        cron in prop::sample::select(vec!["*/7 * * * *", "30 * * * *", "0 */3 * * *", "30 1 * * *", "15 2 1 * *", "0 0 * * 0"]),
    ) {
        let now = Timestamp::from_second(seconds).expect("a time");
        let schedule = schedule_in(cron, &zone);
        let (last, next) = (schedule.last_due(now).expect("due"), schedule.next_due(now).expect("due"));
        prop_assert!(last <= now && now < next);
        prop_assert_eq!(schedule.next_due(last), Some(next));
        prop_assert_eq!(schedule.last_due(next - SignedDuration::from_secs(1)), Some(last));
        let owed = schedule.last_due_past_grace(now).expect("owed");
        prop_assert!(owed <= last && schedule.last_due(owed) == Some(owed));
    }
}

#[test]
fn ages_are_written_in_two_units() {
    let say = |s| format_duration(SignedDuration::from_secs(s));
    assert_eq!(
        [say(5), say(65), say(3600), say(90_000), say(-7200), say(864_000)],
        ["5s", "1m", "1h", "1d 1h", "-2h", "10d"]
    );
}

//! Times: what is due, and how ages are written.

use crate::policy::{When, text::ZoneName};
use cronexpr::Crontab;
use jiff::{SignedDuration, Timestamp, Unit, tz::TimeZone};

/// A policy's schedule, ready to be asked.
#[derive(Clone, Debug)]
pub struct Schedule(Crontab);

impl Schedule {
    /// The schedule `when`, in its own time zone or in the policy's.
    pub fn new(when: &When, policy_zone: &ZoneName) -> Self {
        let zone = when.time_zone.as_ref().unwrap_or(policy_zone);
        let cron = format!("{} {zone}", when.cron);
        Self(cronexpr::parse_crontab(&cron).expect("cron and zone were checked with the policy"))
    }

    /// The newest time at or before `now` at which it was due: the slot that a recovery point belongs to.
    pub fn last_due(&self, now: Timestamp) -> Option<Timestamp> {
        // Look back over ever longer spans, so that an hourly schedule is answered from an hour and a yearly one from years.
        let mut span = SignedDuration::from_hours(2);
        while span < SignedDuration::from_hours(24 * 366 * 9) {
            let from = now.checked_sub(span).ok()?;
            let due = self.0.iter_after(from).ok()?.map_while(Result::ok);
            if let Some(last) = due.map(|z| z.timestamp()).take_while(|t| *t <= now).last() {
                return Some(last);
            }
            span *= 8;
        }
        None
    }

    /// The next time after `now`.
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        self.0.find_next(now.to_string().as_str()).ok().map(|z| z.timestamp())
    }
}

/// A slot as it stands in identifiers: `202611210200`, UTC.
pub fn slot(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y%m%d%H%M").to_string()
}

/// A length of time as people say it, in its two largest units: `3d 4h`, `25h` is `1d 1h`.
pub fn human(span: SignedDuration) -> String {
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
mod tests {
    use super::*;

    fn due(cron: &str, zone: &str, now: &str) -> String {
        let when: When =
            serde_json::from_value(serde_json::json!({ "cron": cron, "time_zone": zone }))
                .expect("when");
        let schedule = Schedule::new(&when, &ZoneName::default());
        schedule.last_due(now.parse().expect("now")).map_or("never".into(), |t| t.to_string())
    }

    #[test]
    fn the_slot_is_the_newest_due_time_up_to_now() {
        let table = [
            ("0 2 * * *", "UTC", "2026-11-20T02:00:00Z", "2026-11-20T02:00:00Z"),
            ("0 2 * * *", "UTC", "2026-11-20T01:59:59Z", "2026-11-19T02:00:00Z"),
            ("0 1 * * 0", "UTC", "2026-11-20T00:00:00Z", "2026-11-15T01:00:00Z"),
            ("0 4 1 * *", "UTC", "2026-11-20T00:00:00Z", "2026-11-01T04:00:00Z"),
            ("0 4 29 2 *", "UTC", "2026-11-20T00:00:00Z", "2024-02-29T04:00:00Z"),
            ("*/5 * * * *", "UTC", "2026-11-20T00:07:00Z", "2026-11-20T00:05:00Z"),
            ("0 2 * * *", "Europe/Sofia", "2026-11-20T12:00:00Z", "2026-11-20T00:00:00Z"),
            // The clock goes from 03:00 to 04:00 on this day, so 03:30 is not there.
            ("30 3 * * *", "Europe/Sofia", "2026-03-29T12:00:00Z", "2026-03-29T00:30:00Z"),
        ];
        for (cron, zone, now, expected) in table {
            let got = due(cron, zone, now);
            if cron == "30 3 * * *" {
                // Either side of the jump will do; what matters is that a day without 03:30 does not stop the schedule.
                assert!(got.as_str() >= "2026-03-28T01:30:00Z", "{got}");
            } else {
                assert_eq!(got, expected, "{cron} {zone} {now}");
            }
        }
    }

    #[test]
    fn ages_are_written_in_two_units() {
        let say = |s| human(SignedDuration::from_secs(s));
        assert_eq!(
            [say(5), say(65), say(3600), say(90_000), say(-7200), say(864_000)],
            ["5s", "1m", "1h", "1d 1h", "-2h", "10d"]
        );
    }
}

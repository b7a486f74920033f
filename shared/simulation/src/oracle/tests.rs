use super::*;
use crate::random::Random;
use shared::{keep::reasons_to_keep, policy::ScheduleConfig, time::CronSchedule};

fn rule(yaml: serde_json::Value) -> RetentionRule {
    serde_json::from_value(yaml).expect("a rule")
}

#[test]
fn the_oracle_and_the_rules_agree_on_what_is_kept_of_any_history() {
    let rules = [
        serde_json::json!({ "for": "10d" }),
        serde_json::json!({ "newest": 3 }),
        serde_json::json!({ "daily": 5, "weekly": 3, "monthly": 4, "yearly": 2 }),
        serde_json::json!({ "hourly": 4, "newest": 1 }),
    ];
    let mut random = Random::from_seed(3);
    let start: Timestamp = "2026-11-20T12:00:00Z".parse().expect("a time");
    for round in 0..200 {
        let now = start + SignedDuration::from_hours(round * 37);
        let mut times: Vec<Timestamp> = (0..random.below(40))
            .map(|_| now - SignedDuration::from_mins(random.between(-60, 800_000)))
            .collect();
        times.sort_unstable();
        times.dedup();
        let keyed: Vec<_> = times.iter().map(|t| (*t, *t)).collect();
        for rule in rules.iter().map(|r| self::rule(r.clone())) {
            let kept = reasons_to_keep(&keyed, &rule, now);
            for at in &times {
                assert_eq!(
                    is_kept(*at, &times, &rule, now),
                    kept.contains_key(at),
                    "{at} at {now} by {rule:?}"
                );
            }
        }
    }
}

#[test]
fn the_oracle_and_the_schedule_agree_on_every_slot_of_every_zone_s_year() {
    for zone in ["UTC", "Europe/Sofia", "America/New_York", "Australia/Lord_Howe", "Europe/London"]
    {
        for cron in ["30 2 * * *", "0 0 1 * *", "15 1 * * 0", "5 * * * *"] {
            let when = serde_json::json!({ "cron": cron, "time_zone": zone });
            let when: ScheduleConfig = serde_json::from_value(when).expect("a schedule");
            let schedule = CronSchedule::new(&when, when.time_zone.as_ref().expect("a zone"));
            let simple = SimpleSchedule::parse(cron, TimeZone::get(zone).expect("a zone"));
            let simple = simple.expect("a simple one");
            let start: Timestamp = "2026-03-01T00:07:00Z".parse().expect("a time");
            for step in 0..300 {
                let now = start + SignedDuration::from_mins(step * 60 * 29 + step);
                assert_eq!(
                    simple.last_due(now),
                    schedule.last_due(now),
                    "{cron} in {zone} at {now}"
                );
            }
        }
    }
}

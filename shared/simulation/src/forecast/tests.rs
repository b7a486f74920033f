use super::*;

fn policy(text: &str) -> Policy {
    Policy::parse(text).expect("a policy")
}

fn days(text: &str, days: u32) -> Forecast {
    let start = "2026-11-20T00:00:00Z".parse().expect("a time");
    forecast(&policy(text), &ForecastRequest { days, ..ForecastRequest::year_from(start) })
}

const HOME: &str =
    "{holdfast: 1, company: acme, home: {account: \"111122223333\", region: eu-west-1}, ";

#[test]
fn a_daily_snapshot_for_35_days_becomes_36_points_and_nothing_is_found() {
    let text = format!(
        "{HOME} databases: {{main: {{select: {{identifiers: [orders]}}, snapshots: \
         {{daily: {{schedule: {{cron: \"0 2 * * *\"}}, keep: {{for: 35d}}}}}}}}}}}}"
    );
    let found = days(&text, 90);
    let [daily] = &found.points[..] else { panic!("{:?}", found.points) };
    assert_eq!((daily.group.as_str(), daily.asset.as_str(), daily.made), ("main", "orders", 91));
    assert!((35..=36).contains(&daily.at_end), "{daily:?}");
    assert_eq!(daily.made - daily.deleted, daily.at_end);
    assert_eq!(found.surprises(), Vec::<String>::new());
    // Holdfast's snapshot at 02:00 and RDS's own at 03:00: 23 hours, and what the snapshot takes.
    let worst = found.ages.iter().map(|a| a.worst_seconds).max().expect("an age");
    assert!((82_000..=84_000).contains(&worst), "{worst}");
}

#[test]
fn a_quota_that_fills_is_said_with_its_day() {
    let text = format!(
        "{HOME} databases: {{main: {{select: {{include: [\"prod-*\"]}}, expect: 8, snapshots: \
         {{daily: {{schedule: {{cron: \"0 2 * * *\"}}, keep: {{for: 35d}}}}}}}}}}}}"
    );
    let said = days(&text, 60).surprises();
    assert!(said.iter().any(|s| s.contains("is reached on day 12")), "{said:?}");
}

#[test]
fn an_objective_that_is_shorter_than_the_schedule_is_seen_before_it_alarms() {
    let text = format!(
        "{HOME} databases: {{main: {{select: {{identifiers: [orders]}}, objectives: {{max_age: 20h}}, \
         automated_backups: {{retention: 7d}}, snapshots: \
         {{daily: {{schedule: {{cron: \"0 2 * * *\"}}, keep: {{for: 35d}}}}}}}}}}}}"
    );
    let said = days(&text, 30).surprises();
    assert!(said.iter().any(|s| s.contains("backup-stale")), "{said:?}");
}

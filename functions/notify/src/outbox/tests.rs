use super::*;
use crate::{
    heard::{NotificationEvent, ReportedRun},
    plan::{enqueue, plan},
};
use std::time::Duration;

fn policy() -> Policy {
    Policy::parse(
        r"
holdfast: 1
company: acme
id: host-1
notify:
  channels:
    chat: { slack: { env: S } }
    pager: { pagerduty: { env: P } }
    spare: { http: 'https://spare.example' }
  routes:
    - { severity: critical, to: [pager, chat] }
  escalation:
    - { after: 1h, to: [spare] }
",
    )
    .expect("a policy")
}

fn minutes_in(minutes: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000).expect("a time") + SignedDuration::from_mins(minutes)
}

fn report_events(at: Timestamp, stale: bool) -> Vec<NotificationEvent> {
    let finding = serde_json::json!({"severity": "critical", "asset": "orders", "code": "backup-stale", "message": "old", "hint": "x"});
    let findings = if stale { vec![finding] } else { vec![] };
    let run = serde_json::json!({"function": "freshness", "policy": "acme", "run_id": at, "started_at": at, "complete": true, "findings": findings});
    vec![NotificationEvent::Report(Box::new(
        serde_json::from_value::<ReportedRun>(run).expect("a report"),
    ))]
}

fn ingest_events(state: NotifyState, heard: &[NotificationEvent], at: Timestamp) -> NotifyState {
    let (mut state, told) = plan(&policy(), state, heard, at);
    enqueue(&mut state, told, at);
    state
}

fn delivery_error(retry_after: Option<u64>, permanent: bool) -> DeliveryError {
    DeliveryError {
        why: "503".into(),
        retry_after: retry_after.map(Duration::from_secs),
        permanent,
    }
}

/// Sends what is claimed: to the channels that work.
fn send_claimed(
    state: &mut NotifyState,
    down: &[&str],
    with: &DeliveryError,
    at: Timestamp,
) -> Vec<String> {
    let claimed = claim_due(state, at);
    let result = |e: &OutboxEntry| {
        if down.contains(&e.channel.as_str()) { Err(with.clone()) } else { Ok(()) }
    };
    let results: Vec<_> = claimed.into_iter().map(|e| (e.clone(), result(&e))).collect();
    record_results(&policy(), state, &results, at);
    results
        .iter()
        .filter(|(_, r)| r.is_ok())
        .map(|(e, _)| format!("{} {}", e.channel, e.message.title))
        .collect()
}

/// Sends until nothing is left to send now.
fn send_until_settled(
    mut state: NotifyState,
    down: &[&str],
    with: &DeliveryError,
    at: Timestamp,
) -> (NotifyState, Vec<String>) {
    let mut said = Vec::new();
    for _ in 0..4 {
        said.extend(send_claimed(&mut state, down, with, at));
        state = ingest_events(state, &[], at);
    }
    (state, said)
}

#[test]
fn what_is_claimed_is_nobody_elses_for_two_minutes() {
    let mut state = ingest_events(
        NotifyState::new(minutes_in(0)),
        &report_events(minutes_in(0), true),
        minutes_in(0),
    );
    assert_eq!(claim_due(&mut state, minutes_in(0)).len(), 2);
    assert!(claim_due(&mut state, minutes_in(1)).is_empty());
    assert_eq!(claim_due(&mut state, minutes_in(2)).len(), 2, "who claimed them was killed");
}

#[test]
fn a_claim_holds_for_a_notifier_whose_clock_is_a_little_behind() {
    let ahead = minutes_in(0) + SignedDuration::from_millis(27);
    let mut state = ingest_events(NotifyState::new(ahead), &report_events(ahead, true), ahead);
    assert_eq!(claim_due(&mut state, ahead).len(), 2);
    let mut state = ingest_events(state, &report_events(minutes_in(0), true), minutes_in(0));
    assert!(claim_due(&mut state, minutes_in(0)).is_empty(), "it would be sent twice");
}

#[test]
fn a_channel_that_is_down_is_a_problem_of_its_own_and_its_message_waits_for_it() {
    let state = ingest_events(
        NotifyState::new(minutes_in(0)),
        &report_events(minutes_in(0), true),
        minutes_in(0),
    );
    let (state, said) =
        send_until_settled(state, &["chat"], &delivery_error(None, false), minutes_in(0));
    assert_eq!(
        said,
        ["pager critical: orders: backup-stale", "pager the channel chat can't be reached"]
    );
    assert_eq!(state.outbox.len(), 1, "{:?}", state.outbox);
    let (state, said) = send_until_settled(state, &[], &delivery_error(None, false), minutes_in(1));
    assert_eq!(
        said,
        [
            "chat critical: orders: backup-stale",
            "pager resolved after 1m: notify/chat: undelivered"
        ]
    );
    assert!(state.outbox.is_empty());
}

#[test]
fn when_a_whole_route_is_down_another_channel_is_told_and_later_of_the_end_too() {
    let state = ingest_events(
        NotifyState::new(minutes_in(0)),
        &report_events(minutes_in(0), true),
        minutes_in(0),
    );
    let down = ["chat", "pager"];
    let (state, said) =
        send_until_settled(state, &down, &delivery_error(None, false), minutes_in(0));
    assert!(said.contains(&"spare critical: orders: backup-stale".to_owned()), "{said:?}");
    let state = ingest_events(state, &report_events(minutes_in(30), false), minutes_in(30));
    let (_, said) = send_until_settled(state, &down, &delivery_error(None, false), minutes_in(30));
    assert!(said.iter().any(|s| s.starts_with("spare resolved after 30m: orders")), "{said:?}");
}

#[test]
fn who_asks_for_patience_gets_it_before_others_are_told() {
    let state = ingest_events(
        NotifyState::new(minutes_in(0)),
        &report_events(minutes_in(0), true),
        minutes_in(0),
    );
    let busy = delivery_error(Some(120), false);
    let (state, said) = send_until_settled(state, &["chat"], &busy, minutes_in(0));
    assert_eq!(said, ["pager critical: orders: backup-stale"]);
    let (state, said) = send_until_settled(state, &["chat"], &busy, minutes_in(1));
    assert!(said.is_empty() && state.outbox[0].attempts == 1, "not before it said: {said:?}");
    let (_, said) = send_until_settled(state, &["chat"], &busy, minutes_in(6));
    assert_eq!(said, ["pager the channel chat can't be reached"]);
}

#[test]
fn pauses_double_up_to_an_hour_and_what_is_a_day_old_goes_into_the_digest() {
    assert_eq!(retry_delay(1, &delivery_error(None, false)), SignedDuration::from_secs(30));
    assert_eq!(retry_delay(2, &delivery_error(None, false)), SignedDuration::from_secs(60));
    assert_eq!(retry_delay(99, &delivery_error(None, false)), SignedDuration::from_hours(1));
    assert_eq!(retry_delay(1, &delivery_error(None, true)), SignedDuration::from_hours(1));
    assert_eq!(retry_delay(1, &delivery_error(Some(900), false)), SignedDuration::from_mins(15));
    assert_eq!(
        retry_delay(1, &delivery_error(Some(9_000_000), false)),
        SignedDuration::from_hours(6)
    );
    let state = ingest_events(
        NotifyState::new(minutes_in(0)),
        &report_events(minutes_in(0), true),
        minutes_in(0),
    );
    let (mut state, _) =
        send_until_settled(state, &["chat"], &delivery_error(None, false), minutes_in(0));
    let lost = claim_due(&mut state, minutes_in(24 * 60));
    assert!(lost.iter().all(|e| e.channel.as_str() != "chat") && state.day.dropped == 1);
    assert_eq!(state.day.dropped_titles, ["chat: critical: orders: backup-stale"]);
}

#[test]
fn later_messages_of_a_channel_wait_behind_the_one_that_could_not_be_sent() {
    let state = ingest_events(
        NotifyState::new(minutes_in(0)),
        &report_events(minutes_in(0), true),
        minutes_in(0),
    );
    let (state, _) =
        send_until_settled(state, &["chat"], &delivery_error(None, false), minutes_in(0));
    let mut state = ingest_events(
        state,
        &report_events(minutes_in(0) + SignedDuration::from_secs(5), false),
        minutes_in(0) + SignedDuration::from_secs(5),
    );
    let claimed = claim_due(&mut state, minutes_in(0) + SignedDuration::from_secs(5));
    assert!(
        claimed.iter().all(|e| e.channel.as_str() != "chat"),
        "fixed is not told before it was wrong"
    );
}

#[test]
fn the_outbox_is_bounded_and_keeps_the_worst() {
    let mut state = ingest_events(
        NotifyState::new(minutes_in(0)),
        &report_events(minutes_in(0), true),
        minutes_in(0),
    );
    let critical = state.outbox[0].clone();
    for n in 0..MAX_OUTBOX_MESSAGES {
        let mut info = critical.clone();
        info.message.severity = Severity::Info;
        info.message.id = format!("i{n}");
        state.outbox.push(info);
    }
    enforce_capacity(&mut state);
    assert_eq!(state.outbox.len(), MAX_OUTBOX_MESSAGES);
    assert_eq!(state.outbox.iter().filter(|e| e.message.severity == Severity::Critical).count(), 2);
}

#[test]
fn with_every_channel_down_nothing_runs_in_circles_and_all_is_said_when_they_are_back() {
    let mut state = ingest_events(
        NotifyState::new(minutes_in(0)),
        &report_events(minutes_in(0), true),
        minutes_in(0),
    );
    let down = ["chat", "pager", "spare"];
    for minute in 0..120 {
        state =
            send_until_settled(state, &down, &delivery_error(None, false), minutes_in(minute)).0;
        assert!(state.outbox.len() < 20, "{} wait", state.outbox.len());
    }
    let (state, said) =
        send_until_settled(state, &[], &delivery_error(None, false), minutes_in(240));
    assert!(said.contains(&"pager critical: orders: backup-stale".to_owned()), "{said:?}");
    assert!(state.outbox.is_empty());
}

use super::*;

fn sample_events(file: &str) -> Vec<NotificationEvent> {
    let path = format!("{}/../../events/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect(&path);
    parse_event(&serde_json::from_str(&text).expect("json")).expect(file)
}

#[test]
fn every_sample_event_is_read() {
    assert!(sample_events("notify-tick.json").is_empty());
    assert!(sample_events("schedule-event.json").is_empty());
    let [NotificationEvent::Report(run)] = &sample_events("notify-report.json")[..] else {
        panic!("a report")
    };
    assert_eq!((run.function.as_str(), run.findings.len(), run.complete), ("freshness", 1, true));
    let [NotificationEvent::Alarm(alarm)] = &sample_events("notify-alarm.json")[..] else {
        panic!("an alarm")
    };
    assert_eq!((alarm.name.as_str(), alarm.state.as_str()), ("acme-backup-age", "ALARM"));
    assert_eq!(alarm.at.to_string(), "2026-11-20T12:07:00.123Z");
    let [NotificationEvent::InvocationFailed(news)] =
        &sample_events("notify-not-completed.json")[..]
    else {
        panic!("a failure")
    };
    assert_eq!((news.function.as_str(), news.reported), ("freshness", false));
    assert!(news.why.starts_with("Sandbox.Timedout"), "{}", news.why);
}

#[test]
fn a_message_for_people_about_a_failed_run_is_no_news() {
    let event = |audience: &str| {
        serde_json::json!({"Records": [{"Sns": {
            "Subject": "acme freshness failed", "Message": "freshness of acme: 1 critical",
            "MessageAttributes": {"holdfast-audience": {"Type": "String", "Value": audience}},
        }}]})
    };
    assert_eq!(parse_event(&event("people")), Ok(vec![]));
    parse_event(&event("notify")).expect_err("the subject's words decide nothing");
}

#[test]
fn what_is_none_of_ours_is_one_clear_error() {
    let sns = |message: &str| serde_json::json!({"Records": [{"Sns": {"Subject": "hello", "Message": message}}]});
    let table = [
        serde_json::json!({}),
        serde_json::json!([]),
        serde_json::Value::Null,
        serde_json::json!({"tick": false}),
        serde_json::json!({"Records": [{"s3": {}}]}),
        sns("hello"),
        sns("[1]"),
        sns("{\"a\": 1}"),
        sns("{\"function\": \"dump\", \"run_id\": \"r\"}"),
        sns("{\"AlarmName\": \"a\"}"),
        sns(
            "{\"AlarmName\": \"a\", \"NewStateValue\": \"OK\", \"StateChangeTime\": \"yesterday\"}",
        ),
        serde_json::json!({"requestContext": {"functionArn": "arn:aws:lambda:r:a:function:x-dump"}}),
    ];
    let said: Vec<_> =
        table.iter().map(|e| parse_event(e).expect_err("not ours").to_string()).collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
    this event can't be read: it is no report of a function, no change of a CloudWatch alarm, no failure that Lambda tells of, and no {"tick": true}
    this event can't be read: it is no report of a function, no change of a CloudWatch alarm, no failure that Lambda tells of, and no {"tick": true}
    this event can't be read: it is no report of a function, no change of a CloudWatch alarm, no failure that Lambda tells of, and no {"tick": true}
    this event can't be read: it is no report of a function, no change of a CloudWatch alarm, no failure that Lambda tells of, and no {"tick": true}
    this event can't be read: a record is no message of SNS: it lacks Sns.Message
    this event can't be read: the message "hello" of SNS is no JSON object
    this event can't be read: the message "hello" of SNS is no JSON object
    this event can't be read: it is no report of a function, no change of a CloudWatch alarm, no failure that Lambda tells of, and no {"tick": true}
    this event can't be read: missing field `policy` in a report
    this event can't be read: a change of a CloudWatch alarm lacks NewStateValue
    this event can't be read: "yesterday" is no time in a change of a CloudWatch alarm
    this event can't be read: what Lambda says of an invocation lacks requestContext.condition
    "#);
}

#[test]
fn a_lambda_is_known_by_the_end_of_its_name() {
    assert_eq!(function_of_lambda("holdfast-acme-freshness"), "freshness");
    assert_eq!(function_of_lambda("dump"), "dump");
    assert_eq!(function_of_lambda("mydump"), "mydump");
}

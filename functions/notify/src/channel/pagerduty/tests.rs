use super::*;
use crate::channel::{
    samples::{ALL_KINDS, flood_message, sample_message},
    words::truncate_message,
};

/// Whether PagerDuty takes it, by its published schema and limits.
fn assert_valid(event: &PagerDutyEvent) {
    let payload = |required: &[&str]| {
        json!({"type": "object", "required": required, "properties": {
            "summary": {"type": "string", "minLength": 1, "maxLength": MAX_SUMMARY_CHARS},
            "source": {"type": "string", "minLength": 1},
            "severity": {"enum": ["critical", "warning", "error", "info"]},
            "timestamp": {"type": "string", "format": "date-time"},
            "component": {"type": "string"},
            "group": {"type": "string"},
            "class": {"type": "string"},
            "custom_details": {"type": "object"},
        }, "additionalProperties": false})
    };
    let schema = if event.path == "/v2/change/enqueue" {
        json!({"type": "object", "required": ["payload"], "properties": {"payload": payload(&["summary"])}})
    } else {
        json!({"type": "object", "required": ["event_action", "dedup_key"], "additionalProperties": false,
            "properties": {
                "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
                "dedup_key": {"type": "string", "maxLength": MAX_DEDUP_KEY_LEN, "minLength": 1},
                "client": {"type": "string"},
                "payload": payload(&["summary", "source", "severity"]),
            },
            "if": {"properties": {"event_action": {"const": "trigger"}}}, "then": {"required": ["payload"]}})
    };
    jsonschema::validate(&schema, &event.body).unwrap_or_else(|e| panic!("{e}: {}", event.body));
    assert!(event.body.to_string().len() < 512 << 10);
}

#[test]
fn every_kind_of_message_is_events_that_pagerduty_takes() {
    for kind in ALL_KINDS {
        let events = build_events(&truncate_message(&sample_message(kind)));
        assert!(!events.is_empty(), "{kind:?}");
        events.iter().for_each(assert_valid);
    }
}

#[test]
fn what_calls_somebody_is_an_alert_and_what_is_only_news_is_a_change() {
    let table: Vec<String> = ALL_KINDS
        .iter()
        .flat_map(|k| build_events(&sample_message(*k)).into_iter().map(move |e| (k, e)))
        .map(|(k, e)| {
            format!("{k:?}: {} {} {}", e.path, e.body["event_action"], e.body["dedup_key"])
        })
        .collect();
    insta::assert_snapshot!(table.join("\n"), @r#"
    Opened: /v2/enqueue "trigger" "lomash/bestellungen-größe/stale"
    Opened: /v2/enqueue "trigger" "lomash/<script>/no-point"
    StillOpen: /v2/enqueue "trigger" "lomash/bestellungen-größe/stale"
    Resolved: /v2/enqueue "resolve" "lomash/bestellungen-größe/stale"
    Success: /v2/change/enqueue null null
    Digest: /v2/change/enqueue null null
    StorageReport: /v2/change/enqueue null null
    RecoveryStarted: /v2/change/enqueue null null
    RecoveryUpdate: /v2/change/enqueue null null
    RecoveryComplete: /v2/change/enqueue null null
    Undelivered: /v2/enqueue "trigger" "lomash-undelivered-202611210830"
    Test: /v2/enqueue "trigger" "lomash-test-202611210830"
    "#);
}

#[test]
fn an_incident_is_triggered_with_all_that_is_known_of_it() {
    let event = build_events(&truncate_message(&sample_message(MessageKind::Opened))).remove(0);
    insta::assert_snapshot!(serde_json::to_string_pretty(&event.body).expect("JSON"), @r#"
    {
      "event_action": "trigger",
      "dedup_key": "lomash/bestellungen-größe/stale",
      "client": "Holdfast",
      "payload": {
        "summary": "Lomash Wöod & Söhne: bestellungen-größe: the newest good point is 26h old, 24h are allowed",
        "source": "eu-west-1",
        "severity": "critical",
        "timestamp": "2026-11-21T06:15:00Z",
        "component": "bestellungen-größe",
        "group": "production",
        "class": "stale",
        "custom_details": {
          "What is wrong": "the newest good point is 26h old, 24h are allowed",
          "Since": "2026-11-21 06:15 UTC (2h 15m)",
          "At risk": "1d 2h of data: 108% of the 1d allowed",
          "Last good point": "orders-daily-202611200200 at eu-west-1",
          "Next": "holdfast run snapshot --asset bestellungen-größe",
          "Company": "Lomash Wöod & Söhne",
          "Message": "lomash-opened-202611210830"
        }
      }
    }
    "#);
}

#[test]
fn an_incident_is_resolved_by_the_key_that_it_was_triggered_by() {
    let opened = build_events(&sample_message(MessageKind::Opened)).remove(0);
    let resolved = build_events(&sample_message(MessageKind::Resolved)).remove(0);
    assert_eq!(opened.body["dedup_key"], resolved.body["dedup_key"]);
    assert_eq!(
        resolved.body,
        json!({"event_action": "resolve", "dedup_key": "lomash/bestellungen-größe/stale"})
    );
}

#[test]
fn ten_thousand_findings_are_twenty_events_and_one_for_the_rest() {
    let events = build_events(&truncate_message(&flood_message()));
    assert_eq!(events.len(), 21);
    events.iter().for_each(assert_valid);
    let rest = events.last().expect("the last").body["payload"]["summary"].as_str().expect("text");
    assert!(rest.ends_with("and 9980 more") || rest.ends_with('…'), "{rest}");
    let keys: std::collections::BTreeSet<_> =
        events.iter().map(|e| e.body["dedup_key"].to_string()).collect();
    assert_eq!(keys.len(), 21, "keys that are cut must not become one");
}

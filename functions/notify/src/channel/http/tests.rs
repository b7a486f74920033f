use super::*;
use crate::channel::{
    samples::{ALL_KINDS, flood_message, sample_message},
    words::truncate_message,
};

/// What each kind of message is in a body, one line a post.
fn body_table(body: WebhookBody) -> String {
    let lines = ALL_KINDS.iter().flat_map(|k| {
        let posts = request_bodies(body, &truncate_message(&sample_message(*k)));
        posts.into_iter().map(move |p| format!("{k:?}: {p}"))
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_backup_is_posted_as_the_companys_own_script_posts_it() {
    insta::assert_snapshot!(body_table(WebhookBody::Backup), @r#"
    Opened: {"status":"failed","backup_file":"bestellungen-größe","size":"0"}
    Opened: {"status":"failed","backup_file":"<script>alert('1')</script>","size":"0"}
    StillOpen: {"status":"failed","backup_file":"bestellungen-größe","size":"0"}
    Success: {"status":"success","backup_file":"indostar_20261121.dump","size":"1.5G"}
    Test: {"status":"test","backup_file":"","size":"0"}
    "#);
}

#[test]
fn a_verification_is_posted_as_the_companys_own_script_posts_it() {
    insta::assert_snapshot!(body_table(WebhookBody::Verification), @r#"
    Opened: {"status":"failed","backup_file":"bestellungen-größe","record_count":0}
    Opened: {"status":"failed","backup_file":"<script>alert('1')</script>","record_count":0}
    StillOpen: {"status":"failed","backup_file":"bestellungen-größe","record_count":0}
    Success: {"status":"success","backup_file":"indostar_20261121.dump","record_count":48211}
    Test: {"status":"test","backup_file":"","record_count":0}
    "#);
}

#[test]
fn an_alert_is_posted_as_the_companys_own_script_posts_it() {
    insta::assert_snapshot!(body_table(WebhookBody::Alert), @r#"
    Opened: {"severity":"critical","message":"bestellungen-größe (production): the newest good point is 26h old, 24h are allowed"}
    Opened: {"severity":"warning","message":"<script>alert('1')</script>: no recovery point & no copy; see <!channel>"}
    StillOpen: {"severity":"critical","message":"bestellungen-größe (production): the newest good point is 26h old, 24h are allowed"}
    Resolved: {"severity":"info","message":"resolved: bestellungen-größe (production): the newest good point is 26h old, 24h are allowed"}
    Success: {"severity":"info","message":"done: 1 backup was made"}
    Digest: {"severity":"info","message":"digest: 8 assets good, 1 stale"}
    StorageReport: {"severity":"info","message":"storage report: storage in 2026-11"}
    RecoveryStarted: {"severity":"info","message":"recovery started: the recovery of lomash-orders began"}
    RecoveryUpdate: {"severity":"info","message":"recovery goes on: the recovery of lomash-orders goes on for 15m"}
    RecoveryComplete: {"severity":"info","message":"recovery complete: lomash-orders is recovered in 42m"}
    Undelivered: {"severity":"critical","message":"undelivered: slack could not be reached"}
    Test: {"severity":"info","message":"test: this channel works"}
    "#);
}

#[test]
fn the_whole_message_is_what_the_schema_says() {
    let schema = include_str!("../../../../../docs/message.schema.json");
    let schema: Value = serde_json::from_str(schema).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    for message in ALL_KINDS.map(sample_message).into_iter().chain([flood_message()]) {
        let body = full_body(&truncate_message(&message));
        let faults: Vec<_> = validator.iter_errors(&body).map(|e| e.to_string()).collect();
        assert!(faults.is_empty(), "{faults:?}");
        assert!(body.to_string().len() < 1 << 20, "{}", body.to_string().len());
    }
}

#[test]
fn many_findings_are_twenty_alerts_and_one_for_the_rest() {
    let posts = request_bodies(WebhookBody::Alert, &truncate_message(&flood_message()));
    assert_eq!(posts.len(), 21);
    assert_eq!(posts[20], json!({"severity": "critical", "message": "and 9980 more"}));
}

#[test]
fn sizes_are_written_as_du_writes_them() {
    let table = [
        (0, "0"),
        (512, "512"),
        (1024, "1.0K"),
        (10_240, "10K"),
        (10_241, "11K"),
        (1_610_612_736, "1.5G"),
        (1_048_575, "1.0M"),
        (5 << 40, "5.0T"),
        (u64::MAX, "16384P"),
    ];
    for (bytes, text) in table {
        assert_eq!(format_du_size(bytes), text, "{bytes}");
    }
}

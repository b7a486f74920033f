//! Messages for tests: one of each kind, with names that are not ASCII and one that is HTML.

use crate::message::{BackupInfo, ChannelMessage, DataAtRisk, IncidentSummary, MessageKind};
use shared::plan::Severity;

/// Every kind.
pub(super) const ALL_KINDS: [MessageKind; 11] = [
    MessageKind::Opened,
    MessageKind::StillOpen,
    MessageKind::Resolved,
    MessageKind::Success,
    MessageKind::Digest,
    MessageKind::StorageReport,
    MessageKind::RecoveryStarted,
    MessageKind::RecoveryUpdate,
    MessageKind::RecoveryComplete,
    MessageKind::Undelivered,
    MessageKind::Test,
];

/// A message of a kind.
pub(super) fn sample_message(kind: MessageKind) -> ChannelMessage {
    let (severity, title, incidents, made, lines): (_, _, _, _, &[&str]) = match kind {
        MessageKind::Opened => (
            Severity::Critical,
            "2 assets are in danger",
            vec![stale_incident(0, None), script_incident()],
            vec![],
            &[],
        ),
        MessageKind::StillOpen => (
            Severity::Critical,
            "bestellungen-größe is stale for 1h",
            vec![stale_incident(2, None)],
            vec![],
            &[],
        ),
        MessageKind::Resolved => {
            let until = Some("2026-11-21T08:30:00Z");
            (
                Severity::Critical,
                "bestellungen-größe is good again",
                vec![stale_incident(0, until)],
                vec![],
                &[],
            )
        }
        MessageKind::Success => {
            (Severity::Info, "1 backup was made", vec![], vec![dump_info()], &[])
        }
        MessageKind::Digest => (
            Severity::Info,
            "8 assets good, 1 stale",
            vec![],
            vec![],
            &["8 of 9 assets have a fresh point", "R&D: 3 points were let go"],
        ),
        MessageKind::StorageReport => (
            Severity::Info,
            "storage in 2026-11",
            vec![],
            vec![],
            &["storage is 1.2 TiB; this month cost $31.40 so far"],
        ),
        MessageKind::RecoveryStarted => {
            restore_parts("the recovery of lomash-orders began", &["by alice, from db-1"])
        }
        MessageKind::RecoveryUpdate => {
            restore_parts("the recovery of lomash-orders goes on for 15m", &["40% restored"])
        }
        MessageKind::RecoveryComplete => {
            restore_parts("lomash-orders is recovered in 42m", &["RTO 1h: kept"])
        }
        MessageKind::Undelivered => (
            Severity::Critical,
            "slack could not be reached",
            vec![],
            vec![],
            &["hooks.slack.com answers 503"],
        ),
        MessageKind::Test => (Severity::Info, "this channel works", vec![], vec![], &[]),
    };
    ChannelMessage {
        id: format!("lomash-{kind:?}-202611210830").to_lowercase(),
        company: "Lomash Wöod & Söhne".into(),
        kind,
        severity,
        at: "2026-11-21T08:30:00Z".parse().expect("a time"),
        title: title.into(),
        incidents,
        omitted: 0,
        backups: made,
        lines: lines.iter().map(|l| (*l).to_owned()).collect(),
        thread: matches!(
            kind,
            MessageKind::RecoveryStarted
                | MessageKind::RecoveryUpdate
                | MessageKind::RecoveryComplete
        )
        .then(|| "recovery-7".into()),
    }
}

type MessageParts =
    (Severity, &'static str, Vec<IncidentSummary>, Vec<BackupInfo>, &'static [&'static str]);

fn restore_parts(title: &'static str, lines: &'static [&'static str]) -> MessageParts {
    (Severity::Info, title, vec![], vec![], lines)
}

fn stale_incident(step: u32, until: Option<&str>) -> IncidentSummary {
    IncidentSummary {
        key: "lomash/bestellungen-größe/stale".into(),
        asset: "bestellungen-größe".into(),
        group: Some("production".into()),
        code: "stale".into(),
        severity: Severity::Critical,
        message: "the newest good point is 26h old, 24h are allowed".into(),
        hint: "holdfast run snapshot --asset bestellungen-größe".into(),
        since: "2026-11-21T06:15:00Z".parse().expect("a time"),
        until: until.map(|u| u.parse().expect("a time")),
        at_risk: Some(DataAtRisk {
            newest: Some("orders-daily-202611200200".into()),
            age_seconds: Some(26 * 3600),
            max_age_seconds: Some(24 * 3600),
            location: Some("eu-west-1".into()),
        }),
        step,
    }
}

fn script_incident() -> IncidentSummary {
    IncidentSummary {
        key: "lomash/<script>/no-point".into(),
        asset: "<script>alert('1')</script>".into(),
        group: None,
        code: "no-backup".into(),
        severity: Severity::Warning,
        message: "no recovery point & no copy; see <!channel>".into(),
        hint: "look at what is there under that name".into(),
        since: "2026-11-21T08:30:00Z".parse().expect("a time"),
        until: None,
        at_risk: Some(DataAtRisk {
            newest: None,
            age_seconds: None,
            max_age_seconds: None,
            location: None,
        }),
        step: 0,
    }
}

fn dump_info() -> BackupInfo {
    BackupInfo {
        asset: "indostar".into(),
        name: "daily/indostar_20261121.dump".into(),
        location: "s3://indostar-backups-primary".into(),
        bytes: Some(1_610_612_736),
        seconds: Some(194.6),
        rows: Some(48_211),
    }
}

/// Ten thousand findings, each with the longest names and sentences that anybody could write.
pub(super) fn flood_message() -> ChannelMessage {
    let long = |c: char, n: usize| c.to_string().repeat(n);
    let mut message = sample_message(MessageKind::Opened);
    message.title = format!("10,000 assets are in danger {}", long('&', 5_000));
    message.incidents = (0..10_000)
        .map(|n| IncidentSummary {
            key: format!("{n}-{}", long('k', 400)),
            asset: format!("{n}-{}", long('<', 3_000)),
            message: format!("{}\r\nBcc: everybody@example.com\r\n\r\n", long('&', 9_000)),
            hint: format!("holdfast {}```", long('ü', 9_000)),
            ..script_incident()
        })
        .collect();
    message.lines = vec![long('é', 4_000); 10_000];
    message
}

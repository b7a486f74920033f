//! What is told to whom, by histories.

mod anything;
mod histories;
mod time;

use super::*;
use crate::heard::{ReportedAsset, ReportedFinding, ReportedOutcome, ReportedRun};

/// A route for all, one for successes, and steps as Pasargad has them.
const POLICY: &str = r#"
holdfast: 1
company: acme
id: host-1
time_zone: Europe/Sofia
home: { account: "111122223333", region: eu-west-1 }
databases:
  fleet: { select: { identifiers: [orders] }, objectives: { max_age: 25h } }
postgres:
  shop: { databases: [shop], storage: { bucket: acme-dumps, prefix: daily/ } }
alarms:
  acme-backup-age: { metric: backup-age, of: fleet, above: 25h }
notify:
  channels:
    chat: { slack: { env: S } }
    pager: { pagerduty: { env: P } }
    manager: { email: [m@acme.example], smtp: { host: h, from: b@acme.example } }
  routes:
    - { severity: warning, to: [chat] }
    - { severity: critical, to: [pager, chat] }
    - { severity: info, events: [success], to: [chat] }
  escalation:
    - { after: 1h, to: [manager] }
    - { after: 4h, to: [manager, pager] }
  digest: { cron: "0 8 * * *", to: [manager] }
"#;

pub(super) fn policy() -> Policy {
    Policy::parse(POLICY).expect("a policy")
}

pub(super) fn parse_timestamp(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// A moment of the day on which all histories begin.
pub(super) fn time_of_day(hhmm: &str) -> Timestamp {
    parse_timestamp(&format!("2026-11-20T{hhmm}:00Z"))
}

pub(super) fn reported_finding(severity: Severity, asset: &str, what: &str) -> ReportedFinding {
    ReportedFinding {
        severity,
        asset: asset.into(),
        group: Some("fleet".into()),
        code: what.into(),
        message: "27h old, 25h allowed".into(),
        hint: "holdfast run snapshot".into(),
    }
}

pub(super) fn reported_run(
    function: &str,
    when: Timestamp,
    findings: Vec<ReportedFinding>,
) -> ReportedRun {
    ReportedRun {
        function: function.into(),
        policy: "acme".into(),
        run_id: format!("run-{function}-{when}"),
        started_at: when,
        seconds: 0.0,
        complete: true,
        dry_run: false,
        findings,
        outcomes: Vec::new(),
        assets: Vec::new(),
        omitted: None,
    }
}

pub(super) fn report_event(run: ReportedRun) -> NotificationEvent {
    NotificationEvent::Report(Box::new(run))
}

/// A history: what it knows, and what was told, as `channel kind asset...`.
pub(super) struct NotifyHistory {
    pub(super) policy: Policy,
    pub(super) state: NotifyState,
}

impl NotifyHistory {
    pub(super) fn new() -> Self {
        Self { policy: policy(), state: NotifyState::new(time_of_day("00:00")) }
    }

    pub(super) fn plan_events(
        &mut self,
        now: Timestamp,
        heard: &[NotificationEvent],
    ) -> Vec<OutgoingMessage> {
        let state = self.state.clone();
        // As it is written and read between two looks.
        let text = serde_json::to_string(&state).expect("json");
        let state = serde_json::from_str(&text).expect("the same");
        let (state, told) = plan(&self.policy, state, heard, now);
        self.state = state;
        told
    }

    pub(super) fn message_lines(
        &mut self,
        now: Timestamp,
        heard: &[NotificationEvent],
    ) -> Vec<String> {
        self.plan_events(now, heard)
            .iter()
            .map(|t| format!("{} {}", t.channel, t.message.title))
            .collect()
    }

    /// A report of freshness, so that nobody misses it.
    pub(super) fn freshness_run(
        &mut self,
        hhmm: &str,
        findings: Vec<ReportedFinding>,
    ) -> Vec<String> {
        self.message_lines(
            time_of_day(hhmm),
            &[report_event(reported_run("freshness", time_of_day(hhmm), findings))],
        )
    }
}

pub(super) fn stale_finding(asset: &str) -> ReportedFinding {
    reported_finding(Severity::Critical, asset, "stale")
}

pub(super) fn done_outcome(asset: &str, what: &str) -> ReportedOutcome {
    ReportedOutcome {
        asset: asset.into(),
        action: "dump".into(),
        result: "done".into(),
        detail: None,
        artifact: Some(shared::report::Artifact {
            key: what.into(),
            location: "s3://acme-dumps".into(),
            bytes: Some(1_500_000_000),
            seconds: Some(12.0),
        }),
    }
}

pub(super) fn reported_asset(asset: &str, age: i64) -> ReportedAsset {
    ReportedAsset {
        asset: asset.into(),
        group: "fleet".into(),
        newest_point: Some(format!("{asset}-daily-1")),
        age_seconds: Some(age),
        max_age_seconds: Some(90_000),
        coverage: None,
    }
}

//! `notify`: what would be said to whom.

use super::{FunctionKind, FunctionRun};
use crate::policies::SimulatedPolicy;
use jiff::Timestamp;
use notify::{
    heard::{NotificationEvent, ReportedAsset, ReportedFinding, ReportedRun},
    message::MessageKind,
    state::NotifyState,
};
use shared::{plan::Severity, report::AssetStatus};

/// A message that would have been sent.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SentMessage {
    /// When.
    pub at: Timestamp,
    /// On which channel.
    pub channel: String,
    /// What it is about.
    pub kind: MessageKind,
    /// How bad that is.
    pub severity: Severity,
    /// Its title.
    pub title: String,
}

/// What remembers who was told what; every message is delivered at once.
#[derive(Clone, Debug)]
pub struct Notifier {
    state: Option<NotifyState>,
    runs: u64,
    /// What was sent.
    pub sent: Vec<SentMessage>,
}

impl Notifier {
    /// One that remembers nothing yet.
    pub fn new(now: Timestamp) -> Self {
        Self { state: Some(NotifyState::new(now)), runs: 0, sent: Vec::new() }
    }

    /// Hears of a run.
    pub fn hear(
        &mut self,
        policy: &SimulatedPolicy,
        function: FunctionKind,
        run: &FunctionRun,
        now: Timestamp,
    ) {
        if policy.policy.notify.is_none() || run.killed {
            return;
        }
        self.runs += 1;
        let finding = |f: &shared::plan::Finding| ReportedFinding {
            severity: f.severity,
            asset: f.asset.clone(),
            group: f.group.clone(),
            code: f.code.to_string(),
            message: f.message.clone(),
            hint: f.hint.clone(),
        };
        let report = ReportedRun {
            function: function.name().to_owned(),
            policy: policy.policy.company.to_string(),
            run_id: format!("{}-{}", function.name(), self.runs),
            started_at: now,
            seconds: 1.0,
            complete: run
                .findings
                .iter()
                .all(|f| f.code != shared::plan::FindingCode::ObservationFailed),
            dry_run: false,
            findings: run.findings.iter().map(finding).collect(),
            outcomes: Vec::new(),
            assets: run.assets.iter().map(reported_asset).collect(),
            omitted: None,
        };
        self.plan(policy, &[NotificationEvent::Report(Box::new(report))], now);
    }

    /// What time alone brings: escalations, the digest, what should have been heard.
    pub fn tick(&mut self, policy: &SimulatedPolicy, now: Timestamp) {
        if policy.policy.notify.is_some() {
            self.plan(policy, &[], now);
        }
    }

    /// Problems that are open.
    pub fn open_count(&self) -> usize {
        self.state.iter().flat_map(|s| s.incidents.values()).filter(|i| i.is_open()).count()
    }

    fn plan(&mut self, policy: &SimulatedPolicy, heard: &[NotificationEvent], now: Timestamp) {
        let state = self.state.take().unwrap_or_else(|| NotifyState::new(now));
        let (state, messages) = notify::plan(&policy.policy, state, heard, now);
        self.state = Some(state);
        self.sent.extend(messages.into_iter().map(|m| SentMessage {
            at: now,
            channel: m.channel.to_string(),
            kind: m.message.kind,
            severity: m.message.severity,
            title: m.message.title,
        }));
    }
}

fn reported_asset(asset: &AssetStatus) -> ReportedAsset {
    ReportedAsset {
        asset: asset.asset.clone(),
        group: asset.group.clone(),
        newest_point: asset.newest_point.clone(),
        age_seconds: asset.age_seconds,
        max_age_seconds: asset.max_age_seconds,
        coverage: Some(asset.coverage),
    }
}

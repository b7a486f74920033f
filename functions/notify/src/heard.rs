//! What is heard: reports of runs, alarms, runs that never came to their end, recoveries, verifications.

use crate::message::BackupInfo;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::{plan::Severity, report::AssetCoverage};

/// One thing that is heard.
#[derive(Clone, Debug, PartialEq)]
pub enum NotificationEvent {
    /// A function's report.
    Report(Box<ReportedRun>),
    /// A CloudWatch alarm changed its state.
    Alarm(AlarmEvent),
    /// A function was started and never came to its end.
    InvocationFailed(InvocationFailure),
    /// A recovery began, goes on, or ended.
    Restore(RestoreEvent),
    /// A backup was verified.
    Verification(VerificationEvent),
}

/// A function's report, as it stands on the topic of reports.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ReportedRun {
    /// The function.
    pub function: String,
    /// The company.
    pub policy: String,
    /// The run's id.
    pub run_id: String,
    /// When it started.
    pub started_at: Timestamp,
    /// How long it took, in seconds.
    #[serde(default)]
    pub seconds: f64,
    /// Whether a finding that is missing is fixed.
    #[serde(default)]
    pub complete: bool,
    /// Nothing was changed.
    #[serde(default)]
    pub dry_run: bool,
    /// What differs between policy and world.
    #[serde(default)]
    pub findings: Vec<ReportedFinding>,
    /// What was done.
    #[serde(default)]
    pub outcomes: Vec<ReportedOutcome>,
    /// How each asset stands.
    #[serde(default)]
    pub assets: Vec<ReportedAsset>,
    /// What the report had no room for.
    #[serde(default)]
    pub omitted: Option<TruncatedCounts>,
}

/// How much a report had no room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct TruncatedCounts {
    /// Findings.
    pub findings: usize,
    /// Outcomes.
    pub outcomes: usize,
    /// Assets.
    pub assets: usize,
}

/// A finding of a report.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ReportedFinding {
    /// How bad it is.
    pub severity: Severity,
    /// The asset.
    pub asset: String,
    /// Its group.
    #[serde(default)]
    pub group: Option<String>,
    /// A fixed word.
    pub code: String,
    /// In words.
    #[serde(default)]
    pub message: String,
    /// What to do.
    #[serde(default)]
    pub hint: String,
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ReportedOutcome {
    /// The asset.
    pub asset: String,
    /// What was to be done.
    #[serde(default)]
    pub action: String,
    /// `done`, `failed`, ...
    pub result: String,
    /// In words.
    #[serde(default)]
    pub detail: Option<String>,
    /// What was made.
    #[serde(default)]
    pub artifact: Option<shared::report::Artifact>,
}

/// How an asset stands.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ReportedAsset {
    /// The asset.
    pub asset: String,
    /// Its group.
    pub group: String,
    /// Its newest good point.
    #[serde(default)]
    pub newest_point: Option<String>,
    /// Age of the data in it, in seconds.
    #[serde(default)]
    pub age_seconds: Option<i64>,
    /// The age that the policy allows, in seconds.
    #[serde(default)]
    pub max_age_seconds: Option<i64>,
    /// Whether it is looked after at all.
    #[serde(default)]
    pub coverage: Option<AssetCoverage>,
}

impl ReportedAsset {
    /// Whether somebody watches it: what nothing runs or sees is not counted among what is watched.
    pub(crate) fn is_watched(&self) -> bool {
        let watched = [AssetCoverage::Watched, AssetCoverage::NeverTaken];
        self.coverage.is_none_or(|c| watched.contains(&c))
    }
}

/// A CloudWatch alarm that changed its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmEvent {
    /// Its name.
    pub name: String,
    /// `ALARM`, `INSUFFICIENT_DATA` or `OK`.
    pub state: String,
    /// When it changed.
    pub at: Timestamp,
    /// CloudWatch's words.
    pub reason: String,
}

/// A function that was started and never came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvocationFailure {
    /// The function.
    pub function: String,
    /// The invocation's id, which is the run's.
    pub run: String,
    /// When Lambda gave it up.
    pub at: Timestamp,
    /// What it said last.
    pub why: String,
    /// Whether it ended by saying that something failed: its report then says more.
    pub reported: bool,
}

/// A recovery, as `holdfast restore` tells of it.
#[derive(Clone, Debug, PartialEq)]
pub struct RestoreEvent {
    /// The run's id.
    pub id: String,
    /// What is recovered.
    pub asset: String,
    /// How far it is.
    pub stage: RestoreStage,
    /// When.
    pub at: Timestamp,
}

/// How far a recovery is.
#[derive(Clone, Debug, PartialEq)]
pub enum RestoreStage {
    /// It began: what is restored, from which point, into what.
    Started(String),
    /// It is at this phase.
    Phase(String),
    /// It was begun and waits for an archive: neither done nor failed. It is begun again later.
    Waiting(String),
    /// It ended.
    Ended {
        /// Whether it succeeded.
        succeeded: bool,
        /// The report, line by line.
        lines: Vec<String>,
        /// What was restored from.
        backup: Option<BackupInfo>,
    },
}

/// A backup that was verified.
#[derive(Clone, Debug, PartialEq)]
pub struct VerificationEvent {
    /// The run's id.
    pub id: String,
    /// The backup.
    pub backup: BackupInfo,
    /// Why it does not count; none when all is well.
    pub fault: Option<String>,
    /// What to do about it.
    pub hint: String,
    /// When it was judged.
    pub at: Timestamp,
}

impl From<&shared::report::RunReport> for ReportedRun {
    fn from(report: &shared::report::RunReport) -> Self {
        let text = serde_json::to_value(report).and_then(serde_json::from_value);
        text.expect("a report is read as it is written")
    }
}

/// Something that is wrong, before it is known whether it is news.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct DetectedProblem {
    pub(crate) asset: String,
    pub(crate) group: Option<String>,
    pub(crate) code: String,
    pub(crate) severity: Severity,
    pub(crate) message: String,
    pub(crate) hint: String,
}

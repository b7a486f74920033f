//! What is told: a message as data. `channel` makes it into what each vendor takes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::plan::Severity;

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessageKind {
    /// Something went wrong, or became worse.
    Opened,
    /// It is still wrong at a step of the escalation.
    StillOpen,
    /// It is fixed.
    Resolved,
    /// A run made something, and the policy wants to hear of it.
    Success,
    /// The day in one message.
    Digest,
    /// What storage costs, once a month or as the policy says.
    StorageReport,
    /// A recovery began.
    RecoveryStarted,
    /// A recovery goes on.
    RecoveryUpdate,
    /// A recovery ended.
    RecoveryComplete,
    /// A channel could not be reached.
    Undelivered,
    /// A person asked whether the channel works.
    Test,
}

/// What could be lost if the asset were lost now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataAtRisk {
    /// The newest good recovery point.
    pub newest: Option<String>,
    /// Age of the data in it, in seconds.
    pub age_seconds: Option<i64>,
    /// The age that the policy allows, in seconds.
    pub max_age_seconds: Option<i64>,
    /// Where it is.
    pub location: Option<String>,
}

/// One thing that is wrong, or was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentSummary {
    /// The same for as long as it is one incident: vendors deduplicate by it.
    pub key: String,
    /// The asset.
    pub asset: String,
    /// Its group in the policy.
    pub group: Option<String>,
    /// What kind of difference, a fixed word.
    pub code: String,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in words.
    pub message: String,
    /// The one command to run next, or what to do.
    pub hint: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when; none while it is open.
    pub until: Option<Timestamp>,
    /// What could be lost.
    pub at_risk: Option<DataAtRisk>,
    /// The step of the escalation that it has reached; 0 at its beginning.
    pub step: u32,
}

/// What a run made, or what a verification or a restore went by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackupInfo {
    /// The asset.
    pub asset: String,
    /// File, key or identifier.
    pub name: String,
    /// Where it is.
    pub location: String,
    /// Its size in bytes.
    pub bytes: Option<u64>,
    /// How long it took, in seconds.
    pub seconds: Option<f64>,
    /// Rows that were counted in it.
    pub rows: Option<u64>,
}

/// A message to one channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChannelMessage {
    /// The same at every try, so that a message that arrives twice is known.
    pub id: String,
    /// The company whose policy it is.
    pub company: String,
    /// What it is about.
    pub kind: MessageKind,
    /// The worst in it.
    pub severity: Severity,
    /// When it was decided.
    pub at: Timestamp,
    /// One line.
    pub title: String,
    /// What is wrong or was, worst first, [`MOST`] at most.
    pub incidents: Vec<IncidentSummary>,
    /// How many more there are.
    pub omitted: usize,
    /// What was made.
    pub backups: Vec<BackupInfo>,
    /// More lines: of the digest, of a recovery.
    pub lines: Vec<String>,
    /// What it belongs to besides its incidents, such as one recovery: mail clients show it as one thread.
    #[serde(default)]
    pub thread: Option<String>,
}

/// Incidents that one message names at most.
pub const MAX_INCIDENTS: usize = 20;

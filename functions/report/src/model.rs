//! The page as data: what `report.json` holds and the HTML shows. What is not known is absent, never zero.

use crate::{
    facts::{AuditHead, UnobservedLocation},
    prices::{RequestKind, StorageKind},
};
use jiff::Timestamp;
use serde::Serialize;
use shared::{
    plan::{Finding, Severity},
    report::AssetCoverage,
};

/// The whole page.
#[derive(Clone, Debug, Serialize)]
pub struct StatusPageData {
    /// Version of this form; it is raised when a field goes or changes its meaning.
    pub version: u32,
    /// The company.
    pub policy: String,
    /// When everything was looked at.
    pub at: Timestamp,
    /// The fleet at a glance.
    pub summary: PageSummary,
    /// What to do, the worst first; each thing once, with all that it is for.
    pub recommendations: Vec<RecommendedAction>,
    /// Every asset, the worst first.
    pub assets: Vec<AssetReport>,
    /// Every finding, the worst first.
    pub findings: Vec<Finding>,
    /// Places that could not be seen.
    pub unobserved: Vec<UnobservedLocation>,
    /// Directories of hosts, which only a run on that host sees.
    pub host_directories: Vec<String>,
    /// What storage costs.
    pub costs: CostSummary,
    /// How much of the quota is used, where the policy has one.
    pub quota: Option<QuotaUsage>,
    /// How many backups of the last 30 days went well; absent without an audit trail.
    pub success: Option<SuccessRate>,
    /// Verifications and restores, the newest first, a hundred at most.
    pub verifications: Vec<VerificationRecord>,
    /// The policy's alarms; absent where CloudWatch could not be asked.
    pub alarms: Option<Vec<AlarmStatus>>,
    /// The audit trail.
    pub audit: AuditStatus,
}

/// How something stands. The order is from good to bad; what can't be judged is worse than a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HealthState {
    /// As the policy wants it.
    Ok,
    /// To be fixed soon; nothing is lost yet.
    Warning,
    /// It can't be judged: its place was not seen, or the policy has no objective and nothing is there.
    Unknown,
    /// An objective is missed.
    Critical,
}

impl HealthState {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Unknown => "unknown",
            Self::Critical => "critical",
        }
    }
}

/// The fleet at a glance.
#[derive(Clone, Debug, Serialize)]
pub struct PageSummary {
    /// The worst of all.
    pub state: HealthState,
    /// One sentence that tells whether to sleep.
    pub headline: String,
    /// Assets.
    pub assets: usize,
    /// Of them, as the policy wants them.
    pub ok: usize,
    /// With a warning.
    pub warning: usize,
    /// That can't be judged.
    pub unknown: usize,
    /// That miss an objective.
    pub critical: usize,
    /// The newest good recovery point of all.
    pub newest: Option<LatestPoint>,
    /// The asset that it is of.
    pub newest_asset: Option<String>,
    /// Good recovery points and copies, all together.
    pub points: usize,
    /// Bytes stored, all together.
    pub bytes: u64,
}

/// A thing to do.
#[derive(Clone, Debug, Serialize)]
pub struct RecommendedAction {
    /// What to do.
    pub hint: String,
    /// How bad what it fixes is.
    pub severity: Severity,
    /// Assets, groups or places that it is for.
    pub assets: Vec<String>,
    /// Why, of the first of them.
    pub message: String,
}

/// A good recovery point.
#[derive(Clone, Debug, Serialize)]
pub struct LatestPoint {
    /// Its name, where it is known.
    pub name: Option<String>,
    /// Time of its data.
    pub at: Timestamp,
    /// Seconds since then.
    pub age_seconds: i64,
    /// Its size in bytes.
    pub bytes: Option<u64>,
}

/// An asset.
#[derive(Clone, Debug, Serialize)]
pub struct AssetReport {
    /// Its group in the policy.
    pub group: String,
    /// Its name.
    pub asset: String,
    /// How it stands.
    pub state: HealthState,
    /// Why, in words.
    pub messages: Vec<String>,
    /// Whether it has recovery points at all; a bucket that is replicated is its own data.
    pub has_recovery_points: bool,
    /// Its newest good recovery point.
    pub newest: Option<LatestPoint>,
    /// Whether it is looked after at all.
    pub coverage: AssetCoverage,
    /// Seconds that the newest may be old.
    pub max_age_seconds: Option<i64>,
    /// That follows from its schedule; the policy does not write it.
    pub max_age_derived: bool,
    /// For so many seconds back every point is kept, so that a stretch without one is a gap.
    pub full_density_seconds: i64,
    /// Whether the policy wants copies elsewhere.
    pub offsite_wanted: bool,
    /// Age of the data in the newest copy elsewhere, in seconds; of several places, where it is oldest.
    pub offsite_age_seconds: Option<i64>,
    /// The last proof of a restore; none where no drill of the policy is of it.
    pub proof: Option<ProofStatus>,
    /// Data that would be lost now, and at worst, against what the policy allows.
    pub rpo: RpoStatus,
    /// How long restores took, against what the policy allows.
    pub rto: RtoStatus,
    /// Begin of what is drawn: as long as its points are kept, a year at most.
    pub since: Timestamp,
    /// Its recovery points by place.
    pub timeline: Vec<TimelineRow>,
    /// When its points were verified or restored, within what is drawn.
    pub verifications: Vec<TimelineMark>,
    /// Sizes of its points over time, at its first place; of many, the newest of each stretch.
    pub sizes: Vec<SizeSample>,
    /// The newest size against the median of those before it.
    pub deviation: Option<SizeDeviation>,
    /// Bytes stored of it, at all places.
    pub bytes: u64,
    /// Good points and copies.
    pub points: usize,
    /// What storing it costs.
    pub cost: CostLine,
}

/// Data that a loss would cost.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RpoStatus {
    /// Seconds that the policy allows.
    pub target_seconds: Option<i64>,
    /// Seconds of data that would be lost if the asset were lost now.
    pub now_seconds: Option<i64>,
    /// Whether continuous backup is what was measured.
    pub continuous: bool,
    /// The longest time between two neighbouring points.
    pub longest_seconds: Option<i64>,
    /// Since when every point is kept, so that a longer gap would be one.
    pub measured_since: Option<Timestamp>,
    /// Whether now and the longest gap are within the target; absent when either is not known.
    pub met: Option<bool>,
}

/// When a drill last proved a restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ProofStatus {
    /// How long ago, in seconds; none while no drill has.
    pub age_seconds: Option<i64>,
}

/// How long restores took.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RtoStatus {
    /// Seconds that the policy allows.
    pub target_seconds: Option<i64>,
    /// The newest restore that told its time.
    pub newest_seconds: Option<f64>,
    /// When that was.
    pub newest_at: Option<Timestamp>,
    /// The slowest of the last year.
    pub slowest_seconds: Option<f64>,
    /// Restores of the last year that told their time.
    pub measured: usize,
    /// Whether the newest was within the target; absent when nothing was measured.
    pub met: Option<bool>,
}

/// The points of an asset at one place.
#[derive(Clone, Debug, Serialize)]
pub struct TimelineRow {
    /// The place.
    pub location: String,
    /// Where points are made; the others hold copies.
    pub home: bool,
    /// Whether the place was seen; if not, no points there means nothing.
    pub observed: bool,
    /// Good points there, those before what is drawn too.
    pub points: usize,
    /// Time of the newest one's data.
    pub newest: Option<Timestamp>,
    /// Time of the oldest one's data.
    pub oldest: Option<Timestamp>,
    /// Stretches with a point in each 180th of what is drawn, by the times of their first and last point.
    pub ranges: Vec<TimeRange>,
}

/// A stretch with points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TimeRange {
    /// Its first point.
    pub from: Timestamp,
    /// Its last point.
    pub to: Timestamp,
    /// How many.
    pub points: usize,
}

/// A verification or restore, as it is drawn.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TimelineMark {
    /// When.
    pub at: Timestamp,
    /// Whether it went well.
    pub succeeded: bool,
    /// Whether it was a restore; else it was read and its sums compared.
    pub restore: bool,
}

/// A size at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SizeSample {
    /// Time of the point's data.
    pub at: Timestamp,
    /// Its size in bytes.
    pub bytes: u64,
}

/// A size against those before it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SizeDeviation {
    /// The newest size against the median: 0.2 is a fifth more.
    pub share: f64,
    /// The median, in bytes.
    pub median: u64,
    /// How many before it were compared.
    pub compared: usize,
    /// What is allowed: the policy's `max_size_deviation`, or a fifth.
    pub allowed: f64,
    /// Whether it is more.
    pub exceeded: bool,
}

/// What is stored and what it costs. A cost that is not known is absent; one that can be less says so.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CostLine {
    /// Bytes stored.
    pub bytes: u64,
    /// A whole month at what lies there now.
    pub month: Option<f64>,
    /// This month until now.
    pub so_far: Option<f64>,
    /// This month at its end, when it grows as it does.
    pub forecast: Option<f64>,
    /// It can be less: snapshots are counted whole.
    pub at_most: bool,
    /// It is more: something in it has no known price.
    pub at_least: bool,
}

/// What storage costs.
#[derive(Clone, Debug, Serialize)]
pub struct CostSummary {
    /// The currency.
    pub currency: String,
    /// Day that the prices are of.
    pub as_of: String,
    /// The month: `2026-11`.
    pub month: String,
    /// All storage and requests together.
    pub total: CostLine,
    /// Storage by class, dearest first.
    pub classes: Vec<StorageKindCost>,
    /// What is no asset's: points of databases that are gone.
    pub unowned: CostLine,
    /// Requests of this month, as far as what lies there tells.
    pub requests: Vec<RequestCost>,
    /// What went to another region in this month, as far as what lies there tells.
    pub transfer: TransferCost,
    /// Classes without a known price.
    pub unpriced: Vec<StorageKind>,
    /// The budget of a month.
    pub budget: Option<f64>,
    /// Cost of this month at the end of each day, the last until now; absent when nothing has a price.
    pub days: Vec<f64>,
    /// Days of the month.
    pub days_in_month: u8,
}

/// Storage of one class.
#[derive(Clone, Debug, Serialize)]
pub struct StorageKindCost {
    /// The class.
    pub class: StorageKind,
    /// What it holds and costs.
    #[serde(flatten)]
    pub line: CostLine,
}

/// Requests of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct RequestCost {
    /// The kind.
    pub kind: RequestKind,
    /// At least so many.
    pub count: u64,
    /// What they cost.
    pub cost: Option<f64>,
}

/// Transfer to other regions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct TransferCost {
    /// At least so many bytes.
    pub bytes: u64,
    /// What they cost.
    pub cost: Option<f64>,
}

/// How much of a quota is used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct QuotaUsage {
    /// Bytes stored.
    pub bytes: u64,
    /// Bytes allowed.
    pub quota: u64,
    /// The share that is used.
    pub used: f64,
    /// From this share on it is a warning.
    pub warn_at: f64,
    /// From this share on it is critical.
    pub critical_at: f64,
    /// How it stands.
    pub state: HealthState,
}

/// How many backups went well.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SuccessRate {
    /// Days that were counted.
    pub days: i64,
    /// Backups and copies that were done.
    pub succeeded: usize,
    /// That failed.
    pub failed: usize,
    /// The share that was done; absent when there was none.
    pub rate: Option<f64>,
    /// What is aimed at.
    pub target: f64,
    /// Under this it is a finding.
    pub alert: f64,
}

/// A verification or a restore.
#[derive(Clone, Debug, Serialize)]
pub struct VerificationRecord {
    /// When.
    pub at: Timestamp,
    /// The asset.
    pub asset: String,
    /// What was done.
    pub action: String,
    /// Whether it was a restore.
    pub restore: bool,
    /// Whether it went well.
    pub succeeded: bool,
    /// What it showed.
    pub detail: String,
    /// How long it took, in seconds.
    pub seconds: Option<f64>,
}

/// An alarm of the policy.
#[derive(Clone, Debug, Serialize)]
pub struct AlarmStatus {
    /// Its name.
    pub name: String,
    /// CloudWatch's word, or `MISSING`.
    pub state: String,
    /// Since when.
    pub since: Option<Timestamp>,
}

/// The audit trail.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum AuditStatus {
    /// The policy keeps none.
    None,
    /// It could not be read.
    Unreadable {
        /// Why.
        reason: String,
    },
    /// It was read.
    Read {
        /// The newest record.
        head: Option<AuditHead>,
    },
}

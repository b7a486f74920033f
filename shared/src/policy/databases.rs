//! The policy's `databases`: RDS instances and clusters, in groups that are treated alike.

use super::{
    grammar::{AssetObjectives, RetentionRule, ScheduleConfig},
    text::{BackupWindow, GlobPattern, Name, Period, ReasonName, Region},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, num::NonZeroU32};

/// A group of RDS databases that are treated alike.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatabaseGroup {
    /// Which instances and clusters.
    pub select: DatabaseSelector,
    /// How many the selection must find; fewer is a failure.
    #[serde(default)]
    pub expect: Option<NonZeroU32>,
    /// Who answers for them.
    #[serde(default)]
    pub owner: Option<Name>,
    /// Priority in a recovery, 1 first.
    #[serde(default)]
    #[schemars(range(min = 1, max = 9))]
    pub priority: Option<u8>,
    /// What the business asks of them.
    #[serde(default)]
    pub objectives: AssetObjectives,
    /// What RDS's own automated backups must be set to.
    #[serde(default)]
    pub automated_backups: Option<AutomatedBackups>,
    /// Snapshots that Holdfast takes, by reason.
    #[serde(default)]
    pub snapshots: BTreeMap<ReasonName, SnapshotRule>,
    /// Good points that always stay at each place, whatever the rules say.
    #[serde(default = "default_min_backups")]
    pub min_backups: NonZeroU32,
    /// Where copies go.
    #[serde(default)]
    pub copies: Vec<SnapshotCopyRule>,
    /// Snapshots (by identifier) that nobody may delete: an investigation, a court.
    #[serde(default)]
    pub legal_holds: Vec<String>,
    /// A read replica may be this far behind.
    #[serde(default)]
    pub replica_max_lag: Option<Period>,
    /// Regions that its backups may lie in; every one when it is left out. A copy to another is refused when the policy is read.
    #[serde(default)]
    pub regions: Vec<Region>,
}

fn default_min_backups() -> NonZeroU32 {
    NonZeroU32::MIN
}

/// Which databases a group has. A database is in when its identifier is in `identifiers` or matches one of `include`, or, when
/// neither is given, when it has all the `tags`; with both, it must match and have the tags. `exclude` always wins.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatabaseSelector {
    /// Exact identifiers; each must be found.
    #[serde(default)]
    pub identifiers: Vec<String>,
    /// Globs that match whole identifiers.
    #[serde(default)]
    pub include: Vec<GlobPattern>,
    /// Tags that it must all have.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Identifiers that are never in.
    #[serde(default)]
    pub exclude: Vec<String>,
}

/// What RDS's own automated backups must be set to.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AutomatedBackups {
    /// Backup retention period in whole days, 1 to 35.
    #[serde(default)]
    pub retention: Option<Period>,
    /// Preferred backup window.
    #[serde(default)]
    pub window: Option<BackupWindow>,
    /// The latest restorable time may be this far behind; RDS uploads logs every 5 minutes.
    #[serde(default = "default_max_lag")]
    pub max_lag: Period,
    /// Log types that must be exported to CloudWatch Logs.
    #[serde(default)]
    pub log_exports: Vec<String>,
    /// The database must have a standby in another availability zone.
    #[serde(default)]
    pub multi_az: Option<bool>,
    /// What happens to a difference.
    #[serde(default)]
    pub on_drift: DriftAction,
}

fn default_max_lag() -> Period {
    "15m".parse().expect("a period")
}

/// What happens when a setting differs from the policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DriftAction {
    /// It is a finding.
    #[default]
    Report,
    /// It is a finding and is fixed, but never across a retention of 0, which would be an outage, and a retention is
    /// never shortened, which would delete backups.
    Enforce,
}

/// Snapshots taken for one reason.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnapshotRule {
    /// Taken at these times; without it only on demand.
    #[serde(default)]
    pub schedule: Option<ScheduleConfig>,
    /// What is kept of them.
    pub keep: RetentionRule,
}

/// Copies of snapshots into a destination.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnapshotCopyRule {
    /// The destination.
    pub to: Name,
    /// Reasons whose snapshots are copied; `automated` means RDS's own.
    pub of: Vec<ReasonName>,
    /// What is kept there; only what this would keep is copied.
    pub keep: RetentionRule,
    /// The newest good copy may be this old.
    #[serde(default)]
    pub max_age: Option<Period>,
}

//! What is shown of a database, as programs read it.

use jiff::Timestamp;
use serde::Serialize;
use shared::{
    catalog::{DatabaseKind, Location, RecoveryPointState},
    plan::Finding,
    policy::{AssetObjectives, RetentionRule},
};

/// A database and its points.
#[derive(Debug, Serialize)]
pub(super) struct DatabaseView {
    /// As RDS describes it; none when it is no longer there and only its points are.
    pub(super) current: Option<DatabaseDetails>,
    /// The group that has it, or had it.
    pub(super) group: Option<String>,
    /// Every group of databases, and why it selects it or not.
    pub(super) selection: Vec<GroupMatch>,
    /// What is asked of it.
    pub(super) objectives: AssetObjectives,
    /// Good points that always stay at each place.
    pub(super) min_backups: Option<u32>,
    /// What is wrong with it.
    pub(super) findings: Vec<Finding>,
    /// The snapshots that the policy takes of it.
    pub(super) schedules: Vec<ScheduleView>,
    /// Home first.
    pub(super) locations: Vec<LocationView>,
}

/// What RDS says of it.
#[derive(Debug, Serialize)]
pub(super) struct DatabaseDetails {
    pub(super) family: DatabaseKind,
    pub(super) engine: String,
    pub(super) status: String,
    pub(super) resource_id: String,
    pub(super) created: Option<Timestamp>,
    pub(super) retention_days: i32,
    pub(super) backup_window: String,
    pub(super) latest_restorable: Option<Timestamp>,
    pub(super) multi_az: bool,
    pub(super) encrypted: bool,
    pub(super) replica_of: Option<String>,
}

/// A group, and whether it selects the database.
#[derive(Debug, Serialize)]
pub(super) struct GroupMatch {
    pub(super) group: String,
    pub(super) is_selected: bool,
    pub(super) reason: String,
}

/// Snapshots for one reason.
#[derive(Debug, Serialize)]
pub(super) struct ScheduleView {
    pub(super) reason: String,
    /// Cron fields and their zone; none when they are taken on demand.
    pub(super) schedule: Option<String>,
    pub(super) next_due_at: Option<Timestamp>,
    pub(super) retention: RetentionRule,
}

/// The points at one place, newest first.
#[derive(Debug, Serialize)]
pub(super) struct LocationView {
    /// `home`, or the destinations that are there.
    pub(super) name: String,
    pub(super) location: Location,
    /// Whether it could be looked at.
    pub(super) observed: bool,
    pub(super) recovery_points: Vec<RecoveryPointView>,
}

/// A recovery point, and what becomes of it.
#[derive(Debug, Serialize)]
pub(super) struct RecoveryPointView {
    pub(super) id: String,
    pub(super) arn: String,
    pub(super) state: RecoveryPointState,
    /// When the data was so.
    pub(super) data_time: Option<Timestamp>,
    pub(super) age_seconds: Option<i64>,
    pub(super) reason: String,
    pub(super) size_gib: i32,
    /// Of a database that had this name before.
    pub(super) of_earlier_database: bool,
    /// Whether it stays, the limits on deleting aside.
    pub(super) retained: bool,
    pub(super) reasons: Vec<String>,
    /// Until when its rule's `for` keeps it.
    pub(super) retained_until: Option<Timestamp>,
    /// Its copies.
    pub(super) offsite_copies: Vec<OffsiteCopyView>,
}

/// A point's copy at a destination.
#[derive(Debug, Serialize)]
pub(super) struct OffsiteCopyView {
    pub(super) destination: String,
    /// `good`, `in-flight`, `wrong`, `due` or `not-wanted`.
    pub(super) state: &'static str,
    /// The copy, or why there is none.
    pub(super) detail: String,
}

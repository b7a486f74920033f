//! What a server says of its archiving, asked before its archive is listed, so that what it calls archived must be there.

use crate::{
    error::WalError,
    inventory::SystemInventory,
    name::{SegmentName, SegmentSize},
};
use jiff::SignedDuration;
use postgres::{ConnectionConfig, server::ClientError};
use serde::Serialize;

/// A server's archiving.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ArchiverStatus {
    /// The cluster.
    pub system: u64,
    /// A standby: its primary archives.
    pub in_recovery: bool,
    /// `archive_mode` is on or always.
    pub archive_mode: bool,
    /// `archive_timeout` in seconds; 0 is off.
    pub archive_timeout: i64,
    /// Files in `archive_status` that wait to be archived; none where the role may not look (`pg_monitor`).
    pub ready_files: Option<i64>,
    /// How long the oldest of them has waited, in seconds.
    pub oldest_ready: Option<i64>,
    /// What `archive_command` called archived last.
    pub last_archived: Option<String>,
    /// Tries that failed since the statistics were reset.
    pub failed_count: i64,
    /// Whether the newest try failed.
    pub failing: bool,
    /// What it failed with.
    pub last_failed: Option<String>,
    /// Physical replication slots.
    pub slots: Vec<SlotStatus>,
}

/// A physical replication slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SlotStatus {
    /// Its name.
    pub name: String,
    /// Whether somebody receives by it.
    pub active: bool,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub wal_status: Option<String>,
    /// Bytes of WAL that the server keeps for it.
    pub retained_bytes: Option<i64>,
}

const ARCHIVER_QUERY: &str = "
SELECT pg_catalog.pg_is_in_recovery(),
       pg_catalog.current_setting('archive_mode') <> 'off',
       (SELECT setting::int8 FROM pg_catalog.pg_settings WHERE name = 'archive_timeout'),
       a.last_archived_wal, a.failed_count,
       coalesce(a.last_failed_time > a.last_archived_time, a.last_failed_time IS NOT NULL),
       a.last_failed_wal,
       (SELECT system_identifier FROM pg_catalog.pg_control_system())
FROM pg_catalog.pg_stat_archiver a";
const READY_QUERY: &str = "
SELECT count(*), extract(epoch FROM pg_catalog.clock_timestamp() - min(modification))::int8
FROM pg_catalog.pg_ls_archive_statusdir() WHERE name LIKE '%.ready'";
const SLOT_QUERY: &str = "
SELECT slot_name::text, active, wal_status,
       CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL
            ELSE pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), restart_lsn)::int8 END
FROM pg_catalog.pg_replication_slots WHERE slot_type = 'physical' ORDER BY slot_name";

/// Asks a server.
///
/// # Errors
/// If it can't be reached, or refuses.
pub async fn read_archiver_status(config: &ConnectionConfig) -> Result<ArchiverStatus, WalError> {
    let failed = |e: ClientError| -> WalError {
        postgres::PostgresError::from_pg("ask the server for its archiving", &e).into()
    };
    let session = config.connect("postgres").await?;
    let row = session.query_one(ARCHIVER_QUERY, &[]).await.map_err(failed)?;
    let mut status = ArchiverStatus {
        in_recovery: row.get(0),
        archive_mode: row.get(1),
        archive_timeout: row.get::<_, Option<i64>>(2).unwrap_or_default(),
        last_archived: row.get(3),
        failed_count: row.get(4),
        failing: row.get(5),
        last_failed: row.get(6),
        // PostgreSQL shows the 64 bits as a signed number.
        system: row.get::<_, i64>(7).cast_unsigned(),
        ..ArchiverStatus::default()
    };
    // A role without pg_monitor may not: then only failures are known.
    if let Ok(row) = session.query_one(READY_QUERY, &[]).await {
        status.ready_files = row.get(0);
        status.oldest_ready = row.get(1);
    }
    let rows = session.query(SLOT_QUERY, &[]).await.map_err(failed)?;
    for row in &rows {
        status.slots.push(SlotStatus {
            name: row.get(0),
            active: row.get(1),
            wal_status: row.get(2),
            retained_bytes: row.get(3),
        });
    }
    Ok(status)
}

impl ArchiverStatus {
    /// How long the oldest finished segment has waited to be archived; zero where none waits. An idle server has none.
    pub fn backlog_age(&self) -> Option<SignedDuration> {
        let waiting = self.ready_files?;
        let seconds = if waiting == 0 { 0 } else { self.oldest_ready.unwrap_or_default() };
        Some(SignedDuration::from_secs(seconds.max(0)))
    }

    /// A segment that the server calls archived and that is not in the archive: its `archive_command` does something else.
    pub fn missing_from(&self, system: &SystemInventory, size: SegmentSize) -> Option<SegmentName> {
        let name: SegmentName = self.last_archived.as_deref()?.parse().ok()?;
        let number = name.number(size)?;
        (!system.segments.contains_key(&(name.timeline, number))).then_some(name)
    }
}

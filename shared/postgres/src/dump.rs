//! Dumps: one snapshot, read over several connections, as an archive that stock `pg_restore` or `psql` reads.
//!
//! Layout: `custom` is the fast path (head by `pg_dump`, data by us), made of `snapshot` (one view for all connections),
//! `plan` (what is read by which statement), `read` (the connections), `objects` (large objects) and `emit` (the format);
//! `passed` and `plain` pass on what `pg_dump` writes, `csv` is one COPY; `child` runs `pg_dump`, `failure` explains it;
//! `names` shows names of any encoding; `facts` and `roles` are for the manifest.

mod child;
mod csv;
mod custom;
mod emit;
mod facts;
mod failure;
mod fingerprint;
mod names;
mod objects;
mod passed;
mod plain;
mod plan;
mod read;
mod roles;
mod snapshot;

pub(crate) use names::{display_name, text_as_bytes_sql};

pub use ::facts::{
    DatabaseGrant, DatabaseLocaleProvider, DatabaseProperties as DatabaseFacts, DatabaseSetting,
    InstalledExtension, ServerProperties as ServerFacts, ServerRole,
};

use crate::{ConnectionConfig, PostgresError, PostgresErrorKind, TableCounts, tools::ClientTools};
use bytes::Bytes;
use fingerprint::DumpFingerprint;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    io,
    path::Path,
    time::{Duration, Instant},
};
use tokio::{process::Command, sync::mpsc};

/// What is dumped, and how.
#[derive(Clone, Debug)]
pub struct DumpOptions {
    /// The form of the file.
    pub format: DumpFileFormat,
    /// Patterns of tables as `pg_dump --table` has them; empty for the whole database. Not for CSV.
    pub tables: Vec<String>,
    /// Connections that read data at once, in the custom format. One more holds the snapshot.
    pub jobs: usize,
    /// How long to wait for locks that others hold.
    pub lock_wait: Duration,
    /// Whether to take a [fingerprint](DumpSummary::fingerprint): as much work as another hash. Not for CSV.
    pub fingerprint: bool,
}

/// The form of a dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DumpFileFormat {
    /// `pg_dump -Fc`, for `pg_restore`.
    Custom {
        /// zlib's level of the data inside; none leaves it to whoever packs the file.
        zlib: Option<u32>,
    },
    /// SQL, for `psql`.
    Plain,
    /// One table or query.
    Csv(CsvSource),
}

/// What a CSV file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CsvSource {
    /// A table or view, named as SQL does.
    Table(String),
    /// What a `SELECT` gives.
    Query(String),
}

/// What was dumped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpSummary {
    /// Everything that was committed by then is in it.
    pub data_time: Timestamp,
    /// Where it comes from.
    pub server: ServerFacts,
    /// Version of the `pg_dump` that was used: `15.18`.
    pub pg_dump_version: String,
    /// Extensions of the database.
    pub extensions: Vec<InstalledExtension>,
    /// The server's roles, without passwords.
    pub roles: Vec<ServerRole>,
    /// Rows of each table at the snapshot, in the order of the file.
    pub tables: Vec<TableCounts>,
    /// How many large objects it holds.
    pub large_objects: u64,
    /// SHA-256 of what was dumped, without when and how: the same for two dumps of a database on one server in which
    /// nothing changed in between, be it a row, a definition, a role or an extension. None when it was not asked for.
    pub fingerprint: Option<[u8; 32]>,
}

/// Looks at a server and a database without dumping: reached, let in, how large, and whether a fitting `pg_dump` is here.
///
/// # Errors
/// As connecting fails, or [`PostgresErrorKind::Tool`] when every `pg_dump` here is older than the server.
pub async fn probe_server(
    server: &ConnectionConfig,
    database: &str,
) -> Result<ServerFacts, PostgresError> {
    let session = server.connect(database).await?;
    ClientTools::find_for_server(server, session.version_num)?;
    facts::query_server_properties(&session).await
}

/// How often it is begun afresh because a table was changed at the wrong moment.
const MAX_START_ATTEMPTS: u32 = 5;

/// Dumps a database into `out` in pieces of up to 256 KiB. The empty piece, the mark of a clean end, is sent when all was
/// proven to be there: every row that the server says it sent, the snapshot alive to the end, `pg_dump` content.
///
/// # Errors
/// In every way that servers, tools and connections fail; then `out` closes without its mark. [`PostgresErrorKind::Busy`] when a lock
/// is not had within the time; [`PostgresErrorKind::Lost`] also when the receiver is gone. No `pg_dump` stays behind.
pub async fn dump_database(
    server: &ConnectionConfig,
    database: &str,
    what: &DumpOptions,
    out: mpsc::Sender<io::Result<Bytes>>,
) -> Result<DumpSummary, PostgresError> {
    let watched = out.clone();
    tokio::select! {
        biased;
        dumped = run_dump(server, database, what, out) => dumped,
        () = watched.closed() => Err(emit::receiver_closed_error()),
    }
    .map_err(|e| PostgresError { doing: format!("dump {database}: {}", e.doing), ..e })
}

async fn run_dump(
    server: &ConnectionConfig,
    database: &str,
    what: &DumpOptions,
    out: mpsc::Sender<io::Result<Bytes>>,
) -> Result<DumpSummary, PostgresError> {
    let session = server.connect(database).await?;
    let tools = ClientTools::find_for_server(server, session.version_num)?;
    let facts = facts::query_server_properties(&session).await?;
    drop(session);
    let job = DumpSource { server, database, tools: &tools, tables: &what.tables };
    let data = async {
        let data = dump_data(&job, what, &out).await?;
        let extensions = facts::list_extensions(&data.snapshot_session.session).await?;
        data.snapshot_session.commit_and_check().await?;
        Ok((data, extensions))
    };
    let roles = async { roles::read_roles(&server.connect(database).await?).await };
    let ((data, extensions), roles) = tokio::try_join!(data, roles)?;
    out.send(Ok(Bytes::new())).await.map_err(|_| emit::receiver_closed_error())?;
    Ok(DumpSummary {
        data_time: data.snapshot_session.data_time,
        pg_dump_version: tools.version.clone(),
        fingerprint: data.fingerprint.map(|f| f.finish(&facts, &extensions, &roles)),
        server: facts,
        extensions,
        roles,
        tables: data.tables,
        large_objects: data.large_objects,
    })
}

/// What every format comes to.
struct DumpedData {
    snapshot_session: snapshot::SnapshotSession,
    tables: Vec<TableCounts>,
    large_objects: u64,
    fingerprint: Option<DumpFingerprint>,
}

async fn dump_data(
    job: &DumpSource<'_>,
    what: &DumpOptions,
    out: &mpsc::Sender<io::Result<Bytes>>,
) -> Result<DumpedData, PostgresError> {
    match &what.format {
        DumpFileFormat::Custom { zlib } => {
            let head = retry_while_busy(what.lock_wait, async |wait| {
                custom::prepare_archive(job, *zlib, wait).await
            })
            .await?;
            if head.is_nameable() {
                return custom::write_archive(job, head, *zlib, what, out.clone()).await;
            }
            let leader = head.into_snapshot_session();
            let patience = failure::LockWaitDeadline::new(what.lock_wait);
            let mut data = match passed::stream_pg_dump(job, &leader, *zlib, what, out).await {
                Ok(counted) => counted.into_dumped_data(leader),
                Err(e) => return Err(failure::explain_failure(job, &leader, patience, e).await),
            };
            data.large_objects = count_large_objects(job, &data.snapshot_session).await?;
            Ok(data)
        }
        DumpFileFormat::Plain => {
            let begun = retry_while_busy(what.lock_wait, async |wait| {
                plain::start_plain_dump(job, wait).await
            })
            .await?;
            let fingerprint = what.fingerprint.then(DumpFingerprint::default);
            let (leader, tables, fingerprint) =
                plain::stream_plain_dump(job, begun, fingerprint, out).await?;
            let large_objects = count_large_objects(job, &leader).await?;
            Ok(DumpedData { snapshot_session: leader, tables, large_objects, fingerprint })
        }
        DumpFileFormat::Csv(of) => {
            let session = snapshot::connect_configured(job.server, job.database).await?;
            let wait = format!("SET lock_timeout = {}", to_pg_millis(what.lock_wait));
            let wait = session.batch_execute(&wait).await;
            wait.map_err(|e| PostgresError::from_pg("set up a connection", &e))?;
            let leader = snapshot::SnapshotSession::export_snapshot(session).await?;
            let rows = csv::dump_csv(&leader, of, out).await?;
            Ok(DumpedData {
                snapshot_session: leader,
                tables: vec![rows],
                large_objects: 0,
                fingerprint: None,
            })
        }
    }
}

/// The large objects that `pg_dump` takes along: all of them, or none when it takes chosen tables.
async fn count_large_objects(
    job: &DumpSource<'_>,
    leader: &snapshot::SnapshotSession,
) -> Result<u64, PostgresError> {
    if !job.tables.is_empty() {
        return Ok(0);
    }
    let sql = "SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata";
    let row = leader.session.query_one(sql, &[]).await;
    let count: Result<i64, _> = row.and_then(|row| row.try_get(0));
    count.map(i64::unsigned_abs).map_err(|e| PostgresError::from_pg("count the large objects", &e))
}

/// Begins, and begins afresh while a table is being changed and there is time to wait; nothing was sent before.
async fn retry_while_busy<T>(
    lock_wait: Duration,
    mut once: impl AsyncFnMut(Duration) -> Result<T, PostgresError>,
) -> Result<T, PostgresError> {
    let started = Instant::now();
    for attempt in 1.. {
        let left = lock_wait.saturating_sub(started.elapsed());
        match once(left.max(Duration::from_millis(100))).await {
            Err(e)
                if e.kind == PostgresErrorKind::Busy
                    && attempt < MAX_START_ATTEMPTS
                    && started.elapsed() < lock_wait =>
            {
                tracing::info!(attempt, error = %e, "begin afresh: {e}");
                tokio::time::sleep(Duration::from_millis(200) * attempt).await;
            }
            other => return other,
        }
    }
    unreachable!("the last attempt returns")
}

fn to_pg_millis(time: Duration) -> u64 {
    // PostgreSQL's largest: about 24 days.
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).min(i32::MAX as u64)
}

/// Adds the rows of a table. Partitions that are loaded through the root of their tree count as the root.
fn add_row_count(
    tables: &mut Vec<TableCounts>,
    places: &mut HashMap<String, usize>,
    name: &str,
    rows: u64,
    bytes: u64,
) {
    let place = *places.entry(name.to_owned()).or_insert(tables.len());
    if place == tables.len() {
        tables.push(TableCounts { name: name.to_owned(), rows: 0, bytes: 0 });
    }
    tables[place].rows += rows;
    tables[place].bytes += bytes;
}

/// A shell, and the address space of a `pg_dump` that writes the head of an archive only: more than definitions need, unless
/// there are very many.
const SHELL_PATH: &str = "/bin/sh";
const MAX_HEAD_MEMORY_KIB: u32 = 320 << 10;

/// What every format needs.
struct DumpSource<'a> {
    server: &'a ConnectionConfig,
    database: &'a str,
    tools: &'a ClientTools,
    tables: &'a [String],
}

impl DumpSource<'_> {
    /// A `pg_dump` on this snapshot.
    fn pg_dump_command(&self, snapshot: &str, lock_wait: Duration) -> Command {
        let command = self.server.client_command(&self.tools.pg_dump, self.database);
        self.with_arguments(command, snapshot, lock_wait)
    }

    /// As [`Self::pg_dump_command`], in bounded memory. It ends when it is to read a row that does not fit; by then it has written
    /// its head.
    fn bounded_pg_dump_command(&self, snapshot: &str, lock_wait: Duration) -> Command {
        let program = &self.tools.pg_dump;
        let mut command = self.server.client_command(Path::new(SHELL_PATH), self.database);
        command.args(["-c", "ulimit -v \"$0\"; exec \"$@\"", &MAX_HEAD_MEMORY_KIB.to_string()]);
        command.arg(program);
        self.with_arguments(command, snapshot, lock_wait)
    }

    fn with_arguments(&self, mut command: Command, snapshot: &str, lock_wait: Duration) -> Command {
        command.args(["--no-password", "--snapshot", snapshot]);
        command.arg(format!("--lock-wait-timeout={}", to_pg_millis(lock_wait)));
        for table in self.tables {
            command.arg(format!("--table={table}"));
        }
        command
    }
}

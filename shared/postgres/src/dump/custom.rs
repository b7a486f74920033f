//! The custom format: the head as stock `pg_dump` writes it, the data read by us over several connections.

use super::{
    DumpOptions, DumpSource, DumpedData,
    child::{PgDumpFailure, PgDumpProcess},
    emit::ArchiveWriter,
    failure::{self, LockWaitDeadline},
    fingerprint::DumpFingerprint,
    plan::{self, EntryData, ReadUnit},
    read::{self, InFlightUnit, ReadContext, UnitEvent},
    snapshot::{self, SnapshotSession, TableInfo},
};
use crate::{
    PostgresError, PostgresErrorKind, TableCounts,
    toc::{CompressionAlgorithm, Toc},
};
use bytes::Bytes;
use std::{
    collections::HashMap,
    io::{self, BufReader},
    time::Duration,
};
use tokio::{process::Command, sync::mpsc};

/// Tables that are locked by one statement.
const MAX_TABLES_PER_LOCK: usize = 500;

/// How long the leader waits for its locks. `pg_dump` had the same ones just now, so only someone who waited for a stronger
/// lock can be in the way; the dump is begun again then.
const SET_LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '2s'";

/// What is counted of the data.
struct DataCounts {
    tables: Vec<TableCounts>,
    large_objects: u64,
}

/// All that must be there before the first byte is sent.
pub(super) struct PreparedArchive {
    leader: SnapshotSession,
    toc: Toc,
    tables: Vec<TableInfo>,
}

/// Takes a snapshot, has `pg_dump` write the head, and locks the tables.
///
/// # Errors
/// [`PostgresErrorKind::Busy`]: someone changed or wants to change a table just then; nothing was sent, and it can be tried again.
pub(super) async fn prepare_archive(
    job: &DumpSource<'_>,
    zlib: Option<u32>,
    lock_wait: Duration,
) -> Result<PreparedArchive, PostgresError> {
    let session = snapshot::connect_configured(job.server, job.database).await?;
    let leader = SnapshotSession::export_snapshot(session).await?;
    let patience = LockWaitDeadline::new(lock_wait);
    let bounded = job.bounded_pg_dump_command(&leader.snapshot, lock_wait);
    let toc = match dump_head(bounded, zlib).await {
        // Its definitions may need more memory; what has another cause fails again.
        Err(PgDumpFailure { error, killed: false })
            if error.kind == PostgresErrorKind::Tool && !patience.has_passed() =>
        {
            tracing::info!("pg_dump is run again without a bound of its memory: {error}");
            dump_head(job.pg_dump_command(&leader.snapshot, lock_wait), zlib).await
        }
        other => other,
    };
    let toc = match toc {
        Ok(toc) => toc,
        Err(e) => return Err(failure::explain_failure(job, &leader, patience, e).await),
    };
    let wanted =
        if zlib.is_some() { CompressionAlgorithm::Zlib } else { CompressionAlgorithm::None };
    if toc.compression != wanted {
        let why = format!("asked for {wanted:?}, it packs with {:?}", toc.compression);
        return Err(PostgresError::new(
            PostgresErrorKind::Tool,
            "run pg_dump",
            why,
            "install another build of it",
        ));
    }
    let oids = plan::table_oids(&toc)?;
    let tables = snapshot::describe_tables(&leader.session, &oids).await?;
    if tables.iter().all(|t| t.is_nameable) {
        lock_tables(&leader, &tables).await?;
    }
    let plain = snapshot::connect_configured(job.server, job.database).await?;
    snapshot::ensure_tables_unchanged(&tables, &snapshot::describe_tables(&plain, &oids).await?)?;
    Ok(PreparedArchive { leader, toc, tables })
}

/// The head of an archive as `pg_dump` writes it. The program is ended then, and with it its locks: the server has room
/// for one set of them, and what changes before the leader has its own is seen.
async fn dump_head(mut command: Command, zlib: Option<u32>) -> Result<Toc, PgDumpFailure> {
    command.args(["--format=custom", &format!("--compress={}", zlib.unwrap_or(0))]);
    let mut dumper = PgDumpProcess::spawn(command)?;
    if let Some(toc) = read_head(&mut dumper).await? {
        dumper.kill_and_wait().await;
        return Ok(toc);
    }
    // It ended before its head was whole: its words say why.
    dumper.wait_success().await?;
    let why = "it ended well and wrote no whole table of contents";
    Err(PostgresError::new(PostgresErrorKind::Tool, "run pg_dump", why, "install it afresh").into())
}

/// `None` when the program's output ends inside the head.
async fn read_head(dumper: &mut PgDumpProcess) -> Result<Option<Toc>, PostgresError> {
    let Some(stdout) = dumper.stdout.take() else { return Ok(None) };
    let failed = |e: io::Error| PostgresError::from_io("read from pg_dump", &e);
    // Blocking reads on a thread of their own; they end when pg_dump does.
    let pipe = std::fs::File::from(stdout.into_owned_fd().map_err(failed)?);
    let read = tokio::task::spawn_blocking(move || Toc::read_complete(&mut BufReader::new(pipe)));
    read.await.map_err(|e| failed(io::Error::other(e)))?
}

impl PreparedArchive {
    /// Whether all its tables can be read by statements of ours.
    pub(super) fn is_nameable(&self) -> bool {
        self.tables.iter().all(|t| t.is_nameable)
    }

    /// Its snapshot, for a `pg_dump` that writes everything.
    pub(super) fn into_snapshot_session(self) -> SnapshotSession {
        self.leader
    }
}

async fn lock_tables(leader: &SnapshotSession, tables: &[TableInfo]) -> Result<(), PostgresError> {
    let failed = |e| PostgresError::from_pg("lock the tables", &e);
    leader.session.batch_execute(SET_LOCK_TIMEOUT).await.map_err(failed)?;
    for some in tables.chunks(MAX_TABLES_PER_LOCK) {
        let names: Vec<String> = some.iter().map(|t| format!("ONLY {}", t.name)).collect();
        let sql = format!("LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", "));
        leader.session.batch_execute(&sql).await.map_err(failed)?;
    }
    Ok(())
}

/// Sends the whole archive.
pub(super) async fn write_archive(
    job: &DumpSource<'_>,
    head: PreparedArchive,
    zlib: Option<u32>,
    what: &DumpOptions,
    out: mpsc::Sender<io::Result<Bytes>>,
) -> Result<DumpedData, PostgresError> {
    let PreparedArchive { leader, mut toc, tables } = head;
    let jobs = what.jobs.max(1);
    let range = (jobs > 1).then(|| read::unit_bytes(jobs));
    let parts = plan::plan_reads(&toc, &tables, leader.session.version_num, range)?;
    let units: Vec<ReadUnit> = parts.iter().flat_map(|p| p.units.iter().cloned()).collect();
    let wanted = jobs.min(units.len()).max(1);
    let sessions = connect_readers(job, wanted).await?;
    let int_size = toc.int_size;
    let room = ArchiveWriter::block_header_len(int_size);
    let source = ReadContext {
        server: job.server,
        database: job.database,
        leader: &leader,
        header_reserve: room,
    };
    let (begun, flights) = read::unit_channel(sessions.len());
    let fingerprint = what.fingerprint.then(|| DumpFingerprint::from_toc(&toc));
    let mut emitter = ArchiveWriter::new(out, int_size, zlib, fingerprint);
    let writing = async {
        emitter.write_raw(Bytes::from(std::mem::take(&mut toc.raw))).await?;
        let counts = write_entries(&mut emitter, &parts, room, flights).await?;
        Ok((counts, emitter.finish().await?))
    };
    let read = read::read_units(&source, sessions, units, begun);
    let ((counts, fingerprint), ()) = tokio::try_join!(writing, read)?;
    let DataCounts { tables, large_objects } = counts;
    Ok(DumpedData { snapshot_session: leader, tables, large_objects, fingerprint })
}

/// As many connections as are wanted, or as the server has left.
async fn connect_readers(
    job: &DumpSource<'_>,
    wanted: usize,
) -> Result<Vec<crate::PgConnection>, PostgresError> {
    let mut sessions = Vec::new();
    while sessions.len() < wanted {
        match read::connect_worker(job.server, job.database).await {
            Ok(session) => sessions.push(session),
            Err(e) if sessions.is_empty() => return Err(e),
            Err(e) => {
                tracing::warn!(connections = sessions.len(), error = %e, "go on with fewer connections: {e}");
                break;
            }
        }
    }
    Ok(sessions)
}

/// Writes the parts in their order, as their units come in.
async fn write_entries(
    emitter: &mut ArchiveWriter,
    parts: &[EntryData],
    room: usize,
    mut flights: mpsc::Receiver<InFlightUnit>,
) -> Result<DataCounts, PostgresError> {
    let mut counts = DataCounts { tables: Vec::new(), large_objects: 0 };
    let (mut at, mut places) = (0, HashMap::new());
    for part in parts {
        let (mut rows, mut bytes) = (0, 0);
        match &part.table {
            Some(_) => emitter.begin_data(part.dump_id).await?,
            None => emitter.begin_objects(part.dump_id),
        }
        for _ in &part.units {
            let mut pieces = next_unit(&mut flights, at).await?;
            at += 1;
            let (count, length) = write_unit(emitter, &mut pieces, room).await?;
            rows += count;
            bytes += length;
        }
        if let Some(name) = &part.table {
            emitter.end_data().await?;
            super::add_row_count(&mut counts.tables, &mut places, name, rows, bytes);
        } else {
            emitter.end_objects().await?;
            counts.large_objects += rows;
        }
    }
    Ok(counts)
}

async fn next_unit(
    flights: &mut mpsc::Receiver<InFlightUnit>,
    at: usize,
) -> Result<mpsc::Receiver<UnitEvent>, PostgresError> {
    match flights.recv().await {
        Some((number, pieces)) if number == at => Ok(pieces),
        Some((number, _)) => {
            let why = format!("unit {number} came in the place of {at}");
            Err(PostgresError::new(
                PostgresErrorKind::Data,
                "write the archive",
                why,
                "report this",
            ))
        }
        // The reading side failed; its error is the one to be told.
        None => std::future::pending().await,
    }
}

async fn write_unit(
    emitter: &mut ArchiveWriter,
    pieces: &mut mpsc::Receiver<UnitEvent>,
    room: usize,
) -> Result<(u64, u64), PostgresError> {
    let (mut in_object, mut bytes) = (false, 0);
    loop {
        match pieces.recv().await {
            Some(UnitEvent::Block(block)) => {
                bytes += (block.len() - room) as u64;
                emitter.write_data(block).await?;
            }
            Some(UnitEvent::Object(oid)) => {
                if std::mem::replace(&mut in_object, true) {
                    emitter.end_stream().await?;
                }
                emitter.begin_object(oid).await?;
            }
            Some(UnitEvent::End(count)) => {
                if in_object {
                    emitter.end_stream().await?;
                }
                return Ok((count, bytes));
            }
            None => std::future::pending().await,
        }
    }
}

//! The custom format: the head as stock `pg_dump` writes it, the data read by us over several connections.

use super::{
    Data, Job, What,
    child::{Dumper, Failed},
    emit::Emitter,
    failure::{self, Patience},
    fingerprint::Fingerprint,
    plan::{self, Part, Unit},
    read::{self, Flight, Piece, Source},
    snapshot::{self, Leader, Table},
};
use crate::{
    Error, Kind, TableRows,
    toc::{Packing, Toc},
};
use bytes::Bytes;
use std::{
    collections::HashMap,
    io::{self, BufReader},
    time::Duration,
};
use tokio::{process::Command, sync::mpsc};

/// Tables that are locked by one statement.
const LOCKED_AT_ONCE: usize = 500;

/// How long the leader waits for its locks. `pg_dump` had the same ones just now, so only someone who waited for a stronger
/// lock can be in the way; the dump is begun again then.
const LOCK_WAIT: &str = "SET LOCAL lock_timeout = '2s'";

/// What is counted of the data.
struct Counts {
    tables: Vec<TableRows>,
    large_objects: u64,
}

/// All that must be there before the first byte is sent.
pub(super) struct Head {
    leader: Leader,
    toc: Toc,
    tables: Vec<Table>,
}

/// Takes a snapshot, has `pg_dump` write the head, and locks the tables.
///
/// # Errors
/// [`Kind::Busy`]: someone changed or wants to change a table just then; nothing was sent, and it can be tried again.
pub(super) async fn head(
    job: &Job<'_>,
    zlib: Option<u32>,
    lock_wait: Duration,
) -> Result<Head, Error> {
    let session = snapshot::settled(job.server, job.database).await?;
    let leader = Leader::begin(session).await?;
    let patience = Patience::new(lock_wait);
    let bounded = job.bounded_pg_dump(&leader.snapshot, lock_wait);
    let toc = match written(bounded, zlib).await {
        // Its definitions may need more memory; what has another cause fails again.
        Err(Failed { error, killed: false }) if error.kind == Kind::Tool && !patience.is_over() => {
            tracing::info!("pg_dump is run again without a bound of its memory: {error}");
            written(job.pg_dump(&leader.snapshot, lock_wait), zlib).await
        }
        other => other,
    };
    let toc = match toc {
        Ok(toc) => toc,
        Err(e) => return Err(failure::explained(job, &leader, patience, e).await),
    };
    let wanted = if zlib.is_some() { Packing::Zlib } else { Packing::None };
    if toc.packing != wanted {
        let why = format!("asked for {wanted:?}, it packs with {:?}", toc.packing);
        return Err(Error::new(Kind::Tool, "run pg_dump", why, "install another build of it"));
    }
    let oids = plan::table_oids(&toc)?;
    let tables = snapshot::tables(&leader.session, &oids).await?;
    if tables.iter().all(|t| t.nameable) {
        lock(&leader, &tables).await?;
    }
    let plain = snapshot::settled(job.server, job.database).await?;
    snapshot::unchanged(&tables, &snapshot::tables(&plain, &oids).await?)?;
    Ok(Head { leader, toc, tables })
}

/// The head of an archive as `pg_dump` writes it. The program is ended then, and with it its locks: the server has room
/// for one set of them, and what changes before the leader has its own is seen.
async fn written(mut command: Command, zlib: Option<u32>) -> Result<Toc, Failed> {
    command.args(["--format=custom", &format!("--compress={}", zlib.unwrap_or(0))]);
    let mut dumper = Dumper::start(command)?;
    if let Some(toc) = read_head(&mut dumper).await? {
        dumper.end().await;
        return Ok(toc);
    }
    // It ended before its head was whole: its words say why.
    dumper.finish().await?;
    let why = "it ended well and wrote no whole table of contents";
    Err(Error::new(Kind::Tool, "run pg_dump", why, "install it afresh").into())
}

/// `None` when the program's output ends inside the head.
async fn read_head(dumper: &mut Dumper) -> Result<Option<Toc>, Error> {
    let Some(stdout) = dumper.stdout.take() else { return Ok(None) };
    let failed = |e: io::Error| Error::from_io("read from pg_dump", &e);
    // Blocking reads on a thread of their own; they end when pg_dump does.
    let pipe = std::fs::File::from(stdout.into_owned_fd().map_err(failed)?);
    let read = tokio::task::spawn_blocking(move || Toc::read_whole(&mut BufReader::new(pipe)));
    read.await.map_err(|e| failed(io::Error::other(e)))?
}

impl Head {
    /// Whether all its tables can be read by statements of ours.
    pub(super) fn is_nameable(&self) -> bool {
        self.tables.iter().all(|t| t.nameable)
    }

    /// Its snapshot, for a `pg_dump` that writes everything.
    pub(super) fn into_leader(self) -> Leader {
        self.leader
    }
}

async fn lock(leader: &Leader, tables: &[Table]) -> Result<(), Error> {
    let failed = |e| Error::from_pg("lock the tables", &e);
    leader.session.batch_execute(LOCK_WAIT).await.map_err(failed)?;
    for some in tables.chunks(LOCKED_AT_ONCE) {
        let names: Vec<String> = some.iter().map(|t| format!("ONLY {}", t.name)).collect();
        let sql = format!("LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", "));
        leader.session.batch_execute(&sql).await.map_err(failed)?;
    }
    Ok(())
}

/// Sends the whole archive.
pub(super) async fn archive(
    job: &Job<'_>,
    head: Head,
    zlib: Option<u32>,
    what: &What,
    out: mpsc::Sender<io::Result<Bytes>>,
) -> Result<Data, Error> {
    let Head { leader, mut toc, tables } = head;
    let jobs = what.jobs.max(1);
    let range = (jobs > 1).then(|| read::unit_bytes(jobs));
    let parts = plan::plan(&toc, &tables, leader.session.version_num, range)?;
    let units: Vec<Unit> = parts.iter().flat_map(|p| p.units.iter().cloned()).collect();
    let wanted = jobs.min(units.len()).max(1);
    let sessions = sessions(job, wanted).await?;
    let int_size = toc.int_size;
    let room = Emitter::room(int_size);
    let source = Source { server: job.server, database: job.database, leader: &leader, room };
    let (begun, flights) = read::flights(sessions.len());
    let fingerprint = what.fingerprint.then(|| Fingerprint::of(&toc));
    let mut emitter = Emitter::new(out, int_size, zlib, fingerprint);
    let writing = async {
        emitter.raw(Bytes::from(std::mem::take(&mut toc.raw))).await?;
        let counts = write(&mut emitter, &parts, room, flights).await?;
        Ok((counts, emitter.finish().await?))
    };
    let read = read::read(&source, sessions, units, begun);
    let ((counts, fingerprint), ()) = tokio::try_join!(writing, read)?;
    let Counts { tables, large_objects } = counts;
    Ok(Data { leader, tables, large_objects, fingerprint })
}

/// As many connections as are wanted, or as the server has left.
async fn sessions(job: &Job<'_>, wanted: usize) -> Result<Vec<crate::Session>, Error> {
    let mut sessions = Vec::new();
    while sessions.len() < wanted {
        match read::settled(job.server, job.database).await {
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
async fn write(
    emitter: &mut Emitter,
    parts: &[Part],
    room: usize,
    mut flights: mpsc::Receiver<Flight>,
) -> Result<Counts, Error> {
    let mut counts = Counts { tables: Vec::new(), large_objects: 0 };
    let (mut at, mut places) = (0, HashMap::new());
    for part in parts {
        let (mut rows, mut bytes) = (0, 0);
        match &part.table {
            Some(_) => emitter.begin_data(part.dump_id).await?,
            None => emitter.begin_objects(part.dump_id),
        }
        for _ in &part.units {
            let mut pieces = next(&mut flights, at).await?;
            at += 1;
            let (count, length) = unit(emitter, &mut pieces, room).await?;
            rows += count;
            bytes += length;
        }
        if let Some(name) = &part.table {
            emitter.end_data().await?;
            super::add(&mut counts.tables, &mut places, name, rows, bytes);
        } else {
            emitter.end_objects().await?;
            counts.large_objects += rows;
        }
    }
    Ok(counts)
}

async fn next(
    flights: &mut mpsc::Receiver<Flight>,
    at: usize,
) -> Result<mpsc::Receiver<Piece>, Error> {
    match flights.recv().await {
        Some((number, pieces)) if number == at => Ok(pieces),
        Some((number, _)) => {
            let why = format!("unit {number} came in the place of {at}");
            Err(Error::new(Kind::Data, "write the archive", why, "report this"))
        }
        // The reading side failed; its error is the one to be told.
        None => std::future::pending().await,
    }
}

async fn unit(
    emitter: &mut Emitter,
    pieces: &mut mpsc::Receiver<Piece>,
    room: usize,
) -> Result<(u64, u64), Error> {
    let (mut in_object, mut bytes) = (false, 0);
    loop {
        match pieces.recv().await {
            Some(Piece::Block(block)) => {
                bytes += (block.len() - room) as u64;
                emitter.data(block).await?;
            }
            Some(Piece::Object(oid)) => {
                if std::mem::replace(&mut in_object, true) {
                    emitter.end_stream().await?;
                }
                emitter.begin_object(oid).await?;
            }
            Some(Piece::End(count)) => {
                if in_object {
                    emitter.end_stream().await?;
                }
                return Ok((count, bytes));
            }
            None => std::future::pending().await,
        }
    }
}

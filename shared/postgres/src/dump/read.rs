//! Several connections read the units of a plan; what they read comes out in the order of the archive.
//!
//! Each unit has a bounded channel of its own and only a few units are begun, so memory is bounded and the unit whose
//! turn it is always gets on.

use super::{objects, plan::ReadUnit, snapshot};
use crate::{
    ConnectionConfig, PgConnection, PostgresError, PostgresErrorKind,
    server::{BLOCK_BYTES, CopyOutError},
};
use futures_util::future::try_join_all;
use tokio::sync::{Mutex, mpsc};

/// Blocks of all units that are begun, together 48 MiB.
const MAX_BUFFERED_BLOCKS: usize = 384;

/// How often a unit is read again after a replica's replay cancelled it.
const MAX_RETRIES: u32 = 5;

/// How long a connection waits for a lock that the leader has already. It gets it at once, unless someone waits for a
/// stronger one; then the leader reads the table itself.
const SET_LOCK_TIMEOUT: &str = "SET lock_timeout = '1s'";

/// What the server says of a snapshot that is gone: its file is (`invalid_parameter_value`, `undefined_object`), or its
/// owner is no longer in its transaction (`object_not_in_prerequisite_state`).
const SNAPSHOT_GONE_CODES: [&str; 3] = ["22023", "42704", "55000"];

/// What comes of a unit, in this order: blocks, objects with their blocks, the end.
#[derive(Debug)]
pub(super) enum UnitEvent {
    /// Data, with room at its front.
    Block(Vec<u8>),
    /// What follows is this large object.
    Object(u32),
    /// All of it came: so many rows or objects.
    End(u64),
}

/// A unit that was begun: its place in the plan and what comes of it.
pub(super) type InFlightUnit = (usize, mpsc::Receiver<UnitEvent>);

struct UnitQueue {
    units: std::iter::Enumerate<std::vec::IntoIter<ReadUnit>>,
    begun: mpsc::Sender<InFlightUnit>,
    depth: usize,
}

/// How many bytes of text a unit should give, so that it fits into its channel.
pub(super) fn unit_bytes(jobs: usize) -> u64 {
    (channel_depth(jobs) * BLOCK_BYTES * 3 / 4) as u64
}

/// Units begun: one for each connection, and the one that is being written.
fn channel_depth(jobs: usize) -> usize {
    (MAX_BUFFERED_BLOCKS / (jobs + 1)).clamp(4, 96)
}

/// Where the workers read.
pub(super) struct ReadContext<'a> {
    pub(super) server: &'a ConnectionConfig,
    pub(super) database: &'a str,
    pub(super) leader: &'a snapshot::SnapshotSession,
    /// Bytes left free in each block.
    pub(super) header_reserve: usize,
}

/// Channel of the units that are begun, for as many connections.
pub(super) fn unit_channel(
    jobs: usize,
) -> (mpsc::Sender<InFlightUnit>, mpsc::Receiver<InFlightUnit>) {
    mpsc::channel(jobs.max(1))
}

/// Reads all units over these connections. Ends with the first that fails.
pub(super) async fn read_units(
    source: &ReadContext<'_>,
    sessions: Vec<PgConnection>,
    units: Vec<ReadUnit>,
    begun: mpsc::Sender<InFlightUnit>,
) -> Result<(), PostgresError> {
    let units = units.into_iter().enumerate();
    let queue = Mutex::new(UnitQueue { units, begun, depth: channel_depth(sessions.len()) });
    let (refused, for_leader) = mpsc::channel(1);
    let workers = sessions.into_iter().map(|session| {
        let worker =
            ReadWorker { source, session: Some(session), joined: false, refused: refused.clone() };
        worker.read_queue(&queue)
    });
    let workers = try_join_all(workers);
    drop(refused);
    tokio::try_join!(workers, read_units_as_leader(source, for_leader))?;
    Ok(())
}

/// The leader reads what others could not lock.
async fn read_units_as_leader(
    source: &ReadContext<'_>,
    mut refused: mpsc::Receiver<(ReadUnit, mpsc::Sender<UnitEvent>)>,
) -> Result<(), PostgresError> {
    while let Some((unit, out)) = refused.recv().await {
        let mut state = UnitReader { out, sent: 0 };
        state
            .send_unit(&source.leader.session, &unit, source.header_reserve)
            .await
            .map_err(CopyOutError::into_postgres_error)?;
    }
    Ok(())
}

struct ReadWorker<'a> {
    source: &'a ReadContext<'a>,
    session: Option<PgConnection>,
    /// Whether its transaction sees the snapshot.
    joined: bool,
    refused: mpsc::Sender<(ReadUnit, mpsc::Sender<UnitEvent>)>,
}

impl ReadWorker<'_> {
    async fn read_queue(mut self, queue: &Mutex<UnitQueue>) -> Result<(), PostgresError> {
        loop {
            let (unit, out) = {
                let mut queue = queue.lock().await;
                let Some((at, unit)) = queue.units.next() else { return Ok(()) };
                let (out, pieces) = mpsc::channel(queue.depth);
                queue
                    .begun
                    .send((at, pieces))
                    .await
                    .map_err(|_| super::emit::receiver_closed_error())?;
                (unit, out)
            };
            self.read_unit(unit, out).await?;
        }
    }

    async fn read_unit(
        &mut self,
        unit: ReadUnit,
        out: mpsc::Sender<UnitEvent>,
    ) -> Result<(), PostgresError> {
        let mut reading = UnitReader { out, sent: 0 };
        let steady = matches!(unit, ReadUnit::Rows { repeatable: true, .. });
        let mut again = 0;
        let mut cancelled: Option<PostgresError> = None;
        loop {
            let room = self.source.header_reserve;
            let session = match (self.joined_session().await, cancelled.take()) {
                (Ok(session), _) => session,
                // The snapshot went with the leader; what cancelled us ended it too.
                (Err(_), Some(e)) | (Err(e), None) => return Err(e),
            };
            let fault = match reading.send_unit(session, &unit, room).await {
                // The next unit begins a transaction of its own: a connection's locks never add up.
                Ok(()) => {
                    self.joined = false;
                    return Ok(());
                }
                Err(fault) => fault,
            };
            self.joined = false;
            if fault.sqlstate() == Some("55P03") && reading.sent == 0 {
                let leader = self.refused.send((unit, reading.out)).await;
                return leader.map_err(|_| super::emit::receiver_closed_error());
            }
            if !fault.is_recovery_conflict()
                || again == MAX_RETRIES
                || !(steady || reading.sent == 0)
            {
                return Err(fault.into_postgres_error());
            }
            cancelled = Some(fault.into_postgres_error());
            again += 1;
            tracing::info!(again, "a replica's replay cancelled a range, it is read again");
        }
    }

    /// The connection, in a transaction on the leader's snapshot.
    async fn joined_session(&mut self) -> Result<&PgConnection, PostgresError> {
        let session = match self.session.take() {
            Some(session) if !session.is_closed() => session,
            _ => {
                self.joined = false;
                connect_worker(self.source.server, self.source.database).await?
            }
        };
        let session = self.session.insert(session);
        if !self.joined {
            let joined =
                snapshot::set_transaction_snapshot(session, &self.source.leader.snapshot).await;
            joined.map_err(|e| {
                // There was one: a server that does not know it any more has ended the connection that held it.
                let gone = e.code().is_some_and(|c| SNAPSHOT_GONE_CODES.contains(&c.code()));
                let e = PostgresError::from_pg("see the same snapshot", &e);
                if gone { PostgresError { kind: PostgresErrorKind::Lost, ..e } } else { e }
            })?;
            self.joined = true;
        }
        Ok(session)
    }
}

/// A connection that is ready to join the snapshot.
pub(super) async fn connect_worker(
    server: &ConnectionConfig,
    database: &str,
) -> Result<PgConnection, PostgresError> {
    let session = snapshot::connect_configured(server, database).await?;
    session
        .batch_execute(SET_LOCK_TIMEOUT)
        .await
        .map_err(|e| PostgresError::from_pg("set up a connection", &e))?;
    Ok(session)
}

/// One unit's way into its channel.
struct UnitReader {
    out: mpsc::Sender<UnitEvent>,
    /// Bytes of data that were sent already.
    sent: u64,
}

impl UnitReader {
    async fn send_unit(
        &mut self,
        session: &PgConnection,
        unit: &ReadUnit,
        room: usize,
    ) -> Result<(), CopyOutError> {
        let count = match unit {
            ReadUnit::Rows { sql, .. } => self.send_rows(session, sql, room).await?,
            ReadUnit::Objects(oids) => {
                let out = &self.out;
                let sent = &mut self.sent;
                objects::read_large_objects(session, oids, room, async |piece| {
                    *sent += 1;
                    out.send(piece)
                        .await
                        .map_err(|_| CopyOutError::Consumer(super::emit::receiver_closed_error()))
                })
                .await?
            }
        };
        self.out
            .send(UnitEvent::End(count))
            .await
            .map_err(|_| CopyOutError::Consumer(super::emit::receiver_closed_error()))
    }

    async fn send_rows(
        &mut self,
        session: &PgConnection,
        sql: &str,
        room: usize,
    ) -> Result<u64, CopyOutError> {
        // Read again on the same snapshot, the bytes are the same: what was sent already is left out.
        let mut skip = self.sent;
        let (out, sent) = (&self.out, &mut self.sent);
        let copied = session
            .copy_out(sql, room, async |mut block| {
                let length = (block.len() - room) as u64;
                if skip >= length {
                    skip -= length;
                    return Ok(());
                }
                let cut = usize::try_from(std::mem::take(&mut skip)).unwrap_or(0);
                block.drain(room..room + cut);
                *sent += length - cut as u64;
                out.send(UnitEvent::Block(block))
                    .await
                    .map_err(|_| super::emit::receiver_closed_error())
            })
            .await?;
        if copied.messages != copied.rows {
            let why = format!("{} rows came, the server says {}", copied.messages, copied.rows);
            return Err(CopyOutError::Consumer(PostgresError::new(
                PostgresErrorKind::Data,
                "read by COPY",
                why,
                "run again",
            )));
        }
        Ok(copied.rows)
    }
}

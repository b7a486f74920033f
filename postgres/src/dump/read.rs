//! Several connections read the units of a plan; what they read comes out in the order of the archive.
//!
//! Each unit has a bounded channel of its own and only a few units are begun, so memory is bounded and the unit whose
//! turn it is always gets on.

use super::{objects, plan::Unit, snapshot};
use crate::{
    Error, Kind, Server, Session,
    server::{BLOCK, Fault},
};
use futures_util::future::try_join_all;
use tokio::sync::{Mutex, mpsc};

/// Blocks of all units that are begun, together 48 MiB.
const BUFFERED: usize = 384;

/// How often a unit is read again after a replica's replay cancelled it.
const AGAIN: u32 = 5;

/// How long a connection waits for a lock that the leader has already. It gets it at once, unless someone waits for a
/// stronger one; then the leader reads the table itself.
const LOCK_WAIT: &str = "SET lock_timeout = '1s'";

/// What the server says of a snapshot that is gone: its file is (`invalid_parameter_value`, `undefined_object`), or its
/// owner is no longer in its transaction (`object_not_in_prerequisite_state`).
const NO_SNAPSHOT: [&str; 3] = ["22023", "42704", "55000"];

/// What comes of a unit, in this order: blocks, objects with their blocks, the end.
#[derive(Debug)]
pub(super) enum Piece {
    /// Data, with room at its front.
    Block(Vec<u8>),
    /// What follows is this large object.
    Object(u32),
    /// All of it came: so many rows or objects.
    End(u64),
}

/// A unit that was begun: its place in the plan and what comes of it.
pub(super) type Flight = (usize, mpsc::Receiver<Piece>);

struct Queue {
    units: std::iter::Enumerate<std::vec::IntoIter<Unit>>,
    begun: mpsc::Sender<Flight>,
    depth: usize,
}

/// How many bytes of text a unit should give, so that it fits into its channel.
pub(super) fn unit_bytes(jobs: usize) -> u64 {
    (depth(jobs) * BLOCK * 3 / 4) as u64
}

/// Units begun: one for each connection, and the one that is being written.
fn depth(jobs: usize) -> usize {
    (BUFFERED / (jobs + 1)).clamp(4, 96)
}

/// Where the workers read.
pub(super) struct Source<'a> {
    pub(super) server: &'a Server,
    pub(super) database: &'a str,
    pub(super) leader: &'a snapshot::Leader,
    /// Bytes left free in each block.
    pub(super) room: usize,
}

/// Channel of the units that are begun, for as many connections.
pub(super) fn flights(jobs: usize) -> (mpsc::Sender<Flight>, mpsc::Receiver<Flight>) {
    mpsc::channel(jobs.max(1))
}

/// Reads all units over these connections. Ends with the first that fails.
pub(super) async fn read(
    source: &Source<'_>,
    sessions: Vec<Session>,
    units: Vec<Unit>,
    begun: mpsc::Sender<Flight>,
) -> Result<(), Error> {
    let units = units.into_iter().enumerate();
    let queue = Mutex::new(Queue { units, begun, depth: depth(sessions.len()) });
    let (refused, for_leader) = mpsc::channel(1);
    let workers = sessions.into_iter().map(|session| {
        let worker =
            Worker { source, session: Some(session), joined: false, refused: refused.clone() };
        worker.run(&queue)
    });
    let workers = try_join_all(workers);
    drop(refused);
    tokio::try_join!(workers, lead(source, for_leader))?;
    Ok(())
}

/// The leader reads what others could not lock.
async fn lead(
    source: &Source<'_>,
    mut refused: mpsc::Receiver<(Unit, mpsc::Sender<Piece>)>,
) -> Result<(), Error> {
    while let Some((unit, out)) = refused.recv().await {
        let mut state = Reading { out, sent: 0 };
        state.unit(&source.leader.session, &unit, source.room).await.map_err(Fault::error)?;
    }
    Ok(())
}

struct Worker<'a> {
    source: &'a Source<'a>,
    session: Option<Session>,
    /// Whether its transaction sees the snapshot.
    joined: bool,
    refused: mpsc::Sender<(Unit, mpsc::Sender<Piece>)>,
}

impl Worker<'_> {
    async fn run(mut self, queue: &Mutex<Queue>) -> Result<(), Error> {
        loop {
            let (unit, out) = {
                let mut queue = queue.lock().await;
                let Some((at, unit)) = queue.units.next() else { return Ok(()) };
                let (out, pieces) = mpsc::channel(queue.depth);
                queue.begun.send((at, pieces)).await.map_err(|_| super::emit::gone())?;
                (unit, out)
            };
            self.unit(unit, out).await?;
        }
    }

    async fn unit(&mut self, unit: Unit, out: mpsc::Sender<Piece>) -> Result<(), Error> {
        let mut reading = Reading { out, sent: 0 };
        let steady = matches!(unit, Unit::Rows { steady: true, .. });
        let mut again = 0;
        let mut cancelled: Option<Error> = None;
        loop {
            let room = self.source.room;
            let session = match (self.joined_session().await, cancelled.take()) {
                (Ok(session), _) => session,
                // The snapshot went with the leader; what cancelled us ended it too.
                (Err(_), Some(e)) | (Err(e), None) => return Err(e),
            };
            let fault = match reading.unit(session, &unit, room).await {
                // The next unit begins a transaction of its own: a connection's locks never add up.
                Ok(()) => {
                    self.joined = false;
                    return Ok(());
                }
                Err(fault) => fault,
            };
            self.joined = false;
            if fault.code() == Some("55P03") && reading.sent == 0 {
                let leader = self.refused.send((unit, reading.out)).await;
                return leader.map_err(|_| super::emit::gone());
            }
            if !fault.conflict() || again == AGAIN || !(steady || reading.sent == 0) {
                return Err(fault.error());
            }
            cancelled = Some(fault.error());
            again += 1;
            tracing::info!(again, "a replica's replay cancelled a range, it is read again");
        }
    }

    /// The connection, in a transaction on the leader's snapshot.
    async fn joined_session(&mut self) -> Result<&Session, Error> {
        let session = match self.session.take() {
            Some(session) if !session.is_closed() => session,
            _ => {
                self.joined = false;
                settled(self.source.server, self.source.database).await?
            }
        };
        let session = self.session.insert(session);
        if !self.joined {
            let joined = snapshot::join(session, &self.source.leader.snapshot).await;
            joined.map_err(|e| {
                // There was one: a server that does not know it any more has ended the connection that held it.
                let gone = e.code().is_some_and(|c| NO_SNAPSHOT.contains(&c.code()));
                let e = Error::from_pg("see the same snapshot", &e);
                if gone { Error { kind: Kind::Lost, ..e } } else { e }
            })?;
            self.joined = true;
        }
        Ok(session)
    }
}

/// A connection that is ready to join the snapshot.
pub(super) async fn settled(server: &Server, database: &str) -> Result<Session, Error> {
    let session = snapshot::settled(server, database).await?;
    session
        .batch_execute(LOCK_WAIT)
        .await
        .map_err(|e| Error::from_pg("set up a connection", &e))?;
    Ok(session)
}

/// One unit's way into its channel.
struct Reading {
    out: mpsc::Sender<Piece>,
    /// Bytes of data that were sent already.
    sent: u64,
}

impl Reading {
    async fn unit(&mut self, session: &Session, unit: &Unit, room: usize) -> Result<(), Fault> {
        let count = match unit {
            Unit::Rows { sql, .. } => self.rows(session, sql, room).await?,
            Unit::Objects(oids) => {
                let out = &self.out;
                let sent = &mut self.sent;
                objects::read(session, oids, room, async |piece| {
                    *sent += 1;
                    out.send(piece).await.map_err(|_| Fault::Ours(super::emit::gone()))
                })
                .await?
            }
        };
        self.out.send(Piece::End(count)).await.map_err(|_| Fault::Ours(super::emit::gone()))
    }

    async fn rows(&mut self, session: &Session, sql: &str, room: usize) -> Result<u64, Fault> {
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
                out.send(Piece::Block(block)).await.map_err(|_| super::emit::gone())
            })
            .await?;
        if copied.messages != copied.rows {
            let why = format!("{} rows came, the server says {}", copied.messages, copied.rows);
            return Err(Fault::Ours(Error::new(Kind::Data, "read by COPY", why, "run again")));
        }
        Ok(copied.rows)
    }
}

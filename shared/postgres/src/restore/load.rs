//! Rows and large objects into the database, over several connections at once.
//!
//! Parts of a table go to whichever connection has room; each runs its own `COPY .. FROM STDIN` in its own transaction.
//! When all parts of a table are in, the connections wait for each other and commit, or all roll back: a table is
//! loaded as a whole or not at all. The order of rows does not matter: constraints and triggers come later.

use super::{
    decode_text,
    early::LoadedTable,
    judge,
    loss::{RestoreWarning, is_recoverable},
    parse::{LargeObjectChunk, LoadItem},
    rows::RowChunk,
};
use crate::{ConnectionConfig, PgConnection, PostgresError, PostgresErrorKind, TableCounts};
use bytes::Bytes;
use futures_util::{
    SinkExt,
    future::{select_all, try_join_all},
};
use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Barrier, mpsc},
    time::timeout,
};
use tokio_postgres::CopyInSink;

/// A table that is loaded.
#[derive(Debug)]
pub(crate) struct TableLoad {
    /// As SQL names it.
    pub(crate) name: String,
    /// `COPY .. FROM STDIN ..`
    pub(crate) copy: String,
    rows: AtomicU64,
    bytes: AtomicU64,
    failed: AtomicBool,
    id: i32,
}

impl TableLoad {
    /// A table of which nothing is loaded yet.
    pub(crate) fn new(id: i32, name: String, copy: String) -> Self {
        Self {
            id,
            name,
            copy,
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            failed: AtomicBool::new(false),
        }
    }

    fn to_counts(&self) -> TableCounts {
        TableCounts {
            name: self.name.clone(),
            rows: self.rows.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

/// Where rows go: a connection that is out of step is replaced by a new one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoadTarget<'a> {
    /// The server.
    pub(crate) server: &'a ConnectionConfig,
    /// The database.
    pub(crate) database: &'a str,
    /// The encoding of the archive's text.
    pub(crate) encoding: &'a str,
    /// How long a COPY waits for its next rows.
    pub(crate) stall_timeout: Duration,
}

impl LoadTarget<'_> {
    /// A connection that is set up as `pg_restore` sets up its own, as far as it matters to rows.
    pub(crate) async fn connect_configured(&self) -> Result<PgConnection, PostgresError> {
        let session = self.server.connect(self.database).await?;
        super::configure_session(&session).await?;
        Ok(session)
    }
}

/// The error of a COPY that got nothing for too long. While it waits, PostgreSQL drops no database on that server.
pub(crate) fn stalled_error(stall: Duration) -> PostgresError {
    let why = format!("nothing came of the backup for {} s", stall.as_secs());
    PostgresError::new(
        PostgresErrorKind::Lost,
        "load the data",
        why,
        "look at the store and the way to it; then run again",
    )
}

enum LoadTask {
    /// Rows of a table, more of which may come.
    Rows(Arc<TableLoad>, Bytes),
    /// A table's only rows.
    Only(Arc<TableLoad>, Bytes),
    /// The table is complete; all who meet at the barrier have a part of it.
    End(Arc<TableLoad>, Arc<Barrier>),
    Objects(Vec<LargeObjectChunk>),
    /// INSERT statements of the table with this name.
    Statements(Arc<TableLoad>, Vec<Bytes>),
}

/// What was loaded, and what was not.
pub(crate) struct LoadSummary {
    pub(crate) tables: Vec<TableCounts>,
    pub(crate) warnings: Vec<RestoreWarning>,
}

type SharedWarnings = Mutex<Vec<RestoreWarning>>;

/// Bytes of one message to the server: it copies them several times, and these stay in its cache meanwhile.
const MAX_MESSAGE_BYTES: usize = 64 << 10;

/// Losses that are told one by one; a million large objects that are refused are told as this many.
const MAX_WARNINGS: usize = 10_000;

fn record_warning(losses: &SharedWarnings, loss: RestoreWarning) {
    let mut losses = losses.lock().unwrap_or_else(PoisonError::into_inner);
    if losses.len() < MAX_WARNINGS {
        losses.push(loss);
    }
}

/// Loads everything that comes, each session being one connection; `tables` by the number of their data entry. Whoever
/// waits for tables that are complete is told of each that has more than one part.
pub(crate) async fn load_tables(
    target: LoadTarget<'_>,
    sessions: Vec<PgConnection>,
    tables: &HashMap<i32, Arc<TableLoad>>,
    from: mpsc::Receiver<LoadItem>,
    ready: Option<mpsc::UnboundedSender<LoadedTable>>,
) -> Result<LoadSummary, PostgresError> {
    let losses = SharedWarnings::default();
    let (senders, workers): (Vec<_>, Vec<_>) = (sessions.into_iter())
        .map(|session| {
            let (give, take) = mpsc::channel(2);
            (give, run_worker(target, session, take, &losses, ready.as_ref()))
        })
        .unzip();
    // When a connection is lost its worker's channel closes; then the worker's error is the one to tell, and it does not
    // wait for what may never come.
    let dealt = {
        let (dealing, working) = (distribute_items(tables, from, senders), try_join_all(workers));
        tokio::pin!(dealing, working);
        tokio::select! {
            biased;
            worked = &mut working => {
                worked?;
                dealing.await
            }
            dealt = &mut dealing => {
                working.await?;
                dealt
            }
        }
    };
    let order = dealt.map_err(|()| {
        PostgresError::new(
            PostgresErrorKind::Lost,
            "load the data",
            "a connection went away",
            "see the server's log",
        )
    })?;
    let counted = order.iter().map(|t| t.to_counts()).collect();
    Ok(LoadSummary {
        tables: counted,
        warnings: std::mem::take(&mut *losses.lock().unwrap_or_else(PoisonError::into_inner)),
    })
}

/// Gives each piece to a connection; answers the tables in their order.
async fn distribute_items(
    tables: &HashMap<i32, Arc<TableLoad>>,
    mut from: mpsc::Receiver<LoadItem>,
    to: Vec<mpsc::Sender<LoadTask>>,
) -> Result<Vec<Arc<TableLoad>>, ()> {
    let mut order = Vec::new();
    let mut next = 0; // where the search for a free connection starts
    let mut part_of = vec![false; to.len()]; // which connections have a part of the table under way
    let mut bound: Option<usize> = None; // the connection that has the start of an unfinished row
    while let Some(piece) = from.recv().await {
        let (id, RowChunk { bytes, ends_row: whole, is_last: last }) = match piece {
            LoadItem::Objects(slices) => {
                let (at, permit) = first_free_worker(&to, next).await?;
                permit.send(LoadTask::Objects(slices));
                next = at + 1;
                continue;
            }
            LoadItem::Statements(id, statements) => {
                let Some(table) = tables.get(&id) else { return Err(()) };
                let (at, permit) = first_free_worker(&to, next).await?;
                permit.send(LoadTask::Statements(table.clone(), statements));
                next = at + 1;
                continue;
            }
            LoadItem::Rows(id, part) => (id, part),
        };
        let Some(table) = tables.get(&id) else { return Err(()) };
        table.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let first = !part_of.contains(&true);
        if last && first {
            if !bytes.is_empty() {
                let (at, permit) = first_free_worker(&to, next).await?;
                permit.send(LoadTask::Only(table.clone(), bytes));
                next = at + 1;
            }
            order.push(table.clone());
            continue;
        }
        if !bytes.is_empty() {
            let (at, permit) = match bound {
                Some(at) => (at, to[at].reserve().await.map_err(|_| ())?),
                None => first_free_worker(&to, next).await?,
            };
            permit.send(LoadTask::Rows(table.clone(), bytes));
            part_of[at] = true;
            bound = (!whole).then_some(at);
            next = at + 1;
        }
        if last {
            let count = part_of.iter().filter(|p| **p).count();
            let barrier = Arc::new(Barrier::new(count));
            for (at, sender) in to.iter().enumerate() {
                if std::mem::take(&mut part_of[at]) {
                    let end = LoadTask::End(table.clone(), barrier.clone());
                    sender.send(end).await.map_err(|_| ())?;
                }
            }
            bound = None;
            order.push(table.clone());
        }
    }
    Ok(order)
}

/// The first connection that has room, from `next` on.
async fn first_free_worker(
    to: &[mpsc::Sender<LoadTask>],
    next: usize,
) -> Result<(usize, mpsc::Permit<'_, LoadTask>), ()> {
    let order = (0..to.len()).map(|i| (next + i) % to.len());
    let waits: Vec<Pin<Box<dyn Future<Output = _> + Send + '_>>> = order
        .map(|at| {
            let wait: Pin<Box<dyn Future<Output = _> + Send + '_>> =
                Box::pin(async move { to[at].reserve().await.map(|permit| (at, permit)) });
            wait
        })
        .collect();
    select_all(waits).await.0.map_err(|_| ())
}

/// A COPY under way on one connection.
struct TableCopyIn {
    table: Arc<TableLoad>,
    sink: Option<Pin<Box<CopyInSink<Bytes>>>>,
}

async fn run_worker(
    target: LoadTarget<'_>,
    mut session: PgConnection,
    mut from: mpsc::Receiver<LoadTask>,
    losses: &SharedWarnings,
    ready: Option<&mpsc::UnboundedSender<LoadedTable>>,
) -> Result<(), PostgresError> {
    let mut copying: Option<TableCopyIn> = None;
    loop {
        let next = if copying.as_ref().is_some_and(|c| c.sink.is_some()) {
            let next = timeout(target.stall_timeout, from.recv()).await;
            next.map_err(|_| stalled_error(target.stall_timeout))?
        } else {
            from.recv().await
        };
        let Some(work) = next else { return Ok(()) };
        match work {
            LoadTask::Only(table, bytes) => {
                let mut one = begin_copy(target, &mut session, &table, losses, false).await?;
                send_rows(&session, &mut one, bytes, losses).await?;
                if let Some(rows) = finish_copy(&mut one, losses).await? {
                    table.rows.fetch_add(rows, Ordering::Relaxed);
                }
            }
            LoadTask::Rows(table, bytes) => {
                if copying.is_none() {
                    copying = Some(begin_copy(target, &mut session, &table, losses, true).await?);
                }
                if let Some(copying) = &mut copying {
                    send_rows(&session, copying, bytes, losses).await?;
                }
            }
            LoadTask::End(table, barrier) => {
                let mut rows = None;
                if let Some(mut copying) = copying.take() {
                    rows = finish_copy(&mut copying, losses).await?;
                }
                barrier.wait().await;
                let good = !table.failed.load(Ordering::SeqCst);
                let end = if good { "COMMIT" } else { "ROLLBACK" };
                match session.batch_execute(end).await {
                    Ok(()) if good => {
                        table.rows.fetch_add(rows.unwrap_or(0), Ordering::Relaxed);
                    }
                    Ok(()) => {}
                    Err(e) => record_table_warning(&e, &table, losses)?,
                }
                let last = barrier.wait().await.is_leader();
                if let Some(ready) = ready.filter(|_| last && !table.failed.load(Ordering::SeqCst))
                {
                    // Nobody has to listen.
                    let _ = ready.send((table.id, table.bytes.load(Ordering::Relaxed)));
                }
            }
            LoadTask::Objects(slices) => {
                super::objects::write_large_objects(&session, &slices, |l| {
                    record_warning(losses, l);
                })
                .await?;
            }
            LoadTask::Statements(table, statements) => {
                run_inserts(target, &session, &table, statements, losses).await?;
            }
        }
    }
}

/// Runs INSERT statements, one transaction for all; one that fails loses them all, and the table's later ones.
async fn run_inserts(
    target: LoadTarget<'_>,
    session: &PgConnection,
    table: &TableLoad,
    statements: Vec<Bytes>,
    losses: &SharedWarnings,
) -> Result<(), PostgresError> {
    if table.failed.load(Ordering::SeqCst) {
        return Ok(());
    }
    let failed =
        |e: &tokio_postgres::Error| PostgresError::from_pg(format!("load {}", table.name), e);
    session.batch_execute("BEGIN").await.map_err(|e| failed(&e))?;
    let mut texts = Vec::with_capacity(statements.len());
    for statement in statements {
        let text = decode_text(session, &statement, target.encoding).await?;
        if let Some(why) = judge::refusal_reason(&text) {
            return Err(judge::refused_error(why));
        }
        texts.push(text);
    }
    // The extended protocol takes one statement at a time, whatever a text has in it. All are sent before the first
    // answer is awaited.
    let run = try_join_all(texts.iter().map(|text| session.query_typed(text, &[]))).await;
    let end = match &run {
        Ok(_) => "COMMIT",
        Err(e) => {
            record_table_warning(e, table, losses)?;
            "ROLLBACK"
        }
    };
    session.batch_execute(end).await.map_err(|e| failed(&e))
}

/// Notes that a table is lost, once; an error that is not about the table ends the restore.
fn record_table_warning(
    e: &tokio_postgres::Error,
    table: &TableLoad,
    losses: &SharedWarnings,
) -> Result<(), PostgresError> {
    if !is_recoverable(e) {
        return Err(PostgresError::from_pg(format!("load {}", table.name), e));
    }
    if !table.failed.swap(true, Ordering::SeqCst) {
        record_warning(losses, RestoreWarning::from_data_error(e, &table.copy));
    }
    Ok(())
}

async fn begin_copy(
    target: LoadTarget<'_>,
    session: &mut PgConnection,
    table: &Arc<TableLoad>,
    losses: &SharedWarnings,
    transaction: bool,
) -> Result<TableCopyIn, PostgresError> {
    let mut copying = TableCopyIn { table: table.clone(), sink: None };
    if transaction {
        let begun = session.batch_execute("BEGIN").await;
        begun.map_err(|e| PostgresError::from_pg(format!("load {}", table.name), &e))?;
    }
    if !table.failed.load(Ordering::SeqCst) {
        match session.copy_in(table.copy.as_str()).await {
            Ok(sink) => copying.sink = Some(Box::pin(sink)),
            Err(e) => {
                record_table_warning(&e, table, losses)?;
                // The client had more to say than the server waited for: every later answer would be of the statement
                // before it.
                *session = target.connect_configured().await?;
            }
        }
    }
    Ok(copying)
}

/// Sends rows; those of a table that failed already are dropped.
async fn send_rows(
    session: &PgConnection,
    copying: &mut TableCopyIn,
    mut bytes: Bytes,
    losses: &SharedWarnings,
) -> Result<(), PostgresError> {
    let Some(sink) = &mut copying.sink else { return Ok(()) };
    if copying.table.failed.load(Ordering::SeqCst) {
        copying.sink = None; // ends the COPY with an error, which the rollback of its transaction answers
        return Ok(());
    }
    let send = async {
        while !bytes.is_empty() {
            sink.feed(bytes.split_to(bytes.len().min(MAX_MESSAGE_BYTES))).await?;
        }
        sink.flush().await
    };
    if send.await.is_err() {
        // The reason is in the answer to the COPY, not in the failed sending.
        let mut sink = copying.sink.take();
        let why = match &mut sink {
            Some(sink) => sink.as_mut().finish().await.err(),
            None => None,
        };
        match why {
            Some(e) if !session.is_closed() => record_table_warning(&e, &copying.table, losses)?,
            Some(e) => {
                return Err(PostgresError::from_pg(format!("load {}", copying.table.name), &e));
            }
            None => {}
        }
    }
    Ok(())
}

/// Ends a COPY; its rows when it went well.
async fn finish_copy(
    copying: &mut TableCopyIn,
    losses: &SharedWarnings,
) -> Result<Option<u64>, PostgresError> {
    let Some(mut sink) = copying.sink.take() else { return Ok(None) };
    if copying.table.failed.load(Ordering::SeqCst) {
        return Ok(None);
    }
    match sink.as_mut().finish().await {
        Ok(rows) => Ok(Some(rows)),
        Err(e) => record_table_warning(&e, &copying.table, losses).map(|()| None),
    }
}

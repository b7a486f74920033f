//! Why a `pg_dump` failed, as far as the server says so by its codes: the program's own words are only shown, for the server
//! may speak any language.

use super::{
    DumpSource,
    child::PgDumpFailure,
    snapshot::{self, SnapshotSession},
};
use crate::{PostgresError, PostgresErrorKind};
use std::time::{Duration, Instant};

/// Tables that are asked about by one statement.
const MAX_TABLES_PER_LOCK: usize = 500;

/// How long the question whether a table can be locked waits.
const SET_PROBE_LOCK_TIMEOUT: &str = "SET lock_timeout = '200ms'";

/// When a `pg_dump` was started, and how long it may wait for locks.
#[derive(Clone, Copy, Debug)]
pub(super) struct LockWaitDeadline {
    started: Instant,
    lock_wait: Duration,
}

impl LockWaitDeadline {
    pub(super) fn new(lock_wait: Duration) -> Self {
        Self { started: Instant::now(), lock_wait }
    }

    /// Whether it ran for so long that it may have been the wait for a lock that ended it.
    pub(super) fn has_passed(self) -> bool {
        self.started.elapsed() >= self.lock_wait
    }
}

/// The error that a failed `pg_dump` comes to: its words, with what kind of failure it was.
pub(super) async fn explain_failure(
    job: &DumpSource<'_>,
    leader: &SnapshotSession,
    patience: LockWaitDeadline,
    failed: PgDumpFailure,
) -> PostgresError {
    let PgDumpFailure { error: words, killed } = failed;
    if words.kind != PostgresErrorKind::Tool {
        return words;
    }
    if leader.session.simple_query("").await.is_err() {
        return PostgresError {
            kind: PostgresErrorKind::Lost,
            hint: "see the server's log".into(),
            ..words
        };
    }
    if killed {
        return words;
    }
    let busy = |hint: &str| PostgresError {
        kind: PostgresErrorKind::Busy,
        hint: hint.into(),
        ..words.clone()
    };
    if patience.has_passed() {
        return busy("run again when whoever holds the lock is done, or wait longer for locks");
    }
    match probe_table_locks(job, leader).await {
        Err(e) if e.kind == PostgresErrorKind::Busy => busy(&e.hint),
        // Not allowed, or gone: the words of pg_dump say what it is about.
        Err(e) => PostgresError { kind: e.kind, hint: e.hint, ..words },
        Ok(()) if job.tables.is_empty() => words,
        Ok(()) => PostgresError { hint: "check the names of the tables".into(), ..words },
    }
}

/// Does what `pg_dump` does first: locks the tables that it saw.
async fn probe_table_locks(
    job: &DumpSource<'_>,
    leader: &SnapshotSession,
) -> Result<(), PostgresError> {
    let oids = snapshot::all_table_oids(&leader.session).await?;
    let seen = snapshot::describe_tables(&leader.session, &oids).await?;
    let session = snapshot::connect_configured(job.server, job.database).await?;
    snapshot::ensure_tables_unchanged(&seen, &snapshot::describe_tables(&session, &oids).await?)?;
    let failed = |e| PostgresError::from_pg("lock the tables", &e);
    session.batch_execute(SET_PROBE_LOCK_TIMEOUT).await.map_err(failed)?;
    // Those that were asked for by a pattern are for pg_dump to say.
    let nameable: Vec<_> = seen.iter().filter(|t| t.is_nameable && job.tables.is_empty()).collect();
    for some in nameable.chunks(MAX_TABLES_PER_LOCK) {
        let names: Vec<String> = some.iter().map(|t| format!("ONLY {}", t.name)).collect();
        let sql = format!("BEGIN; LOCK TABLE {} IN ACCESS SHARE MODE; ROLLBACK", names.join(", "));
        session.batch_execute(&sql).await.map_err(failed)?;
    }
    Ok(())
}

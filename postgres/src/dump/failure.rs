//! Why a `pg_dump` failed, as far as the server says so by its codes: the program's own words are only shown, for the server
//! may speak any language.

use super::{
    Job,
    child::Failed,
    snapshot::{self, Leader},
};
use crate::{Error, Kind};
use std::time::{Duration, Instant};

/// Tables that are asked about by one statement.
const AT_ONCE: usize = 500;

/// How long the question whether a table can be locked waits.
const PROBE_WAIT: &str = "SET lock_timeout = '200ms'";

/// When a `pg_dump` was started, and how long it may wait for locks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    started: Instant,
    lock_wait: Duration,
}

impl Patience {
    pub(super) fn new(lock_wait: Duration) -> Self {
        Self { started: Instant::now(), lock_wait }
    }

    /// Whether it ran for so long that it may have been the wait for a lock that ended it.
    pub(super) fn is_over(self) -> bool {
        self.started.elapsed() >= self.lock_wait
    }
}

/// The error that a failed `pg_dump` comes to: its words, with what kind of failure it was.
pub(super) async fn explained(
    job: &Job<'_>,
    leader: &Leader,
    patience: Patience,
    failed: Failed,
) -> Error {
    let Failed { error: words, killed } = failed;
    if words.kind != Kind::Tool {
        return words;
    }
    if leader.session.simple_query("").await.is_err() {
        return Error { kind: Kind::Lost, mend: "see the server's log".into(), ..words };
    }
    if killed {
        return words;
    }
    let busy = |mend: &str| Error { kind: Kind::Busy, mend: mend.into(), ..words.clone() };
    if patience.is_over() {
        return busy("run again when whoever holds the lock is done, or wait longer for locks");
    }
    match probe(job, leader).await {
        Err(e) if e.kind == Kind::Busy => busy(&e.mend),
        // Not allowed, or gone: the words of pg_dump say what it is about.
        Err(e) => Error { kind: e.kind, mend: e.mend, ..words },
        Ok(()) if job.tables.is_empty() => words,
        Ok(()) => Error { mend: "check the names of the tables".into(), ..words },
    }
}

/// Does what `pg_dump` does first: locks the tables that it saw.
async fn probe(job: &Job<'_>, leader: &Leader) -> Result<(), Error> {
    let oids = snapshot::all_tables(&leader.session).await?;
    let seen = snapshot::tables(&leader.session, &oids).await?;
    let session = snapshot::settled(job.server, job.database).await?;
    snapshot::unchanged(&seen, &snapshot::tables(&session, &oids).await?)?;
    let failed = |e| Error::from_pg("lock the tables", &e);
    session.batch_execute(PROBE_WAIT).await.map_err(failed)?;
    // Those that were asked for by a pattern are for pg_dump to say.
    let nameable: Vec<_> = seen.iter().filter(|t| t.nameable && job.tables.is_empty()).collect();
    for some in nameable.chunks(AT_ONCE) {
        let names: Vec<String> = some.iter().map(|t| format!("ONLY {}", t.name)).collect();
        let sql = format!("BEGIN; LOCK TABLE {} IN ACCESS SHARE MODE; ROLLBACK", names.join(", "));
        session.batch_execute(&sql).await.map_err(failed)?;
    }
    Ok(())
}

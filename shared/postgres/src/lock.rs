//! The lease that keeps two runs for the same thing apart: an advisory lock on the server itself.
//!
//! It belongs to a connection and is gone with it: no file is left after a crash, and keepalives on the session end
//! a dead host's lease within two minutes. It is held in the database that the session is connected to.

use crate::{PgConnection, PostgresError, PostgresErrorKind};

/// What the lock's number is made from, so that it meets no other program's.
const LOCK_NAMESPACE: &str = "holdfast:";

/// A lease, as long as its session lives.
#[derive(Debug)]
pub struct AdvisoryLock<'a> {
    session: &'a PgConnection,
    name: String,
}

/// Takes the lease of `name` (a database's, usually) for as long as the session lives, without waiting.
///
/// # Errors
/// [`PostgresErrorKind::Busy`] names who has it and since when.
pub async fn try_advisory_lock<'a>(
    session: &'a PgConnection,
    name: &str,
) -> Result<AdvisoryLock<'a>, PostgresError> {
    let failed = |e| PostgresError::from_pg(format!("take the lease of {name}"), &e);
    let key = format!("{LOCK_NAMESPACE}{name}");
    let sql = "SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended($1, 0))";
    if session.query_one(sql, &[&key]).await.map_err(failed)?.get(0) {
        return Ok(AdvisoryLock { session, name: name.to_owned() });
    }
    let sql = "SELECT coalesce(nullif(a.application_name, ''), 'a program without a name'),
            a.usename::text, coalesce(host(a.client_addr), 'a local socket'), a.pid,
            to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"')
        FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid,
            pg_catalog.hashtextextended($1, 0) h
        WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
            AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
            AND l.classid = ((h >> 32) & 4294967295)::oid AND l.objid = (h & 4294967295)::oid";
    let owner = session.query_opt(sql, &[&key]).await.map_err(failed)?;
    let why = owner.map_or_else(
        || "another run has it".to_owned(),
        |row| {
            // Users without pg_read_all_stats don't see these of others.
            let text = |i| {
                let text = row.try_get::<_, Option<String>>(i).ok().flatten();
                text.unwrap_or_else(|| "unknown".into())
            };
            let (application, user, address, since) = (text(0), text(1), text(2), text(4));
            let pid: i32 = row.get(3);
            format!(
                "{application} has it since {since} (user {user}, from {address}, backend {pid})"
            )
        },
    );
    let hint = "wait for that run, or end it if it hangs: SELECT pg_terminate_backend(its backend)";
    Err(PostgresError::new(PostgresErrorKind::Busy, format!("take the lease of {name}"), why, hint))
}

impl AdvisoryLock<'_> {
    /// Asks the server whether the lease is still ours. To be asked right before what only its owner may do.
    ///
    /// # Errors
    /// [`PostgresErrorKind::Lost`] when it is not, or the connection is gone: another run may have begun.
    pub async fn ensure_held(&self) -> Result<(), PostgresError> {
        let doing = format!("hold the lease of {}", self.name);
        let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l, pg_catalog.hashtextextended($1, 0) h
            WHERE l.locktype = 'advisory' AND l.granted AND l.pid = pg_backend_pid() AND l.objsubid = 1
              AND l.classid = ((h >> 32) & 4294967295)::oid AND l.objid = (h & 4294967295)::oid)";
        let key = format!("{LOCK_NAMESPACE}{}", self.name);
        let row = self.session.query_one(sql, &[&key]).await;
        let held = row.map_err(|e| PostgresError {
            kind: PostgresErrorKind::Lost,
            ..PostgresError::from_pg(&doing, &e)
        })?;
        if held.get(0) {
            return Ok(());
        }
        let hint = "run again; what this run wrote does not count";
        Err(PostgresError::new(PostgresErrorKind::Lost, doing, "it is no longer ours", hint))
    }

    /// Gives it back before the session ends.
    pub async fn release(self) -> Result<(), PostgresError> {
        let sql = "SELECT pg_catalog.pg_advisory_unlock(pg_catalog.hashtextextended($1, 0))";
        let key = format!("{LOCK_NAMESPACE}{}", self.name);
        let doing = || format!("give back the lease of {}", self.name);
        self.session
            .query_one(sql, &[&key])
            .await
            .map_err(|e| PostgresError::from_pg(doing(), &e))?;
        Ok(())
    }
}

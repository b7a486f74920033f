//! Whole databases: made, dropped, counted, checked, and swapped.

mod create;
mod facts;
mod inherit;
mod lacking;
mod roles;
mod rows;
mod scratch;
mod subscriptions;
mod test_role;

pub use create::create_database;
pub use facts::apply_database_properties;
pub(crate) use facts::read_database_properties;
pub use inherit::copy_database_properties;
pub use lacking::{MissingRequirements, find_missing_requirements, protection_reason};
pub use roles::create_missing_roles;
pub use rows::{count_large_objects, count_rows};
pub use scratch::{empty_scratch_tables, revoke_scratch_rights};
pub use subscriptions::disconnect_subscriptions;
pub(crate) use test_role::random_password;
pub use test_role::{TestRole, disable_forced_row_security, drop_orphaned_roles};

use crate::{ConnectionConfig, PgConnection, PostgresError, PostgresErrorKind, quote_ident};
use jiff::Timestamp;
use std::time::Duration;
use tokio::time::sleep;
use tokio_postgres::types::FromSql;

/// The databases that statements about other databases are run from.
const MAINTENANCE_DATABASES: [&str; 2] = ["postgres", "template1"];

/// What a name of a temporary database of ours has in it.
pub const SCRATCH_MARKER: &str = "_holdfast_";

/// What the name of a database that a restore put aside has before its time.
pub const PREVIOUS_MARKER: &str = "_before_";

/// The longest name of anything in PostgreSQL, in bytes (`NAMEDATALEN` less one).
const MAX_IDENTIFIER_BYTES: usize = 63;

/// A connection for statements about other databases.
pub async fn connect_maintenance(server: &ConnectionConfig) -> Result<PgConnection, PostgresError> {
    match server.connect(MAINTENANCE_DATABASES[0]).await {
        Ok(session) => Ok(session),
        Err(first) => server.connect(MAINTENANCE_DATABASES[1]).await.map_err(|_| first),
    }
}

/// `database` + [`SCRATCH_MARKER`] + `run`, cut so that it fits into a name: `orders_holdfast_01k9`.
pub fn temporary_database_name(database: &str, run: &str) -> String {
    truncated_name(database, SCRATCH_MARKER, run)
}

/// `database` + [`PREVIOUS_MARKER`] + `stamp`, cut so that it fits into a name: `orders_before_20261120020000`.
pub fn previous_database_name(database: &str, stamp: &str) -> String {
    truncated_name(database, PREVIOUS_MARKER, stamp)
}

fn truncated_name(database: &str, mark: &str, end: &str) -> String {
    let mut room = MAX_IDENTIFIER_BYTES.saturating_sub(mark.len() + end.len());
    while !database.is_char_boundary(room.min(database.len())) {
        room -= 1;
    }
    format!("{}{mark}{end}", &database[..room.min(database.len())])
}

/// Whether a database's name says that it was made by us, so that it may be dropped.
pub fn is_holdfast_database(name: &str) -> bool {
    let aside = |(live, stamp): (&str, &str)| {
        !live.is_empty() && stamp.len() == 14 && stamp.bytes().all(|b| b.is_ascii_digit())
    };
    name.find(SCRATCH_MARKER).is_some_and(|at| at > 0 && at + SCRATCH_MARKER.len() < name.len())
        || name.rsplit_once(PREVIOUS_MARKER).is_some_and(aside)
}

/// Whether there is a database of this name.
pub async fn database_exists(server: &ConnectionConfig, name: &str) -> Result<bool, PostgresError> {
    let session = connect_maintenance(server).await?;
    has_database(&session, name).await
}

async fn has_database(session: &PgConnection, name: &str) -> Result<bool, PostgresError> {
    let sql = "SELECT FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) $1";
    let row = session.query_opt(sql, &[&name]).await;
    row.map(|row| row.is_some())
        .map_err(|e| PostgresError::from_pg(format!("look for database {name}"), &e))
}

/// The names of all databases of the server that can be connected to.
pub async fn database_names(server: &ConnectionConfig) -> Result<Vec<String>, PostgresError> {
    let session = connect_maintenance(server).await?;
    let sql = "SELECT datname::text FROM pg_catalog.pg_database WHERE datallowconn ORDER BY 1";
    let rows = session.query(sql, &[]).await;
    let rows = rows.map_err(|e| PostgresError::from_pg("list the databases", &e))?;
    rows.iter()
        .map(|row| row.try_get(0).map_err(|e| PostgresError::from_pg("list the databases", &e)))
        .collect()
}

/// Drops a database of ours, with whoever is connected to it. No error when it is gone already.
///
/// # Errors
/// [`PostgresErrorKind::Refused`]: its name is none that we give.
pub async fn drop_database(server: &ConnectionConfig, name: &str) -> Result<(), PostgresError> {
    let doing = || format!("drop database {name}");
    if !is_holdfast_database(name) {
        let why = "its name is none that Holdfast gives to a temporary or replaced database";
        return Err(PostgresError::new(
            PostgresErrorKind::Refused,
            doing(),
            why,
            "drop it by hand if that is meant",
        ));
    }
    let session = connect_maintenance(server).await?;
    subscriptions::drop_subscriptions(server, &session, name).await?;
    // A backend that can't be interrupted (one that waits in a COPY) holds this back for ever.
    let wait = session.batch_execute("SET statement_timeout = '5min'").await;
    wait.map_err(|e| PostgresError::from_pg(doing(), &e))?;
    let force = if session.version_num >= 130_000 {
        " WITH (FORCE)"
    } else {
        terminate_backends(&session, name).await?;
        ""
    };
    // One that is a template can't be dropped.
    let sql = "SELECT FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) $1 AND datistemplate";
    let template = session.query_opt(sql, &[&name]).await;
    if template.map_err(|e| PostgresError::from_pg(doing(), &e))?.is_some() {
        let sql = format!("ALTER DATABASE {} IS_TEMPLATE false", quote_ident(name));
        session.batch_execute(&sql).await.map_err(|e| PostgresError::from_pg(doing(), &e))?;
    }
    let sql = format!("DROP DATABASE IF EXISTS {}{force}", quote_ident(name));
    session.batch_execute(&sql).await.map_err(|e| PostgresError::from_pg(doing(), &e))
}

/// Renames a database that nobody is connected to.
pub async fn rename_database(
    server: &ConnectionConfig,
    from: &str,
    to: &str,
) -> Result<(), PostgresError> {
    let session = connect_maintenance(server).await?;
    rename_in(&session, from, to).await
}

async fn rename_in(session: &PgConnection, from: &str, to: &str) -> Result<(), PostgresError> {
    let sql = format!("ALTER DATABASE {} RENAME TO {}", quote_ident(from), quote_ident(to));
    session.batch_execute(&sql).await.map_err(|e| {
        // 55006: others are connected.
        let busy = e.code().is_some_and(|c| c.code() == "55006");
        let error = PostgresError::from_pg(format!("rename database {from} to {to}"), &e);
        if busy { PostgresError { kind: PostgresErrorKind::Busy, ..error } } else { error }
    })
}

/// Ends all other connections to a database; how many there were. New ones are not kept out.
pub async fn disconnect_others(
    server: &ConnectionConfig,
    name: &str,
) -> Result<u64, PostgresError> {
    let session = connect_maintenance(server).await?;
    terminate_backends(&session, name).await
}

async fn terminate_backends(session: &PgConnection, name: &str) -> Result<u64, PostgresError> {
    let sql = "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
               WHERE datname OPERATOR(pg_catalog.=) $1 AND pid <> pg_catalog.pg_backend_pid()";
    let ended = session.execute(sql, &[&name]).await;
    ended.map_err(|e| PostgresError::from_pg(format!("end the connections to {name}"), &e))
}

/// Puts `fresh` into the place of `live`, which stays as `aside`; when there is no `live`, `fresh` just gets its name.
///
/// Both renames are one transaction, so that at any interruption (of this process, of the connection, of the server)
/// either nothing happened or all of it. From the first rename on, the server lets nobody new into `live`; those that are
/// in are disconnected then. Whoever waits outside gets the new database.
///
/// # Errors
/// [`PostgresErrorKind::Busy`]: connections that we may not end stayed for 5 s. Nothing is changed then.
pub async fn swap_databases(
    server: &ConnectionConfig,
    fresh: &str,
    live: &str,
    aside: &str,
) -> Result<(), PostgresError> {
    let session = connect_maintenance(server).await?;
    let second = connect_maintenance(server).await?;
    if !has_database(&session, live).await? {
        terminate_backends(&second, fresh).await?;
        return rename_in(&session, fresh, live).await;
    }
    let begin = session.batch_execute("BEGIN").await;
    begin.map_err(|e| PostgresError::from_pg(format!("swap {fresh} for {live}"), &e))?;
    let renames = async {
        rename_in(&session, live, aside).await?;
        rename_in(&session, fresh, live).await?;
        let commit = session.batch_execute("COMMIT").await;
        commit.map_err(|e| PostgresError::from_pg(format!("swap {fresh} for {live}"), &e))
    };
    // The rename waits up to 5 s for others to leave, behind a lock that keeps new ones out: this makes them leave.
    let clear = async {
        loop {
            terminate_backends(&second, live).await?;
            terminate_backends(&second, fresh).await?;
            sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        biased;
        done = renames => done,
        failed = clear => failed, // dropping the session rolls the renames back
    }
}

/// `schema.table` or `table`, as SQL names it, with every part in quotes; nothing where it is anything else.
pub fn quote_qualified_name(name: &str) -> Option<String> {
    let mut parts = Vec::new();
    let mut rest = name;
    loop {
        let (part, after) = if let Some(inner) = rest.strip_prefix('"') {
            let mut end = 0;
            // A doubled quote is one of the name's own.
            while let Some(at) = inner[end..].find('"') {
                end += at;
                if inner[end..].starts_with("\"\"") { end += 2 } else { break }
            }
            let part = inner.get(..end).filter(|_| inner[end..].starts_with('"'))?;
            (part.replace("\"\"", "\""), &inner[end + 1..])
        } else {
            let word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
            let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
            (rest[..end].to_owned(), &rest[end..])
        };
        if part.is_empty() || part.contains('\0') {
            return None;
        }
        parts.push(quote_ident(&part));
        match after.strip_prefix('.') {
            Some(more) => rest = more,
            None if after.is_empty() && parts.len() <= 2 => return Some(parts.join(".")),
            None => return None,
        }
    }
}

/// Whether a SELECT says `true`: one row of one boolean. It runs read-only, and `timeout` long at most.
///
/// # Errors
/// [`PostgresErrorKind::Refused`]: it is no such SELECT.
pub async fn query_bool(
    session: &PgConnection,
    sql: &str,
    timeout: Duration,
) -> Result<bool, PostgresError> {
    let hint = "write it as a SELECT of one boolean";
    let said: Option<bool> = query_read_only(session, sql, sql, timeout, hint).await?;
    Ok(said == Some(true))
}

/// Asks a question whose answer is one time, as [`query_bool`] asks; none where it answers NULL. Fractions of a second are
/// left out.
///
/// # Errors
/// As for [`query_bool`].
pub async fn query_time(
    session: &PgConnection,
    sql: &str,
    timeout: Duration,
) -> Result<Option<Timestamp>, PostgresError> {
    let question = sql.trim().trim_end_matches(';');
    let wrapped = format!(
        "SELECT pg_catalog.floor(EXTRACT(epoch FROM newest.at))::pg_catalog.int8 FROM ({question}) AS newest(at)"
    );
    let hint = "write it as a SELECT of one time";
    let said: Option<i64> = query_read_only(session, &wrapped, sql, timeout, hint).await?;
    Ok(said.and_then(|seconds| Timestamp::from_second(seconds).ok()))
}

/// The one value that `sql` selects, in a transaction that can't write and ends after `timeout`.
async fn query_read_only<T: for<'a> FromSql<'a>>(
    session: &PgConnection,
    sql: &str,
    shown: &str,
    timeout: Duration,
    hint: &str,
) -> Result<Option<T>, PostgresError> {
    let doing = || format!("check {}", shown.split_whitespace().collect::<Vec<_>>().join(" "));
    let failed = |e: tokio_postgres::Error| PostgresError::from_pg(doing(), &e);
    let begin =
        format!("BEGIN READ ONLY; SET LOCAL statement_timeout = {}", timeout.as_millis().max(1));
    session.batch_execute(&begin).await.map_err(failed)?;
    let answer = session.query_one(sql, &[]).await;
    session.batch_execute("ROLLBACK").await.map_err(failed)?;
    answer.and_then(|row| row.try_get(0)).map_err(|e| {
        let error = failed(e);
        match error.kind {
            PostgresErrorKind::Data => {
                PostgresError { kind: PostgresErrorKind::Refused, hint: hint.into(), ..error }
            }
            _ => error,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_we_give_are_ours() {
        for ours in ["orders_holdfast_x1", "orders_holdfast_verify_x1", "a_before_20261120020000"] {
            assert!(is_holdfast_database(ours), "{ours}");
        }
        for other in [
            "orders",
            "holdfast",
            "_holdfast_x",
            "orders_holdfast_",
            "a_before_2026",
            "_before_20261120020000",
        ] {
            assert!(!is_holdfast_database(other), "{other}");
        }
    }

    #[test]
    fn a_table_of_a_record_is_a_name_or_nothing() {
        let table = [
            ("public.orders", Some("\"public\".\"orders\"")),
            ("orders", Some("\"orders\"")),
            ("public.\"Odd \"\"Name\"\".x\"", Some("\"public\".\"Odd \"\"Name\"\".x\"")),
            ("größe", Some("\"größe\"")),
            ("public.orders; DROP TABLE x", None),
            ("(SELECT evil())", None),
            ("a.b.c", None),
            ("\"open", None),
            ("\"\"", None),
            ("a.", None),
            ("", None),
        ];
        for (name, expected) in table {
            assert_eq!(quote_qualified_name(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn long_names_are_cut_at_a_character() {
        let name = temporary_database_name(&"é".repeat(40), "run1");
        assert!(name.len() <= MAX_IDENTIFIER_BYTES && name.ends_with("_holdfast_run1"), "{name}");
        assert_eq!(
            previous_database_name("orders", "20261120020000"),
            "orders_before_20261120020000"
        );
    }
}

//! One snapshot that several connections read: exported by the leader, which lives as long as it is needed.

use super::names::{display_name, text_as_bytes_sql};
use crate::{ConnectionConfig, PgConnection, PostgresError, PostgresErrorKind};
use jiff::Timestamp;
use tokio_postgres::Row;

/// The connection that owns the snapshot and holds the locks.
#[derive(Debug)]
pub(super) struct SnapshotSession {
    pub(super) session: PgConnection,
    /// The snapshot's name, for `SET TRANSACTION SNAPSHOT` and `pg_dump --snapshot`.
    pub(super) snapshot: String,
    /// All that was committed by then is in it.
    pub(super) data_time: Timestamp,
}

impl SnapshotSession {
    /// Begins a transaction on a settled connection and exports its snapshot.
    pub(super) async fn export_snapshot(session: PgConnection) -> Result<Self, PostgresError> {
        let failed = |e| PostgresError::from_pg("export a snapshot", &e);
        session.batch_execute(BEGIN_READ_ONLY).await.map_err(failed)?;
        // What a replica has not replayed is not in its snapshot.
        let sql = "SELECT pg_export_snapshot(), (extract(epoch FROM least(transaction_timestamp(),
            CASE WHEN pg_is_in_recovery() THEN pg_last_xact_replay_timestamp() END)) * 1000000)::int8";
        let row = session.query_one(sql, &[]).await.map_err(failed)?;
        let data_time = Timestamp::from_microsecond(row.get(1)).map_err(|e| {
            PostgresError::new(
                PostgresErrorKind::Data,
                "export a snapshot",
                e.to_string(),
                "check the server's clock",
            )
        })?;
        Ok(Self { session, snapshot: row.get(0), data_time })
    }

    /// Proves that the snapshot lived until now, and lets it go.
    pub(super) async fn commit_and_check(&self) -> Result<(), PostgresError> {
        let ended = self.session.batch_execute("SELECT 1; COMMIT").await;
        ended.map_err(|e| PostgresError::from_pg("keep the snapshot to the end", &e))
    }
}

const BEGIN_READ_ONLY: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Makes the transaction of another connection see what the leader sees.
pub(super) async fn set_transaction_snapshot(
    session: &PgConnection,
    snapshot: &str,
) -> Result<(), tokio_postgres::Error> {
    let snapshot = crate::quote_literal(snapshot);
    session
        .batch_execute(&format!("ROLLBACK; {BEGIN_READ_ONLY}; SET TRANSACTION SNAPSHOT {snapshot}"))
        .await
}

/// Connects and sets what `pg_dump` sets, so that our COPY gives the bytes that its own would.
pub(super) async fn connect_configured(
    server: &ConnectionConfig,
    database: &str,
) -> Result<PgConnection, PostgresError> {
    let session = server.connect(database).await?;
    // As setup_connection() in pg_dump.c; and the plans of ctid ranges must not be talked out of.
    let set = "SET search_path = pg_catalog; SET DateStyle = ISO; SET IntervalStyle = postgres;
        SET extra_float_digits = 3; SET synchronize_seqscans = off; SET row_security = off;
        SET enable_tidscan = on; SET max_parallel_workers_per_gather = 0; SET jit = off;
        SET quote_all_identifiers = off; SET client_min_messages = error";
    session
        .batch_execute(set)
        .await
        .map_err(|e| PostgresError::from_pg("set up a connection", &e))?;
    Ok(session)
}

/// A table as it is and as it is laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TableInfo {
    pub(super) oid: u32,
    /// As SQL names it, with quotes where they are needed.
    pub(super) name: String,
    /// Whether its name and those of its columns can be put into a statement of ours: they are UTF-8.
    pub(super) is_nameable: bool,
    /// Whether it is an ordinary table of the heap, in which a `ctid` is a place.
    pub(super) is_heap: bool,
    /// Blocks of its main file.
    pub(super) pages: u64,
    /// Blocks of its out-of-line values.
    pub(super) toast_pages: u64,
    /// Its columns that hold data, as COPY names them.
    pub(super) columns: String,
    /// Extension's condition on the rows that a dump holds.
    pub(super) condition: String,
    /// Changes when the table is rewritten, truncated or altered.
    shape: Vec<u8>,
}

/// The tables of these OIDs as the session's snapshot, or for one without a transaction the world, has them.
pub(super) async fn describe_tables(
    session: &PgConnection,
    oids: &[u32],
) -> Result<Vec<TableInfo>, PostgresError> {
    // Generated columns there are since version 12.
    let generated = if session.version_num >= 120_000 { "attgenerated" } else { "''" };
    let name = text_as_bytes_sql("format('%I.%I', n.nspname, c.relname)");
    let columns = text_as_bytes_sql(&format!(
        "coalesce((SELECT '(' || string_agg(quote_ident(attname), ', ' ORDER BY attnum) || ')' FROM pg_attribute a
            WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND {generated} = ''), '')"
    ));
    let shape = text_as_bytes_sql(
        "c.relfilenode || ' ' || coalesce((SELECT string_agg(concat_ws(' ', attnum, attname, atttypid, attisdropped),
            ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0), '')",
    );
    let sql = format!("SELECT c.oid, {name}, c.relkind = 'r' AND coalesce(m.amname = 'heap', true),
            pg_relation_size(c.oid) / current_setting('block_size')::int8,
            coalesce(pg_relation_size(nullif(c.reltoastrelid, 0)), 0) / current_setting('block_size')::int8,
            coalesce((SELECT e.extcondition[i.n] FROM pg_extension e, generate_subscripts(e.extconfig, 1) i (n)
                WHERE e.extconfig[i.n] = c.oid LIMIT 1), ''), {columns}, {shape}
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_am m ON m.oid = c.relam
        WHERE c.oid = ANY ($1::oid[])");
    let rows = session.query(&sql, &[&oids]).await;
    let rows = rows.map_err(|e| PostgresError::from_pg("look at the tables", &e))?;
    let pages = |n: Option<i64>| u64::try_from(n.unwrap_or(0)).unwrap_or(0);
    let table = |row: &Row| {
        let (name, columns): (&[u8], &[u8]) = (row.try_get(1)?, row.try_get(6)?);
        let utf8 = |bytes| std::str::from_utf8(bytes).is_ok();
        Ok(TableInfo {
            oid: row.try_get(0)?,
            name: display_name(name),
            is_nameable: utf8(name) && utf8(columns),
            is_heap: row.try_get(2)?,
            pages: pages(row.try_get(3)?),
            toast_pages: pages(row.try_get(4)?),
            condition: row.try_get(5)?,
            columns: display_name(columns),
            shape: row.try_get(7)?,
        })
    };
    let tables: Result<_, tokio_postgres::Error> = rows.iter().map(table).collect();
    tables.map_err(|e| PostgresError::from_pg("look at the tables", &e))
}

/// The OIDs of all tables of the database but the system's own, as the session sees them.
pub(super) async fn all_table_oids(session: &PgConnection) -> Result<Vec<u32>, PostgresError> {
    let sql = "SELECT oid FROM pg_catalog.pg_class WHERE relkind = 'r' AND relpersistence <> 't' AND relnamespace NOT IN
        (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname ~ '^pg_' OR nspname = 'information_schema')";
    let rows = session.query(sql, &[]).await;
    let rows = rows.map_err(|e| PostgresError::from_pg("list the tables", &e))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Whether a table was rewritten, truncated or altered after the snapshot was taken and before it was locked: its rows
/// would be missing, or not fit its definition, and no error would say so.
///
/// # Errors
/// [`PostgresErrorKind::Busy`]: a new snapshot will do.
pub(super) fn ensure_tables_unchanged(
    seen: &[TableInfo],
    now: &[TableInfo],
) -> Result<(), PostgresError> {
    let same = |t: &&TableInfo| {
        now.iter().any(|n| n.oid == t.oid && n.shape == t.shape && n.name == t.name)
    };
    let Some(changed) = seen.iter().find(|t| !same(t)) else { return Ok(()) };
    let why = format!("{} was changed or emptied between the snapshot and its lock", changed.name);
    let hint = "run again, at a time without migrations";
    Err(PostgresError::new(PostgresErrorKind::Busy, "lock the tables", why, hint))
}

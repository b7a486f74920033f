//! Counts what is in a database, as a dump of it counts it.

use crate::{
    ConnectionConfig, PgConnection, PostgresError, PostgresErrorKind, TableCounts,
    dump::{display_name, text_as_bytes_sql},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use std::collections::HashMap;

/// A connection, and what a dump leaves out: an extension's own rows in its tables, by the tables' names.
struct RowCounter {
    session: PgConnection,
    conditions: HashMap<String, String>,
}

/// Counts the rows of tables, named as SQL names them, over `jobs` connections. A table that can't be read is an
/// error. Of a table that an extension fills, only those rows count that a dump holds.
pub async fn count_rows(
    server: &ConnectionConfig,
    database: &str,
    tables: &[String],
    jobs: usize,
) -> Result<Vec<TableCounts>, PostgresError> {
    let jobs = jobs.clamp(1, tables.len().max(1));
    let mut counters = Vec::new();
    for _ in 0..jobs {
        counters.push(RowCounter::connect(server, database).await?);
    }
    let (give, take) = (tokio::sync::Semaphore::new(jobs), tokio::sync::Mutex::new(counters));
    let count = async |table: &String| {
        let _permit = give.acquire().await;
        let Some(counter) = take.lock().await.pop() else {
            return Err(PostgresError::new(
                PostgresErrorKind::Lost,
                "count rows",
                "no connection is left",
                "",
            ));
        };
        let rows = counter.count_table(table).await;
        take.lock().await.push(counter);
        rows
    };
    stream::iter(tables).map(count).buffered(jobs).try_collect().await
}

impl RowCounter {
    async fn connect(server: &ConnectionConfig, database: &str) -> Result<Self, PostgresError> {
        let session = server.connect(database).await?;
        // A plan that is run once is not worth compiling; and rows that a policy hides are an error, never a lower count.
        let set = session.batch_execute("SET jit = off; SET row_security = off").await;
        set.map_err(|e| PostgresError::from_pg("set up a connection", &e))?;
        let name = text_as_bytes_sql("pg_catalog.format('%I.%I', n.nspname, c.relname)");
        let sql = format!(
            "SELECT {name}, e.extcondition[i.n]
            FROM pg_catalog.pg_extension e, pg_catalog.generate_subscripts(e.extconfig, 1) AS i (n),
                pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE c.oid = e.extconfig[i.n] AND e.extcondition[i.n] <> ''"
        );
        let rows = session.query(&sql, &[]).await;
        let rows = rows.map_err(|e| PostgresError::from_pg("list the tables of extensions", &e))?;
        let condition = |row: &tokio_postgres::Row| {
            Ok((display_name(row.try_get(0)?), row.try_get::<_, String>(1)?))
        };
        let conditions: Result<_, tokio_postgres::Error> = rows.iter().map(condition).collect();
        let conditions =
            conditions.map_err(|e| PostgresError::from_pg("list the tables of extensions", &e))?;
        Ok(Self { session, conditions })
    }

    async fn count_table(&self, table: &str) -> Result<TableCounts, PostgresError> {
        let failed = |e: tokio_postgres::Error| {
            PostgresError::from_pg(format!("count the rows of {table}"), &e)
        };
        let condition = self.conditions.get(table).map(String::as_str).unwrap_or_default();
        // The name comes out of a record, which may have been written by anybody: it is a name or nothing.
        let name = super::quote_qualified_name(table).ok_or_else(|| {
            let doing = format!("count the rows of {}", table.escape_debug());
            PostgresError::new(
                PostgresErrorKind::Refused,
                doing,
                "it is no name of a table",
                "find out who wrote the record",
            )
        })?;
        // ONLY, as pg_dump reads each table: the rows of a partition are counted as the partition's.
        let sql = format!("SELECT pg_catalog.count(*) FROM ONLY {name} {condition}");
        let counted = self.session.query_one(&sql, &[]).await.and_then(|row| row.try_get(0));
        let rows: i64 = match counted {
            Ok(rows) => rows,
            Err(e) if e.code().is_some_and(|c| c.code() == "42P01") && !table.is_ascii() => {
                match self.count_by_name_bytes(table).await.map_err(failed)? {
                    Some(rows) => rows,
                    None => return Err(failed(e)),
                }
            }
            Err(e) => return Err(failed(e)),
        };
        Ok(TableCounts { name: table.to_string(), rows: rows.unsigned_abs(), bytes: 0 })
    }

    /// Counts a table whose name is bytes that are no UTF-8, as in a database of `SQL_ASCII`: it is found by what is shown
    /// of it, and the server puts its name into the statement.
    async fn count_by_name_bytes(&self, table: &str) -> Result<Option<i64>, tokio_postgres::Error> {
        let name = text_as_bytes_sql("pg_catalog.format('%I.%I', n.nspname, c.relname)");
        let sql = format!("SELECT c.oid, {name} FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'p', 'm')");
        let rows = self.session.query(&sql, &[]).await?;
        let mut found = None;
        for row in &rows {
            if display_name(row.try_get(1)?) == table {
                found = Some(row.try_get::<_, u32>(0)?);
            }
        }
        let Some(oid) = found else { return Ok(None) };
        let sql = format!(
            "DO $holdfast$ DECLARE counted bigint; BEGIN
                EXECUTE (SELECT pg_catalog.format('SELECT pg_catalog.count(*) FROM ONLY %I.%I', n.nspname, c.relname)
                    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                    WHERE c.oid = {oid}) INTO counted;
                PERFORM pg_catalog.set_config('holdfast.counted', counted::text, false);
            END $holdfast$"
        );
        self.session.batch_execute(&sql).await?;
        let sql = "SELECT pg_catalog.current_setting('holdfast.counted')::pg_catalog.int8";
        self.session.query_one(sql, &[]).await?.try_get(0).map(Some)
    }
}

/// How many large objects a database has.
pub async fn count_large_objects(
    server: &ConnectionConfig,
    database: &str,
) -> Result<u64, PostgresError> {
    let session = server.connect(database).await?;
    let sql = "SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata";
    let row = session.query_one(sql, &[]).await;
    let count: i64 = row.and_then(|row| row.try_get(0)).map_err(|e| {
        PostgresError::from_pg(format!("count the large objects of {database}"), &e)
    })?;
    Ok(count.unsigned_abs())
}

//! A table or a query as CSV, with a header line.

use super::{CsvSource, emit, snapshot::SnapshotSession};
use crate::{PostgresError, PostgresErrorKind, TableCounts, server::CopyOutError};
use bytes::Bytes;
use std::io;
use tokio::sync::mpsc;

/// Sends it and returns how many rows it has.
pub(super) async fn dump_csv(
    leader: &SnapshotSession,
    of: &CsvSource,
    out: &mpsc::Sender<io::Result<Bytes>>,
) -> Result<TableCounts, PostgresError> {
    let (name, query) = match of {
        CsvSource::Table(table) => {
            let name = qualified_name(leader, table).await?;
            let query = format!("SELECT * FROM {name}");
            (name, query)
        }
        CsvSource::Query(query) => {
            let query = query.trim().trim_end_matches(';').trim_end().to_owned();
            // Queries name their tables as they do everywhere else.
            let reset = leader.session.batch_execute("RESET search_path").await;
            reset.map_err(|e| PostgresError::from_pg("prepare the query", &e))?;
            (query.clone(), query)
        }
    };
    // The line break ends a comment at the query's end.
    let sql = format!("COPY ({query}\n) TO STDOUT WITH (FORMAT csv, HEADER)");
    // A prepared statement is one statement: nothing can be smuggled in behind the query.
    let prepared = leader.session.prepare(&sql).await;
    prepared.map_err(|e| PostgresError::from_pg(format!("prepare {name}"), &e))?;
    let mut bytes = 0;
    let copied = leader.session.copy_out(&sql, 0, async |block| {
        bytes += block.len() as u64;
        out.send(Ok(block.into())).await.map_err(|_| emit::receiver_closed_error())
    });
    let copied = copied.await.map_err(CopyOutError::into_postgres_error)?;
    if copied.messages != copied.rows + 1 {
        let (came, rows) = (copied.messages, copied.rows);
        let why = format!("{came} lines came, the server says {rows} rows and a header");
        return Err(PostgresError::new(PostgresErrorKind::Data, "read by COPY", why, "run again"));
    }
    Ok(TableCounts { name, rows: copied.rows, bytes })
}

/// The table's full name, for a name as SQL has it, with or without a schema.
async fn qualified_name(leader: &SnapshotSession, table: &str) -> Result<String, PostgresError> {
    let failed = |e| PostgresError::from_pg(format!("find {table}"), &e);
    leader.session.batch_execute("RESET search_path").await.map_err(failed)?;
    let sql = "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)";
    let row = leader.session.query_opt(sql, &[&table]).await.map_err(failed)?;
    row.map(|r| r.get(0)).ok_or_else(|| {
        let hint = "write it as SQL does: schema.table, with double quotes where needed";
        PostgresError::new(
            PostgresErrorKind::Refused,
            format!("find {table}"),
            "there is no such table",
            hint,
        )
    })
}

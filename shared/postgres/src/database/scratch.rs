//! What is done to scratch databases alone, to see that a fault is found. Any other database is refused.

use super::{connect_maintenance, is_holdfast_database};
use crate::{ConnectionConfig, PostgresError, PostgresErrorKind, quote_ident};

fn ensure_scratch(name: &str, doing: &str) -> Result<(), PostgresError> {
    if is_holdfast_database(name) {
        return Ok(());
    }
    let why = "its name is none that Holdfast gives to a temporary database";
    Err(PostgresError::new(PostgresErrorKind::Refused, doing.to_owned(), why, "nothing was done"))
}

/// Makes every transaction in a scratch database read-only from now on.
///
/// # Errors
/// If it is none of ours, or the server refuses.
pub async fn make_read_only(server: &ConnectionConfig, name: &str) -> Result<(), PostgresError> {
    let doing = format!("make {name} read-only");
    ensure_scratch(name, &doing)?;
    let session = connect_maintenance(server).await?;
    let sql =
        format!("ALTER DATABASE {} SET default_transaction_read_only = on", quote_ident(name));
    session.batch_execute(&sql).await.map_err(|e| PostgresError::from_pg(doing, &e))
}

/// Empties every table of a scratch database.
///
/// # Errors
/// As for [`make_read_only`].
pub async fn empty_scratch_tables(
    server: &ConnectionConfig,
    name: &str,
) -> Result<(), PostgresError> {
    let doing = format!("empty {name}");
    ensure_scratch(name, &doing)?;
    let session = server.connect(name).await?;
    // The server puts the names into the statements: they may be of any encoding.
    let sql = "DO $holdfast$ DECLARE t text; BEGIN
        FOR t IN SELECT pg_catalog.format('%I.%I', schemaname, tablename) FROM pg_catalog.pg_tables
            WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
        LOOP EXECUTE 'TRUNCATE ' || t || ' CASCADE'; END LOOP; END $holdfast$";
    session.batch_execute(sql).await.map_err(|e| PostgresError::from_pg(doing, &e))
}

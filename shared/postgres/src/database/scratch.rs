//! What is done to scratch databases alone, to see that a fault is found. Any other database is refused.

use super::is_holdfast_database;
use crate::{ConnectionConfig, PostgresError, PostgresErrorKind, quote_ident};

fn ensure_scratch(name: &str, doing: &str) -> Result<(), PostgresError> {
    if is_holdfast_database(name) {
        return Ok(());
    }
    let why = "its name is none that Holdfast gives to a temporary database";
    Err(PostgresError::new(PostgresErrorKind::Refused, doing.to_owned(), why, "nothing was done"))
}

/// Takes from everybody but the administrator what it needs to make something in a scratch database.
///
/// # Errors
/// If it is none of ours, or the server refuses.
pub async fn revoke_scratch_rights(
    server: &ConnectionConfig,
    name: &str,
) -> Result<(), PostgresError> {
    let doing = format!("take the rights to {name}");
    ensure_scratch(name, &doing)?;
    let session = server.connect(name).await?;
    // The database's role has its name.
    let quoted = quote_ident(name);
    let sql = format!(
        "ALTER DATABASE {quoted} OWNER TO CURRENT_USER; ALTER SCHEMA public OWNER TO CURRENT_USER;
         REVOKE ALL ON SCHEMA public FROM PUBLIC, {quoted}"
    );
    session.batch_execute(&sql).await.map_err(|e| PostgresError::from_pg(doing, &e))
}

/// Empties every table of a scratch database.
///
/// # Errors
/// As for [`revoke_scratch_rights`].
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

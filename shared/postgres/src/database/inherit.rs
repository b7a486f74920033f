//! A living database's own settings for the one that takes its place.

use super::{
    connect_maintenance,
    facts::{apply_database_properties, execute_or_warn, read_database_properties},
};
use crate::{ConnectionConfig, PostgresError, quote_ident, restore::RestoreWarning};

/// Gives `to` the owner, the limit of connections, the comment, the grants and the settings of `from`. What the server
/// refuses is a [`Loss`].
pub async fn copy_database_properties(
    server: &ConnectionConfig,
    from: &str,
    to: &str,
) -> Result<Vec<RestoreWarning>, PostgresError> {
    let session = connect_maintenance(server).await?;
    let sql = "SELECT pg_catalog.pg_get_userbyid(datdba)::text FROM pg_catalog.pg_database
        WHERE datname OPERATOR(pg_catalog.=) $1";
    let row = session.query_one(sql, &[&from]).await;
    let owner: String = row
        .and_then(|row| row.try_get(0))
        .map_err(|e| PostgresError::from_pg(format!("read what belongs to {from}"), &e))?;
    let mut losses = Vec::new();
    let owner = format!("ALTER DATABASE {} OWNER TO {}", quote_ident(to), quote_ident(&owner));
    execute_or_warn(&session, &owner, &mut losses).await?;
    losses.extend(
        apply_database_properties(server, to, &read_database_properties(&session, from).await?)
            .await?,
    );
    Ok(losses)
}

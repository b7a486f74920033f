//! A living database's own settings for the one that takes its place.

use super::{
    facts::{apply, facts, run},
    maintenance,
};
use crate::{Error, Server, quoted, restore::Loss};

/// Gives `to` the owner, the limit of connections, the comment, the grants and the settings of `from`. What the server
/// refuses is a [`Loss`].
pub async fn inherit(server: &Server, from: &str, to: &str) -> Result<Vec<Loss>, Error> {
    let session = maintenance(server).await?;
    let sql = "SELECT pg_catalog.pg_get_userbyid(datdba)::text FROM pg_catalog.pg_database
        WHERE datname OPERATOR(pg_catalog.=) $1";
    let row = session.query_one(sql, &[&from]).await;
    let owner: String = row
        .and_then(|row| row.try_get(0))
        .map_err(|e| Error::from_pg(format!("read what belongs to {from}"), &e))?;
    let mut losses = Vec::new();
    let owner = format!("ALTER DATABASE {} OWNER TO {}", quoted(to), quoted(&owner));
    run(&session, &owner, &mut losses).await?;
    losses.extend(apply(server, to, &facts(&session, from).await?).await?);
    Ok(losses)
}

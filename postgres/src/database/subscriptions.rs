//! Subscriptions of a restored database: they must not reach the server that they once read from, and a database that
//! has one can't be dropped.

use super::maintenance;
use crate::{Error, Server, Session, quoted};

const OF_THIS: &str = "SELECT s.subname::text FROM pg_catalog.pg_subscription s
    JOIN pg_catalog.pg_database d ON d.oid = s.subdbid WHERE d.datname OPERATOR(pg_catalog.=) $1 ORDER BY 1";

/// Disables each subscription of a database and takes its replication slot's name away, so that nothing that happens to
/// it here reaches the publisher; their names. Who wants one again gives it a slot and enables it.
///
/// # Errors
/// If the server refuses.
pub async fn disconnect_subscriptions(server: &Server, name: &str) -> Result<Vec<String>, Error> {
    let there = subscriptions(&maintenance(server).await?, name).await?;
    if there.is_empty() {
        return Ok(there);
    }
    let inside = server.connect(name).await?;
    for subscription in &there {
        disconnect(&inside, subscription).await?;
    }
    Ok(there)
}

async fn subscriptions(session: &Session, database: &str) -> Result<Vec<String>, Error> {
    let rows = session.query(OF_THIS, &[&database]).await;
    let rows =
        rows.map_err(|e| Error::from_pg(format!("list the subscriptions of {database}"), &e))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn disconnect(inside: &Session, subscription: &str) -> Result<(), Error> {
    let name = quoted(subscription);
    // The slot can only be given up while it is disabled, and not in one transaction with that.
    for statement in [
        format!("ALTER SUBSCRIPTION {name} DISABLE"),
        format!("ALTER SUBSCRIPTION {name} SET (slot_name = NONE)"),
    ] {
        let done = inside.batch_execute(&statement).await;
        done.map_err(|e| Error::from_pg(format!("disconnect subscription {subscription}"), &e))?;
    }
    Ok(())
}

/// Drops each subscription of a database that will be dropped, without a word to its publisher.
pub(super) async fn drop_all(server: &Server, session: &Session, name: &str) -> Result<(), Error> {
    let there = subscriptions(session, name).await?;
    if there.is_empty() {
        return Ok(());
    }
    let inside = server.connect(name).await?;
    for subscription in &there {
        disconnect(&inside, subscription).await?;
        let dropped =
            inside.batch_execute(&format!("DROP SUBSCRIPTION {}", quoted(subscription))).await;
        dropped.map_err(|e| Error::from_pg(format!("drop subscription {subscription}"), &e))?;
    }
    Ok(())
}

//! Subscriptions of a restored database: they must not reach the server that they once read from, and a database that
//! has one can't be dropped.

use super::connect_maintenance;
use crate::{ConnectionConfig, PgConnection, PostgresError, quote_ident};

const SUBSCRIPTIONS_SQL: &str = "SELECT s.subname::text FROM pg_catalog.pg_subscription s
    JOIN pg_catalog.pg_database d ON d.oid = s.subdbid WHERE d.datname OPERATOR(pg_catalog.=) $1 ORDER BY 1";

/// Disables each subscription of a database and takes its replication slot's name away, so that nothing that happens to
/// it here reaches the publisher; their names. Who wants one again gives it a slot and enables it.
///
/// # Errors
/// If the server refuses.
pub async fn disconnect_subscriptions(
    server: &ConnectionConfig,
    name: &str,
) -> Result<Vec<String>, PostgresError> {
    let there = subscription_names(&connect_maintenance(server).await?, name).await?;
    if there.is_empty() {
        return Ok(there);
    }
    let inside = server.connect(name).await?;
    for subscription in &there {
        disable_subscription(&inside, subscription).await?;
    }
    Ok(there)
}

async fn subscription_names(
    session: &PgConnection,
    database: &str,
) -> Result<Vec<String>, PostgresError> {
    let rows = session.query(SUBSCRIPTIONS_SQL, &[&database]).await;
    let rows = rows
        .map_err(|e| PostgresError::from_pg(format!("list the subscriptions of {database}"), &e))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn disable_subscription(
    inside: &PgConnection,
    subscription: &str,
) -> Result<(), PostgresError> {
    let name = quote_ident(subscription);
    // The slot can only be given up while it is disabled, and not in one transaction with that.
    for statement in [
        format!("ALTER SUBSCRIPTION {name} DISABLE"),
        format!("ALTER SUBSCRIPTION {name} SET (slot_name = NONE)"),
    ] {
        let done = inside.batch_execute(&statement).await;
        done.map_err(|e| {
            PostgresError::from_pg(format!("disconnect subscription {subscription}"), &e)
        })?;
    }
    Ok(())
}

/// Drops each subscription of a database that will be dropped, without a word to its publisher.
pub(super) async fn drop_subscriptions(
    server: &ConnectionConfig,
    session: &PgConnection,
    name: &str,
) -> Result<(), PostgresError> {
    let there = subscription_names(session, name).await?;
    if there.is_empty() {
        return Ok(());
    }
    let inside = server.connect(name).await?;
    for subscription in &there {
        disable_subscription(&inside, subscription).await?;
        let dropped =
            inside.batch_execute(&format!("DROP SUBSCRIPTION {}", quote_ident(subscription))).await;
        dropped
            .map_err(|e| PostgresError::from_pg(format!("drop subscription {subscription}"), &e))?;
    }
    Ok(())
}

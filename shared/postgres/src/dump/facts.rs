//! What a backup must know of the server it came from.

use super::{InstalledExtension, ServerFacts};
use crate::{PgConnection, PostgresError};

/// Reads them outside of any transaction: what a managed service forbids must not break one.
pub(super) async fn query_server_properties(
    session: &PgConnection,
) -> Result<ServerFacts, PostgresError> {
    let failed = |e| PostgresError::from_pg("look at the server", &e);
    let sql = "SELECT current_setting('server_version'), pg_encoding_to_char(d.encoding)::text, d.datcollate::text,
            d.datctype::text, pg_get_userbyid(d.datdba)::text, pg_database_size(d.oid), pg_is_in_recovery(),
            d.datname::text
        FROM pg_catalog.pg_database d WHERE d.datname = current_database()";
    let row = session.query_one(sql, &[]).await.map_err(failed)?;
    let control = "SELECT system_identifier::text FROM pg_catalog.pg_control_system()";
    let system = session.query_one(control, &[]).await;
    let control = "SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()";
    let timeline = session.query_one(control, &[]).await;
    let text = |i: usize| row.try_get::<_, String>(i).map_err(failed);
    let database = crate::database::read_database_properties(session, &text(7)?).await?;
    Ok(ServerFacts {
        version: text(0)?,
        version_num: session.version_num,
        system_identifier: system.ok().map(|r| r.get(0)),
        timeline: timeline.ok().and_then(|r| u32::try_from(r.get::<_, i32>(0)).ok()),
        encoding: text(1)?,
        collate: text(2)?,
        ctype: text(3)?,
        owner: text(4)?,
        database_bytes: u64::try_from(row.get::<_, i64>(5)).unwrap_or(0),
        is_replica: row.get(6),
        database,
    })
}

pub(super) async fn list_extensions(
    session: &PgConnection,
) -> Result<Vec<InstalledExtension>, PostgresError> {
    let sql = "SELECT extname::text, extversion FROM pg_catalog.pg_extension ORDER BY extname";
    let rows =
        session.query(sql, &[]).await.map_err(|e| PostgresError::from_pg("list extensions", &e))?;
    Ok(rows.iter().map(|r| InstalledExtension { name: r.get(0), version: r.get(1) }).collect())
}

//! Large objects: written in batches into the empty ones that the first section of the archive made.

use super::{
    loss::{RestoreWarning, is_recoverable},
    parse::LargeObjectChunk,
};
use crate::{PgConnection, PostgresError};

/// `lo_put` of many slices in one round trip.
const LO_PUT_SQL: &str = "SELECT pg_catalog.lo_put(o, f, d) \
    FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.oid[]), pg_catalog.unnest($2::pg_catalog.int8[]), \
    pg_catalog.unnest($3::pg_catalog.bytea[])) AS slice (o, f, d)";

/// Writes slices; those that the server refuses become losses, one for each object.
pub(crate) async fn write_large_objects(
    session: &PgConnection,
    slices: &[LargeObjectChunk],
    mut note: impl FnMut(RestoreWarning),
) -> Result<(), PostgresError> {
    match put_chunks(session, slices).await {
        Ok(()) => return Ok(()),
        Err(e) if !is_recoverable(&e) => {
            return Err(PostgresError::from_pg("write large objects", &e));
        }
        Err(_) => {}
    }
    // One object's fault undid the whole batch: each by itself now.
    let mut told = None;
    for slice in slices {
        let Err(e) = put_chunks(session, std::slice::from_ref(slice)).await else { continue };
        if !is_recoverable(&e) {
            return Err(PostgresError::from_pg("write large objects", &e));
        }
        if told.replace(slice.oid) != Some(slice.oid) {
            note(RestoreWarning::from_data_error(&e, &format!("large object {}", slice.oid)));
        }
    }
    Ok(())
}

async fn put_chunks(
    session: &PgConnection,
    slices: &[LargeObjectChunk],
) -> Result<(), tokio_postgres::Error> {
    let oids: Vec<u32> = slices.iter().map(|s| s.oid).collect();
    let offsets: Vec<i64> = slices.iter().map(|s| s.offset).collect();
    let bytes: Vec<&[u8]> = slices.iter().map(|s| &s.bytes[..]).collect();
    session.execute(LO_PUT_SQL, &[&oids, &offsets, &bytes]).await.map(drop)
}

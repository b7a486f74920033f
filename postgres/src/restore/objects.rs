//! Large objects: written in batches into the empty ones that the first section of the archive made.

use super::{
    loss::{Loss, bearable},
    parse::Slice,
};
use crate::{Error, Session};

/// `lo_put` of many slices in one round trip.
const WRITE: &str = "SELECT pg_catalog.lo_put(o, f, d) \
    FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.oid[]), pg_catalog.unnest($2::pg_catalog.int8[]), \
    pg_catalog.unnest($3::pg_catalog.bytea[])) AS slice (o, f, d)";

/// Writes slices; those that the server refuses become losses, one for each object.
pub(crate) async fn write(
    session: &Session,
    slices: &[Slice],
    mut note: impl FnMut(Loss),
) -> Result<(), Error> {
    match put(session, slices).await {
        Ok(()) => return Ok(()),
        Err(e) if !bearable(&e) => return Err(Error::from_pg("write large objects", &e)),
        Err(_) => {}
    }
    // One object's fault undid the whole batch: each by itself now.
    let mut told = None;
    for slice in slices {
        let Err(e) = put(session, std::slice::from_ref(slice)).await else { continue };
        if !bearable(&e) {
            return Err(Error::from_pg("write large objects", &e));
        }
        if told.replace(slice.oid) != Some(slice.oid) {
            note(Loss::of_data(&e, &format!("large object {}", slice.oid)));
        }
    }
    Ok(())
}

async fn put(session: &Session, slices: &[Slice]) -> Result<(), tokio_postgres::Error> {
    let oids: Vec<u32> = slices.iter().map(|s| s.oid).collect();
    let offsets: Vec<i64> = slices.iter().map(|s| s.offset).collect();
    let bytes: Vec<&[u8]> = slices.iter().map(|s| &s.bytes[..]).collect();
    session.execute(WRITE, &[&oids, &offsets, &bytes]).await.map(drop)
}

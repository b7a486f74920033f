//! Large objects, read on the snapshot.

use super::read::UnitEvent;
use crate::{PgConnection, server::CopyOutError};
use std::ops::AsyncFnMut;
use tokio_postgres::types::Type;

/// Objects that are asked for at once, and bytes that come of each at first: most are small, and together these are
/// 3 MiB at most.
const OBJECTS_PER_QUERY: usize = 100;
const FIRST_READ_BYTES: i32 = 32 << 10;

/// Bytes that are asked for at once of what is larger.
const NEXT_READ_BYTES: i32 = 128 << 10;

/// Reads objects in the order of their OIDs and hands over each with its bytes. Returns how many there were.
pub(super) async fn read_large_objects(
    session: &PgConnection,
    oids: &[u32],
    room: usize,
    mut each: impl AsyncFnMut(UnitEvent) -> Result<(), CopyOutError>,
) -> Result<u64, CopyOutError> {
    let firsts = "SELECT o.oid, pg_catalog.lo_get(o.oid, 0, $2)
        FROM pg_catalog.unnest($1) WITH ORDINALITY o (oid, n) ORDER BY o.n";
    let firsts = session.prepare_typed(firsts, &[Type::OID_ARRAY, Type::INT4]).await?;
    let more = "SELECT pg_catalog.lo_get($1, $2, $3)";
    let more = session.prepare_typed(more, &[Type::OID, Type::INT8, Type::INT4]).await?;
    let mut count = 0;
    for batch in oids.chunks(OBJECTS_PER_QUERY) {
        for row in session.query(&firsts, &[&batch, &FIRST_READ_BYTES]).await? {
            let (oid, first): (u32, &[u8]) = (row.try_get(0)?, row.try_get(1)?);
            each(UnitEvent::Object(oid)).await?;
            let mut length = i64::try_from(first.len()).unwrap_or(0);
            let mut whole = length < i64::from(FIRST_READ_BYTES);
            let mut at = length;
            each(UnitEvent::Block(padded_block(first, room))).await?;
            while !whole {
                let row = session.query_one(&more, &[&oid, &at, &NEXT_READ_BYTES]).await?;
                let next: &[u8] = row.try_get(0)?;
                length = i64::try_from(next.len()).unwrap_or(0);
                whole = length < i64::from(NEXT_READ_BYTES);
                at += length;
                each(UnitEvent::Block(padded_block(next, room))).await?;
            }
            count += 1;
        }
    }
    Ok(count)
}

fn padded_block(bytes: &[u8], room: usize) -> Vec<u8> {
    let mut block = Vec::with_capacity(room + bytes.len());
    block.resize(room, 0);
    block.extend_from_slice(bytes);
    block
}

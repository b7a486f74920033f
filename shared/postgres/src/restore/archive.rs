//! An archive that passes by, taken apart to be counted.

use super::{
    parse::{self, BlockFilter, LoadItem},
    source::{ChunkReader, DataBlockReader},
};
use crate::toc::{CompressionAlgorithm, Toc};
use bytes::Bytes;
use std::{collections::HashSet, io};
use tokio::sync::mpsc;

/// What an archive consists of.
pub(crate) enum ArchiveBlock {
    /// Its head, first of all.
    Head(Box<Toc>),
    /// Rows of the table whose data entry has this number.
    Rows(i32, Bytes),
    /// Bytes of a large object; one without bytes has an empty block.
    Object(u32, Bytes),
}

/// Reads a whole archive in a blocking thread and gives its blocks to `out`; its head is the answer.
pub(crate) fn read_archive(
    from: mpsc::Receiver<io::Result<Bytes>>,
    out: &mpsc::Sender<ArchiveBlock>,
) -> io::Result<Toc> {
    let mut source = ChunkReader::new(from);
    let toc = Toc::read(&mut source).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    let give =
        |block| out.blocking_send(block).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe));
    give(ArchiveBlock::Head(Box::new(toc.clone())))?;
    let load = toc.entries.iter().filter(|e| e.has_data).map(|e| e.dump_id).collect();
    let zlib = toc.compression == CompressionAlgorithm::Zlib;
    let (skip, sql) = (HashSet::new(), HashSet::new());
    let wanted = BlockFilter { load, skip, sql, zlib };
    let blocks = DataBlockReader::new(source, toc.int_size);
    let each = |piece| match piece {
        LoadItem::Rows(id, part) => give(ArchiveBlock::Rows(id, part.bytes)),
        LoadItem::Objects(slices) => {
            slices.into_iter().try_for_each(|s| give(ArchiveBlock::Object(s.oid, s.bytes)))
        }
        // Only of blocks that were asked for as statements.
        LoadItem::Statements(..) => Ok(()),
    };
    parse::parse_blocks_with(blocks, wanted, &each)?;
    Ok(toc)
}

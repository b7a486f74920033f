//! The thread that takes an archive apart: blocks into parts of rows and batches of large objects.

use super::{
    judge,
    lexer::{ScriptItem, SqlLexer},
    rows::{CHUNK_BYTES, RowChunk, RowChunker},
    source::{DataBlockHeader, DataBlockReader, forbidden_error, invalid_data},
};
use bytes::{Bytes, BytesMut};
use flate2::{Decompress, FlushDecompress, Status};
use std::{collections::HashSet, io, mem::take};
use tokio::sync::mpsc;

/// The most large objects that one statement writes.
const MAX_OBJECTS_PER_STATEMENT: usize = 500;

/// Pages of large objects: parts of one object start at multiples of this, so that none is written by two
/// connections. PostgreSQL's `LOBLKSIZE` is a quarter of the block size, at most 8 KiB.
const LARGE_OBJECT_CHUNK_BYTES: usize = 256 << 10;

/// A piece of a large object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LargeObjectChunk {
    /// The object's number.
    pub(crate) oid: u32,
    /// Where the bytes go.
    pub(crate) offset: i64,
    /// The bytes.
    pub(crate) bytes: Bytes,
}

/// What is loaded.
#[derive(Debug)]
pub(crate) enum LoadItem {
    /// Rows of the table whose entry has this number.
    Rows(i32, RowChunk),
    /// Pieces of large objects, about a part in all.
    Objects(Vec<LargeObjectChunk>),
    /// Statements with the rows of the table whose entry has this number (`pg_dump --inserts`), in the archive's
    /// encoding.
    Statements(i32, Vec<Bytes>),
}

/// Which blocks an archive must have.
pub(crate) struct BlockFilter {
    /// Entries whose blocks are loaded.
    pub(crate) load: HashSet<i32>,
    /// Entries whose blocks are read over.
    pub(crate) skip: HashSet<i32>,
    /// Of those of both kinds, whose blocks hold statements and not rows.
    pub(crate) sql: HashSet<i32>,
    /// Whether blocks are zlib streams.
    pub(crate) zlib: bool,
}

/// Reads every block and gives its pieces to `out`; ends early without an error when nobody takes them any more.
pub(crate) fn parse_blocks(
    blocks: DataBlockReader,
    wanted: BlockFilter,
    out: &mpsc::Sender<LoadItem>,
) -> io::Result<()> {
    let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
    parse_blocks_with(blocks, wanted, &|piece| out.blocking_send(piece).map_err(|_| gone()))
}

/// As [`parse`], for whoever takes the pieces on this thread.
pub(crate) fn parse_blocks_with(
    mut blocks: DataBlockReader,
    mut wanted: BlockFilter,
    give: &impl Fn(LoadItem) -> io::Result<()>,
) -> io::Result<()> {
    while let Some(head) = blocks.next_header()? {
        let load = wanted.load.remove(&head.dump_id);
        if !load && !wanted.skip.remove(&head.dump_id) {
            return Err(invalid_data(&format!(
                "data block {} is of no table, or comes twice",
                head.dump_id
            )));
        }
        if wanted.sql.contains(&head.dump_id) && !head.is_large_objects {
            parse_inserts(&mut blocks, head, load, wanted.zlib, give)?;
        } else {
            parse_block(&mut blocks, head, load, wanted.zlib, give)?;
        }
    }
    if let Some(absent) = wanted.load.iter().chain(&wanted.skip).min() {
        return Err(invalid_data(&format!(
            "the archive ends before the data of its entry {absent}"
        )));
    }
    Ok(())
}

fn parse_block(
    blocks: &mut DataBlockReader,
    head: DataBlockHeader,
    load: bool,
    zlib: bool,
    give: &impl Fn(LoadItem) -> io::Result<()>,
) -> io::Result<()> {
    if head.is_large_objects {
        let mut batch = LargeObjectBatch::default();
        while let Some(oid) = blocks.next_object_oid()? {
            let mut object = LargeObjectSplitter { oid, offset: 0, held: BytesMut::new() };
            inflate_chunks(blocks, zlib, &mut |bytes| {
                if load {
                    object.push_bytes(bytes, &mut |s| batch.push_chunk(s, give))
                } else {
                    Ok(())
                }
            })?;
            if load {
                object.finish(&mut |s| batch.push_chunk(s, give))?;
            }
        }
        return batch.finish(give);
    }
    let mut cutter = RowChunker::default();
    let mut out = |part| give(LoadItem::Rows(head.dump_id, part));
    inflate_chunks(blocks, zlib, &mut |bytes| {
        if load { cutter.push(bytes, &mut out) } else { Ok(()) }
    })?;
    if load { cutter.finish(&mut out) } else { Ok(()) }
}

/// A block of statements: each must be an INSERT, whether it is loaded or not.
fn parse_inserts(
    blocks: &mut DataBlockReader,
    of: DataBlockHeader,
    load: bool,
    zlib: bool,
    give: &impl Fn(LoadItem) -> io::Result<()>,
) -> io::Result<()> {
    let mut lexer = SqlLexer::default();
    let (mut batch, mut bytes) = (Vec::new(), 0);
    let mut out = |item| {
        let ScriptItem::Statement(text) = item else {
            return Err(invalid_data("a data block that holds neither rows nor INSERT statements"));
        };
        let shown = String::from_utf8_lossy(&text);
        if !shown.get(..7).is_some_and(|w| w.eq_ignore_ascii_case("INSERT ")) {
            let why = judge::refusal_reason(&shown);
            return Err(forbidden_error(
                why.unwrap_or_else(|| "a data block has other statements".into()),
            ));
        }
        drop(shown);
        bytes += text.len();
        batch.push(text);
        if bytes >= CHUNK_BYTES || batch.len() >= MAX_OBJECTS_PER_STATEMENT {
            bytes = 0;
            let all = take(&mut batch);
            return if load { give(LoadItem::Statements(of.dump_id, all)) } else { Ok(()) };
        }
        Ok(())
    };
    inflate_chunks(blocks, zlib, &mut |bytes| lexer.push(bytes, &mut out))?;
    lexer.finish(&mut out)?;
    if load && !batch.is_empty() {
        give(LoadItem::Statements(of.dump_id, batch))?;
    }
    Ok(())
}

/// Gives a block's or an object's bytes as they were before zlib.
fn inflate_chunks(
    blocks: &mut DataBlockReader,
    zlib: bool,
    each: &mut impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    if !zlib {
        return blocks.for_each_chunk(each);
    }
    let mut inflater = Decompress::new(true);
    let mut room = vec![0; 64 << 10];
    let (mut begun, mut ended) = (false, false);
    blocks.for_each_chunk(&mut |mut input| {
        begun = true;
        while !input.is_empty() {
            if ended {
                return Err(invalid_data("bytes after the end of a zlib stream"));
            }
            let (before_in, before_out) = (inflater.total_in(), inflater.total_out());
            let status = inflater
                .decompress(input, &mut room, FlushDecompress::None)
                .map_err(|e| invalid_data(&format!("a zlib stream: {e}")))?;
            let used = usize::try_from(inflater.total_in() - before_in).unwrap_or(input.len());
            let got = usize::try_from(inflater.total_out() - before_out).unwrap_or(0);
            input = &input[used..];
            each(&room[..got])?;
            ended = status == Status::StreamEnd;
            if used == 0 && got == 0 && !ended {
                return Err(invalid_data("a zlib stream that does not go on"));
            }
        }
        Ok(())
    })?;
    // The input may be used up while output is still held back.
    while begun && !ended {
        let before = inflater.total_out();
        let status = inflater
            .decompress(&[], &mut room, FlushDecompress::Finish)
            .map_err(|e| invalid_data(&format!("a zlib stream: {e}")))?;
        let got = usize::try_from(inflater.total_out() - before).unwrap_or(0);
        each(&room[..got])?;
        ended = status == Status::StreamEnd;
        if got == 0 && !ended {
            return Err(invalid_data("a zlib stream without its end"));
        }
    }
    Ok(())
}

/// A large object on its way into slices.
struct LargeObjectSplitter {
    oid: u32,
    offset: i64,
    held: BytesMut,
}

impl LargeObjectSplitter {
    fn push_bytes(
        &mut self,
        bytes: &[u8],
        out: &mut impl FnMut(LargeObjectChunk) -> io::Result<()>,
    ) -> io::Result<()> {
        self.held.extend_from_slice(bytes);
        while self.held.len() >= LARGE_OBJECT_CHUNK_BYTES {
            let bytes = self.held.split_to(LARGE_OBJECT_CHUNK_BYTES).freeze();
            self.emit_chunk(bytes, out)?;
        }
        Ok(())
    }

    fn finish(
        &mut self,
        out: &mut impl FnMut(LargeObjectChunk) -> io::Result<()>,
    ) -> io::Result<()> {
        let rest = take(&mut self.held).freeze();
        if rest.is_empty() { Ok(()) } else { self.emit_chunk(rest, out) }
    }

    fn emit_chunk(
        &mut self,
        bytes: Bytes,
        out: &mut impl FnMut(LargeObjectChunk) -> io::Result<()>,
    ) -> io::Result<()> {
        let offset = self.offset;
        self.offset += i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        out(LargeObjectChunk { oid: self.oid, offset, bytes })
    }
}

#[derive(Default)]
struct LargeObjectBatch {
    slices: Vec<LargeObjectChunk>,
    bytes: usize,
}

impl LargeObjectBatch {
    fn push_chunk(
        &mut self,
        slice: LargeObjectChunk,
        give: &impl Fn(LoadItem) -> io::Result<()>,
    ) -> io::Result<()> {
        self.bytes += slice.bytes.len();
        self.slices.push(slice);
        if self.bytes >= CHUNK_BYTES || self.slices.len() >= MAX_OBJECTS_PER_STATEMENT {
            self.bytes = 0;
            give(LoadItem::Objects(take(&mut self.slices)))?;
        }
        Ok(())
    }

    fn finish(self, give: &impl Fn(LoadItem) -> io::Result<()>) -> io::Result<()> {
        if self.slices.is_empty() { Ok(()) } else { give(LoadItem::Objects(self.slices)) }
    }
}

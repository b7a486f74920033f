//! The thread that takes an archive apart: blocks into parts of rows and batches of large objects.

use super::{
    judge,
    lexer::{Item, Lexer},
    rows::{Cutter, PART, Part},
    source::{Blocks, Head, bad, forbidden},
};
use bytes::{Bytes, BytesMut};
use flate2::{Decompress, FlushDecompress, Status};
use std::{collections::HashSet, io, mem::take};
use tokio::sync::mpsc;

/// The most large objects that one statement writes.
const MANY: usize = 500;

/// Pages of large objects: parts of one object start at multiples of this, so that none is written by two
/// connections. PostgreSQL's `LOBLKSIZE` is a quarter of the block size, at most 8 KiB.
const PAGES: usize = 256 << 10;

/// A piece of a large object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    /// The object's number.
    pub(crate) oid: u32,
    /// Where the bytes go.
    pub(crate) offset: i64,
    /// The bytes.
    pub(crate) bytes: Bytes,
}

/// What is loaded.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Rows of the table whose entry has this number.
    Rows(i32, Part),
    /// Pieces of large objects, about a part in all.
    Objects(Vec<Slice>),
    /// Statements with the rows of the table whose entry has this number (`pg_dump --inserts`), in the archive's
    /// encoding.
    Statements(i32, Vec<Bytes>),
}

/// Which blocks an archive must have.
pub(crate) struct Wanted {
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
pub(crate) fn parse(blocks: Blocks, wanted: Wanted, out: &mpsc::Sender<Piece>) -> io::Result<()> {
    let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
    parse_each(blocks, wanted, &|piece| out.blocking_send(piece).map_err(|_| gone()))
}

/// As [`parse`], for whoever takes the pieces on this thread.
pub(crate) fn parse_each(
    mut blocks: Blocks,
    mut wanted: Wanted,
    give: &impl Fn(Piece) -> io::Result<()>,
) -> io::Result<()> {
    while let Some(head) = blocks.head()? {
        let load = wanted.load.remove(&head.dump_id);
        if !load && !wanted.skip.remove(&head.dump_id) {
            return Err(bad(&format!(
                "data block {} is of no table, or comes twice",
                head.dump_id
            )));
        }
        if wanted.sql.contains(&head.dump_id) && !head.large {
            inserts(&mut blocks, head, load, wanted.zlib, give)?;
        } else {
            block(&mut blocks, head, load, wanted.zlib, give)?;
        }
    }
    if let Some(absent) = wanted.load.iter().chain(&wanted.skip).min() {
        return Err(bad(&format!("the archive ends before the data of its entry {absent}")));
    }
    Ok(())
}

fn block(
    blocks: &mut Blocks,
    head: Head,
    load: bool,
    zlib: bool,
    give: &impl Fn(Piece) -> io::Result<()>,
) -> io::Result<()> {
    if head.large {
        let mut batch = Batch::default();
        while let Some(oid) = blocks.object()? {
            let mut object = Object { oid, offset: 0, held: BytesMut::new() };
            plain(blocks, zlib, &mut |bytes| {
                if load { object.push(bytes, &mut |s| batch.push(s, give)) } else { Ok(()) }
            })?;
            if load {
                object.end(&mut |s| batch.push(s, give))?;
            }
        }
        return batch.end(give);
    }
    let mut cutter = Cutter::default();
    let mut out = |part| give(Piece::Rows(head.dump_id, part));
    plain(blocks, zlib, &mut |bytes| if load { cutter.push(bytes, &mut out) } else { Ok(()) })?;
    if load { cutter.end(&mut out) } else { Ok(()) }
}

/// A block of statements: each must be an INSERT, whether it is loaded or not.
fn inserts(
    blocks: &mut Blocks,
    of: Head,
    load: bool,
    zlib: bool,
    give: &impl Fn(Piece) -> io::Result<()>,
) -> io::Result<()> {
    let mut lexer = Lexer::default();
    let (mut batch, mut bytes) = (Vec::new(), 0);
    let mut out = |item| {
        let Item::Statement(text) = item else {
            return Err(bad("a data block that holds neither rows nor INSERT statements"));
        };
        let shown = String::from_utf8_lossy(&text);
        if !shown.get(..7).is_some_and(|w| w.eq_ignore_ascii_case("INSERT ")) {
            let why = judge::refusal(&shown);
            return Err(forbidden(
                why.unwrap_or_else(|| "a data block has other statements".into()),
            ));
        }
        drop(shown);
        bytes += text.len();
        batch.push(text);
        if bytes >= PART || batch.len() >= MANY {
            bytes = 0;
            let all = take(&mut batch);
            return if load { give(Piece::Statements(of.dump_id, all)) } else { Ok(()) };
        }
        Ok(())
    };
    plain(blocks, zlib, &mut |bytes| lexer.push(bytes, &mut out))?;
    lexer.end(&mut out)?;
    if load && !batch.is_empty() {
        give(Piece::Statements(of.dump_id, batch))?;
    }
    Ok(())
}

/// Gives a block's or an object's bytes as they were before zlib.
fn plain(
    blocks: &mut Blocks,
    zlib: bool,
    each: &mut impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    if !zlib {
        return blocks.chunks(each);
    }
    let mut inflater = Decompress::new(true);
    let mut room = vec![0; 64 << 10];
    let (mut begun, mut ended) = (false, false);
    blocks.chunks(&mut |mut input| {
        begun = true;
        while !input.is_empty() {
            if ended {
                return Err(bad("bytes after the end of a zlib stream"));
            }
            let (before_in, before_out) = (inflater.total_in(), inflater.total_out());
            let status = inflater
                .decompress(input, &mut room, FlushDecompress::None)
                .map_err(|e| bad(&format!("a zlib stream: {e}")))?;
            let used = usize::try_from(inflater.total_in() - before_in).unwrap_or(input.len());
            let got = usize::try_from(inflater.total_out() - before_out).unwrap_or(0);
            input = &input[used..];
            each(&room[..got])?;
            ended = status == Status::StreamEnd;
            if used == 0 && got == 0 && !ended {
                return Err(bad("a zlib stream that does not go on"));
            }
        }
        Ok(())
    })?;
    // The input may be used up while output is still held back.
    while begun && !ended {
        let before = inflater.total_out();
        let status = inflater
            .decompress(&[], &mut room, FlushDecompress::Finish)
            .map_err(|e| bad(&format!("a zlib stream: {e}")))?;
        let got = usize::try_from(inflater.total_out() - before).unwrap_or(0);
        each(&room[..got])?;
        ended = status == Status::StreamEnd;
        if got == 0 && !ended {
            return Err(bad("a zlib stream without its end"));
        }
    }
    Ok(())
}

/// A large object on its way into slices.
struct Object {
    oid: u32,
    offset: i64,
    held: BytesMut,
}

impl Object {
    fn push(
        &mut self,
        bytes: &[u8],
        out: &mut impl FnMut(Slice) -> io::Result<()>,
    ) -> io::Result<()> {
        self.held.extend_from_slice(bytes);
        while self.held.len() >= PAGES {
            let bytes = self.held.split_to(PAGES).freeze();
            self.slice(bytes, out)?;
        }
        Ok(())
    }

    fn end(&mut self, out: &mut impl FnMut(Slice) -> io::Result<()>) -> io::Result<()> {
        let rest = take(&mut self.held).freeze();
        if rest.is_empty() { Ok(()) } else { self.slice(rest, out) }
    }

    fn slice(
        &mut self,
        bytes: Bytes,
        out: &mut impl FnMut(Slice) -> io::Result<()>,
    ) -> io::Result<()> {
        let offset = self.offset;
        self.offset += i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        out(Slice { oid: self.oid, offset, bytes })
    }
}

#[derive(Default)]
struct Batch {
    slices: Vec<Slice>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, slice: Slice, give: &impl Fn(Piece) -> io::Result<()>) -> io::Result<()> {
        self.bytes += slice.bytes.len();
        self.slices.push(slice);
        if self.bytes >= PART || self.slices.len() >= MANY {
            self.bytes = 0;
            give(Piece::Objects(take(&mut self.slices)))?;
        }
        Ok(())
    }

    fn end(self, give: &impl Fn(Piece) -> io::Result<()>) -> io::Result<()> {
        if self.slices.is_empty() { Ok(()) } else { give(Piece::Objects(self.slices)) }
    }
}

//! The stored stream as blocking code reads it, and the data blocks in it.

use crate::toc::parse_int;
use bytes::{Buf, Bytes};
use std::io::{self, Read};
use tokio::sync::mpsc;

/// A stream of chunks as a reader. It must end with an empty chunk: a channel that just closes is a broken stream.
pub(crate) struct ChunkReader {
    from: mpsc::Receiver<io::Result<Bytes>>,
    now: Bytes,
    ended: bool,
}

impl ChunkReader {
    /// A reader of `from`, for a thread that may block.
    pub(crate) fn new(from: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Self { from, now: Bytes::new(), ended: false }
    }

    /// What can be read without waiting, at most `most` bytes; waits when there is nothing. Empty at the clean end.
    pub(crate) fn read_available(&mut self, most: u64) -> io::Result<Bytes> {
        while self.now.is_empty() && !self.ended {
            match self.from.blocking_recv() {
                Some(Ok(bytes)) if bytes.is_empty() => self.ended = true,
                Some(Ok(bytes)) => self.now = bytes,
                Some(Err(e)) => return Err(e),
                None => return Err(truncated_stream_error("the stream broke off before its end")),
            }
        }
        let length = usize::try_from(most).unwrap_or(usize::MAX).min(self.now.len());
        Ok(self.now.split_to(length))
    }

    /// As [`ChunkReader::read_available`], where the end of the stream is an error.
    fn read_required(&mut self, most: u64) -> io::Result<Bytes> {
        let bytes = self.read_available(most)?;
        if bytes.is_empty() { Err(invalid_data("the archive ends too early")) } else { Ok(bytes) }
    }
}

fn truncated_stream_error(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, why)
}

impl Read for ChunkReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut got = self.read_available(buf.len() as u64)?;
        let length = got.len();
        got.copy_to_slice(&mut buf[..length]);
        Ok(length)
    }
}

/// The archive after its table of contents.
pub(crate) struct DataBlockReader {
    source: ChunkReader,
    int_size: usize,
}

/// The start of a data block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DataBlockHeader {
    /// Whether large objects follow, each with its own number and chunks.
    pub(crate) is_large_objects: bool,
    /// The entry that the block belongs to.
    pub(crate) dump_id: i32,
}

impl DataBlockReader {
    /// The blocks of an archive whose integers have `int_size` bytes.
    pub(crate) fn new(source: ChunkReader, int_size: u8) -> Self {
        Self { source, int_size: usize::from(int_size).min(8) }
    }

    /// The next block, or `None` at the clean end of the archive.
    pub(crate) fn next_header(&mut self) -> io::Result<Option<DataBlockHeader>> {
        let kind = self.source.read_available(1)?;
        let large = match kind.first() {
            None => return Ok(None),
            Some(1) => false,
            Some(3) => true,
            Some(other) => {
                return Err(invalid_data(&format!("a data block of the unknown kind {other}")));
            }
        };
        let dump_id = self.read_int()?;
        let dump_id = i32::try_from(dump_id).map_err(|_| invalid_data("a data block's number"))?;
        Ok(Some(DataBlockHeader { is_large_objects: large, dump_id }))
    }

    /// The next large object's number, `None` after the last one of the block.
    pub(crate) fn next_object_oid(&mut self) -> io::Result<Option<u32>> {
        // pg_dump writes it as a signed integer: the upper half of all numbers are negative ones.
        let oid = self.read_int()?;
        let signed = i32::try_from(oid).map(i32::cast_unsigned);
        let oid = signed
            .or_else(|_| u32::try_from(oid))
            .map_err(|_| invalid_data("a large object's number"))?;
        Ok(Some(oid).filter(|o| *o != 0))
    }

    /// Gives the chunks up to the mark of their end to `each`.
    pub(crate) fn for_each_chunk(
        &mut self,
        each: &mut impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        loop {
            let length = self.read_int()?;
            let mut left =
                u64::try_from(length).map_err(|_| invalid_data("a chunk of negative length"))?;
            if left == 0 {
                return Ok(());
            }
            while left > 0 {
                let bytes = self.source.read_required(left)?;
                left -= bytes.len() as u64;
                each(&bytes)?;
            }
        }
    }

    fn read_int(&mut self) -> io::Result<i64> {
        let mut bytes = [0; 9];
        let length = 1 + self.int_size;
        // pg_dump -Z0 writes a chunk for each row, so this is as hot as a row: no general reader here.
        if self.source.now.len() >= length {
            self.source.now.copy_to_slice(&mut bytes[..length]);
        } else {
            self.source.read_exact(&mut bytes[..length]).map_err(|e| match e.kind() {
                // The stream came to its clean end: what is missing was never in it.
                io::ErrorKind::UnexpectedEof if self.source.ended => {
                    invalid_data("the archive ends too early")
                }
                _ => e,
            })?;
        }
        parse_int(&bytes[..length]).ok_or_else(|| invalid_data("an integer out of range"))
    }
}

/// An error of what the archive would do, as opposed to of what it is: [`super::judge`].
pub(crate) fn forbidden_error(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

/// An error of what the archive says, as opposed to of how it was read.
pub(crate) fn invalid_data(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

//! Writes what follows the table of contents of a custom archive: data blocks, in pieces for the channel.
//!
//! A block is its type, the number of its entry, chunks (length and bytes) and a zero length:
//! <https://github.com/postgres/postgres/blob/master/src/bin/pg_dump/pg_backup_custom.c>

use super::fingerprint::Fingerprint;
use crate::{Error, Kind, server::BLOCK};
use bytes::Bytes;
use flate2::{Compression, write::ZlibEncoder};
use std::io::{self, Write as _};
use tokio::sync::mpsc;

/// Pieces below this are put together.
const SMALL: usize = 64 << 10;

const DATA: u8 = 1;
const OBJECTS: u8 = 3;

/// The end of a table's COPY text, as `pg_dump` writes it into its archives too.
const END_OF_COPY: &[u8] = b"\\.\n\n\n";

/// What is sent when nobody takes it.
pub(super) fn gone() -> Error {
    let mend = "see why the receiving end stopped";
    Error::new(Kind::Lost, "hand over the dump", "nobody takes its bytes any more", mend)
}

/// The writing end of an archive.
pub(super) struct Emitter {
    out: mpsc::Sender<io::Result<Bytes>>,
    /// Bytes of an integer's magnitude.
    int: usize,
    level: Option<u32>,
    zlib: Option<ZlibEncoder<Vec<u8>>>,
    fingerprint: Option<Fingerprint>,
    pending: Vec<u8>,
}

impl Emitter {
    pub(super) fn new(
        out: mpsc::Sender<io::Result<Bytes>>,
        int_size: u8,
        level: Option<u32>,
        fingerprint: Option<Fingerprint>,
    ) -> Self {
        let int = usize::from(int_size);
        Self { out, int, level, zlib: None, fingerprint, pending: Vec::new() }
    }

    /// Bytes that [`Self::data`] needs free at the front of a block.
    pub(super) fn room(int_size: u8) -> usize {
        1 + usize::from(int_size)
    }

    /// Bytes as they are: the head of the archive.
    pub(super) async fn raw(&mut self, mut bytes: Bytes) -> Result<(), Error> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(BLOCK));
            self.send(piece).await?;
        }
        Ok(())
    }

    pub(super) async fn begin_data(&mut self, dump_id: i32) -> Result<(), Error> {
        self.pending.push(DATA);
        self.number(dump_id);
        self.begin_stream();
        self.full().await
    }

    pub(super) async fn end_data(&mut self) -> Result<(), Error> {
        let mut block = vec![0; 1 + self.int];
        block.extend_from_slice(END_OF_COPY);
        self.data(block).await?;
        self.end_stream().await
    }

    pub(super) fn begin_objects(&mut self, dump_id: i32) {
        self.pending.push(OBJECTS);
        self.number(dump_id);
    }

    /// The number of what follows.
    fn number(&mut self, number: i32) {
        self.integer(number);
        if let Some(fingerprint) = &mut self.fingerprint {
            fingerprint.part(number);
        }
    }

    pub(super) async fn begin_object(&mut self, oid: u32) -> Result<(), Error> {
        self.number(oid.cast_signed()); // as pg_dump does; readers cast it back
        self.begin_stream();
        self.full().await
    }

    pub(super) async fn end_objects(&mut self) -> Result<(), Error> {
        self.integer(0);
        self.full().await
    }

    fn begin_stream(&mut self) {
        self.zlib = self.level.map(|l| ZlibEncoder::new(Vec::new(), Compression::new(l)));
    }

    /// Ends a table's or an object's bytes.
    pub(super) async fn end_stream(&mut self) -> Result<(), Error> {
        if let Some(zlib) = self.zlib.take() {
            let rest = tokio::task::spawn_blocking(move || zlib.finish()).await;
            let rest = rest.map_err(|e| broken(&e))?.map_err(|e| broken(&e))?;
            if !rest.is_empty() {
                self.integer(i32::try_from(rest.len()).map_err(|e| broken(&e))?);
                self.pending.extend_from_slice(&rest);
            }
        }
        self.integer(0);
        self.full().await
    }

    /// A block of data with [`Self::room`] free bytes at its front.
    pub(super) async fn data(&mut self, mut block: Vec<u8>) -> Result<(), Error> {
        let room = 1 + self.int;
        if let Some(mut fingerprint) = self.fingerprint.take() {
            let hashed = tokio::task::spawn_blocking(move || {
                fingerprint.data(&block[room..]);
                (fingerprint, block)
            });
            let (fingerprint, same) = hashed.await.map_err(|e| broken(&e))?;
            self.fingerprint = Some(fingerprint);
            block = same;
        }
        if let Some(mut zlib) = self.zlib.take() {
            // Not on the thread that reads the sockets.
            let packed =
                tokio::task::spawn_blocking(move || zlib.write_all(&block[room..]).map(|()| zlib));
            let mut zlib = packed.await.map_err(|e| broken(&e))?.map_err(|e| broken(&e))?;
            if zlib.get_ref().len() >= SMALL {
                let chunk = std::mem::take(zlib.get_mut());
                self.integer(i32::try_from(chunk.len()).map_err(|e| broken(&e))?);
                self.flush().await?;
                self.send(chunk.into()).await?;
            }
            self.zlib = Some(zlib);
            return Ok(());
        }
        let length = block.len() - room;
        if length == 0 {
            return Ok(()); // a chunk without bytes would be the end
        }
        let size = i32::try_from(length).map_err(|e| broken(&e))?;
        if length < SMALL / 2 {
            self.integer(size);
            self.pending.extend_from_slice(&block[room..]);
            return self.full().await;
        }
        block[..room].fill(0);
        block[1..5.min(room)].copy_from_slice(&size.to_le_bytes()[..4.min(self.int)]);
        self.flush().await?;
        self.send(block.into()).await
    }

    fn integer(&mut self, value: i32) {
        self.pending.push(u8::from(value < 0));
        let magnitude = u64::from(value.unsigned_abs()).to_le_bytes();
        self.pending.extend_from_slice(&magnitude[..self.int]);
    }

    async fn full(&mut self) -> Result<(), Error> {
        if self.pending.len() >= SMALL { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Error> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.pending);
        self.send(piece.into()).await
    }

    async fn send(&self, piece: Bytes) -> Result<(), Error> {
        self.out.send(Ok(piece)).await.map_err(|_| gone())
    }

    /// All was written; what follows is the mark of a clean end.
    pub(super) async fn finish(mut self) -> Result<Option<Fingerprint>, Error> {
        self.flush().await?;
        Ok(self.fingerprint)
    }
}

fn broken(e: &dyn std::fmt::Display) -> Error {
    Error::new(Kind::Data, "write the archive", e.to_string(), "")
}

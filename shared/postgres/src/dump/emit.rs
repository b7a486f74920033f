//! Writes what follows the table of contents of a custom archive: data blocks, in pieces for the channel.
//!
//! A block is its type, the number of its entry, chunks (length and bytes) and a zero length:
//! <https://github.com/postgres/postgres/blob/master/src/bin/pg_dump/pg_backup_custom.c>

use super::fingerprint::DumpFingerprint;
use crate::{PostgresError, PostgresErrorKind, server::BLOCK_BYTES};
use bytes::Bytes;
use flate2::{Compression, write::ZlibEncoder};
use std::io::{self, Write as _};
use tokio::sync::mpsc;

/// Pieces below this are put together.
const MIN_CHUNK_BYTES: usize = 64 << 10;

const BLK_DATA: u8 = 1;
const BLK_BLOBS: u8 = 3;

/// The end of a table's COPY text, as `pg_dump` writes it into its archives too.
const END_OF_COPY: &[u8] = b"\\.\n\n\n";

/// What is sent when nobody takes it.
pub(super) fn receiver_closed_error() -> PostgresError {
    let hint = "see why the receiving end stopped";
    PostgresError::new(
        PostgresErrorKind::Lost,
        "hand over the dump",
        "nobody takes its bytes any more",
        hint,
    )
}

/// The writing end of an archive.
pub(super) struct ArchiveWriter {
    out: mpsc::Sender<io::Result<Bytes>>,
    /// Bytes of an integer's magnitude.
    int_size: usize,
    level: Option<u32>,
    zlib: Option<ZlibEncoder<Vec<u8>>>,
    fingerprint: Option<DumpFingerprint>,
    pending: Vec<u8>,
}

impl ArchiveWriter {
    pub(super) fn new(
        out: mpsc::Sender<io::Result<Bytes>>,
        int_size: u8,
        level: Option<u32>,
        fingerprint: Option<DumpFingerprint>,
    ) -> Self {
        let int = usize::from(int_size);
        Self { out, int_size: int, level, zlib: None, fingerprint, pending: Vec::new() }
    }

    /// Bytes that [`Self::write_data`] needs free at the front of a block.
    pub(super) fn block_header_len(int_size: u8) -> usize {
        1 + usize::from(int_size)
    }

    /// Bytes as they are: the head of the archive.
    pub(super) async fn write_raw(&mut self, mut bytes: Bytes) -> Result<(), PostgresError> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(BLOCK_BYTES));
            self.send(piece).await?;
        }
        Ok(())
    }

    pub(super) async fn begin_data(&mut self, dump_id: i32) -> Result<(), PostgresError> {
        self.pending.push(BLK_DATA);
        self.write_number(dump_id);
        self.begin_stream();
        self.flush_if_full().await
    }

    pub(super) async fn end_data(&mut self) -> Result<(), PostgresError> {
        let mut block = vec![0; 1 + self.int_size];
        block.extend_from_slice(END_OF_COPY);
        self.write_data(block).await?;
        self.end_stream().await
    }

    pub(super) fn begin_objects(&mut self, dump_id: i32) {
        self.pending.push(BLK_BLOBS);
        self.write_number(dump_id);
    }

    /// The number of what follows.
    fn write_number(&mut self, number: i32) {
        self.write_integer(number);
        if let Some(fingerprint) = &mut self.fingerprint {
            fingerprint.begin_part(number);
        }
    }

    pub(super) async fn begin_object(&mut self, oid: u32) -> Result<(), PostgresError> {
        self.write_number(oid.cast_signed()); // as pg_dump does; readers cast it back
        self.begin_stream();
        self.flush_if_full().await
    }

    pub(super) async fn end_objects(&mut self) -> Result<(), PostgresError> {
        self.write_integer(0);
        self.flush_if_full().await
    }

    fn begin_stream(&mut self) {
        self.zlib = self.level.map(|l| ZlibEncoder::new(Vec::new(), Compression::new(l)));
    }

    /// Ends a table's or an object's bytes.
    pub(super) async fn end_stream(&mut self) -> Result<(), PostgresError> {
        if let Some(zlib) = self.zlib.take() {
            let rest = tokio::task::spawn_blocking(move || zlib.finish()).await;
            let rest = rest.map_err(|e| write_error(&e))?.map_err(|e| write_error(&e))?;
            if !rest.is_empty() {
                self.write_integer(i32::try_from(rest.len()).map_err(|e| write_error(&e))?);
                self.pending.extend_from_slice(&rest);
            }
        }
        self.write_integer(0);
        self.flush_if_full().await
    }

    /// A block of data with [`Self::block_header_len`] free bytes at its front.
    pub(super) async fn write_data(&mut self, mut block: Vec<u8>) -> Result<(), PostgresError> {
        let room = 1 + self.int_size;
        if let Some(mut fingerprint) = self.fingerprint.take() {
            let hashed = tokio::task::spawn_blocking(move || {
                fingerprint.update(&block[room..]);
                (fingerprint, block)
            });
            let (fingerprint, same) = hashed.await.map_err(|e| write_error(&e))?;
            self.fingerprint = Some(fingerprint);
            block = same;
        }
        if let Some(mut zlib) = self.zlib.take() {
            // Not on the thread that reads the sockets.
            let packed =
                tokio::task::spawn_blocking(move || zlib.write_all(&block[room..]).map(|()| zlib));
            let mut zlib =
                packed.await.map_err(|e| write_error(&e))?.map_err(|e| write_error(&e))?;
            if zlib.get_ref().len() >= MIN_CHUNK_BYTES {
                let chunk = std::mem::take(zlib.get_mut());
                self.write_integer(i32::try_from(chunk.len()).map_err(|e| write_error(&e))?);
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
        let size = i32::try_from(length).map_err(|e| write_error(&e))?;
        if length < MIN_CHUNK_BYTES / 2 {
            self.write_integer(size);
            self.pending.extend_from_slice(&block[room..]);
            return self.flush_if_full().await;
        }
        block[..room].fill(0);
        block[1..5.min(room)].copy_from_slice(&size.to_le_bytes()[..4.min(self.int_size)]);
        self.flush().await?;
        self.send(block.into()).await
    }

    fn write_integer(&mut self, value: i32) {
        self.pending.push(u8::from(value < 0));
        let magnitude = u64::from(value.unsigned_abs()).to_le_bytes();
        self.pending.extend_from_slice(&magnitude[..self.int_size]);
    }

    async fn flush_if_full(&mut self) -> Result<(), PostgresError> {
        if self.pending.len() >= MIN_CHUNK_BYTES { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), PostgresError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.pending);
        self.send(piece.into()).await
    }

    async fn send(&self, piece: Bytes) -> Result<(), PostgresError> {
        self.out.send(Ok(piece)).await.map_err(|_| receiver_closed_error())
    }

    /// All was written; what follows is the mark of a clean end.
    pub(super) async fn finish(mut self) -> Result<Option<DumpFingerprint>, PostgresError> {
        self.flush().await?;
        Ok(self.fingerprint)
    }
}

fn write_error(e: &dyn std::fmt::Display) -> PostgresError {
    PostgresError::new(PostgresErrorKind::Data, "write the archive", e.to_string(), "")
}

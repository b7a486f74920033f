//! Channels between async tasks and the threads that compress; the rules are in the [crate's documentation](crate).
//!
//! [`PipeWriter`], [`PipeReader`], [`encode_stream`] and [`decode_stream`] block: they belong into `spawn_blocking` or a thread of their
//! own, and panic in an async task.

use crate::{
    ArchiveDecoder, ArchiveDigests, ArchiveEncoder, ArchiveError, DecryptionKeys, EncodingLayers,
    EncodingOptions,
};
use bytes::{Bytes, BytesMut};
use std::io::{self, Read, Write};
use tokio::sync::mpsc;

/// The size of a piece, in bytes: large enough that the hand-over between threads costs nothing beside the work.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// What sends a stream.
pub type ChunkSender = mpsc::Sender<io::Result<Bytes>>;
/// What receives a stream.
pub type ChunkReceiver = mpsc::Receiver<io::Result<Bytes>>;

/// A bounded channel of `depth` pieces: at most `depth` x 256 KiB wait in it.
pub fn chunk_channel(depth: usize) -> (ChunkSender, ChunkReceiver) {
    mpsc::channel(depth)
}

/// Sends a piece of any size; an empty one is dropped, since it would be the end.
pub async fn send_chunk(to: &ChunkSender, piece: Bytes) -> io::Result<()> {
    if piece.is_empty() {
        return Ok(());
    }
    to.send(Ok(piece)).await.map_err(|_| receiver_closed_error())
}

/// Sends the end: everything before it is whole.
pub async fn send_end(to: &ChunkSender) -> io::Result<()> {
    to.send(Ok(Bytes::new())).await.map_err(|_| receiver_closed_error())
}

/// Sends a failure, the last item of a stream. A receiver that has gone already is not a second failure.
pub async fn send_error(to: &ChunkSender, why: io::Error) {
    let _ = to.send(Err(why)).await;
}

/// The next piece, or `None` at the end. Do not call it again after the end or an error.
pub async fn recv_chunk(from: &mut ChunkReceiver) -> io::Result<Option<Bytes>> {
    unwrap_chunk(from.recv().await)
}

fn unwrap_chunk(received: Option<io::Result<Bytes>>) -> io::Result<Option<Bytes>> {
    let piece = received.ok_or_else(sender_closed_error)??;
    Ok((!piece.is_empty()).then_some(piece))
}

fn receiver_closed_error() -> io::Error {
    io::Error::new(
        io::ErrorKind::BrokenPipe,
        "the receiver of the stream has stopped; its own error says why",
    )
}

fn sender_closed_error() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the stream stopped before its end; the error of what sent it says why",
    )
}

/// Writes into a channel, in pieces of [`CHUNK_BYTES`]. Dropped without [`finish`](Self::finish) it sends no end, so that the
/// receiver sees a failure.
#[derive(Debug)]
pub struct PipeWriter {
    to: ChunkSender,
    piece: BytesMut,
}

impl PipeWriter {
    /// Into this channel.
    pub fn new(to: ChunkSender) -> Self {
        Self { to, piece: BytesMut::new() }
    }

    /// Sends what is left, and the end.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush_chunk()?;
        self.to.blocking_send(Ok(Bytes::new())).map_err(|_| receiver_closed_error())
    }

    /// Sends a failure in place of what is left.
    pub fn finish_with_error(self, why: io::Error) {
        let _ = self.to.blocking_send(Err(why));
    }

    /// The end of a success, the failure of a failure.
    fn finish_with_result(
        self,
        done: Result<ArchiveDigests, ArchiveError>,
    ) -> Result<ArchiveDigests, ArchiveError> {
        match done {
            Ok(sums) => self.finish().map(|()| sums).map_err(ArchiveError::from),
            Err(e) => {
                self.finish_with_error(e.duplicate().into());
                Err(e)
            }
        }
    }

    fn flush_chunk(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        self.to.blocking_send(Ok(self.piece.split().freeze())).map_err(|_| receiver_closed_error())
    }
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.capacity() == 0 {
            self.piece.reserve(CHUNK_BYTES);
        }
        let n = bytes.len().min(CHUNK_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..n]);
        if self.piece.len() == CHUNK_BYTES {
            self.flush_chunk()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flush_chunk()
    }
}

/// Reads from a channel. Its end is the stream's end; a channel closed without one is an error, and errors stay.
#[derive(Debug)]
pub struct PipeReader {
    from: ChunkReceiver,
    piece: Bytes,
    outcome: Option<Result<(), (io::ErrorKind, String)>>,
}

impl PipeReader {
    /// From this channel.
    pub fn new(from: ChunkReceiver) -> Self {
        Self { from, piece: Bytes::new(), outcome: None }
    }
}

impl Read for PipeReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() && !out.is_empty() {
            match &self.outcome {
                Some(Ok(())) => return Ok(0),
                Some(Err((kind, why))) => return Err(io::Error::new(*kind, why.clone())),
                None => {}
            }
            match unwrap_chunk(self.from.blocking_recv()) {
                Ok(Some(piece)) => self.piece = piece,
                Ok(None) => self.outcome = Some(Ok(())),
                Err(e) => {
                    self.outcome = Some(Err((e.kind(), e.to_string())));
                    return Err(e);
                }
            }
        }
        let n = self.piece.len().min(out.len());
        out[..n].copy_from_slice(&self.piece.split_to(n));
        Ok(n)
    }
}

/// Encodes one stream into another. After an error the receiver of `to` is told, so that it gives up what it has begun.
pub fn encode_stream(
    mut from: ChunkReceiver,
    recipe: &EncodingOptions,
    to: ChunkSender,
) -> Result<ArchiveDigests, ArchiveError> {
    let mut writer = PipeWriter::new(to);
    let mut work = || {
        let mut encoder = ArchiveEncoder::new(&mut writer, recipe)?;
        while let Some(piece) = unwrap_chunk(from.blocking_recv())? {
            encoder.write_all(&piece)?;
        }
        Ok(encoder.finish()?.1)
    };
    let done = work();
    writer.finish_with_result(done)
}

/// What a decoded stream is held against.
#[derive(Clone, Copy, Debug)]
pub enum ExpectedDigests<'a> {
    /// Nothing: there is no manifest.
    Nothing,
    /// Both sums of a manifest.
    Both(&'a ArchiveDigests),
    /// The stored bytes' sum; the plain ones' only where no checksum of the compression says the same for less work.
    Stored(&'a ArchiveDigests),
}

/// Decodes one stream into another, and sends the end only when the archive is whole and what it is held `against`.
/// After an error the receiver of `to` is told.
pub fn decode_stream(
    from: ChunkReceiver,
    layers: &EncodingLayers,
    keys: &DecryptionKeys,
    against: ExpectedDigests<'_>,
    to: ChunkSender,
) -> Result<ArchiveDigests, ArchiveError> {
    let mut writer = PipeWriter::new(to);
    let work = || {
        let mut decoder = ArchiveDecoder::new(PipeReader::new(from), layers, keys)?;
        if matches!(against, ExpectedDigests::Stored(_)) {
            decoder = decoder.without_plaintext_hash();
        }
        let mut piece = vec![0; CHUNK_BYTES];
        loop {
            let n = decoder.read(&mut piece)?;
            if n == 0 {
                break;
            }
            writer.write_all(&piece[..n])?;
        }
        match against {
            ExpectedDigests::Nothing => decoder.finish(),
            ExpectedDigests::Both(sums) | ExpectedDigests::Stored(sums) => {
                decoder.finish_and_verify(sums)
            }
        }
    };
    let done = work();
    writer.finish_with_result(done)
}

#[cfg(test)]
mod tests;

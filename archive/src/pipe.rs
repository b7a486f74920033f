//! Channels between async tasks and the threads that compress; the rules are in the [crate's documentation](crate).
//!
//! [`PipeWriter`], [`PipeReader`], [`encode`] and [`decode`] block: they belong into `spawn_blocking` or a thread of their
//! own, and panic in an async task.

use crate::{Decoder, Encoder, Error, Keys, Layers, Recipe, Sums};
use bytes::{Bytes, BytesMut};
use std::io::{self, Read, Write};
use tokio::sync::mpsc;

/// The size of a piece, in bytes: large enough that the hand-over between threads costs nothing beside the work.
pub const PIECE: usize = 256 * 1024;

/// What sends a stream.
pub type Sender = mpsc::Sender<io::Result<Bytes>>;
/// What receives a stream.
pub type Receiver = mpsc::Receiver<io::Result<Bytes>>;

/// A bounded channel of `depth` pieces: at most `depth` x 256 KiB wait in it.
pub fn channel(depth: usize) -> (Sender, Receiver) {
    mpsc::channel(depth)
}

/// Sends a piece of any size; an empty one is dropped, since it would be the end.
pub async fn send(to: &Sender, piece: Bytes) -> io::Result<()> {
    if piece.is_empty() {
        return Ok(());
    }
    to.send(Ok(piece)).await.map_err(|_| receiver_gone())
}

/// Sends the end: everything before it is whole.
pub async fn end(to: &Sender) -> io::Result<()> {
    to.send(Ok(Bytes::new())).await.map_err(|_| receiver_gone())
}

/// Sends a failure, the last item of a stream. A receiver that has gone already is not a second failure.
pub async fn fail(to: &Sender, why: io::Error) {
    let _ = to.send(Err(why)).await;
}

/// The next piece, or `None` at the end. Do not call it again after the end or an error.
pub async fn next(from: &mut Receiver) -> io::Result<Option<Bytes>> {
    item(from.recv().await)
}

fn item(received: Option<io::Result<Bytes>>) -> io::Result<Option<Bytes>> {
    let piece = received.ok_or_else(sender_gone)??;
    Ok((!piece.is_empty()).then_some(piece))
}

fn receiver_gone() -> io::Error {
    io::Error::new(
        io::ErrorKind::BrokenPipe,
        "the receiver of the stream has stopped; its own error says why",
    )
}

fn sender_gone() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the stream stopped before its end; the error of what sent it says why",
    )
}

/// Writes into a channel, in pieces of [`PIECE`]. Dropped without [`finish`](Self::finish) it sends no end, so that the
/// receiver sees a failure.
#[derive(Debug)]
pub struct PipeWriter {
    to: Sender,
    piece: BytesMut,
}

impl PipeWriter {
    /// Into this channel.
    pub fn new(to: Sender) -> Self {
        Self { to, piece: BytesMut::new() }
    }

    /// Sends what is left, and the end.
    pub fn finish(mut self) -> io::Result<()> {
        self.pass_on()?;
        self.to.blocking_send(Ok(Bytes::new())).map_err(|_| receiver_gone())
    }

    /// Sends a failure in place of what is left.
    pub fn fail(self, why: io::Error) {
        let _ = self.to.blocking_send(Err(why));
    }

    /// The end of a success, the failure of a failure.
    fn close(self, done: Result<Sums, Error>) -> Result<Sums, Error> {
        match done {
            Ok(sums) => self.finish().map(|()| sums).map_err(Error::from),
            Err(e) => {
                self.fail(e.again().into());
                Err(e)
            }
        }
    }

    fn pass_on(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        self.to.blocking_send(Ok(self.piece.split().freeze())).map_err(|_| receiver_gone())
    }
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.capacity() == 0 {
            self.piece.reserve(PIECE);
        }
        let n = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..n]);
        if self.piece.len() == PIECE {
            self.pass_on()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pass_on()
    }
}

/// Reads from a channel. Its end is the stream's end; a channel closed without one is an error, and errors stay.
#[derive(Debug)]
pub struct PipeReader {
    from: Receiver,
    piece: Bytes,
    over: Option<Result<(), (io::ErrorKind, String)>>,
}

impl PipeReader {
    /// From this channel.
    pub fn new(from: Receiver) -> Self {
        Self { from, piece: Bytes::new(), over: None }
    }
}

impl Read for PipeReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() && !out.is_empty() {
            match &self.over {
                Some(Ok(())) => return Ok(0),
                Some(Err((kind, why))) => return Err(io::Error::new(*kind, why.clone())),
                None => {}
            }
            match item(self.from.blocking_recv()) {
                Ok(Some(piece)) => self.piece = piece,
                Ok(None) => self.over = Some(Ok(())),
                Err(e) => {
                    self.over = Some(Err((e.kind(), e.to_string())));
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
pub fn encode(mut from: Receiver, recipe: &Recipe, to: Sender) -> Result<Sums, Error> {
    let mut writer = PipeWriter::new(to);
    let mut work = || {
        let mut encoder = Encoder::new(&mut writer, recipe)?;
        while let Some(piece) = item(from.blocking_recv())? {
            encoder.write_all(&piece)?;
        }
        Ok(encoder.finish()?.1)
    };
    let done = work();
    writer.close(done)
}

/// What a decoded stream is held against.
#[derive(Clone, Copy, Debug)]
pub enum Against<'a> {
    /// Nothing: there is no manifest.
    Nothing,
    /// Both sums of a manifest.
    Both(&'a Sums),
    /// The stored bytes' sum; the plain ones' only where no checksum of the compression says the same for less work.
    Stored(&'a Sums),
}

/// Decodes one stream into another, and sends the end only when the archive is whole and what it is held `against`.
/// After an error the receiver of `to` is told.
pub fn decode(
    from: Receiver,
    layers: &Layers,
    keys: &Keys,
    against: Against<'_>,
    to: Sender,
) -> Result<Sums, Error> {
    let mut writer = PipeWriter::new(to);
    let work = || {
        let mut decoder = Decoder::new(PipeReader::new(from), layers, keys)?;
        if matches!(against, Against::Stored(_)) {
            decoder = decoder.lean();
        }
        let mut piece = vec![0; PIECE];
        loop {
            let n = decoder.read(&mut piece)?;
            if n == 0 {
                break;
            }
            writer.write_all(&piece[..n])?;
        }
        match against {
            Against::Nothing => decoder.finish(),
            Against::Both(sums) | Against::Stored(sums) => decoder.matches(sums),
        }
    };
    let done = work();
    writer.close(done)
}

#[cfg(test)]
mod tests;

//! The bytes of an RDB file, piece by piece: numbers and strings are taken from them, all of them are hashed and passed on.

use super::{StreamFraming, WalkError};
use bytes::Bytes;
use codec::pipe::{ChunkReceiver, ChunkSender};
use crc_fast::{CrcAlgorithm, Digest};

/// Compressed by LZF.
const ENCODING_LZF: u8 = 3;

/// A length, or how a string is encoded.
enum Prefix {
    Length(u64),
    Encoding(u8),
}

pub(super) struct RdbSource {
    from: ChunkReceiver,
    to: Option<ChunkSender>,
    piece: Bytes,
    at: usize,
    hashed: usize,
    before: u64,
    crc: Digest,
}

impl RdbSource {
    pub(super) fn new(from: ChunkReceiver, to: Option<ChunkSender>) -> Self {
        let crc = Digest::new(CrcAlgorithm::Crc64Redis);
        Self { from, to, piece: Bytes::new(), at: 0, hashed: 0, before: 0, crc }
    }

    /// Bytes that were read.
    pub(super) fn position(&self) -> u64 {
        self.before + self.at as u64
    }

    /// The CRC64 of all bytes that were read.
    pub(super) fn checksum(&mut self) -> u64 {
        self.hash();
        self.crc.finalize()
    }

    fn hash(&mut self) {
        self.crc.update(&self.piece[self.hashed..self.at]);
        self.hashed = self.at;
    }

    /// Passes what was read of this piece on, and takes the next one; false at the clean end.
    fn next_piece(&mut self) -> Result<bool, WalkError> {
        self.hash();
        self.pass_on()?;
        match self.from.blocking_recv() {
            None => Err(WalkError::Cut("the stream stopped before its end".into())),
            Some(Err(e)) => Err(WalkError::Cut(e.to_string())),
            Some(Ok(piece)) => {
                self.before += self.at as u64;
                let more = !piece.is_empty();
                (self.piece, self.at, self.hashed) = (piece, 0, 0);
                Ok(more)
            }
        }
    }

    fn pass_on(&mut self) -> Result<(), WalkError> {
        let Some(to) = &self.to else { return Ok(()) };
        let read = self.piece.slice(..self.at);
        if read.is_empty() {
            return Ok(());
        }
        to.blocking_send(Ok(read)).map_err(|_| WalkError::Closed)
    }

    /// Makes sure that a byte is there.
    fn ensure(&mut self) -> Result<(), WalkError> {
        while self.at == self.piece.len() {
            if !self.next_piece()? {
                return Err(WalkError::Damaged("it ends in the middle".into()));
            }
        }
        Ok(())
    }

    pub(super) fn byte(&mut self) -> Result<u8, WalkError> {
        self.ensure()?;
        let byte = self.piece[self.at];
        self.at += 1;
        Ok(byte)
    }

    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], WalkError> {
        let mut out = [0; N];
        if let Some(there) = self.piece.get(self.at..self.at + N) {
            out.copy_from_slice(there);
            self.at += N;
            return Ok(out);
        }
        for byte in &mut out {
            *byte = self.byte()?;
        }
        Ok(out)
    }

    pub(super) fn skip(&mut self, bytes: u64) -> Result<(), WalkError> {
        let mut left = bytes;
        while left > 0 {
            self.ensure()?;
            let there = (self.piece.len() - self.at) as u64;
            let step = there.min(left);
            self.at += usize::try_from(step).unwrap_or(0);
            left -= step;
        }
        Ok(())
    }

    /// The two first bits tell how long a length is.
    fn prefix(&mut self) -> Result<Prefix, WalkError> {
        let first = self.byte()?;
        Ok(match first >> 6 {
            0 => Prefix::Length(u64::from(first & 0x3F)),
            1 => Prefix::Length((u64::from(first & 0x3F) << 8) | u64::from(self.byte()?)),
            3 => Prefix::Encoding(first & 0x3F),
            _ => match first {
                0x80 => Prefix::Length(u64::from(u32::from_be_bytes(self.take()?))),
                0x81 => Prefix::Length(u64::from_be_bytes(self.take()?)),
                _ => return Err(WalkError::Damaged("a length in it is none".into())),
            },
        })
    }

    pub(super) fn length(&mut self) -> Result<u64, WalkError> {
        match self.prefix()? {
            Prefix::Length(n) => Ok(n),
            Prefix::Encoding(_) => Err(WalkError::Damaged("a length in it is none".into())),
        }
    }

    pub(super) fn skip_lengths(&mut self, count: u64) -> Result<(), WalkError> {
        (0..count).try_for_each(|_| self.length().map(drop))
    }

    pub(super) fn skip_string(&mut self) -> Result<(), WalkError> {
        match self.prefix()? {
            Prefix::Length(n) => self.skip(n),
            Prefix::Encoding(n @ 0..=2) => self.skip(1 << n),
            Prefix::Encoding(ENCODING_LZF) => {
                let packed = self.length()?;
                self.length()?;
                self.skip(packed)
            }
            Prefix::Encoding(_) => Err(WalkError::Damaged("a string in it is none".into())),
        }
    }

    pub(super) fn skip_strings(&mut self, count: u64) -> Result<(), WalkError> {
        (0..count).try_for_each(|_| self.skip_string())
    }

    /// A short string that is not compressed, as text; numbers as digits.
    pub(super) fn text(&mut self, most: u64) -> Result<String, WalkError> {
        match self.prefix()? {
            Prefix::Length(n) if n <= most => {
                let mut bytes = Vec::new();
                for _ in 0..n {
                    bytes.push(self.byte()?);
                }
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
            Prefix::Encoding(0) => Ok(i8::from_le_bytes(self.take()?).to_string()),
            Prefix::Encoding(1) => Ok(i16::from_le_bytes(self.take()?).to_string()),
            Prefix::Encoding(2) => Ok(i32::from_le_bytes(self.take()?).to_string()),
            Prefix::Encoding(ENCODING_LZF) => {
                let packed = self.length()?;
                self.length()?;
                self.skip(packed)?;
                Ok(String::new())
            }
            _ => Err(WalkError::Damaged("a field in its head is none".into())),
        }
    }

    /// Passes the last bytes of the file on and makes sure that nothing follows but what must; then sends the end.
    pub(super) fn finish(&mut self, framing: StreamFraming) -> Result<(), WalkError> {
        let bytes = self.position();
        // What follows is no part of the file.
        let to = self.to.take();
        let last = self.piece.slice(..self.at);
        if let Some(to) = to.as_ref().filter(|_| !last.is_empty()) {
            to.blocking_send(Ok(last)).map_err(|_| WalkError::Closed)?;
        }
        let trailing = || WalkError::Damaged("something follows its end".into());
        match framing {
            StreamFraming::Mark(mark) if self.take::<40>()? != mark => return Err(trailing()),
            StreamFraming::Length(n) if n != bytes => {
                let why = format!("it has {bytes} bytes, and {n} were announced");
                return Err(WalkError::Damaged(why));
            }
            StreamFraming::Mark(_) | StreamFraming::Length(_) => {}
            StreamFraming::File => {
                while self.at == self.piece.len() {
                    if !self.next_piece()? {
                        break;
                    }
                }
                if self.at < self.piece.len() {
                    return Err(trailing());
                }
            }
        }
        match to {
            Some(to) => to.blocking_send(Ok(Bytes::new())).map_err(|_| WalkError::Closed),
            None => Ok(()),
        }
    }
}

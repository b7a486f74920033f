//! Gzip, both ways.

use crate::ArchiveError;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use std::io::{self, BufRead, Write};

const BUFFER_BYTES: usize = 64 * 1024;
/// The largest window, what gzip itself uses.
const WINDOW_BITS: u8 = 15;

/// Gzip into a writer. Unlike `flate2::write::GzEncoder` it writes no trailer when it is dropped: half a dump
/// must not look whole.
pub(crate) struct GzipWriter<W> {
    inner: W,
    raw: Compress,
    buffer: Vec<u8>,
}

impl<W: Write> GzipWriter<W> {
    pub(crate) fn new(inner: W, level: u32) -> Self {
        let raw = Compress::new_gzip(Compression::new(level), WINDOW_BITS);
        Self { inner, raw, buffer: Vec::with_capacity(BUFFER_BYTES) }
    }

    pub(crate) fn finish(mut self) -> io::Result<W> {
        while self.compress_chunk(&[], FlushCompress::Finish)?.1 != Status::StreamEnd {}
        self.write_buffered()?;
        Ok(self.inner)
    }

    /// How much of `piece` was taken, and how the compressor stands.
    fn compress_chunk(
        &mut self,
        piece: &[u8],
        flush: FlushCompress,
    ) -> io::Result<(usize, Status)> {
        if self.buffer.len() == self.buffer.capacity() {
            self.write_buffered()?;
        }
        let before = self.raw.total_in();
        let status =
            self.raw.compress_vec(piece, &mut self.buffer, flush).map_err(io::Error::other)?;
        let taken = usize::try_from(self.raw.total_in() - before).map_err(io::Error::other)?;
        Ok((taken, status))
    }

    fn write_buffered(&mut self) -> io::Result<()> {
        self.inner.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let mut rest = piece;
        while !rest.is_empty() {
            let (taken, _) = self.compress_chunk(rest, FlushCompress::None)?;
            rest = &rest[taken..];
        }
        Ok(piece.len())
    }

    /// Passes on what is ready; a forced block border would only cost size.
    fn flush(&mut self) -> io::Result<()> {
        self.write_buffered()?;
        self.inner.flush()
    }
}

/// Undoes any number of members, one after the other, and notices a missing trailer.
pub(crate) struct GzipDecoder {
    raw: Decompress,
    /// A member has begun and not ended.
    within: bool,
    /// A member has ended.
    any: bool,
}

impl GzipDecoder {
    pub(crate) fn new() -> Self {
        Self { raw: Decompress::new_gzip(WINDOW_BITS), within: false, any: false }
    }

    pub(crate) fn read(&mut self, source: &mut impl BufRead, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let input = source.fill_buf()?;
            let ended = input.is_empty();
            if ended && !self.within {
                if self.any {
                    return Ok(0);
                }
                return Err(
                    ArchiveError::Damaged("it is empty where gzip data is due".into()).into()
                );
            }
            let (taken, made) = (self.raw.total_in(), self.raw.total_out());
            let status = match self.raw.decompress(input, out, FlushDecompress::None) {
                Ok(status) => status,
                // Eight bytes may pass before the header is refused, all of them within its first ten.
                Err(_) if self.any && self.raw.total_out() == 0 && taken < 10 => {
                    return Err(ArchiveError::Damaged(
                        "something that is no gzip member follows the end of its gzip data".into(),
                    )
                    .into());
                }
                Err(why) => {
                    return Err(ArchiveError::Damaged(format!(
                        "its gzip data can't be undone ({why})"
                    ))
                    .into());
                }
            };
            let used = usize::try_from(self.raw.total_in() - taken).map_err(io::Error::other)?;
            let made = usize::try_from(self.raw.total_out() - made).map_err(io::Error::other)?;
            source.consume(used);
            self.within |= used > 0;
            if status == Status::StreamEnd {
                self.raw = Decompress::new_gzip(WINDOW_BITS);
                (self.within, self.any) = (false, true);
            }
            if made > 0 {
                return Ok(made);
            }
            if ended && self.within {
                return Err(
                    ArchiveError::Damaged("its gzip data ends before its trailer".into()).into()
                );
            }
        }
    }
}

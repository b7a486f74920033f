//! Zstandard frames to plain bytes.

use crate::ArchiveError;
use std::io::{self, BufRead};
use zstd::zstd_safe::{DCtx, DParameter, ErrorCode, InBuffer, OutBuffer, get_error_name};

/// The largest window that is undone, as a power of two: 32 MiB, which is all that is held in memory. Levels up to 19 have
/// 8 MiB at most; a few bytes of a frame's header could ask for 2 GiB otherwise.
const MAX_WINDOW_LOG: u32 = 25;

/// `ZSTD_error_frameParameter_windowTooLarge`: its number is a promise of zstd since 1.3.1 (`lib/zstd_errors.h`), and libzstd
/// returns an error as its negative.
const WINDOW_TOO_LARGE: ErrorCode = 0_usize.wrapping_sub(16);

/// Undoes any number of frames, one after the other, and notices a missing end.
pub(crate) struct ZstdDecoder {
    raw: DCtx<'static>,
    /// A frame has begun and not ended.
    within: bool,
    /// A frame has ended.
    any: bool,
}

impl ZstdDecoder {
    pub(crate) fn new() -> io::Result<Self> {
        let failed = |code| io::Error::other(get_error_name(code));
        let mut raw = DCtx::create();
        raw.init().map_err(failed)?;
        raw.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG)).map_err(failed)?;
        Ok(Self { raw, within: false, any: false })
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
                    ArchiveError::Damaged("it is empty where zstd data is due".into()).into()
                );
            }
            let mut from = InBuffer::around(input);
            let mut to = OutBuffer::around(&mut *out);
            let hint = self.raw.decompress_stream(&mut to, &mut from);
            let hint = hint.map_err(|code| self.classify_error(code))?;
            let (used, made) = (from.pos(), to.pos());
            source.consume(used);
            self.within = hint != 0;
            self.any |= hint == 0;
            if made > 0 {
                return Ok(made);
            }
            if ended && self.within {
                return Err(ArchiveError::Damaged(
                    "its zstd data ends in the middle of a frame".into(),
                )
                .into());
            }
        }
    }

    fn classify_error(&self, code: ErrorCode) -> ArchiveError {
        if code == WINDOW_TOO_LARGE {
            return ArchiveError::Unsupported(format!(
                "its zstd window is larger than the {} MiB that are held here; undo it with zstd -dc --long=31",
                (1 << MAX_WINDOW_LOG) >> 20
            ));
        }
        ArchiveError::Damaged(if self.any && !self.within {
            "something that is no zstd frame follows the end of its zstd data".into()
        } else {
            format!("its zstd data can't be undone ({})", get_error_name(code))
        })
    }
}

//! Cuts COPY text at row ends, so that parts of one table can go through several connections.
//!
//! A raw newline always ends a row of COPY text: the server writes a newline in a value as `\n`.

use bytes::{Bytes, BytesMut};
use std::io;

/// About how much goes to one connection at a time, in bytes.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;

/// What `pg_dump` writes after the last row of a table.
const END_OF_COPY: &[u8] = b"\\.\n\n\n";

/// A part of a table's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowChunk {
    /// COPY text.
    pub(crate) bytes: Bytes,
    /// Whether it ends with the end of a row; the next part of the table follows on the same connection when not.
    pub(crate) ends_row: bool,
    /// Whether it is the last one of its table.
    pub(crate) is_last: bool,
}

/// Cuts one table's COPY text.
#[derive(Default)]
pub(crate) struct RowChunker {
    held: BytesMut,
}

impl RowChunker {
    /// Takes text in, and gives each part that is full to `out`.
    pub(crate) fn push(
        &mut self,
        mut text: &[u8],
        out: &mut impl FnMut(RowChunk) -> io::Result<()>,
    ) -> io::Result<()> {
        while !text.is_empty() {
            if self.held.capacity() - self.held.len() < text.len().min(CHUNK_BYTES) {
                self.held.reserve(CHUNK_BYTES + CHUNK_BYTES / 8);
            }
            let (now, later) = text.split_at(text.len().min(CHUNK_BYTES));
            self.held.extend_from_slice(now);
            text = later;
            if self.held.len() >= CHUNK_BYTES {
                // The end mark is never cut: as many bytes as it has stay here until the end is known.
                let most = self.held.len() - END_OF_COPY.len();
                let end = self.held[..most].iter().rposition(|b| *b == b'\n').map(|at| at + 1);
                let bytes = self.held.split_to(end.unwrap_or(most)).freeze();
                out(RowChunk { bytes, ends_row: end.is_some(), is_last: false })?;
            }
        }
        Ok(())
    }

    /// Gives the rest, without the end mark, to `out`.
    pub(crate) fn finish(
        mut self,
        out: &mut impl FnMut(RowChunk) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.held.ends_with(END_OF_COPY) {
            let length = self.held.len() - END_OF_COPY.len();
            // `\.` inside a row would be `\\.`: only one at the start of a line is the mark.
            if length == 0 || self.held[length - 1] == b'\n' {
                self.held.truncate(length);
            }
        }
        out(RowChunk { bytes: self.held.freeze(), ends_row: true, is_last: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(text: &[u8], step: usize) -> Vec<RowChunk> {
        let mut parts = Vec::new();
        let mut out = |p| {
            parts.push(p);
            Ok(())
        };
        let mut cutter = RowChunker::default();
        for piece in text.chunks(step.max(1)) {
            cutter.push(piece, &mut out).expect("nothing fails");
        }
        cutter.finish(&mut out).expect("nothing fails");
        parts
    }

    #[test]
    fn the_end_mark_never_reaches_the_server() {
        for step in [1, 3, 1000] {
            let parts = cut(b"1\ta\n2\tb\n\\.\n\n\n", step);
            assert_eq!(
                parts,
                [RowChunk { bytes: "1\ta\n2\tb\n".into(), ends_row: true, is_last: true }]
            );
            assert_eq!(cut(b"\\.\n\n\n", step)[0].bytes, "");
        }
    }

    #[test]
    fn a_row_larger_than_a_part_is_given_in_pieces() {
        let mut text = vec![b'x'; 3 * CHUNK_BYTES];
        text.extend_from_slice(b"\nshort\n\\.\n\n\n");
        let parts = cut(&text, 1 << 18);
        assert!(parts.iter().all(|p| p.bytes.len() <= 2 * CHUNK_BYTES));
        assert!(!parts[0].ends_row && parts.last().is_some_and(|p| p.is_last));
        let all: Vec<u8> = parts.iter().flat_map(|p| p.bytes.to_vec()).collect();
        assert_eq!(all, &text[..text.len() - END_OF_COPY.len()]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn parts_end_at_row_ends_and_nothing_is_lost(
            rows in proptest::collection::vec(0_usize..200_000, 1..40), step in 1_usize..400_000,
        ) {
            let mut text = Vec::new();
            for (i, length) in rows.iter().enumerate() {
                text.extend(std::iter::repeat_n(b'a' + u8::try_from(i % 26).expect("small"), *length));
                text.push(b'\n');
            }
            let whole = text.len();
            text.extend_from_slice(END_OF_COPY);
            let parts = cut(&text, step);
            let all: Vec<u8> = parts.iter().flat_map(|p| p.bytes.to_vec()).collect();
            prop_assert_eq!(&all[..], &text[..whole]);
            for part in &parts {
                prop_assert!(!part.ends_row || part.bytes.is_empty() || part.bytes.ends_with(b"\n"));
            }
        }
    }
}

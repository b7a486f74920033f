//! The segment at hand: on a local disk until it is whole, so that memory does not grow with its size.

use crate::{
    error::WalError,
    name::{Lsn, SegmentName, SegmentSize},
    page::{CommitScanner, read_segment_header},
};
use bytes::Bytes;
use jiff::Timestamp;
use std::{io::Write, os::unix::fs::FileExt, path::Path};
use tempfile::NamedTempFile;

/// Short pieces are put together only up to this length.
const MAX_MERGED_BYTES: u64 = 16 << 20;
/// The page size until a segment's first page says it.
const USUAL_PAGE_BYTES: usize = 8192;

/// A segment while it is received.
#[derive(Debug)]
pub(super) struct SegmentSpool {
    /// Gone when it is dropped.
    pub file: NamedTempFile,
    pub name: SegmentName,
    pub start: Lsn,
    filled: u64,
    /// Where each piece that was stored had its new bytes.
    cuts: Vec<u64>,
    /// Up to here pieces were made.
    cut_until: u64,
}

impl SegmentSpool {
    /// An empty segment.
    ///
    /// # Errors
    /// If nothing can be written in the folder.
    pub(super) fn create(folder: &Path, name: SegmentName, start: Lsn) -> Result<Self, WalError> {
        let file = tempfile::Builder::new().prefix("holdfast-wal-").tempfile_in(folder);
        let file =
            file.map_err(|e| WalError::from_io(format!("write in {}", folder.display()), &e))?;
        Ok(Self { file, name, start, filled: 0, cuts: Vec::new(), cut_until: 0 })
    }

    /// Where it ends so far.
    pub(super) fn end(&self) -> Lsn {
        Lsn(self.start.0 + self.filled)
    }

    /// How many bytes it has.
    pub(super) fn filled(&self) -> u64 {
        self.filled
    }

    /// Adds what comes next.
    ///
    /// # Errors
    /// If the disk is full.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), WalError> {
        let path = self.file.path().to_owned();
        self.file
            .write_all(bytes)
            .map_err(|e| WalError::from_io(format!("write {}", path.display()), &e))?;
        self.filled += bytes.len() as u64;
        Ok(())
    }

    /// The next piece: where it begins and its bytes. The k-th piece repeats those before it as a binary counter carries, so that
    /// n of them are read as log n, and each byte is stored at most log n times.
    ///
    /// # Errors
    /// If it can't be read.
    pub(super) fn cut(&mut self) -> Result<(u64, Bytes), WalError> {
        self.cuts.push(self.cut_until);
        let begin = merge_begin(&self.cuts, self.filled);
        let length = usize::try_from(self.filled - begin).unwrap_or_default();
        let mut bytes = vec![0; length];
        let read = self.file.as_file().read_exact_at(&mut bytes, begin);
        read.map_err(|e| WalError::from_io(format!("read {}", self.file.path().display()), &e))?;
        self.cut_until = self.filled;
        Ok((begin, bytes.into()))
    }
}

/// Where the newest piece begins.
fn merge_begin(cuts: &[u64], filled: u64) -> u64 {
    let count = cuts.len();
    let mut width = 1 << count.trailing_zeros();
    while width > 1 && filled - cuts[count - width] > MAX_MERGED_BYTES {
        width /= 2;
    }
    cuts[count - width]
}

/// The newest commit in a stream of WAL, also in a page that is not full yet.
#[derive(Debug, Default)]
pub(super) struct CommitTracker {
    scanner: CommitScanner,
    page: Vec<u8>,
    page_start: Lsn,
    page_size: usize,
    newest: Option<Timestamp>,
}

impl CommitTracker {
    /// Begins at a segment's start; records that began before are known only if the stream goes on from there.
    pub(super) fn start_at(&mut self, start: Lsn) {
        if Lsn(self.page_start.0 + self.page.len() as u64) != start {
            self.page.clear();
            self.page_start = start;
            self.scanner = CommitScanner::default();
        }
        self.newest = None;
    }

    /// Reads what comes next.
    pub(super) fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.page_size == 0 {
                self.page_size = USUAL_PAGE_BYTES;
            }
            let more = (self.page_size - self.page.len()).min(bytes.len());
            self.page.extend_from_slice(&bytes[..more]);
            bytes = &bytes[more..];
            if let Ok(header) = read_segment_header(&self.page)
                && header.page_size >= self.page.len()
            {
                self.page_size = header.page_size;
            }
            if self.page.len() == self.page_size {
                let mut found = Vec::new();
                self.scanner.add_page(&self.page, self.page_start, &mut found);
                self.newest = found.iter().map(|c| c.time).chain(self.newest).max();
                self.page_start.0 += self.page_size as u64;
                self.page.clear();
            }
        }
    }

    /// The newest commit or abort of the segment so far.
    pub(super) fn newest(&self) -> Option<Timestamp> {
        let mut page = self.page.clone();
        page.resize(self.page_size, 0);
        let mut found = Vec::new();
        self.scanner.clone().add_page(&page, self.page_start, &mut found);
        found.iter().map(|c| c.time).chain(self.newest).max()
    }
}

/// The segment that a position lies in.
pub(super) fn segment_at(timeline: u32, lsn: Lsn, size: SegmentSize) -> (SegmentName, Lsn) {
    let number = size.segment_number(lsn);
    (SegmentName::from_number(timeline, number, size), size.segment_start(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_pieces_are_read_as_few() {
        let (mut cuts, mut pieces, mut stored) = (Vec::new(), Vec::new(), 0);
        for end in 1..=1000_u64 {
            cuts.push(end - 1);
            let begin = merge_begin(&cuts, end);
            stored += end - begin;
            pieces.push((begin, end));
        }
        let (mut until, mut reads) = (0, 0);
        while until < 1000 {
            until = pieces.iter().filter(|(b, _)| *b <= until).map(|(_, e)| *e).max().expect("one");
            reads += 1;
        }
        assert!(reads <= 10, "{reads}");
        assert!(stored <= 10 * 1000, "{stored}");
        assert_eq!(
            merge_begin(&[0, MAX_MERGED_BYTES], MAX_MERGED_BYTES + 5),
            MAX_MERGED_BYTES,
            "not above the limit"
        );
    }

    #[test]
    fn a_segment_is_cut_into_what_was_appended() {
        let folder = tempfile::tempdir().expect("a folder");
        let size = SegmentSize::from_bytes(1 << 20).expect("a size");
        let (name, start) = segment_at(3, Lsn(0x0030_0010), size);
        let mut spool = SegmentSpool::create(folder.path(), name, start).expect("made");
        spool.append(b"abc").expect("written");
        assert_eq!(spool.cut().expect("read"), (0, Bytes::from_static(b"abc")));
        spool.append(b"de").expect("written");
        assert_eq!(
            spool.cut().expect("read"),
            (0, Bytes::from_static(b"abcde")),
            "the second carries"
        );
        spool.append(b"f").expect("written");
        assert_eq!(spool.cut().expect("read"), (5, Bytes::from_static(b"f")));
        assert_eq!(
            (spool.start, spool.end(), spool.filled()),
            (Lsn(0x0030_0000), Lsn(0x0030_0006), 6)
        );
    }
}

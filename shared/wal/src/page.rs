//! Pages of the WAL: the header by which a segment is known, and the commits in it.
//!
//! Layouts: `src/include/access/xlog_internal.h`, `xlogrecord.h` and `xact.h`. All numbers are in the server's byte order,
//! which is little-endian on every platform that is supported here.

use crate::name::{Lsn, SegmentSize, TimelineId};
use jiff::Timestamp;

/// Bytes of a page header, and of the longer one of a segment's first page.
const SHORT_HEADER: usize = 24;
const LONG_HEADER: usize = 40;
/// `XLP_FIRST_IS_CONTRECORD`: the page begins with the rest of a record.
const FIRST_IS_CONTRECORD: u16 = 1;
/// `XLP_LONG_HEADER`.
const IS_LONG: u16 = 2;
/// Bytes of a record's header, `SizeOfXLogRecord`.
const RECORD_HEADER: usize = 24;
/// As much of a record is looked at: its header, and the time that a commit begins with.
const RECORD_HEAD: usize = 64;
/// Seconds from 1970 to 2000, where PostgreSQL's times begin.
const POSTGRES_EPOCH_SECONDS: i64 = 946_684_800;

/// What the first page of a segment says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The major version that wrote it, where the magic number is known.
    pub major: Option<u16>,
    /// Its timeline, or an older one: the first segment of a timeline begins as a copy.
    pub timeline: TimelineId,
    /// Where it begins.
    pub start: Lsn,
    /// The cluster.
    pub system: u64,
    /// The size of segments.
    pub segment_size: SegmentSize,
    /// The size of pages, in bytes.
    pub page_size: usize,
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn read_u64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// `XLOG_PAGE_MAGIC` of the released versions.
fn major_of_magic(magic: u16) -> Option<u16> {
    Some(match magic {
        0xD106 => 13,
        0xD10D => 14,
        0xD110 => 15,
        0xD113 => 16,
        0xD116 => 17,
        0xD118 => 18,
        _ => return None,
    })
}

/// Reads the header of a segment's first page; what is wrong with it, in words, when it is none.
pub fn read_segment_header(page: &[u8]) -> Result<SegmentHeader, &'static str> {
    let short = "it is shorter than a page header";
    let magic = read_u16(page, 0).ok_or(short)?;
    if magic >> 8 != 0xD1 {
        return Err("it does not begin with the magic number of a WAL page");
    }
    if read_u16(page, 2).ok_or(short)? & IS_LONG == 0 {
        return Err("its first page lacks the header that names its cluster");
    }
    let segment_size = SegmentSize::from_bytes(read_u32(page, 32).ok_or(short)?.into())
        .ok_or("its header names a segment size that no cluster can have")?;
    let page_size = read_u32(page, 36).ok_or(short)? as usize;
    if !page_size.is_power_of_two() || !(1024..=65_536).contains(&page_size) {
        return Err("its header names a page size that no cluster can have");
    }
    Ok(SegmentHeader {
        major: major_of_magic(magic),
        timeline: read_u32(page, 4).ok_or(short)?,
        start: Lsn(read_u64(page, 8).ok_or(short)?),
        system: read_u64(page, 24).ok_or(short)?,
        segment_size,
        page_size,
    })
}

/// The end of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitPoint {
    /// Where its record begins.
    pub lsn: Lsn,
    /// When it was, by the server's clock.
    pub time: Timestamp,
    /// Its transaction.
    pub xid: u32,
    /// Whether it was an abort.
    pub aborted: bool,
}

/// Finds the ends of transactions in pages that are given one after the other. What is no valid page, or does not fit to
/// the one before, is passed over: this is an index, and no proof that the WAL is whole.
#[derive(Clone, Debug, Default)]
pub struct CommitScanner {
    /// The record at hand: where it begins, its first bytes, and how many are still to come.
    record: Option<(Lsn, Vec<u8>)>,
    remaining: usize,
    /// Where the next page must begin, to belong to this one.
    next: Option<Lsn>,
}

impl CommitScanner {
    /// Reads the page that begins at `start`, and adds what ends in it.
    pub fn add_page(&mut self, page: &[u8], start: Lsn, found: &mut Vec<CommitPoint>) {
        if self.next != Some(start) {
            self.record = None;
            self.remaining = 0;
        }
        self.next = None;
        let (Some(magic), Some(info), Some(address)) =
            (read_u16(page, 0), read_u16(page, 2), read_u64(page, 8))
        else {
            return;
        };
        if magic >> 8 != 0xD1 || Lsn(address) != start {
            return;
        }
        self.next = Some(Lsn(start.0 + page.len() as u64));
        let rest = read_u32(page, 16).unwrap_or_default() as usize;
        let mut at = if info & IS_LONG == 0 { SHORT_HEADER } else { LONG_HEADER };
        if info & FIRST_IS_CONTRECORD == 0 {
            self.record = None;
            self.remaining = 0;
        } else if rest != self.remaining {
            // The begin was not seen, or was given up by the server.
            self.record = None;
            self.remaining = rest;
        }
        loop {
            if self.remaining > 0 {
                let here = self.remaining.min(page.len().saturating_sub(at));
                self.take(page.get(at..at + here).unwrap_or_default());
                at += here;
                if self.remaining > 0 {
                    return;
                }
                found.extend(self.record.take().and_then(|(lsn, head)| commit_of(lsn, &head)));
            }
            at = at.next_multiple_of(8);
            let Some(length) = read_u32(page, at).map(|n| n as usize) else { return };
            if length < RECORD_HEADER {
                return; // the end of what was written
            }
            self.record = Some((Lsn(start.0 + at as u64), Vec::with_capacity(RECORD_HEAD)));
            self.remaining = length;
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        if let Some((_, head)) = &mut self.record {
            let more = (RECORD_HEAD - head.len()).min(bytes.len());
            head.extend_from_slice(&bytes[..more]);
        }
        self.remaining -= bytes.len();
    }
}

/// The end of a transaction that a record's first bytes are of.
fn commit_of(lsn: Lsn, head: &[u8]) -> Option<CommitPoint> {
    const RM_XACT: u8 = 1;
    let (&info, &manager) = (head.get(16)?, head.get(17)?);
    let aborted = match (manager, info & 0x70) {
        (RM_XACT, 0x00 | 0x30) => false,
        (RM_XACT, 0x20 | 0x40) => true,
        _ => return None,
    };
    let mut at = RECORD_HEADER;
    // XLR_BLOCK_ID_DATA_SHORT, _LONG, _ORIGIN, TOPLEVEL_XID: the main data begins after its own header, the last.
    let data = loop {
        match *head.get(at)? {
            255 => break at + 2,
            254 => break at + 5,
            253 => at += 3,
            252 => at += 5,
            _ => return None,
        }
    };
    let time =
        microseconds_to_time(i64::from_le_bytes(head.get(data..data + 8)?.try_into().ok()?))?;
    Some(CommitPoint { lsn, time, xid: read_u32(head, 4)?, aborted })
}

fn microseconds_to_time(since_2000: i64) -> Option<Timestamp> {
    Timestamp::from_microsecond(since_2000.checked_add(POSTGRES_EPOCH_SECONDS * 1_000_000)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PAGE: usize = 8192;

    /// Pages with these records, written as the server writes them from the begin of a segment.
    fn pages(records: &[Vec<u8>], start: Lsn) -> Vec<Vec<u8>> {
        let mut all: Vec<Vec<u8>> = Vec::new();
        let new_page = |all: &mut Vec<Vec<u8>>, rest: usize| {
            let first = all.is_empty();
            let mut page = vec![0; if first { LONG_HEADER } else { SHORT_HEADER }];
            page[..2].copy_from_slice(&0xD110_u16.to_le_bytes());
            let info = u16::from(rest > 0) | if first { IS_LONG } else { 0 };
            page[2..4].copy_from_slice(&info.to_le_bytes());
            page[4] = 1;
            page[8..16].copy_from_slice(&(start.0 + (all.len() * PAGE) as u64).to_le_bytes());
            page[16..20].copy_from_slice(&u32::try_from(rest).expect("short").to_le_bytes());
            all.push(page);
        };
        new_page(&mut all, 0);
        for record in records {
            let mut left = &record[..];
            while !left.is_empty() {
                let room = PAGE - all.last().expect("a page").len();
                if room == 0 {
                    new_page(&mut all, if left.len() == record.len() { 0 } else { left.len() });
                    continue;
                }
                let here = room.min(left.len());
                all.last_mut().expect("a page").extend_from_slice(&left[..here]);
                left = &left[here..];
            }
            let page = all.last_mut().expect("a page");
            page.resize(page.len().next_multiple_of(8), 0);
        }
        for page in &mut all {
            page.resize(PAGE, 0);
        }
        all
    }

    fn record(manager: u8, info: u8, payload: &[u8], length: usize) -> Vec<u8> {
        let mut bytes = vec![0; RECORD_HEADER];
        bytes[4] = 7;
        (bytes[16], bytes[17]) = (info, manager);
        bytes.extend_from_slice(payload);
        bytes.resize(length.max(bytes.len()), 0xFF);
        let total = u32::try_from(bytes.len()).expect("short");
        bytes[..4].copy_from_slice(&total.to_le_bytes());
        bytes
    }

    fn commit(second: i64) -> Vec<u8> {
        let mut payload = vec![252, 1, 0, 0, 0, 255, 8];
        payload.extend_from_slice(&(second * 1_000_000).to_le_bytes());
        record(1, 0, &payload, 0)
    }

    proptest! {
        /// Whatever other records lie between, and wherever pages end, every commit is found, at its place.
        #[test]
        fn every_commit_is_found(lengths in proptest::collection::vec(24_usize..20_000, 0..20)) {
            let mut records = Vec::new();
            for (i, length) in lengths.iter().enumerate() {
                records.push(record(10, 0, &[255, 0], *length));
                records.push(commit(i64::try_from(i).expect("few")));
            }
            let start = Lsn(0x0500_0000);
            let (mut scanner, mut found) = (CommitScanner::default(), Vec::new());
            for (i, page) in pages(&records, start).iter().enumerate() {
                scanner.add_page(page, Lsn(start.0 + (i * PAGE) as u64), &mut found);
            }
            prop_assert_eq!(found.len(), lengths.len());
            for (i, point) in found.iter().enumerate() {
                let second = POSTGRES_EPOCH_SECONDS + i64::try_from(i).expect("few");
                prop_assert_eq!((point.time.as_second(), point.xid, point.aborted), (second, 7, false));
            }
            prop_assert!(found.windows(2).all(|w| w[0].lsn < w[1].lsn));
        }

        #[test]
        fn no_bytes_make_the_scanner_panic(bytes in proptest::collection::vec(any::<u8>(), 0..3000), start in any::<u32>()) {
            let mut page = bytes;
            if page.len() > 20 {
                page[..2].copy_from_slice(&0xD110_u16.to_le_bytes());
                page[8..16].copy_from_slice(&u64::from(start).to_le_bytes());
            }
            let mut scanner = CommitScanner::default();
            scanner.add_page(&page, Lsn(start.into()), &mut Vec::new());
            scanner.add_page(&page, Lsn(u64::from(start) + page.len() as u64), &mut Vec::new());
            let _ = read_segment_header(&page);
        }
    }

    #[test]
    fn a_segment_is_known_by_its_first_page() {
        let mut page = pages(&[], Lsn(0x0500_0000)).remove(0);
        page[24..32].copy_from_slice(&77_u64.to_le_bytes());
        page[32..36].copy_from_slice(&(16_u32 << 20).to_le_bytes());
        page[36..40].copy_from_slice(&8192_u32.to_le_bytes());
        let header = read_segment_header(&page).expect("a header");
        assert_eq!((header.system, header.start, header.major), (77, Lsn(0x0500_0000), Some(15)));
        assert_eq!(header.segment_size.megabytes(), 16);
        for cut in [0, 3, 12, 30, 38] {
            read_segment_header(&page[..cut]).expect_err("too short");
        }
        page[0] = 0;
        page[1] = 0;
        read_segment_header(&page).expect_err("zeros");
    }
}

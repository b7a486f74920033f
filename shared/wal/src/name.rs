//! Names of WAL files, and the positions that they stand for.
//!
//! A segment's name says its timeline and number, and means a position only together with the segment size, which is data
//! of each cluster (1 MB to 1 GB). <https://www.postgresql.org/docs/current/wal-internals.html>

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A timeline of a cluster, from 1.
pub type TimelineId = u32;

/// A position in the WAL, in bytes from its begin; `16/B374D848` in text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl FromStr for Lsn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let part = |digits: &str| {
            let hex =
                (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
            hex.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
        };
        let parsed = text.split_once('/').and_then(|(high, low)| Some((part(high)?, part(low)?)));
        let (high, low) = parsed.ok_or("a position in the WAL is written as 16/B374D848")?;
        Ok(Self(high << 32 | low))
    }
}

impl Serialize for Lsn {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lsn {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The size of a cluster's segments: a power of two from 1 MB to 1 GB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentSize(u32);

impl SegmentSize {
    /// From bytes; none when no cluster can have it.
    pub fn from_bytes(bytes: u64) -> Option<Self> {
        let fits = bytes.is_power_of_two() && (1 << 20..=1 << 30).contains(&bytes);
        fits.then(|| u32::try_from(bytes).ok().map(Self)).flatten()
    }

    /// In bytes.
    pub fn bytes(self) -> u64 {
        self.0.into()
    }

    /// In megabytes.
    pub fn megabytes(self) -> u32 {
        self.0 >> 20
    }

    fn segments_per_log(self) -> u64 {
        (1 << 32) / self.bytes()
    }

    /// The number of the segment that holds a position.
    pub fn segment_number(self, lsn: Lsn) -> u64 {
        lsn.0 / self.bytes()
    }

    /// The number of the segment that holds the byte before a position: where everything up to it ends.
    pub fn last_segment_before(self, lsn: Lsn) -> u64 {
        lsn.0.saturating_sub(1) / self.bytes()
    }

    /// Where a segment begins.
    pub fn segment_start(self, number: u64) -> Lsn {
        Lsn(number.saturating_mul(self.bytes()))
    }
}

/// A segment's name: 24 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    /// The timeline.
    pub timeline: TimelineId,
    log: u32,
    segment: u32,
}

impl SegmentName {
    /// The name of a segment by its number.
    pub fn from_number(timeline: TimelineId, number: u64, size: SegmentSize) -> Self {
        let per_log = size.segments_per_log();
        let low = |n: u64| u32::try_from(n & 0xFFFF_FFFF).unwrap_or_default();
        Self { timeline, log: low(number / per_log), segment: low(number % per_log) }
    }

    /// Its number; none when no segment of this size has such a name.
    pub fn number(self, size: SegmentSize) -> Option<u64> {
        let per_log = size.segments_per_log();
        (u64::from(self.segment) < per_log)
            .then(|| u64::from(self.log) * per_log + u64::from(self.segment))
    }

    /// The first 16 digits: timeline and log.
    pub fn log_prefix(self) -> String {
        format!("{:08X}{:08X}", self.timeline, self.log)
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08X}{:08X}{:08X}", self.timeline, self.log, self.segment)
    }
}

impl FromStr for SegmentName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no name of a WAL segment: it has 24 digits 0-9, A-F");
        if text.len() != 24 {
            return Err(wrong());
        }
        let part = |at: usize| parse_hex8(text.get(at..at + 8).unwrap_or_default());
        match (part(0), part(8), part(16)) {
            (Some(timeline), Some(log), Some(segment)) if timeline > 0 => {
                Ok(Self { timeline, log, segment })
            }
            _ => Err(wrong()),
        }
    }
}

fn parse_hex8(text: &str) -> Option<u32> {
    let digits = text.len() == 8 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
    digits.then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

/// What PostgreSQL archives, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WalFileName {
    /// A whole segment.
    Segment(SegmentName),
    /// The last segment of a timeline that ended in the middle; recovery never reads it.
    Partial(SegmentName),
    /// What a base backup by SQL leaves beside its first segment.
    BackupHistory(SegmentName, u32),
    /// Where a timeline came from.
    History(TimelineId),
}

impl WalFileName {
    /// The order in which they are archived: history files first, then by timeline and position.
    pub fn archive_order(&self) -> (u8, TimelineId, u32, u32) {
        match self {
            Self::History(timeline) => (0, *timeline, 0, 0),
            Self::Segment(s) | Self::Partial(s) | Self::BackupHistory(s, _) => {
                (1, s.timeline, s.log, s.segment)
            }
        }
    }
}

impl fmt::Display for WalFileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(s) => write!(f, "{s}"),
            Self::Partial(s) => write!(f, "{s}.partial"),
            Self::BackupHistory(s, offset) => write!(f, "{s}.{offset:08X}.backup"),
            Self::History(timeline) => write!(f, "{timeline:08X}.history"),
        }
    }
}

impl FromStr for WalFileName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("\"{text}\" is no name of a WAL file: write what PostgreSQL gives as %f or %p")
        };
        if let Some(timeline) = text.strip_suffix(".history") {
            return parse_hex8(timeline).filter(|t| *t > 0).map(Self::History).ok_or_else(wrong);
        }
        if let Some(segment) = text.strip_suffix(".partial") {
            return segment.parse().map(Self::Partial).map_err(|_| wrong());
        }
        if let Some((segment, offset)) =
            text.strip_suffix(".backup").and_then(|t| t.split_once('.'))
        {
            let offset = parse_hex8(offset).ok_or_else(wrong)?;
            return segment.parse().map(|s| Self::BackupHistory(s, offset)).map_err(|_| wrong());
        }
        text.parse().map(Self::Segment).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sizes() -> impl Strategy<Value = SegmentSize> {
        (20_u32..=30).prop_map(|log| SegmentSize::from_bytes(1 << log).expect("a size"))
    }

    proptest! {
        #[test]
        fn a_segment_of_any_size_is_named_and_read_back(
            size in sizes(), lsn in any::<u64>(), timeline in 1..=u32::MAX
        ) {
            let number = size.segment_number(Lsn(lsn));
            let name = SegmentName::from_number(timeline, number, size);
            prop_assert_eq!(name.number(size), Some(number));
            prop_assert_eq!(name.to_string().parse::<SegmentName>(), Ok(name));
            let start = size.segment_start(number);
            prop_assert!(start <= Lsn(lsn) && lsn - start.0 < size.bytes());
        }

        #[test]
        fn any_text_is_read_or_refused_and_what_is_read_is_written_the_same(text in "[0-9A-Fa-f./a-z]{0,44}") {
            if let Ok(name) = text.parse::<WalFileName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }

        #[test]
        fn a_position_is_written_and_read_back(lsn in any::<u64>()) {
            prop_assert_eq!(Lsn(lsn).to_string().parse(), Ok(Lsn(lsn)));
        }
    }

    #[test]
    fn the_four_kinds_are_told_apart_and_nothing_else_is_one() {
        for good in [
            "0000000100000A0B000000FF",
            "000000010000000000000001.partial",
            "000000010000000000000001.00000028.backup",
            "00000002.history",
        ] {
            assert_eq!(good.parse::<WalFileName>().expect(good).to_string(), good);
        }
        for bad in [
            "",
            "../etc/passwd",
            "00000000.history",
            "00000001000000000000000",
            "RECOVERYXLOG",
            "00000001000000000000000g",
            "000000010000000000000001.backup",
            "000000010000000000000001.tmp",
            "00000001000000000000000a",
            "000000000000000000000001",
        ] {
            bad.parse::<WalFileName>().expect_err(bad);
        }
        let name: SegmentName = "0000000100000000000000FF".parse().expect("a name");
        let megabytes = |n: u64| SegmentSize::from_bytes(n << 20).expect("a size");
        assert_eq!(name.number(megabytes(16)), Some(255));
        assert_eq!(name.number(megabytes(64)), None, "64 segments of 64 MB are 4 GB");
        assert_eq!(SegmentSize::from_bytes(3 << 20), None);
    }
}

//! Where things lie in a WAL archive. Every object is written once.
//!
//! ```text
//! holdfast-store.json                                whose it is
//! 7316528371926351001/                               a cluster, by its system identifier
//!   history/00000002.history-SHA256                  where timeline 2 came from
//!   00000001000000A3/                                 4 GB of a timeline
//!     00000001000000A300000042-SHA256-16m-20261127T084501.123456Z.zst.age
//!   stream/                                          the unfinished segment, from a receiver: see `chunk`
//!     00000001000000A300000043-00000000-0001A2F8-SHA256-16m-20261127T084502.2Z.zst.age
//!   backups/20261127T084459Z-00000001-000000A342000028/
//!     base.tar.zst.age, 16425.tar.zst.age, ...        a base backup
//!     backup.json                                     its record, written last
//! ```
//!
//! A name tells what recovery must know before anything is read: SHA-256 of the file as PostgreSQL wrote it, so that a host
//! that may only add sees whether the same content is there; the segment size; and the time of the newest commit in it.
//! Beside each object lies its signature (`.minisig`) where the policy signs, over the name and that SHA-256.

use crate::name::{SegmentSize, WalFileName};
use codec::{EncodingOptions, Sha256Digest, file_extension};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

/// The folder of history files.
const HISTORY_DIR: &str = "history";
/// The folder of base backups.
pub(crate) const BACKUP_DIR: &str = "backups";
/// How the time of the newest commit is written.
pub(crate) const TIME_FORMAT: &str = "%Y%m%dT%H%M%S%.6fZ";

/// What the name of a stored WAL file tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalObjectName {
    /// The file that PostgreSQL archived.
    pub file: WalFileName,
    /// SHA-256 of its bytes.
    pub sha256: Sha256Digest,
    /// The cluster's segment size; none of a history file.
    pub segment_size: Option<SegmentSize>,
    /// The newest commit or abort in it.
    pub last_commit: Option<Timestamp>,
    /// What a reader must undo, outermost last: `.zst.age`.
    pub extension: String,
}

/// What the keys of all objects of a file begin with.
pub fn file_prefix(system: u64, file: &WalFileName) -> String {
    let folder = match file {
        WalFileName::History(_) => HISTORY_DIR.to_owned(),
        WalFileName::Segment(s) | WalFileName::Partial(s) | WalFileName::BackupHistory(s, _) => {
            s.log_prefix()
        }
    };
    format!("{system}/{folder}/{file}-")
}

impl WalObjectName {
    /// Its key below the store's prefix.
    pub fn key(&self, system: u64) -> String {
        let mut key = format!("{}{}", file_prefix(system, &self.file), self.sha256);
        if let Some(size) = self.segment_size {
            key.push_str(&format!("-{}m", size.megabytes()));
        }
        if let Some(time) = self.last_commit {
            key.push_str(&format!("-{}", time.to_zoned(TimeZone::UTC).strftime(TIME_FORMAT)));
        }
        key.push_str(&self.extension);
        key
    }

    /// Reads a key: the cluster and what the name tells. None of what is no WAL file, or lies where none does.
    pub fn parse_key(key: &str) -> Option<(u64, Self)> {
        let mut parts = key.split('/');
        let (system, _, name) = (parts.next()?, parts.next()?, parts.next()?);
        let system = system.parse().ok()?;
        let (file, rest) = name.split_once('-')?;
        let (digits, rest) = rest.split_at_checked(64)?;
        let mut object = Self {
            file: file.parse().ok()?,
            sha256: digits.parse().ok()?,
            segment_size: None,
            last_commit: None,
            extension: String::new(),
        };
        let mut rest = rest;
        if let Some((megabytes, after)) = rest.strip_prefix('-').and_then(|r| r.split_once('m')) {
            object.segment_size = SegmentSize::from_bytes(megabytes.parse::<u64>().ok()? << 20);
            rest = after;
        }
        if let Some((time, after)) = rest.strip_prefix('-').and_then(|r| r.split_once('Z')) {
            let time = DateTime::strptime("%Y%m%dT%H%M%S%.f", time).ok()?;
            object.last_commit = Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp());
            rest = after;
        }
        rest.clone_into(&mut object.extension);
        // Only what would be written is read: so a key has one meaning, and a sidecar none.
        let known = ["", ".age", ".enc", ".zst", ".zst.age", ".zst.enc"];
        (known.contains(&rest) && object.key(system) == key).then_some((system, object))
    }

    /// What its signature is over: the line that `sha256sum -c` reads.
    pub fn signed_text(&self) -> String {
        format!("{}  {}\n", self.sha256, self.file)
    }
}

/// What a file is written with: a history file as it is, since timelines are known from it where no key is.
pub(crate) fn extension_for(file: &WalFileName, encoding: &EncodingOptions) -> &'static str {
    if matches!(file, WalFileName::History(_)) { "" } else { file_extension(encoding) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_key_is_read_back(
            system in any::<u64>(), timeline in 1..99_u32, low in 0..255_u32, hash in any::<[u8; 32]>(),
            log in 20_u32..=30, micros in proptest::option::of(0_i64..4_000_000_000_000_000), kind in 0..4,
        ) {
            let segment = format!("{timeline:08X}{low:08X}00000000").parse().expect("a name");
            let file = match kind {
                0 => WalFileName::Segment(segment),
                1 => WalFileName::Partial(segment),
                2 => WalFileName::BackupHistory(segment, low),
                _ => WalFileName::History(timeline),
            };
            let object = WalObjectName {
                file,
                sha256: Sha256Digest(hash),
                segment_size: (kind < 2).then(|| SegmentSize::from_bytes(1 << log).expect("a size")),
                last_commit: micros.map(|m| Timestamp::from_microsecond(m).expect("a time")),
                extension: [".zst.age", ".zst", ""][usize::try_from(low).expect("small") % 3].into(),
            };
            let key = object.key(system);
            prop_assert!(key.starts_with(&file_prefix(system, &file)));
            prop_assert_eq!(WalObjectName::parse_key(&key), Some((system, object)));
            prop_assert_eq!(WalObjectName::parse_key(&format!("{key}.minisig")), None);
        }
    }
}

//! The segment that the server still writes to, stored by a receiver in pieces; each is written once. When the segment is
//! whole it is stored as every segment is, and its pieces are of no more use.
//!
//! Pieces may overlap: a receiver that begins anew stores again what it stored before, and now and then one long piece takes the
//! place of many short ones.

use crate::{
    error::{WalError, WalErrorKind},
    layout::TIME_FORMAT,
    name::{Lsn, SegmentName, SegmentSize},
    repository::{WalRepository, run_blocking},
};
use bytes::Bytes;
use codec::{ArchiveEncoder, EncryptionMethod, Sha256Digest, file_extension};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{Read, Write},
    os::unix::fs::FileExt,
    path::Path,
};
use storage::{ObjectEntry, StoreErrorKind, UploadOptions, beside};

/// The folder of pieces.
const STREAM_DIR: &str = "stream";

/// A piece of a segment, as its key tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalChunk {
    /// The segment.
    pub segment: SegmentName,
    /// Where it begins in the segment, in bytes.
    pub begin: u64,
    /// Where it ends there.
    pub end: u64,
    /// SHA-256 of its bytes.
    pub sha256: Sha256Digest,
    /// The cluster's segment size.
    pub segment_size: SegmentSize,
    /// The newest commit or abort in the segment up to its end.
    pub last_commit: Option<Timestamp>,
    /// What a reader must undo: `.zst.age`.
    pub extension: String,
}

/// What the pieces of a segment give together: its begin, without a hole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentTail {
    /// Up to here it is there.
    pub until: Lsn,
    /// The newest commit or abort in it.
    pub last_commit: Option<Timestamp>,
}

impl WalChunk {
    /// Its key below the store's prefix.
    pub fn key(&self, system: u64) -> String {
        let Self { segment, begin, end, sha256, .. } = self;
        let megabytes = self.segment_size.megabytes();
        let time = self.last_commit.map(|t| t.to_zoned(TimeZone::UTC));
        let time = time.map_or(String::new(), |t| format!("-{}", t.strftime(TIME_FORMAT)));
        let extension = &self.extension;
        format!(
            "{system}/{STREAM_DIR}/{segment}-{begin:08X}-{end:08X}-{sha256}-{megabytes}m{time}{extension}"
        )
    }

    /// Reads a key: the cluster and the piece; none of anything else.
    pub fn parse_key(key: &str) -> Option<(u64, Self)> {
        let mut parts = key.split('/');
        let (system, folder, name) = (parts.next()?, parts.next()?, parts.next()?);
        let system = system.parse().ok().filter(|_| folder == STREAM_DIR)?;
        let mut fields = name.splitn(5, '-');
        let segment = fields.next()?.parse().ok()?;
        let begin = u64::from_str_radix(fields.next()?, 16).ok()?;
        let end = u64::from_str_radix(fields.next()?, 16).ok()?;
        let sha256 = fields.next()?.parse().ok()?;
        let (megabytes, rest) = fields.next()?.split_once('m')?;
        let segment_size =
            SegmentSize::from_bytes(megabytes.parse::<u64>().ok()?.checked_mul(1 << 20)?)?;
        let (last_commit, extension) = match rest.strip_prefix('-').and_then(|r| r.split_once('Z'))
        {
            Some((time, extension)) => {
                let time = DateTime::strptime("%Y%m%dT%H%M%S%.f", time).ok()?;
                (Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp()), extension)
            }
            None => (None, rest),
        };
        let chunk = Self {
            segment,
            begin,
            end,
            sha256,
            segment_size,
            last_commit,
            extension: extension.into(),
        };
        // Only what would be written is read: so a key has one meaning, and a signature none.
        let known = ["", ".age", ".enc", ".zst", ".zst.age", ".zst.enc"].contains(&extension);
        let fits = begin < end && end <= segment_size.bytes();
        (known && fits && chunk.key(system) == key).then_some((system, chunk))
    }

    /// What its signature is over.
    fn signed_text(&self) -> String {
        format!("{}  {}-{:08X}-{:08X}\n", self.sha256, self.segment, self.begin, self.end)
    }
}

/// The fewest pieces that give the longest begin of a segment without a hole, in their order.
pub fn select_chunks(chunks: &[WalChunk]) -> Vec<&WalChunk> {
    let (mut selected, mut until) = (Vec::new(), 0);
    while let Some(next) = chunks.iter().filter(|c| c.begin <= until).max_by_key(|c| c.end) {
        if next.end <= until {
            break;
        }
        until = next.end;
        selected.push(next);
    }
    selected
}

/// What the pieces of one segment give; none where its begin is missing.
pub fn segment_tail(chunks: &[WalChunk]) -> Option<SegmentTail> {
    let selected = select_chunks(chunks);
    let last = selected.last()?;
    let number = last.segment.number(last.segment_size)?;
    let until = Lsn(last.segment_size.segment_start(number).0 + last.end);
    Some(SegmentTail { until, last_commit: selected.iter().filter_map(|c| c.last_commit).max() })
}

impl WalRepository {
    /// Whether a piece counts by its name: where the policy encrypts and does not sign, it must be encrypted.
    pub(crate) fn chunk_may_count(&self, chunk: &WalChunk) -> bool {
        let encrypts = !matches!(self.encoding.encryption, EncryptionMethod::None);
        let encrypted = matches!(chunk.extension.rsplit('.').next(), Some("age" | "enc"));
        self.verifier.is_some() || !encrypts || encrypted
    }

    /// Stores a piece of a segment. Success means that it is durable.
    ///
    /// # Errors
    /// If it can't be encrypted, or the store refuses.
    pub async fn put_chunk(
        &self,
        system: u64,
        (segment, segment_size): (SegmentName, SegmentSize),
        begin: u64,
        bytes: Bytes,
        last_commit: Option<Timestamp>,
    ) -> Result<(), WalError> {
        let doing = format!("store a piece of {segment}");
        let chunk = WalChunk {
            segment,
            begin,
            end: begin + bytes.len() as u64,
            sha256: Sha256Digest(Sha256::digest(&bytes).into()),
            segment_size,
            last_commit,
            extension: file_extension(&self.encoding).into(),
        };
        let key = chunk.key(system);
        let put = UploadOptions { run: self.run_id.clone(), ..UploadOptions::default() };
        if let Some(signature) = self.author.sign(&key, chunk.signed_text().as_bytes()).await? {
            let key = beside::signature_key(&key);
            match self.store.put_if_absent(&key, signature.into(), &put).await {
                Err(e) if e.kind == StoreErrorKind::Exists => {}
                written => written?,
            }
        }
        let (encoding, of) = (self.encoding.clone(), doing.clone());
        let encoded = run_blocking(&doing, move || {
            let encode = || {
                let mut writer = ArchiveEncoder::new(Vec::new(), &encoding)?;
                writer.write_all(&bytes)?;
                writer.finish().map(|(encoded, _)| encoded)
            };
            encode().map_err(|e: codec::ArchiveError| WalError::from_archive(of, &e))
        });
        match self.store.put_if_absent(&key, encoded.await?.into(), &put).await {
            // Its hash is in its name: the same content is there.
            Err(e) if e.kind == StoreErrorKind::Exists => Ok(()),
            written => Ok(written?),
        }
    }

    /// The pieces that lie there of a segment, and count.
    ///
    /// # Errors
    /// If the store can't be asked.
    pub async fn find_chunks(
        &self,
        system: u64,
        segment: SegmentName,
    ) -> Result<Vec<WalChunk>, WalError> {
        let entries = self.store.list(&format!("{system}/{STREAM_DIR}/{segment}-")).await?;
        let parsed = |e: &ObjectEntry| WalChunk::parse_key(&e.key).map(|(_, chunk)| chunk);
        Ok(entries.iter().filter_map(parsed).filter(|c| self.chunk_may_count(c)).collect())
    }

    /// Writes what the pieces of a segment give to `to`, zeros after it: recovery takes only whole segments, and ends where
    /// the zeros begin. None where there are no pieces.
    ///
    /// # Errors
    /// If they can't be read, or two disagree.
    pub async fn get_tail(
        &self,
        system: u64,
        segment: SegmentName,
        to: &Path,
    ) -> Result<Option<SegmentTail>, WalError> {
        let mut chunks = self.find_chunks(system, segment).await?;
        // What nobody vouches for is left out, and the choice made again without it.
        while let Some(forged) = self.find_unsigned(system, &chunks).await? {
            chunks.retain(|c| *c != forged);
        }
        let Some(tail) = segment_tail(&chunks) else { return Ok(None) };
        let io = |e: &std::io::Error| WalError::from_io(format!("write {}", to.display()), e);
        let mut options = File::options();
        let file = options.read(true).write(true).create_new(true).open(to).map_err(|e| io(&e))?;
        let mut until = 0;
        for chunk in select_chunks(&chunks) {
            let bytes = self.read_chunk(system, chunk).await?;
            let seen = usize::try_from(until - chunk.begin).unwrap_or(usize::MAX);
            let mut before = vec![0; seen];
            file.read_exact_at(&mut before, chunk.begin).map_err(|e| io(&e))?;
            if bytes.get(..seen) != Some(&before[..]) {
                let why = format!("two of its pieces disagree before byte {until}");
                let hint = "two servers stream as one; move the pieces away that are not of the history to be restored";
                return Err(WalError::new(
                    WalErrorKind::Conflict,
                    format!("fetch {segment}"),
                    why,
                    hint,
                ));
            }
            file.write_all_at(&bytes[seen..], until).map_err(|e| io(&e))?;
            until = chunk.end;
        }
        let size = chunks.first().map_or(0, |c| c.segment_size.bytes());
        file.set_len(size).map_err(|e| io(&e))?;
        Ok(Some(tail))
    }

    async fn find_unsigned(
        &self,
        system: u64,
        chunks: &[WalChunk],
    ) -> Result<Option<WalChunk>, WalError> {
        let Some(verifier) = &self.verifier else { return Ok(None) };
        for chunk in select_chunks(chunks) {
            let key = chunk.key(system);
            let signature = self.store.get_small(&beside::signature_key(&key)).await?;
            if verifier.verify(&key, chunk.signed_text().as_bytes(), signature.as_deref()).is_err()
            {
                return Ok(Some(chunk.clone()));
            }
        }
        Ok(None)
    }

    async fn read_chunk(&self, system: u64, chunk: &WalChunk) -> Result<Vec<u8>, WalError> {
        let key = chunk.key(system);
        let doing = format!("fetch {}", self.store.full_uri(&key));
        let (give, taken) = std::sync::mpsc::channel();
        let limit = chunk.end - chunk.begin + 1;
        let of = doing.clone();
        let read = move |decoder: &mut dyn Read| {
            let mut bytes = Vec::new();
            let read = decoder.take(limit).read_to_end(&mut bytes);
            read.map_err(|e| WalError::from_archive(of, &e.into()))?;
            let _ = give.send(bytes);
            Ok(())
        };
        let plain = self.read_decoded(&key, &chunk.extension, &doing, read).await?;
        let bytes = taken.try_recv().unwrap_or_default();
        if plain.sha256 != chunk.sha256 || bytes.len() as u64 != chunk.end - chunk.begin {
            let why = "what is in it is not what its name says";
            let hint = "look at the store: it was changed there";
            return Err(WalError::new(WalErrorKind::Damaged, doing, why, hint));
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunk(begin: u64, end: u64) -> WalChunk {
        WalChunk {
            segment: "0000000100000000000000A3".parse().expect("a name"),
            begin,
            end,
            sha256: Sha256Digest([7; 32]),
            segment_size: SegmentSize::from_bytes(16 << 20).expect("a size"),
            last_commit: None,
            extension: ".zst.age".into(),
        }
    }

    proptest! {
        #[test]
        fn a_key_is_read_back(begin in 0_u64..1000, length in 1_u64..1000, micros in proptest::option::of(0_i64..4_000_000_000_000_000)) {
            let mut chunk = chunk(begin, begin + length);
            chunk.last_commit = micros.map(|m| Timestamp::from_microsecond(m).expect("a time"));
            let key = chunk.key(7);
            prop_assert_eq!(WalChunk::parse_key(&key), Some((7, chunk)));
            prop_assert_eq!(WalChunk::parse_key(&format!("{key}.minisig")), None);
            prop_assert_eq!(crate::layout::WalObjectName::parse_key(&key), None, "it is no whole segment");
        }

        /// Whatever lies there, what is selected has no hole, and reaches as far as any unbroken row of pieces does.
        #[test]
        fn what_is_selected_reaches_as_far_as_there_is_no_hole(all in proptest::collection::vec((0_u64..60, 1_u64..30), 0..20)) {
            let chunks: Vec<_> = all.iter().map(|(b, l)| chunk(*b, b + l)).collect();
            let selected = select_chunks(&chunks);
            let mut until = 0;
            for c in &selected {
                prop_assert!(c.begin <= until && c.end > until);
                until = c.end;
            }
            let covered = (0..100).take_while(|byte| chunks.iter().any(|c| (c.begin..c.end).contains(byte))).count();
            prop_assert_eq!(until, covered as u64);
        }
    }
}

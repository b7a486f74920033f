//! What lies in a WAL archive, from its listing, its history files and the records of its base backups.

use crate::{
    backup::BaseBackupRecord,
    chunk::{SegmentTail, WalChunk, segment_tail},
    error::{WalError, WalErrorKind},
    history::{TimelineHistories, parse_history},
    layout::BACKUP_DIR,
    name::{Lsn, SegmentName, SegmentSize, TimelineId, WalFileName},
    repository::{StoredWalFile, WalRepository},
};
use codec::Sha256Digest;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use storage::beside;

/// One cluster's part of an archive.
#[derive(Clone, Debug, Default)]
pub struct SystemInventory {
    /// Its system identifier.
    pub system: u64,
    /// Its segment size; none where no segment is there, or they differ.
    pub segment_size: Option<SegmentSize>,
    /// Segments by timeline and number.
    pub segments: BTreeMap<(TimelineId, u64), StoredWalFile>,
    /// What a receiver stored of segments that are not there whole, by timeline and number.
    pub tails: BTreeMap<(TimelineId, u64), SegmentTail>,
    /// Its timelines.
    pub histories: TimelineHistories,
    /// Base backups, oldest first, that were recorded.
    pub backups: Vec<BaseBackupRecord>,
    /// What can't be used, in words: two contents under one name, unsigned files, damaged records.
    pub faults: Vec<String>,
    /// What belongs to a segment and is never replayed: partial segments, and second contents of a name.
    pub extra_files: Vec<StoredWalFile>,
    /// When something was stored last.
    pub newest_stored: Option<Timestamp>,
    /// Base backups without a record, by label: they are being taken, or were given up.
    pub unfinished: BTreeSet<String>,
    /// Why it is not known what a restore needs: records and histories of our own that can't be read, or that differ.
    /// Nothing may be deleted while there is such a thing.
    pub uncertain: Vec<String>,
}

/// What lies in an archive.
#[derive(Clone, Debug, Default)]
pub struct ArchiveInventory(BTreeMap<u64, SystemInventory>);

impl ArchiveInventory {
    /// Each cluster.
    pub fn systems(&self) -> Vec<&SystemInventory> {
        self.0.values().collect()
    }

    /// A cluster, for tests that make an archive.
    #[cfg(test)]
    pub(crate) fn system_mut(&mut self, system: u64) -> &mut SystemInventory {
        self.0.entry(system).or_default()
    }

    /// The cluster that is meant: the one of this identifier, else the one with the newest base backup.
    pub fn select_system(&self, system: Option<u64>) -> Option<&SystemInventory> {
        match system {
            Some(system) => self.0.get(&system),
            None => self.0.values().max_by_key(|s| s.backups.last().map(|b| b.finished_at)),
        }
    }
}

impl WalRepository {
    /// Reads the whole listing, history files and records. Signatures of segments are checked when they are fetched; here
    /// one must be there, where the policy signs.
    ///
    /// # Errors
    /// If the store can't be listed or read.
    pub async fn read_inventory(&self) -> Result<ArchiveInventory, WalError> {
        let entries = self.store.list("").await?;
        let keys: BTreeSet<&str> = entries.iter().map(|e| e.key.as_str()).collect();
        let mut all: BTreeMap<u64, SystemInventory> = BTreeMap::new();
        let mut chunks: BTreeMap<(u64, SegmentName), Vec<WalChunk>> = BTreeMap::new();
        for entry in &entries {
            if let Some((system, chunk)) = WalChunk::parse_key(&entry.key) {
                let signed = keys.contains(beside::signature_key(&entry.key).as_str());
                if self.chunk_may_count(&chunk) && (self.verifier.is_none() || signed) {
                    chunks.entry((system, chunk.segment)).or_default().push(chunk);
                }
                continue;
            }
            let Some(stored) = StoredWalFile::from_entry(entry) else { continue };
            let system = all.entry(stored.system).or_default();
            system.system = stored.system;
            let signed = keys.contains(beside::signature_key(&entry.key).as_str());
            if !self.may_count(&stored) || (self.verifier.is_some() && !signed) {
                system.faults.push(format!(
                    "{} is not encrypted or not signed, and does not count",
                    entry.key
                ));
                continue;
            }
            system.newest_stored = system.newest_stored.max(Some(stored.modified));
            match stored.name.file {
                WalFileName::Segment(_) => system.add_segment(stored),
                WalFileName::History(timeline) => {
                    self.add_history(system, timeline, &stored).await?;
                }
                WalFileName::Partial(_) | WalFileName::BackupHistory(..) => {
                    system.extra_files.push(stored);
                }
            }
        }
        for key in keys.iter().filter(|k| k.ends_with("/backup.json")) {
            let mut parts = key.split('/');
            let (system, folder) = (parts.next().and_then(|s| s.parse().ok()), parts.next());
            let (Some(system), Some(BACKUP_DIR)) = (system, folder) else { continue };
            let entry = all.entry(system).or_default();
            entry.system = system;
            match self.read_record(key).await? {
                Ok(record) => entry.backups.push(record),
                Err(RecordFault::Untrusted(why)) => entry.faults.push(format!("{key}: {why}")),
                Err(RecordFault::Unreadable(why)) => {
                    entry.faults.push(format!("{key}: {why}"));
                    entry.uncertain.push(format!("the record {key} can't be read: {why}"));
                }
            }
        }
        for key in &keys {
            let mut parts = key.split('/');
            let (system, folder) = (parts.next().and_then(|s| s.parse().ok()), parts.next());
            let (Some(system), Some(BACKUP_DIR), Some(label)) = (system, folder, parts.next())
            else {
                continue;
            };
            if !keys.contains(format!("{system}/{BACKUP_DIR}/{label}/backup.json").as_str()) {
                all.entry(system).or_default().unfinished.insert(label.to_owned());
            }
        }
        for ((system, segment), chunks) in chunks {
            let entry = all.entry(system).or_default();
            entry.system = system;
            entry.add_tail(segment, &chunks);
        }
        for system in all.values_mut() {
            system.backups.sort_by_key(|b| (b.finished_at, b.stop_lsn));
        }
        Ok(ArchiveInventory(all))
    }

    async fn add_history(
        &self,
        system: &mut SystemInventory,
        timeline: TimelineId,
        stored: &StoredWalFile,
    ) -> Result<(), WalError> {
        if let Err(e) = self.check_signature(stored).await? {
            system.faults.push(e.to_string());
            return Ok(());
        }
        let text = self.store.get_small(&stored.key).await?.unwrap_or_default();
        let same = Sha256Digest(Sha256::digest(&text).into()) == stored.name.sha256;
        let parsed = if same {
            parse_history(timeline, &String::from_utf8_lossy(&text))
        } else {
            Err("it is not what its name says".into())
        };
        match parsed {
            Ok(_) if system.histories.timelines().any(|t| t == timeline) => {
                let why = format!("timeline {timeline} has two histories: it was made twice");
                system.faults.push(why.clone());
                system.uncertain.push(why);
            }
            Ok(ancestors) => system.histories.insert(timeline, ancestors),
            Err(why) => {
                let why = format!("{}: {why}", stored.key);
                system.faults.push(why.clone());
                system.uncertain.push(why);
            }
        }
        Ok(())
    }

    /// A base backup's record; the inner error is why it does not count.
    async fn read_record(
        &self,
        key: &str,
    ) -> Result<Result<BaseBackupRecord, RecordFault>, WalError> {
        let Some(json) = self.store.get_small(key).await? else {
            let doing = format!("read {}", self.store.full_uri(key));
            return Err(WalError::new(
                WalErrorKind::Store,
                doing,
                "it was listed and is gone",
                "try again",
            ));
        };
        if let Some(verifier) = &self.verifier {
            let signature = self.store.get_small(&beside::signature_key(key)).await?;
            if let Err(e) = verifier.verify(key, &json, signature.as_deref()) {
                return Ok(Err(RecordFault::Untrusted(e.to_string())));
            }
        }
        let record = serde_json::from_slice::<BaseBackupRecord>(&json).map_err(|e| e.to_string());
        Ok(record
            .and_then(|r| {
                if r.holdfast != 1 {
                    return Err("it is of another version".into());
                }
                if r.owner != self.author.owner() || r.key() != key {
                    return Err("it was written for another owner or another place".into());
                }
                Ok(r)
            })
            .map_err(RecordFault::Unreadable))
    }
}

/// Why a base backup's record does not count.
enum RecordFault {
    /// Nobody whom the policy names vouches for it, so it is nothing.
    Untrusted(String),
    /// It may be one of ours, and what it needs is not known.
    Unreadable(String),
}

impl SystemInventory {
    /// The newest commit or abort that is there of a segment.
    pub fn last_commit(&self, timeline: TimelineId, number: u64) -> Option<Timestamp> {
        let whole = self.segments.get(&(timeline, number)).map(|s| s.name.last_commit);
        whole.or_else(|| self.tails.get(&(timeline, number)).map(|t| t.last_commit)).flatten()
    }

    /// Up to where a segment is there; none where nothing is.
    pub fn segment_end(&self, timeline: TimelineId, number: u64) -> Option<Lsn> {
        if self.segments.contains_key(&(timeline, number)) {
            return self.segment_size.map(|size| size.segment_start(number + 1));
        }
        self.tails.get(&(timeline, number)).map(|t| t.until)
    }

    fn add_tail(&mut self, segment: SegmentName, chunks: &[WalChunk]) {
        let (Some(tail), Some(size)) =
            (segment_tail(chunks), chunks.first().map(|c| c.segment_size))
        else {
            return;
        };
        if self.segment_size.is_some_and(|s| s != size) {
            self.faults.push(format!("pieces of {segment} are of another segment size"));
            return;
        }
        self.segment_size = Some(size);
        let Some(number) = segment.number(size) else { return };
        if !self.segments.contains_key(&(segment.timeline, number)) {
            self.tails.insert((segment.timeline, number), tail);
        }
    }

    fn add_segment(&mut self, stored: StoredWalFile) {
        let (WalFileName::Segment(name), Some(size)) = (stored.name.file, stored.name.segment_size)
        else {
            return;
        };
        if self.segment_size.is_some_and(|s| s != size) {
            self.faults.push(format!("{name} is of another segment size than those before"));
            return;
        }
        self.segment_size = Some(size);
        let Some(number) = name.number(size) else {
            self.faults.push(format!("{name} is no segment of {} MB", size.megabytes()));
            return;
        };
        if let Some(other) = self.segments.insert((name.timeline, number), stored) {
            if self.segments[&(name.timeline, number)].name.sha256 != other.name.sha256 {
                self.faults.push(format!("{name} is there with two different contents"));
            }
            self.extra_files.push(other);
        }
    }
}

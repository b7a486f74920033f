//! Writing the next object: find the head, chain to it, take the next number; whoever was quicker, go on after it.

use super::{
    AuditLog, LogObject, OBJECTS_PER_FOLDER,
    record::{self, AuditEntry, ChainTip, RunInfo, append_signature, encode_object},
    signed_name,
};
use crate::{aws::OperationError, signing::SigningAuthor};
use std::{collections::BTreeSet, fmt, str::FromStr, time::Duration};

/// Records in one object; a run with more of them writes more objects.
pub(super) const MAX_RECORDS_PER_OBJECT: usize = 1000;
/// How often somebody else may be quicker.
const MAX_ATTEMPTS: usize = 100;
/// Another try waits this long at most, so that writers do not march in step; for the first tries less.
const MAX_BACKOFF: Duration = Duration::from_millis(400);

/// Where a log ends: number of the newest object and hash of its last record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainHead {
    /// Number of the object.
    pub seq: u64,
    /// Hash of its last record.
    pub hash: String,
}

impl fmt::Display for ChainHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

impl FromStr for ChainHead {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let read = || {
            let (seq, hash) = s.split_once(':')?;
            let hex = hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
            Some(Self { seq: seq.parse().ok()?, hash: hex.then(|| hash.to_ascii_lowercase())? })
        };
        read().ok_or_else(|| "write it as an earlier verify printed it: SEQ:HASH".into())
    }
}

/// Where the next object goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ChainEnd {
    /// The newest object that counts; 0 of a log without any.
    pub(crate) seq: u64,
    /// Its last record.
    pub(crate) tip: ChainTip,
    /// The next free number.
    pub(crate) next: u64,
}

/// No number is higher: a name has nine digits.
const MAX_SEQUENCE: u64 = 999_999_999;

impl AuditLog {
    /// Records entries at the end of the log and says where it ends now.
    ///
    /// # Errors
    /// If the log can't be read or written, or others were quicker too often.
    pub(crate) async fn append(
        &self,
        run: &RunInfo,
        entries: &[AuditEntry],
        author: &SigningAuthor,
    ) -> Result<ChainHead, OperationError> {
        let mut end = self.find_end().await?;
        for (part, entries) in entries.chunks(MAX_RECORDS_PER_OBJECT).enumerate() {
            end = self.append_object(run, entries, author, end, part).await?;
        }
        Ok(ChainHead { seq: end.seq, hash: end.tip.hash })
    }

    /// Records entries as the next object, or after what others wrote meanwhile.
    pub(super) async fn append_object(
        &self,
        run: &RunInfo,
        entries: &[AuditEntry],
        author: &SigningAuthor,
        mut end: ChainEnd,
        part: usize,
    ) -> Result<ChainEnd, OperationError> {
        for attempt in 0..MAX_ATTEMPTS {
            let seq = end.next;
            let (bytes, last) = encode_object(seq, run, entries, end.tip.clone());
            let bytes = append_signature(bytes, &signed_name(seq), author).await?;
            if self.put_if_absent(seq, bytes.clone()).await? {
                return Ok(ChainEnd { seq, tip: last, next: seq + 1 });
            }
            // An answer that was lost on its way: what is there is what we wrote.
            let there = self.get_object(seq).await?.unwrap_or_default();
            if there == bytes {
                return Ok(ChainEnd { seq, tip: last, next: seq + 1 });
            }
            tokio::time::sleep(backoff_delay(&run.id, part, attempt)).await;
            end = self.find_end().await?;
        }
        let doing = format!("record {} operations", entries.len());
        let why = format!("others took the next number {MAX_ATTEMPTS} times");
        Err(OperationError::from_message(doing, why))
    }

    /// Where the log ends: two lists, and one object read. With signatures, that is the newest object that is signed;
    /// without them the newest of the folders that follow each other from the first on. So a number that somebody made up
    /// ends nothing.
    pub(crate) async fn find_end(&self) -> Result<ChainEnd, OperationError> {
        let (mut folders, _) = self.list_folders().await?;
        if self.verifier.is_none() {
            let gap = folders.windows(2).position(|pair| pair[0] + 1 != pair[1]);
            folders.truncate(gap.map_or(folders.len(), |at| at + 1));
        }
        let mut taken = BTreeSet::new();
        for folder in folders.into_iter().rev() {
            let objects = self.list_objects(folder).await?;
            let numbers: Vec<u64> =
                objects.into_iter().rev().filter_map(LogObject::own_sequence).collect();
            taken.extend(numbers.iter().copied());
            for seq in numbers {
                if let Some(last) = self.tip_of_object(seq).await?
                    && let Some(next) = (seq + 1..=MAX_SEQUENCE).find(|next| !taken.contains(next))
                {
                    return Ok(ChainEnd { seq, tip: last, next });
                }
            }
        }
        let next =
            (1..=MAX_SEQUENCE).find(|next| !taken.contains(next)).unwrap_or(OBJECTS_PER_FOLDER);
        Ok(ChainEnd { seq: 0, tip: ChainTip::genesis(), next })
    }

    /// The last record of an object; none of one that does not count. Where nothing is signed, a damaged one does not
    /// stop the log: what follows is chained to its last line as it is, so that `audit verify` finds the damage and
    /// nothing else.
    async fn tip_of_object(&self, seq: u64) -> Result<Option<ChainTip>, OperationError> {
        let bytes = self.get_object(seq).await?.unwrap_or_default();
        let records = match self.verified_records(seq, &bytes) {
            Ok(records) => records,
            Err(why) if self.verifier.is_some() => {
                tracing::error!(seq, "an audit object does not count: {why}");
                return Ok(None);
            }
            Err(_) => &bytes[..],
        };
        let line =
            records.split(|b| *b == b'\n').rfind(|line| !line.is_empty()).unwrap_or_default();
        Ok(Some(match record::parse_record(line) {
            Ok(record) => ChainTip::from_record(&record),
            Err(why) => {
                tracing::error!(seq, "the newest audit record is damaged: {why}");
                record::tip_of_invalid_line(line)
            }
        }))
    }
}

/// A wait that differs between writers and between tries. Runs have ids of their own, so no randomness is needed.
fn backoff_delay(run: &str, part: usize, attempt: usize) -> Duration {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hash = DefaultHasher::new();
    (run, part, attempt).hash(&mut hash);
    let most =
        MAX_BACKOFF.min(Duration::from_millis(10) * u32::try_from(attempt + 1).unwrap_or(u32::MAX));
    most.mul_f64(f64::from(u16::try_from(hash.finish() % 1000).unwrap_or(0)) / 1000.0)
}

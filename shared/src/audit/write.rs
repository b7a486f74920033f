//! Writing the next object: find the head, chain to it, take the next number; whoever was quicker, go on after it.

use super::{
    Log, Named,
    record::{self, Entry, Last, Run, object},
};
use crate::aws::EdgeError;
use std::{fmt, str::FromStr, time::Duration};

/// Records in one object; a run with more of them writes more objects.
pub(super) const LINES: usize = 1000;
/// How often somebody else may be quicker.
const TRIES: usize = 100;
/// Another try waits this long at most, so that writers do not march in step; for the first tries less.
const WAIT: Duration = Duration::from_millis(400);

/// Where a log ends: number of the newest object and hash of its last record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Number of the object.
    pub seq: u64,
    /// Hash of its last record.
    pub hash: String,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

impl FromStr for Head {
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

impl Log {
    /// Records entries at the end of the log and says where it ends now.
    ///
    /// # Errors
    /// If the log can't be read or written, or others were quicker too often.
    pub(crate) async fn append(&self, run: &Run, entries: &[Entry]) -> Result<Head, EdgeError> {
        let mut head = self.head().await?;
        for (part, entries) in entries.chunks(LINES).enumerate() {
            head = self.append_one(run, entries, head, part).await?;
        }
        let (seq, last) = head;
        Ok(Head { seq, hash: last.hash })
    }

    /// Records entries as the next object after `seq`, or after what others wrote meanwhile.
    pub(super) async fn append_one(
        &self,
        run: &Run,
        entries: &[Entry],
        (mut seq, mut last): (u64, Last),
        part: usize,
    ) -> Result<(u64, Last), EdgeError> {
        for attempt in 0..TRIES {
            let next = seq + 1;
            let (bytes, end) = object(next, run, entries, last.clone());
            if self.create(next, bytes.clone()).await? {
                return Ok((next, end));
            }
            // An answer that was lost on its way: what is there is what we wrote.
            let there = self.get(next).await?.unwrap_or_default();
            if there == bytes {
                return Ok((next, end));
            }
            tokio::time::sleep(wait(&run.id, part, attempt)).await;
            (seq, last) = self.head().await?;
        }
        let doing = format!("record {} operations", entries.len());
        let why = format!("others took the next number {TRIES} times");
        Err(EdgeError::refused(doing, why))
    }

    /// Number and last record of the newest object; zero and none of an empty log. Two lists, and one object read.
    pub(crate) async fn head(&self) -> Result<(u64, Last), EdgeError> {
        let (folders, _) = self.folders().await?;
        for folder in folders.into_iter().rev() {
            let objects = self.objects(folder).await?;
            let newest = objects.iter().rev().find_map(|named| match named {
                Named::Object(seq) => Some(*seq),
                Named::Foreign(_) => None,
            });
            if let Some(seq) = newest {
                return Ok((seq, self.last_of(seq).await?));
            }
        }
        Ok((0, Last::none()))
    }

    /// The last record of an object. A damaged one does not stop the log: what follows is chained to its last line as it
    /// is, so that `audit verify` finds the damage and nothing else.
    async fn last_of(&self, seq: u64) -> Result<Last, EdgeError> {
        let bytes = self.get(seq).await?.unwrap_or_default();
        let line = bytes.split(|b| *b == b'\n').rfind(|line| !line.is_empty()).unwrap_or_default();
        match record::read(line) {
            Ok(record) => Ok(Last::of(&record)),
            Err(why) => {
                tracing::error!(seq, "the newest audit record is damaged: {why}");
                Ok(record::damaged(line))
            }
        }
    }
}

/// A wait that differs between writers and between tries. Runs have ids of their own, so no randomness is needed.
fn wait(run: &str, part: usize, attempt: usize) -> Duration {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hash = DefaultHasher::new();
    (run, part, attempt).hash(&mut hash);
    let most = WAIT.min(Duration::from_millis(10) * u32::try_from(attempt + 1).unwrap_or(u32::MAX));
    most.mul_f64(f64::from(u16::try_from(hash.finish() % 1000).unwrap_or(0)) / 1000.0)
}

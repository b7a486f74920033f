//! Reading the newest records, for reports and monitors.

use super::{Log, Named, Record, record};
use crate::{
    aws::{EdgeError, Kind},
    hints::commands,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};

/// Objects read at once.
const WIDTH: usize = 16;
/// Clocks of hosts may differ, and a record is written a little after its time: reading goes on so far before `since`.
const SLACK: SignedDuration = SignedDuration::from_hours(24);

impl Log {
    /// The records since a time, oldest first. Only the folders and objects are read that it takes, newest first.
    ///
    /// # Errors
    /// If the log can't be read, or a record of it is damaged.
    pub async fn read(&self, since: Timestamp) -> Result<Vec<Record>, EdgeError> {
        let enough = since.checked_sub(SLACK).unwrap_or(since);
        let (folders, _) = self.folders().await?;
        let mut found = Vec::new();
        'all: for folder in folders.into_iter().rev() {
            let numbers = self.objects(folder).await?.into_iter().rev().filter_map(Named::ours);
            let mut objects = stream::iter(numbers).map(|seq| self.records(seq)).buffered(WIDTH);
            while let Some(mut records) = objects.try_next().await? {
                let done = records.iter().all(|r| r.at < enough) && !records.is_empty();
                records.reverse();
                found.append(&mut records);
                if done {
                    break 'all;
                }
            }
        }
        found.reverse();
        found.retain(|r| r.at >= since);
        Ok(found)
    }

    /// The records of an object; none when it was let go meanwhile, or does not count.
    async fn records(&self, seq: u64) -> Result<Vec<Record>, EdgeError> {
        let bytes = self.get(seq).await?.unwrap_or_default();
        let records = match self.opened(seq, &bytes) {
            Ok(records) => records,
            // Whoever put it there may not keep the others from being read.
            Err(why) if self.verifier.is_some() => {
                tracing::error!(seq, "an audit object does not count: {why}");
                return Ok(Vec::new());
            }
            Err(_) => &bytes[..],
        };
        let damaged = |why: String| {
            let verify = commands::run(commands::AUDIT_VERIFY);
            let mend = format!("{verify}, which says what was changed");
            EdgeError::of_kind(Kind::Store, format!("read {}", self.name(seq)), why, mend)
        };
        let lines = records.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| record::read(line).map_err(damaged)).collect()
    }

    /// Objects that hold nothing younger than a time, oldest first; never the newest object of the log, which the next
    /// is chained to.
    ///
    /// # Errors
    /// If the log can't be read.
    pub async fn before(&self, time: Timestamp) -> Result<Vec<u64>, EdgeError> {
        let newest = self.end().await?.seq;
        let (folders, _) = self.folders().await?;
        let mut old = Vec::new();
        for folder in folders {
            for seq in self.objects(folder).await?.into_iter().filter_map(Named::ours) {
                let records = self.records(seq).await?;
                // What does not count is nobody's to remove.
                if records.is_empty() && self.verifier.is_some() {
                    continue;
                }
                let young = records.iter().any(|r| r.at >= time);
                // What is younger stays, and what follows it is younger still.
                if young || seq == newest {
                    return Ok(old);
                }
                old.push(seq);
            }
        }
        Ok(old)
    }
}

impl Named {
    pub(super) fn ours(self) -> Option<u64> {
        match self {
            Self::Object(seq) => Some(seq),
            Self::Foreign(_) => None,
        }
    }
}

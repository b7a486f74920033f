//! Reading the newest records, for reports and monitors.

use super::{AuditLog, AuditRecord, LogObject, record};
use crate::{
    aws::{OperationError, OperationErrorKind},
    hints::commands,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};

/// Objects read at once.
const MAX_CONCURRENT_READS: usize = 16;
/// Clocks of hosts may differ, and a record is written a little after its time: reading goes on so far before `since`.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_hours(24);

impl AuditLog {
    /// The records since a time, oldest first. Only the folders and objects are read that it takes, newest first.
    ///
    /// # Errors
    /// If the log can't be read, or a record of it is damaged.
    pub async fn records_since(
        &self,
        since: Timestamp,
    ) -> Result<Vec<AuditRecord>, OperationError> {
        let enough = since.checked_sub(CLOCK_SLACK).unwrap_or(since);
        let (folders, _) = self.list_folders().await?;
        let mut found = Vec::new();
        'all: for folder in folders.into_iter().rev() {
            let numbers = self
                .list_objects(folder)
                .await?
                .into_iter()
                .rev()
                .filter_map(LogObject::own_sequence);
            let mut objects = stream::iter(numbers)
                .map(|seq| self.read_object(seq))
                .buffered(MAX_CONCURRENT_READS);
            while let Some(mut records) = objects.try_next().await? {
                let done = records.iter().all(|r| r.recorded_at < enough) && !records.is_empty();
                records.reverse();
                found.append(&mut records);
                if done {
                    break 'all;
                }
            }
        }
        found.reverse();
        found.retain(|r| r.recorded_at >= since);
        Ok(found)
    }

    /// The records of an object; none when it was let go meanwhile, or does not count.
    async fn read_object(&self, seq: u64) -> Result<Vec<AuditRecord>, OperationError> {
        let bytes = self.get_object(seq).await?.unwrap_or_default();
        let records = match self.verified_records(seq, &bytes) {
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
            let hint = format!("{verify}, which says what was changed");
            OperationError::with_hint(
                OperationErrorKind::Store,
                format!("read {}", self.object_address(seq)),
                why,
                hint,
            )
        };
        let lines = records.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| record::parse_record(line).map_err(damaged)).collect()
    }

    /// Objects that hold nothing younger than a time, oldest first; never the newest object of the log, which the next
    /// is chained to.
    ///
    /// # Errors
    /// If the log can't be read.
    pub async fn objects_older_than(&self, time: Timestamp) -> Result<Vec<u64>, OperationError> {
        let newest = self.find_end().await?.seq;
        let (folders, _) = self.list_folders().await?;
        let mut old = Vec::new();
        for folder in folders {
            for seq in
                self.list_objects(folder).await?.into_iter().filter_map(LogObject::own_sequence)
            {
                let records = self.read_object(seq).await?;
                // What does not count is nobody's to remove.
                if records.is_empty() && self.verifier.is_some() {
                    continue;
                }
                let young = records.iter().any(|r| r.recorded_at >= time);
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

impl LogObject {
    pub(super) fn own_sequence(self) -> Option<u64> {
        match self {
            Self::Own(seq) => Some(seq),
            Self::Foreign(_) => None,
        }
    }
}

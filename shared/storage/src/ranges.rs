//! Whole objects, read in ranges, a few of them ahead: what stores over the network have in common.

use crate::{StoreError, StoreErrorKind};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use std::{io, time::Duration};
use tokio::{sync::mpsc, task::JoinSet};

/// Bytes of one range: large enough that a call costs little beside its data.
const RANGE_BYTES: u64 = 8 << 20;
/// Bytes handed on at once.
const CHUNK_BYTES: usize = 1 << 20;
/// Ranges in memory at once.
const PREFETCH_RANGES: usize = 3;
/// A range has to come within this, all tries included: 14 KB a second.
const RANGE_TIMEOUT: Duration = Duration::from_mins(10);
/// Times that one range is asked for after its connection was lost.
pub(crate) const MAX_ATTEMPTS: u32 = 6;

/// Hands an object of `size` bytes on in order. `range` reads the bytes from its first argument up to its second. When
/// nobody listens any more, it ends.
///
/// # Errors
/// The first of `range`.
pub(crate) async fn stream_ranges<Range>(
    doing: String,
    size: u64,
    out: &mpsc::Sender<io::Result<Bytes>>,
    range: impl Fn(u64, u64) -> Range,
) -> Result<(), StoreError>
where
    Range: Future<Output = Result<Bytes, StoreError>> + Send + 'static,
{
    let starts = (0..size.div_ceil(RANGE_BYTES)).map(|i| i * RANGE_BYTES);
    let ranges = starts.map(|from| {
        // A task of its own: it reads on while the reader is busy, so that no connection stands idle and is cut.
        let mut task = JoinSet::new();
        task.spawn(tokio::time::timeout(
            RANGE_TIMEOUT,
            range(from, (from + RANGE_BYTES).min(size)),
        ));
        async move { task.join_next().await }
    });
    let mut ranges = stream::iter(ranges).buffered(PREFETCH_RANGES);
    while let Some(range) = ranges.next().await {
        let Some(Ok(range)) = range else {
            let hint = "this is a fault of Holdfast";
            return Err(StoreError::new(
                StoreErrorKind::Refused,
                doing,
                "its task was ended",
                hint,
            ));
        };
        let mut range = range.unwrap_or_else(|_| Err(range_timeout_error(doing.clone())))?;
        while !range.is_empty() {
            let chunk = range.split_to(CHUNK_BYTES.min(range.len()));
            if out.send(Ok(chunk)).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Waits before a try, the first of which is 0: nothing, then from 400 ms on twice as long each time.
pub(crate) async fn backoff(tried: u32) {
    if tried > 0 {
        tokio::time::sleep(Duration::from_millis(200 << tried)).await;
    }
}

/// The last try's connection was lost too.
pub(crate) fn connection_lost_error(doing: String, how: &str) -> StoreError {
    let why = format!("the connection was lost {MAX_ATTEMPTS} times: {how}");
    StoreError::new(StoreErrorKind::Unreachable, doing, why, "check the network; try again")
}

/// The bytes came too slowly, or no more of them.
fn range_timeout_error(doing: String) -> StoreError {
    let why = format!(
        "{} MiB of it did not come within {} minutes",
        RANGE_BYTES >> 20,
        RANGE_TIMEOUT.as_secs() / 60
    );
    StoreError::new(
        StoreErrorKind::Unreachable,
        doing,
        why,
        "check the network and the store; try again",
    )
}

/// The object is another version than the one whose reading was begun.
pub(crate) fn changed_during_read_error(doing: String) -> StoreError {
    let hint = "see what else writes there: backups are never rewritten";
    StoreError::new(StoreErrorKind::Damaged, doing, "it was changed while it was read", hint)
}

/// There is no object to read or to thaw.
pub(crate) fn not_found_error(doing: String) -> StoreError {
    let hint = "list the store: it may have been deleted";
    StoreError::new(StoreErrorKind::Missing, doing, "it is not there", hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_range_that_never_comes_is_an_error_and_not_a_wait() {
        let (out, _held) = mpsc::channel(1);
        let read = stream_ranges("read it".into(), 1, &out, |_, _| std::future::pending());
        let error = read.await.expect_err("late");
        assert_eq!(error.to_string(), "read it: 8 MiB of it did not come within 10 minutes");
    }
}

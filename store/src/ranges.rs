//! Whole objects, read in ranges, a few of them ahead: what stores over the network have in common.

use crate::{Error, Kind};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use std::{io, time::Duration};
use tokio::{sync::mpsc, task::JoinSet};

/// Bytes of one range: large enough that a call costs little beside its data.
const RANGE: u64 = 8 << 20;
/// Bytes handed on at once.
const CHUNK: usize = 1 << 20;
/// Ranges in memory at once.
const AHEAD: usize = 3;
/// A range has to come within this, all tries included: 14 KB a second.
const LONGEST: Duration = Duration::from_mins(10);
/// Times that one range is asked for after its connection was lost.
pub(crate) const TRIES: u32 = 6;

/// Hands an object of `size` bytes on in order. `range` reads the bytes from its first argument up to its second. When
/// nobody listens any more, it ends.
///
/// # Errors
/// The first of `range`.
pub(crate) async fn read<Range>(
    doing: String,
    size: u64,
    out: &mpsc::Sender<io::Result<Bytes>>,
    range: impl Fn(u64, u64) -> Range,
) -> Result<(), Error>
where
    Range: Future<Output = Result<Bytes, Error>> + Send + 'static,
{
    let starts = (0..size.div_ceil(RANGE)).map(|i| i * RANGE);
    let ranges = starts.map(|from| {
        // A task of its own: it reads on while the reader is busy, so that no connection stands idle and is cut.
        let mut task = JoinSet::new();
        task.spawn(tokio::time::timeout(LONGEST, range(from, (from + RANGE).min(size))));
        async move { task.join_next().await }
    });
    let mut ranges = stream::iter(ranges).buffered(AHEAD);
    while let Some(range) = ranges.next().await {
        let Some(Ok(range)) = range else {
            let mend = "this is a fault of Holdfast";
            return Err(Error::new(Kind::Refused, doing, "its task was ended", mend));
        };
        let mut range = range.unwrap_or_else(|_| Err(late(doing.clone())))?;
        while !range.is_empty() {
            let chunk = range.split_to(CHUNK.min(range.len()));
            if out.send(Ok(chunk)).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Waits before a try, the first of which is 0: nothing, then from 400 ms on twice as long each time.
pub(crate) async fn pause(tried: u32) {
    if tried > 0 {
        tokio::time::sleep(Duration::from_millis(200 << tried)).await;
    }
}

/// The last try's connection was lost too.
pub(crate) fn lost(doing: String, how: &str) -> Error {
    let why = format!("the connection was lost {TRIES} times: {how}");
    Error::new(Kind::Unreachable, doing, why, "check the network; try again")
}

/// The bytes came too slowly, or no more of them.
fn late(doing: String) -> Error {
    let why =
        format!("{} MiB of it did not come within {} minutes", RANGE >> 20, LONGEST.as_secs() / 60);
    Error::new(Kind::Unreachable, doing, why, "check the network and the store; try again")
}

/// The object is another version than the one whose reading was begun.
pub(crate) fn changed(doing: String) -> Error {
    let mend = "see what else writes there: backups are never rewritten";
    Error::new(Kind::Damaged, doing, "it was changed while it was read", mend)
}

/// There is no object to read or to thaw.
pub(crate) fn missing(doing: String) -> Error {
    let mend = "list the store: it may have been deleted";
    Error::new(Kind::Missing, doing, "it is not there", mend)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_range_that_never_comes_is_an_error_and_not_a_wait() {
        let (out, _held) = mpsc::channel(1);
        let read = read("read it".into(), 1, &out, |_, _| std::future::pending());
        let error = read.await.expect_err("late");
        assert_eq!(error.to_string(), "read it: 8 MiB of it did not come within 10 minutes");
    }
}

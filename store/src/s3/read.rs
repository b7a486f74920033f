//! Whole objects, read in ranges, a few of them ahead, all of one version.

use super::{S3Store, code};
use crate::{Error, Kind};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use shared::aws::EdgeError;
use std::{io, time::Duration};
use tokio::{sync::mpsc, task::JoinSet};

/// Bytes of one range: large enough that a call costs little beside its data.
const RANGE: u64 = 8 << 20;
/// Bytes handed on at once.
const CHUNK: usize = 1 << 20;
/// Ranges in memory at once.
const AHEAD: usize = 3;
/// Times that one range is gone on with after its connection was lost.
const TRIES: u32 = 6;

impl S3Store {
    pub(crate) async fn read(
        &self,
        key: &str,
        out: &mpsc::Sender<io::Result<Bytes>>,
    ) -> Result<(), Error> {
        let doing = || format!("read {}", self.whole(key));
        let Some(head) = self.head(key).await? else {
            let mend = "list the store: it may have been deleted";
            return Err(Error::new(Kind::Missing, doing(), "it is not there", mend));
        };
        let size = head.content_length().and_then(|n| u64::try_from(n).ok()).unwrap_or_default();
        let etag = head.e_tag().unwrap_or_default().to_owned();
        let starts = (0..size.div_ceil(RANGE)).map(|i| i * RANGE);
        let ranges = starts.map(|from| {
            let (this, key, etag) = (self.clone(), key.to_owned(), etag.clone());
            // A task of its own: it reads on while the reader is busy, so that no connection stands idle and is cut.
            let mut task = JoinSet::new();
            task.spawn(
                async move { this.range(&key, &etag, from, (from + RANGE).min(size)).await },
            );
            async move { task.join_next().await }
        });
        let mut ranges = stream::iter(ranges).buffered(AHEAD);
        while let Some(range) = ranges.next().await {
            let Some(Ok(range)) = range else {
                let mend = "this is a fault of Holdfast";
                return Err(Error::new(Kind::Refused, doing(), "its task was ended", mend));
            };
            let mut range = range?;
            while !range.is_empty() {
                let chunk = range.split_to(CHUNK.min(range.len()));
                if out.send(Ok(chunk)).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The bytes from `from` up to `to`, gone on with where a connection was lost.
    async fn range(&self, key: &str, etag: &str, from: u64, to: u64) -> Result<Bytes, Error> {
        let mut came = BytesMut::with_capacity(usize::try_from(to - from).unwrap_or_default());
        let mut lost = String::new();
        for tried in 0..TRIES {
            if tried > 0 {
                tokio::time::sleep(Duration::from_millis(200 << tried)).await;
            }
            match self.rest(key, etag, from, to, &mut came).await? {
                None => return Ok(came.freeze()),
                Some(why) => lost = why,
            }
            tracing::debug!(key, "the connection was lost and is made anew: {lost}");
        }
        let doing = format!("read {}", self.whole(key));
        let why = format!("the connection was lost {TRIES} times: {lost}");
        Err(Error::new(Kind::Unreachable, doing, why, "check the network; try again"))
    }

    /// Reads on from what came before. None at the end, or how the connection was lost.
    async fn rest(
        &self,
        key: &str,
        etag: &str,
        from: u64,
        to: u64,
        came: &mut BytesMut,
    ) -> Result<Option<String>, Error> {
        let begin = from + came.len() as u64;
        let request = self.client.get_object().bucket(&self.what.name).key(self.key(key));
        let request = request.range(format!("bytes={begin}-{}", to - 1)).if_match(etag);
        let mut body = match request.send().await {
            Ok(answer) => answer.body,
            Err(e) if code(&e) == Some("PreconditionFailed") => {
                return Err(Error::new(
                    Kind::Damaged,
                    format!("read {}", self.whole(key)),
                    "it was changed while it was read",
                    "see what else writes there: backups are never rewritten",
                ));
            }
            Err(e) => {
                return Err(EdgeError::new(format!("read {}", self.whole(key)), &e).into());
            }
        };
        while let Some(chunk) = body.next().await {
            match chunk {
                Ok(chunk) if came.len() as u64 + chunk.len() as u64 <= to - from => {
                    came.extend_from_slice(&chunk);
                }
                Ok(_) => {
                    // More than was asked for: the store knows no ranges.
                    return Err(Error::new(
                        Kind::Refused,
                        format!("read {}", self.whole(key)),
                        "the store sends more than was asked for",
                        "see whether it, or a proxy before it, supports ranges",
                    ));
                }
                Err(e) => return Ok(Some(e.to_string())),
            }
        }
        let whole = came.len() as u64 == to - from;
        Ok((!whole).then(|| format!("{} bytes came of {}", came.len(), to - from)))
    }
}

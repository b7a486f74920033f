//! Whole blobs, read in ranges, a few of them ahead, all of one version.

use super::{AzureStore, error};
use crate::{Error, Kind, SMALL, Thaw, quote};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use std::{io, time::Duration};
use tokio::{sync::mpsc, task::JoinSet};

/// Bytes of one range, ranges in memory at once, bytes handed on at once, and tries of a range: as for S3.
const RANGE: u64 = 8 << 20;
const AHEAD: usize = 3;
const CHUNK: usize = 1 << 20;
const TRIES: u32 = 6;
impl AzureStore {
    pub(crate) async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        let doing = || format!("read {}", self.whole(key));
        let answer = match self.store.get(&self.path(key)?).await {
            Ok(answer) => answer,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(e) => return Err(error(doing(), &e)),
        };
        if answer.meta.size > SMALL {
            return Err(Error::new(Kind::Refused, doing(), "it is too large", "look at it"));
        }
        answer.bytes().await.map(Some).map_err(|e| error(doing(), &e))
    }

    pub(crate) async fn read(
        &self,
        key: &str,
        out: &mpsc::Sender<io::Result<Bytes>>,
    ) -> Result<(), Error> {
        let Some(head) = self.head(key).await? else { return Err(self.missing("read", key)) };
        let (size, etag) = (head.meta.size, head.meta.e_tag);
        let starts = (0..size.div_ceil(RANGE)).map(|i| i * RANGE);
        let ranges = starts.map(|from| {
            let (this, key, etag) = (self.clone(), key.to_owned(), etag.clone());
            // A task of its own: it reads on while the reader is busy, so that no connection stands idle and is cut.
            let mut task = JoinSet::new();
            task.spawn(async move { this.range(&key, etag, from, (from + RANGE).min(size)).await });
            async move { task.join_next().await }
        });
        let mut ranges = stream::iter(ranges).buffered(AHEAD);
        while let Some(range) = ranges.next().await {
            let Some(Ok(range)) = range else {
                let doing = format!("read {}", self.whole(key));
                let mend = "this is a fault of Holdfast";
                return Err(Error::new(Kind::Refused, doing, "its task was ended", mend));
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

    async fn range(
        &self,
        key: &str,
        etag: Option<String>,
        from: u64,
        to: u64,
    ) -> Result<Bytes, Error> {
        let (path, doing) = (self.path(key)?, || format!("read {}", self.whole(key)));
        let mut lost = String::new();
        for tried in 0..TRIES {
            if tried > 0 {
                tokio::time::sleep(Duration::from_millis(200 << tried)).await;
            }
            let options = GetOptions {
                range: Some(GetRange::Bounded(from..to)),
                if_match: etag.clone(),
                ..GetOptions::default()
            };
            let answer = self.store.get_opts(&path, options).await;
            let answer = answer.map_err(|e| match e {
                object_store::Error::Precondition { .. } => Error::new(
                    Kind::Damaged,
                    doing(),
                    "it was changed while it was read",
                    "see what else writes there: backups are never rewritten",
                ),
                e => error(doing(), &e),
            })?;
            match answer.bytes().await {
                Ok(bytes) if bytes.len() as u64 == to - from => return Ok(bytes),
                Ok(bytes) => lost = format!("{} bytes came of {}", bytes.len(), to - from),
                Err(e) => lost = e.to_string(),
            }
        }
        let why = format!("the connection was lost {TRIES} times: {lost}");
        Err(Error::new(Kind::Unreachable, doing(), why, "check the network; try again"))
    }

    fn missing(&self, verb: &str, key: &str) -> Error {
        let mend = "list the store: it may have been deleted";
        Error::new(Kind::Missing, format!("{verb} {}", self.whole(key)), "it is not there", mend)
    }

    /// Azure tells an archived blob apart only when it is read; the thaw is a change of its tier, for good, which is left
    /// to its owner.
    pub(crate) async fn thaw(&self, key: &str) -> Result<Thaw, Error> {
        let Some(head) = self.head(key).await? else { return Err(self.missing("thaw", key)) };
        if head.meta.size == 0 {
            return Ok(Thaw::Needless);
        }
        match self.range(key, head.meta.e_tag, 0, 1).await {
            Ok(_) => Ok(Thaw::Needless),
            Err(e) if e.kind == Kind::Cold => Err(Error {
                mend: format!(
                    "move it to a tier that can be read, which takes up to 15 hours: az storage blob set-tier --account-name {} --container-name {} --name {} --tier Hot",
                    quote(&self.account),
                    quote(&self.container),
                    quote(&format!("{}{key}", self.prefix))
                ),
                ..e
            }),
            Err(e) => Err(e),
        }
    }
}

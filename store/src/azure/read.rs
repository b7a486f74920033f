//! Whole blobs, read in ranges, a few of them ahead, all of one version.

use super::{AzureStore, error};
use crate::{Error, Kind, Thaw, quote, ranges};
use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use object_store::{GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt};
use shared::bounded::{self, TooLarge};
use std::io;
use tokio::sync::mpsc;

impl AzureStore {
    pub(crate) async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        let doing = || format!("read {}", self.whole(key));
        let answer = match self.store.get(&self.path(key)?).await {
            Ok(answer) => answer,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(e) => return Err(error(doing(), &e)),
        };
        let read = collect(answer, bounded::MAX_SMALL_OBJECT_BYTES).await.map_err(|e| error(doing(), &e))?;
        read.map(Some).map_err(|e| Error::io(doing(), &e.into()))
    }

    pub(crate) async fn read(
        &self,
        key: &str,
        out: &mpsc::Sender<io::Result<Bytes>>,
    ) -> Result<(), Error> {
        let doing = format!("read {}", self.whole(key));
        let Some(head) = self.head(key).await? else { return Err(ranges::missing(doing)) };
        let (size, etag) = (head.meta.size, head.meta.e_tag);
        let range = |from, to| {
            let (this, key, etag) = (self.clone(), key.to_owned(), etag.clone());
            async move { this.range(&key, etag, from, to).await }
        };
        ranges::read(doing, size, out, range).await
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
        for tried in 0..ranges::TRIES {
            ranges::pause(tried).await;
            let options = GetOptions {
                range: Some(GetRange::Bounded(from..to)),
                if_match: etag.clone(),
                ..GetOptions::default()
            };
            let answer = self.store.get_opts(&path, options).await;
            let answer = answer.map_err(|e| match e {
                object_store::Error::Precondition { .. } => ranges::changed(doing()),
                e => error(doing(), &e),
            })?;
            let wanted = usize::try_from(to - from).unwrap_or(usize::MAX);
            match collect(answer, wanted).await {
                Ok(Ok(bytes)) if bytes.len() == wanted => return Ok(bytes),
                Ok(Ok(bytes)) => lost = format!("{} bytes came of {wanted}", bytes.len()),
                Ok(Err(e)) => lost = e.to_string(),
                Err(e) => lost = e.to_string(),
            }
        }
        Err(ranges::lost(doing(), &lost))
    }

    /// Azure tells an archived blob apart only when it is read; the thaw is a change of its tier, for good, which is left
    /// to its owner.
    pub(crate) async fn thaw(&self, key: &str) -> Result<Thaw, Error> {
        let Some(head) = self.head(key).await? else {
            return Err(ranges::missing(format!("thaw {}", self.whole(key))));
        };
        if head.meta.size == 0 {
            return Ok(Thaw::Needless);
        }
        match self.range(key, head.meta.e_tag, 0, 1).await {
            Ok(_) => Ok(Thaw::Needless),
            Err(e) if e.kind == Kind::Cold => Err(Error {
                mend: format!(
                    "move it to a tier that can be read, which takes up to 15 hours: az storage blob set-tier --account-name {} --container-name {} --name {} --tier Hot",
                    shell_quote(&self.account),
                    shell_quote(&self.container),
                    shell_quote(&format!("{}{key}", self.prefix))
                ),
                ..e
            }),
            Err(e) => Err(e),
        }
    }
}

/// The body of an answer, of `limit` bytes at most, whatever its length says.
async fn collect(answer: GetResult, limit: usize) -> object_store::Result<Result<Bytes, TooLarge>> {
    let (mut pieces, mut bytes) = (answer.into_stream(), BytesMut::new());
    while let Some(piece) = pieces.try_next().await? {
        if bytes.len() + piece.len() > limit {
            return Ok(Err(TooLarge(limit)));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(Ok(bytes.freeze()))
}

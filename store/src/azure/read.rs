//! Whole blobs, read in ranges, a few of them ahead, all of one version.

use super::{AzureStore, error};
use crate::{Error, Kind, SMALL, Thaw, quote, ranges};
use bytes::Bytes;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
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
            match answer.bytes().await {
                Ok(bytes) if bytes.len() as u64 == to - from => return Ok(bytes),
                Ok(bytes) => lost = format!("{} bytes came of {}", bytes.len(), to - from),
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

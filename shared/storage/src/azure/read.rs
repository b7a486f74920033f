//! Whole blobs, read in ranges, a few of them ahead, all of one version.

use super::{AzureBackend, to_store_error};
use crate::{ArchiveRestoreStatus, StoreError, StoreErrorKind, ranges, shell_quote};
use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use object_store::{GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt};
use shared::bounded::{self, TooLarge};
use std::io;
use tokio::sync::mpsc;

impl AzureBackend {
    pub(crate) async fn get_small(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let doing = || format!("read {}", self.full_uri(key));
        let answer = match self.store.get(&self.blob_path(key)?).await {
            Ok(answer) => answer,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(e) => return Err(to_store_error(doing(), &e)),
        };
        let read = collect_limited(answer, bounded::MAX_SMALL_OBJECT_BYTES)
            .await
            .map_err(|e| to_store_error(doing(), &e))?;
        read.map(Some).map_err(|e| StoreError::from_io(doing(), &e.into()))
    }

    pub(crate) async fn stream_object(
        &self,
        key: &str,
        out: &mpsc::Sender<io::Result<Bytes>>,
    ) -> Result<(), StoreError> {
        let doing = format!("read {}", self.full_uri(key));
        let Some(head) = self.head_blob(key).await? else {
            return Err(ranges::not_found_error(doing));
        };
        let (size, etag) = (head.meta.size, head.meta.e_tag);
        let range = |from, to| {
            let (this, key, etag) = (self.clone(), key.to_owned(), etag.clone());
            async move { this.read_range(&key, etag, from, to).await }
        };
        ranges::stream_ranges(doing, size, out, range).await
    }

    async fn read_range(
        &self,
        key: &str,
        etag: Option<String>,
        from: u64,
        to: u64,
    ) -> Result<Bytes, StoreError> {
        let (path, doing) = (self.blob_path(key)?, || format!("read {}", self.full_uri(key)));
        let mut lost = String::new();
        for tried in 0..ranges::MAX_ATTEMPTS {
            ranges::backoff(tried).await;
            let options = GetOptions {
                range: Some(GetRange::Bounded(from..to)),
                if_match: etag.clone(),
                ..GetOptions::default()
            };
            let answer = self.store.get_opts(&path, options).await;
            let answer = answer.map_err(|e| match e {
                object_store::Error::Precondition { .. } => {
                    ranges::changed_during_read_error(doing())
                }
                e => to_store_error(doing(), &e),
            })?;
            let wanted = usize::try_from(to - from).unwrap_or(usize::MAX);
            match collect_limited(answer, wanted).await {
                Ok(Ok(bytes)) if bytes.len() == wanted => return Ok(bytes),
                Ok(Ok(bytes)) => lost = format!("{} bytes came of {wanted}", bytes.len()),
                Ok(Err(e)) => lost = e.to_string(),
                Err(e) => lost = e.to_string(),
            }
        }
        Err(ranges::connection_lost_error(doing(), &lost))
    }

    /// Azure tells an archived blob apart only when it is read; the thaw is a change of its tier, for good, which is left
    /// to its owner.
    pub(crate) async fn request_archive_restore(
        &self,
        key: &str,
    ) -> Result<ArchiveRestoreStatus, StoreError> {
        let Some(head) = self.head_blob(key).await? else {
            return Err(ranges::not_found_error(format!("thaw {}", self.full_uri(key))));
        };
        if head.meta.size == 0 {
            return Ok(ArchiveRestoreStatus::NotArchived);
        }
        match self.read_range(key, head.meta.e_tag, 0, 1).await {
            Ok(_) => Ok(ArchiveRestoreStatus::NotArchived),
            Err(e) if e.kind == StoreErrorKind::Archived => Err(StoreError {
                hint: format!(
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
async fn collect_limited(
    answer: GetResult,
    limit: usize,
) -> object_store::Result<Result<Bytes, TooLarge>> {
    let (mut pieces, mut bytes) = (answer.into_stream(), BytesMut::new());
    while let Some(piece) = pieces.try_next().await? {
        if bytes.len() + piece.len() > limit {
            return Ok(Err(TooLarge(limit)));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(Ok(bytes.freeze()))
}

//! Whole objects, read in ranges, a few of them ahead, all of one version.

use super::{S3Backend, error_code};
use crate::{StoreError, StoreErrorKind, ranges};
use bytes::{Bytes, BytesMut};
use shared::aws::OperationError;
use std::io;
use tokio::sync::mpsc;

impl S3Backend {
    pub(crate) async fn stream_object(
        &self,
        key: &str,
        out: &mpsc::Sender<io::Result<Bytes>>,
    ) -> Result<(), StoreError> {
        let doing = format!("read {}", self.full_uri(key));
        let Some(head) = self.head_object(key).await? else {
            return Err(ranges::not_found_error(doing));
        };
        let size = head.content_length().and_then(|n| u64::try_from(n).ok()).unwrap_or_default();
        let etag = head.e_tag().unwrap_or_default();
        let range = |from, to| {
            let (this, key, etag) = (self.clone(), key.to_owned(), etag.to_owned());
            async move { this.read_range(&key, &etag, from, to).await }
        };
        ranges::stream_ranges(doing, size, out, range).await
    }

    /// The bytes from `from` up to `to`, gone on with where a connection was lost.
    async fn read_range(
        &self,
        key: &str,
        etag: &str,
        from: u64,
        to: u64,
    ) -> Result<Bytes, StoreError> {
        let mut came = BytesMut::with_capacity(usize::try_from(to - from).unwrap_or_default());
        let mut lost = String::new();
        for tried in 0..ranges::MAX_ATTEMPTS {
            ranges::backoff(tried).await;
            match self.read_remaining(key, etag, from, to, &mut came).await? {
                None => return Ok(came.freeze()),
                Some(why) => lost = why,
            }
            tracing::debug!(key, "the connection was lost and is made anew: {lost}");
        }
        Err(ranges::connection_lost_error(format!("read {}", self.full_uri(key)), &lost))
    }

    /// Reads on from what came before. None at the end, or how the connection was lost.
    async fn read_remaining(
        &self,
        key: &str,
        etag: &str,
        from: u64,
        to: u64,
        came: &mut BytesMut,
    ) -> Result<Option<String>, StoreError> {
        let begin = from + came.len() as u64;
        let request = self.client.get_object().bucket(&self.config.name).key(self.full_key(key));
        let request = request.range(format!("bytes={begin}-{}", to - 1)).if_match(etag);
        let mut body = match request.send().await {
            Ok(answer) => answer.body,
            Err(e) if error_code(&e) == Some("PreconditionFailed") => {
                return Err(ranges::changed_during_read_error(format!(
                    "read {}",
                    self.full_uri(key)
                )));
            }
            Err(e) => {
                return Err(OperationError::from_sdk_error(
                    format!("read {}", self.full_uri(key)),
                    &e,
                )
                .into());
            }
        };
        while let Some(chunk) = body.next().await {
            match chunk {
                Ok(chunk) if came.len() as u64 + chunk.len() as u64 <= to - from => {
                    came.extend_from_slice(&chunk);
                }
                Ok(_) => {
                    // More than was asked for: the store knows no ranges.
                    return Err(StoreError::new(
                        StoreErrorKind::Refused,
                        format!("read {}", self.full_uri(key)),
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

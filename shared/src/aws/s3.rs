//! The S3 edge: objects listed, copied and compared; buckets' settings read.
//!
//! - `objects`: listing, page by page, and what S3 knows of one object
//! - `pairs`: two listings side by side, neither held in memory
//! - `copy`, `parts`: copies inside S3, read back and proven; the data never comes through this process
//! - `settings`: versioning, encryption, replication and lifecycle of a bucket
//! - `tiers`: lifecycle rules for storage classes by age
//! - `keys`: how keys are written in headers and lists

mod copy;
mod keys;
mod objects;
mod pairs;
mod parts;
mod settings;
mod tiers;

pub use copy::CopyObject;
pub use objects::{Checksum, Head, Object, Objects};
pub use pairs::{Pair, Pairs};
pub use settings::{DefaultEncryption, NoncurrentRule, ReplicationRule, Versioning};
pub use tiers::{Lifecycle, Tiers};

use super::EdgeError;
use crate::catalog::Place;
use aws_sdk_s3::Client;

/// S3 in one region and account.
#[derive(Clone, Debug)]
pub struct S3 {
    client: Client,
    place: Place,
}

/// A small object's text and its `ETag`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The text.
    pub text: String,
    /// Its `ETag`, to ask for it again only when it changed.
    pub etag: String,
}

impl S3 {
    /// S3 behind this client.
    pub fn new(client: Client, place: Place) -> Self {
        Self { client, place }
    }

    /// Where this is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Reads a small text object; none when its `ETag` still is `known`.
    ///
    /// # Errors
    /// If it can't be read or is no UTF-8 text.
    pub async fn text(
        &self,
        bucket: &str,
        key: &str,
        known: Option<&str>,
    ) -> Result<Option<Text>, EdgeError> {
        let doing = format!("read s3://{bucket}/{key}");
        let request = self.client.get_object().bucket(bucket).key(key);
        let answer = match request.set_if_none_match(known.map(str::to_owned)).send().await {
            Ok(answer) => answer,
            Err(e) if e.raw_response().is_some_and(|r| r.status().as_u16() == 304) => {
                return Ok(None);
            }
            Err(e) => return Err(EdgeError::new(doing, &e)),
        };
        let etag = answer.e_tag().unwrap_or_default().to_owned();
        let body = answer.body.collect().await;
        let body = body.map_err(|e| EdgeError::refused(doing.clone(), e.to_string()))?;
        let text = String::from_utf8(body.to_vec());
        let text = text.map_err(|_| EdgeError::refused(doing, "it is not UTF-8 text"))?;
        Ok(Some(Text { text, etag }))
    }
}

#[cfg(test)]
mod tests;

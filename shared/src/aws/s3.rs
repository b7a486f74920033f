//! The S3 edge: objects listed, copied and compared; buckets' settings read.
//!
//! - `objects`: listing, page by page, and what S3 knows of one object
//! - `page`: the status page, which is written again in its place
//! - `pairs`: two listings side by side, neither held in memory
//! - `copy`, `parts`: copies inside S3, read back and proven; the data never comes through this process
//! - `settings`: versioning, encryption, replication and lifecycle of a bucket
//! - `tiers`: lifecycle rules for storage classes by age
//! - `once`: small objects that are written once
//! - `keys`: how keys are written in headers and lists

mod copy;
mod keys;
mod objects;
mod once;
mod page;
mod pairs;
mod parts;
mod settings;
mod tiers;

pub use copy::CopyObject;
pub use objects::{ObjectChecksum, ObjectLister, ObjectMetadata, S3Object};
pub use pairs::{ListingDiff, ObjectPair};
pub use settings::{
    BucketVersioning, DefaultEncryption, NoncurrentExpirationRule, ReplicationRule,
};
pub use tiers::{BucketLifecycle, ExpirationRule, TransitionRule};

use super::OperationError;
use crate::{bounded, catalog::Location};
use aws_sdk_s3::Client;

/// S3 in one region and account.
#[derive(Clone, Debug)]
pub struct S3Client {
    client: Client,
    location: Location,
}

/// A small object's text and its `ETag`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextObject {
    /// The text.
    pub text: String,
    /// Its `ETag`, to ask for it again only when it changed.
    pub etag: String,
}

impl S3Client {
    /// S3 behind this client.
    pub fn new(client: Client, place: Location) -> Self {
        Self { client, location: place }
    }

    /// Where this is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Reads a text object of `limit` bytes at most; none when its `ETag` still is `known`.
    ///
    /// # Errors
    /// If it can't be read, is larger, or is no UTF-8 text.
    pub async fn get_text(
        &self,
        bucket: &str,
        key: &str,
        known: Option<&str>,
        limit: usize,
    ) -> Result<Option<TextObject>, OperationError> {
        let doing = format!("read s3://{bucket}/{key}");
        let request = self.client.get_object().bucket(bucket).key(key);
        let answer = match request.set_if_none_match(known.map(str::to_owned)).send().await {
            Ok(answer) => answer,
            Err(e) if e.raw_response().is_some_and(|r| r.status().as_u16() == 304) => {
                return Ok(None);
            }
            Err(e) => return Err(OperationError::from_sdk_error(doing, &e)),
        };
        let etag = answer.e_tag().unwrap_or_default().to_owned();
        let body = bounded::read_body(answer.body, limit).await;
        let body = body.map_err(|e| OperationError::from_message(doing.clone(), e.to_string()))?;
        let text = String::from_utf8(body);
        let text = text.map_err(|_| OperationError::from_message(doing, "it is not UTF-8 text"))?;
        Ok(Some(TextObject { text, etag }))
    }

    /// Writes a small text object in place of the one with this `ETag`, or where there is none yet; answers with the new
    /// `ETag`. None when somebody else has written in between.
    ///
    /// # Errors
    /// If it can't be written.
    pub async fn put_text(
        &self,
        bucket: &str,
        key: &str,
        text: String,
        instead_of: Option<&str>,
    ) -> Result<Option<String>, OperationError> {
        let request =
            self.client.put_object().bucket(bucket).key(key).body(text.into_bytes().into());
        let request = match instead_of {
            Some(etag) => request.if_match(etag),
            None => request.if_none_match("*"),
        };
        match request.content_type("application/json").send().await {
            Ok(answer) => Ok(Some(answer.e_tag().unwrap_or_default().to_owned())),
            // 412: another one stands there. 409: two were written at once. 404: the one to replace is gone.
            Err(e)
                if e.raw_response().is_some_and(|r| [409, 412].contains(&r.status().as_u16())) =>
            {
                Ok(None)
            }
            Err(e)
                if instead_of.is_some()
                    && e.raw_response().is_some_and(|r| r.status().as_u16() == 404) =>
            {
                let gone = OperationError::from_sdk_error(format!("write s3://{bucket}/{key}"), &e);
                if gone.code.as_deref() == Some("NoSuchKey") { Ok(None) } else { Err(gone) }
            }
            Err(e) => Err(OperationError::from_sdk_error(format!("write s3://{bucket}/{key}"), &e)),
        }
    }
}

#[cfg(test)]
mod tests;

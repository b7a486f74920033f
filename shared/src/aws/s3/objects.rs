//! Listing, page by page, and what S3 knows of one object.

use super::{S3Client, keys};
use crate::aws::{OperationError, OperationErrorKind};
use aws_sdk_s3::{
    operation::{head_object::HeadObjectOutput, list_objects_v2::ListObjectsV2Output},
    types::{
        ChecksumMode, ChecksumType, EncodingType, OptionalObjectAttributes, ServerSideEncryption,
    },
};
use aws_smithy_types::DateTime;
use futures_util::{Stream, StreamExt, stream, stream::BoxStream};
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::{collections::VecDeque, fmt};

/// An object as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct S3Object {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its `ETag`, without quotes.
    pub etag: String,
    /// When this version of it was written.
    pub modified: Timestamp,
    /// Its storage class.
    pub storage_class: String,
    /// Whether a copy of it was restored from its archive class, for some days.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub restored: bool,
}

impl S3Object {
    /// Whether it must be restored from an archive before it can be read or copied.
    pub fn is_archived(&self) -> bool {
        matches!(self.storage_class.as_str(), "GLACIER" | "DEEP_ARCHIVE") && !self.restored
    }
}

/// A checksum that S3 computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectChecksum {
    /// SHA-256 of the whole object, in base64.
    Sha256(String),
    /// CRC-64/NVME of the whole object, in base64.
    Crc64Nvme(String),
    /// MD5 of the whole object, in hex: an `ETag` that is one.
    Md5(String),
    /// SHA-256 of the whole object, in hex, read on both sides.
    Read(String),
}

impl fmt::Display for ObjectChecksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(sum) => write!(f, "SHA-256 {sum}"),
            Self::Crc64Nvme(sum) => write!(f, "CRC-64/NVME {sum}"),
            Self::Md5(sum) => write!(f, "MD5 {sum}"),
            Self::Read(sum) => write!(f, "SHA-256 {sum}, as read"),
        }
    }
}

/// What S3 knows of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMetadata {
    /// The object.
    pub object: S3Object,
    /// Checksum of the whole object, if S3 has one of a kind that Holdfast compares.
    pub checksum: Option<ObjectChecksum>,
    /// Whether its `ETag` is no MD5 because KMS or the customer's own key encrypts it.
    pub key_encrypted: bool,
    /// The KMS key that it is encrypted with.
    pub kms_key: Option<String>,
}

/// Objects of a bucket in key order, a page in memory at a time.
pub struct ObjectLister {
    description: String,
    pages: BoxStream<'static, Result<Vec<S3Object>, OperationError>>,
    page: VecDeque<S3Object>,
    last: Option<String>,
}

impl fmt::Debug for ObjectLister {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects").field("what", &self.description).finish_non_exhaustive()
    }
}

impl ObjectLister {
    /// Objects from pages; `what` says which, for errors.
    pub fn from_pages(
        what: impl Into<String>,
        pages: impl Stream<Item = Result<Vec<S3Object>, OperationError>> + Send + 'static,
    ) -> Self {
        // Side by side, the shorter listing is asked again after its end.
        let pages = pages.fuse().boxed();
        Self { description: what.into(), pages, page: VecDeque::new(), last: None }
    }

    /// The next object, in key order; none at the end.
    ///
    /// # Errors
    /// If a page can't be read, or if the store does not list in key order.
    pub async fn next(&mut self) -> Result<Option<S3Object>, OperationError> {
        self.fill_page().await?;
        Ok(self.page.pop_front())
    }

    /// Reads on until there is an object to look at or the list is at its end.
    pub(super) async fn fill_page(&mut self) -> Result<(), OperationError> {
        while self.page.is_empty() {
            let Some(page) = self.pages.next().await else { return Ok(()) };
            let page = page?;
            // What is compared side by side must be in order: out of it, objects would look missing that are not.
            for object in &page {
                if self.last.as_ref().is_some_and(|last| *last >= object.key) {
                    let why = format!("\"{}\" is not in the order of keys", object.key);
                    return Err(OperationError::from_message(self.description.clone(), why));
                }
                self.last = Some(object.key.clone());
            }
            self.page = page.into();
        }
        Ok(())
    }

    pub(super) fn peek_key(&self) -> Option<&str> {
        self.page.front().map(|o| o.key.as_str())
    }

    pub(super) fn pop_object(&mut self) -> Option<S3Object> {
        self.page.pop_front()
    }
}

impl S3Client {
    /// Objects whose keys begin with `prefix`, in key order: S3 lists general purpose buckets in the order of the keys'
    /// UTF-8 bytes. A thousand come with each page.
    pub fn list_objects(&self, bucket: &str, prefix: &str) -> ObjectLister {
        let doing = format!("list s3://{bucket}/{prefix}");
        let request = self.client.list_objects_v2().bucket(bucket).prefix(prefix);
        // Without being asked, a list does not say which archived objects are restored. Stores that know no such header
        // pass over it.
        let request = request.optional_object_attributes(OptionalObjectAttributes::RestoreStatus);
        // Keys may hold what XML can't; url-encoded they always come through.
        let pages = request.encoding_type(EncodingType::Url).into_paginator().send();
        let what = doing.clone();
        let pages = stream::unfold(Some(pages), move |pages| {
            let doing = doing.clone();
            async move {
                let mut pages = pages?;
                let page = match pages.next().await? {
                    Ok(page) => objects_from_page(&doing, &page),
                    Err(e) => Err(OperationError::from_sdk_error(doing, &e)),
                };
                let more = page.is_ok().then_some(pages);
                Some((page, more))
            }
        });
        ObjectLister::from_pages(what, pages)
    }

    /// What S3 knows of one object; none when there is no such object (S3 answers the same for a bucket that is not
    /// there).
    ///
    /// # Errors
    /// If S3 can't be asked or refuses.
    pub async fn object_metadata(
        &self,
        bucket: &str,
        key: &str,
    ) -> Result<Option<ObjectMetadata>, OperationError> {
        match self.head_object(bucket, key).await? {
            Some(head) => metadata_from_head(bucket, key, &head).map(Some),
            None => Ok(None),
        }
    }

    /// S3's own answer about one object.
    pub(super) async fn head_object(
        &self,
        bucket: &str,
        key: &str,
    ) -> Result<Option<HeadObjectOutput>, OperationError> {
        let doing = format!("look at s3://{bucket}/{key}");
        let request = self.client.head_object().bucket(bucket).key(key);
        match request.checksum_mode(ChecksumMode::Enabled).send().await {
            Ok(head) => Ok(Some(head)),
            // An answer to HEAD has no body, so the status is all that tells the refusals apart.
            Err(e) => match e.raw_response().map(|r| r.status().as_u16()) {
                Some(404) => Ok(None),
                Some(403) => Err(OperationError {
                    operation: doing,
                    message: "403 Forbidden".into(),
                    kind: OperationErrorKind::Denied,
                    code: Some("403".into()),
                    hint: None,
                }),
                _ => Err(OperationError::from_sdk_error(doing, &e)),
            },
        }
    }

    /// SHA-256, in hex, of an object's first `most` bytes, streamed; none when it was changed or deleted since it was
    /// listed.
    ///
    /// # Errors
    /// If it can't be read, or fewer bytes come than it has.
    pub async fn hash_object(
        &self,
        bucket: &str,
        object: &S3Object,
        most: u64,
    ) -> Result<Option<String>, OperationError> {
        let doing = format!("read s3://{bucket}/{}", object.key);
        let request = self.client.get_object().bucket(bucket).key(&object.key);
        let request = request.if_match(keys::quoted_etag(&object.etag));
        let range = (object.size > most).then(|| format!("bytes=0-{}", most.saturating_sub(1)));
        let mut body = match request.set_range(range).send().await {
            Ok(answer) => answer.body,
            Err(e)
                if e.raw_response().is_some_and(|r| [404, 412].contains(&r.status().as_u16())) =>
            {
                return match OperationError::from_sdk_error(doing, &e) {
                    gone if gone.code.as_deref() == Some("NoSuchBucket") => Err(gone),
                    _ => Ok(None),
                };
            }
            Err(e) => return Err(OperationError::from_sdk_error(doing, &e)),
        };
        let (mut hash, mut read) = (Sha256::new(), 0);
        while let Some(chunk) = body.next().await {
            let chunk =
                chunk.map_err(|e| OperationError::from_message(doing.clone(), e.to_string()))?;
            read += chunk.len() as u64;
            hash.update(&chunk);
        }
        let expected = object.size.min(most);
        if read != expected {
            return Err(OperationError::from_message(
                doing,
                format!("{read} bytes came of {expected}"),
            ));
        }
        let digits = hash.finalize().iter().flat_map(|b| [b >> 4, b & 15]).collect::<Vec<_>>();
        Ok(Some(digits.iter().filter_map(|d| char::from_digit((*d).into(), 16)).collect()))
    }
}

fn objects_from_page(
    doing: &str,
    page: &ListObjectsV2Output,
) -> Result<Vec<S3Object>, OperationError> {
    let refused = |why: String| OperationError::from_message(doing, why);
    if page.is_truncated() == Some(true) && page.next_continuation_token().is_none() {
        // The SDK would take this for the last page, and what follows for missing.
        return Err(refused("S3 says that there is more and not how to ask for it".into()));
    }
    let encoded = page.encoding_type() == Some(&EncodingType::Url);
    let object = |o: &aws_sdk_s3::types::Object| {
        let key = o.key()?;
        Some(S3Object {
            key: if encoded { keys::decode_listed_key(key)? } else { key.to_owned() },
            size: u64::try_from(o.size()?).ok()?,
            etag: keys::unquoted_etag(o.e_tag().unwrap_or_default()),
            modified: o.last_modified().and_then(timestamp_from_sdk)?,
            storage_class: o.storage_class().map_or("STANDARD", |c| c.as_str()).to_owned(),
            restored: o.restore_status().is_some_and(|r| {
                r.is_restore_in_progress() != Some(true) && r.restore_expiry_date().is_some()
            }),
        })
    };
    let read = |o| object(o).ok_or_else(|| refused(format!("S3 listed {o:?}, which lacks a fact")));
    page.contents().iter().map(read).collect()
}

/// The facts of S3's answer about one object.
pub(super) fn metadata_from_head(
    bucket: &str,
    key: &str,
    head: &HeadObjectOutput,
) -> Result<ObjectMetadata, OperationError> {
    let facts = || {
        Some(S3Object {
            key: key.to_owned(),
            size: u64::try_from(head.content_length()?).ok()?,
            etag: keys::unquoted_etag(head.e_tag().unwrap_or_default()),
            modified: head.last_modified().and_then(timestamp_from_sdk)?,
            storage_class: head.storage_class().map_or("STANDARD", |c| c.as_str()).to_owned(),
            // `ongoing-request="false", expiry-date="..."`, a header of S3's own form.
            restored: head.restore().is_some_and(|r| r.contains("ongoing-request=\"false\"")),
        })
    };
    let object = facts().ok_or_else(|| {
        OperationError::from_message(
            format!("look at s3://{bucket}/{key}"),
            "S3's answer lacks size or time",
        )
    })?;
    // A composite checksum hashes the parts' checksums: it says nothing of another division into parts.
    let whole = head.checksum_type() != Some(&ChecksumType::Composite)
        && !head.checksum_sha256().is_some_and(|sum| sum.contains('-'));
    let sha256 = head.checksum_sha256().map(|s| ObjectChecksum::Sha256(s.to_owned()));
    let crc = head.checksum_crc64_nvme().map(|s| ObjectChecksum::Crc64Nvme(s.to_owned()));
    let encryption = head.server_side_encryption();
    let kms = [ServerSideEncryption::AwsKms, ServerSideEncryption::AwsKmsDsse];
    Ok(ObjectMetadata {
        object,
        checksum: sha256.or(crc).filter(|_| whole),
        key_encrypted: encryption.is_some_and(|e| kms.contains(e))
            || head.sse_customer_algorithm().is_some(),
        kms_key: head.ssekms_key_id().map(str::to_owned),
    })
}

/// Lists show whole seconds, HEAD too: S3 keeps no more.
fn timestamp_from_sdk(at: &DateTime) -> Option<Timestamp> {
    Timestamp::new(at.secs(), i32::try_from(at.subsec_nanos()).ok()?).ok()
}

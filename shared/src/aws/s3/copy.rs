//! Copies inside S3, read back and proven. The data never comes through this process.

use super::{
    S3Client, keys,
    objects::{ObjectChecksum, ObjectMetadata, S3Object, metadata_from_head},
};
use crate::aws::{OperationError, OperationErrorKind};
use aws_sdk_s3::{
    config::{StalledStreamProtectionConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
    types::{ChecksumAlgorithm, ServerSideEncryption},
};
use serde::Serialize;
use std::{fmt, time::Duration};

/// What one `CopyObject` takes; above it an object is copied in parts.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/CopyingObjectsExamples.html>
const MAX_SINGLE_COPY_BYTES: u64 = 5 << 30;

/// An object to copy under the same key into another bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CopyObject {
    /// The bucket that it is in.
    pub source_bucket: String,
    /// The object as it was seen: copied only while it still is that.
    pub object: S3Object,
    /// The bucket that it goes to.
    pub destination_bucket: String,
    /// KMS key that the copy is encrypted with; without it the bucket's default encryption decides.
    pub kms_key: Option<String>,
}

impl crate::plan::Operates for CopyObject {
    fn operation(&self) -> crate::plan::Operation {
        crate::plan::Operation::Backup
    }
}

impl fmt::Display for CopyObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source_bucket: from, object, destination_bucket: to, .. } = self;
        write!(f, "copy s3://{from}/{} ({} bytes) to s3://{to}", object.key, object.size)
    }
}

/// What S3 answered when it had made a copy.
#[derive(Debug)]
pub(super) struct ObjectCopyResult {
    /// `ETag` of the copy.
    pub(super) etag: String,
    /// The checksum that S3 computed while it copied.
    pub(super) checksum: Option<ObjectChecksum>,
    /// Checksum of the source, where it was looked at and has one.
    pub(super) source: Option<ObjectChecksum>,
}

impl CopyObject {
    pub(super) fn requested_encryption(&self) -> Option<ServerSideEncryption> {
        self.kms_key.is_some().then_some(ServerSideEncryption::AwsKms)
    }

    /// Turns S3's refusal into ours. That the source changed or went since it was seen is no fault: the next run sees
    /// what is there then.
    pub(super) fn to_operation_error<E>(
        &self,
        e: &SdkError<E, aws_sdk_s3::config::http::HttpResponse>,
    ) -> OperationError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let error = OperationError::from_sdk_error(self.to_string(), e);
        match error.code.as_deref() {
            Some("PreconditionFailed") => self.busy_error("it was changed since it was listed"),
            Some("NoSuchKey") => self.busy_error("it was deleted since it was listed"),
            _ => error,
        }
    }

    pub(super) fn busy_error(&self, why: &str) -> OperationError {
        let (doing, why) = (self.to_string(), why.to_owned());
        OperationError {
            operation: doing,
            message: why,
            kind: OperationErrorKind::Busy,
            code: None,
            hint: None,
        }
    }

    pub(super) fn out_of_time_error(&self) -> OperationError {
        self.busy_error("it takes longer than the run has left; a run by hand has no end")
    }
}

/// A copy of 5 GiB to another region takes minutes in which S3 sends nothing: neither the time that suits other calls
/// nor the watch for stalled streams may end it. The SDK exempts `CopyObject` from that watch, and not `UploadPartCopy`:
/// <https://github.com/smithy-lang/smithy-rs/issues/4439>
pub(super) fn long_running_config() -> aws_sdk_s3::config::Builder {
    // As long as a Lambda can run at all; all tries together not much longer, so that a store that hangs holds nobody.
    let time = TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_mins(15))
        .operation_timeout(Duration::from_mins(20));
    aws_sdk_s3::Config::builder()
        .timeout_config(time.build())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
}

impl S3Client {
    /// Copies an object into a bucket at this place and proves the copy: what S3 answered is read back from the bucket.
    /// This place's role pulls; `source` is S3 where the object is, asked only for what a list does not show.
    /// `within` is the time that there is; a copy in parts that does not end in it is given up and leaves nothing behind.
    ///
    /// # Errors
    /// [`OperationErrorKind::Busy`] when the source changed since it was seen or the time is over, [`OperationErrorKind::Refused`] when the copy is
    /// not what the source is, [`OperationErrorKind::Archived`] and [`OperationErrorKind::CustomerKey`] when the source can't be read as it is, else as
    /// S3 refuses.
    pub async fn copy_object(
        &self,
        source: &S3Client,
        order: &CopyObject,
        within: Option<Duration>,
    ) -> Result<ObjectChecksum, OperationError> {
        let made = self.perform_copy(source, order, within).await;
        let made = match made {
            Err(e) if may_need_customer_key(&e) && source.needs_customer_key(order).await => {
                Err(OperationError { kind: OperationErrorKind::CustomerKey, ..e })
            }
            made => made,
        }?;
        self.verify_copy(source, order, made).await
    }

    async fn perform_copy(
        &self,
        source: &S3Client,
        order: &CopyObject,
        within: Option<Duration>,
    ) -> Result<ObjectCopyResult, OperationError> {
        if order.object.size <= MAX_SINGLE_COPY_BYTES {
            let whole = self.copy_in_one_call(order);
            match within {
                Some(time) => tokio::time::timeout(time, whole).await,
                None => Ok(whole.await),
            }
            .unwrap_or_else(|_| Err(order.out_of_time_error()))
        } else {
            self.copy_in_parts(source, order, within).await
        }
    }

    /// Whether an object is encrypted with a key of the customer's own: neither a list nor a refused copy says so, and HEAD
    /// answers without words. A read of one byte is refused with this code.
    async fn needs_customer_key(&self, order: &CopyObject) -> bool {
        let CopyObject { source_bucket: from, object, .. } = order;
        let request = self.client.get_object().bucket(from).key(&object.key).range("bytes=0-0");
        let read = request.if_match(keys::quoted_etag(&object.etag)).send().await;
        read.is_err_and(|e| e.code() == Some("InvalidRequest"))
    }

    async fn copy_in_one_call(
        &self,
        order: &CopyObject,
    ) -> Result<ObjectCopyResult, OperationError> {
        let CopyObject { source_bucket: from, object, destination_bucket: to, kms_key } = order;
        let request = self.client.copy_object().bucket(to).key(&object.key);
        let answer = request
            .copy_source(keys::encode_copy_source(from, &object.key))
            .copy_source_if_match(keys::quoted_etag(&object.etag))
            // Said, never left to the SDK's default: S3 hashes the data itself as it copies.
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .set_server_side_encryption(order.requested_encryption())
            .set_ssekms_key_id(kms_key.clone())
            .set_bucket_key_enabled(kms_key.is_some().then_some(true))
            .customize()
            .config_override(long_running_config())
            .send()
            .await
            .map_err(|e| order.to_operation_error(&e))?;
        // S3 may answer 200 and an error inside; without a result there is no copy.
        let result = answer.copy_object_result();
        let result = result.ok_or_else(|| copy_error(order, "S3 answered without a result"))?;
        Ok(ObjectCopyResult {
            etag: keys::unquoted_etag(result.e_tag().unwrap_or_default()),
            checksum: result.checksum_sha256().map(|s| ObjectChecksum::Sha256(s.to_owned())),
            source: None,
        })
    }

    async fn verify_copy(
        &self,
        source: &S3Client,
        order: &CopyObject,
        made: ObjectCopyResult,
    ) -> Result<ObjectChecksum, OperationError> {
        let CopyObject { source_bucket: from, object, destination_bucket: to, .. } = order;
        let Some(head) = self.head_object(to, &object.key).await? else {
            return Err(copy_error(order, "S3 said that it is done, and it is not there"));
        };
        let copy = metadata_from_head(to, &object.key, &head)?;
        if let Some(why) = copy_difference(order, &made, &copy) {
            return Err(copy_error(order, why));
        }
        let same = copy.object.etag == object.etag;
        if !same && etags_are_md5(order, &copy) {
            // The list does not show whether KMS encrypts the source, in which case its ETag is no MD5.
            let head = source.object_metadata(from, &object.key).await?;
            if head.is_some_and(|h| !h.key_encrypted && h.object.etag == object.etag) {
                let why = format!("the ETag is {}, the source's {}", copy.object.etag, object.etag);
                return Err(copy_error(order, why));
            }
        }
        match (made.checksum, same) {
            (Some(checksum), _) => Ok(checksum),
            // A store that computes no checksum: the ETag is an MD5 and the same on both sides.
            (None, true) if etags_are_md5(order, &copy) => {
                Ok(ObjectChecksum::Md5(copy.object.etag))
            }
            // Neither proves it, as under KMS in a store that computes no checksum: both sides are read.
            (None, _) => {
                let theirs = source.hash_object(from, object, u64::MAX).await?;
                let theirs =
                    theirs.ok_or_else(|| order.busy_error("it was changed since it was listed"))?;
                match self.hash_object(to, &copy.object, u64::MAX).await? {
                    Some(ours) if ours == theirs => Ok(ObjectChecksum::Read(ours)),
                    _ => Err(copy_error(order, "its bytes are not the source's")),
                }
            }
        }
    }
}

/// Whether an object under a key of the customer's own is refused so: with this code, and of HEAD without any.
fn may_need_customer_key(e: &OperationError) -> bool {
    e.kind == OperationErrorKind::Refused
        && e.code.as_deref().is_none_or(|c| matches!(c, "InvalidRequest" | "BadRequest"))
}

fn copy_error(order: &CopyObject, why: impl Into<String>) -> OperationError {
    OperationError::from_message(order.to_string(), why)
}

/// Why a copy is not what S3 answered, or not as it was ordered; none when it is.
fn copy_difference(
    order: &CopyObject,
    made: &ObjectCopyResult,
    copy: &ObjectMetadata,
) -> Option<String> {
    let CopyObject { object, kms_key, .. } = order;
    if copy.object.size != object.size {
        return Some(format!("it has {} bytes, the source {}", copy.object.size, object.size));
    }
    if copy.object.etag != made.etag {
        return Some(format!("its ETag is {}, S3 had said {}", copy.object.etag, made.etag));
    }
    if let Some(said) = &made.checksum
        && copy.checksum.as_ref() != Some(said)
    {
        let found = copy.checksum.as_ref().map_or("no checksum".into(), ToString::to_string);
        return Some(format!("it has {found}, S3 had said {said}"));
    }
    if let (Some(ObjectChecksum::Crc64Nvme(source)), Some(ObjectChecksum::Crc64Nvme(copy))) =
        (&made.source, &copy.checksum)
        && source != copy
    {
        return Some(format!("its CRC-64/NVME is {copy}, the source's {source}"));
    }
    // An alias can't be compared: S3 answers with the key behind it.
    let other =
        |key: &String| !key.contains(":alias/") && copy.kms_key.as_ref().is_some_and(|k| k != key);
    if let Some(key) = kms_key
        && (!copy.key_encrypted || other(key))
    {
        let found = copy.kms_key.as_deref().unwrap_or("no key of KMS");
        return Some(format!("it is encrypted with {found}, the policy says {key}"));
    }
    None
}

/// Whether both `ETag`s are MD5s, as far as a list and the copy itself can tell: not of parts, and not under KMS.
fn etags_are_md5(order: &CopyObject, copy: &ObjectMetadata) -> bool {
    !copy.key_encrypted && !copy.object.etag.contains('-') && !order.object.etag.contains('-')
}

#[cfg(test)]
mod tests;

//! Copies inside S3, read back and proven. The data never comes through this process.

use super::{
    S3, keys,
    objects::{Checksum, Head, Object, known},
};
use crate::aws::{EdgeError, Kind};
use aws_sdk_s3::{
    config::{StalledStreamProtectionConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
    types::{ChecksumAlgorithm, ServerSideEncryption},
};
use serde::Serialize;
use std::{fmt, time::Duration};

/// What one `CopyObject` takes; above it an object is copied in parts.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/CopyingObjectsExamples.html>
const MOST_AT_ONCE: u64 = 5 << 30;

/// An object to copy under the same key into another bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CopyObject {
    /// The bucket that it is in.
    pub from: String,
    /// The object as it was seen: copied only while it still is that.
    pub object: Object,
    /// The bucket that it goes to.
    pub to: String,
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
        let Self { from, object, to, .. } = self;
        write!(f, "copy s3://{from}/{} ({} bytes) to s3://{to}", object.key, object.size)
    }
}

/// What S3 answered when it had made a copy.
#[derive(Debug)]
pub(super) struct Made {
    /// `ETag` of the copy.
    pub(super) etag: String,
    /// The checksum that S3 computed while it copied.
    pub(super) checksum: Option<Checksum>,
    /// Checksum of the source, where it was looked at and has one.
    pub(super) source: Option<Checksum>,
}

impl CopyObject {
    pub(super) fn encryption(&self) -> Option<ServerSideEncryption> {
        self.kms_key.is_some().then_some(ServerSideEncryption::AwsKms)
    }

    /// Turns S3's refusal into ours. That the source changed or went since it was seen is no fault: the next run sees
    /// what is there then.
    pub(super) fn error<E>(
        &self,
        e: &SdkError<E, aws_sdk_s3::config::http::HttpResponse>,
    ) -> EdgeError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let error = EdgeError::new(self.to_string(), e);
        match error.code.as_deref() {
            Some("PreconditionFailed") => self.busy("it was changed since it was listed"),
            Some("NoSuchKey") => self.busy("it was deleted since it was listed"),
            _ => error,
        }
    }

    pub(super) fn busy(&self, why: &str) -> EdgeError {
        let (doing, why) = (self.to_string(), why.to_owned());
        EdgeError { doing, why, kind: Kind::Busy, code: None, mend: None }
    }

    pub(super) fn out_of_time(&self) -> EdgeError {
        self.busy("it takes longer than the run has left; a run by hand has no end")
    }
}

/// A copy of 5 GiB to another region takes minutes in which S3 sends nothing: neither the time that suits other calls
/// nor the watch for stalled streams may end it. The SDK exempts `CopyObject` from that watch, and not `UploadPartCopy`:
/// <https://github.com/smithy-lang/smithy-rs/issues/4439>
pub(super) fn patient() -> aws_sdk_s3::config::Builder {
    // As long as a Lambda can run at all; all tries together not much longer, so that a store that hangs holds nobody.
    let time = TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_mins(15))
        .operation_timeout(Duration::from_mins(20));
    aws_sdk_s3::Config::builder()
        .timeout_config(time.build())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
}

impl S3 {
    /// Copies an object into a bucket at this place and proves the copy: what S3 answered is read back from the bucket.
    /// This place's role pulls; `source` is S3 where the object is, asked only for what a list does not show.
    /// `within` is the time that there is; a copy in parts that does not end in it is given up and leaves nothing behind.
    ///
    /// # Errors
    /// [`Kind::Busy`] when the source changed since it was seen or the time is over, [`Kind::Refused`] when the copy is
    /// not what the source is, [`Kind::Archived`] and [`Kind::CustomerKey`] when the source can't be read as it is, else as
    /// S3 refuses.
    pub async fn copy(
        &self,
        source: &S3,
        order: &CopyObject,
        within: Option<Duration>,
    ) -> Result<Checksum, EdgeError> {
        let made = self.make(source, order, within).await;
        let made = match made {
            Err(e) if may_lack_key(&e) && source.wants_its_key(order).await => {
                Err(EdgeError { kind: Kind::CustomerKey, ..e })
            }
            made => made,
        }?;
        self.read_back(source, order, made).await
    }

    async fn make(
        &self,
        source: &S3,
        order: &CopyObject,
        within: Option<Duration>,
    ) -> Result<Made, EdgeError> {
        if order.object.size <= MOST_AT_ONCE {
            let whole = self.copy_whole(order);
            match within {
                Some(time) => tokio::time::timeout(time, whole).await,
                None => Ok(whole.await),
            }
            .unwrap_or_else(|_| Err(order.out_of_time()))
        } else {
            self.copy_in_parts(source, order, within).await
        }
    }

    /// Whether an object is encrypted with a key of the customer's own: neither a list nor a refused copy says so, and HEAD
    /// answers without words. A read of one byte is refused with this code.
    async fn wants_its_key(&self, order: &CopyObject) -> bool {
        let CopyObject { from, object, .. } = order;
        let request = self.client.get_object().bucket(from).key(&object.key).range("bytes=0-0");
        let read = request.if_match(keys::quoted(&object.etag)).send().await;
        read.is_err_and(|e| e.code() == Some("InvalidRequest"))
    }

    async fn copy_whole(&self, order: &CopyObject) -> Result<Made, EdgeError> {
        let CopyObject { from, object, to, kms_key } = order;
        let request = self.client.copy_object().bucket(to).key(&object.key);
        let answer = request
            .copy_source(keys::copy_source(from, &object.key))
            .copy_source_if_match(keys::quoted(&object.etag))
            // Said, never left to the SDK's default: S3 hashes the data itself as it copies.
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .set_server_side_encryption(order.encryption())
            .set_ssekms_key_id(kms_key.clone())
            .set_bucket_key_enabled(kms_key.is_some().then_some(true))
            .customize()
            .config_override(patient())
            .send()
            .await
            .map_err(|e| order.error(&e))?;
        // S3 may answer 200 and an error inside; without a result there is no copy.
        let result = answer.copy_object_result();
        let result = result.ok_or_else(|| refused(order, "S3 answered without a result"))?;
        Ok(Made {
            etag: keys::bare(result.e_tag().unwrap_or_default()),
            checksum: result.checksum_sha256().map(|s| Checksum::Sha256(s.to_owned())),
            source: None,
        })
    }

    async fn read_back(
        &self,
        source: &S3,
        order: &CopyObject,
        made: Made,
    ) -> Result<Checksum, EdgeError> {
        let CopyObject { from, object, to, .. } = order;
        let Some(head) = self.described(to, &object.key).await? else {
            return Err(refused(order, "S3 said that it is done, and it is not there"));
        };
        let copy = known(to, &object.key, &head)?;
        if let Some(why) = differs(order, &made, &copy) {
            return Err(refused(order, why));
        }
        let same = copy.object.etag == object.etag;
        if !same && comparable(order, &copy) {
            // The list does not show whether KMS encrypts the source, in which case its ETag is no MD5.
            let head = source.head(from, &object.key).await?;
            if head.is_some_and(|h| !h.keyed && h.object.etag == object.etag) {
                let why = format!("the ETag is {}, the source's {}", copy.object.etag, object.etag);
                return Err(refused(order, why));
            }
        }
        match (made.checksum, same) {
            (Some(checksum), _) => Ok(checksum),
            // A store that computes no checksum: the ETag is an MD5 and the same on both sides.
            (None, true) if comparable(order, &copy) => Ok(Checksum::Md5(copy.object.etag)),
            // Neither proves it, as under KMS in a store that computes no checksum: both sides are read.
            (None, _) => {
                let theirs = source.read_hash(from, object, u64::MAX).await?;
                let theirs =
                    theirs.ok_or_else(|| order.busy("it was changed since it was listed"))?;
                match self.read_hash(to, &copy.object, u64::MAX).await? {
                    Some(ours) if ours == theirs => Ok(Checksum::Read(ours)),
                    _ => Err(refused(order, "its bytes are not the source's")),
                }
            }
        }
    }
}

/// Whether an object under a key of the customer's own is refused so: with this code, and of HEAD without any.
fn may_lack_key(e: &EdgeError) -> bool {
    e.kind == Kind::Refused
        && e.code.as_deref().is_none_or(|c| matches!(c, "InvalidRequest" | "BadRequest"))
}

fn refused(order: &CopyObject, why: impl Into<String>) -> EdgeError {
    EdgeError::refused(order.to_string(), why)
}

/// Why a copy is not what S3 answered, or not as it was ordered; none when it is.
fn differs(order: &CopyObject, made: &Made, copy: &Head) -> Option<String> {
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
    if let (Some(Checksum::Crc64Nvme(source)), Some(Checksum::Crc64Nvme(copy))) =
        (&made.source, &copy.checksum)
        && source != copy
    {
        return Some(format!("its CRC-64/NVME is {copy}, the source's {source}"));
    }
    // An alias can't be compared: S3 answers with the key behind it.
    let other =
        |key: &String| !key.contains(":alias/") && copy.kms_key.as_ref().is_some_and(|k| k != key);
    if let Some(key) = kms_key
        && (!copy.keyed || other(key))
    {
        let found = copy.kms_key.as_deref().unwrap_or("no key of KMS");
        return Some(format!("it is encrypted with {found}, the policy says {key}"));
    }
    None
}

/// Whether both `ETag`s are MD5s, as far as a list and the copy itself can tell: not of parts, and not under KMS.
fn comparable(order: &CopyObject, copy: &Head) -> bool {
    !copy.keyed && !copy.object.etag.contains('-') && !order.object.etag.contains('-')
}

#[cfg(test)]
mod tests;

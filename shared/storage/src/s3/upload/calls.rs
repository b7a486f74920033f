//! The calls that an upload is made of.

use super::{S3Upload, UploadedPart};
use crate::{
    RUN_METADATA_KEY, StoreError, StoreErrorKind,
    s3::{S3Backend, error_code, sums},
    stall::{self, CountingBody},
};
use aws_sdk_s3::{
    config::{Builder, StalledStreamProtectionConfig, timeout::TimeoutConfig},
    primitives::{ByteStream, SdkBody},
    types::{
        ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, ObjectLockMode, StorageClass,
    },
};
use aws_smithy_types::DateTime;
use bytes::Bytes;
use shared::{
    aws::OperationError,
    policy::{self, LockMode, StoreChecksum},
};
use std::time::Duration;

/// S3 puts thousands of parts together before it answers; stores that copy them then take minutes.
const COMPLETE_ATTEMPT_TIMEOUT: Duration = Duration::from_mins(5);
/// The same, over all tries.
const COMPLETE_TIMEOUT: Duration = Duration::from_mins(12);

/// Settings of a request whose end is watched here and not by the SDK.
fn config_with_timeouts(timeouts: TimeoutConfig) -> Builder {
    aws_sdk_s3::Config::builder()
        .timeout_config(timeouts)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
}

/// A part's time follows from its size and from what is taken of it: see [`stall`].
fn config_without_timeouts() -> Builder {
    let timeouts = TimeoutConfig::builder();
    config_with_timeouts(
        timeouts.disable_operation_attempt_timeout().disable_operation_timeout().build(),
    )
}

/// A body that the SDK can send again, counted each time.
fn retryable_body(body: CountingBody) -> ByteStream {
    ByteStream::new(SdkBody::retryable(move || SdkBody::from_body_1_x(body.clone())))
}

/// It hung, every time.
fn stalled_error(doing: String) -> StoreError {
    let why = format!(
        "the store took it and did not answer, or stopped taking it, {} times for a minute or more",
        stall::MAX_ATTEMPTS
    );
    StoreError::new(
        StoreErrorKind::Unreachable,
        doing,
        why,
        "check the store and the network; the next run tries again",
    )
}

impl S3Upload {
    /// Standard is what S3 takes by itself.
    fn storage_class(&self) -> Option<StorageClass> {
        let class = self.put.class.filter(|class| *class != policy::StorageClass::Standard);
        class.map(|class| StorageClass::from(class.as_str()))
    }

    fn object_lock(&self) -> (Option<ObjectLockMode>, Option<DateTime>) {
        let (Some(mode), Some(until)) = (self.store.config.lock, self.put.lock_until) else {
            return (None, None);
        };
        let mode = match mode {
            LockMode::Governance => ObjectLockMode::Governance,
            LockMode::Compliance => ObjectLockMode::Compliance,
        };
        (Some(mode), Some(DateTime::from_secs(until.as_second())))
    }

    /// Begins the upload in parts.
    pub(super) async fn create_multipart(&self) -> Result<String, StoreError> {
        let what = &self.store.config;
        let (mode, until) = self.object_lock();
        let sha256 = what.checksum == StoreChecksum::Sha256;
        let request = self.store.client.create_multipart_upload();
        let answer = request
            .bucket(&what.name)
            .key(self.store.full_key(&self.key))
            .metadata(RUN_METADATA_KEY, &self.put.run)
            .set_checksum_algorithm(sha256.then_some(ChecksumAlgorithm::Sha256))
            .set_storage_class(self.storage_class())
            .set_server_side_encryption(self.store.server_side_encryption())
            .set_ssekms_key_id(what.kms_key.clone())
            .set_object_lock_mode(mode)
            .set_object_lock_retain_until_date(until)
            .send()
            .await
            .map_err(|e| OperationError::from_sdk_error(self.write_operation(), &e))?;
        let upload = answer.upload_id().map(str::to_owned);
        upload.ok_or_else(|| {
            OperationError::from_message(self.write_operation(), "S3 gave no upload id").into()
        })
    }

    /// The whole object in one request.
    pub(super) async fn put_object(&self, body: Bytes) -> Result<sums::PartChecksum, StoreError> {
        let what = &self.store.config;
        let (mode, until) = self.object_lock();
        let sum = sums::PartChecksum::compute(what.checksum, &body);
        let (sha256, md5) = checksum_headers(what.checksum, &sum);
        let request = async |only_new: bool, body: CountingBody| {
            self.store
                .client
                .put_object()
                .bucket(&what.name)
                .key(self.store.full_key(&self.key))
                .set_if_none_match(only_new.then(|| "*".into()))
                .metadata(RUN_METADATA_KEY, &self.put.run)
                .set_checksum_sha256(sha256.clone())
                .set_content_md5(md5.clone())
                .set_storage_class(self.storage_class())
                .set_server_side_encryption(self.store.server_side_encryption())
                .set_ssekms_key_id(what.kms_key.clone())
                .set_object_lock_mode(mode.clone())
                .set_object_lock_retain_until_date(until)
                .body(retryable_body(body))
                .customize()
                .disable_payload_signing()
                .config_override(config_without_timeouts())
                .send()
                .await
        };
        let hung = || stalled_error(self.write_operation());
        let sent = match stall::send_with_retries(&body, |body| request(true, body))
            .await
            .ok_or_else(hung)?
        {
            Err(e) if self.store.lacks_conditional_writes(error_code(&e)) => {
                self.ensure_absent().await?;
                stall::send_with_retries(&body, |body| request(false, body))
                    .await
                    .ok_or_else(hung)?
            }
            sent => sent,
        };
        sent.map(|_| sum)
            .map_err(|e| OperationError::from_sdk_error(self.write_operation(), &e).into())
    }

    /// Puts the parts together.
    pub(super) async fn complete_multipart(&self, upload: &str) -> Result<(), StoreError> {
        let what = &self.store.config;
        let part = |p: &UploadedPart| {
            CompletedPart::builder()
                .part_number(i32::try_from(p.number).unwrap_or(i32::MAX))
                .e_tag(&p.etag)
                .set_checksum_sha256(checksum_headers(what.checksum, &p.checksum).0)
                .build()
        };
        let parts: Vec<_> = self.uploaded.iter().map(part).collect();
        let request = |only_new: bool| {
            self.store
                .client
                .complete_multipart_upload()
                .bucket(&what.name)
                .key(self.store.full_key(&self.key))
                .upload_id(upload)
                .set_if_none_match(only_new.then(|| "*".into()))
                .multipart_upload(
                    CompletedMultipartUpload::builder().set_parts(Some(parts.clone())).build(),
                )
                .customize()
                .config_override(config_with_timeouts(
                    TimeoutConfig::builder()
                        .operation_attempt_timeout(COMPLETE_ATTEMPT_TIMEOUT)
                        .operation_timeout(COMPLETE_TIMEOUT)
                        .build(),
                ))
        };
        let sent = match request(true).send().await {
            Err(e) if self.store.lacks_conditional_writes(error_code(&e)) => {
                self.ensure_absent().await?;
                request(false).send().await
            }
            sent => sent,
        };
        sent.map(drop)
            .map_err(|e| OperationError::from_sdk_error(self.write_operation(), &e).into())
    }

    /// Makes sure that the name is free, for stores that can't be asked to do so themselves.
    async fn ensure_absent(&self) -> Result<(), StoreError> {
        match self.store.head_object(&self.key).await? {
            Some(_) => Err(self.store.already_exists_error(&self.key)),
            None => Ok(()),
        }
    }
}

/// `x-amz-checksum-sha256` or `Content-MD5`.
fn checksum_headers(
    kind: StoreChecksum,
    sum: &sums::PartChecksum,
) -> (Option<String>, Option<String>) {
    match kind {
        StoreChecksum::Sha256 => (Some(sum.to_base64()), None),
        StoreChecksum::Md5 => (None, Some(sum.to_base64())),
    }
}

impl S3Backend {
    pub(super) async fn upload_part(
        &self,
        key: &str,
        upload: &str,
        number: u32,
        body: Bytes,
    ) -> Result<UploadedPart, StoreError> {
        let doing = || format!("write part {number} of {}", self.full_uri(key));
        let (kind, data) = (self.config.checksum, body.clone());
        let sum =
            tokio::task::spawn_blocking(move || sums::PartChecksum::compute(kind, &data)).await;
        let sum = sum.map_err(|e| OperationError::from_message(doing(), e.to_string()))?;
        let (sha256, md5) = checksum_headers(kind, &sum);
        // The checksum is signed and proves the body: a second hash of it would prove nothing more.
        let request = async |body: CountingBody| {
            self.client
                .upload_part()
                .bucket(&self.config.name)
                .key(self.full_key(key))
                .upload_id(upload)
                .part_number(i32::try_from(number).unwrap_or(i32::MAX))
                .set_checksum_sha256(sha256.clone())
                .set_content_md5(md5.clone())
                .body(retryable_body(body))
                .customize()
                .disable_payload_signing()
                .config_override(config_without_timeouts())
                .send()
                .await
        };
        let sent =
            stall::send_with_retries(&body, request).await.ok_or_else(|| stalled_error(doing()))?;
        let answer = sent.map_err(|e| OperationError::from_sdk_error(doing(), &e))?;
        let etag = answer.e_tag().map(str::to_owned);
        let etag = etag.ok_or_else(|| OperationError::from_message(doing(), "S3 gave no ETag"))?;
        Ok(UploadedPart { number, etag, checksum: sum })
    }

    /// Whether a store of others than AWS refused only the condition.
    fn lacks_conditional_writes(&self, code: Option<&str>) -> bool {
        self.config.endpoint.is_some() && code == Some("NotImplemented")
    }

    pub(super) async fn abort_multipart(&self, key: &str, upload: &str) {
        let request = self.client.abort_multipart_upload().bucket(&self.config.name);
        if let Err(e) = request.key(self.full_key(key)).upload_id(upload).send().await {
            let why = OperationError::from_sdk_error(
                format!("abort the upload of {}", self.full_uri(key)),
                &e,
            );
            tracing::warn!("an upload stays until the next run cleans it: {why}");
        }
    }
}

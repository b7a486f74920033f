//! The calls that an upload is made of.

use super::{Part, Writing};
use crate::{
    Error, Kind, RUN,
    s3::{S3Store, code, sums},
    stall::{self, Watched},
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
const COMPLETE: Duration = Duration::from_mins(5);
/// The same, over all tries.
const COMPLETE_WHOLE: Duration = Duration::from_mins(12);

/// Settings of a request whose end is watched here and not by the SDK.
fn timed(timeouts: TimeoutConfig) -> Builder {
    aws_sdk_s3::Config::builder()
        .timeout_config(timeouts)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
}

/// A part's time follows from its size and from what is taken of it: see [`stall`].
fn watched() -> Builder {
    let timeouts = TimeoutConfig::builder();
    timed(timeouts.disable_operation_attempt_timeout().disable_operation_timeout().build())
}

/// A body that the SDK can send again, counted each time.
fn stream(body: Watched) -> ByteStream {
    ByteStream::new(SdkBody::retryable(move || SdkBody::from_body_1_x(body.clone())))
}

/// It hung, every time.
fn hung(doing: String) -> Error {
    let why = format!(
        "the store took it and did not answer, or stopped taking it, {} times for a minute or more",
        stall::TRIES
    );
    Error::new(
        Kind::Unreachable,
        doing,
        why,
        "check the store and the network; the next run tries again",
    )
}

impl Writing {
    /// Standard is what S3 takes by itself.
    fn class(&self) -> Option<StorageClass> {
        let class = self.put.class.filter(|class| *class != policy::StorageClass::Standard);
        class.map(|class| StorageClass::from(class.as_str()))
    }

    fn lock(&self) -> (Option<ObjectLockMode>, Option<DateTime>) {
        let (Some(mode), Some(until)) = (self.store.what.lock, self.put.lock_until) else {
            return (None, None);
        };
        let mode = match mode {
            LockMode::Governance => ObjectLockMode::Governance,
            LockMode::Compliance => ObjectLockMode::Compliance,
        };
        (Some(mode), Some(DateTime::from_secs(until.as_second())))
    }

    /// Begins the upload in parts.
    pub(super) async fn create(&self) -> Result<String, Error> {
        let what = &self.store.what;
        let (mode, until) = self.lock();
        let sha256 = what.checksum == StoreChecksum::Sha256;
        let request = self.store.client.create_multipart_upload();
        let answer = request
            .bucket(&what.name)
            .key(self.store.key(&self.key))
            .metadata(RUN, &self.put.run)
            .set_checksum_algorithm(sha256.then_some(ChecksumAlgorithm::Sha256))
            .set_storage_class(self.class())
            .set_server_side_encryption(self.store.encryption())
            .set_ssekms_key_id(what.kms_key.clone())
            .set_object_lock_mode(mode)
            .set_object_lock_retain_until_date(until)
            .send()
            .await
            .map_err(|e| OperationError::from_sdk_error(self.doing(), &e))?;
        let upload = answer.upload_id().map(str::to_owned);
        upload.ok_or_else(|| OperationError::from_message(self.doing(), "S3 gave no upload id").into())
    }

    /// The whole object in one request.
    pub(super) async fn once(&self, body: Bytes) -> Result<sums::Sum, Error> {
        let what = &self.store.what;
        let (mode, until) = self.lock();
        let sum = sums::Sum::of(what.checksum, &body);
        let (sha256, md5) = headers(what.checksum, &sum);
        let request = async |only_new: bool, body: Watched| {
            self.store
                .client
                .put_object()
                .bucket(&what.name)
                .key(self.store.key(&self.key))
                .set_if_none_match(only_new.then(|| "*".into()))
                .metadata(RUN, &self.put.run)
                .set_checksum_sha256(sha256.clone())
                .set_content_md5(md5.clone())
                .set_storage_class(self.class())
                .set_server_side_encryption(self.store.encryption())
                .set_ssekms_key_id(what.kms_key.clone())
                .set_object_lock_mode(mode.clone())
                .set_object_lock_retain_until_date(until)
                .body(stream(body))
                .customize()
                .disable_payload_signing()
                .config_override(watched())
                .send()
                .await
        };
        let hung = || hung(self.doing());
        let sent = match stall::send(&body, |body| request(true, body)).await.ok_or_else(hung)? {
            Err(e) if self.store.unconditional(code(&e)) => {
                self.free().await?;
                stall::send(&body, |body| request(false, body)).await.ok_or_else(hung)?
            }
            sent => sent,
        };
        sent.map(|_| sum).map_err(|e| OperationError::from_sdk_error(self.doing(), &e).into())
    }

    /// Puts the parts together.
    pub(super) async fn complete(&self, upload: &str) -> Result<(), Error> {
        let what = &self.store.what;
        let part = |p: &Part| {
            CompletedPart::builder()
                .part_number(i32::try_from(p.number).unwrap_or(i32::MAX))
                .e_tag(&p.etag)
                .set_checksum_sha256(headers(what.checksum, &p.sum).0)
                .build()
        };
        let parts: Vec<_> = self.arrived.iter().map(part).collect();
        let request = |only_new: bool| {
            self.store
                .client
                .complete_multipart_upload()
                .bucket(&what.name)
                .key(self.store.key(&self.key))
                .upload_id(upload)
                .set_if_none_match(only_new.then(|| "*".into()))
                .multipart_upload(
                    CompletedMultipartUpload::builder().set_parts(Some(parts.clone())).build(),
                )
                .customize()
                .config_override(timed(
                    TimeoutConfig::builder()
                        .operation_attempt_timeout(COMPLETE)
                        .operation_timeout(COMPLETE_WHOLE)
                        .build(),
                ))
        };
        let sent = match request(true).send().await {
            Err(e) if self.store.unconditional(code(&e)) => {
                self.free().await?;
                request(false).send().await
            }
            sent => sent,
        };
        sent.map(drop).map_err(|e| OperationError::from_sdk_error(self.doing(), &e).into())
    }

    /// Makes sure that the name is free, for stores that can't be asked to do so themselves.
    async fn free(&self) -> Result<(), Error> {
        match self.store.head(&self.key).await? {
            Some(_) => Err(self.store.exists(&self.key)),
            None => Ok(()),
        }
    }
}

/// `x-amz-checksum-sha256` or `Content-MD5`.
fn headers(kind: StoreChecksum, sum: &sums::Sum) -> (Option<String>, Option<String>) {
    match kind {
        StoreChecksum::Sha256 => (Some(sum.header()), None),
        StoreChecksum::Md5 => (None, Some(sum.header())),
    }
}

impl S3Store {
    pub(super) async fn part(
        &self,
        key: &str,
        upload: &str,
        number: u32,
        body: Bytes,
    ) -> Result<Part, Error> {
        let doing = || format!("write part {number} of {}", self.whole(key));
        let (kind, data) = (self.what.checksum, body.clone());
        let sum = tokio::task::spawn_blocking(move || sums::Sum::of(kind, &data)).await;
        let sum = sum.map_err(|e| OperationError::from_message(doing(), e.to_string()))?;
        let (sha256, md5) = headers(kind, &sum);
        // The checksum is signed and proves the body: a second hash of it would prove nothing more.
        let request = async |body: Watched| {
            self.client
                .upload_part()
                .bucket(&self.what.name)
                .key(self.key(key))
                .upload_id(upload)
                .part_number(i32::try_from(number).unwrap_or(i32::MAX))
                .set_checksum_sha256(sha256.clone())
                .set_content_md5(md5.clone())
                .body(stream(body))
                .customize()
                .disable_payload_signing()
                .config_override(watched())
                .send()
                .await
        };
        let sent = stall::send(&body, request).await.ok_or_else(|| hung(doing()))?;
        let answer = sent.map_err(|e| OperationError::from_sdk_error(doing(), &e))?;
        let etag = answer.e_tag().map(str::to_owned);
        let etag = etag.ok_or_else(|| OperationError::from_message(doing(), "S3 gave no ETag"))?;
        Ok(Part { number, etag, sum })
    }

    /// Whether a store of others than AWS refused only the condition.
    fn unconditional(&self, code: Option<&str>) -> bool {
        self.what.endpoint.is_some() && code == Some("NotImplemented")
    }

    pub(super) async fn give_up(&self, key: &str, upload: &str) {
        let request = self.client.abort_multipart_upload().bucket(&self.what.name);
        if let Err(e) = request.key(self.key(key)).upload_id(upload).send().await {
            let why = OperationError::from_sdk_error(format!("abort the upload of {}", self.whole(key)), &e);
            tracing::warn!("an upload stays until the next run cleans it: {why}");
        }
    }
}

//! The calls that an upload is made of.

use super::{Part, Writing};
use crate::{
    Error, RUN,
    s3::{S3Store, code, sums},
};
use aws_sdk_s3::{
    primitives::ByteStream,
    types::{
        ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, ObjectLockMode, StorageClass,
    },
};
use aws_smithy_types::DateTime;
use bytes::Bytes;
use shared::{
    aws::EdgeError,
    policy::{self, LockMode, StoreChecksum},
};

impl Writing {
    /// Standard is what S3 takes by itself.
    fn class(&self) -> Option<StorageClass> {
        let class = self.put.class.filter(|class| *class != policy::StorageClass::Standard);
        class.map(|class| StorageClass::from(class.name()))
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
            .map_err(|e| EdgeError::new(self.doing(), &e))?;
        let upload = answer.upload_id().map(str::to_owned);
        upload.ok_or_else(|| EdgeError::refused(self.doing(), "S3 gave no upload id").into())
    }

    /// The whole object in one request.
    pub(super) async fn once(&self, body: Bytes) -> Result<sums::Sum, Error> {
        let what = &self.store.what;
        let (mode, until) = self.lock();
        let sum = sums::Sum::of(what.checksum, &body);
        let (sha256, md5) = headers(what.checksum, &sum);
        let request = |only_new: bool| {
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
                .body(ByteStream::from(body.clone()))
        };
        let sent = match request(true).send().await {
            Err(e) if self.store.unconditional(code(&e)) => {
                self.free().await?;
                request(false).send().await
            }
            sent => sent,
        };
        sent.map(|_| sum).map_err(|e| EdgeError::new(self.doing(), &e).into())
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
        };
        let sent = match request(true).send().await {
            Err(e) if self.store.unconditional(code(&e)) => {
                self.free().await?;
                request(false).send().await
            }
            sent => sent,
        };
        sent.map(drop).map_err(|e| EdgeError::new(self.doing(), &e).into())
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
        let sum = sum.map_err(|e| EdgeError::refused(doing(), e.to_string()))?;
        let (sha256, md5) = headers(kind, &sum);
        let request = self.client.upload_part().bucket(&self.what.name).key(self.key(key));
        let request = request
            .upload_id(upload)
            .part_number(i32::try_from(number).unwrap_or(i32::MAX))
            .set_checksum_sha256(sha256)
            .set_content_md5(md5)
            .body(ByteStream::from(body))
            .customize();
        // The checksum is signed and proves the body: under TLS a second hash of it would prove nothing more.
        let tls = self.what.endpoint.as_ref().is_none_or(|e| e.starts_with("https:"));
        let request = if tls { request.disable_payload_signing() } else { request };
        let answer = request.send().await.map_err(|e| EdgeError::new(doing(), &e))?;
        let etag = answer.e_tag().map(str::to_owned);
        let etag = etag.ok_or_else(|| EdgeError::refused(doing(), "S3 gave no ETag"))?;
        Ok(Part { number, etag, sum })
    }

    /// Whether a store of others than AWS refused only the condition.
    fn unconditional(&self, code: Option<&str>) -> bool {
        self.what.endpoint.is_some() && code == Some("NotImplemented")
    }

    pub(super) async fn give_up(&self, key: &str, upload: &str) {
        let request = self.client.abort_multipart_upload().bucket(&self.what.name);
        if let Err(e) = request.key(self.key(key)).upload_id(upload).send().await {
            let why = EdgeError::new(format!("abort the upload of {}", self.whole(key)), &e);
            tracing::warn!("an upload stays until the next run cleans it: {why}");
        }
    }
}

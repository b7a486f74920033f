//! Objects written: in one request when small, else in parts, a few of them on their way at once.

use super::{S3Store, code, run, sums};
use crate::{Error, Kind, Put, RUN, Written, parts::Parts};
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
    policy::{LockMode, StoreChecksum},
};
use tokio::task::JoinSet;

/// An object that is being written.
#[derive(Debug)]
pub(crate) struct Writing {
    store: S3Store,
    key: String,
    put: Put,
    parts: Parts,
    /// The part that is being filled, from 1.
    number: u32,
    buffer: Vec<u8>,
    bytes: u64,
    upload: Option<String>,
    on_their_way: JoinSet<Result<Part, Error>>,
    arrived: Vec<Part>,
}

/// A part that the store has.
#[derive(Debug)]
struct Part {
    number: u32,
    etag: String,
    sum: sums::Sum,
}

impl Writing {
    pub(super) fn new(store: S3Store, key: &str, put: &Put) -> Self {
        Self {
            parts: Parts::new(put.size_hint, store.budget),
            store,
            key: key.to_owned(),
            put: put.clone(),
            number: 1,
            buffer: Vec::new(),
            bytes: 0,
            upload: None,
            on_their_way: JoinSet::new(),
            arrived: Vec::new(),
        }
    }

    pub(crate) async fn write(&mut self, mut bytes: Bytes) -> Result<(), Error> {
        while !bytes.is_empty() {
            let size = usize::try_from(self.parts.size(self.number)).unwrap_or(usize::MAX);
            if self.buffer.len() == size {
                self.send().await?;
                continue;
            }
            if self.buffer.capacity() == 0 {
                // Once, to its size: growing would copy, and hold both copies.
                let expected = usize::try_from(self.put.size_hint).unwrap_or(size).max(1 << 20);
                let first = if self.number == 1 { expected.min(size) } else { size };
                self.buffer.reserve_exact(first);
            }
            let room = (size - self.buffer.len()).min(bytes.len());
            self.buffer.extend_from_slice(&bytes.split_to(room));
            self.bytes += room as u64;
        }
        Ok(())
    }

    /// Sends the part in the buffer, and waits until there is memory for the next.
    async fn send(&mut self) -> Result<(), Error> {
        let upload = match &self.upload {
            Some(upload) => upload.clone(),
            None => self.create().await?,
        };
        self.upload = Some(upload.clone());
        let body = Bytes::from(std::mem::take(&mut self.buffer));
        let (store, key, number) = (self.store.clone(), self.key.clone(), self.number);
        self.on_their_way.spawn(async move { store.part(&key, &upload, number, body).await });
        self.number += 1;
        let most = self.parts.buffers(self.number) - 1;
        while self.on_their_way.len() > most {
            self.arrive().await?;
        }
        Ok(())
    }

    /// Waits for a part to arrive.
    async fn arrive(&mut self) -> Result<(), Error> {
        if let Some(part) = self.on_their_way.join_next().await {
            let part = part.map_err(|e| {
                let mend = "this is a fault of Holdfast";
                Error::new(Kind::Refused, self.doing(), e.to_string(), mend)
            })?;
            self.arrived.push(part?);
        }
        Ok(())
    }

    fn doing(&self) -> String {
        format!("write {}", self.store.whole(&self.key))
    }

    fn class(&self) -> Option<StorageClass> {
        use shared::policy::StorageClass as Ours;
        self.put.class.and_then(|c| match c {
            Ours::Standard => None,
            Ours::StandardIa => Some(StorageClass::StandardIa),
            Ours::Glacier => Some(StorageClass::Glacier),
            Ours::GlacierIr => Some(StorageClass::GlacierIr),
            Ours::DeepArchive => Some(StorageClass::DeepArchive),
        })
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
    async fn create(&self) -> Result<String, Error> {
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
    async fn once(&self, body: Bytes) -> Result<sums::Sum, Error> {
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
    async fn complete(&self, upload: &str) -> Result<(), Error> {
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

    pub(crate) async fn finish(mut self) -> Result<Written, Error> {
        let done = self.end().await;
        match &done {
            Ok(_) => self.upload = None,
            Err(_) => self.take_back().await,
        }
        done
    }

    async fn end(&mut self) -> Result<Written, Error> {
        let kind = self.store.what.checksum;
        let (ended, expected) = if self.upload.is_none() {
            let body = Bytes::from(std::mem::take(&mut self.buffer));
            let sum = sums::Sum::of(kind, &body);
            let ended = self.once(body).await.map(drop);
            (ended, sums::whole(kind, &[sum], false))
        } else {
            if !self.buffer.is_empty() {
                self.send().await?;
            }
            while !self.on_their_way.is_empty() {
                self.arrive().await?;
            }
            self.arrived.sort_by_key(|p| p.number);
            let sums: Vec<_> = self.arrived.iter().map(|p| p.sum.clone()).collect();
            let upload = self.upload.clone().unwrap_or_default();
            (self.complete(&upload).await, sums::whole(kind, &sums, true))
        };
        let doing = format!("read back {}", self.store.whole(&self.key));
        let Some(head) = self.store.head(&self.key).await? else {
            ended?;
            let mend = "look at the store: it does not keep what it is given";
            return Err(Error::new(Kind::Damaged, doing, "it is not there", mend));
        };
        let compared = sums::compare(&doing, kind, self.bytes, &expected, &head);
        if let Err(e) = ended {
            // The answer may have been lost after the object was made, and the next try then finds it there.
            let ours = run(&head) == Some(self.put.run.as_str()) && !self.put.run.is_empty();
            return if ours && compared.is_ok() { compared } else { Err(e) };
        }
        compared
    }

    /// Takes back what was uploaded, which costs as long as it lies there.
    async fn take_back(&mut self) {
        self.on_their_way.shutdown().await;
        if let Some(upload) = self.upload.take() {
            self.store.give_up(&self.key, &upload).await;
        }
    }

    pub(crate) async fn abort(mut self) {
        self.take_back().await;
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let Some(upload) = self.upload.take() else { return };
        // Where there is no runtime any more, the next run finds it among the leftovers.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (store, key) = (self.store.clone(), self.key.clone());
            runtime.spawn(async move { store.give_up(&key, &upload).await });
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
    async fn part(&self, key: &str, upload: &str, number: u32, body: Bytes) -> Result<Part, Error> {
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

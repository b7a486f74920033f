//! Objects written: in one request when small, else in parts, a few of them on their way at once.

mod calls;

use super::{S3Backend, run_metadata, sums};
use crate::{StoreError, StoreErrorKind, UploadOptions, UploadReceipt, parts::PartBuffer};
use bytes::Bytes;
use tokio::task::JoinSet;

/// An object that is being written.
#[derive(Debug)]
pub(crate) struct S3Upload {
    store: S3Backend,
    key: String,
    put: UploadOptions,
    part: PartBuffer,
    upload: Option<String>,
    in_flight: JoinSet<Result<UploadedPart, StoreError>>,
    uploaded: Vec<UploadedPart>,
}

/// A part that the store has.
#[derive(Debug)]
struct UploadedPart {
    number: u32,
    etag: String,
    checksum: sums::PartChecksum,
}

impl S3Upload {
    pub(super) fn new(store: S3Backend, key: &str, put: &UploadOptions) -> Self {
        Self {
            part: PartBuffer::new(put.size_hint, store.budget),
            store,
            key: key.to_owned(),
            put: put.clone(),
            upload: None,
            in_flight: JoinSet::new(),
            uploaded: Vec::new(),
        }
    }

    pub(crate) async fn write(&mut self, mut bytes: Bytes) -> Result<(), StoreError> {
        while self.part.fill_from(&mut bytes) {
            self.send_part().await?;
        }
        Ok(())
    }

    /// Sends the part in the buffer, and waits until there is memory for the next.
    async fn send_part(&mut self) -> Result<(), StoreError> {
        let upload = match &self.upload {
            Some(upload) => upload.clone(),
            None => self.create_multipart().await?,
        };
        self.upload = Some(upload.clone());
        let (number, body) = self.part.take_part();
        let (store, key) = (self.store.clone(), self.key.clone());
        self.in_flight.spawn(async move { store.upload_part(&key, &upload, number, body).await });
        while self.in_flight.len() > self.part.max_in_flight() {
            self.join_next_part().await?;
        }
        Ok(())
    }

    /// Waits for a part to arrive.
    async fn join_next_part(&mut self) -> Result<(), StoreError> {
        if let Some(part) = self.in_flight.join_next().await {
            let part = part.map_err(|e| {
                let hint = "this is a fault of Holdfast";
                StoreError::new(
                    StoreErrorKind::Refused,
                    self.write_operation(),
                    e.to_string(),
                    hint,
                )
            })?;
            self.uploaded.push(part?);
        }
        Ok(())
    }

    fn write_operation(&self) -> String {
        format!("write {}", self.store.full_uri(&self.key))
    }

    pub(crate) async fn finish(mut self) -> Result<UploadReceipt, StoreError> {
        let done = self.complete_and_verify().await;
        match &done {
            Ok(_) => self.upload = None,
            Err(_) => self.abort_in_flight().await,
        }
        done
    }

    async fn complete_and_verify(&mut self) -> Result<UploadReceipt, StoreError> {
        let kind = self.store.config.checksum;
        let (ended, expected) = if self.upload.is_none() {
            let (_, body) = self.part.take_part();
            let sum = sums::PartChecksum::compute(kind, &body);
            let ended = self.put_object(body).await.map(drop);
            (ended, sums::expected_checksum(kind, &[sum], false))
        } else {
            if !self.part.is_empty() {
                self.send_part().await?;
            }
            while !self.in_flight.is_empty() {
                self.join_next_part().await?;
            }
            self.uploaded.sort_by_key(|p| p.number);
            let sums: Vec<_> = self.uploaded.iter().map(|p| p.checksum.clone()).collect();
            let upload = self.upload.clone().unwrap_or_default();
            (self.complete_multipart(&upload).await, sums::expected_checksum(kind, &sums, true))
        };
        let doing = format!("read back {}", self.store.full_uri(&self.key));
        let Some(head) = self.store.head_object(&self.key).await? else {
            ended?;
            let hint = "look at the store: it does not keep what it is given";
            return Err(StoreError::new(StoreErrorKind::Damaged, doing, "it is not there", hint));
        };
        let compared = sums::verify_head(&doing, kind, self.part.total_bytes(), &expected, &head);
        if let Err(e) = ended {
            // The answer may have been lost after the object was made, and the next try then finds it there.
            let ours =
                run_metadata(&head) == Some(self.put.run.as_str()) && !self.put.run.is_empty();
            return if ours && compared.is_ok() { compared } else { Err(e) };
        }
        compared
    }

    /// Takes back what was uploaded, which costs as long as it lies there.
    async fn abort_in_flight(&mut self) {
        self.in_flight.shutdown().await;
        if let Some(upload) = self.upload.take() {
            self.store.abort_multipart(&self.key, &upload).await;
        }
    }

    pub(crate) async fn abort(mut self) {
        self.abort_in_flight().await;
    }
}

impl Drop for S3Upload {
    fn drop(&mut self) {
        let Some(upload) = self.upload.take() else { return };
        // Where there is no runtime any more, the next run finds it among the leftovers.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (store, key) = (self.store.clone(), self.key.clone());
            runtime.spawn(async move { store.abort_multipart(&key, &upload).await });
        }
    }
}

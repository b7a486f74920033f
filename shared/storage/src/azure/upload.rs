//! Blobs written: in one request when small, else in blocks, a few of them on their way at once.

use super::{AZURE_RUN_METADATA_KEY, AzureBackend, run_metadata, to_store_error};
use crate::{StoreError, StoreErrorKind, UploadOptions, UploadReceipt, parts::PartBuffer};
use bytes::Bytes;
use object_store::{
    Attribute, Attributes, MultipartUpload, ObjectStore, PutMode, PutMultipartOptions, PutOptions,
    PutPayload, path::Path,
};
use shared::policy::StorageClass;
use tokio::task::JoinSet;

/// A blob that is being written.
#[derive(Debug)]
pub(crate) struct AzureUpload {
    store: AzureBackend,
    key: String,
    path: Path,
    put: UploadOptions,
    part: PartBuffer,
    upload: Option<Box<dyn MultipartUpload>>,
    in_flight: JoinSet<object_store::Result<()>>,
}

impl AzureUpload {
    pub(super) fn new(
        store: AzureBackend,
        key: &str,
        put: &UploadOptions,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            path: store.blob_path(key)?,
            part: PartBuffer::new(put.size_hint, store.budget),
            store,
            key: key.to_owned(),
            put: put.clone(),
            upload: None,
            in_flight: JoinSet::new(),
        })
    }

    pub(crate) async fn write(&mut self, mut bytes: Bytes) -> Result<(), StoreError> {
        while self.part.fill_from(&mut bytes) {
            self.send_block().await?;
        }
        Ok(())
    }

    async fn send_block(&mut self) -> Result<(), StoreError> {
        if self.upload.is_none() {
            let options =
                PutMultipartOptions { attributes: self.blob_attributes(), ..Default::default() };
            let upload = self.store.store.put_multipart_opts(&self.path, options).await;
            self.upload = Some(upload.map_err(|e| to_store_error(self.write_operation(), &e))?);
        }
        let (_, body) = self.part.take_part();
        if let Some(upload) = &mut self.upload {
            self.in_flight.spawn(upload.put_part(PutPayload::from(body)));
        }
        while self.in_flight.len() > self.part.max_in_flight() {
            self.join_next_block().await?;
        }
        Ok(())
    }

    async fn join_next_block(&mut self) -> Result<(), StoreError> {
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
            part.map_err(|e| to_store_error(self.write_operation(), &e))?;
        }
        Ok(())
    }

    fn write_operation(&self) -> String {
        format!("write {}", self.store.full_uri(&self.key))
    }

    fn blob_attributes(&self) -> Attributes {
        let mut all = Attributes::new();
        all.insert(Attribute::Metadata(AZURE_RUN_METADATA_KEY.into()), self.put.run.clone().into());
        if let Some(tier) = self.put.class.and_then(access_tier) {
            all.insert(Attribute::StorageClass, tier.into());
        }
        all
    }

    pub(crate) async fn finish(mut self) -> Result<UploadReceipt, StoreError> {
        let ended = if self.upload.is_none() {
            let (_, body) = self.part.take_part();
            let options = PutOptions {
                mode: PutMode::Create,
                attributes: self.blob_attributes(),
                ..PutOptions::default()
            };
            self.store.store.put_opts(&self.path, PutPayload::from(body), options).await
        } else {
            if !self.part.is_empty() {
                self.send_block().await?;
            }
            while !self.in_flight.is_empty() {
                self.join_next_block().await?;
            }
            match &mut self.upload {
                Some(upload) => upload.complete().await,
                None => unreachable!("it was there before"),
            }
        };
        let ended = ended.map_err(|e| to_store_error(self.write_operation(), &e));
        let doing = format!("read back {}", self.store.full_uri(&self.key));
        let Some(head) = self.store.head_blob(&self.key).await? else {
            ended?;
            let hint = "look at the store: it does not keep what it is given";
            return Err(StoreError::new(StoreErrorKind::Damaged, doing, "it is not there", hint));
        };
        let ours = run_metadata(&head) == Some(self.put.run.as_str());
        let whole = head.meta.size == self.part.total_bytes();
        match ended {
            // The answer may have been lost after the blob was made, and the next try then finds it there.
            Err(e) if !(ours && whole) || self.put.run.is_empty() => Err(e),
            _ if !whole => {
                let why =
                    format!("{} bytes lie there, of {}", head.meta.size, self.part.total_bytes());
                let hint = "nothing counts of it; look at the store";
                Err(StoreError::new(StoreErrorKind::Damaged, doing, why, hint))
            }
            _ => Ok(UploadReceipt {
                bytes: head.meta.size,
                checksum: head.meta.e_tag.map(|e| format!("etag:{}", e.trim_matches('"'))),
            }),
        }
    }

    pub(crate) async fn abort(mut self) {
        // Blocks that are in no list are dropped by Azure.
        self.in_flight.shutdown().await;
    }
}

/// Access tiers by S3's names; Standard is the account's own.
fn access_tier(class: StorageClass) -> Option<&'static str> {
    match class {
        StorageClass::Standard => None,
        StorageClass::StandardIa => Some("Cool"),
        StorageClass::GlacierIr => Some("Cold"),
        StorageClass::Glacier | StorageClass::DeepArchive => Some("Archive"),
    }
}

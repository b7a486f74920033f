//! What killed runs left in a bucket: uploads without end, and objects of ours without a manifest.

use super::{S3Backend, run_metadata};
use crate::{
    KeyTemplate, OrphanKind, OrphanedObject, StoreError, beside,
    leftovers::{find_uncommitted, parse_any},
};
use jiff::Timestamp;
use shared::aws::{OperationError, OperationErrorKind};

impl S3Backend {
    pub(crate) async fn list_orphans(
        &self,
        forms: &[KeyTemplate],
    ) -> Result<Vec<OrphanedObject>, StoreError> {
        let mut all = self.list_unfinished_uploads(forms).await?;
        all.extend(
            find_uncommitted(forms, &self.list("").await?, |key| self.is_own_object(key)).await?,
        );
        Ok(all)
    }

    /// Whether a run of Holdfast made an object. Foreign ones have no such mark; what is gone meanwhile is none of ours.
    pub(crate) async fn is_own_object(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.head_object(key).await?.is_some_and(|h| run_metadata(&h).is_some()))
    }

    /// Uploads in parts that were not ended.
    async fn list_unfinished_uploads(
        &self,
        forms: &[KeyTemplate],
    ) -> Result<Vec<OrphanedObject>, StoreError> {
        let doing = || format!("list uploads of {}", self.address());
        let mut all = Vec::new();
        let (mut after, mut after_id) = (None, None);
        loop {
            let request = self.client.list_multipart_uploads().bucket(&self.config.name);
            let request = request.prefix(&self.config.prefix).set_key_marker(after);
            let page = request.set_upload_id_marker(after_id).send().await;
            let page = page.map_err(|e| OperationError::from_sdk_error(doing(), &e))?;
            for upload in page.uploads() {
                let key = upload.key().and_then(|k| k.strip_prefix(&self.config.prefix));
                let (Some(key), Some(id)) = (key, upload.upload_id()) else { continue };
                let Some(read) = parse_any(forms, key) else { continue };
                all.push(OrphanedObject {
                    key: key.to_owned(),
                    database: read.database,
                    kind: OrphanKind::Upload { id: id.to_owned() },
                    started_at: upload
                        .initiated()
                        .and_then(|t| Timestamp::from_second(t.secs()).ok()),
                });
            }
            after = page.next_key_marker().map(str::to_owned);
            after_id = page.next_upload_id_marker().map(str::to_owned);
            if page.is_truncated() != Some(true) || after.is_none() {
                return Ok(all);
            }
        }
    }

    pub(crate) async fn delete_orphan(&self, left: &OrphanedObject) -> Result<(), StoreError> {
        match &left.kind {
            OrphanKind::Upload { id } => {
                let request = self.client.abort_multipart_upload().bucket(&self.config.name);
                let request = request.key(self.full_key(&left.key)).upload_id(id);
                match request.send().await {
                    Ok(_) => Ok(()),
                    Err(e) => {
                        let doing = format!("abort the upload of {}", self.full_uri(&left.key));
                        match OperationError::from_sdk_error(doing, &e) {
                            // It ended meanwhile.
                            gone if gone.code.as_deref() == Some("NoSuchUpload") => Ok(()),
                            gone if gone.kind == OperationErrorKind::Missing => Ok(()),
                            e => Err(e.into()),
                        }
                    }
                }
            }
            OrphanKind::Object | OrphanKind::Temporary => {
                // Asked anew: since it was seen, its manifest may have come.
                if self.head_object(&beside::manifest_key(&left.key)).await?.is_some() {
                    return Ok(());
                }
                self.remove_object(&beside::signature_key(&beside::manifest_key(&left.key)))
                    .await?;
                self.remove_object(&beside::checksum_key(&left.key)).await?;
                self.remove_object(&left.key).await
            }
        }
    }
}

//! What killed runs left in a bucket: uploads without end, and objects of ours without a manifest.

use super::{S3Store, run};
use crate::{
    Error, KeyForm, Left, Leftover, beside,
    leftovers::{of_form, unfinished},
};
use jiff::Timestamp;
use shared::aws::{OperationError, OperationErrorKind};

impl S3Store {
    pub(crate) async fn leftovers(&self, forms: &[KeyForm]) -> Result<Vec<Leftover>, Error> {
        let mut all = self.uploads(forms).await?;
        all.extend(unfinished(forms, &self.list("").await?, |key| self.ours(key)).await?);
        Ok(all)
    }

    /// Whether a run of Holdfast made an object. Foreign ones have no such mark; what is gone meanwhile is none of ours.
    pub(crate) async fn ours(&self, key: &str) -> Result<bool, Error> {
        Ok(self.head(key).await?.is_some_and(|h| run(&h).is_some()))
    }

    /// Uploads in parts that were not ended.
    async fn uploads(&self, forms: &[KeyForm]) -> Result<Vec<Leftover>, Error> {
        let doing = || format!("list uploads of {}", self.address());
        let mut all = Vec::new();
        let (mut after, mut after_id) = (None, None);
        loop {
            let request = self.client.list_multipart_uploads().bucket(&self.what.name);
            let request = request.prefix(&self.what.prefix).set_key_marker(after);
            let page = request.set_upload_id_marker(after_id).send().await;
            let page = page.map_err(|e| OperationError::from_sdk_error(doing(), &e))?;
            for upload in page.uploads() {
                let key = upload.key().and_then(|k| k.strip_prefix(&self.what.prefix));
                let (Some(key), Some(id)) = (key, upload.upload_id()) else { continue };
                let Some(read) = of_form(forms, key) else { continue };
                all.push(Leftover {
                    key: key.to_owned(),
                    database: read.database,
                    what: Left::Upload { id: id.to_owned() },
                    since: upload.initiated().and_then(|t| Timestamp::from_second(t.secs()).ok()),
                });
            }
            after = page.next_key_marker().map(str::to_owned);
            after_id = page.next_upload_id_marker().map(str::to_owned);
            if page.is_truncated() != Some(true) || after.is_none() {
                return Ok(all);
            }
        }
    }

    pub(crate) async fn clean(&self, left: &Leftover) -> Result<(), Error> {
        match &left.what {
            Left::Upload { id } => {
                let request = self.client.abort_multipart_upload().bucket(&self.what.name);
                let request = request.key(self.key(&left.key)).upload_id(id);
                match request.send().await {
                    Ok(_) => Ok(()),
                    Err(e) => {
                        let doing = format!("abort the upload of {}", self.whole(&left.key));
                        match OperationError::from_sdk_error(doing, &e) {
                            // It ended meanwhile.
                            gone if gone.code.as_deref() == Some("NoSuchUpload") => Ok(()),
                            gone if gone.kind == OperationErrorKind::Missing => Ok(()),
                            e => Err(e.into()),
                        }
                    }
                }
            }
            Left::Object | Left::Temporary => {
                // Asked anew: since it was seen, its manifest may have come.
                if self.head(&beside::manifest(&left.key)).await?.is_some() {
                    return Ok(());
                }
                self.remove(&beside::signature(&beside::manifest(&left.key))).await?;
                self.remove(&beside::sums(&left.key)).await?;
                self.remove(&left.key).await
            }
        }
    }
}

//! Azure Blob Storage as a store.
//!
//! Block blobs: parts are blocks, and a list of them makes the blob, where there is none. `wire` adds to the requests what
//! the client library does not: the condition on that list, and an MD5 that Azure checks on arrival of each block.

mod error;
mod read;
mod upload;
mod wire;

use error::to_store_error;
pub(crate) use upload::AzureUpload;

use crate::{
    KeyTemplate, ObjectEntry, OrphanedObject, StoreError, StoreErrorKind, UploadOptions, beside,
    leftovers::find_uncommitted, parts, shell_quote,
};
use bytes::Bytes;
use futures_util::TryStreamExt;
use jiff::Timestamp;
use object_store::{
    Attribute, ClientConfigKey, GetOptions, GetResult, ObjectStore, ObjectStoreExt,
    azure::{AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder},
    path::Path,
};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;

/// Name of the metadata that marks a blob as ours: [`crate::RUN_METADATA_KEY`] as an identifier, which Azure wants.
const AZURE_RUN_METADATA_KEY: &str = "holdfast_run";

/// A container, and what keys begin with in it.
#[derive(Clone, Debug)]
pub struct AzureBackend {
    store: Arc<MicrosoftAzure>,
    account: String,
    container: String,
    endpoint: Option<String>,
    prefix: String,
    budget: u64,
}

impl AzureBackend {
    /// A container. Without `access_key` the environment's credentials are used.
    ///
    /// # Errors
    /// If the key or the endpoint is none.
    pub fn new(
        account: &str,
        container: &str,
        endpoint: Option<&str>,
        access_key: Option<&SecretString>,
        prefix: &str,
    ) -> Result<Self, StoreError> {
        let connector = wire::SigningConnector::default();
        let mut builder = MicrosoftAzureBuilder::from_env()
            // A part's time follows from its size (`wire`), and a range's from `ranges`: this bounds all else.
            .with_config(AzureConfigKey::Client(ClientConfigKey::Timeout), "20 minutes")
            .with_account(account)
            .with_container_name(container)
            .with_http_connector(connector.clone());
        if let Some(key) = access_key {
            builder = builder.with_access_key(key.expose_secret());
        }
        if let Some(endpoint) = endpoint {
            let plain = endpoint.starts_with("http:");
            builder = builder.with_endpoint(endpoint.to_owned()).with_allow_http(plain);
        }
        let store = builder.build().map_err(|e| {
            let doing = format!("open azure://{account}/{container}");
            let hint =
                "check account, container, endpoint and access key of the store in the policy";
            StoreError::new(StoreErrorKind::Refused, doing, e.to_string(), hint)
        })?;
        connector.sign_with(account, store.credentials().clone());
        Ok(Self {
            store: Arc::new(store),
            account: account.to_owned(),
            container: container.to_owned(),
            endpoint: endpoint.map(str::to_owned),
            prefix: prefix.to_owned(),
            budget: parts::UPLOAD_BUFFER_BYTES,
        })
    }

    /// With `bytes` of memory for the buffers of one upload instead of [`parts::UPLOAD_BUFFER_BYTES`].
    #[must_use]
    pub fn with_upload_memory(self, bytes: u64) -> Self {
        Self { budget: bytes, ..self }
    }

    pub(crate) fn address(&self) -> String {
        self.full_uri("").trim_end_matches('/').to_owned()
    }

    pub(crate) fn full_uri(&self, key: &str) -> String {
        format!("azure://{}/{}/{}{key}", self.account, self.container, self.prefix)
    }

    pub(crate) fn download_command(&self, key: &str) -> String {
        let name = shell_quote(&format!("{}{key}", self.prefix));
        let mut command = format!(
            "az storage blob download --account-name {} --container-name {} --name {name} --file /dev/stdout --no-progress --output none",
            shell_quote(&self.account),
            shell_quote(&self.container)
        );
        if let Some(endpoint) = &self.endpoint {
            command += &format!(" --blob-endpoint {}", shell_quote(endpoint));
        }
        command
    }

    fn blob_path(&self, key: &str) -> Result<Path, StoreError> {
        Path::parse(format!("{}{key}", self.prefix)).map_err(|e| {
            let doing = format!("use the key {}", self.full_uri(key));
            StoreError::new(
                StoreErrorKind::Refused,
                doing,
                e.to_string(),
                "fix the store's key or prefix",
            )
        })
    }

    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<ObjectEntry>, StoreError> {
        let begin = format!("{}{prefix}", self.prefix);
        // The library lists below whole parts of names only.
        let folder = begin.rsplit_once('/').map_or("", |(folder, _)| folder);
        let folder = Path::parse(folder).unwrap_or_default();
        let doing = || format!("list {}", self.full_uri(prefix));
        let listed = self.store.list(Some(&folder).filter(|f| !f.as_ref().is_empty()));
        let listed = listed.try_filter_map(|meta| {
            let name = meta.location.to_string();
            let key = name.starts_with(&begin).then(|| name.strip_prefix(&self.prefix)).flatten();
            let entry = key.map(|key| ObjectEntry {
                key: key.to_owned(),
                size: meta.size,
                modified: Timestamp::from_second(meta.last_modified.timestamp())
                    .unwrap_or(Timestamp::UNIX_EPOCH),
                etag: meta.e_tag,
                class: None,
                archived: false,
            });
            async move { Ok(entry) }
        });
        listed.try_collect().await.map_err(|e| to_store_error(doing(), &e))
    }

    pub(crate) async fn start_upload(
        &self,
        key: &str,
        put: &UploadOptions,
    ) -> Result<AzureUpload, StoreError> {
        // Azure is asked again at the end; this saves a whole dump that could never be stored.
        if self.head_blob(key).await?.is_some() {
            let hint = "look at it: nothing is ever rewritten";
            let doing = format!("write {}", self.full_uri(key));
            return Err(StoreError::new(
                StoreErrorKind::Exists,
                doing,
                "there is a blob of that name",
                hint,
            ));
        }
        AzureUpload::new(self.clone(), key, put)
    }

    pub(crate) async fn put_if_absent(
        &self,
        key: &str,
        bytes: Bytes,
        put: &UploadOptions,
    ) -> Result<(), StoreError> {
        let put = UploadOptions { class: None, ..put.clone() };
        let mut writing = AzureUpload::new(self.clone(), key, &put)?;
        writing.write(bytes).await?;
        writing.finish().await.map(drop)
    }

    /// What Azure knows of a blob; none when there is none.
    async fn head_blob(&self, key: &str) -> Result<Option<GetResult>, StoreError> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        match self.store.get_opts(&self.blob_path(key)?, options).await {
            Ok(head) => Ok(Some(head)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(to_store_error(format!("look at {}", self.full_uri(key)), &e)),
        }
    }

    /// Blocks that were never listed are dropped by Azure itself after a week; what is left are blobs without a manifest.
    pub(crate) async fn list_orphans(
        &self,
        forms: &[KeyTemplate],
    ) -> Result<Vec<OrphanedObject>, StoreError> {
        find_uncommitted(forms, &self.list("").await?, |key| self.is_own_object(key)).await
    }

    /// Whether a run of Holdfast made a blob; what is gone meanwhile is none of ours.
    pub(crate) async fn is_own_object(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.head_blob(key).await?.is_some_and(|h| run_metadata(&h).is_some()))
    }

    pub(crate) async fn delete_orphan(&self, left: &OrphanedObject) -> Result<(), StoreError> {
        // Asked anew: since it was seen, its manifest may have come.
        if self.head_blob(&beside::manifest_key(&left.key)).await?.is_some() {
            return Ok(());
        }
        self.remove_object(&beside::signature_key(&beside::manifest_key(&left.key))).await?;
        self.remove_object(&beside::checksum_key(&left.key)).await?;
        self.remove_object(&left.key).await
    }

    pub(crate) async fn delete_backup(&self, key: &str) -> Result<(), StoreError> {
        self.remove_object(&beside::manifest_key(key)).await?;
        self.remove_object(&beside::signature_key(&beside::manifest_key(key))).await?;
        self.remove_object(&beside::checksum_key(key)).await?;
        self.remove_object(key).await
    }

    pub(crate) async fn remove_object(&self, key: &str) -> Result<(), StoreError> {
        match self.store.delete(&self.blob_path(key)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(to_store_error(format!("delete {}", self.full_uri(key)), &e)),
        }
    }
}

/// The run that a blob was made by.
fn run_metadata(head: &GetResult) -> Option<&str> {
    head.attributes.get(&Attribute::Metadata(AZURE_RUN_METADATA_KEY.into())).map(AsRef::as_ref)
}

#[cfg(test)]
mod tests;

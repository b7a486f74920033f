//! S3, and what speaks like it, as a store.
//!
//! - `upload`: objects written in parts, each with a checksum that the store checks on arrival, and read back
//! - `read`: whole objects in ranges, pinned to one version
//! - `cold`: archived objects; `leftovers`: what killed runs left
//!
//! Checksums are ours, never the SDK's defaults: stores that know no newer ones refuse those.

mod cold;
mod leftovers;
mod read;
mod sums;
mod upload;

pub(crate) use upload::S3Upload;

use crate::{
    ObjectEntry, RUN_METADATA_KEY, StoreError, StoreErrorKind, UploadOptions, beside, parts,
    shell_quote,
};
use aws_sdk_s3::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::head_object::HeadObjectOutput,
    types::{ChecksumMode, ServerSideEncryption},
};
use bytes::Bytes;
use shared::{
    aws::{OperationError, s3::S3Client},
    bounded,
    catalog::Location,
    policy::{BucketEncryption, LockMode, StoreChecksum},
};
use std::io::ErrorKind;

/// A bucket, and what keys begin with in it.
#[derive(Clone, Debug)]
pub struct S3Backend {
    client: Client,
    lister: S3Client,
    config: S3Config,
    budget: u64,
}

/// Which bucket, and how it is written to.
#[derive(Clone, Debug)]
pub struct S3Config {
    /// Its name.
    pub name: String,
    /// Keys begin with this.
    pub prefix: String,
    /// Its region, when a command has to say it.
    pub region: Option<String>,
    /// An S3-compatible store's address.
    pub endpoint: Option<String>,
    /// Checksum that is checked on arrival.
    pub checksum: StoreChecksum,
    /// Encryption that is asked for with each object.
    pub encryption: Option<BucketEncryption>,
    /// KMS key for it.
    pub kms_key: Option<String>,
    /// How strict the lock is.
    pub lock: Option<LockMode>,
}

impl S3Backend {
    /// A bucket behind a client which adds no checksums by itself.
    pub fn new(client: Client, place: Location, what: S3Config) -> Self {
        let lister = S3Client::new(client.clone(), place);
        Self { client, lister, config: what, budget: parts::UPLOAD_BUFFER_BYTES }
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
        format!("s3://{}/{}", self.config.name, self.full_key(key))
    }

    pub(crate) fn download_command(&self, key: &str) -> String {
        let mut command = format!("aws s3 cp {} -", shell_quote(&self.full_uri(key)));
        if let Some(endpoint) = &self.config.endpoint {
            command += &format!(" --endpoint-url {}", shell_quote(endpoint));
        }
        if let Some(region) = &self.config.region {
            command += &format!(" --region {}", shell_quote(region));
        }
        command
    }

    fn full_key(&self, key: &str) -> String {
        format!("{}{key}", self.config.prefix)
    }

    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<ObjectEntry>, StoreError> {
        let mut objects = self.lister.list_objects(&self.config.name, &self.full_key(prefix));
        let mut all = Vec::new();
        while let Some(object) = objects.next().await? {
            let Some(key) = object.key.strip_prefix(&self.config.prefix) else { continue };
            // Consoles make such objects to show folders.
            if key.is_empty() || key.ends_with('/') {
                continue;
            }
            all.push(ObjectEntry {
                key: key.to_owned(),
                size: object.size,
                modified: object.modified,
                archived: object.is_archived(),
                etag: Some(object.etag),
                class: Some(object.storage_class),
            });
        }
        Ok(all)
    }

    pub(crate) async fn start_upload(
        &self,
        key: &str,
        put: &UploadOptions,
    ) -> Result<S3Upload, StoreError> {
        // The store is asked again at the end; this saves a whole dump that could never be stored.
        if self.head_object(key).await?.is_some() {
            return Err(self.already_exists_error(key));
        }
        Ok(S3Upload::new(self.clone(), key, put))
    }

    pub(crate) async fn put_if_absent(
        &self,
        key: &str,
        bytes: Bytes,
        put: &UploadOptions,
    ) -> Result<(), StoreError> {
        let put = UploadOptions { class: None, ..put.clone() };
        let mut writing = S3Upload::new(self.clone(), key, &put);
        writing.write(bytes).await?;
        writing.finish().await.map(drop)
    }

    pub(crate) async fn get_small(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let doing = || format!("read {}", self.full_uri(key));
        let request = self.client.get_object().bucket(&self.config.name).key(self.full_key(key));
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(e) if error_code(&e) == Some("NoSuchKey") => return Ok(None),
            Err(e) => return Err(OperationError::from_sdk_error(doing(), &e).into()),
        };
        let size = answer.content_length().and_then(|n| usize::try_from(n).ok());
        let body = bounded::read_body(answer.body, bounded::MAX_SMALL_OBJECT_BYTES).await;
        let lost = |why: String| {
            StoreError::new(
                StoreErrorKind::Unreachable,
                doing(),
                why,
                "check the network; try again",
            )
        };
        let body = body.map_err(|e| match e.kind() {
            ErrorKind::InvalidData => StoreError::from_io(doing(), &e),
            _ => lost(e.to_string()),
        })?;
        if size.is_some_and(|size| size != body.len()) {
            return Err(lost(format!("{} bytes came of {size:?}", body.len())));
        }
        Ok(Some(body.into()))
    }

    pub(crate) async fn delete_backup(&self, key: &str) -> Result<(), StoreError> {
        self.remove_object(&beside::manifest_key(key)).await?;
        self.remove_object(&beside::signature_key(&beside::manifest_key(key))).await?;
        self.remove_object(&beside::checksum_key(key)).await?;
        self.remove_object(key).await
    }

    pub(crate) async fn remove_object(&self, key: &str) -> Result<(), StoreError> {
        let request = self.client.delete_object().bucket(&self.config.name).key(self.full_key(key));
        match request.send().await {
            Ok(_) => Ok(()),
            Err(e) => {
                let mut error: StoreError =
                    OperationError::from_sdk_error(format!("delete {}", self.full_uri(key)), &e)
                        .into();
                let said = error.why.to_lowercase();
                if ["object lock", "retention", "worm"].iter().any(|w| said.contains(w)) {
                    error.kind = StoreErrorKind::Locked;
                    error.hint = "wait until its lock ends; it is let go then".into();
                }
                Err(error)
            }
        }
    }

    /// What the store knows of an object; none when there is none.
    async fn head_object(&self, key: &str) -> Result<Option<HeadObjectOutput>, StoreError> {
        let doing = format!("look at {}", self.full_uri(key));
        let request = self.client.head_object().bucket(&self.config.name).key(self.full_key(key));
        match request.checksum_mode(ChecksumMode::Enabled).send().await {
            Ok(head) => Ok(Some(head)),
            // An answer to HEAD has no body, so the status is all that tells the refusals apart.
            Err(e) => match e.raw_response().map(|r| r.status().as_u16()) {
                Some(404) => Ok(None),
                Some(403) => Err(StoreError::new(
                    StoreErrorKind::Denied,
                    doing,
                    "403 Forbidden",
                    "allow s3:GetObject and s3:ListBucket to the role: without the second, S3 says so of what is not there",
                )),
                _ => Err(OperationError::from_sdk_error(doing, &e).into()),
            },
        }
    }

    fn already_exists_error(&self, key: &str) -> StoreError {
        StoreError::new(
            StoreErrorKind::Exists,
            format!("write {}", self.full_uri(key)),
            "there is an object of that name",
            "look at it: nothing is ever rewritten",
        )
    }

    fn server_side_encryption(&self) -> Option<ServerSideEncryption> {
        self.config.encryption.map(|e| match e {
            BucketEncryption::Aes256 => ServerSideEncryption::Aes256,
            BucketEncryption::Kms => ServerSideEncryption::AwsKms,
        })
    }

    /// Whether a lock can be kept in this bucket, where the policy asks for one.
    ///
    /// # Errors
    /// If it can't: versioning is off or object lock is.
    pub async fn check_object_lock(&self) -> Result<(), StoreError> {
        if self.config.lock.is_none() {
            return Ok(());
        }
        let doing = || format!("lock objects in s3://{}", self.config.name);
        let refused = |why: &str| {
            let hint = "turn versioning and Object Lock on for the bucket, or take `lock` out of the policy";
            Err(StoreError::new(StoreErrorKind::Refused, doing(), why, hint))
        };
        if self.lister.bucket_versioning(&self.config.name).await?
            != shared::aws::s3::BucketVersioning::Enabled
        {
            return refused("the bucket's versioning is off, and a lock is of a version");
        }
        let request = self.client.get_object_lock_configuration().bucket(&self.config.name);
        match request.send().await {
            Ok(answer) => {
                let enabled =
                    answer.object_lock_configuration().and_then(|c| c.object_lock_enabled());
                if enabled.is_some() { Ok(()) } else { refused("the bucket has no Object Lock") }
            }
            Err(e) if error_code(&e) == Some("ObjectLockConfigurationNotFoundError") => {
                refused("the bucket has no Object Lock")
            }
            Err(e) => Err(OperationError::from_sdk_error(doing(), &e).into()),
        }
    }
}

/// The store's error code.
fn error_code<E: ProvideErrorMetadata, R>(e: &SdkError<E, R>) -> Option<&str> {
    e.code()
}

/// The run that an object was made by.
fn run_metadata(head: &HeadObjectOutput) -> Option<&str> {
    head.metadata()?.get(RUN_METADATA_KEY).map(String::as_str)
}

#[cfg(test)]
mod tests;

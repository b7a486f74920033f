//! From the policy's words to a store.

use crate::{
    AzureBackend, BackupStore, DirectoryBackend, S3Backend, StoreError, StoreErrorKind,
    parts::UPLOAD_BUFFER_BYTES, s3::S3Config,
};
use shared::{
    aws::AwsClients,
    catalog::Location,
    policy::{self, StoreChecksum},
    secret::SecretResolver,
};

/// Opens a store of the policy. Nothing is asked of a directory or of Azure yet; of a bucket only whether it can lock, if
/// the policy asks for it.
///
/// # Errors
/// If a key of it can't be read, if it can't do what the policy asks, or if the policy names no place.
pub async fn open_store(
    aws: &AwsClients,
    home: &Location,
    store: &policy::StoreConfig,
    secrets: &SecretResolver<'_>,
) -> Result<BackupStore, StoreError> {
    if let Some(directory) = &store.directory {
        return Ok(BackupStore::Directory(DirectoryBackend::new(directory, store.prefix.clone())));
    }
    if let Some(azure) = &store.azure {
        if store.lock.is_some() {
            return Err(StoreError::new(
                StoreErrorKind::Refused,
                format!("open azure://{}/{}", azure.account, azure.container),
                "the policy asks for a lock, and blobs are locked by the container's own immutability policy",
                "take `lock` out of this store, and give the container an immutability policy",
            ));
        }
        let key = match &azure.access_key {
            Some(from) => Some(secrets.get(from).await?),
            None => None,
        };
        let (account, container) = (&azure.account, &azure.container);
        let endpoint = azure.endpoint.as_deref();
        let opened = AzureBackend::new(account, container, endpoint, key.as_ref(), &store.prefix)?;
        let memory =
            store.memory.as_ref().map_or(UPLOAD_BUFFER_BYTES, policy::text::ByteSize::byte_count);
        return Ok(BackupStore::Azure(opened.with_upload_memory(memory)));
    }
    let Some(bucket) = &store.bucket else {
        let hint = "write exactly one of bucket, directory, azure";
        return Err(StoreError::new(
            StoreErrorKind::Refused,
            "open a store",
            "the policy names no place",
            hint,
        ));
    };
    let region = store.aws_region().unwrap_or_else(|| home.region.clone());
    let place = Location { region, ..home.clone() };
    let own_region = signing_region(store, aws.region());
    let endpoint = store.endpoint.as_deref().map(|address| (address, own_region.as_str()));
    let keys = match (&store.access_key, &store.secret_key) {
        (Some(id), Some(secret)) => Some((secrets.get(id).await?, secrets.get(secret).await?)),
        _ => None,
    };
    let keys = keys.as_ref().map(|(id, secret)| (id, secret));
    let client = aws.s3_client_for(&place, endpoint, keys);
    let usual = if endpoint.is_some() { StoreChecksum::Md5 } else { StoreChecksum::Sha256 };
    let what = S3Config {
        name: bucket.to_string(),
        prefix: store.prefix.clone(),
        region: store.region.as_ref().map(ToString::to_string),
        endpoint: store.endpoint.clone(),
        checksum: store.checksum.unwrap_or(usual),
        encryption: store.encryption,
        kms_key: store.kms_key.clone(),
        lock: store.lock,
    };
    let opened = S3Backend::new(client, place, what);
    opened.check_object_lock().await?;
    let memory =
        store.memory.as_ref().map_or(UPLOAD_BUFFER_BYTES, policy::text::ByteSize::byte_count);
    Ok(BackupStore::S3(opened.with_upload_memory(memory)))
}

/// The region that requests to an S3-compatible store are signed for: the policy's, else that of the environment
/// (`AWS_REGION`), as every other tool takes it; stores that know none take any.
fn signing_region(store: &policy::StoreConfig, environment: Option<String>) -> String {
    let named = store.region.as_ref().map(ToString::to_string);
    named.or(environment).unwrap_or_else(|| "us-east-1".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stores_region_is_its_own_then_the_environments() {
        let store = |region: &str| -> policy::StoreConfig {
            let text = format!("{{\"bucket\": \"b-1\", \"endpoint\": \"https://x\"{region}}}");
            serde_json::from_str(&text).expect("a store")
        };
        let environment = || Some("garage".to_owned());
        for own in ["fr-par", "garage", "auto", "nyc3", "gra", "eu-west-1"] {
            let named = store(&format!(", \"region\": \"{own}\""));
            assert_eq!(signing_region(&named, environment()), own);
        }
        assert_eq!(signing_region(&store(""), environment()), "garage");
        assert_eq!(signing_region(&store(""), None), "us-east-1");
    }
}

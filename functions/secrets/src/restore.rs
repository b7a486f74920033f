//! Versions back into Secrets Manager.
//!
//! A secret is restored under another name unless its own is free, its previous version first, so that both labels exist.
//! Rotation and resource policy are not attached. The end of its ARN is another one: what names it by full ARN breaks.

use crate::{
    record::{ExportRecord, decrypt_version},
    stored::ExportInventory,
};
use codec::DecryptionKeys;
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};
use shared::{
    aws::{
        OperationError, OperationErrorKind,
        secrets::{
            SecretsManagerClient,
            inventory::SecretState,
            values::{NewSecret, SecretValue},
        },
    },
    words::hex_encode,
};
use storage::BackupStore;

/// What is restored, and to where.
#[derive(Clone, Debug, Default)]
pub struct RestoreRequest {
    /// A secret's name, or the beginning of several, ending with `*`.
    pub target: String,
    /// This version alone; without it the newest and the one before it.
    pub version: Option<String>,
    /// The name of the restored secret; of several, what their names begin with instead.
    pub to: Option<String>,
    /// KMS key of what is restored; without it `aws/secretsmanager`.
    pub kms_key: Option<String>,
    /// Write into a secret that exists: its value becomes the previous one.
    pub overwrite: bool,
}

/// One secret to restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecretRestore {
    /// The name it was exported under.
    pub name: String,
    /// The name it is restored to.
    pub to: String,
    /// Whether the secret exists and gets a version more.
    pub existing: bool,
    /// The versions, the one that becomes current last.
    pub versions: Vec<RestoredVersion>,
    /// Why it cannot be restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    #[serde(skip)]
    kms_key: Option<String>,
}

/// A version of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RestoredVersion {
    /// Its id.
    pub version: String,
    /// When it was created.
    pub created: Option<Timestamp>,
    #[serde(skip)]
    record: ExportRecord,
}

/// Which secrets a request means, and under which names; nothing is read of their values.
pub fn select(inventory: &ExportInventory, request: &RestoreRequest) -> Vec<SecretRestore> {
    let (prefix, several) = match request.target.strip_suffix('*') {
        Some(prefix) => (prefix, true),
        None => (request.target.as_str(), false),
    };
    let meant = |name: &str| if several { name.starts_with(prefix) } else { name == prefix };
    let mut all: Vec<SecretRestore> = Vec::new();
    // By name, then oldest first.
    for record in inventory.exports.iter().filter(|e| meant(&e.name)) {
        if request.version.as_ref().is_some_and(|v| *v != record.version) {
            continue;
        }
        let version = RestoredVersion {
            version: record.version.clone(),
            created: record.created,
            record: record.clone(),
        };
        match all.last_mut().filter(|s| s.name == record.name) {
            Some(secret) => secret.versions.push(version),
            None => all.push(SecretRestore {
                name: record.name.clone(),
                to: restored_name(&record.name, prefix, several, request.to.as_deref()),
                existing: false,
                versions: vec![version],
                refused: None,
                kms_key: request.kms_key.clone(),
            }),
        }
    }
    for secret in &mut all {
        let older = secret.versions.len().saturating_sub(2);
        secret.versions.drain(..older);
        let owner = secret.versions.last().and_then(|v| v.record.owning_service.clone());
        secret.refused = owner.map(|service| {
            format!("it belongs to the service {service}, which alone may write it: create it there anew")
        });
    }
    all
}

fn restored_name(name: &str, prefix: &str, several: bool, to: Option<&str>) -> String {
    match (to, several) {
        (Some(to), false) => to.to_owned(),
        (Some(to), true) => format!("{to}{}", &name[prefix.len()..]),
        (None, _) => format!("restored/{name}"),
    }
}

impl SecretRestore {
    /// Fits it to what is there under its new name: nothing, or a secret that may be written or not.
    pub fn fit(&mut self, there: Option<&SecretState>, request: &RestoreRequest) {
        let Some(there) = there else { return };
        self.existing = true;
        if there.deleted.is_some() {
            let why = format!(
                "{} is scheduled for deletion: first run `aws secretsmanager restore-secret --secret-id {0}`, or restore under another name",
                self.to
            );
            self.refused = Some(why);
        } else if !request.overwrite {
            let why = format!(
                "{} exists: name another with --to, or write into it with --overwrite",
                self.to
            );
            self.refused = Some(why);
        } else if let Some(service) = &there.owning_service {
            self.refused = Some(format!(
                "{} belongs to the service {service}, which alone may write it",
                self.to
            ));
        }
        // What is there becomes the previous version.
        let older = self.versions.len().saturating_sub(1);
        self.versions.drain(..older);
    }
}

/// The secret of a name; none where there is none.
///
/// # Errors
/// If Secrets Manager cannot be asked.
pub async fn find_secret(
    client: &SecretsManagerClient,
    name: &str,
) -> Result<Option<SecretState>, OperationError> {
    match client.describe_secret(name).await {
        Ok(state) => Ok(Some(state)),
        Err(e) if e.kind == OperationErrorKind::Missing => Ok(None),
        Err(e) => Err(e),
    }
}

/// The value of an exported version.
///
/// # Errors
/// If it cannot be read from the store, or no key opens it.
pub async fn open_export(
    store: &BackupStore,
    record: &ExportRecord,
    keys: &DecryptionKeys,
) -> Result<SecretValue, OperationError> {
    let stored = store.get_small(&record.key).await?.ok_or_else(|| {
        let why = "its record is there and the object is not";
        OperationError {
            kind: OperationErrorKind::Store,
            ..OperationError::from_message(format!("read {}", record.key), why)
        }
    })?;
    decrypt_version(record, &stored, keys)
}

/// Restores one secret. Every value is decrypted before the first is written.
///
/// # Errors
/// If it is refused, cannot be decrypted, or Secrets Manager refuses.
pub async fn restore_secret(
    client: &SecretsManagerClient,
    store: &BackupStore,
    keys: &DecryptionKeys,
    secret: &SecretRestore,
    run: &str,
) -> Result<(), OperationError> {
    if let Some(why) = &secret.refused {
        return Err(OperationError::from_message(format!("restore {}", secret.name), why.clone()));
    }
    let mut values = Vec::new();
    for version in &secret.versions {
        values.push((version, open_export(store, &version.record, keys).await?));
    }
    let mut created = secret.existing;
    for (version, value) in &values {
        if created {
            // A version that the secret still has would keep its labels: a new id moves them. One run has one.
            let token = if secret.existing {
                hex_encode(&Sha256::digest(format!("{run} {}", version.version)))
            } else {
                version.version.clone()
            };
            client.put_version(&secret.to, &token, value).await?;
            continue;
        }
        let new = NewSecret {
            name: secret.to.clone(),
            description: version.record.description.clone(),
            kms_key: secret.kms_key.clone(),
            tags: version.record.tags.clone(),
        };
        client.create_secret(&new, &version.version, value).await?;
        created = true;
    }
    Ok(())
}

#[cfg(test)]
mod tests;

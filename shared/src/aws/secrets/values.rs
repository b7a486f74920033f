//! Values of single versions: read for an export, written for a restore. No value is in an error or has `Debug`.

use super::SecretsManagerClient;
use crate::aws::OperationError;
use aws_sdk_secretsmanager::{primitives::Blob, types::Tag};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use std::{collections::BTreeMap, fmt};

/// The value of a version.
pub enum SecretValue {
    /// Text.
    Text(SecretString),
    /// Bytes.
    Binary(SecretBox<Vec<u8>>),
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(..)")
    }
}

impl SecretValue {
    /// Whether two values are the same, in a time that does not tell where they differ.
    pub fn is_same(&self, other: &Self) -> bool {
        use aws_lc_rs::constant_time::verify_slices_are_equal;
        let same = |a: &[u8], b: &[u8]| verify_slices_are_equal(a, b).is_ok();
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => {
                same(a.expose_secret().as_bytes(), b.expose_secret().as_bytes())
            }
            (Self::Binary(a), Self::Binary(b)) => same(a.expose_secret(), b.expose_secret()),
            _ => false,
        }
    }
}

/// A version with its value.
#[derive(Debug)]
pub struct VersionValue {
    /// The value.
    pub value: SecretValue,
    /// When the version was created.
    pub created: Option<Timestamp>,
}

/// A secret that is to be created.
#[derive(Clone, Debug)]
pub struct NewSecret {
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: String,
    /// Its KMS key; none is `aws/secretsmanager`.
    pub kms_key: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl SecretsManagerClient {
    /// The value of one version.
    ///
    /// # Errors
    /// If it is not there or cannot be read.
    pub async fn read_version(
        &self,
        name: &str,
        version: &str,
    ) -> Result<VersionValue, OperationError> {
        let doing = format!("read version {version} of secret {name}");
        let answer = self.0.get_secret_value().secret_id(name).version_id(version).send().await;
        let answer = answer.map_err(|e| OperationError::from_sdk_error(&doing, &e))?;
        let value = match (answer.secret_string(), answer.secret_binary()) {
            (Some(text), _) => SecretValue::Text(text.to_owned().into()),
            (None, Some(bytes)) => {
                SecretValue::Binary(SecretBox::new(Box::new(bytes.as_ref().to_vec())))
            }
            (None, None) => return Err(OperationError::from_message(doing, "it has no value")),
        };
        Ok(VersionValue { value, created: super::inventory::timestamp(answer.created_date()) })
    }

    /// Creates a secret whose first version has this id and value. Asked again, it changes nothing.
    ///
    /// # Errors
    /// If Secrets Manager refuses.
    pub async fn create_secret(
        &self,
        secret: &NewSecret,
        version: &str,
        value: &SecretValue,
    ) -> Result<(), OperationError> {
        let tags: Vec<_> = secret
            .tags
            .iter()
            // Names that begin with aws: are AWS's own to set.
            .filter(|(k, _)| !k.starts_with("aws:"))
            .map(|(k, v)| Tag::builder().key(k).value(v).build())
            .collect();
        let request = self.0.create_secret().name(&secret.name).client_request_token(version);
        let request = request
            .set_kms_key_id(secret.kms_key.clone())
            .set_description((!secret.description.is_empty()).then(|| secret.description.clone()))
            .set_tags((!tags.is_empty()).then_some(tags));
        let request = match value {
            SecretValue::Text(text) => request.secret_string(text.expose_secret()),
            SecretValue::Binary(bytes) => {
                request.secret_binary(Blob::new(bytes.expose_secret().clone()))
            }
        };
        let doing = format!("create secret {}", secret.name);
        request.send().await.map(drop).map_err(|e| OperationError::from_sdk_error(doing, &e))
    }

    /// Adds a version to a secret, which becomes the current one. Asked again, it changes nothing.
    ///
    /// # Errors
    /// If Secrets Manager refuses.
    pub async fn put_version(
        &self,
        name: &str,
        version: &str,
        value: &SecretValue,
    ) -> Result<(), OperationError> {
        let request = self.0.put_secret_value().secret_id(name).client_request_token(version);
        let request = match value {
            SecretValue::Text(text) => request.secret_string(text.expose_secret()),
            SecretValue::Binary(bytes) => {
                request.secret_binary(Blob::new(bytes.expose_secret().clone()))
            }
        };
        let doing = format!("write version {version} of secret {name}");
        request.send().await.map(drop).map_err(|e| OperationError::from_sdk_error(doing, &e))
    }
}

//! The KMS edge: whose key it is.

use super::EdgeError;
use aws_sdk_kms::{Client, types::KeyManagerType};

/// KMS at one place.
#[derive(Clone, Debug)]
pub struct Kms(pub(super) Client);

impl Kms {
    /// Whether a key is one of AWS's own (`aws/rds`): snapshots under it can't be shared with another account.
    pub async fn is_aws_managed(&self, key: &str) -> Result<bool, EdgeError> {
        let answer = self.0.describe_key().key_id(key).send().await;
        let answer = answer.map_err(|e| EdgeError::new(format!("describe key {key}"), &e))?;
        let manager = answer.key_metadata().and_then(|m| m.key_manager());
        Ok(manager == Some(&KeyManagerType::Aws))
    }
}

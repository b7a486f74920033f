//! The KMS edge: whose key it is, and how it is rotated.

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

/// How a key's material is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// Every so many days.
    EveryDays(i32),
    /// Never by itself.
    Off,
    /// It is one of AWS's own, which are rotated once a year and can't be told otherwise.
    ByAws,
}

impl Kms {
    /// How a key is rotated.
    ///
    /// # Errors
    /// If KMS can't be asked.
    pub async fn rotation(&self, key: &str) -> Result<Rotation, EdgeError> {
        let doing = || format!("read rotation of key {key}");
        // GetKeyRotationStatus takes no alias, and refuses AWS's own keys.
        let answer = self.0.describe_key().key_id(key).send().await;
        let answer = answer.map_err(|e| EdgeError::new(doing(), &e))?;
        let about = answer.key_metadata();
        if about.and_then(|m| m.key_manager()) == Some(&KeyManagerType::Aws) {
            return Ok(Rotation::ByAws);
        }
        let id = about.map_or(key, |m| m.key_id());
        // The id alone would be looked for in the caller's account.
        let id = about.and_then(|m| m.arn()).unwrap_or(id);
        let answer = self.0.get_key_rotation_status().key_id(id).send().await;
        let answer = answer.map_err(|e| EdgeError::new(doing(), &e))?;
        Ok(match (answer.key_rotation_enabled(), answer.rotation_period_in_days()) {
            (false, _) => Rotation::Off,
            (true, days) => Rotation::EveryDays(days.unwrap_or(365)),
        })
    }
}

//! The KMS client: whose key it is, whether it can decrypt, and how it is rotated.

use super::{OperationError, OperationErrorKind};
use aws_sdk_kms::{
    Client,
    primitives::Blob,
    types::{KeyManagerType, KeySpec, KeyState as Word, MessageType, SigningAlgorithmSpec},
};
use jiff::Timestamp;

/// KMS at one place.
#[derive(Clone, Debug)]
pub struct KmsClient(pub(super) Client);

/// Whether what is encrypted with a key can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It can.
    Usable,
    /// Somebody switched the key off.
    Disabled,
    /// It is deleted at this time, and all that is under it is lost then.
    PendingDeletion(Option<Timestamp>),
    /// There is no such key any more.
    Missing,
    /// It can't be used now; KMS's word for it.
    Unusable(String),
}

impl KmsClient {
    /// Whether a key is one of AWS's own (`aws/rds`): snapshots under it can't be shared with another account.
    pub async fn is_aws_managed(&self, key: &str) -> Result<bool, OperationError> {
        let answer = self.0.describe_key().key_id(key).send().await;
        let answer = answer
            .map_err(|e| OperationError::from_sdk_error(format!("describe key {key}"), &e))?;
        let manager = answer.key_metadata().and_then(|m| m.key_manager());
        Ok(manager == Some(&KeyManagerType::Aws))
    }

    /// Whether a key can decrypt.
    ///
    /// # Errors
    /// If KMS can't be asked; a key that is not there is an answer.
    pub async fn key_state(&self, key: &str) -> Result<KeyState, OperationError> {
        let answer = self.0.describe_key().key_id(key).send().await;
        let answer =
            answer.map_err(|e| OperationError::from_sdk_error(format!("describe key {key}"), &e));
        let answer = match answer {
            Ok(answer) => answer,
            Err(e) if e.kind == OperationErrorKind::Missing => return Ok(KeyState::Missing),
            Err(e) => return Err(e),
        };
        let Some(key) = answer.key_metadata() else {
            return Err(OperationError::from_message(
                format!("describe key {key}"),
                "KMS told nothing of it",
            ));
        };
        let until = key.deletion_date().and_then(|t| Timestamp::from_second(t.secs()).ok());
        Ok(match key.key_state() {
            Some(Word::Enabled | Word::Updating) => KeyState::Usable,
            Some(Word::Disabled) => KeyState::Disabled,
            Some(Word::PendingDeletion | Word::PendingReplicaDeletion) => {
                KeyState::PendingDeletion(until)
            }
            Some(other) => KeyState::Unusable(other.as_str().to_owned()),
            None => KeyState::Unusable("of an unknown state".into()),
        })
    }
}

/// Most bytes that KMS signs as they are: <https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html>.
const MAX_SIGNED_BYTES: usize = 4096;
/// What an Ed25519 public key in DER begins with (RFC 8410, section 4); its 32 bytes follow.
pub(crate) const ED25519_SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

impl KmsClient {
    /// The public half of a key of the spec `ECC_NIST_EDWARDS25519`.
    ///
    /// # Errors
    /// If KMS can't be asked, or the key is of another spec.
    pub async fn ed25519_public_key(&self, key: &str) -> Result<[u8; 32], OperationError> {
        let doing = || format!("read the public half of {key}");
        let answer = self.0.get_public_key().key_id(key).send().await;
        let answer = answer.map_err(|e| OperationError::from_sdk_error(doing(), &e))?;
        let der = answer.public_key().map(Blob::as_ref).unwrap_or_default();
        let bytes = der.strip_prefix(&ED25519_SPKI_PREFIX).and_then(|b| b.try_into().ok());
        bytes.ok_or_else(|| {
            let spec = answer.key_spec().map_or("none", KeySpec::as_str);
            OperationError::with_hint(
                OperationErrorKind::Key,
                doing(),
                format!("its spec is {spec}, and minisign's signatures need ECC_NIST_EDWARDS25519"),
                "make a key of that spec with the usage SIGN_VERIFY",
            )
        })
    }

    /// Signs a message with an Ed25519 key: 64 bytes, the same each time (RFC 8032).
    ///
    /// # Errors
    /// If KMS refuses, or the message is longer than 4,096 bytes.
    pub async fn sign_ed25519(&self, key: &str, message: &[u8]) -> Result<Vec<u8>, OperationError> {
        let doing = || format!("sign with {key}");
        if message.len() > MAX_SIGNED_BYTES {
            let why = format!("KMS signs {MAX_SIGNED_BYTES} bytes at most, not {}", message.len());
            return Err(OperationError::from_message(doing(), why));
        }
        let call = self.0.sign().key_id(key).message(Blob::new(message));
        let call = call
            .message_type(MessageType::Raw)
            .signing_algorithm(SigningAlgorithmSpec::Ed25519Sha512);
        let answer = call.send().await;
        let answer = answer.map_err(|e| OperationError::from_sdk_error(doing(), &e))?;
        let signature = answer.signature().map(Blob::as_ref).unwrap_or_default();
        if signature.len() != 64 {
            return Err(OperationError::from_message(doing(), "what KMS sent is no signature"));
        }
        Ok(signature.to_vec())
    }
}

/// How a key's material is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRotation {
    /// Every so many days.
    EveryDays(i32),
    /// Never by itself.
    Off,
    /// It is one of AWS's own, which are rotated once a year and can't be told otherwise.
    ByAws,
}

impl KmsClient {
    /// How a key is rotated.
    ///
    /// # Errors
    /// If KMS can't be asked.
    pub async fn key_rotation(&self, key: &str) -> Result<KeyRotation, OperationError> {
        let doing = || format!("read rotation of key {key}");
        // GetKeyRotationStatus takes no alias, and refuses AWS's own keys.
        let answer = self.0.describe_key().key_id(key).send().await;
        let answer = answer.map_err(|e| OperationError::from_sdk_error(doing(), &e))?;
        let about = answer.key_metadata();
        if about.and_then(|m| m.key_manager()) == Some(&KeyManagerType::Aws) {
            return Ok(KeyRotation::ByAws);
        }
        let id = about.map_or(key, |m| m.key_id());
        // The id alone would be looked for in the caller's account.
        let id = about.and_then(|m| m.arn()).unwrap_or(id);
        let answer = self.0.get_key_rotation_status().key_id(id).send().await;
        let answer = answer.map_err(|e| OperationError::from_sdk_error(doing(), &e))?;
        Ok(match (answer.key_rotation_enabled(), answer.rotation_period_in_days()) {
            (false, _) => KeyRotation::Off,
            (true, days) => KeyRotation::EveryDays(days.unwrap_or(365)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aws::wire, catalog::Location};

    async fn key_state_of(status: u16, body: &'static str) -> Result<KeyState, OperationError> {
        let aws = wire::mock_aws(move |_| (status, body.into()));
        let place = Location {
            account: "111122223333".parse().expect("an account"),
            region: "eu-west-1".parse().expect("a region"),
            role: None,
        };
        aws.kms(&place).key_state("k").await
    }

    #[tokio::test]
    async fn a_key_can_decrypt_only_while_kms_calls_it_enabled() {
        let until = Timestamp::from_second(1_795_000_000).ok();
        let table = [
            (r#"{"KeyMetadata":{"KeyId":"k","KeyState":"Enabled"}}"#, KeyState::Usable),
            (r#"{"KeyMetadata":{"KeyId":"k","KeyState":"Disabled"}}"#, KeyState::Disabled),
            (
                r#"{"KeyMetadata":{"KeyId":"k","KeyState":"PendingDeletion","DeletionDate":1795000000}}"#,
                KeyState::PendingDeletion(until),
            ),
            (
                r#"{"KeyMetadata":{"KeyId":"k","KeyState":"PendingImport"}}"#,
                KeyState::Unusable("PendingImport".into()),
            ),
            (r#"{"KeyMetadata":{"KeyId":"k"}}"#, KeyState::Unusable("of an unknown state".into())),
        ];
        for (body, expected) in table {
            assert_eq!(key_state_of(200, body).await, Ok(expected), "{body}");
        }
        let gone = r#"{"__type":"NotFoundException","message":"no such key"}"#;
        assert_eq!(key_state_of(400, gone).await, Ok(KeyState::Missing));
        let denied = r#"{"__type":"AccessDeniedException","message":"no"}"#;
        assert_eq!(
            key_state_of(400, denied).await.expect_err("denied").kind,
            OperationErrorKind::Denied
        );
    }
}

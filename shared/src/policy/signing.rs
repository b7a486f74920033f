//! Who signs what lies in stores and logs.

use super::{
    dumps::SecretSource,
    text::{Arn, SigningKey},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Signatures of commit records, notes, holds, marks of stores and the record of operations. With it, whatever in a
/// store or a log is not signed by one of these keys does not count: it is never restored unasked, never deleted, and a
/// finding. `holdfast key new` makes a pair.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SigningConfig {
    /// The half that signs, for whoever makes backups. Who only reads needs none.
    #[serde(default)]
    pub secret_key: Option<SecretSource>,
    /// Instead of `secret_key`: a KMS key of the spec `ECC_NIST_EDWARDS25519` that signs, so that nobody holds the secret
    /// half. `holdfast key public ARN` prints its public half.
    #[serde(default)]
    pub kms_key: Option<Arn>,
    /// The halves that check (`RW...`); the one of `secret_key` or `kms_key` is among them.
    pub public_keys: Vec<SigningKey>,
    /// Public keys of pairs that sign no more, whose signatures still count.
    #[serde(default)]
    pub previous: Vec<SigningKey>,
}

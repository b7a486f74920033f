//! Groups of secrets in Secrets Manager: what is checked of them, and where their versions are exported to.

use super::{
    dumps::EncryptionConfig,
    grammar::StoreConfig,
    text::{Name, Period, Region},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Secrets in Secrets Manager.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretGroup {
    /// Names begin with this; Secrets Manager compares upper and lower case.
    pub prefix: String,
    /// Who answers for them.
    #[serde(default)]
    pub owner: Option<Name>,
    /// Each must have its previous version.
    #[serde(default)]
    pub previous_version: bool,
    /// Each must have been rotated within this time.
    #[serde(default)]
    pub rotate_every: Option<Period>,
    /// Regions that each secret must be replicated to, with the same versions.
    #[serde(default)]
    pub replicas: Vec<Region>,
    /// Where versions are exported to, each once. Without it nothing is exported, and what Secrets Manager drops is gone.
    #[serde(default)]
    pub storage: Option<StoreConfig>,
    /// Encryption of the exports, to age recipients: the function that exports cannot read them.
    #[serde(default)]
    pub encrypt: Option<EncryptionConfig>,
    /// How long an exported version must at least be kept after it lost its last label. Nothing deletes exports yet.
    #[serde(default)]
    pub keep: Option<Period>,
}

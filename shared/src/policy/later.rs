//! Parts of the grammar that no function runs yet. They are checked like the rest, and `holdfast policy check` names
//! each one that a policy uses, so that nobody takes a line here for a backup.

use super::{
    dumps::EncryptionConfig,
    grammar::{AssetObjectives, RetentionRule, ScheduleConfig, StorageTier, StoreConfig},
    text::Name,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Kubernetes namespace: its state, and its secrets encrypted.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KubernetesGroup {
    /// The namespace.
    pub namespace: String,
    /// Who answers for it.
    #[serde(default)]
    pub owner: Option<Name>,
    /// Priority in a recovery, 1 first.
    #[serde(default)]
    #[schemars(range(min = 1, max = 9))]
    pub priority: Option<u8>,
    /// What the business asks of it. `freshness` checks age and size of the newest object in `storage`.
    #[serde(default)]
    pub objectives: AssetObjectives,
    /// Where the exported state lies.
    pub storage: StoreConfig,
    /// When it is exported.
    #[serde(default)]
    pub schedule: Option<ScheduleConfig>,
    /// It is exported when it changes.
    #[serde(default)]
    pub on_change: bool,
    /// What is kept of it.
    pub keep: RetentionRule,
    /// Encryption of its secrets; without it they are left out.
    #[serde(default)]
    pub encrypt_secrets: Option<EncryptionConfig>,
    /// How the key of the file with the secrets is made below the prefix, as `stored.key`.
    #[serde(default)]
    pub secrets_key: Option<String>,
}

/// Files: media, configuration.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileGroup {
    /// Bucket or directory that is backed up.
    pub from: StoreConfig,
    /// Where the backups lie.
    pub storage: StoreConfig,
    /// Second places that each backup is written to as well.
    #[serde(default)]
    pub copies: Vec<StoreConfig>,
    /// Who answers for them.
    #[serde(default)]
    pub owner: Option<Name>,
    /// Priority in a recovery, 1 first.
    #[serde(default)]
    #[schemars(range(min = 1, max = 9))]
    pub priority: Option<u8>,
    /// What the business asks of them. `freshness` checks age and size of the newest object in `storage`.
    #[serde(default)]
    pub objectives: AssetObjectives,
    /// Taken at these times.
    #[serde(default)]
    pub schedule: Option<ScheduleConfig>,
    /// Taken when something changes.
    #[serde(default)]
    pub on_change: bool,
    /// What is kept.
    pub keep: RetentionRule,
    /// Similar files are stored once.
    #[serde(default)]
    pub skip_unchanged: bool,
    /// Storage classes by age.
    #[serde(default)]
    pub tiers: Vec<StorageTier>,
    /// CloudFront distribution that is invalidated after a restore.
    #[serde(default)]
    pub invalidate: Option<String>,
}

//! Parts of the grammar that no function runs yet. They are checked like the rest, and `holdfast policy check` names
//! each one that a policy uses, so that nobody takes a line here for a backup.

use super::{
    dumps::{EncryptionConfig, SecretSource},
    grammar::{AssetObjectives, RetentionRule, ScheduleConfig, StorageTier, StoreConfig},
    text::{Name, Period},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A Redis server: its persistence settings and its RDB files.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedisGroup {
    /// Host and port.
    #[serde(default)]
    pub address: Option<String>,
    /// Where the password comes from.
    #[serde(default)]
    pub password: Option<SecretSource>,
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
    /// Settings that `CONFIG GET` must show.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// Where RDB files lie.
    pub storage: StoreConfig,
    /// When the RDB file is copied.
    #[serde(default)]
    pub schedule: Option<ScheduleConfig>,
    /// What is kept of them.
    pub keep: RetentionRule,
    /// Replicas may be this far behind.
    #[serde(default)]
    pub replica_max_lag: Option<Period>,
    /// Sentinels that must agree on the primary.
    #[serde(default)]
    pub sentinels: Vec<String>,
}

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

/// A test restore, and what it must show.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DrillRule {
    /// What kind of drill.
    pub kind: DrillKind,
    /// Group of assets whose points are restored.
    #[serde(default)]
    pub of: Option<Name>,
    /// When.
    pub schedule: ScheduleConfig,
    /// A month has several such days; only this one counts (1: the first).
    #[serde(default)]
    #[schemars(range(min = 1, max = 5))]
    pub week: Option<u8>,
    /// Only these assets of the group; all of them when it is left out.
    #[serde(default)]
    pub only: Vec<String>,
    /// Instance class of the restored database.
    #[serde(default)]
    pub instance_class: Option<String>,
    /// The drill takes this long at most.
    #[serde(default)]
    pub rto: Option<Period>,
    /// What it brings back is this old at most.
    #[serde(default)]
    pub rpo: Option<Period>,
    /// What must be true before and after, in the operators' words.
    #[serde(default)]
    pub checklist: Vec<String>,
    /// SQL checks that must return true on what was restored.
    #[serde(default)]
    pub checks: BTreeMap<Name, String>,
}

/// A kind of drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DrillKind {
    /// A snapshot is restored to a test instance.
    Snapshot,
    /// A dump is restored to a temporary database.
    Dump,
    /// A point in time is restored.
    PointInTime,
    /// An RDB file is loaded.
    Redis,
    /// Objects are read.
    Objects,
    /// A secret is restored.
    Secret,
    /// Hashes, decryption and sizes are checked.
    Quick,
    /// The application fails over to another region.
    Failover,
    /// Everything is recovered, in priority order.
    Full,
}

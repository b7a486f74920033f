//! The WAL archive of a PostgreSQL server in the policy: where it lies, how far back every moment can be restored, and
//! the base backups that this needs.

use super::{
    dumps::EncryptionConfig,
    grammar::{RetentionRule, ScheduleConfig, StoreConfig},
    text::Period,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::num::{NonZeroU8, NonZeroU32};

/// WAL archiving and point-in-time recovery of a whole server.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WalConfig {
    /// Where segments and base backups go; a place of their own.
    pub storage: StoreConfig,
    /// How far back every moment can be restored.
    pub keep: Period,
    /// Client-side encryption.
    #[serde(default)]
    pub encrypt: Option<EncryptionConfig>,
    /// Level of zstd, 1 to 19; 3 when it is left out.
    #[serde(default)]
    #[schemars(range(min = 1, max = 19))]
    pub level: Option<NonZeroU8>,
    /// A segment is switched at least this often, where something was written: `archive_timeout`.
    #[serde(default)]
    pub every: Option<Period>,
    /// What was written may be this old before it is archived.
    #[serde(default)]
    pub max_lag: Option<Period>,
    /// Base backups, without which WAL restores nothing.
    #[serde(default)]
    pub base_backups: BaseBackupRule,
}

/// Base backups of a whole server.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BaseBackupRule {
    /// Taken at these times; without it only on demand.
    #[serde(default)]
    pub schedule: Option<ScheduleConfig>,
    /// Kept beyond what `keep` of the WAL needs: each with the WAL that makes it whole.
    #[serde(default)]
    pub keep: RetentionRule,
    /// Base backups that always stay; 1 when it is left out.
    #[serde(default)]
    pub min_backups: Option<NonZeroU32>,
}

//! Who may reach the backups: what bucket policies, keys and roles must say.

use super::text::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who may reach the backups. `freshness` reads the policies of every bucket of AWS that backups lie in, the rotation of
/// their KMS keys and the roles of destinations, and says what is not so.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessConfig {
    /// The buckets' policies refuse every request without TLS.
    #[serde(default)]
    pub tls_only: bool,
    /// The buckets' policies refuse to read and delete objects without MFA, but for `machines`.
    #[serde(default)]
    pub mfa: bool,
    /// ARNs of roles (`*` stands for any characters) that `mfa` may leave out, because no person acts as them.
    #[serde(default)]
    pub machines: Vec<String>,
    /// ARNs (with `*`) of all who may read backups: the buckets' policies refuse everybody else.
    #[serde(default)]
    pub may_read: Vec<String>,
    /// ARNs (with `*`) of all who may delete backups: the buckets' policies refuse everybody else.
    #[serde(default)]
    pub may_delete: Vec<String>,
    /// A session of a destination's roles, and of `machines` without `*`, lasts this long at most.
    #[serde(default)]
    pub max_session: Option<Period>,
    /// KMS keys that the policy names are rotated at least this often.
    #[serde(default)]
    pub rotate_keys_every: Option<Period>,
}

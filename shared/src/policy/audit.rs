//! The record of every operation.

use super::text::{BucketName, Period, Region};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where it is recorded what was done: in one of `bucket` and `directory`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditConfig {
    /// Bucket that records are written to.
    #[serde(default)]
    pub bucket: Option<BucketName>,
    /// The bucket's region, when it is not the home region.
    #[serde(default)]
    pub region: Option<Region>,
    /// Directory that records are written to, on a host.
    #[serde(default)]
    pub directory: Option<PathBuf>,
    /// Keys begin with this.
    #[serde(default)]
    pub prefix: String,
    /// How long records are kept.
    pub keep: Period,
}

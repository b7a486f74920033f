//! What `holdfast monitor` serves to Prometheus.

use super::text::{ListenAddress, MetricPrefix, Period};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Metrics for Prometheus, of `holdfast monitor`. Its command line goes before this.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MonitorConfig {
    /// Address and port to serve on; `127.0.0.1:9090` when it is left out.
    #[serde(default)]
    pub listen: Option<ListenAddress>,
    /// How often everything is looked at; hourly when it is left out. Scrapes are answered from the last look.
    #[serde(default)]
    pub every: Option<Period>,
    /// Four metrics more, for all assets together, whose names begin with this: `PREFIX_backup_age_hours`,
    /// `PREFIX_backup_size_mb`, `PREFIX_backup_total` and `PREFIX_backup_health`.
    #[serde(default)]
    pub prefix: Option<MetricPrefix>,
}

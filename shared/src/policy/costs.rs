//! What storage costs and may cost, and the page that shows it.

use super::text::{
    BucketName, ByteSize, CalendarDate, CronExpression, Currency, Percentage, Region,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What storage costs and may cost. Nobody is asked for prices: they are a table, built in and overridden here.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CostsConfig {
    /// Budget of a month, in the price table's currency.
    #[serde(default)]
    pub monthly_budget: Option<u32>,
    /// Currency of the budget and of the prices; USD when it is left out. With another one only prices written here count.
    #[serde(default)]
    pub currency: Currency,
    /// Storage quota of all places together.
    #[serde(default)]
    pub quota: Option<ByteSize>,
    /// What counts towards the quota.
    #[serde(default)]
    pub quota_of: QuotaScope,
    /// Share of the quota that is a warning; 80% when it is left out.
    #[serde(default)]
    pub warn_at: Option<Percentage>,
    /// Share of the quota that is critical; 90% when it is left out.
    #[serde(default)]
    pub critical_at: Option<Percentage>,
    /// When the storage report is due: `notify` sends it to the channels of its digest, or to those that hear of everything.
    #[serde(default)]
    pub report: Option<CronExpression>,
    /// Share of a database that each further snapshot of it adds. RDS bills the blocks that changed and tells nobody how
    /// many; without this, every snapshot is counted whole and its cost is marked as a most.
    #[serde(default)]
    pub snapshot_change: Option<Percentage>,
    /// Prices that differ from the built-in table.
    #[serde(default)]
    pub prices: PriceOverrides,
}

/// What counts towards the storage quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum QuotaScope {
    /// Snapshots and objects.
    #[default]
    All,
    /// Objects alone: what lies in buckets, containers and directories.
    Objects,
}

/// Prices, where they differ from the built-in table (AWS's list prices of us-east-1).
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceOverrides {
    /// Day that these prices are of.
    #[serde(default)]
    pub as_of: Option<CalendarDate>,
    /// Storage, a GB (10^9 bytes; of snapshots a GiB) and month, everywhere.
    #[serde(default)]
    pub storage: StoragePrices,
    /// Requests, a thousand, everywhere.
    #[serde(default)]
    pub requests: RequestPrices,
    /// Transfer from one region to another, a GB (10^9 bytes).
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub transfer: Option<f64>,
    /// What differs in a region.
    #[serde(default)]
    pub regions: BTreeMap<Region, RegionPrices>,
}

/// Prices of one region.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegionPrices {
    /// Storage, a GB and month.
    #[serde(default)]
    pub storage: StoragePrices,
    /// Requests, a thousand.
    #[serde(default)]
    pub requests: RequestPrices,
}

/// Prices of storage, a GB (10^9 bytes; of snapshots a GiB) and month.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StoragePrices {
    /// S3 Standard.
    #[serde(default, rename = "STANDARD")]
    #[schemars(range(min = 0))]
    pub standard: Option<f64>,
    /// S3 Standard-IA.
    #[serde(default, rename = "STANDARD_IA")]
    #[schemars(range(min = 0))]
    pub standard_ia: Option<f64>,
    /// S3 One Zone-IA.
    #[serde(default, rename = "ONEZONE_IA")]
    #[schemars(range(min = 0))]
    pub onezone_ia: Option<f64>,
    /// S3 Glacier Instant Retrieval.
    #[serde(default, rename = "GLACIER_IR")]
    #[schemars(range(min = 0))]
    pub glacier_ir: Option<f64>,
    /// S3 Glacier Flexible Retrieval.
    #[serde(default, rename = "GLACIER")]
    #[schemars(range(min = 0))]
    pub glacier: Option<f64>,
    /// S3 Glacier Deep Archive.
    #[serde(default, rename = "DEEP_ARCHIVE")]
    #[schemars(range(min = 0))]
    pub deep_archive: Option<f64>,
    /// Snapshots of RDS instances.
    #[serde(default, rename = "rds-snapshot")]
    #[schemars(range(min = 0))]
    pub rds_snapshot: Option<f64>,
    /// Snapshots of Aurora and Multi-AZ clusters.
    #[serde(default, rename = "cluster-snapshot")]
    #[schemars(range(min = 0))]
    pub cluster_snapshot: Option<f64>,
    /// Azure Blob Storage. Its lists do not tell the tier, so the container's own is meant.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub azure: Option<f64>,
    /// Any S3-compatible endpoint that is not AWS.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub endpoint: Option<f64>,
    /// Directories.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub directory: Option<f64>,
}

/// Prices of requests, a thousand.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestPrices {
    /// PUT, COPY and POST.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub put: Option<f64>,
    /// GET and HEAD.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub get: Option<f64>,
    /// LIST.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub list: Option<f64>,
}

/// The status page. Exactly one of `bucket` and `directory`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusPageConfig {
    /// Bucket that it is written to.
    #[serde(default)]
    pub bucket: Option<BucketName>,
    /// The bucket's region, when it is not the home region.
    #[serde(default)]
    pub region: Option<Region>,
    /// Directory of the host that it is written to.
    #[serde(default)]
    pub directory: Option<String>,
    /// Key of the page, or its name below the directory; `report.json` is written beside it.
    #[serde(default = "default_page_key")]
    pub key: String,
}

fn default_page_key() -> String {
    "index.html".into()
}

//! What storing a byte costs: a built-in table with its date, and what the policy writes over it.

use serde::Serialize;
use shared::policy::{
    CostsConfig,
    costs::{RequestPrices, StoragePrices},
};

/// Day that the built-in table is of. AWS's list prices of us-east-1, first tier, in USD: <https://aws.amazon.com/s3/pricing/>,
/// <https://aws.amazon.com/rds/postgresql/pricing/>, <https://aws.amazon.com/rds/aurora/pricing/>.
pub const PRICES_AS_OF: &str = "2025-06-01";
/// Region of the built-in table.
pub const PRICES_REGION: &str = "us-east-1";

/// A GB to another region of AWS, in USD: most pairs of regions.
const TRANSFER_PRICE_PER_GB: f64 = 0.02;

/// What something is stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum StorageKind {
    /// S3 Standard.
    #[serde(rename = "STANDARD")]
    Standard,
    /// S3 Standard-IA.
    #[serde(rename = "STANDARD_IA")]
    StandardIa,
    /// S3 One Zone-IA.
    #[serde(rename = "ONEZONE_IA")]
    OnezoneIa,
    /// S3 Glacier Instant Retrieval.
    #[serde(rename = "GLACIER_IR")]
    GlacierIr,
    /// S3 Glacier Flexible Retrieval.
    #[serde(rename = "GLACIER")]
    Glacier,
    /// S3 Glacier Deep Archive.
    #[serde(rename = "DEEP_ARCHIVE")]
    DeepArchive,
    /// Any other class of S3, whose price is not known.
    #[serde(rename = "other-s3")]
    Other,
    /// A snapshot of an RDS instance.
    #[serde(rename = "rds-snapshot")]
    RdsSnapshot,
    /// A snapshot of a cluster.
    #[serde(rename = "cluster-snapshot")]
    ClusterSnapshot,
    /// RDS's own automated snapshot: free up to the size of the region's databases.
    #[serde(rename = "rds-automated")]
    Automated,
    /// A blob in Azure.
    #[serde(rename = "azure")]
    Azure,
    /// An S3-compatible endpoint.
    #[serde(rename = "endpoint")]
    Endpoint,
    /// A directory.
    #[serde(rename = "directory")]
    Directory,
}

const KIB: u64 = 1 << 10;

impl StorageKind {
    /// All classes.
    pub const ALL: [Self; 13] = [
        Self::Standard,
        Self::StandardIa,
        Self::OnezoneIa,
        Self::GlacierIr,
        Self::Glacier,
        Self::DeepArchive,
        Self::Other,
        Self::RdsSnapshot,
        Self::ClusterSnapshot,
        Self::Automated,
        Self::Azure,
        Self::Endpoint,
        Self::Directory,
    ];

    /// Whether it is of RDS: no object, and no part of a quota of objects.
    pub fn is_snapshot(self) -> bool {
        matches!(self, Self::RdsSnapshot | Self::ClusterSnapshot | Self::Automated)
    }

    /// The class that S3's listing names.
    pub fn from_s3_class(name: &str) -> Self {
        let known = Self::ALL.into_iter().take(6).find(|c| c.as_str() == name);
        known.unwrap_or(Self::Other)
    }

    /// Its name, as the price table has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "STANDARD",
            Self::StandardIa => "STANDARD_IA",
            Self::OnezoneIa => "ONEZONE_IA",
            Self::GlacierIr => "GLACIER_IR",
            Self::Glacier => "GLACIER",
            Self::DeepArchive => "DEEP_ARCHIVE",
            Self::Other => "other-s3",
            Self::RdsSnapshot => "rds-snapshot",
            Self::ClusterSnapshot => "cluster-snapshot",
            Self::Automated => "rds-automated",
            Self::Azure => "azure",
            Self::Endpoint => "endpoint",
            Self::Directory => "directory",
        }
    }

    /// Its name for people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Standard => "S3 Standard",
            Self::StandardIa => "S3 Standard-IA",
            Self::OnezoneIa => "S3 One Zone-IA",
            Self::GlacierIr => "S3 Glacier Instant",
            Self::Glacier => "S3 Glacier Flexible",
            Self::DeepArchive => "S3 Deep Archive",
            Self::Other => "other classes of S3",
            Self::RdsSnapshot => "RDS snapshots",
            Self::ClusterSnapshot => "cluster snapshots",
            Self::Automated => "RDS automated backups",
            Self::Azure => "Azure Blob",
            Self::Endpoint => "S3-compatible stores",
            Self::Directory => "directories",
        }
    }

    /// Whether it is a snapshot: billed by the GiB, and for blocks that nobody tells.
    pub(crate) fn is_billed_per_gib(self) -> bool {
        matches!(self, Self::RdsSnapshot | Self::ClusterSnapshot | Self::Automated)
    }

    /// Bytes that S3 bills for an object of this size: in its class, and as Standard beside it.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-class-intro.html>
    pub fn billable_bytes(self, bytes: u64) -> (u64, u64) {
        match self {
            Self::StandardIa | Self::OnezoneIa | Self::GlacierIr => (bytes.max(128 * KIB), 0),
            Self::Glacier | Self::DeepArchive => (bytes + 32 * KIB, 8 * KIB),
            _ => (bytes, 0),
        }
    }

    /// Days that S3 bills at least, however early an object goes.
    pub fn min_storage_days(self) -> i64 {
        match self {
            Self::StandardIa | Self::OnezoneIa => 30,
            Self::GlacierIr | Self::Glacier => 90,
            Self::DeepArchive => 180,
            _ => 0,
        }
    }

    /// The built-in price of a GB (GiB of a snapshot) and month, in USD.
    fn builtin_price(self) -> Option<f64> {
        match self {
            Self::Standard => Some(0.023),
            Self::StandardIa => Some(0.0125),
            Self::OnezoneIa => Some(0.01),
            Self::GlacierIr => Some(0.004),
            Self::Glacier => Some(0.0036),
            Self::DeepArchive => Some(0.00099),
            Self::RdsSnapshot => Some(0.095),
            Self::ClusterSnapshot => Some(0.021),
            Self::Automated | Self::Directory => Some(0.0),
            // Azure's price goes by tier, redundancy and region, and none of them is seen; an endpoint may be anybody's.
            Self::Other | Self::Azure | Self::Endpoint => None,
        }
    }

    fn price_in(self, table: &StoragePrices) -> Option<f64> {
        match self {
            Self::Standard => table.standard,
            Self::StandardIa => table.standard_ia,
            Self::OnezoneIa => table.onezone_ia,
            Self::GlacierIr => table.glacier_ir,
            Self::Glacier => table.glacier,
            Self::DeepArchive => table.deep_archive,
            Self::RdsSnapshot => table.rds_snapshot,
            Self::ClusterSnapshot => table.cluster_snapshot,
            Self::Azure => table.azure,
            Self::Endpoint => table.endpoint,
            Self::Directory => table.directory,
            Self::Other | Self::Automated => None,
        }
    }
}

/// A request that is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestKind {
    /// PUT, COPY, POST.
    Put,
    /// GET, HEAD.
    Get,
    /// LIST.
    List,
}

impl RequestKind {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Put => "PUT",
            Self::Get => "GET",
            Self::List => "LIST",
        }
    }

    /// The built-in price of a thousand, in USD.
    fn builtin_price(self) -> f64 {
        match self {
            Self::Put | Self::List => 0.005,
            Self::Get => 0.0004,
        }
    }

    fn price_in(self, table: &RequestPrices) -> Option<f64> {
        match self {
            Self::Put => table.put,
            Self::Get => table.get,
            Self::List => table.list,
        }
    }
}

/// The prices that count for a policy.
#[derive(Clone, Debug)]
pub struct PriceTable {
    costs: CostsConfig,
}

impl PriceTable {
    /// The prices of a policy; the built-in ones where it has no `costs`.
    pub fn new(costs: Option<&CostsConfig>) -> Self {
        Self { costs: costs.cloned().unwrap_or_default() }
    }

    /// Built-in prices are in USD: for another currency they are nobody's.
    fn uses_builtin_prices(&self) -> bool {
        self.costs.currency.as_str() == "USD"
    }

    /// Price of a byte and month; none when it is not known.
    pub fn byte_month_price(&self, class: StorageKind, region: Option<&str>) -> Option<f64> {
        let prices = &self.costs.prices;
        let here = prices.regions.iter().find(|(r, _)| Some(r.as_str()) == region);
        let found = here.and_then(|(_, r)| class.price_in(&r.storage));
        let found = found.or_else(|| class.price_in(&prices.storage));
        let free = matches!(class, StorageKind::Automated | StorageKind::Directory);
        let found = found
            .or_else(|| class.builtin_price().filter(|_| self.uses_builtin_prices() || free))?;
        let unit = if class.is_billed_per_gib() { f64::from(1_u32 << 30) } else { 1e9 };
        Some(found / unit)
    }

    /// Price of one request; none when it is not known.
    pub fn request_price(&self, asked: RequestKind, region: Option<&str>) -> Option<f64> {
        let prices = &self.costs.prices;
        let here = prices.regions.iter().find(|(r, _)| Some(r.as_str()) == region);
        let found = here.and_then(|(_, r)| asked.price_in(&r.requests));
        let found = found.or_else(|| asked.price_in(&prices.requests));
        found
            .or_else(|| self.uses_builtin_prices().then(|| asked.builtin_price()))
            .map(|price| price / 1000.0)
    }

    /// Price of a byte that goes to another region; none when it is not known.
    pub fn transfer_price(&self) -> Option<f64> {
        let found = self
            .costs
            .prices
            .transfer
            .or_else(|| self.uses_builtin_prices().then_some(TRANSFER_PRICE_PER_GB));
        found.map(|price| price / 1e9)
    }

    /// The currency.
    pub fn currency(&self) -> &str {
        self.costs.currency.as_str()
    }

    /// Day that the prices are of: the policy's, or the built-in table's.
    pub fn as_of(&self) -> String {
        self.costs
            .prices
            .as_of
            .as_ref()
            .map_or_else(|| PRICES_AS_OF.to_owned(), ToString::to_string)
    }

    /// The budget of a month.
    pub fn monthly_budget(&self) -> Option<f64> {
        self.costs.monthly_budget.map(f64::from)
    }

    /// What each further snapshot of a database adds, as a share of it; none when it is not known.
    pub fn snapshot_change(&self) -> Option<f64> {
        self.costs.snapshot_change.as_ref().map(shared::policy::text::Percentage::fraction)
    }

    /// The quota in bytes, and the shares of it that are a warning and critical.
    pub fn quota_limits(&self) -> Option<(u64, f64, f64)> {
        let share = |s: &Option<shared::policy::text::Percentage>, usual| {
            s.as_ref().map_or(usual, shared::policy::text::Percentage::fraction)
        };
        let quota = self.costs.quota.as_ref()?.byte_count();
        Some((quota, share(&self.costs.warn_at, 0.8), share(&self.costs.critical_at, 0.9)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(yaml: serde_json::Value) -> PriceTable {
        PriceTable::new(Some(&serde_json::from_value(yaml).expect("costs")))
    }

    #[test]
    fn a_region_s_price_goes_before_the_policy_s_and_that_before_the_built_in_one() {
        let table = table(serde_json::json!({ "prices": {
            "storage": { "STANDARD": 0.03 },
            "regions": { "sa-east-1": { "storage": { "STANDARD": 0.0405 } } },
        }}));
        let gb = |class, region| {
            table.byte_month_price(class, Some(region)).map(|p| (p * 1e9 * 1e4).round() / 1e4)
        };
        assert_eq!(gb(StorageKind::Standard, "sa-east-1"), Some(0.0405));
        assert_eq!(gb(StorageKind::Standard, "eu-west-1"), Some(0.03));
        assert_eq!(gb(StorageKind::Glacier, "sa-east-1"), Some(0.0036));
    }

    #[test]
    fn an_unknown_price_is_unknown_and_not_zero() {
        let table = table(serde_json::json!({ "currency": "EUR" }));
        assert_eq!(
            table.byte_month_price(StorageKind::Standard, None),
            None,
            "built-in prices are in USD"
        );
        assert_eq!(table.byte_month_price(StorageKind::Directory, None), Some(0.0));
        assert_eq!(PriceTable::new(None).byte_month_price(StorageKind::Azure, None), None);
        assert_eq!(StorageKind::from_s3_class("INTELLIGENT_TIERING"), StorageKind::Other);
    }

    #[test]
    fn small_objects_are_billed_as_s3_bills_them() {
        assert_eq!(StorageKind::StandardIa.billable_bytes(1), (128 * KIB, 0));
        assert_eq!(StorageKind::StandardIa.billable_bytes(1 << 20), (1 << 20, 0));
        assert_eq!(StorageKind::Glacier.billable_bytes(1), (32 * KIB + 1, 8 * KIB));
        assert_eq!(StorageKind::Standard.billable_bytes(1), (1, 0));
    }
}

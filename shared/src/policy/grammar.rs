//! The policy's grammar: what a company writes down. The JSON Schema is generated from these types and their comments.

use super::{
    SourcePositions,
    access::AccessConfig,
    audit::AuditConfig,
    costs::{CostsConfig, StatusPageConfig},
    databases::DatabaseGroup,
    drills::DrillRule,
    dumps::{PostgresGroup, ScratchConfig, SecretSource},
    later::{FileGroup, KubernetesGroup},
    monitor::MonitorConfig,
    notify::NotifyConfig,
    redis::RedisGroup,
    secret_groups::SecretGroup,
    signing::SigningConfig,
    text::{
        AccountId, Arn, BucketName, ByteSize, CronExpression, Name, Percentage, Period, Region,
        StoreRegion, Threshold, ZoneName,
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, num::NonZeroU32};

/// One company's backup strategy: what it has, how it must be backed up, and who hears of it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Version of this grammar; 1 is the only one.
    #[schemars(range(min = 1, max = 1))]
    pub holdfast: u32,
    /// The company: marks everything that Holdfast makes for it, and begins no other name.
    pub company: Name,
    /// Where the assets are unless they say otherwise. Without it nothing is asked of AWS or published there but what a
    /// store names by itself.
    #[serde(default)]
    pub home: Option<HomeLocation>,
    /// Tells this policy from the company's other policies (`host-1`). Needed without `home`; otherwise account and region
    /// of `home` tell them apart. It is part of the owner of every recovery point: changing it makes the old ones foreign.
    #[serde(default)]
    pub id: Option<Name>,
    /// Time zone of every schedule that names none.
    #[serde(default)]
    pub time_zone: ZoneName,
    /// Who answers for an asset.
    #[serde(default)]
    pub owners: BTreeMap<Name, AssetOwner>,
    /// Where copies go.
    #[serde(default)]
    pub destinations: BTreeMap<Name, CopyDestination>,
    /// RDS instances, Aurora clusters and Multi-AZ clusters, in groups that are treated alike.
    #[serde(default)]
    pub databases: BTreeMap<Name, DatabaseGroup>,
    /// S3 buckets.
    #[serde(default)]
    pub buckets: BTreeMap<Name, BucketGroup>,
    /// Who signs what lies in stores. Without it, whoever may write there decides what is restored.
    #[serde(default)]
    pub signing: Option<SigningConfig>,
    /// PostgreSQL servers that are dumped, and whose WAL is archived.
    #[serde(default)]
    pub postgres: BTreeMap<Name, PostgresGroup>,
    /// Where test restores of dumps run, of every group that does not say so itself. Without it on a server of Holdfast's
    /// own, started for the test where PostgreSQL's server is installed.
    #[serde(default)]
    pub scratch: Option<ScratchConfig>,
    /// Redis and Valkey servers.
    #[serde(default)]
    pub redis: BTreeMap<Name, RedisGroup>,
    /// Kubernetes namespaces.
    #[serde(default)]
    pub kubernetes: BTreeMap<Name, KubernetesGroup>,
    /// Secrets in Secrets Manager.
    #[serde(default)]
    pub secrets: BTreeMap<Name, SecretGroup>,
    /// Files and configuration on hosts and in buckets.
    #[serde(default)]
    pub files: BTreeMap<Name, FileGroup>,
    /// CloudWatch alarms by their full name.
    #[serde(default)]
    pub alarms: BTreeMap<String, AlarmRule>,
    /// When recovery points that no rule keeps are deleted.
    #[serde(default)]
    pub retention: RetentionConfig,
    /// Brakes on what one run may do.
    #[serde(default)]
    pub limits: RunLimits,
    /// Test restores.
    #[serde(default)]
    pub drills: BTreeMap<Name, DrillRule>,
    /// Who is told what.
    #[serde(default)]
    pub notify: Option<NotifyConfig>,
    /// What storage costs and may cost.
    #[serde(default)]
    pub costs: Option<CostsConfig>,
    /// The record of every operation.
    #[serde(default)]
    pub audit: Option<AuditConfig>,
    /// The status page.
    #[serde(default)]
    pub status_page: Option<StatusPageConfig>,
    /// Who may reach the backups.
    #[serde(default)]
    pub access: Option<AccessConfig>,
    /// What the company has and Holdfast does not back up: a name, and the reason with what there is in its place.
    #[serde(default)]
    pub not_backed_up: BTreeMap<Name, String>,
    /// Metrics for Prometheus, of `holdfast monitor`.
    #[serde(default)]
    pub monitor: MonitorConfig,
    /// The groups of `redis` whose RDB files Holdfast stores, as [`Policy::stored_groups`] shows them.
    #[serde(skip)]
    pub(super) rdb_groups: BTreeMap<Name, PostgresGroup>,
    /// Where each part of it stands in its file.
    #[serde(skip)]
    pub positions: SourcePositions,
}

/// Account and region of the assets.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HomeLocation {
    /// The account that owns the assets.
    pub account: AccountId,
    /// The region that they are in.
    pub region: Region,
}

impl Policy {
    /// Where the assets are; without AWS a place that does not exist, so that nothing there can be meant.
    pub fn home_or_placeholder(&self) -> HomeLocation {
        self.home.clone().unwrap_or_else(|| HomeLocation {
            account: "000000000000".parse().expect("twelve digits"),
            region: "us-east-1".parse().expect("a region"),
        })
    }
}

impl Policy {
    /// Where test restores of a group's dumps run; nothing written means a server of Holdfast's own.
    pub fn scratch_for(&self, group: &PostgresGroup) -> Option<ScratchConfig> {
        group.scratch.clone().or_else(|| self.scratch.clone())
    }

    /// The owner of what this policy makes: `acme@111122223333/eu-west-1`, or `acme@host-1` with an `id`. It is written
    /// into every recovery point (the tag `holdfast:owner`, the field `owner` of a record), and decides alone what this
    /// policy may count, copy and delete. Only characters that an RDS tag takes.
    pub fn owner(&self) -> String {
        match (&self.id, &self.home) {
            (Some(id), _) => format!("{}@{id}", self.company),
            (None, Some(HomeLocation { account, region })) => {
                format!("{}@{account}/{region}", self.company)
            }
            // Refused by `policy check`; nothing in the world has this owner.
            (None, None) => format!("{}@", self.company),
        }
    }
}

/// A person or team that answers for assets.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AssetOwner {
    /// E-mail address.
    #[serde(default)]
    pub email: Option<String>,
    /// What they are responsible for, in words.
    #[serde(default)]
    pub note: Option<String>,
}

/// A place for copies: another region, another account, another cloud.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CopyDestination {
    /// Region of the copies.
    #[serde(default)]
    pub region: Option<Region>,
    /// Account of the copies, when it is not the home account.
    #[serde(default)]
    pub account: Option<AccountId>,
    /// Role in that account which pulls the copies; needed with `account`.
    #[serde(default)]
    pub role: Option<Arn>,
    /// Role in that account which lists and reads the copies; `role` when it is left out.
    #[serde(default)]
    pub read_role: Option<Arn>,
    /// Role in that account which `retention` deletes copies of snapshots with. Without it nothing of another account is
    /// deleted, and that account's own people let go of copies.
    #[serde(default)]
    pub delete_role: Option<Arn>,
    /// External id that these roles ask for. It is no secret.
    #[serde(default)]
    pub external_id: Option<String>,
    /// KMS key of the destination's account and region that the copies are encrypted with.
    #[serde(default)]
    pub kms_key: Option<Arn>,
    /// Customer-managed KMS key of the home region, shared with the destination's account: a snapshot under `aws/rds`
    /// can't be shared, so it is first copied at home under this key.
    #[serde(default)]
    pub reencrypt_kms_key: Option<Arn>,
    /// Option groups of the destination by those of the sources, where an engine needs one (TDE, time zone):
    /// `{ oracle-tz: oracle-tz-virginia }`. A copy of a snapshot under any other option group names none.
    #[serde(default)]
    pub option_groups: BTreeMap<String, String>,
    /// Bucket for copies of objects.
    #[serde(default)]
    pub bucket: Option<BucketName>,
    /// Snapshot copies in flight at once in that region; RDS allows 20.
    #[serde(default)]
    #[schemars(range(min = 1, max = 20))]
    pub max_concurrent_copies: Option<NonZeroU32>,
    /// Azure Blob Storage, for copies of objects. No function runs this yet.
    #[serde(default)]
    pub azure: Option<AzureDestination>,
}

/// A container in Azure Blob Storage.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AzureDestination {
    /// Storage account.
    pub account: String,
    /// Container.
    pub container: String,
    /// Access tier of what is written.
    #[serde(default)]
    pub tier: Option<String>,
}

/// What the business asks of an asset.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AssetObjectives {
    /// The newest good recovery point may be this old.
    #[serde(default)]
    pub max_age: Option<Period>,
    /// Recovery point objective: data lost at most, continuous backup included.
    #[serde(default)]
    pub rpo: Option<Period>,
    /// Recovery time objective: a restore takes this long at most.
    #[serde(default)]
    pub rto: Option<Period>,
    /// The newest object may not be smaller.
    #[serde(default)]
    pub min_size: Option<ByteSize>,
    /// The newest object's size may differ from the median of those before by this much.
    #[serde(default)]
    pub max_size_deviation: Option<Percentage>,
}

/// When something happens.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleConfig {
    /// Cron fields, in the time zone given here or in the policy's.
    pub cron: CronExpression,
    /// Time zone of this schedule.
    #[serde(default)]
    pub time_zone: Option<ZoneName>,
}

/// What is kept. A point stays while any line here says so; an empty rule is an error, never "keep nothing".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetentionRule {
    /// Every point younger than this.
    #[serde(default, rename = "for")]
    pub age: Option<Period>,
    /// The newest so many.
    #[serde(default)]
    pub newest: Option<NonZeroU32>,
    /// The last point of each of so many hours.
    #[serde(default)]
    pub hourly: Option<NonZeroU32>,
    /// The last point of each of so many days.
    #[serde(default)]
    pub daily: Option<NonZeroU32>,
    /// The last point of each of so many weeks (Monday to Sunday).
    #[serde(default)]
    pub weekly: Option<NonZeroU32>,
    /// The last point of each of so many months.
    #[serde(default)]
    pub monthly: Option<NonZeroU32>,
    /// The last point of each of so many years.
    #[serde(default)]
    pub yearly: Option<NonZeroU32>,
}

/// An S3 bucket: what is set on it, and where its objects go.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BucketGroup {
    /// The bucket's name.
    pub bucket: BucketName,
    /// Its region, when it is not the home region.
    #[serde(default)]
    pub region: Option<Region>,
    /// Who answers for it.
    #[serde(default)]
    pub owner: Option<Name>,
    /// Priority in a recovery, 1 first.
    #[serde(default)]
    #[schemars(range(min = 1, max = 9))]
    pub priority: Option<u8>,
    /// What the business asks of it.
    #[serde(default)]
    pub objectives: AssetObjectives,
    /// Versioning must be on.
    #[serde(default)]
    pub versioning: bool,
    /// Default encryption that must be set.
    #[serde(default)]
    pub encryption: Option<BucketEncryption>,
    /// Non-current versions must be kept for this long by the bucket's lifecycle, and let go after it.
    #[serde(default)]
    pub noncurrent_version_expiration: Option<Period>,
    /// Replication by S3 itself.
    #[serde(default)]
    pub replication: Option<BucketReplication>,
    /// Copies that Holdfast makes, object by object.
    #[serde(default)]
    pub copies: Vec<ObjectCopyRule>,
    /// Regions that its backups may lie in; every one when it is left out. A copy to another is refused when the policy is read.
    #[serde(default)]
    pub regions: Vec<Region>,
    /// Storage classes by age: lifecycle rules that `retention` keeps.
    #[serde(default)]
    pub tiers: Vec<StorageTier>,
}

/// Default encryption of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BucketEncryption {
    /// Keys of S3.
    #[serde(rename = "AES256")]
    Aes256,
    /// Keys of KMS.
    #[serde(rename = "aws:kms")]
    Kms,
}

/// Replication of a bucket by S3, and how far behind it may be.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BucketReplication {
    /// The destination (with its `bucket`) that the bucket's rules must name.
    pub to: Name,
    /// The oldest object not yet replicated may be this old.
    pub max_lag: Period,
    /// So many objects may be missing in the replica before it is a finding; younger ones than `max_lag` never count.
    #[serde(default)]
    pub tolerance: u32,
    /// Objects read on both sides and compared, each run.
    #[serde(default = "default_sample")]
    pub sample: u32,
    /// Only keys that begin with one of these are replicated, on purpose; all keys when there is none.
    #[serde(default)]
    pub prefixes: Vec<String>,
}

fn default_sample() -> u32 {
    10
}

/// Copies of objects into a destination's bucket.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectCopyRule {
    /// The destination.
    pub to: Name,
    /// Only keys that begin with one of these; all keys when there is none.
    #[serde(default)]
    pub prefixes: Vec<String>,
    /// Sweep the whole bucket at these times; without it every run sweeps.
    #[serde(default)]
    pub schedule: Option<ScheduleConfig>,
    /// Copy an object as soon as S3 says that it was created.
    #[serde(default)]
    pub on_object_created: bool,
    /// The oldest object without a copy may be this old.
    #[serde(default)]
    pub max_age: Option<Period>,
}

/// A storage class from an age on.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StorageTier {
    /// Age from which on; `0` is written by leaving it out.
    #[serde(default)]
    pub after: Option<Period>,
    /// The storage class.
    pub class: StorageClass,
}

/// A storage class of S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StorageClass {
    /// S3 Standard.
    Standard,
    /// S3 Standard-IA.
    StandardIa,
    /// S3 Glacier Flexible Retrieval.
    Glacier,
    /// S3 Glacier Instant Retrieval.
    GlacierIr,
    /// S3 Glacier Deep Archive.
    DeepArchive,
}

impl StorageClass {
    /// S3's name of it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "STANDARD",
            Self::StandardIa => "STANDARD_IA",
            Self::Glacier => "GLACIER",
            Self::GlacierIr => "GLACIER_IR",
            Self::DeepArchive => "DEEP_ARCHIVE",
        }
    }
}

/// Where an asset's points lie as objects, one object a point.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// Bucket; or `directory`.
    #[serde(default)]
    pub bucket: Option<BucketName>,
    /// The bucket's region, when it is not the home region. With `endpoint` the store's own name for it (`fr-par`, `auto`);
    /// without it there, that of the environment (`AWS_REGION`).
    #[serde(default)]
    pub region: Option<StoreRegion>,
    /// Keys begin with this.
    #[serde(default)]
    pub prefix: String,
    /// Keys end with this (`.dump`): leaves out checksums and metadata that lie beside.
    #[serde(default)]
    pub suffix: String,
    /// Directory on the host instead of a bucket.
    #[serde(default)]
    pub directory: Option<String>,
    /// Container of Azure Blob Storage instead of a bucket.
    #[serde(default)]
    pub azure: Option<AzureContainer>,
    /// S3-compatible endpoint instead of AWS (`http://localhost:9000`); its buckets are addressed by path.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Access key id for the endpoint; without it the credentials of the environment.
    #[serde(default)]
    pub access_key: Option<SecretSource>,
    /// Secret access key for the endpoint.
    #[serde(default)]
    pub secret_key: Option<SecretSource>,
    /// Checksum that the store is asked to check on arrival; without it `sha256` on AWS and `md5` elsewhere.
    #[serde(default)]
    pub checksum: Option<StoreChecksum>,
    /// Bytes a second that are written there at most (`20MB`).
    #[serde(default)]
    pub bandwidth: Option<ByteSize>,
    /// Memory for the parts of one upload (`40MiB` when it is left out); one part alone is always allowed, and parts grow
    /// with the database, so that 5 TB fits in S3's 10,000 parts.
    #[serde(default)]
    pub memory: Option<ByteSize>,
    /// Encryption by the store, asked for with each object.
    #[serde(default)]
    pub encryption: Option<BucketEncryption>,
    /// KMS key for `encryption: aws:kms`.
    #[serde(default)]
    pub kms_key: Option<String>,
    /// Each object is locked for as long as the keep rule surely keeps it (S3 Object Lock; the bucket must have it).
    #[serde(default)]
    pub lock: Option<LockMode>,
    /// What is kept here, for a place in `copies`; without it the rule of each dump.
    #[serde(default)]
    pub keep: Option<RetentionRule>,
    /// How a point's key is made below the prefix: text, `{database}`, `{reason}`, `{table}` and strftime fields of the
    /// time it is due at, in UTC (`%Y%m%d`). With `{database}`, each database is watched on its own.
    #[serde(default)]
    pub key: Option<String>,
}

impl StoreConfig {
    /// Whether it is no bucket on AWS: a directory, another endpoint, another cloud. A Lambda has no way there.
    pub fn is_outside_aws(&self) -> bool {
        self.bucket.is_none() || self.endpoint.is_some()
    }

    /// The region of AWS that the policy names for its bucket; none for a bucket at another endpoint.
    pub fn aws_region(&self) -> Option<Region> {
        self.region.as_ref().filter(|_| !self.is_outside_aws())?.as_str().parse().ok()
    }
}

/// A container of Azure Blob Storage.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AzureContainer {
    /// Storage account.
    pub account: String,
    /// Container.
    pub container: String,
    /// Access key of the account; without it the environment's (`AZURE_STORAGE_ACCOUNT_KEY`, a managed identity, ...).
    #[serde(default)]
    pub access_key: Option<SecretSource>,
    /// Address of the account, when it is not Azure's own.
    #[serde(default)]
    pub endpoint: Option<String>,
}

/// A checksum that an S3-compatible store checks on arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StoreChecksum {
    /// `x-amz-checksum-sha256`.
    Sha256,
    /// `Content-MD5`, for stores that know no newer one.
    Md5,
}

/// How strict an object's lock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LockMode {
    /// Whoever has `s3:BypassGovernanceRetention` can still delete.
    Governance,
    /// Nobody can delete before the time.
    Compliance,
}

/// A CloudWatch alarm on one of Holdfast's metrics. Missing data counts as breaching, but of `size-deviation`, `dump-duration`,
/// `restore-duration`, `restore-test-passed` and `verification`, where it means that nothing new happened. Exactly one of `above` and `below`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlarmRule {
    /// What is watched.
    pub metric: AlarmMetric,
    /// Only this group of assets; the whole policy without it.
    #[serde(default)]
    pub of: Option<Name>,
    /// The alarm rings when the value is above this.
    #[serde(default)]
    pub above: Option<Threshold>,
    /// The alarm rings when the value is below this.
    #[serde(default)]
    pub below: Option<Threshold>,
    /// Topic that is told, besides the stack's own.
    #[serde(default)]
    pub topic: Option<Arn>,
}

/// On which side of its threshold an alarm rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmComparison {
    /// Above it.
    Above,
    /// Below it.
    Below,
}

impl std::fmt::Display for AlarmComparison {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Above => "above",
            Self::Below => "below",
        })
    }
}

impl AlarmRule {
    /// The threshold, and on which side of it the alarm rings.
    ///
    /// # Panics
    /// If it has none, which a parsed policy has not.
    pub fn threshold_and_comparison(&self) -> (&Threshold, AlarmComparison) {
        match (&self.above, &self.below) {
            (Some(above), _) => (above, AlarmComparison::Above),
            (_, Some(below)) => (below, AlarmComparison::Below),
            _ => unreachable!("checked when the policy was parsed"),
        }
    }
}

/// What an alarm can watch; docs/metrics.md lists the metric behind each.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum AlarmMetric {
    /// Assets with a critical finding, counted by `freshness`.
    FailingAssets,
    /// Age of the newest good recovery point, of the asset where it is oldest.
    BackupAge,
    /// Age of the newest good offsite copy, of the asset where it is oldest.
    OffsiteCopyAge,
    /// Automated-backup settings that differ from the policy.
    SettingsDrift,
    /// Databases that no group of the policy selects.
    UnprotectedDatabases,
    /// How far the automated backup's latest restorable time is behind.
    RestorableLag,
    /// Age of the oldest object not yet in the replica.
    ReplicationLag,
    /// Objects missing in the replica.
    ReplicationMissing,
    /// How far a read replica is behind.
    ReplicaLag,
    /// Points that one retention run refused to let go because of the limits.
    DeletesBlocked,
    /// Share of what was tried that was done: `below: "99%"`.
    SuccessRate,
    /// How much the newest point's size differs from the median of those before it, up or down.
    SizeDeviation,
    /// How long a dump took.
    DumpDuration,
    /// How long the newest restore took.
    RestoreDuration,
    /// Whether the newest restores passed their checks: `below: "1"`.
    RestoreTestPassed,
    /// Whether the newest verifications passed: `below: "1"`.
    VerificationPassed,
    /// What storage costs a month, in the currency of the policy's prices.
    StorageCost,
    /// Share of the storage quota that is used.
    QuotaUsed,
    /// Messages that could not be delivered.
    DeliveriesFailed,
    /// How long ago a drill last proved a restore, of the asset where that is longest.
    ProofAge,
}

impl AlarmMetric {
    /// All words.
    pub const ALL: &[Self] = &[
        Self::FailingAssets,
        Self::BackupAge,
        Self::OffsiteCopyAge,
        Self::SettingsDrift,
        Self::UnprotectedDatabases,
        Self::RestorableLag,
        Self::ReplicationLag,
        Self::ReplicationMissing,
        Self::ReplicaLag,
        Self::DeletesBlocked,
        Self::SuccessRate,
        Self::SizeDeviation,
        Self::DumpDuration,
        Self::RestoreDuration,
        Self::RestoreTestPassed,
        Self::VerificationPassed,
        Self::StorageCost,
        Self::QuotaUsed,
        Self::DeliveriesFailed,
        Self::ProofAge,
    ];
}

impl std::fmt::Display for AlarmMetric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

/// When recovery points that no rule keeps are deleted.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetentionConfig {
    /// Only in the 24 hours from each of these times on (`cron: "0 4 1 * *"`); without it by every run of `retention`. How
    /// often the function is started is no matter of the policy.
    #[serde(default)]
    pub schedule: Option<ScheduleConfig>,
}

/// Brakes on what one run may do.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunLimits {
    /// What one retention run may delete; beyond either it deletes nothing and says so.
    #[serde(default)]
    pub delete: DeleteLimit,
    /// Databases that one run dumps at once; 1 when it is left out. Each has its own connections and its own memory.
    #[serde(default)]
    #[schemars(range(min = 1, max = 16))]
    pub dumps: Option<NonZeroU32>,
}

/// How much one retention run may delete.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteLimit {
    /// Points at most.
    #[serde(default = "default_delete_count")]
    pub count: u32,
    /// Share of the good points of one place at most.
    #[serde(default = "default_delete_share")]
    pub share: Percentage,
}

impl Default for DeleteLimit {
    fn default() -> Self {
        Self { count: default_delete_count(), share: default_delete_share() }
    }
}

fn default_delete_count() -> u32 {
    500
}

fn default_delete_share() -> Percentage {
    "50%".parse().expect("a share")
}

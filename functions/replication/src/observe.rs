//! Buckets, replicas and lags as they are. Nothing here judges.

use crate::compare::ListingComparison;
use futures_util::{StreamExt, future, stream};
use jiff::SignedDuration;
use shared::{
    aws::{
        OperationError, OperationErrorKind,
        s3::{
            BucketVersioning, DefaultEncryption, ListingDiff, NoncurrentExpirationRule,
            ReplicationRule, S3Client, S3Object,
        },
    },
    catalog::{DatabaseKind, Location, RdsDatabase},
    observe::{ObservationScope, select_databases},
    plan::Finding,
    policy::{BucketGroup, DatabaseGroup, Policy, text::Name},
    request::RunRequest,
    run::RunContext,
};

/// Buckets looked at at once: each holds two pages of its listings.
const MAX_CONCURRENT_BUCKETS: usize = 4;
/// Metrics asked for, and objects read, at once.
const MAX_CONCURRENT_READS: usize = 4;
/// At most this much is read of each side of a sampled object.
const MAX_SAMPLED_BYTES: u64 = 8 << 20;
/// Both metrics have a value for each minute, some minutes late.
const METRIC_WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// Pairs between two looks at the time.
const DEADLINE_CHECK_INTERVAL: u64 = 1000;

/// What was seen, or why it could not be.
pub type ObservedResult<T> = std::result::Result<T, OperationError>;

/// Everything that is seen.
#[derive(Debug, Default)]
pub struct ReplicationState {
    /// Buckets that the policy asks something of.
    pub buckets: Vec<(Name, ObservedResult<BucketSettings>)>,
    /// Read replicas that a group watches.
    pub replicas: Vec<ReplicaLag>,
    /// Groups that watch read replicas and have none.
    pub groups_without_replicas: Vec<Name>,
    /// RDS could not be looked at, and groups that watch read replicas are not judged.
    pub rds_error: Option<(Finding, Vec<Name>)>,
    /// Assets that were asked for and are not in the policy.
    pub unknown: Vec<String>,
}

/// A bucket as it is set, each where the policy asks for it.
#[derive(Debug, Default)]
pub struct BucketSettings {
    /// Whether it keeps versions.
    pub versioning: Option<BucketVersioning>,
    /// Its default encryption.
    pub encryption: Option<Option<DefaultEncryption>>,
    /// The rules that let go of non-current versions.
    pub noncurrent: Option<Vec<NoncurrentExpirationRule>>,
    /// How it is replicated.
    pub replication: Option<ReplicatedBucket>,
}

/// A bucket and its replica.
#[derive(Debug)]
pub struct ReplicatedBucket {
    /// The replica's bucket.
    pub to: String,
    /// The rules of the source.
    pub rules: Vec<ReplicationRule>,
    /// Whether the replica keeps versions.
    pub versioning: BucketVersioning,
    /// The two listings against each other.
    pub comparison: ListingComparison,
    /// Key at which the comparison ran out of time.
    pub stopped_at_key: Option<String>,
    /// The lag that S3 itself tells, in seconds, largest of the rules that tell it.
    pub latency: Option<f64>,
    /// Objects read on both sides.
    pub sampled: Vec<(String, SampleResult)>,
}

/// What reading an object on both sides came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SampleResult {
    /// The same bytes.
    Same,
    /// Other bytes.
    Differs,
    /// One side was changed or lies in an archive tier: nothing follows from it.
    Inconclusive,
    /// A side can't be read: what was said, and the fix.
    Unreadable(String, String),
}

/// A read replica and how far it is behind.
#[derive(Debug)]
pub struct ReplicaLag {
    /// The group that watches it.
    pub group: Name,
    /// The replica.
    pub id: String,
    /// What it is a replica of.
    pub source_id: String,
    /// Seconds behind; none when the metric has no value.
    pub seconds: ObservedResult<Option<f64>>,
}

/// Looks at everything that the policy asks for, or at the assets of the request alone.
pub(crate) async fn observe(world: &RunContext<'_>, request: &RunRequest) -> ReplicationState {
    let policy = world.policy;
    let asked = |names: &[&str]| {
        request.assets.is_empty() || request.assets.iter().any(|a| names.contains(&a.as_str()))
    };
    let buckets = policy
        .buckets
        .iter()
        .filter(|(name, b)| is_monitored(policy, b) && asked(&[name.as_str(), b.bucket.as_str()]));
    let looks = stream::iter(buckets).map(async |(name, bucket)| {
        let home = world.home_location();
        let home = Location { region: bucket.region.clone().unwrap_or(home.region), ..home };
        (name.clone(), observe_bucket(world, bucket, &world.aws.s3(&home)).await)
    });
    let buckets: Vec<_> = looks.buffered(MAX_CONCURRENT_BUCKETS).collect().await;
    let mut seen = ReplicationState { buckets, ..ReplicationState::default() };
    if policy.databases.values().any(|g| g.replica_max_lag.is_some()) {
        observe_replicas(world, &asked, &mut seen).await;
    }
    let known = |a: &&String| {
        let named = |b: &BucketGroup| b.bucket.as_str() == a.as_str();
        policy.buckets.iter().any(|(n, b)| n.as_str() == a.as_str() || named(b))
            || policy.databases.keys().any(|n| n.as_str() == a.as_str())
            || seen.replicas.iter().any(|r| r.id == **a)
    };
    // While RDS can't be seen, a name may be a replica's.
    if seen.rds_error.is_none() {
        seen.unknown = request.assets.iter().filter(|a| !known(a)).cloned().collect();
    }
    seen
}

/// Whether the policy asks anything of a bucket that is looked at here.
fn is_monitored(policy: &Policy, bucket: &BucketGroup) -> bool {
    bucket.versioning
        || bucket.encryption.is_some()
        || bucket.noncurrent_version_expiration.is_some()
        || replica_bucket(policy, bucket).is_some()
}

/// The replica's bucket and place. A destination without a bucket is in Azure, where S3 does not replicate to.
fn replica_bucket<'p>(policy: &'p Policy, bucket: &'p BucketGroup) -> Option<(&'p str, Location)> {
    let to = &bucket.replication.as_ref()?.to;
    let name = policy.destinations.get(to)?.bucket.as_ref()?;
    Some((name.as_str(), Location::for_destination(policy, to)?))
}

/// One bucket. The first refusal ends the look: nothing is concluded from half of it.
async fn observe_bucket(
    world: &RunContext<'_>,
    bucket: &BucketGroup,
    source: &S3Client,
) -> ObservedResult<BucketSettings> {
    let name = bucket.bucket.as_str();
    let mut seen = BucketSettings::default();
    if bucket.versioning {
        seen.versioning = Some(source.bucket_versioning(name).await?);
    }
    if bucket.encryption.is_some() {
        seen.encryption = Some(source.default_encryption(name).await?);
    }
    if bucket.noncurrent_version_expiration.is_some() {
        seen.noncurrent = Some(source.noncurrent_expirations(name).await?);
    }
    if let (Some((to, place)), Some(asked)) =
        (replica_bucket(world.policy, bucket), &bucket.replication)
    {
        let comparison = ListingComparison::new(world.now, asked.max_lag.duration(), asked.sample);
        let there = world.aws.s3(&place);
        let lists = list_prefixes(&asked.prefixes);
        let mut replicated =
            compare_bucket(world, (name, source), (to, &there), &lists, comparison).await?;
        replicated.latency = replication_latency(world, name, &place, &replicated).await?;
        seen.replication = Some(replicated);
    }
    Ok(seen)
}

/// The prefixes to list, all keys when there is none: none lies within another, so that no object is listed twice.
fn list_prefixes(prefixes: &[String]) -> Vec<&str> {
    if prefixes.is_empty() {
        return vec![""];
    }
    let all = || prefixes.iter().map(String::as_str);
    let mut lists: Vec<_> = all().filter(|p| !all().any(|o| o != *p && p.starts_with(o))).collect();
    lists.sort_unstable();
    lists.dedup();
    lists
}

/// Source and replica side by side, and some objects read on both sides.
pub(crate) async fn compare_bucket(
    world: &RunContext<'_>,
    (name, source): (&str, &S3Client),
    (to, there): (&str, &S3Client),
    lists: &[&str],
    mut comparison: ListingComparison,
) -> ObservedResult<ReplicatedBucket> {
    let (rules, versioning) =
        future::try_join(source.replication_rules(name), there.bucket_versioning(to)).await?;
    let (mut cut, mut read) = (None, 0);
    'all: for prefix in lists {
        let mut pairs =
            ListingDiff::new(source.list_objects(name, prefix), there.list_objects(to, prefix));
        while let Some(pair) = pairs.next().await? {
            read += 1;
            if read % DEADLINE_CHECK_INTERVAL == 0 && world.deadline.is_exhausted() {
                cut = Some(pair.key().to_owned());
                break 'all;
            }
            comparison.add_pair(pair);
        }
    }
    let reads = stream::iter(comparison.sample()).map(async |(object, replica)| {
        (object.key.clone(), compare_object((name, source, object), (to, there, replica)).await)
    });
    let sampled = reads.buffered(MAX_CONCURRENT_READS).collect().await;
    let to = to.to_owned();
    Ok(ReplicatedBucket {
        to,
        rules,
        versioning,
        comparison,
        stopped_at_key: cut,
        latency: None,
        sampled,
    })
}

type ObjectSide<'a> = (&'a str, &'a S3Client, &'a S3Object);

async fn compare_object(source: ObjectSide<'_>, replica: ObjectSide<'_>) -> SampleResult {
    let read = async |(bucket, s3, object): ObjectSide<'_>| {
        s3.hash_object(bucket, object, MAX_SAMPLED_BYTES).await
    };
    match future::join(read(source), read(replica)).await {
        (Ok(Some(a)), Ok(Some(b))) if a == b => SampleResult::Same,
        (Ok(Some(_)), Ok(Some(_))) => SampleResult::Differs,
        // The archive tiers of Intelligent-Tiering do not show in a list.
        (Err(e), _) | (_, Err(e)) if e.kind == OperationErrorKind::Archived => {
            SampleResult::Inconclusive
        }
        (Err(e), _) | (_, Err(e)) => SampleResult::Unreadable(e.to_string(), e.hint().into()),
        (Ok(None), _) | (_, Ok(None)) => SampleResult::Inconclusive,
    }
}

/// The lag that S3 publishes for rules with metrics: in the region of the replica, to the account of the source.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/repl-metrics.html>
async fn replication_latency(
    world: &RunContext<'_>,
    source: &str,
    there: &Location,
    replicated: &ReplicatedBucket,
) -> ObservedResult<Option<f64>> {
    let place = Location { region: there.region.clone(), ..world.home_location() };
    let cloudwatch = world.aws.cloudwatch(&place);
    let mut largest: Option<f64> = None;
    let to = replicated.to.as_str();
    for rule in replicated.rules.iter().filter(|r| r.enabled && r.to == to && r.metrics) {
        let of =
            [("SourceBucket", source), ("DestinationBucket", to), ("RuleId", rule.id.as_str())];
        let found = cloudwatch
            .max_value("AWS/S3", "ReplicationLatency", &of, world.now, METRIC_WINDOW)
            .await?;
        largest = match (largest, found) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
    }
    Ok(largest)
}

/// Read replicas that a group watches, and their lag.
async fn observe_replicas(
    world: &RunContext<'_>,
    asked: &impl Fn(&[&str]) -> bool,
    seen: &mut ReplicationState,
) {
    let policy = world.policy;
    let watching = policy.databases.iter().filter(|(_, g)| g.replica_max_lag.is_some());
    let looked = shared::observe::observe_inventory(world, ObservationScope::Home).await;
    let Some(fleet) = looked.at_location(&world.home_location()) else {
        let gap = looked.errors.first().map(Finding::from_observation_error);
        seen.rds_error = gap.map(|g| (g, watching.map(|(n, _)| n.clone()).collect()));
        return;
    };
    let watched = monitored_replicas(policy, &fleet.databases);
    let alone = watching.filter(|(n, _)| !watched.iter().any(|(g, _)| g == n));
    seen.groups_without_replicas =
        alone.map(|(n, _)| n.clone()).filter(|n| asked(&[n.as_str()])).collect();
    let cloudwatch = world.aws.cloudwatch(&world.home_location());
    let watched = watched.into_iter().filter(|(g, d)| asked(&[g.as_str(), d.id.as_str()]));
    let looks = stream::iter(watched).map(async |(group, replica)| {
        let of = [("DBInstanceIdentifier", replica.id.as_str())];
        let seconds =
            cloudwatch.max_value("AWS/RDS", "ReplicaLag", &of, world.now, METRIC_WINDOW).await;
        let of = replica.replica_of.clone().unwrap_or_default();
        ReplicaLag { group: group.clone(), id: replica.id.clone(), source_id: of, seconds }
    });
    seen.replicas = looks.buffered(MAX_CONCURRENT_READS).collect().await;
}

/// Read replicas with the group that watches them: their own, or else that of their primary.
pub(crate) fn monitored_replicas<'a>(
    policy: &'a Policy,
    databases: &'a [RdsDatabase],
) -> Vec<(&'a Name, &'a RdsDatabase)> {
    let selection = select_databases(policy, databases);
    let watching = |id: &str| {
        let found = selection.find_by_id(id);
        found
            .and_then(|(n, g, _): (&Name, &DatabaseGroup, _)| g.replica_max_lag.as_ref().map(|_| n))
    };
    let replicas = databases.iter().filter(|d| d.family == DatabaseKind::Instance);
    // The primary of a replica from another region is named by its ARN, and no group of this region has it.
    let group = |d: &'a RdsDatabase| {
        let primary = d.replica_of.as_deref()?;
        Some((watching(&d.id).or_else(|| watching(primary))?, d))
    };
    replicas.filter_map(group).collect()
}

#[cfg(test)]
mod tests;

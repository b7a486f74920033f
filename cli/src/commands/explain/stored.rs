//! Assets that are no databases: points that lie as objects, and buckets.

use crate::function::FunctionName;
use freshness::{FreshnessObservations, LocationScanner, ObjectAsset, ObjectRecoveryPoint};
use serde::Serialize;
use shared::{
    catalog::ObservationError,
    plan::Finding,
    policy::{AssetObjectives, BucketGroup, Policy},
    report::AssetStatus,
    request::RunRequest,
    run::RunContext,
};
use std::collections::BTreeMap;

/// An asset whose points lie as objects.
#[derive(Debug, Serialize)]
pub(super) struct ObjectAssetView {
    pub(super) group: String,
    /// Where its points lie.
    pub(super) location: String,
    /// Keys end with this.
    pub(super) suffix: String,
    pub(super) objectives: AssetObjectives,
    pub(super) status: Option<AssetStatus>,
    pub(super) findings: Vec<Finding>,
    /// The newest objects, newest first.
    pub(super) newest: Vec<ObjectView>,
}

/// An object that is a point.
#[derive(Debug, Serialize)]
pub(super) struct ObjectView {
    pub(super) key: String,
    pub(super) size_bytes: u64,
    /// The latest time that its data can be of.
    pub(super) data_time: jiff::Timestamp,
}

/// A bucket of the policy.
#[derive(Debug, Serialize)]
pub(super) struct BucketView {
    pub(super) group: String,
    /// What the policy says of it.
    pub(super) policy: BucketGroup,
    pub(super) statuses: Vec<AssetStatus>,
    pub(super) findings: Vec<Finding>,
}

/// Names of all such assets.
pub(super) fn asset_names(policy: &Policy) -> Vec<String> {
    let stored = freshness::object_assets(policy, &BTreeMap::new())
        .into_iter()
        .flat_map(|s| [s.asset, s.group]);
    let buckets = policy.buckets.iter().flat_map(|(n, b)| [n.to_string(), b.bucket.to_string()]);
    stored.chain(buckets).collect()
}

/// The assets of that name, or of the group of that name, whose points lie as objects.
pub(super) async fn object_asset_views(
    world: &RunContext<'_>,
    asset: &str,
    gaps: &mut Vec<ObservationError>,
) -> Vec<ObjectAssetView> {
    let mut views = Vec::new();
    let places = LocationScanner::new(world, None);
    for one in places.assets().await {
        if one.asset != asset && one.group != asset {
            continue;
        }
        let one = freshness::scan_asset(world, &places, one, gaps).await;
        views.push(object_asset_view(world, one));
    }
    views
}

/// Judged as `freshness` judges it.
fn object_asset_view(world: &RunContext<'_>, one: ObjectAsset) -> ObjectAssetView {
    let facts = FreshnessObservations {
        object_assets: vec![one.clone()],
        ..FreshnessObservations::default()
    };
    let verdict = freshness::plan(world.policy, &facts, world.now);
    let at = one.display_location();
    let newest = one.newest.into_iter();
    ObjectAssetView {
        location: at,
        findings: verdict.plan.findings.into_iter().filter(|f| f.asset == one.asset).collect(),
        status: verdict.assets.into_iter().find(|s| s.group == one.group && s.asset == one.asset),
        group: one.group,
        suffix: one.suffix,
        objectives: one.objectives,
        newest: newest
            .map(|ObjectRecoveryPoint { key, size, at, .. }| ObjectView {
                key,
                size_bytes: size,
                data_time: at,
            })
            .collect(),
    }
}

/// The buckets of that name, by group or by their own, judged as `replication` judges them.
pub(super) async fn bucket_views(world: &RunContext<'_>, asset: &str) -> Vec<BucketView> {
    let named = |(name, bucket): &(&_, &BucketGroup)| {
        let name: &shared::policy::text::Name = name;
        name.as_str() == asset || bucket.bucket.as_str() == asset
    };
    let mut views = Vec::new();
    for (name, bucket) in world.policy.buckets.iter().filter(named) {
        // The policy of this bucket alone, so that nothing else is asked for.
        let mut alone = world.policy.clone();
        alone.databases = BTreeMap::new();
        alone.postgres = BTreeMap::new();
        alone.buckets.retain(|n, _| n == name);
        let world = RunContext {
            aws: world.aws,
            policy: &alone,
            now: world.now,
            deadline: world.deadline,
            run_id: world.run_id.clone(),
            dry_run: true,
            on_host: true,
            failure_topic: None,
            reports_topic: None,
            user: None,
        };
        let request = RunRequest { dry_run: true, ..RunRequest::full_run() };
        let report = FunctionName::Replication.run(&world, &request).await;
        views.push(BucketView {
            group: name.to_string(),
            policy: bucket.clone(),
            statuses: report.assets,
            findings: report.findings,
        });
    }
    views
}

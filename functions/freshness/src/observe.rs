//! Observing everything that is evaluated.

mod archives;
mod places;

pub use places::{ChecksumCache, LocationScanner};

use crate::plan::{FreshnessObservations, ObjectAsset, keys_to_describe};
use shared::{
    catalog::{Location, ObservationError},
    observe::{ObservationScope, observe_inventory as observe_rds},
    run::RunContext,
};

/// Looks at RDS at every place, at the restore windows, keys and quotas, and at every store.
pub(crate) async fn observe(
    world: &RunContext<'_>,
    memory: Option<&ChecksumCache>,
) -> FreshnessObservations {
    let mut facts = FreshnessObservations::default();
    // A policy without a home is of a host without AWS.
    if world.policy.home.is_some() {
        observe_snapshots(world, &mut facts).await;
    }
    let places = LocationScanner::new(world, memory);
    for asset in places.assets().await {
        facts
            .object_assets
            .push(scan_asset(world, &places, asset, &mut facts.observation_errors).await);
    }
    facts.archives = archives::observe_archives(world).await;
    facts
}

pub(crate) async fn observe_snapshots(world: &RunContext<'_>, facts: &mut FreshnessObservations) {
    facts.rds = observe_rds(world, ObservationScope::Everywhere).await;
    if world.policy.databases.values().any(|g| g.automated_backups.is_some()) {
        let rds = world.aws.rds(&world.home_location());
        let earliest =
            world.with_observation_timeout("list restore windows", rds.earliest_restorable());
        match earliest.await {
            Ok(earliest) => facts.earliest = Some(earliest),
            Err(e) => facts.observation_errors.push(rds.to_observation_error(&e)),
        }
    }
    for (place, keys) in keys_to_describe(world.policy, &facts.rds) {
        let kms = world.aws.kms(&place);
        for key in keys {
            let state = kms.key_state(&key).await;
            facts.keys.insert(key, state);
        }
    }
    if world.policy.databases.is_empty() {
        return;
    }
    for place in facts.rds.locations.keys() {
        facts.quotas.insert(place.clone(), world.aws.rds(place).snapshot_quotas().await);
    }
}

/// Looks at the places of one asset.
pub async fn scan_asset(
    world: &RunContext<'_>,
    places: &LocationScanner<'_>,
    mut asset: ObjectAsset,
    gaps: &mut Vec<ObservationError>,
) -> ObjectAsset {
    for copy in &mut asset.copies {
        scan_location(world, places, copy, gaps).await;
    }
    scan_location(world, places, &mut asset, gaps).await;
    asset
}

async fn scan_location(
    world: &RunContext<'_>,
    places: &LocationScanner<'_>,
    place: &mut ObjectAsset,
    gaps: &mut Vec<ObservationError>,
) {
    // A Lambda has no way to directories, other endpoints and other clouds.
    if place.store.is_outside_aws() && !world.on_host {
        place.mark_unobserved();
        place.on_other_host = true;
    } else if place.store.is_outside_aws() || place.committed {
        if let Err((why, hint)) = places.scan(place).await {
            place.mark_unobserved();
            place.unobserved_reason = Some((why, hint));
        }
    } else if let Err(gap) = list_bucket(world, place).await {
        gaps.push(gap);
        place.mark_unobserved();
    }
}

/// Lists what lies in a bucket.
async fn list_bucket(
    world: &RunContext<'_>,
    asset: &mut ObjectAsset,
) -> Result<(), ObservationError> {
    let home = world.home_location();
    let region = asset.region.as_ref().and_then(|r| r.parse().ok());
    let place = Location { region: region.unwrap_or_else(|| home.region.clone()), ..home };
    let doing = format!("list s3://{}/{}", asset.bucket, asset.prefix);
    let mut objects = world.aws.s3(&place).list_objects(&asset.bucket, &asset.prefix);
    let listed = world.with_observation_timeout(doing, async {
        while let Some(object) = objects.next().await? {
            asset.add_object(&object.key, object.size, object.modified, world.now);
        }
        Ok(())
    });
    listed.await.map_err(|e| e.to_observation_error(&place))
}

//! Looking at everything that is judged.

use crate::plan::{Facts, stored};
use shared::{
    catalog::Place,
    observe::{Where, observe as observe_rds},
    run::World,
};

/// Looks at RDS at every place, at the restore windows, and at every store.
pub(crate) async fn observe(world: &World<'_>) -> Facts {
    let mut facts = Facts { rds: observe_rds(world, Where::Everywhere).await, ..Facts::default() };
    let home = world.home();
    if world.policy.databases.values().any(|g| g.automated_backups.is_some()) {
        let rds = world.aws.rds(&home);
        match rds.earliest_restorable().await {
            Ok(earliest) => facts.earliest = Some(earliest),
            Err(e) => facts.gaps.push(rds.gap(&e)),
        }
    }
    for mut asset in stored(world.policy) {
        let region = asset.region.as_ref().and_then(|r| r.parse().ok());
        let place = Place { region: region.unwrap_or_else(|| home.region.clone()), ..home.clone() };
        let s3 = world.aws.s3(&place);
        let (bucket, prefix) = (asset.bucket.clone(), asset.prefix.clone());
        let mut objects = s3.objects(&bucket, &prefix);
        loop {
            match objects.next().await {
                Ok(Some(o)) => asset.add(&o.key, o.size, o.modified),
                Ok(None) => break facts.stored.push(asset),
                Err(e) => {
                    facts.gaps.push(e.gap(&place));
                    asset.unseen();
                    break facts.stored.push(asset);
                }
            }
        }
    }
    facts
}

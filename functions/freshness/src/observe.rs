//! Looking at everything that is judged.

use crate::plan::{Facts, Stored, stored};
use shared::{
    catalog::{Gap, Place},
    observe::{Where, observe as observe_rds},
    run::World,
};

/// What became of looking at a place that is not a bucket on AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looked {
    /// It was seen to its end.
    Seen,
    /// It can't be seen: why, and what to do.
    Unseen(String, String),
    /// It is somebody else's to look there, so nothing is concluded.
    Elsewhere,
}

/// Looks at RDS at every place, at the restore windows, and at every store.
pub(crate) async fn observe(world: &World<'_>, look: impl AsyncFn(&mut Stored) -> Looked) -> Facts {
    let mut facts = Facts::default();
    // A policy without a home is of a host without AWS.
    if world.policy.home.is_some() {
        facts.rds = observe_rds(world, Where::Everywhere).await;
    }
    let home = world.home();
    if world.policy.databases.values().any(|g| g.automated_backups.is_some()) {
        let rds = world.aws.rds(&home);
        let earliest = world.observed("list restore windows", rds.earliest_restorable());
        match earliest.await {
            Ok(earliest) => facts.earliest = Some(earliest),
            Err(e) => facts.gaps.push(rds.gap(&e)),
        }
    }
    for asset in stored(world.policy) {
        facts.stored.extend(look_at(world, &look, asset, &mut facts.gaps).await);
    }
    facts
}

/// Looks at the places of one asset; none when they are all somebody else's to look at.
pub async fn look_at(
    world: &World<'_>,
    look: &impl AsyncFn(&mut Stored) -> Looked,
    mut asset: Stored,
    gaps: &mut Vec<Gap>,
) -> Option<Stored> {
    let mut copies = Vec::new();
    for mut copy in std::mem::take(&mut asset.copies) {
        if see(world, look, &mut copy, gaps).await {
            copies.push(copy);
        }
    }
    asset.copies = copies;
    see(world, look, &mut asset, gaps).await.then_some(asset)
}

/// Looks at one place; false when somebody else does.
async fn see(
    world: &World<'_>,
    look: &impl AsyncFn(&mut Stored) -> Looked,
    place: &mut Stored,
    gaps: &mut Vec<Gap>,
) -> bool {
    if place.elsewhere.is_none() {
        if let Err(gap) = list(world, place).await {
            gaps.push(gap);
            place.unseen();
        }
        return true;
    }
    match look(place).await {
        Looked::Seen => true,
        Looked::Unseen(why, mend) => {
            place.unseen();
            place.unseen_because = Some((why, mend));
            true
        }
        Looked::Elsewhere => false,
    }
}

/// Lists what lies in a bucket.
async fn list(world: &World<'_>, asset: &mut Stored) -> Result<(), Gap> {
    let home = world.home();
    let region = asset.region.as_ref().and_then(|r| r.parse().ok());
    let place = Place { region: region.unwrap_or_else(|| home.region.clone()), ..home };
    let doing = format!("list s3://{}/{}", asset.bucket, asset.prefix);
    let mut objects = world.aws.s3(&place).objects(&asset.bucket, &asset.prefix);
    let listed = world.observed(doing, async {
        while let Some(object) = objects.next().await? {
            asset.add(&object.key, object.size, object.modified);
        }
        Ok(())
    });
    listed.await.map_err(|e| e.gap(&place))
}

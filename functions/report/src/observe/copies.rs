//! What the policy's buckets copy into other buckets: copies of points where a group's points lie in the source, and
//! weight where not.

use crate::{
    facts::{AssetKey, BackupLocation, OtherStorage, PointRecord, ReportInput},
    prices::StorageKind,
};
use shared::{
    aws::{OperationError, s3::S3Object},
    catalog::Location,
    policy::{Policy, StoreConfig},
    run::RunContext,
};
use std::collections::BTreeMap;

/// What was seen of one destination of one bucket.
pub(super) struct CopyUsage {
    /// The group of the bucket.
    group: String,
    /// The bucket that is copied.
    source: String,
    spot: BackupLocation,
    objects: Vec<S3Object>,
    gap: Option<OperationError>,
}

/// Lists every destination of every bucket's copies.
pub(super) async fn observe_copies(world: &RunContext<'_>) -> Vec<CopyUsage> {
    let mut all = Vec::new();
    for (group, bucket) in &world.policy.buckets {
        for copy in &bucket.copies {
            let to = world.policy.destinations.get(&copy.to);
            let there = Location::for_destination(world.policy, &copy.to);
            let Some((name, place)) = to.and_then(|t| t.bucket.as_ref()).zip(there) else {
                continue;
            };
            let region = Some(place.region.to_string());
            let mut found = CopyUsage {
                group: group.to_string(),
                source: bucket.bucket.to_string(),
                spot: BackupLocation { name: format!("s3://{name}"), region, home: false },
                objects: Vec::new(),
                gap: None,
            };
            let prefixes =
                if copy.prefixes.is_empty() { vec![String::new()] } else { copy.prefixes.clone() };
            for prefix in prefixes {
                let listed =
                    list_bucket(world, &place, name.as_str(), &prefix, &mut found.objects).await;
                found.gap = found.gap.or(listed.err());
            }
            all.push(found);
        }
    }
    all
}

async fn list_bucket(
    world: &RunContext<'_>,
    place: &Location,
    bucket: &str,
    prefix: &str,
    into: &mut Vec<S3Object>,
) -> Result<(), OperationError> {
    let mut objects = world.aws.s3(place).list_objects(bucket, prefix);
    while let Some(object) = objects.next().await? {
        into.push(object);
    }
    Ok(())
}

/// Groups whose points lie in a bucket: where, and what their keys begin with.
fn stores_by_group(policy: &Policy) -> impl Iterator<Item = (String, &StoreConfig, &[String])> {
    // A key alone does not tell the databases of a group of all apart: its objects are weighed and are no asset's.
    let postgres = policy.stored_groups().filter(|(_, g)| !g.databases.is_all());
    let postgres = postgres.map(|(n, g)| (n.to_string(), &g.storage, g.databases.named()));
    let redis = policy.redis.iter().filter(|(_, g)| g.address.is_none());
    let redis = redis.map(|(n, g)| (n.to_string(), &g.storage, &[][..]));
    let cluster = policy.kubernetes.iter().map(|(n, g)| (n.to_string(), &g.storage, &[][..]));
    let files = policy.files.iter().map(|(n, g)| (n.to_string(), &g.storage, &[][..]));
    postgres.chain(redis).chain(cluster).chain(files)
}

impl CopyUsage {
    pub(super) fn merge_into(self, policy: &Policy, facts: &mut ReportInput) {
        let Self { group, source, spot, objects, gap } = self;
        let name = spot.name.clone();
        let at = facts.intern_location(spot);
        let mine = |s: &&(String, &StoreConfig, &[String])| {
            s.1.bucket.as_ref().is_some_and(|b| b.as_str() == source) && s.1.endpoint.is_none()
        };
        let all: Vec<_> = stores_by_group(policy).collect();
        let of_source: Vec<_> = all.iter().filter(mine).collect();
        let mut rest: BTreeMap<StorageKind, OtherStorage> = BTreeMap::new();
        facts.pages += objects.len() as u64 / 1000 + 1;
        for object in objects {
            let class = StorageKind::from_s3_class(&object.storage_class);
            let owner = of_source.iter().find_map(|(g, store, databases)| {
                Some(AssetKey::new(g, asset_of_key(g, store, databases, &object.key)?))
            });
            let stored = object.modified.as_second();
            match owner {
                Some(key) => {
                    let bytes = object.size;
                    let point =
                        PointRecord { at: stored, stored, bytes, location: at, class, good: true };
                    facts.storage_mut(key).points.push(point);
                }
                None => add_usage(&mut rest, &object, class, at),
            }
        }
        facts.storage_mut(AssetKey::new(&group, &source)).other.extend(rest.into_values());
        if let Some(e) = gap {
            facts.push_error(name, &e);
            facts.storage_mut(AssetKey::new(&group, &source)).unobserved.push(at);
        }
    }
}

fn add_usage(
    rest: &mut BTreeMap<StorageKind, OtherStorage>,
    object: &S3Object,
    class: StorageKind,
    spot: u16,
) {
    let (billed, index) = class.billable_bytes(object.size);
    let new = OtherStorage {
        objects: 0,
        bytes: 0,
        billed: 0,
        index: 0,
        stored: None,
        location: spot,
        class,
    };
    let weight = rest.entry(class).or_insert(new);
    weight.objects += 1;
    weight.bytes += object.size;
    weight.billed += billed;
    weight.index += index;
}

/// The asset of a key: the group, or the database of it that the key names.
fn asset_of_key<'a>(
    group: &'a str,
    store: &StoreConfig,
    databases: &'a [String],
    key: &str,
) -> Option<&'a str> {
    let rest = key.strip_prefix(store.prefix.as_str()).filter(|_| key.ends_with(&store.suffix))?;
    // A commit record, a hash, a hold, a note: what lies beside a point is none.
    if storage::beside::backup_key_of_sidecar(key).is_some() {
        return None;
    }
    match databases {
        [] => Some(group),
        [only] => Some(only),
        several => {
            // The longest name that the key has as a word of its own: shop_eu is not shop.
            let named = several.iter().filter(|d| contains_word(rest, d));
            named.max_by_key(|d| d.len()).map(String::as_str)
        }
    }
}

fn contains_word(key: &str, name: &str) -> bool {
    key.match_indices(name).any(|(at, _)| {
        let edge = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
        edge(key[..at].chars().next_back()) && edge(key[at + name.len()..].chars().next())
    })
}

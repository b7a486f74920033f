//! Dumps and other files, at their first place and at every second one.

use crate::{
    facts::{Facts, Held, Key, Point, Spot, Weight},
    prices::Class,
};
use shared::{
    aws::OperationError,
    policy::{PostgresGroup, text::Name},
    run::RunContext,
    secret::SecretResolver,
};
use std::collections::BTreeMap;
use store::{
    StoredBackup, ObjectEntry,
    place::{OpenStore, stands_for_database},
};

/// What was seen of one place of one group.
pub(super) struct Found {
    group: String,
    assets: Vec<String>,
    spot: Spot,
    seen: Result<BTreeMap<String, Held>, OperationError>,
    pages: u64,
    /// A directory of a host that this is not.
    elsewhere: bool,
}

/// Objects of one page of a listing.
const PAGE: u64 = 1000;

/// Looks at the stores of every group that has points as files.
pub(super) async fn look(world: &RunContext<'_>) -> Vec<Found> {
    let home = world.home_location();
    let secrets = SecretResolver::new(world.aws, &home);
    let mut all = Vec::new();
    for (name, rules) in &world.policy.postgres {
        let stores = std::iter::once(&rules.stored).chain(&rules.also_stored);
        for (n, store) in stores.enumerate() {
            all.push(one(world, &secrets, name, Some(rules), store, n == 0).await);
        }
    }
    let files = world.policy.files.iter().map(|(n, g)| (n, &g.stored, &g.also_stored[..]));
    let redis = world.policy.redis.iter().map(|(n, g)| (n, &g.stored, &[][..]));
    let cluster = world.policy.kubernetes.iter().map(|(n, g)| (n, &g.stored, &[][..]));
    for (name, stored, also) in files.chain(redis).chain(cluster) {
        for (n, store) in std::iter::once(stored).chain(also).enumerate() {
            all.push(one(world, &secrets, name, None, store, n == 0).await);
        }
    }
    all
}

async fn one(
    world: &RunContext<'_>,
    secrets: &SecretResolver<'_>,
    group: &Name,
    rules: Option<&PostgresGroup>,
    store: &shared::policy::StoreConfig,
    home: bool,
) -> Found {
    let region = store.aws_region().unwrap_or_else(|| world.home_location().region).to_string();
    let region = (store.bucket.is_some() && store.endpoint.is_none()).then_some(region);
    let mut found = Found {
        group: group.to_string(),
        assets: rules.map_or_else(|| vec![group.to_string()], |r| r.databases.named().to_vec()),
        spot: Spot { name: address(store), region, home },
        seen: Ok(BTreeMap::new()),
        pages: 0,
        elsewhere: store.directory.is_some() && !world.on_host,
    };
    if found.elsewhere {
        return found;
    }
    let open = store::open_store(world.aws, &world.home_location(), store, secrets).await;
    let open = open.map(|opened| OpenStore::new(opened, store)).map_err(OperationError::from);
    found.seen = match (open, rules.filter(|r| !r.dumps.is_empty())) {
        (Err(e), _) => Err(e),
        (Ok(open), Some(rules)) => dumps(world, &open, rules).await,
        (Ok(open), None) => files(&open, group).await,
    };
    found.pages = found.seen.iter().flat_map(BTreeMap::values).map(objects).sum::<u64>() / PAGE + 1;
    found
}

fn objects(held: &Held) -> u64 {
    held.points.len() as u64 * 2 + held.weights.iter().map(|w| w.objects).sum::<u64>()
}

fn address(store: &shared::policy::StoreConfig) -> String {
    let prefix = &store.prefix;
    let at = match (&store.bucket, &store.directory, &store.azure) {
        (Some(bucket), _, _) => format!("s3://{bucket}/{prefix}"),
        (_, Some(directory), _) => format!("{}/{prefix}", directory.trim_end_matches('/')),
        (_, _, Some(a)) => format!("azure://{}/{}/{prefix}", a.account, a.container),
        _ => "nowhere".to_owned(),
    };
    at.trim_end_matches('/').to_owned()
}

fn class(store: &shared::policy::StoreConfig, named: Option<&str>) -> Class {
    match (&store.endpoint, &store.directory, &store.azure) {
        (_, Some(_), _) => Class::Directory,
        (_, _, Some(_)) => Class::Azure,
        (Some(_), _, _) => Class::Endpoint,
        _ => Class::of_s3(named.unwrap_or("STANDARD")),
    }
}

/// Dumps by database: those with a commit record are points, the others only weigh.
async fn dumps(
    world: &RunContext<'_>,
    open: &OpenStore<'_>,
    rules: &PostgresGroup,
) -> Result<BTreeMap<String, Held>, OperationError> {
    let by = open.backups_by_database(world, rules).await?;
    let by = by.into_iter().filter(|(database, _)| rules.has_database(database));
    Ok(by.map(|(database, backups)| (database, held(open, rules, &backups))).collect())
}

fn held(open: &OpenStore<'_>, rules: &PostgresGroup, backups: &[StoredBackup]) -> Held {
    let (mut held, mut newest) = (Held::default(), i64::MIN);
    for backup in backups {
        let class = class(open.policy, backup.class.as_deref());
        let stored = backup.modified.as_second();
        let at = backup.data_time().map_or(stored, jiff::Timestamp::as_second);
        // What holds some tables, or was made before a restore, is not what a loss would be restored from.
        let good = backup.committed_manifest().is_some_and(|m| stands_for_database(rules, m));
        let point = Point { at, stored, bytes: backup.size, spot: 0, class, good };
        held.name(&backup.key, &mut newest, &point);
        held.points.push(point);
    }
    held
}

/// Files of other makers: each is a point of the group, as old as it is.
async fn files(open: &OpenStore<'_>, group: &Name) -> Result<BTreeMap<String, Held>, OperationError> {
    let suffix = &open.policy.suffix;
    let (mut held, mut newest) = (Held::default(), i64::MIN);
    let entries = open.store.list("").await.map_err(OperationError::from)?;
    for entry in &entries {
        let class = class(open.policy, entry.class.as_deref());
        let ObjectEntry { key, size, modified, .. } = entry;
        let stored = modified.as_second();
        if key.ends_with(suffix.as_str()) && !key.ends_with('/') {
            let point = Point { at: stored, stored, bytes: *size, spot: 0, class, good: true };
            held.name(key, &mut newest, &point);
            held.points.push(point);
        } else {
            let (billed, index) = class.billed(*size);
            let (bytes, stored) = (*size, Some(stored));
            held.weights.push(Weight { objects: 1, bytes, billed, index, stored, spot: 0, class });
        }
    }
    Ok(BTreeMap::from([(group.to_string(), held)]))
}

impl Found {
    pub(super) fn into_facts(self, facts: &mut Facts) {
        if self.elsewhere {
            if !facts.elsewhere.contains(&self.spot.name) {
                facts.elsewhere.push(self.spot.name);
            }
            return;
        }
        let home = self.spot.home;
        let name = self.spot.name.clone();
        let at = facts.spot(self.spot);
        facts.pages += self.pages;
        match self.seen {
            Ok(by) => {
                for (asset, mut held) in by {
                    let to = facts.held(Key::new(&self.group, asset));
                    held.points.iter_mut().for_each(|p| p.spot = at);
                    held.weights.iter_mut().for_each(|w| w.spot = at);
                    to.points.append(&mut held.points);
                    to.weights.append(&mut held.weights);
                    if home {
                        to.newest = held.newest;
                    }
                }
            }
            Err(e) => {
                facts.gap(name, &e);
                // Of a group of all, whose databases are not known now, it is said of the group.
                let known =
                    if self.assets.is_empty() { vec![self.group.clone()] } else { self.assets };
                for asset in known {
                    facts.held(Key::new(&self.group, asset)).blind.push(at);
                }
            }
        }
    }
}

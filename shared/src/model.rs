//! A small model of RDS for tests: facts with sensible defaults, and what a snapshot, a copy and a delete make of them.
//!
//! It is the reference of what should be true: property tests run any mix of runs, faults and clocks against it.

use crate::{
    aws::rds::SnapshotCopyRequest,
    catalog::{
        DatabaseKind, HoldfastTags, Inventory, Location, LocationInventory, RdsDatabase,
        RecoveryPoint, RecoveryPointState,
    },
    policy::Policy,
};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// A policy from YAML that must be right.
///
/// # Panics
/// If it has faults.
pub fn parse_policy(yaml: &str) -> Policy {
    Policy::parse(yaml).unwrap_or_else(|faults| panic!("{faults}"))
}

/// A time that must be right.
///
/// # Panics
/// If it is no timestamp.
pub fn parse_time(time: &str) -> Timestamp {
    time.parse().unwrap_or_else(|e| panic!("{time}: {e}"))
}

/// An available PostgreSQL instance in two zones, made long ago, restorable up to `now`.
pub fn db_instance(id: &str, now: Timestamp) -> RdsDatabase {
    RdsDatabase {
        id: id.into(),
        family: DatabaseKind::Instance,
        resource_id: format!("db-{id}"),
        engine: "postgres".into(),
        status: "available".into(),
        retention_days: 35,
        window: "02:00-03:00".into(),
        latest_restorable: Some(now),
        earliest_restorable: None,
        created: Some(Timestamp::UNIX_EPOCH),
        multi_az: true,
        encrypted: true,
        log_exports: Vec::new(),
        replica_of: None,
        tags: BTreeMap::from([("env".into(), "prod".into())]),
    }
}

/// A good snapshot that Holdfast took of a database at home.
pub fn owned_snapshot(
    policy: &Policy,
    database: &RdsDatabase,
    reason: &str,
    data_time: Timestamp,
) -> RecoveryPoint {
    let slot = crate::time::format_slot(data_time);
    let id = format!("{}-{reason}-{slot}", database.id);
    RecoveryPoint {
        arn: snapshot_arn(&Location::home_from_policy(policy), database.family, &id),
        id,
        database: database.id.clone(),
        resource_id: database.resource_id.clone(),
        kind: database.family,
        automated: false,
        state: RecoveryPointState::Good,
        data_time: Some(data_time),
        started: Some(data_time),
        size_gib: 20,
        encrypted: database.encrypted,
        kms_key: database.encrypted.then(|| "arn:aws:kms:eu-west-1:111122223333:key/home".into()),
        option_group: None,
        source_arn: None,
        tags: HoldfastTags {
            owner: Some(policy.owner()),
            resource_id: Some(database.resource_id.clone()),
            family: Some(database.family),
            reason: Some(reason.into()),
            slot: Some(slot),
            ..HoldfastTags::default()
        },
    }
}

/// A snapshot that RDS took by itself.
pub fn automated_snapshot(
    policy: &Policy,
    database: &RdsDatabase,
    data_time: Timestamp,
) -> RecoveryPoint {
    let mut point = owned_snapshot(policy, database, "automated", data_time);
    point.id = format!("rds:{}-{}", database.id, crate::time::format_slot(data_time));
    point.arn = snapshot_arn(&Location::home_from_policy(policy), database.family, &point.id);
    point.automated = true;
    point.tags = HoldfastTags::default();
    point
}

fn snapshot_arn(place: &Location, family: DatabaseKind, id: &str) -> String {
    let kind = match family {
        DatabaseKind::Instance => "snapshot",
        DatabaseKind::Cluster => "cluster-snapshot",
    };
    format!("arn:aws:rds:{}:{}:{kind}:{id}", place.region, place.account)
}

/// A cluster of that name.
pub fn db_cluster(id: &str, now: Timestamp) -> RdsDatabase {
    let resource_id = format!("cluster-{id}");
    RdsDatabase { family: DatabaseKind::Cluster, resource_id, ..db_instance(id, now) }
}

/// What is seen: `databases` and `points` at home, nothing at any destination.
pub fn home_inventory(
    policy: &Policy,
    databases: Vec<RdsDatabase>,
    points: Vec<RecoveryPoint>,
) -> Inventory {
    let mut seen = Inventory::default();
    for place in crate::observe::snapshot_locations(policy) {
        seen.locations.insert(place, LocationInventory::default());
    }
    seen.locations
        .insert(Location::home_from_policy(policy), LocationInventory { databases, points });
    seen
}

/// The world after a snapshot was started: it is on its way, with the tags that it was given.
pub fn apply_snapshot(
    seen: &mut Inventory,
    policy: &Policy,
    (family, database): (DatabaseKind, &str),
    id: &str,
    tags: &BTreeMap<String, String>,
) {
    let home = Location::home_from_policy(policy);
    let fleet = seen.locations.entry(home.clone()).or_default();
    if fleet.points.iter().any(|p| (p.kind, p.id.as_str()) == (family, id)) {
        return; // RDS answers DBSnapshotAlreadyExists.
    }
    let found = fleet.databases.iter().find(|d| (d.family, d.id.as_str()) == (family, database));
    let Some(found) = found else { return };
    let mut point = owned_snapshot(policy, found, "any", Timestamp::UNIX_EPOCH);
    point.id = id.into();
    point.arn = snapshot_arn(&home, family, id);
    point.state = RecoveryPointState::InFlight;
    point.data_time = None;
    point.tags = HoldfastTags::from_tags(tags.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    fleet.points.push(point);
}

/// The world after a copy was started: it is on its way at its place. RDS refuses one whose source is gone.
pub fn apply_copy(seen: &mut Inventory, to: &Location, copy: &SnapshotCopyRequest) {
    let source =
        seen.locations.values().flat_map(|f| &f.points).find(|p| p.arn == copy.source_arn).cloned();
    let Some(source) = source else { return };
    let fleet = seen.locations.entry(to.clone()).or_default();
    if fleet.points.iter().any(|p| (p.kind, &p.id) == (source.kind, &copy.id)) {
        return;
    }
    fleet.points.push(RecoveryPoint {
        id: copy.id.clone(),
        arn: snapshot_arn(to, source.kind, &copy.id),
        automated: false,
        state: RecoveryPointState::InFlight,
        data_time: None,
        kms_key: copy.kms_key.clone().or(source.kms_key.clone()),
        source_arn: Some(source.arn.clone()),
        tags: HoldfastTags::from_tags(copy.tags.iter().map(|(k, v)| (k.as_str(), v.as_str()))),
        ..source
    });
}

/// The world after a point was deleted; a copy in flight from it ends, as RDS ends it.
pub fn apply_delete(seen: &mut Inventory, at: &Location, arn: &str) {
    if let Some(fleet) = seen.locations.get_mut(at) {
        fleet.points.retain(|p| p.arn != arn);
    }
    for point in seen.locations.values_mut().flat_map(|f| &mut f.points) {
        if point.state == RecoveryPointState::InFlight && point.source_arn.as_deref() == Some(arn) {
            point.state = RecoveryPointState::Failed("failed".into());
        }
    }
}

/// What is on its way comes to its end: good with the data of `now` (a copy: with its source's), or failed.
pub fn complete_in_flight(
    seen: &mut Inventory,
    now: Timestamp,
    mut good: impl FnMut(&RecoveryPoint) -> bool,
) {
    let times: BTreeMap<String, Option<Timestamp>> = seen
        .locations
        .values()
        .flat_map(|f| &f.points)
        .map(|p| (p.arn.clone(), p.data_time))
        .collect();
    for point in seen.locations.values_mut().flat_map(|f| &mut f.points) {
        if point.state != RecoveryPointState::InFlight {
            continue;
        }
        if good(point) {
            let source = point.tags.copy_of.as_ref();
            let time = source.map_or(Some(now), |arn| times.get(arn).copied().flatten());
            point.data_time = time.or(Some(now));
            point.state = RecoveryPointState::Good;
        } else {
            point.state = RecoveryPointState::Failed("failed".into());
        }
    }
}

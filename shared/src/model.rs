//! A small model of RDS for tests: facts with sensible defaults, and what a snapshot, a copy and a delete make of them.
//!
//! It is the reference of what should be true: property tests run any mix of runs, faults and clocks against it.

use crate::{
    aws::rds::Copy,
    catalog::{Database, Family, Fleet, Marks, Place, Point, Seen, State},
    policy::Policy,
};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// A policy from YAML that must be right.
///
/// # Panics
/// If it has faults.
pub fn policy(yaml: &str) -> Policy {
    Policy::parse(yaml).unwrap_or_else(|faults| panic!("{faults}"))
}

/// A time that must be right.
///
/// # Panics
/// If it is no timestamp.
pub fn at(time: &str) -> Timestamp {
    time.parse().unwrap_or_else(|e| panic!("{time}: {e}"))
}

/// An available PostgreSQL instance in two zones, made long ago, restorable up to `now`.
pub fn database(id: &str, now: Timestamp) -> Database {
    Database {
        id: id.into(),
        family: Family::Instance,
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
pub fn point(policy: &Policy, database: &Database, reason: &str, data_time: Timestamp) -> Point {
    let slot = crate::time::slot(data_time);
    let id = format!("{}-{reason}-{slot}", database.id);
    Point {
        arn: arn(&Place::home(policy), database.family, &id),
        id,
        database: database.id.clone(),
        resource_id: database.resource_id.clone(),
        family: database.family,
        automated: false,
        state: State::Good,
        data_time: Some(data_time),
        started: Some(data_time),
        size_gib: 20,
        encrypted: database.encrypted,
        kms_key: database.encrypted.then(|| "arn:aws:kms:eu-west-1:111122223333:key/home".into()),
        option_group: None,
        source_arn: None,
        marks: Marks {
            owner: Some(policy.owner()),
            resource_id: Some(database.resource_id.clone()),
            family: Some(database.family),
            reason: Some(reason.into()),
            slot: Some(slot),
            ..Marks::default()
        },
    }
}

/// A snapshot that RDS took by itself.
pub fn automated(policy: &Policy, database: &Database, data_time: Timestamp) -> Point {
    let mut point = point(policy, database, "automated", data_time);
    point.id = format!("rds:{}-{}", database.id, crate::time::slot(data_time));
    point.arn = arn(&Place::home(policy), database.family, &point.id);
    point.automated = true;
    point.marks = Marks::default();
    point
}

fn arn(place: &Place, family: Family, id: &str) -> String {
    let kind = match family {
        Family::Instance => "snapshot",
        Family::Cluster => "cluster-snapshot",
    };
    format!("arn:aws:rds:{}:{}:{kind}:{id}", place.region, place.account)
}

/// A cluster of that name.
pub fn cluster(id: &str, now: Timestamp) -> Database {
    let resource_id = format!("cluster-{id}");
    Database { family: Family::Cluster, resource_id, ..database(id, now) }
}

/// What is seen: `databases` and `points` at home, nothing at any destination.
pub fn seen(policy: &Policy, databases: Vec<Database>, points: Vec<Point>) -> Seen {
    let mut seen = Seen::default();
    for place in crate::observe::places(policy) {
        seen.places.insert(place, Fleet::default());
    }
    seen.places.insert(Place::home(policy), Fleet { databases, points });
    seen
}

/// The world after a snapshot was started: it is on its way, with the tags that it was given.
pub fn taken(
    seen: &mut Seen,
    policy: &Policy,
    (family, database): (Family, &str),
    id: &str,
    tags: &BTreeMap<String, String>,
) {
    let home = Place::home(policy);
    let fleet = seen.places.entry(home.clone()).or_default();
    if fleet.points.iter().any(|p| (p.family, p.id.as_str()) == (family, id)) {
        return; // RDS answers DBSnapshotAlreadyExists.
    }
    let found = fleet.databases.iter().find(|d| (d.family, d.id.as_str()) == (family, database));
    let Some(found) = found else { return };
    let mut point = point(policy, found, "any", Timestamp::UNIX_EPOCH);
    point.id = id.into();
    point.arn = arn(&home, family, id);
    point.state = State::InFlight;
    point.data_time = None;
    point.marks = Marks::from_tags(tags.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    fleet.points.push(point);
}

/// The world after a copy was started: it is on its way at its place. RDS refuses one whose source is gone.
pub fn copied(seen: &mut Seen, to: &Place, copy: &Copy) {
    let source =
        seen.places.values().flat_map(|f| &f.points).find(|p| p.arn == copy.source).cloned();
    let Some(source) = source else { return };
    let fleet = seen.places.entry(to.clone()).or_default();
    if fleet.points.iter().any(|p| (p.family, &p.id) == (source.family, &copy.id)) {
        return;
    }
    fleet.points.push(Point {
        id: copy.id.clone(),
        arn: arn(to, source.family, &copy.id),
        automated: false,
        state: State::InFlight,
        data_time: None,
        kms_key: copy.kms_key.clone().or(source.kms_key.clone()),
        source_arn: Some(source.arn.clone()),
        marks: Marks::from_tags(copy.tags.iter().map(|(k, v)| (k.as_str(), v.as_str()))),
        ..source
    });
}

/// The world after a point was deleted; a copy in flight from it ends, as RDS ends it.
pub fn deleted(seen: &mut Seen, at: &Place, arn: &str) {
    if let Some(fleet) = seen.places.get_mut(at) {
        fleet.points.retain(|p| p.arn != arn);
    }
    for point in seen.places.values_mut().flat_map(|f| &mut f.points) {
        if point.state == State::InFlight && point.source_arn.as_deref() == Some(arn) {
            point.state = State::Failed("failed".into());
        }
    }
}

/// What is on its way comes to its end: good with the data of `now` (a copy: with its source's), or failed.
pub fn settled(seen: &mut Seen, now: Timestamp, mut good: impl FnMut(&Point) -> bool) {
    let times: BTreeMap<String, Option<Timestamp>> = seen
        .places
        .values()
        .flat_map(|f| &f.points)
        .map(|p| (p.arn.clone(), p.data_time))
        .collect();
    for point in seen.places.values_mut().flat_map(|f| &mut f.points) {
        if point.state != State::InFlight {
            continue;
        }
        if good(point) {
            let source = point.marks.copy_of.as_ref();
            let time = source.map_or(Some(now), |arn| times.get(arn).copied().flatten());
            point.data_time = time.or(Some(now));
            point.state = State::Good;
        } else {
            point.state = State::Failed("failed".into());
        }
    }
}

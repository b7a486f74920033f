//! What calls to RDS do, and what RDS does by itself.

use super::{PendingEnd, World, without_roles};
use jiff::{SignedDuration, Timestamp};
use shared::{
    aws::{OperationErrorKind as Refusal, kms::KeyState, rds::SnapshotCopyRequest},
    catalog::{
        DatabaseKind, HoldfastTags, Location, RdsDatabase, RecoveryPoint, RecoveryPointState,
    },
    time::format_slot,
};
use std::collections::BTreeMap;

/// Copies in flight that RDS allows in one destination region.
/// <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Limits.html>
const MAX_COPIES_IN_FLIGHT: usize = 20;
/// Minutes that a snapshot takes, usually.
const SNAPSHOT_MINUTES: (i64, i64) = (4, 9);
/// Minutes that a copy takes, usually.
const COPY_MINUTES: (i64, i64) = (5, 14);
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A snapshot to be taken.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotOrder<'o> {
    /// Instance or cluster.
    pub kind: DatabaseKind,
    /// The database's name.
    pub database: &'o str,
    /// The snapshot's identifier.
    pub id: &'o str,
    /// Its tags.
    pub tags: &'o BTreeMap<String, String>,
}

fn snapshot_arn(at: &Location, kind: DatabaseKind, id: &str) -> String {
    let kind = match kind {
        DatabaseKind::Instance => "snapshot",
        DatabaseKind::Cluster => "cluster-snapshot",
    };
    format!("arn:aws:rds:{}:{}:{kind}:{id}", at.region, at.account)
}

fn tags_of(tags: &BTreeMap<String, String>) -> HoldfastTags {
    HoldfastTags::from_tags(tags.iter().map(|(k, v)| (k.as_str(), v.as_str())))
}

/// Another hour of every day for each database, within the first half hour of the window, so that not all begin at once.
fn automated_start(window: &str, index: usize) -> (i8, i8) {
    let (hour, minute) = (window.get(0..2), window.get(3..5));
    let read = |text: Option<&str>| text.and_then(|t| t.parse::<i8>().ok()).unwrap_or(0);
    let later = i8::try_from(index % 5).unwrap_or(0);
    (read(hour), (read(minute) + later).min(59))
}

impl World {
    /// Puts a database there, with its key and size; RDS takes its own snapshots from then on.
    pub fn add_database(&mut self, at: &Location, database: RdsDatabase, key: &str, gib: f64) {
        let resource_id = database.resource_id.clone();
        let (index, window) = (self.at_mut(at).databases.len(), database.window.clone());
        let automated = database.retention_days > 0;
        self.key_of.insert(resource_id.clone(), key.to_owned());
        self.size_of.insert(resource_id.clone(), gib);
        self.at_mut(at).databases.push(database);
        self.mark_changed(at);
        if automated {
            let (hour, minute) = automated_start(&window, index);
            let today = self.now.to_zoned(jiff::tz::TimeZone::UTC);
            let start = today.date().at(hour, minute, 0, 0).to_zoned(jiff::tz::TimeZone::UTC);
            let start = start.map_or(self.now, |z| z.timestamp());
            let start = if start > self.now { start } else { start + DAY };
            self.end_at(start, PendingEnd::Automated { at: without_roles(at), resource_id });
        }
    }

    /// `CreateDBSnapshot`.
    ///
    /// # Errors
    /// As RDS refuses.
    pub fn create_snapshot(
        &mut self,
        at: &Location,
        order: &SnapshotOrder<'_>,
    ) -> Result<(), Refusal> {
        let fleet = self.at(at).ok_or(Refusal::Missing)?;
        let named = |d: &&RdsDatabase| d.family == order.kind && d.id == order.database;
        let database = fleet.databases.iter().find(named).ok_or(Refusal::Missing)?;
        if !matches!(database.status.as_str(), "available" | "storage-optimization") {
            return Err(Refusal::Busy);
        }
        if fleet.points.iter().any(|p| p.kind == order.kind && p.id == order.id) {
            return Err(Refusal::Exists);
        }
        if fleet.manual_count(order.kind) >= fleet.quota {
            return Err(Refusal::Quota);
        }
        let resource_id = database.resource_id.clone();
        let point = self.new_point(at, &database.clone(), order.id, tags_of(order.tags));
        let usable = self.is_usable(point.kms_key.as_deref());
        let good = !self.random.percent(self.pace.failing_snapshots) && usable;
        self.begin(at, point, SNAPSHOT_MINUTES, good);
        if order.kind == DatabaseKind::Instance {
            self.occupy(at, &resource_id);
        }
        Ok(())
    }

    /// A point of a database that begins now.
    fn new_point(
        &self,
        at: &Location,
        database: &RdsDatabase,
        id: &str,
        tags: HoldfastTags,
    ) -> RecoveryPoint {
        let gib = self.size_of.get(&database.resource_id).copied().unwrap_or(20.0);
        #[expect(clippy::cast_possible_truncation, reason = "RDS has at most 64 TiB")]
        let size_gib = gib.ceil() as i32;
        RecoveryPoint {
            arn: snapshot_arn(at, database.family, id),
            id: id.to_owned(),
            database: database.id.clone(),
            resource_id: database.resource_id.clone(),
            kind: database.family,
            automated: false,
            state: RecoveryPointState::InFlight,
            data_time: None,
            started: Some(self.now),
            size_gib,
            encrypted: database.encrypted,
            kms_key: self.key_of.get(&database.resource_id).cloned().filter(|_| database.encrypted),
            option_group: None,
            source_arn: None,
            tags,
        }
    }

    fn begin(&mut self, at: &Location, point: RecoveryPoint, usual: (i64, i64), good: bool) {
        let end = self.now + self.minutes(usual);
        let arn = point.arn.clone();
        self.at_mut(at).points.push(point);
        self.mark_changed(at);
        self.end_at(end, PendingEnd::Point { at: without_roles(at), arn, good });
    }

    /// An instance is backing up for some minutes, and takes no other snapshot.
    fn occupy(&mut self, at: &Location, resource_id: &str) {
        self.set_status(at, resource_id, "backing-up");
        let end = self.now + SignedDuration::from_mins(3);
        let resource_id = resource_id.to_owned();
        self.end_at(end, PendingEnd::Available { at: without_roles(at), resource_id });
    }

    /// Whether a key can encrypt and decrypt.
    pub fn is_usable(&self, key: Option<&str>) -> bool {
        key.is_none_or(|k| self.keys.get(k).is_none_or(|state| *state == KeyState::Usable))
    }

    /// `CopyDBSnapshot`, made at its destination.
    ///
    /// # Errors
    /// As RDS refuses.
    pub fn copy_snapshot(
        &mut self,
        to: &Location,
        order: &SnapshotCopyRequest,
    ) -> Result<(), Refusal> {
        let source =
            self.locations.values().flat_map(|f| &f.points).find(|p| p.arn == order.source_arn);
        let source = source.cloned().ok_or(Refusal::Missing)?;
        if !source.is_complete() {
            return Err(Refusal::Busy);
        }
        let fleet = self.at_mut(to);
        if fleet.points.iter().any(|p| p.kind == source.kind && p.id == order.id) {
            return Err(Refusal::Exists);
        }
        let in_flight = |p: &&RecoveryPoint| p.state == RecoveryPointState::InFlight;
        if fleet.manual_count(source.kind) >= fleet.quota
            || fleet.points.iter().filter(in_flight).count() >= MAX_COPIES_IN_FLIGHT
        {
            return Err(Refusal::Quota);
        }
        let key = order.kms_key.clone().or(source.kms_key.clone());
        if !self.is_usable(source.kms_key.as_deref()) || !self.is_usable(key.as_deref()) {
            return Err(Refusal::Key);
        }
        let good = !self.random.percent(self.pace.failing_copies);
        let point = RecoveryPoint {
            id: order.id.clone(),
            arn: snapshot_arn(to, source.kind, &order.id),
            automated: false,
            state: RecoveryPointState::InFlight,
            data_time: None,
            started: Some(self.now),
            kms_key: key.filter(|_| source.encrypted || order.kms_key.is_some()),
            encrypted: source.encrypted || order.kms_key.is_some(),
            source_arn: Some(source.arn.clone()),
            option_group: order.option_group.clone(),
            tags: tags_of(&order.tags),
            ..source
        };
        self.begin(to, point, COPY_MINUTES, good);
        Ok(())
    }

    /// `ModifyDBSnapshotAttribute`: shares a snapshot with another account.
    ///
    /// # Errors
    /// Of an automated one, and of one under a key of AWS's own.
    pub fn share_snapshot(&self, at: &Location, id: &str) -> Result<(), Refusal> {
        let point = self.at(at).and_then(|f| f.points.iter().find(|p| p.id == id));
        let point = point.ok_or(Refusal::Missing)?;
        let managed = point.kms_key.as_ref().is_some_and(|k| self.aws_managed.contains(k));
        if point.automated || managed { Err(Refusal::Refused) } else { Ok(()) }
    }

    /// `DeleteDBSnapshot`. A copy in flight from it ends, as RDS ends it.
    ///
    /// # Errors
    /// When it is not there.
    pub fn delete_snapshot(&mut self, at: &Location, arn: &str) -> Result<(), Refusal> {
        let fleet = self.at_mut(at);
        let before = fleet.points.len();
        fleet.points.retain(|p| p.arn != arn);
        if fleet.points.len() == before {
            return Err(Refusal::Missing);
        }
        self.mark_changed(at);
        self.ends.retain(|_, end| !matches!(end, PendingEnd::Point { arn: of, .. } if of == arn));
        let mut ended = Vec::new();
        for (location, fleet) in &mut self.locations {
            for point in &mut fleet.points {
                if point.state == RecoveryPointState::InFlight
                    && point.source_arn.as_deref() == Some(arn)
                {
                    point.state = RecoveryPointState::Failed("failed".into());
                    ended.push(location.clone());
                }
            }
        }
        for location in &ended {
            self.mark_changed(location);
        }
        Ok(())
    }

    pub(super) fn complete_point(&mut self, at: &Location, arn: &str, good: bool) {
        let found = self.at(at).and_then(|f| f.points.iter().find(|p| p.arn == arn));
        let Some(point) = found.filter(|p| p.state == RecoveryPointState::InFlight) else { return };
        let source_time = self.data_time_of_source(point);
        let began = point.started.unwrap_or(self.now);
        let point = self.at_mut(at).points.iter_mut().find(|p| p.arn == arn).expect("just found");
        if good {
            point.state = RecoveryPointState::Good;
            point.data_time = source_time.or(Some(began + SignedDuration::from_secs(20)));
            self.completed.push((at.clone(), arn.to_owned()));
        } else {
            point.state = RecoveryPointState::Failed("failed".into());
        }
        self.mark_changed(at);
    }

    /// The time of the data that a copy gets: what RDS tells of the original, or what its maker wrote on it.
    fn data_time_of_source(&self, copy: &RecoveryPoint) -> Option<Timestamp> {
        let source = copy.source_arn.as_deref()?;
        let all = self.locations.values().flat_map(|f| &f.points);
        let found = all.filter(|p| p.arn == source).find_map(|p| p.data_time);
        copy.tags.data_time.or(found)
    }

    pub(super) fn set_status(&mut self, at: &Location, resource_id: &str, status: &str) {
        let of = |d: &&mut RdsDatabase| d.resource_id == resource_id;
        if let Some(database) = self.at_mut(at).databases.iter_mut().find(of) {
            // What a person stopped stays so.
            if database.status == "backing-up" || database.status == "available" {
                status.clone_into(&mut database.status);
                self.mark_changed(at);
            }
        }
    }

    /// RDS's own daily snapshot of a database, and the end of those that are older than its retention.
    pub(super) fn take_automated(&mut self, at: &Location, resource_id: &str) {
        let found =
            self.at(at).and_then(|f| f.databases.iter().find(|d| d.resource_id == resource_id));
        let Some(database) = found.cloned() else { return };
        let next = self.now + DAY;
        let again = PendingEnd::Automated { at: at.clone(), resource_id: resource_id.to_owned() };
        self.end_at(next, again);
        let days = i64::from(database.retention_days);
        let gone = self.now - SignedDuration::from_hours(24 * days);
        let old = |p: &RecoveryPoint| {
            p.automated && p.resource_id == resource_id && p.data_time.is_none_or(|t| t < gone)
        };
        let old: Vec<String> =
            self.at_mut(at).points.iter().filter(|p| old(p)).map(|p| p.arn.clone()).collect();
        for arn in old {
            let _ = self.delete_snapshot(at, &arn);
        }
        if database.status != "available" || days == 0 {
            return;
        }
        if let Some(size) = self.size_of.get_mut(resource_id) {
            *size *= 1.0005;
        }
        let id = format!("rds:{}-{}", database.id, format_slot(self.now));
        let taken = |p: &RecoveryPoint| p.id == id && p.kind == database.family;
        if !self.at(at).is_some_and(|f| f.points.iter().any(taken)) {
            let mut point = self.new_point(at, &database, &id, HoldfastTags::default());
            point.automated = true;
            let good = self.is_usable(point.kms_key.as_deref());
            self.begin(at, point, SNAPSHOT_MINUTES, good);
        }
        if database.family == DatabaseKind::Instance {
            self.occupy(at, resource_id);
        }
    }
}

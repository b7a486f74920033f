//! What is noted while a forecast is played.

use super::{
    AgeForecast, FindingForecast, Forecast, ForecastRequest, MessageForecast, MonthlySize,
    PlaceForecast, PointForecast,
};
use crate::{
    functions::{DoneKind, FunctionKind, FunctionRun},
    policies::SimulatedPolicy,
    simulation::{Observer, Simulation},
    world::{DEFAULT_SNAPSHOT_QUOTA, World, store_address, without_roles},
};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use shared::{
    catalog::{DatabaseKind, Location, RecoveryPoint},
    plan::{Finding, FindingCode},
    policy::{Policy, evaluate_selector},
};
use std::collections::{BTreeMap, BTreeSet};
use storage::StoredBackup;

/// What is found in the first days is the beginning: nothing is there yet.
pub const FIRST_DAYS: i64 = 3;

/// The day of a time, in UTC.
pub(super) fn day_of(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// A kind of point: group, asset, reason, place.
type PointKey = (String, String, String, String);

#[derive(Clone, Debug, Default)]
struct PointCount {
    made: usize,
    deleted: usize,
    most: usize,
    at_end: usize,
    oldest: Option<Timestamp>,
}

#[derive(Clone, Debug, Default)]
struct PlaceCount {
    most: usize,
    quota: Option<usize>,
    quota_reached_on: Option<Date>,
    months: BTreeMap<String, f64>,
}

type FindingKey = (FindingCode, Option<String>, String);

#[derive(Clone, Debug)]
struct FindingDays {
    first: Finding,
    days: BTreeSet<Date>,
}

/// Group, asset, place.
type AgeKey = (String, String, String);

/// The newest data of each asset at each place, and the oldest that it became.
#[derive(Debug, Default)]
struct NewestAges {
    newest: BTreeMap<AgeKey, Timestamp>,
    worst: BTreeMap<AgeKey, (i64, Timestamp)>,
}

impl NewestAges {
    /// A point of this time is there.
    fn note(&mut self, key: AgeKey, data: Timestamp, now: Timestamp) {
        if let Some(before) = self.newest.get(&key) {
            let old = now.duration_since(*before).as_secs();
            let worst = self.worst.entry(key.clone()).or_insert((old, now));
            if old > worst.0 {
                *worst = (old, now);
            }
        }
        let newest = self.newest.entry(key).or_insert(data);
        *newest = (*newest).max(data);
    }
}

/// Takes note of what happens.
#[derive(Debug)]
pub(super) struct Recorder {
    policy: Policy,
    locations: Vec<Location>,
    request: ForecastRequest,
    day: Option<Date>,
    /// Every point that was seen, so that each is counted once.
    seen: BTreeMap<PointKey, BTreeSet<String>>,
    points: BTreeMap<PointKey, PointCount>,
    places: BTreeMap<String, PlaceCount>,
    ages: NewestAges,
    findings: BTreeMap<String, (FindingKey, FindingDays)>,
}

impl Recorder {
    pub(super) fn new(policy: &SimulatedPolicy, request: &ForecastRequest) -> Self {
        Self {
            policy: policy.policy.clone(),
            locations: policy.bare_locations.clone(),
            request: request.clone(),
            day: None,
            seen: BTreeMap::new(),
            points: BTreeMap::new(),
            places: BTreeMap::new(),
            ages: NewestAges::default(),
            findings: BTreeMap::new(),
        }
    }

    /// The group that a database belongs to.
    fn group_of(&self, database: &str) -> String {
        let selects = self.policy.databases.iter().find(|(_, group)| {
            evaluate_selector(&group.select, database, &group.select.tags).is_ok()
        });
        selects.map_or_else(String::new, |(name, _)| name.to_string())
    }

    /// Counts what lies where, once a day and at the end.
    fn count(&mut self, world: &World) {
        let now = world.now;
        let mut there: BTreeMap<PointKey, BTreeMap<String, Timestamp>> = BTreeMap::new();
        let mut sizes: BTreeMap<String, (usize, f64)> = BTreeMap::new();
        for location in &self.locations {
            let Some(fleet) = world.at(location) else { continue };
            let place = location.to_string();
            let kinds = [DatabaseKind::Instance, DatabaseKind::Cluster];
            let manual = kinds.map(|k| fleet.manual_count(k)).into_iter().max().unwrap_or(0);
            let entry = self.places.entry(place.clone()).or_default();
            entry.quota = Some(DEFAULT_SNAPSHOT_QUOTA);
            if manual > DEFAULT_SNAPSHOT_QUOTA && entry.quota_reached_on.is_none() {
                entry.quota_reached_on = Some(day_of(now));
            }
            let size = sizes.entry(place.clone()).or_default();
            for point in fleet.points.iter().filter(|p| p.is_complete() && !p.automated) {
                size.0 += 1;
                size.1 += f64::from(point.size_gib);
                let data = point.intended_time().unwrap_or(now);
                let key = self.key_of(point, &place);
                there.entry(key).or_default().insert(point.arn.clone(), data);
            }
        }
        for (name, group) in &self.policy.postgres {
            for config in storage::place::store_configs(group) {
                let place = store_address(config);
                let Some(store) = world.stores.get(&place) else { continue };
                let size = sizes.entry(place.clone()).or_default();
                for (database, backup) in
                    store.backups.iter().flat_map(|(d, all)| all.iter().map(move |b| (d, b)))
                {
                    size.0 += 1;
                    size.1 += gibibytes(backup.size);
                    let key =
                        (name.to_string(), database.clone(), reason_of(backup), place.clone());
                    let data = backup.data_time().unwrap_or(now);
                    there.entry(key).or_default().insert(backup.key.clone(), data);
                }
            }
        }
        for (place, (count, gib)) in sizes {
            let entry = self.places.entry(place).or_default();
            entry.most = entry.most.max(count);
            let month = now.to_zoned(TimeZone::UTC).strftime("%Y-%m").to_string();
            entry.months.insert(month, gib);
        }
        for count in self.points.values_mut() {
            (count.at_end, count.oldest) = (0, None);
        }
        for (key, points) in there {
            let seen = self.seen.entry(key.clone()).or_default();
            let before = seen.len();
            seen.extend(points.keys().cloned());
            let count = self.points.entry(key).or_default();
            count.made += seen.len() - before;
            count.at_end = points.len();
            count.most = count.most.max(points.len());
            count.oldest = points.values().min().copied();
        }
        for count in self.points.values_mut() {
            count.deleted = count.made - count.at_end;
        }
    }

    fn key_of(&self, point: &RecoveryPoint, place: &str) -> PointKey {
        let (database, reason) = (point.database.clone(), point.reason().to_owned());
        (self.group_of(&database), database, reason, place.to_owned())
    }

    /// What there is to say at the end.
    pub(super) fn finish(mut self, simulation: &Simulation, assumptions: Vec<String>) -> Forecast {
        self.count(&simulation.world);
        let now = simulation.world.now;
        let points = self.points.into_iter().map(|((group, asset, reason, place), c)| {
            let oldest_seconds = c.oldest.map(|at| now.duration_since(at).as_secs());
            let PointCount { made, deleted, most, at_end, .. } = c;
            PointForecast {
                group,
                asset,
                reason,
                place,
                made,
                deleted,
                most,
                at_end,
                oldest_seconds,
            }
        });
        let ages = self.ages.worst.into_iter().map(
            |((group, asset, place), (worst_seconds, worst_at))| AgeForecast {
                group,
                asset,
                place,
                worst_seconds,
                worst_at,
            },
        );
        let places = self.places.into_iter().map(|(place, c)| PlaceForecast {
            place,
            most: c.most,
            quota: c.quota,
            quota_reached_on: c.quota_reached_on,
            gib_by_month: c
                .months
                .into_iter()
                .map(|(month, gib)| MonthlySize { month, gib })
                .collect(),
        });
        let findings = self.findings.into_values().filter_map(|((code, group, asset), of)| {
            let (first, last) = (*of.days.first()?, *of.days.last()?);
            let Finding { severity, message, .. } = of.first;
            Some(FindingForecast {
                severity,
                code,
                group,
                asset,
                message,
                first,
                last,
                days: of.days.len(),
            })
        });
        let mut messages: BTreeMap<_, usize> = BTreeMap::new();
        for message in simulation.notifiers.iter().flat_map(|n| &n.sent) {
            *messages.entry((message.channel.clone(), message.severity)).or_default() += 1;
        }
        let messages = messages.into_iter();
        Forecast {
            start: self.request.start,
            days: self.request.days,
            runs: simulation.runs,
            assumptions,
            points: points.collect(),
            ages: ages.collect(),
            places: places.collect(),
            findings: findings.collect(),
            messages: messages
                .map(|((channel, severity), count)| MessageForecast { channel, severity, count })
                .collect(),
        }
    }
}

fn reason_of(backup: &StoredBackup) -> String {
    backup.committed_manifest().map_or_else(String::new, |m| m.reason.clone())
}

#[expect(clippy::cast_precision_loss, reason = "a size for people")]
fn gibibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

impl Observer for Recorder {
    fn after_run(
        &mut self,
        simulation: &Simulation,
        _: usize,
        function: FunctionKind,
        run: &FunctionRun,
    ) {
        let now = simulation.world.now;
        let day = day_of(now);
        // What is deleted and made on the same day would not be seen by counting once a day.
        let is_changed = !run.done.is_empty() && function == FunctionKind::Retention;
        if self.day != Some(day) || is_changed {
            self.day = Some(day);
            self.count(&simulation.world);
        }
        for finding in &run.findings {
            let key = (finding.code, finding.group.clone(), finding.asset.clone());
            let text = format!("{:?} {} {:?} {}", finding.severity, key.0, key.1, key.2);
            let (_, of) = self.findings.entry(text).or_insert_with(|| {
                (key, FindingDays { first: finding.clone(), days: BTreeSet::new() })
            });
            of.days.insert(day);
        }
        if function == FunctionKind::Dump {
            self.note_dumps(&simulation.world, run);
        }
    }

    fn after_completion(&mut self, simulation: &Simulation, location: &Location, arn: &str) {
        let fleet = simulation.world.at(location);
        let Some(point) = fleet.and_then(|f| f.points.iter().find(|p| p.arn == arn)) else {
            return;
        };
        let Some(data) = point.data_time else { return };
        let place = without_roles(location).to_string();
        let key = (self.group_of(&point.database), point.database.clone(), place);
        let now = simulation.world.now;
        self.ages.note(key, data, now);
    }
}

impl Recorder {
    /// Dumps are there as soon as they are done: their data is of that moment, or of that of the dump that is copied.
    fn note_dumps(&mut self, world: &World, run: &FunctionRun) {
        let is_new = |kind| matches!(kind, DoneKind::Dump | DoneKind::Copy);
        if !run.done.iter().any(|done| is_new(done.kind)) {
            return;
        }
        for (name, group) in &self.policy.postgres {
            for config in storage::place::store_configs(group) {
                let place = store_address(config);
                let Some(store) = world.stores.get(&place) else { continue };
                for (database, all) in &store.backups {
                    let Some(data) = all.iter().filter_map(StoredBackup::data_time).max() else {
                        continue;
                    };
                    let key = (name.to_string(), database.clone(), place.clone());
                    if self.ages.newest.get(&key) != Some(&data) {
                        self.ages.note(key, data, world.now);
                    }
                }
            }
        }
    }
}

//! Points that lie as objects or files: dumps, RDB files, exports. What is looked for, and what is kept of a listing.

use super::data_age;
use jiff::{
    SignedDuration, Timestamp,
    civil::DateTime,
    fmt::strtime::BrokenDownTime,
    tz::{Offset, TimeZone},
};
use shared::{
    objective::AgeObjective,
    parts::postgres_assets,
    policy::{
        AssetObjectives, DumpFormat, DumpRule, Policy, PostgresGroup, RetentionRule,
        ScheduleConfig, StoreConfig,
        text::{Name, ZoneName},
    },
};
use std::collections::BTreeMap;

/// Where one asset's points lie, and what is asked of them.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "facts that have nothing to do with each other")]
pub struct ObjectAsset {
    /// The group.
    pub group: String,
    /// The asset: a database of the group, or the group itself.
    pub asset: String,
    /// Bucket on AWS; empty where it is `elsewhere`.
    pub bucket: String,
    /// What the policy says of the place.
    pub store: Box<StoreConfig>,
    /// The bucket's region, when it is not the home region.
    pub region: Option<String>,
    /// Keys begin with this.
    pub prefix: String,
    /// Keys end with this.
    pub suffix: String,
    /// The whole key's form, with strftime fields.
    pub key_template: Option<String>,
    /// Whether only keys of that form are this asset's, because other assets' lie beside them.
    pub template_required: bool,
    /// Whether Holdfast makes the group's dumps: they count by their commit records, which somebody who knows the store
    /// reads, never by a listing.
    pub committed: bool,
    /// What is asked of them.
    pub objectives: AssetObjectives,
    /// When points are made.
    pub schedules: Vec<PointSchedule>,
    /// Time zone of schedules that name none.
    pub zone: ZoneName,
    /// Whether the listing was read to its end.
    pub observed: bool,
    /// Why it was not, and what to do, where nothing else says so.
    pub unobserved_reason: Option<(String, String)>,
    /// It was not read because only another host can: nothing follows from that.
    pub on_other_host: bool,
    /// Good points that were found, those beyond the newest counted too.
    pub count: usize,
    /// Files that count as no point because they are dated in the future: how many.
    pub future: usize,
    /// The key of the first of them.
    pub dated_ahead: Option<String>,
    /// Files that count as no point: their key, and what is wrong with them.
    pub faulty: Vec<(String, String)>,
    /// The newest point against the checksum beside it, where somebody looked.
    pub checksum: Option<ChecksumStatus>,
    /// Free bytes on the disk that it lies on.
    pub free: Option<u64>,
    /// Second places.
    pub copies: Vec<ObjectAsset>,
    /// The newest points that count for the objective, newest first.
    pub newest: Vec<ObjectRecoveryPoint>,
    /// Time of the newest data by reason, of points that do not count for the objective too.
    pub by_reason: BTreeMap<String, Timestamp>,
}

/// When points of an asset are made.
#[derive(Clone, Debug)]
pub struct PointSchedule {
    /// For which reason; none where nothing tells reasons apart.
    pub reason: Option<String>,
    /// At which times.
    pub when: ScheduleConfig,
    /// Whether these points count for the objective.
    pub counts_for_objective: bool,
    /// What keeps them, where a rule does: a slot whose point it no longer keeps was not missed.
    pub keep: Option<RetentionRule>,
}

/// A point's file against the checksum beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumStatus {
    /// They agree.
    Matches,
    /// They do not.
    Differs,
    /// None lies beside it.
    Missing,
}

/// One object that is a recovery point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRecoveryPoint {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// The latest time that its data can be of.
    pub at: Timestamp,
    /// Why it was made, where that is known: sizes are compared among points of one reason.
    pub reason: Option<String>,
}

/// The offset of the zone whose clocks are farthest ahead: Kiribati's Line Islands.
const FARTHEST_AHEAD: Offset = Offset::constant(14);

/// So many objects before the newest are compared with it.
const MAX_COMPARED_POINTS: usize = 7;

/// Every asset of the policy whose points lie as objects or files. Where records or keys tell databases apart, each is an
/// asset of its own: one fresh dump must not hide seven stale ones.
///
/// Of a group that means all databases, those in `databases`; while nothing is known, the group itself.
pub fn object_assets(
    policy: &Policy,
    databases: &BTreeMap<&Name, Vec<String>>,
) -> Vec<ObjectAsset> {
    let zone = &policy.time_zone;
    let known = |name| databases.get(name).map_or(&[][..], Vec::as_slice);
    let mut all: Vec<ObjectAsset> = policy
        .stored_groups()
        .flat_map(|(name, group)| dump_assets(name, group, known(name), zone))
        .collect();
    // Where Holdfast takes RDB files, they are stored with records, as dumps are.
    let watched = policy.redis.iter().filter(|(_, g)| g.address.is_none());
    let redis = watched.map(|(n, g)| (n, &g.storage, &g.objectives, &g.schedule, &[][..]));
    let cluster = policy.kubernetes.iter();
    let cluster = cluster.map(|(n, g)| (n, &g.storage, &g.objectives, &g.schedule, &[][..]));
    let files = policy.files.iter();
    let files = files.map(|(n, g)| (n, &g.storage, &g.objectives, &g.schedule, &g.copies[..]));
    for (name, store, objectives, when, also) in redis.chain(cluster).chain(files) {
        let schedules =
            when.iter().map(|when| PointSchedule::for_all_points(when.clone())).collect();
        let first = build_asset(name, store, objectives, None, schedules, zone);
        let copies = also.iter().map(|s| build_asset(name, s, objectives, None, Vec::new(), zone));
        all.push(ObjectAsset { copies: copies.collect(), ..first });
    }
    all
}

impl PointSchedule {
    fn for_all_points(when: ScheduleConfig) -> Self {
        Self { reason: None, when, counts_for_objective: true, keep: None }
    }
}

/// Whether dumps of this reason count for the objective, as far as the policy tells: what holds some tables is another kind
/// of point while there are whole ones. Of a dump that is there, its record tells.
fn counts_for_objective(group: &PostgresGroup, dump: &DumpRule) -> bool {
    dump.is_whole() || !group.takes_whole_dumps()
}

/// The assets of a group of dumps, each with its second places: those of `databases`, or what the policy names.
fn dump_assets(
    name: &Name,
    group: &PostgresGroup,
    databases: &[String],
    zone: &ZoneName,
) -> Vec<ObjectAsset> {
    // Base backups are not taken yet, which is a row of its own.
    let taken = group.dumps.iter().filter(|(_, d)| d.format != DumpFormat::Base);
    let taken = taken.filter_map(|(reason, dump)| {
        let (reason, when) = (reason.to_string(), dump.schedule.clone()?);
        let whole = counts_for_objective(group, dump);
        let keep = Some(dump.keep.clone());
        Some(PointSchedule { reason: Some(reason), when, counts_for_objective: whole, keep })
    });
    let schedules: Vec<_> = taken.collect();
    let place = |store: &StoreConfig, database: Option<&str>, schedules: Vec<PointSchedule>| {
        let stored = build_asset(name, store, &group.objectives, database, schedules, zone);
        ObjectAsset { committed: !group.dumps.is_empty(), ..stored }
    };
    let named: Vec<Option<&str>> = match databases {
        [] => postgres_assets(group),
        known => known.iter().map(|d| Some(d.as_str())).collect(),
    };
    let assets = named.into_iter().map(|database| {
        let also = group.copies.iter();
        let copies = also.map(|store| place(store, database, Vec::new())).collect();
        ObjectAsset { copies, ..place(&group.storage, database, schedules.clone()) }
    });
    assets.collect()
}

fn build_asset(
    name: &Name,
    store: &StoreConfig,
    objectives: &AssetObjectives,
    database: Option<&str>,
    schedules: Vec<PointSchedule>,
    zone: &ZoneName,
) -> ObjectAsset {
    let bucket = store.bucket.as_ref().filter(|_| !store.is_outside_aws());
    let key = store.key.clone().map(|k| k.replace("{database}", database.unwrap_or("{database}")));
    // What is fixed at the key's begin narrows the listing to this asset.
    let fixed = key.as_deref().map_or("", |k| k.split(['%', '{']).next().unwrap_or_default());
    let fixed = if database.is_some() { fixed } else { "" };
    ObjectAsset {
        group: name.to_string(),
        asset: database.map_or_else(|| name.to_string(), str::to_owned),
        bucket: bucket.map(ToString::to_string).unwrap_or_default(),
        store: Box::new(store.clone()),
        region: store.region.as_ref().map(ToString::to_string),
        prefix: format!("{}{fixed}", store.prefix),
        suffix: store.suffix.clone(),
        key_template: key.as_deref().map(|k| format!("{}{k}", store.prefix.replace('%', "%%"))),
        template_required: database.is_some(),
        committed: false,
        objectives: objectives.clone(),
        schedules,
        zone: zone.clone(),
        observed: true,
        unobserved_reason: None,
        on_other_host: false,
        count: 0,
        future: 0,
        dated_ahead: None,
        faulty: Vec::new(),
        checksum: None,
        free: None,
        copies: Vec::new(),
        newest: Vec::new(),
        by_reason: BTreeMap::new(),
    }
}

impl ObjectAsset {
    /// How old its newest point may be at `now`, written or derived.
    pub fn objective(&self, now: Timestamp) -> Option<AgeObjective> {
        let whens = self.schedules.iter().filter(|s| s.counts_for_objective).map(|s| &s.when);
        AgeObjective::from_schedules(self.objectives.max_age.as_ref(), whens, &self.zone, now)
    }

    /// Takes note of an object, if it is one of the asset's points. Memory is that of the few newest.
    ///
    /// Of files that others make, nothing but their names and the store's times is known, and who may add files chooses the
    /// names. One that is dated in the future can be no backup of that time, so it is none.
    pub fn add_object(&mut self, key: &str, size: u64, modified: Timestamp, now: Timestamp) {
        let ours = key.starts_with(&self.prefix) && key.ends_with(&self.suffix);
        if !ours || key.ends_with('/') {
            return;
        }
        let read = self.key_template.as_deref().and_then(|form| parse_key(form, key));
        if read.is_none() && self.template_required {
            return; // Another database's, or nothing that the policy speaks of.
        }
        // A copy of an old dump has a young object; the time in its name tells its data's age.
        let named = read.as_ref();
        let at = named.and_then(latest_possible_time).map_or(modified, |named| named.min(modified));
        let named = named.and_then(earliest);
        if [Some(modified), named].into_iter().flatten().any(|t| data_age(t, now).is_none()) {
            self.future += 1;
            self.dated_ahead.get_or_insert_with(|| key.to_owned());
            return;
        }
        self.add_point(ObjectRecoveryPoint { key: key.to_owned(), size, at, reason: None });
    }

    /// Takes note of a good point.
    pub fn add_point(&mut self, point: ObjectRecoveryPoint) {
        self.count_point(&point);
        self.newest.push(point);
        self.newest.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| b.key.cmp(&a.key)));
        self.newest.truncate(MAX_COMPARED_POINTS + 1);
    }

    /// Takes note of a good point that does not count for the objective.
    pub fn count_point(&mut self, point: &ObjectRecoveryPoint) {
        self.count += 1;
        if let Some(reason) = &point.reason {
            let newest = self.by_reason.entry(reason.clone()).or_insert(point.at);
            *newest = point.at.max(*newest);
        }
    }

    /// What lies there can't be told whole, so nothing is concluded from what was seen of it.
    pub fn mark_unobserved(&mut self) {
        self.observed = false;
        self.newest.clear();
        (self.count, self.future, self.dated_ahead) = (0, 0, None);
    }

    /// Where its points lie, for people: `s3://bucket/prefix`, `/var/backups/orders`.
    pub fn display_location(&self) -> String {
        let store = &self.store;
        if !store.is_outside_aws() {
            return format!("s3://{}/{}", self.bucket, self.prefix);
        }
        match (&store.directory, &store.azure, &store.bucket) {
            (Some(directory), ..) => format!("{}/{}", directory.trim_end_matches('/'), self.prefix),
            (_, Some(azure), _) => {
                format!("azure://{}/{}/{}", azure.account, azure.container, self.prefix)
            }
            (_, _, bucket) => {
                let bucket = bucket.as_ref().map(ToString::to_string).unwrap_or_default();
                let endpoint = store.endpoint.as_deref().unwrap_or_default();
                format!("s3://{bucket}/{} at {endpoint}", self.prefix)
            }
        }
    }
}

/// A key read by its form: strftime fields, and placeholders such as `{reason}` for any text without a slash. What
/// follows the form's end is free.
fn parse_key(form: &str, key: &str) -> Option<BrokenDownTime> {
    let Some((head, rest)) = form.split_once('{') else {
        return BrokenDownTime::parse_prefix(form, key).ok().map(|(read, _)| read);
    };
    let (_, tail) = rest.split_once('}')?;
    let (_, at) = BrokenDownTime::parse_prefix(head, key).ok()?;
    let free = key.get(at..)?.split('/').next()?;
    let ends =
        free.char_indices().map(|(i, _)| i).skip(1).chain([free.len()]).filter(|end| *end > 0);
    let mut forms =
        ends.map(|end| format!("{head}{}{tail}", free[..end].replace('%', "%%").replace('{', "?")));
    forms.find_map(|form| parse_key(&form, key))
}

/// The latest time that the key's own time can mean: of a date alone, the end of the day.
fn latest_possible_time(read: &BrokenDownTime) -> Option<Timestamp> {
    let zone = read.offset().map_or(TimeZone::UTC, TimeZone::fixed);
    civil(read)?.1.to_zoned(zone).ok().map(|z| z.timestamp())
}

/// The earliest time that it can mean: where it has no offset, in the zone that is farthest ahead.
fn earliest(read: &BrokenDownTime) -> Option<Timestamp> {
    let zone = read.offset().map_or_else(|| TimeZone::fixed(FARTHEST_AHEAD), TimeZone::fixed);
    civil(read)?.0.to_zoned(zone).ok().map(|z| z.timestamp())
}

/// The first and the last civil time that it can mean.
fn civil(read: &BrokenDownTime) -> Option<(DateTime, DateTime)> {
    if read.hour().is_some() {
        let exact = read.to_datetime().ok()?;
        return Some((exact, exact));
    }
    let day = DateTime::from(read.to_date().ok()?);
    Some((day, day.checked_add(SignedDuration::from_hours(24)).ok()?))
}

//! Points that lie as objects: dumps, RDB files, exports. Judged by the newest object of each asset.

use super::{Judged, age};
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use shared::{
    plan::Severity,
    policy::{Objectives, Policy, Store, text::Name},
    time::human,
};

/// Where one asset's points lie, and what is asked of them.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The group.
    pub group: String,
    /// The asset: a database of the group, or the group itself.
    pub asset: String,
    /// Bucket.
    pub bucket: String,
    /// The bucket's region, when it is not the home region.
    pub region: Option<String>,
    /// Keys begin with this.
    pub prefix: String,
    /// Keys end with this.
    pub suffix: String,
    /// The rest of the key's form behind the prefix, with strftime fields.
    pub form: Option<String>,
    /// What is asked of them.
    pub objectives: Objectives,
    /// The newest objects that were found, newest first, a few.
    pub newest: Vec<StoredPoint>,
}

/// One object that is a recovery point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPoint {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// The latest time that its data can be of.
    pub at: Timestamp,
}

/// So many objects before the newest are compared with it.
const COMPARED: usize = 7;

/// Every asset of the policy whose points lie in a bucket. Where the store's `key` begins with the database's name, each
/// database is an asset of its own: one fresh dump must not hide seven stale ones.
pub fn stored(policy: &Policy) -> Vec<Stored> {
    let mut all = Vec::new();
    for (name, group) in &policy.postgres {
        let each = group.stored.key.as_deref().is_some_and(|k| k.contains("{database}"));
        let databases: Vec<Option<&str>> =
            if each { group.databases.iter().map(|d| Some(d.as_str())).collect() } else { vec![None] };
        all.extend(databases.into_iter().filter_map(|d| one(name, &group.stored, &group.objectives, d)));
    }
    all.extend(policy.redis.iter().filter_map(|(n, g)| one(n, &g.stored, &g.objectives, None)));
    all.extend(policy.kubernetes.iter().filter_map(|(n, g)| one(n, &g.stored, &g.objectives, None)));
    all.extend(policy.files.iter().filter_map(|(n, g)| one(n, &g.stored, &g.objectives, None)));
    all
}

fn one(name: &Name, store: &Store, objectives: &Objectives, database: Option<&str>) -> Option<Stored> {
    let bucket = store.bucket.as_ref().filter(|_| store.endpoint.is_none())?;
    // Without an objective there is nothing to judge; `holdfast policy check` names what only a later function does.
    objectives.max_age.as_ref()?;
    let key = store.key.clone().map(|k| k.replace("{database}", database.unwrap_or("{database}")));
    // What is fixed at the key's begin narrows the listing to this asset.
    let fixed = key.as_deref().map_or("", |k| k.split(['%', '{']).next().unwrap_or_default());
    let fixed = if database.is_some() { fixed } else { "" };
    Some(Stored {
        group: name.to_string(),
        asset: database.map_or_else(|| name.to_string(), str::to_owned),
        bucket: bucket.to_string(),
        region: store.region.as_ref().map(ToString::to_string),
        prefix: format!("{}{fixed}", store.prefix),
        suffix: store.suffix.clone(),
        form: key.as_deref().map(|k| format!("{}{k}", store.prefix)),
        objectives: objectives.clone(),
        newest: Vec::new(),
    })
}

impl Stored {
    /// Takes note of an object, if it is one of the asset's points. Memory is that of the few newest.
    pub fn add(&mut self, key: &str, size: u64, modified: Timestamp) {
        if !key.starts_with(&self.prefix) || !key.ends_with(&self.suffix) || key.ends_with('/') {
            return;
        }
        // A copy of an old dump has a young object; the time in its name tells its data's age.
        let at = self.time_in(key).map_or(modified, |named| named.min(modified));
        self.newest.push(StoredPoint { key: key.to_owned(), size, at });
        self.newest.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| b.key.cmp(&a.key)));
        self.newest.truncate(COMPARED + 1);
    }

    /// The latest time that the key's own time can mean: of a date alone, the end of the day.
    fn time_in(&self, key: &str) -> Option<Timestamp> {
        let form = self.form.as_deref().filter(|f| f.contains('%') && !f.contains('{'))?;
        let parsed = jiff::fmt::strtime::parse(form, key).ok()?;
        let exact = form.contains("%H");
        let civil = if exact {
            parsed.to_datetime().ok()?
        } else {
            DateTime::from(parsed.to_date().ok()?).checked_add(SignedDuration::from_hours(24)).ok()?
        };
        civil.to_zoned(TimeZone::UTC).ok().map(|z| z.timestamp())
    }
}

pub(super) fn judge(_: &Policy, stored: &Stored, now: Timestamp) -> Judged {
    let mut judged = Judged::new(&stored.group, &stored.asset);
    let Objectives { max_age, min_size, size_change, .. } = &stored.objectives;
    let max_age = max_age.as_ref().map(|p| p.duration());
    judged.standing.max_age_seconds = max_age.map(|a| a.as_secs());
    let at = format!("s3://{}/{}", stored.bucket, stored.prefix);
    let Some(newest) = stored.newest.iter().find(|p| age(p.at, now).is_some()) else {
        judged.bad("no-point", format!("there is nothing under {at}"), "see whether what writes there runs");
        return judged;
    };
    let old = age(newest.at, now).unwrap_or_default();
    judged.standing.newest = Some(newest.key.clone());
    judged.standing.age_seconds = Some(old.as_secs());
    judged.standing.size_bytes = i64::try_from(newest.size).ok();
    if let Some(max) = max_age.filter(|max| old > *max) {
        let why = format!("its newest object {} is {} old, over the objective of {}", newest.key, human(old), human(max));
        judged.bad("stale", why, format!("see whether what writes to {at} runs"));
    }
    if let Some(least) = min_size.as_ref().filter(|least| newest.size < least.count()) {
        let why = format!("its newest object {} has {} bytes, under the least of {least}", newest.key, newest.size);
        judged.bad("too-small", why, "look into it before older ones go: it may be empty");
    }
    let mut before: Vec<u64> = stored.newest.iter().filter(|p| p.key != newest.key).map(|p| p.size).collect();
    before.sort_unstable();
    if let (Some(share), Some(median)) = (size_change, before.get(before.len() / 2).filter(|m| **m > 0)) {
        #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
        let change = (newest.size as f64 - *median as f64) / *median as f64;
        if change.abs() > share.fraction() {
            let why = format!(
                "its newest object {} has {} bytes, {:+.0}% against the median of the {} before it ({median})",
                newest.key,
                newest.size,
                change * 100.0,
                before.len()
            );
            judged.find(Severity::Warning, "size", why, "see what changed in the data");
        }
    }
    judged
}

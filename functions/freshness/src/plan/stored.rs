//! Points that lie as objects: dumps, RDB files, exports. Judged by the newest object of each asset.

use super::{Judged, age};
use jiff::{
    SignedDuration, Timestamp, civil::DateTime, fmt::strtime::BrokenDownTime, tz::TimeZone,
};
use shared::{
    plan::Severity,
    policy::{
        Objectives, Policy, Store,
        text::{Name, Period},
    },
    time::human,
};
use std::collections::VecDeque;

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
    /// The whole key's form, with strftime fields.
    pub form: Option<String>,
    /// Whether only keys of that form are this asset's, because other assets' lie beside them.
    pub by_form: bool,
    /// Whether an object counts only with a commit record beside it: Holdfast makes the group's dumps, so what has none
    /// is half a dump.
    pub committed: bool,
    /// What is asked of them.
    pub objectives: Objectives,
    /// Whether the listing was read to its end.
    pub seen: bool,
    /// The newest objects that were found, newest first, a few.
    pub newest: Vec<StoredPoint>,
    /// Objects whose commit record was not seen yet: it follows soon, in the order of keys.
    open: VecDeque<StoredPoint>,
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

/// Ending of the commit record beside a dump, and of what else lies there.
const COMMIT: &str = ".json";
const BESIDE: [&str; 2] = [".sha256", ".hold"];
/// So many keys may stand between an object and its commit record in the order of keys.
const BETWEEN: usize = 16;

/// Every asset of the policy whose points lie in a bucket. Where the store's `key` has the database's name, each
/// database is an asset of its own: one fresh dump must not hide seven stale ones.
pub fn stored(policy: &Policy) -> Vec<Stored> {
    let mut all = Vec::new();
    for (name, group) in &policy.postgres {
        let each = group.stored.key.as_deref().is_some_and(|k| k.contains("{database}"));
        let databases: Vec<Option<&str>> = if each {
            group.databases.iter().map(|d| Some(d.as_str())).collect()
        } else {
            vec![None]
        };
        all.extend(
            databases
                .into_iter()
                .filter_map(|d| one(name, &group.stored, &group.objectives, d))
                .map(|stored| Stored { committed: !group.dumps.is_empty(), ..stored }),
        );
    }
    all.extend(policy.redis.iter().filter_map(|(n, g)| one(n, &g.stored, &g.objectives, None)));
    all.extend(
        policy.kubernetes.iter().filter_map(|(n, g)| one(n, &g.stored, &g.objectives, None)),
    );
    all.extend(policy.files.iter().filter_map(|(n, g)| one(n, &g.stored, &g.objectives, None)));
    all
}

fn one(
    name: &Name,
    store: &Store,
    objectives: &Objectives,
    database: Option<&str>,
) -> Option<Stored> {
    let bucket = store.bucket.as_ref().filter(|_| store.endpoint.is_none())?;
    // Without an objective there is nothing to judge; `holdfast policy check` names what only a later function does.
    let Objectives { max_age, min_size, size_change, .. } = objectives;
    if max_age.is_none() && min_size.is_none() && size_change.is_none() {
        return None;
    }
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
        form: key.as_deref().map(|k| format!("{}{k}", store.prefix.replace('%', "%%"))),
        by_form: database.is_some(),
        committed: false,
        objectives: objectives.clone(),
        seen: true,
        newest: Vec::new(),
        open: VecDeque::new(),
    })
}

impl Stored {
    /// Takes note of an object, if it is one of the asset's points. Memory is that of the few newest.
    pub fn add(&mut self, key: &str, size: u64, modified: Timestamp) {
        if self.committed
            && let Some(of) = key.strip_suffix(COMMIT)
        {
            if let Some(at) = self.open.iter().position(|p| p.key == of) {
                self.newest.extend(self.open.remove(at));
                self.order();
            }
            return;
        }
        let beside = self.committed && BESIDE.iter().any(|end| key.ends_with(end));
        let ours = key.starts_with(&self.prefix) && key.ends_with(&self.suffix);
        if !ours || beside || key.ends_with('/') {
            return;
        }
        let read = self.form.as_deref().and_then(|form| read(form, key));
        if read.is_none() && self.by_form {
            return; // Another database's, or nothing that the policy speaks of.
        }
        // A copy of an old dump has a young object; the time in its name tells its data's age.
        let at = read.and_then(|r| latest(&r)).map_or(modified, |named| named.min(modified));
        let point = StoredPoint { key: key.to_owned(), size, at };
        if self.committed {
            self.open.push_back(point);
            if self.open.len() > BETWEEN {
                self.open.pop_front();
            }
            return;
        }
        self.newest.push(point);
        self.order();
    }

    fn order(&mut self) {
        self.newest.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| b.key.cmp(&a.key)));
        self.newest.truncate(COMPARED + 1);
    }

    /// What lies there can't be told whole, so nothing is concluded from what was seen of it.
    pub fn unseen(&mut self) {
        self.seen = false;
        self.newest.clear();
    }
}

/// A key read by its form: strftime fields, and placeholders such as `{reason}` for any text without a slash. What
/// follows the form's end is free.
fn read(form: &str, key: &str) -> Option<BrokenDownTime> {
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
    forms.find_map(|form| read(&form, key))
}

/// The latest time that the key's own time can mean: of a date alone, the end of the day.
fn latest(read: &BrokenDownTime) -> Option<Timestamp> {
    let exact = read.hour().is_some();
    let civil = if exact {
        read.to_datetime().ok()?
    } else {
        DateTime::from(read.to_date().ok()?).checked_add(SignedDuration::from_hours(24)).ok()?
    };
    let zone = read.offset().map_or(TimeZone::UTC, TimeZone::fixed);
    civil.to_zoned(zone).ok().map(|z| z.timestamp())
}

pub(super) fn judge(_: &Policy, stored: &Stored, now: Timestamp) -> Judged {
    let mut judged = Judged::new(&stored.group, &stored.asset);
    let Objectives { max_age, min_size, size_change, .. } = &stored.objectives;
    let max_age = max_age.as_ref().map(Period::duration);
    judged.standing.max_age_seconds = max_age.map(|a| a.as_secs());
    let at = format!("s3://{}/{}", stored.bucket, stored.prefix);
    if !stored.seen {
        judged.bad(
            "unknown",
            format!("what lies under {at} can't be seen"),
            "see the gap of that place",
        );
        return judged;
    }
    let Some(newest) = stored.newest.iter().find(|p| age(p.at, now).is_some()) else {
        if stored.newest.is_empty() {
            let nothing = if stored.committed { "no dump with a commit record" } else { "nothing" };
            judged.bad(
                "no-point",
                format!("there is {nothing} under {at}"),
                "see whether what writes there runs",
            );
        } else {
            let why =
                format!("what lies under {at} has a time in the future, which proves nothing");
            judged.bad("future", why, "compare the clocks of this host and of AWS");
        }
        return judged;
    };
    let old = age(newest.at, now).unwrap_or_default();
    judged.standing.newest = Some(newest.key.clone());
    judged.standing.age_seconds = Some(old.as_secs());
    judged.standing.size_bytes = i64::try_from(newest.size).ok();
    if let Some(max) = max_age.filter(|max| old > *max) {
        let why = format!(
            "its newest object {} is {} old, over the objective of {}",
            newest.key,
            human(old),
            human(max)
        );
        judged.bad("stale", why, format!("see whether what writes to {at} runs"));
    }
    if let Some(least) = min_size.as_ref().filter(|least| newest.size < least.count()) {
        let why = format!(
            "its newest object {} has {} bytes, under the least of {least}",
            newest.key, newest.size
        );
        judged.bad("too-small", why, "look into it before older ones go: it may be empty");
    }
    let mut before: Vec<u64> =
        stored.newest.iter().filter(|p| p.key != newest.key).map(|p| p.size).collect();
    before.sort_unstable();
    if let (Some(share), Some(median)) =
        (size_change, before.get(before.len() / 2).filter(|m| **m > 0))
    {
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

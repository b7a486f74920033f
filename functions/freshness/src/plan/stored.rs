//! Points that lie as objects or files: dumps, RDB files, exports. What is looked for, and what is kept of a listing.

use jiff::{
    SignedDuration, Timestamp, civil::DateTime, fmt::strtime::BrokenDownTime, tz::TimeZone,
};
use shared::{
    catalog::unchanged,
    policy::{Objectives, Policy, Postgres, Store, text::Name},
};
use std::collections::VecDeque;

/// Where one asset's points lie, and what is asked of them.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The group.
    pub group: String,
    /// The asset: a database of the group, or the group itself.
    pub asset: String,
    /// Bucket on AWS; empty where it is `elsewhere`.
    pub bucket: String,
    /// A directory, another endpoint, another cloud: only whoever calls on a host can look there.
    pub elsewhere: Option<Box<Store>>,
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
    /// Why it was not, and what to do, where nothing else says so.
    pub unseen_because: Option<(String, String)>,
    /// Good points that were found, those beyond the newest counted too.
    pub count: usize,
    /// Files that count as no point: their key, and what is wrong with them.
    pub faulty: Vec<(String, String)>,
    /// Whether the newest point is as the checksum beside it says, where that was looked at.
    pub checksum: Option<Checksum>,
    /// Space that is free on its disk, in bytes.
    pub free: Option<u64>,
    /// Second places that each point is copied to.
    pub copies: Vec<Stored>,
    /// The newest objects that were found, newest first, a few.
    pub newest: Vec<StoredPoint>,
    /// Objects whose commit record was not seen yet: it follows soon, in the order of keys.
    open: VecDeque<StoredPoint>,
    /// The point that was found last: notes about it follow in the order of keys.
    last: Option<StoredPoint>,
}

/// A point held against the checksum that lies beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// It is what the checksum says.
    Matches,
    /// It is something else, or the checksum is none.
    Differs,
    /// None lies beside it.
    Missing,
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
    /// Why it was made, where that is known: sizes are compared among points of one reason.
    pub reason: Option<String>,
}

/// So many objects before the newest are compared with it.
const COMPARED: usize = 7;

/// Ending of the commit record beside a dump, and of what else lies there.
const COMMIT: &str = ".json";
const BESIDE: [&str; 3] = [".sha256", ".hold", ".minisig"];
/// So many keys may stand between an object and its commit record in the order of keys.
const BETWEEN: usize = 16;

/// Every asset of the policy whose points lie as objects or files. Where the store's `key` has the database's name, each
/// database is an asset of its own: one fresh dump must not hide seven stale ones.
pub fn stored(policy: &Policy) -> Vec<Stored> {
    let mut all: Vec<Stored> =
        policy.postgres.iter().flat_map(|(name, group)| dumps(name, group)).collect();
    all.extend(policy.redis.iter().filter_map(|(n, g)| one(n, &g.stored, &g.objectives, None)));
    all.extend(
        policy.kubernetes.iter().filter_map(|(n, g)| one(n, &g.stored, &g.objectives, None)),
    );
    all.extend(policy.files.iter().filter_map(|(n, g)| one(n, &g.stored, &g.objectives, None)));
    all
}

/// The assets of a group of dumps, each with its second places.
fn dumps(name: &Name, group: &Postgres) -> Vec<Stored> {
    // Elsewhere the commit records are read, and tell the database whatever the key is.
    let told = group.stored.elsewhere() && !group.dumps.is_empty();
    let named = group.stored.key.as_deref().is_some_and(|k| k.contains("{database}"));
    let databases: Vec<Option<&str>> = if named || told {
        group.databases.iter().map(|d| Some(d.as_str())).collect()
    } else {
        vec![None]
    };
    let place = |store: &Store, database: Option<&str>| {
        let stored = one(name, store, &group.objectives, database)?;
        Some(Stored { committed: !group.dumps.is_empty(), ..stored })
    };
    let assets = databases.into_iter().filter_map(|database| {
        let copies = group.also_stored.iter().filter_map(|store| place(store, database)).collect();
        Some(Stored { copies, ..place(&group.stored, database)? })
    });
    assets.collect()
}

fn one(
    name: &Name,
    store: &Store,
    objectives: &Objectives,
    database: Option<&str>,
) -> Option<Stored> {
    let elsewhere = store.elsewhere();
    let bucket = store.bucket.as_ref().filter(|_| !elsewhere);
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
        bucket: bucket.map(ToString::to_string).unwrap_or_default(),
        elsewhere: elsewhere.then(|| Box::new(store.clone())),
        region: store.region.as_ref().map(ToString::to_string),
        prefix: format!("{}{fixed}", store.prefix),
        suffix: store.suffix.clone(),
        form: key.as_deref().map(|k| format!("{}{k}", store.prefix.replace('%', "%%"))),
        by_form: database.is_some(),
        committed: false,
        objectives: objectives.clone(),
        seen: true,
        unseen_because: None,
        count: 0,
        faulty: Vec::new(),
        checksum: None,
        free: None,
        copies: Vec::new(),
        newest: Vec::new(),
        open: VecDeque::new(),
        last: None,
    })
}

impl Stored {
    /// Takes note of an object, if it is one of the asset's points. Memory is that of the few newest.
    pub fn add(&mut self, key: &str, size: u64, modified: Timestamp) {
        if self.committed
            && let Some(of) = key.strip_suffix(COMMIT)
        {
            let at = self.open.iter().position(|p| p.key == of);
            if let Some(point) = at.and_then(|at| self.open.remove(at)) {
                self.point(point);
            }
            return;
        }
        if self.committed
            && let Some((of, at)) = unchanged(key)
        {
            self.renew(of, at);
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
        let point = StoredPoint { key: key.to_owned(), size, at, reason: None };
        if self.committed {
            self.open.push_back(point);
            if self.open.len() > BETWEEN {
                self.open.pop_front();
            }
            return;
        }
        self.point(point);
    }

    /// Takes note that a point was still true at a later time: its database had not changed. Notes follow their point in
    /// the order of keys.
    fn renew(&mut self, of: &str, at: Timestamp) {
        let Some(point) = self.last.take_if(|p| p.key == of) else { return };
        self.newest.retain(|p| p.key != of);
        self.count -= 1;
        self.point(StoredPoint { at: at.max(point.at), ..point });
    }

    /// Takes note of a good point.
    pub fn point(&mut self, point: StoredPoint) {
        self.count += 1;
        self.last = Some(point.clone());
        self.newest.push(point);
        self.newest.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| b.key.cmp(&a.key)));
        self.newest.truncate(COMPARED + 1);
    }

    /// What lies there can't be told whole, so nothing is concluded from what was seen of it.
    pub fn unseen(&mut self) {
        self.seen = false;
        self.newest.clear();
        self.count = 0;
    }

    /// Where its points lie, for people: `s3://bucket/prefix`, `/var/backups/orders`.
    pub fn at(&self) -> String {
        let Some(store) = &self.elsewhere else {
            return format!("s3://{}/{}", self.bucket, self.prefix);
        };
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

//! Which backups a store has: from the store alone.
//!
//! The store is listed once. What has a manifest is a backup; what has none and a name of a form is a foreign one, made
//! by other tools: it is shown, verified and restored, and never deleted.

use crate::{Entry, Error, KeyForm, Kind, Manifest, Names, Store, beside, key::Read};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use shared::catalog::{Family, Marks, Point, State};
use std::collections::BTreeMap;

/// Manifests read at once.
const WIDTH: usize = 16;

/// A backup in a store.
#[derive(Clone, Debug, PartialEq)]
pub struct Backup {
    /// Its key, below the store's prefix.
    pub key: String,
    /// The whole name: the store's address and the key.
    pub arn: String,
    /// Its size, as it is stored.
    pub size: u64,
    /// When it was stored.
    pub modified: Timestamp,
    /// Its storage class, where the store says one.
    pub class: Option<String>,
    /// Whether it must be thawed before it can be read.
    pub archived: bool,
    /// What it is.
    pub kind: Of,
    /// Why it is held, if it is.
    pub hold: Option<String>,
    /// Later times at which the database was still the same, in their order.
    pub unchanged: Vec<Timestamp>,
}

/// What is known of a backup.
#[derive(Clone, Debug, PartialEq)]
pub enum Of {
    /// It has a manifest, and lies there as that says.
    Committed(Box<Manifest>),
    /// Made by another tool: what its name tells.
    Foreign(Read),
    /// It counts as no backup, and is never deleted: its manifest can't be read, or does not fit what lies there.
    Faulty {
        /// What its name tells, if it is of a form.
        read: Option<Read>,
        /// Its manifest, if that could be read.
        manifest: Option<Box<Manifest>>,
        /// What is wrong.
        why: String,
        /// What to do about it.
        mend: String,
    },
}

/// The backups of a store, in the order of their keys.
///
/// Of foreign files, those count whose names are of one of `forms`, with one of `databases` where the form has it. Of
/// committed ones, those of `databases` and of `company`; in a store shared with others, theirs are left out. An empty
/// list of databases means all.
///
/// # Errors
/// If the store can't be listed to its end.
pub async fn catalogue(
    store: &Store,
    forms: &[KeyForm],
    databases: &[String],
    company: &str,
) -> Result<Vec<Backup>, Error> {
    let entries: BTreeMap<String, Entry> =
        store.list("").await?.into_iter().map(|e| (e.key.clone(), e)).collect();
    let names = Names { databases, reasons: &[] };
    let read = |key: &str| forms.iter().find_map(|form| form.read(key, names));

    // Whatever has a manifest beside it, whatever its name: forms change over the years, backups stay.
    let manifests = entries.keys().filter_map(|key| key.strip_suffix(".json"));
    let manifests = manifests.filter(|key| entries.contains_key(*key) || read(key).is_some());
    let committed = stream::iter(manifests).map(|key| {
        let (entry, read) = (entries.get(key), read(key));
        async move { (key, judged(store, key, entry, read).await) }
    });
    let committed: BTreeMap<&str, Of> = committed.buffer_unordered(WIDTH).collect().await;

    let mut all = Vec::new();
    for (key, of) in &committed {
        if let Of::Committed(m) | Of::Faulty { manifest: Some(m), .. } = of
            && (m.company != company || !(databases.is_empty() || databases.contains(&m.database)))
        {
            continue;
        }
        all.push(backup(store, key, entries.get(*key), of.clone()));
    }
    for (key, entry) in &entries {
        let beside = beside::whose(key).is_some_and(|of| entries.contains_key(of));
        if !beside
            && !committed.contains_key(key.as_str())
            && let Some(read) = read(key)
        {
            all.push(backup(store, key, Some(entry), Of::Foreign(read)));
        }
    }
    // Ours that never became one are no foreign ones.
    let bare: Vec<Entry> = (all.iter().filter(|b| matches!(b.kind, Of::Foreign(_))))
        .filter_map(|b| entries.get(&b.key).cloned())
        .collect();
    if !bare.is_empty() {
        let ours = store.unfinished(forms, &bare).await?;
        all.retain(|b| !ours.iter().any(|left| left.key == b.key));
    }

    for backup in &mut all {
        let beside = entries.range(backup.key.clone()..).map(|(key, _)| key.as_str());
        let beside = beside.take_while(|key| key.starts_with(&backup.key));
        backup.unchanged = beside::notes(beside, &backup.key).map(|(_, at)| at).collect();
    }
    let held = stream::iter(&mut all)
        .filter(|b| std::future::ready(entries.contains_key(&beside::hold(&b.key))))
        .map(|b| async {
            b.hold = store.held(&b.key).await?.or(Some("it was released just now".into()));
            Ok::<_, Error>(())
        });
    held.buffer_unordered(WIDTH).try_collect::<()>().await?;
    all.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(all)
}

/// One backup, by its key: without a manifest, or without its file, it is a faulty one.
///
/// # Errors
/// If the store can't be asked.
pub async fn one(store: &Store, key: &str) -> Result<Backup, Error> {
    let entries = store.list(key).await?;
    let entry = entries.iter().find(|e| e.key == key);
    let mut backup = backup(store, key, entry, judged(store, key, entry, None).await);
    backup.hold = store.held(key).await?;
    let keys = entries.iter().map(|e| e.key.as_str());
    backup.unchanged = beside::notes(keys, key).map(|(_, at)| at).collect();
    Ok(backup)
}

/// Reads a manifest and holds it against what lies there.
async fn judged(store: &Store, key: &str, entry: Option<&Entry>, read: Option<Read>) -> Of {
    let faulty = |e: Error, manifest: Option<Manifest>| Of::Faulty {
        read: read.clone(),
        manifest: manifest.map(Box::new),
        why: e.to_string(),
        mend: e.mend,
    };
    let doing = || format!("read the manifest of {key}");
    let json = match store.get(&beside::manifest(key)).await {
        Ok(Some(json)) => json,
        Ok(None) => {
            let e = Error::new(Kind::Missing, doing(), "it was deleted just now", "look again");
            return faulty(e, None);
        }
        Err(e) => return faulty(e, None),
    };
    let manifest = match Manifest::read(key, &json) {
        Ok(manifest) => manifest,
        Err(e) => return faulty(e, None),
    };
    let damaged = |why: String, mend: &str| Error::new(Kind::Damaged, doing(), why, mend);
    let said = manifest.file.bytes;
    match entry {
        None => {
            let mend = "find out who deleted it; the manifest alone is no backup";
            faulty(damaged("its file is not there".into(), mend), Some(manifest))
        }
        Some(entry) if entry.size != said => {
            let why = format!("its file has {} bytes, and the manifest says {said}", entry.size);
            let mend = "find out what changed it; it was whole when it was written";
            faulty(damaged(why, mend), Some(manifest))
        }
        Some(_) => Of::Committed(Box::new(manifest)),
    }
}

fn backup(store: &Store, key: &str, entry: Option<&Entry>, kind: Of) -> Backup {
    Backup {
        key: key.to_owned(),
        arn: store.arn(key),
        size: entry.map_or(0, |e| e.size),
        modified: entry.map_or(Timestamp::UNIX_EPOCH, |e| e.modified),
        class: entry.and_then(|e| e.class.clone()),
        archived: entry.is_some_and(|e| e.archived),
        kind,
        hold: None,
        unchanged: Vec::new(),
    }
}

impl Backup {
    /// The manifest, if it could be read.
    pub fn manifest(&self) -> Option<&Manifest> {
        match &self.kind {
            Of::Committed(m) | Of::Faulty { manifest: Some(m), .. } => Some(m),
            _ => None,
        }
    }

    /// What its name tells, of one whose manifest does not tell more.
    fn read(&self) -> Option<&Read> {
        match &self.kind {
            Of::Foreign(read) | Of::Faulty { read: Some(read), .. } => Some(read),
            _ => None,
        }
    }

    /// The database, as far as it is told.
    pub fn database(&self) -> Option<&str> {
        let named = self.read().and_then(|r| r.database.as_deref());
        self.manifest().map(|m| m.database.as_str()).or(named)
    }

    /// The reason, as far as it is told.
    pub fn reason(&self) -> Option<&str> {
        let named = self.read().and_then(|r| r.reason.as_deref());
        self.manifest().map(|m| m.reason.as_str()).or(named)
    }

    /// The time of its data: the latest at which the database was seen to be the same. A name tells the latest time that
    /// it can mean, and never one after it was stored.
    pub fn data_time(&self) -> Option<Timestamp> {
        let named = self.read().map(|r| r.latest().min(self.modified.max(r.at)));
        self.data_times().max().or(self.manifest().map(|m| m.data_time)).or(named)
    }

    /// Of a good one, every time at which the database was as it is here.
    pub fn data_times(&self) -> impl Iterator<Item = Timestamp> {
        let read = self.committed().map(|m| m.data_time);
        let notes = if read.is_some() { &self.unchanged[..] } else { &[] };
        read.into_iter().chain(notes.iter().copied())
    }

    /// Whether it has a manifest and lies there as that says.
    pub fn good(&self) -> bool {
        self.committed().is_some()
    }

    /// The manifest of one that lies there as that says.
    pub fn committed(&self) -> Option<&Manifest> {
        match &self.kind {
            Of::Committed(m) => Some(m),
            _ => None,
        }
    }

    /// As a recovery point, for [`shared::keep`] to judge: only what Holdfast made for `company`, and whole, can go.
    pub fn point(&self, company: &str) -> Point {
        let manifest = self.manifest();
        let ours = manifest.filter(|m| self.good() && m.company == company);
        let system = manifest.and_then(|m| m.server.system_identifier.clone());
        let (state, encrypted) = match &self.kind {
            Of::Faulty { .. } => (State::Failed("faulty".into()), false),
            Of::Foreign(_) => (State::Good, false),
            Of::Committed(m) => (State::Good, m.layers.cipher.is_some()),
        };
        Point {
            id: self.key.clone(),
            arn: self.arn.clone(),
            database: self.database().unwrap_or_default().to_owned(),
            resource_id: system.unwrap_or_default(),
            family: Family::Instance,
            automated: false,
            state,
            data_time: self.data_time(),
            started: None,
            size_gib: i32::try_from(self.size.div_ceil(1 << 30)).unwrap_or(i32::MAX),
            encrypted,
            kms_key: None,
            option_group: None,
            source_arn: None,
            marks: Marks {
                policy: ours.map(|m| m.company.clone()),
                reason: self.reason().map(str::to_owned),
                slot: manifest.and_then(|m| m.slot).map(shared::time::slot),
                request: None,
                copy_of: None,
                transfer: false,
                hold: self.hold.clone(),
            },
        }
    }
}

#[cfg(test)]
mod tests;

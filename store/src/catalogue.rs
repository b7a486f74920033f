//! Which backups a store has: from the store alone.
//!
//! The store is listed once. What has a manifest that counts by the policy ([`Trust`]) is a backup; one whose manifest
//! does not count is a faulty one; what has none and a name of a form is a foreign one, made by other tools: it is shown,
//! verified and restored, and never deleted. [`Backup::data_time`] is the one answer to which backup is the newest:
//! nothing that is of the future has any.

use crate::{
    Entry, Error, Hold, KeyForm, Kind, Manifest, Names, RecordCache, Store, Trust, Unchanged,
    beside, cache::Reader, key::Read, mark, trust::Distrust,
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use shared::catalog::{DatabaseKind, HoldfastTags, RecoveryPoint, RecoveryPointState};
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
    /// Notes and holds beside it that do not count, and why; a few.
    pub ignored: Vec<String>,
}

/// What is known of a backup.
#[derive(Clone, Debug, PartialEq)]
pub enum Of {
    /// It has a manifest that counts by the policy, and lies there as that says.
    Committed(Box<Manifest>),
    /// Made by another tool: what its name tells.
    Foreign(Read),
    /// It counts as no backup, and is never deleted: its manifest can't be read, does not count by the policy, or does not
    /// fit what lies there. What it says is perhaps a stranger's word.
    Faulty {
        /// What its name tells, if it is of a form.
        read: Option<Read>,
        /// Its manifest, if that could be read.
        manifest: Option<Box<Manifest>>,
        /// What kind of fault: [`Kind::Damaged`], [`Kind::Untrusted`], or why it could not be read.
        kind: Kind,
        /// What is wrong.
        why: String,
        /// What to do about it.
        mend: String,
    },
}

/// Notes and holds that do not count are told of a backup up to so many.
const TOLD: usize = 5;

/// The backups of a store, in the order of their keys.
///
/// Of foreign files, those count whose names are of one of `forms`, with one of `databases` where the form has it. Of
/// committed ones, those of `databases`. An empty list of databases means all.
///
/// # Errors
/// If the store can't be listed and read to its end.
pub async fn catalogue(
    store: &Store,
    forms: &[KeyForm],
    databases: &[String],
    trust: &Trust,
) -> Result<Vec<Backup>, Error> {
    with_cache(store, forms, databases, trust, &RecordCache::default()).await
}

/// As [`catalogue()`]. Records, notes and holds that the cache has as the listing shows them are not read again.
///
/// # Errors
/// As of [`catalogue()`].
pub async fn with_cache(
    store: &Store,
    forms: &[KeyForm],
    databases: &[String],
    trust: &Trust,
    cache: &RecordCache,
) -> Result<Vec<Backup>, Error> {
    let entries: BTreeMap<String, Entry> =
        store.list("").await?.into_iter().map(|e| (e.key.clone(), e)).collect();
    let reader = Reader::cached(store, &entries, cache);
    let names = Names { databases, reasons: &[] };
    let read = |key: &str| forms.iter().find_map(|form| form.read(key, names));
    let asked =
        |name: Option<&String>| databases.is_empty() || name.is_some_and(|n| databases.contains(n));

    // Whatever has a manifest beside it, whatever its name: forms change over the years, backups stay.
    let manifests = entries.keys().filter(|key| *key != mark::NAME);
    let manifests = manifests.filter_map(|key| key.strip_suffix(".json"));
    let manifests = manifests.filter(|key| entries.contains_key(*key) || read(key).is_some());
    let committed = stream::iter(manifests).map(|key| {
        let (entry, read) = (entries.get(key), read(key));
        async move { Ok::<_, Error>((key, judged(reader, key, entry, read, trust).await?)) }
    });
    let committed: BTreeMap<&str, Of> = committed.buffer_unordered(WIDTH).try_collect().await?;

    let mut all = Vec::new();
    for (key, of) in &committed {
        let of_asked = match of {
            Of::Committed(m) => asked(Some(&m.database)),
            // A stranger's word hides nothing from whom the name belongs to.
            Of::Faulty { manifest: Some(m), read, .. } => {
                asked(Some(&m.database))
                    || read.as_ref().is_some_and(|r| asked(r.database.as_ref()))
            }
            _ => true,
        };
        if of_asked {
            all.push(backup(store, key, entries.get(*key), of.clone()));
        }
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
        match store.unfinished(forms, &bare).await {
            Ok(ours) => all.retain(|b| !ours.iter().any(|left| left.key == b.key)),
            // Who may read records alone can't tell them apart, and nothing is said of either.
            Err(e) if e.kind == Kind::Denied => {
                all.retain(|b| !matches!(b.kind, Of::Foreign(_)));
            }
            Err(e) => return Err(e),
        }
    }
    let looked = stream::iter(&mut all).map(|backup| async {
        let beside = entries.range(backup.key.clone()..).map(|(key, _)| key.clone());
        let beside = beside.take_while(|key| key.starts_with(&backup.key)).collect::<Vec<_>>();
        look_beside(reader, backup, &beside, trust).await
    });
    looked.buffer_unordered(WIDTH).try_collect::<()>().await?;
    all.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(all)
}

/// One backup, by its key: without a manifest, or without its file, it is a faulty one.
///
/// # Errors
/// If the store can't be asked.
pub async fn one(store: &Store, key: &str, trust: &Trust) -> Result<Backup, Error> {
    let entries = store.list(key).await?;
    let entry = entries.iter().find(|e| e.key == key);
    let reader = Reader::uncached(store);
    let of = judged(reader, key, entry, None, trust).await?;
    let mut backup = backup(store, key, entry, of);
    let keys: Vec<String> = entries.iter().map(|e| e.key.clone()).collect();
    look_beside(reader, &mut backup, &keys, trust).await?;
    Ok(backup)
}

/// Reads the notes and the hold beside a backup, as far as they count.
async fn look_beside(
    reader: Reader<'_>,
    backup: &mut Backup,
    keys: &[String],
    trust: &Trust,
) -> Result<(), Error> {
    let mut ignored = Vec::new();
    let hold = beside::hold(&backup.key);
    if keys.contains(&hold) {
        match held(reader, &backup.key, trust).await? {
            Some(Ok(why)) => backup.hold = Some(why),
            Some(Err(why)) => ignored.push(format!("{hold}: {}", why.why)),
            None => backup.hold = Some("it was released just now".into()),
        }
    }
    let notes = beside::notes(keys.iter().map(String::as_str), &backup.key);
    let notes: Vec<(&str, Timestamp)> = notes.collect();
    let deduplicated = backup.committed().cloned().filter(|m| trust.deduplicates(&m.reason));
    if let Some(manifest) = deduplicated {
        let looked = stream::iter(notes).map(|(name, at)| {
            let manifest = &manifest;
            async move { Ok::<_, Error>((name, at, note(reader, name, at, manifest, trust).await?)) }
        });
        let looked: Vec<_> = looked.buffered(WIDTH).try_collect().await?;
        for (name, at, counts) in looked {
            match counts {
                Ok(()) => backup.unchanged.push(at),
                Err(e) => ignored.push(format!("{name}: {}", e.why)),
            }
        }
    } else {
        let told = "a note that it is still true, and nothing is deduplicated here";
        ignored.extend(notes.iter().map(|(name, _)| format!("{name}: {told}")));
    }
    if ignored.len() > TOLD {
        let more = ignored.len() - TOLD;
        ignored.truncate(TOLD);
        ignored.push(format!("and {more} more"));
    }
    backup.ignored = ignored;
    Ok(())
}

/// Why a backup is held, if it is, or why the hold that lies there does not count. Where nothing is signed, a hold that
/// can't be read is one.
async fn held(
    reader: Reader<'_>,
    key: &str,
    trust: &Trust,
) -> Result<Option<Result<String, Distrust>>, Error> {
    let name = beside::hold(key);
    let json = match reader.get(&name).await {
        Ok(Some(json)) => json,
        Ok(None) => return Ok(None),
        Err(e) if e.kind == Kind::Unreachable => return Err(e),
        Err(_) => Bytes::new(),
    };
    if let Err(e) = trust.check(reader, &name, &json).await? {
        return Ok(Some(Err(e)));
    }
    Ok(Some(Ok(match serde_json::from_slice::<Hold>(&json) {
        Ok(Hold { why, by, .. }) => format!("{why} ({by})"),
        Err(_) => "for a reason that can't be read".into(),
    })))
}

/// Whether a note counts that the database was still the same as in this backup.
async fn note(
    reader: Reader<'_>,
    name: &str,
    at: Timestamp,
    manifest: &Manifest,
    trust: &Trust,
) -> Result<Result<(), Distrust>, Error> {
    let distrust = |why: String| Ok(Err(Distrust { why, mend: "find out who put it there" }));
    let json = match reader.get(name).await {
        Ok(Some(json)) => json,
        Ok(None) => return distrust("it was let go just now".into()),
        Err(e) if e.kind == Kind::Unreachable => return Err(e),
        Err(e) => return distrust(e.why),
    };
    if let Err(e) = trust.check(reader, name, &json).await? {
        return Ok(Err(e));
    }
    let note: Unchanged = match serde_json::from_slice(&json) {
        Ok(note) => note,
        Err(e) => return distrust(format!("it is no note: {e}")),
    };
    let named = beside::unchanged(&manifest.key, note.data_time) == name;
    if note.sha256 != manifest.file.sha256 || !named {
        return distrust("it is of another file, or of another time".into());
    }
    if trust.is_future(at) {
        return distrust("its time is in the future".into());
    }
    Ok(Ok(()))
}

/// Reads a manifest and holds it against the policy and what lies there. What a single object has wrong is a fault of
/// that backup alone.
async fn judged(
    reader: Reader<'_>,
    key: &str,
    entry: Option<&Entry>,
    read: Option<Read>,
    trust: &Trust,
) -> Result<Of, Error> {
    let faulty = |e: Error, manifest: Option<Manifest>| Of::Faulty {
        read: read.clone(),
        manifest: manifest.map(Box::new),
        kind: e.kind,
        why: e.to_string(),
        mend: e.mend,
    };
    let doing = || format!("read the manifest of {key}");
    let name = beside::manifest(key);
    let json = match reader.get(&name).await {
        Ok(Some(json)) => json,
        Ok(None) => {
            let e = Error::new(Kind::Missing, doing(), "it was deleted just now", "look again");
            return Ok(faulty(e, None));
        }
        // Of a store that does not answer, nothing is known.
        Err(e) if e.kind == Kind::Unreachable => return Err(e),
        Err(e) => return Ok(faulty(e, None)),
    };
    let signed = trust.check(reader, &name, &json).await?;
    let manifest = match Manifest::read(key, &json) {
        Ok(manifest) => manifest,
        Err(e) => return Ok(faulty(e, None)),
    };
    if let Err(e) = signed.and_then(|()| trust.record(key, &manifest)) {
        return Ok(faulty(Error::new(Kind::Untrusted, doing(), e.why, e.mend), Some(manifest)));
    }
    let damaged = |why: String, mend: &str| Error::new(Kind::Damaged, doing(), why, mend);
    let said = manifest.file.bytes;
    Ok(match entry {
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
    })
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
        ignored: Vec::new(),
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

    /// This backup as it may be restored. Of what does not count, nothing but its file is believed, and that only where it
    /// is meant; where the policy signs, files of other tools are meant so too.
    ///
    /// # Errors
    /// If it may not: of the kind of its fault.
    pub fn admitted(self, signs: bool, untrusted: bool) -> Result<Self, Error> {
        let refused = |kind: Kind, why: String| {
            let mend =
                "to restore its file all the same, write --untrusted: whatever is in it is run";
            Err(Error::new(kind, format!("restore {}", self.arn), why, mend))
        };
        let read = match &self.kind {
            Of::Committed(_) => return Ok(self),
            Of::Foreign(_) if untrusted || !signs => return Ok(self),
            Of::Foreign(_) => {
                let why = "another tool made it, so it is not signed, and the policy says that it must be";
                return refused(Kind::Untrusted, why.into());
            }
            Of::Faulty { kind, why, mend, .. } if !untrusted => {
                return refused(*kind, format!("{why}; {mend}"));
            }
            Of::Faulty { read, .. } => read.clone(),
        };
        let at = self.modified;
        let named = Read {
            database: None,
            reason: None,
            table: None,
            at,
            precision: SignedDuration::from_secs(1),
        };
        let read = read.unwrap_or(named);
        Ok(Self { kind: Of::Foreign(read), unchanged: Vec::new(), ..self })
    }

    /// As a recovery point, for [`shared::keep`] to judge: only what Holdfast made for `owner`, and whole, can go.
    pub fn point(&self, owner: &str) -> RecoveryPoint {
        let manifest = self.manifest();
        let ours = manifest.filter(|m| self.good() && m.owner == owner);
        let system = manifest.and_then(|m| m.server.system_identifier.clone());
        let (state, encrypted) = match &self.kind {
            Of::Faulty { .. } => (RecoveryPointState::Failed("faulty".into()), false),
            Of::Foreign(_) => (RecoveryPointState::Good, false),
            Of::Committed(m) => (RecoveryPointState::Good, m.layers.cipher.is_some()),
        };
        RecoveryPoint {
            id: self.key.clone(),
            arn: self.arn.clone(),
            database: self.database().unwrap_or_default().to_owned(),
            resource_id: system.unwrap_or_default(),
            family: DatabaseKind::Instance,
            automated: false,
            state,
            data_time: self.data_time(),
            started: None,
            size_gib: i32::try_from(self.size.div_ceil(1 << 30)).unwrap_or(i32::MAX),
            encrypted,
            kms_key: None,
            option_group: None,
            source_arn: None,
            marks: HoldfastTags {
                owner: ours.map(|m| m.owner.clone()),
                reason: self.reason().map(str::to_owned),
                slot: manifest.and_then(|m| m.slot).map(shared::time::format_slot),
                hold: self.hold.clone(),
                ..HoldfastTags::default()
            },
        }
    }
}

#[cfg(test)]
mod tests;

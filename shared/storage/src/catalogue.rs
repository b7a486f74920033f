//! Which backups a store has: from the store alone.
//!
//! The store is listed once. What has a manifest that counts by the policy ([`Trust`]) is a backup; one whose manifest
//! does not count is a faulty one; what has none and a name of a form is a foreign one, made by other tools: it is shown,
//! verified and restored, and never deleted. [`StoredBackup::data_time`] is the one answer to which backup is the newest:
//! nothing that is of the future has any.

use crate::{
    BackupManifest, BackupStore, KeyTemplate, KnownNames, LegalHold, ObjectEntry, RecordCache,
    StoreError, StoreErrorKind, TrustPolicy, UnchangedMarker, beside, cache::Reader,
    key::ParsedKey, mark, trust::TrustError,
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use shared::catalog::{DatabaseKind, HoldfastTags, RecoveryPoint, RecoveryPointState};
use std::collections::BTreeMap;

/// Manifests read at once.
const MAX_CONCURRENT_READS: usize = 16;

/// A backup in a store.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredBackup {
    /// Its key, below the store's prefix.
    pub key: String,
    /// The whole name: the store's address and the key.
    pub uri: String,
    /// Its size, as it is stored.
    pub size: u64,
    /// When it was stored.
    pub modified: Timestamp,
    /// Its storage class, where the store says one.
    pub class: Option<String>,
    /// Whether it must be thawed before it can be read.
    pub archived: bool,
    /// What it is.
    pub kind: BackupKind,
    /// Why it is held, if it is.
    pub hold: Option<String>,
    /// Later times at which the database was still the same, in their order.
    pub unchanged: Vec<Timestamp>,
    /// Notes and holds beside it that do not count, and why; a few.
    pub ignored: Vec<String>,
}

/// What is known of a backup.
#[derive(Clone, Debug, PartialEq)]
pub enum BackupKind {
    /// It has a manifest that counts by the policy, and lies there as that says.
    Committed(Box<BackupManifest>),
    /// Made by another tool: what its name tells.
    Foreign(ParsedKey),
    /// It counts as no backup, and is never deleted: its manifest can't be read, does not count by the policy, or does not
    /// fit what lies there. What it says is perhaps a stranger's word.
    Faulty {
        /// What its name tells, if it is of a form.
        parsed_key: Option<ParsedKey>,
        /// Its manifest, if that could be read.
        manifest: Option<Box<BackupManifest>>,
        /// What kind of fault: [`Kind::Damaged`], [`Kind::Untrusted`], or why it could not be read.
        kind: StoreErrorKind,
        /// What is wrong.
        why: String,
        /// What to do about it.
        hint: String,
    },
}

/// Notes and holds that do not count are told of a backup up to so many.
const MAX_IGNORED_SIDECARS: usize = 5;

/// The backups of a store, in the order of their keys.
///
/// Of foreign files, those count whose names are of one of `forms`, with one of `databases` where the form has it. Of
/// committed ones, those of `databases`. An empty list of databases means all.
///
/// # Errors
/// If the store can't be listed and read to its end.
pub async fn list_backups(
    store: &BackupStore,
    forms: &[KeyTemplate],
    databases: &[String],
    trust: &TrustPolicy,
) -> Result<Vec<StoredBackup>, StoreError> {
    with_cache(store, forms, databases, trust, &RecordCache::default()).await
}

/// As [`list_backups()`]. Records, notes and holds that the cache has as the listing shows them are not read again.
///
/// # Errors
/// As of [`list_backups()`].
pub async fn with_cache(
    store: &BackupStore,
    forms: &[KeyTemplate],
    databases: &[String],
    trust: &TrustPolicy,
    cache: &RecordCache,
) -> Result<Vec<StoredBackup>, StoreError> {
    let entries: BTreeMap<String, ObjectEntry> =
        store.list("").await?.into_iter().map(|e| (e.key.clone(), e)).collect();
    let reader = Reader::cached(store, &entries, cache);
    let names = KnownNames { databases, reasons: &[] };
    let read = |key: &str| forms.iter().find_map(|form| form.parse_key(key, names));
    let asked =
        |name: Option<&String>| databases.is_empty() || name.is_some_and(|n| databases.contains(n));

    // Whatever has a manifest beside it, whatever its name: forms change over the years, backups stay.
    let manifests = entries.keys().filter(|key| *key != mark::MARKER_KEY);
    let manifests = manifests.filter_map(|key| key.strip_suffix(".json"));
    let manifests = manifests.filter(|key| entries.contains_key(*key) || read(key).is_some());
    let committed = stream::iter(manifests).map(|key| {
        let (entry, read) = (entries.get(key), read(key));
        async move {
            Ok::<_, StoreError>((key, classify_manifest(reader, key, entry, read, trust).await?))
        }
    });
    let committed: BTreeMap<&str, BackupKind> =
        committed.buffer_unordered(MAX_CONCURRENT_READS).try_collect().await?;

    let mut all = Vec::new();
    for (key, of) in &committed {
        let of_asked = match of {
            BackupKind::Committed(m) => asked(Some(&m.database)),
            // A stranger's word hides nothing from whom the name belongs to.
            BackupKind::Faulty { manifest: Some(m), parsed_key: read, .. } => {
                asked(Some(&m.database))
                    || read.as_ref().is_some_and(|r| asked(r.database.as_ref()))
            }
            _ => true,
        };
        if of_asked {
            all.push(new_backup(store, key, entries.get(*key), of.clone()));
        }
    }
    for (key, entry) in &entries {
        let beside = beside::backup_key_of_sidecar(key).is_some_and(|of| entries.contains_key(of));
        if !beside
            && !committed.contains_key(key.as_str())
            && let Some(read) = read(key)
        {
            all.push(new_backup(store, key, Some(entry), BackupKind::Foreign(read)));
        }
    }
    // Ours that never became one are no foreign ones.
    let bare: Vec<ObjectEntry> = (all.iter().filter(|b| matches!(b.kind, BackupKind::Foreign(_))))
        .filter_map(|b| entries.get(&b.key).cloned())
        .collect();
    if !bare.is_empty() {
        match store.list_uncommitted(forms, &bare).await {
            Ok(ours) => all.retain(|b| !ours.iter().any(|left| left.key == b.key)),
            // Who may read records alone can't tell them apart, and nothing is said of either.
            Err(e) if e.kind == StoreErrorKind::Denied => {
                all.retain(|b| !matches!(b.kind, BackupKind::Foreign(_)));
            }
            Err(e) => return Err(e),
        }
    }
    let looked = stream::iter(&mut all).map(|backup| async {
        let beside = entries.range(backup.key.clone()..).map(|(key, _)| key.clone());
        let beside = beside.take_while(|key| key.starts_with(&backup.key)).collect::<Vec<_>>();
        read_sidecars(reader, backup, &beside, trust).await
    });
    looked.buffer_unordered(MAX_CONCURRENT_READS).try_collect::<()>().await?;
    all.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(all)
}

/// One backup, by its key: without a manifest, or without its file, it is a faulty one.
///
/// # Errors
/// If the store can't be asked.
pub async fn get_backup(
    store: &BackupStore,
    key: &str,
    trust: &TrustPolicy,
) -> Result<StoredBackup, StoreError> {
    let entries = store.list(key).await?;
    let entry = entries.iter().find(|e| e.key == key);
    let reader = Reader::uncached(store);
    let of = classify_manifest(reader, key, entry, None, trust).await?;
    let mut backup = new_backup(store, key, entry, of);
    let keys: Vec<String> = entries.iter().map(|e| e.key.clone()).collect();
    read_sidecars(reader, &mut backup, &keys, trust).await?;
    Ok(backup)
}

/// Reads the notes and the hold beside a backup, as far as they count.
async fn read_sidecars(
    reader: Reader<'_>,
    backup: &mut StoredBackup,
    keys: &[String],
    trust: &TrustPolicy,
) -> Result<(), StoreError> {
    let mut ignored = Vec::new();
    let hold = beside::legal_hold_key(&backup.key);
    if keys.contains(&hold) {
        match held(reader, &backup.key, trust).await? {
            Some(Ok(why)) => backup.hold = Some(why),
            Some(Err(why)) => ignored.push(format!("{hold}: {}", why.why)),
            None => backup.hold = Some("it was released just now".into()),
        }
    }
    let notes = beside::unchanged_markers(keys.iter().map(String::as_str), &backup.key);
    let notes: Vec<(&str, Timestamp)> = notes.collect();
    let deduplicated =
        backup.committed_manifest().cloned().filter(|m| trust.allows_deduplication(&m.reason));
    if let Some(manifest) = deduplicated {
        let looked = stream::iter(notes).map(|(name, at)| {
            let manifest = &manifest;
            async move {
                Ok::<_, StoreError>((
                    name,
                    at,
                    check_unchanged_marker(reader, name, at, manifest, trust).await?,
                ))
            }
        });
        let looked: Vec<_> = looked.buffered(MAX_CONCURRENT_READS).try_collect().await?;
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
    if ignored.len() > MAX_IGNORED_SIDECARS {
        let more = ignored.len() - MAX_IGNORED_SIDECARS;
        ignored.truncate(MAX_IGNORED_SIDECARS);
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
    trust: &TrustPolicy,
) -> Result<Option<Result<String, TrustError>>, StoreError> {
    let name = beside::legal_hold_key(key);
    let json = match reader.get(&name).await {
        Ok(Some(json)) => json,
        Ok(None) => return Ok(None),
        Err(e) if e.kind == StoreErrorKind::Unreachable => return Err(e),
        Err(_) => Bytes::new(),
    };
    if let Err(e) = trust.check_signature(reader, &name, &json).await? {
        return Ok(Some(Err(e)));
    }
    Ok(Some(Ok(match serde_json::from_slice::<LegalHold>(&json) {
        Ok(LegalHold { why, by, .. }) => format!("{why} ({by})"),
        Err(_) => "for a reason that can't be read".into(),
    })))
}

/// Whether a note counts that the database was still the same as in this backup.
async fn check_unchanged_marker(
    reader: Reader<'_>,
    name: &str,
    at: Timestamp,
    manifest: &BackupManifest,
    trust: &TrustPolicy,
) -> Result<Result<(), TrustError>, StoreError> {
    let distrust = |why: String| Ok(Err(TrustError { why, hint: "find out who put it there" }));
    let json = match reader.get(name).await {
        Ok(Some(json)) => json,
        Ok(None) => return distrust("it was let go just now".into()),
        Err(e) if e.kind == StoreErrorKind::Unreachable => return Err(e),
        Err(e) => return distrust(e.why),
    };
    if let Err(e) = trust.check_signature(reader, name, &json).await? {
        return Ok(Err(e));
    }
    let note: UnchangedMarker = match serde_json::from_slice(&json) {
        Ok(note) => note,
        Err(e) => return distrust(format!("it is no note: {e}")),
    };
    let named = beside::unchanged_marker_key(&manifest.key, note.data_time) == name;
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
async fn classify_manifest(
    reader: Reader<'_>,
    key: &str,
    entry: Option<&ObjectEntry>,
    read: Option<ParsedKey>,
    trust: &TrustPolicy,
) -> Result<BackupKind, StoreError> {
    let faulty = |e: StoreError, manifest: Option<BackupManifest>| BackupKind::Faulty {
        parsed_key: read.clone(),
        manifest: manifest.map(Box::new),
        kind: e.kind,
        why: e.to_string(),
        hint: e.hint,
    };
    let doing = || format!("read the manifest of {key}");
    let name = beside::manifest_key(key);
    let json = match reader.get(&name).await {
        Ok(Some(json)) => json,
        Ok(None) => {
            let e = StoreError::new(
                StoreErrorKind::Missing,
                doing(),
                "it was deleted just now",
                "look again",
            );
            return Ok(faulty(e, None));
        }
        // Of a store that does not answer, nothing is known.
        Err(e) if e.kind == StoreErrorKind::Unreachable => return Err(e),
        Err(e) => return Ok(faulty(e, None)),
    };
    let signed = trust.check_signature(reader, &name, &json).await?;
    let manifest = match BackupManifest::parse_manifest(key, &json) {
        Ok(manifest) => manifest,
        Err(e) => return Ok(faulty(e, None)),
    };
    if let Err(e) = signed.and_then(|()| trust.check_manifest(key, &manifest)) {
        return Ok(faulty(
            StoreError::new(StoreErrorKind::Untrusted, doing(), e.why, e.hint),
            Some(manifest),
        ));
    }
    let damaged =
        |why: String, hint: &str| StoreError::new(StoreErrorKind::Damaged, doing(), why, hint);
    let said = manifest.file.bytes;
    Ok(match entry {
        None => {
            let hint = "find out who deleted it; the manifest alone is no backup";
            faulty(damaged("its file is not there".into(), hint), Some(manifest))
        }
        Some(entry) if entry.size != said => {
            let why = format!("its file has {} bytes, and the manifest says {said}", entry.size);
            let hint = "find out what changed it; it was whole when it was written";
            faulty(damaged(why, hint), Some(manifest))
        }
        Some(_) => BackupKind::Committed(Box::new(manifest)),
    })
}

fn new_backup(
    store: &BackupStore,
    key: &str,
    entry: Option<&ObjectEntry>,
    kind: BackupKind,
) -> StoredBackup {
    StoredBackup {
        key: key.to_owned(),
        uri: store.full_uri(key),
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

impl StoredBackup {
    /// The manifest, if it could be read.
    pub fn manifest(&self) -> Option<&BackupManifest> {
        match &self.kind {
            BackupKind::Committed(m) | BackupKind::Faulty { manifest: Some(m), .. } => Some(m),
            _ => None,
        }
    }

    /// What its name tells, of one whose manifest does not tell more.
    fn parsed_key(&self) -> Option<&ParsedKey> {
        match &self.kind {
            BackupKind::Foreign(read) | BackupKind::Faulty { parsed_key: Some(read), .. } => {
                Some(read)
            }
            _ => None,
        }
    }

    /// The database, as far as it is told.
    pub fn database(&self) -> Option<&str> {
        let named = self.parsed_key().and_then(|r| r.database.as_deref());
        self.manifest().map(|m| m.database.as_str()).or(named)
    }

    /// The reason, as far as it is told.
    pub fn reason(&self) -> Option<&str> {
        let named = self.parsed_key().and_then(|r| r.reason.as_deref());
        self.manifest().map(|m| m.reason.as_str()).or(named)
    }

    /// The time of its data: the latest at which the database was seen to be the same. A name tells the latest time that
    /// it can mean, and never one after it was stored.
    pub fn data_time(&self) -> Option<Timestamp> {
        let named = self.parsed_key().map(|r| r.latest_time().min(self.modified.max(r.earliest)));
        self.data_times().max().or(self.manifest().map(|m| m.data_time)).or(named)
    }

    /// Of a good one, every time at which the database was as it is here.
    pub fn data_times(&self) -> impl Iterator<Item = Timestamp> {
        let read = self.committed_manifest().map(|m| m.data_time);
        let notes = if read.is_some() { &self.unchanged[..] } else { &[] };
        read.into_iter().chain(notes.iter().copied())
    }

    /// Whether it has a manifest and lies there as that says.
    pub fn is_committed(&self) -> bool {
        self.committed_manifest().is_some()
    }

    /// The manifest of one that lies there as that says.
    pub fn committed_manifest(&self) -> Option<&BackupManifest> {
        match &self.kind {
            BackupKind::Committed(m) => Some(m),
            _ => None,
        }
    }

    /// This backup as it may be restored. Of what does not count, nothing but its file is believed, and that only where it
    /// is meant; where the policy signs, files of other tools are meant so too.
    ///
    /// # Errors
    /// If it may not: of the kind of its fault.
    pub fn admit_for_restore(self, signs: bool, untrusted: bool) -> Result<Self, StoreError> {
        let refused = |kind: StoreErrorKind, why: String| {
            let hint =
                "to restore its file all the same, write --untrusted: whatever is in it is run";
            Err(StoreError::new(kind, format!("restore {}", self.uri), why, hint))
        };
        let read = match &self.kind {
            BackupKind::Committed(_) => return Ok(self),
            BackupKind::Foreign(_) if untrusted || !signs => return Ok(self),
            BackupKind::Foreign(_) => {
                let why = "another tool made it, so it is not signed, and the policy says that it must be";
                return refused(StoreErrorKind::Untrusted, why.into());
            }
            BackupKind::Faulty { kind, why, hint, .. } if !untrusted => {
                return refused(*kind, format!("{why}; {hint}"));
            }
            BackupKind::Faulty { parsed_key: read, .. } => read.clone(),
        };
        let at = self.modified;
        let named = ParsedKey {
            database: None,
            reason: None,
            table: None,
            earliest: at,
            precision: SignedDuration::from_secs(1),
        };
        let read = read.unwrap_or(named);
        Ok(Self { kind: BackupKind::Foreign(read), unchanged: Vec::new(), ..self })
    }

    /// As a recovery point, for [`shared::keep`] to judge: only what Holdfast made for `owner`, and whole, can go.
    pub fn to_recovery_point(&self, owner: &str) -> RecoveryPoint {
        let manifest = self.manifest();
        let ours = manifest.filter(|m| self.is_committed() && m.owner == owner);
        let system = manifest.and_then(|m| m.server.system_identifier.clone());
        let (state, encrypted) = match &self.kind {
            BackupKind::Faulty { .. } => (RecoveryPointState::Failed("faulty".into()), false),
            BackupKind::Foreign(_) => (RecoveryPointState::Good, false),
            BackupKind::Committed(m) => (RecoveryPointState::Good, m.layers.encryption.is_some()),
        };
        RecoveryPoint {
            id: self.key.clone(),
            arn: self.uri.clone(),
            database: self.database().unwrap_or_default().to_owned(),
            resource_id: system.unwrap_or_default(),
            kind: DatabaseKind::Instance,
            automated: false,
            state,
            data_time: self.data_time(),
            started: None,
            size_gib: i32::try_from(self.size.div_ceil(1 << 30)).unwrap_or(i32::MAX),
            encrypted,
            kms_key: None,
            option_group: None,
            source_arn: None,
            tags: HoldfastTags {
                owner: ours.map(|m| m.owner.clone()),
                reason: self.reason().map(str::to_owned),
                slot: manifest.and_then(|m| m.slot).map(shared::time::format_slot),
                legal_hold: self.hold.clone(),
                ..HoldfastTags::default()
            },
        }
    }
}

#[cfg(test)]
mod tests;

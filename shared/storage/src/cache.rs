//! Small objects that were read before: records, signatures, notes and holds.
//!
//! Only their bytes are kept, never what was concluded from them: whether a record counts depends on the policy and on the
//! time, and is decided anew by each run.

use crate::{BackupStore, ObjectEntry, StoreError};
use bytes::Bytes;
use jiff::Timestamp;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The most that is kept, in bytes. What comes later is read each time.
const MAX_BYTES: usize = 32 << 20;

/// What was read of stores. An object that the listing shows as it was is not read again.
#[derive(Debug, Default)]
pub struct RecordCache(Mutex<Cached>);

/// Cached objects by their whole name.
#[derive(Debug, Default)]
struct Cached {
    objects: BTreeMap<String, (Version, Bytes)>,
    bytes: usize,
}

/// What the listing says of one version of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    size: u64,
    modified: Timestamp,
    etag: Option<String>,
}

impl Version {
    fn of(entry: &ObjectEntry) -> Self {
        Self { size: entry.size, modified: entry.modified, etag: entry.etag.clone() }
    }
}

impl RecordCache {
    fn cached(&self) -> MutexGuard<'_, Cached> {
        // Nothing panics while it is held, and what is in it is whole at any time.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what the listing of a store does not show as it was.
    fn retain(&self, store: &BackupStore, entries: &BTreeMap<String, ObjectEntry>) {
        let root = store.full_uri("");
        let mut cached = self.cached();
        let Cached { objects, bytes } = &mut *cached;
        objects.retain(|name, (version, object)| {
            let Some(key) = name.strip_prefix(&root) else { return true };
            let stays = entries.get(key).is_some_and(|e| Version::of(e) == *version);
            *bytes -= if stays { 0 } else { object.len() };
            stays
        });
    }

    fn get(&self, name: &str, version: &Version) -> Option<Bytes> {
        let cached = self.cached();
        cached.objects.get(name).filter(|(known, _)| known == version).map(|(_, b)| b.clone())
    }

    fn put(&self, name: String, version: Version, bytes: &Bytes) {
        let mut cached = self.cached();
        if cached.bytes + bytes.len() > MAX_BYTES || cached.objects.contains_key(&name) {
            return;
        }
        cached.bytes += bytes.len();
        cached.objects.insert(name, (version, bytes.clone()));
    }
}

/// Reads small objects of a store, those that the cache has from there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) store: &'a BackupStore,
    listed: Option<(&'a BTreeMap<String, ObjectEntry>, &'a RecordCache)>,
}

impl<'a> Reader<'a> {
    /// Reads everything from the store.
    pub(crate) fn uncached(store: &'a BackupStore) -> Self {
        Self { store, listed: None }
    }

    /// Reads what the cache does not have as the listing shows it.
    pub(crate) fn cached(
        store: &'a BackupStore,
        entries: &'a BTreeMap<String, ObjectEntry>,
        cache: &'a RecordCache,
    ) -> Self {
        cache.retain(store, entries);
        Self { store, listed: Some((entries, cache)) }
    }

    /// As [`BackupStore::get_small`].
    pub(crate) async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let listed = self.listed.and_then(|(entries, cache)| Some((entries.get(key)?, cache)));
        let Some((entry, cache)) = listed else { return self.store.get_small(key).await };
        let (name, version) = (self.store.full_uri(key), Version::of(entry));
        if let Some(bytes) = cache.get(&name, &version) {
            return Ok(Some(bytes));
        }
        let bytes = self.store.get_small(key).await?;
        if let Some(bytes) = &bytes {
            cache.put(name, version, bytes);
        }
        Ok(bytes)
    }
}

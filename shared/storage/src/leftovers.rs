//! What runs left behind that never became a backup.

use crate::{KeyTemplate, KnownNames, ObjectEntry, StoreError, beside, key};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use std::collections::BTreeSet;

/// Objects asked about at once.
const MAX_CONCURRENT_HEADS: usize = 16;

/// Something that a run left behind which never became a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrphanedObject {
    /// The key that it is of.
    pub key: String,
    /// The database that it is of, as far as the key tells. Who cleans must hold its lease: it may be a run's that goes on.
    pub database: Option<String>,
    /// What it is.
    pub kind: OrphanKind,
    /// When it was begun.
    pub started_at: Option<Timestamp>,
}

/// Kinds of leftovers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrphanKind {
    /// A multipart upload that was not ended; it costs as long as it lies there.
    Upload {
        /// The store's name for it.
        id: String,
    },
    /// An object of ours without a manifest.
    Object,
    /// A temporary file; the object under its name was committed, or there is none.
    Temporary,
}

/// Those of `entries` under keys of these forms that have no manifest, and of which `ours` says that a run of Holdfast
/// made them.
pub(crate) async fn find_uncommitted<'e, Asked>(
    forms: &[KeyTemplate],
    entries: &'e [ObjectEntry],
    ours: impl Fn(&'e str) -> Asked,
) -> Result<Vec<OrphanedObject>, StoreError>
where
    Asked: Future<Output = Result<bool, StoreError>>,
{
    let keys: BTreeSet<&str> = entries.iter().map(|e| e.key.as_str()).collect();
    let bare = entries.iter().filter(|e| !keys.contains(beside::manifest_key(&e.key).as_str()));
    let bare = bare.filter(|e| beside::backup_key_of_sidecar(&e.key).is_none());
    let bare = bare.filter_map(|e| Some((e, parse_any(forms, &e.key)?)));
    let looked = stream::iter(bare).map(|(entry, read)| {
        let asked = ours(&entry.key);
        async move {
            Ok::<_, StoreError>(asked.await?.then(|| OrphanedObject {
                key: entry.key.clone(),
                database: read.database,
                kind: OrphanKind::Object,
                started_at: Some(entry.modified),
            }))
        }
    });
    let found: Vec<Option<OrphanedObject>> =
        looked.buffered(MAX_CONCURRENT_HEADS).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// What a key tells, be it a backup's of one of the forms or of what lies beside one.
pub(crate) fn parse_any(forms: &[KeyTemplate], key: &str) -> Option<key::ParsedKey> {
    let read = |key: &str| forms.iter().find_map(|form| form.parse_key(key, KnownNames::default()));
    read(key).or_else(|| read(beside::backup_key_of_sidecar(key)?))
}

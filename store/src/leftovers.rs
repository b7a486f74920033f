//! What runs left behind that never became a backup.

use crate::{Entry, Error, KeyForm, Names, beside, key};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use std::collections::BTreeSet;

/// Objects asked about at once.
const WIDTH: usize = 16;

/// Something that a run left behind which never became a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The key that it is of.
    pub key: String,
    /// The database that it is of, as far as the key tells. Who cleans must hold its lease: it may be a run's that goes on.
    pub database: Option<String>,
    /// What it is.
    pub what: Left,
    /// When it was begun.
    pub since: Option<Timestamp>,
}

/// Kinds of leftovers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
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
pub(crate) async fn unfinished<'e, Asked>(
    forms: &[KeyForm],
    entries: &'e [Entry],
    ours: impl Fn(&'e str) -> Asked,
) -> Result<Vec<Leftover>, Error>
where
    Asked: Future<Output = Result<bool, Error>>,
{
    let keys: BTreeSet<&str> = entries.iter().map(|e| e.key.as_str()).collect();
    let bare = entries.iter().filter(|e| !keys.contains(beside::manifest(&e.key).as_str()));
    let bare = bare.filter(|e| beside::whose(&e.key).is_none());
    let bare = bare.filter_map(|e| Some((e, of_form(forms, &e.key)?)));
    let looked = stream::iter(bare).map(|(entry, read)| {
        let asked = ours(&entry.key);
        async move {
            Ok::<_, Error>(asked.await?.then(|| Leftover {
                key: entry.key.clone(),
                database: read.database,
                what: Left::Object,
                since: Some(entry.modified),
            }))
        }
    });
    let found: Vec<Option<Leftover>> = looked.buffered(WIDTH).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// What a key tells, be it a backup's of one of the forms or of what lies beside one.
pub(crate) fn of_form(forms: &[KeyForm], key: &str) -> Option<key::Read> {
    let read = |key: &str| forms.iter().find_map(|form| form.read(key, Names::default()));
    read(key).or_else(|| read(beside::whose(key)?))
}

//! The exports that a store has.

use crate::record::{ExportRecord, RECORD_SUFFIX};
use futures_util::{StreamExt, stream};
use shared::{
    aws::{OperationError, OperationErrorKind, secrets::inventory::CURRENT},
    policy::{SecretGroup, StoreConfig},
    run::RunContext,
};
use std::collections::BTreeSet;
use storage::{BackupStore, StoreErrorKind, TrustPolicy, mark, place::OpenStore};

/// Records that are read at once.
const MAX_CONCURRENT_READS: usize = 16;

/// What a store has for a group.
#[derive(Clone, Debug, Default)]
pub struct ExportInventory {
    /// Exports that count, by name, then oldest first.
    pub exports: Vec<ExportRecord>,
    /// Records that do not count: key and why.
    pub ignored: Vec<(String, String)>,
}

impl ExportInventory {
    /// Whether a version is exported.
    pub fn has(&self, name: &str, version: &str) -> bool {
        self.exports.iter().any(|e| e.name == name && e.version == version)
    }
}

/// Opens a group's store.
///
/// # Errors
/// If the policy names none that this process can reach.
pub async fn open<'p>(
    world: &RunContext<'_>,
    rules: &'p SecretGroup,
) -> Result<Option<OpenStore<'p>>, OperationError> {
    let Some(policy): Option<&StoreConfig> = rules.storage.as_ref() else { return Ok(None) };
    if policy.directory.is_some() && !world.on_host {
        let why = "its exports lie in a directory of a host";
        let hint = "run it there, or write a bucket";
        return Err(OperationError::with_hint(
            OperationErrorKind::Refused,
            "open the exports",
            why,
            hint,
        ));
    }
    let resolver = world.secret_resolver();
    let store = storage::open_store(world.aws, &world.home_location(), policy, &resolver).await;
    Ok(Some(OpenStore::new(store?, policy)))
}

/// Every export of a store.
///
/// # Errors
/// If the store belongs to another owner or cannot be read to its end.
pub async fn list_exports(
    store: &BackupStore,
    trust: &TrustPolicy,
) -> Result<ExportInventory, OperationError> {
    let marked = mark::find_marker(store, trust).await?.is_some();
    if !marked && matches!(store, BackupStore::Directory(_)) {
        return Err(mark::missing_marker_error(store).into());
    }
    let keys: BTreeSet<String> = store.list("").await?.into_iter().map(|e| e.key).collect();
    let records = keys.iter().filter(|k| k.ends_with(RECORD_SUFFIX));
    let reads = records.map(|key| read_record(store, trust, key, &keys));
    let read: Vec<_> = stream::iter(reads).buffered(MAX_CONCURRENT_READS).collect().await;
    let mut inventory = ExportInventory::default();
    for (key, one) in read {
        match one? {
            Ok(record) => inventory.exports.push(record),
            Err(why) => inventory.ignored.push((key, why)),
        }
    }
    inventory.exports.sort_by(|a, b| age_order(a).cmp(&age_order(b)));
    Ok(inventory)
}

/// By name, then from the oldest version to the newest. Two may be of one second: then the one that was exported later is the
/// newer, and of one run the one that was current.
fn age_order(e: &ExportRecord) -> impl Ord + '_ {
    (&e.name, e.created, e.exported, e.labels.iter().any(|l| l == CURRENT))
}

/// A record, or why it does not count.
async fn read_record(
    store: &BackupStore,
    trust: &TrustPolicy,
    key: &str,
    keys: &BTreeSet<String>,
) -> (String, Result<Result<ExportRecord, String>, OperationError>) {
    let export = key.strip_suffix(".json").unwrap_or(key);
    let read = async {
        if !keys.contains(export) {
            return Ok(Err("its object is not there".into()));
        }
        let Some(json) = store.get_small(key).await? else {
            return Ok(Err("it is gone".into()));
        };
        match trust.verify_signature(store, key, &json).await {
            Ok(()) => Ok(ExportRecord::parse(trust.owner(), export, &json)),
            Err(e) if e.kind == StoreErrorKind::Untrusted => Ok(Err(e.why)),
            Err(e) => Err(OperationError::from(e)),
        }
    };
    (export.to_owned(), read.await)
}

//! A database in which nothing changed: its newest dump is noted to be still true, and nothing more is stored.
//!
//! Only a dump that was read in full shows that nothing changed. The note lies beside the older file, and is written last,
//! as a commit record is, and signed where the policy signs. It says so of the very same bytes, under the same keys: after
//! a rotation a new file is stored.

use crate::{
    plan::{CopyUnchangedMarker, DumpDatabase},
    record,
    take::GroupDumpContext,
};
use codec::EncodingOptions;
use jiff::Timestamp;
use postgres::dump::DumpSummary;
use shared::{
    aws::{OperationError, OperationErrorKind},
    policy::DumpRule,
    signing::SigningAuthor,
    words::hex_encode,
};
use storage::{
    BackupManifest, TrustPolicy, UnchangedMarker, UploadOptions, beside, catalogue, manifest,
    place::OpenStore,
};

/// A dump that is still true.
#[derive(Debug)]
pub(crate) struct PreviousDump {
    /// Its key.
    pub(crate) key: String,
    /// Its commit record.
    pub(crate) manifest: BackupManifest,
}

/// The dump under this key, if it holds what was just dumped, is good, and was made as one would be made now, with the
/// same keys. All of its file is read: what is relied on anew must be proven anew.
///
/// # Errors
/// If the store can't be asked.
pub(crate) async fn find_identical_dump(
    ground: &GroupDumpContext<'_>,
    key: &str,
    dump: &DumpRule,
    recipe: &EncodingOptions,
    dumped: &DumpSummary,
) -> Result<Option<PreviousDump>, OperationError> {
    let store = &ground.stored.store;
    let backup =
        catalogue::get_backup(store, key, ground.trust).await.map_err(OperationError::from)?;
    let fingerprint = dumped.fingerprint.map(|f| hex_encode(&f));
    let alike = |m: &&BackupManifest| {
        fingerprint.is_some()
            && m.fingerprint == fingerprint
            && m.format == record::manifest_format(dump)
            && m.layers == recipe.to_layers()
            && m.recipients == record::age_recipients(dump)
    };
    let Some(manifest) = backup.committed_manifest().filter(alike) else { return Ok(None) };
    if store.compute_sha256(key).await.ok().as_ref() != Some(&manifest.file.sha256) {
        tracing::warn!(key, "{key} is damaged: its data is stored anew");
        return Ok(None);
    }
    Ok(Some(PreviousDump { key: key.to_owned(), manifest: manifest.clone() }))
}

/// Notes that a dump was still true `at` a time, and looks whether it is still there.
///
/// # Errors
/// If the note can't be written, or the dump was let go meanwhile.
pub(crate) async fn write_unchanged_marker(
    ground: &GroupDumpContext<'_>,
    take: &DumpDatabase,
    before: &PreviousDump,
    at: Timestamp,
) -> Result<(), OperationError> {
    let PreviousDump { key, manifest } = before;
    let note = UnchangedMarker {
        holdfast: manifest::MANIFEST_VERSION,
        sha256: manifest.file.sha256.clone(),
        data_time: at,
        slot: take.slot,
        run: ground.world.run_id.clone(),
    };
    let store = &ground.stored.store;
    let put = UploadOptions { run: note.run.clone(), ..UploadOptions::default() };
    let name = beside::unchanged_marker_key(key, at);
    let json = note.to_json().into();
    store.put_signed(&name, json, &put, ground.author).await.map_err(OperationError::from)?;
    let there =
        catalogue::get_backup(store, key, ground.trust).await.map_err(OperationError::from)?;
    if there.is_committed() {
        return Ok(());
    }
    let why = "it was let go while its database was found to be still the same";
    Err(OperationError::with_hint(
        OperationErrorKind::Store,
        format!("note that {key} is still true"),
        why,
        "dump again",
    ))
}

/// Copies a note to a second place, under the name of the dump there.
///
/// # Errors
/// If it does not count, or can't be read or written.
pub(crate) async fn copy_unchanged_marker(
    from: &OpenStore<'_>,
    to: &OpenStore<'_>,
    what: &CopyUnchangedMarker,
    trust: &TrustPolicy,
    author: &SigningAuthor,
) -> Result<(), OperationError> {
    let name = beside::unchanged_marker_key(&what.from, what.at);
    let refused = |why: &str| {
        OperationError::with_hint(OperationErrorKind::Store, format!("copy {name}"), why, "")
    };
    let there = catalogue::get_backup(&from.store, &what.from, trust)
        .await
        .map_err(OperationError::from)?;
    if !there.unchanged.contains(&what.at) {
        return Err(refused("it is gone, or does not count any more"));
    }
    let json = from.store.get_small(&name).await.map_err(OperationError::from)?;
    let json = json.ok_or_else(|| refused("it is gone"))?;
    let name = beside::unchanged_marker_key(&what.key, what.at);
    to.store
        .put_signed(&name, json, &UploadOptions::default(), author)
        .await
        .map_err(OperationError::from)
}

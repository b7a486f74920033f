//! A dump copied to a second place: the very bytes, its hash, and a commit record of its own.

use crate::{
    plan::CopyDump,
    take::{UploadError, commit_dump, upload_stream},
};
use codec::pipe;
use sha2::{Digest, Sha256};
use shared::{
    aws::{OperationError, OperationErrorKind},
    policy::PostgresGroup,
    run::RunContext,
    signing::SigningAuthor,
};
use storage::{
    BackupManifest, TrustPolicy, UploadOptions,
    catalogue::{self, BackupKind},
    place::{OpenStore, has_same_names, object_lock_until},
};

/// What a copy needs besides its two places.
#[derive(Debug)]
pub struct DumpCopyContext<'a> {
    /// The run.
    pub world: &'a RunContext<'a>,
    /// The group.
    pub rules: &'a PostgresGroup,
    /// Who signs.
    pub author: &'a SigningAuthor,
    /// What counts.
    pub trust: &'a TrustPolicy,
}

/// Copies a dump and says what it came to, and under which key.
///
/// # Errors
/// If it does not count where it lies, is not what its commit record says, or can't be written.
pub async fn copy_dump(
    means: &DumpCopyContext<'_>,
    from: &OpenStore<'_>,
    to: &OpenStore<'_>,
    what: &CopyDump,
) -> Result<(String, BackupManifest), OperationError> {
    let DumpCopyContext { world, rules, author, trust } = means;
    to.ensure_owned(trust, author, world).await.map_err(OperationError::from)?;
    let source = catalogue::get_backup(&from.store, &what.from, trust)
        .await
        .map_err(OperationError::from)?;
    let mut manifest = match source.kind {
        BackupKind::Committed(manifest) => *manifest,
        BackupKind::Faulty { why, hint, .. } => {
            return Err(OperationError::with_hint(
                OperationErrorKind::Store,
                format!("copy {}", what.from),
                why,
                hint,
            ));
        }
        BackupKind::Foreign(_) => {
            let doing = format!("copy {}", what.from);
            return Err(OperationError::with_hint(
                OperationErrorKind::Store,
                doing,
                "it has no commit record",
                "",
            ));
        }
    };
    let key = choose_copy_key(means, to, &manifest).await?;
    let run = &world.run_id;
    let dumps = rules.all_dumps();
    let own = dumps.iter().find(|(reason, _)| reason.as_str() == manifest.reason);
    let keep = to.policy.keep.as_ref().or(own.map(|(_, dump)| &dump.keep));
    let lock =
        to.policy.lock.and(keep).and_then(|keep| object_lock_until(keep, manifest.data_time));
    let put = UploadOptions {
        run: run.clone(),
        class: to.initial_storage_class(&rules.tiers),
        lock_until: lock,
        size_hint: manifest.file.bytes,
    };
    let mut upload = to.store.start_upload(&key, &put).await.map_err(OperationError::from)?;
    let (read_to, read_from) = pipe::chunk_channel(8);
    let mut hash = Sha256::new();
    let (read, sent) = tokio::join!(
        from.store.stream_object(&what.from, read_to),
        upload_stream(read_from, &mut upload, to.policy.bandwidth.as_ref(), |piece| hash
            .update(piece)),
    );
    let checked = match (read, sent) {
        (Err(e), _) | (_, Err(UploadError::Store(e))) => Err(e.into()),
        (_, Err(UploadError::Cut(e))) => {
            let doing = format!("read {}", what.from);
            Err(OperationError::with_hint(OperationErrorKind::Store, doing, e.to_string(), ""))
        }
        (Ok(()), Ok(())) => verify_identical(&what.from, &hash.finalize(), &manifest.file.sha256),
    };
    if let Err(e) = checked {
        upload.abort().await;
        return Err(e);
    }
    let written = upload.finish().await.map_err(OperationError::from)?;
    // The record of a copy is its own: name, lock and line of restore are others there.
    manifest.file.name = key.rsplit('/').next().unwrap_or(&key).to_owned();
    manifest.file.checksum = written.checksum;
    manifest.locked_until = put.lock_until;
    manifest.restore = manifest
        .restore
        .replace(&from.store.download_command(&what.from), &to.store.download_command(&key));
    manifest.key.clone_from(&key);
    commit_dump(&to.store, &key, &manifest, &put, author).await?;
    Ok((key, manifest))
}

/// What a copy is called: as in the first place, unless the second one has names of its own.
async fn choose_copy_key(
    means: &DumpCopyContext<'_>,
    to: &OpenStore<'_>,
    m: &BackupManifest,
) -> Result<String, OperationError> {
    let DumpCopyContext { world, rules, .. } = means;
    let mut candidates = Vec::new();
    let dumps = rules.all_dumps();
    let dump = dumps.iter().find(|(reason, _)| reason.as_str() == m.reason).map(|(_, dump)| dump);
    if has_same_names(to.policy, rules, dump).map_err(OperationError::from)? {
        candidates.push(m.key.clone());
    }
    if let Some(dump) = dump {
        let form = to.key_template(rules, dump).map_err(OperationError::from)?;
        let table = m.table.as_deref().unwrap_or_default();
        let more = form.candidate_keys(&m.database, &m.reason, table, m.data_time, &world.run_id);
        candidates.extend(more.map_err(OperationError::from)?);
    }
    to.store.find_free_key(&candidates).await.map_err(OperationError::from)
}

/// What was read must be what was written once.
fn verify_identical(key: &str, hash: &[u8], record: &str) -> Result<(), OperationError> {
    let hash = codec::Sha256Digest(hash.try_into().expect("SHA-256 has 32 bytes")).to_string();
    if hash == record {
        return Ok(());
    }
    let why = format!("its SHA-256 is {hash} and its commit record says {record}");
    let hint = "the file in the first place is damaged: verify it, and look at its disk or bucket";
    Err(OperationError::with_hint(OperationErrorKind::Store, format!("copy {key}"), why, hint))
}

//! What lies beside a backup, and what the reading of it says.

use super::{CheckResult, READABLE_CHECK};
use crate::{RestoreError, RestoreErrorKind};
use codec::{ArchiveDigests, EncodingLayers, StreamDigest};
use storage::{BackupStore, StoredBackup, beside, catalogue::BackupKind};

/// Of the notes beside it. One that does not count makes it no worse.
const UNCHANGED_MARKERS_CHECK: &str = "notes that it is still true";

/// What lies beside the backup: its manifest, as it was judged when the store was listed, and its `.sha256`.
pub(crate) async fn check_sidecars(store: &BackupStore, backup: &StoredBackup) -> Vec<CheckResult> {
    let mut checks = Vec::new();
    match &backup.kind {
        BackupKind::Committed(_) => {
            let detail = "it counts by the policy, and is of the size that is stored";
            checks.push(CheckResult::passed("manifest", detail));
        }
        BackupKind::Foreign(_) => {
            checks.push(CheckResult::skipped("manifest", "another tool made it: it has none"));
        }
        BackupKind::Faulty { kind, why, hint, .. } => {
            let check = CheckResult::failed("manifest", format!("{why}; {hint}"));
            checks.push(CheckResult { kind: Some((*kind).into()), ..check });
            return checks;
        }
    }
    if backup.archived {
        let class = backup.class.as_deref().unwrap_or("an archive class");
        let detail = format!(
            "it is in {class} and must be thawed first; a restore of it asks for that, and `--wait` waits for it"
        );
        checks.push(CheckResult {
            kind: Some(RestoreErrorKind::Cold),
            ..CheckResult::failed(READABLE_CHECK, detail)
        });
        return checks;
    }
    if let Some(last) = backup.unchanged.last() {
        let detail = format!("{}, the last of {last}", backup.unchanged.len());
        checks.push(CheckResult::passed(UNCHANGED_MARKERS_CHECK, detail));
    }
    if !backup.ignored.is_empty() {
        checks.push(CheckResult::skipped("what does not count", backup.ignored.join("; ")));
    }
    match sidecar_checksum(store, backup).await {
        Ok(None) if backup.committed_manifest().is_some() => {
            checks.push(CheckResult::failed(".sha256", "it is not there"));
        }
        Ok(Some(said)) => {
            if let Some(manifest) = backup.committed_manifest() {
                checks.push(if said.eq_ignore_ascii_case(&manifest.file.sha256) {
                    CheckResult::passed(".sha256", "agrees with the manifest")
                } else {
                    CheckResult::failed(".sha256", "does not agree with the manifest")
                });
            }
        }
        Ok(None) => {}
        Err(e) => checks.push(CheckResult::from_error(".sha256", &e)),
    }
    checks
}

/// The hash in the backup's `.sha256`.
async fn sidecar_checksum(
    store: &BackupStore,
    backup: &StoredBackup,
) -> Result<Option<String>, RestoreError> {
    let Some(bytes) = store.get_small(&beside::checksum_key(&backup.key)).await? else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&bytes);
    Ok(Some(text.split_whitespace().next().unwrap_or_default().to_owned()))
}

/// What the reading of everything says.
pub(crate) fn check_hashes(
    backup: &StoredBackup,
    sums: Result<Option<ArchiveDigests>, RestoreError>,
) -> Vec<CheckResult> {
    let sums = match sums {
        Ok(Some(sums)) => sums,
        Ok(None) => return vec![CheckResult::failed(READABLE_CHECK, "it was not read to its end")],
        Err(e) => return vec![CheckResult::from_error(READABLE_CHECK, &e)],
    };
    let show = |d: &StreamDigest| format!("{} bytes, {}", d.bytes, d.sha256);
    let layers = backup.committed_manifest().map_or_else(EncodingLayers::default, |m| m.layers);
    let undone = match (layers.encryption, layers.compression) {
        (None, None) => "to its end",
        (None, Some(_)) => "decompressed to its end",
        (Some(_), None) => "decrypted to its end",
        (Some(_), Some(_)) => "decrypted and decompressed to its end",
    };
    vec![
        CheckResult::passed(READABLE_CHECK, undone),
        CheckResult::passed("stored bytes", show(&sums.stored)),
        CheckResult::passed("plain bytes", show(&sums.plaintext)),
    ]
}

/// Of a foreign backup, what was read against the `.sha256` beside it.
pub(super) async fn check_file_hash(
    store: &BackupStore,
    backup: &StoredBackup,
    checks: &[CheckResult],
) -> Option<CheckResult> {
    if backup.committed_manifest().is_some() {
        return None;
    }
    let read = checks.iter().find(|c| c.name == "stored bytes")?;
    let said = sidecar_checksum(store, backup).await.ok()??;
    Some(if read.detail.ends_with(&said.to_lowercase()) {
        CheckResult::passed(".sha256", "agrees with what was read")
    } else {
        CheckResult::failed(".sha256", format!("says {said}"))
    })
}

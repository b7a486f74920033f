//! Faults that a drill makes on purpose. They touch copies and scratch databases alone, never a backup.

use crate::evidence::DrillFault;
use restore::{BackupKeys, InjectedFault};
use shared::{aws::OperationError, policy::PostgresGroup};
use std::{io::Write as _, path::Path};
use storage::{BackupStore, DirectoryBackend, StoredBackup, UploadOptions, beside};
use tokio::sync::mpsc;

/// What the restore engine breaks for a fault.
pub(crate) fn engine_fault(fault: Option<DrillFault>) -> Option<InjectedFault> {
    match fault {
        Some(DrillFault::Empty) => Some(InjectedFault::Empty),
        Some(DrillFault::FailedRestore) => Some(InjectedFault::FailedRestore),
        _ => None,
    }
}

/// Keys that open nothing.
pub(crate) fn wrong_keys(rules: &PostgresGroup) -> BackupKeys {
    let mut keys = BackupKeys::default();
    for encrypt in rules.dumps.values().filter_map(|d| d.encrypt.as_ref()) {
        keys.keys.add_iterations(encrypt.iterations);
    }
    keys.keys.add_passphrase("not the passphrase of any backup".to_owned().into());
    keys
}

/// Copies the first half of a backup's file, with what lies beside it, into a store of its own.
///
/// # Errors
/// If it can't be read or the copy can't be written.
pub(crate) async fn copy_truncated(
    store: &BackupStore,
    backup: &StoredBackup,
    folder: &Path,
) -> Result<BackupStore, OperationError> {
    let copy = BackupStore::Directory(DirectoryBackend::new(folder, ""));
    let failed = |e: std::io::Error| {
        OperationError::from_message(format!("copy half of {}", backup.uri), e.to_string())
    };
    let beside = beside::checksum_key(&backup.key);
    if let Some(sum) = store.get_small(&beside).await? {
        copy.put_if_absent(&beside, sum, &UploadOptions::default()).await?;
    }
    let path = folder.join(&backup.key);
    std::fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(failed)?;
    let mut file = std::fs::File::create_new(&path).map_err(failed)?;
    let mut left = usize::try_from(backup.size / 2).unwrap_or(usize::MAX);
    let (out, mut pieces) = mpsc::channel::<std::io::Result<bytes::Bytes>>(4);
    let write = async {
        while let Some(piece) = pieces.recv().await {
            let piece = piece?;
            if piece.is_empty() || left == 0 {
                break;
            }
            let part = &piece[..piece.len().min(left)];
            file.write_all(part)?;
            left -= part.len();
        }
        // Who is not heard any more ends.
        pieces.close();
        Ok::<_, std::io::Error>(())
    };
    let (_, written) = tokio::join!(store.stream_object(&backup.key, out), write);
    written.map_err(failed)?;
    Ok(copy)
}

//! A file that is being written.

use super::{CHUNK_BYTES, max_io_time, run_blocking, run_blocking_for, steps};
use crate::{StoreError, StoreErrorKind, UploadReceipt};
use bytes::Bytes;
use rustix::fs::{Advice, fadvise};
use sha2::{Digest, Sha256};
use shared::words::hex_encode;
use std::{
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
};

/// A temporary file, and what went into it.
#[derive(Debug)]
pub(crate) struct DirectoryUpload {
    path: PathBuf,
    pending: Vec<Bytes>,
    length: usize,
    /// None while it is at work, and after it ended.
    open_file: Option<OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    bytes: u64,
    hash: Sha256,
}

impl DirectoryUpload {
    pub(super) async fn start(root: PathBuf, path: PathBuf) -> Result<Self, StoreError> {
        let of = path.clone();
        let file = run_blocking(move || {
            steps::create_parents(&root, &of)?;
            if of.symlink_metadata().is_ok() {
                let doing = format!("write {}", of.display());
                let hint = "look at it: nothing is ever rewritten";
                return Err(StoreError::new(
                    StoreErrorKind::Exists,
                    doing,
                    "there is a file of that name",
                    hint,
                ));
            }
            steps::create_temp_file(&of)
        })
        .await?;
        Ok(Self::for_path(path, file))
    }

    /// What goes into `file` becomes `path`.
    pub(super) fn for_path(path: PathBuf, file: File) -> Self {
        let open = Some(OpenFile { file, bytes: 0, hash: Sha256::new() });
        Self { path, pending: Vec::new(), length: 0, open_file: open }
    }

    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.length += bytes.len();
        self.pending.push(bytes);
        if self.length < CHUNK_BYTES { Ok(()) } else { self.flush_chunks().await }
    }

    async fn flush_chunks(&mut self) -> Result<(), StoreError> {
        let doing = format!("write {}", self.path.display());
        let Some(mut open) = self.open_file.take() else {
            let hint = "this is a fault of Holdfast";
            return Err(StoreError::new(StoreErrorKind::Refused, doing, "it failed before", hint));
        };
        let waiting = std::mem::take(&mut self.pending);
        self.length = 0;
        let written = run_blocking(move || {
            for bytes in waiting {
                open.file.write_all(&bytes).map_err(|e| StoreError::from_io(&doing, &e))?;
                open.hash.update(&bytes);
                open.bytes += bytes.len() as u64;
            }
            Ok(open)
        });
        let written = written.await;
        self.abandon_if_hung(&written);
        self.open_file = Some(written?);
        Ok(())
    }

    /// Whoever waits for a file system that hangs would hang too: its temporary name is left to the next run.
    fn abandon_if_hung<T>(&mut self, done: &Result<T, StoreError>) {
        if done.as_ref().is_err_and(|e| e.kind == StoreErrorKind::Unreachable) {
            self.path = PathBuf::new();
        }
    }

    pub(crate) async fn finish(mut self) -> Result<UploadReceipt, StoreError> {
        self.flush_chunks().await?;
        let Some(open) = self.open_file.take() else { unreachable!("flush leaves it open") };
        let path = self.path.clone();
        let done = run_blocking_for(max_io_time(2 * open.bytes), move || {
            let sum = hex_encode(&open.hash.finalize());
            let synced = open.file.sync_all();
            synced.map_err(|e| StoreError::from_io(format!("sync {}", path.display()), &e))?;
            verify_file(&steps::temp_path(&path), open.bytes, &sum)?;
            steps::publish_by_link(&path)?;
            Ok(UploadReceipt { bytes: open.bytes, checksum: Some(format!("sha256:{sum}")) })
        })
        .await;
        self.abandon_if_hung(&done);
        if done.is_ok() {
            // The temporary name stays until the manifest is there.
            self.path = PathBuf::new();
        }
        done
    }
}

impl Drop for DirectoryUpload {
    fn drop(&mut self) {
        if self.path != PathBuf::new()
            && let Err(e) = steps::remove_if_exists(&steps::temp_path(&self.path))
        {
            tracing::warn!("a temporary file stays until the next run cleans it: {e}");
        }
    }
}

/// Reads a file from the disk and compares it with what was written.
fn verify_file(path: &Path, bytes: u64, sum: &str) -> Result<(), StoreError> {
    let doing = || format!("read back {}", path.display());
    let io = |e: std::io::Error| StoreError::from_io(doing(), &e);
    let mut file = File::open(path).map_err(io)?;
    // What is in memory would only be compared with itself. Where the file system does not listen, this is all there is.
    let _ = fadvise(&file, 0, None, Advice::DontNeed);
    let (mut hash, mut chunk, mut came) = (Sha256::new(), vec![0; CHUNK_BYTES], 0);
    loop {
        let n = file.read(&mut chunk).map_err(io)?;
        if n == 0 {
            break;
        }
        hash.update(&chunk[..n]);
        came += n as u64;
    }
    let read = hex_encode(&hash.finalize());
    if came == bytes && read == sum {
        return Ok(());
    }
    let why = format!("{came} bytes with SHA-256 {read} are there, of {bytes} with {sum}");
    Err(StoreError::new(
        StoreErrorKind::Damaged,
        doing(),
        why,
        "look at the disk: it does not keep what it is given",
    ))
}

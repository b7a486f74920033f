//! A directory of this host as a store.
//!
//! An object `NAME` is written into `.NAME.holdfast`, synced, read back from the disk and linked to its name, which fails
//! when that is taken. The temporary name stays until the manifest is there: should the run be killed before, it tells
//! which file is ours and unfinished (they are the same inode).

mod leftovers;
mod steps;
mod writing;

pub(crate) use writing::DirectoryUpload;

use crate::{ArchiveRestoreStatus, ObjectEntry, StoreError, StoreErrorKind, beside, shell_quote};
use bytes::Bytes;
use jiff::Timestamp;
use shared::bounded;
use std::{
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::sync::mpsc;

/// Bytes of one read.
const CHUNK_BYTES: usize = 1 << 20;

/// A directory, and what keys begin with in it.
#[derive(Clone, Debug)]
pub struct DirectoryBackend {
    root: PathBuf,
    prefix: String,
}

impl DirectoryBackend {
    /// Backups below `root`, whose names begin with `prefix`.
    pub fn new(root: impl Into<PathBuf>, prefix: impl Into<String>) -> Self {
        Self { root: root.into(), prefix: prefix.into() }
    }

    pub(crate) fn address(&self) -> String {
        self.full_path("").trim_end_matches('/').to_owned()
    }

    pub(crate) fn full_path(&self, key: &str) -> String {
        let root = self.root.display().to_string();
        format!("{}/{}{key}", root.trim_end_matches('/'), self.prefix)
    }

    pub(crate) fn download_command(&self, key: &str) -> String {
        format!("cat {}", shell_quote(&self.full_path(key)))
    }

    /// The file of a key. A key never leads out of the directory, and never to a temporary name.
    fn object_path(&self, key: &str) -> Result<PathBuf, StoreError> {
        let whole = format!("{}{key}", self.prefix);
        let fine = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains('\0');
        if !whole.split('/').all(fine) {
            let why = "a part of it is empty or begins with a dot";
            let doing = format!("use the key {whole}");
            return Err(StoreError::new(
                StoreErrorKind::Refused,
                doing,
                why,
                "fix the store's key or prefix",
            ));
        }
        Ok(self.root.join(whole))
    }

    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<ObjectEntry>, StoreError> {
        let this = self.clone();
        let begin = format!("{}{prefix}", self.prefix);
        run_blocking(move || {
            let mut all = Vec::new();
            steps::walk_files(&this.root, "", &begin, &mut |name, facts| {
                if let Some(key) = name.strip_prefix(&this.prefix)
                    && name.starts_with(&begin)
                    && !steps::is_hidden(name)
                {
                    all.push(ObjectEntry {
                        key: key.to_owned(),
                        size: facts.len(),
                        modified: modification_time(facts),
                        etag: None,
                        class: None,
                        archived: false,
                    });
                }
            })?;
            Ok(all)
        })
        .await
    }

    pub(crate) async fn start_upload(&self, key: &str) -> Result<DirectoryUpload, StoreError> {
        let path = self.object_path(key)?;
        DirectoryUpload::start(self.root.clone(), path).await
    }

    pub(crate) async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        let path = self.object_path(key)?;
        // Writing the commit record is what ends the backup, so its temporary name goes after it.
        let ended = key.strip_suffix(".json").map(|of| self.object_path(of)).transpose()?;
        let root = self.root.clone();
        run_blocking(move || {
            steps::write_small_file(&root, &path, &bytes)?;
            match ended {
                Some(of) => steps::remove_if_exists(&steps::temp_path(&of)),
                None => Ok(()),
            }
        })
        .await
    }

    pub(crate) async fn get_small(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let path = self.object_path(key)?;
        run_blocking(move || {
            let doing = || format!("read {}", path.display());
            let file = match steps::open_regular(&path) {
                Ok(Some(file)) => file,
                Ok(None) => {
                    let hint = "look at it: a store has regular files";
                    return Err(StoreError::new(
                        StoreErrorKind::Refused,
                        doing(),
                        "it is no regular file",
                        hint,
                    ));
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(e) => return Err(StoreError::from_io(doing(), &e)),
            };
            let bytes = bounded::read_to_limit(file, bounded::MAX_SMALL_OBJECT_BYTES);
            bytes.map(|b| Some(b.into())).map_err(|e| StoreError::from_io(doing(), &e))
        })
        .await
    }

    pub(crate) async fn stream_object(
        &self,
        key: &str,
        out: &mpsc::Sender<io::Result<Bytes>>,
    ) -> Result<(), StoreError> {
        let path = self.object_path(key)?;
        let doing = format!("read {}", path.display());
        let io = |doing: &str, e: io::Error| StoreError::from_io(doing, &e);
        let of = doing.clone();
        let opened = run_blocking(move || {
            let file = bounded::open_regular_file(&path).map_err(|e| io(&of, e))?;
            let size = file.metadata().map_err(|e| io(&of, e))?.len();
            Ok((file, size))
        });
        let (mut file, size) = opened.await?;
        let mut came = 0;
        loop {
            // Piece by piece: what hangs is noticed, however long its reader takes.
            let of = doing.clone();
            let piece = run_blocking(move || {
                let mut chunk = vec![0; CHUNK_BYTES];
                let n = file.read(&mut chunk).map_err(|e| io(&of, e))?;
                chunk.truncate(n);
                Ok((file, Bytes::from(chunk)))
            });
            let (again, chunk) = piece.await?;
            file = again;
            if chunk.is_empty() {
                break;
            }
            came += chunk.len() as u64;
            if out.send(Ok(chunk)).await.is_err() {
                return Ok(());
            }
        }
        if came == size {
            return Ok(());
        }
        let why = format!("{came} bytes came of {size}: it was changed while it was read");
        Err(StoreError::new(StoreErrorKind::Damaged, doing, why, "see what else writes there"))
    }

    pub(crate) async fn request_archive_restore(
        &self,
        key: &str,
    ) -> Result<ArchiveRestoreStatus, StoreError> {
        let path = self.object_path(key)?;
        run_blocking(move || {
            let doing = format!("look at {}", path.display());
            std::fs::metadata(&path)
                .map(|_| ArchiveRestoreStatus::NotArchived)
                .map_err(|e| StoreError::from_io(doing, &e))
        })
        .await
    }

    pub(crate) async fn delete_backup(&self, key: &str) -> Result<(), StoreError> {
        let object = self.object_path(key)?;
        let manifest = self.object_path(&beside::manifest_key(key))?;
        let signature = self.object_path(&beside::signature_key(&beside::manifest_key(key)))?;
        let sums = self.object_path(&beside::checksum_key(key))?;
        run_blocking(move || {
            // Marked as ours and unfinished first: killed after the manifest went, the rest is a leftover.
            steps::mark_incomplete(&object)?;
            steps::remove_if_exists(&manifest)?;
            steps::remove_if_exists(&signature)?;
            steps::remove_if_exists(&sums)?;
            steps::remove_if_exists(&object)?;
            steps::remove_if_exists(&steps::temp_path(&object))
        })
        .await
    }

    pub(crate) async fn remove_object(&self, key: &str) -> Result<(), StoreError> {
        let path = self.object_path(key)?;
        run_blocking(move || steps::remove_if_exists(&path)).await
    }

    pub(crate) async fn free_space(&self) -> Result<u64, StoreError> {
        let root = self.root.clone();
        run_blocking(move || {
            // Before the first backup the directory need not be there.
            let there = root.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"));
            let doing = format!("ask for free space at {}", there.display());
            let facts =
                rustix::fs::statvfs(there).map_err(|e| StoreError::from_io(doing, &e.into()))?;
            // What is left for who is not root.
            Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
        })
        .await
    }
}

/// When a file was written.
fn modification_time(facts: &std::fs::Metadata) -> Timestamp {
    Timestamp::from_second(facts.mtime()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A file system that does not answer for so long is gone: a network mount whose server is away waits for ever.
const FS_TIMEOUT: Duration = Duration::from_mins(5);
/// Bytes a second, below which a disk is no use.
const MIN_DISK_BYTES_PER_SECOND: u64 = 4 << 20;

/// Work on files, where it does not hold up anything else.
async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    run_blocking_for(FS_TIMEOUT, work).await
}

/// The longest that reading or syncing so many bytes may take.
fn max_io_time(bytes: u64) -> Duration {
    FS_TIMEOUT + Duration::from_secs(bytes / MIN_DISK_BYTES_PER_SECOND)
}

/// Work on files that may take so long. What hangs is left to its thread, which nothing can end.
async fn run_blocking_for<T: Send + 'static>(
    longest: Duration,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::time::timeout(longest, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(done)) => done,
        Ok(Err(e)) => {
            let hint = "internal error; please report it";
            Err(StoreError::new(StoreErrorKind::Refused, "work on files", e.to_string(), hint))
        }
        Err(_) => {
            let why = format!("the file system did not answer within {} s", longest.as_secs());
            let hint = "see whether the disk is well, and the server of a network mount there";
            Err(StoreError::new(StoreErrorKind::Unreachable, "work on files", why, hint))
        }
    }
}

#[cfg(test)]
mod tests;

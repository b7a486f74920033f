//! A directory of this host as a store.
//!
//! An object `NAME` is written into `.NAME.holdfast`, synced, read back from the disk and linked to its name, which fails
//! when that is taken. The temporary name stays until the manifest is there: should the run be killed before, it tells
//! which file is ours and unfinished (they are the same inode).

mod leftovers;
mod steps;
mod writing;

pub(crate) use writing::Writing;

use crate::{Entry, Error, Kind, Thaw, beside, quote};
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
const CHUNK: usize = 1 << 20;

/// A directory, and what keys begin with in it.
#[derive(Clone, Debug)]
pub struct Directory {
    root: PathBuf,
    prefix: String,
}

impl Directory {
    /// Backups below `root`, whose names begin with `prefix`.
    pub fn new(root: impl Into<PathBuf>, prefix: impl Into<String>) -> Self {
        Self { root: root.into(), prefix: prefix.into() }
    }

    pub(crate) fn address(&self) -> String {
        self.whole("").trim_end_matches('/').to_owned()
    }

    pub(crate) fn whole(&self, key: &str) -> String {
        let root = self.root.display().to_string();
        format!("{}/{}{key}", root.trim_end_matches('/'), self.prefix)
    }

    pub(crate) fn command(&self, key: &str) -> String {
        format!("cat {}", shell_quote(&self.whole(key)))
    }

    /// The file of a key. A key never leads out of the directory, and never to a temporary name.
    fn path(&self, key: &str) -> Result<PathBuf, Error> {
        let whole = format!("{}{key}", self.prefix);
        let fine = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains('\0');
        if !whole.split('/').all(fine) {
            let why = "a part of it is empty or begins with a dot";
            let doing = format!("use the key {whole}");
            return Err(Error::new(Kind::Refused, doing, why, "mend the store's key or prefix"));
        }
        Ok(self.root.join(whole))
    }

    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<Entry>, Error> {
        let this = self.clone();
        let begin = format!("{}{prefix}", self.prefix);
        blocking(move || {
            let mut all = Vec::new();
            steps::walk(&this.root, "", &begin, &mut |name, facts| {
                if let Some(key) = name.strip_prefix(&this.prefix)
                    && name.starts_with(&begin)
                    && !steps::hidden(name)
                {
                    all.push(Entry {
                        key: key.to_owned(),
                        size: facts.len(),
                        modified: modified(facts),
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

    pub(crate) async fn begin(&self, key: &str) -> Result<Writing, Error> {
        let path = self.path(key)?;
        Writing::begin(self.root.clone(), path).await
    }

    pub(crate) async fn put(&self, key: &str, bytes: Bytes) -> Result<(), Error> {
        let path = self.path(key)?;
        // Writing the commit record is what ends the backup, so its temporary name goes after it.
        let ended = key.strip_suffix(".json").map(|of| self.path(of)).transpose()?;
        let root = self.root.clone();
        blocking(move || {
            steps::small(&root, &path, &bytes)?;
            match ended {
                Some(of) => steps::unlink(&steps::temporary(&of)),
                None => Ok(()),
            }
        })
        .await
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        let path = self.path(key)?;
        blocking(move || {
            let doing = || format!("read {}", path.display());
            let file = match steps::open_regular(&path) {
                Ok(Some(file)) => file,
                Ok(None) => {
                    let mend = "look at it: a store has regular files";
                    return Err(Error::new(Kind::Refused, doing(), "it is no regular file", mend));
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(e) => return Err(Error::io(doing(), &e)),
            };
            let bytes = bounded::read_to_limit(file, bounded::MAX_SMALL_OBJECT_BYTES);
            bytes.map(|b| Some(b.into())).map_err(|e| Error::io(doing(), &e))
        })
        .await
    }

    pub(crate) async fn read(
        &self,
        key: &str,
        out: &mpsc::Sender<io::Result<Bytes>>,
    ) -> Result<(), Error> {
        let path = self.path(key)?;
        let doing = format!("read {}", path.display());
        let io = |doing: &str, e: io::Error| Error::io(doing, &e);
        let of = doing.clone();
        let opened = blocking(move || {
            let file = bounded::open_regular_file(&path).map_err(|e| io(&of, e))?;
            let size = file.metadata().map_err(|e| io(&of, e))?.len();
            Ok((file, size))
        });
        let (mut file, size) = opened.await?;
        let mut came = 0;
        loop {
            // Piece by piece: what hangs is noticed, however long its reader takes.
            let of = doing.clone();
            let piece = blocking(move || {
                let mut chunk = vec![0; CHUNK];
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
        Err(Error::new(Kind::Damaged, doing, why, "see what else writes there"))
    }

    pub(crate) async fn thaw(&self, key: &str) -> Result<Thaw, Error> {
        let path = self.path(key)?;
        blocking(move || {
            let doing = format!("look at {}", path.display());
            std::fs::metadata(&path).map(|_| Thaw::Needless).map_err(|e| Error::io(doing, &e))
        })
        .await
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<(), Error> {
        let object = self.path(key)?;
        let manifest = self.path(&beside::manifest(key))?;
        let signature = self.path(&beside::signature(&beside::manifest(key)))?;
        let sums = self.path(&beside::sums(key))?;
        blocking(move || {
            // Marked as ours and unfinished first: killed after the manifest went, the rest is a leftover.
            steps::mark(&object)?;
            steps::unlink(&manifest)?;
            steps::unlink(&signature)?;
            steps::unlink(&sums)?;
            steps::unlink(&object)?;
            steps::unlink(&steps::temporary(&object))
        })
        .await
    }

    pub(crate) async fn remove(&self, key: &str) -> Result<(), Error> {
        let path = self.path(key)?;
        blocking(move || steps::unlink(&path)).await
    }

    pub(crate) async fn free_space(&self) -> Result<u64, Error> {
        let root = self.root.clone();
        blocking(move || {
            // Before the first backup the directory need not be there.
            let there = root.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"));
            let doing = format!("ask for free space at {}", there.display());
            let facts = rustix::fs::statvfs(there).map_err(|e| Error::io(doing, &e.into()))?;
            // What is left for who is not root.
            Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
        })
        .await
    }
}

/// When a file was written.
fn modified(facts: &std::fs::Metadata) -> Timestamp {
    Timestamp::from_second(facts.mtime()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A file system that does not answer for so long is gone: a network mount whose server is away waits for ever.
const HANGS: Duration = Duration::from_mins(5);
/// Bytes a second, below which a disk is no use.
const SLOWEST: u64 = 4 << 20;

/// Work on files, where it does not hold up anything else.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    blocking_for(HANGS, work).await
}

/// The longest that reading or syncing so many bytes may take.
fn longest(bytes: u64) -> Duration {
    HANGS + Duration::from_secs(bytes / SLOWEST)
}

/// Work on files that may take so long. What hangs is left to its thread, which nothing can end.
async fn blocking_for<T: Send + 'static>(
    longest: Duration,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::time::timeout(longest, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(done)) => done,
        Ok(Err(e)) => {
            let mend = "internal error; please report it";
            Err(Error::new(Kind::Refused, "work on files", e.to_string(), mend))
        }
        Err(_) => {
            let why = format!("the file system did not answer within {} s", longest.as_secs());
            let mend = "see whether the disk is well, and the server of a network mount there";
            Err(Error::new(Kind::Unreachable, "work on files", why, mend))
        }
    }
}

#[cfg(test)]
mod tests;

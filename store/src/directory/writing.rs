//! A file that is being written.

use super::{CHUNK, blocking, blocking_for, longest, steps};
use crate::{Error, Kind, Written};
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
pub(crate) struct Writing {
    path: PathBuf,
    waiting: Vec<Bytes>,
    length: usize,
    /// None while it is at work, and after it ended.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    bytes: u64,
    hash: Sha256,
}

impl Writing {
    pub(super) async fn begin(root: PathBuf, path: PathBuf) -> Result<Self, Error> {
        let of = path.clone();
        let file = blocking(move || {
            steps::directories(&root, &of)?;
            if of.symlink_metadata().is_ok() {
                let doing = format!("write {}", of.display());
                let mend = "look at it: nothing is ever rewritten";
                return Err(Error::new(Kind::Exists, doing, "there is a file of that name", mend));
            }
            steps::create(&of)
        })
        .await?;
        Ok(Self::of(path, file))
    }

    /// What goes into `file` becomes `path`.
    pub(super) fn of(path: PathBuf, file: File) -> Self {
        let open = Some(Open { file, bytes: 0, hash: Sha256::new() });
        Self { path, waiting: Vec::new(), length: 0, open }
    }

    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.length += bytes.len();
        self.waiting.push(bytes);
        if self.length < CHUNK { Ok(()) } else { self.flush().await }
    }

    async fn flush(&mut self) -> Result<(), Error> {
        let doing = format!("write {}", self.path.display());
        let Some(mut open) = self.open.take() else {
            let mend = "this is a fault of Holdfast";
            return Err(Error::new(Kind::Refused, doing, "it failed before", mend));
        };
        let waiting = std::mem::take(&mut self.waiting);
        self.length = 0;
        let written = blocking(move || {
            for bytes in waiting {
                open.file.write_all(&bytes).map_err(|e| Error::io(&doing, &e))?;
                open.hash.update(&bytes);
                open.bytes += bytes.len() as u64;
            }
            Ok(open)
        });
        let written = written.await;
        self.left_to_its_thread(&written);
        self.open = Some(written?);
        Ok(())
    }

    /// Whoever waits for a file system that hangs would hang too: its temporary name is left to the next run.
    fn left_to_its_thread<T>(&mut self, done: &Result<T, Error>) {
        if done.as_ref().is_err_and(|e| e.kind == Kind::Unreachable) {
            self.path = PathBuf::new();
        }
    }

    pub(crate) async fn finish(mut self) -> Result<Written, Error> {
        self.flush().await?;
        let Some(open) = self.open.take() else { unreachable!("flush leaves it open") };
        let path = self.path.clone();
        let done = blocking_for(longest(2 * open.bytes), move || {
            let sum = hex_encode(&open.hash.finalize());
            let synced = open.file.sync_all();
            synced.map_err(|e| Error::io(format!("sync {}", path.display()), &e))?;
            read_back(&steps::temporary(&path), open.bytes, &sum)?;
            steps::link(&path)?;
            Ok(Written { bytes: open.bytes, checksum: Some(format!("sha256:{sum}")) })
        })
        .await;
        self.left_to_its_thread(&done);
        if done.is_ok() {
            // The temporary name stays until the manifest is there.
            self.path = PathBuf::new();
        }
        done
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if self.path != PathBuf::new()
            && let Err(e) = steps::unlink(&steps::temporary(&self.path))
        {
            tracing::warn!("a temporary file stays until the next run cleans it: {e}");
        }
    }
}

/// Reads a file from the disk and compares it with what was written.
fn read_back(path: &Path, bytes: u64, sum: &str) -> Result<(), Error> {
    let doing = || format!("read back {}", path.display());
    let io = |e: std::io::Error| Error::io(doing(), &e);
    let mut file = File::open(path).map_err(io)?;
    // What is in memory would only be compared with itself. Where the file system does not listen, this is all there is.
    let _ = fadvise(&file, 0, None, Advice::DontNeed);
    let (mut hash, mut chunk, mut came) = (Sha256::new(), vec![0; CHUNK], 0);
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
    Err(Error::new(
        Kind::Damaged,
        doing(),
        why,
        "look at the disk: it does not keep what it is given",
    ))
}

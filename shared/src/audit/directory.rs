//! A log in a directory: a file appears whole under its name, or not at all, and never in the place of another.

use crate::aws::{OperationError, OperationErrorKind};
use rustix::fs::OFlags;
use std::{
    fs, io,
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};
use tokio::task::spawn_blocking;

/// Readable by the group, so that a monitor needs no more rights than that.
const FILE_MODE: u32 = 0o640;
const DIRECTORY_MODE: u32 = 0o750;

/// Folders whose names begin with `prefix`, without it; and what else lies there.
pub(super) async fn list_folders(
    directory: &Path,
    prefix: &str,
) -> Result<(Vec<String>, Vec<String>), OperationError> {
    let prefix = prefix.to_owned();
    // The prefix may end within a name, as in a bucket.
    let (inner, start) = match prefix.rsplit_once('/') {
        Some((inner, start)) => (directory.join(inner), start.to_owned()),
        None => (directory.to_owned(), prefix),
    };
    run_blocking("list", inner, move |path| {
        let (mut folders, mut files) = (Vec::new(), Vec::new());
        for (name, is_folder) in list_entries(path)? {
            if let Some(name) = name.strip_prefix(&start) {
                if is_folder { &mut folders } else { &mut files }.push(name.to_owned());
            }
        }
        Ok((folders, files))
    })
    .await
}

/// Names of what lies in a folder.
pub(super) async fn list_objects(folder: &Path) -> Result<Vec<String>, OperationError> {
    run_blocking("list", folder.to_owned(), |path| {
        Ok(list_entries(path)?.into_iter().map(|(name, _)| name).collect())
    })
    .await
}

/// The bytes of a file, one more than `most` of a longer one; none when it is not there.
pub(super) async fn read_file(
    path: PathBuf,
    most: usize,
) -> Result<Option<Vec<u8>>, OperationError> {
    run_blocking("read", path, move |path| {
        // A pipe of that name would never answer.
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        let file = match fs::OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut bytes = Vec::new();
        if file.metadata()?.is_file() {
            file.take(most as u64 + 1).read_to_end(&mut bytes)?;
        }
        Ok(Some(bytes))
    })
    .await
}

/// Writes a file that is not there yet; false when it is.
pub(super) async fn create_file(path: PathBuf, bytes: Vec<u8>) -> Result<bool, OperationError> {
    run_blocking("write", path, move |path| {
        let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(folder)?;
        let mut temporary = create_temp_file(folder)?;
        let written = temporary.1.write_all(&bytes).and_then(|()| temporary.1.sync_all());
        // A link is refused when there is a file of that name, and what it names is whole.
        let linked = written.and_then(|()| match fs::hard_link(&temporary.0, path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(e),
        });
        let _ = fs::remove_file(&temporary.0);
        if matches!(linked, Ok(true)) {
            fs::File::open(folder)?.sync_all()?;
        }
        linked
    })
    .await
}

/// Takes a file away, and its folder with the last one.
pub(super) async fn delete_file(path: PathBuf) -> Result<(), OperationError> {
    run_blocking("remove", path, |path| {
        fs::remove_file(path)?;
        if let Some(folder) = path.parent() {
            let _ = fs::remove_dir(folder);
        }
        Ok(())
    })
    .await
}

/// Names that are not hidden, and whether each is a folder. A directory that is not there is empty.
fn list_entries(path: &Path) -> io::Result<Vec<(String, bool)>> {
    let mut names = Vec::new();
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(names),
        Err(e) => return Err(e),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push((name, entry.file_type()?.is_dir()));
        }
    }
    Ok(names)
}

/// A new hidden file, which no other process has.
fn create_temp_file(folder: &Path) -> io::Result<(PathBuf, fs::File)> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".{}-{next}.tmp", std::process::id()));
        match fs::OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&path) {
            Ok(file) => return Ok((path, file)),
            // Left by a process that died and had our number.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
}

async fn run_blocking<T: Send + 'static>(
    verb: &str,
    path: PathBuf,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T, OperationError> {
    let doing = format!("{verb} {}", path.display());
    let done =
        spawn_blocking(move || work(&path)).await.unwrap_or_else(|e| Err(io::Error::other(e)));
    done.map_err(|e| {
        let kind = match e.kind() {
            io::ErrorKind::PermissionDenied => OperationErrorKind::Denied,
            _ => OperationErrorKind::Store,
        };
        let hint = "check the directory of `audit` in the policy: its owner, its mode, its space";
        OperationError::with_hint(kind, doing, e.to_string(), hint)
    })
}

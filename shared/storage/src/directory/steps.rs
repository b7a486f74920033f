//! The single steps on files, each of which leaves things so that the next run knows what to do.

use crate::{StoreError, StoreErrorKind};
use std::{
    fs::{DirBuilder, File, Metadata, OpenOptions, Permissions},
    hash::{BuildHasher, RandomState},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Ending of temporary names.
const TEMP_SUFFIX: &str = ".holdfast";
/// A name below a store's root is no longer, as S3's keys are not; what lies deeper is none of ours, and is not looked at.
const MAX_PATH_BYTES: usize = 1024;

/// `.NAME.holdfast` beside `NAME`.
pub(super) fn temp_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}{TEMP_SUFFIX}"))
}

/// The name that a temporary one is of.
pub(super) fn final_name(name: &str) -> Option<&str> {
    name.strip_prefix('.')?.strip_suffix(TEMP_SUFFIX)
}

/// Whether a part of a path begins with a dot: temporary names, and what others hide.
pub(super) fn is_hidden(path: &str) -> bool {
    path.split('/').any(|part| part.starts_with('.'))
}

/// Opens a regular file, and not where a link leads; none when it is something else. A pipe would never answer.
pub(super) fn open_regular(path: &Path) -> io::Result<Option<File>> {
    use rustix::fs::OFlags;
    let flags = OFlags::NONBLOCK.union(OFlags::NOFOLLOW).bits();
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags).unwrap_or_default())
        .open(path);
    match opened {
        Ok(file) => Ok(if file.metadata()?.is_file() { Some(file) } else { None }),
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Every regular file below `root`, by its name relative to it; only where names can begin with `begin`. Nothing when
/// `root` is not there; links are not followed.
pub(super) fn walk_files(
    root: &Path,
    below: &str,
    begin: &str,
    each: &mut dyn FnMut(&str, &Metadata),
) -> Result<(), StoreError> {
    let at = root.join(below);
    let io = |e: &io::Error| StoreError::from_io(format!("list {}", at.display()), e);
    let entries = match std::fs::read_dir(&at) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(io(&e)),
    };
    for entry in entries {
        let entry = entry.map_err(|e| io(&e))?;
        // No key of ours has such a name.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let name = if below.is_empty() { name } else { format!("{below}/{name}") };
        let kind = entry.file_type().map_err(|e| io(&e))?;
        if kind.is_dir() {
            let inside = format!("{name}/");
            if !is_hidden(&name)
                && inside.len() <= MAX_PATH_BYTES
                && (inside.starts_with(begin) || begin.starts_with(&inside))
            {
                walk_files(root, &name, begin, each)?;
            }
        } else if kind.is_file() {
            match entry.metadata() {
                Ok(facts) => each(&name, &facts),
                // Deleted since it was listed.
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(io(&e)),
            }
        }
    }
    Ok(())
}

/// Makes the directories down to a file, 0750 whatever the umask, and syncs each one's parent. Those that are there stay
/// as they are. Below the root none may be a link: what lies behind one is never listed.
pub(super) fn create_parents(root: &Path, file: &Path) -> Result<(), StoreError> {
    let parent = file.parent().unwrap_or(root);
    let below = parent.ancestors().take_while(|p| *p != root);
    if let Some(link) = below.into_iter().find(|p| p.is_symlink()) {
        let doing = format!("write {}", file.display());
        let why = format!("{} is a link, and what lies behind it is never listed", link.display());
        let hint = "make it a directory, or mount there what it leads to; only the store's own directory may be a link";
        return Err(StoreError::new(StoreErrorKind::Refused, doing, why, hint));
    }
    let mut missing: Vec<&Path> = parent.ancestors().take_while(|p| !p.exists()).collect();
    missing.reverse();
    for path in missing {
        let io =
            |e: &io::Error| StoreError::from_io(format!("make directory {}", path.display()), e);
        match DirBuilder::new().mode(0o750).create(path) {
            Ok(()) => {
                std::fs::set_permissions(path, Permissions::from_mode(0o750))
                    .map_err(|e| io(&e))?;
                sync_parent(path)?;
            }
            // Another run made it just now.
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(io(&e)),
        }
    }
    Ok(())
}

/// The temporary file, new, 0640 whatever the umask.
pub(super) fn create_temp_file(path: &Path) -> Result<File, StoreError> {
    create_file(&temp_path(path))
}

fn create_file(temporary: &Path) -> Result<File, StoreError> {
    let doing = || format!("write {}", temporary.display());
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o640).open(temporary);
    let file = opened.map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => StoreError::new(
            StoreErrorKind::Exists,
            doing(),
            "another run writes it, or was killed while it did",
            "wait for it; what a killed run left is cleaned before the next one begins",
        ),
        _ => StoreError::from_io(doing(), &e),
    })?;
    let set = file.set_permissions(Permissions::from_mode(0o640));
    set.map_err(|e| StoreError::from_io(doing(), &e))?;
    Ok(file)
}

/// Gives the written file its name, if that is free.
pub(super) fn publish_by_link(path: &Path) -> Result<(), StoreError> {
    link_file(&temp_path(path), path)
}

fn link_file(temporary: &Path, path: &Path) -> Result<(), StoreError> {
    let doing = || format!("write {}", path.display());
    std::fs::hard_link(temporary, path).map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => StoreError::new(
            StoreErrorKind::Exists,
            doing(),
            "there is a file of that name",
            "look at it: nothing is ever rewritten",
        ),
        ErrorKind::Unsupported | ErrorKind::PermissionDenied => StoreError::new(
            StoreErrorKind::Refused,
            doing(),
            format!("the file system takes no hard links: {e}"),
            "use a directory on a file system that does (ext4, xfs, zfs, nfs)",
        ),
        _ => StoreError::from_io(doing(), &e),
    })?;
    sync_parent(path).inspect_err(|_| drop(std::fs::remove_file(path)))
}

/// Gives an object its temporary name back, which marks it as ours and unfinished.
pub(super) fn mark_incomplete(path: &Path) -> Result<(), StoreError> {
    match std::fs::hard_link(path, temp_path(path)) {
        Ok(()) => sync_parent(path),
        // Marked before, by a run that was killed; or the object is gone already and only the rest is left.
        Err(e) if matches!(e.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound) => Ok(()),
        Err(e) => Err(StoreError::from_io(format!("delete {}", path.display()), &e)),
    }
}

/// Takes a name away, if it is there.
pub(super) fn remove_if_exists(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_file(path) {
        Ok(()) => sync_parent(path),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(StoreError::from_io(format!("delete {}", path.display()), &e)),
    }
}

/// A small file, whole or not at all.
pub(super) fn write_small_file(root: &Path, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    create_parents(root, path)?;
    // A name that no other try has: what a killed run left must not stop the next one for ever.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let try_id = RandomState::new().hash_one(std::process::id());
    let temporary = path.with_file_name(format!(".{name}.{try_id:016x}{TEMP_SUFFIX}"));
    let mut file = create_file(&temporary)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let written =
        written.map_err(|e| StoreError::from_io(format!("write {}", temporary.display()), &e));
    let linked = written.and_then(|()| link_file(&temporary, path));
    let unlinked = remove_if_exists(&temporary);
    linked.and(unlinked)
}

/// Whether two names are of one file.
pub(super) fn is_same_inode(a: &Path, b: &Path) -> bool {
    let facts = |p: &Path| std::fs::symlink_metadata(p).ok().map(|f| (f.dev(), f.ino()));
    facts(a).is_some_and(|a| Some(a) == facts(b))
}

/// Names are on the disk only once their directory is synced.
fn sync_parent(path: &Path) -> Result<(), StoreError> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let synced = File::open(parent).and_then(|d| d.sync_all());
    synced.map_err(|e| StoreError::from_io(format!("sync {}", parent.display()), &e))
}

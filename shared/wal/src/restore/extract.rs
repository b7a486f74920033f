//! A base backup onto an empty directory. `pg_control` comes last, so that an aborted restore can't be started.

use super::RecoveryPlan;
use crate::{
    error::{WalError, WalErrorKind},
    repository::WalRepository,
};
use rustix::fs::{CWD, Mode, OFlags};
use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown},
    path::{Component, Path, PathBuf},
};

/// Written last.
const PG_CONTROL: &str = "global/pg_control";
/// Where the server reads where tablespaces are; the source's own paths stand in it.
const TABLESPACE_MAP: &str = "tablespace_map";

/// Where a server is restored to.
#[derive(Clone, Debug)]
pub struct RestoreTarget {
    /// The data directory: empty, or not there yet.
    pub data: PathBuf,
    /// A directory for each tablespace, by its number; those that are not named lie beside the data directory.
    pub tablespaces: BTreeMap<String, PathBuf>,
    /// Settings that are added to `postgresql.auto.conf`.
    pub settings: Vec<(String, String)>,
}

impl RestoreTarget {
    /// Where a tablespace goes.
    pub fn tablespace_dir(&self, oid: &str) -> PathBuf {
        self.tablespaces.get(oid).cloned().unwrap_or_else(|| {
            let name = self.data.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.data.with_file_name(format!("{name}-tablespaces")).join(oid)
        })
    }
}

/// Restores the base backup of a plan, ready to be started.
///
/// # Errors
/// If a target is not empty, the backup can't be read whole, or the disk is full. What was written then can't be started.
pub async fn extract_base_backup(
    repository: &WalRepository,
    plan: &RecoveryPlan,
    target: &RestoreTarget,
) -> Result<(), WalError> {
    let mut map = Vec::new();
    let mut folders = Vec::new();
    for archive in &plan.backup.archives {
        let Some(oid) = archive.name.strip_suffix(".tar") else { continue };
        let folder = if oid == "base" { target.data.clone() } else { target.tablespace_dir(oid) };
        if oid != "base" {
            map.push((oid.to_owned(), folder.clone()));
        }
        folders.push((archive, folder));
    }
    // Everything is looked at before anything is written.
    for (_, folder) in &folders {
        check_empty(folder)?;
    }
    let user = folder_owner(&target.data)?;
    let mut control = None;
    for (archive, folder) in folders {
        create_folder(&folder, user)?;
        let (key, doing) = (plan.backup.archive_key(archive), format!("restore {}", archive.name));
        let into = folder.clone();
        let (give, held) = std::sync::mpsc::channel();
        let unpack = move |from: &mut dyn Read| unpack_tar(from, &into, user, &give);
        let unpacked = repository.read_decoded(&key, &archive.extension, &doing, unpack).await?;
        if unpacked != archive.digests.plaintext {
            let why = "what is in it is not what its record says";
            return Err(WalError::new(
                WalErrorKind::Damaged,
                doing,
                why,
                "take another base backup: --timeline, or an earlier one",
            ));
        }
        control = held.try_recv().ok().or(control);
    }
    let Some(control) = control else {
        return Err(WalError::new(
            WalErrorKind::Damaged,
            "restore base.tar",
            "it has no pg_control",
            "",
        ));
    };
    write_configuration(target, &map, user)?;
    sync_folder(&target.data)?;
    for (_, folder) in &map {
        sync_folder(folder)?;
    }
    write_file(&target.data.join(PG_CONTROL), &control, 0o600, user)?;
    sync_folder(&target.data)
}

type Owner = Option<(u32, u32)>;

/// Who the files belong to: who owns the directory, where we are root and PostgreSQL refuses to be.
fn folder_owner(data: &Path) -> Result<Owner, WalError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    match fs::metadata(data) {
        Ok(facts) if facts.uid() != 0 => Ok(Some((facts.uid(), facts.gid()))),
        _ => {
            let why = "PostgreSQL does not run as root, and nothing says who shall own the files";
            let hint = "make the directory first and give it to the server's user, or run this as that user";
            Err(WalError::new(
                WalErrorKind::Refused,
                format!("restore to {}", data.display()),
                why,
                hint,
            ))
        }
    }
}

fn check_empty(folder: &Path) -> Result<(), WalError> {
    let doing = format!("restore to {}", folder.display());
    let first = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(WalError::from_io(doing, &e)),
    };
    if first.is_none() {
        return Ok(());
    }
    let hint = "name an empty directory: nothing is ever overwritten";
    Err(WalError::new(WalErrorKind::Refused, doing, "it is not empty", hint))
}

fn create_folder(folder: &Path, owner: Owner) -> Result<(), WalError> {
    let io = |e: &io::Error| WalError::from_io(format!("make {}", folder.display()), e);
    for missing in
        folder.ancestors().take_while(|p| !p.exists()).collect::<Vec<_>>().into_iter().rev()
    {
        DirBuilder::new().mode(0o700).create(missing).map_err(|e| io(&e))?;
        give(missing, owner).map_err(|e| io(&e))?;
    }
    fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(|e| io(&e))?;
    give(folder, owner).map_err(|e| io(&e))
}

fn give(path: &Path, owner: Owner) -> io::Result<()> {
    owner.map_or(Ok(()), |(uid, gid)| chown(path, Some(uid), Some(gid)))
}

/// Unpacks a tar into a directory; `pg_control` is handed over instead of written.
fn unpack_tar(
    from: &mut dyn Read,
    into: &Path,
    owner: Owner,
    control: &std::sync::mpsc::Sender<Vec<u8>>,
) -> Result<(), WalError> {
    let doing = || format!("unpack into {}", into.display());
    // What the decoder found wrong is inside of the tar reader's errors.
    let failed = |e: io::Error| {
        if e.get_ref().is_some() {
            WalError::from_archive(doing(), &e.into())
        } else {
            WalError::from_io(doing(), &e)
        }
    };
    let mut tar = tar::Archive::new(from);
    for entry in tar.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        let path = entry.path().map_err(failed)?.into_owned();
        let plain =
            path.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
        if !plain {
            return Err(WalError::new(
                WalErrorKind::Damaged,
                doing(),
                "a name in it leads out of the directory",
                "",
            ));
        }
        if path == Path::new(PG_CONTROL) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(failed)?;
            let _ = control.send(bytes);
            continue;
        }
        let to = into.join(&path);
        match entry.header().entry_type() {
            tar::EntryType::Directory => create_folder(&to, owner)?,
            tar::EntryType::Regular => {
                let mut file = File::create_new(&to).map_err(|e| WalError::from_io(doing(), &e))?;
                io::copy(&mut entry, &mut file).map_err(failed)?;
                file.set_permissions(Permissions::from_mode(0o600))
                    .map_err(|e| WalError::from_io(doing(), &e))?;
                give(&to, owner).map_err(|e| WalError::from_io(doing(), &e))?;
            }
            // Where tablespaces lie says the map, and a link of the source would lead into the living server.
            _ => {}
        }
    }
    // What follows the last entry belongs to the archive too.
    io::copy(&mut tar.into_inner(), &mut io::sink()).map(drop).map_err(failed)
}

fn write_configuration(
    target: &RestoreTarget,
    map: &[(String, PathBuf)],
    owner: Owner,
) -> Result<(), WalError> {
    let data = &target.data;
    let mut lines = String::new();
    for (oid, folder) in map {
        // Backslashes and line ends are escaped, as the server reads it.
        let path = folder.to_string_lossy().replace('\\', "\\\\").replace('\n', "\\\n");
        lines.push_str(&format!("{oid} {path}\n"));
    }
    let _ = fs::remove_file(data.join(TABLESPACE_MAP));
    if !map.is_empty() {
        write_file(&data.join(TABLESPACE_MAP), lines.as_bytes(), 0o600, owner)?;
    }
    let auto = data.join("postgresql.auto.conf");
    let mut text = fs::read_to_string(&auto).unwrap_or_default();
    text.push_str("\n# Written by Holdfast for the restore; the last value of a setting counts.\n");
    for (name, value) in &target.settings {
        text.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
    }
    let _ = fs::remove_file(&auto);
    write_file(&auto, text.as_bytes(), 0o600, owner)?;
    // Distributions keep it elsewhere; without one the server does not start.
    let main = data.join("postgresql.conf");
    if !main.exists() {
        write_file(
            &main,
            b"# The source's own configuration lies outside of its data directory.\n",
            0o600,
            owner,
        )?;
    }
    let _ = fs::remove_file(data.join("standby.signal"));
    write_file(&data.join("recovery.signal"), b"", 0o600, owner)
}

fn write_file(path: &Path, bytes: &[u8], mode: u32, owner: Owner) -> Result<(), WalError> {
    let io = |e: &io::Error| WalError::from_io(format!("write {}", path.display()), e);
    let mut file = File::create_new(path).map_err(|e| io(&e))?;
    file.set_permissions(Permissions::from_mode(mode)).map_err(|e| io(&e))?;
    give(path, owner).map_err(|e| io(&e))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|e| io(&e))
}

/// Everything on the file system of a directory, files and names.
fn sync_folder(folder: &Path) -> Result<(), WalError> {
    let opened = rustix::fs::openat(CWD, folder, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty());
    let synced = opened.and_then(rustix::fs::syncfs);
    synced.map_err(|e| WalError::from_io(format!("sync {}", folder.display()), &e.into()))
}

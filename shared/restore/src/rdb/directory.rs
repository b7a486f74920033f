//! An RDB file restored into a folder that a server is started from.

use super::{check_rdb, create_private_directory};
use crate::{
    BackupKeys, RestoreError, RestoreErrorKind,
    verify::{CheckResult, CheckStatus, PhaseDuration, check_sidecars, phase_duration},
};
use redis::scratch::{ScratchMode, ScratchRedis, find_server_program};
use serde::Serialize;
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Instant,
};
use storage::{BackupStore, StoredBackup, manifest::RdbContents};

/// The file's name while it is not known to be whole.
const PARTIAL: &str = "dump.rdb.partial";
const FILE: &str = "dump.rdb";

/// How an RDB file is restored.
#[derive(Clone, Debug)]
pub struct RdbRestoreOptions {
    /// The folder: new, or empty.
    pub directory: PathBuf,
    /// Whether the server that is started there has `appendonly yes`: it loads no RDB file then.
    pub append_only: bool,
    /// Where server programs are looked for, as in PATH.
    pub path: Option<OsString>,
}

/// What a restore came to.
#[derive(Clone, Debug, Serialize)]
pub struct RdbRestoreReport {
    /// The backup's whole name.
    pub backup: String,
    /// The folder.
    pub directory: PathBuf,
    /// What the file holds.
    pub contents: RdbContents,
    /// Whether an append-only file lies there too, written by a server that had loaded the file.
    pub has_append_only_file: bool,
    /// What was checked.
    pub checks: Vec<CheckResult>,
    /// How long it took.
    pub durations: Vec<PhaseDuration>,
    /// What to do next, in order.
    pub next_steps: Vec<String>,
}

/// Restores an RDB file into a folder. Under its name it is there only when every hash, its CRC64 and its counts are
/// right; after a failure nothing is left.
///
/// # Errors
/// If the folder has anything in it, the file is not good, or can't be written.
pub async fn restore_rdb(
    store: &BackupStore,
    backup: &StoredBackup,
    opening: &BackupKeys,
    options: &RdbRestoreOptions,
) -> Result<RdbRestoreReport, RestoreError> {
    let folder = &options.directory;
    let made = prepare_directory(folder)?;
    let mut durations = Vec::new();
    let restored = fill_directory(store, backup, opening, options, &mut durations).await;
    match restored {
        Ok((contents, checks, has_append_only_file)) => Ok(RdbRestoreReport {
            backup: backup.uri.clone(),
            directory: folder.clone(),
            next_steps: next_steps(folder, &contents, options.append_only, has_append_only_file),
            contents,
            has_append_only_file,
            checks,
            durations,
        }),
        Err(e) => {
            // It was empty before: all that is there is ours.
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let _ = std::fs::remove_file(entry.path())
                    .or_else(|_| std::fs::remove_dir_all(entry.path()));
            }
            if made {
                let _ = std::fs::remove_dir(folder);
            }
            Err(e)
        }
    }
}

/// Makes the folder, or makes sure that it is empty; whether it was made.
fn prepare_directory(folder: &Path) -> Result<bool, RestoreError> {
    let doing = || format!("restore into {}", folder.display());
    let refused =
        |why: String, hint: &str| RestoreError::new(RestoreErrorKind::Refused, doing(), why, hint);
    match std::fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(false),
            Some(_) => Err(refused(
                "something is in it".into(),
                "stop the server, move its old dump.rdb and appendonlydir away, and name an empty folder",
            )),
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            create_private_directory(folder).map_err(|e| refused(e.to_string(), ""))?;
            Ok(true)
        }
        Err(e) => Err(refused(e.to_string(), "")),
    }
}

async fn fill_directory(
    store: &BackupStore,
    backup: &StoredBackup,
    opening: &BackupKeys,
    options: &RdbRestoreOptions,
    durations: &mut Vec<PhaseDuration>,
) -> Result<(RdbContents, Vec<CheckResult>, bool), RestoreError> {
    let folder = &options.directory;
    let begun = Instant::now();
    let mut checks = check_sidecars(store, backup).await;
    fail_on_check(backup, &checks)?;
    let partial = folder.join(PARTIAL);
    let (contents, more) = check_rdb(store, backup, opening, Some(&partial)).await;
    checks.extend(more);
    fail_on_check(backup, &checks)?;
    let contents = contents.ok_or_else(|| {
        RestoreError::new(
            RestoreErrorKind::Damaged,
            format!("read {}", backup.uri),
            "it is no RDB file",
            "",
        )
    })?;
    let failed = |e: std::io::Error| {
        let doing = format!("write {}", folder.join(FILE).display());
        RestoreError::new(RestoreErrorKind::Refused, doing, e.to_string(), "")
    };
    std::fs::rename(&partial, folder.join(FILE)).map_err(failed)?;
    std::fs::File::open(folder).and_then(|f| f.sync_all()).map_err(failed)?;
    durations.push(phase_duration("fetch", begun));
    if !options.append_only {
        return Ok((contents, checks, false));
    }
    let begun = Instant::now();
    let program =
        find_server_program(contents.family, &contents.server_version, options.path.as_deref());
    let Ok(program) = program else {
        let why = "no server of its family is installed here: follow the steps where there is one";
        checks.push(CheckResult::skipped("append-only file", why));
        return Ok((contents, checks, false));
    };
    let server = ScratchRedis::start(&program, folder, ScratchMode::Primary).await?;
    let written = server.write_append_only_file().await;
    server.stop().await;
    written?;
    durations.push(phase_duration("append-only file", begun));
    checks
        .push(CheckResult::passed("append-only file", "written by a server that loaded the file"));
    Ok((contents, checks, true))
}

fn fail_on_check(backup: &StoredBackup, checks: &[CheckResult]) -> Result<(), RestoreError> {
    let Some(bad) = checks.iter().find(|c| c.status == CheckStatus::Failed) else { return Ok(()) };
    let kind = bad.kind.unwrap_or(RestoreErrorKind::Damaged);
    let why = format!("{}: {}", bad.name, bad.detail);
    Err(RestoreError::new(kind, format!("restore {}", backup.uri), why, "restore another one"))
}

/// What remains to be done, in the order in which it is safe.
fn next_steps(
    folder: &Path,
    contents: &RdbContents,
    append_only: bool,
    has_append_only_file: bool,
) -> Vec<String> {
    let dir = folder.display();
    let (family, version) = (contents.family, &contents.server_version);
    let program = family.server_program();
    let mut steps = vec![
        "stop the Sentinels, then the replicas, then the primary: an old replica can overwrite a restored primary".into(),
        format!(
            "the server must be {family} {version} or newer; {} of {} keys have expired since, and a primary leaves them out",
            contents.databases.iter().map(|d| d.expired).sum::<u64>(),
            contents.key_count()
        ),
        format!("give the folder to the server's user: chown -R redis: {dir}"),
    ];
    if !contents.modules.is_empty() {
        steps.push(format!("the server must load the modules {}", contents.modules.join(", ")));
    }
    match (append_only, has_append_only_file) {
        (true, true) => steps.push(format!(
            "start the primary on it with its append-only file: {program} REDIS.CONF --dir {dir} --appendonly yes"
        )),
        (true, false) => steps.extend([
            format!(
                "start the primary with appendonly no, else it starts empty: {program} REDIS.CONF --dir {dir} --appendonly no"
            ),
            "redis-cli CONFIG SET appendonly yes".into(),
            "wait until redis-cli INFO persistence shows aof_rewrite_in_progress:0 and aof_last_bgrewrite_status:ok".into(),
            "only then write appendonly yes into its configuration (redis-cli CONFIG REWRITE)".into(),
        ]),
        (false, _) => steps.push(format!(
            "start the primary on it: {program} REDIS.CONF --dir {dir} --dbfilename dump.rdb --appendonly no"
        )),
    }
    steps.push("compare redis-cli INFO keyspace with the counts above".into());
    steps.push(
        "start the replicas, then the Sentinels; users of ACLs and settings are in no RDB file"
            .into(),
    );
    steps
}

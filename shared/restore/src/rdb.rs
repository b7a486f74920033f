//! RDB files: walked to their checksum, loaded into a scratch server, and restored into a folder.

mod directory;

pub use directory::{RdbRestoreOptions, RdbRestoreReport, restore_rdb};

use crate::{
    BackupKeys, RestoreError, RestoreErrorKind, VerificationReport,
    fetch::{HashCheck, fetch_backup},
    verify::{
        CONTENTS_CHECK, CheckResult, READABLE_CHECK, any_failed, build_report, check_hashes,
        check_sidecars, phase_duration,
    },
};
use codec::pipe::{self, ChunkReceiver, ChunkSender};
use jiff::Timestamp;
use redis::{
    RedisError, RedisErrorKind, StreamFraming,
    scratch::{ScratchMode, ScratchRedis, find_server_program},
    walk_rdb,
};
use std::{
    ffi::OsString,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Instant,
};
use storage::{
    BackupStore, StoredBackup,
    manifest::{ManifestFormat, RdbContents},
};
use tokio::task::spawn_blocking;

/// Name of the check whether a server loads every key.
const LOADS_CHECK: &str = "loads";

/// Where RDB files are loaded for a test.
#[derive(Clone, Debug)]
pub struct RdbScratch {
    /// A folder for the file and the server's data, which is gone afterwards.
    pub folder: PathBuf,
    /// Where server programs are looked for, as in PATH.
    pub path: Option<OsString>,
}

/// Whether a backup is an RDB file by its record.
pub fn is_rdb(backup: &StoredBackup) -> bool {
    backup.committed_manifest().is_some_and(|m| m.format == ManifestFormat::Rdb)
}

impl From<RedisError> for RestoreError {
    fn from(e: RedisError) -> Self {
        let kind = match e.kind {
            RedisErrorKind::Connection | RedisErrorKind::Denied => RestoreErrorKind::Connection,
            RedisErrorKind::Busy => RestoreErrorKind::Busy,
            RedisErrorKind::Damaged => RestoreErrorKind::Damaged,
            RedisErrorKind::Refused | RedisErrorKind::Unsupported => RestoreErrorKind::Refused,
        };
        Self { kind, doing: e.doing, why: e.why, hint: e.hint }
    }
}

/// Walks a file, and passes its bytes on into `to`; blocks nobody.
async fn walk(from: ChunkReceiver, to: Option<ChunkSender>) -> Result<RdbContents, RedisError> {
    let now = now().as_millisecond();
    let walked = spawn_blocking(move || walk_rdb(from, StreamFraming::File, to, now)).await;
    walked.unwrap_or_else(|e| {
        Err(RedisError::new(RedisErrorKind::Refused, "read the RDB file", e.to_string(), ""))
    })
}

/// Reads an RDB file to its end: hashes, the walk with its CRC64, and the counts of the record. With a path, the file is
/// written there as well.
pub(crate) async fn check_rdb(
    store: &BackupStore,
    backup: &StoredBackup,
    opening: &BackupKeys,
    copy: Option<&Path>,
) -> (Option<RdbContents>, Vec<CheckResult>) {
    let consume = async |_, from| match copy {
        None => walk(from, None).await.map_err(RestoreError::from),
        Some(path) => {
            let (to, plain) = pipe::chunk_channel(8);
            let (walked, written) = tokio::join!(walk(from, Some(to)), write_file(path, plain));
            // A disk that is full ends the walk too, and is the cause.
            written.and(walked.map_err(RestoreError::from))
        }
    };
    let fetched = match fetch_backup(store, backup, opening, HashCheck::Both, consume).await {
        Ok(fetched) => fetched,
        Err(e) => return (None, vec![CheckResult::from_error(READABLE_CHECK, &e)]),
    };
    let mut checks = Vec::new();
    match (&fetched.value, &fetched.digests) {
        // Nobody read on: what is wrong is what was read.
        (Err(_), None) => {}
        _ => checks.extend(check_hashes(backup, fetched.digests.transpose())),
    }
    if any_failed(&checks) {
        return (None, checks);
    }
    let contents = match fetched.value {
        Ok(contents) => contents,
        Err(e) => {
            checks.push(CheckResult::from_error(CONTENTS_CHECK, &e));
            return (None, checks);
        }
    };
    let crc = if contents.has_checksum {
        "its CRC64 is right"
    } else {
        "its server wrote no CRC64 (rdbchecksum no)"
    };
    checks.push(CheckResult::passed(
        CONTENTS_CHECK,
        format!("{}, {} keys; {crc}", contents.magic, contents.key_count()),
    ));
    checks.extend(compare_with_record(backup, &contents));
    (Some(contents), checks)
}

/// The counts against those of the record; what had expired by then and by now may differ.
fn compare_with_record(backup: &StoredBackup, contents: &RdbContents) -> Option<CheckResult> {
    let record = backup.committed_manifest()?.redis.as_ref()?;
    let counts = |c: &RdbContents| {
        c.databases.iter().map(|d| (d.index, d.keys, d.expiring)).collect::<Vec<_>>()
    };
    let name = "keys of the record";
    let same = counts(record) == counts(contents) && record.functions == contents.functions;
    Some(if same {
        CheckResult::passed(name, format!("{} in every count", contents.key_count()))
    } else {
        let (was, is) = (record.key_count(), contents.key_count());
        CheckResult::failed(name, format!("the record has {was} keys, the file has {is}"))
    })
}

/// Reads an RDB file to its end and says what it is worth, without a server.
pub(crate) async fn verify_rdb_quick(
    store: &BackupStore,
    backup: &StoredBackup,
    opening: &BackupKeys,
) -> VerificationReport {
    let begun = Instant::now();
    let mut checks = check_sidecars(store, backup).await;
    if !any_failed(&checks) {
        checks.extend(check_rdb(store, backup, opening, None).await.1);
    }
    build_report(backup, false, checks, Vec::new(), vec![phase_duration("fetch", begun)])
}

/// Loads an RDB file into a server of its own family and compares every database's keys. The server listens on a Unix
/// socket alone; it and its data are gone afterwards.
pub async fn verify_rdb_full(
    store: &BackupStore,
    backup: &StoredBackup,
    opening: &BackupKeys,
    scratch: &RdbScratch,
) -> VerificationReport {
    let mut checks = check_sidecars(store, backup).await;
    let mut times = Vec::new();
    if !any_failed(&checks) {
        match load_for_test(store, backup, opening, scratch, &mut times).await {
            Ok(more) => checks.extend(more),
            Err(e) => checks.push(CheckResult::from_error(LOADS_CHECK, &e)),
        }
    }
    build_report(backup, true, checks, Vec::new(), times)
}

async fn load_for_test(
    store: &BackupStore,
    backup: &StoredBackup,
    opening: &BackupKeys,
    scratch: &RdbScratch,
    times: &mut Vec<crate::verify::PhaseDuration>,
) -> Result<Vec<CheckResult>, RestoreError> {
    let no_place = |e: std::io::Error| {
        let doing = format!("make a folder in {}", scratch.folder.display());
        RestoreError::new(RestoreErrorKind::NoScratch, doing, e.to_string(), "")
    };
    let folder = tempfile::Builder::new()
        .prefix("holdfast-verify-")
        .tempdir_in(&scratch.folder)
        .map_err(no_place)?;
    let begun = Instant::now();
    let file = folder.path().join("dump.rdb");
    let (contents, mut checks) = check_rdb(store, backup, opening, Some(&file)).await;
    times.push(phase_duration("fetch", begun));
    let Some(contents) = contents else { return Ok(checks) };
    let nowhere =
        |e: RedisError| RestoreError { kind: RestoreErrorKind::NoScratch, ..RestoreError::from(e) };
    let program =
        find_server_program(contents.family, &contents.server_version, scratch.path.as_deref())
            .map_err(nowhere)?;
    let begun = Instant::now();
    let server = match ScratchRedis::start(&program, folder.path(), ScratchMode::CountAllKeys).await
    {
        Ok(server) => server,
        // Without its module a server refuses a good file.
        Err(e) if !contents.modules.is_empty() => {
            let modules = contents.modules.join(", ");
            let why = format!("the file has data of the modules {modules}: {}", e.why);
            let hint = "test it on a server that loads these modules";
            return Err(RestoreError::new(RestoreErrorKind::NoScratch, e.doing, why, hint));
        }
        Err(e) => return Err(e.into()),
    };
    let counted = server.key_counts().await;
    server.stop().await;
    times.push(phase_duration("load", begun));
    let counted = counted.map_err(nowhere)?;
    let expected = contents.databases.iter().map(|d| (d.index, d.keys)).collect();
    checks.push(if counted == expected {
        let expired: u64 = contents.databases.iter().map(|d| d.expired).sum();
        CheckResult::passed(
            LOADS_CHECK,
            format!(
                "{} loads all {} keys of {} databases; {expired} of them have expired, and a primary leaves those out",
                program.display(),
                contents.key_count(),
                expected.len()
            ),
        )
    } else {
        let total: u64 = counted.values().sum();
        CheckResult::failed(
            LOADS_CHECK,
            format!("the server has {total} keys, and the file has {}", contents.key_count()),
        )
    });
    Ok(checks)
}

/// Writes a stream into a new file that only its owner may read, and has it on the disk.
async fn write_file(path: &Path, mut from: ChunkReceiver) -> Result<(), RestoreError> {
    let path = path.to_owned();
    let written = spawn_blocking(move || -> Result<(), RestoreError> {
        let failed = |e: std::io::Error| {
            RestoreError::new(
                RestoreErrorKind::Refused,
                format!("write {}", path.display()),
                e.to_string(),
                "look for free disk space and permissions",
            )
        };
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let mut file = file.map_err(failed)?;
        loop {
            match from.blocking_recv() {
                Some(Ok(piece)) if piece.is_empty() => break,
                Some(Ok(piece)) => file.write_all(&piece).map_err(failed)?,
                // Whoever sent it says why.
                Some(Err(_)) | None => return Ok(()),
            }
        }
        file.sync_all().map_err(failed)
    });
    written.await.unwrap_or_else(|e| {
        Err(RestoreError::new(RestoreErrorKind::Refused, "write the file", e.to_string(), ""))
    })
}

/// Makes a folder that only its owner may enter, with those above it.
fn create_private_directory(path: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[expect(
    clippy::disallowed_methods,
    reason = "which keys have expired is asked of the moment of reading"
)]
fn now() -> Timestamp {
    Timestamp::now()
}

//! Archiving: one file that PostgreSQL asks for, and with it others that wait.

use crate::{
    error::{WalError, WalErrorKind},
    name::WalFileName,
    repository::{PutOutcome, WalRepository, run_blocking},
    source::WalSourceFile,
};
use futures_util::{StreamExt, stream};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// A file is given up when it takes longer: the next call begins anew. PostgreSQL itself has no limit.
const FILE_TIMEOUT: Duration = Duration::from_mins(10);

/// How many files one call archives.
#[derive(Clone, Copy, Debug)]
pub struct PushOptions {
    /// Files besides the one that was asked for, at most.
    pub ahead: usize,
    /// Files at once.
    pub jobs: usize,
    /// Marks the others as archived, so that PostgreSQL does not ask for them: `archived_count` and `last_archived_wal` of
    /// `pg_stat_archiver` do not count these.
    pub mark_done: bool,
}

/// What a call did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushReport {
    /// What became of the file that was asked for.
    pub outcome: PutOutcome,
    /// Others that are archived now.
    pub ahead: usize,
    /// Why others are not; the next call tries them again.
    pub failures: Vec<String>,
}

/// Archives the file at `path`, and others that wait in the same folder.
///
/// A history file that waits goes first, whatever was asked for: recovery must know a timeline before its segments.
///
/// # Errors
/// If the file that was asked for is not archived.
pub async fn push_wal_file(
    repository: &WalRepository,
    system: u64,
    path: &Path,
    options: PushOptions,
) -> Result<PushReport, WalError> {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let asked: WalFileName = name.parse().map_err(|why: String| {
        WalError::new(WalErrorKind::Refused, format!("archive {}", path.display()), why, "")
    })?;
    let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
    let waiting = list_ready(&folder, asked);
    for file in waiting.iter().filter(|f| matches!(f, WalFileName::History(_))) {
        put_one(repository, system, &folder, *file).await?;
    }
    let others: Vec<WalFileName> = waiting
        .into_iter()
        .filter(|f| !matches!(f, WalFileName::History(_)))
        .take(options.ahead)
        .collect();
    let put = |file: WalFileName| {
        let folder = &folder;
        async move { (file, put_one(repository, system, folder, file).await) }
    };
    let all = std::iter::once(asked).chain(others);
    let mut done: Vec<_> = stream::iter(all.map(put)).buffered(options.jobs.max(1)).collect().await;
    let (_, first) = done.remove(0);
    let mut report = PushReport { outcome: first?, ahead: 0, failures: Vec::new() };
    for (file, result) in done {
        let marked = match result {
            Ok(_) if options.mark_done => mark_done(&folder, file),
            Ok(_) => Ok(()),
            Err(e) => Err(e),
        };
        match marked {
            Ok(()) => report.ahead += 1,
            Err(e) => report.failures.push(e.to_string()),
        }
    }
    Ok(report)
}

async fn put_one(
    repository: &WalRepository,
    system: u64,
    folder: &Path,
    file: WalFileName,
) -> Result<PutOutcome, WalError> {
    let doing = format!("archive {file}");
    let path = folder.join(file.to_string());
    let putting = async {
        let source = run_blocking(&doing, move || WalSourceFile::read(&path, file, system)).await?;
        repository.put(system, &source).await
    };
    tokio::time::timeout(FILE_TIMEOUT, putting).await.unwrap_or_else(|_| {
        let why = format!("it was not done within {} s", FILE_TIMEOUT.as_secs());
        Err(WalError::new(
            WalErrorKind::Late,
            &doing,
            why,
            "see what the store does; it is tried again",
        ))
    })
}

fn status_path(folder: &Path, file: WalFileName, status: &str) -> PathBuf {
    folder.join("archive_status").join(format!("{file}.{status}"))
}

/// Files that wait, in the order in which they are archived, but the one that is asked for. One without its file is what a
/// crash left: PostgreSQL removes it itself.
fn list_ready(folder: &Path, asked: WalFileName) -> Vec<WalFileName> {
    let entries = fs::read_dir(folder.join("archive_status")).into_iter().flatten().flatten();
    let mut ready: Vec<WalFileName> = entries
        .filter_map(|e| e.file_name().to_str()?.strip_suffix(".ready")?.parse::<WalFileName>().ok())
        .filter(|f| *f != asked && folder.join(f.to_string()).is_file())
        .collect();
    ready.sort_by_key(WalFileName::archive_order);
    ready
}

/// Renames `.ready` to `.done`, durably, as PostgreSQL does it.
fn mark_done(folder: &Path, file: WalFileName) -> Result<(), WalError> {
    let (ready, done) = (status_path(folder, file, "ready"), status_path(folder, file, "done"));
    let renamed = fs::rename(&ready, &done);
    let synced = renamed.and_then(|()| File::open(folder.join("archive_status"))?.sync_all());
    match synced {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(WalError::from_io(format!("rename {}", ready.display()), &e))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_files_come_first_and_what_a_crash_left_is_passed_over() {
        let dir = tempfile::tempdir().expect("a folder");
        let status = dir.path().join("archive_status");
        fs::create_dir(&status).expect("made");
        let names = [
            "000000020000000000000003",
            "000000010000000000000009",
            "00000002.history",
            "000000010000000000000002",
            "000000010000000000000003.partial",
        ];
        for name in names {
            fs::write(dir.path().join(name), b"x").expect("written");
            fs::write(status.join(format!("{name}.ready")), b"").expect("written");
        }
        fs::write(status.join("000000010000000000000001.ready"), b"").expect("written");
        fs::write(status.join("junk.ready"), b"").expect("written");
        let asked = names[3].parse().expect("a name");
        let ready: Vec<String> =
            list_ready(dir.path(), asked).iter().map(ToString::to_string).collect();
        assert_eq!(ready, [names[2], names[4], names[1], names[0]]);
        mark_done(dir.path(), names[1].parse().expect("a name")).expect("marked");
        assert!(status.join(format!("{}.done", names[1])).exists());
        mark_done(dir.path(), names[1].parse().expect("a name")).expect("marked by somebody else");
    }
}

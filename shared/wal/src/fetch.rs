//! Restoring one file: `restore_command`.
//!
//! PostgreSQL takes an exit code of 1 to 125 for "not in the archive", and then ends recovery and promotes. So absence is
//! told only where the store said, for this very name, that nothing is there; everything else is a failure.

use crate::{
    chunk::segment_tail,
    error::{WalError, WalErrorKind},
    name::{SegmentName, WalFileName},
    page::read_segment_header,
    pause::DoublingPause,
    repository::{StoredWalFile, WalRepository},
};
use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

/// Tries of a store that does not answer.
const TRIES: u32 = 5;

/// What became of a file that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchOutcome {
    /// It is there.
    Fetched,
    /// The archive has none of this name.
    Absent,
}

/// Writes a file of the archive to `to`, whole and checked; nothing is there before.
///
/// # Errors
/// If the archive could not be asked, several contents have the name, or what lies there is not what it must be.
pub async fn fetch_wal_file(
    repository: &WalRepository,
    system: u64,
    file: WalFileName,
    to: &Path,
) -> Result<FetchOutcome, WalError> {
    let mut pause = DoublingPause::default();
    for attempt in 1.. {
        match fetch_once(repository, system, file, to).await {
            Err(e) if e.kind == WalErrorKind::Store && attempt < TRIES => {
                tracing::warn!("{e}; trying again");
                pause.wait().await;
            }
            done => return done,
        }
    }
    unreachable!("the last try returns")
}

async fn fetch_once(
    repository: &WalRepository,
    system: u64,
    file: WalFileName,
    to: &Path,
) -> Result<FetchOutcome, WalError> {
    // Beside its place, so that it comes there by a rename, whole; nobody reads a name that begins with a dot.
    let name = to.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let temporary = to.with_file_name(format!(".holdfast-{name}.{}", std::process::id()));
    let _ = fs::remove_file(&temporary);
    let written = write_file(repository, system, file, &temporary).await;
    let placed = written.and_then(|outcome| {
        if outcome == FetchOutcome::Fetched {
            check_segment(&temporary, system, file)?;
            fs::rename(&temporary, to)
                .map_err(|e| WalError::from_io(format!("write {}", to.display()), &e))?;
        }
        Ok(outcome)
    });
    if !matches!(placed, Ok(FetchOutcome::Fetched)) {
        let _ = fs::remove_file(&temporary);
    }
    placed
}

/// Writes what the archive has of a file: it whole, else what a receiver stored of a segment that is not finished.
async fn write_file(
    repository: &WalRepository,
    system: u64,
    file: WalFileName,
    to: &Path,
) -> Result<FetchOutcome, WalError> {
    let found = repository.find(system, &file).await?;
    if let Some(stored) = select_stored(repository, file, &found)? {
        return repository.get(stored, to).await.map(|()| FetchOutcome::Fetched);
    }
    let WalFileName::Segment(segment) = file else { return Ok(FetchOutcome::Absent) };
    let chunks = repository.find_chunks(system, segment).await?;
    let (Some(tail), Some(size)) = (segment_tail(&chunks), chunks.first().map(|c| c.segment_size))
    else {
        return Ok(FetchOutcome::Absent);
    };
    let number = segment.number(size).unwrap_or_default();
    let next = SegmentName::from_number(segment.timeline, number + 1, size);
    // Recovery would take the end of the pieces for the end of the WAL, and promote.
    if tail.until < size.segment_start(number + 1) && is_there(repository, system, next).await? {
        let doing = format!("fetch {segment}");
        if !repository.find(system, &file).await?.is_empty() {
            return Err(WalError::new(WalErrorKind::Store, doing, "it was finished just now", ""));
        }
        let why = format!("of it there is only what ends at {}, and {next} is there", tail.until);
        let hint =
            "it is a gap: archive it from the server's pg_wal, or restore to a position before";
        return Err(WalError::new(WalErrorKind::Damaged, doing, why, hint));
    }
    let got = repository.get_tail(system, segment, to).await?;
    Ok(got.map_or(FetchOutcome::Absent, |_| FetchOutcome::Fetched))
}

async fn is_there(
    repository: &WalRepository,
    system: u64,
    segment: SegmentName,
) -> Result<bool, WalError> {
    let whole = repository.find(system, &WalFileName::Segment(segment)).await?;
    Ok(!whole.is_empty() || !repository.find_chunks(system, segment).await?.is_empty())
}

/// The one object of a file.
pub(crate) fn select_stored<'s>(
    repository: &WalRepository,
    file: WalFileName,
    found: &'s [StoredWalFile],
) -> Result<Option<&'s StoredWalFile>, WalError> {
    let Some(first) = found.first() else { return Ok(None) };
    if let Some(other) = found.iter().find(|s| s.name.sha256 != first.name.sha256) {
        let uri = |s: &StoredWalFile| repository.store.full_uri(&s.key);
        let why =
            format!("two different contents have that name: {} and {}", uri(first), uri(other));
        let hint = "two servers archived as one; move the one away that is not of the history to be restored";
        return Err(WalError::new(WalErrorKind::Conflict, format!("fetch {file}"), why, hint));
    }
    Ok(Some(first))
}

/// Holds a segment's first page against its name.
fn check_segment(path: &Path, system: u64, file: WalFileName) -> Result<(), WalError> {
    let WalFileName::Segment(name) = file else { return Ok(()) };
    let doing = format!("fetch {name}");
    let mut page = Vec::new();
    let read = File::open(path).and_then(|f| f.take(64).read_to_end(&mut page));
    read.map_err(|e| WalError::from_io(&doing, &e))?;
    let wrong =
        |why: String| WalError::new(WalErrorKind::Damaged, &doing, why, "look at what archived it");
    let header = read_segment_header(&page).map_err(|why| wrong(why.into()))?;
    let starts = name.number(header.segment_size).map(|n| header.segment_size.segment_start(n));
    if header.system != system || starts != Some(header.start) {
        return Err(wrong(format!(
            "by its first page it is of {} at {}",
            header.system, header.start
        )));
    }
    Ok(())
}

/// Whether a data folder is a standby's: it asks again after a failure, so that it need not be stopped by one.
pub fn is_standby(data: &Path) -> bool {
    data.join("standby.signal").exists()
}

/// The data folder that a path of PostgreSQL's lies in: `pg_wal/NAME` is relative to it.
pub fn data_folder_of(path: &Path) -> PathBuf {
    match path.parent().and_then(Path::parent) {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

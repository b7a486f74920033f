//! A file that PostgreSQL gives to be archived: read, and held against its name, before anything of it is stored.

use crate::{
    error::{WalError, WalErrorKind},
    name::Lsn,
    name::WalFileName,
    page::{CommitScanner, SegmentHeader, read_segment_header},
};
use codec::Sha256Digest;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Bytes of one read: a multiple of every page size.
const READ_BYTES: usize = 256 << 10;
/// The longest history file that is believed to be one.
const MAX_SMALL_BYTES: u64 = 1 << 20;

/// A file that can be archived.
#[derive(Clone, Debug)]
pub struct WalSourceFile {
    /// Its name.
    pub file: WalFileName,
    /// Where it lies.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Of all its bytes.
    pub sha256: Sha256Digest,
    /// What its first page says; none of a history file.
    pub header: Option<SegmentHeader>,
    /// The newest commit or abort in it.
    pub last_commit: Option<Timestamp>,
}

impl WalSourceFile {
    /// Reads a file whole and checks it against its name and the cluster.
    ///
    /// # Errors
    /// If it can't be read, is of another cluster, or is not what its name says.
    pub fn read(path: &Path, file: WalFileName, system: u64) -> Result<Self, WalError> {
        let io = |e: &io::Error| WalError::from_io(format!("read {}", path.display()), e);
        let mut opened = File::open(path).map_err(|e| io(&e))?;
        let bytes = opened.metadata().map_err(|e| io(&e))?.len();
        let is_segment = matches!(file, WalFileName::Segment(_) | WalFileName::Partial(_));
        if !is_segment && bytes > MAX_SMALL_BYTES {
            return Err(refused(
                path,
                format!("it has {bytes} bytes, and no such file is longer than {MAX_SMALL_BYTES}"),
            ));
        }
        let mut hash = Sha256::new();
        let mut header = None;
        let (mut scanner, mut commits, mut last_commit) =
            (CommitScanner::default(), Vec::new(), None);
        let (mut buffer, mut position) = (vec![0; READ_BYTES], 0_u64);
        loop {
            let n = read_full(&mut opened, &mut buffer).map_err(|e| io(&e))?;
            if n == 0 {
                break;
            }
            hash.update(&buffer[..n]);
            if is_segment {
                if position == 0 {
                    header = Some(check_header(path, file, system, &buffer[..n], bytes)?);
                }
                let (page_size, start) = header.map_or((8192, Lsn(0)), |h| (h.page_size, h.start));
                for (i, page) in buffer[..n].chunks_exact(page_size).enumerate() {
                    let at = Lsn(start.0 + position + (i * page_size) as u64);
                    scanner.add_page(page, at, &mut commits);
                }
                last_commit = commits.drain(..).map(|c| c.time).chain(last_commit).max();
            }
            position += n as u64;
        }
        if position != bytes {
            return Err(refused(path, format!("{position} bytes were read of {bytes}")));
        }
        let sha256 = Sha256Digest(hash.finalize().into());
        Ok(Self { file, path: path.to_owned(), bytes, sha256, header, last_commit })
    }
}

fn read_full(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut n = 0;
    while n < buffer.len() {
        match file.read(&mut buffer[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}

fn refused(path: &Path, why: impl Into<String>) -> WalError {
    let hint = "nothing was stored; see what wrote that file";
    WalError::new(WalErrorKind::Damaged, format!("archive {}", path.display()), why, hint)
}

fn check_header(
    path: &Path,
    file: WalFileName,
    system: u64,
    page: &[u8],
    bytes: u64,
) -> Result<SegmentHeader, WalError> {
    let header = read_segment_header(page).map_err(|why| refused(path, why))?;
    let (WalFileName::Segment(name) | WalFileName::Partial(name)) = file else { return Ok(header) };
    if header.system != system {
        let why =
            format!("it is of the cluster {}, and this is the cluster {system}", header.system);
        return Err(refused(path, why));
    }
    if header.segment_size.bytes() != bytes {
        let why = format!(
            "it has {bytes} bytes, and a segment of its cluster {}",
            header.segment_size.bytes()
        );
        return Err(refused(path, why));
    }
    let starts = name.number(header.segment_size).map(|n| header.segment_size.segment_start(n));
    // The first segment of a timeline begins as a copy of its parent's.
    if starts != Some(header.start) || header.timeline > name.timeline {
        let why = format!(
            "by its first page it is of timeline {} and begins at {}",
            header.timeline, header.start
        );
        return Err(refused(path, why));
    }
    Ok(header)
}

/// The system identifier of the cluster in a data folder, from its `global/pg_control`, where every version has it first.
///
/// # Errors
/// If it can't be read.
pub fn read_system_identifier(data: &Path) -> Result<u64, WalError> {
    let path = data.join("global/pg_control");
    let mut first = [0; 8];
    let read = File::open(&path).and_then(|mut f| f.read_exact(&mut first));
    read.map_err(|e| {
        let doing = format!("read {}", path.display());
        let hint =
            "run it from the data folder, as PostgreSQL does, or name the cluster with --system";
        WalError::new(WalErrorKind::Disk, doing, e.to_string(), hint)
    })?;
    Ok(u64::from_le_bytes(first))
}

//! Everything read from outside has a limit, and nothing is read beyond it.
//!
//! A file may be endless, an object may be anything that somebody put there. So whatever is read whole is read here, with
//! the most that it can sensibly have; one byte more is an error that names the limit.

use aws_sdk_s3::primitives::ByteStream;
use rustix::fs::OFlags;
use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// The largest policy. The largest that is shipped has 20 KB.
pub const MAX_POLICY_BYTES: usize = 1 << 20;
/// The largest object that is read whole: records, notes, holds, pieces of the audit log.
pub const MAX_SMALL_OBJECT_BYTES: usize = 16 << 20;

/// More came than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is larger than {} {}, the most that is read of it", self.limit_and_unit().0, self.limit_and_unit().1)]
pub struct TooLarge(pub usize);

impl TooLarge {
    fn limit_and_unit(self) -> (usize, &'static str) {
        match self.0 {
            n if n.is_multiple_of(1 << 20) => (n >> 20, "MiB"),
            n if n.is_multiple_of(1 << 10) => (n >> 10, "KiB"),
            n => (n, "bytes"),
        }
    }
}

impl From<TooLarge> for io::Error {
    fn from(e: TooLarge) -> Self {
        Self::new(io::ErrorKind::InvalidData, e)
    }
}

/// Reads to the end, `limit` bytes at most.
///
/// # Errors
/// If it can't be read, or goes on after the limit ([`TooLarge`]).
pub fn read_to_limit(from: impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit { Err(TooLarge(limit).into()) } else { Ok(bytes) }
}

/// The same, as text.
///
/// # Errors
/// As of [`read`], and if it is not UTF-8.
pub fn read_text_to_limit(from: impl Read, limit: usize) -> io::Result<String> {
    let text = String::from_utf8(read_to_limit(from, limit)?);
    text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

/// Opens a regular file. A pipe or device of that name, which might never end or never begin, is refused.
///
/// # Errors
/// If it can't be opened or is no regular file.
pub fn open_regular_file(path: &Path) -> io::Result<File> {
    // Without waiting: a pipe that nobody writes to would never open.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    Ok(file)
}

/// A whole regular file, as [`open`] opens it.
///
/// # Errors
/// As of [`open`] and [`read`].
pub fn read_file(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    read_to_limit(open_regular_file(path)?, limit)
}

/// The body of an answer, piece by piece.
///
/// # Errors
/// If it breaks off, or goes on after the limit ([`TooLarge`]).
pub async fn read_body(mut from: ByteStream, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(piece) = from.try_next().await? {
        if bytes.len() + piece.len() > limit {
            return Err(TooLarge(limit).into());
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_more_than_the_limit_is_an_error_and_an_endless_source_ends() {
        assert_eq!(read_to_limit(&b"1234"[..], 4).expect("it fits"), b"1234");
        let error = read_to_limit(&b"12345"[..], 4).expect_err("too large");
        assert_eq!(error.to_string(), "it is larger than 4 bytes, the most that is read of it");
        let error = read_to_limit(io::repeat(0), 1 << 20).expect_err("endless").to_string();
        assert!(error.starts_with("it is larger than 1 MiB"), "{error}");
        assert!(read_text_to_limit(&b"\xff"[..], 4).is_err());
    }

    #[test]
    fn what_is_no_regular_file_is_refused_without_waiting() {
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .expect("a pipe");
        for path in [pipe.as_path(), Path::new("/dev/zero"), folder.path()] {
            assert!(read_file(path, 16).is_err(), "{}", path.display());
        }
        let path = folder.path().join("file");
        std::fs::write(&path, "12345").expect("written");
        assert_eq!(read_file(&path, 5).expect("it fits"), b"12345");
        assert!(read_file(&path, 4).is_err());
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_the_limit() {
        let stream = || ByteStream::from_static(b"12345");
        assert_eq!(read_body(stream(), 5).await.expect("it fits"), b"12345");
        assert!(read_body(stream(), 4).await.is_err());
    }
}

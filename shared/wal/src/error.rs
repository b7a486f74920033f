//! The error of this crate: what was being done, why it did not work, and what to do about it.

use codec::ArchiveError;
use postgres::{PostgresError, PostgresErrorKind};
use shared::aws::OperationError;
use std::{fmt, io};
use storage::{StoreError, StoreErrorKind};

/// Why something with the WAL archive did not work. None of its texts holds a secret or data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalError {
    /// Verb and object.
    pub doing: String,
    /// Why it failed.
    pub why: String,
    /// What to do about it; may be empty.
    pub hint: String,
    /// What a caller decides by.
    pub kind: WalErrorKind,
}

/// Sorts of failure, by what a caller does about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalErrorKind {
    /// The store is not reached, or refuses.
    Store,
    /// Something else lies under that name.
    Conflict,
    /// Nobody that the policy names vouches for it.
    Untrusted,
    /// What lies there, or the file itself, is not what it must be.
    Damaged,
    /// It can't be encrypted or decrypted.
    Key,
    /// A local file or folder.
    Disk,
    /// The database server.
    Database,
    /// What was asked can't be done with what there is.
    Refused,
    /// It was not done in time.
    Late,
}

impl fmt::Display for WalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { doing, why, hint, .. } = self;
        write!(f, "{doing}: {why}")?;
        if hint.is_empty() { Ok(()) } else { write!(f, "; {hint}") }
    }
}

impl std::error::Error for WalError {}

impl WalError {
    /// An error in its four parts.
    pub fn new(
        kind: WalErrorKind,
        doing: impl Into<String>,
        why: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { doing: doing.into(), why: why.into(), hint: hint.into(), kind }
    }

    /// Of a local file.
    pub fn from_io(doing: impl Into<String>, e: &io::Error) -> Self {
        let hint = match e.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on that disk",
            io::ErrorKind::PermissionDenied => "let the user of this process read and write there",
            _ => "",
        };
        Self::new(WalErrorKind::Disk, doing, e.to_string(), hint)
    }

    /// Of compression and encryption.
    pub fn from_archive(doing: impl Into<String>, e: &ArchiveError) -> Self {
        let kind = match e {
            ArchiveError::Key(_) => WalErrorKind::Key,
            ArchiveError::Io(_) => WalErrorKind::Store,
            _ => WalErrorKind::Damaged,
        };
        Self::new(kind, doing, e.to_string(), "")
    }
}

impl From<StoreError> for WalError {
    fn from(e: StoreError) -> Self {
        let kind = match e.kind {
            StoreErrorKind::Damaged => WalErrorKind::Damaged,
            StoreErrorKind::Untrusted => WalErrorKind::Untrusted,
            StoreErrorKind::Exists => WalErrorKind::Conflict,
            _ => WalErrorKind::Store,
        };
        Self::new(kind, e.doing, e.why, e.hint)
    }
}

impl From<PostgresError> for WalError {
    fn from(e: PostgresError) -> Self {
        let kind = match e.kind {
            PostgresErrorKind::Data => WalErrorKind::Damaged,
            PostgresErrorKind::Disk => WalErrorKind::Disk,
            _ => WalErrorKind::Database,
        };
        Self::new(kind, e.doing, e.why, e.hint)
    }
}

impl From<OperationError> for WalError {
    fn from(e: OperationError) -> Self {
        let kind = match e.kind {
            shared::aws::OperationErrorKind::Key => WalErrorKind::Key,
            _ => WalErrorKind::Store,
        };
        let hint = e.hint().to_string();
        Self::new(kind, e.operation, e.message, hint)
    }
}

//! The one error of this crate.

use shared::aws::OperationError;
use std::fmt;

/// Why a backup could not be restored: what was being done, why it did not work, what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreError {
    /// Verb and object.
    pub doing: String,
    /// Why it failed.
    pub why: String,
    /// What to do about it; may be empty.
    pub hint: String,
    /// What a caller decides by.
    pub kind: RestoreErrorKind,
}

/// Sorts of failure, by what a caller does about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreErrorKind {
    /// The database can't be reached, or a connection was lost.
    Connection,
    /// The store does not give what it should.
    Store,
    /// No key opens it.
    Key,
    /// The backup is damaged: another one must do.
    Damaged,
    /// What was restored is not what was dumped, or fails a check.
    Check,
    /// Something else has what is needed. Later it may work.
    Busy,
    /// It lies in an archive class: once it is thawed, it can be read.
    Cold,
    /// There is no place for a test restore: nothing is known of the backup.
    NoScratch,
    /// Asked for something that is not done.
    Refused,
}

impl RestoreError {
    /// An error in its four parts.
    pub fn new(
        kind: RestoreErrorKind,
        doing: impl Into<String>,
        why: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { doing: doing.into(), why: why.into(), hint: hint.into(), kind }
    }
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { doing, why, hint, .. } = self;
        write!(f, "{doing}: {why}")?;
        if hint.is_empty() { Ok(()) } else { write!(f, "; {hint}") }
    }
}

impl std::error::Error for RestoreError {}

impl From<postgres::PostgresError> for RestoreError {
    fn from(e: postgres::PostgresError) -> Self {
        use postgres::PostgresErrorKind as Of;
        let kind = match e.kind {
            Of::Connection | Of::Lost => RestoreErrorKind::Connection,
            Of::Busy => RestoreErrorKind::Busy,
            Of::Data => RestoreErrorKind::Damaged,
            Of::Tool | Of::Refused | Of::Disk => RestoreErrorKind::Refused,
        };
        Self { doing: e.doing, why: e.why, hint: e.hint, kind }
    }
}

impl From<storage::StoreError> for RestoreError {
    fn from(e: storage::StoreError) -> Self {
        Self { doing: e.doing, why: e.why, hint: e.hint, kind: e.kind.into() }
    }
}

impl From<storage::StoreErrorKind> for RestoreErrorKind {
    fn from(kind: storage::StoreErrorKind) -> Self {
        match kind {
            storage::StoreErrorKind::Damaged => Self::Damaged,
            storage::StoreErrorKind::Untrusted => Self::Refused,
            storage::StoreErrorKind::Archived => Self::Cold,
            _ => Self::Store,
        }
    }
}

impl From<OperationError> for RestoreError {
    fn from(e: OperationError) -> Self {
        use shared::aws::OperationErrorKind as Of;
        let kind = match e.kind {
            Of::Database => RestoreErrorKind::Connection,
            Of::Store | Of::Denied => RestoreErrorKind::Store,
            Of::Key => RestoreErrorKind::Key,
            _ => RestoreErrorKind::Refused,
        };
        Self { hint: e.hint().into(), doing: e.operation, why: e.message, kind }
    }
}

impl RestoreError {
    /// What the archive's reader said of the backup `name`.
    pub(crate) fn from_archive_error(name: &str, e: &codec::ArchiveError) -> Self {
        let (kind, hint) = match e {
            codec::ArchiveError::Key(_) => {
                (RestoreErrorKind::Key, "give the identity or passphrase it was made for")
            }
            codec::ArchiveError::Damaged(_) => {
                (RestoreErrorKind::Damaged, "restore another backup")
            }
            codec::ArchiveError::Io(_) => (RestoreErrorKind::Store, ""),
            codec::ArchiveError::Unsupported(_) => (RestoreErrorKind::Refused, ""),
        };
        Self::new(kind, format!("read {name}"), e.to_string(), hint)
    }
}

//! The one error of this crate.

use shared::aws::OperationError;
use std::fmt;

/// Why a backup could not be restored: what was being done, why it did not work, what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Verb and object.
    pub doing: String,
    /// Why it failed.
    pub why: String,
    /// What to do about it; may be empty.
    pub mend: String,
    /// What a caller decides by.
    pub kind: Kind,
}

/// Sorts of failure, by what a caller does about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
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

impl Error {
    /// An error in its four parts.
    pub fn new(
        kind: Kind,
        doing: impl Into<String>,
        why: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { doing: doing.into(), why: why.into(), mend: mend.into(), kind }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { doing, why, mend, .. } = self;
        write!(f, "{doing}: {why}")?;
        if mend.is_empty() { Ok(()) } else { write!(f, "; {mend}") }
    }
}

impl std::error::Error for Error {}

impl From<postgres::Error> for Error {
    fn from(e: postgres::Error) -> Self {
        use postgres::Kind as Of;
        let kind = match e.kind {
            Of::Connection | Of::Lost => Kind::Connection,
            Of::Busy => Kind::Busy,
            Of::Data => Kind::Damaged,
            Of::Tool | Of::Refused | Of::Disk => Kind::Refused,
        };
        Self { doing: e.doing, why: e.why, mend: e.mend, kind }
    }
}

impl From<store::Error> for Error {
    fn from(e: store::Error) -> Self {
        Self { doing: e.doing, why: e.why, mend: e.mend, kind: e.kind.into() }
    }
}

impl From<store::Kind> for Kind {
    fn from(kind: store::Kind) -> Self {
        match kind {
            store::Kind::Damaged => Self::Damaged,
            store::Kind::Untrusted => Self::Refused,
            store::Kind::Cold => Self::Cold,
            _ => Self::Store,
        }
    }
}

impl From<OperationError> for Error {
    fn from(e: OperationError) -> Self {
        use shared::aws::OperationErrorKind as Of;
        let kind = match e.kind {
            Of::Database => Kind::Connection,
            Of::Store | Of::Denied => Kind::Store,
            Of::Key => Kind::Key,
            _ => Kind::Refused,
        };
        Self { mend: e.hint().into(), doing: e.operation, why: e.message, kind }
    }
}

impl Error {
    /// What the archive's reader said of the backup `name`.
    pub(crate) fn of_archive(name: &str, e: &archive::Error) -> Self {
        let (kind, mend) = match e {
            archive::Error::Key(_) => {
                (Kind::Key, "give the identity or passphrase it was made for")
            }
            archive::Error::Damaged(_) => (Kind::Damaged, "restore another backup"),
            archive::Error::Io(_) => (Kind::Store, ""),
            archive::Error::Unsupported(_) => (Kind::Refused, ""),
        };
        Self::new(kind, format!("read {name}"), e.to_string(), mend)
    }
}

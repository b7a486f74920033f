//! Why an archive could not be written or read.

use std::io;

/// Why an archive could not be written or read; says what failed, why, and what to do. Never holds a secret.
///
/// It travels through [`io::Error`] and back without losing its kind: `Error::from(io::Error::from(e))` is `e`.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A key is absent, wrong, or no key at all.
    #[error("{0}")]
    Key(String),
    /// The bytes are not those that were stored: truncated, altered, or with something after their end.
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    /// The source or the sink failed; the archive itself may be good.
    #[error(transparent)]
    Io(io::Error),
    /// Something this program can't read or was asked to write; stock tools may.
    #[error("{0}")]
    Unsupported(String),
}

impl ArchiveError {
    /// The same error again: reading on after a failure must fail in the same way.
    pub(crate) fn duplicate(&self) -> Self {
        match self {
            Self::Key(why) => Self::Key(why.clone()),
            Self::Damaged(why) => Self::Damaged(why.clone()),
            Self::Io(e) => Self::Io(io::Error::new(e.kind(), e.to_string())),
            Self::Unsupported(why) => Self::Unsupported(why.clone()),
        }
    }
}

impl From<io::Error> for ArchiveError {
    fn from(e: io::Error) -> Self {
        e.downcast().unwrap_or_else(Self::Io)
    }
}

impl From<ArchiveError> for io::Error {
    fn from(e: ArchiveError) -> Self {
        let kind = match &e {
            ArchiveError::Io(_) => io::ErrorKind::Other,
            ArchiveError::Key(_) => io::ErrorKind::PermissionDenied,
            ArchiveError::Damaged(_) => io::ErrorKind::InvalidData,
            ArchiveError::Unsupported(_) => io::ErrorKind::Unsupported,
        };
        match e {
            ArchiveError::Io(e) => e,
            other => Self::new(kind, other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_survives_the_way_through_io() {
        let there: io::Error = ArchiveError::Key("no key".into()).into();
        assert!(matches!(ArchiveError::from(there), ArchiveError::Key(why) if why == "no key"));
        let there: io::Error = ArchiveError::Io(io::Error::other("a lost connection")).into();
        assert!(
            matches!(ArchiveError::from(there), ArchiveError::Io(e) if e.to_string() == "a lost connection")
        );
    }
}

//! Errors of stores: what was being done, why it was refused, and what to do about it.

use serde::Serialize;
use shared::aws::{OperationError, OperationErrorKind as AwsKind};

/// Why a store did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{doing}: {why}")]
pub struct Error {
    /// Verb and object: `write s3://backups/orders.dump`.
    pub doing: String,
    /// The store's own words, or ours.
    pub why: String,
    /// What to do about it.
    pub mend: String,
    /// What kind of refusal, for what a caller does about it.
    pub kind: Kind,
}

/// What a caller can do about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// What was named is not there.
    Missing,
    /// Something is there under that name already, and nothing is ever rewritten.
    Exists,
    /// The credentials lack a permission.
    Denied,
    /// The store is not reached, or the connection was lost beyond all tries.
    Unreachable,
    /// There is no space left.
    Full,
    /// A hold or the store's lock keeps it.
    Locked,
    /// It is archived and must be thawed before it can be read.
    Cold,
    /// What lies there is not what was written.
    Damaged,
    /// Nobody that the policy names vouches for it, or the policy rules it out.
    Untrusted,
    /// Any other refusal.
    Refused,
}

impl Error {
    /// An error with all its parts.
    pub fn new(
        kind: Kind,
        doing: impl Into<String>,
        why: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { doing: doing.into(), why: why.into(), mend: mend.into(), kind }
    }

    /// An error of the file system.
    pub(crate) fn io(doing: impl Into<String>, e: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        let (kind, mend) = match e.kind() {
            ErrorKind::NotFound => (Kind::Missing, "check the directory in the policy"),
            ErrorKind::AlreadyExists => (Kind::Exists, "look at what is there under that name"),
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                (Kind::Denied, "let the user of this process write there")
            }
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                (Kind::Full, "make room on that disk; nothing of this run is left to count")
            }
            // What is larger than what it is read as, or no file at all.
            ErrorKind::InvalidData | ErrorKind::InvalidInput => {
                (Kind::Refused, "look at what lies there: it is nothing that Holdfast writes")
            }
            _ => (Kind::Refused, "see the error above"),
        };
        Self::new(kind, doing, e.to_string(), mend)
    }

    /// The reading side of a stream can't tell more than this.
    pub(crate) fn to_io(&self) -> std::io::Error {
        std::io::Error::other(self.clone())
    }
}

impl From<OperationError> for Error {
    fn from(e: OperationError) -> Self {
        let code = e.code.as_deref().unwrap_or_default();
        let (kind, mend) = match code {
            "PreconditionFailed" | "ConditionalRequestConflict" => {
                (Kind::Exists, Some("look at what is there: nothing is ever rewritten"))
            }
            "InvalidObjectState" => {
                (Kind::Cold, Some("it is archived: ask for the thaw, which takes hours"))
            }
            "NoSuchBucket" => (Kind::Missing, Some("check the bucket's name and region")),
            "XMinioStorageFull" | "QuotaExceeded" | "InsufficientStorage" | "507" => {
                (Kind::Full, Some("make room in that store, or raise its quota"))
            }
            "BadDigest" | "XAmzContentSHA256Mismatch" | "InvalidDigest" => {
                (Kind::Damaged, Some("nothing was stored; try again, and look at the network"))
            }
            "NotImplemented" => (
                Kind::Refused,
                Some("this store lacks it: see `checksum` of the store in the policy"),
            ),
            _ => match e.kind {
                AwsKind::Denied => (Kind::Denied, None),
                AwsKind::Missing => (Kind::Missing, None),
                AwsKind::Exists => (Kind::Exists, None),
                AwsKind::Unreachable | AwsKind::Late => (Kind::Unreachable, None),
                AwsKind::Quota => (Kind::Full, None),
                _ => (Kind::Refused, None),
            },
        };
        let mend = mend.map_or_else(|| e.hint().to_owned(), str::to_owned);
        Self { doing: e.operation, why: e.message, mend, kind }
    }
}

/// For callers that speak of all edges in one way.
impl From<Error> for OperationError {
    fn from(e: Error) -> Self {
        let kind = if e.kind == Kind::Denied { AwsKind::Denied } else { AwsKind::Store };
        Self::with_hint(kind, e.doing, e.why, e.mend)
    }
}

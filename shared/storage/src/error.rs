//! Errors of stores: what was being done, why it was refused, and what to do about it.

use serde::Serialize;
use shared::aws::{OperationError, OperationErrorKind as AwsKind};

/// Why a store did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{doing}: {why}")]
pub struct StoreError {
    /// Verb and object: `write s3://backups/orders.dump`.
    pub doing: String,
    /// The store's own words, or ours.
    pub why: String,
    /// What to do about it.
    pub hint: String,
    /// What kind of refusal, for what a caller does about it.
    pub kind: StoreErrorKind,
}

/// What a caller can do about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreErrorKind {
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
    Archived,
    /// What lies there is not what was written.
    Damaged,
    /// Nobody that the policy names vouches for it, or the policy rules it out.
    Untrusted,
    /// Any other refusal.
    Refused,
}

impl StoreError {
    /// An error with all its parts.
    pub fn new(
        kind: StoreErrorKind,
        doing: impl Into<String>,
        why: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { doing: doing.into(), why: why.into(), hint: hint.into(), kind }
    }

    /// An error of the file system.
    pub(crate) fn from_io(doing: impl Into<String>, e: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        let (kind, hint) = match e.kind() {
            ErrorKind::NotFound => (StoreErrorKind::Missing, "check the directory in the policy"),
            ErrorKind::AlreadyExists => {
                (StoreErrorKind::Exists, "look at what is there under that name")
            }
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                (StoreErrorKind::Denied, "let the user of this process write there")
            }
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => (
                StoreErrorKind::Full,
                "make room on that disk; nothing of this run is left to count",
            ),
            // What is larger than what it is read as, or no file at all.
            ErrorKind::InvalidData | ErrorKind::InvalidInput => (
                StoreErrorKind::Refused,
                "look at what lies there: it is nothing that Holdfast writes",
            ),
            _ => (StoreErrorKind::Refused, "see the error above"),
        };
        Self::new(kind, doing, e.to_string(), hint)
    }

    /// The reading side of a stream can't tell more than this.
    pub(crate) fn to_io(&self) -> std::io::Error {
        std::io::Error::other(self.clone())
    }
}

impl From<OperationError> for StoreError {
    fn from(e: OperationError) -> Self {
        let code = e.code.as_deref().unwrap_or_default();
        let (kind, hint) = match code {
            "PreconditionFailed" | "ConditionalRequestConflict" => {
                (StoreErrorKind::Exists, Some("look at what is there: nothing is ever rewritten"))
            }
            "InvalidObjectState" => (
                StoreErrorKind::Archived,
                Some("it is archived: ask for the thaw, which takes hours"),
            ),
            "NoSuchBucket" => (StoreErrorKind::Missing, Some("check the bucket's name and region")),
            "XMinioStorageFull" | "QuotaExceeded" | "InsufficientStorage" | "507" => {
                (StoreErrorKind::Full, Some("make room in that store, or raise its quota"))
            }
            "BadDigest" | "XAmzContentSHA256Mismatch" | "InvalidDigest" => (
                StoreErrorKind::Damaged,
                Some("nothing was stored; try again, and look at the network"),
            ),
            "NotImplemented" => (
                StoreErrorKind::Refused,
                Some("this store lacks it: see `checksum` of the store in the policy"),
            ),
            _ => match e.kind {
                AwsKind::Denied => (StoreErrorKind::Denied, None),
                AwsKind::Missing => (StoreErrorKind::Missing, None),
                AwsKind::Exists => (StoreErrorKind::Exists, None),
                AwsKind::Unreachable | AwsKind::Late => (StoreErrorKind::Unreachable, None),
                AwsKind::Quota => (StoreErrorKind::Full, None),
                _ => (StoreErrorKind::Refused, None),
            },
        };
        let hint = hint.map_or_else(|| e.hint().to_owned(), str::to_owned);
        Self { doing: e.operation, why: e.message, hint, kind }
    }
}

/// For callers that speak of all edges in one way.
impl From<StoreError> for OperationError {
    fn from(e: StoreError) -> Self {
        let kind = if e.kind == StoreErrorKind::Denied { AwsKind::Denied } else { AwsKind::Store };
        Self::with_hint(kind, e.doing, e.why, e.hint)
    }
}

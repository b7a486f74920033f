//! The client library's errors as ours.

use crate::{StoreError, StoreErrorKind};

const ACCESS_DENIED: (StoreErrorKind, &str) = (
    StoreErrorKind::Denied,
    "check the access key, or give the identity the role Storage Blob Data Contributor",
);

const MISSING: (StoreErrorKind, &str) =
    (StoreErrorKind::Missing, "check account and container in the policy");

/// What Azure's answer says by its error code or its status.
/// <https://learn.microsoft.com/en-us/rest/api/storageservices/blob-service-error-codes>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    Archived,
    Locked,
    Denied,
    Missing,
    Mismatch,
}

impl Code {
    /// The code in an error's words. `object_store` 0.14 keeps neither status nor body where a caller could ask for them: its
    /// `RetryError` is private, and only its words come out (`Server returned non-2xx status code: 409 Conflict: <?xml ..`).
    /// So this is the one place that reads words, and only Azure's fixed codes and HTTP's status lines.
    fn in_words(why: &str) -> Option<Self> {
        let known = [
            ("BlobArchived", Self::Archived),
            ("BlobImmutable", Self::Locked),
            ("LeaseIdMissing", Self::Locked),
            ("403 Forbidden", Self::Denied),
            ("401 Unauthorized", Self::Denied),
            ("404 Not Found", Self::Missing),
            ("Md5Mismatch", Self::Mismatch),
        ];
        known.iter().find(|(code, _)| why.contains(code)).map(|(_, known)| *known)
    }
}

/// The library's error as ours.
pub(super) fn to_store_error(doing: String, e: &object_store::Error) -> StoreError {
    use object_store::Error as Theirs;
    let mut why = Vec::new();
    let mut cause: Option<&dyn std::error::Error> = Some(e);
    while let Some(said) = cause {
        let text = said.to_string();
        if !why.iter().any(|w: &String| w.contains(&text)) {
            why.push(text);
        }
        cause = said.source();
    }
    let why = why.join(": ");
    let (kind, hint) = match (e, Code::in_words(&why)) {
        (_, Some(Code::Archived)) => {
            (StoreErrorKind::Archived, "move it to a tier that can be read; that takes hours")
        }
        (_, Some(Code::Locked)) => {
            (StoreErrorKind::Locked, "wait until its immutability policy or lease ends")
        }
        (Theirs::NotFound { .. }, _) => MISSING,
        (Theirs::AlreadyExists { .. } | Theirs::Precondition { .. }, _) => {
            (StoreErrorKind::Exists, "look at what is there: nothing is ever rewritten")
        }
        (Theirs::PermissionDenied { .. } | Theirs::Unauthenticated { .. }, _)
        | (_, Some(Code::Denied)) => ACCESS_DENIED,
        (_, Some(Code::Missing)) => MISSING,
        (Theirs::NotSupported { .. } | Theirs::InvalidPath { .. }, _) => {
            (StoreErrorKind::Refused, "see its words")
        }
        (_, Some(Code::Mismatch)) => (StoreErrorKind::Damaged, "nothing was stored; try again"),
        _ => (
            StoreErrorKind::Unreachable,
            "check the network and the endpoint; the next run tries again",
        ),
    };
    StoreError::new(kind, doing, why, hint)
}

//! The client library's errors as ours.

use crate::{Error, Kind};

const DENIED: (Kind, &str) = (
    Kind::Denied,
    "check the access key, or give the identity the role Storage Blob Data Contributor",
);

/// The library's error as ours.
pub(super) fn error(doing: String, e: &object_store::Error) -> Error {
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
    let (kind, mend) = match e {
        _ if why.contains("BlobArchived") => {
            (Kind::Cold, "move it to a tier that can be read; that takes hours")
        }
        _ if ["BlobImmutable", "LeaseIdMissing"].iter().any(|w| why.contains(w)) => {
            (Kind::Locked, "wait until its immutability policy or lease ends")
        }
        Theirs::NotFound { .. } => (Kind::Missing, "check account and container in the policy"),
        Theirs::AlreadyExists { .. } | Theirs::Precondition { .. } => {
            (Kind::Exists, "look at what is there: nothing is ever rewritten")
        }
        Theirs::PermissionDenied { .. } | Theirs::Unauthenticated { .. } => DENIED,
        // Of a list the library keeps only the words.
        _ if ["403 Forbidden", "401 Unauthorized"].iter().any(|w| why.contains(w)) => DENIED,
        _ if why.contains("404 Not Found") => {
            (Kind::Missing, "check account and container in the policy")
        }
        Theirs::NotSupported { .. } | Theirs::InvalidPath { .. } => {
            (Kind::Refused, "see its words")
        }
        _ if why.contains("Md5Mismatch") => (Kind::Damaged, "nothing was stored; try again"),
        _ => (Kind::Unreachable, "check the network and the endpoint; the next run tries again"),
    };
    Error::new(kind, doing, why, mend)
}

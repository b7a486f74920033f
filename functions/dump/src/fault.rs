//! Errors of the parts, as the edges' one error: its kind decides the exit code.

use shared::aws::{OperationError, OperationErrorKind};

/// PostgreSQL's.
pub fn error_from_postgres(e: &postgres::PostgresError) -> OperationError {
    let kind = match e.kind {
        postgres::PostgresErrorKind::Connection | postgres::PostgresErrorKind::Lost => {
            OperationErrorKind::Database
        }
        postgres::PostgresErrorKind::Busy => OperationErrorKind::Busy,
        _ => OperationErrorKind::Refused,
    };
    let hint = if e.hint.is_empty() { "see the server's log" } else { &e.hint };
    OperationError::with_hint(kind, e.doing.clone(), e.why.clone(), hint)
}

/// The encoder's.
pub fn error_from_archive(doing: &str, e: &codec::ArchiveError) -> OperationError {
    let kind = match e {
        codec::ArchiveError::Key(_) => OperationErrorKind::Key,
        _ => OperationErrorKind::Refused,
    };
    OperationError::with_hint(kind, doing, e.to_string(), "")
}

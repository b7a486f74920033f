//! Errors of the parts, as the edges' one error: its kind decides the exit code.

use shared::aws::{OperationError, OperationErrorKind};

/// PostgreSQL's.
pub fn of_postgres(e: &postgres::Error) -> OperationError {
    let kind = match e.kind {
        postgres::Kind::Connection | postgres::Kind::Lost => OperationErrorKind::Database,
        postgres::Kind::Busy => OperationErrorKind::Busy,
        _ => OperationErrorKind::Refused,
    };
    let mend = if e.mend.is_empty() { "see the server's log" } else { &e.mend };
    OperationError::with_hint(kind, e.doing.clone(), e.why.clone(), mend)
}

/// The encoder's.
pub fn of_archive(doing: &str, e: &archive::Error) -> OperationError {
    let kind = match e {
        archive::Error::Key(_) => OperationErrorKind::Key,
        _ => OperationErrorKind::Refused,
    };
    OperationError::with_hint(kind, doing, e.to_string(), "")
}

//! Errors of the parts, as the edges' one error: its kind decides the exit code.

use shared::aws::{EdgeError, Kind};

/// PostgreSQL's.
pub fn of_postgres(e: &postgres::Error) -> EdgeError {
    let kind = match e.kind {
        postgres::Kind::Connection | postgres::Kind::Lost => Kind::Database,
        postgres::Kind::Busy => Kind::Busy,
        _ => Kind::Refused,
    };
    let mend = if e.mend.is_empty() { "see the server's log" } else { &e.mend };
    EdgeError::of_kind(kind, e.doing.clone(), e.why.clone(), mend)
}

/// The encoder's.
pub fn of_archive(doing: &str, e: &archive::Error) -> EdgeError {
    let kind = match e {
        archive::Error::Key(_) => Kind::Key,
        _ => Kind::Refused,
    };
    EdgeError::of_kind(kind, doing, e.to_string(), "")
}

//! The one error of this crate: what was being done, why it did not work, and what to do about it.

use std::{fmt, io};
use tokio_postgres::error::DbError;

/// Why something with PostgreSQL did not work. None of its texts holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresError {
    /// What was being done: verb and object, `dump orders`.
    pub doing: String,
    /// Why it failed, in the words of the server or the tool where there are any.
    pub why: String,
    /// What to do about it; may be empty.
    pub hint: String,
    /// What a caller can decide by.
    pub kind: PostgresErrorKind,
}

/// Sorts of failure, by what a caller does about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostgresErrorKind {
    /// The server can't be reached, or does not let us in.
    Connection,
    /// A connection, a tool or the other end of a stream went away in the middle.
    Lost,
    /// Someone else holds what is needed: a lease, a lock. Later it may work.
    Busy,
    /// A PostgreSQL client program is missing, too old or failed.
    Tool,
    /// The server refuses: no permission, no such table, bad SQL.
    Refused,
    /// The data is not what it must be.
    Data,
    /// No room or no access on a local disk.
    Disk,
}

impl fmt::Display for PostgresError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { doing, why, hint, .. } = self;
        write!(f, "{doing}: {why}")?;
        if hint.is_empty() { Ok(()) } else { write!(f, "; {hint}") }
    }
}

impl std::error::Error for PostgresError {}

impl PostgresError {
    /// An error in its four parts.
    pub fn new(
        kind: PostgresErrorKind,
        doing: impl Into<String>,
        why: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { doing: doing.into(), why: why.into(), hint: hint.into(), kind }
    }

    /// What the server or the connection to it answered.
    pub fn from_pg(doing: impl Into<String>, e: &tokio_postgres::Error) -> Self {
        let Some(db) = e.as_db_error() else {
            let (kind, hint) = if e.is_closed() || is_io(e) {
                (PostgresErrorKind::Lost, "see the server's log; the next run starts afresh")
            } else {
                (PostgresErrorKind::Data, "")
            };
            return Self::new(kind, doing, error_chain(e), hint);
        };
        let mut why = safe_message(db);
        if !may_hold_data(db) {
            for more in [db.detail(), db.hint()].into_iter().flatten() {
                why.push_str(": ");
                why.push_str(more);
            }
        }
        let (kind, hint) = kind_from_sqlstate(db.code().code());
        Self::new(kind, doing, why, hint)
    }

    /// A local pipe or file that did not work.
    pub fn from_io(doing: impl Into<String>, e: &io::Error) -> Self {
        let kind = match e.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => PostgresErrorKind::Disk,
            io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound => PostgresErrorKind::Tool,
            _ => PostgresErrorKind::Lost,
        };
        Self::new(kind, doing, e.to_string(), "")
    }
}

/// Whether the server's words about an error may quote what is in a table: errors of data, errors that functions raise, and
/// whatever happens inside of a function or a COPY, which is what the context says.
fn may_hold_data(db: &DbError) -> bool {
    let class = db.code().code().get(..2).unwrap_or_default();
    ["22", "23", "38", "39", "44", "HV", "P0"].contains(&class) || db.where_().is_some()
}

/// What may be shown of an error: the server's words where they can't hold data, else its code and the names of what it
/// is about.
pub(crate) fn safe_message(db: &DbError) -> String {
    if may_hold_data(db) { describe_by_sqlstate(db) } else { db.message().to_owned() }
}

/// An error by its code and the names of what it is about, whatever language the server speaks.
pub(crate) fn describe_by_sqlstate(db: &DbError) -> String {
    let code = db.code().code();
    let mut text = match describe_sqlstate(code) {
        Some(condition) => format!("{condition} (SQLSTATE {code})"),
        None => format!("SQLSTATE {code}"),
    };
    let names = [
        ("table", db.table()),
        ("column", db.column()),
        ("constraint", db.constraint()),
        ("type", db.datatype()),
    ];
    for (kind, name) in names {
        if let Some(name) = name {
            text.push_str(&format!(", {kind} {name}"));
        }
    }
    text
}

/// The usual codes in words.
fn describe_sqlstate(code: &str) -> Option<&'static str> {
    Some(match code {
        "0A000" => "not supported there",
        "22001" => "a text that is too long",
        "22003" => "a number out of range",
        "22007" | "22008" => "a time that is none",
        "22021" => "bytes that are no text in the encoding",
        "22P02" => "a text that is no value of its type",
        "22P03" => "binary data that is no value of its type",
        "22P04" => "rows that do not fit the columns",
        "22P05" => "a character that the encoding does not have",
        "23502" => "a null where none may be",
        "23503" => "a foreign key without its row",
        "23505" => "a duplicate key",
        "23514" => "a row that a check forbids",
        "23P01" => "rows that exclude each other",
        "40P01" => "a deadlock",
        "42501" => "permission denied",
        "42601" => "a statement that is no SQL there",
        "42704" => "something that does not exist",
        "42883" => "a function or an operator that does not exist",
        "42P01" => "a table that does not exist",
        "42703" => "a column that does not exist",
        "3F000" => "a schema that does not exist",
        "55P03" => "a lock that others hold",
        "57014" => "cancelled",
        "P0001" => "an error that a function raised",
        _ => return None,
    })
}

/// What a code of <https://www.postgresql.org/docs/current/errcodes-appendix.html> means to us.
fn kind_from_sqlstate(code: &str) -> (PostgresErrorKind, &'static str) {
    match code {
        "57P01" | "57P02" | "57P03" | "57P05" => {
            (PostgresErrorKind::Lost, "see the server's log for who ended it")
        }
        "55P03" => (PostgresErrorKind::Busy, "run again when whoever holds the lock is done"),
        "40001" => (
            PostgresErrorKind::Busy,
            "the replica removed rows that were still read: set hot_standby_feedback or a longer \
             max_standby_streaming_delay, or read from the primary",
        ),
        "28000" | "28P01" | "3D000" | "53300" => {
            (PostgresErrorKind::Connection, "check user, password, database and pg_hba.conf")
        }
        "42501" => (
            PostgresErrorKind::Refused,
            "grant it to the role that dumps, e.g. by pg_read_all_data",
        ),
        "53100" => (PostgresErrorKind::Disk, "make room on the server's disk"),
        "53200" => {
            (PostgresErrorKind::Refused, "raise max_locks_per_transaction if the detail says so")
        }
        _ if code.starts_with("08") => (PostgresErrorKind::Lost, "see the server's log"),
        _ if code.starts_with("22") || code.starts_with("XX") => (PostgresErrorKind::Data, ""),
        _ => (PostgresErrorKind::Refused, ""),
    }
}

fn is_io(e: &tokio_postgres::Error) -> bool {
    std::error::Error::source(e).is_some_and(<dyn std::error::Error>::is::<io::Error>)
}

fn error_chain(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut next = e.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

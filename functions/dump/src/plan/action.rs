//! What the function does.

use jiff::Timestamp;
use serde::Serialize;
use shared::plan::{Operates, Operation};
use shared::policy::text::{Name, ReasonName};
use std::fmt;

/// What the function does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum DumpAction {
    /// Dump a database.
    Create(DumpDatabase),
    /// Copy a dump to a second place.
    Copy(CopyDump),
    /// Note at a second place that a dump is still true.
    CopyMarker(CopyUnchangedMarker),
}

/// A dump to be taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DumpDatabase {
    /// The group.
    pub group: Name,
    /// The database.
    pub database: String,
    /// Why it is taken.
    pub reason: ReasonName,
    /// The time it was due at; none on demand.
    pub slot: Option<Timestamp>,
    /// For CSV, the one table or query of this file.
    pub table: Option<String>,
    /// The dump that is noted to be still true, instead, if this one holds the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedup_candidate: Option<String>,
}

/// A dump to be copied to a second place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CopyDump {
    /// The group.
    pub group: Name,
    /// The database.
    pub database: String,
    /// Its key in `storage`.
    pub from: String,
    /// Which of `copies`, from 0.
    pub to: usize,
}

/// A note to be copied to a second place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CopyUnchangedMarker {
    /// The group.
    pub group: Name,
    /// The database.
    pub database: String,
    /// The dump's key in `storage`.
    pub from: String,
    /// Which of `copies`, from 0.
    pub to: usize,
    /// The dump's key there.
    pub key: String,
    /// When the database was still the same.
    pub at: Timestamp,
}

impl Operates for DumpAction {
    fn operation(&self) -> Operation {
        match self {
            Self::Create(_) | Self::Copy(_) => Operation::Backup,
            Self::CopyMarker(_) => Operation::Other,
        }
    }
}

impl fmt::Display for DumpAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(t) => {
                write!(f, "dump {}", t.database)?;
                t.table.as_ref().map_or(Ok(()), |table| write!(f, ", {table}"))
            }
            Self::Copy(c) => write!(f, "copy {} to copies[{}]", c.from, c.to),
            Self::CopyMarker(n) => {
                write!(f, "note in copies[{}] that {} is still true", n.to, n.key)
            }
        }
    }
}

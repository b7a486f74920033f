//! What the function does.

use jiff::Timestamp;
use serde::Serialize;
use shared::plan::{Operates, Operation};
use shared::policy::text::{Name, ReasonName};
use std::fmt;

/// What the function does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Action {
    /// Dump a database.
    Take(Take),
    /// Copy a dump to a second place.
    Copy(Copying),
    /// Note at a second place that a dump is still true.
    Note(Noting),
}

/// A dump to be taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Take {
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
    pub same_as: Option<String>,
}

/// A dump to be copied to a second place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Copying {
    /// The group.
    pub group: Name,
    /// The database.
    pub database: String,
    /// Its key in `stored`.
    pub from: String,
    /// Which of `also_stored`, from 0.
    pub to: usize,
}

/// A note to be copied to a second place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Noting {
    /// The group.
    pub group: Name,
    /// The database.
    pub database: String,
    /// The dump's key in `stored`.
    pub from: String,
    /// Which of `also_stored`, from 0.
    pub to: usize,
    /// The dump's key there.
    pub key: String,
    /// When the database was still the same.
    pub at: Timestamp,
}

impl Operates for Action {
    fn operation(&self) -> Operation {
        match self {
            Self::Take(_) | Self::Copy(_) => Operation::Backup,
            Self::Note(_) => Operation::Other,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Take(t) => {
                write!(f, "dump {}", t.database)?;
                t.table.as_ref().map_or(Ok(()), |table| write!(f, ", {table}"))
            }
            Self::Copy(c) => write!(f, "copy {} to also_stored[{}]", c.from, c.to),
            Self::Note(n) => {
                write!(f, "note in also_stored[{}] that {} is still true", n.to, n.key)
            }
        }
    }
}

//! The policy file: one company's backup strategy.
//!
//! [`Policy::parse`] reads YAML and answers with a whole policy or with every fault at its line and column. A policy
//! that parses needs no further checks: names refer to what exists, rules are not empty, times are times.
//!
//! - [`grammar`], [`audit`], [`costs`], [`databases`], [`dumps`], [`notify`], [`monitor`], [`signing`], [`later`]: the types, from which [`schema`] is generated
//! - [`text`]: typed strings
//! - `locate`: YAML with positions; `structure`: the schema and differences from it; `meaning`: what a schema can't say;
//!   `secrets`: that none stands in a policy; `warnings`: what is legal and hardly meant; `not_run_yet`: what no function
//!   runs yet
//! - [`select`](self::select()): which databases a group has

pub mod access;
pub mod audit;
pub mod costs;
pub mod databases;
pub mod dumps;
pub mod grammar;
pub mod later;
mod locate;
mod meaning;
pub mod monitor;
mod not_run_yet;
pub mod notify;
mod secrets;
mod select;
mod server;
pub mod signing;
mod structure;
pub mod text;
mod warnings;

pub use access::Access;
pub use costs::{Costs, QuotaOf, StatusPage};
pub use databases::{AutomatedBackups, Databases, Drift, SnapshotCopy, Snapshots};
pub use dumps::{Compress, Dump, DumpFormat, Encrypt, Postgres, Scratch, SecretFrom, Tls};
pub use grammar::{
    Alarm, AzureContainer, Bucket, DeleteLimit, Destination, Encryption, Home, Keep, LockMode,
    ObjectCopy, Objectives, Policy, Replication, Side, StorageClass, Store, StoreChecksum, Tier,
    Watch, When,
};
pub use select::select;
pub use server::ServerDatabases;
pub use signing::Signing;
pub(crate) use structure::nearest;
pub use structure::schema;

use std::{fmt, sync::Arc};

/// Something wrong in a policy file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Fault {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// Where in the policy: `databases.fleet.copies[0].to`.
    pub path: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// Where each part of a policy stands in the file that it was parsed from; nowhere for one that was made otherwise.
#[derive(Clone, Default)]
pub struct Positions(Option<Arc<locate::Places>>);

impl fmt::Debug for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Positions").finish_non_exhaustive()
    }
}

/// Findings at their places, in the file's order.
fn faults(places: &locate::Places, found: &[structure::Found]) -> Vec<Fault> {
    let mut all: Vec<Fault> = found.iter().map(|f| places.fault(f).printable()).collect();
    all.sort();
    all.dedup();
    all
}

/// A path of serde's as a JSON Pointer.
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter().fold(String::new(), |at, segment| match segment {
        Segment::Map { key } => locate::join(&at, key),
        Segment::Seq { index } => locate::join(&at, &index.to_string()),
        Segment::Enum { .. } | Segment::Unknown => at,
    })
}

impl Fault {
    /// Without characters that would steer a terminal or forge a line: what stands in the file is repeated here.
    fn printable(self) -> Self {
        let printable = |text: &str| crate::words::printable(text).replace('\n', "\\n");
        Self { path: printable(&self.path), message: printable(&self.message), ..self }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, path, message } = self;
        if path.is_empty() {
            write!(f, "{line}:{column}: {message}")
        } else {
            write!(f, "{line}:{column}: {path}: {message}")
        }
    }
}

/// All that is wrong in a policy file, in the file's order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct Faults(pub Vec<Fault>);

/// Nobody mends more at a time, and a hostile file has tens of thousands.
const MOST_FAULTS: usize = 200;

impl Faults {
    /// The first of them, and how many more there are.
    fn bounded(mut self) -> Self {
        let more = self.0.len().saturating_sub(MOST_FAULTS);
        self.0.truncate(MOST_FAULTS);
        if let Some(last) = self.0.last().filter(|_| more > 0).cloned() {
            let message = format!("and {more} more faults; mend these first");
            self.0.push(Fault { path: String::new(), message, ..last });
        }
        self
    }
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl Policy {
    /// Reads a policy from YAML (or JSON, which is YAML too).
    ///
    /// # Errors
    /// Every fault of the file: all of its structure first, and when that is right all of its meaning.
    pub fn parse(yaml: &str) -> Result<Self, Faults> {
        let (value, places) = locate::load(yaml).map_err(|f| Faults(vec![f.printable()]))?;
        let (found, policy) = match structure::check(&value) {
            found if !found.is_empty() => (found, None),
            _ => match serde_path_to_error::deserialize::<_, Self>(&value) {
                Ok(policy) => (meaning::check(&policy), Some(policy)),
                // Names of groups are checked by their types alone: the schema knows keys only by heart.
                Err(e) => {
                    (vec![structure::Found::at(pointer(e.path()), e.inner().to_string())], None)
                }
            },
        };
        match (secrets::hide(found, secrets::check(&value)), policy) {
            (found, Some(policy)) if found.is_empty() => {
                Ok(Self { positions: Positions(Some(Arc::new(places))), ..policy })
            }
            (found, _) => Err(Faults(faults(&places, &found)).bounded()),
        }
    }

    /// What is legal in it and hardly meant, at its place. Schedules are followed for years, so it takes its time.
    pub fn warnings(&self) -> Vec<Fault> {
        let Positions(Some(places)) = &self.positions else { return Vec::new() };
        faults(places, &warnings::list(self))
    }

    /// The parts that this policy uses and no function runs yet, as paths with what is missing.
    pub fn not_run_yet(&self) -> Vec<(String, &'static str)> {
        not_run_yet::list(self)
    }
}

#[cfg(test)]
mod tests;

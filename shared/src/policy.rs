//! The policy file: one company's backup strategy.
//!
//! [`Policy::parse`] reads YAML and answers with a whole policy or with every fault at its line and column. A policy
//! that parses needs no further checks: names refer to what exists, rules are not empty, times are times.
//!
//! - [`grammar`], [`audit`], [`costs`], [`databases`], [`dumps`], [`notify`], [`monitor`], [`later`]: the types, from which [`schema`] is generated
//! - [`text`]: typed strings
//! - `locate`: YAML with positions; `structure`: the schema and differences from it; `meaning`: what a schema can't say;
//!   `not_run_yet`: what no function runs yet
//! - [`select`](self::select()): which databases a group has

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
mod select;
mod structure;
pub mod text;

pub use costs::{Costs, StatusPage};
pub use databases::{AutomatedBackups, Databases, Drift, SnapshotCopy, Snapshots};
pub use dumps::{Compress, Dump, DumpFormat, Encrypt, Postgres, SecretFrom, Tls};
pub use grammar::{
    Alarm, AzureContainer, Bucket, DeleteLimit, Destination, Encryption, Home, Keep, LockMode,
    ObjectCopy, Objectives, Policy, Replication, Side, StorageClass, Store, StoreChecksum, Tier,
    Watch, When,
};
pub use select::select;
pub use structure::schema;

use std::fmt;

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
        let (value, places) = locate::load(yaml).map_err(|f| Faults(vec![f]))?;
        let found = match serde_json::from_value::<Self>(value.clone()) {
            Ok(policy) => match meaning::check(&policy) {
                found if found.is_empty() => return Ok(policy),
                found => found,
            },
            Err(e) => match structure::check(&value) {
                // The schema is made from the same types; should it ever be laxer, serde's word stands.
                found if found.is_empty() => vec![structure::Found::at("", e.to_string())],
                found => found,
            },
        };
        let mut faults: Vec<Fault> = found.iter().map(|f| places.fault(f)).collect();
        faults.sort();
        faults.dedup();
        Err(Faults(faults).bounded())
    }

    /// The parts that this policy uses and no function runs yet, as paths with what is missing.
    pub fn not_run_yet(&self) -> Vec<(String, &'static str)> {
        not_run_yet::list(self)
    }
}

#[cfg(test)]
mod tests;

//! The policy file: one company's backup strategy.
//!
//! [`Policy::parse`] reads YAML and answers with a whole policy or with every fault at its line and column. A policy
//! that parses needs no further checks: names refer to what exists, rules are not empty, times are times.
//!
//! - [`grammar`], [`audit`], [`costs`], [`databases`], [`drills`], [`dumps`], [`notify`], [`monitor`], [`redis`], [`signing`], [`wal`], [`secret_groups`], [`later`]: the types, from which [`json_schema`] is generated
//! - [`text`]: typed strings
//! - `locate`: YAML with positions; `structure`: the schema and differences from it; `meaning`: what a schema can't say;
//!   `secrets`: that none stands in a policy; `warnings`: what is legal and hardly meant; `not_run_yet`: what no function
//!   runs yet
//! - [`evaluate_selector`]: which databases a group has

pub mod access;
pub mod audit;
pub mod costs;
pub mod databases;
pub mod drills;
pub mod dumps;
pub mod grammar;
pub mod later;
mod locate;
mod meaning;
pub mod monitor;
mod not_run_yet;
pub mod notify;
pub mod redis;
pub mod secret_groups;
mod secrets;
mod select;
mod server;
pub mod signing;
mod structure;
pub mod text;
pub mod wal;
mod warnings;

pub use access::AccessConfig;
pub use costs::{CostsConfig, QuotaScope, StatusPageConfig};
pub use databases::{AutomatedBackups, DatabaseGroup, DriftAction, SnapshotCopyRule, SnapshotRule};
pub use drills::{DrillKind, DrillRule, PointChoice};
pub use dumps::{
    DumpCompression, DumpFormat, DumpRule, EncryptionConfig, PostgresGroup, PostgresSslMode,
    ScratchConfig, SecretSource,
};
pub use grammar::{
    AlarmComparison, AlarmMetric, AlarmRule, AssetObjectives, AzureContainer, BucketEncryption,
    BucketGroup, BucketReplication, CopyDestination, DeleteLimit, HomeLocation, LockMode,
    ObjectCopyRule, Policy, RetentionRule, ScheduleConfig, StorageClass, StorageTier,
    StoreChecksum, StoreConfig,
};
pub use redis::{RedisGroup, RedisSource};
pub use secret_groups::SecretGroup;
pub use select::evaluate_selector;
pub use server::ServerDatabases;
pub use signing::SigningConfig;
pub use structure::json_schema;
pub(crate) use structure::suggest_word;
pub use wal::{BaseBackupRule, WalConfig};

use std::{fmt, sync::Arc};

/// Something wrong in a policy file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct PolicyError {
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
pub struct SourcePositions(Option<Arc<locate::SourceMap>>);

impl fmt::Debug for SourcePositions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Positions").finish_non_exhaustive()
    }
}

/// Findings at their places, in the file's order.
fn locate_errors(
    places: &locate::SourceMap,
    found: &[structure::UnlocatedError],
) -> Vec<PolicyError> {
    let mut all: Vec<PolicyError> =
        found.iter().map(|f| places.locate(f).into_printable()).collect();
    all.sort();
    all.dedup();
    all
}

/// A path of serde's as a JSON Pointer.
fn to_json_pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter().fold(String::new(), |at, segment| match segment {
        Segment::Map { key } => locate::join_pointer(&at, key),
        Segment::Seq { index } => locate::join_pointer(&at, &index.to_string()),
        Segment::Enum { .. } | Segment::Unknown => at,
    })
}

impl PolicyError {
    /// Without characters that would steer a terminal or forge a line: what stands in the file is repeated here.
    fn into_printable(self) -> Self {
        let printable = |text: &str| crate::words::escape_control_chars(text).replace('\n', "\\n");
        Self { path: printable(&self.path), message: printable(&self.message), ..self }
    }
}

impl fmt::Display for PolicyError {
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
#[error("{}", join_errors(.0))]
pub struct PolicyErrors(pub Vec<PolicyError>);

/// Nobody fixes more at a time, and a hostile file has tens of thousands.
const MAX_ERRORS: usize = 200;

impl PolicyErrors {
    /// The first of them, and how many more there are.
    fn into_truncated(mut self) -> Self {
        let more = self.0.len().saturating_sub(MAX_ERRORS);
        self.0.truncate(MAX_ERRORS);
        if let Some(last) = self.0.last().filter(|_| more > 0).cloned() {
            let message = format!("and {more} more faults; fix these first");
            self.0.push(PolicyError { path: String::new(), message, ..last });
        }
        self
    }
}

fn join_errors(faults: &[PolicyError]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl Policy {
    /// Reads a policy from YAML (or JSON, which is YAML too).
    ///
    /// # Errors
    /// Every fault of the file: all of its structure first, and when that is right all of its meaning.
    pub fn parse(yaml: &str) -> Result<Self, PolicyErrors> {
        let (value, places) =
            locate::load_yaml(yaml).map_err(|f| PolicyErrors(vec![f.into_printable()]))?;
        let (found, policy) = match structure::check_schema(&value) {
            found if !found.is_empty() => (found, None),
            _ => match serde_path_to_error::deserialize::<_, Self>(&value) {
                Ok(policy) => (meaning::check(&policy), Some(policy)),
                // Names of groups are checked by their types alone: the schema knows keys only by heart.
                Err(e) => (
                    vec![structure::UnlocatedError::at_pointer(
                        to_json_pointer(e.path()),
                        e.inner().to_string(),
                    )],
                    None,
                ),
            },
        };
        match (secrets::redact_secrets(found, secrets::find_credentials(&value)), policy) {
            (found, Some(policy)) if found.is_empty() => {
                let policy = policy.with_rdb_groups();
                Ok(Self { positions: SourcePositions(Some(Arc::new(places))), ..policy })
            }
            (found, _) => Err(PolicyErrors(locate_errors(&places, &found)).into_truncated()),
        }
    }

    /// What is legal in it and hardly meant, at its place. Schedules are followed for years, so it takes its time.
    pub fn warnings(&self) -> Vec<PolicyError> {
        let SourcePositions(Some(places)) = &self.positions else { return Vec::new() };
        locate_errors(places, &warnings::collect_warnings(self))
    }

    /// The parts that this policy uses and no function runs yet, as paths with what is missing.
    pub fn unimplemented_parts(&self) -> Vec<(String, &'static str)> {
        not_run_yet::list_unimplemented(self)
    }
}

#[cfg(test)]
mod tests;

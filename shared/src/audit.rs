//! The record of every operation: what was changed, or was to be changed and could not be, by whom and why.
//!
//! One object for each run that did something, written once and never again: `<prefix><folder:06>/<seq:09>.jsonl`, a
//! record a line. Each record carries the hash of the one before it and its own, so a record that is changed, taken away
//! or put elsewhere breaks the chain.
//!
//! - [`Entry`], [`Record`]: what is recorded; `record`: its JSON and its hash
//! - [`Log`]: where records lie; `bucket`, `directory`: as objects, as files
//! - `write`: the next number, once; `read`: the newest records; [`verify`]: the whole chain
//!
//! The hashes have no key: whoever can write there could write the whole log anew. So with `signing` in the policy each
//! object ends with its signature, and what is not signed is no record: nothing is read from it, chained to it or removed.
//!
//! Two writers never overwrite each other: a number is taken by whoever writes it first, and the other goes on with the
//! next one, chained to it.

mod bucket;
mod directory;
mod read;
mod record;
pub mod verify;
mod write;

pub use record::{AuditEntry, AuditRecord, OperationResult};
pub use write::ChainHead;

use record::MAX_OBJECT_BYTES;

use crate::{
    aws::{AwsClients, OperationError, s3::S3Client},
    catalog,
    policy::Policy,
    report::{RunReport, StepResult as Step},
    run::RunContext,
    signing::{MinisignVerifier, SigningAuthor},
};
use std::{path::PathBuf, time::Duration};

/// Objects in a folder.
const OBJECTS_PER_FOLDER: u64 = 1000;
/// Recording may take this long: it comes out of the time that a run keeps for publishing, of which it leaves half.
const RECORD_TIMEOUT: Duration = Duration::from_secs(10);

/// A log: where its records lie, and whose signature they must have.
#[derive(Clone, Debug)]
pub struct AuditLog {
    location: AuditLocation,
    verifier: Option<MinisignVerifier>,
}

/// Where records lie.
#[derive(Clone, Debug)]
pub enum AuditLocation {
    /// As objects of a bucket.
    Bucket {
        /// S3 in the bucket's region.
        s3: S3Client,
        /// The bucket.
        bucket: String,
        /// Keys begin with this.
        prefix: String,
    },
    /// As files of this directory, whose names begin with the policy's prefix.
    Directory {
        /// The directory.
        directory: PathBuf,
        /// Names begin with this.
        prefix: String,
    },
}

/// An object of the log, by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LogObject {
    /// One of ours, with its number.
    Own(u64),
    /// Something else that lies there.
    Foreign(String),
}

impl AuditLog {
    /// The log of a policy; none when it wants none.
    pub fn from_policy(aws: &AwsClients, policy: &Policy) -> Option<Self> {
        let audit = policy.audit.as_ref()?;
        let prefix = audit.prefix.clone();
        let place = if let Some(directory) = &audit.directory {
            AuditLocation::Directory { directory: directory.clone(), prefix }
        } else {
            let home = catalog::Location::home_from_policy(policy);
            let region = audit.region.clone().unwrap_or_else(|| home.region.clone());
            let s3 = aws.s3(&catalog::Location { region, ..home });
            AuditLocation::Bucket { s3, bucket: audit.bucket.as_ref()?.to_string(), prefix }
        };
        Some(Self { location: place, verifier: MinisignVerifier::from_policy(policy) })
    }

    /// Where its records lie.
    pub fn location(&self) -> &AuditLocation {
        &self.location
    }

    /// Whether it lies in a directory of a host.
    pub fn is_local(&self) -> bool {
        matches!(self.location, AuditLocation::Directory { .. })
    }

    /// The records of an object, if it counts.
    pub(crate) fn verified_records<'b>(
        &self,
        seq: u64,
        bytes: &'b [u8],
    ) -> Result<&'b [u8], String> {
        record::verify_object(bytes, &signed_name(seq), self.verifier.as_ref())
    }

    /// What messages call the name of an object.
    pub fn object_address(&self, seq: u64) -> String {
        let path = object_path(seq);
        match &self.location {
            AuditLocation::Bucket { bucket, prefix, .. } => format!("s3://{bucket}/{prefix}{path}"),
            AuditLocation::Directory { directory, prefix } => {
                directory.join(format!("{prefix}{path}")).display().to_string()
            }
        }
    }

    /// Numbers of the folders that there are, oldest first; and what else lies beside them.
    pub(crate) async fn list_folders(&self) -> Result<(Vec<u64>, Vec<String>), OperationError> {
        let (names, mut foreign) = match &self.location {
            AuditLocation::Bucket { s3, bucket, prefix } => {
                bucket::list_folders(s3, bucket, prefix).await?
            }
            AuditLocation::Directory { directory, prefix } => {
                directory::list_folders(directory, prefix).await?
            }
        };
        let mut folders = Vec::new();
        for name in names {
            match parse_sequence(&name, 6) {
                Some(folder) => folders.push(folder),
                None => foreign.push(format!("{name}/")),
            }
        }
        folders.sort_unstable();
        Ok((folders, foreign))
    }

    /// What lies in a folder, in order.
    pub(crate) async fn list_objects(&self, folder: u64) -> Result<Vec<LogObject>, OperationError> {
        let names = match &self.location {
            AuditLocation::Bucket { s3, bucket, prefix } => {
                bucket::list_objects(s3, bucket, &format!("{prefix}{folder:06}/")).await?
            }
            AuditLocation::Directory { directory, prefix } => {
                directory::list_objects(&directory.join(format!("{prefix}{folder:06}"))).await?
            }
        };
        let read = |name: String| {
            let seq = name.strip_suffix(".jsonl").and_then(|n| parse_sequence(n, 9));
            match seq.filter(|seq| seq / OBJECTS_PER_FOLDER == folder) {
                Some(seq) => LogObject::Own(seq),
                None => LogObject::Foreign(format!("{folder:06}/{name}")),
            }
        };
        let mut objects: Vec<_> = names.into_iter().map(read).collect();
        objects.sort_unstable();
        Ok(objects)
    }

    /// The bytes of an object, one more than is allowed of one that is too large; none when it is not there.
    pub(crate) async fn get_object(&self, seq: u64) -> Result<Option<Vec<u8>>, OperationError> {
        let path = object_path(seq);
        match &self.location {
            AuditLocation::Bucket { s3, bucket, prefix } => {
                s3.get_bytes(bucket, &format!("{prefix}{path}"), MAX_OBJECT_BYTES).await
            }
            AuditLocation::Directory { directory, prefix } => {
                directory::read_file(directory.join(format!("{prefix}{path}")), MAX_OBJECT_BYTES)
                    .await
            }
        }
    }

    /// Writes an object that is not there yet; false when it is.
    pub(crate) async fn put_if_absent(
        &self,
        seq: u64,
        bytes: Vec<u8>,
    ) -> Result<bool, OperationError> {
        let path = object_path(seq);
        match &self.location {
            AuditLocation::Bucket { s3, bucket, prefix } => {
                s3.put_if_absent(bucket, &format!("{prefix}{path}"), bytes).await
            }
            AuditLocation::Directory { directory, prefix } => {
                directory::create_file(directory.join(format!("{prefix}{path}")), bytes).await
            }
        }
    }

    /// Takes an object away; for what is older than the policy keeps.
    ///
    /// # Errors
    /// If it is in a bucket, whose lifecycle rule does that, or can't be removed.
    pub async fn delete_object(&self, seq: u64) -> Result<(), OperationError> {
        match &self.location {
            AuditLocation::Bucket { .. } => Err(OperationError::from_message(
                format!("remove {}", self.object_address(seq)),
                "records in a bucket end by the bucket's lifecycle rule",
            )),
            AuditLocation::Directory { directory, prefix } => {
                directory::delete_file(directory.join(format!("{prefix}{}", object_path(seq))))
                    .await
            }
        }
    }
}

/// The name of an object below the prefix.
fn object_path(seq: u64) -> String {
    format!("{:06}/{seq:09}.jsonl", seq / OBJECTS_PER_FOLDER)
}

/// What an object's signature says that it is of.
pub(crate) fn signed_name(seq: u64) -> String {
    format!("audit/{}", object_path(seq))
}

/// A number of so many digits.
fn parse_sequence(name: &str, digits: usize) -> Option<u64> {
    let fits = name.len() == digits && name.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| name.parse().ok()).flatten()
}

/// Records what was done, if the policy wants that; none when there was nothing to record.
///
/// # Errors
/// If it can't be recorded, or not in time.
pub async fn record_entries(
    world: &RunContext<'_>,
    by: &str,
    entries: Vec<AuditEntry>,
    seconds: f64,
) -> Result<Option<ChainHead>, OperationError> {
    let Some(log) = AuditLog::from_policy(world.aws, world.policy).filter(|_| !entries.is_empty())
    else {
        return Ok(None);
    };
    let doing = || format!("record {} operations", entries.len());
    if log.is_local() && !world.on_host {
        let mut e = OperationError::from_message(doing(), "a Lambda has no directory that lasts");
        e.hint = Some("write a bucket under `audit` in the policy".into());
        return Err(e);
    }
    let run = record::RunInfo::from_context(world, by, seconds);
    let author = SigningAuthor::from_policy(world.policy, &world.secret_resolver()).await?;
    let Ok(done) = tokio::time::timeout(RECORD_TIMEOUT, log.append(&run, &entries, &author)).await
    else {
        let why = format!("it took longer than {} s", RECORD_TIMEOUT.as_secs());
        return Err(OperationError::from_message(doing(), why));
    };
    done.map(Some)
}

/// What of a report is recorded: each step that was done or failed.
pub fn entries_from_report(report: &RunReport) -> Vec<AuditEntry> {
    let entry = |o: &crate::report::StepOutcome| {
        let (result, detail) = match &o.result {
            Step::Done(detail) => (OperationResult::Done, detail),
            Step::Failed(detail) => (OperationResult::Failed, detail),
            Step::Deferred(_) | Step::Unfinished | Step::Planned => return None,
        };
        Some(AuditEntry {
            asset: o.asset.clone(),
            action: o.action.clone(),
            reason: o.reason.clone(),
            operation: o.operation,
            result,
            detail: detail.clone(),
            seconds: o.artifact.as_ref().and_then(|m| m.seconds),
            artifact: o.artifact.clone(),
            evidence: None,
        })
    };
    if report.dry_run { Vec::new() } else { report.outcomes.iter().filter_map(entry).collect() }
}

/// How many records an object of a log holds, each of which must be one; for tests that give it anything.
///
/// # Errors
/// If a line of it is no record.
#[cfg(feature = "model")]
pub fn count_records(object: &[u8]) -> Result<usize, String> {
    let lines = object.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    lines.map(record::parse_record).try_fold(0, |count, record| record.map(|_| count + 1))
}

#[cfg(test)]
mod tests;

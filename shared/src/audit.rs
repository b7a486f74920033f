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

pub use record::{Entry, Record, Went};
pub use write::Head;

use record::LARGEST;

use crate::{
    aws::{Aws, EdgeError, s3::S3},
    catalog,
    policy::Policy,
    report::{Report, Result as Step},
    run::World,
    signing::{Author, Verifier},
};
use std::{path::PathBuf, time::Duration};

/// Objects in a folder.
const FOLDER: u64 = 1000;
/// Recording may take this long: it comes out of the time that a run keeps for publishing, of which it leaves half.
const PATIENCE: Duration = Duration::from_secs(10);

/// A log: where its records lie, and whose signature they must have.
#[derive(Clone, Debug)]
pub struct Log {
    place: Place,
    verifier: Option<Verifier>,
}

/// Where records lie.
#[derive(Clone, Debug)]
pub enum Place {
    /// As objects of a bucket.
    Bucket {
        /// S3 in the bucket's region.
        s3: S3,
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
pub(crate) enum Named {
    /// One of ours, with its number.
    Object(u64),
    /// Something else that lies there.
    Foreign(String),
}

impl Log {
    /// The log of a policy; none when it wants none.
    pub fn of(aws: &Aws, policy: &Policy) -> Option<Self> {
        let audit = policy.audit.as_ref()?;
        let prefix = audit.prefix.clone();
        let place = if let Some(directory) = &audit.directory {
            Place::Directory { directory: directory.clone(), prefix }
        } else {
            let home = catalog::Place::home(policy);
            let region = audit.region.clone().unwrap_or_else(|| home.region.clone());
            let s3 = aws.s3(&catalog::Place { region, ..home });
            Place::Bucket { s3, bucket: audit.bucket.as_ref()?.to_string(), prefix }
        };
        Some(Self { place, verifier: Verifier::of(policy) })
    }

    /// Where its records lie.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether it lies in a directory of a host.
    pub fn is_local(&self) -> bool {
        matches!(self.place, Place::Directory { .. })
    }

    /// The records of an object, if it counts.
    pub(crate) fn opened<'b>(&self, seq: u64, bytes: &'b [u8]) -> Result<&'b [u8], String> {
        record::opened(bytes, &signed_name(seq), self.verifier.as_ref())
    }

    /// What messages call the name of an object.
    pub fn name(&self, seq: u64) -> String {
        let path = path(seq);
        match &self.place {
            Place::Bucket { bucket, prefix, .. } => format!("s3://{bucket}/{prefix}{path}"),
            Place::Directory { directory, prefix } => {
                directory.join(format!("{prefix}{path}")).display().to_string()
            }
        }
    }

    /// Numbers of the folders that there are, oldest first; and what else lies beside them.
    pub(crate) async fn folders(&self) -> Result<(Vec<u64>, Vec<String>), EdgeError> {
        let (names, mut foreign) = match &self.place {
            Place::Bucket { s3, bucket, prefix } => bucket::folders(s3, bucket, prefix).await?,
            Place::Directory { directory, prefix } => directory::folders(directory, prefix).await?,
        };
        let mut folders = Vec::new();
        for name in names {
            match number(&name, 6) {
                Some(folder) => folders.push(folder),
                None => foreign.push(format!("{name}/")),
            }
        }
        folders.sort_unstable();
        Ok((folders, foreign))
    }

    /// What lies in a folder, in order.
    pub(crate) async fn objects(&self, folder: u64) -> Result<Vec<Named>, EdgeError> {
        let names = match &self.place {
            Place::Bucket { s3, bucket, prefix } => {
                bucket::objects(s3, bucket, &format!("{prefix}{folder:06}/")).await?
            }
            Place::Directory { directory, prefix } => {
                directory::objects(&directory.join(format!("{prefix}{folder:06}"))).await?
            }
        };
        let read = |name: String| {
            let seq = name.strip_suffix(".jsonl").and_then(|n| number(n, 9));
            match seq.filter(|seq| seq / FOLDER == folder) {
                Some(seq) => Named::Object(seq),
                None => Named::Foreign(format!("{folder:06}/{name}")),
            }
        };
        let mut objects: Vec<_> = names.into_iter().map(read).collect();
        objects.sort_unstable();
        Ok(objects)
    }

    /// The bytes of an object, one more than is allowed of one that is too large; none when it is not there.
    pub(crate) async fn get(&self, seq: u64) -> Result<Option<Vec<u8>>, EdgeError> {
        let path = path(seq);
        match &self.place {
            Place::Bucket { s3, bucket, prefix } => {
                s3.bytes(bucket, &format!("{prefix}{path}"), LARGEST).await
            }
            Place::Directory { directory, prefix } => {
                directory::get(directory.join(format!("{prefix}{path}")), LARGEST).await
            }
        }
    }

    /// Writes an object that is not there yet; false when it is.
    pub(crate) async fn create(&self, seq: u64, bytes: Vec<u8>) -> Result<bool, EdgeError> {
        let path = path(seq);
        match &self.place {
            Place::Bucket { s3, bucket, prefix } => {
                s3.create(bucket, &format!("{prefix}{path}"), bytes).await
            }
            Place::Directory { directory, prefix } => {
                directory::create(directory.join(format!("{prefix}{path}")), bytes).await
            }
        }
    }

    /// Takes an object away; for what is older than the policy keeps.
    ///
    /// # Errors
    /// If it is in a bucket, whose lifecycle rule does that, or can't be removed.
    pub async fn remove(&self, seq: u64) -> Result<(), EdgeError> {
        match &self.place {
            Place::Bucket { .. } => Err(EdgeError::refused(
                format!("remove {}", self.name(seq)),
                "records in a bucket end by the bucket's lifecycle rule",
            )),
            Place::Directory { directory, prefix } => {
                directory::remove(directory.join(format!("{prefix}{}", path(seq)))).await
            }
        }
    }
}

/// The name of an object below the prefix.
fn path(seq: u64) -> String {
    format!("{:06}/{seq:09}.jsonl", seq / FOLDER)
}

/// What an object's signature says that it is of.
pub(crate) fn signed_name(seq: u64) -> String {
    format!("audit/{}", path(seq))
}

/// A number of so many digits.
fn number(name: &str, digits: usize) -> Option<u64> {
    let fits = name.len() == digits && name.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| name.parse().ok()).flatten()
}

/// Records what was done, if the policy wants that; none when there was nothing to record.
///
/// # Errors
/// If it can't be recorded, or not in time.
pub async fn record(
    world: &World<'_>,
    by: &str,
    entries: Vec<Entry>,
    seconds: f64,
) -> Result<Option<Head>, EdgeError> {
    let Some(log) = Log::of(world.aws, world.policy).filter(|_| !entries.is_empty()) else {
        return Ok(None);
    };
    let doing = || format!("record {} operations", entries.len());
    if log.is_local() && !world.host {
        let mut e = EdgeError::refused(doing(), "a Lambda has no directory that lasts");
        e.mend = Some("write a bucket under `audit` in the policy".into());
        return Err(e);
    }
    let run = record::Run::of(world, by, seconds);
    let author = Author::of(world.policy, &world.secrets()).await?;
    let Ok(done) = tokio::time::timeout(PATIENCE, log.append(&run, &entries, &author)).await else {
        let why = format!("it took longer than {} s", PATIENCE.as_secs());
        return Err(EdgeError::refused(doing(), why));
    };
    done.map(Some)
}

/// What of a report is recorded: each step that was done or failed.
pub fn entries(report: &Report) -> Vec<Entry> {
    let entry = |o: &crate::report::Outcome| {
        let (result, detail) = match &o.result {
            Step::Done(detail) => (Went::Done, detail),
            Step::Failed(detail) => (Went::Failed, detail),
            Step::Deferred(_) | Step::Unfinished | Step::Planned => return None,
        };
        Some(Entry {
            asset: o.asset.clone(),
            action: o.action.clone(),
            because: o.because.clone(),
            operation: o.operation,
            result,
            detail: detail.clone(),
            seconds: o.made.as_ref().and_then(|m| m.seconds),
            made: o.made.clone(),
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
pub fn records(object: &[u8]) -> Result<usize, String> {
    let lines = object.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    lines.map(record::read).try_fold(0, |count, record| record.map(|_| count + 1))
}

#[cfg(test)]
mod tests;

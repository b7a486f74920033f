//! Where the memory lies: an object in S3, or a file on a host. Written only in place of what was read.

use crate::state::{State, VERSION};
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};
use shared::{
    aws::{AwsClients, OperationError, OperationErrorKind, s3::S3Client},
    bounded,
    catalog::Location,
    policy::Policy,
    words::hex_encode,
};
use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The document below the place that `HOLDFAST_STATE` names.
const DOCUMENT: &str = "notify/state.json";
/// A document of 500 incidents and 200 messages has some megabytes at most.
const LARGEST: usize = 64 << 20;

/// Where the memory lies.
#[derive(Clone, Debug)]
pub struct Keep(Where);

#[derive(Clone, Debug)]
enum Where {
    S3 { s3: S3Client, bucket: String, key: String },
    File(PathBuf),
}

/// What was read, to write only in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag(Option<String>);

/// The memory as it was found.
#[derive(Debug)]
pub struct Found {
    /// The memory; a new one where there was none, or none that can be read.
    pub state: State,
    /// What is written in place of.
    pub tag: Tag,
    /// Why it is a new one.
    pub fresh: Option<Fresh>,
}

/// Why the memory is a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fresh {
    /// There was none.
    First,
    /// What was there can't be read.
    Lost(String),
}

impl Keep {
    /// Where `at` says: `s3://bucket/prefix`, or a directory.
    ///
    /// # Errors
    /// If it is no address.
    pub fn new(at: &str, aws: &AwsClients, policy: &Policy) -> Result<Self, OperationError> {
        Ok(Self(match address(at)? {
            Address::File(path) => Where::File(path),
            Address::S3 { bucket, key } => {
                // The bucket is where this process is; a policy without a home has no region to say.
                let mut place = Location::home_from_policy(policy);
                place.region = aws.region().and_then(|r| r.parse().ok()).unwrap_or(place.region);
                Where::S3 { s3: aws.s3(&place), bucket, key }
            }
        }))
    }

    /// The document's address.
    pub fn address(&self) -> String {
        match &self.0 {
            Where::S3 { bucket, key, .. } => format!("s3://{bucket}/{key}"),
            Where::File(path) => path.display().to_string(),
        }
    }

    /// Reads the memory.
    ///
    /// # Errors
    /// If it can't be reached; one that can't be understood is a new one, and says so.
    pub async fn load(&self, now: Timestamp) -> Result<Found, OperationError> {
        let (text, tag) = match &self.0 {
            Where::S3 { s3, bucket, key } => match s3.get_text(bucket, key, None, LARGEST).await {
                Ok(Some(found)) => (Some(found.text), Tag(Some(found.etag))),
                Ok(None) => (None, Tag(None)),
                Err(e) if e.code.as_deref() == Some("NoSuchKey") => (None, Tag(None)),
                Err(e) => return Err(e),
            },
            Where::File(path) => {
                let text = read(path)?;
                let tag = Tag(text.as_deref().map(hash));
                (text.map(|t| String::from_utf8_lossy(&t).into_owned()), tag)
            }
        };
        let Some(text) = text else {
            return Ok(Found { state: State::new(now), tag, fresh: Some(Fresh::First) });
        };
        Ok(match parse(&text) {
            Ok(state) => Found { state, tag, fresh: None },
            Err(why) => Found { state: State::new(now), tag, fresh: Some(Fresh::Lost(why)) },
        })
    }

    /// Writes the memory in place of what was read. False when another notifier has written in between.
    ///
    /// # Errors
    /// If it can't be written.
    pub async fn save(&self, state: &State, tag: &Tag) -> Result<bool, OperationError> {
        let text = serde_json::to_string(state).expect("a state is plain data");
        match &self.0 {
            Where::S3 { s3, bucket, key } => {
                Ok(s3.put_text(bucket, key, text, tag.0.as_deref()).await?.is_some())
            }
            Where::File(path) => replace(path, text.as_bytes(), tag),
        }
    }
}

/// Where the document is.
#[derive(Debug, PartialEq, Eq)]
enum Address {
    S3 { bucket: String, key: String },
    File(PathBuf),
}

fn address(at: &str) -> Result<Address, OperationError> {
    let refused = |why: &str| {
        let mend = "write s3://bucket/prefix or a directory in HOLDFAST_STATE or --state";
        OperationError::with_hint(OperationErrorKind::Refused, format!("keep the state in \"{at}\""), why, mend)
    };
    let Some(address) = at.strip_prefix("s3://") else {
        if at.is_empty() || at.contains("://") {
            return Err(refused("it is no place for a state"));
        }
        return Ok(Address::File(Path::new(at).join(DOCUMENT)));
    };
    let (bucket, prefix) = address.split_once('/').unwrap_or((address, ""));
    if bucket.is_empty() {
        return Err(refused("it names no bucket"));
    }
    let prefix = prefix.trim_end_matches('/');
    let key = if prefix.is_empty() { DOCUMENT.into() } else { format!("{prefix}/{DOCUMENT}") };
    Ok(Address::S3 { bucket: bucket.into(), key })
}

fn parse(text: &str) -> Result<State, String> {
    let state: State = serde_json::from_str(text).map_err(|e| e.to_string())?;
    if state.version == VERSION {
        Ok(state)
    } else {
        Err(format!("it is of version {}, and this Holdfast knows {VERSION}", state.version))
    }
}

fn hash(text: &[u8]) -> String {
    hex_encode(&Sha256::digest(text))
}

fn io(doing: &str, path: &Path, e: &std::io::Error) -> OperationError {
    let kind = if e.kind() == ErrorKind::PermissionDenied { OperationErrorKind::Denied } else { OperationErrorKind::Store };
    let mend = "let this user write there, or name another place in HOLDFAST_STATE or --state";
    OperationError::with_hint(kind, format!("{doing} {}", path.display()), e.to_string(), mend)
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, OperationError> {
    match bounded::read_file(path, LARGEST) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        // What is larger than any state is none: a new one is begun, and says so.
        Err(e) if e.kind() == ErrorKind::InvalidData => Ok(Some(e.to_string().into_bytes())),
        Err(e) => Err(io("read", path, &e)),
    }
}

/// Replaces a file as a whole, if it still is what was read: whoever holds the lock looks and writes alone.
fn replace(path: &Path, text: &[u8], tag: &Tag) -> Result<bool, OperationError> {
    let folder = path.parent().expect("the document is in a folder");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|e| io("make", folder, &e))?;
    let lock = folder.join("lock");
    let held = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock);
    let held = held.map_err(|e| io("open", &lock, &e))?;
    flock(&held, FlockOperation::LockExclusive).map_err(|e| io("lock", &lock, &e.into()))?;
    if read(path)?.as_deref().map(hash) != tag.0 {
        return Ok(false);
    }
    let new = path.with_extension("json.new");
    let write = || -> std::io::Result<()> {
        let mut file =
            OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
        file.write_all(text)?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|e| io("write", path, &e))?;
    Ok(true)
}

#[cfg(test)]
mod tests;

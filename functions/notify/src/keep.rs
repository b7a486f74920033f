//! Where the memory lies: an object in S3, or a file on a host. Written only in place of what was read.

use crate::state::{NotifyState, STATE_VERSION};
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
const STATE_KEY: &str = "notify/state.json";
/// A document of 500 incidents and 200 messages has some megabytes at most.
const MAX_STATE_BYTES: usize = 64 << 20;

/// Where the memory lies.
#[derive(Clone, Debug)]
pub struct StateStore(StateBackend);

#[derive(Clone, Debug)]
enum StateBackend {
    S3 { s3: S3Client, bucket: String, key: String },
    File(PathBuf),
}

/// What was read, to write only in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateVersion(Option<String>);

/// The memory as it was found.
#[derive(Debug)]
pub struct LoadedState {
    /// The memory; a new one where there was none, or none that can be read.
    pub state: NotifyState,
    /// What is written in place of.
    pub version: StateVersion,
    /// Why it is a new one.
    pub reset_reason: Option<ResetReason>,
}

/// Why the memory is a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResetReason {
    /// There was none.
    First,
    /// What was there can't be read.
    Lost(String),
}

impl StateStore {
    /// Where `at` says: `s3://bucket/prefix`, or a directory.
    ///
    /// # Errors
    /// If it is no address.
    pub fn new(at: &str, aws: &AwsClients, policy: &Policy) -> Result<Self, OperationError> {
        Ok(Self(match parse_location(at)? {
            StateLocation::File(path) => StateBackend::File(path),
            StateLocation::S3 { bucket, key } => {
                // The bucket is where this process is; a policy without a home has no region to say.
                let mut place = Location::home_from_policy(policy);
                place.region = aws.region().and_then(|r| r.parse().ok()).unwrap_or(place.region);
                StateBackend::S3 { s3: aws.s3(&place), bucket, key }
            }
        }))
    }

    /// The document's address.
    pub fn address(&self) -> String {
        match &self.0 {
            StateBackend::S3 { bucket, key, .. } => format!("s3://{bucket}/{key}"),
            StateBackend::File(path) => path.display().to_string(),
        }
    }

    /// Reads the memory.
    ///
    /// # Errors
    /// If it can't be reached; one that can't be understood is a new one, and says so.
    pub async fn load(&self, now: Timestamp) -> Result<LoadedState, OperationError> {
        let (text, tag) = match &self.0 {
            StateBackend::S3 { s3, bucket, key } => {
                match s3.get_text(bucket, key, None, MAX_STATE_BYTES).await {
                    Ok(Some(found)) => (Some(found.text), StateVersion(Some(found.etag))),
                    Ok(None) => (None, StateVersion(None)),
                    Err(e) if e.code.as_deref() == Some("NoSuchKey") => (None, StateVersion(None)),
                    Err(e) => return Err(e),
                }
            }
            StateBackend::File(path) => {
                let text = read_file(path)?;
                let tag = StateVersion(text.as_deref().map(content_hash));
                (text.map(|t| String::from_utf8_lossy(&t).into_owned()), tag)
            }
        };
        let Some(text) = text else {
            return Ok(LoadedState {
                state: NotifyState::new(now),
                version: tag,
                reset_reason: Some(ResetReason::First),
            });
        };
        Ok(match parse_state(&text) {
            Ok(state) => LoadedState { state, version: tag, reset_reason: None },
            Err(why) => LoadedState {
                state: NotifyState::new(now),
                version: tag,
                reset_reason: Some(ResetReason::Lost(why)),
            },
        })
    }

    /// Writes the memory in place of what was read. False when another notifier has written in between.
    ///
    /// # Errors
    /// If it can't be written.
    pub async fn save(
        &self,
        state: &NotifyState,
        tag: &StateVersion,
    ) -> Result<bool, OperationError> {
        let text = serde_json::to_string(state).expect("a state is plain data");
        match &self.0 {
            StateBackend::S3 { s3, bucket, key } => {
                Ok(s3.put_text(bucket, key, text, tag.0.as_deref()).await?.is_some())
            }
            StateBackend::File(path) => compare_and_swap_file(path, text.as_bytes(), tag),
        }
    }
}

/// Where the document is.
#[derive(Debug, PartialEq, Eq)]
enum StateLocation {
    S3 { bucket: String, key: String },
    File(PathBuf),
}

fn parse_location(at: &str) -> Result<StateLocation, OperationError> {
    let refused = |why: &str| {
        let hint = "write s3://bucket/prefix or a directory in HOLDFAST_STATE or --state";
        OperationError::with_hint(
            OperationErrorKind::Refused,
            format!("keep the state in \"{at}\""),
            why,
            hint,
        )
    };
    let Some(address) = at.strip_prefix("s3://") else {
        if at.is_empty() || at.contains("://") {
            return Err(refused("it is no place for a state"));
        }
        return Ok(StateLocation::File(Path::new(at).join(STATE_KEY)));
    };
    let (bucket, prefix) = address.split_once('/').unwrap_or((address, ""));
    if bucket.is_empty() {
        return Err(refused("it names no bucket"));
    }
    let prefix = prefix.trim_end_matches('/');
    let key = if prefix.is_empty() { STATE_KEY.into() } else { format!("{prefix}/{STATE_KEY}") };
    Ok(StateLocation::S3 { bucket: bucket.into(), key })
}

fn parse_state(text: &str) -> Result<NotifyState, String> {
    let state: NotifyState = serde_json::from_str(text).map_err(|e| e.to_string())?;
    if state.version == STATE_VERSION {
        Ok(state)
    } else {
        Err(format!("it is of version {}, and this Holdfast knows {STATE_VERSION}", state.version))
    }
}

fn content_hash(text: &[u8]) -> String {
    hex_encode(&Sha256::digest(text))
}

fn io_error(doing: &str, path: &Path, e: &std::io::Error) -> OperationError {
    let kind = if e.kind() == ErrorKind::PermissionDenied {
        OperationErrorKind::Denied
    } else {
        OperationErrorKind::Store
    };
    let hint = "let this user write there, or name another place in HOLDFAST_STATE or --state";
    OperationError::with_hint(kind, format!("{doing} {}", path.display()), e.to_string(), hint)
}

fn read_file(path: &Path) -> Result<Option<Vec<u8>>, OperationError> {
    match bounded::read_file(path, MAX_STATE_BYTES) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        // What is larger than any state is none: a new one is begun, and says so.
        Err(e) if e.kind() == ErrorKind::InvalidData => Ok(Some(e.to_string().into_bytes())),
        Err(e) => Err(io_error("read", path, &e)),
    }
}

/// Replaces a file as a whole, if it still is what was read: whoever holds the lock looks and writes alone.
fn compare_and_swap_file(
    path: &Path,
    text: &[u8],
    tag: &StateVersion,
) -> Result<bool, OperationError> {
    let folder = path.parent().expect("the document is in a folder");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|e| io_error("make", folder, &e))?;
    let lock = folder.join("lock");
    let held = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock);
    let held = held.map_err(|e| io_error("open", &lock, &e))?;
    flock(&held, FlockOperation::LockExclusive).map_err(|e| io_error("lock", &lock, &e.into()))?;
    if read_file(path)?.as_deref().map(content_hash) != tag.0 {
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
    write().map_err(|e| io_error("write", path, &e))?;
    Ok(true)
}

#[cfg(test)]
mod tests;

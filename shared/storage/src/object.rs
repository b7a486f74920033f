//! Objects of a store: how they are written, listed, and what is known of them afterwards.

use jiff::Timestamp;
use shared::policy::StorageClass;

/// How an object is written.
#[derive(Clone, Debug, Default)]
pub struct UploadOptions {
    /// The run that writes it.
    pub run: String,
    /// Storage class; the store's own without it. Directories have none.
    pub class: Option<StorageClass>,
    /// Nobody can delete it before, where the policy has `lock`.
    pub lock_until: Option<Timestamp>,
    /// About how large it gets, in bytes; 0 when nothing is known.
    pub size_hint: u64,
}

/// An object as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectEntry {
    /// Its key, below the store's prefix.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written.
    pub modified: Timestamp,
    /// What tells its versions apart, where the store says that.
    pub etag: Option<String>,
    /// Its storage class, where the store says one.
    pub class: Option<String>,
    /// Whether it must be thawed before it can be read.
    pub archived: bool,
}

/// What the store has of an object after it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadReceipt {
    /// Its size in bytes, as the store says it.
    pub bytes: u64,
    /// The checksum that was compared, as the store says it: `sha256:...`, `etag:...`.
    pub checksum: Option<String>,
}

/// Whether an archived object can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveRestoreStatus {
    /// It was thawed and can be read now.
    Restored,
    /// The thaw was asked for.
    Requested {
        /// It takes so many hours at most.
        hours: u32,
    },
    /// The thaw was asked for before and goes on.
    InProgress,
    /// It is not archived.
    NotArchived,
}

//! Proves that backups can be restored, and restores them.
//!
//! A backup flows from its store through decryption and decompression into the database, in constant memory and without a
//! local disk; it counts as read only when its hashes are those of its manifest. Layout:
//!
//! - [`fetch`]: from a store to plain bytes
//! - [`scratch`]: where test restores run
//! - [`verify`]: quickly by hashes, or fully by restoring into a temporary database
//! - [`rdb`]: RDB files, which need no database
//! - [`restore`](mod@restore): into a new database, checked there, then swapped for the old one by rename
//!
//! No time is read here but to measure durations; names and times of a run come in as values.

mod error;
mod fault;
pub mod fetch;
pub mod opening;
pub mod rdb;
pub mod restore;
pub mod scratch;
mod trial;
pub mod verify;

pub use error::{RestoreError, RestoreErrorKind};
pub use fault::InjectedFault;
pub use opening::BackupKeys;
pub use restore::{BackupRestoreOptions, RestoreOutcome, RestorePhase, restore_backup};
pub use scratch::ScratchTarget;
pub use trial::RestoreChecks;
pub use verify::{
    VerificationReport, VerificationVerdict, VerifyOptions, verify_full, verify_quick,
};

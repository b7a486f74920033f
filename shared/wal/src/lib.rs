//! The WAL archive, base backups, and point-in-time recovery of PostgreSQL.
//!
//! # Layout
//! - [`name`]: WAL files and positions; [`page`]: what is in a segment; [`history`]: timelines
//! - [`layout`]: keys in a store; [`repository`]: putting there and reading back
//! - [`source`]: files that PostgreSQL gives; [`push`]: `archive_command`; [`fetch`]: `restore_command`
//! - [`receive`]: streaming from a slot; [`chunk`]: the segment that is not finished, in pieces
//! - [`backup`]: base backups, over the replication protocol of [`wire`]; [`inventory`], [`windows`]: what can be restored
//! - [`restore`]: a server to a moment
//! - [`retention`]: which base backups and which WAL may go (pure)
//! - [`open`]: the archive of a group of the policy; [`status`]: what its server says
//!
//! Every object is written once, and a file counts as archived only when it is durable in the store.

pub mod backup;
pub mod chunk;
pub mod error;
pub mod fetch;
pub mod history;
pub mod inventory;
pub mod layout;
pub mod name;
pub mod open;
pub mod page;
mod pause;
pub mod push;
pub mod receive;
pub mod repository;
pub mod restore;
pub mod retention;
pub mod setup;
pub mod source;
pub mod status;
pub mod windows;
pub mod wire;

pub use error::{WalError, WalErrorKind};
pub use history::{TimelineHistories, TimelineSpan};
pub use name::{Lsn, SegmentName, SegmentSize, TimelineId, WalFileName};
pub use repository::{PutOutcome, StoredWalFile, WalRepository};

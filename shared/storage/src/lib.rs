//! Where dumps lie: a directory, S3 or what speaks like it, Azure Blob Storage.
//!
//! Every store is write-once: an object is made whole under a name that was free, read back, and never rewritten, so that
//! object lock works. A backup is an object with a manifest beside it, which is written last: without it, it is nothing.
//! What lies in a store was perhaps put there by anybody: it counts as far as the policy says ([`Trust`]).
//!
//! # Layout
//! - [`key`]: how keys are made and read back; [`beside`]: what lies beside a backup; [`parts`]: how uploads are cut
//! - [`manifest`]: the commit record and its schema; [`catalogue`]: which backups a store has;
//!   [`copies`]: which of them a second place lacks
//! - [`trust`]: what counts; [`mark`]: whose a store is
//! - `directory`, `s3`, `azure`: the three kinds of store; `open`: from the policy's words to one of them
//! - `object`: what is known of an object; `ranges`: how a long one is read; `leftovers`: what dead runs left
//!
//! Streams are channels of `io::Result<Bytes>`: an empty `Bytes` is the clean end, and a channel that closes without it
//! was cut.

mod azure;
pub mod beside;
mod cache;
pub mod catalogue;
pub mod copies;
mod directory;
mod error;
pub mod form;
pub mod key;
mod leftovers;
pub mod manifest;
pub mod mark;
#[cfg(any(test, feature = "model"))]
pub mod model;
mod object;
mod open;
pub mod parts;
pub mod place;
mod quote;
mod ranges;
mod s3;
mod stall;
pub mod trust;
mod upload;
mod wal;

pub use azure::AzureBackend;
pub use cache::RecordCache;
pub use catalogue::{StoredBackup, list_backups};
pub use directory::DirectoryBackend;
pub use error::{StoreError, StoreErrorKind};
pub use key::{KeyTemplate, KnownNames};
pub use leftovers::{OrphanKind, OrphanedObject};
pub use manifest::{BackupManifest, LegalHold, UnchangedMarker};
pub use object::{ArchiveRestoreStatus, ObjectEntry, UploadOptions, UploadReceipt};
pub use open::open_store;
pub use quote::shell_quote;
pub use s3::S3Backend;
pub use trust::TrustPolicy;
pub use upload::ObjectUpload;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use shared::{
    catalog::RecoveryPoint, plan::DeletionPermit, signing::SigningAuthor, words::hex_encode,
};
use std::io;
use tokio::sync::mpsc;
use upload::BackendUpload;

/// The longest object that [`BackupStore::get_small`] reads, in bytes.
pub const MAX_SMALL_OBJECT_BYTES: usize = shared::bounded::MAX_SMALL_OBJECT_BYTES;
/// Name of the metadata that marks an object as made by a run of Holdfast.
pub const RUN_METADATA_KEY: &str = "holdfast-run";

/// A place for backups.
#[derive(Clone, Debug)]
pub enum BackupStore {
    /// A directory of this host.
    Directory(DirectoryBackend),
    /// A bucket.
    S3(S3Backend),
    /// A container.
    Azure(AzureBackend),
}

impl BackupStore {
    /// Where it is: `/var/backups`, `s3://bucket/prefix`, `azure://account/container/prefix`.
    pub fn address(&self) -> String {
        match self {
            Self::Directory(d) => d.address(),
            Self::S3(s) => s.address(),
            Self::Azure(a) => a.address(),
        }
    }

    /// A shell command that writes an object to its standard output.
    pub fn download_command(&self, key: &str) -> String {
        match self {
            Self::Directory(d) => d.download_command(key),
            Self::S3(s) => s.download_command(key),
            Self::Azure(a) => a.download_command(key),
        }
    }

    /// Every object whose key below the store's prefix begins with `prefix`, in the order of keys.
    ///
    /// # Errors
    /// If the list can't be read to its end.
    pub async fn list(&self, prefix: &str) -> Result<Vec<ObjectEntry>, StoreError> {
        let mut all = match self {
            Self::Directory(d) => d.list(prefix).await,
            Self::S3(s) => s.list(prefix).await,
            Self::Azure(a) => a.list(prefix).await,
        }?;
        all.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(all)
    }

    /// Begins an object.
    ///
    /// # Errors
    /// If there is one under that key already, or the store refuses.
    pub async fn start_upload(
        &self,
        key: &str,
        put: &UploadOptions,
    ) -> Result<ObjectUpload, StoreError> {
        Ok(ObjectUpload(match self {
            Self::Directory(d) => BackendUpload::Directory(d.start_upload(key).await?),
            Self::S3(s) => BackendUpload::S3(Box::new(s.start_upload(key, put).await?)),
            Self::Azure(a) => BackendUpload::Azure(Box::new(a.start_upload(key, put).await?)),
        }))
    }

    /// Writes a small object where there is none. It is in the store's own class, so that it can always be read.
    ///
    /// # Errors
    /// If there is one under that key already, or the store refuses.
    pub async fn put_if_absent(
        &self,
        key: &str,
        bytes: Bytes,
        put: &UploadOptions,
    ) -> Result<(), StoreError> {
        match self {
            Self::Directory(d) => d.put_if_absent(key, bytes).await,
            Self::S3(s) => s.put_if_absent(key, bytes, put).await,
            Self::Azure(a) => a.put_if_absent(key, bytes, put).await,
        }
    }

    /// Writes a small object that is believed later: its signature first, where the author signs, so that what is there
    /// is signed.
    ///
    /// # Errors
    /// As for [`BackupStore::put_if_absent`].
    pub async fn put_signed(
        &self,
        key: &str,
        bytes: Bytes,
        put: &UploadOptions,
        author: &SigningAuthor,
    ) -> Result<(), StoreError> {
        if let Some(signature) = author.sign(key, &bytes).await? {
            self.put_if_absent(&beside::signature_key(key), signature.into(), put).await?;
        }
        self.put_if_absent(key, bytes, put).await
    }

    /// The first of these keys that is free, with all that would lie beside it.
    ///
    /// # Errors
    /// If the store can't be asked, or all of them are taken.
    pub async fn find_free_key(&self, candidates: &[String]) -> Result<String, StoreError> {
        for key in candidates {
            let taken = |e: &ObjectEntry| {
                e.key == *key || beside::backup_key_of_sidecar(&e.key) == Some(key)
            };
            if !self.list(key).await?.iter().any(taken) {
                return Ok(key.clone());
            }
        }
        let last = candidates.last().map_or("a backup", String::as_str);
        let hint = "find out what else writes there: nobody but this run knew that name";
        Err(StoreError::new(
            StoreErrorKind::Exists,
            format!("name {last}"),
            "every name for it is taken",
            hint,
        ))
    }

    /// Reads a small object, of [`MAX_SMALL_OBJECT_BYTES`] bytes at most; none when there is none.
    ///
    /// # Errors
    /// If it can't be read or is larger.
    pub async fn get_small(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        match self {
            Self::Directory(d) => d.get_small(key).await,
            Self::S3(s) => s.get_small(key).await,
            Self::Azure(a) => a.get_small(key).await,
        }
    }

    /// Reads a whole object in order, one version of it, going on after a lost connection. When it can't be read, the
    /// error goes into the stream too. When nobody listens any more, it ends.
    ///
    /// # Errors
    /// If it can't be read to its end.
    pub async fn stream_object(
        &self,
        key: &str,
        out: mpsc::Sender<io::Result<Bytes>>,
    ) -> Result<(), StoreError> {
        let read = match self {
            Self::Directory(d) => d.stream_object(key, &out).await,
            Self::S3(s) => s.stream_object(key, &out).await,
            Self::Azure(a) => a.stream_object(key, &out).await,
        };
        let end = match &read {
            Ok(()) => Ok(Bytes::new()),
            Err(e) => Err(e.to_io()),
        };
        // Who went away does not wait for the end.
        let _ = out.send(end).await;
        read
    }

    /// The SHA-256 of a whole object, in hex digits: all of it is read.
    ///
    /// # Errors
    /// If it can't be read to its end.
    pub async fn compute_sha256(&self, key: &str) -> Result<String, StoreError> {
        let (out, mut pieces) = mpsc::channel::<io::Result<Bytes>>(4);
        let hash = async {
            let mut hash = Sha256::new();
            // The end is an empty piece; of a failure the reading says why.
            while let Some(Ok(piece)) = pieces.recv().await {
                hash.update(&piece);
                // Others get on in between.
                tokio::task::yield_now().await;
            }
            hex_encode(&hash.finalize())
        };
        let (read, hash) = tokio::join!(self.stream_object(key, out), hash);
        read.map(|()| hash)
    }

    /// Asks for the thaw of an archived object, for `days`.
    ///
    /// # Errors
    /// If it is not there or the store refuses.
    pub async fn request_archive_restore(
        &self,
        key: &str,
        days: u32,
    ) -> Result<ArchiveRestoreStatus, StoreError> {
        match self {
            Self::Directory(d) => d.request_archive_restore(key).await,
            Self::S3(s) => s.request_archive_restore(key, days).await,
            Self::Azure(a) => a.request_archive_restore(key).await,
        }
    }

    /// What runs left behind under keys of these forms. Something of a run that goes on is among it.
    ///
    /// # Errors
    /// If the store can't be looked through.
    pub async fn list_orphans(
        &self,
        forms: &[KeyTemplate],
    ) -> Result<Vec<OrphanedObject>, StoreError> {
        match self {
            Self::Directory(d) => d.list_orphans(forms).await,
            Self::S3(s) => s.list_orphans(forms).await,
            Self::Azure(a) => a.list_orphans(forms).await,
        }
    }

    /// Those of `entries` under keys of these forms that are ours and have no manifest.
    async fn list_uncommitted(
        &self,
        forms: &[KeyTemplate],
        entries: &[ObjectEntry],
    ) -> Result<Vec<OrphanedObject>, StoreError> {
        match self {
            Self::Directory(d) => {
                let mut all = d.list_orphans(forms).await?;
                all.retain(|l| l.kind == OrphanKind::Object);
                Ok(all)
            }
            Self::S3(s) => {
                leftovers::find_uncommitted(forms, entries, |key| s.is_own_object(key)).await
            }
            Self::Azure(a) => {
                leftovers::find_uncommitted(forms, entries, |key| a.is_own_object(key)).await
            }
        }
    }

    /// Takes a leftover away. The caller holds the lease of its database, so that no run goes on with it. What became a
    /// backup since it was seen stays.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn delete_orphan(&self, left: &OrphanedObject) -> Result<(), StoreError> {
        match self {
            Self::Directory(d) => d.delete_orphan(left).await,
            Self::S3(s) => s.delete_orphan(left).await,
            Self::Azure(a) => a.delete_orphan(left).await,
        }
    }

    /// Deletes a backup: first the notes that it was still true, which make it older than it is at worst, then its
    /// manifest, which makes it none, then its hash, then the object. Killed in between, it is a leftover.
    ///
    /// # Errors
    /// If it is held, is no good backup any more, was found to be still true after it was judged, or the store refuses.
    pub async fn delete_backup(
        &self,
        point: &DeletionPermit<RecoveryPoint>,
        trust: &TrustPolicy,
    ) -> Result<(), StoreError> {
        let RecoveryPoint { id, arn, .. } = point.point();
        let refused = |kind, why: String, hint: &str| {
            Err(StoreError::new(kind, format!("delete {arn}"), why, hint))
        };
        if *arn != self.full_uri(id) {
            let why = format!("it is not of {}", self.address());
            return refused(StoreErrorKind::Refused, why, "delete it at its own store");
        }
        let there = catalogue::get_backup(self, id, trust).await?;
        if let Some(why) = there.hold {
            let hint = format!("take the hold away first: {}", beside::legal_hold_key(id));
            return refused(StoreErrorKind::Locked, format!("held: {why}"), &hint);
        }
        if !there.is_committed() {
            let why = "it is not what was judged any more".into();
            return refused(StoreErrorKind::Refused, why, "the next run judges it again");
        }
        if there.unchanged.last().copied() > point.point().data_time {
            let why = "a dump found meanwhile that its database is still the same".into();
            return refused(StoreErrorKind::Refused, why, "the next run judges it again");
        }
        for at in there.unchanged {
            let note = beside::unchanged_marker_key(id, at);
            self.remove_object(&note).await?;
            self.remove_object(&beside::signature_key(&note)).await?;
        }
        match self {
            Self::Directory(d) => d.delete_backup(id).await,
            Self::S3(s) => s.delete_backup(id).await,
            Self::Azure(a) => a.delete_backup(id).await,
        }
    }

    async fn remove_object(&self, key: &str) -> Result<(), StoreError> {
        match self {
            Self::Directory(d) => d.remove_object(key).await,
            Self::S3(s) => s.remove_object(key).await,
            Self::Azure(a) => a.remove_object(key).await,
        }
    }

    /// Space that is free for backups, in bytes; none where there is no end to it.
    ///
    /// # Errors
    /// If the file system does not say.
    pub async fn free_space(&self) -> Result<Option<u64>, StoreError> {
        match self {
            Self::Directory(d) => d.free_space().await.map(Some),
            Self::S3(_) | Self::Azure(_) => Ok(None),
        }
    }

    /// Holds a backup: nobody may delete it.
    ///
    /// # Errors
    /// If it is held already, or the store refuses.
    pub async fn add_legal_hold(
        &self,
        key: &str,
        hold: &LegalHold,
        author: &SigningAuthor,
    ) -> Result<(), StoreError> {
        let json = serde_json::to_vec_pretty(hold).expect("a hold is plain data");
        self.put_signed(
            &beside::legal_hold_key(key),
            json.into(),
            &UploadOptions::default(),
            author,
        )
        .await
    }

    /// Takes a hold away.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn remove_legal_hold(&self, key: &str) -> Result<(), StoreError> {
        self.remove_object(&beside::legal_hold_key(key)).await?;
        self.remove_object(&beside::signature_key(&beside::legal_hold_key(key))).await
    }

    /// The whole name of an object, for a [`Point`]'s `arn`.
    pub fn full_uri(&self, key: &str) -> String {
        match self {
            // The prefix is the begin of keys and may end within a name.
            Self::Directory(d) => d.full_path(key),
            Self::S3(s) => s.full_uri(key),
            Self::Azure(a) => a.full_uri(key),
        }
    }
}

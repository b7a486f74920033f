//! Where dumps lie: a directory, S3 or what speaks like it, Azure Blob Storage.
//!
//! Every store is write-once: an object is made whole under a name that was free, read back, and never rewritten, so that
//! object lock works. A backup is an object with a manifest beside it, which is written last: without it, it is nothing.
//! What lies in a store was perhaps put there by anybody: it counts as far as the policy says ([`Trust`]).
//!
//! # Layout
//! - [`key`]: how keys are made and read back; [`beside`]: what lies beside a backup; [`parts`]: how uploads are cut
//! - [`manifest`]: the commit record and its schema; [`catalogue`](mod@catalogue): which backups a store has;
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

pub use azure::AzureStore;
pub use cache::RecordCache;
pub use catalogue::{Backup, catalogue};
pub use directory::Directory;
pub use error::{Error, Kind};
pub use key::{KeyForm, Names};
pub use leftovers::{Left, Leftover};
pub use manifest::{Hold, Manifest, Unchanged};
pub use object::{Entry, Put, Thaw, Written};
pub use open::open;
pub use quote::shell_quote;
pub use s3::S3Store;
pub use trust::Trust;
pub use upload::Upload;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use shared::{catalog::RecoveryPoint, plan::DeletionPermit, signing::SigningAuthor, words::hex_encode};
use std::io;
use tokio::sync::mpsc;
use upload::Writing;

/// The longest object that [`Store::get`] reads, in bytes.
pub const SMALL: usize = shared::bounded::MAX_SMALL_OBJECT_BYTES;
/// Name of the metadata that marks an object as made by a run of Holdfast.
pub const RUN: &str = "holdfast-run";

/// A place for backups.
#[derive(Clone, Debug)]
pub enum Store {
    /// A directory of this host.
    Directory(Directory),
    /// A bucket.
    S3(S3Store),
    /// A container.
    Azure(AzureStore),
}

impl Store {
    /// Where it is: `/var/backups`, `s3://bucket/prefix`, `azure://account/container/prefix`.
    pub fn address(&self) -> String {
        match self {
            Self::Directory(d) => d.address(),
            Self::S3(s) => s.address(),
            Self::Azure(a) => a.address(),
        }
    }

    /// A shell command that writes an object to its standard output.
    pub fn command(&self, key: &str) -> String {
        match self {
            Self::Directory(d) => d.command(key),
            Self::S3(s) => s.command(key),
            Self::Azure(a) => a.command(key),
        }
    }

    /// Every object whose key below the store's prefix begins with `prefix`, in the order of keys.
    ///
    /// # Errors
    /// If the list can't be read to its end.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Entry>, Error> {
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
    pub async fn begin(&self, key: &str, put: &Put) -> Result<Upload, Error> {
        Ok(Upload(match self {
            Self::Directory(d) => Writing::Directory(d.begin(key).await?),
            Self::S3(s) => Writing::S3(Box::new(s.begin(key, put).await?)),
            Self::Azure(a) => Writing::Azure(Box::new(a.begin(key, put).await?)),
        }))
    }

    /// Writes a small object where there is none. It is in the store's own class, so that it can always be read.
    ///
    /// # Errors
    /// If there is one under that key already, or the store refuses.
    pub async fn put(&self, key: &str, bytes: Bytes, put: &Put) -> Result<(), Error> {
        match self {
            Self::Directory(d) => d.put(key, bytes).await,
            Self::S3(s) => s.put(key, bytes, put).await,
            Self::Azure(a) => a.put(key, bytes, put).await,
        }
    }

    /// Writes a small object that is believed later: its signature first, where the author signs, so that what is there
    /// is signed.
    ///
    /// # Errors
    /// As for [`Store::put`].
    pub async fn put_signed(
        &self,
        key: &str,
        bytes: Bytes,
        put: &Put,
        author: &SigningAuthor,
    ) -> Result<(), Error> {
        if let Some(signature) = author.sign(key, &bytes) {
            self.put(&beside::signature(key), signature.into(), put).await?;
        }
        self.put(key, bytes, put).await
    }

    /// The first of these keys that is free, with all that would lie beside it.
    ///
    /// # Errors
    /// If the store can't be asked, or all of them are taken.
    pub async fn free(&self, candidates: &[String]) -> Result<String, Error> {
        for key in candidates {
            let taken = |e: &Entry| e.key == *key || beside::whose(&e.key) == Some(key);
            if !self.list(key).await?.iter().any(taken) {
                return Ok(key.clone());
            }
        }
        let last = candidates.last().map_or("a backup", String::as_str);
        let mend = "find out what else writes there: nobody but this run knew that name";
        Err(Error::new(Kind::Exists, format!("name {last}"), "every name for it is taken", mend))
    }

    /// Reads a small object, of [`SMALL`] bytes at most; none when there is none.
    ///
    /// # Errors
    /// If it can't be read or is larger.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        match self {
            Self::Directory(d) => d.get(key).await,
            Self::S3(s) => s.get(key).await,
            Self::Azure(a) => a.get(key).await,
        }
    }

    /// Reads a whole object in order, one version of it, going on after a lost connection. When it can't be read, the
    /// error goes into the stream too. When nobody listens any more, it ends.
    ///
    /// # Errors
    /// If it can't be read to its end.
    pub async fn read(&self, key: &str, out: mpsc::Sender<io::Result<Bytes>>) -> Result<(), Error> {
        let read = match self {
            Self::Directory(d) => d.read(key, &out).await,
            Self::S3(s) => s.read(key, &out).await,
            Self::Azure(a) => a.read(key, &out).await,
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
    pub async fn sha256(&self, key: &str) -> Result<String, Error> {
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
        let (read, hash) = tokio::join!(self.read(key, out), hash);
        read.map(|()| hash)
    }

    /// Asks for the thaw of an archived object, for `days`.
    ///
    /// # Errors
    /// If it is not there or the store refuses.
    pub async fn thaw(&self, key: &str, days: u32) -> Result<Thaw, Error> {
        match self {
            Self::Directory(d) => d.thaw(key).await,
            Self::S3(s) => s.thaw(key, days).await,
            Self::Azure(a) => a.thaw(key).await,
        }
    }

    /// What runs left behind under keys of these forms. Something of a run that goes on is among it.
    ///
    /// # Errors
    /// If the store can't be looked through.
    pub async fn leftovers(&self, forms: &[KeyForm]) -> Result<Vec<Leftover>, Error> {
        match self {
            Self::Directory(d) => d.leftovers(forms).await,
            Self::S3(s) => s.leftovers(forms).await,
            Self::Azure(a) => a.leftovers(forms).await,
        }
    }

    /// Those of `entries` under keys of these forms that are ours and have no manifest.
    async fn unfinished(
        &self,
        forms: &[KeyForm],
        entries: &[Entry],
    ) -> Result<Vec<Leftover>, Error> {
        match self {
            Self::Directory(d) => {
                let mut all = d.leftovers(forms).await?;
                all.retain(|l| l.what == Left::Object);
                Ok(all)
            }
            Self::S3(s) => leftovers::unfinished(forms, entries, |key| s.ours(key)).await,
            Self::Azure(a) => leftovers::unfinished(forms, entries, |key| a.ours(key)).await,
        }
    }

    /// Takes a leftover away. The caller holds the lease of its database, so that no run goes on with it. What became a
    /// backup since it was seen stays.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn clean(&self, left: &Leftover) -> Result<(), Error> {
        match self {
            Self::Directory(d) => d.clean(left).await,
            Self::S3(s) => s.clean(left).await,
            Self::Azure(a) => a.clean(left).await,
        }
    }

    /// Deletes a backup: first the notes that it was still true, which make it older than it is at worst, then its
    /// manifest, which makes it none, then its hash, then the object. Killed in between, it is a leftover.
    ///
    /// # Errors
    /// If it is held, is no good backup any more, was found to be still true after it was judged, or the store refuses.
    pub async fn delete(&self, point: &DeletionPermit<RecoveryPoint>, trust: &Trust) -> Result<(), Error> {
        let RecoveryPoint { id, arn, .. } = point.point();
        let refused = |kind, why: String, mend: &str| {
            Err(Error::new(kind, format!("delete {arn}"), why, mend))
        };
        if *arn != self.arn(id) {
            let why = format!("it is not of {}", self.address());
            return refused(Kind::Refused, why, "delete it at its own store");
        }
        let there = catalogue::one(self, id, trust).await?;
        if let Some(why) = there.hold {
            let mend = format!("take the hold away first: {}", beside::hold(id));
            return refused(Kind::Locked, format!("held: {why}"), &mend);
        }
        if !there.good() {
            let why = "it is not what was judged any more".into();
            return refused(Kind::Refused, why, "the next run judges it again");
        }
        if there.unchanged.last().copied() > point.point().data_time {
            let why = "a dump found meanwhile that its database is still the same".into();
            return refused(Kind::Refused, why, "the next run judges it again");
        }
        for at in there.unchanged {
            let note = beside::unchanged(id, at);
            self.remove(&note).await?;
            self.remove(&beside::signature(&note)).await?;
        }
        match self {
            Self::Directory(d) => d.delete(id).await,
            Self::S3(s) => s.delete(id).await,
            Self::Azure(a) => a.delete(id).await,
        }
    }

    async fn remove(&self, key: &str) -> Result<(), Error> {
        match self {
            Self::Directory(d) => d.remove(key).await,
            Self::S3(s) => s.remove(key).await,
            Self::Azure(a) => a.remove(key).await,
        }
    }

    /// Space that is free for backups, in bytes; none where there is no end to it.
    ///
    /// # Errors
    /// If the file system does not say.
    pub async fn free_space(&self) -> Result<Option<u64>, Error> {
        match self {
            Self::Directory(d) => d.free_space().await.map(Some),
            Self::S3(_) | Self::Azure(_) => Ok(None),
        }
    }

    /// Holds a backup: nobody may delete it.
    ///
    /// # Errors
    /// If it is held already, or the store refuses.
    pub async fn hold(&self, key: &str, hold: &Hold, author: &SigningAuthor) -> Result<(), Error> {
        let json = serde_json::to_vec_pretty(hold).expect("a hold is plain data");
        self.put_signed(&beside::hold(key), json.into(), &Put::default(), author).await
    }

    /// Takes a hold away.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn release(&self, key: &str) -> Result<(), Error> {
        self.remove(&beside::hold(key)).await?;
        self.remove(&beside::signature(&beside::hold(key))).await
    }

    /// The whole name of an object, for a [`Point`]'s `arn`.
    pub fn arn(&self, key: &str) -> String {
        match self {
            // The prefix is the begin of keys and may end within a name.
            Self::Directory(d) => d.whole(key),
            Self::S3(s) => s.whole(key),
            Self::Azure(a) => a.whole(key),
        }
    }
}

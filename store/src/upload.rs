//! An object that is being written, whichever the store.

use crate::{Error, Written, azure, directory, s3};
use bytes::Bytes;

/// An object that is being written. It is there under its key only after [`Upload::finish`]; dropped before, it is taken
/// back as far as that can be done then.
#[derive(Debug)]
pub struct Upload(pub(crate) Writing);

#[derive(Debug)]
pub(crate) enum Writing {
    Directory(directory::Writing),
    S3(Box<s3::Writing>),
    Azure(Box<azure::Writing>),
}

impl Upload {
    /// Writes on.
    ///
    /// # Errors
    /// If the store refuses; nothing of it is left to count then.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        match &mut self.0 {
            Writing::Directory(w) => w.write(bytes).await,
            Writing::S3(w) => w.write(bytes).await,
            Writing::Azure(w) => w.write(bytes).await,
        }
    }

    /// Ends it: from now on it is there under its key. Size and checksum are read back and compared.
    ///
    /// # Errors
    /// If something took its name meanwhile, if what lies there is not what was written, or if the store refuses.
    pub async fn finish(self) -> Result<Written, Error> {
        match self.0 {
            Writing::Directory(w) => w.finish().await,
            Writing::S3(w) => w.finish().await,
            Writing::Azure(w) => w.finish().await,
        }
    }

    /// Takes back what was written.
    pub async fn abort(self) {
        match self.0 {
            // Dropped, it takes itself back.
            Writing::Directory(w) => drop(w),
            Writing::S3(w) => w.abort().await,
            Writing::Azure(w) => w.abort().await,
        }
    }
}

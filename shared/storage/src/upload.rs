//! An object that is being written, whichever the store.

use crate::{StoreError, UploadReceipt, azure, directory, s3};
use bytes::Bytes;

/// An object that is being written. It is there under its key only after [`ObjectUpload::finish`]; dropped before, it is taken
/// back as far as that can be done then.
#[derive(Debug)]
pub struct ObjectUpload(pub(crate) BackendUpload);

#[derive(Debug)]
pub(crate) enum BackendUpload {
    Directory(directory::DirectoryUpload),
    S3(Box<s3::S3Upload>),
    Azure(Box<azure::AzureUpload>),
}

impl ObjectUpload {
    /// Writes on.
    ///
    /// # Errors
    /// If the store refuses; nothing of it is left to count then.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        match &mut self.0 {
            BackendUpload::Directory(w) => w.write(bytes).await,
            BackendUpload::S3(w) => w.write(bytes).await,
            BackendUpload::Azure(w) => w.write(bytes).await,
        }
    }

    /// Ends it: from now on it is there under its key. Size and checksum are read back and compared.
    ///
    /// # Errors
    /// If something took its name meanwhile, if what lies there is not what was written, or if the store refuses.
    pub async fn finish(self) -> Result<UploadReceipt, StoreError> {
        match self.0 {
            BackendUpload::Directory(w) => w.finish().await,
            BackendUpload::S3(w) => w.finish().await,
            BackendUpload::Azure(w) => w.finish().await,
        }
    }

    /// Takes back what was written.
    pub async fn abort(self) {
        match self.0 {
            // Dropped, it takes itself back.
            BackendUpload::Directory(w) => drop(w),
            BackendUpload::S3(w) => w.abort().await,
            BackendUpload::Azure(w) => w.abort().await,
        }
    }
}

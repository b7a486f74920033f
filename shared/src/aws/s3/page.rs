//! Pages that people open: the one kind of object that is written again in its place.

use super::S3Client;
use crate::aws::OperationError;

impl S3Client {
    /// Writes a page over the one before. Browsers ask for it anew each time: an old status page looks like a good one.
    ///
    /// # Errors
    /// If S3 refuses.
    pub async fn put_page(
        &self,
        bucket: &str,
        key: &str,
        content_type: &str,
        bytes: Vec<u8>,
    ) -> Result<(), OperationError> {
        let request = self.client.put_object().bucket(bucket).key(key).content_type(content_type);
        let sent = request.cache_control("no-cache").body(bytes.into()).send().await;
        sent.map(drop)
            .map_err(|e| OperationError::from_sdk_error(format!("write s3://{bucket}/{key}"), &e))
    }
}

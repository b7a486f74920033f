//! Archived objects: whether one can be read, and the asking for its thaw.

use super::{S3Backend, error_code};
use crate::{ArchiveRestoreStatus, StoreError, ranges};
use aws_sdk_s3::types::{GlacierJobParameters, RestoreRequest, StorageClass, Tier};
use shared::aws::OperationError;

impl S3Backend {
    pub(crate) async fn request_archive_restore(
        &self,
        key: &str,
        days: u32,
    ) -> Result<ArchiveRestoreStatus, StoreError> {
        let doing = || format!("thaw {}", self.full_uri(key));
        let Some(head) = self.head_object(key).await? else {
            return Err(ranges::not_found_error(doing()));
        };
        let deep = match (head.storage_class(), head.archive_status()) {
            (Some(StorageClass::Glacier), _) => false,
            (Some(StorageClass::DeepArchive), _) => true,
            // Intelligent-Tiering has archives of its own.
            (_, Some(status)) => status.as_str().contains("DEEP"),
            _ => return Ok(ArchiveRestoreStatus::NotArchived),
        };
        match head.restore() {
            Some(said) if said.contains("ongoing-request=\"true\"") => {
                return Ok(ArchiveRestoreStatus::InProgress);
            }
            Some(said) if said.contains("ongoing-request=\"false\"") => {
                return Ok(ArchiveRestoreStatus::Restored);
            }
            _ => {}
        }
        let standard = GlacierJobParameters::builder().tier(Tier::Standard).build();
        let standard =
            standard.map_err(|e| OperationError::from_message(doing(), e.to_string()))?;
        let mut order = RestoreRequest::builder().glacier_job_parameters(standard);
        if head.archive_status().is_none() {
            // Intelligent-Tiering takes none: what is thawed there stays.
            order = order.days(i32::try_from(days.max(1)).unwrap_or(i32::MAX));
        }
        let request =
            self.client.restore_object().bucket(&self.config.name).key(self.full_key(key));
        match request.restore_request(order.build()).send().await {
            Ok(_) => Ok(ArchiveRestoreStatus::Requested { hours: max_restore_hours(deep) }),
            Err(e) if error_code(&e) == Some("RestoreAlreadyInProgress") => {
                Ok(ArchiveRestoreStatus::InProgress)
            }
            Err(e) => Err(OperationError::from_sdk_error(doing(), &e).into()),
        }
    }
}

/// How long a Standard retrieval takes at most: 3 to 5 hours from Glacier Flexible Retrieval, 12 from Deep Archive.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects-retrieval-options.html>
fn max_restore_hours(deep: bool) -> u32 {
    if deep { 12 } else { 5 }
}

//! Deleting in a WAL archive: only with a permit, and in an order that leaves nothing which looks whole and is not.

use crate::{BackupStore, StoreError, StoreErrorKind, beside};
use shared::{catalog::RecoveryPoint, keep::wal::WalRun, plan::DeletionPermit};

impl BackupStore {
    /// Deletes WAL, oldest first: killed in between, what is left is what is newer.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn delete_wal_run(&self, run: &DeletionPermit<WalRun>) -> Result<(), StoreError> {
        for key in &run.point().keys {
            self.remove_object(key).await?;
            self.remove_object(&beside::signature_key(key)).await?;
        }
        Ok(())
    }

    /// Deletes a base backup: its record first, which makes it none, then everything in its folder.
    ///
    /// # Errors
    /// If it is of another store, or the store refuses.
    pub async fn delete_base_backup(
        &self,
        point: &DeletionPermit<RecoveryPoint>,
    ) -> Result<(), StoreError> {
        let RecoveryPoint { id, arn, .. } = point.point();
        let folder = id.rsplit_once('/').map(|(folder, _)| format!("{folder}/"));
        let (Some(folder), true) = (folder, *arn == self.full_uri(id)) else {
            let why = format!("it is not of {}", self.address());
            let hint = "delete it at its own store";
            return Err(StoreError::new(
                StoreErrorKind::Refused,
                format!("delete {arn}"),
                why,
                hint,
            ));
        };
        self.remove_object(id).await?;
        for entry in self.list(&folder).await? {
            self.remove_object(&entry.key).await?;
        }
        Ok(())
    }
}

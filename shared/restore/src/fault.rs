//! Faults that are made on purpose: a check that was never seen to fail proves nothing.

use crate::{RestoreError, trial::ScratchDatabase};
use postgres::database;

/// What is broken in a scratch database, and never anywhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InjectedFault {
    /// The server refuses what is restored: the role that restores may make nothing.
    FailedRestore,
    /// Every table is emptied after the restore.
    Empty,
}

impl ScratchDatabase<'_> {
    /// Takes from the role that restores what it needs to make anything.
    pub(crate) async fn revoke_rights(&self) -> Result<(), RestoreError> {
        Ok(database::revoke_scratch_rights(self.server(), &self.name).await?)
    }

    /// Empties every table in it.
    pub(crate) async fn empty_tables(&self) -> Result<(), RestoreError> {
        Ok(database::empty_scratch_tables(&self.login_config(), &self.name).await?)
    }
}

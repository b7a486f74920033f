//! Faults that are made on purpose: a check that was never seen to fail proves nothing.

use crate::{RestoreError, trial::ScratchDatabase};
use postgres::database;

/// What is broken in a scratch database, and never anywhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InjectedFault {
    /// The server refuses what is restored: the scratch database can only be read.
    FailedRestore,
    /// Every table is emptied after the restore.
    Empty,
}

impl ScratchDatabase<'_> {
    /// Lets nobody write into it.
    pub(crate) async fn make_read_only(&self) -> Result<(), RestoreError> {
        Ok(database::make_read_only(self.server(), &self.name).await?)
    }

    /// Empties every table in it.
    pub(crate) async fn empty_tables(&self) -> Result<(), RestoreError> {
        Ok(database::empty_scratch_tables(&self.login_config(), &self.name).await?)
    }
}

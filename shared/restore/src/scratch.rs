//! Where test restores run: never on the server that is backed up, unless the policy says so.

use crate::{RestoreError, RestoreErrorKind};
use postgres::{ConnectionConfig, scratch_server::ScratchServer, tools};
use std::{collections::BTreeMap, path::PathBuf};
use tokio::sync::Mutex;

/// The place of the test restores of one run.
#[derive(Debug)]
pub enum ScratchTarget {
    /// A server of our own on this host.
    Local(LocalScratchServers),
    /// A server that the policy names for this.
    Named(ConnectionConfig),
    /// The server that is backed up, because the policy says so in words.
    Production(ConnectionConfig),
}

/// Servers of our own, one for each version that is needed; all tests of a run share them.
#[derive(Debug)]
pub struct LocalScratchServers {
    folder: PathBuf,
    running: Mutex<BTreeMap<PathBuf, ScratchServer>>,
}

impl ScratchTarget {
    /// Servers of our own with their data in this folder; without one, in the folder of temporary files.
    pub fn local(folder: Option<PathBuf>) -> Self {
        let folder = folder.unwrap_or_else(std::env::temp_dir);
        Self::Local(LocalScratchServers { folder, running: Mutex::default() })
    }

    /// A server that a dump of this version can be restored to; 0 where it is not known.
    ///
    /// # Errors
    /// [`RestoreErrorKind::NoScratch`]: there is none, so the backup can't be verified here.
    pub(crate) async fn server_for_version(
        &self,
        version_num: u32,
    ) -> Result<ConnectionConfig, RestoreError> {
        let local = match self {
            Self::Named(server) | Self::Production(server) => return Ok(server.clone()),
            Self::Local(local) => local,
        };
        let nowhere = |e: postgres::PostgresError| RestoreError {
            kind: RestoreErrorKind::NoScratch,
            ..RestoreError::from(e)
        };
        let programs = tools::server_programs(version_num).map_err(nowhere)?;
        let mut running = local.running.lock().await;
        if let Some(there) = running.get(&programs.folder) {
            return Ok(there.admin_config().clone());
        }
        let started = ScratchServer::start(version_num, &local.folder).await.map_err(nowhere)?;
        let server = started.admin_config().clone();
        running.insert(programs.folder, started);
        Ok(server)
    }

    /// Whether the whole server is ours, and gone after the run.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    /// Stops what was started.
    pub async fn stop_servers(self) {
        if let Self::Local(local) = self {
            for (_, server) in local.running.into_inner() {
                server.stop().await;
            }
        }
    }
}

//! Where test restores run: never on the server that is backed up, unless the policy says so.

use crate::{Error, Kind};
use postgres::{Server, scratch_server::ScratchServer, tools};
use std::{collections::BTreeMap, path::PathBuf};
use tokio::sync::Mutex;

/// The place of the test restores of one run.
#[derive(Debug)]
pub enum Scratch {
    /// A server of our own on this host.
    Local(Local),
    /// A server that the policy names for this.
    Named(Server),
    /// The server that is backed up, because the policy says so in words.
    Production(Server),
}

/// Servers of our own, one for each version that is needed; all tests of a run share them.
#[derive(Debug)]
pub struct Local {
    folder: PathBuf,
    running: Mutex<BTreeMap<PathBuf, ScratchServer>>,
}

impl Scratch {
    /// Servers of our own with their data in this folder; without one, in the folder of temporary files.
    pub fn local(folder: Option<PathBuf>) -> Self {
        let folder = folder.unwrap_or_else(std::env::temp_dir);
        Self::Local(Local { folder, running: Mutex::default() })
    }

    /// A server that a dump of this version can be restored to; 0 where it is not known.
    ///
    /// # Errors
    /// [`Kind::NoScratch`]: there is none, so the backup can't be verified here.
    pub(crate) async fn server(&self, version_num: u32) -> Result<Server, Error> {
        let local = match self {
            Self::Named(server) | Self::Production(server) => return Ok(server.clone()),
            Self::Local(local) => local,
        };
        let nowhere = |e: postgres::Error| Error { kind: Kind::NoScratch, ..Error::from(e) };
        let programs = tools::server_programs(version_num).map_err(nowhere)?;
        let mut running = local.running.lock().await;
        if let Some(there) = running.get(&programs.folder) {
            return Ok(there.server().clone());
        }
        let started = ScratchServer::start(version_num, &local.folder).await.map_err(nowhere)?;
        let server = started.server().clone();
        running.insert(programs.folder, started);
        Ok(server)
    }

    /// Whether the whole server is ours, and gone after the run.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    /// Stops what was started.
    pub async fn stop(self) {
        if let Self::Local(local) = self {
            for (_, server) in local.running.into_inner() {
                server.stop().await;
            }
        }
    }
}

//! Streaming by a physical replication slot: a segment is archived when it is whole, and what the server writes to before that in
//! pieces, see [`crate::chunk`]. The server is told of a position only when everything up to it is durable in the store; the slot
//! keeps the rest, whatever happens here.
//! <https://www.postgresql.org/docs/current/protocol-replication.html>

mod server;
mod spool;
mod stream;
mod writer;

use crate::{
    error::{WalError, WalErrorKind},
    name::{Lsn, TimelineId},
    pause::DoublingPause,
    repository::WalRepository,
    wire::ReplicationConnection,
};
use jiff::Timestamp;
use postgres::ConnectionConfig;
use std::{path::PathBuf, sync::Arc, time::Duration};

/// What is told to whoever watches: a line each.
pub type ReceiveReport = fn(&str);

/// How WAL is received.
#[derive(Clone, Debug)]
pub struct ReceiveOptions {
    /// The replication slot; it is made if it is not there.
    pub slot: String,
    /// What is newer than this is in the store, as long as that answers.
    pub interval: Duration,
    /// A folder with room for four segments.
    pub spool: PathBuf,
    /// The time.
    pub clock: fn() -> Timestamp,
    /// Told what happens.
    pub report: ReceiveReport,
}

/// Whether a name is one that PostgreSQL takes for a slot.
pub fn is_slot_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

/// What holds from one connection to the next.
#[derive(Debug, Default)]
struct ReceiveProgress {
    system: Option<u64>,
    /// Up to here everything is durable in the store.
    durable: Option<(TimelineId, Lsn)>,
    /// Whether the connection at hand received something.
    received: bool,
}

/// Receives WAL until an error that trying again does not help. A server or a store that is away is tried again.
///
/// # Errors
/// If something else lies in the archive under a name, the server is another cluster, or it no longer has what is needed.
pub async fn receive_wal(
    repository: WalRepository,
    config: &ConnectionConfig,
    options: &ReceiveOptions,
) -> Result<std::convert::Infallible, WalError> {
    let repository = Arc::new(repository);
    let mut progress = ReceiveProgress::default();
    let mut pause = DoublingPause::default();
    loop {
        progress.received = false;
        let Err(e) = receive_from_server(&repository, config, options, &mut progress).await;
        let passing = matches!(
            e.kind,
            WalErrorKind::Database | WalErrorKind::Store | WalErrorKind::Late | WalErrorKind::Disk
        );
        if !passing {
            return Err(e);
        }
        if progress.received {
            pause = DoublingPause::default();
        }
        (options.report)(&format!("{e}; tried again in {:.1} s", pause.length().as_secs_f64()));
        pause.wait().await;
    }
}

async fn receive_from_server(
    repository: &Arc<WalRepository>,
    config: &ConnectionConfig,
    options: &ReceiveOptions,
    progress: &mut ReceiveProgress,
) -> Result<std::convert::Infallible, WalError> {
    let mut connection = ReplicationConnection::connect(config).await?;
    let server = server::identify(&mut connection, repository).await?;
    let system = server.cluster.system;
    if let Some(before) = progress.system.replace(system).filter(|s| *s != system) {
        let why = format!("it is the cluster {system}, and before it was {before}");
        let hint = "a new cluster needs a base backup; then start this again";
        return Err(WalError::new(WalErrorKind::Refused, "receive WAL", why, hint));
    }
    let slot = server::prepare_slot(&mut connection, config, options).await?;
    let start = server::find_start(&server, repository, options, progress.durable, slot).await?;
    let mut stream = stream::WalStream::new(repository, server.cluster, options, progress, start)?;
    loop {
        let (timeline, switch) = stream.receive_timeline(&mut connection).await?;
        server::archive_history(&mut connection, repository, system, timeline).await?;
        stream.switch_timeline(timeline, switch).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_has_a_plain_name() {
        assert!(is_slot_name("holdfast_main"));
        for bad in ["", "Holdfast", "a\"b", "a b", &"x".repeat(64)] {
            assert!(!is_slot_name(bad), "{bad}");
        }
    }
}

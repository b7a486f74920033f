//! Storing what was received, in order, apart from receiving: a store that is slow or away holds up the stream, and never the
//! answers by which the server knows that somebody is there.

use super::ReceiveReport;
use crate::{
    error::{WalError, WalErrorKind},
    name::{Lsn, SegmentName, SegmentSize, TimelineId, WalFileName},
    pause::DoublingPause,
    repository::{WalRepository, run_blocking},
    source::WalSourceFile,
};
use bytes::Bytes;
use jiff::Timestamp;
use std::sync::Arc;
use tempfile::NamedTempFile;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

/// Segments that may wait for the store; no more is received meanwhile.
const QUEUE_LENGTH: usize = 2;

/// Something to be stored.
#[derive(Debug)]
pub(super) enum StoreJob {
    /// A whole segment.
    Segment { name: SegmentName, file: NamedTempFile, end: Lsn },
    /// A piece of one.
    Chunk { name: SegmentName, begin: u64, bytes: Bytes, last_commit: Option<Timestamp>, end: Lsn },
}

impl StoreJob {
    /// What is durable when it is done.
    pub(super) fn position(&self) -> (TimelineId, Lsn) {
        match self {
            Self::Segment { name, end, .. } | Self::Chunk { name, end, .. } => {
                (name.timeline, *end)
            }
        }
    }
}

/// The cluster whose WAL is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReceivedCluster {
    pub system: u64,
    pub segment_size: SegmentSize,
}

/// Stores one job after the other; ended when it is dropped.
#[derive(Debug)]
pub(super) struct StoreWriter {
    pub jobs: mpsc::Sender<StoreJob>,
    /// Up to where everything is durable.
    pub durable: watch::Receiver<Option<(TimelineId, Lsn)>>,
    /// Ends only by an error that trying again does not help.
    pub task: JoinHandle<Result<(), WalError>>,
}

impl Drop for StoreWriter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl StoreWriter {
    /// Begins to store.
    pub(super) fn start(
        repository: Arc<WalRepository>,
        cluster: ReceivedCluster,
        report: ReceiveReport,
    ) -> Self {
        let (jobs, mut waiting) = mpsc::channel::<StoreJob>(QUEUE_LENGTH);
        let (done, durable) = watch::channel(None);
        let task = tokio::spawn(async move {
            while let Some(job) = waiting.recv().await {
                store_until_durable(&repository, cluster, &job, report).await?;
                done.send_replace(Some(job.position()));
            }
            Ok(())
        });
        Self { jobs, durable, task }
    }
}

async fn store_until_durable(
    repository: &WalRepository,
    cluster: ReceivedCluster,
    job: &StoreJob,
    report: ReceiveReport,
) -> Result<(), WalError> {
    let mut pause = DoublingPause::default();
    loop {
        match store_job(repository, cluster, job).await {
            Err(e) if matches!(e.kind, WalErrorKind::Store | WalErrorKind::Late) => {
                report(&format!("not stored yet: {e}"));
                pause.wait().await;
            }
            done => return done,
        }
    }
}

async fn store_job(
    repository: &WalRepository,
    cluster: ReceivedCluster,
    job: &StoreJob,
) -> Result<(), WalError> {
    repository.ensure_mounted().await?;
    match job {
        StoreJob::Segment { name, file, .. } => {
            store_file(repository, cluster.system, WalFileName::Segment(*name), file).await?;
        }
        StoreJob::Chunk { name, begin, bytes, last_commit, .. } => {
            let of = (*name, cluster.segment_size);
            repository.put_chunk(cluster.system, of, *begin, bytes.clone(), *last_commit).await?;
        }
    }
    // Unmounted while it was written, it may lie below the mount point.
    repository.ensure_mounted().await
}

/// Archives a file as `archive_command` does: so both together store it once.
pub(super) async fn store_file(
    repository: &WalRepository,
    system: u64,
    file: WalFileName,
    from: &NamedTempFile,
) -> Result<(), WalError> {
    repository.ensure_mounted().await?;
    let path = from.path().to_owned();
    let read = move || WalSourceFile::read(&path, file, system);
    let source = run_blocking(&format!("archive {file}"), read).await?;
    repository.put(system, &source).await.map(drop)
}

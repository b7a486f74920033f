//! One timeline after the other, message by message.

use super::{
    ReceiveOptions, ReceiveProgress,
    spool::{CommitTracker, SegmentSpool, segment_at},
    writer::{ReceivedCluster, StoreJob, StoreWriter},
};
use crate::{
    error::WalError,
    name::{Lsn, TimelineId},
    repository::WalRepository,
    wire::ReplicationConnection,
};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often the server is told where we are; `wal_sender_timeout` is 60 s.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);
/// A server that is asked that often and says nothing for so long is gone.
const SERVER_TIMEOUT: Duration = Duration::from_mins(1);
/// Microseconds from 1970 to 2000, where PostgreSQL's times begin.
const POSTGRES_EPOCH_MICROSECONDS: i64 = 946_684_800_000_000;

/// WAL on its way from one connection into the store.
pub(super) struct WalStream<'a> {
    cluster: ReceivedCluster,
    options: &'a ReceiveOptions,
    progress: &'a mut ReceiveProgress,
    writer: StoreWriter,
    spool: SegmentSpool,
    commits: CommitTracker,
    /// The newest position that was given to the writer, or was reported before.
    handed: Lsn,
    /// What is reported as durable. On one timeline it never goes back.
    reported: Lsn,
}

impl<'a> WalStream<'a> {
    /// A stream that begins with the segment of a position, up to which everything is durable or is not needed.
    pub(super) fn new(
        repository: &Arc<WalRepository>,
        cluster: ReceivedCluster,
        options: &'a ReceiveOptions,
        progress: &'a mut ReceiveProgress,
        (timeline, reported): (TimelineId, Lsn),
    ) -> Result<Self, WalError> {
        let (name, start) = segment_at(timeline, reported, cluster.segment_size);
        let mut commits = CommitTracker::default();
        commits.start_at(start);
        Ok(Self {
            cluster,
            options,
            writer: StoreWriter::start(Arc::clone(repository), cluster, options.report),
            spool: SegmentSpool::create(&options.spool, name, start)?,
            commits,
            handed: reported,
            reported,
            progress,
        })
    }

    /// Goes on with the next timeline, from the begin of the segment in which it left this one: its segment of that number
    /// holds what is common.
    ///
    /// # Errors
    /// If what was received before can't be stored, or the disk is full.
    pub(super) async fn switch_timeline(
        &mut self,
        timeline: TimelineId,
        switch: Lsn,
    ) -> Result<(), WalError> {
        while self.handed > self.reported {
            if self.writer.durable.changed().await.is_err() {
                return Err(self.writer_error().await);
            }
            self.note_durable();
        }
        // What lies after the switch was half a record of the old timeline, and is something else on the new one.
        self.reported = self.reported.min(switch);
        self.handed = self.reported;
        let (name, start) = segment_at(timeline, switch, self.cluster.segment_size);
        self.spool = SegmentSpool::create(&self.options.spool, name, start)?;
        self.commits = CommitTracker::default();
        self.commits.start_at(start);
        Ok(())
    }

    /// Receives until the timeline ends; returns the next one, and where it begins.
    ///
    /// # Errors
    /// If the server or the store is lost.
    pub(super) async fn receive_timeline(
        &mut self,
        connection: &mut ReplicationConnection,
    ) -> Result<(TimelineId, Lsn), WalError> {
        let timeline = self.spool.name.timeline;
        let command = format!(
            "START_REPLICATION SLOT \"{}\" PHYSICAL {} TIMELINE {timeline}",
            self.options.slot, self.spool.start
        );
        connection.send_command(&command).await?;
        let first = connection.read_message().await?;
        match first.tag {
            b'W' => {
                (self.options.report)(&format!(
                    "receiving timeline {timeline} from {}",
                    self.spool.start
                ));
                self.receive_copy(connection).await?;
            }
            // It ended just there: what follows is where it went on.
            b'T' => {}
            _ => return Err(connection.error("it does not begin to send WAL")),
        }
        let rows = connection.read_rows().await?;
        let value = |at: usize| rows.first().and_then(|r| r.get(at)?.clone()).unwrap_or_default();
        let (Ok(next), Ok(switch)) = (value(0).parse(), value(1).parse()) else {
            return Err(connection.error("it does not say which timeline comes next"));
        };
        connection.read_ready().await?;
        (self.options.report)(&format!(
            "timeline {timeline} ended at {switch}; going on with timeline {next}"
        ));
        Ok((next, switch))
    }

    async fn receive_copy(
        &mut self,
        connection: &mut ReplicationConnection,
    ) -> Result<(), WalError> {
        let mut tick = interval(self.options.interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.send_status(connection, false).await?;
        let (mut heard, mut told) = (Instant::now(), Instant::now());
        loop {
            // What the store has not taken is not received.
            let has_room = self.writer.jobs.capacity() > 0;
            tokio::select! {
                message = connection.read_message(), if has_room => {
                    let message = message?;
                    heard = Instant::now();
                    match (message.tag, message.body.first()) {
                        (b'd', Some(b'w')) => self.take_wal(connection, &message.body)?,
                        (b'd', Some(b'k')) => {
                            if message.body.get(17) == Some(&1) {
                                self.cut_chunk()?;
                                self.send_status(connection, false).await?;
                            }
                        }
                        (b'c', _) => {
                            connection.send_copy_done().await?;
                            return Ok(());
                        }
                        (b'C', _) => return Err(connection.error("the server shut down")),
                        _ => return Err(connection.error("what it sends is no WAL")),
                    }
                }
                changed = self.writer.durable.changed() => {
                    if changed.is_err() {
                        return Err(self.writer_error().await);
                    }
                    self.note_durable();
                    self.send_status(connection, false).await?;
                    told = Instant::now();
                }
                _ = tick.tick() => {
                    self.cut_chunk()?;
                    if told.elapsed() >= STATUS_INTERVAL {
                        self.send_status(connection, true).await?;
                        told = Instant::now();
                    }
                    if has_room && heard.elapsed() >= SERVER_TIMEOUT {
                        return Err(connection.error("the server was silent for too long"));
                    }
                    if !has_room {
                        heard = Instant::now();
                    }
                }
            }
        }
    }

    /// Why the writer ended.
    async fn writer_error(&mut self) -> WalError {
        match (&mut self.writer.task).await {
            Ok(Err(e)) => e,
            ended => WalError::new(
                crate::WalErrorKind::Refused,
                "store WAL",
                format!("it ended: {ended:?}"),
                "internal error; please report it",
            ),
        }
    }

    fn note_durable(&mut self) {
        let durable = *self.writer.durable.borrow_and_update();
        if let Some((timeline, lsn)) = durable {
            self.progress.durable = Some((timeline, lsn));
            self.progress.received = true;
            self.reported = self.reported.max(lsn);
        }
    }

    /// `w`: where it begins, where the server is, its clock, and WAL.
    fn take_wal(
        &mut self,
        connection: &ReplicationConnection,
        body: &[u8],
    ) -> Result<(), WalError> {
        let begin = body.get(1..9).and_then(|b| b.try_into().ok()).map(u64::from_be_bytes);
        let (Some(begin), Some(mut wal)) = (begin, body.get(25..)) else {
            return Err(connection.error("a message is cut"));
        };
        if Lsn(begin) != self.spool.end() {
            let (expected, begin) = (self.spool.end(), Lsn(begin));
            return Err(
                connection.error(format!("it sends WAL from {begin} instead of {expected}"))
            );
        }
        let size = self.cluster.segment_size;
        while !wal.is_empty() {
            let room = size.bytes() - self.spool.filled();
            let here = usize::try_from(room).unwrap_or(usize::MAX).min(wal.len());
            self.spool.append(&wal[..here])?;
            self.commits.add(&wal[..here]);
            wal = &wal[here..];
            if self.spool.filled() == size.bytes() {
                self.finish_segment(connection)?;
            }
        }
        Ok(())
    }

    fn finish_segment(&mut self, connection: &ReplicationConnection) -> Result<(), WalError> {
        let end = self.spool.end();
        let (name, start) = segment_at(self.spool.name.timeline, end, self.cluster.segment_size);
        let next = SegmentSpool::create(&self.options.spool, name, start)?;
        self.commits.start_at(start);
        let whole = std::mem::replace(&mut self.spool, next);
        let job = StoreJob::Segment { name: whole.name, file: whole.file, end };
        self.hand_over(connection, job)
    }

    fn hand_over(
        &mut self,
        connection: &ReplicationConnection,
        job: StoreJob,
    ) -> Result<(), WalError> {
        let (_, end) = job.position();
        // There was room before the message was read, and no message is longer than a segment.
        if self.writer.jobs.try_send(job).is_err() {
            return Err(connection.error("more WAL came at once than a segment holds"));
        }
        self.handed = self.handed.max(end);
        Ok(())
    }

    /// Gives what is new to the writer, once that has nothing else to do.
    fn cut_chunk(&mut self) -> Result<(), WalError> {
        let (name, end) = (self.spool.name, self.spool.end());
        if end <= self.reported || self.handed > self.reported {
            return Ok(());
        }
        let (begin, bytes) = self.spool.cut()?;
        let last_commit = self.commits.newest();
        let job = StoreJob::Chunk { name, begin, bytes, last_commit, end };
        if self.writer.jobs.try_send(job).is_ok() {
            self.handed = end;
        }
        Ok(())
    }

    /// `r`: what was received, what is durable, what is applied, our clock, and whether an answer is wanted.
    async fn send_status(
        &mut self,
        connection: &mut ReplicationConnection,
        asks: bool,
    ) -> Result<(), WalError> {
        let now = (self.options.clock)().as_microsecond() - POSTGRES_EPOCH_MICROSECONDS;
        let mut body = vec![b'r'];
        for position in [self.spool.end().max(self.reported), self.reported, self.reported] {
            body.extend_from_slice(&position.0.to_be_bytes());
        }
        body.extend_from_slice(&now.to_be_bytes());
        body.push(u8::from(asks));
        connection.send_copy_data(&body).await
    }
}

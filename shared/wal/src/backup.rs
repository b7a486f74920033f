//! Base backups: taken by `BASE_BACKUP`, stored as they come, and recorded only when everything is durable that they need.

use crate::{
    error::{WalError, WalErrorKind},
    layout::BACKUP_DIR,
    name::{Lsn, SegmentName, SegmentSize, TimelineId, WalFileName},
    repository::WalRepository,
    wire::{ReplicationConnection, TextRow},
};
use bytes::Bytes;
use codec::{ArchiveDigests, EncodingOptions, file_extension, pipe};
use jiff::{Timestamp, tz::TimeZone};
use postgres::ConnectionConfig;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use storage::{ObjectUpload, UploadOptions, UploadReceipt};
use tokio::task::JoinHandle;

/// The file of a record.
const RECORD_NAME: &str = "backup.json";
/// The oldest server whose base backups are one stream of archives.
const ONE_STREAM_VERSION: u32 = 150_000;

/// The record of a base backup; written last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseBackupRecord {
    /// Version of this form.
    pub holdfast: u32,
    /// The owner: see `Policy::owner`.
    pub owner: String,
    /// The policy's group.
    pub group: String,
    /// The cluster.
    pub system: u64,
    /// Its name: begin, timeline and position.
    pub label: String,
    /// The server's version, `150004` for 15.4.
    pub version_num: u32,
    /// The cluster's segment size, in bytes.
    pub segment_bytes: u64,
    /// The timeline that it begins and ends on.
    pub timeline: TimelineId,
    /// From here on WAL is needed.
    pub start_lsn: Lsn,
    /// Up to here WAL is needed before it is consistent.
    pub stop_lsn: Lsn,
    /// When it was begun.
    pub started_at: Timestamp,
    /// When the server had sent it: no earlier moment can be restored from it.
    pub finished_at: Timestamp,
    /// Whether it was taken from a standby.
    pub from_standby: bool,
    /// Its files.
    pub archives: Vec<BackupArchive>,
    /// Settings that a server which replays its WAL must have at least.
    pub settings: BTreeMap<String, String>,
}

/// A file of a base backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupArchive {
    /// `base.tar`, `16425.tar` for a tablespace, `backup_manifest`.
    pub name: String,
    /// Where the tablespace lay on the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// What a reader must undo: `.zst.age`.
    pub extension: String,
    /// Both ends of it.
    pub digests: ArchiveDigests,
}

impl BaseBackupRecord {
    fn folder(&self) -> String {
        format!("{}/{BACKUP_DIR}/{}", self.system, self.label)
    }

    /// Its key below the store's prefix.
    pub fn key(&self) -> String {
        format!("{}/{RECORD_NAME}", self.folder())
    }

    /// The key of one of its files.
    pub fn archive_key(&self, archive: &BackupArchive) -> String {
        format!("{}/{}{}", self.folder(), archive.name, archive.extension)
    }

    /// The cluster's segment size.
    pub fn segment_size(&self) -> Option<SegmentSize> {
        SegmentSize::from_bytes(self.segment_bytes)
    }

    /// The numbers of the segments without which it is nothing.
    pub fn needed_segments(&self) -> Option<std::ops::RangeInclusive<u64>> {
        let size = self.segment_size()?;
        Some(size.segment_number(self.start_lsn)..=size.last_segment_before(self.stop_lsn))
    }
}

/// How a base backup is taken.
#[derive(Clone, Debug)]
pub struct BaseBackupOptions {
    /// The policy's group.
    pub group: String,
    /// Begin at once by a checkpoint, instead of with the next one.
    pub fast_checkpoint: bool,
    /// Wait so long for the segments that it needs to be archived.
    pub wal_timeout: Duration,
    /// The time.
    pub clock: fn() -> Timestamp,
}

/// Settings that a replaying server must have at least as high: "Hot Standby", section "Administrator's Overview".
const REPLAY_SETTINGS: [&str; 5] = [
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
];

/// Takes a base backup of the server at `config`.
///
/// # Errors
/// If the server refuses or finds a damaged page, the store refuses, or a segment that it needs is not archived in time;
/// then nothing is recorded.
pub async fn take_base_backup(
    repository: &WalRepository,
    config: &ConnectionConfig,
    options: &BaseBackupOptions,
) -> Result<BaseBackupRecord, WalError> {
    let mut connection = ReplicationConnection::connect(config).await?;
    let unexpected = || refused("ask the server", "what it answers is not what is documented");
    let system = connection.identify().await?.system;
    let session = config.connect("postgres").await?;
    let failed = |e: &tokio_postgres_error::Error| tokio_postgres_error::convert(e);
    let query = format!(
        "SELECT name, setting FROM pg_catalog.pg_settings WHERE name IN ('{}')",
        REPLAY_SETTINGS.join("', '")
    );
    let rows = session.query(&query, &[]).await.map_err(|e| failed(&e))?;
    let settings = rows.iter().map(|r| (r.get(0), r.get(1))).collect();
    // In bytes on every version.
    let query = "SELECT (setting::int8 * CASE unit WHEN '8kB' THEN 8192 ELSE 1 END), pg_catalog.pg_is_in_recovery()
                 FROM pg_catalog.pg_settings WHERE name = 'wal_segment_size'";
    let row = session.query_one(query, &[]).await.map_err(|e| failed(&e))?;
    let segment_bytes = u64::try_from(row.get::<_, i64>(0)).unwrap_or_default();
    let from_standby: bool = row.get(1);
    let version_num = session.version_num;

    let started_at = (options.clock)();
    connection.send_command(&backup_command(version_num, options.fast_checkpoint)).await?;
    let begin = connection.read_rows().await?;
    let (start_lsn, timeline) = position(&begin).ok_or_else(unexpected)?;
    let tablespaces = connection.read_rows().await?;
    let label = format!(
        "{}-{timeline:08X}-{:016X}",
        started_at.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ"),
        start_lsn.0
    );
    let mut record = BaseBackupRecord {
        holdfast: 1,
        owner: repository.author.owner().to_owned(),
        group: options.group.clone(),
        system,
        label,
        version_num,
        segment_bytes,
        timeline,
        start_lsn,
        stop_lsn: start_lsn,
        started_at,
        finished_at: started_at,
        from_standby,
        archives: Vec::new(),
        settings,
    };
    let mut receiver = ArchiveReceiver {
        repository,
        record: &mut record,
        tablespaces: &tablespaces,
        current: None,
    };
    if version_num >= ONE_STREAM_VERSION {
        receiver.receive_one_stream(&mut connection).await?;
    } else {
        receiver.receive_separate_streams(&mut connection).await?;
    }
    // The verdict on page checksums comes here, after everything was sent: as an error in place of the end.
    let end = connection.read_rows().await?;
    connection.read_ready().await?;
    let (stop_lsn, end_timeline) = position(&end).ok_or_else(unexpected)?;
    if end_timeline != timeline {
        return Err(refused("take a base backup", "the server changed its timeline meanwhile"));
    }
    record.stop_lsn = stop_lsn;
    record.finished_at = (options.clock)();
    wait_for_segments(repository, &record, options.wal_timeout).await?;
    let json = serde_json::to_vec_pretty(&record).expect("a record is plain data");
    let put = UploadOptions { run: repository.run_id.clone(), ..UploadOptions::default() };
    repository.store.put_signed(&record.key(), json.into(), &put, &repository.author).await?;
    Ok(record)
}

mod tokio_postgres_error {
    use crate::error::WalError;
    pub(super) use postgres::server::ClientError as Error;

    pub(super) fn convert(e: &Error) -> WalError {
        postgres::PostgresError::from_pg("ask the server for its settings", e).into()
    }
}

fn refused(doing: &str, why: &str) -> WalError {
    WalError::new(WalErrorKind::Database, doing, why, "nothing was recorded; try again")
}

fn backup_command(version_num: u32, fast: bool) -> String {
    if version_num >= ONE_STREAM_VERSION {
        let checkpoint = if fast { "fast" } else { "spread" };
        format!(
            "BASE_BACKUP (LABEL 'holdfast', CHECKPOINT '{checkpoint}', WAIT false, TABLESPACE_MAP true, MANIFEST 'yes')"
        )
    } else {
        let checkpoint = if fast { " FAST" } else { "" };
        format!("BASE_BACKUP LABEL 'holdfast'{checkpoint} NOWAIT TABLESPACE_MAP MANIFEST 'yes'")
    }
}

fn column(rows: &[TextRow], at: usize) -> Option<&str> {
    rows.first()?.get(at)?.as_deref()
}

/// A position and its timeline, of a result's first row.
fn position(rows: &[TextRow]) -> Option<(Lsn, TimelineId)> {
    Some((column(rows, 0)?.parse().ok()?, column(rows, 1)?.parse().ok()?))
}

/// A file on its way into the store.
struct OpenArchive {
    name: String,
    location: Option<String>,
    chunks: pipe::ChunkSender,
    encoding: JoinHandle<Result<ArchiveDigests, codec::ArchiveError>>,
    upload: JoinHandle<Result<UploadReceipt, WalError>>,
    key: String,
}

struct ArchiveReceiver<'a> {
    repository: &'a WalRepository,
    record: &'a mut BaseBackupRecord,
    tablespaces: &'a [TextRow],
    current: Option<OpenArchive>,
}

impl ArchiveReceiver<'_> {
    /// PostgreSQL 15 and later: every archive and the manifest in one stream, each begun by its name.
    async fn receive_one_stream(
        &mut self,
        connection: &mut ReplicationConnection,
    ) -> Result<(), WalError> {
        loop {
            let message = connection.read_message().await?;
            match (message.tag, message.body.first()) {
                (b'H', _) | (b'd', Some(b'p')) => {}
                (b'd', Some(b'n')) => {
                    let mut parts = message.body[1..].split(|b| *b == 0);
                    let mut text = || parts.next().map(|t| String::from_utf8_lossy(t).into_owned());
                    let (name, location) =
                        (text().unwrap_or_default(), text().filter(|l| !l.is_empty()));
                    self.start_archive(name, location).await?;
                }
                (b'd', Some(b'm')) => self.start_archive("backup_manifest".into(), None).await?,
                (b'd', Some(b'd')) => self.write(message.body.slice(1..)).await?,
                (b'c', _) => return self.finish_archive().await,
                _ => return Err(refused("take a base backup", "what it sends is no base backup")),
            }
        }
    }

    /// PostgreSQL 13 and 14: a stream for each tablespace, the main one last, then one for the manifest. Their archives
    /// have no end of their own, two blocks of zeros.
    async fn receive_separate_streams(
        &mut self,
        connection: &mut ReplicationConnection,
    ) -> Result<(), WalError> {
        let mut names: Vec<(String, Option<String>)> = Vec::new();
        for row in self.tablespaces {
            let value = |at: usize| row.get(at).cloned().flatten();
            names.push((value(0).map_or("base.tar".into(), |oid| format!("{oid}.tar")), value(1)));
        }
        names.push(("backup_manifest".into(), None));
        for (name, location) in names {
            let is_tar = name != "backup_manifest";
            self.start_archive(name, location).await?;
            loop {
                let message = connection.read_message().await?;
                match message.tag {
                    b'H' => {}
                    b'd' => self.write(message.body).await?,
                    b'c' => break,
                    _ => {
                        return Err(refused(
                            "take a base backup",
                            "what it sends is no base backup",
                        ));
                    }
                }
            }
            if is_tar {
                self.write(Bytes::from_static(&[0; 1024])).await?;
            }
            self.finish_archive().await?;
        }
        Ok(())
    }

    async fn start_archive(
        &mut self,
        name: String,
        location: Option<String>,
    ) -> Result<(), WalError> {
        self.finish_archive().await?;
        // A name of the server's becomes a part of a key.
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._".contains(&b));
        if !plain || name.starts_with('.') || name.is_empty() {
            return Err(refused("take a base backup", "it names an archive as none is named"));
        }
        let key =
            format!("{}/{name}{}", self.record.folder(), file_extension(&self.repository.encoding));
        let put = UploadOptions { run: self.repository.run_id.clone(), ..UploadOptions::default() };
        let upload = self.repository.store.start_upload(&key, &put).await?;
        let (chunks, plain_in) = pipe::chunk_channel(16);
        let (stored_out, stored_in) = pipe::chunk_channel(8);
        let encoding: EncodingOptions = self.repository.encoding.clone();
        self.current = Some(OpenArchive {
            name,
            location,
            chunks,
            encoding: tokio::task::spawn_blocking(move || {
                pipe::encode_stream(plain_in, &encoding, stored_out)
            }),
            upload: tokio::spawn(store_chunks(upload, stored_in)),
            key,
        });
        Ok(())
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), WalError> {
        let Some(open) = &self.current else {
            return Err(refused("take a base backup", "data came before the name of its archive"));
        };
        if pipe::send_chunk(&open.chunks, chunk).await.is_ok() {
            return Ok(());
        }
        // The other end says why.
        self.finish_archive().await
    }

    async fn finish_archive(&mut self) -> Result<(), WalError> {
        let Some(open) = self.current.take() else { return Ok(()) };
        let doing = format!("store {}", open.name);
        let _ = pipe::send_end(&open.chunks).await;
        let internal = |e: tokio::task::JoinError| {
            WalError::new(WalErrorKind::Refused, &doing, e.to_string(), "")
        };
        // Why the store refused comes before what that did to the encoder.
        open.upload.await.map_err(internal)??;
        let digests = open.encoding.await.map_err(internal)?;
        let digests = digests.map_err(|e| WalError::from_archive(&doing, &e))?;
        self.repository.forget_temporary(&open.key)?;
        self.record.archives.push(BackupArchive {
            name: open.name,
            location: open.location,
            extension: file_extension(&self.repository.encoding).into(),
            digests,
        });
        Ok(())
    }
}

async fn store_chunks(
    mut upload: ObjectUpload,
    mut chunks: pipe::ChunkReceiver,
) -> Result<UploadReceipt, WalError> {
    loop {
        match pipe::recv_chunk(&mut chunks).await {
            Ok(Some(chunk)) => upload.write(chunk).await?,
            Ok(None) => return Ok(upload.finish().await?),
            Err(e) => {
                upload.abort().await;
                return Err(WalError::from_io("store a base backup", &e));
            }
        }
    }
}

/// Waits until every segment is archived that a backup needs: until then it could not be restored.
async fn wait_for_segments(
    repository: &WalRepository,
    record: &BaseBackupRecord,
    limit: Duration,
) -> Result<(), WalError> {
    let deadline = Instant::now() + limit;
    let (Some(size), Some(needed)) = (record.segment_size(), record.needed_segments()) else {
        return Err(refused(
            "take a base backup",
            "the server names a segment size that none can have",
        ));
    };
    for number in needed {
        let name = SegmentName::from_number(record.timeline, number, size);
        let file = WalFileName::Segment(name);
        if !repository.wait_until_stored(record.system, &file, deadline).await? {
            let why = format!(
                "the segment {name} that it needs was not archived within {} s",
                limit.as_secs()
            );
            let hint = "see whether archiving works (pg_stat_archiver); on a standby the primary must archive it";
            return Err(WalError::new(WalErrorKind::Late, "record the base backup", why, hint));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_fits_the_version() {
        assert!(
            backup_command(150_004, true)
                .starts_with("BASE_BACKUP (LABEL 'holdfast', CHECKPOINT 'fast', WAIT false")
        );
        let old = backup_command(140_000, true);
        assert_eq!(old, "BASE_BACKUP LABEL 'holdfast' FAST NOWAIT TABLESPACE_MAP MANIFEST 'yes'");
        assert!(!backup_command(130_000, false).contains("FAST"));
    }
}

//! From a store to plain bytes: read, hashed, decrypted, decompressed.

use crate::{BackupKeys, RestoreError, RestoreErrorKind};
use codec::{
    ArchiveDecoder, ArchiveDigests, DecryptionKeys, EncodingLayers, PayloadFormat, StreamDigest,
    pipe::{self, ExpectedDigests},
};
use postgres::restore::PgDumpFormat;
use std::{
    io::{self, Read as _},
    time::Duration,
};
use storage::{BackupManifest, BackupStore, StoredBackup, manifest::ManifestFormat};
use tokio::{sync::oneshot, task::spawn_blocking, time::sleep};

/// How long the reading may go on once nobody takes what is read: a store that answers nothing more would keep us.
const IDLE_READ_TIMEOUT: Duration = Duration::from_mins(1);

/// Pieces that wait between two stages, of about 256 KiB each.
const CHANNEL_CAPACITY: usize = 8;

/// What the plain bytes of a backup are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadInfo {
    /// What was undone.
    pub layers: EncodingLayers,
    /// What can be restored; none for CSV and what is not known.
    pub format: Option<PgDumpFormat>,
}

/// Which hashes of a manifest are looked at; a backup without one has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HashCheck {
    /// Of what is stored and of what is inside.
    Both,
    /// Of what is stored. What is inside follows from it, and its compression has a checksum of its own.
    Stored,
}

/// A backup that went through `consume`.
pub(crate) struct FetchedBackup<T> {
    /// What `consume` made of it.
    pub(crate) value: T,
    /// Hashes of all of it, or why it could not be read. [`None`] when `consume` did not want the rest.
    pub(crate) digests: Option<Result<ArchiveDigests, RestoreError>>,
}

/// Sends a backup's plain bytes through `consume`. The stream ends cleanly only when all was read and, with a manifest,
/// its `hashes` are the manifest's.
///
/// # Errors
/// If what the backup is can't be found out: no key, damaged first bytes, not there.
pub(crate) async fn fetch_backup<T>(
    store: &BackupStore,
    backup: &StoredBackup,
    opening: &BackupKeys,
    hashes: HashCheck,
    consume: impl AsyncFnOnce(PayloadInfo, pipe::ChunkReceiver) -> T,
) -> Result<FetchedBackup<T>, RestoreError> {
    let (stored_in, stored_out) = pipe::chunk_channel(CHANNEL_CAPACITY);
    let (plain_in, plain_out) = pipe::chunk_channel(CHANNEL_CAPACITY);
    let (tell, told) = oneshot::channel();
    let known = backup.committed_manifest().map(|m| (payload_info(m), expected_digests(m)));
    let keys = opening.keys.clone();
    let decoding =
        spawn_blocking(move || decode_payload(known, hashes, &keys, stored_out, plain_in, tell));
    let (finish, finished) = oneshot::channel();
    let consume = async {
        let value = match told.await {
            Ok(inside) => Some(consume(inside, plain_out).await),
            Err(_) => None,
        };
        let _ = finish.send(());
        value
    };
    let read = async {
        tokio::select! {
            read = store.stream_object(&backup.key, stored_in) => read,
            () = async { let _ = finished.await; sleep(IDLE_READ_TIMEOUT).await } => {
                let why = "the store gives nothing more";
                Err(storage::StoreError::new(storage::StoreErrorKind::Unreachable, format!("read {}", backup.uri), why, ""))
            }
        }
    };
    let (read, done, value) = tokio::join!(read, decoding, consume);
    let done = done.map_err(|e| {
        RestoreError::new(
            RestoreErrorKind::Refused,
            format!("read {}", backup.uri),
            e.to_string(),
            "report this fault",
        )
    })?;
    // The store's own error says more than what it did to the decoder.
    let sums = match (read, done) {
        (Err(e), Err(_)) => Some(Err(e.into())),
        (_, Err(codec::ArchiveError::Io(e))) if e.kind() == io::ErrorKind::BrokenPipe => None,
        (_, Err(e)) => Some(Err(RestoreError::from_archive_error(&backup.uri, &e))),
        (_, Ok(sums)) => Some(Ok(sums)),
    };
    match (value, sums) {
        (Some(value), sums) => Ok(FetchedBackup { value, digests: sums }),
        (None, Some(Err(e))) => Err(e),
        (None, _) => {
            let why = "its first bytes could not be read";
            Err(RestoreError::new(
                RestoreErrorKind::Damaged,
                format!("read {}", backup.uri),
                why,
                "",
            ))
        }
    }
}

/// What the manifest says.
fn payload_info(manifest: &BackupManifest) -> PayloadInfo {
    let stored = match manifest.format {
        ManifestFormat::Custom => Some(PgDumpFormat::Custom),
        ManifestFormat::Plain => Some(PgDumpFormat::Plain),
        ManifestFormat::Csv | ManifestFormat::Rdb => None,
    };
    PayloadInfo { layers: manifest.layers, format: stored }
}

/// The hashes of a manifest; none when they are none, which [`storage::Manifest::read`] refuses before.
fn expected_digests(manifest: &BackupManifest) -> Option<ArchiveDigests> {
    let digest = |bytes, sha256: &str| Some(StreamDigest { bytes, sha256: sha256.parse().ok()? });
    Some(ArchiveDigests {
        plaintext: digest(manifest.plain.bytes, &manifest.plain.sha256)?,
        stored: digest(manifest.file.bytes, &manifest.file.sha256)?,
    })
}

fn decode_payload(
    known: Option<(PayloadInfo, Option<ArchiveDigests>)>,
    hashes: HashCheck,
    keys: &DecryptionKeys,
    from: pipe::ChunkReceiver,
    to: pipe::ChunkSender,
    tell: oneshot::Sender<PayloadInfo>,
) -> Result<ArchiveDigests, codec::ArchiveError> {
    if let Some((inside, expected)) = known {
        let _ = tell.send(inside);
        let against = match (&expected, hashes) {
            (None, _) => ExpectedDigests::Nothing,
            (Some(sums), HashCheck::Both) => ExpectedDigests::Both(sums),
            (Some(sums), HashCheck::Stored) => ExpectedDigests::Stored(sums),
        };
        return pipe::decode_stream(from, &inside.layers, keys, against, to);
    }
    let (layers, content, source) = codec::detect_layers(pipe::PipeReader::new(from), keys)?;
    let stored = match content {
        PayloadFormat::Custom => Some(PgDumpFormat::Custom),
        PayloadFormat::Plain => Some(PgDumpFormat::Plain),
        PayloadFormat::Unknown => None,
    };
    let _ = tell.send(PayloadInfo { layers, format: stored });
    let mut writer = pipe::PipeWriter::new(to);
    let copied = (|| {
        let mut decoder = ArchiveDecoder::new(source, &layers, keys)?;
        let mut piece = vec![0; 64 << 10];
        loop {
            let got = decoder.read(&mut piece)?;
            if got == 0 {
                return decoder.finish();
            }
            io::Write::write_all(&mut writer, &piece[..got])?;
        }
    })();
    match copied {
        Ok(sums) => writer.finish().map(|()| sums).map_err(codec::ArchiveError::from),
        Err(e) => {
            writer.finish_with_error(io::Error::new(io::ErrorKind::InvalidData, e.to_string()));
            Err(e)
        }
    }
}

/// Reads a stream to its end and forgets it; how many bytes came.
pub(crate) async fn drain_stream(mut from: pipe::ChunkReceiver) -> u64 {
    let mut bytes = 0;
    while let Ok(Some(piece)) = pipe::recv_chunk(&mut from).await {
        bytes += piece.len() as u64;
    }
    bytes
}

/// Whether the keys open a backup: reads its first bytes only.
///
/// # Errors
/// As [`RestoreErrorKind::Key`], [`RestoreErrorKind::Damaged`] or [`RestoreErrorKind::Store`].
pub async fn probe_payload(
    store: &BackupStore,
    backup: &StoredBackup,
    opening: &BackupKeys,
) -> Result<PayloadInfo, RestoreError> {
    let first =
        async |inside, mut from: pipe::ChunkReceiver| match pipe::recv_chunk(&mut from).await {
            Ok(Some(_)) => Ok(inside),
            Ok(None) => Err("it is empty".to_owned()),
            Err(e) => Err(e.to_string()),
        };
    let fetched = fetch_backup(store, backup, opening, HashCheck::Both, first).await?;
    match (fetched.value, fetched.digests) {
        (Ok(inside), None | Some(Ok(_))) => Ok(inside),
        (_, Some(Err(e))) => Err(e),
        (Err(why), _) => Err(RestoreError::new(
            RestoreErrorKind::Damaged,
            format!("read {}", backup.uri),
            why,
            "",
        )),
    }
}

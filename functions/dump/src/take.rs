//! One dump, from the lease to the commit record. Stopped at any point, it leaves nothing that counts as a backup.
//!
//! Lease, leftovers of dead runs, dump -> compress -> encrypt -> hash -> upload in one pass, read back, `.sha256`, and
//! the manifest last.

use crate::{
    fault::{error_from_archive, error_from_postgres},
    means,
    plan::DumpDatabase,
    record,
    same::{self, PreviousDump},
};
use bytes::Bytes;
use codec::{ArchiveDigests, pipe};
use jiff::Timestamp;
use postgres::{
    ConnectionConfig,
    dump::{CsvSource, DumpFileFormat, DumpOptions, DumpSummary},
    lock::try_advisory_lock,
};
use shared::{
    aws::{OperationError, OperationErrorKind},
    policy::{self, DumpCompression, DumpFormat, DumpRule, PostgresGroup},
    run::RunContext,
    secret::SecretResolver,
    signing::SigningAuthor,
};
use std::{io, num::NonZero, time::Duration};
use storage::{
    BackupManifest, BackupStore, ObjectUpload, TrustPolicy, UploadOptions, UploadReceipt, beside,
    place::{OpenStore, object_lock_until},
};
use tokio::{
    sync::mpsc,
    task::spawn_blocking,
    time::{Instant, sleep_until, timeout},
};

/// Pieces in each channel: of 256 KiB at most, so that both hold 4 MiB together.
const CHANNEL_CAPACITY: usize = 8;
/// How long a table may be locked by somebody else before the dump gives up.
const LOCK_WAIT_TIMEOUT: Duration = Duration::from_mins(5);
/// Connections that read, where the policy does not say how many.
const DEFAULT_JOBS: u8 = 2;

/// A group's server, store and rules: what every dump of it needs.
#[derive(Debug)]
pub(crate) struct GroupDumpContext<'a> {
    pub(crate) world: &'a RunContext<'a>,
    pub(crate) secrets: &'a SecretResolver<'a>,
    pub(crate) rules: &'a PostgresGroup,
    pub(crate) server: &'a ConnectionConfig,
    pub(crate) stored: &'a OpenStore<'a>,
    pub(crate) author: &'a SigningAuthor,
    /// What counts there; of the moment at which the run began.
    pub(crate) trust: &'a TrustPolicy,
}

/// A dump that was taken.
#[derive(Debug)]
pub(crate) struct CompletedDump {
    /// Its key.
    pub(crate) key: String,
    /// Its commit record.
    pub(crate) manifest: BackupManifest,
    /// Whether it was there already, and is noted to be still true.
    pub(crate) unchanged: bool,
}

/// Takes a dump and says what it came to.
///
/// # Errors
/// If any part of it failed; the kind says which.
pub(crate) async fn dump_database(
    ground: &GroupDumpContext<'_>,
    take: &DumpDatabase,
    dump: &DumpRule,
) -> Result<CompletedDump, OperationError> {
    let GroupDumpContext { world, secrets, server, stored, author, trust, .. } = ground;
    stored.ensure_owned(trust, author, world).await.map_err(OperationError::from)?;
    let recipe = means::encoding_options(secrets, dump).await?;
    let session = server.connect(&take.database).await.map_err(|e| error_from_postgres(&e))?;
    let name = format!("{}/{}/{}", world.policy.owner(), take.group, take.database);
    let lease = try_advisory_lock(&session, &name).await.map_err(|e| error_from_postgres(&e))?;
    delete_orphans(ground, take).await;
    // Its data is of about now, however long ago it was due.
    let (named, table) = ((&take.reason, dump), take.table.as_deref().unwrap_or_default());
    let key = stored
        .choose_free_key(ground.rules, &take.database, named, table, now(), &world.run_id)
        .await;
    let key = key.map_err(OperationError::from)?;

    let size = postgres::dump::probe_server(server, &take.database)
        .await
        .map_err(|e| error_from_postgres(&e))?;
    let put = UploadOptions {
        run: world.run_id.clone(),
        class: stored.initial_storage_class(&ground.rules.tiers),
        lock_until: stored.policy.lock.and_then(|_| object_lock_until(&dump.keep, world.now)),
        size_hint: size.database_bytes,
    };
    let work = Box::pin(stream_dump(ground, take, &key, dump, &recipe, &put));
    let flowed = match world.deadline.remaining() {
        None => work.await?,
        Some(left) => timeout(left, work).await.map_err(|_| deadline_error(take))??,
    };
    // A lease that was lost meanwhile may be another run's, which may be cleaning up after us.
    lease.ensure_held().await.map_err(|e| error_from_postgres(&e))?;
    match flowed {
        StreamOutcome::Stored(dumped, sums, written) => {
            let manifest = record::build_manifest(
                ground, take, &key, dump, &recipe, &put, *dumped, &sums, written,
            );
            commit_dump(&stored.store, &key, &manifest, &put, author).await?;
            Ok(CompletedDump { key, manifest, unchanged: false })
        }
        StreamOutcome::Same(before, at) => {
            same::write_unchanged_marker(ground, take, &before, at).await?;
            let PreviousDump { key, manifest } = *before;
            Ok(CompletedDump { key, manifest, unchanged: true })
        }
    }
}

/// What became of the one pass.
enum StreamOutcome {
    /// It is stored.
    Stored(Box<DumpSummary>, ArchiveDigests, UploadReceipt),
    /// It holds what this one holds, as of this time, and is not stored.
    Same(Box<PreviousDump>, Timestamp),
}

/// Makes a file a backup: its hash, then its commit record, last of all.
///
/// # Errors
/// If the store refuses; the file counts as nothing then.
pub async fn commit_dump(
    store: &BackupStore,
    key: &str,
    manifest: &BackupManifest,
    put: &UploadOptions,
    author: &SigningAuthor,
) -> Result<(), OperationError> {
    let sums = storage::manifest::sha256sum_line(&manifest.file.sha256, key);
    store
        .put_if_absent(&beside::checksum_key(key), sums.into(), put)
        .await
        .map_err(OperationError::from)?;
    let json = manifest.to_json().into();
    store
        .put_signed(&beside::manifest_key(key), json, put, author)
        .await
        .map_err(OperationError::from)
}

#[expect(clippy::disallowed_methods, reason = "a dump begins and ends long after its run began")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

fn deadline_error(take: &DumpDatabase) -> OperationError {
    OperationError::with_hint(
        OperationErrorKind::Late,
        format!("dump {}", take.database),
        "the run's time was over",
        "give it more time: raise jobs, or run it where there is no limit, such as on Fargate",
    )
}

/// What dead runs left behind of this database. We have its lease, so none of it is a living run's. What can't be
/// cleaned up costs a little and harms nothing: it is no reason not to dump.
async fn delete_orphans(ground: &GroupDumpContext<'_>, take: &DumpDatabase) {
    let Ok(forms) = ground.stored.key_templates(ground.rules) else { return };
    let store = &ground.stored.store;
    let found = match store.list_orphans(&forms).await {
        Ok(found) => found,
        Err(e) => return tracing::warn!(asset = take.database, "leftovers can't be listed: {e}"),
    };
    let alone = ground.rules.databases.only().is_some();
    let ours = |database: &Option<String>| match database {
        Some(database) => *database == take.database,
        None => alone,
    };
    for left in found.iter().filter(|l| ours(&l.database)) {
        match store.delete_orphan(left).await {
            Ok(()) => {
                tracing::info!(key = left.key, "cleaned up what a dead run left: {}", left.key);
            }
            Err(e) => tracing::warn!(key = left.key, "a dead run's leftover stays: {e}"),
        }
    }
}

/// The one pass.
async fn stream_dump(
    ground: &GroupDumpContext<'_>,
    take: &DumpDatabase,
    key: &str,
    dump: &DumpRule,
    recipe: &codec::EncodingOptions,
    put: &UploadOptions,
) -> Result<StreamOutcome, OperationError> {
    let what = dump_options(dump, take);
    let (plain_to, plain_from) = pipe::chunk_channel(CHANNEL_CAPACITY);
    let (stored_to, stored_from) = pipe::chunk_channel(CHANNEL_CAPACITY);
    let mut upload =
        ground.stored.store.start_upload(key, put).await.map_err(OperationError::from)?;
    let encoding = {
        let recipe = recipe.clone();
        spawn_blocking(move || pipe::encode_stream(plain_from, &recipe, stored_to))
    };
    let most = ground.stored.policy.bandwidth.as_ref();
    let (dumped, sums, uploaded) = tokio::join!(
        postgres::dump::dump_database(ground.server, &take.database, &what, plain_to),
        encoding,
        upload_stream(stored_from, &mut upload, most, |_| {}),
    );
    let sums = sums.unwrap_or_else(|e| Err(codec::ArchiveError::Io(io::Error::other(e))));
    // The one that broke off the others is the cause: a store that refuses ends the stream before it, a dump that fails
    // ends the stream after it.
    let doing = || format!("encode the dump of {}", take.database);
    let failed = match (uploaded, sums, dumped) {
        (Err(UploadError::Store(e)), _, _) => e.into(),
        (_, Err(e @ codec::ArchiveError::Key(_)), _) => error_from_archive(&doing(), &e),
        (_, _, Err(e)) => error_from_postgres(&e),
        (_, Err(e), _) => error_from_archive(&doing(), &e),
        (Err(UploadError::Cut(e)), _, _) => {
            error_from_archive(&doing(), &codec::ArchiveError::Io(e))
        }
        (Ok(()), Ok(sums), Ok(mut dumped)) => {
            // The server's clock tells it, and what is of the future would count nowhere.
            dumped.data_time = dumped.data_time.min(now());
            let before = match &take.dedup_candidate {
                Some(key) => same::find_identical_dump(ground, key, dump, recipe, &dumped).await,
                None => Ok(None),
            };
            if let Some(before) = before.transpose() {
                upload.abort().await;
                return before.map(|b| StreamOutcome::Same(Box::new(b), dumped.data_time));
            }
            let written = upload.finish().await.map_err(OperationError::from)?;
            if written.bytes != sums.stored.bytes {
                let why = format!(
                    "{} bytes were sent and {} are there",
                    sums.stored.bytes, written.bytes
                );
                let doing = format!("read back {key}");
                return Err(OperationError::with_hint(
                    OperationErrorKind::Store,
                    doing,
                    why,
                    "dump again; it does not count",
                ));
            }
            return Ok(StreamOutcome::Stored(Box::new(dumped), sums, written));
        }
    };
    upload.abort().await;
    Err(failed)
}

/// Why sending ended early.
#[derive(Debug)]
pub enum UploadError {
    /// The store refused.
    Store(storage::StoreError),
    /// The stream was cut.
    Cut(io::Error),
}

/// Sends a stream into an upload, at most `most` bytes a second, and shows each piece to `see`.
///
/// # Errors
/// If the store refuses, or the stream was cut.
pub async fn upload_stream(
    mut from: mpsc::Receiver<io::Result<Bytes>>,
    upload: &mut ObjectUpload,
    most: Option<&policy::text::ByteSize>,
    mut see: impl FnMut(&[u8]),
) -> Result<(), UploadError> {
    let began = Instant::now();
    let mut sent = 0_u64;
    while let Some(piece) = pipe::recv_chunk(&mut from).await.map_err(UploadError::Cut)? {
        sent += piece.len() as u64;
        see(&piece);
        upload.write(piece).await.map_err(UploadError::Store)?;
        if let Some(most) = most {
            let due = Duration::from_millis(sent.saturating_mul(1000) / most.byte_count().max(1));
            sleep_until(began + due).await;
        }
    }
    Ok(())
}

fn dump_options(dump: &DumpRule, take: &DumpDatabase) -> DumpOptions {
    let level = dump.level.map_or(6, |l| u32::from(l.get()));
    let format = match (dump.format, &take.table) {
        (DumpFormat::Csv, Some(name)) => DumpFileFormat::Csv(
            match dump.queries.iter().find(|(n, _)| n.as_str() == name).map(|(_, q)| q) {
                Some(query) => CsvSource::Query(query.clone()),
                None => CsvSource::Table(name.clone()),
            },
        ),
        (DumpFormat::Plain, _) => DumpFileFormat::Plain,
        _ => DumpFileFormat::Custom {
            zlib: (dump.compress == DumpCompression::Gzip).then_some(level),
        },
    };
    DumpOptions {
        format,
        tables: if dump.format == DumpFormat::Csv { Vec::new() } else { dump.tables.clone() },
        jobs: usize::from(dump.jobs.map_or(DEFAULT_JOBS, NonZero::get)),
        lock_wait: LOCK_WAIT_TIMEOUT,
        fingerprint: dump.skip_unchanged,
    }
}

/// The line that a finished dump is reported with.
pub(crate) fn result_message(taken: &CompletedDump, took: Duration) -> String {
    let m = &taken.manifest;
    if taken.unchanged {
        let took = took.as_secs();
        return format!(
            "{} is still true: nothing changed, nothing was stored, {took} s",
            m.file.name
        );
    }
    let rows: u64 = m.tables.iter().map(|t| t.rows).sum();
    format!(
        "{}: {} bytes stored of {} read, {rows} rows in {} tables, {} s",
        m.file.name,
        m.file.bytes,
        m.plain.bytes,
        m.tables.len(),
        took.as_secs()
    )
}

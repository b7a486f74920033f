//! One RDB file, from the server's stream to the commit record. Stopped at any point, it leaves nothing that counts.
//!
//! Stream, walk, compress, encrypt, hash and upload are one pass in bounded memory; then the size is read back, and hash
//! and record are written. A stream that is cut, or whose CRC64 is wrong, gives no record.

use crate::{
    fault::error_from_redis,
    observe::{RdbGroup, connect_config},
    source::{OpenRdbSource, open_source},
};
use codec::{ArchiveDigests, ArchiveError, EncodingOptions, pipe};
use dump::{
    DumpDatabase, UploadError, commit_dump, fault::error_from_archive, means, upload_stream,
};
use jiff::Timestamp;
use redis::walk_rdb;
use shared::{
    aws::{OperationError, OperationErrorKind},
    policy::DumpRule,
    run::RunContext,
    secret::SecretResolver,
    signing::SigningAuthor,
};
use std::{io, time::Duration};
use storage::{
    BackupManifest, TrustPolicy, UploadOptions, UploadReceipt,
    manifest::{
        MANIFEST_VERSION, ManifestFormat, PlaintextInfo, RdbContents, RestoreCommandInput,
        ServerProperties, StoredFile, restore_command,
    },
    place::{OpenStore, object_lock_until},
};
use tokio::{task::spawn_blocking, time::timeout};

/// Pieces in each channel, of 256 KiB at most: three channels hold 6 MiB together.
const CHANNEL_CAPACITY: usize = 8;
/// What a run left behind longer ago than this is of a dead one: no RDB file takes a day.
const ORPHAN_AGE: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

/// A group's store and rules.
#[derive(Debug)]
pub(crate) struct RdbContext<'a> {
    pub(crate) world: &'a RunContext<'a>,
    pub(crate) secrets: &'a SecretResolver<'a>,
    pub(crate) group: RdbGroup<'a>,
    pub(crate) store: &'a OpenStore<'a>,
    pub(crate) author: &'a SigningAuthor,
    pub(crate) trust: &'a TrustPolicy,
}

/// What one pass gave.
struct StreamedRdb {
    contents: RdbContents,
    sums: ArchiveDigests,
    written: UploadReceipt,
    finished_at: Timestamp,
}

/// Takes an RDB file: its key and its record.
///
/// # Errors
/// If any part of it failed; the kind says which.
pub(crate) async fn take_rdb(
    context: &RdbContext<'_>,
    take: &DumpDatabase,
    rule: &DumpRule,
) -> Result<(String, BackupManifest), OperationError> {
    let RdbContext { world, secrets, group, store, author, trust } = context;
    store.ensure_owned(trust, author, world).await.map_err(OperationError::from)?;
    let recipe = means::encoding_options(secrets, rule).await?;
    delete_orphans(context).await;
    let config = connect_config(secrets, group.rules).await?;
    let work = Box::pin(async {
        let source = open_source(&config, group.rules.source).await?;
        let named = (&take.reason, rule);
        let key =
            store.choose_free_key(group.stored, &take.database, named, "", now(), &world.run_id);
        let key = key.await.map_err(OperationError::from)?;
        let put = UploadOptions {
            run: world.run_id.clone(),
            class: None,
            lock_until: store.policy.lock.and_then(|_| object_lock_until(&rule.keep, world.now)),
            size_hint: source
                .info
                .number("used_memory")
                .and_then(|n| u64::try_from(n).ok())
                .unwrap_or(0),
        };
        let (node, info) = (source.node.clone(), source.info.clone());
        let streamed = stream_rdb(context, &key, &recipe, &put, source).await?;
        let mut manifest = build_manifest(context, take, &key, &recipe, rule, &put, streamed);
        manifest.server.is_replica = info.is_replica();
        if let Some(contents) = &mut manifest.redis {
            contents.node = Some(node);
        }
        commit_dump(&store.store, &key, &manifest, &put, author).await?;
        Ok((key, manifest))
    });
    match world.deadline.remaining() {
        None => work.await,
        Some(left) => timeout(left, work).await.map_err(|_| {
            let doing = format!("read the RDB file of {}", group.name);
            let hint = "give it more time, or run it where there is no limit";
            OperationError::with_hint(
                OperationErrorKind::Late,
                doing,
                "the run's time was over",
                hint,
            )
        })?,
    }
}

/// What dead runs left behind. A server has no lease that a client could take, so only what is old is surely dead.
async fn delete_orphans(context: &RdbContext<'_>) {
    let RdbContext { group, store, .. } = context;
    let Ok(forms) = store.key_templates(group.stored) else { return };
    let found = match store.store.list_orphans(&forms).await {
        Ok(found) => found,
        Err(e) => return tracing::warn!(asset = %group.name, "leftovers can't be listed: {e}"),
    };
    let now = now();
    let dead = |at: Timestamp| now.duration_since(at) > ORPHAN_AGE;
    for left in found.iter().filter(|l| l.started_at.is_some_and(dead)) {
        match store.store.delete_orphan(left).await {
            Ok(()) => tracing::info!(key = left.key, "cleaned up what a dead run left"),
            Err(e) => tracing::warn!(key = left.key, "a dead run's leftover stays: {e}"),
        }
    }
}

/// The one pass.
async fn stream_rdb(
    context: &RdbContext<'_>,
    key: &str,
    recipe: &EncodingOptions,
    put: &UploadOptions,
    source: OpenRdbSource,
) -> Result<StreamedRdb, OperationError> {
    let (raw_to, raw_from) = pipe::chunk_channel(CHANNEL_CAPACITY);
    let (plain_to, plain_from) = pipe::chunk_channel(CHANNEL_CAPACITY);
    let (stored_to, stored_from) = pipe::chunk_channel(CHANNEL_CAPACITY);
    let store = &context.store.store;
    let mut upload = store.start_upload(key, put).await.map_err(OperationError::from)?;
    let framing = source.stream.framing;
    let at = now().as_millisecond();
    let walking = spawn_blocking(move || walk_rdb(raw_from, framing, Some(plain_to), at));
    let encoding = {
        let recipe = recipe.clone();
        spawn_blocking(move || pipe::encode_stream(plain_from, &recipe, stored_to))
    };
    let most = context.store.policy.bandwidth.as_ref();
    let (read, walked, sums, uploaded) = tokio::join!(
        source.stream.forward(raw_to),
        walking,
        encoding,
        upload_stream(stored_from, &mut upload, most, |_| {}),
    );
    let sums = sums.unwrap_or_else(|e| Err(ArchiveError::Io(io::Error::other(e))));
    let doing = || format!("encode the RDB file of {}", context.group.name);
    // The one that broke off the others is the cause: a store that refuses ends what is before it, a connection that is
    // lost ends what is after it.
    let failed = match (uploaded, sums, read, walked) {
        (Err(UploadError::Store(e)), ..) => e.into(),
        (_, Err(e @ ArchiveError::Key(_)), ..) => error_from_archive(&doing(), &e),
        (_, _, Err(e), _) | (_, _, _, Ok(Err(e))) => error_from_redis(&e),
        (_, _, _, Err(e)) => OperationError::from_message(doing(), e.to_string()),
        (_, Err(e), ..) => error_from_archive(&doing(), &e),
        (Err(UploadError::Cut(e)), ..) => error_from_archive(&doing(), &ArchiveError::Io(e)),
        (Ok(()), Ok(sums), Ok(()), Ok(Ok(contents))) => {
            let written = upload.finish().await.map_err(OperationError::from)?;
            if written.bytes != sums.stored.bytes {
                let why = format!(
                    "{} bytes were sent and {} are there",
                    sums.stored.bytes, written.bytes
                );
                return Err(OperationError::with_hint(
                    OperationErrorKind::Store,
                    format!("read back {key}"),
                    why,
                    "take it again; it does not count",
                ));
            }
            return Ok(StreamedRdb { contents, sums, written, finished_at: now() });
        }
    };
    upload.abort().await;
    Err(failed)
}

fn build_manifest(
    context: &RdbContext<'_>,
    take: &DumpDatabase,
    key: &str,
    recipe: &EncodingOptions,
    rule: &DumpRule,
    put: &UploadOptions,
    streamed: StreamedRdb,
) -> BackupManifest {
    let StreamedRdb { contents, sums, written, finished_at } = streamed;
    let layers = recipe.to_layers();
    // The server's clock tells it, and what is of the future would count nowhere.
    let forked = contents.created_at.and_then(|at| Timestamp::from_second(at).ok());
    let fetch = context.store.store.download_command(key);
    BackupManifest {
        holdfast: MANIFEST_VERSION,
        owner: context.world.policy.owner(),
        key: key.to_owned(),
        group: take.group.to_string(),
        database: take.database.clone(),
        reason: take.reason.to_string(),
        table: None,
        run: context.world.run_id.clone(),
        slot: take.slot,
        data_time: forked.unwrap_or(context.world.now).min(finished_at),
        finished_at,
        file: StoredFile {
            name: key.rsplit('/').next().unwrap_or(key).to_owned(),
            bytes: sums.stored.bytes,
            sha256: sums.stored.sha256.to_string(),
            checksum: written.checksum,
        },
        plain: PlaintextInfo {
            bytes: sums.plaintext.bytes,
            sha256: sums.plaintext.sha256.to_string(),
        },
        format: ManifestFormat::Rdb,
        recipients: dump::age_recipients(rule),
        key_id: dump::passphrase_name(rule),
        server: ServerProperties {
            version: contents.server_version.clone(),
            database_bytes: contents.used_memory.unwrap_or(0),
            ..ServerProperties::default()
        },
        client: format!("holdfast {}", env!("CARGO_PKG_VERSION")),
        extensions: Vec::new(),
        roles: Vec::new(),
        selection: Vec::new(),
        tables: Vec::new(),
        large_objects: 0,
        redis: Some(contents),
        fingerprint: None,
        locked_until: put.lock_until,
        restore: restore_command(&RestoreCommandInput {
            fetch: &fetch,
            layers: &layers,
            format: ManifestFormat::Rdb,
            table: None,
        }),
        layers,
    }
}

/// The line that a finished file is reported with.
pub(crate) fn result_message(m: &BackupManifest, took: Duration) -> String {
    let from = m.redis.as_ref().and_then(|c| c.node.as_deref()).unwrap_or_default();
    format!(
        "{}: {} bytes stored of {} read from {from}, {} keys, {} s",
        m.file.name,
        m.file.bytes,
        m.plain.bytes,
        m.row_count(),
        took.as_secs()
    )
}

#[expect(clippy::disallowed_methods, reason = "a file begins and ends long after its run began")]
fn now() -> Timestamp {
    Timestamp::now()
}

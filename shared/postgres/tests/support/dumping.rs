//! Dumps into memory, for the tests of dumps.

use super::Cluster;
use bytes::Bytes;
use postgres::{
    ConnectionConfig, PostgresError,
    dump::{DumpFileFormat, DumpOptions, DumpSummary, dump_database},
};
use std::{fs, io, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};
use tokio::sync::mpsc;

pub const CUSTOM: DumpFileFormat = DumpFileFormat::Custom { zlib: None };

pub fn what(format: DumpFileFormat) -> DumpOptions {
    let lock_wait = Duration::from_secs(20);
    DumpOptions { format, tables: Vec::new(), jobs: 3, lock_wait, fingerprint: true }
}

/// Dumps and collects; the bytes are whole only when the dump says so and the mark of the end came.
pub async fn collect(
    cluster: &Cluster,
    database: &str,
    what: &DumpOptions,
) -> Result<(DumpSummary, Vec<u8>), PostgresError> {
    collect_from(&cluster.server(), database, what).await
}

/// As [`collect`], from a server that is reached in another way.
pub async fn collect_from(
    server: &ConnectionConfig,
    database: &str,
    what: &DumpOptions,
) -> Result<(DumpSummary, Vec<u8>), PostgresError> {
    interrupted(server, database, what, || ()).await
}

/// Dumps, and does something when the first piece came, while nobody takes the next ones.
pub async fn interrupted(
    server: &ConnectionConfig,
    database: &str,
    what: &DumpOptions,
    fault: impl FnOnce() + Send + 'static,
) -> Result<(DumpSummary, Vec<u8>), PostgresError> {
    let (out, mut pieces) = mpsc::channel::<io::Result<Bytes>>(1);
    let receive = async {
        let (mut all, mut ended, mut fault) = (Vec::new(), false, Some(fault));
        while let Some(piece) = pieces.recv().await {
            let piece = piece.expect("errors are returned, not sent");
            assert!(!ended, "nothing follows the mark of the end");
            assert!(piece.len() <= 260 << 10, "a piece of {} bytes", piece.len());
            ended = piece.is_empty();
            all.extend_from_slice(&piece);
            if let Some(fault) = fault.take() {
                tokio::task::spawn_blocking(fault).await.unwrap();
            }
        }
        (all, ended)
    };
    let (dumped, (all, ended)) = tokio::join!(dump_database(server, database, what, out), receive);
    assert_eq!(dumped.is_ok(), ended, "the mark of the end: {dumped:?}");
    Ok((dumped?, all))
}

/// A folder with a `pg_dump` that says the real one's version and otherwise does what `script` says; `$real` is the real one.
pub fn false_tools(cluster: &Cluster, script: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let real = cluster.bin.join("pg_dump");
    let text = format!(
        "#!/bin/sh\nreal={}\n[ \"$1\" = --version ] && exec \"$real\" --version\n{script}\n",
        real.display()
    );
    script_at(&folder.path().join("pg_dump"), &text);
    folder
}

pub fn script_at(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

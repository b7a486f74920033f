//! The custom format as stock `pg_dump` writes all of it, passed on and counted: for databases whose names can't be put
//! into statements of ours, because their bytes are no UTF-8.

use super::{
    DumpOptions, DumpSource, DumpedData,
    child::{PgDumpFailure, PgDumpProcess},
    emit,
    fingerprint::DumpFingerprint,
    names::display_name,
    snapshot::SnapshotSession,
};
use crate::{
    PostgresError, PostgresErrorKind, TableCounts,
    restore::{ArchiveBlock, read_archive},
    toc::Toc,
};
use bytes::Bytes;
use std::{collections::HashMap, io};
use tokio::sync::mpsc;

/// Pieces that wait to be taken apart.
const CHANNEL_CAPACITY: usize = 4;

/// Runs `pg_dump` on the leader's snapshot to its end.
pub(super) async fn stream_pg_dump(
    job: &DumpSource<'_>,
    leader: &SnapshotSession,
    zlib: Option<u32>,
    what: &DumpOptions,
    out: &mpsc::Sender<io::Result<Bytes>>,
) -> Result<ArchiveCounts, PgDumpFailure> {
    let mut command = job.pg_dump_command(&leader.snapshot, what.lock_wait);
    command.args(["--format=custom", &format!("--compress={}", zlib.unwrap_or(0))]);
    let mut dumper = PgDumpProcess::spawn(command)?;
    let (give, take) = mpsc::channel(CHANNEL_CAPACITY);
    let (blocks, mut counted) = mpsc::channel(CHANNEL_CAPACITY);
    let reading = tokio::task::spawn_blocking(move || read_archive(take, &blocks));
    let count = async {
        let mut count = ArchiveCounter::default();
        while let Some(block) = counted.recv().await {
            count.count_block(block, what.fingerprint);
        }
        count
    };
    let forward = async {
        loop {
            let piece = dumper.read_chunk().await?;
            // What takes it apart may have failed; it says why.
            let _ = give.send(Ok(piece.clone())).await;
            if piece.is_empty() {
                drop(give);
                return dumper.wait_success().await;
            }
            out.send(Ok(piece)).await.map_err(|_| emit::receiver_closed_error())?;
        }
    };
    let (count, forwarded) = tokio::join!(count, forward);
    forwarded?;
    let read = reading.await.map_err(|e| unreadable_error(&e.to_string()))?;
    let toc = read.map_err(|e| unreadable_error(&e.to_string()))?;
    Ok(count.into_counts(&toc))
}

fn unreadable_error(why: &str) -> PostgresError {
    PostgresError::new(
        PostgresErrorKind::Tool,
        "read what pg_dump wrote",
        why,
        "run again, or install it afresh",
    )
}

/// What passed.
pub(super) struct ArchiveCounts {
    tables: Vec<TableCounts>,
    large_objects: u64,
    fingerprint: Option<DumpFingerprint>,
}

impl ArchiveCounts {
    pub(super) fn into_dumped_data(self, leader: SnapshotSession) -> DumpedData {
        let Self { tables, large_objects, fingerprint } = self;
        DumpedData { snapshot_session: leader, tables, large_objects, fingerprint }
    }
}

/// What passed so far.
#[derive(Default)]
struct ArchiveCounter {
    fingerprint: Option<DumpFingerprint>,
    /// Rows and bytes by data entry, in the order of the archive.
    entries: Vec<(i32, u64, u64)>,
    objects: u64,
    /// The large object whose bytes are passing.
    object: Option<u32>,
}

impl ArchiveCounter {
    fn count_block(&mut self, block: ArchiveBlock, fingerprint: bool) {
        match block {
            ArchiveBlock::Head(toc) => {
                self.fingerprint = fingerprint.then(|| DumpFingerprint::from_toc(&toc));
            }
            ArchiveBlock::Rows(id, bytes) => {
                if self.entries.last().is_none_or(|(last, ..)| *last != id) {
                    self.begin_part(id);
                    self.entries.push((id, 0, 0));
                }
                if let Some((_, rows, length)) = self.entries.last_mut() {
                    *rows += memchr::memchr_iter(b'\n', &bytes).count() as u64;
                    *length += bytes.len() as u64;
                }
                self.hash_data(&bytes);
            }
            ArchiveBlock::Object(oid, bytes) => {
                if self.object.replace(oid) != Some(oid) {
                    self.objects += 1;
                    self.begin_part(oid.cast_signed());
                }
                self.hash_data(&bytes);
            }
        }
    }

    fn begin_part(&mut self, number: i32) {
        if let Some(fingerprint) = &mut self.fingerprint {
            fingerprint.begin_part(number);
        }
    }

    fn hash_data(&mut self, bytes: &[u8]) {
        if let Some(fingerprint) = &mut self.fingerprint {
            fingerprint.update(bytes);
        }
    }

    /// By the names of the archive; one that has no rows has no block of its own here.
    fn into_counts(self, toc: &Toc) -> ArchiveCounts {
        let (mut tables, mut places) = (Vec::<TableCounts>::new(), HashMap::new());
        let counted: HashMap<i32, (u64, u64)> =
            self.entries.iter().map(|(id, rows, bytes)| (*id, (*rows, *bytes))).collect();
        for entry in toc.entries.iter().filter(|e| e.has_data && e.desc == "TABLE DATA") {
            let (rows, bytes) = counted.get(&entry.dump_id).copied().unwrap_or_default();
            let name = toc.table_name(entry).map(display_name).unwrap_or_default();
            super::add_row_count(&mut tables, &mut places, &name, rows, bytes);
        }
        ArchiveCounts { tables, large_objects: self.objects, fingerprint: self.fingerprint }
    }
}

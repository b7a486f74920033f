//! The custom format as stock `pg_dump` writes all of it, passed on and counted: for databases whose names can't be put
//! into statements of ours, because their bytes are no UTF-8.

use super::{
    Data, Job, What,
    child::{Dumper, Failed},
    emit,
    fingerprint::Fingerprint,
    names::shown,
    snapshot::Leader,
};
use crate::{
    Error, Kind, TableRows,
    restore::{Block, read_archive},
    toc::Toc,
};
use bytes::Bytes;
use std::{collections::HashMap, io};
use tokio::sync::mpsc;

/// Pieces that wait to be taken apart.
const WAITING: usize = 4;

/// Runs `pg_dump` on the leader's snapshot to its end.
pub(super) async fn pass(
    job: &Job<'_>,
    leader: &Leader,
    zlib: Option<u32>,
    what: &What,
    out: &mpsc::Sender<io::Result<Bytes>>,
) -> Result<Counted, Failed> {
    let mut command = job.pg_dump(&leader.snapshot, what.lock_wait);
    command.args(["--format=custom", &format!("--compress={}", zlib.unwrap_or(0))]);
    let mut dumper = Dumper::start(command)?;
    let (give, take) = mpsc::channel(WAITING);
    let (blocks, mut counted) = mpsc::channel(WAITING);
    let reading = tokio::task::spawn_blocking(move || read_archive(take, &blocks));
    let count = async {
        let mut count = Count::default();
        while let Some(block) = counted.recv().await {
            count.block(block, what.fingerprint);
        }
        count
    };
    let forward = async {
        loop {
            let piece = dumper.piece().await?;
            // What takes it apart may have failed; it says why.
            let _ = give.send(Ok(piece.clone())).await;
            if piece.is_empty() {
                drop(give);
                return dumper.finish().await;
            }
            out.send(Ok(piece)).await.map_err(|_| emit::gone())?;
        }
    };
    let (count, forwarded) = tokio::join!(count, forward);
    forwarded?;
    let read = reading.await.map_err(|e| broken(&e.to_string()))?;
    let toc = read.map_err(|e| broken(&e.to_string()))?;
    Ok(count.end(&toc))
}

fn broken(why: &str) -> Error {
    Error::new(Kind::Tool, "read what pg_dump wrote", why, "run again, or install it afresh")
}

/// What passed.
pub(super) struct Counted {
    tables: Vec<TableRows>,
    large_objects: u64,
    fingerprint: Option<Fingerprint>,
}

impl Counted {
    pub(super) fn with(self, leader: Leader) -> Data {
        let Self { tables, large_objects, fingerprint } = self;
        Data { leader, tables, large_objects, fingerprint }
    }
}

/// What passed so far.
#[derive(Default)]
struct Count {
    fingerprint: Option<Fingerprint>,
    /// Rows and bytes by data entry, in the order of the archive.
    entries: Vec<(i32, u64, u64)>,
    objects: u64,
    /// The large object whose bytes are passing.
    object: Option<u32>,
}

impl Count {
    fn block(&mut self, block: Block, fingerprint: bool) {
        match block {
            Block::Head(toc) => self.fingerprint = fingerprint.then(|| Fingerprint::of(&toc)),
            Block::Rows(id, bytes) => {
                if self.entries.last().is_none_or(|(last, ..)| *last != id) {
                    self.part(id);
                    self.entries.push((id, 0, 0));
                }
                if let Some((_, rows, length)) = self.entries.last_mut() {
                    *rows += memchr::memchr_iter(b'\n', &bytes).count() as u64;
                    *length += bytes.len() as u64;
                }
                self.data(&bytes);
            }
            Block::Object(oid, bytes) => {
                if self.object.replace(oid) != Some(oid) {
                    self.objects += 1;
                    self.part(oid.cast_signed());
                }
                self.data(&bytes);
            }
        }
    }

    fn part(&mut self, number: i32) {
        if let Some(fingerprint) = &mut self.fingerprint {
            fingerprint.part(number);
        }
    }

    fn data(&mut self, bytes: &[u8]) {
        if let Some(fingerprint) = &mut self.fingerprint {
            fingerprint.data(bytes);
        }
    }

    /// By the names of the archive; one that has no rows has no block of its own here.
    fn end(self, toc: &Toc) -> Counted {
        let (mut tables, mut places) = (Vec::<TableRows>::new(), HashMap::new());
        let counted: HashMap<i32, (u64, u64)> =
            self.entries.iter().map(|(id, rows, bytes)| (*id, (*rows, *bytes))).collect();
        for entry in toc.entries.iter().filter(|e| e.has_data && e.desc == "TABLE DATA") {
            let (rows, bytes) = counted.get(&entry.dump_id).copied().unwrap_or_default();
            let name = toc.table_name(entry).map(shown).unwrap_or_default();
            super::add(&mut tables, &mut places, &name, rows, bytes);
        }
        Counted { tables, large_objects: self.objects, fingerprint: self.fingerprint }
    }
}

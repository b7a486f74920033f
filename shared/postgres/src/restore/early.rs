//! Indexes of large tables while others are still loaded, as `pg_restore --jobs` does it: a database is ready when its
//! slowest index is, and that should not begin last.
//!
//! Only what depends on one finished table alone: its indexes and its keys, no foreign ones. Tables that are partitions or
//! inherit are left for later, since their locks reach other tables; and nothing waits for a lock for longer than
//! [`LOCK_WAIT`]: what does not get it is left for later too, so that no two connections can wait for each other.

use super::{definitions::DefinitionRestorer, loss::RestoreWarning};
use crate::{PostgresError, toc::Toc};
use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::mpsc;

/// Tables of fewer bytes have indexes of no time.
const MIN_TABLE_BYTES: u64 = 32 << 20;

/// How long an index waits for its table.
pub(crate) const LOCK_TIMEOUT: &str = "2s";

/// A table that is loaded: its data entry, and its bytes.
pub(crate) type LoadedTable = (i32, u64);

/// The lane in which indexes are made early.
#[derive(Debug, Default)]
pub(crate) struct IndexWorker {
    state: Mutex<IndexWorkerState>,
}

#[derive(Debug, Default)]
struct IndexWorkerState {
    done: HashSet<i32>,
    busy: Option<i32>,
}

impl IndexWorker {
    fn lock_state(&self) -> MutexGuard<'_, IndexWorkerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Entries that are done, or lost.
    pub(crate) fn finished_entries(&self) -> HashSet<i32> {
        self.lock_state().done.clone()
    }

    /// What must wait for the lane's end: the entry that is being made, all that depends on it, and event triggers, which
    /// would see the rest come.
    pub(crate) fn blocked_entries(&self, toc: &Toc) -> HashSet<i32> {
        let mut held: HashSet<i32> = self.lock_state().busy.into_iter().collect();
        if held.is_empty() {
            return held;
        }
        held.extend(toc.entries.iter().filter(|e| e.desc == "EVENT TRIGGER").map(|e| e.dump_id));
        loop {
            let before = held.len();
            for entry in &toc.entries {
                if entry.dependencies.iter().any(|d| held.contains(d)) {
                    held.insert(entry.dump_id);
                }
            }
            if held.len() == before {
                return held;
            }
        }
    }

    /// Takes tables that are loaded and makes their indexes, one after the other; answers what could not be made. Ends
    /// when no more tables come; what is not begun by then is left for later.
    pub(crate) async fn build_indexes(
        &self,
        definitions: &DefinitionRestorer<'_>,
        toc: &Toc,
        chosen: Option<&HashSet<i32>>,
        mut ready: mpsc::UnboundedReceiver<LoadedTable>,
    ) -> Result<Vec<RestoreWarning>, PostgresError> {
        let alone = indexes_by_table(toc);
        let mut all = Vec::new();
        while let Some((data, bytes)) = ready.recv().await {
            let entries = alone.get(&data).map(Vec::as_slice).unwrap_or_default();
            for id in entries.iter().filter(|id| chosen.is_none_or(|c| c.contains(id))) {
                // When the loading is over, all connections are better at it than one.
                if bytes < MIN_TABLE_BYTES || ready.is_closed() {
                    break;
                }
                self.lock_state().busy = Some(*id);
                let lost = definitions.try_entry_early(*id, LOCK_TIMEOUT).await?;
                self.lock_state().busy = None;
                if let Some(losses) = lost {
                    self.lock_state().done.insert(*id);
                    all.extend(losses);
                }
            }
        }
        Ok(all)
    }
}

/// For each data entry, the indexes and keys that depend on its table alone.
fn indexes_by_table(toc: &Toc) -> HashMap<i32, Vec<i32>> {
    let of = |desc: &str| {
        let entries = toc.entries.iter().filter(|e| e.desc == desc);
        entries.map(|e| (e.dump_id, e)).collect::<HashMap<_, _>>()
    };
    let tables = of("TABLE");
    let mut related: HashSet<i32> = HashSet::new();
    for entry in &toc.entries {
        let on: Vec<i32> =
            entry.dependencies.iter().copied().filter(|d| tables.contains_key(d)).collect();
        if entry.desc == "TABLE ATTACH" {
            related.extend(&on);
        } else if entry.desc == "TABLE" && !on.is_empty() {
            related.insert(entry.dump_id);
            related.extend(&on);
        }
    }
    let mut data_of: HashMap<i32, i32> = HashMap::new();
    for (id, entry) in of("TABLE DATA") {
        let table = entry.dependencies.iter().find(|d| tables.contains_key(d));
        if let Some(table) = table.filter(|t| !related.contains(t)) {
            data_of.insert(*table, id);
        }
    }
    let mut alone: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in toc.entries.iter().filter(|e| ["INDEX", "CONSTRAINT"].contains(&&*e.desc)) {
        let mut on: Vec<&i32> =
            entry.dependencies.iter().filter(|d| tables.contains_key(d)).collect();
        on.sort_unstable();
        on.dedup(); // an index of several columns names its table for each
        if let [table] = on[..]
            && let Some(data) = data_of.get(table)
        {
            alone.entry(*data).or_default().push(entry.dump_id);
        }
    }
    alone
}

#[cfg(test)]
mod tests {
    use super::{super::sample::sample_toc, *};

    #[test]
    fn what_depends_on_one_table_alone_may_be_made_early() {
        let toc = sample_toc(&[
            (1, "TABLE", &[]),
            (2, "TABLE", &[]),
            (3, "TABLE", &[]),
            (11, "TABLE DATA", &[1]),
            (12, "TABLE DATA", &[2]),
            (13, "TABLE DATA", &[3]),
            (21, "CONSTRAINT", &[1]),
            (22, "INDEX", &[1, 1, 1]),
            (23, "INDEX", &[2, 99, 2]),
            (24, "FK CONSTRAINT", &[1, 2, 21]),
            (25, "INDEX", &[1, 2]),
            (31, "TABLE ATTACH", &[3]),
            (32, "INDEX", &[3]),
        ]);
        assert_eq!(indexes_by_table(&toc), HashMap::from([(11, vec![21, 22]), (12, vec![23])]));
    }
}

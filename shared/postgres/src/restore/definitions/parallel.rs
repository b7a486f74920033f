//! Entries over several connections at once: none before what it depends on, and no two that lock each other's tables.

use super::{DefinitionRestorer, DefinitionWorker, RestoreWarning};
use crate::{PostgresError, toc::TocEntry};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use std::collections::HashSet;

/// `deadlock_detected`
const DEADLOCK_DETECTED: &str = "40P01";

/// What is run, and what may begin.
struct EntryQueue<'t> {
    waiting: Vec<&'t TocEntry>,
    running: Vec<&'t TocEntry>,
    /// Entries that are waiting or running.
    open: HashSet<i32>,
    tables: HashSet<i32>,
}

impl<'t> EntryQueue<'t> {
    fn new(waiting: Vec<&'t TocEntry>, tables: HashSet<i32>) -> Self {
        let open = waiting.iter().map(|e| e.dump_id).collect();
        Self { waiting, running: Vec::new(), open, tables }
    }

    /// The first that may begin. Where none may and none is running, dependencies go in a circle: then it is the first.
    fn next_entry(&mut self) -> Option<&'t TocEntry> {
        let may = |e: &&'t TocEntry| {
            e.dependencies.iter().all(|d| !self.open.contains(d))
                && self.running.iter().all(|r| !self.has_conflict(e, r))
        };
        let at = self.waiting.iter().position(may);
        let at = at.or_else(|| self.running.is_empty().then_some(0))?;
        if at >= self.waiting.len() {
            return None;
        }
        let entry = self.waiting.remove(at);
        self.running.push(entry);
        Some(entry)
    }

    /// Whether one of them needs a table for itself that the other one uses. Indexes of a table can be made together.
    fn has_conflict(&self, one: &TocEntry, other: &TocEntry) -> bool {
        let shared = || {
            let tables = one.dependencies.iter().filter(|d| self.tables.contains(d));
            tables.into_iter().any(|d| other.dependencies.contains(d))
        };
        !(one.desc == "INDEX" && other.desc == "INDEX") && shared()
    }

    fn finish_entry(&mut self, entry: &TocEntry) {
        self.running.retain(|e| e.dump_id != entry.dump_id);
        self.open.remove(&entry.dump_id);
    }
}

/// Runs the entries; those that met in a deadlock once more, one by one.
pub(super) async fn run_parallel(
    of: &DefinitionRestorer<'_>,
    entries: Vec<&TocEntry>,
) -> Result<Vec<RestoreWarning>, PostgresError> {
    let tables = of.toc.entries.iter().filter(|e| e.desc == "TABLE").map(|e| e.dump_id).collect();
    let mut idle: Vec<DefinitionWorker> = Vec::new();
    for _ in 0..of.how.jobs.min(entries.len()) {
        idle.push(of.connect_worker().await?);
    }
    let mut queue = EntryQueue::new(entries, tables);
    let (mut at_work, mut losses, mut again) = (FuturesUnordered::new(), Vec::new(), Vec::new());
    loop {
        while !idle.is_empty()
            && let Some(entry) = queue.next_entry()
            && let Some(mut worker) = idle.pop()
        {
            at_work.push(async move {
                let lost = of.restore_entry(&mut worker, entry).await;
                (worker, entry, lost)
            });
        }
        let Some((worker, entry, lost)) = at_work.next().await else { break };
        queue.finish_entry(entry);
        idle.push(worker);
        let lost = lost?;
        if lost.iter().any(|l| l.sqlstate.as_deref() == Some(DEADLOCK_DETECTED)) {
            again.push(entry);
        } else {
            losses.extend(lost);
        }
    }
    if let Some(mut worker) = idle.pop() {
        losses.extend(of.restore_in_order(&mut worker, again).await?);
    }
    Ok(losses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toc::Toc;

    fn toc() -> Toc {
        crate::restore::sample::sample_toc(&[
            (1, "TABLE", &[]),
            (2, "TABLE", &[]),
            (10, "INDEX", &[1]),
            (11, "INDEX", &[1]),
            (12, "CONSTRAINT", &[1]),
            (13, "CONSTRAINT", &[2]),
            (14, "FK CONSTRAINT", &[1, 2, 13]),
        ])
    }

    #[test]
    fn what_locks_a_table_waits_for_what_uses_it_and_what_depends_on_it_waits_too() {
        let toc = toc();
        let after = toc.entries.iter().filter(|e| e.dump_id >= 10).collect();
        let mut queue = EntryQueue::new(after, HashSet::from([1, 2]));
        let next = |queue: &mut EntryQueue<'_>| queue.next_entry().map(|e| e.dump_id);
        assert_eq!(next(&mut queue), Some(10));
        assert_eq!(next(&mut queue), Some(11), "two indexes of a table");
        assert_eq!(next(&mut queue), Some(13), "12 needs the table for itself");
        assert_eq!(next(&mut queue), None);
        for id in [10, 11] {
            queue.finish_entry(toc.entry_by_id(id).expect("it is there"));
        }
        assert_eq!(next(&mut queue), Some(12));
        assert_eq!(next(&mut queue), None, "14 needs what 13 makes");
        for id in [12, 13] {
            queue.finish_entry(toc.entry_by_id(id).expect("it is there"));
        }
        assert_eq!((next(&mut queue), next(&mut queue)), (Some(14), None));
    }

    #[test]
    fn dependencies_in_a_circle_end() {
        let toc = crate::restore::sample::sample_toc(&[(10, "RULE", &[11]), (11, "RULE", &[10])]);
        let mut queue = EntryQueue::new(toc.entries.iter().collect(), HashSet::new());
        let first = queue.next_entry().map(|e| e.dump_id);
        assert_eq!(first, Some(10));
        assert!(queue.next_entry().is_none(), "11 waits for 10");
        queue.finish_entry(toc.entry_by_id(10).expect("it is there"));
        assert_eq!(queue.next_entry().map(|e| e.dump_id), Some(11));
    }
}

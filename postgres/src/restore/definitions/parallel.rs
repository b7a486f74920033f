//! Entries over several connections at once: none before what it depends on, and no two that lock each other's tables.

use super::{Definitions, Loss, Worker};
use crate::{Error, toc::Entry};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use std::collections::HashSet;

/// `deadlock_detected`
const DEADLOCK: &str = "40P01";

/// What is run, and what may begin.
struct Queue<'t> {
    waiting: Vec<&'t Entry>,
    running: Vec<&'t Entry>,
    /// Entries that are waiting or running.
    open: HashSet<i32>,
    tables: HashSet<i32>,
}

impl<'t> Queue<'t> {
    fn new(waiting: Vec<&'t Entry>, tables: HashSet<i32>) -> Self {
        let open = waiting.iter().map(|e| e.dump_id).collect();
        Self { waiting, running: Vec::new(), open, tables }
    }

    /// The first that may begin. Where none may and none is running, dependencies go in a circle: then it is the first.
    fn next(&mut self) -> Option<&'t Entry> {
        let may = |e: &&'t Entry| {
            e.dependencies.iter().all(|d| !self.open.contains(d))
                && self.running.iter().all(|r| !self.conflict(e, r))
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
    fn conflict(&self, one: &Entry, other: &Entry) -> bool {
        let shared = || {
            let tables = one.dependencies.iter().filter(|d| self.tables.contains(d));
            tables.into_iter().any(|d| other.dependencies.contains(d))
        };
        !(one.desc == "INDEX" && other.desc == "INDEX") && shared()
    }

    fn end(&mut self, entry: &Entry) {
        self.running.retain(|e| e.dump_id != entry.dump_id);
        self.open.remove(&entry.dump_id);
    }
}

/// Runs the entries; those that met in a deadlock once more, one by one.
pub(super) async fn run(of: &Definitions<'_>, entries: Vec<&Entry>) -> Result<Vec<Loss>, Error> {
    let tables = of.toc.entries.iter().filter(|e| e.desc == "TABLE").map(|e| e.dump_id).collect();
    let mut idle: Vec<Worker> = Vec::new();
    for _ in 0..of.how.jobs.min(entries.len()) {
        idle.push(of.worker().await?);
    }
    let mut queue = Queue::new(entries, tables);
    let (mut at_work, mut losses, mut again) = (FuturesUnordered::new(), Vec::new(), Vec::new());
    loop {
        while !idle.is_empty()
            && let Some(entry) = queue.next()
            && let Some(mut worker) = idle.pop()
        {
            at_work.push(async move {
                let lost = of.entry(&mut worker, entry).await;
                (worker, entry, lost)
            });
        }
        let Some((worker, entry, lost)) = at_work.next().await else { break };
        queue.end(entry);
        idle.push(worker);
        let lost = lost?;
        if lost.iter().any(|l| l.code.as_deref() == Some(DEADLOCK)) {
            again.push(entry);
        } else {
            losses.extend(lost);
        }
    }
    if let Some(mut worker) = idle.pop() {
        losses.extend(of.in_order(&mut worker, again).await?);
    }
    Ok(losses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toc::Toc;

    fn toc() -> Toc {
        crate::restore::sample::toc(&[
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
        let mut queue = Queue::new(after, HashSet::from([1, 2]));
        let next = |queue: &mut Queue<'_>| queue.next().map(|e| e.dump_id);
        assert_eq!(next(&mut queue), Some(10));
        assert_eq!(next(&mut queue), Some(11), "two indexes of a table");
        assert_eq!(next(&mut queue), Some(13), "12 needs the table for itself");
        assert_eq!(next(&mut queue), None);
        for id in [10, 11] {
            queue.end(toc.entry(id).expect("it is there"));
        }
        assert_eq!(next(&mut queue), Some(12));
        assert_eq!(next(&mut queue), None, "14 needs what 13 makes");
        for id in [12, 13] {
            queue.end(toc.entry(id).expect("it is there"));
        }
        assert_eq!((next(&mut queue), next(&mut queue)), (Some(14), None));
    }

    #[test]
    fn dependencies_in_a_circle_end() {
        let toc = crate::restore::sample::toc(&[(10, "RULE", &[11]), (11, "RULE", &[10])]);
        let mut queue = Queue::new(toc.entries.iter().collect(), HashSet::new());
        let first = queue.next().map(|e| e.dump_id);
        assert_eq!(first, Some(10));
        assert!(queue.next().is_none(), "11 waits for 10");
        queue.end(toc.entry(10).expect("it is there"));
        assert_eq!(queue.next().map(|e| e.dump_id), Some(11));
    }
}

//! Which entries make large objects, and which set values.

use crate::toc::{Entry, Section, Toc};
use std::collections::HashSet;

/// The entries that make large objects, before their bytes come, and of what is said of those; none when there are none.
/// Until PostgreSQL 16 they are of the first section.
pub(crate) fn large_objects(toc: &Toc) -> HashSet<i32> {
    if !toc.entries.iter().any(|e| e.desc == "BLOB METADATA") {
        return HashSet::new();
    }
    let is = |e: &&Entry| {
        let about = e.section == Section::None && e.tag.starts_with("LARGE OBJECT");
        about || (e.section == Section::Data && e.desc == "BLOB METADATA")
    };
    toc.entries.iter().filter(is).map(|e| e.dump_id).collect()
}

/// The data section's other entries without data blocks.
pub(crate) fn values(toc: &Toc) -> HashSet<i32> {
    let objects = large_objects(toc);
    let is = |e: &&Entry| !e.has_data && !objects.contains(&e.dump_id);
    toc.entries.iter().filter(is).map(|e| e.dump_id).collect()
}

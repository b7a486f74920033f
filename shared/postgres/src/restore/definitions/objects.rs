//! Which entries make large objects, and which set values.

use crate::toc::{Toc, TocEntry, TocSection};
use std::collections::HashSet;

/// The entries that make large objects, before their bytes come, and of what is said of those; none when there are none.
/// Until PostgreSQL 16 they are of the first section.
pub(crate) fn large_object_entries(toc: &Toc) -> HashSet<i32> {
    if !toc.entries.iter().any(|e| e.desc == "BLOB METADATA") {
        return HashSet::new();
    }
    let is = |e: &&TocEntry| {
        let about = e.section == TocSection::None && e.tag.starts_with("LARGE OBJECT");
        about || (e.section == TocSection::Data && e.desc == "BLOB METADATA")
    };
    toc.entries.iter().filter(is).map(|e| e.dump_id).collect()
}

/// The data section's other entries without data blocks.
pub(crate) fn sequence_value_entries(toc: &Toc) -> HashSet<i32> {
    let objects = large_object_entries(toc);
    let is = |e: &&TocEntry| !e.has_data && !objects.contains(&e.dump_id);
    toc.entries.iter().filter(is).map(|e| e.dump_id).collect()
}

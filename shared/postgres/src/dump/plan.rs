//! What is read by which statement: the data of an archive, taken apart into units that several connections read.

use super::snapshot::TableInfo;
use crate::{
    PostgresError, PostgresErrorKind, quote_literal,
    toc::{Toc, TocEntry},
};
use std::collections::HashMap;

/// First version whose executor reads a range of `ctid` without reading the whole table.
/// <https://www.postgresql.org/docs/release/14.0/>
const MIN_TID_RANGE_VERSION: u32 = 140_000;

/// Large objects of a unit.
const OBJECTS_PER_UNIT: usize = 2000;

/// The data of one entry, in the order of the archive.
#[derive(Debug)]
pub(super) struct EntryData {
    pub(super) dump_id: i32,
    /// The table that its rows are loaded into, as SQL names it; none for large objects. Rows of a partition may be
    /// loaded through the root of its tree, when another server could sort them otherwise.
    pub(super) table: Option<String>,
    pub(super) units: Vec<ReadUnit>,
}

/// What one connection reads at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReadUnit {
    /// Rows, by a COPY that gives the same bytes when it is run again on the same snapshot, or one that may not.
    Rows { sql: String, repeatable: bool },
    /// Large objects.
    Objects(Vec<u32>),
}

/// OIDs of the tables whose data the archive holds.
pub(super) fn table_oids(toc: &Toc) -> Result<Vec<u32>, PostgresError> {
    let tables = toc.entries.iter().filter(|e| e.has_data && e.desc == "TABLE DATA");
    tables
        .map(|e| e.table_oid.parse().map_err(|_| unexpected_entry_error(e, "its OID is no number")))
        .collect()
}

/// Takes the data apart. `range` is about how many bytes of COPY text a unit of a large table should give; without it no
/// table is taken apart: a range costs the server a third more work, and is not read through a ring of few buffers as
/// a whole table is.
pub(super) fn plan_reads(
    toc: &Toc,
    tables: &[TableInfo],
    server_version_num: u32,
    range: Option<u64>,
) -> Result<Vec<EntryData>, PostgresError> {
    let by_oid: HashMap<u32, usize> = tables.iter().enumerate().map(|(i, t)| (t.oid, i)).collect();
    let entries = toc.entries_by_id();
    let utf8 = toc.encoding() == "UTF8";
    // Connections speak UTF-8, the data is in the encoding of the archive.
    let options = if utf8 {
        String::new()
    } else {
        format!(" WITH (ENCODING {})", quote_literal(toc.encoding()))
    };
    let mut parts = Vec::new();
    for entry in toc.entries.iter().filter(|e| e.has_data) {
        let (table, units) = match entry.desc.as_str() {
            "TABLE DATA" => {
                let oid = entry.table_oid.parse().ok();
                let at = oid.and_then(|oid: u32| by_oid.get(&oid).copied());
                let at =
                    at.ok_or_else(|| unexpected_entry_error(entry, "the table is not there"))?;
                let copy = entry.copy_stmt.as_deref().unwrap_or_default();
                let (mut name, mut columns) = parse_copy_statement(copy).ok_or_else(|| {
                    unexpected_entry_error(entry, "its COPY statement is not as expected")
                })?;
                if !(utf8 || copy.is_ascii()) {
                    // In the archive's own encoding; the server says its names in ours.
                    (name, columns) = (&tables[at].name, &tables[at].columns);
                }
                let layout = TableReadOptions {
                    range: range.filter(|_| server_version_num >= MIN_TID_RANGE_VERSION),
                    options: &options,
                };
                (Some(name.to_owned()), table_units(&tables[at], columns, &layout))
            }
            "BLOBS" => {
                let oids = large_object_oids(toc, entry, &entries)?;
                (
                    None,
                    oids.chunks(OBJECTS_PER_UNIT).map(|c| ReadUnit::Objects(c.to_vec())).collect(),
                )
            }
            other => {
                return Err(unexpected_entry_error(
                    entry,
                    &format!("data of the kind {other} is not known"),
                ));
            }
        };
        parts.push(EntryData { dump_id: entry.dump_id, table, units });
    }
    Ok(parts)
}

fn unexpected_entry_error(entry: &TocEntry, why: &str) -> PostgresError {
    let doing = format!("plan the data of {} {}", entry.desc, entry.tag);
    PostgresError::new(PostgresErrorKind::Tool, doing, why, "use the plain format, and report this")
}

/// `schema.table` and `(a, "b")` or nothing at all, of `COPY schema.table (a, "b") FROM stdin;`.
fn parse_copy_statement(copy: &str) -> Option<(&str, &str)> {
    let rest = copy.trim_end().strip_prefix("COPY ")?.strip_suffix(" FROM stdin;")?;
    // The first space outside of quotes ends the table's name.
    let mut quoted = false;
    let end = rest.bytes().position(|b| {
        quoted ^= b == b'"';
        b == b' ' && !quoted
    });
    let (name, columns) = rest.split_at(end.unwrap_or(rest.len()));
    let columns = columns.trim();
    let sound = columns.is_empty() || (columns.starts_with('(') && columns.ends_with(')'));
    sound.then_some((name, columns))
}

/// How tables are read.
struct TableReadOptions<'a> {
    /// About how many bytes a range of `ctid` should give; none where tables are read whole.
    range: Option<u64>,
    /// Options of COPY.
    options: &'a str,
}

fn table_units(table: &TableInfo, columns: &str, layout: &TableReadOptions<'_>) -> Vec<ReadUnit> {
    let TableReadOptions { range, options } = *layout;
    let TableInfo { name, condition, is_heap: heap, .. } = table;
    let list = columns.strip_prefix('(').and_then(|c| c.strip_suffix(')')).unwrap_or_default();
    if !condition.is_empty() {
        let sql = format!("COPY (SELECT {list} FROM ONLY {name} {condition}) TO STDOUT{options}");
        return vec![ReadUnit::Rows { sql, repeatable: false }];
    }
    let step = range.map_or(u64::MAX, |r| pages_per_range(table, r));
    if !heap || list.is_empty() || table.pages <= step.saturating_add(step / 2) {
        let sql = format!("COPY {name} {columns} TO STDOUT{options}");
        return vec![ReadUnit::Rows { sql, repeatable: *heap }];
    }
    let starts: Vec<u64> = (0..table.pages).step_by(usize::try_from(step).unwrap_or(1)).collect();
    // Open at both ends: pages that came after the count was taken hold nothing that the snapshot sees, and if one did
    // it would be here.
    let from = |i: usize| (i > 0).then(|| format!("ctid >= '({},0)'::pg_catalog.tid", starts[i]));
    let below =
        |i: usize| starts.get(i + 1).map(|next| format!("ctid < '({next},0)'::pg_catalog.tid"));
    (0..starts.len())
        .map(|i| {
            let bounds: Vec<String> = [from(i), below(i)].into_iter().flatten().collect();
            let bounds = bounds.join(" AND ");
            let sql =
                format!("COPY (SELECT {list} FROM ONLY {name} WHERE {bounds}) TO STDOUT{options}");
            ReadUnit::Rows { sql, repeatable: true }
        })
        .collect()
}

/// Blocks of a range that gives about `range` bytes of text. A block of the heap gives about its own size, one of TOAST
/// twice that: it is compressed, or binary that becomes hexadecimal.
fn pages_per_range(table: &TableInfo, range: u64) -> u64 {
    let heap = table.pages.max(1);
    let weight = heap + 2 * table.toast_pages;
    (range / 8192 * heap / weight).max(1)
}

/// OIDs of the large objects of a `BLOBS` entry. Since PostgreSQL 17 there are several, and each lists its objects in
/// the `BLOB METADATA` that it depends on; before that there was one, and each object had a `BLOB` entry.
fn large_object_oids(
    toc: &Toc,
    entry: &TocEntry,
    entries: &HashMap<i32, &TocEntry>,
) -> Result<Vec<u32>, PostgresError> {
    let bad = |e: &TocEntry| unexpected_entry_error(e, "the OID of a large object is no number");
    let metadata = (entry.dependencies.iter())
        .filter_map(|id| entries.get(id))
        .find(|e| e.desc == "BLOB METADATA");
    if let Some(metadata) = metadata {
        let lines = metadata.defn.lines().filter(|l| !l.trim().is_empty());
        return lines.map(|l| l.trim().parse().map_err(|_| bad(metadata))).collect();
    }
    let single = toc.entries.iter().filter(|e| e.desc == "BLOB");
    let mut oids: Vec<u32> =
        single.map(|e| e.tag.parse().map_err(|_| bad(e))).collect::<Result<_, _>>()?;
    oids.sort_unstable();
    Ok(oids)
}

#[cfg(test)]
mod tests;

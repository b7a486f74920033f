//! Which entries of an archive a choice of tables needs.
//!
//! `pg_restore --table` gives the table and its rows and nothing else: no key, no index, no type that a column has. Here
//! a chosen table comes as its users know it, with
//! - what it is made of: its schema, types, domains, functions of defaults, owned and identity sequences (and their values);
//! - what hangs on it alone: keys, indexes, checks, triggers, policies, rules, statistics, comments, grants;
//! - the definition, without rows, of each table that its own definition stands on (a parent it inherits from).
//!
//! Foreign keys, attached partitions and the like come when the table on their other side is chosen too. Large
//! objects, publications and event triggers belong to no table and stay away.

use crate::{
    PostgresError, PostgresErrorKind,
    toc::{Toc, TocEntry, TocSection},
};
use std::collections::{BTreeSet, HashMap, HashSet};

const TABLE_KINDS: [&str; 4] = ["TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE"];

/// Kinds that hang on the table they depend on; they come when all their tables do.
const DEPENDENT_KINDS: [&str; 19] = [
    "SEQUENCE",
    "SEQUENCE OWNED BY",
    "SEQUENCE SET",
    "DEFAULT",
    "CONSTRAINT",
    "CHECK CONSTRAINT",
    "FK CONSTRAINT",
    "INDEX",
    "INDEX ATTACH",
    "TABLE ATTACH",
    "TRIGGER",
    "RULE",
    "POLICY",
    "ROW SECURITY",
    "STATISTICS",
    "ACL",
    "COMMENT",
    "SECURITY LABEL",
    "STATISTICS DATA",
];

/// Entries of everything that is restored: the session's settings too.
const ALWAYS_RESTORED_KINDS: [&str; 3] = ["ENCODING", "STDSTRINGS", "SEARCHPATH"];

/// The numbers of the entries that these tables need. A table is named `table` (in any schema) or `schema.table`;
/// names are as the catalogue has them, quotes around a part are taken off.
///
/// # Errors
/// [`PostgresErrorKind::Refused`]: a name that the archive does not have.
pub(crate) fn select_entries(toc: &Toc, names: &[String]) -> Result<HashSet<i32>, PostgresError> {
    let by_id = toc.entries_by_id();
    let mut tables = HashSet::new();
    let mut absent = Vec::new();
    for name in names {
        let before = tables.len();
        let found =
            toc.entries.iter().filter(|e| TABLE_KINDS.contains(&&*e.desc) && matches_name(e, name));
        tables.extend(found.map(|e| e.dump_id));
        if tables.len() == before {
            absent.push(name.as_str());
        }
    }
    if !absent.is_empty() {
        return Err(PostgresError::new(
            PostgresErrorKind::Refused,
            "choose tables of the archive",
            format!("it has no table {}", absent.join(", ")),
            "name them as table or schema.table",
        ));
    }
    // Rows only of what was named: a definition that a chosen one stands on comes without.
    let rows: Vec<i32> = (toc.entries.iter())
        .filter(|e| ["TABLE DATA", "MATERIALIZED VIEW DATA"].contains(&&*e.desc))
        .filter(|e| e.dependencies.iter().any(|d| tables.contains(d)))
        .map(|e| e.dump_id)
        .collect();
    let mut chosen = tables;
    loop {
        let before = chosen.len();
        add_dependencies(&by_id, &mut chosen);
        add_dependents(toc, &by_id, &mut chosen);
        if chosen.len() == before {
            break;
        }
    }
    chosen.extend(rows);
    chosen.extend(
        toc.entries.iter().filter(|e| ALWAYS_RESTORED_KINDS.contains(&&*e.desc)).map(|e| e.dump_id),
    );
    Ok(chosen)
}

fn matches_name(entry: &TocEntry, name: &str) -> bool {
    let bare = |part: &str| part.trim_matches('"').replace("\"\"", "\"");
    let plain = entry.tag == name || entry.tag == bare(name);
    plain
        || entry.namespace.as_ref().is_some_and(|schema| {
            let cut = |at: usize| (bare(&name[..at]), bare(&name[at + 1..]));
            name.match_indices('.').any(|(at, _)| cut(at) == (schema.clone(), entry.tag.clone()))
        })
}

/// Adds what the chosen entries depend on.
fn add_dependencies(by_id: &HashMap<i32, &TocEntry>, chosen: &mut HashSet<i32>) {
    let mut open: Vec<i32> = chosen.iter().copied().collect();
    while let Some(id) = open.pop() {
        for needed in by_id.get(&id).map(|e| &e.dependencies[..]).unwrap_or_default() {
            let known = by_id.get(needed).is_some_and(|e| e.section != TocSection::Data);
            if known && chosen.insert(*needed) {
                open.push(*needed);
            }
        }
    }
}

/// Adds what hangs on chosen entries and on no table that is not chosen.
fn add_dependents(toc: &Toc, by_id: &HashMap<i32, &TocEntry>, chosen: &mut HashSet<i32>) {
    // What an index or a key hangs on is a table by way of other entries too: its attachment names the indexes.
    for entry in &toc.entries {
        if chosen.contains(&entry.dump_id) || !DEPENDENT_KINDS.contains(&&*entry.desc) {
            continue;
        }
        let needs: BTreeSet<i32> =
            entry.dependencies.iter().copied().filter(|d| by_id.contains_key(d)).collect();
        let owned = |id: &i32| {
            let desc = by_id.get(id).map_or("", |e| &e.desc);
            TABLE_KINDS.contains(&desc) || DEPENDENT_KINDS.contains(&desc)
        };
        // A default brings its sequence; all else of the kinds above is brought by its own table or not at all.
        let brought = |id: &i32| by_id.get(id).is_some_and(|e| e.desc == "SEQUENCE");
        let hangs = needs.iter().any(|d| chosen.contains(d))
            && needs.iter().all(|d| chosen.contains(d) || !owned(d) || brought(d));
        // A type's or schema's comment and grants come with it; a trigger hangs on its table, not on its function.
        let aside = ["ACL", "COMMENT", "SECURITY LABEL"].contains(&&*entry.desc);
        if hangs && (aside || needs.iter().any(|d| chosen.contains(d) && owned(d))) {
            chosen.insert(entry.dump_id);
        }
    }
}

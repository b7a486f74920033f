//! The statements that an entry stands for. Pure.

use super::StatementTopic;
use crate::{
    quote_ident,
    restore::lexer,
    toc::{Toc, TocEntry},
};

/// Large objects that one statement makes or gives away.
const OBJECTS_PER_STATEMENT: usize = 1000;

/// One step of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Steps that are run together or not at all, as they were judged: each is sent by itself.
    pub(super) all: Vec<String>,
    /// The same in single statements, for when it fails as a whole; each with what it is about.
    pub(super) each: Vec<(String, String)>,
    pub(super) topic: StatementTopic,
    /// What it is about, for whoever reads that it failed.
    pub(super) what: String,
}

/// What `pg_restore` sets for its own session.
pub(super) fn session_settings(toc: &Toc) -> String {
    // Archives of very old servers have strings in which a backslash quotes; their own entry says so.
    let old = |e: &TocEntry| e.desc == "STDSTRINGS" && e.defn.contains("'off'");
    let strings = if toc.entries.iter().any(old) { "off" } else { "on" };
    format!(
        "SET standard_conforming_strings = {strings}; SET escape_string_warning = off; SET search_path = '';
         SET check_function_bodies = false; SET xmloption = content; SET client_min_messages = warning;
         SET row_security = off"
    )
}

/// The statements of an entry, in their order.
pub(super) fn entry_statements(toc: &Toc, entry: &TocEntry, owners: bool) -> Vec<Step> {
    let objects = large_object_oids(toc, entry);
    let several =
        |all: Vec<String>, topic, what: String| Step { all, each: Vec::new(), topic, what };
    let one = |sql: String, topic, what: String| several(vec![sql], topic, what);
    let topic = StatementTopic::from_entry_kind(&entry.desc);
    let mut all = Vec::new();
    match entry.desc.as_str() {
        "BLOB METADATA" => {
            all.extend(batch_statements(&objects, topic, |oid| {
                format!("SELECT pg_catalog.lo_create('{oid}'::pg_catalog.oid)")
            }));
        }
        "ACL" | "COMMENT" | "SECURITY LABEL" if !objects.is_empty() => {
            for statement in statements(toc, &entry.defn) {
                match around_object(&statement) {
                    Some((before, after)) => {
                        let make = |oid: &str| format!("{before}{oid}{after}");
                        all.extend(batch_statements(&objects, topic, make));
                    }
                    None => all.push(one(statement, topic, describe_entry(entry))),
                }
            }
        }
        "SCHEMA" if !owners && !entry.defn.starts_with("--") => {
            all.push(one(
                format!("CREATE SCHEMA {}", quote_ident(&entry.tag)),
                topic,
                describe_entry(entry),
            ));
        }
        _ => all.push(several(statements(toc, &entry.defn), topic, describe_entry(entry))),
    }
    if let Some(method) = entry.access_method.as_ref().filter(|_| entry.is_partitioned) {
        let sql = format!(
            "ALTER TABLE {} SET ACCESS METHOD {}",
            qualified_name(entry),
            quote_ident(method)
        );
        all.push(one(sql, topic, describe_entry(entry)));
    }
    if let Some(owner) = entry.owner.as_ref().filter(|_| owners && !entry.drop_stmt.is_empty()) {
        let owner = quote_ident(owner);
        if entry.desc == "BLOB METADATA" {
            let make = |oid: &str| format!("ALTER LARGE OBJECT {oid} OWNER TO {owner}");
            all.extend(batch_statements(&objects, StatementTopic::Role, make));
        } else if let Some(object) = owned_object(entry) {
            let sql = format!("ALTER {object} OWNER TO {owner}");
            all.push(one(sql.clone(), StatementTopic::Role, sql));
        }
    }
    all
}

/// What an entry is called: its kind and its name.
pub(crate) fn describe_entry(entry: &TocEntry) -> String {
    match &entry.namespace {
        Some(schema) => format!("{} {schema}.{}", entry.desc, entry.tag),
        None => format!("{} {}", entry.desc, entry.tag),
    }
}

/// The large objects that an entry is about; since PostgreSQL 17 one entry may be about many.
fn large_object_oids<'t>(toc: &'t Toc, entry: &'t TocEntry) -> Vec<&'t str> {
    let listed = |e: &'t TocEntry| e.defn.split_whitespace().collect();
    if entry.desc == "BLOB METADATA" {
        return listed(entry);
    }
    if !entry.tag.starts_with("LARGE OBJECTS ") {
        return Vec::new();
    }
    let mut on = entry.dependencies.iter().filter_map(|id| toc.entry_by_id(*id));
    on.find(|e| e.desc == "BLOB METADATA").map(listed).unwrap_or_default()
}

/// One statement for each object, many of them together.
fn batch_statements(
    objects: &[&str],
    topic: StatementTopic,
    make: impl Fn(&str) -> String,
) -> Vec<Step> {
    let objects: Vec<&&str> =
        objects.iter().filter(|oid| oid.bytes().all(|b| b.is_ascii_digit())).collect();
    let batch = |some: &[&&str]| {
        let each: Vec<(String, String)> =
            some.iter().map(|oid| (make(oid), format!("LARGE OBJECT {oid}"))).collect();
        let all = each.iter().map(|(sql, _)| sql.clone()).collect();
        Step { all, topic, what: "LARGE OBJECTS".into(), each }
    };
    objects.chunks(OBJECTS_PER_STATEMENT).map(batch).collect()
}

/// The statements of an entry's text, parted as [`super::super::judge`] parts them. It has read them all.
fn statements(toc: &Toc, text: &str) -> Vec<String> {
    lexer::split_statements(text, toc.plain_backslash()).unwrap_or_default()
}

/// What stands before and after the number of a large object, outside of quoted names.
fn around_object(statement: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let outside = |(_, c): &(usize, char)| {
        quoted ^= *c == '"';
        !quoted
    };
    let word = "LARGE OBJECT ";
    let places = statement.char_indices().filter(outside).map(|(at, _)| at);
    let at = { places }.find(|at| statement[*at..].starts_with(word))? + word.len();
    let digits = statement[at..].bytes().take_while(u8::is_ascii_digit).count();
    Some((&statement[..at], &statement[at + digits..]))
}

fn qualified_name(entry: &TocEntry) -> String {
    let schema =
        entry.namespace.as_ref().map(|n| format!("{}.", quote_ident(n))).unwrap_or_default();
    format!("{schema}{}", quote_ident(&entry.tag))
}

/// An object as `ALTER .. OWNER TO` names it; none of what has no owner of its own.
fn owned_object(entry: &TocEntry) -> Option<String> {
    let desc = entry.desc.as_str();
    match desc {
        "COLLATION"
        | "CONVERSION"
        | "DOMAIN"
        | "FOREIGN TABLE"
        | "MATERIALIZED VIEW"
        | "SEQUENCE"
        | "STATISTICS"
        | "TABLE"
        | "TEXT SEARCH DICTIONARY"
        | "TEXT SEARCH CONFIGURATION"
        | "TYPE"
        | "VIEW" => Some(format!("{desc} {}", qualified_name(entry))),
        "PROCEDURAL LANGUAGE"
        | "SCHEMA"
        | "EVENT TRIGGER"
        | "FOREIGN DATA WRAPPER"
        | "SERVER"
        | "PUBLICATION"
        | "SUBSCRIPTION" => Some(format!("{desc} {}", quote_ident(&entry.tag))),
        "BLOB" => Some(format!("LARGE OBJECT {}", entry.tag)),
        // Their names have arguments, which the statement that drops them has too.
        "AGGREGATE" | "FUNCTION" | "OPERATOR" | "OPERATOR CLASS" | "OPERATOR FAMILY"
        | "PROCEDURE" => {
            let rest = entry.drop_stmt.trim_end().trim_end_matches(';').strip_prefix("DROP ")?;
            Some(rest.to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;

//! Which statements of a file may run: those that `pg_dump` writes about the objects of one database.
//!
//! What is about the whole server (databases, roles, tablespaces, settings), reads or writes the server's files, runs
//! programs or becomes another role is never run, whoever made the file. A restore judges each statement before it is
//! sent, an archive by its whole table of contents before the first of them; [`super::examine`] judges a whole file
//! before anything of it runs.

mod token;
mod values;

pub(crate) use token::{SqlToken, tokenize};

use super::lexer::split_statements;
use crate::{
    PostgresError, PostgresErrorKind,
    toc::{Toc, TocEntry},
};

/// What objects of one database are called after `CREATE`, `ALTER`, `DROP`, `COMMENT ON`.
const OBJECT_KINDS: [&str; 34] = [
    "ACCESS",
    "AGGREGATE",
    "CAST",
    "COLLATION",
    "COLUMN",
    "CONSTRAINT",
    "CONVERSION",
    "DEFAULT",
    "DOMAIN",
    "EVENT",
    "EXTENSION",
    "FOREIGN",
    "FUNCTION",
    "INDEX",
    "LANGUAGE",
    "LARGE",
    "MATERIALIZED",
    "OPERATOR",
    "POLICY",
    "PROCEDURAL",
    "PROCEDURE",
    "PUBLICATION",
    "ROUTINE",
    "RULE",
    "SCHEMA",
    "SEQUENCE",
    "SERVER",
    "STATISTICS",
    "SUBSCRIPTION",
    "TABLE",
    "TEXT",
    "TRANSFORM",
    "TRIGGER",
    "TYPE",
];

/// Words between `CREATE` and what it makes.
const CREATE_MODIFIERS: [&str; 9] = [
    "OR",
    "REPLACE",
    "TRUSTED",
    "PROCEDURAL",
    "UNLOGGED",
    "RECURSIVE",
    "UNIQUE",
    "DEFAULT",
    "CONSTRAINT",
];

/// Settings of the session that `pg_dump` of any version writes into a file.
const ALLOWED_SETTINGS: [&str; 16] = [
    "STATEMENT_TIMEOUT",
    "LOCK_TIMEOUT",
    "IDLE_IN_TRANSACTION_SESSION_TIMEOUT",
    "TRANSACTION_TIMEOUT",
    "CLIENT_ENCODING",
    "STANDARD_CONFORMING_STRINGS",
    "ESCAPE_STRING_WARNING",
    "CHECK_FUNCTION_BODIES",
    "XMLOPTION",
    "CLIENT_MIN_MESSAGES",
    "ROW_SECURITY",
    "SEARCH_PATH",
    "DEFAULT_TABLESPACE",
    "DEFAULT_TABLE_ACCESS_METHOD",
    "DEFAULT_WITH_OIDS",
    "BYTEA_OUTPUT",
];

/// Functions of `pg_catalog` that `pg_dump` calls in a file.
const ALLOWED_FUNCTIONS: [&str; 12] = [
    "SET_CONFIG",
    "SETVAL",
    "LO_CREATE",
    "LO_OPEN",
    "LOWRITE",
    "LO_CLOSE",
    "LO_UNLINK",
    "LO_PUT",
    "LO_FROM_BYTEA",
    "PG_RESTORE_RELATION_STATS",
    "PG_RESTORE_ATTRIBUTE_STATS",
    "PG_RESTORE_EXTENDED_STATS",
];

/// First words that may be shown of a statement that is refused; all else could be data.
const SHOWN_KEYWORDS: [&str; 44] = [
    "ALTER",
    "ANALYZE",
    "CALL",
    "CHECKPOINT",
    "COMMENT",
    "COPY",
    "CREATE",
    "DATABASE",
    "DELETE",
    "DISCARD",
    "DO",
    "DROP",
    "EXECUTE",
    "GRANT",
    "GROUP",
    "IMPORT",
    "INSERT",
    "LISTEN",
    "LOAD",
    "LOCK",
    "MERGE",
    "NOTIFY",
    "ON",
    "OWNED",
    "PREPARE",
    "REASSIGN",
    "REINDEX",
    "RESET",
    "REVOKE",
    "ROLE",
    "SECURITY",
    "SELECT",
    "SESSION",
    "SET",
    "SYSTEM",
    "TABLESPACE",
    "TRUNCATE",
    "UPDATE",
    "USER",
    "VACUUM",
    "VALUES",
    "WITH",
    "CLUSTER",
    "AUTHORIZATION",
];

/// Why a statement is not run; nothing of what it holds but its first words is told.
pub(crate) fn refusal_reason(statement: &str) -> Option<String> {
    let words = tokenize(statement);
    // Where `standard_conforming_strings` is off, a backslash in a plain string quotes: then other words are in quotes, and
    // those have to be harmless too.
    if is_allowed(&words) && (!statement.contains('\\') || is_allowed(&token::escaped(statement))) {
        return None;
    }
    let shown: Vec<String> = (words.iter().take(3))
        .map_while(|t| match t {
            SqlToken::Word(w) if t.among(&SHOWN_KEYWORDS) => Some(w.to_ascii_uppercase()),
            _ => None,
        })
        .collect();
    Some(if shown.is_empty() {
        "it has a statement that is none of pg_dump's".into()
    } else {
        format!(
            "it has a statement {}, which no dump of one database needs: such statements reach other databases, roles, \
             files or programs of the server",
            shown.join(" ")
        )
    })
}

fn is_allowed(words: &[SqlToken<'_>]) -> bool {
    let Some((first, rest)) = words.split_first() else { return true };
    let SqlToken::Word(first) = first else { return false };
    match &first.to_ascii_uppercase()[..] {
        "CREATE" => {
            let kind = rest.iter().position(|t| !t.among(&CREATE_MODIFIERS)).unwrap_or(0);
            is_allowed_create(&rest[kind..], words)
        }
        // It would go to another server, and read from it or drop a slot there.
        "ALTER" if rest.first().is_some_and(|t| t.is("SUBSCRIPTION")) => {
            matches!(rest, [_, _, owner, to, _] if owner.is("OWNER") && to.is("TO"))
        }
        "DROP" if rest.first().is_some_and(|t| t.is("SUBSCRIPTION")) => false,
        "ALTER" | "DROP" => is_database_object(rest),
        "COMMENT" => rest.first().is_some_and(|t| t.is("ON")) && is_database_object(&rest[1..]),
        "SECURITY" => {
            rest.first().is_some_and(|t| t.is("LABEL"))
                && rest
                    .iter()
                    .position(|t| t.is("ON"))
                    .is_some_and(|on| is_database_object(&rest[on + 1..]))
        }
        "GRANT" | "REVOKE" => is_allowed_grant(rest),
        "SET" => is_allowed_set(rest),
        "SELECT" => values::is_allowed_select(rest),
        "INSERT" => values::insert(rest),
        "REFRESH" => rest.first().is_some_and(|t| t.is("MATERIALIZED")),
        "BEGIN" | "COMMIT" | "END" => rest.is_empty(),
        "START" => rest.len() == 1 && rest[0].is("TRANSACTION"),
        _ => false,
    }
}

/// Whether these words begin with the name of a kind of object in a database.
fn is_database_object(rest: &[SqlToken<'_>]) -> bool {
    let Some(kind) = rest.first() else { return false };
    // The role's kind of "user" has no mapping.
    let mapping = kind.is("USER") && rest.get(1).is_some_and(|t| t.is("MAPPING"));
    mapping || kind.is("VIEW") || kind.among(&OBJECT_KINDS)
}

fn is_allowed_create(rest: &[SqlToken<'_>], words: &[SqlToken<'_>]) -> bool {
    let Some(kind) = rest.first() else { return false };
    let has = |word: &str| rest.iter().any(|t| t.is(word));
    let harmless = match kind {
        // A file of the server's is loaded by it; extensions bring theirs.
        k if k.among(&["FUNCTION", "PROCEDURE"]) => loads_no_file(words),
        // It would connect to another server, and make a slot there.
        k if k.is("SUBSCRIPTION") => (words.windows(3))
            .any(|w| w[0].is("connect") && w[1] == SqlToken::Sign('=') && w[2].is("false")),
        // Further statements can stand behind its name, and GRANT is one of them.
        k if k.is("SCHEMA") => !has("GRANT") && !has("CREATE"),
        // What they are made of would be asked for at once: pg_dump writes the rows, or leaves them to REFRESH.
        k if k.is("TABLE") => !outside(words, |t| t.is("AS")),
        k if k.is("MATERIALIZED") => {
            matches!(words, [.., w, no, data] if w.is("WITH") && no.is("NO") && data.is("DATA"))
        }
        _ => true,
    };
    harmless && is_database_object(rest)
}

/// Whether there is such a word outside of all parentheses.
fn outside(words: &[SqlToken<'_>], is: impl Fn(&SqlToken<'_>) -> bool) -> bool {
    let mut depth = 0_u32;
    words.iter().any(|token| {
        match token {
            SqlToken::Sign('(') => depth += 1,
            SqlToken::Sign(')') => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && is(token)
    })
}

/// Whether a function is surely not of language C, or of the server's own library folder.
fn loads_no_file(words: &[SqlToken<'_>]) -> bool {
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    // A language can be written in many ways (`U&"\0063"`, `$$c$$`); in any but these it may be C.
    let other = |at: usize| match (words.get(at + 1), words.get(at + 2)) {
        (Some(SqlToken::Word(_)), Some(SqlToken::Sign('&') | SqlToken::Text(_)))
        | (Some(SqlToken::Text(_)), Some(SqlToken::Text(_))) => false,
        (Some(name @ (SqlToken::Word(_) | SqlToken::Name(_))), _) => {
            name.to_identifier().is_some_and(|name| name != "c")
        }
        (Some(SqlToken::Text(text)), _) => plain(text) && *text != "c",
        _ => false,
    };
    // In a body of SQL it would be a name; nothing but the body's statements comes after this.
    let body = words.windows(2).position(|w| w[0].is("BEGIN") && w[1].is("ATOMIC"));
    let mut depth = 0_u32;
    let in_c = words[..body.unwrap_or(words.len())].iter().enumerate().any(|(at, token)| {
        match token {
            SqlToken::Sign('(') => depth += 1,
            SqlToken::Sign(')') => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && token.is("LANGUAGE") && !other(at)
    });
    // As pg_dump writes it, and at the end: a second AS would be an error, and so would be words behind the strings.
    let own =
        |file: &str| file.starts_with("$libdir/") && !file.contains("..") && !file.contains('\\');
    !in_c
        || match words {
            [.., by, SqlToken::Text(file), SqlToken::Sign(','), SqlToken::Text(_)]
                if by.is("AS") =>
            {
                own(file)
            }
            [.., by, SqlToken::Text(file)] if by.is("AS") => own(file),
            _ => false,
        }
}

/// Rights on an object; without `ON` it is membership in a role.
fn is_allowed_grant(rest: &[SqlToken<'_>]) -> bool {
    let mut depth = 0_u32;
    for (at, token) in rest.iter().enumerate() {
        match token {
            SqlToken::Sign('(') => depth += 1,
            SqlToken::Sign(')') => depth = depth.saturating_sub(1),
            on if depth == 0 && on.is("ON") => {
                let of_server = ["DATABASE", "TABLESPACE", "PARAMETER", "ROLE"];
                return rest.get(at + 1).is_some_and(|kind| !kind.among(&of_server));
            }
            _ => {}
        }
    }
    false
}

fn is_allowed_set(rest: &[SqlToken<'_>]) -> bool {
    let Some((name, rest)) = rest.split_first() else { return false };
    let value = match rest {
        [SqlToken::Sign('='), value @ ..] => value,
        [to, value @ ..] if to.is("TO") => value,
        _ => return false,
    };
    if name.is("standard_conforming_strings") {
        // In these words alone, for it changes where a string ends: see the lexer.
        return rest[0] == SqlToken::Sign('=')
            && matches!(value, [v] if v.among(&["on", "off"]) || matches!(v, SqlToken::Text("on" | "off")));
    }
    if name.is("client_encoding") && !matches!(value, [SqlToken::Text(_) | SqlToken::Word(_)]) {
        return false;
    }
    name.among(&ALLOWED_SETTINGS)
}

/// Whether a statement, which has no white space before it, begins with these letters.
fn begins(statement: &str, letters: &str) -> bool {
    statement.get(..letters.len()).is_some_and(|s| s.eq_ignore_ascii_case(letters))
}

/// The encoding of a client that a statement sets, by its name.
pub(crate) fn encoding(statement: &str) -> Option<String> {
    // Dumps of `--inserts` have a statement a row: most need no second look.
    if !begins(statement, "SET") {
        return None;
    }
    match &tokenize(statement)[..] {
        [set, name, _, SqlToken::Text(value) | SqlToken::Word(value)]
            if set.is("SET") && name.is("client_encoding") =>
        {
            Some(value.to_ascii_uppercase())
        }
        _ => None,
    }
}

/// Whether it is `COPY table (columns) FROM stdin`, and no other COPY.
pub(crate) fn is_copy_of_rows(statement: &str) -> bool {
    let words = tokenize(statement.trim_end().trim_end_matches(';'));
    let [copy, rest @ .., from, stdin] = &words[..] else { return false };
    if !(copy.is("COPY") && from.is("FROM") && stdin.is("STDIN")) {
        return false;
    }
    let Some(columns) = values::table(rest) else { return false };
    let name = |t: &SqlToken<'_>| t.to_identifier().is_some();
    let listed = |columns: &[SqlToken<'_>]| {
        columns
            .chunks(2)
            .all(|pair| name(&pair[0]) && matches!(pair.get(1), None | Some(SqlToken::Sign(','))))
    };
    match columns {
        [] => true,
        [SqlToken::Sign('('), columns @ .., SqlToken::Sign(')')] => listed(columns),
        _ => false,
    }
}

/// Whether it sets something of the session, which a new connection must be told again.
pub(crate) fn is_setting(statement: &str) -> bool {
    if !begins(statement, "SE") {
        return false;
    }
    let words = tokenize(statement);
    match &words[..] {
        [set, ..] if set.is("SET") => true,
        [select, _, _, name, ..] => select.is("SELECT") && name.is("set_config"),
        _ => false,
    }
}

/// Whether this is one of the words of `IF NOT EXISTS`.
pub(crate) fn is_if_not_exists(token: &SqlToken<'_>) -> bool {
    token.among(&["IF", "NOT", "EXISTS"])
}

/// What a statement makes that takes a superuser, by its kind; a test restore has none.
pub(crate) fn superuser_object_kind(statement: &str) -> Option<&'static str> {
    let words = tokenize(statement);
    let at = |i: usize, word: &str| words.get(i).is_some_and(|t| t.is(word));
    let (verb, kinds) = if at(0, "COMMENT") && at(1, "ON") {
        (2, &["EXTENSION", "EVENT"][..])
    } else if at(0, "CREATE") || at(0, "ALTER") {
        (
            1,
            &[
                "EVENT",
                "SUBSCRIPTION",
                "FOREIGN DATA",
                "OPERATOR CLASS",
                "OPERATOR FAMILY",
                "ACCESS",
            ][..],
        )
    } else {
        return None;
    };
    kinds.iter().copied().find(|kind| {
        let mut parts = kind.split(' ');
        (verb..).zip(&mut parts).all(|(i, word)| at(i, word))
    })
}

/// The encodings of clients in which a byte of a character can be that of a quote or a backslash.
const UNSAFE_ENCODINGS: [&str; 7] =
    ["SJIS", "BIG5", "GBK", "UHC", "GB18030", "JOHAB", "SHIFT_JIS_2004"];

/// Judges everything in an archive's head that would run.
///
/// # Errors
/// [`PostgresErrorKind::Refused`]: what it has that is not run.
pub(crate) fn check_toc(toc: &Toc) -> Result<(), PostgresError> {
    if UNSAFE_ENCODINGS.contains(&toc.encoding()) && !toc.raw.is_ascii() {
        let why = format!(
            "its text is in {}, in which a character can look like a quote",
            toc.encoding()
        );
        return Err(refused_error(why));
    }
    let plain_backslash = toc.plain_backslash();
    for entry in &toc.entries {
        let run = || entry_refusal(entry, plain_backslash).filter(|_| !is_database_entry(entry));
        if let Some(why) = claim_refusal(entry).or_else(run) {
            return Err(refused_error(format!(
                "{why} (its entry {} {})",
                entry.dump_id, entry.desc
            )));
        }
    }
    Ok(())
}

/// Entries about the database itself, which are run only where a restore makes the database (`pg_restore --create`).
pub(crate) fn is_database_entry(entry: &TocEntry) -> bool {
    ["DATABASE", "DATABASE PROPERTIES"].contains(&&*entry.desc)
        || (["ACL", "COMMENT", "SECURITY LABEL"].contains(&&*entry.desc)
            && entry.tag.starts_with("DATABASE "))
}

/// What is wrong with the rows that an entry claims to have, or with a number that is put into a statement.
fn claim_refusal(entry: &TocEntry) -> Option<String> {
    let rows = ["TABLE DATA", "BLOBS"].contains(&&*entry.desc);
    if (entry.has_data || entry.copy_stmt.is_some()) && !rows {
        return Some("it has rows where pg_dump writes none".into());
    }
    let number = !entry.tag.is_empty() && entry.tag.bytes().all(|b| b.is_ascii_digit());
    if entry.desc == "BLOB" && !number {
        return Some("a number of a large object is none".into());
    }
    let copy = entry.copy_stmt.as_ref().is_some_and(|copy| !is_copy_of_rows(copy));
    copy.then(|| "it has a COPY that is not of rows in the file".into())
}

fn entry_refusal(entry: &TocEntry, plain_backslash: bool) -> Option<String> {
    if entry.desc == "BLOB METADATA" {
        // Numbers of large objects, one a line, which pg_restore puts into a statement.
        let numbers = entry.defn.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_whitespace());
        return (!numbers).then(|| "a number of a large object is none".into());
    }
    // ALTER .. OWNER is made out of the statement that would drop the object; a subscription's by its name.
    let dropped = if entry.desc == "SUBSCRIPTION" { "" } else { &entry.drop_stmt };
    for text in [&entry.defn, dropped] {
        match split_statements(text, plain_backslash) {
            Err(e) => return Some(format!("a statement can't be read: {e}")),
            Ok(all) => {
                if let Some(why) = all.iter().find_map(|s| refusal_reason(s)) {
                    return Some(why);
                }
            }
        }
    }
    None
}

/// The error of a file that has what is not run.
pub(crate) fn refused_error(why: impl Into<String>) -> PostgresError {
    let hint =
        "nothing more of it is run; if it is meant, load it by hand into a server of its own";
    PostgresError::new(PostgresErrorKind::Refused, "judge the statements of the backup", why, hint)
}

#[cfg(test)]
mod tests;

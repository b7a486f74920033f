//! Which statements of a file may run: those that `pg_dump` writes about the objects of one database.
//!
//! What is about the whole server (databases, roles, tablespaces, settings), reads or writes the server's files, runs
//! programs or becomes another role is never run, whoever made the file. A restore judges each statement before it is
//! sent, an archive by its whole table of contents before the first of them; [`super::examine`] judges a whole file
//! before anything of it runs.

use super::lexer::statements;
use crate::{
    Error, Kind,
    toc::{Entry, Toc},
};

/// What objects of one database are called after `CREATE`, `ALTER`, `DROP`, `COMMENT ON`.
const OBJECTS: [&str; 34] = [
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
const BETWEEN: [&str; 9] = [
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
const SETTINGS: [&str; 16] = [
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
const FUNCTIONS: [&str; 12] = [
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
const SHOWN: [&str; 44] = [
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

/// A word of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A word without quotes.
    Word(&'a str),
    /// A name in double quotes, quotes included.
    Name(&'a str),
    /// What is between the quotes of a string.
    Text(&'a str),
    /// Anything else.
    Sign(char),
}

impl Token<'_> {
    fn is(&self, word: &str) -> bool {
        matches!(self, Token::Word(w) if w.eq_ignore_ascii_case(word))
    }

    fn among(&self, words: &[&str]) -> bool {
        words.iter().any(|w| self.is(w))
    }

    /// The identifier that it is to the server.
    pub(crate) fn identifier(&self) -> Option<String> {
        match self {
            Token::Word(word) => Some(word.to_lowercase()),
            Token::Name(name) => Some(name.trim_matches('"').replace("\"\"", "\"")),
            _ => None,
        }
    }
}

/// The words of a statement that has no comments.
pub(crate) fn tokens(statement: &str) -> Vec<Token<'_>> {
    let mut all = Vec::new();
    let mut rest = statement.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '"' => {
                let length = quoted(rest, '"', false);
                (Token::Name(&rest[..length]), length)
            }
            '\'' => {
                let escapes = matches!(all.last(), Some(Token::Word("E" | "e")));
                let length = quoted(rest, '\'', escapes);
                (Token::Text(rest[1..].get(..length.saturating_sub(2)).unwrap_or_default()), length)
            }
            '$' => match dollar(rest) {
                Some(length) => (Token::Text(&rest[..length]), length),
                None => (Token::Sign('$'), 1),
            },
            c if c.is_alphanumeric() || c == '_' => {
                let end = |c: char| !(c.is_alphanumeric() || c == '_' || c == '$');
                let length = rest.find(end).unwrap_or(rest.len());
                (Token::Word(&rest[..length]), length)
            }
            c => (Token::Sign(c), c.len_utf8()),
        };
        all.push(token);
        rest = rest[length..].trim_start();
    }
    all
}

/// Bytes of what begins with this quote, both quotes included.
fn quoted(text: &str, quote: char, escapes: bool) -> usize {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if escapes && c == '\\' {
            chars.next();
        } else if c == quote {
            match chars.peek() {
                Some((_, next)) if *next == quote => drop(chars.next()),
                _ => return at + c.len_utf8(),
            }
        }
    }
    text.len()
}

/// Bytes of a dollar-quoted text, if this is one.
fn dollar(text: &str) -> Option<usize> {
    let end = text[1..].find(|c: char| !(c.is_alphanumeric() || c == '_'))? + 1;
    let tag = text.get(..=end).filter(|t| t.ends_with('$'))?;
    if tag[1..].starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    Some(text[tag.len()..].find(tag).map_or(text.len(), |at| at + 2 * tag.len()))
}

/// Why a statement is not run; nothing of what it holds but its first words is told.
pub(crate) fn refusal(statement: &str) -> Option<String> {
    let words = tokens(statement);
    if allowed(&words) {
        return None;
    }
    let shown: Vec<String> = (words.iter().take(3))
        .map_while(|t| match t {
            Token::Word(w) if t.among(&SHOWN) => Some(w.to_ascii_uppercase()),
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

fn allowed(words: &[Token<'_>]) -> bool {
    let Some((first, rest)) = words.split_first() else { return true };
    let Token::Word(first) = first else { return false };
    match &first.to_ascii_uppercase()[..] {
        "CREATE" => {
            let kind = rest.iter().position(|t| !t.among(&BETWEEN)).unwrap_or(0);
            creates(&rest[kind..], words)
        }
        "ALTER" | "DROP" => object(rest),
        "COMMENT" => rest.first().is_some_and(|t| t.is("ON")) && object(&rest[1..]),
        "SECURITY" => {
            rest.first().is_some_and(|t| t.is("LABEL"))
                && rest.iter().position(|t| t.is("ON")).is_some_and(|on| object(&rest[on + 1..]))
        }
        "GRANT" | "REVOKE" => granted(rest),
        "SET" => set(rest),
        "SELECT" => select(rest),
        "INSERT" => rest.first().is_some_and(|t| t.is("INTO")),
        "REFRESH" => rest.first().is_some_and(|t| t.is("MATERIALIZED")),
        "BEGIN" | "COMMIT" | "END" => rest.is_empty(),
        "START" => rest.len() == 1 && rest[0].is("TRANSACTION"),
        _ => false,
    }
}

/// Whether these words begin with the name of a kind of object in a database.
fn object(rest: &[Token<'_>]) -> bool {
    let Some(kind) = rest.first() else { return false };
    // The role's kind of "user" has no mapping.
    let mapping = kind.is("USER") && rest.get(1).is_some_and(|t| t.is("MAPPING"));
    mapping || kind.is("VIEW") || kind.among(&OBJECTS)
}

fn creates(rest: &[Token<'_>], words: &[Token<'_>]) -> bool {
    let Some(kind) = rest.first() else { return false };
    let harmless = match kind {
        // A file of the server's is loaded by it; extensions bring theirs.
        k if k.among(&["FUNCTION", "PROCEDURE"]) => loads_no_file(words),
        // It would connect to another server, and make a slot there.
        k if k.is("SUBSCRIPTION") => (words.windows(3))
            .any(|w| w[0].is("connect") && w[1] == Token::Sign('=') && w[2].is("false")),
        _ => true,
    };
    harmless && object(rest)
}

/// Whether a function of language C is of the server's own library folder.
fn loads_no_file(words: &[Token<'_>]) -> bool {
    let in_c = words.windows(2).any(|w| {
        w[0].is("LANGUAGE")
            && (w[1].identifier().is_some_and(|l| l == "c") || w[1] == Token::Text("c"))
    });
    let own = |file: &str| file.starts_with("$libdir/") && !file.contains("..");
    !in_c
        || words.windows(2).filter(|w| w[0].is("AS")).all(|w| match w[1] {
            Token::Text(file) => own(file),
            _ => true,
        })
}

/// Rights on an object; without `ON` it is membership in a role.
fn granted(rest: &[Token<'_>]) -> bool {
    let mut depth = 0_u32;
    for (at, token) in rest.iter().enumerate() {
        match token {
            Token::Sign('(') => depth += 1,
            Token::Sign(')') => depth = depth.saturating_sub(1),
            on if depth == 0 && on.is("ON") => {
                let of_server = ["DATABASE", "TABLESPACE", "PARAMETER", "ROLE"];
                return rest.get(at + 1).is_some_and(|kind| !kind.among(&of_server));
            }
            _ => {}
        }
    }
    false
}

fn set(rest: &[Token<'_>]) -> bool {
    let Some((name, rest)) = rest.split_first() else { return false };
    let value = match rest {
        [Token::Sign('='), value @ ..] => value,
        [to, value @ ..] if to.is("TO") => value,
        _ => return false,
    };
    if name.is("standard_conforming_strings") {
        // In these words alone, for it changes where a string ends: see the lexer.
        return rest[0] == Token::Sign('=')
            && matches!(value, [v] if v.among(&["on", "off"]) || matches!(v, Token::Text("on" | "off")));
    }
    name.among(&SETTINGS)
}

fn select(rest: &[Token<'_>]) -> bool {
    let rest = match rest {
        [Token::Sign('*'), from, rest @ ..] if from.is("FROM") => rest,
        rest => rest,
    };
    match rest {
        [schema, Token::Sign('.'), name, Token::Sign('('), first, ..]
            if schema.is("pg_catalog") =>
        {
            name.among(&FUNCTIONS)
                && (!name.is("set_config") || *first == Token::Text("search_path"))
        }
        _ => false,
    }
}

/// Whether it is `COPY table (columns) FROM stdin`, and no other COPY.
pub(crate) fn is_copy_of_rows(statement: &str) -> bool {
    let words = tokens(statement.trim_end().trim_end_matches(';'));
    let [copy, rest @ .., from, stdin] = &words[..] else { return false };
    if !(copy.is("COPY") && from.is("FROM") && stdin.is("STDIN")) {
        return false;
    }
    let name = |t: &Token<'_>| t.identifier().is_some();
    let (table, columns) = match rest {
        [schema, Token::Sign('.'), table, columns @ ..] => (name(schema) && name(table), columns),
        [table, columns @ ..] => (name(table), columns),
        [] => return false,
    };
    let listed = |columns: &[Token<'_>]| {
        columns
            .chunks(2)
            .all(|pair| name(&pair[0]) && matches!(pair.get(1), None | Some(Token::Sign(','))))
    };
    table
        && match columns {
            [] => true,
            [Token::Sign('('), columns @ .., Token::Sign(')')] => listed(columns),
            _ => false,
        }
}

/// Whether it sets something of the session, which a new connection must be told again.
pub(crate) fn is_setting(statement: &str) -> bool {
    let is = |text: &str| statement.get(..text.len()).is_some_and(|s| s.eq_ignore_ascii_case(text));
    is("SET ") || is("SELECT pg_catalog.set_config(")
}

/// Whether this is one of the words of `IF NOT EXISTS`.
pub(crate) fn is_if_not_exists(token: &Token<'_>) -> bool {
    token.among(&["IF", "NOT", "EXISTS"])
}

/// What a statement makes that takes a superuser, by its kind; a test restore has none.
pub(crate) fn needs_superuser(statement: &str) -> Option<&'static str> {
    let words = tokens(statement);
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
const UNSAFE: [&str; 7] = ["SJIS", "BIG5", "GBK", "UHC", "GB18030", "JOHAB", "SHIFT_JIS_2004"];

/// Judges everything in an archive's head that would run.
///
/// # Errors
/// [`Kind::Refused`]: what it has that is not run.
pub(crate) fn toc(toc: &Toc) -> Result<(), Error> {
    if UNSAFE.contains(&toc.encoding()) && !toc.raw.is_ascii() {
        let why = format!(
            "its text is in {}, in which a character can look like a quote",
            toc.encoding()
        );
        return Err(refused(why));
    }
    let plain_backslash = toc.plain_backslash();
    for entry in toc.entries.iter().filter(|e| !of_the_database(e)) {
        if let Some(why) = entry_refusal(entry, plain_backslash) {
            return Err(refused(format!("{why} (its entry {} {})", entry.dump_id, entry.desc)));
        }
    }
    Ok(())
}

/// Entries about the database itself, which are run only where a restore makes the database (`pg_restore --create`).
pub(crate) fn of_the_database(entry: &Entry) -> bool {
    ["DATABASE", "DATABASE PROPERTIES"].contains(&&*entry.desc)
        || (["ACL", "COMMENT", "SECURITY LABEL"].contains(&&*entry.desc)
            && entry.tag.starts_with("DATABASE "))
}

fn entry_refusal(entry: &Entry, plain_backslash: bool) -> Option<String> {
    if entry.desc == "BLOB METADATA" {
        // Numbers of large objects, one a line, which pg_restore puts into a statement.
        let numbers = entry.defn.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_whitespace());
        return (!numbers).then(|| "a number of a large object is none".into());
    }
    if let Some(copy) = &entry.copy_stmt
        && !is_copy_of_rows(copy)
    {
        return Some("it has a COPY that is not of rows in the file".into());
    }
    // pg_restore makes ALTER .. OWNER out of the statement that would drop the object.
    for text in [&entry.defn, &entry.drop_stmt] {
        match statements(text, plain_backslash) {
            Err(e) => return Some(format!("a statement can't be read: {e}")),
            Ok(all) => {
                if let Some(why) = all.iter().find_map(|s| refusal(s)) {
                    return Some(why);
                }
            }
        }
    }
    None
}

/// The error of a file that has what is not run.
pub(crate) fn refused(why: impl Into<String>) -> Error {
    let mend =
        "nothing more of it is run; if it is meant, load it by hand into a server of its own";
    Error::new(Kind::Refused, "judge the statements of the backup", why, mend)
}

#[cfg(test)]
mod tests;

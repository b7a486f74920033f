//! What a restore could not bring back, put into classes that a person can act on.
//!
//! A loss never holds data: rows show up in the context and detail lines of the server's messages, in the quoted value
//! of a refused one and in `INSERT` statements, and all of these are left out.

use serde::{Deserialize, Serialize};

/// The longest statement or message that a loss keeps, in characters.
const LONGEST: usize = 300;

/// What kind of thing was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LossClass {
    /// An extension that the server does not have.
    Extension,
    /// A role that does not exist here: an owner or a grant is missing.
    Role,
    /// The object was there already.
    Exists,
    /// The restoring user may not do it.
    Permission,
    /// Rows or large objects: what makes a backup worth nothing.
    Data,
    /// Anything else, mostly what follows from one of the above.
    Other,
}

/// One thing that a restore could not bring back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// Its kind.
    pub class: LossClass,
    /// The first line of what the server said, without data.
    pub message: String,
    /// The statement that failed, shortened, without data.
    pub statement: String,
}

impl Loss {
    /// A loss from what the server said of a statement; `code` is the SQLSTATE when it is known.
    pub(crate) fn new(message: &str, code: Option<&str>, statement: &str) -> Self {
        let first = message.lines().next().unwrap_or_default();
        let class = classify(first, code, statement);
        Self { class, message: blank(first, code), statement: bare(statement) }
    }

    /// A loss of rows, whatever the server said.
    pub(crate) fn of_data(error: &tokio_postgres::Error, statement: &str) -> Self {
        Self { class: LossClass::Data, ..Self::of(error, statement) }
    }

    /// A loss from an error of the server.
    pub(crate) fn of(error: &tokio_postgres::Error, statement: &str) -> Self {
        match error.as_db_error() {
            Some(db) => Self::new(db.message(), Some(db.code().code()), statement),
            None => Self::new(&error.to_string(), None, statement),
        }
    }
}

/// Whether an error of a statement is about the statement; all others end the restore.
pub(crate) fn bearable(error: &tokio_postgres::Error) -> bool {
    // 57P: the server shuts down or the session was ended; 53: out of disk or memory, where going on only adds harm.
    error.as_db_error().is_some_and(|db| {
        let code = db.code().code();
        !(code.starts_with("57P") || code.starts_with("53") || code.starts_with("08"))
    })
}

fn classify(message: &str, code: Option<&str>, statement: &str) -> LossClass {
    let upper = statement.trim_start();
    if let Some(class) = code.and_then(by_code) {
        // 42704 is "undefined object": of a role, or of a type whose extension is absent.
        return class;
    }
    let m = message.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|w| m.contains(w));
    if has(&["extension"]) && has(&["not available", "control file", "does not exist"])
        || upper.starts_with("CREATE EXTENSION")
            && !has(&["already exists", "permission", "must be"])
    {
        LossClass::Extension
    } else if has(&["role \""]) && has(&["does not exist"]) {
        LossClass::Role
    } else if has(&["already exists", "multiple primary keys"]) {
        LossClass::Exists
    } else if has(&["permission denied", "must be owner", "must be superuser", "must be member"])
        || has(&["must be able to set role", "only superusers", "must have"])
    {
        LossClass::Permission
    } else if has(&["copy failed", "violates", "could not create unique index", "invalid input"])
        || has(&["is duplicated", "value too long", "invalid byte sequence", "large object"])
        || ["COPY ", "INSERT INTO "].iter().any(|w| upper.starts_with(w))
    {
        LossClass::Data
    } else if upper.contains(" OWNER TO ")
        || ["GRANT ", "REVOKE "].iter().any(|w| upper.starts_with(w))
    {
        // The server may speak another language than English.
        LossClass::Role
    } else {
        LossClass::Other
    }
}

/// What the SQLSTATE alone says.
fn by_code(code: &str) -> Option<LossClass> {
    Some(match code {
        "42501" => LossClass::Permission,
        "42P04" | "42P06" | "42P07" | "42701" | "42710" | "42723" | "42P16" => LossClass::Exists,
        "58P01" | "0A000" => return None, // an extension's control file, among others
        _ if code.starts_with("22") || code.starts_with("23") => LossClass::Data,
        _ => return None,
    })
}

/// The message without the value that a data error quotes at its end.
fn blank(message: &str, code: Option<&str>) -> String {
    let of_data = code.is_none_or(|c| c.starts_with("22") || c.starts_with("23") || c == "42601");
    let quoted =
        ["invalid input", "out of range", "syntax error at or near", "invalid byte sequence"];
    let message = match message.find(": \"") {
        Some(at) if of_data => &message[..at],
        _ => match (message.find(" \""), quoted.iter().any(|q| message.contains(q))) {
            (Some(at), true) => &message[..at],
            _ => message,
        },
    };
    short(message)
}

/// The statement without its data.
fn bare(statement: &str) -> String {
    let one_line = statement.split_whitespace().take(60).collect::<Vec<_>>().join(" ");
    let upper = one_line.to_ascii_uppercase();
    let data = ["INSERT INTO ", "SELECT PG_CATALOG.LOWRITE", "SELECT PG_CATALOG.LO_PUT", "UPDATE "];
    if data.iter().any(|d| upper.starts_with(d)) {
        let end = upper.find(" VALUES").or_else(|| one_line.find(['(', '\'']));
        return short(&one_line[..end.unwrap_or(one_line.len())]);
    }
    short(&one_line)
}

fn short(text: &str) -> String {
    let mut out: String = text.chars().take(LONGEST).collect();
    if out.len() < text.len() {
        out.push_str(" ..");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(message: &str, statement: &str) -> LossClass {
        Loss::new(message, None, statement).class
    }

    #[test]
    fn each_kind_of_message_has_its_class() {
        use LossClass::{Data, Exists, Extension, Other, Permission, Role};
        let table = [
            ("extension \"postgis\" is not available", "CREATE EXTENSION postgis", Extension),
            (
                "could not open extension control file \"/x/pg_cron.control\"",
                "CREATE EXTENSION x",
                Extension,
            ),
            ("role \"bob\" does not exist", "ALTER TABLE t OWNER TO bob", Role),
            ("la función no existe", "ALTER TABLE t OWNER TO bob", Role),
            ("relation \"t\" already exists", "CREATE TABLE t()", Exists),
            ("schema \"public\" already exists", "CREATE SCHEMA public", Exists),
            (
                "permission denied to create \"pg_catalog.x\"",
                "CREATE VIEW pg_catalog.x",
                Permission,
            ),
            ("must be owner of extension plpgsql", "COMMENT ON EXTENSION plpgsql", Permission),
            ("could not create unique index \"t_pkey\"", "ALTER TABLE t ADD PRIMARY KEY", Data),
            (
                "insert or update on table \"a\" violates foreign key constraint",
                "ALTER TABLE a",
                Data,
            ),
            ("type \"public.hstore\" does not exist", "CREATE TABLE t (h public.hstore)", Other),
        ];
        for (message, statement, expected) in table {
            assert_eq!(class(message, statement), expected, "{message}");
        }
    }

    #[test]
    fn a_loss_never_holds_a_row() {
        let loss = Loss::new(
            "invalid input syntax for type integer: \"Jane Roe\"\nCONTEXT:  COPY t, line 1: \"Jane Roe\"",
            Some("22P02"),
            "COPY public.t (id) FROM stdin;",
        );
        assert_eq!(loss.message, "invalid input syntax for type integer");
        let insert = Loss::new(
            "duplicate key value violates unique constraint \"t_pkey\"",
            Some("23505"),
            "INSERT INTO public.t VALUES (1, 'Jane Roe')",
        );
        assert_eq!(insert.statement, "INSERT INTO public.t");
        assert_eq!(insert.class, LossClass::Data);
        let near = Loss::new("syntax error at or near \"Jane\"", Some("42601"), "Jane Roe");
        assert_eq!(near.message, "syntax error at or near");
    }

    #[test]
    fn long_statements_are_cut() {
        let loss = Loss::new("x", None, &format!("CREATE VIEW v AS SELECT '{}'", "é".repeat(900)));
        assert!(loss.statement.chars().count() <= LONGEST + 3, "{}", loss.statement);
    }
}

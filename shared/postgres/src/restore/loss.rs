//! What a restore could not bring back, put into classes that a person can act on.
//!
//! A loss never holds data, and the SQLSTATE alone decides its class: a server may speak any language, and its messages may
//! quote rows. What is shown of them is said in [`crate::error`]; of a statement only its kind and name are kept.

use crate::error::{describe_by_sqlstate, safe_message};
use serde::{Deserialize, Serialize};
use tokio_postgres::error::SqlState;

/// The longest statement or message that a loss keeps, in characters.
const MAX_TEXT_CHARS: usize = 300;

/// What kind of thing was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RestoreWarningKind {
    /// An extension that the server does not have.
    Extension,
    /// A role that does not exist here: an owner or a grant is missing.
    Role,
    /// The object was there already.
    Exists,
    /// The restoring user may not do it.
    Permission,
    /// A tablespace that the server does not have; what was in it is in the default one.
    Tablespace,
    /// What belongs to the database itself: its order of text, its settings, its comment.
    Database,
    /// Rows or large objects: what makes a backup worth nothing.
    Data,
    /// Anything else, mostly what follows from one of the above.
    Other,
}

/// One thing that a restore could not bring back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreWarning {
    /// Its kind.
    pub kind: RestoreWarningKind,
    /// The server's code for it, its SQLSTATE; none where it was not the server that refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqlstate: Option<String>,
    /// Why, without data.
    pub message: String,
    /// What is lost: an object's kind and name, or the statement that failed up to where its values begin.
    pub statement: String,
}

/// What a statement of a dump is about, as far as it decides the class of its loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StatementTopic {
    /// An extension.
    Extension,
    /// An owner, a grant, or a setting of a role.
    Role,
    /// Rows or large objects.
    Data,
    /// The tablespace of what follows.
    Tablespace,
    /// Any other definition.
    Definition,
}

impl StatementTopic {
    /// Of an entry of an archive, by its kind.
    pub(crate) fn from_entry_kind(desc: &str) -> Self {
        match desc {
            "EXTENSION" => Self::Extension,
            "ACL" | "ACL LANGUAGE" | "DEFAULT ACL" | "POLICY" | "USER MAPPING" => Self::Role,
            "TABLE DATA" | "BLOBS" | "BLOB" | "BLOB METADATA" => Self::Data,
            _ => Self::Definition,
        }
    }

    /// Of a statement, by its first words.
    fn from_statement(statement: &str) -> Self {
        let words: Vec<String> =
            statement.split_whitespace().take(3).map(str::to_ascii_uppercase).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            ["CREATE", "EXTENSION", ..] | ["COMMENT", "ON", "EXTENSION"] => Self::Extension,
            ["GRANT" | "REVOKE", ..] | ["ALTER", "DEFAULT" | "ROLE", ..] => Self::Role,
            ["ALTER", ..] if sets_owner(statement) => Self::Role,
            ["COPY" | "INSERT", ..] => Self::Data,
            ["SET", "DEFAULT_TABLESPACE", ..] => Self::Tablespace,
            _ => Self::Definition,
        }
    }
}

/// Whether the end of an ALTER statement is what `pg_dump` writes to set an owner.
fn sets_owner(statement: &str) -> bool {
    let mut last = statement.split_whitespace().rev().skip(1);
    last.next() == Some("TO") && last.next() == Some("OWNER")
}

impl RestoreWarning {
    /// A loss that was seen before any statement could fail.
    pub(crate) fn new(
        class: RestoreWarningKind,
        what: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { kind: class, sqlstate: None, message: message.into(), statement: what.into() }
    }

    /// A loss from an error of a statement.
    pub(crate) fn from_statement_error(error: &tokio_postgres::Error, statement: &str) -> Self {
        Self::from_error(
            error,
            StatementTopic::from_statement(statement),
            &redact_statement(statement),
        )
    }

    /// A loss of rows, whatever the server said.
    pub(crate) fn from_data_error(error: &tokio_postgres::Error, statement: &str) -> Self {
        Self::from_error(error, StatementTopic::Data, &redact_statement(statement))
    }

    /// A loss from an error that is about `what`, a name without data.
    pub(crate) fn from_error(
        error: &tokio_postgres::Error,
        topic: StatementTopic,
        what: &str,
    ) -> Self {
        let (code, message) = match error.as_db_error() {
            // What is near a syntax error is a piece of the dump.
            Some(db) if db.code() == &SqlState::SYNTAX_ERROR => {
                (Some(db.code().code()), describe_by_sqlstate(db))
            }
            Some(db) => (Some(db.code().code()), safe_message(db)),
            None => (None, error.to_string()),
        };
        let class = match topic {
            StatementTopic::Data => RestoreWarningKind::Data,
            _ => code
                .map_or(RestoreWarningKind::Other, |code| warning_kind_from_sqlstate(code, topic)),
        };
        Self {
            kind: class,
            sqlstate: code.map(str::to_owned),
            message: truncate_text(message.lines().next().unwrap_or_default()),
            statement: what.to_owned(),
        }
    }
}

/// Whether an error of a statement is about the statement; all others end the restore.
pub(crate) fn is_recoverable(error: &tokio_postgres::Error) -> bool {
    // 57P: the server shuts down or the session was ended; 53: out of disk or memory, where going on only adds harm.
    error.as_db_error().is_some_and(|db| {
        let code = db.code().code();
        !(code.starts_with("57P") || code.starts_with("53") || code.starts_with("08"))
    })
}

/// The class of a code of <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn warning_kind_from_sqlstate(code: &str, topic: StatementTopic) -> RestoreWarningKind {
    match (code, topic) {
        ("42501", _) => RestoreWarningKind::Permission,
        ("42P04" | "42P06" | "42P07" | "42701" | "42710" | "42723" | "42P16", _) => {
            RestoreWarningKind::Exists
        }
        // Not available (since 15, and before), not in this version, one that it needs is absent.
        ("0A000" | "58P01" | "22023" | "42704", StatementTopic::Extension) => {
            RestoreWarningKind::Extension
        }
        ("42704", StatementTopic::Role) => RestoreWarningKind::Role,
        (_, StatementTopic::Tablespace) => RestoreWarningKind::Tablespace,
        _ if code.starts_with("22") || code.starts_with("23") => RestoreWarningKind::Data,
        _ => RestoreWarningKind::Other,
    }
}

/// The statement up to where values may begin: its kind and the name of what it makes.
fn redact_statement(statement: &str) -> String {
    let values = statement.find(['(', '\'', '$']).unwrap_or(statement.len());
    let one_line = statement[..values].split_whitespace().take(60).collect::<Vec<_>>().join(" ");
    let body = one_line.find(" AS ").unwrap_or(one_line.len());
    let body = one_line.to_ascii_uppercase().find(" VALUES").map_or(body, |at| at.min(body));
    truncate_text(one_line[..body].trim_end_matches(" AS").trim_end_matches(" IS"))
}

fn truncate_text(text: &str) -> String {
    let mut out: String = text.chars().take(MAX_TEXT_CHARS).collect();
    if out.len() < text.len() {
        out.push_str(" ..");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_and_the_topic_give_the_class() {
        use RestoreWarningKind::{Data, Exists, Extension, Other, Permission, Role};
        let table = [
            ("0A000", "CREATE EXTENSION IF NOT EXISTS postgis WITH SCHEMA public", Extension),
            ("58P01", "CREATE EXTENSION pg_cron", Extension),
            ("42501", "COMMENT ON EXTENSION plpgsql IS 'x'", Permission),
            ("42704", "ALTER TABLE public.t OWNER TO bob", Role),
            ("42704", "GRANT SELECT ON TABLE public.t TO bob", Role),
            ("42704", "ALTER DEFAULT PRIVILEGES FOR ROLE bob GRANT SELECT ON TABLES TO eve", Role),
            ("42704", "CREATE TABLE public.t (h public.hstore)", Other),
            ("42P07", "CREATE TABLE public.t ()", Exists),
            ("23505", "ALTER TABLE ONLY public.t ADD CONSTRAINT t_pkey PRIMARY KEY (id)", Data),
            ("0A000", "CREATE VIEW public.v AS SELECT 1", Other),
            ("22023", "SET default_tablespace = fast", RestoreWarningKind::Tablespace),
        ];
        for (code, statement, expected) in table {
            assert_eq!(
                warning_kind_from_sqlstate(code, StatementTopic::from_statement(statement)),
                expected,
                "{code} {statement}"
            );
        }
    }

    #[test]
    fn a_statement_is_shown_without_its_values() {
        let table = [
            ("INSERT INTO public.t VALUES (1, 'Jane Roe')", "INSERT INTO public.t"),
            ("COPY public.t (id) FROM stdin", "COPY public.t"),
            ("COMMENT ON TABLE public.t IS 'Jane Roe'", "COMMENT ON TABLE public.t"),
            ("CREATE VIEW public.v AS\n SELECT Jane FROM roe", "CREATE VIEW public.v"),
            ("CREATE FUNCTION public.f() RETURNS text AS $$ Jane $$", "CREATE FUNCTION public.f"),
            (
                "ALTER TABLE ONLY public.t\n    ADD CONSTRAINT t_check CHECK (v <> 'Jane')",
                "ALTER TABLE ONLY public.t ADD CONSTRAINT t_check CHECK",
            ),
            ("ALTER TABLE public.t OWNER TO bob", "ALTER TABLE public.t OWNER TO bob"),
        ];
        for (statement, expected) in table {
            assert_eq!(redact_statement(statement), expected);
        }
    }

    #[test]
    fn long_statements_are_cut() {
        let cut = redact_statement(&format!("CREATE VIEW {}", "é".repeat(900)));
        assert!(cut.chars().count() <= MAX_TEXT_CHARS + 3, "{cut}");
    }
}

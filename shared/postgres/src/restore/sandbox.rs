//! What a test restore needs from the server's administrator, since the role that restores has no rights of its own.
//!
//! Nothing of the file's text is run here: extensions are created by their names, quoted. What else takes a superuser
//! is left out of the test, and said.

use super::judge::{self, SqlToken};
use crate::{
    ConnectionConfig, PgConnection, PostgresError, PostgresErrorKind, quote_ident,
    toc::{Toc, TocEntry, TocSection},
};
use std::collections::{BTreeSet, HashSet};

/// Kinds of entries that only a superuser can make.
const SUPERUSER_KINDS: [&str; 9] = [
    "EVENT TRIGGER",
    "SUBSCRIPTION",
    "FOREIGN DATA WRAPPER",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "ACCESS METHOD",
    "PROCEDURAL LANGUAGE",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE",
];

/// The administrator's connection to the database of a test.
pub(super) struct TestSandbox {
    admin: PgConnection,
    role: String,
}

impl TestSandbox {
    /// Connects.
    pub(super) async fn connect_admin(
        admin: &ConnectionConfig,
        database: &str,
        role: &str,
    ) -> Result<Self, PostgresError> {
        Ok(Self { admin: admin.connect(database).await?, role: role.to_owned() })
    }

    /// Creates the extensions of an archive; the schemas that had to be made for them are the answer.
    pub(super) async fn create_extensions(
        &self,
        toc: &Toc,
    ) -> Result<BTreeSet<String>, PostgresError> {
        let mut made = BTreeSet::new();
        for entry in toc.entries.iter().filter(|e| e.desc == "EXTENSION") {
            let Some((name, schema)) = parse_create_extension(&entry.defn) else { continue };
            if self.create_extension(&name, schema.as_deref()).await? {
                made.extend(schema);
            }
        }
        Ok(made)
    }

    /// Creates an extension, and its schema where that is not there yet: whether it was made. One that can't be created
    /// is the restore's to find.
    pub(super) async fn create_extension(
        &self,
        name: &str,
        schema: Option<&str>,
    ) -> Result<bool, PostgresError> {
        let mut made = false;
        let mut create = format!("CREATE EXTENSION IF NOT EXISTS {}", quote_ident(name));
        if let Some(schema) = schema {
            let there =
                "SELECT FROM pg_catalog.pg_namespace WHERE nspname OPERATOR(pg_catalog.=) $1";
            let row = self.admin.query_opt(there, &[&schema]).await;
            made = row.map_err(|e| self.extension_error(name, &e))?.is_none();
            if made {
                let of = quote_ident(&self.role);
                self.execute_sql(&format!(
                    "CREATE SCHEMA {} AUTHORIZATION {of}",
                    quote_ident(schema)
                ))
                .await?;
            }
            create.push_str(&format!(" WITH SCHEMA {}", quote_ident(schema)));
        }
        // `search_path` is where an extension without a schema goes.
        if let Err(e) = self.execute_sql(&create).await {
            tracing::info!(error = %e, "extension {name} is not created: {e}");
            return Ok(made);
        }
        // Servers of its wrappers are the dump's own to make, with passwords of theirs.
        let wrappers = "SELECT w.fdwname::text FROM pg_catalog.pg_extension x JOIN pg_catalog.pg_depend d
                ON d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.refobjid = x.oid AND d.deptype = 'e'
                AND d.classid = 'pg_catalog.pg_foreign_data_wrapper'::regclass
            JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = d.objid WHERE x.extname = $1";
        for row in self
            .admin
            .query(wrappers, &[&name])
            .await
            .map_err(|e| self.extension_error(name, &e))?
        {
            let (wrapper, to) = (quote_ident(row.get(0)), quote_ident(&self.role));
            self.execute_sql(&format!("GRANT USAGE ON FOREIGN DATA WRAPPER {wrapper} TO {to}"))
                .await?;
        }
        // The rows that a dump has of an extension's own tables are the restoring role's to load.
        let own = "SELECT c.oid::pg_catalog.regclass::pg_catalog.text FROM pg_catalog.pg_extension x,
                pg_catalog.unnest(x.extconfig) AS o (oid) JOIN pg_catalog.pg_class c ON c.oid = o.oid
            WHERE x.extname = $1 ORDER BY c.relkind DESC";
        let rows =
            self.admin.query(own, &[&name]).await.map_err(|e| self.extension_error(name, &e))?;
        for row in rows {
            let table: String = row.get(0); // quoted by the server, as its search_path needs it
            let of = quote_ident(&self.role);
            if let Err(e) = self.execute_sql(&format!("ALTER TABLE {table} OWNER TO {of}")).await {
                tracing::debug!(error = %e, "{table} keeps its owner: {e}");
            }
        }
        Ok(made)
    }

    /// Creates the wrappers of foreign data that an archive has beside its extensions.
    pub(super) async fn create_wrappers(&self, toc: &Toc) {
        for entry in toc.entries.iter().filter(|e| e.desc == "FOREIGN DATA WRAPPER") {
            self.create_wrapper(&entry.tag).await;
        }
    }

    /// Creates a wrapper of foreign data by its name alone: what it does is left out of the test, and the servers and
    /// tables that hang on it are not.
    pub(super) async fn create_wrapper(&self, name: &str) {
        let (wrapper, to) = (quote_ident(name), quote_ident(&self.role));
        let create = format!(
            "CREATE FOREIGN DATA WRAPPER {wrapper}; GRANT USAGE ON FOREIGN DATA WRAPPER {wrapper} TO {to}"
        );
        if let Err(e) = self.execute_sql(&create).await {
            tracing::info!(error = %e, "wrapper {name} is not created: {e}");
        }
    }

    async fn execute_sql(&self, sql: &str) -> Result<(), PostgresError> {
        let done = self.admin.batch_execute(sql).await;
        done.map_err(|e| PostgresError::from_pg("prepare a test restore", &e))
    }

    fn extension_error(&self, name: &str, e: &tokio_postgres::Error) -> PostgresError {
        let error = PostgresError::from_pg(format!("create extension {name} for {}", self.role), e);
        if error.kind == PostgresErrorKind::Data {
            PostgresError { kind: PostgresErrorKind::Refused, ..error }
        } else {
            error
        }
    }

    /// The entries that a test restores, and those that it leaves out; schemas in `made` are there already.
    pub(super) fn testable_entries(
        toc: &Toc,
        chosen: Option<&HashSet<i32>>,
        made: &BTreeSet<String>,
    ) -> (HashSet<i32>, Vec<String>) {
        let is_chosen = |e: &&TocEntry| chosen.is_none_or(|c| c.contains(&e.dump_id));
        let (mut left, mut untested) = (HashSet::new(), Vec::new());
        for entry in toc.entries.iter().filter(is_chosen) {
            if requires_superuser(entry) {
                left.insert(entry.dump_id);
                untested.push(format!("{} {}", entry.desc.to_lowercase(), entry.tag));
            } else if (entry.desc == "SCHEMA" && made.contains(&entry.tag))
                || (entry.desc == "COMMENT" && entry.tag.starts_with("EXTENSION "))
            {
                left.insert(entry.dump_id);
            }
        }
        // Their comments and grants, and the parts of a publication.
        for entry in toc.entries.iter().filter(is_chosen) {
            let hangs = entry.section == TocSection::None || entry.desc.starts_with("PUBLICATION ");
            let of_schema = |id: &i32| toc.entry_by_id(*id).is_some_and(|e| e.desc == "SCHEMA");
            if hangs && entry.dependencies.iter().any(|d| left.contains(d) && !of_schema(d)) {
                left.insert(entry.dump_id);
            }
        }
        let kept = toc.entries.iter().filter(is_chosen).map(|e| e.dump_id);
        (kept.filter(|id| !left.contains(id)).collect(), untested)
    }
}

fn requires_superuser(entry: &TocEntry) -> bool {
    let everything = || {
        let words = judge::tokenize(&entry.defn);
        words.windows(2).any(|w| {
            matches!(w, [SqlToken::Word(f), SqlToken::Word(what)] if f.eq_ignore_ascii_case("FOR")
                && ["ALL", "TABLES"].iter().any(|k| what.eq_ignore_ascii_case(k)))
        })
    };
    SUPERUSER_KINDS.contains(&&*entry.desc)
        || entry.desc == "PUBLICATION TABLES IN SCHEMA"
        || (entry.desc == "PUBLICATION" && everything())
}

/// The name in `CREATE FOREIGN DATA WRAPPER name`.
pub(super) fn parse_wrapper_name(statement: &str) -> Option<String> {
    let words = judge::tokenize(statement);
    let (head, [name, ..]) = words.split_at_checked(4)? else { return None };
    let is = |(token, word): (&SqlToken, &str)| matches!(token, SqlToken::Word(w) if w.eq_ignore_ascii_case(word));
    let begins = head.iter().zip(["CREATE", "FOREIGN", "DATA", "WRAPPER"]).all(is);
    if begins { name.to_identifier() } else { None }
}

/// Name and schema of `CREATE EXTENSION IF NOT EXISTS name WITH SCHEMA schema`.
pub(super) fn parse_create_extension(statement: &str) -> Option<(String, Option<String>)> {
    let words = judge::tokenize(statement);
    let [SqlToken::Word(create), SqlToken::Word(kind), rest @ ..] = &words[..] else { return None };
    if !(create.eq_ignore_ascii_case("CREATE") && kind.eq_ignore_ascii_case("EXTENSION")) {
        return None;
    }
    let at = rest.iter().position(|t| !judge::is_if_not_exists(t))?;
    let name = rest[at].to_identifier()?;
    let schema = rest[at..].windows(2).find_map(|w| match w[0] {
        SqlToken::Word(word) if word.eq_ignore_ascii_case("SCHEMA") => w[1].to_identifier(),
        _ => None,
    });
    Some((name, schema))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapper_is_read_by_its_name_alone() {
        let table = [
            ("CREATE FOREIGN DATA WRAPPER far HANDLER public.evil;", Some("far")),
            ("CREATE FOREIGN DATA WRAPPER \"a \"\"b\";", Some("a \"b")),
            ("CREATE FOREIGN DATA WRAPPER", None),
            ("CREATE FOREIGN TABLE far_away ()", None),
        ];
        for (statement, expected) in table {
            assert_eq!(parse_wrapper_name(statement).as_deref(), expected, "{statement}");
        }
    }

    #[test]
    fn an_extension_is_read_by_its_name_and_schema_alone() {
        let table = [
            (
                "CREATE EXTENSION IF NOT EXISTS hstore WITH SCHEMA public;",
                Some(("hstore", Some("public"))),
            ),
            ("CREATE EXTENSION \"uuid-ossp\"", Some(("uuid-ossp", None))),
            ("CREATE EXTENSION x WITH SCHEMA \"a \"\"b\"", Some(("x", Some("a \"b")))),
            ("CREATE TABLE extension ()", None),
        ];
        for (statement, expected) in table {
            let expected = expected.map(|(n, s)| (n.to_owned(), s.map(str::to_owned)));
            assert_eq!(parse_create_extension(statement), expected, "{statement}");
        }
    }
}

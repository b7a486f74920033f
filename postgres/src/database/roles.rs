//! Roles of a dump that the server lacks, so that owners and grants find them.

use super::maintenance;
use crate::{
    Error, Server, Session,
    restore::{Loss, bearable, sql_name, statements},
};
use std::collections::BTreeSet;

/// What is left out of a role's attributes: who may log in, and who rules the server, is not for a backup to say.
const LEFT_OUT: [&str; 4] = ["LOGIN", "SUPERUSER", "REPLICATION", "BYPASSRLS"];

/// Creates the roles that are missing, from the output of `pg_dumpall --roles-only --no-role-passwords`.
///
/// They can't log in, have no password and no right over the server; who wants that for them says so by hand. Roles that
/// exist are left as they are, with their memberships. Statements of any other kind are not run.
///
/// # Errors
/// The text is no SQL, or the connection is lost. A role that the server refuses is a [`Loss`].
pub async fn roles(server: &Server, sql: &str) -> Result<Vec<Loss>, Error> {
    let session = maintenance(server).await?;
    let rows = session.query("SELECT rolname::text FROM pg_catalog.pg_roles", &[]).await;
    let rows = rows.map_err(|e| Error::from_pg("list the roles", &e))?;
    let existing: BTreeSet<String> = rows.iter().filter_map(|r| r.try_get(0).ok()).collect();
    let mut losses = Vec::new();
    for statement in statements(sql)? {
        let Some(allowed) = allowed(&statement, &existing) else { continue };
        run(&session, &allowed, &mut losses).await?;
    }
    Ok(losses)
}

async fn run(session: &Session, sql: &str, losses: &mut Vec<Loss>) -> Result<(), Error> {
    match session.batch_execute(sql).await {
        Ok(()) => Ok(()),
        Err(e) if bearable(&e) => {
            losses.push(Loss::of(&e, sql));
            Ok(())
        }
        Err(e) => Err(Error::from_pg("create roles", &e)),
    }
}

/// What is run of a statement; nothing of one about a role that exists, or of a kind that has no place here.
fn allowed(statement: &str, existing: &BTreeSet<String>) -> Option<String> {
    let is_new = |name: &str| !existing.contains(&bare(name)) && !bare(name).starts_with("pg_");
    if let Some(rest) = statement.strip_prefix("CREATE ROLE ") {
        let name = sql_name(rest);
        return is_new(name).then(|| format!("CREATE ROLE {name} NOLOGIN"));
    }
    if let Some(rest) = statement.strip_prefix("ALTER ROLE ") {
        let name = sql_name(rest);
        if !is_new(name) {
            return None;
        }
        let rest = rest[name.len()..].trim_start();
        if rest.starts_with("SET ") || rest.starts_with("IN DATABASE ") {
            return Some(statement.to_string());
        }
        let mut words = rest.strip_prefix("WITH ")?.split_whitespace();
        let mut kept = Vec::new();
        while let Some(word) = words.next() {
            match word {
                "PASSWORD" => drop(words.next()),
                "CONNECTION" => kept.extend(["CONNECTION", words.next()?, words.next()?]),
                "VALID" => break, // until when its password is valid: it has none
                _ if LEFT_OUT.contains(&word.strip_prefix("NO").unwrap_or(word)) => {}
                _ => kept.push(word),
            }
        }
        let plain = kept.iter().all(|w| w.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
        return (plain && !kept.is_empty())
            .then(|| format!("ALTER ROLE {name} WITH {}", kept.join(" ")));
    }
    if let Some(rest) = statement.strip_prefix("GRANT ") {
        let group = sql_name(rest);
        let member = sql_name(rest[group.len()..].trim_start().strip_prefix("TO ")?);
        let with_admin =
            if rest.contains(" WITH ADMIN OPTION") { " WITH ADMIN OPTION" } else { "" };
        // Predefined groups (pg_read_server_files, ..) are rights over the server.
        let harmless = !bare(group).starts_with("pg_");
        return (is_new(member) && harmless)
            .then(|| format!("GRANT {group} TO {member}{with_admin}"));
    }
    None
}

fn bare(name: &str) -> String {
    match name.strip_prefix('"').and_then(|n| n.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => name.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_role_comes_without_login_password_or_power() {
        let existing = BTreeSet::from(["postgres".to_string(), "Old One".to_string()]);
        let table = [
            ("CREATE ROLE app", Some("CREATE ROLE app NOLOGIN")),
            ("CREATE ROLE \"Old One\"", None),
            (
                "ALTER ROLE app WITH SUPERUSER INHERIT NOCREATEROLE CREATEDB LOGIN NOREPLICATION BYPASSRLS PASSWORD 'x'",
                Some("ALTER ROLE app WITH INHERIT NOCREATEROLE CREATEDB"),
            ),
            (
                "ALTER ROLE app WITH INHERIT CONNECTION LIMIT 5",
                Some("ALTER ROLE app WITH INHERIT CONNECTION LIMIT 5"),
            ),
            ("ALTER ROLE postgres WITH NOSUPERUSER", None),
            ("ALTER ROLE app SET work_mem TO '1MB'", Some("ALTER ROLE app SET work_mem TO '1MB'")),
            ("GRANT postgres TO app GRANTED BY postgres", Some("GRANT postgres TO app")),
            ("GRANT app TO \"Old One\"", None),
            ("GRANT pg_write_server_files TO app", None),
            ("DROP DATABASE orders", None),
        ];
        for (statement, expected) in table {
            assert_eq!(allowed(statement, &existing).as_deref(), expected, "{statement}");
        }
    }
}

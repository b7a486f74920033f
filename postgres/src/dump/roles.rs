//! The server's roles and their memberships as SQL, without passwords. A dump never fails for them.

use crate::{Server, Session, literal, quoted, tools::Tools};
use std::process::Stdio;

/// By `pg_dumpall`, or from `pg_roles` where that is refused; an SQL comment says why when neither works.
pub(super) async fn roles(server: &Server, database: &str, tools: &Tools) -> String {
    match stock(server, database, tools).await {
        Ok(sql) => sql,
        Err(why) => {
            tracing::info!(why, "pg_dumpall gives no roles, pg_roles is read");
            match own(server, database).await {
                Ok(sql) => sql,
                Err(e) => format!("-- The roles could not be read: {}\n", e.replace('\n', " ")),
            }
        }
    }
}

async fn stock(server: &Server, database: &str, tools: &Tools) -> Result<String, String> {
    let mut command = server.command(&tools.pg_dumpall, database);
    command.args(["--roles-only", "--no-role-passwords", "--no-password", "--database", database]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.output().await.map_err(|e| e.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let sql = String::from_utf8(output.stdout).map_err(|e| e.to_string())?;
    Ok(useful(&sql))
}

/// The statements about roles, without comments, settings of the session and what only psql understands.
fn useful(sql: &str) -> String {
    let keep = |l: &&str| {
        !(l.is_empty() || l.starts_with("--") || l.starts_with('\\') || l.starts_with("SET "))
    };
    sql.lines().filter(keep).flat_map(|l| [l, "\n"]).collect()
}

async fn own(server: &Server, database: &str) -> Result<String, String> {
    let session = server.connect(database).await.map_err(|e| e.to_string())?;
    from_catalogue(&session).await.map_err(|e| e.to_string())
}

async fn from_catalogue(session: &Session) -> Result<String, tokio_postgres::Error> {
    let sql = "SELECT rolname::text, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication,
            rolbypassrls, rolconnlimit FROM pg_catalog.pg_roles WHERE rolname !~ '^pg_' ORDER BY 1";
    let mut out = String::new();
    for row in session.query(sql, &[]).await? {
        let name = quoted(row.get(0));
        let words =
            ["SUPERUSER", "INHERIT", "CREATEROLE", "CREATEDB", "LOGIN", "REPLICATION", "BYPASSRLS"];
        let attributes: Vec<String> = (words.iter().enumerate())
            .map(|(i, word)| format!("{}{word}", if row.get(i + 1) { "" } else { "NO" }))
            .collect();
        let limit: i32 = row.get(8);
        out.push_str(&format!(
            "CREATE ROLE {name};\nALTER ROLE {name} WITH {}",
            attributes.join(" ")
        ));
        if limit >= 0 {
            out.push_str(&format!(" CONNECTION LIMIT {limit}"));
        }
        out.push_str(";\n");
    }
    let sql = "SELECT r.rolname::text, s.setting FROM pg_catalog.pg_roles r, unnest(r.rolconfig) s (setting)
        WHERE r.rolname !~ '^pg_' ORDER BY 1, 2";
    for row in session.query(sql, &[]).await? {
        let setting: String = row.get(1);
        // Lists need each element quoted by itself; those are left to whoever set them.
        if let Some((name, value)) = setting.split_once('=').filter(|(_, v)| !v.contains(',')) {
            let (role, name, value) = (quoted(row.get(0)), quoted(name), literal(value));
            out.push_str(&format!("ALTER ROLE {role} SET {name} TO {value};\n"));
        }
    }
    let sql = "SELECT g.rolname::text, m.rolname::text, a.admin_option FROM pg_catalog.pg_auth_members a
        JOIN pg_catalog.pg_roles g ON g.oid = a.roleid JOIN pg_catalog.pg_roles m ON m.oid = a.member
        WHERE m.rolname !~ '^pg_' ORDER BY 1, 2";
    for row in session.query(sql, &[]).await? {
        let option = if row.get(2) { " WITH ADMIN OPTION" } else { "" };
        out.push_str(&format!("GRANT {} TO {}{option};\n", quoted(row.get(0)), quoted(row.get(1))));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_pg_dumpall_s_text_only_the_statements_about_roles_stay() {
        let said = "--\n-- PostgreSQL database cluster dump\n--\n\n\\restrict x\n\nSET client_encoding = 'UTF8';\n\
            CREATE ROLE a;\nALTER ROLE a WITH LOGIN;\n\n\\unrestrict x\n";
        assert_eq!(useful(said), "CREATE ROLE a;\nALTER ROLE a WITH LOGIN;\n");
    }
}

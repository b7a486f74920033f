//! Roles of a dump that the server lacks, so that owners and grants find them.

use super::connect_maintenance;
use crate::{
    ConnectionConfig, PgConnection, PostgresError,
    dump::ServerRole,
    quote_ident, quote_literal,
    restore::{RestoreWarning, is_recoverable},
};
use std::collections::BTreeSet;

/// Creates the roles that are missing.
///
/// They can't log in, have no password and no right over the server, and are members of none but each other: who wants
/// more for them says so by hand. Roles that exist are left as they are, with their memberships.
///
/// # Errors
/// The connection is lost. What the server refuses is a [`Loss`], and so is a membership or setting that is left out.
pub async fn create_missing_roles(
    server: &ConnectionConfig,
    roles: &[ServerRole],
) -> Result<Vec<RestoreWarning>, PostgresError> {
    let session = connect_maintenance(server).await?;
    let failed = |e: tokio_postgres::Error| PostgresError::from_pg("list the roles", &e);
    let rows = session.query("SELECT rolname::text FROM pg_catalog.pg_roles", &[]).await;
    let existing: BTreeSet<String> = rows.map_err(failed)?.iter().map(|r| r.get(0)).collect();
    let sql = "SELECT name FROM pg_catalog.pg_settings WHERE context = 'user'";
    let rows = session.query(sql, &[]).await.map_err(failed)?;
    let settable: BTreeSet<String> =
        rows.iter().map(|r| r.get::<_, String>(0).to_lowercase()).collect();
    let mut losses = Vec::new();
    for step in plan_roles(roles, &existing, &settable) {
        match step {
            RoleStep::Run(sql) => execute_or_warn(&session, &sql, &mut losses).await?,
            RoleStep::LeftOut(what) => losses.push(RestoreWarning::new(
                crate::restore::RestoreWarningKind::Role,
                what,
                "it is left out: who restores does not give rights of other roles, or settings that only a superuser may set",
            )),
        }
    }
    Ok(losses)
}

async fn execute_or_warn(
    session: &PgConnection,
    sql: &str,
    losses: &mut Vec<RestoreWarning>,
) -> Result<(), PostgresError> {
    match session.batch_execute(sql).await {
        Ok(()) => Ok(()),
        Err(e) if is_recoverable(&e) => {
            losses.push(RestoreWarning::from_statement_error(&e, sql));
            Ok(())
        }
        Err(e) => Err(PostgresError::from_pg("create roles", &e)),
    }
}

/// A step of creating roles.
#[derive(Clone, Debug, PartialEq, Eq)]
enum RoleStep {
    /// This statement, every name in it quoted.
    Run(String),
    /// What a person must do by hand.
    LeftOut(String),
}

/// What is done about the roles of a dump, on a server with these roles and settings that every user may set.
fn plan_roles(
    roles: &[ServerRole],
    existing: &BTreeSet<String>,
    settable: &BTreeSet<String>,
) -> Vec<RoleStep> {
    let missing = |name: &str| !existing.contains(name) && !name.starts_with("pg_");
    let mut names = BTreeSet::new();
    let new: Vec<&ServerRole> =
        roles.iter().filter(|r| missing(&r.name) && names.insert(&r.name)).collect();
    let mut steps = Vec::new();
    for role in &new {
        let name = quote_ident(&role.name);
        let inherit = if role.inherit { "INHERIT" } else { "NOINHERIT" };
        let limit = role.connection_limit.map(|l| format!(" CONNECTION LIMIT {l}"));
        let limit = limit.unwrap_or_default();
        steps.push(RoleStep::Run(format!("CREATE ROLE {name} NOLOGIN {inherit}{limit}")));
        for (setting, value) in &role.settings {
            // One with a dot is the application's own.
            if !(settable.contains(&setting.to_lowercase()) || setting.contains('.')) {
                steps.push(RoleStep::LeftOut(format!(
                    "ALTER ROLE {name} SET {}",
                    quote_ident(setting)
                )));
                continue;
            }
            // By way of the session (for this one message), so that a list of names (search_path) stays a list.
            let (of, value) = (quote_literal(setting), quote_literal(value));
            steps.push(RoleStep::Run(format!(
                "SELECT pg_catalog.set_config({of}, {value}, true); ALTER ROLE {name} SET {} FROM CURRENT",
                setting.split('.').map(quote_ident).collect::<Vec<_>>().join(".")
            )));
        }
    }
    for role in &new {
        for (group, admin) in &role.member_of {
            let grant = format!("GRANT {} TO {}", quote_ident(group), quote_ident(&role.name));
            let admin = if *admin { " WITH ADMIN OPTION" } else { "" };
            // A role that was there may have any right, and so may those of PostgreSQL's own.
            let harmless = names.contains(group);
            let step = if harmless { RoleStep::Run } else { RoleStep::LeftOut };
            steps.push(step(format!("{grant}{admin}")));
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str) -> ServerRole {
        ServerRole { name: name.into(), inherit: true, ..ServerRole::default() }
    }

    #[test]
    fn a_missing_role_comes_without_login_password_or_power() {
        let existing = BTreeSet::from(["postgres".to_owned(), "Old One".to_owned()]);
        let settable = BTreeSet::from(["work_mem".to_owned()]);
        let evil = "x\"; DROP DATABASE victim; --";
        let mighty = ServerRole {
            superuser: true,
            create_role: true,
            create_database: true,
            login: true,
            replication: true,
            bypass_row_security: true,
            connection_limit: Some(5),
            settings: vec![
                ("work_mem".into(), "1'MB".into()),
                ("session_preload_libraries".into(), "/tmp/evil".into()),
            ],
            member_of: [("postgres".to_owned(), true), ("group".to_owned(), true)].into(),
            ..role("app")
        };
        let roles = [
            mighty,
            ServerRole {
                member_of: [("pg_write_server_files".to_owned(), false)].into(),
                ..role("group")
            },
            role("Old One"),
            role("pg_other"),
            ServerRole { inherit: false, ..role(evil) },
            role("app"),
        ];
        let run = |sql: &str| RoleStep::Run(sql.into());
        let left = |sql: &str| RoleStep::LeftOut(sql.into());
        assert_eq!(
            plan_roles(&roles, &existing, &settable),
            [
                run("CREATE ROLE \"app\" NOLOGIN INHERIT CONNECTION LIMIT 5"),
                run(
                    "SELECT pg_catalog.set_config('work_mem', '1''MB', true); ALTER ROLE \"app\" SET \"work_mem\" FROM CURRENT"
                ),
                left("ALTER ROLE \"app\" SET \"session_preload_libraries\""),
                run("CREATE ROLE \"group\" NOLOGIN INHERIT"),
                run("CREATE ROLE \"x\"\"; DROP DATABASE victim; --\" NOLOGIN NOINHERIT"),
                run("GRANT \"group\" TO \"app\" WITH ADMIN OPTION"),
                left("GRANT \"postgres\" TO \"app\" WITH ADMIN OPTION"),
                left("GRANT \"pg_write_server_files\" TO \"group\""),
            ]
        );
    }
}

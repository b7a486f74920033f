//! Roles of a dump that the server lacks, so that owners and grants find them.

use super::maintenance;
use crate::{
    Error, Server, Session,
    dump::Role,
    literal, quoted,
    restore::{Loss, bearable},
};
use std::collections::BTreeSet;

/// Creates the roles that are missing.
///
/// They can't log in, have no password and no right over the server, and are members of none but each other: who wants
/// more for them says so by hand. Roles that exist are left as they are, with their memberships.
///
/// # Errors
/// The connection is lost. What the server refuses is a [`Loss`], and so is a membership or setting that is left out.
pub async fn roles(server: &Server, roles: &[Role]) -> Result<Vec<Loss>, Error> {
    let session = maintenance(server).await?;
    let failed = |e: tokio_postgres::Error| Error::from_pg("list the roles", &e);
    let rows = session.query("SELECT rolname::text FROM pg_catalog.pg_roles", &[]).await;
    let existing: BTreeSet<String> = rows.map_err(failed)?.iter().map(|r| r.get(0)).collect();
    let sql = "SELECT name FROM pg_catalog.pg_settings WHERE context = 'user'";
    let rows = session.query(sql, &[]).await.map_err(failed)?;
    let settable: BTreeSet<String> =
        rows.iter().map(|r| r.get::<_, String>(0).to_lowercase()).collect();
    let mut losses = Vec::new();
    for step in plan(roles, &existing, &settable) {
        match step {
            Step::Run(sql) => run(&session, &sql, &mut losses).await?,
            Step::LeftOut(what) => losses.push(Loss::new(
                crate::restore::LossClass::Role,
                what,
                "it is left out: who restores does not give rights of other roles, or settings that only a superuser may set",
            )),
        }
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

/// A step of creating roles.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// This statement, every name in it quoted.
    Run(String),
    /// What a person must do by hand.
    LeftOut(String),
}

/// What is done about the roles of a dump, on a server with these roles and settings that every user may set.
fn plan(roles: &[Role], existing: &BTreeSet<String>, settable: &BTreeSet<String>) -> Vec<Step> {
    let missing = |name: &str| !existing.contains(name) && !name.starts_with("pg_");
    let mut names = BTreeSet::new();
    let new: Vec<&Role> =
        roles.iter().filter(|r| missing(&r.name) && names.insert(&r.name)).collect();
    let mut steps = Vec::new();
    for role in &new {
        let name = quoted(&role.name);
        let inherit = if role.inherit { "INHERIT" } else { "NOINHERIT" };
        let limit = role.connection_limit.map(|l| format!(" CONNECTION LIMIT {l}"));
        let limit = limit.unwrap_or_default();
        steps.push(Step::Run(format!("CREATE ROLE {name} NOLOGIN {inherit}{limit}")));
        for (setting, value) in &role.settings {
            // One with a dot is the application's own.
            if !(settable.contains(&setting.to_lowercase()) || setting.contains('.')) {
                steps.push(Step::LeftOut(format!("ALTER ROLE {name} SET {}", quoted(setting))));
                continue;
            }
            // By way of the session (for this one message), so that a list of names (search_path) stays a list.
            let (of, value) = (literal(setting), literal(value));
            steps.push(Step::Run(format!(
                "SELECT pg_catalog.set_config({of}, {value}, true); ALTER ROLE {name} SET {} FROM CURRENT",
                setting.split('.').map(quoted).collect::<Vec<_>>().join(".")
            )));
        }
    }
    for role in &new {
        for (group, admin) in &role.member_of {
            let grant = format!("GRANT {} TO {}", quoted(group), quoted(&role.name));
            let admin = if *admin { " WITH ADMIN OPTION" } else { "" };
            // A role that was there may have any right, and so may those of PostgreSQL's own.
            let harmless = names.contains(group);
            let step = if harmless { Step::Run } else { Step::LeftOut };
            steps.push(step(format!("{grant}{admin}")));
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str) -> Role {
        Role { name: name.into(), inherit: true, ..Role::default() }
    }

    #[test]
    fn a_missing_role_comes_without_login_password_or_power() {
        let existing = BTreeSet::from(["postgres".to_owned(), "Old One".to_owned()]);
        let settable = BTreeSet::from(["work_mem".to_owned()]);
        let evil = "x\"; DROP DATABASE victim; --";
        let mighty = Role {
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
            Role {
                member_of: [("pg_write_server_files".to_owned(), false)].into(),
                ..role("group")
            },
            role("Old One"),
            role("pg_other"),
            Role { inherit: false, ..role(evil) },
            role("app"),
        ];
        let run = |sql: &str| Step::Run(sql.into());
        let left = |sql: &str| Step::LeftOut(sql.into());
        assert_eq!(
            plan(&roles, &existing, &settable),
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

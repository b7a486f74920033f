//! What a server does not have that a dump needs, known before anything is restored; and databases that are no target.

use crate::{PgConnection, PostgresError};
use std::collections::BTreeSet;

/// What a server does not have of what was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MissingRequirements {
    /// Extensions.
    pub extensions: Vec<String>,
    /// Roles.
    pub roles: Vec<String>,
    /// Locales of databases.
    pub locales: Vec<String>,
}

/// What the server lacks of these.
///
/// # Errors
/// If it can't be asked.
pub async fn find_missing_requirements(
    session: &PgConnection,
    extensions: &BTreeSet<String>,
    roles: &BTreeSet<String>,
    locales: &BTreeSet<String>,
) -> Result<MissingRequirements, PostgresError> {
    let absent = async |sql: &str, names: &BTreeSet<String>| {
        let names: Vec<&str> = names.iter().map(String::as_str).filter(|n| !n.is_empty()).collect();
        let rows = session.query(sql, &[&names]).await;
        let rows = rows.map_err(|e| PostgresError::from_pg("look for what the dump needs", &e))?;
        Ok::<Vec<String>, PostgresError>(rows.iter().map(|row| row.get(0)).collect())
    };
    Ok(MissingRequirements {
        extensions: absent(
            "SELECT n FROM pg_catalog.unnest($1::text[]) AS wanted (n)
             WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_available_extensions x WHERE x.name::text = n) ORDER BY 1",
            extensions,
        )
        .await?,
        roles: absent(
            "SELECT n FROM pg_catalog.unnest($1::text[]) AS wanted (n)
             WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname::text = n) ORDER BY 1",
            roles,
        )
        .await?,
        // The operating system's locales are collations since initdb; `en_US.UTF-8` is `en_US.utf8` in some.
        locales: absent(
            "SELECT n FROM pg_catalog.unnest($1::text[]) AS wanted (n)
             WHERE n NOT IN ('C', 'POSIX') AND NOT EXISTS (
                SELECT FROM pg_catalog.pg_collation c WHERE pg_catalog.replace(pg_catalog.lower(c.collcollate), '-', '')
                    = pg_catalog.replace(pg_catalog.lower(n), '-', ''))
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_database d WHERE d.datcollate::text = n) ORDER BY 1",
            locales,
        )
        .await?,
    })
}

/// Why no dump may take the place of a database of this name; nothing where it may.
///
/// # Errors
/// If the server can't be asked.
pub async fn protection_reason(
    session: &PgConnection,
    name: &str,
) -> Result<Option<&'static str>, PostgresError> {
    // Of the providers: RDS, Azure, Google Cloud SQL.
    let reserved = [
        "postgres",
        "template0",
        "template1",
        "rdsadmin",
        "azure_maintenance",
        "azure_sys",
        "cloudsqladmin",
    ];
    if reserved.contains(&name) {
        return Ok(Some(
            "it is the server's own database, which every login and every new database needs",
        ));
    }
    let sql =
        "SELECT datistemplate FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) $1";
    let row = session.query_opt(sql, &[&name]).await;
    let row = row.map_err(|e| PostgresError::from_pg(format!("look for database {name}"), &e))?;
    Ok(row.filter(|r| r.get(0)).map(|_| "it is a template that new databases are made of"))
}

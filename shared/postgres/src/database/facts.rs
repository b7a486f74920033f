//! What belongs to a database itself and is in no archive of `pg_dump`: locale, settings, grants, limit, comment.

use super::connect_maintenance;
use crate::{
    ConnectionConfig, PgConnection, PostgresError,
    dump::{DatabaseFacts, DatabaseGrant, DatabaseLocaleProvider, DatabaseSetting},
    quote_ident, quote_literal,
    restore::{RestoreWarning, RestoreWarningKind, is_recoverable},
};

/// Settings whose value is a list of names, each of which is quoted by itself: `variable_is_guc_list_quote` of
/// <https://github.com/postgres/postgres/blob/master/src/bin/pg_dump/dumputils.c>
const NAME_LIST_SETTINGS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// Reads them of a database by its name, from a connection to any database of its server.
pub(crate) async fn read_database_properties(
    session: &PgConnection,
    name: &str,
) -> Result<DatabaseFacts, PostgresError> {
    let failed = |e: tokio_postgres::Error| {
        PostgresError::from_pg(format!("read what belongs to {name}"), &e)
    };
    // The columns of newer versions are asked for by way of JSON, where an absent one is null.
    let sql = "SELECT j ->> 'datlocprovider', coalesce(j ->> 'datlocale', j ->> 'daticulocale'), j ->> 'daticurules',
            t.spcname::text, d.datconnlimit, d.datistemplate,
            pg_catalog.shobj_description(d.oid, 'pg_database'), d.datacl IS NOT NULL
        FROM pg_catalog.pg_database d CROSS JOIN LATERAL pg_catalog.to_jsonb(d) AS j
            JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace
        WHERE d.datname OPERATOR(pg_catalog.=) $1";
    let row = session.query_one(sql, &[&name]).await.map_err(failed)?;
    let provider: Option<String> = row.try_get(0).map_err(failed)?;
    let provider = match provider.as_deref() {
        Some("i") => DatabaseLocaleProvider::Icu,
        Some("b") => DatabaseLocaleProvider::Builtin,
        _ => DatabaseLocaleProvider::Libc,
    };
    let limit: i32 = row.try_get(4).map_err(failed)?;
    let granted: bool = row.try_get(7).map_err(failed)?;
    Ok(DatabaseFacts {
        provider,
        locale: row.try_get(1).map_err(failed)?,
        icu_rules: row.try_get(2).map_err(failed)?,
        tablespace: row.try_get(3).map_err(failed)?,
        connection_limit: (limit >= 0).then_some(limit),
        is_template: row.try_get(5).map_err(failed)?,
        comment: row.try_get(6).map_err(failed)?,
        grants: if granted {
            Some(read_grants(session, name).await.map_err(failed)?)
        } else {
            None
        },
        settings: read_settings(session, name).await.map_err(failed)?,
    })
}

async fn read_grants(
    session: &PgConnection,
    name: &str,
) -> Result<Vec<DatabaseGrant>, tokio_postgres::Error> {
    let sql = "SELECT CASE a.grantee WHEN 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(a.grantee)::text END,
            a.privilege_type, a.is_grantable
        FROM pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl) a
        WHERE d.datname OPERATOR(pg_catalog.=) $1 ORDER BY 1 NULLS FIRST, 2";
    let rows = session.query(sql, &[&name]).await?;
    let grant = |row: &tokio_postgres::Row| {
        let (role, privilege) = (row.try_get(0)?, row.try_get(1)?);
        Ok(DatabaseGrant { role, privilege, grantable: row.try_get(2)? })
    };
    rows.iter().map(grant).collect()
}

async fn read_settings(
    session: &PgConnection,
    name: &str,
) -> Result<Vec<DatabaseSetting>, tokio_postgres::Error> {
    let sql = "SELECT r.rolname::text, pg_catalog.split_part(c.one, '=', 1),
            pg_catalog.substr(c.one, pg_catalog.strpos(c.one, '=') + 1)
        FROM pg_catalog.pg_database d JOIN pg_catalog.pg_db_role_setting s ON s.setdatabase = d.oid
            LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole,
            pg_catalog.unnest(s.setconfig) WITH ORDINALITY AS c (one, place)
        WHERE d.datname OPERATOR(pg_catalog.=) $1 ORDER BY 1 NULLS FIRST, c.place";
    let rows = session.query(sql, &[&name]).await?;
    let setting = |row: &tokio_postgres::Row| {
        let (role, name) = (row.try_get(0)?, row.try_get(1)?);
        Ok(DatabaseSetting { role, name, value: row.try_get(2)? })
    };
    rows.iter().map(setting).collect()
}

/// Gives a database what belongs to another one of its kind, once its rows are in: a setting or a limit may be in the way
/// of a restore. What the server refuses is a [`Loss`].
///
/// # Errors
/// The connection is lost.
pub async fn apply_database_properties(
    server: &ConnectionConfig,
    name: &str,
    facts: &DatabaseFacts,
) -> Result<Vec<RestoreWarning>, PostgresError> {
    let session = connect_maintenance(server).await?;
    let mut losses = Vec::new();
    for statement in property_statements(name, facts) {
        execute_or_warn(&session, &statement, &mut losses).await?;
    }
    Ok(losses)
}

/// Runs one statement; what the server refuses becomes a loss.
pub(super) async fn execute_or_warn(
    session: &PgConnection,
    statement: &str,
    losses: &mut Vec<RestoreWarning>,
) -> Result<(), PostgresError> {
    match session.batch_execute(statement).await {
        Err(e) if is_recoverable(&e) => {
            let loss = RestoreWarning::from_statement_error(&e, statement);
            let class = match loss.kind {
                RestoreWarningKind::Other => RestoreWarningKind::Database,
                other => other,
            };
            losses.push(RestoreWarning { kind: class, ..loss });
        }
        Err(e) => return Err(PostgresError::from_pg("pass on what belongs to a database", &e)),
        Ok(()) => {}
    }
    Ok(())
}

/// The statements that give it. Pure.
fn property_statements(name: &str, facts: &DatabaseFacts) -> Vec<String> {
    let database = quote_ident(name);
    let mut all = Vec::new();
    if let Some(limit) = facts.connection_limit {
        all.push(format!("ALTER DATABASE {database} CONNECTION LIMIT {limit}"));
    }
    if let Some(comment) = &facts.comment {
        all.push(format!("COMMENT ON DATABASE {database} IS {}", quote_literal(comment)));
    }
    if let Some(grants) = &facts.grants {
        all.push(format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC"));
        for DatabaseGrant { role, privilege, grantable } in grants {
            let role = role.as_ref().map_or_else(|| "PUBLIC".into(), |role| quote_ident(role));
            let option = if *grantable { " WITH GRANT OPTION" } else { "" };
            // The server's own word, such as CONNECT; anything else would be no privilege.
            if privilege.bytes().all(|b| b.is_ascii_alphabetic()) {
                all.push(format!("GRANT {privilege} ON DATABASE {database} TO {role}{option}"));
            }
        }
    }
    for DatabaseSetting { role, name, value } in &facts.settings {
        let of = match role {
            Some(role) => format!("ROLE {} IN DATABASE {database}", quote_ident(role)),
            None => format!("DATABASE {database}"),
        };
        let value = if NAME_LIST_SETTINGS.contains(&name.to_ascii_lowercase().as_str()) {
            parse_name_list(value)
                .iter()
                .map(|name| quote_literal(name))
                .collect::<Vec<_>>()
                .join(", ")
        } else {
            quote_literal(value)
        };
        let value = if value.is_empty() { "''".into() } else { value };
        all.push(format!("ALTER {of} SET {} TO {value}", quote_ident(name)));
    }
    if facts.is_template {
        all.push(format!("ALTER DATABASE {database} IS_TEMPLATE true"));
    }
    all
}

/// The names of a list as the server keeps it: `app, "$user"`.
fn parse_name_list(list: &str) -> Vec<String> {
    let (mut all, mut now, mut inside, mut any) = (Vec::new(), String::new(), false, false);
    let mut characters = list.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if inside && characters.peek() == Some(&'"') => {
                now.push('"');
                characters.next();
            }
            '"' => (inside, any) = (!inside, true),
            ',' if !inside => {
                all.push(std::mem::take(&mut now));
                any = false;
            }
            c if c.is_whitespace() && !inside => {}
            c => {
                now.push(c);
                any = true;
            }
        }
    }
    if any {
        all.push(now);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fact_becomes_a_statement_with_its_names_and_values_quoted() {
        let setting = |role: Option<&str>, name: &str, value: &str| DatabaseSetting {
            role: role.map(str::to_owned),
            name: name.into(),
            value: value.into(),
        };
        let facts = DatabaseFacts {
            connection_limit: Some(5),
            is_template: true,
            comment: Some("it's the shop".into()),
            grants: Some(vec![
                DatabaseGrant { role: None, privilege: "TEMPORARY".into(), grantable: false },
                DatabaseGrant {
                    role: Some("svc\"x".into()),
                    privilege: "CONNECT".into(),
                    grantable: true,
                },
                DatabaseGrant { role: None, privilege: "ALL; DROP".into(), grantable: false },
            ]),
            settings: vec![
                setting(None, "search_path", "app, \"$user\", \"a\"\"b, c\""),
                setting(None, "TimeZone", "Europe/Vienna"),
                setting(Some("svc"), "my.setting", "a, b"),
                setting(None, "search_path", "\"\""),
            ],
            ..DatabaseFacts::default()
        };
        assert_eq!(
            property_statements("x", &facts),
            [
                "ALTER DATABASE \"x\" CONNECTION LIMIT 5",
                "COMMENT ON DATABASE \"x\" IS 'it''s the shop'",
                "REVOKE ALL ON DATABASE \"x\" FROM PUBLIC",
                "GRANT TEMPORARY ON DATABASE \"x\" TO PUBLIC",
                "GRANT CONNECT ON DATABASE \"x\" TO \"svc\"\"x\" WITH GRANT OPTION",
                "ALTER DATABASE \"x\" SET \"search_path\" TO 'app', '$user', 'a\"b, c'",
                "ALTER DATABASE \"x\" SET \"TimeZone\" TO 'Europe/Vienna'",
                "ALTER ROLE \"svc\" IN DATABASE \"x\" SET \"my.setting\" TO 'a, b'",
                "ALTER DATABASE \"x\" SET \"search_path\" TO ''",
                "ALTER DATABASE \"x\" IS_TEMPLATE true",
            ]
        );
    }
}

//! The server's roles, their settings and memberships, as facts and without passwords: whoever restores them writes the
//! SQL, and quotes every name.

use super::names::display_name;
use crate::{PgConnection, PostgresError};
use facts::ServerRole;
use std::collections::BTreeMap;

/// All roles but PostgreSQL's own.
///
/// # Errors
/// Only if the connection is lost: everybody may read these.
pub(super) async fn read_roles(session: &PgConnection) -> Result<Vec<ServerRole>, PostgresError> {
    query_roles(session).await.map_err(|e| PostgresError::from_pg("read the roles", &e))
}

async fn query_roles(session: &PgConnection) -> Result<Vec<ServerRole>, tokio_postgres::Error> {
    // Roles are of all databases: a name made in one encoding may be no text in that of this database. So texts are read as
    // they are (`textsend` turns none for a client of SQL_ASCII), and then put into UTF-8 one by one.
    session.batch_execute("SET client_encoding = 'SQL_ASCII'").await?;
    let sql = "SELECT pg_catalog.textsend(rolname::text), rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin,
            rolreplication, rolbypassrls, rolconnlimit,
            ARRAY(SELECT pg_catalog.textsend(s) FROM pg_catalog.unnest(rolconfig) s)
        FROM pg_catalog.pg_roles WHERE rolname !~ '^pg_' ORDER BY rolname COLLATE \"C\"";
    let roles = session.query(sql, &[]).await?;
    // Since PostgreSQL 16 a membership can be granted by several roles.
    let sql = "SELECT pg_catalog.textsend(g.rolname::text), pg_catalog.textsend(m.rolname::text), bool_or(a.admin_option)
        FROM pg_catalog.pg_auth_members a
        JOIN pg_catalog.pg_roles g ON g.oid = a.roleid JOIN pg_catalog.pg_roles m ON m.oid = a.member
        GROUP BY g.rolname, m.rolname";
    let memberships = session.query(sql, &[]).await?;
    session.batch_execute("SET client_encoding = 'UTF8'").await?;
    let mut all = BTreeMap::new();
    for row in roles {
        let mut settings = Vec::new();
        for setting in row.get::<_, Vec<Vec<u8>>>(9) {
            let setting = decode_text(session, &setting).await?;
            settings.extend(setting.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned())));
        }
        let role = ServerRole {
            name: decode_text(session, row.get(0)).await?,
            superuser: row.get(1),
            inherit: row.get(2),
            create_role: row.get(3),
            create_database: row.get(4),
            login: row.get(5),
            replication: row.get(6),
            bypass_row_security: row.get(7),
            connection_limit: u32::try_from(row.get::<_, i32>(8)).ok(),
            settings,
            member_of: BTreeMap::new(),
        };
        all.insert(role.name.clone(), role);
    }
    for row in memberships {
        if let Some(member) = all.get_mut(&decode_text(session, row.get(1)).await?) {
            member.member_of.insert(decode_text(session, row.get(0)).await?, row.get(2));
        }
    }
    Ok(all.into_values().collect())
}

/// A text of the catalogs in UTF-8; one that is no text in the database's encoding is shown by its bytes.
async fn decode_text(
    session: &PgConnection,
    bytes: &[u8],
) -> Result<String, tokio_postgres::Error> {
    if bytes.is_ascii() {
        return Ok(display_name(bytes));
    }
    let sql = "SELECT pg_catalog.convert_from($1, pg_catalog.getdatabaseencoding())";
    match session.query_one(sql, &[&bytes]).await {
        Ok(row) => Ok(row.try_get(0).unwrap_or_else(|_| display_name(bytes))),
        Err(e) if e.as_db_error().is_some() => Ok(display_name(bytes)),
        Err(e) => Err(e),
    }
}

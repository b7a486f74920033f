//! The server's roles, their settings and memberships, as facts and without passwords: whoever restores them writes the
//! SQL, and quotes every name.

use crate::{Error, Session};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A role of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "PostgreSQL has that many attributes")]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Whether it has every right.
    pub superuser: bool,
    /// Whether it has the rights of the roles that it is a member of without asking for them.
    pub inherit: bool,
    /// Whether it may make roles.
    pub create_role: bool,
    /// Whether it may make databases.
    pub create_database: bool,
    /// Whether it may log in.
    pub login: bool,
    /// Whether it may replicate.
    pub replication: bool,
    /// Whether row security does not bind it.
    pub bypass_row_security: bool,
    /// Connections that it may have at once; none without a limit.
    pub connection_limit: Option<u32>,
    /// Its own settings, name and value, as the server keeps them.
    pub settings: Vec<(String, String)>,
    /// Roles that it is a member of, and whether it may make others so.
    pub member_of: BTreeMap<String, bool>,
}

/// All roles but PostgreSQL's own.
///
/// # Errors
/// Only if the connection is lost: everybody may read these.
pub(super) async fn roles(session: &Session) -> Result<Vec<Role>, Error> {
    read(session).await.map_err(|e| Error::from_pg("read the roles", &e))
}

async fn read(session: &Session) -> Result<Vec<Role>, tokio_postgres::Error> {
    let sql = "SELECT rolname::text, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication,
            rolbypassrls, rolconnlimit, coalesce(rolconfig, '{}'::text[])
        FROM pg_catalog.pg_roles WHERE rolname !~ '^pg_' ORDER BY rolname COLLATE \"C\"";
    let mut all = BTreeMap::new();
    for row in session.query(sql, &[]).await? {
        let settings: Vec<String> = row.get(9);
        let settings = settings.iter().filter_map(|s| s.split_once('='));
        let role = Role {
            name: row.get(0),
            superuser: row.get(1),
            inherit: row.get(2),
            create_role: row.get(3),
            create_database: row.get(4),
            login: row.get(5),
            replication: row.get(6),
            bypass_row_security: row.get(7),
            connection_limit: u32::try_from(row.get::<_, i32>(8)).ok(),
            settings: settings.map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
            member_of: BTreeMap::new(),
        };
        all.insert(role.name.clone(), role);
    }
    // Since PostgreSQL 16 a membership can be granted by several roles.
    let sql = "SELECT g.rolname::text, m.rolname::text, bool_or(a.admin_option) FROM pg_catalog.pg_auth_members a
        JOIN pg_catalog.pg_roles g ON g.oid = a.roleid JOIN pg_catalog.pg_roles m ON m.oid = a.member
        GROUP BY g.rolname, m.rolname";
    for row in session.query(sql, &[]).await? {
        if let Some(member) = all.get_mut(row.get::<_, &str>(1)) {
            member.member_of.insert(row.get(0), row.get(2));
        }
    }
    Ok(all.into_values().collect())
}

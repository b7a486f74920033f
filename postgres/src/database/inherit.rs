//! What belongs to a database itself and is in no archive of `pg_dump`: settings, grants, limit of connections, owner.

use super::maintenance;
use crate::{
    Error, Server, Session, literal, quoted,
    restore::{Loss, bearable},
};

/// The grants on a database, as statements. Nothing to say where it has the usual ones.
const GRANTS: &str = "
    SELECT statement FROM (
        SELECT 0 AS place, pg_catalog.format('REVOKE ALL ON DATABASE %I FROM PUBLIC', $2::text) AS statement
        FROM pg_catalog.pg_database WHERE datname = $1 AND datacl IS NOT NULL
        UNION ALL
        SELECT 1, pg_catalog.format('GRANT %s ON DATABASE %I TO %s%s', a.privilege_type, $2::text,
            CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END,
            CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
        FROM pg_catalog.pg_database, pg_catalog.aclexplode(datacl) a WHERE datname = $1
    ) AS statements ORDER BY place, statement";

/// Settings of a database, and of roles in it: the role (or null), the name, the value.
const SETTINGS: &str = "
    SELECT pg_catalog.quote_ident(r.rolname), pg_catalog.split_part(c.one, '=', 1),
        pg_catalog.substr(c.one, pg_catalog.strpos(c.one, '=') + 1)
    FROM pg_catalog.pg_database d JOIN pg_catalog.pg_db_role_setting s ON s.setdatabase = d.oid
        LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole, pg_catalog.unnest(s.setconfig) WITH ORDINALITY AS c (one, place)
    WHERE d.datname = $1 ORDER BY 1 NULLS FIRST, c.place";

/// Gives `to` the owner, the limit of connections, the grants and the settings of `from`. What the server refuses is a
/// [`Loss`].
pub async fn inherit(server: &Server, from: &str, to: &str) -> Result<Vec<Loss>, Error> {
    let session = maintenance(server).await?;
    let doing = || format!("read what belongs to database {from}");
    let failed = |e: tokio_postgres::Error| Error::from_pg(doing(), &e);
    let sql =
        "SELECT pg_catalog.pg_get_userbyid(datdba)::text, datconnlimit FROM pg_catalog.pg_database
               WHERE datname = $1";
    let row = session.query_one(sql, &[&from]).await.map_err(failed)?;
    let (owner, limit): (String, i32) = (row.get(0), row.get(1));
    let to = quoted(to);
    let mut all = vec![format!("ALTER DATABASE {to} OWNER TO {}", quoted(&owner))];
    if limit != -1 {
        all.push(format!("ALTER DATABASE {to} CONNECTION LIMIT {limit}"));
    }
    let bare = to.trim_matches('"').replace("\"\"", "\"");
    for row in session.query(GRANTS, &[&from, &bare]).await.map_err(failed)? {
        all.push(row.get(0));
    }
    for row in session.query(SETTINGS, &[&from]).await.map_err(failed)? {
        let (role, name, value): (Option<String>, String, String) =
            (row.get(0), row.get(1), row.get(2));
        let of = match role {
            Some(role) => format!("ROLE {role} IN DATABASE {to}"),
            None => format!("DATABASE {to}"),
        };
        // By way of the session, so that a list of names (search_path) stays a list.
        let (name, value) = (name.as_str(), literal(&value));
        let words: Vec<String> = name.split('.').map(quoted).collect();
        all.push(format!(
            "SELECT pg_catalog.set_config({}, {value}, false); ALTER {of} SET {} FROM CURRENT",
            literal(name),
            words.join(".")
        ));
    }
    let mut losses = Vec::new();
    for statement in &all {
        run(&session, statement, &mut losses).await?;
    }
    Ok(losses)
}

async fn run(session: &Session, statement: &str, losses: &mut Vec<Loss>) -> Result<(), Error> {
    match session.batch_execute(statement).await {
        Err(e) if bearable(&e) => losses.push(Loss::of(&e, statement)),
        Err(e) => return Err(Error::from_pg("pass on what belongs to a database", &e)),
        Ok(()) => {}
    }
    Ok(())
}

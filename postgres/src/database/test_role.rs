//! The role that a test restore runs as: its own, without any right but to its own database.

use super::{MARK, is_ours, maintenance};
use crate::{Error, Kind, Server, Session, literal, quoted};
use postgres_protocol::password::scram_sha_256;
use secrecy::{ExposeSecret as _, SecretString};

/// A role of a test, which owns the test's database and nothing else.
#[derive(Debug)]
pub struct TestRole {
    /// Its name: that of its database.
    pub name: String,
    password: SecretString,
}

impl TestRole {
    /// Creates it, and gives it the database of its name.
    ///
    /// # Errors
    /// [`Kind::Refused`]: the administrator may not make roles.
    pub async fn create(server: &Server, database: &str) -> Result<Self, Error> {
        let doing = || format!("create role {database} for a test restore");
        let password = random_password().map_err(|e| {
            Error::new(Kind::Tool, doing(), e.to_string(), "the system gives no random numbers")
        })?;
        let session = maintenance(server).await?;
        let name = quoted(database);
        // Only a verifier of the password goes over the wire, and into no log of the server.
        let verifier = literal(&scram_sha_256(password.expose_secret().as_bytes()));
        let create = format!(
            "CREATE ROLE {name} LOGIN PASSWORD {verifier} NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
        );
        let refused = |e: &tokio_postgres::Error| {
            let mend = "a test restore never runs with the rights of the login: let it make roles (CREATEROLE), or name \
                        another server under `scratch:` in the policy";
            Error { mend: mend.into(), ..Error::from_pg(doing(), e) }
        };
        session.batch_execute(&create).await.map_err(|e| refused(&e))?;
        // Who is no superuser can give a database only to a role that it is a member of.
        let give = format!("GRANT {name} TO CURRENT_USER; ALTER DATABASE {name} OWNER TO {name}");
        session.batch_execute(&give).await.map_err(|e| refused(&e))?;
        // Until PostgreSQL 14 that schema is the administrator's.
        let inside = server.connect(database).await?;
        let schema = format!("ALTER SCHEMA public OWNER TO {name}");
        if let Err(e) = inside.batch_execute(&schema).await {
            tracing::debug!(error = %e, "schema public keeps its owner: {e}");
        }
        Ok(Self { name: database.to_owned(), password })
    }

    /// How it logs in.
    pub fn server(&self, server: &Server) -> Server {
        Server { user: self.name.clone(), password: Some(self.password.clone()), ..server.clone() }
    }
}

/// Lifts what forces row-level security on the owner of a test's tables, so that all their rows can be counted and asked about.
///
/// # Errors
/// If the server can't be asked.
pub async fn see_all_rows(server: &Server, database: &str) -> Result<(), Error> {
    // The server puts the names into the statements: they may be of any encoding.
    let lift = "DO $holdfast$ DECLARE lift text; BEGIN
            FOR lift IN SELECT pg_catalog.format('ALTER TABLE ONLY %I.%I NO FORCE ROW LEVEL SECURITY', n.nspname, c.relname)
                FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE c.relforcerowsecurity AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
            LOOP EXECUTE lift; END LOOP;
        END $holdfast$";
    let session = server.connect(database).await?;
    let lifted = session.batch_execute(lift).await;
    lifted.map_err(|e| Error::from_pg("lift forced row-level security in a test", &e))
}

/// 32 random bytes as hex digits.
pub(crate) fn random_password() -> Result<SecretString, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    let mut digits = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        digits.push_str(&format!("{byte:02x}"));
    }
    Ok(digits.into())
}

/// Drops the roles of tests whose databases are gone. One that can't be dropped is left for the next time.
///
/// # Errors
/// If the server can't be asked.
pub async fn sweep_roles(server: &Server) -> Result<(), Error> {
    let session = maintenance(server).await?;
    let sql = "SELECT r.rolname::text FROM pg_catalog.pg_roles r WHERE pg_catalog.strpos(r.rolname::text, $1) > 0
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_database d WHERE d.datname = r.rolname)";
    let rows = session.query(sql, &[&MARK]).await;
    let rows = rows.map_err(|e| Error::from_pg("list the roles of tests", &e))?;
    for name in rows.iter().map(|row| row.get::<_, String>(0)).filter(|name| is_ours(name)) {
        drop_role(&session, &name).await;
    }
    Ok(())
}

async fn drop_role(session: &Session, name: &str) {
    if let Err(e) = session.batch_execute(&format!("DROP ROLE IF EXISTS {}", quoted(name))).await {
        tracing::warn!(error = %e, "the role {name} of a test stays: {e}");
    }
}

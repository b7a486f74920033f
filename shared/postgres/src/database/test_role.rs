//! The role that a test restore runs as: its own, without any right but to its own database.

use super::{SCRATCH_MARKER, connect_maintenance, is_holdfast_database};
use crate::{
    ConnectionConfig, PgConnection, PostgresError, PostgresErrorKind, quote_ident, quote_literal,
};
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
    /// [`PostgresErrorKind::Refused`]: the administrator may not make roles.
    pub async fn create_for_database(
        server: &ConnectionConfig,
        database: &str,
    ) -> Result<Self, PostgresError> {
        let doing = || format!("create role {database} for a test restore");
        let password = random_password().map_err(|e| {
            PostgresError::new(
                PostgresErrorKind::Tool,
                doing(),
                e.to_string(),
                "the system gives no random numbers",
            )
        })?;
        let session = connect_maintenance(server).await?;
        let name = quote_ident(database);
        // Only a verifier of the password goes over the wire, and into no log of the server.
        let verifier = quote_literal(&scram_sha_256(password.expose_secret().as_bytes()));
        let create = format!(
            "CREATE ROLE {name} LOGIN PASSWORD {verifier} NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
        );
        let refused = |e: &tokio_postgres::Error| {
            let hint = "a test restore never runs with the rights of the login: let it make roles (CREATEROLE), or name \
                        another server under `scratch:` in the policy";
            PostgresError { hint: hint.into(), ..PostgresError::from_pg(doing(), e) }
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
    pub fn login_config(&self, server: &ConnectionConfig) -> ConnectionConfig {
        ConnectionConfig {
            user: self.name.clone(),
            password: Some(self.password.clone()),
            ..server.clone()
        }
    }
}

/// Lifts what forces row-level security on the owner of a test's tables, so that all their rows can be counted and asked about.
///
/// # Errors
/// If the server can't be asked.
pub async fn disable_forced_row_security(
    server: &ConnectionConfig,
    database: &str,
) -> Result<(), PostgresError> {
    // The server puts the names into the statements: they may be of any encoding.
    let lift = "DO $holdfast$ DECLARE lift text; BEGIN
            FOR lift IN SELECT pg_catalog.format('ALTER TABLE ONLY %I.%I NO FORCE ROW LEVEL SECURITY', n.nspname, c.relname)
                FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE c.relforcerowsecurity AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
            LOOP EXECUTE lift; END LOOP;
        END $holdfast$";
    let session = server.connect(database).await?;
    let lifted = session.batch_execute(lift).await;
    lifted.map_err(|e| PostgresError::from_pg("lift forced row-level security in a test", &e))
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
pub async fn drop_orphaned_roles(server: &ConnectionConfig) -> Result<(), PostgresError> {
    let session = connect_maintenance(server).await?;
    let sql = "SELECT r.rolname::text FROM pg_catalog.pg_roles r WHERE pg_catalog.strpos(r.rolname::text, $1) > 0
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_database d WHERE d.datname = r.rolname)";
    let rows = session.query(sql, &[&SCRATCH_MARKER]).await;
    let rows = rows.map_err(|e| PostgresError::from_pg("list the roles of tests", &e))?;
    for name in
        rows.iter().map(|row| row.get::<_, String>(0)).filter(|name| is_holdfast_database(name))
    {
        drop_role(&session, &name).await;
    }
    Ok(())
}

async fn drop_role(session: &PgConnection, name: &str) {
    if let Err(e) =
        session.batch_execute(&format!("DROP ROLE IF EXISTS {}", quote_ident(name))).await
    {
        tracing::warn!(error = %e, "the role {name} of a test stays: {e}");
    }
}

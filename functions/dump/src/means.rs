//! What a dump needs besides the database: a login, and a recipe for its bytes.

use codec::{AgeRecipient, CompressionMethod, EncodingOptions, EncryptionMethod};
use postgres::{
    ConnectionConfig, TlsMode,
    libpq::{self, ConnectionService},
};
use secrecy::SecretString;
use shared::{
    aws::{OperationError, OperationErrorKind},
    catalog::Location,
    policy::{self, DumpCompression, DumpFormat, DumpRule, EncryptionConfig, PostgresGroup},
    run::RunContext,
    secret::SecretResolver,
};
use std::{
    net::IpAddr,
    num::NonZero,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// How to log in to a group's server.
///
/// # Errors
/// If a password or a host can't be found.
pub async fn connect_config(
    world: &RunContext<'_>,
    secrets: &SecretResolver<'_>,
    rules: &PostgresGroup,
) -> Result<ConnectionConfig, OperationError> {
    let found = match &rules.password {
        Some(from) => secrets.database_credentials(from).await?,
        None => shared::secret::DatabaseCredentials::default(),
    };
    // A policy or a secret that names a host means that one; else libpq's own service, where the environment has one.
    let service = match rules.host.as_ref().or(found.host.as_ref()) {
        Some(_) => ConnectionService::default(),
        None => connection_service(secrets)?,
    };
    let host = rules.host.clone().or(found.host).or(service.host);
    let host = host.unwrap_or_else(|| "localhost".into());
    let port = rules.port.or(found.port).or(service.port).unwrap_or(5432);
    let user = rules.user.clone().or(found.user).or(service.user);
    let user = user.unwrap_or_else(|| "postgres".into());
    let password = if rules.iam {
        let home = Location::home_from_policy(world.policy);
        Some(world.aws.rds_token(&home, &host, port, &user).await?)
    } else {
        match found.password.or(service.password) {
            None => password_from_pgpass(secrets, &host, port, rules.databases.named(), &user)?,
            found => found,
        }
    };
    let tls = ssl_mode(rules, service.tls, &host);
    let ca = rules.tls_ca.clone().or(service.ca).map(Into::into);
    let application = format!("holdfast/{}", world.run_id);
    Ok(ConnectionConfig { host, port, user, password, tls, ca, application, tool_dirs: Vec::new() })
}

/// How the connection is protected: as it is written, else so that nobody on the way can be the server. On this host there
/// is no way.
fn ssl_mode(rules: &PostgresGroup, service: Option<TlsMode>, host: &str) -> TlsMode {
    let local = host.starts_with('/')
        || host == "localhost"
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match rules.tls {
        Some(policy::PostgresSslMode::Disable) => TlsMode::Disable,
        Some(policy::PostgresSslMode::Prefer) => TlsMode::Prefer,
        Some(policy::PostgresSslMode::Require) => TlsMode::Require,
        Some(policy::PostgresSslMode::VerifyFull) => TlsMode::VerifyFull,
        None if local && !rules.iam => service.unwrap_or(TlsMode::Prefer),
        // RDS takes a token over TLS only, and a token must not go to whoever answers.
        None if rules.iam => TlsMode::VerifyFull,
        None => service.unwrap_or(TlsMode::VerifyFull),
    }
}

/// The service that `PGSERVICE` names; nothing where it names none.
fn connection_service(secrets: &SecretResolver<'_>) -> Result<ConnectionService, OperationError> {
    let variable = |name: &str| secrets.env_variable(name).filter(|v| !v.is_empty());
    let Some(name) = variable("PGSERVICE") else { return Ok(ConnectionService::default()) };
    let own = variable("PGSERVICEFILE").map(PathBuf::from);
    let home = variable("HOME").map(|home| Path::new(&home).join(".pg_service.conf"));
    let system = variable("PGSYSCONFDIR").unwrap_or_else(|| "/etc/postgresql-common".into());
    let files = [own.or(home), Some(Path::new(&system).join("pg_service.conf"))];
    let found = files
        .iter()
        .flatten()
        .find_map(|file| libpq::find_service(&std::fs::read_to_string(file).ok()?, &name));
    found.ok_or_else(|| {
        let why = format!("no service file has the section [{name}] that PGSERVICE names");
        let hint = "write host and user into the policy, or the section into ~/.pg_service.conf";
        OperationError::with_hint(OperationErrorKind::Refused, "find the server", why, hint)
    })
}

/// The password that `.pgpass` has for this server, as libpq finds it.
fn password_from_pgpass(
    secrets: &SecretResolver<'_>,
    host: &str,
    port: u16,
    databases: &[String],
    user: &str,
) -> Result<Option<SecretString>, OperationError> {
    let named = secrets.env_variable("PGPASSFILE").filter(|v| !v.is_empty()).map(PathBuf::from);
    let home = secrets.env_variable("HOME").map(|home| Path::new(&home).join(".pgpass"));
    let Some(file) = named.or(home) else { return Ok(None) };
    let Ok(text) = std::fs::read_to_string(&file) else { return Ok(None) };
    let password = libpq::find_password(&text, host, port, databases, user);
    let mode = std::fs::metadata(&file).map_or(0, |m| m.permissions().mode());
    if password.is_some() && mode & 0o077 != 0 {
        let doing = format!("read {}", file.display());
        let why = "others than its owner may read it";
        return Err(OperationError::with_hint(
            OperationErrorKind::Refused,
            doing,
            why,
            "chmod 0600 it",
        ));
    }
    Ok(password)
}

/// How to log in to the server that the policy names for test restores.
///
/// # Errors
/// If a password or a host can't be found.
pub async fn scratch_connect_config(
    world: &RunContext<'_>,
    secrets: &SecretResolver<'_>,
    rules: &PostgresGroup,
    scratch: &policy::ScratchConfig,
) -> Result<ConnectionConfig, OperationError> {
    let policy::ScratchConfig { host, port, user, password, tls, tls_ca, .. } = scratch.clone();
    let there =
        PostgresGroup { host, port, user, password, tls, tls_ca, iam: false, ..rules.clone() };
    connect_config(world, secrets, &there).await
}

/// How the bytes of a dump are compressed and encrypted.
///
/// # Errors
/// If a key can't be found or is none.
pub async fn encoding_options(
    secrets: &SecretResolver<'_>,
    dump: &DumpRule,
) -> Result<EncodingOptions, OperationError> {
    let level = dump.level.map(NonZero::get);
    let compression = match (dump.compress, dump.format) {
        (DumpCompression::Zstd, _) => CompressionMethod::Zstd(i32::from(level.unwrap_or(3))),
        (DumpCompression::Gzip, DumpFormat::Custom) | (DumpCompression::None, _) => {
            CompressionMethod::None
        }
        (DumpCompression::Gzip, _) => CompressionMethod::Gzip(u32::from(level.unwrap_or(6))),
    };
    let encryption = match &dump.encrypt {
        None => EncryptionMethod::None,
        Some(EncryptionConfig { openssl: Some(from), iterations, .. }) => {
            let passphrase = secrets.get(from).await.map_err(key_error)?;
            EncryptionMethod::OpenSsl { passphrase, iterations: *iterations }
        }
        Some(EncryptionConfig { age, .. }) => {
            let recipients: Result<Vec<AgeRecipient>, _> = age.iter().map(|a| a.parse()).collect();
            EncryptionMethod::Age(
                recipients.map_err(|e: codec::ArchiveError| invalid_recipient_error(&e))?,
            )
        }
    };
    Ok(EncodingOptions { compression, encryption })
}

fn key_error(e: OperationError) -> OperationError {
    OperationError { kind: OperationErrorKind::Key, ..e }
}

fn invalid_recipient_error(e: &codec::ArchiveError) -> OperationError {
    let hint = "write the public keys that `age-keygen` prints: age1...";
    OperationError::with_hint(
        OperationErrorKind::Key,
        "read the age recipients",
        e.to_string(),
        hint,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_not_this_host_must_show_who_it_is_unless_the_policy_says_otherwise() {
        let rules = |more: &str| {
            let yaml = format!(
                "{{holdfast: 1, company: acme, id: host-1, postgres: {{main: {{databases: [orders], host: h, user: u, \
                 storage: {{directory: /b}}, dumps: {{manual: {{keep: {{newest: 3}}}}}}{more}}}}}}}"
            );
            let policy = policy::Policy::parse(&yaml).unwrap_or_else(|e| panic!("{e}"));
            policy.postgres.into_values().next().expect("a group")
        };
        let table = [
            ("db.example.com", "", None, TlsMode::VerifyFull),
            ("10.0.0.5", "", None, TlsMode::VerifyFull),
            ("db.example.com", ", tls: prefer", None, TlsMode::Prefer),
            ("db.example.com", ", tls: disable", Some(TlsMode::Require), TlsMode::Disable),
            ("db.example.com", "", Some(TlsMode::Require), TlsMode::Require),
            ("db.example.com", ", iam: true", Some(TlsMode::Prefer), TlsMode::VerifyFull),
            ("localhost", "", None, TlsMode::Prefer),
            ("127.0.0.1", "", None, TlsMode::Prefer),
            ("::1", "", None, TlsMode::Prefer),
            ("/run/postgresql", "", None, TlsMode::Prefer),
            ("localhost", ", iam: true", None, TlsMode::VerifyFull),
        ];
        for (host, more, service, expected) in table {
            assert_eq!(
                ssl_mode(&rules(more), service, host),
                expected,
                "{host} {more} {service:?}"
            );
        }
    }
}

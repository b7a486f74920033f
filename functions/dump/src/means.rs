//! What a dump needs besides the database: a login, and a recipe for its bytes.

use archive::{Compression, Encryption, Recipe, Recipient};
use postgres::{Server, Tls};
use secrecy::SecretString;
use shared::{
    aws::{EdgeError, Kind},
    catalog::Place,
    policy::{self, Compress, Dump, DumpFormat, Encrypt, Postgres},
    run::World,
    secret::Secrets,
};
use std::num::NonZero;

/// How to log in to a group's server.
///
/// # Errors
/// If a password or a host can't be found.
pub async fn server(
    world: &World<'_>,
    secrets: &Secrets<'_>,
    rules: &Postgres,
) -> Result<Server, EdgeError> {
    let found = match &rules.password {
        Some(from) => secrets.database(from).await?,
        None => shared::secret::DatabaseSecret::default(),
    };
    let host = rules.host.clone().or(found.host).unwrap_or_else(|| "localhost".into());
    let port = rules.port.or(found.port).unwrap_or(5432);
    let user = rules.user.clone().or(found.user).unwrap_or_else(|| "postgres".into());
    let password = if rules.iam {
        let home = Place::home(world.policy);
        Some(world.aws.rds_token(&home, &host, port, &user).await?)
    } else {
        found.password
    };
    let tls = match rules.tls {
        Some(policy::Tls::Disable) => Tls::Disable,
        Some(policy::Tls::Require) => Tls::Require,
        Some(policy::Tls::VerifyFull) => Tls::VerifyFull,
        // RDS takes a token over TLS only, and a token must not go to whoever answers.
        None if rules.iam => Tls::VerifyFull,
        Some(policy::Tls::Prefer) | None => Tls::Prefer,
    };
    Ok(Server {
        host,
        port,
        user,
        password,
        tls,
        ca: rules.tls_ca.as_ref().map(Into::into),
        application: format!("holdfast/{}", world.run),
        tool_dirs: Vec::new(),
    })
}

/// How to log in to the server that the policy names for test restores.
///
/// # Errors
/// If a password or a host can't be found.
pub async fn scratch_server(
    world: &World<'_>,
    secrets: &Secrets<'_>,
    rules: &Postgres,
    scratch: &policy::Scratch,
) -> Result<Server, EdgeError> {
    let policy::Scratch { host, port, user, password, tls, tls_ca, .. } = scratch.clone();
    let there = Postgres { host, port, user, password, tls, tls_ca, iam: false, ..rules.clone() };
    server(world, secrets, &there).await
}

/// How the bytes of a dump are compressed and encrypted.
///
/// # Errors
/// If a key can't be found or is none.
pub async fn recipe(secrets: &Secrets<'_>, dump: &Dump) -> Result<Recipe, EdgeError> {
    let level = dump.level.map(NonZero::get);
    let compression = match (dump.compress, dump.format) {
        (Compress::Zstd, _) => Compression::Zstd(i32::from(level.unwrap_or(3))),
        (Compress::Gzip, DumpFormat::Custom) | (Compress::None, _) => Compression::None,
        (Compress::Gzip, _) => Compression::Gzip(u32::from(level.unwrap_or(6))),
    };
    let encryption = match &dump.encrypt {
        None => Encryption::None,
        Some(Encrypt { openssl: Some(from), iterations, .. }) => {
            let passphrase = secrets.get(from).await.map_err(key_error)?;
            Encryption::OpenSsl { passphrase, iterations: *iterations }
        }
        Some(Encrypt { age, .. }) => {
            let recipients: Result<Vec<Recipient>, _> = age.iter().map(|a| a.parse()).collect();
            Encryption::Age(recipients.map_err(|e: archive::Error| bad_recipient(&e))?)
        }
    };
    Ok(Recipe { compression, encryption })
}

/// Every passphrase of a group's dumps: those in use, and those before them. One that can't be had is left out.
pub(crate) async fn passphrases(secrets: &Secrets<'_>, rules: &Postgres) -> Vec<SecretString> {
    let mut all = Vec::new();
    for encrypt in rules.dumps.values().filter_map(|d| d.encrypt.as_ref()) {
        for from in encrypt.openssl.iter().chain(&encrypt.previous) {
            match secrets.versions(from).await {
                Ok(values) => all.extend(values),
                Err(e) => tracing::info!("a passphrase of the policy is not here: {e}"),
            }
        }
    }
    all
}

fn key_error(e: EdgeError) -> EdgeError {
    EdgeError { kind: Kind::Key, ..e }
}

fn bad_recipient(e: &archive::Error) -> EdgeError {
    let mend = "write the public keys that `age-keygen` prints: age1...";
    EdgeError::of_kind(Kind::Key, "read the age recipients", e.to_string(), mend)
}

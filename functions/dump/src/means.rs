//! What a dump needs besides the database: a login, a recipe for its bytes, keys to read it back.

use archive::{Compression, Encryption, Keys, Recipe, Recipient};
use postgres::{Server, Tls};
use secrecy::ExposeSecret;
use shared::{
    aws::{EdgeError, Kind},
    catalog::Place,
    policy::{self, Compress, Dump, DumpFormat, Encrypt, Policy, Postgres, SecretFrom},
    run::World,
    secret::Secrets,
};

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
        Some(policy::Tls::Prefer) => Tls::Prefer,
        Some(policy::Tls::Require) => Tls::Require,
        Some(policy::Tls::VerifyFull) => Tls::VerifyFull,
        // RDS takes a token over TLS only, and a token must not go to whoever answers.
        None if rules.iam => Tls::VerifyFull,
        None => Tls::Prefer,
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

/// How the bytes of a dump are compressed and encrypted.
///
/// # Errors
/// If a key can't be found or is none.
pub async fn recipe(secrets: &Secrets<'_>, dump: &Dump) -> Result<Recipe, EdgeError> {
    let level = dump.level.map(|l| l.get());
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

/// Every key of a group's policy that may read its dumps: the ones in use, the ones before them, and keys given by hand.
///
/// Keys that can't be had are left out: another one may do. `more` are files given by hand, which must be readable.
///
/// # Errors
/// If a file given by hand can't be read.
pub async fn keys(
    secrets: &Secrets<'_>,
    rules: &Postgres,
    more: &[String],
) -> Result<Keys, EdgeError> {
    let mut keys = Keys::default();
    for path in more {
        let from = SecretFrom { secret: None, env: None, file: Some(path.clone()), key: None };
        add(&mut keys, &secrets.get(&from).await.map_err(key_error)?);
    }
    let encrypts = rules.dumps.values().filter_map(|d| d.encrypt.as_ref());
    for from in encrypts.flat_map(|e| e.identity.iter().chain(&e.openssl).chain(&e.previous)) {
        for value in secrets.versions(from).await.unwrap_or_default() {
            add(&mut keys, &value);
        }
    }
    Ok(keys)
}

/// A key of either kind: age identities begin with a word that no passphrase begins with by chance.
fn add(keys: &mut Keys, value: &secrecy::SecretString) {
    let identity = value.expose_secret().lines().map(str::trim).find(|l| l.starts_with("AGE-SECRET-KEY-"));
    if let Some(identity) = identity
        && keys.add_identity(identity).is_ok()
    {
        return;
    }
    keys.add_passphrase(value.clone());
}

/// What the policy names as recipients can be checked before the first dump.
pub fn check_keys(policy: &Policy) -> Vec<String> {
    let groups = policy.postgres.iter();
    let all = groups.flat_map(|(name, g)| g.dumps.iter().map(move |(r, d)| (name, r, d)));
    all.filter_map(|(name, reason, dump)| {
        let recipients = dump.encrypt.iter().flat_map(|e| &e.age);
        let bad = recipients.filter_map(|a| a.parse::<Recipient>().err()).next()?;
        Some(format!("postgres.{name}.dumps.{reason}.encrypt.age: {bad}"))
    })
    .collect()
}

fn key_error(e: EdgeError) -> EdgeError {
    EdgeError { kind: Kind::Key, ..e }
}

fn bad_recipient(e: &archive::Error) -> EdgeError {
    let mend = "write the public keys that `age-keygen` prints: age1...";
    EdgeError::of_kind(Kind::Key, "read the age recipients", e.to_string(), mend)
}

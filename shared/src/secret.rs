//! Keys and passwords, from where the policy says they are: the environment, a file, Secrets Manager.
//!
//! A value never leaves [`SecretString`] here, so that no log, error or debug output can show it.

mod pick;

use crate::{
    aws::{AwsClients, OperationError, OperationErrorKind, kms::KmsClient, secrets::VersionStage},
    catalog::Location,
    policy::{SecretSource, text::Arn},
};
use rustix::fs::OFlags;
use secrecy::{ExposeSecret, SecretString};
use std::{
    collections::BTreeMap,
    fmt,
    fs::{File, OpenOptions},
    io::Read,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};
use tokio::sync::Mutex;

/// No key or password is larger; a file that is was named by mistake.
const MAX_SECRET_BYTES: u64 = 64 << 10;

/// The value of an environment variable.
type VariableLookup<'a> = Box<dyn Fn(&str) -> Option<String> + Send + Sync + 'a>;

/// Resolves secrets; one of Secrets Manager is asked for once.
pub struct SecretResolver<'a> {
    aws: &'a AwsClients,
    home: Location,
    lookup_variable: VariableLookup<'a>,
    cache: Mutex<BTreeMap<(String, VersionStage), Option<SecretString>>>,
}

impl fmt::Debug for SecretResolver<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("home", &self.home).finish_non_exhaustive()
    }
}

/// What is needed to log in to a database.
#[derive(Clone, Debug, Default)]
pub struct DatabaseCredentials {
    /// The password.
    pub password: Option<SecretString>,
    /// User.
    pub user: Option<String>,
    /// Host.
    pub host: Option<String>,
    /// Port.
    pub port: Option<u16>,
    /// Database.
    pub database: Option<String>,
    /// Engine, such as `postgres`.
    pub engine: Option<String>,
}

impl<'a> SecretResolver<'a> {
    /// Secrets of a run: the process's environment, files of this host, Secrets Manager at `home` unless an ARN names
    /// another region.
    pub fn new(aws: &'a AwsClients, home: &Location) -> Self {
        Self::with_variables(aws, home, |name| std::env::var(name).ok())
    }

    /// Secrets with another environment.
    pub fn with_variables(
        aws: &'a AwsClients,
        home: &Location,
        variable: impl Fn(&str) -> Option<String> + Send + Sync + 'a,
    ) -> Self {
        let variable = Box::new(variable);
        Self { aws, home: home.clone(), lookup_variable: variable, cache: Mutex::default() }
    }

    /// KMS in the region that a key's ARN names.
    pub fn kms_client(&self, key: &Arn) -> KmsClient {
        self.aws.kms(&self.location_of(key.as_str()))
    }

    /// A variable of the environment that is no secret.
    pub fn env_variable(&self, name: &str) -> Option<String> {
        (self.lookup_variable)(name)
    }

    /// The value in use.
    ///
    /// # Errors
    /// If it is not there, not readable, or readable for others than its owner.
    pub async fn get(&self, from: &SecretSource) -> Result<SecretString, OperationError> {
        let value = self
            .fetch_text(from, VersionStage::Current)
            .await?
            .ok_or_else(|| not_set_error(from))?;
        extract_value(from, value)
    }

    /// The value in use and, where Secrets Manager has one, the one before it: what older backups were encrypted with.
    ///
    /// # Errors
    /// As for [`SecretResolver::get`].
    pub async fn current_and_previous(
        &self,
        from: &SecretSource,
    ) -> Result<Vec<SecretString>, OperationError> {
        let mut all = vec![self.get(from).await?];
        if from.secret.is_some()
            && let Some(previous) = self.fetch_text(from, VersionStage::Previous).await?
        {
            all.push(extract_value(from, previous)?);
        }
        Ok(all)
    }

    /// What a secret says of a database: all that is in JSON as RDS writes it; else it is the password alone.
    ///
    /// # Errors
    /// As for [`SecretResolver::get`].
    pub async fn database_credentials(
        &self,
        from: &SecretSource,
    ) -> Result<DatabaseCredentials, OperationError> {
        let value = self
            .fetch_text(from, VersionStage::Current)
            .await?
            .ok_or_else(|| not_set_error(from))?;
        match parse_database_credentials(&value) {
            Some(all) if from.key.is_none() => Ok(all),
            _ => Ok(DatabaseCredentials {
                password: Some(extract_value(from, value)?),
                ..Default::default()
            }),
        }
    }

    /// The whole text that the value is in.
    async fn fetch_text(
        &self,
        from: &SecretSource,
        stage: VersionStage,
    ) -> Result<Option<SecretString>, OperationError> {
        if let Some(name) = &from.env {
            let value = (self.lookup_variable)(name).filter(|v| !v.is_empty());
            return Ok(value.map(Into::into));
        }
        if let Some(path) = &from.file {
            return read_secret_file(Path::new(path), from.mounted).map(Some);
        }
        let Some(id) = &from.secret else { return Ok(None) };
        // Held while it is asked: who wants the same secret waits for this answer.
        let mut asked = self.cache.lock().await;
        let key = (id.clone(), stage);
        if let Some(known) = asked.get(&key) {
            return Ok(known.clone());
        }
        let mut value = self.aws.secrets(&self.location_of(id)).get_secret_value(id, stage).await;
        if let Err(e) = &mut value
            && e.kind == OperationErrorKind::Denied
        {
            e.hint = Some(format!(
                "allow secretsmanager:GetSecretValue on {id} in the role, and kms:Decrypt where it has a key of its own"
            ));
        }
        let value = value?;
        asked.insert(key, value.clone());
        Ok(value)
    }

    /// Where a secret or key is: its ARN names the region.
    fn location_of(&self, id: &str) -> Location {
        let region = id.strip_prefix("arn:").and_then(|arn| arn.split(':').nth(2)?.parse().ok());
        Location { region: region.unwrap_or_else(|| self.home.region.clone()), ..self.home.clone() }
    }
}

/// Reads JSON as RDS writes it into a secret: `{"username", "password", "host", "port", "dbname", "engine"}`. None when
/// it is no JSON object with a password.
pub fn parse_database_credentials(value: &SecretString) -> Option<DatabaseCredentials> {
    let fields: serde_json::Value = serde_json::from_str(value.expose_secret()).ok()?;
    let text = |name: &str| pick::scalar_to_string(fields.get(name)?).filter(|v| !v.is_empty());
    Some(DatabaseCredentials {
        password: Some(text("password")?.into()),
        user: text("username"),
        host: text("host"),
        port: text("port").and_then(|p| p.parse().ok()),
        database: text("dbname"),
        engine: text("engine"),
    })
}

/// How a source is called in errors.
fn describe_source(from: &SecretSource) -> String {
    match (&from.env, &from.file, &from.secret) {
        (Some(name), ..) => format!("environment variable {name}"),
        (_, Some(path), _) => format!("file {path}"),
        (_, _, Some(id)) => format!("secret {id}"),
        _ => "a secret that names no source".into(),
    }
}

fn not_set_error(from: &SecretSource) -> OperationError {
    let hint = match (&from.env, &from.secret) {
        (Some(name), _) => format!("set {name}, or change where the policy says the value is"),
        (_, Some(_)) => "give the secret a value".into(),
        _ => "write one of secret, env, file in the policy".into(),
    };
    OperationError::with_hint(
        OperationErrorKind::Missing,
        format!("read {}", describe_source(from)),
        "it is not set",
        hint,
    )
}

/// The value itself out of the text that it is in.
fn extract_value(from: &SecretSource, text: SecretString) -> Result<SecretString, OperationError> {
    let found = match &from.key {
        None => Some(text).filter(|t| !t.expose_secret().is_empty()),
        Some(key) => pick::pick_value(text.expose_secret(), key).map(Into::into),
    };
    found.ok_or_else(|| {
        let (why, hint) = match &from.key {
            None => ("it is empty".into(), "give it a value".into()),
            Some(key) => (
                format!("there is no value named {key} in it"),
                format!(
                    "write a JSON field \"{key}\" or a line {key}=value, or fix `key` in the policy"
                ),
            ),
        };
        OperationError::with_hint(
            OperationErrorKind::Missing,
            format!("read {}", describe_source(from)),
            why,
            hint,
        )
    })
}

/// A file that nobody but its owner can read, or, where the policy says that it is mounted, that nobody but its owner can
/// write: container platforms give such files to all users of the container.
fn read_secret_file(path: &Path, mounted: bool) -> Result<SecretString, OperationError> {
    let shown = path.display();
    let doing = || format!("read file {shown}");
    let error =
        |kind, why: String, hint: String| OperationError::with_hint(kind, doing(), why, hint);
    let io = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => error(
            OperationErrorKind::Missing,
            "it is not there".into(),
            format!("write it, readable for its owner alone: chmod 600 {shown}"),
        ),
        _ => error(
            OperationErrorKind::Denied,
            e.to_string(),
            "let the user of this process own it".into(),
        ),
    };
    // Without waiting: a pipe of that name would never open. What is checked is what was opened, not the name.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let mut opened: File =
        OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(io)?;
    let facts = opened.metadata().map_err(io)?;
    if !facts.is_file() {
        let hint = "name a regular file".into();
        return Err(error(OperationErrorKind::Refused, "it is no regular file".into(), hint));
    }
    let mode = facts.mode() & 0o7777;
    if mode & 0o022 != 0 || (mode & 0o055 != 0 && !mounted) {
        let why = format!("its mode is {mode:04o}: others than its owner can read or change it");
        let chmod = format!("chmod 600 {shown}");
        let hint = match mode & 0o022 {
            0 => format!(
                "{chmod}; or write mounted: true beside file, where a container platform mounts it so"
            ),
            _ => chmod,
        };
        return Err(error(OperationErrorKind::Refused, why, hint));
    }
    let us = rustix::process::geteuid().as_raw();
    if facts.uid() != us && facts.uid() != 0 {
        let why = format!("it belongs to user {}, who can change it", facts.uid());
        return Err(error(OperationErrorKind::Refused, why, format!("chown {us} {shown}")));
    }
    let mut text = String::new();
    opened.by_ref().take(MAX_SECRET_BYTES + 1).read_to_string(&mut text).map_err(|e| {
        error(
            OperationErrorKind::Refused,
            e.to_string(),
            "name a file of text with the value".into(),
        )
    })?;
    if text.len() as u64 > MAX_SECRET_BYTES {
        let why = format!("it is larger than {MAX_SECRET_BYTES} bytes, as no key or password is");
        return Err(error(OperationErrorKind::Refused, why, "name the file with the value".into()));
    }
    // Editors end files with a line end that is no part of the value.
    let end = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(end);
    Ok(text.into())
}

#[cfg(test)]
mod tests;

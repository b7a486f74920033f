//! The keys that open backups, from where the policy and the command line say they are.

use codec::DecryptionKeys;
use secrecy::{ExposeSecret, SecretString};
use shared::{
    aws::{OperationError, OperationErrorKind},
    policy::{PostgresGroup, SecretSource},
    secret::SecretResolver,
};

/// What opens backups.
#[derive(Clone, Debug, Default)]
pub struct BackupKeys {
    /// Identities and passphrases for the archives.
    pub keys: DecryptionKeys,
}

impl BackupKeys {
    /// Every key of a group's policy that may open its backups: those in use, those before them, and `files` given by
    /// hand. A key of the policy that can't be had is left out, since another one may do; what is left says what it lacks.
    ///
    /// # Errors
    /// If a file given by hand can't be read, or others can read it too.
    pub async fn resolve_keys(
        secrets: &SecretResolver<'_>,
        rules: &PostgresGroup,
        files: &[String],
    ) -> Result<Self, OperationError> {
        let mut opening = Self::default();
        for path in files {
            let file = Some(path.clone());
            let from = SecretSource { file, ..SecretSource::default() };
            let value = secrets.get(&from).await;
            opening.add_key(
                path,
                &value.map_err(|e| OperationError { kind: OperationErrorKind::Key, ..e })?,
            );
        }
        for encrypt in rules
            .dumps
            .values()
            .filter_map(|d| d.encrypt.as_ref())
            .chain(rules.wal.iter().filter_map(|w| w.encrypt.as_ref()))
        {
            opening.keys.add_iterations(encrypt.iterations);
            for from in encrypt.identity.iter().chain(&encrypt.openssl).chain(&encrypt.previous) {
                match secrets.current_and_previous(from).await {
                    Ok(values) => {
                        for value in &values {
                            opening.add_key("the policy's key", value);
                        }
                    }
                    Err(e) => tracing::info!("a key of the policy is not here: {e}"),
                }
            }
        }
        Ok(opening)
    }

    /// A key of either kind: an identity of age begins with a word that no passphrase begins with by chance.
    fn add_key(&mut self, name: &str, value: &SecretString) {
        let identity =
            value.expose_secret().lines().map(str::trim).find(|l| l.starts_with("AGE-SECRET-KEY-"));
        if let Some(identity) = identity
            && self.keys.add_identity(identity).is_ok()
        {
            return;
        }
        // A file ends with the end of its line, and a passphrase does not.
        let line = value.expose_secret().lines().next().unwrap_or_default();
        self.keys.add_named_passphrase(name, SecretString::from(line.to_owned()));
    }
}

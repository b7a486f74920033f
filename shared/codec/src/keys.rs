//! What opens archives.

use crate::{
    ArchiveError,
    openssl::{ALLOWED_ITERATIONS, CachedKey},
};
use secrecy::{ExposeSecret, SecretString};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Identities and passphrases, tried in the order in which they were added, so that archives from before a rotation open
/// too. Their memory is wiped when they are dropped, and `Debug` shows public keys and names only.
#[derive(Clone, Default)]
pub struct DecryptionKeys {
    pub(crate) identities: Vec<age::x25519::Identity>,
    pub(crate) passphrases: Vec<(String, SecretString)>,
    pub(crate) iterations: Vec<u32>,
    last: Arc<Mutex<Option<CachedKey>>>,
}

impl DecryptionKeys {
    /// The key that opened an openssl archive last; clones share it.
    pub(crate) fn cached_key(&self) -> MutexGuard<'_, Option<CachedKey>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the age identities of a text: one `AGE-SECRET-KEY-1...`, or a whole file as `age-keygen` writes it.
    pub fn add_identity(&mut self, text: &str) -> Result<(), ArchiveError> {
        let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
        let mut found = Vec::new();
        for line in lines {
            // The parser's own words are about the format only; the line itself is never repeated.
            found.push(line.parse().map_err(|why| {
                ArchiveError::Key(format!(
                    "a line of the age identity is no X25519 secret key ({why}); it is the AGE-SECRET-KEY-1... \
                     that age-keygen writes"
                ))
            })?);
        }
        if found.is_empty() {
            return Err(ArchiveError::Key(
                "the age identity is empty; it holds a line AGE-SECRET-KEY-1...".into(),
            ));
        }
        self.identities.append(&mut found);
        Ok(())
    }

    /// Adds a passphrase for openssl archives; only its first line counts, as with openssl's `file:`.
    pub fn add_passphrase(&mut self, passphrase: SecretString) {
        let name = format!("passphrase {}", self.passphrases.len() + 1);
        self.add_named_passphrase(&name, passphrase);
    }

    /// The same, with a name for messages: where it came from, such as a secret's name or a file.
    pub fn add_named_passphrase(&mut self, name: &str, passphrase: SecretString) {
        let line = passphrase.expose_secret().lines().next().unwrap_or_default();
        let cut = (line.len() < passphrase.expose_secret().len()).then(|| line.into());
        self.passphrases.push((name.into(), cut.unwrap_or(passphrase)));
        // It goes by the places of passphrases, which are no longer those of the clones.
        self.last = Arc::default();
    }

    /// Adds a number of PBKDF2 rounds for [`detect_layers`](crate::detect_layers()) to try, beside openssl's own 10,000: the policy's. More
    /// than are ever done are passed over.
    pub fn add_iterations(&mut self, rounds: u32) {
        if ALLOWED_ITERATIONS.contains(&rounds) && !self.iterations.contains(&rounds) {
            self.iterations.push(rounds);
        }
    }

    /// The public keys of the identities: what a message may say of them.
    pub(crate) fn public_keys(&self) -> Vec<String> {
        self.identities.iter().map(|i| i.to_public().to_string()).collect()
    }

    pub(crate) fn passphrase_names(&self) -> Vec<&str> {
        self.passphrases.iter().map(|(name, _)| name.as_str()).collect()
    }
}

impl fmt::Debug for DecryptionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("identities", &self.public_keys())
            .field("passphrases", &self.passphrase_names())
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_key() {
        let identity = age::x25519::Identity::generate();
        let secret = identity.to_string();
        let mut keys = DecryptionKeys::default();
        keys.add_identity(secret.expose_secret()).expect("an identity");
        keys.add_passphrase("hunter2".into());
        let shown = format!("{keys:?}");
        assert!(shown.contains(&identity.to_public().to_string()), "{shown}");
        assert!(!shown.contains("hunter2") && !shown.contains("AGE-SECRET"), "{shown}");
    }

    #[test]
    fn an_identity_that_is_none_is_not_repeated() {
        let mut keys = DecryptionKeys::default();
        for text in ["", "# created: today\n", "AGE-SECRET-KEY-1HUNTER2", "hunter2"] {
            let why = keys.add_identity(text).expect_err(text).to_string();
            assert!(!why.to_lowercase().contains("hunter2"), "{why}");
        }
        assert!(keys.identities.is_empty());
    }

    #[test]
    fn a_passphrase_from_a_file_loses_its_line_end() {
        let mut keys = DecryptionKeys::default();
        keys.add_passphrase("hunter2\r\nsecond line".into());
        assert_eq!(keys.passphrases[0].1.expose_secret(), "hunter2");
    }
}

//! How an archive is to be made.

use crate::{Cipher, Compressed, Error, Kdf, Layers, openssl::ROUNDS};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{borrow::Cow, fmt, str::FromStr};

/// Far below what a reader takes of age's header.
const MOST_RECIPIENTS: usize = 200;

/// The first step: what makes it small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As it is.
    None,
    /// Zstandard at this level, 1 to 19; 3 is zstd's own default. Memory grows with the level: about 5 MB at 3, 90 MB at 19;
    /// those above need more of it than a reader here gives.
    Zstd(i32),
    /// Gzip at this level, 0 to 9; 6 is gzip's own default.
    Gzip(u32),
}

/// The second step: what makes it secret.
#[derive(Clone, Debug)]
pub enum Encryption {
    /// As it is.
    None,
    /// age, for whoever owns the identity of one of these recipients; the host that writes can't read it.
    Age(Vec<Recipient>),
    /// As `openssl enc -aes-256-cbc -pbkdf2 -iter N` does. It has no proof of integrity of its own: the
    /// signed record of the dump has its hash. Nor has it one of the key, so that noise without compression can't be read back: it looks like a wrong key's work. (A dump does
    /// not.)
    OpenSsl {
        /// One line, as openssl's `file:` reads it.
        passphrase: SecretString,
        /// Rounds of PBKDF2-HMAC-SHA256.
        iterations: u32,
    },
}

/// How an archive is to be made.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Done first.
    pub compression: Compression,
    /// Done to what the compression gives.
    pub encryption: Encryption,
}

impl Recipe {
    /// What a reader will have to undo.
    pub fn layers(&self) -> Layers {
        Layers {
            cipher: match &self.encryption {
                Encryption::None => None,
                Encryption::Age(_) => Some(Cipher::Age),
                Encryption::OpenSsl { iterations, .. } => {
                    Some(Cipher::OpenSsl { kdf: Kdf::Pbkdf2 { iterations: *iterations } })
                }
            },
            compressed: match self.compression {
                Compression::None => None,
                Compression::Zstd(_) => Some(Compressed::Zstd),
                Compression::Gzip(_) => Some(Compressed::Gzip),
            },
        }
    }

    /// Refuses what no stock tool could undo, or nobody could read, before anything is written.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.compression {
            Compression::Zstd(level) if !(1..=19).contains(&level) => {
                return Err(Error::Unsupported(format!("zstd level {level} is not in 1 to 19")));
            }
            Compression::Gzip(level) if level > 9 => {
                return Err(Error::Unsupported(format!("gzip level {level} is not in 0 to 9")));
            }
            _ => {}
        }
        match &self.encryption {
            Encryption::Age(recipients) if recipients.is_empty() => Err(Error::Key(
                "encryption with age has no recipient; name at least one public key (age1...)"
                    .into(),
            )),
            Encryption::Age(recipients) if recipients.len() > MOST_RECIPIENTS => {
                Err(Error::Unsupported(format!(
                    "{} age recipients are more than the {MOST_RECIPIENTS} that a reader here takes",
                    recipients.len()
                )))
            }
            Encryption::OpenSsl { iterations, .. } if !ROUNDS.contains(iterations) => {
                Err(Error::Unsupported(format!(
                    "{iterations} rounds of PBKDF2 are not 1 to {}; 600000 is usual",
                    ROUNDS.end()
                )))
            }
            Encryption::OpenSsl { passphrase, .. } => check_passphrase(passphrase.expose_secret()),
            _ => Ok(()),
        }
    }
}

/// What `openssl enc -pass file:` would not read back as the same passphrase: it takes the first line of the file, into a
/// buffer of 1,024 bytes (`APP_PASS_LEN`) with a final NUL.
fn check_passphrase(passphrase: &str) -> Result<(), Error> {
    let why = if passphrase.is_empty() {
        "it is empty"
    } else if passphrase.contains(['\n', '\r', '\0']) {
        "it holds a line break or a NUL, and openssl reads one line"
    } else if passphrase.len() > 1023 {
        "it is longer than the 1023 bytes that openssl reads"
    } else {
        return Ok(());
    };
    Err(Error::Key(format!("the passphrase can't be used: {why}; choose one line of text")))
}

/// An age X25519 recipient: a public key, `age1...`.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient(pub(crate) age::x25519::Recipient);

impl FromStr for Recipient {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let why = match text.parse() {
            Ok(recipient) => return Ok(Self(recipient)),
            Err(why) => why,
        };
        if text.to_ascii_uppercase().contains("AGE-SECRET-KEY") {
            return Err(Error::Key(
                "a secret key stands where a recipient is wanted; put the public key (age1...) there, \
                 and make a new pair: this one has been shown"
                    .into(),
            ));
        }
        // Not all of it: it may be a secret of another kind.
        let beginning: String = text.chars().take(8).collect();
        Err(Error::Key(format!(
            "{beginning:?}... is no age X25519 recipient ({why}); it is the age1... that age-keygen prints"
        )))
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Recipient {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Recipient {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// What a recipe adds to a file's name, `.zst.age` or `.gz.enc` or nothing.
pub fn extension(recipe: &Recipe) -> &'static str {
    match (recipe.compression, &recipe.encryption) {
        (Compression::None, Encryption::None) => "",
        (Compression::None, Encryption::Age(_)) => ".age",
        (Compression::None, Encryption::OpenSsl { .. }) => ".enc",
        (Compression::Zstd(_), Encryption::None) => ".zst",
        (Compression::Zstd(_), Encryption::Age(_)) => ".zst.age",
        (Compression::Zstd(_), Encryption::OpenSsl { .. }) => ".zst.enc",
        (Compression::Gzip(_), Encryption::None) => ".gz",
        (Compression::Gzip(_), Encryption::Age(_)) => ".gz.age",
        (Compression::Gzip(_), Encryption::OpenSsl { .. }) => ".gz.enc",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(encryption: Encryption) -> Recipe {
        Recipe { compression: Compression::Zstd(3), encryption }
    }

    fn openssl(passphrase: &str, iterations: u32) -> Recipe {
        with(Encryption::OpenSsl { passphrase: passphrase.into(), iterations })
    }

    #[test]
    fn what_stock_tools_could_not_undo_is_refused() {
        assert!(openssl("one line", 1).check().is_ok());
        assert!(openssl(&"x".repeat(1023), 1).check().is_ok());
        for bad in ["", "two\nlines", "line\n", "nul\0", &"x".repeat(1024)] {
            assert!(matches!(openssl(bad, 1).check(), Err(Error::Key(_))), "{bad:?}");
        }
        assert!(matches!(openssl("one line", 0).check(), Err(Error::Unsupported(_))));
        assert!(matches!(with(Encryption::Age(vec![])).check(), Err(Error::Key(_))));
        for compression in [Compression::Zstd(0), Compression::Zstd(20), Compression::Gzip(10)] {
            let recipe = Recipe { compression, encryption: Encryption::None };
            assert!(matches!(recipe.check(), Err(Error::Unsupported(_))), "{compression:?}");
        }
    }

    #[test]
    fn debug_shows_no_passphrase() {
        let shown = format!("{:?}", openssl("hunter2", 10));
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_secret_key_given_as_a_recipient_is_not_repeated() {
        let identity = age::x25519::Identity::generate();
        let secret = identity.to_string();
        let why = secret.expose_secret().parse::<Recipient>().expect_err("a secret").to_string();
        assert!(!why.contains(&secret.expose_secret()[20..40]), "{why}");
        let public = identity.to_public().to_string();
        assert_eq!(public.parse::<Recipient>().expect("a public key").to_string(), public);
    }
}

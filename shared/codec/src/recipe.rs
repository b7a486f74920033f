//! How an archive is to be made.

use crate::{
    ArchiveError, CompressionFormat, EncodingLayers, EncryptionFormat, KeyDerivation,
    openssl::ALLOWED_ITERATIONS,
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{borrow::Cow, fmt, str::FromStr};

/// Far below what a reader takes of age's header.
const MAX_RECIPIENTS: usize = 200;

/// The first step: what makes it small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionMethod {
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
pub enum EncryptionMethod {
    /// As it is.
    None,
    /// age, for whoever owns the identity of one of these recipients; the host that writes can't read it.
    Age(Vec<AgeRecipient>),
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
pub struct EncodingOptions {
    /// Done first.
    pub compression: CompressionMethod,
    /// Done to what the compression gives.
    pub encryption: EncryptionMethod,
}

impl EncodingOptions {
    /// What a reader will have to undo.
    pub fn to_layers(&self) -> EncodingLayers {
        EncodingLayers {
            encryption: match &self.encryption {
                EncryptionMethod::None => None,
                EncryptionMethod::Age(_) => Some(EncryptionFormat::Age),
                EncryptionMethod::OpenSsl { iterations, .. } => Some(EncryptionFormat::OpenSsl {
                    kdf: KeyDerivation::Pbkdf2 { iterations: *iterations },
                }),
            },
            compression: match self.compression {
                CompressionMethod::None => None,
                CompressionMethod::Zstd(_) => Some(CompressionFormat::Zstd),
                CompressionMethod::Gzip(_) => Some(CompressionFormat::Gzip),
            },
        }
    }

    /// Refuses what no stock tool could undo, or nobody could read, before anything is written.
    pub(crate) fn validate(&self) -> Result<(), ArchiveError> {
        match self.compression {
            CompressionMethod::Zstd(level) if !(1..=19).contains(&level) => {
                return Err(ArchiveError::Unsupported(format!(
                    "zstd level {level} is not in 1 to 19"
                )));
            }
            CompressionMethod::Gzip(level) if level > 9 => {
                return Err(ArchiveError::Unsupported(format!(
                    "gzip level {level} is not in 0 to 9"
                )));
            }
            _ => {}
        }
        match &self.encryption {
            EncryptionMethod::Age(recipients) if recipients.is_empty() => Err(ArchiveError::Key(
                "encryption with age has no recipient; name at least one public key (age1...)"
                    .into(),
            )),
            EncryptionMethod::Age(recipients) if recipients.len() > MAX_RECIPIENTS => {
                Err(ArchiveError::Unsupported(format!(
                    "{} age recipients are more than the {MAX_RECIPIENTS} that a reader here takes",
                    recipients.len()
                )))
            }
            EncryptionMethod::OpenSsl { iterations, .. }
                if !ALLOWED_ITERATIONS.contains(iterations) =>
            {
                Err(ArchiveError::Unsupported(format!(
                    "{iterations} rounds of PBKDF2 are not 1 to {}; 600000 is usual",
                    ALLOWED_ITERATIONS.end()
                )))
            }
            EncryptionMethod::OpenSsl { passphrase, .. } => {
                check_passphrase(passphrase.expose_secret())
            }
            _ => Ok(()),
        }
    }
}

/// What `openssl enc -pass file:` would not read back as the same passphrase: it takes the first line of the file, into a
/// buffer of 1,024 bytes (`APP_PASS_LEN`) with a final NUL.
fn check_passphrase(passphrase: &str) -> Result<(), ArchiveError> {
    let why = if passphrase.is_empty() {
        "it is empty"
    } else if passphrase.contains(['\n', '\r', '\0']) {
        "it holds a line break or a NUL, and openssl reads one line"
    } else if passphrase.len() > 1023 {
        "it is longer than the 1023 bytes that openssl reads"
    } else {
        return Ok(());
    };
    Err(ArchiveError::Key(format!("the passphrase can't be used: {why}; choose one line of text")))
}

/// An age X25519 recipient: a public key, `age1...`.
#[derive(Clone, PartialEq, Eq)]
pub struct AgeRecipient(pub(crate) age::x25519::Recipient);

impl FromStr for AgeRecipient {
    type Err = ArchiveError;

    fn from_str(text: &str) -> Result<Self, ArchiveError> {
        let text = text.trim();
        let why = match text.parse() {
            Ok(recipient) => return Ok(Self(recipient)),
            Err(why) => why,
        };
        if text.to_ascii_uppercase().contains("AGE-SECRET-KEY") {
            return Err(ArchiveError::Key(
                "a secret key stands where a recipient is wanted; put the public key (age1...) there, \
                 and make a new pair: this one has been shown"
                    .into(),
            ));
        }
        // Not all of it: it may be a secret of another kind.
        let beginning: String = text.chars().take(8).collect();
        Err(ArchiveError::Key(format!(
            "{beginning:?}... is no age X25519 recipient ({why}); it is the age1... that age-keygen prints"
        )))
    }
}

impl fmt::Display for AgeRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for AgeRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for AgeRecipient {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AgeRecipient {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// What a recipe adds to a file's name, `.zst.age` or `.gz.enc` or nothing.
pub fn file_extension(recipe: &EncodingOptions) -> &'static str {
    match (recipe.compression, &recipe.encryption) {
        (CompressionMethod::None, EncryptionMethod::None) => "",
        (CompressionMethod::None, EncryptionMethod::Age(_)) => ".age",
        (CompressionMethod::None, EncryptionMethod::OpenSsl { .. }) => ".enc",
        (CompressionMethod::Zstd(_), EncryptionMethod::None) => ".zst",
        (CompressionMethod::Zstd(_), EncryptionMethod::Age(_)) => ".zst.age",
        (CompressionMethod::Zstd(_), EncryptionMethod::OpenSsl { .. }) => ".zst.enc",
        (CompressionMethod::Gzip(_), EncryptionMethod::None) => ".gz",
        (CompressionMethod::Gzip(_), EncryptionMethod::Age(_)) => ".gz.age",
        (CompressionMethod::Gzip(_), EncryptionMethod::OpenSsl { .. }) => ".gz.enc",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(encryption: EncryptionMethod) -> EncodingOptions {
        EncodingOptions { compression: CompressionMethod::Zstd(3), encryption }
    }

    fn openssl(passphrase: &str, iterations: u32) -> EncodingOptions {
        with(EncryptionMethod::OpenSsl { passphrase: passphrase.into(), iterations })
    }

    #[test]
    fn what_stock_tools_could_not_undo_is_refused() {
        assert!(openssl("one line", 1).validate().is_ok());
        assert!(openssl(&"x".repeat(1023), 1).validate().is_ok());
        for bad in ["", "two\nlines", "line\n", "nul\0", &"x".repeat(1024)] {
            assert!(matches!(openssl(bad, 1).validate(), Err(ArchiveError::Key(_))), "{bad:?}");
        }
        assert!(matches!(openssl("one line", 0).validate(), Err(ArchiveError::Unsupported(_))));
        assert!(matches!(
            with(EncryptionMethod::Age(vec![])).validate(),
            Err(ArchiveError::Key(_))
        ));
        for compression in
            [CompressionMethod::Zstd(0), CompressionMethod::Zstd(20), CompressionMethod::Gzip(10)]
        {
            let recipe = EncodingOptions { compression, encryption: EncryptionMethod::None };
            assert!(
                matches!(recipe.validate(), Err(ArchiveError::Unsupported(_))),
                "{compression:?}"
            );
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
        let why = secret.expose_secret().parse::<AgeRecipient>().expect_err("a secret").to_string();
        assert!(!why.contains(&secret.expose_secret()[20..40]), "{why}");
        let public = identity.to_public().to_string();
        assert_eq!(public.parse::<AgeRecipient>().expect("a public key").to_string(), public);
    }
}

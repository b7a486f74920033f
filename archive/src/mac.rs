//! An authenticated manifest for openssl archives.
//!
//! AES-CBC proves nothing about who wrote a file, and a manifest with a digest beside it can be written by anyone who can
//! write there. HMAC-SHA256 of the manifest, under a key that only the owner of the passphrase can make, closes that gap:
//! the manifest vouches for the file's SHA-256, and the MAC for the manifest.

use crate::{Error, hex};
use hmac::{Hmac, KeyInit, Mac as _};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// Rounds of PBKDF2-HMAC-SHA256 for new MACs: OWASP's password storage cheat sheet of 2023.
pub const ITERATIONS: u32 = 600_000;
/// The most that is believed: a manifest from a stranger must not keep us busy for hours.
const MOST_ITERATIONS: u32 = 10_000_000;
/// Keeps this key apart from the archive's own, were the salt ever the same.
const PURPOSE: &[u8] = b"holdfast manifest\0";

/// A message authentication code and how its key is made of the passphrase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mac {
    /// Of PBKDF2, 16 bytes in hexadecimal digits; fresh for each MAC.
    pub salt: String,
    /// Rounds of PBKDF2-HMAC-SHA256.
    pub iterations: u32,
    /// HMAC-SHA256 in 64 hexadecimal digits.
    pub tag: String,
}

/// Signs a message. [`Error::Io`] when the system has no random numbers to give.
pub fn sign(passphrase: &SecretString, message: &[u8]) -> Result<Mac, Error> {
    sign_by(passphrase, ITERATIONS, message)
}

fn sign_by(passphrase: &SecretString, iterations: u32, message: &[u8]) -> Result<Mac, Error> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|e| Error::Io(std::io::Error::other(e)))?;
    let tag = keyed(passphrase, salt, iterations, message).finalize().into_bytes();
    Ok(Mac { salt: hex::encode(&salt), iterations, tag: hex::encode(&tag) })
}

/// Whether the owner of the passphrase signed just this message: [`Error::Key`] when not, for a wrong passphrase and an
/// altered message can't be told apart.
pub fn verify(passphrase: &SecretString, message: &[u8], mac: &Mac) -> Result<(), Error> {
    let malformed = |what: &str, why: String| Error::Damaged(format!("the MAC's {what} has {why}"));
    let salt = hex::decode(&mac.salt).map_err(|why| malformed("salt", why))?;
    let tag: [u8; 32] = hex::decode(&mac.tag).map_err(|why| malformed("tag", why))?;
    if !(1..=MOST_ITERATIONS).contains(&mac.iterations) {
        return Err(malformed(
            "iteration count",
            format!("{}, not 1 to {MOST_ITERATIONS}", mac.iterations),
        ));
    }
    // `verify_slice` takes the same time wherever the difference is.
    keyed(passphrase, salt, mac.iterations, message).verify_slice(&tag).map_err(|_| {
        Error::Key(
            "the MAC is not that of this message under this passphrase: the passphrase is another one, or somebody \
             altered the manifest; do not restore from it before you know which"
                .into(),
        )
    })
}

fn keyed(passphrase: &SecretString, salt: [u8; 16], rounds: u32, message: &[u8]) -> Hmac<Sha256> {
    let salt = [PURPOSE, &salt].concat();
    let mut key = Zeroizing::new([0; 32]);
    pbkdf2::pbkdf2_hmac::<Sha256>(passphrase.expose_secret().as_bytes(), &salt, rounds, &mut *key);
    let mut mac = Hmac::<Sha256>::new_from_slice(&*key).expect("HMAC takes a key of any length");
    mac.update(message);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_message_and_passphrase_verify() {
        let (right, wrong) = (SecretString::from("hunter2"), SecretString::from("hunter3"));
        let sign = |message: &[u8]| sign_by(&right, 100, message).expect("random numbers");
        let mac = sign(b"{}");
        assert!(verify(&right, b"{}", &mac).is_ok());
        assert!(matches!(verify(&wrong, b"{}", &mac), Err(Error::Key(_))));
        assert!(matches!(verify(&right, b"{ }", &mac), Err(Error::Key(_))));
        assert_ne!(sign(b"{}").salt, mac.salt);
        let json = serde_json::to_string(&mac).expect("JSON");
        assert_eq!(serde_json::from_str::<Mac>(&json).expect("itself"), mac);
    }

    #[test]
    fn a_malformed_mac_is_refused_before_any_work() {
        let good = Mac { salt: "00".repeat(16), iterations: 1, tag: "00".repeat(32) };
        let passphrase = SecretString::from("hunter2");
        for bad in [
            Mac { salt: "00".into(), ..good.clone() },
            Mac { tag: "zz".repeat(32), ..good.clone() },
            Mac { iterations: 0, ..good.clone() },
            Mac { iterations: u32::MAX, ..good.clone() },
        ] {
            assert!(matches!(verify(&passphrase, b"", &bad), Err(Error::Damaged(_))), "{bad:?}");
        }
        assert!(matches!(verify(&passphrase, b"", &good), Err(Error::Key(_))));
    }
}

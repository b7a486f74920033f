//! Signatures of what lies in stores and logs: Ed25519, in the files that `minisign` writes and reads.
//!
//! What lies in a store was perhaps put there by somebody else. It is believed when a key that the policy names signed
//! it. A signature covers the bytes of a file and, in its trusted comment, whose file it is and under which name it lies
//! (its key below the store's prefix). So it can't be laid beside another file, and a copy of both files byte for byte
//! keeps it. `minisign -V -P KEY -m FILE` checks it without Holdfast.
//!
//! - [`PublicKey`], [`Signer`]: the two halves; `format`: minisign's files
//! - [`Author`]: an owner with its signer; [`Verifier`]: whether a file was signed by one of a policy's keys for the policy's owner

mod format;
#[cfg(test)]
mod tests;

use crate::{
    aws::{EdgeError, Kind},
    hints::commands,
    policy::Policy,
    secret::Secrets,
};
use aws_lc_rs::{
    rand::{SecureRandom, SystemRandom},
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use blake2::{Blake2b512, Digest};
use secrecy::{ExposeSecret, SecretString};
use std::{fmt, str::FromStr, sync::Arc};

/// What the name of a file's signature ends with.
pub const ENDING: &str = ".minisig";
/// No signature is longer: the comment is as long as a name.
pub const LONGEST: usize = 16 << 10;

/// Name of the signature of a file.
pub fn beside(name: &str) -> String {
    format!("{name}{ENDING}")
}

/// The half that checks signatures: `RW...`, as `minisign` and `holdfast key new` print it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    id: [u8; 8],
    key: [u8; 32],
}

impl PublicKey {
    /// How messages call it, as minisign does: sixteen hexadecimal digits.
    pub fn id(&self) -> String {
        format::shown(self.id)
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.key).verify(message, signature).is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        format::public_key(text)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format::public_text(self))
    }
}

/// The half that signs. Its `Debug` shows the public half only.
#[derive(Clone)]
pub struct Signer {
    public: PublicKey,
    pair: Arc<Ed25519KeyPair>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("public", &self.public.to_string()).finish_non_exhaustive()
    }
}

impl Signer {
    /// A new pair, and the text of its secret half.
    ///
    /// # Errors
    /// If the system has no random numbers to give.
    pub fn generate() -> Result<(Self, SecretString), EdgeError> {
        let refused =
            |_| EdgeError::refused("make a key pair".to_owned(), "no random numbers to be had");
        let mut bytes = [0; 40];
        SystemRandom::new().fill(&mut bytes).map_err(refused)?;
        let mut id = [0; 8];
        id.copy_from_slice(&bytes[32..]);
        let pair = Ed25519KeyPair::from_seed_unchecked(&bytes[..32])
            .map_err(|e| EdgeError::refused("make a key pair".to_owned(), e.to_string()))?;
        let signer = Self::new(id, pair);
        let text = format::secret_text(&signer.public, &bytes[..32]);
        Ok((signer, text))
    }

    fn new(id: [u8; 8], pair: Ed25519KeyPair) -> Self {
        let mut key = [0; 32];
        key.copy_from_slice(pair.public_key().as_ref());
        Self { public: PublicKey { id, key }, pair: Arc::new(pair) }
    }

    /// From the text of the secret half: a file as `holdfast key new` and `minisign -G -W` write it, or its second line.
    ///
    /// # Errors
    /// In words, without the text, if it is none.
    pub fn read(text: &SecretString) -> Result<Self, String> {
        let (id, seed, public) = format::secret_key(text.expose_secret())?;
        let pair = Ed25519KeyPair::from_seed_and_public_key(&seed[..], &public)
            .map_err(|_| "its two halves do not belong together".to_owned())?;
        Ok(Self::new(id, pair))
    }

    /// The signer of a policy; none of one without `signing`.
    ///
    /// # Errors
    /// If the policy signs and the secret half is not to be had here, or is not that of one of its public keys.
    pub async fn of(policy: &Policy, secrets: &Secrets<'_>) -> Result<Option<Self>, EdgeError> {
        let Some(signing) = &policy.signing else { return Ok(None) };
        let refused = |why: String, mend: &str| {
            EdgeError::of_kind(Kind::Key, "find the key that signs".to_owned(), why, mend)
        };
        let Some(from) = &signing.secret_key else {
            return Err(refused(
                "the policy names public keys alone, so nothing can be signed here".into(),
                "write signing.secret_key in the policy of the host that makes backups",
            ));
        };
        let text = secrets.get(from).await.map_err(|e| EdgeError { kind: Kind::Key, ..e })?;
        let signer = Self::read(&text).map_err(|why| {
            refused(
                format!("signing.secret_key is no key: {why}"),
                &format!("make one: {}, or `minisign -G -W`", commands::run(commands::KEY_NEW)),
            )
        })?;
        let shown = signer.public.to_string();
        if signing.public_keys.iter().any(|key| key.as_str() == shown) {
            return Ok(Some(signer));
        }
        let why = format!("signing.secret_key belongs to {shown}, which is none of public_keys");
        Err(refused(
            why,
            "write that public key under signing.public_keys, or name the right secret key",
        ))
    }

    /// The other half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The signature of a file of `owner` that lies under `name`.
    pub fn sign(&self, owner: &str, name: &str, bytes: &[u8]) -> String {
        let comment = format::comment(owner, name);
        let signature = self.pair.sign(&Blake2b512::digest(bytes));
        let whole = self.pair.sign(&[signature.as_ref(), comment.as_bytes()].concat());
        format::signature_text(&self.public, signature.as_ref(), &comment, whole.as_ref())
    }
}

/// Who writes what is believed later: an owner, and its signer where the policy signs.
#[derive(Clone, Debug)]
pub struct Author {
    owner: String,
    signer: Option<Signer>,
}

impl Author {
    /// The author of what a policy has written here.
    ///
    /// # Errors
    /// As for [`Signer::of`].
    pub async fn of(policy: &Policy, secrets: &Secrets<'_>) -> Result<Self, EdgeError> {
        let signer = Signer::of(policy, secrets).await?;
        Ok(Self::new(policy.owner(), signer))
    }

    /// An author with or without a key.
    pub fn new(owner: impl Into<String>, signer: Option<Signer>) -> Self {
        Self { owner: owner.into(), signer }
    }

    /// Who owns what is written.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The signature of a file of this name; none where nothing is signed.
    pub fn sign(&self, name: &str, bytes: &[u8]) -> Option<String> {
        self.signer.as_ref().map(|s| s.sign(&self.owner, name, bytes))
    }

    /// The public half of the author's key.
    pub fn public(&self) -> Option<&PublicKey> {
        self.signer.as_ref().map(Signer::public)
    }

    /// What checks the author's own signatures.
    pub fn verifier(&self) -> Verifier {
        let keys = self.signer.iter().map(|s| s.public().clone()).collect();
        Verifier::new(self.owner.clone(), keys)
    }
}

/// Why a file does not count as signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// There is no signature.
    #[error("it is not signed, and the policy says that it must be")]
    Missing,
    /// What lies there is no signature.
    #[error("its signature is none: {0}")]
    Malformed(String),
    /// A key made it that the policy does not name.
    #[error("it is signed with key {0}, which the policy does not name")]
    Unknown(String),
    /// The key did not sign these bytes, or the comment was changed.
    #[error("its signature is not of what lies there: one of the two was changed")]
    Forged,
    /// It was signed for another owner or under another name.
    #[error("it was signed as \"{0}\", and lies here as another's or under another name")]
    Elsewhere(String),
}

/// Checks signatures for one owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier {
    owner: String,
    keys: Vec<PublicKey>,
}

impl Verifier {
    /// Who may sign by a policy; none of one without `signing`.
    pub fn of(policy: &Policy) -> Option<Self> {
        let signing = policy.signing.as_ref()?;
        let all = signing.public_keys.iter().chain(&signing.previous);
        // A parsed policy has only keys here.
        let keys = all.filter_map(|key| key.as_str().parse().ok()).collect();
        Some(Self::new(policy.owner(), keys))
    }

    /// Who may sign for an owner.
    pub fn new(owner: impl Into<String>, keys: Vec<PublicKey>) -> Self {
        Self { owner: owner.into(), keys }
    }

    /// Whether one of the keys signed these bytes as the owner's file of this name. The key's id is the answer.
    ///
    /// # Errors
    /// If not.
    pub fn check(
        &self,
        name: &str,
        bytes: &[u8],
        signature: Option<&[u8]>,
    ) -> Result<String, Unsigned> {
        let text = signature.ok_or(Unsigned::Missing)?;
        let read = format::signature(text).map_err(Unsigned::Malformed)?;
        let id = format::shown(read.id);
        let keys: Vec<&PublicKey> = self.keys.iter().filter(|k| k.id == read.id).collect();
        if keys.is_empty() {
            return Err(Unsigned::Unknown(id));
        }
        let message = read.message(bytes);
        let whole = [&read.signature[..], read.comment.as_bytes()].concat();
        // The id is eight bytes that anyone may write: two keys may have the same.
        let signed = |key: &&PublicKey| {
            key.verify(&message, &read.signature) && key.verify(&whole, &read.global)
        };
        if !keys.iter().any(signed) {
            return Err(Unsigned::Forged);
        }
        if read.comment != format::comment(&self.owner, name) {
            return Err(Unsigned::Elsewhere(read.comment.to_owned()));
        }
        Ok(id)
    }
}

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
    aws::{OperationError, OperationErrorKind, kms::KmsClient},
    hints::commands,
    policy::{Policy, SigningConfig, text::Arn},
    secret::SecretResolver,
};
use aws_lc_rs::{
    rand::{SecureRandom, SystemRandom},
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use blake2::{Blake2b512, Digest};
use secrecy::{ExposeSecret, SecretString};
use std::{fmt, str::FromStr, sync::Arc};

/// What the name of a file's signature ends with.
pub const SIGNATURE_SUFFIX: &str = ".minisig";
/// No signature is longer: the comment is as long as a name.
pub const MAX_SIGNATURE_BYTES: usize = 16 << 10;

/// Name of the signature of a file.
pub fn signature_name(name: &str) -> String {
    format!("{name}{SIGNATURE_SUFFIX}")
}

/// The half that checks signatures: `RW...`, as `minisign` and `holdfast key new` print it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    id: [u8; 8],
    key: [u8; 32],
}

impl PublicKey {
    /// How messages call it, as minisign does: sixteen hexadecimal digits.
    pub fn key_id(&self) -> String {
        format::format_key_id(self.id)
    }

    /// The public half of a KMS key. KMS knows no ids: the first eight bytes of the key's `BLAKE2b` are its id.
    ///
    /// # Errors
    /// If KMS can't be asked, or the key is no Ed25519 key.
    pub async fn from_kms(client: &KmsClient, key: &Arn) -> Result<Self, OperationError> {
        let key = client.ed25519_public_key(key.as_str()).await?;
        let mut id = [0; 8];
        id.copy_from_slice(&Blake2b512::digest(key)[..8]);
        Ok(Self { id, key })
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.key).verify(message, signature).is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        format::parse_public_key(text)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format::encode_public_key(self))
    }
}

/// The half that signs. Its `Debug` shows the public half only.
#[derive(Clone)]
pub struct MinisignSigner {
    public_key: PublicKey,
    secret_half: SecretHalf,
}

/// Where the half that signs is.
#[derive(Clone)]
enum SecretHalf {
    /// In this process.
    Local(Arc<Ed25519KeyPair>),
    /// In KMS, which never gives it away.
    Kms { client: KmsClient, key: Arn },
}

impl fmt::Debug for MinisignSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("public", &self.public_key.to_string())
            .finish_non_exhaustive()
    }
}

impl MinisignSigner {
    /// A new pair, and the text of its secret half.
    ///
    /// # Errors
    /// If the system has no random numbers to give.
    pub fn generate() -> Result<(Self, SecretString), OperationError> {
        let refused = |_| {
            OperationError::from_message(
                "make a key pair".to_owned(),
                "no random numbers to be had",
            )
        };
        let mut bytes = [0; 40];
        SystemRandom::new().fill(&mut bytes).map_err(refused)?;
        let mut id = [0; 8];
        id.copy_from_slice(&bytes[32..]);
        let pair = Ed25519KeyPair::from_seed_unchecked(&bytes[..32]).map_err(|e| {
            OperationError::from_message("make a key pair".to_owned(), e.to_string())
        })?;
        let signer = Self::new(id, pair);
        let text = format::encode_secret_key(&signer.public_key, &bytes[..32]);
        Ok((signer, text))
    }

    fn new(id: [u8; 8], pair: Ed25519KeyPair) -> Self {
        let mut key = [0; 32];
        key.copy_from_slice(pair.public_key().as_ref());
        Self { public_key: PublicKey { id, key }, secret_half: SecretHalf::Local(Arc::new(pair)) }
    }

    /// From the text of the secret half: a file as `holdfast key new` and `minisign -G -W` write it, or its second line.
    ///
    /// # Errors
    /// In words, without the text, if it is none.
    pub fn parse(text: &SecretString) -> Result<Self, String> {
        let (id, seed, public) = format::parse_secret_key(text.expose_secret())?;
        let pair = Ed25519KeyPair::from_seed_and_public_key(&seed[..], &public)
            .map_err(|_| "its two halves do not belong together".to_owned())?;
        Ok(Self::new(id, pair))
    }

    /// The signer of a policy; none of one without `signing`.
    ///
    /// # Errors
    /// If the policy signs and the secret half is not to be had here, or is not that of one of its public keys.
    pub async fn from_policy(
        policy: &Policy,
        secrets: &SecretResolver<'_>,
    ) -> Result<Option<Self>, OperationError> {
        let Some(signing) = &policy.signing else { return Ok(None) };
        if let Some(key) = &signing.kms_key {
            return Self::from_kms(secrets.kms_client(key), key, signing).await.map(Some);
        }
        let Some(from) = &signing.secret_key else {
            return Err(key_error(
                "the policy names public keys alone, so nothing can be signed here".into(),
                "write signing.secret_key or signing.kms_key in the policy of the host that makes backups",
            ));
        };
        let text = secrets
            .get(from)
            .await
            .map_err(|e| OperationError { kind: OperationErrorKind::Key, ..e })?;
        let signer = Self::parse(&text).map_err(|why| {
            key_error(
                format!("signing.secret_key is no key: {why}"),
                &format!("make one: {}, or `minisign -G -W`", commands::run(commands::KEY_NEW)),
            )
        })?;
        let shown = signer.public_key.to_string();
        if signing.public_keys.iter().any(|key| key.as_str() == shown) {
            return Ok(Some(signer));
        }
        let why = format!("signing.secret_key belongs to {shown}, which is none of public_keys");
        Err(key_error(
            why,
            "write that public key under signing.public_keys, or name the right secret key",
        ))
    }

    /// The signer whose secret half is in KMS; its id is that of the same key under `public_keys`.
    async fn from_kms(
        client: KmsClient,
        key: &Arn,
        signing: &SigningConfig,
    ) -> Result<Self, OperationError> {
        let public = PublicKey::from_kms(&client, key).await?;
        // A parsed policy has only keys here.
        let mut listed = signing.public_keys.iter().filter_map(|k| k.as_str().parse().ok());
        let Some(public_key) = listed.find(|listed: &PublicKey| listed.key == public.key) else {
            let why = format!("signing.kms_key belongs to {public}, which is none of public_keys");
            return Err(key_error(
                why,
                "write that public key under signing.public_keys, or name the right KMS key",
            ));
        };
        Ok(Self { public_key, secret_half: SecretHalf::Kms { client, key: key.clone() } })
    }

    /// The other half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The signature of a file of `owner` that lies under `name`.
    ///
    /// # Errors
    /// If the key is in KMS, and KMS refuses.
    pub async fn sign(
        &self,
        owner: &str,
        name: &str,
        bytes: &[u8],
    ) -> Result<String, OperationError> {
        let comment = format::trusted_comment(owner, name);
        let signature = self.sign_message(&Blake2b512::digest(bytes)).await?;
        let global = self.sign_message(&[&signature[..], comment.as_bytes()].concat()).await?;
        Ok(format::encode_signature(&self.public_key, &signature, &comment, &global))
    }

    async fn sign_message(&self, message: &[u8]) -> Result<Vec<u8>, OperationError> {
        match &self.secret_half {
            SecretHalf::Local(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            SecretHalf::Kms { client, key } => client.sign_ed25519(key.as_str(), message).await,
        }
    }
}

/// The key that signs is not to be had.
fn key_error(why: String, hint: &str) -> OperationError {
    let doing = "find the key that signs".to_owned();
    OperationError::with_hint(OperationErrorKind::Key, doing, why, hint)
}

/// Who writes what is believed later: an owner, and its signer where the policy signs.
#[derive(Clone, Debug)]
pub struct SigningAuthor {
    owner: String,
    signer: Option<MinisignSigner>,
}

impl SigningAuthor {
    /// The author of what a policy has written here.
    ///
    /// # Errors
    /// As for [`MinisignSigner::from_policy`].
    pub async fn from_policy(
        policy: &Policy,
        secrets: &SecretResolver<'_>,
    ) -> Result<Self, OperationError> {
        let signer = MinisignSigner::from_policy(policy, secrets).await?;
        Ok(Self::new(policy.owner(), signer))
    }

    /// An author with or without a key.
    pub fn new(owner: impl Into<String>, signer: Option<MinisignSigner>) -> Self {
        Self { owner: owner.into(), signer }
    }

    /// Who owns what is written.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The signature of a file of this name; none where nothing is signed.
    ///
    /// # Errors
    /// As for [`MinisignSigner::sign`].
    pub async fn sign(&self, name: &str, bytes: &[u8]) -> Result<Option<String>, OperationError> {
        match &self.signer {
            Some(signer) => signer.sign(&self.owner, name, bytes).await.map(Some),
            None => Ok(None),
        }
    }

    /// The public half of the author's key.
    pub fn public_key(&self) -> Option<&PublicKey> {
        self.signer.as_ref().map(MinisignSigner::public_key)
    }

    /// What checks the author's own signatures.
    pub fn verifier(&self) -> MinisignVerifier {
        let keys = self.signer.iter().map(|s| s.public_key().clone()).collect();
        MinisignVerifier::new(self.owner.clone(), keys)
    }
}

/// Why a file does not count as signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
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
    WrongName(String),
}

/// Checks signatures for one owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MinisignVerifier {
    owner: String,
    keys: Vec<PublicKey>,
}

impl MinisignVerifier {
    /// Who may sign by a policy; none of one without `signing`.
    pub fn from_policy(policy: &Policy) -> Option<Self> {
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
    pub fn verify(
        &self,
        name: &str,
        bytes: &[u8],
        signature: Option<&[u8]>,
    ) -> Result<String, SignatureError> {
        let text = signature.ok_or(SignatureError::Missing)?;
        let read = format::parse_signature(text).map_err(SignatureError::Malformed)?;
        let id = format::format_key_id(read.id);
        let keys: Vec<&PublicKey> = self.keys.iter().filter(|k| k.id == read.id).collect();
        if keys.is_empty() {
            return Err(SignatureError::Unknown(id));
        }
        let message = read.signed_message(bytes);
        let whole = [&read.signature[..], read.comment.as_bytes()].concat();
        // The id is eight bytes that anyone may write: two keys may have the same.
        let signed = |key: &&PublicKey| {
            key.verify(&message, &read.signature) && key.verify(&whole, &read.global)
        };
        if !keys.iter().any(signed) {
            return Err(SignatureError::Forged);
        }
        if read.comment != format::trusted_comment(&self.owner, name) {
            return Err(SignatureError::WrongName(read.comment.to_owned()));
        }
        Ok(id)
    }
}

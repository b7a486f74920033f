//! The files of `minisign`, byte for byte: <https://jedisct1.github.io/minisign/>, "Signature format"
//! and "Secret key format".

use super::{MAX_SIGNATURE_BYTES, PublicKey};
use crate::hints::commands::KEY_NEW;
use base64::{Engine, engine::general_purpose::STANDARD};
use blake2::{Blake2b, Blake2b512, Digest, digest::consts::U32};
use secrecy::{SecretString, zeroize::Zeroizing};
use std::borrow::Cow;

/// Ed25519 of the bytes themselves, and what keys are marked with.
const ALGORITHM_ED25519: [u8; 2] = *b"Ed";
/// Ed25519 of the `BLAKE2b-512` of the bytes.
const ALGORITHM_ED25519_PREHASHED: [u8; 2] = *b"ED";
/// `BLAKE2b`, the checksum of secret keys.
const ALGORITHM_BLAKE2B: [u8; 2] = *b"B2";
/// No password protects the secret key.
const KDF_NONE: [u8; 2] = [0, 0];

const UNTRUSTED_PREFIX: &str = "untrusted comment: ";
const TRUSTED_PREFIX: &str = "trusted comment: ";

/// Bytes of a secret key's line: three algorithms, salt, two limits, id, both halves, checksum.
const SECRET_KEY_BYTES: usize = 2 + 2 + 2 + 32 + 8 + 8 + 8 + 64 + 32;

/// A key's id as minisign shows it: the bytes are a number, lowest first.
pub(super) fn format_key_id(id: [u8; 8]) -> String {
    format!("{:016X}", u64::from_le_bytes(id))
}

/// What the trusted comment says: whose file, under which name.
pub(super) fn trusted_comment(owner: &str, name: &str) -> String {
    format!("holdfast {owner} {name}")
}

pub(super) fn encode_public_key(key: &PublicKey) -> String {
    STANDARD.encode([&ALGORITHM_ED25519[..], &key.id, &key.key].concat())
}

/// Reads `RW...`.
pub(super) fn parse_public_key(text: &str) -> Result<PublicKey, String> {
    let wrong = format!("it is no public key: write the line RW... that `{KEY_NEW}` prints");
    if text.contains("secret") || text.len() > 100 {
        return Err("it looks like a secret key, which never stands in a policy: write the public key RW..., and make a \
                    new pair, for this one was shown"
            .into());
    }
    let bytes: [u8; 42] =
        STANDARD.decode(text).ok().and_then(|b| b.try_into().ok()).ok_or(wrong.clone())?;
    let [a, b, rest @ ..] = bytes;
    if [a, b] != ALGORITHM_ED25519 {
        return Err(wrong);
    }
    let (id, key) = rest.split_at(8);
    let part = |_| wrong.clone();
    Ok(PublicKey { id: id.try_into().map_err(part)?, key: key.try_into().map_err(part)? })
}

/// The file of a secret key, without a password.
pub(super) fn encode_secret_key(public: &PublicKey, seed: &[u8]) -> SecretString {
    let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_KEY_BYTES));
    bytes.extend([ALGORITHM_ED25519, KDF_NONE, ALGORITHM_BLAKE2B].concat());
    bytes.extend([0; 32 + 8 + 8]);
    bytes.extend([&public.id[..], seed, &public.key[..]].concat());
    let sum = secret_key_checksum(&bytes[54..]);
    bytes.extend(sum);
    let line = Zeroizing::new(STANDARD.encode(&*bytes));
    format!("{UNTRUSTED_PREFIX}holdfast secret key {}\n{}\n", format_key_id(public.id), *line)
        .into()
}

/// Of the algorithm, the id and both halves.
fn secret_key_checksum(keys: &[u8]) -> [u8; 32] {
    Blake2b::<U32>::new().chain_update(ALGORITHM_ED25519).chain_update(keys).finalize().into()
}

/// Id, seed and public half of a secret key.
#[expect(clippy::type_complexity, reason = "its three parts, used once")]
pub(super) fn parse_secret_key(
    text: &str,
) -> Result<([u8; 8], Zeroizing<[u8; 32]>, [u8; 32]), String> {
    let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
    let line = lines.rfind(|l| !l.starts_with(UNTRUSTED_PREFIX.trim_end()));
    let line = line.ok_or("it is empty")?;
    let bytes = Zeroizing::new(STANDARD.decode(line).map_err(|_| "it is no base64")?);
    if bytes.len() != SECRET_KEY_BYTES
        || bytes[..2] != ALGORITHM_ED25519
        || bytes[4..6] != ALGORITHM_BLAKE2B
    {
        return Err("it is not in minisign's form".into());
    }
    if bytes[2..4] != KDF_NONE {
        return Err("it is protected by a password, and nobody is there to type it".into());
    }
    let (keys, sum) = bytes[54..].split_at(72);
    // minisign itself writes none beside a key without a password.
    if secret_key_checksum(keys) != *sum && *sum != [0; 32] {
        return Err("its checksum is wrong: it was cut or changed".into());
    }
    let mut seed = Zeroizing::new([0; 32]);
    seed.copy_from_slice(&keys[8..40]);
    let (id, public) = (keys[..8].try_into(), keys[40..].try_into());
    let wrong = |_| "it is not in minisign's form".to_owned();
    Ok((id.map_err(wrong)?, seed, public.map_err(wrong)?))
}

/// The file of a signature.
pub(super) fn encode_signature(
    key: &PublicKey,
    signed: &[u8],
    comment: &str,
    global: &[u8],
) -> String {
    let line = STANDARD.encode([&ALGORITHM_ED25519_PREHASHED[..], &key.id, signed].concat());
    let global = STANDARD.encode(global);
    let id = format_key_id(key.id);
    format!(
        "{UNTRUSTED_PREFIX}signed by Holdfast, key {id}\n{line}\n{TRUSTED_PREFIX}{comment}\n{global}\n"
    )
}

/// A signature that was read, and not yet checked.
pub(super) struct ParsedSignature<'t> {
    hashed: bool,
    pub(super) id: [u8; 8],
    pub(super) signature: [u8; 64],
    pub(super) comment: &'t str,
    pub(super) global: [u8; 64],
}

impl ParsedSignature<'_> {
    /// What was signed of these bytes.
    pub(super) fn signed_message<'b>(&self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        if self.hashed { Blake2b512::digest(bytes).to_vec().into() } else { bytes.into() }
    }
}

/// Reads the file of a signature.
pub(super) fn parse_signature(text: &[u8]) -> Result<ParsedSignature<'_>, String> {
    if text.len() > MAX_SIGNATURE_BYTES {
        return Err(format!(
            "it has {} bytes, and none is longer than {MAX_SIGNATURE_BYTES}",
            text.len()
        ));
    }
    let text = std::str::from_utf8(text).map_err(|_| "it is no text")?;
    let mut lines = text.lines();
    let mut next = || lines.next().ok_or("it has fewer than four lines");
    next()?.strip_prefix(UNTRUSTED_PREFIX).ok_or("it does not begin with an untrusted comment")?;
    let signed = STANDARD.decode(next()?).map_err(|_| "its second line is no base64")?;
    let comment = next()?.strip_prefix(TRUSTED_PREFIX).ok_or("it has no trusted comment")?;
    let global = STANDARD.decode(next()?).map_err(|_| "its fourth line is no base64")?;
    let signed: [u8; 74] = signed.try_into().map_err(|_| "its second line has another length")?;
    let hashed = match [signed[0], signed[1]] {
        ALGORITHM_ED25519_PREHASHED => true,
        ALGORITHM_ED25519 => false,
        _ => return Err("its algorithm is none that minisign has".into()),
    };
    let part = "its second line has another length";
    Ok(ParsedSignature {
        hashed,
        id: signed[2..10].try_into().map_err(|_| part)?,
        signature: signed[10..].try_into().map_err(|_| part)?,
        comment,
        global: global.try_into().map_err(|_| "its fourth line has another length")?,
    })
}

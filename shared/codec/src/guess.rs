//! Archives that have no manifest, such as people's older scripts have made.

use crate::{
    ArchiveDecoder, ArchiveError, DecryptionKeys, EncodingLayers, EncryptionFormat, KdfDigest,
    KeyDerivation, looks, openssl,
};
use std::io::{self, Cursor, Read};

/// What the plain bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadFormat {
    /// `pg_dump`'s custom format (`PGDMP`).
    Custom,
    /// SQL text.
    Plain,
    /// Anything else: CSV, tar, or what this program does not know.
    Unknown,
}

/// A reader of everything, from the first byte on.
pub type ReplayReader<R> = io::Chain<Cursor<Vec<u8>>, R>;

/// What is looked at, in bytes: four of age's chunks and some, so that the first block of zstd (128 KiB at most) is within.
const DETECTION_BYTES: u64 = 288 * 1024;

/// openssl's rounds when `-iter` is not given.
const DEFAULT_OPENSSL_ITERATIONS: u32 = 10_000;

/// Finds out what an archive is made of by its first bytes, and by what each key and each KDF makes of them.
///
/// Tried for openssl archives, with every passphrase of `keys`: `EVP_BytesToKey` of sha256 and md5, PBKDF2 of 10,000
/// rounds, and of the rounds of [`DecryptionKeys::add_iterations`]. The reader returned gives everything again, for a [`Decoder`].
/// Fails with [`ArchiveError::Key`] when none fits and with [`ArchiveError::Damaged`] when the file is empty or its first bytes are bad;
/// that it is whole is for the [`Decoder`] to say.
pub fn detect_layers<R: Read>(
    mut source: R,
    keys: &DecryptionKeys,
) -> Result<(EncodingLayers, PayloadFormat, ReplayReader<R>), ArchiveError> {
    let mut head = Vec::new();
    (&mut source).take(DETECTION_BYTES).read_to_end(&mut head)?;
    let cipher = detect_cipher(&head, keys)?;
    let inner = match cipher {
        None => head.clone(),
        Some(_) => {
            decode_prefix(&head, EncodingLayers { encryption: cipher, compression: None }, keys)?
        }
    };
    let layers =
        EncodingLayers { encryption: cipher, compression: looks::detect_compression(&inner) };
    let plain = match layers.compression {
        None => inner,
        Some(_) => decode_prefix(&head, layers, keys)?,
    };
    Ok((layers, looks::detect_format(&plain), Cursor::new(head).chain(source)))
}

fn detect_cipher(
    head: &[u8],
    keys: &DecryptionKeys,
) -> Result<Option<EncryptionFormat>, ArchiveError> {
    let armoured = |how: &str, undo: &str| {
        Err(ArchiveError::Unsupported(format!(
            "it is {how}, which is not read here; undo that first: {undo}"
        )))
    };
    if head.is_empty() {
        return Err(ArchiveError::Damaged("it is empty".into()));
    }
    if head.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----") {
        return armoured("an age file in letters (age -a)", "age -d -i KEY.txt");
    }
    // "Salted__" in base64, but for the bits that the salt shares
    if head.starts_with(b"U2FsdGVkX1") {
        return armoured("an openssl file in base64 (-a)", "base64 -d");
    }
    if head.starts_with(b"age-encryption.org/") {
        return Ok(Some(EncryptionFormat::Age));
    }
    if !head.starts_with(openssl::MAGIC) {
        return Ok(None);
    }
    let mut rounds = vec![DEFAULT_OPENSSL_ITERATIONS];
    rounds.extend(keys.iterations.iter().filter(|n| **n != DEFAULT_OPENSSL_ITERATIONS));
    let kdfs: Vec<KeyDerivation> = [KdfDigest::Sha256, KdfDigest::Md5]
        .map(|digest| KeyDerivation::BytesToKey { digest })
        .into_iter()
        .chain(rounds.into_iter().map(|iterations| KeyDerivation::Pbkdf2 { iterations }))
        .collect();
    let whole = (head.len() as u64) < DETECTION_BYTES;
    let kdf = openssl::find_key(head, whole, &kdfs, keys, None)?.kdf;
    Ok(Some(EncryptionFormat::OpenSsl { kdf }))
}

/// The first bytes behind the layers: as far as the head of the file gives any.
fn decode_prefix(
    head: &[u8],
    layers: EncodingLayers,
    keys: &DecryptionKeys,
) -> Result<Vec<u8>, ArchiveError> {
    const MAX_PREFIX_BYTES: usize = 64 * 1024;
    let mut decoder = ArchiveDecoder::new(head, &layers, keys)?;
    let mut plain = vec![0; MAX_PREFIX_BYTES];
    let mut length = 0;
    while length < MAX_PREFIX_BYTES {
        match decoder.read(&mut plain[length..]) {
            Ok(0) => break,
            Ok(n) => length += n,
            // The head is only a piece of the file, so it may well end in the middle.
            Err(_) if length > 0 => break,
            Err(e) => return Err(e.into()),
        }
    }
    plain.truncate(length);
    Ok(plain)
}

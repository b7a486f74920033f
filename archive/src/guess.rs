//! Archives that have no manifest, such as people's older scripts have made.

use crate::{Cipher, Decoder, Error, Kdf, KdfDigest, Keys, Layers, looks, openssl};
use std::io::{self, Cursor, Read};

/// What the plain bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// `pg_dump`'s custom format (`PGDMP`).
    Custom,
    /// SQL text.
    Plain,
    /// Anything else: CSV, tar, or what this program does not know.
    Unknown,
}

/// A reader of everything, from the first byte on.
pub type Again<R> = io::Chain<Cursor<Vec<u8>>, R>;

/// What is looked at, in bytes: four of age's chunks and some, so that the first block of zstd (128 KiB at most) is within.
const HEAD: u64 = 288 * 1024;

/// openssl's rounds when `-iter` is not given.
const OPENSSL_ROUNDS: u32 = 10_000;

/// Finds out what an archive is made of by its first bytes, and by what each key and each KDF makes of them.
///
/// Tried for openssl archives, with every passphrase of `keys`: `EVP_BytesToKey` of sha256 and md5, PBKDF2 of 10,000
/// rounds, and of the rounds of [`Keys::add_iterations`]. The reader returned gives everything again, for a [`Decoder`].
/// Fails with [`Error::Key`] when none fits and with [`Error::Damaged`] when the file is empty or its first bytes are bad;
/// that it is whole is for the [`Decoder`] to say.
pub fn guess<R: Read>(mut source: R, keys: &Keys) -> Result<(Layers, Content, Again<R>), Error> {
    let mut head = Vec::new();
    (&mut source).take(HEAD).read_to_end(&mut head)?;
    let cipher = cipher(&head, keys)?;
    let inner = match cipher {
        None => head.clone(),
        Some(_) => begin(&head, Layers { cipher, compressed: None }, keys)?,
    };
    let layers = Layers { cipher, compressed: looks::compression(&inner) };
    let plain = match layers.compressed {
        None => inner,
        Some(_) => begin(&head, layers, keys)?,
    };
    Ok((layers, looks::content(&plain), Cursor::new(head).chain(source)))
}

fn cipher(head: &[u8], keys: &Keys) -> Result<Option<Cipher>, Error> {
    let armoured = |how: &str, undo: &str| {
        Err(Error::Unsupported(format!(
            "it is {how}, which is not read here; undo that first: {undo}"
        )))
    };
    if head.is_empty() {
        return Err(Error::Damaged("it is empty".into()));
    }
    if head.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----") {
        return armoured("an age file in letters (age -a)", "age -d -i KEY.txt");
    }
    // "Salted__" in base64, but for the bits that the salt shares
    if head.starts_with(b"U2FsdGVkX1") {
        return armoured("an openssl file in base64 (-a)", "base64 -d");
    }
    if head.starts_with(b"age-encryption.org/") {
        return Ok(Some(Cipher::Age));
    }
    if !head.starts_with(openssl::MAGIC) {
        return Ok(None);
    }
    let mut rounds = vec![OPENSSL_ROUNDS];
    rounds.extend(keys.iterations.iter().filter(|n| **n != OPENSSL_ROUNDS));
    let kdfs: Vec<Kdf> = [KdfDigest::Sha256, KdfDigest::Md5]
        .map(|digest| Kdf::BytesToKey { digest })
        .into_iter()
        .chain(rounds.into_iter().map(|iterations| Kdf::Pbkdf2 { iterations }))
        .collect();
    let whole = (head.len() as u64) < HEAD;
    let kdf = openssl::find(head, whole, &kdfs, keys, None)?.kdf;
    Ok(Some(Cipher::OpenSsl { kdf }))
}

/// The first bytes behind the layers: as far as the head of the file gives any.
fn begin(head: &[u8], layers: Layers, keys: &Keys) -> Result<Vec<u8>, Error> {
    const ENOUGH: usize = 64 * 1024;
    let mut decoder = Decoder::new(head, &layers, keys)?;
    let mut plain = vec![0; ENOUGH];
    let mut length = 0;
    while length < ENOUGH {
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

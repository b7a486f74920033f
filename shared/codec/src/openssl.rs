//! The format of `openssl enc -aes-256-cbc`: `Salted__`, 8 bytes of salt, AES-256-CBC with PKCS #7 padding.

use crate::{ArchiveError, CompressionFormat, DecryptionKeys, KdfDigest, KeyDerivation, looks};
use cbc::cipher::{Array, BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, typenum::U16};
use md5::Md5;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use sha2::{Digest, Sha256};
use std::{
    io::{self, BufRead, Read, Write},
    ops::RangeInclusive,
};

type Aes256CbcEncryptor = cbc::Encryptor<aes::Aes256>;
type Aes256CbcDecryptor = cbc::Decryptor<aes::Aes256>;
type AesBlock = Array<u8, U16>;

pub(crate) const MAGIC: &[u8; 8] = b"Salted__";
const BLOCK_BYTES: usize = 16;
/// What is encrypted or decrypted at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// Rounds of PBKDF2 that are done: what a stranger writes into a record must not keep us busy for hours.
pub(crate) const ALLOWED_ITERATIONS: RangeInclusive<u32> = 1..=10_000_000;

/// Key (32 bytes) and IV (16 bytes), as openssl makes them of passphrase and salt.
pub(crate) type DerivedKeyIv = Zeroizing<[u8; 48]>;

/// What a file was opened with last: its key takes a good part of a second to make, and a restore opens a file twice.
#[derive(Clone)]
pub(crate) struct CachedKey {
    salt: [u8; 8],
    kdf: KeyDerivation,
    passphrase: usize,
    derived: DerivedKeyIv,
}

fn derive_key_iv(kdf: KeyDerivation, passphrase: &SecretString, salt: [u8; 8]) -> DerivedKeyIv {
    let passphrase = passphrase.expose_secret().as_bytes();
    let mut made = Zeroizing::new([0; 48]);
    match kdf {
        KeyDerivation::Pbkdf2 { iterations } => {
            pbkdf2::pbkdf2_hmac::<Sha256>(passphrase, &salt, iterations, &mut *made);
        }
        KeyDerivation::BytesToKey { digest: KdfDigest::Md5 } => {
            bytes_to_key::<Md5>(passphrase, salt, &mut made);
        }
        KeyDerivation::BytesToKey { digest: KdfDigest::Sha256 } => {
            bytes_to_key::<Sha256>(passphrase, salt, &mut made);
        }
    }
    made
}

/// `EVP_BytesToKey` with one round: each piece is the hash of the piece before it, the passphrase and the salt.
fn bytes_to_key<D: Digest>(passphrase: &[u8], salt: [u8; 8], out: &mut [u8; 48]) {
    let size = <D as Digest>::output_size();
    for at in (0..out.len()).step_by(size) {
        let before = at.saturating_sub(size)..at;
        let hash = D::new()
            .chain_update(&out[before])
            .chain_update(passphrase)
            .chain_update(salt)
            .finalize();
        let n = size.min(out.len() - at);
        out[at..at + n].copy_from_slice(&hash[..n]);
    }
}

fn new_decryptor(derived: &[u8; 48]) -> Aes256CbcDecryptor {
    let (key, iv) = derived.split_at(32);
    Aes256CbcDecryptor::new_from_slices(key, iv).expect("32 and 16 bytes are AES-256's sizes")
}

/// Encrypts what is written; without `finish` the padding is missing, and no reader takes it for whole.
pub(crate) struct CbcWriter<W> {
    inner: W,
    cipher: Aes256CbcEncryptor,
    buffer: Vec<u8>,
}

impl<W: Write> CbcWriter<W> {
    /// Writes the header with a fresh salt.
    pub(crate) fn new(
        mut inner: W,
        passphrase: &SecretString,
        iterations: u32,
    ) -> io::Result<Self> {
        let mut salt = [0; 8];
        getrandom::fill(&mut salt).map_err(io::Error::other)?;
        let derived = derive_key_iv(KeyDerivation::Pbkdf2 { iterations }, passphrase, salt);
        let (key, iv) = derived.split_at(32);
        let cipher = Aes256CbcEncryptor::new_from_slices(key, iv)
            .expect("32 and 16 bytes are AES-256's sizes");
        inner.write_all(MAGIC)?;
        inner.write_all(&salt)?;
        Ok(Self { inner, cipher, buffer: Vec::with_capacity(BUFFER_BYTES) })
    }

    pub(crate) fn finish(mut self) -> io::Result<W> {
        let padding = BLOCK_BYTES - self.buffer.len() % BLOCK_BYTES; // a whole block when nothing is missing
        self.buffer.resize(self.buffer.len() + padding, u8::try_from(padding).expect("16 at most"));
        self.encrypt_buffer()?;
        Ok(self.inner)
    }

    fn encrypt_buffer(&mut self) -> io::Result<()> {
        self.cipher.encrypt_blocks(AesBlock::slice_as_chunks_mut(&mut self.buffer).0);
        self.inner.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

impl<W: Write> Write for CbcWriter<W> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let mut rest = piece;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(BUFFER_BYTES - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            rest = later;
            if self.buffer.len() == BUFFER_BYTES {
                self.encrypt_buffer()?;
            }
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Decrypts what is read. The last block waits until the source has ended, since it holds the padding.
pub(crate) struct CbcReader<R> {
    inner: R,
    cipher: Aes256CbcDecryptor,
    /// Plain up to `ready`, read up to `at`; still encrypted behind it.
    buffer: Vec<u8>,
    at: usize,
    ready: usize,
    ended: bool,
}

impl<R: Read> CbcReader<R> {
    /// Reads the beginning and finds the passphrase that opens it; `compressed` is what must come out.
    pub(crate) fn open_with_keys(
        mut inner: R,
        kdf: KeyDerivation,
        keys: &DecryptionKeys,
        compressed: Option<CompressionFormat>,
    ) -> Result<Self, ArchiveError> {
        const HEAD_BYTES: usize = 2 * BLOCK_BYTES + BUFFER_BYTES;
        if let KeyDerivation::Pbkdf2 { iterations } = kdf
            && !ALLOWED_ITERATIONS.contains(&iterations)
        {
            return Err(ArchiveError::Unsupported(format!(
                "it wants {iterations} rounds of PBKDF2, and 1 to {} are done here; see whether its record is right",
                ALLOWED_ITERATIONS.end()
            )));
        }
        let mut head = Vec::with_capacity(HEAD_BYTES);
        (&mut inner).take(HEAD_BYTES as u64).read_to_end(&mut head)?;
        let whole = head.len() < HEAD_BYTES;
        let found = find_key(&head, whole, &[kdf], keys, compressed)?;
        head.drain(..BLOCK_BYTES); // the magic and the salt are as long as a block
        let cipher = new_decryptor(&found.derived);
        Ok(Self { inner, cipher, buffer: head, at: 0, ready: 0, ended: false })
    }

    fn refill_buffer(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.ready);
        (self.at, self.ready) = (0, 0);
        let room = (BUFFER_BYTES + BLOCK_BYTES).saturating_sub(self.buffer.len());
        let read = (&mut self.inner).take(room as u64).read_to_end(&mut self.buffer)?;
        self.ended = read < room;
        let length = self.buffer.len();
        let plain = match self.ended {
            true if length == 0 || !length.is_multiple_of(BLOCK_BYTES) => {
                return Err(truncated_error().into());
            }
            true => length,
            false => (length - 1) / BLOCK_BYTES * BLOCK_BYTES,
        };
        self.cipher.decrypt_blocks(AesBlock::slice_as_chunks_mut(&mut self.buffer[..plain]).0);
        self.ready = plain;
        if self.ended {
            let padding = pkcs7_padding_len(&self.buffer).ok_or_else(|| {
                ArchiveError::Damaged(
                    "its last encrypted block is not the last one that was written".into(),
                )
            })?;
            self.buffer.truncate(length - padding);
            self.ready = self.buffer.len();
        }
        Ok(())
    }
}

impl<R: Read> Read for CbcReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let ready = self.fill_buf()?;
        let n = ready.len().min(out.len());
        out[..n].copy_from_slice(&ready[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl<R: Read> BufRead for CbcReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.ready && !self.ended {
            self.refill_buffer()?;
        }
        Ok(&self.buffer[self.at..self.ready])
    }

    fn consume(&mut self, n: usize) {
        self.at += n;
    }
}

fn truncated_error() -> ArchiveError {
    ArchiveError::Damaged("it ends in the middle of an encrypted block".into())
}

/// The length of the PKCS #7 padding at the end of plain blocks, when it is one.
fn pkcs7_padding_len(plain: &[u8]) -> Option<usize> {
    let last = *plain.last()?;
    let n = usize::from(last);
    let good = (1..=BLOCK_BYTES).contains(&n) && plain.len() >= n;
    (good && plain[plain.len() - n..].iter().all(|b| *b == last)).then_some(n)
}

/// What opens an archive.
pub(crate) struct MatchedKey {
    pub(crate) kdf: KeyDerivation,
    derived: DerivedKeyIv,
}

/// The key and the KDF that make the most sense of the `head` of a file (all of it when `whole`): CBC has no proof of the
/// key, so what comes out is looked at. `expected`: the compression that the manifest says, if it says one.
pub(crate) fn find_key(
    head: &[u8],
    whole: bool,
    kdfs: &[KeyDerivation],
    keys: &DecryptionKeys,
    expected: Option<CompressionFormat>,
) -> Result<MatchedKey, ArchiveError> {
    let Some((salt, body)) =
        head.strip_prefix(MAGIC).and_then(|rest| rest.split_first_chunk::<8>())
    else {
        return Err(ArchiveError::Damaged(
            "it does not begin as `openssl enc` begins its files (Salted__)".into(),
        ));
    };
    if body.len() < BLOCK_BYTES || (whole && !body.len().is_multiple_of(BLOCK_BYTES)) {
        return Err(truncated_error());
    }
    if keys.passphrases.is_empty() {
        return Err(ArchiveError::Key(
            "the archive is encrypted by openssl and no passphrase was given; give the one it was made with".into(),
        ));
    }
    let last = keys.cached_key().clone();
    let mut best: Option<(looks::Plausibility, CachedKey)> = None;
    for kdf in kdfs {
        for (at, (_, passphrase)) in keys.passphrases.iter().enumerate() {
            let same = |l: &&CachedKey| l.salt == *salt && l.kdf == *kdf && l.passphrase == at;
            let known = last.as_ref().filter(same).map(|l| l.derived.clone());
            let derived = known.unwrap_or_else(|| derive_key_iv(*kdf, passphrase, *salt));
            let sense = score_key(body, whole, &derived, expected);
            if sense > best.as_ref().map_or(looks::Plausibility::None, |(sense, _)| *sense) {
                best = Some((sense, CachedKey { salt: *salt, kdf: *kdf, passphrase: at, derived }));
            }
        }
    }
    let found = best.map(|(_, found)| {
        *keys.cached_key() = Some(found.clone());
        MatchedKey { kdf: found.kdf, derived: found.derived }
    });
    found.ok_or_else(|| {
        let kdfs: Vec<String> = kdfs.iter().copied().map(describe_kdf).collect();
        ArchiveError::Key(format!(
            "no passphrase opens this archive: tried {} with {}; give the one it was made with, or, if this is it, \
             check the file's SHA-256: its first bytes may be damaged",
            keys.passphrase_names().join(", "),
            kdfs.join(", ")
        ))
    })
}

fn score_key(
    body: &[u8],
    whole: bool,
    derived: &[u8; 48],
    expected: Option<CompressionFormat>,
) -> looks::Plausibility {
    let mut plain = body[..body.len() / BLOCK_BYTES * BLOCK_BYTES].to_vec();
    new_decryptor(derived).decrypt_blocks(AesBlock::slice_as_chunks_mut(&mut plain).0);
    let ended = if whole { pkcs7_padding_len(&plain) } else { Some(0) };
    plain.truncate(plain.len() - ended.unwrap_or(0));
    if expected.is_some() {
        let proved = looks::detect_compression(&plain) == expected;
        return if proved {
            looks::Plausibility::HasMagicNumber
        } else {
            looks::Plausibility::None
        };
    }
    match looks::score_plausibility(&plain) {
        looks::Plausibility::HasMagicNumber => looks::Plausibility::HasMagicNumber,
        // Sixteen bytes of padding are as good as a magic number.
        _ if plain.is_empty() && ended == Some(BLOCK_BYTES) => looks::Plausibility::HasMagicNumber,
        _ if ended.is_none() => looks::Plausibility::None,
        weaker => weaker,
    }
}

fn describe_kdf(kdf: KeyDerivation) -> String {
    match kdf {
        KeyDerivation::Pbkdf2 { iterations } => format!("PBKDF2 of {iterations} rounds"),
        KeyDerivation::BytesToKey { digest: KdfDigest::Md5 } => "EVP_BytesToKey of md5".into(),
        KeyDerivation::BytesToKey { digest: KdfDigest::Sha256 } => {
            "EVP_BytesToKey of sha256".into()
        }
    }
}

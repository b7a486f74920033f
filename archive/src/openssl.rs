//! The format of `openssl enc -aes-256-cbc`: `Salted__`, 8 bytes of salt, AES-256-CBC with PKCS #7 padding.

use crate::{Compressed, Error, Kdf, KdfDigest, Keys, looks};
use cbc::cipher::{Array, BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, typenum::U16};
use md5::Md5;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use sha2::{Digest, Sha256};
use std::{
    io::{self, BufRead, Read, Write},
    ops::RangeInclusive,
};

type Encryptor = cbc::Encryptor<aes::Aes256>;
type Decryptor = cbc::Decryptor<aes::Aes256>;
type Block = Array<u8, U16>;

pub(crate) const MAGIC: &[u8; 8] = b"Salted__";
const BLOCK: usize = 16;
/// What is encrypted or decrypted at once.
const BUFFER: usize = 64 * 1024;

/// Rounds of PBKDF2 that are done: what a stranger writes into a record must not keep us busy for hours.
pub(crate) const ROUNDS: RangeInclusive<u32> = 1..=10_000_000;

/// Key (32 bytes) and IV (16 bytes), as openssl makes them of passphrase and salt.
pub(crate) type Derived = Zeroizing<[u8; 48]>;

/// What a file was opened with last: its key takes a good part of a second to make, and a restore opens a file twice.
#[derive(Clone)]
pub(crate) struct Last {
    salt: [u8; 8],
    kdf: Kdf,
    passphrase: usize,
    derived: Derived,
}

fn derive(kdf: Kdf, passphrase: &SecretString, salt: [u8; 8]) -> Derived {
    let passphrase = passphrase.expose_secret().as_bytes();
    let mut made = Zeroizing::new([0; 48]);
    match kdf {
        Kdf::Pbkdf2 { iterations } => {
            pbkdf2::pbkdf2_hmac::<Sha256>(passphrase, &salt, iterations, &mut *made);
        }
        Kdf::BytesToKey { digest: KdfDigest::Md5 } => {
            bytes_to_key::<Md5>(passphrase, salt, &mut made);
        }
        Kdf::BytesToKey { digest: KdfDigest::Sha256 } => {
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

fn decryptor(derived: &[u8; 48]) -> Decryptor {
    let (key, iv) = derived.split_at(32);
    Decryptor::new_from_slices(key, iv).expect("32 and 16 bytes are AES-256's sizes")
}

/// Encrypts what is written; without `finish` the padding is missing, and no reader takes it for whole.
pub(crate) struct CbcWriter<W> {
    inner: W,
    cipher: Encryptor,
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
        let derived = derive(Kdf::Pbkdf2 { iterations }, passphrase, salt);
        let (key, iv) = derived.split_at(32);
        let cipher =
            Encryptor::new_from_slices(key, iv).expect("32 and 16 bytes are AES-256's sizes");
        inner.write_all(MAGIC)?;
        inner.write_all(&salt)?;
        Ok(Self { inner, cipher, buffer: Vec::with_capacity(BUFFER) })
    }

    pub(crate) fn finish(mut self) -> io::Result<W> {
        let padding = BLOCK - self.buffer.len() % BLOCK; // a whole block when nothing is missing
        self.buffer.resize(self.buffer.len() + padding, u8::try_from(padding).expect("16 at most"));
        self.empty()?;
        Ok(self.inner)
    }

    fn empty(&mut self) -> io::Result<()> {
        self.cipher.encrypt_blocks(Block::slice_as_chunks_mut(&mut self.buffer).0);
        self.inner.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

impl<W: Write> Write for CbcWriter<W> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let mut rest = piece;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(BUFFER - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            rest = later;
            if self.buffer.len() == BUFFER {
                self.empty()?;
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
    cipher: Decryptor,
    /// Plain up to `ready`, read up to `at`; still encrypted behind it.
    buffer: Vec<u8>,
    at: usize,
    ready: usize,
    ended: bool,
}

impl<R: Read> CbcReader<R> {
    /// Reads the beginning and finds the passphrase that opens it; `compressed` is what must come out.
    pub(crate) fn open(
        mut inner: R,
        kdf: Kdf,
        keys: &Keys,
        compressed: Option<Compressed>,
    ) -> Result<Self, Error> {
        const HEAD: usize = 2 * BLOCK + BUFFER;
        if let Kdf::Pbkdf2 { iterations } = kdf
            && !ROUNDS.contains(&iterations)
        {
            return Err(Error::Unsupported(format!(
                "it wants {iterations} rounds of PBKDF2, and 1 to {} are done here; see whether its record is right",
                ROUNDS.end()
            )));
        }
        let mut head = Vec::with_capacity(HEAD);
        (&mut inner).take(HEAD as u64).read_to_end(&mut head)?;
        let whole = head.len() < HEAD;
        let found = find(&head, whole, &[kdf], keys, compressed)?;
        head.drain(..BLOCK); // the magic and the salt are as long as a block
        let cipher = decryptor(&found.derived);
        Ok(Self { inner, cipher, buffer: head, at: 0, ready: 0, ended: false })
    }

    fn refill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.ready);
        (self.at, self.ready) = (0, 0);
        let room = (BUFFER + BLOCK).saturating_sub(self.buffer.len());
        let read = (&mut self.inner).take(room as u64).read_to_end(&mut self.buffer)?;
        self.ended = read < room;
        let length = self.buffer.len();
        let plain = match self.ended {
            true if length == 0 || !length.is_multiple_of(BLOCK) => return Err(cut().into()),
            true => length,
            false => (length - 1) / BLOCK * BLOCK,
        };
        self.cipher.decrypt_blocks(Block::slice_as_chunks_mut(&mut self.buffer[..plain]).0);
        self.ready = plain;
        if self.ended {
            let padding = padding(&self.buffer).ok_or_else(|| {
                Error::Damaged(
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
            self.refill()?;
        }
        Ok(&self.buffer[self.at..self.ready])
    }

    fn consume(&mut self, n: usize) {
        self.at += n;
    }
}

fn cut() -> Error {
    Error::Damaged("it ends in the middle of an encrypted block".into())
}

/// The length of the PKCS #7 padding at the end of plain blocks, when it is one.
fn padding(plain: &[u8]) -> Option<usize> {
    let last = *plain.last()?;
    let n = usize::from(last);
    let good = (1..=BLOCK).contains(&n) && plain.len() >= n;
    (good && plain[plain.len() - n..].iter().all(|b| *b == last)).then_some(n)
}

/// What opens an archive.
pub(crate) struct Found {
    pub(crate) kdf: Kdf,
    derived: Derived,
}

/// The key and the KDF that make the most sense of the `head` of a file (all of it when `whole`): CBC has no proof of the
/// key, so what comes out is looked at. `expected`: the compression that the manifest says, if it says one.
pub(crate) fn find(
    head: &[u8],
    whole: bool,
    kdfs: &[Kdf],
    keys: &Keys,
    expected: Option<Compressed>,
) -> Result<Found, Error> {
    let Some((salt, body)) =
        head.strip_prefix(MAGIC).and_then(|rest| rest.split_first_chunk::<8>())
    else {
        return Err(Error::Damaged(
            "it does not begin as `openssl enc` begins its files (Salted__)".into(),
        ));
    };
    if body.len() < BLOCK || (whole && !body.len().is_multiple_of(BLOCK)) {
        return Err(cut());
    }
    if keys.passphrases.is_empty() {
        return Err(Error::Key(
            "the archive is encrypted by openssl and no passphrase was given; give the one it was made with".into(),
        ));
    }
    let last = keys.last().clone();
    let mut best: Option<(looks::Sense, Last)> = None;
    for kdf in kdfs {
        for (at, (_, passphrase)) in keys.passphrases.iter().enumerate() {
            let same = |l: &&Last| l.salt == *salt && l.kdf == *kdf && l.passphrase == at;
            let known = last.as_ref().filter(same).map(|l| l.derived.clone());
            let derived = known.unwrap_or_else(|| derive(*kdf, passphrase, *salt));
            let sense = judge(body, whole, &derived, expected);
            if sense > best.as_ref().map_or(looks::Sense::None, |(sense, _)| *sense) {
                best = Some((sense, Last { salt: *salt, kdf: *kdf, passphrase: at, derived }));
            }
        }
    }
    let found = best.map(|(_, found)| {
        *keys.last() = Some(found.clone());
        Found { kdf: found.kdf, derived: found.derived }
    });
    found.ok_or_else(|| {
        let kdfs: Vec<String> = kdfs.iter().copied().map(name).collect();
        Error::Key(format!(
            "no passphrase opens this archive: tried {} with {}; give the one it was made with, or, if this is it, \
             check the file's SHA-256: its first bytes may be damaged",
            keys.passphrase_names().join(", "),
            kdfs.join(", ")
        ))
    })
}

fn judge(
    body: &[u8],
    whole: bool,
    derived: &[u8; 48],
    expected: Option<Compressed>,
) -> looks::Sense {
    let mut plain = body[..body.len() / BLOCK * BLOCK].to_vec();
    decryptor(derived).decrypt_blocks(Block::slice_as_chunks_mut(&mut plain).0);
    let ended = if whole { padding(&plain) } else { Some(0) };
    plain.truncate(plain.len() - ended.unwrap_or(0));
    if expected.is_some() {
        let proved = looks::compression(&plain) == expected;
        return if proved { looks::Sense::Proved } else { looks::Sense::None };
    }
    match looks::sense(&plain) {
        looks::Sense::Proved => looks::Sense::Proved,
        // Sixteen bytes of padding are as good as a magic number.
        _ if plain.is_empty() && ended == Some(BLOCK) => looks::Sense::Proved,
        _ if ended.is_none() => looks::Sense::None,
        weaker => weaker,
    }
}

fn name(kdf: Kdf) -> String {
    match kdf {
        Kdf::Pbkdf2 { iterations } => format!("PBKDF2 of {iterations} rounds"),
        Kdf::BytesToKey { digest: KdfDigest::Md5 } => "EVP_BytesToKey of md5".into(),
        Kdf::BytesToKey { digest: KdfDigest::Sha256 } => "EVP_BytesToKey of sha256".into(),
    }
}

//! From stored bytes to plain ones.

use crate::{
    Cipher, Compressed, Digest, Error, HashingReader, Keys, Layers, Sums, digest::Tally,
    gzip::Gunzip, openssl::CbcReader, zstandard::Unzstd,
};
use age::{DecryptError, stream::StreamReader};
use std::{
    io::{self, BufRead, BufReader, Chain, Cursor, Read},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

const BUFFER: usize = 64 * 1024;

/// Undoes the layers of an archive and hashes both ends.
///
/// A wrong key is found by [`new`](Self::new), truncation and damage by reading: what was read before the error came is
/// not to be trusted, and the end is the end only when [`finish`](Self::finish) says so. Two things only the manifest's
/// digest can tell: flipped bits under openssl's cipher without compression, and anything in an archive without layers.
pub struct Decoder<R: Read> {
    source: Shared<R>,
    opened: Opened<Shared<R>>,
    unpack: Unpack,
    plain: Tally,
    /// Whether plain bytes are counted alone.
    lean: bool,
    failed: Option<Error>,
}

/// The source, in two hands: age's reader gives it back to nobody, and its digest is needed at the end.
struct Shared<R>(Arc<Mutex<HashingReader<R>>>);

impl<R: Read> Shared<R> {
    fn lock(&self) -> MutexGuard<'_, HashingReader<R>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Read> Read for Shared<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.lock().read(out)
    }
}

#[expect(clippy::large_enum_variant, reason = "there is one of them in an archive's life")]
enum Opened<R: Read> {
    Bare(BufReader<R>),
    Age(BufReader<StreamReader<WithHeader<BufReader<R>>>>),
    OpenSsl(CbcReader<R>),
}

enum Unpack {
    None,
    Zstd(Unzstd),
    Gzip(Gunzip),
}

impl<R: Read> Decoder<R> {
    /// Reads the headers and finds the key.
    ///
    /// openssl's format has no proof of the key: a passphrase is right when what comes out begins with the compression's
    /// magic number, or, uncompressed, when it is not noise. ([`Error::Key`] when none is.)
    pub fn new(source: R, layers: &Layers, keys: &Keys) -> Result<Self, Error> {
        let source = Shared(Arc::new(Mutex::new(HashingReader::new(source))));
        let reader = Shared(Arc::clone(&source.0));
        let opened = match layers.cipher {
            None => Opened::Bare(BufReader::with_capacity(BUFFER, reader)),
            Some(Cipher::Age) => {
                let age = open_age(BufReader::with_capacity(BUFFER, reader), keys);
                let age = age.map_err(|e| match e {
                    Error::Io(e) if !source.lock().failed() => Error::Damaged(format!(
                        "its age header can't be read ({e}): it is cut short, or no age file"
                    )),
                    other => other,
                })?;
                Opened::Age(BufReader::with_capacity(BUFFER, age))
            }
            Some(Cipher::OpenSsl { kdf }) => {
                Opened::OpenSsl(CbcReader::open(reader, kdf, keys, layers.compressed)?)
            }
        };
        let unpack = match layers.compressed {
            None => Unpack::None,
            Some(Compressed::Zstd) => Unpack::Zstd(Unzstd::new()?),
            Some(Compressed::Gzip) => Unpack::Gzip(Gunzip::new()),
        };
        Ok(Self { source, opened, unpack, plain: Tally::default(), lean: false, failed: None })
    }

    /// Leaves out the hash of the plain bytes where the compression has a checksum of its own, which is always looked at:
    /// for a reader that compares what is stored with a manifest by [`matches`](Self::matches).
    #[must_use]
    pub fn lean(mut self) -> Self {
        self.lean = !matches!(self.unpack, Unpack::None);
        self
    }

    /// Reads to the end of the source and compares it with the manifest; the digests are the manifest's then.
    pub fn matches(mut self, manifest: &Sums) -> Result<Sums, Error> {
        if !self.lean {
            let sums = self.finish()?;
            return sums.check(manifest).map(|()| sums);
        }
        self.drain()?;
        self.stored().check("stored", &manifest.stored)?;
        let (bytes, said) = (self.plain.bytes, manifest.plain.bytes);
        if bytes != said {
            let why = format!("it unpacks to {bytes} bytes, and its manifest says {said}");
            return Err(Error::Damaged(format!("{why}; restore an older backup")));
        }
        Ok(*manifest)
    }

    /// Reads to the end of the source and returns both digests; fails when the archive is not whole, or goes on after its
    /// end. The digests are of what was read: compare them with the manifest's by [`Sums::check`].
    pub fn finish(mut self) -> Result<Sums, Error> {
        self.drain()?;
        Ok(Sums { plain: self.plain.digest(), stored: self.stored() })
    }

    fn drain(&mut self) -> Result<(), Error> {
        let mut rest = vec![0; BUFFER];
        while self.read(&mut rest)? > 0 {}
        Ok(())
    }

    fn stored(&self) -> Digest {
        self.source.lock().digest()
    }

    /// Tells the source's failures from the archive's.
    fn explain(&self, e: io::Error) -> Error {
        match Error::from(e) {
            Error::Io(e) if !self.source.lock().failed() => Error::Damaged(format!(
                "it can't be decrypted ({e}): it is cut short or altered; fetch it again"
            )),
            other => other,
        }
    }
}

impl<R: Read> Read for Decoder<R> {
    /// Plain bytes. Errors are [`Error`]s inside ([`Error::from`] takes them out), and stay: there is no reading on.
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        if let Some(failed) = &self.failed {
            return Err(failed.again().into());
        }
        let read = match &mut self.unpack {
            Unpack::None => self.opened.read(out),
            Unpack::Zstd(zstd) => zstd.read(&mut self.opened, out),
            Unpack::Gzip(gzip) => gzip.read(&mut self.opened, out),
        };
        match read {
            Ok(n) => {
                if self.lean {
                    self.plain.bytes += n as u64;
                } else {
                    self.plain.add(&out[..n]);
                }
                Ok(n)
            }
            Err(e) => {
                let e = self.explain(e);
                self.failed = Some(e.again());
                Err(e.into())
            }
        }
    }
}

impl<R: Read> Read for Opened<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Bare(r) => r.read(out),
            Self::Age(r) => r.read(out),
            Self::OpenSsl(r) => r.read(out),
        }
    }
}

impl<R: Read> BufRead for Opened<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Bare(r) => r.fill_buf(),
            Self::Age(r) => r.fill_buf(),
            Self::OpenSsl(r) => r.fill_buf(),
        }
    }

    fn consume(&mut self, n: usize) {
        match self {
            Self::Bare(r) => r.consume(n),
            Self::Age(r) => r.consume(n),
            Self::OpenSsl(r) => r.consume(n),
        }
    }
}

/// A source whose header was read already, from its first byte on.
type WithHeader<R> = Chain<Cursor<Vec<u8>>, R>;

/// The most of age's header that is parsed: 500 recipients of X25519. The library parses a header anew with each line, so
/// time grows with the square of this.
const AGE_HEADER: usize = 64 << 10;
/// Likewise, of its lines: two for each recipient of X25519, and one more for each further 48 bytes of others.
const AGE_LINES: usize = 1024;

/// Reads age's header up to its last line, the one with the MAC.
fn age_header(source: &mut impl BufRead) -> Result<Vec<u8>, Error> {
    let mut header = Vec::new();
    for _ in 0..AGE_LINES {
        let start = header.len();
        (&mut *source).take((AGE_HEADER - start) as u64).read_until(b'\n', &mut header)?;
        let line = &header[start..];
        let ended = !line.ends_with(b"\n");
        if ended && header.len() == AGE_HEADER {
            break;
        }
        // What is cut short, or no header at all, is for the library to say.
        if ended || line.starts_with(b"---") {
            return Ok(header);
        }
    }
    Err(Error::Unsupported(format!(
        "its age header goes on after {} KiB or {AGE_LINES} lines: it has more recipients than are read here; undo it with age -d",
        AGE_HEADER >> 10
    )))
}

fn open_age<R: BufRead>(mut source: R, keys: &Keys) -> Result<StreamReader<WithHeader<R>>, Error> {
    let header = age_header(&mut source)?;
    let source = Cursor::new(header).chain(source);
    let damaged = |why: &DecryptError| {
        Error::Damaged(format!("its age header is not what was written ({why}); fetch it again"))
    };
    let age = age::Decryptor::new_buffered(source).map_err(|e| match e {
        DecryptError::Io(e) => Error::Io(e),
        DecryptError::UnknownFormat => Error::Unsupported(
            "it is of a version of age that is not known here; undo it with a newer age -d".into(),
        ),
        other => damaged(&other),
    })?;
    if age.is_scrypt() {
        return Err(Error::Unsupported(
            "it is encrypted with a passphrase (age -p), and only recipients are known here; undo it with age -d".into(),
        ));
    }
    if keys.identities.is_empty() {
        return Err(Error::Key(
            "the archive is encrypted by age and no identity was given; give the AGE-SECRET-KEY-1... of one of its \
             recipients"
                .into(),
        ));
    }
    age.decrypt(keys.identities.iter().map(|i| i as &dyn age::Identity)).map_err(|e| match e {
        DecryptError::NoMatchingKeys => Error::Key(format!(
            "no age identity opens this archive: tried those of {}; give the identity of one of its recipients, or, if \
             this is one, check the file's SHA-256: its first bytes may be damaged",
            keys.recipients().join(", ")
        )),
        DecryptError::Io(e) => Error::Io(e),
        other => damaged(&other),
    })
}

//! From stored bytes to plain ones.

use crate::{
    ArchiveDigests, ArchiveError, CompressionFormat, DecryptionKeys, EncodingLayers,
    EncryptionFormat, HashingReader, StreamDigest, digest::DigestAccumulator, gzip::GzipDecoder,
    openssl::CbcReader, zstandard::ZstdDecoder,
};
use age::{DecryptError, stream::StreamReader};
use std::{
    io::{self, BufRead, BufReader, Chain, Cursor, Read},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

const BUFFER_BYTES: usize = 64 * 1024;

/// Undoes the layers of an archive and hashes both ends.
///
/// A wrong key is found by [`new`](Self::new), truncation and damage by reading: what was read before the error came is
/// not to be trusted, and the end is the end only when [`finish`](Self::finish) says so. Two things only the manifest's
/// digest can tell: flipped bits under openssl's cipher without compression, and anything in an archive without layers.
pub struct ArchiveDecoder<R: Read> {
    source: SharedReader<R>,
    opened: DecryptReader<SharedReader<R>>,
    unpack: StreamDecompressor,
    plain: DigestAccumulator,
    /// Whether plain bytes are counted alone.
    skip_plaintext_hash: bool,
    error: Option<ArchiveError>,
}

/// The source, in two hands: age's reader gives it back to nobody, and its digest is needed at the end.
struct SharedReader<R>(Arc<Mutex<HashingReader<R>>>);

impl<R: Read> SharedReader<R> {
    fn lock(&self) -> MutexGuard<'_, HashingReader<R>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Read> Read for SharedReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.lock().read(out)
    }
}

#[expect(clippy::large_enum_variant, reason = "there is one of them in an archive's life")]
enum DecryptReader<R: Read> {
    Bare(BufReader<R>),
    Age(BufReader<StreamReader<PrefixedReader<BufReader<R>>>>),
    OpenSsl(CbcReader<R>),
}

enum StreamDecompressor {
    None,
    Zstd(ZstdDecoder),
    Gzip(GzipDecoder),
}

impl<R: Read> ArchiveDecoder<R> {
    /// Reads the headers and finds the key.
    ///
    /// openssl's format has no proof of the key: a passphrase is right when what comes out begins with the compression's
    /// magic number, or, uncompressed, when it is not noise. ([`ArchiveError::Key`] when none is.)
    pub fn new(
        source: R,
        layers: &EncodingLayers,
        keys: &DecryptionKeys,
    ) -> Result<Self, ArchiveError> {
        let source = SharedReader(Arc::new(Mutex::new(HashingReader::new(source))));
        let reader = SharedReader(Arc::clone(&source.0));
        let opened = match layers.encryption {
            None => DecryptReader::Bare(BufReader::with_capacity(BUFFER_BYTES, reader)),
            Some(EncryptionFormat::Age) => {
                let age = open_age_reader(BufReader::with_capacity(BUFFER_BYTES, reader), keys);
                let age = age.map_err(|e| match e {
                    ArchiveError::Io(e) if !source.lock().has_source_failed() => {
                        ArchiveError::Damaged(format!(
                            "its age header can't be read ({e}): it is cut short, or no age file"
                        ))
                    }
                    other => other,
                })?;
                DecryptReader::Age(BufReader::with_capacity(BUFFER_BYTES, age))
            }
            Some(EncryptionFormat::OpenSsl { kdf }) => DecryptReader::OpenSsl(
                CbcReader::open_with_keys(reader, kdf, keys, layers.compression)?,
            ),
        };
        let unpack = match layers.compression {
            None => StreamDecompressor::None,
            Some(CompressionFormat::Zstd) => StreamDecompressor::Zstd(ZstdDecoder::new()?),
            Some(CompressionFormat::Gzip) => StreamDecompressor::Gzip(GzipDecoder::new()),
        };
        Ok(Self {
            source,
            opened,
            unpack,
            plain: DigestAccumulator::default(),
            skip_plaintext_hash: false,
            error: None,
        })
    }

    /// Leaves out the hash of the plain bytes where the compression has a checksum of its own, which is always looked at:
    /// for a reader that compares what is stored with a manifest by [`finish_and_verify`](Self::finish_and_verify).
    #[must_use]
    pub fn without_plaintext_hash(mut self) -> Self {
        self.skip_plaintext_hash = !matches!(self.unpack, StreamDecompressor::None);
        self
    }

    /// Reads to the end of the source and compares it with the manifest; the digests are the manifest's then.
    pub fn finish_and_verify(
        mut self,
        manifest: &ArchiveDigests,
    ) -> Result<ArchiveDigests, ArchiveError> {
        if !self.skip_plaintext_hash {
            let sums = self.finish()?;
            return sums.verify_against(manifest).map(|()| sums);
        }
        self.drain_source()?;
        self.stored_digest().verify_against("stored", &manifest.stored)?;
        let (bytes, said) = (self.plain.bytes, manifest.plaintext.bytes);
        if bytes != said {
            let why = format!("it unpacks to {bytes} bytes, and its manifest says {said}");
            return Err(ArchiveError::Damaged(format!("{why}; restore an older backup")));
        }
        Ok(*manifest)
    }

    /// Reads to the end of the source and returns both digests; fails when the archive is not whole, or goes on after its
    /// end. The digests are of what was read: compare them with the manifest's by [`ArchiveDigests::verify_against`].
    pub fn finish(mut self) -> Result<ArchiveDigests, ArchiveError> {
        self.drain_source()?;
        Ok(ArchiveDigests { plaintext: self.plain.current_digest(), stored: self.stored_digest() })
    }

    fn drain_source(&mut self) -> Result<(), ArchiveError> {
        let mut rest = vec![0; BUFFER_BYTES];
        while self.read(&mut rest)? > 0 {}
        Ok(())
    }

    fn stored_digest(&self) -> StreamDigest {
        self.source.lock().current_digest()
    }

    /// Tells the source's failures from the archive's.
    fn classify_error(&self, e: io::Error) -> ArchiveError {
        match ArchiveError::from(e) {
            ArchiveError::Io(e) if !self.source.lock().has_source_failed() => {
                ArchiveError::Damaged(format!(
                    "it can't be decrypted ({e}): it is cut short or altered; fetch it again"
                ))
            }
            other => other,
        }
    }
}

impl<R: Read> Read for ArchiveDecoder<R> {
    /// Plain bytes. Errors are [`Error`]s inside ([`ArchiveError::from`] takes them out), and stay: there is no reading on.
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        if let Some(failed) = &self.error {
            return Err(failed.duplicate().into());
        }
        let read = match &mut self.unpack {
            StreamDecompressor::None => self.opened.read(out),
            StreamDecompressor::Zstd(zstd) => zstd.read(&mut self.opened, out),
            StreamDecompressor::Gzip(gzip) => gzip.read(&mut self.opened, out),
        };
        match read {
            Ok(n) => {
                if self.skip_plaintext_hash {
                    self.plain.bytes += n as u64;
                } else {
                    self.plain.update(&out[..n]);
                }
                Ok(n)
            }
            Err(e) => {
                let e = self.classify_error(e);
                self.error = Some(e.duplicate());
                Err(e.into())
            }
        }
    }
}

impl<R: Read> Read for DecryptReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Bare(r) => r.read(out),
            Self::Age(r) => r.read(out),
            Self::OpenSsl(r) => r.read(out),
        }
    }
}

impl<R: Read> BufRead for DecryptReader<R> {
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
type PrefixedReader<R> = Chain<Cursor<Vec<u8>>, R>;

/// The most of age's header that is parsed: 500 recipients of X25519. The library parses a header anew with each line, so
/// time grows with the square of this.
const MAX_AGE_HEADER_BYTES: usize = 64 << 10;
/// Likewise, of its lines: two for each recipient of X25519, and one more for each further 48 bytes of others.
const MAX_AGE_HEADER_LINES: usize = 1024;

/// Reads age's header up to its last line, the one with the MAC.
fn read_age_header(source: &mut impl BufRead) -> Result<Vec<u8>, ArchiveError> {
    let mut header = Vec::new();
    for _ in 0..MAX_AGE_HEADER_LINES {
        let start = header.len();
        (&mut *source)
            .take((MAX_AGE_HEADER_BYTES - start) as u64)
            .read_until(b'\n', &mut header)?;
        let line = &header[start..];
        let ended = !line.ends_with(b"\n");
        if ended && header.len() == MAX_AGE_HEADER_BYTES {
            break;
        }
        // What is cut short, or no header at all, is for the library to say.
        if ended || line.starts_with(b"---") {
            return Ok(header);
        }
    }
    Err(ArchiveError::Unsupported(format!(
        "its age header goes on after {} KiB or {MAX_AGE_HEADER_LINES} lines: it has more recipients than are read here; undo it with age -d",
        MAX_AGE_HEADER_BYTES >> 10
    )))
}

fn open_age_reader<R: BufRead>(
    mut source: R,
    keys: &DecryptionKeys,
) -> Result<StreamReader<PrefixedReader<R>>, ArchiveError> {
    let header = read_age_header(&mut source)?;
    let source = Cursor::new(header).chain(source);
    let damaged = |why: &DecryptError| {
        ArchiveError::Damaged(format!(
            "its age header is not what was written ({why}); fetch it again"
        ))
    };
    let age = age::Decryptor::new_buffered(source).map_err(|e| match e {
        DecryptError::Io(e) => ArchiveError::Io(e),
        DecryptError::UnknownFormat => ArchiveError::Unsupported(
            "it is of a version of age that is not known here; undo it with a newer age -d".into(),
        ),
        other => damaged(&other),
    })?;
    if age.is_scrypt() {
        return Err(ArchiveError::Unsupported(
            "it is encrypted with a passphrase (age -p), and only recipients are known here; undo it with age -d".into(),
        ));
    }
    if keys.identities.is_empty() {
        return Err(ArchiveError::Key(
            "the archive is encrypted by age and no identity was given; give the AGE-SECRET-KEY-1... of one of its \
             recipients"
                .into(),
        ));
    }
    age.decrypt(keys.identities.iter().map(|i| i as &dyn age::Identity)).map_err(|e| match e {
        DecryptError::NoMatchingKeys => ArchiveError::Key(format!(
            "no age identity opens this archive: tried those of {}; give the identity of one of its recipients, or, if \
             this is one, check the file's SHA-256: its first bytes may be damaged",
            keys.public_keys().join(", ")
        )),
        DecryptError::Io(e) => ArchiveError::Io(e),
        other => damaged(&other),
    })
}

//! From plain bytes to stored ones.

use crate::{
    ArchiveDigests, ArchiveError, CompressionMethod, EncodingOptions, EncryptionMethod,
    digest::{DigestAccumulator, HashingWriter},
    gzip::GzipWriter,
    openssl::CbcWriter,
};
use age::stream::StreamWriter;
use std::io::{self, Write};

/// Compresses, encrypts and hashes what is written to it, into `W`.
///
/// Dropped without [`finish`](Self::finish), or after an error, it leaves something that no reader takes for a whole
/// archive, unless the recipe has neither compression nor encryption: then only the manifest's digest tells.
pub struct ArchiveEncoder<W: Write> {
    plain: DigestAccumulator,
    squeeze: CompressWriter<EncryptWriter<HashingWriter<W>>>,
}

enum CompressWriter<W: Write> {
    None(W),
    Zstd(zstd::stream::write::Encoder<'static, W>),
    Gzip(GzipWriter<W>),
}

#[expect(clippy::large_enum_variant, reason = "there is one of them in an archive's life")]
enum EncryptWriter<W: Write> {
    None(W),
    Age(StreamWriter<W>),
    OpenSsl(CbcWriter<W>),
}

impl<W: Write> ArchiveEncoder<W> {
    /// Writes the headers. A recipe that nobody could undo is refused before that ([`ArchiveError::Key`], [`ArchiveError::Unsupported`]).
    pub fn new(sink: W, recipe: &EncodingOptions) -> Result<Self, ArchiveError> {
        recipe.validate()?;
        let stored = HashingWriter::new(sink);
        let seal = match &recipe.encryption {
            EncryptionMethod::None => EncryptWriter::None(stored),
            EncryptionMethod::Age(recipients) => {
                let recipients = recipients.iter().map(|r| &r.0 as &dyn age::Recipient);
                let age = age::Encryptor::with_recipients(recipients).map_err(|why| {
                    ArchiveError::Key(format!("encrypt for the age recipients: {why}"))
                })?;
                EncryptWriter::Age(age.wrap_output(stored)?)
            }
            EncryptionMethod::OpenSsl { passphrase, iterations } => {
                EncryptWriter::OpenSsl(CbcWriter::new(stored, passphrase, *iterations)?)
            }
        };
        let squeeze = match recipe.compression {
            CompressionMethod::None => CompressWriter::None(seal),
            CompressionMethod::Zstd(level) => {
                let mut zstd = zstd::stream::write::Encoder::new(seal, level)?;
                zstd.include_checksum(true)?; // the library leaves it out unless asked, unlike the program
                CompressWriter::Zstd(zstd)
            }
            CompressionMethod::Gzip(level) => CompressWriter::Gzip(GzipWriter::new(seal, level)),
        };
        Ok(Self { plain: DigestAccumulator::default(), squeeze })
    }

    /// Writes what makes the archive whole, and returns the sink and both digests.
    pub fn finish(self) -> Result<(W, ArchiveDigests), ArchiveError> {
        let seal = match self.squeeze {
            CompressWriter::None(seal) => seal,
            CompressWriter::Zstd(zstd) => zstd.finish()?,
            CompressWriter::Gzip(gzip) => gzip.finish()?,
        };
        let mut stored = match seal {
            EncryptWriter::None(stored) => stored,
            EncryptWriter::Age(age) => age.finish()?,
            EncryptWriter::OpenSsl(cbc) => cbc.finish()?,
        };
        stored.flush()?;
        let (sink, stored) = stored.into_parts();
        Ok((sink, ArchiveDigests { plaintext: self.plain.current_digest(), stored }))
    }
}

impl<W: Write> Write for ArchiveEncoder<W> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let n = self.squeeze.write(piece)?;
        self.plain.update(&piece[..n]);
        Ok(n)
    }

    /// Does nothing: a flush in the middle would make the archive larger, and nobody reads it before its end.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Write for CompressWriter<W> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(w) => w.write(piece),
            Self::Zstd(w) => w.write(piece),
            Self::Gzip(w) => w.write(piece),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Write for EncryptWriter<W> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(w) => w.write(piece),
            Self::Age(w) => w.write(piece),
            Self::OpenSsl(w) => w.write(piece),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

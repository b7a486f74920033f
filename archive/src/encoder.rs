//! From plain bytes to stored ones.

use crate::{
    Compression, Encryption, Error, Recipe, Sums,
    digest::{HashingWriter, Tally},
    gzip::GzipWriter,
    openssl::CbcWriter,
};
use age::stream::StreamWriter;
use std::io::{self, Write};

/// Compresses, encrypts and hashes what is written to it, into `W`.
///
/// Dropped without [`finish`](Self::finish), or after an error, it leaves something that no reader takes for a whole
/// archive, unless the recipe has neither compression nor encryption: then only the manifest's digest tells.
pub struct Encoder<W: Write> {
    plain: Tally,
    squeeze: Squeeze<Seal<HashingWriter<W>>>,
}

enum Squeeze<W: Write> {
    None(W),
    Zstd(zstd::stream::write::Encoder<'static, W>),
    Gzip(GzipWriter<W>),
}

#[expect(clippy::large_enum_variant, reason = "there is one of them in an archive's life")]
enum Seal<W: Write> {
    None(W),
    Age(StreamWriter<W>),
    OpenSsl(CbcWriter<W>),
}

impl<W: Write> Encoder<W> {
    /// Writes the headers. A recipe that nobody could undo is refused before that ([`Error::Key`], [`Error::Unsupported`]).
    pub fn new(sink: W, recipe: &Recipe) -> Result<Self, Error> {
        recipe.check()?;
        let stored = HashingWriter::new(sink);
        let seal = match &recipe.encryption {
            Encryption::None => Seal::None(stored),
            Encryption::Age(recipients) => {
                let recipients = recipients.iter().map(|r| &r.0 as &dyn age::Recipient);
                let age = age::Encryptor::with_recipients(recipients)
                    .map_err(|why| Error::Key(format!("encrypt for the age recipients: {why}")))?;
                Seal::Age(age.wrap_output(stored)?)
            }
            Encryption::OpenSsl { passphrase, iterations } => {
                Seal::OpenSsl(CbcWriter::new(stored, passphrase, *iterations)?)
            }
        };
        let squeeze = match recipe.compression {
            Compression::None => Squeeze::None(seal),
            Compression::Zstd(level) => {
                let mut zstd = zstd::stream::write::Encoder::new(seal, level)?;
                zstd.include_checksum(true)?; // the library leaves it out unless asked, unlike the program
                Squeeze::Zstd(zstd)
            }
            Compression::Gzip(level) => Squeeze::Gzip(GzipWriter::new(seal, level)),
        };
        Ok(Self { plain: Tally::default(), squeeze })
    }

    /// Writes what makes the archive whole, and returns the sink and both digests.
    pub fn finish(self) -> Result<(W, Sums), Error> {
        let seal = match self.squeeze {
            Squeeze::None(seal) => seal,
            Squeeze::Zstd(zstd) => zstd.finish()?,
            Squeeze::Gzip(gzip) => gzip.finish()?,
        };
        let mut stored = match seal {
            Seal::None(stored) => stored,
            Seal::Age(age) => age.finish()?,
            Seal::OpenSsl(cbc) => cbc.finish()?,
        };
        stored.flush()?;
        let (sink, stored) = stored.into_parts();
        Ok((sink, Sums { plain: self.plain.digest(), stored }))
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let n = self.squeeze.write(piece)?;
        self.plain.add(&piece[..n]);
        Ok(n)
    }

    /// Does nothing: a flush in the middle would make the archive larger, and nobody reads it before its end.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Write for Squeeze<W> {
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

impl<W: Write> Write for Seal<W> {
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

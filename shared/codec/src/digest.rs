//! Counting and SHA-256 of what passes.

use crate::{ArchiveError, hex};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};
use std::{
    borrow::Cow,
    fmt,
    io::{self, Read, Write},
    str::FromStr,
};

/// A SHA-256 digest; 64 small hexadecimal digits in text and JSON, as `sha256sum` writes them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256Digest(pub [u8; 32]);

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sha256Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        hex::decode(text).map(Self).map_err(|why| format!("a SHA-256 has 64 digits: {why}"))
    }
}

impl Serialize for Sha256Digest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256Digest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Sha256Digest {
    fn schema_name() -> Cow<'static, str> {
        "Sha256Hex".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9a-f]{64}$" })
    }
}

/// Length and SHA-256 of a stream of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StreamDigest {
    /// Length, in bytes.
    pub bytes: u64,
    /// Of all of them.
    pub sha256: Sha256Digest,
}

/// Both ends of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArchiveDigests {
    /// What the dump program wrote, before compression.
    pub plaintext: StreamDigest,
    /// What the store keeps.
    pub stored: StreamDigest,
}

impl ArchiveDigests {
    /// Compares what was read with what the manifest says; [`ArchiveError::Damaged`] when they differ.
    pub fn verify_against(&self, manifest: &Self) -> Result<(), ArchiveError> {
        self.stored.verify_against("stored", &manifest.stored)?;
        self.plaintext.verify_against("plain", &manifest.plaintext)
    }
}

impl StreamDigest {
    /// Compares the digest of `which` bytes ("stored", "plain") with the manifest's; [`ArchiveError::Damaged`] when they differ.
    pub fn verify_against(&self, which: &str, manifest: &Self) -> Result<(), ArchiveError> {
        if self == manifest {
            return Ok(());
        }
        Err(ArchiveError::Damaged(format!(
            "its {which} bytes are {} with SHA-256 {}, and its manifest says {} with {}; fetch it again, \
             and if it stays so restore an older backup",
            self.bytes, self.sha256, manifest.bytes, manifest.sha256
        )))
    }
}

/// What has passed so far.
#[derive(Clone, Default)]
pub(crate) struct DigestAccumulator {
    pub(crate) bytes: u64,
    sha256: Sha256,
}

impl DigestAccumulator {
    pub(crate) fn update(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        self.sha256.update(piece);
    }

    pub(crate) fn current_digest(&self) -> StreamDigest {
        StreamDigest {
            bytes: self.bytes,
            sha256: Sha256Digest(self.sha256.clone().finalize().into()),
        }
    }
}

/// Hashes the bytes read through it, untouched: what a quick verification of the stored bytes needs.
pub struct HashingReader<R> {
    inner: R,
    tally: DigestAccumulator,
    failed: bool,
}

impl<R: Read> HashingReader<R> {
    /// Around a source.
    pub fn new(inner: R) -> Self {
        Self { inner, tally: DigestAccumulator::default(), failed: false }
    }

    /// Of what has been read so far.
    pub fn current_digest(&self) -> StreamDigest {
        self.tally.current_digest()
    }

    /// Reads to the end and returns the digest of everything.
    pub fn finish_digest(mut self) -> io::Result<StreamDigest> {
        let mut piece = vec![0; 64 * 1024]; // io::copy would ask for 8 KiB at a time
        while self.read(&mut piece)? > 0 {}
        Ok(self.current_digest())
    }

    /// Whether the source itself has failed: what the layers above say then is not the archive's fault.
    pub(crate) fn has_source_failed(&self) -> bool {
        self.failed
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.inner.read(out) {
                Ok(n) => {
                    self.tally.update(&out[..n]);
                    return Ok(n);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.failed = true;
                    return Err(e);
                }
            }
        }
    }
}

/// Hashes the bytes written through it.
pub(crate) struct HashingWriter<W> {
    inner: W,
    tally: DigestAccumulator,
}

impl<W: Write> HashingWriter<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, tally: DigestAccumulator::default() }
    }

    pub(crate) fn into_parts(self) -> (W, StreamDigest) {
        let digest = self.tally.current_digest();
        (self.inner, digest)
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(piece)?;
        self.tally.update(&piece[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; // FIPS 180-4, example "abc"

    #[test]
    fn a_digest_is_written_and_read_as_sha256sum_does() {
        let digest = HashingReader::new(&b"abc"[..]).finish_digest().expect("memory");
        let json = serde_json::to_string(&digest).expect("JSON");
        assert_eq!(json, format!(r#"{{"bytes":3,"sha256":"{ABC}"}}"#));
        assert_eq!(serde_json::from_str::<StreamDigest>(&json).expect("itself"), digest);
        assert_eq!(ABC.to_uppercase().parse(), Ok(digest.sha256));
        for bad in ["", "ba", &ABC.replace('b', "g"), &format!("{ABC} "), &"é".repeat(32)] {
            assert!(bad.parse::<Sha256Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_difference_names_both_sides() {
        let of = |text: &[u8]| HashingReader::new(text).finish_digest().expect("memory");
        let (good, bad) = (of(b"abc"), of(b"abd"));
        let sums = |stored, plain| ArchiveDigests { plaintext: plain, stored };
        assert!(sums(good, good).verify_against(&sums(good, good)).is_ok());
        for read in [sums(bad, good), sums(good, bad)] {
            let why = read.verify_against(&sums(good, good)).expect_err("they differ").to_string();
            assert!(why.contains(ABC) && why.contains(&bad.sha256.to_string()), "{why}");
        }
    }
}

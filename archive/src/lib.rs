//! What a dump goes through before it is stored, and back: compression, encryption, hashes.
//!
//! An [`Encoder`] compresses and then encrypts what is written to it, and hashes both ends; a [`Decoder`] undoes that and
//! proves that nothing is missing. Everything written is also undone by stock tools ([`Layers::commands`]). One pass,
//! constant memory (below 4 MiB beside the compressor's own; a reader takes 40 MiB at most, whatever the archive says), no
//! clock and no disk. Layout:
//!
//! - [`recipe`]: how an archive is to be made; [`layers`]: what a reader must undo; [`keys`]: what opens it
//! - [`encoder`], [`decoder`], [`guess`](mod@guess) (archives that have no manifest), with a module for each format they speak
//! - [`digest`]: counting and SHA-256
//! - [`pipe`]: channels between async tasks and the threads that compress
//!
//! # Streams of bytes
//!
//! 1. Every stream is a bounded `tokio::sync::mpsc` channel of `io::Result<Bytes>`, pieces of about 256 KiB.
//! 2. An empty `Bytes` is the end, sent once, by a sender that knows that everything before it is whole.
//! 3. A channel that closes without it is an error, never an end: a sender that died must not look like one that finished.
//! 4. An `Err` is the last item: the receiver gives up what it has begun. [`pipe::fail`] sends it.
//! 5. Empty pieces in the middle are not sent: [`pipe::send`] drops them, and [`pipe::next`] reads by these rules.
//!
//! # Example
//!
//! ```
//! use archive::{Compression, Decoder, Encoder, Encryption, Keys, Recipe};
//! use std::io::{Read, Write};
//!
//! let recipe = Recipe {
//!     compression: Compression::Zstd(3),
//!     encryption: Encryption::OpenSsl { passphrase: "correct horse".into(), iterations: 10_000 },
//! };
//! let mut encoder = Encoder::new(Vec::new(), &recipe)?;
//! encoder.write_all(b"-- PostgreSQL database dump")?;
//! let (stored, sums) = encoder.finish()?;
//!
//! let mut keys = Keys::default();
//! keys.add_passphrase("correct horse".into());
//! let mut decoder = Decoder::new(&stored[..], &recipe.layers(), &keys)?;
//! let mut plain = String::new();
//! decoder.read_to_string(&mut plain)?;
//! assert_eq!(plain, "-- PostgreSQL database dump");
//! assert_eq!(decoder.finish()?, sums);
//! # Ok::<(), archive::Error>(())
//! ```

pub mod decoder;
pub mod digest;
pub mod encoder;
mod error;
pub mod guess;
mod gzip;
mod hex;
pub mod keys;
pub mod layers;
mod looks;
mod openssl;
pub mod pipe;
pub mod recipe;
mod zstandard;

pub use decoder::ArchiveDecoder;
pub use digest::{StreamDigest, HashingReader, Sha256Digest, ArchiveDigests};
pub use encoder::ArchiveEncoder;
pub use error::ArchiveError;
pub use guess::{PayloadFormat, detect_layers};
pub use keys::DecryptionKeys;
pub use layers::{EncryptionFormat, CompressionFormat, KeyDerivation, KdfDigest, EncodingLayers};
pub use recipe::{CompressionMethod, EncryptionMethod, EncodingOptions, AgeRecipient, file_extension};

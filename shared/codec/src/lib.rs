//! What a dump goes through before it is stored, and back: compression, encryption, hashes.
//!
//! An [`Encoder`] compresses and then encrypts what is written to it, and hashes both ends; a [`Decoder`] undoes that and
//! proves that nothing is missing. Everything written is also undone by stock tools ([`EncodingLayers::shell_commands`]). One pass,
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
//! 4. An `Err` is the last item: the receiver gives up what it has begun. [`pipe::send_error`] sends it.
//! 5. Empty pieces in the middle are not sent: [`pipe::send_chunk`] drops them, and [`pipe::recv_chunk`] reads by these rules.
//!
//! # Example
//!
//! ```
//! use codec::{CompressionMethod, ArchiveDecoder, ArchiveEncoder, EncryptionMethod, DecryptionKeys, EncodingOptions};
//! use std::io::{Read, Write};
//!
//! let recipe = EncodingOptions {
//!     compression: CompressionMethod::Zstd(3),
//!     encryption: EncryptionMethod::OpenSsl { passphrase: "correct horse".into(), iterations: 10_000 },
//! };
//! let mut encoder = ArchiveEncoder::new(Vec::new(), &recipe)?;
//! encoder.write_all(b"-- PostgreSQL database dump")?;
//! let (stored, sums) = encoder.finish()?;
//!
//! let mut keys = DecryptionKeys::default();
//! keys.add_passphrase("correct horse".into());
//! let mut decoder = ArchiveDecoder::new(&stored[..], &recipe.to_layers(), &keys)?;
//! let mut plain = String::new();
//! decoder.read_to_string(&mut plain)?;
//! assert_eq!(plain, "-- PostgreSQL database dump");
//! assert_eq!(decoder.finish()?, sums);
//! # Ok::<(), codec::ArchiveError>(())
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
pub use digest::{ArchiveDigests, HashingReader, Sha256Digest, StreamDigest};
pub use encoder::ArchiveEncoder;
pub use error::ArchiveError;
pub use guess::{PayloadFormat, detect_layers};
pub use keys::DecryptionKeys;
pub use layers::{CompressionFormat, EncodingLayers, EncryptionFormat, KdfDigest, KeyDerivation};
pub use recipe::{
    AgeRecipient, CompressionMethod, EncodingOptions, EncryptionMethod, file_extension,
};

//! How many megabytes a second one thread encodes and decodes, for each recipe: `cargo run --release -p holdfast-codec --example
//! throughput [FILE]`. Without a file, 256 MiB of rows like pgbench's are made up.

use codec::{
    ArchiveDecoder, ArchiveEncoder, CompressionMethod, DecryptionKeys, EncodingOptions,
    EncryptionMethod,
};
use std::{
    env, fs,
    io::{self, Write},
    time::Instant,
};

fn rows() -> Vec<u8> {
    let mut text = Vec::new();
    for id in 1u64.. {
        let balance = id.wrapping_mul(6_364_136_223_846_793_005) >> 44;
        let line = format!("{id}\t{}\t{balance}\t{:84}\n", id / 100_000, "");
        text.extend_from_slice(line.as_bytes());
        if text.len() >= 256 << 20 {
            break;
        }
    }
    text
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let plain = env::args_os().nth(1).map_or_else(|| Ok(rows()), fs::read)?;
    let megabytes = f64::from(u32::try_from(plain.len() / 1000)?) / 1000.;
    let identity = age::x25519::Identity::generate();
    let mut keys = DecryptionKeys::default();
    keys.add_identity(secrecy::ExposeSecret::expose_secret(&identity.to_string()))?;
    keys.add_passphrase("throughput".into());
    let age = EncryptionMethod::Age(vec![identity.to_public().to_string().parse()?]);
    let openssl = EncryptionMethod::OpenSsl { passphrase: "throughput".into(), iterations: 10_000 };
    let mut out = io::stdout();
    writeln!(out, "{} MB, MB of plain bytes a second", plain.len() / 1_000_000)?;
    for compression in
        [CompressionMethod::None, CompressionMethod::Zstd(3), CompressionMethod::Gzip(6)]
    {
        for encryption in [EncryptionMethod::None, age.clone(), openssl.clone()] {
            let recipe = EncodingOptions { compression, encryption };
            let start = Instant::now();
            let mut encoder =
                ArchiveEncoder::new(Vec::with_capacity(plain.len() + 1_000_000), &recipe)?;
            for piece in plain.chunks(256 * 1024) {
                encoder.write_all(piece)?;
            }
            let (stored, sums) = encoder.finish()?;
            let encode = megabytes / start.elapsed().as_secs_f64();
            let start = Instant::now();
            let read = ArchiveDecoder::new(&stored[..], &recipe.to_layers(), &keys)?.finish()?;
            let decode = megabytes / start.elapsed().as_secs_f64();
            assert_eq!(read, sums);
            let name = format!("{compression:?}{}", codec::file_extension(&recipe));
            writeln!(
                out,
                "{name:20} encode {encode:5.0}, decode {decode:5.0}, {} MB",
                stored.len() / 1_000_000
            )?;
        }
    }
    Ok(())
}

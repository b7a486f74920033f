//! A hostile archive costs bounded memory and bounded work, whatever its header says.
#![expect(clippy::print_stdout, reason = "the process that measures tells the test so")]

use codec::{
    ArchiveDecoder, ArchiveEncoder, ArchiveError, CompressionFormat, CompressionMethod,
    DecryptionKeys, EncodingLayers, EncodingOptions, EncryptionFormat, EncryptionMethod,
    KeyDerivation,
};
use secrecy::ExposeSecret;
use std::{
    env, fs,
    io::{self, Read, Write},
    path::Path,
    process::Command,
};
use zstd::stream::write::Encoder as Zstd;

const ZSTD: EncodingLayers =
    EncodingLayers { encryption: None, compression: Some(CompressionFormat::Zstd) };
const AGE: EncodingLayers =
    EncodingLayers { encryption: Some(EncryptionFormat::Age), compression: None };

/// `mebibytes` of zeros behind a window of two to the power of `log` bytes.
fn zeros(log: u32, mebibytes: usize) -> Vec<u8> {
    let mut encoder = Zstd::new(Vec::new(), 1).expect("an encoder");
    encoder.window_log(log).expect("a window");
    for _ in 0..mebibytes {
        encoder.write_all(&vec![0; 1 << 20]).expect("memory");
    }
    encoder.finish().expect("memory")
}

/// The most memory that this process has had, in KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Decodes a file in this process alone, and prints by how many KiB its peak of memory grew.
#[test]
#[ignore = "the other half of the test below, in a process of its own"]
fn decode_and_measure() {
    let (path, layers) =
        (env::var("ARCHIVE").expect("a path"), env::var("LAYERS").expect("layers"));
    let layers: EncodingLayers = serde_json::from_str(&layers).expect("layers");
    let mut keys = DecryptionKeys::default();
    keys.add_passphrase("correct horse".into());
    if let Ok(identity) = env::var("IDENTITY") {
        keys.add_identity(&identity).expect("an identity");
    }
    let before = peak();
    let file = fs::File::open(path).expect("a file");
    let copied = ArchiveDecoder::new(file, &layers, &keys)
        .and_then(|mut d| io::copy(&mut d, &mut io::sink()).map_err(ArchiveError::from));
    println!("grew {} result {copied:?}", peak() - before);
}

/// By how many KiB the peak of a process grows that decodes this, and how it ends.
fn measured(stored: &[u8], layers: EncodingLayers, identity: &str) -> (u64, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("archive");
    fs::write(&path, stored).expect("written");
    let output = Command::new(env::current_exe().expect("this test"))
        .args(["--exact", "decode_and_measure", "--ignored", "--nocapture"])
        .env("ARCHIVE", Path::new(&path))
        .env("LAYERS", serde_json::to_string(&layers).expect("JSON"))
        .env("IDENTITY", identity)
        .output()
        .expect("a child");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, rest) = said.split_once("grew ").unwrap_or_else(|| panic!("{said}"));
    let (grew, result) = rest.split_once(" result ").expect("a result");
    (grew.parse().expect("a number"), result.lines().next().unwrap_or_default().to_owned())
}

#[test]
fn every_decoder_has_a_bound_of_memory_that_no_archive_moves() {
    let identity = age::x25519::Identity::generate();
    let recipient = identity.to_public().to_string().parse().expect("a recipient");
    let secret = identity.to_string();
    let encryptions = [
        EncryptionMethod::Age(vec![recipient]),
        EncryptionMethod::OpenSsl { passphrase: "correct horse".into(), iterations: 1 },
    ];
    let mut cases = vec![("zstd with the largest window", zeros(25, 96), ZSTD)];
    for encryption in encryptions {
        let recipe = EncodingOptions { compression: CompressionMethod::Gzip(1), encryption };
        let mut encoder = ArchiveEncoder::new(Vec::new(), &recipe).expect("a recipe");
        for _ in 0..96 {
            encoder.write_all(&vec![0; 1 << 20]).expect("memory");
        }
        cases.push(("gzip", encoder.finish().expect("memory").0, recipe.to_layers()));
    }
    for (case, stored, layers) in cases {
        let (grew, result) = measured(&stored, layers, secret.expose_secret());
        assert_eq!(result, format!("Ok({})", 96 << 20), "{case}");
        assert!(grew < 44 << 10, "{case}: {grew} KiB");
    }
    // 12 KB that want 128 MiB.
    let stored = zeros(27, 140);
    assert!(stored.len() < 16 << 10, "{}", stored.len());
    let (grew, result) = measured(&stored, ZSTD, secret.expose_secret());
    assert!(result.contains("window is larger than the 32 MiB"), "{result}");
    assert!(grew < 4 << 10, "{grew} KiB");
}

/// Counts what is read of a source.
struct Counting<R>(R, usize);

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read(out)?;
        self.1 += n;
        Ok(n)
    }
}

/// An age file with so many recipients of X25519, none of which is ours.
fn recipients(many: usize) -> Vec<u8> {
    let word = "B".repeat(42) + "A"; // 32 bytes in base64
    let stanza = format!("-> X25519 {word}\n{word}\n");
    let mac = format!("--- {}\n", "A".repeat(43));
    ["age-encryption.org/v1\n", &stanza.repeat(many), &mac, &"x".repeat(100)].concat().into_bytes()
}

#[test]
fn an_age_header_is_read_up_to_a_bound_and_refused_beyond_it() {
    let mut keys = DecryptionKeys::default();
    let identity = age::x25519::Identity::generate();
    keys.add_identity(identity.to_string().expose_secret()).expect("an identity");
    let lines = ["age-encryption.org/v1\n", &"-> a\n\n".repeat(100_000)].concat().into_bytes();
    let line = ["age-encryption.org/v1\n-> ", &"a".repeat(1 << 20)].concat().into_bytes();
    for (case, stored) in [("many", recipients(4000)), ("lines", lines), ("one line", line)] {
        let mut source = Counting(&stored[..], 0);
        let error = ArchiveDecoder::new(&mut source, &AGE, &keys).err().expect(case).to_string();
        assert!(error.contains("age header goes on after 64 KiB or 1024 lines"), "{case}: {error}");
        assert!(source.1 <= 192 << 10, "{case}: {} bytes were read", source.1);
    }
    let error = ArchiveDecoder::new(&recipients(400)[..], &AGE, &keys).err().expect("none of ours");
    assert!(matches!(error, ArchiveError::Key(_)), "{error}");
}

#[test]
fn rounds_that_a_stranger_wrote_are_not_done() {
    let mut keys = DecryptionKeys::default();
    keys.add_passphrase("correct horse".into());
    keys.add_iterations(u32::MAX);
    let stored = [b"Salted__12345678".as_slice(), &[0; 64]].concat();
    for iterations in [0, 10_000_001, u32::MAX] {
        let cipher = Some(EncryptionFormat::OpenSsl { kdf: KeyDerivation::Pbkdf2 { iterations } });
        let layers = EncodingLayers { encryption: cipher, compression: None };
        let error = ArchiveDecoder::new(&stored[..], &layers, &keys).err().expect("refused");
        assert!(error.to_string().contains("rounds of PBKDF2"), "{error}");
    }
    // The last ones would take hours.
    assert!(codec::detect_layers(&stored[..], &keys).is_err());
}

//! The archives are those of stock tools: `openssl`, `zstd`, `gzip` and `age` read ours, and we read theirs.

use codec::{
    AgeRecipient, ArchiveDecoder, ArchiveEncoder, ArchiveError, CompressionFormat,
    CompressionMethod, DecryptionKeys, EncodingLayers, EncodingOptions, EncryptionFormat,
    EncryptionMethod, KdfDigest, KeyDerivation, PayloadFormat, detect_layers,
};
use std::{
    fs,
    io::{Read, Write},
    path::Path,
    process::{Command, Stdio},
    thread,
};
use tempfile::TempDir;

/// What is in a passphrase that a shell or openssl could stumble over.
const PASSPHRASE: &str = "pass 'word' $HOME \\ äöü €";

/// Runs a line of shell in `folder`, fed with `input`; its output, or the reason why there is none.
fn shell(folder: &Path, line: &str, input: &[u8]) -> Result<Vec<u8>, String> {
    let packages = [
        ("openssl", "openssl"),
        ("zstd", "zstd"),
        ("gzip", "gzip"),
        ("age", "age"),
        ("age-keygen", "age"),
    ];
    for (program, package) in packages {
        let known = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
        assert!(
            known.expect("sh").status.success(),
            "{program} is not installed, and this test proves that it reads our archives: apt-get install {package}"
        );
    }
    let mut child = Command::new("bash")
        .args(["-c", &format!("set -o pipefail; {line}")])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("bash");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    // A tool that refuses its input closes the pipe; its exit code says so.
    let feeder = thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("bash");
    feeder.join().expect("no panic");
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(format!("{line}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// A folder with a passphrase and an age identity in it, and the keys that hold both.
fn folder() -> (TempDir, DecryptionKeys, AgeRecipient) {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path();
    fs::write(path.join("PASS.txt"), format!("{PASSPHRASE}\n")).expect("a file");
    shell(path, "age-keygen -o AGE.txt", b"").expect("a key");
    let recipient = shell(path, "age-keygen -y AGE.txt", b"").expect("its public key");
    let mut keys = DecryptionKeys::default();
    keys.add_identity(&fs::read_to_string(path.join("AGE.txt")).expect("a file"))
        .expect("an identity");
    keys.add_passphrase(format!("{PASSPHRASE}\n").into());
    let recipient = String::from_utf8(recipient).expect("text").parse().expect("a recipient");
    (folder, keys, recipient)
}

fn plain(length: usize) -> Vec<u8> {
    let lines = (0u64..).map(|n| format!("{}\t{n}\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let mut text = b"--\n-- PostgreSQL database dump\n--\n".to_vec();
    lines.take(length / 10).for_each(|line| text.extend(line.into_bytes()));
    text.truncate(length);
    text
}

fn decoded(
    stored: &[u8],
    layers: &EncodingLayers,
    keys: &DecryptionKeys,
) -> Result<Vec<u8>, ArchiveError> {
    let mut decoder = ArchiveDecoder::new(stored, layers, keys)?;
    let mut plain = Vec::new();
    decoder.read_to_end(&mut plain)?;
    decoder.finish()?;
    Ok(plain)
}

#[test]
fn stock_tools_undo_every_recipe_by_the_commands_that_we_name() {
    let (folder, _, recipient) = folder();
    for encryption in [
        EncryptionMethod::None,
        EncryptionMethod::Age(vec![recipient]),
        EncryptionMethod::OpenSsl { passphrase: PASSPHRASE.into(), iterations: 20_000 },
    ] {
        let key =
            if matches!(encryption, EncryptionMethod::Age(_)) { "AGE.txt" } else { "PASS.txt" };
        for compression in
            [CompressionMethod::None, CompressionMethod::Zstd(3), CompressionMethod::Gzip(6)]
        {
            let recipe = EncodingOptions { compression, encryption: encryption.clone() };
            for length in [0, 1, 16, 65_536, 1_500_000] {
                let plain = plain(length);
                let mut encoder = ArchiveEncoder::new(Vec::new(), &recipe).expect("a good recipe");
                encoder.write_all(&plain).expect("memory");
                let (stored, sums) = encoder.finish().expect("memory");
                let commands = recipe.to_layers().shell_commands(key);
                let line = if commands.is_empty() { "cat".into() } else { commands.join(" | ") };
                let undone = shell(folder.path(), &line, &stored).expect("the tools read it");
                assert!(undone == plain, "{line} of {length} bytes");
                let sum = shell(folder.path(), "sha256sum", &stored).expect("coreutils");
                assert_eq!(String::from_utf8_lossy(&sum), format!("{}  -\n", sums.stored.sha256));
            }
        }
    }
}

#[test]
fn our_zstd_frames_carry_a_checksum() {
    let recipe = EncodingOptions {
        compression: CompressionMethod::Zstd(3),
        encryption: EncryptionMethod::None,
    };
    let mut encoder = ArchiveEncoder::new(Vec::new(), &recipe).expect("a good recipe");
    encoder.write_all(&plain(1000)).expect("memory");
    let (mut stored, _) = encoder.finish().expect("memory");
    let (folder, ..) = folder();
    *stored.last_mut().expect("a checksum") ^= 1;
    let why = shell(folder.path(), "zstd -dc", &stored).expect_err("the checksum is wrong");
    assert!(why.contains("checksum"), "{why}");
}

#[test]
fn the_longest_passphrase_is_one_that_openssl_reads_too() {
    let (folder, ..) = folder();
    let passphrase = "p".repeat(1023);
    fs::write(folder.path().join("LONG.txt"), &passphrase).expect("a file");
    let recipe = EncodingOptions {
        compression: CompressionMethod::None,
        encryption: EncryptionMethod::OpenSsl { passphrase: passphrase.into(), iterations: 10 },
    };
    let mut encoder = ArchiveEncoder::new(Vec::new(), &recipe).expect("a good recipe");
    encoder.write_all(b"content").expect("memory");
    let (stored, _) = encoder.finish().expect("memory");
    let line = recipe.to_layers().shell_commands("LONG.txt").join(" | ");
    assert_eq!(shell(folder.path(), &line, &stored).expect("openssl"), b"content");
}

#[test]
fn archives_of_old_scripts_are_recognised_and_read() {
    let (folder, mut keys, recipient) = folder();
    keys.add_iterations(25_000);
    let pbkdf2 =
        |iterations| Some(EncryptionFormat::OpenSsl { kdf: KeyDerivation::Pbkdf2 { iterations } });
    let old =
        |digest| Some(EncryptionFormat::OpenSsl { kdf: KeyDerivation::BytesToKey { digest } });
    let enc = "openssl enc -aes-256-cbc -salt -pass file:PASS.txt";
    let table = [
        ("gzip -9".to_owned(), None, Some(CompressionFormat::Gzip)),
        ("gzip -1 -n".into(), None, Some(CompressionFormat::Gzip)),
        ("zstd -19".into(), None, Some(CompressionFormat::Zstd)),
        ("zstd --no-check -T2".into(), None, Some(CompressionFormat::Zstd)),
        ("cat".into(), None, None),
        (format!("gzip | {enc} -pbkdf2"), pbkdf2(10_000), Some(CompressionFormat::Gzip)),
        (
            format!("gzip | {enc} -pbkdf2 -iter 25000"),
            pbkdf2(25_000),
            Some(CompressionFormat::Gzip),
        ),
        (format!("{enc} -pbkdf2"), pbkdf2(10_000), None),
        (format!("gzip -9 | {enc} -md md5"), old(KdfDigest::Md5), Some(CompressionFormat::Gzip)),
        (format!("{enc} -md md5"), old(KdfDigest::Md5), None),
        (format!("zstd | {enc}"), old(KdfDigest::Sha256), Some(CompressionFormat::Zstd)),
        (format!("{enc} -md sha256"), old(KdfDigest::Sha256), None),
        (
            format!("zstd | age -r {recipient}"),
            Some(EncryptionFormat::Age),
            Some(CompressionFormat::Zstd),
        ),
        (format!("age -r {recipient}"), Some(EncryptionFormat::Age), None),
    ];
    for (line, cipher, compressed) in table {
        for length in [50, 400_000] {
            for (magic, content) in
                [(&b""[..], PayloadFormat::Plain), (b"PGDMP\x01\x0e\x00", PayloadFormat::Custom)]
            {
                let plain = [magic, &plain(length)].concat();
                let stored = shell(folder.path(), &line, &plain).expect("the tools write it");
                let (layers, found, mut again) = detect_layers(&stored[..], &keys).expect(&line);
                assert_eq!(
                    layers,
                    EncodingLayers { encryption: cipher, compression: compressed },
                    "{line}"
                );
                assert_eq!(found, content, "{line}");
                let mut everything = Vec::new();
                again.read_to_end(&mut everything).expect("memory");
                assert!(everything == stored, "{line}");
                assert!(decoded(&stored, &layers, &keys).expect(&line) == plain, "{line}");
            }
        }
    }
}

#[test]
fn several_members_and_frames_of_stock_tools_are_one_archive() {
    let (folder, keys, _) = folder();
    for (line, compressed) in [
        ("head -c 40000 | gzip; echo more | gzip; printf '' | gzip", CompressionFormat::Gzip),
        ("head -c 40000 | zstd; echo more | zstd; printf '' | zstd", CompressionFormat::Zstd),
    ] {
        let stored = shell(folder.path(), line, &plain(40_000)).expect("the tools write it");
        let layers = EncodingLayers { encryption: None, compression: Some(compressed) };
        let read = decoded(&stored, &layers, &keys).expect(line);
        assert!(read == [&plain(40_000)[..], b"more\n"].concat(), "{line}");
    }
}

#[test]
fn what_age_encrypts_with_a_passphrase_or_in_letters_is_refused_with_advice() {
    let (folder, keys, recipient) = folder();
    let letters = shell(folder.path(), &format!("age -a -r {recipient}"), b"x").expect("age");
    assert!(
        matches!(detect_layers(&letters[..], &keys), Err(ArchiveError::Unsupported(why)) if why.contains("age -d"))
    );
    let letters =
        shell(folder.path(), "openssl enc -aes-256-cbc -a -pbkdf2 -pass file:PASS.txt", b"x");
    let letters = letters.expect("openssl");
    assert!(
        matches!(detect_layers(&letters[..], &keys), Err(ArchiveError::Unsupported(why)) if why.contains("base64 -d"))
    );
}

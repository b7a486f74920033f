//! What is encoded comes back, and nothing else passes for it.

use codec::{
    ArchiveDecoder, ArchiveDigests, ArchiveEncoder, ArchiveError, CompressionMethod,
    DecryptionKeys, EncodingLayers, EncodingOptions, EncryptionMethod, HashingReader,
    PayloadFormat, detect_layers,
};
use proptest::prelude::*;
use secrecy::ExposeSecret;
use std::io::{self, Read, Write};

const PASSPHRASE: &str = "correct horse battery staple";

/// Every recipe, and the keys that open all of them.
fn recipes() -> (Vec<EncodingOptions>, DecryptionKeys) {
    let identity = age::x25519::Identity::generate();
    let mut keys = DecryptionKeys::default();
    keys.add_identity(identity.to_string().expose_secret()).expect("an identity");
    keys.add_passphrase("an older one".into());
    keys.add_passphrase(PASSPHRASE.into());
    keys.add_iterations(3);
    let other = age::x25519::Identity::generate().to_public();
    let recipients =
        [other, identity.to_public()].map(|r| r.to_string().parse().expect("a recipient"));
    let encryptions = [
        EncryptionMethod::None,
        EncryptionMethod::Age(recipients.into()),
        EncryptionMethod::OpenSsl { passphrase: PASSPHRASE.into(), iterations: 3 },
    ];
    let compressions =
        [CompressionMethod::None, CompressionMethod::Zstd(3), CompressionMethod::Gzip(6)];
    let all = encryptions.iter().flat_map(|encryption| {
        compressions
            .map(|compression| EncodingOptions { compression, encryption: encryption.clone() })
    });
    (all.collect(), keys)
}

fn encoded(plain: &[u8], recipe: &EncodingOptions, step: usize) -> (Vec<u8>, ArchiveDigests) {
    let mut encoder = ArchiveEncoder::new(Vec::new(), recipe).expect("a good recipe");
    for piece in plain.chunks(step.max(1)) {
        encoder.write_all(piece).expect("memory");
    }
    encoder.finish().expect("memory")
}

fn decoded(
    stored: impl Read,
    layers: &EncodingLayers,
    keys: &DecryptionKeys,
) -> Result<(Vec<u8>, ArchiveDigests), ArchiveError> {
    let mut decoder = ArchiveDecoder::new(stored, layers, keys)?;
    let mut plain = Vec::new();
    decoder.read_to_end(&mut plain)?;
    Ok((plain, decoder.finish()?))
}

/// Text of any length, as a dump is, with enough variety to give many blocks.
fn dump(length: usize) -> Vec<u8> {
    let mut n = 1u64;
    let line = |_| {
        n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{}\t{}\n", n >> 33, n).into_bytes()
    };
    let mut text: Vec<u8> = (0..=length / 12).flat_map(line).collect();
    text.truncate(length);
    text
}

/// A source that gives at most a few bytes at a time, as networks do.
struct Dripping<R>(R, usize);

impl<R: Read> Read for Dripping<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = out.len().min(self.1);
        self.0.read(&mut out[..n])
    }
}

#[test]
fn every_recipe_gives_back_every_size_around_block_borders() {
    let (recipes, keys) = recipes();
    let sizes =
        [0, 1, 15, 16, 17, 65_519, 65_520, 65_535, 65_536, 65_537, 131_072, 1024 * 1024 + 3];
    for recipe in &recipes {
        for size in sizes {
            let plain = dump(size);
            let (stored, sums) = encoded(&plain, recipe, 100_000);
            let case = format!("{recipe:?}, {size} bytes");
            let (again, read) = decoded(&stored[..], &recipe.to_layers(), &keys).expect(&case);
            assert!(again == plain, "{case}");
            assert_eq!(read, sums, "{case}");
            let digest = |bytes| HashingReader::new(bytes).finish_digest().expect("memory");
            assert_eq!(
                (sums.plaintext, sums.stored),
                (digest(&plain[..]), digest(&stored[..])),
                "{case}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_bytes_in_any_pieces_come_back(
        plain in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..2000),
            (0..300_000usize).prop_map(dump),
        ],
        step in 1..70_000usize,
        drip in 1..70_000usize,
    ) {
        let (recipes, keys) = recipes();
        for recipe in &recipes {
            let (stored, sums) = encoded(&plain, recipe, step);
            // Few bytes of openssl's without compression may make sense to an older key by chance; see `Decoder::new`.
            let mut only = DecryptionKeys::default();
            only.add_passphrase(PASSPHRASE.into());
            let keys = if matches!(recipe.encryption, EncryptionMethod::OpenSsl { .. }) { &only } else { &keys };
            let read = decoded(Dripping(&stored[..], drip), &recipe.to_layers(), keys);
            let (again, read) = read.map_err(|e| TestCaseError::fail(format!("{recipe:?}: {e}")))?;
            prop_assert!(again == plain);
            prop_assert_eq!(read, sums);
        }
    }
}

#[test]
fn truncation_at_every_byte_is_an_error_or_seen_in_the_digest() {
    let (recipes, keys) = recipes();
    let plain = dump(300);
    for recipe in &recipes {
        let (stored, sums) = encoded(&plain, recipe, 300);
        let bare = recipe.to_layers().compression.is_none()
            && !matches!(recipe.encryption, EncryptionMethod::Age(_));
        for length in 0..stored.len() {
            match decoded(&stored[..length], &recipe.to_layers(), &keys) {
                Err(ArchiveError::Damaged(_)) => {}
                // Cut by whole blocks, openssl's without compression can't be told from a wrong key.
                Err(ArchiveError::Key(_)) if bare => {}
                Err(e) => panic!("{recipe:?} cut to {length}: {e}"),
                Ok((_, read)) => {
                    assert!(bare, "{recipe:?} cut to {length} passed for whole");
                    assert!(matches!(read.verify_against(&sums), Err(ArchiveError::Damaged(_))));
                }
            }
        }
    }
}

#[test]
fn truncation_at_the_borders_of_large_archives_is_an_error() {
    let (recipes, keys) = recipes();
    let plain = dump(200_000);
    for recipe in recipes.iter().filter(|r| r.to_layers() != EncodingLayers::default()) {
        let (stored, _) = encoded(&plain, recipe, 50_000);
        // Behind age's header and nonce, and openssl's header, come chunks of these sizes.
        let (start, chunk) = match stored.windows(5).position(|w| w == b"\n--- ") {
            Some(mac) if stored.starts_with(b"age") => (mac + 5 + 43 + 1 + 16, 65_552),
            _ => (16, 65_536),
        };
        let chunks = (start..stored.len()).step_by(chunk).flat_map(|at| at - 1..at + 2);
        let ends = stored.len() - 20..stored.len();
        let borders = (0..stored.len()).step_by(8009).chain(chunks).chain(ends);
        for length in borders.filter(|l| *l < stored.len()) {
            let read = decoded(&stored[..length], &recipe.to_layers(), &keys);
            assert!(read.is_err(), "{recipe:?} cut to {length} of {}", stored.len());
        }
    }
}

#[test]
fn every_flipped_bit_is_an_error_or_seen_in_the_digest() {
    let (recipes, keys) = recipes();
    let plain = dump(80);
    for recipe in &recipes {
        let (stored, sums) = encoded(&plain, recipe, 80);
        for bit in 0..stored.len() * 8 {
            let mut flipped = stored.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let Ok((again, read)) = decoded(&flipped[..], &recipe.to_layers(), &keys) else {
                continue;
            };
            assert!(
                matches!(read.verify_against(&sums), Err(ArchiveError::Damaged(_))),
                "{recipe:?} bit {bit}"
            );
            let layers = recipe.to_layers();
            assert!(!matches!(recipe.encryption, EncryptionMethod::Age(_)), "age passed bit {bit}");
            // Some header bits of gzip and zstd mean nothing; the content still is what was written.
            assert!(layers.compression.is_none() || again == plain, "{recipe:?} bit {bit}");
        }
    }
}

#[test]
fn anything_after_the_end_is_damage_and_a_second_part_is_not() {
    let (recipes, keys) = recipes();
    let plain = dump(1000);
    for recipe in recipes.iter().filter(|r| r.to_layers() != EncodingLayers::default()) {
        let (stored, _) = encoded(&plain, recipe, 1000);
        let bare_openssl = recipe.to_layers().compression.is_none();
        for rest in
            [&b"x"[..], b"\n", &[0; 16], &[0; 700], b"\x1f\x8b", b"PGDMP and more than ten bytes"]
        {
            let longer = [&stored[..], rest].concat();
            match decoded(&longer[..], &recipe.to_layers(), &keys) {
                Err(ArchiveError::Damaged(_)) => {}
                Err(ArchiveError::Key(_)) if bare_openssl => {}
                other => panic!("{recipe:?} and {rest:?}: {:?}", other.map(|(_, sums)| sums)),
            }
        }
        if matches!(recipe.encryption, EncryptionMethod::None) {
            let twice = [&stored[..], &stored[..]].concat();
            let (again, _) =
                decoded(&twice[..], &recipe.to_layers(), &keys).expect("two members are legal");
            assert!(again == [&plain[..], &plain[..]].concat());
        }
    }
}

#[test]
fn an_encoder_that_is_dropped_leaves_nothing_that_looks_whole() {
    let (recipes, keys) = recipes();
    for recipe in recipes.iter().filter(|r| r.to_layers() != EncodingLayers::default()) {
        let mut stored = Vec::new();
        let mut encoder = ArchiveEncoder::new(&mut stored, recipe).expect("a good recipe");
        encoder.write_all(&dump(300_000)).expect("memory");
        drop(encoder);
        assert!(decoded(&stored[..], &recipe.to_layers(), &keys).is_err(), "{recipe:?}");
    }
}

#[test]
fn a_wrong_or_absent_key_is_named_and_never_shown() {
    let (recipes, _) = recipes();
    let identity = age::x25519::Identity::generate();
    let mut wrong = DecryptionKeys::default();
    wrong.add_identity(identity.to_string().expose_secret()).expect("an identity");
    wrong.add_named_passphrase("/etc/holdfast/old.key", "hunter2".into());
    let encrypted = recipes.iter().filter(|r| !matches!(r.encryption, EncryptionMethod::None));
    for recipe in encrypted {
        let (stored, _) = encoded(&dump(100_000), recipe, 100_000);
        for keys in [&wrong, &DecryptionKeys::default()] {
            let result = ArchiveDecoder::new(&stored[..], &recipe.to_layers(), keys).map(|_| ());
            let why = match result {
                Err(ArchiveError::Key(why)) => why,
                other => panic!("{recipe:?}: {other:?}"),
            };
            assert!(!why.contains("hunter2") && !why.contains("AGE-SECRET-KEY-1Q"), "{why}");
            let tried = match recipe.encryption {
                EncryptionMethod::Age(_) => identity.to_public().to_string(),
                _ => "/etc/holdfast/old.key".into(),
            };
            assert_eq!(why.contains(&tried), std::ptr::eq(keys, &raw const wrong), "{why}");
        }
    }
}

#[test]
fn a_source_that_fails_is_not_called_a_damaged_archive() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was lost"))
        }
    }
    let (recipes, keys) = recipes();
    for recipe in &recipes {
        let (stored, _) = encoded(&dump(200_000), recipe, 200_000);
        for length in [0, 3, 16, 100, 400, 70_000] {
            let length = length.min(stored.len() - 1);
            let result = decoded(stored[..length].chain(Failing), &recipe.to_layers(), &keys);
            let why = result.map(|_| ()).expect_err("the source failed");
            assert!(matches!(why, ArchiveError::Io(_)), "{recipe:?} after {length}: {why:?}");
            assert_eq!(why.to_string(), "the connection was lost");
        }
    }
}

#[test]
fn reading_on_after_an_error_is_the_same_error() {
    let (recipes, keys) = recipes();
    for recipe in recipes.iter().filter(|r| r.to_layers().compression.is_some()) {
        let (stored, _) = encoded(&dump(500_000), recipe, 100_000);
        let mut decoder =
            ArchiveDecoder::new(&stored[..stored.len() - 1], &recipe.to_layers(), &keys)
                .expect("a key");
        let first = decoder.read_to_end(&mut Vec::new()).expect_err("cut").to_string();
        let second = decoder.read(&mut [0; 10]).expect_err("still cut").to_string();
        assert_eq!(first, second);
        assert_eq!(decoder.finish().expect_err("still cut").to_string(), first);
    }
}

#[test]
fn a_guess_finds_every_recipe_and_gives_everything_again() {
    let (recipes, keys) = recipes();
    let sql = [&b"--\n-- PostgreSQL database dump\n--\n"[..], &dump(700_000)].concat();
    let custom = [&b"PGDMP\x01\x0e\x00"[..], &dump(700_000)].concat();
    for recipe in &recipes {
        for (plain, content) in [
            (&sql, PayloadFormat::Plain),
            (&sql[..60].to_vec(), PayloadFormat::Plain),
            (&custom, PayloadFormat::Custom),
            (&dump(5000), PayloadFormat::Unknown),
        ] {
            let (stored, sums) = encoded(plain, recipe, 10_000);
            let (layers, found, again) = detect_layers(&stored[..], &keys).expect("a key fits");
            assert_eq!((layers, found), (recipe.to_layers(), content), "{recipe:?}");
            assert_eq!(decoded(again, &layers, &keys).expect("whole").1, sums);
        }
    }
}

#[test]
fn a_guess_without_a_fitting_key_says_what_it_tried() {
    let (recipes, _) = recipes();
    let mut keys = DecryptionKeys::default();
    keys.add_passphrase("hunter2".into());
    for recipe in
        recipes.iter().filter(|r| matches!(r.encryption, EncryptionMethod::OpenSsl { .. }))
    {
        let (stored, _) = encoded(&dump(100_000), recipe, 1000);
        let Err(ArchiveError::Key(why)) = detect_layers(&stored[..], &keys) else {
            panic!("hunter2 opened it")
        };
        for word in ["passphrase 1", "PBKDF2 of 10000 rounds", "md5", "sha256"] {
            assert!(why.contains(word) && !why.contains("hunter2"), "{why}");
        }
    }
    assert!(matches!(detect_layers(&b""[..], &keys), Err(ArchiveError::Damaged(_))));
    for armoured in ["-----BEGIN AGE ENCRYPTED FILE-----\n", "U2FsdGVkX18AAAA="] {
        assert!(matches!(
            detect_layers(armoured.as_bytes(), &keys),
            Err(ArchiveError::Unsupported(_))
        ));
    }
}

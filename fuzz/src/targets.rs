//! The parsers of bytes from outside, and the good inputs that fuzzing starts from.

use codec::{
    ArchiveDecoder, CompressionFormat, DecryptionKeys, EncodingLayers, EncryptionFormat,
    KeyDerivation, detect_layers,
};
use serde_json::Value;
use std::{
    io::{self, Read},
    sync::LazyLock,
};
use storage::{BackupManifest, KeyTemplate, KnownNames};

/// A parser and what it is tried with.
#[derive(Clone, Copy, Debug)]
pub struct FuzzTarget {
    /// Its name, and that of its folder of regressions.
    pub name: &'static str,
    /// Parses an input; whether it is a good one.
    pub parse: fn(&[u8]) -> bool,
    /// Good inputs.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// What the format is written in.
    pub words: &'static [&'static str],
}

/// Every target.
pub const ALL_TARGETS: &[FuzzTarget] = &[
    FuzzTarget { name: "policy", parse: parse_policy, seeds: policy_seeds, words: YAML_TOKENS },
    FuzzTarget {
        name: "manifest",
        parse: parse_manifest,
        seeds: manifest_seeds,
        words: JSON_TOKENS,
    },
    FuzzTarget {
        name: "unchanged",
        parse: parse_json::<storage::UnchangedMarker>,
        seeds: unchanged_marker_seeds,
        words: JSON_TOKENS,
    },
    FuzzTarget {
        name: "hold",
        parse: parse_json::<storage::LegalHold>,
        seeds: legal_hold_seeds,
        words: JSON_TOKENS,
    },
    FuzzTarget {
        name: "audit",
        parse: parse_audit_records,
        seeds: audit_seeds,
        words: JSON_TOKENS,
    },
    FuzzTarget { name: "key", parse: parse_key, seeds: key_seeds, words: KEY_TOKENS },
    FuzzTarget { name: "request", parse: parse_request, seeds: request_seeds, words: JSON_TOKENS },
    FuzzTarget {
        name: "notify",
        parse: parse_notification,
        seeds: notification_seeds,
        words: JSON_TOKENS,
    },
    FuzzTarget { name: "secret", parse: parse_secret, seeds: secret_seeds, words: JSON_TOKENS },
    FuzzTarget { name: "toc", parse: parse_toc, seeds: dump_seeds, words: &[] },
    FuzzTarget { name: "custom", parse: parse_custom_archive, seeds: dump_seeds, words: &[] },
    FuzzTarget { name: "sql", parse: parse_sql, seeds: sql_seeds, words: SQL_TOKENS },
    FuzzTarget { name: "judge", parse: judge, seeds: harmless, words: HARM },
    FuzzTarget { name: "age", parse: decode_age, seeds: age_seeds, words: AGE_TOKENS },
    FuzzTarget { name: "zstd", parse: decode_zstd, seeds: zstd_seeds, words: &[] },
    FuzzTarget { name: "gzip", parse: decode_gzip, seeds: gzip_seeds, words: &[] },
    FuzzTarget {
        name: "openssl",
        parse: decode_openssl,
        seeds: openssl_seeds,
        words: &["Salted__"],
    },
    FuzzTarget { name: "guess", parse: detect_and_decode, seeds: archive_seeds, words: AGE_TOKENS },
];

const YAML_TOKENS: &[&str] = &[
    "- ",
    "? ",
    ": ",
    "{",
    "}",
    "[",
    "]",
    "&a ",
    "*a",
    "!!str ",
    "|\n",
    ">-\n",
    "---\n",
    "...\n",
    "# ",
    "\t",
    "~",
    "1e999",
    "0x10",
    ".inf",
    "<<: ",
    "holdfast: 1\n",
    "databases:\n",
    "  ",
];
const JSON_TOKENS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "null",
    "true",
    "1e999",
    "-0",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "[[[[[[[[",
    "{\"a\":",
    "18446744073709551616",
    "\"+999999-01-01T00:00:00Z\"",
];
const KEY_TOKENS: &[&str] = &[
    "{database}",
    "{reason}",
    "{table}",
    "%Y",
    "%m",
    "%d",
    "%H",
    "%M",
    "%S",
    "%s",
    "%",
    "%%",
    "%j",
    "%G",
    "_",
    "\0",
    "%25",
    "{",
    "}",
    "9999999999",
];
const SQL_TOKENS: &[&str] = &[
    "$$",
    "$a$",
    "E'",
    "'",
    "\"",
    "--",
    "/*",
    "*/",
    ";",
    "\\.\n",
    "\\",
    "COPY a FROM stdin;\n",
    "BEGIN",
    "ATOMIC",
    "CASE",
    "END",
    "CREATE FUNCTION ",
    "(",
    ")",
    "\\restrict a\n",
    "SET ",
    "\n",
    "standard_conforming_strings = off;",
];
const HARM: &[&str] = &[
    "DROP DATABASE x",
    "ALTER ROLE x SUPERUSER",
    "ALTER SYSTEM ",
    "COPY t TO PROGRAM 'x'",
    "INSERT INTO pg_authid ",
    "SELECT lo_export(1, 'x')",
    "LANGUAGE c AS '/x', 'f'",
    "GRANT a TO b",
    "DO $$",
    "SET ROLE x",
    "E'",
    "e '",
    "U&",
    "'",
    "\"",
    "$$",
    "\\",
    "--",
    "/*",
    "*/",
    "\r",
    "\n",
    ";",
    "(",
    ")",
    " AS ",
    " case ",
    " END",
    "BEGIN ATOMIC ",
    "SET standard_conforming_strings = off;",
];
const AGE_TOKENS: &[&str] =
    &["-> X25519 ", "-> ", "--- ", "\n", "age-encryption.org/v1\n", "-> scrypt ", "-> a\n\n"];

/// Output of a decoder that is read: a few bytes may unpack to gigabytes, which is no fault of it.
const MAX_OUTPUT_BYTES: u64 = 8 << 20;

fn parse_policy(input: &[u8]) -> bool {
    shared::policy::Policy::parse(&String::from_utf8_lossy(input)).is_ok()
}

fn parse_manifest(input: &[u8]) -> bool {
    BackupManifest::parse_manifest("orders/orders_daily_20261120_020000.dump", input).is_ok()
}

fn parse_json<T: serde::de::DeserializeOwned>(input: &[u8]) -> bool {
    serde_json::from_slice::<T>(input).is_ok()
}

fn parse_audit_records(input: &[u8]) -> bool {
    shared::audit::count_records(input).is_ok()
}

/// A form, a NUL, and a key that is read by it.
fn parse_key(input: &[u8]) -> bool {
    let text = String::from_utf8_lossy(input);
    let (form, key) = text.split_once('\0').unwrap_or((&text, ""));
    let Ok(form) = KeyTemplate::new(form, ".dump") else { return false };
    let databases = ["orders".to_owned(), "orders_daily".to_owned()];
    let reasons = ["daily".to_owned(), "pre-deploy".to_owned()];
    let named = form.parse_key(key, KnownNames { databases: &databases, reasons: &reasons });
    let any = form.parse_key(key, KnownNames { databases: &[], reasons: &[] });
    named.is_some() || any.is_some()
}

fn parse_event(input: &[u8]) -> Option<Value> {
    serde_json::from_slice(input).ok()
}

fn parse_request(input: &[u8]) -> bool {
    parse_event(input).is_some_and(|e| shared::request::RunRequest::parse(&e).is_ok())
}

fn parse_notification(input: &[u8]) -> bool {
    parse_event(input).is_some_and(|e| notify::event::parse_event(&e).is_ok())
}

fn parse_secret(input: &[u8]) -> bool {
    let text = String::from_utf8_lossy(input).into_owned();
    shared::secret::parse_database_credentials(&text.into()).is_some()
}

fn parse_toc(mut input: &[u8]) -> bool {
    postgres::toc::Toc::read(&mut input).is_ok()
}

fn parse_custom_archive(input: &[u8]) -> bool {
    postgres::restore::model::read_archive(input).is_ok()
}

fn parse_sql(input: &[u8]) -> bool {
    let whole = postgres::restore::model::read_sql(input, input.len());
    let pieces = postgres::restore::model::read_sql(input, 7);
    // Where the pieces end is chance, and must not change what is a good text.
    assert_eq!(whole.is_ok(), pieces.is_ok(), "{whole:?} {pieces:?}");
    whole.is_ok()
}

/// First words of statements that reach beyond a database, or run something at once.
const NEVER: [&str; 17] = [
    "DROP DATABASE",
    "CREATE DATABASE",
    "ALTER DATABASE",
    "ALTER ROLE",
    "CREATE ROLE",
    "DROP ROLE",
    "ALTER SYSTEM",
    "SET ROLE",
    "SET SESSION",
    "RESET",
    "COPY",
    "DO",
    "CALL",
    "LOAD",
    "UPDATE",
    "DELETE",
    "TRUNCATE",
];

fn judge(input: &[u8]) -> bool {
    let Some(all) = postgres::restore::model::judged(input) else { return false };
    for statement in &all {
        let words: Vec<_> = statement.split_ascii_whitespace().collect();
        let words = words.join(" ").to_ascii_uppercase() + " ";
        assert!(!NEVER.iter().any(|never| words.starts_with(&format!("{never} "))), "{statement}");
        let into = words.contains("INSERT INTO PG_") || words.contains("INSERT INTO PG_CATALOG.");
        assert!(!(into && words.starts_with("INSERT")), "{statement}");
    }
    true
}

/// The keys that the seeds were made with.
static KEYRING: LazyLock<DecryptionKeys> = LazyLock::new(|| {
    let mut keys = DecryptionKeys::default();
    keys.add_identity(include_str!("../seeds/age/identity.txt")).expect("an identity");
    keys.add_passphrase("correct horse".into());
    keys
});

fn decode_input(input: &[u8], layers: EncodingLayers) -> bool {
    let Ok(mut decoder) = ArchiveDecoder::new(input, &layers, &KEYRING) else { return false };
    let copied = io::copy(&mut (&mut decoder).take(MAX_OUTPUT_BYTES), &mut io::sink());
    copied.is_ok_and(|n| n < MAX_OUTPUT_BYTES) && decoder.finish().is_ok()
}

fn decode_age(input: &[u8]) -> bool {
    decode_input(
        input,
        EncodingLayers { encryption: Some(EncryptionFormat::Age), compression: None },
    )
}

fn decode_zstd(input: &[u8]) -> bool {
    decode_input(
        input,
        EncodingLayers { encryption: None, compression: Some(CompressionFormat::Zstd) },
    )
}

fn decode_gzip(input: &[u8]) -> bool {
    decode_input(
        input,
        EncodingLayers { encryption: None, compression: Some(CompressionFormat::Gzip) },
    )
}

fn decode_openssl(input: &[u8]) -> bool {
    let kdf = KeyDerivation::Pbkdf2 { iterations: 1 };
    decode_input(
        input,
        EncodingLayers { encryption: Some(EncryptionFormat::OpenSsl { kdf }), compression: None },
    )
}

fn detect_and_decode(input: &[u8]) -> bool {
    let Ok((layers, ..)) = detect_layers(input, &KEYRING) else { return false };
    decode_input(input, layers)
}

macro_rules! files {
    ($($file:literal),* $(,)?) => { vec![$(include_bytes!($file).to_vec()),*] };
}

fn policy_seeds() -> Vec<Vec<u8>> {
    files![
        "../../policies/boom-card.yaml",
        "../../policies/indostar-naturals.yaml",
        "../../policies/listings.yaml",
        "../../policies/lomash-wood.yaml",
        "../../policies/pasargad-prints.yaml",
    ]
}

fn manifest_seeds() -> Vec<Vec<u8>> {
    let slot = "2026-11-20T02:00:00Z".parse().expect("a time");
    let key = "orders/orders_daily_20261120_020000.dump";
    vec![
        storage::model::committed_backup(key, "orders", "daily", slot)
            .manifest()
            .expect("committed")
            .to_json(),
    ]
}

fn unchanged_marker_seeds() -> Vec<Vec<u8>> {
    files!["../seeds/unchanged.json"]
}

fn legal_hold_seeds() -> Vec<Vec<u8>> {
    files!["../seeds/hold.json"]
}

fn audit_seeds() -> Vec<Vec<u8>> {
    files!["../seeds/audit.jsonl"]
}

fn key_seeds() -> Vec<Vec<u8>> {
    [
        "{database}/{database}_{reason}_%Y%m%d_%H%M%S\0orders/orders_daily_20261120_020000.dump",
        "{table}-{reason}-{database}-%s\0public.a-daily-orders-1795226400.dump",
        "%Y/%m/%d/{database}{reason}%H%M%S\x002026/11/20/orders_dailydaily020000.dump",
    ]
    .map(|s| s.as_bytes().to_vec())
    .into()
}

fn request_seeds() -> Vec<Vec<u8>> {
    files![
        "../../events/schedule.json",
        "../../events/pre-deploy.json",
        "../../events/rds-snapshot-created.json",
        "../../events/s3-object-created.json",
    ]
}

fn notification_seeds() -> Vec<Vec<u8>> {
    files![
        "../../events/notify-report.json",
        "../../events/notify-alarm.json",
        "../../events/notify-not-completed.json",
        "../../events/notify-tick.json",
    ]
}

fn secret_seeds() -> Vec<Vec<u8>> {
    vec![br#"{"username": "a", "password": "b", "host": "c", "port": 5432, "dbname": "d", "engine": "postgres"}"#.to_vec()]
}

fn dump_seeds() -> Vec<Vec<u8>> {
    files!["../seeds/custom/zlib.dump", "../seeds/custom/plain.dump"]
}

fn sql_seeds() -> Vec<Vec<u8>> {
    files!["../seeds/plain.sql", "../seeds/quotes.sql"]
}

fn harmless() -> Vec<Vec<u8>> {
    // The other seed of `sql` has queries that no dump has, so they are refused.
    let mut all = files!["../seeds/plain.sql"];
    all.push(
        b"SET client_encoding = 'UTF8';\nCREATE FUNCTION f() RETURNS int LANGUAGE c AS '$libdir/x', 'f';\n\
          CREATE FUNCTION g(a text DEFAULT E'\\\\') RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END;\n\
          INSERT INTO public.t (a) VALUES (1, 'x'), (-2.5, NULL);\nSELECT pg_catalog.setval('public.s', 1, true);\n\
          GRANT SELECT ON TABLE public.t TO bob;\nCREATE SCHEMA s;\nALTER TABLE s.t OWNER TO bob;\n"
            .to_vec(),
    );
    all
}

fn age_seeds() -> Vec<Vec<u8>> {
    files!["../seeds/age/one.age", "../seeds/age/zstd.age"]
}

fn zstd_seeds() -> Vec<Vec<u8>> {
    files!["../seeds/zstd/one.zst", "../seeds/zstd/two.zst"]
}

fn gzip_seeds() -> Vec<Vec<u8>> {
    files!["../seeds/gzip/one.gz", "../seeds/gzip/named.gz"]
}

fn openssl_seeds() -> Vec<Vec<u8>> {
    files!["../seeds/openssl/pbkdf2-1"]
}

fn archive_seeds() -> Vec<Vec<u8>> {
    let mut all =
        files!["../seeds/openssl/pbkdf2", "../seeds/openssl/sha256", "../seeds/plain.sql"];
    all.extend([age_seeds(), zstd_seeds(), gzip_seeds(), dump_seeds()].concat());
    all
}

//! The parsers of bytes from outside, and the good inputs that fuzzing starts from.

use archive::{EncryptionFormat, CompressionFormat, ArchiveDecoder, KeyDerivation, DecryptionKeys, EncodingLayers, guess};
use serde_json::Value;
use std::{
    io::{self, Read},
    sync::LazyLock,
};
use store::{KeyForm, Manifest, Names};

/// A parser and what it is tried with.
#[derive(Clone, Copy, Debug)]
pub struct Target {
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
pub const ALL: &[Target] = &[
    Target { name: "policy", parse: policy, seeds: policies, words: YAML },
    Target { name: "manifest", parse: manifest, seeds: manifests, words: JSON },
    Target { name: "unchanged", parse: json::<store::Unchanged>, seeds: notes, words: JSON },
    Target { name: "hold", parse: json::<store::Hold>, seeds: holds, words: JSON },
    Target { name: "audit", parse: audit, seeds: records, words: JSON },
    Target { name: "key", parse: key, seeds: keys, words: KEYS },
    Target { name: "request", parse: request, seeds: requests, words: JSON },
    Target { name: "notify", parse: news, seeds: reports, words: JSON },
    Target { name: "secret", parse: secret, seeds: secrets, words: JSON },
    Target { name: "toc", parse: toc, seeds: dumps, words: &[] },
    Target { name: "custom", parse: custom, seeds: dumps, words: &[] },
    Target { name: "sql", parse: sql, seeds: statements, words: SQL },
    Target { name: "judge", parse: judge, seeds: harmless, words: HARM },
    Target { name: "age", parse: age, seeds: ages, words: AGE },
    Target { name: "zstd", parse: zstd, seeds: zstds, words: &[] },
    Target { name: "gzip", parse: gzip, seeds: gzips, words: &[] },
    Target { name: "openssl", parse: openssl, seeds: openssls, words: &["Salted__"] },
    Target { name: "guess", parse: guessed, seeds: archives, words: AGE },
];

const YAML: &[&str] = &[
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
const JSON: &[&str] = &[
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
const KEYS: &[&str] = &[
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
const SQL: &[&str] = &[
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
const AGE: &[&str] =
    &["-> X25519 ", "-> ", "--- ", "\n", "age-encryption.org/v1\n", "-> scrypt ", "-> a\n\n"];

/// Output of a decoder that is read: a few bytes may unpack to gigabytes, which is no fault of it.
const OUTPUT: u64 = 8 << 20;

fn policy(input: &[u8]) -> bool {
    shared::policy::Policy::parse(&String::from_utf8_lossy(input)).is_ok()
}

fn manifest(input: &[u8]) -> bool {
    Manifest::read("orders/orders_daily_20261120_020000.dump", input).is_ok()
}

fn json<T: serde::de::DeserializeOwned>(input: &[u8]) -> bool {
    serde_json::from_slice::<T>(input).is_ok()
}

fn audit(input: &[u8]) -> bool {
    shared::audit::count_records(input).is_ok()
}

/// A form, a NUL, and a key that is read by it.
fn key(input: &[u8]) -> bool {
    let text = String::from_utf8_lossy(input);
    let (form, key) = text.split_once('\0').unwrap_or((&text, ""));
    let Ok(form) = KeyForm::new(form, ".dump") else { return false };
    let databases = ["orders".to_owned(), "orders_daily".to_owned()];
    let reasons = ["daily".to_owned(), "pre-deploy".to_owned()];
    let named = form.read(key, Names { databases: &databases, reasons: &reasons });
    let any = form.read(key, Names { databases: &[], reasons: &[] });
    named.is_some() || any.is_some()
}

fn event(input: &[u8]) -> Option<Value> {
    serde_json::from_slice(input).ok()
}

fn request(input: &[u8]) -> bool {
    event(input).is_some_and(|e| shared::request::RunRequest::parse(&e).is_ok())
}

fn news(input: &[u8]) -> bool {
    event(input).is_some_and(|e| notify::event::read(&e).is_ok())
}

fn secret(input: &[u8]) -> bool {
    let text = String::from_utf8_lossy(input).into_owned();
    shared::secret::parse_database_credentials(&text.into()).is_some()
}

fn toc(mut input: &[u8]) -> bool {
    postgres::toc::Toc::read(&mut input).is_ok()
}

fn custom(input: &[u8]) -> bool {
    postgres::restore::model::read_archive(input).is_ok()
}

fn sql(input: &[u8]) -> bool {
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

fn decoded(input: &[u8], layers: EncodingLayers) -> bool {
    let Ok(mut decoder) = ArchiveDecoder::new(input, &layers, &KEYRING) else { return false };
    let copied = io::copy(&mut (&mut decoder).take(OUTPUT), &mut io::sink());
    copied.is_ok_and(|n| n < OUTPUT) && decoder.finish().is_ok()
}

fn age(input: &[u8]) -> bool {
    decoded(input, EncodingLayers { cipher: Some(EncryptionFormat::Age), compressed: None })
}

fn zstd(input: &[u8]) -> bool {
    decoded(input, EncodingLayers { cipher: None, compressed: Some(CompressionFormat::Zstd) })
}

fn gzip(input: &[u8]) -> bool {
    decoded(input, EncodingLayers { cipher: None, compressed: Some(CompressionFormat::Gzip) })
}

fn openssl(input: &[u8]) -> bool {
    let kdf = KeyDerivation::Pbkdf2 { iterations: 1 };
    decoded(input, EncodingLayers { cipher: Some(EncryptionFormat::OpenSsl { kdf }), compressed: None })
}

fn guessed(input: &[u8]) -> bool {
    let Ok((layers, ..)) = detect_layers(input, &KEYRING) else { return false };
    decoded(input, layers)
}

macro_rules! files {
    ($($file:literal),* $(,)?) => { vec![$(include_bytes!($file).to_vec()),*] };
}

fn policies() -> Vec<Vec<u8>> {
    files![
        "../../policies/boom-card.yaml",
        "../../policies/indostar-naturals.yaml",
        "../../policies/listings.yaml",
        "../../policies/lomash-wood.yaml",
        "../../policies/pasargad-prints.yaml",
    ]
}

fn manifests() -> Vec<Vec<u8>> {
    let slot = "2026-11-20T02:00:00Z".parse().expect("a time");
    let key = "orders/orders_daily_20261120_020000.dump";
    vec![
        store::model::backup(key, "orders", "daily", slot).manifest().expect("committed").to_json(),
    ]
}

fn notes() -> Vec<Vec<u8>> {
    files!["../seeds/unchanged.json"]
}

fn holds() -> Vec<Vec<u8>> {
    files!["../seeds/hold.json"]
}

fn records() -> Vec<Vec<u8>> {
    files!["../seeds/audit.jsonl"]
}

fn keys() -> Vec<Vec<u8>> {
    [
        "{database}/{database}_{reason}_%Y%m%d_%H%M%S\0orders/orders_daily_20261120_020000.dump",
        "{table}-{reason}-{database}-%s\0public.a-daily-orders-1795226400.dump",
        "%Y/%m/%d/{database}{reason}%H%M%S\x002026/11/20/orders_dailydaily020000.dump",
    ]
    .map(|s| s.as_bytes().to_vec())
    .into()
}

fn requests() -> Vec<Vec<u8>> {
    files![
        "../../events/schedule.json",
        "../../events/pre-deploy.json",
        "../../events/rds-snapshot-created.json",
        "../../events/s3-object-created.json",
    ]
}

fn reports() -> Vec<Vec<u8>> {
    files![
        "../../events/notify-report.json",
        "../../events/notify-alarm.json",
        "../../events/notify-not-completed.json",
        "../../events/notify-tick.json",
    ]
}

fn secrets() -> Vec<Vec<u8>> {
    vec![br#"{"username": "a", "password": "b", "host": "c", "port": 5432, "dbname": "d", "engine": "postgres"}"#.to_vec()]
}

fn dumps() -> Vec<Vec<u8>> {
    files!["../seeds/custom/zlib.dump", "../seeds/custom/plain.dump"]
}

fn statements() -> Vec<Vec<u8>> {
    files!["../seeds/plain.sql", "../seeds/quotes.sql"]
}

fn harmless() -> Vec<Vec<u8>> {
    let mut all = statements();
    all.push(
        b"SET client_encoding = 'UTF8';\nCREATE FUNCTION f() RETURNS int LANGUAGE c AS '$libdir/x', 'f';\n\
          CREATE FUNCTION g(a text DEFAULT E'\\\\') RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END;\n\
          INSERT INTO public.t (a) VALUES (1, 'x'), (-2.5, NULL);\nSELECT pg_catalog.setval('public.s', 1, true);\n\
          GRANT SELECT ON TABLE public.t TO bob;\nCREATE SCHEMA s;\nALTER TABLE s.t OWNER TO bob;\n"
            .to_vec(),
    );
    all
}

fn ages() -> Vec<Vec<u8>> {
    files!["../seeds/age/one.age", "../seeds/age/zstd.age"]
}

fn zstds() -> Vec<Vec<u8>> {
    files!["../seeds/zstd/one.zst", "../seeds/zstd/two.zst"]
}

fn gzips() -> Vec<Vec<u8>> {
    files!["../seeds/gzip/one.gz", "../seeds/gzip/named.gz"]
}

fn openssls() -> Vec<Vec<u8>> {
    files!["../seeds/openssl/pbkdf2-1"]
}

fn archives() -> Vec<Vec<u8>> {
    let mut all =
        files!["../seeds/openssl/pbkdf2", "../seeds/openssl/sha256", "../seeds/plain.sql"];
    all.extend([ages(), zstds(), gzips(), dumps()].concat());
    all
}

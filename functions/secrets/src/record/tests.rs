use super::*;
use proptest::prelude::*;

const CANARY: &str = "canary-value-0815";

fn key_pair() -> (EncodingOptions, DecryptionKeys) {
    let identity = age::x25519::Identity::generate();
    let recipient = identity.to_public().to_string().parse().expect("a recipient");
    let mut keys = DecryptionKeys::default();
    keys.add_identity(identity.to_string().expose_secret()).expect("an identity");
    let encryption = EncryptionMethod::Age(vec![recipient]);
    (EncodingOptions { compression: CompressionMethod::None, encryption }, keys)
}

fn record(name: &str, version: &str, stored: &[u8]) -> ExportRecord {
    let context = ExportContext {
        owner: "acme@1/eu-west-1",
        run: "run-1",
        region: "eu-west-1",
        exported: Timestamp::UNIX_EPOCH,
        recipients: &["age1x".to_owned()],
        download: "cat x".into(),
    };
    let secret = SecretState { name: name.into(), ..SecretState::default() };
    ExportRecord::new(&context, &export_key(name, version), &secret, version, None, stored)
}

fn text(value: &str) -> SecretValue {
    SecretValue::Text(value.to_owned().into())
}

#[test]
fn only_the_recipient_reads_an_export_and_gets_what_was_exported() {
    let (options, keys) = key_pair();
    let bytes = SecretValue::Binary(SecretBox::new(Box::new(vec![0, 255, 7])));
    for value in [text(CANARY), text(""), text("\u{0}\n\"ü"), bytes] {
        let stored = encrypt_version("app/db", "v1", &value, &options).expect("encrypted");
        let record = record("app/db", "v1", &stored);
        assert!(decrypt_version(&record, &stored, &keys).expect("decrypted").is_same(&value));
        let (_, stranger) = key_pair();
        let refused = decrypt_version(&record, &stored, &stranger).expect_err("another key");
        assert_eq!(refused.kind, OperationErrorKind::Key);
    }
}

#[test]
fn an_object_of_another_version_or_changed_is_refused() {
    let (options, keys) = key_pair();
    let stored = encrypt_version("app/db", "v1", &text(CANARY), &options).expect("encrypted");
    for (name, version) in [("app/db", "v2"), ("app/other", "v1")] {
        let moved = record(name, version, &stored);
        assert!(decrypt_version(&moved, &stored, &keys).is_err(), "{name} {version}");
    }
    let mut changed = stored.clone();
    changed[100] ^= 1;
    assert!(decrypt_version(&record("app/db", "v1", &stored), &changed, &keys).is_err());
}

#[test]
fn sizes_and_records_tell_nothing_of_a_value() {
    let (options, _) = key_pair();
    let short = encrypt_version("app/db", "v1", &text("1234"), &options).expect("encrypted");
    let long =
        encrypt_version("app/db", "v1", &text(&"x".repeat(3000)), &options).expect("encrypted");
    // age's header has a random part of its own.
    for stored in [&short, &long] {
        assert!((4096..4096 + 1024).contains(&stored.len()), "{}", stored.len());
    }
    let stored = encrypt_version("app/db", "v1", &text(CANARY), &options).expect("encrypted");
    let told = serde_json::to_string(&record("app/db", "v1", &stored)).expect("JSON");
    let hash = hex_encode(&Sha256::digest(CANARY));
    assert!(!told.contains(CANARY) && !told.contains(&hash), "{told}");
    let debug = format!("{:?}", text(CANARY));
    assert!(!debug.contains("canary"), "{debug}");
}

#[test]
fn a_record_counts_for_its_owner_under_its_key_alone() {
    let one = record("app/db", "v1", b"x");
    let json = serde_json::to_vec(&one).expect("JSON");
    assert_eq!(ExportRecord::parse("acme@1/eu-west-1", &one.key, &json), Ok(one.clone()));
    assert!(ExportRecord::parse("other", &one.key, &json).is_err());
    assert!(ExportRecord::parse("acme@1/eu-west-1", "app/db/v2.json.age", &json).is_err());
    assert!(ExportRecord::parse("acme@1/eu-west-1", &one.key, b"{}").is_err());
}

proptest! {
    /// Whatever a secret is called, its exports lie below the store's prefix, and no two secrets share a key.
    #[test]
    fn keys_stay_below_the_prefix(a in "[A-Za-z0-9/_+=.@-]{1,20}", b in "[A-Za-z0-9/_+=.@-]{1,20}") {
        let key = export_key(&a, "v");
        prop_assert!(!key.split('/').any(|p| p.is_empty() || p == "." || p == ".."), "{key}");
        prop_assert_eq!(a == b, key == export_key(&b, "v"));
    }
}

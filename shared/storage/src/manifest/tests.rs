use super::*;

pub(crate) fn sample_manifest() -> BackupManifest {
    let time = |t: &str| t.parse().expect("a time");
    BackupManifest {
        holdfast: MANIFEST_VERSION,
        owner: "listings@host-1".into(),
        key: "orders/orders_daily_20261118_020000.dump".into(),
        group: "main".into(),
        database: "orders".into(),
        reason: "daily".into(),
        table: None,
        run: "01JD5W3K".into(),
        slot: Some(time("2026-11-20T02:00:00Z")),
        data_time: time("2026-11-20T02:00:03Z"),
        finished_at: time("2026-11-20T02:01:00Z"),
        file: StoredFile {
            name: "orders_daily_20261120_020000.dump.zst.age".into(),
            bytes: 7,
            sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".into(),
            checksum: None,
        },
        plain: PlaintextInfo {
            bytes: 9,
            sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".into(),
        },
        format: ManifestFormat::Custom,
        layers: EncodingLayers {
            encryption: Some(EncryptionFormat::Age),
            compression: Some(CompressionFormat::Zstd),
        },
        recipients: vec!["age1example".into()],
        key_id: None,
        server: ServerProperties {
            version: "15.19".into(),
            version_num: 150_019,
            system_identifier: Some("7301".into()),
            ..ServerProperties::default()
        },
        client: "pg_dump (PostgreSQL) 15.19".into(),
        extensions: vec![InstalledExtension { name: "pg_trgm".into(), version: "1.6".into() }],
        roles: vec![ServerRole { name: "app".into(), login: true, ..ServerRole::default() }],
        selection: Vec::new(),
        tables: vec![ManifestTable { name: "public.orders".into(), rows: 3, bytes: 60 }],
        large_objects: 0,
        redis: None,
        fingerprint: None,
        locked_until: None,
        restore: "cat x".into(),
    }
}

#[test]
fn the_shipped_schema_is_the_generated_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/manifest.schema.json");
    let generated = serde_json::to_string_pretty(&manifest_schema()).expect("json") + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(path, &generated).expect("write the schema");
    }
    let shipped = std::fs::read_to_string(path).expect("docs/manifest.schema.json");
    assert!(
        shipped == generated,
        "run UPDATE_SCHEMA=1 cargo test -p holdfast-storage the_shipped_schema"
    );
}

#[test]
fn a_manifest_comes_back_as_it_was_and_fits_its_schema() {
    let json = sample_manifest().to_json();
    assert_eq!(BackupManifest::parse_manifest("k", &json), Ok(sample_manifest()));
    let value = serde_json::from_slice(&json).expect("json");
    let validator = jsonschema::validator_for(&manifest_schema()).expect("a schema");
    let faults: Vec<_> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
    assert_eq!(faults, [""; 0]);
}

#[test]
fn a_newer_version_is_refused_and_an_unknown_field_is_not() {
    let change = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut value = serde_json::from_slice(&sample_manifest().to_json()).expect("json");
        change(&mut value);
        BackupManifest::parse_manifest("orders.dump", value.to_string().as_bytes())
    };
    assert!(change(&|v| v["later"] = 1.into()).is_ok());
    let said = [
        change(&|v| v["holdfast"] = 2.into()),
        change(&|v| v["holdfast"] = "x".into()),
        change(&|v| v["file"]["sha256"] = "abc".into()),
        change(&|v| v["file"] = serde_json::Value::Null),
        change(&|v| v["data_time"] = "yesterday".into()),
        BackupManifest::parse_manifest("orders.dump", b"{\"holdfast\": 1, \"comp"),
        BackupManifest::parse_manifest("orders.dump", b""),
    ];
    // Where in the JSON is not the point.
    let plain =
        |e: StoreError| e.to_string().split(" at line ").next().unwrap_or_default().to_owned();
    let said = said.map(|r| r.map_or_else(plain, |_| "read".into()));
    insta::assert_snapshot!(said.join("\n"), @"
    read the manifest of orders.dump: it was made by a newer Holdfast: version 2, and this one knows 1
    read the manifest of orders.dump: it has no version of Holdfast's
    read the manifest of orders.dump: a hash in it is no SHA-256
    read the manifest of orders.dump: invalid type: null, expected struct StoredFile
    read the manifest of orders.dump: failed to parse four digit integer as year: invalid digit, expected 0-9 but got y
    read the manifest of orders.dump: EOF while parsing a string
    read the manifest of orders.dump: EOF while parsing a value
    ");
}

#[test]
fn the_line_of_restore_undoes_each_layer_with_stock_tools() {
    let zstd = Some(CompressionFormat::Zstd);
    let kdf = |kdf| Some(EncryptionFormat::OpenSsl { kdf });
    let table = [
        (Some(EncryptionFormat::Age), zstd, ManifestFormat::Custom, None),
        (
            kdf(KeyDerivation::Pbkdf2 { iterations: 600_000 }),
            Some(CompressionFormat::Gzip),
            ManifestFormat::Plain,
            None,
        ),
        (
            kdf(KeyDerivation::BytesToKey { digest: KdfDigest::Md5 }),
            None,
            ManifestFormat::Custom,
            None,
        ),
        (None, zstd, ManifestFormat::Csv, Some("public.\"Line Items\"")),
    ];
    let lines = table.map(|(cipher, compressed, format, table)| {
        let layers = EncodingLayers { encryption: cipher, compression: compressed };
        restore_command(&RestoreCommandInput { fetch: "cat /b/x", layers: &layers, format, table })
    });
    insta::assert_snapshot!(lines.join("\n"), @r#"
    cat /b/x | age -d -i KEY.txt | zstd -dc | pg_restore --no-owner -d TARGET
    { cat /b/x | openssl enc -d -aes-256-cbc -pbkdf2 -iter 600000 -pass file:PASSPHRASE.txt | gzip -dc; printf '%s\n' "\set ON_ERROR_STOP on" "SELECT 1 / (:'LAST_ERROR_SQLSTATE' = '00000')::int AS complete;"; } | psql -X -q -d TARGET
    cat /b/x | openssl enc -d -aes-256-cbc -md md5 -pass file:PASSPHRASE.txt | pg_restore --no-owner -d TARGET
    cat /b/x | zstd -dc | psql -X -v ON_ERROR_STOP=1 -d TARGET -c '\copy public."Line Items" FROM STDIN (FORMAT csv, HEADER)'
    "#);
    assert_eq!(sha256sum_line("ab", "orders/x.dump"), "ab  x.dump\n");
}

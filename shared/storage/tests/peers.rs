//! The stores against real peers: an S3-compatible server and Azurite. tests/e2e starts them and says where they are.

use bytes::Bytes;
use secrecy::SecretString;
use shared::{aws::AwsClients, catalog::Location, policy, secret::SecretResolver};
use storage::{
    BackupStore, KeyTemplate, OrphanKind, StoreError, StoreErrorKind, UploadOptions, beside,
    key::DEFAULT_KEY_TEMPLATE, open_store,
};
use tokio::sync::mpsc;

const KEY: &str = "orders/orders_daily_20261120_020000.dump";
/// Azurite's own account and key, which is no secret: <https://learn.microsoft.com/azure/storage/common/storage-use-azurite>.
/// `HOLDFAST_TEST_AZURE_ACCOUNT` and `HOLDFAST_TEST_AZURE_KEY` name others.
const AZURITE_DEFAULT_ACCOUNT: &str = "devstoreaccount1";
const AZURITE_DEFAULT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

fn env_var(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} says where the peer is"))
}

fn azure_account() -> String {
    std::env::var("HOLDFAST_TEST_AZURE_ACCOUNT").unwrap_or_else(|_| AZURITE_DEFAULT_ACCOUNT.into())
}

async fn open_peer(json: serde_json::Value) -> BackupStore {
    let words: policy::StoreConfig = serde_json::from_value(json).expect("a store");
    let home = Location {
        account: "000000000000".parse().expect("an account"),
        region: "us-east-1".parse().expect("a region"),
        role: None,
    };
    let aws = AwsClients::from_env().await;
    let secrets = SecretResolver::with_variables(&aws, &home, |name| {
        let own = || {
            std::env::var("HOLDFAST_TEST_AZURE_KEY").unwrap_or_else(|_| AZURITE_DEFAULT_KEY.into())
        };
        Some(if name == "AZURITE_KEY" { own() } else { "testtesttest".into() })
    });
    open_store(&aws, &home, &words, &secrets).await.expect("opened")
}

/// A prefix of its own for each test run, so that a peer can be used again.
fn run_prefix(test: &str) -> String {
    format!("{test}-{}/", std::process::id())
}

async fn s3_store(test: &str, checksum: &str) -> BackupStore {
    let endpoint = env_var("HOLDFAST_TEST_S3_ENDPOINT");
    let bucket =
        std::env::var("HOLDFAST_TEST_S3_BUCKET").unwrap_or_else(|_| "holdfast-test".into());
    open_peer(serde_json::json!({
        "bucket": bucket, "prefix": run_prefix(test), "endpoint": endpoint, "checksum": checksum,
        "access_key": { "env": "ID" }, "secret_key": { "env": "SECRET" },
    }))
    .await
}

async fn azure_store(test: &str) -> BackupStore {
    let endpoint = env_var("HOLDFAST_TEST_AZURE_ENDPOINT");
    let container =
        std::env::var("HOLDFAST_TEST_AZURE_CONTAINER").unwrap_or_else(|_| "holdfast-test".into());
    open_peer(serde_json::json!({
        "prefix": run_prefix(test),
        "azure": {
            "account": azure_account(), "container": container, "endpoint": endpoint,
            "access_key": { "env": "AZURITE_KEY" },
        },
    }))
    .await
}

fn upload_options(run: &str) -> UploadOptions {
    UploadOptions { run: run.into(), ..UploadOptions::default() }
}

/// Bytes that are not alike anywhere.
fn random_bytes(size: usize) -> Bytes {
    let mut state = 1_u64;
    let word = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 32).to_le_bytes()
    };
    let mut all: Vec<u8> = (0..size.div_ceil(8)).flat_map(word).collect();
    all.truncate(size);
    all.into()
}

async fn upload_bytes(
    store: &BackupStore,
    key: &str,
    run: &str,
    all: &Bytes,
) -> Result<storage::UploadReceipt, StoreError> {
    let mut upload = store.start_upload(key, &upload_options(run)).await?;
    let mut left = all.clone();
    while !left.is_empty() {
        upload.write(left.split_to(left.len().min(200_000))).await?;
    }
    upload.finish().await
}

async fn read_content(store: &BackupStore, key: &str) -> Vec<u8> {
    let (out, mut stream) = mpsc::channel(2);
    let (store, key) = (store.clone(), key.to_owned());
    let reading = tokio::spawn(async move { store.stream_object(&key, out).await });
    let mut all = Vec::new();
    while let Some(chunk) = stream.recv().await {
        all.extend_from_slice(&chunk.expect("no error"));
    }
    reading.await.expect("ended").expect("read");
    all
}

/// What every store must do, whichever it is.
async fn check_store_contract(store: &BackupStore) {
    assert_eq!(store.list("").await.expect("listed"), Vec::new());
    assert_eq!(store.get_small("absent").await.expect("asked"), None);
    for (i, size) in [0, 7, 8 << 20, 21 << 20].into_iter().enumerate() {
        let (key, all) = (format!("sizes/{i} of them.bin"), random_bytes(size));
        let written = upload_bytes(store, &key, "run-1", &all).await.expect("written");
        assert_eq!(written.bytes, size as u64);
        assert!(read_content(store, &key).await == all, "{size} bytes come back as they were");
        let error = upload_bytes(store, &key, "run-2", &all).await.expect_err("it is there");
        assert_eq!(error.kind, StoreErrorKind::Exists, "{error}");
    }
    let listed = store.list("sizes/").await.expect("listed");
    assert_eq!(listed.iter().map(|e| e.size).collect::<Vec<_>>(), [0, 7, 8 << 20, 21 << 20]);

    // Two runs at once: both begin where nothing is, and one of them ends.
    for size in [7, 21 << 20] {
        let key = format!("race/{size}");
        let mut both = Vec::new();
        for run in ["a", "b"] {
            let mut one = store.start_upload(&key, &upload_options(run)).await.expect("begun");
            one.write(random_bytes(size)).await.expect("written");
            both.push(one);
        }
        let second = both.pop().expect("two");
        let first = both.pop().expect("two");
        first.finish().await.expect("the first one ends");
        let error = second.finish().await.expect_err("the second finds its name taken");
        assert_eq!(error.kind, StoreErrorKind::Exists, "{error}");
    }

    // A backup, its hold, and what a killed run left.
    upload_bytes(store, KEY, "run-1", &random_bytes(9)).await.expect("written");
    let forms = [KeyTemplate::new(DEFAULT_KEY_TEMPLATE, ".dump").expect("a form")];
    let left = store.list_orphans(&forms).await.expect("found");
    let left: Vec<_> = left.iter().map(|l| (l.key.as_str(), &l.kind)).collect();
    assert_eq!(left, [(KEY, &OrphanKind::Object)]);
    store
        .put_if_absent(&beside::manifest_key(KEY), "{}".into(), &upload_options("run-1"))
        .await
        .expect("committed");
    let again = store
        .put_if_absent(&beside::manifest_key(KEY), "{}".into(), &upload_options("run-1"))
        .await;
    // The same run may try again what it did already; another one may not.
    assert!(again.is_ok() || again.is_err_and(|e| e.kind == StoreErrorKind::Exists));
    let other = store
        .put_if_absent(&beside::manifest_key(KEY), "{ }".into(), &upload_options("run-2"))
        .await;
    assert_eq!(other.expect_err("written once").kind, StoreErrorKind::Exists);
    assert_eq!(store.list_orphans(&forms).await.expect("found"), Vec::new());

    let killed = "orders/orders_daily_20261121_020000.dump";
    upload_bytes(store, killed, "run-3", &random_bytes(9)).await.expect("written");
    store
        .put_if_absent(&beside::checksum_key(killed), "x".into(), &upload_options("run-3"))
        .await
        .expect("sums");
    for one in store.list_orphans(&forms).await.expect("found") {
        store.delete_orphan(&one).await.expect("cleaned");
    }
    let keys = store.list("orders/").await.expect("listed");
    assert_eq!(
        keys.iter().map(|e| e.key.clone()).collect::<Vec<_>>(),
        [KEY.to_owned(), beside::manifest_key(KEY)]
    );
    assert_eq!(
        store.request_archive_restore(KEY, 1).await.expect("asked"),
        storage::ArchiveRestoreStatus::NotArchived
    );
}

#[tokio::test]
#[ignore = "needs an S3 and an Azure peer: run by tests/e2e"]
async fn s3_behaves_with_sha256() {
    check_store_contract(&s3_store("sha256", "sha256").await).await;
}

#[tokio::test]
#[ignore = "needs an S3 and an Azure peer: run by tests/e2e"]
async fn s3_behaves_with_md5() {
    check_store_contract(&s3_store("md5", "md5").await).await;
}

#[tokio::test]
#[ignore = "needs an S3 and an Azure peer: run by tests/e2e"]
async fn an_upload_that_is_dropped_is_taken_back_or_found_among_the_leftovers() {
    let store = s3_store("dropped", "md5").await;
    let forms = [KeyTemplate::new(DEFAULT_KEY_TEMPLATE, ".dump").expect("a form")];
    let mut upload = store.start_upload(KEY, &upload_options("run-1")).await.expect("begun");
    upload.write(random_bytes(21 << 20)).await.expect("written");
    let left = store.list_orphans(&forms).await.expect("found");
    assert!(matches!(left[0].kind, OrphanKind::Upload { .. }), "{left:?}");
    store.delete_orphan(&left[0]).await.expect("cleaned");
    assert_eq!(store.list_orphans(&forms).await.expect("found"), Vec::new());
    upload.finish().await.expect_err("it was cleaned away");
    assert_eq!(store.list("").await.expect("listed"), Vec::new());
}

#[tokio::test]
#[ignore = "needs an S3 and an Azure peer: run by tests/e2e"]
async fn azure_behaves() {
    check_store_contract(&azure_store("azure").await).await;
}

#[tokio::test]
#[ignore = "needs an S3 and an Azure peer: run by tests/e2e"]
async fn azure_refuses_a_key_that_is_none() {
    let endpoint = env_var("HOLDFAST_TEST_AZURE_ENDPOINT");
    let wrong = SecretString::from("d3Jvbmc=".to_owned());
    let store = storage::AzureBackend::new(
        &azure_account(),
        "holdfast-test",
        Some(&endpoint),
        Some(&wrong),
        "x/",
    );
    let error = BackupStore::Azure(store.expect("opened")).list("").await.expect_err("denied");
    assert_eq!(error.kind, StoreErrorKind::Denied, "{error}");
    assert!(!error.to_string().contains("d3Jvbmc="), "{error}");
}

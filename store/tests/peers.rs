//! The stores against real peers: an S3-compatible server and Azurite. tests/e2e starts them and says where they are.

use bytes::Bytes;
use secrecy::SecretString;
use shared::{aws::AwsClients, catalog::Location, policy, secret::SecretResolver};
use store::{Error, KeyForm, Kind, Left, Put, Store, beside, key::USUAL, open};
use tokio::sync::mpsc;

const KEY: &str = "orders/orders_daily_20261120_020000.dump";
/// Azurite's own account and key, which is no secret: <https://learn.microsoft.com/azure/storage/common/storage-use-azurite>.
/// `HOLDFAST_TEST_AZURE_ACCOUNT` and `HOLDFAST_TEST_AZURE_KEY` name others.
const ACCOUNT: &str = "devstoreaccount1";
const AZURITE: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} says where the peer is"))
}

fn account() -> String {
    std::env::var("HOLDFAST_TEST_AZURE_ACCOUNT").unwrap_or_else(|_| ACCOUNT.into())
}

async fn opened(json: serde_json::Value) -> Store {
    let words: policy::StoreConfig = serde_json::from_value(json).expect("a store");
    let home = Location {
        account: "000000000000".parse().expect("an account"),
        region: "us-east-1".parse().expect("a region"),
        role: None,
    };
    let aws = AwsClients::from_env().await;
    let secrets = SecretResolver::with_variables(&aws, &home, |name| {
        let own = || std::env::var("HOLDFAST_TEST_AZURE_KEY").unwrap_or_else(|_| AZURITE.into());
        Some(if name == "AZURITE_KEY" { own() } else { "testtesttest".into() })
    });
    open(&aws, &home, &words, &secrets).await.expect("opened")
}

/// A prefix of its own for each test run, so that a peer can be used again.
fn prefix(test: &str) -> String {
    format!("{test}-{}/", std::process::id())
}

async fn s3(test: &str, checksum: &str) -> Store {
    let endpoint = variable("HOLDFAST_TEST_S3_ENDPOINT");
    let bucket =
        std::env::var("HOLDFAST_TEST_S3_BUCKET").unwrap_or_else(|_| "holdfast-test".into());
    opened(serde_json::json!({
        "bucket": bucket, "prefix": prefix(test), "endpoint": endpoint, "checksum": checksum,
        "access_key": { "env": "ID" }, "secret_key": { "env": "SECRET" },
    }))
    .await
}

async fn azure(test: &str) -> Store {
    let endpoint = variable("HOLDFAST_TEST_AZURE_ENDPOINT");
    let container =
        std::env::var("HOLDFAST_TEST_AZURE_CONTAINER").unwrap_or_else(|_| "holdfast-test".into());
    opened(serde_json::json!({
        "prefix": prefix(test),
        "azure": {
            "account": account(), "container": container, "endpoint": endpoint,
            "access_key": { "env": "AZURITE_KEY" },
        },
    }))
    .await
}

fn put(run: &str) -> Put {
    Put { run: run.into(), ..Put::default() }
}

/// Bytes that are not alike anywhere.
fn bytes(size: usize) -> Bytes {
    let mut state = 1_u64;
    let word = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 32).to_le_bytes()
    };
    let mut all: Vec<u8> = (0..size.div_ceil(8)).flat_map(word).collect();
    all.truncate(size);
    all.into()
}

async fn upload(store: &Store, key: &str, run: &str, all: &Bytes) -> Result<store::Written, Error> {
    let mut upload = store.begin(key, &put(run)).await?;
    let mut left = all.clone();
    while !left.is_empty() {
        upload.write(left.split_to(left.len().min(200_000))).await?;
    }
    upload.finish().await
}

async fn content(store: &Store, key: &str) -> Vec<u8> {
    let (out, mut stream) = mpsc::channel(2);
    let (store, key) = (store.clone(), key.to_owned());
    let reading = tokio::spawn(async move { store.read(&key, out).await });
    let mut all = Vec::new();
    while let Some(chunk) = stream.recv().await {
        all.extend_from_slice(&chunk.expect("no error"));
    }
    reading.await.expect("ended").expect("read");
    all
}

/// What every store must do, whichever it is.
async fn behaves(store: &Store) {
    assert_eq!(store.list("").await.expect("listed"), Vec::new());
    assert_eq!(store.get("absent").await.expect("asked"), None);
    for (i, size) in [0, 7, 8 << 20, 21 << 20].into_iter().enumerate() {
        let (key, all) = (format!("sizes/{i} of them.bin"), bytes(size));
        let written = upload(store, &key, "run-1", &all).await.expect("written");
        assert_eq!(written.bytes, size as u64);
        assert!(content(store, &key).await == all, "{size} bytes come back as they were");
        let error = upload(store, &key, "run-2", &all).await.expect_err("it is there");
        assert_eq!(error.kind, Kind::Exists, "{error}");
    }
    let listed = store.list("sizes/").await.expect("listed");
    assert_eq!(listed.iter().map(|e| e.size).collect::<Vec<_>>(), [0, 7, 8 << 20, 21 << 20]);

    // Two runs at once: both begin where nothing is, and one of them ends.
    for size in [7, 21 << 20] {
        let key = format!("race/{size}");
        let mut both = Vec::new();
        for run in ["a", "b"] {
            let mut one = store.begin(&key, &put(run)).await.expect("begun");
            one.write(bytes(size)).await.expect("written");
            both.push(one);
        }
        let second = both.pop().expect("two");
        let first = both.pop().expect("two");
        first.finish().await.expect("the first one ends");
        let error = second.finish().await.expect_err("the second finds its name taken");
        assert_eq!(error.kind, Kind::Exists, "{error}");
    }

    // A backup, its hold, and what a killed run left.
    upload(store, KEY, "run-1", &bytes(9)).await.expect("written");
    let forms = [KeyForm::new(USUAL, ".dump").expect("a form")];
    let left = store.leftovers(&forms).await.expect("found");
    let left: Vec<_> = left.iter().map(|l| (l.key.as_str(), &l.what)).collect();
    assert_eq!(left, [(KEY, &Left::Object)]);
    store.put(&beside::manifest(KEY), "{}".into(), &put("run-1")).await.expect("committed");
    let again = store.put(&beside::manifest(KEY), "{}".into(), &put("run-1")).await;
    // The same run may try again what it did already; another one may not.
    assert!(again.is_ok() || again.is_err_and(|e| e.kind == Kind::Exists));
    let other = store.put(&beside::manifest(KEY), "{ }".into(), &put("run-2")).await;
    assert_eq!(other.expect_err("written once").kind, Kind::Exists);
    assert_eq!(store.leftovers(&forms).await.expect("found"), Vec::new());

    let killed = "orders/orders_daily_20261121_020000.dump";
    upload(store, killed, "run-3", &bytes(9)).await.expect("written");
    store.put(&beside::sums(killed), "x".into(), &put("run-3")).await.expect("sums");
    for one in store.leftovers(&forms).await.expect("found") {
        store.clean(&one).await.expect("cleaned");
    }
    let keys = store.list("orders/").await.expect("listed");
    assert_eq!(
        keys.iter().map(|e| e.key.clone()).collect::<Vec<_>>(),
        [KEY.to_owned(), beside::manifest(KEY)]
    );
    assert_eq!(store.thaw(KEY, 1).await.expect("asked"), store::Thaw::Needless);
}

#[tokio::test]
#[ignore = "needs an S3 and an Azure peer: run by tests/e2e"]
async fn s3_behaves_with_sha256() {
    behaves(&s3("sha256", "sha256").await).await;
}

#[tokio::test]
#[ignore = "needs an S3 and an Azure peer: run by tests/e2e"]
async fn s3_behaves_with_md5() {
    behaves(&s3("md5", "md5").await).await;
}

#[tokio::test]
#[ignore = "needs an S3 and an Azure peer: run by tests/e2e"]
async fn an_upload_that_is_dropped_is_taken_back_or_found_among_the_leftovers() {
    let store = s3("dropped", "md5").await;
    let forms = [KeyForm::new(USUAL, ".dump").expect("a form")];
    let mut upload = store.begin(KEY, &put("run-1")).await.expect("begun");
    upload.write(bytes(21 << 20)).await.expect("written");
    let left = store.leftovers(&forms).await.expect("found");
    assert!(matches!(left[0].what, Left::Upload { .. }), "{left:?}");
    store.clean(&left[0]).await.expect("cleaned");
    assert_eq!(store.leftovers(&forms).await.expect("found"), Vec::new());
    upload.finish().await.expect_err("it was cleaned away");
    assert_eq!(store.list("").await.expect("listed"), Vec::new());
}

#[tokio::test]
#[ignore = "needs an S3 and an Azure peer: run by tests/e2e"]
async fn azure_behaves() {
    behaves(&azure("azure").await).await;
}

#[tokio::test]
#[ignore = "needs an S3 and an Azure peer: run by tests/e2e"]
async fn azure_refuses_a_key_that_is_none() {
    let endpoint = variable("HOLDFAST_TEST_AZURE_ENDPOINT");
    let wrong = SecretString::from("d3Jvbmc=".to_owned());
    let store =
        store::AzureStore::new(&account(), "holdfast-test", Some(&endpoint), Some(&wrong), "x/");
    let error = Store::Azure(store.expect("opened")).list("").await.expect_err("denied");
    assert_eq!(error.kind, Kind::Denied, "{error}");
    assert!(!error.to_string().contains("d3Jvbmc="), "{error}");
}

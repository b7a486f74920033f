use super::*;
use crate::{KeyForm, Left, RecordCache, Store, Thaw, Trust, key::USUAL};
use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use aws_sdk_s3::config::{Credentials, HttpClient, SharedCredentialsProvider, http::HttpResponse};
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_http_client::test_util::{NeverClient, infallible_client_fn};
use aws_smithy_types::body::SdkBody;
use futures_util::FutureExt;
use shared::{
    aws::AwsClients,
    policy::{Policy, StorageClass},
    signing::{SigningAuthor, MinisignSigner},
};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

const KEY: &str = "orders/orders_daily_20261120_020000.dump";
const MIB: usize = 1 << 20;

/// A request as it came.
#[derive(Clone, Debug)]
struct Asked {
    /// Method, path and query, without what the SDK adds.
    line: String,
    headers: Vec<(String, String)>,
    body: usize,
    text: String,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// An answer: status, headers, body.
type Answer = (u16, Vec<(&'static str, String)>, Vec<u8>);

fn ok(headers: &[(&'static str, &str)]) -> Answer {
    (200, headers.iter().map(|(n, v)| (*n, (*v).to_owned())).collect(), Vec::new())
}

fn xml(text: &str) -> Answer {
    (200, Vec::new(), text.into())
}

fn refusal(status: u16, code: &str) -> Answer {
    let body = format!("<Error><Code>{code}</Code><Message>said S3</Message></Error>");
    (status, Vec::new(), body.into())
}

/// What was asked, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Asked>>>);

impl Log {
    fn all(&self) -> Vec<Asked> {
        self.0.lock().expect("no panic while it is held").clone()
    }

    fn lines(&self) -> String {
        self.all().iter().map(|a| a.line.clone()).collect::<Vec<_>>().join("\n")
    }

    /// Requests whose line begins so, with all their headers but those of every request.
    fn shown(&self, begin: &str) -> String {
        let usual = ["amz-sdk-", "authorization", "host", "user-agent", "x-amz-date"];
        let usual = |n: &str| {
            usual.iter().any(|u| n.starts_with(u))
                || n == "x-amz-user-agent"
                || n == "x-amz-content-sha256"
        };
        let mut out = Vec::new();
        for asked in self.all().iter().filter(|a| a.line.starts_with(begin)) {
            out.push(asked.line.clone());
            let mut headers: Vec<_> = asked.headers.iter().filter(|(n, _)| !usual(n)).collect();
            headers.sort();
            out.extend(headers.into_iter().map(|(n, v)| format!("  {n}: {v}")));
        }
        out.join("\n")
    }
}

fn bucket(checksum: StoreChecksum) -> Bucket {
    Bucket {
        name: "backups".into(),
        prefix: "pg/".into(),
        region: None,
        endpoint: None,
        checksum,
        encryption: None,
        kms_key: None,
        lock: None,
    }
}

fn place() -> Location {
    Location {
        account: "111122223333".parse().expect("an account"),
        region: "eu-west-1".parse().expect("a region"),
        role: None,
    }
}

/// A store whose requests come to a closure as they go over the wire.
fn s3(
    what: Bucket,
    answer: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static,
) -> (S3Store, Log) {
    let log = Log::default();
    let kept = log.clone();
    let http = infallible_client_fn(move |mut request| {
        // All of it is there at once, whether it is streamed or not.
        let body = std::mem::replace(request.body_mut(), SdkBody::taken());
        let body = ByteStream::new(body).collect().now_or_never().expect("no waiting");
        let body = body.expect("a body").to_vec();
        let query = request.uri().query().unwrap_or_default();
        let query: Vec<_> =
            query.split('&').filter(|p| !p.starts_with("x-id=") && !p.is_empty()).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        let path = request.uri().path();
        let asked = Asked {
            line: format!("{} {path}{mark}{}", request.method(), query.join("&")),
            headers: (request.headers().iter())
                .map(|(n, v)| (n.to_string(), v.to_str().unwrap_or_default().to_owned()))
                .collect(),
            body: body.len(),
            text: String::from_utf8_lossy(&body).into_owned(),
        };
        let before = {
            let mut log = kept.0.lock().expect("no panic while it is held");
            log.push(asked.clone());
            log.iter().filter(|a| a.line == asked.line).count() - 1
        };
        let (status, headers, body) = answer(&asked, before);
        let mut response =
            HttpResponse::new(status.try_into().expect("a status"), SdkBody::from(body));
        for (name, value) in headers {
            response.headers_mut().insert(name, value);
        }
        response.try_into_http1x().expect("a response")
    });
    (behind(http, what), log)
}

/// A store whose requests go to this client.
fn behind(http: impl HttpClient + 'static, what: Bucket) -> S3Store {
    let keys = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
    let base = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("eu-west-1"))
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .retry_config(RetryConfig::standard())
        .http_client(http);
    let client = AwsClients::new(base.build()).s3_client_for(
        &place(),
        what.endpoint.as_deref().map(|address| (address, "us-east-1")),
        None,
    );
    S3Store::new(client, place(), what)
}

fn put() -> Put {
    Put { run: "run-1".into(), ..Put::default() }
}

async fn upload(store: &S3Store, put: &Put, bytes: usize) -> Result<crate::Written, Error> {
    let store = Store::S3(store.clone());
    let mut upload = store.begin(KEY, put).await?;
    let mut left = bytes;
    while left > 0 {
        let chunk = left.min(300_000);
        upload.write(vec![b'x'; chunk].into()).await?;
        left -= chunk;
    }
    upload.finish().await
}

/// The answers of a store that takes everything; `head` is what it says of the object at the end.
fn taking(head: Answer) -> impl Fn(&Asked, usize) -> Answer {
    move |asked, before| match asked.line.as_str() {
        line if line.starts_with("HEAD") => {
            if before == 0 {
                refusal(404, "")
            } else {
                head.clone()
            }
        }
        line if line.ends_with("?uploads") => xml(
            "<InitiateMultipartUploadResult><UploadId>U</UploadId></InitiateMultipartUploadResult>",
        ),
        line if line.starts_with("POST") => xml(
            "<CompleteMultipartUploadResult><ETag>\"e-3\"</ETag></CompleteMultipartUploadResult>",
        ),
        _ => ok(&[("etag", "\"p\"")]),
    }
}

#[tokio::test]
async fn a_small_object_is_one_request_that_only_makes_new_ones() {
    let what = Bucket {
        encryption: Some(BucketEncryption::Kms),
        kms_key: Some("arn:aws:kms:eu-west-1:111122223333:key/1".into()),
        lock: Some(LockMode::Compliance),
        ..bucket(StoreChecksum::Sha256)
    };
    let sum = sums::whole(what.checksum, &[sums::Sum::of(what.checksum, b"xxx")], false);
    let head = ok(&[("content-length", "3"), ("x-amz-checksum-sha256", &sum)]);
    let (store, log) = s3(what, taking(head));
    let put = Put {
        class: Some(StorageClass::StandardIa),
        lock_until: Some("2026-12-20T00:00:00Z".parse().expect("a time")),
        ..put()
    };
    let written = upload(&store, &put, 3).await.expect("written");
    assert_eq!(written.checksum, Some(format!("sha256:{sum}")));
    insta::assert_snapshot!(log.shown("PUT"), @"
    PUT /pg/orders/orders_daily_20261120_020000.dump
      content-length: 3
      content-type: application/octet-stream
      if-none-match: *
      x-amz-checksum-sha256: zS6wg3ybTJYsItL/i1RBt7RYBYh/BR05vxM7WDuvaGA=
      x-amz-meta-holdfast-run: run-1
      x-amz-object-lock-mode: COMPLIANCE
      x-amz-object-lock-retain-until-date: 2026-12-20T00:00:00Z
      x-amz-server-side-encryption: aws:kms
      x-amz-server-side-encryption-aws-kms-key-id: arn:aws:kms:eu-west-1:111122223333:key/1
      x-amz-storage-class: STANDARD_IA
    ");
    insta::assert_snapshot!(log.lines(), @"
    HEAD /pg/orders/orders_daily_20261120_020000.dump
    PUT /pg/orders/orders_daily_20261120_020000.dump
    HEAD /pg/orders/orders_daily_20261120_020000.dump
    ");
}

#[tokio::test]
async fn a_store_that_knows_no_newer_checksums_is_sent_none_of_them() {
    let what =
        Bucket { endpoint: Some("http://127.0.0.1:9000".into()), ..bucket(StoreChecksum::Md5) };
    let sum = sums::whole(what.checksum, &[sums::Sum::of(what.checksum, b"xxx")], false);
    let head = ok(&[("content-length", "3"), ("etag", &format!("\"{sum}\""))]);
    let (store, log) = s3(what, taking(head));
    let written = upload(&store, &put(), 3).await.expect("written");
    assert_eq!(written.checksum, Some(format!("etag:{sum}")));
    insta::assert_snapshot!(log.shown("PUT"), @"
    PUT /backups/pg/orders/orders_daily_20261120_020000.dump
      content-length: 3
      content-md5: 9WGq9u8L8U1CCLtGpMyzrQ==
      content-type: application/octet-stream
      if-none-match: *
      x-amz-meta-holdfast-run: run-1
    ");
    assert!(!format!("{:?}", log.all()).contains("crc"), "a checksum nobody asked for");
}

/// A store's word of three parts of `x`: 8, 8 and 4 MiB.
fn three_parts(kind: StoreChecksum) -> String {
    let part = |n: usize| sums::Sum::of(kind, &vec![b'x'; n * MIB]);
    sums::whole(kind, &[part(8), part(8), part(4)], true)
}

#[tokio::test]
async fn a_large_object_goes_in_parts_with_a_checksum_each_and_is_made_only_where_there_is_none() {
    let what = bucket(StoreChecksum::Sha256);
    let sum = three_parts(what.checksum);
    let head = ok(&[("content-length", "20971520"), ("x-amz-checksum-sha256", &sum)]);
    let (store, log) = s3(what, taking(head));
    let written = upload(&store, &put(), 20 * MIB).await.expect("written");
    assert_eq!((written.bytes, written.checksum), (20 << 20, Some(format!("sha256:{sum}"))));
    insta::assert_snapshot!(log.shown("POST"), @"
    POST /pg/orders/orders_daily_20261120_020000.dump?uploads
      x-amz-checksum-algorithm: SHA256
      x-amz-meta-holdfast-run: run-1
    POST /pg/orders/orders_daily_20261120_020000.dump?uploadId=U
      content-length: 525
      content-type: application/xml
      if-none-match: *
    ");
    let mut parts: Vec<_> = (log.all().iter())
        .filter(|a| a.line.starts_with("PUT"))
        .map(|a| {
            format!(
                "{} {} {:?} {:?}",
                a.line,
                a.body,
                a.header("x-amz-checksum-sha256"),
                a.header("x-amz-content-sha256")
            )
        })
        .collect();
    parts.sort();
    insta::assert_snapshot!(parts.join("\n"), @r#"
    PUT /pg/orders/orders_daily_20261120_020000.dump?partNumber=1&uploadId=U 8388608 Some("DHe8CgeVqTYS1FJWiXRW0PyyTxUcRMFQ0H7NA/TvUWg=") Some("UNSIGNED-PAYLOAD")
    PUT /pg/orders/orders_daily_20261120_020000.dump?partNumber=2&uploadId=U 8388608 Some("DHe8CgeVqTYS1FJWiXRW0PyyTxUcRMFQ0H7NA/TvUWg=") Some("UNSIGNED-PAYLOAD")
    PUT /pg/orders/orders_daily_20261120_020000.dump?partNumber=3&uploadId=U 4194304 Some("uqem02/6lXVS3yMCNcLVHXNfKNScWKXzQ4o6lzolo30=") Some("UNSIGNED-PAYLOAD")
    "#);
    let complete = log
        .all()
        .into_iter()
        .find(|a| a.line.ends_with("uploadId=U") && a.line.starts_with("POST"));
    let complete = complete.expect("it was completed").text;
    assert_eq!(complete.matches("<ChecksumSHA256>").count(), 3, "{complete}");
}

#[tokio::test]
async fn what_lies_there_otherwise_than_it_was_sent_is_damaged() {
    for kind in [StoreChecksum::Sha256, StoreChecksum::Md5] {
        let good = three_parts(kind);
        let other = sums::whole(
            kind,
            &[sums::Sum::of(kind, b"y"), sums::Sum::of(kind, b"z"), sums::Sum::of(kind, b"")],
            true,
        );
        for (size, sum) in [("20971519", &good), ("20971520", &other)] {
            let (name, sum) = match kind {
                StoreChecksum::Sha256 => ("x-amz-checksum-sha256", sum.clone()),
                StoreChecksum::Md5 => ("etag", format!("\"{sum}\"")),
            };
            let (store, _) =
                s3(bucket(kind), taking(ok(&[("content-length", size), (name, &sum)])));
            let error = upload(&store, &put(), 20 * MIB).await.expect_err("it differs");
            assert_eq!(error.kind, Kind::Damaged, "{error}");
        }
    }
}

#[tokio::test]
async fn a_name_that_was_taken_meanwhile_is_left_as_it_is_and_the_parts_are_taken_back() {
    let head = ok(&[("content-length", "5"), ("x-amz-meta-holdfast-run", "another")]);
    let take = taking(head);
    let (store, log) = s3(bucket(StoreChecksum::Sha256), move |asked, before| {
        if asked.line.starts_with("POST") && !asked.line.ends_with("?uploads") {
            return refusal(412, "PreconditionFailed");
        }
        take(asked, before)
    });
    let error = upload(&store, &put(), 20 * MIB).await.expect_err("taken");
    assert_eq!(error.kind, Kind::Exists, "{error}");
    assert!(log.lines().contains("DELETE /pg/orders/orders_daily_20261120_020000.dump?uploadId=U"));
}

#[tokio::test]
async fn an_answer_that_was_lost_after_the_object_was_made_is_no_failure() {
    let sum = three_parts(StoreChecksum::Sha256);
    let head = ok(&[
        ("content-length", "20971520"),
        ("x-amz-checksum-sha256", &sum),
        ("x-amz-meta-holdfast-run", "run-1"),
    ]);
    let take = taking(head);
    let (store, _) = s3(bucket(StoreChecksum::Sha256), move |asked, before| {
        if asked.line.starts_with("POST") && !asked.line.ends_with("?uploads") {
            return refusal(404, "NoSuchUpload");
        }
        take(asked, before)
    });
    upload(&store, &put(), 20 * MIB).await.expect("it is ours and whole");
}

#[tokio::test]
async fn a_part_that_is_refused_ends_the_upload_and_takes_it_back() {
    let take = taking(ok(&[]));
    let (store, log) = s3(bucket(StoreChecksum::Sha256), move |asked, before| {
        if asked.line.contains("partNumber=2") {
            return refusal(400, "BadDigest");
        }
        take(asked, before)
    });
    let error = upload(&store, &put(), 40 * MIB).await.expect_err("refused");
    assert_eq!(error.kind, Kind::Damaged, "{error}");
    // Taken back when it is dropped, beside everything else.
    let taken_back = async {
        while !log.lines().contains("DELETE /pg/") {
            tokio::task::yield_now().await;
        }
    };
    let deadline = std::time::Duration::from_secs(30);
    let waited = tokio::time::timeout(deadline, taken_back).await;
    assert!(waited.is_ok(), "{}", log.lines());
    assert!(!log.lines().contains("POST /pg/orders/orders_daily_20261120_020000.dump?uploadId"));
}

#[tokio::test]
async fn an_object_that_is_there_is_refused_before_anything_is_sent() {
    let (store, log) = s3(bucket(StoreChecksum::Sha256), |_, _| ok(&[("content-length", "1")]));
    assert_eq!(upload(&store, &put(), 3).await.expect_err("there").kind, Kind::Exists);
    assert_eq!(log.all().len(), 1);
}

#[tokio::test]
async fn a_store_that_lacks_conditions_is_asked_whether_the_name_is_free_instead() {
    let answer = |asked: &Asked, before: usize| match asked.line.as_str() {
        line if line.starts_with("HEAD") && before < 2 => refusal(404, ""),
        line if line.starts_with("HEAD") => ok(&[("content-length", "3")]),
        _ if asked.header("if-none-match").is_some() => refusal(501, "NotImplemented"),
        _ => ok(&[]),
    };
    let own = Bucket { endpoint: Some("http://s3.internal".into()), ..bucket(StoreChecksum::Md5) };
    let (store, log) = s3(own, answer);
    upload(&store, &put(), 3).await.expect("written");
    assert!(log.lines().contains("HEAD"));
    // AWS knows them: such an answer of it is no reason to go without.
    let (store, _) = s3(bucket(StoreChecksum::Md5), answer);
    assert_eq!(upload(&store, &put(), 3).await.expect_err("refused").kind, Kind::Refused);
}

async fn read(store: &S3Store) -> (Result<(), Error>, Vec<u8>, bool) {
    let (out, mut stream) = mpsc::channel(2);
    let store = Store::S3(store.clone());
    let reading = tokio::spawn(async move { store.read(KEY, out).await });
    let (mut all, mut clean) = (Vec::new(), false);
    while let Some(chunk) = stream.recv().await {
        match chunk {
            Ok(chunk) if chunk.is_empty() => clean = true,
            Ok(chunk) => all.extend_from_slice(&chunk),
            Err(_) => clean = false,
        }
    }
    (reading.await.expect("ended"), all, clean)
}

/// The bytes of an object of 20 MiB that a range asks for.
fn ranged(asked: &Asked, cut: usize) -> Answer {
    let range = asked.header("range").and_then(|r| r.strip_prefix("bytes=")).expect("a range");
    let (from, to) = range.split_once('-').expect("two ends");
    let (from, to): (usize, usize) = (from.parse().expect("a byte"), to.parse().expect("a byte"));
    let bytes: Vec<u8> = (from..=to).map(|i| u8::try_from(i % 251).expect("small")).collect();
    let length = bytes.len() - cut.min(bytes.len());
    (206, vec![("etag", "\"e\"".into())], bytes[..length].to_vec())
}

#[tokio::test(start_paused = true)]
async fn a_read_goes_on_where_its_connection_was_lost_and_keeps_to_one_version() {
    let (store, log) = s3(bucket(StoreChecksum::Sha256), |asked, _| {
        if asked.line.starts_with("HEAD") {
            return ok(&[("content-length", "20971520"), ("etag", "\"e\"")]);
        }
        assert_eq!(asked.header("if-match"), Some("\"e\""));
        // The second range is cut short; what is missing is asked for again and comes.
        let second = asked.header("range") == Some("bytes=8388608-16777215");
        ranged(asked, if second { 1000 } else { 0 })
    });
    let (ended, bytes, clean) = read(&store).await;
    ended.expect("read");
    assert!(clean);
    assert_eq!(bytes.len(), 20 * MIB);
    assert!(bytes.iter().enumerate().all(|(i, b)| usize::from(*b) == i % 251), "in order");
    let ranges: Vec<_> =
        log.all().iter().filter_map(|a| a.header("range").map(str::to_owned)).collect();
    assert!(ranges.contains(&"bytes=16776216-16777215".to_owned()), "{ranges:?}");
}

#[tokio::test(start_paused = true)]
async fn a_read_that_loses_every_connection_or_its_version_ends_with_an_error_in_the_stream() {
    let head = || ok(&[("content-length", "20971520"), ("etag", "\"e\"")]);
    let (store, log) = s3(bucket(StoreChecksum::Sha256), move |asked, _| {
        if asked.line.starts_with("HEAD") { head() } else { ranged(asked, usize::MAX) }
    });
    let (ended, _, clean) = read(&store).await;
    assert_eq!((ended.expect_err("lost").kind, clean), (Kind::Unreachable, false));
    assert!(log.all().len() < 30, "the tries are bounded");

    let (store, _) = s3(bucket(StoreChecksum::Sha256), move |asked, _| {
        if asked.line.starts_with("HEAD") { head() } else { refusal(412, "PreconditionFailed") }
    });
    let (ended, _, clean) = read(&store).await;
    assert_eq!((ended.expect_err("changed").kind, clean), (Kind::Damaged, false));

    let (store, _) = s3(bucket(StoreChecksum::Sha256), move |asked, _| {
        if asked.line.starts_with("HEAD") { head() } else { refusal(403, "InvalidObjectState") }
    });
    let (ended, _, clean) = read(&store).await;
    assert_eq!((ended.expect_err("archived").kind, clean), (Kind::Cold, false));

    let (store, _) = s3(bucket(StoreChecksum::Sha256), |_, _| refusal(404, ""));
    assert_eq!(read(&store).await.0.expect_err("absent").kind, Kind::Missing);
}

#[tokio::test]
async fn a_thaw_is_asked_for_once_and_says_how_long_it_takes() {
    let table = [
        ("STANDARD_IA", None, Thaw::Needless),
        ("GLACIER_IR", None, Thaw::Needless),
        ("GLACIER", None, Thaw::Asked { hours: 5 }),
        ("DEEP_ARCHIVE", None, Thaw::Asked { hours: 12 }),
        ("GLACIER", Some("ongoing-request=\"true\""), Thaw::Thawing),
        (
            "DEEP_ARCHIVE",
            Some("ongoing-request=\"false\", expiry-date=\"Fri, 27 Nov 2026 00:00:00 GMT\""),
            Thaw::Ready,
        ),
    ];
    for (class, restore, expected) in table {
        let (store, log) = s3(bucket(StoreChecksum::Sha256), move |asked, _| {
            if asked.line.starts_with("HEAD") {
                let mut said = vec![("x-amz-storage-class", class)];
                said.extend(restore.map(|r| ("x-amz-restore", r)));
                return ok(&said);
            }
            assert!(
                asked.text.contains("<Days>3</Days>")
                    && asked.text.contains("<Tier>Standard</Tier>")
            );
            (202, Vec::new(), Vec::new())
        });
        assert_eq!(store.thaw(KEY, 3).await, Ok(expected), "{class} {restore:?}");
        let asked = matches!(expected, Thaw::Asked { .. });
        assert_eq!(log.lines().contains("POST"), asked);
    }
    let (store, _) = s3(bucket(StoreChecksum::Sha256), |asked, _| match asked.line.as_str() {
        line if line.starts_with("HEAD") => ok(&[("x-amz-storage-class", "GLACIER")]),
        _ => refusal(409, "RestoreAlreadyInProgress"),
    });
    assert_eq!(store.thaw(KEY, 3).await, Ok(Thaw::Thawing));
}

#[tokio::test]
async fn a_lock_is_refused_where_the_bucket_can_keep_none() {
    let versions =
        |status: &str| xml(&format!("<VersioningConfiguration>{status}</VersioningConfiguration>"));
    let on = "<Status>Enabled</Status>";
    let lock = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>";
    let table = [
        ("", xml(lock), Some("the bucket's versioning is off, and a lock is of a version")),
        (
            "<Status>Suspended</Status>",
            xml(lock),
            Some("the bucket's versioning is off, and a lock is of a version"),
        ),
        (
            on,
            refusal(404, "ObjectLockConfigurationNotFoundError"),
            Some("the bucket has no Object Lock"),
        ),
        (on, xml(lock), None),
    ];
    for (status, lock, expected) in table {
        let what = Bucket { lock: Some(LockMode::Governance), ..bucket(StoreChecksum::Sha256) };
        let (store, _) = s3(what, move |asked, _| {
            if asked.line.ends_with("?versioning") { versions(status) } else { lock.clone() }
        });
        assert_eq!(store.check_lock().await.err().map(|e| e.why).as_deref(), expected);
    }
    let (store, log) = s3(bucket(StoreChecksum::Sha256), |_, _| refusal(403, "AccessDenied"));
    store.check_lock().await.expect("nothing is asked where no lock is");
    assert_eq!(log.all().len(), 0);
}

#[tokio::test]
async fn uploads_without_end_and_objects_without_manifest_are_leftovers_and_foreign_ones_are_not() {
    let object = |key: &str| {
        format!(
            "<Contents><Key>pg/{key}</Key><Size>1</Size><ETag>e</ETag><LastModified>2026-11-20T02:00:00Z</LastModified></Contents>"
        )
    };
    let upload = |key: &str, id: &str| {
        format!(
            "<Upload><Key>pg/{key}</Key><UploadId>{id}</UploadId><Initiated>2026-11-20T02:00:00Z</Initiated></Upload>"
        )
    };
    let (good, bare, foreign) = (
        "a/a_daily_20261117_020000.dump",
        "a/a_daily_20261118_020000.dump",
        "a/a_daily_20261119_020000.dump",
    );
    let mut keys = [good, bare, foreign, "a/notes.txt"].map(str::to_owned).to_vec();
    keys.extend([beside::manifest(good), beside::sums(good), beside::sums(bare)]);
    keys.sort();
    let keys: String = keys.iter().map(|k| object(k)).collect();
    let list = format!("<ListBucketResult>{keys}</ListBucketResult>");
    let first = format!(
        "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextKeyMarker>pg/x</NextKeyMarker><NextUploadIdMarker>1</NextUploadIdMarker>{}</ListMultipartUploadsResult>",
        upload(KEY, "1")
    );
    let second = format!(
        "<ListMultipartUploadsResult>{}</ListMultipartUploadsResult>",
        upload("someone-elses.bin", "2") + &upload(&beside::manifest(KEY), "3")
    );
    let bare_head = format!("HEAD /pg/{bare}");
    let (store, log) =
        s3(bucket(StoreChecksum::Sha256), move |asked, _| match asked.line.as_str() {
            line if line.contains("uploads") && line.contains("key-marker") => xml(&second),
            line if line.contains("uploads") => xml(&first),
            line if line.starts_with("GET") => xml(&list),
            line if line == bare_head => ok(&[("x-amz-meta-holdfast-run", "run-0")]),
            line if line.starts_with("HEAD") && line.contains(".json") => refusal(404, ""),
            line if line.starts_with("DELETE") => (204, Vec::new(), Vec::new()),
            _ => ok(&[]),
        });
    let forms = [KeyForm::new(USUAL, ".dump").expect("a form")];
    let store = Store::S3(store);
    let left = store.leftovers(&forms).await.expect("found");
    let said: Vec<_> =
        left.iter().map(|l| format!("{} {:?} {:?}", l.key, l.database, l.what)).collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
    orders/orders_daily_20261120_020000.dump Some("orders") Upload { id: "1" }
    orders/orders_daily_20261120_020000.dump.json Some("orders") Upload { id: "3" }
    a/a_daily_20261118_020000.dump Some("a") Object
    "#);
    for one in &left {
        store.clean(one).await.expect("cleaned");
    }
    assert_eq!(left[2].what, Left::Object);
    let deleted: Vec<_> =
        log.all().into_iter().map(|a| a.line).filter(|l| l.starts_with("DELETE")).collect();
    insta::assert_snapshot!(deleted.join("\n"), @"
    DELETE /pg/orders/orders_daily_20261120_020000.dump?uploadId=1
    DELETE /pg/orders/orders_daily_20261120_020000.dump.json?uploadId=3
    DELETE /pg/a/a_daily_20261118_020000.dump.json.minisig
    DELETE /pg/a/a_daily_20261118_020000.dump.sha256
    DELETE /pg/a/a_daily_20261118_020000.dump
    ");
}

#[tokio::test]
async fn who_may_read_records_alone_still_sees_what_counts_and_nothing_foreign() {
    let list = "<ListBucketResult><Contents><Key>pg/a/a_daily_20261119_020000.dump</Key><Size>1</Size><ETag>e</ETag>\
                <LastModified>2026-11-20T02:00:00Z</LastModified></Contents></ListBucketResult>";
    let text = "{holdfast: 1, company: listings, id: host-1, postgres: {main: {databases: [a], stored: {directory: /b}, \
                dumps: {daily: {keep: {newest: 1}}}}}}";
    let policy = shared::policy::Policy::parse(text).unwrap_or_else(|e| panic!("{e}"));
    let now = "2026-11-21T02:00:00Z".parse().expect("a time");
    let (_, rules) = policy.postgres.first_key_value().expect("a group");
    let trust = crate::Trust::of(&policy, rules, now);
    let forms = [KeyForm::new(USUAL, ".dump").expect("a form")];
    for (head, seen) in [(403, 0), (200, 1)] {
        let (store, _) = s3(bucket(StoreChecksum::Sha256), move |asked, _| {
            if asked.line.starts_with("GET") { xml(list) } else { (head, Vec::new(), Vec::new()) }
        });
        let found = crate::catalogue(&Store::S3(store), &forms, &[], &trust).await.expect("seen");
        assert_eq!(found.len(), seen, "{head}: {found:?}");
    }
}

/// The policy of a group in that bucket, and who signs for it.
fn signing() -> (shared::policy::Policy, SigningAuthor) {
    let (signer, _) = MinisignSigner::generate().expect("random numbers");
    let text = format!(
        "{{holdfast: 1, company: listings, id: host-1, signing: {{public_keys: [{}]}}, postgres: {{main: {{databases: \
         [orders], stored: {{directory: /b}}, dumps: {{daily: {{keep: {{newest: 1}}}}}}}}}}}}",
        signer.public_key()
    );
    let policy = Policy::parse(&text).unwrap_or_else(|e| panic!("{e}"));
    let author = SigningAuthor::new(policy.owner(), Some(signer));
    (policy, author)
}

/// A listing of the first dumps of so many, each with its record, and its signature where there are any.
fn listing(count: usize, ends: &[&str]) -> Answer {
    let entry = |key: String| {
        format!(
            "<Contents><Key>pg/{key}</Key><Size>7</Size><ETag>e</ETag>\
             <LastModified>2026-11-20T03:00:00Z</LastModified></Contents>"
        )
    };
    let keys = (0..count).flat_map(|i| ends.iter().map(move |end| format!("{i:04}.dump{end}")));
    xml(&format!("<ListBucketResult>{}</ListBucketResult>", keys.map(entry).collect::<String>()))
}

/// The record of the dump that is asked for.
fn record_of(asked: &Asked) -> (String, Vec<u8>) {
    let name = asked.line.trim_start_matches("GET /pg/").trim_end_matches(".minisig");
    let mut manifest = crate::manifest::tests::manifest();
    manifest.key = name.trim_end_matches(".json").to_owned();
    (name.to_owned(), manifest.to_json())
}

/// What runs ask, one after another, of a bucket with so many dumps each.
async fn asked_by_runs(
    store: &Store,
    log: &Log,
    count: &Mutex<usize>,
    trust: &Trust,
    dumps: &[usize],
) -> Vec<usize> {
    let cache = RecordCache::default();
    let mut asked = Vec::new();
    for dumps in dumps {
        *count.lock().expect("no panic while it is held") = *dumps;
        let before = log.all().len();
        let found = crate::catalogue::with_cache(store, &[], &[], trust, &cache).await;
        assert_eq!(found.expect("seen").iter().filter(|b| b.good()).count(), *dumps);
        asked.push(log.all().len() - before);
    }
    asked
}

#[tokio::test]
async fn of_a_thousand_dumps_a_run_reads_what_the_runs_before_did_not() {
    let count = Arc::new(Mutex::new(0));
    let there = Arc::clone(&count);
    let (store, log) = s3(bucket(StoreChecksum::Sha256), move |asked, _| {
        if asked.line.contains("list-type=2") {
            return listing(*there.lock().expect("no panic while it is held"), &["", ".json"]);
        }
        (200, Vec::new(), record_of(asked).1)
    });
    let (store, now) = (Store::S3(store), "2026-11-21T02:00:00Z".parse().expect("a time"));
    let trust = Trust::in_owner("listings@host-1", now);
    // The first run, one without any change, one after one dump more, and one after most are gone.
    let asked = asked_by_runs(&store, &log, &count, &trust, &[1000, 1000, 1001, 10]).await;
    assert_eq!(asked, [1 + 1000, 1, 1 + 1, 1]);
}

#[tokio::test]
async fn a_signature_is_read_once_and_checked_by_each_run() {
    let (policy, author) = signing();
    let count = Arc::new(Mutex::new(0));
    let there = Arc::clone(&count);
    let (store, log) = s3(bucket(StoreChecksum::Sha256), move |asked, _| {
        if asked.line.contains("list-type=2") {
            let count = *there.lock().expect("no panic while it is held");
            return listing(count, &["", ".json", ".json.minisig"]);
        }
        let (name, json) = record_of(asked);
        let signature = asked.line.ends_with(".minisig");
        let signature = signature.then(|| author.sign(&name, &json).expect("it signs"));
        (200, Vec::new(), signature.map_or(json, String::into_bytes))
    });
    let store = Store::S3(store);
    let now = "2026-11-21T02:00:00Z".parse().expect("a time");
    let (_, rules) = policy.postgres.first_key_value().expect("a group");
    let trust = Trust::of(&policy, rules, now);
    let asked = asked_by_runs(&store, &log, &count, &trust, &[3, 3, 4]).await;
    assert_eq!(asked, [1 + 2 * 3, 1, 1 + 2]);
    // What was read before decides nothing: another key and another time are another answer.
    let cache = RecordCache::default();
    let (other, _) = signing();
    let (_, other_rules) = other.postgres.first_key_value().expect("a group");
    let early = "2026-11-01T02:00:00Z".parse().expect("a time");
    for (trust, good) in [
        (trust.clone(), 4),
        (Trust::of(&other, other_rules, now), 0),
        (Trust::of(&policy, rules, early), 0),
        (trust, 4),
    ] {
        let found = crate::catalogue::with_cache(&store, &[], &[], &trust, &cache).await;
        assert_eq!(found.expect("seen").iter().filter(|b| b.good()).count(), good);
    }
}

#[test]
fn addresses_and_commands_are_what_a_shell_takes() {
    let (store, _) = s3(bucket(StoreChecksum::Sha256), |_, _| ok(&[]));
    assert_eq!(store.address(), "s3://backups/pg");
    assert_eq!(store.command("my db.dump"), "aws s3 cp 's3://backups/pg/my db.dump' -");
    let own = Bucket {
        endpoint: Some("http://localhost:9000".into()),
        region: Some("us-east-1".into()),
        prefix: String::new(),
        ..bucket(StoreChecksum::Md5)
    };
    let (store, _) = s3(own, |_, _| ok(&[]));
    assert_eq!(
        store.command("a.dump"),
        "aws s3 cp s3://backups/a.dump - --endpoint-url http://localhost:9000 --region us-east-1"
    );
    assert_eq!(store.address(), "s3://backups");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_answers_holds_nobody_up_for_longer_than_minutes() {
    let store = behind(NeverClient::new(), bucket(StoreChecksum::Sha256));
    let began = tokio::time::Instant::now();
    let error = store.begin(KEY, &put()).await.expect_err("no answer");
    assert_eq!(error.kind, Kind::Unreachable, "{error}");
    assert!(began.elapsed() <= std::time::Duration::from_mins(6), "{:?}", began.elapsed());

    let began = tokio::time::Instant::now();
    // The object, and the look at whether it is there all the same.
    let error = store.put(KEY, vec![0; MIB].into(), &put()).await.expect_err("no answer");
    assert_eq!(error.kind, Kind::Unreachable, "{error}");
    assert!(began.elapsed() <= std::time::Duration::from_mins(12), "{:?}", began.elapsed());
}

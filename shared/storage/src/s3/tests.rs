use super::*;
use crate::{
    ArchiveRestoreStatus, BackupStore, KeyTemplate, OrphanKind, RecordCache, TrustPolicy,
    key::DEFAULT_KEY_TEMPLATE,
};
use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use aws_sdk_s3::config::{Credentials, HttpClient, SharedCredentialsProvider, http::HttpResponse};
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_http_client::test_util::{NeverClient, infallible_client_fn};
use aws_smithy_types::body::SdkBody;
use futures_util::FutureExt;
use shared::{
    aws::AwsClients,
    policy::{Policy, StorageClass},
    signing::{MinisignSigner, SigningAuthor},
};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

const KEY: &str = "orders/orders_daily_20261120_020000.dump";
const MIB: usize = 1 << 20;

/// A request as it came.
#[derive(Clone, Debug)]
struct CapturedRequest {
    /// Method, path and query, without what the SDK adds.
    line: String,
    headers: Vec<(String, String)>,
    body: usize,
    text: String,
}

impl CapturedRequest {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// An answer: status, headers, body.
type MockResponse = (u16, Vec<(&'static str, String)>, Vec<u8>);

fn ok_response(headers: &[(&'static str, &str)]) -> MockResponse {
    (200, headers.iter().map(|(n, v)| (*n, (*v).to_owned())).collect(), Vec::new())
}

fn xml_response(text: &str) -> MockResponse {
    (200, Vec::new(), text.into())
}

fn error_response(status: u16, code: &str) -> MockResponse {
    let body = format!("<Error><Code>{code}</Code><Message>said S3</Message></Error>");
    (status, Vec::new(), body.into())
}

/// What was asked, in order.
#[derive(Clone, Default)]
struct RequestLog(Arc<Mutex<Vec<CapturedRequest>>>);

impl RequestLog {
    fn requests(&self) -> Vec<CapturedRequest> {
        self.0.lock().expect("no panic while it is held").clone()
    }

    fn request_lines(&self) -> String {
        self.requests().iter().map(|a| a.line.clone()).collect::<Vec<_>>().join("\n")
    }

    /// Requests whose line begins so, with all their headers but those of every request.
    fn render_requests(&self, begin: &str) -> String {
        let usual = ["amz-sdk-", "authorization", "host", "user-agent", "x-amz-date"];
        let usual = |n: &str| {
            usual.iter().any(|u| n.starts_with(u))
                || n == "x-amz-user-agent"
                || n == "x-amz-content-sha256"
        };
        let mut out = Vec::new();
        for asked in self.requests().iter().filter(|a| a.line.starts_with(begin)) {
            out.push(asked.line.clone());
            let mut headers: Vec<_> = asked.headers.iter().filter(|(n, _)| !usual(n)).collect();
            headers.sort();
            out.extend(headers.into_iter().map(|(n, v)| format!("  {n}: {v}")));
        }
        out.join("\n")
    }
}

fn test_config(checksum: StoreChecksum) -> S3Config {
    S3Config {
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

fn test_location() -> Location {
    Location {
        account: "111122223333".parse().expect("an account"),
        region: "eu-west-1".parse().expect("a region"),
        role: None,
    }
}

/// A store whose requests come to a closure as they go over the wire.
fn mock_backend(
    what: S3Config,
    answer: impl Fn(&CapturedRequest, usize) -> MockResponse + Send + Sync + 'static,
) -> (S3Backend, RequestLog) {
    let log = RequestLog::default();
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
        let asked = CapturedRequest {
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
    (backend_with_client(http, what), log)
}

/// A store whose requests go to this client.
fn backend_with_client(http: impl HttpClient + 'static, what: S3Config) -> S3Backend {
    let keys = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
    let base = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("eu-west-1"))
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .retry_config(RetryConfig::standard())
        .http_client(http);
    let client = AwsClients::new(base.build()).s3_client_for(
        &test_location(),
        what.endpoint.as_deref().map(|address| (address, "us-east-1")),
        None,
    );
    S3Backend::new(client, test_location(), what)
}

fn upload_options() -> UploadOptions {
    UploadOptions { run: "run-1".into(), ..UploadOptions::default() }
}

async fn upload_bytes(
    store: &S3Backend,
    put: &UploadOptions,
    bytes: usize,
) -> Result<crate::UploadReceipt, StoreError> {
    let store = BackupStore::S3(store.clone());
    let mut upload = store.start_upload(KEY, put).await?;
    let mut left = bytes;
    while left > 0 {
        let chunk = left.min(300_000);
        upload.write(vec![b'x'; chunk].into()).await?;
        left -= chunk;
    }
    upload.finish().await
}

/// The answers of a store that takes everything; `head` is what it says of the object at the end.
fn accepting_store(head: MockResponse) -> impl Fn(&CapturedRequest, usize) -> MockResponse {
    move |asked, before| match asked.line.as_str() {
        line if line.starts_with("HEAD") => {
            if before == 0 {
                error_response(404, "")
            } else {
                head.clone()
            }
        }
        line if line.ends_with("?uploads") => xml_response(
            "<InitiateMultipartUploadResult><UploadId>U</UploadId></InitiateMultipartUploadResult>",
        ),
        line if line.starts_with("POST") => xml_response(
            "<CompleteMultipartUploadResult><ETag>\"e-3\"</ETag></CompleteMultipartUploadResult>",
        ),
        _ => ok_response(&[("etag", "\"p\"")]),
    }
}

#[tokio::test]
async fn a_small_object_is_one_request_that_only_makes_new_ones() {
    let what = S3Config {
        encryption: Some(BucketEncryption::Kms),
        kms_key: Some("arn:aws:kms:eu-west-1:111122223333:key/1".into()),
        lock: Some(LockMode::Compliance),
        ..test_config(StoreChecksum::Sha256)
    };
    let sum = sums::expected_checksum(
        what.checksum,
        &[sums::PartChecksum::compute(what.checksum, b"xxx")],
        false,
    );
    let head = ok_response(&[("content-length", "3"), ("x-amz-checksum-sha256", &sum)]);
    let (store, log) = mock_backend(what, accepting_store(head));
    let put = UploadOptions {
        class: Some(StorageClass::StandardIa),
        lock_until: Some("2026-12-20T00:00:00Z".parse().expect("a time")),
        ..upload_options()
    };
    let written = upload_bytes(&store, &put, 3).await.expect("written");
    assert_eq!(written.checksum, Some(format!("sha256:{sum}")));
    insta::assert_snapshot!(log.render_requests("PUT"), @"
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
    insta::assert_snapshot!(log.request_lines(), @"
    HEAD /pg/orders/orders_daily_20261120_020000.dump
    PUT /pg/orders/orders_daily_20261120_020000.dump
    HEAD /pg/orders/orders_daily_20261120_020000.dump
    ");
}

#[tokio::test]
async fn a_store_that_knows_no_newer_checksums_is_sent_none_of_them() {
    let what = S3Config {
        endpoint: Some("http://127.0.0.1:9000".into()),
        ..test_config(StoreChecksum::Md5)
    };
    let sum = sums::expected_checksum(
        what.checksum,
        &[sums::PartChecksum::compute(what.checksum, b"xxx")],
        false,
    );
    let head = ok_response(&[("content-length", "3"), ("etag", &format!("\"{sum}\""))]);
    let (store, log) = mock_backend(what, accepting_store(head));
    let written = upload_bytes(&store, &upload_options(), 3).await.expect("written");
    assert_eq!(written.checksum, Some(format!("etag:{sum}")));
    insta::assert_snapshot!(log.render_requests("PUT"), @"
    PUT /backups/pg/orders/orders_daily_20261120_020000.dump
      content-length: 3
      content-md5: 9WGq9u8L8U1CCLtGpMyzrQ==
      content-type: application/octet-stream
      if-none-match: *
      x-amz-meta-holdfast-run: run-1
    ");
    assert!(!format!("{:?}", log.requests()).contains("crc"), "a checksum nobody asked for");
}

/// A store's word of three parts of `x`: 8, 8 and 4 MiB.
fn three_part_checksum(kind: StoreChecksum) -> String {
    let part = |n: usize| sums::PartChecksum::compute(kind, &vec![b'x'; n * MIB]);
    sums::expected_checksum(kind, &[part(8), part(8), part(4)], true)
}

#[tokio::test]
async fn a_large_object_goes_in_parts_with_a_checksum_each_and_is_made_only_where_there_is_none() {
    let what = test_config(StoreChecksum::Sha256);
    let sum = three_part_checksum(what.checksum);
    let head = ok_response(&[("content-length", "20971520"), ("x-amz-checksum-sha256", &sum)]);
    let (store, log) = mock_backend(what, accepting_store(head));
    let written = upload_bytes(&store, &upload_options(), 20 * MIB).await.expect("written");
    assert_eq!((written.bytes, written.checksum), (20 << 20, Some(format!("sha256:{sum}"))));
    insta::assert_snapshot!(log.render_requests("POST"), @"
    POST /pg/orders/orders_daily_20261120_020000.dump?uploads
      x-amz-checksum-algorithm: SHA256
      x-amz-meta-holdfast-run: run-1
    POST /pg/orders/orders_daily_20261120_020000.dump?uploadId=U
      content-length: 525
      content-type: application/xml
      if-none-match: *
    ");
    let mut parts: Vec<_> = (log.requests().iter())
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
        .requests()
        .into_iter()
        .find(|a| a.line.ends_with("uploadId=U") && a.line.starts_with("POST"));
    let complete = complete.expect("it was completed").text;
    assert_eq!(complete.matches("<ChecksumSHA256>").count(), 3, "{complete}");
}

#[tokio::test]
async fn what_lies_there_otherwise_than_it_was_sent_is_damaged() {
    for kind in [StoreChecksum::Sha256, StoreChecksum::Md5] {
        let good = three_part_checksum(kind);
        let other = sums::expected_checksum(
            kind,
            &[
                sums::PartChecksum::compute(kind, b"y"),
                sums::PartChecksum::compute(kind, b"z"),
                sums::PartChecksum::compute(kind, b""),
            ],
            true,
        );
        for (size, sum) in [("20971519", &good), ("20971520", &other)] {
            let (name, sum) = match kind {
                StoreChecksum::Sha256 => ("x-amz-checksum-sha256", sum.clone()),
                StoreChecksum::Md5 => ("etag", format!("\"{sum}\"")),
            };
            let (store, _) = mock_backend(
                test_config(kind),
                accepting_store(ok_response(&[("content-length", size), (name, &sum)])),
            );
            let error =
                upload_bytes(&store, &upload_options(), 20 * MIB).await.expect_err("it differs");
            assert_eq!(error.kind, StoreErrorKind::Damaged, "{error}");
        }
    }
}

#[tokio::test]
async fn a_name_that_was_taken_meanwhile_is_left_as_it_is_and_the_parts_are_taken_back() {
    let head = ok_response(&[("content-length", "5"), ("x-amz-meta-holdfast-run", "another")]);
    let take = accepting_store(head);
    let (store, log) = mock_backend(test_config(StoreChecksum::Sha256), move |asked, before| {
        if asked.line.starts_with("POST") && !asked.line.ends_with("?uploads") {
            return error_response(412, "PreconditionFailed");
        }
        take(asked, before)
    });
    let error = upload_bytes(&store, &upload_options(), 20 * MIB).await.expect_err("taken");
    assert_eq!(error.kind, StoreErrorKind::Exists, "{error}");
    assert!(
        log.request_lines()
            .contains("DELETE /pg/orders/orders_daily_20261120_020000.dump?uploadId=U")
    );
}

#[tokio::test]
async fn an_answer_that_was_lost_after_the_object_was_made_is_no_failure() {
    let sum = three_part_checksum(StoreChecksum::Sha256);
    let head = ok_response(&[
        ("content-length", "20971520"),
        ("x-amz-checksum-sha256", &sum),
        ("x-amz-meta-holdfast-run", "run-1"),
    ]);
    let take = accepting_store(head);
    let (store, _) = mock_backend(test_config(StoreChecksum::Sha256), move |asked, before| {
        if asked.line.starts_with("POST") && !asked.line.ends_with("?uploads") {
            return error_response(404, "NoSuchUpload");
        }
        take(asked, before)
    });
    upload_bytes(&store, &upload_options(), 20 * MIB).await.expect("it is ours and whole");
}

#[tokio::test]
async fn a_part_that_is_refused_ends_the_upload_and_takes_it_back() {
    let take = accepting_store(ok_response(&[]));
    let (store, log) = mock_backend(test_config(StoreChecksum::Sha256), move |asked, before| {
        if asked.line.contains("partNumber=2") {
            return error_response(400, "BadDigest");
        }
        take(asked, before)
    });
    let error = upload_bytes(&store, &upload_options(), 40 * MIB).await.expect_err("refused");
    assert_eq!(error.kind, StoreErrorKind::Damaged, "{error}");
    // Taken back when it is dropped, beside everything else.
    let taken_back = async {
        while !log.request_lines().contains("DELETE /pg/") {
            tokio::task::yield_now().await;
        }
    };
    let deadline = std::time::Duration::from_secs(30);
    let waited = tokio::time::timeout(deadline, taken_back).await;
    assert!(waited.is_ok(), "{}", log.request_lines());
    assert!(
        !log.request_lines().contains("POST /pg/orders/orders_daily_20261120_020000.dump?uploadId")
    );
}

#[tokio::test]
async fn an_object_that_is_there_is_refused_before_anything_is_sent() {
    let (store, log) = mock_backend(test_config(StoreChecksum::Sha256), |_, _| {
        ok_response(&[("content-length", "1")])
    });
    assert_eq!(
        upload_bytes(&store, &upload_options(), 3).await.expect_err("there").kind,
        StoreErrorKind::Exists
    );
    assert_eq!(log.requests().len(), 1);
}

#[tokio::test]
async fn a_store_that_lacks_conditions_is_asked_whether_the_name_is_free_instead() {
    let answer = |asked: &CapturedRequest, before: usize| match asked.line.as_str() {
        line if line.starts_with("HEAD") && before < 2 => error_response(404, ""),
        line if line.starts_with("HEAD") => ok_response(&[("content-length", "3")]),
        _ if asked.header("if-none-match").is_some() => error_response(501, "NotImplemented"),
        _ => ok_response(&[]),
    };
    let own =
        S3Config { endpoint: Some("http://s3.internal".into()), ..test_config(StoreChecksum::Md5) };
    let (store, log) = mock_backend(own, answer);
    upload_bytes(&store, &upload_options(), 3).await.expect("written");
    assert!(log.request_lines().contains("HEAD"));
    // AWS knows them: such an answer of it is no reason to go without.
    let (store, _) = mock_backend(test_config(StoreChecksum::Md5), answer);
    assert_eq!(
        upload_bytes(&store, &upload_options(), 3).await.expect_err("refused").kind,
        StoreErrorKind::Refused
    );
}

async fn read_object(store: &S3Backend) -> (Result<(), StoreError>, Vec<u8>, bool) {
    let (out, mut stream) = mpsc::channel(2);
    let store = BackupStore::S3(store.clone());
    let reading = tokio::spawn(async move { store.stream_object(KEY, out).await });
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
fn range_response(asked: &CapturedRequest, cut: usize) -> MockResponse {
    let range = asked.header("range").and_then(|r| r.strip_prefix("bytes=")).expect("a range");
    let (from, to) = range.split_once('-').expect("two ends");
    let (from, to): (usize, usize) = (from.parse().expect("a byte"), to.parse().expect("a byte"));
    let bytes: Vec<u8> = (from..=to).map(|i| u8::try_from(i % 251).expect("small")).collect();
    let length = bytes.len() - cut.min(bytes.len());
    (206, vec![("etag", "\"e\"".into())], bytes[..length].to_vec())
}

#[tokio::test(start_paused = true)]
async fn a_read_goes_on_where_its_connection_was_lost_and_keeps_to_one_version() {
    let (store, log) = mock_backend(test_config(StoreChecksum::Sha256), |asked, _| {
        if asked.line.starts_with("HEAD") {
            return ok_response(&[("content-length", "20971520"), ("etag", "\"e\"")]);
        }
        assert_eq!(asked.header("if-match"), Some("\"e\""));
        // The second range is cut short; what is missing is asked for again and comes.
        let second = asked.header("range") == Some("bytes=8388608-16777215");
        range_response(asked, if second { 1000 } else { 0 })
    });
    let (ended, bytes, clean) = read_object(&store).await;
    ended.expect("read");
    assert!(clean);
    assert_eq!(bytes.len(), 20 * MIB);
    assert!(bytes.iter().enumerate().all(|(i, b)| usize::from(*b) == i % 251), "in order");
    let ranges: Vec<_> =
        log.requests().iter().filter_map(|a| a.header("range").map(str::to_owned)).collect();
    assert!(ranges.contains(&"bytes=16776216-16777215".to_owned()), "{ranges:?}");
}

#[tokio::test(start_paused = true)]
async fn a_read_that_loses_every_connection_or_its_version_ends_with_an_error_in_the_stream() {
    let head = || ok_response(&[("content-length", "20971520"), ("etag", "\"e\"")]);
    let (store, log) = mock_backend(test_config(StoreChecksum::Sha256), move |asked, _| {
        if asked.line.starts_with("HEAD") { head() } else { range_response(asked, usize::MAX) }
    });
    let (ended, _, clean) = read_object(&store).await;
    assert_eq!((ended.expect_err("lost").kind, clean), (StoreErrorKind::Unreachable, false));
    assert!(log.requests().len() < 30, "the tries are bounded");

    let (store, _) = mock_backend(test_config(StoreChecksum::Sha256), move |asked, _| {
        if asked.line.starts_with("HEAD") {
            head()
        } else {
            error_response(412, "PreconditionFailed")
        }
    });
    let (ended, _, clean) = read_object(&store).await;
    assert_eq!((ended.expect_err("changed").kind, clean), (StoreErrorKind::Damaged, false));

    let (store, _) = mock_backend(test_config(StoreChecksum::Sha256), move |asked, _| {
        if asked.line.starts_with("HEAD") {
            head()
        } else {
            error_response(403, "InvalidObjectState")
        }
    });
    let (ended, _, clean) = read_object(&store).await;
    assert_eq!((ended.expect_err("archived").kind, clean), (StoreErrorKind::Archived, false));

    let (store, _) =
        mock_backend(test_config(StoreChecksum::Sha256), |_, _| error_response(404, ""));
    assert_eq!(read_object(&store).await.0.expect_err("absent").kind, StoreErrorKind::Missing);
}

#[tokio::test]
async fn a_thaw_is_asked_for_once_and_says_how_long_it_takes() {
    let table = [
        ("STANDARD_IA", None, ArchiveRestoreStatus::NotArchived),
        ("GLACIER_IR", None, ArchiveRestoreStatus::NotArchived),
        ("GLACIER", None, ArchiveRestoreStatus::Requested { hours: 5 }),
        ("DEEP_ARCHIVE", None, ArchiveRestoreStatus::Requested { hours: 12 }),
        ("GLACIER", Some("ongoing-request=\"true\""), ArchiveRestoreStatus::InProgress),
        (
            "DEEP_ARCHIVE",
            Some("ongoing-request=\"false\", expiry-date=\"Fri, 27 Nov 2026 00:00:00 GMT\""),
            ArchiveRestoreStatus::Restored,
        ),
    ];
    for (class, restore, expected) in table {
        let (store, log) = mock_backend(test_config(StoreChecksum::Sha256), move |asked, _| {
            if asked.line.starts_with("HEAD") {
                let mut said = vec![("x-amz-storage-class", class)];
                said.extend(restore.map(|r| ("x-amz-restore", r)));
                return ok_response(&said);
            }
            assert!(
                asked.text.contains("<Days>3</Days>")
                    && asked.text.contains("<Tier>Standard</Tier>")
            );
            (202, Vec::new(), Vec::new())
        });
        assert_eq!(
            store.request_archive_restore(KEY, 3).await,
            Ok(expected),
            "{class} {restore:?}"
        );
        let asked = matches!(expected, ArchiveRestoreStatus::Requested { .. });
        assert_eq!(log.request_lines().contains("POST"), asked);
    }
    let (store, _) =
        mock_backend(test_config(StoreChecksum::Sha256), |asked, _| match asked.line.as_str() {
            line if line.starts_with("HEAD") => ok_response(&[("x-amz-storage-class", "GLACIER")]),
            _ => error_response(409, "RestoreAlreadyInProgress"),
        });
    assert_eq!(store.request_archive_restore(KEY, 3).await, Ok(ArchiveRestoreStatus::InProgress));
}

#[tokio::test]
async fn a_lock_is_refused_where_the_bucket_can_keep_none() {
    let versions = |status: &str| {
        xml_response(&format!("<VersioningConfiguration>{status}</VersioningConfiguration>"))
    };
    let on = "<Status>Enabled</Status>";
    let lock = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>";
    let table = [
        (
            "",
            xml_response(lock),
            Some("the bucket's versioning is off, and a lock is of a version"),
        ),
        (
            "<Status>Suspended</Status>",
            xml_response(lock),
            Some("the bucket's versioning is off, and a lock is of a version"),
        ),
        (
            on,
            error_response(404, "ObjectLockConfigurationNotFoundError"),
            Some("the bucket has no Object Lock"),
        ),
        (on, xml_response(lock), None),
    ];
    for (status, lock, expected) in table {
        let what =
            S3Config { lock: Some(LockMode::Governance), ..test_config(StoreChecksum::Sha256) };
        let (store, _) = mock_backend(what, move |asked, _| {
            if asked.line.ends_with("?versioning") { versions(status) } else { lock.clone() }
        });
        assert_eq!(store.check_object_lock().await.err().map(|e| e.why).as_deref(), expected);
    }
    let (store, log) = mock_backend(test_config(StoreChecksum::Sha256), |_, _| {
        error_response(403, "AccessDenied")
    });
    store.check_object_lock().await.expect("nothing is asked where no lock is");
    assert_eq!(log.requests().len(), 0);
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
    keys.extend([
        beside::manifest_key(good),
        beside::checksum_key(good),
        beside::checksum_key(bare),
    ]);
    keys.sort();
    let keys: String = keys.iter().map(|k| object(k)).collect();
    let list = format!("<ListBucketResult>{keys}</ListBucketResult>");
    let first = format!(
        "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextKeyMarker>pg/x</NextKeyMarker><NextUploadIdMarker>1</NextUploadIdMarker>{}</ListMultipartUploadsResult>",
        upload(KEY, "1")
    );
    let second = format!(
        "<ListMultipartUploadsResult>{}</ListMultipartUploadsResult>",
        upload("someone-elses.bin", "2") + &upload(&beside::manifest_key(KEY), "3")
    );
    let bare_head = format!("HEAD /pg/{bare}");
    let (store, log) =
        mock_backend(test_config(StoreChecksum::Sha256), move |asked, _| {
            match asked.line.as_str() {
                line if line.contains("uploads") && line.contains("key-marker") => {
                    xml_response(&second)
                }
                line if line.contains("uploads") => xml_response(&first),
                line if line.starts_with("GET") => xml_response(&list),
                line if line == bare_head => ok_response(&[("x-amz-meta-holdfast-run", "run-0")]),
                line if line.starts_with("HEAD") && line.contains(".json") => {
                    error_response(404, "")
                }
                line if line.starts_with("DELETE") => (204, Vec::new(), Vec::new()),
                _ => ok_response(&[]),
            }
        });
    let forms = [KeyTemplate::new(DEFAULT_KEY_TEMPLATE, ".dump").expect("a form")];
    let store = BackupStore::S3(store);
    let left = store.list_orphans(&forms).await.expect("found");
    let said: Vec<_> =
        left.iter().map(|l| format!("{} {:?} {:?}", l.key, l.database, l.kind)).collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
    orders/orders_daily_20261120_020000.dump Some("orders") Upload { id: "1" }
    orders/orders_daily_20261120_020000.dump.json Some("orders") Upload { id: "3" }
    a/a_daily_20261118_020000.dump Some("a") Object
    "#);
    for one in &left {
        store.delete_orphan(one).await.expect("cleaned");
    }
    assert_eq!(left[2].kind, OrphanKind::Object);
    let deleted: Vec<_> =
        log.requests().into_iter().map(|a| a.line).filter(|l| l.starts_with("DELETE")).collect();
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
    let text = "{holdfast: 1, company: listings, id: host-1, postgres: {main: {databases: [a], storage: {directory: /b}, \
                dumps: {daily: {keep: {newest: 1}}}}}}";
    let policy = shared::policy::Policy::parse(text).unwrap_or_else(|e| panic!("{e}"));
    let now = "2026-11-21T02:00:00Z".parse().expect("a time");
    let (_, rules) = policy.postgres.first_key_value().expect("a group");
    let trust = crate::TrustPolicy::from_policy(&policy, rules, now);
    let forms = [KeyTemplate::new(DEFAULT_KEY_TEMPLATE, ".dump").expect("a form")];
    for (head, seen) in [(403, 0), (200, 1)] {
        let (store, _) = mock_backend(test_config(StoreChecksum::Sha256), move |asked, _| {
            if asked.line.starts_with("GET") {
                xml_response(list)
            } else {
                (head, Vec::new(), Vec::new())
            }
        });
        let found =
            crate::list_backups(&BackupStore::S3(store), &forms, &[], &trust).await.expect("seen");
        assert_eq!(found.len(), seen, "{head}: {found:?}");
    }
}

/// The policy of a group in that bucket, and who signs for it.
fn signing() -> (shared::policy::Policy, SigningAuthor) {
    let (signer, _) = MinisignSigner::generate().expect("random numbers");
    let text = format!(
        "{{holdfast: 1, company: listings, id: host-1, signing: {{public_keys: [{}]}}, postgres: {{main: {{databases: \
         [orders], storage: {{directory: /b}}, dumps: {{daily: {{keep: {{newest: 1}}}}}}}}}}}}",
        signer.public_key()
    );
    let policy = Policy::parse(&text).unwrap_or_else(|e| panic!("{e}"));
    let author = SigningAuthor::new(policy.owner(), Some(signer));
    (policy, author)
}

/// A listing of the first dumps of so many, each with its record, and its signature where there are any.
fn listing(count: usize, ends: &[&str]) -> MockResponse {
    let entry = |key: String| {
        format!(
            "<Contents><Key>pg/{key}</Key><Size>7</Size><ETag>e</ETag>\
             <LastModified>2026-11-20T03:00:00Z</LastModified></Contents>"
        )
    };
    let keys = (0..count).flat_map(|i| ends.iter().map(move |end| format!("{i:04}.dump{end}")));
    xml_response(&format!(
        "<ListBucketResult>{}</ListBucketResult>",
        keys.map(entry).collect::<String>()
    ))
}

/// The record of the dump that is asked for.
fn record_of(asked: &CapturedRequest) -> (String, Vec<u8>) {
    let name = asked.line.trim_start_matches("GET /pg/").trim_end_matches(".minisig");
    let mut manifest = crate::manifest::tests::sample_manifest();
    manifest.key = name.trim_end_matches(".json").to_owned();
    (name.to_owned(), manifest.to_json())
}

/// What runs ask, one after another, of a bucket with so many dumps each.
async fn asked_by_runs(
    store: &BackupStore,
    log: &RequestLog,
    count: &Mutex<usize>,
    trust: &TrustPolicy,
    dumps: &[usize],
) -> Vec<usize> {
    let cache = RecordCache::default();
    let mut asked = Vec::new();
    for dumps in dumps {
        *count.lock().expect("no panic while it is held") = *dumps;
        let before = log.requests().len();
        let found = crate::catalogue::with_cache(store, &[], &[], trust, &cache).await;
        assert_eq!(found.expect("seen").iter().filter(|b| b.is_committed()).count(), *dumps);
        asked.push(log.requests().len() - before);
    }
    asked
}

#[tokio::test]
async fn of_a_thousand_dumps_a_run_reads_what_the_runs_before_did_not() {
    let count = Arc::new(Mutex::new(0));
    let there = Arc::clone(&count);
    let (store, log) = mock_backend(test_config(StoreChecksum::Sha256), move |asked, _| {
        if asked.line.contains("list-type=2") {
            return listing(*there.lock().expect("no panic while it is held"), &["", ".json"]);
        }
        (200, Vec::new(), record_of(asked).1)
    });
    let (store, now) = (BackupStore::S3(store), "2026-11-21T02:00:00Z".parse().expect("a time"));
    let trust = TrustPolicy::owner_only("listings@host-1", now);
    // The first run, one without any change, one after one dump more, and one after most are gone.
    let asked = asked_by_runs(&store, &log, &count, &trust, &[1000, 1000, 1001, 10]).await;
    assert_eq!(asked, [1 + 1000, 1, 1 + 1, 1]);
}

/// A key of this process signs at once.
fn sign_now(author: &SigningAuthor, name: &str, bytes: &[u8]) -> Option<String> {
    author.sign(name, bytes).now_or_never().expect("at once").expect("it signs")
}

#[tokio::test]
async fn a_signature_is_read_once_and_checked_by_each_run() {
    let (policy, author) = signing();
    let count = Arc::new(Mutex::new(0));
    let there = Arc::clone(&count);
    let (store, log) = mock_backend(test_config(StoreChecksum::Sha256), move |asked, _| {
        if asked.line.contains("list-type=2") {
            let count = *there.lock().expect("no panic while it is held");
            return listing(count, &["", ".json", ".json.minisig"]);
        }
        let (name, json) = record_of(asked);
        let signature = asked.line.ends_with(".minisig");
        let signature = if signature { sign_now(&author, &name, &json) } else { None };
        (200, Vec::new(), signature.map_or(json, String::into_bytes))
    });
    let store = BackupStore::S3(store);
    let now = "2026-11-21T02:00:00Z".parse().expect("a time");
    let (_, rules) = policy.postgres.first_key_value().expect("a group");
    let trust = TrustPolicy::from_policy(&policy, rules, now);
    let asked = asked_by_runs(&store, &log, &count, &trust, &[3, 3, 4]).await;
    assert_eq!(asked, [1 + 2 * 3, 1, 1 + 2]);
    // What was read before decides nothing: another key and another time are another answer.
    let cache = RecordCache::default();
    let (other, _) = signing();
    let (_, other_rules) = other.postgres.first_key_value().expect("a group");
    let early = "2026-11-01T02:00:00Z".parse().expect("a time");
    for (trust, good) in [
        (trust.clone(), 4),
        (TrustPolicy::from_policy(&other, other_rules, now), 0),
        (TrustPolicy::from_policy(&policy, rules, early), 0),
        (trust, 4),
    ] {
        let found = crate::catalogue::with_cache(&store, &[], &[], &trust, &cache).await;
        assert_eq!(found.expect("seen").iter().filter(|b| b.is_committed()).count(), good);
    }
}

#[test]
fn addresses_and_commands_are_what_a_shell_takes() {
    let (store, _) = mock_backend(test_config(StoreChecksum::Sha256), |_, _| ok_response(&[]));
    assert_eq!(store.address(), "s3://backups/pg");
    assert_eq!(store.download_command("my db.dump"), "aws s3 cp 's3://backups/pg/my db.dump' -");
    let own = S3Config {
        endpoint: Some("http://localhost:9000".into()),
        region: Some("us-east-1".into()),
        prefix: String::new(),
        ..test_config(StoreChecksum::Md5)
    };
    let (store, _) = mock_backend(own, |_, _| ok_response(&[]));
    assert_eq!(
        store.download_command("a.dump"),
        "aws s3 cp s3://backups/a.dump - --endpoint-url http://localhost:9000 --region us-east-1"
    );
    assert_eq!(store.address(), "s3://backups");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_answers_holds_nobody_up_for_longer_than_minutes() {
    let store = backend_with_client(NeverClient::new(), test_config(StoreChecksum::Sha256));
    let began = tokio::time::Instant::now();
    let error = store.start_upload(KEY, &upload_options()).await.expect_err("no answer");
    assert_eq!(error.kind, StoreErrorKind::Unreachable, "{error}");
    assert!(began.elapsed() <= std::time::Duration::from_mins(6), "{:?}", began.elapsed());

    let began = tokio::time::Instant::now();
    // The object, and the look at whether it is there all the same.
    let error = store
        .put_if_absent(KEY, vec![0; MIB].into(), &upload_options())
        .await
        .expect_err("no answer");
    assert_eq!(error.kind, StoreErrorKind::Unreachable, "{error}");
    assert!(began.elapsed() <= std::time::Duration::from_mins(12), "{:?}", began.elapsed());
}

use super::*;
use aws_sdk_s3::{
    config::{http::HttpResponse, retry::RetryConfig},
    operation::{
        get_object::GetObjectOutput, head_object::HeadObjectOutput,
        list_objects_v2::ListObjectsV2Output as Page,
    },
    primitives::ByteStream,
    types::{self, EncodingType, ServerSideEncryption},
};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use aws_smithy_types::{DateTime, body::SdkBody};
use std::time::Duration;

/// S3 behind mocked answers, at home.
pub(super) fn mock_s3(rules: &[&Rule]) -> S3Client {
    let place = Location {
        account: "111122223333".parse().expect("an account"),
        region: "eu-west-1".parse().expect("a region"),
        role: None,
    };
    // Real pauses between tries, only shorter.
    let soon = RetryConfig::standard().with_initial_backoff(Duration::from_millis(1));
    let client =
        mock_client!(aws_sdk_s3, RuleMode::MatchAny, rules, |c| c.retry_config(soon.clone()));
    S3Client::new(client, place)
}

/// An error as S3 writes it on the wire.
pub(super) fn error_response(status: u16, code: &str) -> HttpResponse {
    let body = format!("<Error><Code>{code}</Code><Message>said S3</Message></Error>");
    HttpResponse::new(status.try_into().expect("a status"), SdkBody::from(body))
}

fn sdk_object(key: &str, size: i64) -> types::Object {
    types::Object::builder()
        .key(key)
        .size(size)
        .e_tag("\"e\"")
        .last_modified(DateTime::from_secs(1_795_000_000))
        .build()
}

async fn list_keys(s3: &S3Client) -> Result<Vec<String>, OperationError> {
    let mut objects = s3.list_objects("backups", "pg/");
    let mut keys = Vec::new();
    while let Some(object) = objects.next().await? {
        keys.push(format!(
            "{} {} {} {}",
            object.key, object.size, object.etag, object.storage_class
        ));
    }
    Ok(keys)
}

#[tokio::test]
async fn every_page_is_read_with_its_token_and_a_throttled_one_again() {
    let first = mock!(Client::list_objects_v2)
        .match_requests(|r| {
            r.continuation_token().is_none()
                && r.prefix() == Some("pg/")
                && r.encoding_type() == Some(&EncodingType::Url)
        })
        .then_output(|| {
            let page = Page::builder().is_truncated(true).next_continuation_token("2");
            let page = page.encoding_type(EncodingType::Url);
            page.contents(sdk_object("pg/a+b%2Bc%01", 1)).contents(sdk_object("pg/b", 2)).build()
        });
    let second = mock!(Client::list_objects_v2)
        .match_requests(|r| r.continuation_token() == Some("2"))
        .sequence()
        .http_status(503, None)
        .output(|| Page::builder().contents(sdk_object("pg/c%20", 3)).build())
        .build();
    let read = list_keys(&mock_s3(&[&first, &second])).await.expect("two pages");
    // The second page does not say that it is encoded, so its key is taken as it is.
    insta::assert_debug_snapshot!(read, @r#"
    [
        "pg/a b+c\u{1} 1 e STANDARD",
        "pg/b 2 e STANDARD",
        "pg/c%20 3 e STANDARD",
    ]
    "#);
    assert_eq!((first.num_calls(), second.num_calls()), (1, 2));
}

#[tokio::test]
async fn a_list_that_fails_halfway_is_an_error_and_never_a_short_list() {
    let first = mock!(Client::list_objects_v2)
        .match_requests(|r| r.continuation_token().is_none())
        .then_output(|| {
            let page = Page::builder().is_truncated(true).next_continuation_token("2");
            page.contents(sdk_object("pg/a", 1)).build()
        });
    let denied = mock!(Client::list_objects_v2)
        .match_requests(|r| r.continuation_token().is_some())
        .then_http_response(|| error_response(403, "AccessDenied"));
    let error = list_keys(&mock_s3(&[&first, &denied])).await.expect_err("no second page");
    assert_eq!(error.kind, crate::aws::OperationErrorKind::Denied);
    assert_eq!(error.to_string(), "list s3://backups/pg/: AccessDenied: said S3");

    let cut = mock!(Client::list_objects_v2)
        .then_output(|| Page::builder().is_truncated(true).contents(sdk_object("pg/a", 1)).build());
    let error = list_keys(&mock_s3(&[&cut])).await.expect_err("S3 said that there is more");
    assert!(error.message.contains("there is more"), "{error}");
}

#[tokio::test]
async fn head_tells_gone_denied_and_there_apart() {
    let missing = mock!(Client::head_object).then_http_response(|| error_response(404, ""));
    assert_eq!(mock_s3(&[&missing]).object_metadata("b", "k").await, Ok(None));

    let denied = mock!(Client::head_object).then_http_response(|| error_response(403, ""));
    let error = mock_s3(&[&denied]).object_metadata("b", "k").await.expect_err("denied");
    assert_eq!(error.kind, crate::aws::OperationErrorKind::Denied);

    let there = mock!(Client::head_object).then_output(|| {
        HeadObjectOutput::builder()
            .content_length(7)
            .e_tag("\"abc-2\"")
            .last_modified(DateTime::from_secs(1_795_000_000))
            .checksum_sha256("c29tZQ==-2")
            .server_side_encryption(ServerSideEncryption::AwsKms)
            .ssekms_key_id("arn:aws:kms:eu-west-1:111122223333:key/1")
            .build()
    });
    let head =
        mock_s3(&[&there]).object_metadata("b", "k").await.expect("an answer").expect("an object");
    assert_eq!(
        (head.object.size, head.object.etag.as_str(), head.key_encrypted),
        (7, "abc-2", true)
    );
    assert_eq!(head.checksum, None, "a checksum of parts is none of the whole");
}

fn listed_object(size: u64) -> S3Object {
    S3Object {
        key: "k".into(),
        size,
        etag: "e".into(),
        modified: jiff::Timestamp::UNIX_EPOCH,
        storage_class: "STANDARD".into(),
        restored: false,
    }
}

#[tokio::test]
async fn a_hash_is_of_the_first_bytes_and_only_of_what_was_listed() {
    let small = mock!(Client::get_object)
        .match_requests(|r| r.range().is_none() && r.if_match() == Some("\"e\""))
        .then_output(|| GetObjectOutput::builder().body(ByteStream::from_static(b"abc")).build());
    let large = mock!(Client::get_object)
        .match_requests(|r| r.range() == Some("bytes=0-2"))
        .then_output(|| GetObjectOutput::builder().body(ByteStream::from_static(b"abc")).build());
    let store = mock_s3(&[&small, &large]);
    // FIPS 180-2, appendix B.1.
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let hash = async |size, most| store.hash_object("b", &listed_object(size), most).await;
    assert_eq!(hash(3, 10).await, Ok(Some(abc.into())));
    assert_eq!(hash(9_000, 3).await, Ok(Some(abc.into())));
    assert!(hash(5, 10).await.expect_err("cut short").message.contains("3 bytes came of 5"));

    for (status, code) in [(412, "PreconditionFailed"), (404, "NoSuchKey")] {
        let moved =
            mock!(Client::get_object).then_http_response(move || error_response(status, code));
        assert_eq!(
            mock_s3(&[&moved]).hash_object("b", &listed_object(3), 10).await,
            Ok(None),
            "{code}"
        );
    }
    for (status, code) in
        [(403, "AccessDenied"), (404, "NoSuchBucket"), (403, "InvalidObjectState")]
    {
        let refused =
            mock!(Client::get_object).then_http_response(move || error_response(status, code));
        let error =
            mock_s3(&[&refused]).hash_object("b", &listed_object(3), 10).await.expect_err(code);
        assert_eq!(error.code.as_deref(), Some(code));
    }
}

#[tokio::test]
async fn a_text_that_did_not_change_is_not_read_again() {
    let unchanged = mock!(Client::get_object)
        .match_requests(|r| r.if_none_match() == Some("\"e\""))
        .then_http_response(|| error_response(304, ""));
    assert_eq!(
        mock_s3(&[&unchanged]).get_text("b", "policy.yaml", Some("\"e\""), 1 << 20).await,
        Ok(None)
    );

    let read = mock!(Client::get_object).then_output(|| {
        GetObjectOutput::builder().e_tag("\"f\"").body(ByteStream::from_static(b"text")).build()
    });
    let text = mock_s3(&[&read])
        .get_text("b", "policy.yaml", None, 1 << 20)
        .await
        .expect("read")
        .expect("new");
    assert_eq!((text.text.as_str(), text.etag.as_str()), ("text", "\"f\""));

    let binary = mock!(Client::get_object)
        .then_output(|| GetObjectOutput::builder().body(ByteStream::from_static(b"\xff")).build());
    let error =
        mock_s3(&[&binary]).get_text("b", "policy.yaml", None, 1 << 20).await.expect_err("no text");
    assert_eq!(error.to_string(), "read s3://b/policy.yaml: it is not UTF-8 text");
}

#[tokio::test]
async fn an_archived_object_that_is_restored_is_none_while_it_lasts() {
    let listed = |restore: types::RestoreStatus| {
        let cold = types::Object::builder().key("pg/cold").size(1).e_tag("\"e\"");
        cold.last_modified(DateTime::from_secs(1_795_000_000))
            .storage_class("GLACIER".into())
            .restore_status(restore)
            .build()
    };
    let status = |going: bool, until: Option<i64>| {
        let status = types::RestoreStatus::builder().is_restore_in_progress(going);
        status.set_restore_expiry_date(until.map(DateTime::from_secs)).build()
    };
    for (restore, archived) in [
        (status(false, Some(1_795_000_000)), false),
        (status(true, None), true),
        (status(false, None), true),
    ] {
        let page = mock!(Client::list_objects_v2)
            .match_requests(|r| {
                r.optional_object_attributes() == [types::OptionalObjectAttributes::RestoreStatus]
            })
            .then_output(move || Page::builder().contents(listed(restore.clone())).build());
        let found = mock_s3(&[&page]).list_objects("backups", "pg/").next().await.expect("listed");
        assert_eq!(found.expect("an object").is_archived(), archived);
    }
}

#[test]
fn an_archived_object_is_told_by_its_class() {
    let classes = ["STANDARD", "GLACIER", "GLACIER_IR", "DEEP_ARCHIVE", "STANDARD_IA"];
    let archived = classes
        .map(|class| S3Object { storage_class: class.into(), ..listed_object(1) }.is_archived());
    assert_eq!(archived, [false, true, false, true, false]);
}

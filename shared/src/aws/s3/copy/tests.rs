use super::super::tests::{error_response, mock_s3};
use super::*;
use aws_sdk_s3::{
    Client,
    operation::{
        abort_multipart_upload::AbortMultipartUploadOutput,
        complete_multipart_upload::CompleteMultipartUploadOutput,
        copy_object::CopyObjectOutput,
        create_multipart_upload::CreateMultipartUploadOutput,
        get_object::GetObjectOutput,
        get_object_tagging::GetObjectTaggingOutput,
        head_object::{HeadObjectOutput, builders::HeadObjectOutputBuilder},
        upload_part_copy::UploadPartCopyOutput,
    },
    primitives::ByteStream,
    types::{ChecksumType, CopyObjectResult, CopyPartResult, Tag},
};
use aws_smithy_mocks::{Rule, mock};
use aws_smithy_types::DateTime;

const MD5: &str = "900150983cd24fb0d6963f7d28e17f72";
const KEY: &str = "arn:aws:kms:us-east-1:444455556666:key/1";

fn copy_order(size: u64) -> CopyObject {
    CopyObject {
        source_bucket: "backups".into(),
        object: S3Object {
            key: "pg/a b+c%.dump".into(),
            size,
            etag: MD5.into(),
            modified: jiff::Timestamp::UNIX_EPOCH,
            storage_class: "STANDARD".into(),
            restored: false,
        },
        destination_bucket: "offsite".into(),
        kms_key: None,
    }
}

fn copy_rule(etag: &'static str, sha256: Option<&'static str>) -> Rule {
    mock!(Client::copy_object).then_output(move || {
        let result = CopyObjectResult::builder().e_tag(format!("\"{etag}\""));
        let result = result.set_checksum_sha256(sha256.map(str::to_owned)).build();
        CopyObjectOutput::builder().copy_object_result(result).build()
    })
}

fn head_output(size: i64, etag: &str) -> HeadObjectOutputBuilder {
    HeadObjectOutput::builder()
        .content_length(size)
        .e_tag(format!("\"{etag}\""))
        .last_modified(DateTime::from_secs(1_795_000_000))
}

fn object_at(
    bucket: &'static str,
    head: impl Fn() -> HeadObjectOutputBuilder + Send + Sync + 'static,
) -> Rule {
    mock!(Client::head_object)
        .match_requests(move |r| r.bucket() == Some(bucket))
        .then_output(move || head().build())
}

async fn run_copy(rules: &[&Rule], order: &CopyObject) -> Result<ObjectChecksum, OperationError> {
    let s3 = mock_s3(rules);
    s3.copy_object(&s3, order, None).await
}

#[tokio::test]
async fn a_copy_is_asked_for_with_its_etag_and_checksum_and_read_back() {
    let made = mock!(Client::copy_object)
        .match_requests(|r| {
            r.copy_source() == Some("backups/pg/a%20b%2Bc%25.dump")
                && r.copy_source_if_match() == Some("\"900150983cd24fb0d6963f7d28e17f72\"")
                && r.checksum_algorithm() == Some(&ChecksumAlgorithm::Sha256)
                && (r.bucket(), r.key()) == (Some("offsite"), Some("pg/a b+c%.dump"))
                && r.server_side_encryption().is_none()
        })
        .then_output(|| {
            let result = CopyObjectResult::builder().e_tag(MD5).checksum_sha256("sum").build();
            CopyObjectOutput::builder().copy_object_result(result).build()
        });
    let back = object_at("offsite", || head_output(3, MD5).checksum_sha256("sum"));
    let proof = run_copy(&[&made, &back], &copy_order(3)).await;
    assert_eq!(proof, Ok(ObjectChecksum::Sha256("sum".into())));
    assert_eq!((made.num_calls(), back.num_calls()), (1, 1));
}

#[tokio::test]
async fn a_copy_that_is_not_what_was_said_is_an_error() {
    type HeadFixture = fn() -> HeadObjectOutputBuilder;
    let table: [(&str, HeadFixture); 6] = [
        ("shorter", || head_output(2, MD5).checksum_sha256("sum")),
        ("another checksum", || head_output(3, MD5).checksum_sha256("other")),
        ("no checksum", || head_output(3, MD5)),
        ("overwritten at once", || head_output(3, "ffff").checksum_sha256("sum")),
        ("under another key", || {
            head_output(3, MD5)
                .checksum_sha256("sum")
                .ssekms_key_id("k2")
                .server_side_encryption(ServerSideEncryption::AwsKms)
        }),
        ("under no key", || head_output(3, MD5).checksum_sha256("sum")),
    ];
    let mut said = Vec::new();
    for (case, back) in table {
        let mut order = copy_order(3);
        order.kms_key = case.starts_with("under").then(|| KEY.to_owned());
        let error =
            run_copy(&[&copy_rule(MD5, Some("sum")), &object_at("offsite", back)], &order).await;
        said.push(format!("{case}: {}", error.expect_err(case).message));
    }
    let gone = mock!(Client::head_object).then_http_response(|| error_response(404, ""));
    let error = run_copy(&[&copy_rule(MD5, Some("sum")), &gone], &copy_order(3)).await;
    said.push(format!("not there: {}", error.expect_err("gone")));
    insta::assert_snapshot!(said.join("\n"), @"
    shorter: it has 2 bytes, the source 3
    another checksum: it has SHA-256 other, S3 had said SHA-256 sum
    no checksum: it has no checksum, S3 had said SHA-256 sum
    overwritten at once: its ETag is ffff, S3 had said 900150983cd24fb0d6963f7d28e17f72
    under another key: it is encrypted with k2, the policy says arn:aws:kms:us-east-1:444455556666:key/1
    under no key: it is encrypted with no key of KMS, the policy says arn:aws:kms:us-east-1:444455556666:key/1
    not there: copy s3://backups/pg/a b+c%.dump (3 bytes) to s3://offsite: S3 said that it is done, and it is not there
    ");
}

#[tokio::test]
async fn etags_prove_a_copy_where_they_are_md5s_of_the_same_bytes() {
    let other = "e1d23c0e1d23c0e1d23c0e1d23c0e1d2";
    let kms = || head_output(3, MD5).server_side_encryption(ServerSideEncryption::AwsKms);
    // The source's ETag is MD5 in the list; the copy's is another.
    let back = || object_at("offsite", move || head_output(3, other).checksum_sha256("sum"));
    let rules =
        [&copy_rule(other, Some("sum")), &back(), &object_at("backups", || head_output(3, MD5))];
    let error = run_copy(&rules, &copy_order(3)).await.expect_err("two MD5s differ");
    assert!(error.message.contains("the source's"), "{error}");

    let keyed = run_copy(
        &[&copy_rule(other, Some("sum")), &back(), &object_at("backups", kms)],
        &copy_order(3),
    )
    .await;
    assert!(keyed.is_ok(), "KMS makes the source's ETag no MD5: {keyed:?}");

    let mut of_parts = copy_order(3);
    of_parts.object.etag = format!("{MD5}-2");
    let proof = run_copy(&[&copy_rule(other, Some("sum")), &back()], &of_parts).await;
    assert!(proof.is_ok(), "an ETag of parts is no MD5, and nothing is asked: {proof:?}");

    let bare = run_copy(
        &[&copy_rule(MD5, None), &object_at("offsite", || head_output(3, MD5))],
        &copy_order(3),
    )
    .await;
    assert_eq!(bare, Ok(ObjectChecksum::Md5(MD5.into())), "a store without checksums");
}

#[tokio::test]
async fn where_nothing_else_proves_a_copy_both_sides_are_read() {
    let other = "e1d23c0e1d23c0e1d23c0e1d23c0e1d2";
    let mut of_parts = copy_order(3);
    of_parts.object.etag = format!("{MD5}-2");
    let read = |bucket: &'static str, bytes: &'static [u8]| {
        mock!(Client::get_object).match_requests(move |r| r.bucket() == Some(bucket)).then_output(
            move || GetObjectOutput::builder().body(ByteStream::from_static(bytes)).build(),
        )
    };
    let back = || object_at("offsite", move || head_output(3, other));
    let same =
        [&copy_rule(other, None), &back(), &read("backups", b"abc"), &read("offsite", b"abc")];
    let proof = run_copy(&same, &of_parts).await;
    assert!(matches!(proof, Ok(ObjectChecksum::Read(_))), "{proof:?}");
    let differs =
        [&copy_rule(other, None), &back(), &read("backups", b"abc"), &read("offsite", b"abd")];
    let error = run_copy(&differs, &of_parts).await.expect_err("other bytes");
    assert!(error.message.contains("bytes are not the source's"), "{error}");
}

#[tokio::test]
async fn a_source_that_moved_on_waits_for_the_next_run_and_a_denied_one_fails() {
    let table = [
        (412, "PreconditionFailed", OperationErrorKind::Busy),
        (404, "NoSuchKey", OperationErrorKind::Busy),
        (404, "NoSuchBucket", OperationErrorKind::Missing),
        (403, "AccessDenied", OperationErrorKind::Denied),
        (403, "ObjectNotInActiveTierError", OperationErrorKind::Archived),
        (403, "InvalidObjectState", OperationErrorKind::Archived),
        (400, "SomethingNew", OperationErrorKind::Refused),
    ];
    for (status, code, kind) in table {
        let refused =
            mock!(Client::copy_object).then_http_response(move || error_response(status, code));
        let error = run_copy(&[&refused], &copy_order(3)).await.expect_err(code);
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.operation.starts_with("copy s3://backups/pg/"), "{error}");
    }
}

#[tokio::test]
async fn a_throttled_copy_is_tried_again() {
    let busy = mock!(Client::copy_object)
        .sequence()
        .http_response(|| error_response(503, "SlowDown"))
        .times(2)
        .output(|| {
            let result = CopyObjectResult::builder().e_tag(MD5).checksum_sha256("sum").build();
            CopyObjectOutput::builder().copy_object_result(result).build()
        })
        .build();
    let back = object_at("offsite", || head_output(3, MD5).checksum_sha256("sum"));
    let proof = run_copy(&[&busy, &back], &copy_order(3)).await;
    assert!(proof.is_ok(), "{proof:?}");
    assert_eq!(busy.num_calls(), 3);
}

/// 6 GiB: 48 parts of 128 MiB.
const LARGE: u64 = 6 << 30;

fn upload_rules() -> [Rule; 3] {
    let source = object_at("backups", || {
        head_output(6 << 30, MD5)
            .content_type("application/zstd")
            .metadata("rows", "7")
            .checksum_crc64_nvme("crc")
    });
    let tags = mock!(Client::get_object_tagging).then_output(|| {
        let tag = |k: &str, v: &str| Tag::builder().key(k).value(v).build().expect("a tag");
        let tags = GetObjectTaggingOutput::builder().tag_set(tag("team", "R&D/x=y"));
        tags.tag_set(tag("a b", "")).build().expect("tags")
    });
    let create = mock!(Client::create_multipart_upload)
        .match_requests(|r| {
            r.tagging() == Some("team=R%26D%2Fx%3Dy&a%20b=")
                && r.content_type() == Some("application/zstd")
                && r.metadata().is_some_and(|m| m.get("rows").is_some_and(|v| v == "7"))
                && r.checksum_algorithm() == Some(&ChecksumAlgorithm::Crc64Nvme)
                && r.checksum_type() == Some(&ChecksumType::FullObject)
        })
        .then_output(|| CreateMultipartUploadOutput::builder().upload_id("u1").build());
    [source, tags, create]
}

fn part_output() -> UploadPartCopyOutput {
    let result = CopyPartResult::builder().e_tag("\"p\"").checksum_crc64_nvme("c").build();
    UploadPartCopyOutput::builder().copy_part_result(result).build()
}

fn abort_rule() -> Rule {
    mock!(Client::abort_multipart_upload)
        .match_requests(|r| r.upload_id() == Some("u1") && r.bucket() == Some("offsite"))
        .then_output(|| AbortMultipartUploadOutput::builder().build())
}

fn complete_rule() -> Rule {
    mock!(Client::complete_multipart_upload)
        .match_requests(|r| {
            let parts = r.multipart_upload().map_or(&[][..], |m| m.parts());
            let numbers = parts.iter().map(|p| p.part_number().unwrap_or(0));
            numbers.eq(1..=48)
                && parts
                    .iter()
                    .all(|p| p.e_tag() == Some("\"p\"") && p.checksum_crc64_nvme() == Some("c"))
                && r.mpu_object_size() == Some(6 << 30)
        })
        .then_output(|| {
            let done = CompleteMultipartUploadOutput::builder().e_tag("\"whole-48\"");
            done.checksum_crc64_nvme("crc").build()
        })
}

#[tokio::test]
async fn a_large_object_is_copied_in_parts_with_its_metadata_and_tags() {
    let [source, tags, create] = upload_rules();
    let parts = mock!(Client::upload_part_copy)
        .match_requests(|r| {
            let n = u64::try_from(r.part_number().unwrap_or(0)).unwrap_or(0);
            let range = format!("bytes={}-{}", (n - 1) << 27, (n << 27) - 1);
            r.copy_source_range() == Some(&range)
                && r.copy_source() == Some("backups/pg/a%20b%2Bc%25.dump")
                && r.copy_source_if_match().is_some()
                && r.upload_id() == Some("u1")
        })
        .then_output(part_output);
    let back = object_at("offsite", || head_output(6 << 30, "whole-48").checksum_crc64_nvme("crc"));
    let complete = complete_rule();
    let rules = [&source, &tags, &create, &parts, &complete, &back];
    assert_eq!(
        run_copy(&rules, &copy_order(LARGE)).await,
        Ok(ObjectChecksum::Crc64Nvme("crc".into()))
    );
    assert_eq!((parts.num_calls(), complete.num_calls()), (48, 1));
}

#[tokio::test]
async fn a_part_that_fails_takes_the_whole_upload_back() {
    let refusals = [
        (412, "PreconditionFailed", OperationErrorKind::Busy),
        (403, "AccessDenied", OperationErrorKind::Denied),
    ];
    for (status, code, kind) in refusals {
        let [source, tags, create] = upload_rules();
        let bad = mock!(Client::upload_part_copy)
            .match_requests(|r| r.part_number() == Some(7))
            .then_http_response(move || error_response(status, code));
        let good = mock!(Client::upload_part_copy)
            .match_requests(|r| r.part_number() != Some(7))
            .then_output(part_output);
        let (complete, abort) = (complete_rule(), abort_rule());
        let rules = [&source, &tags, &create, &bad, &good, &complete, &abort];
        let error = run_copy(&rules, &copy_order(LARGE)).await.expect_err(code);
        assert_eq!(error.kind, kind, "{error}");
        assert_eq!((abort.num_calls(), complete.num_calls()), (1, 0));
        assert!(good.num_calls() < 20, "no more parts are begun after one failed");
    }
}

#[tokio::test]
async fn an_upload_that_cannot_be_taken_back_is_named() {
    let [source, tags, create] = upload_rules();
    let bad =
        mock!(Client::upload_part_copy).then_http_response(|| error_response(403, "AccessDenied"));
    let stays = mock!(Client::abort_multipart_upload)
        .then_http_response(|| error_response(403, "AccessDenied"));
    let error = run_copy(&[&source, &tags, &create, &bad, &stays], &copy_order(LARGE)).await;
    insta::assert_snapshot!(error.expect_err("denied"), @"copy s3://backups/pg/a b+c%.dump (6442450944 bytes) to s3://offsite: AccessDenied: said S3; and its upload u1 stays there: AccessDenied: said S3");
}

#[tokio::test]
async fn a_copy_that_outlasts_the_run_is_given_up_and_waits() {
    let [source, tags, create] = upload_rules();
    let slow =
        mock!(Client::upload_part_copy).then_http_response(|| error_response(503, "SlowDown"));
    let abort = abort_rule();
    let s3 = mock_s3(&[&source, &tags, &create, &slow, &abort]);
    let error = s3.copy_object(&s3, &copy_order(LARGE), Some(Duration::ZERO)).await;
    assert_eq!(error.expect_err("no time").kind, OperationErrorKind::Busy);
    assert_eq!(abort.num_calls(), 1);
}

#[tokio::test]
async fn a_copy_in_parts_with_another_checksum_than_the_source_is_an_error() {
    let [_, tags, create] = upload_rules();
    let source = object_at("backups", || {
        head_output(6 << 30, MD5)
            .content_type("application/zstd")
            .metadata("rows", "7")
            .checksum_crc64_nvme("other")
    });
    let parts = mock!(Client::upload_part_copy).then_output(part_output);
    let back = object_at("offsite", || head_output(6 << 30, "whole-48").checksum_crc64_nvme("crc"));
    let rules = [&source, &tags, &create, &parts, &complete_rule(), &back];
    let error = run_copy(&rules, &copy_order(LARGE)).await.expect_err("it differs");
    assert!(error.message.contains("the source's other"), "{error}");
}

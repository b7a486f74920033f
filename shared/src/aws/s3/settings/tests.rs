use super::super::tests::{error_response, mock_s3};
use super::*;
use aws_sdk_s3::{
    Client,
    operation::{
        get_bucket_encryption::GetBucketEncryptionOutput,
        get_bucket_lifecycle_configuration::GetBucketLifecycleConfigurationOutput,
        get_bucket_replication::GetBucketReplicationOutput,
        get_bucket_versioning::GetBucketVersioningOutput,
    },
    types::{
        self, LifecycleRuleFilter, NoncurrentVersionExpiration, ReplicationConfiguration,
        ReplicationRuleFilter, ServerSideEncryption, ServerSideEncryptionByDefault,
        ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
    },
};
use aws_smithy_mocks::mock;

#[tokio::test]
async fn what_is_not_configured_is_none_and_no_error() {
    let encryption = mock!(Client::get_bucket_encryption).then_http_response(|| {
        error_response(404, "ServerSideEncryptionConfigurationNotFoundError")
    });
    let replication = mock!(Client::get_bucket_replication)
        .then_http_response(|| error_response(404, "ReplicationConfigurationNotFoundError"));
    let lifecycle = mock!(Client::get_bucket_lifecycle_configuration)
        .then_http_response(|| error_response(404, "NoSuchLifecycleConfiguration"));
    let versioning = mock!(Client::get_bucket_versioning)
        .then_output(|| GetBucketVersioningOutput::builder().build());
    let s3 = mock_s3(&[&encryption, &replication, &lifecycle, &versioning]);
    assert_eq!(s3.default_encryption("b").await, Ok(None));
    assert_eq!(s3.replication_rules("b").await, Ok(vec![]));
    assert_eq!(s3.noncurrent_expirations("b").await, Ok(vec![]));
    assert_eq!(s3.bucket_versioning("b").await, Ok(BucketVersioning::Off));
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_an_error_for_every_setting() {
    let rules = [
        mock!(Client::get_bucket_encryption)
            .then_http_response(|| error_response(404, "NoSuchBucket")),
        mock!(Client::get_bucket_replication)
            .then_http_response(|| error_response(404, "NoSuchBucket")),
        mock!(Client::get_bucket_lifecycle_configuration)
            .then_http_response(|| error_response(404, "NoSuchBucket")),
        mock!(Client::get_bucket_versioning)
            .then_http_response(|| error_response(404, "NoSuchBucket")),
    ];
    let s3 = mock_s3(&rules.iter().collect::<Vec<_>>());
    let errors = [
        s3.default_encryption("b").await.map(drop),
        s3.replication_rules("b").await.map(drop),
        s3.noncurrent_expirations("b").await.map(drop),
        s3.bucket_versioning("b").await.map(drop),
    ];
    for error in errors {
        assert_eq!(error.expect_err("no bucket").kind, crate::aws::OperationErrorKind::Missing);
    }
}

#[tokio::test]
async fn settings_are_read_as_they_are_set() {
    let versioning = mock!(Client::get_bucket_versioning).then_output(|| {
        let status = BucketVersioningStatus::Suspended;
        GetBucketVersioningOutput::builder().status(status).build()
    });
    let encryption = mock!(Client::get_bucket_encryption).then_output(|| {
        let by = ServerSideEncryptionByDefault::builder()
            .sse_algorithm(ServerSideEncryption::AwsKms)
            .kms_master_key_id("key");
        let rule = ServerSideEncryptionRule::builder()
            .apply_server_side_encryption_by_default(by.build().expect("an algorithm"));
        let rules = ServerSideEncryptionConfiguration::builder().rules(rule.build());
        GetBucketEncryptionOutput::builder()
            .server_side_encryption_configuration(rules.build().expect("rules"))
            .build()
    });
    let lifecycle = mock!(Client::get_bucket_lifecycle_configuration).then_output(|| {
        let rule = |id: &str, days, status, prefix: &str| {
            LifecycleRule::builder()
                .id(id)
                .status(status)
                .filter(LifecycleRuleFilter::builder().prefix(prefix).build())
                .noncurrent_version_expiration(
                    NoncurrentVersionExpiration::builder().noncurrent_days(days).build(),
                )
                .build()
                .expect("a rule")
        };
        GetBucketLifecycleConfigurationOutput::builder()
            .rules(rule("all", 90, ExpirationStatus::Enabled, ""))
            .rules(rule("tmp", 1, ExpirationStatus::Enabled, "tmp/"))
            .rules(rule("old", 30, ExpirationStatus::Disabled, ""))
            .build()
    });
    let replication = mock!(Client::get_bucket_replication).then_output(|| {
        let to = types::Destination::builder().bucket("arn:aws:s3:::media-replica");
        let metrics = types::Metrics::builder().status(types::MetricsStatus::Enabled).build();
        let rule = types::ReplicationRule::builder()
            .id("all")
            .status(ReplicationRuleStatus::Enabled)
            .filter(ReplicationRuleFilter::builder().prefix("img/").build())
            .destination(to.metrics(metrics.expect("metrics")).build().expect("a destination"))
            .build()
            .expect("a rule");
        let rules = ReplicationConfiguration::builder().role("arn").rules(rule);
        GetBucketReplicationOutput::builder()
            .replication_configuration(rules.build().expect("rules"))
            .build()
    });
    let s3 = mock_s3(&[&versioning, &encryption, &lifecycle, &replication]);
    assert_eq!(s3.bucket_versioning("b").await, Ok(BucketVersioning::Suspended));
    insta::assert_debug_snapshot!(s3.default_encryption("b").await, @r#"
    Ok(
        Some(
            DefaultEncryption {
                algorithm: "aws:kms",
                kms_key: Some(
                    "key",
                ),
            },
        ),
    )
    "#);
    insta::assert_debug_snapshot!(s3.noncurrent_expirations("b").await, @r#"
    Ok(
        [
            NoncurrentExpirationRule {
                id: "all",
                days: 90,
                covers_bucket: true,
            },
            NoncurrentExpirationRule {
                id: "tmp",
                days: 1,
                covers_bucket: false,
            },
        ],
    )
    "#);
    insta::assert_debug_snapshot!(s3.replication_rules("b").await, @r#"
    Ok(
        [
            ReplicationRule {
                id: "all",
                enabled: true,
                to: "media-replica",
                covers_bucket: false,
                prefix: "img/",
                tagged: false,
                metrics: true,
                rtc_minutes: None,
            },
        ],
    )
    "#);
}

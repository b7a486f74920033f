use super::*;
use aws_sdk_s3::{
    Client,
    config::{http::HttpResponse, retry::RetryConfig},
    operation::{
        get_bucket_versioning::GetBucketVersioningOutput, get_object::GetObjectOutput,
        list_objects_v2::ListObjectsV2Output,
    },
    primitives::ByteStream,
    types::BucketVersioningStatus,
};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use aws_smithy_types::{DateTime, body::SdkBody};
use shared::{aws::AwsClients, run::Deadline};
use std::{collections::BTreeMap, time::Duration};

const POLICY: &str = r#"
holdfast: 1
company: lomash-wood
home: { account: "111122223333", region: eu-west-1 }
databases:
  fleet: { select: { identifiers: [orders, users] }, replica_max_lag: 1m }
  reports: { select: { identifiers: [reports-read] }, replica_max_lag: 1h }
  unwatched: { select: { identifiers: [audit] } }
"#;

fn mock_s3(rules: &[&Rule]) -> S3Client {
    let place = Location {
        account: "111122223333".parse().expect("an account"),
        region: "eu-west-1".parse().expect("a region"),
        role: None,
    };
    let retry = RetryConfig::standard().with_max_attempts(3);
    S3Client::new(
        mock_client!(aws_sdk_s3, RuleMode::MatchAny, rules, |c| c.retry_config(retry.clone())),
        place,
    )
}

fn error_response(status: u16, code: &str) -> HttpResponse {
    let body =
        SdkBody::from(format!("<Error><Code>{code}</Code><Message>said S3</Message></Error>"));
    HttpResponse::new(status.try_into().expect("a status"), body)
}

/// A bucket of objects of three bytes, ten hours old.
fn list_rule(bucket: &'static str, keys: impl Iterator<Item = String>) -> Rule {
    let keys: Vec<_> = keys.collect();
    mock!(Client::list_objects_v2).match_requests(move |r| r.bucket() == Some(bucket)).then_output(
        move || {
            let objects = keys.iter().map(|k| {
                let object = aws_sdk_s3::types::Object::builder().key(k).size(3).e_tag("\"e\"");
                object.last_modified(DateTime::from_secs(1_795_138_200)).build()
            });
            ListObjectsV2Output::builder().set_contents(Some(objects.collect())).build()
        },
    )
}

fn read_rule(bucket: &'static str, key: &'static str, bytes: &'static [u8]) -> Rule {
    mock!(Client::get_object)
        .match_requests(move |r| (r.bucket(), r.key()) == (Some(bucket), Some(key)))
        .then_output(move || {
            GetObjectOutput::builder().body(ByteStream::from_static(bytes)).build()
        })
}

fn settings_rules() -> [Rule; 2] {
    let versioning = mock!(Client::get_bucket_versioning).then_output(|| {
        GetBucketVersioningOutput::builder().status(BucketVersioningStatus::Enabled).build()
    });
    let rules = mock!(Client::get_bucket_replication)
        .then_http_response(|| error_response(404, "ReplicationConfigurationNotFoundError"));
    [versioning, rules]
}

async fn compare_mock(
    budget: Deadline,
    sample: u32,
    rules: &[&Rule],
) -> ObservedResult<ReplicatedBucket> {
    let version = aws_config::BehaviorVersion::v2026_01_12();
    let aws = AwsClients::new(aws_config::SdkConfig::builder().behavior_version(version).build());
    let policy = Policy::parse(POLICY).expect("a policy");
    let now = "2026-11-20T12:00:00Z".parse().expect("now");
    let world = RunContext {
        aws: &aws,
        policy: &policy,
        now,
        deadline: budget,
        run_id: "r".into(),
        dry_run: false,
        on_host: false,
        failure_topic: None,
        reports_topic: None,
        user: None,
    };
    let [versioning, replication] = settings_rules();
    let mut all = vec![&versioning, &replication];
    all.extend(rules);
    let s3 = mock_s3(&all);
    let comparison = ListingComparison::new(now, SignedDuration::from_hours(1), sample);
    compare_bucket(&world, ("media", &s3), ("media-replica", &s3), &[""], comparison).await
}

fn key_names(names: &[&str]) -> impl Iterator<Item = String> {
    names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>().into_iter()
}

#[tokio::test]
async fn both_sides_are_listed_and_the_sample_is_read_on_both() {
    let rules = [
        list_rule("media", key_names(&["a", "b", "c", "d", "new"])),
        list_rule("media-replica", key_names(&["a", "b", "c", "d", "old"])),
        read_rule("media", "a", b"abc"),
        read_rule("media-replica", "a", b"abc"),
        read_rule("media", "b", b"abc"),
        read_rule("media-replica", "b", b"abd"),
        read_rule("media", "c", b"abc"),
        mock!(Client::get_object)
            .match_requests(|r| (r.bucket(), r.key()) == (Some("media-replica"), Some("c")))
            .then_http_response(|| error_response(403, "InvalidObjectState")),
        mock!(Client::get_object)
            .match_requests(|r| (r.bucket(), r.key()) == (Some("media"), Some("d")))
            .then_http_response(|| error_response(412, "PreconditionFailed")),
        mock!(Client::get_object)
            .match_requests(|r| (r.bucket(), r.key()) == (Some("media-replica"), Some("d")))
            .then_http_response(|| error_response(403, "AccessDenied")),
    ];
    let replicated =
        compare_mock(Deadline::unlimited(), 10, &rules.iter().collect::<Vec<_>>()).await;
    let replicated = replicated.expect("both sides answer");
    let c = &replicated.comparison;
    assert_eq!((c.source.objects, c.replica.bytes, c.missing, c.extra), (5, 15, 1, 1));
    let sampled: BTreeMap<_, _> = replicated.sampled.into_iter().collect();
    insta::assert_debug_snapshot!(sampled, @r#"
    {
        "a": Same,
        "b": Differs,
        "c": Inconclusive,
        "d": Unreadable(
            "read s3://media-replica/d: AccessDenied: said S3",
            "allow this action in the role that made the call",
        ),
    }
    "#);
    assert_eq!(replicated.stopped_at_key, None);
}

#[tokio::test]
async fn a_replica_that_can_not_be_listed_is_an_error_and_no_comparison() {
    let source = list_rule("media", key_names(&["a"]));
    for (status, code) in [(404, "NoSuchBucket"), (403, "AccessDenied")] {
        let refused = mock!(Client::list_objects_v2)
            .match_requests(|r| r.bucket() == Some("media-replica"))
            .then_http_response(move || error_response(status, code));
        let error =
            compare_mock(Deadline::unlimited(), 0, &[&source, &refused]).await.expect_err(code);
        assert_eq!(error.to_string(), format!("list s3://media-replica/: {code}: said S3"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttled_list_is_asked_again() {
    let source = mock!(Client::list_objects_v2)
        .match_requests(|r| r.bucket() == Some("media"))
        .sequence()
        .http_response(|| error_response(503, "SlowDown"))
        .output(|| ListObjectsV2Output::builder().build())
        .build();
    let replica = list_rule("media-replica", key_names(&[]));
    let replicated = compare_mock(Deadline::unlimited(), 0, &[&source, &replica]).await;
    assert_eq!(replicated.expect("an answer").comparison.source.objects, 0);
    assert_eq!(source.num_calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_comparison_without_time_says_where_it_stopped() {
    let many = || (0..3000).map(|n| format!("{n:04}"));
    let rules = [list_rule("media", many()), list_rule("media-replica", many())];
    let rules: Vec<_> = rules.iter().collect();
    let replicated = compare_mock(Deadline::after(Duration::ZERO), 0, &rules).await;
    assert_eq!(replicated.expect("an answer").stopped_at_key.as_deref(), Some("0999"));
}

fn database(id: &str, replica_of: Option<&str>) -> RdsDatabase {
    RdsDatabase {
        id: id.into(),
        family: DatabaseKind::Instance,
        resource_id: String::new(),
        engine: "postgres".into(),
        status: "available".into(),
        retention_days: 7,
        window: String::new(),
        latest_restorable: None,
        earliest_restorable: None,
        created: None,
        multi_az: false,
        encrypted: true,
        log_exports: vec![],
        replica_of: replica_of.map(str::to_owned),
        tags: BTreeMap::new(),
    }
}

#[test]
fn a_replica_is_watched_by_its_own_group_or_by_that_of_its_primary() {
    let policy = Policy::parse(POLICY).expect("a policy");
    let far = "arn:aws:rds:us-east-1:111122223333:db:orders";
    let databases = [
        database("orders", None),
        database("audit", None),
        database("orders-read", Some("orders")),
        database("reports-read", Some("orders")),
        database("audit-read", Some("audit")),
        database("from-afar", Some(far)),
        RdsDatabase { family: DatabaseKind::Cluster, ..database("aurora", Some("orders")) },
    ];
    let watched = monitored_replicas(&policy, &databases);
    let watched: Vec<_> = watched.iter().map(|(g, d)| format!("{} by {g}", d.id)).collect();
    assert_eq!(watched, ["orders-read by fleet", "reports-read by reports"]);
}

use super::*;
use aws_sdk_s3::{
    Client,
    config::{http::HttpResponse, retry::RetryConfig},
    operation::{
        copy_object::CopyObjectOutput, head_object::HeadObjectOutput,
        list_objects_v2::ListObjectsV2Output,
    },
    types::CopyObjectResult,
};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use aws_smithy_types::{DateTime, body::SdkBody};
use shared::{aws::AwsClients, run::Deadline};
use std::time::Duration;

const POLICY: &str = r#"
holdfast: 1
company: lomash-wood
home: { account: "111122223333", region: eu-west-1 }
destinations:
  virginia: { region: us-east-1, bucket: offsite }
  ohio: { region: us-east-2, bucket: elsewhere }
  azure: { azure: { account: a, container: c } }
buckets:
  backups:
    bucket: backups
    copies:
      - { to: virginia, prefixes: [pg/, redis/], schedule: { cron: "0 4 * * 0" }, on_object_created: true, max_age: 8d }
      - { to: azure, on_object_created: true }
  media:
    bucket: media
    region: eu-west-2
    copies: [{ to: ohio }]
"#;

/// Friday; the sweep of Sunday, 15 November, 04:00 was the last.
const NOW: &str = "2026-11-20T12:00:00Z";
const SUNDAY: i64 = 1_794_715_200;

struct OffsiteFixture {
    aws: AwsClients,
    policy: Policy,
}

impl OffsiteFixture {
    fn new() -> Self {
        let version = aws_config::BehaviorVersion::v2026_01_12();
        let config = aws_config::SdkConfig::builder().behavior_version(version).build();
        Self { aws: AwsClients::new(config), policy: Policy::parse(POLICY).expect("a policy") }
    }

    fn run_context(&self, budget: Deadline, dry_run: bool) -> RunContext<'_> {
        RunContext {
            aws: &self.aws,
            policy: &self.policy,
            now: NOW.parse().expect("now"),
            deadline: budget,
            run_id: "r".into(),
            dry_run,
            on_host: false,
            failure_topic: None,
            reports_topic: None,
            user: None,
        }
    }
}

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

/// A bucket that lists these keys, each of three bytes and written at a time.
fn list_rule(bucket: &'static str, keys: Vec<String>, at: i64) -> Rule {
    mock!(Client::list_objects_v2)
        .match_requests(move |r| r.bucket() == Some(bucket))
        .then_compute_output(move |r| {
            let mine = keys.iter().filter(|k| k.starts_with(r.prefix().unwrap_or_default()));
            let objects = mine.map(|k| {
                let object = aws_sdk_s3::types::Object::builder().key(k).size(3).e_tag("\"e\"");
                object.last_modified(DateTime::from_secs(at)).build()
            });
            ListObjectsV2Output::builder().set_contents(Some(objects.collect())).build()
        })
}

fn key_names(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

fn copy_rule() -> Rule {
    mock!(Client::copy_object).then_output(|| {
        let result = CopyObjectResult::builder().e_tag("e").checksum_sha256("sum").build();
        CopyObjectOutput::builder().copy_object_result(result).build()
    })
}

fn head_rule(bucket: &'static str) -> Rule {
    mock!(Client::head_object).match_requests(move |r| r.bucket() == Some(bucket)).then_output(
        || {
            HeadObjectOutput::builder()
                .content_length(3)
                .e_tag("e")
                .checksum_sha256("sum")
                .last_modified(DateTime::from_secs(SUNDAY))
                .build()
        },
    )
}

/// The task of the group `backups`, with what a run of it says.
async fn sync_mock(world: &RunContext<'_>, rules: &[&Rule]) -> (RunReport, CopyTotals) {
    let tasks = copy_tasks(world, &RunRequest::full_run());
    let (task, _, _) = &tasks[0];
    let mut report = RunReport::new("offsite", world);
    let mut done = CopyTotals::default();
    let s3 = mock_s3(rules);
    sync_bucket(world, task, &s3, &s3, &mut done, &mut report).await;
    (report, done)
}

fn report_lines(report: &RunReport) -> String {
    let outcomes = report.outcomes.iter().map(|o| format!("{}: {:?}", o.action, o.result));
    outcomes.chain(report.findings.iter().map(ToString::to_string)).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_request_is_answered_by_the_copies_that_it_speaks_of() {
    let ground = OffsiteFixture::new();
    let world = ground.run_context(Deadline::unlimited(), false);
    let of = |bucket: &str, key: &str| RunRequest {
        object: Some((bucket.into(), key.into())),
        ..RunRequest::full_run()
    };
    let only = |name: &str| RunRequest { assets: vec![name.into()], ..RunRequest::full_run() };
    let table = [
        ("a look", RunRequest::full_run()),
        ("an object below a prefix", of("backups", "pg/a.dump")),
        ("an object below none", of("backups", "k8s/a.yaml")),
        ("an object of a bucket without on_object_created", of("media", "a.png")),
        ("an object of a bucket that is not in the policy", of("logs", "pg/a")),
        ("one group", only("media")),
        ("something else", only("orders")),
    ];
    let found = table.map(|(case, request)| {
        let tasks = copy_tasks(&world, &request);
        let tasks = tasks.iter().map(|(t, home, there)| {
            let until = t.until.map_or("never".into(), |u| u.to_string());
            format!("{} ({home}) to {} ({there}) until {until}", t.from, t.to)
        });
        format!("{case}: {}", tasks.collect::<Vec<_>>().join(", "))
    });
    insta::assert_snapshot!(found.join("\n"), @"
    a look: backups (eu-west-1 in 111122223333) to offsite (us-east-1 in 111122223333) until 2026-11-15T04:00:00Z, media (eu-west-2 in 111122223333) to elsewhere (us-east-2 in 111122223333) until 9999-12-30T22:00:00.999999999Z
    an object below a prefix: backups (eu-west-1 in 111122223333) to offsite (us-east-1 in 111122223333) until 9999-12-30T22:00:00.999999999Z
    an object below none: 
    an object of a bucket without on_object_created: 
    an object of a bucket that is not in the policy: 
    one group: media (eu-west-2 in 111122223333) to elsewhere (us-east-2 in 111122223333) until 9999-12-30T22:00:00.999999999Z
    something else:
    ");
}

#[tokio::test]
async fn what_was_there_at_the_slot_is_copied_and_what_came_later_waits() {
    let ground = OffsiteFixture::new();
    let world = ground.run_context(Deadline::unlimited(), false);
    let there_is =
        list_rule("backups", key_names(&["k8s/x", "pg/a", "pg/b", "redis/r"]), SUNDAY - 60);
    let has = list_rule("offsite", key_names(&["pg/a", "pg/z"]), SUNDAY);
    let (copy, back) = (copy_rule(), head_rule("offsite"));
    let (report, done) = sync_mock(&world, &[&there_is, &has, &copy, &back]).await;
    insta::assert_snapshot!(report_lines(&report), @r#"
    copy s3://backups/pg/b (3 bytes) to s3://offsite: Done("3 bytes, read back with SHA-256 sum")
    copy s3://backups/redis/r (3 bytes) to s3://offsite: Done("3 bytes, read back with SHA-256 sum")
    "#);
    assert_eq!((done.objects, done.bytes, copy.num_calls()), (2, 6, 2));

    let later = list_rule("backups", key_names(&["pg/a", "pg/b", "redis/r"]), SUNDAY + 60);
    let (report, done) = sync_mock(&world, &[&later, &has, &copy, &back]).await;
    assert_eq!((report_lines(&report).as_str(), done.objects), ("", 0));
}

#[tokio::test]
async fn a_dry_run_copies_nothing_and_says_what_it_would() {
    let ground = OffsiteFixture::new();
    let world = ground.run_context(Deadline::unlimited(), true);
    let there_is = list_rule("backups", key_names(&["pg/a", "redis/r"]), SUNDAY - 60);
    let has = list_rule("offsite", vec![], SUNDAY);
    let copy = copy_rule();
    let (report, _) = sync_mock(&world, &[&there_is, &has, &copy]).await;
    assert_eq!(copy.num_calls(), 0);
    assert_eq!(report.count_outcomes(|r| *r == shared::report::StepResult::Planned), 2);
}

#[tokio::test]
async fn what_no_try_can_copy_is_a_finding_and_no_failure_of_each_sweep() {
    let ground = OffsiteFixture::new();
    let world = ground.run_context(Deadline::unlimited(), false);
    let there_is =
        list_rule("backups", key_names(&["pg/cold", "pg/sse-c", "redis/r"]), SUNDAY - 60);
    let has = list_rule("offsite", vec![], SUNDAY);
    let of = |key: &'static str| {
        move |r: &aws_sdk_s3::operation::copy_object::CopyObjectInput| {
            r.key().is_some_and(|k| k == key)
        }
    };
    // An archive tier of Intelligent-Tiering does not show in a list, nor does a key of the customer's own.
    let cold = mock!(Client::copy_object)
        .match_requests(of("pg/cold"))
        .then_http_response(|| error_response(403, "InvalidObjectState"));
    let keyed = mock!(Client::copy_object)
        .match_requests(of("pg/sse-c"))
        .then_http_response(|| error_response(400, "InvalidRequest"));
    let read =
        mock!(Client::get_object).then_http_response(|| error_response(400, "InvalidRequest"));
    let copy = mock!(Client::copy_object).match_requests(of("redis/r")).then_output(|| {
        let result = CopyObjectResult::builder().e_tag("e").checksum_sha256("sum").build();
        CopyObjectOutput::builder().copy_object_result(result).build()
    });
    let there = mock!(Client::head_object).then_output(|| {
        let head = HeadObjectOutput::builder().content_length(3).e_tag("\"e\"");
        head.checksum_sha256("sum").last_modified(DateTime::from_secs(SUNDAY)).build()
    });
    let (report, done) =
        sync_mock(&world, &[&there_is, &has, &cold, &keyed, &read, &copy, &there]).await;
    assert_eq!(done.objects, 1, "{}", report_lines(&report));
    assert_eq!(report.count_outcomes(|r| matches!(r, shared::report::StepResult::Failed(_))), 0);
    let found: Vec<_> = report.findings.iter().map(|f| (f.severity, f.code.as_str())).collect();
    let warning = shared::plan::Severity::Warning;
    assert_eq!(
        found,
        [(warning, "object-archived"), (warning, "object-customer-key")],
        "{}",
        report_lines(&report)
    );
    assert!(report_lines(&report).contains("such as \"pg/sse-c\""), "{}", report_lines(&report));
}

#[tokio::test]
async fn a_prefix_without_any_object_and_an_object_too_long_without_a_copy_are_critical() {
    let ground = OffsiteFixture::new();
    let world = ground.run_context(Deadline::unlimited(), false);
    let there_is = list_rule("backups", key_names(&["pg/a"]), SUNDAY - 10 * 86_400);
    let has = list_rule("offsite", vec![], SUNDAY);
    let denied =
        mock!(Client::copy_object).then_http_response(|| error_response(403, "AccessDenied"));
    let (report, done) = sync_mock(&world, &[&there_is, &has, &denied]).await;
    insta::assert_snapshot!(report_lines(&report), @r#"
    copy s3://backups/pg/a (3 bytes) to s3://offsite: Failed("copy s3://backups/pg/a (3 bytes) to s3://offsite: AccessDenied: said S3; allow this action in the role that made the call")
    critical backups no-objects: the policy copies s3://backups/redis/ and there is no object; check what writes there, or the prefix in the policy
    critical backups offsite-copy-stale: "pg/a" has no copy in offsite and is 15d 8h old; 8d is allowed; see what became of its copy, and whether `schedule` fits max_age
    "#);
    assert_eq!(done.objects, 0);
}

#[tokio::test]
async fn a_bucket_that_can_not_be_listed_is_one_finding_and_nothing_is_concluded() {
    let ground = OffsiteFixture::new();
    let world = ground.run_context(Deadline::unlimited(), false);
    let there_is = list_rule("backups", key_names(&["pg/a"]), SUNDAY - 10 * 86_400);
    let gone = mock!(Client::list_objects_v2)
        .match_requests(|r| r.bucket() == Some("offsite"))
        .then_http_response(|| error_response(404, "NoSuchBucket"));
    let copy = copy_rule();
    let (report, _) = sync_mock(&world, &[&there_is, &gone, &copy]).await;
    insta::assert_snapshot!(report_lines(&report), @"critical backups observation-failed: list s3://offsite/pg/: NoSuchBucket: said S3; check the bucket's name and its account in the policy");
    assert_eq!(copy.num_calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_list_and_a_throttled_copy_are_tried_again() {
    let ground = OffsiteFixture::new();
    let world = ground.run_context(Deadline::unlimited(), false);
    let there_is = list_rule("backups", key_names(&["pg/a", "redis/r"]), SUNDAY - 60);
    let has = mock!(Client::list_objects_v2)
        .match_requests(|r| r.bucket() == Some("offsite"))
        .sequence()
        .http_response(|| error_response(503, "SlowDown"))
        .output(|| ListObjectsV2Output::builder().build())
        .repeatedly()
        .build();
    let copy = mock!(Client::copy_object)
        .sequence()
        .http_status(503, None)
        .output(|| {
            let result = CopyObjectResult::builder().e_tag("e").checksum_sha256("sum").build();
            CopyObjectOutput::builder().copy_object_result(result).build()
        })
        .repeatedly()
        .build();
    let back = head_rule("offsite");
    let (_, done) = sync_mock(&world, &[&there_is, &has, &copy, &back]).await;
    assert_eq!((done.objects, copy.num_calls()), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn a_run_without_time_left_names_where_it_stopped() {
    let ground = OffsiteFixture::new();
    let world = ground.run_context(Deadline::after(Duration::ZERO), false);
    let many = (0..1500).map(|n| format!("pg/{n:04}")).collect();
    let there_is = list_rule("backups", many, SUNDAY - 60);
    let has = list_rule("offsite", vec![], SUNDAY);
    let copy = copy_rule();
    let (report, _) = sync_mock(&world, &[&there_is, &has, &copy]).await;
    assert_eq!(report.count_outcomes(|r| *r == shared::report::StepResult::Unfinished), 1000);
    assert_eq!(copy.num_calls(), 0);
    insta::assert_snapshot!(report.findings[0], @r#"critical backups run-unfinished: the sweep to offsite did not come to its end: its time was over at "pg/0999"; the next run goes on; when it never ends, run it by hand or give the function more time"#);
}

#[tokio::test]
async fn when_every_copy_of_a_page_fails_the_rest_is_not_tried() {
    let ground = OffsiteFixture::new();
    let world = ground.run_context(Deadline::unlimited(), false);
    let many = (0..1500).map(|n| format!("pg/{n:04}")).collect();
    let there_is = list_rule("backups", many, SUNDAY - 60);
    let has = list_rule("offsite", vec![], SUNDAY);
    let denied =
        mock!(Client::copy_object).then_http_response(|| error_response(403, "AccessDenied"));
    let (report, mut done) = sync_mock(&world, &[&there_is, &has, &denied]).await;
    assert_eq!(denied.num_calls(), 1000);
    assert_eq!(report.outcomes.len(), 200, "the report names some");
    let rest: Vec<_> = done.summarized_outcomes().map(|o| o.action).collect();
    assert_eq!(rest, ["copy 800 objects more"], "and counts the others");
    insta::assert_snapshot!(report.findings[0], @r#"critical backups run-unfinished: the sweep to offsite did not come to its end: every copy failed up to "pg/0999", as the failures say; the next run goes on; when it never ends, run it by hand or give the function more time"#);
}

#[tokio::test]
async fn an_event_copies_its_object_once_and_at_once() {
    let ground = OffsiteFixture::new();
    let world = ground.run_context(Deadline::unlimited(), false);
    let request =
        RunRequest { object: Some(("backups".into(), "pg/a".into())), ..RunRequest::full_run() };
    let tasks = copy_tasks(&world, &request);
    let (task, _, _) = &tasks[0];
    let run = async |rules: &[&Rule]| {
        let (mut report, mut done) = (RunReport::new("offsite", &world), CopyTotals::default());
        let s3 = mock_s3(rules);
        copy_object(&world, task, "pg/a", &s3, &s3, &mut done, &mut report).await;
        (report_lines(&report), done.objects)
    };
    let copy = copy_rule();
    let source = head_rule("backups");
    let copied = mock!(Client::head_object)
        .match_requests(|r| r.bucket() == Some("offsite"))
        .sequence()
        .http_response(|| error_response(404, ""))
        .output(|| {
            let head = HeadObjectOutput::builder().content_length(3).e_tag("e");
            head.checksum_sha256("sum").last_modified(DateTime::from_secs(SUNDAY)).build()
        })
        .repeatedly()
        .build();
    assert_eq!(run(&[&source, &copied, &copy]).await.1, 1);
    assert_eq!(run(&[&source, &copied, &copy]).await, (String::new(), 0), "the event came twice");
    assert_eq!(copy.num_calls(), 1);

    let gone = mock!(Client::head_object).then_http_response(|| error_response(404, ""));
    assert_eq!(run(&[&gone, &copy]).await, (String::new(), 0), "deleted since");
    let denied = mock!(Client::head_object).then_http_response(|| error_response(403, ""));
    insta::assert_snapshot!(run(&[&denied, &copy]).await.0, @"critical backups observation-failed: look at s3://backups/pg/a: 403 Forbidden; allow this action in the role that made the call");
}

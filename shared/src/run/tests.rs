use super::*;
use crate::{
    aws::{
        OperationError,
        cloudwatch::{MetricAlarm, TreatMissingData},
        wire::{self, CannedResponse, RecordedRequest},
    },
    model::{parse_policy, parse_time},
};
use std::{
    cell::{Cell, RefCell},
    sync::{Arc, Mutex},
};

const POLICY: &str = r#"
holdfast: 1
company: acme
home: { account: "111122223333", region: eu-west-1 }
databases:
  fleet:
    select: { include: ["acme-*"] }
    snapshots: { daily: { keep: { for: 35d } } }
alarms:
  acme-backup-age: { metric: backup-age, above: 25h }
  acme-backup-failing: { metric: failing-assets, of: fleet, above: "0" }
"#;

const TOPIC: &str = "arn:aws:sns:eu-west-1:111122223333:holdfast";

fn run_context<'a>(aws: &'a AwsClients, policy: &'a Policy) -> RunContext<'a> {
    RunContext {
        aws,
        policy,
        now: parse_time("2026-11-20T12:00:00Z"),
        deadline: Deadline::unlimited(),
        run_id: "run-1".into(),
        dry_run: false,
        on_host: false,
        failure_topic: Some(TOPIC.into()),
        reports_topic: None,
        user: None,
    }
}

fn plan_of(assets: &[&str]) -> ActionPlan<String> {
    let mut plan = ActionPlan::default();
    for asset in assets {
        plan.push_step(*asset, (*asset).to_owned(), "it is due");
    }
    plan
}

fn refused_error(kind: OperationErrorKind) -> OperationError {
    OperationError { kind, ..OperationError::from_message("create snapshot s", "said RDS") }
}

/// An AWS that must not be asked.
fn aws_not_called() -> AwsClients {
    wire::mock_aws(|request| panic!("{} is asked for", request.operation))
}

fn format_outcomes(outcomes: &[StepOutcome]) -> String {
    let lines = outcomes.iter().map(|o| format!("{}: {:?}", o.asset, o.result));
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn every_step_has_its_own_outcome_and_none_stops_another() {
    let (aws, policy) = (aws_not_called(), parse_policy(POLICY));
    let kinds = [
        ("denied", OperationErrorKind::Denied),
        ("missing", OperationErrorKind::Missing),
        ("there", OperationErrorKind::Exists),
        ("busy", OperationErrorKind::Busy),
        ("full", OperationErrorKind::Quota),
        ("key", OperationErrorKind::Key),
        ("slow", OperationErrorKind::Unreachable),
        ("late", OperationErrorKind::Late),
        ("odd", OperationErrorKind::Refused),
    ];
    let mut assets = vec!["first"];
    assets.extend(kinds.map(|(asset, _)| asset));
    assets.push("last");
    for width in [1, 3, 100] {
        let outcomes = execute_plan(
            &run_context(&aws, &policy),
            &plan_of(&assets),
            width,
            async |asset: &String| match kinds.iter().find(|(a, _)| a == asset) {
                Some((_, kind)) => Err(refused_error(*kind)),
                None => Ok("started".to_owned().into()),
            },
        )
        .await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(format_outcomes(&outcomes), @r#"
            first: Done("started")
            denied: Failed("create snapshot s: said RDS; allow this action in the role that made the call")
            missing: Failed("create snapshot s: said RDS; check the name, the account and the region in the policy")
            there: Failed("create snapshot s: said RDS; look at what is there under that name")
            busy: Deferred("create snapshot s: said RDS")
            full: Deferred("create snapshot s: said RDS")
            key: Failed("create snapshot s: said RDS; check that the key is enabled and that its key policy lets this role use it")
            slow: Failed("create snapshot s: said RDS; check the network and the endpoint; the next run tries again")
            late: Unfinished
            odd: Failed("create snapshot s: said RDS; this is not what Holdfast expects there: look at it; the next run tries again")
            last: Done("started")
            "#);
        }
    }
}

#[tokio::test]
async fn a_dry_run_names_every_step_and_does_none() {
    let (aws, policy) = (aws_not_called(), parse_policy(POLICY));
    let world = RunContext { dry_run: true, ..run_context(&aws, &policy) };
    let outcomes =
        execute_plan(&world, &plan_of(&["a", "b"]), 2, async |_: &String| panic!("it is done"))
            .await;
    assert_eq!(format_outcomes(&outcomes), "a: Planned\nb: Planned");
    let mut report = RunReport::new("snapshot", &world);
    report.outcomes = outcomes;
    report.push_finding(Finding::new(
        Severity::Critical,
        "a",
        FindingCode::BackupStale,
        "old",
        "run it",
    ));
    // It is told to nobody, even when it fails.
    let report = finish_run(&world, report, RunTimer::start(&aws, &RunRequest::full_run())).await;
    assert!(report.failed && aws.call_counter().current_counts() == CallCounts::default());
}

#[tokio::test(start_paused = true)]
async fn what_there_is_no_time_for_is_left_to_the_next_run_by_name() {
    let (aws, policy) = (aws_not_called(), parse_policy(POLICY));
    let began = RefCell::new(Vec::new());
    // Time for work is what is left before the margin: two steps of a minute each begin in it, and the second is cut off.
    let world = RunContext {
        deadline: Deadline::after(PUBLISH_RESERVE + Duration::from_secs(90)),
        ..run_context(&aws, &policy)
    };
    let outcomes =
        execute_plan(&world, &plan_of(&["a", "b", "c", "d"]), 1, async |asset: &String| {
            began.borrow_mut().push(asset.clone());
            tokio::time::sleep(Duration::from_mins(1)).await;
            Ok("started".to_owned().into())
        })
        .await;
    assert_eq!(*began.borrow(), ["a", "b"]);
    assert_eq!(
        format_outcomes(&outcomes),
        "a: Done(\"started\")\nb: Unfinished\nc: Unfinished\nd: Unfinished"
    );
}

#[tokio::test(start_paused = true)]
async fn a_budget_is_spent_when_the_margin_begins() {
    let budget = Deadline::after(PUBLISH_RESERVE + Duration::from_secs(10));
    assert_eq!((budget.remaining(), budget.is_exhausted()), (Some(Duration::from_secs(10)), false));
    tokio::time::advance(Duration::from_millis(9_999)).await;
    assert!(!budget.is_exhausted());
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!((budget.remaining(), budget.is_exhausted()), (Some(Duration::ZERO), true));
    tokio::time::advance(Duration::from_hours(1)).await;
    assert!(budget.is_exhausted() && Deadline::after(Duration::ZERO).is_exhausted());
    assert_eq!(
        (Deadline::unlimited().remaining(), Deadline::unlimited().is_exhausted()),
        (None, false)
    );
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_width_is_done_at_once_and_outcomes_keep_their_order() {
    let (aws, policy) = (aws_not_called(), parse_policy(POLICY));
    let names: Vec<_> = (0..50).map(|n| format!("a-{n:02}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let (now, most) = (Cell::new(0), Cell::new(0));
    let outcomes =
        execute_plan(&run_context(&aws, &policy), &plan_of(&names), 4, async |asset: &String| {
            now.set(now.get() + 1);
            most.set(most.get().max(now.get()));
            // The first ones take longest.
            let number: u64 = asset[2..].parse().expect("a number");
            tokio::time::sleep(Duration::from_secs(60 - number)).await;
            now.set(now.get() - 1);
            Ok(String::new().into())
        })
        .await;
    assert_eq!(most.get(), 4);
    assert!(outcomes.iter().map(|o| o.asset.as_str()).eq(names));
}

/// A CloudWatch without alarms and an SNS that take everything, but for these operations; and what they were asked.
fn recording_aws(
    refusing: &'static [&'static str],
) -> (AwsClients, Arc<Mutex<Vec<RecordedRequest>>>) {
    let asked: Arc<Mutex<Vec<RecordedRequest>>> = Arc::default();
    let held = asked.clone();
    let aws = wire::mock_aws(move |request| -> CannedResponse {
        held.lock().expect("a lock").push(request.clone());
        let refuse = refusing.contains(&request.operation.as_str());
        match (request.operation.as_str(), refuse) {
            ("Publish", true) => wire::query_error_response(403, "AuthorizationError"),
            (_, true) => wire::cbor_error_response(403, "AccessDenied"),
            ("Publish", false) => wire::rds_response("Publish", "<MessageId>m</MessageId>"),
            _ => wire::empty_cbor_response(),
        }
    });
    (aws, asked)
}

fn sent_operations(asked: &Mutex<Vec<RecordedRequest>>) -> Vec<String> {
    asked.lock().expect("a lock").iter().map(|a| a.operation.clone()).collect()
}

/// A run of a function without alarms that finished.
async fn finish_sample_run(aws: &AwsClients, fill: impl FnOnce(&mut RunReport)) -> RunReport {
    let policy = parse_policy(POLICY);
    let world = run_context(aws, &policy);
    let mut report = RunReport::new("snapshot", &world);
    fill(&mut report);
    finish_run(&world, report, RunTimer::start(aws, &RunRequest::full_run())).await
}

fn metric_value(report: &RunReport, metric: Metric) -> Option<f64> {
    report.values.iter().find(|v| v.metric == metric).map(|v| v.value)
}

#[tokio::test]
async fn a_fine_run_puts_its_metrics_and_tells_nobody() {
    let (aws, asked) = recording_aws(&[]);
    let report = finish_sample_run(&aws, |r| {
        r.push_finding(Finding::new(
            Severity::Warning,
            "a",
            FindingCode::BackupDeferred,
            "why",
            "wait",
        ));
    })
    .await;
    assert!(!report.failed);
    assert_eq!(sent_operations(&asked), ["PutMetricData"]);
    let body = asked.lock().expect("a lock")[0].body.clone();
    for name in [
        "RunsCompleted",
        "RunsFailed",
        "Unfinished",
        "ApiRequests",
        "ApiThrottled",
        "Function",
        "snapshot",
    ] {
        assert!(body.contains(name), "{name}");
    }
    assert_eq!(
        (metric_value(&report, Metric::RunsCompleted), metric_value(&report, Metric::RunsFailed)),
        (Some(1.0), Some(0.0))
    );
}

#[tokio::test]
async fn a_failed_run_puts_its_metrics_first_and_then_tells_the_topic() {
    let (aws, asked) = recording_aws(&[]);
    let report = finish_sample_run(&aws, |r| {
        r.outcomes = vec![StepOutcome {
            asset: "acme-a".into(),
            action: "take s".into(),
            reason: "it is due".into(),
            operation: crate::plan::Operation::Backup,
            result: StepResult::Failed("create snapshot s: AccessDenied: no; allow it".into()),
            kind: None,
            artifact: None,
        }];
        r.push_finding(Finding::new(
            Severity::Info,
            "acme-c",
            FindingCode::NoBackupYet,
            "it is new",
            "",
        ));
        r.push_finding(Finding::new(
            Severity::Warning,
            "acme-b",
            FindingCode::BackupDeferred,
            "it is stopped",
            "start it",
        ));
        r.push_finding(Finding::new(
            Severity::Critical,
            "acme-b",
            FindingCode::BackupStale,
            "it is old",
            "run it",
        ));
    })
    .await;
    assert!(report.failed);
    assert_eq!(metric_value(&report, Metric::RunsFailed), Some(1.0));
    assert_eq!(sent_operations(&asked), ["PutMetricData", "Publish"]);
    let told = asked.lock().expect("a lock")[1].clone();
    assert_eq!(told.parameter("TopicArn"), Some(TOPIC));
    insta::assert_snapshot!(told.body, @"
    Action=Publish
    Version=2010-03-31
    TopicArn=arn:aws:sns:eu-west-1:111122223333:holdfast
    Message=snapshot of acme: 1 failed, 1 critical, 1 warnings: acme-a: create snapshot s: AccessDenied: no; allow it; acme-b: it is old
    run run-1 at 2026-11-20T12:00:00Z

    failed acme-a: take s: create snapshot s: AccessDenied: no; allow it
    critical acme-b backup-stale: it is old; run it
    warning acme-b backup-deferred: it is stopped; start it
    Subject=acme snapshot failed
    MessageAttributes.entry.1.Name=holdfast-audience
    MessageAttributes.entry.1.Value.DataType=String
    MessageAttributes.entry.1.Value.StringValue=people
    ");
}

#[tokio::test]
async fn metrics_that_can_not_be_put_fail_the_run_and_are_told() {
    let (aws, asked) = recording_aws(&["PutMetricData"]);
    let report = finish_sample_run(&aws, |_| {}).await;
    assert!(report.failed);
    insta::assert_snapshot!(report.findings[0], @"critical metrics metrics-publish-failed: put 6 metric values: AccessDenied; allow this action in the role that made the call");
    assert_eq!(sent_operations(&asked), ["PutMetricData", "Publish"]);
}

#[tokio::test]
async fn a_topic_that_can_not_be_told_is_a_finding_too() {
    let (aws, _) = recording_aws(&["PutMetricData", "Publish"]);
    let report = finish_sample_run(&aws, |_| {}).await;
    let said: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(said.join("\n"), @"
    critical metrics metrics-publish-failed: put 6 metric values: AccessDenied; allow this action in the role that made the call
    critical topic notification-failed: publish to arn:aws:sns:eu-west-1:111122223333:holdfast: AuthorizationError: said AWS; allow this action in the role that made the call
    ");
}

#[tokio::test]
async fn alarms_that_can_not_be_set_fail_the_run_and_its_metrics_say_so() {
    let (aws, asked) = recording_aws(&["PutMetricAlarm"]);
    let policy = parse_policy(POLICY);
    let world = run_context(&aws, &policy);
    let report = finish_run(
        &world,
        RunReport::new("freshness", &world),
        RunTimer::start(&aws, &RunRequest::full_run()),
    )
    .await;
    assert_eq!((report.failed, metric_value(&report, Metric::RunsFailed)), (true, Some(1.0)));
    // One refusal stops no other alarm.
    let expected =
        ["DescribeAlarms", "PutMetricAlarm", "PutMetricAlarm", "PutMetricData", "Publish"];
    assert_eq!(sent_operations(&asked), expected);
    let said: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(said.join("\n"), @"
    critical alarms alarm-update-failed: set alarm acme-backup-age: AccessDenied; allow this action in the role that made the call
    critical alarms alarm-update-failed: set alarm acme-backup-failing: AccessDenied; allow this action in the role that made the call
    ");
}

#[tokio::test]
async fn what_a_run_asked_of_aws_is_counted_from_its_own_begin() {
    let (aws, _) = recording_aws(&[]);
    aws.cloudwatch(&Location::home_from_policy(&parse_policy(POLICY)))
        .describe_alarms(&["x".into()])
        .await
        .expect("an answer");
    let report = finish_sample_run(&aws, |_| {}).await;
    assert_eq!(
        metric_value(&report, Metric::ApiRequests),
        Some(0.0),
        "the call before it is another's"
    );
}

#[tokio::test]
async fn a_message_is_short_however_much_there_is_to_say() {
    let (aws, asked) = recording_aws(&[]);
    finish_sample_run(&aws, |report| {
        for n in 0..10_000 {
            let why = format!("its newest good point is {n} days old");
            report.push_finding(Finding::new(
                Severity::Critical,
                format!("acme-{n:05}"),
                FindingCode::BackupStale,
                why,
                "run it",
            ));
        }
    })
    .await;
    let told = asked.lock().expect("a lock")[1].clone();
    let message = told.body.split_once("Message=").expect("a message").1;
    assert!(message.len() < 20 * 1024, "{}", message.len());
    let shown = message.matches("critical acme-").count();
    assert!(
        shown > 100 && message.contains(&format!("... and {} more", 10_000 - shown)),
        "{shown} shown"
    );
    assert!(
        message.starts_with("snapshot of acme: 10000 critical: acme-00000: "),
        "{}",
        &message[..200]
    );
}

#[tokio::test]
async fn only_alarms_that_differ_are_set() {
    use crate::aws::cloudwatch::tests as fake;
    use aws_sdk_cloudwatch::{
        Client,
        operation::{
            describe_alarms::DescribeAlarmsOutput, put_metric_alarm::PutMetricAlarmOutput,
        },
    };
    use aws_smithy_mocks::mock;
    type AlarmChange = fn(&mut MetricAlarm);
    let policy = parse_policy(POLICY);
    let wanted = metrics::alarms_for_function(&policy, "freshness", Some(TOPIC));
    let table: [(&str, AlarmChange, usize); 6] = [
        ("nothing", |_| {}, 0),
        ("the threshold", |a| a.threshold += 1.0, 1),
        ("the side", |a| a.below = true, 1),
        ("what no data means", |a| a.treat_missing_data = TreatMissingData::Ignore, 1),
        ("the topic", |a| a.topics = vec!["arn:aws:sns:eu-west-1:1:other".into()], 1),
        ("the name, so that it is missing", |a| a.name = "other".into(), 1),
    ];
    for (case, change, puts) in table {
        let mut there = wanted.clone();
        change(&mut there[0]);
        let found = mock!(Client::describe_alarms).then_output(move || {
            let alarms = there.iter().map(|a| fake::alarm_as_set(a).build()).collect();
            DescribeAlarmsOutput::builder().set_metric_alarms(Some(alarms)).build()
        });
        let put =
            mock!(Client::put_metric_alarm).then_output(|| PutMetricAlarmOutput::builder().build());
        assert_eq!(sync_alarms(&fake::mock_cloudwatch(&[&found, &put]), &wanted).await, vec![]);
        assert_eq!((found.num_calls(), put.num_calls()), (1, puts), "{case}");
    }
    // Whoever changed how silence counts is corrected.
    let quiet = wanted.clone();
    let found = mock!(Client::describe_alarms).then_output(move || {
        let alarms = quiet
            .iter()
            .map(|a| fake::alarm_as_set(a).treat_missing_data("ignore").build())
            .collect();
        DescribeAlarmsOutput::builder().set_metric_alarms(Some(alarms)).build()
    });
    let put =
        mock!(Client::put_metric_alarm).then_output(|| PutMetricAlarmOutput::builder().build());
    sync_alarms(&fake::mock_cloudwatch(&[&found, &put]), &wanted).await;
    assert_eq!(put.num_calls(), wanted.len());
    // Where the policy has none, nothing is asked.
    assert_eq!(sync_alarms(&fake::mock_cloudwatch(&[]), &[]).await, vec![]);
}

#[test]
fn a_topic_that_stands_twice_is_told_once() {
    let yaml = POLICY.replace("above: 25h", &format!("above: 25h, topic: \"{TOPIC}\""));
    let alarms = metrics::alarms_for_function(&parse_policy(&yaml), "freshness", Some(TOPIC));
    assert_eq!(alarms[0].topics, [TOPIC]);
}

const REPORTS: &str = "arn:aws:sns:eu-west-1:111122223333:holdfast-reports";

/// A run that tells its report, which is filled by `fill`.
async fn finish_with_reports(
    aws: &AwsClients,
    dry_run: bool,
    fill: impl FnOnce(&mut RunReport),
) -> RunReport {
    let policy = parse_policy(POLICY);
    let world =
        RunContext { reports_topic: Some(REPORTS.into()), dry_run, ..run_context(aws, &policy) };
    let mut report = RunReport::new("snapshot", &world);
    fill(&mut report);
    finish_run(&world, report, RunTimer::start(aws, &RunRequest::full_run())).await
}

fn published_messages(asked: &Mutex<Vec<RecordedRequest>>) -> Vec<(String, String)> {
    let asked = asked.lock().expect("a lock");
    let publish = asked.iter().filter(|a| a.operation == "Publish");
    let text = |a: &RecordedRequest, name| a.parameter(name).unwrap_or_default().to_owned();
    publish.map(|a| (text(a, "TopicArn"), text(a, "Message"))).collect()
}

#[tokio::test]
async fn every_run_tells_its_report_as_json_and_a_dry_one_does_not() {
    let (aws, asked) = recording_aws(&[]);
    let report = finish_with_reports(&aws, false, |_| {}).await;
    let told = published_messages(&asked);
    assert_eq!(told.len(), 1, "nothing failed, so people are not told");
    assert_eq!(told[0].0, REPORTS);
    let json: serde_json::Value = serde_json::from_str(&told[0].1).expect("JSON");
    assert_eq!((json["run_id"].as_str(), json["complete"].as_bool()), (Some("run-1"), Some(true)));
    assert_eq!(json["seconds"].as_f64(), Some(report.seconds));

    let (aws, asked) = recording_aws(&[]);
    finish_with_reports(&aws, true, |_| {}).await;
    assert!(sent_operations(&asked).is_empty());
}

#[tokio::test]
async fn ten_thousand_findings_are_told_in_one_message() {
    let (aws, asked) = recording_aws(&[]);
    finish_with_reports(&aws, false, |r| {
        for n in 0..10_000 {
            let why = "it is old ".repeat(10);
            r.push_finding(Finding::new(
                Severity::Critical,
                format!("a-{n}"),
                FindingCode::BackupStale,
                why,
                "run it",
            ));
        }
    })
    .await;
    let told = published_messages(&asked);
    let json: serde_json::Value = serde_json::from_str(&told[1].1).expect("JSON");
    assert!(told[1].1.len() <= 200_000, "{}", told[1].1.len());
    let shown = json["findings"].as_array().expect("a list").len();
    assert!(shown > 500 && json["omitted"]["findings"] == 10_000 - shown, "{shown}");
}

#[tokio::test]
async fn a_topic_of_reports_that_refuses_is_a_finding_and_people_are_told_of_it() {
    let asked: Arc<Mutex<Vec<RecordedRequest>>> = Arc::default();
    let held = asked.clone();
    let aws = wire::mock_aws(move |request| -> CannedResponse {
        held.lock().expect("a lock").push(request.clone());
        match (request.operation.as_str(), request.parameter("TopicArn")) {
            ("Publish", Some(REPORTS)) => wire::query_error_response(403, "AuthorizationError"),
            ("Publish", _) => wire::rds_response("Publish", "<MessageId>m</MessageId>"),
            _ => wire::empty_cbor_response(),
        }
    });
    let report = finish_with_reports(&aws, false, |_| {}).await;
    assert!(report.failed);
    insta::assert_snapshot!(report.findings[0], @"critical topic notification-failed: publish to arn:aws:sns:eu-west-1:111122223333:holdfast-reports: AuthorizationError: said AWS; allow this action in the role that made the call");
    let told = published_messages(&asked);
    assert_eq!(told.iter().map(|t| t.0.as_str()).collect::<Vec<_>>(), [REPORTS, TOPIC]);
    assert!(told[1].1.contains("holdfast-reports"), "{}", told[1].1);
}

#[tokio::test(start_paused = true)]
async fn a_report_says_how_long_the_run_took_and_whether_it_looked_at_everything() {
    let (aws, policy) = (aws_not_called(), parse_policy(POLICY));
    let world = RunContext { dry_run: true, ..run_context(&aws, &policy) };
    let whole = async |request: &RunRequest, finding: Option<Finding>| {
        let begun = RunTimer::start(&aws, request);
        tokio::time::advance(Duration::from_millis(2500)).await;
        let mut report = RunReport::new("snapshot", &world);
        report.findings.extend(finding);
        let report = finish_run(&world, report, begun).await;
        assert_eq!(report.seconds.to_string(), "2.5");
        report.complete
    };
    let look = RunRequest::full_run;
    assert!(whole(&look(), None).await);
    assert!(
        whole(
            &look(),
            Some(Finding::new(Severity::Critical, "a", FindingCode::BackupStale, "", ""))
        )
        .await
    );
    assert!(
        !whole(
            &look(),
            Some(Finding::new(Severity::Critical, "a", FindingCode::ObservationFailed, "", ""))
        )
        .await
    );
    for narrow in [
        RunRequest { reason: "pre-deploy".into(), ..look() },
        RunRequest { assets: vec!["orders".into()], ..look() },
        RunRequest { snapshot: Some("arn".into()), ..look() },
        RunRequest { object: Some(("bucket".into(), "key".into())), ..look() },
    ] {
        assert!(!whole(&narrow, None).await, "{narrow:?}");
    }
}

/// What a Lambda gives to `snapshot` and `offsite`, as a budget.
const FIVE_MINUTES: Duration = Duration::from_mins(5);

#[tokio::test(start_paused = true)]
async fn a_place_that_hangs_is_a_gap_and_leaves_half_of_the_time() {
    let (aws, policy) = (wire::unresponsive_aws(), parse_policy(POLICY));
    let world =
        RunContext { deadline: Deadline::after(FIVE_MINUTES), ..run_context(&aws, &policy) };
    let began = Instant::now();
    let seen =
        crate::observe::observe_inventory(&world, crate::observe::ObservationScope::Everywhere)
            .await;
    assert!(seen.locations.is_empty());
    insta::assert_snapshot!(format!("{}; {}", seen.errors[0].message, seen.errors[0].hint), @"list databases and snapshots of eu-west-1 in 111122223333: no answer within 140 s, its share of the run's time; check the network and the endpoint; the next run tries again");
    assert!(began.elapsed() <= FIVE_MINUTES / 2, "{:?}", began.elapsed());
    let one = "arn:aws:rds:eu-west-1:111122223333:snapshot:orders-daily-1";
    let began = Instant::now();
    assert_eq!(crate::observe::observe_database(&world, one).await.errors.len(), 1);
    assert!(began.elapsed() <= FIVE_MINUTES / 4, "{:?}", began.elapsed());
    // On a host, where a run has no end, a place has one.
    let endless = RunContext { deadline: Deadline::unlimited(), ..world };
    let began = Instant::now();
    let seen =
        crate::observe::observe_inventory(&endless, crate::observe::ObservationScope::Home).await;
    assert_eq!(seen.errors.len(), 1);
    assert!(began.elapsed() <= MAX_OBSERVATION_TIMEOUT, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_step_that_hangs_is_cut_off_and_the_others_outcomes_stay() {
    let (aws, policy) = (aws_not_called(), parse_policy(POLICY));
    let world =
        RunContext { deadline: Deadline::after(FIVE_MINUTES), ..run_context(&aws, &policy) };
    let began = Instant::now();
    let steps = plan_of(&["done", "hangs", "left"]);
    let outcomes = execute_plan(&world, &steps, 1, async |asset: &String| {
        if asset == "hangs" {
            std::future::pending::<()>().await;
        }
        Ok("it was done".to_owned().into())
    });
    insta::assert_snapshot!(format_outcomes(&outcomes.await), @r#"
    done: Done("it was done")
    hangs: Unfinished
    left: Unfinished
    "#);
    assert!(began.elapsed() + CUTOFF_RESERVE <= FIVE_MINUTES, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_run_in_which_everything_hangs_ends_by_itself_with_a_report() {
    let (aws, policy) = (wire::unresponsive_aws(), parse_policy(POLICY));
    for budget in [FIVE_MINUTES, Duration::from_secs(30), Duration::from_secs(5)] {
        let world = RunContext { deadline: Deadline::after(budget), ..run_context(&aws, &policy) };
        let (started_at, begun) = (Instant::now(), RunTimer::start(&aws, &RunRequest::full_run()));
        let run = std::future::pending::<RunReport>();
        let ended = crate::lambda::run_and_publish(&world, "snapshot", begun, run).await;
        assert!(started_at.elapsed() + END_RESERVE <= budget, "{:?}", started_at.elapsed());
        let report = ended.expect("a report");
        assert!(report.failed);
        let found: Vec<_> = report.findings.iter().map(|f| f.code.as_str()).collect();
        assert_eq!(found, ["metrics-publish-failed", "deadline-exceeded", "notification-failed"]);
    }
}

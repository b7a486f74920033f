use super::*;
use crate::{aws::OperationErrorKind, model::parse_time};
use aws_sdk_cloudwatch::{
    config::{http::HttpResponse, retry::RetryConfig},
    operation::{
        describe_alarms::DescribeAlarmsOutput, get_metric_data::GetMetricDataOutput,
        put_metric_alarm::PutMetricAlarmOutput, put_metric_data::PutMetricDataOutput,
    },
    types::{self, MetricDataResult, StateValue},
};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use aws_smithy_types::body::SdkBody;
use std::sync::{Arc, Mutex};

const NOW: &str = "2026-11-20T12:00:00Z";

/// CloudWatch behind mocked answers.
pub(crate) fn mock_cloudwatch(rules: &[&Rule]) -> CloudWatchClient {
    let once = RetryConfig::disabled();
    let client = mock_client!(aws_sdk_cloudwatch, RuleMode::MatchAny, rules, |c| c
        .retry_config(once.clone()));
    CloudWatchClient::new(client)
}

/// A refusal as CloudWatch writes it.
pub(crate) fn error_response(status: u16, code: &str) -> HttpResponse {
    let (status, body) = crate::aws::wire::cbor_error_response(status, code);
    HttpResponse::new(status.try_into().expect("a status"), SdkBody::from(body))
}

fn sample_data_point(n: usize) -> MetricDataPoint {
    let dimensions = vec![("Policy", "acme".to_owned()), ("Asset", format!("a-{n}"))];
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let value = n as f64;
    MetricDataPoint { name: "BackupAge", unit: "Seconds", dimensions, value }
}

/// The names of the assets in each call that puts values.
fn accept_and_record(sizes: &Arc<Mutex<Vec<usize>>>) -> Rule {
    let sizes = sizes.clone();
    mock!(Client::put_metric_data).then_compute_output(move |r| {
        sizes.lock().expect("a lock").push(r.metric_data().len());
        PutMetricDataOutput::builder().build()
    })
}

#[tokio::test]
async fn a_thousand_values_are_one_call_one_more_is_two_and_none_is_none() {
    for (values, calls) in [
        (0, vec![]),
        (1, vec![1]),
        (1_000, vec![1_000]),
        (1_001, vec![1_000, 1]),
        (2_500, vec![1_000, 1_000, 500]),
    ] {
        let sizes = Arc::default();
        let put = accept_and_record(&sizes);
        let data: Vec<_> = (0..values).map(sample_data_point).collect();
        mock_cloudwatch(&[&put])
            .put_metrics("Holdfast", parse_time(NOW), &data)
            .await
            .expect("put");
        assert_eq!(*sizes.lock().expect("a lock"), calls, "{values}");
    }
}

#[tokio::test]
async fn a_value_is_put_whole() {
    let put = mock!(Client::put_metric_data)
        .match_requests(|r| {
            let one = &r.metric_data()[0];
            let dimensions = one.dimensions().iter().map(|d| (d.name(), d.value()));
            r.namespace() == Some("Holdfast")
                && (one.metric_name(), one.value()) == (Some("BackupAge"), Some(7.0))
                && one.unit() == Some(&StandardUnit::Seconds)
                && one.timestamp().map(DateTime::secs) == Some(parse_time(NOW).as_second())
                && dimensions.eq([(Some("Policy"), Some("acme")), (Some("Asset"), Some("a-7"))])
        })
        .then_output(|| PutMetricDataOutput::builder().build());
    mock_cloudwatch(&[&put])
        .put_metrics("Holdfast", parse_time(NOW), &[sample_data_point(7)])
        .await
        .expect("put");
    assert_eq!(put.num_calls(), 1);
}

#[tokio::test]
async fn values_that_are_refused_are_an_error_with_a_hint() {
    let denied =
        mock!(Client::put_metric_data).then_http_response(|| error_response(403, "AccessDenied"));
    let error = mock_cloudwatch(&[&denied])
        .put_metrics("Holdfast", parse_time(NOW), &[sample_data_point(1)])
        .await
        .expect_err("refused");
    assert_eq!(
        (error.kind, error.to_string().as_str()),
        (OperationErrorKind::Denied, "put 1 metric values: AccessDenied")
    );
}

#[tokio::test]
async fn one_value_that_cloudwatch_does_not_take_keeps_no_other_from_being_put() {
    let taken = Arc::new(Mutex::new(0));
    let count = taken.clone();
    let bad = |r: &aws_sdk_cloudwatch::operation::put_metric_data::PutMetricDataInput| {
        r.metric_data().iter().any(|d| d.value() == Some(7.0))
    };
    let refuses = mock!(Client::put_metric_data)
        .match_requests(bad)
        .then_http_response(|| error_response(400, "InvalidParameterValue"));
    let puts = mock!(Client::put_metric_data).match_requests(move |r| !bad(r)).then_compute_output(
        move |r| {
            *count.lock().expect("a lock") += r.metric_data().len();
            PutMetricDataOutput::builder().build()
        },
    );
    let mut data: Vec<_> = (0..1_200).map(sample_data_point).collect();
    data.push(MetricDataPoint { value: f64::NAN, ..sample_data_point(1) });
    data.push(MetricDataPoint { value: f64::INFINITY, ..sample_data_point(2) });
    let error =
        mock_cloudwatch(&[&refuses, &puts]).put_metrics("Holdfast", parse_time(NOW), &data).await;
    let error = error.expect_err("three are refused");
    assert_eq!(*taken.lock().expect("a lock"), 1_199);
    assert!(
        error.to_string().starts_with("put 3 of 1202 metric values: BackupAge is NaN"),
        "{error}"
    );
}

#[test]
fn a_dimension_is_ascii_the_same_each_time_and_two_names_stay_two() {
    for (name, value) in [
        ("orders", "orders"),
        ("магазин", "%D0%BC%D0%B0%D0%B3%D0%B0%D0%B7%D0%B8%D0%BD"),
        ("50%", "50%25"),
        (":x", "%3Ax"),
        ("a b", "a b"),
        (" ", "%20"),
        ("", "%"),
        ("a\tb", "a%09b"),
    ] {
        assert_eq!(dimension_value(name), value, "{name}");
    }
}

proptest::proptest! {
    #[test]
    fn every_name_becomes_a_dimension_that_cloudwatch_takes(
        a in proptest::prelude::any::<String>(), b in "\\PC{0,400}",
    ) {
        let values = [dimension_value(&a), dimension_value(&b)];
        for value in &values {
            proptest::prop_assert!((1..=1024).contains(&value.len()) && !value.starts_with(':'));
            proptest::prop_assert!(value.bytes().all(|c| c.is_ascii_graphic() || c == b' '));
            proptest::prop_assert!(!value.trim().is_empty());
        }
        proptest::prop_assert_eq!(a == b, values[0] == values[1]);
    }
}

fn wanted_alarm() -> MetricAlarm {
    MetricAlarm {
        name: "acme-age".into(),
        description: "old".into(),
        namespace: "Holdfast".into(),
        metric: "BackupAge".into(),
        dimensions: [("Policy", "acme"), ("Group", "fleet")]
            .map(|(k, v)| (k.into(), v.into()))
            .into(),
        threshold: 90_000.0,
        below: false,
        treat_missing_data: TreatMissingData::Breaching,
        period: 900,
        periods: 2,
        topics: vec!["arn:aws:sns:eu-west-1:1:a".into(), "arn:aws:sns:eu-west-1:1:b".into()],
    }
}

/// An alarm as CloudWatch describes what was set.
pub(crate) fn alarm_as_set(alarm: &MetricAlarm) -> types::builders::MetricAlarmBuilder {
    let dimensions =
        alarm.dimensions.iter().map(|(n, v)| Dimension::builder().name(n).value(v).build());
    types::MetricAlarm::builder()
        .alarm_name(&alarm.name)
        .alarm_description(&alarm.description)
        .namespace(&alarm.namespace)
        .metric_name(&alarm.metric)
        .set_dimensions(Some(dimensions.collect()))
        .statistic(statistic_and_operator(alarm.below).0)
        .comparison_operator(statistic_and_operator(alarm.below).1)
        .threshold(alarm.threshold)
        .period(alarm.period)
        .evaluation_periods(alarm.periods)
        .datapoints_to_alarm(alarm.periods)
        .treat_missing_data(alarm.treat_missing_data.cloudwatch_name())
        .actions_enabled(true)
        .set_alarm_actions(Some(alarm.topics.clone()))
        .set_ok_actions(Some(alarm.topics.clone()))
        .state_value(StateValue::Alarm)
        .state_reason("no data")
        .state_updated_timestamp(DateTime::from_secs(1_795_000_000))
}

#[test]
fn an_alarm_equals_what_is_wanted_only_when_every_setting_does() {
    type AlarmBuilder = types::builders::MetricAlarmBuilder;
    let topics = |topics: &[&str]| {
        Some(topics.iter().map(|t| format!("arn:aws:sns:eu-west-1:1:{t}")).collect::<Vec<_>>())
    };
    let same: Vec<(&str, AlarmBuilder)> = vec![
        ("as it was set", alarm_as_set(&wanted_alarm())),
        (
            "topics in another order",
            alarm_as_set(&wanted_alarm()).set_alarm_actions(topics(&["b", "a"])),
        ),
        ("datapoints not told", alarm_as_set(&wanted_alarm()).set_datapoints_to_alarm(None)),
    ];
    for (case, alarm) in same {
        assert_eq!(alarm_state_from_sdk(&alarm.build()).alarm, Some(wanted_alarm()), "{case}");
    }
    let other: Vec<(&str, AlarmBuilder)> = vec![
        ("threshold", alarm_as_set(&wanted_alarm()).threshold(90_001.0)),
        ("no threshold", alarm_as_set(&wanted_alarm()).set_threshold(None)),
        (
            "topic gone",
            alarm_as_set(&wanted_alarm())
                .set_alarm_actions(topics(&["a"]))
                .set_ok_actions(topics(&["a"])),
        ),
        ("topic only when it rings", alarm_as_set(&wanted_alarm()).set_ok_actions(None)),
        (
            "silence counts as fine",
            alarm_as_set(&wanted_alarm()).treat_missing_data("notBreaching"),
        ),
        ("no word on silence", alarm_as_set(&wanted_alarm()).set_treat_missing_data(None)),
        ("statistic", alarm_as_set(&wanted_alarm()).statistic(Statistic::Average)),
        (
            "below",
            alarm_as_set(&wanted_alarm())
                .comparison_operator(ComparisonOperator::LessThanThreshold),
        ),
        (
            "below, as one is set that rings below",
            alarm_as_set(&wanted_alarm())
                .statistic(Statistic::Minimum)
                .comparison_operator(ComparisonOperator::LessThanThreshold),
        ),
        ("silence changes nothing", alarm_as_set(&wanted_alarm()).treat_missing_data("ignore")),
        ("switched off", alarm_as_set(&wanted_alarm()).actions_enabled(false)),
        ("period", alarm_as_set(&wanted_alarm()).period(60)),
        ("periods", alarm_as_set(&wanted_alarm()).evaluation_periods(3).datapoints_to_alarm(3)),
        ("one datapoint is enough", alarm_as_set(&wanted_alarm()).datapoints_to_alarm(1)),
        ("a unit", alarm_as_set(&wanted_alarm()).unit(StandardUnit::Count)),
        ("dimensions", alarm_as_set(&wanted_alarm()).set_dimensions(None)),
        ("description", alarm_as_set(&wanted_alarm()).alarm_description("older")),
        ("metric", alarm_as_set(&wanted_alarm()).metric_name("OffsiteCopyAge")),
        ("an expression instead of a metric", alarm_as_set(&wanted_alarm()).set_metric_name(None)),
    ];
    for (case, alarm) in other {
        assert_ne!(alarm_state_from_sdk(&alarm.build()).alarm, Some(wanted_alarm()), "{case}");
    }
}

#[tokio::test]
async fn alarms_are_asked_for_a_hundred_names_at_a_time_and_told_with_their_state() {
    let asked: Arc<Mutex<Vec<usize>>> = Arc::default();
    let held = asked.clone();
    let found = mock!(Client::describe_alarms).then_compute_output(move |r| {
        held.lock().expect("a lock").push(r.alarm_names().len());
        let alarm =
            alarm_as_set(&MetricAlarm { name: r.alarm_names()[0].clone(), ..wanted_alarm() })
                .build();
        DescribeAlarmsOutput::builder().metric_alarms(alarm).build()
    });
    let names: Vec<_> = (0..201).map(|n| format!("alarm-{n}")).collect();
    let alarms = mock_cloudwatch(&[&found]).describe_alarms(&names).await.expect("alarms");
    assert_eq!(*asked.lock().expect("a lock"), [100, 100, 1]);
    let names: Vec<_> = alarms.iter().map(|a| a.name.as_str()).collect();
    assert_eq!(names, ["alarm-0", "alarm-100", "alarm-200"]);
    assert_eq!((alarms[0].state.as_str(), alarms[0].reason.as_str()), ("ALARM", "no data"));
    assert_eq!(alarms[0].since.map(Timestamp::as_second), Some(1_795_000_000));
    assert_eq!(mock_cloudwatch(&[]).describe_alarms(&[]).await, Ok(vec![]), "no names, no call");
}

#[tokio::test]
async fn an_alarm_is_set_so_that_silence_rings_and_both_states_are_told() {
    let put = mock!(Client::put_metric_alarm)
        .match_requests(|r| {
            r.alarm_name() == Some("acme-age")
                && r.treat_missing_data() == Some("breaching")
                && r.statistic() == Some(&Statistic::Maximum)
                && r.threshold() == Some(90_000.0)
                && (r.evaluation_periods(), r.datapoints_to_alarm()) == (Some(2), Some(2))
                && r.alarm_actions() == r.ok_actions()
                && r.alarm_actions().len() == 2
        })
        .then_output(|| PutMetricAlarmOutput::builder().build());
    mock_cloudwatch(&[&put]).put_alarm(&wanted_alarm()).await.expect("set");
    assert_eq!(put.num_calls(), 1);
}

fn metric_data_output(values: &[f64]) -> GetMetricDataOutput {
    let result = MetricDataResult::builder().set_values(Some(values.to_vec())).build();
    GetMetricDataOutput::builder().metric_data_results(result).build()
}

async fn max_of_metric(rules: &[&Rule]) -> Result<Option<f64>, OperationError> {
    let span = SignedDuration::from_hours(3);
    mock_cloudwatch(rules)
        .max_value("AWS/RDS", "ReplicaLag", &[("DBInstanceIdentifier", "r")], parse_time(NOW), span)
        .await
}

#[tokio::test]
async fn the_largest_value_is_that_of_all_pages_and_none_without_data() {
    let first = mock!(Client::get_metric_data)
        .match_requests(|r| {
            let from = parse_time(NOW).as_second() - 3 * 3600;
            r.next_token().is_none() && r.start_time().map(DateTime::secs) == Some(from)
        })
        .then_output(|| {
            let page = metric_data_output(&[3.0, 1.0]);
            GetMetricDataOutput::builder()
                .set_metric_data_results(page.metric_data_results)
                .next_token("2")
                .build()
        });
    let second = mock!(Client::get_metric_data)
        .match_requests(|r| r.next_token() == Some("2"))
        .then_output(|| metric_data_output(&[2.0, 40.0]));
    assert_eq!(max_of_metric(&[&first, &second]).await, Ok(Some(40.0)));

    let zero = mock!(Client::get_metric_data).then_output(|| metric_data_output(&[0.0]));
    assert_eq!(max_of_metric(&[&zero]).await, Ok(Some(0.0)), "a zero is a value");
    let silent = mock!(Client::get_metric_data).then_output(|| metric_data_output(&[]));
    assert_eq!(max_of_metric(&[&silent]).await, Ok(None));
    let nothing =
        mock!(Client::get_metric_data).then_output(|| GetMetricDataOutput::builder().build());
    assert_eq!(max_of_metric(&[&nothing]).await, Ok(None));

    let denied = mock!(Client::get_metric_data)
        .match_requests(|r| r.next_token() == Some("2"))
        .then_http_response(|| error_response(403, "AccessDenied"));
    let error = max_of_metric(&[&first, &denied]).await.expect_err("no second page");
    assert_eq!(
        (error.kind, error.to_string().as_str()),
        (OperationErrorKind::Denied, "read metric ReplicaLag: AccessDenied")
    );
}

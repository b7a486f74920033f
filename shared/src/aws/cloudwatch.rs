//! The CloudWatch edge: metrics put, alarms read and set.

use super::{OperationError, OperationErrorKind};
use aws_sdk_cloudwatch::{
    Client,
    types::{
        ComparisonOperator, Dimension, Metric, MetricDataQuery, MetricDataResult, MetricDatum,
        MetricStat, StandardUnit, Statistic,
    },
};
use aws_smithy_types::DateTime;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use std::{borrow::Cow, collections::BTreeMap};

/// CloudWatch in one region and account.
#[derive(Clone, Debug)]
pub struct CloudWatchClient(pub(super) Client);

/// One value of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricDataPoint {
    /// Metric name.
    pub name: &'static str,
    /// CloudWatch's word for its unit: `Seconds`, `Count`, `Bytes`, `None`.
    pub unit: &'static str,
    /// Dimensions, in order.
    pub dimensions: Vec<(&'static str, String)>,
    /// The value.
    pub value: f64,
}

/// An alarm on one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricAlarm {
    /// Its name.
    pub name: String,
    /// What it means and what to do.
    pub description: String,
    /// Namespace of the metric.
    pub namespace: String,
    /// Metric name.
    pub metric: String,
    /// Dimensions of the metric.
    pub dimensions: BTreeMap<String, String>,
    /// It rings above this, or below it.
    pub threshold: f64,
    /// Whether it rings below.
    pub below: bool,
    /// What no data means.
    pub treat_missing_data: TreatMissingData,
    /// Seconds of one period.
    pub period: i32,
    /// Periods that must be above, or without data.
    pub periods: i32,
    /// Topics that are told when it rings and when it is over, in order.
    pub topics: Vec<String>,
}

/// What an alarm takes missing data for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreatMissingData {
    /// The fault itself: silence.
    Breaching,
    /// Nothing new: the alarm stays as it is.
    Ignore,
}

impl TreatMissingData {
    /// CloudWatch's word.
    fn cloudwatch_name(self) -> &'static str {
        match self {
            Self::Breaching => "breaching",
            Self::Ignore => "ignore",
        }
    }
}

/// An alarm as CloudWatch has it.
#[derive(Clone, Debug, PartialEq)]
pub struct AlarmState {
    /// Its settings, if they are of the kind that Holdfast sets.
    pub alarm: Option<MetricAlarm>,
    /// Its name.
    pub name: String,
    /// `OK`, `ALARM` or `INSUFFICIENT_DATA`.
    pub state: String,
    /// CloudWatch's reason for the state.
    pub reason: String,
    /// Since when it is in that state.
    pub since: Option<Timestamp>,
}

/// `PutMetricData` takes 1,000 values a call.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html>
const MAX_VALUES_PER_CALL: usize = 1000;
/// Calls that are refused before what is left of the values is given up: enough to find a few bad ones among a thousand.
const MAX_REFUSED_CALLS: usize = 64;
/// A dimension's value has 1,024 characters at most.
const MAX_DIMENSION_VALUE_CHARS: usize = 1024;

/// Whether CloudWatch takes a value: no NaN, no infinity, and nothing beyond 2^360 either way.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html>
fn is_valid_metric_value(value: f64) -> bool {
    value == 0.0 || (value.is_finite() && (8.515_920e-109..=1.174_271e108).contains(&value.abs()))
}

/// A text as the value of a dimension, which is printable ASCII, does not begin with a colon and is not blank. What
/// CloudWatch does not take, and `%`, stands as the UTF-8 bytes of it: `%D0%BC`, as in web addresses. So two names stay
/// two, a name is the same in each run, and any tool reads it back. One that is too long is cut and told apart by a hash.
pub fn dimension_value(text: &str) -> Cow<'_, str> {
    let plain = |(i, b): (usize, u8)| {
        b.is_ascii_graphic() && b != b'%' && (i > 0 || b != b':') || (b == b' ' && i > 0)
    };
    if !text.is_empty()
        && text.len() <= MAX_DIMENSION_VALUE_CHARS
        && text.bytes().enumerate().all(plain)
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    for (i, b) in text.bytes().enumerate() {
        if plain((i, b)) { out.push(char::from(b)) } else { out += &format!("%{b:02X}") }
    }
    if out.is_empty() {
        // No other text has this form.
        out.push('%');
    }
    if out.len() > MAX_DIMENSION_VALUE_CHARS {
        let hash = crate::words::hex_encode(&Sha256::digest(text.as_bytes())[..8]);
        out.truncate(MAX_DIMENSION_VALUE_CHARS - hash.len() - 2);
        out = format!("{out}%-{hash}");
    }
    Cow::Owned(out)
}

/// `DescribeAlarms` takes 100 names a call.
const MAX_ALARM_NAMES_PER_CALL: usize = 100;

impl CloudWatchClient {
    /// CloudWatch behind this client.
    pub fn new(client: Client) -> Self {
        Self(client)
    }

    /// Puts values into a namespace, a thousand a call. One that CloudWatch does not take keeps no other from being put:
    /// a call that is refused for its values is made again in halves.
    ///
    /// # Errors
    /// If values were refused, naming the first; all others stand, unless CloudWatch can't be asked at all.
    pub async fn put_metrics(
        &self,
        namespace: &str,
        at: Timestamp,
        data: &[MetricDataPoint],
    ) -> Result<(), OperationError> {
        let (good, bad): (Vec<_>, Vec<_>) =
            data.iter().partition(|d| is_valid_metric_value(d.value));
        let mut refused = bad.first().map(|d| {
            let why = format!("{} is {}, which CloudWatch does not take", d.name, d.value);
            (bad.len(), OperationError::from_message("put metric values", why))
        });
        let mut halves: Vec<&[&MetricDataPoint]> = good.chunks(MAX_VALUES_PER_CALL).rev().collect();
        let mut tries = MAX_REFUSED_CALLS + halves.len();
        while let Some(chunk) = halves.pop() {
            let Err(e) = self.put_chunk(namespace, at, chunk).await else { continue };
            tries -= 1;
            if e.kind != OperationErrorKind::Refused {
                return Err(e);
            }
            if chunk.len() > 1 && tries > 0 {
                let (first, second) = chunk.split_at(chunk.len() / 2);
                halves.extend([second, first]);
                continue;
            }
            let (count, _) = refused.get_or_insert((0, e));
            *count += chunk.len();
        }
        refused.map_or(Ok(()), |(count, e)| {
            let doing = format!("put {count} of {} metric values", data.len());
            Err(OperationError { operation: doing, ..e })
        })
    }

    async fn put_chunk(
        &self,
        namespace: &str,
        at: Timestamp,
        chunk: &[&MetricDataPoint],
    ) -> Result<(), OperationError> {
        let data = chunk.iter().map(|d| {
            let dimensions = d.dimensions.iter();
            let dimensions = dimensions
                .map(|(n, v)| Dimension::builder().name(*n).value(dimension_value(v)).build());
            MetricDatum::builder()
                .metric_name(d.name)
                .unit(StandardUnit::from(d.unit))
                .set_dimensions(Some(dimensions.collect()))
                .timestamp(DateTime::from_secs(at.as_second()))
                .value(d.value)
                .build()
        });
        let request = self.0.put_metric_data().namespace(namespace);
        let sent = request.set_metric_data(Some(data.collect())).send().await;
        sent.map_err(|e| {
            OperationError::from_sdk_error(format!("put {} metric values", chunk.len()), &e)
        })?;
        Ok(())
    }

    /// The alarms of these names that exist.
    ///
    /// # Errors
    /// If CloudWatch can't be asked.
    pub async fn describe_alarms(
        &self,
        names: &[String],
    ) -> Result<Vec<AlarmState>, OperationError> {
        let mut found = Vec::new();
        for names in names.chunks(MAX_ALARM_NAMES_PER_CALL) {
            let request = self.0.describe_alarms().set_alarm_names(Some(names.to_vec()));
            let mut pages = request.max_records(100).into_paginator().send();
            while let Some(page) = pages.next().await {
                let page =
                    page.map_err(|e| OperationError::from_sdk_error("describe alarms", &e))?;
                found.extend(page.metric_alarms().iter().map(alarm_state_from_sdk));
            }
        }
        Ok(found)
    }

    /// Sets an alarm.
    ///
    /// # Errors
    /// As CloudWatch refuses it.
    pub async fn put_alarm(&self, alarm: &MetricAlarm) -> Result<(), OperationError> {
        let dimensions = alarm.dimensions.iter();
        let dimensions = dimensions.map(|(n, v)| Dimension::builder().name(n).value(v).build());
        let topics = || (!alarm.topics.is_empty()).then(|| alarm.topics.clone());
        let request = self
            .0
            .put_metric_alarm()
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
            .set_alarm_actions(topics())
            .set_ok_actions(topics());
        request
            .send()
            .await
            .map_err(|e| OperationError::from_sdk_error(format!("set alarm {}", alarm.name), &e))?;
        Ok(())
    }

    /// The largest value of one metric since a time; none when it has none.
    ///
    /// # Errors
    /// If CloudWatch can't be asked.
    pub async fn max_value(
        &self,
        namespace: &str,
        metric: &str,
        dimensions: &[(&str, &str)],
        now: Timestamp,
        span: SignedDuration,
    ) -> Result<Option<f64>, OperationError> {
        let dimensions =
            dimensions.iter().map(|(n, v)| Dimension::builder().name(*n).value(*v).build());
        let metric_of = Metric::builder().namespace(namespace).metric_name(metric);
        let metric_of = metric_of.set_dimensions(Some(dimensions.collect())).build();
        let stat = MetricStat::builder().metric(metric_of).period(60).stat("Maximum").build();
        let query = MetricDataQuery::builder().id("q").metric_stat(stat).build();
        let request = self.0.get_metric_data().metric_data_queries(query);
        let request = request.start_time(DateTime::from_secs((now - span).as_second()));
        let mut pages =
            request.end_time(DateTime::from_secs(now.as_second())).into_paginator().send();
        let mut largest: Option<f64> = None;
        while let Some(page) = pages.next().await {
            let page = page
                .map_err(|e| OperationError::from_sdk_error(format!("read metric {metric}"), &e))?;
            for value in page.metric_data_results().iter().flat_map(MetricDataResult::values) {
                largest = Some(largest.map_or(*value, |l| l.max(*value)));
            }
        }
        Ok(largest)
    }
}

/// Statistic and comparison of an alarm: the worst value of a period, so that one delivered twice changes nothing.
fn statistic_and_operator(below: bool) -> (Statistic, ComparisonOperator) {
    if below {
        (Statistic::Minimum, ComparisonOperator::LessThanThreshold)
    } else {
        (Statistic::Maximum, ComparisonOperator::GreaterThanThreshold)
    }
}

fn alarm_state_from_sdk(a: &aws_sdk_cloudwatch::types::MetricAlarm) -> AlarmState {
    let sorted = |topics: &[String]| {
        let mut topics = topics.to_vec();
        topics.sort();
        topics
    };
    let topics = sorted(a.alarm_actions());
    let below = [false, true].into_iter().find(|below| {
        let (statistic, operator) = statistic_and_operator(*below);
        a.statistic() == Some(&statistic) && a.comparison_operator() == Some(&operator)
    });
    let missing = [TreatMissingData::Breaching, TreatMissingData::Ignore];
    let missing = missing.into_iter().find(|m| a.treat_missing_data() == Some(m.cloudwatch_name()));
    let ours = a.unit().is_none()
        && a.datapoints_to_alarm().is_none_or(|n| Some(n) == a.evaluation_periods())
        && topics == sorted(a.ok_actions())
        && a.actions_enabled() != Some(false);
    let dimensions = a.dimensions().iter();
    let dimensions =
        dimensions.filter_map(|d| Some((d.name()?.to_owned(), d.value()?.to_owned()))).collect();
    let text = |s: Option<&str>| s.unwrap_or_default().to_owned();
    AlarmState {
        alarm: below.zip(missing).filter(|_| ours).map(|(below, missing)| MetricAlarm {
            name: text(a.alarm_name()),
            description: text(a.alarm_description()),
            namespace: text(a.namespace()),
            metric: text(a.metric_name()),
            dimensions,
            threshold: a.threshold().unwrap_or(f64::NAN),
            below,
            treat_missing_data: missing,
            period: a.period().unwrap_or(0),
            periods: a.evaluation_periods().unwrap_or(0),
            topics,
        }),
        name: text(a.alarm_name()),
        state: a.state_value().map(|s| s.as_str().to_owned()).unwrap_or_default(),
        reason: text(a.state_reason()),
        since: a.state_updated_timestamp().and_then(|t| Timestamp::from_second(t.secs()).ok()),
    }
}

#[cfg(test)]
pub(crate) mod tests;

//! The CloudWatch edge: metrics put, alarms read and set.

use super::EdgeError;
use aws_sdk_cloudwatch::{
    Client,
    types::{
        ComparisonOperator, Dimension, Metric, MetricDataQuery, MetricDataResult, MetricDatum,
        MetricStat, StandardUnit, Statistic,
    },
};
use aws_smithy_types::DateTime;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// CloudWatch in one region and account.
#[derive(Clone, Debug)]
pub struct CloudWatch(pub(super) Client);

/// One value of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Datum {
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
    pub missing: Missing,
    /// Seconds of one period.
    pub period: i32,
    /// Periods that must be above, or without data.
    pub periods: i32,
    /// Topics that are told when it rings and when it is over, in order.
    pub topics: Vec<String>,
}

/// What an alarm takes missing data for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The fault itself: silence.
    Breaching,
    /// Nothing new: the alarm stays as it is.
    Ignore,
}

impl Missing {
    /// CloudWatch's word.
    fn word(self) -> &'static str {
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
const MOST_DATA: usize = 1000;
/// `DescribeAlarms` takes 100 names a call.
const MOST_NAMES: usize = 100;

impl CloudWatch {
    /// CloudWatch behind this client.
    pub fn new(client: Client) -> Self {
        Self(client)
    }

    /// Puts values into a namespace, a thousand a call.
    ///
    /// # Errors
    /// If a call is refused; the calls before it stand.
    pub async fn put(
        &self,
        namespace: &str,
        at: Timestamp,
        data: &[Datum],
    ) -> Result<(), EdgeError> {
        for chunk in data.chunks(MOST_DATA) {
            let data = chunk.iter().map(|d| {
                let dimensions = d.dimensions.iter();
                let dimensions =
                    dimensions.map(|(n, v)| Dimension::builder().name(*n).value(v).build());
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
            sent.map_err(|e| EdgeError::new(format!("put {} metric values", chunk.len()), &e))?;
        }
        Ok(())
    }

    /// The alarms of these names that exist.
    ///
    /// # Errors
    /// If CloudWatch can't be asked.
    pub async fn alarms(&self, names: &[String]) -> Result<Vec<AlarmState>, EdgeError> {
        let mut found = Vec::new();
        for names in names.chunks(MOST_NAMES) {
            let request = self.0.describe_alarms().set_alarm_names(Some(names.to_vec()));
            let mut pages = request.max_records(100).into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|e| EdgeError::new("describe alarms", &e))?;
                found.extend(page.metric_alarms().iter().map(described));
            }
        }
        Ok(found)
    }

    /// Sets an alarm.
    ///
    /// # Errors
    /// As CloudWatch refuses it.
    pub async fn set_alarm(&self, alarm: &MetricAlarm) -> Result<(), EdgeError> {
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
            .statistic(side(alarm.below).0)
            .comparison_operator(side(alarm.below).1)
            .threshold(alarm.threshold)
            .period(alarm.period)
            .evaluation_periods(alarm.periods)
            .datapoints_to_alarm(alarm.periods)
            .treat_missing_data(alarm.missing.word())
            .set_alarm_actions(topics())
            .set_ok_actions(topics());
        request
            .send()
            .await
            .map_err(|e| EdgeError::new(format!("set alarm {}", alarm.name), &e))?;
        Ok(())
    }

    /// The largest value of one metric since a time; none when it has none.
    ///
    /// # Errors
    /// If CloudWatch can't be asked.
    pub async fn largest(
        &self,
        namespace: &str,
        metric: &str,
        dimensions: &[(&str, &str)],
        now: Timestamp,
        span: SignedDuration,
    ) -> Result<Option<f64>, EdgeError> {
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
            let page = page.map_err(|e| EdgeError::new(format!("read metric {metric}"), &e))?;
            for value in page.metric_data_results().iter().flat_map(MetricDataResult::values) {
                largest = Some(largest.map_or(*value, |l| l.max(*value)));
            }
        }
        Ok(largest)
    }
}

/// Statistic and comparison of an alarm: the worst value of a period, so that one delivered twice changes nothing.
fn side(below: bool) -> (Statistic, ComparisonOperator) {
    if below {
        (Statistic::Minimum, ComparisonOperator::LessThanThreshold)
    } else {
        (Statistic::Maximum, ComparisonOperator::GreaterThanThreshold)
    }
}

fn described(a: &aws_sdk_cloudwatch::types::MetricAlarm) -> AlarmState {
    let sorted = |topics: &[String]| {
        let mut topics = topics.to_vec();
        topics.sort();
        topics
    };
    let topics = sorted(a.alarm_actions());
    let below = [false, true].into_iter().find(|below| {
        let (statistic, operator) = side(*below);
        a.statistic() == Some(&statistic) && a.comparison_operator() == Some(&operator)
    });
    let missing = [Missing::Breaching, Missing::Ignore];
    let missing = missing.into_iter().find(|m| a.treat_missing_data() == Some(m.word()));
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
            missing,
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

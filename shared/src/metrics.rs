//! Every metric that Holdfast publishes, and the alarms that a policy asks for on them.

use crate::{
    aws::cloudwatch::{Datum, MetricAlarm},
    policy::{Alarm, Policy, Watch, text::Limit},
};
use std::collections::{BTreeMap, BTreeSet};

/// Namespace of all of Holdfast's metrics; the functions' roles may write to no other.
pub const NAMESPACE: &str = "Holdfast";

/// Declares the metrics: name, CloudWatch unit, the function that publishes it, what it means.
macro_rules! metrics {
    ($($name:ident $unit:literal $publisher:literal $meaning:literal,)*) => {
        /// A metric. Its name in CloudWatch is the name here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Metric {
            $(#[doc = $meaning] $name,)*
        }

        impl Metric {
            /// All metrics.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Name in CloudWatch.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// CloudWatch's word for the unit.
            pub fn unit(self) -> &'static str {
                match self { $(Self::$name => $unit,)* }
            }

            /// The function that publishes it; `every` for those of each run.
            pub fn publisher(self) -> &'static str {
                match self { $(Self::$name => $publisher,)* }
            }

            /// What it means.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }
        }
    };
}

metrics! {
    RunCompleted "Count" "every" "1 for each run that came to its end, good or bad; its absence means that the function is silent",
    RunFailed "Count" "every" "1 when the run failed: a step failed or a finding is critical; else 0",
    Unfinished "Count" "every" "Steps that the run left to the next one for lack of time",
    ApiRequests "Count" "every" "Requests to AWS that the run made, retries included",
    ApiThrottled "Count" "every" "Answers of AWS that told the run to slow down",
    SnapshotsTaken "Count" "snapshot" "Snapshots that the run started",
    SnapshotsDeferred "Count" "snapshot" "Snapshots that are due and that a busy database put off",
    CopiesStarted "Count" "offsite" "Snapshot copies that the run started",
    CopiesInFlight "Count" "offsite" "Snapshot copies on their way at the end of the run",
    CopiesWaiting "Count" "offsite" "Snapshot copies that are due and wait for a free slot",
    ObjectsCopied "Count" "offsite" "Objects that the run copied",
    BytesCopied "Bytes" "offsite" "Bytes that the run copied",
    FailingAssets "Count" "freshness" "Assets with a critical finding",
    PointAge "Seconds" "freshness" "Age of the data in the newest good recovery point; of a group or policy, that of the oldest asset. Absent while an asset has none",
    OffsiteAge "Seconds" "freshness" "Age of the data in the newest good offsite copy; of a group or policy, that of the oldest asset. Absent while an asset has none",
    PointSize "Bytes" "freshness" "Size of the newest good recovery point",
    SettingsDrift "Count" "freshness" "Automated-backup settings that differ from the policy",
    UnprotectedDatabases "Count" "freshness" "Databases that no group of the policy selects",
    RestorableLag "Seconds" "freshness" "How far the latest restorable time is behind; of a group or policy, the largest",
    ReplicationLag "Seconds" "replication" "Age of the oldest object that is not yet in the replica; 0 when all are",
    ReplicationMissing "Count" "replication" "Objects that are missing or differ in the replica and are older than the lag that the policy allows",
    ReplicaLag "Seconds" "replication" "How far a read replica is behind; of a group or policy, the largest",
    DumpsTaken "Count" "dump" "Dumps and copies of dumps that the run made",
    PointsDeleted "Count" "retention" "Recovery points that the run deleted",
    PointsKept "Count" "retention" "Recovery points of Holdfast's that stay",
    DeletesRefused "Count" "retention" "Recovery points that the run would have deleted and did not, because of the policy's limits",
}

impl Watch {
    /// The metric behind it.
    pub fn metric(self) -> Metric {
        match self {
            Self::FailingAssets => Metric::FailingAssets,
            Self::PointAge => Metric::PointAge,
            Self::OffsiteAge => Metric::OffsiteAge,
            Self::SettingsDrift => Metric::SettingsDrift,
            Self::UnprotectedDatabases => Metric::UnprotectedDatabases,
            Self::RestorableLag => Metric::RestorableLag,
            Self::ReplicationLag => Metric::ReplicationLag,
            Self::ReplicationMissing => Metric::ReplicationMissing,
            Self::ReplicaLag => Metric::ReplicaLag,
            Self::DeletesRefused => Metric::DeletesRefused,
        }
    }
}

/// A value to publish, of the whole policy, a group or one asset.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// The metric.
    pub metric: Metric,
    /// The group that it speaks of.
    pub group: Option<String>,
    /// The asset of that group.
    pub asset: Option<String>,
    /// The value, in the metric's unit.
    pub value: f64,
}

impl Value {
    /// A value of the whole policy.
    pub fn of_policy(metric: Metric, value: f64) -> Self {
        Self { metric, group: None, asset: None, value }
    }

    /// A value of a group.
    #[expect(clippy::needless_pass_by_value, reason = "names come as text and as references to it")]
    pub fn of_group(metric: Metric, group: impl ToString, value: f64) -> Self {
        Self { metric, group: Some(group.to_string()), asset: None, value }
    }

    /// A value of one asset.
    #[expect(clippy::needless_pass_by_value, reason = "names come as text and as references to it")]
    pub fn of_asset(
        metric: Metric,
        group: impl ToString,
        asset: impl ToString,
        value: f64,
    ) -> Self {
        Self { metric, group: Some(group.to_string()), asset: Some(asset.to_string()), value }
    }

    /// As CloudWatch takes it. Metrics of each run carry the function's name.
    pub(crate) fn datum(&self, policy: &Policy, function: &str) -> Datum {
        let mut dimensions = vec![("Policy", policy.company.to_string())];
        if self.metric.publisher() == "every" {
            dimensions.push(("Function", function.to_owned()));
        }
        dimensions.extend(self.group.iter().map(|g| ("Group", g.clone())));
        dimensions.extend(self.asset.iter().map(|a| ("Asset", a.clone())));
        Datum { name: self.metric.name(), unit: self.metric.unit(), dimensions, value: self.value }
    }
}

/// The worst value of a metric over assets, for each group and for the policy, and each asset's own.
///
/// `values` are `(group, asset, value)`; where an asset has no value, its group's and the policy's are left out, so that
/// an alarm on them sees missing data, which breaches, instead of the next best.
pub fn worst<'v>(
    metric: Metric,
    values: impl Iterator<Item = (&'v str, &'v str, Option<f64>)>,
) -> Vec<Value> {
    let mut out = Vec::new();
    let mut groups: BTreeMap<&str, Option<f64>> = BTreeMap::new();
    for (group, asset, value) in values {
        out.extend(value.map(|v| Value::of_asset(metric, group, asset, v)));
        let worst = groups.entry(group).or_insert(Some(f64::NEG_INFINITY));
        *worst = worst.zip(value).map(|(w, v)| w.max(v));
    }
    out.extend(groups.iter().filter_map(|(g, w)| Some(Value::of_group(metric, g, (*w)?))));
    let all: Option<Vec<f64>> = groups.values().copied().collect();
    if let Some(worst) =
        all.filter(|a| !a.is_empty()).map(|a| a.into_iter().fold(f64::NEG_INFINITY, f64::max))
    {
        out.push(Value::of_policy(metric, worst));
    }
    out
}

/// The functions look every 15 minutes (template.yaml), and a value may fall on either side of a period's edge: two
/// periods in a row without a good value are real.
const PERIOD_SECONDS: i32 = 900;
const PERIODS: i32 = 2;

/// The alarms that the policy asks for on metrics of this function.
pub fn alarms(policy: &Policy, function: &str, topic: Option<&str>) -> Vec<MetricAlarm> {
    let watched = policy.alarms.iter().filter(|(_, a)| a.watch.metric().publisher() == function);
    watched.map(|(name, alarm)| metric_alarm(policy, name, alarm, topic)).collect()
}

fn metric_alarm(policy: &Policy, name: &str, alarm: &Alarm, topic: Option<&str>) -> MetricAlarm {
    let metric = alarm.watch.metric();
    let mut dimensions = BTreeMap::from([("Policy".to_owned(), policy.company.to_string())]);
    dimensions.extend(alarm.of.iter().map(|of| ("Group".to_owned(), of.to_string())));
    let above = match alarm.above.limit() {
        Limit::Time(span) => span.as_secs_f64(),
        Limit::Number(n) | Limit::Share(n) => n,
    };
    // In order and each once, so that what CloudWatch answers compares equal.
    let topics: BTreeSet<_> = topic
        .map(str::to_owned)
        .into_iter()
        .chain(alarm.topic.iter().map(ToString::to_string))
        .collect();
    let of =
        alarm.of.as_ref().map_or("the whole policy".to_owned(), |of| format!("the group {of}"));
    MetricAlarm {
        name: name.to_owned(),
        description: format!(
            "{meaning}, for {of}: above {above_text}, or no data. Set by Holdfast from the policy of {company}; run \
             `holdfast status` to see which asset it is.",
            meaning = metric.meaning().split([';', '.']).next().unwrap_or_default(),
            above_text = alarm.above,
            company = policy.company,
        ),
        namespace: NAMESPACE.to_owned(),
        metric: metric.name().to_owned(),
        dimensions,
        above,
        period: PERIOD_SECONDS,
        periods: PERIODS,
        topics: topics.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_asset_without_a_value_hides_no_gap_behind_the_others() {
        let values = worst(
            Metric::PointAge,
            [("fleet", "a", Some(1.0)), ("fleet", "b", None), ("media", "m", Some(2.0))]
                .into_iter(),
        );
        let policy: Vec<_> = values.iter().filter(|v| v.group.is_none()).collect();
        assert!(policy.is_empty(), "the policy's value would hide that b has none");
        assert!(values.contains(&Value::of_group(Metric::PointAge, "media", 2.0)));
        assert!(!values.iter().any(|v| v.group.as_deref() == Some("fleet") && v.asset.is_none()));
    }

    #[test]
    fn docs_metrics_lists_every_metric_with_its_unit_publisher_and_meaning() {
        let docs = include_str!("../../docs/metrics.md");
        for m in Metric::ALL {
            let row =
                format!("| {} | {} | {} | {} |", m.name(), m.unit(), m.publisher(), m.meaning());
            assert!(docs.contains(&row), "docs/metrics.md lacks the row\n{row}");
        }
    }
}

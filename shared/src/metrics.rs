//! Every metric that Holdfast publishes, and the alarms that a policy asks for on them.

use crate::{
    aws::cloudwatch::{MetricAlarm, MetricDataPoint, TreatMissingData},
    hints::commands::{STATUS, run},
    policy::{AlarmComparison, AlarmMetric, AlarmRule, Policy, text::ThresholdValue},
};
use std::collections::{BTreeMap, BTreeSet};

/// Namespace of all of Holdfast's metrics; the functions' roles may write to no other.
pub const NAMESPACE: &str = "Holdfast";

/// Declares the metrics: name, CloudWatch unit, what it is published of besides the whole policy, the function that
/// publishes it, what it means.
macro_rules! metrics {
    ($($name:ident $unit:literal $of:literal $publisher:literal $meaning:literal,)*) => {
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

            /// What it is published of, besides the whole policy: nothing, `Function`, `Group`, or `Group, Asset`.
            pub fn dimensions(self) -> &'static str {
                match self { $(Self::$name => $of,)* }
            }

            /// The function that publishes it; `every` for those of each run.
            pub fn publisher(self) -> &'static str {
                match self { $(Self::$name => $publisher,)* }
            }

            /// What it means.
            pub fn description(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }
        }
    };
}

metrics! {
    RunsCompleted "Count" "Function" "every" "1 for each run that came to its end, good or bad; its absence means that the function is silent",
    RunsFailed "Count" "Function" "every" "1 when the run failed: a step failed or a finding is critical; else 0",
    RunDuration "Seconds" "Function" "every" "How long the run took, up to its report",
    Unfinished "Count" "Function" "every" "Steps that the run left to the next one for lack of time",
    ApiRequests "Count" "Function" "every" "Requests to AWS that the run made, retries included",
    ApiThrottled "Count" "Function" "every" "Answers of AWS that told the run to slow down",
    SnapshotsTaken "Count" "" "snapshot" "Snapshots that the run started",
    SnapshotsDeferred "Count" "" "snapshot" "Snapshots that are due and that a busy database put off",
    CopiesStarted "Count" "" "offsite" "Snapshot copies that the run started",
    CopiesInFlight "Count" "" "offsite" "Snapshot copies on their way at the end of the run",
    CopiesWaiting "Count" "" "offsite" "Snapshot copies that are due and wait for a free slot",
    ObjectsCopied "Count" "" "offsite" "Objects that the run copied",
    BytesCopied "Bytes" "" "offsite" "Bytes that the run copied",
    FailingAssets "Count" "Group" "freshness" "Assets with a critical finding",
    BackupAge "Seconds" "Group, Asset" "freshness" "Age of the data in the newest good recovery point; of a group or policy, that of the oldest asset. Absent while an asset has none",
    OffsiteCopyAge "Seconds" "Group, Asset" "freshness" "Age of the data in the newest good offsite copy; of a group or policy, that of the oldest asset. Absent while an asset has none",
    BackupSize "Bytes" "Group, Asset" "freshness" "Size of the newest good recovery point",
    Points "Count" "Group, Asset" "freshness" "Good recovery points at home; of a group or policy, all of them",
    SizeDeviation "Percent" "Group, Asset" "freshness" "How much the newest point's size differs, up or down, from the median of those before it; of a group or policy, the largest. Absent while there is none to compare with",
    DiskFree "Bytes" "Group" "freshness" "Free space on the disk of a group's directories, where it is least; only from a host",
    SettingsDrift "Count" "Group" "freshness" "Automated-backup settings that differ from the policy",
    UnprotectedDatabases "Count" "" "freshness" "Databases that no group of the policy selects",
    RestorableLag "Seconds" "Group, Asset" "freshness" "How far the latest restorable time is behind; of a group or policy, the largest",
    ReplicationLag "Seconds" "Group, Asset" "replication" "Age of the oldest object that is not yet in the replica; 0 when all are",
    ReplicationMissing "Count" "Group, Asset" "replication" "Objects that are missing or differ in the replica and are older than the lag that the policy allows",
    ReplicaLag "Seconds" "Group, Asset" "replication" "How far a read replica is behind; of a group or policy, the largest",
    DumpsTaken "Count" "" "dump" "Dumps and copies of dumps that the run made",
    DumpDuration "Seconds" "Group, Asset" "dump" "How long a dump took, read back and committed; of a group or policy, the longest of the run. Absent in a run without one",
    DumpBytes "Bytes" "Group, Asset" "dump" "Size of a dump as it is stored; of a group or policy, all of the run's. Absent in a run without one",
    BackupsDeleted "Count" "" "retention" "Recovery points that the run deleted",
    BackupsRetained "Count" "" "retention" "Recovery points of Holdfast's that stay",
    DeletesBlocked "Count" "" "retention" "Recovery points that the run would have deleted and did not, because of the policy's limits",
    SecretsChecked "Count" "Group" "secrets" "Secrets that the run read the state of",
    SecretsFailing "Count" "Group" "secrets" "Secrets with a critical finding; a version without an export is one",
    SecretVersionsExported "Count" "" "secrets" "Versions of secrets that the run exported",
    DeliveriesFailed "Count" "" "notify" "Messages that a channel did not take when they were last tried",
    IncidentsOpen "Count" "" "notify" "Problems that are open",
    SuccessRate "Percent" "Group" "report" "Share of what was tried that was done, by the audit records; of a policy, over all groups. Absent while nothing was tried",
    RestoreDuration "Seconds" "Group" "report" "How long the newest restore took, by the audit records; of a policy, the longest. Absent while there is none",
    VerificationPassed "Count" "Group" "report" "1 when the newest verification passed, else 0; of a policy, the least. Absent while there is none",
    RestoreTestPassed "Count" "Group" "report" "1 when the newest restore passed its checks, else 0; of a policy, the least. Absent while there is none",
    StorageBytes "Bytes" "Group" "report" "Bytes that recovery points take, copies included",
    StorageCost "None" "Group" "report" "What storage costs a month as it lies now, in the currency of the policy's prices",
    ProofAge "Seconds" "Group, Asset" "drill" "How long ago a drill last proved a restore of it; of a group or policy, that of the asset where it is longest. Absent while one that a drill is of was never proven",
    QuotaUsed "Percent" "" "report" "Share of the policy's storage quota that is used",
}

impl AlarmMetric {
    /// The metric behind it.
    pub fn metric(self) -> Metric {
        match self {
            Self::FailingAssets => Metric::FailingAssets,
            Self::BackupAge => Metric::BackupAge,
            Self::OffsiteCopyAge => Metric::OffsiteCopyAge,
            Self::SettingsDrift => Metric::SettingsDrift,
            Self::UnprotectedDatabases => Metric::UnprotectedDatabases,
            Self::RestorableLag => Metric::RestorableLag,
            Self::ReplicationLag => Metric::ReplicationLag,
            Self::ReplicationMissing => Metric::ReplicationMissing,
            Self::ReplicaLag => Metric::ReplicaLag,
            Self::DeletesBlocked => Metric::DeletesBlocked,
            Self::SuccessRate => Metric::SuccessRate,
            Self::SizeDeviation => Metric::SizeDeviation,
            Self::DumpDuration => Metric::DumpDuration,
            Self::RestoreDuration => Metric::RestoreDuration,
            Self::RestoreTestPassed => Metric::RestoreTestPassed,
            Self::VerificationPassed => Metric::VerificationPassed,
            Self::StorageCost => Metric::StorageCost,
            Self::QuotaUsed => Metric::QuotaUsed,
            Self::DeliveriesFailed => Metric::DeliveriesFailed,
            Self::ProofAge => Metric::ProofAge,
        }
    }

    /// What no data means: for most the fault itself, for what happens now and then that nothing new happened.
    fn treat_missing_data(self) -> TreatMissingData {
        match self {
            Self::SizeDeviation
            | Self::DumpDuration
            | Self::RestoreDuration
            | Self::RestoreTestPassed
            | Self::VerificationPassed => TreatMissingData::Ignore,
            _ => TreatMissingData::Breaching,
        }
    }

    /// Seconds of a period, and how many in a row must be bad.
    ///
    /// A value may fall on either side of a period's edge: two periods in a row without a good value are real, when a
    /// period is as long as the schedule of the function that publishes it (template.yaml). Of a dump there is one value.
    fn evaluation_periods(self) -> (i32, i32) {
        match (self, self.metric().publisher()) {
            (Self::DumpDuration, _) => (900, 1),
            (_, "retention" | "report" | "drill") => (3600, 2),
            _ => (900, 2),
        }
    }
}

/// A value to publish, of the whole policy, a group or one asset.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricValue {
    /// The metric.
    pub metric: Metric,
    /// The group that it speaks of.
    pub group: Option<String>,
    /// The asset of that group.
    pub asset: Option<String>,
    /// The value, in the metric's unit.
    pub value: f64,
}

impl MetricValue {
    /// A value of the whole policy.
    pub fn for_policy(metric: Metric, value: f64) -> Self {
        Self { metric, group: None, asset: None, value }
    }

    /// A value of a group.
    #[expect(clippy::needless_pass_by_value, reason = "names come as text and as references to it")]
    pub fn for_group(metric: Metric, group: impl ToString, value: f64) -> Self {
        Self { metric, group: Some(group.to_string()), asset: None, value }
    }

    /// A value of one asset.
    #[expect(clippy::needless_pass_by_value, reason = "names come as text and as references to it")]
    pub fn for_asset(
        metric: Metric,
        group: impl ToString,
        asset: impl ToString,
        value: f64,
    ) -> Self {
        Self { metric, group: Some(group.to_string()), asset: Some(asset.to_string()), value }
    }

    /// As CloudWatch takes it. Metrics of each run carry the function's name.
    pub fn to_data_point(&self, policy: &Policy, function: &str) -> MetricDataPoint {
        debug_assert!(
            self.group.is_none() || self.metric.dimensions().contains("Group"),
            "{} is published of a group, and its row says otherwise",
            self.metric.name()
        );
        debug_assert!(
            self.asset.is_none() || self.metric.dimensions().contains("Asset"),
            "{} is published of an asset, and its row says otherwise",
            self.metric.name()
        );
        let mut dimensions = vec![("Policy", policy.company.to_string())];
        if self.metric.publisher() == "every" {
            dimensions.push(("Function", function.to_owned()));
        }
        dimensions.extend(self.group.iter().map(|g| ("Group", g.clone())));
        dimensions.extend(self.asset.iter().map(|a| ("Asset", a.clone())));
        MetricDataPoint {
            name: self.metric.name(),
            unit: self.metric.unit(),
            dimensions,
            value: self.value,
        }
    }
}

/// The worst value of a metric over assets, for each group and for the policy, and each asset's own.
///
/// `values` are `(group, asset, value)`; where an asset has no value, its group's and the policy's are left out, so that
/// an alarm on them sees missing data, which breaches, instead of the next best.
pub fn aggregate_max<'v>(
    metric: Metric,
    values: impl Iterator<Item = (&'v str, &'v str, Option<f64>)>,
) -> Vec<MetricValue> {
    let mut out = Vec::new();
    let mut groups: BTreeMap<&str, Option<f64>> = BTreeMap::new();
    for (group, asset, value) in values {
        out.extend(value.map(|v| MetricValue::for_asset(metric, group, asset, v)));
        let worst = groups.entry(group).or_insert(Some(f64::NEG_INFINITY));
        *worst = worst.zip(value).map(|(w, v)| w.max(v));
    }
    out.extend(groups.iter().filter_map(|(g, w)| Some(MetricValue::for_group(metric, g, (*w)?))));
    let all: Option<Vec<f64>> = groups.values().copied().collect();
    if let Some(worst) =
        all.filter(|a| !a.is_empty()).map(|a| a.into_iter().fold(f64::NEG_INFINITY, f64::max))
    {
        out.push(MetricValue::for_policy(metric, worst));
    }
    out
}

/// Beyond so many assets only their groups' values are published: CloudWatch is paid by metric, and people look at groups.
const MAX_ASSETS_WITH_METRICS: usize = 500;

/// The values that go to CloudWatch: those of single assets only while there are few enough.
pub fn within_metric_limit(values: &[MetricValue]) -> impl Iterator<Item = &MetricValue> {
    let assets: BTreeSet<_> =
        values.iter().filter_map(|v| Some((&v.group, v.asset.as_ref()?))).collect();
    let few = assets.len() <= MAX_ASSETS_WITH_METRICS;
    values.iter().filter(move |v| few || v.asset.is_none())
}

/// The alarms that the policy asks for on metrics of this function.
pub fn alarms_for_function(
    policy: &Policy,
    function: &str,
    topic: Option<&str>,
) -> Vec<MetricAlarm> {
    let watched = policy.alarms.iter().filter(|(_, a)| a.metric.metric().publisher() == function);
    watched.map(|(name, alarm)| metric_alarm(policy, name, alarm, topic)).collect()
}

fn metric_alarm(
    policy: &Policy,
    name: &str,
    alarm: &AlarmRule,
    topic: Option<&str>,
) -> MetricAlarm {
    let metric = alarm.metric.metric();
    let mut dimensions = BTreeMap::from([("Policy".to_owned(), policy.company.to_string())]);
    dimensions.extend(alarm.of.iter().map(|of| ("Group".to_owned(), of.to_string())));
    let (limit, side) = alarm.threshold_and_comparison();
    let threshold = match limit.value() {
        ThresholdValue::Time(span) => span.as_secs_f64(),
        ThresholdValue::Number(n) => n,
        ThresholdValue::Share(n) => n * 100.0,
    };
    let (period, periods) = alarm.metric.evaluation_periods();
    let or_none = match alarm.metric.treat_missing_data() {
        TreatMissingData::Breaching => ", or no data",
        TreatMissingData::Ignore => "",
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
            "{meaning}, for {of}: {side} {limit}{or_none}. Set by Holdfast from the policy of {company}; {status} to \
             see which asset it is.",
            meaning = metric.description().split([';', '.']).next().unwrap_or_default(),
            company = policy.company,
            status = run(STATUS),
        ),
        namespace: NAMESPACE.to_owned(),
        metric: metric.name().to_owned(),
        dimensions,
        threshold,
        below: side == AlarmComparison::Below,
        treat_missing_data: alarm.metric.treat_missing_data(),
        period,
        periods,
        topics: topics.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_asset_without_a_value_hides_no_gap_behind_the_others() {
        let values = aggregate_max(
            Metric::BackupAge,
            [("fleet", "a", Some(1.0)), ("fleet", "b", None), ("media", "m", Some(2.0))]
                .into_iter(),
        );
        let policy: Vec<_> = values.iter().filter(|v| v.group.is_none()).collect();
        assert!(policy.is_empty(), "the policy's value would hide that b has none");
        assert!(values.contains(&MetricValue::for_group(Metric::BackupAge, "media", 2.0)));
        assert!(!values.iter().any(|v| v.group.as_deref() == Some("fleet") && v.asset.is_none()));
    }

    #[test]
    fn beyond_five_hundred_assets_only_groups_and_the_policy_are_published() {
        let values = |assets: usize| {
            let asset =
                |n| MetricValue::for_asset(Metric::BackupAge, "fleet", format!("a-{n}"), 1.0);
            let mut values: Vec<_> = (0..assets).map(asset).collect();
            values.push(MetricValue::for_asset(Metric::BackupSize, "fleet", "a-0", 1.0)); // one asset, two metrics
            values.push(MetricValue::for_group(Metric::BackupAge, "fleet", 1.0));
            values.push(MetricValue::for_policy(Metric::BackupAge, 1.0));
            within_metric_limit(&values).cloned().collect::<Vec<_>>()
        };
        assert_eq!(values(500).len(), 503);
        let left = values(501);
        assert_eq!(left.len(), 2);
        assert!(left.iter().all(|v| v.asset.is_none()));
    }

    #[test]
    fn an_alarm_rings_on_its_side_at_its_publishers_pace_and_silence_is_a_fault_where_values_come_by_schedule()
     {
        let policy = Policy::parse(
            "{holdfast: 1, company: acme, home: {account: \"111122223333\", region: eu-west-1}, \
             databases: {fleet: {select: {identifiers: [orders]}}}, alarms: {\
             acme-backup-rate: {metric: success-rate, below: \"99%\"}, \
             acme-backup-size: {metric: size-deviation, of: fleet, above: \"50%\"}, \
             acme-backup-dump: {metric: dump-duration, above: 2h}, \
             acme-backup-age: {metric: backup-age, above: 25h}}}",
        )
        .expect("a policy");
        let all =
            ["report", "freshness", "dump"].map(|f| alarms_for_function(&policy, f, None)).concat();
        let told: Vec<_> = all
            .iter()
            .map(|a| {
                (
                    &a.name["acme-backup-".len()..],
                    a.threshold,
                    a.below,
                    a.treat_missing_data,
                    a.period,
                    a.periods,
                )
            })
            .collect();
        let (silent, ignore) = (TreatMissingData::Breaching, TreatMissingData::Ignore);
        assert_eq!(
            told,
            [
                ("rate", 99.0, true, silent, 3600, 2),
                ("age", 90_000.0, false, silent, 900, 2),
                ("size", 50.0, false, ignore, 900, 2),
                ("dump", 7200.0, false, ignore, 900, 1),
            ]
        );
        assert!(all[0].description.contains("below 99%, or no data"), "{}", all[0].description);
        assert!(
            all[2].description.contains("the group fleet: above 50%. Set"),
            "{}",
            all[2].description
        );
    }

    /// Alarms of template.yaml on metrics of ours: name without the company, metric.
    fn alarms_of_the_template() -> Vec<(String, String)> {
        let template = include_str!("../../template.yaml");
        // `!Sub "${Company}-..."`, or in a loop over the functions `!Sub ["${Company}-holdfast-${Name}-silent", ..]`.
        let value = |block: &str, key: &str| {
            let line = block.lines().find_map(|l| l.trim().strip_prefix(key))?.trim();
            let text = line.trim_start_matches("!Sub ").trim_start_matches("[\"");
            let text = text.split_once('"').map_or(text, |(name, _)| name);
            Some(text.trim_start_matches("${Company}-").replace("${Name}", "FUNCTION"))
        };
        let blocks = template.split("Type: AWS::CloudWatch::Alarm").skip(1);
        let ours = blocks.filter(|b| value(b, "Namespace:").as_deref() == Some(NAMESPACE));
        let mut alarms: Vec<_> = ours
            .filter_map(|b| Some((value(b, "AlarmName:")?, value(b, "MetricName:")?)))
            .collect();
        alarms.dedup();
        alarms
    }

    /// The table of docs/metrics.md.
    fn metrics_table() -> String {
        let template = alarms_of_the_template();
        let mut rows = vec![
            "| metric | unit | of the policy, and | published by | watched by | meaning |"
                .to_owned(),
            "|---|---|---|---|---|---|".to_owned(),
        ];
        for m in Metric::ALL {
            let words =
                AlarmMetric::ALL.iter().filter(|w| w.metric() == *m).map(|w| format!("`{w}`"));
            let ours = template.iter().filter(|(_, metric)| metric == m.name());
            let watched: Vec<_> = words.chain(ours.map(|(name, _)| format!("*{name}*"))).collect();
            let [name, unit, of] = [m.name(), m.unit(), m.dimensions()];
            let (publisher, meaning) = (m.publisher(), m.description());
            rows.push(format!(
                "| {name} | {unit} | {of} | {publisher} | {} | {meaning} |",
                watched.join(", ")
            ));
        }
        rows.join("\n")
    }

    #[test]
    fn docs_metrics_has_the_table_of_the_code_the_policys_words_and_the_templates_alarms() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
        let docs = std::fs::read_to_string(path).expect("docs/metrics.md");
        let (begin, end) = (docs.find("| metric |"), docs.find("\n\n## What an alarm"));
        let (begin, end) = (begin.expect("a table"), end.expect("its end"));
        if std::env::var_os("UPDATE_METRICS").is_some() {
            let mended = format!("{}{}{}", &docs[..begin], metrics_table(), &docs[end..]);
            std::fs::write(path, mended).expect("docs/metrics.md");
            return;
        }
        assert_eq!(
            &docs[begin..end],
            metrics_table(),
            "UPDATE_METRICS=1 cargo test -p shared docs_metrics"
        );
    }

    #[test]
    fn each_metric_is_published_by_whom_its_row_says() {
        fn read_sources(path: &std::path::Path) -> String {
            let mut all = String::new();
            for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
                let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
                if path.is_dir() && name != "tests" {
                    all += &read_sources(&path);
                } else if path.extension().is_some_and(|e| e == "rs") && name != "tests.rs" {
                    all += &std::fs::read_to_string(&path).unwrap_or_default();
                }
            }
            all
        }
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        for m in Metric::ALL {
            let path = match m.publisher() {
                "every" => format!("{root}/shared/src/run.rs"),
                function => format!("{root}/functions/{function}/src"),
            };
            let code =
                std::fs::read_to_string(&path).unwrap_or_else(|_| read_sources(path.as_ref()));
            let named = format!("Metric::{}", m.name());
            let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
            assert!(code.split(&named).skip(1).any(ends), "{path} publishes no {}", m.name());
        }
    }
}

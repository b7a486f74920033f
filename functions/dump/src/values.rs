//! How long dumps took and how large they are, for publishing. Pure.

use shared::{
    metrics::{Metric, MetricValue},
    report::{Artifact, StepOutcome},
};
use std::collections::BTreeMap;

/// Of each database, of its group and of the policy: the longest time, and all bytes together. A run that made none
/// publishes none.
pub fn dump_metrics(outcomes: &[StepOutcome]) -> Vec<MetricValue> {
    let mut out = Vec::new();
    for (metric, value, together) in [
        (
            Metric::DumpDuration,
            artifact_seconds as fn(&Artifact) -> Option<f64>,
            f64::max as fn(f64, f64) -> f64,
        ),
        (Metric::DumpBytes, artifact_bytes, |a, b| a + b),
    ] {
        let mut assets: BTreeMap<(&str, &str), f64> = BTreeMap::new();
        let mut groups: BTreeMap<&str, f64> = BTreeMap::new();
        for outcome in outcomes {
            // An asset of this function is `group/database`.
            let names = outcome.asset.split_once('/');
            let made = outcome.artifact.as_ref().and_then(value);
            let (Some((group, database)), Some(made)) = (names, made) else { continue };
            let add = |held: &mut f64| *held = together(*held, made);
            assets.entry((group, database)).and_modify(add).or_insert(made);
            groups.entry(group).and_modify(add).or_insert(made);
        }
        out.extend(assets.iter().map(|((g, d), v)| MetricValue::for_asset(metric, g, d, *v)));
        out.extend(groups.iter().map(|(g, v)| MetricValue::for_group(metric, g, *v)));
        out.extend(
            groups.values().copied().reduce(together).map(|v| MetricValue::for_policy(metric, v)),
        );
    }
    out
}

fn artifact_seconds(made: &Artifact) -> Option<f64> {
    made.seconds
}

#[expect(clippy::cast_precision_loss, reason = "dumps are far below 2^52")]
fn artifact_bytes(made: &Artifact) -> Option<f64> {
    made.bytes.map(|n| n as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::report::StepResult;

    fn outcome(asset: &str, made: Option<(u64, f64)>) -> StepOutcome {
        StepOutcome {
            asset: asset.into(),
            action: "dump it".into(),
            reason: "it is due".into(),
            operation: shared::plan::Operation::Backup,
            result: StepResult::Done("done".into()),
            kind: None,
            artifact: made.map(|(bytes, seconds)| Artifact {
                key: "key".into(),
                location: "/var/backups".into(),
                bytes: Some(bytes),
                seconds: Some(seconds),
            }),
        }
    }

    #[test]
    fn a_group_has_its_longest_dump_and_all_its_bytes_and_what_was_not_made_has_none() {
        let outcomes = [
            outcome("main/orders", Some((10, 60.0))),
            outcome("main/users", Some((5, 90.0))),
            outcome("pci/cards", Some((1, 5.0))),
            outcome("pci/keys", None),
        ];
        let (seconds, bytes) = (Metric::DumpDuration, Metric::DumpBytes);
        assert_eq!(
            dump_metrics(&outcomes),
            [
                MetricValue::for_asset(seconds, "main", "orders", 60.0),
                MetricValue::for_asset(seconds, "main", "users", 90.0),
                MetricValue::for_asset(seconds, "pci", "cards", 5.0),
                MetricValue::for_group(seconds, "main", 90.0),
                MetricValue::for_group(seconds, "pci", 5.0),
                MetricValue::for_policy(seconds, 90.0),
                MetricValue::for_asset(bytes, "main", "orders", 10.0),
                MetricValue::for_asset(bytes, "main", "users", 5.0),
                MetricValue::for_asset(bytes, "pci", "cards", 1.0),
                MetricValue::for_group(bytes, "main", 15.0),
                MetricValue::for_group(bytes, "pci", 1.0),
                MetricValue::for_policy(bytes, 16.0),
            ]
        );
        assert_eq!(dump_metrics(&[outcome("pci/keys", None)]), []);
    }
}

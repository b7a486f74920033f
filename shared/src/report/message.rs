//! A run's report as one message of bounded size, for whoever tells people.
//!
//! The same JSON as [`Report`], but `findings`, `outcomes` and `assets` hold only what fits, the most pressing first, and
//! `omitted` counts what was left out of each.

use super::{AssetStatus, RunReport, StepOutcome, StepResult};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::cmp::Reverse;

/// SNS takes 256 KiB, Lambda's asynchronous events too, and an envelope with escaped quotes needs room around it.
const MAX_MESSAGE_BYTES: usize = 200 * 1000;
/// One text of an entry: an error that quotes a page must not push out all others.
const MAX_TEXT_BYTES: usize = 2000;
/// Room for the counts of what was left out.
const COUNTS_RESERVE_BYTES: usize = 200;

/// The report as JSON of at most 200 KB.
pub(crate) fn to_sns_message(report: &RunReport) -> String {
    let mut findings: Vec<_> = report.findings.iter().collect();
    findings.sort_by_key(|f| Reverse(f.severity));
    let mut outcomes: Vec<_> = report.outcomes.iter().collect();
    outcomes.sort_by_key(|o| outcome_priority(o));
    let pressing = outcomes.partition_point(|o| outcome_priority(o) < OTHER_PRIORITY);
    let (pressing, other) = outcomes.split_at(pressing);
    let mut assets: Vec<&AssetStatus> = report.assets.iter().collect();
    assets.sort_by_key(|a| Reverse(a.max_severity));

    let mut room = SizeLimitedMessage::for_report(report);
    let findings = room.take_fitting(findings.iter());
    let mut outcomes = room.take_fitting(pressing.iter());
    let assets = room.take_fitting(assets.iter());
    outcomes.extend(room.take_fitting(other.iter()));
    room.json.insert(
        "omitted".into(),
        json!({
            "findings": report.findings.len() - findings.len(),
            "outcomes": report.outcomes.len() - outcomes.len(),
            "assets": report.assets.len() - assets.len(),
        }),
    );
    for (name, list) in [("findings", findings), ("outcomes", outcomes), ("assets", assets)] {
        room.json.insert(name.into(), Value::Array(list));
    }
    Value::Object(room.json).to_string()
}

/// The rank of outcomes that neither failed nor made anything.
const OTHER_PRIORITY: u8 = 2;

fn outcome_priority(outcome: &StepOutcome) -> u8 {
    match (&outcome.result, &outcome.artifact) {
        (StepResult::Failed(_), _) => 0,
        (_, Some(_)) => 1,
        _ => OTHER_PRIORITY,
    }
}

/// The message and the bytes that are left in it.
struct SizeLimitedMessage {
    json: Map<String, Value>,
    remaining_bytes: usize,
}

impl SizeLimitedMessage {
    fn for_report(report: &RunReport) -> Self {
        let empty = RunReport {
            findings: Vec::new(),
            outcomes: Vec::new(),
            assets: Vec::new(),
            values: Vec::new(),
            ..report.clone()
        };
        let Value::Object(mut whole) = to_json(&empty) else {
            unreachable!("a report is an object")
        };
        whole.insert("assets".into(), json!([]));
        whole.insert("summary".into(), truncate_strings(Value::String(report.summary())));
        let used = Value::Object(whole.clone()).to_string().len() + COUNTS_RESERVE_BYTES;
        Self { json: whole, remaining_bytes: MAX_MESSAGE_BYTES.saturating_sub(used) }
    }

    /// As many entries as fit, in their order.
    fn take_fitting<'r, T: Serialize + 'r>(
        &mut self,
        entries: impl Iterator<Item = &'r T>,
    ) -> Vec<Value> {
        let mut taken = Vec::new();
        for entry in entries {
            let entry = truncate_strings(to_json(entry));
            let Some(left) = self.remaining_bytes.checked_sub(entry.to_string().len() + 1) else {
                break;
            };
            self.remaining_bytes = left;
            taken.push(entry);
        }
        taken
    }
}

fn to_json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("a report is plain data")
}

/// The value with each of its texts cut to a length that leaves room for others.
fn truncate_strings(value: Value) -> Value {
    match value {
        Value::String(s) if s.len() > MAX_TEXT_BYTES => {
            let mut end = MAX_TEXT_BYTES;
            while !s.is_char_boundary(end) {
                end -= 1;
            }
            Value::String(format!("{} ...", &s[..end]))
        }
        Value::Array(list) => list.into_iter().map(truncate_strings).collect(),
        Value::Object(map) => map.into_iter().map(|(k, v)| (k, truncate_strings(v))).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests;

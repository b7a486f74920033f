//! A run's report as one message of bounded size, for whoever tells people.
//!
//! The same JSON as [`Report`], but `findings`, `outcomes` and `assets` hold only what fits, the most pressing first, and
//! `omitted` counts what was left out of each.

use super::{Outcome, Report, Result, Standing};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::cmp::Reverse;

/// SNS takes 256 KiB, Lambda's asynchronous events too, and an envelope with escaped quotes needs room around it.
const MOST: usize = 200 * 1000;
/// One text of an entry: an error that quotes a page must not push out all others.
const TEXT: usize = 2000;
/// Room for the counts of what was left out.
const COUNTS: usize = 200;

/// The report as JSON of at most 200 KB.
pub(crate) fn message(report: &Report) -> String {
    let mut findings: Vec<_> = report.findings.iter().collect();
    findings.sort_by_key(|f| Reverse(f.severity));
    let mut outcomes: Vec<_> = report.outcomes.iter().collect();
    outcomes.sort_by_key(|o| rank(o));
    let pressing = outcomes.partition_point(|o| rank(o) < OTHER);
    let (pressing, other) = outcomes.split_at(pressing);
    let mut assets: Vec<&Standing> = report.assets.iter().collect();
    assets.sort_by_key(|a| Reverse(a.worst));

    let mut room = Room::around(report);
    let findings = room.take(findings.iter());
    let mut outcomes = room.take(pressing.iter());
    let assets = room.take(assets.iter());
    outcomes.extend(room.take(other.iter()));
    room.whole.insert(
        "omitted".into(),
        json!({
            "findings": report.findings.len() - findings.len(),
            "outcomes": report.outcomes.len() - outcomes.len(),
            "assets": report.assets.len() - assets.len(),
        }),
    );
    for (name, list) in [("findings", findings), ("outcomes", outcomes), ("assets", assets)] {
        room.whole.insert(name.into(), Value::Array(list));
    }
    Value::Object(room.whole).to_string()
}

/// The rank of outcomes that neither failed nor made anything.
const OTHER: u8 = 2;

fn rank(outcome: &Outcome) -> u8 {
    match (&outcome.result, &outcome.made) {
        (Result::Failed(_), _) => 0,
        (_, Some(_)) => 1,
        _ => OTHER,
    }
}

/// The message and the bytes that are left in it.
struct Room {
    whole: Map<String, Value>,
    left: usize,
}

impl Room {
    fn around(report: &Report) -> Self {
        let empty = Report {
            findings: Vec::new(),
            outcomes: Vec::new(),
            assets: Vec::new(),
            values: Vec::new(),
            ..report.clone()
        };
        let Value::Object(mut whole) = plain(&empty) else { unreachable!("a report is an object") };
        whole.insert("assets".into(), json!([]));
        whole.insert("summary".into(), clipped(Value::String(report.summary())));
        let used = Value::Object(whole.clone()).to_string().len() + COUNTS;
        Self { whole, left: MOST.saturating_sub(used) }
    }

    /// As many entries as fit, in their order.
    fn take<'r, T: Serialize + 'r>(&mut self, entries: impl Iterator<Item = &'r T>) -> Vec<Value> {
        let mut taken = Vec::new();
        for entry in entries {
            let entry = clipped(plain(entry));
            let Some(left) = self.left.checked_sub(entry.to_string().len() + 1) else { break };
            self.left = left;
            taken.push(entry);
        }
        taken
    }
}

fn plain(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("a report is plain data")
}

/// The value with each of its texts cut to a length that leaves room for others.
fn clipped(value: Value) -> Value {
    match value {
        Value::String(s) if s.len() > TEXT => {
            let mut end = TEXT;
            while !s.is_char_boundary(end) {
                end -= 1;
            }
            Value::String(format!("{} ...", &s[..end]))
        }
        Value::Array(list) => list.into_iter().map(clipped).collect(),
        Value::Object(map) => map.into_iter().map(|(k, v)| (k, clipped(v))).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests;

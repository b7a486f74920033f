use super::{
    record::{ChainTip, RunInfo, encode_object, parse_record},
    verify::{ChainExpectation, ChainVerification, ChainWalker},
    *,
};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

mod chain;
mod logs;

fn parse_time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn sample_run(id: &str, time: &str) -> RunInfo {
    RunInfo {
        at: parse_time(time),
        id: id.into(),
        by: "dump".into(),
        user: Some("ana".into()),
        host: Some("db1".into()),
        policy: "acme".into(),
    }
}

fn sample_entry(asset: &str) -> AuditEntry {
    AuditEntry {
        asset: asset.into(),
        action: "dump".into(),
        operation: crate::plan::Operation::Backup,
        reason: "it is due".into(),
        result: OperationResult::Done,
        detail: "done".into(),
        artifact: None,
        seconds: Some(1.23456),
        evidence: None,
    }
}

fn expect_one_year(now: &str) -> ChainExpectation {
    ChainExpectation {
        now: parse_time(now),
        keep: SignedDuration::from_hours(365 * 24),
        head: None,
    }
}

/// An object and its number, as verification walks over them.
type NumberedObject = (u64, Vec<u8>);

fn verify_objects(objects: &[NumberedObject], expected: &ChainExpectation) -> ChainVerification {
    let mut walk = ChainWalker::new(expected);
    for (seq, bytes) in objects {
        if !walk.check_object(*seq, bytes) {
            break;
        }
    }
    walk.into_verification()
}

/// A log of one object for each of `counts`, a day apart, with so many records.
fn build_objects(counts: &[usize]) -> Vec<NumberedObject> {
    let mut last = ChainTip::genesis();
    let mut objects = Vec::new();
    for (i, count) in counts.iter().enumerate() {
        let mut run = sample_run(&format!("run-{i}"), "2026-01-01T00:00:00Z");
        run.at += SignedDuration::from_hours(24 * i64::try_from(i).expect("few"));
        let entries: Vec<_> = (0..*count).map(|n| sample_entry(&format!("main/db-{n}"))).collect();
        let seq = i as u64 + 1;
        let (bytes, end) = encode_object(seq, &run, &entries, last);
        objects.push((seq, bytes));
        last = end;
    }
    objects
}

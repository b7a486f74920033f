use super::{
    record::{Last, Run, object, read},
    verify::{Expected, Verdict, Walk},
    *,
};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

mod chain;
mod logs;

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn run(id: &str, time: &str) -> Run {
    Run {
        at: at(time),
        id: id.into(),
        by: "dump".into(),
        user: Some("ana".into()),
        host: Some("db1".into()),
        policy: "acme".into(),
    }
}

fn entry(asset: &str) -> Entry {
    Entry {
        asset: asset.into(),
        action: "dump".into(),
        operation: crate::plan::Operation::Backup,
        because: "it is due".into(),
        result: Went::Done,
        detail: "done".into(),
        made: None,
        seconds: Some(1.23456),
        evidence: None,
    }
}

fn year(now: &str) -> Expected {
    Expected { now: at(now), keep: SignedDuration::from_hours(365 * 24), head: None }
}

/// An object and its number, as verification walks over them.
type Object = (u64, Vec<u8>);

fn walk(objects: &[Object], expected: &Expected) -> Verdict {
    let mut walk = Walk::new(expected);
    for (seq, bytes) in objects {
        if !walk.step(*seq, bytes) {
            break;
        }
    }
    walk.end()
}

/// A log of one object for each of `counts`, a day apart, with so many records.
fn log(counts: &[usize]) -> Vec<Object> {
    let mut last = Last::none();
    let mut objects = Vec::new();
    for (i, count) in counts.iter().enumerate() {
        let mut run = run(&format!("run-{i}"), "2026-01-01T00:00:00Z");
        run.at += SignedDuration::from_hours(24 * i64::try_from(i).expect("few"));
        let entries: Vec<_> = (0..*count).map(|n| entry(&format!("main/db-{n}"))).collect();
        let seq = i as u64 + 1;
        let (bytes, end) = object(seq, &run, &entries, last);
        objects.push((seq, bytes));
        last = end;
    }
    objects
}

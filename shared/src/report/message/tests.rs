use super::*;
use crate::{
    plan::{Finding, FindingCode, Severity},
    report::Artifact,
};
use jiff::Timestamp;

fn sample_report() -> RunReport {
    RunReport {
        function: "dump",
        policy: "acme".into(),
        run_id: "run-1".into(),
        started_at: "2026-11-20T12:00:00Z".parse::<Timestamp>().expect("a time"),
        seconds: 12.5,
        complete: true,
        dry_run: false,
        failed: true,
        findings: Vec::new(),
        outcomes: Vec::new(),
        assets: Vec::new(),
        values: Vec::new(),
    }
}

fn sample_outcome(asset: &str, result: StepResult, made: Option<Artifact>) -> StepOutcome {
    StepOutcome {
        asset: asset.into(),
        action: "dump".into(),
        reason: "it is due".into(),
        operation: crate::plan::Operation::Backup,
        result,
        kind: None,
        artifact: made,
    }
}

fn sample_artifact(what: &str) -> Artifact {
    let place = "s3://acme".into();
    Artifact { key: what.into(), location: place, bytes: Some(7), seconds: Some(1.5) }
}

fn parse_message(report: &RunReport) -> Value {
    let text = to_sns_message(report);
    assert!(text.len() <= MAX_MESSAGE_BYTES, "{}", text.len());
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn a_short_report_is_told_whole_the_most_pressing_first() {
    let mut report = sample_report();
    report.push_finding(Finding::new(
        Severity::Warning,
        "b",
        FindingCode::BackupDeferred,
        "why",
        "fix",
    ));
    report.push_finding(
        Finding::new(Severity::Critical, "a", FindingCode::BackupStale, "why", "fix")
            .in_group("main"),
    );
    report.outcomes = vec![
        sample_outcome("w", StepResult::Unfinished, None),
        sample_outcome("y", StepResult::Done("done".into()), Some(sample_artifact("y.dump"))),
        sample_outcome("z", StepResult::Failed("no".into()), None),
    ];
    insta::assert_snapshot!(serde_json::to_string_pretty(&parse_message(&report)).expect("JSON"), @r#"
    {
      "function": "dump",
      "policy": "acme",
      "run_id": "run-1",
      "started_at": "2026-11-20T12:00:00Z",
      "seconds": 12.5,
      "complete": true,
      "dry_run": false,
      "failed": true,
      "findings": [
        {
          "severity": "critical",
          "asset": "a",
          "group": "main",
          "code": "backup-stale",
          "message": "why",
          "hint": "fix"
        },
        {
          "severity": "warning",
          "asset": "b",
          "code": "backup-deferred",
          "message": "why",
          "hint": "fix"
        }
      ],
      "outcomes": [
        {
          "asset": "z",
          "action": "dump",
          "reason": "it is due",
          "result": "failed",
          "detail": "no"
        },
        {
          "asset": "y",
          "action": "dump",
          "reason": "it is due",
          "result": "done",
          "detail": "done",
          "artifact": {
            "key": "y.dump",
            "location": "s3://acme",
            "bytes": 7,
            "seconds": 1.5
          }
        },
        {
          "asset": "w",
          "action": "dump",
          "reason": "it is due",
          "result": "unfinished"
        }
      ],
      "assets": [],
      "summary": "dump of acme: 1 done, 1 failed, 1 left to the next run, 1 critical, 1 warnings: z: no; a: why",
      "omitted": {
        "findings": 0,
        "outcomes": 0,
        "assets": 0
      }
    }
    "#);
}

#[test]
fn ten_thousand_findings_fit_into_one_message_that_counts_the_rest() {
    let mut report = sample_report();
    for n in 0..10_000 {
        let severity = if n % 10 == 9 { Severity::Critical } else { Severity::Warning };
        let why = format!("its newest good point is {n} \"days\" old\n");
        report.push_finding(Finding::new(
            severity,
            format!("acme-{n:05}"),
            FindingCode::BackupStale,
            why,
            "run it",
        ));
    }
    report.outcomes = vec![sample_outcome("z", StepResult::Failed("no".into()), None)];
    let told = parse_message(&report);
    let findings = told["findings"].as_array().expect("a list");
    assert!(findings.len() > 1000, "{}", findings.len());
    assert!(findings[..1000].iter().all(|f| f["severity"] == "critical"), "the worst first");
    assert_eq!(told["omitted"]["findings"], 10_000 - findings.len());
    assert_eq!(told["omitted"]["outcomes"], 1);
    assert_eq!(told["outcomes"], json!([]));
}

#[test]
fn one_endless_text_pushes_nothing_else_out() {
    let mut report = sample_report();
    let page = "é".repeat(1_000_000);
    report.push_finding(Finding::new(
        Severity::Critical,
        "a",
        FindingCode::BackupStale,
        page.clone(),
        page.clone(),
    ));
    report.push_finding(Finding::new(
        Severity::Critical,
        "b",
        FindingCode::BackupStale,
        "why",
        "fix",
    ));
    report.outcomes =
        vec![sample_outcome("z", StepResult::Failed(page.clone()), Some(sample_artifact(&page)))];
    let told = parse_message(&report);
    assert_eq!(told["omitted"], json!({"findings": 0, "outcomes": 0, "assets": 0}));
    assert!(told["findings"][0]["message"].as_str().expect("a text").ends_with("é ..."));
}

#[test]
fn what_was_made_and_bad_assets_come_before_what_is_well() {
    let mut report = sample_report();
    let long = "x".repeat(1500);
    for n in 0..200 {
        report.outcomes.push(sample_outcome(
            &format!("well-{n}"),
            StepResult::Done(long.clone()),
            None,
        ));
        let done = StepResult::Done(long.clone());
        report.outcomes.push(sample_outcome(
            &format!("made-{n}"),
            done,
            Some(sample_artifact("a.dump")),
        ));
    }
    let standing = |n: usize| AssetStatus {
        asset: format!("asset-{n}"),
        group: "fleet".into(),
        max_severity: (n == 199).then_some(Severity::Critical),
        messages: vec![long.clone()],
        ..AssetStatus::new("", "")
    };
    report.assets = (0..200).map(standing).collect();
    let told = parse_message(&report);
    let made = |o: &&Value| o["asset"].as_str().is_some_and(|a| a.starts_with("made-"));
    let outcomes = told["outcomes"].as_array().expect("a list");
    assert!(outcomes.len() > 100 && outcomes.iter().all(|o| made(&o)), "{}", outcomes.len());

    report.outcomes.truncate(20);
    let told = parse_message(&report);
    assert_eq!(told["assets"][0]["asset"], "asset-199");
    assert!(told["omitted"]["assets"].as_u64().expect("a count") > 0);
    assert_eq!(told["outcomes"].as_array().map(Vec::len), Some(10), "the rest after the assets");
}

//! A function's report for people: what it did or would do, and what it found.

use crate::{
    table::Look,
    words::{self, count, plain},
};
use shared::{
    plan::{Severity, code},
    report::{Outcome, Report, Result},
};

/// A report as text.
pub(super) fn text(report: &Report, look: Look) -> String {
    let steps = count(report.outcomes.len(), "step", "steps");
    let findings = count(report.findings.len(), "finding", "findings");
    let dry = if report.dry_run { " (dry run: nothing is changed)" } else { "" };
    let mut lines = vec![format!("{}: {steps}, {findings}{dry}", report.function)];
    if !report.outcomes.is_empty() {
        lines.push(table(report, look));
    }
    lines.extend(report.findings.iter().map(words::finding));
    lines.join("\n")
}

fn table(report: &Report, look: Look) -> String {
    if report.dry_run {
        let rows = report
            .outcomes
            .iter()
            .map(|o| vec![o.asset.clone(), o.action.clone(), o.because.clone()]);
        return look.table(&["asset", "action", "because"], rows);
    }
    let rows = report.outcomes.iter().map(|o| {
        let (result, detail) = result(o);
        vec![
            o.asset.clone(),
            o.action.clone(),
            result.to_owned(),
            detail.to_owned(),
            o.because.clone(),
        ]
    });
    look.table(&["asset", "action", "result", "detail", "because"], rows)
}

fn result(outcome: &Outcome) -> (&'static str, &str) {
    match &outcome.result {
        Result::Done(detail) => ("done", detail),
        Result::Deferred(why) => ("deferred", why),
        Result::Failed(why) => ("FAILED", why),
        Result::Unfinished => ("unfinished", "there was no time left; the next run goes on"),
        Result::Planned => ("planned", ""),
    }
}

/// The failed steps and critical findings, one a line, for where there is no table.
pub(super) fn failures(report: &Report) -> Vec<String> {
    let steps = report.outcomes.iter().filter_map(|o| match &o.result {
        Result::Failed(why) | Result::Deferred(why) => {
            Some(format!("{}: {}: {why}", o.asset, o.action))
        }
        Result::Unfinished => Some(format!("{}: {}: there was no time left", o.asset, o.action)),
        Result::Done(_) | Result::Planned => None,
    });
    // `not-taken` says the same of a step that is named already.
    let findings = report
        .findings
        .iter()
        .filter(|f| f.severity == Severity::Critical && f.what != code::NOT_TAKEN);
    steps.map(|s| plain(&s)).chain(findings.map(words::finding)).collect()
}

//! A function's report for people: what it did or would do, and what it found.

use crate::{
    table::TerminalStyle,
    words::{self, escape_control_chars, pluralize},
};
use shared::{
    plan::{FindingCode, Severity},
    report::{RunReport, StepOutcome, StepResult},
};

/// A report as text.
pub(super) fn render_report(report: &RunReport, look: TerminalStyle) -> String {
    let steps = pluralize(report.outcomes.len(), "step", "steps");
    let findings = pluralize(report.findings.len(), "finding", "findings");
    let dry = if report.dry_run { " (dry run: nothing is changed)" } else { "" };
    let mut lines = vec![format!("{}: {steps}, {findings}{dry}", report.function)];
    if !report.outcomes.is_empty() {
        lines.push(outcome_table(report, look));
    }
    lines.extend(report.findings.iter().map(words::format_finding));
    lines.join("\n")
}

fn outcome_table(report: &RunReport, look: TerminalStyle) -> String {
    if report.dry_run {
        let rows = report
            .outcomes
            .iter()
            .map(|o| vec![o.asset.clone(), o.action.clone(), o.reason.clone()]);
        return look.render_table(&["asset", "action", "because"], rows);
    }
    let rows = report.outcomes.iter().map(|o| {
        let (result, detail) = result_columns(o);
        vec![
            o.asset.clone(),
            o.action.clone(),
            result.to_owned(),
            detail.to_owned(),
            o.reason.clone(),
        ]
    });
    look.render_table(&["asset", "action", "result", "detail", "because"], rows)
}

fn result_columns(outcome: &StepOutcome) -> (&'static str, &str) {
    match &outcome.result {
        StepResult::Done(detail) => ("done", detail),
        StepResult::Deferred(why) => ("deferred", why),
        StepResult::Failed(why) => ("FAILED", why),
        StepResult::Unfinished => ("unfinished", "there was no time left; the next run goes on"),
        StepResult::Planned => ("planned", ""),
    }
}

/// The failed steps and critical findings, one a line, for where there is no table.
pub(super) fn failure_lines(report: &RunReport) -> Vec<String> {
    let steps = report.outcomes.iter().filter_map(|o| match &o.result {
        StepResult::Failed(why) | StepResult::Deferred(why) => {
            Some(format!("{}: {}: {why}", o.asset, o.action))
        }
        StepResult::Unfinished => {
            Some(format!("{}: {}: there was no time left", o.asset, o.action))
        }
        StepResult::Done(_) | StepResult::Planned => None,
    });
    // `not-taken` says the same of a step that is named already.
    let findings = report
        .findings
        .iter()
        .filter(|f| f.severity == Severity::Critical && f.code != FindingCode::BackupNotTaken);
    steps.map(|s| escape_control_chars(&s)).chain(findings.map(words::format_finding)).collect()
}

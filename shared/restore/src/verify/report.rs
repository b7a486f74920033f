//! Verifications as Markdown, for people.

use super::{CheckStatus, VerificationReport, VerificationVerdict};
use std::fmt::Write as _;

impl VerificationReport {
    /// A section of a report: what was checked, how it went, how long it took.
    pub fn to_markdown(&self) -> String {
        let mut text = String::new();
        let word = match self.verdict {
            VerificationVerdict::Good => "good",
            VerificationVerdict::WithLosses => "RESTORES WITH LOSSES",
            VerificationVerdict::Bad => "NOT GOOD",
            VerificationVerdict::Waiting => "waits for its thaw",
            VerificationVerdict::CouldNotVerify => "COULD NOT BE VERIFIED",
        };
        let how = if self.restored { "restored" } else { "read and hashed" };
        let _ = writeln!(text, "## {}: {word}\n", self.backup);
        let database = self.database.as_deref().unwrap_or("unknown database");
        let at = self.data_time.map_or("an unknown time".into(), |t| t.to_string());
        let _ = writeln!(text, "{database}, data of {at}, {how}.\n");
        text.push_str("| check | result | detail |\n| --- | --- | --- |\n");
        for check in &self.checks {
            let went = match check.status {
                CheckStatus::Passed => "passed",
                CheckStatus::Failed => "**failed**",
                CheckStatus::Skipped => "skipped",
            };
            let _ = writeln!(
                text,
                "| {} | {went} | {} |",
                escape_cell(&check.name),
                escape_cell(&check.detail)
            );
        }
        if !self.warnings.is_empty() {
            text.push_str("\n| lost | statement | message |\n| --- | --- | --- |\n");
            for loss in &self.warnings {
                let class = format!("{:?}", loss.kind).to_lowercase();
                let (statement, message) =
                    (escape_cell(&loss.statement), escape_cell(&loss.message));
                let _ = writeln!(text, "| {class} | {statement} | {message} |");
            }
        }
        if !self.durations.is_empty() {
            let times = self.durations.iter().map(|t| format!("{} {:.1} s", t.phase, t.seconds));
            let _ = writeln!(text, "\nMeasured: {}.", times.collect::<Vec<_>>().join(", "));
        }
        text
    }
}

/// Text that can't leave its cell.
fn escape_cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

/// A report of several, the bad ones first.
pub fn render_markdown(all: &[VerificationReport]) -> String {
    let good = all.iter().filter(|v| v.is_good).count();
    let mut text = format!("# Verification of backups\n\n{good} of {} are good.\n", all.len());
    let (good, bad): (Vec<_>, Vec<_>) = all.iter().partition(|v| v.is_good);
    for verified in bad.into_iter().chain(good) {
        text.push('\n');
        text.push_str(&verified.to_markdown());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::{CheckResult, PhaseDuration, VerificationReport, VerificationVerdict};

    #[test]
    fn a_report_says_what_failed_first() {
        let verified = VerificationReport {
            backup: "/backups/orders.dump".into(),
            database: Some("orders".into()),
            data_time: None,
            restored: true,
            verdict: VerificationVerdict::Bad,
            is_good: false,
            checks: vec![
                CheckResult::passed("manifest", ""),
                CheckResult::failed("rows | of", "t: 1\n2"),
            ],
            warnings: Vec::new(),
            durations: vec![PhaseDuration { phase: "verify".into(), seconds: 1.25 }],
            newest_row: None,
        };
        insta::assert_snapshot!(verified.to_markdown(), @r"
        ## /backups/orders.dump: NOT GOOD

        orders, data of an unknown time, restored.

        | check | result | detail |
        | --- | --- | --- |
        | manifest | passed |  |
        | rows \| of | **failed** | t: 1 2 |

        Measured: verify 1.2 s.
        ");
    }
}

//! What a run found and did. It goes to the log, to CloudWatch, to whoever called, and never says more than was seen.

pub(crate) mod message;

use crate::{
    aws::{OperationError, OperationErrorKind},
    metrics::{Metric, MetricValue},
    plan::{ActionPlan, Finding, Operates, Operation, PlanStep, Severity},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "result", content = "detail")]
pub enum StepResult {
    /// It was done.
    Done(String),
    /// It can't be done now and will be done by a later run.
    Deferred(String),
    /// It failed.
    Failed(String),
    /// There was no time left for it; the next run goes on.
    Unfinished,
    /// Nothing is done in a dry run.
    Planned,
}

/// A step with what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepOutcome {
    /// The asset.
    pub asset: String,
    /// What was to be done.
    pub action: String,
    /// Why.
    pub reason: String,
    /// What kind of operation it is.
    #[serde(skip)]
    pub operation: Operation,
    /// What became of it.
    #[serde(flatten)]
    pub result: StepResult,
    /// What kind of refusal made it fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<OperationErrorKind>,
    /// What was made, where something was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,
}

/// A recovery point or a copy of one that a step made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its key or identifier.
    pub key: String,
    /// Where it is: a store's address, or region and account.
    pub location: String,
    /// Its size as it is stored, in bytes, where the step knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// How long making it took, in seconds, where the step saw its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// Whether an asset or a part of the policy is looked after at all. Only what is watched can be all right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AssetCoverage {
    /// It was read and held against an objective.
    Watched,
    /// It was read, and there is no recovery point of it.
    NeverTaken,
    /// Nothing says how old its newest recovery point may be.
    NotWatched,
    /// No function does this part of the policy.
    NotRun,
    /// Nobody could read it.
    #[default]
    NotObserved,
}

impl AssetCoverage {
    /// In words, for tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Watched => "watched",
            Self::NeverTaken => "never taken",
            Self::NotWatched => "not watched",
            Self::NotRun => "nothing runs this",
            Self::NotObserved => "not observed",
        }
    }
}

/// How an asset stands, for the table of `holdfast status`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AssetStatus {
    /// The asset.
    pub asset: String,
    /// Its group in the policy.
    pub group: String,
    /// Its newest good recovery point.
    pub newest_point: Option<String>,
    /// Age of the data in it, in seconds.
    pub age_seconds: Option<i64>,
    /// The age that the policy allows, in seconds.
    pub max_age_seconds: Option<i64>,
    /// That age follows from a schedule; the policy does not write it.
    pub max_age_derived: bool,
    /// Size of it, in bytes.
    pub size_bytes: Option<i64>,
    /// Age of the data in the newest good offsite copy, in seconds; of several destinations, where it is oldest.
    pub offsite_age_seconds: Option<i64>,
    /// Whether the policy wants it offsite at all.
    pub offsite_wanted: bool,
    /// How long ago a drill last proved a restore of it, in seconds.
    pub proof_age_seconds: Option<i64>,
    /// Whether a drill of the policy is to prove that.
    pub proof_wanted: bool,
    /// Whether it is looked after at all.
    pub coverage: AssetCoverage,
    /// The worst severity of its findings; none when nothing is wrong.
    pub max_severity: Option<Severity>,
    /// Why, in words.
    pub messages: Vec<String>,
}

impl AssetStatus {
    /// An asset that nobody has looked at: whoever does says so.
    pub fn new(group: impl Into<String>, asset: impl Into<String>) -> Self {
        Self {
            asset: asset.into(),
            group: group.into(),
            newest_point: None,
            age_seconds: None,
            max_age_seconds: None,
            max_age_derived: false,
            size_bytes: None,
            offsite_age_seconds: None,
            offsite_wanted: false,
            proof_age_seconds: None,
            proof_wanted: false,
            coverage: AssetCoverage::NotObserved,
            max_severity: None,
            messages: Vec::new(),
        }
    }

    /// Whether it is as the policy wants it: something watches it, saw it, and found nothing worth a warning.
    pub fn is_ok(&self) -> bool {
        self.coverage == AssetCoverage::Watched && self.max_severity < Some(Severity::Warning)
    }

    /// How it stands, in a word or two: `ok`, `warning`, `CRITICAL`, or what is missing to tell.
    pub fn status_label(&self) -> &'static str {
        match (self.max_severity, self.coverage) {
            (Some(Severity::Critical), _) => "CRITICAL",
            (_, AssetCoverage::Watched) if self.is_ok() => "ok",
            (_, AssetCoverage::Watched) => "warning",
            (_, other) => other.as_str(),
        }
    }

    /// What another function says of the same asset.
    pub fn merge(&mut self, other: Self) {
        self.newest_point = self.newest_point.take().or(other.newest_point);
        self.age_seconds = self.age_seconds.or(other.age_seconds);
        if self.max_age_seconds.is_none() {
            self.max_age_seconds = other.max_age_seconds;
            self.max_age_derived = other.max_age_derived;
        }
        self.size_bytes = self.size_bytes.or(other.size_bytes);
        self.offsite_age_seconds = self.offsite_age_seconds.max(other.offsite_age_seconds);
        self.offsite_wanted |= other.offsite_wanted;
        self.proof_age_seconds = self.proof_age_seconds.or(other.proof_age_seconds);
        self.proof_wanted |= other.proof_wanted;
        // Whoever looked knows more than whoever did not; what both lack stays lacking.
        self.coverage = self.coverage.min(other.coverage);
        self.max_severity = self.max_severity.max(other.max_severity);
        self.messages.extend(
            other.messages.into_iter().filter(|w| !self.messages.contains(w)).collect::<Vec<_>>(),
        );
    }

    /// A finding of it, whoever found it.
    pub fn add_finding(&mut self, finding: &Finding) {
        if finding.severity == Severity::Info {
            return;
        }
        self.max_severity = self.max_severity.max(Some(finding.severity));
        if !self.messages.contains(&finding.message) {
            self.messages.push(finding.message.clone());
        }
    }
}

/// What a run found and did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunReport {
    /// The function.
    pub function: &'static str,
    /// The company whose policy was run.
    pub policy: String,
    /// The run's id: stands in every log line of the run.
    pub run_id: String,
    /// When it ran.
    pub started_at: Timestamp,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Whether it looked at everything that the policy names. If not (it was asked for one asset or reason, or a place
    /// could not be seen), a finding that is missing proves nothing.
    pub complete: bool,
    /// Nothing was changed.
    pub dry_run: bool,
    /// Whether it failed: a step failed or a finding is critical.
    pub failed: bool,
    /// What differs between policy and world, worst first.
    pub findings: Vec<Finding>,
    /// What was done.
    pub outcomes: Vec<StepOutcome>,
    /// How each asset stands, where the function judges that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assets: Vec<AssetStatus>,
    /// Values for CloudWatch.
    #[serde(skip)]
    pub values: Vec<MetricValue>,
}

impl RunReport {
    /// An empty report of a function's run.
    pub fn new(function: &'static str, world: &crate::run::RunContext<'_>) -> Self {
        Self {
            function,
            policy: world.policy.company.to_string(),
            run_id: world.run_id.clone(),
            started_at: world.now,
            seconds: 0.0,
            complete: true,
            dry_run: world.dry_run,
            failed: false,
            findings: Vec::new(),
            outcomes: Vec::new(),
            assets: Vec::new(),
            values: Vec::new(),
        }
    }

    /// Adds a finding.
    pub fn push_finding(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Adds a value of the whole policy.
    pub fn push_metric(&mut self, metric: Metric, value: usize) {
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        self.values.push(MetricValue::for_policy(metric, value as f64));
    }

    /// How many steps ended in a way.
    pub fn count_outcomes(&self, is: fn(&StepResult) -> bool) -> usize {
        self.outcomes.iter().filter(|o| is(&o.result)).count()
    }

    /// Sorts the findings worst first and settles whether the run failed.
    pub(crate) fn finalize(&mut self) {
        self.findings
            .sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.asset.cmp(&b.asset)));
        self.failed = self.findings.iter().any(|f| f.severity == Severity::Critical)
            || self.count_outcomes(|r| matches!(r, StepResult::Failed(_))) > 0;
    }

    /// One line: what happened, and to whom when it went wrong.
    pub fn summary(&self) -> String {
        let count = |what: &str, n: usize| (n > 0).then(|| format!("{n} {what}"));
        let severity = |s| self.findings.iter().filter(|f| f.severity == s).count();
        let parts = [
            count("done", self.count_outcomes(|r| matches!(r, StepResult::Done(_)))),
            count("planned", self.count_outcomes(|r| matches!(r, StepResult::Planned))),
            count("deferred", self.count_outcomes(|r| matches!(r, StepResult::Deferred(_)))),
            count("failed", self.count_outcomes(|r| matches!(r, StepResult::Failed(_)))),
            count(
                "left to the next run",
                self.count_outcomes(|r| matches!(r, StepResult::Unfinished)),
            ),
            count("critical", severity(Severity::Critical)),
            count("warnings", severity(Severity::Warning)),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        let parts = if parts.is_empty() { "nothing to do".to_owned() } else { parts.join(", ") };
        let mut bad: Vec<String> = self
            .outcomes
            .iter()
            .filter_map(|o| match &o.result {
                StepResult::Failed(why) => Some(format!("{}: {why}", o.asset)),
                _ => None,
            })
            .collect();
        let critical = self.findings.iter().filter(|f| f.severity == Severity::Critical);
        bad.extend(critical.map(|f| format!("{}: {}", f.asset, f.message)));
        let (shown, more) =
            (bad.iter().take(10).cloned().collect::<Vec<_>>(), bad.len().saturating_sub(10));
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        let tail =
            if shown.is_empty() { String::new() } else { format!(": {}{more}", shown.join("; ")) };
        format!("{} of {}: {parts}{tail}", self.function, self.policy)
    }
}

impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())
    }
}

/// What doing a step came to; an edge's refusal is sorted into what waits and what failed.
pub type ActionResult = std::result::Result<StepSuccess, OperationError>;

/// A step that was done.
#[derive(Clone, Debug, PartialEq)]
pub struct StepSuccess {
    /// In words.
    pub message: String,
    /// What it made.
    pub artifact: Option<Artifact>,
}

impl StepSuccess {
    /// A step that made something.
    pub fn with_artifact(told: impl Into<String>, made: Artifact) -> Self {
        Self { message: told.into(), artifact: Some(made) }
    }
}

impl From<String> for StepSuccess {
    fn from(told: String) -> Self {
        Self { message: told, artifact: None }
    }
}

impl StepOutcome {
    /// The outcome of a step.
    pub fn from_step<A: fmt::Display + Operates>(step: &PlanStep<A>, result: StepResult) -> Self {
        Self {
            asset: step.asset.clone(),
            action: step.action.to_string(),
            reason: step.reason.clone(),
            operation: step.action.operation(),
            result,
            kind: None,
            artifact: None,
        }
    }
}

/// The outcomes of a plan in a dry run.
pub fn dry_run_outcomes<A: fmt::Display + Operates>(plan: &ActionPlan<A>) -> Vec<StepOutcome> {
    plan.steps.iter().map(|s| StepOutcome::from_step(s, StepResult::Planned)).collect()
}

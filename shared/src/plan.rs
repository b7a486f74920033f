//! The words between deciding and doing: findings, steps, and what may be deleted.

pub use crate::finding_code::FindingCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Should be fixed soon; nothing is lost yet.
    Warning,
    /// An objective is missed, or can't be judged: the run fails.
    Critical,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        })
    }
}

/// What kind of operation a step is: recorded with it, so that nobody reads it out of the step's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// A recovery point or a copy of one is made.
    Backup,
    /// A point is read to its end and its sums are compared.
    Check,
    /// A point is restored, for a test or in earnest.
    Restore,
    /// A point is deleted.
    Delete,
    /// Anything else.
    #[default]
    Other,
}

/// What has a kind of operation.
pub trait Operates {
    /// Its kind.
    fn operation(&self) -> Operation;
}

#[cfg(test)]
impl Operates for String {
    fn operation(&self) -> Operation {
        Operation::Backup
    }
}

/// A difference between policy and world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The asset; for what concerns no single one, the group or the place.
    pub asset: String,
    /// The group of the policy that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What kind of difference.
    pub code: FindingCode,
    /// The difference in words.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl Finding {
    /// A finding; `group` is set with [`Finding::in_group`].
    pub fn new(
        severity: Severity,
        asset: impl Into<String>,
        what: FindingCode,
        why: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            asset: asset.into(),
            group: None,
            code: what,
            message: why.into(),
            hint: hint.into(),
        }
    }

    /// Names the group.
    #[must_use]
    pub fn in_group(mut self, group: impl fmt::Display) -> Self {
        self.group = Some(group.to_string());
        self
    }

    /// Whether it says that something was not seen, which is not that it is missing.
    pub fn unobserved(&self) -> bool {
        use FindingCode::{BackupUnknown, KmsKeyNotReadable, NotObserved, OffsiteCopyUnknown};
        matches!(self.code, BackupUnknown | OffsiteCopyUnknown | NotObserved | KmsKeyNotReadable)
    }

    /// What could not be seen is a critical finding: nothing may be concluded from it.
    pub fn from_observation_error(gap: &crate::catalog::ObservationError) -> Self {
        Self::new(
            Severity::Critical,
            gap.location.to_string(),
            FindingCode::ObservationFailed,
            gap.message.clone(),
            gap.hint.clone(),
        )
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, asset, code: what, message: why, hint, .. } = self;
        write!(f, "{severity} {asset} {what}: {why}")?;
        if hint.is_empty() { Ok(()) } else { write!(f, "; {hint}") }
    }
}

/// One thing to do, so specific that doing it leaves nothing to choose.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlanStep<A> {
    /// The asset that it is done for.
    pub asset: String,
    /// What is done.
    #[serde(flatten)]
    pub action: A,
    /// Why.
    pub reason: String,
}

/// What follows from policy and world.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ActionPlan<A> {
    /// What to do, in order.
    pub steps: Vec<PlanStep<A>>,
    /// What differs.
    pub findings: Vec<Finding>,
}

impl<A> Default for ActionPlan<A> {
    fn default() -> Self {
        Self { steps: Vec::new(), findings: Vec::new() }
    }
}

impl<A> ActionPlan<A> {
    /// Adds a step.
    pub fn push_step(&mut self, asset: impl Into<String>, action: A, because: impl Into<String>) {
        self.steps.push(PlanStep { asset: asset.into(), action, reason: because.into() });
    }
}

/// Permission to delete. Only [`crate::keep`] can make one, so no code path can delete what it did not clear.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeletionPermit<T> {
    point: T,
    /// When it was cleared.
    at: Timestamp,
}

impl<T> DeletionPermit<T> {
    /// For the safety check alone.
    pub(crate) fn new(point: T, at: Timestamp) -> Self {
        Self { point, at }
    }

    /// What may be deleted.
    pub fn point(&self) -> &T {
        &self.point
    }
}

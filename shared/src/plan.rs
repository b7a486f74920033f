//! The words between deciding and doing: findings, steps, and what may be deleted.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Should be mended soon; nothing is lost yet.
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
    /// What kind of difference, a fixed word: `stale`, `no-point`, `drift`, ...
    pub what: &'static str,
    /// The difference in words.
    pub why: String,
    /// What to do about it.
    pub mend: String,
}

impl Finding {
    /// A finding; `group` is set with [`Finding::in_group`].
    pub fn new(
        severity: Severity,
        asset: impl Into<String>,
        what: &'static str,
        why: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            asset: asset.into(),
            group: None,
            what,
            why: why.into(),
            mend: mend.into(),
        }
    }

    /// Names the group.
    #[must_use]
    pub fn in_group(mut self, group: impl fmt::Display) -> Self {
        self.group = Some(group.to_string());
        self
    }

    /// What could not be seen is a critical finding: nothing may be concluded from it.
    pub fn gap(gap: &crate::catalog::Gap) -> Self {
        Self::new(
            Severity::Critical,
            gap.place.to_string(),
            "gap",
            gap.why.clone(),
            gap.mend.clone(),
        )
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, asset, what, why, mend, .. } = self;
        write!(f, "{severity} {asset} {what}: {why}")?;
        if mend.is_empty() { Ok(()) } else { write!(f, "; {mend}") }
    }
}

/// One thing to do, so specific that doing it leaves nothing to choose.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step<A> {
    /// The asset that it is done for.
    pub asset: String,
    /// What is done.
    #[serde(flatten)]
    pub action: A,
    /// Why.
    pub because: String,
}

/// What follows from policy and world.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan<A> {
    /// What to do, in order.
    pub steps: Vec<Step<A>>,
    /// What differs.
    pub findings: Vec<Finding>,
}

impl<A> Default for Plan<A> {
    fn default() -> Self {
        Self { steps: Vec::new(), findings: Vec::new() }
    }
}

impl<A> Plan<A> {
    /// Adds a step.
    pub fn step(&mut self, asset: impl Into<String>, action: A, because: impl Into<String>) {
        self.steps.push(Step { asset: asset.into(), action, because: because.into() });
    }
}

/// Permission to delete. Only [`crate::keep`] can make one, so no code path can delete what it did not clear.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cleared<T> {
    point: T,
    /// When it was cleared.
    at: Timestamp,
}

impl<T> Cleared<T> {
    /// For the safety check alone.
    pub(crate) fn new(point: T, at: Timestamp) -> Self {
        Self { point, at }
    }

    /// What may be deleted.
    pub fn point(&self) -> &T {
        &self.point
    }
}

//! Evidence: one JSON for each drill, slot and asset, written once and last. It is the drill's commit record.
//!
//! It lies in the store of the asset's group, signed as manifests are. What counts is decided when it is read: see
//! [`store`]. Its schema is docs/evidence.schema.json.

pub mod store;

use crate::choose::PointSelection;
use jiff::{Timestamp, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use shared::{policy::DrillKind, words::hex_encode};
use std::fmt;

/// The version of the format.
pub const EVIDENCE_VERSION: u32 = 1;

/// What every key of evidence begins with, below the store's prefix.
pub const EVIDENCE_PREFIX: &str = "evidence/";

/// What a drill showed of one asset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Evidence of a drill of Holdfast's")]
pub struct DrillEvidence {
    /// Version of this format.
    #[schemars(range(min = 1, max = 1))]
    pub evidence: u32,
    /// The owner that it was made for: company and home, or company and the policy's id.
    pub owner: String,
    /// The drill, as the policy calls it.
    pub drill: String,
    /// Its kind.
    pub kind: DrillKind,
    /// The group of the asset.
    pub group: String,
    /// The asset: of dumps the database.
    pub asset: String,
    /// The time that it was due at; of a drill by hand outside of every slot, when it began.
    #[schemars(with = "Rfc3339Time")]
    pub slot: Timestamp,
    /// What set it off.
    pub trigger: DrillTrigger,
    /// A fault that was made on purpose, to see that it is found. Such a drill says nothing about the asset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub injected: Option<DrillFault>,
    /// What it comes to.
    pub verdict: DrillVerdict,
    /// Why it is not proven; empty of what is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The recovery point that was restored; none where there was none, or the drill was missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<TestedPoint>,
    /// Where it was restored; none of what was only read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_on: Option<String>,
    /// When it began.
    #[schemars(with = "Rfc3339Time")]
    pub started_at: Timestamp,
    /// When the verdict was known.
    #[schemars(with = "Rfc3339Time")]
    pub finished_at: Timestamp,
    /// What was measured.
    pub measured: DrillMeasurements,
    /// What was allowed.
    pub objectives: DrillObjectives,
    /// Every check, and how it went.
    pub checks: Vec<EvidenceCheck>,
    /// The operators' own list. The drill proves none of these lines by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checklist: Vec<ChecklistLine>,
    /// What this drill says nothing about.
    pub not_tested: Vec<String>,
    /// Who carried it out.
    pub by: DrillExecutor,
    /// SHA-256 of the evidence before this one, of the same drill and asset; 64 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_sha256: Option<String>,
}

/// RFC 3339, UTC.
#[derive(JsonSchema)]
#[schemars(inline)]
#[expect(dead_code, reason = "it is only a schema")]
struct Rfc3339Time(#[schemars(extend("format" = "date-time"))] String);

/// What a drill comes to. Only the first is ever green.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum DrillVerdict {
    /// Everything passed, within the objectives. Of a quick drill: everything was read and is right.
    Proven,
    /// It could not be carried out: nothing is known.
    CouldNotVerify,
    /// The restore, a check or an objective failed.
    Failed,
}

/// What set a drill off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DrillTrigger {
    /// Its calendar.
    Schedule,
    /// Somebody asked for it.
    Manual,
    /// Nothing: it did not begin in time. There is evidence of that, too.
    Missed,
}

/// A fault made on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DrillFault {
    /// The backup is opened with a key that is not its own.
    WrongKey,
    /// Every table is emptied before the checks.
    Empty,
    /// The restore is measured as if it had taken as long as the objective more.
    Slow,
    /// The second half of the backup's file is missing.
    Truncate,
    /// The scratch server refuses what is restored.
    FailedRestore,
}

/// The recovery point that was restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestedPoint {
    /// Its full name.
    pub uri: String,
    /// SHA-256 of the file, 64 hex digits, as its manifest says.
    pub sha256: String,
    /// The file's size.
    pub bytes: u64,
    /// The time of its data.
    #[schemars(with = "Rfc3339Time")]
    pub data_time: Timestamp,
    /// How it was chosen.
    pub selection: PointSelection,
}

/// What a drill measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DrillMeasurements {
    /// From the beginning to the verdict, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rto_seconds: Option<f64>,
    /// How old the data was at the beginning, in seconds: the newest row where the policy asks for it, else the
    /// recovery point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpo_seconds: Option<i64>,
    /// The time of the newest row, where the policy asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Rfc3339Time>")]
    pub newest_row: Option<Timestamp>,
    /// The phases, in order; together they are `rto_seconds`.
    pub phases: Vec<DrillPhase>,
}

/// A phase of a drill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DrillPhase {
    /// Which: `fetch`, `fetch and restore` (a backup is streamed: both happen at once), `verify`, and `prepare and clean
    /// up` for the rest.
    pub phase: String,
    /// How long, in seconds.
    pub seconds: f64,
}

/// What was allowed, and whether that was kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DrillObjectives {
    /// The recovery time objective in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rto_seconds: Option<i64>,
    /// Whether it was kept; none where nothing was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rto_met: Option<bool>,
    /// The recovery point objective in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpo_seconds: Option<i64>,
    /// Whether it was kept; none where nothing was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpo_met: Option<bool>,
}

/// A check, and how it went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvidenceCheck {
    /// What.
    pub name: String,
    /// `passed`, `failed` or `skipped`.
    pub status: String,
    /// What was seen.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// A line of the operators' checklist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChecklistLine {
    /// The line.
    pub text: String,
    /// How it stands: nothing but a person can say more.
    pub state: ChecklistState,
}

/// How a line of a checklist stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChecklistState {
    /// Nothing of this drill proves it.
    NotProven,
}

/// Who carried a drill out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DrillExecutor {
    /// The run.
    pub run_id: String,
    /// The person and host, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Version of Holdfast.
    pub holdfast: String,
    /// SHA-256 of the drill's rule in the policy, as JSON; 64 hex digits.
    pub rule_sha256: String,
}

impl DrillEvidence {
    /// Its key below the store's prefix.
    pub fn key(&self) -> String {
        let slot = self.slot.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ");
        let made = self.injected.map(|f| format!("-injected-{f}")).unwrap_or_default();
        let name = |n: &str| storage::key::escape_name(n);
        let (drill, group, asset) = (name(&self.drill), name(&self.group), name(&self.asset));
        format!("{EVIDENCE_PREFIX}{drill}/{slot}{made}/{group}/{asset}.json")
    }

    /// Its bytes as they are written and signed.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("evidence is plain data");
        json.push(b'\n');
        json
    }

    /// Reads it.
    ///
    /// # Errors
    /// If it is none of this version.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let read: Self =
            serde_json::from_slice(json).map_err(|e| format!("it is no evidence: {e}"))?;
        if read.evidence != EVIDENCE_VERSION {
            return Err(format!(
                "it is evidence of version {}, and this one knows {EVIDENCE_VERSION}",
                read.evidence
            ));
        }
        read.check_consistency()?;
        Ok(read)
    }

    /// Whether it says one thing: `proven` needs a recovery point, a check that passed and none that failed, and kept
    /// objectives; phases together are the whole.
    ///
    /// # Errors
    /// If not.
    pub fn check_consistency(&self) -> Result<(), String> {
        let wrong = |why: &str| Err(format!("it contradicts itself: {why}"));
        if self.finished_at < self.started_at {
            return wrong("it ended before it began");
        }
        let measured: f64 = self.measured.phases.iter().map(|p| p.seconds).sum();
        let total = self.measured.rto_seconds.unwrap_or(0.0);
        if (measured - total).abs() > 0.01 || self.measured.phases.iter().any(|p| p.seconds < 0.0) {
            return wrong("its phases are not its total");
        }
        if self.verdict != DrillVerdict::Proven {
            return if self.reason.is_empty() { wrong("it does not say why") } else { Ok(()) };
        }
        let status = |s: &str| self.checks.iter().any(|c| c.status == s);
        if self.trigger == DrillTrigger::Missed {
            return wrong("what was missed proves nothing");
        }
        if self.point.is_none() || !status("passed") || status("failed") || total <= 0.0 {
            return wrong("nothing that was restored and checked proves it");
        }
        if self.kind.proves_restore() && self.restored_on.is_none() {
            return wrong("it was not restored");
        }
        let missed = |met: Option<bool>| met == Some(false);
        if missed(self.objectives.rto_met) || missed(self.objectives.rpo_met) {
            return wrong("an objective was missed");
        }
        Ok(())
    }

    /// Whether it proves that the asset can be restored.
    pub fn proves_restore(&self) -> bool {
        self.verdict == DrillVerdict::Proven
            && self.kind.proves_restore()
            && self.injected.is_none()
    }

    /// SHA-256 of its bytes, 64 hex digits.
    pub fn sha256(&self) -> String {
        hex_encode(&Sha256::digest(self.to_json()))
    }
}

impl DrillVerdict {
    /// As people read it: what is not green shouts.
    pub fn label(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::CouldNotVerify => "COULD NOT VERIFY",
            Self::Failed => "FAILED",
        }
    }
}

impl fmt::Display for DrillFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// The JSON Schema of evidence.
pub fn evidence_schema() -> Value {
    serde_json::to_value(schemars::schema_for!(DrillEvidence)).expect("a schema is JSON")
}

#[cfg(test)]
pub(crate) mod tests;

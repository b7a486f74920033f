//! Which drills are due, and how old each asset's proof is. Pure: what exists, the evidence and the time decide alone.
//!
//! | evidence of the slot | time | next |
//! |---|---|---|
//! | there | any | nothing |
//! | none | the slot is open | restore |
//! | none | its time is over, and the drill ran before | evidence that it was missed |
//! | none | its time is over, and the drill never ran | nothing; the asset is unproven |
//!
//! Only the newest slot is looked at, so a clock that jumps over years causes one drill of each asset. A store that could
//! not be read is not among what was observed, and nothing is planned for it.

use crate::{
    calendar::DrillCalendar,
    choose::{Candidate, rotate_assets},
    evidence::{DrillEvidence, DrillTrigger, DrillVerdict},
};
use jiff::Timestamp;
use serde::Serialize;
use shared::{
    hints::commands,
    metrics::{Metric, MetricValue, aggregate_max},
    plan::{ActionPlan, Finding, FindingCode, Operates, Operation, Severity},
    policy::{DrillKind, DrillRule, text::Name},
    report::{AssetCoverage, AssetStatus},
    time::format_duration,
};
use std::{collections::BTreeMap, fmt};

/// A drill and its assets, as they were observed.
#[derive(Clone, Debug)]
pub struct ObservedDrill<'p> {
    /// The drill.
    pub drill: &'p Name,
    /// Its rule.
    pub rule: &'p DrillRule,
    /// The group of its assets.
    pub group: &'p Name,
    /// Its calendar.
    pub calendar: DrillCalendar,
    /// Its assets.
    pub assets: Vec<ObservedAsset>,
}

/// An asset of a drill.
#[derive(Clone, Debug, Default)]
pub struct ObservedAsset {
    /// Its name.
    pub asset: String,
    /// Its recovery points.
    pub candidates: Vec<Candidate>,
    /// The evidence of this drill of it that counts, by slot.
    pub evidence: Vec<DrillEvidence>,
    /// When a restore of it was proven last, by any drill.
    pub proven_at: Option<Timestamp>,
}

/// One drill of one asset in one slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DrillTask {
    /// The drill.
    pub drill: Name,
    /// Its kind.
    pub kind: DrillKind,
    /// The group.
    pub group: Name,
    /// The asset.
    pub asset: String,
    /// The slot.
    pub slot: Timestamp,
}

/// What a run does. Nothing here names anything that exists: a drill makes what it works on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "action")]
pub enum DrillAction {
    /// Restores, checks, and writes the evidence.
    Restore(DrillTask),
    /// Writes evidence that the slot was missed.
    RecordMissed(DrillTask),
}

impl DrillAction {
    /// What it is of.
    pub fn task(&self) -> &DrillTask {
        match self {
            Self::Restore(task) | Self::RecordMissed(task) => task,
        }
    }
}

impl fmt::Display for DrillAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restore(t) => {
                write!(f, "drill {} ({}) of {}/{}", t.drill, t.kind, t.group, t.asset)
            }
            Self::RecordMissed(t) => {
                write!(f, "record that drill {} of {}/{} was missed", t.drill, t.group, t.asset)
            }
        }
    }
}

impl Operates for DrillAction {
    fn operation(&self) -> Operation {
        match self {
            Self::Restore(t) if t.kind.proves_restore() => Operation::Restore,
            Self::Restore(_) => Operation::Check,
            Self::RecordMissed(_) => Operation::Other,
        }
    }
}

impl ObservedAsset {
    /// The evidence of a slot; what was injected is none.
    pub fn evidence_of_slot(&self, slot: Timestamp) -> Option<&DrillEvidence> {
        self.evidence.iter().find(|e| e.slot == slot && e.injected.is_none())
    }

    /// The newest evidence that says something of the asset.
    pub fn newest_evidence(&self) -> Option<&DrillEvidence> {
        self.evidence
            .iter()
            .filter(|e| e.injected.is_none())
            .max_by_key(|e| (e.finished_at, e.slot))
    }
}

impl ObservedDrill<'_> {
    /// The assets whose turn it is in a slot.
    pub fn assets_of_slot(&self, slot: Timestamp) -> Vec<&ObservedAsset> {
        let proof = |a: &ObservedAsset| {
            let proven = |e: &&DrillEvidence| {
                e.slot < slot && e.injected.is_none() && e.verdict == DrillVerdict::Proven
            };
            a.evidence.iter().filter(proven).map(|e| e.slot).max()
        };
        let proofs: Vec<_> = self.assets.iter().map(|a| (a.asset.as_str(), proof(a))).collect();
        let turn = rotate_assets(&proofs, self.rule.rotate.map(|n| n.get() as usize));
        self.assets.iter().filter(|a| turn.contains(&a.asset.as_str())).collect()
    }

    /// The task of an asset in a slot.
    pub fn task(&self, asset: &str, slot: Timestamp) -> DrillTask {
        DrillTask {
            drill: self.drill.clone(),
            kind: self.rule.kind,
            group: self.group.clone(),
            asset: asset.to_owned(),
            slot,
        }
    }

    /// Slots that pass until each asset had its turn.
    fn slots_per_round(&self) -> usize {
        self.rule.rotate.map_or(1, |n| self.assets.len().div_ceil(n.get() as usize).max(1))
    }
}

/// What is due, and what differs from the policy.
pub fn plan(observed: &[ObservedDrill<'_>], now: Timestamp) -> ActionPlan<DrillAction> {
    let mut plan = ActionPlan::default();
    for drill in observed {
        let Some(slot) = drill.calendar.last_slot(now) else { continue };
        let ran = drill.assets.iter().any(|a| a.newest_evidence().is_some());
        for asset in drill.assets_of_slot(slot) {
            if asset.evidence_of_slot(slot).is_some() {
                continue;
            }
            let named = format!("{}/{}", drill.group, asset.asset);
            let task = drill.task(&asset.asset, slot);
            if drill.calendar.is_open(slot, now) {
                plan.push_step(
                    named,
                    DrillAction::Restore(task),
                    format!("it is due since {slot}"),
                );
            } else if ran {
                let over = drill.calendar.start_deadline(slot);
                let why = format!("it was due at {slot} and had not begun by {over}");
                plan.push_step(named, DrillAction::RecordMissed(task), why);
            }
        }
    }
    plan.findings = find_problems(observed, now);
    plan
}

/// What is wrong with the drills of each asset, and which have no proof.
fn find_problems(observed: &[ObservedDrill<'_>], now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut unproven = BTreeMap::new();
    for drill in observed {
        for asset in &drill.assets {
            findings.extend(find_outcome_problem(drill, asset, now));
            if let Some(finding) = find_unproven(drill, asset, now) {
                // One finding of an asset, whichever of its drills should have proven it.
                unproven.entry((drill.group, asset.asset.as_str())).or_insert(finding);
            }
        }
    }
    findings.extend(unproven.into_values());
    findings
}

/// What the newest drill of an asset came to, where that is not good.
fn find_outcome_problem(
    drill: &ObservedDrill<'_>,
    asset: &ObservedAsset,
    now: Timestamp,
) -> Option<Finding> {
    let name = drill.drill.as_str();
    let finding = |severity, code, why: String, hint: String| {
        Finding::new(severity, &asset.asset, code, why, hint).in_group(drill.group)
    };
    let newest = asset.newest_evidence()?;
    let missed = |slot: Timestamp| {
        let why = format!("drill {name} was due at {slot} and did not begin in time");
        let hint = commands::run(&commands::drill_run(name));
        finding(Severity::Warning, FindingCode::DrillMissed, why, hint)
    };
    let slot = drill.calendar.last_slot(now)?;
    let begun = asset.evidence.iter().any(|e| e.injected.is_none() && e.slot >= slot);
    let over = !drill.calendar.is_open(slot, now) && !begun;
    // One by hand after a missed slot is as good a proof.
    let made_up = newest.verdict == DrillVerdict::Proven && newest.finished_at > slot;
    let its_turn = || drill.assets_of_slot(slot).iter().any(|a| a.asset == asset.asset);
    if over && !made_up && its_turn() {
        return Some(missed(slot));
    }
    if newest.trigger == DrillTrigger::Missed {
        return Some(missed(newest.slot));
    }
    let hint = format!(
        "{} and see what failed; then {}",
        commands::run(&commands::drill_show(name)),
        commands::run(&commands::drill_run(name))
    );
    match newest.verdict {
        DrillVerdict::Proven => None,
        DrillVerdict::Failed => {
            let why = format!("drill {name} of {} failed: {}", newest.slot, newest.reason);
            Some(finding(Severity::Critical, FindingCode::DrillFailed, why, hint))
        }
        DrillVerdict::CouldNotVerify => {
            let why = format!(
                "drill {name} of {} could not be carried out: {}",
                newest.slot, newest.reason
            );
            Some(finding(Severity::Warning, FindingCode::DrillUnverified, why, hint))
        }
    }
}

/// Whether an asset has no proof, or none for longer than the drill's calendar allows: two slots, and with rotation two
/// rounds.
fn find_unproven(
    drill: &ObservedDrill<'_>,
    asset: &ObservedAsset,
    now: Timestamp,
) -> Option<Finding> {
    if !drill.rule.kind.proves_restore() {
        return None;
    }
    let why = match asset.proven_at {
        None => "no drill has proven a restore of it yet".to_owned(),
        Some(at) => {
            let back = std::iter::successors(drill.calendar.last_slot(now), |slot| {
                drill.calendar.previous_slot(*slot)
            });
            let limit = back.take(2 * drill.slots_per_round()).last()?;
            if at >= limit {
                return None;
            }
            let age = format_duration(now.duration_since(at));
            format!(
                "a restore of it was proven {age} ago, and drill {} asks for one since {limit}",
                drill.drill
            )
        }
    };
    let hint = commands::run(&commands::drill_run(drill.drill.as_str()));
    let finding = Finding::new(Severity::Warning, &asset.asset, FindingCode::Unproven, why, hint);
    Some(finding.in_group(drill.group))
}

/// How old the proof of each asset of a drill that restores is.
pub fn proof_statuses(observed: &[ObservedDrill<'_>], now: Timestamp) -> Vec<AssetStatus> {
    proofs(observed)
        .into_iter()
        .map(|((group, asset), proven_at)| {
            let mut status = AssetStatus::new(group, asset);
            // It was read; whether it is well, others judge.
            status.coverage = AssetCoverage::NotWatched;
            status.proof_wanted = true;
            status.proof_age_seconds = proven_at.map(|at| now.duration_since(at).as_secs().max(0));
            status
        })
        .collect()
}

/// The same for CloudWatch and Prometheus.
pub fn proof_metrics(observed: &[ObservedDrill<'_>], now: Timestamp) -> Vec<MetricValue> {
    let proofs = proofs(observed);
    #[expect(clippy::cast_precision_loss, reason = "an age in seconds")]
    let values = proofs.iter().map(|((group, asset), at)| {
        (*group, *asset, at.map(|at| now.duration_since(at).as_secs().max(0) as f64))
    });
    aggregate_max(Metric::ProofAge, values)
}

fn proofs<'o>(
    observed: &'o [ObservedDrill<'_>],
) -> BTreeMap<(&'o str, &'o str), Option<Timestamp>> {
    let restoring = observed.iter().filter(|d| d.rule.kind.proves_restore());
    let assets = restoring.flat_map(|d| d.assets.iter().map(move |a| (d.group.as_str(), a)));
    assets.map(|(group, a)| ((group, a.asset.as_str()), a.proven_at)).collect()
}

#[cfg(test)]
mod tests;

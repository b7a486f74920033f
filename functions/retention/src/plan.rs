//! Which recovery points may go. Pure: no I/O and no clock.

mod judge;

pub use judge::{RetentionDecision, evaluate_points};

use crate::vault::may_delete;
use jiff::Timestamp;
use serde::Serialize;
use shared::{
    catalog::{Inventory, Location, RecoveryPoint},
    hints::commands,
    keep::{RetentionVerdict, find_unmatched_holds},
    plan::{
        ActionPlan, DeletionPermit, Finding, FindingCode, Operates, Operation, PlanStep, Severity,
    },
    policy::{DeleteLimit, Policy},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// What the function does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeleteSnapshot {
    /// Where the point is.
    pub at: Location,
    /// The point, cleared by the safety check.
    pub point: Box<DeletionPermit<RecoveryPoint>>,
}

impl Operates for DeleteSnapshot {
    fn operation(&self) -> Operation {
        Operation::Delete
    }
}

impl fmt::Display for DeleteSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "delete {} at {}", self.point.point().id, self.at)
    }
}

/// What a plan comes to, with the counts that are published.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RetentionPlan {
    /// Steps and findings.
    pub plan: ActionPlan<DeleteSnapshot>,
    /// Points of Holdfast's that stay.
    pub retained: usize,
    /// Points that would have gone and did not, because of the limits.
    pub blocked: usize,
    /// The steps that the limits refused: a dry run shows them.
    pub blocked_steps: Vec<PlanStep<DeleteSnapshot>>,
}

/// Plans what goes at `now`, place by place. A place that was not seen whole loses nothing, and neither does home while a
/// place that copies from it is unseen.
pub fn plan(policy: &Policy, seen: &Inventory, now: Timestamp) -> RetentionPlan {
    let mut out = RetentionPlan::default();
    out.plan.findings.extend(seen.errors.iter().map(Finding::from_observation_error));
    out.plan.findings.extend(unmatched_holds(policy, seen));
    let owner = policy.owner();
    let judged = evaluate_points(policy, seen, now);
    out.plan.findings.extend(unmanaged_point_findings(policy, seen, &judged, &owner));
    out.plan.findings.extend(suspended_findings(&judged));
    let mut by_place: BTreeMap<&Location, Vec<RetentionDecision<'_>>> = BTreeMap::new();
    for judged in judged {
        by_place.entry(judged.place).or_default().push(judged);
    }
    for (place, mut judged) in by_place {
        // Oldest first: a run that is stopped half-way leaves the newer points.
        judged.sort_by_key(|j| j.point.data_time);
        let ours = judged.iter().filter(|j| j.point.is_owned_by(&owner) && !j.point.automated);
        let stays = |j: &&RetentionDecision<'_>| !matches!(j.verdict, RetentionVerdict::Delete(..));
        out.retained += ours.filter(stays).count();
        // What another account deletes itself is no mistake that a limit could stop.
        let refused = if may_delete(policy, place) {
            let counts = count_good_points(&judged, &owner);
            check_delete_limit(&policy.limits.delete, &place.to_string(), counts)
        } else {
            None
        };
        let steps = judged.into_iter().filter_map(|j| match j.verdict {
            RetentionVerdict::Delete(point, because) => {
                let action = DeleteSnapshot { at: place.clone(), point };
                Some(PlanStep { asset: j.point.database.clone(), action, reason: because })
            }
            RetentionVerdict::Keep(_) | RetentionVerdict::Suspended(_) => None,
        });
        let Some(finding) = refused else {
            out.plan.steps.extend(steps);
            continue;
        };
        out.plan.findings.push(finding);
        let before = out.blocked_steps.len();
        out.blocked_steps.extend(steps.map(|step| PlanStep {
            reason: format!("the limit refuses it: {}", step.reason),
            ..step
        }));
        out.blocked += out.blocked_steps.len() - before;
        out.retained += out.blocked_steps.len() - before;
    }
    out
}

/// How many good points would go, and how many there are. What failed or was only to be copied on holds nothing that a limit
/// could save.
fn count_good_points(judged: &[RetentionDecision<'_>], owner: &str) -> (usize, usize) {
    let good = |j: &&RetentionDecision<'_>| {
        j.point.is_owned_by(owner)
            && !j.point.automated
            && j.point.is_complete()
            && !j.point.tags.transfer
    };
    let going = judged
        .iter()
        .filter(good)
        .filter(|j| matches!(j.verdict, RetentionVerdict::Delete(..)))
        .count();
    (going, judged.iter().filter(good).count())
}

/// Holds that hold nothing. Where a place was not seen, nobody knows.
fn unmatched_holds(policy: &Policy, seen: &Inventory) -> Vec<Finding> {
    if !seen.errors.is_empty() {
        return Vec::new();
    }
    let points: Vec<&RecoveryPoint> = seen.locations.values().flat_map(|f| &f.points).collect();
    let groups = policy.databases.iter();
    let all = groups.flat_map(|(name, g)| {
        find_unmatched_holds(&g.legal_holds, &points).into_iter().map(move |h| (name, h))
    });
    let finding = |(name, hold): (&_, &str)| {
        let why =
            format!("\"{hold}\" in holds is no recovery point at any place, so it holds nothing");
        let hint = "write the snapshot's identifier or ARN as RDS shows it, or take it out";
        Finding::new(Severity::Warning, hold, FindingCode::HoldUnmatched, why, hint).in_group(name)
    };
    all.map(finding).collect()
}

/// Points that no rule speaks of any more: of databases that no group selects and none would by name, or for reasons that
/// left the policy. Nobody lets them go, so somebody has to know.
fn unmanaged_point_findings(
    policy: &Policy,
    seen: &Inventory,
    judged: &[RetentionDecision<'_>],
    owner: &str,
) -> Vec<Finding> {
    if seen.at_location(&Location::home_from_policy(policy)).is_none() {
        return Vec::new();
    }
    let ruled: BTreeSet<&str> = (judged.iter())
        .filter(|j| j.point.reasons().iter().all(|r| j.reasons.contains(r)))
        .map(|j| j.point.arn.as_str())
        .collect();
    let mut of: BTreeMap<(&Location, &str), (usize, i64)> = BTreeMap::new();
    for (place, point) in
        seen.locations.iter().flat_map(|(p, f)| f.points.iter().map(move |x| (p, x)))
    {
        let ours = point.is_owned_by(owner) && !point.automated && !point.tags.transfer;
        if ours && !ruled.contains(point.arn.as_str()) {
            let (count, gib) = of.entry((place, &point.database)).or_default();
            *count += 1;
            *gib += i64::from(point.size_gib);
        }
    }
    let finding = |((place, database), (count, gib)): ((&Location, &str), (usize, i64))| {
        let why = format!(
            "{count} of its recovery points at {place} (of databases of {gib} GiB in all) are spoken of by no rule of the \
             policy, so they stay for ever"
        );
        let hint = format!(
            "select the database again, or its reason, to let them go by a rule; or delete them in RDS: `{}` lists them",
            commands::explain(database)
        );
        Finding::new(Severity::Warning, database, FindingCode::NoLongerInPolicy, why, hint)
    };
    of.into_iter().map(finding).collect()
}

/// What stays although no rule keeps it, because backups of its kind are not being made: said once for each database.
fn suspended_findings(judged: &[RetentionDecision<'_>]) -> Vec<Finding> {
    let mut of: BTreeMap<(&str, &Location, &str), (usize, &str)> = BTreeMap::new();
    for j in judged {
        if let RetentionVerdict::Suspended(why) = &j.verdict {
            let key = (j.point.database.as_str(), j.place, j.group.as_str());
            of.entry(key).or_insert((0, why)).0 += 1;
        }
    }
    let finding =
        |((database, place, group), (count, why)): ((&str, &Location, &str), (usize, &str))| {
            let why = format!("{count} of its points at {place} would go and stay: {why}");
            let hint =
                format!("see `{}` for what keeps its backups from being made", commands::STATUS);
            Finding::new(Severity::Warning, database, FindingCode::DeletionSuspended, why, hint)
                .in_group(group)
        };
    of.into_iter().map(finding).collect()
}

/// What stands against letting so many good points of one place go at once: a policy that was changed by mistake, a clock
/// that jumped.
pub(crate) fn check_delete_limit(
    limit: &DeleteLimit,
    place: &str,
    (going, good): (usize, usize),
) -> Option<Finding> {
    #[expect(clippy::cast_precision_loss, reason = "counts of points are far below 2^52")]
    let share = going as f64 / good.max(1) as f64;
    let over = going > limit.count as usize || share > limit.share.fraction();
    let why = format!(
        "{going} of {good} good points would go at once, over the limit of {} or {}; nothing goes",
        limit.count, limit.share
    );
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 100")]
    let percent = (share * 100.0).ceil() as u32;
    let hint = format!(
        "see them by `{}`; if they are right, write limits: {{ delete: {{ count: {}, share: \
         {percent}% }} }} in the policy, and take it back after one run",
        commands::PLAN_RETENTION,
        going.max(limit.count as usize)
    );
    over.then(|| {
        Finding::new(Severity::Critical, place, FindingCode::DeleteLimitExceeded, why, hint)
    })
}

#[cfg(test)]
mod tests;

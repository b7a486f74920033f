//! KMS keys: what is complete and can't be decrypted can't be restored.

use super::{FreshnessEvaluation, FreshnessObservations};
use shared::{
    aws::kms::KeyState,
    catalog::{Inventory, Location, RecoveryPoint},
    observe::select_databases,
    plan::{Finding, FindingCode, Severity},
    policy::Policy,
};
use std::collections::{BTreeMap, BTreeSet};

/// The keys of all good points of the policy's databases, by the place that knows them: each is asked for once a run.
pub(crate) fn keys_to_describe(
    policy: &Policy,
    seen: &Inventory,
) -> BTreeMap<Location, BTreeSet<String>> {
    let Some(home) = seen.at_location(&Location::home_from_policy(policy)) else {
        return BTreeMap::new();
    };
    let selected = select_databases(policy, &home.databases);
    let ours: BTreeSet<&str> =
        selected.selected_databases().map(|(_, _, d)| d.id.as_str()).collect();
    let keys = seen.locations.iter().map(|(place, fleet)| {
        let points =
            fleet.points.iter().filter(|p| p.is_complete() && ours.contains(p.database.as_str()));
        (place.clone(), points.filter_map(|p| p.kms_key.clone()).collect::<BTreeSet<_>>())
    });
    keys.filter(|(_, keys)| !keys.is_empty()).collect()
}

/// Whether a point can be decrypted, as far as is known.
pub(super) fn is_key_usable(facts: &FreshnessObservations, point: &RecoveryPoint) -> bool {
    key_fault(facts, point).is_none()
}

/// What is wrong with a point's key.
fn key_fault(facts: &FreshnessObservations, point: &RecoveryPoint) -> Option<String> {
    match facts.keys.get(point.kms_key.as_ref()?)? {
        Ok(KeyState::Usable) | Err(_) => None,
        Ok(KeyState::Disabled) => Some("is disabled".into()),
        Ok(KeyState::PendingDeletion(Some(at))) => {
            Some(format!("is deleted at {at}, and all under it is lost then"))
        }
        Ok(KeyState::PendingDeletion(None)) => Some("is pending deletion".into()),
        Ok(KeyState::Missing) => Some("is not there any more".into()),
        Ok(KeyState::Unusable(word)) => Some(format!("is {word}")),
    }
}

/// Says which of some points can't be decrypted; true when that is all of them.
pub(super) fn check_keys<'p>(
    judged: &mut FreshnessEvaluation,
    facts: &FreshnessObservations,
    points: impl Iterator<Item = &'p RecoveryPoint>,
    what: &str,
) -> bool {
    let (mut all, mut by_key) = (0_usize, BTreeMap::<(&str, String), usize>::new());
    for point in points {
        all += 1;
        if let (Some(key), Some(fault)) = (point.kms_key.as_deref(), key_fault(facts, point)) {
            *by_key.entry((key, fault)).or_default() += 1;
        }
    }
    let locked: usize = by_key.values().sum();
    for ((key, fault), count) in by_key {
        let why = format!("{count} of its {all} {what} can't be restored: the key {key} {fault}");
        let hint = format!(
            "run `aws kms cancel-key-deletion --key-id {key}`, then `aws kms enable-key --key-id {key}`"
        );
        judged.push_critical(FindingCode::KmsKeyUnusable, why, hint);
    }
    all > 0 && locked == all
}

/// Keys that could not be asked for: their points count, and that is not proven.
pub(super) fn unknown_key_findings(facts: &FreshnessObservations) -> Vec<Finding> {
    let failed = facts.keys.iter().filter_map(|(key, state)| Some((key, state.as_ref().err()?)));
    let finding = |(key, e): (&String, &shared::aws::OperationError)| {
        let why = format!("whether it can decrypt is not known: {e}");
        Finding::new(Severity::Warning, key, FindingCode::KmsKeyNotReadable, why, e.hint())
    };
    failed.map(finding).collect()
}

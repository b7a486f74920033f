//! The state table of a drill that restores an RDS instance. Pure: its state is what exists and the evidence.
//!
//! | evidence | instance under the slot's name | next |
//! |---|---|---|
//! | none | absent, slot open, room in quota and limit | look again, then restore |
//! | none | absent, slot over | evidence that it was missed |
//! | none | ours, on its way | wait |
//! | none | ours, available, no login | set a random password |
//! | none | ours, available | check, then evidence |
//! | none | ours, failed | evidence that it failed |
//! | none | there, not ours | a finding; never touched |
//! | any | ours, older than its lifetime, or its drill is gone from the policy | evidence if there is none, then delete |
//! | there | ours | look again: same resource id, tags, no hold; then delete |
//! | any | ours by tags, under another name | a finding; never deleted: tags are inherited |
//! | any | ours, held | a finding; never deleted |
//!
//! Tear-down is this table too, so it goes on when a drill, or the whole policy, is gone. "Ours" takes the owner's tag, the
//! drill's tags, and the name that follows from them; the owner is hashed into the name. No function carries this out yet.

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use shared::{time::format_slot, words::hex_encode};
use std::collections::{BTreeMap, BTreeSet};

/// What every name of an instance that a drill made begins with.
pub const INSTANCE_PREFIX: &str = "hfd-";
/// The longest identifier of an instance.
const MAX_IDENTIFIER: usize = 63;
/// Tags of an instance that a drill made.
pub const OWNER_TAG: &str = "holdfast:owner";
/// The drill.
pub const DRILL_TAG: &str = "holdfast:drill";
/// The slot.
pub const SLOT_TAG: &str = "holdfast:slot";
/// The asset that was restored.
pub const ASSET_TAG: &str = "holdfast:asset";
/// Somebody keeps it.
pub const HOLD_TAG: &str = "holdfast:hold";

/// A drill of an asset in a slot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InstanceDrillKey {
    /// The drill.
    pub drill: String,
    /// The slot.
    pub slot: Timestamp,
    /// The asset.
    pub asset: String,
}

/// An instance, as `DescribeDBInstances` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedInstance {
    /// Its identifier.
    pub name: String,
    /// Its resource id, which no rename changes.
    pub resource_id: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its status.
    pub status: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether this run can log in.
    pub has_login: bool,
}

/// A drill of the policy that is of instances.
#[derive(Clone, Debug)]
pub struct InstanceDrill {
    /// Its name.
    pub drill: String,
    /// Its newest slot.
    pub slot: Timestamp,
    /// Whether that may still begin.
    pub is_open: bool,
    /// Its assets.
    pub assets: Vec<String>,
    /// Restores at once.
    pub max_live: usize,
}

/// What limits drills.
#[derive(Clone, Debug)]
pub struct InstanceLimits {
    /// The policy's owner.
    pub owner: String,
    /// How long what a drill made may live.
    pub lifetime: SignedDuration,
    /// Instances that the account may have.
    pub quota: usize,
    /// So many of them no drill ever takes: a real recovery needs them.
    pub reserve: usize,
}

/// What is done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstanceStep {
    /// Restore the asset's recovery point under this name, with these tags and no others.
    Restore {
        /// Its name.
        name: String,
        /// Its tags, and no others.
        tags: BTreeMap<String, String>,
        /// The drill.
        key: InstanceDrillKey,
    },
    /// Set a random password, which is not stored.
    SetPassword {
        /// Its name.
        name: String,
        /// Its resource id, as it was judged.
        resource_id: String,
    },
    /// Check it, and write the evidence.
    Check {
        /// Its name.
        name: String,
        /// Its resource id, as it was judged.
        resource_id: String,
        /// The drill.
        key: InstanceDrillKey,
    },
    /// Write evidence without checks.
    Conclude {
        /// The drill.
        key: InstanceDrillKey,
        /// Whether it failed; else it could not be verified.
        failed: bool,
        /// Why.
        reason: String,
    },
    /// Delete it.
    Delete {
        /// Its name.
        name: String,
        /// Its resource id, as it was judged.
        resource_id: String,
    },
}

/// What only a person can settle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InstanceProblem {
    /// It has a drill's name or tags and is not ours.
    Foreign(String),
    /// Somebody holds it; it costs.
    Held(String),
    /// It outlived its lifetime and can't be deleted in its state.
    Stuck(String),
    /// A slot's name is taken by what is not ours.
    NameTaken(String),
    /// There is no room in the quota.
    NoQuota(String),
}

/// Steps and problems.
#[derive(Clone, Debug, Default)]
pub struct InstancePlan {
    /// What to do, in order.
    pub steps: Vec<InstanceStep>,
    /// What to tell.
    pub problems: BTreeSet<InstanceProblem>,
}

/// The name of the instance of a drill: it follows from owner, drill, asset and slot.
pub fn instance_name(owner: &str, key: &InstanceDrillKey) -> String {
    let slot = format_slot(key.slot);
    let whole = format!("{owner}|{}|{}|{slot}", key.drill, key.asset);
    let hash = &hex_encode(&Sha256::digest(whole))[..12];
    let keep = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let words: String = format!("{}-{}", key.drill, key.asset).chars().map(keep).collect();
    let tail = format!("-{slot}-{hash}");
    let room = MAX_IDENTIFIER - INSTANCE_PREFIX.len() - tail.len();
    let mut name = format!("{INSTANCE_PREFIX}{}{tail}", &words[..words.len().min(room)]);
    // RDS takes no two hyphens in a row.
    while name.contains("--") {
        name = name.replace("--", "-");
    }
    name
}

/// The tags of the instance of a drill.
pub fn instance_tags(owner: &str, key: &InstanceDrillKey) -> BTreeMap<String, String> {
    BTreeMap::from([
        (OWNER_TAG.to_owned(), owner.to_owned()),
        (DRILL_TAG.to_owned(), key.drill.clone()),
        (ASSET_TAG.to_owned(), key.asset.clone()),
        (SLOT_TAG.to_owned(), format_slot(key.slot)),
    ])
}

impl ObservedInstance {
    /// The drill that its tags name, where they are this owner's.
    fn tagged_key(&self, owner: &str) -> Option<InstanceDrillKey> {
        let tag = |name: &str| self.tags.get(name).cloned();
        (tag(OWNER_TAG)? == owner).then_some(())?;
        let slot = shared::time::parse_slot(&tag(SLOT_TAG)?)?;
        Some(InstanceDrillKey { drill: tag(DRILL_TAG)?, slot, asset: tag(ASSET_TAG)? })
    }

    /// The drill that made it: its tags say so, and its name follows from them.
    fn own_key(&self, owner: &str) -> Option<InstanceDrillKey> {
        self.tagged_key(owner).filter(|key| instance_name(owner, key) == self.name)
    }

    fn is_held(&self) -> bool {
        self.tags.contains_key(HOLD_TAG)
    }
}

/// Whether what is found under a name just before it is deleted is what was judged: the same resource, ours, not held.
pub fn may_delete(owner: &str, resource_id: &str, found: Option<&ObservedInstance>) -> bool {
    found.is_some_and(|i| {
        i.resource_id == resource_id
            && i.own_key(owner).is_some()
            && !i.is_held()
            && i.status != "deleting"
    })
}

/// Whether a restore is still right just before it: no evidence, no instance of the name, and room.
pub fn may_restore(
    limits: &InstanceLimits,
    name: &str,
    observed: &[ObservedInstance],
    has_evidence: bool,
) -> bool {
    !has_evidence
        && !observed.iter().any(|i| i.name == name)
        && observed.len() + limits.reserve < limits.quota
}

/// What follows from what exists. `drills` is empty where the policy has none, or is broken: then everything that is ours
/// is torn down.
pub fn plan_instances(
    observed: &[ObservedInstance],
    evidence: &BTreeSet<InstanceDrillKey>,
    drills: &[InstanceDrill],
    limits: &InstanceLimits,
    now: Timestamp,
) -> InstancePlan {
    let mut plan = InstancePlan::default();
    for instance in observed {
        plan_existing(&mut plan, instance, evidence, drills, limits, now);
    }
    for drill in drills {
        plan_missing(&mut plan, observed, evidence, drill, limits);
    }
    plan
}

fn plan_existing(
    plan: &mut InstancePlan,
    instance: &ObservedInstance,
    evidence: &BTreeSet<InstanceDrillKey>,
    drills: &[InstanceDrill],
    limits: &InstanceLimits,
    now: Timestamp,
) {
    let name = instance.name.clone();
    let Some(key) = instance.own_key(&limits.owner) else {
        let tagged = instance.tagged_key(&limits.owner).is_some();
        if tagged || name.starts_with(INSTANCE_PREFIX) {
            plan.problems.insert(InstanceProblem::Foreign(name));
        }
        return;
    };
    if instance.is_held() {
        plan.problems.insert(InstanceProblem::Held(name));
        return;
    }
    let status = instance.status.as_str();
    if status == "deleting" {
        return;
    }
    let done = evidence.contains(&key);
    let old = now.duration_since(instance.created_at) > limits.lifetime;
    let gone = !drills.iter().any(|d| d.drill == key.drill);
    let resource_id = instance.resource_id.clone();
    let failed = ["failed", "restore-error", "insufficient-capacity"].contains(&status)
        || status.starts_with("incompatible-")
        || status == "inaccessible-encryption-credentials";
    if failed && !done {
        let reason = format!("RDS could not restore it: {status}");
        plan.steps.push(InstanceStep::Conclude { key, failed: true, reason });
        return;
    }
    if done || old || gone {
        if !done {
            let reason = if old {
                "it took longer than a drill may"
            } else {
                "its drill is gone from the policy"
            };
            plan.steps.push(InstanceStep::Conclude { key, failed: false, reason: reason.into() });
        }
        // RDS deletes nothing that is being made.
        match status {
            "creating" if old => drop(plan.problems.insert(InstanceProblem::Stuck(name))),
            "creating" => {}
            _ => plan.steps.push(InstanceStep::Delete { name, resource_id }),
        }
    } else if status == "available" && !instance.has_login {
        plan.steps.push(InstanceStep::SetPassword { name, resource_id });
    } else if status == "available" {
        plan.steps.push(InstanceStep::Check { name, resource_id, key });
    }
}

fn plan_missing(
    plan: &mut InstancePlan,
    observed: &[ObservedInstance],
    evidence: &BTreeSet<InstanceDrillKey>,
    drill: &InstanceDrill,
    limits: &InstanceLimits,
) {
    let of_owner = |i: &&ObservedInstance| i.tagged_key(&limits.owner).is_some();
    let planned = |s: &&InstanceStep| matches!(s, InstanceStep::Restore { .. });
    for asset in &drill.assets {
        let (name, slot) = (drill.drill.clone(), drill.slot);
        let key = InstanceDrillKey { drill: name, slot, asset: asset.clone() };
        if evidence.contains(&key) {
            continue;
        }
        let name = instance_name(&limits.owner, &key);
        if let Some(there) = observed.iter().find(|i| i.name == name) {
            if there.own_key(&limits.owner).is_none() {
                plan.problems.insert(InstanceProblem::NameTaken(name));
            }
            continue;
        }
        if !drill.is_open {
            let reason = "missed: it did not begin in time".to_owned();
            plan.steps.push(InstanceStep::Conclude { key, failed: false, reason });
            continue;
        }
        let begun = plan.steps.iter().filter(planned).count();
        if observed.iter().filter(of_owner).count() + begun >= drill.max_live {
            continue;
        }
        if observed.len() + begun + limits.reserve >= limits.quota {
            plan.problems.insert(InstanceProblem::NoQuota(asset.clone()));
            continue;
        }
        let tags = instance_tags(&limits.owner, &key);
        plan.steps.push(InstanceStep::Restore { name, tags, key });
    }
}

#[cfg(test)]
mod tests;

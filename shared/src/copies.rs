//! How snapshots and their copies at a destination stand to each other: what `offsite` makes, `freshness` judges and
//! `retention` must not delete.

use crate::{
    catalog::{Location, RecoveryPoint, RecoveryPointState},
    keep::reasons_to_keep,
    policy::{CopyDestination, DatabaseGroup, Policy, RetentionRule, SnapshotCopyRule, text::Arn},
};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// The rules of a group that copy into a place. They are one: what any of them wants is copied, and what any of them keeps
/// stays there.
pub fn copy_rules_to<'a>(
    policy: &'a Policy,
    group: &'a DatabaseGroup,
    place: &Location,
) -> impl Iterator<Item = &'a SnapshotCopyRule> {
    let there = move |rule: &&SnapshotCopyRule| {
        Location::for_destination(policy, &rule.to).as_ref() == Some(place)
    };
    group.copies.iter().filter(there)
}

/// The places that a group copies into, each once, with the first of its rules.
pub fn copy_locations<'a>(
    policy: &Policy,
    group: &'a DatabaseGroup,
) -> Vec<(Location, &'a SnapshotCopyRule)> {
    let mut places: Vec<(Location, &SnapshotCopyRule)> = Vec::new();
    for rule in &group.copies {
        if let Some(place) = Location::for_destination(policy, &rule.to)
            && !places.iter().any(|(p, _)| *p == place)
        {
            places.push((place, rule));
        }
    }
    places
}

/// One database's points at home and at a destination.
#[derive(Clone, Copy, Debug)]
pub struct CopyComparison<'a, 's> {
    /// The policy.
    pub policy: &'a Policy,
    /// The group that the database is in.
    pub group: &'a DatabaseGroup,
    /// The copy rule; the group's other rules to the same place count with it.
    pub rule: &'a SnapshotCopyRule,
    /// Every point of the database at home, one lineage.
    pub source_points: &'s [&'a RecoveryPoint],
    /// Every point of the database at the destination.
    pub destination_points: &'s [&'a RecoveryPoint],
}

/// Where the copy of a point stands.
#[derive(Clone, Debug, PartialEq)]
pub enum CopyStatus<'a> {
    /// Complete, and read back: key and size are as they must be.
    Good(&'a RecoveryPoint),
    /// On its way.
    InFlight(&'a RecoveryPoint),
    /// Complete, but not what was asked for; it does not count.
    Wrong(&'a RecoveryPoint, String),
    /// Not there; so many tries failed.
    Missing {
        /// Failed tries.
        failed: usize,
    },
}

/// A point at home with its copy, and whether the destination's rule wants it.
#[derive(Clone, Debug)]
pub struct CopyCandidate<'a> {
    /// The point at home.
    pub source: &'a RecoveryPoint,
    /// Why the destination would keep a copy; empty when it would not.
    pub keep_reasons: Vec<String>,
    /// Where its copy stands.
    pub status: CopyStatus<'a>,
}

impl<'a> CopyComparison<'a, '_> {
    fn destination(&self) -> Option<&'a CopyDestination> {
        self.policy.destinations.get(&self.rule.to)
    }

    /// Every good point at home that a rule to this place speaks of, newest first. A copy is wanted when the destination
    /// would keep it by any of its rules, so what is copied now is never what is deleted next.
    pub fn candidates(&self, now: Timestamp) -> Vec<CopyCandidate<'a>> {
        let owner = self.policy.owner();
        let mut out: BTreeMap<&str, CopyCandidate<'a>> = BTreeMap::new();
        for (reason, rules) in self.rules_by_reason() {
            let sources: Vec<&RecoveryPoint> = (self.source_points.iter().copied())
                .filter(|p| p.is_complete() && !p.tags.transfer && p.has_reason(reason))
                .filter(|p| p.automated || p.is_owned_by(&owner))
                .collect();
            let copies = self
                .destination_points
                .iter()
                .filter(|c| is_own_copy(c, &owner) && c.is_complete() && c.has_reason(reason));
            // An ARN is a name, and names are used again: a snapshot that was deleted and taken anew for its slot has other
            // data than the copy of the first one, and both count, as they do where they lie.
            let mut times: BTreeSet<(&str, Timestamp)> =
                copies.filter_map(|c| Some((c.tags.copy_of.as_deref()?, c.data_time?))).collect();
            times.extend(sources.iter().filter_map(|p| Some((p.arn.as_str(), p.data_time?))));
            let times: Vec<_> = times.into_iter().map(|(arn, at)| ((arn, at), at)).collect();
            let mut whys: Vec<_> =
                rules.iter().map(|keep| reasons_to_keep(&times, keep, now)).collect();
            for source in sources {
                let sent = out.entry(&source.arn).or_insert_with(|| CopyCandidate {
                    source,
                    keep_reasons: Vec::new(),
                    status: self.copy_status(source, &owner),
                });
                let key = source.data_time.map(|at| (source.arn.as_str(), at));
                let why = whys.iter_mut().filter_map(|why| why.remove(&key?));
                sent.keep_reasons.extend(why.flatten());
            }
        }
        let mut out: Vec<_> = out.into_values().collect();
        out.sort_by_key(|sent| std::cmp::Reverse(sent.source.data_time));
        out
    }

    /// By reason, every rule to this place.
    fn rules_by_reason(&self) -> BTreeMap<&'a str, Vec<&'a RetentionRule>> {
        let mut rules: BTreeMap<&str, Vec<&RetentionRule>> = BTreeMap::new();
        let place = Location::for_destination(self.policy, &self.rule.to);
        for rule in place.iter().flat_map(|place| copy_rules_to(self.policy, self.group, place)) {
            for reason in &rule.of {
                rules.entry(reason.as_str()).or_default().push(&rule.keep);
            }
        }
        rules
    }

    fn copy_status(&self, source: &RecoveryPoint, owner: &str) -> CopyStatus<'a> {
        let mut failed = 0;
        let mut best = None;
        for copy in self.destination_points.iter().copied() {
            if !is_own_copy(copy, owner) || !is_copy_of(copy, source) {
                continue;
            }
            match &copy.state {
                RecoveryPointState::Failed(_) => failed += 1,
                RecoveryPointState::InFlight => best = best.or(Some(CopyStatus::InFlight(copy))),
                RecoveryPointState::Good => match self.mismatch(source, copy) {
                    None => return CopyStatus::Good(copy),
                    Some(why) => best = Some(CopyStatus::Wrong(copy, why)),
                },
            }
        }
        best.unwrap_or(CopyStatus::Missing { failed })
    }

    /// The read-back: a copy under another key or of another size is not the copy that was asked for.
    fn mismatch(&self, source: &RecoveryPoint, copy: &RecoveryPoint) -> Option<String> {
        let key = self.destination().and_then(|d| d.kms_key.as_ref()).map(Arn::as_str);
        // An alias can't be compared: RDS answers with the key behind it.
        if let Some(key) = key.filter(|k| !k.contains(":alias/"))
            && copy.encrypted
            && copy.kms_key.as_deref() != Some(key)
        {
            let is = copy.kms_key.as_deref().unwrap_or("no key");
            return Some(format!("it is under {is} instead of {key}"));
        }
        if source.encrypted && !copy.encrypted {
            return Some("it is not encrypted and its source is".into());
        }
        if copy.size_gib < source.size_gib {
            return Some(format!(
                "it has {} GiB and its source {}",
                copy.size_gib, source.size_gib
            ));
        }
        None
    }

    /// The newest data in a good copy, whether or not its source is still at home.
    pub fn newest_good_copy(&self) -> Option<&'a RecoveryPoint> {
        let owner = self.policy.owner();
        let sources = self.sources_by_arn();
        (self.destination_points.iter().copied())
            .filter(|c| {
                is_own_copy(c, &owner)
                    && c.is_complete()
                    && self.rule.of.iter().any(|r| c.has_reason(r.as_str()))
            })
            .filter(|c| self.mismatch(sources.source_of(c), c).is_none())
            .max_by_key(|c| c.data_time)
    }

    /// By ARN, every complete copy that is not what was asked for, and why; its source need not be at home any more.
    pub fn mismatched_copies(&self) -> BTreeMap<&'a str, String> {
        let owner = self.policy.owner();
        let sources = self.sources_by_arn();
        let good = self
            .destination_points
            .iter()
            .copied()
            .filter(|c| is_own_copy(c, &owner) && c.is_complete());
        good.filter_map(|c| Some((c.arn.as_str(), self.mismatch(sources.source_of(c), c)?)))
            .collect()
    }

    fn sources_by_arn(&self) -> SourcesByArn<'a> {
        SourcesByArn(self.source_points.iter().map(|p| (p.arn.as_str(), *p)).collect())
    }
}

/// The points at home by ARN.
struct SourcesByArn<'a>(BTreeMap<&'a str, &'a RecoveryPoint>);

impl<'a> SourcesByArn<'a> {
    /// The source of a copy; the copy itself when its source is not at home any more.
    fn source_of(&self, copy: &'a RecoveryPoint) -> &'a RecoveryPoint {
        let source = copy.tags.copy_of.as_deref().and_then(|arn| self.0.get(arn).copied());
        source.filter(|source| is_copy_of(copy, source)).unwrap_or(copy)
    }
}

/// Whether a point at the destination is a copy that Holdfast made for this policy.
fn is_own_copy(copy: &RecoveryPoint, owner: &str) -> bool {
    copy.is_owned_by(owner) && copy.tags.copy_of.is_some() && !copy.tags.transfer
}

/// Whether `copy` was made of `source`. An ARN is a name, and names are used again: the time of the data must fit too.
fn is_copy_of(copy: &RecoveryPoint, source: &RecoveryPoint) -> bool {
    let times = copy.tags.data_time.zip(source.data_time);
    copy.tags.copy_of.as_deref() == Some(source.arn.as_str())
        && times.is_none_or(|(copied, of)| copied == of)
}

/// Whether a destination is in another account, so that snapshots must be shared with it.
pub fn is_cross_account(policy: &Policy, place: &Location) -> bool {
    place.account != policy.home_or_placeholder().account
}

//! How snapshots and their copies at a destination stand to each other: what `offsite` makes, `freshness` judges and
//! `retention` must not delete.

use crate::{
    catalog::{Place, Point, State},
    keep::kept,
    policy::{Databases, Destination, Keep, Policy, SnapshotCopy, text::Arn},
};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// The rules of a group that copy into a place. They are one: what any of them wants is copied, and what any of them keeps
/// stays there.
pub fn rules_to<'a>(
    policy: &'a Policy,
    group: &'a Databases,
    place: &Place,
) -> impl Iterator<Item = &'a SnapshotCopy> {
    let there = move |rule: &&SnapshotCopy| Place::of(policy, &rule.to).as_ref() == Some(place);
    group.copies.iter().filter(there)
}

/// The places that a group copies into, each once, with the first of its rules.
pub fn places<'a>(policy: &Policy, group: &'a Databases) -> Vec<(Place, &'a SnapshotCopy)> {
    let mut places: Vec<(Place, &SnapshotCopy)> = Vec::new();
    for rule in &group.copies {
        if let Some(place) = Place::of(policy, &rule.to)
            && !places.iter().any(|(p, _)| *p == place)
        {
            places.push((place, rule));
        }
    }
    places
}

/// One database's points at home and at a destination.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a, 's> {
    /// The policy.
    pub policy: &'a Policy,
    /// The group that the database is in.
    pub group: &'a Databases,
    /// The copy rule; the group's other rules to the same place count with it.
    pub rule: &'a SnapshotCopy,
    /// Every point of the database at home, one lineage.
    pub home: &'s [&'a Point],
    /// Every point of the database at the destination.
    pub there: &'s [&'a Point],
}

/// Where the copy of a point stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Copied<'a> {
    /// Complete, and read back: key and size are as they must be.
    Good(&'a Point),
    /// On its way.
    InFlight(&'a Point),
    /// Complete, but not what was asked for; it does not count.
    Wrong(&'a Point, String),
    /// Not there; so many tries failed.
    Missing {
        /// Failed tries.
        failed: usize,
    },
}

/// A point at home with its copy, and whether the destination's rule wants it.
#[derive(Clone, Debug)]
pub struct Sent<'a> {
    /// The point at home.
    pub source: &'a Point,
    /// Why the destination would keep a copy; empty when it would not.
    pub wanted: Vec<String>,
    /// Where its copy stands.
    pub copied: Copied<'a>,
}

impl<'a> Pair<'a, '_> {
    fn destination(&self) -> Option<&'a Destination> {
        self.policy.destinations.get(&self.rule.to)
    }

    /// Every good point at home that a rule to this place speaks of, newest first. A copy is wanted when the destination
    /// would keep it by any of its rules, so what is copied now is never what is deleted next.
    pub fn sent(&self, now: Timestamp) -> Vec<Sent<'a>> {
        let owner = self.policy.owner();
        let mut out: BTreeMap<&str, Sent<'a>> = BTreeMap::new();
        for (reason, rules) in self.rules() {
            let sources: Vec<&Point> = (self.home.iter().copied())
                .filter(|p| p.good() && !p.marks.transfer && p.serves(reason))
                .filter(|p| p.automated || p.made_for(&owner))
                .collect();
            let copies =
                self.there.iter().filter(|c| ours(c, &owner) && c.good() && c.serves(reason));
            let mut times: BTreeMap<&str, Timestamp> =
                copies.filter_map(|c| Some((c.marks.copy_of.as_deref()?, c.data_time?))).collect();
            times.extend(sources.iter().filter_map(|p| Some((p.arn.as_str(), p.data_time?))));
            let times: Vec<_> = times.into_iter().collect();
            let mut whys: Vec<_> = rules.iter().map(|keep| kept(&times, keep, now)).collect();
            for source in sources {
                let sent = out.entry(&source.arn).or_insert_with(|| Sent {
                    source,
                    wanted: Vec::new(),
                    copied: self.copied(source, &owner),
                });
                let why = whys.iter_mut().filter_map(|why| why.remove(source.arn.as_str()));
                sent.wanted.extend(why.flatten());
            }
        }
        let mut out: Vec<_> = out.into_values().collect();
        out.sort_by_key(|sent| std::cmp::Reverse(sent.source.data_time));
        out
    }

    /// By reason, every rule to this place.
    fn rules(&self) -> BTreeMap<&'a str, Vec<&'a Keep>> {
        let mut rules: BTreeMap<&str, Vec<&Keep>> = BTreeMap::new();
        let place = Place::of(self.policy, &self.rule.to);
        for rule in place.iter().flat_map(|place| rules_to(self.policy, self.group, place)) {
            for reason in &rule.of {
                rules.entry(reason.as_str()).or_default().push(&rule.keep);
            }
        }
        rules
    }

    fn copied(&self, source: &Point, owner: &str) -> Copied<'a> {
        let mut failed = 0;
        let mut best = None;
        for copy in self.there.iter().copied() {
            if !ours(copy, owner) || !is_copy_of(copy, source) {
                continue;
            }
            match &copy.state {
                State::Failed(_) => failed += 1,
                State::InFlight => best = best.or(Some(Copied::InFlight(copy))),
                State::Good => match self.wrong(source, copy) {
                    None => return Copied::Good(copy),
                    Some(why) => best = Some(Copied::Wrong(copy, why)),
                },
            }
        }
        best.unwrap_or(Copied::Missing { failed })
    }

    /// The read-back: a copy under another key or of another size is not the copy that was asked for.
    fn wrong(&self, source: &Point, copy: &Point) -> Option<String> {
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
    pub fn newest(&self) -> Option<&'a Point> {
        let owner = self.policy.owner();
        let sources = self.sources();
        (self.there.iter().copied())
            .filter(|c| {
                ours(c, &owner) && c.good() && self.rule.of.iter().any(|r| c.serves(r.as_str()))
            })
            .filter(|c| self.wrong(sources.of(c), c).is_none())
            .max_by_key(|c| c.data_time)
    }

    /// By ARN, every complete copy that is not what was asked for, and why; its source need not be at home any more.
    pub fn wrong_copies(&self) -> BTreeMap<&'a str, String> {
        let owner = self.policy.owner();
        let sources = self.sources();
        let good = self.there.iter().copied().filter(|c| ours(c, &owner) && c.good());
        good.filter_map(|c| Some((c.arn.as_str(), self.wrong(sources.of(c), c)?))).collect()
    }

    fn sources(&self) -> Sources<'a> {
        Sources(self.home.iter().map(|p| (p.arn.as_str(), *p)).collect())
    }
}

/// The points at home by ARN.
struct Sources<'a>(BTreeMap<&'a str, &'a Point>);

impl<'a> Sources<'a> {
    /// The source of a copy; the copy itself when its source is not at home any more.
    fn of(&self, copy: &'a Point) -> &'a Point {
        let source = copy.marks.copy_of.as_deref().and_then(|arn| self.0.get(arn).copied());
        source.filter(|source| is_copy_of(copy, source)).unwrap_or(copy)
    }
}

/// Whether a point at the destination is a copy that Holdfast made for this policy.
fn ours(copy: &Point, owner: &str) -> bool {
    copy.made_for(owner) && copy.marks.copy_of.is_some() && !copy.marks.transfer
}

/// Whether `copy` was made of `source`. An ARN is a name, and names are used again: the time of the data must fit too.
fn is_copy_of(copy: &Point, source: &Point) -> bool {
    let times = copy.marks.data_time.zip(source.data_time);
    copy.marks.copy_of.as_deref() == Some(source.arn.as_str())
        && times.is_none_or(|(copied, of)| copied == of)
}

/// Whether a destination is in another account, so that snapshots must be shared with it.
pub fn other_account(policy: &Policy, place: &Place) -> bool {
    place.account != policy.home().account
}

//! How snapshots and their copies at a destination stand to each other: what `offsite` makes, `freshness` judges and
//! `retention` must not delete.

use crate::{
    catalog::{Place, Point, State},
    keep::kept,
    policy::{Destination, Policy, SnapshotCopy, text::Arn},
};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// One database's points at home and at a destination.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a, 's> {
    /// The policy.
    pub policy: &'a Policy,
    /// The copy rule.
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

    /// Every good point at home that the rule speaks of, newest first. A copy is wanted when the destination's own keep
    /// rule would keep it, so what is copied now is never what is deleted next.
    pub fn sent(&self, now: Timestamp) -> Vec<Sent<'a>> {
        let mut out = Vec::new();
        for reason in &self.rule.of {
            let sources: Vec<&Point> = (self.home.iter().copied())
                .filter(|p| p.good() && !p.marks.transfer && p.reason() == reason.as_str())
                .filter(|p| p.automated || p.made_for(self.policy.company.as_str()))
                .collect();
            let copies = self
                .there
                .iter()
                .filter(|c| self.ours(c) && c.good() && c.reason() == reason.as_str());
            let mut times: BTreeMap<&str, Timestamp> =
                copies.filter_map(|c| Some((c.marks.copy_of.as_deref()?, c.data_time?))).collect();
            times.extend(sources.iter().filter_map(|p| Some((p.arn.as_str(), p.data_time?))));
            let times: Vec<_> = times.into_iter().collect();
            let mut why = kept(&times, &self.rule.keep, now);
            out.extend(sources.into_iter().map(|source| Sent {
                source,
                wanted: why.remove(source.arn.as_str()).unwrap_or_default(),
                copied: self.copied(source),
            }));
        }
        out.sort_by(|a, b| {
            b.source
                .data_time
                .cmp(&a.source.data_time)
                .then_with(|| a.source.arn.cmp(&b.source.arn))
        });
        out
    }

    /// Whether a point at the destination is a copy that Holdfast made for this policy.
    fn ours(&self, copy: &Point) -> bool {
        copy.made_for(self.policy.company.as_str())
            && copy.marks.copy_of.is_some()
            && !copy.marks.transfer
    }

    fn copied(&self, source: &Point) -> Copied<'a> {
        let mut failed = 0;
        let mut best = None;
        for copy in self.there.iter().copied() {
            if !self.ours(copy) || copy.marks.copy_of.as_deref() != Some(source.arn.as_str()) {
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
        let sources: BTreeMap<&str, &Point> =
            self.home.iter().map(|p| (p.arn.as_str(), *p)).collect();
        (self.there.iter().copied())
            .filter(|c| {
                self.ours(c) && c.good() && self.rule.of.iter().any(|r| r.as_str() == c.reason())
            })
            .filter(|c| {
                let source = c.marks.copy_of.as_deref().and_then(|arn| sources.get(arn).copied());
                self.wrong(source.unwrap_or(c), c).is_none()
            })
            .max_by_key(|c| c.data_time)
    }
}

/// Whether a destination is in another account, so that snapshots must be shared with it.
pub fn other_account(policy: &Policy, place: &Place) -> bool {
    place.account != policy.home().account
}

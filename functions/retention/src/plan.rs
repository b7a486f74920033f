//! Which recovery points may go. Pure: no I/O and no clock.

use jiff::Timestamp;
use serde::Serialize;
use shared::{
    catalog::{ByDatabase, Place, Point, Seen},
    copies::{Copied, Pair},
    keep::{Fate, Question, decide},
    observe::selection,
    plan::{Cleared, Finding, Plan, Severity},
    policy::{Databases, DeleteLimit, Keep, Policy, select, text::Name},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// What the function does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Delete {
    /// Where the point is.
    pub at: Place,
    /// The point, cleared by the safety check.
    pub point: Box<Cleared<Point>>,
}

impl fmt::Display for Delete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "delete {} at {}", self.point.point().id, self.at)
    }
}

/// The fate of one point, for `explain`.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged<'a> {
    /// Where it is.
    pub place: &'a Place,
    /// The group that judges it.
    pub group: &'a Name,
    /// The point.
    pub point: &'a Point,
    /// What becomes of it, limits aside.
    pub fate: Fate,
}

/// What a plan comes to, with the counts that are published.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Letting {
    /// Steps and findings.
    pub plan: Plan<Delete>,
    /// Points of Holdfast's that stay.
    pub kept: usize,
    /// Points that would have gone and did not, because of the limits.
    pub refused: usize,
}

/// Plans what goes at `now`, place by place. A place that was not seen whole loses nothing, and neither does home while a
/// place that copies from it is unseen.
pub fn plan(policy: &Policy, seen: &Seen, now: Timestamp) -> Letting {
    let mut out = Letting::default();
    out.plan.findings.extend(seen.gaps.iter().map(Finding::gap));
    let mut by_place: BTreeMap<&Place, Vec<Judged<'_>>> = BTreeMap::new();
    for judged in judge(policy, seen, now) {
        by_place.entry(judged.place).or_default().push(judged);
    }
    for (place, mut judged) in by_place {
        // Oldest first: a run that is stopped half-way leaves the newer points.
        judged.sort_by_key(|j| j.point.data_time);
        let ours =
            |j: &&Judged<'_>| j.point.made_for(policy.company.as_str()) && !j.point.automated;
        let good = judged.iter().filter(ours).filter(|j| j.point.good()).count();
        let goes = |j: &&Judged<'_>| matches!(j.fate, Fate::Goes(..));
        let going = judged.iter().filter(goes).count();
        let refused = runaway(&policy.limits.delete, &place.to_string(), going, good);
        out.kept += judged.iter().filter(ours).count() - if refused.is_some() { 0 } else { going };
        if let Some(finding) = refused {
            out.refused += going;
            out.plan.findings.push(finding);
            continue;
        }
        for j in judged {
            if let Fate::Goes(point, why) = j.fate {
                let asset = j.point.database.clone();
                out.plan.step(asset, Delete { at: place.clone(), point }, why);
            }
        }
    }
    out
}

/// What stands against letting so many points of one place go at once: a policy that was changed by mistake, a clock that
/// jumped.
pub(crate) fn runaway(
    limit: &DeleteLimit,
    place: &str,
    going: usize,
    good: usize,
) -> Option<Finding> {
    #[expect(clippy::cast_precision_loss, reason = "counts of points are far below 2^52")]
    let share = going as f64 / good.max(1) as f64;
    let over = going > limit.count as usize || share > limit.share.fraction();
    let why = format!(
        "{going} of {good} good points would go at once, over the limit of {} or {}; nothing goes",
        limit.count, limit.share
    );
    let mend = "run `holdfast plan retention` to see them; if they are right, raise limits.delete in the policy \
                for one run";
    over.then(|| Finding::new(Severity::Critical, place, "runaway", why, mend))
}

/// The fate of every point at every place that was seen, limits aside.
pub fn judge<'a>(policy: &'a Policy, seen: &'a Seen, now: Timestamp) -> Vec<Judged<'a>> {
    let home_place = Place::home(policy);
    let Some((home_place, home)) = seen.places.get_key_value(&home_place) else {
        // Without home nothing is known of what still lives, so nothing goes anywhere.
        return Vec::new();
    };
    let selected = selection(policy, &home.databases);
    let groups: BTreeMap<&str, _> =
        selected.all().map(|(name, group, d)| (d.id.as_str(), (name, group))).collect();
    let points: BTreeMap<&Place, ByDatabase<'_>> =
        seen.places.iter().map(|(p, f)| (p, f.by_database())).collect();
    let mut out = Vec::new();
    for (place, by_database) in &points {
        for (database, all) in by_database.all() {
            let group = groups.get(database).copied().or_else(|| gone(policy, database));
            let Some((group_name, group)) = group else { continue };
            let mut lineages: BTreeMap<&str, Vec<&'a Point>> = BTreeMap::new();
            for point in all {
                lineages.entry(&point.resource_id).or_default().push(point);
            }
            for (resource_id, lineage) in lineages {
                let alive =
                    home.databases.iter().any(|d| d.id == database && d.resource_id == resource_id);
                let question = if *place == home_place {
                    at_home(policy, group, lineage, &points, seen, alive, now)
                } else {
                    away(policy, group, place, lineage, alive)
                };
                let fates = decide(&question, now);
                out.extend(question.points.iter().zip(fates).map(|(point, fate)| Judged {
                    place,
                    group: group_name,
                    point,
                    fate,
                }));
            }
        }
    }
    out
}

/// The group whose names fit a database that is no longer there.
fn gone<'a>(policy: &'a Policy, database: &str) -> Option<(&'a Name, &'a Databases)> {
    let none = BTreeMap::new();
    policy.databases.iter().find(|(_, g)| select(&g.select, database, &none).is_ok())
}

fn at_home<'a>(
    policy: &'a Policy,
    group: &'a Databases,
    lineage: Vec<&'a Point>,
    points: &BTreeMap<&Place, ByDatabase<'a>>,
    seen: &Seen,
    alive: bool,
    now: Timestamp,
) -> Question<'a> {
    let mut needed = BTreeMap::new();
    let mut to_transfer = BTreeSet::new();
    for rule in &group.copies {
        let Some(place) = Place::of(policy, &rule.to) else { continue };
        let there: Vec<&Point> = match (points.get(&place), lineage.first()) {
            (Some(by), Some(first)) => by.named(&first.database).to_vec(),
            _ => Vec::new(),
        };
        let pair = Pair { policy, rule, home: &lineage, there: &there };
        for sent in pair.sent(now) {
            let arn = sent.source.arn.as_str();
            if !matches!(sent.copied, Copied::Good(_)) && !sent.wanted.is_empty() {
                to_transfer.insert(arn);
            }
            match &sent.copied {
                _ if seen.at(&place).is_none() => {
                    needed.insert(
                        arn,
                        format!(
                            "{} can't be seen, so nobody knows whether its copy is there",
                            rule.to
                        ),
                    );
                }
                Copied::InFlight(_) => {
                    // Deleting a source that is being copied ends the copy.
                    needed.insert(arn, format!("its copy to {} is on its way", rule.to));
                }
                Copied::Missing { .. } | Copied::Wrong(..) if !sent.wanted.is_empty() => {
                    needed.insert(arn, format!("its copy to {} is still to be made", rule.to));
                }
                _ => {}
            }
        }
    }
    // A transfer copy has done its work when no destination that wants its source is without a good copy.
    let done =
        |t: &&&Point| t.marks.copy_of.as_deref().is_none_or(|arn| !to_transfer.contains(arn));
    let transfers = lineage.iter().filter(|t| t.marks.transfer);
    let transferred = transfers.filter(done).map(|t| t.arn.as_str()).collect();
    let rules = group.snapshots.iter().map(|(reason, s)| (reason.as_str(), &s.keep)).collect();
    let max_age = group
        .objectives
        .max_age
        .as_ref()
        .filter(|_| alive)
        .map(shared::policy::text::Period::duration);
    question(policy, group, lineage, rules, max_age, needed, transferred)
}

fn away<'a>(
    policy: &'a Policy,
    group: &'a Databases,
    place: &Place,
    lineage: Vec<&'a Point>,
    alive: bool,
) -> Question<'a> {
    let here = |name: &Name| Place::of(policy, name).as_ref() == Some(place);
    let copies: Vec<_> = group.copies.iter().filter(|c| here(&c.to)).collect();
    let rules =
        copies.iter().flat_map(|c| c.of.iter().map(|reason| (reason.as_str(), &c.keep))).collect();
    let ages = copies
        .iter()
        .filter_map(|c| c.max_age.as_ref())
        .map(shared::policy::text::Period::duration);
    let max_age = ages.max().filter(|_| alive);
    question(policy, group, lineage, rules, max_age, BTreeMap::new(), BTreeSet::new())
}

fn question<'a>(
    policy: &'a Policy,
    group: &'a Databases,
    points: Vec<&'a Point>,
    rules: BTreeMap<&'a str, &'a Keep>,
    max_age: Option<jiff::SignedDuration>,
    needed: BTreeMap<&'a str, String>,
    transferred: BTreeSet<&'a str>,
) -> Question<'a> {
    Question {
        earlier: BTreeMap::new(),
        company: policy.company.as_str(),
        points,
        rules,
        floor: group.keep_at_least.get() as usize,
        holds: &group.holds,
        max_age,
        needed,
        transferred,
    }
}

#[cfg(test)]
mod tests;

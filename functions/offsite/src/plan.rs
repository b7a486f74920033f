//! Which snapshots are copied where, and in which order. Pure: no I/O and no clock.

use jiff::Timestamp;
use serde::Serialize;
use shared::{
    aws::rds::Copy,
    catalog::{Database, Family, Place, Point, Seen, State, mark},
    copies::{Copied, Pair, Sent, other_account},
    name,
    observe::selection,
    plan::{Finding, Plan, Severity},
    policy::{Databases, Destination, Policy, SnapshotCopy, text::Name},
    time::{human, slot},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// What the function does with snapshots.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Action {
    /// Starts a copy at a place, in a single step from wherever the source is.
    Copy {
        /// Where the copy will be.
        to: Place,
        /// Instance or cluster.
        family: Family,
        /// The source's identifier at home, and the account that it must be shared with first.
        share: Option<(String, String)>,
        /// The copy.
        copy: Copy,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Copy { to, copy, .. } = self;
        write!(
            f,
            "copy {} to {to} as {}",
            copy.source.rsplit(":snapshot:").next().unwrap_or_default(),
            copy.id
        )
    }
}

/// Copies in flight that RDS allows in one destination region.
/// <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Limits.html>
const IN_FLIGHT: usize = 20;
/// Tries of one copy before a person has to look.
const MOST_TRIES: usize = 5;

/// What is known of KMS keys: whether a key is one of AWS's own. A key that could not be asked about is missing.
pub type AwsManaged = BTreeMap<String, bool>;

/// What a plan comes to, with the counts that are published.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Copies {
    /// Steps and findings.
    pub plan: Plan<Action>,
    /// Copies on their way already.
    pub in_flight: usize,
    /// Copies that are due and wait for a free slot.
    pub waiting: usize,
}

/// A copy that is due.
struct Due<'a> {
    group: &'a Name,
    database: &'a Database,
    rule: &'a SnapshotCopy,
    destination: &'a Destination,
    place: Place,
    sent: Sent<'a>,
    /// How many newer points of the database are due at the same destination.
    rank: usize,
    /// Data time of the newest good copy there: the objective that is worst served goes first.
    newest: Option<Timestamp>,
    /// Copies made at home only to be copied on.
    transfers: Vec<&'a Point>,
    /// Identifiers that are taken at the destination, and at home.
    there: Vec<&'a str>,
    home: Vec<&'a str>,
}

/// KMS keys that sources of cross-account copies are under, to be asked about before planning.
pub fn keys_to_ask(policy: &Policy, seen: &Seen) -> BTreeSet<String> {
    let home = Place::home(policy);
    let Some(fleet) = seen.at(&home) else { return BTreeSet::new() };
    let leaves = |group: &Databases| {
        let places = group.copies.iter().filter_map(|c| Place::of(policy, &c.to));
        places.into_iter().any(|p| other_account(policy, &p))
    };
    let selected = selection(policy, &fleet.databases);
    let leaving = selected.all().filter(|(_, group, _)| leaves(group));
    let points = fleet.by_database();
    let points = leaving.flat_map(|(_, _, database)| points.of(database));
    points.filter(|p| p.good()).filter_map(|p| p.kms_key.clone()).collect()
}

/// Plans the copies that are due at `now`: worst-served objective first, as many as the destination's quota has room for.
pub fn plan(policy: &Policy, seen: &Seen, keys: &AwsManaged, now: Timestamp) -> Copies {
    let mut out = Copies::default();
    out.plan.findings.extend(seen.gaps.iter().map(Finding::gap));
    let home_place = Place::home(policy);
    let Some(home) = seen.at(&home_place) else { return out };
    let selected = selection(policy, &home.databases);
    let points: BTreeMap<&Place, _> =
        seen.places.iter().map(|(place, f)| (place, f.by_database())).collect();

    let mut due: BTreeMap<Place, Vec<Due<'_>>> = BTreeMap::new();
    for (group_name, group, database) in selected.all() {
        let mine = points[&home_place].of(database);
        for rule in &group.copies {
            let (Some(place), Some(destination)) =
                (Place::of(policy, &rule.to), policy.destinations.get(&rule.to))
            else {
                continue;
            };
            let Some(there) = points.get(&place).map(|p| p.of(database)) else { continue };
            let pair = Pair { policy, rule, home: &mine, there: &there };
            let newest = pair.newest().and_then(|p| p.data_time);
            let transfers: Vec<_> = mine.iter().copied().filter(|p| p.marks.transfer).collect();
            let mut rank = 0;
            for sent in pair.sent(now) {
                if sent.wanted.is_empty() {
                    continue;
                }
                match &sent.copied {
                    Copied::Good(_) | Copied::InFlight(_) => continue,
                    Copied::Wrong(copy, why) => {
                        let why = format!("the copy {} at {place} does not count: {why}", copy.id);
                        let mend = "delete it when you know why; a new one is made after that";
                        let finding =
                            Finding::new(Severity::Critical, &database.id, "wrong-copy", why, mend);
                        out.plan.findings.push(finding.in_group(group_name));
                        continue;
                    }
                    Copied::Missing { failed } if *failed >= MOST_TRIES => {
                        let why =
                            format!("{failed} tries to copy {} to {place} failed", sent.source.id);
                        let mend =
                            "see the failed copies there: most often it is the key or its policy";
                        let finding = Finding::new(
                            Severity::Critical,
                            &database.id,
                            "keeps-failing",
                            why,
                            mend,
                        );
                        out.plan.findings.push(finding.in_group(group_name));
                        continue;
                    }
                    Copied::Missing { .. } => {}
                }
                let taken = |place: &Place| {
                    let named = points.get(place).map_or(&[][..], |p| p.named(&database.id));
                    named.iter().map(|p| p.id.as_str()).collect()
                };
                let one = Due {
                    group: group_name,
                    database,
                    rule,
                    destination,
                    place: place.clone(),
                    sent,
                    rank,
                    newest,
                    transfers: transfers.clone(),
                    there: taken(&place),
                    home: taken(&home_place),
                };
                due.entry(place.clone()).or_default().push(one);
                rank += 1;
            }
        }
    }

    for (place, fleet) in &seen.places {
        out.in_flight +=
            fleet.points.iter().filter(|p| p.state == State::InFlight && is_copy(p)).count();
        let Some(mut due) = due.remove(place) else { continue };
        // Everybody's copies use up the quota, not only ours.
        let busy = fleet.points.iter().filter(|p| p.state == State::InFlight).count();
        let most = due[0].destination.in_flight.map_or(IN_FLIGHT, |n| n.get() as usize);
        let free = most.saturating_sub(busy);
        due.sort_by_key(|d| (d.rank, d.newest, d.sent.source.arn.clone()));
        let mut started = 0;
        for d in due {
            if started >= free {
                out.waiting += 1;
            } else if step(&mut out.plan, policy, keys, &d, now) {
                started += 1;
            }
        }
    }
    out
}

fn is_copy(p: &Point) -> bool {
    p.marks.copy_of.is_some() || p.source_arn.is_some()
}

/// Plans one copy; false when it can't be made.
fn step(
    plan: &mut Plan<Action>,
    policy: &Policy,
    keys: &AwsManaged,
    d: &Due<'_>,
    now: Timestamp,
) -> bool {
    let source = d.sent.source;
    let refuse = |plan: &mut Plan<Action>, what, why: String, mend: &str| {
        let finding = Finding::new(Severity::Critical, &d.database.id, what, why, mend);
        plan.findings.push(finding.in_group(d.group));
        false
    };
    if source.encrypted && d.destination.kms_key.is_none() {
        // CopyDBSnapshot refuses an encrypted snapshot in another region without a key of that region.
        let why =
            format!("{} is encrypted, and a copy at {} needs a key there", source.id, d.place);
        return refuse(
            plan,
            "no-key",
            why,
            &format!("write kms_key in the destination {}", d.rule.to),
        );
    }
    let account = other_account(policy, &d.place).then(|| d.place.account.to_string());
    let mut from = source;
    if account.is_some() {
        let managed = match source.kms_key.as_ref().filter(|_| source.encrypted) {
            None => false,
            Some(key) => {
                if let Some(managed) = keys.get(key) {
                    *managed
                } else {
                    let why =
                        format!("it is not known whether {key} may be used by another account");
                    return refuse(plan, "key-unknown", why, "allow kms:DescribeKey on that key");
                }
            }
        };
        // RDS shares neither its automated snapshots nor what is under aws/rds: those take a copy at home first.
        if source.automated || managed {
            if managed && d.destination.transfer_key.is_none() {
                let why =
                    format!("{} is under AWS's own key, which no other account can use", source.id);
                let mend = format!(
                    "write transfer_key in the destination {}: a key of yours, shared with it",
                    d.rule.to
                );
                return refuse(plan, "key-cannot-leave", why, &mend);
            }
            let of_source = |t: &&&Point| t.marks.copy_of.as_deref() == Some(source.arn.as_str());
            let mine: Vec<_> = d.transfers.iter().filter(of_source).collect();
            if mine.iter().any(|t| t.state == State::InFlight) {
                return false;
            }
            if let Some(transfer) = mine.iter().find(|t| t.good()) {
                from = transfer;
            } else {
                let tries = mine.iter().filter(|t| matches!(t.state, State::Failed(_))).count();
                if tries >= MOST_TRIES {
                    let why = format!(
                        "{tries} tries to copy {} at home for the transfer failed",
                        source.id
                    );
                    return refuse(
                        plan,
                        "keeps-failing",
                        why,
                        "see the failed copies: most often it is the key",
                    );
                }
                plan.step(&d.database.id, transfer(policy, d), "RDS can't share it as it is");
                return true;
            }
        }
    }
    let tail = tail(policy, d, account.is_some());
    let id = name::free_id(source.family, &d.database.id, &tail, d.there.iter().copied());
    let mut more = vec![(mark::COPY_OF, source.arn.clone())];
    more.extend(source.data_time.map(|t| (mark::DATA_TIME, t.to_string())));
    more.extend(source.marks.slot.clone().map(|s| (mark::SLOT, s)));
    let ours = name::marks(policy.company.as_str(), &d.database.id, source.reason(), more);
    let (tags, _) = name::merge_tags(&d.database.tags, ours);
    let age = d.newest.map_or("there is no copy yet".into(), |t| {
        format!("the newest copy's data is {} old", human(now.duration_since(t)))
    });
    let because = format!("{} wants it ({}); {age}", d.rule.to, d.sent.wanted.join(", "));
    // Aurora can't encrypt on copy (CopyDBClusterSnapshot), so a key for an unencrypted cluster snapshot is an error.
    let keyed = source.encrypted || source.family == Family::Instance;
    let copy = Copy {
        source: from.arn.clone(),
        id,
        kms_key: d.destination.kms_key.as_ref().filter(|_| keyed).map(ToString::to_string),
        // One group is of one engine: of a source under any other, the copy takes the destination's default.
        option_group: source
            .option_group
            .as_ref()
            .and_then(|group| d.destination.option_groups.get(group).cloned()),
        tags,
    };
    let share = account.map(|account| (from.id.clone(), account));
    plan.step(
        &d.database.id,
        Action::Copy { to: d.place.clone(), family: source.family, share, copy },
        because,
    );
    true
}

/// `<reason>-<time of the data>`, and the account for a copy in another one, where two accounts' databases of the same
/// name must not meet.
fn tail(policy: &Policy, d: &Due<'_>, other: bool) -> String {
    let source = d.sent.source;
    let at = source.marks.slot.clone().or_else(|| source.data_time.map(slot)).unwrap_or_default();
    let from = if other { format!("-{}", policy.home().account) } else { String::new() };
    format!("{}-{at}{from}", source.reason())
}

fn transfer(policy: &Policy, d: &Due<'_>) -> Action {
    let source = d.sent.source;
    let tail = format!("{}-transfer", tail(policy, d, false));
    let mut more = vec![(mark::COPY_OF, source.arn.clone()), (mark::TRANSFER, "true".to_owned())];
    more.extend(source.data_time.map(|t| (mark::DATA_TIME, t.to_string())));
    let ours = name::marks(policy.company.as_str(), &d.database.id, source.reason(), more);
    let copy = Copy {
        source: source.arn.clone(),
        id: name::free_id(source.family, &d.database.id, &tail, d.home.iter().copied()),
        kms_key: d
            .destination
            .transfer_key
            .as_ref()
            .filter(|_| source.encrypted)
            .map(ToString::to_string),
        option_group: None,
        tags: name::merge_tags(&d.database.tags, ours).0,
    };
    Action::Copy { to: Place::home(policy), family: source.family, share: None, copy }
}

#[cfg(test)]
mod tests;

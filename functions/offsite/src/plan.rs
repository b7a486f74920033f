//! Which snapshots are copied where, and in which order. Pure: no I/O and no clock.

use jiff::Timestamp;
use serde::Serialize;
use shared::{
    aws::rds::SnapshotCopyRequest,
    catalog::{
        DatabaseKind, Inventory, Location, RdsDatabase, RecoveryPoint, RecoveryPointState, mark,
    },
    copies::{self, CopyCandidate, CopyComparison, CopyStatus, is_cross_account},
    name::{self, SnapshotSpec},
    observe::select_databases,
    plan::{ActionPlan, Finding, FindingCode, Operates, Operation, Severity},
    policy::{CopyDestination, DatabaseGroup, Policy, SnapshotCopyRule, text::Name},
    time::{format_duration, format_slot},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// What the function does with snapshots.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum SnapshotCopyAction {
    /// Starts a copy at a place, in a single step from wherever the source is.
    Copy {
        /// Where the copy will be.
        to: Location,
        /// Instance or cluster.
        family: DatabaseKind,
        /// The source's identifier at home, and the account that it must be shared with first.
        share: Option<(String, String)>,
        /// The copy.
        copy: SnapshotCopyRequest,
    },
}

impl Operates for SnapshotCopyAction {
    fn operation(&self) -> Operation {
        Operation::Backup
    }
}

impl fmt::Display for SnapshotCopyAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Copy { to, copy, .. } = self;
        write!(
            f,
            "copy {} to {to} as {}",
            copy.source_arn.rsplit(":snapshot:").next().unwrap_or_default(),
            copy.id
        )
    }
}

/// Copies in flight that RDS allows in one destination region.
/// <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Limits.html>
const MAX_COPIES_IN_FLIGHT: usize = 20;
/// Tries of one copy before a person has to look.
const MAX_COPY_ATTEMPTS: usize = 5;

/// What is known of KMS keys: whether a key is one of AWS's own. A key that could not be asked about is missing.
pub type AwsManagedKeys = BTreeMap<String, bool>;

/// What a plan comes to, with the counts that are published.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SnapshotCopyPlan {
    /// Steps and findings.
    pub plan: ActionPlan<SnapshotCopyAction>,
    /// Copies on their way already.
    pub in_flight: usize,
    /// Copies that are due and wait for a free slot.
    pub waiting: usize,
}

/// A copy that is due.
struct PendingCopy<'a> {
    group: &'a Name,
    database: &'a RdsDatabase,
    rule: &'a SnapshotCopyRule,
    destination: &'a CopyDestination,
    place: Location,
    sent: CopyCandidate<'a>,
    /// How many newer points of the database are due at the same destination.
    rank: usize,
    /// Data time of the newest good copy there: the objective that is worst served goes first.
    newest: Option<Timestamp>,
    /// Copies made at home only to be copied on.
    transfers: Vec<&'a RecoveryPoint>,
}

/// What every copy is planned with.
struct CopyPlanner<'a> {
    policy: &'a Policy,
    owner: String,
    seen: &'a Inventory,
    keys: &'a AwsManagedKeys,
    /// By place, identifiers that this plan gives.
    promised: BTreeMap<Location, BTreeSet<String>>,
    now: Timestamp,
    plan: ActionPlan<SnapshotCopyAction>,
}

/// KMS keys that sources of cross-account copies are under, to be asked about before planning.
pub fn keys_to_describe(policy: &Policy, seen: &Inventory) -> BTreeSet<String> {
    let home = Location::home_from_policy(policy);
    let Some(fleet) = seen.at_location(&home) else { return BTreeSet::new() };
    let leaves = |group: &DatabaseGroup| {
        let places = group.copies.iter().filter_map(|c| Location::for_destination(policy, &c.to));
        places.into_iter().any(|p| is_cross_account(policy, &p))
    };
    let selected = select_databases(policy, &fleet.databases);
    let leaving = selected.selected_databases().filter(|(_, group, _)| leaves(group));
    let points = fleet.points_by_database();
    let points = leaving.flat_map(|(_, _, database)| points.for_database(database));
    points.filter(|p| p.is_complete()).filter_map(|p| p.kms_key.clone()).collect()
}

/// Plans the copies that are due at `now`: worst-served objective first, as many as the destination's quota has room for.
pub fn plan(
    policy: &Policy,
    seen: &Inventory,
    keys: &AwsManagedKeys,
    now: Timestamp,
) -> SnapshotCopyPlan {
    let mut out = SnapshotCopyPlan::default();
    out.plan.findings.extend(seen.errors.iter().map(Finding::from_observation_error));
    let home_place = Location::home_from_policy(policy);
    let Some(home) = seen.at_location(&home_place) else { return out };
    let selected = select_databases(policy, &home.databases);
    let points: BTreeMap<&Location, _> =
        seen.locations.iter().map(|(place, f)| (place, f.points_by_database())).collect();

    let mut due: BTreeMap<Location, Vec<PendingCopy<'_>>> = BTreeMap::new();
    for (group_name, group, database) in selected.selected_databases() {
        let mine = points[&home_place].for_database(database);
        for (place, rule) in copies::copy_locations(policy, group) {
            let Some(destination) = policy.destinations.get(&rule.to) else { continue };
            let Some(there) = points.get(&place).map(|p| p.for_database(database)) else {
                continue;
            };
            let pair = CopyComparison {
                policy,
                group,
                rule,
                source_points: &mine,
                destination_points: &there,
            };
            let transfers = mine.iter().copied().filter(|p| p.tags.transfer);
            let transfers: Vec<_> = transfers.filter(|p| p.is_owned_by(&policy.owner())).collect();
            let (sent, findings) = missing_copies(&pair, database, &place, now);
            out.plan.findings.extend(findings.into_iter().map(|f| f.in_group(group_name)));
            let newest = pair.newest_good_copy().and_then(|p| p.data_time);
            let all = sent.into_iter().enumerate().map(|(rank, sent)| PendingCopy {
                group: group_name,
                database,
                rule,
                destination,
                place: place.clone(),
                sent,
                rank,
                newest,
                transfers: transfers.clone(),
            });
            due.entry(place.clone()).or_default().extend(all);
        }
    }

    let owner = policy.owner();
    let (promised, plan) = (BTreeMap::new(), std::mem::take(&mut out.plan));
    let mut planning = CopyPlanner { policy, owner, seen, keys, promised, now, plan };
    for (place, fleet) in &seen.locations {
        out.in_flight += fleet
            .points
            .iter()
            .filter(|p| p.state == RecoveryPointState::InFlight && is_copy(p))
            .count();
        let mut due = due.remove(place).unwrap_or_default();
        // Everybody's copies use up the quota, not only ours.
        let busy = fleet.points.iter().filter(|p| p.state == RecoveryPointState::InFlight).count();
        let most = due.first().and_then(|d| d.destination.max_concurrent_copies);
        let most = most.map_or(MAX_COPIES_IN_FLIGHT, |n| n.get() as usize);
        let free = most.saturating_sub(busy);
        due.sort_by_key(|d| (d.rank, d.newest, d.sent.source.arn.clone()));
        let mut started = 0;
        for d in due {
            if started >= free {
                out.waiting += 1;
            } else if planning.plan_copy(&d) {
                started += 1;
            }
        }
    }
    out.plan = planning.plan;
    out
}

/// The copies of one database that a place wants and does not have, newest first, and what is wrong with others.
fn missing_copies<'a>(
    pair: &CopyComparison<'a, '_>,
    database: &RdsDatabase,
    place: &Location,
    now: Timestamp,
) -> (Vec<CopyCandidate<'a>>, Vec<Finding>) {
    let (mut missing, mut findings) = (Vec::new(), Vec::new());
    let mut find = |what, why, hint| {
        findings.push(Finding::new(Severity::Critical, &database.id, what, why, hint));
    };
    for sent in pair.candidates(now).into_iter().filter(|sent| !sent.keep_reasons.is_empty()) {
        match &sent.status {
            CopyStatus::Good(_) | CopyStatus::InFlight(_) => {}
            CopyStatus::Wrong(copy, why) => {
                let why = format!("the copy {} at {place} does not count: {why}", copy.id);
                let hint = "delete it when you know why; a new one is made after that";
                find(FindingCode::WrongCopy, why, hint);
            }
            CopyStatus::Missing { failed } if *failed >= MAX_COPY_ATTEMPTS => {
                let why = format!("{failed} tries to copy {} to {place} failed", sent.source.id);
                let hint = "see the failed copies there: most often it is the key or its policy";
                find(FindingCode::KeepsFailing, why, hint);
                // What fails for the newest fails for the older ones too, and would fill the quota with failed copies.
                break;
            }
            CopyStatus::Missing { .. } => missing.push(sent),
        }
    }
    (missing, findings)
}

fn is_copy(p: &RecoveryPoint) -> bool {
    p.tags.copy_of.is_some() || p.source_arn.is_some()
}

impl CopyPlanner<'_> {
    fn reject_copy(
        &mut self,
        d: &PendingCopy<'_>,
        what: FindingCode,
        why: String,
        hint: &str,
    ) -> bool {
        let finding = Finding::new(Severity::Critical, &d.database.id, what, why, hint);
        self.plan.findings.push(finding.in_group(d.group));
        false
    }

    /// Plans one copy; false when it can't be made.
    fn plan_copy(&mut self, d: &PendingCopy<'_>) -> bool {
        let source = d.sent.source;
        if source.encrypted && d.destination.kms_key.is_none() {
            // CopyDBSnapshot refuses an encrypted snapshot in another region without a key of that region.
            let why =
                format!("{} is encrypted, and a copy at {} needs a key there", source.id, d.place);
            let hint = format!("write kms_key in the destination {}", d.rule.to);
            return self.reject_copy(d, FindingCode::NoKey, why, &hint);
        }
        if !is_cross_account(self.policy, &d.place) {
            self.plan_destination_copy(d, source, None);
            return true;
        }
        let account = d.place.account.to_string();
        let managed = match source.kms_key.as_ref().filter(|_| source.encrypted) {
            None => false,
            Some(key) => {
                let Some(managed) = self.keys.get(key) else {
                    let why =
                        format!("it is not known whether {key} may be used by another account");
                    return self.reject_copy(
                        d,
                        FindingCode::KmsKeyNotReadable,
                        why,
                        "allow kms:DescribeKey on that key",
                    );
                };
                *managed
            }
        };
        // RDS shares neither its automated snapshots nor what is under aws/rds: those take a copy at home first.
        if !source.automated && !managed {
            self.plan_destination_copy(d, source, Some(account));
            return true;
        }
        if managed && d.destination.reencrypt_kms_key.is_none() {
            let why =
                format!("{} is under AWS's own key, which no other account can use", source.id);
            let hint = format!(
                "write reencrypt_kms_key in the destination {}: a key of yours, shared with it",
                d.rule.to
            );
            return self.reject_copy(d, FindingCode::KmsKeyNotShareable, why, &hint);
        }
        let of_source =
            |t: &&&RecoveryPoint| t.tags.copy_of.as_deref() == Some(source.arn.as_str());
        let mine: Vec<&RecoveryPoint> = d.transfers.iter().filter(of_source).copied().collect();
        if mine.iter().any(|t| t.state == RecoveryPointState::InFlight) {
            return false;
        }
        if let Some(transfer) = mine.iter().find(|t| t.is_complete()) {
            self.plan_destination_copy(d, transfer, Some(account));
            return true;
        }
        let tries =
            mine.iter().filter(|t| matches!(t.state, RecoveryPointState::Failed(_))).count();
        if tries >= MAX_COPY_ATTEMPTS {
            let why =
                format!("{tries} tries to copy {} at home for the transfer failed", source.id);
            let hint = "see the failed copies: most often it is the key";
            return self.reject_copy(d, FindingCode::KeepsFailing, why, hint);
        }
        self.plan_transfer_copy(d);
        true
    }

    /// A copy at the destination, `from` the source or its transfer copy, shared with `account` first.
    fn plan_destination_copy(
        &mut self,
        d: &PendingCopy<'_>,
        from: &RecoveryPoint,
        account: Option<String>,
    ) {
        let source = d.sent.source;
        let mut marks = source_tags(source);
        marks.extend(source.tags.slot.clone().map(|s| (mark::SLOT, s)));
        let also: Vec<_> =
            source.tags.additional_reasons.iter().map(|(r, s)| (r.as_str(), s.clone())).collect();
        marks.extend(name::additional_reasons_tag(&also).0.map(|also| (mark::ALSO, also)));
        let tail = snapshot_suffix(self.policy, d, account.is_some());
        let (id, tags) = self.copy_id_and_tags(d, &d.place, &tail, marks);
        let age = d.newest.map_or("there is no copy yet".into(), |t| {
            format!("the newest copy's data is {} old", format_duration(self.now.duration_since(t)))
        });
        let because = format!("{} wants it ({}); {age}", d.rule.to, d.sent.keep_reasons.join(", "));
        // Aurora can't encrypt on copy (CopyDBClusterSnapshot), so a key for an unencrypted cluster snapshot is an error.
        let keyed = source.encrypted || source.kind == DatabaseKind::Instance;
        let copy = SnapshotCopyRequest {
            source_arn: from.arn.clone(),
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
        let action =
            SnapshotCopyAction::Copy { to: d.place.clone(), family: source.kind, share, copy };
        self.plan.push_step(&d.database.id, action, because);
    }

    /// A copy at home, to be copied on.
    fn plan_transfer_copy(&mut self, d: &PendingCopy<'_>) {
        let source = d.sent.source;
        let tail = format!("{}-transfer", snapshot_suffix(self.policy, d, false));
        let mut marks = source_tags(source);
        marks.push((mark::TRANSFER, "true".to_owned()));
        let home = Location::home_from_policy(self.policy);
        let (id, tags) = self.copy_id_and_tags(d, &home, &tail, marks);
        let key = d.destination.reencrypt_kms_key.as_ref().filter(|_| source.encrypted);
        let copy = SnapshotCopyRequest {
            source_arn: source.arn.clone(),
            id,
            kms_key: key.map(ToString::to_string),
            option_group: None,
            tags,
        };
        let action = SnapshotCopyAction::Copy { to: home, family: source.kind, share: None, copy };
        self.plan.push_step(&d.database.id, action, "RDS can't share it as it is");
    }

    /// The identifier and tags of a new copy at a place.
    fn copy_id_and_tags(
        &mut self,
        d: &PendingCopy<'_>,
        place: &Location,
        tail: &str,
        marks: Vec<(&str, String)>,
    ) -> (String, BTreeMap<String, String>) {
        let ours = name::holdfast_tags(&self.owner, d.database, d.sent.source.reason(), marks);
        let (tags, _) = name::merge_tags(&d.database.tags, ours);
        let there = self.seen.at_location(place).into_iter().flat_map(|fleet| &fleet.points);
        let promised = self.promised.entry(place.clone()).or_default();
        let wanted = SnapshotSpec { database: d.database, suffix: tail, tags: &tags };
        let id = name::next_free_identifier(&wanted, there, promised);
        promised.insert(id.clone());
        (id, tags)
    }
}

/// Of which point a copy is one.
fn source_tags(source: &RecoveryPoint) -> Vec<(&'static str, String)> {
    let mut marks = vec![(mark::COPY_OF, source.arn.clone())];
    marks.extend(source.data_time.map(|t| (mark::DATA_TIME, t.to_string())));
    marks
}

/// `<reason>-<time of the data>`, and the account for a copy in another one, where two accounts' databases of the same
/// name must not meet.
fn snapshot_suffix(policy: &Policy, d: &PendingCopy<'_>, other: bool) -> String {
    let source = d.sent.source;
    let at =
        source.tags.slot.clone().or_else(|| source.data_time.map(format_slot)).unwrap_or_default();
    let from =
        if other { format!("-{}", policy.home_or_placeholder().account) } else { String::new() };
    format!("{}-{at}{from}", source.reason())
}

#[cfg(test)]
mod tests;

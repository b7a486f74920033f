//! Which snapshots are due. Pure: no I/O and no clock.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use shared::{
    catalog::{
        DatabaseKind, Inventory, Location, LocationInventory, PointsByDatabase, RdsDatabase,
        RecoveryPoint, RecoveryPointState, mark,
    },
    name::{self, SnapshotSpec},
    observe::{DatabaseSelection, select_databases, unknown_assets},
    plan::{ActionPlan, Finding, FindingCode, Operates, Operation, Severity},
    policy::{DatabaseGroup, Policy, text::Name},
    request::{RunRequest, SCHEDULE_REASON},
    time::{CronSchedule, format_duration, format_slot, parse_slot},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// What the function does.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum SnapshotAction {
    /// Starts a snapshot.
    Create {
        /// Instance or cluster.
        family: DatabaseKind,
        /// The database.
        database: String,
        /// The database's resource id, which tells it from all others that have or had its name.
        resource_id: String,
        /// The snapshot's identifier.
        id: String,
        /// All of its tags.
        tags: BTreeMap<String, String>,
    },
    /// Waits for one that an earlier try of the same demand started.
    Wait {
        /// Instance or cluster.
        family: DatabaseKind,
        /// The snapshot's identifier.
        id: String,
    },
    /// Answers a demand with a point that is young enough.
    Reuse {
        /// The point's identifier.
        id: String,
    },
}

impl SnapshotAction {
    /// The snapshot that it is about.
    pub fn snapshot_id(&self) -> &str {
        match self {
            Self::Create { id, .. } | Self::Wait { id, .. } | Self::Reuse { id } => id,
        }
    }
}

impl Operates for SnapshotAction {
    fn operation(&self) -> Operation {
        match self {
            Self::Create { .. } | Self::Wait { .. } => Operation::Backup,
            Self::Reuse { .. } => Operation::Other,
        }
    }
}

impl fmt::Display for SnapshotAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { id, .. } => write!(f, "take {id}"),
            Self::Wait { id, .. } => write!(f, "wait for {id}"),
            Self::Reuse { id } => write!(f, "reuse {id}"),
        }
    }
}

/// Tries of one slot before a person has to look: a database whose snapshots keep failing would fill the quota of manual
/// snapshots (100 a region) with failed ones.
const MAX_ATTEMPTS_PER_SLOT: usize = 3;
/// A demand is answered by what an earlier try of it took within this time; later it is another demand under an old name.
const MAX_REQUEST_AGE: SignedDuration = SignedDuration::from_hours(24);
/// A busy database puts a scheduled snapshot off; after this long it is stuck, and an objective is at stake.
const STUCK_AFTER_HOURS: i64 = 6;

/// Plans the snapshots that are due at `now`, or that `request` asks for.
///
/// `demand` names the request: asked twice under one name, it is done once.
pub fn plan(
    policy: &Policy,
    seen: &Inventory,
    request: &RunRequest,
    demand: &str,
    now: Timestamp,
) -> ActionPlan<SnapshotAction> {
    let mut plan = ActionPlan::default();
    plan.findings.extend(seen.errors.iter().map(Finding::from_observation_error));
    let Some(fleet) = seen.at_location(&Location::home_from_policy(policy)) else { return plan };
    let selected = select_databases(policy, &fleet.databases);
    let mut planning = SnapshotPlanner {
        policy,
        owner: policy.owner(),
        fleet,
        points: fleet.points_by_database(),
        promised: BTreeSet::new(),
        now,
        plan,
    };
    if request.reason == SCHEDULE_REASON {
        let about = |f: &&Finding| request.assets.is_empty() || request.assets.contains(&f.asset);
        planning.plan.findings.extend(selected.findings.iter().filter(about).cloned());
        planning.plan.findings.extend(unknown_assets(&request.assets, &selected));
        for (name, group, database) in selected.selected_databases() {
            if is_requested(request, database) {
                planning.plan_scheduled(name, group, database);
            }
        }
    } else {
        planning.plan_on_demand(&selected, request, demand);
    }
    planning.plan
}

fn is_requested(request: &RunRequest, database: &RdsDatabase) -> bool {
    request.assets.is_empty() || request.assets.contains(&database.id)
}

/// What a plan is made from, and what it has come to.
struct SnapshotPlanner<'a> {
    policy: &'a Policy,
    owner: String,
    fleet: &'a LocationInventory,
    points: PointsByDatabase<'a>,
    /// Identifiers that this plan gives.
    promised: BTreeSet<String>,
    now: Timestamp,
    plan: ActionPlan<SnapshotAction>,
}

/// Reasons that one snapshot serves, with the slot of each.
type DueReasons<'a> = Vec<(&'a str, Timestamp)>;

impl<'a> SnapshotPlanner<'a> {
    /// Points that Holdfast took of a database, here, for a reason among others.
    fn own_snapshots(&self, points: &[&'a RecoveryPoint], reason: &str) -> Vec<&'a RecoveryPoint> {
        let ours = |p: &&RecoveryPoint| {
            p.is_owned_by(&self.owner) && !p.automated && p.tags.copy_of.is_none()
        };
        points.iter().copied().filter(ours).filter(|p| p.has_reason(reason)).collect()
    }

    /// Plans what is due of one database: one snapshot for all reasons, however many slots have passed.
    fn plan_scheduled(&mut self, name: &Name, group: &DatabaseGroup, database: &RdsDatabase) {
        let points = self.points.for_database(database);
        let mut served: DueReasons<'_> = Vec::new();
        for (reason, rule) in &group.snapshots {
            let schedule =
                rule.schedule.as_ref().map(|w| CronSchedule::new(w, &self.policy.time_zone));
            let Some(due) = schedule.and_then(|s| s.last_due(self.now)) else { continue };
            let due_slot = format_slot(due);
            let taken = self.own_snapshots(&points, reason.as_str());
            let in_slot: Vec<_> =
                (taken.iter()).filter(|p| p.slot_for(reason.as_str()) == Some(&due_slot)).collect();
            if in_slot.iter().any(|p| !matches!(p.state, RecoveryPointState::Failed(_))) {
                continue; // It is there or on its way.
            }
            if in_slot.len() >= MAX_ATTEMPTS_PER_SLOT {
                let why = format!("{} tries of {reason} for {due_slot} failed", in_slot.len());
                let hint = "see the database's events in RDS";
                let finding = Finding::new(
                    Severity::Critical,
                    &database.id,
                    FindingCode::KeepsFailing,
                    why,
                    hint,
                );
                self.plan.findings.push(finding.in_group(name));
                continue;
            }
            served.push((reason.as_str(), due));
        }
        // The newest slot first: the identifier speaks of it.
        served.sort_by_key(|(reason, due)| (std::cmp::Reverse(*due), *reason));
        if let Some(busy) = unavailable_reason(database) {
            self.defer_busy_database(name, database, &busy, &served);
            return;
        }
        let mut rest = served.as_slice();
        while let Some(((reason, due), more)) = rest.split_first() {
            let more: Vec<_> = more.iter().map(|(r, due)| (*r, format_slot(*due))).collect();
            let (also, room) = name::additional_reasons_tag(&more);
            let because = (rest[..=room].iter())
                .map(|(r, due)| {
                    format!("{r} is due since {}", format_duration(self.now.duration_since(*due)))
                })
                .collect::<Vec<_>>()
                .join(", ");
            let mut marks = vec![(mark::SLOT, format_slot(*due))];
            marks.extend(also.map(|also| (mark::ALSO, also)));
            self.plan_create(database, (reason, &format_slot(*due)), marks, because);
            rest = &rest[room + 1..];
        }
    }

    /// A database that RDS would refuse to snapshot now.
    fn defer_busy_database(
        &mut self,
        name: &Name,
        database: &RdsDatabase,
        busy: &str,
        served: &DueReasons<'_>,
    ) {
        for (reason, due) in served {
            let late = self.now.duration_since(*due);
            let stuck = late.as_hours() >= STUCK_AFTER_HOURS;
            let severity = if stuck { Severity::Critical } else { Severity::Warning };
            let why =
                format!("{reason} is due since {} and the database {busy}", format_duration(late));
            let hint = shared::hints::hint_for_status(&database.status);
            let finding =
                Finding::new(severity, &database.id, FindingCode::BackupDeferred, why, hint);
            self.plan.findings.push(finding.in_group(name));
        }
    }

    fn plan_on_demand(
        &mut self,
        selected: &DatabaseSelection<'a>,
        request: &RunRequest,
        demand: &str,
    ) {
        let reason = request.reason.as_str();
        let has = |group: &DatabaseGroup| group.snapshots.keys().any(|r| r.as_str() == reason);
        if !self.policy.databases.values().any(has) {
            self.plan.findings.push(unknown_reason_finding(self.policy, reason));
            return;
        }
        // A demand that names what is not there is refused whole: half of it done would look like all of it.
        let unknown = unknown_assets(&request.assets, selected);
        if !unknown.is_empty() {
            self.plan.findings.extend(unknown);
            return;
        }
        // What differs elsewhere is no reason to stop this demand: only the groups that it asks, or the assets it names.
        let of_group = |f: &Finding| {
            let group =
                self.policy.databases.iter().find(|(n, _)| Some(n.as_str()) == f.group.as_deref());
            group.is_some_and(|(_, group)| has(group))
        };
        let about = |f: &&Finding| match request.assets.as_slice() {
            [] => of_group(f),
            assets => assets.contains(&f.asset),
        };
        let findings: Vec<_> = selected.findings.iter().filter(about).cloned().collect();
        self.plan.findings.extend(findings);
        let mut any = false;
        for (name, group, database) in
            selected.selected_databases().filter(|(_, _, d)| is_requested(request, d))
        {
            if has(group) {
                any = true;
                self.plan_database_on_demand(name, database, request, demand);
            } else if request.assets.contains(&database.id) {
                let why = format!("its group {name} takes no snapshots for \"{reason}\"");
                let hint = "add the reason to the group's snapshots, or leave the asset out";
                let finding = Finding::new(
                    Severity::Critical,
                    &database.id,
                    FindingCode::UnknownReason,
                    why,
                    hint,
                );
                self.plan.findings.push(finding.in_group(name));
            }
        }
        if !any && self.plan.findings.is_empty() {
            let why = format!("no database takes snapshots for \"{reason}\"");
            let finding = Finding::new(
                Severity::Critical,
                "request",
                FindingCode::NoMatch,
                why,
                "check the policy",
            );
            self.plan.findings.push(finding);
        }
    }

    /// Answers a demand for one database: by what an earlier try of it took, by a point that is young enough, or anew.
    fn plan_database_on_demand(
        &mut self,
        name: &Name,
        database: &RdsDatabase,
        request: &RunRequest,
        demand: &str,
    ) {
        let reason = request.reason.as_str();
        let points = self.points.for_database(database);
        let of_demand = self.own_snapshots(&points, reason).into_iter().filter(|p| {
            p.tags.request.as_deref() == Some(demand)
                && !matches!(p.state, RecoveryPointState::Failed(_))
                && self.is_recent_request(p)
        });
        if let Some(point) = of_demand.max_by_key(|p| p.intended_time()) {
            let because = format!("an earlier try of the demand {demand} started it");
            let action = SnapshotAction::Wait { family: database.family, id: point.id.clone() };
            self.plan.push_step(&database.id, action, because);
            return;
        }
        let young = request.reuse_newer_than.as_ref().and_then(|reuse| {
            let good = points.iter().filter(|p| p.is_complete() && !p.tags.transfer);
            let age = |p: &RecoveryPoint| p.data_time.map(|t| self.now.duration_since(t));
            good.filter(|p| age(p).is_some_and(|a| !a.is_negative() && a <= reuse.duration()))
                .max_by_key(|p| p.data_time)
        });
        if let Some(point) = young {
            let age = point
                .data_time
                .map_or_else(String::new, |t| format_duration(self.now.duration_since(t)));
            let because = format!("its data is {age} old, which is young enough");
            self.plan.push_step(
                &database.id,
                SnapshotAction::Reuse { id: point.id.clone() },
                because,
            );
            return;
        }
        // https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_CreateSnapshot.html
        if database.engine.starts_with("sqlserver")
            || (database.family == DatabaseKind::Instance && !database.multi_az)
        {
            let why = "its snapshot suspends I/O for seconds to minutes (Single-AZ, or SQL Server)";
            let hint = "deploy in a quiet hour";
            let finding =
                Finding::new(Severity::Info, &database.id, FindingCode::IoSuspension, why, hint);
            self.plan.findings.push(finding.in_group(name));
        }
        let this = format_slot(self.now);
        let marks = vec![(mark::SLOT, this.clone()), (mark::REQUEST, demand.to_owned())];
        self.plan_create(database, (reason, &this), marks, format!("asked for by {demand}"));
    }

    /// Whether a point was asked for within the age of a request, whichever way a clock was wrong.
    fn is_recent_request(&self, point: &RecoveryPoint) -> bool {
        let asked = point.tags.slot.as_deref().and_then(parse_slot);
        asked.is_some_and(|at| self.now.duration_since(at).abs() <= MAX_REQUEST_AGE)
    }

    fn plan_create(
        &mut self,
        database: &RdsDatabase,
        (reason, due): (&str, &str),
        marks: Vec<(&str, String)>,
        because: String,
    ) {
        let ours = name::holdfast_tags(&self.owner, database, reason, marks);
        let (tags, left) = name::merge_tags(&database.tags, ours);
        if !left.is_empty() {
            let why = format!("RDS takes 50 tags, so its snapshot lacks {}", left.join(", "));
            let hint = "remove tags from the database";
            self.plan.findings.push(Finding::new(
                Severity::Info,
                &database.id,
                FindingCode::TagLimit,
                why,
                hint,
            ));
        }
        let tail = format!("{reason}-{due}");
        let wanted = SnapshotSpec { database, suffix: &tail, tags: &tags };
        let id = name::next_free_identifier(&wanted, &self.fleet.points, &self.promised);
        self.promised.insert(id.clone());
        let action = SnapshotAction::Create {
            family: database.family,
            database: database.id.clone(),
            resource_id: database.resource_id.clone(),
            id,
            tags,
        };
        self.plan.push_step(&database.id, action, because);
    }
}

fn unknown_reason_finding(policy: &Policy, reason: &str) -> Finding {
    let known = policy.databases.values().flat_map(|g| g.snapshots.keys()).map(ToString::to_string);
    let why = format!("no group of the policy takes snapshots for \"{reason}\"");
    let hint = shared::hints::hint_for_reason(reason, known);
    Finding::new(Severity::Critical, "request", FindingCode::UnknownReason, why, hint)
}

/// Why RDS would refuse a snapshot now. `CreateDBSnapshot` wants the instance available (or optimizing its storage).
fn unavailable_reason(database: &RdsDatabase) -> Option<String> {
    match database.status.as_str() {
        "available" | "storage-optimization" => None,
        other => Some(format!("is {other}")),
    }
}

#[cfg(test)]
mod tests;

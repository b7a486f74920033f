//! Which snapshots are due. Pure: no I/O and no clock.

use jiff::Timestamp;
use serde::Serialize;
use shared::{
    catalog::{ByDatabase, Database, Family, Place, Point, Seen, State, mark},
    name,
    observe::{Selection, selection, unknown_assets},
    plan::{Finding, Plan, Severity},
    policy::{Databases, Policy, text::Name},
    request::{Request, SCHEDULE},
    time::{Schedule, human, slot},
};
use std::{collections::BTreeMap, fmt};

/// What the function does.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Action {
    /// Starts a snapshot.
    Take {
        /// Instance or cluster.
        family: Family,
        /// The database.
        database: String,
        /// The snapshot's identifier.
        id: String,
        /// All of its tags.
        tags: BTreeMap<String, String>,
    },
    /// Waits for one that an earlier try of the same demand started.
    Await {
        /// Instance or cluster.
        family: Family,
        /// The snapshot's identifier.
        id: String,
    },
    /// Answers a demand with a point that is young enough.
    Reuse {
        /// The point's identifier.
        id: String,
    },
}

impl Action {
    /// The snapshot that it is about.
    pub fn id(&self) -> &str {
        match self {
            Self::Take { id, .. } | Self::Await { id, .. } | Self::Reuse { id } => id,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Take { id, .. } => write!(f, "take {id}"),
            Self::Await { id, .. } => write!(f, "wait for {id}"),
            Self::Reuse { id } => write!(f, "reuse {id}"),
        }
    }
}

/// Tries of one slot before a person has to look: a database whose snapshots keep failing would fill the quota of manual
/// snapshots (100 a region) with failed ones.
const MOST_TRIES: usize = 3;
/// A busy database puts a scheduled snapshot off; after this long it is stuck, and an objective is at stake.
const STUCK_AFTER_HOURS: i64 = 6;

/// Plans the snapshots that are due at `now`, or that `request` asks for.
///
/// `demand` names the request: asked twice under one name, it is done once.
pub fn plan(
    policy: &Policy,
    seen: &Seen,
    request: &Request,
    demand: &str,
    now: Timestamp,
) -> Plan<Action> {
    let mut plan = Plan::default();
    plan.findings.extend(seen.gaps.iter().map(Finding::gap));
    let Some(fleet) = seen.at(&Place::home(policy)) else { return plan };
    let selected = selection(policy, &fleet.databases);
    let points = fleet.by_database();
    if request.reason == SCHEDULE {
        plan.findings.extend(selected.findings.iter().cloned());
        plan.findings.extend(unknown_assets(&request.assets, &selected));
        for (name, group, database) in selected.all() {
            if wanted(request, database) {
                scheduled(&mut plan, policy, (name, group, database), &points, now);
            }
        }
    } else {
        on_demand(&mut plan, policy, &selected, &points, request, demand, now);
    }
    plan
}

fn wanted(request: &Request, database: &Database) -> bool {
    request.assets.is_empty() || request.assets.contains(&database.id)
}

/// Points that Holdfast took of a database for a reason.
fn taken<'p>(
    policy: &'p Policy,
    points: &'p [&'p Point],
    reason: &'p str,
) -> impl Iterator<Item = &'p Point> {
    let ours = |p: &&Point| {
        p.made_for(policy.company.as_str()) && !p.automated && p.marks.copy_of.is_none()
    };
    points.iter().copied().filter(ours).filter(move |p| p.reason() == reason)
}

fn scheduled(
    plan: &mut Plan<Action>,
    policy: &Policy,
    (name, group, database): (&Name, &Databases, &Database),
    all: &ByDatabase<'_>,
    now: Timestamp,
) {
    let points = &all.of(database);
    for (reason, rule) in &group.snapshots {
        let Some(due) =
            rule.when.as_ref().and_then(|w| Schedule::new(w, &policy.time_zone).last_due(now))
        else {
            continue;
        };
        let due_slot = slot(due);
        let in_slot: Vec<_> = taken(policy, points, reason.as_str())
            .filter(|p| p.marks.slot.as_deref() == Some(&due_slot))
            .collect();
        if in_slot.iter().any(|p| !matches!(p.state, State::Failed(_))) {
            continue; // It is there or on its way.
        }
        let late = now.duration_since(due);
        let finding = |severity, what, why, mend: &str| {
            Finding::new(severity, &database.id, what, why, mend).in_group(name)
        };
        if in_slot.len() >= MOST_TRIES {
            let why = format!("{} tries of {reason} for {due_slot} failed", in_slot.len());
            plan.findings.push(finding(
                Severity::Critical,
                "keeps-failing",
                why,
                "see the database's events in RDS",
            ));
            continue;
        }
        if let Some(busy) = busy(database) {
            let stuck = late.as_hours() >= STUCK_AFTER_HOURS;
            let severity = if stuck { Severity::Critical } else { Severity::Warning };
            let why = format!("{reason} is due since {} and the database {busy}", human(late));
            let mend = shared::hints::of_status(&database.status);
            plan.findings.push(finding(severity, "deferred", why, mend));
            continue;
        }
        let because = format!("{reason} is due since {}", human(late));
        let more = [(mark::SLOT, due_slot.clone())];
        take(plan, policy, database, (reason.as_str(), &due_slot), all, more, because);
    }
}

fn on_demand(
    plan: &mut Plan<Action>,
    policy: &Policy,
    selected: &Selection<'_>,
    all: &ByDatabase<'_>,
    request: &Request,
    demand: &str,
    now: Timestamp,
) {
    let reason = request.reason.as_str();
    let has = |group: &Databases| group.snapshots.keys().any(|r| r.as_str() == reason);
    if !policy.databases.values().any(has) {
        let known =
            policy.databases.values().flat_map(|g| g.snapshots.keys()).map(ToString::to_string);
        let why = format!("no group of the policy takes snapshots for \"{reason}\"");
        let mend = shared::hints::of_reason(reason, known);
        plan.findings.push(Finding::new(
            Severity::Critical,
            "request",
            "unknown-reason",
            why,
            mend,
        ));
        return;
    }
    // A demand that names what is not there is refused whole: half of it done would look like all of it.
    let unknown = unknown_assets(&request.assets, selected);
    if !unknown.is_empty() {
        plan.findings.extend(unknown);
        return;
    }
    plan.findings.extend(selected.findings.iter().cloned());
    let mut any = false;
    for (name, group, database) in selected.all().filter(|(_, _, d)| wanted(request, d)) {
        let finding = |severity, what, why, mend: &str| {
            Finding::new(severity, &database.id, what, why, mend).in_group(name)
        };
        if !has(group) {
            if request.assets.contains(&database.id) {
                let why = format!("its group {name} takes no snapshots for \"{reason}\"");
                let mend = "add the reason to the group's snapshots, or leave the asset out";
                plan.findings.push(finding(Severity::Critical, "unknown-reason", why, mend));
            }
            continue;
        }
        any = true;
        let points = &all.of(database);
        let of_demand = taken(policy, points, reason).filter(|p| {
            p.marks.request.as_deref() == Some(demand) && !matches!(p.state, State::Failed(_))
        });
        if let Some(point) = of_demand.max_by_key(|p| p.data_time) {
            let because = format!("an earlier try of the demand {demand} started it");
            let action = Action::Await { family: database.family, id: point.id.clone() };
            plan.step(&database.id, action, because);
            continue;
        }
        let young = request.reuse.as_ref().and_then(|reuse| {
            let good = points.iter().filter(|p| p.good() && !p.marks.transfer);
            let age = |p: &Point| p.data_time.map(|t| now.duration_since(t));
            good.filter(|p| age(p).is_some_and(|a| !a.is_negative() && a <= reuse.duration()))
                .max_by_key(|p| p.data_time)
        });
        if let Some(point) = young {
            let age = point.data_time.map_or_else(String::new, |t| human(now.duration_since(t)));
            let because = format!("its data is {age} old, which is young enough");
            plan.step(&database.id, Action::Reuse { id: point.id.clone() }, because);
            continue;
        }
        // https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_CreateSnapshot.html
        if database.engine.starts_with("sqlserver")
            || (database.family == Family::Instance && !database.multi_az)
        {
            let why = "its snapshot suspends I/O for seconds to minutes (Single-AZ, or SQL Server)";
            plan.findings.push(finding(
                Severity::Info,
                "io-pause",
                why.into(),
                "deploy in a quiet hour",
            ));
        }
        let this = slot(now);
        let more = [(mark::SLOT, this.clone()), (mark::REQUEST, demand.to_owned())];
        take(plan, policy, database, (reason, &this), all, more, format!("asked for by {demand}"));
    }
    if !any && plan.findings.is_empty() {
        let why = format!("no database takes snapshots for \"{reason}\"");
        plan.findings.push(Finding::new(
            Severity::Critical,
            "request",
            "nothing",
            why,
            "check the policy",
        ));
    }
}

fn take<'m>(
    plan: &mut Plan<Action>,
    policy: &Policy,
    database: &Database,
    (reason, due): (&str, &str),
    all: &ByDatabase<'_>,
    more: impl IntoIterator<Item = (&'m str, String)>,
    because: String,
) {
    let taken = all.named(&database.id).iter().map(|p| p.id.as_str());
    let id = name::free_id(database.family, &database.id, &format!("{reason}-{due}"), taken);
    let ours = name::marks(policy.company.as_str(), &database.id, reason, more);
    let (tags, left) = name::merge_tags(&database.tags, ours);
    if !left.is_empty() {
        let why = format!("RDS takes 50 tags, so its snapshot lacks {}", left.join(", "));
        plan.findings.push(Finding::new(
            Severity::Info,
            &database.id,
            "tags",
            why,
            "remove tags from the database",
        ));
    }
    let action = Action::Take { family: database.family, database: database.id.clone(), id, tags };
    plan.step(&database.id, action, because);
}

/// Why RDS would refuse a snapshot now. `CreateDBSnapshot` wants the instance available (or optimizing its storage).
fn busy(database: &Database) -> Option<String> {
    match database.status.as_str() {
        "available" | "storage-optimization" => None,
        other => Some(format!("is {other}")),
    }
}

#[cfg(test)]
mod tests;

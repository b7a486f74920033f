//! Which dumps may go: the same safety check as for snapshots, asked for each database at each place.

use crate::{plan::check_delete_limit, schedule};
use jiff::Timestamp;
use serde::Serialize;
use shared::{
    aws::{OperationError, OperationErrorKind},
    catalog::RecoveryPoint,
    keep::{
        DeletionPrecondition, ReasonRetention, RetentionInput, RetentionVerdict, decide_retention,
        find_unmatched_holds,
    },
    plan::{ActionPlan, DeletionPermit, Finding, FindingCode, Operates, Operation, Severity},
    policy::{
        DumpRule, Policy, PostgresGroup,
        text::{Name, Period, ReasonName},
    },
    report::StepOutcome,
    request::RunRequest,
    run::{RunContext, execute_plan},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};
use storage::{
    StoredBackup, TrustPolicy, copies,
    place::{self, OpenStore, stands_for_database},
};
use tokio::time::Instant;

/// One database of a group, and what was seen at each of its places.
#[derive(Debug)]
pub struct DatabaseDumps<'p> {
    /// The group.
    pub group: &'p Name,
    /// What the policy says about it.
    pub rules: &'p PostgresGroup,
    /// The database.
    pub database: String,
    /// Whether every database of the group was asked for.
    pub whole_group: bool,
    /// `storage`, then each of `copies`: its address, and the backups there or why they can't be seen.
    pub places: Vec<(String, Result<Vec<StoredBackup>, OperationError>)>,
}

/// A dump to be let go.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeleteDump {
    /// The group.
    pub group: Name,
    /// Where it lies: 0 is `storage`, then each of `copies`.
    pub location: usize,
    /// The dump, cleared by the safety check.
    pub point: Box<DeletionPermit<RecoveryPoint>>,
}

impl Operates for DeleteDump {
    fn operation(&self) -> Operation {
        Operation::Delete
    }
}

impl fmt::Display for DeleteDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "delete {}", self.point.point().arn)
    }
}

/// What a plan for dumps comes to, with the counts that are published.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DumpRetentionPlan {
    /// Steps and findings.
    pub plan: ActionPlan<DeleteDump>,
    /// Dumps of Holdfast's that stay.
    pub retained: usize,
    /// Dumps that would have gone and did not, because of the limits.
    pub blocked: usize,
    /// What became of the steps; empty until they are carried out.
    pub outcomes: Vec<StepOutcome>,
}

/// Looks at the dumps of every group, plans, and lets go. A group can only be asked for whole, or by database.
pub async fn apply_dump_retention(
    world: &RunContext<'_>,
    request: &RunRequest,
    width: usize,
) -> DumpRetentionPlan {
    let secrets = world.secret_resolver();
    let (mut seen, mut stores) = (Vec::new(), BTreeMap::new());
    for (group, rules) in world.policy.stored_groups() {
        // A Lambda has none of a host's directories; their host lets go of what lies there.
        let local = rules.storage.directory.is_some() && !world.on_host;
        let asked = rules.databases.is_all()
            || rules.databases.named().iter().any(|d| request.includes_database(group.as_str(), d));
        if rules.dumps.is_empty() || !asked || local {
            continue;
        }
        let open = place::open_all(world, &secrets, rules).await;
        let mut by_place = Vec::new();
        for (open, policy) in open.iter().zip(place::store_configs(rules)) {
            let address = |o: &OpenStore<'_>| o.store.address();
            let address = open.as_ref().map_or_else(|_| display_location(policy), address);
            let backups = match open {
                Ok(open) => open.backups_by_database(world, rules).await,
                Err(e) => Err(e.clone()),
            };
            by_place.push((address, backups));
        }
        let known = by_place.iter().filter_map(|(_, by)| by.as_ref().ok()).flat_map(BTreeMap::keys);
        let databases: BTreeSet<String> = known.chain(rules.databases.named()).cloned().collect();
        let asked =
            |d: &String| rules.has_database(d) && request.includes_database(group.as_str(), d);
        let whole_group = databases.iter().all(asked);
        let mut databases: Vec<String> = databases.into_iter().filter(asked).collect();
        if databases.is_empty() {
            // A group of all whose places have nothing, or can't be read, which is to be said.
            databases.push(group.to_string());
        }
        for database in databases {
            let of = |by: &BTreeMap<String, Vec<StoredBackup>>| by.get(&database).cloned();
            let place = |(address, by): &(String, Result<BTreeMap<_, _>, OperationError>)| {
                let backups = by.as_ref().map(|by| of(by).unwrap_or_default());
                (address.clone(), backups.map_err(OperationError::clone))
            };
            let places = by_place.iter().map(place).collect();
            seen.push(DatabaseDumps { group, rules, database, whole_group, places });
        }
        stores.insert(group, open);
    }
    let began = Instant::now();
    let mut letting = plan_dumps(world.policy, &seen, world.now);
    if schedule::not_due_finding(world.policy, world.now).is_some() {
        letting.retained += schedule::defer_steps(&mut letting.plan, world.dry_run);
    }
    let plan = std::mem::take(&mut letting.plan);
    letting.outcomes = execute_plan(world, &plan, width, async |step: &DeleteDump| {
        let open = stores[&step.group][step.location].as_ref().map_err(OperationError::clone)?;
        let rules = world.policy.stored_group(&step.group).expect("its steps are of this policy");
        let trust = TrustPolicy::from_policy(world.policy, rules, world.now + began.elapsed());
        let cleaned = open.store.delete_backup(&step.point, &trust).await;
        cleaned.map_err(|e| {
            OperationError::with_hint(
                OperationErrorKind::CleanUp,
                e.doing.clone(),
                e.why.clone(),
                e.hint.clone(),
            )
        })?;
        Ok(format!("{} is deleted", step.point.point().id).into())
    })
    .await;
    letting.plan = plan;
    letting
}

/// A place that could not be opened, as the policy writes it.
fn display_location(policy: &shared::policy::StoreConfig) -> String {
    let bucket = policy.bucket.as_ref().map(|b| format!("s3://{b}/{}", policy.prefix));
    let azure = policy.azure.as_ref().map(|a| format!("azure://{}/{}", a.account, a.container));
    bucket.or(azure).or(policy.directory.clone()).unwrap_or_default()
}

/// Plans which dumps go at `now`. A place that was not seen loses nothing, and neither does `storage` while a place that
/// copies from it is unseen.
pub fn plan_dumps(
    policy: &Policy,
    seen: &[DatabaseDumps<'_>],
    now: Timestamp,
) -> DumpRetentionPlan {
    let mut out = DumpRetentionPlan::default();
    let mut by_place: BTreeMap<
        &str,
        Vec<(&DatabaseDumps<'_>, usize, RecoveryPoint, RetentionVerdict)>,
    > = BTreeMap::new();
    for dumps in seen {
        for (place, (address, backups)) in dumps.places.iter().enumerate() {
            if let Err(e) = backups {
                let finding = unobserved_finding(dumps.group, address, e);
                if !out.plan.findings.contains(&finding) {
                    out.plan.findings.push(finding);
                }
                continue;
            }
            let fates = evaluate_dumps(policy, dumps, place, now).into_iter();
            let all = by_place.entry(address).or_default();
            all.extend(fates.map(|(point, fate)| (dumps, place, point, fate)));
        }
    }
    out.plan.findings.extend(unmatched_holds(seen));
    for (address, mut judged) in by_place {
        // Oldest first: a run that is stopped half-way leaves the newer points.
        judged.sort_by_key(|(_, _, point, _)| point.data_time);
        let going =
            judged.iter().filter(|(.., fate)| matches!(fate, RetentionVerdict::Delete(..))).count();
        if let Some(finding) =
            check_delete_limit(&policy.limits.delete, address, (going, judged.len()))
        {
            out.blocked += going;
            out.retained += judged.len();
            out.plan.findings.push(finding);
            continue;
        }
        out.retained += judged.len() - going;
        for (dumps, place, _, fate) in judged {
            if let RetentionVerdict::Delete(point, why) = fate {
                let asset = format!("{}/{}", dumps.group, dumps.database);
                out.plan.push_step(
                    asset,
                    DeleteDump { group: dumps.group.clone(), location: place, point },
                    why,
                );
            }
        }
    }
    out
}

/// Holds of groups that hold nothing. Where a database was not asked for or a place was not seen, nobody knows.
fn unmatched_holds(seen: &[DatabaseDumps<'_>]) -> Vec<Finding> {
    let mut groups: BTreeMap<&Name, Vec<&DatabaseDumps<'_>>> = BTreeMap::new();
    for dumps in seen {
        groups.entry(dumps.group).or_default().push(dumps);
    }
    let of_group = |(group, all): (&Name, Vec<&DatabaseDumps<'_>>)| {
        let rules = all[0].rules;
        let places: Option<Vec<&Vec<StoredBackup>>> =
            all.iter().flat_map(|d| &d.places).map(|(_, backups)| backups.as_ref().ok()).collect();
        let places = places.filter(|_| all[0].whole_group).unwrap_or_default();
        if places.is_empty() {
            return Vec::new();
        }
        let points: Vec<RecoveryPoint> =
            places.into_iter().flatten().map(|b| b.to_recovery_point("")).collect();
        let finding = |hold: &str| {
            let why = format!("\"{hold}\" in holds is no dump at any place, so it holds nothing");
            let hint = format!(
                "write the dump's key or full name as `{}` shows it, or take it out",
                shared::hints::commands::LIST
            );
            Finding::new(Severity::Warning, hold, FindingCode::HoldUnmatched, why, hint)
                .in_group(group)
        };
        find_unmatched_holds(&rules.legal_holds, &points.iter().collect::<Vec<_>>())
            .into_iter()
            .map(finding)
            .collect()
    };
    groups.into_iter().flat_map(of_group).collect()
}

/// A place that was not seen, said once for its group. One that this role was never given is no fault of the run: whoever
/// dumps there from a host lets go there too.
fn unobserved_finding(group: &Name, address: &str, e: &OperationError) -> Finding {
    let finding = if e.kind == OperationErrorKind::Denied {
        let why = format!(
            "none of its dumps in {address} is let go here, for this role may not look there: {e}"
        );
        let hint = format!(
            "name the bucket in the stack's parameter DumpBuckets; or leave it as it is where a host dumps there: its `{}` lets go too",
            shared::hints::commands::dump_due(group.as_str())
        );
        Finding::new(Severity::Warning, group.as_str(), FindingCode::StoreAccessDenied, why, hint)
    } else {
        Finding::new(
            Severity::Critical,
            group.as_str(),
            FindingCode::ObservationFailed,
            e.to_string(),
            e.hint(),
        )
    };
    finding.in_group(group)
}

/// The fate of every committed dump of one database at one place, limits aside. What has no commit record that can be
/// read is nobody's to judge, and stays.
pub fn evaluate_dumps(
    policy: &Policy,
    dumps: &DatabaseDumps<'_>,
    place: usize,
    now: Timestamp,
) -> Vec<(RecoveryPoint, RetentionVerdict)> {
    let Some((_, Ok(backups))) = dumps.places.get(place) else { return Vec::new() };
    let company = &policy.owner();
    let all: BTreeMap<ReasonName, DumpRule> = dumps.rules.all_dumps();
    let own = place.checked_sub(1).and_then(|i| dumps.rules.copies[i].keep.as_ref());
    let mut points = Vec::new();
    let mut needed: BTreeMap<String, String> = BTreeMap::new();
    let mut newest: BTreeMap<String, ((bool, Timestamp), String)> = BTreeMap::new();
    let mut partial: BTreeSet<String> = BTreeSet::new();
    let mut earlier: BTreeMap<&str, Vec<Timestamp>> = BTreeMap::new();
    for (backup, manifest) in backups.iter().filter_map(|b| Some((b, b.committed_manifest()?))) {
        let point = backup.to_recovery_point(company);
        if let Some(until) = manifest.locked_until.filter(|until| *until > now) {
            needed.insert(point.arn.clone(), format!("locked until {until}"));
        }
        let at = point.data_time.unwrap_or(manifest.data_time);
        let full = stands_for_database(dumps.rules, manifest);
        if !full {
            partial.insert(point.arn.clone());
        }
        let this = ((full, at), point.arn.clone());
        let lineage = newest.entry(point.resource_id.clone()).or_insert_with(|| this.clone());
        if lineage.0 < this.0 {
            *lineage = this;
        }
        earlier.insert(&backup.uri, backup.data_times().filter(|t| *t < at).collect());
        points.push(point);
    }
    // After an upgrade or a new server of the same name, the old server's last dump is all that is left of it.
    if newest.len() > 1 {
        for (_, arn) in newest.into_values() {
            needed.entry(arn).or_insert_with(|| "the newest dump of its server".into());
        }
    }
    if place == 0 {
        visit_pending_copies(dumps, backups, &all, now, |key, why| {
            if let Some(point) = points.iter().find(|p| p.id == key) {
                needed.entry(point.arn.clone()).or_insert(why);
            }
        });
    }
    let kinds = all.iter().map(|(reason, dump)| {
        let owed =
            DeletionPrecondition::from_schedule(dump.schedule.as_ref(), &policy.time_zone, now);
        (
            reason.as_str(),
            ReasonRetention { keep: vec![own.unwrap_or(&dump.keep)], precondition: owed },
        )
    });
    let question = RetentionInput {
        owner: company,
        points: points.iter().collect(),
        reasons: kinds.collect(),
        min_count: dumps.rules.min_backups.get() as usize,
        holds: &dumps.rules.legal_holds,
        max_age: dumps.rules.objectives.max_age.as_ref().map(Period::duration),
        needed: needed.iter().map(|(arn, why)| (arn.as_str(), why.clone())).collect(),
        earlier,
        partial: partial.iter().map(String::as_str).collect(),
        ..RetentionInput::default()
    };
    let fates = decide_retention(&question, now);
    points.into_iter().zip(fates).collect()
}

/// Dumps in `storage` that a second place would keep and does not have yet, or of which nobody knows.
fn visit_pending_copies(
    dumps: &DatabaseDumps<'_>,
    home: &[StoredBackup],
    all: &BTreeMap<ReasonName, DumpRule>,
    now: Timestamp,
    mut needed: impl FnMut(&str, String),
) {
    for ((address, there), place) in dumps.places.iter().skip(1).zip(&dumps.rules.copies) {
        let Ok(there) = there else {
            for backup in home {
                needed(
                    &backup.key,
                    format!("{address} can't be seen, so nobody knows whether its copy is there"),
                );
            }
            continue;
        };
        for (reason, dump) in all {
            let keep = place.keep.as_ref().unwrap_or(&dump.keep);
            for missing in copies::missing_copies(home, there, reason.as_str(), keep, now) {
                needed(&missing.backup.key, format!("its copy to {address} is still to be made"));
            }
        }
    }
}

#[cfg(test)]
mod tests;

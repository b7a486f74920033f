//! Takes logical dumps of PostgreSQL: due by the policy's schedules, or asked for by a reason.
//!
//! # Layout
//! - [`plan()`]: which dumps are due and which copies are missing; pure
//! - `observe`: servers, keys and the dumps at every place
//! - `take`: one dump, from the lease to the commit record; `copy`: to a second place; `record`: the commit record;
//!   `same`: the note in its place where nothing changed
//! - `databases`: which databases a run speaks of; `unprotected`: those that no group has
//! - `values`: what is published of them
//! - [`means`]: logins, recipes and keys; [`fault`]: errors of the parts as one
//!
//! The database is read on one snapshot by several connections and never touches a disk here: COPY, compression,
//! encryption, hashes and upload are one pass in bounded memory.

mod copy;
mod databases;
pub mod fault;
pub mod means;
mod observe;
mod plan;
mod record;
mod same;
mod take;
mod unprotected;
mod values;

pub use copy::{DumpCopyContext, copy_dump};
pub use observe::dumpable_groups;
pub use plan::{CopyDump, CopyUnchangedMarker, DumpAction, DumpDatabase, ObservedDatabase, plan};
pub use record::{age_recipients, passphrase_name};
pub use take::{UploadError, commit_dump, upload_stream};
pub use values::dump_metrics;

use shared::{
    aws::{OperationError, OperationErrorKind},
    metrics::Metric,
    plan::{ActionPlan, Finding, FindingCode, Severity},
    policy::text::Name,
    report::{ActionResult, Artifact, RunReport, StepOutcome, StepResult, StepSuccess},
    request::{RunRequest, SCHEDULE_REASON},
    run::{RunContext, execute_plan},
    secret::SecretResolver,
    signing::SigningAuthor,
};
use std::collections::BTreeMap;
use storage::{
    BackupStore, StoredBackup, TrustPolicy,
    catalogue::{self, BackupKind},
    place,
};
use take::GroupDumpContext;
use tokio::time::Instant;

/// The function's name.
pub const NAME: &str = "dump";

/// Looks, plans, acts and reports.
pub async fn run(world: &RunContext<'_>, request: &RunRequest) -> RunReport {
    let mut report = RunReport::new(NAME, world);
    let secrets = world.secret_resolver();
    if let Some(unknown) = unknown_asset_finding(world, request) {
        report.push_finding(unknown);
        return report;
    }
    // Copies follow from what is there, so they are planned after the dumps.
    let copied = dumpable_groups(world).any(|(_, g)| !g.copies.is_empty());
    let began = Instant::now();
    let (mut looked, found) = observe::observe(world, &secrets, request).await;
    report.findings.extend(found);
    for look in [DumpPhase::Dumps, DumpPhase::Copies] {
        if look == DumpPhase::Copies && !copied {
            break;
        }
        let mut planned = plan(world.policy, &looked, request, world.now);
        let wanted =
            |a: &DumpAction| matches!(a, DumpAction::Create(_)) == (look == DumpPhase::Dumps);
        planned.steps.retain(|s| wanted(&s.action));
        if look == DumpPhase::Copies {
            planned.findings.clear();
        }
        let outcomes = apply_plan(world, &secrets, &planned).await;
        if look == DumpPhase::Dumps && copied && !planned.steps.is_empty() && !world.dry_run {
            // Dumps take hours, in which others work on the stores too.
            let world = RunContext { now: world.now + began.elapsed(), ..world.clone() };
            looked = observe::observe(&world, &secrets, request).await.0;
        }
        report.findings.append(&mut planned.findings);
        if look == DumpPhase::Dumps {
            report.values.extend(values::dump_metrics(&outcomes));
        }
        report.outcomes.extend(outcomes);
    }
    if request.is_full_run() {
        report.findings.extend(unprotected::find_unprotected(world, &secrets).await);
    }
    for open in unfinished_findings(&report.outcomes, request) {
        report.push_finding(open);
    }
    report.push_metric(
        Metric::DumpsTaken,
        report.count_outcomes(|r| matches!(r, StepResult::Done(_))),
    );
    report
}

/// What nobody would come back for: a demand that was put off, and a dump for which a whole run's time is too short. Where
/// a scheduled run came to the end of one dump at least, the next goes on with the others.
pub fn unfinished_findings(outcomes: &[StepOutcome], request: &RunRequest) -> Vec<Finding> {
    let demanded = request.reason != SCHEDULE_REASON;
    let on = outcomes.iter().any(|o| matches!(o.result, StepResult::Done(_)));
    let finding = |o: &StepOutcome| {
        let (why, hint) = match &o.result {
            StepResult::Deferred(why) if demanded => {
                (why.clone(), "wait until what is in its way is over, then ask again")
            }
            StepResult::Unfinished if demanded || !on => (
                "it was not finished in the run's time, so it does not count".into(),
                "give it more time: raise jobs or the timeout, or dump it where there is no limit, such as on Fargate",
            ),
            _ => return None,
        };
        Some(Finding::new(Severity::Critical, &o.asset, FindingCode::BackupNotTaken, why, hint))
    };
    outcomes.iter().filter_map(finding).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum DumpPhase {
    Dumps,
    Copies,
}

/// What was asked for and the policy does not have.
fn unknown_asset_finding(world: &RunContext<'_>, request: &RunRequest) -> Option<Finding> {
    let known: Vec<String> = dumpable_groups(world)
        .flat_map(|(name, g)| {
            std::iter::once(name.to_string())
                .chain(g.databases.named().iter().map(move |d| format!("{name}/{d}")))
        })
        .collect();
    // Which databases a group of all has, its server says.
    let of_all = |a: &&String| {
        dumpable_groups(world)
            .any(|(n, g)| g.databases.is_all() && observe::names_group(a, n.as_str()))
    };
    let asked = request.assets.iter().find(|a| !known.contains(a) && !of_all(a))?;
    let why = "no postgres group with dumps, and no database of one, has that name";
    let hint = format!("write one of: {}", known.join(", "));
    Some(Finding::new(Severity::Critical, asked, FindingCode::UnknownAsset, why, hint))
}

/// Carries out a plan, each group's server and stores opened once.
async fn apply_plan(
    world: &RunContext<'_>,
    secrets: &SecretResolver<'_>,
    plan: &ActionPlan<DumpAction>,
) -> Vec<StepOutcome> {
    let mut grounds = BTreeMap::new();
    let groups = plan.steps.iter().map(|s| s.action.group());
    let author = if world.dry_run {
        Ok(SigningAuthor::new(world.policy.owner(), None))
    } else {
        SigningAuthor::from_policy(world.policy, secrets).await
    };
    if !world.dry_run {
        for group in groups.collect::<std::collections::BTreeSet<&Name>>() {
            let rules = &world.policy.postgres[group];
            let server = means::connect_config(world, secrets, rules).await;
            grounds.insert(group, (rules, server, place::open_all(world, secrets, rules).await));
        }
    }
    let started = Instant::now();
    // Each dump already reads over several connections, and its memory is its own.
    let width = world.policy.limits.dumps.map_or(1, |n| n.get() as usize);
    execute_plan(world, plan, width, async |action: &DumpAction| -> ActionResult {
        let (rules, server, places) = &grounds[action.group()];
        let place = |i: usize| places[i].as_ref().map_err(OperationError::clone);
        let author = author.as_ref().map_err(OperationError::clone)?;
        // What was written since the run began is not of the future.
        let trust = &TrustPolicy::from_policy(world.policy, rules, world.now + started.elapsed());
        let dumps = rules.all_dumps();
        let began = Instant::now();
        match action {
            DumpAction::Create(t) => {
                let server = server.as_ref().map_err(OperationError::clone)?;
                let stored = place(0)?;
                let ground =
                    GroupDumpContext { world, secrets, rules, server, stored, author, trust };
                let taken = Box::pin(take::dump_database(&ground, t, &dumps[&t.reason])).await?;
                let told = take::result_message(&taken, began.elapsed());
                Ok(StepSuccess::with_artifact(
                    told,
                    dump_artifact(&place(0)?.store, &taken.key, &taken.manifest, began),
                ))
            }
            DumpAction::CopyMarker(n) => {
                let to = place(n.to + 1)?;
                same::copy_unchanged_marker(place(0)?, to, n, trust, author).await?;
                Ok(format!("{} is noted to be still true at {}", n.key, n.at).into())
            }
            DumpAction::Copy(c) => {
                let to = place(c.to + 1)?;
                let means = copy::DumpCopyContext { world, rules, author, trust };
                let (key, manifest) = Box::pin(copy::copy_dump(&means, place(0)?, to, c)).await?;
                let told = format!("{} is in {}", manifest.file.name, to.store.address());
                Ok(StepSuccess::with_artifact(
                    told,
                    dump_artifact(&to.store, &key, &manifest, began),
                ))
            }
        }
    })
    .await
}

/// A file that was made since `began`.
pub fn dump_artifact(
    store: &storage::BackupStore,
    key: &str,
    manifest: &storage::BackupManifest,
    began: Instant,
) -> Artifact {
    Artifact {
        key: key.to_owned(),
        location: store.address(),
        bytes: Some(manifest.file.bytes),
        seconds: Some(began.elapsed().as_secs_f64()),
    }
}

/// A dump that was just taken, as the store has it.
#[derive(Debug)]
pub struct StoredDump {
    /// The store.
    pub store: BackupStore,
    /// The dump there.
    pub backup: StoredBackup,
}

/// Takes one dump of a database now, whatever is due: the safety backup before a restore.
///
/// # Errors
/// If it can't be taken, or is not what lies in the store afterwards.
pub async fn dump_now(
    world: &RunContext<'_>,
    group: &Name,
    database: &str,
    reason: &str,
) -> std::result::Result<StoredDump, OperationError> {
    let secrets = world.secret_resolver();
    let rules = &world.policy.postgres[group];
    let refused =
        |why: String| OperationError::from_message(format!("dump {database} for {reason}"), why);
    let dumps = rules.all_dumps();
    let (reason, dump) = (dumps.iter().find(|(r, _)| r.as_str() == reason))
        .ok_or_else(|| refused("the group takes no dumps at all".into()))?;
    let server = means::connect_config(world, &secrets, rules).await?;
    let places = place::open_all(world, &secrets, rules).await;
    let stored = places.first().expect("`storage` is always there");
    let stored = stored.as_ref().map_err(OperationError::clone)?;
    let author = SigningAuthor::from_policy(world.policy, &secrets).await?;
    let trust = TrustPolicy::from_policy(world.policy, rules, world.now);
    let (group, database) = (group.clone(), database.to_owned());
    let reason = reason.clone();
    let what =
        DumpDatabase { group, database, reason, slot: None, table: None, dedup_candidate: None };
    let began = Instant::now();
    let (secrets, server, author, trust) = (&secrets, &server, &author, &trust);
    let ground = GroupDumpContext { world, secrets, rules, server, stored, author, trust };
    let take::CompletedDump { key, manifest, .. } =
        Box::pin(take::dump_database(&ground, &what, dump)).await?;
    let trust = TrustPolicy::from_policy(world.policy, rules, world.now + began.elapsed());
    let backup = catalogue::get_backup(&stored.store, &key, &trust).await?;
    if backup.committed_manifest().is_some_and(|m| m.file.sha256 == manifest.file.sha256) {
        return Ok(StoredDump { store: stored.store.clone(), backup });
    }
    let (why, hint) = match backup.kind {
        BackupKind::Faulty { why, hint, .. } => (why, hint),
        _ => ("another dump lies there".into(), "look at what else writes there".into()),
    };
    Err(OperationError::with_hint(OperationErrorKind::Store, format!("read back {key}"), why, hint))
}

impl DumpAction {
    /// The group that it is of.
    pub fn group(&self) -> &Name {
        match self {
            Self::Create(t) => &t.group,
            Self::Copy(c) => &c.group,
            Self::CopyMarker(n) => &n.group,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unfinished_reasons(reason: &str, results: Vec<StepResult>) -> Vec<String> {
        let outcome = |result| StepOutcome {
            asset: "main/orders".into(),
            action: "dump".into(),
            reason: "due".into(),
            operation: shared::plan::Operation::Backup,
            result,
            kind: None,
            artifact: None,
        };
        let outcomes: Vec<_> = results.into_iter().map(outcome).collect();
        let request = RunRequest { reason: reason.into(), ..RunRequest::default() };
        unfinished_findings(&outcomes, &request).into_iter().map(|f| f.message).collect()
    }

    #[test]
    fn a_run_that_finished_no_dump_fails_and_one_that_came_further_is_gone_on_with() {
        let done = || StepResult::Done("x".into());
        assert_eq!(
            unfinished_reasons(
                SCHEDULE_REASON,
                vec![StepResult::Unfinished, StepResult::Unfinished]
            )
            .len(),
            2
        );
        assert!(
            unfinished_reasons(SCHEDULE_REASON, vec![done(), StepResult::Unfinished]).is_empty()
        );
        assert!(unfinished_reasons(SCHEDULE_REASON, vec![]).is_empty());
    }

    #[test]
    fn a_demand_that_is_put_off_fails() {
        let held = || StepResult::Deferred("held by another run".into());
        assert_eq!(
            unfinished_reasons(
                "manual",
                vec![StepResult::Done("x".into()), StepResult::Unfinished]
            )
            .len(),
            1
        );
        assert_eq!(unfinished_reasons("manual", vec![held()]), ["held by another run"]);
        assert!(unfinished_reasons(SCHEDULE_REASON, vec![held()]).is_empty());
    }
}

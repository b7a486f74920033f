//! Which base backups and which WAL may go: [`::wal::retention`] decides, and this carries it out, archive by archive.

use crate::{plan::check_delete_limit, schedule};
use ::wal::{
    WalError, WalErrorKind, WalRepository,
    inventory::ArchiveInventory,
    open::{ArchiveAccess, open_archive},
    retention::{ArchiveRetention, ArchiveRetentionInput, decide_archive_retention},
};
use serde::Serialize;
use shared::{
    aws::{OperationError, OperationErrorKind},
    catalog::RecoveryPoint,
    keep::{RetentionVerdict, wal::WalRun},
    plan::{ActionPlan, DeletionPermit, Finding, FindingCode, Operates, Operation, Severity},
    policy::{Policy, PostgresGroup, WalConfig, text::Name},
    report::StepOutcome,
    request::RunRequest,
    run::{RunContext, execute_plan},
};
use std::{collections::BTreeMap, fmt};
use storage::{TrustPolicy, mark};

/// What is deleted in an archive.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArchiveDeletion {
    /// A base backup.
    BaseBackup(Box<DeletionPermit<RecoveryPoint>>),
    /// WAL that nothing needs.
    Wal(DeletionPermit<WalRun>),
}

/// A step of a plan for an archive.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeleteFromArchive {
    /// The group.
    pub group: Name,
    /// What goes.
    pub deletion: ArchiveDeletion,
}

impl Operates for DeleteFromArchive {
    fn operation(&self) -> Operation {
        Operation::Delete
    }
}

impl fmt::Display for DeleteFromArchive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.deletion {
            ArchiveDeletion::BaseBackup(point) => write!(f, "delete {}", point.point().arn),
            ArchiveDeletion::Wal(run) => {
                let WalRun { keys, first, last, timeline, system } = run.point();
                write!(
                    f,
                    "delete {} objects of WAL of timeline {timeline} of cluster {system}, segments {first} to {last}",
                    keys.len()
                )
            }
        }
    }
}

/// What a plan comes to, with the counts that are published.
#[derive(Debug, Default)]
pub struct ArchiveRetentionPlan {
    /// Base backups first, then WAL, each oldest first.
    pub plan: ActionPlan<DeleteFromArchive>,
    /// Base backups that stay.
    pub retained: usize,
    /// Base backups that would have gone and did not, because of the limits.
    pub blocked: usize,
    /// What became of the steps.
    pub outcomes: Vec<StepOutcome>,
    /// Base backups that were deleted.
    pub deleted: usize,
}

/// Looks at the archive of every group, plans, and deletes.
pub async fn apply_archive_retention(
    world: &RunContext<'_>,
    request: &RunRequest,
    width: usize,
) -> ArchiveRetentionPlan {
    let mut result = ArchiveRetentionPlan::default();
    let mut archives = BTreeMap::new();
    for (group, rules) in &world.policy.postgres {
        let Some(config) = &rules.wal else { continue };
        // A Lambda has none of a host's directories; and whoever asks for one database speaks of no whole server.
        let local = config.storage.directory.is_some() && !world.on_host;
        let asked =
            request.assets.is_empty() || request.assets.iter().any(|a| *a == group.as_str());
        if local || !asked {
            continue;
        }
        match observe_archive(world, rules, config).await {
            Ok((repository, inventory)) => {
                let address = repository.store.address();
                let verdict = decide(world, rules, config, &repository, &inventory);
                plan_archive(world.policy, group, &address, verdict, &mut result);
                archives.insert(group, repository);
            }
            Err(e) => result.plan.findings.push(unobserved_finding(group, &e)),
        }
    }
    if schedule::not_due_finding(world.policy, world.now).is_some() {
        schedule::defer_steps(&mut result.plan, world.dry_run);
    }
    let plan = std::mem::take(&mut result.plan);
    result.outcomes = execute_plan(world, &plan, width, async |step: &DeleteFromArchive| {
        let store = &archives[&step.group].store;
        let deleted = match &step.deletion {
            ArchiveDeletion::BaseBackup(point) => store.delete_base_backup(point).await,
            ArchiveDeletion::Wal(run) => store.delete_wal_run(run).await,
        };
        deleted.map_err(|e| {
            OperationError::with_hint(OperationErrorKind::CleanUp, e.doing, e.why, e.hint)
        })?;
        Ok(match &step.deletion {
            ArchiveDeletion::BaseBackup(point) => format!("{} is deleted", point.point().id).into(),
            ArchiveDeletion::Wal(run) => {
                format!("{} objects are deleted", run.point().keys.len()).into()
            }
        })
    })
    .await;
    result.deleted = plan
        .steps
        .iter()
        .zip(&result.outcomes)
        .filter(|(s, o)| {
            matches!(s.action.deletion, ArchiveDeletion::BaseBackup(_))
                && matches!(o.result, shared::report::StepResult::Done(_))
        })
        .count();
    result.plan = plan;
    result
}

/// Opens and lists an archive. One without our mark is not ours, or is not mounted.
async fn observe_archive(
    world: &RunContext<'_>,
    rules: &PostgresGroup,
    config: &WalConfig,
) -> Result<(WalRepository, ArchiveInventory), WalError> {
    let secrets = world.secret_resolver();
    let of = (world.aws, world.policy, config);
    let repository = open_archive(of, &secrets, ArchiveAccess::List, &world.run_id).await?;
    let trust = TrustPolicy::from_policy(world.policy, rules, world.now);
    if mark::find_marker(&repository.store, &trust).await?.is_none() {
        // Before the first segment there is no mark in a bucket, and nothing to delete.
        let entries = repository.store.list("").await?;
        if !entries.is_empty() {
            let doing = format!("read the mark of {}", repository.store.address());
            let why = "it has none, so what lies there is not known to be ours";
            let hint = shared::hints::commands::run(shared::hints::commands::STORE_INIT);
            return Err(WalError::new(WalErrorKind::Store, doing, why, hint));
        }
    }
    let inventory = repository.read_inventory().await?;
    Ok((repository, inventory))
}

fn decide(
    world: &RunContext<'_>,
    rules: &PostgresGroup,
    config: &WalConfig,
    repository: &WalRepository,
    inventory: &ArchiveInventory,
) -> ArchiveRetention {
    let input = ArchiveRetentionInput {
        owner: &world.policy.owner(),
        full_uri: &repository.store,
        inventory,
        config,
        zone: &world.policy.time_zone,
        holds: &rules.legal_holds,
    };
    decide_archive_retention(&input, world.now)
}

/// Plans one archive. Where the limits stop base backups, its WAL stays too.
fn plan_archive(
    policy: &Policy,
    group: &Name,
    address: &str,
    verdict: ArchiveRetention,
    result: &mut ArchiveRetentionPlan,
) {
    let all = verdict.backups.len();
    let going =
        verdict.backups.iter().filter(|(_, v)| matches!(v, RetentionVerdict::Delete(..))).count();
    if let Some(finding) = check_delete_limit(&policy.limits.delete, address, (going, all)) {
        result.blocked += going;
        result.retained += all;
        result.plan.findings.push(finding.in_group(group));
        return;
    }
    result.retained += all - going;
    for (_, fate) in verdict.backups {
        if let RetentionVerdict::Delete(point, why) = fate {
            let deletion = ArchiveDeletion::BaseBackup(point);
            result.plan.push_step(
                group.as_str(),
                DeleteFromArchive { group: group.clone(), deletion },
                why,
            );
        }
    }
    for run in verdict.wal.into_values().flat_map(|w| w.deletable) {
        let deletion = ArchiveDeletion::Wal(run);
        let why = "no base backup that stays and no moment of `wal.keep` needs it";
        result.plan.push_step(
            group.as_str(),
            DeleteFromArchive { group: group.clone(), deletion },
            why,
        );
    }
    for why in verdict.suspended {
        let hint = "WAL and base backups pile up until that is mended";
        let finding =
            Finding::new(Severity::Info, group.as_str(), FindingCode::DeletionSuspended, why, hint);
        result.plan.findings.push(finding.in_group(group));
    }
}

/// An archive that was not seen loses nothing. One that this role was never given is no fault of the run: its host deletes.
fn unobserved_finding(group: &Name, e: &WalError) -> Finding {
    let finding = Finding::new(
        Severity::Critical,
        group.as_str(),
        FindingCode::ObservationFailed,
        format!("none of its WAL and base backups goes: {}: {}", e.doing, e.why),
        e.hint.clone(),
    );
    finding.in_group(group)
}

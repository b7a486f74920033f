//! Drills: recovery points are restored by a calendar, and what that showed is kept as signed evidence.
//!
//! A hope becomes a proof by a restore alone. Dumps are restored to a scratch server ([`DrillKind::Dump`]) or read and
//! hashed ([`DrillKind::Quick`]). The state of a drill is what exists: the evidence in the store of the asset's group.
//! There is nothing else to lose, so a run that is killed anywhere is carried on by the next.
//!
//! # Layout
//! - [`calendar`]: slots, and which were missed; [`choose`]: which recovery point, whose turn; [`plan`](mod@plan): what
//!   is due and how old each proof is. All of them pure
//! - [`evidence`]: the format, what counts of it, and its store
//! - `observe`: recovery points and evidence; `perform`: one drill; `scratch`: where it runs; `inject`: faults on purpose
//! - [`markdown`]: evidence for people; [`instances`]: the table of drills that restore RDS instances

pub mod calendar;
pub mod choose;
pub mod evidence;
mod inject;
pub mod instances;
pub mod markdown;
mod observe;
mod perform;
pub mod plan;
mod scratch;

pub use scratch::open_scratch_target;
pub use shared::policy::DrillKind;

use evidence::{DrillEvidence, DrillFault, DrillTrigger, DrillVerdict, store::write_evidence};
use jiff::{Timestamp, Unit};
use observe::{DrillInventory, GroupInventory};
use perform::{DrillContext, DrillMode, blank_evidence, carry_out};
use plan::{DrillAction, DrillTask, ObservedDrill, proof_metrics, proof_statuses};
use shared::{
    aws::OperationError,
    plan::{ActionPlan, Finding, PlanStep},
    policy::text::Name,
    report::{ActionResult, Artifact, RunReport, StepOutcome, StepSuccess, dry_run_outcomes},
    request::{RunRequest, matches_asset},
    run::{RunContext, execute_plan},
    secret::SecretResolver,
    signing::SigningAuthor,
};
use std::sync::Mutex;
use storage::{StoreErrorKind, TrustPolicy};
use tokio::time::Instant;

/// The function's name.
pub const NAME: &str = "drill";

/// Carries out the drills that are due, and reports how old each proof is.
pub async fn run(world: &RunContext<'_>, _: &RunRequest) -> RunReport {
    let secrets = world.secret_resolver();
    let began = Instant::now();
    let inventory = observe::observe(world, &secrets).await;
    let planned = plan::plan(&inventory.drills, world.now);
    if world.dry_run || planned.steps.is_empty() {
        let outcomes = dry_run_outcomes(&planned);
        return report_of(world, &inventory, planned.findings, outcomes);
    }
    let ctx = DrillContext { world, secrets: &secrets, began };
    let mode = DrillMode { trigger: DrillTrigger::Schedule, fault: None };
    let outcomes = apply_plan(&ctx, &inventory, &planned, mode, &Mutex::default()).await;
    // What was proven meanwhile counts.
    let after = RunContext { now: ctx.current_time(), ..world.clone() };
    let inventory = observe::observe(&after, &secrets).await;
    let findings = plan::plan(&inventory.drills, after.now).findings;
    report_of(&after, &inventory, findings, outcomes)
}

/// How old each proof is, and what is due: what [`run`] says as a dry run, without the means to carry anything out.
pub async fn check(world: &RunContext<'_>) -> RunReport {
    let inventory = observe::observe(world, &world.secret_resolver()).await;
    let planned = plan::plan(&inventory.drills, world.now);
    report_of(
        world,
        &inventory,
        planned.findings,
        dry_run_outcomes(&ActionPlan::<DrillAction>::default()),
    )
}

fn report_of(
    world: &RunContext<'_>,
    inventory: &DrillInventory<'_>,
    findings: Vec<Finding>,
    outcomes: Vec<StepOutcome>,
) -> RunReport {
    let mut report = RunReport::new(NAME, world);
    report.findings.extend(inventory.findings.iter().cloned());
    report.findings.extend(findings);
    report.outcomes = outcomes;
    report.assets = proof_statuses(&inventory.drills, world.now);
    report.values = proof_metrics(&inventory.drills, world.now);
    report
}

/// A drill that somebody asks for.
#[derive(Clone, Debug)]
pub struct DrillDemand {
    /// The drill.
    pub drill: Name,
    /// Only this asset of it: its name, or `group/name`.
    pub asset: Option<String>,
    /// A fault to make on purpose.
    pub fault: Option<DrillFault>,
}

/// What a drill by hand came to.
#[derive(Debug)]
pub struct DrillDemandOutput {
    /// The report of the run.
    pub report: RunReport,
    /// The evidence of each asset.
    pub evidence: Vec<DrillEvidence>,
}

/// Carries out a drill now, whatever its calendar says. Where a slot is open, it is the drill of that slot.
///
/// # Errors
/// If the drill's group can't be read, or has no such asset.
pub async fn run_demand(
    world: &RunContext<'_>,
    demand: &DrillDemand,
) -> Result<DrillDemandOutput, OperationError> {
    let secrets = world.secret_resolver();
    let began = Instant::now();
    let inventory = observe::observe(world, &secrets).await;
    let doing = || format!("run drill {}", demand.drill);
    let Some(drill) = inventory.drills.iter().find(|d| *d.drill == demand.drill) else {
        let unread = inventory.findings.first().map(|f| f.message.clone());
        let why = unread.unwrap_or_else(|| "nothing of this kind can be run here".into());
        return Err(OperationError::from_message(doing(), why));
    };
    let mut planned = ActionPlan::default();
    for asset in &drill.assets {
        let name = asset.asset.as_str();
        let asked = |a: &String| a == name || matches_asset(a, drill.group.as_str(), name);
        if !demand.asset.as_ref().is_none_or(asked) {
            continue;
        }
        let slot = demanded_slot(drill, asset, demand.fault, world.now);
        let task = DrillAction::Restore(drill.task(name, slot));
        planned.push_step(format!("{}/{name}", drill.group), task, "it was asked for");
    }
    if planned.steps.is_empty() {
        let known: Vec<_> = drill.assets.iter().map(|a| a.asset.as_str()).collect();
        let why = match &demand.asset {
            Some(asset) => format!("it has no asset {asset}; it has: {}", known.join(", ")),
            None => "its group has no database with a dump".to_owned(),
        };
        return Err(OperationError::from_message(doing(), why));
    }
    let ctx = DrillContext { world, secrets: &secrets, began };
    let mode = DrillMode { trigger: DrillTrigger::Manual, fault: demand.fault };
    let written = Mutex::default();
    let outcomes = apply_plan(&ctx, &inventory, &planned, mode, &written).await;
    let report = report_of(world, &DrillInventory::default(), Vec::new(), outcomes);
    let evidence = written.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(DrillDemandOutput { report, evidence })
}

/// The open slot that has no evidence yet; else now, to the second.
fn demanded_slot(
    drill: &ObservedDrill<'_>,
    asset: &plan::ObservedAsset,
    fault: Option<DrillFault>,
    now: Timestamp,
) -> Timestamp {
    let open = drill.calendar.last_slot(now).filter(|slot| {
        fault.is_none()
            && drill.calendar.is_open(*slot, now)
            && asset.evidence_of_slot(*slot).is_none()
    });
    open.unwrap_or_else(|| now.round(Unit::Second).unwrap_or(now))
}

/// Carries out a plan, one drill after the other: each restores a whole database.
async fn apply_plan(
    ctx: &DrillContext<'_>,
    inventory: &DrillInventory<'_>,
    planned: &ActionPlan<DrillAction>,
    mode: DrillMode,
    written: &Mutex<Vec<DrillEvidence>>,
) -> Vec<StepOutcome> {
    let world = ctx.world;
    let author = SigningAuthor::from_policy(world.policy, ctx.secrets).await;
    execute_plan(world, planned, 1, async |action: &DrillAction| -> ActionResult {
        // Before anything is restored: what can't be signed would not count.
        let author = author.as_ref().map_err(OperationError::clone)?;
        let task = action.task();
        let drill = inventory.drills.iter().find(|d| *d.drill == task.drill);
        let group = inventory.groups.get(&task.group);
        let (Some(drill), Some(group)) = (drill, group) else {
            let why = "it is not among what was observed";
            return Err(OperationError::from_message(action.to_string(), why));
        };
        let trust = TrustPolicy::from_policy(world.policy, group.rules, ctx.current_time());
        group.place.ensure_owned(&trust, author, world).await?;
        let evidence = match action {
            DrillAction::Restore(task) => Box::pin(carry_out(ctx, drill, group, task, mode)).await,
            DrillAction::RecordMissed(task) => missed_evidence(ctx, drill, task),
        };
        let put = write_evidence(&group.place.store, &evidence, author, &world.run_id).await;
        match put {
            // Another run was quicker; what it wrote is the evidence.
            Err(e) if e.kind == StoreErrorKind::Exists => {
                return Ok(format!("another run has written {}", evidence.key()).into());
            }
            put => put?,
        }
        let result = result_of(group, &evidence);
        written.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(evidence);
        result
    })
    .await
}

/// Evidence that nothing was done.
fn missed_evidence(
    ctx: &DrillContext<'_>,
    drill: &ObservedDrill<'_>,
    task: &DrillTask,
) -> DrillEvidence {
    let mode = DrillMode { trigger: DrillTrigger::Missed, fault: None };
    let over = drill.calendar.start_deadline(task.slot);
    let reason = format!("missed: it was due at {} and had not begun by {over}", task.slot);
    let blank = blank_evidence(ctx, drill, task, mode, ctx.current_time());
    DrillEvidence { reason, not_tested: vec!["anything".into()], ..blank }
}

/// What a drill's step comes to: nothing but a proof is done.
fn result_of(group: &GroupInventory<'_>, evidence: &DrillEvidence) -> ActionResult {
    let (key, sha256) = (evidence.key(), evidence.sha256());
    let seconds = evidence.measured.rto_seconds;
    let artifact = Artifact {
        key: key.clone(),
        location: group.place.store.address(),
        bytes: u64::try_from(evidence.to_json().len()).ok(),
        seconds,
    };
    let label = evidence.verdict.label();
    let told = format!("{label}; evidence {key}, sha256 {sha256}");
    let recorded = evidence.trigger == DrillTrigger::Missed || evidence.injected.is_some();
    if evidence.verdict == DrillVerdict::Proven || recorded {
        let injected = evidence.injected.map(|f| format!("injected {f}: ")).unwrap_or_default();
        return Ok(StepSuccess::with_artifact(format!("{injected}{told}"), artifact));
    }
    let why = format!("{label}: {}; evidence {key}, sha256 {sha256}", evidence.reason);
    Err(OperationError::from_message(format!("prove {}/{}", evidence.group, evidence.asset), why))
}

/// A drill with its calendar and its evidence, for people.
#[derive(Debug)]
pub struct DrillOverview<'p> {
    /// The drills as they were observed.
    pub drills: Vec<ObservedDrill<'p>>,
    /// What could not be read, and what lies among the evidence and does not count.
    pub findings: Vec<Finding>,
    /// What is due.
    pub due: Vec<PlanStep<DrillAction>>,
}

/// Reads the drills of a policy, with their evidence.
pub async fn overview<'p>(
    world: &RunContext<'p>,
    secrets: &SecretResolver<'_>,
) -> DrillOverview<'p> {
    let inventory = observe::observe(world, secrets).await;
    let due = plan::plan(&inventory.drills, world.now).steps;
    DrillOverview { drills: inventory.drills, findings: inventory.findings, due }
}

//! Takes RDB files of Redis and Valkey, and checks their servers.
//!
//! # Layout
//! - [`check`]: what is wrong with a server; pure
//! - `observe`: servers, Sentinels, and the files at every place
//! - `source`: which node a file is read from; `take`: one file, from the stream to the commit record
//! - `save`: BGSAVE on demand; `fault`: errors as one
//!
//! What is due, what is copied and what a file is called follows from the plan of dumps ([`dump::plan()`]): to the stores
//! an RDB file is a dump of a group with one database.

pub mod check;
mod fault;
mod observe;
mod save;
mod source;
mod take;

pub use save::save_server;

use check::evaluate_server;
use dump::{DumpAction, DumpCopyContext, ObservedDatabase};
use observe::{RdbGroup, rdb_groups, requested_groups};
use shared::{
    aws::OperationError,
    plan::{ActionPlan, Finding, FindingCode, Severity},
    report::{ActionResult, RunReport, StepOutcome, StepSuccess},
    request::{RunRequest, SCHEDULE_REASON, matches_asset},
    run::{RunContext, execute_plan},
    secret::SecretResolver,
    signing::SigningAuthor,
};
use std::collections::BTreeMap;
use storage::{TrustPolicy, place};
use take::RdbContext;
use tokio::time::Instant;

/// The function's name.
pub const NAME: &str = "redis";

/// Observes servers and stores, takes the RDB files that are due or asked for, then copies what second places lack. The
/// run fails when a server is not what the policy says or a file could not be taken.
pub async fn run(world: &RunContext<'_>, request: &RunRequest) -> RunReport {
    let mut report = RunReport::new(NAME, world);
    let secrets = world.secret_resolver();
    if let Some(unknown) = unknown_asset_finding(world, request) {
        report.push_finding(unknown);
        return report;
    }
    let groups = requested_groups(world, request);
    let began = Instant::now();
    for group in &groups {
        let seen = observe::observe_server(&secrets, *group).await;
        // Who asks for a file asks for no check of the server.
        let checked = request.reason == SCHEDULE_REASON;
        for finding in evaluate_server(&seen, world.now).into_iter().filter(|_| checked) {
            report.push_finding(finding);
        }
        let stored = observe::observe_stores(world, &secrets, *group, &seen).await;
        let (findings, outcomes) =
            apply_phase(world, &secrets, request, *group, stored, Phase::Take).await;
        report.values.extend(dump::dump_metrics(&outcomes));
        // That the server can't be asked is said already.
        let said = |f: &Finding| f.code == FindingCode::PreflightFailed;
        for finding in findings.into_iter().filter(|f| !said(f)) {
            report.push_finding(finding);
        }
        report.outcomes.extend(outcomes);
        if group.stored.copies.is_empty() {
            continue;
        }
        // What was just taken is there now.
        let world = RunContext { now: world.now + began.elapsed(), ..world.clone() };
        let stored = observe::observe_stores(&world, &secrets, *group, &seen).await;
        let (_, outcomes) =
            apply_phase(&world, &secrets, request, *group, stored, Phase::Copy).await;
        report.outcomes.extend(outcomes);
    }
    for open in dump::unfinished_findings(&report.outcomes, request) {
        report.push_finding(open);
    }
    report
}

/// A server's findings alone, of the groups that are named: nothing of the stores is read.
pub async fn check_servers(world: &RunContext<'_>, request: &RunRequest) -> RunReport {
    let mut report = RunReport::new(NAME, world);
    let secrets = world.secret_resolver();
    if let Some(unknown) = unknown_asset_finding(world, request) {
        report.push_finding(unknown);
        return report;
    }
    for group in requested_groups(world, request) {
        let seen = observe::observe_server(&secrets, group).await;
        for finding in evaluate_server(&seen, world.now) {
            report.push_finding(finding);
        }
    }
    report
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Take,
    Copy,
}

fn unknown_asset_finding(world: &RunContext<'_>, request: &RunRequest) -> Option<Finding> {
    let groups = rdb_groups(world);
    let known = |asset: &&String| {
        groups.iter().any(|g| matches_asset(asset, g.name.as_str(), g.name.as_str()))
    };
    let asked = request.assets.iter().find(|a| !known(a))?;
    let names: Vec<&str> = groups.iter().map(|g| g.name.as_str()).collect();
    let why = "no redis group with an address has that name";
    let hint = format!("write one of: {}", names.join(", "));
    Some(Finding::new(Severity::Critical, asked, FindingCode::UnknownAsset, why, hint))
}

/// Plans and carries out one phase of a group.
async fn apply_phase(
    world: &RunContext<'_>,
    secrets: &SecretResolver<'_>,
    request: &RunRequest,
    group: RdbGroup<'_>,
    stored: ObservedDatabase<'_>,
    phase: Phase,
) -> (Vec<Finding>, Vec<StepOutcome>) {
    let mut plan = dump::plan(world.policy, &[stored], request, world.now);
    plan.steps.retain(|s| matches!(s.action, DumpAction::Create(_)) == (phase == Phase::Take));
    let findings = std::mem::take(&mut plan.findings);
    let outcomes = apply_plan(world, secrets, group, &plan).await;
    (findings, outcomes)
}

async fn apply_plan(
    world: &RunContext<'_>,
    secrets: &SecretResolver<'_>,
    group: RdbGroup<'_>,
    plan: &ActionPlan<DumpAction>,
) -> Vec<StepOutcome> {
    let (mut places, mut author) = (Vec::new(), Ok(SigningAuthor::new(world.policy.owner(), None)));
    if !world.dry_run && !plan.steps.is_empty() {
        places = place::open_all(world, secrets, group.stored).await;
        author = SigningAuthor::from_policy(world.policy, secrets).await;
    }
    let started = Instant::now();
    let rules: BTreeMap<_, _> = group.stored.all_dumps();
    execute_plan(world, plan, 1, async |action: &DumpAction| -> ActionResult {
        let place = |i: usize| places[i].as_ref().map_err(OperationError::clone);
        let author = author.as_ref().map_err(OperationError::clone)?;
        let now = world.now + started.elapsed();
        let trust = &TrustPolicy::from_policy(world.policy, group.stored, now);
        let began = Instant::now();
        match action {
            DumpAction::Create(take) => {
                let store = place(0)?;
                let context = RdbContext { world, secrets, group, store, author, trust };
                let (key, manifest) =
                    Box::pin(take::take_rdb(&context, take, &rules[&take.reason])).await?;
                let artifact = dump::dump_artifact(&store.store, &key, &manifest, began);
                let message = take::result_message(&manifest, began.elapsed());
                Ok(StepSuccess::with_artifact(message, artifact))
            }
            DumpAction::Copy(copy) => {
                let to = place(copy.to + 1)?;
                let context = DumpCopyContext { world, rules: group.stored, author, trust };
                let (key, manifest) =
                    Box::pin(dump::copy_dump(&context, place(0)?, to, copy)).await?;
                let artifact = dump::dump_artifact(&to.store, &key, &manifest, began);
                let message = format!("{} is in {}", manifest.file.name, to.store.address());
                Ok(StepSuccess::with_artifact(message, artifact))
            }
            DumpAction::CopyMarker(_) => {
                let why = "an RDB file is never noted to be unchanged";
                Err(OperationError::from_message(group.name.to_string(), why))
            }
        }
    })
    .await
}

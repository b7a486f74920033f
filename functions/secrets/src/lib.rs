//! Checks the secrets of Secrets Manager that the policy names, and exports each version of them once in its life.
//!
//! # Layout
//! - [`observe()`]: listings without values; [`plan()`]: findings and exports that are due; pure
//! - `export`: one version, from its value to its signed record; [`record`]: what is stored of it; [`stored`]: which
//!   exports there are
//! - [`restore`]: versions back into Secrets Manager; [`diff`]: exported and live values compared
//!
//! A value is read once in its life: only a version without an export is. It is encrypted to recipients before it is
//! stored, so that who exports cannot read the exports, and no output has a value, its hash or its length.

pub mod diff;
mod export;
mod observe;
mod plan;
pub mod record;
pub mod restore;
pub mod stored;

pub use observe::{VersionDates, observe};
pub use plan::{ExportVersion, ObservedGroup, SecretsPlan, plan};

use shared::{
    metrics::Metric,
    plan::{Finding, FindingCode, Severity},
    report::{RunReport, StepResult},
    request::RunRequest,
    run::{RunContext, execute_plan},
    signing::SigningAuthor,
};
use std::collections::BTreeMap;
use storage::TrustPolicy;

/// The function's name.
pub const NAME: &str = "secrets";

/// Versions that are exported at once: few values are in memory at a time.
const MAX_CONCURRENT_EXPORTS: usize = 4;

/// Observes every secret that the request speaks of, exports the versions that have no export, and returns what differs
/// from the policy. A failed export is a failed step; what could not be read is a critical finding.
pub async fn run(world: &RunContext<'_>, request: &RunRequest) -> RunReport {
    let mut report = RunReport::new(NAME, world);
    if let Some(unknown) = unknown_group(world, request) {
        report.push_finding(unknown);
        return report;
    }
    let groups = observe(world, request, VersionDates::WhereNeeded).await;
    let SecretsPlan { mut plan, assets, values } = plan(&groups, world.now);
    if !world.dry_run {
        // What is exported now is not missing; a step that fails says so itself.
        plan.findings.retain(|f| f.code != FindingCode::SecretNotExported);
    }
    report.findings.clone_from(&plan.findings);
    (report.assets, report.values) = (assets, values);
    let author = SigningAuthor::from_policy(world.policy, &world.secret_resolver()).await;
    let trust = TrustPolicy::from_signing(world.policy, world.now);
    let mut contexts = BTreeMap::new();
    if !world.dry_run {
        for group in
            groups.iter().filter(|g| plan.steps.iter().any(|s| s.action.group == g.name.as_str()))
        {
            let context = export::open(world, group.rules, &author, &trust).await;
            contexts.insert(group.name.as_str(), context);
        }
    }
    report.outcomes =
        execute_plan(world, &plan, MAX_CONCURRENT_EXPORTS, async |step: &ExportVersion| {
            let context = contexts[step.group.as_str()].as_ref().map_err(Clone::clone)?;
            Box::pin(export::export_version(world, context, step)).await
        })
        .await;
    report.push_metric(
        Metric::SecretVersionsExported,
        report.count_outcomes(|r| matches!(r, StepResult::Done(_))),
    );
    report
}

/// What was asked for and is no group of secrets.
fn unknown_group(world: &RunContext<'_>, request: &RunRequest) -> Option<Finding> {
    let group = |a: &str| a.split_once('/').map_or(a, |(group, _)| group).to_owned();
    let known = |a: &&String| world.policy.secrets.keys().any(|n| *n.as_str() == group(a));
    let asked = request.assets.iter().find(|a| !known(a))?;
    let names: Vec<_> = world.policy.secrets.keys().map(ToString::to_string).collect();
    let hint = format!("write one of: {}", names.join(", "));
    let why = "no group of secrets has that name";
    Some(Finding::new(Severity::Critical, asked, FindingCode::UnknownAsset, why, hint))
}

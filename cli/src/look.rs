//! Looking at everything, as `status` and `monitor` do: a dry run of the functions that know what is wrong.

use crate::{
    function::{FunctionName, aws_unreachable_message, no_asset_observed, nothing_observed},
    stop::CommandError,
};
use freshness::ChecksumCache;
use futures_util::future::join_all;
use shared::{
    hints::commands,
    plan::{Finding, FindingCode, Severity},
    report::RunReport,
    request::RunRequest,
    run::RunContext,
};
use std::time::Duration;

/// A function that has not come to its end by then hangs; the others still have their say.
const FUNCTION_TIMEOUT: Duration = Duration::from_mins(15);

/// What the functions say of everything. With a memory, the newest files of directories are read.
///
/// Those that make backups are asked too: what they know to be in the way (a secret, a grant, a tool that is too old, a
/// quota) is no less critical before it is due.
pub(crate) async fn run_all_checks(
    world: &RunContext<'_>,
    memory: Option<&ChecksumCache>,
) -> Vec<RunReport> {
    let request = RunRequest { dry_run: true, ..RunRequest::full_run() };
    // Reading files may take its time; whoever reads them bounds the whole.
    let patience = if memory.is_some() { Duration::MAX } else { FUNCTION_TIMEOUT };
    let freshness = async {
        let run = FunctionName::Freshness.run_with_cache(world, &request, memory);
        tokio::time::timeout(patience, run).await
    };
    let bounded = |function: FunctionName| {
        let (world, request) = (world, &request);
        async move {
            let ran = tokio::time::timeout(FUNCTION_TIMEOUT, function.run(world, request)).await;
            ran.unwrap_or_else(|_| timeout_report(world, function))
        }
    };
    let freshness = async {
        freshness.await.unwrap_or_else(|_| timeout_report(world, FunctionName::Freshness))
    };
    // Objects that wait too long for their copy are seen by the function that copies; how old the proof of each asset is,
    // by that of the drills. Of a host without AWS there is nothing to ask but what runs there.
    let others: &[FunctionName] = if world.policy.home.is_some() {
        &[
            FunctionName::Replication,
            FunctionName::Offsite,
            FunctionName::Snapshot,
            FunctionName::Dump,
            FunctionName::Redis,
            FunctionName::Secrets,
            FunctionName::Drill,
        ]
    } else {
        &[FunctionName::Dump, FunctionName::Redis, FunctionName::Drill]
    };
    let others = join_all(others.iter().map(|function| bounded(*function)));
    let (freshness, others) = tokio::join!(freshness, others);
    let mut all = vec![freshness];
    all.extend(others);
    all
}

/// The report of a function that did not answer: nothing that it would have said is known.
fn timeout_report(world: &RunContext<'_>, function: FunctionName) -> RunReport {
    let mut report = RunReport::new(function.name(), world);
    let why = format!("it did not answer within {} minutes", FUNCTION_TIMEOUT.as_secs() / 60);
    let hint =
        format!("{} and see what it waits for", commands::run(&commands::watch(function.name())));
    let asset = format!("function/{}", function.name());
    report.push_finding(Finding::new(
        Severity::Critical,
        asset,
        FindingCode::ServiceTimeout,
        why,
        hint,
    ));
    (report.failed, report.complete) = (true, false);
    report
}

/// Nothing of AWS could be observed at all: then there is nothing to say of any asset. What a host without AWS can't see has
/// a row each that says why.
///
/// # Errors
/// If that is so.
pub(crate) fn ensure_something_observed(
    world: &RunContext<'_>,
    reports: &[RunReport],
) -> anyhow::Result<()> {
    if world.policy.home.is_none() {
        return Ok(());
    }
    match reports.iter().find_map(|r| nothing_observed(world.policy, r)) {
        Some(gap) if reports.iter().all(no_asset_observed) => {
            Err(CommandError::unreachable(aws_unreachable_message(gap)))
        }
        _ => Ok(()),
    }
}

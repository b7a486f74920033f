//! The functions by name, run as their Lambdas run them.

use shared::{
    plan::{Finding, FindingCode, Severity},
    policy::Policy,
    report::{AssetCoverage, RunReport, StepResult},
    request::RunRequest,
    run::{Deadline, RunContext, RunTimer, finish_run},
};
use std::time::Duration;
use tracing::Instrument;

use crate::{stop::CommandExit, words};
use freshness::ChecksumCache;

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FunctionName {
    /// Takes snapshots of databases
    Snapshot,
    /// Copies snapshots and objects to other regions and accounts
    Offsite,
    /// Judges ages, settings and restore windows
    Freshness,
    /// Judges S3 replication and read replicas
    Replication,
    /// Dumps PostgreSQL databases
    Dump,
    /// Takes RDB files of Redis and checks its servers
    Redis,
    /// Checks secrets, and exports their versions
    Secrets,
    /// Deletes the snapshots and dumps that the policy lets go
    Retention,
    /// Restores for a test what is due by the policy's drills
    Drill,
}

impl FunctionName {
    /// All, in the order in which one builds on the other.
    pub(crate) const ALL: [Self; 9] = [
        Self::Snapshot,
        Self::Dump,
        Self::Redis,
        Self::Offsite,
        Self::Freshness,
        Self::Replication,
        Self::Secrets,
        Self::Retention,
        Self::Drill,
    ];

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Snapshot => snapshot::NAME,
            Self::Offsite => offsite::NAME,
            Self::Freshness => freshness::NAME,
            Self::Replication => replication::NAME,
            Self::Dump => dump::NAME,
            Self::Redis => redis_function::NAME,
            Self::Secrets => secrets::NAME,
            Self::Retention => retention::NAME,
            Self::Drill => drill::NAME,
        }
    }

    /// Runs it, and publishes its report unless the world says dry run.
    pub(crate) async fn run(self, world: &RunContext<'_>, request: &RunRequest) -> RunReport {
        self.run_with_cache(world, request, None).await
    }

    /// As [`FunctionName::run`]; with a memory, `freshness` reads the newest files of directories.
    pub(crate) async fn run_with_cache(
        self,
        world: &RunContext<'_>,
        request: &RunRequest,
        memory: Option<&ChecksumCache>,
    ) -> RunReport {
        let begun = RunTimer::start(world.aws, request);
        let span = tracing::info_span!("run", function = self.name(), run = world.run_id);
        let work = async {
            let report = match self {
                Self::Snapshot => Box::pin(snapshot::run(world, request)).await,
                Self::Offsite => Box::pin(offsite::run(world, request)).await,
                Self::Freshness => {
                    Box::pin(freshness::run_with_cache(world, request, memory)).await
                }
                Self::Replication => Box::pin(replication::run(world, request)).await,
                Self::Dump => Box::pin(dump::run(world, request)).await,
                Self::Redis => Box::pin(redis_function::run(world, request)).await,
                Self::Secrets => Box::pin(secrets::run(world, request)).await,
                Self::Retention => Box::pin(retention::run(world, request)).await,
                Self::Drill => Box::pin(drill::run(world, request)).await,
            };
            Box::pin(finish_run(world, report, begun)).await
        };
        work.instrument(span).await
    }
}

/// A run keeps this much of its time for publishing, and a person who says 10 minutes means the work.
const PUBLISH_RESERVE: Duration = Duration::from_secs(20);

/// A budget whose work may take this long.
pub(crate) fn run_deadline(timeout: &shared::policy::text::Period) -> Deadline {
    let span = Duration::try_from(timeout.duration()).unwrap_or_default();
    Deadline::after(span + PUBLISH_RESERVE)
}

/// What could not be looked at.
pub(crate) fn observation_errors(report: &RunReport) -> impl Iterator<Item = &Finding> {
    report.findings.iter().filter(|f| f.code == FindingCode::ObservationFailed)
}

/// Why nothing at all could be seen; none when something was.
pub(crate) fn nothing_observed<'r>(policy: &Policy, report: &'r RunReport) -> Option<&'r Finding> {
    let home = shared::catalog::Location::home_from_policy(policy).to_string();
    let gap =
        observation_errors(report).find(|f| policy.databases.is_empty() || f.asset == home)?;
    (no_asset_observed(report) && report.outcomes.is_empty()).then_some(gap)
}

/// Whether no asset of the report was observed: those that could not be, or that nothing watches, have a row too.
pub(crate) fn no_asset_observed(report: &RunReport) -> bool {
    let observed =
        |c: &AssetCoverage| matches!(c, AssetCoverage::Watched | AssetCoverage::NeverTaken);
    !report.assets.iter().any(|a| observed(&a.coverage))
}

/// What to say when AWS could not be asked.
pub(crate) fn aws_unreachable_message(gap: &Finding) -> String {
    words::escape_control_chars(&format!("AWS could not be asked: {}; {}", gap.message, gap.hint))
}

/// Whether the request itself was wrong.
pub(crate) fn invalid_request_finding(findings: &[Finding]) -> Option<&Finding> {
    findings.iter().find(|f| {
        matches!(
            (f.code, f.asset.as_str()),
            (FindingCode::UnknownReason | FindingCode::UnknownAsset, _)
                | (FindingCode::NoMatch, "request")
        )
    })
}

/// A run's exit code.
pub(crate) fn exit_for_report(
    policy: &Policy,
    report: &RunReport,
    budget: Deadline,
) -> CommandExit {
    if nothing_observed(policy, report).is_some() {
        return CommandExit::Unreachable;
    }
    if invalid_request_finding(&report.findings).is_some() {
        return CommandExit::UsageError;
    }
    let waits = |r: &StepResult| match r {
        StepResult::Unfinished => true,
        StepResult::Deferred(_) => budget.is_exhausted(),
        StepResult::Failed(_) | StepResult::Done(_) | StepResult::Planned => false,
    };
    let broke = |r: &StepResult| matches!(r, StepResult::Failed(_)) && !waits(r);
    // `not-taken` only repeats a step that there was no time for.
    let other = report
        .findings
        .iter()
        .any(|f| f.severity == Severity::Critical && f.code != FindingCode::BackupNotTaken);
    let late = report.outcomes.iter().any(|o| waits(&o.result));
    match (report.outcomes.iter().any(|o| broke(&o.result)) || other, late, report.failed) {
        (false, true, _) => CommandExit::TimedOut,
        (false, false, false) => CommandExit::Success,
        _ => dump_exit(report).unwrap_or(CommandExit::Failed),
    }
}

/// Which part of a dump failed: the codes that people's own scripts had.
fn dump_exit(report: &RunReport) -> Option<CommandExit> {
    if report.function != dump::NAME && report.function != redis_function::NAME {
        return None;
    }
    let failed = report.outcomes.iter().filter_map(|o| o.kind);
    let exits =
        failed.map(|kind| CommandExit::from_error_kind(kind).unwrap_or(CommandExit::Failed));
    let found = report.findings.iter().filter(|f| f.severity == Severity::Critical);
    let (put_off, found): (Vec<_>, Vec<_>) =
        found.partition(|f| f.code == FindingCode::BackupNotTaken);
    let found = found.into_iter().map(|f| match f.code {
        FindingCode::ObservationFailed => CommandExit::Unreachable,
        FindingCode::NoKey => CommandExit::Key,
        _ => CommandExit::Failed,
    });
    // Nothing failed: another run was at it.
    exits.chain(found).chain(put_off.iter().map(|_| CommandExit::TimedOut)).next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use shared::report::StepOutcome;

    fn report(findings: Vec<Finding>, results: Vec<StepResult>) -> RunReport {
        let outcome = |result| StepOutcome {
            asset: "orders".into(),
            action: "take it".into(),
            reason: "it is due".into(),
            operation: shared::plan::Operation::Backup,
            result,
            kind: None,
            artifact: None,
        };
        let outcomes: Vec<_> = results.into_iter().map(outcome).collect();
        let failed = findings.iter().any(|f| f.severity == Severity::Critical)
            || outcomes.iter().any(|o| matches!(o.result, StepResult::Failed(_)));
        RunReport {
            function: "snapshot",
            policy: "acme".into(),
            run_id: "r".into(),
            started_at: Timestamp::UNIX_EPOCH,
            seconds: 0.0,
            complete: true,
            dry_run: false,
            failed,
            findings,
            outcomes,
            assets: Vec::new(),
            values: Vec::new(),
        }
    }

    fn critical(asset: &str, what: FindingCode) -> Finding {
        Finding::new(Severity::Critical, asset, what, "why", "fix")
    }

    #[test]
    fn every_end_of_a_run_has_its_exit_code() {
        let policy = Policy::parse(
            "{holdfast: 1, company: acme, home: {account: \"111122223333\", region: eu-west-1}, \
             databases: {fleet: {select: {identifiers: [orders]}}}}",
        )
        .expect("a policy");
        let (home, away) = ("eu-west-1 in 111122223333", "us-east-1 in 111122223333");
        let failed = |why: &str| StepResult::Failed(why.into());
        let (done, busy) =
            (|| StepResult::Done("x".into()), || StepResult::Deferred("busy".into()));
        // What happened, with time left and without.
        let table = [
            ("nothing to do", report(vec![], vec![]), CommandExit::Success, CommandExit::Success),
            ("done", report(vec![], vec![done()]), CommandExit::Success, CommandExit::Success),
            (
                "put off to the next run",
                report(vec![], vec![done(), busy()]),
                CommandExit::Success,
                CommandExit::TimedOut,
            ),
            (
                "a step failed",
                report(vec![], vec![done(), failed("no")]),
                CommandExit::Failed,
                CommandExit::Failed,
            ),
            (
                "no time",
                report(vec![], vec![done(), StepResult::Unfinished]),
                CommandExit::TimedOut,
                CommandExit::TimedOut,
            ),
            (
                "a demand had no time",
                report(
                    vec![critical("orders", FindingCode::BackupNotTaken)],
                    vec![StepResult::Unfinished],
                ),
                CommandExit::TimedOut,
                CommandExit::TimedOut,
            ),
            (
                "failed, and no time",
                report(vec![], vec![failed("no"), StepResult::Unfinished]),
                CommandExit::Failed,
                CommandExit::Failed,
            ),
            (
                "metrics not published",
                report(vec![critical("metrics", FindingCode::MetricsPublishFailed)], vec![done()]),
                CommandExit::Failed,
                CommandExit::Failed,
            ),
            (
                "wrong reason",
                report(vec![critical("request", FindingCode::UnknownReason)], vec![]),
                CommandExit::UsageError,
                CommandExit::UsageError,
            ),
            (
                "home unseen",
                report(vec![critical(home, FindingCode::ObservationFailed)], vec![]),
                CommandExit::Unreachable,
                CommandExit::Unreachable,
            ),
            (
                "another place unseen",
                report(vec![critical(away, FindingCode::ObservationFailed)], vec![]),
                CommandExit::Failed,
                CommandExit::Failed,
            ),
        ];
        for (case, report, in_time, over) in table {
            assert_eq!(exit_for_report(&policy, &report, Deadline::unlimited()), in_time, "{case}");
            assert_eq!(
                exit_for_report(&policy, &report, Deadline::after(Duration::ZERO)),
                over,
                "{case}"
            );
        }
    }
}

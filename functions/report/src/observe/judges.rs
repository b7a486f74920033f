//! How the judging functions say that all stands: their own code, as a dry run.

use crate::facts::{AssetKey, ReportInput, UnobservedLocation};
use shared::plan::FindingCode;
use shared::{
    metrics::{Metric, MetricValue},
    report::RunReport,
    request::RunRequest,
    run::RunContext,
};

/// What they say.
pub(super) struct CheckReports(Vec<RunReport>);

/// Asks them, as `holdfast status` does.
pub(super) async fn run_checks(world: &RunContext<'_>) -> CheckReports {
    let request = RunRequest { dry_run: true, ..RunRequest::full_run() };
    let dry = RunContext {
        dry_run: true,
        run_id: world.run_id.clone(),
        failure_topic: None,
        reports_topic: None,
        user: None,
        ..*world
    };
    let freshness = Box::pin(freshness::run(&dry, &request));
    let replication = Box::pin(replication::run(&dry, &request));
    let offsite = Box::pin(offsite::run(&dry, &request));
    let secrets = Box::pin(secrets::run(&dry, &request));
    // How old each proof is; a drill itself is nothing for a page.
    let drill = Box::pin(drill::check(&dry));
    let (freshness, replication, offsite, secrets, drill) =
        futures_util::join!(freshness, replication, offsite, secrets, drill);
    CheckReports(vec![freshness, replication, offsite, secrets, drill])
}

impl CheckReports {
    pub(super) fn merge_into(self, facts: &mut ReportInput) {
        for report in self.0 {
            facts.statuses.extend(report.assets);
            facts.lags.extend(report.values.iter().filter_map(restorable_lag));
            for finding in report.findings {
                if finding.code == FindingCode::ObservationFailed {
                    let (place, why) = (finding.asset.clone(), finding.message.clone());
                    facts.unobserved_locations.push(UnobservedLocation {
                        location: place,
                        message: why,
                        hint: finding.hint.clone(),
                    });
                }
                // Several look at one place, and a gap there is one gap.
                if !facts.findings.contains(&finding) {
                    facts.findings.push(finding);
                }
            }
        }
    }
}

fn restorable_lag(value: &MetricValue) -> Option<(AssetKey, f64)> {
    let key = AssetKey::new(value.group.as_ref()?, value.asset.as_ref()?);
    (value.metric == Metric::RestorableLag).then_some((key, value.value))
}

//! How the judging functions say that all stands: their own code, as a dry run.

use crate::facts::{Facts, Gap, Key};
use shared::{
    metrics::{Metric, MetricValue},
    report::RunReport,
    request::RunRequest,
    run::RunContext,
};

/// What they say.
pub(super) struct Judged(Vec<RunReport>);

/// Asks them, as `holdfast status` does.
pub(super) async fn ask(world: &RunContext<'_>) -> Judged {
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
    let (freshness, replication, offsite) = futures_util::join!(freshness, replication, offsite);
    Judged(vec![freshness, replication, offsite])
}

impl Judged {
    pub(super) fn into_facts(self, facts: &mut Facts) {
        for report in self.0 {
            facts.standings.extend(report.assets);
            facts.lags.extend(report.values.iter().filter_map(lag));
            for finding in report.findings {
                if finding.what == shared::plan::code::GAP {
                    let (place, why) = (finding.asset.clone(), finding.why.clone());
                    facts.gaps.push(Gap { place, why, mend: finding.mend.clone() });
                }
                // All three look at RDS, and a gap there is one gap.
                if !facts.findings.contains(&finding) {
                    facts.findings.push(finding);
                }
            }
        }
    }
}

fn lag(value: &MetricValue) -> Option<(Key, f64)> {
    let key = Key::new(value.group.as_ref()?, value.asset.as_ref()?);
    (value.metric == Metric::RestorableLag).then_some((key, value.value))
}

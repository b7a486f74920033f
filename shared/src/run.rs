//! A run of a function: what it is given, how its steps are carried out, and how its report gets out.

use crate::{
    aws::{Aws, EdgeError, Kind, Use},
    catalog::Place,
    metrics::{self, Metric, Value},
    plan::{Finding, Plan, Severity},
    policy::Policy,
    report::{Did, Outcome, Report, Result, planned},
};
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use std::{fmt, time::Duration};
use tokio::time::Instant;

/// Everything that a run is given. Time comes in here and nowhere else.
#[derive(Debug)]
pub struct World<'a> {
    /// The clients.
    pub aws: &'a Aws,
    /// The policy.
    pub policy: &'a Policy,
    /// Now.
    pub now: Timestamp,
    /// The time that the run has.
    pub budget: Budget,
    /// The run's id.
    pub run: String,
    /// Change nothing.
    pub dry_run: bool,
    /// Whether this is a host, whose directories and sockets the policy may mean; a Lambda has none of them.
    pub host: bool,
    /// Topic for failures and alarms.
    pub topic: Option<String>,
}

impl World<'_> {
    /// Where the policy's assets are.
    pub fn home(&self) -> Place {
        Place::home(self.policy)
    }
}

/// The time that a run has, so that it stops by itself before it is stopped.
#[derive(Clone, Copy, Debug, Default)]
pub struct Budget(Option<Instant>);

/// Kept back for publishing what happened.
const MARGIN: Duration = Duration::from_secs(20);

impl Budget {
    /// No end: a person is waiting.
    pub fn endless() -> Self {
        Self(None)
    }

    /// Until a time from now.
    pub fn of(span: Duration) -> Self {
        Self(Some(Instant::now() + span))
    }

    /// Whether no new work should start: less than the margin is left.
    pub fn spent(&self) -> bool {
        self.left() == Some(Duration::ZERO)
    }

    /// Time left for work; none means no end.
    pub fn left(&self) -> Option<Duration> {
        self.0.map(|until| until.saturating_duration_since(Instant::now()).saturating_sub(MARGIN))
    }
}

/// Carries out the steps of a plan, `width` at a time. One failure never hides or stops another; what there is no time
/// for is left, named, to the next run. A refusal that only means "not now" is deferred.
pub async fn apply<A: fmt::Display>(
    world: &World<'_>,
    plan: &Plan<A>,
    width: usize,
    act: impl AsyncFn(&A) -> Did,
) -> Vec<Outcome> {
    if world.dry_run {
        return planned(plan);
    }
    let one = async |step| {
        let step: &crate::plan::Step<A> = step;
        if world.budget.spent() {
            return Outcome::of(step, Result::Unfinished);
        }
        let mut kind = None;
        let result = match act(&step.action).await {
            Ok(done) => Result::Done(done),
            // Somebody, perhaps an earlier try of this run, did it already: that is what was wanted.
            Err(e) if e.kind == Kind::Exists => Result::Done("it is there already".into()),
            Err(e) if e.kind == Kind::Late => Result::Unfinished,
            Err(e) if matches!(e.kind, Kind::Busy | Kind::Quota) => Result::Deferred(e.to_string()),
            Err(e) => {
                kind = Some(e.kind);
                Result::Failed(e.told())
            }
        };
        let outcome = Outcome { kind, ..Outcome::of(step, result) };
        let Outcome { asset, action, because, result, .. } = &outcome;
        tracing::info!(asset, action, because, ?result, "{action}");
        outcome
    };
    stream::iter(&plan.steps).map(one).buffered(width).collect().await
}

/// Publishes a report: alarms, then metrics, which count a failure of the alarms too, then the topic if the run failed.
/// What can't be published is itself a critical finding. `used` is what was counted before the run began.
pub async fn finish(world: &World<'_>, mut report: Report, used: Use) -> Report {
    report.settle();
    // A policy without a home is of a host without AWS: there is nobody to publish to.
    if !world.dry_run && world.policy.home.is_some() {
        publish(world, &mut report, used).await;
        report.settle();
    }
    for finding in &report.findings {
        let Finding { severity, asset, what, why, mend, .. } = finding;
        match severity {
            Severity::Critical => tracing::error!(asset, what, mend, "{why}"),
            Severity::Warning => tracing::warn!(asset, what, mend, "{why}"),
            Severity::Info => tracing::info!(asset, what, mend, "{why}"),
        }
    }
    tracing::info!(failed = report.failed, "{}", report.summary());
    report
}

async fn publish(world: &World<'_>, report: &mut Report, used: Use) {
    let cloudwatch = world.aws.cloudwatch(&world.home());
    let wanted = metrics::alarms(world.policy, report.function, world.topic.as_deref());
    for e in reconcile(&cloudwatch, &wanted).await {
        report.find(Finding::new(Severity::Critical, "alarms", "not-set", e.to_string(), e.hint()));
    }
    report.settle();
    let now_used = world.aws.calls().so_far();
    report.value(Metric::RunCompleted, 1);
    report.value(Metric::RunFailed, usize::from(report.failed));
    report.value(Metric::Unfinished, report.count(|r| *r == Result::Unfinished));
    #[expect(clippy::cast_possible_truncation, reason = "counts of one run")]
    for (metric, n) in [
        (Metric::ApiRequests, now_used.requests - used.requests),
        (Metric::ApiThrottled, now_used.throttled - used.throttled),
    ] {
        report.value(metric, n as usize);
    }
    let data: Vec<_> =
        report.values.iter().map(|v: &Value| v.datum(world.policy, report.function)).collect();
    if let Err(e) = cloudwatch.put(metrics::NAMESPACE, world.now, &data).await {
        report.find(Finding::new(
            Severity::Critical,
            "metrics",
            "not-published",
            e.to_string(),
            e.hint(),
        ));
        report.settle();
    }
    if let (true, Some(topic)) = (report.failed, &world.topic) {
        let subject = format!("{} {} failed", report.policy, report.function);
        if let Err(e) =
            world.aws.sns(&world.home()).publish(topic, &subject, &message(report)).await
        {
            report.find(Finding::new(
                Severity::Critical,
                "topic",
                "not-told",
                e.to_string(),
                e.hint(),
            ));
        }
    }
}

/// Sets the alarms that differ from what the policy asks, and those alone. One that is refused stops no other.
async fn reconcile(
    cloudwatch: &crate::aws::cloudwatch::CloudWatch,
    wanted: &[crate::aws::cloudwatch::MetricAlarm],
) -> Vec<EdgeError> {
    let mut refused = Vec::new();
    let names: Vec<_> = wanted.iter().map(|a| a.name.clone()).collect();
    let found = match cloudwatch.alarms(&names).await {
        Ok(found) => found,
        Err(e) => return vec![e],
    };
    for alarm in wanted.iter().filter(|w| !found.iter().any(|f| f.alarm.as_ref() == Some(w))) {
        match cloudwatch.set_alarm(alarm).await {
            Ok(()) => tracing::info!(alarm = alarm.name, "set alarm {}", alarm.name),
            Err(e) => refused.push(e),
        }
    }
    refused
}

/// What the topic is told: the summary, then failures and findings, worst first, within what SNS takes.
fn message(report: &Report) -> String {
    let mut text = format!("{}\nrun {} at {}\n", report.summary(), report.run, report.at);
    let failed = report.outcomes.iter().filter(|o| matches!(o.result, Result::Failed(_)));
    let failed = failed.map(|o| match &o.result {
        Result::Failed(why) => format!("\nfailed {}: {}: {why}", o.asset, o.action),
        _ => String::new(),
    });
    let findings =
        report.findings.iter().filter(|f| f.severity > Severity::Info).map(|f| format!("\n{f}"));
    let lines: Vec<String> = failed.chain(findings).collect();
    for (i, line) in lines.iter().enumerate() {
        // SNS takes 256 KiB; a message that a person reads is far shorter.
        if text.len() + line.len() > 16 * 1024 {
            text += "\n... and ";
            text += &(lines.len() - i).to_string();
            text += " more";
            break;
        }
        text += line;
    }
    text
}

#[cfg(test)]
mod tests;

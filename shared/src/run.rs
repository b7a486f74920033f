//! A run of a function: what it is given, how its steps are carried out, and how its report gets out.

use crate::{
    audit,
    aws::{AwsClients, CallCounts, OperationError, OperationErrorKind, sns::Audience},
    catalog::Location,
    metrics::{self, Metric, MetricValue},
    plan::{ActionPlan, Finding, FindingCode, Operates, Severity},
    policy::Policy,
    report::{self, ActionResult, RunReport, StepOutcome, StepResult, dry_run_outcomes},
    request::RunRequest,
    secret::SecretResolver,
};
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use std::{fmt, time::Duration};
use tokio::time::Instant;

/// Everything that a run is given. Time comes in here and nowhere else.
#[derive(Clone, Debug)]
pub struct RunContext<'a> {
    /// The clients.
    pub aws: &'a AwsClients,
    /// The policy.
    pub policy: &'a Policy,
    /// Now.
    pub now: Timestamp,
    /// The time that the run has.
    pub deadline: Deadline,
    /// The run's id.
    pub run_id: String,
    /// Change nothing.
    pub dry_run: bool,
    /// Whether this is a host, whose directories and sockets the policy may mean; a Lambda has none of them.
    pub on_host: bool,
    /// Topic for failures and alarms.
    pub failure_topic: Option<String>,
    /// Topic for every run's report, as JSON.
    pub reports_topic: Option<String>,
    /// The person who asked, on a host.
    pub user: Option<String>,
}

impl<'a> RunContext<'a> {
    /// Where the policy's assets are.
    pub fn home_location(&self) -> Location {
        Location::home_from_policy(self.policy)
    }

    /// An observation that ends within its share of the run's time: a place that hangs is one that can't be read, and the
    /// run goes on without it.
    ///
    /// # Errors
    /// Its own, or that it was not done in time.
    pub async fn with_observation_timeout<T>(
        &self,
        doing: impl Into<String>,
        observation: impl Future<Output = std::result::Result<T, OperationError>>,
    ) -> std::result::Result<T, OperationError> {
        let limit = self.deadline.observation_timeout();
        let late = |_| {
            let why =
                format!("no answer within {} s, its share of the run's time", limit.as_secs());
            let hint = "check the network and the endpoint; the next run tries again";
            Err(OperationError::with_hint(OperationErrorKind::Unreachable, doing, why, hint))
        };
        tokio::time::timeout(limit, Box::pin(observation)).await.unwrap_or_else(late)
    }

    /// What the policy's secrets are found with; each is asked for once.
    pub fn secret_resolver(&self) -> SecretResolver<'a> {
        SecretResolver::new(self.aws, &self.home_location())
    }
}

/// The time that a run has, so that it stops by itself before it is stopped.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deadline(Option<Instant>);

/// Kept back for publishing what happened: no new work is started in it.
const PUBLISH_RESERVE: Duration = Duration::from_secs(20);
/// What is still going on then is cut off with this left, so that the report can be written.
const CUTOFF_RESERVE: Duration = Duration::from_secs(14);
/// Publishing is cut off with this left: a run always ends by itself, with a line in the log.
const END_RESERVE: Duration = Duration::from_secs(2);
/// An observation of one place takes seconds, a large one a minute.
const MAX_OBSERVATION_TIMEOUT: Duration = Duration::from_mins(10);
/// One call of what is published.
const MAX_PUBLISH_CALL_TIMEOUT: Duration = Duration::from_mins(5);

impl Deadline {
    /// No end: a person is waiting.
    pub fn unlimited() -> Self {
        Self(None)
    }

    /// Until a time from now.
    pub fn after(span: Duration) -> Self {
        Self(Some(Instant::now() + span))
    }

    /// Whether no new work should start: less than the margin is left.
    pub fn is_exhausted(&self) -> bool {
        self.remaining() == Some(Duration::ZERO)
    }

    /// Time left for work; none means no end.
    pub fn remaining(&self) -> Option<Duration> {
        self.remaining_minus(PUBLISH_RESERVE)
    }

    /// Time left but for so much; none means no end.
    fn remaining_minus(&self, kept: Duration) -> Option<Duration> {
        self.0.map(|until| until.saturating_duration_since(Instant::now()).saturating_sub(kept))
    }

    /// What one observation may take: half of what is left, so that one place that hangs leaves time for the others' work
    /// and for the report. It has a limit where the run has none.
    pub fn observation_timeout(&self) -> Duration {
        self.remaining()
            .map_or(MAX_OBSERVATION_TIMEOUT, |left| (left / 2).min(MAX_OBSERVATION_TIMEOUT))
    }

    /// What one call of publishing may take: half of what is left, so that one that hangs leaves time for the next.
    fn publish_call_timeout(&self) -> Duration {
        self.remaining_minus(END_RESERVE)
            .map_or(MAX_PUBLISH_CALL_TIMEOUT, |left| (left / 2).min(MAX_PUBLISH_CALL_TIMEOUT))
    }

    /// Work, cut off while there still is time to write the report. None when it was.
    pub async fn run_until_cutoff<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        with_optional_timeout(self.remaining_minus(CUTOFF_RESERVE), work).await
    }

    /// The end of the run, cut off just before the run itself would be. None when it was.
    pub async fn run_until_end<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        with_optional_timeout(self.remaining_minus(END_RESERVE), work).await
    }
}

async fn with_optional_timeout<T>(
    limit: Option<Duration>,
    work: impl Future<Output = T>,
) -> Option<T> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, work).await.ok(),
        None => Some(work.await),
    }
}

/// A call that is part of publishing, or of another short end of a run.
async fn call_with_timeout<T>(
    world: &RunContext<'_>,
    doing: &str,
    call: impl Future<Output = std::result::Result<T, OperationError>>,
) -> std::result::Result<T, OperationError> {
    let limit = world.deadline.publish_call_timeout();
    let late = |_| {
        let why = format!("no answer within {} s", limit.as_secs());
        Err(OperationError::with_hint(
            OperationErrorKind::Unreachable,
            doing,
            why,
            "check the network and the endpoint",
        ))
    };
    tokio::time::timeout(limit, call).await.unwrap_or_else(late)
}

/// The report of a run that was cut off, for something it waited for hangs.
pub fn cut_off_report(world: &RunContext<'_>, function: &'static str) -> RunReport {
    let mut report = RunReport::new(function, world);
    let why = "the run's time was over before its work was, and it was cut off: something that it waited for hangs; \
               what it did until then is in the log and not in this report";
    let hint = "see the log for the last thing it did; the next run goes on; if it happens again, raise the timeout";
    report.push_finding(Finding::new(
        Severity::Critical,
        function,
        FindingCode::DeadlineExceeded,
        why,
        hint,
    ));
    report
}

/// Carries out the steps of a plan, `width` at a time. One failure never hides or stops another; what there is no time
/// for is left, named, to the next run. A refusal that only means "not now" is deferred.
pub async fn execute_plan<A: fmt::Display + Operates>(
    world: &RunContext<'_>,
    plan: &ActionPlan<A>,
    width: usize,
    act: impl AsyncFn(&A) -> ActionResult,
) -> Vec<StepOutcome> {
    if world.dry_run {
        return dry_run_outcomes(plan);
    }
    let one = async |step| {
        let step: &crate::plan::PlanStep<A> = step;
        if world.deadline.is_exhausted() {
            return StepOutcome::from_step(step, StepResult::Unfinished);
        }
        let (mut kind, mut made) = (None, None);
        let Some(acted) = world.deadline.run_until_cutoff(Box::pin(act(&step.action))).await else {
            tracing::warn!(
                asset = step.asset,
                "{} was cut off: the run's time is over",
                step.action
            );
            return StepOutcome::from_step(step, StepResult::Unfinished);
        };
        let result = match acted {
            Ok(done) => {
                made = done.artifact;
                StepResult::Done(done.message)
            }
            Err(e) if e.kind == OperationErrorKind::Late => StepResult::Unfinished,
            Err(e) if matches!(e.kind, OperationErrorKind::Busy | OperationErrorKind::Quota) => {
                StepResult::Deferred(e.to_string())
            }
            Err(e) => {
                kind = Some(e.kind);
                StepResult::Failed(e.to_line_with_hint())
            }
        };
        let outcome = StepOutcome { kind, artifact: made, ..StepOutcome::from_step(step, result) };
        let StepOutcome { asset, action, reason: because, result, .. } = &outcome;
        tracing::info!(asset, action, because, ?result, "{action}");
        outcome
    };
    stream::iter(&plan.steps).map(one).buffered(width).collect().await
}

/// What was known when a run began.
#[derive(Clone, Copy, Debug)]
pub struct RunTimer {
    started_at: Instant,
    calls_at_start: CallCounts,
    full_run: bool,
}

impl RunTimer {
    /// A run begins now: what it asks of AWS, and how long it takes, is counted from here.
    pub fn start(aws: &AwsClients, request: &RunRequest) -> Self {
        Self {
            started_at: Instant::now(),
            calls_at_start: aws.call_counter().current_counts(),
            full_run: request.is_full_run(),
        }
    }
}

/// Publishes a report: alarms, then metrics, which count a failure of the alarms too, then the topic if the run failed,
/// then the topic of reports. What can't be published is itself a critical finding.
pub async fn finish_run(
    world: &RunContext<'_>,
    mut report: RunReport,
    begun: RunTimer,
) -> RunReport {
    report.seconds = begun.started_at.elapsed().as_secs_f64();
    report.complete &=
        begun.full_run && !report.findings.iter().any(|f| f.code == FindingCode::ObservationFailed);
    report.finalize();
    Box::pin(record_audit(world, &mut report)).await;
    // Before it is published: should that hang, the log has it all the same.
    let logged = report.findings.clone();
    logged.iter().for_each(log_finding);
    // A policy without a home is of a host without AWS: there is nobody to publish to.
    if !world.dry_run && world.policy.home.is_some() {
        Box::pin(publish_report(world, &mut report, begun.calls_at_start)).await;
        report.finalize();
    }
    report.findings.iter().filter(|f| !logged.contains(f)).for_each(log_finding);
    tracing::info!(failed = report.failed, "{}", report.summary());
    report
}

fn log_finding(finding: &Finding) {
    let Finding { severity, asset, code, message, hint, .. } = finding;
    let code = code.as_str();
    let group = finding.group.as_deref();
    match severity {
        Severity::Critical => tracing::error!(group, asset, code, hint, "{message}"),
        Severity::Warning => tracing::warn!(group, asset, code, hint, "{message}"),
        Severity::Info => tracing::info!(group, asset, code, hint, "{message}"),
    }
}

/// Records what a run did. What can't be recorded was done all the same, so it is a critical finding of the run.
pub async fn record_audit(world: &RunContext<'_>, report: &mut RunReport) {
    let entries = audit::entries_from_report(report);
    let recorded = Box::pin(audit::record_entries(world, report.function, entries, report.seconds));
    match call_with_timeout(world, "record what was done", recorded).await {
        Ok(None) => {}
        Ok(Some(head)) => tracing::info!(head = %head, "recorded what was done"),
        Err(e) => {
            let (why, hint) = (e.to_string(), e.hint().to_owned());
            report.push_finding(Finding::new(
                Severity::Critical,
                "audit",
                FindingCode::AuditWriteFailed,
                why,
                hint,
            ));
            report.finalize();
        }
    }
}

async fn publish_report(world: &RunContext<'_>, report: &mut RunReport, used: CallCounts) {
    let cloudwatch = world.aws.cloudwatch(&world.home_location());
    let wanted =
        metrics::alarms_for_function(world.policy, report.function, world.failure_topic.as_deref());
    let set = call_with_timeout(world, "set alarms", async {
        Ok(sync_alarms(&cloudwatch, &wanted).await)
    });
    for e in set.await.unwrap_or_else(|e| vec![e]) {
        report.push_finding(Finding::new(
            Severity::Critical,
            "alarms",
            FindingCode::AlarmUpdateFailed,
            e.to_string(),
            e.hint(),
        ));
    }
    report.finalize();
    let now_used = world.aws.call_counter().current_counts();
    report.push_metric(Metric::RunsCompleted, 1);
    report.push_metric(Metric::RunsFailed, usize::from(report.failed));
    report.values.push(MetricValue::for_policy(Metric::RunDuration, report.seconds));
    report.push_metric(Metric::Unfinished, report.count_outcomes(|r| *r == StepResult::Unfinished));
    #[expect(clippy::cast_possible_truncation, reason = "counts of one run")]
    for (metric, n) in [
        (Metric::ApiRequests, now_used.requests - used.requests),
        (Metric::ApiThrottled, now_used.throttled - used.throttled),
    ] {
        report.push_metric(metric, n as usize);
    }
    let data: Vec<_> = metrics::within_metric_limit(&report.values)
        .map(|v: &MetricValue| v.to_data_point(world.policy, report.function))
        .collect();
    let put = cloudwatch.put_metrics(metrics::NAMESPACE, world.now, &data);
    if let Err(e) = call_with_timeout(world, "publish metrics", put).await {
        report.push_finding(Finding::new(
            Severity::Critical,
            "metrics",
            FindingCode::MetricsPublishFailed,
            e.to_string(),
            e.hint(),
        ));
        report.finalize();
    }
    let told = report.failed;
    if told {
        notify_failure_topic(world, report).await;
    }
    if let Some(reports) = &world.reports_topic {
        let subject = format!("{} {}", report.policy, report.function);
        let to = (reports.as_str(), Audience::Notify);
        publish_to_topic(world, report, to, &subject, report::message::to_sns_message).await;
    }
    // Whoever hears of reports can't say that none comes: people are told themselves.
    if report.failed && !told {
        notify_failure_topic(world, report).await;
    }
}

/// Tells people that the run failed.
async fn notify_failure_topic(world: &RunContext<'_>, report: &mut RunReport) {
    if let Some(topic) = &world.failure_topic {
        let subject = format!("{} {} failed", report.policy, report.function);
        publish_to_topic(
            world,
            report,
            (topic.as_str(), Audience::People),
            &subject,
            failure_message,
        )
        .await;
    }
}

/// Publishes the report to a topic, in some words; a refusal is a critical finding.
async fn publish_to_topic(
    world: &RunContext<'_>,
    report: &mut RunReport,
    (topic, audience): (&str, Audience),
    subject: &str,
    words: fn(&RunReport) -> String,
) {
    let sns = world.aws.sns(&world.home_location());
    let text = words(report);
    let published = call_with_timeout(
        world,
        "publish the report",
        sns.publish(topic, audience, subject, &text),
    )
    .await;
    if let Err(e) = published {
        let (why, hint) = (e.to_string(), e.hint().to_owned());
        report.push_finding(Finding::new(
            Severity::Critical,
            "topic",
            FindingCode::NotificationFailed,
            why,
            hint,
        ));
        report.finalize();
    }
}

/// Sets the alarms that differ from what the policy asks, and those alone. One that is refused stops no other.
async fn sync_alarms(
    cloudwatch: &crate::aws::cloudwatch::CloudWatchClient,
    wanted: &[crate::aws::cloudwatch::MetricAlarm],
) -> Vec<OperationError> {
    let mut refused = Vec::new();
    let names: Vec<_> = wanted.iter().map(|a| a.name.clone()).collect();
    let found = match cloudwatch.describe_alarms(&names).await {
        Ok(found) => found,
        Err(e) => return vec![e],
    };
    for alarm in wanted.iter().filter(|w| !found.iter().any(|f| f.alarm.as_ref() == Some(w))) {
        match cloudwatch.put_alarm(alarm).await {
            Ok(()) => tracing::info!(alarm = alarm.name, "set alarm {}", alarm.name),
            Err(e) => refused.push(e),
        }
    }
    refused
}

/// What the topic is told: the summary, then failures and findings, worst first, within what SNS takes.
fn failure_message(report: &RunReport) -> String {
    let mut text =
        format!("{}\nrun {} at {}\n", report.summary(), report.run_id, report.started_at);
    let failed = report.outcomes.iter().filter(|o| matches!(o.result, StepResult::Failed(_)));
    let failed = failed.map(|o| match &o.result {
        StepResult::Failed(why) => format!("\nfailed {}: {}: {why}", o.asset, o.action),
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

//! A run of a function: what it is given, how its steps are carried out, and how its report gets out.

use crate::{
    audit,
    aws::{Aws, EdgeError, Kind, Use, sns::Audience},
    catalog::Place,
    metrics::{self, Metric, Value},
    plan::{Finding, Operates, Plan, Severity, code},
    policy::Policy,
    report::{self, Did, Outcome, Report, Result, planned},
    request::Request,
    secret::Secrets,
};
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use std::{fmt, time::Duration};
use tokio::time::Instant;

/// Everything that a run is given. Time comes in here and nowhere else.
#[derive(Clone, Debug)]
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
    /// Topic for every run's report, as JSON.
    pub reports: Option<String>,
    /// The person who asked, on a host.
    pub user: Option<String>,
}

impl<'a> World<'a> {
    /// Where the policy's assets are.
    pub fn home(&self) -> Place {
        Place::home(self.policy)
    }

    /// An observation that ends within its share of the run's time: a place that hangs is one that can't be read, and the
    /// run goes on without it.
    ///
    /// # Errors
    /// Its own, or that it was not done in time.
    pub async fn observed<T>(
        &self,
        doing: impl Into<String>,
        observation: impl Future<Output = std::result::Result<T, EdgeError>>,
    ) -> std::result::Result<T, EdgeError> {
        let limit = self.budget.share();
        let late = |_| {
            let why =
                format!("no answer within {} s, its share of the run's time", limit.as_secs());
            let mend = "check the network and the endpoint; the next run tries again";
            Err(EdgeError::of_kind(Kind::Unreachable, doing, why, mend))
        };
        tokio::time::timeout(limit, Box::pin(observation)).await.unwrap_or_else(late)
    }

    /// What the policy's secrets are found with; each is asked for once.
    pub fn secrets(&self) -> Secrets<'a> {
        Secrets::new(self.aws, &self.home())
    }
}

/// The time that a run has, so that it stops by itself before it is stopped.
#[derive(Clone, Copy, Debug, Default)]
pub struct Budget(Option<Instant>);

/// Kept back for publishing what happened: no new work is started in it.
const MARGIN: Duration = Duration::from_secs(20);
/// What is still going on then is cut off with this left, so that the report can be written.
const CUT: Duration = Duration::from_secs(14);
/// Publishing is cut off with this left: a run always ends by itself, with a line in the log.
const END: Duration = Duration::from_secs(2);
/// An observation of one place takes seconds, a large one a minute.
const OBSERVATION: Duration = Duration::from_mins(10);
/// One call of what is published.
const CALL: Duration = Duration::from_mins(5);

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
        self.but(MARGIN)
    }

    /// Time left but for so much; none means no end.
    fn but(&self, kept: Duration) -> Option<Duration> {
        self.0.map(|until| until.saturating_duration_since(Instant::now()).saturating_sub(kept))
    }

    /// What one observation may take: half of what is left, so that one place that hangs leaves time for the others' work
    /// and for the report. It has a limit where the run has none.
    pub fn share(&self) -> Duration {
        self.left().map_or(OBSERVATION, |left| (left / 2).min(OBSERVATION))
    }

    /// What one call of publishing may take: half of what is left, so that one that hangs leaves time for the next.
    fn call(&self) -> Duration {
        self.but(END).map_or(CALL, |left| (left / 2).min(CALL))
    }

    /// Work, cut off while there still is time to write the report. None when it was.
    pub async fn cut_off<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        within(self.but(CUT), work).await
    }

    /// The end of the run, cut off just before the run itself would be. None when it was.
    pub async fn ended<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        within(self.but(END), work).await
    }
}

async fn within<T>(limit: Option<Duration>, work: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, work).await.ok(),
        None => Some(work.await),
    }
}

/// A call that is part of publishing, or of another short end of a run.
async fn called<T>(
    world: &World<'_>,
    doing: &str,
    call: impl Future<Output = std::result::Result<T, EdgeError>>,
) -> std::result::Result<T, EdgeError> {
    let limit = world.budget.call();
    let late = |_| {
        let why = format!("no answer within {} s", limit.as_secs());
        Err(EdgeError::of_kind(Kind::Unreachable, doing, why, "check the network and the endpoint"))
    };
    tokio::time::timeout(limit, call).await.unwrap_or_else(late)
}

/// The report of a run that was cut off, for something it waited for hangs.
pub fn cut_off(world: &World<'_>, function: &'static str) -> Report {
    let mut report = Report::new(function, world);
    let why = "the run's time was over before its work was, and it was cut off: something that it waited for hangs; \
               what it did until then is in the log and not in this report";
    let mend = "see the log for the last thing it did; the next run goes on; if it happens again, raise the timeout";
    report.find(Finding::new(Severity::Critical, function, "out-of-time", why, mend));
    report
}

/// Carries out the steps of a plan, `width` at a time. One failure never hides or stops another; what there is no time
/// for is left, named, to the next run. A refusal that only means "not now" is deferred.
pub async fn apply<A: fmt::Display + Operates>(
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
        let (mut kind, mut made) = (None, None);
        let Some(acted) = world.budget.cut_off(Box::pin(act(&step.action))).await else {
            tracing::warn!(
                asset = step.asset,
                "{} was cut off: the run's time is over",
                step.action
            );
            return Outcome::of(step, Result::Unfinished);
        };
        let result = match acted {
            Ok(done) => {
                made = done.made;
                Result::Done(done.told)
            }
            Err(e) if e.kind == Kind::Late => Result::Unfinished,
            Err(e) if matches!(e.kind, Kind::Busy | Kind::Quota) => Result::Deferred(e.to_string()),
            Err(e) => {
                kind = Some(e.kind);
                Result::Failed(e.told())
            }
        };
        let outcome = Outcome { kind, made, ..Outcome::of(step, result) };
        let Outcome { asset, action, because, result, .. } = &outcome;
        tracing::info!(asset, action, because, ?result, "{action}");
        outcome
    };
    stream::iter(&plan.steps).map(one).buffered(width).collect().await
}

/// What was known when a run began.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    at: Instant,
    used: Use,
    whole: bool,
}

impl Begun {
    /// A run begins now: what it asks of AWS, and how long it takes, is counted from here.
    pub fn now(aws: &Aws, request: &Request) -> Self {
        Self { at: Instant::now(), used: aws.calls().so_far(), whole: request.whole() }
    }
}

/// Publishes a report: alarms, then metrics, which count a failure of the alarms too, then the topic if the run failed,
/// then the topic of reports. What can't be published is itself a critical finding.
pub async fn finish(world: &World<'_>, mut report: Report, begun: Begun) -> Report {
    report.seconds = begun.at.elapsed().as_secs_f64();
    report.whole &= begun.whole && !report.findings.iter().any(|f| f.what == code::GAP);
    report.settle();
    Box::pin(record(world, &mut report)).await;
    // Before it is published: should that hang, the log has it all the same.
    let logged = report.findings.clone();
    logged.iter().for_each(log);
    // A policy without a home is of a host without AWS: there is nobody to publish to.
    if !world.dry_run && world.policy.home.is_some() {
        Box::pin(publish(world, &mut report, begun.used)).await;
        report.settle();
    }
    report.findings.iter().filter(|f| !logged.contains(f)).for_each(log);
    tracing::info!(failed = report.failed, "{}", report.summary());
    report
}

fn log(finding: &Finding) {
    let Finding { severity, asset, what, why, mend, .. } = finding;
    let group = finding.group.as_deref();
    match severity {
        Severity::Critical => tracing::error!(group, asset, what, mend, "{why}"),
        Severity::Warning => tracing::warn!(group, asset, what, mend, "{why}"),
        Severity::Info => tracing::info!(group, asset, what, mend, "{why}"),
    }
}

/// Records what a run did. What can't be recorded was done all the same, so it is a critical finding of the run.
pub async fn record(world: &World<'_>, report: &mut Report) {
    let entries = audit::entries(report);
    let recorded = Box::pin(audit::record(world, report.function, entries, report.seconds));
    match called(world, "record what was done", recorded).await {
        Ok(None) => {}
        Ok(Some(head)) => tracing::info!(head = %head, "recorded what was done"),
        Err(e) => {
            let (why, mend) = (e.to_string(), e.hint().to_owned());
            report.find(Finding::new(Severity::Critical, "audit", "not-recorded", why, mend));
            report.settle();
        }
    }
}

async fn publish(world: &World<'_>, report: &mut Report, used: Use) {
    let cloudwatch = world.aws.cloudwatch(&world.home());
    let wanted = metrics::alarms(world.policy, report.function, world.topic.as_deref());
    let set = called(world, "set alarms", async { Ok(reconcile(&cloudwatch, &wanted).await) });
    for e in set.await.unwrap_or_else(|e| vec![e]) {
        report.find(Finding::new(Severity::Critical, "alarms", "not-set", e.to_string(), e.hint()));
    }
    report.settle();
    let now_used = world.aws.calls().so_far();
    report.value(Metric::RunCompleted, 1);
    report.value(Metric::RunFailed, usize::from(report.failed));
    report.values.push(Value::of_policy(Metric::RunSeconds, report.seconds));
    report.value(Metric::Unfinished, report.count(|r| *r == Result::Unfinished));
    #[expect(clippy::cast_possible_truncation, reason = "counts of one run")]
    for (metric, n) in [
        (Metric::ApiRequests, now_used.requests - used.requests),
        (Metric::ApiThrottled, now_used.throttled - used.throttled),
    ] {
        report.value(metric, n as usize);
    }
    let data: Vec<_> = metrics::bounded(&report.values)
        .map(|v: &Value| v.datum(world.policy, report.function))
        .collect();
    let put = cloudwatch.put(metrics::NAMESPACE, world.now, &data);
    if let Err(e) = called(world, "publish metrics", put).await {
        report.find(Finding::new(
            Severity::Critical,
            "metrics",
            "not-published",
            e.to_string(),
            e.hint(),
        ));
        report.settle();
    }
    let told = report.failed;
    if told {
        tell(world, report).await;
    }
    if let Some(reports) = &world.reports {
        let subject = format!("{} {}", report.policy, report.function);
        let to = (reports.as_str(), Audience::Notify);
        publish_to(world, report, to, &subject, report::message::message).await;
    }
    // Whoever hears of reports can't say that none comes: people are told themselves.
    if report.failed && !told {
        tell(world, report).await;
    }
}

/// Tells people that the run failed.
async fn tell(world: &World<'_>, report: &mut Report) {
    if let Some(topic) = &world.topic {
        let subject = format!("{} {} failed", report.policy, report.function);
        publish_to(world, report, (topic.as_str(), Audience::People), &subject, message).await;
    }
}

/// Publishes the report to a topic, in some words; a refusal is a critical finding.
async fn publish_to(
    world: &World<'_>,
    report: &mut Report,
    (topic, audience): (&str, Audience),
    subject: &str,
    words: fn(&Report) -> String,
) {
    let sns = world.aws.sns(&world.home());
    let text = words(report);
    let published =
        called(world, "publish the report", sns.publish(topic, audience, subject, &text)).await;
    if let Err(e) = published {
        let (why, mend) = (e.to_string(), e.hint().to_owned());
        report.find(Finding::new(Severity::Critical, "topic", "not-told", why, mend));
        report.settle();
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

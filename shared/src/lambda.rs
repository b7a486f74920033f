//! What each function's `main` calls: set up once, then answer invocations until the environment ends.

use crate::{
    aws::Aws,
    policy::Policy,
    report::Report,
    request::Request,
    run::{Begun, Budget, World, cut_off, finish},
    source::Source,
};
use jiff::Timestamp;
use lambda_runtime::{Context, Diagnostic, LambdaEvent, service_fn};
use serde_json::Value;
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::sync::Mutex;
use tracing_subscriber::EnvFilter;

pub use lambda_runtime::Error;

/// What reading the policy may take at the start of an environment, of the ten seconds that Lambda gives it.
const START: Duration = Duration::from_secs(5);

/// What `serve` needs of the environment.
struct Config {
    policy: String,
    topic: Option<String>,
    reports: Option<String>,
}

impl Config {
    fn from_vars(var: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let some = |name| var(name).filter(|v: &String| !v.is_empty());
        let policy = some("HOLDFAST_POLICY").ok_or(
            "HOLDFAST_POLICY is not set: name the policy as s3://bucket/key or as a path in the function's package",
        )?;
        let (topic, reports) = (some("HOLDFAST_TOPIC_ARN"), some("HOLDFAST_REPORTS_TOPIC_ARN"));
        Ok(Self { policy, topic, reports })
    }
}

/// What every event of a function finds there.
struct Ready {
    config: Config,
    aws: Aws,
    source: Mutex<Source>,
}

impl Ready {
    async fn begin() -> Result<Self, Error> {
        log_json();
        let config = Config::from_vars(|name| std::env::var(name).ok())?;
        let aws = Aws::from_env().await;
        let source = Mutex::new(Source::new(&config.policy));
        // Read now, so that the first event finds it; what is wrong with it is said to that event, not to the void.
        // An S3 that hangs is waited for in that event, which has the time to say so: the start has ten seconds.
        let _ = tokio::time::timeout(START, async { source.lock().await.policy(&aws).await }).await;
        Ok(Self { config, aws, source })
    }

    async fn policy(&self, budget: Budget) -> Result<Arc<Policy>, Diagnostic> {
        let limit = budget.share();
        let read = async { self.source.lock().await.policy(&self.aws).await };
        let Ok(policy) = tokio::time::timeout(limit, read).await else {
            let why = format!(
                "the policy {} did not come within {} s: check the network and the endpoint of S3",
                self.config.policy,
                limit.as_secs()
            );
            return Err(refused("NoPolicy", &why));
        };
        policy.map_err(|e| refused("NoPolicy", &e))
    }

    /// The world of a run that changes things and reports to nobody.
    fn world<'a>(&'a self, policy: &'a Policy, context: &Context, budget: Budget) -> World<'a> {
        World {
            aws: &self.aws,
            policy,
            #[expect(clippy::disallowed_methods, reason = "the edge where time comes in")]
            now: Timestamp::now(),
            budget,
            run: context.request_id.clone(),
            dry_run: false,
            host: false,
            topic: self.config.topic.clone(),
            reports: None,
            user: None,
        }
    }
}

/// Serves a function: reads the policy, then runs each event and answers with its report.
///
/// # Errors
/// If the environment is not set up, before the first event.
pub async fn serve(
    function: &'static str,
    run: impl AsyncFn(&World<'_>, &Request) -> Report,
) -> Result<(), Error> {
    let ready = Ready::begin().await?;
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        let request = Request::read(&event.payload).map_err(|e| refused("BadEvent", &e))?;
        let begun = Begun::now(&ready.aws, &request);
        let budget = budget(&event.context);
        let policy = ready.policy(budget).await?;
        let world = World {
            dry_run: request.dry_run,
            reports: ready.config.reports.clone(),
            ..ready.world(&policy, &event.context, budget)
        };
        let span = tracing::info_span!("run", function, run = world.run);
        let report = tracing::Instrument::instrument(
            Box::pin(whole(&world, function, begun, run(&world, &request))),
            span,
        );
        let report = report.await?;
        if report.failed {
            return Err(refused("Failed", &report));
        }
        serde_json::to_value(bounded(report)).map_err(|e| refused("Report", &e))
    }))
    .await
}

/// The time that Lambda leaves to an event.
fn budget(context: &Context) -> Budget {
    Budget::of(time_left(context.deadline(), SystemTime::now()))
}

/// Runs and publishes. What hangs is cut off before Lambda would end it all without a word: the work in time to report
/// that, the publishing in time to log it.
pub(crate) async fn whole(
    world: &World<'_>,
    function: &'static str,
    begun: Begun,
    run: impl Future<Output = Report>,
) -> Result<Report, Diagnostic> {
    let report = world.budget.cut_off(Box::pin(run)).await.unwrap_or_else(|| {
        tracing::error!(
            "the run is cut off: its time is over and something that it waits for hangs"
        );
        cut_off(world, function)
    });
    let summary = report.summary();
    world.budget.ended(Box::pin(finish(world, report, begun))).await.ok_or_else(|| {
        let why = format!("the run's time was over before its report was published: {summary}");
        refused("OutOfTime", &why)
    })
}

/// Why an event was not handled: a word for its kind, and one clear sentence.
pub type Unhandled = (&'static str, String);

/// Serves a function that reads its events itself and publishes what it does itself: its reports go to no topic, where it
/// might hear itself.
///
/// # Errors
/// If the environment is not set up, before the first event.
pub async fn serve_events(
    function: &'static str,
    run: impl AsyncFn(&World<'_>, &Value) -> Result<Value, Unhandled>,
) -> Result<(), Error> {
    let ready = Ready::begin().await?;
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        let budget = budget(&event.context);
        let policy = ready.policy(budget).await?;
        let world = ready.world(&policy, &event.context, budget);
        let span = tracing::info_span!("run", function, run = world.run);
        let run = budget.ended(Box::pin(run(&world, &event.payload)));
        let Some(done) = tracing::Instrument::instrument(run, span).await else {
            let why = "the run was cut off: its time is over and something that it waits for hangs";
            return Err(refused("OutOfTime", &why));
        };
        done.map_err(|(kind, why)| refused(kind, &why))
    }))
    .await
}

fn time_left(deadline: SystemTime, now: SystemTime) -> Duration {
    deadline.duration_since(now).unwrap_or_default()
}

fn refused(kind: &str, why: &dyn std::fmt::Display) -> Diagnostic {
    tracing::error!(kind, "{why}");
    Diagnostic { error_type: format!("Holdfast.{kind}"), error_message: why.to_string() }
}

/// A Lambda's answer has 6 MB at most, and 256 KB on its way to a destination.
fn bounded(mut report: Report) -> Report {
    report.findings.truncate(200);
    report.outcomes.truncate(200);
    report.assets.truncate(200);
    report
}

/// One JSON line an event, with time, level, run and function, at the level that the function's configuration sets.
fn log_json() {
    let level = std::env::var("AWS_LAMBDA_LOG_LEVEL").unwrap_or_else(|_| "info".into());
    let filter = EnvFilter::try_new(format!(
        "warn,shared={0},notify={0},dump={0},store={0},postgres={0}",
        level.to_lowercase()
    ));
    let filter = filter.unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .with_env_filter(filter)
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_variable_is_one_clear_error() {
        let error = Config::from_vars(|_| None).err().expect("an error");
        assert!(error.contains("HOLDFAST_POLICY") && error.contains("s3://bucket/key"));
        assert!(Config::from_vars(|name| (name == "HOLDFAST_POLICY").then(|| "p".into())).is_ok());
    }

    #[test]
    fn a_deadline_in_the_past_leaves_no_time() {
        let now = SystemTime::now();
        assert_eq!(time_left(now - Duration::from_secs(1), now), Duration::ZERO);
    }
}

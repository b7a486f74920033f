//! What each function's `main` calls: set up once, then answer invocations until the environment ends.

use crate::{
    aws::AwsClients,
    policy::Policy,
    report::RunReport,
    request::RunRequest,
    run::{Deadline, RunContext, RunTimer, cut_off_report, finish_run},
    source::PolicyLoader,
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
const POLICY_LOAD_TIMEOUT: Duration = Duration::from_secs(5);

/// What `serve` needs of the environment.
struct LambdaConfig {
    policy: String,
    topic: Option<String>,
    reports_topic: Option<String>,
}

impl LambdaConfig {
    fn from_vars(var: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let some = |name| var(name).filter(|v: &String| !v.is_empty());
        let policy = some("HOLDFAST_POLICY").ok_or(
            "HOLDFAST_POLICY is not set: name the policy as s3://bucket/key or as a path in the function's package",
        )?;
        let (topic, reports) = (some("HOLDFAST_TOPIC_ARN"), some("HOLDFAST_REPORTS_TOPIC_ARN"));
        Ok(Self { policy, topic, reports_topic: reports })
    }
}

/// What every event of a function finds there.
struct ExecutionEnvironment {
    config: LambdaConfig,
    aws: AwsClients,
    loader: Mutex<PolicyLoader>,
}

impl ExecutionEnvironment {
    async fn init() -> Result<Self, Error> {
        init_tracing();
        let config = LambdaConfig::from_vars(|name| std::env::var(name).ok())?;
        let aws = AwsClients::from_env().await;
        let source = Mutex::new(PolicyLoader::new(&config.policy));
        // Read now, so that the first event finds it; what is wrong with it is said to that event, not to the void.
        // An S3 that hangs is waited for in that event, which has the time to say so: the start has ten seconds.
        let _ = tokio::time::timeout(POLICY_LOAD_TIMEOUT, async {
            source.lock().await.load(&aws).await
        })
        .await;
        Ok(Self { config, aws, loader: source })
    }

    async fn load_policy(&self, budget: Deadline) -> Result<Arc<Policy>, Diagnostic> {
        let limit = budget.observation_timeout();
        let read = async { self.loader.lock().await.load(&self.aws).await };
        let Ok(policy) = tokio::time::timeout(limit, read).await else {
            let why = format!(
                "the policy {} did not come within {} s: check the network and the endpoint of S3",
                self.config.policy,
                limit.as_secs()
            );
            return Err(to_diagnostic("NoPolicy", &why));
        };
        policy.map_err(|e| to_diagnostic("NoPolicy", &e))
    }

    /// The world of a run that changes things and reports to nobody.
    fn run_context<'a>(
        &'a self,
        policy: &'a Policy,
        context: &Context,
        budget: Deadline,
    ) -> RunContext<'a> {
        RunContext {
            aws: &self.aws,
            policy,
            #[expect(clippy::disallowed_methods, reason = "the edge where time comes in")]
            now: Timestamp::now(),
            deadline: budget,
            run_id: context.request_id.clone(),
            dry_run: false,
            on_host: false,
            failure_topic: self.config.topic.clone(),
            reports_topic: None,
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
    run: impl AsyncFn(&RunContext<'_>, &RunRequest) -> RunReport,
) -> Result<(), Error> {
    let ready = ExecutionEnvironment::init().await?;
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        let request =
            RunRequest::parse(&event.payload).map_err(|e| to_diagnostic("BadEvent", &e))?;
        let begun = RunTimer::start(&ready.aws, &request);
        let budget = invocation_deadline(&event.context);
        let policy = ready.load_policy(budget).await?;
        let world = RunContext {
            dry_run: request.dry_run,
            reports_topic: ready.config.reports_topic.clone(),
            ..ready.run_context(&policy, &event.context, budget)
        };
        let span = tracing::info_span!("run", function, run = world.run_id);
        let report = tracing::Instrument::instrument(
            Box::pin(run_and_publish(&world, function, begun, run(&world, &request))),
            span,
        );
        let report = report.await?;
        if report.failed {
            return Err(to_diagnostic("Failed", &report));
        }
        serde_json::to_value(truncate_report(report)).map_err(|e| to_diagnostic("Report", &e))
    }))
    .await
}

/// The time that Lambda leaves to an event.
fn invocation_deadline(context: &Context) -> Deadline {
    Deadline::after(time_left(context.deadline(), SystemTime::now()))
}

/// Runs and publishes. What hangs is cut off before Lambda would end it all without a word: the work in time to report
/// that, the publishing in time to log it.
pub(crate) async fn run_and_publish(
    world: &RunContext<'_>,
    function: &'static str,
    begun: RunTimer,
    run: impl Future<Output = RunReport>,
) -> Result<RunReport, Diagnostic> {
    let report = world.deadline.run_until_cutoff(Box::pin(run)).await.unwrap_or_else(|| {
        tracing::error!(
            "the run is cut off: its time is over and something that it waits for hangs"
        );
        cut_off_report(world, function)
    });
    let summary = report.summary();
    world.deadline.run_until_end(Box::pin(finish_run(world, report, begun))).await.ok_or_else(
        || {
            let why = format!("the run's time was over before its report was published: {summary}");
            to_diagnostic("OutOfTime", &why)
        },
    )
}

/// Why an event was not handled: a word for its kind, and one clear sentence.
pub type HandlerError = (&'static str, String);

/// Serves a function that reads its events itself and publishes what it does itself: its reports go to no topic, where it
/// might hear itself.
///
/// # Errors
/// If the environment is not set up, before the first event.
pub async fn serve_events(
    function: &'static str,
    run: impl AsyncFn(&RunContext<'_>, &Value) -> Result<Value, HandlerError>,
) -> Result<(), Error> {
    let ready = ExecutionEnvironment::init().await?;
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        let budget = invocation_deadline(&event.context);
        let policy = ready.load_policy(budget).await?;
        let world = ready.run_context(&policy, &event.context, budget);
        let span = tracing::info_span!("run", function, run = world.run_id);
        let run = budget.run_until_end(Box::pin(run(&world, &event.payload)));
        let Some(done) = tracing::Instrument::instrument(run, span).await else {
            let why = "the run was cut off: its time is over and something that it waits for hangs";
            return Err(to_diagnostic("OutOfTime", &why));
        };
        done.map_err(|(kind, why)| to_diagnostic(kind, &why))
    }))
    .await
}

fn time_left(deadline: SystemTime, now: SystemTime) -> Duration {
    deadline.duration_since(now).unwrap_or_default()
}

fn to_diagnostic(kind: &str, why: &dyn std::fmt::Display) -> Diagnostic {
    tracing::error!(kind, "{why}");
    Diagnostic { error_type: format!("Holdfast.{kind}"), error_message: why.to_string() }
}

/// A Lambda's answer has 6 MB at most, and 256 KB on its way to a destination.
fn truncate_report(mut report: RunReport) -> RunReport {
    report.findings.truncate(200);
    report.outcomes.truncate(200);
    report.assets.truncate(200);
    report
}

/// One JSON line an event, with time, level, run and function, at the level that the function's configuration sets.
fn init_tracing() {
    let level = std::env::var("AWS_LAMBDA_LOG_LEVEL").unwrap_or_else(|_| "info".into());
    let filter = EnvFilter::try_new(format!(
        "warn,shared={0},notify={0},dump={0},store={0},postgres={0},secrets={0}",
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
        let error = LambdaConfig::from_vars(|_| None).err().expect("an error");
        assert!(error.contains("HOLDFAST_POLICY") && error.contains("s3://bucket/key"));
        assert!(
            LambdaConfig::from_vars(|name| (name == "HOLDFAST_POLICY").then(|| "p".into())).is_ok()
        );
    }

    #[test]
    fn a_deadline_in_the_past_leaves_no_time() {
        let now = SystemTime::now();
        assert_eq!(time_left(now - Duration::from_secs(1), now), Duration::ZERO);
    }
}

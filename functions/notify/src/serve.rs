//! The Lambda: an event in, a look, its figures out.

use crate::{
    NAME, event,
    keep::StateStore,
    run::{NotifyContext, NotifySummary, process_events},
};
use serde_json::Value;
use shared::{
    aws::OperationError,
    lambda::{HandlerError, serve_events},
    metrics::{self, Metric},
    report::RunReport,
    request::RunRequest,
    run::{RunContext, RunTimer, finish_run},
};

/// Serves the Lambda.
///
/// # Errors
/// If the environment is not set up, before the first event.
pub async fn serve() -> Result<(), shared::lambda::Error> {
    let at = std::env::var("HOLDFAST_STATE").ok().filter(|v| !v.is_empty());
    let at = at.ok_or(
        "HOLDFAST_STATE is not set: name the place of notify's memory as s3://bucket/prefix",
    )?;
    serve_events(NAME, async |world, event| Box::pin(handle_event(world, event, &at)).await).await
}

async fn handle_event(
    world: &RunContext<'_>,
    event: &Value,
    at: &str,
) -> Result<Value, HandlerError> {
    let begun = RunTimer::start(world.aws, &RunRequest::full_run());
    let heard = event::parse_event(event).map_err(|e| ("BadEvent", e.to_string()))?;
    let unkept = |e: OperationError| ("NoState", e.to_line_with_hint());
    let keep = StateStore::new(at, world.aws, world.policy).map_err(unkept)?;
    let ground =
        NotifyContext { aws: world.aws, policy: world.policy, state_store: &keep, now: world.now };
    let looked = process_events(&ground, &heard).await.map_err(unkept)?;
    publish_metrics(world, &looked, heard.is_empty(), begun).await;
    tracing::info!(
        delivered = looked.delivered,
        failed = looked.failed,
        open = looked.open,
        "looked"
    );
    serde_json::to_value(looked).map_err(|e| ("Report", e.to_string()))
}

/// A tick publishes as every run of a function does; what is heard in between, only that a delivery failed.
async fn publish_metrics(
    world: &RunContext<'_>,
    looked: &NotifySummary,
    tick: bool,
    begun: RunTimer,
) {
    let mut report = RunReport::new(NAME, world);
    report.push_metric(Metric::DeliveriesFailed, looked.failed);
    report.push_metric(Metric::IncidentsOpen, looked.open);
    if tick {
        Box::pin(finish_run(world, report, begun)).await;
    } else if looked.failed > 0 && world.policy.home.is_some() {
        let data: Vec<_> =
            report.values.iter().map(|v| v.to_data_point(world.policy, NAME)).collect();
        let cloudwatch = world.aws.cloudwatch(&world.home_location());
        if let Err(e) = cloudwatch.put_metrics(metrics::NAMESPACE, world.now, &data).await {
            tracing::error!("metrics are not published: {}", e.to_line_with_hint());
        }
    }
}

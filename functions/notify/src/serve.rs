//! The Lambda: an event in, a look, its figures out.

use crate::{
    NAME, event,
    keep::Keep,
    run::{Ground, Looked, look},
};
use serde_json::Value;
use shared::{
    aws::EdgeError,
    lambda::{Unhandled, serve_events},
    metrics::{self, Metric},
    report::Report,
    request::Request,
    run::{Begun, World, finish},
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
    serve_events(NAME, async |world, event| Box::pin(handle(world, event, &at)).await).await
}

async fn handle(world: &World<'_>, event: &Value, at: &str) -> Result<Value, Unhandled> {
    let begun = Begun::now(world.aws, &Request::look());
    let heard = event::read(event).map_err(|e| ("BadEvent", e.to_string()))?;
    let unkept = |e: EdgeError| ("NoState", e.told());
    let keep = Keep::new(at, world.aws, world.policy).map_err(unkept)?;
    let ground = Ground { aws: world.aws, policy: world.policy, keep: &keep, now: world.now };
    let looked = look(&ground, &heard).await.map_err(unkept)?;
    publish(world, &looked, heard.is_empty(), begun).await;
    tracing::info!(
        delivered = looked.delivered,
        failed = looked.failed,
        open = looked.open,
        "looked"
    );
    serde_json::to_value(looked).map_err(|e| ("Report", e.to_string()))
}

/// A tick publishes as every run of a function does; what is heard in between, only that a delivery failed.
async fn publish(world: &World<'_>, looked: &Looked, tick: bool, begun: Begun) {
    let mut report = Report::new(NAME, world);
    report.value(Metric::DeliveriesFailed, looked.failed);
    report.value(Metric::IncidentsOpen, looked.open);
    if tick {
        Box::pin(finish(world, report, begun)).await;
    } else if looked.failed > 0 && world.policy.home.is_some() {
        let data: Vec<_> = report.values.iter().map(|v| v.datum(world.policy, NAME)).collect();
        let cloudwatch = world.aws.cloudwatch(&world.home());
        if let Err(e) = cloudwatch.put(metrics::NAMESPACE, world.now, &data).await {
            tracing::error!("metrics are not published: {}", e.told());
        }
    }
}

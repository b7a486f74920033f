//! Copies of objects, into a bucket of another region or account.
//!
//! Source and destination are listed side by side, a page at a time; what the destination lacks, or has in an older
//! form, is copied inside S3 and read back. Nothing is copied twice and nothing is ever deleted. A run that was cut
//! short is continued by the next one, which finds copied what this one copied.
//!
//! - `plan`: which objects, pure; `sweep`: page by page through a bucket

mod plan;
mod sweep;

use plan::{ObjectCopyTask, plan_page};
use shared::{
    aws::{
        OperationError,
        s3::{ObjectPair, S3Client},
    },
    catalog::{Location, RolePurpose},
    metrics::Metric,
    objective::{AgeObjective, schedule_interval},
    policy::{BucketGroup, ObjectCopyRule, Policy, text::Name},
    report::RunReport,
    request::RunRequest,
    run::RunContext,
    time::CronSchedule,
};
use sweep::{CopyTotals, apply_page, observation_finding, sync_bucket};

/// Copies the objects that the policy wants elsewhere: all of them, or the one that an S3 event speaks of.
pub async fn copy_objects(world: &RunContext<'_>, request: &RunRequest, report: &mut RunReport) {
    let tasks = copy_tasks(world, request);
    if tasks.is_empty() {
        return;
    }
    let mut done = CopyTotals::default();
    for (task, home, there) in tasks {
        // The destination's role pulls; the list comes from where the bucket is.
        let (source, destination) =
            (world.aws.s3(&home), world.aws.s3_for(&there, RolePurpose::Pull));
        match &request.object {
            Some((_, key)) => {
                copy_object(world, &task, key, &source, &destination, &mut done, report).await;
            }
            None => sync_bucket(world, &task, &source, &destination, &mut done, report).await,
        }
    }
    report.outcomes.extend(done.summarized_outcomes());
    report.push_metric(Metric::ObjectsCopied, done.objects);
    report.push_metric(Metric::BytesCopied, usize::try_from(done.bytes).unwrap_or(usize::MAX));
}

/// What this run is to look at, with the place of the bucket and that of the copies.
fn copy_tasks<'a>(
    world: &RunContext<'a>,
    request: &RunRequest,
) -> Vec<(ObjectCopyTask<'a>, Location, Location)> {
    let policy: &'a Policy = world.policy;
    let copies = policy.buckets.iter().flat_map(|(g, b)| b.copies.iter().map(move |c| (g, b, c)));
    copies
        .filter(|(group, bucket, copy)| is_requested(request, group, bucket, copy))
        .filter_map(|(group, bucket, copy)| {
            let to = policy.destinations.get(&copy.to)?;
            // A destination in Azure has no bucket; the policy's own check names it as not run yet.
            let (name, there) = (to.bucket.as_ref()?, Location::for_destination(policy, &copy.to)?);
            let home = Location::home_from_policy(policy);
            let home = Location { region: bucket.region.clone().unwrap_or(home.region), ..home };
            let schedule = copy.schedule.as_ref().map(|w| CronSchedule::new(w, &policy.time_zone));
            let task = ObjectCopyTask {
                group,
                from: bucket.bucket.as_str(),
                to: name.as_str(),
                prefixes: &copy.prefixes,
                kms_key: to.kms_key.as_ref().map(ToString::to_string),
                // What was there when a sweep was last due; without a schedule, or for an event, all.
                until: match schedule.filter(|_| request.object.is_none()) {
                    Some(schedule) => schedule.last_due(world.now),
                    None => Some(jiff::Timestamp::MAX),
                },
                objective: copy_objective(policy, copy, world.now),
            };
            Some((task, home, there))
        })
        .collect()
}

/// How long an object may wait for its copy: as the policy says, or until the next sweep is done.
fn copy_objective(
    policy: &Policy,
    copy: &ObjectCopyRule,
    now: jiff::Timestamp,
) -> Option<AgeObjective> {
    let each = match &copy.schedule {
        Some(when) => schedule_interval(when, &policy.time_zone, now),
        None => Some(jiff::SignedDuration::ZERO), // Every run sweeps.
    };
    AgeObjective::for_copy(copy.max_age.as_ref(), each)
}

fn is_requested(
    request: &RunRequest,
    group: &Name,
    bucket: &BucketGroup,
    copy: &ObjectCopyRule,
) -> bool {
    let named = |a: &String| a == bucket.bucket.as_str() || a == group.as_str();
    let begins = |key: &str| {
        copy.prefixes.is_empty() || copy.prefixes.iter().any(|p| key.starts_with(p.as_str()))
    };
    match &request.object {
        Some((name, key)) => {
            copy.on_object_created && name == bucket.bucket.as_str() && begins(key)
        }
        None => request.assets.is_empty() || request.assets.iter().any(named),
    }
}

/// Copies one object, as a sweep would.
async fn copy_object(
    world: &RunContext<'_>,
    task: &ObjectCopyTask<'_>,
    key: &str,
    source: &S3Client,
    destination: &S3Client,
    done: &mut CopyTotals,
    report: &mut RunReport,
) {
    match observe_pair(task, key, source, destination).await {
        Ok(Some(pair)) => {
            let page = plan_page(task, &[pair]);
            apply_page(world, &page.plan, source, destination, done, report).await;
        }
        // It was deleted since: there is nothing to copy.
        Ok(None) => {}
        Err(e) => report.push_finding(observation_finding(task, &e)),
    }
}

async fn observe_pair(
    task: &ObjectCopyTask<'_>,
    key: &str,
    source: &S3Client,
    destination: &S3Client,
) -> Result<Option<ObjectPair>, OperationError> {
    let Some(object) = source.object_metadata(task.from, key).await? else { return Ok(None) };
    let copy = destination.object_metadata(task.to, key).await?;
    Ok(Some(match copy {
        Some(copy) => ObjectPair::Both(object.object, copy.object),
        None => ObjectPair::Missing(object.object),
    }))
}

#[cfg(test)]
mod tests;

//! Page by page through a bucket. Memory stays flat however many objects there are.

use super::plan::{ObjectCopyTask, OldestObject, keep_older, plan_page};
use shared::{
    aws::{
        OperationError, OperationErrorKind,
        s3::{CopyObject, ListingDiff, ObjectPair, S3Client},
    },
    plan::FindingCode,
    plan::{ActionPlan, Finding, Operation, Severity},
    report::{AssetCoverage, AssetStatus, RunReport, StepOutcome, StepResult},
    run::{RunContext, execute_plan},
    time::format_duration,
};
use std::mem::discriminant;

/// Pairs that are planned and carried out together: what one list call answers.
const PAGE_SIZE: usize = 1000;
/// Copies on their way at once.
const MAX_CONCURRENT_OBJECT_COPIES: usize = 8;
/// Outcomes of one kind that the report names; the rest it counts.
const MAX_REPORTED_OUTCOMES: usize = 200;
/// When so many copies of one page fail and none succeeds, what is wrong is the bucket and not the objects.
const MAX_FAILED_COPIES: usize = 50;

/// What the run copied, over all buckets.
#[derive(Debug, Default)]
pub(super) struct CopyTotals {
    /// Objects copied.
    pub(super) objects: usize,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Outcomes beyond those that the report names, by kind.
    more: Vec<(StepResult, usize)>,
}

/// What is known of a bucket so far.
#[derive(Default)]
struct BucketProgress {
    /// The oldest object without a copy.
    waits: OldestObject,
    /// Objects that must be restored from an archive first.
    archived: KeySample,
    /// Objects under a key of the customer's own.
    customer_keys: KeySample,
    /// For each prefix of the policy, whether an object was found.
    found: Vec<bool>,
    /// Why the sweep did not come to its end.
    stopped: Option<String>,
}

/// How many objects of a kind there are, and the first of them.
#[derive(Default)]
struct KeySample {
    count: usize,
    first: Option<String>,
}

impl KeySample {
    fn add_keys(&mut self, keys: Vec<String>) {
        self.count += keys.len();
        self.first = self.first.take().or(keys.into_iter().next());
    }
}

/// Copies what a bucket's copies lack, and judges how they stand after it.
pub(super) async fn sync_bucket(
    world: &RunContext<'_>,
    task: &ObjectCopyTask<'_>,
    source: &S3Client,
    destination: &S3Client,
    done: &mut CopyTotals,
    report: &mut RunReport,
) {
    let before = done.objects;
    let mut progress = BucketProgress {
        found: vec![false; task.prefixes.len().max(1)],
        ..BucketProgress::default()
    };
    for prefix in task.list_prefixes() {
        let listed =
            (source.list_objects(task.from, prefix), destination.list_objects(task.to, prefix));
        let mut pairs = ListingDiff::new(listed.0, listed.1);
        if let Err(e) =
            sync_prefix(world, task, &mut pairs, (source, destination), &mut progress, done, report)
                .await
        {
            // Half a list says neither what is missing nor that nothing is.
            let gap = observation_finding(task, &e);
            record_asset_status(
                task,
                report,
                AssetCoverage::NotObserved,
                std::slice::from_ref(&gap),
            );
            report.push_finding(gap);
            return;
        }
        if progress.stopped.is_some() {
            break;
        }
    }
    let copied = done.objects > before;
    let found = evaluate_bucket(world, task, &progress, copied);
    record_asset_status(task, report, AssetCoverage::Watched, &found);
    report.findings.extend(found);
}

/// The bucket's row, one for all of its copies.
fn record_asset_status(
    task: &ObjectCopyTask<'_>,
    report: &mut RunReport,
    coverage: AssetCoverage,
    found: &[Finding],
) {
    let mut row = AssetStatus::new(task.group.to_string(), task.from);
    (row.coverage, row.offsite_wanted) = (coverage, true);
    for finding in found {
        row.add_finding(finding);
    }
    match report.assets.iter_mut().find(|s| s.group == row.group && s.asset == row.asset) {
        // Of two copies the one that was not seen speaks for both.
        Some(held) => {
            let worse = held.coverage.max(coverage);
            held.merge(row);
            held.coverage = worse;
        }
        None => report.assets.push(row),
    }
}

/// One list to its end, or until the time is over.
async fn sync_prefix(
    world: &RunContext<'_>,
    task: &ObjectCopyTask<'_>,
    pairs: &mut ListingDiff,
    (source, destination): (&S3Client, &S3Client),
    progress: &mut BucketProgress,
    done: &mut CopyTotals,
    report: &mut RunReport,
) -> std::result::Result<(), OperationError> {
    loop {
        let (page, end) = read_page(pairs).await;
        let planned = plan_page(task, &page);
        for object in page.iter().filter_map(source_key) {
            let prefixes = task.prefixes.iter().map(String::as_str).chain([""]);
            for (found, prefix) in progress.found.iter_mut().zip(prefixes) {
                *found |= object.starts_with(prefix);
            }
        }
        if let Some((at, key)) = planned.waits
            && progress.waits.as_ref().is_none_or(|(oldest, _)| at < *oldest)
        {
            progress.waits = Some((at, key));
        }
        progress.archived.add_keys(planned.archived);
        let went = apply_page(world, &planned.plan, source, destination, done, report).await;
        for object in went.left {
            keep_older(&mut progress.waits, &object);
        }
        progress.archived.add_keys(went.archived);
        progress.customer_keys.add_keys(went.customer_keys);
        match end {
            PageEnd::There => return Ok(()),
            PageEnd::Failed(e) => return Err(e),
            PageEnd::More => {}
        }
        let last = page.last().map(ObjectPair::key).unwrap_or_default();
        if went.hopeless {
            progress.stopped =
                Some(format!("every copy failed up to \"{last}\", as the failures say"));
        } else if world.deadline.is_exhausted() {
            progress.stopped = Some(format!("its time was over at \"{last}\""));
        }
        if progress.stopped.is_some() {
            return Ok(());
        }
    }
}

/// How a page ended.
enum PageEnd {
    /// There may be more.
    More,
    /// The list is at its end.
    There,
    /// What follows can't be read.
    Failed(OperationError),
}

async fn read_page(pairs: &mut ListingDiff) -> (Vec<ObjectPair>, PageEnd) {
    let mut page = Vec::with_capacity(PAGE_SIZE);
    while page.len() < PAGE_SIZE {
        match pairs.next().await {
            Ok(Some(pair)) => page.push(pair),
            Ok(None) => return (page, PageEnd::There),
            Err(e) => return (page, PageEnd::Failed(e)),
        }
    }
    (page, PageEnd::More)
}

fn source_key(pair: &ObjectPair) -> Option<&str> {
    match pair {
        ObjectPair::Missing(object) | ObjectPair::Both(object, _) => Some(&object.key),
        ObjectPair::Extra(_) => None,
    }
}

/// How the steps of a page went.
pub(super) struct PageOutcome {
    /// Objects that still have no copy.
    left: Vec<shared::aws::s3::S3Object>,
    /// Objects that lie in an archive tier, which a list does not show.
    archived: Vec<String>,
    /// Objects under a key of the customer's own.
    customer_keys: Vec<String>,
    /// Many failed and none succeeded.
    hopeless: bool,
}

/// Carries out a page's steps and puts their outcomes into the report.
pub(super) async fn apply_page(
    world: &RunContext<'_>,
    plan: &ActionPlan<CopyObject>,
    source: &S3Client,
    destination: &S3Client,
    done: &mut CopyTotals,
    report: &mut RunReport,
) -> PageOutcome {
    let outcomes = execute_plan(world, plan, MAX_CONCURRENT_OBJECT_COPIES, async |order| {
        let proof = destination.copy_object(source, order, world.deadline.remaining()).await?;
        Ok(format!("{} bytes, read back with {proof}", order.object.size).into())
    })
    .await;
    let (mut left, mut failed) = (Vec::new(), 0);
    let (mut archived, mut customer_keys) = (Vec::new(), Vec::new());
    for (step, outcome) in plan.steps.iter().zip(outcomes) {
        match &outcome.result {
            StepResult::Done(_) => {
                done.objects += 1;
                done.bytes += step.action.object.size;
            }
            other => {
                left.push(step.action.object.clone());
                // What no try of ours can copy is a finding of the sweep, not a failure of each.
                let key = step.action.object.key.clone();
                match outcome.kind {
                    Some(OperationErrorKind::Archived) => archived.push(key),
                    Some(OperationErrorKind::CustomerKey) => customer_keys.push(key),
                    _ => failed += usize::from(matches!(other, StepResult::Failed(_))),
                }
                if matches!(
                    outcome.kind,
                    Some(OperationErrorKind::Archived | OperationErrorKind::CustomerKey)
                ) {
                    continue;
                }
            }
        }
        done.record_outcome(outcome, report);
    }
    let hopeless = failed >= MAX_FAILED_COPIES && failed == plan.steps.len();
    PageOutcome { left, archived, customer_keys, hopeless }
}

impl CopyTotals {
    /// Names an outcome in the report, or only counts it when there are many of its kind already.
    fn record_outcome(&mut self, outcome: StepOutcome, report: &mut RunReport) {
        let kind = discriminant(&outcome.result);
        let same = report.outcomes.iter().filter(|o| discriminant(&o.result) == kind).count();
        // What is left to the next run is one page at most, and its metric counts the outcomes.
        if same < MAX_REPORTED_OUTCOMES || outcome.result == StepResult::Unfinished {
            report.outcomes.push(outcome);
            return;
        }
        match self.more.iter_mut().find(|(result, _)| discriminant(result) == kind) {
            Some((_, n)) => *n += 1,
            None => self.more.push((outcome.result, 1)),
        }
    }

    /// The outcomes that were only counted, one of each kind.
    pub(super) fn summarized_outcomes(&mut self) -> impl Iterator<Item = StepOutcome> {
        std::mem::take(&mut self.more).into_iter().map(|(result, n)| StepOutcome {
            asset: "objects".into(),
            action: format!("copy {n} objects more"),
            reason: "as those named here".into(),
            operation: Operation::Backup,
            result,
            kind: None,
            artifact: None,
        })
    }
}

/// A bucket that could not be looked at.
pub(super) fn observation_finding(task: &ObjectCopyTask<'_>, e: &OperationError) -> Finding {
    Finding::new(
        Severity::Critical,
        task.from,
        FindingCode::ObservationFailed,
        e.to_string(),
        e.hint(),
    )
    .in_group(task.group)
}

/// How a bucket's copies stand after a sweep.
fn evaluate_bucket(
    world: &RunContext<'_>,
    task: &ObjectCopyTask<'_>,
    progress: &BucketProgress,
    copied: bool,
) -> Vec<Finding> {
    let ObjectCopyTask { from, to, .. } = task;
    let mut found = Vec::new();
    let mut find = |severity, what, why: String, hint: &str| {
        found.push(Finding::new(severity, *from, what, why, hint).in_group(task.group));
    };
    if let Some(stopped) = &progress.stopped {
        // What is behind can't be judged; that is no worry as long as each run comes further.
        let severity = if copied { Severity::Warning } else { Severity::Critical };
        let why = format!("the sweep to {to} did not come to its end: {stopped}");
        let hint = "the next run goes on; when it never ends, run it by hand or give the function more time";
        find(severity, FindingCode::RunUnfinished, why, hint);
    } else {
        let prefixes = task.prefixes.iter().map(String::as_str).chain([""]);
        for (prefix, _) in prefixes.zip(&progress.found).filter(|(_, found)| !**found) {
            let why = format!("the policy copies s3://{from}/{prefix} and there is no object");
            find(
                Severity::Critical,
                FindingCode::NoObjects,
                why,
                "check what writes there, or the prefix in the policy",
            );
        }
    }
    let KeySample { count, first } = &progress.archived;
    if let Some(first) = first {
        let why = format!(
            "{count} objects without a copy in {to} lie in an archive class, such as \"{first}\""
        );
        find(
            Severity::Warning,
            FindingCode::ObjectArchived,
            why,
            "restore them for some days; the next run copies them then",
        );
    }
    let KeySample { count, first } = &progress.customer_keys;
    if let Some(first) = first {
        let why = format!(
            "{count} objects without a copy in {to} are under a key of the customer's own (SSE-C), such as \"{first}\""
        );
        let hint =
            "copy them with their key by other means, or write such objects under a key of KMS";
        find(Severity::Warning, FindingCode::ObjectCustomerKey, why, hint);
    }
    if let (Some((at, key)), Some(objective)) = (&progress.waits, task.objective) {
        let age = world.now.duration_since(*at);
        if age > objective.max_age {
            let from = if objective.derived { " by its schedule" } else { "" };
            let why = format!(
                "\"{key}\" has no copy in {to} and is {} old; {} is allowed{from}",
                format_duration(age),
                format_duration(objective.max_age)
            );
            find(
                Severity::Critical,
                FindingCode::OffsiteCopyStale,
                why,
                "see what became of its copy, and whether `schedule` fits max_age",
            );
        }
    }
    found
}

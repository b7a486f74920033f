//! Storage classes by age: the buckets' lifecycle rules are kept as the policy says. S3 itself moves the objects.

use jiff::SignedDuration;
use serde::Serialize;
use shared::{
    aws::{
        OperationError,
        s3::{BucketLifecycle, TransitionRule},
    },
    catalog::Location,
    plan::{ActionPlan, Finding, FindingCode, Operates, Operation, Severity},
    policy::{Policy, StorageClass, StorageTier, text::Region},
    report::StepOutcome,
    run::{RunContext, execute_plan},
};
use std::{collections::BTreeMap, fmt};

/// A commit record of some ten thousand tables has less; what is small costs nothing anyway.
const MIN_TIERED_BYTES: i64 = 1 << 20;
/// Days after which an upload without end is given up, by S3 itself, should no run clean it up.
const ABORT_INCOMPLETE_DAYS: i32 = 7;

/// The rules that a bucket must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LifecycleUpdate {
    /// The bucket.
    pub bucket: String,
    /// Its region, when it is not the home region.
    pub region: Option<Region>,
    /// The rules.
    #[serde(skip)]
    pub rules: Vec<TransitionRule>,
}

impl Operates for LifecycleUpdate {
    fn operation(&self) -> Operation {
        Operation::Other
    }
}

impl fmt::Display for LifecycleUpdate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = self.rules.iter().flat_map(|r| &r.steps);
        let steps: Vec<_> = steps.map(|(days, class)| format!("{class} after {days}d")).collect();
        write!(f, "set storage classes of s3://{}: {}", self.bucket, steps.join(", "))
    }
}

/// The rules of every bucket that the policy gives tiers; the policy's own check refuses what S3 would.
pub fn desired_updates(policy: &Policy) -> Vec<LifecycleUpdate> {
    let mut by: BTreeMap<String, LifecycleUpdate> = BTreeMap::new();
    let buckets = policy.buckets.iter().map(|(name, b)| {
        (name, b.bucket.to_string(), b.region.clone(), String::new(), b.tiers.as_slice())
    });
    let groups = policy.postgres.iter().filter_map(|(name, g)| {
        // Another endpoint has other classes, or none.
        let bucket = g.storage.bucket.as_ref().filter(|_| g.storage.endpoint.is_none())?;
        let prefix = g.storage.prefix.clone();
        Some((name, bucket.to_string(), g.storage.aws_region(), prefix, g.tiers.as_slice()))
    });
    for (name, bucket, region, prefix, tiers) in buckets.chain(groups) {
        let steps = transitions(tiers);
        if steps.is_empty() {
            continue;
        }
        let id = format!("holdfast-{}-{name}", policy.company);
        let rule = TransitionRule {
            id,
            prefix,
            larger_than: MIN_TIERED_BYTES,
            steps,
            abort_after: ABORT_INCOMPLETE_DAYS,
        };
        let set = by.entry(bucket.clone()).or_insert(LifecycleUpdate {
            bucket,
            region,
            rules: Vec::new(),
        });
        set.rules.push(rule);
    }
    by.into_values().collect()
}

/// Days and classes. The class from the begin on is set by whoever writes.
fn transitions(tiers: &[StorageTier]) -> Vec<(i32, String)> {
    let days = |age: SignedDuration| i32::try_from(age.as_hours() / 24).unwrap_or(i32::MAX);
    let later = tiers.iter().filter(|tier| tier.class != StorageClass::Standard);
    let steps = later
        .filter_map(|t| Some((days(t.after.as_ref()?.duration()), t.class.as_str().to_owned())));
    let mut steps: Vec<_> = steps.collect();
    steps.sort();
    steps
}

/// What became of it.
#[derive(Debug, Default)]
pub struct TieringResult {
    /// What differs or can't be done.
    pub findings: Vec<Finding>,
    /// What was set.
    pub outcomes: Vec<StepOutcome>,
}

/// Sets the rules that differ, and those alone; rules that are not ours stay as they are.
pub async fn apply_tiers(world: &RunContext<'_>) -> TieringResult {
    let sets = desired_updates(world.policy);
    let mut tiering = TieringResult::default();
    let mut plan = ActionPlan::default();
    let mut there: BTreeMap<String, BucketLifecycle> = BTreeMap::new();
    for set in sets {
        match s3_client(world, &set).bucket_lifecycle(&set.bucket).await {
            Err(e) => {
                let hint = e.hint().to_owned();
                let gap = Finding::new(
                    Severity::Critical,
                    &set.bucket,
                    FindingCode::ObservationFailed,
                    e.to_string(),
                    hint,
                );
                tiering.findings.push(gap);
            }
            Ok(found) if set.rules.iter().all(|r| found.contains_transition(r)) => {}
            Ok(found) => {
                there.insert(set.bucket.clone(), found);
                plan.push_step(
                    set.bucket.clone(),
                    set,
                    "the bucket's lifecycle rules differ from the policy",
                );
            }
        }
    }
    tiering.outcomes = execute_plan(world, &plan, 1, async |set: &LifecycleUpdate| {
        let found = there.get(&set.bucket).cloned().unwrap_or_default();
        let all = set.rules.iter().fold(found, BucketLifecycle::with_transition);
        s3_client(world, set).set_lifecycle(&set.bucket, &all).await?;
        Ok::<_, OperationError>(
            format!("s3://{} moves objects as the policy says", set.bucket).into(),
        )
    })
    .await;
    tiering
}

fn s3_client(world: &RunContext<'_>, set: &LifecycleUpdate) -> shared::aws::s3::S3Client {
    let home = Location::home_from_policy(world.policy);
    let region = set.region.clone().unwrap_or_else(|| home.region.clone());
    world.aws.s3(&Location { region, ..home })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Policy {
        let yaml = format!(
            "{{holdfast: 1, company: acme, home: {{account: \"111122223333\", region: eu-west-1}}, {text}}}"
        );
        Policy::parse(&yaml).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn every_bucket_gets_one_rule_for_each_group_and_no_step_that_s3_would_refuse() {
        let policy = policy(
            "buckets: {vault: {bucket: acme-vault, tiers: [{class: STANDARD}, {after: 31d, \
             class: GLACIER}]}}, postgres: {main: {databases: [orders], storage: {bucket: acme-vault, prefix: pg/}, \
             tiers: [{class: STANDARD_IA}, {after: 90d, class: DEEP_ARCHIVE}, {after: 30d, class: GLACIER}]}, host: \
             {databases: [x], storage: {directory: /var/backups}, tiers: [{after: 30d, class: GLACIER}]}}",
        );
        let sets = desired_updates(&policy);
        let rules: Vec<_> = sets
            .iter()
            .flat_map(|s| {
                s.rules
                    .iter()
                    .map(|r| format!("{} {} {:?} {:?}", s.bucket, r.id, r.prefix, r.steps))
            })
            .collect();
        insta::assert_snapshot!(rules.join("\n"), @r#"
        acme-vault holdfast-acme-vault "" [(31, "GLACIER")]
        acme-vault holdfast-acme-main "pg/" [(30, "GLACIER"), (90, "DEEP_ARCHIVE")]
        "#);
    }
}

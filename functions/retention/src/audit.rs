//! The record of operations, kept as long as the policy says: in a bucket by a lifecycle rule, in a directory by removing
//! whole objects from the oldest on, never the newest.

use jiff::SignedDuration;
use serde::Serialize;
use shared::{
    audit::{AuditLocation, AuditLog},
    aws::s3::{BucketLifecycle, ExpirationRule},
    plan::{ActionPlan, Finding, FindingCode, Operates, Operation, Severity},
    policy::Policy,
    report::{ActionResult, StepOutcome},
    run::{RunContext, execute_plan},
};
use std::fmt;

/// Days that a version stays in a bucket with versions after it ended, or after somebody deleted it.
const NONCURRENT_DAYS: i32 = 30;

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum AuditRetentionAction {
    /// Objects are removed from a directory.
    Delete {
        /// Their numbers, oldest first.
        sequence_numbers: Vec<u64>,
    },
    /// A bucket gets its rule.
    SetExpiration {
        /// The bucket.
        bucket: String,
        /// After so many days.
        days: i32,
    },
}

impl Operates for AuditRetentionAction {
    fn operation(&self) -> Operation {
        Operation::Other
    }
}

impl fmt::Display for AuditRetentionAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delete { sequence_numbers: seqs } => {
                write!(f, "remove {} objects of audit records", seqs.len())
            }
            Self::SetExpiration { bucket, days } => {
                write!(f, "let audit records in s3://{bucket} end after {days}d")
            }
        }
    }
}

/// What became of it.
#[derive(Debug, Default)]
pub struct AuditRetentionResult {
    /// What could not be looked at.
    pub findings: Vec<Finding>,
    /// What was done.
    pub outcomes: Vec<StepOutcome>,
}

/// The rule of the policy's bucket; none when it wants none. S3 counts whole days, so a begun one is kept to its end.
fn expiration_rule(policy: &Policy) -> Option<ExpirationRule> {
    let audit = policy.audit.as_ref()?;
    audit.bucket.as_ref()?;
    let hours = audit.keep.duration().as_hours();
    let days = i32::try_from((hours + 23) / 24).unwrap_or(i32::MAX).max(1);
    let id = format!("holdfast-{}-audit", policy.company);
    Some(ExpirationRule {
        id,
        prefix: audit.prefix.clone(),
        days,
        noncurrent_days: NONCURRENT_DAYS,
    })
}

/// Looks, and lets go of what is older than the policy keeps.
pub async fn apply_audit_retention(world: &RunContext<'_>) -> AuditRetentionResult {
    let Some(log) = AuditLog::from_policy(world.aws, world.policy) else {
        return AuditRetentionResult::default();
    };
    let looked = match log.location() {
        AuditLocation::Bucket { s3, bucket, .. } => match expiration_rule(world.policy) {
            Some(expiry) => s3
                .bucket_lifecycle(bucket)
                .await
                .map(|found| plan_lifecycle_rule(bucket, found, &expiry)),
            None => return AuditRetentionResult::default(),
        },
        // A Lambda does not see a host's directory; the host removes by itself.
        AuditLocation::Directory { .. } if !world.on_host => {
            return AuditRetentionResult::default();
        }
        AuditLocation::Directory { .. } => log
            .objects_older_than(world.now - retention_period(world.policy))
            .await
            .map(plan_removal),
    };
    let (plan, rules, findings) = match looked {
        Ok(looked) => looked,
        Err(e) => {
            let (why, hint) = (e.to_string(), e.hint().to_owned());
            let gap = Finding::new(
                Severity::Critical,
                "audit",
                FindingCode::ObservationFailed,
                why,
                hint,
            );
            return AuditRetentionResult { findings: vec![gap], outcomes: Vec::new() };
        }
    };
    let outcomes =
        execute_plan(world, &plan, 1, async |action: &AuditRetentionAction| -> ActionResult {
            match (action, log.location(), &rules) {
                (
                    AuditRetentionAction::SetExpiration { bucket, days },
                    AuditLocation::Bucket { s3, .. },
                    Some(rules),
                ) => {
                    s3.set_lifecycle(bucket, rules).await?;
                    Ok(format!("records in s3://{bucket} end after {days} days").into())
                }
                (AuditRetentionAction::Delete { sequence_numbers: seqs }, ..) => {
                    for seq in seqs {
                        log.delete_object(*seq).await?;
                    }
                    let (first, last) = (seqs.first().copied(), seqs.last().copied());
                    let told =
                        format!("{} to {} are removed", first.unwrap_or(0), last.unwrap_or(0));
                    Ok(told.into())
                }
                (AuditRetentionAction::SetExpiration { .. }, ..) => {
                    unreachable!("it is planned for a bucket only")
                }
            }
        })
        .await;
    AuditRetentionResult { findings, outcomes }
}

type AuditRetentionPlan = (ActionPlan<AuditRetentionAction>, Option<BucketLifecycle>, Vec<Finding>);

fn retention_period(policy: &Policy) -> SignedDuration {
    policy.audit.as_ref().map_or(SignedDuration::MAX, |audit| audit.keep.duration())
}

fn plan_removal(seqs: Vec<u64>) -> AuditRetentionPlan {
    let mut plan = ActionPlan::default();
    if !seqs.is_empty() {
        plan.push_step(
            "audit",
            AuditRetentionAction::Delete { sequence_numbers: seqs },
            "they are older than the policy keeps them",
        );
    }
    (plan, None, Vec::new())
}

fn plan_lifecycle_rule(
    bucket: &str,
    found: BucketLifecycle,
    expiry: &ExpirationRule,
) -> AuditRetentionPlan {
    let mut plan = ActionPlan::default();
    if found.contains_expiration(expiry) {
        return (plan, None, Vec::new());
    }
    let Some(rules) = found.with_expiration(expiry) else {
        let why = "the bucket has as many lifecycle rules as S3 keeps, so records stay for ever";
        let hint = "take rules away that are not needed, or write another bucket";
        let finding = Finding::new(Severity::Warning, bucket, FindingCode::RuleMissing, why, hint);
        return (plan, None, vec![finding]);
    };
    let action =
        AuditRetentionAction::SetExpiration { bucket: bucket.to_owned(), days: expiry.days };
    plan.push_step("audit", action, "the bucket's lifecycle rules differ from the policy");
    (plan, Some(rules), Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(audit: &str) -> Policy {
        let yaml = format!(
            "{{holdfast: 1, company: acme, home: {{account: \"111122223333\", region: eu-west-1}}, {audit}}}"
        );
        Policy::parse(&yaml).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn a_rule_ends_records_after_whole_days_and_never_before() {
        let days = |keep: &str| {
            let audit = format!("audit: {{bucket: acme-audit, prefix: audit/, keep: {keep}}}");
            expiration_rule(&policy(&audit)).map(|e| e.days)
        };
        assert_eq!([days("1y"), days("36h"), days("1h")], [Some(366), Some(2), Some(1)]);
        assert_eq!(expiration_rule(&policy("audit: {directory: /x, keep: 1y}")), None);
        assert_eq!(expiration_rule(&policy("limits: {}")), None);
    }

    #[test]
    fn the_rule_is_set_when_it_differs_and_stands_beside_all_others() {
        let expiry =
            expiration_rule(&policy("audit: {bucket: acme-audit, keep: 1y}")).expect("a rule");
        let (plan, rules, findings) =
            plan_lifecycle_rule("acme-audit", BucketLifecycle::default(), &expiry);
        assert_eq!((plan.steps.len(), findings.len()), (1, 0));
        let there = rules.expect("rules");
        assert!(plan_lifecycle_rule("acme-audit", there.clone(), &expiry).0.steps.is_empty());
        let longer = ExpirationRule { days: 400, ..expiry.clone() };
        let (plan, rules, _) = plan_lifecycle_rule("acme-audit", there.clone(), &longer);
        assert_eq!(plan.steps.len(), 1);
        let rules = rules.expect("rules");
        assert!(
            rules.contains_expiration(&longer) && !rules.contains_expiration(&expiry),
            "in the place of the old one"
        );
        let mut full = BucketLifecycle::default();
        for n in 0..1000 {
            let other = ExpirationRule { id: format!("other-{n}"), ..expiry.clone() };
            full = full.with_expiration(&other).expect("room");
        }
        let (plan, _, findings) = plan_lifecycle_rule("acme-audit", full, &expiry);
        assert_eq!((plan.steps.len(), findings[0].code.as_str()), (0, "rule-missing"));
    }
}

//! Storage classes by age: the lifecycle rules that Holdfast sets, and whatever other rules a bucket has.

use super::S3Client;
use crate::aws::OperationError;
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, ExpirationStatus,
    LifecycleExpiration, LifecycleRule, LifecycleRuleAndOperator, LifecycleRuleFilter,
    NoncurrentVersionExpiration, Transition, TransitionStorageClass,
};

/// A rule that moves objects to other storage classes as they get older.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitionRule {
    /// Its id.
    pub id: String,
    /// Keys of the objects begin with this.
    pub prefix: String,
    /// Only objects of more bytes: commit records and hashes must stay readable at once.
    pub larger_than: i64,
    /// Days and the class from then on, in order.
    pub steps: Vec<(i32, String)>,
    /// Days after which an upload that was never finished is given up.
    pub abort_after: i32,
}

/// A rule that ends objects when they get old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpirationRule {
    /// Its id.
    pub id: String,
    /// Keys of the objects begin with this.
    pub prefix: String,
    /// Days after which an object ends.
    pub days: i32,
    /// Days after which a version ends that is no more the newest, in a bucket with versions.
    pub noncurrent_days: i32,
}

/// Lifecycle rules that S3 keeps for one bucket, at most.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lifecycle-mgmt.html>
const MAX_LIFECYCLE_RULES: usize = 1000;

/// Every lifecycle rule of a bucket.
#[derive(Clone, Debug, Default)]
pub struct BucketLifecycle(Vec<LifecycleRule>);

impl BucketLifecycle {
    /// Whether there is this very rule, and it is on.
    pub fn contains_transition(&self, tiers: &TransitionRule) -> bool {
        let wanted = transition_to_sdk(tiers);
        self.0.iter().any(|r| {
            let mut r = r.clone();
            // S3 answers in its own order.
            if let Some(steps) = &mut r.transitions {
                steps.sort_by_key(|t| t.days);
            }
            r == wanted
        })
    }

    /// These rules with this one, in the place of the one that has its id; all others stay as they are.
    #[must_use]
    pub fn with_transition(mut self, tiers: &TransitionRule) -> Self {
        self.0.retain(|r| r.id() != Some(&tiers.id));
        self.0.push(transition_to_sdk(tiers));
        self
    }
}

impl BucketLifecycle {
    /// Whether there is this very rule, and it is on.
    pub fn contains_expiration(&self, expiry: &ExpirationRule) -> bool {
        self.0.contains(&expiration_to_sdk(expiry))
    }

    /// These rules with this one, in the place of the one that has its id; all others stay as they are. None when S3
    /// keeps no more of them.
    #[must_use]
    pub fn with_expiration(mut self, expiry: &ExpirationRule) -> Option<Self> {
        self.0.retain(|r| r.id() != Some(&expiry.id));
        self.0.push(expiration_to_sdk(expiry));
        (self.0.len() <= MAX_LIFECYCLE_RULES).then_some(self)
    }
}

fn expiration_to_sdk(expiry: &ExpirationRule) -> LifecycleRule {
    let noncurrent =
        NoncurrentVersionExpiration::builder().noncurrent_days(expiry.noncurrent_days).build();
    LifecycleRule::builder()
        .id(&expiry.id)
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix(&expiry.prefix).build())
        .expiration(LifecycleExpiration::builder().days(expiry.days).build())
        .noncurrent_version_expiration(noncurrent)
        .build()
        .expect("a rule has a status")
}

fn transition_to_sdk(tiers: &TransitionRule) -> LifecycleRule {
    let step = |(days, class): &(i32, String)| {
        let class = TransitionStorageClass::from(class.as_str());
        Transition::builder().days(*days).storage_class(class).build()
    };
    let objects = LifecycleRuleAndOperator::builder()
        .prefix(&tiers.prefix)
        .object_size_greater_than(tiers.larger_than);
    LifecycleRule::builder()
        .id(&tiers.id)
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().and(objects.build()).build())
        .set_transitions(Some(tiers.steps.iter().map(step).collect()))
        .abort_incomplete_multipart_upload(
            AbortIncompleteMultipartUpload::builder()
                .days_after_initiation(tiers.abort_after)
                .build(),
        )
        .build()
        .expect("a rule has a status")
}

impl S3Client {
    /// Every lifecycle rule of a bucket.
    ///
    /// # Errors
    /// If S3 can't be asked.
    pub async fn bucket_lifecycle(&self, bucket: &str) -> Result<BucketLifecycle, OperationError> {
        let doing = format!("read lifecycle of s3://{bucket}");
        let answer = self.client.get_bucket_lifecycle_configuration().bucket(bucket).send().await;
        match answer.map_err(|e| OperationError::from_sdk_error(doing, &e)) {
            Ok(answer) => Ok(BucketLifecycle(answer.rules.unwrap_or_default())),
            Err(e) if e.code.as_deref() == Some("NoSuchLifecycleConfiguration") => {
                Ok(BucketLifecycle::default())
            }
            Err(e) => Err(e),
        }
    }

    /// Sets all lifecycle rules of a bucket: S3 knows no way to set one.
    ///
    /// # Errors
    /// If S3 refuses them.
    pub async fn set_lifecycle(
        &self,
        bucket: &str,
        all: &BucketLifecycle,
    ) -> Result<(), OperationError> {
        let rules = BucketLifecycleConfiguration::builder().set_rules(Some(all.0.clone())).build();
        let rules = rules.expect("rules are set");
        let request = self.client.put_bucket_lifecycle_configuration().bucket(bucket);
        let answer = request.lifecycle_configuration(rules).send().await;
        answer.map_err(|e| {
            OperationError::from_sdk_error(format!("set lifecycle of s3://{bucket}"), &e)
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;

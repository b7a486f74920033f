//! Versioning, encryption, replication and lifecycle of a bucket.

use super::S3Client;
use crate::aws::OperationError;
use aws_sdk_s3::types::{
    BucketVersioningStatus, ExpirationStatus, LifecycleRule, MetricsStatus, ReplicationRuleStatus,
    ReplicationTimeStatus,
};
use std::fmt;

/// Whether a bucket keeps what is overwritten and deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketVersioning {
    /// It does.
    Enabled,
    /// It did once; new writes are not kept.
    Suspended,
    /// It never did.
    Off,
}

impl fmt::Display for BucketVersioning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Enabled => "on",
            Self::Suspended => "suspended",
            Self::Off => "off",
        })
    }
}

/// What new objects are encrypted with when nobody says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultEncryption {
    /// S3's word: `AES256`, `aws:kms`, `aws:kms:dsse`.
    pub algorithm: String,
    /// The KMS key; S3's own of the account without it.
    pub kms_key: Option<String>,
}

/// A rule by which S3 replicates.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "S3's rules have that many switches")]
pub struct ReplicationRule {
    /// Its id.
    pub id: String,
    /// Whether it is on.
    pub enabled: bool,
    /// Name of the bucket that it replicates to.
    pub to: String,
    /// Whether it takes in every object of the bucket.
    pub covers_bucket: bool,
    /// Only keys that begin with this.
    pub prefix: String,
    /// Only objects with some tags.
    pub tagged: bool,
    /// Whether S3 publishes its lag as a metric.
    pub metrics: bool,
    /// The minutes that S3 promises by replication time control, where it is on.
    pub rtc_minutes: Option<i32>,
}

/// An enabled lifecycle rule that lets go of non-current versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoncurrentExpirationRule {
    /// Its id.
    pub id: String,
    /// Days after which a version that was replaced or deleted goes.
    pub days: i32,
    /// Whether it takes in every object of the bucket.
    pub covers_bucket: bool,
}

impl S3Client {
    /// Whether the bucket keeps versions.
    ///
    /// # Errors
    /// If S3 can't be asked.
    pub async fn bucket_versioning(
        &self,
        bucket: &str,
    ) -> Result<BucketVersioning, OperationError> {
        let doing = || format!("read versioning of s3://{bucket}");
        let answer = self.client.get_bucket_versioning().bucket(bucket).send().await;
        let answer = answer.map_err(|e| OperationError::from_sdk_error(doing(), &e))?;
        Ok(match answer.status() {
            Some(BucketVersioningStatus::Enabled) => BucketVersioning::Enabled,
            Some(_) => BucketVersioning::Suspended,
            None => BucketVersioning::Off,
        })
    }

    /// A bucket's policy; none when it has none.
    ///
    /// # Errors
    /// If S3 can't be asked.
    pub async fn bucket_policy(&self, bucket: &str) -> Result<Option<String>, OperationError> {
        let doing = format!("read policy of s3://{bucket}");
        let answer = self.client.get_bucket_policy().bucket(bucket).send().await;
        match answer.map_err(|e| OperationError::from_sdk_error(doing, &e)) {
            Ok(answer) => Ok(answer.policy),
            Err(e) if e.code.as_deref() == Some("NoSuchBucketPolicy") => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The bucket's default encryption; none when it has none.
    ///
    /// # Errors
    /// If S3 can't be asked.
    pub async fn default_encryption(
        &self,
        bucket: &str,
    ) -> Result<Option<DefaultEncryption>, OperationError> {
        let doing = || format!("read encryption of s3://{bucket}");
        let answer = self.client.get_bucket_encryption().bucket(bucket).send().await;
        let answer = answer.map_err(|e| OperationError::from_sdk_error(doing(), &e));
        let Some(answer) = none_if_unset(answer, "ServerSideEncryptionConfigurationNotFoundError")?
        else {
            return Ok(None);
        };
        let Some(configured) = answer.server_side_encryption_configuration() else {
            return Ok(None);
        };
        let rules = configured.rules().iter();
        let mut defaults = rules.filter_map(|r| r.apply_server_side_encryption_by_default());
        Ok(defaults.next().map(|d| DefaultEncryption {
            algorithm: d.sse_algorithm().as_str().to_owned(),
            kms_key: d.kms_master_key_id().map(str::to_owned),
        }))
    }

    /// The bucket's replication rules, those that are off too.
    ///
    /// # Errors
    /// If S3 can't be asked.
    pub async fn replication_rules(
        &self,
        bucket: &str,
    ) -> Result<Vec<ReplicationRule>, OperationError> {
        let doing = || format!("read replication of s3://{bucket}");
        let answer = self.client.get_bucket_replication().bucket(bucket).send().await;
        let answer = answer.map_err(|e| OperationError::from_sdk_error(doing(), &e));
        let answer = none_if_unset(answer, "ReplicationConfigurationNotFoundError")?;
        let configured = answer.as_ref().and_then(|a| a.replication_configuration());
        let Some(configured) = configured else { return Ok(Vec::new()) };
        Ok(configured.rules().iter().map(replication_rule_from_sdk).collect())
    }

    /// The bucket's enabled lifecycle rules that let go of non-current versions.
    ///
    /// # Errors
    /// If S3 can't be asked.
    pub async fn noncurrent_expirations(
        &self,
        bucket: &str,
    ) -> Result<Vec<NoncurrentExpirationRule>, OperationError> {
        let doing = || format!("read lifecycle of s3://{bucket}");
        let answer = self.client.get_bucket_lifecycle_configuration().bucket(bucket).send().await;
        let answer = answer.map_err(|e| OperationError::from_sdk_error(doing(), &e));
        let answer = none_if_unset(answer, "NoSuchLifecycleConfiguration")?;
        let Some(answer) = answer else { return Ok(Vec::new()) };
        Ok(answer.rules().iter().filter_map(noncurrent_rule_from_sdk).collect())
    }
}

/// None where the refusal only means that there is no such setting.
fn none_if_unset<T>(
    answer: Result<T, OperationError>,
    code: &str,
) -> Result<Option<T>, OperationError> {
    match answer {
        Err(e) if e.code.as_deref() == Some(code) => Ok(None),
        other => other.map(Some),
    }
}

fn replication_rule_from_sdk(rule: &aws_sdk_s3::types::ReplicationRule) -> ReplicationRule {
    // Version 1 of the configuration has a prefix and no filter.
    #[expect(deprecated, reason = "rules of version 1 still exist")]
    let old = rule.prefix();
    let filter = rule.filter();
    let both = filter.and_then(|f| f.and());
    let prefix = both.and_then(|b| b.prefix()).or(filter.and_then(|f| f.prefix())).or(old);
    let prefix = prefix.unwrap_or_default().to_owned();
    let tagged =
        filter.is_some_and(|f| f.tag().is_some()) || both.is_some_and(|b| !b.tags().is_empty());
    let to = rule.destination();
    let arn = to.map_or("", |d| d.bucket());
    let metrics = to.and_then(|d| d.metrics());
    let time = to.and_then(|d| d.replication_time());
    let time = time.filter(|t| t.status() == &ReplicationTimeStatus::Enabled);
    ReplicationRule {
        id: rule.id().unwrap_or_default().to_owned(),
        enabled: rule.status() == &ReplicationRuleStatus::Enabled,
        to: arn.rsplit(':').next().unwrap_or_default().to_owned(),
        covers_bucket: prefix.is_empty() && !tagged,
        prefix,
        tagged,
        // Time control brings the metrics with it.
        metrics: time.is_some() || metrics.is_some_and(|m| m.status() == &MetricsStatus::Enabled),
        rtc_minutes: time.and_then(|t| t.time()?.minutes()),
    }
}

fn noncurrent_rule_from_sdk(rule: &LifecycleRule) -> Option<NoncurrentExpirationRule> {
    let days = rule.noncurrent_version_expiration()?.noncurrent_days()?;
    #[expect(deprecated, reason = "rules of version 1 still exist")]
    let old = rule.prefix().is_none_or(str::is_empty);
    let filter = rule.filter().is_none_or(|f| {
        f.prefix().is_none_or(str::is_empty)
            && f.tag().is_none()
            && f.and().is_none()
            && f.object_size_greater_than().is_none()
            && f.object_size_less_than().is_none()
    });
    (rule.status() == &ExpirationStatus::Enabled).then(|| NoncurrentExpirationRule {
        id: rule.id().unwrap_or_default().to_owned(),
        days,
        covers_bucket: old && filter,
    })
}

#[cfg(test)]
mod tests;

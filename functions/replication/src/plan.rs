//! What was seen, held against the policy. Pure: no I/O and no clock.

mod replicas;

use crate::observe::{
    BucketSettings, ObservedResult, ReplicatedBucket, ReplicationState, SampleResult,
};
use jiff::{SignedDuration, Timestamp};
use shared::{
    aws::{OperationError, s3::BucketVersioning},
    metrics::{self, Metric, MetricValue},
    plan::{Finding, FindingCode, Severity},
    policy::{BucketEncryption, BucketGroup, BucketReplication, Policy, text::Name},
    report::{AssetCoverage, AssetStatus},
    time::format_duration,
};

/// What follows from what was seen.
#[derive(Debug, Default)]
pub struct ReplicationReport {
    /// What differs from the policy.
    pub findings: Vec<Finding>,
    /// How each bucket stands.
    pub assets: Vec<AssetStatus>,
    /// Lags and missing objects.
    pub values: Vec<MetricValue>,
}

/// Judges everything that was seen.
pub fn plan(policy: &Policy, seen: &ReplicationState, now: Timestamp) -> ReplicationReport {
    let mut judged = ReplicationReport::default();
    let (mut lags, mut missing) = (Vec::new(), Vec::new());
    for (group, look) in &seen.buckets {
        let Some(bucket) = policy.buckets.get(group) else { continue };
        let findings = evaluate_bucket(bucket, look, now);
        judged.assets.push(asset_status(group, bucket, look, &findings, now));
        judged.findings.extend(findings.into_iter().map(|f| f.in_group(group)));
        if bucket.replication.is_some() {
            let name = bucket.bucket.as_str();
            let whole = look.as_ref().ok().and_then(|s| s.replication.as_ref());
            let whole = whole.filter(|r| r.stopped_at_key.is_none());
            lags.push((group.as_str(), name, whole.map(|r| replication_lag(r, now).as_secs_f64())));
            #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
            missing.push((group.as_str(), name, whole.map(|r| r.comparison.overdue as f64)));
        }
    }
    judged.values.extend(metrics::aggregate_max(Metric::ReplicationLag, lags.into_iter()));
    judged.values.extend(metrics::aggregate_max(Metric::ReplicationMissing, missing.into_iter()));
    replicas::evaluate_replicas(policy, seen, &mut judged);
    for asset in &seen.unknown {
        let why = "no bucket, group or watched read replica has this name";
        let hint = "write the name of a bucket, of its group, or of a read replica";
        judged.findings.push(Finding::new(
            Severity::Critical,
            asset,
            FindingCode::UnknownAsset,
            why,
            hint,
        ));
    }
    judged
}

/// The larger of what the listings show and what S3 says.
fn replication_lag(replicated: &ReplicatedBucket, now: Timestamp) -> SignedDuration {
    let told = replicated.latency.filter(|s| s.is_finite() && *s > 0.0).unwrap_or(0.0);
    let told = SignedDuration::try_from_secs_f64(told).unwrap_or(SignedDuration::MAX);
    replicated.comparison.lag(now).max(told)
}

fn asset_status(
    group: &Name,
    bucket: &BucketGroup,
    look: &ObservedResult<BucketSettings>,
    findings: &[Finding],
    now: Timestamp,
) -> AssetStatus {
    let replicated = look.as_ref().ok().and_then(|s| s.replication.as_ref());
    let size = replicated.and_then(|r| i64::try_from(r.comparison.source.bytes).ok());
    AssetStatus {
        size_bytes: size,
        // How far the replica is behind is the age of its data.
        offsite_age_seconds: replicated.map(|r| replication_lag(r, now).as_secs()),
        offsite_wanted: bucket.replication.is_some(),
        coverage: if look.is_ok() { AssetCoverage::Watched } else { AssetCoverage::NotObserved },
        max_severity: findings.iter().map(|f| f.severity).max(),
        messages: findings.iter().map(|f| f.message.clone()).collect(),
        ..AssetStatus::new(group.to_string(), bucket.bucket.to_string())
    }
}

/// Buckets of which the policy asks nothing that any function does: named, and nobody looks at them.
pub(crate) fn add_unmonitored_buckets(policy: &Policy, judged: &mut ReplicationReport) {
    for (group, bucket) in &policy.buckets {
        let name = bucket.bucket.as_str();
        let to_s3 = |to| policy.destinations.get(to).is_some_and(|d| d.bucket.is_some());
        // What is copied is seen by who copies it.
        let copied = bucket.copies.iter().any(|c| to_s3(&c.to));
        if copied || judged.assets.iter().any(|s| s.asset == name && s.group == group.as_str()) {
            continue;
        }
        let why = "nothing that the policy asks of it is done or watched by any function";
        let hint =
            "ask for versioning, replication or copies to a bucket, or take it out of the policy";
        let finding = Finding::new(Severity::Warning, name, FindingCode::NotWatched, why, hint);
        let finding = finding.in_group(group);
        let mut standing = AssetStatus::new(group.to_string(), name);
        standing.coverage = AssetCoverage::NotWatched;
        standing.add_finding(&finding);
        judged.assets.push(standing);
        judged.findings.push(finding);
    }
}

fn evaluate_bucket(
    bucket: &BucketGroup,
    look: &ObservedResult<BucketSettings>,
    now: Timestamp,
) -> Vec<Finding> {
    let name = bucket.bucket.as_str();
    let seen = match look {
        Ok(seen) => seen,
        Err(e) => {
            return vec![Finding::new(
                Severity::Critical,
                name,
                FindingCode::ObservationFailed,
                e.to_string(),
                observation_hint(e),
            )];
        }
    };
    let mut findings = Vec::new();
    let mut find = |severity, what, why: String, hint: &str| {
        findings.push(Finding::new(severity, name, what, why, hint));
    };
    if let Some(versioning) = seen.versioning.filter(|v| *v != BucketVersioning::Enabled) {
        let why = format!("versioning is {versioning}: what is overwritten or deleted is lost");
        find(
            Severity::Critical,
            FindingCode::VersioningOff,
            why,
            "switch the bucket's versioning on",
        );
    }
    if let (Some(wanted), Some(set)) = (bucket.encryption, &seen.encryption) {
        check_encryption(wanted, set.as_ref().map(|e| e.algorithm.as_str()), &mut find);
    }
    if let (Some(period), Some(rules)) = (&bucket.noncurrent_version_expiration, &seen.noncurrent) {
        check_noncurrent_versions(period.duration(), rules, &mut find);
    }
    if let (Some(asked), Some(replicated)) = (&bucket.replication, &seen.replication) {
        check_rules(asked, replicated, &mut find);
        check_comparison(asked, replicated, now, &mut find);
        check_samples(replicated, &mut find);
    }
    findings
}

type FindingSink<'a> = &'a mut dyn FnMut(Severity, FindingCode, String, &str);

fn observation_hint(e: &OperationError) -> &str {
    match e.code.as_deref() {
        Some("PermanentRedirect" | "AuthorizationHeaderMalformed") => {
            "the bucket is in another region: write its region in the policy"
        }
        _ => e.hint(),
    }
}

fn check_encryption(wanted: BucketEncryption, set: Option<&str>, find: FindingSink<'_>) {
    let hint = "set the bucket's default encryption as the policy says";
    match (wanted, set) {
        (BucketEncryption::Aes256, Some("AES256"))
        | (BucketEncryption::Kms, Some("aws:kms" | "aws:kms:dsse")) => {}
        (BucketEncryption::Aes256, Some(set)) => {
            let why = format!("default encryption is {set}, the policy says AES256");
            find(Severity::Warning, FindingCode::EncryptionDiffers, why, hint);
        }
        (BucketEncryption::Kms, set) => {
            let set = set.unwrap_or("off");
            let why = format!("default encryption is {set}, the policy says aws:kms");
            find(Severity::Critical, FindingCode::EncryptionDiffers, why, hint);
        }
        (BucketEncryption::Aes256, None) => {
            let why = "default encryption is off, the policy says AES256".into();
            find(Severity::Critical, FindingCode::EncryptionDiffers, why, hint);
        }
    }
}

fn check_noncurrent_versions(
    wanted: SignedDuration,
    rules: &[shared::aws::s3::NoncurrentExpirationRule],
    find: FindingSink<'_>,
) {
    let of = |days: i32| SignedDuration::from_hours(24 * i64::from(days));
    let hint = "set NoncurrentDays of the bucket's lifecycle as the policy says";
    for rule in rules.iter().filter(|r| of(r.days) < wanted) {
        let why = format!(
            "the lifecycle rule \"{}\" lets go of replaced and deleted versions after {} days, the policy keeps them for {}",
            rule.id,
            rule.days,
            format_duration(wanted)
        );
        find(Severity::Critical, FindingCode::NoncurrentTooShort, why, hint);
    }
    let whole = rules.iter().filter(|r| r.covers_bucket).map(|r| r.days).min();
    match whole {
        None => {
            let why = "no lifecycle rule of the whole bucket lets go of replaced and deleted versions: they stay for ever";
            find(Severity::Warning, FindingCode::NoncurrentUnlimited, why.into(), hint);
        }
        Some(days) if of(days) > wanted => {
            let why = format!(
                "replaced and deleted versions stay for {days} days, the policy lets them go after {}",
                format_duration(wanted)
            );
            find(Severity::Warning, FindingCode::NoncurrentTooLong, why, hint);
        }
        Some(_) => {}
    }
}

fn check_rules(asked: &BucketReplication, replicated: &ReplicatedBucket, find: FindingSink<'_>) {
    let ReplicatedBucket { to, rules, versioning, .. } = replicated;
    let on = || rules.iter().filter(|r| r.enabled && r.to == *to);
    // A rule may take in more than the policy wants, and several together what it wants.
    let takes = |prefix: &str| on().any(|r| !r.tagged && prefix.starts_with(r.prefix.as_str()));
    let whole = [String::new()];
    let wanted = if asked.prefixes.is_empty() { &whole[..] } else { &asked.prefixes };
    let without: Vec<_> = wanted.iter().filter(|p| !takes(p)).collect();
    if on().next().is_none() {
        let off = rules.iter().any(|r| r.to == *to);
        let why = if off { "is not enabled" } else { "does not exist" };
        let why =
            format!("a replication rule to {to} {why}: what is written now is not replicated");
        find(
            Severity::Critical,
            FindingCode::RuleMissing,
            why,
            "enable a rule of the whole bucket to that bucket",
        );
    } else if let Some(prefix) = without.first() {
        let some: Vec<_> = on().map(|r| format!("\"{}\"", r.id)).collect();
        let all = if prefix.is_empty() { "all keys".into() } else { format!("\"{prefix}\"") };
        let why = format!(
            "the rules to {to} ({}) take in some keys or tags only, and the policy replicates {all}",
            some.join(", ")
        );
        let hint = "let a rule take in the whole bucket, or write the prefixes that are meant into replication.prefixes";
        find(Severity::Warning, FindingCode::ReplicationRuleNarrow, why, hint);
    }
    if *versioning != BucketVersioning::Enabled {
        let why =
            format!("versioning of the replica {to} is {versioning}: S3 can't replicate to it");
        find(
            Severity::Critical,
            FindingCode::ReplicaVersioning,
            why,
            "switch the replica's versioning on",
        );
    }
}

fn check_comparison(
    asked: &BucketReplication,
    replicated: &ReplicatedBucket,
    now: Timestamp,
    find: FindingSink<'_>,
) {
    let ReplicatedBucket { to, comparison: c, stopped_at_key: cut, .. } = replicated;
    if let Some(key) = cut {
        let why = format!("there was no time to compare with {to} beyond \"{key}\"");
        find(
            Severity::Critical,
            FindingCode::RunUnfinished,
            why,
            "give the function more time, or run it by hand, which has no end",
        );
    } else if c.source.objects == 0 {
        let why = format!("the policy replicates it to {to} and it has no objects");
        find(
            Severity::Warning,
            FindingCode::NoObjects,
            why,
            "check what writes there, or the policy",
        );
    }
    let (lag, max_lag) = (replication_lag(replicated, now), asked.max_lag.duration());
    if lag > max_lag {
        let oldest = c.oldest.as_ref().map(|(_, key)| format!("; the oldest object is \"{key}\""));
        let why = format!(
            "the replica {to} is {} behind, {} is allowed{}",
            format_duration(lag),
            format_duration(max_lag),
            oldest.unwrap_or_default()
        );
        // A few stragglers are tolerated; S3's own figure is not theirs alone.
        let told = replicated.latency.is_some_and(|s| s > max_lag.as_secs_f64());
        let few = c.overdue <= u64::from(asked.tolerance) && !told;
        find(
            if few { Severity::Warning } else { Severity::Critical },
            FindingCode::ReplicationLag,
            why,
            "look at the replication status of that object: HEAD shows PENDING or FAILED",
        );
    }
    if c.overdue > u64::from(asked.tolerance) {
        let why = format!(
            "{} of {} objects are not in the replica {to} in their newest form after {}, {} are tolerated ({} missing, {} differ, the youngest included)",
            c.overdue,
            c.source.objects,
            format_duration(max_lag),
            asked.tolerance,
            c.missing,
            c.differing
        );
        find(
            Severity::Critical,
            FindingCode::ReplicaIncomplete,
            why,
            "objects from before the rule need S3 Batch Replication; else look at their replication status",
        );
    }
    if c.extra > 0 {
        let why = format!(
            "the replica {to} has {} objects that the source has not ({} objects and {} bytes there, {} and {} in the source)",
            c.extra, c.replica.objects, c.replica.bytes, c.source.objects, c.source.bytes
        );
        find(
            Severity::Info,
            FindingCode::ReplicaExtra,
            why,
            "deletes are not replicated unless a rule says so",
        );
    }
}

fn check_samples(replicated: &ReplicatedBucket, find: FindingSink<'_>) {
    let to = &replicated.to;
    for (key, sampled) in &replicated.sampled {
        match sampled {
            SampleResult::Same | SampleResult::Inconclusive => {}
            SampleResult::Differs => {
                let why = format!("\"{key}\" has other bytes in the replica {to}");
                find(
                    Severity::Critical,
                    FindingCode::ReplicaDiffers,
                    why,
                    "find out which side is right, and who writes to the replica",
                );
            }
            SampleResult::Unreadable(why, hint) => {
                let why = format!("\"{key}\" could not be compared with its replica: {why}");
                find(Severity::Critical, FindingCode::ReplicaNotReadable, why, hint);
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! Read replicas: how far they are behind.

use super::ReplicationReport;
use crate::observe::{ReplicaLag, ReplicationState};
use jiff::SignedDuration;
use shared::{
    metrics::{self, Metric},
    plan::{Finding, FindingCode, Severity},
    policy::{Policy, text::Period},
};

/// Judges the read replicas that the policy watches.
pub(super) fn evaluate_replicas(
    policy: &Policy,
    seen: &ReplicationState,
    judged: &mut ReplicationReport,
) {
    let mut lags = Vec::new();
    for replica in &seen.replicas {
        let max = policy.databases.get(&replica.group).and_then(|g| g.replica_max_lag.as_ref());
        let Some(max) = max.map(Period::duration) else { continue };
        let (value, finding) = evaluate_replica(replica, max);
        lags.push((replica.group.as_str(), replica.id.as_str(), value));
        judged.findings.extend(finding.map(|f| f.in_group(&replica.group)));
    }
    for group in &seen.groups_without_replicas {
        let why = "the policy watches the lag of read replicas and there is none";
        let hint = "check that the replica exists, or take replica_max_lag out of the policy";
        let finding =
            Finding::new(Severity::Critical, group.to_string(), FindingCode::NoReplica, why, hint);
        judged.findings.push(finding.in_group(group));
        lags.push((group.as_str(), "", None));
    }
    if let Some((gap, groups)) = &seen.rds_error {
        judged.findings.push(gap.clone());
        lags.extend(groups.iter().map(|g| (g.as_str(), "", None)));
    }
    judged.values.extend(metrics::aggregate_max(Metric::ReplicaLag, lags.into_iter()));
}

/// A replica's lag as a value, and what is wrong with it.
fn evaluate_replica(replica: &ReplicaLag, max: SignedDuration) -> (Option<f64>, Option<Finding>) {
    let ReplicaLag { id, source_id: of, seconds, .. } = replica;
    let critical =
        |what, why: String, hint: &str| Some(Finding::new(Severity::Critical, id, what, why, hint));
    match seconds {
        Err(e) => (None, critical(FindingCode::ObservationFailed, e.to_string(), e.hint())),
        Ok(None) => {
            let why =
                format!("CloudWatch has no lag of it behind {of}: that it keeps up is not proven");
            (
                None,
                critical(
                    FindingCode::ReplicaLagUnknown,
                    why,
                    "look whether the replica runs and its replication is on",
                ),
            )
        }
        // RDS's word for replication that is not running.
        Ok(Some(seconds)) if *seconds < 0.0 => {
            let why = format!("its replication from {of} is not running");
            (
                None,
                critical(
                    FindingCode::ReplicaStopped,
                    why,
                    "see the replica's events; RDS says what stopped it",
                ),
            )
        }
        Ok(Some(seconds)) => {
            let lag = SignedDuration::try_from_secs_f64(*seconds).unwrap_or(SignedDuration::MAX);
            let finding = (lag > max).then(|| {
                let why =
                    format!("it is {seconds:.0} s behind {of}, {} s are allowed", max.as_secs());
                critical(
                    FindingCode::ReplicaLag,
                    why,
                    "look for long queries on the replica, or a burst of writes",
                )
            });
            (Some(*seconds), finding.flatten())
        }
    }
}

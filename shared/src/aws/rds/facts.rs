//! RDS's descriptions turned into facts.

use super::tags::tag_pairs;
use crate::catalog::{DatabaseKind, HoldfastTags, RdsDatabase, RecoveryPoint, RecoveryPointState};
use aws_sdk_rds::types::{DbCluster, DbClusterSnapshot, DbInstance, DbSnapshot, Tag};
use aws_smithy_types::DateTime;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// A time as RDS gives it, to the second.
pub(super) fn timestamp_from_sdk(at: &DateTime) -> Option<Timestamp> {
    Timestamp::from_second(at.secs()).ok()
}

fn tag_map(list: &[Tag]) -> BTreeMap<String, String> {
    tag_pairs(list).map(|(k, v)| (k.to_owned(), v.into_owned())).collect()
}

fn owned_or_empty(s: Option<&str>) -> String {
    s.unwrap_or_default().to_owned()
}

/// An instance of its own; members of clusters are backed up with their cluster.
pub(super) fn database_from_instance(i: &DbInstance) -> Option<RdsDatabase> {
    if i.db_cluster_identifier().is_some() {
        return None;
    }
    Some(RdsDatabase {
        id: i.db_instance_identifier()?.to_owned(),
        family: DatabaseKind::Instance,
        resource_id: owned_or_empty(i.dbi_resource_id()),
        engine: owned_or_empty(i.engine()),
        status: owned_or_empty(i.db_instance_status()),
        retention_days: i.backup_retention_period().unwrap_or(0),
        window: owned_or_empty(i.preferred_backup_window()),
        latest_restorable: i.latest_restorable_time().and_then(timestamp_from_sdk),
        earliest_restorable: None,
        created: i.instance_create_time().and_then(timestamp_from_sdk),
        multi_az: i.multi_az().unwrap_or(false),
        encrypted: i.storage_encrypted().unwrap_or(false),
        log_exports: i.enabled_cloudwatch_logs_exports().to_vec(),
        // A read replica may follow an instance or a Multi-AZ cluster.
        replica_of: i
            .read_replica_source_db_instance_identifier()
            .or(i.read_replica_source_db_cluster_identifier())
            .map(str::to_owned),
        tags: tag_map(i.tag_list()),
    })
}

/// An Aurora or Multi-AZ cluster. `DescribeDBClusters` also answers with `DocumentDB` and Neptune, which are not ours.
pub(super) fn database_from_cluster(c: &DbCluster) -> Option<RdsDatabase> {
    let engine = owned_or_empty(c.engine());
    if is_other_service(&engine) {
        return None;
    }
    Some(RdsDatabase {
        id: c.db_cluster_identifier()?.to_owned(),
        family: DatabaseKind::Cluster,
        resource_id: owned_or_empty(c.db_cluster_resource_id()),
        engine,
        status: owned_or_empty(c.status()),
        retention_days: c.backup_retention_period().unwrap_or(0),
        window: owned_or_empty(c.preferred_backup_window()),
        latest_restorable: c.latest_restorable_time().and_then(timestamp_from_sdk),
        earliest_restorable: c.earliest_restorable_time().and_then(timestamp_from_sdk),
        created: c.cluster_create_time().and_then(timestamp_from_sdk),
        multi_az: c.multi_az().unwrap_or(false),
        encrypted: c.storage_encrypted().unwrap_or(false),
        log_exports: c.enabled_cloudwatch_logs_exports().to_vec(),
        replica_of: c.replication_source_identifier().map(str::to_owned),
        tags: tag_map(c.tag_list()),
    })
}

/// Services that answer to RDS's cluster calls and are not RDS.
fn is_other_service(engine: &str) -> bool {
    matches!(engine, "docdb" | "neptune")
}

/// A snapshot's state from RDS's word for it.
fn state_from_status(status: Option<&str>) -> RecoveryPointState {
    match status.unwrap_or_default() {
        "available" => RecoveryPointState::Good,
        word @ ("failed"
        | "error"
        | "incompatible-restore"
        | "incompatible-parameters"
        | "deleted"
        | "deleting") => RecoveryPointState::Failed(word.to_owned()),
        // creating, copying, pending, queued, and whatever RDS may call it next: not there yet.
        _ => RecoveryPointState::InFlight,
    }
}

/// The resource id of a snapshot's database. RDS knows its own; what it says of a copy is of another region or account, so
/// there the maker's mark comes first.
fn resource_id(told: Option<&str>, marks: &HoldfastTags, is_copy: bool) -> String {
    let (told, marked) = (told.filter(|id| !id.is_empty()), marks.resource_id.as_deref());
    let found = if is_copy { marked.or(told) } else { told.or(marked) };
    owned_or_empty(found)
}

/// The honest age of a snapshot: the last transaction in it, else when the original was taken. `SnapshotCreateTime`
/// changes on copy, so it is believed only of a snapshot that is no copy.
pub(super) fn point_from_snapshot(s: &DbSnapshot) -> Option<RecoveryPoint> {
    let marks = HoldfastTags::from_tags(tag_pairs(s.tag_list()));
    let source = s.source_db_snapshot_identifier().filter(|s| !s.is_empty()).map(str::to_owned);
    let is_copy = source.is_some() || marks.copy_of.is_some();
    let state = state_from_status(s.status());
    let own = s.snapshot_create_time().filter(|_| !is_copy);
    let taken = s.snapshot_database_time().or(s.original_snapshot_create_time()).or(own);
    Some(RecoveryPoint {
        id: s.db_snapshot_identifier()?.to_owned(),
        arn: owned_or_empty(s.db_snapshot_arn()),
        database: owned_or_empty(s.db_instance_identifier()),
        resource_id: resource_id(s.dbi_resource_id(), &marks, is_copy),
        kind: DatabaseKind::Instance,
        automated: s.snapshot_type() == Some("automated"),
        data_time: taken.and_then(timestamp_from_sdk).filter(|_| state == RecoveryPointState::Good),
        started: s.snapshot_create_time().and_then(timestamp_from_sdk),
        state,
        size_gib: s.allocated_storage().unwrap_or(0),
        encrypted: s.encrypted().unwrap_or(false),
        kms_key: s.kms_key_id().map(str::to_owned),
        option_group: s.option_group_name().map(str::to_owned),
        source_arn: source,
        tags: marks,
    })
}

/// RDS tells no data time of cluster snapshots, so a copy's is the one that its maker wrote on it.
pub(super) fn point_from_cluster_snapshot(s: &DbClusterSnapshot) -> Option<RecoveryPoint> {
    if s.engine().is_some_and(is_other_service) {
        return None;
    }
    let marks = HoldfastTags::from_tags(tag_pairs(s.tag_list()));
    let source = s.source_db_cluster_snapshot_arn().filter(|s| !s.is_empty()).map(str::to_owned);
    let is_copy = source.is_some() || marks.copy_of.is_some();
    let state = state_from_status(s.status());
    let taken = if is_copy {
        marks.data_time
    } else {
        s.snapshot_create_time().and_then(timestamp_from_sdk)
    };
    Some(RecoveryPoint {
        id: s.db_cluster_snapshot_identifier()?.to_owned(),
        arn: owned_or_empty(s.db_cluster_snapshot_arn()),
        database: owned_or_empty(s.db_cluster_identifier()),
        resource_id: resource_id(s.db_cluster_resource_id(), &marks, is_copy),
        kind: DatabaseKind::Cluster,
        automated: s.snapshot_type() == Some("automated"),
        data_time: taken.filter(|_| state == RecoveryPointState::Good),
        started: s.snapshot_create_time().and_then(timestamp_from_sdk),
        state,
        size_gib: s.allocated_storage().unwrap_or(0),
        encrypted: s.storage_encrypted().unwrap_or(false),
        kms_key: s.kms_key_id().map(str::to_owned),
        option_group: None,
        source_arn: source,
        tags: marks,
    })
}

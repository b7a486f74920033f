//! The RDS edge: instances and clusters, their snapshots, and what may be done to them.
//!
//! A sweep is pages and nothing else: tags, keys and times come with Describe, so nothing is asked for again.

mod facts;
mod quota;
pub(crate) mod tags;

pub use quota::{ServiceQuota, SnapshotQuotas};

use super::OperationError;
use crate::{
    catalog::{
        DatabaseKind, Location, LocationInventory, ObservationError, RdsDatabase, RecoveryPoint,
    },
    plan::DeletionPermit,
};
use aws_sdk_rds::{
    Client,
    operation::{
        describe_db_cluster_snapshots::builders::DescribeDBClusterSnapshotsFluentBuilder,
        describe_db_clusters::DescribeDbClustersOutput,
        describe_db_instances::DescribeDbInstancesOutput,
        describe_db_snapshots::builders::DescribeDBSnapshotsFluentBuilder,
    },
    types::{DbClusterSnapshotAttributesResult, DbSnapshotAttributesResult, Filter},
};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// RDS in one region and account.
#[derive(Clone, Debug)]
pub struct RdsClient {
    client: Client,
    location: Location,
}

/// Everything that a new copy needs to be told.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct SnapshotCopyRequest {
    /// ARN of the source.
    pub source_arn: String,
    /// Identifier of the copy.
    pub id: String,
    /// Key that the copy is encrypted with; needed in another region and account.
    pub kms_key: Option<String>,
    /// Option group at the destination.
    pub option_group: Option<String>,
    /// Tags of the copy.
    pub tags: BTreeMap<String, String>,
}

/// A change to a database's automated-backup settings. A retention of 0 can't be said.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct BackupSettings {
    /// New retention in days.
    pub retention_days: Option<std::num::NonZeroU8>,
    /// New backup window.
    pub window: Option<String>,
    /// Log types to export besides those that are.
    pub log_exports: Vec<String>,
}

impl RdsClient {
    /// RDS behind this client.
    pub fn new(client: Client, place: Location) -> Self {
        Self { client, location: place }
    }

    /// Everything at this place: databases and recovery points.
    ///
    /// # Errors
    /// If any page of any list can't be read: half an answer would look like missing backups.
    pub async fn inventory(&self) -> Result<LocationInventory, OperationError> {
        let (instances, clusters, points) =
            futures_util::join!(self.list_instances(), self.list_clusters(), self.list_snapshots());
        let mut databases = instances?;
        databases.extend(clusters?);
        Ok(LocationInventory { databases, points: points? })
    }

    /// Recovery points at this place, automated and manual, instances' and clusters'.
    ///
    /// # Errors
    /// If any page can't be read.
    pub async fn list_snapshots(&self) -> Result<Vec<RecoveryPoint>, OperationError> {
        let (instances, clusters) = futures_util::join!(
            self.instance_pages(self.client.describe_db_snapshots()),
            self.cluster_pages(self.client.describe_db_cluster_snapshots()),
        );
        let mut points = instances?;
        points.extend(clusters?);
        Ok(points)
    }

    async fn list_instances(&self) -> Result<Vec<RdsDatabase>, OperationError> {
        let mut found = Vec::new();
        let mut pages = self.client.describe_db_instances().into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| self.operation_error("describe DB instances", &e))?;
            found.extend(page.db_instances().iter().filter_map(facts::database_from_instance));
        }
        Ok(found)
    }

    async fn list_clusters(&self) -> Result<Vec<RdsDatabase>, OperationError> {
        let mut found = Vec::new();
        let mut pages = self.client.describe_db_clusters().into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| self.operation_error("describe DB clusters", &e))?;
            found.extend(page.db_clusters().iter().filter_map(facts::database_from_cluster));
        }
        Ok(found)
    }

    /// Every page of a list of instances' snapshots.
    async fn instance_pages(
        &self,
        request: DescribeDBSnapshotsFluentBuilder,
    ) -> Result<Vec<RecoveryPoint>, OperationError> {
        let mut found = Vec::new();
        let mut pages = request.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| self.operation_error("describe DB snapshots", &e))?;
            found.extend(page.db_snapshots().iter().filter_map(facts::point_from_snapshot));
        }
        Ok(found)
    }

    /// Every page of a list of clusters' snapshots.
    async fn cluster_pages(
        &self,
        request: DescribeDBClusterSnapshotsFluentBuilder,
    ) -> Result<Vec<RecoveryPoint>, OperationError> {
        let mut found = Vec::new();
        let mut pages = request.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page =
                page.map_err(|e| self.operation_error("describe DB cluster snapshots", &e))?;
            found.extend(
                page.db_cluster_snapshots().iter().filter_map(facts::point_from_cluster_snapshot),
            );
        }
        Ok(found)
    }

    /// The earliest restorable time of every instance that has automated backups, by its resource id. RDS tells it with
    /// the automated backups and not with the instance; it is none while the first backup is being made.
    ///
    /// Automated backups that are replicated from another region are listed too. They are none of an instance here, even
    /// of one with the same name.
    ///
    /// # Errors
    /// If any page can't be read.
    pub async fn earliest_restorable(
        &self,
    ) -> Result<BTreeMap<String, Option<Timestamp>>, OperationError> {
        let mut found = BTreeMap::new();
        let mut pages =
            self.client.describe_db_instance_automated_backups().into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| self.operation_error("describe automated backups", &e))?;
            let here =
                |region: Option<&str>| region.is_none_or(|r| r == self.location.region.as_str());
            // Retained backups of deleted instances are listed too.
            let active = page
                .db_instance_automated_backups()
                .iter()
                .filter(|b| b.status() != Some("retained") && here(b.region()));
            for backup in active {
                let earliest = backup
                    .restore_window()
                    .and_then(|w| w.earliest_time())
                    .and_then(facts::timestamp_from_sdk);
                if let Some(id) = backup.dbi_resource_id() {
                    found.insert(id.to_owned(), earliest);
                }
            }
        }
        Ok(found)
    }

    /// The recovery point at this place with this ARN; none when there is none.
    ///
    /// # Errors
    /// If RDS can't be asked.
    pub async fn find_snapshot_by_arn(
        &self,
        arn: &str,
    ) -> Result<Option<RecoveryPoint>, OperationError> {
        // arn:aws:rds:region:account:snapshot:rds:orders-2026-11-20-02-00: the identifier itself may hold a colon.
        let mut parts = arn.splitn(7, ':').skip(3);
        let (Some(region), Some(_), Some(kind), Some(id)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(OperationError::from_message(
                format!("read {arn}"),
                "it is not the ARN of a snapshot",
            ));
        };
        let family =
            if kind == "cluster-snapshot" { DatabaseKind::Cluster } else { DatabaseKind::Instance };
        if region != self.location.region.as_str() {
            return Ok(None);
        }
        self.describe_snapshot(family, id).await
    }

    /// The database of a recovery point, if it is still there, and all of its points at this place: by its resource id,
    /// whatever its names were.
    ///
    /// # Errors
    /// If any page can't be read.
    pub async fn inventory_for_point(
        &self,
        point: &RecoveryPoint,
    ) -> Result<LocationInventory, OperationError> {
        let RecoveryPoint { kind: family, resource_id: id, database, .. } = point;
        let databases = match family {
            DatabaseKind::Instance => {
                let by = if id.is_empty() {
                    build_filter("db-instance-id", database)
                } else {
                    build_filter("dbi-resource-id", id)
                };
                let answer = self.client.describe_db_instances().filters(by).send().await;
                let answer = none_if_missing(
                    answer.map_err(|e| self.operation_error("describe DB instance", &e)),
                )?;
                // One that is gone is not there; its points may be.
                let found = answer.iter().flat_map(DescribeDbInstancesOutput::db_instances);
                found.filter_map(facts::database_from_instance).collect::<Vec<_>>()
            }
            DatabaseKind::Cluster => {
                let by = if id.is_empty() {
                    build_filter("db-cluster-id", database)
                } else {
                    build_filter("db-cluster-resource-id", id)
                };
                let answer = self.client.describe_db_clusters().filters(by).send().await;
                let answer = none_if_missing(
                    answer.map_err(|e| self.operation_error("describe DB cluster", &e)),
                )?;
                let found = answer.iter().flat_map(DescribeDbClustersOutput::db_clusters);
                found.filter_map(facts::database_from_cluster).collect()
            }
        };
        let points = match id.as_str() {
            "" => self.snapshots_by_name(*family, database).await?,
            id => self.snapshots_by_resource_id(*family, id).await?,
        };
        let mut fleet = LocationInventory { databases, points };
        // Who knows no filter answers with all.
        let one = LocationInventory { databases: fleet.databases.clone(), points: Vec::new() };
        let found = one.database_of(point).map(RdsDatabase::identity);
        fleet.databases.retain(|d| Some(d.identity()) == found);
        fleet.points.retain(|p| p.identity() == point.identity());
        Ok(fleet)
    }

    /// The recovery points at this place of a database by its resource id.
    async fn snapshots_by_resource_id(
        &self,
        family: DatabaseKind,
        id: &str,
    ) -> Result<Vec<RecoveryPoint>, OperationError> {
        match family {
            DatabaseKind::Instance => {
                self.instance_pages(self.client.describe_db_snapshots().dbi_resource_id(id)).await
            }
            DatabaseKind::Cluster => {
                let request = self.client.describe_db_cluster_snapshots();
                self.cluster_pages(request.db_cluster_resource_id(id)).await
            }
        }
    }

    /// The recovery points at this place whose database had this name.
    ///
    /// # Errors
    /// If any page can't be read.
    pub async fn snapshots_by_name(
        &self,
        family: DatabaseKind,
        name: &str,
    ) -> Result<Vec<RecoveryPoint>, OperationError> {
        match family {
            DatabaseKind::Instance => {
                let request = self.client.describe_db_snapshots();
                self.instance_pages(request.db_instance_identifier(name)).await
            }
            DatabaseKind::Cluster => {
                let request = self.client.describe_db_cluster_snapshots();
                self.cluster_pages(request.db_cluster_identifier(name)).await
            }
        }
    }

    /// One recovery point by its identifier; none when there is no such point.
    ///
    /// # Errors
    /// If RDS can't be asked.
    pub async fn describe_snapshot(
        &self,
        family: DatabaseKind,
        id: &str,
    ) -> Result<Option<RecoveryPoint>, OperationError> {
        let doing = || format!("describe snapshot {id}");
        // RDS wants the type of a snapshot that it took itself named with its identifier.
        let automated = id.starts_with("rds:").then(|| "automated".to_owned());
        let found = match family {
            DatabaseKind::Instance => {
                let request = self.client.describe_db_snapshots().db_snapshot_identifier(id);
                let answer = request.set_snapshot_type(automated).send().await;
                answer
                    .map(|page| page.db_snapshots().iter().find_map(facts::point_from_snapshot))
                    .map_err(|e| OperationError::from_sdk_error(doing(), &e))
            }
            DatabaseKind::Cluster => {
                let request = self.client.describe_db_cluster_snapshots();
                let request = request.db_cluster_snapshot_identifier(id);
                let answer = request.set_snapshot_type(automated).send().await;
                answer
                    .map(|page| {
                        page.db_cluster_snapshots()
                            .iter()
                            .find_map(facts::point_from_cluster_snapshot)
                    })
                    .map_err(|e| OperationError::from_sdk_error(doing(), &e))
            }
        };
        Ok(none_if_missing(found)?.flatten())
    }

    /// Starts a snapshot. `tags` are all of its tags: any tag given switches RDS's own copying of tags off.
    ///
    /// # Errors
    /// [`OperationErrorKind::Exists`](super::OperationErrorKind::Exists) when the identifier is taken, [`OperationErrorKind::Busy`](super::OperationErrorKind::Busy) when the
    /// database can't be snapshotted now, [`OperationErrorKind::Quota`](super::OperationErrorKind::Quota) when there are too many.
    pub async fn create_snapshot(
        &self,
        family: DatabaseKind,
        database: &str,
        id: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), OperationError> {
        let doing = || format!("create snapshot {id}");
        match family {
            DatabaseKind::Instance => {
                let request = self.client.create_db_snapshot().db_instance_identifier(database);
                let request = request.db_snapshot_identifier(id).set_tags(Some(tags::to_sdk(tags)));
                request.send().await.map_err(|e| OperationError::from_sdk_error(doing(), &e))?;
            }
            DatabaseKind::Cluster => {
                let request =
                    self.client.create_db_cluster_snapshot().db_cluster_identifier(database);
                let request =
                    request.db_cluster_snapshot_identifier(id).set_tags(Some(tags::to_sdk(tags)));
                request.send().await.map_err(|e| OperationError::from_sdk_error(doing(), &e))?;
            }
        }
        Ok(())
    }

    /// Starts a copy into this place, in a single step from whichever region and account the source is in. RDS finds the
    /// source by its ARN; the presigned URL of older guides counts in `GovCloud` only, which Holdfast does not support.
    ///
    /// # Errors
    /// As RDS refuses it.
    pub async fn copy_snapshot(
        &self,
        family: DatabaseKind,
        copy: &SnapshotCopyRequest,
    ) -> Result<(), OperationError> {
        let doing = || format!("copy {} to {}", copy.source_arn, self.location);
        match family {
            DatabaseKind::Instance => {
                let request = self.client.copy_db_snapshot();
                let request = request.source_db_snapshot_identifier(&copy.source_arn);
                let request = request.target_db_snapshot_identifier(&copy.id);
                let request = request.set_kms_key_id(copy.kms_key.clone());
                let request = request.set_option_group_name(copy.option_group.clone());
                let request = request.set_tags(Some(tags::to_sdk(&copy.tags)));
                request.send().await.map_err(|e| OperationError::from_sdk_error(doing(), &e))?;
            }
            DatabaseKind::Cluster => {
                let request = self.client.copy_db_cluster_snapshot();
                let request = request.source_db_cluster_snapshot_identifier(&copy.source_arn);
                let request = request.target_db_cluster_snapshot_identifier(&copy.id);
                let request = request.set_kms_key_id(copy.kms_key.clone());
                let request = request.set_tags(Some(tags::to_sdk(&copy.tags)));
                request.send().await.map_err(|e| OperationError::from_sdk_error(doing(), &e))?;
            }
        }
        Ok(())
    }

    /// Accounts that a manual snapshot is shared with.
    ///
    /// # Errors
    /// If RDS can't be asked.
    pub async fn shared_with(
        &self,
        family: DatabaseKind,
        id: &str,
    ) -> Result<BTreeSet<String>, OperationError> {
        let doing = || format!("describe sharing of {id}");
        let accounts: Vec<String> = match family {
            DatabaseKind::Instance => {
                let request =
                    self.client.describe_db_snapshot_attributes().db_snapshot_identifier(id);
                let answer = request
                    .send()
                    .await
                    .map_err(|e| OperationError::from_sdk_error(doing(), &e))?;
                let attributes = answer.db_snapshot_attributes_result();
                let attributes = attributes
                    .map(DbSnapshotAttributesResult::db_snapshot_attributes)
                    .unwrap_or_default();
                let restore = attributes.iter().filter(|a| a.attribute_name() == Some("restore"));
                restore.flat_map(|a| a.attribute_values().to_vec()).collect()
            }
            DatabaseKind::Cluster => {
                let request = self.client.describe_db_cluster_snapshot_attributes();
                let request = request.db_cluster_snapshot_identifier(id);
                let answer = request
                    .send()
                    .await
                    .map_err(|e| OperationError::from_sdk_error(doing(), &e))?;
                let attributes = answer.db_cluster_snapshot_attributes_result();
                let attributes = attributes
                    .map(DbClusterSnapshotAttributesResult::db_cluster_snapshot_attributes)
                    .unwrap_or_default();
                let restore = attributes.iter().filter(|a| a.attribute_name() == Some("restore"));
                restore.flat_map(|a| a.attribute_values().to_vec()).collect()
            }
        };
        Ok(accounts.into_iter().collect())
    }

    /// Lets an account copy a manual snapshot.
    ///
    /// # Errors
    /// As RDS refuses it, for one that is under `aws/rds`.
    pub async fn share_snapshot(
        &self,
        family: DatabaseKind,
        id: &str,
        account: &str,
    ) -> Result<(), OperationError> {
        let doing = || format!("share {id} with {account}");
        match family {
            DatabaseKind::Instance => {
                let request = self.client.modify_db_snapshot_attribute().db_snapshot_identifier(id);
                let request = request.attribute_name("restore").values_to_add(account);
                request.send().await.map_err(|e| OperationError::from_sdk_error(doing(), &e))?;
            }
            DatabaseKind::Cluster => {
                let request = self.client.modify_db_cluster_snapshot_attribute();
                let request = request.db_cluster_snapshot_identifier(id);
                let request = request.attribute_name("restore").values_to_add(account);
                request.send().await.map_err(|e| OperationError::from_sdk_error(doing(), &e))?;
            }
        }
        Ok(())
    }

    /// Deletes a recovery point that was cleared for it. One that is gone already is deleted.
    ///
    /// # Errors
    /// As RDS refuses it.
    pub async fn delete_snapshot(
        &self,
        cleared: &DeletionPermit<RecoveryPoint>,
    ) -> Result<(), OperationError> {
        let point = cleared.point();
        let doing = || format!("delete snapshot {}", point.id);
        let done = match point.kind {
            DatabaseKind::Instance => {
                let request = self.client.delete_db_snapshot().db_snapshot_identifier(&point.id);
                request
                    .send()
                    .await
                    .map(drop)
                    .map_err(|e| OperationError::from_sdk_error(doing(), &e))
            }
            DatabaseKind::Cluster => {
                let request = self.client.delete_db_cluster_snapshot();
                let request = request.db_cluster_snapshot_identifier(&point.id);
                request
                    .send()
                    .await
                    .map(drop)
                    .map_err(|e| OperationError::from_sdk_error(doing(), &e))
            }
        };
        none_if_missing(done).map(drop)
    }

    /// Changes automated-backup settings at once.
    ///
    /// # Errors
    /// As RDS refuses it.
    pub async fn modify_backup_settings(
        &self,
        family: DatabaseKind,
        database: &str,
        settings: &BackupSettings,
    ) -> Result<(), OperationError> {
        let doing = || format!("change backup settings of {database}");
        let days = settings.retention_days.map(|d| i32::from(d.get()));
        let logs = (!settings.log_exports.is_empty()).then(|| {
            let logs = aws_sdk_rds::types::CloudwatchLogsExportConfiguration::builder();
            logs.set_enable_log_types(Some(settings.log_exports.clone())).build()
        });
        match family {
            DatabaseKind::Instance => {
                let request = self.client.modify_db_instance().db_instance_identifier(database);
                let request = request.set_backup_retention_period(days);
                let request = request.set_preferred_backup_window(settings.window.clone());
                let request =
                    request.set_cloudwatch_logs_export_configuration(logs).apply_immediately(true);
                request.send().await.map_err(|e| OperationError::from_sdk_error(doing(), &e))?;
            }
            DatabaseKind::Cluster => {
                let request = self.client.modify_db_cluster().db_cluster_identifier(database);
                let request = request.set_backup_retention_period(days);
                let request = request.set_preferred_backup_window(settings.window.clone());
                let request =
                    request.set_cloudwatch_logs_export_configuration(logs).apply_immediately(true);
                request.send().await.map_err(|e| OperationError::from_sdk_error(doing(), &e))?;
            }
        }
        Ok(())
    }

    /// The place as a gap, when `e` kept it from being seen.
    pub fn to_observation_error(&self, e: &OperationError) -> ObservationError {
        e.to_observation_error(&self.location)
    }

    fn operation_error<E, R>(
        &self,
        doing: &str,
        e: &aws_sdk_rds::error::SdkError<E, R>,
    ) -> OperationError
    where
        E: aws_smithy_types::error::metadata::ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        OperationError::from_sdk_error(format!("{doing} in {}", self.location), e)
    }
}

/// What is not there is none.
fn none_if_missing<T>(answer: Result<T, OperationError>) -> Result<Option<T>, OperationError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.kind == super::OperationErrorKind::Missing => Ok(None),
        Err(e) => Err(e),
    }
}

fn build_filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

#[cfg(test)]
mod tests;

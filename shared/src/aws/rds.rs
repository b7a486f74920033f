//! The RDS edge: instances and clusters, their snapshots, and what may be done to them.
//!
//! A sweep is pages and nothing else: tags, keys and times come with Describe, so nothing is asked for again.

mod facts;
mod quota;
pub(crate) mod tags;

pub use quota::{Quota, Quotas};

use super::EdgeError;
use crate::{
    catalog::{Database, Family, Fleet, Gap, Place, Point},
    plan::Cleared,
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
pub struct Rds {
    client: Client,
    place: Place,
}

/// Everything that a new copy needs to be told.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Copy {
    /// ARN of the source.
    pub source: String,
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

impl Rds {
    /// RDS behind this client.
    pub fn new(client: Client, place: Place) -> Self {
        Self { client, place }
    }

    /// Everything at this place: databases and recovery points.
    ///
    /// # Errors
    /// If any page of any list can't be read: half an answer would look like missing backups.
    pub async fn fleet(&self) -> Result<Fleet, EdgeError> {
        let (instances, clusters, points) =
            futures_util::join!(self.instances(), self.clusters(), self.points());
        let mut databases = instances?;
        databases.extend(clusters?);
        Ok(Fleet { databases, points: points? })
    }

    /// Recovery points at this place, automated and manual, instances' and clusters'.
    ///
    /// # Errors
    /// If any page can't be read.
    pub async fn points(&self) -> Result<Vec<Point>, EdgeError> {
        let (instances, clusters) = futures_util::join!(
            self.instance_pages(self.client.describe_db_snapshots()),
            self.cluster_pages(self.client.describe_db_cluster_snapshots()),
        );
        let mut points = instances?;
        points.extend(clusters?);
        Ok(points)
    }

    async fn instances(&self) -> Result<Vec<Database>, EdgeError> {
        let mut found = Vec::new();
        let mut pages = self.client.describe_db_instances().into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| self.error("describe DB instances", &e))?;
            found.extend(page.db_instances().iter().filter_map(facts::instance));
        }
        Ok(found)
    }

    async fn clusters(&self) -> Result<Vec<Database>, EdgeError> {
        let mut found = Vec::new();
        let mut pages = self.client.describe_db_clusters().into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| self.error("describe DB clusters", &e))?;
            found.extend(page.db_clusters().iter().filter_map(facts::cluster));
        }
        Ok(found)
    }

    /// Every page of a list of instances' snapshots.
    async fn instance_pages(
        &self,
        request: DescribeDBSnapshotsFluentBuilder,
    ) -> Result<Vec<Point>, EdgeError> {
        let mut found = Vec::new();
        let mut pages = request.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| self.error("describe DB snapshots", &e))?;
            found.extend(page.db_snapshots().iter().filter_map(facts::snapshot));
        }
        Ok(found)
    }

    /// Every page of a list of clusters' snapshots.
    async fn cluster_pages(
        &self,
        request: DescribeDBClusterSnapshotsFluentBuilder,
    ) -> Result<Vec<Point>, EdgeError> {
        let mut found = Vec::new();
        let mut pages = request.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| self.error("describe DB cluster snapshots", &e))?;
            found.extend(page.db_cluster_snapshots().iter().filter_map(facts::cluster_snapshot));
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
    ) -> Result<BTreeMap<String, Option<Timestamp>>, EdgeError> {
        let mut found = BTreeMap::new();
        let mut pages =
            self.client.describe_db_instance_automated_backups().into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| self.error("describe automated backups", &e))?;
            let here =
                |region: Option<&str>| region.is_none_or(|r| r == self.place.region.as_str());
            // Retained backups of deleted instances are listed too.
            let active = page
                .db_instance_automated_backups()
                .iter()
                .filter(|b| b.status() != Some("retained") && here(b.region()));
            for backup in active {
                let earliest =
                    backup.restore_window().and_then(|w| w.earliest_time()).and_then(facts::time);
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
    pub async fn point_at(&self, arn: &str) -> Result<Option<Point>, EdgeError> {
        // arn:aws:rds:region:account:snapshot:rds:orders-2026-11-20-02-00: the identifier itself may hold a colon.
        let mut parts = arn.splitn(7, ':').skip(3);
        let (Some(region), Some(_), Some(kind), Some(id)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(EdgeError::refused(
                format!("read {arn}"),
                "it is not the ARN of a snapshot",
            ));
        };
        let family = if kind == "cluster-snapshot" { Family::Cluster } else { Family::Instance };
        if region != self.place.region.as_str() {
            return Ok(None);
        }
        self.point(family, id).await
    }

    /// The database of a recovery point, if it is still there, and all of its points at this place: by its resource id,
    /// whatever its names were.
    ///
    /// # Errors
    /// If any page can't be read.
    pub async fn fleet_of(&self, point: &Point) -> Result<Fleet, EdgeError> {
        let Point { family, resource_id: id, database, .. } = point;
        let databases = match family {
            Family::Instance => {
                let by = if id.is_empty() {
                    filter("db-instance-id", database)
                } else {
                    filter("dbi-resource-id", id)
                };
                let answer = self.client.describe_db_instances().filters(by).send().await;
                let answer = there(answer.map_err(|e| self.error("describe DB instance", &e)))?;
                // One that is gone is not there; its points may be.
                let found = answer.iter().flat_map(DescribeDbInstancesOutput::db_instances);
                found.filter_map(facts::instance).collect::<Vec<_>>()
            }
            Family::Cluster => {
                let by = if id.is_empty() {
                    filter("db-cluster-id", database)
                } else {
                    filter("db-cluster-resource-id", id)
                };
                let answer = self.client.describe_db_clusters().filters(by).send().await;
                let answer = there(answer.map_err(|e| self.error("describe DB cluster", &e)))?;
                let found = answer.iter().flat_map(DescribeDbClustersOutput::db_clusters);
                found.filter_map(facts::cluster).collect()
            }
        };
        let points = match id.as_str() {
            "" => self.points_named(*family, database).await?,
            id => self.points_of(*family, id).await?,
        };
        let mut fleet = Fleet { databases, points };
        // Who knows no filter answers with all.
        let one = Fleet { databases: fleet.databases.clone(), points: Vec::new() };
        let found = one.database_of(point).map(Database::lineage);
        fleet.databases.retain(|d| Some(d.lineage()) == found);
        fleet.points.retain(|p| p.lineage() == point.lineage());
        Ok(fleet)
    }

    /// The recovery points at this place of a database by its resource id.
    async fn points_of(&self, family: Family, id: &str) -> Result<Vec<Point>, EdgeError> {
        match family {
            Family::Instance => {
                self.instance_pages(self.client.describe_db_snapshots().dbi_resource_id(id)).await
            }
            Family::Cluster => {
                let request = self.client.describe_db_cluster_snapshots();
                self.cluster_pages(request.db_cluster_resource_id(id)).await
            }
        }
    }

    /// The recovery points at this place whose database had this name.
    ///
    /// # Errors
    /// If any page can't be read.
    pub async fn points_named(&self, family: Family, name: &str) -> Result<Vec<Point>, EdgeError> {
        match family {
            Family::Instance => {
                let request = self.client.describe_db_snapshots();
                self.instance_pages(request.db_instance_identifier(name)).await
            }
            Family::Cluster => {
                let request = self.client.describe_db_cluster_snapshots();
                self.cluster_pages(request.db_cluster_identifier(name)).await
            }
        }
    }

    /// One recovery point by its identifier; none when there is no such point.
    ///
    /// # Errors
    /// If RDS can't be asked.
    pub async fn point(&self, family: Family, id: &str) -> Result<Option<Point>, EdgeError> {
        let doing = || format!("describe snapshot {id}");
        // RDS wants the type of a snapshot that it took itself named with its identifier.
        let automated = id.starts_with("rds:").then(|| "automated".to_owned());
        let found = match family {
            Family::Instance => {
                let request = self.client.describe_db_snapshots().db_snapshot_identifier(id);
                let answer = request.set_snapshot_type(automated).send().await;
                answer
                    .map(|page| page.db_snapshots().iter().find_map(facts::snapshot))
                    .map_err(|e| EdgeError::new(doing(), &e))
            }
            Family::Cluster => {
                let request = self.client.describe_db_cluster_snapshots();
                let request = request.db_cluster_snapshot_identifier(id);
                let answer = request.set_snapshot_type(automated).send().await;
                answer
                    .map(|page| {
                        page.db_cluster_snapshots().iter().find_map(facts::cluster_snapshot)
                    })
                    .map_err(|e| EdgeError::new(doing(), &e))
            }
        };
        Ok(there(found)?.flatten())
    }

    /// Starts a snapshot. `tags` are all of its tags: any tag given switches RDS's own copying of tags off.
    ///
    /// # Errors
    /// [`Kind::Exists`](super::Kind::Exists) when the identifier is taken, [`Kind::Busy`](super::Kind::Busy) when the
    /// database can't be snapshotted now, [`Kind::Quota`](super::Kind::Quota) when there are too many.
    pub async fn take(
        &self,
        family: Family,
        database: &str,
        id: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), EdgeError> {
        let doing = || format!("create snapshot {id}");
        match family {
            Family::Instance => {
                let request = self.client.create_db_snapshot().db_instance_identifier(database);
                let request = request.db_snapshot_identifier(id).set_tags(Some(tags::to_sdk(tags)));
                request.send().await.map_err(|e| EdgeError::new(doing(), &e))?;
            }
            Family::Cluster => {
                let request =
                    self.client.create_db_cluster_snapshot().db_cluster_identifier(database);
                let request =
                    request.db_cluster_snapshot_identifier(id).set_tags(Some(tags::to_sdk(tags)));
                request.send().await.map_err(|e| EdgeError::new(doing(), &e))?;
            }
        }
        Ok(())
    }

    /// Starts a copy into this place, in a single step from whichever region and account the source is in. RDS finds the
    /// source by its ARN; the presigned URL of older guides counts in `GovCloud` only, which Holdfast does not support.
    ///
    /// # Errors
    /// As RDS refuses it.
    pub async fn copy(&self, family: Family, copy: &Copy) -> Result<(), EdgeError> {
        let doing = || format!("copy {} to {}", copy.source, self.place);
        match family {
            Family::Instance => {
                let request = self.client.copy_db_snapshot();
                let request = request.source_db_snapshot_identifier(&copy.source);
                let request = request.target_db_snapshot_identifier(&copy.id);
                let request = request.set_kms_key_id(copy.kms_key.clone());
                let request = request.set_option_group_name(copy.option_group.clone());
                let request = request.set_tags(Some(tags::to_sdk(&copy.tags)));
                request.send().await.map_err(|e| EdgeError::new(doing(), &e))?;
            }
            Family::Cluster => {
                let request = self.client.copy_db_cluster_snapshot();
                let request = request.source_db_cluster_snapshot_identifier(&copy.source);
                let request = request.target_db_cluster_snapshot_identifier(&copy.id);
                let request = request.set_kms_key_id(copy.kms_key.clone());
                let request = request.set_tags(Some(tags::to_sdk(&copy.tags)));
                request.send().await.map_err(|e| EdgeError::new(doing(), &e))?;
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
        family: Family,
        id: &str,
    ) -> Result<BTreeSet<String>, EdgeError> {
        let doing = || format!("describe sharing of {id}");
        let accounts: Vec<String> = match family {
            Family::Instance => {
                let request =
                    self.client.describe_db_snapshot_attributes().db_snapshot_identifier(id);
                let answer = request.send().await.map_err(|e| EdgeError::new(doing(), &e))?;
                let attributes = answer.db_snapshot_attributes_result();
                let attributes = attributes
                    .map(DbSnapshotAttributesResult::db_snapshot_attributes)
                    .unwrap_or_default();
                let restore = attributes.iter().filter(|a| a.attribute_name() == Some("restore"));
                restore.flat_map(|a| a.attribute_values().to_vec()).collect()
            }
            Family::Cluster => {
                let request = self.client.describe_db_cluster_snapshot_attributes();
                let request = request.db_cluster_snapshot_identifier(id);
                let answer = request.send().await.map_err(|e| EdgeError::new(doing(), &e))?;
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
    pub async fn share(&self, family: Family, id: &str, account: &str) -> Result<(), EdgeError> {
        let doing = || format!("share {id} with {account}");
        match family {
            Family::Instance => {
                let request = self.client.modify_db_snapshot_attribute().db_snapshot_identifier(id);
                let request = request.attribute_name("restore").values_to_add(account);
                request.send().await.map_err(|e| EdgeError::new(doing(), &e))?;
            }
            Family::Cluster => {
                let request = self.client.modify_db_cluster_snapshot_attribute();
                let request = request.db_cluster_snapshot_identifier(id);
                let request = request.attribute_name("restore").values_to_add(account);
                request.send().await.map_err(|e| EdgeError::new(doing(), &e))?;
            }
        }
        Ok(())
    }

    /// Deletes a recovery point that was cleared for it. One that is gone already is deleted.
    ///
    /// # Errors
    /// As RDS refuses it.
    pub async fn delete(&self, cleared: &Cleared<Point>) -> Result<(), EdgeError> {
        let point = cleared.point();
        let doing = || format!("delete snapshot {}", point.id);
        let done = match point.family {
            Family::Instance => {
                let request = self.client.delete_db_snapshot().db_snapshot_identifier(&point.id);
                request.send().await.map(drop).map_err(|e| EdgeError::new(doing(), &e))
            }
            Family::Cluster => {
                let request = self.client.delete_db_cluster_snapshot();
                let request = request.db_cluster_snapshot_identifier(&point.id);
                request.send().await.map(drop).map_err(|e| EdgeError::new(doing(), &e))
            }
        };
        there(done).map(drop)
    }

    /// Changes automated-backup settings at once.
    ///
    /// # Errors
    /// As RDS refuses it.
    pub async fn set_backups(
        &self,
        family: Family,
        database: &str,
        settings: &BackupSettings,
    ) -> Result<(), EdgeError> {
        let doing = || format!("change backup settings of {database}");
        let days = settings.retention_days.map(|d| i32::from(d.get()));
        let logs = (!settings.log_exports.is_empty()).then(|| {
            let logs = aws_sdk_rds::types::CloudwatchLogsExportConfiguration::builder();
            logs.set_enable_log_types(Some(settings.log_exports.clone())).build()
        });
        match family {
            Family::Instance => {
                let request = self.client.modify_db_instance().db_instance_identifier(database);
                let request = request.set_backup_retention_period(days);
                let request = request.set_preferred_backup_window(settings.window.clone());
                let request =
                    request.set_cloudwatch_logs_export_configuration(logs).apply_immediately(true);
                request.send().await.map_err(|e| EdgeError::new(doing(), &e))?;
            }
            Family::Cluster => {
                let request = self.client.modify_db_cluster().db_cluster_identifier(database);
                let request = request.set_backup_retention_period(days);
                let request = request.set_preferred_backup_window(settings.window.clone());
                let request =
                    request.set_cloudwatch_logs_export_configuration(logs).apply_immediately(true);
                request.send().await.map_err(|e| EdgeError::new(doing(), &e))?;
            }
        }
        Ok(())
    }

    /// The place as a gap, when `e` kept it from being seen.
    pub fn gap(&self, e: &EdgeError) -> Gap {
        e.gap(&self.place)
    }

    fn error<E, R>(&self, doing: &str, e: &aws_sdk_rds::error::SdkError<E, R>) -> EdgeError
    where
        E: aws_smithy_types::error::metadata::ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        EdgeError::new(format!("{doing} in {}", self.place), e)
    }
}

/// What is not there is none.
fn there<T>(answer: Result<T, EdgeError>) -> Result<Option<T>, EdgeError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.kind == super::Kind::Missing => Ok(None),
        Err(e) => Err(e),
    }
}

fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

#[cfg(test)]
mod tests;

//! What Secrets Manager tells of secrets without reading a value.

use super::SecretsManagerClient;
use crate::aws::OperationError;
use aws_sdk_secretsmanager::{
    primitives::DateTime,
    types::{Filter, FilterNameStringType, SecretListEntry, SecretVersionsListEntry},
};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Label of the version in use.
pub const CURRENT: &str = "AWSCURRENT";
/// Label of the version before it.
pub const PREVIOUS: &str = "AWSPREVIOUS";
/// Label of a version that a rotation is making.
pub const PENDING: &str = "AWSPENDING";

/// Secrets in one answer: `ListSecrets` gives 100 at most.
const PAGE_SIZE: i32 = 100;

/// A secret as a listing shows it; no value is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretState {
    /// Its name.
    pub name: String,
    /// Its description, which may be empty.
    pub description: String,
    /// Its KMS key; none is `aws/secretsmanager`.
    pub kms_key: Option<String>,
    /// Labels of each version that has one, by the version's id.
    pub versions: BTreeMap<String, Vec<String>>,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// When anything of it changed, tags too: never later is any version's creation.
    pub changed: Option<Timestamp>,
    /// When a rotation of it last ended well.
    pub rotated: Option<Timestamp>,
    /// Whether it is rotated automatically.
    pub rotates: bool,
    /// When the next automatic rotation is due.
    pub next_rotation: Option<Timestamp>,
    /// Since when it is scheduled for deletion.
    pub deleted: Option<Timestamp>,
    /// The AWS service that owns it, which alone may write it.
    pub owning_service: Option<String>,
    /// Its primary region, where it has replicas.
    pub primary_region: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl SecretState {
    /// The version that has a label.
    pub fn version_with(&self, label: &str) -> Option<&str> {
        let found = self.versions.iter().find(|(_, labels)| labels.iter().any(|l| l == label));
        found.map(|(id, _)| id.as_str())
    }

    /// The ids of the versions that have a value for certain: all with a label but one that a rotation is still making.
    pub fn complete_versions(&self) -> impl Iterator<Item = (&String, &Vec<String>)> {
        self.versions.iter().filter(|(_, labels)| labels.iter().any(|l| l != PENDING))
    }
}

impl SecretsManagerClient {
    /// Every secret whose name begins with `prefix`, those scheduled for deletion too; one call for each 100.
    ///
    /// # Errors
    /// If the list cannot be read to its end.
    pub async fn list_secrets(&self, prefix: &str) -> Result<Vec<SecretState>, OperationError> {
        let filter =
            Filter::builder().key(FilterNameStringType::Name).values(prefix.to_owned()).build();
        let request = self.0.list_secrets().filters(filter).include_planned_deletion(true);
        // Pages may be empty and not the last.
        let mut pages = request.max_results(PAGE_SIZE).into_paginator().send();
        let mut all = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| {
                OperationError::from_sdk_error(format!("list secrets {prefix}*"), &e)
            })?;
            // What is not a prefix of a name elsewhere is matched by words.
            let states = page.secret_list().iter().map(SecretState::from_entry);
            all.extend(states.filter(|s| s.name.starts_with(prefix)));
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// One secret; a list may lack its newest change for five minutes.
    ///
    /// # Errors
    /// If it cannot be read, or is not there.
    pub async fn describe_secret(&self, name: &str) -> Result<SecretState, OperationError> {
        let answer = self.0.describe_secret().secret_id(name).send().await;
        let d = answer
            .map_err(|e| OperationError::from_sdk_error(format!("describe secret {name}"), &e))?;
        Ok(SecretState {
            name: d.name().unwrap_or(name).to_owned(),
            description: d.description().unwrap_or_default().to_owned(),
            kms_key: d.kms_key_id().map(str::to_owned),
            versions: d
                .version_ids_to_stages()
                .map(|v| v.iter().map(|(id, l)| (id.clone(), l.clone())).collect())
                .unwrap_or_default(),
            created: timestamp(d.created_date()),
            changed: timestamp(d.last_changed_date()),
            rotated: timestamp(d.last_rotated_date()),
            rotates: d.rotation_enabled() == Some(true),
            next_rotation: timestamp(d.next_rotation_date()),
            deleted: timestamp(d.deleted_date()),
            owning_service: d.owning_service().map(str::to_owned),
            primary_region: d.primary_region().map(str::to_owned),
            tags: tags_of(d.tags()),
        })
    }

    /// When each labelled version of a secret was created; no value is read.
    ///
    /// # Errors
    /// If the list cannot be read to its end.
    pub async fn version_dates(
        &self,
        name: &str,
    ) -> Result<BTreeMap<String, Timestamp>, OperationError> {
        let mut pages = self.0.list_secret_version_ids().secret_id(name).into_paginator().send();
        let mut all = BTreeMap::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| {
                OperationError::from_sdk_error(format!("list versions of secret {name}"), &e)
            })?;
            let date = |v: &SecretVersionsListEntry| {
                Some((v.version_id()?.to_owned(), timestamp(v.created_date())?))
            };
            all.extend(page.versions().iter().filter_map(date));
        }
        Ok(all)
    }
}

impl SecretState {
    fn from_entry(e: &SecretListEntry) -> Self {
        Self {
            name: e.name().unwrap_or_default().to_owned(),
            description: e.description().unwrap_or_default().to_owned(),
            kms_key: e.kms_key_id().map(str::to_owned),
            versions: e
                .secret_versions_to_stages()
                .map(|v| v.iter().map(|(id, l)| (id.clone(), l.clone())).collect())
                .unwrap_or_default(),
            created: timestamp(e.created_date()),
            changed: timestamp(e.last_changed_date()),
            rotated: timestamp(e.last_rotated_date()),
            rotates: e.rotation_enabled() == Some(true),
            next_rotation: timestamp(e.next_rotation_date()),
            deleted: timestamp(e.deleted_date()),
            owning_service: e.owning_service().map(str::to_owned),
            primary_region: e.primary_region().map(str::to_owned),
            tags: tags_of(e.tags()),
        }
    }
}

fn tags_of(tags: &[aws_sdk_secretsmanager::types::Tag]) -> BTreeMap<String, String> {
    let pair = |t: &aws_sdk_secretsmanager::types::Tag| {
        Some((t.key()?.to_owned(), t.value().unwrap_or_default().to_owned()))
    };
    tags.iter().filter_map(pair).collect()
}

pub(super) fn timestamp(at: Option<&DateTime>) -> Option<Timestamp> {
    at.and_then(|at| Timestamp::new(at.secs(), 0).ok())
}

#[cfg(test)]
mod tests;

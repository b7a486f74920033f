//! Exported and live versions compared: by their ids, and with an identity by their values. No value is shown.

use crate::{plan::ObservedGroup, restore::open_export};
use codec::DecryptionKeys;
use jiff::Timestamp;
use serde::Serialize;
use shared::{aws::secrets::SecretsManagerClient, plan::Severity};
use std::collections::BTreeSet;
use storage::BackupStore;

/// How a version stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VersionMatch {
    /// Exported, and both have the same value.
    Equal,
    /// Exported, and live; the values were not compared.
    Exported,
    /// Exported, and no longer live.
    ExportOnly,
    /// Live, and not exported.
    NotExported,
    /// Exported, and it could not be compared.
    Unknown,
    /// Exported, and the live one has another value.
    Differs,
}

impl VersionMatch {
    /// How bad it is.
    pub fn severity(self) -> Option<Severity> {
        match self {
            Self::Equal | Self::Exported | Self::ExportOnly => None,
            Self::NotExported | Self::Unknown | Self::Differs => Some(Severity::Critical),
        }
    }

    /// As it is shown.
    pub fn label(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Exported => "exported",
            Self::ExportOnly => "only exported",
            Self::NotExported => "NOT EXPORTED",
            Self::Unknown => "UNKNOWN",
            Self::Differs => "DIFFERS",
        }
    }
}

/// A version on either side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VersionDiff {
    /// The secret's name.
    pub name: String,
    /// The version's id.
    pub version: String,
    /// Its labels now.
    pub labels: Vec<String>,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// How it stands.
    pub result: VersionMatch,
    /// Why it could not be compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Compares a group's versions by their ids.
pub fn compare_ids(group: &ObservedGroup<'_>) -> Vec<VersionDiff> {
    let Some(inventory) = &group.exports else { return Vec::new() };
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for secret in &group.secrets {
        for (version, labels) in secret.complete_versions() {
            seen.insert((secret.name.as_str(), version.as_str()));
            let exported = inventory.has(&secret.name, version);
            all.push(VersionDiff {
                name: secret.name.clone(),
                version: version.clone(),
                labels: labels.clone(),
                created: group.version_created(&secret.name, version),
                result: if exported { VersionMatch::Exported } else { VersionMatch::NotExported },
                message: None,
            });
        }
    }
    for record in &inventory.exports {
        if !group.partial
            && record.name.starts_with(&group.rules.prefix)
            && seen.insert((record.name.as_str(), record.version.as_str()))
        {
            all.push(VersionDiff {
                name: record.name.clone(),
                version: record.version.clone(),
                labels: Vec::new(),
                created: record.created,
                result: VersionMatch::ExportOnly,
                message: None,
            });
        }
    }
    all.sort_by(|a, b| (&a.name, a.created, &a.version).cmp(&(&b.name, b.created, &b.version)));
    all
}

/// Compares the values of the versions that are on both sides; each live value is read.
pub async fn compare_values(
    group: &ObservedGroup<'_>,
    diffs: &mut [VersionDiff],
    client: &SecretsManagerClient,
    store: &BackupStore,
    keys: &DecryptionKeys,
) {
    let Some(inventory) = &group.exports else { return };
    for diff in diffs.iter_mut().filter(|d| d.result == VersionMatch::Exported) {
        let of =
            |e: &&crate::record::ExportRecord| e.name == diff.name && e.version == diff.version;
        let Some(record) = inventory.exports.iter().find(of) else { continue };
        let both = async {
            let exported = open_export(store, record, keys).await?;
            let live = client.read_version(&diff.name, &diff.version).await?;
            Ok::<_, shared::aws::OperationError>(exported.is_same(&live.value))
        };
        (diff.result, diff.message) = match both.await {
            Ok(true) => (VersionMatch::Equal, None),
            Ok(false) => (VersionMatch::Differs, None),
            Err(e) => (VersionMatch::Unknown, Some(e.to_line_with_hint())),
        };
    }
}

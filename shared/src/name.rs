//! Names of what Holdfast makes: a function of asset, reason and slot, so that doing a thing twice is doing it once.

use crate::catalog::{
    DatabaseIdentity, DatabaseKind, HoldfastTags, RdsDatabase, RecoveryPoint, RecoveryPointState,
    mark,
};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Longest snapshot identifier: 255 for instances; a cluster snapshot's copy may have 63 (`CopyDBClusterSnapshot`).
fn max_identifier_len(family: DatabaseKind) -> usize {
    match family {
        DatabaseKind::Instance => 255,
        DatabaseKind::Cluster => 63,
    }
}

/// What a new snapshot or copy is made of and for. Its identifier follows from it, and no two of them get the same one.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotSpec<'a> {
    /// The database that it is made from.
    pub database: &'a RdsDatabase,
    /// What follows the asset in the identifier: `<reason>-<slot>` and what else tells copies apart.
    pub suffix: &'a str,
    /// All of its tags.
    pub tags: &'a BTreeMap<String, String>,
}

impl SnapshotSpec<'_> {
    /// Whether a point is what this would make, failed or not.
    pub fn matches_point(&self, point: &RecoveryPoint) -> bool {
        let tags = self.tags.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        point.identity() == self.database.identity()
            && point.tags.is_same_step(&HoldfastTags::from_tags(tags))
    }

    /// A number that no other asset, reason, slot, request or owner has (of 2^32).
    fn identity_hash(&self) -> u32 {
        let mut sha = Sha256::new();
        let (kind, id) = match self.database.identity() {
            DatabaseIdentity::ByResourceId(_, id) => ("id", id),
            DatabaseIdentity::ByName(_, name) => ("name", name),
        };
        let own = self.tags.iter().filter(|(key, _)| key.starts_with("holdfast:"));
        let own = own.flat_map(|(key, value)| [key.as_str(), value.as_str()]);
        for part in [self.database.family.as_str(), kind, id, self.suffix].into_iter().chain(own) {
            // With its length before it, no two lists of parts read the same.
            sha.update(part.len().to_be_bytes());
            sha.update(part);
        }
        leading_u32(&sha.finalize())
    }
}

fn leading_u32(hash: &[u8]) -> u32 {
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

/// The identifier `<asset>-<tail>`, lower case, valid for RDS: a letter first, single hyphens, none last; with `apart` after
/// it. An asset's name that is too long is cut, and `apart`, or a hash of the whole name, stands behind what is left.
fn format_snapshot_id(family: DatabaseKind, asset: &str, tail: &str, apart: Option<u32>) -> String {
    let mut id = match apart {
        None => format!("{asset}-{tail}"),
        Some(hash) => format!("{asset}-{tail}-{hash:08x}"),
    };
    let most = max_identifier_len(family);
    if id.len() > most {
        let hash = apart.unwrap_or_else(|| leading_u32(&Sha256::digest(asset.as_bytes())));
        let room = most.saturating_sub(tail.len() + 10).max(1);
        let cut: String = asset.chars().take(room).collect();
        id = format!("{}-{hash:08x}-{tail}", cut.trim_end_matches('-'));
    }
    while id.contains("--") {
        id = id.replace("--", "-");
    }
    id.to_lowercase()
}

/// The identifier of a new snapshot or copy: the first of its tries that is not taken at its place.
///
/// Names are joined with hyphens that they may hold themselves, so two assets can want one name (`shop` + `eu-daily` and
/// `shop-eu` + `daily`), and a name may be held by a database that had this one's name before, by the cluster beside an
/// instance, by another demand of the same minute, or by a person. A name that is taken by anything else than a failed try
/// of the very same is not ours to take over, and a hash of all that it is made of and for tells the new one apart.
/// Failed tries are counted: `-r2`, `-r3`.
///
/// `points` is all that is at the place, of every database, and `promised` the identifiers that this run gives.
pub fn next_free_identifier<'p>(
    wanted: &SnapshotSpec<'_>,
    points: impl IntoIterator<Item = &'p RecoveryPoint>,
    promised: &BTreeSet<String>,
) -> String {
    let taken: BTreeMap<&str, &RecoveryPoint> =
        points.into_iter().map(|p| (p.id.as_str(), p)).collect();
    let RdsDatabase { family, id: asset, .. } = wanted.database;
    for number in 1.. {
        let tail = match number {
            1 => wanted.suffix.to_owned(),
            _ => format!("{}-r{number}", wanted.suffix),
        };
        let failed = |p: &RecoveryPoint| {
            matches!(p.state, RecoveryPointState::Failed(_)) && wanted.matches_point(p)
        };
        let free = |id: &str| !taken.contains_key(id) && !promised.contains(id);
        let plain = format_snapshot_id(*family, asset, &tail, None);
        if free(&plain) {
            return plain;
        }
        if taken.get(plain.as_str()).is_some_and(|p| failed(p)) {
            continue;
        }
        let apart = format_snapshot_id(*family, asset, &tail, Some(wanted.identity_hash()));
        if free(&apart) {
            return apart;
        }
    }
    unreachable!("numbers do not end")
}

/// RDS takes 50 tags.
/// <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_Tagging.html>
const MAX_TAGS: usize = 50;

/// An asset's own tags with ours over them. AWS's own (`aws:`, `rds:`) can't be set by anybody and marks of ours on the
/// asset are none of the copy's. Returns the keys that found no room as well.
pub fn merge_tags(
    own: &BTreeMap<String, String>,
    ours: BTreeMap<String, String>,
) -> (BTreeMap<String, String>, Vec<String>) {
    let mut tags = ours;
    let mut left = Vec::new();
    let reserved =
        |k: &str| ["aws:", "rds:", "holdfast:"].iter().any(|p| k.to_lowercase().starts_with(p));
    for (key, value) in own.iter().filter(|(k, _)| !reserved(k)) {
        if tags.len() < MAX_TAGS {
            tags.insert(key.clone(), value.clone());
        } else {
            left.push(key.clone());
        }
    }
    (tags, left)
}

/// The marks of a new point of a database.
pub fn holdfast_tags<'v>(
    owner: &str,
    database: &RdsDatabase,
    reason: &str,
    more: impl IntoIterator<Item = (&'v str, String)>,
) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::from([
        (mark::OWNER.to_owned(), owner.to_owned()),
        (mark::ASSET.to_owned(), database.id.clone()),
        (mark::FAMILY.to_owned(), database.family.as_str().to_owned()),
        (mark::REASON.to_owned(), reason.to_owned()),
    ]);
    if !database.resource_id.is_empty() {
        tags.insert(mark::RESOURCE_ID.to_owned(), database.resource_id.clone());
    }
    tags.extend(more.into_iter().map(|(k, v)| (k.to_owned(), v)));
    tags
}

/// The mark of further reasons and slots that one point serves, and how many of them it has room for.
pub fn additional_reasons_tag(served: &[(&str, String)]) -> (Option<String>, usize) {
    let mut text = String::new();
    for (n, (reason, slot)) in served.iter().enumerate() {
        // RDS takes `=`, where an escape would begin (`aws::rds::tags`).
        let pair = format!("{}{reason}:{slot}", if n == 0 { "" } else { " " });
        if text.len() + pair.len() > crate::aws::rds::tags::MAX_TAG_VALUE_CHARS {
            return (Some(text), n);
        }
        text += &pair;
    }
    (Some(text).filter(|t| !t.is_empty()), served.len())
}

#[cfg(test)]
mod tests;

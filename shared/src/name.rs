//! Names of what Holdfast makes: a function of asset, reason and slot, so that doing a thing twice is doing it once.

use crate::catalog::{Database, Family, Lineage, Marks, Point, State, mark};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Longest snapshot identifier: 255 for instances; a cluster snapshot's copy may have 63 (`CopyDBClusterSnapshot`).
fn longest(family: Family) -> usize {
    match family {
        Family::Instance => 255,
        Family::Cluster => 63,
    }
}

/// What a new snapshot or copy is made of and for. Its identifier follows from it, and no two of them get the same one.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The database that it is made from.
    pub database: &'a Database,
    /// What follows the asset in the identifier: `<reason>-<slot>` and what else tells copies apart.
    pub tail: &'a str,
    /// All of its tags.
    pub tags: &'a BTreeMap<String, String>,
}

impl Wanted<'_> {
    /// Whether a point is what this would make, failed or not.
    pub fn is(&self, point: &Point) -> bool {
        let tags = self.tags.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        point.lineage() == self.database.lineage() && point.marks.same(&Marks::from_tags(tags))
    }

    /// A number that no other asset, reason, slot, request or owner has (of 2^32).
    fn hash(&self) -> u32 {
        let mut sha = Sha256::new();
        let (kind, id) = match self.database.lineage() {
            Lineage::Of(_, id) => ("id", id),
            Lineage::Named(_, name) => ("name", name),
        };
        let own = self.tags.iter().filter(|(key, _)| key.starts_with("holdfast:"));
        let own = own.flat_map(|(key, value)| [key.as_str(), value.as_str()]);
        for part in [self.database.family.word(), kind, id, self.tail].into_iter().chain(own) {
            // With its length before it, no two lists of parts read the same.
            sha.update(part.len().to_be_bytes());
            sha.update(part);
        }
        first_number(&sha.finalize())
    }
}

fn first_number(hash: &[u8]) -> u32 {
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

/// The identifier `<asset>-<tail>`, lower case, valid for RDS: a letter first, single hyphens, none last; with `apart` after
/// it. An asset's name that is too long is cut, and `apart`, or a hash of the whole name, stands behind what is left.
fn snapshot_id(family: Family, asset: &str, tail: &str, apart: Option<u32>) -> String {
    let mut id = match apart {
        None => format!("{asset}-{tail}"),
        Some(hash) => format!("{asset}-{tail}-{hash:08x}"),
    };
    let most = longest(family);
    if id.len() > most {
        let hash = apart.unwrap_or_else(|| first_number(&Sha256::digest(asset.as_bytes())));
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
pub fn free_id<'p>(
    wanted: &Wanted<'_>,
    points: impl IntoIterator<Item = &'p Point>,
    promised: &BTreeSet<String>,
) -> String {
    let taken: BTreeMap<&str, &Point> = points.into_iter().map(|p| (p.id.as_str(), p)).collect();
    let Database { family, id: asset, .. } = wanted.database;
    for number in 1.. {
        let tail = match number {
            1 => wanted.tail.to_owned(),
            _ => format!("{}-r{number}", wanted.tail),
        };
        let failed = |p: &Point| matches!(p.state, State::Failed(_)) && wanted.is(p);
        let free = |id: &str| !taken.contains_key(id) && !promised.contains(id);
        let plain = snapshot_id(*family, asset, &tail, None);
        if free(&plain) {
            return plain;
        }
        if taken.get(plain.as_str()).is_some_and(|p| failed(p)) {
            continue;
        }
        let apart = snapshot_id(*family, asset, &tail, Some(wanted.hash()));
        if free(&apart) {
            return apart;
        }
    }
    unreachable!("numbers do not end")
}

/// RDS takes 50 tags.
/// <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_Tagging.html>
const MOST_TAGS: usize = 50;

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
        if tags.len() < MOST_TAGS {
            tags.insert(key.clone(), value.clone());
        } else {
            left.push(key.clone());
        }
    }
    (tags, left)
}

/// The marks of a new point of a database.
pub fn marks<'v>(
    owner: &str,
    database: &Database,
    reason: &str,
    more: impl IntoIterator<Item = (&'v str, String)>,
) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::from([
        (mark::OWNER.to_owned(), owner.to_owned()),
        (mark::ASSET.to_owned(), database.id.clone()),
        (mark::FAMILY.to_owned(), database.family.word().to_owned()),
        (mark::REASON.to_owned(), reason.to_owned()),
    ]);
    if !database.resource_id.is_empty() {
        tags.insert(mark::RESOURCE_ID.to_owned(), database.resource_id.clone());
    }
    tags.extend(more.into_iter().map(|(k, v)| (k.to_owned(), v)));
    tags
}

/// The mark of further reasons and slots that one point serves, and how many of them it has room for.
pub fn also(served: &[(&str, String)]) -> (Option<String>, usize) {
    let mut text = String::new();
    for (n, (reason, slot)) in served.iter().enumerate() {
        // RDS takes `=`, where an escape would begin (`aws::rds::tags`).
        let pair = format!("{}{reason}:{slot}", if n == 0 { "" } else { " " });
        if text.len() + pair.len() > crate::aws::rds::tags::LONGEST_VALUE {
            return (Some(text), n);
        }
        text += &pair;
    }
    (Some(text).filter(|t| !t.is_empty()), served.len())
}

#[cfg(test)]
mod tests;

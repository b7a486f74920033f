//! Names of what Holdfast makes: a function of asset, reason and slot, so that doing a thing twice is doing it once.

use crate::catalog::{Family, mark};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Longest snapshot identifier: 255 for instances; a cluster snapshot's copy may have 63 (`CopyDBClusterSnapshot`).
fn longest(family: Family) -> usize {
    match family {
        Family::Instance => 255,
        Family::Cluster => 63,
    }
}

/// The identifier `<asset>-<tail>`, lower case, valid for RDS: a letter first, single hyphens, none last. An asset's name
/// that is too long is cut and told apart by a hash of the whole.
pub fn snapshot_id(family: Family, asset: &str, tail: &str) -> String {
    let mut id = format!("{asset}-{tail}").to_lowercase();
    let most = longest(family);
    if id.len() > most {
        let hash = Sha256::digest(asset.as_bytes());
        let hash = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
        let room = most - tail.len() - 10;
        let cut = asset[..room.min(asset.len())].trim_end_matches('-');
        id = format!("{cut}-{hash:08x}-{tail}").to_lowercase();
    }
    while id.contains("--") {
        id = id.replace("--", "-");
    }
    id
}

/// Appends the number of a later try: the identifier of a failed one stays taken.
pub fn attempt(tail: &str, number: usize) -> String {
    if number <= 1 { tail.to_owned() } else { format!("{tail}-r{number}") }
}

/// The first identifier of `tail`'s tries that is not taken. A name that is taken stays taken, be it by a failed try, by a
/// database that had this one's name before, or by somebody else.
pub fn free_id<'t>(
    family: Family,
    asset: &str,
    tail: &str,
    taken: impl IntoIterator<Item = &'t str>,
) -> String {
    let taken: BTreeSet<&str> = taken.into_iter().collect();
    let ids = (1..).map(|number| snapshot_id(family, asset, &attempt(tail, number)));
    ids.into_iter().find(|id| !taken.contains(id.as_str())).expect("numbers do not end")
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

/// The marks of a new point.
pub fn marks<'v>(
    policy: &str,
    asset: &str,
    reason: &str,
    more: impl IntoIterator<Item = (&'v str, String)>,
) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::from([
        (mark::POLICY.to_owned(), policy.to_owned()),
        (mark::ASSET.to_owned(), asset.to_owned()),
        (mark::REASON.to_owned(), reason.to_owned()),
    ]);
    tags.extend(more.into_iter().map(|(k, v)| (k.to_owned(), v)));
    tags
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_strategys_own_form_is_kept() {
        let id = snapshot_id(Family::Instance, "lomash-orders-prod", "pre-deploy-202611210200");
        assert_eq!(id, "lomash-orders-prod-pre-deploy-202611210200");
    }

    proptest! {
        #[test]
        fn every_identifier_is_one_that_rds_takes_and_long_assets_stay_apart(
            asset in "[a-zA-Z][a-zA-Z0-9]{0,40}(-[a-zA-Z0-9]{1,10}){0,2}", other in "[a-z][a-z0-9]{0,62}",
            cluster in any::<bool>(),
        ) {
            let family = if cluster { Family::Cluster } else { Family::Instance };
            let tail = attempt("twenty-letters-long-202611210200-111122223333", 2);
            let id = snapshot_id(family, &asset, &tail);
            prop_assert!(id.len() <= longest(family), "{}", id);
            prop_assert!(id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
            prop_assert!(id.starts_with(|c: char| c.is_ascii_lowercase()) && !id.ends_with('-') && !id.contains("--"));
            if asset.to_lowercase() != other {
                prop_assert_ne!(id, snapshot_id(family, &other, &tail));
            }
        }
    }

    #[test]
    fn an_assets_tags_are_kept_and_fifty_is_the_most() {
        let own: BTreeMap<_, _> = (0..60).map(|i| (format!("k{i:02}"), "v".to_owned())).collect();
        let (tags, left) = merge_tags(&own, marks("acme", "a", "daily", []));
        assert_eq!((tags.len(), left.len()), (50, 13));
        let own = BTreeMap::from([
            ("aws:cloudformation:stack-name".to_owned(), "s".to_owned()),
            ("env".to_owned(), "prod".to_owned()),
        ]);
        let (tags, left) = merge_tags(&own, BTreeMap::new());
        assert_eq!((tags.len(), left.len()), (1, 0));
    }
}

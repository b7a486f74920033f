//! Which recovery point a drill restores, and whose turn it is. Pure: an auditor can repeat every choice.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shared::{policy::PointChoice, words::hex_encode};

/// A recovery point that could be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its key below the store's prefix.
    pub key: String,
    /// The time of its data.
    pub data_time: Timestamp,
    /// SHA-256 of the file, 64 hex digits.
    pub sha256: String,
}

/// How a recovery point was chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PointSelection {
    /// The rule.
    pub choice: PointChoice,
    /// How many there were to choose from.
    pub candidates: usize,
    /// SHA-256 of the list of them: for each, oldest first, its key, a space, its SHA-256 and a newline.
    pub list_sha256: String,
    /// Its place in that list, from 0.
    pub index: usize,
    /// Of a random choice: the text whose SHA-256, its first 8 bytes read as a number, modulo `candidates` is `index`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<String>,
}

/// Chooses a recovery point; none where there is none that is young enough. `subject` is what is drawn for: drill, slot and
/// asset.
pub fn choose_point<'c>(
    candidates: &'c [Candidate],
    choice: PointChoice,
    max_age: Option<SignedDuration>,
    subject: &str,
    now: Timestamp,
) -> Option<(&'c Candidate, PointSelection)> {
    let oldest = max_age.and_then(|age| now.checked_sub(age).ok());
    let mut list: Vec<&Candidate> =
        candidates.iter().filter(|c| oldest.is_none_or(|oldest| c.data_time >= oldest)).collect();
    list.sort_by(|a, b| (a.data_time, &a.key).cmp(&(b.data_time, &b.key)));
    let mut hash = Sha256::new();
    for c in &list {
        hash.update(format!("{} {}\n", c.key, c.sha256));
    }
    let list_sha256 = hex_encode(&hash.finalize());
    let newest = list.len().checked_sub(1)?;
    let (index, seed) = match choice {
        PointChoice::Newest => (newest, None),
        PointChoice::Oldest => (0, None),
        PointChoice::Random => (draw(subject, list.len()), Some(subject.to_owned())),
    };
    let selection = PointSelection { choice, candidates: list.len(), list_sha256, index, seed };
    Some((list[index], selection))
}

/// A number below `count`, which is not 0, that follows from the seed.
fn draw(seed: &str, count: usize) -> usize {
    let hash = Sha256::digest(seed);
    let first = hash.first_chunk::<8>().expect("32 bytes");
    let drawn = u64::from_be_bytes(*first) % u64::try_from(count).unwrap_or(u64::MAX);
    usize::try_from(drawn).unwrap_or(0)
}

/// Whose turn it is in a slot: so many assets, those first that were never proven, then those whose proof is oldest.
/// `proofs` are the newest of each asset from before the slot, so that what happens in a slot changes nothing of it.
pub fn rotate_assets<'a>(
    proofs: &[(&'a str, Option<Timestamp>)],
    count: Option<usize>,
) -> Vec<&'a str> {
    let mut order: Vec<_> = proofs.iter().map(|(asset, proof)| (*proof, *asset)).collect();
    order.sort_unstable();
    order.truncate(count.unwrap_or(usize::MAX));
    order.into_iter().map(|(_, asset)| asset).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidates(times: &[i64]) -> Vec<Candidate> {
        let one = |(i, t): (usize, &i64)| Candidate {
            key: format!("shop_{i}.dump"),
            data_time: Timestamp::from_second(*t).expect("a time"),
            sha256: "0".repeat(64),
        };
        times.iter().enumerate().map(one).collect()
    }

    #[test]
    fn the_newest_the_oldest_and_a_draw_that_can_be_repeated() {
        let all = candidates(&[300, 100, 200]);
        let now = Timestamp::from_second(400).expect("a time");
        let key = |choice, subject: &str| {
            choose_point(&all, choice, None, subject, now).expect("one").0.key.clone()
        };
        assert_eq!(key(PointChoice::Newest, "x"), "shop_0.dump");
        assert_eq!(key(PointChoice::Oldest, "x"), "shop_1.dump");
        let drawn: std::collections::BTreeSet<_> =
            (0..64).map(|n| key(PointChoice::Random, &format!("d|{n}"))).collect();
        assert_eq!(drawn.len(), 3, "each is drawn at some time");
        let young =
            choose_point(&all, PointChoice::Oldest, Some(SignedDuration::from_secs(250)), "x", now);
        assert_eq!(young.map(|(c, s)| (c.key.as_str(), s.candidates)), Some(("shop_2.dump", 2)));
        assert!(choose_point(&[], PointChoice::Newest, None, "x", now).is_none());
    }

    proptest! {
        #[test]
        fn a_draw_depends_on_the_seed_and_the_list_alone(
            mut times in proptest::collection::vec(0i64..1_000_000, 1..20),
            seed in "[a-z|0-9]{1,20}",
        ) {
            times.sort_unstable();
            times.dedup();
            let all = candidates(&times);
            let now = Timestamp::from_second(2_000_000).expect("a time");
            let mut mixed = all.clone();
            mixed.reverse();
            let one = choose_point(&all, PointChoice::Random, None, &seed, now).expect("one");
            let other = choose_point(&mixed, PointChoice::Random, None, &seed, now).expect("one");
            prop_assert_eq!(one.0, other.0);
            prop_assert_eq!(&one.1, &other.1);
            // As the evidence says that it is computed.
            let hash = Sha256::digest(one.1.seed.as_deref().expect("a seed"));
            let number = u64::from_be_bytes(hash[..8].try_into().expect("8 bytes"));
            prop_assert_eq!(number % (all.len() as u64), one.1.index as u64);
        }

        #[test]
        fn every_asset_has_its_turn(assets in 1usize..12, count in 1usize..5) {
            let names: Vec<String> = (0..assets).map(|n| format!("a{n:02}")).collect();
            let mut proofs: Vec<Option<Timestamp>> = vec![None; assets];
            for round in 0..assets.div_ceil(count) {
                let known: Vec<_> =
                    names.iter().map(String::as_str).zip(proofs.iter().copied()).collect();
                let turn = rotate_assets(&known, Some(count));
                prop_assert_eq!(turn.len(), count.min(assets));
                for asset in turn {
                    let at = names.iter().position(|n| n == asset).expect("one of them");
                    proofs[at] = i64::try_from(1 + round).ok().and_then(|at| Timestamp::from_second(at).ok());
                }
            }
            prop_assert!(proofs.iter().all(Option::is_some));
        }
    }
}

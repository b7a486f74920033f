//! Two listings against each other. Pure; memory grows with the sample and with nothing else.

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use shared::aws::s3::{ObjectPair, S3Object};
use std::collections::BTreeMap;

/// Objects and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectTotals {
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl ObjectTotals {
    fn add_object(&mut self, object: &S3Object) {
        self.objects += 1;
        self.bytes += object.size;
    }
}

/// What two listings say of each other.
#[derive(Clone, Debug)]
pub struct ListingComparison {
    /// What the source has.
    pub source: ObjectTotals,
    /// What the replica has.
    pub replica: ObjectTotals,
    /// Objects that the replica lacks, those on their way too.
    pub missing: u64,
    /// Objects that the replica has in another form than the newest.
    pub differing: u64,
    /// Objects that the replica lacks or has in an older form, and that have had their time.
    pub overdue: u64,
    /// Objects that only the replica has.
    pub extra: u64,
    /// The oldest object that is not in the replica in its newest form.
    pub oldest: Option<(Timestamp, String)>,
    /// By hash, pairs to read on both sides.
    sample: BTreeMap<[u8; 8], (S3Object, S3Object)>,
    size: usize,
    salt: String,
    /// Younger objects may still be on their way.
    in_time: Timestamp,
}

impl ListingComparison {
    /// Nothing compared yet. `sample` pairs will be chosen to be read, other ones each day.
    pub fn new(now: Timestamp, max_lag: SignedDuration, sample: u32) -> Self {
        Self {
            source: ObjectTotals::default(),
            replica: ObjectTotals::default(),
            missing: 0,
            differing: 0,
            overdue: 0,
            extra: 0,
            oldest: None,
            sample: BTreeMap::new(),
            size: usize::try_from(sample).unwrap_or(usize::MAX),
            salt: now.strftime("%F").to_string(),
            in_time: now.checked_sub(max_lag).unwrap_or(Timestamp::MIN),
        }
    }

    /// Takes in the next pair.
    pub fn add_pair(&mut self, pair: ObjectPair) {
        match pair {
            ObjectPair::Missing(object) => {
                self.source.add_object(&object);
                self.missing += 1;
                self.record_lagging(object);
            }
            ObjectPair::Both(object, replica) => {
                self.source.add_object(&object);
                self.replica.add_object(&replica);
                if is_different(&object, &replica) {
                    self.differing += 1;
                    self.record_lagging(object);
                } else if !object.is_archived() && !replica.is_archived() {
                    self.consider_for_sample(object, replica);
                }
            }
            ObjectPair::Extra(object) => {
                self.replica.add_object(&object);
                self.extra += 1;
            }
        }
    }

    /// How far the replica is behind: the age of the oldest object that is not in it, 0 when all are.
    pub fn lag(&self, now: Timestamp) -> SignedDuration {
        let age = self.oldest.as_ref().map(|(at, _)| now.duration_since(*at));
        age.unwrap_or_default().max(SignedDuration::ZERO)
    }

    /// The pairs to read on both sides, source first.
    pub fn sample(&self) -> impl Iterator<Item = &(S3Object, S3Object)> {
        self.sample.values()
    }

    fn record_lagging(&mut self, object: S3Object) {
        self.overdue += u64::from(object.modified < self.in_time);
        if self.oldest.as_ref().is_none_or(|(at, _)| object.modified < *at) {
            self.oldest = Some((object.modified, object.key));
        }
    }

    /// Keeps the pairs of the smallest hashes: a fair choice in one pass, the same for every run of a day.
    fn consider_for_sample(&mut self, object: S3Object, replica: S3Object) {
        if self.size == 0 {
            return;
        }
        let hash = Sha256::new().chain_update(&self.salt).chain_update(&object.key).finalize();
        let mut rank = [0; 8];
        rank.copy_from_slice(&hash[..8]);
        if self.sample.len() == self.size {
            match self.sample.last_key_value() {
                Some((largest, _)) if rank < *largest => self.sample.pop_last(),
                _ => return,
            };
        }
        self.sample.insert(rank, (object, replica));
    }
}

/// S3 gives a replica the source's time, so an older one is an older form; its `ETag` alone says nothing where KMS
/// encrypts either side.
fn is_different(object: &S3Object, replica: &S3Object) -> bool {
    object.size != replica.size
        || (replica.modified < object.modified && replica.etag != object.etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-20T12:00:00Z";

    fn at(s: &str) -> Timestamp {
        s.parse().expect("a time")
    }

    fn object(key: &str, size: u64, etag: &str, time: &str) -> S3Object {
        let modified = at(&format!("2026-11-20T{time}:00Z"));
        let class = "STANDARD".into();
        S3Object {
            key: key.into(),
            size,
            etag: etag.into(),
            modified,
            storage_class: class,
            restored: false,
        }
    }

    fn compared(pairs: Vec<ObjectPair>, now: &str) -> ListingComparison {
        let mut comparison = ListingComparison::new(at(now), SignedDuration::from_hours(1), 3);
        for pair in pairs {
            comparison.add_pair(pair);
        }
        comparison
    }

    #[test]
    fn each_pair_counts_on_its_side_and_young_objects_are_not_late() {
        let old = || object("k", 3, "a", "09:00");
        let table = [
            ("the same", vec![ObjectPair::Both(old(), old())]),
            ("under KMS", vec![ObjectPair::Both(old(), object("k", 3, "b", "09:00"))]),
            ("written again by hand", vec![ObjectPair::Both(old(), object("k", 3, "b", "10:00"))]),
            ("missing", vec![ObjectPair::Missing(old())]),
            ("missing and young", vec![ObjectPair::Missing(object("k", 3, "a", "11:30"))]),
            ("missing for just as long", vec![ObjectPair::Missing(object("k", 3, "a", "11:00"))]),
            ("from the future", vec![ObjectPair::Missing(object("k", 3, "a", "13:00"))]),
            ("another size", vec![ObjectPair::Both(old(), object("k", 2, "b", "09:00"))]),
            ("an older form", vec![ObjectPair::Both(old(), object("k", 3, "b", "08:00"))]),
            ("only in the replica", vec![ObjectPair::Extra(old())]),
            ("nothing at all", vec![]),
            (
                "the oldest counts",
                vec![ObjectPair::Missing(object("a", 1, "a", "10:00")), ObjectPair::Missing(old())],
            ),
        ];
        let lines = table.map(|(case, pairs)| {
            let c = compared(pairs, NOW);
            let lag = shared::time::format_duration(c.lag(at(NOW)));
            format!(
                "{case}: {} of {} missing, {} differ, {} late, {} extra, lag {lag}",
                c.missing, c.source.objects, c.differing, c.overdue, c.extra
            )
        });
        insta::assert_snapshot!(lines.join("\n"), @"
        the same: 0 of 1 missing, 0 differ, 0 late, 0 extra, lag 0s
        under KMS: 0 of 1 missing, 0 differ, 0 late, 0 extra, lag 0s
        written again by hand: 0 of 1 missing, 0 differ, 0 late, 0 extra, lag 0s
        missing: 1 of 1 missing, 0 differ, 1 late, 0 extra, lag 3h
        missing and young: 1 of 1 missing, 0 differ, 0 late, 0 extra, lag 30m
        missing for just as long: 1 of 1 missing, 0 differ, 0 late, 0 extra, lag 1h
        from the future: 1 of 1 missing, 0 differ, 0 late, 0 extra, lag 0s
        another size: 0 of 1 missing, 1 differ, 1 late, 0 extra, lag 3h
        an older form: 0 of 1 missing, 1 differ, 1 late, 0 extra, lag 3h
        only in the replica: 0 of 0 missing, 0 differ, 0 late, 1 extra, lag 0s
        nothing at all: 0 of 0 missing, 0 differ, 0 late, 0 extra, lag 0s
        the oldest counts: 2 of 2 missing, 0 differ, 2 late, 0 extra, lag 3h
        ");
    }

    #[test]
    fn the_sample_is_the_same_all_day_and_another_one_the_next() {
        let pairs = || {
            (0..500)
                .map(|n| object(&n.to_string(), 1, "a", "09:00"))
                .map(|o| ObjectPair::Both(o.clone(), o))
                .collect()
        };
        let keys =
            |c: &ListingComparison| c.sample().map(|(s, _)| s.key.clone()).collect::<Vec<_>>();
        let today = keys(&compared(pairs(), NOW));
        assert_eq!(today.len(), 3);
        assert_eq!(today, keys(&compared(pairs(), "2026-11-20T23:59:59Z")));
        assert_ne!(today, keys(&compared(pairs(), "2026-11-21T00:00:00Z")));
        let mut backwards: Vec<_> = pairs();
        backwards.reverse();
        assert_eq!(today, keys(&compared(backwards, NOW)), "the order does not choose");
    }

    #[test]
    fn what_can_not_be_read_is_not_chosen() {
        let cold = S3Object { storage_class: "GLACIER".into(), ..object("k", 1, "a", "09:00") };
        let warm = object("k", 1, "a", "09:00");
        let pairs = vec![
            ObjectPair::Both(warm.clone(), cold.clone()),
            ObjectPair::Both(cold, warm.clone()),
            ObjectPair::Missing(warm.clone()),
            ObjectPair::Both(warm.clone(), object("k", 2, "a", "09:00")),
        ];
        assert_eq!(compared(pairs, NOW).sample().count(), 0);
        let mut none = ListingComparison::new(at(NOW), SignedDuration::from_hours(1), 0);
        none.add_pair(ObjectPair::Both(warm.clone(), warm));
        assert_eq!(none.sample().count(), 0);
    }
}

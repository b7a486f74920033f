use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn object(key: &str, size: u64, etag: &str, modified: &str) -> S3Object {
    S3Object {
        key: key.into(),
        size,
        etag: etag.into(),
        modified: format!("2026-11-{modified}:00Z").parse().expect("a time"),
        storage_class: "STANDARD".into(),
        restored: false,
    }
}

fn copy_task(group: &Name) -> ObjectCopyTask<'_> {
    ObjectCopyTask {
        group,
        from: "backups",
        to: "offsite",
        prefixes: &[],
        kms_key: None,
        until: Some("2026-11-15T04:00:00Z".parse().expect("a time")),
        objective: None,
    }
}

#[test]
fn an_object_is_copied_when_its_copy_is_missing_or_older_and_its_time_has_come() {
    let old = || object("k", 3, "a", "14T00:00");
    let archived = || S3Object { storage_class: "DEEP_ARCHIVE".into(), ..old() };
    let table = [
        ("no copy", ObjectPair::Missing(old())),
        ("no copy, written at the slot", ObjectPair::Missing(object("k", 3, "a", "15T04:00"))),
        ("no copy, written after the slot", ObjectPair::Missing(object("k", 3, "a", "15T04:01"))),
        ("copied", ObjectPair::Both(old(), object("k", 3, "a", "15T04:00"))),
        ("copied under KMS or in parts", ObjectPair::Both(old(), object("k", 3, "b", "15T04:00"))),
        ("another size", ObjectPair::Both(old(), object("k", 2, "b", "15T04:00"))),
        ("overwritten", ObjectPair::Both(old(), object("k", 3, "b", "13T00:00"))),
        (
            "overwritten in the second of the copy",
            ObjectPair::Both(old(), object("k", 3, "b", "14T00:00")),
        ),
        (
            "an older copy of the same bytes",
            ObjectPair::Both(old(), object("k", 3, "a", "13T00:00")),
        ),
        (
            "overwritten after the slot",
            ObjectPair::Both(object("k", 3, "a", "16T00:00"), object("k", 3, "b", "15T04:00")),
        ),
        ("in an archive class", ObjectPair::Missing(archived())),
        (
            "in an archive class and copied",
            ObjectPair::Both(archived(), object("k", 3, "a", "15T04:00")),
        ),
        ("only at the destination", ObjectPair::Extra(old())),
    ];
    let name: Name = "backups".parse().expect("a name");
    let task = copy_task(&name);
    let judged: Vec<_> = table
        .iter()
        .map(|(case, pair)| format!("{case}: {:?}", decide_copy(&task, pair)))
        .collect();
    insta::assert_snapshot!(judged.join("\n"), @r#"
    no copy: Copy("it has no copy")
    no copy, written at the slot: Copy("it has no copy")
    no copy, written after the slot: Waits
    copied: Copied
    copied under KMS or in parts: Copied
    another size: Copy("its copy has 2 bytes and it has 3")
    overwritten: Copy("it was written at 2026-11-14T00:00:00Z, its copy at 2026-11-13T00:00:00Z")
    overwritten in the second of the copy: Copy("it was written at 2026-11-14T00:00:00Z, its copy at 2026-11-14T00:00:00Z")
    an older copy of the same bytes: Copied
    overwritten after the slot: Waits
    in an archive class: Archived
    in an archive class and copied: Copied
    only at the destination: Copied
    "#);

    let never = ObjectCopyTask { until: None, ..task };
    assert_eq!(decide_copy(&never, &table[0].1), CopyDecision::Waits, "a schedule that never came");
}

#[test]
fn a_page_says_what_it_copies_what_waits_and_what_is_archived() {
    let name: Name = "backups".parse().expect("a name");
    let task = ObjectCopyTask { kms_key: Some("arn:key".into()), ..copy_task(&name) };
    let cold = S3Object { storage_class: "GLACIER".into(), ..object("c", 1, "c", "02T00:00") };
    let page = plan_page(
        &task,
        &[
            ObjectPair::Missing(object("a", 1, "a", "01T00:00")),
            ObjectPair::Missing(object("b", 1, "b", "20T00:00")),
            ObjectPair::Missing(cold),
            ObjectPair::Extra(object("d", 1, "d", "01T00:00")),
        ],
    );
    insta::assert_debug_snapshot!(page, @r#"
    ObjectPagePlan {
        plan: ActionPlan {
            steps: [
                PlanStep {
                    asset: "backups",
                    action: CopyObject {
                        source_bucket: "backups",
                        object: S3Object {
                            key: "a",
                            size: 1,
                            etag: "a",
                            modified: 2026-11-01T00:00:00Z,
                            storage_class: "STANDARD",
                            restored: false,
                        },
                        destination_bucket: "offsite",
                        kms_key: Some(
                            "arn:key",
                        ),
                    },
                    reason: "it has no copy",
                },
            ],
            findings: [],
        },
        waits: Some(
            (
                2026-11-02T00:00:00Z,
                "c",
            ),
        ),
        archived: [
            "c",
        ],
    }
    "#);
}

#[test]
fn a_prefix_within_another_is_listed_once() {
    let name: Name = "backups".parse().expect("a name");
    let prefixes = ["redis/", "pg/daily/", "pg/", "pg/"].map(String::from);
    assert_eq!(
        ObjectCopyTask { prefixes: &prefixes, ..copy_task(&name) }.list_prefixes(),
        ["pg/", "redis/"]
    );
    assert_eq!(copy_task(&name).list_prefixes(), [""]);
}

/// What really lies under a key: the `ETag` stands for it at the source, and not always at the destination.
#[derive(Clone, Debug, PartialEq)]
struct TestObject {
    content: u8,
    seen: S3Object,
}

/// Two buckets and a clock of seconds.
#[derive(Debug, Default)]
struct TestBuckets {
    clock: i64,
    source: BTreeMap<String, TestObject>,
    destination: BTreeMap<String, TestObject>,
}

impl TestBuckets {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.clock).expect("a time")
    }

    fn write(&mut self, key: &str, content: u8) {
        let seen = S3Object {
            key: key.into(),
            size: u64::from(content % 3),
            etag: format!("md5-of-{content}"),
            modified: self.now(),
            storage_class: "STANDARD".into(),
            restored: false,
        };
        self.source.insert(key.into(), TestObject { content, seen });
    }

    fn object_pairs(&self) -> Vec<ObjectPair> {
        let keys: std::collections::BTreeSet<_> =
            self.source.keys().chain(self.destination.keys()).collect();
        let pair = |k: &String| match (self.source.get(k), self.destination.get(k)) {
            (Some(s), Some(d)) => ObjectPair::Both(s.seen.clone(), d.seen.clone()),
            (Some(s), None) => ObjectPair::Missing(s.seen.clone()),
            (None, Some(d)) => ObjectPair::Extra(d.seen.clone()),
            (None, None) => unreachable!("the key is of one of them"),
        };
        keys.into_iter().map(pair).collect()
    }

    /// Does a step as S3 does: only while the source is what was listed; under KMS the copy's `ETag` is another.
    fn apply_copy(&mut self, order: &CopyObject, kms: bool) {
        let key = &order.object.key;
        let modified = self.now();
        if let Some(there) = self.source.get(key).filter(|s| s.seen.etag == order.object.etag) {
            let etag = if kms { format!("kms-{}", self.clock) } else { there.seen.etag.clone() };
            let seen = S3Object { etag, modified, ..there.seen.clone() };
            self.destination.insert(key.clone(), TestObject { content: there.content, seen });
        }
    }
}

/// A run, or what happens between two.
#[derive(Clone, Debug)]
enum BucketEvent {
    /// An object is written at the source.
    Write(u8, u8),
    /// An object is deleted at the source.
    Delete(u8),
    /// Time passes.
    Wait(i64),
    /// A run, cut off after so many steps; the source may be written under it.
    Run(usize, Option<(u8, u8)>),
}

fn event_strategy() -> impl Strategy<Value = BucketEvent> {
    prop_oneof![
        (0..6_u8, any::<u8>()).prop_map(|(k, c)| BucketEvent::Write(k, c)),
        (0..6_u8).prop_map(BucketEvent::Delete),
        (0..3_i64).prop_map(BucketEvent::Wait),
        (0..4_usize, proptest::option::of((0..6_u8, any::<u8>())))
            .prop_map(|(n, under)| BucketEvent::Run(n, under)),
    ]
}

proptest! {
    #[test]
    fn after_any_interrupted_runs_a_full_one_makes_every_copy_equal_and_the_next_does_nothing(
        events in proptest::collection::vec(event_strategy(), 0..40),
        kms: bool,
    ) {
        let name: Name = "backups".parse().expect("a name");
        let task = ObjectCopyTask { until: Some(Timestamp::MAX), ..copy_task(&name) };
        let mut buckets = TestBuckets::default();
        for event in events {
            match event {
                BucketEvent::Write(k, content) => buckets.write(&k.to_string(), content),
                BucketEvent::Delete(k) => {
                    buckets.source.remove(&k.to_string());
                }
                BucketEvent::Wait(seconds) => buckets.clock += seconds,
                BucketEvent::Run(steps, under) => {
                    let page = plan_page(&task, &buckets.object_pairs());
                    if let Some((k, content)) = under {
                        buckets.write(&k.to_string(), content);
                    }
                    for step in page.plan.steps.iter().take(steps) {
                        buckets.apply_copy(&step.action, kms);
                    }
                }
            }
        }
        let before: Vec<_> = buckets.destination.keys().cloned().collect();
        buckets.clock += 1;
        for step in plan_page(&task, &buckets.object_pairs()).plan.steps {
            buckets.apply_copy(&step.action, kms);
        }
        for (key, stored) in &buckets.source {
            let copy = buckets.destination.get(key).expect("a copy of every object");
            prop_assert_eq!((copy.content, copy.seen.size), (stored.content, stored.seen.size));
        }
        prop_assert!(before.iter().all(|k| buckets.destination.contains_key(k)), "nothing is deleted");
        prop_assert_eq!(plan_page(&task, &buckets.object_pairs()).plan.steps, vec![]);
    }
}

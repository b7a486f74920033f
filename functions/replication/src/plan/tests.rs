use super::*;
use crate::{compare::ListingComparison, observe::ReplicaLag};
use shared::aws::s3::{
    DefaultEncryption, NoncurrentExpirationRule, ObjectPair, ReplicationRule, S3Object,
};

const POLICY: &str = r#"
holdfast: 1
company: lomash-wood
home: { account: "111122223333", region: eu-west-1 }
destinations:
  london: { region: eu-west-2, bucket: media-replica }
databases:
  fleet:
    select: { identifiers: [orders] }
    replica_max_lag: 1m
buckets:
  media:
    bucket: media
    versioning: true
    encryption: aws:kms
    noncurrent_version_expiration: 90d
    replication: { to: london, max_lag: 1h, tolerance: 2 }
"#;

fn policy() -> Policy {
    Policy::parse(POLICY).expect("a policy")
}

fn now() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().expect("now")
}

fn object(key: &str, minutes_old: i64) -> S3Object {
    S3Object {
        key: key.into(),
        size: 10,
        etag: "e".into(),
        modified: now() - SignedDuration::from_mins(minutes_old),
        storage_class: "STANDARD".into(),
        restored: false,
    }
}

fn same_pair(key: &str) -> ObjectPair {
    ObjectPair::Both(object(key, 600), object(key, 600))
}

fn enabled_rule() -> ReplicationRule {
    ReplicationRule {
        id: "all".into(),
        enabled: true,
        to: "media-replica".into(),
        covers_bucket: true,
        prefix: String::new(),
        tagged: false,
        metrics: true,
        rtc_minutes: None,
    }
}

fn replicated_bucket(pairs: Vec<ObjectPair>) -> ReplicatedBucket {
    let mut comparison = ListingComparison::new(now(), SignedDuration::from_hours(1), 10);
    for pair in pairs {
        comparison.add_pair(pair);
    }
    ReplicatedBucket {
        to: "media-replica".into(),
        rules: vec![enabled_rule()],
        versioning: BucketVersioning::Enabled,
        comparison,
        stopped_at_key: None,
        latency: None,
        sampled: vec![("a".into(), SampleResult::Same)],
    }
}

/// A bucket as the policy asks for it.
fn good_bucket() -> BucketSettings {
    let encryption = DefaultEncryption { algorithm: "aws:kms".into(), kms_key: None };
    BucketSettings {
        versioning: Some(BucketVersioning::Enabled),
        encryption: Some(Some(encryption)),
        noncurrent: Some(vec![NoncurrentExpirationRule {
            id: "old".into(),
            days: 90,
            covers_bucket: true,
        }]),
        replication: Some(replicated_bucket(vec![same_pair("a"), same_pair("b")])),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "a look that came to something")]
fn bucket_with(change: impl FnOnce(&mut BucketSettings)) -> ObservedResult<BucketSettings> {
    let mut seen = good_bucket();
    change(&mut seen);
    Ok(seen)
}

fn bucket_with_pairs(pairs: Vec<ObjectPair>) -> ObservedResult<BucketSettings> {
    bucket_with(|b| b.replication = Some(replicated_bucket(pairs)))
}

fn bucket_with_replication(
    change: impl FnOnce(&mut ReplicatedBucket),
) -> ObservedResult<BucketSettings> {
    let mut replicated = replicated_bucket(vec![same_pair("a"), same_pair("b")]);
    change(&mut replicated);
    bucket_with(|b| b.replication = Some(replicated))
}

fn evaluate_observed(look: ObservedResult<BucketSettings>) -> ReplicationReport {
    let group = policy().buckets.keys().next().expect("a group").clone();
    plan(
        &policy(),
        &ReplicationState { buckets: vec![(group, look)], ..ReplicationState::default() },
        now(),
    )
}

fn report_lines(judged: &ReplicationReport) -> String {
    let lines: Vec<_> = judged
        .findings
        .iter()
        .map(|f| format!("\n    {} {}: {}", f.severity, f.code, f.message))
        .collect();
    if lines.is_empty() { " fine".into() } else { lines.concat() }
}

fn access_denied() -> OperationError {
    OperationError {
        operation: "read versioning of s3://media".into(),
        message: "AccessDenied: said S3".into(),
        kind: shared::aws::OperationErrorKind::Denied,
        code: Some("AccessDenied".into()),
        hint: None,
    }
}

fn noncurrent_rule(days: i32, whole: bool) -> NoncurrentExpirationRule {
    NoncurrentExpirationRule { id: format!("after-{days}"), days, covers_bucket: whole }
}

#[test]
fn a_buckets_settings_are_held_against_the_policy() {
    let encrypted = |algorithm: &str| {
        Some(Some(DefaultEncryption { algorithm: algorithm.into(), kms_key: None }))
    };
    let table = [
        ("as the policy asks", bucket_with(|_| {})),
        ("suspended", bucket_with(|b| b.versioning = Some(BucketVersioning::Suspended))),
        ("never versioned", bucket_with(|b| b.versioning = Some(BucketVersioning::Off))),
        ("keys of S3", bucket_with(|b| b.encryption = encrypted("AES256"))),
        ("twice under KMS", bucket_with(|b| b.encryption = encrypted("aws:kms:dsse"))),
        ("not encrypted", bucket_with(|b| b.encryption = Some(None))),
        ("kept too short", bucket_with(|b| b.noncurrent = Some(vec![noncurrent_rule(30, true)]))),
        (
            "a part kept too short",
            bucket_with(|b| {
                b.noncurrent = Some(vec![noncurrent_rule(90, true), noncurrent_rule(7, false)]);
            }),
        ),
        ("kept for longer", bucket_with(|b| b.noncurrent = Some(vec![noncurrent_rule(365, true)]))),
        ("kept for ever", bucket_with(|b| b.noncurrent = Some(vec![]))),
        ("denied", Err(access_denied())),
    ];
    let lines: Vec<_> = table
        .into_iter()
        .map(|(case, look)| format!("{case}:{}", report_lines(&evaluate_observed(look))))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    as the policy asks: fine
    suspended:
        critical versioning-off: versioning is suspended: what is overwritten or deleted is lost
    never versioned:
        critical versioning-off: versioning is off: what is overwritten or deleted is lost
    keys of S3:
        critical encryption-differs: default encryption is AES256, the policy says aws:kms
    twice under KMS: fine
    not encrypted:
        critical encryption-differs: default encryption is off, the policy says aws:kms
    kept too short:
        critical noncurrent-too-short: the lifecycle rule "after-30" lets go of replaced and deleted versions after 30 days, the policy keeps them for 90d
    a part kept too short:
        critical noncurrent-too-short: the lifecycle rule "after-7" lets go of replaced and deleted versions after 7 days, the policy keeps them for 90d
    kept for longer:
        warning noncurrent-too-long: replaced and deleted versions stay for 365 days, the policy lets them go after 90d
    kept for ever:
        warning noncurrent-unlimited: no lifecycle rule of the whole bucket lets go of replaced and deleted versions: they stay for ever
    denied:
        critical observation-failed: read versioning of s3://media: AccessDenied: said S3
    "#);
}

#[test]
fn a_replica_is_judged_by_what_it_lacks_and_what_s3_says() {
    let missing = |n: usize, age| {
        let mut pairs = vec![same_pair("a")];
        pairs.extend((0..n).map(|i| ObjectPair::Missing(object(&format!("m{i}"), age))));
        bucket_with_pairs(pairs)
    };
    let other = S3Object { size: 9, ..object("d", 90) };
    let table = [
        ("all there", bucket_with_pairs(vec![same_pair("a")])),
        ("young ones on their way", missing(50, 59)),
        ("as many late as tolerated", missing(2, 61)),
        ("one more", missing(3, 61)),
        ("another form", bucket_with_pairs(vec![ObjectPair::Both(object("d", 90), other)])),
        (
            "more in the replica",
            bucket_with_pairs(vec![same_pair("a"), ObjectPair::Extra(object("x", 600))]),
        ),
        ("nothing in the source", bucket_with_pairs(vec![])),
        ("S3 says that it is behind", bucket_with_replication(|r| r.latency = Some(7200.0))),
        ("S3 says that it is not", bucket_with_replication(|r| r.latency = Some(3.0))),
        ("no rule", bucket_with_replication(|r| r.rules.clear())),
        ("a rule to another bucket", bucket_with_replication(|r| r.rules[0].to = "other".into())),
        ("the rule is off", bucket_with_replication(|r| r.rules[0].enabled = false)),
        ("the rule takes in a part", bucket_with_replication(|r| r.rules[0].tagged = true)),
        (
            "the replica keeps no versions",
            bucket_with_replication(|r| r.versioning = BucketVersioning::Suspended),
        ),
        ("no time", bucket_with_replication(|r| r.stopped_at_key = Some("k".into()))),
        (
            "other bytes",
            bucket_with_replication(|r| r.sampled.push(("b".into(), SampleResult::Differs))),
        ),
        (
            "moved on while it was read",
            bucket_with_replication(|r| r.sampled.push(("b".into(), SampleResult::Inconclusive))),
        ),
        (
            "unreadable",
            bucket_with_replication(|r| {
                r.sampled.push((
                    "b".into(),
                    SampleResult::Unreadable(
                        "read s3://media/b: AccessDenied".into(),
                        "allow it".into(),
                    ),
                ));
            }),
        ),
    ];
    let lines: Vec<_> = table
        .into_iter()
        .map(|(case, look)| format!("{case}:{}", report_lines(&evaluate_observed(look))))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    all there: fine
    young ones on their way: fine
    as many late as tolerated:
        warning replication-lag: the replica media-replica is 1h 1m behind, 1h is allowed; the oldest object is "m0"
    one more:
        critical replication-lag: the replica media-replica is 1h 1m behind, 1h is allowed; the oldest object is "m0"
        critical replica-incomplete: 3 of 4 objects are not in the replica media-replica in their newest form after 1h, 2 are tolerated (3 missing, 0 differ, the youngest included)
    another form:
        warning replication-lag: the replica media-replica is 1h 30m behind, 1h is allowed; the oldest object is "d"
    more in the replica:
        info replica-extra: the replica media-replica has 1 objects that the source has not (2 objects and 20 bytes there, 1 and 10 in the source)
    nothing in the source:
        warning no-objects: the policy replicates it to media-replica and it has no objects
    S3 says that it is behind:
        critical replication-lag: the replica media-replica is 2h behind, 1h is allowed
    S3 says that it is not: fine
    no rule:
        critical rule-missing: a replication rule to media-replica does not exist: what is written now is not replicated
    a rule to another bucket:
        critical rule-missing: a replication rule to media-replica does not exist: what is written now is not replicated
    the rule is off:
        critical rule-missing: a replication rule to media-replica is not enabled: what is written now is not replicated
    the rule takes in a part:
        warning replication-rule-narrow: the rules to media-replica ("all") take in some keys or tags only, and the policy replicates all keys
    the replica keeps no versions:
        critical replica-versioning: versioning of the replica media-replica is suspended: S3 can't replicate to it
    no time:
        critical run-unfinished: there was no time to compare with media-replica beyond "k"
    other bytes:
        critical replica-differs: "b" has other bytes in the replica media-replica
    moved on while it was read: fine
    unreadable:
        critical replica-not-readable: "b" could not be compared with its replica: read s3://media/b: AccessDenied
    "#);
}

#[test]
fn values_are_published_only_of_what_was_compared_whole() {
    let value = |look| {
        let values = evaluate_observed(look).values;
        let asset = values.iter().filter(|v| v.asset.is_some());
        asset.map(|v| format!("{} {}", v.metric.name(), v.value)).collect::<Vec<_>>().join(", ")
    };
    let late = || {
        bucket_with_pairs(vec![
            same_pair("a"),
            ObjectPair::Missing(object("m", 90)),
            ObjectPair::Missing(object("y", 30)),
        ])
    };
    assert_eq!(value(late()), "ReplicationLag 5400, ReplicationMissing 1");
    let larger = bucket_with_replication(|r| r.latency = Some(60.0));
    assert_eq!(value(larger), "ReplicationLag 60, ReplicationMissing 0");
    assert_eq!(value(Err(access_denied())), "", "missing data makes the alarm ring");
    assert_eq!(value(bucket_with_replication(|r| r.stopped_at_key = Some("k".into()))), "");
    assert_eq!(evaluate_observed(Err(access_denied())).values, vec![]);
}

#[test]
fn a_buckets_standing_carries_its_worst_finding_and_its_size() {
    let fine = evaluate_observed(bucket_with(|_| {}));
    assert_eq!((fine.assets[0].max_severity, fine.assets[0].size_bytes), (None, Some(20)));
    let bad = evaluate_observed(Err(access_denied()));
    insta::assert_debug_snapshot!(bad.assets, @r#"
    [
        AssetStatus {
            asset: "media",
            group: "media",
            newest_point: None,
            age_seconds: None,
            max_age_seconds: None,
            max_age_derived: false,
            size_bytes: None,
            offsite_age_seconds: None,
            offsite_wanted: true,
            proof_age_seconds: None,
            proof_wanted: false,
            coverage: NotObserved,
            max_severity: Some(
                Critical,
            ),
            messages: [
                "read versioning of s3://media: AccessDenied: said S3",
            ],
        },
    ]
    "#);
}

fn state_with_replica(seconds: ObservedResult<Option<f64>>) -> ReplicationState {
    let group = policy().databases.keys().next().expect("a group").clone();
    let (id, of) = ("orders-read".into(), "orders".into());
    ReplicationState {
        replicas: vec![ReplicaLag { group, id, source_id: of, seconds }],
        ..ReplicationState::default()
    }
}

#[test]
fn a_read_replica_is_judged_by_its_lag_and_silence_is_no_proof() {
    let group = policy().databases.keys().next().expect("a group").clone();
    let gap = Finding::new(
        Severity::Critical,
        "eu-west-1 in 111122223333",
        FindingCode::ObservationFailed,
        "denied",
        "allow it",
    );
    let table = [
        ("in time", state_with_replica(Ok(Some(59.5)))),
        ("just in time", state_with_replica(Ok(Some(60.0)))),
        ("late", state_with_replica(Ok(Some(61.0)))),
        ("not replicating", state_with_replica(Ok(Some(-1.0)))),
        ("silent", state_with_replica(Ok(None))),
        ("not to be asked", state_with_replica(Err(access_denied()))),
        (
            "no replica",
            ReplicationState {
                groups_without_replicas: vec![group.clone()],
                ..ReplicationState::default()
            },
        ),
        (
            "RDS not seen",
            ReplicationState { rds_error: Some((gap, vec![group])), ..ReplicationState::default() },
        ),
        (
            "an unknown name",
            ReplicationState { unknown: vec!["ordres".into()], ..ReplicationState::default() },
        ),
    ];
    let lines = table.map(|(case, seen)| {
        let judged = plan(&policy(), &seen, now());
        let values = judged.values.iter().map(|v| {
            format!("\n    {} of {:?} {:?}: {}", v.metric.name(), v.group, v.asset, v.value)
        });
        format!("{case}:{}{}", report_lines(&judged), values.collect::<String>())
    });
    insta::assert_snapshot!(lines.join("\n"), @r#"
    in time: fine
        ReplicaLag of Some("fleet") Some("orders-read"): 59.5
        ReplicaLag of Some("fleet") None: 59.5
        ReplicaLag of None None: 59.5
    just in time: fine
        ReplicaLag of Some("fleet") Some("orders-read"): 60
        ReplicaLag of Some("fleet") None: 60
        ReplicaLag of None None: 60
    late:
        critical replica-lag: it is 61 s behind orders, 60 s are allowed
        ReplicaLag of Some("fleet") Some("orders-read"): 61
        ReplicaLag of Some("fleet") None: 61
        ReplicaLag of None None: 61
    not replicating:
        critical replica-stopped: its replication from orders is not running
    silent:
        critical replica-lag-unknown: CloudWatch has no lag of it behind orders: that it keeps up is not proven
    not to be asked:
        critical observation-failed: read versioning of s3://media: AccessDenied: said S3
    no replica:
        critical no-replica: the policy watches the lag of read replicas and there is none
    RDS not seen:
        critical observation-failed: denied
    an unknown name:
        critical unknown-asset: no bucket, group or watched read replica has this name
    "#);
}

#[test]
fn a_rule_with_a_prefix_on_purpose_is_no_finding() {
    let asked = |prefixes: &[&str]| BucketReplication {
        to: "dr".parse().expect("a name"),
        max_lag: "1h".parse().expect("a period"),
        tolerance: 0,
        sample: 10,
        prefixes: prefixes.iter().map(ToString::to_string).collect(),
    };
    let mut seen = replicated_bucket(vec![same_pair("images/a")]);
    (seen.rules[0].covers_bucket, seen.rules[0].prefix) = (false, "images/".into());
    let found = |prefixes: &[&str]| {
        let mut found = Vec::new();
        check_rules(&asked(prefixes), &seen, &mut |_, what, _, _| found.push(what.as_str()));
        found
    };
    assert_eq!(found(&["images/"]), [""; 0]);
    assert_eq!(found(&["images/2026/"]), [""; 0], "the rule takes in more");
    assert_eq!(found(&[]), ["replication-rule-narrow"]);
    assert_eq!(found(&["images/", "video/"]), ["replication-rule-narrow"]);
}

//! What lies on hosts and in second places.

use super::super::stored::{ChecksumStatus, ObjectAsset, ObjectRecoveryPoint, object_assets};
use super::*;

const NOW: &str = "2026-11-20T12:00:00Z";

fn host_policy() -> Policy {
    parse_policy(
        "holdfast: 1\ncompany: acme\nid: host-1\npostgres:\n  main:\n    databases: [orders]\n    min_free_space: 10GB\n    \
         objectives: { max_age: 25h, min_size: 1MB, max_size_deviation: 50% }\n    \
         storage: { directory: /var/backups/orders, suffix: .sql.gz, key: \"{reason}/{database}_%Y%m%d_%H%M%S.sql.gz\" }\n    \
         copies: [{ bucket: acme-dumps, endpoint: \"http://localhost:9000\", prefix: pg/ }]\n    \
         dumps: { daily: { keep: { for: 7d } } }\n",
    )
}

fn point_of_age(key: &str, megabytes: u64, hours: i64) -> ObjectRecoveryPoint {
    let at = parse_time(NOW) - SignedDuration::from_hours(hours);
    ObjectRecoveryPoint { key: key.into(), size: megabytes << 20, at, reason: Some("daily".into()) }
}

/// Everything well: seven dumps of 20 MiB here, the newest of them copied, and disk enough.
fn healthy_asset() -> ObjectAsset {
    let all = object_assets(&host_policy(), &std::collections::BTreeMap::new());
    assert_eq!(all.len(), 1);
    let mut orders = all[0].clone();
    for day in 0..7 {
        orders.add_point(point_of_age(&format!("daily/orders_{day}"), 20, 10 + 24 * day));
    }
    orders.copies[0].add_point(point_of_age("pg/orders_0", 20, 10));
    orders.free = Some(50_000_000_000);
    orders.checksum = Some(ChecksumStatus::Matches);
    orders
}

fn plan_with(change: impl FnOnce(&mut ObjectAsset)) -> FreshnessPlan {
    let mut orders = healthy_asset();
    change(&mut orders);
    plan(
        &host_policy(),
        &FreshnessObservations { object_assets: vec![orders], ..FreshnessObservations::default() },
        parse_time(NOW),
    )
}

#[test]
fn a_host_where_all_is_well_has_no_finding_and_all_its_values() {
    let verdict = plan_with(|_| {});
    insta::assert_snapshot!(format_plan(&verdict), @"fine");
    let of = [
        Metric::BackupAge,
        Metric::OffsiteCopyAge,
        Metric::BackupSize,
        Metric::Points,
        Metric::SizeDeviation,
        Metric::DiskFree,
        Metric::FailingAssets,
    ];
    insta::assert_snapshot!(metric_lines(&verdict, &of), @"
    BackupAge main orders 36000
    BackupAge main * 36000
    BackupAge * * 36000
    OffsiteCopyAge main orders 36000
    OffsiteCopyAge main * 36000
    OffsiteCopyAge * * 36000
    BackupSize main orders 20971520
    FailingAssets main * 0
    FailingAssets * * 0
    Points main orders 7
    SizeDeviation main orders 0
    Points main * 7
    Points * * 7
    SizeDeviation main * 0
    SizeDeviation * * 0
    DiskFree main * 50000000000
    DiskFree * * 50000000000
    ");
}

#[test]
fn every_fault_of_a_host_is_found_with_its_hint() {
    type AssetChange = fn(&mut ObjectAsset);
    let table: &[(&str, AssetChange)] = &[
        ("nothing there", |s| s.newest.clear()),
        ("too old", |s| s.newest.retain(|p| p.at < parse_time("2026-11-19T12:00:00Z"))),
        ("from the future", |s| s.newest = vec![point_of_age("daily/orders_x", 20, -3)]),
        ("too small", |s| s.newest[0].size = 1000),
        ("much larger", |s| s.newest[0].size *= 3),
        ("much larger than another reason's", |s| {
            s.newest[0].size *= 3;
            s.newest[0].reason = Some("monthly".into());
        }),
        ("damaged", |s| s.checksum = Some(ChecksumStatus::Differs)),
        ("no checksum", |s| s.checksum = Some(ChecksumStatus::Missing)),
        ("a file without its record", |s| s.faulty = vec![("daily/x".into(), "no file".into())]),
        ("a full disk", |s| s.free = Some(9_999_999_999)),
        ("a full disk of the second place", |s| {
            s.copies[0].store.directory = Some("/mnt/usb".into());
            s.copies[0].free = Some(5);
        }),
        ("no copy", |s| s.copies[0].newest.clear()),
        ("an old copy", |s| s.copies[0].newest = vec![point_of_age("pg/orders_1", 20, 40)]),
        ("the directory is gone", |s| {
            s.mark_unobserved();
            s.unobserved_reason =
                Some(("list /var/backups/orders: not there".into(), "mount it".into()));
        }),
        ("the second place is down", |s| {
            s.copies[0].mark_unobserved();
            s.copies[0].unobserved_reason = Some(("connection refused".into(), "start it".into()));
        }),
    ];
    let told = table.iter().map(|(case, change)| {
        format!("{case}\n  {}", format_plan(&plan_with(change)).replace('\n', "\n  "))
    });
    insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"), @"
    nothing there
      critical orders no-backup: there is no dump of the whole database under /var/backups/orders/; see whether what writes there runs
    too old
      critical orders backup-stale: its newest object daily/orders_1 is 1d 10h old, over the objective of 1d 1h; see whether what writes to /var/backups/orders/ runs
    from the future
      critical orders clock-skew: what lies under /var/backups/orders/ has a time in the future, which proves nothing; compare the clocks of this host and of what writes there
    too small
      critical orders size-below-minimum: its newest object daily/orders_0 has 1000 bytes, under the least of 1MB; look into it before older ones go: it may be empty
      warning orders size-deviation: its newest object daily/orders_0 has 1000 bytes, -100% against the median of the 6 before it (20971520); see what changed in the data
    much larger
      warning orders size-deviation: its newest object daily/orders_0 has 62914560 bytes, +200% against the median of the 6 before it (20971520); see what changed in the data
    much larger than another reason's
      fine
    damaged
      critical orders checksum-mismatch: its newest object daily/orders_0 is not what its checksum says; take a new one now, and find out what changed it: it was whole when it was written
    no checksum
      warning orders checksum-missing: no checksum lies beside its newest object daily/orders_0; write one beside each (`sha256sum`), so that damage is seen before it is needed
    a file without its record
      warning orders backup-invalid: daily/x counts as no backup: no file; look into it; it is never deleted by itself
    a full disk
      critical main disk-low: 9999999999 bytes are free on the disk of /var/backups/orders, under the 10GB that a dump must leave; free some, or let older dumps go: the next dump is not taken otherwise
    a full disk of the second place
      critical main disk-low: 5 bytes are free on the disk of /mnt/usb, under the 10GB that a dump must leave; free some, or let older dumps go: the next dump is not taken otherwise
    no copy
      critical orders offsite-copy-missing: no copy of it lies under s3://acme-dumps/pg/ at http://localhost:9000; run `holdfast dump main`
    an old copy
      critical orders offsite-copy-stale: its newest copy pg/orders_1 under s3://acme-dumps/pg/ at http://localhost:9000 is 1d 16h old, over the objective of 1d 1h; run `holdfast dump main`
    the directory is gone
      critical orders backup-unknown: what lies under /var/backups/orders/ can't be seen: list /var/backups/orders: not there; mount it
    the second place is down
      critical orders offsite-copy-unknown: its copies under s3://acme-dumps/pg/ at http://localhost:9000 can't be seen: connection refused; start it
    ");
}

#[test]
fn a_place_that_was_not_seen_leaves_its_age_unknown_and_hides_behind_no_other() {
    let verdict = plan_with(|s| {
        s.copies.push(s.copies[0].clone());
        s.copies[1].mark_unobserved();
    });
    assert_eq!(verdict.assets[0].offsite_age_seconds, None);
    insta::assert_snapshot!(metric_lines(&verdict, &[Metric::OffsiteCopyAge, Metric::FailingAssets]), @"
    FailingAssets main * 1
    FailingAssets * * 1
    ");
    let old = self::plan_with(|s| {
        s.copies.push(s.copies[0].clone());
        s.copies[1].newest = vec![point_of_age("pg/orders_1", 20, 20)];
    });
    assert_eq!(old.assets[0].offsite_age_seconds, Some(20 * 3600), "of two places the older");
}

#[test]
fn what_is_elsewhere_is_every_group_that_lies_in_a_directory_at_an_endpoint_or_in_azure() {
    let policy = parse_policy(
        "holdfast: 1\ncompany: acme\nhome: { account: \"111122223333\", region: eu-west-1 }\nredis:\n  \
         here: { keep: { for: 7d }, objectives: { max_age: 25h }, storage: { directory: /var/lib/redis/ } }\n  \
         there: { keep: { for: 7d }, objectives: { max_age: 25h }, storage: { bucket: acme-redis, endpoint: \"https://minio.example\", prefix: r/ } }\n  \
         blue: { keep: { for: 7d }, objectives: { max_age: 25h }, storage: { azure: { account: acme, container: rdb } } }\n  \
         aws: { keep: { for: 7d }, objectives: { max_age: 25h }, storage: { bucket: acme-redis, prefix: aws/ } }\n",
    );
    let all: Vec<_> = object_assets(&policy, &std::collections::BTreeMap::new())
        .iter()
        .map(|s| (s.store.is_outside_aws(), s.display_location()))
        .collect();
    assert_eq!(
        all,
        [
            (false, "s3://acme-redis/aws/".to_owned()),
            (true, "azure://acme/rdb/".to_owned()),
            (true, "/var/lib/redis/".to_owned()),
            (true, "s3://acme-redis/r/ at https://minio.example".to_owned()),
        ]
    );
}

//! Points that lie as objects.

use super::super::stored::{ObjectAsset, object_assets};
use super::*;

const NOW: &str = "2026-11-20T12:00:00Z";

fn policy_of(kind: &str) -> Policy {
    parse_policy(&format!(
        "holdfast: 1\ncompany: acme\nhome: {{ account: \"111122223333\", region: eu-west-1 }}\n{kind}"
    ))
}

fn dumps_policy(key: &str) -> Policy {
    policy_of(&format!(
        "postgres:\n  main:\n    databases: [orders, orders_old, users]\n    objectives: {{ max_age: 25h }}\n    \
         storage: {{ bucket: acme-dumps, prefix: pg/, suffix: .dump, key: \"{key}\" }}\n"
    ))
}

/// The policy's stores with these objects in the bucket: key, size, upload time.
fn filled_assets(policy: &Policy, objects: &[(&str, u64, &str)], now: &str) -> Vec<ObjectAsset> {
    let mut all = object_assets(policy, &std::collections::BTreeMap::new());
    for asset in &mut all {
        for (key, size, modified) in objects {
            asset.add_object(key, *size, parse_time(modified), parse_time(now));
        }
    }
    all
}

fn plan_objects(policy: &Policy, objects: &[(&str, u64, &str)], now: &str) -> FreshnessPlan {
    plan(
        policy,
        &FreshnessObservations {
            object_assets: filled_assets(policy, objects, now),
            ..FreshnessObservations::default()
        },
        parse_time(now),
    )
}

fn newest_lines(verdict: &FreshnessPlan) -> String {
    let lines = verdict.assets.iter().map(|a| {
        let age = a.age_seconds.map_or("no age".into(), human_hours);
        format!("{} {}: {} {age}", a.group, a.asset, a.newest_point.as_deref().unwrap_or("nothing"))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn human_hours(seconds: i64) -> String {
    shared::time::format_duration(SignedDuration::from_secs(seconds))
}

#[test]
fn each_database_is_judged_alone_so_that_no_fresh_dump_hides_a_stale_one() {
    for key in
        ["{database}_%Y%m%d.dump", "%Y/{database}_%Y%m%d.dump", "{reason}/{database}_%Y%m%d.dump"]
    {
        let policy = dumps_policy(key);
        let named = |database: &str, day: &str| {
            let key = key.replace("{database}", database).replace("%Y%m%d", day);
            format!("pg/{}", key.replace("%Y", "2026").replace("{reason}", "by hand"))
        };
        // The name of one database begins another's.
        let (fresh, stale) = (named("orders_old", "20261120"), named("orders", "20261118"));
        let objects = [
            (fresh.as_str(), 9, "2026-11-20T02:10:00Z"),
            (stale.as_str(), 9, "2026-11-18T02:10:00Z"),
        ];
        let verdict = plan_objects(&policy, &objects, NOW);
        let ages: Vec<_> =
            verdict.assets.iter().map(|a| (a.asset.as_str(), a.age_seconds)).collect();
        let hour = 3600;
        let expected = [
            ("orders", Some(57 * hour + 3000)),
            ("orders_old", Some(9 * hour + 3000)),
            ("users", None),
        ];
        assert_eq!(ages, expected, "{key}");
    }
    let policy = dumps_policy("{database}_%Y%m%d.dump");
    let objects = [
        ("pg/orders_old_20261120.dump", 9, "2026-11-20T02:10:00Z"),
        ("pg/orders_20261118.dump", 9, "2026-11-18T02:10:00Z"),
    ];
    let verdict = plan_objects(&policy, &objects, NOW);
    insta::assert_snapshot!(format_plan(&verdict), @"
    critical orders backup-stale: its newest object pg/orders_20261118.dump is 2d 9h old, over the objective of 1d 1h; see whether what writes to s3://acme-dumps/pg/orders_ runs
    critical users no-backup: there is nothing under s3://acme-dumps/pg/users_; see whether what writes there runs
    ");
    insta::assert_snapshot!(metric_lines(&verdict, &[Metric::BackupAge, Metric::FailingAssets]), @"
    BackupAge main orders 208200
    BackupAge main orders_old 35400
    FailingAssets main * 2
    FailingAssets * * 2
    ");
}

#[test]
fn a_listing_is_narrowed_to_what_the_key_begins_with() {
    let prefixes = |key: &str| {
        object_assets(&dumps_policy(key), &std::collections::BTreeMap::new())
            .into_iter()
            .map(|s| s.prefix)
            .collect::<Vec<_>>()
    };
    assert_eq!(prefixes("{database}_%Y%m%d.dump"), ["pg/orders_", "pg/orders_old_", "pg/users_"]);
    assert_eq!(
        prefixes("{database}/{reason}_%Y.dump"),
        ["pg/orders/", "pg/orders_old/", "pg/users/"]
    );
    assert_eq!(prefixes("{reason}/{database}.dump"), ["pg/", "pg/", "pg/"]);
    assert_eq!(prefixes("all_%Y%m%d.dump"), ["pg/"]);
}

#[test]
fn the_time_in_the_key_is_the_datas_and_an_upload_never_makes_it_younger() {
    let cache = |key: &str| {
        policy_of(&format!(
            "redis:\n  cache:\n    keep: {{ for: 7d }}\n    objectives: {{ max_age: 25h }}\n    storage: {{ bucket: acme-redis, prefix: \"r/\", key: \"{key}\" }}\n"
        ))
    };
    let table = [
        (
            "a date is the end of its day",
            "c_%Y%m%d.rdb",
            "r/c_20261118.rdb",
            "2026-11-20T11:00:00Z",
        ),
        (
            "but not later than the upload",
            "c_%Y%m%d.rdb",
            "r/c_20261120.rdb",
            "2026-11-20T02:00:00Z",
        ),
        ("a time is that time", "c_%Y%m%d%H%M.rdb", "r/c_202611200130.rdb", "2026-11-20T02:00:00Z"),
        (
            "an old one uploaded again stays old",
            "c_%Y%m%d%H%M.rdb",
            "r/c_202611010130.rdb",
            "2026-11-20T11:00:00Z",
        ),
        (
            "short for hours and minutes",
            "c_%Y%m%d_%R.rdb",
            "r/c_20261120_01:30.rdb",
            "2026-11-20T02:00:00Z",
        ),
        (
            "with an offset",
            "c_%Y%m%dT%H%M%z.rdb",
            "r/c_20261120T0330+0200.rdb",
            "2026-11-20T02:00:00Z",
        ),
        (
            "what follows the form is free",
            "%Y%m%d/",
            "r/20261118/etc/app.conf",
            "2026-11-20T11:00:00Z",
        ),
        (
            "a key that is not of the form counts by its upload",
            "c_%Y%m%d.rdb",
            "r/dump.rdb",
            "2026-11-20T11:00:00Z",
        ),
        ("a day that is none too", "c_%Y%m%d.rdb", "r/c_20261399.rdb", "2026-11-20T11:00:00Z"),
        ("no time in the form", "dump.rdb", "r/dump.rdb", "2026-11-20T11:00:00Z"),
        ("from the future", "c_%Y%m%d%H%M.rdb", "r/c_202612010130.rdb", "2026-11-20T12:05:01Z"),
    ];
    let rows = table.map(|(case, form, key, modified)| {
        let verdict = plan_objects(&cache(form), &[(key, 9, modified)], NOW);
        format!("{case}\n  {}\n  {}", newest_lines(&verdict), format_plan(&verdict))
    });
    insta::assert_snapshot!(rows.join("\n"), @"
    a date is the end of its day
      cache cache: r/c_20261118.rdb 1d 12h
      critical cache backup-stale: its newest object r/c_20261118.rdb is 1d 12h old, over the objective of 1d 1h; see whether what writes to s3://acme-redis/r/ runs
    but not later than the upload
      cache cache: r/c_20261120.rdb 10h
      fine
    a time is that time
      cache cache: r/c_202611200130.rdb 10h 30m
      fine
    an old one uploaded again stays old
      cache cache: r/c_202611010130.rdb 19d 10h
      critical cache backup-stale: its newest object r/c_202611010130.rdb is 19d 10h old, over the objective of 1d 1h; see whether what writes to s3://acme-redis/r/ runs
    short for hours and minutes
      cache cache: r/c_20261120_01:30.rdb 10h 30m
      fine
    with an offset
      cache cache: r/c_20261120T0330+0200.rdb 10h 30m
      fine
    what follows the form is free
      cache cache: r/20261118/etc/app.conf 1d 12h
      critical cache backup-stale: its newest object r/20261118/etc/app.conf is 1d 12h old, over the objective of 1d 1h; see whether what writes to s3://acme-redis/r/ runs
    a key that is not of the form counts by its upload
      cache cache: r/dump.rdb 1h
      fine
    a day that is none too
      cache cache: r/c_20261399.rdb 1h
      fine
    no time in the form
      cache cache: r/dump.rdb 1h
      fine
    from the future
      cache cache: nothing no age
      critical cache clock-skew: what lies under s3://acme-redis/r/ has a time in the future, which proves nothing; compare the clocks of this host and of what writes there
    ");
}

#[test]
fn a_name_dated_in_the_future_counts_for_nothing_and_hides_nothing() {
    let one = |form: &str, key: &str| {
        plan_objects(&dumps_policy(form), &[(key, 9, "2026-11-20T11:00:00Z")], NOW)
    };
    let table = [
        // Uploaded an hour ago, by whoever may add.
        ("all_%Y%m%d_%H%M%S.dump", "pg/all_20990101_000000.dump", false),
        ("all_%Y%m%d.dump", "pg/all_20261122.dump", false),
        ("all_%Y%m%dT%H%M%S%z.dump", "pg/all_20261120T120600+0000.dump", false),
        ("all_%Y%m%dT%H%M%S%z.dump", "pg/all_20261120T120400+0000.dump", true),
        // Without an offset it may be the local time of a zone that is ahead, by 14 hours at most.
        ("all_%Y%m%d_%H%M%S.dump", "pg/all_20261121_020000.dump", true),
        ("all_%Y%m%d_%H%M%S.dump", "pg/all_20261121_020600.dump", false),
        ("all_%Y%m%d.dump", "pg/all_20261121.dump", true),
    ];
    for (form, key, counts) in table {
        let verdict = one(form, key);
        let newest = verdict.assets[0].newest_point.as_deref();
        assert_eq!(newest, counts.then_some(key), "{key}");
        assert_eq!(format_plan(&verdict).contains("critical main clock-skew"), !counts, "{key}");
    }
    // However many there are, the good ones are seen behind them.
    let ahead: Vec<String> = (1..=9).map(|i| format!("pg/all_2099010{i}.dump")).collect();
    let mut objects: Vec<_> =
        ahead.iter().map(|k| (k.as_str(), 9, "2026-11-20T11:00:00Z")).collect();
    objects.push(("pg/all_20261118.dump", 9, "2026-11-18T02:00:00Z"));
    insta::assert_snapshot!(format_plan(&plan_objects(&dumps_policy("all_%Y%m%d.dump"), &objects, NOW)), @"
    warning main clock-skew: 9 under s3://acme-dumps/pg/ are dated in the future and count for nothing: pg/all_20990101.dump; find out who put them there, or whose clock is ahead
    critical main backup-stale: its newest object pg/all_20261118.dump is 2d 10h old, over the objective of 1d 1h; see whether what writes to s3://acme-dumps/pg/ runs
    ");
}

#[test]
fn an_object_is_stale_from_the_second_after_the_objective_on() {
    let policy = dumps_policy("all_%Y%m%d_%H%M%S.dump");
    let said = ["2026-11-21T03:00:00Z", "2026-11-21T03:00:01Z"].map(|now| {
        format_plan(&plan_objects(
            &policy,
            &[("pg/all_20261120_020000.dump", 9, "2026-11-20T02:10:00Z")],
            now,
        ))
    });
    insta::assert_snapshot!(said.join("\n"), @"
    fine
    critical main backup-stale: its newest object pg/all_20261120_020000.dump is 1d 1h old, over the objective of 1d 1h; see whether what writes to s3://acme-dumps/pg/ runs
    ");
}

#[test]
fn folder_markers_checksums_and_other_suffixes_are_no_points() {
    let policy = dumps_policy("all_%Y%m%d.dump");
    let beside = [
        ("pg/", 0, "2026-11-20T02:00:00Z"),
        ("pg/folder.dump/", 0, "2026-11-20T02:00:00Z"),
        ("pg/all_20261120.dump.sha256", 64, "2026-11-20T02:00:00Z"),
        ("pg/all_20261120.dump.part", 5, "2026-11-20T02:00:00Z"),
        ("other/all_20261120.dump", 5, "2026-11-20T02:00:00Z"),
    ];
    insta::assert_snapshot!(format_plan(&plan_objects(&policy, &beside, NOW)), @"critical main no-backup: there is nothing under s3://acme-dumps/pg/; see whether what writes there runs");
    // Where no suffix is given, a marker still is none.
    let bare = policy_of(
        "files:\n  conf:\n    keep: { for: 7d }\n    from: { directory: /etc/acme }\n    objectives: { max_age: 25h }\n    storage: { bucket: acme-conf, prefix: c/ }\n",
    );
    let bare = plan_objects(
        &bare,
        &[("c/", 0, "2026-11-20T02:00:00Z"), ("c/2026/", 0, "2026-11-20T02:00:00Z")],
        NOW,
    );
    insta::assert_snapshot!(format_plan(&bare), @"critical conf no-backup: there is nothing under s3://acme-conf/c/; see whether what writes there runs");
}

#[test]
fn the_newest_objects_size_is_judged_by_the_least_and_by_the_median_before() {
    let policy = policy_of(
        "redis:\n  cache:\n    keep: { for: 7d }\n    objectives: { max_age: 25h, min_size: 1KB, max_size_deviation: 50% }\n    storage: { bucket: acme-redis }\n",
    );
    let days = [
        "2026-11-13T02:00:00Z",
        "2026-11-14T02:00:00Z",
        "2026-11-15T02:00:00Z",
        "2026-11-16T02:00:00Z",
        "2026-11-17T02:00:00Z",
        "2026-11-18T02:00:00Z",
        "2026-11-19T02:00:00Z",
        "2026-11-20T02:00:00Z",
        "2026-11-20T03:00:00Z",
    ];
    let said = |sizes: &[u64]| {
        let keys: Vec<_> = (0..sizes.len()).map(|i| format!("{i}.rdb")).collect();
        let first = days.len() - sizes.len();
        let objects: Vec<_> =
            (0..sizes.len()).map(|i| (keys[i].as_str(), sizes[i], days[first + i])).collect();
        format_plan(&plan_objects(&policy, &objects, NOW))
    };
    let table = [
        ("the least", said(&[1000])),
        ("under the least", said(&[999])),
        ("nothing in it", said(&[0])),
        ("half as much again", said(&[2000, 2000, 2000, 3000])),
        ("a byte more than that", said(&[2000, 2000, 2000, 3001])),
        ("half", said(&[4000, 4000, 4000, 2000])),
        ("less than half", said(&[4000, 4000, 4000, 1999])),
        ("one strange one before does not matter", said(&[2000, 1, 2000, 2000])),
        (
            "of nine, the first is forgotten",
            said(&[1, 2000, 2000, 2000, 2000, 2000, 2000, 2000, 2000]),
        ),
        ("nothing before it had anything in it", said(&[0, 0, 2000])),
    ];
    let rows = table.map(|(case, said)| format!("{case}\n  {}", said.replace('\n', "\n  ")));
    insta::assert_snapshot!(rows.join("\n"), @"
    the least
      fine
    under the least
      critical cache size-below-minimum: its newest object 0.rdb has 999 bytes, under the least of 1KB; look into it before older ones go: it may be empty
    nothing in it
      critical cache size-below-minimum: its newest object 0.rdb has 0 bytes, under the least of 1KB; look into it before older ones go: it may be empty
    half as much again
      fine
    a byte more than that
      warning cache size-deviation: its newest object 3.rdb has 3001 bytes, +50% against the median of the 3 before it (2000); see what changed in the data
    half
      fine
    less than half
      warning cache size-deviation: its newest object 3.rdb has 1999 bytes, -50% against the median of the 3 before it (4000); see what changed in the data
    one strange one before does not matter
      fine
    of nine, the first is forgotten
      fine
    nothing before it had anything in it
      fine
    ");
}

#[test]
fn a_size_is_judged_where_no_age_is_asked_and_that_no_age_is_asked_is_said() {
    let store = |objectives: &str| {
        policy_of(&format!(
            "redis:\n  cache:\n    keep: {{ for: 7d }}\n    objectives: {{ {objectives} }}\n    storage: {{ bucket: acme-redis }}\n"
        ))
    };
    insta::assert_snapshot!(format_plan(&plan_objects(&store("min_size: 1KB"), &[("a", 5, NOW)], NOW)), @"
    warning cache not-watched: no objective is written and no schedule implies one, so nobody knows when its newest point is too old; write objectives.max_age in its group
    critical cache size-below-minimum: its newest object a has 5 bytes, under the least of 1KB; look into it before older ones go: it may be empty
    ");
    insta::assert_snapshot!(format_plan(&plan_objects(&store("min_size: 1KB"), &[], NOW)), @"critical cache no-backup: there is nothing under s3://acme-redis/; see whether what writes there runs");
    let nothing = plan_objects(&store("max_size_deviation: 50%"), &[("a", 5, NOW)], NOW);
    assert_eq!(nothing.assets[0].status_label(), "not watched");
}

#[test]
fn a_store_that_can_not_be_read_to_its_end_has_no_newest_object() {
    let policy = dumps_policy("{database}_%Y%m%d.dump");
    let mut all = filled_assets(
        &policy,
        &[
            ("pg/orders_20261120.dump", 9, "2026-11-20T02:00:00Z"),
            ("pg/users_20261120.dump", 9, "2026-11-20T02:00:00Z"),
        ],
        NOW,
    );
    all.retain(|s| s.asset != "orders_old");
    all[0].mark_unobserved();
    let facts = FreshnessObservations {
        object_assets: all,
        observation_errors: vec![observation_error(Location::home_from_policy(&policy))],
        ..FreshnessObservations::default()
    };
    let verdict = plan(&policy, &facts, parse_time(NOW));
    insta::assert_snapshot!(format_plan(&verdict), @"
    critical eu-west-1 in 111122223333 observation-failed: describe DB snapshots: Throttling: Rate exceeded; wait
    critical orders backup-unknown: what lies under s3://acme-dumps/pg/orders_ can't be seen; see the gap of that place
    ");
    insta::assert_snapshot!(metric_lines(&verdict, &[Metric::BackupAge, Metric::FailingAssets]), @"
    BackupAge main users 36000
    FailingAssets main * 2
    FailingAssets * * 2
    ");
}

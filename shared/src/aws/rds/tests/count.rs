//! How many calls a sweep makes: pages, and nothing else.

use super::*;
use std::fmt::Write as _;

/// What RDS answers at most in one page.
const PAGE: usize = 100;
const SNAPSHOTS: usize = 16;

/// The page of a list that `request` asks for: as many of `total` as fit, made by `one`.
fn page(request: &Asked, list: &str, total: usize, one: impl Fn(usize) -> String) -> Answer {
    let from: usize = request.parameter("Marker").map_or(0, |m| m.parse().expect("a number"));
    let most = request.parameter("MaxRecords").map_or(PAGE, |n| n.parse().expect("a number"));
    let to = total.min(from + most.min(PAGE));
    let mut result: String = (from..to).map(one).collect();
    result = format!("<{list}>{result}</{list}>");
    if to < total {
        write!(result, "<Marker>{to}</Marker>").expect("text");
    }
    wire::rds(&request.operation, &result)
}

/// An account with so many instances and clusters, each with sixteen snapshots.
fn account(databases: usize, clusters: usize) -> Aws {
    wire::aws(move |request| match request.operation.as_str() {
        "DescribeDBInstances" => page(request, "DBInstances", databases, |n| {
            format!(
                "<DBInstance><DBInstanceIdentifier>acme-{n}</DBInstanceIdentifier></DBInstance>"
            )
        }),
        "DescribeDBClusters" => page(request, "DBClusters", clusters, |n| {
            format!("<DBCluster><DBClusterIdentifier>acme-c{n}</DBClusterIdentifier></DBCluster>")
        }),
        "DescribeDBSnapshots" => page(request, "DBSnapshots", databases * SNAPSHOTS, |n| {
            let tags = "<TagList><Tag><Key>holdfast:owner</Key><Value>acme</Value></Tag></TagList>";
            format!(
                "<DBSnapshot><DBSnapshotIdentifier>s{n}</DBSnapshotIdentifier><DBInstanceIdentifier>acme-{}\
                 </DBInstanceIdentifier><Status>available</Status>{tags}</DBSnapshot>",
                n / SNAPSHOTS
            )
        }),
        "DescribeDBClusterSnapshots" => {
            page(request, "DBClusterSnapshots", clusters * SNAPSHOTS, |n| {
                format!(
                    "<DBClusterSnapshot><DBClusterSnapshotIdentifier>c{n}</DBClusterSnapshotIdentifier>\
                 <DBClusterIdentifier>acme-c{}</DBClusterIdentifier></DBClusterSnapshot>",
                    n / SNAPSHOTS
                )
            })
        }
        "DescribeDBInstanceAutomatedBackups" => {
            page(request, "DBInstanceAutomatedBackups", databases, |n| {
                format!(
                    "<DBInstanceAutomatedBackup><DBInstanceIdentifier>acme-{n}</DBInstanceIdentifier>\
                 </DBInstanceAutomatedBackup>"
                )
            })
        }
        other => panic!("{other} is asked for"),
    })
}

/// Pages of a list; one that is empty takes a call too.
fn pages(count: usize) -> u64 {
    count.div_ceil(PAGE).max(1) as u64
}

fn world<'a>(aws: &'a Aws, policy: &'a Policy) -> World<'a> {
    World {
        aws,
        policy,
        now: model::at("2026-11-20T12:00:00Z"),
        budget: Budget::endless(),
        run: "r".into(),
        dry_run: false,
        host: false,
        topic: None,
        reports: None,
        user: None,
    }
}

#[tokio::test]
async fn a_sweep_makes_as_many_calls_as_there_are_pages_and_no_more() {
    let policy = wired::policy();
    for databases in [8, 100, 1_000] {
        let clusters = databases / 10;
        let snapshots = pages(databases * SNAPSHOTS) + pages(clusters * SNAPSHOTS);
        let home = pages(databases) + pages(clusters) + snapshots;

        let aws = account(databases, clusters);
        let seen = observe(&world(&aws, &policy), Where::Home).await;
        let fleet = &seen.places[&Place::home(&policy)];
        assert_eq!((fleet.databases.len(), seen.gaps.len()), (databases + clusters, 0));
        assert_eq!(fleet.points.len(), (databases + clusters) * SNAPSHOTS);
        let by = fleet.by_database();
        assert!(fleet.databases.iter().all(|d| by.of(d).len() == SNAPSHOTS));
        assert_eq!(aws.calls().so_far().requests, home, "{databases} at home");

        // At a destination there are only snapshots to list.
        let aws = account(databases, clusters);
        observe(&world(&aws, &policy), Where::Everywhere).await;
        assert_eq!(aws.calls().so_far().requests, home + snapshots, "{databases} everywhere");

        // Restore windows are one list more.
        let aws = account(databases, clusters);
        aws.rds(&Place::home(&policy)).earliest_restorable().await.expect("windows");
        assert_eq!(aws.calls().so_far().requests, pages(databases), "{databases} windows");
    }
}

#[tokio::test]
async fn a_sweep_over_a_thousand_databases_with_nothing_to_do_makes_at_most_two_hundred_calls() {
    let policy = wired::policy();
    let aws = account(1_000, 0);
    let seen = observe(&world(&aws, &policy), Where::Home).await;
    assert_eq!(seen.places[&Place::home(&policy)].points.len(), 16_000);
    // Ten pages of instances, 160 of their snapshots, and one of clusters and of their snapshots, which is empty.
    assert_eq!(aws.calls().so_far().requests, 172);
    aws.rds(&Place::home(&policy)).earliest_restorable().await.expect("windows");
    assert_eq!(
        aws.calls().so_far().requests,
        182,
        "with the restore windows, which freshness asks for"
    );
}

//! How many calls a sweep makes: pages, and nothing else.

use super::*;
use std::fmt::Write as _;

/// What RDS answers at most in one page.
const PAGE: usize = 100;
const SNAPSHOTS: usize = 16;

/// The page of a list that `request` asks for: as many of `total` as fit, made by `one`.
fn list_page(
    request: &RecordedRequest,
    list: &str,
    total: usize,
    one: impl Fn(usize) -> String,
) -> CannedResponse {
    let from: usize = request.parameter("Marker").map_or(0, |m| m.parse().expect("a number"));
    let most = request.parameter("MaxRecords").map_or(PAGE, |n| n.parse().expect("a number"));
    let to = total.min(from + most.min(PAGE));
    let mut result: String = (from..to).map(one).collect();
    result = format!("<{list}>{result}</{list}>");
    if to < total {
        write!(result, "<Marker>{to}</Marker>").expect("text");
    }
    wire::rds_response(&request.operation, &result)
}

/// An account with so many instances and clusters, each with sixteen snapshots.
fn mock_account(databases: usize, clusters: usize) -> AwsClients {
    wire::mock_aws(move |request| match request.operation.as_str() {
        "DescribeDBInstances" => list_page(request, "DBInstances", databases, |n| {
            format!(
                "<DBInstance><DBInstanceIdentifier>acme-{n}</DBInstanceIdentifier></DBInstance>"
            )
        }),
        "DescribeDBClusters" => list_page(request, "DBClusters", clusters, |n| {
            format!("<DBCluster><DBClusterIdentifier>acme-c{n}</DBClusterIdentifier></DBCluster>")
        }),
        "DescribeDBSnapshots" => list_page(request, "DBSnapshots", databases * SNAPSHOTS, |n| {
            let tags = "<TagList><Tag><Key>holdfast:owner</Key><Value>acme</Value></Tag></TagList>";
            format!(
                "<DBSnapshot><DBSnapshotIdentifier>s{n}</DBSnapshotIdentifier><DBInstanceIdentifier>acme-{}\
                 </DBInstanceIdentifier><Status>available</Status>{tags}</DBSnapshot>",
                n / SNAPSHOTS
            )
        }),
        "DescribeDBClusterSnapshots" => {
            list_page(request, "DBClusterSnapshots", clusters * SNAPSHOTS, |n| {
                format!(
                    "<DBClusterSnapshot><DBClusterSnapshotIdentifier>c{n}</DBClusterSnapshotIdentifier>\
                 <DBClusterIdentifier>acme-c{}</DBClusterIdentifier></DBClusterSnapshot>",
                    n / SNAPSHOTS
                )
            })
        }
        "DescribeDBInstanceAutomatedBackups" => {
            list_page(request, "DBInstanceAutomatedBackups", databases, |n| {
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
fn page_count(count: usize) -> u64 {
    count.div_ceil(PAGE).max(1) as u64
}

fn run_context<'a>(aws: &'a AwsClients, policy: &'a Policy) -> RunContext<'a> {
    RunContext {
        aws,
        policy,
        now: model::parse_time("2026-11-20T12:00:00Z"),
        deadline: Deadline::unlimited(),
        run_id: "r".into(),
        dry_run: false,
        on_host: false,
        failure_topic: None,
        reports_topic: None,
        user: None,
    }
}

#[tokio::test]
async fn a_sweep_makes_as_many_calls_as_there_are_pages_and_no_more() {
    let policy = wired::offsite_policy();
    for databases in [8, 100, 1_000] {
        let clusters = databases / 10;
        let snapshots = page_count(databases * SNAPSHOTS) + page_count(clusters * SNAPSHOTS);
        let home = page_count(databases) + page_count(clusters) + snapshots;

        let aws = mock_account(databases, clusters);
        let seen = observe_inventory(&run_context(&aws, &policy), ObservationScope::Home).await;
        let fleet = &seen.locations[&Location::home_from_policy(&policy)];
        assert_eq!((fleet.databases.len(), seen.errors.len()), (databases + clusters, 0));
        assert_eq!(fleet.points.len(), (databases + clusters) * SNAPSHOTS);
        let by = fleet.points_by_database();
        assert!(fleet.databases.iter().all(|d| by.for_database(d).len() == SNAPSHOTS));
        assert_eq!(aws.call_counter().current_counts().requests, home, "{databases} at home");

        // At a destination there are only snapshots to list.
        let aws = mock_account(databases, clusters);
        observe_inventory(&run_context(&aws, &policy), ObservationScope::Everywhere).await;
        assert_eq!(
            aws.call_counter().current_counts().requests,
            home + snapshots,
            "{databases} everywhere"
        );

        // Restore windows are one list more.
        let aws = mock_account(databases, clusters);
        aws.rds(&Location::home_from_policy(&policy)).earliest_restorable().await.expect("windows");
        assert_eq!(
            aws.call_counter().current_counts().requests,
            page_count(databases),
            "{databases} windows"
        );
    }
}

#[tokio::test]
async fn a_sweep_over_a_thousand_databases_with_nothing_to_do_makes_at_most_two_hundred_calls() {
    let policy = wired::offsite_policy();
    let aws = mock_account(1_000, 0);
    let seen = observe_inventory(&run_context(&aws, &policy), ObservationScope::Home).await;
    assert_eq!(seen.locations[&Location::home_from_policy(&policy)].points.len(), 16_000);
    // Ten pages of instances, 160 of their snapshots, and one of clusters and of their snapshots, which is empty.
    assert_eq!(aws.call_counter().current_counts().requests, 172);
    aws.rds(&Location::home_from_policy(&policy)).earliest_restorable().await.expect("windows");
    assert_eq!(
        aws.call_counter().current_counts().requests,
        182,
        "with the restore windows, which freshness asks for"
    );
}

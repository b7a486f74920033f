use super::*;
use crate::{
    aws::{
        AwsClients, CallCounter, OperationErrorKind,
        wire::{self, CannedResponse, RecordedRequest},
    },
    model,
    observe::{ObservationScope, observe_inventory},
    policy::Policy,
    run::{Deadline, RunContext},
};
use aws_sdk_rds::{
    config::{http::HttpResponse, retry::RetryConfig},
    operation::{
        describe_db_cluster_snapshots::DescribeDbClusterSnapshotsOutput as ClusterSnapshots,
        describe_db_clusters::DescribeDbClustersOutput as Clusters,
        describe_db_instances::DescribeDbInstancesOutput as Instances,
        describe_db_snapshots::DescribeDbSnapshotsOutput as Snapshots,
    },
    types::{
        DbCluster, DbClusterSnapshot, DbInstance, DbInstanceAutomatedBackup, DbSnapshot,
        RestoreWindow, Tag,
    },
};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use aws_smithy_types::{DateTime, body::SdkBody};
use std::sync::{Arc, Mutex};

mod count;
mod wired;

fn home_location() -> Location {
    Location {
        account: "111122223333".parse().expect("an account"),
        region: "eu-west-1".parse().expect("a region"),
        role: None,
    }
}

/// RDS behind mocked answers.
fn mock_rds(rules: &[&Rule]) -> RdsClient {
    let once = RetryConfig::disabled();
    let client =
        mock_client!(aws_sdk_rds, RuleMode::MatchAny, rules, |c| c.retry_config(once.clone()));
    RdsClient::new(client, home_location())
}

/// A refusal as RDS writes it on the wire.
fn error_response(status: u16, code: &str) -> HttpResponse {
    let (status, body) = wire::query_error_response(status, code);
    HttpResponse::new(status.try_into().expect("a status"), SdkBody::from(body))
}

fn sdk_time(time: &str) -> DateTime {
    DateTime::from_secs(model::parse_time(time).as_second())
}

fn instance_named(id: &str) -> DbInstance {
    DbInstance::builder().db_instance_identifier(id).dbi_resource_id(format!("db-{id}")).build()
}

fn cluster_named(id: &str, engine: &str) -> DbCluster {
    DbCluster::builder().db_cluster_identifier(id).engine(engine).build()
}

fn snapshot_builder(id: &str) -> aws_sdk_rds::types::builders::DbSnapshotBuilder {
    DbSnapshot::builder().db_snapshot_identifier(id).status("available")
}

fn cluster_snapshot(id: &str) -> aws_sdk_rds::types::builders::DbClusterSnapshotBuilder {
    DbClusterSnapshot::builder().db_cluster_snapshot_identifier(id).status("available")
}

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build()
}

/// The first pages of the four lists, each with a marker, then what `last` makes of the second ones.
fn two_pages() -> [Rule; 4] {
    [
        mock!(Client::describe_db_instances).match_requests(|r| r.marker().is_none()).then_output(
            || Instances::builder().marker("2").db_instances(instance_named("a")).build(),
        ),
        mock!(Client::describe_db_clusters).match_requests(|r| r.marker().is_none()).then_output(
            || {
                Clusters::builder()
                    .marker("2")
                    .db_clusters(cluster_named("c", "aurora-postgresql"))
                    .build()
            },
        ),
        mock!(Client::describe_db_snapshots).match_requests(|r| r.marker().is_none()).then_output(
            || {
                Snapshots::builder()
                    .marker("2")
                    .db_snapshots(snapshot_builder("a-1").build())
                    .build()
            },
        ),
        mock!(Client::describe_db_cluster_snapshots)
            .match_requests(|r| r.marker().is_none())
            .then_output(|| {
                let first = cluster_snapshot("c-1").build();
                ClusterSnapshots::builder().marker("2").db_cluster_snapshots(first).build()
            }),
    ]
}

fn last_pages() -> [Rule; 4] {
    [
        mock!(Client::describe_db_instances)
            .match_requests(|r| r.marker() == Some("2"))
            .then_output(|| Instances::builder().db_instances(instance_named("b")).build()),
        mock!(Client::describe_db_clusters)
            .match_requests(|r| r.marker() == Some("2"))
            .then_output(|| {
                Clusters::builder().db_clusters(cluster_named("d", "postgres")).build()
            }),
        mock!(Client::describe_db_snapshots)
            .match_requests(|r| r.marker() == Some("2"))
            .then_output(|| {
                Snapshots::builder().db_snapshots(snapshot_builder("a-2").build()).build()
            }),
        mock!(Client::describe_db_cluster_snapshots)
            .match_requests(|r| r.marker() == Some("2"))
            .then_output(|| {
                ClusterSnapshots::builder()
                    .db_cluster_snapshots(cluster_snapshot("c-2").build())
                    .build()
            }),
    ]
}

#[tokio::test]
async fn every_list_is_read_to_its_last_page() {
    let (first, last) = (two_pages(), last_pages());
    let rules: Vec<_> = first.iter().chain(&last).collect();
    let fleet = mock_rds(&rules).inventory().await.expect("a fleet");
    let databases: Vec<_> = fleet.databases.iter().map(|d| (d.id.as_str(), d.family)).collect();
    let (instance, cluster) = (DatabaseKind::Instance, DatabaseKind::Cluster);
    assert_eq!(databases, [("a", instance), ("b", instance), ("c", cluster), ("d", cluster)]);
    let points: Vec<_> = fleet.points.iter().map(|p| p.id.as_str()).collect();
    assert_eq!(points, ["a-1", "a-2", "c-1", "c-2"]);
    assert!(rules.iter().all(|r| r.num_calls() == 1));
}

#[tokio::test]
async fn a_last_page_that_fails_fails_the_whole_and_never_leaves_half_a_fleet() {
    let denied = [
        mock!(Client::describe_db_instances)
            .then_http_response(|| error_response(403, "AccessDenied")),
        mock!(Client::describe_db_clusters)
            .then_http_response(|| error_response(403, "AccessDenied")),
        mock!(Client::describe_db_snapshots)
            .then_http_response(|| error_response(403, "AccessDenied")),
        mock!(Client::describe_db_cluster_snapshots)
            .then_http_response(|| error_response(403, "AccessDenied")),
    ];
    let mut said = Vec::new();
    for (i, denied) in denied.iter().enumerate() {
        let (first, last) = (two_pages(), last_pages());
        let last = last.iter().enumerate().map(|(n, rule)| if n == i { denied } else { rule });
        let rules: Vec<_> = first.iter().chain(last).collect();
        let error = mock_rds(&rules).inventory().await.expect_err("half a fleet");
        assert_eq!(error.kind, OperationErrorKind::Denied);
        said.push(error.to_string());
    }
    insta::assert_snapshot!(said.join("\n"), @"
    describe DB instances in eu-west-1 in 111122223333: AccessDenied: said AWS
    describe DB clusters in eu-west-1 in 111122223333: AccessDenied: said AWS
    describe DB snapshots in eu-west-1 in 111122223333: AccessDenied: said AWS
    describe DB cluster snapshots in eu-west-1 in 111122223333: AccessDenied: said AWS
    ");
}

#[tokio::test]
async fn what_is_no_database_of_its_own_or_not_of_rds_is_left_out() {
    let instances = mock!(Client::describe_db_instances).then_output(|| {
        let member = DbInstance::builder().db_instance_identifier("member").engine("docdb");
        let member = member.db_cluster_identifier("cluster").build();
        Instances::builder().db_instances(member).db_instances(instance_named("own")).build()
    });
    let clusters = mock!(Client::describe_db_clusters).then_output(|| {
        let all = ["docdb", "neptune", "aurora-mysql", "postgres"].map(|e| cluster_named(e, e));
        Clusters::builder().set_db_clusters(Some(all.to_vec())).build()
    });
    let snapshots =
        mock!(Client::describe_db_snapshots).then_output(|| Snapshots::builder().build());
    let cluster_snapshots = mock!(Client::describe_db_cluster_snapshots).then_output(|| {
        let all =
            ["docdb", "neptune", "aurora-mysql"].map(|e| cluster_snapshot(e).engine(e).build());
        ClusterSnapshots::builder().set_db_cluster_snapshots(Some(all.to_vec())).build()
    });
    let rds = mock_rds(&[&instances, &clusters, &snapshots, &cluster_snapshots]);
    let fleet = rds.inventory().await.expect("a fleet");
    let databases: Vec<_> = fleet.databases.iter().map(|d| d.id.as_str()).collect();
    assert_eq!(databases, ["own", "aurora-mysql", "postgres"]);
    let points: Vec<_> = fleet.points.iter().map(|p| p.id.as_str()).collect();
    assert_eq!(points, ["aurora-mysql"]);
}

/// The one point that RDS describes, and how it stands.
async fn describe_state(snapshot: DbSnapshot) -> String {
    let rule = mock!(Client::describe_db_snapshots)
        .then_output(move || Snapshots::builder().db_snapshots(snapshot.clone()).build());
    let point =
        mock_rds(&[&rule]).describe_snapshot(DatabaseKind::Instance, "s").await.expect("an answer");
    let point = point.expect("a point");
    let time = point.data_time.map_or("no time".into(), |t| t.to_string());
    format!("{:?} {time}{}", point.state, if point.automated { " automated" } else { "" })
}

#[tokio::test]
async fn a_snapshots_time_is_the_datas_and_never_the_copys() {
    let (data, original, own) =
        ("2026-11-20T01:00:00Z", "2026-11-20T02:00:00Z", "2026-11-20T03:00:00Z");
    let base = || snapshot_builder("s").snapshot_create_time(sdk_time(own));
    let both = || base().original_snapshot_create_time(sdk_time(original));
    let copy = |s: aws_sdk_rds::types::builders::DbSnapshotBuilder| {
        s.source_db_snapshot_identifier("arn:aws:rds:eu-west-1:111122223333:snapshot:x")
    };
    let marked = tag("holdfast:copy-of", "arn:aws:rds:eu-west-1:111122223333:snapshot:x");
    let table = [
        ("all three", both().snapshot_database_time(sdk_time(data))),
        ("no time of the data", both()),
        ("only its own", base()),
        ("a copy with all three", copy(both().snapshot_database_time(sdk_time(data)))),
        ("a copy without the data's", copy(both())),
        ("a copy with its own only", copy(base())),
        ("a copy by our mark only", base().tag_list(marked)),
        ("no source, written as an empty text", base().source_db_snapshot_identifier("")),
        ("at its very begin", DbSnapshot::builder().db_snapshot_identifier("s").status("creating")),
        ("on its way, with a time", base().status("creating")),
        ("copying", copy(both()).status("copying")),
        ("queued", base().status("queued")),
        ("a word that RDS may say one day", base().status("thinking")),
        ("no word at all", DbSnapshot::builder().db_snapshot_identifier("s")),
        ("failed", both().status("failed")),
        ("being deleted", both().status("deleting")),
        ("RDS's own", base().snapshot_type("automated")),
        ("AWS Backup's", base().snapshot_type("awsbackup")),
    ];
    let mut rows = Vec::new();
    for (case, snapshot) in table {
        rows.push(format!("{case}: {}", describe_state(snapshot.build()).await));
    }
    insta::assert_snapshot!(rows.join("\n"), @r#"
    all three: Good 2026-11-20T01:00:00Z
    no time of the data: Good 2026-11-20T02:00:00Z
    only its own: Good 2026-11-20T03:00:00Z
    a copy with all three: Good 2026-11-20T01:00:00Z
    a copy without the data's: Good 2026-11-20T02:00:00Z
    a copy with its own only: Good no time
    a copy by our mark only: Good no time
    no source, written as an empty text: Good 2026-11-20T03:00:00Z
    at its very begin: InFlight no time
    on its way, with a time: InFlight no time
    copying: InFlight no time
    queued: InFlight no time
    a word that RDS may say one day: InFlight no time
    no word at all: InFlight no time
    failed: Failed("failed") no time
    being deleted: Failed("deleting") no time
    RDS's own: Good 2026-11-20T03:00:00Z automated
    AWS Backup's: Good 2026-11-20T03:00:00Z
    "#);
}

#[tokio::test]
async fn a_cluster_copys_time_is_what_its_maker_wrote_on_it() {
    let own = || cluster_snapshot("s").snapshot_create_time(sdk_time("2026-11-20T03:00:00Z"));
    let copy =
        || own().source_db_cluster_snapshot_arn("arn:aws:rds:eu-west-1:1:cluster-snapshot:x");
    let table = [
        ("no copy", own()),
        ("a copy that says so", copy().tag_list(tag("holdfast:data-time", "2026-11-20T01:00:00Z"))),
        ("a copy that says nothing", copy()),
        ("a copy that says nonsense", copy().tag_list(tag("holdfast:data-time", "yesterday"))),
        (
            "no copy, whatever is written",
            own().tag_list(tag("holdfast:data-time", "2026-11-20T01:00:00Z")),
        ),
        ("on its way", own().status("creating")),
    ];
    let mut rows = Vec::new();
    for (case, snapshot) in table {
        let snapshot = snapshot.build();
        let rule = mock!(Client::describe_db_cluster_snapshots).then_output(move || {
            ClusterSnapshots::builder().db_cluster_snapshots(snapshot.clone()).build()
        });
        let point = mock_rds(&[&rule])
            .describe_snapshot(DatabaseKind::Cluster, "s")
            .await
            .expect("an answer");
        let time = point.expect("a point").data_time.map_or("no time".into(), |t| t.to_string());
        rows.push(format!("{case}: {time}"));
    }
    insta::assert_snapshot!(rows.join("\n"), @"
    no copy: 2026-11-20T03:00:00Z
    a copy that says so: 2026-11-20T01:00:00Z
    a copy that says nothing: no time
    a copy that says nonsense: no time
    no copy, whatever is written: 2026-11-20T03:00:00Z
    on its way: no time
    ");
}

#[tokio::test]
async fn a_snapshot_is_found_by_its_arn_whatever_its_identifier_holds() {
    let instance = mock!(Client::describe_db_snapshots).match_requests(|r| {
        r.db_snapshot_identifier() == Some("rds:orders-2026-11-20-02-00")
            && r.snapshot_type() == Some("automated")
    });
    let instance = instance.then_output(|| {
        let found =
            snapshot_builder("rds:orders-2026-11-20-02-00").db_instance_identifier("orders");
        Snapshots::builder().db_snapshots(found.build()).build()
    });
    let cluster = mock!(Client::describe_db_cluster_snapshots).match_requests(|r| {
        r.db_cluster_snapshot_identifier() == Some("by-hand") && r.snapshot_type().is_none()
    });
    let cluster = cluster.then_output(|| {
        let found = cluster_snapshot("by-hand").db_cluster_identifier("ledger").build();
        ClusterSnapshots::builder().db_cluster_snapshots(found).build()
    });
    let gone = mock!(Client::describe_db_snapshots)
        .match_requests(|r| r.db_snapshot_identifier() == Some("gone"))
        .then_http_response(|| error_response(404, "DBSnapshotNotFound"));
    let denied = mock!(Client::describe_db_snapshots)
        .match_requests(|r| r.db_snapshot_identifier() == Some("secret"))
        .then_http_response(|| error_response(403, "AccessDenied"));
    let rds = mock_rds(&[&instance, &cluster, &gone, &denied]);
    let mut rows = Vec::new();
    for arn in [
        "arn:aws:rds:eu-west-1:111122223333:snapshot:rds:orders-2026-11-20-02-00",
        "arn:aws:rds:eu-west-1:111122223333:cluster-snapshot:by-hand",
        "arn:aws:rds:eu-west-1:111122223333:snapshot:gone",
        "arn:aws:rds:us-east-1:111122223333:snapshot:elsewhere",
        "arn:aws:rds:eu-west-1:111122223333:snapshot:secret",
        "rds:orders-2026-11-20-02-00",
        "",
    ] {
        let said = match rds.find_snapshot_by_arn(arn).await {
            Ok(Some(point)) => format!("{:?} {}", point.kind, point.database),
            Ok(None) => "none".into(),
            Err(e) => format!("{e}; {}", e.hint()),
        };
        rows.push(format!("{arn}: {said}"));
    }
    insta::assert_snapshot!(rows.join("\n"), @"
    arn:aws:rds:eu-west-1:111122223333:snapshot:rds:orders-2026-11-20-02-00: Instance orders
    arn:aws:rds:eu-west-1:111122223333:cluster-snapshot:by-hand: Cluster ledger
    arn:aws:rds:eu-west-1:111122223333:snapshot:gone: none
    arn:aws:rds:us-east-1:111122223333:snapshot:elsewhere: none
    arn:aws:rds:eu-west-1:111122223333:snapshot:secret: describe snapshot secret: AccessDenied: said AWS; allow this action in the role that made the call
    rds:orders-2026-11-20-02-00: read rds:orders-2026-11-20-02-00: it is not the ARN of a snapshot; this is not what Holdfast expects there: look at it; the next run tries again
    : read : it is not the ARN of a snapshot; this is not what Holdfast expects there: look at it; the next run tries again
    ");
}

/// A point whose database is looked for.
async fn point_of(family: DatabaseKind, name: &str, resource_id: &str) -> RecoveryPoint {
    let (name, id) = (name.to_owned(), resource_id.to_owned());
    let instance = mock!(Client::describe_db_snapshots).then_output({
        let found =
            snapshot_builder("s").db_instance_identifier(&name).dbi_resource_id(&id).build();
        move || Snapshots::builder().db_snapshots(found.clone()).build()
    });
    let cluster = mock!(Client::describe_db_cluster_snapshots).then_output(move || {
        let found = cluster_snapshot("s").db_cluster_identifier(&name).db_cluster_resource_id(&id);
        ClusterSnapshots::builder().db_cluster_snapshots(found.build()).build()
    });
    let point = mock_rds(&[&instance, &cluster]).describe_snapshot(family, "s").await;
    point.expect("an answer").expect("a point")
}

#[tokio::test]
async fn one_database_is_found_by_its_resource_id_under_any_name() {
    // It was called orders; another one has that name now.
    let instances = mock!(Client::describe_db_instances)
        .match_requests(|r| {
            r.filters()
                .iter()
                .any(|f| f.name() == Some("dbi-resource-id") && f.values() == ["db-1"])
        })
        .then_output(|| {
            let instance = |id: &str, resource: &str| {
                DbInstance::builder().db_instance_identifier(id).dbi_resource_id(resource).build()
            };
            // Who knows no filter answers with all.
            let all = vec![instance("orders", "db-2"), instance("orders-old1", "db-1")];
            Instances::builder().set_db_instances(Some(all)).build()
        });
    let points = mock!(Client::describe_db_snapshots)
        .match_requests(|r| r.dbi_resource_id() == Some("db-1"))
        .then_output(|| {
            let point = |id: &str, name: &str, resource: &str| {
                snapshot_builder(id).db_instance_identifier(name).dbi_resource_id(resource).build()
            };
            let all = vec![
                point("before", "orders", "db-1"),
                point("after", "orders-old1", "db-1"),
                point("other", "orders", "db-2"),
            ];
            Snapshots::builder().set_db_snapshots(Some(all)).build()
        });
    let point = point_of(DatabaseKind::Instance, "orders", "db-1").await;
    let fleet =
        mock_rds(&[&instances, &points]).inventory_for_point(&point).await.expect("a fleet");
    let databases: Vec<_> = fleet.databases.iter().map(|d| d.id.as_str()).collect();
    let points: Vec<_> = fleet.points.iter().map(|p| p.id.as_str()).collect();
    assert_eq!((databases, points), (vec!["orders-old1"], vec!["before", "after"]));
}

#[tokio::test]
async fn one_database_that_is_gone_still_has_its_points() {
    let database = mock!(Client::describe_db_instances)
        .then_http_response(|| error_response(404, "DBInstanceNotFound"));
    let points = mock!(Client::describe_db_snapshots).then_output(|| {
        let last =
            snapshot_builder("last").db_instance_identifier("orders").dbi_resource_id("db-1");
        Snapshots::builder().db_snapshots(last.build()).build()
    });
    let point = point_of(DatabaseKind::Instance, "orders", "db-1").await;
    let fleet = mock_rds(&[&database, &points]).inventory_for_point(&point).await.expect("a fleet");
    assert_eq!((fleet.databases.len(), fleet.points.len()), (0, 1));

    let cluster = mock!(Client::describe_db_clusters)
        .then_http_response(|| error_response(404, "DBClusterNotFoundFault"));
    let none = mock!(Client::describe_db_cluster_snapshots)
        .then_output(|| ClusterSnapshots::builder().build());
    let point = point_of(DatabaseKind::Cluster, "ledger", "cluster-1").await;
    let fleet = mock_rds(&[&cluster, &none]).inventory_for_point(&point).await;
    assert_eq!(fleet.expect("a fleet").databases, []);
}

#[tokio::test]
async fn a_copy_is_of_the_database_that_its_maker_wrote_on_it() {
    let marked = |id: &str| tag("holdfast:resource-id", id);
    let copy = |s: aws_sdk_rds::types::builders::DbSnapshotBuilder| {
        s.source_db_snapshot_identifier("arn:aws:rds:eu-west-1:111122223333:snapshot:x")
    };
    let own = || snapshot_builder("s").dbi_resource_id("db-RDS");
    let table = [
        ("an original", own()),
        ("an original that is marked", own().tag_list(marked("db-MARK"))),
        (
            "an original of which RDS tells nothing",
            snapshot_builder("s").tag_list(marked("db-MARK")),
        ),
        ("a copy", copy(own())),
        ("a copy that is marked", copy(own().tag_list(marked("db-MARK")))),
    ];
    let mut rows = Vec::new();
    for (case, snapshot) in table {
        let snapshot = snapshot.build();
        let rule = mock!(Client::describe_db_snapshots)
            .then_output(move || Snapshots::builder().db_snapshots(snapshot.clone()).build());
        let point = mock_rds(&[&rule])
            .describe_snapshot(DatabaseKind::Instance, "s")
            .await
            .expect("an answer");
        rows.push(format!("{case}: {}", point.expect("a point").resource_id));
    }
    insta::assert_snapshot!(rows.join("\n"), @"
    an original: db-RDS
    an original that is marked: db-RDS
    an original of which RDS tells nothing: db-MARK
    a copy: db-RDS
    a copy that is marked: db-MARK
    ");
}

#[tokio::test]
async fn restore_windows_are_of_living_instances_and_may_have_no_begin_yet() {
    // An instance of the same name in another region replicates its backups to here.
    let backup = |id: &str| {
        DbInstanceAutomatedBackup::builder().db_instance_identifier("orders").dbi_resource_id(id)
    };
    let window = RestoreWindow::builder().earliest_time(sdk_time("2026-11-13T02:00:00Z")).build();
    let backups = vec![
        backup("a").status("active").restore_window(window.clone()).build(),
        backup("b").status("creating").build(),
        backup("c").status("retained").restore_window(window.clone()).build(),
        backup("d").status("replicating").region("us-east-1").restore_window(window).build(),
    ];
    let rule = mock!(Client::describe_db_instance_automated_backups).then_output(move || {
        let page = aws_sdk_rds::operation::describe_db_instance_automated_backups::DescribeDbInstanceAutomatedBackupsOutput::builder();
        page.set_db_instance_automated_backups(Some(backups.clone())).build()
    });
    let found = mock_rds(&[&rule]).earliest_restorable().await.expect("an answer");
    let expected =
        [("a".to_owned(), Some(model::parse_time("2026-11-13T02:00:00Z"))), ("b".to_owned(), None)];
    assert_eq!(found, BTreeMap::from(expected));
}

#[tokio::test]
async fn a_refusal_is_sorted_by_what_a_caller_can_do_about_it() {
    let table = [
        (400, "DBSnapshotAlreadyExists"),
        (400, "DBClusterSnapshotAlreadyExistsFault"),
        (400, "InvalidDBInstanceState"),
        (400, "InvalidDBSnapshotState"),
        (400, "InvalidDBClusterStateFault"),
        (400, "InvalidDBClusterSnapshotStateFault"),
        (400, "SnapshotQuotaExceeded"),
        (400, "SnapshotQuotaExceededFault"),
        (403, "AccessDenied"),
        (403, "AccessDeniedException"),
        (403, "InvalidClientTokenId"),
        (403, "UnrecognizedClientException"),
        (403, "ExpiredToken"),
        (400, "KMSKeyNotAccessibleFault"),
        (400, "KMSInvalidStateException"),
        (400, "KMS.NotFoundException"),
        (404, "DBInstanceNotFound"),
        (404, "DBClusterNotFoundFault"),
        (400, "Throttling"),
        (400, "RequestLimitExceeded"),
        (503, "ServiceUnavailable"),
        (403, "InvalidObjectState"),
        (400, "InvalidParameterCombination"),
        (400, "SomethingNew"),
    ];
    let mut rows = Vec::new();
    for (status, code) in table {
        let rule = mock!(Client::create_db_snapshot)
            .then_http_response(move || error_response(status, code));
        let taken = mock_rds(&[&rule])
            .create_snapshot(DatabaseKind::Instance, "orders", "s", &BTreeMap::new())
            .await;
        let error = taken.expect_err(code);
        assert_eq!(error.to_string(), format!("create snapshot s: {code}: said AWS"));
        rows.push(format!("{:?} {code}: {}", error.kind, error.hint()));
    }
    insta::assert_snapshot!(rows.join("\n"), @"
    Exists DBSnapshotAlreadyExists: look at what is there under that name
    Exists DBClusterSnapshotAlreadyExistsFault: look at what is there under that name
    Busy InvalidDBInstanceState: see the database's state: backing up or being changed it is soon over and the next run goes on; stopped, without storage or without its key it waits for a person
    Busy InvalidDBSnapshotState: the next run tries again; where it stays so, see the snapshot's state in RDS
    Busy InvalidDBClusterStateFault: see the database's state: backing up or being changed it is soon over and the next run goes on; stopped, without storage or without its key it waits for a person
    Busy InvalidDBClusterSnapshotStateFault: the next run tries again; where it stays so, see the snapshot's state in RDS
    Quota SnapshotQuotaExceeded: raise the quota of manual snapshots in this region (Service Quotas), or keep fewer; the next run goes on
    Quota SnapshotQuotaExceededFault: raise the quota of manual snapshots in this region (Service Quotas), or keep fewer; the next run goes on
    Denied AccessDenied: allow this action in the role that made the call
    Denied AccessDeniedException: allow this action in the role that made the call
    Denied InvalidClientTokenId: this access key is not known there: check that it was not deleted, that it is of this partition or store, and that the account has this region enabled
    Denied UnrecognizedClientException: this access key is not known there: check that it was not deleted, that it is of this partition or store, and that the account has this region enabled
    Denied ExpiredToken: the session of these credentials is over: log in again, or write new ones into the environment
    Key KMSKeyNotAccessibleFault: check that the key is enabled and that its key policy lets this role use it
    Key KMSInvalidStateException: see the key's state in KMS: cancel its deletion, enable it, or import its material again
    Key KMS.NotFoundException: check the key's ARN, its region and its account in the policy; a key that was deleted does not come back
    Missing DBInstanceNotFound: check the name, the account and the region in the policy
    Missing DBClusterNotFoundFault: check the name, the account and the region in the policy
    Unreachable Throttling: nothing if it is rare: the next run tries again; otherwise see who else uses up the account's calls
    Unreachable RequestLimitExceeded: nothing if it is rare: the next run tries again; otherwise see who else uses up the account's calls
    Unreachable ServiceUnavailable: nothing: the next run tries again; where it goes on, see AWS's health dashboard
    Archived InvalidObjectState: it lies in an archive class: restore it for some days (aws s3api restore-object), then it can be read
    Refused InvalidParameterCombination: a value that AWS does not take came from the policy or the request: change the one that is named there
    Refused SomethingNew: look this code up in the reference of that call; Holdfast tries again with the next run
    ");
}

#[tokio::test]
async fn deleting_what_is_gone_is_done_and_what_is_refused_is_an_error() {
    let policy = wired::offsite_policy();
    let database = model::db_instance("orders", model::parse_time("2026-11-20T12:00:00Z"));
    let point = model::owned_snapshot(
        &policy,
        &database,
        "daily",
        model::parse_time("2026-11-20T02:00:00Z"),
    );
    let cleared = |family| {
        let point = RecoveryPoint { kind: family, ..point.clone() };
        DeletionPermit::new(point, model::parse_time("2026-11-20T12:00:00Z"))
    };
    let gone = [
        mock!(Client::delete_db_snapshot)
            .then_http_response(|| error_response(404, "DBSnapshotNotFound")),
        mock!(Client::delete_db_cluster_snapshot)
            .then_http_response(|| error_response(404, "DBClusterSnapshotNotFoundFault")),
    ];
    let store = mock_rds(&gone.iter().collect::<Vec<_>>());
    for family in [DatabaseKind::Instance, DatabaseKind::Cluster] {
        assert_eq!(store.delete_snapshot(&cleared(family)).await, Ok(()));
    }
    let busy = mock!(Client::delete_db_snapshot)
        .then_http_response(|| error_response(400, "InvalidDBSnapshotState"));
    let error = mock_rds(&[&busy])
        .delete_snapshot(&cleared(DatabaseKind::Instance))
        .await
        .expect_err("busy");
    assert_eq!(error.kind, OperationErrorKind::Busy);
}

//! What goes over the wire, and what comes back over it.

use super::*;
use std::num::NonZeroU8;

pub(super) fn offsite_policy() -> Policy {
    model::parse_policy(
        r#"
holdfast: 1
company: acme
home: { account: "111122223333", region: eu-west-1 }
destinations:
  dr: { region: us-east-1, kms_key: "arn:aws:kms:us-east-1:111122223333:key/dr" }
databases:
  fleet:
    select: { include: ["acme-*"] }
    snapshots: { daily: { keep: { for: 35d } } }
    copies: [{ to: dr, of: [daily], keep: { newest: 2 } }]
"#,
    )
}

/// An AWS that takes everything, and what it was asked.
fn recording_aws() -> (AwsClients, Arc<Mutex<Vec<RecordedRequest>>>) {
    let asked: Arc<Mutex<Vec<RecordedRequest>>> = Arc::default();
    let held = asked.clone();
    let aws = wire::mock_aws(move |request| {
        held.lock().expect("a lock").push(request.clone());
        wire::rds_response(&request.operation, "")
    });
    (aws, asked)
}

fn sample_tags() -> BTreeMap<String, String> {
    [("env", "prod & more"), ("holdfast:owner", "acme"), ("holdfast:slot", "202611200200")]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into()
}

/// What was sent, to where.
fn sent_request(asked: &Mutex<Vec<RecordedRequest>>) -> String {
    let asked = asked.lock().expect("a lock");
    let lines = asked.iter().map(|a| format!("{}\n{}", a.host, a.body));
    lines.collect::<Vec<_>>().join("\n\n")
}

#[tokio::test]
async fn a_snapshot_is_asked_for_with_all_its_tags() {
    let (aws, asked) = recording_aws();
    let rds = aws.rds(&home_location());
    for (family, id) in [(DatabaseKind::Instance, "orders"), (DatabaseKind::Cluster, "ledger")] {
        rds.create_snapshot(family, id, &format!("{id}-daily-202611200200"), &sample_tags())
            .await
            .expect("taken");
    }
    insta::assert_snapshot!(sent_request(&asked), @"
    rds.eu-west-1.amazonaws.com
    Action=CreateDBSnapshot
    Version=2014-10-31
    DBSnapshotIdentifier=orders-daily-202611200200
    DBInstanceIdentifier=orders
    Tags.Tag.1.Key=env
    Tags.Tag.1.Value=prod & more
    Tags.Tag.2.Key=holdfast:owner
    Tags.Tag.2.Value=acme
    Tags.Tag.3.Key=holdfast:slot
    Tags.Tag.3.Value=202611200200

    rds.eu-west-1.amazonaws.com
    Action=CreateDBClusterSnapshot
    Version=2014-10-31
    DBClusterSnapshotIdentifier=ledger-daily-202611200200
    DBClusterIdentifier=ledger
    Tags.Tag.1.Key=env
    Tags.Tag.1.Value=prod & more
    Tags.Tag.2.Key=holdfast:owner
    Tags.Tag.2.Value=acme
    Tags.Tag.3.Key=holdfast:slot
    Tags.Tag.3.Value=202611200200
    ");
}

#[tokio::test]
async fn a_copy_is_asked_for_at_its_destination_with_key_and_tags() {
    let (aws, asked) = recording_aws();
    let rds =
        aws.rds(&Location { region: "us-east-1".parse().expect("a region"), ..home_location() });
    let copy = SnapshotCopyRequest {
        source_arn: "arn:aws:rds:eu-west-1:111122223333:snapshot:rds:orders-2026-11-20-02-00"
            .into(),
        id: "orders-automated-202611200200".into(),
        kms_key: Some("arn:aws:kms:us-east-1:111122223333:key/dr".into()),
        option_group: Some("tde".into()),
        tags: sample_tags(),
    };
    rds.copy_snapshot(DatabaseKind::Instance, &copy).await.expect("copied");
    let bare = SnapshotCopyRequest { kms_key: None, option_group: None, ..copy };
    rds.copy_snapshot(DatabaseKind::Cluster, &bare).await.expect("copied");
    insta::assert_snapshot!(sent_request(&asked), @"
    rds.us-east-1.amazonaws.com
    Action=CopyDBSnapshot
    Version=2014-10-31
    SourceDBSnapshotIdentifier=arn:aws:rds:eu-west-1:111122223333:snapshot:rds:orders-2026-11-20-02-00
    TargetDBSnapshotIdentifier=orders-automated-202611200200
    KmsKeyId=arn:aws:kms:us-east-1:111122223333:key/dr
    Tags.Tag.1.Key=env
    Tags.Tag.1.Value=prod & more
    Tags.Tag.2.Key=holdfast:owner
    Tags.Tag.2.Value=acme
    Tags.Tag.3.Key=holdfast:slot
    Tags.Tag.3.Value=202611200200
    OptionGroupName=tde

    rds.us-east-1.amazonaws.com
    Action=CopyDBClusterSnapshot
    Version=2014-10-31
    SourceDBClusterSnapshotIdentifier=arn:aws:rds:eu-west-1:111122223333:snapshot:rds:orders-2026-11-20-02-00
    TargetDBClusterSnapshotIdentifier=orders-automated-202611200200
    Tags.Tag.1.Key=env
    Tags.Tag.1.Value=prod & more
    Tags.Tag.2.Key=holdfast:owner
    Tags.Tag.2.Value=acme
    Tags.Tag.3.Key=holdfast:slot
    Tags.Tag.3.Value=202611200200
    ");
}

#[tokio::test]
async fn backup_settings_hold_only_what_changes_and_never_a_zero() {
    let (aws, asked) = recording_aws();
    let rds = aws.rds(&home_location());
    let all = BackupSettings {
        retention_days: NonZeroU8::new(35),
        window: Some("02:00-03:00".into()),
        log_exports: vec!["postgresql".into(), "upgrade".into()],
    };
    let window = BackupSettings { window: Some("02:00-03:00".into()), ..Default::default() };
    rds.modify_backup_settings(DatabaseKind::Instance, "orders", &all).await.expect("set");
    rds.modify_backup_settings(DatabaseKind::Cluster, "ledger", &all).await.expect("set");
    rds.modify_backup_settings(DatabaseKind::Instance, "users", &window).await.expect("set");
    insta::assert_snapshot!(sent_request(&asked), @"
    rds.eu-west-1.amazonaws.com
    Action=ModifyDBInstance
    Version=2014-10-31
    DBInstanceIdentifier=orders
    ApplyImmediately=true
    BackupRetentionPeriod=35
    PreferredBackupWindow=02:00-03:00
    CloudwatchLogsExportConfiguration.EnableLogTypes.member.1=postgresql
    CloudwatchLogsExportConfiguration.EnableLogTypes.member.2=upgrade

    rds.eu-west-1.amazonaws.com
    Action=ModifyDBCluster
    Version=2014-10-31
    DBClusterIdentifier=ledger
    ApplyImmediately=true
    BackupRetentionPeriod=35
    PreferredBackupWindow=02:00-03:00
    CloudwatchLogsExportConfiguration.EnableLogTypes.member.1=postgresql
    CloudwatchLogsExportConfiguration.EnableLogTypes.member.2=upgrade

    rds.eu-west-1.amazonaws.com
    Action=ModifyDBInstance
    Version=2014-10-31
    DBInstanceIdentifier=users
    ApplyImmediately=true
    PreferredBackupWindow=02:00-03:00
    ");
    // A zero can't be written down, so it can't be sent.
    assert_eq!(NonZeroU8::new(0), BackupSettings::default().retention_days);
}

#[tokio::test]
async fn sharing_adds_one_account_and_is_read_back() {
    let (aws, asked) = recording_aws();
    let rds = aws.rds(&home_location());
    rds.share_snapshot(DatabaseKind::Instance, "s", "444455556666").await.expect("shared");
    rds.share_snapshot(DatabaseKind::Cluster, "c", "444455556666").await.expect("shared");
    insta::assert_snapshot!(sent_request(&asked), @"
    rds.eu-west-1.amazonaws.com
    Action=ModifyDBSnapshotAttribute
    Version=2014-10-31
    DBSnapshotIdentifier=s
    AttributeName=restore
    ValuesToAdd.AttributeValue.1=444455556666

    rds.eu-west-1.amazonaws.com
    Action=ModifyDBClusterSnapshotAttribute
    Version=2014-10-31
    DBClusterSnapshotIdentifier=c
    AttributeName=restore
    ValuesToAdd.AttributeValue.1=444455556666
    ");

    let answering = wire::mock_aws(|request| {
        let values =
            "<AttributeValues><AttributeValue>444455556666</AttributeValue></AttributeValues>";
        let one = |kind: &str, name: &str| {
            let (open, close) =
                (format!("<{kind}><AttributeName>{name}</AttributeName>"), format!("</{kind}>"));
            format!("{open}{values}{close}")
        };
        let body = match request.operation.as_str() {
            "DescribeDBSnapshotAttributes" => format!(
                "<DBSnapshotAttributesResult><DBSnapshotAttributes>{}{}</DBSnapshotAttributes></DBSnapshotAttributesResult>",
                one("DBSnapshotAttribute", "restore"),
                one("DBSnapshotAttribute", "other").replace("4444", "9999")
            ),
            _ => format!(
                "<DBClusterSnapshotAttributesResult><DBClusterSnapshotAttributes>{}</DBClusterSnapshotAttributes></DBClusterSnapshotAttributesResult>",
                one("DBClusterSnapshotAttribute", "restore")
            ),
        };
        wire::rds_response(&request.operation, &body)
    });
    let rds = answering.rds(&home_location());
    for family in [DatabaseKind::Instance, DatabaseKind::Cluster] {
        let accounts = rds.shared_with(family, "s").await.expect("an answer");
        assert_eq!(accounts, BTreeSet::from(["444455556666".to_owned()]));
    }
    let (nothing, _) = recording_aws();
    let rds = nothing.rds(&home_location());
    assert_eq!(rds.shared_with(DatabaseKind::Instance, "s").await, Ok(BTreeSet::new()));
}

/// An AWS with one snapshot on two pages, whose second page is refused in these ways first.
fn refusing_aws(first: Vec<CannedResponse>) -> AwsClients {
    let refusals = Mutex::new(first.into_iter());
    wire::mock_aws(move |request| {
        let last = request.parameter("Marker") == Some("2");
        let refusal = if last { refusals.lock().expect("a lock").next() } else { None };
        refusal.unwrap_or_else(|| {
            let id = if last { "b" } else { "a" };
            let snapshot = format!(
                "<DBSnapshot><DBSnapshotIdentifier>{id}</DBSnapshotIdentifier></DBSnapshot>"
            );
            let snapshots = format!("<DBSnapshots>{snapshot}</DBSnapshots>");
            let marker = if last { "" } else { "<Marker>2</Marker>" };
            match request.operation.as_str() {
                "DescribeDBSnapshots" => {
                    wire::rds_response("DescribeDBSnapshots", &(snapshots + marker))
                }
                other => wire::rds_response(other, ""),
            }
        })
    })
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_throttled_is_asked_for_again_and_counted() {
    let slow = vec![
        wire::query_error_response(400, "Throttling"),
        wire::query_error_response(503, "ServiceUnavailable"),
        wire::query_error_response(400, "ThrottlingException"),
    ];
    let aws = refusing_aws(slow);
    let points = aws.rds(&home_location()).list_snapshots().await.expect("both pages");
    assert_eq!(points.iter().map(|p| p.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let used = aws.call_counter().current_counts();
    assert_eq!((used.requests, used.throttled), (2 + 1 + 3, 3));
}

#[tokio::test(start_paused = true)]
async fn what_stays_throttled_is_an_error_and_no_short_list() {
    let aws = refusing_aws(vec![wire::query_error_response(400, "Throttling"); 6]);
    let error = aws.rds(&home_location()).list_snapshots().await.expect_err("no second page");
    assert_eq!(error.kind, OperationErrorKind::Unreachable);
    insta::assert_snapshot!(format!("{error}; {}", error.hint()), @"describe DB snapshots in eu-west-1 in 111122223333: Throttling: said AWS; nothing if it is rare: the next run tries again; otherwise see who else uses up the account's calls");
    assert_eq!(
        aws.call_counter().current_counts(),
        crate::aws::CallCounts { requests: 2 + 6, throttled: 6 }
    );
}

#[tokio::test]
async fn a_refusal_that_is_no_throttling_is_counted_as_none() {
    let aws = wire::mock_aws(|_| wire::query_error_response(400, "InvalidParameterValue"));
    aws.rds(&home_location()).list_snapshots().await.expect_err("refused");
    assert_eq!(
        aws.call_counter().current_counts(),
        crate::aws::CallCounts { requests: 2, throttled: 0 }
    );
    assert_eq!(CallCounter::default().current_counts(), crate::aws::CallCounts::default());
}

#[tokio::test]
async fn a_role_that_can_not_be_assumed_is_told_as_such() {
    use crate::aws::OperationErrorKind;
    use aws_config::{BehaviorVersion, Region, SdkConfig};
    use aws_credential_types::provider::{
        ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future,
    };
    use aws_sdk_sts::operation::assume_role::AssumeRoleError;
    use aws_smithy_types::error::ErrorMetadata;
    #[derive(Debug)]
    struct DeniedCredentials;
    impl ProvideCredentials for DeniedCredentials {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let refused = ErrorMetadata::builder().code("AccessDenied").message("not authorized");
            let refused = AssumeRoleError::generic(refused.build());
            future::ProvideCredentials::ready(Err(CredentialsError::provider_error(refused)))
        }
    }
    let base = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("eu-west-1"))
        .credentials_provider(SharedCredentialsProvider::new(DeniedCredentials));
    let error = AwsClients::new(base.build())
        .rds(&home_location())
        .list_snapshots()
        .await
        .expect_err("no credentials");
    assert_eq!(error.kind, OperationErrorKind::Denied, "{error}");
    assert!(
        error.to_line_with_hint().ends_with("allow this action in the role that made the call"),
        "{error}"
    );
}

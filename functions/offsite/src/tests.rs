use super::*;
use shared::model::{db_instance, owned_snapshot, parse_policy, parse_time};

#[test]
fn what_has_the_name_already_is_success_only_when_it_is_exactly_what_would_have_been_made() {
    let policy = parse_policy(
        "{holdfast: 1, company: acme, home: {account: \"111122223333\", region: eu-west-1}}",
    );
    let orders = db_instance("orders", parse_time("2026-11-20T12:00:00Z"));
    let source = owned_snapshot(&policy, &orders, "daily", parse_time("2026-11-20T02:00:00Z"));
    let more = [
        ("holdfast:copy-of", source.arn.clone()),
        ("holdfast:slot", "202611200200".to_owned()),
        ("holdfast:data-time", "2026-11-20T02:00:00Z".to_owned()),
    ];
    let tags = shared::name::holdfast_tags(&policy.owner(), &orders, "daily", more);
    let marks = HoldfastTags::from_tags(tags.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    let copy = SnapshotCopyRequest {
        source_arn: source.arn.clone(),
        id: "s".into(),
        kms_key: None,
        option_group: None,
        tags,
    };
    let there = |change: fn(&mut RecoveryPoint)| {
        let mut there = RecoveryPoint { tags: marks.clone(), ..source.clone() };
        change(&mut there);
        let refused = OperationError {
            kind: OperationErrorKind::Exists,
            ..OperationError::from_message("copy s", "x")
        };
        ensure_same_copy(Some(&there), &copy, refused)
    };
    assert_eq!(there(|_| ()), Ok(()));
    assert_eq!(there(|p| p.state = RecoveryPointState::InFlight), Ok(()));
    let others: [fn(&mut RecoveryPoint); 6] = [
        |p| p.state = RecoveryPointState::Failed("failed".into()),
        |p| p.tags = HoldfastTags::default(),
        |p| p.tags.owner = Some("acme@111122223333/eu-central-1".into()),
        |p| p.tags.copy_of = Some("arn:of-another".into()),
        |p| p.tags.data_time = None,
        |p| p.tags.transfer = true,
    ];
    for (i, change) in others.into_iter().enumerate() {
        let error = there(change).expect_err("it is another");
        assert_eq!(error.kind, OperationErrorKind::Refused, "{i}: never taken for done");
    }
}

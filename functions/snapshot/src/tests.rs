use super::*;
use shared::model::{db_instance, owned_snapshot, parse_policy, parse_time};

#[test]
fn what_has_the_name_already_is_success_only_when_it_is_exactly_what_would_have_been_made() {
    let policy = parse_policy(
        "{holdfast: 1, company: acme, home: {account: \"111122223333\", region: eu-west-1}}",
    );
    let orders = db_instance("orders", parse_time("2026-11-20T12:00:00Z"));
    let owner = policy.owner();
    let more = [("holdfast:slot", "202611200200".to_owned())];
    let tags = shared::name::holdfast_tags(&owner, &orders, "daily", more);
    let refused = || OperationError {
        kind: OperationErrorKind::Exists,
        ..OperationError::from_message("create snapshot s", "x")
    };
    let there = |change: fn(&mut RecoveryPoint)| {
        let mut there =
            owned_snapshot(&policy, &orders, "daily", parse_time("2026-11-20T02:00:00Z"));
        change(&mut there);
        ensure_same_snapshot(Some(&there), "db-orders", &tags, refused())
    };
    assert_eq!(there(|_| ()), Ok(()));
    assert_eq!(there(|p| p.state = RecoveryPointState::InFlight), Ok(()));
    assert_eq!(there(|p| p.tags.legal_hold = Some("a court".into())), Ok(()));
    let others: [fn(&mut RecoveryPoint); 10] = [
        |p| p.state = RecoveryPointState::Failed("failed".into()),
        |p| p.resource_id = "db-another".into(),
        |p| p.tags = HoldfastTags::default(),
        |p| p.tags.owner = Some("acme@111122223333/eu-central-1".into()),
        |p| p.tags.resource_id = Some("db-another".into()),
        |p| p.tags.family = Some(DatabaseKind::Cluster),
        |p| p.tags.reason = Some("weekly".into()),
        |p| p.tags.slot = Some("202611190200".into()),
        |p| p.tags.request = Some("deploy-7".into()),
        |p| p.tags.additional_reasons = vec![("weekly".into(), "202611150200".into())],
    ];
    for (i, change) in others.into_iter().enumerate() {
        let error = there(change).expect_err("it is another");
        assert_eq!(error.kind, OperationErrorKind::Refused, "{i}: never taken for done");
    }
    assert!(ensure_same_snapshot(None, "db-orders", &tags, refused()).is_err());
}

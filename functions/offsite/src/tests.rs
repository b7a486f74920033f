use super::*;
use shared::model::{at, database, point, policy};

#[test]
fn what_has_the_name_already_is_success_only_when_it_is_exactly_what_would_have_been_made() {
    let policy = policy(
        "{holdfast: 1, company: acme, home: {account: \"111122223333\", region: eu-west-1}}",
    );
    let orders = database("orders", at("2026-11-20T12:00:00Z"));
    let source = point(&policy, &orders, "daily", at("2026-11-20T02:00:00Z"));
    let more = [
        ("holdfast:copy-of", source.arn.clone()),
        ("holdfast:slot", "202611200200".to_owned()),
        ("holdfast:data-time", "2026-11-20T02:00:00Z".to_owned()),
    ];
    let tags = shared::name::marks(&policy.owner(), &orders, "daily", more);
    let marks = Marks::from_tags(tags.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    let copy = Copy {
        source: source.arn.clone(),
        id: "s".into(),
        kms_key: None,
        option_group: None,
        tags,
    };
    let there = |change: fn(&mut Point)| {
        let mut there = Point { marks: marks.clone(), ..source.clone() };
        change(&mut there);
        let refused = EdgeError { kind: Kind::Exists, ..EdgeError::refused("copy s", "x") };
        same(Some(&there), &copy, refused)
    };
    assert_eq!(there(|_| ()), Ok(()));
    assert_eq!(there(|p| p.state = State::InFlight), Ok(()));
    let others: [fn(&mut Point); 6] = [
        |p| p.state = State::Failed("failed".into()),
        |p| p.marks = Marks::default(),
        |p| p.marks.owner = Some("acme@111122223333/eu-central-1".into()),
        |p| p.marks.copy_of = Some("arn:of-another".into()),
        |p| p.marks.data_time = None,
        |p| p.marks.transfer = true,
    ];
    for (i, change) in others.into_iter().enumerate() {
        let error = there(change).expect_err("it is another");
        assert_eq!(error.kind, Kind::Refused, "{i}: never taken for done");
    }
}

use super::*;
use crate::{model, policy::Policy};
use proptest::prelude::*;
use std::sync::OnceLock;

fn database(id: &str, family: Family) -> Database {
    let resource_id = format!("{}-{}", family.word(), id.to_uppercase());
    Database { family, resource_id, ..model::database(id, jiff::Timestamp::UNIX_EPOCH) }
}

/// A point that was made as wanted.
fn made(wanted: &Wanted<'_>, id: &str, state: State) -> Point {
    static POLICY: OnceLock<Policy> = OnceLock::new();
    let policy = POLICY.get_or_init(|| {
        model::policy(
            "{holdfast: 1, company: acme, home: {account: \"111122223333\", region: eu-west-1}}",
        )
    });
    let tags = wanted.tags.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    let point = model::point(policy, wanted.database, "any", jiff::Timestamp::UNIX_EPOCH);
    Point { id: id.into(), state, marks: Marks::from_tags(tags), ..point }
}

fn tags(database: &Database, reason: &str, slot: &str) -> BTreeMap<String, String> {
    marks("acme@host", database, reason, [(mark::SLOT, slot.to_owned())])
}

#[test]
fn the_strategys_own_form_is_kept() {
    let orders = database("lomash-orders-prod", Family::Instance);
    let tags = tags(&orders, "pre-deploy", "202611210200");
    let wanted = Wanted { database: &orders, tail: "pre-deploy-202611210200", tags: &tags };
    let id = free_id(&wanted, [], &BTreeSet::new());
    assert_eq!(id, "lomash-orders-prod-pre-deploy-202611210200");
}

#[test]
fn a_name_that_is_taken_is_counted_on_after_a_failed_try_and_told_apart_from_all_else() {
    let orders = database("orders", Family::Instance);
    let mine = tags(&orders, "daily", "202611210200");
    let wanted = Wanted { database: &orders, tail: "daily-202611210200", tags: &mine };
    let plain = "orders-daily-202611210200";
    let failed = || State::Failed("failed".into());
    let get = |points: &[Point]| free_id(&wanted, points, &BTreeSet::new());
    assert_eq!(get(&[made(&wanted, plain, failed())]), format!("{plain}-r2"));
    let twice = [made(&wanted, plain, failed()), made(&wanted, &format!("{plain}-r2"), failed())];
    assert_eq!(get(&twice), format!("{plain}-r3"));

    // Whatever else has the name: another owner's, another database's of this name, a cluster's, a person's, another demand's.
    let change = |f: &dyn Fn(&mut Point)| {
        let mut point = made(&wanted, plain, failed());
        f(&mut point);
        point
    };
    let others = [
        change(&|p| p.marks.owner = Some("acme@elsewhere".into())),
        change(&|p| p.resource_id = "db-before".into()),
        change(&|p| p.family = Family::Cluster),
        change(&|p| p.marks = Marks::default()),
        change(&|p| p.marks.request = Some("deploy-7".into())),
        change(&|p| p.marks.also = vec![("weekly".into(), "202611150200".into())]),
    ];
    for other in others {
        let apart = get(std::slice::from_ref(&other));
        assert!(
            apart.starts_with(&format!("{plain}-")) && apart.len() == plain.len() + 9,
            "{apart}"
        );
        let again = [other, made(&wanted, &apart, failed())];
        assert_eq!(get(&again), format!("{plain}-r2"), "the tries go on");
    }
    // Promised to another asset of the same run.
    let promised = BTreeSet::from([plain.to_owned()]);
    assert_ne!(free_id(&wanted, [], &promised), plain);
}

#[test]
fn a_hold_that_a_person_added_changes_nothing_of_what_it_is() {
    let orders = database("orders", Family::Instance);
    let tags = tags(&orders, "daily", "202611210200");
    let wanted = Wanted { database: &orders, tail: "daily-202611210200", tags: &tags };
    let mut held = made(&wanted, "x", State::Good);
    held.marks.hold = Some("a court".into());
    assert!(wanted.is(&held));
    held.marks.slot = Some("202611200200".into());
    assert!(!wanted.is(&held));
}

fn any_asset() -> impl Strategy<Value = (Database, String, String)> {
    let word = || prop::sample::select(vec!["shop", "eu", "daily", "now", "a"]);
    let name = || prop::collection::vec(word(), 1..4).prop_map(|w| w.join("-"));
    let slot = prop::sample::select(vec!["202611200200", "202611200201"]);
    (name(), name(), slot, any::<bool>()).prop_map(|(asset, reason, slot, cluster)| {
        let family = if cluster { Family::Cluster } else { Family::Instance };
        (database(&asset, family), reason, slot.to_owned())
    })
}

proptest! {
    /// Whatever is made of whatever, in any order, gets an identifier of its own; made again, it finds itself.
    #[test]
    fn no_two_assets_reasons_and_slots_share_an_identifier(
        all in prop::collection::vec(any_asset(), 1..30), one_run in any::<bool>(),
    ) {
        let (mut points, mut promised): (Vec<Point>, _) = (Vec::new(), BTreeSet::new());
        for (database, reason, slot) in &all {
            let tags = tags(database, reason, slot);
            let tail = format!("{reason}-{slot}");
            let wanted = Wanted { database, tail: &tail, tags: &tags };
            if points.iter().any(|p| wanted.is(p)) {
                continue;
            }
            let id = free_id(&wanted, if one_run { &[][..] } else { &points }, &promised);
            prop_assert!(points.iter().all(|p| p.id != id), "{} twice", id);
            if one_run {
                promised.insert(id.clone());
            }
            points.push(made(&wanted, &id, State::InFlight));
        }
    }

    #[test]
    fn every_identifier_is_one_that_rds_takes_and_long_assets_stay_apart(
        asset in "[a-zA-Z][a-zA-Z0-9]{0,40}(-[a-zA-Z0-9]{1,10}){0,2}", other in "[a-z][a-z0-9]{0,62}",
        cluster in any::<bool>(), tail in "[a-z]{1,20}-202611210200(-111122223333|-transfer)(-r2)?",
        apart in prop::option::of(any::<u32>()),
    ) {
        let family = if cluster { Family::Cluster } else { Family::Instance };
        let id = snapshot_id(family, &asset, &tail, apart);
        prop_assert!(id.len() <= longest(family), "{}", id);
        prop_assert!(id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
        prop_assert!(id.starts_with(|c: char| c.is_ascii_lowercase()) && !id.ends_with('-') && !id.contains("--"));
        // With `apart`, it is the hash of the whole that differs.
        if asset.to_lowercase() != other && apart.is_none() {
            prop_assert_ne!(id, snapshot_id(family, &other, &tail, None));
        }
    }
}

#[test]
fn what_one_point_serves_is_written_as_far_as_a_tag_has_room() {
    let slot = || "202611200200".to_owned();
    assert_eq!(also(&[]), (None, 0));
    let (text, n) = also(&[("monthly", slot()), ("weekly", slot())]);
    assert_eq!((text.as_deref(), n), (Some("monthly:202611200200 weekly:202611200200"), 2));
    let long = "twenty-letters-long-";
    let (text, n) = also(&vec![(long, slot()); 9]);
    assert_eq!((text.expect("a text").len(), n), (237, 7));
    let marks = Marks::from_tags([(mark::REASON, "daily"), (mark::ALSO, "b:1 c:2")].into_iter());
    let served: Vec<_> = marks.serves().collect();
    assert_eq!(served, [("daily", None), ("b", Some("1")), ("c", Some("2"))]);
}

#[test]
fn an_assets_tags_are_kept_and_fifty_is_the_most() {
    let own: BTreeMap<_, _> = (0..60).map(|i| (format!("k{i:02}"), "v".to_owned())).collect();
    let a = database("a", Family::Instance);
    let (tags, left) = merge_tags(&own, marks("acme@host", &a, "daily", []));
    assert_eq!((tags.len(), left.len()), (50, 15));
    let own = BTreeMap::from([
        ("aws:cloudformation:stack-name".to_owned(), "s".to_owned()),
        ("env".to_owned(), "prod".to_owned()),
    ]);
    let (tags, left) = merge_tags(&own, BTreeMap::new());
    assert_eq!((tags.len(), left.len()), (1, 0));
}

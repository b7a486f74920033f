use super::*;
use crate::{model, policy::Policy};
use proptest::prelude::*;
use std::sync::OnceLock;

fn database_of_kind(id: &str, family: DatabaseKind) -> RdsDatabase {
    let resource_id = format!("{}-{}", family.as_str(), id.to_uppercase());
    RdsDatabase { family, resource_id, ..model::db_instance(id, jiff::Timestamp::UNIX_EPOCH) }
}

/// A point that was made as wanted.
fn point_from_spec(
    wanted: &SnapshotSpec<'_>,
    id: &str,
    state: RecoveryPointState,
) -> RecoveryPoint {
    static POLICY: OnceLock<Policy> = OnceLock::new();
    let policy = POLICY.get_or_init(|| {
        model::parse_policy(
            "{holdfast: 1, company: acme, home: {account: \"111122223333\", region: eu-west-1}}",
        )
    });
    let tags = wanted.tags.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    let point = model::owned_snapshot(policy, wanted.database, "any", jiff::Timestamp::UNIX_EPOCH);
    RecoveryPoint { id: id.into(), state, tags: HoldfastTags::from_tags(tags), ..point }
}

fn spec_tags(database: &RdsDatabase, reason: &str, slot: &str) -> BTreeMap<String, String> {
    holdfast_tags("acme@host", database, reason, [(mark::SLOT, slot.to_owned())])
}

#[test]
fn the_strategys_own_form_is_kept() {
    let orders = database_of_kind("lomash-orders-prod", DatabaseKind::Instance);
    let tags = spec_tags(&orders, "pre-deploy", "202611210200");
    let wanted = SnapshotSpec { database: &orders, suffix: "pre-deploy-202611210200", tags: &tags };
    let id = next_free_identifier(&wanted, [], &BTreeSet::new());
    assert_eq!(id, "lomash-orders-prod-pre-deploy-202611210200");
}

#[test]
fn a_name_that_is_taken_is_counted_on_after_a_failed_try_and_told_apart_from_all_else() {
    let orders = database_of_kind("orders", DatabaseKind::Instance);
    let mine = spec_tags(&orders, "daily", "202611210200");
    let wanted = SnapshotSpec { database: &orders, suffix: "daily-202611210200", tags: &mine };
    let plain = "orders-daily-202611210200";
    let failed = || RecoveryPointState::Failed("failed".into());
    let get = |points: &[RecoveryPoint]| next_free_identifier(&wanted, points, &BTreeSet::new());
    assert_eq!(get(&[point_from_spec(&wanted, plain, failed())]), format!("{plain}-r2"));
    let twice = [
        point_from_spec(&wanted, plain, failed()),
        point_from_spec(&wanted, &format!("{plain}-r2"), failed()),
    ];
    assert_eq!(get(&twice), format!("{plain}-r3"));

    // Whatever else has the name: another owner's, another database's of this name, a cluster's, a person's, another demand's.
    let change = |f: &dyn Fn(&mut RecoveryPoint)| {
        let mut point = point_from_spec(&wanted, plain, failed());
        f(&mut point);
        point
    };
    let others = [
        change(&|p| p.tags.owner = Some("acme@elsewhere".into())),
        change(&|p| p.resource_id = "db-before".into()),
        change(&|p| p.kind = DatabaseKind::Cluster),
        change(&|p| p.tags = HoldfastTags::default()),
        change(&|p| p.tags.request = Some("deploy-7".into())),
        change(&|p| p.tags.additional_reasons = vec![("weekly".into(), "202611150200".into())]),
    ];
    for other in others {
        let apart = get(std::slice::from_ref(&other));
        assert!(
            apart.starts_with(&format!("{plain}-")) && apart.len() == plain.len() + 9,
            "{apart}"
        );
        let again = [other, point_from_spec(&wanted, &apart, failed())];
        assert_eq!(get(&again), format!("{plain}-r2"), "the tries go on");
    }
    // Promised to another asset of the same run.
    let promised = BTreeSet::from([plain.to_owned()]);
    assert_ne!(next_free_identifier(&wanted, [], &promised), plain);
}

#[test]
fn a_hold_that_a_person_added_changes_nothing_of_what_it_is() {
    let orders = database_of_kind("orders", DatabaseKind::Instance);
    let tags = spec_tags(&orders, "daily", "202611210200");
    let wanted = SnapshotSpec { database: &orders, suffix: "daily-202611210200", tags: &tags };
    let mut held = point_from_spec(&wanted, "x", RecoveryPointState::Good);
    held.tags.legal_hold = Some("a court".into());
    assert!(wanted.matches_point(&held));
    held.tags.slot = Some("202611200200".into());
    assert!(!wanted.matches_point(&held));
}

fn any_asset() -> impl Strategy<Value = (RdsDatabase, String, String)> {
    let word = || prop::sample::select(vec!["shop", "eu", "daily", "now", "a"]);
    let name = || prop::collection::vec(word(), 1..4).prop_map(|w| w.join("-"));
    let slot = prop::sample::select(vec!["202611200200", "202611200201"]);
    (name(), name(), slot, any::<bool>()).prop_map(|(asset, reason, slot, cluster)| {
        let family = if cluster { DatabaseKind::Cluster } else { DatabaseKind::Instance };
        (database_of_kind(&asset, family), reason, slot.to_owned())
    })
}

proptest! {
    /// Whatever is made of whatever, in any order, gets an identifier of its own; made again, it finds itself.
    #[test]
    fn no_two_assets_reasons_and_slots_share_an_identifier(
        all in prop::collection::vec(any_asset(), 1..30), one_run in any::<bool>(),
    ) {
        let (mut points, mut promised): (Vec<RecoveryPoint>, _) = (Vec::new(), BTreeSet::new());
        for (database, reason, slot) in &all {
            let tags = spec_tags(database, reason, slot);
            let tail = format!("{reason}-{slot}");
            let wanted = SnapshotSpec { database, suffix: &tail, tags: &tags };
            if points.iter().any(|p| wanted.matches_point(p)) {
                continue;
            }
            let id = next_free_identifier(&wanted, if one_run { &[][..] } else { &points }, &promised);
            prop_assert!(points.iter().all(|p| p.id != id), "{} twice", id);
            if one_run {
                promised.insert(id.clone());
            }
            points.push(point_from_spec(&wanted, &id, RecoveryPointState::InFlight));
        }
    }

    #[test]
    fn every_identifier_is_one_that_rds_takes_and_long_assets_stay_apart(
        asset in "[a-zA-Z][a-zA-Z0-9]{0,40}(-[a-zA-Z0-9]{1,10}){0,2}", other in "[a-z][a-z0-9]{0,62}",
        cluster in any::<bool>(), tail in "[a-z]{1,20}-202611210200(-111122223333|-transfer)(-r2)?",
        apart in prop::option::of(any::<u32>()),
    ) {
        let family = if cluster { DatabaseKind::Cluster } else { DatabaseKind::Instance };
        let id = format_snapshot_id(family, &asset, &tail, apart);
        prop_assert!(id.len() <= max_identifier_len(family), "{}", id);
        prop_assert!(id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
        prop_assert!(id.starts_with(|c: char| c.is_ascii_lowercase()) && !id.ends_with('-') && !id.contains("--"));
        // With `apart`, it is the hash of the whole that differs.
        if asset.to_lowercase() != other && apart.is_none() {
            prop_assert_ne!(id, format_snapshot_id(family, &other, &tail, None));
        }
    }
}

#[test]
fn what_one_point_serves_is_written_as_far_as_a_tag_has_room() {
    let slot = || "202611200200".to_owned();
    assert_eq!(additional_reasons_tag(&[]), (None, 0));
    let (text, n) = additional_reasons_tag(&[("monthly", slot()), ("weekly", slot())]);
    assert_eq!((text.as_deref(), n), (Some("monthly:202611200200 weekly:202611200200"), 2));
    let long = "twenty-letters-long-";
    let (text, n) = additional_reasons_tag(&vec![(long, slot()); 9]);
    assert_eq!((text.expect("a text").len(), n), (237, 7));
    let marks =
        HoldfastTags::from_tags([(mark::REASON, "daily"), (mark::ALSO, "b:1 c:2")].into_iter());
    let served: Vec<_> = marks.reasons_with_slots().collect();
    assert_eq!(served, [("daily", None), ("b", Some("1")), ("c", Some("2"))]);
}

#[test]
fn an_assets_tags_are_kept_and_fifty_is_the_most() {
    let own: BTreeMap<_, _> = (0..60).map(|i| (format!("k{i:02}"), "v".to_owned())).collect();
    let a = database_of_kind("a", DatabaseKind::Instance);
    let (tags, left) = merge_tags(&own, holdfast_tags("acme@host", &a, "daily", []));
    assert_eq!((tags.len(), left.len()), (50, 15));
    let own = BTreeMap::from([
        ("aws:cloudformation:stack-name".to_owned(), "s".to_owned()),
        ("env".to_owned(), "prod".to_owned()),
    ]);
    let (tags, left) = merge_tags(&own, BTreeMap::new());
    assert_eq!((tags.len(), left.len()), (1, 0));
}

use super::*;
use crate::record::{ExportRecord, export_key};
use shared::policy::Policy;

const NOW: &str = "2026-11-20T12:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn days_ago(days: i64) -> Timestamp {
    at(NOW) - SignedDuration::from_hours(24 * days)
}

fn policy(more: &str) -> Policy {
    Policy::parse(&format!(
        "{{holdfast: 1, company: acme, home: {{account: \"111122223333\", region: eu-west-1}}, \
         secrets: {{app: {{prefix: app/{more}}}}}}}"
    ))
    .unwrap_or_else(|e| panic!("{e}"))
}

fn secret(name: &str, versions: &[(&str, &str)]) -> SecretState {
    let pair = |(id, labels): &(&str, &str)| {
        ((*id).to_owned(), labels.split(' ').map(str::to_owned).collect())
    };
    SecretState {
        name: name.into(),
        versions: versions.iter().map(pair).collect(),
        created: Some(days_ago(400)),
        changed: Some(days_ago(1)),
        ..SecretState::default()
    }
}

fn exported(name: &str, version: &str) -> ExportRecord {
    ExportRecord {
        holdfast: 1,
        owner: "acme".into(),
        key: export_key(name, version),
        name: name.into(),
        version: version.into(),
        labels: vec![CURRENT.into()],
        created: Some(days_ago(30)),
        exported: days_ago(30),
        run: "r".into(),
        region: "eu-west-1".into(),
        kms_key: None,
        description: String::new(),
        tags: BTreeMap::new(),
        owning_service: None,
        sha256: String::new(),
        recipients: Vec::new(),
        restore: String::new(),
    }
}

fn findings(policy: &Policy, change: impl FnOnce(&mut ObservedGroup<'_>)) -> Vec<String> {
    let (name, rules) = policy.secrets.first_key_value().expect("a group");
    let mut group = ObservedGroup::new(name, rules);
    change(&mut group);
    let planned = plan(&[group], at(NOW));
    planned
        .plan
        .findings
        .iter()
        .map(|f| format!("{} {}: {}", f.severity, f.code, f.message))
        .collect()
}

#[test]
fn every_trap_has_its_finding() {
    let policy = policy(", previous_version: true, rotate_every: 90d, replicas: [us-east-1]");
    let told = findings(&policy, |g| {
        let both = [("a", CURRENT), ("b", PREVIOUS)];
        let well = SecretState { rotated: Some(days_ago(10)), ..secret("app/well", &both) };
        let lone =
            SecretState { rotated: Some(days_ago(10)), ..secret("app/lone", &[("a", CURRENT)]) };
        let deleted = SecretState { deleted: Some(days_ago(2)), ..secret("app/deleted", &both) };
        let unchanged =
            SecretState { changed: Some(days_ago(100)), ..secret("app/unchanged", &both) };
        let stuck = SecretState {
            rotated: Some(days_ago(10)),
            ..secret("app/stuck", &[("a", CURRENT), ("b", PREVIOUS), ("c", PENDING)])
        };
        let overdue = SecretState {
            rotates: true,
            rotated: Some(days_ago(10)),
            next_rotation: Some(days_ago(3)),
            ..secret("app/overdue", &both)
        };
        let keyed = SecretState {
            rotated: Some(days_ago(10)),
            kms_key: Some("key-1".into()),
            ..secret("app/keyed", &both)
        };
        g.keys.insert("key-1".into(), KeyState::Disabled);
        g.version_dates.insert("app/stuck".into(), BTreeMap::from([("c".into(), days_ago(2))]));
        // A tag was changed yesterday; its version is 200 days old.
        let tagged = secret("app/tagged", &both);
        g.version_dates.insert("app/tagged".into(), BTreeMap::from([("a".into(), days_ago(200))]));
        // Its value was written by hand a week ago, which is a rotation too.
        let by_hand = secret("app/by-hand", &both);
        g.version_dates.insert("app/by-hand".into(), BTreeMap::from([("a".into(), days_ago(7))]));
        let there =
            |name: &str, current: &str| (name.to_owned(), secret(name, &[(current, CURRENT)]));
        g.secrets = vec![well, lone, deleted, unchanged, stuck, overdue, keyed, tagged, by_hand];
        let mut replicas: BTreeMap<_, _> = g.secrets.iter().map(|s| there(&s.name, "a")).collect();
        replicas.insert("app/overdue".into(), secret("app/overdue", &[("old", CURRENT)]));
        replicas.remove("app/keyed");
        g.replicas.insert("us-east-1".into(), replicas);
    });
    insta::assert_snapshot!(told.join("\n"), @"
    warning secret-no-previous: app/lone has no previous version, so it cannot be rolled back
    critical secret-deletion-planned: app/deleted is scheduled for deletion since 2026-11-18T12:00:00Z and cannot be read
    warning secret-rotation-old: app/unchanged was not rotated for 100d, and 90d are allowed
    warning secret-rotation-stuck: a rotation of app/stuck was begun 2d ago and is not finished
    warning secret-rotation-stuck: the rotation of app/overdue was due 3d ago
    critical secret-replica: app/overdue has another current version in us-east-1
    critical kms-key-unusable: app/keyed is under the key key-1, which is disabled
    critical secret-replica: app/keyed is not in us-east-1
    warning secret-rotation-old: app/tagged was not rotated for 200d, and 90d are allowed
    ");
}

#[test]
fn an_empty_prefix_and_what_could_not_be_listed_are_never_fine() {
    let policy = policy("");
    assert_eq!(
        findings(&policy, |_| ()),
        ["critical no-objects: no secret's name begins with \"app/\""]
    );
    let told = findings(&policy, |g| {
        g.unlisted = true;
        g.errors.push((
            "eu-west-1".into(),
            OperationError::from_message("list secrets app/*", "denied"),
        ));
    });
    assert_eq!(told, ["critical observation-failed: list secrets app/*: denied"]);
}

#[test]
fn each_complete_version_without_an_export_is_exported_and_no_other() {
    let policy = policy(
        ", storage: {bucket: acme-b}, encrypt: {age: [age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p]}",
    );
    let (name, rules) = policy.secrets.first_key_value().expect("a group");
    let mut group = ObservedGroup::new(name, rules);
    let deleted =
        SecretState { deleted: Some(days_ago(1)), ..secret("app/gone", &[("z", CURRENT)]) };
    group.secrets =
        vec![secret("app/db", &[("a", CURRENT), ("b", PREVIOUS), ("c", PENDING)]), deleted];
    group.exports =
        Some(ExportInventory { exports: vec![exported("app/db", "b")], ignored: Vec::new() });
    let planned = plan(&[group.clone()], at(NOW));
    let steps: Vec<_> =
        planned.plan.steps.iter().map(|s| format!("{}: {}", s.asset, s.action)).collect();
    assert_eq!(steps, ["app/app/db: export version a of app/db"]);
    // With it, nothing is left to do: a value is read once.
    group.exports.as_mut().expect("exports").exports.push(exported("app/db", "a"));
    assert!(plan(&[group], at(NOW)).plan.steps.is_empty());
}

#[test]
fn dates_of_versions_are_asked_for_only_where_the_listing_leaves_a_question() {
    let policy = policy(", rotate_every: 90d");
    let (name, rules) = policy.secrets.first_key_value().expect("a group");
    let group = ObservedGroup::new(name, rules);
    let both = [("a", CURRENT), ("b", PREVIOUS)];
    let table = [
        (
            "rotated within the limit",
            SecretState { rotated: Some(days_ago(10)), ..secret("s", &both) },
            false,
        ),
        (
            "created within the limit",
            SecretState { created: Some(days_ago(10)), ..secret("s", &both) },
            false,
        ),
        (
            "nothing changed within the limit",
            SecretState { changed: Some(days_ago(91)), ..secret("s", &both) },
            false,
        ),
        ("something changed, perhaps a tag", secret("s", &both), true),
        (
            "rotated long ago, something changed",
            SecretState { rotated: Some(days_ago(100)), ..secret("s", &both) },
            true,
        ),
        (
            "a rotation that goes on",
            SecretState {
                rotated: Some(days_ago(1)),
                ..secret("s", &[("a", CURRENT), ("c", PENDING)])
            },
            true,
        ),
    ];
    for (case, state, needed) in table {
        assert_eq!(needs_version_dates(&group, &state, at(NOW)), needed, "{case}");
    }
}

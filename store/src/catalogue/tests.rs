use super::*;
use crate::{Directory, Hold, Put, key::USUAL};
use shared::{
    keep::{Fate, Owed, Question, ReasonRule, decide},
    policy::Keep,
};
use std::collections::BTreeMap;

const KEY: &str = "orders/orders_daily_20261118_020000.dump";

struct World {
    root: tempfile::TempDir,
    store: Store,
}

fn world() -> World {
    let root = tempfile::tempdir().expect("a directory");
    let store = Store::Directory(Directory::new(root.path(), ""));
    World { root, store }
}

impl World {
    /// A backup of 7 bytes, with the sample manifest after `change`.
    async fn commit(&self, key: &str, change: impl Fn(&mut Manifest)) {
        let mut upload = self.store.begin(key, &Put::default()).await.expect("begun");
        upload.write("7 bytes".into()).await.expect("written");
        upload.finish().await.expect("finished");
        let mut manifest = crate::manifest::tests::manifest();
        change(&mut manifest);
        let json = manifest.to_json().into();
        self.store.put(&beside::manifest(key), json, &Put::default()).await.expect("committed");
    }

    fn write(&self, key: &str, text: &str) {
        let path = self.root.path().join(key);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    async fn seen(&self) -> Vec<Backup> {
        let forms = [KeyForm::new(USUAL, ".dump").expect("a form")];
        let databases = ["orders".to_owned(), "orders_archive".to_owned()];
        catalogue(&self.store, &forms, &databases, "listings").await.expect("listed")
    }
}

/// Whether these may go by this rule alone.
fn question<'a>(points: Vec<&'a Point>, rule: &'a Keep) -> Question<'a> {
    Question {
        owner: "listings",
        points,
        kinds: BTreeMap::from([("daily", ReasonRule { keep: vec![rule], owed: Owed::Nothing })]),
        ..Question::default()
    }
}

fn shown(backups: &[Backup]) -> String {
    let line = |b: &Backup| {
        let kind = match &b.kind {
            Of::Committed(_) => "committed".to_owned(),
            Of::Foreign(_) => "foreign".to_owned(),
            Of::Faulty { why, mend, .. } => format!("faulty ({why}; {mend})"),
        };
        let or = |t: Option<&str>| t.unwrap_or("-").to_owned();
        let at = b.data_time().map_or("-".into(), |t| t.to_string());
        format!(
            "{}: {} {} {at} {kind} {}",
            b.key,
            or(b.database()),
            or(b.reason()),
            or(b.hold.as_deref())
        )
    };
    backups.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_store_alone_tells_its_backups_apart_from_all_else() {
    let world = world();
    world.commit(KEY, |_| ()).await;
    // Made under another form, years ago: its manifest speaks for it.
    world.commit("old/first.bin", |m| m.reason = "weekly".into()).await;
    world.commit("orders/orders_daily_20261101_020000.dump", |m| m.company = "other".into()).await;
    world.commit("users/users_daily_20261101_020000.dump", |m| m.database = "users".into()).await;
    let hold = Hold {
        why: "audit".into(),
        since: "2026-11-20T00:00:00Z".parse().expect("a time"),
        by: "ana".into(),
    };
    world.store.hold(KEY, &hold).await.expect("held");
    world.write("orders_archive/orders_archive_daily_20261117_020000.dump", "theirs");
    world.write("orders_archive/orders_archive_daily_20261117_020000.dump.sha256", "x");
    world.write("orders/notes.txt", "x");
    world.write("other/other_daily_20261117_020000.dump", "x");
    // Begun and never committed.
    let mut upload = world
        .store
        .begin("orders/orders_daily_20261119_020000.dump", &Put::default())
        .await
        .expect("begun");
    upload.write("7 bytes".into()).await.expect("written");
    upload.finish().await.expect("finished");
    insta::assert_snapshot!(shown(&world.seen().await), @"
    old/first.bin: orders weekly 2026-11-20T02:00:03Z committed -
    orders/orders_daily_20261118_020000.dump: orders daily 2026-11-20T02:00:03Z committed audit (ana)
    orders_archive/orders_archive_daily_20261117_020000.dump: orders_archive daily 2026-11-17T02:00:00Z foreign -
    ");

    world.store.release(KEY).await.expect("released");
    assert_eq!(world.seen().await[0].hold, None);
}

#[tokio::test]
async fn what_does_not_fit_its_manifest_is_faulty_and_neither_counts_nor_goes() {
    let world = world();
    let key = |day| format!("orders/orders_daily_202611{day}_020000.dump");
    world.commit(&key("10"), |_| ()).await;
    world.write(&key("10"), "cut");
    world.commit(&key("11"), |_| ()).await;
    std::fs::remove_file(world.root.path().join(key("11"))).expect("removed");
    world.commit(&key("12"), |m| m.holdfast = 2).await;
    world.write(&key("13"), "7 bytes");
    world.write(&beside::manifest(&key("13")), "{\"holdfast\": 1");
    world.commit(&key("14"), |_| ()).await;
    let seen = world.seen().await;
    insta::assert_snapshot!(shown(&seen), @"
    orders/orders_daily_20261110_020000.dump: orders daily 2026-11-20T02:00:03Z faulty (read the manifest of orders/orders_daily_20261110_020000.dump: its file has 3 bytes, and the manifest says 7; find out what changed it; it was whole when it was written) -
    orders/orders_daily_20261111_020000.dump: orders daily 2026-11-20T02:00:03Z faulty (read the manifest of orders/orders_daily_20261111_020000.dump: its file is not there; find out who deleted it; the manifest alone is no backup) -
    orders/orders_daily_20261112_020000.dump: orders daily 2026-11-12T02:00:00Z faulty (read the manifest of orders/orders_daily_20261112_020000.dump: it was made by a newer Holdfast: version 2, and this one knows 1; use that Holdfast, or the manifest's own line `restore`) -
    orders/orders_daily_20261113_020000.dump: orders daily 2026-11-13T02:00:00Z faulty (read the manifest of orders/orders_daily_20261113_020000.dump: EOF while parsing an object at line 1 column 14; look at it: without its manifest the file counts as no backup) -
    orders/orders_daily_20261114_020000.dump: orders daily 2026-11-20T02:00:03Z committed -
    ");

    let now = "2027-11-20T00:00:00Z".parse().expect("a time");
    let rule = serde_json::from_value(serde_json::json!({ "for": "1d" })).expect("a rule");
    let points: Vec<_> = seen.iter().map(|b| b.point("listings")).collect();
    let question = question(points.iter().collect(), &rule);
    let goes: Vec<_> = decide(&question, now)
        .into_iter()
        .filter_map(|fate| match fate {
            Fate::Goes(cleared, _) => Some(cleared),
            Fate::Stays(_) => None,
        })
        .collect();
    assert_eq!(goes.iter().map(|c| c.point().id.clone()).collect::<Vec<_>>(), [key("14")]);

    // The same engine's word deletes it, unless a hold came in between.
    let hold = Hold { why: "court".into(), since: now, by: "ana".into() };
    world.store.hold(&key("14"), &hold).await.expect("held");
    let error = world.store.delete(&goes[0]).await.expect_err("held");
    assert_eq!((error.kind, error.why.as_str()), (ReasonRule::Locked, "held: court (ana)"));
    world.store.release(&key("14")).await.expect("released");
    world.store.delete(&goes[0]).await.expect("deleted");
    assert!(!world.store.list("").await.expect("listed").iter().any(|e| e.key.contains("1114")));
    // Another store's word is not for this one.
    let other = Store::Directory(Directory::new(world.root.path(), "x/"));
    assert_eq!(other.delete(&goes[0]).await.expect_err("elsewhere").kind, ReasonRule::Refused);
}

#[tokio::test]
async fn a_note_makes_a_backup_younger_and_goes_with_it() {
    let world = world();
    world.commit(KEY, |_| ()).await;
    let at = |text: &str| text.parse::<Timestamp>().expect("a time");
    let (first, second) = (at("2026-11-21T02:00:00Z"), at("2026-11-22T02:00:00Z"));
    for note in [second, first] {
        world.write(&beside::unchanged(KEY, note), "{}");
    }
    world.write(&beside::unchanged("orders/gone_daily_20261101_020000.dump", first), "{}");
    let seen = world.seen().await;
    insta::assert_snapshot!(shown(&seen), @"orders/orders_daily_20261118_020000.dump: orders daily 2026-11-22T02:00:00Z committed -");
    assert_eq!(seen[0].unchanged, [first, second]);
    assert_eq!(seen[0], one(&world.store, KEY).await.expect("looked at"));
    assert_eq!(seen[0].data_times().count(), 3);

    let now = at("2027-11-20T00:00:00Z");
    let rule = serde_json::from_value(serde_json::json!({ "for": "1d" })).expect("a rule");
    let cleared = |backup: &Backup| {
        let point = backup.point("listings");
        let question = question(vec![&point], &rule);
        match decide(&question, now).remove(0) {
            Fate::Goes(cleared, _) => cleared,
            Fate::Stays(why) => panic!("{why:?}"),
        }
    };
    // A dump that ended after the judgement found it to be still true.
    let judged = cleared(&seen[0]);
    let later = at("2026-11-23T02:00:00Z");
    world.write(&beside::unchanged(KEY, later), "{}");
    let refused = world.store.delete(&judged).await.expect_err("still true");
    assert_eq!((refused.kind, world.seen().await.len()), (ReasonRule::Refused, 1));
    world.store.delete(&cleared(&world.seen().await[0])).await.expect("deleted");
    let left: Vec<_> =
        world.store.list("").await.expect("listed").into_iter().map(|e| e.key).collect();
    assert_eq!(left, [beside::unchanged("orders/gone_daily_20261101_020000.dump", first)]);
}

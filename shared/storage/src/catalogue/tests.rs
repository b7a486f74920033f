use super::*;
use crate::{DirectoryBackend, LegalHold, UploadOptions, key::DEFAULT_KEY_TEMPLATE};
use shared::{
    keep::{
        DeletionPrecondition, ReasonRetention, RetentionInput, RetentionVerdict, decide_retention,
    },
    policy::{Policy, RetentionRule},
    signing::{MinisignSigner, SigningAuthor},
};
use std::collections::BTreeMap;

const KEY: &str = "orders/orders_daily_20261118_020000.dump";

/// Ten days after the sample manifest's data.
const NOW: &str = "2026-11-30T02:00:00Z";

fn parse_time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

struct TestStore {
    root: tempfile::TempDir,
    store: BackupStore,
    policy: Policy,
    author: SigningAuthor,
    now: Timestamp,
}

/// A store of a policy with these words, for `orders` and `orders_archive`.
fn store_with_policy(rest: &str, dump: &str, signer: Option<MinisignSigner>) -> TestStore {
    let root = tempfile::tempdir().expect("a directory");
    let store = BackupStore::Directory(DirectoryBackend::new(root.path(), ""));
    let text = format!(
        "{{holdfast: 1, company: listings, id: host-1, {rest} postgres: {{main: {{databases: [orders, orders_archive], \
         storage: {{directory: /b}}, dumps: {{daily: {{keep: {{newest: 1}}, {dump}}}, weekly: {{keep: {{newest: 1}}}}}}}}}}}}"
    );
    let policy = Policy::parse(&text).unwrap_or_else(|e| panic!("{e}"));
    let author = SigningAuthor::new(policy.owner(), signer);
    TestStore { root, store, policy, author, now: parse_time(NOW) }
}

fn plain_store() -> TestStore {
    store_with_policy("", "", None)
}

/// A store of a policy that signs.
fn signing_store(dump: &str) -> TestStore {
    let (signer, _) = MinisignSigner::generate().expect("random numbers");
    let rest = format!("signing: {{public_keys: [{}]}},", signer.public_key());
    store_with_policy(&rest, dump, Some(signer))
}

const DEDUPLICATING: &str = "skip_unchanged: true";
const ENCRYPTING: &str = "encrypt: {openssl: {env: P}}";

impl TestStore {
    /// A backup of 7 bytes, with the sample manifest after `change`.
    async fn commit_backup(&self, key: &str, change: impl Fn(&mut BackupManifest)) {
        let mut upload =
            self.store.start_upload(key, &UploadOptions::default()).await.expect("begun");
        upload.write("7 bytes".into()).await.expect("written");
        upload.finish().await.expect("finished");
        let mut manifest = crate::manifest::tests::sample_manifest();
        manifest.key = key.into();
        change(&mut manifest);
        self.write_signed(&beside::manifest_key(key), &manifest.to_json()).await;
    }

    /// A small object of ours.
    async fn write_signed(&self, name: &str, bytes: &[u8]) {
        let (bytes, put) = (bytes.to_vec().into(), UploadOptions::default());
        self.store.put_signed(name, bytes, &put, &self.author).await.expect("written");
    }

    /// A note of ours.
    async fn write_unchanged_marker(&self, key: &str, time: Timestamp) {
        let json = self
            .store
            .get_small(&beside::manifest_key(key))
            .await
            .expect("read")
            .expect("a record");
        let note = UnchangedMarker {
            holdfast: 1,
            sha256: BackupManifest::parse_manifest(key, &json).expect("a record").file.sha256,
            data_time: time,
            slot: None,
            run: "run".into(),
        };
        self.write_signed(&beside::unchanged_marker_key(key, time), &note.to_json()).await;
    }

    fn trust_policy(&self) -> TrustPolicy {
        let rules = self.policy.postgres.values().next().expect("a group");
        TrustPolicy::from_policy(&self.policy, rules, self.now)
    }

    fn write_file(&self, key: &str, text: &str) {
        let path = self.root.path().join(key);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    async fn list_all(&self) -> Vec<StoredBackup> {
        let forms = [KeyTemplate::new(DEFAULT_KEY_TEMPLATE, ".dump").expect("a form")];
        let databases = ["orders".to_owned(), "orders_archive".to_owned()];
        list_backups(&self.store, &forms, &databases, &self.trust_policy()).await.expect("listed")
    }
}

/// Whether these may go by this rule alone.
fn retention_input<'a>(
    points: Vec<&'a RecoveryPoint>,
    rule: &'a RetentionRule,
) -> RetentionInput<'a> {
    RetentionInput {
        owner: "listings@host-1",
        points,
        reasons: BTreeMap::from([(
            "daily",
            ReasonRetention { keep: vec![rule], precondition: DeletionPrecondition::Nothing },
        )]),
        ..RetentionInput::default()
    }
}

fn render_backups(backups: &[StoredBackup]) -> String {
    let line = |b: &StoredBackup| {
        let kind = match &b.kind {
            BackupKind::Committed(_) => "committed".to_owned(),
            BackupKind::Foreign(_) => "foreign".to_owned(),
            BackupKind::Faulty { why, hint, .. } => format!("faulty ({why}; {hint})"),
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
    let world = plain_store();
    world.commit_backup(KEY, |_| ()).await;
    // Made under another form, years ago: its manifest speaks for it.
    world.commit_backup("old/first.bin", |m| m.reason = "weekly".into()).await;
    world
        .commit_backup("orders/orders_daily_20261101_020000.dump", |m| {
            m.owner = "other@host-1".into();
        })
        .await;
    world
        .commit_backup("users/users_daily_20261101_020000.dump", |m| m.database = "users".into())
        .await;
    let hold = LegalHold {
        why: "audit".into(),
        since: "2026-11-20T00:00:00Z".parse().expect("a time"),
        by: "ana".into(),
    };
    world.store.add_legal_hold(KEY, &hold, &world.author).await.expect("held");
    world.write_file("orders_archive/orders_archive_daily_20261117_020000.dump", "theirs");
    world.write_file("orders_archive/orders_archive_daily_20261117_020000.dump.sha256", "x");
    world.write_file("orders/notes.txt", "x");
    world.write_file("other/other_daily_20261117_020000.dump", "x");
    // Begun and never committed.
    let mut upload = world
        .store
        .start_upload("orders/orders_daily_20261119_020000.dump", &UploadOptions::default())
        .await
        .expect("begun");
    upload.write("7 bytes".into()).await.expect("written");
    upload.finish().await.expect("finished");
    insta::assert_snapshot!(render_backups(&world.list_all().await), @r#"
    old/first.bin: orders weekly 2026-11-20T02:00:03Z committed -
    orders/orders_daily_20261101_020000.dump: orders daily 2026-11-20T02:00:03Z faulty (read the manifest of orders/orders_daily_20261101_020000.dump: its record is of "other@host-1", and this place belongs to "listings@host-1"; find out who put it there; it does not count, and is never deleted) -
    orders/orders_daily_20261118_020000.dump: orders daily 2026-11-20T02:00:03Z committed audit (ana)
    orders_archive/orders_archive_daily_20261117_020000.dump: orders_archive daily 2026-11-17T02:00:00Z foreign -
    "#);

    world.store.remove_legal_hold(KEY).await.expect("released");
    assert_eq!(world.list_all().await[0].hold, None);
}

#[tokio::test]
async fn what_does_not_fit_its_manifest_is_faulty_and_neither_counts_nor_goes() {
    let world = plain_store();
    let key = |day| format!("orders/orders_daily_202611{day}_020000.dump");
    world.commit_backup(&key("10"), |_| ()).await;
    world.write_file(&key("10"), "cut");
    world.commit_backup(&key("11"), |_| ()).await;
    std::fs::remove_file(world.root.path().join(key("11"))).expect("removed");
    world.commit_backup(&key("12"), |m| m.holdfast = 2).await;
    world.write_file(&key("13"), "7 bytes");
    world.write_file(&beside::manifest_key(&key("13")), "{\"holdfast\": 1");
    world.commit_backup(&key("14"), |_| ()).await;
    let seen = world.list_all().await;
    insta::assert_snapshot!(render_backups(&seen), @"
    orders/orders_daily_20261110_020000.dump: orders daily 2026-11-20T02:00:03Z faulty (read the manifest of orders/orders_daily_20261110_020000.dump: its file has 3 bytes, and the manifest says 7; find out what changed it; it was whole when it was written) -
    orders/orders_daily_20261111_020000.dump: orders daily 2026-11-20T02:00:03Z faulty (read the manifest of orders/orders_daily_20261111_020000.dump: its file is not there; find out who deleted it; the manifest alone is no backup) -
    orders/orders_daily_20261112_020000.dump: orders daily 2026-11-12T02:00:00Z faulty (read the manifest of orders/orders_daily_20261112_020000.dump: it was made by a newer Holdfast: version 2, and this one knows 1; use that Holdfast, or the manifest's own line `restore`) -
    orders/orders_daily_20261113_020000.dump: orders daily 2026-11-13T02:00:00Z faulty (read the manifest of orders/orders_daily_20261113_020000.dump: EOF while parsing an object at line 1 column 14; look at it: without its manifest the file counts as no backup) -
    orders/orders_daily_20261114_020000.dump: orders daily 2026-11-20T02:00:03Z committed -
    ");

    let now = "2027-11-20T00:00:00Z".parse().expect("a time");
    let rule = serde_json::from_value(serde_json::json!({ "for": "1d" })).expect("a rule");
    let points: Vec<_> = seen.iter().map(|b| b.to_recovery_point("listings@host-1")).collect();
    let question = retention_input(points.iter().collect(), &rule);
    let goes: Vec<_> = decide_retention(&question, now)
        .into_iter()
        .filter_map(|fate| match fate {
            RetentionVerdict::Delete(cleared, _) => Some(cleared),
            RetentionVerdict::Keep(_) | RetentionVerdict::Suspended(_) => None,
        })
        .collect();
    assert_eq!(goes.iter().map(|c| c.point().id.clone()).collect::<Vec<_>>(), [key("14")]);

    // The same engine's word deletes it, unless a hold came in between.
    let hold = LegalHold { why: "court".into(), since: now, by: "ana".into() };
    world.store.add_legal_hold(&key("14"), &hold, &world.author).await.expect("held");
    let error = world.store.delete_backup(&goes[0], &world.trust_policy()).await.expect_err("held");
    assert_eq!((error.kind, error.why.as_str()), (StoreErrorKind::Locked, "held: court (ana)"));
    world.store.remove_legal_hold(&key("14")).await.expect("released");
    world.store.delete_backup(&goes[0], &world.trust_policy()).await.expect("deleted");
    assert!(!world.store.list("").await.expect("listed").iter().any(|e| e.key.contains("1114")));
    // Another store's word is not for this one.
    let other = BackupStore::Directory(DirectoryBackend::new(world.root.path(), "x/"));
    assert_eq!(
        other.delete_backup(&goes[0], &world.trust_policy()).await.expect_err("elsewhere").kind,
        StoreErrorKind::Refused
    );
}

#[tokio::test]
async fn a_note_makes_a_backup_younger_and_goes_with_it() {
    let mut world = signing_store(DEDUPLICATING);
    world.now = parse_time("2027-11-20T00:00:00Z");
    world.commit_backup(KEY, |_| ()).await;
    let (first, second) = (parse_time("2026-11-21T02:00:00Z"), parse_time("2026-11-22T02:00:00Z"));
    for note in [second, first] {
        world.write_unchanged_marker(KEY, note).await;
    }
    world.write_file(
        &beside::unchanged_marker_key("orders/gone_daily_20261101_020000.dump", first),
        "{}",
    );
    let seen = world.list_all().await;
    insta::assert_snapshot!(render_backups(&seen), @"orders/orders_daily_20261118_020000.dump: orders daily 2026-11-22T02:00:00Z committed -");
    assert_eq!(seen[0].unchanged, [first, second]);
    assert_eq!(
        seen[0],
        get_backup(&world.store, KEY, &world.trust_policy()).await.expect("looked at")
    );
    assert_eq!(seen[0].data_times().count(), 3);

    let rule = serde_json::from_value(serde_json::json!({ "for": "1d" })).expect("a rule");
    let cleared = |backup: &StoredBackup| {
        let point = backup.to_recovery_point("listings@host-1");
        let question = retention_input(vec![&point], &rule);
        match decide_retention(&question, world.now).remove(0) {
            RetentionVerdict::Delete(cleared, _) => cleared,
            other => panic!("{other:?}"),
        }
    };
    // A dump that ended after the judgement found it to be still true; a stranger's word for it keeps nothing.
    let judged = cleared(&seen[0]);
    let (later, false_one) =
        (parse_time("2026-11-23T02:00:00Z"), parse_time("2026-11-24T02:00:00Z"));
    world.write_file(&beside::unchanged_marker_key(KEY, false_one), "{}");
    world.write_unchanged_marker(KEY, later).await;
    let refused =
        world.store.delete_backup(&judged, &world.trust_policy()).await.expect_err("still true");
    assert_eq!((refused.kind, world.list_all().await.len()), (StoreErrorKind::Refused, 1));
    let judged = cleared(&world.list_all().await[0]);
    world.store.delete_backup(&judged, &world.trust_policy()).await.expect("deleted");
    let left: Vec<_> =
        world.store.list("").await.expect("listed").into_iter().map(|e| e.key).collect();
    let foreign = beside::unchanged_marker_key("orders/gone_daily_20261101_020000.dump", first);
    assert_eq!(left, [foreign, beside::unchanged_marker_key(KEY, false_one)]);
}

#[tokio::test]
async fn a_note_counts_only_signed_of_this_file_in_the_past_and_where_the_policy_deduplicates() {
    for (case, world, counts) in [
        ("signed", signing_store(DEDUPLICATING), true),
        ("no signing, valid content", store_with_policy("", DEDUPLICATING, None), true),
        ("no deduplicate", signing_store(""), false),
    ] {
        world.commit_backup(KEY, |_| ()).await;
        let note = parse_time("2026-11-25T02:00:00Z");
        world.write_unchanged_marker(KEY, note).await;
        let seen = world.list_all().await.remove(0);
        let young = if counts { note } else { parse_time("2026-11-20T02:00:03Z") };
        assert_eq!(
            (seen.data_time(), seen.ignored.len()),
            (Some(young), usize::from(!counts)),
            "{case}"
        );
    }
    // Empty ones, as anyone can add; one of the future; one of another file, taken with its signature.
    for world in [signing_store(DEDUPLICATING), store_with_policy("", DEDUPLICATING, None)] {
        world.commit_backup(KEY, |_| ()).await;
        for day in ["2026-11-26", "2026-11-27", "2099-01-01"] {
            world.write_file(
                &beside::unchanged_marker_key(KEY, parse_time(&format!("{day}T02:00:00Z"))),
                "",
            );
        }
        world.write_unchanged_marker(KEY, parse_time("2098-01-01T02:00:00Z")).await;
        let other = "orders/orders_daily_20261119_020000.dump";
        world.commit_backup(other, |m| m.file.sha256 = "f".repeat(64)).await;
        let time = parse_time("2026-11-28T02:00:00Z");
        world.write_unchanged_marker(other, time).await;
        for end in ["", ".minisig"] {
            let path = |of| {
                world.root.path().join(format!("{}{end}", beside::unchanged_marker_key(of, time)))
            };
            if path(other).exists() {
                std::fs::copy(path(other), path(KEY)).expect("copied");
            }
        }
        let seen = world.list_all().await.remove(0);
        assert_eq!(
            seen.data_time(),
            Some(parse_time("2026-11-20T02:00:03Z")),
            "{:?}",
            seen.ignored
        );
        assert_eq!(seen.ignored.len(), 5, "{:?}", seen.ignored);
    }
}

/// What becomes of a record that is changed before it is written, or laid elsewhere.
async fn classify_key(world: &TestStore, key: &str) -> String {
    let all = world.list_all().await;
    match &all.iter().find(|b| b.key == key).expect("it is seen").kind {
        BackupKind::Committed(_) => "counts".into(),
        BackupKind::Foreign(_) => "foreign".into(),
        BackupKind::Faulty { why, .. } => why.rsplit(": ").next().unwrap_or_default().to_owned(),
    }
}

#[tokio::test]
async fn the_policy_and_not_the_record_says_what_counts() {
    type ManifestChange = fn(&mut BackupManifest);
    let same: ManifestChange = |_| ();
    let plain: ManifestChange = |m| m.layers.encryption = None;
    let future: ManifestChange = |m| m.data_time = "2026-11-30T02:10:01Z".parse().expect("a time");
    let slot: ManifestChange = |m| m.slot = Some("2026-11-30T02:00:00Z".parse().expect("a time"));
    let soon: ManifestChange = |m| m.data_time = "2026-11-30T02:09:59Z".parse().expect("a time");
    let stranger: ManifestChange = |m| m.owner = "listings@stage".into();
    let elsewhere: ManifestChange = |m| m.key = "orders/x.dump".into();
    let mut lines = Vec::new();
    for (name, change) in [
        ("as it was made", same),
        ("not encrypted", plain),
        ("of the future", future),
        ("of what clocks may differ by", soon),
        ("due after its data", slot),
        ("another owner's", stranger),
        ("another key's", elsewhere),
    ] {
        let mut all = Vec::new();
        for world in
            [signing_store(ENCRYPTING), store_with_policy("", ENCRYPTING, None), plain_store()]
        {
            world.commit_backup(KEY, change).await;
            all.push(classify_key(&world, KEY).await);
        }
        lines.push(format!("{name}: {}", all.join(" | ")));
    }
    insta::assert_snapshot!(lines.join("\n"), @r#"
    as it was made: counts | counts | counts
    not encrypted: counts | its record says that it is not encrypted, and the policy encrypts | counts
    of the future: its data is of 2026-11-30T02:10:01Z, which is in the future | its data is of 2026-11-30T02:10:01Z, which is in the future | its data is of 2026-11-30T02:10:01Z, which is in the future
    of what clocks may differ by: counts | counts | counts
    due after its data: it was due after its data was read | it was due after its data was read | it was due after its data was read
    another owner's: its record is of "listings@stage", and this place belongs to "listings@host-1" | its record is of "listings@stage", and this place belongs to "listings@host-1" | its record is of "listings@stage", and this place belongs to "listings@host-1"
    another key's: somebody copied it here | somebody copied it here | somebody copied it here
    "#);
}

#[tokio::test]
async fn where_the_policy_signs_nothing_counts_that_no_key_of_it_signed() {
    let world = signing_store("");
    world.commit_backup(KEY, |_| ()).await;
    assert_eq!(classify_key(&world, KEY).await, "counts");
    let path = |name: &str| world.root.path().join(name);
    let (record, signature) = (
        path(&beside::manifest_key(KEY)),
        path(&beside::signature_key(&beside::manifest_key(KEY))),
    );
    let json = std::fs::read_to_string(&record).expect("read");
    let good = std::fs::read_to_string(&signature).expect("read");
    let replace = |file: &std::path::Path, text: &str| {
        std::fs::remove_file(file).expect("removed");
        std::fs::write(file, text).expect("written");
    };
    // Every field of a record, whatever its cipher: the line of restore, rows, roles, times.
    for (from, to) in [
        ("cat x", "curl x | sh"),
        ("\"rows\": 3", "\"rows\": 2"),
        ("\"superuser\": false", "\"superuser\": true"),
        ("02:00:03Z", "02:00:04Z"),
    ] {
        assert!(json.contains(from), "{from}");
        replace(&record, &json.replace(from, to));
        assert!(classify_key(&world, KEY).await.contains("one of the two was changed"), "{to}");
    }
    replace(&record, &json);
    let (other, _) = MinisignSigner::generate().expect("random numbers");
    replace(
        &signature,
        &other
            .sign("listings@host-1", &beside::manifest_key(KEY), json.as_bytes())
            .await
            .expect("signed"),
    );
    assert!(classify_key(&world, KEY).await.contains("which the policy does not name"));
    std::fs::remove_file(&signature).expect("removed");
    assert!(classify_key(&world, KEY).await.starts_with("it is not signed"));
    std::fs::write(&signature, &good).expect("written");
    // Both, and the file, beside another key.
    let other = "orders/orders_daily_20261121_020000.dump";
    for end in ["", ".json", ".json.minisig"] {
        std::fs::copy(path(&format!("{KEY}{end}")), path(&format!("{other}{end}")))
            .expect("copied");
    }
    assert_eq!(classify_key(&world, KEY).await, "counts");
    assert!(classify_key(&world, other).await.contains("under another name"));
}

#[tokio::test]
async fn a_hold_counts_only_signed_where_the_policy_signs() {
    let hold = LegalHold { why: "audit".into(), since: parse_time(NOW), by: "ana".into() };
    let world = signing_store("");
    world.commit_backup(KEY, |_| ()).await;
    world.write_file(
        &beside::legal_hold_key(KEY),
        "{\"why\": \"x\", \"since\": \"2026-11-30T02:00:00Z\", \"by\": \"eve\"}",
    );
    let seen = world.list_all().await.remove(0);
    assert_eq!((seen.hold, seen.ignored.len()), (None, 1));
    std::fs::remove_file(world.root.path().join(beside::legal_hold_key(KEY))).expect("removed");
    world.store.add_legal_hold(KEY, &hold, &world.author).await.expect("held");
    assert_eq!(world.list_all().await[0].hold.as_deref(), Some("audit (ana)"));
    world.store.remove_legal_hold(KEY).await.expect("released");
    assert_eq!(world.list_all().await[0].hold, None);
}

#[tokio::test]
async fn what_does_not_count_is_restored_only_where_it_is_meant() {
    let world = signing_store("");
    world.commit_backup(KEY, |m| m.owner = "other@x".into()).await;
    world.write_file("orders/orders_daily_20261119_020000.dump", "theirs");
    let seen = world.list_all().await;
    for (backup, signs, without, with) in [
        (&seen[0], true, false, true),
        (&seen[0], false, false, true),
        (&seen[1], true, false, true),
        (&seen[1], false, true, true),
    ] {
        let admitted = |untrusted| backup.clone().admit_for_restore(signs, untrusted);
        assert_eq!((admitted(false).is_ok(), admitted(true).is_ok()), (without, with));
        let said = admitted(false).err().map_or_else(|| "--untrusted".into(), |e| e.hint);
        assert!(said.contains("--untrusted"), "{said}");
        // Nothing of the record is believed then.
        assert!(admitted(true).expect("admitted").committed_manifest().is_none());
    }
}

//! What somebody does who may add any object anywhere in a store, and has no key: nothing that is decided changes.
//!
//! The store's own backups are signed. Whatever is added, the same dumps are due, the same ones go, the same one is the
//! newest and is restored, the same holds hold and the same notes count; only findings are added.

use dump::ObservedDatabase;
use jiff::{SignedDuration, Timestamp};
use proptest::{prelude::*, test_runner::RngSeed};
use retention::dumps::{self, DatabaseDumps};
use shared::{
    model::parse_policy,
    policy::Policy,
    request::RunRequest,
    signing::{MinisignSigner, SigningAuthor},
};
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    pin::pin,
    sync::OnceLock,
    task::{Context, Poll, Waker},
};
use storage::{
    BackupManifest, BackupStore, DirectoryBackend, LegalHold, StoredBackup, TrustPolicy,
    UnchangedMarker, UploadOptions, beside, list_backups,
    manifest::{self, EncodingLayers, ManifestFormat},
    mark,
    place::key_template_for,
};

const NOW: &str = "2026-11-20T06:00:00Z";

fn parse_time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// A store with ten days of signed dumps, notes and a hold, and its policy.
struct HostileStore {
    root: tempfile::TempDir,
    policy: Policy,
    /// What a stranger has too: a key of his own.
    stranger: SigningAuthor,
}

fn shared_store() -> &'static HostileStore {
    static WORLD: OnceLock<HostileStore> = OnceLock::new();
    WORLD.get_or_init(|| block_on(build_store()))
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

async fn build_store() -> HostileStore {
    let (signer, _) = MinisignSigner::generate().expect("random numbers");
    let text = format!(
        "{{holdfast: 1, company: acme, id: host-1, signing: {{public_keys: [{}]}}, limits: {{delete: {{share: 100%}}}}, \
         postgres: {{main: {{databases: [shop], storage: {{directory: /b, key: \"{{reason}}/{{database}}_%Y%m%d.dump\"}}, dumps: {{\
         daily: {{schedule: {{cron: \"0 2 * * *\"}}, keep: {{daily: 4, weekly: 2}}}}, \
         same: {{schedule: {{cron: \"0 3 * * *\"}}, keep: {{for: 3d}}, skip_unchanged: true}}}}}}}}}}",
        signer.public_key()
    );
    let policy = parse_policy(&text);
    let author = SigningAuthor::new(policy.owner(), Some(signer));
    let root = tempfile::tempdir().expect("a folder");
    let store = BackupStore::Directory(DirectoryBackend::new(root.path(), ""));
    mark::write_marker(&store, &author, "run", parse_time(NOW)).await.expect("marked");
    for day in 0..10 {
        let slot = parse_time("2026-11-11T02:00:00Z") + SignedDuration::from_hours(24 * day);
        // The newest day's is still due.
        if day < 9 {
            commit_dump(&store, &author, "daily", slot, day.to_string()).await;
        }
    }
    let first = parse_time("2026-11-12T03:00:00Z");
    let key = commit_dump(&store, &author, "same", first, "same".into()).await;
    for day in 1..7 {
        write_unchanged_marker(&store, &author, &key, first + SignedDuration::from_hours(24 * day))
            .await;
    }
    let hold = LegalHold { why: "audit".into(), since: parse_time(NOW), by: "ana".into() };
    store.add_legal_hold("daily/shop_20261111.dump", &hold, &author).await.expect("held");
    let stranger = SigningAuthor::new(
        policy.owner(),
        Some(MinisignSigner::generate().expect("random numbers").0),
    );
    HostileStore { root, policy, stranger }
}

/// A dump of some bytes with its record.
async fn commit_dump(
    store: &BackupStore,
    author: &SigningAuthor,
    reason: &str,
    slot: Timestamp,
    text: String,
) -> String {
    let key = format!("{reason}/shop_{}.dump", slot.strftime("%Y%m%d"));
    let put = UploadOptions::default();
    store.put_if_absent(&key, text.clone().into(), &put).await.expect("written");
    let record = sample_manifest(&key, reason, slot, text.as_bytes(), author.owner());
    store
        .put_signed(&beside::manifest_key(&key), record.to_json().into(), &put, author)
        .await
        .expect("signed");
    key
}

async fn write_unchanged_marker(
    store: &BackupStore,
    author: &SigningAuthor,
    key: &str,
    time: Timestamp,
) {
    let json = store.get_small(&beside::manifest_key(key)).await.expect("read").expect("a record");
    let record = BackupManifest::parse_manifest(key, &json).expect("a record");
    let note = UnchangedMarker {
        holdfast: 1,
        sha256: record.file.sha256,
        data_time: time,
        slot: Some(time),
        run: "run".into(),
    };
    let name = beside::unchanged_marker_key(key, time);
    store
        .put_signed(&name, note.to_json().into(), &UploadOptions::default(), author)
        .await
        .expect("signed");
}

fn sample_manifest(
    key: &str,
    reason: &str,
    slot: Timestamp,
    bytes: &[u8],
    owner: &str,
) -> BackupManifest {
    let digest = codec::HashingReader::new(bytes).finish_digest().expect("memory");
    let data_time = slot + SignedDuration::from_mins(1);
    BackupManifest {
        holdfast: manifest::MANIFEST_VERSION,
        owner: owner.into(),
        key: key.into(),
        group: "main".into(),
        database: "shop".into(),
        reason: reason.into(),
        table: None,
        run: "run".into(),
        slot: Some(slot),
        data_time,
        finished_at: data_time,
        file: manifest::StoredFile {
            name: key.rsplit('/').next().unwrap_or(key).into(),
            bytes: digest.bytes,
            sha256: digest.sha256.to_string(),
            checksum: None,
        },
        plain: manifest::PlaintextInfo { bytes: digest.bytes, sha256: digest.sha256.to_string() },
        format: ManifestFormat::Custom,
        layers: EncodingLayers::default(),
        recipients: Vec::new(),
        key_id: None,
        server: manifest::ServerProperties {
            system_identifier: Some("7000".into()),
            ..Default::default()
        },
        client: "15".into(),
        extensions: Vec::new(),
        roles: Vec::new(),
        selection: Vec::new(),
        tables: Vec::new(),
        large_objects: 0,
        fingerprint: Some("ab".repeat(32)),
        locked_until: None,
        restore: String::new(),
        redis: None,
    }
}

/// Everything that is decided of what lies in a directory, in words.
fn render_decisions(world: &HostileStore, root: &Path) -> String {
    let (group, rules) = world.policy.postgres.first_key_value().expect("a group");
    let now = parse_time(NOW);
    let trust = TrustPolicy::from_policy(&world.policy, rules, now);
    let store = BackupStore::Directory(DirectoryBackend::new(root, ""));
    let forms = rules
        .all_dumps()
        .values()
        .map(|d| key_template_for(&rules.storage, rules, d).expect("a form"))
        .collect::<Vec<_>>();
    let seen: Vec<StoredBackup> = block_on(async {
        assert!(mark::find_marker(&store, &trust).await.expect("the mark").is_some());
        list_backups(&store, &forms, rules.databases.named(), &trust).await.expect("listed")
    });
    let looked = ObservedDatabase {
        group,
        rules,
        dumps: rules.all_dumps(),
        database: "shop".into(),
        server: Ok(1),
        key_errors: BTreeMap::new(),
        free_bytes: None,
        locations: vec![Ok(seen.clone())],
    };
    let mut lines = Vec::new();
    for reason in ["schedule", "same"] {
        let request = RunRequest { reason: reason.into(), ..RunRequest::full_run() };
        let due = dump::plan(&world.policy, std::slice::from_ref(&looked), &request, now);
        lines.extend(due.steps.iter().map(|s| format!("{:?}", s.action)));
    }
    let places = vec![("/b".to_owned(), Ok(seen.clone()))];
    let going = dumps::plan_dumps(
        &world.policy,
        &[DatabaseDumps { group, rules, whole_group: true, database: "shop".into(), places }],
        now,
    );
    lines.extend(
        going.plan.steps.iter().map(|s| {
            format!("{}: {}", s.action, s.reason).replace(&root.display().to_string(), "/b")
        }),
    );
    lines.push(format!("{} stay", going.retained));
    let mut good: Vec<&StoredBackup> = seen.iter().filter(|b| b.is_committed()).collect();
    good.sort_by_key(|b| (b.data_time(), b.key.clone()));
    lines.extend(
        good.iter()
            .map(|b| format!("{} {:?} {:?} {:?}", b.key, b.data_time(), b.hold, b.unchanged)),
    );
    lines.join("\n")
}

/// Something that is added.
#[derive(Clone, Debug)]
enum AddedObject {
    /// Some bytes under some name.
    Bytes(String, Vec<u8>),
    /// A copy of what lies there, beside another name, with or without what lies beside it.
    Copied { from: usize, to: String, all: bool },
    /// A dump of his own with a record of his own, which he signed, or not.
    Forged { reason: &'static str, days: i64, signed: bool, cipher: bool },
    /// A note of his own beside what is there.
    ForgedMarker { beside: usize, days: i64, signed: bool },
    /// A directory in a directory in a directory.
    Deep(usize),
    /// A link to somewhere.
    Link(String),
}

fn any_name() -> impl Strategy<Value = String> {
    let base = prop_oneof![
        "(daily|same|weekly|other)/shop_202611[0-3][0-9]\\.dump",
        "(daily|same)/shop_202611(1[1-9]|20)\\.dump",
        "[a-z]{1,3}/[a-z.]{1,8}",
        Just("holdfast-store".to_owned()),
    ];
    let end = prop_oneof![
        Just(String::new()),
        Just(".json".into()),
        Just(".json.minisig".into()),
        Just(".minisig".into()),
        Just(".sha256".into()),
        Just(".hold".into()),
        Just(".hold.minisig".into()),
        "\\.unchanged-20(26|99)112[0-9]T020000Z(\\.minisig)?",
    ];
    (base, end).prop_map(|(base, end)| base + &end)
}

fn any_added_object() -> impl Strategy<Value = AddedObject> {
    let reason = prop_oneof![Just("daily"), Just("same"), Just("weekly")];
    prop_oneof![
        4 => (any_name(), proptest::collection::vec(any::<u8>(), 0..40)).prop_map(|(n, b)| AddedObject::Bytes(n, b)),
        2 => (0..60_usize, any_name(), any::<bool>()).prop_map(|(from, to, all)| AddedObject::Copied { from, to, all }),
        4 => (reason, -20..40_i64, any::<bool>(), any::<bool>())
            .prop_map(|(reason, days, signed, cipher)| AddedObject::Forged { reason, days, signed, cipher }),
        4 => (0..60_usize, -20..30_000_i64, any::<bool>())
            .prop_map(|(beside, days, signed)| AddedObject::ForgedMarker { beside, days, signed }),
        1 => (1..30_usize).prop_map(AddedObject::Deep),
        1 => any_name().prop_map(AddedObject::Link),
    ]
}

/// Adds it, where nothing is: whoever may only add can't write over what is there.
fn add_object(world: &HostileStore, root: &Path, files: &[String], what: &AddedObject) {
    let write = |name: &str, bytes: &[u8]| {
        let path = root.join(name);
        if let Some(parent) = path.parent()
            && fs::create_dir_all(parent).is_ok()
            && path.symlink_metadata().is_err()
        {
            let _ = fs::write(path, bytes);
        }
    };
    match what {
        AddedObject::Bytes(name, bytes) => write(name, bytes),
        AddedObject::Copied { from, to, all } => {
            let from = &files[from % files.len()];
            let read = |end: &str| fs::read(root.join(format!("{from}{end}")));
            let ends = if *all { &["", ".json", ".json.minisig", ".minisig"][..] } else { &[""] };
            for end in ends {
                if let Ok(bytes) = read(end) {
                    write(&format!("{to}{end}"), &bytes);
                }
            }
        }
        AddedObject::Forged { reason, days, signed, cipher } => {
            let slot = parse_time("2026-11-11T02:00:00Z") + SignedDuration::from_hours(24 * days);
            let key = format!("{reason}/shop_{}.dump", slot.strftime("%Y%m%d"));
            let mut record = sample_manifest(&key, reason, slot, b"evil", world.stranger.owner());
            record.layers.encryption = cipher.then_some(manifest::EncryptionFormat::Age);
            write(&key, b"evil");
            write_forged(world, &write, &beside::manifest_key(&key), &record.to_json(), *signed);
        }
        AddedObject::ForgedMarker { beside, days, signed } => {
            let key = files[beside % files.len()].trim_end_matches(".json");
            let time = parse_time("2026-11-11T05:00:00Z") + SignedDuration::from_hours(24 * days);
            let sha256 = fs::read(root.join(beside::manifest_key(key))).ok();
            let sha256 = sha256.and_then(|json| {
                Some(BackupManifest::parse_manifest(key, &json).ok()?.file.sha256)
            });
            let note = UnchangedMarker {
                holdfast: 1,
                sha256: sha256.unwrap_or_default(),
                data_time: time,
                slot: None,
                run: "x".into(),
            };
            write_forged(
                world,
                &write,
                &beside::unchanged_marker_key(key, time),
                &note.to_json(),
                *signed,
            );
        }
        AddedObject::Deep(levels) => {
            let mut at = root.join("daily");
            for _ in 0..*levels {
                at = at.join("d".repeat(120));
                let _ = fs::create_dir(&at);
            }
        }
        AddedObject::Link(name) => {
            let path = root.join(name);
            if let Some(parent) = path.parent() {
                let _ = fs::create_dir_all(parent);
            }
            let _ = std::os::unix::fs::symlink(root.join("daily"), path);
        }
    }
}

/// A file that he signs with his own key, or not at all.
fn write_forged(
    world: &HostileStore,
    write: &impl Fn(&str, &[u8]),
    name: &str,
    bytes: &[u8],
    signed: bool,
) {
    write(name, bytes);
    if signed {
        // A key of this process signs at once: no runtime is needed.
        let signing = pin!(world.stranger.sign(name, bytes));
        let Poll::Ready(signature) = signing.poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("a key of this process does not wait")
        };
        if let Some(signature) = signature.expect("signed") {
            write(&beside::signature_key(name), signature.as_bytes());
        }
    }
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            fs::create_dir(&to).expect("made");
            copy_tree(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).expect("copied");
        }
    }
}

fn list_keys(root: &Path) -> Vec<String> {
    let store = BackupStore::Directory(DirectoryBackend::new(root, ""));
    block_on(store.list("")).expect("listed").into_iter().map(|e| e.key).collect()
}

#[test]
fn what_is_decided_of_the_stores_own_is_worth_protecting() {
    let world = shared_store();
    let decided = render_decisions(world, world.root.path());
    // One is due, some go, one is held, notes make one young: all of it could be changed by a wrong rule.
    assert!(
        decided.contains("Create(")
            && decided.contains("delete ")
            && decided.contains("audit (ana)"),
        "{decided}"
    );
    assert!(decided.contains("2026-11-18T03:00:00Z"), "{decided}");
}

/// What is decided of the store before anybody adds to it.
static BEFORE: OnceLock<String> = OnceLock::new();

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, rng_seed: RngSeed::Fixed(9), failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_is_added_to_a_store_changes_nothing_that_is_decided(
        all in proptest::collection::vec(any_added_object(), 1..12)
    ) {
        let world = shared_store();
        let before = BEFORE.get_or_init(|| render_decisions(world, world.root.path()));
        let root = tempfile::tempdir().expect("a folder");
        copy_tree(world.root.path(), root.path());
        let files = list_keys(root.path());
        for what in &all {
            add_object(world, root.path(), &files, what);
        }
        prop_assert_eq!(&render_decisions(world, root.path()), before);
    }
}

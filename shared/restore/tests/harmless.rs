//! Files that want to do harm, and dumps that come back in part: what they reach is their own scratch place at most.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../postgres/tests/support/mod.rs"]
mod support;

mod common;

use ::restore::{
    BackupKeys, BackupRestoreOptions, RestoreChecks, RestoreError, RestoreErrorKind,
    RestoreOutcome, ScratchTarget, VerificationReport, VerificationVerdict, VerifyOptions,
    restore_backup, verify_full, verify_quick,
};
use codec::{ArchiveEncoder, CompressionMethod, EncodingOptions, EncryptionMethod};
use common::{failed, options, wait};
use jiff::Timestamp;
use std::{
    fs,
    io::Write as _,
    sync::atomic::{AtomicU32, Ordering},
};
use storage::{
    BackupStore, DirectoryBackend, KeyTemplate, StoredBackup, TrustPolicy, UploadOptions, beside,
    catalogue::{BackupKind, list_backups},
    manifest::{self, ManifestFormat},
    model,
};
use support::{Cluster, shared};

const CUSTOM: &[&str] = &["-Fc", "-Z0"];
const PLAIN: &[&str] = &["-Fp"];

fn trust() -> TrustPolicy {
    TrustPolicy::owner_only("acme@host-1", "2026-11-21T12:00:00Z".parse().unwrap())
}

/// Numbers for names of databases.
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// A directory of dumps.
struct Place {
    dir: tempfile::TempDir,
    store: BackupStore,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = BackupStore::Directory(DirectoryBackend::new(dir.path(), String::new()));
        Self { dir, store }
    }

    /// A file of another tool.
    async fn foreign(&self, bytes: &[u8]) -> StoredBackup {
        fs::write(self.dir.path().join("shop_20261120_020000.dump"), bytes).unwrap();
        let form = KeyTemplate::new("{database}_%Y%m%d_%H%M%S", ".dump").unwrap();
        list_backups(&self.store, &[form], &[], &trust()).await.unwrap().pop().unwrap()
    }

    /// A dump with its record, as a run makes it; not encrypted.
    async fn committed(
        &self,
        format: ManifestFormat,
        bytes: &[u8],
        tables: &[(&str, u64)],
    ) -> StoredBackup {
        let recipe = EncodingOptions {
            compression: CompressionMethod::None,
            encryption: EncryptionMethod::None,
        };
        let mut encoder = ArchiveEncoder::new(Vec::new(), &recipe).unwrap();
        encoder.write_all(bytes).unwrap();
        let (stored, sums) = encoder.finish().unwrap();
        let (key, put) = ("shop_daily_20261120_020000.dump", UploadOptions::default());
        let at: Timestamp = "2026-11-20T02:00:00Z".parse().unwrap();
        let database = format!("shop{}x", DATABASES.fetch_add(1, Ordering::Relaxed));
        let mut backup = model::committed_backup(key, &database, "daily", at);
        backup.size = sums.stored.bytes;
        let BackupKind::Committed(record) = &mut backup.kind else { panic!("it is committed") };
        record.format = format;
        record.layers = recipe.to_layers();
        record.file.bytes = sums.stored.bytes;
        record.file.sha256 = sums.stored.sha256.to_string();
        record.plain.bytes = sums.plaintext.bytes;
        record.plain.sha256 = sums.plaintext.sha256.to_string();
        record.tables = (tables.iter())
            .map(|(name, rows)| manifest::ManifestTable {
                name: (*name).into(),
                rows: *rows,
                bytes: 0,
            })
            .collect();
        self.store.put_if_absent(key, stored.into(), &put).await.unwrap();
        let line = manifest::sha256sum_line(&record.file.sha256, key);
        self.store.put_if_absent(&beside::checksum_key(key), line.into(), &put).await.unwrap();
        self.store
            .put_if_absent(&beside::manifest_key(key), record.to_json().into(), &put)
            .await
            .unwrap();
        backup
    }
}

fn dumped(cluster: &Cluster, database: &str, args: &[&str]) -> Vec<u8> {
    let output = cluster.command("pg_dump").args(args).args(["-d", database]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

async fn restored(
    place: &Place,
    backup: &StoredBackup,
    cluster: &Cluster,
    how: &BackupRestoreOptions,
) -> Result<RestoreOutcome, RestoreError> {
    let (opening, server) = (BackupKeys::default(), cluster.server());
    let safety = async |_: &str| Ok(());
    restore_backup(&place.store, backup, &opening, &server, how, safety, |_| ()).await
}

async fn tried(
    place: &Place,
    backup: &StoredBackup,
    scratch: &ScratchTarget,
) -> Result<VerificationReport, RestoreError> {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let run = format!("r{}", RUNS.fetch_add(1, Ordering::Relaxed));
    let (rules, earlier) = (RestoreChecks::default(), []);
    let trial = VerifyOptions {
        scratch,
        run: &run,
        jobs: 2,
        checks: &rules,
        earlier: &earlier,
        max_size_deviation: None,
        fault: None,
    };
    verify_full(&place.store, backup, &BackupKeys::default(), &trial).await
}

fn count(cluster: &Cluster, condition: &str) -> String {
    cluster.psql("postgres", &format!("SELECT count(*) FROM pg_database WHERE {condition}"))
}

#[test]
fn no_file_drops_a_database_or_changes_a_role_whatever_it_says() {
    let cluster = shared();
    let victim = cluster.database("victim");
    cluster.psql(&victim, "CREATE TABLE t AS SELECT generate_series(1, 10) i");
    let ended = "\n--\n-- PostgreSQL database dump complete\n--\n";
    let dumpall = cluster.run("pg_dumpall", &["--clean"]);
    let files = [
        ("pg_dump -C -c", dumped(cluster, &victim, &["-Fp", "-C", "-c"])),
        ("three lines", format!("SELECT 1;\nDROP DATABASE {victim};\n{ended}").into_bytes()),
        ("a role", format!("ALTER ROLE postgres PASSWORD 'x';{ended}").into_bytes()),
        ("a program", format!("COPY (SELECT 1) TO PROGRAM 'touch /tmp/x';{ended}").into_bytes()),
        ("hidden in a string", format!("SET standard_conforming_strings TO off;\nSELECT '\\'; DROP DATABASE {victim}; --';{ended}").into_bytes()),
        ("pg_dumpall --clean", dumpall.into_bytes()),
    ];
    let scratch = ScratchTarget::Production(cluster.server());
    wait(async {
        for (what, bytes) in files {
            let place = Place::new();
            let backup = place.foreign(&bytes).await;
            let read = verify_quick(&place.store, &backup, &BackupKeys::default()).await;
            assert_eq!(read.verdict, VerificationVerdict::Bad, "{what}: {read:?}");
            let tried = tried(&place, &backup, &scratch).await.unwrap();
            assert_eq!(
                (tried.verdict, failed(&tried)),
                (VerificationVerdict::Bad, vec!["contents"]),
                "{what}"
            );
            let refused = restored(&place, &backup, cluster, &options("victim_back")).await;
            let refused = refused.unwrap_err();
            assert!(
                matches!(refused.kind, RestoreErrorKind::Refused | RestoreErrorKind::Damaged),
                "{what}: {refused:?}"
            );
            assert_eq!(cluster.psql(&victim, "SELECT count(*) FROM t"), "10", "{what}");
        }
    });
    assert_eq!(count(cluster, "datname LIKE 'victim\\_back%' OR datname LIKE 'shop\\_%'"), "0");
}

#[test]
fn a_file_that_is_cut_or_is_something_else_is_not_good() {
    let cluster = shared();
    let database = cluster.database("cut");
    cluster.psql(
        &database,
        "CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 5000) i",
    );
    cluster.psql(&database, "CREATE TABLE u AS SELECT i FROM generate_series(1, 5000) i");
    let half = |args: &[&str]| {
        let mut bytes = dumped(cluster, &database, args);
        bytes.truncate(bytes.len() / 2);
        bytes
    };
    let html = b"<!DOCTYPE html>\n<html><body>503 Service Unavailable</body></html>\n".to_vec();
    let files = [
        ("half of -Fc", half(CUSTOM)),
        ("half of a compressed -Fc", half(&["-Fc"])),
        ("half of -Fp", half(PLAIN)),
        ("a page of HTML", html),
        ("only a query", b"SELECT pg_catalog.setval('x', 1);\n".to_vec()),
    ];
    wait(async {
        for (what, bytes) in files {
            let place = Place::new();
            let backup = place.foreign(&bytes).await;
            let read = verify_quick(&place.store, &backup, &BackupKeys::default()).await;
            assert_eq!(
                (read.verdict, failed(&read)),
                (VerificationVerdict::Bad, vec!["contents"]),
                "{what}"
            );
        }
        for args in [CUSTOM, &["-Fc"], &["-Fc", "--inserts"], PLAIN, &["-Fp", "--inserts"]] {
            let place = Place::new();
            let backup = place.foreign(&dumped(cluster, &database, args)).await;
            let read = verify_quick(&place.store, &backup, &BackupKeys::default()).await;
            assert!(read.is_good, "{args:?}: {read:?}");
        }
        // With a record whose hashes are right: it was damaged before they were made.
        for (format, args) in [(ManifestFormat::Custom, CUSTOM), (ManifestFormat::Plain, PLAIN)] {
            let place = Place::new();
            let backup = place.committed(format, &half(args), &[("public.t", 5000)]).await;
            let scratch = ScratchTarget::Production(cluster.server());
            let full = tried(&place, &backup, &scratch).await.unwrap();
            assert_eq!(
                (full.verdict, failed(&full)),
                (VerificationVerdict::Bad, vec!["restores"]),
                "{full:?}"
            );
            assert_eq!(full.checks.iter().find_map(|c| c.kind), Some(RestoreErrorKind::Damaged));
            let error = restored(&place, &backup, cluster, &options("cut_back")).await.unwrap_err();
            assert_eq!(error.kind, RestoreErrorKind::Damaged, "{error}");
        }
    });
}

#[test]
fn code_in_a_dump_runs_without_any_right_in_a_test() {
    let cluster = shared();
    let database = cluster.database("code");
    let mark = cluster.dir.join("harm");
    let sql = format!(
        "CREATE TABLE t AS SELECT generate_series(1, 3) i;
         CREATE FUNCTION evil(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
             IF current_database() <> '{database}' THEN
                 EXECUTE 'COPY (SELECT 1) TO PROGRAM ''touch {}''';
             END IF;
             RETURN $1; END $$;
         CREATE INDEX ON t (evil(i))",
        mark.display()
    );
    cluster.psql(&database, &sql);
    wait(async {
        for (format, args) in [(ManifestFormat::Custom, CUSTOM), (ManifestFormat::Plain, PLAIN)] {
            let place = Place::new();
            let bytes = dumped(cluster, &database, args);
            let backup = place.committed(format, &bytes, &[("public.t", 3)]).await;
            let scratch = ScratchTarget::Production(cluster.server());
            let tried = tried(&place, &backup, &scratch).await.unwrap();
            assert_eq!(tried.verdict, VerificationVerdict::WithLosses, "{tried:?}");
            assert!(!mark.exists(), "it ran a program");
            let like = format!("LIKE '{}%'", backup.database().unwrap());
            assert_eq!(count(cluster, &format!("datname {like}")), "0");
            let roles = format!("SELECT count(*) FROM pg_roles WHERE rolname {like}");
            assert_eq!(cluster.psql("postgres", &roles), "0");
        }
    });
}

#[test]
fn a_test_runs_on_a_server_of_our_own_that_is_gone_afterwards() {
    let cluster = shared();
    let database = cluster.every_kind("own");
    let folder = tempfile::tempdir().unwrap();
    // Where the tests' superuser runs, the scratch server's user must get to its folder.
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    wait(async {
        let place = Place::new();
        let server = cluster.server();
        let facts = postgres::dump::probe_server(&server, &database).await.unwrap();
        for (format, args) in [(ManifestFormat::Custom, CUSTOM), (ManifestFormat::Plain, PLAIN)] {
            let place = Place::new();
            let bytes = dumped(cluster, &database, args);
            let mut backup = place.committed(format, &bytes, &[]).await;
            let BackupKind::Committed(record) = &mut backup.kind else { panic!("it is committed") };
            record.server.version_num = facts.version_num;
            let objects = "SELECT count(*) FROM pg_largeobject_metadata";
            record.large_objects = cluster.psql(&database, objects).parse().unwrap();
            let role =
                |name: &str| manifest::ServerRole { name: name.into(), ..Default::default() };
            record.roles = vec![role("holdfast_reader"), role("holdfast_owner")];
            let scratch = ScratchTarget::local(Some(folder.path().into()));
            let tried = tried(&place, &backup, &scratch).await.unwrap();
            let losses: Vec<_> =
                tried.warnings.iter().map(|l| (&l.statement, &l.message)).collect();
            assert_eq!(failed(&tried), Vec::<&str>::new(), "{losses:?}");
            assert_eq!(tried.verdict, VerificationVerdict::Good, "{losses:#?}");
            let left = tried.checks.iter().find(|c| c.name == "what takes a superuser").unwrap();
            assert!(left.detail.to_lowercase().contains("event trigger"), "{}", left.detail);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "it is there");
            scratch.stop_servers().await;
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "it is gone");
        }
        // A server of a version that is not here: nothing is known, and production is not asked.
        let mut backup =
            place.committed(ManifestFormat::Custom, &dumped(cluster, &database, CUSTOM), &[]).await;
        let BackupKind::Committed(record) = &mut backup.kind else { panic!("it is committed") };
        record.server.version_num = 990_000;
        let scratch = ScratchTarget::local(Some(folder.path().into()));
        let nowhere = tried(&place, &backup, &scratch).await.unwrap_err();
        assert_eq!(nowhere.kind, RestoreErrorKind::NoScratch, "{nowhere}");
        assert!(nowhere.to_string().contains("scratch:"), "{nowhere}");
        let told = ::restore::verify::could_not_verify(&backup, &nowhere);
        assert_eq!((told.verdict, told.is_good), (VerificationVerdict::CouldNotVerify, false));
    });
}

#[test]
fn a_subscription_comes_back_asleep_and_holds_no_database_back() {
    let cluster = shared();
    let database = cluster.database("subscribed");
    cluster.psql(&database, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1,10);
        CREATE SUBSCRIPTION feed CONNECTION 'host=127.0.0.1 port=1 dbname=x' PUBLICATION p WITH (connect = false, slot_name = 'feed_slot')");
    let off = |of: &str| {
        cluster.psql("postgres", &format!("SELECT subenabled, subslotname IS NULL FROM pg_subscription s JOIN pg_database d ON d.oid = subdbid WHERE datname = '{of}'"))
    };
    // What a killed run left on this server.
    let left = format!("{database}_holdfast_verify_dead");
    cluster.psql("postgres", &format!("CREATE DATABASE {left}"));
    cluster.psql(&left, "CREATE SUBSCRIPTION old CONNECTION 'host=127.0.0.1 port=1 dbname=x' PUBLICATION p WITH (connect = false, slot_name = 'feed_slot')");
    wait(async {
        for (format, args) in [(ManifestFormat::Custom, CUSTOM), (ManifestFormat::Plain, PLAIN)] {
            let place = Place::new();
            let bytes = dumped(cluster, &database, args);
            let backup = place.committed(format, &bytes, &[("public.t", 10)]).await;
            let scratch = ScratchTarget::Production(cluster.server());
            let tried = tried(&place, &backup, &scratch).await.unwrap();
            assert_eq!(tried.verdict, VerificationVerdict::Good, "{tried:?}");
            let target = format!("{database}_{format:?}").to_lowercase();
            let done = restored(&place, &backup, cluster, &options(&target)).await.unwrap();
            let RestoreOutcome::Restored(report) = done else { panic!("not restored") };
            assert!(report.notes[0].contains("feed") && report.warnings.is_empty(), "{report:?}");
            assert_eq!(off(&target), "f|t");
        }
        assert_eq!(count(cluster, &format!("datname = '{left}'")), "0");
    });
    // Nothing keeps them from being dropped but their own subscriptions, asleep.
    for of in ["custom", "plain"].map(|f| format!("{database}_{f}")) {
        cluster.psql(&of, "DROP SUBSCRIPTION feed");
        cluster.psql("postgres", &format!("DROP DATABASE {of}"));
    }
    cluster
        .psql(&database, "ALTER SUBSCRIPTION feed SET (slot_name = NONE); DROP SUBSCRIPTION feed");
}

#[test]
fn what_comes_back_in_part_is_judged_alike_and_kept_only_when_asked_for() {
    let cluster = shared();
    let database = cluster.database("parts");
    cluster.psql(&database, "CREATE TABLE limits (m int); INSERT INTO limits VALUES (10);
        CREATE FUNCTION within(i int) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT i <= (SELECT max(m) FROM limits)';
        CREATE TABLE items (i int CHECK (within(i))); INSERT INTO items VALUES (1),(2)");
    wait(async {
        for (format, args) in [(ManifestFormat::Custom, CUSTOM), (ManifestFormat::Plain, PLAIN)] {
            let place = Place::new();
            let bytes = dumped(cluster, &database, args);
            let tables = [("public.limits", 1), ("public.items", 2)];
            let backup = place.committed(format, &bytes, &tables).await;
            let scratch = ScratchTarget::Production(cluster.server());
            let tried = tried(&place, &backup, &scratch).await.unwrap();
            assert_eq!(failed(&tried), ["no data lost", "rows of each table"], "{tried:?}");
            let target = format!("{database}_{format:?}").to_lowercase();
            let refused = restored(&place, &backup, cluster, &options(&target)).await.unwrap_err();
            let told = refused.to_string();
            assert!(told.contains("--accept-losses") && told.contains("-d TARGET"), "{told}");
            assert_eq!(count(cluster, &format!("datname LIKE '{target}%'")), "0");

            let how = BackupRestoreOptions { accept_losses: true, ..options(&target) };
            let done = restored(&place, &backup, cluster, &how).await.unwrap();
            let RestoreOutcome::Restored(report) = done else { panic!("not restored") };
            assert!(!report.warnings.is_empty());
            assert_eq!(cluster.psql(&target, "SELECT count(*) FROM limits"), "1");
        }
    });
}

#[test]
fn nothing_with_losses_takes_the_place_of_a_database_unless_asked() {
    let cluster = shared();
    let database = cluster.database("index");
    cluster.psql(&database, "CREATE TABLE words (t text); INSERT INTO words VALUES ('A');
        CREATE FUNCTION lower2(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower(t)';
        CREATE FUNCTION norm(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN lower2(t); END $$;
        CREATE INDEX ON words (norm(t))");
    wait(async {
        let place = Place::new();
        let bytes = dumped(cluster, &database, CUSTOM);
        let backup = place.committed(ManifestFormat::Custom, &bytes, &[("public.words", 1)]).await;
        cluster.psql(&database, "INSERT INTO words VALUES ('B')");
        let how = BackupRestoreOptions { replace: true, ..options(&database) };
        let refused = restored(&place, &backup, cluster, &how).await.unwrap_err();
        assert!(refused.to_string().contains("--accept-losses"), "{refused}");
        assert_eq!(cluster.psql(&database, "SELECT count(*) FROM words"), "2");
        assert_eq!(count(cluster, &format!("datname LIKE '{database}\\_%'")), "0");
        let how = BackupRestoreOptions { accept_losses: true, ..how };
        let done = restored(&place, &backup, cluster, &how).await.unwrap();
        let RestoreOutcome::Restored(report) = done else { panic!("not restored") };
        assert_eq!(report.warnings.len(), 1, "{:?}", report.warnings);
        assert_eq!(cluster.psql(&database, "SELECT count(*) FROM words"), "1");
    });
}

#[test]
fn a_part_never_takes_the_place_of_the_whole_and_the_servers_own_databases_stay() {
    let cluster = shared();
    let database = cluster.database("narrowed");
    cluster.psql(&database, "CREATE TABLE t (); CREATE TABLE u ()");
    wait(async {
        let place = Place::new();
        let bytes = dumped(cluster, &database, &["-Fc", "-t", "t"]);
        let mut backup = place.committed(ManifestFormat::Custom, &bytes, &[("public.t", 0)]).await;
        for own in ["postgres", "template1"] {
            let how = BackupRestoreOptions { replace: true, ..options(own) };
            let refused = restored(&place, &backup, cluster, &how).await.unwrap_err();
            assert_eq!(refused.kind, RestoreErrorKind::Refused, "{own}: {refused}");
        }
        let BackupKind::Committed(record) = &mut backup.kind else { panic!("it is committed") };
        record.selection = vec!["t".into()];
        let how = BackupRestoreOptions { replace: true, ..options(&database) };
        let refused = restored(&place, &backup, cluster, &how).await.unwrap_err();
        assert!(refused.to_string().contains("a part of"), "{refused}");
        assert_eq!(cluster.psql(&database, "SELECT to_regclass('u') IS NOT NULL"), "t");
        let target = format!("{database}_new");
        restored(&place, &backup, cluster, &options(&target)).await.unwrap();
        let again = restored(&place, &backup, cluster, &options(&target)).await.unwrap_err();
        assert!(again.to_string().contains("--replace"), "{again}");
    });
}

#[test]
fn a_dry_run_says_what_the_server_lacks() {
    let cluster = shared();
    let database = cluster.database("lacking");
    cluster.psql("postgres", "CREATE ROLE lacking_owner; CREATE ROLE lacking_known");
    cluster.psql(&database, "CREATE TABLE t (); ALTER TABLE t OWNER TO lacking_owner; CREATE TABLE u (); ALTER TABLE u OWNER TO lacking_known");
    wait(async {
        let place = Place::new();
        let bytes = dumped(cluster, &database, CUSTOM);
        let mut backup = place.committed(ManifestFormat::Custom, &bytes, &[]).await;
        let BackupKind::Committed(record) = &mut backup.kind else { panic!("it is committed") };
        let extension =
            |name: &str| manifest::InstalledExtension { name: name.into(), version: "1".into() };
        record.extensions = vec![extension("plpgsql"), extension("not_there")];
        record.server.collate = "xx_XX.UTF-8".into();
        record.server.version_num = 990_000;
        record.roles =
            vec![manifest::ServerRole { name: "lacking_known".into(), ..Default::default() }];
        cluster.psql(&database, "DROP OWNED BY lacking_owner, lacking_known");
        cluster.psql("postgres", "DROP ROLE lacking_owner, lacking_known");
        let how = BackupRestoreOptions { dry_run: true, ..options("lacking_back") };
        let planned = restored(&place, &backup, cluster, &how).await.unwrap();
        let RestoreOutcome::Planned(plan) = planned else { panic!("not planned") };
        let told = plan.notes.join("\n");
        for word in [
            "extension not_there",
            "role lacking_owner",
            "created, without login: lacking_known",
            "xx_XX.UTF-8",
            "PostgreSQL 99",
        ] {
            assert!(told.contains(word), "{word}: {told}");
        }
        assert!(!told.contains("plpgsql"), "{told}");
    });
    assert_eq!(count(cluster, "datname LIKE 'lacking\\_back%'"), "0");
}

#[test]
fn a_table_of_a_record_is_no_sql() {
    let cluster = shared();
    let database = cluster.database("named");
    cluster.psql(&database, "CREATE TABLE t ()");
    wait(async {
        let place = Place::new();
        let bytes = dumped(cluster, &database, CUSTOM);
        let evil =
            format!("t; DROP TABLE t; SELECT 0 FROM pg_database WHERE datname = '{database}'");
        let backup = place.committed(ManifestFormat::Custom, &bytes, &[(&evil, 0)]).await;
        let scratch = ScratchTarget::Production(cluster.server());
        let tried = tried(&place, &backup, &scratch).await.unwrap();
        assert_eq!(failed(&tried), ["rows of each table"]);
        let rows = tried.checks.iter().find(|c| c.name == "rows of each table").unwrap();
        assert!(rows.detail.contains("no name of a table"), "{}", rows.detail);
    });
}

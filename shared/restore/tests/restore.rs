//! Backups of a real server in a directory, verified and restored.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../postgres/tests/support/mod.rs"]
mod support;

mod common;

use ::restore::{
    BackupKeys, BackupRestoreOptions, RestoreChecks, RestoreError, RestoreErrorKind,
    RestoreOutcome, RestorePhase, ScratchTarget, VerifyOptions, restore_backup,
    verify::VerificationReport, verify_full, verify_quick,
};
use codec::{
    ArchiveEncoder, CompressionMethod, DecryptionKeys, EncodingOptions, EncryptionMethod,
    StreamDigest,
};
use common::{failed, wait};
use jiff::Timestamp;
use postgres::restore::RestoreWarningKind;
use secrecy::SecretString;
use std::{cell::RefCell, fs, io::Write as _, path::Path};
use storage::{
    BackupManifest, BackupStore, DirectoryBackend, KeyTemplate, StoredBackup, TrustPolicy,
    UploadOptions, beside, list_backups,
    manifest::{self, ManifestFormat},
};
use support::{Cluster, shared};

const PASSPHRASE: &str = "correct horse";

fn opening(passphrase: &str) -> &'static BackupKeys {
    let passphrase = SecretString::from(passphrase);
    let mut keys = DecryptionKeys::default();
    keys.add_passphrase(passphrase);
    Box::leak(Box::new(BackupKeys { keys }))
}

/// What counts: all of `acme@host-1`.
fn trust() -> TrustPolicy {
    TrustPolicy::owner_only("acme@host-1", "2026-11-20T12:00:00Z".parse().unwrap())
}

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

    /// Stores a dump of `database` with its manifest, as a run would.
    async fn take(
        &self,
        cluster: &Cluster,
        database: &str,
        format: ManifestFormat,
    ) -> StoredBackup {
        let how = if format == ManifestFormat::Plain { "-Fp" } else { "-Fc" };
        let output =
            cluster.command("pg_dump").args([how, "-Z0", "-d", database]).output().unwrap();
        assert!(output.status.success());
        let tables = "SELECT format('%I.%I', nspname, relname), (xpath('/row/c/text()',
                query_to_xml(format('SELECT count(*) AS c FROM ONLY %I.%I', nspname, relname), false, true, '')))[1]
            FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
            WHERE relkind = 'r' AND nspname !~ '^pg_|information_schema'";
        let tables = cluster.psql(database, tables);
        let tables = tables.lines().map(|l| l.split_once('|').unwrap());
        let tables = tables.map(|(name, rows)| manifest::ManifestTable {
            name: name.into(),
            rows: rows.parse().unwrap(),
            bytes: 0,
        });
        let passphrase = SecretString::from(PASSPHRASE);
        let encryption =
            EncryptionMethod::OpenSsl { passphrase: passphrase.clone(), iterations: 10_000 };
        let recipe = EncodingOptions { compression: CompressionMethod::Zstd(1), encryption };
        let mut encoder = ArchiveEncoder::new(Vec::new(), &recipe).unwrap();
        encoder.write_all(&output.stdout).unwrap();
        let (bytes, sums) = encoder.finish().unwrap();
        let key = format!("{database}/{database}_daily_20261120_020000.dump.zst.enc");
        let put = UploadOptions { run: "r1".into(), ..UploadOptions::default() };
        self.store.put_if_absent(&key, bytes.into(), &put).await.unwrap();
        let sha256 = |d: &StreamDigest| d.sha256.to_string();
        let line = manifest::sha256sum_line(&sha256(&sums.stored), &key);
        self.store.put_if_absent(&beside::checksum_key(&key), line.into(), &put).await.unwrap();
        let facts = postgres::dump::probe_server(&cluster.server(), database).await.unwrap();
        let at: Timestamp = "2026-11-20T02:00:00Z".parse().unwrap();
        let manifest = BackupManifest {
            holdfast: manifest::MANIFEST_VERSION,
            owner: "acme@host-1".into(),
            key: key.clone(),
            group: "main".into(),
            database: database.into(),
            reason: "daily".into(),
            table: None,
            run: "r1".into(),
            slot: None,
            data_time: at,
            finished_at: at,
            file: manifest::StoredFile {
                name: key.rsplit('/').next().unwrap().into(),
                bytes: sums.stored.bytes,
                sha256: sha256(&sums.stored),
                checksum: None,
            },
            plain: manifest::PlaintextInfo {
                bytes: sums.plaintext.bytes,
                sha256: sha256(&sums.plaintext),
            },
            format,
            layers: recipe.to_layers(),
            recipients: Vec::new(),
            key_id: None,
            server: manifest::ServerProperties {
                version: facts.version,
                version_num: facts.version_num,
                encoding: facts.encoding,
                collate: facts.collate,
                ctype: facts.ctype,
                owner: facts.owner,
                ..manifest::ServerProperties::default()
            },
            client: "15".into(),
            extensions: Vec::new(),
            roles: Vec::new(),
            selection: Vec::new(),
            tables: tables.collect(),
            large_objects: 0,
            fingerprint: None,
            locked_until: None,
            restore: String::new(),
            redis: None,
        };
        self.store
            .put_if_absent(&beside::manifest_key(&key), manifest.to_json().into(), &put)
            .await
            .unwrap();
        self.list().await.pop().unwrap()
    }

    async fn list(&self) -> Vec<StoredBackup> {
        list_backups(&self.store, &[] as &[KeyTemplate], &[], &trust()).await.unwrap()
    }

    fn file(&self, backup: &StoredBackup) -> std::path::PathBuf {
        self.dir.path().join(&backup.key)
    }
}

/// Changes a file that was written to be read only.
fn alter(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

fn sample(cluster: &Cluster, name: &str) -> String {
    let database = cluster.database(name);
    let sql = "CREATE TABLE orders (id int PRIMARY KEY, who text);
        INSERT INTO orders SELECT i, 'customer ' || i FROM generate_series(1, 5000) i; CREATE TABLE empty ()";
    cluster.psql(&database, sql);
    database
}

/// A restore that may take a database's place.
fn options(target: &str, run: &str) -> BackupRestoreOptions {
    BackupRestoreOptions { replace: true, run: run.into(), ..common::options(target) }
}

async fn no_safety(_: &str) -> Result<(), RestoreError> {
    Ok(())
}

#[test]
fn a_good_backup_verifies_and_every_damage_is_found_quickly() {
    let cluster = shared();
    let database = sample(cluster, "quick");
    let place = Place::new();
    wait(async {
        let backup = place.take(cluster, &database, ManifestFormat::Custom).await;
        let good = verify_quick(&place.store, &backup, opening(PASSPHRASE)).await;
        assert!(good.is_good, "{good:?}");
        // What is verified stays as it is.
        let again = verify_quick(&place.store, &backup, opening(PASSPHRASE)).await;
        assert_eq!(again.checks, good.checks);

        let wrong = verify_quick(&place.store, &backup, opening("another")).await;
        assert_eq!(failed(&wrong), ["readable"]);
        assert_eq!(wrong.checks.iter().find_map(|c| c.kind), Some(RestoreErrorKind::Key));

        // One bit of the file, so that its size stays.
        alter(&place.file(&backup), |bytes| bytes[5000] ^= 1);
        let damaged = verify_quick(&place.store, &backup, opening(PASSPHRASE)).await;
        assert_eq!(failed(&damaged), ["readable"]);
        alter(&place.file(&backup), |bytes| bytes.truncate(4000));
        let cut = verify_quick(&place.store, &place.list().await[0], opening(PASSPHRASE)).await;
        assert_eq!(failed(&cut), ["manifest"]);
    });
    wait(async {
        let place = Place::new();
        let backup = place.take(cluster, &database, ManifestFormat::Custom).await;
        let sums = place.dir.path().join(beside::checksum_key(&backup.key));
        alter(&sums, |bytes| bytes[0] = if bytes[0] == b'0' { b'1' } else { b'0' });
        assert_eq!(
            failed(&verify_quick(&place.store, &backup, opening(PASSPHRASE)).await),
            [".sha256"]
        );
        // Somebody writes a manifest of his own: what does not count is not even read.
        let manifest = place.dir.path().join(beside::manifest_key(&backup.key));
        alter(&manifest, |bytes| {
            *bytes = String::from_utf8_lossy(bytes).replace("acme@host-1", "acme@x").into_bytes();
        });
        let forged = place.list().await.pop().unwrap();
        let forged = verify_quick(&place.store, &forged, opening(PASSPHRASE)).await;
        assert_eq!(failed(&forged), ["manifest"], "{forged:?}");
    });
}

#[test]
fn a_full_verification_restores_counts_asks_and_leaves_nothing_behind() {
    let cluster = shared();
    let database = sample(cluster, "fully");
    let place = Place::new();
    let left = "SELECT count(*) FROM pg_database WHERE datname LIKE 'fully%_holdfast_verify_%'";
    wait(async {
        // The policy says so in words: on the server that is backed up.
        let scratch = ScratchTarget::Production(cluster.server());
        let backup = place.take(cluster, &database, ManifestFormat::Custom).await;
        let mut rules =
            RestoreChecks { critical_tables: vec!["orders".into()], ..RestoreChecks::default() };
        rules.checks.insert("last order".into(), "SELECT max(id) = 5000 FROM orders".into());
        let earlier = [backup.size, backup.size * 2, backup.size];
        let strict = rules.clone();
        let trial = |rules| VerifyOptions {
            scratch: &scratch,
            run: "r7",
            jobs: 2,
            checks: rules,
            earlier: &earlier,
            max_size_deviation: Some(0.5),
            fault: None,
        };
        // What a killed run left behind is dropped first; that of a living one stays.
        cluster.psql("postgres", &format!("CREATE DATABASE {database}_holdfast_verify_dead"));
        let good =
            verify_full(&place.store, &backup, opening(PASSPHRASE), &trial(&strict)).await.unwrap();
        assert!(good.is_good, "{good:?}");
        assert_eq!(
            good.durations.iter().map(|t| t.phase.as_str()).collect::<Vec<_>>(),
            ["fetch and restore", "verify"]
        );
        assert!(good.to_markdown().contains("| last order | passed |"), "{}", good.to_markdown());
        assert_eq!(
            serde_json::from_str::<VerificationReport>(&serde_json::to_string(&good).unwrap())
                .unwrap(),
            good
        );
        assert_eq!(cluster.psql("postgres", left), "0");

        rules.critical_tables.push("empty".into());
        rules.checks.insert("wrong".into(), "SELECT count(*) = 7 FROM orders".into());
        rules.checks.insert("absurd".into(), "SELECT nothing FROM nowhere".into());
        let mut fewer = backup.clone();
        if let storage::catalogue::BackupKind::Committed(manifest) = &mut fewer.kind {
            manifest.tables[0].rows += 1;
            manifest.tables.push(manifest::ManifestTable {
                name: "public.gone".into(),
                rows: 1,
                bytes: 0,
            });
        }
        let bad =
            verify_full(&place.store, &fewer, opening(PASSPHRASE), &trial(&rules)).await.unwrap();
        assert_eq!(failed(&bad), ["rows of each table", "empty has rows", "absurd", "wrong"]);
        assert_eq!(cluster.psql("postgres", left), "0");
    });
}

#[test]
fn a_restore_replaces_a_database_and_keeps_the_old_one() {
    let cluster = shared();
    for format in [ManifestFormat::Custom, ManifestFormat::Plain] {
        let database = sample(cluster, "replaced");
        let place = Place::new();
        wait(async {
            let server = cluster.server();
            let backup = place.take(cluster, &database, format).await;
            cluster.psql(&database, "DELETE FROM orders WHERE id > 10; CREATE TABLE newer ()");
            cluster.psql("postgres", &format!("ALTER DATABASE {database} SET work_mem TO '7MB'"));
            let phases = RefCell::new(Vec::new());
            let dumped = RefCell::new(String::new());
            let safety = async |of: &str| {
                *dumped.borrow_mut() = of.to_owned();
                Ok(())
            };
            let how = BackupRestoreOptions {
                erasure: vec!["DELETE FROM orders WHERE id = 77".into()],
                ..options(&database, "r1")
            };
            let done = restore_backup(
                &place.store,
                &backup,
                opening(PASSPHRASE),
                &server,
                &how,
                safety,
                |p| {
                    phases.borrow_mut().push(p);
                },
            );
            let RestoreOutcome::Restored(report) = done.await.unwrap() else {
                panic!("not restored")
            };
            assert_eq!(report.warnings, []);
            assert_eq!(*dumped.borrow(), database);
            let aside = report.previous_database.unwrap();
            assert_eq!(aside, format!("{database}_before_20261121030000"));

            assert_eq!(
                *phases.borrow(),
                [
                    RestorePhase::Checking,
                    RestorePhase::Safety,
                    RestorePhase::Restoring,
                    RestorePhase::Verifying,
                    RestorePhase::Erasing,
                    RestorePhase::Swapping
                ]
            );
            assert_eq!(cluster.psql(&database, "SELECT count(*) FROM orders"), "4999");
            assert_eq!(cluster.psql(&database, "SHOW work_mem"), "7MB");
            assert_eq!(
                cluster.psql(
                    &aside,
                    "SELECT count(*) FROM orders, (SELECT FROM pg_class WHERE relname = 'newer') n"
                ),
                "10"
            );

            // Again in the same second: both old ones stay.
            let safety = async |_: &str| Ok(());
            let opening = opening(PASSPHRASE);
            let again =
                restore_backup(&place.store, &backup, opening, &server, &how, safety, |_| ());
            let RestoreOutcome::Restored(report) = again.await.unwrap() else {
                panic!("not restored")
            };
            let next = format!("{database}_before_20261121030001");
            assert_eq!(report.previous_database.as_ref(), Some(&next));
            assert_eq!(cluster.psql(&next, "SELECT count(*) FROM orders"), "4999");
            assert_eq!(cluster.psql(&aside, "SELECT count(*) FROM orders"), "10");
        });
    }
}

#[test]
fn a_dry_run_touches_nothing_and_says_what_would_be_done() {
    let cluster = shared();
    let database = sample(cluster, "dry");
    let place = Place::new();
    wait(async {
        let server = cluster.server();
        let backup = place.take(cluster, &database, ManifestFormat::Custom).await;
        let how = BackupRestoreOptions { dry_run: true, ..options(&database, "r1") };
        let done = restore_backup(
            &place.store,
            &backup,
            opening(PASSPHRASE),
            &server,
            &how,
            no_safety,
            |_| {},
        );
        let RestoreOutcome::Planned(plan) = done.await.unwrap() else { panic!("not planned") };
        let text = plan.to_string();
        assert!(text.contains("1. dump") && text.contains("both at once"), "{text}");
        assert!(
            !postgres::database::database_exists(&server, &plan.scratch_database).await.unwrap()
        );

        let wrong = restore_backup(
            &place.store,
            &backup,
            opening("another"),
            &server,
            &how,
            no_safety,
            |_| {},
        );
        assert_eq!(wrong.await.unwrap_err().kind, RestoreErrorKind::Key);
        let chosen = BackupRestoreOptions { tables: vec!["orders".into()], ..how };
        let refused = restore_backup(
            &place.store,
            &backup,
            opening(PASSPHRASE),
            &server,
            &chosen,
            no_safety,
            |_| {},
        );
        assert!(refused.await.unwrap_err().to_string().contains("new database only"));
    });
}

#[test]
fn whatever_fails_the_target_is_as_it_was() {
    let cluster = shared();
    let database = sample(cluster, "untouched");
    let place = Place::new();
    wait(async {
        let server = cluster.server();
        let backup = place.take(cluster, &database, ManifestFormat::Custom).await;
        let untouched = |what: &str| {
            assert_eq!(cluster.psql(&database, "SELECT count(*) FROM orders"), "5000", "{what}");
            let others =
                format!("SELECT count(*) FROM pg_database WHERE datname LIKE '{database}\\_%'");
            assert_eq!(cluster.psql("postgres", &others), "0", "{what}");
        };
        let base = options(&database, "r1");
        let mut checks = base.clone();
        checks.rules.checks.insert("never".into(), "SELECT false".into());
        let erasure =
            BackupRestoreOptions { erasure: vec!["DELETE FROM nowhere".into()], ..base.clone() };
        for (what, how) in [("a check", &checks), ("an erasure", &erasure)] {
            let done = restore_backup(
                &place.store,
                &backup,
                opening(PASSPHRASE),
                &server,
                how,
                no_safety,
                |_| {},
            );
            let e = done.await.unwrap_err();
            assert!(e.to_string().contains("is as it was"), "{what}: {e}");
            untouched(what);
        }
        let no = async |_: &str| {
            Err(RestoreError::new(RestoreErrorKind::Store, "dump", "the disk is full", ""))
        };
        let done =
            restore_backup(&place.store, &backup, opening(PASSPHRASE), &server, &base, no, |_| {});
        assert_eq!(done.await.unwrap_err().why, "the disk is full");
        untouched("the safety backup");

        // A damaged file: found at its end, long after rows went in.
        alter(&place.file(&backup), |bytes| {
            let last = bytes.len() - 20;
            bytes[last] ^= 1;
        });
        let done = restore_backup(
            &place.store,
            &backup,
            opening(PASSPHRASE),
            &server,
            &base,
            no_safety,
            |_| {},
        );
        assert_eq!(done.await.unwrap_err().kind, RestoreErrorKind::Damaged);
        untouched("a damaged file");

        // Killed in the middle: what it left is dropped by the next restore, and the target was not touched.
        let killed = cluster.psql("postgres", &format!("CREATE DATABASE {database}_holdfast_r0"));
        drop(killed);
        let place = Place::new();
        let backup = place.take(cluster, &database, ManifestFormat::Custom).await;
        let how = BackupRestoreOptions { drop_old: true, ..base };
        let done = restore_backup(
            &place.store,
            &backup,
            opening(PASSPHRASE),
            &server,
            &how,
            no_safety,
            |_| {},
        );
        assert!(
            matches!(done.await.unwrap(), RestoreOutcome::Restored(r) if r.previous_database.is_none())
        );
        untouched("a restore that dropped the old one");
    });
}

#[test]
fn a_restore_into_a_new_database_can_choose_tables_and_tells_its_losses() {
    let cluster = shared();
    let database = sample(cluster, "chosen");
    cluster.psql("postgres", "CREATE ROLE chosen_owner");
    cluster.psql(&database, "ALTER TABLE orders OWNER TO chosen_owner");
    let place = Place::new();
    wait(async {
        let server = cluster.server();
        let backup = place.take(cluster, &database, ManifestFormat::Custom).await;
        cluster.psql(&database, "DROP OWNED BY chosen_owner");
        cluster.psql("postgres", "DROP ROLE chosen_owner");
        let target = format!("{database}_new");
        let how = BackupRestoreOptions { tables: vec!["orders".into()], ..options(&target, "r1") };
        let done = restore_backup(
            &place.store,
            &backup,
            opening(PASSPHRASE),
            &server,
            &how,
            no_safety,
            |_| {},
        );
        let RestoreOutcome::Restored(report) = done.await.unwrap() else { panic!("not restored") };
        assert_eq!(
            report.warnings.iter().map(|l| l.kind).collect::<Vec<_>>(),
            [RestoreWarningKind::Role]
        );
        assert_eq!(report.previous_database, None);
        assert_eq!(cluster.psql(&target, "SELECT count(*) FROM orders"), "5000");
    });
}

#[test]
fn a_foreign_backup_is_verified_and_restored_too() {
    let cluster = shared();
    let database = sample(cluster, "foreign");
    let place = Place::new();
    let script = format!(
        "pg_dump -Fp -d {database} | gzip | openssl enc -aes-256-cbc -pbkdf2 -salt -pass 'pass:{PASSPHRASE}'"
    );
    let mut command = cluster.command("psql");
    let env: Vec<_> =
        command.get_envs().filter_map(|(k, v)| Some((k.to_owned(), v?.to_owned()))).collect();
    command = std::process::Command::new("sh");
    let output = command.args(["-c", &script]).envs(env).output().unwrap();
    assert!(output.status.success());
    fs::write(
        place.dir.path().join(format!("{database}_20261120_020000.sql.gz.enc")),
        output.stdout,
    )
    .unwrap();
    wait(async {
        let server = cluster.server();
        let form = KeyTemplate::new("{database}_%Y%m%d_%H%M%S", ".sql.gz.enc").unwrap();
        let backup =
            list_backups(&place.store, &[form], &[], &trust()).await.unwrap().pop().unwrap();
        let good = verify_quick(&place.store, &backup, opening(PASSPHRASE)).await;
        assert!(good.is_good, "{good:?}");
        assert!(!verify_quick(&place.store, &backup, opening("another")).await.is_good);
        let target = format!("{database}_back");
        let how = options(&target, "r1");
        let done = restore_backup(
            &place.store,
            &backup,
            opening(PASSPHRASE),
            &server,
            &how,
            no_safety,
            |_| {},
        );
        assert!(matches!(done.await.unwrap(), RestoreOutcome::Restored(_)));
        assert_eq!(cluster.psql(&target, "SELECT count(*) FROM orders"), "5000");
    });
}

#[test]
fn a_database_that_lets_nobody_in_after_the_swap_is_swapped_back() {
    let cluster = shared();
    let database = sample(cluster, "locked");
    let place = Place::new();
    wait(async {
        let server = cluster.server();
        let backup = place.take(cluster, &database, ManifestFormat::Custom).await;
        let oid = format!("SELECT oid FROM pg_database WHERE datname = '{database}'");
        let before = cluster.psql("postgres", &oid);
        // The restored database gets this setting of the old one, and then no session can start in it.
        cluster.psql(
            "postgres",
            &format!("ALTER DATABASE {database} SET session_preload_libraries TO 'not_there'"),
        );
        let how = options(&database, "r1");
        let done = restore_backup(
            &place.store,
            &backup,
            opening(PASSPHRASE),
            &server,
            &how,
            no_safety,
            |_| {},
        );
        let e = done.await.unwrap_err();
        assert!(e.to_string().contains("is as it was"), "{e}");
        assert_eq!(cluster.psql("postgres", &oid), before);
        let others =
            format!("SELECT count(*) FROM pg_database WHERE datname LIKE '{database}\\_%'");
        assert_eq!(cluster.psql("postgres", &others), "0");
    });
}

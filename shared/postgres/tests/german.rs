//! A server that speaks German: codes decide, and its words are only shown.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use bytes::Bytes;
use postgres::{
    ConnectionConfig, PostgresErrorKind,
    dump::{DumpFileFormat, DumpOptions},
    restore::{PgDumpFormat, RestoreOptions, RestoreSummary, RestoreWarningKind, restore_stream},
};
use std::{io, process::Stdio, sync::OnceLock, time::Duration};
use support::{Cluster, dumping::*};
use tokio::sync::mpsc;

fn german() -> &'static Cluster {
    static GERMAN: OnceLock<Cluster> = OnceLock::new();
    GERMAN.get_or_init(|| {
        let cluster = Cluster::german();
        let refused = cluster.feed("psql", &["-Xd", "postgres"], b"SELECT 1/0");
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(words.contains("FEHLER"), "it speaks German: {words}");
        cluster
    })
}

async fn into(to: &str, format: PgDumpFormat, archive: Vec<u8>) -> RestoreSummary {
    let (give, take) = mpsc::channel::<io::Result<Bytes>>(2);
    tokio::spawn(async move {
        for piece in [Bytes::from(archive), Bytes::new()] {
            drop(give.send(Ok(piece)).await);
        }
    });
    let how = RestoreOptions {
        jobs: 2,
        tables: Vec::new(),
        owners: true,
        privileges: true,
        ..RestoreOptions::default()
    };
    restore_stream(&german().server(), to, format, take, &how).await.unwrap()
}

#[tokio::test]
async fn losses_have_their_class_and_no_data() {
    let cluster = german();
    let from = cluster.database("lossy");
    cluster.psql(
        &from,
        "CREATE ROLE gone; CREATE TABLE owned (i int); ALTER TABLE owned OWNER TO gone; 
         CREATE TABLE there (i int);
         CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
         CREATE FUNCTION public.says(t text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
            $$ BEGIN IF current_setting('holdfast.restored', true) IS NULL THEN RETURN true; END IF; RAISE EXCEPTION 'Wert %', t; END $$;
         CREATE TABLE told (v text); INSERT INTO told VALUES ('Jane Roe'); CREATE INDEX told_says ON told (public.says(v));
         GRANT SELECT ON told TO gone;
         CREATE TABLE twice (v text); INSERT INTO twice VALUES ('Jane Roe'), ('Jane Roe');
         CREATE MATERIALIZED VIEW m AS SELECT v, public.says(v) FROM told",
    );
    for (format, stored) in
        [(CUSTOM, PgDumpFormat::Custom), (DumpFileFormat::Plain, PgDumpFormat::Plain)]
    {
        let (_, mut archive) = collect(cluster, &from, &what(format)).await.unwrap();
        if stored == PgDumpFormat::Plain {
            archive.extend_from_slice(b"ALTER TABLE public.twice ADD CONSTRAINT u UNIQUE (v);\n");
        }
        let to = cluster.database("lossy_back");
        cluster.psql(&to, "CREATE TABLE there (i int)");
        cluster.psql("postgres", &format!("ALTER DATABASE {to} SET holdfast.restored = 'yes'"));
        cluster.psql("postgres", "ALTER ROLE gone RENAME TO elsewhere");
        let restored = into(&to, stored, archive).await;
        cluster.psql("postgres", "ALTER ROLE elsewhere RENAME TO gone");
        let mut classes: Vec<_> = restored.warnings.iter().map(|l| l.kind).collect();
        classes.sort_unstable();
        let mut wanted = vec![
            RestoreWarningKind::Role,
            RestoreWarningKind::Role,
            RestoreWarningKind::Exists,
            RestoreWarningKind::Other,
            RestoreWarningKind::Other,
        ];
        if stored == PgDumpFormat::Plain {
            wanted.insert(3, RestoreWarningKind::Data);
        }
        assert_eq!(classes, wanted, "{:#?}", restored.warnings);
        let all = format!("{:?}", restored.warnings);
        assert!(!all.contains("Jane") && !all.contains("Wert"), "{all}");
        assert!(all.contains("P0001") && all.contains("42704"), "{all}");
    }
}

#[tokio::test]
async fn a_dump_that_fails_says_of_what_kind_it_is() {
    let cluster = german();
    let database = cluster.database("fails");
    cluster.psql(
        &database,
        "CREATE ROLE poor LOGIN PASSWORD 'x'; CREATE TABLE secret (i int); INSERT INTO secret VALUES (1)",
    );
    let poor =
        ConnectionConfig { user: "poor".into(), password: Some("x".into()), ..cluster.server() };
    for format in [CUSTOM, DumpFileFormat::Plain] {
        let e = collect_from(&poor, &database, &what(format.clone())).await.unwrap_err();
        assert!(
            e.kind == PostgresErrorKind::Refused && e.hint.contains("pg_read_all_data"),
            "{e:?}"
        );
        let impatient = DumpOptions { lock_wait: Duration::from_millis(700), ..what(format) };
        let mut owner = cluster.command("psql");
        owner.args(["-Xq", "-d", &database, "-c", "BEGIN; LOCK TABLE secret; SELECT pg_sleep(60)"]);
        let mut owner = owner.stdout(Stdio::null()).spawn().unwrap();
        cluster.until("SELECT count(*) > 0 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND locktype = 'relation'");
        let e = collect(cluster, &database, &impatient).await.unwrap_err();
        assert_eq!(e.kind, PostgresErrorKind::Busy, "{e:?}");
        owner.kill().unwrap();
        owner.wait().unwrap();
        let held = format!(
            "SELECT count(pg_terminate_backend(pid)) >= 0 FROM pg_stat_activity WHERE datname = '{database}' AND pid <> pg_backend_pid()"
        );
        cluster.psql("postgres", &held);
    }
}

#[tokio::test]
async fn a_table_that_is_dropped_meanwhile_begins_the_dump_afresh() {
    let cluster = german();
    for format in [CUSTOM, DumpFileFormat::Plain] {
        let database = cluster.database("dropped");
        cluster.psql(&database, "CREATE TABLE a (i int); CREATE TABLE b (i int)");
        let mut change = cluster.command("psql");
        change.args(["-Xq", "-d", &database, "-c"]);
        change.arg("BEGIN; LOCK TABLE b; SELECT pg_sleep(1); DROP TABLE b; COMMIT");
        let mut change = change.stdout(Stdio::null()).spawn().unwrap();
        cluster.until(&format!(
            "SELECT count(*) > 0 FROM pg_locks l JOIN pg_database d ON d.oid = l.database
             WHERE d.datname = '{database}' AND mode = 'AccessExclusiveLock' AND locktype = 'relation'"
        ));
        let (dumped, _) = collect(cluster, &database, &what(format)).await.unwrap();
        assert_eq!(dumped.tables.len(), 1);
        assert!(change.wait().unwrap().success());
    }
}

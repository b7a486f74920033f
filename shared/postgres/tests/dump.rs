//! Dumps of a real server, read back by stock tools.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use postgres::{
    PostgresErrorKind,
    dump::{CsvSource, DumpFileFormat, DumpOptions, DumpSummary},
};
use std::fs;
use support::{Cluster, comparable, dumping::*, same, shared};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An archive as SQL, by stock `pg_restore`.
fn as_sql(cluster: &Cluster, archive: &[u8], args: &[&str]) -> String {
    let sql = cluster.feed("pg_restore", &[&["-f", "-"], args].concat(), archive);
    assert!(sql.status.success(), "{}", text(&sql.stderr));
    comparable(&text(&sql.stdout))
}

fn rows_are_counted(cluster: &Cluster, database: &str, dumped: &DumpSummary) {
    for table in &dumped.tables {
        let rows = cluster.psql(database, &format!("SELECT count(*) FROM ONLY {}", table.name));
        assert_eq!(rows, table.rows.to_string(), "{}", table.name);
    }
}

#[tokio::test]
async fn our_archive_becomes_the_same_sql_as_stock_pg_dump_writes() {
    let cluster = shared();
    let database = cluster.every_kind("same_sql");
    let stock = cluster.described(&database, &["-C"]);
    for zlib in [None, Some(6)] {
        let (dumped, archive) =
            collect(cluster, &database, &what(DumpFileFormat::Custom { zlib })).await.unwrap();
        same(&stock, &as_sql(cluster, &archive, &["-C"]));
        assert_eq!(dumped.large_objects, 505);
        rows_are_counted(cluster, &database, &dumped);
        let with_data = stock.matches("-- Data for Name: ").count() - 1; // the large objects
        assert_eq!(dumped.tables.len(), with_data);
    }
}

#[tokio::test]
async fn a_database_with_every_kind_of_object_comes_back_identical_from_a_pipe_and_from_a_file() {
    let cluster = shared();
    let database = cluster.every_kind("round_trip");
    let stock = cluster.described(&database, &[]);
    let (dumped, archive) = collect(cluster, &database, &what(CUSTOM)).await.unwrap();

    let piped = cluster.database("piped");
    let restored = cluster.feed("pg_restore", &["--exit-on-error", "-d", &piped], &archive);
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    same(&stock, &cluster.described(&piped, &[]));

    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &archive).unwrap();
    let parallel = cluster.database("parallel");
    cluster.run(
        "pg_restore",
        &["--exit-on-error", "-j2", "-d", &parallel, file.path().to_str().unwrap()],
    );
    same(&stock, &cluster.described(&parallel, &[]));

    let names: Vec<_> = dumped.extensions.iter().map(|e| e.name.as_str()).collect();
    assert_eq!(names, ["btree_gist", "citext", "hstore", "pg_trgm", "plpgsql", "postgres_fdw"]);
    let owner = dumped.roles.iter().find(|r| r.name == "holdfast_owner").unwrap();
    assert_eq!(owner.member_of, [("holdfast_reader".to_owned(), false)].into());
    assert_eq!(owner.settings, [("work_mem".to_owned(), "8MB".to_owned())]);
    assert!(owner.login && owner.inherit && !owner.superuser && !owner.create_role);
    assert!(dumped.roles.iter().all(|r| !r.name.starts_with("pg_")));
    assert_eq!(dumped.server.encoding, "UTF8");
    assert!(dumped.server.version_num >= 110_000 && dumped.server.database_bytes > 1 << 20);
    assert!(dumped.server.system_identifier.is_some() && dumped.server.timeline == Some(1));
    let written = serde_json::to_string(&dumped).unwrap();
    assert_eq!(serde_json::from_str::<DumpSummary>(&written).unwrap(), dumped);
}

#[tokio::test]
async fn two_dumps_of_what_did_not_change_have_one_fingerprint() {
    let cluster = Cluster::start();
    let database = cluster.database("still");
    cluster.psql(
        &database,
        "CREATE TABLE t AS SELECT i AS id, md5(i::text) AS what FROM generate_series(1, 200000) i; \
         CREATE SEQUENCE s; SELECT lo_from_bytea(70001, 'one'); SELECT lo_from_bytea(70002, 'two');",
    );
    let taken = async |jobs, zlib| {
        let how = DumpOptions { jobs, ..what(DumpFileFormat::Custom { zlib }) };
        let (dumped, _) = collect(&cluster, &database, &how).await.unwrap();
        dumped.fingerprint.unwrap()
    };
    let first = taken(3, None).await;
    assert_eq!(first, taken(3, None).await);
    assert_eq!(first, taken(1, None).await, "however it was read");
    let packed = taken(2, Some(6)).await;
    assert_eq!(packed, taken(3, Some(6)).await);
    let plain = async || {
        let (dumped, _) = collect(&cluster, &database, &what(DumpFileFormat::Plain)).await.unwrap();
        dumped.fingerprint.unwrap()
    };
    assert_eq!(plain().await, plain().await);
    let mut seen_plain = vec![plain().await];
    let mut seen = vec![first];
    for change in [
        "UPDATE t SET what = 'other' WHERE id = 199999",
        "CREATE INDEX ON t (id)",
        "SELECT nextval('s')",
        "SELECT lo_put(70002, 0, 'tvo')",
        "SELECT lo_put(70001, 3, 'tvo'), lo_unlink(70002), lo_from_bytea(70002, '')",
        "CREATE ROLE somebody",
        "COMMENT ON TABLE t IS 'said'",
        &format!("ALTER DATABASE {database} OWNER TO somebody"),
    ] {
        cluster.psql(&database, change);
        let now = taken(3, None).await;
        assert!(!seen.contains(&now), "{change}");
        seen.push(now);
        let now = plain().await;
        assert!(!seen_plain.contains(&now), "{change}, as SQL");
        seen_plain.push(now);
    }
}

#[tokio::test]
async fn plain_sql_is_passed_on_as_pg_dump_writes_it_and_its_rows_are_counted() {
    let cluster = shared();
    let database = cluster.every_kind("plain");
    let (dumped, sql) = collect(cluster, &database, &what(DumpFileFormat::Plain)).await.unwrap();
    same(&cluster.described(&database, &[]), &comparable(&text(&sql)));
    rows_are_counted(cluster, &database, &dumped);
    let (custom, _) = collect(cluster, &database, &what(CUSTOM)).await.unwrap();
    let names = |d: &DumpSummary| {
        d.tables.iter().map(|t| (t.name.clone(), t.rows, t.bytes)).collect::<Vec<_>>()
    };
    assert_eq!(names(&dumped), names(&custom));
}

#[tokio::test]
async fn a_table_or_a_query_is_dumped_as_csv() {
    let cluster = shared();
    let database = cluster.database("csv");
    let sql = "CREATE TABLE \"a.b\" (i int, \"t t\" text); INSERT INTO \"a.b\" VALUES (1, 'x,\"y\"'), (2, NULL), (3, 'ü')";
    cluster.psql(&database, sql);
    let csv = |of| what(DumpFileFormat::Csv(of));
    let table = csv(CsvSource::Table("\"a.b\"".into()));
    let (dumped, bytes) = collect(cluster, &database, &table).await.unwrap();
    assert_eq!(text(&bytes), "i,t t\n1,\"x,\"\"y\"\"\"\n2,\n3,ü\n");
    assert_eq!((dumped.tables[0].name.as_str(), dumped.tables[0].rows), ("public.\"a.b\"", 3));
    let query = csv(CsvSource::Query("SELECT sum(i) AS s FROM \"a.b\" -- all\n ;\n".into()));
    let (_, bytes) = collect(cluster, &database, &query).await.unwrap();
    assert_eq!(text(&bytes), "s\n6\n");

    let refused = [
        (CsvSource::Table("nowhere".into()), "there is no such table"),
        (
            CsvSource::Query("SELECT 1) TO STDOUT; DROP TABLE \"a.b\"; COPY (SELECT 1".into()),
            "multiple commands",
        ),
        (CsvSource::Query("DELETE FROM \"a.b\" RETURNING i".into()), "read-only transaction"),
    ];
    for (of, why) in refused {
        let e = collect(cluster, &database, &csv(of)).await.unwrap_err();
        assert!(e.why.contains(why) && e.kind == PostgresErrorKind::Refused, "{e:?}");
    }
    assert_eq!(cluster.psql(&database, "SELECT count(*) FROM \"a.b\""), "3");
}

#[tokio::test]
async fn chosen_tables_are_dumped_and_a_pattern_that_matches_nothing_is_an_error() {
    let cluster = shared();
    let database = cluster.every_kind("chosen");
    let mut chosen = what(CUSTOM);
    chosen.tables = vec!["app.measured*".into(), "public.\"order\"".into()];
    let (dumped, archive) = collect(cluster, &database, &chosen).await.unwrap();
    let names: Vec<_> = dumped.tables.iter().map(|t| t.name.as_str()).collect();
    let measured =
        ["app.measured_2025", "app.measured_2026_0", "app.measured_2026_1", "app.measured_rest"];
    assert_eq!(names[..4], measured);
    assert_eq!(names[4..], ["public.\"order\""]);
    let stock = cluster.described(&database, &["-t", "app.measured*", "-t", "public.\"order\""]);
    same(&stock, &as_sql(cluster, &archive, &[]));

    chosen.tables = vec!["app.nothing_like_it".into()];
    for format in [CUSTOM, DumpFileFormat::Plain] {
        chosen.format = format;
        let e = collect(cluster, &database, &chosen).await.unwrap_err();
        assert!(
            e.kind == PostgresErrorKind::Tool && e.hint.contains("names of the tables"),
            "{e:?}"
        );
        assert!(e.why.contains("no matching tables were found"), "{e}");
    }
}

#[tokio::test]
async fn an_extension_s_own_rows_stay_out_of_its_configuration_tables() {
    let cluster = shared();
    let database = cluster.database("config");
    cluster.psql(
        &database,
        "CREATE EXTENSION citext; CREATE TABLE setting (name text, standard boolean);
         INSERT INTO setting VALUES ('theirs', true), ('ours', false), ('ours too', false);
         ALTER EXTENSION citext ADD TABLE setting;
         UPDATE pg_extension SET extconfig = ARRAY['setting'::regclass::oid], extcondition = ARRAY['WHERE NOT standard']
         WHERE extname = 'citext'",
    );
    let (dumped, archive) = collect(cluster, &database, &what(CUSTOM)).await.unwrap();
    assert_eq!(dumped.tables.iter().map(|t| t.rows).collect::<Vec<_>>(), [2]);
    same(&cluster.described(&database, &[]), &as_sql(cluster, &archive, &[]));
}

#[tokio::test]
async fn partitions_by_the_hash_of_an_enum_are_counted_as_what_they_are_loaded_through() {
    let cluster = shared();
    let database = cluster.database("by_mood");
    cluster.psql(
        &database,
        "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy', 'größer');
         CREATE TABLE t (m mood, n int) PARTITION BY HASH (m);
         CREATE TABLE t0 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE TABLE t1 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1);
         INSERT INTO t SELECT m, n FROM unnest(enum_range(NULL::mood)) m, generate_series(1, 5) n",
    );
    for format in [CUSTOM, DumpFileFormat::Plain] {
        let (dumped, _) = collect(cluster, &database, &what(format)).await.unwrap();
        let counted: Vec<_> = dumped.tables.iter().map(|t| (t.name.as_str(), t.rows)).collect();
        assert_eq!(counted, [("public.t", 20)]);
    }
}

#[tokio::test]
async fn databases_in_other_encodings_come_back_identical() {
    let cluster = shared();
    for encoding in ["LATIN1", "SQL_ASCII", "EUC_JP"] {
        let name = format!("in_{}", encoding.to_lowercase());
        let make = |n: &str| {
            format!("CREATE DATABASE {n} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
        };
        cluster.psql("postgres", &make(&name));
        cluster.psql("postgres", &make(&format!("{name}_back")));
        let fill = if encoding == "SQL_ASCII" {
            "CREATE TABLE t (x text); INSERT INTO t VALUES (convert_from('\\xe9ff80', 'SQL_ASCII'))"
        } else {
            "SET client_encoding = 'UTF8'; CREATE TABLE \"§ name\" (x text); INSERT INTO \"§ name\" VALUES ('§ ±')"
        };
        cluster.psql(&name, fill);
        let (_, archive) = collect(cluster, &name, &what(CUSTOM)).await.unwrap();
        let back = format!("{name}_back");
        let restored = cluster.feed("pg_restore", &["--exit-on-error", "-d", &back], &archive);
        assert!(restored.status.success(), "{encoding}: {}", text(&restored.stderr));
        let bytes = |d: &str| cluster.command("pg_dump").args(["-d", d]).output().unwrap().stdout;
        let lines = |d: &str| {
            let all = bytes(d);
            let keep = |l: &&[u8]| !l.starts_with(b"\\restrict") && !l.starts_with(b"\\unrestrict");
            all.split(|b| *b == b'\n').filter(keep).map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        assert!(lines(&name) == lines(&back), "{encoding}");
    }
}

#[tokio::test]
async fn all_tables_are_of_one_moment_while_others_write() {
    let cluster = shared();
    let database = cluster.database("moment");
    cluster.psql(
        &database,
        "CREATE TABLE account (id int PRIMARY KEY, balance int, filler text);
         INSERT INTO account SELECT i, 1000, repeat('x', 500) FROM generate_series(1, 60000) i;
         CREATE TABLE zz_history (moved int); CREATE TABLE aa_history (moved int);
         CREATE PROCEDURE churn() LANGUAGE plpgsql AS $$ BEGIN
           FOR i IN 1..1000000 LOOP
             UPDATE account SET balance = balance - 1 WHERE id = i % 60000 + 1;
             UPDATE account SET balance = balance + 1 WHERE id = (i * 7919) % 60000 + 1;
             INSERT INTO zz_history VALUES (1); INSERT INTO aa_history VALUES (1);
             COMMIT;
           END LOOP; END $$",
    );
    let mut writer = cluster
        .command("psql")
        .args(["-q", "-d", &database, "-c", "CALL churn()"])
        .spawn()
        .unwrap();
    cluster_wrote(cluster, &database);
    let (_, archive) = collect(cluster, &database, &what(CUSTOM)).await.unwrap();
    writer.kill().unwrap();
    writer.wait().unwrap();
    let back = cluster.database("moment_back");
    let restored = cluster.feed("pg_restore", &["--exit-on-error", "-d", &back], &archive);
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    assert_eq!(cluster.psql(&back, "SELECT sum(balance), count(*) FROM account"), "60000000|60000");
    let same = "SELECT (SELECT count(*) FROM aa_history) = (SELECT count(*) FROM zz_history)";
    assert_eq!(cluster.psql(&back, same), "t");
}

fn cluster_wrote(cluster: &Cluster, database: &str) {
    for _ in 0..200 {
        if cluster.psql(database, "SELECT count(*) > 20 FROM aa_history") == "t" {
            return;
        }
    }
    panic!("the writer does not write");
}

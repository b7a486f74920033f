//! What comes back is what was there: `pg_dump --create` of the restored database says the same as of the one that was dumped.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use bytes::Bytes;
use postgres::{
    PostgresErrorKind, database,
    dump::{DatabaseLocaleProvider, DumpFileFormat, DumpSummary},
    restore::{
        PgDumpFormat, RestoreOptions, RestoreSummary, RestoreWarning, RestoreWarningKind,
        restore_stream,
    },
};
use std::io;
use support::{Cluster, dumping::*, same, shared};
use tokio::sync::mpsc;

fn how() -> RestoreOptions {
    RestoreOptions {
        jobs: 3,
        tables: Vec::new(),
        owners: true,
        privileges: true,
        ..RestoreOptions::default()
    }
}

async fn into(
    cluster: &Cluster,
    to: &str,
    format: PgDumpFormat,
    archive: Vec<u8>,
) -> RestoreSummary {
    let (give, take) = mpsc::channel::<io::Result<Bytes>>(2);
    tokio::spawn(async move {
        for piece in [Bytes::from(archive), Bytes::new()] {
            drop(give.send(Ok(piece)).await);
        }
    });
    restore_stream(&cluster.server(), to, format, take, &how()).await.unwrap()
}

/// Dumps a database, makes a new one like it, restores into that, and gives it what belongs to it.
async fn through(
    cluster: &Cluster,
    from: &str,
    to: &str,
    format: DumpFileFormat,
) -> (DumpSummary, RestoreSummary, Vec<RestoreWarning>) {
    let stored =
        if format == DumpFileFormat::Plain { PgDumpFormat::Plain } else { PgDumpFormat::Custom };
    let (dumped, archive) = collect(cluster, from, &what(format)).await.unwrap();
    let server = cluster.server();
    let mut lost = database::create_database(&server, to, Some(&dumped.server)).await.unwrap();
    let restored = into(cluster, to, stored, archive).await;
    lost.extend(
        database::apply_database_properties(&server, to, &dumped.server.database).await.unwrap(),
    );
    (dumped, restored, lost)
}

/// What stock `pg_dump --create` says of a database, under a name that two databases share.
fn created(cluster: &Cluster, database: &str) -> String {
    cluster.described(database, &["--create"]).replace(database, "NAME")
}

const FORMATS: [DumpFileFormat; 2] = [CUSTOM, DumpFileFormat::Plain];

#[tokio::test]
async fn what_belongs_to_a_database_itself_comes_back() {
    let cluster = shared();
    cluster.psql("postgres", "CREATE ROLE \"Svc one\"; CREATE ROLE boss");
    for (n, format) in FORMATS.into_iter().enumerate() {
        let from = format!("settings_{n}_live");
        cluster.psql(
            "postgres",
            &format!("CREATE DATABASE {from} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-AT' OWNER boss"),
        );
        cluster.psql(
            &from,
            &format!(
                "CREATE TABLE names (n text PRIMARY KEY); INSERT INTO names VALUES ('Ärger'), ('Zebra'), ('apfel'), ('Apfel');
                 ALTER DATABASE {from} SET timezone = 'Europe/Vienna'; ALTER DATABASE {from} SET search_path = \"a,b\", public;
                 ALTER DATABASE {from} SET default_transaction_read_only = on;
                 ALTER ROLE \"Svc one\" IN DATABASE {from} SET statement_timeout = '5s';
                 ALTER DATABASE {from} CONNECTION LIMIT 17; COMMENT ON DATABASE {from} IS 'main ''shop''';
                 REVOKE ALL ON DATABASE {from} FROM PUBLIC; GRANT CONNECT ON DATABASE {from} TO \"Svc one\" WITH GRANT OPTION;
                 ALTER DATABASE {from} IS_TEMPLATE true"
            )
            .replace("ALTER DATABASE", "SET transaction_read_only = off; ALTER DATABASE"),
        );
        let to = format!("settings_{n}_back");
        let (dumped, restored, lost) = through(cluster, &from, &to, format).await;
        assert_eq!((restored.warnings, lost), (Vec::new(), Vec::new()));
        assert_eq!(dumped.server.database.provider, DatabaseLocaleProvider::Icu);
        let there = created(cluster, &from);
        for words in
            ["de-AT", "CONNECTION LIMIT = 17", "IS_TEMPLATE = true", "GRANT CONNECT", "a,b"]
        {
            assert!(there.contains(words), "{words}\n{there}");
        }
        same(&there, &created(cluster, &to));
        let order = "SELECT string_agg(n, ' ' ORDER BY n) FROM names";
        assert_eq!(cluster.psql(&to, order), "apfel Apfel Ärger Zebra");
    }
}

#[tokio::test]
async fn what_a_server_can_not_give_a_database_is_a_loss_in_words() {
    let cluster = shared();
    let from = cluster.database("lacking");
    let (mut dumped, archive) = collect(cluster, &from, &what(CUSTOM)).await.unwrap();
    dumped.server.owner = "nobody here".into();
    let facts = &mut dumped.server.database;
    (facts.provider, facts.locale) = (DatabaseLocaleProvider::Icu, Some("not a locale!".into()));
    facts.tablespace = "fast disks".into();
    facts.settings.push(postgres::dump::DatabaseSetting {
        role: Some("nobody here".into()),
        name: "work_mem".into(),
        value: "1MB".into(),
    });
    let server = cluster.server();
    let mut lost =
        database::create_database(&server, "lacking_back", Some(&dumped.server)).await.unwrap();
    assert_eq!(into(cluster, "lacking_back", PgDumpFormat::Custom, archive).await.warnings, []);
    lost.extend(
        database::apply_database_properties(&server, "lacking_back", &dumped.server.database)
            .await
            .unwrap(),
    );
    let classes: Vec<_> = lost.iter().map(|l| l.kind).collect();
    let wanted = [
        RestoreWarningKind::Tablespace,
        RestoreWarningKind::Database,
        RestoreWarningKind::Role,
        RestoreWarningKind::Role,
    ];
    assert_eq!(classes, wanted, "{lost:?}");
    let all = format!("{lost:?}");
    assert!(all.contains("fast disks") && all.contains("not a locale!"), "{all}");
}

#[tokio::test]
async fn a_tablespace_that_is_not_there_is_one_loss_and_its_tables_come_back_elsewhere() {
    let cluster = Cluster::start();
    let make = "SET allow_in_place_tablespaces = on; CREATE TABLESPACE fast LOCATION ''";
    cluster.psql("postgres", make);
    let from = cluster.database("spaced");
    cluster.psql(
        &from,
        "CREATE TABLE a (i int PRIMARY KEY USING INDEX TABLESPACE fast) TABLESPACE fast; CREATE TABLE b (i int);
         CREATE TABLE c (i int) TABLESPACE fast",
    );
    for (format, stored) in
        [(CUSTOM, PgDumpFormat::Custom), (DumpFileFormat::Plain, PgDumpFormat::Plain)]
    {
        let (_, archive) = collect(&cluster, &from, &what(format)).await.unwrap();
        let there = cluster.database("spaced_there");
        assert_eq!(into(&cluster, &there, stored, archive.clone()).await.warnings, []);
        same(&cluster.described(&from, &[]), &cluster.described(&there, &[]));
        cluster.psql(
            "postgres",
            &format!("DROP DATABASE {there} WITH (FORCE); ALTER TABLESPACE fast RENAME TO slow"),
        );
        let to = cluster.database("spaced_back");
        let losses = into(&cluster, &to, stored, archive).await.warnings;
        cluster.psql("postgres", "ALTER TABLESPACE slow RENAME TO fast");
        assert!(losses.iter().all(|l| l.kind == RestoreWarningKind::Tablespace), "{losses:?}");
        assert!(!losses.is_empty() && format!("{losses:?}").contains("fast"), "{losses:?}");
        if stored == PgDumpFormat::Custom {
            assert!(
                losses.len() == 1 && losses[0].message.contains("3 tables and indexes"),
                "{losses:?}"
            );
        }
        let sql = cluster.described(&to, &["--no-tablespaces"]);
        same(&cluster.described(&from, &["--no-tablespaces"]), &sql);
    }
}

#[tokio::test]
async fn of_an_extension_s_table_those_rows_count_that_a_dump_holds() {
    let cluster = shared();
    let from = cluster.database("configured");
    cluster.psql(
        &from,
        "CREATE EXTENSION hstore; CREATE TABLE reference (id int PRIMARY KEY, name text); ALTER EXTENSION hstore ADD TABLE reference;
         UPDATE pg_extension SET extconfig = ARRAY['reference'::regclass::oid], extcondition = ARRAY['WHERE NOT (id < 1000)']
         WHERE extname = 'hstore'; INSERT INTO reference SELECT i, 'x' FROM generate_series(1, 1001) i",
    );
    for format in FORMATS {
        let (dumped, _) = collect(cluster, &from, &what(format)).await.unwrap();
        let names: Vec<String> = dumped.tables.iter().map(|t| t.name.clone()).collect();
        assert_eq!(names, ["public.reference"]);
        assert_eq!(dumped.tables[0].rows, 2);
        let counted = database::count_rows(&cluster.server(), &from, &names, 2).await.unwrap();
        assert_eq!(counted[0].rows, 2, "counted as it was dumped");
    }
}

#[tokio::test]
async fn names_of_any_encoding_come_back() {
    let cluster = shared();
    let table = [
        ("LATIN1", "Größe é"),
        ("EUC_JP", "日本語 表"),
        ("WIN1252", "Preis € –"),
        ("KOI8R", "таблица"),
        ("UTF8", "名前 таблица €"),
    ];
    for (encoding, name) in table {
        let from = format!("named_{encoding}").to_lowercase();
        cluster.psql(
            "postgres",
            &format!("CREATE DATABASE {from} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'"),
        );
        cluster.psql(
            &from,
            &format!(
                "SET client_encoding = 'UTF8'; CREATE SCHEMA \"{name}\"; CREATE TABLE \"{name}\".\"{name}\" (\"{name}\" text PRIMARY KEY);
                 INSERT INTO \"{name}\".\"{name}\" VALUES ('{name}'), ('x'); COMMENT ON SCHEMA \"{name}\" IS '{name}';
                 CREATE TABLE plain AS SELECT 1 AS i"
            ),
        );
        for (n, format) in FORMATS.into_iter().enumerate() {
            let to = format!("{from}_back_{n}");
            let (dumped, restored, lost) = through(cluster, &from, &to, format).await;
            assert_eq!((restored.warnings, lost), (Vec::new(), Vec::new()), "{encoding}");
            let full = format!("\"{name}\".\"{name}\"");
            let rows = dumped.tables.iter().find(|t| t.name == full).map(|t| t.rows);
            assert_eq!(rows, Some(2), "{:?}", dumped.tables);
            let counted = database::count_rows(&cluster.server(), &to, &[full], 1).await.unwrap();
            assert_eq!(counted[0].rows, 2);
            same(&created(cluster, &from), &created(cluster, &to));
        }
    }
}

#[tokio::test]
async fn bytes_of_no_known_encoding_come_back() {
    let cluster = shared();
    cluster.psql(
        "postgres",
        "CREATE DATABASE bytes TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'",
    );
    let sql = b"CREATE TABLE \"caf\xe9\" (id int PRIMARY KEY, \"\xfcber\" text); INSERT INTO \"caf\xe9\" VALUES (1, 'caf\xe9'), (2, 'x');
        CREATE TABLE plain (v text); INSERT INTO plain VALUES ('na\xefve'); COMMENT ON TABLE plain IS 'r\xe9sum\xe9';
        CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT 'na\xefve' $$; SELECT lo_from_bytea(70001, 'one');";
    let made = cluster.feed("psql", &["-Xq", "-v", "ON_ERROR_STOP=1", "-d", "bytes"], sql);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let described = |name: &str| {
        let dump = cluster.command("pg_dump").args(["-d", name]).output().unwrap().stdout;
        dump.split(|b| *b == b'\n')
            .filter(|l| !l.starts_with(b"\\restrict") && !l.starts_with(b"\\unrestrict"))
            .map(<[u8]>::to_vec)
            .collect::<Vec<_>>()
    };
    for (n, format) in [CUSTOM, DumpFileFormat::Custom { zlib: Some(6) }, DumpFileFormat::Plain]
        .into_iter()
        .enumerate()
    {
        let to = format!("bytes_back_{n}");
        if format == DumpFileFormat::Plain {
            // No session of ours could run such statements, so this is no good dump.
            let e = collect(cluster, "bytes", &what(format)).await.unwrap_err();
            assert!(e.kind == PostgresErrorKind::Refused && e.hint.contains("custom"), "{e:?}");
            continue;
        }
        let (dumped, restored, lost) = through(cluster, "bytes", &to, format).await;
        assert_eq!((restored.warnings, lost), (Vec::new(), Vec::new()));
        let names: Vec<_> = dumped.tables.iter().map(|t| (t.name.as_str(), t.rows)).collect();
        assert_eq!(names, [("public.\"café\"", 2), ("public.plain", 1)]);
        assert_eq!(dumped.large_objects, 1);
        assert_eq!(restored.tables.iter().map(|t| t.rows).collect::<Vec<_>>(), [2, 1]);
        assert!(described("bytes") == described(&to), "{to}");
    }
}

#[tokio::test]
async fn an_encoding_that_can_not_be_read_is_refused_before_anything_is_dumped() {
    let cluster = shared();
    cluster.psql(
        "postgres",
        "CREATE DATABASE mule TEMPLATE template0 ENCODING 'MULE_INTERNAL' LOCALE 'C'",
    );
    let e = collect(cluster, "mule", &what(CUSTOM)).await.unwrap_err();
    assert_eq!(e.kind, PostgresErrorKind::Refused, "{e}");
    assert!(e.hint.contains("pg_dump"), "{e}");
}

#[tokio::test]
async fn settings_of_a_database_do_not_change_what_is_read_or_written() {
    let cluster = shared();
    let from = cluster.database("values");
    cluster.psql(
        &from,
        "CREATE TABLE t (a text[], i interval, b bytea, d date, f float8);
         INSERT INTO t VALUES (ARRAY['x', NULL, 'NULL'], '-1 days -02:03:04', '\\xdeadbeef', '2026-02-01', 0.1),
            (NULL, '1 mon -1 days', '', '2026-12-11', 1e-300)",
    );
    let there = cluster.psql(&from, "SELECT md5(string_agg(t::text, ';' ORDER BY d)) FROM t");
    let odd = "ALTER DATABASE {} SET array_nulls = off; ALTER DATABASE {} SET IntervalStyle = sql_standard;
        ALTER DATABASE {} SET DateStyle = 'SQL, DMY'; ALTER DATABASE {} SET bytea_output = escape;
        ALTER DATABASE {} SET extra_float_digits = -10; ALTER DATABASE {} SET transform_null_equals = on;
        ALTER DATABASE {} SET default_transaction_read_only = on; ALTER DATABASE {} SET search_path = nowhere";
    cluster.psql("postgres", &odd.replace("{}", &from));
    for format in FORMATS {
        let stored = if format == DumpFileFormat::Plain {
            PgDumpFormat::Plain
        } else {
            PgDumpFormat::Custom
        };
        let (_, archive) = collect(cluster, &from, &what(format)).await.unwrap();
        let to = cluster.database("values_back");
        cluster.psql("postgres", &odd.replace("{}", &to));
        assert_eq!(into(cluster, &to, stored, archive).await.warnings, []);
        cluster.psql("postgres", &format!("ALTER DATABASE {to} RESET ALL"));
        let back = cluster.psql(&to, "SELECT md5(string_agg(t::text, ';' ORDER BY d)) FROM t");
        assert_eq!(back, there, "{stored:?}");
    }
}

#[tokio::test]
async fn texts_that_look_like_rows_are_texts() {
    let cluster = shared();
    let from = cluster.database("looks_like");
    cluster.psql(
        &from,
        "CREATE TABLE genuine (a int); INSERT INTO genuine VALUES (1), (2); CREATE TABLE fake (a int);
         COMMENT ON TABLE genuine IS E'x\\n--\\n-- Data for Name: fake; Type: TABLE DATA; Schema: public; Owner: x\\n--\\n\\nCOPY public.fake (a) FROM stdin;\\n5\\n\\\\.\\n';
         COMMENT ON TABLE fake IS E'COPY public.fake (a) FROM stdin;\\nDROP TABLE genuine;'",
    );
    for (n, format) in FORMATS.into_iter().enumerate() {
        let (dumped, restored, _) =
            through(cluster, &from, &format!("looks_like_{n}_back"), format).await;
        let rows: Vec<_> = dumped.tables.iter().map(|t| (t.name.as_str(), t.rows)).collect();
        assert_eq!(rows, [("public.fake", 0), ("public.genuine", 2)]);
        assert_eq!(restored.warnings, []);
        same(
            &created(cluster, &from).replace("_live", ""),
            &created(cluster, &format!("looks_like_{n}_back")),
        );
    }
}

#[tokio::test]
async fn large_objects_are_counted_in_each_format() {
    let cluster = shared();
    let from = cluster.database("objects");
    cluster.psql(&from, "SELECT count(lo_from_bytea(0, 'x')) FROM generate_series(1, 12)");
    for (n, format) in FORMATS.into_iter().enumerate() {
        let to = format!("objects_{n}_back");
        let (dumped, ..) = through(cluster, &from, &to, format).await;
        assert_eq!(dumped.large_objects, 12);
        assert_eq!(database::count_large_objects(&cluster.server(), &to).await.unwrap(), 12);
    }
}

#[tokio::test]
async fn a_server_with_room_for_one_set_of_locks_is_dumped() {
    let cluster = Cluster::with("max_locks_per_transaction = 10\nmax_connections = 20");
    let database = cluster.database("many");
    for chunk in 0..8 {
        let tables = format!(
            "DO $$ BEGIN FOR i IN 1..60 LOOP EXECUTE format('CREATE TABLE t_{chunk}_%s (id int); INSERT INTO t_{chunk}_%s VALUES (1)', i, i); END LOOP; END $$"
        );
        cluster.psql(&database, &tables);
    }
    let locks = "DO $$ DECLARE t regclass; BEGIN FOR t IN SELECT oid::regclass FROM pg_class WHERE relname ~ '^t_' LOOP
        EXECUTE format('LOCK TABLE %s IN ACCESS SHARE MODE', t); END LOOP; END $$;";
    let twice = format!(
        "BEGIN; {locks} CREATE EXTENSION dblink; SELECT dblink_exec('dbname={database} user=postgres password=''{}'' host=127.0.0.1 port={}', $q${locks}$q$)",
        support::PASSWORD,
        cluster.port
    );
    let refused = cluster.feed(
        "psql",
        &["-X", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=sqlstate", "-d", &database],
        twice.as_bytes(),
    );
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("53200"),
        "two sets have no room: {refused:?}"
    );
    let stock = cluster.command("pg_dump").args(["-Fc", "-d", &database]).output().unwrap();
    assert!(stock.status.success(), "{}", String::from_utf8_lossy(&stock.stderr));
    let (dumped, _) = collect(&cluster, &database, &what(CUSTOM)).await.unwrap();
    assert_eq!(dumped.tables.len(), 480);
}

#[tokio::test]
async fn a_row_that_is_larger_than_the_memory_of_pg_dump_is_dumped() {
    let cluster = shared();
    let from = cluster.database("wide");
    cluster.psql(
        &from,
        "CREATE TABLE a (x text); ALTER TABLE a ALTER x SET STORAGE EXTERNAL; INSERT INTO a VALUES (repeat('x', 200000000));
         CREATE TABLE b (x text); INSERT INTO b VALUES ('y')",
    );
    // What pg_dump may use is written down by one that stands before it.
    let tools = false_tools(cluster, "ulimit -v >> \"${0%/*}/limit\"; exec \"$real\" \"$@\"");
    let server =
        postgres::ConnectionConfig { tool_dirs: vec![tools.path().into()], ..cluster.server() };
    let (dumped, archive) = collect_from(&server, &from, &what(CUSTOM)).await.unwrap();
    let rows: Vec<_> = dumped.tables.iter().map(|t| t.rows).collect();
    assert!(rows == [1, 1] && archive.len() > 200_000_000);
    let limits = std::fs::read_to_string(tools.path().join("limit")).unwrap();
    let limits: Vec<u64> = limits.lines().map(|l| l.parse().unwrap()).collect();
    assert!(limits.len() == 1 && limits[0] <= 512 << 10, "once, and bounded: {limits:?}");
}

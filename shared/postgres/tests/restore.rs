//! Archives of stock tools, restored into a real PostgreSQL.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use bytes::Bytes;
use postgres::{
    PostgresError, PostgresErrorKind,
    restore::{PgDumpFormat, RestoreOptions, RestoreSummary, RestoreWarningKind, restore_stream},
    toc::Toc,
};
use proptest::test_runner::{Config, TestRunner};
use std::{fmt::Write as _, io, time::Duration};
use support::{Cluster, shared};
use tokio::sync::mpsc;

fn how() -> RestoreOptions {
    RestoreOptions { jobs: 3, ..RestoreOptions::default() }
}

/// A stream of `bytes` in pieces of 100 kB; `whole` says whether it has its clean end.
fn stream(bytes: Vec<u8>, whole: bool) -> mpsc::Receiver<io::Result<Bytes>> {
    let (give, take) = mpsc::channel(2);
    tokio::spawn(async move {
        let bytes = Bytes::from(bytes);
        let mut at = 0;
        while at < bytes.len() {
            let end = (at + 100_000).min(bytes.len());
            if give.send(Ok(bytes.slice(at..end))).await.is_err() {
                return;
            }
            at = end;
        }
        if whole {
            let _ = give.send(Ok(Bytes::new())).await;
        }
    });
    take
}

#[tokio::main(flavor = "current_thread")]
async fn into(
    cluster: &Cluster,
    database: &str,
    format: PgDumpFormat,
    bytes: Vec<u8>,
    how: &RestoreOptions,
) -> Result<RestoreSummary, PostgresError> {
    restore_stream(&cluster.server(), database, format, stream(bytes, true), how).await
}

fn dumped(cluster: &Cluster, database: &str, args: &[&str]) -> Vec<u8> {
    let output = cluster.command("pg_dump").args(args).arg("-d").arg(database).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A database with a large table, one of long rows, some small ones, and large objects.
fn sample(cluster: &Cluster, name: &str) -> String {
    let database = cluster.database(name);
    cluster.psql(
        &database,
        "CREATE TABLE big (id int PRIMARY KEY, v text);
         INSERT INTO big SELECT i, repeat(chr(65 + i % 26), i % 100) || E'\\n\\t\\\\.' FROM generate_series(1, 60000) i;
         CREATE TABLE long (id serial PRIMARY KEY, v text);
         ALTER TABLE long ALTER v SET STORAGE EXTERNAL;
         INSERT INTO long (v) SELECT repeat(i::text, 3000000) FROM generate_series(1, 3) i;
         CREATE TABLE empty ();
         CREATE TABLE child (big_id int REFERENCES big, n int DEFAULT nextval('long_id_seq'));
         INSERT INTO child SELECT i FROM generate_series(1, 100) i;
         SELECT lo_from_bytea(90001, decode(repeat('0102', 400000), 'hex')), lo_from_bytea(90002, ''),
                count(lo_from_bytea(90010 + i, 'x')) FROM generate_series(1, 700) i;",
    );
    database
}

fn same(cluster: &Cluster, a: &str, b: &str) {
    let (a, b) = (cluster.described(a, &[]), cluster.described(b, &[]));
    if a != b {
        let mut report = String::new();
        for (i, (x, y)) in a.lines().zip(b.lines()).enumerate().filter(|(_, (x, y))| x != y).take(5)
        {
            let cut = |s: &str| s.chars().take(200).collect::<String>();
            let _ = writeln!(report, "line {i}:\n  {}\n  {}", cut(x), cut(y));
        }
        panic!("{} and {} lines differ:\n{report}", a.lines().count(), b.lines().count());
    }
}

/// Rows go in through several connections, so their order is not that of the dump.
fn same_rows(cluster: &Cluster, a: &str, b: &str) {
    let tables = "SELECT format('%I.%I', n.nspname, relname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
                  WHERE relkind = 'r' AND nspname !~ '^pg_|information_schema' ORDER BY 1";
    for table in cluster.psql(a, tables).lines() {
        let sum = format!(
            "SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text COLLATE \"C\")) FROM ONLY {table} t"
        );
        assert_eq!(cluster.psql(a, &sum), cluster.psql(b, &sum), "rows of {table}");
    }
    // As they read: holes of a sparse one come back as zeros, which is the same to every reader.
    let objects = "SELECT md5(string_agg(oid || ':' || md5(lo_get(oid)), ',' ORDER BY oid)) FROM pg_largeobject_metadata";
    assert_eq!(cluster.psql(a, objects), cluster.psql(b, objects), "large objects");
}

#[test]
fn every_kind_of_object_comes_back_from_each_format() {
    let cluster = shared();
    let from = cluster.every_kind("kinds");
    for (args, format) in [
        (&["-Fc", "-Z0"][..], PgDumpFormat::Custom),
        (&["-Fc", "-Z6"], PgDumpFormat::Custom),
        (&["-Fc", "--inserts"], PgDumpFormat::Custom),
        (&["-Fp"], PgDumpFormat::Plain),
        (&["-Fp", "--inserts"], PgDumpFormat::Plain),
    ] {
        let to = cluster.database("kinds_back");
        // One connection keeps the order of rows, so that the texts of both databases are the same.
        let one = RestoreOptions { jobs: 1, ..how() };
        let restored = into(cluster, &to, format, dumped(cluster, &from, args), &one).unwrap();
        assert_eq!(restored.warnings, [], "{args:?}");
        same(cluster, &from, &to);
    }
    let to = cluster.database("kinds_parallel");
    let restored =
        into(cluster, &to, PgDumpFormat::Custom, dumped(cluster, &from, &["-Fc", "-Z1"]), &how())
            .unwrap();
    assert_eq!(restored.warnings, []);
    assert_eq!(cluster.described(&from, &["-s"]), cluster.described(&to, &["-s"]));
    same_rows(cluster, &from, &to);
}

#[test]
fn large_tables_and_large_objects_go_in_over_several_connections() {
    let cluster = shared();
    let from = sample(cluster, "sample");
    for args in [["-Fc", "-Z0"], ["-Fc", "-Z1"], ["-Fp", "-Z0"]] {
        let format = if args[0] == "-Fc" { PgDumpFormat::Custom } else { PgDumpFormat::Plain };
        let to = cluster.database("sample_back");
        let restored = into(cluster, &to, format, dumped(cluster, &from, &args), &how()).unwrap();
        assert!(
            restored.warnings.is_empty(),
            "{args:?}: {:#?}",
            restored.warnings.iter().take(3).collect::<Vec<_>>()
        );
        same_rows(cluster, &from, &to);
        assert_eq!(cluster.described(&from, &["-s"]), cluster.described(&to, &["-s"]));
        let rows = |table: &str| restored.tables.iter().find(|t| t.name == table).unwrap().rows;
        assert_eq!([rows("public.big"), rows("public.long"), rows("public.empty")], [60000, 3, 0]);
        assert_eq!(cluster.psql(&to, "SELECT nextval('long_id_seq')"), "104");
    }
}

#[test]
fn indexes_of_a_large_table_are_made_once_while_others_are_loaded() {
    let cluster = shared();
    let from = cluster.database("early");
    cluster.psql(
        &from,
        "CREATE TABLE a (id int, v text); INSERT INTO a SELECT i, repeat(md5(i::text), 4) FROM generate_series(1, 300000) i;
         ALTER TABLE a ADD PRIMARY KEY (id); CREATE INDEX a_v ON a (v); CREATE INDEX a_h ON a USING hash (v);
         ALTER TABLE a CLUSTER ON a_v; COMMENT ON INDEX a_h IS 'hashed';
         CREATE TABLE b (id int REFERENCES a, v text); INSERT INTO b SELECT id, v FROM a; CREATE INDEX ON b (id);
         CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (1000000); INSERT INTO p SELECT * FROM a;
         CREATE FUNCTION tell() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
         CREATE EVENT TRIGGER told ON ddl_command_end EXECUTE FUNCTION tell()",
    );
    let archive = dumped(cluster, &from, &["-Fc", "-Z0"]);
    for jobs in [1, 2] {
        let to = cluster.database("early_back");
        let restored = into(
            cluster,
            &to,
            PgDumpFormat::Custom,
            archive.clone(),
            &RestoreOptions { jobs, ..how() },
        )
        .unwrap();
        assert_eq!(restored.warnings, [], "{jobs} jobs");
        assert_eq!(cluster.described(&from, &["-s"]), cluster.described(&to, &["-s"]));
        same_rows(cluster, &from, &to);
    }
}

#[test]
fn a_copy_that_can_not_start_leaves_its_cause_and_the_rest() {
    let cluster = shared();
    let from = cluster.database("start");
    for table in ["a", "b", "c", "d"] {
        let sql = format!("CREATE TABLE {table} AS SELECT i, i AS v FROM generate_series(1, 50) i");
        cluster.psql(&from, &sql);
    }
    for (args, format) in
        [(["-Fc", "-Z0"], PgDumpFormat::Custom), (["-Fp", "-Z0"], PgDumpFormat::Plain)]
    {
        for jobs in [1, 3] {
            let to = cluster.database("start_back");
            // There already, and not as it was: neither CREATE nor COPY of it works.
            cluster.psql(&to, "CREATE TABLE a (i int); CREATE TABLE c (i int)");
            let how = RestoreOptions { jobs, ..how() };
            let restored = into(cluster, &to, format, dumped(cluster, &from, &args), &how).unwrap();
            let data = restored.warnings.iter().filter(|l| l.kind == RestoreWarningKind::Data);
            let data: Vec<_> = data.map(|l| l.message.as_str()).collect();
            assert_eq!(data.len(), 2, "{data:?}");
            assert!(data.iter().all(|m| m.contains("\"v\"")), "the cause: {data:?}");
            let counts = "SELECT (SELECT count(*) FROM b), (SELECT count(*) FROM d)";
            assert_eq!(cluster.psql(&to, counts), "50|50", "{args:?}, {jobs} jobs");
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn stalled(
    cluster: &Cluster,
    database: &str,
    format: PgDumpFormat,
    bytes: Vec<u8>,
) -> PostgresError {
    let (give, take) = mpsc::channel(2);
    let how = RestoreOptions {
        jobs: 1,
        stall_timeout: Duration::from_millis(300),
        ..RestoreOptions::default()
    };
    let server = cluster.server();
    give.send(Ok(bytes.into())).await.unwrap();
    // The other end of the stream is there, and says nothing more.
    let error = restore_stream(&server, database, format, take, &how).await.unwrap_err();
    drop(give);
    error
}

#[test]
fn a_restore_that_gets_nothing_more_in_a_copy_ends_and_holds_no_drop_back() {
    let cluster = shared();
    let from = sample(cluster, "stall");
    for (args, format) in
        [(["-Fc", "-Z0"], PgDumpFormat::Custom), (["-Fp", "-Z0"], PgDumpFormat::Plain)]
    {
        let to = cluster.database("stall_back");
        let mut bytes = dumped(cluster, &from, &args);
        bytes.truncate(3 << 20);
        let error = stalled(cluster, &to, format, bytes);
        assert!(
            error.kind == PostgresErrorKind::Lost && error.why.contains("nothing came"),
            "{error:?}"
        );
        let dropped = format!("SET statement_timeout = '20s'; DROP DATABASE {to} WITH (FORCE)");
        cluster.psql("postgres", &dropped);
    }
}

#[test]
fn an_index_that_is_made_early_waits_for_no_lock_without_end() {
    let cluster = shared();
    let from = cluster.database("bounded");
    cluster.psql(
        &from,
        "CREATE TABLE a AS SELECT i AS id, repeat(md5(i::text), 4) AS v FROM generate_series(1, 300000) i;
         CREATE TABLE b AS SELECT * FROM a; CREATE INDEX a_id ON a (id); CREATE INDEX b_id ON b (id)",
    );
    let archive = dumped(cluster, &from, &["-Fc", "-Z0"]);
    let to = cluster.database("bounded_back");
    cluster.psql(
        &to,
        "CREATE TABLE public.seen (index text, wait text);
         CREATE FUNCTION public.see() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO public.seen SELECT object_identity, pg_catalog.current_setting('lock_timeout')
            FROM pg_catalog.pg_event_trigger_ddl_commands(); END $$;
         CREATE EVENT TRIGGER see ON ddl_command_end WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION public.see()",
    );
    let restored =
        into(cluster, &to, PgDumpFormat::Custom, archive, &RestoreOptions { jobs: 2, ..how() })
            .unwrap();
    assert_eq!(restored.warnings, []);
    let seen = "SELECT wait FROM public.seen WHERE index = 'public.a_id'";
    assert_eq!(cluster.psql(&to, seen), "2s", "while b was still loaded");
}

#[test]
fn a_table_that_is_refused_is_lost_as_a_whole_and_the_rest_goes_on() {
    let cluster = shared();
    let from = sample(cluster, "partly");
    let to = cluster.database("partly_back");
    // The table is there already and takes the first rows but not the last ones.
    cluster.psql(&to, "CREATE TABLE big (id int CHECK (id < 59990), v text)");
    for jobs in [1, 3] {
        let archive = dumped(
            cluster,
            &from,
            &["-Fc", "-Z0", "-t", "big", "-t", "child", "-t", "long_id_seq"],
        );
        let restored =
            into(cluster, &to, PgDumpFormat::Custom, archive, &RestoreOptions { jobs, ..how() })
                .unwrap();
        let classes: Vec<_> = restored.warnings.iter().map(|l| l.kind).collect();
        assert!(
            classes.contains(&RestoreWarningKind::Exists)
                && classes.contains(&RestoreWarningKind::Data),
            "{restored:?}"
        );
        assert_eq!(cluster.psql(&to, "SELECT count(*) FROM big"), "0", "all or nothing");
        assert_eq!(cluster.psql(&to, "SELECT count(*) FROM child"), "100");
        cluster.psql(&to, "DROP TABLE child; DROP SEQUENCE long_id_seq");
        assert_eq!(restored.tables.iter().find(|t| t.name == "public.big").unwrap().rows, 0);
        assert!(
            restored
                .warnings
                .iter()
                .all(|l| !l.message.contains("AAAA") && !l.message.contains("CONTEXT"))
        );
    }
}

#[test]
fn what_the_server_lacks_or_has_becomes_a_loss_of_its_class() {
    let cluster = shared();
    let from = cluster.database("lossy");
    cluster.psql(
        "postgres",
        "CREATE ROLE lossy_owner; CREATE ROLE lossy_reader; CREATE ROLE lossy_weak LOGIN PASSWORD 'weak' CREATEDB",
    );
    cluster.psql(
        &from,
        "CREATE EXTENSION plpgsql; CREATE SCHEMA here; CREATE TABLE here.t (a int); INSERT INTO here.t VALUES (1);
         ALTER TABLE here.t OWNER TO lossy_owner; GRANT SELECT ON here.t TO lossy_reader"
            .replace("CREATE EXTENSION plpgsql; ", "")
            .as_str(),
    );
    let archive = dumped(cluster, &from, &["-Fc"]);
    let plain = dumped(cluster, &from, &["-Fp"]);
    cluster.psql(&from, "DROP SCHEMA here CASCADE; DROP OWNED BY lossy_owner, lossy_reader");
    cluster.psql("postgres", "DROP ROLE lossy_owner; DROP ROLE lossy_reader");
    for (bytes, format) in [(archive, PgDumpFormat::Custom), (plain, PgDumpFormat::Plain)] {
        let to = cluster.database("lossy_back");
        cluster.psql(&to, "CREATE SCHEMA here");
        let restored = into(cluster, &to, format, bytes.clone(), &how()).unwrap();
        let mut classes: Vec<_> = restored.warnings.iter().map(|l| l.kind).collect();
        classes.sort_unstable();
        assert_eq!(
            classes,
            [RestoreWarningKind::Role, RestoreWarningKind::Role, RestoreWarningKind::Exists],
            "{restored:?}"
        );
        assert_eq!(cluster.psql(&to, "SELECT a FROM here.t"), "1");

        let to = cluster.database("lossy_bare");
        let bare = RestoreOptions { owners: false, privileges: false, ..how() };
        let restored = into(cluster, &to, format, bytes, &bare).unwrap();
        assert_eq!(restored.warnings, [], "owners and grants were not asked for");
    }
}

#[test]
fn an_extension_that_is_not_there_is_a_loss_and_so_is_what_needs_it() {
    let cluster = shared();
    let sql = b"CREATE EXTENSION nowhere_to_be_found;\nCREATE TABLE t (a nowhere_to_be_found.x);\n"
        .to_vec();
    let to = cluster.database("extension");
    let restored = into(cluster, &to, PgDumpFormat::Plain, sql, &how()).unwrap();
    let classes: Vec<_> = restored.warnings.iter().map(|l| l.kind).collect();
    assert_eq!(classes, [RestoreWarningKind::Extension, RestoreWarningKind::Other]);
}

#[test]
fn chosen_tables_come_with_what_they_need_and_what_hangs_on_them() {
    let cluster = shared();
    let from = cluster.database("choice");
    cluster.psql(
        &from,
        "CREATE SCHEMA s; CREATE TYPE s.mood AS ENUM ('good', 'bad'); CREATE DOMAIN s.short AS text CHECK (length(value) < 9);
         CREATE FUNCTION s.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
         CREATE TABLE s.parent (id serial PRIMARY KEY, mood s.mood, name s.short);
         CREATE TABLE s.child (id int GENERATED ALWAYS AS IDENTITY, parent int REFERENCES s.parent);
         CREATE TABLE s.other (id int);
         CREATE INDEX ON s.parent (mood); CREATE TRIGGER t BEFORE INSERT ON s.parent FOR EACH ROW EXECUTE FUNCTION s.touch();
         COMMENT ON TABLE s.parent IS 'the parent'; GRANT SELECT ON s.parent TO public;
         INSERT INTO s.parent (mood, name) VALUES ('good', 'a'), ('bad', 'b');
         INSERT INTO s.child (parent) VALUES (1), (2); INSERT INTO s.other VALUES (1)",
    );
    let archive = dumped(cluster, &from, &["-Fc"]);
    let tables = |names: &[&str]| RestoreOptions {
        tables: names.iter().map(ToString::to_string).collect(),
        ..how()
    };
    let list = "SELECT string_agg(relname || ':' || relkind::text, ' ' ORDER BY relname) FROM pg_class WHERE relnamespace = 's'::regnamespace";

    let to = cluster.database("choice_parent");
    let restored =
        into(cluster, &to, PgDumpFormat::Custom, archive.clone(), &tables(&["s.parent"])).unwrap();
    assert_eq!(restored.warnings, []);
    assert_eq!(cluster.psql(&to, list), "parent:r parent_id_seq:S parent_mood_idx:i parent_pkey:i");
    assert_eq!(
        cluster.psql(
            &to,
            "SELECT obj_description('s.parent'::regclass), (SELECT nextval('s.parent_id_seq')),
        count(*) FROM s.parent"
        ),
        "the parent|3|2"
    );
    assert_eq!(cluster.psql(&to, "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal"), "1");

    let to = cluster.database("choice_child");
    let restored =
        into(cluster, &to, PgDumpFormat::Custom, archive.clone(), &tables(&["child"])).unwrap();
    assert_eq!(restored.warnings, [], "its foreign key stays away with its parent");
    assert_eq!(cluster.psql(&to, list), "child:r child_id_seq:S");

    let to = cluster.database("choice_both");
    let restored =
        into(cluster, &to, PgDumpFormat::Custom, archive.clone(), &tables(&["child", "parent"]))
            .unwrap();
    assert_eq!(restored.warnings, []);
    assert_eq!(cluster.psql(&to, "SELECT count(*) FROM pg_constraint WHERE contype = 'f'"), "1");

    let to = cluster.database("choice_none");
    let absent =
        into(cluster, &to, PgDumpFormat::Custom, archive, &tables(&["s.nothing"])).unwrap_err();
    assert_eq!(absent.kind, PostgresErrorKind::Refused);
    assert!(absent.to_string().contains("s.nothing"), "{absent}");
}

#[test]
fn other_encodings_come_back_right() {
    let cluster = shared();
    let from = cluster.database("umlauts");
    cluster.psql(
        &from,
        "CREATE TABLE \"Größe\" (\"Füße\" text); INSERT INTO \"Größe\" VALUES ('Äpfel'), ('é')",
    );
    for (args, format) in [
        (["-Fc", "-E", "LATIN1"], PgDumpFormat::Custom),
        (["-Fp", "-E", "LATIN1"], PgDumpFormat::Plain),
    ] {
        let to = cluster.database("umlauts_back");
        let restored = into(cluster, &to, format, dumped(cluster, &from, &args), &how()).unwrap();
        assert_eq!(restored.warnings, []);
        same(cluster, &from, &to);
        assert_eq!(restored.tables[0].name, "public.\"Größe\"");
    }
}

#[test]
fn a_stream_that_is_cut_anywhere_is_an_error_and_no_loss() {
    let cluster = shared();
    let from = cluster.database("cut");
    cluster.psql(&from, "CREATE TABLE a AS SELECT i FROM generate_series(1, 2000) i; CREATE TABLE b AS SELECT * FROM a; SELECT lo_from_bytea(0, 'abc')");
    for (args, format) in [
        (["-Fc", "-Z0"], PgDumpFormat::Custom),
        (["-Fc", "-Z6"], PgDumpFormat::Custom),
        (["-Fp", "-Z0"], PgDumpFormat::Plain),
    ] {
        let whole = dumped(cluster, &from, &args);
        let to = cluster.database("cut_back");
        for part in [1, 10, 90, 97, 99] {
            let cut = whole[..whole.len() * part / 100].to_vec();
            for clean in [true, false] {
                let failed = at_once(cluster, &to, format, cut.clone(), clean).unwrap_err();
                assert!(
                    [PostgresErrorKind::Data, PostgresErrorKind::Lost].contains(&failed.kind),
                    "{part} % of {args:?}: {failed}"
                );
            }
        }
        // Whole bytes, and no clean end: the sender died before it could say that this is all.
        assert!(at_once(cluster, &to, format, whole, false).is_err());
    }
    let garbage =
        at_once(cluster, "postgres", PgDumpFormat::Custom, b"Salted__12345678".to_vec(), true)
            .unwrap_err();
    assert!(garbage.to_string().contains("no custom-format archive"), "{garbage}");
    let nul = at_once(cluster, "postgres", PgDumpFormat::Plain, b"SELECT 1;\0".to_vec(), true)
        .unwrap_err();
    assert!(nul.to_string().contains("NUL"), "{nul}");
    let other = at_once(
        cluster,
        "postgres",
        PgDumpFormat::Plain,
        b"\\connect template1\nSELECT 1;\n".to_vec(),
        true,
    );
    assert!(other.unwrap_err().to_string().contains("psql command"));
}

#[tokio::main(flavor = "current_thread")]
async fn at_once(
    cluster: &Cluster,
    database: &str,
    format: PgDumpFormat,
    bytes: Vec<u8>,
    clean: bool,
) -> Result<RestoreSummary, PostgresError> {
    restore_stream(&cluster.server(), database, format, stream(bytes, clean), &how()).await
}

#[test]
fn a_connection_that_is_ended_in_the_middle_ends_the_restore() {
    let cluster = shared();
    let from = sample(cluster, "ended");
    let to = cluster.database("ended_back");
    let archive = dumped(cluster, &from, &["-Fc", "-Z0"]);
    let killer = {
        let to = to.clone();
        std::thread::spawn(move || {
            shared().until(&format!("SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = '{to}' AND query LIKE 'COPY%'"));
            shared().psql("postgres", &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{to}' AND query LIKE 'COPY%'"))
        })
    };
    let failed = slowly(cluster, &to, archive).unwrap_err();
    killer.join().unwrap();
    assert_eq!(failed.kind, PostgresErrorKind::Lost, "{failed}");
}

#[tokio::main(flavor = "current_thread")]
async fn slowly(
    cluster: &Cluster,
    database: &str,
    bytes: Vec<u8>,
) -> Result<RestoreSummary, PostgresError> {
    let (give, take) = mpsc::channel(1);
    tokio::spawn(async move {
        for piece in bytes.chunks(500_000) {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            if give.send(Ok(Bytes::copy_from_slice(piece))).await.is_err() {
                return;
            }
        }
        let _ = give.send(Ok(Bytes::new())).await;
    });
    restore_stream(&cluster.server(), database, PgDumpFormat::Custom, take, &how()).await
}

#[test]
fn no_damaged_table_of_contents_panics_or_takes_much_memory() {
    let cluster = shared();
    let archive = dumped(cluster, &cluster.every_kind("mutated"), &["-Fc"]);
    let toc = Toc::read(&mut &archive[..]).unwrap();
    assert_eq!(&archive[..toc.raw.len()], &toc.raw[..], "what was read is kept");
    let list = cluster.feed("pg_restore", &["-l"], &archive);
    for line in String::from_utf8_lossy(&list.stdout).lines().filter(|l| !l.starts_with(';')) {
        let (id, rest) = line.split_once("; ").unwrap();
        let entry = toc.entry_by_id(id.parse().unwrap()).unwrap();
        let ours = format!("{} {} {} ", entry.catalogue_oid, entry.table_oid, entry.desc);
        assert!(rest.starts_with(&ours), "{line}: {ours}");
    }
    let head = toc.raw;
    let changes = proptest::collection::vec((0..head.len(), proptest::num::u8::ANY), 1..6);
    let mut runner =
        TestRunner::new(Config { cases: 4000, failure_persistence: None, ..Config::default() });
    runner
        .run(&(changes, 0..head.len()), |(changes, cut)| {
            let mut bytes = head.clone();
            for (at, byte) in changes {
                bytes[at] = byte;
            }
            let _ = Toc::read(&mut &bytes[..]);
            bytes.truncate(cut);
            let _ = Toc::read(&mut &bytes[..]);
            // A number of entries that became smaller makes a shorter table whole; one that is as it was and cut never is.
            assert!(Toc::read(&mut &head[..cut]).is_err());
            Ok(())
        })
        .unwrap();
}

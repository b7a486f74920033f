//! Faults, really injected: each ends in a clear error, no mark of a clean end, and no `pg_dump` left behind.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use postgres::{
    ConnectionConfig, PostgresErrorKind,
    dump::{DumpFileFormat, DumpOptions, dump_database},
};
use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use support::{Cluster, dumping::*, runs, shared};
use tokio::sync::mpsc;

/// A server with an application name of its own, so that a test meets its own connections only.
fn server(cluster: &Cluster, application: &str) -> ConnectionConfig {
    ConnectionConfig { application: application.into(), ..cluster.server() }
}

/// A database whose dump is 120 MB, more than all buffers hold, and takes no time to make.
fn large(cluster: &Cluster, name: &str) -> String {
    let database = cluster.database(name);
    let sql = "CREATE TABLE a (x text); INSERT INTO a SELECT repeat('x', 1000000) FROM generate_series(1, 120);
        CREATE TABLE b (x text); INSERT INTO b VALUES ('b'); CREATE TABLE c (x text); INSERT INTO c VALUES ('c')";
    cluster.psql(&database, sql);
    database
}

/// Runs SQL in the background.
fn spawn(cluster: &Cluster, database: &str, sql: &str) -> Child {
    let mut command = cluster.command("psql");
    command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql]);
    command.stdout(Stdio::null()).spawn().unwrap()
}

/// Whoever is connected as `application`, counted until there are none: what was begun is over on the server too.
async fn none_left(application: &str) {
    let sql = format!(
        "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = '{application}'"
    );
    // Off this thread: the connections that were dropped end on it.
    tokio::task::spawn_blocking(move || shared().until(&sql)).await.unwrap();
}

#[tokio::test]
async fn a_pg_dump_that_dies_is_an_error_in_its_own_words() {
    let cluster = shared();
    let database = large(cluster, "dies");
    let table = [
        ("echo 'pg_dump: error: boom' >&2; exit 3", "boom"),
        ("\"$real\" \"$@\" | head -c 1500; echo 'cut off' >&2; exit 1", "cut off"),
        ("\"$real\" \"$@\" | head -c 1500; kill -9 $$", "signal: 9"),
        ("exit 0", "it ended well"),
        ("\"$real\" \"$@\" | head -c 1500; exit 0", "it ended well"),
    ];
    for (script, why) in table {
        let tools = false_tools(cluster, script);
        let server = ConnectionConfig { tool_dirs: vec![tools.path().into()], ..cluster.server() };
        for format in [CUSTOM, DumpFileFormat::Plain] {
            let e = collect_from(&server, &database, &what(format)).await.unwrap_err();
            assert!(e.why.contains(why) && e.kind == PostgresErrorKind::Tool, "{script}: {e:?}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_is_terminated_in_the_middle_ends_the_dump() {
    let cluster = shared();
    let database = large(cluster, "terminated");
    // Of a pg_dump that was alone hit only its own words tell, and nothing is decided by those.
    let formats =
        [(CUSTOM, PostgresErrorKind::Lost), (DumpFileFormat::Plain, PostgresErrorKind::Tool)];
    for (n, (format, kind)) in formats.into_iter().enumerate() {
        let application = format!("terminated {n}");
        let end = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE application_name = '{application}' AND query ~ '^COPY'"
        );
        let fault = move || {
            thread::sleep(Duration::from_millis(300));
            assert_ne!(shared().psql("postgres", &end), "0");
        };
        let reached = server(cluster, &application);
        let e = interrupted(&reached, &database, &what(format), fault).await.unwrap_err();
        assert_eq!(e.kind, kind, "{e:?}");
        assert!(e.why.contains("terminating connection") || e.why.contains("closed"), "{e}");
        none_left(&application).await;
    }
}

#[tokio::test]
async fn a_server_that_is_killed_in_the_middle_ends_the_dump() {
    for format in [CUSTOM, DumpFileFormat::Plain] {
        let cluster = Cluster::start();
        let database = large(&cluster, "killed");
        let pid = cluster.pid.to_string();
        let fault = move || {
            // All of its processes at once, as when the machine dies. One may have ended by itself meanwhile.
            let kill =
                "children=$(ps -o pid= --ppid $0); kill -9 $0 && { kill -9 $children; true; }";
            assert!(Command::new("sh").args(["-c", kill, &pid]).status().unwrap().success());
        };
        let started = Instant::now();
        let e = interrupted(&cluster.server(), &database, &what(format), fault).await.unwrap_err();
        assert_eq!(e.kind, PostgresErrorKind::Lost, "{e:?}");
        assert!(started.elapsed() < Duration::from_secs(30));
    }
}

#[tokio::test]
async fn a_receiver_that_goes_away_stops_everything_at_once() {
    let cluster = shared();
    let database = large(cluster, "gone");
    for format in [CUSTOM, DumpFileFormat::Plain] {
        let reached = server(cluster, "gone");
        let (out, mut pieces) = mpsc::channel::<std::io::Result<bytes::Bytes>>(1);
        let receive = async {
            pieces.recv().await.unwrap().unwrap();
            drop(pieces);
        };
        let what = what(format);
        let (dumped, ()) = tokio::join!(dump_database(&reached, &database, &what, out), receive);
        let e = dumped.unwrap_err();
        assert!(
            e.kind == PostgresErrorKind::Lost && e.why.contains("nobody takes its bytes"),
            "{e:?}"
        );
        none_left("gone").await;
    }
}

/// A `pg_dump` that writes its process id to a file and then never ends.
fn hanging(cluster: &Cluster) -> (tempfile::TempDir, PathBuf) {
    let tools = false_tools(cluster, "echo $$ > \"${0%/*}/pid\"; exec sleep 1000");
    let pid = tools.path().join("pid");
    (tools, pid)
}

async fn pid_in(file: &PathBuf) -> u32 {
    loop {
        if let Some(pid) = fs::read_to_string(file).ok().and_then(|p| p.trim().parse().ok()) {
            return pid;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_dump_that_is_dropped_or_no_longer_wanted_leaves_no_pg_dump_behind() {
    let cluster = shared();
    let database = cluster.database("orphan");
    for format in [CUSTOM, DumpFileFormat::Plain] {
        for receiver_goes in [true, false] {
            let (tools, file) = hanging(cluster);
            let server =
                ConnectionConfig { tool_dirs: vec![tools.path().into()], ..cluster.server() };
            let (out, pieces) = mpsc::channel(1);
            let what = what(format.clone());
            let pid = tokio::select! {
                dumped = dump_database(&server, &database, &what, out) => panic!("{dumped:?}"),
                pid = pid_in(&file) => pid,
            };
            if receiver_goes {
                drop(pieces);
            }
            for _ in 0..100 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                if !runs(pid) {
                    break;
                }
            }
            assert!(!runs(pid), "{format:?}");
        }
    }
}

#[tokio::test]
async fn a_lock_that_is_not_had_in_time_is_an_error_that_says_so() {
    let cluster = shared();
    let database = large(cluster, "locked");
    let mut owner = spawn(cluster, &database, "BEGIN; LOCK TABLE b; SELECT pg_sleep(60)");
    cluster.until("SELECT count(*) > 0 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND locktype = 'relation'");
    let impatient = |format| DumpOptions { lock_wait: Duration::from_millis(1500), ..what(format) };
    for format in [CUSTOM, DumpFileFormat::Plain] {
        let started = Instant::now();
        let e = collect(cluster, &database, &impatient(format)).await.unwrap_err();
        assert!(e.kind == PostgresErrorKind::Busy && e.why.contains("timeout"), "{e:?}");
        assert!(started.elapsed() < Duration::from_secs(15));
    }
    owner.kill().unwrap();
    owner.wait().unwrap();
}

#[tokio::test]
async fn a_table_that_changes_while_the_dump_waits_for_its_lock_is_dumped_as_it_is_then() {
    let cluster = shared();
    let changes = [
        ("TRUNCATE b; INSERT INTO b VALUES ('new'), ('newer')", "b", 2),
        ("ALTER TABLE b ALTER x TYPE varchar(50), ADD y int DEFAULT 5", "b", 1),
        ("DROP TABLE b; CREATE TABLE d AS SELECT 1 AS i", "d", 1),
    ];
    for (change, table, rows) in changes {
        for format in [CUSTOM, DumpFileFormat::Plain] {
            let database = large(cluster, "changing");
            let sql = format!("BEGIN; LOCK TABLE b; SELECT pg_sleep(2); {change}; COMMIT");
            let mut changing = spawn(cluster, &database, &sql);
            cluster.until(&format!(
                "SELECT count(*) > 0 FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                 WHERE d.datname = '{database}' AND mode = 'AccessExclusiveLock' AND locktype = 'relation'"
            ));
            let (dumped, archive) =
                collect(cluster, &database, &what(format.clone())).await.unwrap();
            assert!(changing.wait().unwrap().success());
            let name = format!("public.{table}");
            let counted = dumped.tables.iter().find(|t| t.name == name).map(|t| t.rows);
            assert_eq!(counted, Some(rows), "{change} {:?}", dumped.tables);
            if format == CUSTOM {
                let sql = cluster.feed("pg_restore", &["-f", "-"], &archive);
                let sql = String::from_utf8(sql.stdout).unwrap();
                support::same(&cluster.described(&database, &[]), &support::comparable(&sql));
            }
        }
    }
}

#[tokio::test]
async fn a_migration_that_waits_for_the_dump_does_not_stop_it() {
    let cluster = shared();
    let database = large(cluster, "migration");
    let waiting = database.clone();
    let reached = server(cluster, "migration");
    let (send, receive) = std::sync::mpsc::channel();
    let fault = move || {
        // The leader has its locks; a worker that begins with table c finds this one before it in the queue.
        let migration = spawn(shared(), &waiting, "ALTER TABLE c ADD y int");
        shared().until(
            "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'",
        );
        send.send(migration).unwrap();
    };
    let mut one = what(CUSTOM);
    one.jobs = 1;
    let (dumped, _) = interrupted(&reached, &database, &one, fault).await.unwrap();
    assert_eq!(dumped.tables.iter().map(|t| t.rows).collect::<Vec<_>>(), [120, 1, 1]);
    let mut migration = receive.recv().unwrap();
    assert!(migration.wait().unwrap().success());
}

#[tokio::test]
async fn a_replica_is_dumped_and_a_cancelled_range_is_read_again_or_the_error_says_what_to_do() {
    let primary = Cluster::start();
    let database = large(&primary, "replicated");
    primary.psql(
        &database,
        "INSERT INTO b SELECT i::text FROM generate_series(1, 1000) i; DELETE FROM b WHERE x > '5'",
    );
    let replica = Cluster::replica_of(&primary);
    let caught_up = |p: &Cluster| p.psql("postgres", "SELECT pg_current_wal_lsn()");
    replica.until(&format!("SELECT pg_last_wal_replay_lsn() >= '{}'::pg_lsn", caught_up(&primary)));
    let (dumped, archive) = collect(&replica, &database, &what(CUSTOM)).await.unwrap();
    assert!(dumped.server.is_replica && archive.len() > 120_000_000);
    assert_eq!(dumped.tables[0].rows, 120);

    // Replay waits 200 ms and then cancels whoever sees rows that it must remove.
    replica.psql("postgres", "ALTER SYSTEM SET max_standby_streaming_delay = '200ms'");
    replica.psql("postgres", "SELECT pg_reload_conf()");
    let (name, port) = (database.clone(), primary.port);
    let mut vacuum = primary.command("psql");
    vacuum.args([
        "-q",
        "-d",
        &name,
        "-c",
        "DELETE FROM a WHERE length(x) = 1000000 AND random() < 0.5",
        "-c",
        "VACUUM a",
    ]);
    let fault = move || {
        assert!(vacuum.status().unwrap().success(), "vacuum at {port}");
        thread::sleep(Duration::from_secs(2));
    };
    let e = interrupted(&replica.server(), &database, &what(CUSTOM), fault).await.unwrap_err();
    assert!(
        e.to_string().contains("hot_standby_feedback") || e.kind == PostgresErrorKind::Lost,
        "{e:?}"
    );
}

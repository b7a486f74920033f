//! How a server is reached, which programs fit it, and the lease that keeps runs apart.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use postgres::{
    ConnectionConfig, PostgresErrorKind, TlsMode, dump::probe_server, lock::try_advisory_lock,
    tools::ClientTools,
};
use std::{
    fs,
    net::TcpStream,
    os::unix::fs::MetadataExt as _,
    process::{Command, Stdio},
    time::Duration,
};
use support::{dumping::*, shared};

fn named(application: &str) -> ConnectionConfig {
    ConnectionConfig { application: application.into(), ..shared().server() }
}

#[tokio::test]
async fn tls_lets_in_only_the_right_server() {
    let cluster = shared();
    let ca = |file: &str| Some(cluster.dir.join(file));
    let server =
        |host: &str, tls, ca| ConnectionConfig { host: host.into(), tls, ca, ..cluster.server() };
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let let_in = [
        (server("localhost", TlsMode::VerifyFull, ca("ca.pem")), true),
        (server("127.0.0.1", TlsMode::Require, ca("ca.pem")), true),
        (server("127.0.0.1", TlsMode::Require, ca("server.pem")), true),
        (server("localhost", TlsMode::VerifyFull, ca("server.pem")), true),
        (server("127.0.0.1", TlsMode::Require, None), true),
        (server("127.0.0.1", TlsMode::Prefer, None), true),
        (server("127.0.0.1", TlsMode::Disable, None), false),
    ];
    for (server, encrypted) in let_in {
        let session = server.connect("postgres").await.unwrap();
        let row = session.query_one(sql, &[]).await.unwrap();
        assert_eq!(row.get::<_, bool>(0), encrypted, "{server:?}");
    }
    let refused = [
        (server("127.0.0.1", TlsMode::VerifyFull, ca("ca.pem")), "not valid for name"),
        (server("127.0.0.1", TlsMode::VerifyFull, ca("server.pem")), "not valid for name"),
        (server("localhost", TlsMode::VerifyFull, ca("other-ca.pem")), "UnknownIssuer"),
        (server("127.0.0.1", TlsMode::Require, ca("other-ca.pem")), "UnknownIssuer"),
        (server("localhost", TlsMode::VerifyFull, ca("nothing.pem")), "nothing.pem"),
        (server("localhost", TlsMode::VerifyFull, ca("server.key")), "no certificate is in it"),
    ];
    for (server, why) in refused {
        let e = server.connect("postgres").await.unwrap_err();
        assert!(e.kind == PostgresErrorKind::Connection && e.why.contains(why), "{e:?}");
    }
}

#[tokio::test]
async fn a_dump_goes_over_tls_and_over_a_unix_socket() {
    let cluster = shared();
    let database = cluster.database("ways");
    cluster.psql(&database, "CREATE TABLE t AS SELECT i FROM generate_series(1, 100000) i");
    let ca = Some(cluster.dir.join("ca.pem"));
    let tls = ConnectionConfig {
        host: "localhost".into(),
        tls: TlsMode::VerifyFull,
        ca,
        ..cluster.server()
    };
    let host = cluster.dir.to_str().unwrap().to_owned();
    let socket = ConnectionConfig { host, tls: TlsMode::Require, ..cluster.server() };
    for server in [tls, socket] {
        let (dumped, _) = collect_from(&server, &database, &what(CUSTOM)).await.unwrap();
        assert_eq!(dumped.tables[0].rows, 100_000);
    }
}

#[tokio::test]
async fn who_is_not_let_in_is_told_why() {
    let cluster = shared();
    let table = [
        (
            ConnectionConfig { password: Some("wrong".into()), ..cluster.server() },
            "postgres",
            "password authentication failed",
        ),
        (cluster.server(), "no_such_database", "does not exist"),
        (ConnectionConfig { port: 1, ..cluster.server() }, "postgres", "refused"),
        (
            ConnectionConfig { host: "/nowhere".into(), ..cluster.server() },
            "postgres",
            "No such file",
        ),
    ];
    for (server, database, why) in table {
        let e = probe_server(&server, database).await.unwrap_err();
        assert!(e.kind == PostgresErrorKind::Connection && e.why.contains(why), "{e:?}");
        assert!(!format!("{e:?} {server:?}").contains("wrong"));
    }
}

#[tokio::test]
async fn a_look_says_what_the_server_is() {
    let cluster = shared();
    let facts = probe_server(&cluster.server(), "postgres").await.unwrap();
    assert_eq!((facts.encoding.as_str(), facts.owner.as_str()), ("UTF8", "postgres"));
    assert!(!facts.is_replica && facts.version_num / 10_000 >= 11);
}

#[tokio::test]
async fn an_older_pg_dump_is_refused_and_the_newest_of_equal_ones_named_first_is_taken() {
    let cluster = shared();
    let tools = tempfile::tempdir().unwrap();
    script_at(&tools.path().join("pg_dump"), "#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n");
    let server = ConnectionConfig { tool_dirs: vec![tools.path().into()], ..cluster.server() };
    let e = ClientTools::find_for_server(&server, 990_000).unwrap_err();
    assert_eq!(e.kind, PostgresErrorKind::Tool);
    assert!(e.why.contains("9.6.24") && e.hint.contains("postgresql-client-99"), "{e}");
    let found = ClientTools::find_for_server(&server, 110_000).unwrap();
    assert!(!found.pg_dump.starts_with(tools.path()));
    let same = false_tools(cluster, "exit 1");
    let server = ConnectionConfig { tool_dirs: vec![same.path().into()], ..cluster.server() };
    let version = probe_server(&cluster.server(), "postgres").await.unwrap().version_num;
    assert_eq!(
        ClientTools::find_for_server(&server, version).unwrap().pg_dump,
        same.path().join("pg_dump")
    );
}

#[tokio::test]
async fn a_second_run_is_refused_and_told_who_has_the_lease_since_when() {
    let first = named("holdfast run 1").connect("postgres").await.unwrap();
    let second = named("holdfast run 2").connect("postgres").await.unwrap();
    let lease = try_advisory_lock(&first, "orders").await.unwrap();
    let e = try_advisory_lock(&second, "orders").await.unwrap_err();
    assert_eq!(e.kind, PostgresErrorKind::Busy);
    assert!(e.why.contains("holdfast run 1 has it since 2") && e.why.contains("UTC"), "{e}");
    try_advisory_lock(&second, "another").await.unwrap().ensure_held().await.unwrap();
    lease.ensure_held().await.unwrap();
    lease.release().await.unwrap();
    try_advisory_lock(&second, "orders").await.unwrap();
}

#[tokio::test]
async fn a_lease_is_gone_with_its_owner_s_connection_and_its_owner_is_told() {
    let first = named("lease 1").connect("postgres").await.unwrap();
    let second = named("lease 2").connect("postgres").await.unwrap();
    let lease = try_advisory_lock(&first, "gone").await.unwrap();
    let end =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lease 1'";
    second.execute(end, &[]).await.unwrap();
    for _ in 0..100 {
        if try_advisory_lock(&second, "gone").await.is_ok() {
            let e = lease.ensure_held().await.unwrap_err();
            assert_eq!(e.kind, PostgresErrorKind::Lost, "{e}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the lease outlived its connection");
}

#[tokio::test]
async fn sessions_have_no_timeouts_and_watch_over_their_connection() {
    let cluster = shared();
    cluster.psql("postgres", "ALTER ROLE postgres SET statement_timeout = '5s'");
    let session = named("settings").connect("postgres").await.unwrap();
    let sql = "SELECT string_agg(setting, ' ' ORDER BY name) FROM pg_settings WHERE name IN
        ('idle_in_transaction_session_timeout', 'statement_timeout', 'tcp_keepalives_idle', 'lock_timeout')";
    let row = session.query_one(sql, &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "0 0 0 30");
}

/// `PgBouncer` before a server, gone at the end.
struct Pooler {
    child: std::process::Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Pooler {
    fn start(mode: &str) -> Self {
        let cluster = shared();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let (ini, users) = (folder.path().join("pgbouncer.ini"), folder.path().join("users.txt"));
        fs::write(&users, format!("\"postgres\" \"{}\"\n", support::PASSWORD)).unwrap();
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {}\npool_mode = {mode}\n",
            cluster.port,
            users.display()
        );
        fs::write(&ini, text).unwrap();
        // It refuses to run as root.
        let root = fs::metadata("/proc/self").unwrap().uid() == 0;
        let mut command = if root {
            let mine = Command::new("chown").args(["-R", "postgres"]).arg(folder.path()).status();
            assert!(mine.unwrap().success());
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "pgbouncer"]);
            command
        } else {
            Command::new("pgbouncer")
        };
        let path = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap());
        let spawned = command.arg(&ini).env("PATH", path).stderr(Stdio::null()).spawn();
        let child = spawned.expect("pgbouncer (apt install pgbouncer)");
        for _ in 0..100 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { child, port, _folder: folder }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test]
async fn a_pooler_is_refused_and_keeps_nothing_of_ours() {
    let cluster = shared();
    let database = cluster.database("pooled");
    for mode in ["transaction", "session"] {
        let pooler = Pooler::start(mode);
        let through = ConnectionConfig { port: pooler.port, ..named("pooled") };
        for format in [CUSTOM, postgres::dump::DumpFileFormat::Plain] {
            let e = collect_from(&through, &database, &what(format)).await.unwrap_err();
            assert!(
                e.kind == PostgresErrorKind::Refused && e.why.contains("pooler"),
                "{mode}: {e:?}"
            );
            assert!(e.hint.contains("host and port of the server"), "{e}");
        }
        let mut psql = cluster.command("psql");
        psql.env("PGPORT", pooler.port.to_string()).args(["-XAtq", "-d", &database, "-c"]);
        psql.arg("SELECT current_setting('search_path'), current_setting('row_security'), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')");
        let said = psql.output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&said.stdout).trim(),
            "\"$user\", public|on|0",
            "{mode}"
        );
    }
}

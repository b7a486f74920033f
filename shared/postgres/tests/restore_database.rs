//! Databases made, swapped and dropped on a real PostgreSQL.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use postgres::{PostgresErrorKind, database, dump::ServerRole};
use support::shared;

#[tokio::main(flavor = "current_thread")]
async fn wait<T>(work: impl Future<Output = T>) -> T {
    work.await
}

#[test]
fn a_swap_disconnects_who_is_in_and_lets_the_waiting_into_the_new_one() {
    let cluster = shared();
    let (live, fresh) = (cluster.database("live"), cluster.database("live_holdfast_r1"));
    cluster.psql(&fresh, "CREATE TABLE restored ()");
    let aside = database::previous_database_name(&live, "20261120020000");
    wait(async {
        let server = cluster.server();
        let inside = server.connect(&live).await.unwrap();
        database::swap_databases(&server, &fresh, &live, &aside).await.unwrap();
        assert!(inside.batch_execute("SELECT 1").await.is_err(), "it is disconnected");
        assert!(database::database_exists(&server, &aside).await.unwrap());
        assert!(!database::database_exists(&server, &fresh).await.unwrap());
        let after = server.connect(&live).await.unwrap();
        after.batch_execute("SELECT * FROM restored").await.unwrap();
        drop(after);
        // And back again, as after a failure.
        database::swap_databases(&server, &aside, &live, &fresh).await.unwrap();
        assert!(
            server
                .connect(&live)
                .await
                .unwrap()
                .batch_execute("SELECT * FROM restored")
                .await
                .is_err()
        );
    });
}

#[test]
fn a_swap_that_is_interrupted_at_any_step_changes_nothing() {
    let cluster = shared();
    let (live, fresh) = (cluster.database("steps"), cluster.database("steps_holdfast_r1"));
    // Step 1: the second rename can't be done. The first one is undone with it.
    wait(async {
        let server = cluster.server();
        let failed = database::swap_databases(
            &server,
            "not_there_holdfast_x",
            &live,
            "steps_before_20261120020001",
        )
        .await;
        assert!(failed.unwrap_err().to_string().contains("does not exist"));
    });
    assert_eq!(cluster.psql(&live, "SELECT current_database()"), live);
    // Step 2: our connection is ended, or our process dies, between the renames.
    let renames = format!(
        "BEGIN; ALTER DATABASE \"{live}\" RENAME TO aside_of_steps; SELECT pg_terminate_backend(pg_backend_pid());"
    );
    let ended = cluster.feed("psql", &["-X", "-d", "postgres"], renames.as_bytes());
    assert!(!ended.status.success());
    assert_eq!(
        cluster.psql(&live, "SELECT current_database()"),
        live,
        "and connections are let in"
    );
    // Step 3: dropped while it waits for connections that stay.
    wait(async {
        let server = cluster.server();
        let swapping =
            database::swap_databases(&server, &fresh, &live, "steps_before_20261120020002");
        let _ = tokio::time::timeout(std::time::Duration::from_millis(1), swapping).await;
    });
    cluster.until("SELECT count(*) = 0 FROM pg_stat_activity WHERE query LIKE '%RENAME%' AND state = 'active' AND pid <> pg_backend_pid()");
    let there = cluster.psql(
        "postgres",
        &format!("SELECT count(*) FROM pg_database WHERE datname IN ('{live}', '{fresh}')"),
    );
    assert!(["1", "2"].contains(&there.as_str()), "the live name is never absent: {there}");
    assert_eq!(cluster.psql(&live, "SELECT current_database()"), live);
}

#[test]
fn only_databases_of_ours_are_dropped() {
    let cluster = shared();
    let (other, ours) = (cluster.database("precious"), cluster.database("x_holdfast_r2"));
    wait(async {
        let server = cluster.server();
        let refused = database::drop_database(&server, &other).await.unwrap_err();
        assert_eq!(refused.kind, PostgresErrorKind::Refused);
        let _inside = server.connect(&ours).await.unwrap();
        database::drop_database(&server, &ours).await.unwrap();
        assert!(!database::database_exists(&server, &ours).await.unwrap());
        database::drop_database(&server, &ours).await.unwrap();
    });
}

#[test]
fn rows_are_counted_and_checks_are_read_only_booleans() {
    let cluster = shared();
    let name = cluster.database("counted");
    cluster.psql(
        &name,
        "CREATE TABLE \"Odd.Name\" AS SELECT generate_series(1, 7); CREATE TABLE p (a int) PARTITION BY LIST (a);
         CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); INSERT INTO p VALUES (1)",
    );
    wait(async {
        let server = cluster.server();
        let tables: Vec<String> =
            ["public.\"Odd.Name\"", "public.p", "p1"].map(String::from).into();
        let counts = database::count_rows(&server, &name, &tables, 2).await.unwrap();
        assert_eq!(counts.iter().map(|t| t.rows).collect::<Vec<_>>(), [7, 0, 1]);
        assert!(database::count_rows(&server, &name, &["nothing".into()], 2).await.is_err());
        let session = server.connect(&name).await.unwrap();
        let limit = std::time::Duration::from_mins(1);
        let check = |sql: &'static str| database::query_bool(&session, sql, limit);
        assert!(check("SELECT count(*) > 0 FROM p").await.unwrap());
        assert!(!check("SELECT NULL::bool").await.unwrap());
        for wrong in [
            "SELECT 1",
            "DELETE FROM p RETURNING true",
            "SELECT true; DROP TABLE p",
            "SELECT true WHERE false",
        ] {
            let refused = check(wrong).await.unwrap_err();
            assert_eq!(refused.kind, PostgresErrorKind::Refused, "{wrong}: {refused}");
        }
        let brief = std::time::Duration::from_millis(50);
        let hangs = database::query_bool(&session, "SELECT pg_sleep(60) IS NULL", brief).await;
        assert_eq!(hangs.unwrap_err().kind, PostgresErrorKind::Refused, "it is not waited for");
        let newest = |sql: &'static str| database::query_time(&session, sql, limit);
        let time = newest("SELECT '2026-11-27 14:00:00.9+00'::timestamptz;").await.unwrap();
        assert_eq!(time.map(|t| t.to_string()).as_deref(), Some("2026-11-27T14:00:00Z"));
        assert_eq!(newest("SELECT max(now()) FROM p WHERE false").await.unwrap(), None);
        assert!(newest("SELECT 'no time'").await.is_err());
        assert!(check("SELECT count(*) = 1 FROM p").await.unwrap(), "the session goes on");
    });
}

#[test]
fn missing_roles_are_created_and_existing_ones_left_alone() {
    let cluster = shared();
    cluster.psql("postgres", "CREATE ROLE kept LOGIN");
    let role =
        |name: &str| ServerRole { name: name.into(), inherit: true, ..ServerRole::default() };
    let mighty = ServerRole {
        superuser: true,
        login: true,
        create_role: true,
        create_database: true,
        settings: vec![
            ("work_mem".into(), "8MB".into()),
            ("search_path".into(), "\"a, b\", c".into()),
        ],
        member_of: [("kept".to_owned(), false), ("made too".to_owned(), false)].into(),
        ..role("made")
    };
    let roles = [role("kept"), mighty, role("made too")];
    wait(async {
        let server = cluster.server();
        let losses = database::create_missing_roles(&server, &roles).await.unwrap();
        // A role that is there may have any right: who wants its new member says so by hand.
        let left: Vec<_> = losses.iter().map(|l| l.statement.as_str()).collect();
        assert_eq!(left, ["GRANT \"kept\" TO \"made\""]);
        assert_eq!(
            database::create_missing_roles(&server, &roles).await.unwrap(),
            [],
            "twice is once"
        );
    });
    let list = "SELECT string_agg(concat_ws(' ', rolname, rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolpassword), ',' ORDER BY rolname)
                FROM pg_authid WHERE rolname IN ('kept', 'made')";
    assert_eq!(cluster.psql("postgres", list), "kept t f f f,made f f f f");
    let member =
        "SELECT pg_has_role('made', 'kept', 'member'), pg_has_role('made', 'made too', 'member')";
    assert_eq!(cluster.psql("postgres", member), "f|t");
    let settings = "SELECT rolconfig::text FROM pg_roles WHERE rolname = 'made'";
    assert_eq!(cluster.psql("postgres", settings), r#"{work_mem=8MB,"search_path=\"a, b\", c"}"#);
}

#[test]
fn settings_grants_and_limits_of_a_database_are_passed_on() {
    let cluster = shared();
    let (from, to) = (cluster.database("settings"), cluster.database("settings_holdfast_r1"));
    cluster.psql(
        "postgres",
        &format!(
            "CREATE ROLE \"Set ter\"; ALTER DATABASE {from} OWNER TO \"Set ter\"; ALTER DATABASE {from} CONNECTION LIMIT 7;
             ALTER DATABASE {from} SET search_path TO \"Odd, one\", public; ALTER DATABASE {from} SET work_mem TO '7MB';
             ALTER DATABASE {from} SET my.own TO 'x''y'; ALTER ROLE \"Set ter\" IN DATABASE {from} SET work_mem TO '9MB';
             REVOKE CONNECT ON DATABASE {from} FROM PUBLIC; GRANT TEMP ON DATABASE {from} TO \"Set ter\" WITH GRANT OPTION"
        ),
    );
    wait(async {
        assert_eq!(
            database::copy_database_properties(&cluster.server(), &from, &to).await.unwrap(),
            []
        );
    });
    let describe = |name: &str| {
        let sql = format!(
            "SELECT pg_get_userbyid(datdba), datconnlimit, (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(datacl) a),
                (SELECT array_agg(setrole::regrole || ' ' || setconfig::text ORDER BY setrole) FROM pg_db_role_setting s
                 WHERE s.setdatabase = d.oid)
             FROM pg_database d WHERE datname = '{name}'"
        );
        cluster.psql("postgres", &sql)
    };
    assert_eq!(describe(&to), describe(&from));
    assert!(describe(&from).contains("7MB"));
}

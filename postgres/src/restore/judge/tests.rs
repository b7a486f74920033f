use super::*;

#[test]
fn what_pg_dump_writes_about_one_database_may_run() {
    for statement in [
        "SET statement_timeout = 0",
        "SET standard_conforming_strings = on",
        "SET default_tablespace = ''",
        "SELECT pg_catalog.set_config('search_path', '', false)",
        "SELECT pg_catalog.setval('public.a_id_seq', 3, true)",
        "SELECT pg_catalog.lo_create('123')",
        "SELECT * FROM pg_catalog.pg_restore_relation_stats('version', '180000'::integer)",
        "CREATE SCHEMA \"odd name\"",
        "CREATE TABLE public.t (grant_on_database text DEFAULT 'DROP DATABASE x;')",
        "CREATE UNIQUE INDEX i ON public.t USING btree (a)",
        "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION public.f()",
        "CREATE OR REPLACE PROCEDURAL LANGUAGE x",
        "CREATE DEFAULT CONVERSION c FOR 'LATIN1' TO 'UTF8' FROM public.f",
        "CREATE MATERIALIZED VIEW v AS SELECT 1 WITH NO DATA",
        "CREATE FUNCTION public.f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DROP DATABASE x; END $$",
        "CREATE FUNCTION public.f() RETURNS int LANGUAGE c AS '$libdir/hstore', 'f'",
        "CREATE USER MAPPING FOR bob SERVER s",
        "CREATE SUBSCRIPTION s CONNECTION 'host=x' PUBLICATION p WITH (connect = false, slot_name = 's')",
        "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION f()",
        "ALTER TABLE public.t OWNER TO bob",
        "ALTER DEFAULT PRIVILEGES FOR ROLE bob GRANT ALL ON TABLES TO carol",
        "ALTER LARGE OBJECT 1 OWNER TO bob",
        "COMMENT ON EXTENSION hstore IS 'x'",
        "COMMENT ON COLUMN public.t.a IS 'x'",
        "SECURITY LABEL FOR selinux ON TABLE t IS 'x'",
        "GRANT SELECT(a),INSERT(a) ON TABLE public.t TO bob",
        "GRANT ALL ON SCHEMA public TO bob",
        "REVOKE ALL ON FUNCTION f(a int) FROM PUBLIC",
        "INSERT INTO public.t VALUES (1)",
        "REFRESH MATERIALIZED VIEW public.v",
        "DROP TABLE IF EXISTS public.t",
        "DROP PROCEDURAL LANGUAGE x",
        "BEGIN",
        "COMMIT",
        "",
    ] {
        assert_eq!(refusal(statement), None, "{statement}");
    }
}

#[test]
fn what_reaches_beyond_one_database_never_runs() {
    for statement in [
        "DROP DATABASE victim",
        "drop database victim",
        "CREATE DATABASE x",
        "ALTER DATABASE x SET work_mem = 1",
        "CREATE ROLE r SUPERUSER",
        "ALTER ROLE postgres PASSWORD 'x'",
        "CREATE USER u",
        "ALTER USER u SUPERUSER",
        "DROP USER u",
        "CREATE GROUP g",
        "CREATE TABLESPACE t LOCATION '/x'",
        "ALTER SYSTEM SET archive_command = 'x'",
        "DROP OWNED BY bob",
        "REASSIGN OWNED BY bob TO carol",
        "GRANT postgres TO app",
        "GRANT a, b TO app WITH ADMIN OPTION",
        "REVOKE postgres FROM app",
        "GRANT ALL ON DATABASE x TO app",
        "GRANT SET ON PARAMETER x TO app",
        "GRANT CREATE ON TABLESPACE x TO app",
        "COMMENT ON DATABASE x IS 'y'",
        "COMMENT ON ROLE x IS 'y'",
        "SECURITY LABEL ON ROLE x IS 'y'",
        "SET SESSION AUTHORIZATION 'postgres'",
        "SET ROLE postgres",
        "SET LOCAL ROLE postgres",
        "RESET SESSION AUTHORIZATION",
        "SET session_preload_libraries = 'x'",
        "SET standard_conforming_strings TO off",
        "SET SESSION standard_conforming_strings = off",
        "SELECT set_config('search_path', '', false)",
        "SELECT pg_catalog.set_config('standard_conforming_strings', 'off', false)",
        "SELECT pg_catalog.set_config('role', 'postgres', false)",
        "SELECT pg_catalog.pg_read_file('x')",
        "SELECT pg_catalog.lo_import('/etc/passwd')",
        "SELECT evil()",
        "COPY t TO PROGRAM 'x'",
        "COPY t FROM '/etc/passwd'",
        "DO $$ BEGIN END $$",
        "CALL p()",
        "LOAD 'x'",
        "UPDATE pg_authid SET rolsuper = true",
        "WITH x AS (DELETE FROM t RETURNING 1) SELECT 1",
        "CREATE FUNCTION f() RETURNS int LANGUAGE c AS '/tmp/x.so', 'f'",
        "CREATE FUNCTION f() RETURNS int AS '$libdir/../x', 'f' LANGUAGE \"c\"",
        "CREATE SUBSCRIPTION s CONNECTION 'connect = false' PUBLICATION p",
        "BEGIN; DROP DATABASE x",
        "<html>",
        "\"DROP\" x",
    ] {
        assert!(refusal(statement).is_some(), "{statement}");
    }
}

#[test]
fn a_refusal_tells_no_data() {
    let told = refusal("Jane Roe, 1 Main Street").expect("no statement");
    assert!(!told.contains("Jane"), "{told}");
    assert!(refusal("DROP DATABASE secret").expect("refused").contains("DROP DATABASE"));
}

#[test]
fn only_rows_of_the_file_are_copied() {
    for copy in [
        "COPY public.t (a, \"b c\") FROM stdin",
        "COPY public.t (a) FROM stdin;",
        "COPY t FROM stdin",
        "COPY \"a.b\".\"c\" () FROM stdin",
    ] {
        assert!(is_copy_of_rows(copy), "{copy}");
    }
    for other in [
        "COPY t TO stdout",
        "COPY t FROM PROGRAM 'x FROM stdin'",
        "COPY (SELECT 1) TO PROGRAM 'x' FROM stdin",
        "COPY t FROM '/etc/passwd'",
        "COPY t FROM stdin WITH (FORMAT csv)",
        "COPY t (a, evil()) FROM stdin",
        "SELECT 1 FROM stdin",
    ] {
        assert!(!is_copy_of_rows(other), "{other}");
    }
}

#[test]
fn words_of_a_statement_are_told_from_what_it_quotes() {
    let words = tokens("SELECT E'it\\'s', 'a''b', \"x\"\"y\", $t$ $$ ' $t$, $1");
    let text = |t: &Token<'_>| matches!(t, Token::Text(_));
    assert_eq!(words.iter().filter(|t| text(t)).count(), 3);
    assert!(words.contains(&Token::Name("\"x\"\"y\"")), "{words:?}");
    assert_eq!(tokens("'open").len(), 1);
    assert_eq!(tokens("$$ open").len(), 1);
}

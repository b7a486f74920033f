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
        "CREATE FUNCTION public.f(language text) RETURNS int LANGUAGE \"plpython3u\" AS 'x'",
        "CREATE FUNCTION public.f() RETURNS text BEGIN ATOMIC SELECT language, 'a' FROM public.t; END",
        "CREATE FUNCTION public.f() RETURNS text LANGUAGE sql AS E'a\\\\b'",
        "CREATE TABLE public.t (a int GENERATED ALWAYS AS (b + 1) STORED, c text DEFAULT 'a\\')",
        "CREATE USER MAPPING FOR bob SERVER s",
        "CREATE SUBSCRIPTION s CONNECTION 'host=x' PUBLICATION p WITH (connect = false, slot_name = 's')",
        "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION f()",
        "ALTER TABLE public.t OWNER TO bob",
        "ALTER DEFAULT PRIVILEGES FOR ROLE bob GRANT ALL ON TABLES TO carol",
        "ALTER LARGE OBJECT 1 OWNER TO bob",
        "ALTER SUBSCRIPTION s OWNER TO bob",
        "COMMENT ON EXTENSION hstore IS 'x'",
        "COMMENT ON COLUMN public.t.a IS 'x'",
        "SECURITY LABEL FOR selinux ON TABLE t IS 'x'",
        "GRANT SELECT(a),INSERT(a) ON TABLE public.t TO bob",
        "GRANT ALL ON SCHEMA public TO bob",
        "REVOKE ALL ON FUNCTION f(a int) FROM PUBLIC",
        "INSERT INTO public.t VALUES (1)",
        "INSERT INTO public.\"T t\" (a, \"b c\") OVERRIDING SYSTEM VALUE VALUES (-1.5e+10, NULL), (DEFAULT, E'a\\'b')",
        "INSERT INTO public.t VALUES (true, B'101', '{1,2}', 'NaN') ON CONFLICT DO NOTHING",
        "INSERT INTO public.t DEFAULT VALUES",
        "SELECT pg_catalog.lowrite(0, '\\x00')",
        "SELECT pg_catalog.lo_unlink(oid) FROM pg_catalog.pg_largeobject_metadata WHERE oid = '5'",
        "SELECT * FROM pg_catalog.pg_restore_attribute_stats('relation', 'public.t'::regclass, 'inherited', false, \
            'n', '0.5'::double precision, 'most_common_freqs', '{0.1}'::real[], 'x', E'\\\\a'::text)",
        "REFRESH MATERIALIZED VIEW public.v",
        "DROP TABLE IF EXISTS public.t",
        "DROP PROCEDURAL LANGUAGE x",
        "BEGIN",
        "COMMIT",
        "",
    ] {
        assert_eq!(refusal_reason(statement), None, "{statement}");
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
        // The server's own tables, some of which are of all databases.
        "INSERT INTO pg_catalog.pg_authid VALUES (1)",
        "INSERT INTO pg_authid (rolname) VALUES ('x')",
        "INSERT INTO \"pg_catalog\".\"pg_db_role_setting\" VALUES (0, 10, '{a=b}')",
        // Functions and queries where values should be.
        "INSERT INTO public.t SELECT pg_catalog.lo_export(1, '/x')",
        "INSERT INTO public.t VALUES (pg_catalog.lo_import('/etc/passwd'))",
        "INSERT INTO public.t VALUES ((SELECT 1))",
        "INSERT INTO public.t VALUES (1) RETURNING pg_catalog.pg_reload_conf()",
        "INSERT INTO public.t (a) TABLE public.u",
        "INSERT INTO public.t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 2",
        "SELECT pg_catalog.setval('s', 1), pg_catalog.lo_export(1, '/x')",
        "SELECT pg_catalog.setval('s', (SELECT pg_catalog.pg_reload_conf()::int))",
        "SELECT pg_catalog.setval('s', 1) FROM public.evil()",
        "SELECT pg_catalog.setval('s', pg_catalog.evil())",
        "SELECT pg_catalog.set_config('search_path', pg_catalog.pg_read_file('x'), false)",
        "CREATE TABLE public.t AS SELECT pg_catalog.pg_read_file('x')",
        "CREATE UNLOGGED TABLE public.t (a) AS TABLE public.u",
        "CREATE MATERIALIZED VIEW public.v AS SELECT pg_catalog.lo_export(1, '/x')",
        "CREATE SCHEMA s GRANT ALL ON DATABASE x TO app",
        "CREATE SCHEMA AUTHORIZATION bob CREATE VIEW v AS SELECT 1",
        // Languages and files that are written so that they look like others.
        "CREATE FUNCTION f() RETURNS int LANGUAGE U&\"\\0063\" AS '/tmp/x.so', 'f'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE $$c$$ AS '/tmp/x.so', 'f'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE E'\\x63' AS '/tmp/x.so', 'f'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE ''\n'c' AS '/tmp/x.so', 'f'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE c AS E'/tmp/x.so', 'f'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE c AS U&'/tmp/x.so', 'f'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE c AS $$/tmp/x.so$$, 'f'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE c AS '$libdir/x'\n'/../../tmp/x', 'f'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE c AS '$libdir/\\056\\056/x', 'f'",
        "CREATE FUNCTION f() RETURNS int SET a.b TO return LANGUAGE c AS '/tmp/x.so', 'f'",
        // Where a string ends is not where it seems.
        "CREATE FUNCTION f(x t DEFAULT e 'a\\') RETURNS int LANGUAGE c AS '/tmp/x.so', 'f'",
        "CREATE FUNCTION f(x text DEFAULT 'a\\'') RETURNS int LANGUAGE c AS '/tmp/x.so', ' '",
        "CREATE FUNCTION f(x text DEFAULT E'a'\n'\\'') RETURNS int LANGUAGE c AS '/tmp/x.so', ' '",
        "CREATE SUBSCRIPTION s CONNECTION 'host=x password=\\' connect = false' PUBLICATION p",
        // To other servers.
        "ALTER SUBSCRIPTION s ENABLE",
        "ALTER SUBSCRIPTION s CONNECTION 'host=x'",
        "ALTER SUBSCRIPTION s REFRESH PUBLICATION",
        "DROP SUBSCRIPTION s",
        // An encoding that the restore itself does not see.
        "SET client_encoding = DEFAULT, 'SJIS'",
        "SET NAMES 'SJIS'",
    ] {
        assert!(refusal_reason(statement).is_some(), "{statement}");
    }
}

#[test]
fn a_refusal_tells_no_data() {
    let told = refusal_reason("Jane Roe, 1 Main Street").expect("no statement");
    assert!(!told.contains("Jane"), "{told}");
    assert!(refusal_reason("DROP DATABASE secret").expect("refused").contains("DROP DATABASE"));
}

#[test]
fn only_rows_of_the_file_are_copied() {
    for copy in [
        "COPY public.t (a, \"b c\") FROM stdin",
        "COPY public.t (a) FROM stdin;",
        "COPY t FROM stdin",
        "COPY \"a.b\".\"c\" () FROM stdin",
        "COPY public.pg_own (a) FROM stdin",
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
        "COPY pg_catalog.pg_authid (rolname) FROM stdin",
        "COPY \"pg_authid\" FROM stdin",
    ] {
        assert!(!is_copy_of_rows(other), "{other}");
    }
}

#[test]
fn words_of_a_statement_are_told_from_what_it_quotes() {
    let words = tokenize("SELECT E'it\\'s', 'a''b', \"x\"\"y\", $t$ $$ ' $t$, $1");
    let text = |t: &SqlToken<'_>| matches!(t, SqlToken::Text(_));
    assert_eq!(words.iter().filter(|t| text(t)).count(), 3);
    assert!(words.contains(&SqlToken::Name("\"x\"\"y\"")), "{words:?}");
    assert_eq!(tokenize("'open").len(), 1);
    assert_eq!(tokenize("$$ open").len(), 1);
}

#[test]
fn a_quoted_name_loses_its_two_quotes_alone() {
    let table = [
        ("\"a\"", Some("a")),
        ("\"\"\"a\"\"\"", Some("\"a\"")),
        ("\"a\"\"b\"", Some("a\"b")),
        ("\"\"\"\"", Some("\"")),
        ("\"\"", Some("")),
        ("\"open", None),
        ("Name", Some("name")),
        ("\u{c4}b", Some("\u{c4}b")),
        ("'text'", None),
    ];
    for (text, expected) in table {
        assert_eq!(tokenize(text)[0].to_identifier().as_deref(), expected, "{text}");
    }
}

#[test]
fn an_encoding_is_seen_however_it_is_set() {
    for set in [
        "SET client_encoding = 'LATIN1'",
        "SET\tclient_encoding  TO latin1",
        "set CLIENT_ENCODING='Latin1'",
    ] {
        assert_eq!(encoding(set).as_deref(), Some("LATIN1"), "{set}");
    }
    assert_eq!(encoding("SET search_path = 'client_encoding'"), None);
}

#[test]
fn rows_and_numbers_of_an_archive_are_where_pg_dump_puts_them() {
    let base = crate::restore::sample::sample_toc(&[(1, "TABLE DATA", &[])]);
    let copy = "COPY public.t (a) FROM stdin;\n";
    let program = "COPY public.t (a) FROM PROGRAM 'touch /tmp/x' --FROM stdin;\n";
    // Kind, tag, whether there are rows, the COPY, the definition, the statement that drops it; whether it is refused.
    let table = [
        ("TABLE DATA", "t", true, Some(copy), "", "", false),
        ("TABLE DATA", "t", true, Some(program), "", "", true),
        ("BLOB METADATA", "1..2", false, None, "1\n2\n", "", false),
        ("BLOB METADATA", "1..2", true, Some(program), "1\n2\n", "", true),
        ("DATABASE", "x", true, Some(program), "", "", true),
        ("ACL", "DATABASE x", true, Some(copy), "", "", true),
        ("COMMENT", "DATABASE x", false, None, "COMMENT ON DATABASE x IS 'y';", "", false),
        ("BLOB", "16385", false, None, "SELECT pg_catalog.lo_create('16385');", "", false),
        (
            "BLOB",
            "1 OWNER TO x; ALTER ROLE eve SUPERUSER; --",
            false,
            None,
            "",
            "DROP TABLE x;",
            true,
        ),
        ("SUBSCRIPTION", "s", false, None, "", "DROP SUBSCRIPTION s;\n", false),
        ("TABLE", "t", false, None, "CREATE TABLE t (); -- x\rALTER ROLE eve SUPERUSER;", "", true),
    ];
    for (desc, tag, has_data, copy, defn, drop_stmt, refused) in table {
        let mut head = base.clone();
        let entry = &mut head.entries[0];
        (entry.desc, entry.tag, entry.has_data) = (desc.into(), tag.into(), has_data);
        (entry.defn, entry.drop_stmt) = (defn.into(), drop_stmt.into());
        entry.copy_stmt = copy.map(str::to_owned);
        assert_eq!(check_toc(&head).is_err(), refused, "{desc} {tag} {copy:?} {defn}");
    }
}

"""What comes back on a fresh server is what was there: `pg_dump --create` says the same of both databases."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from backups import dump, in_folder, next_second, record, refused, well
from peers import PASSWORD, group, policy_of, stock_shell
from world.postgres import Postgres, other_versions, postgres

# What is set for a database and is in no archive of pg_dump; `locale` differs by version.
PROPERTIES = """
    CREATE ROLE svc;
    CREATE ROLE boss;
    CREATE DATABASE shop TEMPLATE template0 {locale} OWNER boss CONNECTION LIMIT 23;
    ALTER DATABASE shop SET timezone = 'Europe/Vienna';
    ALTER DATABASE shop SET search_path = app, "Odd, one", public;
    ALTER ROLE svc IN DATABASE shop SET statement_timeout = '5s';
    COMMENT ON DATABASE shop IS 'main ''shop''';
"""
GRANTS = "REVOKE CONNECT ON DATABASE shop FROM PUBLIC; GRANT CONNECT ON DATABASE shop TO svc WITH GRANT OPTION"
CONTENT = """
    CREATE SCHEMA app;
    CREATE TABLE app.names (n text PRIMARY KEY);
    INSERT INTO app.names VALUES ('Ärger'), ('Zebra'), ('apfel'), ('Apfel');
    COMMENT ON TABLE app.names IS E'x\\n--\\n-- Data for Name: n; Type: TABLE DATA\\n--\\n\\nCOPY app.fake (a) FROM stdin;\\n';
    SELECT lo_from_bytea(4711, 'one');
"""
# The newer ones come without ICU.
LOCALES = {
    15: "LOCALE_PROVIDER icu ICU_LOCALE 'de-AT'",
    16: "LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'",
    18: "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'",
}


@pytest.fixture(scope="module", params=[15, 16, 18])
def servers(request) -> Iterator[tuple[int, Postgres, Postgres]]:
    """A version, a server of it that has the database, and a fresh one."""
    programs = other_versions().get(request.param)
    with ExitStack() as stack:
        yield request.param, *(stack.enter_context(postgres(programs=programs)) for _ in range(2))


def described(server: Postgres, database: str) -> str:
    """What `pg_dump --create` says of a database, under one name."""
    text = server.run("pg_dump", "--create", database=database).decode().replace(database, "shop")
    return "\n".join(line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict")))


@pytest.mark.parametrize("form", ["custom", "plain"])
def test_a_fresh_server_gets_the_database_with_all_that_belongs_to_it(servers, form, holdfast, tmp_path):
    version, old, fresh = servers
    if "shop" not in old.databases():
        for statement in PROPERTIES.format(locale=LOCALES[version]).strip().split(";\n"):
            old.sql(statement)
        old.sql(GRANTS)
        old.sql(CONTENT, "shop")
    path = {"PATH": f"{old.programs}:/usr/bin:/bin"}
    stored = in_folder(tmp_path / "backups", "{database}_%Y%m%d_%H%M%S.dump.zst")
    there = policy_of(shop=group(old, ["shop"], stored, {"keep": {"newest": 3}, "format": form}))
    said = record(tmp_path / "backups", dump(holdfast, there, **path, **{PASSWORD: old.password})["backup"])
    assert said["large_objects"] == 1
    here = policy_of(shop=group(fresh, ["shop"], stored, {"keep": {"newest": 3}, "format": form}))
    target = f"back_{form}"
    well(holdfast(here, "restore", "shop/shop", "--to", target, **path, **{PASSWORD: fresh.password}))
    assert described(fresh, target) == described(old, "shop")
    order = "SELECT string_agg(n, ' ' ORDER BY n) FROM app.names"
    assert fresh.sql(order, target) == old.sql(order, "shop")


def test_pgpass_and_the_service_file_are_used_where_the_policy_names_nothing(fresh_database, holdfast, tmp_path):
    database = fresh_database()
    server, stored = database.server, in_folder(tmp_path / "backups", "{database}_%Y%m%d_%H%M%S.dump.zst")
    rules = group(server, [database.name], stored)
    del rules["password"]
    passwords, services = tmp_path / "pgpass", tmp_path / "services"
    passwords.write_text(f"other:*:*:*:wrong\n{server.host}:{server.port}:*:{server.user}:{server.password}\n")
    passwords.chmod(0o644)
    run = ["dump", "--reason", "manual"]
    refused(holdfast(policy_of(shop=rules), *run, PGPASSFILE=str(passwords)), 1, "chmod 0600", str(passwords))
    passwords.chmod(0o600)
    dump(holdfast, policy_of(shop=rules), PGPASSFILE=str(passwords))
    for name in ("host", "port", "user"):
        del rules[name]
    services.write_text(f"[shop]\nhost={server.host}\nport={server.port}\nuser={server.user}\n")
    found = {"PGPASSFILE": str(passwords), "PGSERVICEFILE": str(services)}
    next_second()
    dump(holdfast, policy_of(shop=rules), PGSERVICE="shop", **found)
    refused(holdfast(policy_of(shop=rules), *run, PGSERVICE="nothing", **found), 1, "[nothing]")


def test_the_stock_line_of_plain_sql_goes_on_past_a_missing_role_and_says_so(fresh_database, holdfast, tmp_path):
    database, folder = fresh_database(), tmp_path / "backups"
    server, role = database.server, f"gone_from_{database.name}"
    database.sql(f"CREATE ROLE {role}; CREATE TABLE a (i int); ALTER TABLE a OWNER TO {role}; CREATE TABLE z AS SELECT 1 AS i")
    stored = in_folder(folder, "{database}_%Y%m%d_%H%M%S.sql")
    policy = policy_of(shop=group(server, [database.name], stored, {"format": "plain", "compress": "none"}))
    said = record(folder, dump(holdfast, policy)["backup"])
    database.sql(f"ALTER ROLE {role} RENAME TO {role}_no_more")
    again = fresh_database()
    env = server.env() | {"PATH": f"{server.programs}:/usr/bin:/bin"}
    done = stock_shell(said["restore"].replace("TARGET", again.name), env, folder)
    assert done.returncode == 3 and role in done.stderr, done.stderr
    assert again.sql("SELECT count(*) FROM z") == "1"
    database.sql(f"ALTER ROLE {role}_no_more RENAME TO {role}")
    whole = fresh_database()
    done = stock_shell(said["restore"].replace("TARGET", whole.name), env, folder)
    assert done.returncode == 0, done.stderr
    for each in (database, again, whole):
        server.drop(each.name)
    server.sql(f"DROP ROLE {role}")

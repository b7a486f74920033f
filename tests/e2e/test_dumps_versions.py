"""Newer PostgreSQLs than the one that the packages bring: dumped, restored and verified by their own programs, or refused."""

import os
from collections.abc import Iterator

import pytest

from backups import dump, files, in_folder, record, refused, rows, well
from peers import EVERY_KIND, PASSWORD, Database, dump_text, group, policy_of, stock_shell
from world.postgres import Postgres, major, other_versions, postgres

# These servers come without contrib and XML: in their place stand types and a wrapper of our own.
CONTRIB = """
    CREATE EXTENSION vector WITH SCHEMA ext;
    CREATE DOMAIN ext.citext AS text;
    CREATE DOMAIN ext.hstore AS text;
    CREATE FOREIGN DATA WRAPPER postgres_fdw;
"""
# What older ones don't have.
SINCE = {
    16: "CREATE TABLE app.squeezed (id integer PRIMARY KEY, t text STORAGE EXTERNAL COMPRESSION pglz)",
    18: """CREATE TABLE app.computed (id integer, twice integer GENERATED ALWAYS AS (id * 2) VIRTUAL,
               CONSTRAINT id_is_there NOT NULL id NO INHERIT);
           INSERT INTO app.computed SELECT generate_series(1, 100);""",
}


@pytest.fixture(scope="module", params=[16, 18])
def newer(request) -> Iterator[Postgres]:
    """A server of that version."""
    with postgres(programs=other_versions()[request.param]) as server:
        yield server


@pytest.fixture
def rich(newer) -> Iterator[Database]:
    """A database there with every kind of object."""
    database = Database(newer, f"rich_{len(newer.databases())}")
    newer.sql(f"CREATE DATABASE {database.name}")
    if newer.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'holdfast_owner'") == "0":
        database.load(EVERY_KIND.with_name("roles.sql"))
    lines = EVERY_KIND.read_text().splitlines()
    begin = next(at for at, line in enumerate(lines) if line.startswith("CREATE EXTENSION"))
    lines = lines[:begin] + CONTRIB.splitlines() + [line for line in lines[begin:] if not line.startswith("CREATE EXTENSION")]
    database.sql("\n".join(lines).replace(" xml,", " text,"))
    database.sql(SINCE[major(newer.programs / "postgres")])
    yield database
    for name in newer.databases():
        newer.drop(name)


@pytest.fixture
def policy(rich, holdfast, tmp_path) -> dict:
    """Dumps of it into a folder, by the programs of its version."""
    holdfast.env |= {PASSWORD: rich.server.password, "PATH": f"{rich.server.programs}:{os.environ['PATH']}"}
    stored_as = in_folder(tmp_path / "backups", "{database}_%Y%m%d_%H%M%S.dump.zst")
    return policy_of(shop=group(rich.server, [rich.name], stored_as, {"keep": {"newest": 3}, "jobs": 3}))


def test_every_kind_of_object_comes_back_from_a_newer_server(rich, policy, holdfast, tmp_path):
    server, folder = rich.server, tmp_path / "backups"
    before = dump_text(server, rich.name)
    said = record(folder, dump(holdfast, policy)["backup"])
    counted = {name: int(rich.sql(f"SELECT count(*) FROM ONLY {name}")) for name in rows(said)}
    assert counted == rows(said) and sum(counted.values()) > 15_000
    well(holdfast(policy, "restore", f"shop/{rich.name}", "--to", "back"))
    assert dump_text(server, "back") == before.replace(f"{rich.name};", "back;")
    well(holdfast(policy, "verify", "--full", "--all"))

    server.sql("CREATE DATABASE by_hand")
    env = server.env() | {"PATH": f"{server.programs}:{os.environ['PATH']}"}
    done = stock_shell(said["restore"].replace("TARGET", "by_hand"), env, folder)
    assert done.returncode == 0, f"{said['restore']}\n{done.stderr}"
    assert dump_text(server, "by_hand", "--no-owner") == dump_text(server, rich.name, "--no-owner")


def test_a_newer_server_than_every_client_is_refused_before_anything_is_written(rich, policy, holdfast, tmp_path):
    older = major(rich.server.programs / "postgres")
    ran = holdfast(policy, "dump", "--reason", "manual", PATH=os.environ["PATH"])
    refused(ran, 1, f"the server is PostgreSQL {older}", "only pg_dump 15", f"apt install postgresql-client-{older}")
    assert files(tmp_path / "backups") == set()


def test_a_dump_of_an_older_server_is_restored_into_a_newer_one(rich, policy, holdfast, fresh_database, tmp_path):
    older = fresh_database()
    older.sql("CREATE TABLE t (id integer PRIMARY KEY, v text); INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 5000) i")
    stored_as = policy["postgres"]["shop"]["storage"]
    password = {PASSWORD: older.server.password}
    there = policy_of(shop=group(older.server, [older.name], stored_as, {"keep": {"newest": 3}}))
    dump(holdfast, there, **password)
    moved = policy_of(shop=group(rich.server, [older.name], stored_as, {"keep": {"newest": 3}}))
    well(holdfast(moved, "restore", f"shop/{older.name}", "--to", "moved"))
    assert rich.server.sql("SELECT count(*), min(v) FROM t", "moved") == older.sql("SELECT count(*), min(v) FROM t")

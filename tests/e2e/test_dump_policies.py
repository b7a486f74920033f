"""IndoStar's three groups of dumps as policies/indostar-naturals.yaml has them; only the server's address is another (I2, I6)."""

import csv
import gzip
import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from local import ROOT, Ran, World
from peers import dump_text
from world import fleet
from world.postgres import Postgres

BUCKET, DATABASE, USER = "indostar-backups-primary", "indostar_naturals", "indostar_user"
OWNER = "indostar-naturals@111122223333/us-east-1"
PASSWORD = "ein Passwort: äöü'\"$"
SCHEMA = """
    CREATE TABLE orders (id int PRIMARY KEY, buyer text, created_at timestamptz NOT NULL);
    INSERT INTO orders SELECT n, 'Käufer, "' || n || '"', now() - n * interval '1 day' FROM generate_series(1, 90) AS n;
    CREATE TABLE stock (item text PRIMARY KEY, pieces int);
    INSERT INTO stock VALUES ('turmeric', 7), ('ginger', NULL);
    CREATE TABLE labels AS SELECT md5(n::text) AS label FROM generate_series(1, 350) AS n; -- as much as the dumps before have
"""


@pytest.fixture(scope="module")
def server(postgres_server) -> Iterator[Postgres]:
    """The server with IndoStar's user and database."""
    quoted = PASSWORD.replace("'", "''")
    postgres_server.sql(f"CREATE ROLE {USER} LOGIN CREATEDB PASSWORD '{quoted}'")
    postgres_server.sql(f"CREATE DATABASE {DATABASE} OWNER {USER}")
    postgres_server.sql(f"SET ROLE {USER}; {SCHEMA}", DATABASE)
    yield postgres_server
    for name in (DATABASE, "indostar_check"):
        postgres_server.drop(name)
    postgres_server.sql(f"DROP ROLE {USER}")


@pytest.fixture(scope="module")
def policy(server) -> dict:
    """The policy, with the address of the test's server."""
    policy = yaml.safe_load((ROOT / "policies" / "indostar-naturals.yaml").read_text())
    for group in policy["postgres"].values():
        group |= {"host": server.host, "port": server.port}
        del group["tls_ca"]  # RDS's authority, which has not signed the test's server
    return policy


@pytest.fixture(scope="module")
def world(bare) -> World:
    """AWS with IndoStar's bucket."""
    s3 = bare.client("s3", "us-east-1")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    return bare


def run(world: World, policy: dict, *arguments: str) -> Ran:
    """Runs the command as IndoStar's CronJob does, with the password in PGPASSWORD."""
    ran = world.holdfast(*arguments, policy=policy, PGPASSWORD=PASSWORD)
    assert PASSWORD not in ran.out + ran.err
    return ran


def dumps(world: World, prefix: str) -> list[str]:
    """The dumps under a prefix that count, by name."""
    keys = world.objects(BUCKET, prefix)
    return sorted(key for key in keys if f"{key}.json" in keys)


def made(world: World, policy: dict, prefix: str, *arguments: str) -> list[str]:
    """The dumps that a run of `holdfast dump` makes."""
    before = set(dumps(world, prefix))
    done = run(world, policy, "dump", *arguments)
    assert done.code == 0, done
    return [key for key in dumps(world, prefix) if key not in before]


def restored(world: World, server: Postgres, key: str, fresh_database) -> str:
    """The text of a database that stock pg_restore made of a dump alone; who owns what is left aside."""
    target = fresh_database()
    server.run("pg_restore", "--exit-on-error", "--no-owner", "-d", target.name, stdin=world.body(BUCKET, key))
    return dump_text(server, target.name, "--no-owner")


@pytest.fixture(scope="module")
def history(world, server) -> list[str]:
    """Dumps of the last 36 nights but the newest, as earlier runs left them; oldest first."""
    now = datetime.now(UTC)
    newest = fleet.last_slot(now, 2)
    told = {"version": "15", "version_num": 150000,
            "system_identifier": server.sql("SELECT system_identifier FROM pg_control_system()")}
    keys = []
    mark = fleet.mark(BUCKET, "daily/", newest - timedelta(days=37), OWNER)
    world.client("s3", "us-east-1").put_object(Bucket=BUCKET, Key=mark.key, Body=mark.body)
    for night in range(36, 0, -1):
        slot = newest - timedelta(days=night)
        keys.append(f"daily/indostar_{slot:%Y%m%d_%H%M%S}.sql.gz")
        for each in fleet.dump(BUCKET, keys[-1], slot, slot + timedelta(seconds=9), owner=OWNER, key=keys[-1].removeprefix("daily/"),
                               group="daily-dumps", database=DATABASE, reason="daily", server=told):
            world.client("s3", "us-east-1").put_object(Bucket=BUCKET, Key=each.key, Body=each.body)
    return keys


def test_the_daily_dump_is_what_their_script_made_and_the_newest_thirty_stay(world, policy, server, history, fresh_database):
    """I2; and one of each of twelve months."""
    (key,) = made(world, policy, "daily/", "daily-dumps")
    assert re.fullmatch(r"daily/indostar_\d{8}_\d{6}\.sql\.gz", key)
    assert restored(world, server, key, fresh_database) == dump_text(server, DATABASE, "--no-owner")
    left = dumps(world, "daily/")
    newest = [*history, key][-30:]
    assert set(newest) <= set(left)
    older = [each for each in left if each not in newest]
    months = [re.search(r"_(\d{6})", each)[1] for each in older]
    assert len(months) == len(set(months)) <= 2, "of the older ones the last of a month"
    assert set(older) < set(history[:7])
    gone = set(history) - set(left)
    assert gone and not [name for name in world.objects(BUCKET) if any(name.startswith(each) for each in gone)]


def test_a_second_run_on_the_same_day_does_nothing(world, policy):
    before = world.objects(BUCKET)
    assert run(world, policy, "dump", "daily-dumps").code == 0
    assert world.objects(BUCKET) == before


def test_a_dump_before_a_change_has_their_name_and_reads_with_stock_tools(world, policy, server, fresh_database):
    (key,) = made(world, policy, "manual/", "manual-dumps", "--reason", "manual")
    assert re.fullmatch(r"manual/backup-manual-\d{8}-\d{6}\.sql\.gz", key)
    assert restored(world, server, key, fresh_database) == dump_text(server, DATABASE, "--no-owner")


def test_one_table_alone_is_dumped(world, policy, server, fresh_database):
    """I6."""
    (key,) = made(world, policy, "exports/", "exports", "--reason", "tables")
    text = restored(world, server, key, fresh_database)
    assert text == dump_text(server, DATABASE, "--no-owner", "--table=orders")
    assert "stock" not in text


def test_a_table_and_a_query_are_exported_as_csv(world, policy, server):
    """I6."""
    keys = made(world, policy, "exports/", "exports", "--reason", "csv")
    tables = {json.loads(world.body(BUCKET, f"{key}.json"))["table"]: key for key in keys}
    assert set(tables) == {"orders", "orders-30days"}
    rows = {}
    for table, key in tables.items():
        assert key.endswith(".csv.gz")
        text = gzip.decompress(world.body(BUCKET, key)).decode()
        rows[table] = list(csv.DictReader(io.StringIO(text)))
    assert [int(row["id"]) for row in rows["orders"]] == list(range(1, 91))
    assert rows["orders"][6]["buyer"] == 'Käufer, "7"'
    assert 29 <= len(rows["orders-30days"]) <= 30


def test_what_lies_there_is_listed_verified_and_restored(world, policy, server):
    listed = run(world, policy, "list", "daily-dumps", "--json")
    assert listed.code == 0 and {each["state"] for each in listed.json} == {"good"}
    full = run(world, policy, "verify", "daily-dumps", "--full", "--json")
    assert full.code == 0, full
    done = run(world, policy, "restore", f"daily-dumps/{DATABASE}", "--to", "indostar_check")
    assert done.code == 0, done
    assert dump_text(server, "indostar_check") == dump_text(server, DATABASE)


def test_a_wrong_password_is_one_clear_error(world, policy):
    def stored() -> dict:
        """All objects but the record of operations, which tells of the failure."""
        return {key: each for key, each in world.objects(BUCKET).items() if not key.startswith("audit/")}

    before = stored()
    ran = world.holdfast("dump", "manual-dumps", "--reason", "manual", policy=policy, PGPASSWORD="not this")
    assert ran.code == 2 and "password authentication failed" in ran.out + ran.err, ran
    assert stored() == before

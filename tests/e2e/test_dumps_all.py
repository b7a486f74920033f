"""`databases: all`: every database of a real server is dumped, a new one by the next run, and one that is gone keeps its dumps."""

import pytest

from backups import good, in_folder, listed, record, well
from peers import policy_of
from world.postgres import postgres

DAILY = {"schedule": {"cron": "0 2 * * *"}, "keep": {"newest": 1}}


@pytest.fixture(scope="module")
def server():
    """A server of the module's own: what all means must be known."""
    with postgres() as running:
        for name in ("orders", "scratch_1", "a_template"):
            running.sql(f"CREATE DATABASE {name}")
        running.sql("CREATE TABLE rows AS SELECT i FROM generate_series(1, 10) i", "orders")
        running.sql("ALTER DATABASE a_template IS_TEMPLATE true ALLOW_CONNECTIONS false")
        yield running


def everything(server, folder, **more) -> dict:
    """A policy that dumps all of a server."""
    group = {"databases": "all", "exclude": ["scratch_*"], "host": server.host, "port": server.port, "user": server.user,
             "password": {"env": "PGPASSWORD"}, "storage": in_folder(folder), "dumps": {"daily": DAILY}}
    return policy_of(main=group | more)


def found(ran) -> set[tuple[str, str]]:
    """What a run found, by asset."""
    return {(each["code"], each["asset"]) for each in ran.json["findings"]}


def test_all_is_every_database_that_takes_connections_and_follows_the_server(holdfast, server, folder):
    policy, login = everything(server, folder), {"PGPASSWORD": server.password}
    first = well(holdfast(policy, "dump", "--json", **login))
    assert {each["database"] for each in listed(holdfast, policy, **login)} == {"orders", "postgres"}
    assert {each["asset"] for each in first.json["outcomes"]} == {"main/orders", "main/postgres"}

    # The next run dumps a new one and nothing else, for nothing else is due.
    server.sql("CREATE DATABASE new")
    second = well(holdfast(policy, "dump", "--json", **login))
    assert [each["asset"] for each in second.json["outcomes"]] == ["main/new"]
    rows = holdfast(policy, "status", "--json", **login).json["assets"]
    assert {each["asset"] for each in rows} >= {"new", "orders", "postgres"}

    # One that is gone is said, keeps its dump, and can be restored.
    server.sql("DROP DATABASE orders")
    third = well(holdfast(policy, "dump", "--json", **login))
    assert ("database-gone", "main/orders") in found(third)
    kept = good(holdfast, policy, "main/orders", **login)
    assert len(kept) == 1 and record(folder, kept[0])["database"] == "orders"
    well(holdfast(policy, "restore", "main/orders", "--to", "orders", **login))
    assert server.sql("SELECT count(*) FROM rows", "orders") == "10"

    # A file in a folder that is called like a group is a file.
    well(holdfast(policy, "verify", kept[0], **login))


def test_a_list_says_in_a_real_run_which_databases_nobody_dumps(holdfast, server, folder):
    policy, login = everything(server, folder, databases=["postgres"]), {"PGPASSWORD": server.password}
    server.sql("CREATE DATABASE forgotten")
    ran = well(holdfast(policy, "dump", "--json", **login))
    assert ("unprotected", "main/forgotten") in found(ran)
    assert not any("scratch" in asset for _, asset in found(ran))


def test_one_that_is_not_on_the_server_is_refused_by_its_name(holdfast, server, folder):
    policy, login = everything(server, folder), {"PGPASSWORD": server.password}
    ran = holdfast(policy, "dump", "main/nothing", "--reason", "daily", "--json", **login)
    assert ran.code == 64 and "unknown-asset" in ran.out + ran.err, (ran.code, ran.out, ran.err)

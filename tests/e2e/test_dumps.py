"""Dumps as a host takes them: their layout, when they are taken, how they are listed, and what is let go."""

import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import jsonschema
import pytest
import yaml

from backups import dump, files, good, in_folder, listed, record, refused, rows, well, whole
from local import ROOT, clock_env, set_clock
from peers import Database, group, policy_of, stored
from world.postgres import postgres

DAILY = {"schedule": {"cron": "0 2 * * *"}, "keep": {"daily": 7}}
WEEKLY = {"schedule": {"cron": "0 2 * * 0"}, "keep": {"weekly": 4}}
BEFORE_RESTORE = {"keep": {"for": "30d"}}
SCHEMA = yaml.safe_load((ROOT / "docs" / "manifest.schema.json").read_text())


@pytest.fixture
def shop(fresh_database) -> Database:
    """A small database."""
    database = fresh_database()
    database.sql("CREATE TABLE nothing ()")
    database.sql("CREATE TABLE orders AS SELECT i AS id, 'Größe ' || i AS what FROM generate_series(1, 500) i")
    return database


def scheduled(database: Database, folder, **more) -> dict:
    """A policy with daily and weekly dumps in a directory."""
    dumps = {"daily": DAILY, "weekly": WEEKLY, "pre-restore": BEFORE_RESTORE}
    return policy_of(shop=group(database.server, [database.name], in_folder(folder)) | {"dumps": dumps} | more)


def last_due(now: datetime, weekday: int | None = None) -> str:
    """The last 02:00 (of a weekday), as it stands in records."""
    due = now.replace(hour=2, minute=0, second=0, microsecond=0)
    while due > now or weekday not in (None, due.weekday()):
        due -= timedelta(days=1)
    return f"{due:%Y-%m-%dT%H:%M:%SZ}"


# -- layout ----------------------------------------------------------------------------------------------------------------


def test_a_folder_for_each_reason_with_modes_hash_and_commit_record(holdfast, shop, folder):
    policy = scheduled(shop, folder)
    now = datetime.now(UTC)
    well(holdfast(policy, "dump"))
    dump(holdfast, policy, reason="pre-restore")

    there = stored(folder)
    at = r"\d{8}_\d{6}"
    for kind, weekday in [("daily", None), ("weekly", 6)]:
        # The name says when its data was read, within the moment that it takes to begin; the slot stands in the record.
        (name,) = [name for name in there if re.fullmatch(f"{kind}/{shop.name}_{at}\\.dump\\.zst", name)]
        said = record(folder, name)
        named = datetime.strptime(f"{name[-24:-9]}Z", "%Y%m%d_%H%M%S%z")
        assert now.replace(microsecond=0) <= named <= datetime.fromisoformat(said["data_time"]) <= named + timedelta(seconds=30)
        assert said["slot"] == last_due(now, weekday)
    assert {name for name in there if name.endswith("/")} == {"daily/", "weekly/", "pre-restore/"}
    assert {kept.mode for name, kept in there.items() if name.endswith("/")} == {"750"}
    assert {kept.mode for name, kept in there.items() if not name.endswith("/")} == {"640"}
    objects = [name for name in there if name.endswith(".dump.zst")]
    assert len(objects) == 3
    assert files(folder) == whole(*objects)
    for each in objects:
        file = folder / each
        subprocess.run(["sha256sum", "--check", "--strict", f"{file.name}.sha256"], cwd=file.parent, check=True)
        jsonschema.validate(record(folder, each), SCHEMA, format_checker=jsonschema.FormatChecker())


def test_the_commit_record_says_what_is_in_the_dump(holdfast, shop, folder):
    shop.sql("CREATE EXTENSION hstore")
    item = dump(holdfast, scheduled(shop, folder), reason="daily")
    said = record(folder, item["backup"])
    assert rows(said) == {"public.orders": 500, "public.nothing": 0}
    assert {each["name"] for each in said["extensions"]} >= {"plpgsql", "hstore"}
    assert (said["database"], said["reason"], said["slot"]) == (shop.name, "daily", None)
    assert said["server"]["version_num"] == int(shop.sql("SHOW server_version_num"))
    assert said["file"]["bytes"] == (folder / item["backup"]).stat().st_size
    roles = {each["name"]: each for each in said["roles"]}
    assert roles["postgres"]["superuser"] and not any("password" in word.lower() for each in said["roles"] for word in each)


# -- when it is taken ------------------------------------------------------------------------------------------------------


def test_what_is_due_is_taken_once(holdfast, shop, folder):
    policy = scheduled(shop, folder)
    planned = well(holdfast(policy, "dump", "--dry-run", "--json")).json
    assert [each["result"] for each in planned["outcomes"]] == ["planned"] * 2
    assert not folder.exists() or not good(holdfast, policy)
    assert len(well(holdfast(policy, "dump", "--json")).json["outcomes"]) == 2
    before = stored(folder)
    assert well(holdfast(policy, "dump", "--json")).json["outcomes"] == []
    assert stored(folder) == before
    assert len(good(holdfast, policy)) == 2


def test_a_dump_is_asked_for_by_its_reason_group_and_database(holdfast, shop, fresh_database, folder):
    other = fresh_database()
    policy = scheduled(shop, folder)
    policy["postgres"]["shop"]["databases"].append(other.name)
    well(holdfast(policy, "dump", f"shop/{other.name}", "--reason", "weekly"))
    assert [(each["database"], each["reason"]) for each in listed(holdfast, policy)] == [(other.name, "weekly")]
    refused(holdfast(policy, "dump", "--reason", "hourly"), 64, "daily", "weekly")
    refused(holdfast(policy, "dump", "stock"), 64, "stock", f"shop/{other.name}")
    refused(holdfast(policy, "list", "stock"), 64, "stock")
    assert len(listed(holdfast, policy)) == 1


def test_several_databases_are_dumped_and_one_that_fails_keeps_none_from_it(holdfast, shop, fresh_database, folder):
    names = [shop.name, "missing here", fresh_database('Größe "2"; x/y').name]
    policy = policy_of(shop=group(shop.server, names, in_folder(folder)))
    refused(holdfast(policy, "dump", "--reason", "manual"), 2, "missing here", "does not exist")
    assert {each["database"] for each in listed(holdfast, policy)} == {names[0], names[2]}


# -- how it is listed ------------------------------------------------------------------------------------------------------


def test_the_list_is_for_people_and_for_programs(holdfast, shop, folder):
    policy = scheduled(shop, folder)
    assert "no dumps" in well(holdfast(policy, "list")).out
    item = dump(holdfast, policy, reason="weekly")
    expected = {"group": "shop", "database": shop.name, "rows": 500, "encrypted": False, "state": "good"}
    assert expected.items() <= item.items()
    assert item["bytes"] == (folder / item["backup"]).stat().st_size
    assert item["backup"] in well(holdfast(policy, "list", "shop")).out
    well(holdfast(policy, "verify", item["backup"]))


def test_files_of_others_are_no_backups_and_stay(holdfast, shop, folder):
    policy = scheduled(shop, folder)
    (folder / "daily").mkdir(parents=True)
    mine = {f"daily/{shop.name}_20250101_020000.dump.zst": b"not ours", "daily/README": b"hello", "notes.json": b"{"}
    for name, text in mine.items():
        (folder / name).write_bytes(text)
    well(holdfast(policy, "dump", "--reason", "daily"))
    states = {each["backup"]: each["state"] for each in listed(holdfast, policy)}
    assert sorted(states.values()) == ["foreign", "good"]
    assert all((folder / name).read_bytes() == text for name, text in mine.items())


# -- what is let go --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dated():
    """A server whose time of day is moved together with the command's, and the file that moves both."""
    with TemporaryDirectory(prefix="holdfast-clock-") as home:
        Path(home).chmod(0o755)  # the server's user reads the clock too
        clock = Path(home) / "clock"
        set_clock(clock, 0)
        with postgres(extra=clock_env(clock)) as server:
            yield server, clock


@pytest.fixture
def days(dated, holdfast, tmp_path):
    """Runs `holdfast dump` on one day after the other: `days(policy of a database, days)`."""
    server, clock = dated
    name = f"shop_{tmp_path.name}".lower()[:60]
    server.sql(f'CREATE DATABASE "{name}"')
    database = Database(server, name)
    holdfast.env |= clock_env(clock) | {"DATABASE_PASSWORD": server.password}

    def run(policy: dict, *on: int, more: tuple = ()) -> list:
        results = []
        for day in on:
            set_clock(clock, timedelta(days=day).total_seconds())
            results.append(well(holdfast(policy, "dump", "--json", *more)).json)
        return results

    yield run, database
    server.drop(name)


def test_old_dumps_go_and_with_them_all_that_lies_beside(holdfast, days, folder):
    run, database = days
    policy = scheduled(database, folder, dumps={"daily": DAILY | {"keep": {"daily": 2}}})
    *_, last = run(policy, 1, 2, 3, 4)
    left = good(holdfast, policy)
    assert len(left) == 2
    assert [each["result"] for each in last["retention"]["outcomes"]] == ["done"]
    assert files(folder) == whole(*left)


def test_a_held_dump_stays_until_it_is_released(holdfast, days, folder):
    run, database = days
    policy = scheduled(database, folder, dumps={"daily": DAILY | {"keep": {"daily": 2}}})
    run(policy, 1)
    first, = good(holdfast, policy)
    well(holdfast(policy, "hold", first, "--reason", "audit 2026"))
    run(policy, 2, 3, 4)
    assert good(holdfast, policy)[2:] == [first]
    assert "audit 2026" in well(holdfast(policy, "list")).out
    well(holdfast(policy, "release", first))
    run(policy, 5)
    assert len(good(holdfast, policy)) == 2


def test_so_many_good_dumps_always_stay(holdfast, days, folder):
    run, database = days
    policy = scheduled(database, folder, dumps={"daily": DAILY | {"keep": {"for": "1h"}}}, min_backups=3)
    run(policy, 1, 2, 3, 4, 5)
    assert len(good(holdfast, policy)) == 3


def test_nothing_goes_when_that_is_asked_and_never_most_at_once(holdfast, days, folder):
    run, database = days
    policy = scheduled(database, folder, dumps={"daily": DAILY | {"keep": {"newest": 1}}})
    run(policy, 1, 2, 3, more=("--no-retention",))
    assert len(good(holdfast, policy)) == 3
    refused(holdfast(policy, "dump"), 5, "2 of 3 good points would go at once", "limits: { delete: { count: 500, share: 67% } }")
    assert len(good(holdfast, policy)) == 3

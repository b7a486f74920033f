"""A dump in the place of a living database, and the proof by a test restore: all of it, or all as it was."""

import signal
import subprocess
from pathlib import Path

import pytest

from backups import dump, ended, good, in_folder, listed, refused, well
from local import until
from peers import Database, group, policy_of


@pytest.fixture
def folder(tmp_path) -> Path:
    """Where the dumps lie."""
    return tmp_path / "backups"


@pytest.fixture
def shop(fresh_database) -> Database:
    """A small database with a person in it."""
    database = fresh_database()
    database.sql("CREATE TABLE orders AS SELECT i AS id, i % 7 AS person FROM generate_series(1, 500) i")
    return database


def policy(shop: Database, folder: Path, **more) -> dict:
    """A policy that dumps it, with more said of its group."""
    return policy_of(shop=group(shop.server, [shop.name], in_folder(folder), **more))


def beside(shop: Database) -> list[str]:
    """Databases of this test, besides the one that it began with."""
    return sorted(name for name in shop.server.databases() if name.startswith(shop.name) and name != shop.name)


def change(shop: Database) -> None:
    """What happens after the dump, and must be gone or must stay."""
    shop.sql("DELETE FROM orders WHERE id > 100")


def count(shop: Database) -> str:
    """Rows that are there."""
    return shop.sql("SELECT count(*) FROM orders")


def test_the_old_database_is_dumped_first_and_stays_beside_the_restored_one(holdfast, shop, folder):
    rules = policy(shop, folder)
    of = f"shop/{shop.name}"
    item = dump(holdfast, rules)["backup"]
    change(shop)
    refused(holdfast(rules, "restore", of, "--replace"), 64, "--yes")
    well(holdfast(rules, "restore", of, "--replace", "--dry-run"))
    assert (count(shop), beside(shop), good(holdfast, rules)) == ("100", [], [item])

    ran = well(holdfast(rules, "restore", of, "--replace", "--yes", "--json"))
    assert count(shop) == "500"
    (aside,) = beside(shop)
    assert aside.startswith(f"{shop.name}_before_") and ran.json["aside"] == aside
    assert shop.server.sql("SELECT count(*) FROM orders", aside) == "100"
    # The newest is the safety dump now; by the group's name the other is meant, for the safety dump is of what was replaced.
    safety = [each for each in listed(holdfast, rules) if each["reason"] == "pre-restore"]
    assert [each["rows"] for each in safety] == [100]
    assert (folder / safety[0]["backup"]).parent.name == "pre-restore"
    plan = well(holdfast(rules, "restore", of, "--replace", "--dry-run", "--json")).json
    assert plan["backup"].endswith(item)

    well(holdfast(rules, "restore", safety[0]["backup"], "--replace", "--yes", "--no-safety-backup", "--drop-old"))
    assert (count(shop), beside(shop)) == ("100", [aside])


def test_whoever_is_connected_is_disconnected_and_finds_the_restored_rows(holdfast, shop, folder):
    rules = policy(shop, folder)
    dump(holdfast, rules)
    change(shop)
    client = subprocess.Popen([shop.server.programs / "psql", "-XAtq"], env={"PATH": "/usr/bin:/bin"} | shop.env, text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    client.stdin.write("SELECT count(*) FROM orders;\n")
    client.stdin.flush()
    assert client.stdout.readline() == "100\n"
    well(holdfast(rules, "restore", f"shop/{shop.name}", "--replace", "--yes", "--no-safety-backup"))
    _, said = client.communicate("SELECT count(*) FROM orders;\n", timeout=30)
    assert "terminating connection" in said
    assert count(shop) == "500"


@pytest.mark.parametrize("why", ["a check is not true", "a table is empty", "the file is damaged", "the safety dump fails"])
def test_a_restore_that_fails_leaves_everything_as_it_was(why, holdfast, shop, folder):
    more = {"a check is not true": {"checks": {"whole": "SELECT count(*) > 1000 FROM orders"}},
            "a table is empty": {"critical_tables": ["nobody"]}}.get(why, {})
    shop.sql("CREATE TABLE nobody (id integer)")
    rules = policy(shop, folder, **more)
    item = dump(holdfast, rules)["backup"]
    change(shop)
    words, code = {"a check is not true": ("whole", 1), "a table is empty": ("nobody", 1),
                   "the file is damaged": ("restore another backup", 1), "the safety dump fails": ("pre-restore", 3)}[why]
    if why == "the file is damaged":
        data = bytearray((folder / item).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / item).write_bytes(data)
    if why == "the safety dump fails":
        (folder / "pre-restore").write_text("a file is in the way of the directory")
    refused(holdfast(rules, "restore", item, "--replace", "--yes"), code, words)
    assert (count(shop), beside(shop)) == ("100", [])


def test_erased_people_do_not_come_back(holdfast, shop, folder):
    rules = policy(shop, folder, erasure=["DELETE FROM orders WHERE person = 3"])
    dump(holdfast, rules)
    well(holdfast(rules, "restore", f"shop/{shop.name}", "--to", f"{shop.name}_new"))
    left = shop.server.sql("SELECT count(*), count(*) FILTER (WHERE person = 3) FROM orders", f"{shop.name}_new")
    assert left.endswith("|0") and left != "500|0"


def test_what_is_lost_has_its_own_exit_code_and_is_named(holdfast, shop, folder):
    role = f"{shop.name}_reader"
    shop.sql(f"CREATE ROLE {role}; GRANT SELECT ON orders TO {role}")
    rules = policy(shop, folder)
    item = dump(holdfast, rules)["backup"]
    shop.sql(f"DROP OWNED BY {role}; DROP ROLE {role}")
    # Roles are created as they were, without login. With --no-owner none is created, and the grant is lost.
    ran = holdfast(rules, "restore", item, "--to", f"{shop.name}_less", "--no-owner", "--json")
    assert ran.code == 6, f"exit {ran.code}\n{ran.out}\n{ran.err}"
    assert [(loss["class"], role in loss["message"]) for loss in ran.json["losses"]] == [("role", True)]
    assert shop.server.sql("SELECT count(*) FROM orders", f"{shop.name}_less") == "500"
    well(holdfast(rules, "restore", item, "--to", f"{shop.name}_all"))
    shop.server.sql(f"DROP OWNED BY {role}", f"{shop.name}_all")
    shop.sql(f"DROP ROLE {role}")


def test_a_restore_that_is_killed_touches_nothing_and_the_next_cleans_up(holdfast, shop, folder):
    shop.sql("CREATE TABLE large AS SELECT i AS id, md5(i::text) || md5((i * 7)::text) AS filler FROM generate_series(1, 400000) i")
    rules = policy(shop, folder)
    dump(holdfast, rules)
    change(shop)
    process = holdfast.start(rules, "restore", f"shop/{shop.name}", "--replace", "--yes", "--no-safety-backup")
    until("a database beside", lambda: beside(shop))
    process.send_signal(signal.SIGKILL)
    ended(process)
    assert count(shop) == "100"
    (left,) = beside(shop)
    well(holdfast(rules, "restore", f"shop/{shop.name}", "--replace", "--yes", "--no-safety-backup"))
    assert count(shop) == "500" and left not in beside(shop)


def test_a_full_verification_restores_counts_checks_and_leaves_nothing(holdfast, shop, folder, tmp_path):
    rules = policy(shop, folder, critical_tables=["orders"], checks={"people": "SELECT max(person) = 6 FROM orders"},
                   objectives={"size_change": "50%"})
    dump(holdfast, rules)
    report = tmp_path / "report.md"
    ran = well(holdfast(rules, "verify", "--full", "--json", "--markdown", str(report)))
    (verified,) = ran.json
    checks = {each["name"]: each["went"] for each in verified["checks"]}
    assert verified["full"] and verified["good"] and checks["rows of each table"] == "passed"
    assert checks["orders has rows"] == checks["people"] == "passed"
    assert "1 of 1 are good" in report.read_text() and beside(shop) == []

    wrong = policy(shop, folder, checks={"people": "SELECT max(person) = 9 FROM orders"})
    refused(holdfast(wrong, "verify", "--full"), 1, "people")
    assert beside(shop) == []


def test_a_dump_far_from_the_size_of_those_before_fails_its_verification(holdfast, shop, folder):
    rules = policy(shop, folder, objectives={"size_change": "50%"})
    dump(holdfast, rules)
    shop.sql("INSERT INTO orders SELECT (random() * 1e9)::integer, i % 7 FROM generate_series(1, 50000) i")
    until("a dump of another second", lambda: holdfast(rules, "dump", "--reason", "manual").code == 0)
    ran = holdfast(rules, "verify", "--full", "--json")
    assert ran.code == 1, ran.err
    assert [each["name"] for each in ran.json[0]["checks"] if each["went"] == "failed"] == ["size"]

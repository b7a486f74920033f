"""Dumps come back: beside, in the place of what is there, or not at all; and the proof that they would."""

import os
import pty
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from backups import dump, ended, good, in_folder, listed, record, refused, rows, well
from local import until
from peers import Database, group, policy_of

ORDERS = """
    CREATE TABLE orders (id integer PRIMARY KEY, customer text);
    INSERT INTO orders SELECT i, 'customer ' || i FROM generate_series(1, 1000) i;
    CREATE TABLE people (name text); INSERT INTO people VALUES ('kept'), ('erased');
"""
SLOW = {"slow": "SELECT pg_sleep(600) IS NOT NULL"}  # a restore waits in it, and can be met there


@pytest.fixture
def shop(fresh_database) -> Database:
    """A small database."""
    database = fresh_database()
    database.sql(ORDERS)
    return database


@pytest.fixture
def policy(shop, folder) -> Callable[..., dict]:
    """Policies of that database, with more of a group's fields."""
    return lambda **more: policy_of(shop=group(shop.server, [shop.name], in_folder(folder)) | more)


@pytest.fixture
def changed(holdfast, shop, policy) -> Database:
    """The database, dumped and then changed."""
    dump(holdfast, policy())
    shop.sql("DELETE FROM orders WHERE id > 10")
    return shop


def count(shop: Database, name: str | None = None, table: str = "orders") -> str:
    """Rows of a table in a database."""
    return Database(shop.server, name or shop.name).sql(f"SELECT count(*) FROM {table}")


def beside(shop: Database) -> list[str]:
    """The databases that a restore made beside this one."""
    return [name for name in shop.server.databases() if name.startswith(shop.name) and name != shop.name]


def waiting(shop: Database) -> Callable[[], bool]:
    """Whether a restore is in the check that never ends."""
    return lambda: shop.server.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(600)%'") != "0"


def untouched(shop: Database) -> None:
    """The database is as it was, and nothing lies beside it."""
    assert (count(shop), beside(shop)) == ("10", [])


# -- where to --------------------------------------------------------------------------------------------------------------


def test_into_a_new_database_and_never_into_one_that_is_there(holdfast, changed, policy):
    fresh = f"{changed.name} Größe \"2\""
    ran = well(holdfast(policy(), "restore", f"shop/{changed.name}", "--to", fresh, "--json"))
    assert (ran.json["database"], ran.json["warnings"], ran.json["previous_database"]) == (fresh, [], None)
    assert (count(changed, fresh), count(changed)) == ("1000", "10")
    refused(holdfast(policy(), "restore", f"shop/{changed.name}", "--to", fresh), 64, "--replace")
    refused(holdfast(policy(), "restore", f"shop/{changed.name}"), 64, "--to")
    refused(holdfast(policy(), "restore", "shop_20200101.dump", "--to", "never"), 64, "holdfast list")


def test_in_the_place_of_what_is_there(holdfast, changed, policy, folder):
    well(holdfast(policy(), "restore", f"shop/{changed.name}", "--replace", "--yes"))
    assert count(changed) == "1000"
    old, = beside(changed)
    assert old.startswith(f"{changed.name}_before_") and count(changed, old) == "10"
    safety, = (each["backup"] for each in listed(holdfast, policy()) if each["reason"] == "pre-restore")
    assert rows(record(folder, safety))["public.orders"] == 10
    # A safety dump is of what was to be replaced: it is no newest dump to restore.
    assert holdfast(policy(), "restore", f"shop/{changed.name}", "--to", "never", "--dry-run").out.count("pre-restore") == 0
    well(holdfast(policy(), "restore", safety, "--replace", "--yes", "--no-safety-backup", "--drop-old"))
    assert (count(changed), beside(changed)) == ("10", [old])


def test_whoever_is_connected_is_disconnected(holdfast, changed, policy):
    client = subprocess.Popen([changed.server.programs / "psql", "-XAtq"], env=os.environ | changed.env, text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    client.stdin.write("SELECT 'here';\n")
    client.stdin.flush()
    assert client.stdout.readline() == "here\n"
    well(holdfast(policy(), "restore", f"shop/{changed.name}", "--replace", "--yes"))
    out, err = client.communicate("SELECT count(*) FROM orders;\n")
    assert (out, client.returncode) == ("", 2) and "terminating connection" in err
    assert count(changed) == "1000"


def test_nobody_to_ask_means_no(holdfast, changed, policy):
    refused(holdfast(policy(), "restore", f"shop/{changed.name}", "--replace"), 64, "--yes")
    untouched(changed)


@pytest.mark.parametrize("answer", ["yes", "the name"])
def test_a_person_has_to_write_the_name(answer, holdfast, changed, policy):
    begin, env = holdfast.prepare(policy(), {})
    ours, theirs = pty.openpty()
    run = subprocess.Popen([*begin, "restore", f"shop/{changed.name}", "--replace"], cwd=holdfast.folder, env=env, stdin=theirs,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    holdfast.started.append(run)
    os.write(ours, f"{changed.name if answer == 'the name' else answer}\n".encode())
    ran = ended(run)
    os.close(ours)
    os.close(theirs)
    assert "disconnected" in ran.err and changed.name in ran.err
    assert (ran.code, count(changed)) == ((0, "1000") if answer == "the name" else (64, "10")), ran.err


def test_a_dry_run_changes_nothing(holdfast, changed, policy, folder):
    before = good(holdfast, policy())
    ran = well(holdfast(policy(), "restore", f"shop/{changed.name}", "--replace", "--dry-run"))
    assert "nothing was changed" in ran.out and changed.name in ran.out
    untouched(changed)
    assert good(holdfast, policy()) == before


def test_chosen_tables_go_into_a_new_database(holdfast, changed, policy):
    back = f"{changed.name}_back"
    well(holdfast(policy(), "restore", f"shop/{changed.name}", "--to", back, "--table", "orders"))
    assert count(changed, back) == "1000"
    assert Database(changed.server, back).sql("SELECT to_regclass('people')") == ""


def test_erased_people_are_taken_out_again_before_anybody_sees_them(holdfast, changed, policy):
    erasing = policy(erasure=["DELETE FROM people WHERE name = 'erased'"])
    well(holdfast(erasing, "restore", f"shop/{changed.name}", "--replace", "--yes"))
    assert changed.sql("SELECT * FROM people") == "kept"
    wrong = policy(erasure=["DELETE FROM nobody"])
    refused(holdfast(wrong, "restore", f"shop/{changed.name}", "--to", f"{changed.name}_never"), 1, "erasure")
    assert f"{changed.name}_never" not in beside(changed)


# -- what goes wrong -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [{"checks": {"full": "SELECT count(*) > 5000 FROM orders"}}, {"critical_tables": ["none_such"]},
                                  {"erasure": ["DELETE FROM nobody"]}])
def test_a_restore_that_is_not_what_it_should_be_leaves_all_as_it_was(rule, holdfast, changed, policy):
    ran = holdfast(policy(**rule), "restore", f"shop/{changed.name}", "--replace", "--yes")
    refused(ran, 1, f"{changed.name} is as it was")
    untouched(changed)


def test_a_safety_dump_that_cannot_be_taken_stops_it(holdfast, changed, policy, folder):
    (folder / "pre-restore").write_text("in the way")
    refused(holdfast(policy(), "restore", f"shop/{changed.name}", "--replace", "--yes"), 3, "pre-restore")
    untouched(changed)
    well(holdfast(policy(), "restore", f"shop/{changed.name}", "--replace", "--yes", "--no-safety-backup"))


def test_what_could_not_be_restored_is_listed_and_has_its_own_code(holdfast, shop, policy):
    server, owner = shop.server, f"owner_{shop.name}"
    server.sql(f"CREATE ROLE {owner}; CREATE ROLE restorer LOGIN CREATEDB PASSWORD '{server.password}'")
    try:
        shop.sql(f"CREATE EXTENSION pg_stat_statements; ALTER TABLE people OWNER TO {owner}")
        dump(holdfast, policy())
        shop.sql(f"ALTER TABLE people OWNER TO postgres; DROP ROLE {owner}")
        ran = holdfast(policy(user="restorer"), "restore", f"shop/{shop.name}", "--to", f"{shop.name}_back", "--json")
        assert ran.code == 6, ran.err
        losses = {(each["kind"], name) for each in ran.json["warnings"] for name in ("pg_stat_statements", owner)
                  if name in each["statement"] + each["message"]}
        assert {("permission", "pg_stat_statements"), ("role", owner)} <= losses, ran.json["warnings"]
        assert count(shop, f"{shop.name}_back") == "1000" and count(shop, f"{shop.name}_back", "people") == "2"
        text = holdfast(policy(user="restorer"), "restore", f"shop/{shop.name}", "--to", f"{shop.name}_too")
        refused(text, 6, "LOST", "pg_stat_statements", owner)
    finally:
        for name in beside(shop):
            server.drop(name)
        server.sql("DROP ROLE restorer")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_restore_that_is_ended_in_the_middle_leaves_what_the_next_one_drops(how, holdfast, changed, policy):
    run = holdfast.start(policy(checks=SLOW), "restore", f"shop/{changed.name}", "--replace", "--yes")
    until("the restore to be in the middle", waiting(changed))
    assert beside(changed) and count(changed) == "10"
    run.send_signal(how)
    assert ended(run).code == (-how if how == signal.SIGKILL else 130)
    assert count(changed) == "10"
    well(holdfast(policy(), "restore", f"shop/{changed.name}", "--replace", "--yes"))
    assert count(changed) == "1000" and len(beside(changed)) == 1 and "_before_" in beside(changed)[0]


def test_two_restores_of_one_database_at_once(holdfast, changed, policy):
    first = holdfast.start(policy(checks=SLOW), "restore", f"shop/{changed.name}", "--replace", "--yes")
    until("the first to be in the middle", waiting(changed))
    refused(holdfast(policy(), "restore", f"shop/{changed.name}", "--replace", "--yes"), 75, "has it since")
    first.kill()
    ended(first)
    well(holdfast(policy(), "restore", f"shop/{changed.name}", "--replace", "--yes", "--no-safety-backup"))
    assert count(changed) == "1000"


def test_a_nul_in_sql_is_refused_cleanly(holdfast, shop, folder):
    folder.mkdir()
    shop.sql("INSERT INTO orders SELECT i, md5(i::text) FROM generate_series(2000, 20000) i")
    text = shop.server.run("pg_dump", database=shop.name).replace(b"\n20000\t", b"\n20000\t\0")
    file = folder / f"{shop.name}_20251120_020000.sql"
    file.write_bytes(text)
    dumps = policy_of(shop=group(shop.server, [shop.name], in_folder(folder, "{database}_%Y%m%d_%H%M%S.sql")))
    ran = holdfast(dumps, "restore", file.name, "--to", f"{shop.name}_never")
    refused(ran, 1, "NUL byte")
    assert text.index(b"\0") > 2**19  # where nobody looks who only asks what the file is
    assert beside(shop) == []


# -- the proof -------------------------------------------------------------------------------------------------------------


def test_a_full_verification_restores_counts_and_asks(holdfast, changed, policy, tmp_path):
    rules = policy(checks={"many": "SELECT count(*) = 1000 FROM orders"}, critical_tables=["people"])
    report = tmp_path / "report.md"
    ran = well(holdfast(rules, "verify", "--full", "--json", "--markdown", str(report)))
    proven, = ran.json
    assert (proven["restored"], proven["is_good"], proven["warnings"]) == (True, True, [])
    assert {"rows of each table", "people has rows", "many"} <= {each["name"] for each in proven["checks"]}
    assert all(each["seconds"] >= 0 for each in proven["durations"])
    assert changed.name in report.read_text() and "many" in report.read_text()
    assert beside(changed) == []


@pytest.mark.parametrize("rule", [{"checks": {"more": "SELECT count(*) > 1000 FROM orders"}}, {"critical_tables": ["nothing"]}])
def test_a_check_that_is_not_true_fails_the_verification(rule, holdfast, changed, policy, tmp_path):
    changed.sql("CREATE TABLE nothing ()")
    holdfast_policy = policy(**rule)
    holdfast_policy["postgres"]["shop"]["dumps"]["other"] = {"keep": {"newest": 1}}
    dump(holdfast, holdfast_policy, reason="other")
    ran = holdfast(holdfast_policy, "verify", "--full", "--markdown", str(tmp_path / "report.md"))
    refused(ran, 1, "FAILED", *rule.get("checks", ["nothing has rows"]))
    assert "FAILED" in (tmp_path / "report.md").read_text().upper()
    assert beside(changed) == []


def test_a_size_far_from_those_before_fails_the_verification(holdfast, shop, folder):
    large = group(shop.server, [shop.name], in_folder(folder, "{reason}/%Y%m%d_%H%M%S.dump"), {"compress": "none"})
    dumps = policy_of(shop=large | {"objectives": {"max_size_deviation": "50%"}})
    dump(holdfast, dumps)
    well(holdfast(dumps, "verify", "--full"))
    shop.sql("INSERT INTO orders SELECT i, md5(i::text) FROM generate_series(2000, 9000) i")
    until("the next second, for a name of its own", lambda: holdfast(dumps, "dump", "--reason", "manual").code == 0)
    assert len(good(holdfast, dumps)) == 2
    refused(holdfast(dumps, "verify", "--full"), 1, "size", "median")


def test_all_are_verified_at_once(holdfast, changed, policy):
    rules = policy()
    rules["postgres"]["shop"]["dumps"]["other"] = {"keep": {"newest": 1}}
    dump(holdfast, rules, reason="other")
    proven = well(holdfast(rules, "verify", "--all", "--jobs", "4", "--json")).json
    assert [each["is_good"] for each in proven] == [True, True] and not any(each["restored"] for each in proven)
    proven = well(holdfast(rules, "verify", "--all", "--full", "--jobs", "4", "--json")).json
    assert [each["is_good"] for each in proven] == [True, True] and all(each["restored"] for each in proven)
    assert changed.server.databases() == [changed.name]


def test_a_server_that_is_away_is_no_fault_of_the_dump(holdfast, changed, policy):
    away = {"host": "127.0.0.1", "port": 1}
    ran = holdfast(policy(scratch=away), "verify", "--full", "--json")
    refused(ran, 2)
    assert [(each["verdict"], each["is_good"]) for each in ran.json] == [("could-not-verify", False)]
    refused(holdfast(policy(port=1), "restore", f"shop/{changed.name}", "--to", "never"), 2)
    well(holdfast(policy(port=1), "verify"))


# -- where test restores run -----------------------------------------------------------------------------------------------


def test_a_test_restore_does_not_need_the_server_that_is_backed_up(holdfast, changed, policy):
    proven, = well(holdfast(policy(port=1), "verify", "--full", "--json")).json
    assert proven["verdict"] == "good"
    assert "a server of their own" in well(holdfast(policy(), "policy", "check")).out


def test_on_the_server_that_is_backed_up_only_in_words(holdfast, changed, policy):
    here = {"host": "127.0.0.1", "port": changed.server.port}
    refused(holdfast(policy(host="127.0.0.1", scratch=here), "verify", "--full"), 64, "production: true")
    words = policy(scratch={"production": True}, checks={"here": f"SELECT current_setting('port') = '{changed.server.port}'"})
    assert "the server that is backed up" in well(holdfast(words, "policy", "check")).out
    well(holdfast(words, "verify", "--full"))
    assert beside(changed) == []
    assert changed.server.sql("SELECT count(*) FROM pg_roles WHERE rolname LIKE '%holdfast%'") == "0"


def test_a_killed_test_restore_leaves_no_server(holdfast, changed, policy):
    home = Path(tempfile.mkdtemp(prefix="holdfast-e2e-"))
    home.chmod(0o1777)
    try:
        run = holdfast.start(policy(checks=SLOW, scratch={"directory": str(home)}), "verify", "--full")
        until("the scratch server", lambda: list(home.glob("*/data/postmaster.pid")))
        run.kill()
        ended(run)
        until("it to be gone", lambda: not list(home.iterdir()))
    finally:
        shutil.rmtree(home, ignore_errors=True)


def test_files_of_others_are_judged_before_anything_of_them_runs(holdfast, shop, folder):
    folder.mkdir()
    foreign = policy_of(shop=group(shop.server, [shop.name], in_folder(folder, "{database}_%Y%m%d_%H%M%S.sql"))
                        | {"scratch": {"production": True}})
    file = folder / f"{shop.name}_20251120_020000.sql"
    end = b"\n--\n-- PostgreSQL database dump complete\n--\n"
    evil = [
        ("DROP DATABASE", f'DROP DATABASE "{shop.name}";'.encode() + end),
        ("DROP DATABASE", shop.server.run("pg_dump", "-C", "-c", database=shop.name)),
        ("psql command", b"SET row_security = off;\n\\connect postgres\n" + end),
        ("no archive of pg_dump and no SQL", b"<html>503</html>"),
        ("lacks the line", b"SET row_security = off;\n"),
        ("ends before the dump is complete",
         shop.server.run("pg_dump", "-a", "-t", "people", database=shop.name).split(b"--\n-- PostgreSQL database dump complete")[0]),
    ]
    for said, text in evil:
        file.write_bytes(text)
        refused(holdfast(foreign, "verify", file.name), 1, said)
        refused(holdfast(foreign, "verify", file.name, "--full"), 1, said)
        refused(holdfast(foreign, "restore", file.name, "--to", f"{shop.name}_never"), 1, said)
        assert (count(shop), beside(shop)) == ("1000", [])


def test_a_dump_of_some_tables_replaces_no_database(holdfast, changed, policy):
    narrow = policy()
    narrow["postgres"]["shop"]["dumps"]["few"] = {"keep": {"newest": 1}, "tables": ["people"]}
    dump(holdfast, narrow, reason="few")
    few, = (each["backup"] for each in listed(holdfast, narrow) if each["reason"] == "few")
    refused(holdfast(narrow, "restore", few, "--replace", "--yes"), 1, "a part of")
    untouched(changed)
    # It is not the newest of its database.
    well(holdfast(narrow, "restore", f"shop/{changed.name}", "--replace", "--yes"))
    assert count(changed) == "1000"


def test_what_comes_back_in_part_has_one_judgement(holdfast, shop, policy):
    shop.sql("""CREATE FUNCTION lower2(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower(t)';
        CREATE FUNCTION norm(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN lower2(t); END $$;
        CREATE INDEX ON people (norm(name))""")
    dump(holdfast, policy())
    ran = holdfast(policy(), "verify", "--full")
    refused(ran, 6, "WITH LOSSES")
    refused(holdfast(policy(), "restore", f"shop/{shop.name}", "--replace", "--yes"), 1, "--accept-losses", "pg_restore")
    assert beside(shop) == []
    refused(holdfast(policy(), "restore", f"shop/{shop.name}", "--replace", "--yes", "--accept-losses"), 6, "LOST")
    for name in ["template1", "postgres"]:
        refused(holdfast(policy(), "restore", f"shop/{shop.name}", "--replace", name, "--yes"), 1, "the server's own")

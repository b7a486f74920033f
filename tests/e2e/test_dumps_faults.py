"""Faults while a dump is taken: each ends in a clear error and exit code, nothing counts as a backup, nothing good is lost."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest

from backups import LARGE, dump, ended, files, good, in_folder, listed, locked, refused, well, whole
from local import Ran, until
from peers import PASSWORD, Database, group, policy_of
from world.postgres import postgres

LEASES = "FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND datname = 'faults'"
REASONS = ("before", "manual", "after")
SLOW = "2MB"  # a second: a dump of LARGE can be met in the middle, and its rest is never waited for


@pytest.fixture(scope="module")
def kept(postgres_server):
    """A database that takes a while to write, only read by the tests here."""
    database = Database(postgres_server, "faults")
    postgres_server.sql("CREATE DATABASE faults")
    database.sql(LARGE.format(rows=300_000))
    yield database
    postgres_server.drop("faults")


@pytest.fixture
def policy(kept, folder) -> Callable[..., dict]:
    """Policies of that database: `policy()`, `policy(slow=True)`, `policy(port=...)`.

    Names have seconds in them, so a test asks for each reason once.
    """

    def make(slow: bool = False, dump: dict | None = None, **more) -> dict:
        where = in_folder(folder) | ({"bandwidth": SLOW} if slow else {})
        what = {"keep": {"newest": 3}, "compress": "none"} | (dump or {})
        dumps = {each: deepcopy(what) for each in REASONS}
        return policy_of(shop=group(kept.server, [kept.name], where) | {"dumps": dumps} | more)

    return make


def taking(policy: dict) -> tuple:
    """The words of the command that takes a dump."""
    return policy, "dump", "--reason", "manual"


@pytest.fixture
def nothing_lost(holdfast, policy, folder):
    """Before the fault there is a good dump, and it is all that counts after it; then the next run succeeds."""
    small = policy(dump={"tables": ["small"]})
    first = dump(holdfast, small, reason="before")["backup"]
    yield
    assert good(holdfast, policy()) == [first]
    well(holdfast(policy(), "verify", first))
    dump(holdfast, small, reason="after")
    both = [each["backup"] for each in listed(holdfast, policy())]
    assert len(both) == 2 and good(holdfast, policy()) == both
    assert files(folder) == whole(*both)


def half_written(folder: Path, more_than: int = 0) -> Path | None:
    """The temporary file that a dump grows in."""
    return next((f for f in folder.glob("*/.*.holdfast") if f.stat().st_size > more_than), None)


def dumping(run: subprocess.Popen) -> int | None:
    """The id of the pg_dump that a run has started; the one that is only asked for its version does not count."""
    for each in Path(f"/proc/{run.pid}/task").glob("*/children"):
        for child in each.read_text().split():
            if b"--snapshot" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
    return None


# -- the database ----------------------------------------------------------------------------------------------------------


def test_a_wrong_password_or_no_server_is_said(holdfast, policy, nothing_lost):
    refused(holdfast(*taking(policy()), **{PASSWORD: "not this"}), 2, "password authentication failed")
    refused(holdfast(*taking(policy(port=1))), 2, "127.0.0.1:1")


def test_an_unknown_database_is_said(holdfast, policy, nothing_lost):
    refused(holdfast(*taking(policy(databases=["nobody"]))), 2, "nobody", "does not exist")


def test_a_name_with_a_nul_is_refused(holdfast, policy, nothing_lost):
    refused(holdfast(*taking(policy(databases=["shop\0drop"]))), 64, "zero byte")


@pytest.mark.parametrize("format", ["plain", "custom"])
def test_pg_dump_killed_in_the_middle(format, holdfast, kept, policy, folder, nothing_lost):
    with locked(kept, "large"):
        run = holdfast.start(*taking(policy(slow=True, dump={"format": format})))
        os.kill(until("pg_dump to wait for the table", lambda: dumping(run)), signal.SIGKILL)
        refused(ended(run), 1, "pg_dump")


def test_pg_dump_killed_while_it_writes(holdfast, policy, folder, nothing_lost):
    run = holdfast.start(*taking(policy(slow=True, dump={"format": "plain"})))
    until("bytes to be written", lambda: half_written(folder, 100_000))
    os.kill(dumping(run), signal.SIGKILL)
    refused(ended(run), 1, "pg_dump")


def test_the_server_crashes_in_the_middle(holdfast, policy, folder):
    with postgres() as server:
        database = Database(server, "frail")
        server.sql("CREATE DATABASE frail")
        database.sql(LARGE.format(rows=400_000))
        frail = {"databases": ["frail"], "port": server.port}
        holdfast.env[PASSWORD] = server.password
        first = dump(holdfast, policy(**frail), reason="before")["backup"]
        run = holdfast.start(*taking(policy(slow=True, **frail)))
        until("bytes to be written", lambda: half_written(folder, 100_000))
        backend = server.sql("SELECT pid FROM pg_stat_activity WHERE datname = 'frail' AND query LIKE 'COPY%' LIMIT 1")
        os.kill(int(backend), signal.SIGKILL)  # the server ends all connections and recovers, as after a crash
        refused(ended(run), 2)
        assert good(holdfast, policy(**frail)) == [first]
        until("the server to be back", lambda: answers(server))
        dump(holdfast, policy(**frail), reason="after")
        assert len(good(holdfast, policy(**frail))) == 2 and not half_written(folder, -1)


def answers(server) -> bool:
    """Whether a server takes connections again."""
    return subprocess.run([server.programs / "pg_isready", "-q", "-h", server.host, "-p", str(server.port)]).returncode == 0


def test_a_client_that_is_older_than_the_server_is_refused_before_the_window(holdfast, kept, policy, folder, tmp_path):
    yearly = policy() | {}
    yearly["postgres"]["shop"]["dumps"] = {"yearly": {"schedule": {"cron": "0 2 1 1 *"}, "keep": {"newest": 2}, "tables": ["small"]}}
    well(holdfast(yearly, "dump"))
    before = good(holdfast, yearly)
    fake = tmp_path / "bin" / "pg_dump"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n")
    fake.chmod(0o755)
    # No dump is due now; the real clients are hidden from this one process.
    begin, env = holdfast.prepare(yearly, {"PATH": str(fake.parent)})
    hide = "for d in /usr/lib/postgresql /usr/pgsql-*; do [ ! -d $d ] || $0 -t tmpfs none $d || exit; done; exec \"$@\""
    unshare, mount, true = (shutil.which(name) for name in ("unshare", "mount", "true"))
    shell = [unshare, "--mount", "--map-root-user", "/bin/sh", "-c", hide, mount]
    if not unshare or not mount or subprocess.run([*shell, true], capture_output=True, env=env).returncode:
        pytest.skip("nobody may hide the real clients here")
    done = subprocess.run([*shell, *begin, "dump"], cwd=holdfast.folder, env=env, capture_output=True, text=True)
    refused(Ran(done.returncode, done.stdout, done.stderr), 1, "9.6.24", "postgresql-client-")
    assert good(holdfast, yearly) == before


# -- the store -------------------------------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written(holdfast, policy, folder, tmp_path, nothing_lost):
    (tmp_path / "file").write_text("in the way")
    refused(holdfast(*taking(policy(storage=in_folder(tmp_path / "file" / "backups")))), 3, "file")
    if os.geteuid() != 0:  # root may write anywhere
        folder.chmod(0o500)
        refused(holdfast(*taking(policy())), 3, str(folder))
        folder.chmod(0o750)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 14 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    mount = [*sudo, "mount", "-t", "tmpfs", "-o", f"size=14m,mode=700,uid={os.geteuid()}", "none", disk]
    if shutil.which(mount[0]) is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("nobody may mount a small disk here")
    yield disk
    subprocess.run([*sudo, "umount", disk], check=True)


def test_a_disk_that_fills_up_in_the_middle(holdfast, fresh_database, small_disk):
    database = fresh_database()
    # Small on the server's disk, for it is compressed there, and 20 MB of dump.
    database.sql("CREATE TABLE wide AS SELECT repeat('x', 2000000) AS x FROM generate_series(1, 10)")
    policy = policy_of(shop=group(database.server, [database.name], in_folder(small_disk), {"compress": "none"}))
    refused(holdfast(*taking(policy)), 3, "space")
    assert good(holdfast, policy) == [] and not half_written(small_disk, -1)
    policy["postgres"]["shop"]["dumps"]["manual"]["compress"] = "zstd"
    dump(holdfast, policy)


def test_a_disk_that_is_too_full_is_not_begun_on(holdfast, policy, nothing_lost):
    refused(holdfast(*taking(policy(min_free_space="900TB"))), 1, "bytes are free")


# -- the run itself --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", [-1, 0, 300_000, 1_000_000])
def test_kill_9_at_any_time(written, holdfast, policy, folder, nothing_lost):
    run = holdfast.start(*taking(policy(slow=True)))
    until("so much to be written", lambda: half_written(folder, written))
    run.kill()
    assert ended(run).code == -signal.SIGKILL
    assert half_written(folder, -1)


def test_a_dump_whose_commit_record_cannot_be_written_does_not_count(holdfast, kept, policy, folder, nothing_lost):
    with locked(kept, "small"):
        run = holdfast.start(*taking(policy(dump={"tables": ["small"]})))
        temporary = until("the dump to begin", lambda: half_written(folder, -1))
        in_the_way = temporary.parent / f"{temporary.name[1:].removesuffix('.holdfast')}.json"
        in_the_way.mkdir()
    refused(ended(run), 3, ".json")
    in_the_way.rmdir()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_so(how, holdfast, policy, folder, nothing_lost):
    run = holdfast.start(*taking(policy(slow=True)))
    until("bytes to be written", lambda: half_written(folder, 100_000))
    run.send_signal(how)
    refused(ended(run), 130, "interrupted", "does not count")


def test_a_run_that_is_not_finished_in_time(holdfast, policy, nothing_lost):
    refused(holdfast(*taking(policy(slow=True)), "--timeout", "2s"), 75, "time")


def test_two_runs_at_once(holdfast, kept, policy, folder, nothing_lost):
    with locked(kept, "large"):
        first = holdfast.start(*taking(policy()))
        until("the first to have begun", lambda: half_written(folder, -1))
        since = kept.sql(f"SELECT to_char(backend_start, 'YYYY-MM-DD HH24:MI:SS') {LEASES}")
        second = holdfast(*taking(policy()))
        refused(second, 75, "has it since", since, "holdfast/")
        first.kill()
        ended(first)


def test_the_lease_of_a_killed_run_is_gone_with_it(holdfast, kept, policy, folder, nothing_lost):
    with locked(kept, "large"):
        first = holdfast.start(*taking(policy()))
        until("the first to have begun", lambda: half_written(folder, -1))
        assert kept.sql(f"SELECT count(*) {LEASES}") == "1"
        first.kill()
        ended(first)
        until("its lease to go", lambda: kept.sql(f"SELECT count(*) {LEASES}") == "0", patience=5)


# -- what lies there -------------------------------------------------------------------------------------------------------


def cut(file: Path) -> None:
    """Cuts a file off."""
    os.truncate(file, file.stat().st_size // 2)


def flip(file: Path) -> None:
    """Changes one bit in the middle."""
    with open(file, "r+b") as open_file:
        open_file.seek(file.stat().st_size // 2)
        byte = open_file.read(1)[0]
        open_file.seek(-1, os.SEEK_CUR)
        open_file.write(bytes([byte ^ 1]))


def edited(file: Path, before: str = '"rows": 10', after: str = '"rows": 11') -> None:
    """Changes a commit record by hand."""
    record = file.with_name(f"{file.name}.json")
    assert before in record.read_text()
    record.write_text(record.read_text().replace(before, after))


@pytest.mark.parametrize("compress", ["none", "zstd"])
@pytest.mark.parametrize("damage", [cut, flip])
def test_a_damaged_dump_is_found_and_not_restored(damage, compress, holdfast, kept, policy, folder):
    older = dump(holdfast, policy(), reason="before")["backup"]
    dumps = policy(dump={"compress": compress})
    item = dump(holdfast, dumps)["backup"]
    damage(folder / item)
    refused(holdfast(dumps, "verify", item), 1)
    databases = kept.server.databases()
    # A size that is not the record's is seen in the listing: such a file counts no more. The rest is seen on reading.
    # Both are damage.
    said = ("the manifest says", "--untrusted") if damage is cut else (item,)
    refused(holdfast(dumps, "restore", item, "--to", "never"), 1, *said)
    (listed,) = [each for each in holdfast(dumps, "list", "--json").json if each["backup"] == item]
    assert (listed["state"], listed["fault"]) == (("faulty", "damaged") if damage is cut else ("good", None))
    assert kept.server.databases() == databases
    assert holdfast(dumps, "verify", older).code == 0


def test_a_commit_record_edited_by_hand_is_found(holdfast, policy, folder):
    item = dump(holdfast, policy(dump={"tables": ["small"]}))["backup"]
    edited(folder / item)
    refused(holdfast(policy(), "verify", item, "--full"), 1, "rows")
    edited(folder / item, '"holdfast": 1', '"holdfast": 2')
    assert good(holdfast, policy()) == []


def test_a_signed_commit_record_edited_by_hand_is_found_without_a_restore(holdfast, policy, folder):
    key = holdfast.folder / "signing.key"
    public = well(holdfast({"holdfast": 1, "company": "tests", "id": "host-1"}, "key", "new", str(key))).out.strip()
    signed = policy(dump={"tables": ["small"]}) | {"signing": {"secret_key": {"file": str(key)}, "public_keys": [public]}}
    well(holdfast(signed, "store", "init"))
    item = dump(holdfast, signed)["backup"]
    well(holdfast(signed, "verify", item))
    edited(folder / item)
    refused(holdfast(signed, "verify", item), 1, "signature")
    refused(holdfast(signed, "restore", item, "--to", "never"), 64, "--untrusted")

"""What the tests of dumps ask of the command and of what it leaves behind."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local import Ran, until
from peers import MARK, Command, Database, stored

# A table that is not read, compressed and written in a moment, so that a run can be met in the middle.
LARGE = """
    CREATE TABLE large AS SELECT i AS id, md5(i::text) || md5((i * 7)::text) AS filler FROM generate_series(1, {rows}) i;
    CREATE TABLE small AS SELECT i AS id FROM generate_series(1, 10) i;
"""


def in_folder(folder: Path, key: str = "{reason}/{database}_%Y%m%d_%H%M%S.dump.zst") -> dict:
    """A store in a directory, laid out with a folder for each reason."""
    return {"directory": str(folder), "key": key}


def listed(holdfast: Command, policy: dict, *of: str, **env: str) -> list[dict]:
    """What `holdfast list` shows, newest first."""
    ran = holdfast(policy, "list", *of, "--json", **env)
    assert ran.code == 0, ran.err
    return ran.json


def good(holdfast: Command, policy: dict, *of: str, **env: str) -> list[str]:
    """The backups that count, newest first."""
    return [each["backup"] for each in listed(holdfast, policy, *of, **env) if each["state"] == "good"]


def dump(holdfast: Command, policy: dict, *more: str, reason: str = "manual", **env: str) -> dict:
    """Takes a dump that must succeed, and returns how it is listed."""
    ran = holdfast(policy, "dump", "--reason", reason, *more, **env)
    assert ran.code == 0, f"{ran.out}\n{ran.err}"
    found = [each for each in listed(holdfast, policy, **env) if each["reason"] == reason and each["location_index"] == 0]
    return found[0]


def next_second() -> None:
    """Waits for it: names have whole seconds."""
    now = int(time.time())
    until("the next second", lambda: int(time.time()) > now)


def record(folder: Path, backup: str) -> dict:
    """The commit record beside a backup in a directory."""
    return json.loads((folder / f"{backup}.json").read_text())


def files(folder: Path) -> set[str]:
    """All files in a folder, but the mark of the store."""
    return {name for name in stored(folder) if not name.endswith("/") and not name.endswith(MARK)}


def whole(*backups: str) -> set[str]:
    """The files that these backups are made of."""
    return {f"{each}{end}" for each in backups for end in ("", ".sha256", ".json")}


def rows(record: dict) -> dict[str, int]:
    """Rows by table, as a commit record has them."""
    return {each["name"]: each["rows"] for each in record["tables"]}


def well(ran: Ran) -> Ran:
    """A run that must have succeeded."""
    assert ran.code == 0, f"exit {ran.code}\n{ran.out}\n{ran.err}"
    return ran


def refused(ran: Ran, code: int, *words: str) -> None:
    """A run that must have failed, with this code, and said these words."""
    assert ran.code == code, f"exit {ran.code} instead of {code}\n{ran.out}\n{ran.err}"
    missing = [word for word in words if word not in ran.out + ran.err]
    assert not missing, f"{missing} not said:\n{ran.out}\n{ran.err}"


def ended(process: subprocess.Popen, patience: float = 60) -> Ran:
    """How a started command ended."""
    out, err = process.communicate(timeout=patience)
    return Ran(process.returncode, out, err)


@contextmanager
def locked(database: Database, table: str) -> Iterator[None]:
    """Nobody else reads a table for as long as the block: what reads it waits there, and can be met in the middle."""
    env = {"PATH": "/usr/bin:/bin"} | database.env
    client = subprocess.Popen([database.server.programs / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1"], env=env, text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        client.stdin.write(f"BEGIN; LOCK TABLE {table}; SELECT 'locked';\n")
        client.stdin.flush()
        assert client.stdout.readline() == "locked\n"
        yield
    finally:
        client.kill()
        client.communicate()
        until("the lock to go", lambda: database.sql(
            f"SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = '{table}'::regclass") == "0")

"""The WAL archive against real servers: archived, backed up, and restored to moments between known commits."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from local import BINARIES, until
from peers import PASSWORD
from world.ports import free_ports
from world.postgres import Postgres, as_owner, give, other_versions, postgres, within_reach

SETTINGS = {"fsync": "on", "full_page_writes": "on", "archive_mode": "on", "wal_level": "replica", "max_wal_senders": 4}


class Archive:
    """A server that archives by `holdfast wal push`, and the command with its policy."""

    def __init__(self, home: Path, identity: Path, recipient: str):
        self.home, self.store = home, home / "store"
        self.program, self.policy = home / "holdfast", home / "policy.yaml"
        shutil.copy(BINARIES / "holdfast", self.program)
        self.program.chmod(0o755)
        self.store.mkdir()
        give(self.store)
        self.identity = give(Path(shutil.copy(identity, home / "identity")))
        self.signing = home / "signing.key"
        self.rules: dict[str, Any] = {"holdfast": 1, "company": "tests", "id": "host-1", "postgres": {"main": {
            "databases": ["postgres"], "user": "postgres", "tls": "disable", "password": {"env": PASSWORD},
            "storage": {"directory": str(home / "dumps")},
            "wal": {"storage": {"directory": str(self.store)}, "keep": "7d",
                    "encrypt": {"age": [recipient], "identity": {"file": str(self.identity)}}}}}}
        self.write()
        public = self.well("key", "new", str(self.signing)).strip()
        self.rules["signing"] = {"secret_key": {"file": str(self.signing)}, "public_keys": [public]}
        self.write()
        self.well("store", "init")
        self.server: Postgres | None = None

    def write(self) -> None:
        """Writes the policy."""
        self.policy.write_text(yaml.safe_dump(self.rules))
        self.policy.chmod(0o644)

    def run(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess:
        """Runs the command as the server's user."""
        password = {PASSWORD: self.server.password} if getattr(self, "server", None) else {}
        return subprocess.run([self.program, "--policy", self.policy, *arguments], cwd=cwd or self.home, capture_output=True,
                              text=True, timeout=120, env={"PATH": os.environ["PATH"], "HOME": str(self.home)} | password, **as_owner())

    def well(self, *arguments: str) -> str:
        """Its answer, of a run that must end well."""
        done = self.run(*arguments)
        assert done.returncode == 0, done
        return done.stdout

    @contextmanager
    def serving(self, programs: Path | None = None) -> Iterator[Postgres]:
        """The server."""
        command = f'{self.program} --policy {self.policy} wal push "%p"'
        with postgres(programs=programs, archive_command=command, **SETTINGS) as server:
            self.server = server
            self.rules["postgres"]["main"] |= {"host": server.host, "port": server.port}
            self.write()
            yield server

    def segments(self) -> list[Path]:
        """The segments that are archived."""
        return sorted(f for f in self.store.rglob("0*-*m*.age") if ".history" not in f.name and ".backup" not in f.name)

    def archived(self, server: Postgres) -> None:
        """Switches the segment and waits until it is in the archive."""
        server.sql("SELECT pg_create_restore_point('switch')")  # an empty segment is not switched
        name = server.sql("SELECT pg_walfile_name(pg_current_wal_insert_lsn()); SELECT pg_switch_wal()").splitlines()[0]
        until(f"{name} is archived", lambda: any(f.name.startswith(name) for f in self.segments()))

    @contextmanager
    def restored(self, *arguments: str, programs: Path | None = None) -> Iterator[Postgres]:
        """A server restored by the command, started and at its target."""
        folder = Path(tempfile.mkdtemp(prefix="holdfast-restored-"))
        give(folder).chmod(0o755)
        source = self.server
        server = Postgres(folder, within_reach(programs, folder / "programs") if programs else source.programs,
                          free_ports(1)[0], source.password, None)
        for each in (server.socket, server.data):
            each.mkdir()
            give(each).chmod(0o700)
        try:
            self.well("restore", "main", "--target-dir", str(server.data), *arguments)
            with open(server.data / "postgresql.auto.conf", "a") as conf:
                conf.write(f"port = {server.port}\nunix_socket_directories = '{server.socket}'\n")
            server.start()
            until("the target is reached", lambda: server.sql(
                "SELECT NOT pg_is_in_recovery() OR pg_get_wal_replay_pause_state() = 'paused'") == "t")
            yield server
        finally:
            server.stop(signal.SIGQUIT)
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def archive(identity) -> Iterator[Archive]:
    """An archive in a folder that the server's user reaches."""
    home = Path(tempfile.mkdtemp(prefix="holdfast-wal-"))
    give(home).chmod(0o755)
    mine = identity()
    yield Archive(home, mine.file, mine.recipient)
    shutil.rmtree(home, ignore_errors=True)


def mark(server: Postgres, number: int) -> str:
    """Commits a marker; returns a time after it and before the next."""
    server.sql(f"INSERT INTO markers VALUES ({number})")
    return server.sql("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")


def markers(server: Postgres) -> list[int]:
    """The markers that it has."""
    return [int(line) for line in server.sql("SELECT n FROM markers ORDER BY n").splitlines()]


@pytest.mark.parametrize("version", [15, 18])
def test_each_moment_comes_back_with_exactly_what_was_committed_by_then(archive, version):
    programs = None if version == 15 else other_versions()[version]
    with archive.serving(programs) as server:
        space = give(Path(tempfile.mkdtemp(prefix="holdfast-space-")))
        server.sql("CREATE TABLE markers (n int)")
        server.sql(f"CREATE TABLESPACE aside LOCATION '{space}'")
        server.sql("CREATE TABLE elsewhere TABLESPACE aside AS SELECT generate_series(1, 1000) AS i")
        archive.well("basebackup", "main")
        times = []
        for number in range(1, 7):
            times.append(mark(server, number))
            if number % 2 == 0:
                archive.archived(server)
        last = server.sql("SELECT pg_current_wal_lsn()")
        archive.archived(server)
        windows = archive.run("wal", "windows")
        assert windows.returncode == 0 and "timeline 1: every moment" in windows.stdout, windows

        for number in (1, 4):
            with archive.restored("--at", times[number - 1], programs=programs) as restored:
                assert markers(restored) == list(range(1, number + 1))
                assert restored.sql("SHOW archive_mode") == "off"
                assert restored.sql("SELECT count(*) FROM elsewhere") == "1000"
                assert str(space) not in restored.sql("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'aside'")
        before = sorted(f.name for f in archive.store.rglob("*"))
        with archive.restored("--at", "2090-01-01T00:00:00Z", programs=programs) as restored:
            assert markers(restored) == [1, 2, 3, 4, 5, 6], "a time after the last commit is no failure"
            mark(restored, 99)
        with archive.restored("--lsn", last, "--promote", programs=programs) as restored:
            assert 6 in markers(restored)
        assert sorted(f.name for f in archive.store.rglob("*")) == before, "a restored server archives nothing"
        early = archive.run("restore", "main", "--target-dir", str(archive.home / "never"), "--at", "2020-01-01T00:00:00Z")
        assert early.returncode == 1 and "earliest moment" in early.stderr and not (archive.home / "never").exists(), early
        shutil.rmtree(space)


def test_the_same_is_archived_once_and_another_content_never(archive):
    with archive.serving() as server:
        server.sql("CREATE TABLE markers (n int)")
        archive.archived(server)
        [stored] = archive.segments()[:1]
        name, bytes_before = stored.name[:24], stored.read_bytes()
        wal = server.data / "pg_wal" / name
        assert archive.run("wal", "push", f"pg_wal/{name}", cwd=server.data).returncode == 0
        changed = bytearray(wal.read_bytes())
        changed[100_000] ^= 1
        copy = archive.home / "copy"
        copy.mkdir()
        (copy / name).write_bytes(changed)
        system = server.sql("SELECT system_identifier FROM pg_control_system()")
        other = archive.run("wal", "push", str(copy / name), "--system", system)
        assert 1 <= other.returncode <= 125 and "another content" in other.stderr, other
        foreign = archive.run("wal", "push", str(copy / name), "--system", "7")
        assert 1 <= foreign.returncode <= 125 and "is of the cluster" in foreign.stderr, foreign
        assert stored.read_bytes() == bytes_before and len([f for f in archive.segments() if f.name.startswith(name)]) == 1


def test_a_file_that_is_absent_is_1_and_every_failure_is_above_125(archive):
    with archive.serving() as server:
        archive.archived(server)
        [stored] = archive.segments()[:1]
        name, to = stored.name[:24], server.data / "pg_wal" / "RECOVERYXLOG"

        def fetch(*arguments: str) -> int:
            return archive.run("wal", "fetch", *arguments, cwd=server.data).returncode

        assert fetch(name, "pg_wal/RECOVERYXLOG") == 0
        assert to.read_bytes() == (server.data / "pg_wal" / name).read_bytes()
        to.unlink()
        assert fetch("0000000100000000000000FE", "pg_wal/RECOVERYXLOG") == 1
        assert fetch("00000002.history", "pg_wal/RECOVERYHISTORY") == 1
        whole = stored.read_bytes()
        stored.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert fetch(name, "pg_wal/RECOVERYXLOG") == 126 and not to.exists()
        stored.write_bytes(whole)
        archive.identity.rename(archive.home / "away")
        assert fetch(name, "pg_wal/RECOVERYXLOG") == 126
        (server.data / "standby.signal").touch()
        assert fetch(name, "pg_wal/RECOVERYXLOG") == 1, "a standby asks again"
        (server.data / "standby.signal").unlink()
        (archive.home / "away").rename(archive.identity)
        assert fetch("--nonsense") == 126
        assert fetch(name, "pg_wal/RECOVERYXLOG", "--group", "none") == 126
        archive.store.rename(archive.home / "unmounted")
        assert fetch(name, "pg_wal/RECOVERYXLOG") != 0
        (archive.home / "unmounted").rename(archive.store)
        assert not list((server.data / "pg_wal").glob(".holdfast*"))


def is_there(archive: Archive, name: str) -> bool:
    """Whether a segment is archived."""
    return any(f.name.startswith(name) for f in archive.segments())


def test_nothing_is_archived_while_the_store_is_away_and_everything_after_it(archive):
    with archive.serving() as server:
        server.sql("CREATE TABLE markers (n int)")
        archive.archived(server)
        archive.store.rename(archive.home / "unmounted")
        server.sql("SELECT pg_stat_reset_shared('archiver')")
        names = [server.sql("SELECT pg_walfile_name(pg_current_wal_insert_lsn()); INSERT INTO markers VALUES (1); "
                            "SELECT pg_switch_wal()").splitlines()[0] for _ in range(3)]
        until("archiving fails", lambda: server.sql("SELECT failed_count > 0 FROM pg_stat_archiver") == "t")
        assert server.sql("SELECT archived_count FROM pg_stat_archiver") == "0"
        assert not archive.store.exists(), "nothing is written where nothing is mounted"
        (archive.home / "unmounted").rename(archive.store)
        for name in names:
            until(f"{name} is archived", partial(is_there, archive, name), 120)


def test_a_damaged_page_is_no_backup(archive):
    with archive.serving() as server:
        if server.sql("SHOW data_checksums") == "off":
            server.stop()
            subprocess.run([server.programs / "pg_checksums", "--enable", "-D", server.data], check=True, capture_output=True, **as_owner())
            server.start()
        server.sql("CREATE TABLE victim AS SELECT i, repeat('x', 200) FROM generate_series(1, 2000) i")
        path = server.data / server.sql("SELECT pg_relation_filepath('victim')")
        server.stop()
        with open(path, "r+b") as file:
            file.seek(8192 + 4000)
            file.write(b"\xff" * 16)
        server.start()
        done = archive.run("basebackup", "main")
        assert done.returncode == 1 and "XX001" in done.stderr, done
        assert not list(archive.store.rglob("backup.json")), "it is not recorded"


def test_a_promotion_is_followed(archive):
    with archive.serving() as server:
        server.sql("CREATE TABLE markers (n int)")
        archive.well("basebackup", "main")
        mark(server, 1)
        archive.archived(server)
        server.stop(signal.SIGQUIT)
        (server.data / "standby.signal").touch()
        give(server.data / "standby.signal")
        with open(server.data / "postgresql.auto.conf", "a") as conf:
            conf.write("restore_command = 'false'\n")
        server.start()
        server.sql("SELECT pg_promote(true, 60)")
        mark(server, 2)
        archive.archived(server)
        until("the history is archived", lambda: list(archive.store.rglob("00000002.history-*")))
        assert "timeline 2" in archive.run("wal", "windows").stdout
        with archive.restored("--latest") as restored:
            assert markers(restored)[:2] == [1, 2]



def test_a_pusher_that_is_killed_at_any_moment_is_followed_by_one_that_archives_all(archive):
    with archive.serving() as server:
        server.sql("ALTER SYSTEM SET archive_command = 'false'")
        server.sql("SELECT pg_reload_conf()")
        server.sql("CREATE TABLE markers AS SELECT i, repeat(md5(i::text), 8) FROM generate_series(1, 60000) i")
        name = server.sql("SELECT pg_walfile_name(pg_current_wal_insert_lsn()); SELECT pg_switch_wal()").splitlines()[0]
        words = [archive.program, "--policy", archive.policy, "wal", "push", f"pg_wal/{name}"]
        for delay in (0.005 * step for step in range(1, 31)):
            push = subprocess.Popen(words, cwd=server.data, stderr=subprocess.DEVNULL, **as_owner())
            with suppress(subprocess.TimeoutExpired):
                push.wait(delay)
            push.kill()
            push.wait()
        done = archive.run("wal", "push", f"pg_wal/{name}", cwd=server.data)
        assert done.returncode == 0, done
        assert archive.run("wal", "fetch", name, "pg_wal/RECOVERYXLOG", cwd=server.data).returncode == 0
        assert (server.data / "pg_wal" / "RECOVERYXLOG").read_bytes() == (server.data / "pg_wal" / name).read_bytes()


def archive_row(archive: Archive) -> dict:
    """What `status` says of the archive: its row, with its findings' codes."""
    report = json.loads(archive.run("run", "freshness", "--json").stdout)
    codes = {f["code"] for f in report["findings"] if f["asset"] == "postgres.main.wal"}
    [row] = [a for a in report["assets"] if a["asset"] == "postgres.main.wal"]
    return row | {"codes": codes}


@pytest.mark.parametrize("version", [15, 18])
def test_retention_deletes_what_nothing_needs_and_every_promised_moment_still_comes_back(archive, version):
    """Trap 14: by position and history; wal-g#1869: a base backup that stays keeps its island of WAL."""
    programs = None if version == 15 else other_versions()[version]
    archive.rules["postgres"]["main"]["wal"]["keep"] = "1h"
    archive.rules["limits"] = {"delete": {"count": 100, "share": "100%"}}
    archive.write()
    with archive.serving(programs) as server:
        server.sql("CREATE TABLE markers (n int)")
        for number in range(1, 4):
            archive.well("basebackup", "main")
            mark(server, number)
            archive.archived(server)
            archive.archived(server)
        before = archive.segments()
        assert "backup.json" not in archive.well("run", "retention", "--dry-run"), "all of it is within the window"
        archive.rules["postgres"]["main"]["wal"]["keep"] = "15s"
        archive.write()
        begun = time.monotonic()
        until("the window has gone by", lambda: time.monotonic() - begun > 16, 30)
        at = mark(server, 4)
        mark(server, 5)
        archive.archived(server)
        shown = archive.well("run", "retention", "--dry-run")
        assert shown.count("backup.json") == 2 and archive.segments()[: len(before)] == before, shown
        archive.well("run", "retention")
        archive.archived(server)
        archive.well("run", "retention")
        assert len(list(archive.store.rglob("backup.json"))) == 1, "the window begins with the newest"
        left = archive.segments()
        assert before[0] not in left and len(left) < len(before), left
        assert not [s for s in archive.store.rglob("0*.minisig") if not Path(str(s).removesuffix(".minisig")).exists()]
        with archive.restored("--at", at, programs=programs) as restored:
            assert markers(restored) == [1, 2, 3, 4]


def test_nothing_is_deleted_while_the_newest_base_backup_is_not_complete(archive):
    """databasus#643: what counts is computed from the store."""
    archive.rules["postgres"]["main"]["wal"]["keep"] = "1s"
    archive.rules["limits"] = {"delete": {"count": 100, "share": "100%"}}
    archive.write()
    with archive.serving() as server:
        for _ in range(2):
            archive.well("basebackup", "main")
        record = sorted(archive.store.rglob("backup.json"))[-1]
        record.rename(archive.home / "record")
        archive.archived(server)
        before = sorted(archive.store.rglob("*"))
        said = archive.well("run", "retention")
        assert "is not complete" in said and sorted(archive.store.rglob("*")) == before, said


@pytest.mark.parametrize("version", [15, 18])
def test_what_is_not_archived_is_told_and_an_idle_server_is_not(archive, version):
    """Traps 6, 12 and 21: what waits is judged, never the age of what was archived last."""
    programs = None if version == 15 else other_versions()[version]
    wal = archive.rules["postgres"]["main"]["wal"]
    wal |= {"max_lag": "1s", "base_backups": {"schedule": {"cron": "0 2 * * *"}}}
    archive.write()
    with archive.serving(programs) as server:
        server.sql("CREATE TABLE markers (n int)")
        assert "no-backup" in archive_row(archive)["codes"]
        archive.well("basebackup", "main")
        archive.archived(server)
        idle = time.monotonic()
        until("it has been idle for longer than max_lag", lambda: time.monotonic() - idle > 2)
        row = archive_row(archive)
        assert not row["codes"] and row["coverage"] == "watched", row
        archive.store.rename(archive.home / "unmounted")
        server.sql("INSERT INTO markers VALUES (1); SELECT pg_switch_wal()")
        until("archiving fails", lambda: server.sql("SELECT last_failed_time > last_archived_time FROM pg_stat_archiver") == "t")
        assert archive_row(archive)["codes"] >= {"no-backup", "wal-not-archived"}, "an archive that is away is not an old one"
        server.sql("ALTER SYSTEM SET archive_command = 'false'")
        server.sql("SELECT pg_reload_conf()")
        (archive.home / "unmounted").rename(archive.store)
        until("it has waited too long", lambda: "wal-not-archived" in archive_row(archive)["codes"])
        server.sql("ALTER SYSTEM SET archive_command = 'true'")
        server.sql("SELECT pg_reload_conf()")
        until("nothing waits", lambda: server.sql("SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'") == "0", 90)
        row = archive_row(archive)
        assert any("is not in the archive" in m for m in row["messages"]), "a command that archives nothing is found out"


def test_a_gap_is_told_until_a_base_backup_is_behind_it(archive):
    """Trap 45: what is missing is known before a restore."""
    archive.rules["postgres"]["main"]["wal"]["base_backups"] = {"schedule": {"cron": "0 2 * * *"}}
    archive.write()
    with archive.serving() as server:
        archive.well("basebackup", "main")
        for _ in range(3):
            archive.archived(server)
        archive.segments()[-2].unlink()
        report = json.loads(archive.run("run", "freshness", "--json").stdout)
        gaps = [f["severity"] for f in report["findings"] if f["code"] == "wal-gap"]
        assert gaps == ["critical"], report["findings"]
        archive.well("basebackup", "main")
        report = json.loads(archive.run("run", "freshness", "--json").stdout)
        assert [f["severity"] for f in report["findings"] if f["code"] == "wal-gap"] == ["warning"]

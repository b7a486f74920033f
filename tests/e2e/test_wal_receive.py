"""WAL received by a slot against real servers: what was reported as durable comes back after the host is lost."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random

import pytest

import test_wal
from local import until
from peers import PASSWORD
from test_wal import SETTINGS, Archive, mark, markers
from world.postgres import Postgres, as_owner, give, other_versions, postgres

# Its fixture, under the name that pytest looks for.
archive = test_wal.archive
APPLICATION = "holdfast_wal_receive"
DURABLE = SETTINGS | {"synchronous_commit": "on"}


@contextmanager
def served(archive: Archive, programs: Path | None = None, **settings: object) -> Iterator[Postgres]:
    """A server that archives nothing by itself."""
    with postgres(programs=programs, **(DURABLE | {"archive_mode": "off"} | settings)) as server:
        archive.server = server
        archive.rules["postgres"]["main"] |= {"host": server.host, "port": server.port}
        archive.write()
        server.sql("CREATE TABLE markers (n int)")
        yield server


class Receiver:
    """`holdfast wal receive`, until it is ended."""

    def __init__(self, archive: Archive, *arguments: str):
        self.log = archive.home / "receive.log"
        words = [archive.program, "--policy", archive.policy, "wal", "receive", "main", "--spool", give(archive.home), *arguments]
        env = {"PATH": "/usr/bin:/bin", "HOME": str(archive.home), PASSWORD: archive.server.password}
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(words, stderr=log, env=env, cwd=archive.home, **as_owner())

    def end(self, how: signal.Signals) -> int:
        """Ends it; returns its exit code."""
        self.process.send_signal(how)
        return self.process.wait(30)


@contextmanager
def receiving(archive: Archive, *arguments: str) -> Iterator[Receiver]:
    """A receiver that runs, and is killed at the end."""
    receiver = Receiver(archive, *arguments)
    try:
        yield receiver
    finally:
        with suppress(ProcessLookupError):
            receiver.end(signal.SIGKILL)


def flushed(server: Postgres) -> int:
    """What the receiver reported last, as a number; 0 before it is there."""
    found = server.sql(f"SELECT flush_lsn - '0/0' FROM pg_stat_replication WHERE application_name = '{APPLICATION}'")
    return int(found or 0)


def whole_segments(archive: Archive) -> list[Path]:
    """The segments that are archived whole."""
    return [f for f in archive.segments() if f.parent.name != "stream"]


def position(server: Postgres) -> int:
    """Where the server is."""
    return int(server.sql("SELECT pg_current_wal_insert_lsn() - '0/0'"))


def caught_up(server: Postgres) -> None:
    """Waits until everything that is committed is reported as durable."""
    end = position(server)
    until("everything is reported as durable", lambda: flushed(server) >= end)


def switch(server: Postgres) -> str:
    """Ends a segment; returns its name."""
    return server.sql("SELECT pg_create_restore_point('switch'); SELECT pg_walfile_name(pg_current_wal_insert_lsn()); "
                      "SELECT pg_switch_wal()").splitlines()[1]


def lose(server: Postgres) -> None:
    """Ends every process of the server at once, as a power cut does."""
    process = server.process
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in [process.pid, *map(int, children)]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(30)
    until("its processes are gone", lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in children))
    server.process = None


class Writer(threading.Thread):
    """Commits one marker after the other; knows the position after each that the server acknowledged."""

    def __init__(self, server: Postgres, first: int):
        super().__init__()
        self.server, self.next, self.acknowledged, self.stopping = server, first, {}, False

    def run(self) -> None:
        """Writes until it is stopped or the server is gone."""
        while not self.stopping:
            try:
                self.server.sql(f"INSERT INTO markers VALUES ({self.next})")
                self.acknowledged[self.next] = position(self.server)
            except Exception:  # the server is gone: that commit was not acknowledged
                return
            self.next += 1


def has_written(writer: Writer, count: int) -> bool:
    """Whether so many commits are acknowledged."""
    return len(writer.acknowledged) >= count


@pytest.mark.parametrize("version", [15, 18])
def test_a_lost_host_loses_nothing_that_was_reported_as_durable(archive, version):
    """Traps 12, 15, 16, 20: the unfinished segment comes back, at seeded moments, by `restore --latest`."""
    programs = None if version == 15 else other_versions()[version]
    random = Random(version)
    with served(archive, programs) as server:
        with receiving(archive):
            until("it receives", lambda: flushed(server) > 0)
            archive.well("basebackup", "main")
        acknowledged: dict[int, int] = {}
        moments = [random.randint(3, 60) for _ in range(3)]
        for moment in moments:
            with receiving(archive) as receiver:
                until("it receives", lambda: flushed(server) > 0)
                writer = Writer(server, max(acknowledged, default=0) + 1)
                writer.start()
                until(f"{moment} markers", partial(has_written, writer, moment))
                reported = flushed(server)
                receiver.end(signal.SIGKILL)
                lose(server)
                writer.join()
            acknowledged |= writer.acknowledged
            safe = [n for n, lsn in acknowledged.items() if lsn <= reported]
            lost = server.data.with_name("lost")
            server.data.rename(lost)
            with archive.restored("--latest", programs=programs) as restored:
                found = markers(restored)
            assert found == list(range(1, len(found) + 1)), "no hole"
            assert max(safe, default=0) <= len(found) <= max(acknowledged) + 1, (reported, acknowledged, found)
            lost.rename(server.data)
            server.start()
            # The commit that was not acknowledged may be there.
            acknowledged |= {n: position(server) for n in markers(server) if n not in acknowledged}
        assert len(safe) > 0, "something was reported"
        windows = archive.run("wal", "windows")
        assert windows.returncode == 0 and "every moment" in windows.stdout, windows


def test_streaming_and_archive_command_store_each_segment_once(archive):
    """Trap 2: the same content from both is one object; another content is an error, and nothing is overwritten."""
    command = f'{archive.program} --policy {archive.policy} wal push "%p"'
    with served(archive, archive_mode="on", archive_command=command, wal_keep_size="1GB") as server:
        with receiving(archive) as receiver:
            until("it receives", lambda: flushed(server) > 0)
            names = [switch(server) for _ in range(6)]
            caught_up(server)
            until("both are done", lambda: server.sql("SELECT last_archived_wal FROM pg_stat_archiver") == names[-1])
            stored = [f.name[:24] for f in whole_segments(archive)]
            assert sorted(stored) == sorted(set(stored)) and set(names) <= set(stored), stored
            assert receiver.end(signal.SIGTERM) == 0
        server.sql("ALTER SYSTEM SET archive_command = 'false'")
        server.sql("SELECT pg_reload_conf()")
        name = switch(server)
        changed = bytearray((server.data / "pg_wal" / name).read_bytes())
        changed[100_000] ^= 1
        copy = archive.home / "copy"
        copy.mkdir()
        (copy / name).write_bytes(changed)
        archive.well("wal", "push", str(copy / name), "--system", server.sql("SELECT system_identifier FROM pg_control_system()"))
        with receiving(archive) as receiver:
            assert receiver.process.wait(60) == 1
            assert "another content" in receiver.log.read_text()


def test_a_promotion_is_followed_in_the_stream(archive):
    """Traps 10, 17: the next timeline is taken from the server, its history first, from the segment in which it began."""
    with served(archive) as server:
        with receiving(archive) as receiver:
            until("it receives", lambda: flushed(server) > 0)
            archive.well("basebackup", "main")
            mark(server, 1)
            caught_up(server)
            lose(server)
            (server.data / "standby.signal").touch()
            give(server.data / "standby.signal")
            with open(server.data / "postgresql.auto.conf", "a") as conf:
                conf.write("restore_command = 'false'\n")
            server.start()
            until("it receives from the standby", lambda: server.sql(
                f"SELECT count(*) FROM pg_stat_replication WHERE application_name = '{APPLICATION}'") == "1")
            server.sql("SELECT pg_promote(true, 60)")
            mark(server, 2)
            caught_up(server)
            assert "going on with timeline 2" in receiver.log.read_text()
            assert list(archive.store.rglob("00000002.history-*"))
        with archive.restored("--latest") as restored:
            assert markers(restored) == [1, 2]


def test_a_receiver_that_is_killed_and_a_store_that_is_away_leave_no_hole(archive):
    """Traps 1, 16, 20, 45: every segment is whole in the end; nothing is reported while the store is away; a half segment before
    a whole one is no end of the WAL."""
    random = Random(13)
    with served(archive, wal_keep_size="1GB") as server:
        first = None
        for number in range(12):
            with receiving(archive) as receiver:
                until("it receives", lambda: flushed(server) > 0)
                server.sql(f"INSERT INTO markers SELECT {number} FROM generate_series(1, {random.randint(1, 30_000)})")
                if number % 3 == 0:
                    first = first or server.sql("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
                    switch(server)
                with suppress(subprocess.TimeoutExpired):
                    receiver.process.wait(random.uniform(0.0, 1.5))
        with receiving(archive):
            until("it receives", lambda: flushed(server) > 0)
            caught_up(server)
            archive.store.rename(archive.home / "unmounted")
            before = flushed(server)
            server.sql("INSERT INTO markers SELECT 99 FROM generate_series(1, 200000)")
            name = switch(server)
            mark(server, 100)
            until("it tries again", lambda: "not stored yet" in (archive.home / "receive.log").read_text())
            assert flushed(server) == before and not archive.store.exists()
            (archive.home / "unmounted").rename(archive.store)
            caught_up(server)
        wal = {f.name: f for f in (server.data / "pg_wal").iterdir() if first <= f.name <= name}
        to = server.data / "pg_wal" / "RECOVERYXLOG"
        for each, path in sorted(wal.items()):
            done = archive.run("wal", "fetch", each, "pg_wal/RECOVERYXLOG", cwd=server.data)
            assert done.returncode == 0 and to.read_bytes() == path.read_bytes(), (each, done)
            to.unlink()
        # What it stored of the segment before it was whole is no longer enough once another came after it.
        half = next(f.name[:24] for f in sorted(archive.store.rglob("stream/*.age")) if f.name[:24] in wal and f.name[:24] < name)
        for stored in whole_segments(archive):
            if stored.name.startswith(half):
                stored.unlink()
        assert archive.run("wal", "fetch", half, "pg_wal/RECOVERYXLOG", cwd=server.data).returncode == 126
        assert not to.exists() and not list((server.data / "pg_wal").glob(".holdfast*"))


def test_a_server_is_set_up_checked_and_taken_back(archive):
    """Traps 7, 12: shown first, then done; a restart is said to be needed; a segment really comes into the archive; undone."""
    with served(archive, wal_level="minimal", max_wal_senders=0) as server:
        shown = archive.run("wal", "setup", "main", "--slot", "holdfast")
        assert shown.returncode == 1 and "ALTER SYSTEM SET archive_mode = 'on'" in shown.stdout, shown
        assert server.sql("SELECT count(*) FROM pg_file_settings WHERE sourcefile LIKE '%auto.conf'") == "0", "it only shows"
        server.sql("ALTER SYSTEM SET wal_level = 'replica'; ALTER SYSTEM SET max_wal_senders = 4")
        server.stop()
        server.start()
        applied = archive.run("wal", "setup", "main", "--slot", "holdfast", "--apply")
        assert applied.returncode == 1 and "restart the server" in applied.stdout, applied
        server.stop()
        server.start()
        checked = archive.run("wal", "setup", "main", "--slot", "holdfast", "--check")
        assert checked.returncode == 0 and "is in the archive" in checked.stdout, checked
        assert whole_segments(archive)
        assert server.sql("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'holdfast'") == "1"
        archive.well("wal", "setup", "main", "--slot", "holdfast", "--undo")
        assert server.sql("SELECT count(*) FROM pg_replication_slots") == "0"
        server.stop()
        server.start()
        assert server.sql("SHOW archive_mode") == "off"
        server.sql("ALTER SYSTEM SET archive_command = 'cp %p /dev/null'")
        server.sql("SELECT pg_reload_conf()")
        theirs = archive.run("wal", "setup", "main", "--apply")
        assert theirs.returncode == 1 and "something else archives here" in theirs.stdout, theirs
        until("it is theirs", lambda: "cp %p" in server.sql("SELECT reset_val FROM pg_settings WHERE name = 'archive_command'"))

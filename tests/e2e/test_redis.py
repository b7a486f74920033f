"""RDB files of a real Redis and a real Valkey: taken by the replication stream, verified, restored, and what goes wrong.

L6, L10 (RDB), B3 (replicas, Sentinel).
"""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backups import files, next_second, record, refused, well
from local import until
from peers import Command, stock_shell
from redis_backups import DEBUG, ENV, FUNCTION, PASSWORD, digest, fill, policy_of, take
from world.redis import Redis, find_program, redis, sentinel

VALKEY_FIELD_TTL = "HSET session a 1 b 2\nHEXPIRE session 100000 FIELDS 1 a"


@pytest.fixture
def holdfast(tmp_path) -> Iterator[Command]:
    """The command, in a folder of its own; it needs no PostgreSQL."""
    folder = tmp_path / "command"
    folder.mkdir()
    command = Command(folder, dict(ENV))
    yield command
    for each in command.started:
        each.kill()
        each.communicate()


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    """A server with every type, a password, and a function."""
    with redis(*DEBUG, password=PASSWORD) as running:
        fill(running)
        yield running


@pytest.mark.parametrize("diskless", ["yes", "no"])
def test_what_is_restored_is_what_was_there(server, holdfast, folder, tmp_path, diskless) -> None:
    """Every type, in both forms of the stream; verified by a walk and by a server that loads it; the restored server's data
    has the very digest of the living one's."""
    server.run("CONFIG", "SET", "repl-diskless-sync", diskless)
    saves, policy = server.run("LASTSAVE"), policy_of(server, folder)
    taken = take(holdfast, policy)
    assert (taken["state"], taken["reason"], taken["format"]) == ("good", "rdb", "rdb")
    written = record(folder, taken["backup"])
    keys = {each["index"]: each["keys"] for each in written["redis"]["databases"]}
    assert keys == server.keys() and taken["rows"] == sum(keys.values())
    assert (written["redis"]["functions"], written["redis"]["has_checksum"]) == (1, True)
    assert written["redis"]["node"] == server.address
    if diskless == "yes":
        assert server.run("LASTSAVE") == saves and not list(server.folder.glob("*.rdb")), "nothing on the server's disk"
    for how in ([], ["--full"]):
        verified = well(holdfast(policy, "verify", *how, "--json")).json
        assert [each["verdict"] for each in verified] == ["good"], verified
    target = tmp_path / "restored"
    restored = well(holdfast(policy, "restore", "cache", "--to", str(target), "--json")).json
    assert {path.name for path in target.iterdir()} == {"dump.rdb"}
    assert any("--appendonly no" in step for step in restored["next_steps"])
    with redis(*DEBUG, folder=target) as copy:
        assert digest(copy) == digest(server)
        assert "tests" in copy.run("FUNCTION", "LIST")


def test_an_append_only_server_gets_its_append_only_file(server, holdfast, folder, tmp_path) -> None:
    """A server with `appendonly yes` ignores dump.rdb and would start empty: the restore writes what it loads."""
    policy = policy_of(server, folder, settings={"appendonly": "yes"})
    take(holdfast, policy)
    target = tmp_path / "restored"
    restored = well(holdfast(policy, "restore", "cache", "--to", str(target), "--json")).json
    assert restored["has_append_only_file"]
    (target / "dump.rdb").unlink()
    with redis("--appendonly", "yes", *DEBUG, folder=target) as copy:
        assert digest(copy) == digest(server)
    refused(holdfast(policy, "restore", "cache", "--to", str(target)), 1, "something is in it")


def test_an_encrypted_file_comes_back_by_its_own_line_and_without_its_key_not_at_all(
    server, holdfast, folder, tmp_path, identity, tools
) -> None:
    """The host that takes it needs no key; the record's own line restores it with stock tools."""
    key = identity()
    policy = policy_of(server, folder, encrypt={"age": [key.recipient]})
    taken = take(holdfast, policy)
    stored = (folder / taken["backup"]).read_bytes()
    assert stored.startswith(b"age-encryption.org/v1") and b"hello" not in stored
    refused(holdfast(policy, "verify"), 4)
    well(holdfast(policy, "verify", "--full", "--key", str(key.file)))
    target = tmp_path / "stock"
    target.mkdir()
    line = record(folder, taken["backup"])["restore"].replace("KEY.txt", str(key.file))
    ran = stock_shell(line, {}, target)
    assert ran.returncode == 0, ran.stderr
    with redis(*DEBUG, folder=target) as copy:
        assert digest(copy) == digest(server)


def test_the_password_is_shown_nowhere(server, holdfast, folder) -> None:
    """Neither in what is printed, logged or recorded, right or wrong."""
    policy = policy_of(server, folder)
    ran = holdfast(policy, "-v", "redis", "dump", "cache", RUST_LOG="trace")
    wrong = holdfast(policy, "-v", "redis", "dump", "cache", RUST_LOG="trace", REDIS_PASSWORD="wrong-8c1d")
    refused(wrong, 2, "WRONGPASS")
    said = ran.out + ran.err + wrong.out + wrong.err
    recorded = "".join(path.read_text() for path in folder.rglob("*.json"))
    assert PASSWORD not in said + recorded and "wrong-8c1d" not in said + recorded


def test_an_acl_user_without_a_right_to_any_key_is_enough(server, holdfast, folder) -> None:
    """The rights of docs/redis.md; settings that it may not see are said to be unseen."""
    rights = ["on", ">backup-pw", "resetkeys", "-@all", "+sync", "+psync", "+replconf", "+ping", "+info"]
    server.run("ACL", "SETUSER", "backup", *rights)
    policy = policy_of(server, folder, user="backup", settings={"appendonly": "no"})
    well(holdfast(policy, "redis", "dump", "cache", REDIS_PASSWORD="backup-pw"))
    checked = holdfast(policy, "redis", "check", "--json", REDIS_PASSWORD="backup-pw").json
    assert [each["code"] for each in checked["findings"]] == ["settings-not-readable"]
    server.run("ACL", "SETUSER", "backup", "-sync")
    refused(holdfast(policy, "redis", "dump", "cache", REDIS_PASSWORD="backup-pw"), 2, "NOPERM")


def test_damage_is_found_and_a_cut_file_is_no_backup(server, holdfast, folder) -> None:
    """A flipped bit by verify, a cut by the listing; an RDB file under a record that does not fit is not restored."""
    policy = policy_of(server, folder, compress="none")
    taken = take(holdfast, policy)
    path = folder / taken["backup"]
    path.chmod(0o600)
    whole = path.read_bytes()
    path.write_bytes(whole[:300] + bytes([whole[300] ^ 1]) + whole[301:])
    for how in ([], ["--full"]):
        ran = holdfast(policy, "verify", *how, "--json")
        assert (ran.code, ran.json[0]["verdict"]) == (1, "bad"), ran.out
    target = folder.parent / "never"
    assert holdfast(policy, "restore", "cache", "--to", str(target)).code == 1
    assert not target.exists(), "nothing is left of what is not good"
    path.write_bytes(whole[:-10])
    listed = well(holdfast(policy, "list", "--json")).json
    assert [each["state"] for each in listed] == ["faulty"]


@pytest.fixture
def slow() -> Iterator[Redis]:
    """A server that sends a key a millisecond: 8 seconds in all."""
    with redis("--rdb-key-save-delay", "1000", "--repl-timeout", "20") as running:
        running.load("\n".join(f"SET key-{i} {'v' * 200}" for i in range(8000)))
        yield running


def in_the_middle(slow: Redis) -> None:
    """Waits until the server's child sends the file."""
    until("the stream", lambda: "rdb_bgsave_in_progress:1" in slow.run("INFO", "persistence"))
    # Keys are on their way: the child says how many it has saved.
    until("the first keys", lambda: int(slow.run("INFO", "persistence").split("current_save_keys_processed:")[1].split()[0]) > 500)


@pytest.mark.parametrize("what", ["command", "server"])
def test_whatever_dies_in_the_middle_leaves_no_record(slow, holdfast, folder, what) -> None:
    """kill -9 of either side: nothing that counts, and the next run is as good as ever."""
    policy = policy_of(slow, folder)
    running = holdfast.start(policy, "redis", "dump", "cache")
    in_the_middle(slow)
    if what == "command":
        running.kill()
    else:
        slow.kill()
    said = running.communicate(timeout=60)
    assert running.returncode != 0, said
    assert not [name for name in files(folder) if name.endswith((".json", ".sha256", ".zst"))], files(folder)
    assert well(holdfast(policy, "list", "--json")).json == []
    if what == "command":
        until("the child's end", lambda: "rdb_bgsave_in_progress:0" in slow.run("INFO", "persistence"))
        slow.run("CONFIG", "SET", "rdb-key-save-delay", "0")
        assert take(holdfast, policy)["rows"] == 8000


def test_a_server_that_stalls_is_given_up(slow, holdfast, folder) -> None:
    """A stopped server sends nothing: after 45 s it is left, and nothing counts."""
    policy = policy_of(slow, folder)
    running = holdfast.start(policy, "redis", "dump", "cache")
    in_the_middle(slow)
    began = time.monotonic()
    os.kill(slow.process.pid, signal.SIGSTOP)
    children = [int(pid) for pid in Path(f"/proc/{slow.process.pid}/task/{slow.process.pid}/children").read_text().split()]
    for child in children:
        os.kill(child, signal.SIGSTOP)
    try:
        said = running.communicate(timeout=120)
        assert running.returncode == 2 and "sent nothing for" in "".join(said), said
        assert time.monotonic() - began < 90
    finally:
        for pid in [*children, slow.process.pid]:
            os.kill(pid, signal.SIGCONT)
    assert well(holdfast(policy, "list", "--json")).json == []


def test_expired_keys_are_understood(holdfast, folder) -> None:
    """A file holds keys that have expired and were not yet removed; the test load counts them all."""
    with redis(*DEBUG) as server:
        server.run("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        server.load("\n".join(f"SET gone-{i} 1 PX 1\nSET stays-{i} 1" for i in range(100)))
        policy = policy_of(server, folder)
        taken = take(holdfast, policy)
        assert record(folder, taken["backup"])["redis"]["databases"] == [{"index": 0, "keys": 200, "expiring": 100, "expired": 100}]
        verified = well(holdfast(policy, "verify", "--full", "--json")).json[0]
        loads = next(check for check in verified["checks"] if check["name"] == "loads")
        assert "all 200 keys" in loads["detail"] and "100 of them have expired" in loads["detail"]


def test_schedules_retention_and_copies_are_those_of_dumps(server, holdfast, folder, tmp_path) -> None:
    """What is due is taken once; the newest stay; each file is at the second place too; and status knows."""
    second = tmp_path / "second"
    policy = policy_of(server, folder, schedule={"cron": "* * * * *"}, keep={"newest": 2}, objectives={"max_age": "1h"},
                       copies=[{"directory": str(second)}])
    well(holdfast(policy, "redis", "dump", "--due"))
    slots = {each["backup"] for each in well(holdfast(policy, "list", "--json")).json}
    assert len(slots) == 1
    for _ in range(2):
        next_second()
        take(holdfast, policy)
    listed = well(holdfast(policy, "list", "--json")).json
    assert [each["location_index"] for each in listed].count(0) == 2
    assert {each["backup"] for each in listed if each["location_index"] == 0} == {
        each["backup"] for each in listed if each["location_index"] == 1}
    status = well(holdfast(policy, "status", "--json")).json
    cache = next(each for each in status["assets"] if each["group"] == "cache")
    assert (cache["max_severity"], cache["newest_point"]) == (None, listed[0]["backup"])


def test_the_healthiest_replica_is_read_and_lag_and_links_are_watched(server, holdfast, folder) -> None:
    """From a replica where there is one; a primary without one, or a replica without its primary, are findings."""
    follow = ["--replicaof", "127.0.0.1", str(server.port)]
    policy = policy_of(server, folder, replica_max_lag="10m")
    checked = holdfast(policy, "redis", "check", "--json")
    assert (checked.code, [each["code"] for each in checked.json["findings"]]) == (1, ["no-replica"])
    with redis(*follow, password=PASSWORD) as replica:
        until("the replica", lambda: "state=online" in server.run("INFO", "replication"))
        assert well(holdfast(policy, "redis", "check", "--json")).json["findings"] == []
        taken = take(holdfast, policy)
        written = record(folder, taken["backup"])
        assert (written["redis"]["node"], written["server"]["is_replica"]) == (replica.address, True)
        next_second()
        taken = take(holdfast, policy_of(server, folder, source="address"))
        assert record(folder, taken["backup"])["redis"]["node"] == server.address
        lost = policy_of(replica, folder)
        replica.run("REPLICAOF", "127.0.0.1", "1")
        until("the broken link", lambda: "master_link_status:down" in replica.run("INFO", "replication"))
        checked = holdfast(lost, "redis", "check", "--json")
        assert (checked.code, [each["code"] for each in checked.json["findings"]]) == (1, ["replica-stopped"])
        refused(holdfast(lost, "redis", "dump", "cache"), 75, "link to its primary is down")


def test_sentinels_agree_until_one_is_gone_or_the_primary_is(holdfast, folder) -> None:
    """Three Sentinels; one killed is a finding; so is a primary that they hold for down, until the failover is over."""
    with (redis() as primary, redis("--replicaof", "127.0.0.1", str(primary.port)) as replica,
          sentinel(primary, 2) as one, sentinel(primary, 2) as two, sentinel(primary, 2) as three):
        everyone = [one, two, three]
        for each in everyone:
            each.until("SENTINEL CKQUORUM mymaster", "OK 3 usable")
            each.until("SENTINEL REPLICAS mymaster", str(replica.port))
        policy = policy_of(primary, folder, sentinels=[each.address for each in everyone])
        assert well(holdfast(policy, "redis", "check", "--json")).json["findings"] == []
        three.kill()
        checked = holdfast(policy, "redis", "check", "--json")
        assert (checked.code, {each["code"] for each in checked.json["findings"]}) == (1, {"sentinel-quorum-lost"})
        primary.kill()
        one.until("SENTINEL GET-MASTER-ADDR-BY-NAME mymaster", str(replica.port))
        moved = policy_of(replica, folder, sentinels=[one.address, two.address])
        two.until("SENTINEL GET-MASTER-ADDR-BY-NAME mymaster", str(replica.port))
        taken = take(holdfast, moved)
        assert record(folder, taken["backup"])["redis"]["node"] == replica.address


def test_settings_and_failed_saves_are_findings_and_no_save_is_asked_for_that_could_stop_writes(holdfast, folder) -> None:
    """Settings are compared by meaning; a failed BGSAVE is critical, and then `save` is refused and `dump` works on."""
    with redis("--save", "3600 1 300 100") as server:
        settings = {"save": "300 100 3600 1", "appendonly": "no", "maxmemory": "64mb"}
        policy = policy_of(server, folder, settings=settings)
        checked = well(holdfast(policy, "redis", "check", "--json")).json
        assert [(each["code"], "maxmemory" in each["message"]) for each in checked["findings"]] == [("settings-drift", True)]
        server.run("CONFIG", "SET", "maxmemory", "67108864")
        server.run("SET", "a", "1")
        assert well(holdfast(policy, "redis", "check", "--json")).json["findings"] == []
        well(holdfast(policy, "redis", "save", "cache"))
        assert (server.folder / "dump.rdb").exists()
        (server.folder / "dump.rdb").unlink()
        (server.folder / "dump.rdb").mkdir()
        server.run("SET", "b", "1")
        server.run("BGSAVE")
        until("the failed save", lambda: "rdb_last_bgsave_status:err" in server.run("INFO", "persistence"))
        assert server.try_run("SET", "c", "1").startswith("MISCONF")
        checked = holdfast(policy, "redis", "check", "--json")
        assert (checked.code, [each["code"] for each in checked.json["findings"]]) == (1, ["rdb-save-failed"])
        refused(holdfast(policy, "redis", "save", "cache"), 1, "may stop its writes")
        assert take(holdfast, policy)["rows"] == 2


def test_valkey_with_fields_that_expire_comes_back(holdfast, folder, tmp_path) -> None:
    """Its stream needs to be told a version, its file has another magic, and only Valkey loads it."""
    with redis(program="valkey-server") as server:
        fill(server)
        server.load(VALKEY_FIELD_TTL)
        policy = policy_of(server, folder)
        taken = take(holdfast, policy)
        contents = record(folder, taken["backup"])["redis"]
        assert (contents["family"], contents["magic"][:6]) == ("valkey", "VALKEY")
        assert {each["index"]: each["keys"] for each in contents["databases"]} == server.keys()
        verified = well(holdfast(policy, "verify", "--full", "--json")).json[0]
        assert verified["verdict"] == "good", verified
        without = holdfast(policy, "verify", "--full", "--json", PATH=str(Path(find_program("age")).parent))
        if "valkey-server" not in os.listdir(Path(find_program("age")).parent):
            assert (without.code, without.json[0]["verdict"]) == (2, "could-not-verify"), without.out
        target = tmp_path / "restored"
        well(holdfast(policy, "restore", "cache", "--to", str(target)))
        with redis(program="valkey-server", folder=target) as copy:
            assert copy.keys() == server.keys()
            assert copy.run("HTTL", "session", "FIELDS", "1", "a").strip() not in ("-1", "-2")


def test_s3_gets_the_same(server, holdfast, s3_server) -> None:
    """A bucket of an S3-compatible server, read back, and what the policy lets go is gone."""
    bucket = s3_server.bucket()
    stored = {"bucket": bucket, "prefix": "redis/", "key": "cache_%Y%m%d_%H%M%S.rdb.zst", "endpoint": s3_server.server.endpoint,
              "region": s3_server.server.region, "access_key": {"env": "S3_ID"}, "secret_key": {"env": "S3_SECRET"}}
    env = {"S3_ID": s3_server.server.access_key, "S3_SECRET": s3_server.server.secret_key}
    policy = policy_of(server, None, storage=stored, keep={"newest": 1})
    first = take(holdfast, policy, **env)
    next_second()
    second = take(holdfast, policy, **env)
    assert first["backup"] != second["backup"]
    assert set(s3_server.objects(bucket)) == {f"redis/{second['backup']}{end}" for end in ("", ".sha256", ".json")}
    assert well(holdfast(policy, "verify", "--full", "--json", **env)).json[0]["verdict"] == "good"


def test_the_function_library_is_loaded_as_it_was(server) -> None:
    """The sample has what the tests rely on."""
    assert FUNCTION.splitlines()[0] in server.run("FUNCTION", "LIST", "WITHCODE")

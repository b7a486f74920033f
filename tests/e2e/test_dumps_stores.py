"""Stores: S3-compatible, Azure Blob Storage, second places, and what happens when one refuses."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable

import pytest
import yaml

from backups import LARGE, dump, ended, good, in_folder, listed, next_second, refused, rows, well
from local import ROOT, Ran, until
from peers import MARK, PASSWORD, Command, Database, dump_text, group, policy_of, stock_shell, unmarked
from store_proxy import store_proxy

KEY = "{database}_{reason}_%Y%m%d_%H%M%S.dump"


@pytest.fixture(scope="module")
def shop(postgres_server):
    """A database whose dump is of several parts, only read by the tests here."""
    database = Database(postgres_server, "stores")
    postgres_server.sql("CREATE DATABASE stores")
    database.sql(LARGE.format(rows=200_000))
    yield database
    postgres_server.drop("stores")


@pytest.fixture
def command(holdfast, s3_server, azurite) -> Command:
    """The command with the keys of both servers in its environment."""
    holdfast.env |= {"S3_KEY": s3_server.server.access_key, "S3_SECRET": s3_server.server.secret_key, "AZURE_KEY": azurite.key}
    return holdfast


def in_bucket(s3_server, bucket: str, endpoint: str | None = None, **more) -> dict:
    """A store in a bucket of the S3-compatible server."""
    return {"bucket": bucket, "region": s3_server.server.region, "prefix": "pg/", "key": KEY,
            "endpoint": endpoint or s3_server.server.endpoint, "access_key": {"env": "S3_KEY"},
            "secret_key": {"env": "S3_SECRET"}} | more


def in_container(azurite, container: str, endpoint: str | None = None, **more) -> dict:
    """A store in a container."""
    return {"azure": {"account": azurite.account, "container": container, "endpoint": endpoint or azurite.endpoint,
                      "access_key": {"env": "AZURE_KEY"}}, "key": KEY} | more


def policy(shop: Database, stored: dict, *also: dict, **dump) -> dict:
    """A policy of uncompressed dumps there, with copies."""
    return policy_of(shop=group(shop.server, [shop.name], stored, {"compress": "none"} | dump) | {"copies": list(also)})


def blobs(azurite, container: str, **more: str) -> dict[str, int]:
    """Sizes of the blobs by name, but of the mark of the store."""
    return unmarked(azurite.blobs(container, **more))


@pytest.fixture
def refusing(s3_server):
    """A proxy in front of the S3-compatible server."""
    with store_proxy(s3_server.server.endpoint) as proxy:
        yield proxy


# -- each of them ----------------------------------------------------------------------------------------------------------


def test_a_dump_lies_in_a_bucket_and_comes_back(command, shop, s3_server):
    bucket = s3_server.bucket()
    dumps = policy(shop, in_bucket(s3_server, bucket))
    item = dump(command, dumps)
    key = f"pg/{item['backup']}"
    objects = s3_server.objects(bucket)
    assert set(objects) == {key, f"{key}.sha256", f"{key}.json"} and objects[key] == item["bytes"] > 8 * 2**20
    assert s3_server.uploads(bucket) == []
    said = json.loads(s3_server.get(bucket, f"{key}.json"))
    assert rows(said) == {"public.large": 200_000, "public.small": 10} and f"s3://{bucket}/{key}" in said["restore"]
    well(command(dumps, "verify"))
    well(command(dumps, "restore", f"shop/{shop.name}", "--to", "stores_back"))
    assert dump_text(shop.server, "stores_back") == dump_text(shop.server, shop.name)
    shop.server.drop("stores_back")


def test_a_dump_lies_in_a_container_and_comes_back(command, shop, azurite, container):
    dumps = policy(shop, in_container(azurite, container))
    item = dump(command, dumps)
    assert blobs(azurite, container) == blobs(azurite, container, include="uncommittedblobs")
    assert set(blobs(azurite, container)) == {item["backup"] + end for end in ("", ".sha256", ".json")}
    well(command(dumps, "verify"))
    well(command(dumps, "restore", item["backup"], "--to", "stores_back", "--table", "small"))
    assert Database(shop.server, "stores_back").sql("SELECT count(*) FROM small") == "10"
    shop.server.drop("stores_back")


@pytest.fixture
def locking(s3_server):
    """The S3-compatible server, whose answer about versioning is put as S3 puts it: moto gives it another root."""
    with store_proxy(s3_server.server.endpoint) as proxy:
        proxy.after = lambda request, body: body.replace(b"GetBucketVersioningResponse", b"VersioningConfiguration")
        yield proxy


def test_objects_are_locked_as_long_as_the_rule_surely_keeps_them(command, shop, s3_server, locking):
    bucket = s3_server.bucket(ObjectLockEnabledForBucket=True)
    dumps = policy(shop, in_bucket(s3_server, bucket, locking.url, lock="governance"), tables=["small"], keep={"for": "30d"})
    item = dump(command, dumps)
    for end in ("", ".sha256", ".json"):
        kept = s3_server.client.head_object(Bucket=bucket, Key=f"pg/{item['backup']}{end}")
        assert (kept.get("ObjectLockMode"), end) == ("GOVERNANCE", end)
        assert item["locked_until"].startswith(f"{kept['ObjectLockRetainUntilDate']:%Y-%m-%dT%H:%M}")


def test_a_lock_needs_a_bucket_with_versioning(command, shop, s3_server, locking):
    bucket = s3_server.bucket(ObjectLockEnabledForBucket=True)
    locking.after = lambda request, body: b"<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>" \
        if "versioning" in request.query else body
    dumps = policy(shop, in_bucket(s3_server, bucket, locking.url, lock="governance"), keep={"for": "30d"})
    refused(command(dumps, "dump", "--reason", "manual"), 3, "the bucket's versioning is off")
    assert s3_server.objects(bucket) == {}


# -- second places ---------------------------------------------------------------------------------------------------------


def test_booms_weekly_dump_lies_in_both_containers_and_comes_back_from_there_by_stock_tools(
        command, fresh_database, s3_server, azurite, container, tmp_path):
    """B1: the group as policies/boom-card.yaml has it; only the addresses, the names of what is there and the secrets are the test's."""
    boom = yaml.safe_load((ROOT / "policies" / "boom-card.yaml").read_text())
    rules, shop, second = boom["postgres"]["database-full"], fresh_database(), f"{container}-secondary"
    azurite.create_container(second)
    shop.sql("CREATE TABLE cards AS SELECT i AS id, md5(i::text) AS holder FROM generate_series(1, 5000) i")
    here = {"databases": [shop.name], "host": shop.server.host, "port": shop.server.port, "user": shop.server.user,
            "tls": "disable", "password": {"env": PASSWORD}}
    rules |= here
    rules["dumps"]["full"]["encrypt"]["openssl"] = {"env": "BACKUP_KEY"}
    bucket = s3_server.bucket()
    rules["storage"] |= {key: each for key, each in in_bucket(s3_server, bucket).items() if key not in ("prefix", "key")}
    containers = [container, second]
    assert len(rules["copies"]) == len(containers), "the primary and the secondary of their document"
    for copy, name in zip(rules["copies"], containers, strict=True):
        copy["azure"] = in_container(azurite, name)["azure"]
    for rule in ("owner", "objectives", "replica_max_lag", "checks", "erasure"):
        rules.pop(rule, None)  # of other parts of the policy, and of tables that are not here
    policy = policy_of(**{"database-full": rules})
    env = {"BACKUP_KEY": "correct horse"}
    item = dump(command, policy, "database-full", reason="full", **env)["backup"]
    name = f"full/{item}"
    assert re.fullmatch(rf"full/{shop.name}_\d{{8}}(_\d+)?\.dump\.enc", name), name
    parts = {name + end for end in ("", ".sha256", ".json")}
    assert all(set(blobs(azurite, each)) == parts for each in containers) and set(s3_server.objects(bucket)) == parts
    assert {s3_server.get(bucket, name)} == {azurite.get(each, name) for each in containers}
    assert [each["location_index"] for each in listed(command, policy, **env)] == [0, 1, 2]
    well(command(policy, "verify", "--all", **env))

    # Without the bucket, and without Holdfast.
    for end in ("", ".sha256", ".json"):
        s3_server.client.delete_object(Bucket=bucket, Key=name + end)
    for place, each in enumerate(containers, 1):
        well(command(policy, "restore", item, "--from", str(place), "--to", f"boom_{place}", **env))
        assert Database(shop.server, f"boom_{place}").sql("SELECT count(*) FROM cards") == "5000"
        (tmp_path / "fetched").write_bytes(azurite.get(each, name))
        line = json.loads(azurite.get(each, f"{name}.json"))["restore"]
        stock = fresh_database()
        # Its first part asks Azure itself by Azure's own tool; the rest is run as it stands.
        rest = line.split("|", 1)[1].replace("TARGET", stock.name)
        (tmp_path / "PASSPHRASE.txt").write_text("correct horse\n")
        path = {"PATH": f"{shop.server.programs}:/usr/bin:/bin"}
        done = stock_shell(f"cat fetched | {rest}", shop.server.env() | path, tmp_path)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        assert stock.sql("SELECT count(*) FROM cards") == "5000"


def test_copies_are_the_same_bytes_with_a_record_of_their_own(command, shop, s3_server, azurite, container, tmp_path):
    bucket = s3_server.bucket()
    copies = in_bucket(s3_server, bucket), in_container(azurite, container)
    dumps = policy(shop, in_folder(tmp_path / "b", KEY), *copies, tables=["small"])
    item = dump(command, dumps)["backup"]
    here = (tmp_path / "b" / item).read_bytes()
    assert s3_server.get(bucket, f"pg/{item}") == here == azurite.get(container, item)
    texts = (tmp_path / "b" / f"{item}.json").read_text(), s3_server.get(bucket, f"pg/{item}.json"), azurite.get(container, f"{item}.json")
    records = [json.loads(text) for text in texts]
    assert len({each["file"]["sha256"] for each in records}) == 1 and len({each["restore"] for each in records}) == 3
    assert [each["location_index"] for each in listed(command, dumps)] == [0, 1, 2]
    well(command(dumps, "verify", "--all"))
    (tmp_path / "b" / item).unlink()
    for place in ("1", "2"):
        well(command(dumps, "restore", item, "--from", place, "--to", "stores_back"))
        assert Database(shop.server, "stores_back").sql("SELECT count(*) FROM small") == "10"
        shop.server.drop("stores_back")


@pytest.mark.parametrize("refuses", [lambda request: 403, lambda request: 403 if request.method == "PUT" else None])
def test_a_second_place_that_refuses_fails_the_copy_only_and_the_next_run_makes_up(
        refuses, command, shop, s3_server, refusing, tmp_path):
    bucket = s3_server.bucket()
    refusing.before = refuses
    down = policy(shop, in_folder(tmp_path / "b", KEY), in_bucket(s3_server, bucket, refusing.url), tables=["small"])
    refused(command(down, "dump", "--reason", "manual"), 3, bucket)
    up = policy(shop, in_folder(tmp_path / "b", KEY), in_bucket(s3_server, bucket), tables=["small"])
    first, = listed(command, up)
    assert (first["location_index"], first["state"]) == (0, "good")
    well(command(up, "dump"))
    assert [(each["location_index"], each["backup"]) for each in listed(command, up)] == [(0, first["backup"]), (1, first["backup"])]


def test_a_damaged_dump_is_not_copied(command, shop, s3_server, tmp_path):
    bucket = s3_server.bucket()
    item = dump(command, policy(shop, in_folder(tmp_path / "b", KEY), tables=["small"]))["backup"]
    file = tmp_path / "b" / item
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    dumps = policy(shop, in_folder(tmp_path / "b", KEY), in_bucket(s3_server, bucket), tables=["small"])
    refused(command(dumps, "dump"), 3, "SHA-256")
    assert s3_server.objects(bucket) == {} and s3_server.uploads(bucket) == []


def test_what_did_not_change_leaves_a_note_in_a_bucket_and_a_container_and_no_upload(
        command, fresh_database, s3_server, azurite, container):
    shop, bucket = fresh_database(), s3_server.bucket()
    shop.sql(LARGE.format(rows=200_000))
    dumps = policy(shop, in_bucket(s3_server, bucket), in_container(azurite, container), skip_unchanged=True, keep={"newest": 1})
    dumps["postgres"]["shop"]["min_backups"] = 1
    dumps["limits"] = {"delete": {"share": "100%"}}
    item = dump(command, dumps)["backup"]
    assert s3_server.objects(bucket)[f"pg/{item}"] > 8 * 2**20
    next_second()
    assert dump(command, dumps)["backup"] == item
    note, = {name.removeprefix("pg/") for name in s3_server.objects(bucket)} - {item + end for end in ("", ".sha256", ".json")}
    assert note.startswith(f"{item}.unchanged-") and s3_server.uploads(bucket) == []
    assert azurite.get(container, note) == s3_server.get(bucket, f"pg/{note}")
    assert blobs(azurite, container) == blobs(azurite, container, include="uncommittedblobs")
    well(command(dumps, "verify", "--all"))

    shop.sql("DELETE FROM small WHERE id = 7")
    next_second()
    last = dump(command, dumps)["backup"]
    parts = {last + end for end in ("", ".sha256", ".json")}
    assert set(s3_server.objects(bucket)) == {f"pg/{each}" for each in parts} and set(blobs(azurite, container)) == parts


# -- one that refuses ------------------------------------------------------------------------------------------------------


def nothing_there(command: Command, dumps: dict, s3_server, bucket: str) -> None:
    """Nothing counts, and nothing is left that anybody pays for."""
    assert good(command, dumps) == []
    assert not [key for key in s3_server.objects(bucket) if key.endswith(".json")]


def test_a_bucket_that_is_not_there(command, shop, s3_server):
    refused(command(policy(shop, in_bucket(s3_server, "nobody-made-this")), "dump", "--reason", "manual"), 3, "nobody-made-this")


@pytest.mark.parametrize("how", [500, 403])
def test_a_part_that_is_refused_in_the_middle(how, command, shop, s3_server, refusing):
    bucket = s3_server.bucket()
    dumps = policy(shop, in_bucket(s3_server, bucket, endpoint=refusing.url))
    refusing.before = lambda request: how if request.part >= 2 else None
    refused(command(dumps, "dump", "--reason", "manual", AWS_MAX_ATTEMPTS="2"), 3, bucket)
    nothing_there(command, dumps, s3_server, bucket)
    assert s3_server.objects(bucket) == {} and s3_server.uploads(bucket) == []


def test_a_part_that_is_refused_once_is_sent_again(command, shop, s3_server, refusing):
    bucket, lost = s3_server.bucket(), []
    dumps = policy(shop, in_bucket(s3_server, bucket, endpoint=refusing.url))
    refusing.before = lambda request: lost.append(request) or "drop" if request.part == 2 and len(lost) < 1 else None
    dump(command, dumps)
    assert len(lost) == 1
    well(command(dumps, "verify"))


def test_a_connection_that_is_lost_while_it_is_read_is_taken_up_again(command, shop, s3_server, refusing):
    bucket, lost = s3_server.bucket(), []
    dumps = policy(shop, in_bucket(s3_server, bucket, endpoint=refusing.url))
    item = dump(command, dumps)["backup"]
    refusing.before = lambda request: (
        lost.append(request) or "drop" if request.method == "GET" and request.path.endswith(item) and len(lost) < 2 else None)
    well(command(dumps, "verify"))
    assert len(lost) == 2


KILLED_AT: dict[str, Callable] = {
    "the second part": lambda request: request.part == 2,
    "the end of the upload": lambda request: request.method == "POST" and "uploadId" in request.query,
    "the hash": lambda request: request.method == "PUT" and request.path.endswith(".sha256"),
    "the commit record": lambda request: (
        request.method == "PUT" and request.path.endswith(".json") and not request.path.endswith(MARK)),
}


@pytest.mark.parametrize("moment", KILLED_AT)
def test_kill_9_leaves_nothing_that_the_next_run_does_not_clean_up(moment, command, shop, s3_server, refusing):
    bucket = s3_server.bucket()
    dumps = policy(shop, in_bucket(s3_server, bucket, endpoint=refusing.url))
    runs: list[subprocess.Popen] = []

    def before(request):
        if not KILLED_AT[moment](request):
            return None
        until("the run to be known", lambda: runs)
        runs[0].kill()
        return "drop"

    refusing.before = before
    runs.append(command.start(dumps, "dump", "--reason", "manual"))
    assert ended(runs[0]).code == -signal.SIGKILL
    refusing.before = lambda request: None
    assert s3_server.objects(bucket) or s3_server.uploads(bucket)
    nothing_there(command, dumps, s3_server, bucket)
    item = dump(command, dumps)["backup"]
    assert set(s3_server.objects(bucket)) == {f"pg/{item}{end}" for end in ("", ".sha256", ".json")}
    assert s3_server.uploads(bucket) == []


def test_azure_that_refuses_in_the_middle(command, shop, azurite, container):
    # The emulator's path begins with the account, and so does the proxy's.
    with store_proxy(azurite.endpoint.removesuffix(f"/{azurite.account}")) as proxy:
        dumps = policy(shop, in_container(azurite, container, endpoint=f"{proxy.url}/{azurite.account}"))
        proxy.before = lambda request: 403 if request.part and len([each for each in proxy.seen if each.part]) > 1 else None
        refused(command(dumps, "dump", "--reason", "manual"), 3)
        assert good(command, dumps) == [] and blobs(azurite, container) == {}
        proxy.before = lambda request: None
        dump(command, dumps)


# -- the crate's own tests against real peers --------------------------------------------------------------------------------


def test_the_stores_own_tests_against_these_servers(s3_server, azurite):
    s3_server.client.create_bucket(Bucket="holdfast-test")
    env = os.environ | {"HOLDFAST_TEST_S3_ENDPOINT": s3_server.server.endpoint, "HOLDFAST_TEST_AZURE_ENDPOINT": azurite.endpoint,
                        "HOLDFAST_TEST_AZURE_ACCOUNT": azurite.account, "HOLDFAST_TEST_AZURE_KEY": azurite.key}
    azurite.create_container("holdfast-test")
    done = subprocess.run(["cargo", "test", "-q", "--workspace", "--test", "peers", "--", "--ignored"], cwd=ROOT, env=env,
                          capture_output=True, text=True)
    refused(Ran(done.returncode, done.stdout, done.stderr), 0, "test result: ok")

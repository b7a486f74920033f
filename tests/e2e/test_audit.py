"""The record of operations: what leaves records, what they say, and that nobody changes them unseen."""

import hashlib
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from backups import dump, in_folder, refused, well
from local import lomash
from peers import Database, group, policy_of
from world import fleet

AUDIT = "lomash-wood-audit"
PASSPHRASE = "correct-horse-battery-staple-4711"


@pytest.fixture
def shop(fresh_database) -> Database:
    """A small database."""
    database = fresh_database()
    database.sql("CREATE TABLE orders AS SELECT i AS id FROM generate_series(1, 50) i")
    return database


@pytest.fixture
def log(tmp_path) -> Path:
    """Where operations are recorded."""
    return tmp_path / "log"


@pytest.fixture
def policy(shop, tmp_path, log) -> dict:
    """Encrypted dumps in a directory, recorded in another."""
    key = tmp_path / "passphrase"
    key.write_text(PASSPHRASE)
    key.chmod(0o600)
    dumps = {"manual": {"keep": {"for": "30d"}, "encrypt": {"openssl": {"file": str(key)}}}, "pre-restore": {"keep": {"for": "30d"}}}
    stored = in_folder(tmp_path / "backups", "{reason}/{database}_%Y%m%d_%H%M%S.dump.zst.enc")
    policy = policy_of(shop=group(shop.server, [shop.name], stored) | {"dumps": dumps})
    return policy | {"audit": {"directory": str(log), "prefix": "audit/", "keep": "1y"}}


def lines(log: Path) -> list[dict]:
    """All records, oldest first, as they lie there."""
    return [json.loads(line) for path in sorted(log.glob("audit/*/*.jsonl")) for line in path.read_text().splitlines()]


def hash_of(record: dict) -> str:
    """The hash of a record, computed by other means than Holdfast's."""
    rest = {name: value for name, value in record.items() if name != "hash"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def test_dump_verify_hold_release_and_restore_leave_records_without_a_secret(holdfast, shop, policy, log):
    item = dump(holdfast, policy)
    well(holdfast(policy, "verify"))
    well(holdfast(policy, "verify", "--full"))
    well(holdfast(policy, "hold", item["backup"], "--reason", "case 4711"))
    well(holdfast(policy, "release", item["backup"]))
    well(holdfast(policy, "restore", f"shop/{shop.name}", "--to", f"{shop.name}_check"))
    shop.server.drop(f"{shop.name}_check")

    records = lines(log)
    assert [(each["function"], each["action"].split(" of ")[0], each["result"]) for each in records][1:] == [
        ("verify", "verify", "done"), ("verify", "verify full", "done"), ("hold", "hold", "done"),
        ("release", "release", "done"), ("restore", "restore", "done")]
    taken = records[0]
    assert (taken["function"], taken["asset"], taken["group"]) == ("dump", f"shop/{shop.name}", "shop")
    assert taken["artifact"]["key"] == item["backup"] and taken["artifact"]["bytes"] > 0 and taken["seconds"] > 0
    assert all(each["user"] and each["host"] and each["policy"] for each in records)
    full = records[2]
    assert full["seconds"] > 0 and {each["status"] for each in full["evidence"]["checks"]} <= {"passed", "skipped"}
    assert "case 4711" in records[3]["detail"] and f"{shop.name}_check" in records[5]["detail"]
    assert [each["hash"] for each in records] == [hash_of(each) for each in records]
    assert [each["prev_hash"] for each in records[1:]] == [each["hash"] for each in records[:-1]]

    text = "".join(path.read_text() for path in log.rglob("*.jsonl"))
    assert PASSPHRASE not in text and shop.server.password not in text
    assert {path.stat().st_mode & 0o777 for path in log.rglob("*.jsonl")} == {0o640}
    told = well(holdfast(policy, "audit", "list", "--asset", "shop", "--json")).json
    assert told == records[::-1]
    assert "verify full" in well(holdfast(policy, "audit", "list")).out
    assert well(holdfast(policy, "audit", "list", "--asset", "other", "--json")).json == []
    assert well(holdfast(policy, "audit", "verify", "--json")).json["records"] == 6


def test_what_failed_is_recorded_and_a_dry_run_is_not(holdfast, shop, policy, log):
    well(holdfast(policy, "dump", "--reason", "manual", "--dry-run"))
    assert not log.exists()
    item = dump(holdfast, policy)
    backup = next(Path(policy["postgres"]["shop"]["storage"]["directory"]).rglob(Path(item["backup"]).name))
    backup.chmod(0o640)
    backup.write_bytes(backup.read_bytes()[:-20] + bytes(20))  # of the same size, so that it counts until it is read
    assert holdfast(policy, "verify").code != 0
    assert [(each["function"], each["result"]) for each in lines(log)] == [("dump", "done"), ("verify", "failed")]


def test_a_record_that_can_not_be_written_fails_the_run_after_its_work(holdfast, shop, policy, log):
    log.write_text("a file where the directory should be")
    ran = holdfast(policy, "dump", "--reason", "manual", "--json")
    assert ran.code == 1
    assert [each["code"] for each in ran.json["findings"]] == ["audit-write-failed"]
    assert [each["result"] for each in ran.json["outcomes"]] == ["done"], "the dump is there all the same"
    held = holdfast(policy, "hold", ran.json["outcomes"][0]["artifact"]["key"], "--reason", "x")
    refused(held, 1, "not in the record of operations")


def test_tampering_is_found_and_the_place_is_named(holdfast, shop, policy, log):
    for _ in range(3):
        item = dump(holdfast, policy)
        well(holdfast(policy, "hold", item["backup"], "--reason", "x"))
    head = well(holdfast(policy, "audit", "verify", "--json")).json["head"]
    paths = sorted(log.glob("audit/*/*.jsonl"))
    assert len(paths) == 6 and head.startswith("6:")
    third, last = paths[2], paths[-1]

    def broken(*more: str) -> dict:
        ran = holdfast(policy, "audit", "verify", "--json", *more)
        assert ran.code == 1, ran.out
        return ran.json["first_break"]

    whole = third.read_bytes()
    third.chmod(0o640)
    third.write_bytes(whole.replace(b'"done"', b'"fail"', 1))
    assert broken()["location"] == f"{third} line 1"
    third.unlink()
    assert broken()["location"] == str(third)
    third.write_bytes(paths[3].read_bytes())
    assert broken()["location"] == f"{third} line 1"
    third.write_bytes(whole)
    (third.parent / "note.txt").write_text("x")
    assert broken()["location"].endswith("000000/note.txt")
    (third.parent / "note.txt").unlink()
    well(holdfast(policy, "audit", "verify", "--head", head))
    last.unlink()
    well(holdfast(policy, "audit", "verify"))
    assert broken("--head", head)["location"] == str(last)
    refused(holdfast(policy, "audit", "verify", "--head", "nonsense"), 64, "SEQ:HASH")


def test_commands_at_once_make_one_chain(holdfast, shop, policy, log):
    dump(holdfast, policy)
    begin, env = holdfast.prepare(policy, {})

    def verify(_: int) -> int:
        return subprocess.run([*begin, "verify"], env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=120).returncode

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(verify, range(24))) == [0] * 24
    verdict = well(holdfast(policy, "audit", "verify", "--json")).json
    assert (verdict["objects"], verdict["first_break"]) == (25, None)
    assert len({each["run_id"] for each in lines(log)}) == 25


# -- in a bucket -----------------------------------------------------------------------------------------------------------


def audited(policy: dict) -> None:
    """Lomash Wood's, with a record of operations."""
    policy["audit"] = {"bucket": AUDIT, "prefix": "audit/", "keep": "1y"}


def test_the_local_store_heeds_if_none_match(seeded):
    s3 = seeded.client("s3")
    s3.create_bucket(Bucket="once", CreateBucketConfiguration={"LocationConstraint": fleet.HOME})
    s3.put_object(Bucket="once", Key="a", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError) as refusal:
        s3.put_object(Bucket="once", Key="a", Body=b"2", IfNoneMatch="*")
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    assert seeded.body("once", "a") == b"1"


def test_runs_of_functions_leave_records_in_a_bucket_and_retention_ends_them_by_a_rule(seeded):
    s3, policy = seeded.client("s3"), lomash(audited)
    s3.create_bucket(Bucket=AUDIT, CreateBucketConfiguration={"LocationConstraint": fleet.HOME})
    other = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "x/"}, "Expiration": {"Days": 7}}
    s3.put_bucket_lifecycle_configuration(Bucket=AUDIT, LifecycleConfiguration={"Rules": [other]})
    policy["databases"]["fleet"]["snapshots"]["daily"] = {"schedule": {"cron": "0 2 * * *"}, "keep": {"newest": 1}}
    ran = seeded.holdfast("run", "snapshot", "--json", policy=policy)
    done = [each["action"] for each in ran.json["outcomes"] if each["result"] == "done"]
    assert done, ran.out
    records = seeded.holdfast("audit", "list", "--json", policy=policy).json
    assert sorted(each["action"] for each in records) == sorted(done)
    assert records[0]["function"] == "snapshot" and records[0]["artifact"]["key"]
    seeded.holdfast("run", "retention", "--json", policy=policy)
    rules = {each["ID"]: each for each in s3.get_bucket_lifecycle_configuration(Bucket=AUDIT)["Rules"]}
    assert rules["theirs"]["Expiration"]["Days"] == 7
    assert [each["Expiration"]["Days"] for name, each in rules.items() if name != "theirs"] == [366], "a year is never too short"
    verdict = seeded.holdfast("audit", "verify", "--json", policy=policy)
    assert (verdict.code, verdict.json["first_break"]) == (0, None)
    key = sorted(seeded.objects(AUDIT, "audit/"))[0]
    s3.put_object(Bucket=AUDIT, Key=key, Body=seeded.body(AUDIT, key).replace(b"snapshot", b"snapshut", 1))
    broken = seeded.holdfast("audit", "verify", "--json", policy=policy)
    assert broken.code == 1 and broken.json["first_break"]["location"] == f"s3://{AUDIT}/{key} line 1"


def test_a_lambda_records_what_it_does_under_its_own_role(seeded, functions):
    bucket = f"{AUDIT}-lambda"
    seeded.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": fleet.HOME})
    policy = lomash(lambda policy: policy.update(audit={"bucket": bucket, "prefix": "audit/", "keep": "1y"}))
    seeded.deploy(functions, policy, AuditBucket=bucket, AuditPrefix="audit/")
    answer = seeded.invoke("snapshot", {"reason": "pre-deploy", "assets": ["lomash-orders-prod"]})
    assert not answer.error, answer.payload
    records = seeded.holdfast("audit", "list", "--json", policy=policy).json
    assert [(each["function"], each["asset"], each["result"]) for each in records] == [("snapshot", "lomash-orders-prod", "done")]
    assert records[0]["artifact"]["key"].startswith("lomash-orders-prod-pre-deploy-")
    assert seeded.holdfast("audit", "verify", policy=policy).code == 0

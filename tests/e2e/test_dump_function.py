"""The `dump` Lambda under its own role: Lomash Wood's weekly dumps of a real PostgreSQL, and what the others make of them (L5)."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local import QUICK, World, lomash, until
from peers import dump_text, unmarked
from world import fleet, stack
from world.postgres import Postgres

TILL = "lomash-wood-till"
SECRET, OTHER = "lomash-wood/production/postgres", "lomash-wood/production/other"
SCHEMA = """
    CREATE TABLE _prisma_migrations (id int PRIMARY KEY, finished_at timestamptz, rolled_back_at timestamptz);
    INSERT INTO _prisma_migrations SELECT n, now(), NULL FROM generate_series(1, 3) AS n;
    CREATE TABLE things (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, made date);
    INSERT INTO things (name, made) SELECT 'Größe ' || n, date '2026-01-01' + n FROM generate_series(1, 2000) AS n;
"""
NOISE = "CREATE TABLE noise AS SELECT md5(random()::text) || md5(random()::text) AS text FROM generate_series(1, 400000)"


def till(database: str, **group: Any) -> dict:
    """A group of one database, due each night, in a bucket of its own."""
    stored = {"bucket": TILL, "prefix": f"{database}/", "encryption": "AES256"}
    return {"databases": [database], "password": {"secret": SECRET}, "storage": stored, "objectives": {"max_age": "25h"},
            "dumps": {"nightly": {"schedule": {"cron": "0 2 * * *"}, "keep": {"for": "35d"}}}} | group


@pytest.fixture(scope="module")
def policy() -> dict:
    """Lomash Wood's, as it is, and three groups for what is tried out."""
    def more(policy: dict) -> None:
        slow = till("slow")
        slow["storage"]["bandwidth"] = "1MB"
        policy["postgres"] |= {"till": till("till"), "slow": slow, "foreign": till("till", password={"secret": OTHER})}
        policy["postgres"]["foreign"]["storage"]["prefix"] = "foreign/"
        # A dump on demand alone, so that no schedule asks for it.
        for name in ("slow", "foreign"):
            policy["postgres"][name]["dumps"] = {"manual": {"keep": {"for": "35d"}}}
            del policy["postgres"][name]["objectives"]
    return lomash(more)


@pytest.fixture(scope="module")
def server(postgres_server) -> Iterator[Postgres]:
    """The server with Lomash Wood's databases."""
    names = [*(f"lomash_{service}" for service in fleet.SERVICES), "till", "slow"]
    for name in names:
        postgres_server.sql(f"CREATE DATABASE {name}")
        postgres_server.sql(NOISE if name == "slow" else SCHEMA, name)
    yield postgres_server
    for name in names:
        postgres_server.drop(name)


def rds_secret(server: Postgres, **other: str) -> str:
    """A secret as RDS writes it."""
    return json.dumps({"engine": "postgres", "host": server.host, "port": server.port, "username": server.user,
                       "password": server.password, "dbInstanceIdentifier": "lomash-prod"} | other)


@pytest.fixture(scope="module")
def world(seeded, functions, policy, server) -> World:
    """The stack with `dump`: it may write two buckets and read one secret. The newest seeded dumps are gone, so all are due."""
    secrets, s3 = seeded.client("secretsmanager"), seeded.client("s3")
    arns = {name: secrets.create_secret(Name=name, SecretString=rds_secret(server))["ARN"] for name in (SECRET, OTHER)}
    s3.create_bucket(Bucket=TILL, CreateBucketConfiguration={"LocationConstraint": fleet.HOME})
    newest = max(key[-len("20261115.dump"):-len(".dump")] for key in dumps(seeded))
    for key in [key for key in seeded.objects(fleet.BACKUPS, "pg-logical/") if newest in key]:
        s3.delete_object(Bucket=fleet.BACKUPS, Key=key)
    seeded.deploy(functions, policy, **stack.dump_parameters(fleet.BACKUPS, TILL, secrets=[arns[SECRET]]))
    seeded.slot = datetime.strptime(newest, "%Y%m%d")
    return seeded


def dumps(world: World, bucket: str = fleet.BACKUPS, prefix: str = "pg-logical/") -> set[str]:
    """The dumps that count: those with their commit record."""
    keys = set(world.objects(bucket, prefix))
    return {key for key in keys if f"{key}.json" in keys}


def kept(world: World, prefix: str) -> set[str]:
    """All objects of a group in the bucket of its own, but the mark of its store."""
    return set(unmarked(world.objects(TILL, prefix)))


def key_of(world: World, service: str, weeks: int = 0) -> str:
    """Where the weekly dump of a service belongs."""
    # What was seeded is named by its day; what the function takes by the day on which it does.
    day = world.slot - timedelta(weeks=weeks) if weeks else world.now()
    return f"pg-logical/lomash_{service}/lomash_{service}_{day:%Y%m%d}.dump"


def ask(world: World, *assets: str, reason: str = "schedule") -> Any:
    """Invokes the function for some groups or databases."""
    return world.invoke("dump", {"reason": reason, "assets": list(assets)})


def record(world: World, bucket: str, key: str) -> dict:
    """A dump's commit record."""
    return json.loads(world.body(bucket, f"{key}.json"))


@pytest.fixture(scope="module")
def weekly(world) -> World:
    """The world after EventBridge's own schedule ran the function once, and after that runs only when it is asked."""
    world.forward(minutes=16)
    wanted = {key_of(world, service) for service in fleet.SERVICES}
    until("the dumps of the schedule", lambda: wanted <= dumps(world), 240)
    world.await_runs("dump", 1)
    scheduler = world.client("scheduler")
    for each in scheduler.list_schedules()["Schedules"]:
        scheduler.delete_schedule(Name=each["Name"])
    return world


def as_role(world: World, function: str, service: str) -> Any:
    """A client with a function's own rights."""
    role = world.client("lambda").get_function_configuration(FunctionName=f"{stack.STACK}-{function}")["Role"]
    found = world.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    return boto3.client(
        service, region_name=fleet.HOME, endpoint_url=world.env["AWS_ENDPOINT_URL"], config=QUICK,
        aws_access_key_id=found["AccessKeyId"], aws_secret_access_key=found["SecretAccessKey"],
        aws_session_token=found["SessionToken"])


def denied(call: Any, **arguments: Any) -> None:
    """The call is refused for lack of rights."""
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    assert "AccessDenied" in refused.value.response["Error"]["Code"], refused.value


# -- rights (first, for who signs here is not on the world's clock) -----------------------------------------------------------


def test_the_role_does_what_its_code_does_and_nothing_more(world):
    s3, secrets = as_role(world, "dump", "s3"), as_role(world, "dump", "secretsmanager")
    assert secrets.get_secret_value(SecretId=SECRET)["SecretString"]
    denied(secrets.get_secret_value, SecretId=OTHER)
    denied(secrets.put_secret_value, SecretId=SECRET, SecretString="x")
    for bucket in (fleet.MEDIA, fleet.OFFSITE, fleet.POLICIES):
        key = next(iter(world.objects(bucket)), "x")
        denied(s3.delete_object, Bucket=bucket, Key=key)
        denied(s3.put_object, Bucket=bucket, Key=key, Body=b"")
    denied(s3.delete_object, Bucket=TILL, Key="till/x")  # who dumps only adds
    denied(s3.delete_object, Bucket=fleet.BACKUPS, Key="pg-logical/x")
    denied(s3.get_object, Bucket=fleet.MEDIA, Key="products/00/oak-005.jpg")
    denied(s3.put_bucket_versioning, Bucket=TILL, VersioningConfiguration={"Status": "Suspended"})
    denied(s3.delete_bucket, Bucket=TILL)
    denied(as_role(world, "retention", "s3").put_object, Bucket=TILL, Key="till/x", Body=b"")
    denied(as_role(world, "retention", "s3").delete_object, Bucket=fleet.OFFSITE, Key="x")
    denied(as_role(world, "freshness", "s3").delete_object, Bucket=TILL, Key="x")


# -- taking ----------------------------------------------------------------------------------------------------------------


def test_the_schedule_takes_what_is_due_under_the_names_of_the_strategy_and_nothing_else(weekly):
    expected = {key_of(weekly, service, week) for service in fleet.SERVICES for week in range(fleet.DUMP_WEEKS)}
    assert dumps(weekly) == expected
    assert weekly.metric("DumpsTaken")[-1] >= len(fleet.SERVICES)


def test_stock_pg_restore_alone_reads_a_dump(weekly, server, fresh_database):
    """L5: what `pg_dump -Fc` writes, and no layer around it."""
    body = weekly.body(fleet.BACKUPS, key_of(weekly, "orders"))
    restored = fresh_database()
    server.run("pg_restore", "--exit-on-error", "-d", restored.name, stdin=body)
    assert dump_text(server, restored.name) == dump_text(server, "lomash_orders")


def test_the_record_and_the_hash_beside_a_dump_are_true(weekly, server):
    key = key_of(weekly, "products")
    body, told = weekly.body(fleet.BACKUPS, key), record(weekly, fleet.BACKUPS, key)
    digest = hashlib.sha256(body).hexdigest()
    assert weekly.body(fleet.BACKUPS, f"{key}.sha256").decode() == f"{digest}  {Path(key).name}\n"
    assert (told["file"]["bytes"], told["file"]["sha256"]) == (len(body), digest)
    assert (told["owner"], told["group"], told["database"], told["reason"]) == (
        fleet.OWNER, "dumps", "lomash_products", "weekly")
    assert told["slot"] == f"{weekly.slot:%Y-%m-%d}T01:00:00Z"
    assert {each["name"]: each["rows"] for each in told["tables"]} == {"public._prisma_migrations": 3, "public.things": 2000}
    assert told["restore"].startswith(f"aws s3 cp s3://{fleet.BACKUPS}/{key} - | pg_restore")
    assert server.password not in json.dumps(told)


def test_a_second_run_and_one_that_finds_nothing_due_change_nothing(weekly):
    before = weekly.objects(fleet.BACKUPS, "pg-logical/") | weekly.objects(TILL)
    answer = weekly.invoke("dump")
    assert (answer.error, answer.payload.get("outcomes")) == (None, []), answer.payload
    assert weekly.objects(fleet.BACKUPS, "pg-logical/") | weekly.objects(TILL) == before


def test_the_store_checked_each_object_and_keeps_it_encrypted(weekly):
    nightly = dumps(weekly, TILL, "till/")
    assert len(nightly) == 1
    for key in [*nightly, *(f"{key}.sha256" for key in nightly), *(f"{key}.json" for key in nightly)]:
        head = weekly.client("s3").head_object(Bucket=TILL, Key=key, ChecksumMode="ENABLED")
        assert head["ServerSideEncryption"] == "AES256"
        whole = base64.b64encode(hashlib.sha256(weekly.body(TILL, key)).digest()).decode()
        assert head["ChecksumSHA256"] == whole, key
        assert head["Metadata"]["holdfast-run"]


def test_a_dump_on_demand_is_taken_at_once_and_an_unknown_reason_is_named(weekly):
    before = dumps(weekly, TILL, "till/")
    answer = ask(weekly, "till", reason="party")
    assert answer.error and "party" in answer.said
    answer = ask(weekly, "till", reason="nightly")
    assert answer.error is None, answer.payload
    (made,) = dumps(weekly, TILL, "till/") - before
    assert record(weekly, TILL, made)["slot"] is None


# -- what fails ------------------------------------------------------------------------------------------------------------


def test_a_wrong_password_fails_the_function_and_the_topic_is_told(weekly, server):
    queue, secrets = weekly.listener(), weekly.client("secretsmanager")
    before = set(weekly.objects(TILL))
    secrets.put_secret_value(SecretId=SECRET, SecretString=rds_secret(server, password="not this"))
    try:
        answer = ask(weekly, "till", reason="nightly")
    finally:
        secrets.put_secret_value(SecretId=SECRET, SecretString=rds_secret(server))
    assert answer.error and "password authentication failed" in answer.said
    message = weekly.heard(queue, f"{fleet.POLICY} dump failed")
    assert "till/till" in message and "password authentication failed" in message
    assert "not this" not in message and server.password not in message
    assert set(weekly.objects(TILL)) == before
    assert "not this" not in json.dumps(weekly.logged("dump"))


def test_a_secret_that_the_stack_does_not_name_is_not_read(weekly):
    answer = ask(weekly, "foreign", reason="manual")
    assert answer.error and OTHER in answer.said and "AccessDenied" in answer.said
    assert not weekly.objects(TILL, "foreign/")


@contextmanager
def no_records(world: World) -> Iterator[None]:
    """The function may write no commit records."""
    role = world.client("lambda").get_function_configuration(FunctionName="holdfast-dump")["Role"].split("/")[-1]
    deny = {"Effect": "Deny", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{TILL}/*.json"}
    denies = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    world.client("iam").put_role_policy(RoleName=role, PolicyName="no-records", PolicyDocument=denies)
    try:
        yield
    finally:
        world.client("iam").delete_role_policy(RoleName=role, PolicyName="no-records")


def ages(world: World) -> dict[str, list[str]]:
    """What freshness says of the dumps: group and asset to findings. Two groups may have a database of one name."""
    _, findings = world.judged("freshness")
    found: dict[str, list[str]] = {}
    for each in findings:
        found.setdefault(f"{each.get('group')}/{each['asset']}", []).append(each["code"])
    return found


def test_a_dump_counts_from_its_commit_record_on_which_is_written_last(weekly):
    """And the next run takes the dump, says what stays of the one before, for it only adds, and lets other tools' files be."""
    s3, foreign = weekly.client("s3"), "till/till/till_nightly_20260101_020000.dump.zst"
    for key in kept(weekly, "till/"):
        s3.delete_object(Bucket=TILL, Key=key)
    s3.put_object(Bucket=TILL, Key=foreign, Body=b"by another tool")
    with no_records(weekly):
        answer = ask(weekly, "till")
    assert answer.error and ".json" in answer.said, answer.payload
    (key,) = [key for key in kept(weekly, "till/") if not key.endswith(".sha256") and key != foreign]
    left = {foreign, key, f"{key}.sha256"}
    assert kept(weekly, "till/") == left
    assert ages(weekly)["till/till"] == ["no-backup"]
    listed = weekly.holdfast("list", "till", "--json", policy=lomash(lambda p: p["postgres"].update(till=till("till"))))
    assert listed.code == 0 and [each["state"] for each in listed.json] == ["foreign"], listed

    answer = ask(weekly, "till")
    assert answer.error is None, answer.payload
    (made,) = dumps(weekly, TILL, "till/")
    assert made != key and kept(weekly, "till/") == left | {made, f"{made}.sha256", f"{made}.json"}
    said = [line for line in weekly.logged("dump") if line.get("key") and key.endswith(line["key"])]
    assert [line["level"] for line in said if "leftover stays" in line["message"]] == ["WARN"], said
    assert "till/till" not in ages(weekly)


def test_when_the_lambdas_time_is_over_nothing_is_left_that_counts(weekly):
    """Twenty seconds of its time are for the report, so it stops by itself."""
    aws, name = weekly.client("lambda"), "holdfast-dump"
    aws.update_function_configuration(FunctionName=name, Timeout=24)
    try:
        answer = ask(weekly, "slow", reason="manual")
    finally:
        aws.update_function_configuration(FunctionName=name, Timeout=900)
    assert answer.error and "slow/slow" in answer.said, answer.payload
    assert answer.payload["errorType"] == "Holdfast.Failed", "it ended by itself"
    assert not kept(weekly, "slow/")
    assert weekly.metric("Unfinished", Function="dump")[-1] == 1
    uploads = weekly.client("s3").list_multipart_uploads(Bucket=TILL).get("Uploads", [])
    left = {each["Key"] for each in uploads}
    assert all(key.startswith("slow/") for key in left)
    # The next run gives up what that one began.
    policy = lomash(lambda p: p["postgres"].update(slow=till("slow", dumps={"manual": {"keep": {"for": "35d"}}})))
    done = weekly.holdfast("dump", "slow", "--reason", "manual", "--no-retention", policy=policy)
    assert done.code == 0, done
    assert not weekly.client("s3").list_multipart_uploads(Bucket=TILL).get("Uploads", [])
    assert len(dumps(weekly, TILL, "slow/")) == 1


# -- what the others make of them ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def aged(weekly) -> dict[str, list[str]]:
    """Dumps of a hundred days ago: one of ours, one held, one locked, one of another owner, one of another tool."""
    s3, keys = weekly.client("s3"), {}
    for number, what in enumerate(["ours", "held", "locked", "owner", "foreign"]):
        taken = weekly.slot - timedelta(weeks=16 - number)
        key = f"pg-logical/lomash_auth/lomash_auth_{taken:%Y%m%d}.dump"
        until_when = {"locked_until": f"{weekly.now() + timedelta(days=9):%FT%TZ}"}
        other = {"locked": until_when, "owner": {"owner": "another@host-1"}}.get(what, {})
        system = {"server": record(weekly, fleet.BACKUPS, key_of(weekly, "auth"))["server"]}
        files = fleet.dump(fleet.BACKUPS, key, taken, taken, **system, **other)
        files = files[:1] if what == "foreign" else files
        if what == "held":
            hold = {"why": "case 4711", "since": f"{taken:%FT%TZ}", "by": "auditor"}
            files.append(fleet.Object(taken, fleet.BACKUPS, f"{key}.hold", json.dumps(hold).encode()))
        for each in files:
            s3.put_object(Bucket=each.bucket, Key=each.key, Body=each.body)
        keys[what] = [each.key for each in files]
    return keys


def test_retention_lets_an_old_dump_go_and_keeps_held_locked_and_foreign_ones(weekly, aged):
    before = set(weekly.objects(fleet.BACKUPS)) | set(weekly.objects(TILL))
    answer = weekly.invoke("retention")
    assert answer.error is None, answer.payload
    after = set(weekly.objects(fleet.BACKUPS)) | set(weekly.objects(TILL))
    assert before - after == set(aged["ours"]), "with its record and its hash"
    assert not after - before
    again = weekly.invoke("retention")
    assert not [each for each in again.payload["outcomes"] if "s3://" in each["action"]]


def test_offsite_copies_dumps_with_their_records(weekly):
    wanted = set(weekly.objects(fleet.BACKUPS, "pg-logical/lomash_orders/"))
    assert key_of(weekly, "orders") + ".json" in wanted
    until("the copies of the events", lambda: wanted & set(weekly.objects(fleet.OFFSITE)) >= {
        key_of(weekly, "orders") + end for end in ("", ".sha256", ".json")})
    for end in ("", ".sha256", ".json"):
        key = key_of(weekly, "orders") + end
        assert weekly.body(fleet.OFFSITE, key) == weekly.body(fleet.BACKUPS, key)


# -- the command in the same world -----------------------------------------------------------------------------------------


def test_the_command_lists_what_the_function_took(weekly):
    listed = weekly.holdfast("list", "dumps/lomash_orders", "--json")
    assert listed.code == 0, listed
    assert {(each["backup"], each["state"]) for each in listed.json} == {
        (key_of(weekly, "orders", week).removeprefix("pg-logical/"), "good") for week in range(fleet.DUMP_WEEKS)}


def test_the_command_verifies_it_quick_and_full_with_the_policys_own_checks(weekly, server):
    quick = weekly.holdfast("verify", "dumps", "--json")
    assert quick.code == 0, quick
    full = weekly.holdfast("verify", "dumps/lomash_orders", "--full", "--json")
    assert full.code == 0, full
    assert "migrated" in full.out
    key = key_of(weekly, "orders", 1)
    size = weekly.objects(fleet.BACKUPS, key)[key]["Size"]
    weekly.client("s3").put_object(Bucket=fleet.BACKUPS, Key=key, Body=bytes(size))
    changed = weekly.holdfast("verify", key.removeprefix("pg-logical/"))
    assert changed.code == 1 and "SHA-256" in changed.out, changed


def test_the_command_restores_it_beside_the_original(weekly, server, fresh_database):
    assert fresh_database, "what is restored is dropped again"
    done = weekly.holdfast("restore", "dumps/lomash_orders", "--to", "orders_again", "--json")
    assert done.code == 0, done
    assert dump_text(server, "orders_again") == dump_text(server, "lomash_orders")

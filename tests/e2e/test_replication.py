"""S3 media: versioning, replication, lag, missing objects and the life of old versions (L7)."""

from contextlib import contextmanager

import pytest

from local import lomash
from world import fleet

MEDIA, REPLICA = fleet.MEDIA, fleet.REPLICA


@pytest.fixture(scope="module")
def policy():
    """Lomash Wood's, with all objects read on both sides instead of ten."""
    def sample_all(policy: dict) -> None:
        policy["buckets"]["media"]["replication"]["sample"] = 1000
    return lomash(sample_all)


def named(world) -> dict[str, str]:
    """What a failing run says of the bucket of media, by kind."""
    answer, findings = world.judged("replication")
    assert answer.error and MEDIA in answer.said, answer.payload
    return {each["code"]: each["message"] for each in findings if each["asset"] == MEDIA}


def tolerated(world) -> dict[str, str]:
    """What a run says of the bucket of media that does not fail: "within a few objects of each other"."""
    answer, findings = world.judged("replication")
    assert answer.error is None, answer.payload
    return {each["code"]: each["message"] for each in findings if each["asset"] == MEDIA}


@contextmanager
def replica_lacks(world, keys: list[str]):
    """The replica without some objects."""
    s3 = world.client("s3", fleet.REPLICA_REGION)
    markers = {key: s3.delete_object(Bucket=REPLICA, Key=key)["VersionId"] for key in keys}
    try:
        yield
    finally:
        for key, version in markers.items():
            s3.delete_object(Bucket=REPLICA, Key=key, VersionId=version)


@contextmanager
def replica_has(world, key: str, body: bytes):
    """The replica with other bytes in an object."""
    s3 = world.client("s3", fleet.REPLICA_REGION)
    version = s3.put_object(Bucket=REPLICA, Key=key, Body=body)["VersionId"]
    try:
        yield
    finally:
        s3.delete_object(Bucket=REPLICA, Key=key, VersionId=version)


def test_a_bucket_that_is_replicated_is_green(world):
    answer, findings = world.judged("replication")
    assert (answer.error, findings) == (None, [])
    assert len(world.objects(MEDIA)) == len(world.objects(REPLICA)) == fleet.MEDIA_OBJECTS - 1
    assert world.metric("ReplicationLag", Group="media")[-1] == 0
    assert world.metric("ReplicationMissing", Group="media")[-1] == 0


def test_suspended_versioning_is_named(world):
    s3 = world.client("s3")
    s3.put_bucket_versioning(Bucket=MEDIA, VersioningConfiguration={"Status": "Suspended"})
    try:
        found = named(world)
    finally:
        s3.put_bucket_versioning(Bucket=MEDIA, VersioningConfiguration={"Status": "Enabled"})
    assert "versioning is suspended" in found["versioning-off"].lower()


def test_suspended_versioning_of_the_replica_is_named(world):
    s3 = world.client("s3", fleet.REPLICA_REGION)
    s3.put_bucket_versioning(Bucket=REPLICA, VersioningConfiguration={"Status": "Suspended"})
    try:
        found = named(world)
    finally:
        s3.put_bucket_versioning(Bucket=REPLICA, VersioningConfiguration={"Status": "Enabled"})
    assert REPLICA in found["replica-versioning"]


@pytest.mark.parametrize("how", ["removed", "disabled"])
def test_a_replication_rule_that_is_gone_or_off_is_named(world, how):
    s3 = world.client("s3")
    rules = s3.get_bucket_replication(Bucket=MEDIA)["ReplicationConfiguration"]
    if how == "removed":
        s3.delete_bucket_replication(Bucket=MEDIA)
    else:
        off = [rule | {"Status": "Disabled"} for rule in rules["Rules"]]
        s3.put_bucket_replication(Bucket=MEDIA, ReplicationConfiguration=rules | {"Rules": off})
    try:
        found = named(world)
    finally:
        s3.put_bucket_replication(Bucket=MEDIA, ReplicationConfiguration=rules)
    assert REPLICA in found["rule-missing"]


def test_one_missing_object_is_tolerated_and_named_with_its_lag(world):
    key = "products/00/oak-005.jpg"
    with replica_lacks(world, [key]):
        assert key in tolerated(world)["replication-lag"]
        assert world.metric("ReplicationMissing", Group="media")[-1] == 1
        age = (world.now() - world.objects(MEDIA)[key]["LastModified"]).total_seconds()
        assert world.metric("ReplicationLag", Group="media")[-1] == pytest.approx(age, abs=60)


def test_more_missing_objects_than_are_tolerated_are_counted(world):
    with replica_lacks(world, list(world.objects(MEDIA))[10:16]):
        found = named(world)
        assert "6 of 39 objects" in found["replica-incomplete"] and "6 missing" in found["replica-incomplete"]
        assert "replication-lag" in found
        assert world.metric("ReplicationMissing", Group="media")[-1] == 6


def test_an_object_of_another_size_in_the_replica_is_not_there(world):
    key = "products/01/oak-011.jpg"
    with replica_has(world, key, b"cut short"):
        assert key in tolerated(world)["replication-lag"]
        assert world.metric("ReplicationMissing", Group="media")[-1] == 1


def test_an_object_of_the_same_size_and_other_bytes_is_found_by_reading_both(world):
    key = "products/02/oak-021.jpg"
    with replica_has(world, key, bytes(len(world.body(MEDIA, key)))):
        found = named(world)
        assert key in found["replica-differs"]


def test_a_missing_lifecycle_rule_is_named(world):
    s3 = world.client("s3")
    rules = s3.get_bucket_lifecycle_configuration(Bucket=MEDIA)["Rules"]
    s3.delete_bucket_lifecycle(Bucket=MEDIA)
    try:
        _, findings = world.judged("replication")
    finally:
        s3.put_bucket_lifecycle_configuration(Bucket=MEDIA, LifecycleConfiguration={"Rules": rules})
    assert [each["asset"] for each in findings if each["code"].startswith("noncurrent")] == [MEDIA]


def test_a_lifecycle_rule_that_lets_go_too_early_fails(world):
    s3 = world.client("s3")
    rules = s3.get_bucket_lifecycle_configuration(Bucket=MEDIA)["Rules"]
    short = [{"ID": "short", "Status": "Enabled", "Filter": {"Prefix": ""},
              "NoncurrentVersionExpiration": {"NoncurrentDays": 30}}]
    s3.put_bucket_lifecycle_configuration(Bucket=MEDIA, LifecycleConfiguration={"Rules": short})
    try:
        found = named(world)
    finally:
        s3.put_bucket_lifecycle_configuration(Bucket=MEDIA, LifecycleConfiguration={"Rules": rules})
    assert "30 days" in found["noncurrent-too-short"]

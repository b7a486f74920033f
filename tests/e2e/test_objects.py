"""Dumps and RDB files in a bucket of another region (L13)."""

import hashlib
from datetime import timedelta

import pytest

from local import until
from world import fleet

PREFIXES = ("pg-logical/", "redis/")


@pytest.fixture(scope="module")
def swept(world):
    """The world after the sweep of Sunday, 04:00, by which all of the seeded objects are due."""
    now = world.now()
    sunday = now.replace(hour=4, minute=0, second=0, microsecond=0) + timedelta(days=(6 - now.weekday()) % 7)
    if sunday <= now:
        sunday += timedelta(days=7)
    world.forward(seconds=(sunday - now).total_seconds() + 60)
    answer = world.invoke("offsite")
    # What moved the clock also made the schedule fire, and two runs at once may each find the other's copies.
    assert answer.error is None, answer.payload
    return world


def sources(world) -> dict[str, dict]:
    """The objects that the policy wants offsite."""
    return {key: each for key, each in world.objects(fleet.BACKUPS).items() if key.startswith(PREFIXES)}


def test_every_dump_and_rdb_file_is_offsite_with_the_same_bytes(swept):
    found = sources(swept)
    assert len(found) >= fleet.DUMP_WEEKS * len(fleet.SERVICES) + fleet.RDB_HOURS
    assert set(found) <= set(swept.objects(fleet.OFFSITE))
    for key in found:
        there, here = (hashlib.sha256(swept.body(bucket, key)).hexdigest() for bucket in (fleet.OFFSITE, fleet.BACKUPS))
        assert there == here, key


def test_a_second_sweep_copies_nothing_again(swept):
    before = swept.objects(fleet.OFFSITE)
    swept.next_minute()
    answer = swept.invoke("offsite")
    assert answer.error is None
    assert not [each for each in answer.payload["outcomes"] if each["action"].startswith("copy s3://")]
    after = swept.objects(fleet.OFFSITE)
    assert {key: each["LastModified"] for key, each in after.items()} == {
        key: each["LastModified"] for key, each in before.items()}


def test_a_new_object_is_copied_by_its_event_alone(swept):
    key = f"redis/dump-event-{swept.now():%Y%m%d%H%M%S}.rdb"
    swept.client("s3").put_object(Bucket=fleet.BACKUPS, Key=key, Body=b"REDIS0011 new")
    # A sweep would leave it to next Sunday, so only the event can have brought it.
    until("the copy of a new object", lambda: key in swept.objects(fleet.OFFSITE))
    assert swept.body(fleet.OFFSITE, key) == b"REDIS0011 new"


def test_an_object_under_another_prefix_stays_where_it_is(swept):
    other, marker = "k8s/cluster-state.yaml", f"redis/marker-{swept.now():%Y%m%d%H%M%S}.rdb"
    runs = swept.runs("offsite")
    for key in (other, marker):
        swept.client("s3").put_object(Bucket=fleet.BACKUPS, Key=key, Body=b"x")
    swept.await_runs("offsite", runs + 2)
    until("the copy of the other object", lambda: marker in swept.objects(fleet.OFFSITE))
    assert other not in swept.objects(fleet.OFFSITE)


def test_an_object_written_again_is_copied_again(swept):
    key = next(iter(sources(swept)))
    swept.client("s3").put_object(Bucket=fleet.BACKUPS, Key=key, Body=b"PGDMP second try, of another size")
    until("the copy of the newer form", lambda: swept.body(fleet.OFFSITE, key) == b"PGDMP second try, of another size")


def test_nothing_is_deleted_offsite_when_it_goes_at_home(swept):
    key = f"redis/gone-{swept.now():%Y%m%d%H%M%S}.rdb"
    swept.client("s3").put_object(Bucket=fleet.BACKUPS, Key=key, Body=b"REDIS0011 gone")
    until("the copy", lambda: key in swept.objects(fleet.OFFSITE))
    swept.client("s3").delete_object(Bucket=fleet.BACKUPS, Key=key)
    assert swept.invoke("offsite").error is None
    assert swept.body(fleet.OFFSITE, key) == b"REDIS0011 gone"

"""What goes: only ours, only what the rule lets go, and never the last good ones (I14)."""

from datetime import timedelta

import pytest

from local import INSTANCES
from world import fleet

OLD = timedelta(days=90)
HELD = "lomash-auth-prod"


def older_than_the_rule(world, snapshots: dict[str, dict]) -> set[str]:
    """Holdfast's pre-deployment snapshots that are older than 90 days."""
    return {
        name for name, each in snapshots.items()
        if each["tags"].get("holdfast:reason") == "pre-deploy" and world.now() - each["SnapshotCreateTime"] > OLD
    }


@pytest.fixture(scope="module")
def story(world):
    """What was there before anything went, after the run before the copies were made, and after the one with them."""
    hold = next(name for name in older_than_the_rule(world, world.snapshots(HELD)))
    world.client("rds").add_tags_to_resource(
        ResourceName=world.snapshots()[hold]["DBSnapshotArn"], Tags=[{"Key": "holdfast:hold", "Value": "case 4711"}])
    world.back_up(*INSTANCES)  # their age says that the clock is right
    assert world.invoke("snapshot").error is None
    seen = {"hold": hold, "start": world.snapshots()}
    seen["early"] = world.invoke("retention")
    seen["uncopied"] = world.snapshots()
    world.settle(lambda: world.invoke("offsite").payload)
    seen["away"] = world.snapshots(region=fleet.OFFSITE_REGION)
    seen["run"] = world.invoke("retention")
    seen["end"] = world.snapshots()
    return seen


def test_nothing_goes_before_its_copy_was_made(story):
    assert story["early"].error is None
    assert set(story["uncopied"]) == set(story["start"])


def test_exactly_what_is_ours_and_older_than_its_rule_goes(world, story):
    assert story["run"].error is None, story["run"].payload
    old = older_than_the_rule(world, story["start"])
    assert len(old) == 2 * len(INSTANCES)
    assert set(story["start"]) - set(story["end"]) == old - {story["hold"]}
    assert not set(story["end"]) - set(story["start"])


def test_a_persons_own_snapshot_stays_however_old(story):
    assert fleet.OWN_SNAPSHOT[0] in story["end"]


def test_a_held_snapshot_stays(story):
    assert story["hold"] in story["end"]


def test_the_copies_stay(world, story):
    assert world.snapshots(region=fleet.OFFSITE_REGION) == story["away"]


def test_what_went_is_counted_and_said(world, story):
    gone = set(story["start"]) - set(story["end"])
    assert world.metric("BackupsDeleted")[-1] == len(gone)
    assert {each["detail"] for each in story["run"].payload["outcomes"]} == {f"{name} is deleted" for name in gone}


def test_another_run_deletes_nothing(world, story):
    answer = world.invoke("retention")
    assert (answer.error, answer.payload["outcomes"]) == (None, [])
    assert set(world.snapshots()) == set(story["end"])

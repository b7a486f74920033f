"""Before a deployment: a pipeline invokes the snapshot function, waits for it, and stops when it fails (L2, I5)."""

import re

from local import FUNCTIONS, INSTANCES, running
from world import fleet


def demand(request: str, **more: object) -> dict:
    """What the pipeline sends."""
    return {"reason": "pre-deploy", "wait": True, "request_id": request, **more}


def taken(world, request: str) -> dict[str, dict]:
    """The snapshots that a demand got."""
    return {name: each for name, each in world.snapshots().items() if each["tags"].get("holdfast:request") == request}


def test_every_instance_gets_a_snapshot_named_and_tagged_as_the_strategy_says(world):
    world.next_minute()
    before = world.now()
    answer = world.invoke("snapshot", demand("deploy-1"))
    minutes = {f"{at:%Y%m%d%H%M}" for at in (before, world.now())}
    assert answer.error is None, answer.payload
    found = taken(world, "deploy-1")
    slots = {each["tags"]["holdfast:slot"] for each in found.values()}
    assert len(slots) == 1 and slots <= minutes
    slot = slots.pop()
    assert set(found) == {f"{instance}-pre-deploy-{slot}" for instance in INSTANCES}
    for name, each in found.items():
        instance = each["DBInstanceIdentifier"]
        assert (each["Status"], each["SnapshotType"]) == ("available", "manual")
        own = world.tags(instance)
        assert own, "the fleet's databases have tags of their own"
        ours = {"holdfast:owner": fleet.OWNER, "holdfast:reason": "pre-deploy", "holdfast:asset": instance,
                "holdfast:family": "instance", "holdfast:resource-id": each["DbiResourceId"],
                "holdfast:slot": slot, "holdfast:request": "deploy-1"}
        assert each["tags"] == own | ours, name
    outcomes = answer.payload["outcomes"]
    assert {(each["result"], each["detail"]) for each in outcomes} == {("done", name) for name in found}


def test_the_same_demand_again_takes_nothing_and_answers_with_what_is_there(world):
    assert world.invoke("snapshot", demand("deploy-twice")).error is None
    before = world.snapshots()
    world.next_minute()
    again = world.invoke("snapshot", demand("deploy-twice"))
    assert again.error is None
    assert world.snapshots() == before
    assert {each["detail"] for each in again.payload["outcomes"]} == set(taken(world, "deploy-twice"))


def test_another_demand_takes_eight_more_even_in_the_same_minute(world):
    assert world.invoke("snapshot", demand("deploy-a")).error is None
    before = set(world.snapshots())
    assert world.invoke("snapshot", demand("deploy-b")).error is None
    more = set(world.snapshots()) - before
    assert more == set(taken(world, "deploy-b"))
    assert len(more) == 8 == len(taken(world, "deploy-a"))
    assert all(re.fullmatch(r"lomash-\w+-prod-pre-deploy-\d{12}(-[0-9a-f]{8})?", name) for name in more)


def test_a_demand_for_one_asset_takes_one(world):
    assert world.invoke("snapshot", demand("deploy-one", assets=["lomash-orders-prod"])).error is None
    assert [each["DBInstanceIdentifier"] for each in taken(world, "deploy-one").values()] == ["lomash-orders-prod"]


def test_an_unknown_asset_fails_by_name_and_nothing_is_taken(world):
    before = world.everything()
    answer = world.invoke("snapshot", demand("deploy-x", assets=["lomash-orders-prod", "lomash-nobody-prod"]))
    assert answer.error and "lomash-nobody-prod" in answer.said
    assert world.everything() == before


def test_an_unknown_reason_fails_by_name_and_nothing_is_taken(world):
    before = world.everything()
    answer = world.invoke("snapshot", demand("deploy-y") | {"reason": "pre-party"})
    assert answer.error and "pre-party" in answer.said
    assert world.everything() == before


def test_a_dry_run_says_what_it_would_take_and_takes_nothing(world):
    before = world.everything()
    answer = world.invoke("snapshot", demand("deploy-dry", dry_run=True))
    assert answer.error is None
    assert {each["result"] for each in answer.payload["outcomes"]} == {"planned"}
    assert len(answer.payload["outcomes"]) == 8
    assert world.everything() == before


def test_one_bad_database_among_eight_stops_the_pipeline_and_no_other_snapshot(functions):
    with running() as world:
        world.seed()
        world.deploy(functions)
        queue = world.listener()
        world.client("rds").delete_db_instance(DBInstanceIdentifier="lomash-customers-prod", SkipFinalSnapshot=True)

        answer = world.invoke("snapshot", demand("deploy-1"))

        assert answer.error, "the pipeline must stop"
        assert "lomash-customers-prod" in answer.said
        assert not [name for name in INSTANCES if name in answer.said and name != "lomash-customers-prod"]
        found = taken(world, "deploy-1")
        assert {each["DBInstanceIdentifier"] for each in found.values()} == set(INSTANCES) - {"lomash-customers-prod"}
        # Published before it failed: they are there when the answer is.
        assert world.metric("RunsFailed", Function="snapshot") == [1]
        assert world.metric("RunsCompleted", Function="snapshot") == [1]
        assert world.metric("SnapshotsTaken") == [7]
        assert "lomash-customers-prod" in world.heard(queue, "lomash-wood snapshot failed")


def test_the_stack_has_all_five_functions(world):
    assert set(world.deployed["functions"].values()) == {f"holdfast-{name}" for name in FUNCTIONS}

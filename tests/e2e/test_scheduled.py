"""Scheduled snapshots: what the policy's times say is due is taken once, whoever looks and however often."""

from concurrent.futures import ThreadPoolExecutor

from local import INSTANCES, LOMASH, slot_due, until


def daily(world, slot: str) -> dict[str, list[str]]:
    """The daily snapshots of a slot, by database; tries of one slot have different names and one slot."""
    found: dict[str, list[str]] = {}
    for name, each in world.snapshots().items():
        if (each["tags"].get("holdfast:reason"), each["tags"].get("holdfast:slot")) == ("daily", slot):
            found.setdefault(each["DBInstanceIdentifier"], []).append(name)
    return found


def test_late_slots_are_taken_once_and_a_second_delivery_takes_nothing(world):
    before = set(world.snapshots())
    slot = slot_due(world.now())
    late = set(INSTANCES) - set(daily(world, slot))
    assert late, "the fleet has databases whose snapshot is late"
    answer = world.invoke("snapshot")
    assert answer.error is None, answer.payload
    assert set(world.snapshots()) - before == {f"{instance}-daily-{slot}" for instance in late}
    after = world.snapshots()
    again = world.invoke("snapshot")
    assert (again.error, again.payload["outcomes"]) == (None, [])
    assert world.snapshots() == after


def test_many_at_once_take_one_snapshot_each(world):
    slot = world.next_slot()
    with ThreadPoolExecutor() as pool:
        commands = [pool.submit(world.holdfast, "run", "snapshot", policy=LOMASH) for _ in range(3)]
        functions = [pool.submit(world.invoke, "snapshot") for _ in range(2)]
    for each in commands:
        assert each.result().code == 0, each.result()
    for each in functions:
        assert each.result().error is None, each.result()
    assert daily(world, slot) == {instance: [f"{instance}-daily-{slot}"] for instance in INSTANCES}


def test_a_stopped_instance_is_deferred_by_name_and_taken_when_it_is_back(world):
    rds, stopped = world.client("rds"), "lomash-orders-prod"
    rds.stop_db_instance(DBInstanceIdentifier=stopped)
    slot = world.next_slot()
    answer, findings = world.judged("snapshot")
    assert answer.error is None, "a database that is stopped is no failure"
    deferred = [each for each in findings if each["code"] == "backup-deferred"]
    assert [each["asset"] for each in deferred] == [stopped]
    assert "stopped" in deferred[0]["message"] and "daily" in deferred[0]["message"]
    assert set(daily(world, slot)) == set(INSTANCES) - {stopped}
    assert world.metric("SnapshotsDeferred")[-1] == 1

    rds.start_db_instance(DBInstanceIdentifier=stopped)
    assert world.invoke("snapshot").error is None
    until("the snapshot that was put off", lambda: daily(world, slot).get(stopped) == [f"{stopped}-daily-{slot}"])

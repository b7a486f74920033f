"""EventBridge Scheduler runs the functions by itself, and an RDS event runs those that its rules name."""

import json

from local import FUNCTIONS, ROOT

QUARTER_HOURLY = ["snapshot", "offsite", "freshness", "replication"]


def test_the_schedules_fire_every_quarter_of_an_hour_and_retentions_every_hour(world):
    before = {name: world.runs(name) for name in FUNCTIONS}
    world.forward(minutes=16)
    for name in QUARTER_HOURLY:
        world.await_runs(name, before[name] + 1)
    assert world.runs("retention") == before["retention"], "its hour is not over"
    world.forward(minutes=46)
    world.await_runs("retention", before["retention"] + 1)
    for name in QUARTER_HOURLY:
        world.await_runs(name, before[name] + 2)


def test_backups_that_are_switched_off_are_looked_at_without_waiting_for_the_schedule(world):
    before = world.runs("freshness")
    told = json.loads(world.dev("rds-event", str(ROOT / "events" / "rds-backups-disabled.json")))
    assert [each["function"] for each in told["invoked"]] == ["holdfast-freshness"]
    world.await_runs("freshness", before + 1)


def test_an_event_that_no_rule_wants_runs_nothing(world, tmp_path):
    event = json.loads((ROOT / "events" / "rds-backups-disabled.json").read_text())
    event["detail"]["EventID"] = "RDS-EVENT-0006"  # restarted
    file = tmp_path / "event.json"
    file.write_text(json.dumps(event))
    assert json.loads(world.dev("rds-event", str(file))) == {"invoked": []}

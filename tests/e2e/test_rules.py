"""One rule of a policy each, on a database of its own, by the command: enforcing settings, and the brakes on deleting."""

import pytest

from local import INSTANCES, slot_due

HOME = {"account": "123456789012", "region": "eu-west-1"}


@pytest.fixture(scope="module", autouse=True)
def backed_up(seeded):
    """RDS's own snapshots are of today: what is made on demand goes only while their age says that the clock is right."""
    seeded.back_up(*INSTANCES)


def policy(database: str, limits: dict | None = None, **group: object) -> dict:
    """A policy of one database."""
    fleet = {"select": {"identifiers": [database]}, **group}
    return {"holdfast": 1, "company": "lomash-wood", "home": HOME, "databases": {"fleet": fleet},
            "limits": {"delete": limits or {"count": 500, "share": "100%"}}}


def keep(newest: int) -> dict:
    """Rules that keep so many of each reason."""
    return {"daily": {"keep": {"newest": newest}}, "pre-deploy": {"keep": {"newest": newest}}}


def found(ran, database: str) -> dict[str, str]:
    """What a run found about a database, and why; the policy speaks of no other one's points, which is said of those."""
    return {each["code"]: each["message"] for each in ran.json["findings"] if each["asset"] == database}


def newest_first(world, database: str) -> list[str]:
    """Holdfast's snapshots of a database."""
    ours = [s for s in world.snapshots(database).values() if "holdfast:owner" in s["tags"]]
    return [s["DBSnapshotIdentifier"] for s in sorted(ours, key=lambda s: s["SnapshotCreateTime"], reverse=True)]


def settings(world, database: str) -> tuple[int, str]:
    """Retention and window of a database's automated backups."""
    found = world.client("rds").describe_db_instances(DBInstanceIdentifier=database)["DBInstances"][0]
    return found["BackupRetentionPeriod"], found["PreferredBackupWindow"]


def test_enforced_settings_are_set(seeded):
    """I1."""
    database = "lomash-analytics-prod"
    assert settings(seeded, database) == (7, "04:00-05:00")
    wanted = {"retention": "35d", "window": "02:00-03:00", "on_drift": "enforce"}
    ran = seeded.holdfast("run", "freshness", "--json", policy=policy(database, automated_backups=wanted))
    assert [each["result"] for each in ran.json["outcomes"]] == ["done"], ran
    assert settings(seeded, database) == (35, "02:00-03:00")
    again = seeded.holdfast("run", "freshness", "--json", policy=policy(database, automated_backups=wanted))
    assert again.json["outcomes"] == [], again


def test_a_longer_retention_is_never_shortened(seeded):
    database = "lomash-auth-prod"
    wanted = {"retention": "7d", "window": "05:00-06:00", "on_drift": "enforce"}
    seeded.holdfast("run", "freshness", policy=policy(database, automated_backups=wanted))
    try:
        assert settings(seeded, database) == (35, "05:00-06:00")
    finally:
        seeded.client("rds").modify_db_instance(
            DBInstanceIdentifier=database, PreferredBackupWindow="02:00-03:00", ApplyImmediately=True)


def test_backups_that_are_switched_off_are_named_and_never_switched_on(seeded):
    database = "lomash-products-prod"
    seeded.client("rds").modify_db_instance(
        DBInstanceIdentifier=database, BackupRetentionPeriod=0, PreferredBackupWindow="04:00-05:00", ApplyImmediately=True)
    wanted = {"retention": "35d", "window": "02:00-03:00", "on_drift": "enforce"}
    ran = seeded.holdfast("run", "freshness", "--json", policy=policy(database, automated_backups=wanted))
    assert (ran.code, ran.json["outcomes"]) == (1, [])
    assert [f["asset"] for f in ran.json["findings"] if "switched off" in f["message"]] == [database]
    assert settings(seeded, database) == (0, "04:00-05:00")


def test_the_floor_holds_whatever_the_rules_say(seeded):
    database = "lomash-orders-prod"
    before = newest_first(seeded, database)
    ran = seeded.holdfast("run", "retention", policy=policy(database, snapshots=keep(1), min_backups=4))
    assert ran.code == 0, ran
    after = newest_first(seeded, database)
    assert len(after) == 4 < len(before)
    assert before[0] in after and next(n for n in before if "pre-deploy" in n) in after, "what the rules keep is among them"
    others = [name for name in before if name not in after]
    assert before.index(others[0]) >= 3, "and the newest of the rest"
    assert "lomash-orders-before-migration" in seeded.snapshots(database)


def test_nothing_goes_while_backups_are_failing(seeded):
    database = "lomash-content-prod"  # its newest snapshot is two days old
    before = newest_first(seeded, database)
    assert f"{database}-daily-{slot_due(seeded.now())}" not in before
    # Its clock is to be believed and a schedule is not written: its newest point, whoever made it, is too old.
    later = seeded.holdfast("run", "retention", "--json", policy=policy(
        database, snapshots=keep(1), objectives={"max_age": "1s"}))
    assert later.json["outcomes"] == []
    assert "backups are failing" in found(later, database)["deletion-suspended"]
    assert newest_first(seeded, database) == before
    # A schedule alone holds them too, and RDS's own snapshot, which is of today, is none of it: its newest slot has none.
    scheduled = keep(1)
    scheduled["daily"]["schedule"] = {"cron": "0 2 * * *"}
    ran = seeded.holdfast("run", "retention", "--json", policy=policy(database, snapshots=scheduled))
    assert set(found(ran, database)) == {"deletion-suspended"}
    assert 'backups for "daily" are not being made' in found(ran, database)["deletion-suspended"]
    assert len([name for name in newest_first(seeded, database) if "daily" in name]) == len([n for n in before if "daily" in n])
    # It is the age that holds them: on demand and without an objective the same rule lets them go.
    assert seeded.holdfast("run", "retention", policy=policy(database, snapshots=keep(1))).code == 0
    assert len(newest_first(seeded, database)) == 2


def test_nothing_that_is_made_on_demand_goes_by_a_clock_that_is_ahead(seeded):
    database = "lomash-orders-prod"
    before = newest_first(seeded, database)
    seeded.forward(days=3)
    try:
        ran = seeded.holdfast("run", "retention", "--json", policy=policy(database, snapshots=keep(1)))
    finally:
        seeded.forward(days=-3)
    assert ran.json["outcomes"] == [] and newest_first(seeded, database) == before
    assert "or the clock here is ahead" in found(ran, database)["deletion-suspended"]


@pytest.mark.parametrize("limits", [{"count": 1, "share": "100%"}, {"count": 500, "share": "5%"}], ids=["count", "share"])
def test_a_run_that_would_delete_too_much_deletes_nothing(seeded, limits):
    database = "lomash-customers-prod"
    before = newest_first(seeded, database)
    ran = seeded.holdfast("run", "retention", "--json", policy=policy(database, limits, snapshots=keep(1)))
    assert (ran.code, ran.json["outcomes"]) == (1, [])
    runaway = [f for f in ran.json["findings"] if f["code"] == "delete-limit-exceeded"]
    assert runaway and "limits: { delete: {" in runaway[0]["hint"]
    # The hint can be followed: a plan shows what would go, and the limits that it names let it go.
    plan = seeded.holdfast("plan", "retention", "--json", policy=policy(database, limits, snapshots=keep(1)))
    assert len([each for each in plan.json[0]["outcomes"] if each["result"] == "planned"]) == len(before) - 2
    assert newest_first(seeded, database) == before
    assert seeded.metric("DeletesBlocked")[-1] == len(before) - 2


def test_a_hold_of_the_policy_stays(seeded):
    database = "lomash-appointments-prod"
    before = newest_first(seeded, database)
    ran = seeded.holdfast("run", "retention", policy=policy(database, snapshots=keep(1), legal_holds=[before[-1]]))
    assert ran.code == 0, ran
    assert before[-1] in newest_first(seeded, database)
    assert len(newest_first(seeded, database)) == 3


def test_what_another_policy_made_stays(seeded):
    database = "lomash-auth-prod"
    before = newest_first(seeded, database)
    other = policy(database, snapshots=keep(1)) | {"company": "somebody-else"}
    ran = seeded.holdfast("run", "retention", "--json", policy=other)
    assert (ran.code, ran.json["outcomes"]) == (0, []), ran
    assert newest_first(seeded, database) == before


def test_a_plan_of_retention_says_what_would_go_and_deletes_nothing(seeded):
    before = set(seeded.snapshots())
    plan = seeded.holdfast("plan", "retention", "--json", policy=policy("lomash-notifications-prod", snapshots=keep(1)))
    assert plan.code == 0, plan
    planned = [each for each in plan.json[0]["outcomes"] if each["result"] == "planned"]
    assert len(planned) == len(newest_first(seeded, "lomash-notifications-prod")) - 2
    assert set(seeded.snapshots()) == before

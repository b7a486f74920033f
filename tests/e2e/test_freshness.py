"""Daily checks: age, copies, settings and what nobody backs up; the alarms and metrics of them (L1, L11, L12, P7)."""

from contextlib import contextmanager

import pytest

from local import INSTANCES, LOMASH, lomash
from world import fleet

LATE = {fleet.instance(service) for service in fleet.LATE}
DRIFTED = fleet.instance(fleet.DRIFTED)
SECONDS = {"m": 60, "h": 3600, "d": 86400}
METRICS = {
    "failing-assets": "FailingAssets", "backup-age": "BackupAge", "offsite-copy-age": "OffsiteCopyAge",
    "settings-drift": "SettingsDrift", "unprotected-databases": "UnprotectedDatabases", "restorable-lag": "RestorableLag",
}
KEPT = ["AlarmName", "Namespace", "MetricName", "Dimensions", "Threshold", "Period", "EvaluationPeriods", "Statistic",
        "ComparisonOperator", "TreatMissingData", "AlarmActions", "OKActions"]


@pytest.fixture(scope="module")
def first(world):
    """The answer and the findings of the first run, over the fleet as it was seeded."""
    return world.judged("freshness")


def of(findings: list[dict], what: str) -> dict[str, str]:
    """The findings of one kind: asset to words."""
    return {each["asset"]: each["message"] for each in findings if each["code"] == what}


def wanted(topic: str) -> dict[str, dict]:
    """The policy's alarms that freshness feeds, as CloudWatch should have them; worked out without Holdfast."""
    alarms = {}
    for name, alarm in lomash()["alarms"].items():
        if alarm["metric"] not in METRICS:
            continue
        above = str(alarm["above"])
        threshold = int(above[:-1]) * SECONDS[above[-1]] if above[-1] in SECONDS else float(above)
        of_group = [{"Name": "Group", "Value": alarm["of"]}] if "of" in alarm else []
        alarms[name] = {
            "AlarmName": name, "Namespace": "Holdfast", "MetricName": METRICS[alarm["metric"]],
            "Dimensions": sorted([{"Name": "Policy", "Value": fleet.POLICY}, *of_group], key=lambda d: d["Name"]),
            "Threshold": threshold, "Period": 900, "EvaluationPeriods": 2, "Statistic": "Maximum",
            "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "breaching",
            "AlarmActions": [topic], "OKActions": [topic]}
    return alarms


def alarms(world) -> dict[str, dict]:
    """All alarms that are not the stack's own."""
    found = world.client("cloudwatch").describe_alarms()["MetricAlarms"]
    return {each["AlarmName"]: each for each in found if "-holdfast-" not in each["AlarmName"]}


def as_kept(alarm: dict) -> dict:
    """What the policy says of an alarm."""
    return {key: alarm[key] for key in KEPT} | {"Dimensions": sorted(alarm["Dimensions"], key=lambda d: d["Name"])}


@contextmanager
def instance(world, name: str):
    """A database that nobody expected, for as long as the block."""
    rds = world.client("rds")
    rds.create_db_instance(DBInstanceIdentifier=name, Engine="postgres", DBInstanceClass="db.t3.medium",
                           AllocatedStorage=20, MasterUsername="x", MasterUserPassword="not-a-real-password")
    try:
        yield
    finally:
        rds.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)


def test_late_databases_are_named_and_no_others(first):
    answer, findings = first
    assert answer.error, "a daily check that finds late databases fails"
    stale = of(findings, "backup-stale")
    assert set(stale) == LATE
    assert all("over the objective of 1d 1h" in words for words in stale.values())
    assert all(name in answer.said for name in LATE)


def test_the_missing_copy_is_named_for_each_database(first):
    assert set(of(first[1], "offsite-copy-missing")) == set(INSTANCES)


def test_drifted_settings_are_named_with_what_they_are_and_should_be(first):
    drift = [each["message"] for each in first[1] if each["code"] == "settings-drift"]
    assert {each["asset"] for each in first[1] if each["code"] == "settings-drift"} == {DRIFTED}
    assert any("7 days" in words and "35" in words for words in drift)
    assert any("04:00-05:00" in words and "02:00-03:00" in words for words in drift)


def test_drift_that_is_only_to_be_reported_is_not_mended(world, first):
    found = world.client("rds").describe_db_instances(DBInstanceIdentifier=DRIFTED)["DBInstances"][0]
    assert (found["BackupRetentionPeriod"], found["PreferredBackupWindow"]) == (7, "04:00-05:00")


def test_alarms_are_exactly_those_that_the_policy_asks_for(world, first):
    expected = wanted(world.deployed["outputs"]["FailuresTopic"])
    assert {"lomash-wood-backup-rds-failed", "lomash-wood-backup-redis-rdb-age"} <= set(expected)
    found = alarms(world)
    assert {name: as_kept(found[name]) for name in expected if name in found} == expected
    # Those of the other functions come with their first runs.
    assert world.invoke("replication").error is None
    assert world.invoke("retention").error is None
    assert set(alarms(world)) == set(lomash()["alarms"])


def test_a_second_run_does_not_put_the_alarms_again(world, first):
    updated = {name: each["AlarmConfigurationUpdatedTimestamp"] for name, each in alarms(world).items()}
    world.invoke("freshness")
    again = {name: each["AlarmConfigurationUpdatedTimestamp"] for name, each in alarms(world).items()}
    assert {name: again[name] for name in updated} == updated


@pytest.mark.parametrize("change", [
    {"Threshold": 1e9}, {"AlarmActions": []}, {"ActionsEnabled": False}, {"TreatMissingData": "ignore"},
    {"EvaluationPeriods": 9, "DatapointsToAlarm": 9}, {"Dimensions": [{"Name": "Policy", "Value": "other"}]},
], ids=lambda change: next(iter(change)))
def test_an_alarm_changed_by_hand_is_set_back(world, first, change):
    name, cloudwatch = "lomash-wood-backup-rds-age", world.client("cloudwatch")
    as_it_was = {key: alarms(world)[name][key] for key in [*KEPT, "AlarmDescription", "DatapointsToAlarm"]}
    cloudwatch.put_metric_alarm(**(as_it_was | change))
    world.invoke("freshness")
    found = alarms(world)[name]
    assert {key: found[key] for key in as_it_was} == as_it_was and found["ActionsEnabled"]


def test_an_alarm_deleted_by_hand_is_made_again(world, first):
    name = "lomash-wood-backup-redis-rdb-age"
    as_it_was = as_kept(alarms(world)[name])
    world.client("cloudwatch").delete_alarms(AlarmNames=[name])
    world.invoke("freshness")
    assert as_kept(alarms(world)[name]) == as_it_was


def test_metrics_say_how_old_the_oldest_is_and_how_many_fail(world, first):
    world.invoke("freshness")  # of this moment: other tests of this file ran it before
    now = world.now()
    ages = {name: world.metric("BackupAge", Group="fleet", Asset=name)[-1] for name in INSTANCES}
    assert {name for name, age in ages.items() if age > 25 * 3600} == LATE
    assert world.metric("BackupAge", Group="fleet")[-1] == max(ages.values())
    newest = {name: max(s["SnapshotCreateTime"] for s in world.snapshots(name).values()) for name in INSTANCES}
    for name, age in ages.items():
        assert age == pytest.approx((now - newest[name]).total_seconds(), abs=120)
    assert world.metric("FailingAssets", Group="fleet")[-1] == len(INSTANCES)
    assert world.metric("SettingsDrift", Group="fleet")[-1] == 2
    assert world.metric("UnprotectedDatabases")[-1] == 0
    assert world.metric("RunsCompleted", Function="freshness")[-1] == 1
    assert world.metric("RunsFailed", Function="freshness")[-1] == 1
    assert world.metric("ApiRequests", Function="freshness")[-1] > 5


def test_a_value_that_is_not_known_is_missing_and_not_zero(world, first):
    assert world.metric("OffsiteCopyAge", Group="fleet") == []


def test_a_database_that_no_group_has_is_named(world, first):
    with instance(world, "lomash-forgotten-prod"):
        answer, findings = world.judged("freshness")
    assert answer.error
    assert set(of(findings, "unprotected")) == {"lomash-forgotten-prod"}
    assert world.metric("UnprotectedDatabases")[-1] == 1


def test_an_rdb_file_that_is_too_old_is_named(world):
    policy = lomash()
    policy["redis"]["redis"]["storage"] |= {"prefix": "redis-old/", "key": "dump-%Y%m%d%H%M.rdb"}
    at = world.now().timestamp() - 3 * 3600
    name = f"redis-old/dump-{world.now().fromtimestamp(at, world.now().tzinfo):%Y%m%d%H%M}.rdb"
    world.client("s3").put_object(Bucket=fleet.BACKUPS, Key=name, Body=b"REDIS0011")
    status = world.holdfast("status", "--json", policy=policy)
    redis = next(each for each in status.json["assets"] if each["asset"] == "redis")
    assert (status.code, redis["max_severity"], redis["newest_point"]) == (1, "critical", name)
    assert any("over the objective of 2h" in words for words in redis["messages"])


def test_no_rdb_file_at_all_is_named(world):
    policy = lomash()
    policy["redis"]["redis"]["storage"]["prefix"] = "nothing-here/"
    status = world.holdfast("status", "--json", policy=policy)
    redis = next(each for each in status.json["assets"] if each["asset"] == "redis")
    assert (status.code, redis["max_severity"], redis["newest_point"]) == (1, "critical", None)


def test_a_fresh_rdb_file_is_all_well(world):
    assets = world.holdfast("status", "--json", policy=LOMASH).json["assets"]
    redis = next(each for each in assets if each["asset"] == "redis")
    assert (redis["max_severity"], redis["messages"]) == (None, [])

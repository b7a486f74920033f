"""The command, as operators and pipelines use it (L4, L11, I13)."""

import json
import re

import pytest

from local import INSTANCES, LOMASH, Ran, lomash, running
from world import fleet

LATE = {fleet.instance(service) for service in fleet.LATE}
OF_THE_STRATEGY = {f"lomash-wood-backup-{name}" for name in ("rds-failed", "s3-replication-lag", "redis-rdb-age")}


@pytest.fixture(scope="module")
def dumped(seeded, postgres_server):
    """The fleet with the server that its dumps are of: status asks whether the next dump would work."""
    names = [f"lomash_{service}" for service in fleet.SERVICES]
    for name in names:
        postgres_server.sql(f"CREATE DATABASE {name}")
    secret = {"host": postgres_server.host, "port": postgres_server.port, "username": postgres_server.user,
              "password": postgres_server.password}
    seeded.client("secretsmanager").create_secret(
        Name="lomash-wood/production/postgres", SecretString=json.dumps(secret))
    yield seeded
    for name in names:
        postgres_server.drop(name)


@pytest.fixture(scope="module")
def late(dumped, seeded):
    """What the fleet looked like before anybody did anything."""
    before = seeded.everything()
    return {"before": before, "table": seeded.holdfast("status"), "json": seeded.holdfast("status", "--json"),
            "plan": seeded.holdfast("plan"), "plans": seeded.holdfast("plan", "--json"),
            "alarms": seeded.holdfast("alarms", "--json"), "after": seeded.everything()}


@pytest.fixture(scope="module")
def green(seeded, late):
    """The fleet after each function ran, and an operator did what status said."""
    assert seeded.holdfast("run", "snapshot").code == 0
    seeded.settle(lambda: seeded.holdfast("run", "offsite", "--json").json)
    seeded.client("rds").modify_db_instance(
        DBInstanceIdentifier=fleet.instance(fleet.DRIFTED), BackupRetentionPeriod=35, PreferredBackupWindow="02:00-03:00",
        ApplyImmediately=True)
    for function in ("freshness", "replication", "retention"):
        assert seeded.holdfast("run", function).code == 0
    return seeded


def row(ran: Ran, asset: str) -> str:
    """An asset's line in the table."""
    return next(line for line in ran.out.splitlines() if line.startswith(f"{asset} "))


def test_status_shows_what_is_late_worst_first_and_exits_with_1(late):
    table = late["table"]
    assert (table.code, table.err) == (1, "")
    for instance in LATE:
        assert "CRITICAL" in row(table, instance)
    assert "ok" in row(table, "redis")
    verdicts = re.findall(r"  (CRITICAL|nothing runs this|never taken|ok)\b", table.out.split("\n\n")[0])
    assert verdicts == sorted(verdicts, key=["CRITICAL", "nothing runs this", "never taken", "ok"].index)
    # Eight databases have no copy, and the bucket of dumps has none.
    assert re.search(r"lomash-wood at .* UTC: \d+ assets: 10 ok, 0 warnings, 9 critical, \d+ that nobody watches", table.out)


def test_status_has_a_row_for_every_part_that_nothing_runs(late):
    rows = {each["asset"]: each for each in late["json"].json["assets"] if each["coverage"] == "not-run"}
    policy = lomash()
    assert {f"drills.{name}" for name in policy["drills"]} <= set(rows)
    assert all(each["max_severity"] for each in rows.values())


def test_status_as_json_has_the_same_and_nothing_else_on_stdout(late):
    status = late["json"]
    assert (status.code, status.json["has_critical"], status.json["policy"]) == (1, True, "lomash-wood")
    assets = {each["asset"]: each for each in status.json["assets"]}
    assert set(INSTANCES) <= set(assets)
    assert {name for name in INSTANCES if assets[name]["age_seconds"] > 25 * 3600} == LATE
    stale = {each["asset"] for each in status.json["findings"] if each["code"] == "backup-stale"}
    assert stale == LATE
    assert all(each["hint"] for each in status.json["findings"] if each["severity"] == "critical")


def test_plan_says_what_would_be_done_and_does_nothing(late, seeded):
    assert late["plan"].code == 1, "what is critical is so before it is due"
    plans = {each["function"]: each for each in late["plans"].json}
    taken = {each["asset"] for each in plans["snapshot"]["outcomes"]}
    assert taken >= LATE
    assert {each["result"] for plan in plans.values() for each in plan["outcomes"]} == {"planned"}
    assert len([each for each in plans["offsite"]["outcomes"] if "to us-east-1" in each["action"]]) == 20
    for name in LATE:
        assert f"take {name}-daily-" in late["plan"].out


def test_alarms_that_nobody_set_yet_are_missing_and_exit_with_1(late):
    found = {each["name"]: each["state"] for each in late["alarms"].json}
    assert late["alarms"].code == 1
    assert found == dict.fromkeys(lomash()["alarms"], "MISSING")


def test_looking_changes_nothing(late):
    assert late["before"] == late["after"]


def test_status_is_green_and_exits_with_0_when_all_is_done(green):
    table, status = green.holdfast("status"), green.holdfast("status", "--json")
    assert (table.code, status.code) == (0, 0), table
    assert "19 ok, 0 warnings, 0 critical" in table.out
    assert {each["max_severity"] for each in status.json["assets"] if each["coverage"] == "watched"} == {None}
    for instance in INSTANCES:
        point = next(each for each in status.json["assets"] if each["asset"] == instance)
        newest = max(green.snapshots(instance).values(), key=lambda each: each["SnapshotCreateTime"])
        assert point["newest_point"] == newest["DBSnapshotIdentifier"]
        assert point["size_bytes"] == newest["AllocatedStorage"] * 2**30
        age = (green.now() - newest["SnapshotCreateTime"]).total_seconds()
        assert point["age_seconds"] == pytest.approx(age, abs=120)


def test_explain_shows_the_newest_snapshots_with_status_and_time(green):
    """L4."""
    instance = "lomash-orders-prod"
    newest_first = sorted(green.snapshots(instance).values(), key=lambda each: each["SnapshotCreateTime"], reverse=True)
    told = green.holdfast("explain", instance, "--json")
    points = told.json["database"]["locations"][0]["recovery_points"]
    manual = [each for each in points if not each["id"].startswith("rds:")]
    assert [each["id"] for each in manual] == [each["DBSnapshotIdentifier"] for each in newest_first]
    table = green.holdfast("explain", instance)
    assert table.code == 0
    for each in newest_first[:5]:
        line = row(table, each["DBSnapshotIdentifier"])
        assert "available" in line
        assert f"{each['SnapshotCreateTime']:%Y-%m-%d %H:%M}" in line
    person = row(table, fleet.OWN_SNAPSHOT[0])
    assert "stays" in person and "did not make it" in person


def test_explain_of_a_name_that_is_near_another_says_which(green):
    told = green.holdfast("explain", "lomash-order-prod")
    assert told.code == 64 and "lomash-orders-prod" in told.err and told.out == ""


def test_alarms_are_listed_with_their_state(green):
    """L11."""
    told = green.holdfast("alarms", "--json").json
    found = {each["name"]: each for each in told}
    real = {each["AlarmName"]: each for each in green.client("cloudwatch").describe_alarms()["MetricAlarms"]}
    assert set(found) == set(lomash()["alarms"]) >= OF_THE_STRATEGY
    assert {name: each["state"] for name, each in found.items()} == {
        name: real[name]["StateValue"] for name in found}
    assert not [name for name, each in found.items() if each["drifted"]]
    table = green.holdfast("alarms")
    for name in OF_THE_STRATEGY:
        assert real[name]["StateValue"] in row(table, name)


def test_alarms_exit_code_says_whether_any_rings(green):
    cloudwatch, name = green.client("cloudwatch"), "lomash-wood-backup-s3-replication-lag"
    states = {}
    for state in ("ALARM", "OK"):
        for alarm in lomash()["alarms"]:
            cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="OK", StateReason="the test says so")
        cloudwatch.set_alarm_state(AlarmName=name, StateValue=state, StateReason="the test says so")
        ran = green.holdfast("alarms", "--json")
        states[state] = (ran.code, {each["name"]: each["state"] for each in ran.json}[name])
    assert states == {"ALARM": (1, "ALARM"), "OK": (0, "OK")}


def test_a_gate_takes_waits_and_prints_the_way_back(green):
    before = set(green.snapshots())
    ran = green.holdfast("gate", "--request", "release-7")
    assert ran.code == 0, ran
    taken = set(green.snapshots()) - before
    assert {green.snapshots()[name]["DBInstanceIdentifier"] for name in taken} == set(INSTANCES)
    for name in taken:
        instance = green.snapshots()[name]["DBInstanceIdentifier"]
        way_back = (f"aws rds restore-db-instance-from-db-snapshot --region eu-west-1 --db-instance-identifier "
                    f"{instance}-restored --db-snapshot-identifier {name}")
        assert way_back in ran.out
    again = green.holdfast("gate", "--request", "release-7", "--json")
    assert again.code == 0
    assert {each["snapshot"] for each in again.json} == taken
    assert set(green.snapshots()) - before == taken


def test_the_way_back_that_a_gate_prints_works(green):
    ran = green.holdfast("gate", "--asset", "lomash-auth-prod", "--json")
    line = ran.json[0]["restore"].split()
    options = dict(zip(line[3::2], line[4::2], strict=False))
    restored = green.client("rds").restore_db_instance_from_db_snapshot(
        DBInstanceIdentifier=options["--db-instance-identifier"], DBSnapshotIdentifier=options["--db-snapshot-identifier"])
    assert restored["DBInstance"]["DBInstanceIdentifier"] == "lomash-auth-prod-restored"
    green.client("rds").delete_db_instance(DBInstanceIdentifier="lomash-auth-prod-restored", SkipFinalSnapshot=True)


def test_a_gate_that_may_reuse_a_young_snapshot_takes_none(green):
    assert green.holdfast("gate", "--asset", "lomash-content-prod").code == 0
    before = set(green.snapshots())
    ran = green.holdfast("gate", "--asset", "lomash-content-prod", "--max-age", "15m", "--json")
    assert (ran.code, ran.json[0]["reused"]) == (0, True)
    assert set(green.snapshots()) == before


def test_a_gate_with_a_bad_database_does_not_let_the_pipeline_through(green):
    def ghost(policy: dict) -> None:
        policy["databases"]["fleet"]["select"]["identifiers"].append("lomash-ghost-prod")
    before = set(green.snapshots())
    ran = green.holdfast("gate", policy=lomash(ghost))
    assert ran.code == 1
    assert "do not deploy" in ran.err and "lomash-ghost-prod" in ran.err
    assert len(set(green.snapshots()) - before) == len(INSTANCES), "the others are there all the same"


@pytest.mark.parametrize("arguments, words", [
    (("gate", "--asset", "lomash-order-prod"), "lomash-orders-prod"),
    (("gate", "--reason", "pre-party"), "pre-deploy"),
    (("run", "snapshot", "--asset", "lomash-order-prod"), "lomash-orders-prod"),
], ids=["unknown asset", "unknown reason", "unknown asset of a run"])
def test_what_the_policy_does_not_have_is_refused_with_what_it_has(green, arguments, words):
    before = green.everything()
    ran = green.holdfast(*arguments)
    assert (ran.code, ran.out) == (64, "")
    assert words in ran.err
    assert green.everything() == before


@pytest.mark.parametrize("command", ["status", "plan", "gate", "alarms"])
def test_a_policy_that_is_not_there_is_one_clear_error(seeded, command):
    ran = seeded.holdfast(command, policy="/nowhere/policy.yaml")
    assert (ran.code, ran.out) == (64, "")
    assert "/nowhere/policy.yaml" in ran.err and "--policy" in ran.err and len(ran.err.splitlines()) == 1


def test_a_policy_in_s3_is_read_from_there_and_a_missing_one_is_named(seeded):
    seeded.client("s3").put_object(Bucket=fleet.POLICIES, Key="policy.yaml", Body=LOMASH.read_bytes())
    assert seeded.holdfast("status", policy=f"s3://{fleet.POLICIES}/policy.yaml").code in (0, 1)
    ran = seeded.holdfast("status", policy=f"s3://{fleet.POLICIES}/other.yaml")
    assert ran.code == 64 and f"s3://{fleet.POLICIES}/other.yaml" in ran.err


@pytest.mark.parametrize("command", ["status", "plan", "gate", "alarms"])
def test_without_credentials_it_says_so_and_how_to_get_some(seeded, command):
    ran = seeded.holdfast(command, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    assert (ran.code, ran.out) == (3, "")
    assert "no AWS credentials" in ran.err and "AWS_PROFILE" in ran.err


def test_an_aws_that_does_not_answer_is_one_clear_error():
    with running() as gone:
        pass
    ran = gone.holdfast("status", AWS_MAX_ATTEMPTS="1", LD_PRELOAD="")
    assert (ran.code, ran.out) == (3, "")
    assert "AWS could not be asked" in ran.err

"""A run that is killed, throttled or refused between any two of its calls to RDS, and what RDS says that moto never does."""

import re
import subprocess
from datetime import timedelta

import pytest

from local import INSTANCES, LOMASH, World, slot_due
from proxy import Proxy, Reply, proxy
from world import fleet

THREE = INSTANCES[:3]
TWO = INSTANCES[:2]
KEY = "arn:aws:kms:us-east-1:123456789012:alias/lomash-wood-offsite"
POLICY = {
    "holdfast": 1, "company": "lomash-wood", "home": {"account": "123456789012", "region": "eu-west-1"},
    "destinations": {"virginia": {"region": "us-east-1", "kms_key": KEY}},
}


def nightly() -> dict:
    """Three databases, each due for a snapshot of a reason that there is none of."""
    when = {"nightly": {"schedule": {"cron": "0 2 * * *"}, "keep": {"for": "35d"}}}
    return POLICY | {"databases": {"fleet": {"select": {"identifiers": THREE}, "snapshots": when}}}


def copied() -> dict:
    """Two databases, three snapshots of each wanted offsite."""
    copies = [{"to": "virginia", "of": ["pre-deploy"], "keep": {"newest": 3}}]
    rules = {"pre-deploy": {"keep": {"for": "90d"}}}
    return POLICY | {"databases": {"fleet": {"select": {"identifiers": TWO}, "snapshots": rules, "copies": copies}}}


def run(world: World, through: Proxy, function: str, policy: dict) -> subprocess.CompletedProcess:
    """Runs a function by the command, its calls to RDS going through the proxy; the proxy may kill it."""
    line, env = world.command("run", function, "--json", policy=policy, AWS_ENDPOINT_URL_RDS=through.url)
    return subprocess.run(line, env=env, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)


def killed(world: World, function: str, policy: dict, after: int, when: str) -> bool:
    """Runs a function and kills it at its call `after`: before RDS hears of it, or before it hears RDS's answer."""
    line, env = world.command("run", function, policy=policy, AWS_ENDPOINT_URL_RDS="")
    with proxy(world.env["AWS_ENDPOINT_URL_RDS"]) as through:
        env["AWS_ENDPOINT_URL_RDS"] = through.url
        process = subprocess.Popen(line, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cut = Reply(500, b"")

        def kill(number: int, *_: object) -> Reply | None:
            if number < after:
                return None
            process.kill()
            process.wait()
            return cut

        setattr(through, when, kill)
        return process.wait(timeout=120) != 0


def nightlies(world: World) -> dict[str, dict]:
    """The snapshots that `nightly` asks for."""
    return {name: each for name, each in world.snapshots().items() if each["tags"].get("holdfast:reason") == "nightly"}


@pytest.fixture(autouse=True)
def cleared(seeded):
    """Nothing is left of what a test asked for."""
    yield
    clear(seeded, fleet.HOME, list(nightlies(seeded)))
    clear(seeded, fleet.OFFSITE_REGION, [name for name, _ in offsite(seeded)])


def offsite(world: World) -> set[tuple[str, str]]:
    """What is in the other region: name and source."""
    return {(each["DBSnapshotIdentifier"], source) for source, each in world.copies().items()}


def clear(world: World, region: str, names: list[str]) -> None:
    """Deletes snapshots by hand."""
    for name in names:
        world.client("rds", region).delete_db_snapshot(DBSnapshotIdentifier=name)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_snapshot_run_killed_between_any_two_calls_is_finished_by_the_next(seeded, when):
    slot = slot_due(seeded.now())
    expected = {f"{instance}-nightly-{slot}" for instance in THREE}
    some_died_half_way, after = False, 0
    while True:
        died = killed(seeded, "snapshot", nightly(), after, when)
        half = set(nightlies(seeded))
        assert half <= expected, "what a killed run leaves is a part of what was wanted"
        some_died_half_way |= 0 < len(half) < len(expected)
        assert died or half == expected
        last = seeded.holdfast("run", "snapshot", policy=nightly())
        assert last.code == 0, last
        assert set(nightlies(seeded)) == expected, f"killed {when} call {after}"
        clear(seeded, fleet.HOME, list(expected))
        if not died:
            break
        after += 1
    assert after >= 7, "four lists and three snapshots at least"
    # All three are asked for at once, so RDS has heard of all of them when the first answers.
    assert some_died_half_way or when == "after"


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_offsite_run_killed_between_any_two_calls_is_finished_by_the_next(seeded, when):
    assert seeded.holdfast("run", "offsite", policy=copied()).code == 0
    expected = offsite(seeded)
    assert len(expected) == 3 * len(TWO)
    clear(seeded, fleet.OFFSITE_REGION, [name for name, _ in expected])
    some_died_half_way, after = False, 0
    while True:
        died = killed(seeded, "offsite", copied(), after, when)
        half = offsite(seeded)
        assert half <= expected
        some_died_half_way |= 0 < len(half) < len(expected)
        last = seeded.holdfast("run", "offsite", policy=copied())
        assert last.code == 0, last
        assert offsite(seeded) == expected, f"killed {when} call {after}"
        clear(seeded, fleet.OFFSITE_REGION, [name for name, _ in expected])
        if not died:
            break
        after += 1
    assert after >= 12, "six lists and six copies"
    assert some_died_half_way


@pytest.mark.parametrize("refusal, actions", [
    (Reply.refusal(400, "Throttling", "Rate exceeded"), ["CreateDBSnapshot"]),
    (Reply.refusal(503, "ServiceUnavailable"), ["CreateDBSnapshot", "DescribeDBInstances"]),
], ids=["throttling", "unavailable"])
def test_a_run_that_is_told_to_slow_down_succeeds_all_the_same(seeded, refusal, actions):
    only = nightly()
    only["databases"]["fleet"]["select"]["identifiers"] = THREE[:1]
    to_refuse = list(actions)
    with proxy(seeded.env["AWS_ENDPOINT_URL_RDS"]) as through:
        def refuse(_: int, call: dict) -> Reply | None:
            with through.lock:
                if call["Action"] not in to_refuse:
                    return None
                to_refuse.remove(call["Action"])
                return refusal
        through.before = refuse
        done = run(seeded, through, "snapshot", only)
    assert done.returncode == 0, done
    assert not to_refuse, "it was refused"
    assert set(nightlies(seeded)) == {f"{THREE[0]}-nightly-{slot_due(seeded.now())}"}
    assert seeded.metric("RunsFailed", Function="snapshot")[-1] == 0
    assert seeded.metric("ApiThrottled", Function="snapshot")[-1] == len(actions)


def test_one_refused_database_stops_no_other_and_is_named(seeded):
    bad = THREE[1]
    with proxy(seeded.env["AWS_ENDPOINT_URL_RDS"]) as through:
        through.before = lambda _, call: Reply.refusal(400, "KMSKeyNotAccessibleFault", "the key is disabled") if (
            call["Action"], call.get("DBInstanceIdentifier")) == ("CreateDBSnapshot", bad) else None
        done = run(seeded, through, "snapshot", nightly())
    assert done.returncode == 1
    assert bad in done.stdout and "the key is disabled" in done.stdout
    assert {each["DBInstanceIdentifier"] for each in nightlies(seeded).values()} == set(THREE) - {bad}


def test_a_region_that_does_not_answer_is_a_gap_and_nothing_is_deleted(seeded):
    before = set(seeded.snapshots())
    policy = copied() | {"limits": {"delete": {"count": 500, "share": "100%"}}}
    policy["databases"]["fleet"]["snapshots"] = {"pre-deploy": {"keep": {"newest": 1}}}
    with proxy(seeded.env["AWS_ENDPOINT_URL_RDS"]) as through:
        def deny(_: int, call: dict) -> Reply | None:
            return Reply.refusal(403, "AccessDenied", "not there") if call["region"] == "us-east-1" else None
        through.before = deny
        done = run(seeded, through, "retention", policy)
    assert done.returncode == 1
    assert '"observation-failed"' in done.stdout
    assert set(seeded.snapshots()) == before


def gate(world: World, rewrite) -> tuple[subprocess.CompletedProcess, set[str]]:
    """Asks for a snapshot of one database before a deployment; returns the end and what was taken."""
    before = set(world.snapshots())
    with proxy(world.env["AWS_ENDPOINT_URL_RDS"]) as through:
        through.before, through.after = rewrite
        line, env = world.command("gate", "--asset", TWO[0], "--timeout", "20s", AWS_ENDPOINT_URL_RDS=through.url)
        done = subprocess.run(line, env=env, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    return done, set(world.snapshots()) - before


def passes(*_: object) -> None:
    """Nothing happens on the way."""


def test_a_gate_waits_until_a_growing_snapshot_is_available(seeded):
    looks = []

    def growing(_: int, call: dict, reply: Reply) -> Reply | None:
        if call["Action"] == "DescribeDBSnapshots" and "DBSnapshotIdentifier" in call:
            looks.append(call)
            if len(looks) == 1:
                return Reply(200, reply.body.replace(b">available<", b">creating<"))
        return None

    done, taken = gate(seeded, (passes, growing))
    assert done.returncode == 0, done
    assert len(looks) == 2 and len(taken) == 1


def test_a_gate_stops_the_deployment_when_the_snapshot_fails(seeded):
    def failing(_: int, call: dict, reply: Reply) -> Reply | None:
        if call["Action"] == "DescribeDBSnapshots" and "DBSnapshotIdentifier" in call:
            return Reply(200, reply.body.replace(b">available<", b">failed<"))
        return None

    done, _ = gate(seeded, (passes, failing))
    assert done.returncode == 1, done
    assert "do not deploy" in done.stderr and TWO[0] in done.stderr and "failed" in done.stderr


def test_a_latest_restorable_time_that_stands_still_is_named(seeded):
    """L3: the earliest sign that backups have stopped."""
    with proxy(seeded.env["AWS_ENDPOINT_URL_RDS"]) as through:
        hours_ago = (seeded.now() - timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M:%SZ").encode()
        through.after = lambda _, call, reply: Reply(reply.status, re.sub(
            rb"<LatestRestorableTime>[^<]*<", b"<LatestRestorableTime>" + hours_ago + b"<", reply.body))
        line, env = seeded.command("status", "--json", policy=LOMASH, AWS_ENDPOINT_URL_RDS=through.url)
        done = subprocess.run(line, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stdout.count('"restorable-lag"') == len(INSTANCES)
    assert "it can be restored up to 3h ago only; the policy allows 15m" in done.stdout

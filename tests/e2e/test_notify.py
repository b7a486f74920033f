"""Telling people: by the command on a host and by the Lambda, against a web server and a mail server that record what they
are told and answer as the test wants."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import yaml

from backups import dump, good, in_folder
from local import ROOT, clock_env, lomash, set_clock, until
from peers import group, policy_of
from sinks import ALERT, BACKUP, FULL, PAGERDUTY, SLACK, VERIFICATION, Reply, mail_sink, web_sink

KEY = "R0UTINGKEY" + "x" * 22
SCHEMAS = {"slack": SLACK, "v2/enqueue": PAGERDUTY, "full": FULL, "spare": FULL, "alert": ALERT, "backup": BACKUP,
           "verification": VERIFICATION}


@pytest.fixture
def sink():
    """A web server that knows what each service takes."""
    with web_sink(**SCHEMAS) as sink:
        yield sink
    assert not sink.faults, sink.faults


@pytest.fixture
def clock(tmp_path):
    """A clock that a test can move; what it says is added to the environment."""
    file = str(tmp_path / "clock")

    class Clock:
        shift = 0.0
        env = clock_env(file)

        def forward(self, **span: float) -> None:
            self.shift += timedelta(**span).total_seconds()
            set_clock(file, self.shift)

    set_clock(file, 0)
    return Clock()


def told(sink, path: str = "/full") -> list[dict]:
    """The messages that were posted to a path."""
    return [each.json for each in list(sink.told) if each.path == path]


def kinds(sink, path: str = "/full") -> list[str]:
    """What kind each message was."""
    return [each["kind"] for each in told(sink, path)]


def nowhere(tmp_path, channels: dict, routes: list, **more) -> dict:
    """A policy of one database on a server that is not there, so that its dump fails."""
    shop = {"databases": ["shop"], "host": "127.0.0.1", "port": 1, "user": "nobody", "tls": "disable",
            "storage": in_folder(tmp_path / "backups"), "dumps": {"manual": {"keep": {"newest": 3}}}}
    rules = {"channels": channels, "routes": routes, "expect": {"dump": "30d"}} | more
    return policy_of(shop=shop) | {"notify": rules}


def fails(holdfast, policy: dict, **env: str) -> None:
    """Dumps, in vain."""
    ran = holdfast(policy, "dump", "--reason", "manual", **env)
    assert ran.code == 2, f"{ran.out}\n{ran.err}"


@pytest.fixture
def state(tmp_path, clock) -> dict[str, str]:
    """Where notify remembers, and by which clock."""
    return {"HOLDFAST_STATE": str(tmp_path / "state"), **clock.env}


# -- on a host -------------------------------------------------------------------------------------------------------------


def test_a_failure_is_told_once_to_each_channel_and_its_end_to_all_who_were_told(
        holdfast, fresh_database, sink, clock, state, tmp_path):
    database = fresh_database()
    database.sql("CREATE TABLE orders AS SELECT generate_series(1, 42) AS id")
    with mail_sink() as mails:
        rules = {
            "channels": {
                "full": {"http": f"{sink.url}/full"}, "chat": {"slack": {"env": "CHAT"}},
                "pager": {"pagerduty": {"env": "PAGER"}, "endpoint": sink.url},
                "mail": {"email": ["a@example.com"]}, "alert": {"http": f"{sink.url}/alert", "body": "alert"},
                "boss": {"http": f"{sink.url}/spare"},
            },
            "routes": [{"severity": "critical", "to": ["pager", "chat", "full", "mail", "alert"]},
                       {"severity": "info", "events": ["success"], "to": ["full"]}],
            "escalation": [{"after": "1h", "to": ["boss"]}],
            "expect": {"dump": "30d"},
            "smtp": {"host": "127.0.0.1", "port": mails.port, "from": "holdfast@example.com", "tls": "never"},
        }
        right = policy_of(shop=group(database.server, [database.name], in_folder(tmp_path / "backups"))) | {"notify": rules}
        wrong = yaml.safe_load(yaml.safe_dump(right))
        wrong["postgres"]["shop"]["port"] = 1
        env = state | {"CHAT": f"{sink.url}/slack", "PAGER": KEY}

        fails(holdfast, wrong, **env)
        assert kinds(sink) == ["opened"]
        incident = told(sink)[0]["incidents"][0]
        assert incident["severity"] == "critical" and incident["hint"] and incident["since"]
        assert len(told(sink, "/slack")) == len(told(sink, "/alert")) == len(mails.mails) == 1
        assert [each["event_action"] for each in told(sink, "/v2/enqueue")] == ["trigger"] * len(told(sink)[0]["incidents"])

        for _ in range(3):
            clock.forward(minutes=5)
            fails(holdfast, wrong, **env)
            assert holdfast(wrong, "notify", **env).code == 0
        assert kinds(sink) == ["opened"] and not told(sink, "/spare"), "the same again is no news"

        clock.forward(minutes=50)
        assert holdfast(wrong, "notify", **env).code == 0
        assert kinds(sink, "/spare") == ["still-open"]
        assert holdfast(wrong, "notify", **env).code == 0
        assert kinds(sink, "/spare") == ["still-open"], "each step once"

        listed = holdfast(wrong, "notify", "--list", "--json", **env)
        assert listed.code == 1 and {"boss", "pager"} <= set(listed.json["open"][0]["notified_channels"])

        clock.forward(minutes=5)
        well = holdfast(right, "dump", **env)
        assert well.code == 0, well.err
        assert kinds(sink) == ["opened", "resolved"] and kinds(sink, "/spare") == ["still-open", "resolved"]
        assert told(sink)[1]["incidents"][0]["until"]
        assert told(sink, "/v2/enqueue")[-1]["event_action"] == "resolve"
        assert len(mails.mails) == 2
        assert holdfast(right, "notify", "--list", **env).code == 0

        dump(holdfast, right, **env)
        assert kinds(sink)[-1] == "success" and told(sink)[-1]["backups"][0]["bytes"] > 0
        everything = b"".join(each.body for each in sink.told)
        assert database.server.password.encode() not in everything


def test_a_channel_that_is_down_is_told_elsewhere_and_gets_its_message_when_it_is_back(
        holdfast, sink, clock, state, tmp_path):
    with web_sink() as broken:
        broken.status = 500
        policy = nowhere(tmp_path, {"first": {"http": f"{broken.url}/full"}, "spare": {"http": f"{sink.url}/spare"}},
                         [{"severity": "critical", "to": ["first"]}])
        fails(holdfast, policy, **state)
        assert len(broken.told) == 3, "three quick tries"
        assert set(kinds(sink, "/spare")) == {"opened", "undelivered"}
        listed = holdfast(policy, "notify", "--list", "--json", **state).json
        assert {each["asset"] for each in listed["open"]} >= {"notify/first"}
        assert [each["channel"] for each in listed["queued"]] == ["first"]

        assert holdfast(policy, "notify", **state).code == 0, "not before its time"
        assert len(broken.told) == 3
        broken.status = 200
        clock.forward(minutes=1)
        assert holdfast(policy, "notify", **state).code == 0
        assert json.loads(broken.told[-1].body)["kind"] == "opened"
        assert kinds(sink, "/spare")[-1] == "resolved"
        assert not holdfast(policy, "notify", "--list", "--json", **state).json["queued"]


@pytest.mark.parametrize("reply", [Reply(429, {"Retry-After": "120"}), Reply(503, {"Retry-After": "120"})])
def test_a_service_that_asks_for_patience_is_left_alone_for_so_long(holdfast, sink, clock, state, tmp_path, reply):
    sink.replies.append(reply)
    policy = nowhere(tmp_path, {"full": {"http": f"{sink.url}/full"}}, [{"severity": "critical", "to": ["full"]}])
    fails(holdfast, policy, **state)
    assert len(sink.told) == 1
    clock.forward(seconds=100)
    holdfast(policy, "notify", **state)
    assert len(sink.told) == 1
    clock.forward(seconds=30)
    assert holdfast(policy, "notify", **state).code == 0
    first, second = told(sink)
    assert first["id"] == second["id"] and second["kind"] == "opened"


def test_a_connection_that_breaks_is_tried_again_at_once(holdfast, sink, state, tmp_path):
    sink.replies.append(Reply(drop=True))
    policy = nowhere(tmp_path, {"full": {"http": f"{sink.url}/full"}}, [{"severity": "critical", "to": ["full"]}])
    fails(holdfast, policy, **state)
    assert len(told(sink)) == 2 and told(sink)[0]["id"] == told(sink)[1]["id"]


def test_killed_between_remembering_and_sending_the_next_tick_sends(holdfast, sink, clock, state, tmp_path):
    policy = nowhere(tmp_path, {"full": {"http": f"{sink.url}/full"}}, [{"severity": "critical", "to": ["full"]}])
    sink.replies.append(Reply(hang=True))
    process = holdfast.start(policy, "dump", "--reason", "manual", **state)
    until("the message is on its way", lambda: sink.told)
    process.kill()
    process.communicate()
    assert (tmp_path / "state" / "notify" / "state.json").exists()
    assert holdfast(policy, "notify", **state).code == 0
    assert len(sink.told) == 1, "it is claimed by the one that was killed"
    clock.forward(minutes=3)
    assert holdfast(policy, "notify", **state).code == 0
    first, second = told(sink)
    assert first["id"] == second["id"] and second["kind"] == "opened"
    assert holdfast(policy, "notify", **state).code == 0
    assert len(sink.told) == 2


def test_many_notifiers_at_once_tell_it_once(holdfast, sink, state, tmp_path):
    policy = nowhere(tmp_path, {"full": {"http": f"{sink.url}/full"}}, [{"severity": "critical", "to": ["full"]}])
    begin, env = holdfast.prepare(policy, state)
    line = [*begin, "dump", "--reason", "manual"]
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda _: subprocess.run(line, env=env, capture_output=True, text=True), range(8)))
    assert {each.returncode for each in done} <= {2, 75}, [each.stderr for each in done]
    opened = [incident for each in told(sink) if each["kind"] == "opened" for incident in each["incidents"]]
    assert len(opened) == len({incident["key"] for incident in opened}) > 0, opened
    assert not any("nobody could be told" in each.stderr for each in done)


def test_a_broken_memory_begins_anew_and_says_so(holdfast, sink, clock, state, tmp_path):
    policy = nowhere(tmp_path, {"full": {"http": f"{sink.url}/full"}}, [{"severity": "critical", "to": ["full"]}])
    fails(holdfast, policy, **state)
    (tmp_path / "state" / "notify" / "state.json").write_text('{"version": 1, "began"')
    clock.forward(minutes=5)
    fails(holdfast, policy, **state)
    words = {each["code"] for message in told(sink)[1:] for each in message["incidents"]}
    assert "notify-state-reset" in words and len(words) > 1, "and what is still wrong is told again"


def test_silence_is_told_and_the_heartbeat_stops(holdfast, sink, clock, state, tmp_path):
    policy = nowhere(tmp_path, {"full": {"http": f"{sink.url}/full"}}, [{"severity": "critical", "to": ["full"]}],
                     expect={"dump": "1h"}, heartbeat={"http": {"env": "BEAT"}, "every": "5m"})
    env = state | {"BEAT": f"{sink.url}/beat"}
    fails(holdfast, policy, **env)
    beats = lambda: [each.method for each in sink.told if each.path == "/beat"]  # noqa: E731
    assert beats() == ["GET"], "dump was heard of, good or bad"
    clock.forward(minutes=6)
    holdfast(policy, "notify", **env)
    assert len(beats()) == 2
    clock.forward(hours=2)
    holdfast(policy, "notify", **env)
    assert len(beats()) == 2
    assert "missing-heartbeat" in {each["code"] for message in told(sink) for each in message["incidents"]}


def test_a_test_message_says_what_came_of_each_channel_and_shows_no_secret(holdfast, sink, tmp_path):
    secret = "T0PSECRET" + "z" * 20
    channels = {"full": {"http": f"{sink.url}/full"}, "chat": {"slack": {"env": "CHAT"}}, "gone": {"slack": {"env": "NOT_SET"}}}
    policy = nowhere(tmp_path, channels, [{"severity": "critical", "to": ["full"]}])
    with web_sink() as other:
        other.status = 404
        ran = holdfast(policy, "notify", "--test", "--json", CHAT=f"{other.url}/{secret}")
    assert ran.code == 1
    assert {each["channel"]: each["delivered"] for each in ran.json} == {"full": True, "chat": False, "gone": False}
    assert secret not in ran.out + ran.err and "NOT_SET" in ran.out
    assert kinds(sink) == ["test"]
    assert holdfast(policy, "notify", "--test", "full").code == 0
    wrong = holdfast(policy, "notify", "--test", "ful")
    assert wrong.code == 64 and "full" in wrong.err
    assert holdfast(policy, "notify").code == 64, "a tick needs a memory"


def test_a_policy_that_names_people_and_no_memory_is_never_silent(holdfast, sink, state, tmp_path):
    policy = nowhere(tmp_path, {"full": {"http": f"{sink.url}/full"}}, [{"severity": "critical", "to": ["full"]}])
    ran = holdfast(policy, "dump", "--reason", "manual")
    assert ran.code == 2 and "nobody is told" in ran.err and "HOLDFAST_STATE" in ran.err
    status = holdfast(policy, "status", "--json")
    assert status.code == 1
    assert {"no-notify-state"} == {each["code"] for each in status.json["findings"] if each["asset"] == "notify"}
    named = holdfast(policy, "status", "--json", **state)
    assert not [each for each in named.json["findings"] if each["code"] == "no-notify-state"]
    assert sink.told == []


def test_a_dry_run_sends_and_remembers_nothing(holdfast, sink, clock, state, tmp_path):
    policy = nowhere(tmp_path, {"full": {"http": f"{sink.url}/full"}}, [{"severity": "critical", "to": ["full"]}],
                     expect={"dump": "1h"})
    fails(holdfast, policy, **state)
    before = (tmp_path / "state" / "notify" / "state.json").read_text()
    clock.forward(hours=3)
    would = holdfast(policy, "notify", "--dry-run", "--json", **state).json
    assert [each["message"]["kind"] for each in would] == ["opened"]
    assert len(sink.told) == 1 and (tmp_path / "state" / "notify" / "state.json").read_text() == before


def test_a_recovery_and_a_verification_are_told_with_their_reports(holdfast, fresh_database, sink, clock, state, tmp_path):
    database = fresh_database()
    database.sql("CREATE TABLE orders AS SELECT generate_series(1, 42) AS id")
    rules = {
        "channels": {"full": {"http": f"{sink.url}/full"}, "spare": {"http": f"{sink.url}/spare"},
                     "proof": {"http": f"{sink.url}/verification", "body": "verification"},
                     "backup": {"http": f"{sink.url}/backup", "body": "backup"}},
        "routes": [{"severity": "critical", "to": ["full"]}, {"severity": "info", "events": ["verification"], "to": ["proof"]},
                   {"severity": "info", "events": ["success"], "to": ["backup"]}],
        "recovery": {"to": ["full", "spare"], "complete_to": ["full"]}, "expect": {"dump": "30d"},
    }
    policy = policy_of(shop=group(database.server, [database.name], in_folder(tmp_path / "backups"))) | {"notify": rules}
    dump(holdfast, policy, **state)
    (made,) = told(sink, "/backup")
    (name,) = good(holdfast, policy)
    assert made["status"] == "success" and made["backup_file"] == name.rsplit("/", 1)[-1]

    clock.forward(minutes=1)
    proven = holdfast(policy, "verify", "--full", **state)
    assert proven.code == 0, f"{proven.out}\n{proven.err}"
    assert told(sink, "/verification") == [
        {"status": "success", "backup_file": made["backup_file"], "record_count": 42}]

    clock.forward(minutes=1)
    restored = holdfast(policy, "restore", f"shop/{database.name}", "--to", f"{database.name}_back", **state)
    assert restored.code == 0, f"{restored.out}\n{restored.err}"
    database.sql(f'DROP DATABASE "{database.name}_back"')
    assert kinds(sink) == ["recovery-started", "recovery-complete"] and kinds(sink, "/spare") == ["recovery-started"]
    report = "\n".join(told(sink)[1]["lines"])
    assert "42 rows" in report and "nothing was lost" in report and told(sink)[1]["severity"] == "info"

    clock.forward(minutes=1)
    holdfast(policy, "restore", f"shop/{database.name}", "--to", f"{database.name}_b", "--table", "no_such_table", **state)
    assert kinds(sink)[-1] == "recovery-complete" and told(sink)[-1]["severity"] == "critical"


# -- as a Lambda -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def told_world(seeded, functions):
    """A world whose stack tells a web server; the server, and the world."""
    with web_sink(**SCHEMAS) as sink:
        rules = {"channels": {"full": {"http": f"{sink.url}/full"}}, "expect": {"freshness": "45m"},
                 "routes": [{"severity": "critical", "to": ["full"]}]}
        seeded.deploy(functions, lomash(lambda policy: policy.update(notify=rules)))
        yield seeded, sink
    assert not sink.faults, sink.faults


def event(file: str) -> dict:
    """A sample event."""
    return json.loads((ROOT / "events" / file).read_text())


def report(world, run: str, *findings: dict, whole: bool = True) -> dict:
    """A report of freshness, as SNS brings it."""
    sample = event("notify-report.json")
    message = json.loads(sample["Records"][0]["Sns"]["Message"])
    at = world.now().isoformat().replace("+00:00", "Z")
    message |= {"policy": "lomash-wood", "run_id": run, "started_at": at, "seconds": 0, "findings": list(findings), "assets": [], "complete": whole}
    sample["Records"][0]["Sns"]["Message"] = json.dumps(message)
    return sample


STALE = {"severity": "critical", "asset": "made-up", "code": "backup-stale", "message": "27h old", "hint": "holdfast run snapshot"}


def of(sink, asset: str) -> list[str]:
    """The kinds of the messages that speak of an asset."""
    return [m["kind"] for m in told(sink) if any(i["asset"] == asset for i in m["incidents"])]


def test_the_lambda_tells_what_a_report_says_once_and_its_end(told_world):
    world, sink = told_world
    first = report(world, "run-a", STALE)
    for _ in range(3):
        answer = world.invoke("notify", first)
        assert not answer.error, answer.payload
    assert of(sink, "made-up") == ["opened"]
    world.forward(minutes=1)
    assert not world.invoke("notify", report(world, "run-b", whole=False)).error
    assert of(sink, "made-up") == ["opened"], "it did not look at everything"
    world.forward(minutes=1)
    assert not world.invoke("notify", report(world, "run-c")).error
    assert of(sink, "made-up") == ["opened", "resolved"]
    assert not world.invoke("notify", first).error
    assert of(sink, "made-up") == ["opened", "resolved"], "an old report that comes late"


def test_a_function_s_own_report_comes_by_the_topic(told_world):
    world, sink = told_world
    before = len(sink.told)
    assert world.invoke("freshness").error, "the fleet that was seeded has backups that are late"
    until("the report has become a message", lambda: len(sink.told) > before)

    def nothing_waits() -> bool:
        tick = world.invoke("notify", event("notify-tick.json"))
        assert not tick.error, tick.payload
        return tick.payload["queued"] == 0

    until("everything is sent", nothing_waits)


def test_the_lambda_refuses_what_it_does_not_know_and_hears_the_samples(told_world):
    world, sink = told_world
    assert "this event can't be read" in world.invoke("notify", {"hello": 1}).said
    for file in ("notify-tick.json", "schedule-event.json", "notify-alarm.json", "notify-not-completed.json"):
        answer = world.invoke("notify", event(file))
        assert not answer.error, (file, answer.payload)
    assert of(sink, "acme-backup-age") == ["opened"]


def test_the_memory_is_in_the_bucket_and_another_notifier_waits_for_its_turn(told_world):
    world, sink = told_world
    world.forward(minutes=1)
    finding = STALE | {"asset": "raced"}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: world.invoke("notify", report(world, f"race-{n}", finding)), range(4)))
    assert not any(answer.error for answer in answers), [answer.payload for answer in answers]
    assert of(sink, "raced") == ["opened"]
    bucket = world.deployed["outputs"]["StateBucket"]
    (key,) = [key for key in world.objects(bucket) if key.endswith("notify/state.json")]
    assert json.loads(world.body(bucket, key))["version"] == 1

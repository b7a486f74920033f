"""Drills: a restore that was seen to work, evidence of it that nobody can forge, and every fault seen red."""

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backups import dump, in_folder, next_second, refused, well
from local import Ran
from peers import Command, Database, group, policy_of

EVIDENCE = "evidence"


@pytest.fixture
def shop(fresh_database) -> Database:
    """A small database whose newest row is of now."""
    database = fresh_database()
    database.sql("CREATE TABLE orders AS SELECT i AS id, now() AS created_at FROM generate_series(1, 500) i")
    return database


def due(minutes: int) -> str:
    """A monthly schedule that was due so many minutes ago."""
    at = datetime.now(UTC) - timedelta(minutes=minutes)
    return f"{at.minute} {at.hour} {at.day} * *"


def drill(**more: object) -> dict:
    """A drill of the group that was due a minute ago."""
    return {"kind": "dump", "of": "shop", "schedule": {"cron": due(1)}, "rto": "1h",
            "checks": {"orders": "SELECT count(*) = 500 FROM orders"}} | more


@pytest.fixture
def rules(holdfast, shop, folder) -> dict:
    """A policy that signs and encrypts, with a drill."""
    key, secret = holdfast.folder / "signing.key", holdfast.folder / "passphrase"
    public = well(holdfast({"holdfast": 1, "company": "tests", "id": "host-1"}, "key", "new", str(key))).out.strip()
    secret.write_text("a passphrase of the drill's own\n")
    secret.chmod(0o600)
    rule = {"keep": {"newest": 1}, "encrypt": {"openssl": {"file": str(secret)}}}
    policy = policy_of(shop=group(shop.server, [shop.name], in_folder(folder), rule))
    policy |= {"signing": {"secret_key": {"file": str(key)}, "public_keys": [public]}, "drills": {"monthly": drill()}}
    policy["limits"] = {"delete": {"share": "100%"}}
    well(holdfast(policy, "store", "init"))
    return policy


@pytest.fixture
def dumped(holdfast, rules) -> dict:
    """The same, with a dump."""
    dump(holdfast, rules)
    return rules


def with_drill(policy: dict, **more: object) -> dict:
    """The policy with another drill."""
    return policy | {"drills": {"monthly": drill(**more)}}


def evidence(folder: Path) -> list[Path]:
    """The files of evidence."""
    return sorted((folder / EVIDENCE).rglob("*.json"))


def read(folder: Path) -> dict:
    """The only evidence."""
    [file] = evidence(folder)
    return json.loads(file.read_text())


def asset(holdfast: Command, policy: dict) -> dict:
    """How the database stands."""
    ran = holdfast(policy, "status", "--json")
    [one] = [each for each in ran.json["assets"] if each["group"] == "shop"]
    return one


def codes(holdfast: Command, policy: dict) -> set[str]:
    """The codes of what is wrong with drills."""
    found = {each["code"] for each in holdfast(policy, "status", "--json").json["findings"]}
    return {code for code in found if code.startswith(("drill", "unproven"))}


def test_a_due_drill_is_proven_once_and_the_proof_is_told_everywhere(holdfast, dumped, shop, folder):
    assert codes(holdfast, dumped) == {"unproven"}
    assert asset(holdfast, dumped)["proof_age_seconds"] is None
    planned = well(holdfast(dumped, "drill", "plan", "monthly", "--json")).json
    assert [each["action"] for each in planned["due"]] == ["restore"]

    well(holdfast(dumped, "run", "drill"))
    proof = read(folder)
    assert (proof["verdict"], proof["trigger"], proof["asset"]) == ("proven", "schedule", shop.name)
    passed = {each["name"] for each in proof["checks"] if each["status"] == "passed"}
    assert {"restores", "rows of each table", "orders"} <= passed
    phases = sum(each["seconds"] for each in proof["measured"]["phases"])
    assert 0 < proof["measured"]["rto_seconds"] < 3600 and abs(phases - proof["measured"]["rto_seconds"]) < 0.01
    assert proof["objectives"]["rto_met"] is True and proof["point"]["selection"]["choice"] == "newest"

    well(holdfast(dumped, "run", "drill"))
    assert len(evidence(folder)) == 1, "a slot is drilled once"
    assert codes(holdfast, dumped) == set()
    assert 0 <= asset(holdfast, dumped)["proof_age_seconds"] < 600
    [row] = well(holdfast(dumped, "drill", "list", "--json")).json
    assert (row["verdict"], row["missed"]) == ("proven", 0)
    scraped = holdfast(dumped, "monitor", "--once").out
    assert f'holdfast_proof_age_seconds{{asset="{shop.name}"' in scraped, scraped
    shown = well(holdfast(dumped, "drill", "show", "monthly", "--markdown")).out
    assert "| kept |" in shown and "minisign -V -P RW" in shown and proof["point"]["sha256"] in shown


def test_the_newest_row_says_how_much_would_be_lost(holdfast, dumped, folder):
    asked = with_drill(dumped, newest_row="SELECT max(created_at) FROM orders", rpo="1h")
    well(holdfast(asked, "drill", "run", "monthly"))
    proof = read(folder)
    assert proof["measured"]["newest_row"] and 0 <= proof["measured"]["rpo_seconds"] < 600
    assert proof["objectives"]["rpo_met"] is True


@pytest.mark.parametrize(("fault", "said"), [
    ("wrong-key", "passphrase"),
    ("empty", "instead of 500"),
    ("slow", "RTO"),
    ("truncate", "restores: "),
    ("failed-restore", "permission denied"),
])
def test_every_injected_fault_is_seen_red_and_counts_for_nothing(fault, said, holdfast, dumped, folder):
    ran = holdfast(dumped, "drill", "run", "monthly", "--inject", fault, "--json")
    assert ran.code == 1, f"{ran.out}\n{ran.err}"
    [red] = ran.json["evidence"]
    assert (red["verdict"], red["injected"]) == ("failed", fault) and said in json.dumps(red), red
    assert codes(holdfast, dumped) == {"unproven"}, "nothing is known of the asset"
    well(holdfast(dumped, "drill", "run", "monthly"))
    assert [json.loads(file.read_text())["verdict"] for file in evidence(folder)].count("proven") == 1
    assert codes(holdfast, dumped) == set(), "the backup was never touched"


def test_a_failed_drill_is_critical_until_it_is_repeated(holdfast, dumped, folder):
    wrong = with_drill(dumped, checks={"orders": "SELECT count(*) = 499 FROM orders"})
    refused(holdfast(wrong, "drill", "run", "monthly"), 1, "orders", "FAILED")
    assert "drill-failed" in codes(holdfast, dumped)
    assert asset(holdfast, dumped)["max_severity"] == "critical"
    next_second()
    well(holdfast(dumped, "drill", "run", "monthly"))
    assert codes(holdfast, dumped) == set()
    assert len(evidence(folder)) == 2


def test_a_database_without_a_dump_fails_its_drill(holdfast, rules):
    refused(holdfast(rules, "drill", "run", "monthly"), 1, "no recovery point")


def test_a_check_that_hangs_ends(holdfast, dumped):
    slow = with_drill(dumped, checks={"slow": "SELECT pg_sleep(600) IS NOT NULL"}, check_timeout="1s")
    refused(holdfast(slow, "drill", "run", "monthly"), 1, "slow", "timeout")


def test_a_scratch_server_that_is_away_proves_nothing_and_fails_nothing(holdfast, dumped, folder):
    away = with_drill(dumped, scratch={"host": "127.0.0.1", "port": 1, "user": "nobody"})
    ran = holdfast(away, "drill", "run", "monthly", "--json")
    assert ran.code == 75, f"{ran.out}\n{ran.err}"
    assert read(folder)["verdict"] == "could-not-verify"
    assert codes(holdfast, dumped) == {"unproven", "drill-unverified"}


def test_a_missed_slot_is_told_and_recorded(holdfast, dumped, folder):
    daily = {"cron": (datetime.now(UTC) - timedelta(minutes=40)).strftime("%M %H * * *")}
    drilled = with_drill(dumped, schedule=daily, start_within="30m")
    well(holdfast(drilled, "run", "drill"))
    assert not evidence(folder), "a drill that never ran was not missed"
    assert codes(holdfast, drilled) == {"unproven"}
    # One of an hour ago that failed, so that the next was missed.
    earlier = with_drill(drilled, schedule={"cron": due(60)}, checks={"orders": "SELECT false"})
    refused(holdfast(earlier, "run", "drill"), 1, "orders")
    assert "drill-missed" in codes(holdfast, drilled)
    well(holdfast(drilled, "run", "drill"))
    triggers = sorted(json.loads(file.read_text())["trigger"] for file in evidence(folder))
    assert triggers == ["missed", "schedule"]
    assert "**MISSED**" in well(holdfast(drilled, "drill", "show", "--markdown")).out
    next_second()
    well(holdfast(drilled, "drill", "run", "monthly"))
    assert codes(holdfast, drilled) == set()


def minisign(public: str, file: Path) -> subprocess.CompletedProcess:
    """What the stock program says of a file."""
    return subprocess.run(["minisign", "-V", "-P", public, "-m", str(file)], capture_output=True, text=True, check=False)


def test_forged_evidence_never_counts_and_is_named(holdfast, dumped, shop, folder):
    wrong = with_drill(dumped, checks={"orders": "SELECT count(*) = 499 FROM orders"})
    refused(holdfast(wrong, "run", "drill"), 1, "FAILED")
    [file] = evidence(folder)
    public = dumped["signing"]["public_keys"][0]
    assert minisign(public, file).returncode == 0
    well(holdfast(dumped, "drill", "verify-evidence", str(file)))
    well(holdfast(dumped, "drill", "verify-evidence", str(file), "--public-key", public))
    true = file.read_text()
    green = json.loads(true) | {"verdict": "proven"}
    del green["reason"]
    green["checks"] = [each for each in green["checks"] if each["status"] == "passed"]
    file.write_text(json.dumps(green))
    assert minisign(public, file).returncode != 0
    refused(holdfast(dumped, "drill", "verify-evidence", str(file)), 1, "signature")
    assert codes(holdfast, dumped) == {"unproven", "drill-evidence-ignored"}
    # A new slot, with the signature of the old one; and one without any.
    file.write_text(true)
    for name in ("20991207T090000Z", "20261101T090000Z"):
        other = folder / EVIDENCE / "monthly" / name / "shop"
        other.mkdir(parents=True)
        (other / file.name).write_text(true)
        (other / f"{file.name}.minisig").write_bytes(Path(f"{file}.minisig").read_bytes())
    assert codes(holdfast, dumped) == {"unproven", "drill-evidence-ignored", "drill-failed"}


def test_retention_never_takes_evidence(holdfast, dumped, folder):
    well(holdfast(dumped, "run", "drill"))
    before = {file: file.read_bytes() for file in (folder / EVIDENCE).rglob("*") if file.is_file()}
    assert len(before) == 2
    for _ in range(3):
        next_second()
        well(holdfast(dumped, "dump", "--reason", "manual"))
    well(holdfast(dumped, "run", "retention"))
    assert len(list(folder.rglob("*.zst"))) == 1, "retention did its work"
    assert {file: file.read_bytes() for file in before} == before
    assert codes(holdfast, dumped) == set()


def test_a_quick_drill_reads_and_is_no_proof_of_a_restore(holdfast, dumped, folder):
    quick = dumped | {"drills": {"weekly": {"kind": "quick", "of": "shop", "schedule": {"cron": due(1)}}}}
    well(holdfast(quick, "run", "drill"))
    assert (read(folder)["verdict"], "restored_on" in read(folder)) == ("proven", False)
    assert asset(holdfast, quick)["proof_age_seconds"] is None
    next_second()
    ran: Ran = holdfast(quick, "drill", "run", "weekly", "--inject", "truncate")
    assert ran.code == 1, f"{ran.out}\n{ran.err}"


def test_the_policy_says_when_drills_are_next_and_refuses_what_does_not_fit(holdfast, rules):
    first = with_drill(rules, schedule={"cron": "0 9 * * MON#1"})
    said = well(holdfast(first, "policy", "check", "--json")).json["drills"]
    [monthly] = said
    days = [datetime.fromisoformat(each) for each in monthly["next"]]
    assert len(days) == 3 and all(day.weekday() == 0 and day.day <= 7 for day in days)
    for more, words in [({"kind": "snapshot"}, "databases"), ({"of": "nothing"}, "nothing"),
                        ({"checks": {"x": "DROP TABLE orders"}}, "SELECT"), ({"instance_class": "db.t3.medium"}, "instance")]:
        refused(holdfast(with_drill(rules, **more), "policy", "check"), 64, words)
    refused(holdfast(rules, "drill", "run", "mnthly"), 64, "monthly")

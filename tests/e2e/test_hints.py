"""Each hint's command, run against the very case that prints it: what a person is told at 3 a.m. does something."""

import json
import re
import shlex

import pytest

from local import World
from world import fleet


@pytest.fixture(scope="module")
def hints(seeded: World) -> dict[str, dict]:
    """The commands that `status` names for the late fleet, each with a finding that names it."""
    status = seeded.holdfast("status", "--json").json
    named = {}
    for finding in status["findings"]:
        for command in re.findall(r"`(holdfast [^`]*)`", finding["hint"]):
            named.setdefault(command, finding)
    return named


def test_what_status_says_to_run_is_taken_and_does_something(seeded, hints):
    runs = {command: finding for command, finding in hints.items() if command.startswith(("holdfast run ", "holdfast dump "))}
    assert any(command.startswith("holdfast run snapshot --reason ") for command in runs), hints
    assert "holdfast run offsite" in runs, hints
    for command, finding in runs.items():
        ran = seeded.holdfast(*shlex.split(command)[1:], "--dry-run", "--json")
        assert ran.code != 64, (command, ran.err)
        if command.startswith("holdfast run snapshot"):
            planned = [step["asset"] for step in ran.json["outcomes"]]
            assert planned == [finding["asset"]], (command, ran.out)
        if command == "holdfast run offsite":
            assert ran.json["outcomes"], "the copies that are missing are planned"


def test_a_mistyped_reason_of_a_gate_is_answered_with_one_that_the_gate_takes(seeded):
    asset = fleet.instance(fleet.SERVICES[0])
    refused = seeded.holdfast("gate", "--reason", "predeploy", "--asset", asset, "--timeout", "1s")
    assert refused.code == 64 and "schedule" not in refused.err, refused.err
    meant = re.search(r'did you mean "([^"]+)"', refused.err)[1]
    before = seeded.snapshots()
    taken = seeded.holdfast("run", "snapshot", "--reason", meant, "--asset", asset, "--dry-run", "--json")
    assert json.loads(taken.out)["outcomes"], taken.err
    assert seeded.snapshots() == before

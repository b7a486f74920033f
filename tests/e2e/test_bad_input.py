"""Input that can't be right: one clear error that names the place and the fix, and nothing is taken, copied or deleted."""

import pytest

from local import FUNCTIONS, LOMASH
from world import fleet

FAULTS = """\
holdfast: 1
company: lomash-wood
home: { account: "12345", region: eu-west-1 }
databases:
  fleet:
    select: { identifiers: [lomash-auth-prod] }
    snapshots:
      daily: { schedule: { cron: "0 25 * * *" }, keep: { for: 35d } }
    copys: []
"""
WRONG = {
    "an unknown field": ({"reason": "pre-deploy", "asset": "lomash-orders-prod"}, ["asset", "assets"]),
    "no reason": ({"wait": True}, ["reason"]),
    "an empty reason": ({"reason": ""}, ["reason"]),
    "a list": (["pre-deploy"], ["reason"]),
    "a number": (7, ["reason"]),
    "another service's event": (
        {"source": "aws.ec2", "detail-type": "EC2 Instance State-change Notification", "detail": {}}, ["aws.ec2"]),
    "an RDS event without a snapshot": (
        {"source": "aws.rds", "detail-type": "RDS DB Snapshot Event", "detail": {}}, ["detail.SourceArn"]),
}


@pytest.fixture
def good_policy_after(world):
    """The policy is as it was when the test is over."""
    yield
    world.put_policy(LOMASH.read_text())


@pytest.fixture
def untouched(world):
    """Nothing was taken, copied or deleted when the test is over."""
    before = world.everything()
    yield
    assert world.everything() == before


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_event_is_refused_with_the_place_and_nothing_happens(world, untouched, case):
    event, words = WRONG[case]
    for function in ("snapshot", "retention"):
        answer = world.invoke(function, event)
        assert answer.error and answer.payload["errorType"] == "Holdfast.BadEvent", answer.payload
        assert all(word in answer.said for word in words), answer.said


def test_a_policy_with_three_faults_lists_all_with_line_and_column_and_nothing_happens(world, untouched, good_policy_after):
    world.put_policy(FAULTS)
    for function in FUNCTIONS:
        answer = world.invoke(function)
        assert answer.error and answer.payload["errorType"] == "Holdfast.NoPolicy", answer.payload
        assert f"s3://{fleet.POLICIES}/policy.yaml" in answer.said
        for place in ("3:9: home.account", "8:28: databases.fleet.snapshots.daily.schedule", "9:5: databases.fleet.copys"):
            assert place in answer.said, answer.said


def test_a_policy_that_is_not_there_is_named_and_nothing_happens(world, untouched, good_policy_after):
    world.client("s3").delete_object(Bucket=fleet.POLICIES, Key="policy.yaml")
    for function in FUNCTIONS:
        answer = world.invoke(function)
        assert answer.error and answer.payload["errorType"] == "Holdfast.NoPolicy", answer.payload
        assert f"s3://{fleet.POLICIES}/policy.yaml" in answer.said


def test_a_policy_that_is_no_text_is_refused_and_nothing_happens(world, untouched, good_policy_after):
    world.client("s3").put_object(Bucket=fleet.POLICIES, Key="policy.yaml", Body=b"\xff\xfe\x00policy")
    answer = world.invoke("snapshot")
    assert answer.error and answer.payload["errorType"] == "Holdfast.NoPolicy", answer.payload


def test_a_function_goes_on_once_the_policy_is_right_again(world):
    world.put_policy(FAULTS)
    assert world.invoke("replication").error
    world.put_policy(LOMASH.read_text())
    assert world.invoke("replication").error is None

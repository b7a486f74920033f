"""Copies of snapshots in other regions: which, under which key, with which tags, and what makes them again (B6, I4)."""

import json

import boto3
import pytest

from local import INSTANCES, POLICIES
from world import fleet

NEWEST = 7
REASONS = ("daily", "pre-deploy")


@pytest.fixture(scope="module")
def first(world):
    """What the policy wanted of each database, and what is offsite after the first run, which has room for twenty copies."""
    for days in (1, 2):  # so that one database has more snapshots than its copies' rule keeps
        name = f"lomash-orders-prod-pre-deploy-20200101000{days}"
        world.take("lomash-orders-prod", name, {
            "holdfast:owner": fleet.OWNER, "holdfast:asset": "lomash-orders-prod", "holdfast:reason": "pre-deploy",
            "holdfast:slot": name[-12:]})
    answer = world.invoke("offsite")
    assert answer.error is None, answer.payload
    return {instance: wanted(world, instance) for instance in INSTANCES}, world.copies()


@pytest.fixture(scope="module")
def settled(world, first):
    """The world after as many runs as it takes."""
    world.settle(lambda: world.invoke("offsite").payload)
    return world


def wanted(world, instance: str) -> list[dict]:
    """The snapshots that the policy wants offsite, newest first, worked out without Holdfast."""
    found = []
    for reason in REASONS:
        of_reason = [s for s in world.snapshots(instance).values() if s["tags"].get("holdfast:reason") == reason]
        found += sorted(of_reason, key=lambda s: s["SnapshotCreateTime"], reverse=True)[:NEWEST]
    return sorted(found, key=lambda s: s["SnapshotCreateTime"], reverse=True)


def test_a_run_starts_no_more_copies_than_rds_takes_and_every_databases_newest_first(first):
    asked, there = first
    assert len(there) == 20
    for instance in INSTANCES:
        newest_first = [s["DBSnapshotArn"] for s in asked[instance]]
        copied = [arn for arn in newest_first if arn in there]
        assert len(copied) in (2, 3), "the room of a run is shared out evenly"
        assert copied == newest_first[:len(copied)], instance


def test_in_the_end_the_newest_of_each_reason_are_there_and_no_others(settled):
    expected = {s["DBSnapshotArn"] for instance in INSTANCES for s in wanted(settled, instance)}
    assert len(wanted(settled, "lomash-orders-prod")) == 2 * NEWEST, "it has more than that"
    assert set(settled.copies()) == expected


def test_copies_are_under_the_destinations_key_with_the_databases_tags_and_their_source(settled):
    kms = boto3.client("kms", region_name=fleet.OFFSITE_REGION, endpoint_url=settled.env["AWS_ENDPOINT_URL_RDS"],
                       aws_access_key_id="test", aws_secret_access_key="test")
    key = kms.describe_key(KeyId="alias/lomash-wood-offsite")["KeyMetadata"]
    home = {each["DBSnapshotArn"]: each for each in settled.snapshots().values()}
    for source, copy in settled.copies().items():
        instance = home[source]["DBInstanceIdentifier"]
        assert copy["Encrypted"] and copy["Status"] == "available"
        assert copy["KmsKeyId"].endswith(("alias/lomash-wood-offsite", key["KeyId"])), copy["KmsKeyId"]
        expected = settled.tags(instance) | {
            "holdfast:owner": fleet.OWNER, "holdfast:asset": instance, "holdfast:copy-of": source,
            "holdfast:family": "instance", "holdfast:resource-id": home[source]["DbiResourceId"],
            "holdfast:reason": home[source]["tags"]["holdfast:reason"],
            "holdfast:slot": home[source]["tags"]["holdfast:slot"]}
        assert copy["tags"].items() >= expected.items()
        assert copy["DBSnapshotIdentifier"] == home[source]["DBSnapshotIdentifier"]


def test_the_persons_own_snapshot_is_not_copied(settled):
    name, instance, _ = fleet.OWN_SNAPSHOT
    assert not [source for source in settled.copies(instance) if source.endswith(f":{name}")]


def test_a_run_with_nothing_to_do_does_nothing(settled):
    before = settled.everything()
    answer = settled.invoke("offsite")
    assert (answer.error, answer.payload["outcomes"]) == (None, [])
    assert settled.everything() == before


def test_a_copy_that_is_gone_is_made_again(settled):
    before = settled.copies("lomash-auth-prod")
    source, copy = next(iter(before.items()))
    settled.client("rds", fleet.OFFSITE_REGION).delete_db_snapshot(DBSnapshotIdentifier=copy["DBSnapshotIdentifier"])
    assert source not in settled.copies("lomash-auth-prod")
    assert settled.invoke("offsite").error is None
    assert set(settled.copies("lomash-auth-prod")) == set(before)


def test_the_event_of_a_snapshot_copies_that_databases_and_nothing_else(settled, tmp_path):
    taken = {}
    for instance in ("lomash-products-prod", "lomash-customers-prod"):
        slot = f"{settled.now():%Y%m%d%H%M}"
        taken[instance] = settled.take(instance, f"{instance}-pre-deploy-{slot}", {
            "holdfast:owner": fleet.OWNER, "holdfast:asset": instance, "holdfast:reason": "pre-deploy",
            "holdfast:slot": slot})
    before = settled.copies("lomash-customers-prod")
    event = json.loads((POLICIES.parents[2] / "events" / "rds-snapshot-created.json").read_text())
    arn = taken["lomash-products-prod"]
    event |= {"resources": [arn]}
    event["detail"] |= {"SourceArn": arn, "SourceIdentifier": arn.rsplit(":", 1)[1]}
    file = tmp_path / "event.json"
    file.write_text(json.dumps(event))
    runs = settled.runs("offsite")

    told = json.loads(settled.dev("rds-event", str(file)))["invoked"]

    assert [each["function"] for each in told] == ["holdfast-offsite"]
    settled.await_runs("offsite", runs + 1)
    assert arn in settled.copies("lomash-products-prod")
    assert settled.copies("lomash-customers-prod") == before, "its event did not come"
    settled.settle(lambda: settled.invoke("offsite").payload)
    assert taken["lomash-customers-prod"] in settled.copies("lomash-customers-prod"), "the next look finds it all the same"


def test_three_regions_have_a_copy_each(settled):
    """B6: primary, secondary and tertiary region."""
    for region in ("eu-central-1", "ap-southeast-1"):
        kms = boto3.client("kms", region_name=region, endpoint_url=settled.env["AWS_ENDPOINT_URL_RDS"],
                           aws_access_key_id="test", aws_secret_access_key="test")
        kms.create_alias(AliasName="alias/dr", TargetKeyId=kms.create_key()["KeyMetadata"]["KeyId"])
    policy = POLICIES / "three-regions.yaml"
    ran = settled.holdfast("run", "offsite", policy=policy)
    assert ran.code == 0, ran
    mine = settled.snapshots("lomash-content-prod")
    newest = sorted(mine.values(), key=lambda each: each["SnapshotCreateTime"])
    dailies = [s["DBSnapshotArn"] for s in newest if s["tags"].get("holdfast:reason") == "daily"]
    assert set(settled.copies("lomash-content-prod", "eu-central-1")) == set(dailies[-2:])
    assert set(settled.copies("lomash-content-prod", "ap-southeast-1")) == set(dailies[-1:])
    assert settled.holdfast("run", "offsite", "--json", policy=policy).json["outcomes"] == []

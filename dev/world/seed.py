"""Fills the running world with a fleet, made over a hundred days of shifted time, and prints what it made.

    python3 dev/world.py seed lomash
"""

import argparse
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from world import fleet
from world.aws import client, tag_list
from world.clock import FILE, Clock

ALIASES = {"alias/lomash-wood-rds": fleet.HOME, "alias/lomash-wood-offsite": fleet.OFFSITE_REGION}


def make_keys() -> None:
    """KMS keys: one that encrypts the databases, one for their copies offsite."""
    for alias, region in ALIASES.items():
        kms = client("kms", region)
        key = kms.create_key(Description=alias)["KeyMetadata"]
        kms.create_alias(AliasName=alias, TargetKeyId=key["KeyId"])


def databases_key() -> str:
    """The ARN of the key that encrypts the databases, as RDS knows it."""
    return client("kms", fleet.HOME).describe_key(KeyId="alias/lomash-wood-rds")["KeyMetadata"]["Arn"]


def make_instance(service: str, key: str) -> None:
    """One PostgreSQL instance; one service's settings have drifted from the policy."""
    drifted = service == fleet.DRIFTED
    client("rds").create_db_instance(
        DBInstanceIdentifier=fleet.instance(service), DBName=f"lomash_{service}", Engine="postgres",
        EngineVersion="16.4", DBInstanceClass="db.t3.medium", AllocatedStorage=100, MultiAZ=True,
        MasterUsername="lomash", MasterUserPassword="not-a-real-password", StorageEncrypted=True, KmsKeyId=key,
        BackupRetentionPeriod=7 if drifted else 35, PreferredBackupWindow="04:00-05:00" if drifted else "02:00-03:00",
        Tags=tag_list({"env": "prod", "service": service, "app": "lomash-wood"}))


def take_snapshot(snapshot: fleet.Snapshot) -> None:
    """One snapshot with Holdfast's tags."""
    client("rds").create_db_snapshot(
        DBInstanceIdentifier=fleet.instance(snapshot.service), DBSnapshotIdentifier=snapshot.name,
        Tags=tag_list(snapshot.tags))


def take_own_snapshot() -> None:
    """The one that a person took: no tag of ours, never to be deleted."""
    name, instance, _ = fleet.OWN_SNAPSHOT
    client("rds").create_db_snapshot(DBInstanceIdentifier=instance, DBSnapshotIdentifier=name)


def make_buckets() -> None:
    """All buckets with versions; rules for media."""
    for bucket, region in fleet.BUCKETS.items():
        s3 = client("s3", region)
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        s3.create_bucket(Bucket=bucket, **where)
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    home = client("s3", fleet.HOME)
    trust = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = client("iam").create_role(
        RoleName="lomash-wood-replication", AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
    home.put_bucket_replication(Bucket=fleet.MEDIA, ReplicationConfiguration={
        "Role": role["Role"]["Arn"],
        "Rules": [{"ID": "media-to-london", "Status": "Enabled", "Priority": 1, "Filter": {"Prefix": ""},
                   "DeleteMarkerReplication": {"Status": "Enabled"},
                   "Destination": {"Bucket": f"arn:aws:s3:::{fleet.REPLICA}"}}]})
    for bucket in (fleet.MEDIA, fleet.REPLICA):
        client("s3", fleet.BUCKETS[bucket]).put_bucket_lifecycle_configuration(
            Bucket=bucket, LifecycleConfiguration={"Rules": [
                {"ID": "noncurrent-90-days", "Status": "Enabled", "Filter": {"Prefix": ""},
                 "NoncurrentVersionExpiration": {"NoncurrentDays": 90}}]})


def send_events() -> None:
    """Turns on the events of the bucket of backups; last, so that the history makes none."""
    client("s3", fleet.BUCKETS[fleet.BACKUPS]).put_bucket_notification_configuration(
        Bucket=fleet.BACKUPS, NotificationConfiguration={"EventBridgeConfiguration": {}})


def put_object(thing: fleet.Object) -> None:
    """One object, or one delete."""
    s3 = client("s3", fleet.BUCKETS[thing.bucket])
    if thing.body is None:
        s3.delete_object(Bucket=thing.bucket, Key=thing.key)
    else:
        s3.put_object(Bucket=thing.bucket, Key=thing.key, Body=thing.body)


def seed_lomash(clock: Clock) -> dict[str, int]:
    """Makes Lomash Wood's fleet, oldest things first. Returns how many of each there are."""
    now = clock.start
    snapshots = fleet.snapshots(now)
    objects = fleet.media(now) + fleet.dumps(now) + fleet.rdb_files(now)
    minutes_later = timedelta(minutes=2)
    history: list[tuple[datetime, Callable[..., None], list]] = [(each.slot + minutes_later, take_snapshot, [each]) for each in snapshots]
    history += [(now - fleet.OWN_SNAPSHOT[2], take_own_snapshot, [])]
    history += [(each.when, put_object, [each]) for each in objects]
    clock.go_to(now - fleet.FOUNDED)
    try:
        make_keys()
        make_buckets()
        key = databases_key()
        for service in fleet.SERVICES:
            make_instance(service, key)
        for when, make, arguments in sorted(history, key=lambda entry: entry[0]):
            clock.go_to(when)
            make(*arguments)
        clock.go_home()
        send_events()
    finally:
        clock.go_home()
    return {"instances": len(fleet.SERVICES), "snapshots": len(snapshots) + 1, "buckets": len(fleet.BUCKETS),
            "objects": len(objects)}


FLEETS = {"lomash": seed_lomash}


def main() -> None:
    """Seeds the fleet that the command line names."""
    parser = argparse.ArgumentParser(prog="world.py seed", description=__doc__)
    parser.add_argument("fleet", choices=FLEETS)
    options = parser.parse_args()
    clock = Clock(os.environ[FILE], datetime.now(UTC))
    print(json.dumps(FLEETS[options.fleet](clock)))


if __name__ == "__main__":
    main()

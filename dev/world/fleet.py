"""Lomash Wood's fleet as plain data: what exists, how old it is, and when it was made. No I/O."""

import hashlib
import json
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from zlib import crc32

POLICY = "lomash-wood"
OWNER = "lomash-wood@123456789012/eu-west-1"
HOME, REPLICA_REGION, OFFSITE_REGION = "eu-west-1", "eu-west-2", "us-east-1"
SERVICES = ["auth", "products", "orders", "appointments", "content", "customers", "notifications", "analytics"]
DRIFTED = "analytics"
LATE = ["content", "notifications"]

MEDIA, REPLICA = "lomash-wood-media-prod", "lomash-wood-media-prod-replica"
BACKUPS, OFFSITE = "lomash-wood-backups", "lomash-wood-backups-offsite"
POLICIES = "lomash-wood-holdfast"
OWNER, DUMPS = "lomash-wood@123456789012/eu-west-1", "pg-logical/"  # whose the dumps are, and what their keys begin with
BUCKETS = {MEDIA: HOME, REPLICA: REPLICA_REGION, BACKUPS: HOME, OFFSITE: OFFSITE_REGION, POLICIES: HOME}

FOUNDED = timedelta(days=101)
PRE_DEPLOY_DAYS = [100, 95, 60, 30, 10, 3]
DAILY_DAYS = 7
LATE_DAYS = 2
OWN_SNAPSHOT = ("lomash-orders-before-migration", "lomash-orders-prod", timedelta(days=99))
MEDIA_OBJECTS = 40
DUMP_WEEKS = 4
RDB_HOURS = 24
SIZE = 10_000


def instance(service: str) -> str:
    """The RDS instance of a service."""
    return f"lomash-{service}-prod"


@dataclass(frozen=True)
class Snapshot:
    """A manual snapshot that Holdfast took."""

    service: str
    reason: str
    slot: datetime

    @property
    def name(self) -> str:
        """Its identifier: a function of asset, reason and slot."""
        return f"{instance(self.service)}-{self.reason}-{self.slot:%Y%m%d%H%M}"

    @property
    def tags(self) -> dict[str, str]:
        """The tags that say whose it is."""
        return {
            "holdfast:owner": OWNER, "holdfast:family": "instance", "holdfast:reason": self.reason,
            "holdfast:asset": instance(self.service), "holdfast:slot": f"{self.slot:%Y%m%d%H%M}",
        }


@dataclass(frozen=True)
class Object:
    """An object put at a moment; without a body it is a delete."""

    when: datetime
    bucket: str
    key: str
    body: bytes | None


def last_slot(now: datetime, hour: int) -> datetime:
    """The newest moment at that full hour (UTC) that is past by ten minutes or more."""
    slot = now.replace(hour=hour, minute=0, second=0, microsecond=0)
    return slot if now - slot >= timedelta(minutes=10) else slot - timedelta(days=1)


def snapshots(now: datetime) -> list[Snapshot]:
    """All of Holdfast's snapshots: pre-deployment ones of many ages, and daily ones, late for two instances."""
    pre_deploy = [
        Snapshot(service, "pre-deploy", (now - timedelta(days=days)).replace(second=0, microsecond=0))
        for days in PRE_DEPLOY_DAYS for service in SERVICES
    ]
    newest = last_slot(now, 2)
    daily = [
        Snapshot(service, "daily", newest - timedelta(days=days))
        for days in range(DAILY_DAYS) for service in SERVICES
        if not (service in LATE and days < LATE_DAYS)
    ]
    return pre_deploy + daily


def content(key: str, magic: bytes = b"") -> bytes:
    """Some 10 KB that depend on the key alone."""
    dice = random.Random(key)
    return magic + dice.randbytes(SIZE + dice.randrange(SIZE // 10))


def media(now: datetime) -> list[Object]:
    """Media objects put over 90 days, some overwritten and one deleted since."""
    puts = []
    for number in range(MEDIA_OBJECTS):
        key = f"products/{number // 10:02}/oak-{number:03}.jpg"
        puts.append(Object(now - timedelta(days=90 - 2 * number), MEDIA, key, content(key, b"\xff\xd8\xff\xe0")))
    changed = [
        Object(now - timedelta(days=5), MEDIA, put.key, content(f"{put.key}#2", b"\xff\xd8\xff\xe0")) for put in puts[:3]
    ]
    return [*puts, *changed, Object(now - timedelta(days=4), MEDIA, puts[3].key, None)]


def commit_record(bucket: str, key: str, body: bytes, slot: datetime, taken: datetime, /, **other: object) -> bytes:
    """The commit record of a weekly dump, as docs/manifest.schema.json has it; `other` takes the place of its fields."""
    database, file = key.split("/")[-2:]
    digest = hashlib.sha256(body).hexdigest()
    record = {
        "holdfast": 1, "owner": OWNER, "key": key.removeprefix(DUMPS), "group": "dumps", "database": database, "reason": "weekly",
        "run": f"seed-{slot:%Y%m%d}", "slot": f"{slot:%FT%TZ}", "data_time": f"{taken:%FT%TZ}", "finished_at": f"{taken:%FT%TZ}",
        "file": {"name": file, "bytes": len(body), "sha256": digest}, "plain": {"bytes": len(body), "sha256": digest},
        "format": "custom", "client": "pg_dump (PostgreSQL) 16.4",
        "server": {"version": "16.4", "version_num": 160004, "system_identifier": str(crc32(database.encode()))},
        "restore": f"aws s3 cp s3://{bucket}/{key} - | pg_restore --no-owner -d TARGET",
    }
    return json.dumps(record | other).encode()


def dump(bucket: str, key: str, slot: datetime, taken: datetime, /, **other: object) -> list[Object]:
    """A dump that counts, in the order in which it is written: the file, its hash, its commit record."""
    body = content(key, b"PGDMP")
    sums = f"{hashlib.sha256(body).hexdigest()}  {key.rsplit('/', 1)[-1]}\n".encode()
    files = {key: body, f"{key}.sha256": sums, f"{key}.json": commit_record(bucket, key, body, slot, taken, **other)}
    return [Object(taken, bucket, name, text) for name, text in files.items()]


def mark(bucket: str, prefix: str, when: datetime, owner: str) -> Object:
    """The mark that says whose a store is."""
    text = {"holdfast": 1, "owner": owner, "id": "seed", "since": f"{when:%FT%TZ}"}
    return Object(when, bucket, f"{prefix}holdfast-store.json", json.dumps(text).encode())


def dumps(now: datetime) -> list[Object]:
    """The logical dumps of the last Sundays, 01:00 UTC."""
    sunday = last_slot(now, 1)
    sunday -= timedelta(days=(sunday.weekday() + 1) % 7)
    made = [mark(BACKUPS, DUMPS, sunday - timedelta(weeks=DUMP_WEEKS), OWNER)]
    for week in range(DUMP_WEEKS):
        day = sunday - timedelta(weeks=week)
        for number, service in enumerate(SERVICES):
            database = f"lomash_{service}"
            key = f"pg-logical/{database}/{database}_{day:%Y%m%d}.dump"
            made += dump(BACKUPS, key, day, day + timedelta(minutes=1, seconds=20 * number))
    return made


def rdb_files(now: datetime) -> list[Object]:
    """Redis' hourly files of the last day."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    made = []
    for back in range(RDB_HOURS):
        at = hour - timedelta(hours=back)
        key = f"redis/dump-{at:%Y%m%d%H}.rdb"
        made.append(Object(at, BACKUPS, key, content(key, b"REDIS0011")))
    return made

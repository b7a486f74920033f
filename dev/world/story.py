"""The main job, told: what was late, taken, copied, checked, deleted and alarmed, until all is well.

    python3 dev/world.py story --binaries target/debug

Seeds and deploys into the running world, then moves its clock, so that EventBridge's own schedules run the functions.
What is printed is read from the functions' logs and from `holdfast`.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from world import fleet, lomash, rds_events, stack
from world.aws import client
from world.clock import FILE, clock_env
from world.paths import DEV
from world.postgres import Postgres, postgres

POLICY = lomash.written(whole=True)
BOLD, DIM, PLAIN = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")


def say(text: str) -> None:
    """A heading."""
    print(f"\n{BOLD}{text}{PLAIN}", flush=True)


def show(lines: list[dict], most: int = 6) -> None:
    """What a run did and found, the first few of each kind, and its summary."""
    told = [line for line in lines if "action" in line or ("asset" in line and line["level"] != "INFO")]
    for line in told[:most]:
        because = f" {DIM}({line['because']}){PLAIN}" if "because" in line else ""
        asset = "" if "action" in line else f"{line['asset']}: "
        print(f"   {asset}{line['message']}{because}")
    if len(told) > most:
        print(f"   {DIM}... and {len(told) - most} more{PLAIN}")
    for end in stack.ends(lines):
        print(f"   {'FAILED ' if end['failed'] else ''}{end['message'][:300]}", flush=True)


def snapshot_created(name: str) -> dict:
    """What RDS says when a manual snapshot is there."""
    event = json.loads((DEV.parent / "events" / "rds-snapshot-created.json").read_text())
    arn = client("rds").describe_db_snapshots(DBSnapshotIdentifier=name)["DBSnapshots"][0]["DBSnapshotArn"]
    event["resources"] = [arn]
    event["detail"] |= {"SourceArn": arn, "SourceIdentifier": name}
    return event


def make_databases(server: Postgres) -> None:
    """The databases that the policy dumps, each with what its checks ask for, and the secret that leads to their server."""
    for service in fleet.SERVICES:
        database = f"lomash_{service}"
        server.sql(f"CREATE DATABASE {database}")
        server.sql(
            "CREATE TABLE _prisma_migrations (id text PRIMARY KEY, finished_at timestamptz, rolled_back_at timestamptz);"
            "INSERT INTO _prisma_migrations VALUES ('20260101_init', now(), NULL);"
            "CREATE TABLE orders (id bigint PRIMARY KEY, placed_at timestamptz NOT NULL);"
            "INSERT INTO orders SELECT n, now() - n * interval '1 minute' FROM generate_series(1, 20000) n", database)
    login = {"engine": "postgres", "host": server.env()["PGHOST"], "port": server.port, "username": "postgres",
             "password": server.password}
    client("secretsmanager").create_secret(Name="lomash-wood/production/postgres", SecretString=json.dumps(login))


def make_others_backups() -> None:
    """What others than Holdfast did before the story: the state of the cluster was exported, and the sweep of last Sunday copied
    dumps and RDB files."""
    s3, away = client("s3"), client("s3", fleet.OFFSITE_REGION)
    key = f"k8s/cluster-state-{datetime.now(UTC):%Y%m%d}.yaml"
    s3.put_object(Bucket=fleet.BACKUPS, Key=key, Body=fleet.content(key, b"apiVersion: v1\n"))
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=fleet.BACKUPS):
        for found in page.get("Contents", []):
            if found["Key"].startswith(("pg-logical/", "redis/")):
                body = s3.get_object(Bucket=fleet.BACKUPS, Key=found["Key"])["Body"].read()
                away.put_object(Bucket=fleet.OFFSITE, Key=found["Key"], Body=body)


class Story:
    """One telling."""

    def __init__(self, binaries: Path) -> None:
        self.binaries = binaries
        self.clock = stack.Shift(os.environ[FILE])
        self.watch = stack.Watch()

    def holdfast(self, *arguments: str) -> int:
        """Runs the command as an operator would. Returns its exit code."""
        print(f"{DIM}$ holdfast --policy policies/{POLICY.name} {' '.join(arguments)}{PLAIN}", flush=True)
        return subprocess.run([self.binaries / "holdfast", "--policy", POLICY, *arguments]).returncode

    def tick(self, minutes: int, names: list[str]) -> dict[str, list[dict]]:
        """Lets time pass, and what is scheduled run. Redis goes on writing its hourly file."""
        self.clock.forward(minutes)
        hour = datetime.now(UTC)
        key = f"redis/dump-{hour:%Y%m%d%H}.rdb"
        client("s3").put_object(Bucket=fleet.BACKUPS, Key=key, Body=fleet.content(key, b"REDIS0011"))
        return self.watch.wait(names)

    def events(self, lines: list[dict]) -> None:
        """Delivers the event that RDS sends when a snapshot is there, for each that was taken."""
        for line in lines:
            if line.get("action", "").startswith("take "):
                rds_events.deliver(json.dumps(snapshot_created(line["action"].split()[1])))

    def tell(self) -> int:
        """Tells it all, with a real PostgreSQL to dump. Returns the exit code of the last status: 0 when all is well."""
        with postgres(extra=clock_env(os.environ[FILE])) as server:
            return self.tell_with(server)

    def tell_with(self, server: Postgres) -> int:
        """Tells it all."""
        began = time.monotonic()
        say("1. A fleet like Lomash Wood's, a hundred days old, and the stack of template.yaml")
        subprocess.run([sys.executable, "-m", "world.seed", "lomash"], cwd=DEV, check=True)
        make_databases(server)
        make_others_backups()
        made = stack.deploy(self.binaries, POLICY)
        print(f"   functions: {', '.join(sorted(made['functions'].values()))}")
        self.watch.skip()

        say("2. What the policy says of it: late snapshots, no copy offsite, drifted backup settings")
        self.holdfast("status")

        say("3. Fifteen minutes pass; EventBridge Scheduler runs the functions, each under its own role")
        lines = self.tick(16, ["snapshot", "offsite", "freshness", "replication"])
        for name in ["snapshot", "offsite", "replication"]:
            print(f" {BOLD}{name}{PLAIN}")
            show(lines[name])
        say("4. RDS says that the new snapshots are there; its events run offsite at once")
        taken = [line for line in lines["snapshot"] if line.get("action", "").startswith("take ")]
        self.events(lines["snapshot"])
        show(self.watch.wait(["offsite"], runs=len(taken))["offsite"])

        say("5. An operator does what status said of the drifted settings")
        wrong = fleet.instance(fleet.DRIFTED)
        print(f"{DIM}$ aws rds modify-db-instance --apply-immediately --db-instance-identifier {wrong} "
              f"--backup-retention-period 35 --preferred-backup-window 02:00-03:00{PLAIN}")
        client("rds").modify_db_instance(
            DBInstanceIdentifier=wrong, BackupRetentionPeriod=35, PreferredBackupWindow="02:00-03:00",
            ApplyImmediately=True)

        say("6. An hour passes; the copies catch up, and retention lets go of what the policy lets go")
        for service in fleet.SERVICES:  # RDS's own daily snapshots (`world/rds.py`): their age says that the clock is right
            instance = fleet.instance(service)
            client("rds").create_db_snapshot(
                DBInstanceIdentifier=instance, DBSnapshotIdentifier=f"rds-{instance}-{datetime.now(UTC):%Y-%m-%d}")
        for _ in range(4):
            lines = self.tick(16, ["snapshot", "offsite", "freshness", "replication"])
            for end in stack.ends(lines["offsite"]):
                if "nothing to do" not in end["message"]:
                    print(f"   {end['message'][:200]}")
        show(self.watch.wait(["retention"])["retention"])
        show(self.tick(61, ["freshness", "retention"])["retention"])

        say("7. Before a deployment: the gate of a pipeline")
        self.holdfast("gate", "--asset", "lomash-orders-prod", "--timeout", "1m")

        say("8. A dump of a real PostgreSQL, as a CronJob takes it each Sunday, and the proof that it can be restored")
        self.holdfast("dump", "dumps/lomash_orders", "--reason", "weekly")
        self.holdfast("verify", "dumps/lomash_orders", "--full")

        say("9. The alarms that the functions keep")
        self.holdfast("alarms")

        say("10. A drill: the dump is restored, checked, and the evidence is kept")
        self.holdfast("drill", "run", "dump-restore", "--asset", "lomash_orders")
        self.holdfast("drill", "show", "dump-restore")

        say("11. And now")
        code = self.holdfast("status")
        print("\nWhat the policy names and no function runs yet (other kinds of drills, the cluster's state) is listed as that.")
        print(f"\n{BOLD}{'All is well' if code == 0 else 'Not all is well'}{PLAIN} after {time.monotonic() - began:.0f} s.")
        return code


def main() -> int:
    """Reads the command line and tells the story."""
    parser = argparse.ArgumentParser(
        prog="world.py story", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binaries", type=Path, required=True, help="where the functions and holdfast are")
    return Story(parser.parse_args().binaries.absolute()).tell()


if __name__ == "__main__":
    sys.exit(main())

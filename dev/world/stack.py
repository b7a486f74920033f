"""The project's stack in the running world: deployed for Lomash Wood, driven by its clock, read by its logs."""

import json
import subprocess
import sys
import time
from pathlib import Path

from world import fleet
from world.aws import client
from world.clock import set_clock
from world.paths import DEV

STACK = "holdfast"
FUNCTIONS = ["snapshot", "offsite", "freshness", "replication", "secrets", "retention", "notify", "report"]
DUMP = "dump"  # made only with `dump_parameters`
ACCOUNT = "123456789012"  # as world.serve has it
PATIENCE = 60


def arns(*buckets: str) -> str:
    """Buckets as the template's parameters name them."""
    return ",".join(f"arn:aws:s3:::{bucket}" for bucket in buckets)


def parameters() -> dict[str, str]:
    """The template's parameters for Lomash Wood."""
    return {
        "Company": fleet.POLICY, "PolicyBucket": fleet.POLICIES, "PolicyKey": "policy.yaml", "Architecture": "x86_64",
        "SourceBuckets": arns(fleet.MEDIA, fleet.BACKUPS), "SourceBucketNames": fleet.BACKUPS,
        "OffsiteBuckets": arns(fleet.REPLICA, fleet.OFFSITE),
        # Its dumps are taken by a host, and let go of here.
        "DumpBuckets": arns(fleet.BACKUPS),
    }


def told_parameters(*secrets: str, topics: list[str] | None = None, mail_from: list[str] | None = None) -> dict[str, str]:
    """What to add to them for the channels of notify: secrets, topics and identities of SES, as ARNs."""
    return {"NotifySecretArns": ",".join(secrets), "NotifyTopicArns": ",".join(topics or []),
            "NotifyEmailIdentityArns": ",".join(mail_from or [])}


def written_parameters(page: str = "", page_prefix: str = "", audit: str = "", audit_prefix: str = "") -> dict[str, str]:
    """What to add to them for the status page and the audit records: buckets, and what keys begin with."""
    return {"StatusPageBucket": page, "StatusPagePrefix": page_prefix, "AuditBucket": audit, "AuditPrefix": audit_prefix}


def dump_parameters(*buckets: str, secrets: list[str] | None = None) -> dict[str, str]:
    """What to add to them for the function dump: it may write to these buckets, and read these secrets (ARNs)."""
    # Nobody fetches it: world.deploy makes the function from the built binary.
    image = f"{ACCOUNT}.dkr.ecr.{fleet.HOME}.amazonaws.com/holdfast:local"
    return {"DumpImage": image, "DumpBuckets": arns(*buckets), "DumpSecretArns": ",".join(secrets or [])}


def deploy(binaries: Path, policy: Path) -> dict:
    """Deploys template.yaml with the built functions and a policy. Returns outputs and functions."""
    command = [sys.executable, "-m", "world.deploy", "--bootstraps", str(binaries), "--stack", STACK,
               "--policy", str(policy), "--policy-key", "policy.yaml"]
    for name, value in parameters().items():
        command += ["--param", f"{name}={value}"]
    done = subprocess.run(command, cwd=DEV, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def logged(function: str) -> list[dict]:
    """Everything that a function has logged, as its JSON lines."""
    pages = client("logs").get_paginator("filter_log_events")
    lines = []
    for page in pages.paginate(logGroupName=f"/aws/lambda/{STACK}-{function}"):
        for event in page["events"]:
            for line in event["message"].splitlines():
                if line.startswith("{"):
                    lines.append(json.loads(line))
    return lines


def ends(lines: list[dict]) -> list[dict]:
    """The last line of each run: its summary, and whether it failed."""
    return [line for line in lines if "failed" in line]


class Watch:
    """What the functions have logged since it was last asked."""

    def __init__(self) -> None:
        self.seen = dict.fromkeys(FUNCTIONS, 0)

    def skip(self) -> None:
        """Forgets what was logged until now."""
        for name in FUNCTIONS:
            self.seen[name] = len(logged(name))

    def wait(self, names: list[str], runs: int = 1) -> dict[str, list[dict]]:
        """Waits until each of `names` has come to the end of `runs` more runs, and returns their lines."""
        fresh = {}
        deadline = time.monotonic() + PATIENCE
        for name in names:
            while True:
                lines = logged(name)[self.seen[name]:]
                if len(ends(lines)) >= runs:
                    break
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{name} has not run within {PATIENCE} s")
                time.sleep(0.1)
            self.seen[name] += len(lines)
            fresh[name] = lines
        return fresh


class Shift:
    """The world's clock, moved forward only: schedules stay silent after a move back."""

    def __init__(self, clock_file: str) -> None:
        self.clock_file = clock_file
        self.seconds = 0.0

    def forward(self, minutes: float) -> None:
        """Moves the clock forward."""
        self.seconds += minutes * 60
        set_clock(self.clock_file, self.seconds)

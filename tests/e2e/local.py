"""A world of its own for a test: the local AWS, seeded, with the stack deployed, asked through boto3 and the command."""

import json
import os
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.config import Config

ROOT = Path(__file__).resolve().parents[2]
DEV = ROOT / "dev"
sys.path.insert(0, str(DEV))

from world import fleet, lomash as shipped, stack  # noqa: E402
from world.clock import clock_env, set_clock  # noqa: E402

BINARIES = Path(os.environ.get("HOLDFAST_BINARIES") or ROOT / "target" / "debug").absolute()
LOMASH = shipped.written()
POLICIES = Path(__file__).resolve().parent / "policies"
FUNCTIONS = stack.FUNCTIONS
INSTANCES = [fleet.instance(service) for service in fleet.SERVICES]
QUICK = Config(retries={"max_attempts": 2, "mode": "standard"}, connect_timeout=5, read_timeout=120,
               s3={"addressing_style": "path"})
PATIENCE = 60


def until(what: str, look: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """Looks until there is an answer, and says what was waited for when none comes."""
    deadline = time.monotonic() + patience
    while True:
        answer = look()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"waited {patience:.0f} s in vain for: {what}"
        time.sleep(0.1)


def lomash(change: Callable[[dict], Any] | None = None) -> dict:
    """The policy of Lomash Wood as data, with one change."""
    policy = shipped.fitted()
    if change:
        change(policy)
    return policy


def slot_due(now: datetime, hour: int = 2) -> str:
    """The newest daily slot at `hour` up to `now`, as it stands in names."""
    due = now.replace(hour=hour, minute=0, second=0, microsecond=0)
    return f"{due if due <= now else due - timedelta(days=1):%Y%m%d%H%M}"


@dataclass(frozen=True)
class Answer:
    """What an invoked function answered."""

    error: str | None
    payload: dict

    @property
    def said(self) -> str:
        """The message of its error."""
        assert self.error, f"it did not fail: {self.payload}"
        return self.payload["errorMessage"]


@dataclass(frozen=True)
class Ran:
    """What the command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its answer, of `--json`."""
        try:
            return json.loads(self.out)
        except ValueError as error:
            raise AssertionError(f"no JSON ({error}): exit {self.code}\n{self.out}\n{self.err}") from error


@dataclass
class World:
    """A running world."""

    env: dict[str, str]
    clock_file: str
    shift: float = 0.0
    slot: datetime | None = None  # of the newest dumps that were seeded
    deployed: dict = field(default_factory=dict)
    clients: dict = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    # -- time ------------------------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The world's time."""
        return datetime.now(UTC) + timedelta(seconds=self.shift)

    def next_minute(self) -> None:
        """Moves the clock to a minute in which nothing was named yet."""
        self.forward(seconds=61)

    def next_slot(self, hour: int = 2) -> str:
        """Moves the clock to some minutes after the next daily slot at `hour`, and returns the slot."""
        now = self.now()
        due = now.replace(hour=hour, minute=0, second=0, microsecond=0)
        due += timedelta(days=1) if due <= now else timedelta()
        self.forward(seconds=(due - now).total_seconds() + 180)
        return f"{due:%Y%m%d%H%M}"

    def forward(self, **span: float) -> None:
        """Moves the world's clock forward."""
        self.shift += timedelta(**span).total_seconds()
        set_clock(self.clock_file, self.shift)

    # -- what is there -----------------------------------------------------------------------------------------------------

    def client(self, service: str, region: str | None = None) -> Any:
        """A boto3 client of this world."""
        region = region or fleet.HOME
        with self.lock:
            if (service, region) not in self.clients:
                endpoint = self.env.get(f"AWS_ENDPOINT_URL_{service.upper()}", self.env["AWS_ENDPOINT_URL"])
                self.clients[service, region] = boto3.client(
                    service, region_name=region, endpoint_url=endpoint, config=QUICK,
                    aws_access_key_id=self.env["AWS_ACCESS_KEY_ID"],
                    aws_secret_access_key=self.env["AWS_SECRET_ACCESS_KEY"])
            return self.clients[service, region]

    def snapshots(self, database: str | None = None, region: str | None = None) -> dict[str, dict]:
        """Manual snapshots by name, each with its tags as a dictionary under `tags`."""
        only = {"DBInstanceIdentifier": database} if database else {}
        found = self.client("rds", region).describe_db_snapshots(SnapshotType="manual", **only)["DBSnapshots"]
        return {
            each["DBSnapshotIdentifier"]: each | {"tags": {tag["Key"]: tag["Value"] for tag in each["TagList"]}}
            for each in found
        }

    def everything(self) -> set[tuple[str, str]]:
        """The names of all snapshots, at home and away, and of all objects offsite."""
        found = {(region, name) for region in (fleet.HOME, fleet.OFFSITE_REGION) for name in self.snapshots(region=region)}
        return found | {(fleet.OFFSITE, key) for key in self.objects(fleet.OFFSITE)}

    def objects(self, bucket: str, prefix: str = "") -> dict[str, dict]:
        """Objects of a bucket by key."""
        pages = self.client("s3", fleet.BUCKETS.get(bucket)).get_paginator("list_objects_v2")
        return {
            each["Key"]: each for page in pages.paginate(Bucket=bucket, Prefix=prefix) for each in page.get("Contents", [])
        }

    def body(self, bucket: str, key: str) -> bytes:
        """An object's bytes."""
        return self.client("s3", fleet.BUCKETS.get(bucket)).get_object(Bucket=bucket, Key=key)["Body"].read()

    def tags(self, instance: str) -> dict[str, str]:
        """A database's own tags."""
        found = self.client("rds").describe_db_instances(DBInstanceIdentifier=instance)["DBInstances"][0]
        return {tag["Key"]: tag["Value"] for tag in found["TagList"]}

    def take(self, instance: str, name: str, tags: dict[str, str]) -> str:
        """Takes a snapshot by hand, and returns its ARN."""
        made = self.client("rds").create_db_snapshot(
            DBInstanceIdentifier=instance, DBSnapshotIdentifier=name,
            Tags=[{"Key": key, "Value": value} for key, value in tags.items()])
        return made["DBSnapshot"]["DBSnapshotArn"]

    def back_up(self, *instances: str) -> None:
        """RDS takes its own snapshots of today (`world/rds.py`); without them a clock that is ahead can't be told from right."""
        for instance in instances:
            self.take(instance, f"rds-{instance}-{self.now():%Y-%m-%d-%H-%M}", {})

    # -- the stack ---------------------------------------------------------------------------------------------------------

    def seed(self) -> None:
        """Makes Lomash Wood's fleet."""
        self.dev("seed", "lomash")

    def deploy(self, functions: Path, policy: Path | dict = LOMASH, **parameters: str) -> None:
        """Deploys template.yaml with the built functions."""
        if isinstance(policy, dict):
            path = Path(self.clock_file).parent / "policy.yaml"
            path.write_text(yaml.safe_dump(policy))
            policy = path
        arguments = ["--bootstraps", str(functions), "--stack", stack.STACK, "--policy", str(policy),
                     "--policy-key", "policy.yaml"]
        for name, value in (stack.parameters() | parameters).items():
            arguments += ["--param", f"{name}={value}"]
        self.deployed = json.loads(self.dev("deploy", *arguments))

    def put_policy(self, policy: dict | str) -> None:
        """Replaces the policy that the functions read."""
        text = policy if isinstance(policy, str) else yaml.safe_dump(policy)
        self.client("s3").put_object(Bucket=fleet.POLICIES, Key="policy.yaml", Body=text.encode())

    def dev(self, command: str, *arguments: str) -> str:
        """Runs a command of dev/world.py in this world."""
        done = subprocess.run(
            [sys.executable, str(DEV / "world.py"), command, *arguments], env={**os.environ, **self.env},
            capture_output=True, text=True)
        assert done.returncode == 0, f"world.py {command} failed:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def invoke(self, function: str, event: Any = None) -> Answer:
        """Invokes a function as a pipeline does, and waits for its answer."""
        self.forward(seconds=1)  # metrics have whole seconds, so each run has one of its own
        event = {"reason": "schedule"} if event is None else event
        name, aws = f"{stack.STACK}-{function}", self.client("lambda")

        def free() -> dict | None:
            # A schedule may have started it at the same moment, and it runs once at a time.
            try:
                return aws.invoke(FunctionName=name, InvocationType="RequestResponse", Payload=json.dumps(event).encode())
            except aws.exceptions.TooManyRequestsException:
                return None

        done = until(f"{function} is free", free)
        return Answer(done.get("FunctionError"), json.loads(done["Payload"].read()))

    def start(self, function: str, event: Any) -> None:
        """Invokes a function as a rule does, without waiting."""
        self.client("lambda").invoke(
            FunctionName=f"{stack.STACK}-{function}", InvocationType="Event", Payload=json.dumps(event).encode())

    def logged(self, function: str) -> list[dict]:
        """All that a function has logged, line by line."""
        pages = self.client("logs").get_paginator("filter_log_events")
        texts = [
            line for page in pages.paginate(logGroupName=f"/aws/lambda/{stack.STACK}-{function}")
            for event in page["events"] for line in event["message"].splitlines()
        ]
        return [json.loads(line) for line in texts if line.startswith("{")]

    def runs(self, function: str) -> int:
        """How many runs of a function have come to their end."""
        return len(stack.ends(self.logged(function)))

    def await_runs(self, function: str, count: int) -> None:
        """Waits until so many runs of a function have come to their end."""
        # At a quarter of an hour six functions begin at once, some for the first time.
        until(f"{count} runs of {function}", lambda: self.runs(function) >= count, 3 * PATIENCE)

    def judged(self, function: str) -> tuple[Answer, list[dict]]:
        """Runs a function, and returns its answer with the findings that the newest run logged."""
        def ended() -> list[str]:
            return [end["span"]["run"] for end in stack.ends(self.logged(function))]

        before = ended()
        answer = self.invoke(function)
        run = until(f"the log of {function}", lambda: [each for each in ended() if each not in before])[-1]
        lines = [line for line in self.logged(function) if line.get("span", {}).get("run") == run]
        return answer, [line for line in lines if "code" in line and "asset" in line]

    def listener(self) -> str:
        """A queue that hears what the topic of failures is told; returns its URL."""
        sqs, topic = self.client("sqs"), self.deployed["outputs"]["FailuresTopic"]
        queue = sqs.create_queue(QueueName="on-call")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        allow = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
                 "Resource": arn, "Condition": {"ArnEquals": {"aws:SourceArn": topic}}}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
        self.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        return queue

    def heard(self, queue: str, subject: str) -> str:
        """The next message at that queue with a subject; alarms speak there too."""
        receive = self.client("sqs").receive_message

        def message() -> str | None:
            told = [json.loads(each["Body"]) for each in receive(QueueUrl=queue).get("Messages", [])]
            return next((each["Message"] for each in told if each.get("Subject") == subject), None)

        return until(f"the message \"{subject}\"", message)

    def settle(self, invoke: Callable[[], dict]) -> None:
        """Repeats a run until it has nothing left to do; moto's copies are complete at once."""
        until("a run with nothing left to do", lambda: not invoke()["outcomes"])

    def copies(self, instance: str | None = None, region: str = fleet.OFFSITE_REGION) -> dict[str, dict]:
        """Copies elsewhere, by the ARN of what they are copies of."""
        found = self.snapshots(instance, region)
        sources = [each["tags"].get("holdfast:copy-of") for each in found.values()]
        assert len(set(sources)) == len(sources), f"something was copied twice: {sorted(map(str, sources))}"
        return dict(zip(sources, found.values(), strict=True))

    def metric(self, name: str, **dimensions: str) -> list[float]:
        """The values of a metric of Holdfast's over the last hour, oldest first."""
        wanted = [{"Name": key, "Value": value} for key, value in ({"Policy": fleet.POLICY} | dimensions).items()]
        query = {"Id": "q", "MetricStat": {
            "Metric": {"Namespace": "Holdfast", "MetricName": name, "Dimensions": wanted}, "Period": 1, "Stat": "Maximum"}}
        now = self.now()
        answer = self.client("cloudwatch").get_metric_data(
            MetricDataQueries=[query], StartTime=now - timedelta(hours=1), EndTime=now + timedelta(minutes=5),
            ScanBy="TimestampAscending")
        return answer["MetricDataResults"][0]["Values"]

    # -- the command ---------------------------------------------------------------------------------------------------------

    def command(self, *arguments: str, policy: Path | str | dict = LOMASH, **more: str) -> tuple[list, dict]:
        """The command line and environment of `holdfast` in this world; only what the world and `more` say."""
        if isinstance(policy, dict):
            text = yaml.safe_dump(policy)
            policy = Path(self.clock_file).parent / f"policy-{zlib.crc32(text.encode()):08x}.yaml"
            policy.write_text(text)
        env = {"PATH": os.defpath, "HOME": str(Path(self.clock_file).parent), "AWS_CONFIG_FILE": os.devnull,
               "AWS_SHARED_CREDENTIALS_FILE": os.devnull, **self.env, **clock_env(self.clock_file), **more}
        line = [str(BINARIES / "holdfast"), "--policy", str(policy), *arguments]
        return line, {name: value for name, value in env.items() if value}

    def holdfast(self, *arguments: str, policy: Path | str | dict = LOMASH, **more: str) -> Ran:
        """Runs `holdfast` as an operator does. A variable that is empty is left out."""
        if Path(self.clock_file).exists():
            self.forward(seconds=1)
        line, env = self.command(*arguments, policy=policy, **more)
        done = subprocess.run(
            line, env=env, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
        return Ran(done.returncode, done.stdout, done.stderr)


@contextmanager
def running():
    """A world that lives as long as the block."""
    serve = subprocess.Popen(
        [sys.executable, str(DEV / "world.py"), "serve", "--json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        line = serve.stdout.readline()
        assert line, f"the world did not come up: world.py ended with {serve.wait()}"
        told = json.loads(line)
        yield World(told["env"], told["clock_file"])
    finally:
        serve.stdin.close()
        serve.stdout.close()
        serve.wait()

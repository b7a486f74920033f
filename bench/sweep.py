#!/usr/bin/env python3
"""A sweep in which nothing is due: what looking at a whole fleet costs.

    cargo build --release --workspace --bins
    python3 bench/sweep.py [function ...]

Runs the release binaries against a stand-in for RDS, CloudWatch and SNS on 127.0.0.1 that answers with prebuilt pages of
100 (fleet.py), for 8, 100 and 1,000 databases of 16 snapshots each. The first invocation warms up; of the next 5, the
median is printed: calls, CPU (user + system of the process, from the event to the answer), wall time, and the process's
peak memory so far. `away` rows have a second region with 7 copies of each database. Answers come over HTTP; TLS would
add some milliseconds of CPU for each handshake and a little for each megabyte. Where boto3 can be imported, a plain
Python loop over the same pages is measured beside it: reading alone, without judging anything.

Exits with 1 when a target of the 1,000-database snapshot sweep is missed, or anything but looking was done.
"""

import importlib.util
import resource
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from statistics import median

from fleet import Aws, policy
from host import REGION, Host, binary, lambda_env, machine

RUNS = 5
MOST_CALLS, MOST_CPU, MOST_MB = 200, 1.0, 40
EVENT = {"reason": "schedule"}
LOOKING = ("Describe", "PutMetricData", "PutMetricAlarm")

PYTHON = """
import boto3
rds = boto3.client("rds")
for what in ("db_instances", "db_clusters", "db_snapshots", "db_cluster_snapshots"):
    for page in rds.get_paginator(f"describe_{what}").paginate():
        pass
"""


def boto3_cpu(env: dict[str, str]) -> float:
    """CPU seconds of the loop, less those of starting Python and making the client."""
    used = []
    for code in (PYTHON.split("for what")[0], PYTHON):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], env=env, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return used[1] - used[0]


def sweep(function: str, databases: int, copies: bool) -> bool:
    """Measures one row; whether it met its target, if it has one."""
    now = datetime.now(UTC)
    aws = Aws(databases, now, copies)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(policy(databases, now, copies))
        file.flush()
        env = {"HOLDFAST_POLICY": file.name, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{aws.server.port}"}
        env["AWS_LAMBDA_LOG_LEVEL"] = "INFO"
        with Host([binary(function)], env) as host:
            start = host.first_poll()
            answers = []
            for _ in range(RUNS + 1):
                aws.take_calls()
                answers.append(host.invoke(EVENT))
                calls, sent = aws.take_calls()
        python = None
        if function == "snapshot" and databases == 1000 and importlib.util.find_spec("boto3"):
            python = boto3_cpu(lambda_env(0) | env)
    aws.server.close()
    odd = [c for c in calls if not c.startswith(LOOKING)]
    for one in answers:
        if not one.ok or one.body["findings"] or one.body["outcomes"] or odd:
            raise SystemExit(f"{function} did not just look: {odd} {str(one.body)[:2000]}")
    cpu, wall = median(a.cpu for a in answers[1:]), median(a.wall for a in answers[1:])
    number, peak = calls.total(), answers[-1].peak
    asked = function == "snapshot" and databases == 1000
    met = not asked or (number <= MOST_CALLS and cpu <= MOST_CPU and peak <= MOST_MB)
    print(
        f"{function + (' away' if copies else ''):<16}{databases:>9}{number:>7}{sent / 1e6:8.1f}{answers[0].cpu:11.3f}{cpu:9.3f}"
        f"{wall:9.2f}{start.peak:9.1f}{peak:9.1f}{'' if met else '  over the target'}",
        flush=True,
    )
    if asked:
        print("    " + ", ".join(f"{n} {c}" for c, n in sorted(calls.items())))
        print(f"    boto3 reads the same pages in {python:.1f} CPU s: {python / cpu:.0f} times" if python else "    boto3 is not installed here")
    return met


def main() -> int:
    print(f"machine: {machine()}\nwarm invocations: {RUNS} each, medians; region {REGION}")
    print(f"target at 1,000 databases (snapshot): {MOST_CALLS} calls, {MOST_CPU} CPU s, {MOST_MB} MB\n")
    print("function        databases  calls  MB in  first CPU s  CPU s   wall s  idle MB  peak MB")
    rows = [(f, n, False) for f in ("snapshot", "retention", "freshness") for n in (8, 100, 1000)]
    rows += [(f, 1000, True) for f in ("retention", "freshness", "offsite")]
    only = sys.argv[1:]
    met = [sweep(f, n, away) for f, n, away in rows if not only or f in only]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Starts the local AWS on free loopback ports, says so in one line, and serves until told to stop."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from world import processes
from world.clock import FILE, clock_env, set_clock
from world.paths import DEV, Missing, program
from world.ports import free_ports
from world.warden import clean

REGION = "eu-west-1"
ACCOUNT = "123456789012"
PATIENCE = 60


class NotUp(Exception):
    """A server did not come up."""


@dataclass
class Server:
    """One stand-in: how it is started and how it says that it is ready."""

    name: str
    command: list[str]
    env: dict[str, str]
    health: str


def client_env(endpoint: str, rds_endpoint: str, clock_file: Path) -> dict[str, str]:
    """What a client needs: the AWS CLI, an SDK, `holdfast`, and the other commands of `world.py`.

    A twelve-digit access key is ministack's way to say: root of that account.
    """
    return {
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ENDPOINT_URL_RDS": rds_endpoint,
        # moto's RDS looks for the keys of snapshots in moto's own KMS.
        "AWS_ENDPOINT_URL_KMS": rds_endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        FILE: str(clock_file),
    }


def stand_ins(client: dict[str, str], work: Path) -> list[Server]:
    """ministack for all but RDS and KMS, moto for these two, both on the world's clock.

    ministack hands its own environment on to the Lambda processes that it starts, replacing the credentials
    by those of the function's role; so the clock and both endpoints reach them from here.
    """
    endpoint, rds_endpoint = client["AWS_ENDPOINT_URL"], client["AWS_ENDPOINT_URL_RDS"]
    port, rds_port = (url.rsplit(":", 1)[1] for url in (endpoint, rds_endpoint))
    base = {
        "PATH": os.defpath, "HOME": str(work), "TMPDIR": str(work / "tmp"), "LANG": "C.UTF-8",
        **client, **clock_env(client[FILE]),
    }
    ministack = {
        "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": port, "MINISTACK_REGION": REGION, "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "LAMBDA_EXECUTOR": "local", "AUTH": "true", "SFTP_ENABLED": "0", "IOT_MTLS_ENABLED": "0", "PYTHONPATH": str(DEV),
    }
    moto = {"MOTO_ACCOUNT_ID": ACCOUNT, "PYTHONPATH": str(DEV)}
    return [
        Server("ministack", [program("ministack", "python"), "-m", "world.ministack"], base | ministack, f"{endpoint}/_ministack/ready"),
        Server("moto", [program("moto", "python"), "-m", "world.rds", "-H", "127.0.0.1", "-p", rds_port], base | moto,
               f"{rds_endpoint}/moto-api/"),
    ]


def is_ready(url: str) -> bool:
    """Whether the server answers its health endpoint with success."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=2):
            return True
    except OSError:
        return False


def start_all(servers: list[Server], work: Path) -> None:
    """Starts all servers together and waits until every one is ready."""
    logs = {server.name: work / f"{server.name}.log" for server in servers}
    running = {s.name: processes.start(s.command, s.env, work, logs[s.name]) for s in servers}
    deadline = time.monotonic() + PATIENCE
    for server in servers:
        while not is_ready(server.health):
            ended = running[server.name].poll() is not None
            if ended or time.monotonic() > deadline:
                what = "ended at once" if ended else f"was not ready within {PATIENCE} s"
                tail = logs[server.name].read_text(errors="replace").strip().splitlines()[-5:]
                raise NotUp(f"{server.name} {what}: {' | '.join(tail) or 'its log is empty'}")
            time.sleep(0.05)


def wait_for_the_end() -> None:
    """Returns when stdin reaches its end, or on SIGTERM or SIGINT."""
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable)
    while True:
        ready, _, _ = select.select([sys.stdin.fileno(), readable], [], [])
        if readable in ready or not os.read(sys.stdin.fileno(), 65536):
            return


def serve(as_json: bool) -> int:
    """The whole life of a world. Returns the exit code."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    work = Path(tempfile.mkdtemp(prefix="holdfast-world-"))
    (work / "tmp").mkdir()
    warden = subprocess.Popen(
        [sys.executable, "-m", "world.warden", str(work)], cwd=DEV, stdin=subprocess.PIPE, start_new_session=True)
    try:
        clock_file = work / "clock"
        set_clock(clock_file, 0)
        endpoint, rds_endpoint = (f"http://127.0.0.1:{port}" for port in free_ports(2))
        client = client_env(endpoint, rds_endpoint, clock_file)
        start_all(stand_ins(client, work), work)
        world = {
            "endpoint": endpoint, "rds_endpoint": rds_endpoint, "region": REGION, "account": ACCOUNT, "env": client,
            "clock_env": clock_env(clock_file), "clock_file": str(clock_file), "work": str(work),
        }
        exports = "".join(f"export {name}={value}\n" for name, value in client.items())
        print(json.dumps(world) if as_json else exports, end="\n" if as_json else "", flush=True)
        wait_for_the_end()
        return 0
    except (NotUp, Missing) as error:
        print(f"world: {error}", file=sys.stderr)
        return 1
    finally:
        if warden.stdin:
            warden.stdin.close()
        if warden.wait() != 0:
            clean(work)

"""What Lambda is to a function: a Runtime API that hands out events, and a stop-watch on the process.

CPU is the process's CPU clock (user and system, all its threads, read from outside with clock_gettime), at the moment
that its request arrives here. Peak memory is VmHWM of /proc/<pid>/status. It counts the clean pages of the program's own
file that the kernel has mapped, also those mapped only because a neighbour was needed; `own` is RssAnon, without them.
"""

import json
import os
import platform
import queue
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from wire import Request, Server, answer

ROOT = Path(__file__).resolve().parent.parent
RELEASE = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
FUNCTIONS = [f.name for f in sorted((ROOT / "functions").iterdir()) if (f / "src" / "main.rs").exists()]
REGION, ACCOUNT = "eu-west-1", "123456789012"
PATIENCE = 120
# The deadline that each event carries: Lambda's longest.
LIFETIME_MS = 900_000


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far. The clock's number is the kernel's MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED)."""
    return time.clock_gettime((~pid << 3) | 2)


def memory_mb(pid: int) -> tuple[float, float]:
    """Peak resident memory of a process, and its own part of what is resident now, in MB of a million bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kib = {k: int(v.split()[0]) for k, v in (x.split(":") for x in lines) if k in ("VmHWM", "RssAnon")}
    return kib["VmHWM"] * 1024 / 1e6, kib["RssAnon"] * 1024 / 1e6


@dataclass
class Moment:
    """A process's use of the machine up to one moment."""

    wall: float
    cpu: float
    peak: float
    own: float


@dataclass
class Answer:
    """A function's answer to one event, and what it cost from the event to the answer."""

    ok: bool
    body: dict
    wall: float
    cpu: float
    peak: float


class Host:
    """Runs one function's process. Use as a context; the process ends with it."""

    def __init__(self, command: list[str], env: dict[str, str]):
        self.seen: queue.Queue[tuple[Request, Moment]] = queue.Queue()
        self.started = threading.Event()
        self.server = Server(self._arrived)
        self.began = time.perf_counter()
        self.command = command
        self.process = subprocess.Popen(
            command, env=lambda_env(self.server.port) | env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.log = b""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.started.set()

    def _read(self):
        for line in self.process.stdout:
            self.log = (self.log + line)[-4000:]

    def _arrived(self, request: Request):
        at = time.perf_counter()
        self.started.wait()
        pid = self.process.pid
        self.seen.put((request, Moment(at - self.began, cpu_seconds(pid), *memory_mb(pid))))

    def _next(self) -> tuple[Request, Moment]:
        for _ in range(PATIENCE * 10):
            try:
                return self.seen.get(timeout=0.1)
            except queue.Empty:
                if self.process.poll() is not None:
                    break
        raise SystemExit(f"{self.command[0]} did not ask or answer; its log ends:\n{self.log.decode()}")

    def first_poll(self) -> Moment:
        """Waits until the process asks for its first event."""
        self.poll, moment = self._next()
        assert self.poll.path.endswith("/invocation/next"), self.poll.path
        return moment

    def invoke(self, event: dict) -> Answer:
        """Hands out an event and waits for its answer and for the next poll."""
        before = Moment(time.perf_counter(), cpu_seconds(self.process.pid), 0, 0)
        self.poll.reply(
            answer(
                json.dumps(event).encode(),
                content_type="application/json",
                lambda_runtime_aws_request_id=f"00000000-0000-4000-8000-{time.time_ns() % 10**12:012}",
                lambda_runtime_deadline_ms=str(int(time.time() * 1000) + LIFETIME_MS),
                lambda_runtime_invoked_function_arn=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:bench",
            )
        )
        request, after = self._next()
        request.reply(answer(b"{}", "202 Accepted", content_type="application/json"))
        self.poll, _ = self._next()
        ok = request.path.endswith("/response")
        wall = self.began + after.wall - before.wall
        return Answer(ok, json.loads(request.body), wall, after.cpu - before.cpu, after.peak)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.server.close()


def lambda_env(port: int) -> dict[str, str]:
    """What Lambda gives every function, with credentials that are worth nothing."""
    return {
        "PATH": os.environ["PATH"],
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
        "AWS_LAMBDA_FUNCTION_NAME": "bench",
        "AWS_LAMBDA_FUNCTION_VERSION": "1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/bench",
        "AWS_LAMBDA_LOG_STREAM_NAME": "bench",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AWS_SESSION_TOKEN": "x" * 800,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def binary(function: str) -> str:
    """The release build of a function."""
    path = RELEASE / function
    if not path.exists():
        raise SystemExit(f"there is no {path}; run cargo build --release --workspace --bins")
    return str(path)


def machine() -> str:
    """The machine in one line, to stand beside the figures."""
    cpu = next((x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name")), ":?")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores ({cpu.split(':')[1].strip()}), {memory:.0f} GiB, {platform.system()} "
        f"{platform.release().split('-')[0]}, {' '.join(platform.libc_ver())}; load {load:.1f} at the start"
    )

"""Redis, Valkey and Sentinel on free loopback ports, from packages that are unpacked and not installed: Debian's starts a server.

    with redis() as server:
        server.run("SET", "a", "1")
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from world.paths import CACHE, Missing
from world.ports import free_ports

HOME = CACHE / "redis"
PROGRAMS = HOME / "bin"
PATIENCE = 30


def find_program(name: str) -> str:
    """The path of one of our programs, or of the machine's own."""
    path = shutil.which(name, path=f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}")
    if not path:
        raise Missing(f"{name} is missing: run `python3 dev/install.py peers` first")
    return path


def search_path() -> str:
    """PATH with our programs first."""
    return f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"


@dataclass
class Redis:
    """A running server."""

    program: str
    folder: Path
    port: int
    password: str = ""
    options: list[str] = field(default_factory=list)
    process: subprocess.Popen | None = None

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it, and waits until it has loaded its data."""
        command = [str(self.program), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "",
                   "--repl-diskless-sync-delay", "0", "--logfile", str(self.folder / "log"), *self.options]
        if self.password:
            command += ["--requirepass", self.password, "--masterauth", self.password]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.until("PING", "PONG")

    def until(self, command: str, answer: str) -> None:
        """Waits until a command's answer holds this."""
        deadline = time.monotonic() + PATIENCE
        while answer not in self.try_run(*command.split()):
            if time.monotonic() > deadline:
                raise AssertionError(f"{command}: {self.try_run(*command.split())}\n{self.log()}")
            time.sleep(0.05)

    def log(self) -> str:
        """The end of its log."""
        log = self.folder / "log"
        return log.read_text()[-3000:] if log.exists() else ""

    def try_run(self, *words: str, text: str | None = None) -> str:
        """What redis-cli answers; nothing when it can't connect."""
        command = [find_program("redis-cli"), "-p", str(self.port), *words]
        env = {"PATH": os.defpath} | ({"REDISCLI_AUTH": self.password} if self.password else {})
        done = subprocess.run(command, input=text, capture_output=True, text=True, env=env, timeout=120)
        return done.stdout.strip() if done.returncode == 0 else ""

    def run(self, *words: str) -> str:
        """What a command answers."""
        answer = self.try_run(*words)
        assert not answer.startswith(("ERR", "NOAUTH", "WRONGPASS", "NOPERM")), answer
        return answer

    def load(self, commands: str) -> None:
        """Runs commands, one a line."""
        self.try_run(text=commands)

    def keys(self) -> dict[int, int]:
        """Keys by database, as the server counts them."""
        lines = [line for line in self.run("INFO", "keyspace").splitlines() if line.startswith("db")]
        return {int(line[2:line.index(":")]): int(line.split("keys=")[1].split(",")[0]) for line in lines}

    def kill(self, how: int = signal.SIGKILL) -> None:
        """Ends it at once."""
        if self.process:
            self.process.send_signal(how)
            self.process.wait(timeout=PATIENCE)


@contextmanager
def redis(*options: str, program: str = "redis-server", password: str = "", folder: Path | None = None) -> Iterator[Redis]:
    """A server with nothing in it, or with what lies in a folder."""
    work = folder or Path(tempfile.mkdtemp(prefix="holdfast-redis-"))
    server = Redis(find_program(program), work, free_ports(1)[0], password, list(options))
    try:
        server.start()
        yield server
    finally:
        server.kill()
        if folder is None:
            shutil.rmtree(work, ignore_errors=True)


@contextmanager
def sentinel(primary: Redis, quorum: int, name: str = "mymaster") -> Iterator[Redis]:
    """A Sentinel that watches a primary."""
    work = Path(tempfile.mkdtemp(prefix="holdfast-sentinel-"))
    port = free_ports(1)[0]
    config = work / "sentinel.conf"
    config.write_text(f"port {port}\nbind 127.0.0.1\ndir {work}\nlogfile {work}/log\n"
                      f"sentinel monitor {name} 127.0.0.1 {primary.port} {quorum}\n"
                      f"sentinel down-after-milliseconds {name} 1000\n")
    server = Redis(find_program("redis-server"), work, port)
    server.process = subprocess.Popen([server.program, config, "--sentinel"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        server.until("PING", "PONG")
        yield server
    finally:
        server.kill()
        shutil.rmtree(work, ignore_errors=True)

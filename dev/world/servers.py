"""One server for as long as it is wanted: started, waited for, ended by its id."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from world import processes

PATIENCE = 60


class NotUp(Exception):
    """A server did not come up."""


def listens(port: int) -> bool:
    """Whether somebody accepts connections at a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def end(process: subprocess.Popen, patience: float = 5) -> None:
    """Ends a process by its id: asked first, killed when it does not go."""
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def serving(name: str, command: list[str], env: dict[str, str], work: Path, port: int) -> Iterator[subprocess.Popen]:
    """A server that listens on a loopback port; its log is in `work`."""
    log = work / f"{name}.log"
    process = processes.start(command, env, work, log)
    try:
        deadline = time.monotonic() + PATIENCE
        while not listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                tail = log.read_text(errors="replace").strip().splitlines()[-5:]
                raise NotUp(f"{name} did not come up: {' | '.join(tail) or 'its log is empty'}")
            time.sleep(0.05)
        yield process
    finally:
        end(process)

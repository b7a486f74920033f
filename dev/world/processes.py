"""Starts processes that belong to a world, and ends every one of them.

Each carries HOLDFAST_WORLD=<the world's folder> in its environment, and so do the Lambda processes that
ministack starts in its turn. That mark, not a name, says what is ours to end.
"""

import ctypes
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

MARK = "HOLDFAST_WORLD"
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


def start(
    command: list[str], env: dict[str, str], work: Path, log: Path, mark: Path | None = None, **user: Any
) -> subprocess.Popen:
    """Starts a server in a session of its own, which the kernel ends if this process dies.

    It works in `work`, and is marked as belonging to it or to `mark`. `user` is what subprocess takes to start it as another.
    """
    parent = os.getpid()

    def die_with_parent() -> None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    with open(log, "wb") as output:
        return subprocess.Popen(
            command, env={**env, MARK: str(mark or work)}, cwd=work, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=die_with_parent, **user)


def members(work: Path) -> list[int]:
    """The ids of all living processes that carry this world's mark."""
    mark = f"{MARK}={work}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue  # it ended meanwhile, or is another user's
    return found


def sweep(work: Path) -> None:
    """Ends all processes of this world; they hold nothing worth a farewell."""
    while alive := members(work):
        for pid in alive:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)

"""The world's clock: one file that libfaketime reads at every call in every process of the world."""

import os
from datetime import datetime
from pathlib import Path

from world.paths import libfaketime


def set_clock(clock_file: str | Path, offset: float) -> None:
    """Sets the world's clock to real time plus `offset` seconds, for all its processes at once."""
    fresh = f"{clock_file}.{os.getpid()}"
    Path(fresh).write_text(f"{offset:+.3f}\n")
    os.replace(fresh, clock_file)


def clock_env(clock_file: str | Path) -> dict[str, str]:
    """The variables that put a process on the world's clock. Timers (CLOCK_MONOTONIC) and
    the times of files stay real."""
    return {
        "LD_PRELOAD": libfaketime(),
        "FAKETIME_TIMESTAMP_FILE": str(clock_file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


class Clock:
    """A clock file moved to points in time, as seen from a start that stays fixed.

    The process that moves the clock must itself be on it (AWS refuses requests signed at another time),
    so it cannot ask the system for the real time again: what passed since is counted by the real timer.
    """

    def __init__(self, clock_file: str, real_now: datetime):
        self.clock_file = clock_file
        self.start = real_now

    def go_to(self, moment: datetime) -> None:
        """Sets the clock to `moment`, give or take the seconds since the start."""
        set_clock(self.clock_file, (moment - self.start).total_seconds())

    def go_home(self) -> None:
        """Sets the clock back to the real time."""
        set_clock(self.clock_file, 0)

"""The world's clock: one file that every process of the world reads the shift of its time of day from."""

import os
import struct
from datetime import datetime
from pathlib import Path

from world.paths import clock_library

FILE = "HOLDFAST_CLOCK_FILE"


def set_clock(clock_file: str | Path, offset: float) -> None:
    """Sets the world's clock to real time plus `offset` seconds, for all its processes at once.

    The eight bytes are written in one piece and in place, for the processes have the file mapped.
    """
    file = os.open(clock_file, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.pwrite(file, struct.pack("=q", round(offset * 1e9)), 0)
    finally:
        os.close(file)


def clock_env(clock_file: str | Path) -> dict[str, str]:
    """The variables that put a process, and all that it starts, on the world's clock."""
    return {"LD_PRELOAD": clock_library(), FILE: str(clock_file)}


class Clock:
    """A clock file moved to points in time, as seen from a start that stays fixed.

    The process that moves the clock must itself be on it (AWS refuses requests signed at another time),
    so it cannot ask the system for the real time again.
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

"""Where things are: this folder, the cache of virtual environments, the clock."""

import os
from pathlib import Path

DEV = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("HOLDFAST_CACHE") or DEV.parent / ".cache").absolute()
CLOCK_SOURCE = DEV / "clock.c"
CLOCK_LIBRARY = CACHE / "clock.so"


class Missing(Exception):
    """Something that `install.py` provides is not there."""


def requirements(venv: str) -> Path:
    """The file that lists what the named virtual environment holds."""
    return DEV / f"requirements-{venv}.txt"


def program(venv: str, name: str) -> str:
    """The path of a program inside one of our virtual environments."""
    path = CACHE / venv / "bin" / name
    if not path.exists():
        raise Missing(f"{path} is missing: run `python3 {DEV / 'install.py'}` first")
    return str(path)


def clock_library() -> str:
    """The path of the built `clock.c`."""
    if not CLOCK_LIBRARY.exists():
        raise Missing(f"{CLOCK_LIBRARY} is missing: run `python3 {DEV / 'install.py'}` first")
    return str(CLOCK_LIBRARY)

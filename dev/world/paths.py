"""Where things are: this folder, the cache of virtual environments, libfaketime."""

import glob
import os
from pathlib import Path

DEV = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("HOLDFAST_CACHE") or DEV.parent / ".cache")


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


def find_libfaketime() -> str | None:
    """The path of libfaketime's multi-threaded build, if it is installed."""
    found = sorted(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1"))
    return found[0] if found else None


def libfaketime() -> str:
    """As `find_libfaketime`, but its absence is an error that says the mend."""
    library = find_libfaketime()
    if library is None:
        raise Missing(f"libfaketime is missing: run `python3 {DEV / 'install.py'}` first")
    return library

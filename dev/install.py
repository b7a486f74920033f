#!/usr/bin/env python3
"""Provides what the local world needs; a second run takes no time.

    install.py           the virtual environments of the world, and its clock
    install.py lint      the one with sam, cfn-lint and cargo-lambda

Virtual environments live in `.cache/` of the checkout, or in $HOLDFAST_CACHE.
"""

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from world.paths import CACHE, CLOCK_LIBRARY, CLOCK_SOURCE, requirements

WORLD = ["ministack", "moto"]
LINT = ["lint"]


def sha256(path: Path) -> str:
    """The hash of a requirements file, which is the stamp of its environment."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pip(home: Path, *arguments: str) -> None:
    """Runs pip of the environment in `home`."""
    command = [home / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*command, *arguments], check=True)


def ensure_venv(name: str) -> None:
    """Makes the named environment unless a whole one of the same requirements is there.

    The stamp is written last, so a half-made environment has none and is made anew.
    `requirements-NAME-nodeps.txt`, where there is one, is installed without dependencies.
    """
    home = CACHE / name
    files = [path for path in (requirements(name), requirements(f"{name}-nodeps")) if path.exists()]
    stamp = home / "stamp"
    wanted = "".join(f"{sha256(path)}\n" for path in files)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"install: making {home}", file=sys.stderr)
    venv.create(home, clear=True, with_pip=True)
    for path in files:
        no_deps = ["--no-deps"] if path.stem.endswith("-nodeps") else []
        pip(home, *no_deps, "-r", str(path))
    stamp.write_text(wanted)


def ensure_clock() -> None:
    """Builds the clock, with the C compiler that Rust links by, unless this very source is built."""
    stamp = CLOCK_LIBRARY.with_suffix(".stamp")
    wanted = sha256(CLOCK_SOURCE)
    if CLOCK_LIBRARY.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    compiler = os.environ.get("CC", "cc")
    if not shutil.which(compiler):
        sys.exit(f"install: there is no C compiler `{compiler}`: install one (Debian: apt-get install gcc libc6-dev)")
    fresh = CLOCK_LIBRARY.with_suffix(".new")
    warnings = ["-Wall", "-Wextra", "-Werror"]
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", *warnings, "-o", fresh, CLOCK_SOURCE], check=True)
    fresh.replace(CLOCK_LIBRARY)
    stamp.write_text(wanted)


def main() -> None:
    """Installs one group; a lock keeps two runs from making one environment together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["world", "lint"], default="world")
    what = parser.parse_args().what
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            for name in WORLD if what == "world" else LINT:
                ensure_venv(name)
            if what == "world":
                ensure_clock()
        except subprocess.CalledProcessError as error:
            sys.exit(f"install: `{' '.join(map(str, error.cmd))}` failed with code {error.returncode}")


if __name__ == "__main__":
    main()

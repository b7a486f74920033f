"""promtool, Prometheus's own checker: the machine's, or the one of Debian's package, unpacked and not installed, so that no server
is started anywhere.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from world.paths import CACHE, Missing

HOME = CACHE / "promtool"


def promtool() -> str:
    """The path of promtool."""
    found = shutil.which("promtool") or (str(HOME / "promtool") if (HOME / "promtool").exists() else None)
    if not found:
        raise Missing("promtool is missing: run `python3 dev/install.py peers` first")
    return found


def ensure_promtool() -> None:
    """Takes it out of Debian's package `prometheus`, unless it is there."""
    try:
        promtool()
        return
    except Missing:
        pass
    if not shutil.which("apt-get"):
        sys.exit("install: promtool is missing, and there is no apt-get here: put it into PATH")
    print(f"install: making {HOME}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        fetch = ["apt-get", "download", "--quiet", "prometheus"]
        if subprocess.run(fetch, cwd=folder, stdout=sys.stderr).returncode:
            # The lists may be old or none.
            subprocess.run(["apt-get", "update", "--quiet"], stdout=sys.stderr)
            subprocess.run(fetch, cwd=folder, stdout=sys.stderr, check=True)
        (package,) = Path(folder).glob("*.deb")
        subprocess.run(["dpkg-deb", "--extract", str(package), folder], check=True)
        HOME.mkdir(parents=True, exist_ok=True)
        fresh = HOME / "promtool.new"
        shutil.copy2(Path(folder) / "usr" / "bin" / "promtool", fresh)
        fresh.replace(HOME / "promtool")

"""What the status page costs to make: 1,000 assets with a year of daily points at two places, and 200.

    cargo build --release -p report --example fleet_page
    python3 bench/report.py

Prints time and size as the program tells them, and the peak of its memory, facts included. The aims: under 2 s and 200 MB for
1,000 assets, a page under 1 MB for 200.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = Path(os.environ.get("HOLDFAST_EXAMPLES") or ROOT / "target" / "release" / "examples") / "fleet_page"
AIMS = {200: ("html", 1_000_000), 1000: ("seconds", 2.0)}
MEMORY = 200 * 1000 * 1000
ROUNDS = 5


def measure(assets: int) -> dict:
    """One run: what it says, and its peak memory in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        program = subprocess.Popen([PROGRAM, folder, str(assets), "365"], stdout=subprocess.PIPE, text=True)
        said = program.stdout.read()
        _, status, usage = os.wait4(program.pid, 0)
        if status:
            sys.exit(f"{PROGRAM} ended with {status}")
    return json.loads(said) | {"memory": usage.ru_maxrss * 1024}


def main() -> None:
    if not PROGRAM.is_file():
        sys.exit(f"{PROGRAM} is not there: cargo build --release -p report --example fleet_page")
    print("assets   points   seconds   memory MB   page kB   data kB")
    missed = []
    for assets, (what, most) in AIMS.items():
        best = min((measure(assets) for _ in range(ROUNDS)), key=lambda run: run["seconds"])
        print(f"{assets:6}  {best['points']:7}   {best['seconds']:7.3f}   {best['memory'] / 1e6:9.1f}   "
              f"{best['html'] / 1e3:7.0f}   {best['json'] / 1e3:7.0f}")
        missed += [f"{what} of {assets} assets"] if best[what] >= most else []
        missed += [f"memory of {assets} assets"] if best["memory"] >= MEMORY else []
    if missed:
        sys.exit(f"over its aim: {', '.join(missed)}")


if __name__ == "__main__":
    main()

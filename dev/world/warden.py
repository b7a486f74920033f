"""Outlives `world.py serve` by a moment: when its stdin closes, that is when serve ended in whatever way,
it ends what the world started and removes its folder.  python3 -m world.warden FOLDER
"""

import os
import shutil
import sys
from pathlib import Path

from world.processes import sweep


def clean(work: Path) -> None:
    """Ends the world's processes; removes its folder unless HOLDFAST_KEEP=1."""
    sweep(work)
    if os.environ.get("HOLDFAST_KEEP") != "1":
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.stdin.read()
    clean(Path(sys.argv[1]))

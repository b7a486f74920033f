#!/usr/bin/env python3
"""Sizes of the release binaries, and of each as the zip that Lambda is given.

    cargo build --release --workspace --bins
    python3 bench/sizes.py
"""

import io
import zipfile
from pathlib import Path

from host import FUNCTIONS, binary


def main():
    print(f"{'binary':<14}{'MB':>7}{'zip MB':>9}")
    for name in [*FUNCTIONS, "holdfast"]:
        file = Path(binary(name)).read_bytes()
        zipped = io.BytesIO()
        with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("bootstrap", file)
        print(f"{name:<14}{len(file) / 1e6:7.2f}{len(zipped.getvalue()) / 1e6:9.2f}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Runs the main job for policies/lomash-wood.yaml in a world of its own and ends it again.

Needs what `install.py` provides and the built functions and `holdfast` in target/debug; `dev/demo` sees to both.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

DEV = Path(__file__).resolve().parent
WORLD = [sys.executable, str(DEV / "world.py")]


def main() -> int:
    """Starts a world, tells the story in it, and ends it. Returns the story's exit code."""
    serve = subprocess.Popen([*WORLD, "serve", "--json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert serve.stdin and serve.stdout  # they are pipes
    try:
        line = serve.stdout.readline()
        if not line:
            return serve.wait() or 1
        env = {**os.environ, **json.loads(line)["env"]}
        return subprocess.run([*WORLD, "story", "--binaries", str(DEV.parent / "target" / "debug")], env=env).returncode
    except KeyboardInterrupt:
        return 130
    finally:
        serve.stdin.close()
        serve.wait()


if __name__ == "__main__":
    sys.exit(main())

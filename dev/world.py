#!/usr/bin/env python3
"""The local AWS of Holdfast.

    world.py serve [--json]        start it; serve until stdin ends, SIGTERM or SIGINT
    world.py clock SECONDS         shift its clock against real time (0 = real time)
    world.py seed FLEET            fill it with a fleet (lomash)
    world.py deploy --help         deploy the project's SAM template into it
    world.py rds-event FILE        deliver an RDS event to the rules that match it
    world.py story --help          the main job, told (what dev/demo runs)

All but `serve` find the running world by the environment variables that `serve` prints.
"""

import argparse
import os
import sys

from world.clock import FILE, clock_env, set_clock
from world.paths import DEV, Missing, program
from world.serve import serve

CLIENTS = {"seed": "world.seed", "deploy": "world.deploy", "rds-event": "world.rds_events", "story": "world.story"}


def clock_file() -> str:
    """The running world's clock, from the environment."""
    if FILE not in os.environ:
        sys.exit(f"world: {FILE} is not set: set the `env` that `world.py serve --json` prints")
    return os.environ[FILE]


def run_client(command: str, arguments: list[str]) -> None:
    """Becomes the client command: on the world's clock, with the Python that has boto3."""
    env = {**os.environ, **clock_env(clock_file()), "PYTHONPATH": str(DEV)}
    python = program("ministack", "python")
    os.execve(python, [python, "-m", CLIENTS[command], *arguments], env)


def main() -> int:
    """Runs one command and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve").add_argument("--json", action="store_true", help="print one JSON line")
    commands.add_parser("clock").add_argument("seconds", type=float)
    for name in CLIENTS:
        commands.add_parser(name, add_help=False)
    options, rest = parser.parse_known_args()
    if options.command not in CLIENTS and rest:
        parser.error(f"unknown arguments: {' '.join(rest)}")
    try:
        if options.command == "serve":
            return serve(options.json)
        if options.command == "clock":
            set_clock(clock_file(), options.seconds)
        else:
            run_client(options.command, rest)
    except Missing as error:
        sys.exit(f"world: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

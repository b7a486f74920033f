"""Worlds for the end-to-end tests.

    cargo build --workspace --bins && .cache/ministack/bin/python -m pytest tests/e2e

A module has one world, made when its first test asks for it. Tests that change what others read use assets of their own.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

# What two keys of a test's policy share is written out twice: a policy has no aliases.
yaml.SafeDumper.ignore_aliases = lambda *_: True

sys.path.insert(0, str(Path(__file__).parent))

from local import BINARIES, FUNCTIONS, LOMASH, running  # noqa: E402
from peers import azurite, container, every_kind, fresh_database, holdfast, identity, postgres_server, s3_server, tools  # noqa: E402 (fixtures)
from world.stack import DUMP  # noqa: E402


def pytest_sessionstart(session: pytest.Session) -> None:
    """There is nothing to test without the binaries, and that is a failure."""
    missing = [name for name in [*FUNCTIONS, "holdfast"] if not (BINARIES / name).is_file()]
    if missing and not session.config.option.collectonly:
        pytest.exit(f"{', '.join(missing)} not found in {BINARIES}: run `cargo build --workspace --bins`", returncode=1)


@pytest.fixture(scope="module")
def bare():
    """A world with nothing in it."""
    with running() as world:
        yield world


@pytest.fixture(scope="module")
def seeded(bare):
    """A world with Lomash Wood's fleet."""
    bare.seed()
    return bare


@pytest.fixture(scope="session")
def functions(tmp_path_factory):
    """The functions without their debug information: a fifth of the bytes to upload and to start, for each world."""
    folder = tmp_path_factory.mktemp("functions")
    for name in [*FUNCTIONS, *(each for each in [DUMP] if (BINARIES / each).is_file())]:
        try:
            subprocess.run(["strip", "-o", folder / name, BINARIES / name], check=True)
        except FileNotFoundError:
            shutil.copy(BINARIES / name, folder / name)
    return folder


@pytest.fixture
def folder(tmp_path) -> Path:
    """Where the dumps lie."""
    return tmp_path / "backups"


@pytest.fixture(scope="module")
def policy():
    """The policy that the functions of the module run; a module may have its own."""
    return LOMASH


@pytest.fixture(scope="module")
def world(seeded, functions, policy):
    """A world with Lomash Wood's fleet and the stack."""
    seeded.deploy(functions, policy)
    return seeded

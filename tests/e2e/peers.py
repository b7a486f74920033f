"""What the data path talks to, real: PostgreSQL, stores that are not AWS, and the stock tools that read a dump without Holdfast.

The fixtures are made when a test first asks for them; a session has one of each server, and a test makes databases, buckets and
containers of its own in it.
"""

import itertools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from local import BINARIES, QUICK, ROOT, Ran
from world.azurite import Blobs, azurite as run_azurite
from world.postgres import Postgres, postgres as run_postgres
from world.s3 import S3Server, s3_server as run_s3_server

EVERY_KIND = ROOT / "shared" / "postgres" / "tests" / "support" / "every_kind.sql"
PASSWORD = "DATABASE_PASSWORD"  # the variable that policies of `group` name; not PGPASSWORD, which any client would find
NUMBERS = itertools.count(1)


# -- databases -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Database:
    """A database of a test's own."""

    server: Postgres
    name: str

    def sql(self, text: str) -> str:
        """Runs SQL in it; rows are lines, columns have `|` between."""
        return self.server.sql(text, self.name)

    def load(self, script: Path) -> None:
        """Runs a script in it."""
        self.sql(script.read_text())

    @property
    def env(self) -> dict[str, str]:
        """The variables that bring a client of libpq here."""
        return self.server.env(self.name)


def sorted_rows(text: str) -> Iterator[str]:
    """A plain dump's lines, with each table's rows sorted: a table has no order, and a restore may change it."""
    rows: list[str] | None = None
    for line in text.splitlines():
        if rows is None:
            yield line
            if line.startswith("COPY ") and line.endswith(" FROM stdin;"):
                rows = []
        elif line == "\\.":
            yield from [*sorted(rows), line]
            rows = None
        else:
            rows.append(line)


def dump_text(server: Postgres, database: str, *arguments: str) -> str:
    """What stock pg_dump writes of a database, in a form that two equal databases share."""
    text = server.run("pg_dump", "--format=plain", *arguments, database=database).decode()
    # \restrict and \unrestrict carry a key that is random in every dump.
    return "\n".join(line for line in sorted_rows(text) if not re.match(r"\\(un)?restrict ", line))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A real PostgreSQL server that speaks TLS too."""
    with run_postgres(tls=True) as server:
        yield server


@pytest.fixture
def fresh_database(postgres_server) -> Iterator[Callable[..., Database]]:
    """Makes databases (`fresh_database()`, `fresh_database("Größe")`), and drops all that the test and Holdfast made."""
    before = set(postgres_server.databases())

    def make(name: str | None = None) -> Database:
        name = name or f"test_{next(NUMBERS)}"
        quoted = '"' + name.replace('"', '""') + '"'
        postgres_server.sql(f"CREATE DATABASE {quoted}")
        return Database(postgres_server, name)

    yield make
    for name in set(postgres_server.databases()) - before:
        postgres_server.drop(name)


@pytest.fixture
def every_kind(fresh_database) -> Database:
    """A database with every kind of object."""
    database = fresh_database()
    if database.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'holdfast_owner'") == "0":
        database.load(EVERY_KIND.with_name("roles.sql"))
    database.load(EVERY_KIND)
    return database


# -- stores ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def azurite() -> Iterator[Blobs]:
    """Azure Blob Storage."""
    with run_azurite() as blobs:
        yield blobs


@pytest.fixture
def container(azurite) -> str:
    """A container of the test's own."""
    name = f"container-{next(NUMBERS)}"
    azurite.create_container(name)
    return name


MARK = "holdfast-store.json"


def unmarked(objects: dict[str, Any]) -> dict[str, Any]:
    """All of these objects, by key, but the mark of a store."""
    return {key: each for key, each in objects.items() if key.rsplit("/", 1)[-1] != MARK}


@dataclass(frozen=True)
class S3:
    """An S3-compatible server, and a client of it."""

    server: S3Server
    client: Any

    def bucket(self, **options: Any) -> str:
        """A new bucket, with versioning; `ObjectLockEnabledForBucket=True` and the like are handed on."""
        name = f"bucket-{next(NUMBERS)}"
        self.client.create_bucket(Bucket=name, **options)
        self.client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name

    def objects(self, bucket: str, prefix: str = "") -> dict[str, int]:
        """Sizes of the objects by key, but of the mark of the store."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return unmarked({each["Key"]: each["Size"] for page in pages for each in page.get("Contents", [])})

    def uploads(self, bucket: str) -> list[str]:
        """Keys of the multipart uploads that nobody ended."""
        return [each["Key"] for each in self.client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]

    def get(self, bucket: str, key: str) -> bytes:
        """An object's bytes."""
        return self.client.get_object(Bucket=bucket, Key=key)["Body"].read()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    """An S3-compatible server that is not AWS."""
    with run_s3_server() as server:
        yield S3(server, boto3.client("s3", config=QUICK, **server.options))


@dataclass(frozen=True)
class Kept:
    """A file or folder in a directory store."""

    mode: str
    size: int


def stored(folder: Path) -> dict[str, Kept]:
    """All that lies in a folder, by path below it (folders end with `/`); modes as chmod takes them: 640."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        name = f"{path.relative_to(folder)}{'/' if path.is_dir() else ''}"
        found[name] = Kept(f"{status.st_mode & 0o7777:o}", 0 if path.is_dir() else status.st_size)
    return found


# -- stock tools -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Identity:
    """An age identity: its file (0600) and its recipient."""

    file: Path
    recipient: str

    @property
    def secret(self) -> str:
        """The line AGE-SECRET-KEY-1..."""
        return next(line for line in self.file.read_text().splitlines() if line.startswith("AGE-SECRET-KEY-"))


@pytest.fixture
def identity(tmp_path) -> Callable[[], Identity]:
    """Makes age identities with age's own age-keygen."""

    def make() -> Identity:
        file = tmp_path / f"identity-{next(NUMBERS)}.txt"
        subprocess.run(["age-keygen", "-o", file], check=True, capture_output=True)
        said = subprocess.run(["age-keygen", "-y", file], check=True, capture_output=True, text=True)
        return Identity(file, said.stdout.strip())

    return make


def stock_shell(line: str, env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess:
    """Runs a line of shell where no program of Holdfast can be found."""
    path = os.pathsep.join(each for each in os.environ["PATH"].split(os.pathsep) if not (Path(each) / "holdfast").exists())
    return subprocess.run(["bash", "-o", "pipefail", "-c", line], cwd=cwd, capture_output=True, text=True, env={"PATH": path} | env)


@pytest.fixture(scope="session")
def tools() -> dict[str, str]:
    """Paths of the stock tools; install.py provides them, so a missing one is a failure."""
    found = {name: shutil.which(name) for name in ("age", "age-keygen", "openssl", "zstd", "gzip")}
    missing = [name for name, path in found.items() if not path]
    assert not missing, f"{missing} not found: run `python3 dev/install.py peers`"
    return found


# -- the command -----------------------------------------------------------------------------------------------------------


def group(server: Postgres, databases: list[str], stored: dict, dump: dict | None = None, **more: Any) -> dict:
    """A group of `postgres` in a policy: dumps by hand (reason `manual`) of databases on a server of ours."""
    dump = {"keep": {"newest": 3}} | (dump or {})
    return {"databases": databases, "host": server.host, "port": server.port, "user": server.user, "tls": "disable",
            "password": {"env": PASSWORD}, "storage": stored, "dumps": {"manual": dump}} | more


def policy_of(**groups: dict) -> dict:
    """A policy of nothing but groups of `postgres`; it has no home on AWS."""
    return {"holdfast": 1, "company": "tests", "id": "host-1", "postgres": groups}


def mark_directories(policy: dict) -> None:
    """Gives the directories of a policy that signs nothing the mark that `holdfast store init` would give them."""
    if not isinstance(policy, dict) or "signing" in policy:
        return
    home = policy.get("home", {})
    owner = f"{policy.get('company')}@{policy.get('id') or '{account}/{region}'.format(**home)}" if home or policy.get("id") else ""
    mark = {"holdfast": 1, "owner": owner, "id": "test", "since": "2026-01-01T00:00:00Z"}
    groups = [each for each in (policy.get("postgres") or {}).values() if each.get("dumps")]
    groups += [each for each in (policy.get("redis") or {}).values() if each.get("address")]
    for each in groups:
        stores = [each.get("storage", {}), *each.get("copies", [])]
        for store in stores:
            if store.get("directory"):
                file = Path(store["directory"]) / f"{store.get('prefix', '')}{MARK}"
                with suppress(OSError):
                    file.parent.mkdir(parents=True, exist_ok=True)
                    if not file.exists():
                        file.write_text(json.dumps(mark))
                        file.chmod(0o640)


@dataclass
class Command:
    """The built `holdfast`, in an environment without credentials, of AWS or anything else."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen] = field(default_factory=list)

    def prepare(self, policy: dict, env: dict[str, str]) -> tuple[list, dict[str, str]]:
        """How the command begins, with its policy written to a file; and its environment."""
        file = self.folder / "policy.yaml"
        file.write_text(yaml.safe_dump(policy, allow_unicode=True, sort_keys=False))
        mark_directories(policy)
        base = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LANG": "C.UTF-8", "AWS_EC2_METADATA_DISABLED": "true"}
        return [BINARIES / "holdfast", "--policy", file], base | self.env | env

    def __call__(self, policy: dict, *arguments: str, timeout: float = 120, **env: str) -> Ran:
        """Runs it to its end."""
        begin, variables = self.prepare(policy, env)
        done = subprocess.run([*begin, *arguments], cwd=self.folder, env=variables, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=timeout)
        return Ran(done.returncode, done.stdout, done.stderr)

    def start(self, policy: dict, *arguments: str, **env: str) -> subprocess.Popen:
        """Starts it, for tests that end it in the middle; what still runs at the end of the test is killed."""
        begin, variables = self.prepare(policy, env)
        self.started.append(subprocess.Popen([*begin, *arguments], cwd=self.folder, env=variables, stdin=subprocess.DEVNULL,
                                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return self.started[-1]


@pytest.fixture
def holdfast(tmp_path, postgres_server) -> Iterator[Command]:
    """The command; it knows the password that policies of `group` name, and is in a folder of its own."""
    folder = tmp_path / "command"
    folder.mkdir()
    command = Command(folder, {PASSWORD: postgres_server.password})
    yield command
    for each in command.started:
        each.kill()
        each.communicate()

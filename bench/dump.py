#!/usr/bin/env python3
"""What a dump and a restore cost: `holdfast` against what people pipe together by hand, in turns, in one run, as ratios.

    cargo build --release -p holdfast
    python3 bench/dump.py                      # some 10 minutes; 12 GB below --folder
    python3 bench/dump.py --postgres 18        # with the server of that version that the tests use
    python3 bench/dump.py --scale 5 --s3 moto --repeat 1      # a quick look whether the script works; no figures

The database is pgbench's at scale 100 and a table of JSON: 1.5 GB as SQL, a third of it JSON. Its server is ours, on this machine, and so is the S3
server (s3s-fs). Times are of the wall; look at the ratios, for both sides of each had the same machine in turns. Installs what it
needs by `dev/install.py bench`. Exits with 1 when a target is missed.
"""

import argparse
import json
import os
import resource
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from host import RELEASE, ROOT, machine

sys.path.insert(0, str(ROOT / "dev"))

from world.paths import CACHE
from world.ports import free_ports
from world.postgres import Postgres, other_versions, postgres
from world.servers import serving

DATABASE, BUCKET, REGION = "bench", "bench", "us-east-1"
JSON_BYTES_A_SCALE = 7_000_000  # 700 MB at scale 100
MEMORY_LIMIT_MB = 128
# Memory for sorting indexes as a server of this size has it; the rest as PostgreSQL comes, so that both sides wait for the same.
# WAL files are kept for use again: whoever comes after a lull would have to fill new ones with zeros, which takes up to 5 s.
SERVER = {"shared_buffers": "512MB", "maintenance_work_mem": "256MB", "max_wal_size": "4GB", "min_wal_size": "4GB", "fsync": "off",
          "max_connections": 40}

JSON_TABLE = """
CREATE TABLE documents (id bigint PRIMARY KEY, kind text NOT NULL, made timestamptz NOT NULL, body jsonb NOT NULL);
INSERT INTO documents
SELECT n, (ARRAY['order', 'invoice', 'return', 'note'])[1 + n % 4], '2026-01-01'::timestamptz + n * interval '1 minute',
       jsonb_build_object(
           'customer', jsonb_build_object('id', n % 5000, 'name', 'Customer ' || n % 5000, 'mail', md5((n % 5000)::text) || '@example.com'),
           'lines', (SELECT jsonb_agg(jsonb_build_object('sku', 'SKU-' || (n * i) % 900,
                                                         'quantity', 1 + (n + i) % 7, 'price', ((n * i) % 9999) / 100.0))
                     FROM generate_series(1, 5) i),
           'token', md5(n::text), 'note', repeat('as agreed by telephone ', (n % 4)::int), 'paid', n % 3 = 0)
FROM generate_series(1, {rows}) n;
CREATE INDEX ON documents (kind, made);
"""
BYTES_A_DOCUMENT = 800  # with its indexes


@dataclass
class Cost:
    """What one run took."""

    wall: float
    cpu: float
    peak_mb: float = 0.0


@dataclass
class Contender:
    """One way to do it, and what its runs took."""

    name: str
    runs: list[Cost] = field(default_factory=list)

    @property
    def wall(self) -> float:
        """The median run's wall time."""
        return statistics.median(run.wall for run in self.runs)

    @property
    def cpu(self) -> float:
        """The median run's processor time, of all its processes but the server's."""
        return statistics.median(run.cpu for run in self.runs)


@contextmanager
def watched(pid: int, into: list[float]):
    """Reads a process's peak of resident memory (VmHWM, of it alone) while it lives, in MB of a million bytes."""
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.02):
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                return
            into.extend(int(line.split()[1]) * 1024 / 1e6 for line in status.splitlines() if line.startswith("VmHWM"))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def run(command: list, env: dict[str, str], log: Path, stdout: int | None = None) -> Cost:
    """Runs a command to its end; ends the benchmark when it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    peak = [0.0]
    with open(log, "wb") as errors:
        process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=stdout or errors, stderr=errors)
        with watched(process.pid, peak):
            code = process.wait()
    wall = time.perf_counter() - began
    if code:
        raise SystemExit(f"{' '.join(map(str, command))}\nended with code {code}:\n{log.read_text(errors='replace')[-3000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu, max(peak))


class Bench:
    """The servers, the files and the commands of one run."""

    def __init__(self, options: argparse.Namespace, folder: Path, server: Postgres, endpoint: str, keys: tuple[str, str]):
        self.options, self.folder, self.server, self.endpoint, self.keys = options, folder, server, endpoint, keys
        self.log = folder / "log"
        self.policy = folder / "policy.yaml"
        config = folder / "aws.config"
        # Path style, and no checksum that an S3-compatible server might not know; everything else as the CLI comes.
        config.write_text("[default]\ns3 =\n  addressing_style = path\nrequest_checksum_calculation = when_required\n")
        path = os.pathsep.join([str(server.programs), str(CACHE / "awscli" / "bin"), os.environ["PATH"]])
        self.env = {
            "PATH": path, "HOME": str(folder), "LANG": "C.UTF-8", "AWS_CONFIG_FILE": str(config), "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION, "AWS_ACCESS_KEY_ID": keys[0], "AWS_SECRET_ACCESS_KEY": keys[1],
            "AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL": endpoint, "BENCH_KEY": "correct horse battery staple",
            "BENCH_PASSWORD": server.password, **server.env(DATABASE),
        }

    # -- making ready ------------------------------------------------------------------------------------------------------

    def make_database(self) -> None:
        """The database that is dumped."""
        scale = self.options.scale
        self.server.sql(f"CREATE DATABASE {DATABASE}")
        self.server.run("pgbench", "-i", "-q", "-s", str(scale), database=DATABASE)
        self.server.sql(JSON_TABLE.format(rows=scale * JSON_BYTES_A_SCALE // BYTES_A_DOCUMENT), DATABASE)
        self.server.sql("VACUUM ANALYZE; CHECKPOINT", DATABASE)

    def database_mb(self, name: str = DATABASE) -> float:
        """A database's size."""
        return int(self.server.sql(f"SELECT pg_database_size('{name}')")) / 1e6

    def write_policy(self) -> None:
        """The policy of our side; JSON is YAML too."""
        encrypt: dict[str, object] = {"openssl": {"env": "BENCH_KEY"}}
        if self.options.encrypt == "age":
            identity = self.folder / "identity"
            subprocess.run(["age-keygen", "-o", identity], check=True, capture_output=True)
            said = subprocess.run(["age-keygen", "-y", identity], check=True, capture_output=True, text=True)
            encrypt = {"age": [said.stdout.strip()], "identity": {"file": str(identity)}}
        dump = {"keep": {"newest": 100}, "compress": "zstd", "encrypt": encrypt, "jobs": self.options.jobs}
        stored = {"bucket": BUCKET, "prefix": "ours/", "region": REGION, "endpoint": self.endpoint,
                  "access_key": {"env": "AWS_ACCESS_KEY_ID"}, "secret_key": {"env": "AWS_SECRET_ACCESS_KEY"}}
        group = {"databases": [DATABASE], "host": self.server.host, "port": self.server.port, "user": self.server.user,
                 "password": {"env": "BENCH_PASSWORD"}, "tls": "disable", "storage": stored, "dumps": {"manual": dump}}
        self.policy.write_text(json.dumps({"holdfast": 1, "company": "bench", "id": "host-1", "postgres": {"bench": group}}))

    def aws(self, *arguments: str) -> str:
        """Asks the AWS CLI."""
        return subprocess.run(["aws", *arguments], env=self.env, check=True, capture_output=True, text=True).stdout

    # -- dumps -------------------------------------------------------------------------------------------------------------

    def by_hand(self) -> Cost:
        """What is piped together by hand."""
        line = ("pg_dump | gzip -9 | openssl enc -aes-256-cbc -pbkdf2 -pass env:BENCH_KEY"
                f" | aws s3 cp - s3://{BUCKET}/by-hand/{time.time_ns()}.sql.gz.enc --only-show-errors --expected-size 2000000000")
        return run(["bash", "-o", "pipefail", "-c", line], self.env, self.log)

    def to_nowhere(self) -> Cost:
        """pg_dump alone, to where nothing can hold it up."""
        return run(["pg_dump", "-Fc", "-Z0"], self.env, self.log, stdout=subprocess.DEVNULL)

    def ours(self) -> Cost:
        """holdfast dump."""
        time.sleep(1.1)  # names have whole seconds
        return run([self.options.holdfast, "--policy", self.policy, "dump", "bench", "--reason", "manual"], self.env, self.log)

    def sizes(self) -> dict[str, int]:
        """Bytes of the plain SQL, of gzip -6 and -9 of it, and of the newest of our files."""
        line = 'pg_dump | tee >(gzip -6 | wc -c > "$0/6") >(gzip -9 | wc -c > "$0/9") | wc -c > "$0/plain"; wait; sync'
        subprocess.run(["bash", "-o", "pipefail", "-c", line, self.folder], env=self.env, check=True)
        deadline = time.monotonic() + 60
        while not all((self.folder / name).exists() and (self.folder / name).read_text().strip() for name in ("6", "9", "plain")):
            assert time.monotonic() < deadline, "gzip did not end"
            time.sleep(0.1)
        found = {name: int((self.folder / name).read_text()) for name in ("plain", "6", "9")}
        listed = json.loads(self.aws("s3api", "list-objects-v2", "--bucket", BUCKET, "--prefix", "ours/", "--output", "json"))
        ours = [each for each in listed["Contents"] if not each["Key"].endswith((".json", ".sha256", ".hold"))]
        return found | {"ours": max(ours, key=lambda each: each["LastModified"])["Size"]}

    # -- restores ----------------------------------------------------------------------------------------------------------

    def stock_restore(self, level: int) -> Cost:
        """pg_restore -j2 from a local file of that compression."""
        file = self.folder / f"level-{level}.dump"
        if not file.exists():
            subprocess.run(["pg_dump", "-Fc", f"-Z{level}", "-f", file], env=self.env, check=True)
        self.server.sql("CREATE DATABASE restored")
        cost = run(["pg_restore", "-j2", "-d", "restored", file], self.env, self.log)
        self.forget()
        return cost

    def our_restore(self) -> Cost:
        """holdfast restore of the newest dump, from S3."""
        command = [self.options.holdfast, "--policy", self.policy, "restore", f"bench/{DATABASE}", "--to", "restored", "--yes"]
        cost = run(command, self.env, self.log)
        self.forget()
        return cost

    def forget(self) -> None:
        """Checks that the restored database is whole, and drops it."""
        counts = "SELECT (SELECT count(*) FROM pgbench_accounts), (SELECT count(*) FROM documents), (SELECT count(*) FROM pg_indexes)"
        assert self.server.sql(counts, "restored") == self.server.sql(counts, DATABASE), "the restored database is another"
        self.server.drop("restored")
        self.server.sql("CHECKPOINT")


def in_turns(repeat: int, ways: dict[str, Callable]) -> dict[str, Contender]:
    """Each way once, then each again: what disturbs the machine for a while disturbs all."""
    found = {name: Contender(name) for name in ways}
    for turn in range(repeat):
        for name, way in ways.items():
            cost = way()
            found[name].runs.append(cost)
            print(f"  {turn + 1}/{repeat} {name:<44}{cost.wall:8.1f} s {cost.cpu:8.1f} s CPU {cost.peak_mb:7.0f} MB", flush=True)
    return found


def judge(what: str, measured: float, target: float, most: bool) -> bool:
    """Prints a target and whether it is met."""
    met = measured <= target if most else measured >= target
    print(f"{what:<66}{'<=' if most else '>='} {target:<6g}{measured:8.2f}   {'yes' if met else 'NO'}")
    return met


def measure(bench: Bench) -> bool:
    """The whole benchmark; says whether every target was met."""
    options = bench.options
    print(f"{machine()}; PostgreSQL {bench.server.sql('SHOW server_version')}; encryption {options.encrypt}; {options.jobs} connections")
    bench.make_database()
    bench.write_policy()
    bench.aws("s3", "mb", f"s3://{BUCKET}")
    print(f"database: {bench.database_mb():.0f} MB\n\ndumps (wall, CPU without the server's, peak of the first process):")
    bench.to_nowhere()  # warms the server's cache for all
    dumps = in_turns(options.repeat, {
        "pg_dump | gzip -9 | openssl | aws s3 cp": bench.by_hand,
        "pg_dump -Fc -Z0 > /dev/null": bench.to_nowhere,
        "holdfast dump": bench.ours,
    })
    by_hand, nowhere, ours = dumps.values()
    sizes = bench.sizes()
    print("\nsizes, MB: " + ", ".join(f"{name} {size / 1e6:.1f}" for name, size in {
        "plain SQL": sizes["plain"], "gzip -6": sizes["6"], "gzip -9": sizes["9"], "ours": sizes["ours"]}.items()))
    print("\nrestores:")
    bench.stock_restore(0)  # makes the WAL files that all use again
    restores = in_turns(options.repeat, {
        "pg_restore -j2, local -Fc file": lambda: bench.stock_restore(6),
        "pg_restore -j2, local -Fc -Z0 file": lambda: bench.stock_restore(0),
        "holdfast restore, from S3": bench.our_restore,
    })
    packed, plain, back = restores.values()
    peak = max(cost.peak_mb for cost in [*ours.runs, *back.runs])
    print(f"\n{'target':<66}{'':9}measured   met")
    return all([
        judge("dump: times as fast as by hand", by_hand.wall / ours.wall, 5, most=False),
        judge("dump: time, as a share of pg_dump -Fc -Z0 > /dev/null", ours.wall / nowhere.wall, 1, most=True),
        judge("dump: size, as a share of gzip -6", sizes["ours"] / sizes["6"], 1, most=True),
        judge("restore: time, as a share of pg_restore -j2 from the faster file", back.wall / min(packed.wall, plain.wall), 1, most=True),
        judge("peak resident memory of holdfast, MB", peak, MEMORY_LIMIT_MB, most=True),
    ])


def s3_command(which: str, port: int, keys: tuple[str, str], data: Path) -> list[str]:
    """How the S3 server is started."""
    if which == "moto":
        return [str(CACHE / "moto" / "bin" / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    program = str(CACHE / "s3s" / "bin" / "s3s-fs")
    return [program, "--host", "127.0.0.1", "--port", str(port), "--access-key", keys[0], "--secret-key", keys[1], str(data)]


def main() -> int:
    """Starts the servers, measures, and ends them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=int, default=100, help="of pgbench; 100 is what the targets are for")
    parser.add_argument("--repeat", type=int, default=3, help="turns; figures are medians")
    parser.add_argument("--jobs", type=int, default=2, help="connections of holdfast dump")
    parser.add_argument("--postgres", type=int, choices=[16, 18], help="a newer server than the packages bring")
    parser.add_argument("--encrypt", choices=["age", "openssl"], default="openssl", help="openssl: the same cipher on both sides")
    parser.add_argument("--s3", choices=["s3s-fs", "moto"], default="s3s-fs", help="moto is Python: to try the script with")
    parser.add_argument("--holdfast", type=Path, default=RELEASE / "holdfast", help="the release build")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the data lies during the run")
    parser.add_argument("--skip-install", action="store_true", help="everything is there already")
    options = parser.parse_args()
    if not options.holdfast.exists():
        raise SystemExit(f"there is no {options.holdfast}; run cargo build --release -p holdfast")
    if not options.skip_install:
        subprocess.run([sys.executable, ROOT / "dev" / "install.py", "bench"], check=True)
    work = Path(tempfile.mkdtemp(prefix="holdfast-bench-", dir=options.folder))
    try:
        with ExitStack() as stack:
            for name in ("pg", "s3", "data"):
                (work / name).mkdir()
            work.chmod(0o755)
            programs = other_versions()[options.postgres] if options.postgres else None
            server = stack.enter_context(postgres(work / "pg", programs=programs, **SERVER))
            port, keys = free_ports(1)[0], ("bench", secrets.token_hex(16))
            env = {"PATH": os.defpath, "HOME": str(work), "TMPDIR": str(work / "s3"), "RUST_LOG": "error"}
            command = s3_command(options.s3, port, keys, work / "data")
            stack.enter_context(serving(options.s3, command, env, work / "s3", port))
            return 0 if measure(Bench(options, work, server, f"http://127.0.0.1:{port}", keys)) else 1
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())

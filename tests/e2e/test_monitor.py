"""`holdfast monitor`: what a host's Prometheus, node_exporter and people get of dumps in a directory.

T8: age over 25 h, size under 1 MB or changed over 50 %, checksum, disk; the metrics `listings_*`; P8, I11.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from backups import dump, in_folder
from local import BINARIES, ROOT, clock_env, set_clock, until
from peers import Database, group, mark_directories, policy_of
from world.ports import free_ports
from world.promtool import promtool

DAILY = {"schedule": {"cron": "0 2 * * *"}, "keep": {"newest": 9}}
ASKED = {"max_age": "25h", "min_size": "1KB", "max_size_deviation": "50%"}
FOUR = ["age_hours", "size_mb", "total", "health"]


@pytest.fixture
def shop(fresh_database) -> Database:
    """A small database."""
    database = fresh_database()
    database.sql("CREATE TABLE orders AS SELECT i AS id, md5(i::text) AS what FROM generate_series(1, 5000) i")
    return database


def watched(database: Database, folder: Path, monitor: dict | None = None, **more: object) -> dict:
    """A policy with a daily dump in a directory, as the monitor watches it."""
    shop = group(database.server, [database.name], in_folder(folder)) | {"dumps": {"daily": DAILY}, "objectives": ASKED}
    shop |= {"exclude": [f"*{vowel}*" for vowel in "aeiou"]}  # The server is shared with other tests.
    return policy_of(shop=shop | more) | {"monitor": monitor or {}}


def dump_again(holdfast, policy: dict) -> dict:
    """Another dump, in a second of its own: names have no finer time."""
    began = int(time.time())
    until("the next second", lambda: int(time.time()) > began)
    return dump(holdfast, policy, reason="daily")


def samples(text: str) -> dict[str, float]:
    """Every sample, by its name and labels."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines}


def value(text: str, name: str, **labels: str) -> float | None:
    """The sample of that name which has these labels."""
    for key, number in samples(text).items():
        if re.match(rf"{name}(\{{|$)", key) and all(f'{k}="{v}"' in key for k, v in labels.items()):
            return number
    return None


def checked(text: str) -> tuple[int, list[str]]:
    """What promtool thinks of the metrics."""
    done = subprocess.run([promtool(), "check", "metrics"], input=text, capture_output=True, text=True)
    return done.returncode, (done.stdout + done.stderr).splitlines()


def once(holdfast, policy: dict, *more: str, code: int = 0, **env: str) -> str:
    """What one look sees."""
    ran = holdfast(policy, "monitor", "--once", *more, **env)
    assert ran.code == code, f"exit {ran.code}\n{ran.out}\n{ran.err}"
    return ran.out


@dataclass
class Monitor:
    """A monitor that serves."""

    process: subprocess.Popen
    port: int

    def ask(self, path: str = "/metrics") -> tuple[int, str]:
        """Status and body of an answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    @property
    def text(self) -> str:
        """The metrics now."""
        return self.ask()[1]

    def looked(self) -> str:
        """The metrics after its first look."""
        return until("the first look", lambda: value(self.text, "holdfast_refresh_success") == 1 and self.text)


@contextmanager
def serving(policy: dict, tmp_path: Path, *more: str, database: Database, **env: str) -> Iterator[Monitor]:
    """`holdfast monitor` on a free port."""
    file = tmp_path / "monitor.yaml"
    file.write_text(yaml.safe_dump(policy))
    mark_directories(policy)
    (port,) = free_ports(1)
    command = [BINARIES / "holdfast", "--policy", file, "monitor", "--serve", f"127.0.0.1:{port}", *more]
    environment = {"PATH": os.environ["PATH"], "DATABASE_PASSWORD": database.server.password, **env}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        def listens() -> bool:
            assert process.poll() is None, process.stderr.read()
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        until("it listens", listens)
        yield Monitor(process, port)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stderr.close()


# -- what it sees ------------------------------------------------------------------------------------------------------------


def test_a_dump_in_a_directory_is_seen_with_age_size_count_disk_and_health(holdfast, shop, folder):
    policy = watched(shop, folder)
    made = dump(holdfast, policy, reason="daily")
    text = once(holdfast, policy)
    of = {"group": "shop", "asset": shop.name}
    assert 0 <= value(text, "holdfast_backup_age_seconds", **of) < 120
    assert value(text, "holdfast_backup_max_age_seconds", **of) == 25 * 3600
    assert value(text, "holdfast_backup_size_bytes", **of) == (folder / made["backup"]).stat().st_size
    assert value(text, "holdfast_backups", **of) == 1
    assert value(text, "holdfast_asset_health", **of) == 1
    assert value(text, "holdfast_health") == 1
    assert value(text, "holdfast_disk_free_bytes", group="shop") > 0
    assert abs(value(text, "holdfast_last_refresh_timestamp_seconds") - time.time()) < 120


def test_promtool_finds_nothing_to_better(holdfast, shop, folder):
    policy = watched(shop, folder)
    dump(holdfast, policy, reason="daily")
    assert checked(once(holdfast, policy)) == (0, [])


def test_the_four_metrics_of_listings_have_their_names_and_figures(holdfast, shop, folder):
    policy = watched(shop, folder, {"prefix": "listings"})
    made = dump(holdfast, policy, reason="daily")
    text = once(holdfast, policy)
    four = {f"listings_backup_{name}": value(text, f"listings_backup_{name}") for name in FOUR}
    assert set(four) <= set(samples(text)), "they have no labels"
    assert 0 <= four["listings_backup_age_hours"] < 0.05
    assert four["listings_backup_size_mb"] == pytest.approx((folder / made["backup"]).stat().st_size / 2**20)
    assert (four["listings_backup_total"], four["listings_backup_health"]) == (1, 1)
    # All that promtool says is about these names, which are not ours to choose.
    _, said = checked(text)
    assert said and all(line.startswith("listings_backup_") for line in said), said


def test_status_run_and_monitor_say_the_same(holdfast, shop, folder):
    policy = watched(shop, folder)
    dump(holdfast, policy, reason="daily")
    (asset,) = holdfast(policy, "status", "--json").json["assets"]
    text = once(holdfast, policy)
    assert (asset["group"], asset["asset"], asset["max_severity"]) == ("shop", shop.name, None)
    assert asset["size_bytes"] == value(text, "holdfast_backup_size_bytes")
    assert asset["max_age_seconds"] == value(text, "holdfast_backup_max_age_seconds")
    assert abs(asset["age_seconds"] - value(text, "holdfast_backup_age_seconds")) < 120


# -- what is wrong -----------------------------------------------------------------------------------------------------------


def found(holdfast, policy: dict, **env: str) -> dict[str, str]:
    """What `status` finds, with its severity."""
    ran = holdfast(policy, "status", "--json", **env)
    return {each["code"]: each["severity"] for each in ran.json["findings"]}


def test_no_backup_at_all_is_critical_and_has_no_age(holdfast, shop, folder):
    folder.mkdir()
    policy = watched(shop, folder, {"prefix": "listings"})
    text = once(holdfast, policy, code=1)
    assert found(holdfast, policy) == {"no-backup": "critical"}
    assert value(text, "holdfast_health") == 0
    assert value(text, "holdfast_backup_age_seconds") is None
    assert value(text, "listings_backup_age_hours") is None
    assert value(text, "listings_backup_health") == 0
    assert value(text, "holdfast_findings", severity="critical") == 1


def test_a_backup_over_25_hours_old_is_critical(holdfast, shop, folder, tmp_path):
    policy = watched(shop, folder)
    dump(holdfast, policy, reason="daily")
    clock = tmp_path / "clock"
    set_clock(str(clock), 26 * 3600)
    text = once(holdfast, policy, code=1, **clock_env(str(clock)))
    assert 26 * 3600 <= value(text, "holdfast_backup_age_seconds") < 27 * 3600
    assert found(holdfast, policy, **clock_env(str(clock))) == {"backup-stale": "critical"}


def test_a_backup_that_is_too_small_or_of_another_size_is_found(holdfast, shop, folder):
    policy = watched(shop, folder)
    dump(holdfast, policy, reason="daily")
    shop.sql("DELETE FROM orders WHERE id > 50")
    dump_again(holdfast, policy)
    assert found(holdfast, policy) == {"size-deviation": "warning"}
    assert value(once(holdfast, policy), "holdfast_backup_size_deviation_ratio") > 0.5
    large = watched(shop, folder)
    large["postgres"]["shop"]["objectives"] = ASKED | {"min_size": "1MB"}
    assert found(holdfast, large)["size-below-minimum"] == "critical"


def test_a_file_that_is_not_what_its_checksum_says_is_critical(holdfast, shop, folder):
    policy = watched(shop, folder)
    made = dump(holdfast, policy, reason="daily")
    file = folder / made["backup"]
    bytes_ = bytearray(file.read_bytes())
    bytes_[len(bytes_) // 2] ^= 1
    file.chmod(0o640)
    file.write_bytes(bytes_)
    text = once(holdfast, policy, code=1)
    assert value(text, "holdfast_asset_health") == 0


def test_foreign_files_of_the_scripts_before_count_with_their_checksums(holdfast, shop, folder):
    """As `backup-db.sh` wrote them: FILE.sql.gz, and FILE.sql.gz.sha256 beside it. Where Holdfast makes the dumps, they count as none."""
    (folder / "daily").mkdir(parents=True)
    at = datetime.now(UTC) - timedelta(hours=3)
    file = folder / "daily" / f"{shop.name}_{at:%Y%m%d_%H%M%S}.sql.gz"
    file.write_bytes(os.urandom(4096))
    store = {"directory": str(folder), "suffix": ".sql.gz", "key": "{reason}/{database}_%Y%m%d_%H%M%S.sql.gz"}
    old = {"keep": {"for": "7d"}, "format": "plain", "compress": "gzip"}
    ours = group(shop.server, [shop.name], store) | {"dumps": {"daily": old}, "objectives": ASKED}
    assert found(holdfast, policy_of(shop=ours)) == {"no-backup": "critical"}
    policy = policy_of(shop={key: ours[key] for key in ours if key != "dumps"})
    assert found(holdfast, policy) == {"checksum-missing": "warning"}
    done = subprocess.run(["sha256sum", file.name], cwd=file.parent, capture_output=True, text=True, check=True)
    file.with_name(f"{file.name}.sha256").write_text(done.stdout)
    text = once(holdfast, policy)
    assert 3 * 3600 <= value(text, "holdfast_backup_age_seconds") < 3 * 3600 + 120
    assert found(holdfast, policy) == {}
    file.with_name(f"{file.name}.sha256").write_text(f"{'0' * 64}  {file.name}\n")
    once(holdfast, policy, code=1)


def test_a_disk_with_less_than_the_policy_leaves_free_is_critical(holdfast, shop, folder):
    policy = watched(shop, folder)
    dump(holdfast, policy, reason="daily")
    full = watched(shop, folder, min_free_space="900TB")
    assert found(holdfast, full) == {"disk-low": "critical", "disk-full": "critical"}, "and the next dump finds no room"
    assert value(once(holdfast, full, code=1), "holdfast_health") == 0


def test_a_second_place_is_watched_by_its_age(holdfast, shop, folder, tmp_path):
    usb = tmp_path / "usb"
    policy = watched(shop, folder, copies=[in_folder(usb)])
    dump(holdfast, policy, reason="daily")
    assert value(once(holdfast, policy), "holdfast_offsite_age_seconds") < 120
    for path in sorted(usb.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    assert found(holdfast, policy) == {"offsite-copy-missing": "critical"}
    shutil.rmtree(usb)
    usb.write_text("not a directory")
    assert found(holdfast, policy) == {"offsite-copy-unknown": "critical", "observation-failed": "critical"}


def test_a_directory_that_is_gone_is_unknown_and_never_well(holdfast, shop, folder):
    policy = watched(shop, folder)
    dump(holdfast, policy, reason="daily")
    folder.rename(folder.with_name("elsewhere"))
    folder.write_text("a file now")
    text = once(holdfast, policy, code=1)
    assert value(text, "holdfast_backup_age_seconds") is None
    assert found(holdfast, policy) == {"backup-unknown": "critical", "observation-failed": "critical"}


# -- serving -----------------------------------------------------------------------------------------------------------------


def test_scrapes_are_answered_from_the_last_look_and_the_age_grows(holdfast, shop, folder, tmp_path):
    policy = watched(shop, folder)
    dump(holdfast, policy, reason="daily")
    with serving(policy, tmp_path, database=shop) as monitor:
        first = monitor.looked()
        assert monitor.ask("/healthz") == (200, "ok\n")
        assert monitor.ask("/nothing")[0] == 404
        assert checked(first) == (0, [])
        # What changes after the look is not looked at for an hour; the age grows all the same.
        dump_again(holdfast, policy)
        age = value(first, "holdfast_backup_age_seconds")
        until("the age grows", lambda: value(monitor.text, "holdfast_backup_age_seconds") > age + 1)
        assert value(monitor.text, "holdfast_backups") == 1
        looked = value(first, "holdfast_last_refresh_timestamp_seconds")
        assert value(monitor.text, "holdfast_last_refresh_timestamp_seconds") == looked


def test_it_looks_again_by_itself(holdfast, shop, folder, tmp_path):
    policy = watched(shop, folder, {"every": "1s"})
    dump(holdfast, policy, reason="daily")
    with serving(policy, tmp_path, database=shop) as monitor:
        assert value(monitor.looked(), "holdfast_backups") == 1
        dump_again(holdfast, policy)
        until("the second dump", lambda: value(monitor.text, "holdfast_backups") == 2)


def test_a_look_that_fails_is_never_well_and_what_was_seen_grows_older(holdfast, shop, folder, tmp_path):
    policy = watched(shop, folder, {"every": "1s", "prefix": "listings"})
    dump(holdfast, policy, reason="daily")
    with serving(policy, tmp_path, database=shop) as monitor:
        age = value(monitor.looked(), "listings_backup_age_hours")
        (tmp_path / "monitor.yaml").write_text("holdfast: 1\ncompany: [")
        until("a look that fails", lambda: value(monitor.text, "holdfast_refresh_success") == 0)
        status, why = monitor.ask("/healthz")
        assert (status, why) == (503, "the last look failed\n")
        assert value(monitor.text, "holdfast_health") == 0
        assert value(monitor.text, "listings_backup_health") == 0
        assert value(monitor.text, "listings_backup_age_hours") >= age
        (tmp_path / "monitor.yaml").write_text(yaml.safe_dump(policy))
        until("it sees again", lambda: monitor.ask("/healthz")[0] == 200)


def test_when_nobody_looks_any_more_it_says_so(holdfast, shop, folder, tmp_path):
    policy = watched(shop, folder)
    dump(holdfast, policy, reason="daily")
    clock = tmp_path / "clock"
    set_clock(str(clock), 0)
    with serving(policy, tmp_path, database=shop, **clock_env(str(clock))) as monitor:
        monitor.looked()
        # Its timer does not follow this clock, so it is as if its looks hung.
        set_clock(str(clock), 3 * 3600)
        assert monitor.ask("/healthz") == (503, "the last look is too old\n")
        assert value(monitor.text, "holdfast_health") == 0
        assert value(monitor.text, "holdfast_backup_age_seconds") >= 3 * 3600


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_when_it_is_told_to(shop, folder, tmp_path, number):
    folder.mkdir()
    with serving(watched(shop, folder), tmp_path, database=shop) as monitor:
        until("the first look", lambda: value(monitor.text, "holdfast_refresh_success") == 1)
        monitor.process.send_signal(number)
        assert monitor.process.wait(timeout=15) == 0


def test_a_port_that_is_taken_and_a_wrong_address_are_said(holdfast, shop, folder):
    folder.mkdir()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ran = holdfast(watched(shop, folder), "monitor", "--serve", address)
        assert ran.code == 1 and address in ran.err, ran.err
    ran = holdfast(watched(shop, folder), "monitor", "--serve", "localhost")
    assert ran.code == 64 and "127.0.0.1:9090" in ran.err, ran.err


def test_slow_and_broken_clients_hold_up_nobody(holdfast, shop, folder, tmp_path):
    policy = watched(shop, folder)
    dump(holdfast, policy, reason="daily")
    with serving(policy, tmp_path, database=shop) as monitor:
        monitor.looked()
        silent = [socket.create_connection(("127.0.0.1", monitor.port)) for _ in range(20)]
        try:
            silent[0].sendall(b"GET /met")
            silent[1].sendall(b"\x00" * 100_000)
            began = time.monotonic()
            assert monitor.ask()[0] == 200
            assert time.monotonic() - began < 5
        finally:
            for each in silent:
                each.close()


# -- node_exporter, rules, Grafana -------------------------------------------------------------------------------------------


def test_the_textfile_is_whole_at_any_moment(holdfast, shop, folder, tmp_path):
    policy = watched(shop, folder)
    dump(holdfast, policy, reason="daily")
    file = tmp_path / "collector" / "holdfast.prom"
    file.parent.mkdir()
    once(holdfast, policy, "--textfile", str(file))
    assert [each.name for each in file.parent.iterdir()] == ["holdfast.prom"]
    assert oct(file.stat().st_mode & 0o777) == "0o644"
    assert checked(file.read_text()) == (0, [])
    assert value(file.read_text(), "holdfast_health") == 1


def test_the_alert_rules_are_rules_and_ring_when_they_should():
    rules = ROOT / "deploy" / "prometheus"
    subprocess.run([promtool(), "check", "rules", rules / "holdfast.rules.yml"], check=True)
    subprocess.run([promtool(), "test", "rules", rules / "holdfast.rules.test.yml"], check=True)


def test_rules_and_dashboard_ask_for_nothing_that_is_not_served(holdfast, shop, folder, fleet_names):
    asked = (ROOT / "deploy" / "prometheus" / "holdfast.rules.yml").read_text()
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "holdfast.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    names = set(re.findall(r"\bholdfast_\w+", " ".join([asked, *queries])))
    assert len(names) > 10
    assert names <= fleet_names, names - fleet_names
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    for query in queries:
        expression = query.replace("$policy", ".*")
        done = subprocess.run(
            [promtool(), "check", "rules", "/dev/stdin"], capture_output=True, text=True,
            input=json.dumps({"groups": [{"name": "g", "rules": [{"record": "r", "expr": expression}]}]}))
        assert done.returncode == 0, f"{expression}: {done.stderr}"


@pytest.fixture
def fleet_names() -> set[str]:
    """Every metric that the monitor can serve, from its own table."""
    source = (ROOT / "cli" / "src" / "commands" / "monitor" / "board.rs").read_text()
    found = re.findall(r'"([a-z_]+)",\s*"[A-Z1]', source) + re.findall(r'gauges\s*\.\w+\(\s*"([a-z_]+)"', source)
    return {f"holdfast_{name}" for name in found}

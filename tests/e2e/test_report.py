"""The status page: by the command, by the function, and in a real browser."""

import json
import re
import subprocess

import pytest

from browser import browsing
from local import BINARIES, INSTANCES, lomash
from world import fleet
from world.stack import written_parameters

EVIL = "<script>alert(1)</script>"
LATE = {fleet.instance(service) for service in fleet.LATE}
KEY = "status/index.html"


def with_page(change=None) -> dict:
    """Lomash Wood's policy with a page in its bucket of dumps, a budget and a quota."""
    def add(policy: dict) -> None:
        policy["status_page"] = {"bucket": fleet.BACKUPS, "key": KEY}
        policy["costs"] = {"monthly_budget": 100, "quota": "10TB", "snapshot_change": "5%"}
        if change:
            change(policy)
    return lomash(add)


@pytest.fixture(scope="module")
def policy():
    return with_page()


@pytest.fixture(scope="module")
def folder(seeded, tmp_path_factory):
    """The page of the seeded fleet, before anybody fixed anything."""
    folder = tmp_path_factory.mktemp("page")
    ran = seeded.holdfast("report", "--to", str(folder), policy=with_page())
    assert ran.code == 0, ran
    return folder, ran


def data(folder) -> dict:
    return json.loads((folder / "report.json").read_text())


def test_the_command_writes_the_page_and_its_data_and_changes_nothing_else(seeded, tmp_path):
    before = seeded.everything()
    ran = seeded.holdfast("report", "--to", str(tmp_path), policy=with_page())
    assert ran.code == 0 and f"written to {tmp_path}/index.html" in ran.out
    assert {each.name for each in tmp_path.iterdir()} == {"index.html", "report.json"}
    assert seeded.everything() == before
    again = seeded.holdfast("report", "--to", str(tmp_path), policy=with_page())
    assert again.code == 0, "a page is replaced"


def test_a_dry_run_writes_nothing_and_a_policy_without_a_page_says_so(seeded, tmp_path):
    ran = seeded.holdfast("report", "--to", str(tmp_path / "page"), "--dry-run")
    assert (ran.code, (tmp_path / "page").exists()) == (0, False)
    assert "nothing was written" in ran.out
    ran = seeded.holdfast("report")
    assert ran.code == 64 and "status_page" in ran.err


def test_the_page_says_what_status_says(folder, seeded):
    page = data(folder[0])
    status = {(each["group"], each["asset"]): each for each in seeded.holdfast("status", "--json").json["assets"]}
    instances = {each["asset"]: each for each in page["assets"] if each["asset"] in INSTANCES}
    assert set(instances) == set(INSTANCES)
    for name, each in instances.items():
        same = status[each["group"], name]
        assert each["newest"]["name"] == same["newest_point"]
        assert each["newest"]["age_seconds"] == pytest.approx(same["age_seconds"], abs=120)
        assert each["newest"]["bytes"] == same["size_bytes"]
        assert (each["state"] == "critical") == (same["max_severity"] == "critical")
    assert {each["asset"] for each in page["assets"] if each["state"] == "critical"} >= LATE
    states = [each["state"] for each in page["assets"]]
    assert states == sorted(states, key=["critical", "unknown", "warning", "ok"].index)
    assert page["summary"]["headline"].startswith(f"{page['summary']['critical']} of {len(states)} assets are not protected")


def test_every_snapshot_is_on_its_lane_and_every_byte_in_a_class(folder, seeded):
    page = data(folder[0])
    lanes = {each["asset"]: each["timeline"] for each in page["assets"]}
    automated = seeded.client("rds").describe_db_snapshots(SnapshotType="automated")["DBSnapshots"]
    for instance in INSTANCES:
        mine = [each for each in automated if each["DBInstanceIdentifier"] == instance]
        home = next(lane for lane in lanes[instance] if lane["home"])
        assert home["points"] == len(seeded.snapshots(instance)) + len(mine)
    costs = page["costs"]
    assert sum(each["bytes"] for each in costs["classes"]) == costs["total"]["bytes"] == page["quota"]["bytes"]
    dumps = next(each for each in costs["classes"] if each["class"] == "STANDARD")
    stored = [each for bucket in (fleet.BACKUPS, fleet.OFFSITE) for key, each in seeded.objects(bucket).items()
              if key.startswith(("pg-logical/", "redis/", "kubernetes/"))]
    assert dumps["bytes"] <= sum(each["Size"] for each in stored)


def test_a_place_that_cannot_be_seen_is_shown_as_a_gap(seeded, tmp_path):
    def lost(policy: dict) -> None:
        policy["redis"]["redis"]["storage"]["bucket"] = "lomash-wood-nowhere"
    ran = seeded.holdfast("report", "--to", str(tmp_path), policy=with_page(lost))
    assert ran.code == 0
    page = data(tmp_path)
    assert any("lomash-wood-nowhere" in gap["message"] for gap in page["unobserved"])
    assert "could not be seen" in page["summary"]["headline"]
    redis = next(each for each in page["assets"] if each["asset"] == "redis")
    assert redis["state"] == "unknown" and redis["newest"] is None
    assert "Nothing is concluded" in (tmp_path / "index.html").read_text()


def test_the_page_goes_to_its_bucket_and_browsers_ask_for_it_anew(seeded):
    ran = seeded.holdfast("report", policy=with_page())
    assert ran.code == 0 and f"s3://{fleet.BACKUPS}/{KEY}" in ran.out
    s3 = seeded.client("s3", fleet.BUCKETS[fleet.BACKUPS])
    page, beside = (s3.head_object(Bucket=fleet.BACKUPS, Key=key) for key in (KEY, "status/report.json"))
    assert (page["ContentType"], page["CacheControl"]) == ("text/html; charset=utf-8", "no-cache")
    assert (beside["ContentType"], beside["CacheControl"]) == ("application/json", "no-cache")


def test_the_function_writes_the_page_and_publishes_what_storage_takes(seeded, functions):
    seeded.deploy(functions, with_page(), **written_parameters(page=fleet.BACKUPS, page_prefix="status/"))
    seeded.client("s3").delete_object(Bucket=fleet.BACKUPS, Key=KEY)
    answer = seeded.invoke("report")
    assert answer.error is None, answer
    page = json.loads(seeded.body(fleet.BACKUPS, "status/report.json"))
    assert page["summary"]["headline"] in seeded.body(fleet.BACKUPS, KEY).decode()
    assert page["policy"] == "lomash-wood" and not page["unobserved"], page["unobserved"]
    assert seeded.metric("StorageBytes") == [page["costs"]["total"]["bytes"]]
    assert seeded.metric("QuotaUsed")[-1] == pytest.approx(page["quota"]["used"] * 100)
    assert seeded.metric("StorageBytes", Group="fleet")


@pytest.fixture(scope="module")
def browser():
    with browsing() as browser:
        yield browser


@pytest.mark.parametrize("scheme, width", [("light", 1280), ("dark", 1280), ("light", 360), ("dark", 360)])
def test_it_opens_from_a_file_without_an_error_or_a_request(browser, folder, tmp_path, scheme, width):
    page = folder[0] / "index.html"
    browser.show(page, scheme, width)
    assert browser.run("return document.querySelector('h1').textContent") == data(folder[0])["summary"]["headline"]
    assert browser.logged("browser") == []
    asked = [url for url in browser.requests() if not url.startswith("data:")]
    assert set(asked) <= {page.as_uri()}
    overflow = browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0, f"it scrolls sideways by {overflow} px"
    background = browser.run("return getComputedStyle(document.body).backgroundColor")
    light = sum(map(int, re.findall(r"\d+", background)[:3])) > 3 * 128
    assert light == (scheme == "light")
    browser.picture(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 10_000


def test_a_screen_reader_finds_its_way(browser, folder):
    browser.show(folder[0] / "index.html")
    landmarks = browser.run(
        "return ['header','main','footer'].map(name => document.querySelectorAll('body > ' + name).length)")
    assert landmarks == [1, 1, 1]
    assert browser.run("return [...document.querySelectorAll('svg')].filter(e => !e.querySelector('title')).length") == 0
    assert browser.run("return [...document.querySelectorAll('table')].filter(e => !e.caption).length") == 0
    assert browser.run("return document.querySelectorAll('th:not([scope])').length") == 0
    assert browser.run("return document.documentElement.lang") == "en"


def test_colours_can_be_read_in_both_schemes(browser, folder):
    """WCAG AA: 4.5 to 1 for text."""
    script = """
        const of = c => c.match(/[\\d.]+/g).slice(0, 3).map(v => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 });
        const light = c => { const [r, g, b] = of(c); return 0.2126 * r + 0.7152 * g + 0.0722 * b };
        const ground = light(getComputedStyle(document.body).backgroundColor);
        const texts = [...document.querySelectorAll('h1,h2,p,dt,dd,small,th,td,.state,.at')].filter(e => e.id !== 'old');
        return Math.min(...texts.map(e => { const l = light(getComputedStyle(e).color);
            return (Math.max(l, ground) + 0.05) / (Math.min(l, ground) + 0.05) }))"""
    for scheme in ("light", "dark"):
        browser.show(folder[0] / "index.html", scheme)
        assert browser.run(script) >= 4.5, scheme


def test_an_old_page_says_that_it_is_old(browser, folder, tmp_path):
    page = tmp_path / "index.html"
    text = (folder[0] / "index.html").read_text()
    shown = "return !document.getElementById('old').hidden"
    page.write_text(re.sub(r'datetime="[^"]*"', 'datetime="2020-01-01T00:00:00Z"', text, count=1))
    browser.show(page)
    assert browser.run(shown) is True


def test_a_name_that_is_a_script_stays_text(browser, tmp_path):
    policy = {
        "holdfast": 1, "company": "acme", "id": "host-1",
        "postgres": {"shop": {
            "databases": [EVIL], "host": "localhost", "user": "u", "password": {"env": "P"}, "objectives": {"max_age": "25h"},
            "storage": {"directory": str(tmp_path / "dumps"), "key": "{database}-%Y%m%d.dump"},
            "dumps": {"daily": {"schedule": {"cron": "0 3 * * *"}, "keep": {"for": "30d"}}}}},
        "status_page": {"directory": str(tmp_path / "page")},
    }
    (tmp_path / "dumps").mkdir()
    done = run_alone(policy, tmp_path)
    assert done.returncode == 0, done.stderr
    page = tmp_path / "page" / "index.html"
    assert EVIL not in page.read_text()
    assert page.stat().st_mode & 0o777 == 0o644
    browser.show(page)
    assert EVIL in browser.run("return document.querySelector('h1').textContent")
    assert browser.run("return document.scripts.length") == 1
    assert browser.logged("browser") == []


def run_alone(policy: dict, folder):
    """The command on a host that knows no AWS."""
    path = folder / "policy.json"
    path.write_text(json.dumps(policy))
    return subprocess.run([BINARIES / "holdfast", "--policy", path, "report"], env={"PATH": "/usr/bin:/bin"},
                          capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)

"""Whose a store is, and who is believed there."""

import json
import subprocess
from pathlib import Path

import pytest

from backups import dump, good, in_folder, listed, next_second, refused, well
from local import Ran
from peers import MARK, Command, Database, group, policy_of

NOTE = ".unchanged-"


@pytest.fixture
def shop(fresh_database) -> Database:
    """A small database."""
    database = fresh_database()
    database.sql("CREATE TABLE orders AS SELECT i AS id FROM generate_series(1, 500) i")
    return database


def new_key(holdfast: Command, policy: dict, name: str = "signing.key") -> tuple[Path, str]:
    """A pair of keys: the file of the secret half, and the public one."""
    file = holdfast.folder / name
    public = well(holdfast(policy, "key", "new", str(file))).out.strip()
    assert file.stat().st_mode & 0o777 == 0o600
    return file, public


@pytest.fixture
def signed(holdfast, shop, folder) -> dict:
    """A policy that signs, with its store made."""
    plain = policy_of(shop=group(shop.server, [shop.name], in_folder(folder), {"keep": {"newest": 1}}))
    file, public = new_key(holdfast, {"holdfast": 1, "company": "tests", "id": "host-1"})
    rules = plain | {"signing": {"secret_key": {"file": str(file)}, "public_keys": [public]}}
    rules["limits"] = {"delete": {"share": "100%"}}
    well(holdfast(rules, "store", "init"))
    return rules


def minisign(public: str, file: Path) -> subprocess.CompletedProcess:
    """What the stock program says of a file."""
    return subprocess.run(["minisign", "-V", "-P", public, "-m", str(file)], capture_output=True, text=True, check=False)


def take(holdfast: Command, rules: dict, *more: str) -> Ran:
    """Dumps in a second of its own, and lets nothing go."""
    next_second()
    return well(holdfast(rules, "dump", "--reason", "manual", "--no-retention", *more))


def test_stock_minisign_checks_a_record_and_finds_a_changed_one(holdfast, signed, folder):
    public = signed["signing"]["public_keys"][0]
    take(holdfast, signed)
    [item] = good(holdfast, signed)
    ran = minisign(public, folder / f"{item}.json")
    assert ran.returncode == 0 and f"holdfast tests@host-1 {item}.json" in ran.stdout, ran
    assert minisign(public, folder / MARK).returncode == 0
    well(holdfast(signed, "verify", "--full"))

    record = folder / f"{item}.json"
    true = record.read_bytes()
    record.write_bytes(true.replace(b'"rows": 500', b'"rows": 400'))
    assert minisign(public, record).returncode != 0
    assert not good(holdfast, signed)
    refused(holdfast(signed, "restore", item, "--to", "never"), 64, "--untrusted")
    record.write_bytes(true)
    assert good(holdfast, signed) == [item]


def test_who_can_only_add_changes_nothing(holdfast, signed, shop, folder):
    for _ in range(3):
        take(holdfast, signed)
    items = good(holdfast, signed)
    before = [{k: each[k] for k in ("backup", "data_time", "legal_hold")} for each in listed(holdfast, signed)]
    for item in items:
        for at in ("20261201T020000Z", "20991231T000000Z"):
            (folder / f"{item}{NOTE}{at}").touch()
        (folder / f"{item}.hold").write_text(json.dumps({"why": "x", "since": "2026-01-01T00:00:00Z", "by": "eve"}))
    # A record of his own, and one that was copied, with the file and the signature.
    evil = folder / "manual" / f"{shop.name}_20990101_000000.dump.zst"
    evil.write_text("COPY x FROM PROGRAM 'touch /tmp/evil';")
    record = json.loads((folder / f"{items[0]}.json").read_text())
    record |= {"key": f"manual/{evil.name}", "data_time": "2026-11-20T00:00:00Z", "layers": {}, "format": "plain"}
    Path(f"{evil}.json").write_text(json.dumps(record))
    copied = folder / "manual" / f"{shop.name}_20990102_000000.dump.zst"
    for end in ("", ".json", ".json.minisig"):
        Path(f"{copied}{end}").write_bytes((folder / f"{items[0]}{end}").read_bytes())

    after = listed(holdfast, signed)
    kept = [{k: each[k] for k in ("backup", "data_time", "legal_hold")} for each in after if each["state"] == "good"]
    assert kept == before
    assert {each["state"] for each in after if "2099" in each["backup"]} == {"faulty"}
    refused(holdfast(signed, "dump", "--dry-run"), 1, "counts as no backup", "not signed")
    for each in (evil, copied):
        refused(holdfast(signed, "restore", f"manual/{each.name}", "--to", "never"), 64, "--untrusted")
    well(holdfast(signed, "restore", "shop", "--to", f"{shop.name}_back"))

    # Retention goes by its own rule: the newest stays, the two before it go, whatever lies beside them.
    next_second()
    ran = holdfast(signed, "dump", "--reason", "manual")
    left = good(holdfast, signed)
    assert len(left) == 1 and left[0] not in items, f"{ran.out}\n{ran.err}"


def test_a_store_of_another_policy_is_left_alone(holdfast, shop, folder):
    prod = policy_of(shop=group(shop.server, [shop.name], in_folder(folder)))
    dump(holdfast, prod)
    before = good(holdfast, prod)
    stage = prod | {"id": "host-2"}
    for words in (["dump", "--reason", "manual"], ["dump"], ["list"], ["restore", "shop", "--to", "never"], ["store", "init"]):
        ran = holdfast(stage, *words)
        assert ran.code != 0 and "tests@host-1" in ran.out + ran.err, f"{words}: {ran.out}\n{ran.err}"
    assert good(holdfast, prod) == before


def test_a_directory_without_its_mark_is_no_empty_store(holdfast, signed, folder):
    take(holdfast, signed)
    # As when its disk is not mounted.
    away = folder.with_name("away")
    folder.rename(away)
    folder.mkdir()
    for words in (["list"], ["dump"], ["dump", "--reason", "manual"], ["verify"], ["restore", "shop", "--to", "never"]):
        ran = holdfast(signed, *words)
        assert ran.code != 0 and "holdfast store init" in ran.out + ran.err, f"{words}: {ran.out}\n{ran.err}"
    assert not list(folder.iterdir())
    folder.rmdir()
    away.rename(folder)
    assert len(good(holdfast, signed)) == 1


def test_a_linked_folder_takes_no_dump_and_a_deep_one_hides_none(holdfast, signed, folder, tmp_path):
    take(holdfast, signed)
    deep = folder
    for _ in range(14):
        deep = deep / ("d" * 200)
        deep.mkdir()
    assert len(good(holdfast, signed)) == 1
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (folder / "linked").symlink_to(elsewhere)
    signed["postgres"]["shop"]["dumps"]["linked"] = {"keep": {"newest": 1}}
    refused(holdfast(signed, "dump", "--reason", "linked"), 3, "is a link")
    assert not list(elsewhere.iterdir())


def test_dumps_of_one_day_have_names_of_their_own_and_replace_works(holdfast, shop, folder):
    for key in ("{database}_%Y%m%d.dump.zst", "{database}.dump.zst"):
        stored = in_folder(folder / key[:12].replace("{", "").replace("}", ""), key)
        rules = policy_of(shop=group(shop.server, [shop.name], stored))
        dump(holdfast, rules)
        next_second()
        dump(holdfast, rules)
        assert len(set(good(holdfast, rules))) == 2
        next_second()
        well(holdfast(rules, "restore", "shop", "--replace", "--yes"))
        assert len(good(holdfast, rules)) == 3
        shop.sql("SELECT count(*) FROM orders")


def test_after_a_new_key_older_dumps_still_count(holdfast, signed):
    take(holdfast, signed)
    old = signed["signing"]["public_keys"]
    file, public = new_key(holdfast, {"holdfast": 1, "company": "tests", "id": "host-1"}, "second.key")
    signed["signing"] = {"secret_key": {"file": str(file)}, "public_keys": [public], "previous": old}
    take(holdfast, signed)
    assert len(good(holdfast, signed)) == 2
    signed["signing"]["previous"] = []
    refused(holdfast(signed, "list"), 3, "signing.previous")
    refused(holdfast(signed | {"signing": signed["signing"] | {"public_keys": old}}, "dump", "--reason", "manual"), 4, "public_keys")


def test_the_record_of_operations_is_signed(holdfast, signed, folder, tmp_path):
    log = tmp_path / "log"
    signed["audit"] = {"directory": str(log), "keep": "1y"}
    take(holdfast, signed)
    ran = well(holdfast(signed, "audit", "verify"))
    assert "1 record in 1 object" in ran.out, ran.out
    (log / "000000" / "000000002.jsonl").write_text("{}\n")
    refused(holdfast(signed, "audit", "verify"), 1, "not signed")
    take(holdfast, signed)
    assert len(holdfast(signed, "audit", "list", "--json").json) == 2


def test_without_signing_the_policys_check_says_who_is_trusted(holdfast, shop, folder, signed):
    plain = policy_of(shop=group(shop.server, [shop.name], in_folder(folder)))
    assert "signing: it is left out" in well(holdfast(plain, "policy", "check")).out
    assert "signing: it is left out" not in well(holdfast(signed, "policy", "check")).out
